//! A custom runtime and its function for the conformance run: it keeps every rule, but for the one
//! that the variable `MISBEHAVE` names.
//!
//! The HTTP is the least that works, on `std::net::TcpStream`. It is not how to write a runtime.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{env, process, thread};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

type Failure = Box<dyn Error>;

/// Whether this rule is the one to break.
fn breaks(rule: &str) -> bool {
    env::var("MISBEHAVE").is_ok_and(|broken| broken == rule)
}

fn main() -> Result<(), Failure> {
    let mut api = Api::new()?;
    if env::var("CONFORM_INIT").is_ok() {
        if !breaks("init.error") {
            let error = json!({ "errorMessage": "asked", "errorType": "Function.Asked" });
            api.exchange(
                "POST",
                "runtime/init/error",
                &[],
                error.to_string().as_bytes(),
            )?;
        }
        process::exit(i32::from(!breaks("init.exit-status")));
    }
    if breaks("next.first") {
        process::exit(3);
    }
    if env::var("AWS_LAMBDA_INITIALIZATION_TYPE")? == "snap-start" {
        if breaks("restore.before-next") {
            let mut early = Api::new()?;
            thread::spawn(move || {
                early
                    .exchange("GET", "runtime/invocation/next", &[], b"")
                    .is_ok()
            });
            thread::sleep(Duration::from_millis(200));
        }
        api.exchange("GET", "runtime/restore/next", &[], b"")?;
        if !breaks("restore.connections") {
            api.stream = None;
        }
    }
    let workers = env::var("AWS_LAMBDA_MAX_CONCURRENCY").map_or(Ok(1), |text| text.parse())?;
    let first = Worker::new(workers > 1)?;
    for _ in 1..workers {
        let worker = Worker::new(true)?;
        thread::spawn(move || worker.work());
    }
    Worker { api, ..first }.work();
    Ok(())
}

/// A loop over invocations.
struct Worker {
    api: Api,
    /// It is one of several.
    shares: bool,
    trace: Option<String>,
    served: usize,
    waited: Duration,
}

/// Held while an invocation runs, by who cannot run several at once.
static ALONE: Mutex<()> = Mutex::new(());

impl Worker {
    fn new(shares: bool) -> Result<Self, Failure> {
        Ok(Self {
            api: Api::new()?,
            shares,
            trace: None,
            served: 0,
            waited: Duration::ZERO,
        })
    }

    fn work(mut self) {
        loop {
            if let Err(error) = self.turn() {
                eprintln!("ends: {error}");
                process::exit(1);
            }
        }
    }

    fn turn(&mut self) -> Result<(), Failure> {
        let asked = Instant::now();
        let event = self.next()?;
        self.waited = asked.elapsed();
        if breaks("freeze.thaw") && self.served > 0 && self.waited > Duration::from_millis(90) {
            return Err("slept too long".into());
        }
        self.served += 1;
        if breaks("next.one-at-a-time") {
            let mut other = Api::new()?;
            thread::spawn(move || {
                other
                    .exchange("GET", "runtime/invocation/next", &[], b"")
                    .is_ok()
            });
            thread::sleep(Duration::from_millis(50));
        }
        let _alone = breaks("workers.at-once").then(|| ALONE.lock());
        self.serve(&event)
    }

    /// Asks until there is an event.
    fn next(&mut self) -> Result<Answer, Failure> {
        loop {
            let asked = self
                .api
                .exchange("GET", "runtime/invocation/next", &[], b"");
            let event = match asked {
                Ok(event) if event.status == 200 => event,
                Ok(answer) if answer.status == 403 => {
                    if breaks("next.status-403") {
                        self.spin()?;
                    }
                    continue;
                }
                Ok(answer) if answer.status == 500 && breaks("next.status-500") => continue,
                Ok(answer) => {
                    return Err(format!("next was answered with {}", answer.status).into());
                }
                Err(error) => {
                    let breaks_here = [
                        "connection.next-reset",
                        "connection.refused",
                        "connection.event-cut",
                        "connection.event-closed",
                        "restore.connections",
                    ];
                    if breaks_here.iter().any(|rule| breaks(rule)) {
                        return Err(error);
                    }
                    if breaks("connection.garbage") {
                        self.spin()?;
                    }
                    self.api.stream = None;
                    continue;
                }
            };
            event.check()?;
            return Ok(event);
        }
    }

    /// Many requests without a pause.
    fn spin(&self) -> Result<(), Failure> {
        let mut api = Api::new()?;
        for _ in 0..200 {
            api.exchange("GET", "/ping", &[], b"")?;
        }
        Ok(())
    }

    fn serve(&mut self, event: &Answer) -> Result<(), Failure> {
        if let Some(trace) = event.header("lambda-runtime-trace-id") {
            self.trace = Some(trace.to_owned());
        } else if !breaks("context.no-trace") {
            self.trace = None;
        }
        if self.shares && !breaks("workers.trace") {
            self.trace = None;
        }
        let asked: Value = serde_json::from_slice(&event.body).unwrap_or_default();
        let number = |name: &str| asked.get(name).and_then(Value::as_u64).unwrap_or_default();
        let mut body = event.body.clone();
        match asked.get("conform").and_then(Value::as_str) {
            Some("actions") => {
                body = json!([
                    "context", "crash", "echo", "fail", "init", "large", "sleep", "stream"
                ])
                .to_string()
                .into_bytes();
            }
            Some("context") => body = self.context(event).to_string().into_bytes(),
            Some("fail") => return self.fail(event),
            Some("large") => {
                let letters = usize::try_from(number("bytes"))?;
                body = format!("\"{}\"", "x".repeat(letters)).into_bytes();
            }
            Some("sleep") => {
                thread::sleep(Duration::from_millis(number("ms")));
                if breaks("workers.own-answers") {
                    body = br#"{"n":0}"#.to_vec();
                }
            }
            Some("crash") if !breaks("crash.next-event") => process::exit(1),
            Some("stream") => return self.stream(event, &asked),
            _ => {}
        }
        self.respond(event, body)
    }

    fn context(&self, event: &Answer) -> Value {
        let header = |name: &str| event.header(&format!("lambda-runtime-{name}"));
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let deadline: f64 = header("deadline-ms")
            .and_then(|ms| ms.parse().ok())
            .unwrap_or_default();
        let remaining = if breaks("context.deadline") {
            0.0
        } else {
            deadline - now.as_secs_f64() * 1e3
        };
        let client: Option<Value> =
            header("client-context").and_then(|text| serde_json::from_str(text).ok());
        let tenant = header("aws-tenant-id").filter(|_| !breaks("context.fields"));
        let trace = self.trace.as_deref();
        json!({
            "requestId": header("aws-request-id"),
            "functionArn": header("invoked-function-arn"),
            "remainingMs": remaining,
            "clientContext": client,
            "tenantId": tenant,
            "trace": if breaks("context.trace") { Some("Root=1") } else { trace },
        })
    }

    fn respond(&mut self, event: &Answer, mut body: Vec<u8>) -> Result<(), Failure> {
        if breaks("event.unchanged") {
            body = String::from_utf8_lossy(&body)
                .replace("😀", "?")
                .into_bytes();
        }
        let path = format!("runtime/invocation/{}/response", event.id()?);
        let answer = self.post(event, &path, &[], &body)?;
        if breaks("answer.once") {
            self.post(event, &path, &[], &body)?;
        }
        let status = answer.status;
        if status == 413 && breaks("answer.too-large") {
            return self.report(event);
        }
        if breaks(&format!("answer.status-{status}")) && status != 500 {
            return Err(format!("answered with {status}").into());
        }
        if status == 500 && !breaks("answer.status-500") {
            return Err("answered with 500".into());
        }
        Ok(())
    }

    fn fail(&mut self, event: &Answer) -> Result<(), Failure> {
        self.report(event)?;
        if breaks("error.goes-on") || breaks("workers.error") {
            return Err("failed once".into());
        }
        Ok(())
    }

    fn report(&mut self, event: &Answer) -> Result<(), Failure> {
        let path = format!("runtime/invocation/{}/error", event.id()?);
        let kind = if breaks("error.known-type") {
            "Oops"
        } else {
            "Function.Asked"
        };
        let mut headers = vec![("Lambda-Runtime-Function-Error-Type", kind)];
        if breaks("error.type-header") {
            headers.clear();
        }
        let body = if breaks("error.body") {
            "asked".to_owned()
        } else {
            ERROR.to_owned()
        };
        self.post(event, &path, &headers, body.as_bytes())?;
        Ok(())
    }

    fn post(
        &mut self,
        event: &Answer,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer, Failure> {
        let mut headers = headers.to_vec();
        match event.header("lambda-runtime-invocation-id") {
            Some(id) if !breaks("answer.invocation-id") => headers.push((INVOCATION_ID, id)),
            None if breaks("answer.no-invocation-id") => headers.push((INVOCATION_ID, "made-up")),
            Some(_) | None => {}
        }
        match self.api.exchange("POST", path, &headers, body) {
            Err(error) if breaks("connection.answer-reset") => Err(error),
            Err(_lost) => {
                if breaks("connection.receipt-lost") {
                    self.spin()?;
                }
                self.api.stream = None;
                self.api.exchange("POST", path, &headers, body)
            }
            answered => answered,
        }
    }

    fn stream(&mut self, event: &Answer, asked: &Value) -> Result<(), Failure> {
        let path = format!("runtime/invocation/{}/response", event.id()?);
        let id = event
            .header("lambda-runtime-invocation-id")
            .unwrap_or_default();
        let mut headers = vec![(INVOCATION_ID, id), ("Transfer-Encoding", "chunked")];
        if !breaks("stream.headers") {
            headers.push(("Lambda-Runtime-Function-Response-Mode", "streaming"));
        }
        if !breaks("stream.trailers-declared") {
            headers.push(("Trailer", "Lambda-Runtime-Function-Error-Type"));
            headers.push(("Trailer", "Lambda-Runtime-Function-Error-Body"));
        }
        let mut text = self.api.head("POST", &path, &headers) + "\r\n";
        let mut chunks: Vec<&str> = asked
            .get("chunks")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        if breaks("stream.body") || breaks("stream.buffered-caller") {
            chunks.pop();
        }
        for chunk in chunks {
            let size = format!("{:x}", chunk.len());
            text.extend([&size, "\r\n", chunk, "\r\n"]);
        }
        text += "0\r\n";
        let fails = asked.get("fail") == Some(&Value::Bool(true));
        if fails && !breaks("stream.error") {
            let error = if breaks("stream.error-body") {
                ERROR.to_owned()
            } else {
                BASE64_STANDARD.encode(ERROR)
            };
            text += "Lambda-Runtime-Function-Error-Type: Function.Asked\r\n";
            text.extend(["Lambda-Runtime-Function-Error-Body: ", &error, "\r\n"]);
        }
        text += "\r\n";
        self.api.write(text.as_bytes())?;
        self.api.answer()?;
        if fails && breaks("stream.goes-on") {
            return Err("failed midway".into());
        }
        if fails && !breaks("stream.close") {
            self.api.stream = None;
        }
        Ok(())
    }
}

const INVOCATION_ID: &str = "Lambda-Runtime-Invocation-Id";
const ERROR: &str = r#"{"errorMessage":"asked to fail","errorType":"Function.Asked"}"#;

/// One connection to the Runtime API, opened when it is needed.
struct Api {
    host: String,
    stream: Option<BufReader<TcpStream>>,
}

/// A response of the Runtime API.
struct Answer {
    status: u16,
    /// As they were received.
    names: Vec<String>,
    /// Names in lower case.
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.trim())
    }

    fn id(&self) -> Result<&str, Failure> {
        let id = self.header("lambda-runtime-aws-request-id");
        id.ok_or_else(|| "no request id".into())
    }

    /// Ends the process over what a runtime has to take.
    fn check(&self) -> Result<(), Failure> {
        let is_named = |name: &str| self.names.iter().any(|other| other == name);
        let is_empty = |name: &str| self.header(name) == Some("");
        let deadline = self.header("lambda-runtime-deadline-ms");
        let raw_id = self.headers.get("lambda-runtime-aws-request-id");
        for (rule, met) in [
            (
                "event.lower-case",
                is_named("lambda-runtime-aws-request-id") && !is_named("date"),
            ),
            (
                "event.upper-case",
                is_named("LAMBDA-RUNTIME-AWS-REQUEST-ID"),
            ),
            (
                "event.white-space",
                raw_id.is_some_and(|id| id.ends_with('\t')),
            ),
            ("event.unknown-headers", self.header("x-long").is_some()),
            (
                "event.no-content-type",
                self.header("content-type").is_none(),
            ),
            (
                "event.empty-context",
                is_empty("lambda-runtime-client-context"),
            ),
            ("event.past-deadline", deadline == Some("600000")),
            ("event.no-deadline", deadline.is_none()),
            ("event.6-mb", self.body.len() > 5_000_000),
        ] {
            if met && breaks(rule) {
                return Err(format!("cannot take it: {rule}").into());
            }
        }
        Ok(())
    }
}

impl Api {
    fn new() -> Result<Self, Failure> {
        Ok(Self {
            host: env::var("AWS_LAMBDA_RUNTIME_API")?,
            stream: None,
        })
    }

    fn stream(&mut self) -> Result<&mut BufReader<TcpStream>, Failure> {
        if self.stream.is_none() {
            let stream = TcpStream::connect(&self.host)?;
            stream.set_nodelay(true)?;
            self.stream = Some(BufReader::new(stream));
        }
        self.stream.as_mut().ok_or_else(|| "no connection".into())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        Ok(self.stream()?.get_mut().write_all(bytes)?)
    }

    fn exchange(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer, Failure> {
        let length = body.len().to_string();
        let head = self.head(method, path, headers) + "Content-Length: " + &length + "\r\n\r\n";
        self.write(&[head.as_bytes(), body].concat())?;
        self.answer()
    }

    fn head(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> String {
        let base = if path.starts_with('/') {
            ""
        } else {
            "/2018-06-01/"
        };
        let mut head = format!("{method} {base}{path} HTTP/1.1\r\nHost: {}\r\n", self.host);
        if breaks("next.host") {
            head += "Host: another\r\n";
        }
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            head.extend([name, ": ", value, "\r\n"]);
        }
        head
    }

    fn answer(&mut self) -> Result<Answer, Failure> {
        let first = self.stream()?.fill_buf()?.to_vec();
        let has_head = first.windows(4).any(|end| end == b"\r\n\r\n");
        // A receipt is short and always comes whole.
        let is_event_or_part = !first.starts_with(b"HTTP/1.1 202");
        if is_event_or_part && !has_head && (breaks("event.split") || breaks("event.byte-by-byte"))
        {
            process::exit(1);
        }
        let status = self.line()?.split(' ').nth(1).ok_or("no status")?.parse()?;
        let (mut names, mut headers) = (Vec::new(), BTreeMap::new());
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':') {
                names.push(name.to_owned());
                let value = value.strip_prefix(' ').unwrap_or(value);
                headers.insert(name.to_ascii_lowercase(), value.to_owned());
            }
        }
        let mut body = Vec::new();
        if let Some(length) = headers.get("content-length") {
            self.take(length.trim().parse()?, &mut body)?;
        } else {
            self.chunks(&mut body)?;
            if breaks("event.chunked") {
                body = b"{}".to_vec();
            }
        }
        let closes = headers
            .get("connection")
            .is_some_and(|value| value == "close");
        if closes {
            if breaks("event.connection-close") {
                process::exit(1);
            }
            self.stream = None;
        }
        Ok(Answer {
            status,
            names,
            headers,
            body,
        })
    }

    fn chunks(&mut self, body: &mut Vec<u8>) -> Result<(), Failure> {
        loop {
            let line = self.line()?;
            let size = line.split(';').next().unwrap_or_default();
            if breaks("event.chunk-extensions") && size.len() < line.len() {
                process::exit(1);
            }
            let length = usize::from_str_radix(size, 16)?;
            if length == 0 {
                while !self.line()?.is_empty() {}
                return Ok(());
            }
            self.take(length, body)?;
            self.line()?;
        }
    }

    fn line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        if self.stream()?.read_line(&mut line)? == 0 {
            return Err("the Runtime API closed the connection".into());
        }
        let Some(line) = line.strip_suffix("\r\n") else {
            return Err("the Runtime API closed the connection in a line".into());
        };
        Ok(line.to_owned())
    }

    fn take(&mut self, length: usize, body: &mut Vec<u8>) -> Result<(), Failure> {
        let start = body.len();
        body.resize(start + length, 0);
        let room = body.get_mut(start..).unwrap_or_default();
        Ok(self.stream()?.read_exact(room)?)
    }
}

//! An external extension for the conformance run: it keeps every rule, but for the one that the
//! variable `MISBEHAVE` names.
//!
//! The HTTP is the least that works, on `std::net`. It is not how to write an extension.

#![expect(clippy::exit, reason = "to end is one way to misbehave")]

use std::error::Error;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;
use std::{env, process, thread};

use serde_json::Value;

type Failure = Box<dyn Error>;

/// Whether this rule is the one to break.
fn breaks(rule: &str) -> bool {
    env::var("MISBEHAVE").is_ok_and(|broken| broken == rule)
}

fn main() -> Result<(), Failure> {
    let mut api = Api {
        host: env::var("AWS_LAMBDA_RUNTIME_API")?,
        id: String::new(),
        stream: None,
    };
    register(&mut api)?;
    subscribe(&mut api)?;
    let mut taken = 0;
    loop {
        if breaks("next.identifier") {
            // One request more, which is refused.
            let id = std::mem::take(&mut api.id);
            api.exchange("GET", "2020-01-01/extension/event/next", &[], b"")?;
            api.id = id;
        }
        let event = match api.exchange("GET", "2020-01-01/extension/event/next", &[], b"") {
            Ok(event) => event,
            Err(error) if breaks("connection.event-cut") => return Err(error),
            Err(_lost) => {
                api.stream = None;
                continue;
            }
        };
        if event.status == 500 {
            if breaks("next.status-500") {
                wait();
            }
            return Err("next was answered with 500".into());
        }
        if event.status != 200 {
            // The event was lost, and was this extension's turn.
            continue;
        }
        take(&serde_json::from_slice(&event.body)?, taken);
        taken += 1;
    }
}

fn take(event: &Value, taken: usize) {
    let has = |member: &str| event.get(member).is_some();
    if event.get("eventType").and_then(Value::as_str) == Some("SHUTDOWN") {
        let reason = event.get("shutdownReason").and_then(Value::as_str);
        if breaks("shutdown.exit")
            || breaks("shutdown.after-crash") && reason == Some("failure")
            || breaks("shutdown.unknown-reason") && reason == Some("SandboxTerminated")
        {
            wait();
        }
        process::exit(i32::from(breaks("shutdown.exit-status")));
    }
    if breaks("event.unknown-members") && has("new")
        || breaks("event.no-tracing") && !has("tracing")
    {
        process::exit(1);
    }
    // The first event asks the function for its actions.
    if breaks("next.after-invoke") && taken > 0 {
        wait();
    }
}

fn wait() {
    thread::sleep(Duration::from_secs(600));
}

fn register(api: &mut Api) -> Result<(), Failure> {
    let path = env::args().next().ok_or("no name")?;
    let name = path.rsplit('/').next().unwrap_or(&path);
    let name = if breaks("register.name") {
        "another"
    } else {
        name
    };
    let headers = [("Lambda-Extension-Name", name)];
    let events = env::var("EVENTS").unwrap_or_else(|_| r#""INVOKE","SHUTDOWN""#.to_owned());
    let body = format!("{{\"events\":[{events}]}}");
    let answer = api.exchange(
        "POST",
        "2020-01-01/extension/register",
        &headers,
        body.as_bytes(),
    )?;
    if answer.status != 200 && breaks("register.status-500") {
        wait();
    }
    api.id = answer.id.ok_or("not registered")?;
    Ok(())
}

fn subscribe(api: &mut Api) -> Result<(), Failure> {
    let listener = TcpListener::bind("0.0.0.0:0")?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let received = receive(stream);
                if received.is_none() && breaks("telemetry.strangers") {
                    process::exit(1);
                }
            });
        }
    });
    let body = format!(
        "{{\"schemaVersion\":\"2025-01-29\",\"types\":[\"platform\"],\
         \"buffering\":{{\"timeoutMs\":25,\"maxItems\":1000,\"maxBytes\":262144}},\
         \"destination\":{{\"protocol\":\"HTTP\",\"URI\":\"http://sandbox.localdomain:{port}/\"}}}}"
    );
    let answer = api.exchange("PUT", "2022-07-01/telemetry", &[], body.as_bytes())?;
    if answer.status == 202 && breaks("telemetry.not-supported")
        || answer.status == 400 && breaks("telemetry.refused")
    {
        process::exit(1);
    }
    Ok(())
}

/// Takes batches until the connection ends; nothing for bytes that are no batch.
fn receive(stream: TcpStream) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut length = 0;
        let mut is_first = true;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).ok()? == 0 {
                return is_first.then_some(());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if is_first && !line.starts_with("post / http/1.1") {
                return None;
            }
            is_first = false;
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().ok()?;
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).ok()?;
        let _batch: Value = serde_json::from_slice(&body).ok()?;
        let status = if breaks("telemetry.deliveries") {
            "500"
        } else {
            "200"
        };
        let answer = format!("HTTP/1.1 {status} A\r\nContent-Length: 0\r\n\r\n");
        stream.get_mut().write_all(answer.as_bytes()).ok()?;
    }
}

/// One connection to the Extensions API, opened when it is needed.
struct Api {
    host: String,
    id: String,
    stream: Option<BufReader<TcpStream>>,
}

struct Answer {
    status: u16,
    id: Option<String>,
    body: Vec<u8>,
}

impl Api {
    fn stream(&mut self) -> Result<&mut BufReader<TcpStream>, Failure> {
        if self.stream.is_none() {
            let stream = TcpStream::connect(&self.host)?;
            stream.set_nodelay(true)?;
            self.stream = Some(BufReader::new(stream));
        }
        self.stream.as_mut().ok_or_else(|| "no connection".into())
    }

    fn exchange(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer, Failure> {
        let mut head = format!("{method} /{path} HTTP/1.1\r\nHost: {}\r\n", self.host);
        for (name, value) in headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        if !self.id.is_empty() {
            head.extend(["Lambda-Extension-Identifier: ", &self.id, "\r\n"]);
        }
        head.extend(["Content-Length: ", &body.len().to_string(), "\r\n\r\n"]);
        let bytes = [head.as_bytes(), body].concat();
        self.stream()?.get_mut().write_all(&bytes)?;
        self.answer()
    }

    fn answer(&mut self) -> Result<Answer, Failure> {
        let first = self.stream()?.fill_buf()?.to_vec();
        let has_head = first.windows(4).any(|end| end == b"\r\n\r\n");
        if !has_head && (breaks("event.split") || breaks("event.byte-by-byte")) {
            process::exit(1);
        }
        let status = self.line()?.split(' ').nth(1).ok_or("no status")?.parse()?;
        let (mut id, mut length) = (None, 0);
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            match line.split_once(": ") {
                Some(("Lambda-Extension-Identifier", value)) => id = Some(value.to_owned()),
                Some(("Content-Length", value)) => length = value.parse()?,
                Some(_) | None => {}
            }
        }
        let mut body = vec![0; length];
        self.stream()?.read_exact(&mut body)?;
        Ok(Answer { status, id, body })
    }

    fn line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        self.stream()?.read_line(&mut line)?;
        let line = line.strip_suffix("\r\n");
        Ok(line.ok_or("the connection ended in a line")?.to_owned())
    }
}

//! A custom runtime that does what its event says: a `bootstrap` to try the emulator with.
//!
//! ```text
//! cargo build --package bantam-emulator --example echo
//! echo '{"do":"echo"}' | cargo emulator run --function target/debug/examples/echo --event -
//! ```
//!
//! The HTTP is the least that works, on `std::net::TcpStream`. It is not how to write a runtime.
//!
//! An event is an object; `do` is one of `echo`, `error`, `env`, `headers`, `panic`, `exit`,
//! `abort`, `kill`, `sleep`, `print`, `child`, `allocate`, `cwd`, `read`, `write`, `metadata`,
//! `large`, `stream`,
//! `stream_error`, `bad_mode`, `twice`, `answer_and_exit`. The variable `ECHO_INIT` makes the init
//! phase fail: `error`, `exit`, `hang`, and each of them with `_once` to fail only while the file
//! named by `ECHO_MARK` is missing; with `metadata` it reads the metadata endpoint. An HTTP request
//! with the header `X-Echo: http` is answered by its body, which is taken for a response of a
//! function URL. With `ECHO_INTERNAL` it registers an internal extension of that name, with
//! `ECHO_RESTORE` (`wait`, `exit`, `hang`, `restore/error`, `init/error`, `keep` for the old
//! connection) it takes part in a restore, with `ECHO_TERM` it takes that many milliseconds to end
//! after SIGTERM. On Managed Instances it has as many workers as `AWS_LAMBDA_MAX_CONCURRENCY` says,
//! each a thread.

#![expect(
    clippy::exit,
    reason = "ending without a word is one of the things an event asks for"
)]

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, fs, process, thread};

use serde_json::{Value, json};
use signal_hook::consts::SIGTERM;
use signal_hook::iterator::Signals;

type Failure = Box<dyn Error>;

fn main() -> Result<(), Failure> {
    if let Ok(mb) = env::var("ECHO_ALLOCATE") {
        return allocate(mb.parse()?);
    }
    if let Ok(ms) = env::var("ECHO_TERM") {
        end_slowly(Duration::from_millis(ms.parse()?))?;
    }
    let mut api = Api::connect()?;
    fail_init(&mut api)?;
    if let Ok(name) = env::var("ECHO_INTERNAL") {
        register(&mut api, &name)?;
    }
    if let Ok(how) = env::var("ECHO_RESTORE") {
        restore(&mut api, &how)?;
    }
    let workers = env::var("AWS_LAMBDA_MAX_CONCURRENCY").map_or(Ok(1), |text| text.parse())?;
    for _ in 1..workers {
        thread::spawn(|| {
            let worked = Api::connect().and_then(|mut api| work(&mut api));
            if let Err(error) = worked {
                eprintln!("worker: {error}");
            }
        });
    }
    work(&mut api)
}

/// Runs one invocation after another.
fn work(api: &mut Api) -> Result<(), Failure> {
    loop {
        let event = api.exchange("GET", "runtime/invocation/next", &[], b"")?;
        if event.status != 200 {
            return Err(format!("next was answered with {}", event.status).into());
        }
        run(api, &event)?;
    }
}

/// Ends at SIGTERM, after a while and with the code 0.
fn end_slowly(after: Duration) -> Result<(), Failure> {
    let mut signals = Signals::new([SIGTERM])?;
    thread::spawn(move || {
        signals.wait();
        println!("terminated");
        thread::sleep(after);
        println!("ends");
        process::exit(0);
    });
    Ok(())
}

/// Takes memory, uses it, and lives on long enough to be seen.
fn allocate(mb: usize) -> Result<(), Failure> {
    let memory = vec![1_u8; mb * 1024 * 1024];
    thread::sleep(Duration::from_millis(200));
    writeln!(std::io::stdout(), "took {} bytes", memory.len())?;
    Ok(())
}

/// Registers an internal extension, which waits for events on a thread of its own.
fn register(api: &mut Api, name: &str) -> Result<(), Failure> {
    let headers = [("Lambda-Extension-Name", name)];
    let path = "/2020-01-01/extension/register";
    let registered = api.exchange("POST", path, &headers, b"{}")?;
    let id = registered.headers.get("lambda-extension-identifier");
    let id = id.ok_or("not registered")?.clone();
    let mut waiting = Api::connect()?;
    thread::spawn(move || {
        let headers = [("Lambda-Extension-Identifier", id.as_str())];
        let path = "/2020-01-01/extension/event/next";
        waiting
            .exchange("GET", path, &headers, b"")
            .map(drop)
            .map_err(|error| eprintln!("internal extension: {error}"))
    });
    Ok(())
}

/// Waits for the restore and does after it what is asked for.
fn restore(api: &mut Api, how: &str) -> Result<(), Failure> {
    let restored = api.exchange("GET", "runtime/restore/next", &[], b"")?;
    if restored.status != 200 {
        return Err(format!("restore/next was answered with {}", restored.status).into());
    }
    if how != "keep" {
        // No connection outlives a restore.
        *api = Api::connect()?;
    }
    match how {
        "exit" => process::exit(4),
        "hang" => thread::sleep(Duration::from_secs(600)),
        "restore/error" | "init/error" => {
            let body = br#"{"errorMessage":"no luck","errorType":"Function.NoLuck"}"#;
            let headers = [("Lambda-Runtime-Function-Error-Type", "Function.NoLuck")];
            api.exchange("POST", &format!("runtime/{how}"), &headers, body)?;
            process::exit(1);
        }
        _ => {}
    }
    Ok(())
}

/// Fails as `ECHO_INIT` says.
fn fail_init(api: &mut Api) -> Result<(), Failure> {
    let Ok(mut how) = env::var("ECHO_INIT") else {
        return Ok(());
    };
    if let Some(once) = how.strip_suffix("_once") {
        let mark = env::var("ECHO_MARK")?;
        if fs::exists(&mark)? {
            return Ok(());
        }
        fs::write(mark, "")?;
        how = once.to_owned();
    }
    match how.as_str() {
        "error" => {
            let body = br#"{"errorMessage":"no luck","errorType":"Function.NoLuck"}"#;
            let headers = [("Lambda-Runtime-Function-Error-Type", "Function.NoLuck")];
            api.exchange("POST", "runtime/init/error", &headers, body)?;
            process::exit(1);
        }
        "exit" => process::exit(3),
        "hang" => thread::sleep(Duration::from_secs(600)),
        "metadata" => {
            let metadata = metadata()?;
            let caching = metadata.headers.get("cache-control");
            let caching = caching.map_or("", String::as_str);
            println!("metadata: {caching} {}", String::from_utf8(metadata.body)?);
        }
        _ => {}
    }
    Ok(())
}

/// The answer of the metadata endpoint.
fn metadata() -> Result<Answer, Failure> {
    let mut api = Api::to(env::var("AWS_LAMBDA_METADATA_API")?)?;
    let token = format!("Bearer {}", env::var("AWS_LAMBDA_METADATA_TOKEN")?);
    let path = "/2026-01-15/metadata/execution-environment";
    api.exchange("GET", path, &[("Authorization", token.as_str())], b"")
}

fn run(api: &mut Api, event: &Answer) -> Result<(), Failure> {
    let id = event
        .headers
        .get("lambda-runtime-aws-request-id")
        .ok_or("no request id")?;
    let nonce = event
        .headers
        .get("lambda-runtime-invocation-id")
        .map_or("", String::as_str);
    let asked: Value = serde_json::from_slice(&event.body).unwrap_or_default();
    // A request to a function URL asks by a header: its body is the response as it is.
    let mut asks = ["/headers/x-echo", "/headers/X-Echo"].into_iter();
    let is_http = asks.any(|name| asked.pointer(name) == Some(&json!("http")));
    let what = if is_http { "http" } else { "echo" };
    let what = asked["do"].as_str().unwrap_or(what);
    let response = format!("runtime/invocation/{id}/response");
    let echoed = ("Lambda-Runtime-Invocation-Id", nonce);
    let json = ("Content-Type", "application/json");
    match what {
        "error" => {
            let kind = asked["type"].as_str().unwrap_or("Function.Asked");
            let body = json!({ "errorMessage": "asked for", "errorType": kind }).to_string();
            let cause = ("Lambda-Runtime-Function-XRay-Error-Cause", "{\"paths\":[]}");
            let headers = [
                echoed,
                json,
                ("Lambda-Runtime-Function-Error-Type", kind),
                cause,
            ];
            let path = format!("runtime/invocation/{id}/error");
            api.exchange("POST", &path, &headers, body.as_bytes())?;
        }
        "stream" | "stream_error" => api.stream(&response, echoed, what == "stream_error")?,
        "bad_mode" => {
            let mode = ("Lambda-Runtime-Function-Response-Mode", "buffered");
            api.exchange("POST", &response, &[echoed, mode], b"{}")?;
        }
        "twice" => {
            api.exchange("POST", &response, &[echoed, json], b"1")?;
            api.exchange("POST", &response, &[echoed, json], b"2")?;
        }
        "answer_and_exit" => {
            api.exchange("POST", &response, &[echoed, json], b"\"last\"")?;
            process::exit(0);
        }
        _ => {
            let body = effect(what, &asked, event)?;
            api.exchange("POST", &response, &[echoed, json], &body)?;
        }
    }
    Ok(())
}

/// The effect that an event asks for, and the response.
fn effect(what: &str, asked: &Value, event: &Answer) -> Result<Vec<u8>, Failure> {
    match what {
        "env" => {
            return Ok(json!(env::vars().collect::<BTreeMap<_, _>>())
                .to_string()
                .into());
        }
        "headers" => return Ok(json!(event.raw_headers).to_string().into()),
        "large" => {
            let length = usize::try_from(asked["bytes"].as_u64().unwrap_or_default())?;
            return Ok(format!("\"{}\"", "x".repeat(length.saturating_sub(2))).into());
        }
        "print" => {
            println!("{}", asked["text"].as_str().unwrap_or("to stdout"));
            eprintln!("to stderr");
        }
        "panic" => Err("asked to fail")?,
        "exit" => process::exit(i32::try_from(asked["code"].as_i64().unwrap_or(1))?),
        "abort" => process::abort(),
        "kill" => {
            let me = process::id().to_string();
            Command::new("kill").args(["-KILL", &me]).status()?;
            thread::sleep(Duration::from_secs(600));
        }
        "sleep" => thread::sleep(Duration::from_millis(
            asked["ms"].as_u64().unwrap_or(600_000),
        )),
        "child" => {
            let mut sleep = Command::new("sleep");
            let child = sleep
                .arg("600")
                .stdout(Stdio::null())
                .process_group(0)
                .spawn()?;
            return Ok(child.id().to_string().into());
        }
        "allocate" => {
            let mut child = Command::new(env::current_exe()?);
            child.env("ECHO_ALLOCATE", asked["mb"].to_string());
            child.status()?;
        }
        "http" => {
            let body = asked["body"].as_str().unwrap_or_default();
            return Ok(body.as_bytes().to_vec());
        }
        "read" | "write" => {
            let path = asked["path"].as_str().ok_or("no path")?;
            let done = match asked["text"].as_str() {
                Some(text) => fs::write(path, text).map(|()| "written".to_owned()),
                None => fs::read_to_string(path),
            };
            let text = done.unwrap_or_else(|error| error.to_string());
            return Ok(json!(text).to_string().into());
        }
        "metadata" => return Ok(metadata()?.body),
        "cwd" => return Ok(json!(env::current_dir()?).to_string().into()),
        _ => {}
    }
    Ok(event.body.clone())
}

/// One connection to the Runtime API.
struct Api {
    host: String,
    stream: BufReader<TcpStream>,
}

/// A response of the Runtime API.
struct Answer {
    status: u16,
    /// Names in lower case.
    headers: BTreeMap<String, String>,
    /// As they were received.
    raw_headers: Vec<String>,
    body: Vec<u8>,
}

impl Api {
    fn connect() -> Result<Self, Failure> {
        Self::to(env::var("AWS_LAMBDA_RUNTIME_API")?)
    }

    fn to(host: String) -> Result<Self, Failure> {
        let stream = TcpStream::connect(&host)?;
        stream.set_nodelay(true)?;
        Ok(Self {
            host,
            stream: BufReader::new(stream),
        })
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
        self.stream
            .get_mut()
            .write_all(&[head.as_bytes(), body].concat())?;
        self.answer()
    }

    /// A streamed response of two chunks; failing midway, it ends with error trailers.
    fn stream(&mut self, path: &str, nonce: (&str, &str), fail: bool) -> Result<(), Failure> {
        let headers = [
            nonce,
            ("Lambda-Runtime-Function-Response-Mode", "streaming"),
            ("Transfer-Encoding", "chunked"),
            ("Trailer", "Lambda-Runtime-Function-Error-Type"),
            ("Trailer", "Lambda-Runtime-Function-Error-Body"),
        ];
        let mut text = self.head("POST", path, &headers);
        text += "\r\n5\r\n\"one \r\n4\r\ntwo\"\r\n0\r\n";
        if fail {
            // {"errorMessage":"midway","errorType":"Function.Midway"}
            text += "Lambda-Runtime-Function-Error-Type: Function.Midway\r\n\
                     Lambda-Runtime-Function-Error-Body: \
                     eyJlcnJvck1lc3NhZ2UiOiJtaWR3YXkiLCJlcnJvclR5cGUiOiJGdW5jdGlvbi5NaWR3YXkifQ==\r\n";
        }
        text += "\r\n";
        self.stream.get_mut().write_all(text.as_bytes())?;
        self.answer()?;
        Ok(())
    }

    fn head(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> String {
        let base = if path.starts_with('/') {
            ""
        } else {
            "/2018-06-01/"
        };
        let mut head = format!("{method} {base}{path} HTTP/1.1\r\nHost: {}\r\n", self.host);
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            head.extend([name, ": ", value, "\r\n"]);
        }
        head
    }

    fn answer(&mut self) -> Result<Answer, Failure> {
        let status = self.line()?.split(' ').nth(1).ok_or("no status")?.parse()?;
        let mut raw_headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            raw_headers.push(line);
        }
        let headers: BTreeMap<_, _> = raw_headers
            .iter()
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut body = Vec::new();
        if let Some(length) = headers.get("content-length") {
            self.take(length.parse()?, &mut body)?;
        } else {
            loop {
                let length = usize::from_str_radix(&self.line()?, 16)?;
                self.take(length, &mut body)?;
                self.line()?;
                if length == 0 {
                    break;
                }
            }
        }
        Ok(Answer {
            status,
            headers,
            raw_headers,
            body,
        })
    }

    fn line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err("the Runtime API closed the connection".into());
        }
        Ok(line.trim_end().to_owned())
    }

    fn take(&mut self, length: usize, body: &mut Vec<u8>) -> Result<(), Failure> {
        let start = body.len();
        body.resize(start + length, 0);
        self.stream
            .read_exact(body.get_mut(start..).unwrap_or_default())?;
        Ok(())
    }
}

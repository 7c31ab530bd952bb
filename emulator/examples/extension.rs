//! An external extension that does what its environment says: something to try the Extensions API
//! with, in the standard library only.
//!
//! ```text
//! cargo build --package bantam-emulator --example extension --example echo
//! cargo emulator run --function target/debug/examples/echo \
//!     --extension target/debug/examples/extension --env EXTENSION=log
//! ```
//!
//! The variable `EXTENSION`, or `EXTENSION_<name>` for the extension of that name (its file's, also
//! a link's), is a list of words with commas between them:
//!
//! - `log`: write what happens to stdout: `env`, `registered`, `event`, `telemetry` lines
//! - `name=X`, `events=INVOKE+SHUTDOWN`: what to register with
//! - `register_ms=N`, `next_ms=N`, `invoke_ms=N`, `shutdown_ms=N`: wait before `register`, before
//!   the first `next`, before every later `next`, before the exit at the end
//! - `exit=WHERE`, with `code=N`: exit at `start`, `registered`, `invoke`, `idle` (after a second
//!   `next` is pending)
//! - `error=init`, `error=exit`: report that it cannot go on, before the first `next` or at the
//!   first event, and exit
//! - `again`: ask for a further event after `SHUTDOWN`, as many extensions do
//! - `stay`: neither ask nor exit after `SHUTDOWN`
//! - `telemetry`: subscribe to platform events
//!
//! The HTTP is the least that works. It is not how to write an extension.

use std::error::Error;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;
use std::{env, process, thread};

type Failure = Box<dyn Error>;

fn main() -> Result<(), Failure> {
    let asked = Asked::read()?;
    if asked.has("log") {
        for (name, value) in env::vars() {
            println!("env {name}={value}");
        }
        println!("args {}", env::args().collect::<Vec<_>>().join(" "));
    }
    asked.wait("register_ms");
    asked.exit_at("start");
    let mut api = Api::connect()?;
    api.register(&asked)?;
    asked.exit_at("registered");
    if asked.has("telemetry") {
        subscribe(&mut api, asked.has("log"))?;
    }
    asked.wait("next_ms");
    if asked.value("error") == Some("init") {
        api.report("init/error")?;
        process::exit(1);
    }
    loop {
        let event = api.exchange("GET", "2020-01-01/extension/event/next", &[], b"")?;
        asked.log("event", &event.body);
        if event.status != 200 {
            return Err(format!("next was answered with {}", event.status).into());
        }
        if event.body.contains("\"eventType\":\"SHUTDOWN\"") {
            asked.wait("shutdown_ms");
            if asked.has("stay") {
                thread::sleep(Duration::from_secs(600));
            }
            if !asked.has("again") {
                return Ok(());
            }
        } else {
            asked.exit_at("invoke");
            if asked.value("error") == Some("exit") {
                api.report("exit/error")?;
                process::exit(1);
            }
            if asked.value("exit") == Some("idle") {
                let code = asked.code();
                thread::spawn(move || {
                    thread::sleep(Duration::from_millis(100));
                    process::exit(code);
                });
            }
            asked.wait("invoke_ms");
        }
    }
}

/// Listens and subscribes. What comes is written to stdout.
fn subscribe(api: &mut Api, log: bool) -> Result<(), Failure> {
    let listener = TcpListener::bind("0.0.0.0:0")?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || receive(stream, log));
        }
    });
    let body = format!(
        "{{\"schemaVersion\":\"2025-01-29\",\"types\":[\"platform\"],\
         \"buffering\":{{\"timeoutMs\":25,\"maxItems\":1000,\"maxBytes\":262144}},\
         \"destination\":{{\"protocol\":\"HTTP\",\"URI\":\"http://sandbox.localdomain:{port}/\"}}}}"
    );
    let answer = api.exchange("PUT", "2022-07-01/telemetry", &[], body.as_bytes())?;
    if log {
        println!("subscribed {}", answer.status);
    }
    Ok(())
}

/// Takes batches until the connection ends.
fn receive(stream: TcpStream, log: bool) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().ok()?;
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).ok()?;
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        stream.get_mut().write_all(answer).ok()?;
        if log {
            println!("telemetry {}", String::from_utf8_lossy(&body));
        }
    }
}

/// The behaviour that the variable `EXTENSION` asks for.
struct Asked {
    name: String,
    words: String,
}

impl Asked {
    fn read() -> Result<Self, Failure> {
        let path = env::args().next().ok_or("no name")?;
        let name = path.rsplit('/').next().unwrap_or(&path).to_owned();
        let own = env::var(format!("EXTENSION_{name}"));
        let words = own.or_else(|_| env::var("EXTENSION")).unwrap_or_default();
        Ok(Self { name, words })
    }

    fn has(&self, word: &str) -> bool {
        self.words.split(',').any(|other| other == word)
    }

    fn value(&self, key: &str) -> Option<&str> {
        let mut pairs = self
            .words
            .split(',')
            .filter_map(|word| word.split_once('='));
        pairs
            .find(|(other, _)| *other == key)
            .map(|(_, value)| value)
    }

    fn wait(&self, key: &str) {
        if let Some(ms) = self.value(key).and_then(|value| value.parse().ok()) {
            thread::sleep(Duration::from_millis(ms));
        }
    }

    fn code(&self) -> i32 {
        let code = self.value("code").and_then(|value| value.parse().ok());
        code.unwrap_or_default()
    }

    fn exit_at(&self, place: &str) {
        if self.value("exit") == Some(place) {
            process::exit(self.code());
        }
    }

    fn log(&self, what: &str, text: &str) {
        if self.has("log") {
            println!("{what} {}", text.trim_end());
        }
    }
}

/// One connection to the Extensions API.
struct Api {
    host: String,
    id: String,
    stream: BufReader<TcpStream>,
}

struct Answer {
    status: u16,
    id: Option<String>,
    body: String,
}

impl Api {
    fn connect() -> Result<Self, Failure> {
        let host = env::var("AWS_LAMBDA_RUNTIME_API")?;
        let stream = TcpStream::connect(&host)?;
        stream.set_nodelay(true)?;
        Ok(Self {
            host,
            id: String::new(),
            stream: BufReader::new(stream),
        })
    }

    fn register(&mut self, asked: &Asked) -> Result<(), Failure> {
        let name = asked.value("name").unwrap_or(&asked.name);
        let events: Vec<String> = asked
            .value("events")
            .unwrap_or("INVOKE+SHUTDOWN")
            .split('+')
            .filter(|event| !event.is_empty())
            .map(|event| format!("\"{event}\""))
            .collect();
        let body = format!("{{\"events\":[{}]}}", events.join(","));
        let headers = [
            ("Lambda-Extension-Name", name),
            ("Lambda-Extension-Accept-Feature", "accountId"),
        ];
        let path = "2020-01-01/extension/register";
        let answer = self.exchange("POST", path, &headers, body.as_bytes())?;
        asked.log("registered", &answer.body);
        self.id = answer
            .id
            .ok_or_else(|| format!("register was answered with {}", answer.status))?;
        Ok(())
    }

    fn report(&mut self, path: &str) -> Result<(), Failure> {
        let headers = [("Lambda-Extension-Function-Error-Type", "Extension.Asked")];
        let path = format!("2020-01-01/extension/{path}");
        self.exchange("POST", &path, &headers, b"{}")?;
        Ok(())
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
        let stream = self.stream.get_mut();
        stream.write_all(&[head.as_bytes(), body].concat())?;
        self.answer()
    }

    fn answer(&mut self) -> Result<Answer, Failure> {
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
        self.stream.read_exact(&mut body)?;
        let body = String::from_utf8(body)?;
        Ok(Answer { status, id, body })
    }

    fn line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err("the Extensions API closed the connection".into());
        }
        Ok(line.trim_end().to_owned())
    }
}

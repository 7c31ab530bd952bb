//! What the tests share.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use emulator::{Config, Emulator, Entry, Outcome, What};
use serde_json::Value;

/// The function `echo` with the default configuration.
pub(crate) fn echo() -> Config {
    Config::new(example("echo"))
}

/// An example of this crate.
pub(crate) fn example(name: &str) -> PathBuf {
    // Tests are built into `deps`, examples beside it.
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.push("examples");
    path.push(name);
    assert!(
        path.exists(),
        "{} is missing: cargo build -p emulator --examples",
        path.display()
    );
    path
}

/// A process that does nothing: the test is the runtime, and the platform watches the process.
pub(crate) fn idler() -> Config {
    let mut config = Config::new("/bin/sleep");
    config.args = vec!["600".into()];
    config
}

/// No function: the test is the runtime.
pub(crate) fn attached() -> (Emulator, Client) {
    attached_with(Config::new(""))
}

pub(crate) fn attached_with(config: Config) -> (Emulator, Client) {
    let emulator = Emulator::start(config).unwrap();
    let client = Client::connect(emulator.environments()[0].runtime_api);
    (emulator, client)
}

pub(crate) fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// The recorded error type and the error's message.
pub(crate) fn error_of(outcome: &Outcome) -> (String, String) {
    let Some(error) = &outcome.function_error else {
        panic!("no error: {outcome:?}")
    };
    let message = json(&error.body)["errorMessage"]
        .as_str()
        .unwrap()
        .to_owned();
    (error.error_type.clone(), message)
}

pub(crate) fn count(entries: &[Entry], test: impl Fn(&What) -> bool) -> usize {
    entries.iter().filter(|entry| test(&entry.what)).count()
}

/// The state letter of a process, if it exists.
pub(crate) fn process_state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// A path no other test uses, without a file.
pub(crate) fn unused_path(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("emulator-{}-{name}", std::process::id()));
    let _missing = fs::remove_file(&path);
    path
}

/// An HTTP client that sends what it is told.
pub(crate) struct Client {
    addr: SocketAddr,
    stream: BufReader<TcpStream>,
}

#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        Self {
            addr,
            stream: BufReader::new(stream),
        }
    }

    pub(crate) fn reconnect(&mut self) {
        *self = Self::connect(self.addr);
    }

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, &[], b"");
        self.answer().unwrap()
    }

    pub(crate) fn next(&mut self) -> Answer {
        self.get("/2018-06-01/runtime/invocation/next")
    }

    pub(crate) fn post(&mut self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.send("POST", path, headers, body);
        self.answer().unwrap()
    }

    /// `POST /runtime/invocation/{id}/{what}`
    pub(crate) fn report(
        &mut self,
        id: &str,
        what: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        self.post(
            &format!("/2018-06-01/runtime/invocation/{id}/{what}"),
            headers,
            body,
        )
    }

    pub(crate) fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.addr);
        for (name, value) in headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        head.extend(["Content-Length: ", &body.len().to_string(), "\r\n\r\n"]);
        self.write(&[head.as_bytes(), body].concat());
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    pub(crate) fn finish_writing(&mut self) {
        self.stream
            .get_mut()
            .shutdown(std::net::Shutdown::Write)
            .unwrap();
    }

    /// Everything until the end of the connection, and the error that ended it.
    pub(crate) fn rest(&mut self) -> (Vec<u8>, Option<std::io::ErrorKind>) {
        let mut bytes = Vec::new();
        let error = self.stream.read_to_end(&mut bytes).err();
        (bytes, error.map(|error| error.kind()))
    }

    /// Whether there are bytes to read now.
    pub(crate) fn has_answer(&mut self) -> bool {
        self.stream.get_ref().set_nonblocking(true).unwrap();
        let bytes = self.stream.fill_buf().map(<[u8]>::len);
        self.stream.get_ref().set_nonblocking(false).unwrap();
        bytes.is_ok_and(|bytes| bytes > 0)
    }

    pub(crate) fn answer(&mut self) -> std::io::Result<Answer> {
        let status = self
            .line()?
            .split(' ')
            .nth(1)
            .ok_or(std::io::ErrorKind::InvalidData)?
            .parse()
            .map_err(std::io::Error::other)?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line
                .split_once(": ")
                .ok_or(std::io::ErrorKind::InvalidData)?;
            headers.push((name.to_owned(), value.to_owned()));
        }
        let mut answer = Answer {
            status,
            headers,
            body: Vec::new(),
        };
        if let Some(length) = answer.header("Content-Length").map(str::to_owned) {
            answer
                .body
                .resize(length.parse().map_err(std::io::Error::other)?, 0);
            self.stream.read_exact(&mut answer.body)?;
        } else if answer.header("Transfer-Encoding").is_some() {
            while let Some(chunk) = self.chunk()? {
                answer.body.extend(chunk);
            }
        }
        Ok(answer)
    }

    /// One chunk, `None` for the last.
    pub(crate) fn chunk(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        let length = usize::from_str_radix(&self.line()?, 16).map_err(std::io::Error::other)?;
        let mut chunk = vec![0; length];
        self.stream.read_exact(&mut chunk)?;
        self.line()?;
        Ok(Some(chunk).filter(|chunk| !chunk.is_empty()))
    }

    pub(crate) fn line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}

impl Answer {
    /// A header by its exact spelling.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn request_id(&self) -> String {
        self.header("Lambda-Runtime-Aws-Request-Id")
            .unwrap()
            .to_owned()
    }

    /// `errorType` of an error's body.
    pub(crate) fn error_type(&self) -> String {
        json(&self.body)["errorType"].as_str().unwrap().to_owned()
    }
}

//! The platform's end of telemetry: deliveries beside those of the emulator, good and bad.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use emulator::Config;

/// A connection to the extension's listener.
#[derive(Debug)]
pub(crate) struct Platform {
    stream: TcpStream,
}

impl Platform {
    /// Connects to where the extension of `config` listens.
    pub(crate) fn connect(config: &Config) -> Self {
        let stream = TcpStream::connect(address(config)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream }
    }

    /// Sends bytes, whatever they are.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Delivers a batch over HTTP and takes the answer: its status.
    pub(crate) fn post(&mut self, body: &[u8]) -> u16 {
        self.send(head(body.len()).as_bytes()).unwrap();
        self.send(body).unwrap();
        self.status().expect("an answer")
    }

    /// The status of the next answer, which has no body; `None` when the connection ended.
    pub(crate) fn status(&mut self) -> Option<u16> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            match self.stream.read(&mut byte) {
                Ok(0) => return None,
                Ok(_) => head.push(byte[0]),
                Err(error) if is_end(&error) => return None,
                Err(error) => panic!("no answer: {error}"),
            }
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.contains("\r\nContent-Length: 0\r\n"), "{head}");
        Some(head.split(' ').nth(1).unwrap().parse().unwrap())
    }

    /// Says that nothing more will be sent. It fails where the extension was the first to close.
    pub(crate) fn end(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// Closes this end and waits until the extension, having read everything, closes its own.
    pub(crate) fn close(self) {
        self.end().ok();
        self.wait_for_end();
    }

    /// Waits until the extension closes the connection.
    pub(crate) fn wait_for_end(mut self) {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) => assert!(is_end(&error), "the connection stays open: {error}"),
        }
    }
}

/// The head of a delivery.
pub(crate) fn head(body_bytes: usize) -> String {
    format!(
        "POST / HTTP/1.1\r\nHost: sandbox.localdomain\r\nContent-Type: application/json\r\n\
         Content-Length: {body_bytes}\r\n\r\n"
    )
}

/// Where the extension of `config` listens, on this machine.
pub(crate) fn address(config: &Config) -> SocketAddr {
    let (_, port) = config
        .env
        .iter()
        .find(|(name, _)| name == "BANTAM_TELEMETRY_PORT")
        .unwrap();
    SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()))
}

fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
    )
}

/// How long the extension may be silent.
const PATIENCE: Duration = Duration::from_secs(30);

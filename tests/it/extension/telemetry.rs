//! The platform's end of telemetry: deliveries beside those of the emulator, good and bad.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use emulator::Config;
use testkit::http::Client;

/// A connection to the extension's listener.
#[derive(Debug)]
pub(crate) struct Platform(Client);

impl Platform {
    /// Connects to where the extension of `config` listens.
    pub(crate) fn connect(config: &Config) -> Self {
        Self(Client::connect(address(config)))
    }

    /// Sends bytes, whatever they are.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write(bytes)
    }

    /// Delivers a batch over HTTP and takes the answer: its status.
    pub(crate) fn post(&mut self, body: &[u8]) -> u16 {
        self.send(head(body.len()).as_bytes()).unwrap();
        self.send(body).unwrap();
        self.status().expect("an answer")
    }

    /// The status of the next answer, which has no body; `None` when the connection ended.
    pub(crate) fn status(&mut self) -> Option<u16> {
        match self.0.response() {
            Ok(response) => {
                assert_eq!(response.header("Content-Length"), Some("0"));
                Some(response.status)
            }
            Err(error) => {
                assert!(is_end(error.kind()), "no answer: {error}");
                None
            }
        }
    }

    /// Says that nothing more will be sent. It fails where the extension was the first to close.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        self.0.finish_writing()
    }

    /// Closes this end and waits until the extension, having read everything, closes its own.
    pub(crate) fn close(mut self) {
        self.end().ok();
        self.wait_for_end();
    }

    /// Waits until the extension closes the connection.
    pub(crate) fn wait_for_end(mut self) {
        let (_, error) = self.0.rest();
        assert!(
            error.is_none_or(is_end),
            "the connection stays open: {error:?}"
        );
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

const fn is_end(error: ErrorKind) -> bool {
    matches!(
        error,
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
    )
}

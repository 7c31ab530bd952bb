//! The platform's end of telemetry: deliveries beside those of the emulator, good and bad.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use bantam_emulator::What;
use testkit::http::Client;

use crate::support::Env;

/// A connection to the extension's listener.
#[derive(Debug)]
pub(crate) struct Platform {
    client: Client,
    path: String,
}

impl Platform {
    /// Connects to where the extension listens.
    pub(crate) fn connect(env: &Env) -> Self {
        let (address, path) = destination(env);
        Self {
            client: Client::connect(address),
            path,
        }
    }

    /// The head of a delivery.
    pub(crate) fn head(&self, body_bytes: usize) -> String {
        head(&self.path, body_bytes)
    }

    /// Sends bytes, whatever they are.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.client.write(bytes)
    }

    /// Delivers a batch over HTTP and takes the answer: its status.
    pub(crate) fn post(&mut self, body: &[u8]) -> u16 {
        self.send(self.head(body.len()).as_bytes()).unwrap();
        self.send(body).unwrap();
        self.status().expect("an answer")
    }

    /// The status of the next answer, which has no body; `None` when the connection ended.
    pub(crate) fn status(&mut self) -> Option<u16> {
        match self.client.response() {
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
        self.client.finish_writing()
    }

    /// Closes this end and waits until the extension, having read everything, closes its own.
    pub(crate) fn close(mut self) {
        self.end().ok();
        self.wait_for_end();
    }

    /// Waits until the extension closes the connection.
    pub(crate) fn wait_for_end(mut self) {
        let (_, error) = self.client.rest();
        assert!(
            error.is_none_or(is_end),
            "the connection stays open: {error:?}"
        );
    }
}

/// The head of a delivery to this path.
pub(crate) fn head(path: &str, body_bytes: usize) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: sandbox.localdomain\r\nContent-Type: application/json\r\n\
         Content-Length: {body_bytes}\r\n\r\n"
    )
}

/// Where the extension listens on this machine, and the path that it subscribed with.
pub(crate) fn destination(env: &Env) -> (SocketAddr, String) {
    let transcript = env.transcript();
    let uri = transcript.iter().rev().find_map(|entry| match &entry.what {
        What::Subscribed { uri, .. } => uri.as_deref(),
        _ => None,
    });
    let uri = uri.expect("the extension subscribed");
    let (_, rest) = uri.split_once("//sandbox.localdomain:").unwrap();
    let (port, path) = rest.split_once('/').unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()));
    (address, format!("/{path}"))
}

const fn is_end(error: ErrorKind) -> bool {
    matches!(
        error,
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
    )
}

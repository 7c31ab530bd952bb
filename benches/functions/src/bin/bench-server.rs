//! A web server, as light as one can be: what stands between it and the caller is what is measured.
//! It answers a request with its body, and one without a body with [`PAGE_BYTES`].

use std::env;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;

/// The bytes of a page.
const PAGE_BYTES: usize = 1_000;

fn main() -> io::Result<()> {
    let address = format!("{}:{}", variable("AWS_LWA_HOST"), variable("PORT"));
    for stream in TcpListener::bind(address)?.incoming() {
        let stream = stream?;
        // A caller that is gone is no reason to end.
        thread::spawn(move || serve(stream).ok());
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a server is told its port so")]
fn variable(name: &str) -> String {
    env::var(name).unwrap_or_default()
}

/// Serves the requests of a connection, one after another.
fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let page = vec![b'x'; PAGE_BYTES];
    let mut received = Vec::new();
    loop {
        let (head, length) = loop {
            if let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") {
                break (end + 4, length(received.get(..end).unwrap_or_default()));
            }
            if read(&mut stream, &mut received)? == 0 {
                return Ok(());
            }
        };
        while received.len() < head + length {
            if read(&mut stream, &mut received)? == 0 {
                return Ok(());
            }
        }
        let body = received.get(head..head + length).unwrap_or_default();
        let body = if body.is_empty() { &page } else { body };
        let mut response = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        response.extend_from_slice(body);
        stream.write_all(&response)?;
        received.drain(..head + length);
    }
}

/// More of what the caller sends.
fn read(stream: &mut TcpStream, received: &mut Vec<u8>) -> io::Result<usize> {
    let mut piece = [0; 16 * 1024];
    let count = stream.read(&mut piece)?;
    received.extend_from_slice(piece.get(..count).unwrap_or_default());
    Ok(count)
}

/// The length of the body that a head announces.
fn length(head: &[u8]) -> usize {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let value = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    value
        .and_then(|value| value.trim().parse().ok())
        .unwrap_or(0)
}

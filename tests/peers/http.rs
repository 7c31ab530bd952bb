//! A client for one exchange.

use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::peer::Reply;

/// Sends one request and reads its response.
///
/// It speaks HTTP/1.0, so that the end of the connection is the end of the body.
///
/// # Errors
///
/// The server closed the connection before the end of the request, as one that refuses it may.
pub(crate) fn exchange(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Reply> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let mut head = format!("{method} {target} HTTP/1.0\r\nHost: {address}\r\n");
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    write!(head, "Content-Length: {}\r\n\r\n", body.len()).unwrap();
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    Ok(parse(bytes))
}

fn parse(mut bytes: Vec<u8>) -> Reply {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let body = bytes.split_off(end.expect("a head of a response") + 4);
    let head = String::from_utf8(bytes).unwrap().to_ascii_lowercase();
    let mut lines = head.lines();
    let status = lines
        .next()
        .unwrap()
        .split(' ')
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    if let Some(length) = lines.find_map(|line| line.strip_prefix("content-length: ")) {
        assert_eq!(
            length.parse(),
            Ok(body.len()),
            "the response was cut: {head}"
        );
    }
    Reply { status, body }
}

/// How long a peer may be silent: longer than any invocation of these tests.
const TIMEOUT: Duration = Duration::from_secs(60);

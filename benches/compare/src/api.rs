//! The Runtime, Extensions and Telemetry APIs, as cheap as they can be and the same for all.
//!
//! One thread, blocking sockets and one `poll` for each request. What it answers is what the
//! platform answers, framed as the platform frames it: the emulator is not used here, because its
//! own time would be most of what is measured.

use std::io::{IoSlice, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::Outcome;

/// A server for one process.
#[derive(Debug)]
pub(crate) struct Api {
    listener: TcpListener,
    /// By number; `None` where one has been closed.
    connections: Vec<Option<Connection>>,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    /// The request that is being read, or was read last.
    buffer: Vec<u8>,
    filled: usize,
}

/// A request that has been read whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) call: Call,
    /// When its first byte was there to be read.
    pub(crate) at: Instant,
    connection: usize,
    /// Where the body is in the buffer of the connection.
    body: (usize, usize),
}

/// The calls of a runtime and of an extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// The next invocation.
    Next,
    /// The response of an invocation.
    Response,
    /// A report that something failed.
    Error,
    /// An extension registers.
    Register,
    /// It subscribes to telemetry.
    Subscribe,
    /// It asks for the next event.
    Event,
    Other,
}

impl Api {
    /// A server on a port of its own.
    pub(crate) fn bind() -> Outcome<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        Ok(Self {
            listener,
            connections: Vec::new(),
        })
    }

    /// The value of `AWS_LAMBDA_RUNTIME_API`.
    pub(crate) fn address(&self) -> Outcome<String> {
        Ok(self.listener.local_addr()?.to_string())
    }

    /// Waits for a request, on any connection.
    pub(crate) fn request(&mut self) -> Outcome<Request> {
        loop {
            let ready = self.wait()?;
            let at = Instant::now();
            let Some(index) = ready else {
                self.open()?;
                continue;
            };
            let Some(slot) = self.connections.get_mut(index) else {
                continue;
            };
            match slot.as_mut().map(Connection::read).transpose()?.flatten() {
                Some((call, body)) => {
                    return Ok(Request {
                        call,
                        at,
                        connection: index,
                        body,
                    });
                }
                None => *slot = None,
            }
        }
    }

    /// Takes a connection.
    fn open(&mut self) -> Outcome<()> {
        let (stream, _) = self.listener.accept()?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let connection = Some(Connection {
            stream,
            buffer: vec![0; 64 * 1024],
            filled: 0,
        });
        // A peer opens hundreds in the course of a run.
        match self.connections.iter_mut().find(|slot| slot.is_none()) {
            Some(slot) => *slot = connection,
            None => self.connections.push(connection),
        }
        Ok(())
    }

    /// Takes a streamed response, each piece as it comes, head and framing included. The data of it
    /// has no line ends.
    pub(crate) fn stream(&mut self, mut take: impl FnMut(&[u8])) -> Outcome<()> {
        let index = loop {
            match self.wait()? {
                None => self.open()?,
                Some(index) => {
                    let slot = self
                        .connections
                        .get_mut(index)
                        .ok_or("no such connection")?;
                    let Some(connection) = slot.as_mut() else {
                        continue;
                    };
                    if connection.read_streamed(&mut take)? {
                        break index;
                    }
                    *slot = None;
                }
            }
        };
        let at = Instant::now();
        let (call, body) = (Call::Response, (0, 0));
        self.accept(&Request {
            call,
            at,
            connection: index,
            body,
        })
    }

    /// Waits for a request and refuses any other call than this one.
    pub(crate) fn expect(&mut self, call: Call) -> Outcome<Request> {
        let request = self.request()?;
        if request.call != call {
            let body = String::from_utf8_lossy(self.body(&request)).into_owned();
            return Err(format!("{:?} where {call:?} was expected: {body}", request.call).into());
        }
        Ok(request)
    }

    /// The body of a request, until the next one on its connection.
    pub(crate) fn body(&self, request: &Request) -> &[u8] {
        let connection = self.connections.get(request.connection);
        let (from, to) = request.body;
        connection
            .and_then(Option::as_ref)
            .and_then(|connection| connection.buffer.get(from..to))
            .unwrap_or_default()
    }

    /// Answers a request with these bytes.
    pub(crate) fn answer(&mut self, request: &Request, parts: &[&[u8]]) -> Outcome<()> {
        let connection = self.connections.get_mut(request.connection);
        let connection = connection.and_then(Option::as_mut);
        let stream = &mut connection.ok_or("no such connection")?.stream;
        let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut left = slices.as_mut_slice();
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            let count = stream.write_vectored(left)?;
            IoSlice::advance_slices(&mut left, count);
        }
        Ok(())
    }

    /// Takes the response of an invocation.
    pub(crate) fn accept(&mut self, response: &Request) -> Outcome<()> {
        self.answer(response, &[ACCEPTED])
    }

    /// The connection that can be read, or `None` for one that can be accepted.
    fn wait(&self) -> Outcome<Option<usize>> {
        let (mut open, mut waited) = (Vec::new(), Vec::new());
        for (index, connection) in self.connections.iter().enumerate() {
            if let Some(connection) = connection {
                open.push(index);
                waited.push(PollFd::new(&connection.stream, PollFlags::IN));
            }
        }
        waited.push(PollFd::new(&self.listener, PollFlags::IN));
        let patience = Timespec {
            tv_sec: i64::try_from(PATIENCE.as_secs())?,
            tv_nsec: 0,
        };
        if poll(&mut waited, Some(&patience))? == 0 {
            return Err(format!("nothing was asked for in {PATIENCE:?}").into());
        }
        let first = waited.iter().position(|fd| !fd.revents().is_empty());
        Ok(first.and_then(|first| open.get(first).copied()))
    }
}

impl Connection {
    /// Reads one request: its call and where its body is. `None` when the peer has closed.
    fn read(&mut self) -> Outcome<Option<(Call, (usize, usize))>> {
        self.filled = 0;
        let head_end = loop {
            if self.fill()? == 0 {
                return Ok(None);
            }
            let bytes = self.buffer.get(..self.filled).unwrap_or_default();
            if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
        };
        let head = self.buffer.get(..head_end).unwrap_or_default();
        let head = String::from_utf8_lossy(head);
        let call = call(&head);
        let length = length(&head)?;
        let end = head_end + length;
        if self.buffer.len() < end {
            self.buffer.resize(end, 0);
        }
        while self.filled < end {
            if self.fill()? == 0 {
                return Err("a request was cut off".into());
            }
        }
        Ok(Some((call, (head_end, end))))
    }

    /// Reads a request in chunks to its end. False when the peer has closed.
    fn read_streamed(&mut self, take: &mut impl FnMut(&[u8])) -> Outcome<bool> {
        let mut end = Vec::new();
        while !end.ends_with(b"\r\n0\r\n\r\n") {
            self.filled = 0;
            if self.fill()? == 0 {
                return match end.is_empty() {
                    true => Ok(false),
                    false => Err("a stream was cut off".into()),
                };
            }
            let piece = self.buffer.get(..self.filled).unwrap_or_default();
            take(piece);
            end.extend_from_slice(
                piece
                    .get(piece.len().saturating_sub(7)..)
                    .unwrap_or_default(),
            );
            end.drain(..end.len().saturating_sub(7));
        }
        Ok(true)
    }

    fn fill(&mut self) -> Outcome<usize> {
        if self.filled == self.buffer.len() {
            self.buffer.resize(self.filled * 2, 0);
        }
        let space = self.buffer.get_mut(self.filled..).unwrap_or_default();
        let count = self.stream.read(space)?;
        self.filled += count;
        Ok(count)
    }
}

fn call(head: &str) -> Call {
    let target = head.split(' ').nth(1).unwrap_or_default();
    match target {
        "/2018-06-01/runtime/invocation/next" => Call::Next,
        "/2020-01-01/extension/register" => Call::Register,
        "/2020-01-01/extension/event/next" => Call::Event,
        "/2022-07-01/telemetry" => Call::Subscribe,
        _ if target.ends_with("/response") => Call::Response,
        _ if target.ends_with("/error") => Call::Error,
        _ => Call::Other,
    }
}

/// The length of the body. Requests in chunks are refused: [`Api::stream`] takes those.
fn length(head: &str) -> Outcome<usize> {
    let mut length = 0;
    for line in head.lines() {
        let (name, value) = line.split_once(':').unwrap_or_default();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse()?;
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err("a request in chunks".into());
        }
    }
    Ok(length)
}

/// The head of an event and what stands behind it.
///
/// Up to 2 KiB the platform sends a length; what is longer comes in one chunk.
/// <https://github.com/refacktor-aws/aws-lambda-libc-runtime/tree/main/tests/integration/chunked-encoding>
#[derive(Debug)]
pub(crate) struct Framed {
    head: Vec<u8>,
    tail: &'static [u8],
}

impl Framed {
    pub(crate) fn new(event: &[u8]) -> Self {
        let length = event.len();
        let (framing, tail): (_, &[u8]) = if length <= LENGTH_BYTES_MAX {
            (format!("Content-Length: {length}\r\n\r\n"), b"")
        } else {
            let framing = format!("Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n");
            (framing, b"\r\n0\r\n\r\n")
        };
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
             Lambda-Runtime-Aws-Request-Id: 8476a536-e9f4-11e8-9739-2dfe598c3fcd\r\n\
             Lambda-Runtime-Deadline-Ms: 4102444800000\r\n\
             Lambda-Runtime-Invoked-Function-Arn: \
             arn:aws:lambda:us-east-1:123456789012:function:measured\r\n\
             Lambda-Runtime-Trace-Id: Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;\
             Parent=9a9197af755a6419;Sampled=1\r\n\
             Date: Sat, 21 Nov 2026 09:00:00 GMT\r\n{framing}"
        );
        Self {
            head: head.into_bytes(),
            tail,
        }
    }
}

impl Framed {
    /// Answers a `next` with the event.
    pub(crate) fn send(&self, api: &mut Api, next: &Request, event: &[u8]) -> Outcome<()> {
        api.answer(next, &[&self.head, event, self.tail])
    }
}

/// One invocation: the event goes out, the response comes in and is taken. Returns the `next` that
/// follows, and the bytes of the response.
pub(crate) fn invoke(
    api: &mut Api,
    next: &Request,
    framed: &Framed,
    event: &[u8],
) -> Outcome<(Request, usize)> {
    framed.send(api, next, event)?;
    let response = api.expect(Call::Response)?;
    let bytes = api.body(&response).len();
    api.accept(&response)?;
    Ok((api.expect(Call::Next)?, bytes))
}

/// How long a request may take to come.
const PATIENCE: Duration = Duration::from_secs(60);

const LENGTH_BYTES_MAX: usize = 2 * 1024;

const ACCEPTED: &[u8] = b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\n\
    Date: Sat, 21 Nov 2026 09:00:00 GMT\r\nContent-Length: 16\r\n\r\n{\"status\":\"OK\"}\n";

/// The answer to `register`.
pub(crate) const REGISTERED: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
    Lambda-Extension-Identifier: 8476a536-e9f4-11e8-9739-2dfe598c3fce\r\n\
    Date: Sat, 21 Nov 2026 09:00:00 GMT\r\nContent-Length: 102\r\n\r\n\
    {\"functionName\":\"measured\",\"functionVersion\":\"$LATEST\",\"handler\":\"handler\",\
    \"accountId\":\"123456789012\"}";

/// The answer to a subscription.
pub(crate) const SUBSCRIBED: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\
    Date: Sat, 21 Nov 2026 09:00:00 GMT\r\nContent-Length: 2\r\n\r\nOK";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_framed_as_the_platform_does() {
        let head = |bytes: usize| String::from_utf8(Framed::new(&vec![b'1'; bytes]).head).unwrap();
        assert!(head(2_048).ends_with("\r\nContent-Length: 2048\r\n\r\n"));
        assert!(head(2_049).ends_with("\r\nTransfer-Encoding: chunked\r\n\r\n801\r\n"));
    }

    #[test]
    fn an_answer_has_the_length_that_it_says() {
        for answer in [ACCEPTED, REGISTERED, SUBSCRIBED] {
            let text = std::str::from_utf8(answer).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert_eq!(length(head).unwrap(), body.len());
        }
    }

    #[test]
    fn calls_are_told_apart_by_their_target() {
        let table = [
            (
                "GET /2018-06-01/runtime/invocation/next HTTP/1.1",
                Call::Next,
            ),
            (
                "POST /2018-06-01/runtime/invocation/1/response HTTP/1.1",
                Call::Response,
            ),
            (
                "POST /2018-06-01/runtime/invocation/1/error HTTP/1.1",
                Call::Error,
            ),
            ("POST /2018-06-01/runtime/init/error HTTP/1.1", Call::Error),
            (
                "POST /2020-01-01/extension/register HTTP/1.1",
                Call::Register,
            ),
            ("GET /2020-01-01/extension/event/next HTTP/1.1", Call::Event),
            ("PUT /2022-07-01/telemetry HTTP/1.1", Call::Subscribe),
            ("GET /ping HTTP/1.1", Call::Other),
        ];
        for (line, expected) in table {
            assert_eq!(call(line), expected, "{line}");
        }
    }
}

//! HTTP/1.1 for tests, by another hand than Bantam's and the emulator's: a client that also sends
//! what is no request, and a server that answers what a test says. Heads are parsed by `httparse`.

use std::io::{self, BufRead, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use serde_json::Value;

/// A connection to a server.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    stream: BufReader<TcpStream>,
}

/// The response of a server.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The fields of the head, spelled as they came.
    pub headers: Vec<(String, String)>,
    /// The body without its framing.
    pub body: Vec<u8>,
}

/// The request of a client.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method, for example `POST`.
    pub method: String,
    /// The path and the query.
    pub target: String,
    /// The fields of the head, spelled as they came.
    pub headers: Vec<(String, String)>,
    /// The body without its framing.
    pub body: Vec<u8>,
}

/// Sends one request on a connection of its own and reads its response.
///
/// # Errors
///
/// The server closed the connection before it answered, as one that refuses a request may.
pub fn exchange(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Response> {
    let mut client = Client::connect(address);
    client.try_send(method, target, headers, body)?;
    client.response()
}

impl Client {
    /// Opens a connection.
    #[must_use]
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address)
            .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let stream = BufReader::new(stream);
        Self { address, stream }
    }

    /// Drops this connection and opens another one.
    pub fn reconnect(&mut self) {
        *self = Self::connect(self.address);
    }

    /// `GET`, and the response.
    pub fn get(&mut self, target: &str) -> Response {
        self.send("GET", target, &[], b"");
        self.response().unwrap()
    }

    /// `POST`, and the response.
    pub fn post(&mut self, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        self.send("POST", target, headers, body);
        self.response().unwrap()
    }

    /// Sends a request.
    pub fn send(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) {
        self.try_send(method, target, headers, body).unwrap();
    }

    fn try_send(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<()> {
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n", self.address);
        for (name, value) in headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        head.extend(["Content-Length: ", &body.len().to_string(), "\r\n\r\n"]);
        self.write(&[head.as_bytes(), body].concat())
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    ///
    /// The other end has closed the connection.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Says that nothing more will be sent.
    ///
    /// # Errors
    ///
    /// The other end was the first to close the connection.
    pub fn finish_writing(&mut self) -> io::Result<()> {
        self.stream.get_mut().shutdown(Shutdown::Write)
    }

    /// Everything until the end of the connection, and the error that ended it.
    pub fn rest(&mut self) -> (Vec<u8>, Option<ErrorKind>) {
        let mut bytes = Vec::new();
        let error = self.stream.read_to_end(&mut bytes).err();
        (bytes, error.map(|error| error.kind()))
    }

    /// Whether there are bytes to read now.
    pub fn has_response(&mut self) -> bool {
        self.stream.get_ref().set_nonblocking(true).unwrap();
        let bytes = self.stream.fill_buf().map(<[u8]>::len);
        self.stream.get_ref().set_nonblocking(false).unwrap();
        bytes.is_ok_and(|bytes| bytes > 0)
    }

    /// The next response.
    ///
    /// # Errors
    ///
    /// The connection ended first, or the bytes on it are no response.
    pub fn response(&mut self) -> io::Result<Response> {
        let mut response = self.head()?;
        if !matches!(response.status, 204 | 304) {
            let body = &mut response.body;
            match framing(&response.headers)? {
                Framing::Sized(length) => *body = read_sized(&mut self.stream, length)?,
                Framing::Chunked => {
                    while let Some(chunk) = self.chunk()? {
                        body.extend(chunk);
                    }
                }
                Framing::UntilClose => {
                    self.stream.read_to_end(body)?;
                }
            }
        }
        Ok(response)
    }

    /// The head of the next response, as a response without a body: that is still to be read.
    ///
    /// # Errors
    ///
    /// The connection ended first, or the bytes on it are no head.
    pub fn head(&mut self) -> io::Result<Response> {
        let head = read_head(&mut self.stream)?.ok_or(ErrorKind::UnexpectedEof)?;
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut parsed = httparse::Response::new(&mut fields);
        parsed.parse(&head).map_err(io::Error::other)?;
        let status = parsed.code.ok_or(ErrorKind::InvalidData)?;
        let headers = owned(parsed.headers);
        Ok(Response {
            status,
            headers,
            body: Vec::new(),
        })
    }

    /// One chunk of a body, `None` for the last.
    ///
    /// # Errors
    ///
    /// The connection ended first, or the bytes on it are no chunk.
    pub fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        read_chunk(&mut self.stream)
    }

    /// One line without its end.
    ///
    /// # Errors
    ///
    /// The connection ended first.
    pub fn line(&mut self) -> io::Result<String> {
        read_line(&mut self.stream)
    }

    /// The connection itself.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        self.stream.get_ref()
    }
}

impl Response {
    /// A field of the head by its exact spelling.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        value(&self.headers, |found| found == name)
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text()))
    }
}

impl Request {
    /// Reads a request; `None` where the connection ends before one begins.
    ///
    /// # Errors
    ///
    /// The connection ended within the request, or the bytes on it are no request.
    pub fn read(stream: &mut impl BufRead) -> io::Result<Option<Self>> {
        let Some(head) = read_head(stream)? else {
            return Ok(None);
        };
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut parsed = httparse::Request::new(&mut fields);
        parsed.parse(&head).map_err(io::Error::other)?;
        let method = parsed.method.ok_or(ErrorKind::InvalidData)?.to_owned();
        let target = parsed.path.ok_or(ErrorKind::InvalidData)?.to_owned();
        let headers = owned(parsed.headers);
        let body = match framing(&headers)? {
            Framing::Sized(length) => read_sized(stream, length)?,
            Framing::Chunked => {
                let mut body = Vec::new();
                while let Some(chunk) = read_chunk(stream)? {
                    body.extend(chunk);
                }
                body
            }
            // A request without a length has no body.
            Framing::UntilClose => Vec::new(),
        };
        Ok(Some(Self {
            method,
            target,
            headers,
            body,
        }))
    }

    /// A field of the head by its exact spelling.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        value(&self.headers, |found| found == name)
    }
}

/// A server whose answers a test chooses, and the requests that it has answered.
///
/// Each connection has a thread, and all end with the process.
#[derive(Debug)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// Every request, handed on before it is answered.
    pub requests: mpsc::Receiver<Request>,
}

/// How a [`Server`] answers a request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// This status line without its version, for example `200 OK`, and no body.
    Status(String),
    /// These bytes as they are; then the connection is closed.
    Bytes(Vec<u8>),
    /// This for ever, until the client closes the connection.
    Endless(Endless),
    /// Nothing: the connection is closed, and the request is not among [`Server::requests`].
    Lose,
}

/// A message that does not end.
#[derive(Clone, Debug)]
pub struct Endless {
    /// The part that has no end.
    pub name: &'static str,
    /// How it begins.
    pub start: String,
    /// What comes behind that, over and over.
    pub rest: String,
}

impl Endless {
    /// Every message with this start line, for example `HTTP/1.1 200 OK`, that can go on without
    /// end.
    #[must_use]
    pub fn all(start_line: &str) -> Vec<Self> {
        let head = format!("{start_line}\r\n");
        let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
        let kilobyte = "x".repeat(0x400);
        let table = [
            ("start line", start_line.to_owned(), kilobyte.clone()),
            ("field", format!("{head}X: "), kilobyte.clone()),
            ("fields", head, "X: a\r\n".to_owned()),
            ("blank lines", String::new(), "\r\n".to_owned()),
            ("body", chunked.clone(), format!("400\r\n{kilobyte}\r\n")),
            ("chunk size", chunked.clone(), "0".to_owned()),
            ("chunk extension", format!("{chunked}1;"), kilobyte),
            ("trailers", format!("{chunked}0\r\n"), "X: a\r\n".to_owned()),
        ];
        let table = table.into_iter();
        table
            .map(|(name, start, rest)| Self { name, start, rest })
            .collect()
    }

    /// A message whose body grows by one byte with 200 of the connection, so that no limit on its
    /// bytes is met soon.
    #[must_use]
    pub fn of_small_chunks(start_line: &str) -> Self {
        Self {
            name: "small chunks",
            start: format!("{start_line}\r\nTransfer-Encoding: chunked\r\n\r\n"),
            rest: format!("1;{}\r\nx\r\n", "e".repeat(194)),
        }
    }

    /// Writes it until the other end closes the connection.
    ///
    /// # Panics
    ///
    /// If the other end neither reads nor closes for a minute.
    pub fn write(&self, stream: &mut TcpStream) {
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let rest = self.rest.repeat(0x10000 / self.rest.len() + 1);
        let mut written = stream.write_all(self.start.as_bytes());
        while written.is_ok() {
            written = stream.write_all(rest.as_bytes());
        }
        let error = written.unwrap_err().kind();
        assert_ne!(error, ErrorKind::WouldBlock, "{} is not refused", self.name);
    }
}

impl Server {
    /// Listens, and answers each request as `answer` says of its number and of the request.
    pub fn start(answer: impl FnMut(usize, &Request) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, requests) = mpsc::channel();
        let answers = Arc::new(Mutex::new(Numbered { count: 0, answer }));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (answers, sender) = (Arc::clone(&answers), sender.clone());
                thread::spawn(move || serve(stream.unwrap(), &answers, &sender));
            }
        });
        Self { address, requests }
    }

    /// Answers every request with this status line.
    #[must_use]
    pub fn with_status(status: &str) -> Self {
        let status = status.to_owned();
        Self::start(move |_, _| Answer::Status(status.clone()))
    }
}

/// How many requests were answered, and how the next one is.
struct Numbered<A> {
    count: usize,
    answer: A,
}

/// Answers the requests of one connection. Neither end of it says why it ended: a client that lost
/// its answer asks again.
fn serve(
    stream: TcpStream,
    answers: &Mutex<Numbered<impl FnMut(usize, &Request) -> Answer>>,
    requests: &mpsc::Sender<Request>,
) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut stream = BufReader::new(stream);
    while let Ok(Some(request)) = Request::read(&mut stream) {
        let answer = {
            let mut answers = answers.lock().unwrap();
            let number = answers.count;
            answers.count += 1;
            (answers.answer)(number, &request)
        };
        let (bytes, closes) = match answer {
            Answer::Endless(endless) => {
                requests.send(request).ok();
                endless.write(stream.get_mut());
                return;
            }
            Answer::Status(status) => {
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
                (head.into_bytes(), false)
            }
            Answer::Bytes(bytes) => (bytes, true),
            Answer::Lose => return,
        };
        // A test need not look at its requests.
        requests.send(request).ok();
        if stream.get_mut().write_all(&bytes).is_err() || closes {
            return;
        }
    }
}

enum Framing {
    Sized(usize),
    Chunked,
    UntilClose,
}

fn framing(headers: &[(String, String)]) -> io::Result<Framing> {
    let named = |name: &str| value(headers, |found| found.eq_ignore_ascii_case(name));
    if let Some(length) = named("Content-Length") {
        let length = length.parse().map_err(io::Error::other)?;
        return Ok(Framing::Sized(length));
    }
    Ok(match named("Transfer-Encoding") {
        Some(_) => Framing::Chunked,
        None => Framing::UntilClose,
    })
}

fn value(headers: &[(String, String)], is_it: impl Fn(&str) -> bool) -> Option<&str> {
    let found = headers.iter().find(|(name, _)| is_it(name));
    found.map(|(_, value)| value.as_str())
}

fn owned(fields: &[httparse::Header<'_>]) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let fields = fields.iter();
    let fields = fields.map(|field| (field.name.to_owned(), text(field.value)));
    fields.collect()
}

/// The bytes of a head with the empty line; `None` where the connection ends before it.
fn read_head(stream: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_until(b'\n', &mut head)? == 0 {
            return if head.is_empty() {
                Ok(None)
            } else {
                Err(ErrorKind::UnexpectedEof.into())
            };
        }
    }
    Ok(Some(head))
}

fn read_sized(stream: &mut impl BufRead, length: usize) -> io::Result<Vec<u8>> {
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(body)
}

fn read_chunk(stream: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let length = usize::from_str_radix(&read_line(stream)?, 16).map_err(io::Error::other)?;
    let chunk = read_sized(stream, length)?;
    read_line(stream)?;
    Ok(Some(chunk).filter(|chunk| !chunk.is_empty()))
}

fn read_line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}

/// Fields that a head may have here.
const FIELDS_MAX: usize = 64;

/// How long the other end may be silent: longer than any invocation of a test.
const PATIENCE: Duration = Duration::from_secs(60);

/// Reads one byte after the other until the text has this end, and returns it.
///
/// # Panics
///
/// If the peer closes before, or sends what is not text.
pub fn read_until(connection: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        let mut byte = [0];
        connection.read_exact(&mut byte).unwrap();
        text.push(byte[0]);
    }
    String::from_utf8(text).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_carries_several_requests() {
        let server = Server::start(|number, _| Answer::Status(format!("{} OK", 200 + number)));
        let mut client = Client::connect(server.address);
        assert_eq!(client.post("/a?b", &[("X-Name", "é")], b"body").status, 200);
        assert_eq!(client.get("/").status, 201);
        let request = server.requests.recv().unwrap();
        assert_eq!(request.method, "POST");
        assert_eq!(request.target, "/a?b");
        assert_eq!(request.header("X-Name"), Some("é"));
        assert_eq!(request.header("x-name"), None);
        assert_eq!(request.body, b"body");
    }

    #[test]
    fn a_body_is_sized_chunked_or_until_the_end() {
        for answer in [
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n{}",
        ] {
            let server = Server::start(move |_, _| Answer::Bytes(answer.into()));
            let response = exchange(server.address, "GET", "/", &[], b"").unwrap();
            assert_eq!(response.body, b"{}", "{answer}");
        }
    }

    #[test]
    fn a_request_that_is_lost_is_not_answered_and_not_handed_on() {
        let server = Server::start(|_, _| Answer::Lose);
        let error = exchange(server.address, "GET", "/", &[], b"").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        assert!(server.requests.try_recv().is_err());
    }

    #[test]
    fn what_is_no_response_is_an_error() {
        for answer in [
            "",
            "HTTP/1.1 200",
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx",
        ] {
            let server = Server::start(move |_, _| Answer::Bytes(answer.into()));
            exchange(server.address, "GET", "/", &[], b"").unwrap_err();
        }
    }
}

//! Fuzz targets of the reader: what it makes of any bytes, against a second reader that is written
//! from the grammar and sees all bytes at once, and against `httparse`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a target ends where a promise is broken"
)]

use alloc::vec::Vec;

use super::body::CloseReason;
use super::error::HttpError;
use super::reader::{Expect, Limits, Progress, Reader};
use crate::shared::fuzz::Random;
use crate::shared::limits::{
    BUFFER_START_BYTES, CHUNK_LINE_BYTES_MAX, FIELDS_MAX, INTERIM_RESPONSES_MAX,
};

/// Requests, one behind the other on one connection.
pub(crate) fn requests(data: &[u8]) {
    in_every_way(Expect::Request, data);
}

/// A response.
pub(crate) fn response(data: &[u8]) {
    in_every_way(Expect::Response, data);
}

/// Small, so that inputs get there.
const LIMITS: Limits = Limits {
    head_bytes_max: 300,
    ..Limits::of_body(100)
};

#[derive(Debug, PartialEq, Eq)]
struct Message {
    /// Method and target, or the status and the reason.
    start: [Vec<u8>; 2],
    fields: Vec<(Vec<u8>, Vec<u8>)>,
    body: Vec<u8>,
    close: Option<CloseReason>,
}

/// The messages of a connection, and how it ended.
#[derive(Debug, Default, PartialEq, Eq)]
struct Connection {
    messages: Vec<Message>,
    error: Option<HttpError>,
}

/// Reads the input whole, byte by byte, and split at places that depend on it.
fn in_every_way(expect: Expect, data: &[u8]) {
    let expected = reference(expect, data);
    let mut places = Random::of(data);
    let (one, rest) = data.split_at(places.below(data.len() + 1));
    let (two, three) = rest.split_at(places.below(rest.len() + 1));
    assert_eq!(read(expect, &[data]), expected, "whole");
    assert_eq!(read(expect, &[one, two, three]), expected, "in three");
    let bytes: Vec<&[u8]> = data.chunks(1).collect();
    assert_eq!(read(expect, &bytes), expected, "byte by byte");
}

fn read(expect: Expect, parts: &[&[u8]]) -> Connection {
    let total: usize = parts.iter().map(|part| part.len()).sum();
    let mut reader = Reader::new(expect, LIMITS);
    let mut connection = Connection::default();
    let error = feed(expect, &mut reader, parts, &mut connection.messages);
    // An error stays the same.
    if let Some(error) = error {
        assert_eq!(reader.advance(), Err(error));
        assert_eq!(reader.eof(), Err(error));
        assert_eq!(reader.close_reason(), Some(CloseReason::Incomplete));
    }
    connection.error = error;
    let room = 2 * (total + LIMITS.body_bytes_max + CHUNK_LINE_BYTES_MAX);
    assert!(reader.capacity() <= BUFFER_START_BYTES.max(room));
    assert!(reader.moved() <= 4 * total + BUFFER_START_BYTES);
    connection
}

/// Feeds the parts as a driver does, then the end of the connection.
fn feed(
    expect: Expect,
    reader: &mut Reader,
    parts: &[&[u8]],
    messages: &mut Vec<Message>,
) -> Option<HttpError> {
    let mut progress = Progress::Partial;
    for part in parts {
        let mut part = *part;
        while !part.is_empty() {
            let mut outcome = reader.read_from(&mut part);
            while expect == Expect::Request && outcome == Ok(Progress::Complete) {
                messages.push(message(reader));
                outcome = reader.next_message();
            }
            match outcome {
                Ok(now) => progress = now,
                Err(error) => return Some(error),
            }
        }
    }
    match reader.eof() {
        Ok(Progress::Complete) => {
            messages.push(message(reader));
            None
        }
        Ok(Progress::Partial) => panic!("the end of the connection changes nothing"),
        Err(HttpError::Closed) => {
            assert_eq!(progress, Progress::Partial);
            None
        }
        Err(error) => Some(error),
    }
}

fn message(reader: &Reader) -> Message {
    let head = reader.head();
    let start = match head.status() {
        Some(status) => {
            assert_eq!(reader.status(), Some(status));
            [status.to_string().into_bytes(), head.reason().to_vec()]
        }
        None => [head.method().to_vec(), head.target().to_vec()],
    };
    let owned = |(name, value): (&[u8], &[u8])| (name.to_vec(), value.to_vec());
    assert!(head.fields().all(|(name, _)| {
        let name = core::str::from_utf8(name);
        name.is_err() || head.field(name.unwrap()).is_some()
    }));
    Message {
        start,
        fields: head.fields().map(owned).collect(),
        body: reader.body().to_vec(),
        close: reader.close_reason(),
    }
}

/// The second reader. It follows RFC 9112 with the restrictions of `docs/http.md`.
fn reference(expect: Expect, data: &[u8]) -> Connection {
    let mut connection = Connection::default();
    let mut rest = data;
    while !rest.is_empty() {
        let mut reference = Reference {
            expect,
            data: rest,
            at: 0,
        };
        match reference.message() {
            Ok(mut message) => {
                rest = &rest[reference.at..];
                if expect == Expect::Response {
                    if !rest.is_empty() {
                        message.close = Some(CloseReason::UnexpectedBytes);
                    }
                    rest = b"";
                }
                connection.messages.push(message);
            }
            Err(error) => {
                connection.error = Some(error);
                break;
            }
        }
    }
    connection
}

struct Reference<'a> {
    expect: Expect,
    /// From the start of the message.
    data: &'a [u8],
    at: usize,
}

impl<'a> Reference<'a> {
    fn message(&mut self) -> Result<Message, HttpError> {
        for interim in 1.. {
            let start = self.at;
            let head = self.head();
            let head = match head {
                Ok(head) => {
                    against_httparse(self.expect, &self.data[start..self.at], &head);
                    head
                }
                Err(error) => {
                    refused_by_httparse(self.expect, &self.data[start..], error);
                    return Err(error);
                }
            };
            if !(100..200).contains(&head.status) {
                return self.body(head);
            }
            if head.status == 101 {
                return Err(HttpError::Upgrade);
            }
            if INTERIM_RESPONSES_MAX < interim {
                return Err(HttpError::OverLimit {
                    what: "interim responses",
                    limit: INTERIM_RESPONSES_MAX,
                    actual: interim,
                });
            }
        }
        panic!("no more numbers");
    }

    fn truncated(&self) -> HttpError {
        let received = self.data.len();
        HttpError::Truncated { received }
    }

    /// The next line of the section that began at `section`.
    fn line(
        &mut self,
        section: usize,
        what: &'static str,
        limit: usize,
    ) -> Result<&'a [u8], HttpError> {
        let over = HttpError::OverLimit {
            what,
            limit,
            actual: limit + 1,
        };
        let begin = self.at;
        loop {
            let Some(byte) = self.data.get(self.at) else {
                return Err(self.truncated());
            };
            if section + limit <= self.at {
                return Err(over);
            }
            match byte {
                0 => return Err(HttpError::Nul),
                b'\n' => return Err(HttpError::BareLf),
                b'\r' => break,
                _ => self.at += 1,
            }
        }
        match self.data.get(self.at + 1) {
            None => Err(self.truncated()),
            Some(_) if section + limit <= self.at + 1 => Err(over),
            Some(b'\n') => {
                self.at += 2;
                Ok(&self.data[begin..self.at - 2])
            }
            Some(_) => Err(HttpError::LoneCr),
        }
    }

    fn head_line(&mut self, section: usize) -> Result<&'a [u8], HttpError> {
        let limit = LIMITS.head_bytes_max;
        self.line(section, "bytes of head", limit)
    }

    fn head(&mut self) -> Result<ReferenceHead<'a>, HttpError> {
        let section = self.at;
        let line = self.head_line(section)?;
        let words: Vec<&[u8]> = line.splitn(3, |byte| *byte == b' ').collect();
        let version = |text: &[u8]| match text {
            b"HTTP/1.0" => Some(0),
            b"HTTP/1.1" => Some(1),
            _ => None,
        };
        let mut head = if self.expect == Expect::Request {
            let is_graphic =
                |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_graphic);
            let [method, target, protocol] = words[..] else {
                return Err(HttpError::RequestLine);
            };
            match version(protocol) {
                Some(version) if is_graphic(method) && is_graphic(target) => {
                    ReferenceHead::new(0, version, [method, target])
                }
                _ => return Err(HttpError::RequestLine),
            }
        } else {
            let (protocol, code, reason) = match words[..] {
                [protocol, code] => (protocol, code, &b""[..]),
                [protocol, code, reason] => (protocol, code, reason),
                _ => return Err(HttpError::StatusLine),
            };
            match (version(protocol), code) {
                (Some(version), [b'1'..=b'9', b'0'..=b'9', b'0'..=b'9']) => {
                    let status = core::str::from_utf8(code).unwrap().parse().unwrap();
                    ReferenceHead::new(status, version, [code, reason])
                }
                _ => return Err(HttpError::StatusLine),
            }
        };
        loop {
            let line = self.head_line(section)?;
            if line.is_empty() {
                return Ok(head);
            }
            let (name, value) = field(line)?;
            let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
            if is("content-length") {
                if head.length.is_some() {
                    return Err(HttpError::TwoContentLengths);
                }
                if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
                    return Err(HttpError::ContentLength);
                }
                let length = core::str::from_utf8(value).unwrap().parse();
                head.length = Some(length.unwrap_or(u64::MAX));
            }
            if is("transfer-encoding") {
                if head.is_chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(HttpError::TransferCoding);
                }
                head.is_chunked = true;
            }
            if is("connection") {
                let options = value.to_ascii_lowercase();
                for option in options.split(|byte| *byte == b',') {
                    head.says_close |= trimmed(option) == b"close";
                    head.says_keep_alive |= trimmed(option) == b"keep-alive";
                }
            }
            head.fields.push((name, value));
            check_count(head.fields.len())?;
        }
    }

    fn body(&mut self, head: ReferenceHead<'a>) -> Result<Message, HttpError> {
        let mut body = Vec::new();
        let mut is_until_close = false;
        if head.is_chunked && head.length.is_some() {
            return Err(HttpError::LengthAndChunked);
        }
        if head.is_chunked && head.version == 0 {
            return Err(HttpError::TransferCoding);
        }
        if matches!(head.status, 204 | 304) {
            // It has none, whatever its fields say.
        } else if head.is_chunked {
            self.chunks(&mut body)?;
        } else if let Some(length) = head.length {
            check_length(length)?;
            body = self.take(length)?.to_vec();
        } else if self.expect == Expect::Response {
            is_until_close = true;
            body = self.data[self.at..].to_vec();
            self.at = self.data.len();
            check_length(body.len().min(LIMITS.body_bytes_max + 1) as u64)?;
        }
        let close = if is_until_close {
            Some(CloseReason::BodyUntilClose)
        } else if head.says_close {
            Some(CloseReason::PeerSaidClose)
        } else if head.version == 0 && !head.says_keep_alive {
            Some(CloseReason::Http10)
        } else {
            None
        };
        let owned = |(name, value): &(&[u8], &[u8])| (name.to_vec(), value.to_vec());
        Ok(Message {
            start: head.start.map(<[u8]>::to_vec),
            fields: head.fields.iter().map(owned).collect(),
            body,
            close,
        })
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], HttpError> {
        let end = self.at + usize::try_from(length).unwrap();
        let taken = self.data.get(self.at..end);
        let taken = taken.ok_or_else(|| self.truncated())?;
        self.at = end;
        Ok(taken)
    }

    fn chunks(&mut self, body: &mut Vec<u8>) -> Result<(), HttpError> {
        loop {
            let what = "bytes of chunk-size line";
            let line = self.line(self.at, what, CHUNK_LINE_BYTES_MAX)?;
            let size = line.split(|byte| *byte == b';').next().unwrap();
            let size = trimmed(size);
            if size.is_empty() || !size.iter().all(u8::is_ascii_hexdigit) {
                return Err(HttpError::ChunkSize);
            }
            let size = u64::from_str_radix(core::str::from_utf8(size).unwrap(), 16);
            let size = size.map_err(|_overflow| HttpError::ChunkSizeOverflow)?;
            if size == 0 {
                break;
            }
            check_length((body.len() as u64).saturating_add(size))?;
            body.extend_from_slice(self.take(size)?);
            match self.data[self.at..] {
                [] | [b'\r'] => return Err(self.truncated()),
                [b'\r', b'\n', ..] => self.at += 2,
                _ => return Err(HttpError::ChunkEnd),
            }
        }
        let section = self.at;
        for count in 1.. {
            let line = self.head_line(section)?;
            if line.is_empty() {
                break;
            }
            field(line)?;
            check_count(count)?;
        }
        Ok(())
    }
}

struct ReferenceHead<'a> {
    /// 0 for a request.
    status: u16,
    version: u8,
    start: [&'a [u8]; 2],
    fields: Vec<(&'a [u8], &'a [u8])>,
    length: Option<u64>,
    is_chunked: bool,
    says_close: bool,
    says_keep_alive: bool,
}

impl<'a> ReferenceHead<'a> {
    const fn new(status: u16, version: u8, start: [&'a [u8]; 2]) -> Self {
        Self {
            status,
            version,
            start,
            fields: Vec::new(),
            length: None,
            is_chunked: false,
            says_close: false,
            says_keep_alive: false,
        }
    }
}

fn field(line: &[u8]) -> Result<(&[u8], &[u8]), HttpError> {
    if matches!(line[0], b' ' | b'\t') {
        return Err(HttpError::FoldedField);
    }
    let colon = line.iter().position(|byte| *byte == b':');
    let (name, value) = line.split_at(colon.ok_or(HttpError::Field)?);
    if name.is_empty() || name.contains(&b' ') || name.contains(&b'\t') {
        return Err(HttpError::Field);
    }
    Ok((name, trimmed(&value[1..])))
}

fn trimmed(text: &[u8]) -> &[u8] {
    let is_text = |byte: &u8| !matches!(byte, b' ' | b'\t');
    match (
        text.iter().position(is_text),
        text.iter().rposition(is_text),
    ) {
        (Some(first), Some(last)) => &text[first..=last],
        _ => b"",
    }
}

const fn check_count(actual: usize) -> Result<(), HttpError> {
    let limit = FIELDS_MAX;
    if limit < actual {
        let what = "fields";
        return Err(HttpError::OverLimit {
            what,
            limit,
            actual,
        });
    }
    Ok(())
}

const fn check_length(actual: u64) -> Result<(), HttpError> {
    let limit = LIMITS.body_bytes_max;
    if (limit as u64) < actual {
        return Err(HttpError::BodyTooLarge { limit, actual });
    }
    Ok(())
}

/// A head that was read: `httparse` reads the same, unless it has a rule that ours has not.
fn against_httparse(expect: Expect, bytes: &[u8], head: &ReferenceHead<'_>) {
    let is_token = |text: &[u8]| {
        text.iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
    };
    let is_text = |text: &[u8]| {
        text.iter()
            .all(|byte| *byte == b'\t' || !byte.is_ascii_control())
    };
    let fields = head.fields.iter();
    let is_strict = { fields }.all(|(name, value)| is_token(name) && is_text(value))
        && (head.status != 0 || is_token(head.start[0]))
        && is_text(head.start[1]);
    let mut headers = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let (parsed, start, version, headers) = if expect == Expect::Request {
        let mut request = httparse::Request::new(&mut headers);
        let parsed = request.parse(bytes);
        let start =
            [request.method, request.path].map(|text| text.unwrap_or_default().as_bytes().to_vec());
        (parsed, start, request.version, &*request.headers)
    } else {
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response.parse(bytes);
        let code = response.code.unwrap_or_default().to_string();
        // A reason that is not ASCII is left out.
        let reason = match response.reason {
            Some(reason) if !reason.is_empty() => reason.as_bytes(),
            _ => head.start[1],
        };
        (
            parsed,
            [code.into_bytes(), reason.to_vec()],
            response.version,
            &*response.headers,
        )
    };
    match parsed {
        Ok(httparse::Status::Complete(length)) => {
            assert_eq!(length, bytes.len());
            assert_eq!(version, Some(head.version));
            assert_eq!(start, head.start.map(<[u8]>::to_vec));
            let found: Vec<_> = headers
                .iter()
                .map(|header| (header.name.as_bytes(), header.value))
                .collect();
            assert_eq!(found, head.fields);
        }
        Ok(httparse::Status::Partial) => panic!("httparse does not see the end of the head"),
        Err(error) => assert!(!is_strict, "httparse refuses the head: {error}"),
    }
}

/// A head that was refused for its form: `httparse` refuses it, too, or takes what it is known to
/// take: an LF as the end of a line, empty lines in front of a request, and UTF-8 in its target.
fn refused_by_httparse(expect: Expect, bytes: &[u8], error: HttpError) {
    let is_form = matches!(
        error,
        HttpError::LoneCr
            | HttpError::Nul
            | HttpError::StatusLine
            | HttpError::RequestLine
            | HttpError::Field
            | HttpError::FoldedField
    );
    let has_bare_lf = bytes.iter().enumerate().any(|(at, byte)| {
        *byte == b'\n'
            && at
                .checked_sub(1)
                .is_none_or(|before| bytes[before] != b'\r')
    });
    if !is_form || has_bare_lf || bytes.starts_with(b"\r") {
        return;
    }
    let mut headers = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let is_complete = if expect == Expect::Request {
        httparse::Request::new(&mut headers)
            .parse(bytes)
            .is_ok_and(|status| status.is_complete())
    } else {
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response.parse(bytes);
        // No status is below 100.
        parsed.is_ok_and(|status| status.is_complete())
            && response.code.is_some_and(|code| 100 <= code)
    };
    let is_utf8 = error == HttpError::RequestLine && !bytes.is_ascii();
    assert!(
        !is_complete || is_utf8,
        "httparse takes what is refused with {error}"
    );
}

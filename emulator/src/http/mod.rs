//! Pieces of HTTP that every server and client here uses: bodies, headers, a port.

pub(crate) mod port;

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode, Version};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

/// A body that is sent in one piece, with `Content-Length` or as one chunk, or as it comes.
#[derive(Debug)]
pub(crate) enum Payload {
    Whole { data: Option<Bytes>, sized: bool },
    Streamed(mpsc::Receiver<Result<Bytes, CutOff>>),
}

/// A body ends before its end: the connection is closed without the last chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CutOff;

impl fmt::Display for CutOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the response is cut off")
    }
}

impl Error for CutOff {}

impl Payload {
    pub(crate) fn sized(data: impl Into<Bytes>) -> Self {
        Self::Whole {
            data: Some(data.into()).filter(|data| !data.is_empty()),
            sized: true,
        }
    }

    /// One chunk and no `Content-Length` (RFC 9112 section 7.1).
    pub(crate) fn one_chunk(data: Bytes) -> Self {
        Self::Whole {
            data: Some(data).filter(|data| !data.is_empty()),
            sized: false,
        }
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        match &mut *self {
            Self::Whole { data, .. } => Poll::Ready(data.take().map(|data| Ok(Frame::data(data)))),
            Self::Streamed(parts) => parts
                .poll_recv(cx)
                .map(|part| part.map(|part| part.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole { data: None, .. })
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole {
                data: Some(data),
                sized: true,
            } => SizeHint::with_exact(u64::try_from(data.len()).unwrap_or(u64::MAX)),
            Self::Whole { data: None, .. } => SizeHint::with_exact(0),
            Self::Whole { .. } | Self::Streamed(_) => SizeHint::new(),
        }
    }
}

/// A response with these headers.
pub(crate) fn response<'a>(
    status: u16,
    headers: impl IntoIterator<Item = (&'a str, &'a str)>,
    body: Payload,
) -> Response<Payload> {
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in headers {
        // Only what a function answers as an HTTP response may be no header's name.
        if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
            response.headers_mut().append(name, header_value(value));
        }
    }
    response
}

/// A header's value in which what HTTP cannot carry, a line end for one, is a blank, as Go's
/// `net/http` writes it.
fn header_value(text: &str) -> HeaderValue {
    let mut bytes = text.as_bytes().to_vec();
    for byte in &mut bytes {
        if byte.is_ascii_control() && *byte != b'\t' {
            *byte = b' ';
        }
    }
    // Nothing is left that could be refused.
    HeaderValue::from_bytes(&bytes).unwrap_or(HeaderValue::from_static(""))
}

/// A JSON response.
pub(crate) fn json_response(status: u16, body: impl Into<Bytes>) -> Response<Payload> {
    response(
        status,
        [(CONTENT_TYPE.as_str(), "application/json")],
        Payload::sized(body),
    )
}

/// The error body of the Runtime API and of function errors.
pub(crate) fn error_json(error_type: &str, message: &str) -> Vec<u8> {
    json!({ "errorMessage": message, "errorType": error_type })
        .to_string()
        .into_bytes()
}

/// The members of a JSON object. A derived `Deserialize` alone would take an array for one, its
/// elements for the members in their order.
pub(crate) fn object<T>(text: &[u8]) -> serde_json::Result<T>
where
    T: for<'de> Deserialize<'de>,
{
    T::deserialize(serde_json::from_slice::<Map<String, Value>>(text)?)
}

/// What is wrong with the host of a request, in the words of Go's `net/http`. To a request of
/// HTTP/1.1 without the field, and to any with two, a server "MUST respond with a 400" (RFC 9112
/// section 3.2).
pub(crate) fn host_fault(request: &Parts) -> Option<&'static str> {
    let hosts = request.headers.get_all(HOST).iter().count();
    match hosts {
        0 if request.version == Version::HTTP_11 => {
            Some("400 Bad Request: missing required Host header\n")
        }
        0 | 1 => None,
        _ => Some("400 Bad Request: too many Host headers\n"),
    }
}

/// A header as text, if it is there and not empty.
pub(crate) fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?;
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned()).filter(|value| !value.is_empty())
}

/// All headers as text, names in lower case.
pub(crate) fn header_list(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|(name, value)| {
            (
                name.as_str().to_owned(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        })
        .collect()
}

/// A request's body, read to its end.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    /// At most the limit and what of the chunk that passed it fitted.
    pub(crate) data: Bytes,
    /// The length that came, which may be more.
    pub(crate) length: usize,
    pub(crate) trailers: HeaderMap,
    /// The connection or the framing broke before the end.
    pub(crate) truncated: bool,
}

/// Reads a body to its end, so that the connection stays in step; keeps at most `limit` bytes. Of
/// one that is far longer the rest is left unread, and the connection ends with the answer.
pub(crate) async fn collect(body: Incoming, limit: usize) -> Collected {
    let mut reading = Reading::new(body, limit, limit.saturating_add(SURPLUS_BYTES_MAX));
    while reading.piece().await.is_some() {}
    reading.collected()
}

/// A body that is being read.
#[derive(Debug)]
pub(crate) struct Reading {
    body: Incoming,
    limit: usize,
    length_max: usize,
    data: BytesMut,
    collected: Collected,
}

impl Reading {
    /// Keeps at most `limit` bytes, and reads no more once there were `length_max`.
    pub(crate) fn new(body: Incoming, limit: usize, length_max: usize) -> Self {
        Self {
            body,
            limit,
            length_max,
            data: BytesMut::new(),
            collected: Collected::default(),
        }
    }

    /// How many bytes have come.
    pub(crate) fn length(&self) -> usize {
        self.collected.length
    }

    /// The next piece; `None` at the end.
    pub(crate) async fn piece(&mut self) -> Option<Bytes> {
        if self.length_max < self.collected.length {
            return None;
        }
        while let Some(frame) = self.body.frame().await {
            match frame.map(Frame::into_data) {
                Ok(Ok(piece)) => {
                    self.collected.length += piece.len();
                    let room = self.limit.saturating_sub(self.data.len()).min(piece.len());
                    self.data
                        .extend_from_slice(piece.get(..room).unwrap_or_default());
                    return Some(piece);
                }
                Ok(Err(frame)) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        self.collected.trailers = trailers;
                    }
                }
                Err(_) => {
                    self.collected.truncated = true;
                    return None;
                }
            }
        }
        None
    }

    /// The body, of which no more is read.
    pub(crate) fn collected(self) -> Collected {
        Collected {
            data: self.data.freeze(),
            ..self.collected
        }
    }
}

/// The most the platform takes and gives: 6 MB and 100 bytes, the enforced value of "6 MB each
/// for request and response" (docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html).
pub(crate) const PAYLOAD_BYTES_MAX: usize = 6 * 1024 * 1024 + 100;

/// What is read of a body beyond its limit: a client that sends it all before it reads gets to see
/// the refusal.
pub(crate) const SURPLUS_BYTES_MAX: usize = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_carries_any_text_on_one_line() {
        let table = [
            ("plain, with\ttab", "plain, with\ttab"),
            ("{\r\n  \"a\": 1\n}", "{    \"a\": 1 }"),
            ("nul\0 and del\u{7f}", "nul  and del "),
            ("\u{e9}", "\u{e9}"),
            ("", ""),
        ];
        for (text, expected) in table {
            let answer = response(200, [("X-Text", text)], Payload::sized(""));
            let value = answer.headers().get("x-text").unwrap().as_bytes();
            assert_eq!(value, expected.as_bytes(), "{text:?}");
        }
    }
}

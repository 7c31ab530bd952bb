//! The parts of an HTTP request that every format of an event has.

use std::net::SocketAddr;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::http::request::Parts;
use percent_encoding::percent_decode_str;

use crate::http::header;

/// A request that becomes an event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    /// The path without the stage.
    pub(super) path: &'a str,
    pub(super) parts: &'a Parts,
    pub(super) body: &'a [u8],
    pub(super) peer: SocketAddr,
    pub(super) id: &'a str,
    /// The trace header of the invocation.
    pub(super) trace_id: &'a str,
    pub(super) now: SystemTime,
}

impl Request<'_> {
    /// The headers that AWS adds to those of the client, where the client has none of the name.
    pub(super) fn added(&self) -> [(&'static str, String); 4] {
        let host = header(&self.parts.headers, HOST.as_str()).unwrap_or_default();
        let port = host.rsplit_once(':').map(|(_, port)| port);
        let port = port.filter(|port| port.parse::<u16>().is_ok());
        let root = self.trace_id.split(';').next().unwrap_or_default();
        [
            ("x-amzn-trace-id", root.to_owned()),
            ("x-forwarded-for", self.peer.ip().to_string()),
            ("x-forwarded-port", port.unwrap_or("80").to_owned()),
            ("x-forwarded-proto", "http".to_owned()),
        ]
    }

    /// The body as an event has it, and whether that is base64, which its type decides; `None` if
    /// it is empty.
    pub(super) fn body(&self) -> Option<(String, bool)> {
        let content_type = header(&self.parts.headers, CONTENT_TYPE.as_str());
        self.body_as(is_text(content_type.as_deref()))
    }

    /// The same, as text if `may_be_text` says so and it is UTF-8.
    pub(super) fn body_as(&self, may_be_text: bool) -> Option<(String, bool)> {
        if self.body.is_empty() {
            return None;
        }
        let text = std::str::from_utf8(self.body).ok();
        Some(match text.filter(|_| may_be_text) {
            Some(text) => (text.to_owned(), false),
            None => (STANDARD.encode(self.body), true),
        })
    }
}

/// A name or a value of a query, decoded.
pub(super) fn decoded(text: &str) -> String {
    let text = text.replace('+', " ");
    percent_decode_str(&text).decode_utf8_lossy().into_owned()
}

/// Whether a body of this media type is passed on as text. A form is not, as on AWS.
fn is_text(content_type: Option<&str>) -> bool {
    let Some(content_type) = content_type else {
        return true;
    };
    let media = content_type.split(';').next().unwrap_or_default().trim();
    let media = media.to_ascii_lowercase();
    media.starts_with("text/")
        || media.ends_with("+json")
        || media.ends_with("+xml")
        || matches!(
            media.as_str(),
            "application/json" | "application/xml" | "application/javascript"
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_text_or_base64_by_its_type() {
        let table: [(Option<&str>, &[u8], bool, &str); 9] = [
            (None, b"plain", false, "plain"),
            (Some("text/html"), b"<p>", false, "<p>"),
            (Some("application/JSON"), b"{}", false, "{}"),
            (Some("application/problem+json"), b"{}", false, "{}"),
            (Some("image/svg+xml; a=b"), b"<svg/>", false, "<svg/>"),
            (
                Some("application/x-www-form-urlencoded"),
                b"a=1",
                true,
                "YT0x",
            ),
            (Some("application/octet-stream"), b"a=1", true, "YT0x"),
            (Some("text/plain"), b"\xff", true, "/w=="),
            (None, b"\xff", true, "/w=="),
        ];
        for (content_type, body, base64, expected) in table {
            let mut request = hyper::Request::builder().uri("/");
            if let Some(content_type) = content_type {
                request = request.header(CONTENT_TYPE, content_type);
            }
            let (parts, ()) = request.body(()).unwrap().into_parts();
            let request = Request {
                path: "/",
                parts: &parts,
                body,
                peer: SocketAddr::from(([192, 0, 2, 7], 50_000)),
                id: "id",
                trace_id: "",
                now: SystemTime::UNIX_EPOCH,
            };
            let expected = Some((expected.to_owned(), base64));
            assert_eq!(request.body(), expected, "{content_type:?}");
        }
    }
}

//! The response of the server, as whoever sent the event reads it.

use std::borrow::Cow;

use super::event::{Origin, Pair};
use super::request::{is, is_hop_by_hop};
use crate::runtime::stream::Prelude;
use crate::shared::base64;
use crate::shared::http::Head;
use crate::shared::json::{is_json, key, member, strings, text_key, write_str};
use crate::shared::text::{push, push_decimal};

/// A response of the server.
#[derive(Debug)]
pub(super) struct Response<'a> {
    status: u16,
    reason: Cow<'a, str>,
    /// All fields, also those about the connection.
    fields: Vec<Pair<'a>>,
    body: &'a [u8],
}

impl<'a> Response<'a> {
    /// Takes apart what the server sent.
    #[inline(never)]
    pub(super) fn new(status: u16, head: Head<'a>, body: &'a [u8]) -> Self {
        let fields = head.fields().map(|(name, value)| (text(name), text(value)));
        Self {
            status,
            reason: text(head.reason()),
            fields: fields.collect(),
            body,
        }
    }

    /// What goes in front of the body when that is streamed.
    pub(super) fn prelude(&self) -> Prelude {
        let prelude = Prelude::new(self.status);
        self.fields.iter().fold(prelude, |prelude, (name, value)| {
            if is_hop_by_hop(name, &self.fields) {
                return prelude;
            }
            prelude.header(name, value)
        })
    }

    /// The type of the body.
    pub(super) fn content_type(&self) -> &str {
        self.field("content-type")
            .unwrap_or("application/octet-stream")
    }

    /// The document that answers the event. To an event that was not an HTTP request it is the
    /// body, or `null` if that is not JSON.
    #[inline(never)]
    pub(super) fn document(&self, origin: Option<Origin>) -> Vec<u8> {
        let Some(origin) = origin else {
            return if is_json(self.body) {
                self.body.to_vec()
            } else {
                b"null".to_vec()
            };
        };
        let (body, is_base64) = match self.body_text() {
            Some(text) => (Cow::Borrowed(text), false),
            None => {
                let mut text = Vec::with_capacity(self.body.len().div_ceil(3) * 4);
                base64::encode(self.body, &mut text);
                (
                    Cow::Owned(String::from_utf8(text).unwrap_or_default()),
                    true,
                )
            }
        };
        let mut out = Vec::with_capacity(body.len() + DOCUMENT_BYTES);
        push(&mut out, "{\"statusCode\":");
        push_decimal(&mut out, u64::from(self.status));
        push(&mut out, if is_base64 { IS_BASE64 } else { IS_TEXT });
        // Both parts have to be there, and some servers send no reason.
        if origin == Origin::LoadBalancer && !self.reason.is_empty() {
            let mut description = Vec::new();
            push_decimal(&mut description, u64::from(self.status));
            push(&mut description, " ");
            push(&mut description, &self.reason);
            let description = std::str::from_utf8(&description).unwrap_or_default();
            member("statusDescription", description, &mut out);
        }
        if origin != Origin::RestApi {
            self.write_headers(origin != Origin::HttpApi, &mut out);
        }
        // A load balancer reads one of the two, which its target group says.
        if matches!(origin, Origin::RestApi | Origin::LoadBalancer) {
            push(&mut out, ",\"multiValueHeaders\":{");
            for (name, values) in self.names() {
                text_key(name, &mut out);
                strings(values, &mut out);
            }
            push(&mut out, "}");
        }
        if origin == Origin::HttpApi {
            let cookies = self.names().find(|(name, _)| is(name, SET_COOKIE));
            key("cookies", &mut out);
            let cookies = cookies.map(|(_, values)| values);
            strings(cookies.unwrap_or_default(), &mut out);
        }
        push(&mut out, ",\"body\":");
        // It may be megabytes long, for which this is the faster way.
        out.extend(serde_json::to_vec(&body).unwrap_or_default());
        push(&mut out, "}");
        out
    }

    /// Writes the headers as one value for each name.
    fn write_headers(&self, with_cookies: bool, out: &mut Vec<u8>) {
        push(out, ",\"headers\":{");
        for (name, values) in self.names() {
            if !is(name, SET_COOKIE) {
                text_key(name, out);
                write_str(&values.join(", "), out);
            } else if with_cookies {
                // A comma may be part of a cookie. Names that differ in case are one name to HTTP,
                // and several to JSON.
                for (at, value) in values.iter().enumerate() {
                    text_key(&in_case(name, at), out);
                    write_str(value, out);
                }
            }
        }
        push(out, "}");
    }

    /// Each name that is not about the connection once, with its values.
    fn names(&self) -> impl Iterator<Item = (&str, Vec<&str>)> {
        self.fields
            .iter()
            .enumerate()
            .filter_map(|(at, (name, _))| {
                let mut before = self.fields.iter().take(at);
                if before.any(|(other, _)| is(name, other)) || is_hop_by_hop(name, &self.fields) {
                    return None;
                }
                let values = self.fields.iter().filter(|(other, _)| is(name, other));
                Some((&**name, values.map(|(_, value)| &**value).collect()))
            })
    }

    /// The first value of a field.
    fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        let field = fields.find(|(other, _)| is(name, other));
        field.map(|(_, value)| &**value)
    }

    /// The body, if it is to be sent as text.
    fn body_text(&self) -> Option<&str> {
        let text = std::str::from_utf8(self.body).ok()?;
        let is_text = text.is_empty()
            || self.field("content-encoding").is_none()
                && (self.field("content-type").is_none_or(is_text_type)
                    || self.field("x-lambda-http-content-encoding") == Some("text"));
        is_text.then_some(text)
    }
}

/// True for the types whose bodies are text.
fn is_text_type(content_type: &str) -> bool {
    let content_type = content_type.to_ascii_lowercase();
    let (kind, _parameters) = content_type.split_once(';').unwrap_or((&content_type, ""));
    TEXT_PREFIXES
        .iter()
        .any(|prefix| content_type.starts_with(prefix))
        || TEXT_SUFFIXES
            .iter()
            .any(|suffix| kind.trim_end().ends_with(suffix))
}

/// A part of a head as text. Bytes that are not UTF-8 are Latin-1, as of old.
///
/// <https://www.rfc-editor.org/rfc/rfc9110#section-5.5>
fn text(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_latin_1) => Cow::Owned(bytes.iter().copied().map(char::from).collect()),
    }
}

/// The name with letters in another case, another one for each number up to 511.
fn in_case(name: &str, mut number: usize) -> String {
    let flip = |c: char| {
        let is_flipped = c.is_ascii_alphabetic() && number & 1 == 1;
        number >>= usize::from(c.is_ascii_alphabetic());
        if is_flipped {
            char::from(c as u8 ^ 0x20)
        } else {
            c
        }
    };
    name.chars().map(flip).collect()
}

const IS_TEXT: &str = ",\"isBase64Encoded\":false";
const IS_BASE64: &str = ",\"isBase64Encoded\":true";

/// Bytes of a document beside its body, as most are.
const DOCUMENT_BYTES: usize = 1_024;

const SET_COOKIE: &str = "set-cookie";

/// How the types begin whose bodies are text. These are the ones of AWS Lambda Web Adapter.
const TEXT_PREFIXES: [&str; 5] = [
    "text",
    "application/json",
    "application/javascript",
    "application/xml",
    "application/yaml",
];

/// How they end, without parameters.
const TEXT_SUFFIXES: [&str; 3] = ["+xml", "+yaml", "+json"];

//! The response in the form that its event asks for.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::{HeaderMap, SET_COOKIE};
use http::response::Parts;
use serde::Serialize;

use crate::event::Source;

/// A response as JSON. Members that a source does not know are left out.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Reply {
    status_code: u16,
    /// Of a load balancer.
    #[serde(skip_serializing_if = "Option::is_none")]
    status_description: Option<String>,
    /// One of the two, which a load balancer and VPC Lattice ask for even if it is empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    multi_value_headers: Option<BTreeMap<String, Vec<String>>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cookies: Vec<String>,
    body: String,
    is_base64_encoded: bool,
}

impl Reply {
    pub(crate) fn new(source: Source, head: &Parts, body: &[u8]) -> Self {
        let (body, is_base64_encoded) = match std::str::from_utf8(body) {
            Ok(text) => (text.to_owned(), false),
            Err(_) => (BASE64_STANDARD.encode(body), true),
        };
        let status = head.status;
        let mut reply = Self {
            status_code: status.as_u16(),
            status_description: None,
            headers: None,
            multi_value_headers: None,
            cookies: Vec::new(),
            body,
            is_base64_encoded,
        };
        match source {
            Source::Rest => reply.multi_value_headers = Some(several(&head.headers)),
            Source::Http => {
                reply.headers = Some(joined(&head.headers));
                let cookies = head.headers.get_all(SET_COOKIE).iter();
                reply.cookies = cookies.map(text).collect();
            }
            Source::Balancer { multi_value } => {
                if multi_value {
                    reply.multi_value_headers = Some(several(&head.headers));
                } else {
                    reply.headers = Some(joined_with_cookies(&head.headers));
                }
                let reason = status.canonical_reason().unwrap_or("Unknown");
                reply.status_description = Some(format!("{} {reason}", status.as_u16()));
            }
            Source::Lattice => reply.headers = Some(joined_with_cookies(&head.headers)),
        }
        reply
    }
}

/// Each header with all its values.
fn several(headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
    let mut fields: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        fields
            .entry(name.to_string())
            .or_default()
            .push(text(value));
    }
    fields
}

/// Each header but `Set-Cookie` with its values in one, which is the same by
/// <https://www.rfc-editor.org/rfc/rfc9110#section-5.3>.
fn joined(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut fields: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in headers {
        if name == SET_COOKIE {
            continue;
        }
        let field = fields.entry(name.to_string()).or_default();
        if !field.is_empty() {
            field.push_str(", ");
        }
        field.push_str(&text(value));
    }
    fields
}

/// The same, and each cookie under a name of its own. Names that differ in case are one name to
/// HTTP, and several to JSON.
fn joined_with_cookies(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut fields = joined(headers);
    for (number, cookie) in headers.get_all(SET_COOKIE).iter().enumerate() {
        fields.insert(in_case(SET_COOKIE.as_str(), number), text(cookie));
    }
    fields
}

/// The name with letters in upper case, other ones for each number up to 511.
fn in_case(name: &str, mut number: usize) -> String {
    let raise = |letter: char| {
        if !letter.is_ascii_alphabetic() {
            return letter;
        }
        let is_raised = number & 1 == 1;
        number >>= 1;
        if is_raised {
            letter.to_ascii_uppercase()
        } else {
            letter
        }
    };
    name.chars().map(raise).collect()
}

/// A value, with a mark in the place of each byte that is not text.
pub(crate) fn text(value: &http::HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

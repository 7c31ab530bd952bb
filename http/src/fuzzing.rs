//! Events as functions of bytes that panic where a promise is broken. `fuzz/` makes the bytes; the
//! test replays those that it kept.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cognitive_complexity,
    reason = "a target ends where a promise is broken"
)]

use bantam::Context;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::Response;
use http::header::SET_COOKIE;
use serde_json::Value;

use crate::event::{EventError, Source};
use crate::reply::Reply;
use crate::request;

/// An event: its request holds what the event holds, and the response to it comes back whole.
pub fn bantam_http(data: &[u8]) {
    let context = Context::for_test("id");
    let (request, source) = match request::read(data, &context) {
        Ok(read) => read,
        Err(EventError::Json(_)) => return,
        Err(error) => {
            assert!(serde_json::from_slice::<serde::de::IgnoredAny>(data).is_ok());
            return assert!(!error.to_string().is_empty());
        }
    };
    assert!(request.uri().path().starts_with('/'), "{}", request.uri());
    assert!(request.uri().authority().is_none());
    // https://www.rfc-editor.org/rfc/rfc3986#section-2.1
    for code in request.uri().to_string().split('%').skip(1) {
        assert!(code.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit));
    }
    if let Ok(event) = serde_json::from_slice::<Value>(data) {
        let body = event["body"].as_str().unwrap_or_default();
        match event["isBase64Encoded"].as_bool() {
            Some(true) => assert_eq!(BASE64_STANDARD.decode(body).unwrap(), **request.body()),
            _ => assert_eq!(body.as_bytes(), request.body()),
        }
        let method = match source {
            Source::Http => &event["requestContext"]["http"]["method"],
            Source::Lattice => &event["method"],
            Source::Rest | Source::Balancer { .. } => &event["httpMethod"],
        };
        assert_eq!(method.as_str(), Some(request.method().as_str()));
    }
    // What was asked comes back as the response.
    let mut response = Response::new(());
    *response.headers_mut() = request.headers().clone();
    let (head, ()) = response.into_parts();
    let reply = serde_json::to_value(Reply::new(source, &head, request.body())).unwrap();
    assert_eq!(reply["statusCode"], 200);
    let body = reply["body"].as_str().unwrap();
    match reply["isBase64Encoded"].as_bool().unwrap() {
        true => assert_eq!(BASE64_STANDARD.decode(body).unwrap(), **request.body()),
        false => assert_eq!(body.as_bytes(), request.body()),
    }
    let cookies = head.headers.get_all(SET_COOKIE).iter().count();
    if source == Source::Http {
        let found = reply["cookies"].as_array().map_or(0, Vec::len);
        assert_eq!(found, cookies);
    }
    if matches!(
        source,
        Source::Balancer { multi_value: false } | Source::Lattice
    ) {
        let fields = reply["headers"].as_object().into_iter().flatten();
        let found = fields.filter(|(name, _)| name.eq_ignore_ascii_case(SET_COOKIE.as_str()));
        assert_eq!(found.count(), cookies.min(512));
    }
    for headers in ["headers", "multiValueHeaders"] {
        for (name, value) in reply[headers].as_object().into_iter().flatten() {
            let values = head.headers.get_all(name).iter().count();
            let found = value.as_array().map_or(1, Vec::len);
            assert!(found == values || value.is_string(), "{name}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_was_found_before_is_no_fault_now() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/bantam_http");
        testkit::corpus::each(&corpus, bantam_http);
    }
}

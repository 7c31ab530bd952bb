//! Fuzz targets of servers as handlers: events to requests, responses to documents, and settings.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cognitive_complexity,
    reason = "a target ends where a promise is broken"
)]

use std::ffi::OsString;
use std::net::IpAddr;
use std::os::unix::ffi::OsStringExt as _;

use serde_json::Value;

use super::event::{self, Origin};
use super::request::Request;
use super::response::Response;
use super::settings::Settings;
use crate::runtime::context::Context;
use crate::shared::base64;
use crate::shared::env::{Env, Function};
use crate::shared::fuzz::{feed, one_request};
use crate::shared::http::{Expect, Head, HeadWriter, Limits, Reader};
use crate::shared::limits::FIELDS_MAX;
use crate::shared::time::EpochMs;

/// The settings that these variables make.
pub(super) fn settings(variables: &[(&str, &str)]) -> Settings {
    let lookup = |name: &str| {
        let mut variables = variables.iter();
        let (_, value) = variables.find(|(key, _)| *key == name)?;
        Some(OsString::from(value))
    };
    Settings::read(&lookup, &|_| None).unwrap()
}

/// An event: the request that the server gets is one request, and holds what the event holds.
pub(crate) fn http_event(data: &[u8]) {
    // Metadata that the event may not mix with.
    let head = "HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: id\r\n\
                Lambda-Runtime-Trace-Id: Root=1\r\nLambda-Runtime-Client-Context: {\"a\":1}\r\n\
                Lambda-Runtime-Cognito-Identity: {\"cognitoIdentityId\":\"i\",\
                \"cognitoIdentityPoolId\":\"p\"}\r\nContent-Length: 0\r\n\r\n";
    let plain = settings(&[]);
    let other = settings(&[
        ("AWS_LWA_REMOVE_BASE_PATH", "/prod"),
        ("AWS_LWA_AUTHORIZATION_SOURCE", "x-auth"),
    ]);
    let mut reader = Reader::new(Expect::Response, Limits::of_body(0));
    feed(&mut reader, head.as_bytes()).unwrap();
    let function = Function::default();
    let context = Context::parse(reader.head(), &function, EpochMs(0)).unwrap();
    for settings in [&plain, &other] {
        request_of(data, &context, settings);
    }
}

fn request_of(event: &[u8], context: &Context<'_>, settings: &Settings) {
    let parsed = event::parse(event);
    let Some(request) = Request::new(event, context, settings) else {
        let event = parsed.unwrap();
        assert!(event.is_base64 && base64::decode(event.body.as_bytes()).is_none());
        return;
    };
    let mut headers = vec![httparse::EMPTY_HEADER; 1_000];
    let mut read = httparse::Request::new(&mut headers);
    let length = read.parse(&request.head).unwrap().unwrap();
    assert_eq!(length, request.head.len());
    assert_eq!(read.method, Some(&*request.method));
    assert_eq!(read.path, Some(&*request.target));
    // https://www.rfc-editor.org/rfc/rfc3986#section-2.1
    for code in request.target.split('%').skip(1) {
        assert!(code.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit));
    }
    let values = |name: &str| -> Vec<&[u8]> {
        let named = read
            .headers
            .iter()
            .filter(|header| header.name.eq_ignore_ascii_case(name));
        named.map(|header| header.value).collect()
    };
    assert_eq!(values("transfer-encoding"), [&b""[..]; 0]);
    assert_eq!(values("host").len(), 1);
    match values("content-length")[..] {
        [] => assert!(request.body.is_empty()),
        [length] => assert_eq!(length, request.body.len().to_string().as_bytes()),
        _ => panic!("two lengths"),
    }
    let [invocation] = values("x-amzn-lambda-context")[..] else {
        panic!("one context");
    };
    let invocation: Value = serde_json::from_slice(invocation).unwrap();
    assert_eq!(invocation["request_id"], "id");
    assert_eq!(invocation["client_context"]["a"], 1);
    assert_eq!(values("x-amzn-trace-id"), [b"Root=1"]);
    let [about_request] = values("x-amzn-request-context")[..] else {
        panic!("one context");
    };
    assert!(about_request.iter().all(|byte| matches!(byte, b' '..=b'~')));
    match &parsed {
        Some(event) => {
            assert_eq!(
                about_request,
                crate::shared::json::ascii(event.context.get())
            );
            let own = 5 + usize::from(!event.cookies.is_empty());
            assert!(read.headers.len() <= event.headers.len() + own);
            let body = event.body.as_bytes();
            let body = if event.is_base64 {
                base64::decode(body).unwrap()
            } else {
                body.to_vec()
            };
            assert_eq!(body, *request.body);
        }
        None => {
            assert_eq!(*request.body, *event);
            assert_eq!(read.headers.len(), 6);
        }
    }
    if read.headers.len() <= FIELDS_MAX && request.head.len() < 16 * 1024 {
        let read = one_request(&[&*request.head, &*request.body].concat());
        assert_eq!(read.body(), &*request.body);
    }
}

/// A response of a server, as each sender of an event reads it, and as a prelude.
pub(crate) fn http_reply(data: &[u8]) {
    let mut reader = Reader::new(Expect::Response, Limits::of_body(4_096));
    if feed(&mut reader, data).is_none() {
        return;
    }
    let status = reader.status().unwrap();
    let response = Response::new(status, reader.head(), reader.body());
    let head = reader.head();
    let is_cookie = |(name, _): &(&[u8], &[u8])| name.eq_ignore_ascii_case(b"set-cookie");
    let cookies = head.fields().filter(is_cookie).count();
    for origin in [
        Origin::RestApi,
        Origin::HttpApi,
        Origin::LoadBalancer,
        Origin::Lattice,
    ] {
        let document = response.document(Some(origin));
        let document: Value = serde_json::from_slice(&document).unwrap();
        assert_eq!(document["statusCode"], status);
        let body = document["body"].as_str().unwrap().as_bytes();
        let body = match document["isBase64Encoded"].as_bool().unwrap() {
            true => base64::decode(body).unwrap(),
            false => body.to_vec(),
        };
        assert_eq!(body, reader.body());
        if origin == Origin::HttpApi && !is_connection_field(reader.head(), "set-cookie") {
            assert_eq!(document["cookies"].as_array().unwrap().len(), cookies);
        }
        for headers in ["headers", "multiValueHeaders"] {
            for (name, value) in document[headers].as_object().into_iter().flatten() {
                assert_eq!(value.is_array(), headers == "multiValueHeaders");
                assert_ne!(name.to_ascii_lowercase(), "transfer-encoding");
            }
        }
    }
    let document = response.document(None);
    let value = serde_json::from_slice::<Value>(&document);
    assert!(document == reader.body() || value.unwrap().is_null());
    let prelude: Value = serde_json::from_slice(&response.prelude().json()).unwrap();
    assert_eq!(prelude["statusCode"], status);
    let names = prelude["headers"].as_object().unwrap().keys();
    let mut names: Vec<String> = names.map(|name| name.to_ascii_lowercase()).collect();
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
}

/// True if the response lists this field as one of the connection.
fn is_connection_field(head: Head<'_>, name: &str) -> bool {
    head.fields().any(|(key, value)| {
        let value = String::from_utf8_lossy(value).to_ascii_lowercase();
        key.eq_ignore_ascii_case(b"connection") && value.contains(name)
    })
}

/// The variables of the runtime and of a server, `NAME=VALUE` on each line.
pub(crate) fn runtime_settings(data: &[u8]) {
    let lookup = |name: &str| {
        let lines = data.split(|byte| *byte == b'\n');
        let mut values =
            lines.filter_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b"="));
        values
            .next()
            .map(|value| OsString::from_vec(value.to_vec()))
    };
    let resolve = |_: &str| Some(IpAddr::from([10, 0, 0, 1]));
    if let Ok(env) = Env::read(&lookup, &resolve) {
        assert_ne!(env.api.address.port(), 0);
        assert!(env.handler.is_none_or(|handler| !handler.is_empty()));
    }
    match Settings::read(&lookup, &resolve) {
        Ok(settings) => {
            let readiness = &settings.readiness;
            let check = readiness.path.as_deref().unwrap_or("/");
            for (server, path) in [
                (&settings.server, &*settings.pass_through_path),
                (&settings.server, &*settings.before_snapshot_path),
                (&settings.server, &*settings.after_restore_path),
                (&readiness.server, check),
            ] {
                assert_ne!(server.address.port(), 0);
                if !path.is_empty() {
                    let mut head = Vec::new();
                    HeadWriter::request(&mut head, "GET", &[path], &server.authority).end();
                    let read = one_request(&head);
                    assert_eq!(read.head().target(), path.as_bytes());
                    assert_eq!(read.head().fields().count(), 1);
                }
            }
            let base = &settings.base_path;
            assert!(base.is_empty() || base.starts_with('/') && !base.ends_with('/'));
            assert!(settings.pass_through_path.starts_with('/'));
        }
        Err(error) => assert!(error.to_string().contains("expected")),
    }
}

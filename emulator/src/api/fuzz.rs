//! Readers of what callers and functions send, as functions of bytes that panic where a promise is
//! broken.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a target ends where a promise is broken"
)]

use std::net::SocketAddr;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::COOKIE;
use hyper::http::request::Parts;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use crate::api::function_name::{Operation, target};
use crate::api::reported::{cropped_cause, recorded, split_cause, trailer_error};
use crate::api::route::{metadata_route, route};
use crate::api::url_reply::{NoReply, Reply, WITH_PRELUDE, reply, with_prelude};
use crate::api::web_request::Request;
use crate::api::{extensions, function_url, rest_api};
use crate::config::{Config, HttpEvent};
use crate::record::outcome::Outcome;

/// A request of a caller: the lines of its head, an empty line and the body. It becomes an event of
/// both formats, which have to agree.
pub(crate) fn request(data: &[u8]) {
    let Some((parts, body)) = parsed(data) else {
        return;
    };
    let path = parts.uri.path();
    route(&parts.method, path);
    metadata_route(path);
    if let Some((_, name)) = Operation::of(path) {
        function_name(name, parts.uri.query());
    }
    if let Some(error) = trailer_error(&parts.headers) {
        assert_eq!(error.error_type, recorded(&error.error_type));
    }
    let mut config = Config::new("/bootstrap");
    staged(&mut config, path);
    for front in [HttpEvent::FunctionUrl, HttpEvent::ApiGatewayV2] {
        config.http_event = front;
        events(&config, &parts, body);
    }
}

fn parsed(data: &[u8]) -> Option<(Parts, &[u8])> {
    let end = data.windows(2).position(|pair| pair == b"\n\n")?;
    let (head, body) = (data.get(..end)?, data.get(end + 2..)?);
    let mut lines = head.split(|byte| *byte == b'\n');
    let first = lines.next()?;
    let space = first.iter().position(|byte| *byte == b' ')?;
    let mut request = hyper::Request::builder()
        .method(first.get(..space)?)
        .uri(first.get(space + 1..)?);
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        request = request.header(line.get(..colon)?, line.get(colon + 1..)?);
    }
    let (parts, ()) = request.body(()).ok()?.into_parts();
    Some((parts, body))
}

/// A stage is the first segment of a path, and the rest is a path.
fn staged(config: &mut Config, path: &str) {
    config.http_stage = Some("dev".to_owned());
    let rest = function_url::path_in_stage(config, path);
    match path.strip_prefix("/dev") {
        Some("") => assert_eq!(rest, Some("/")),
        Some(behind) if behind.starts_with('/') => assert_eq!(rest, Some(behind)),
        Some(_) | None => assert_eq!(rest, None),
    }
    config.http_stage = None;
}

fn events(config: &Config, parts: &Parts, body: &[u8]) {
    let request = Request {
        path: parts.uri.path(),
        parts,
        body,
        peer: SocketAddr::from(([192, 0, 2, 7], 50_000)),
        id: "id",
        trace_id: "Root=1",
        now: SystemTime::UNIX_EPOCH,
    };
    let (two, one) = (
        function_url::event(config, &request),
        rest_api::event(config, &request),
    );
    for event in [&one, &two] {
        assert_eq!(event, &event.to_string().parse::<Value>().unwrap());
        assert_eq!(body_of(event), body);
    }
    let path = one["path"].as_str().unwrap();
    assert_eq!(two["rawPath"], raw_path(config, path));
    assert_eq!(two["requestContext"]["http"]["method"], one["httpMethod"]);
    assert_eq!(two["rawQueryString"], parts.uri.query().unwrap_or_default());
    let (ours, theirs) = ("queryStringParameters", "multiValueQueryStringParameters");
    let lower = |name: &str| name.to_ascii_lowercase();
    assert_eq!(members(&two, ours), joined(&one, theirs, str::to_owned));
    let mut headers = joined(&one, "multiValueHeaders", lower);
    headers.remove(COOKIE.as_str());
    assert_eq!(members(&two, "headers"), headers);
    for name in [ours, "headers"] {
        let many = if name == ours {
            theirs
        } else {
            "multiValueHeaders"
        };
        for (key, value) in members(&one, name) {
            let all = one[many][&key].as_array().unwrap();
            assert_eq!(all.last(), Some(&value));
        }
    }
    for cookie in two["cookies"].as_array().into_iter().flatten() {
        let cookie = cookie.as_str().unwrap();
        assert!(!cookie.is_empty() && !cookie.contains(';'));
    }
}

/// The path that an event of format 2.0 has.
fn raw_path(config: &Config, path: &str) -> String {
    match config.http_event {
        HttpEvent::ApiGatewayV2 => percent_decode_str(path).decode_utf8_lossy().into_owned(),
        HttpEvent::ApiGatewayV1 | HttpEvent::FunctionUrl => path.to_owned(),
    }
}

fn members(event: &Value, name: &str) -> Map<String, Value> {
    event[name].as_object().cloned().unwrap_or_default()
}

/// The values of each name, joined as in format 2.0.
fn joined(event: &Value, name: &str, key: impl Fn(&str) -> String) -> Map<String, Value> {
    let join = |values: &Value| {
        let values = values.as_array().unwrap().iter();
        let values: Vec<&str> = values.map(|value| value.as_str().unwrap()).collect();
        Value::String(values.join(","))
    };
    let all = members(event, name);
    all.iter()
        .map(|(name, all)| (key(name), join(all)))
        .collect()
}

fn body_of(event: &Value) -> Vec<u8> {
    let text = event["body"].as_str().unwrap_or_default();
    match event["isBase64Encoded"].as_bool().unwrap() {
        true => STANDARD.decode(text).unwrap(),
        false => text.as_bytes().to_vec(),
    }
}

fn function_name(name: &str, query: Option<&str>) {
    let Some(whole) = target(name, query) else {
        return;
    };
    assert!(!whole.name.is_empty() && !whole.name.contains(':'));
    let is_plain = |text: &str| !text.contains(['%', ':']);
    if let (true, Some(qualifier)) = (is_plain(&whole.name), &whole.qualifier)
        && is_plain(qualifier)
    {
        let again = format!("{}:{qualifier}", whole.name);
        assert_eq!(target(&again, None), Some(whole));
    }
}

/// A response of a function that is read whole.
pub(crate) fn response(data: &[u8]) {
    let buffered = outcome(data, None);
    let read = |front| reply(front, &buffered);
    let (two, one) = (read(HttpEvent::FunctionUrl), read(HttpEvent::ApiGatewayV1));
    checked(read(HttpEvent::ApiGatewayV2));
    if let Ok(value) = serde_json::from_slice::<Value>(data) {
        assert!(one.is_err() || value.is_object());
        let has = |name| value.get(name).is_some();
        if has("statusCode") && !has("cookies") && !has("multiValueHeaders") {
            // Format 1.0 takes no other members.
            assert!(one.is_err() || sorted(one) == sorted(two));
        } else {
            checked(two);
            checked(one);
        }
    } else {
        assert!(matches!(two, Err(NoReply::NotJson(_))));
        assert!(matches!(one, Err(NoReply::RestForm(_))));
    }
    checked(reply(
        HttpEvent::FunctionUrl,
        &outcome(data, Some("text/plain")),
    ));
}

/// A streamed response with a prelude. However it is split, the head is the same, and the body is
/// the rest of what there is.
pub(crate) fn prelude(data: &[u8]) {
    let whole = reply(HttpEvent::ApiGatewayV1, &outcome(data, Some(WITH_PRELUDE)));
    let mut first = None;
    for end in 0..=data.len() {
        let Some(read) = with_prelude(data.get(..end).unwrap()) else {
            assert!(first.is_none(), "the end of a prelude is gone again");
            continue;
        };
        let first = first.get_or_insert(end);
        match (&whole, read) {
            (Ok(whole), Ok(read)) => {
                assert_eq!((whole.status, &whole.headers), (read.status, &read.headers));
                assert_eq!(read.body, data.get(*first..end).unwrap());
            }
            (Err(_), Err(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(first.is_none(), matches!(whole, Err(NoReply::NoPrelude)));
    assert!(whole.is_err() || data.trim_ascii_start().starts_with(b"{"));
    checked(whole);
}

fn outcome(data: &[u8], content_type: Option<&str>) -> Outcome {
    Outcome {
        body: data.to_vec(),
        content_type: content_type.map(str::to_owned),
        streamed: content_type.is_some(),
        ..Outcome::empty(200, "id")
    }
}

fn sorted(reply: Result<Reply, NoReply>) -> Option<Reply> {
    let mut reply = reply.ok()?;
    reply.headers.sort();
    Some(reply)
}

fn checked(reply: Result<Reply, NoReply>) {
    match reply {
        Ok(reply) => {
            let status = reply.status;
            assert!((200..=599).contains(&status));
            assert_eq!(reply.render().status().as_u16(), status);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// An error that a runtime reports.
pub(crate) fn error_report(data: &[u8]) {
    let (body, cause) = split_cause(data);
    let value: Value = serde_json::from_slice(&body).unwrap();
    match serde_json::from_slice(data) {
        Ok(Value::Object(mut members)) => {
            let taken = members.remove("errorCause");
            // As text, because a long number that is read again may be the next one.
            assert_eq!(body, Value::Object(members).to_string().as_bytes());
            assert_eq!(cause, taken.map(|cause| cause.to_string()));
        }
        Ok(_) | Err(_) => assert!(value.is_string() && cause.is_none()),
    }
    if let Some(cause) = cause {
        cause.parse::<Value>().unwrap();
        assert_eq!(cropped_cause(&cause), cause);
    }
    let raw = String::from_utf8_lossy(data);
    let kept = recorded(&raw);
    assert_eq!(recorded(&kept), kept);
}

/// The body with which an extension registers: an object, or refused with a reason.
pub(crate) fn registration(data: &[u8]) {
    match extensions::events(data) {
        Ok(events) => {
            let body: Map<String, Value> = serde_json::from_slice(data).unwrap();
            let given = body.get("events").filter(|given| !given.is_null());
            let given = given.cloned().unwrap_or_else(|| Value::Array(Vec::new()));
            assert_eq!(Value::from(events), given);
        }
        Err(reason) => assert!(!reason.is_empty()),
    }
}

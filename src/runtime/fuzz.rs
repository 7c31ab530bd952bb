//! Fuzz targets of the Runtime API: what it sends becomes a context, a request and a line, and each
//! of these is read back.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a target ends where a promise is broken"
)]

use serde_json::Value;

use super::api::{Ids, Post, end_with_error, write_stream_head};
use super::context::{Context, IdentityError};
use super::error::Error;
use super::executable::fuzz::line_to_process;
pub(crate) use super::executable::fuzz::{
    executable_output, http_event, http_reply, persistent_line, runtime_settings,
};
use crate::shared::endpoint::Endpoint;
use crate::shared::env::Function;
use crate::shared::fuzz::{feed, one_request};
use crate::shared::http::{ChunkedWriter, Expect, Head, JSON, Limits, Reader};
use crate::shared::limits::{
    ERROR_MESSAGE_BYTES_MAX, TRAILER_DOCUMENT_BYTES_MAX, XRAY_CAUSE_BYTES_MAX,
};
use crate::shared::time::EpochMs;

/// The response to `next`.
pub(crate) fn context(data: &[u8]) {
    let mut reader = Reader::new(Expect::Response, Limits::of_body(4_096));
    if feed(&mut reader, data).is_none() {
        return;
    }
    let function = Function::default();
    let head = reader.head();
    let last = |name: &str| {
        let fields = head.fields();
        let named = fields.filter(|(key, _)| key.eq_ignore_ascii_case(name.as_bytes()));
        named.last().map(|(_, value)| value)
    };
    let text = |name: &str| {
        let text = last(name).and_then(|value| std::str::from_utf8(value).ok());
        text.filter(|text| !text.is_empty())
    };
    let id = last("Lambda-Runtime-Aws-Request-Id").unwrap_or_default();
    let is_path = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    let context = match Context::parse(head, &function, NOW) {
        Ok(context) => context,
        Err(IdentityError::Missing) => return assert!(id.is_empty()),
        Err(IdentityError::Invalid) => return assert!(!id.iter().all(is_path)),
    };
    assert!(!id.is_empty() && id.iter().all(is_path));
    assert_eq!(context.request_id().as_bytes(), id);
    let deadline = text("Lambda-Runtime-Deadline-Ms").and_then(|text| text.parse::<u64>().ok());
    if let Some(ms) = context.deadline_ms() {
        assert_eq!(deadline, Some(ms));
        assert!(NOW.0 < ms);
    }
    let values = [
        (
            context.invoked_function_arn(),
            "Lambda-Runtime-Invoked-Function-Arn",
        ),
        (context.trace_id(), "Lambda-Runtime-Trace-Id"),
        (context.client_context(), "Lambda-Runtime-Client-Context"),
        (
            context.cognito_identity(),
            "Lambda-Runtime-Cognito-Identity",
        ),
        (context.tenant_id(), "Lambda-Runtime-Aws-Tenant-Id"),
        (context.ids().invocation_id, "Lambda-Runtime-Invocation-Id"),
    ];
    for (value, name) in values {
        assert_eq!(value, text(name), "{name}");
    }
    answers(context.ids(), reader.body());
    line_to_process(reader.body(), &context);
}

const NOW: EpochMs = EpochMs(1_700_000_000_000);

fn endpoint() -> Endpoint {
    Endpoint::parse("127.0.0.1:9001", &|_| None).unwrap()
}

/// The answers to an invocation are one request each.
fn answers(to: Ids<'_>, body: &[u8]) {
    let api = endpoint();
    let message = String::from_utf8_lossy(body);
    let error = Error::new(message.clone().into_owned(), message.into_owned());
    let mut out = Vec::new();
    let content_type = JSON;
    let posts = [
        (
            Post::Response {
                to,
                content_type,
                body,
            },
            "response",
            4,
        ),
        (Post::Error { to, error: &error }, "error", 6),
    ];
    for (post, end, count) in posts {
        let mut document = Vec::new();
        let sent = post.body(&mut document).to_vec();
        post.write_head(&mut out, &api, sent.len());
        let read = one_request(&[&*out, &sent].concat());
        assert_eq!(read.body(), sent);
        check_head(read.head(), to, end, count);
    }
    write_stream_head(&mut out, &api, to, "text/plain\r\nX: y");
    let mut stream = ChunkedWriter::new(out, 64);
    let mut rest = body;
    let mut wire = Vec::new();
    let mut take = |stream: &mut ChunkedWriter| {
        wire.extend_from_slice(stream.pending());
        stream.wrote(stream.pending().len());
    };
    while !rest.is_empty() {
        rest = &rest[stream.push(rest)..];
        stream.seal();
        take(&mut stream);
    }
    end_with_error(&mut stream, &error);
    take(&mut stream);
    let read = one_request(&wire);
    assert_eq!(read.body(), body);
    check_head(read.head(), to, "response", 7);
}

/// The head has the path of the call, the identity, and no field beside those that we write.
fn check_head(head: Head<'_>, to: Ids<'_>, end: &str, count: usize) {
    let path = format!("/2018-06-01/runtime/invocation/{}/{end}", to.request_id);
    assert_eq!(
        (head.method(), head.target()),
        (&b"POST"[..], path.as_bytes())
    );
    let nonce = head.field("Lambda-Runtime-Invocation-Id");
    // A control character would be a fault of the platform; it becomes a space.
    assert_eq!(nonce.is_some(), to.invocation_id.is_some());
    assert_eq!(head.fields().count(), count + usize::from(nonce.is_some()));
}

/// An error of a handler: its type, its message, and the lines of its stack trace.
pub(crate) fn error_report(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.split('\n').map(str::to_owned);
    let error_type = lines.next().unwrap_or_default();
    let message = lines.next().unwrap_or_default();
    let trace: Vec<String> = lines.collect();
    let source = std::io::Error::other(message.clone());
    let error = Error::new(error_type.clone(), message.clone());
    let error = error.with_stack_trace(trace.clone()).with_source(&source);

    let mut document = Vec::new();
    error.write_document(&mut document);
    let value: Value = serde_json::from_slice(&document).unwrap();
    if error_type.len() <= 256 {
        assert_eq!(value["errorType"], error_type);
    }
    let whole = error.whole_message();
    assert!(whole.starts_with(&message) || ERROR_MESSAGE_BYTES_MAX - 4 < whole.len());
    assert!(whole.len() <= ERROR_MESSAGE_BYTES_MAX);
    assert_eq!(value["errorMessage"], whole);
    let kept = value["stackTrace"].as_array().unwrap();
    assert!(kept.iter().zip(&trace).all(|(kept, line)| kept == line));

    let mut short = Vec::new();
    error.write_short_document(&mut short);
    assert!(short.len() <= TRAILER_DOCUMENT_BYTES_MAX);
    let value: Value = serde_json::from_slice(&short).unwrap();
    assert!(whole.starts_with(value["errorMessage"].as_str().unwrap()));

    // The forms of which the platform keeps the name.
    let header = String::from_utf8(error.header_type()).unwrap();
    let (category, name) = header.split_once('.').unwrap();
    assert!(["Function", "Runtime"].contains(&category), "{header}");
    assert!(
        name.len() >= 2 && name.starts_with(|c: char| c.is_ascii_uppercase()),
        "{header}"
    );
    assert!(
        name.bytes().all(|byte| byte.is_ascii_alphabetic()),
        "{header}"
    );

    let cause = error.xray_cause();
    assert!(cause.iter().all(|byte| matches!(byte, b' '..=b'~')));
    assert!(cause.len() <= XRAY_CAUSE_BYTES_MAX + 64);
    let cause: Value = serde_json::from_slice(&cause).unwrap();
    assert!(!cause["exceptions"].as_array().unwrap().is_empty());
}

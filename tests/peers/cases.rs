//! The cases that run under every peer.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use testkit::http::Response;

use crate::peer::{Function, Peer};

pub(crate) fn apigw_answers_with_query_path_and_request_id<P: Peer>() {
    let mut peer = P::start(Function::example("apigw"));
    let reply = ok(&peer.invoke(&read("apigw.json")));
    let body = reply["body"].as_str().unwrap();
    let id = body.trim_end().rsplit(' ').next().unwrap();
    peer.check_request_id(id);
    let expected = json!({
        "statusCode": 200,
        "headers": {"content-type": "text/plain"},
        "multiValueHeaders": {},
        "body": format!("hello ada, this is /orders/ada, request {id}\n"),
        "isBase64Encoded": false,
        "cookies": [],
    });
    assert_eq!(reply, expected);

    // The older form of the event is another type.
    let reply = peer.invoke(&read("apigw_v1.json"));
    assert_eq!(reply.status, P::ERROR_STATUS);
    let error = reply.json();
    assert_eq!(error["errorType"], "Runtime.UnmarshalError");
    let message = error["errorMessage"].as_str().unwrap();
    assert!(
        message.starts_with("requestContext: missing field `http` at line "),
        "{message}"
    );
}

pub(crate) fn sqs_batch_names_the_messages_that_failed<P: Peer>() {
    let mut peer = P::start(Function::example("sqs_batch"));
    assert_eq!(ok(&peer.invoke(&read("sqs.json"))), sqs_reply());
}

pub(crate) fn raw_echoes_every_event<P: Peer>() {
    let mut peer = P::start(Function::example("raw"));
    for event in EVENTS {
        let event = read(event);
        let reply = peer.invoke(&event);
        assert_eq!(reply.status, 200);
        assert!(reply.body == event, "{} is not the event", reply.text());
    }
}

pub(crate) fn an_executable_is_run_for_every_event<P: Peer>() {
    let mut peer = P::start(Function::stock("hello.sh"));
    for name in EVENTS {
        let event = read(name);
        // The shell drops line ends at the end.
        let bytes = event.trim_ascii_end().len();
        let reply = peer.invoke(&event);
        assert_eq!(
            reply.text(),
            format!(r#"{{"hello":"world","bytes":{bytes}}}"#),
            "{name}"
        );
    }
}

pub(crate) fn a_persistent_executable_is_run_once<P: Peer>() {
    let program = crate::programs::path("persistent");
    let mut peer = P::start(
        Function::stock(program.to_str().unwrap()).variable("BANTAM_HANDLER_MODE", "persistent"),
    );
    for (name, count) in EVENTS.into_iter().zip(1..) {
        let event = read(name);
        let reply = ok(&peer.invoke(&event));
        let id = reply["requestId"].as_str().unwrap();
        peer.check_request_id(id);
        let bytes = event.trim_ascii().len();
        assert_eq!(
            reply,
            json!({"requestId": id, "count": count, "bytes": bytes}),
            "{name}"
        );
    }
}

pub(crate) fn an_event_at_the_limit_is_echoed<P: Peer>() {
    let mut peer = P::start(Function::example("raw"));
    for length in [6_000_000, EVENT_BYTES_MAX - 1, EVENT_BYTES_MAX] {
        let mut event = vec![b'x'; length];
        for (place, byte) in event.iter_mut().enumerate() {
            // Letters, in an order that shows a part that was lost or moved.
            *byte = b"abcdefghijklmnopqrstuvwxyz"[(place + place / 26 + place / 65_536) % 26];
        }
        event[0] = b'"';
        event[length - 1] = b'"';
        let reply = peer.invoke(&event);
        assert_eq!(reply.status, 200, "{length}");
        assert_eq!(reply.body.len(), length);
        assert!(reply.body == event, "{length} bytes came back changed");
    }
    assert_eq!(peer.invoke(b"1").text(), "1");
}

pub(crate) fn a_response_over_the_limit_is_an_error<P: Peer>() {
    let mut peer = P::start(Function::example("faulty"));
    // Two bytes more are the quotes.
    let bytes = EVENT_BYTES_MAX - 2;
    let reply = peer.invoke(format!(r#"{{"do":"large","bytes":{bytes}}}"#).as_bytes());
    assert_eq!(reply.body.len(), EVENT_BYTES_MAX);
    let bytes = EVENT_BYTES_MAX - 1;
    let error = peer.invoke(format!(r#"{{"do":"large","bytes":{bytes}}}"#).as_bytes());
    let message = format!(
        "a response of {} bytes, limit {EVENT_BYTES_MAX}",
        EVENT_BYTES_MAX + 1
    );
    check_error::<P>(&error, "Function.ResponseSizeTooLarge", &message);
    assert_eq!(ok(&peer.invoke(br#"{"do":"echo","value":7}"#)), 7);
}

pub(crate) fn a_malformed_event_is_a_function_error<P: Peer>() {
    let mut peer = P::start(Function::example("sqs_batch"));
    for (event, message) in [
        (
            r#"{"Records":[{"messageId":7}]}"#,
            "Records[0].messageId: invalid type: integer `7`, expected a string \
             at line 1 column 26",
        ),
        ("nonsense", "expected ident at line 1 column 2"),
    ] {
        let reply = peer.invoke(event.as_bytes());
        check_error::<P>(&reply, "Runtime.UnmarshalError", message);
    }
    assert_eq!(ok(&peer.invoke(&read("sqs.json"))), sqs_reply());
}

pub(crate) fn errors_of_a_handler_are_reported<P: Peer>() {
    let mut peer = P::start(Function::example("faulty"));
    for (event, error_type, message) in [
        (r#"{"do":"chosen"}"#, "OutOfMoney", "no money"),
        (
            r#"{"do":"parse"}"#,
            "ParseIntError",
            "invalid digit found in string",
        ),
        (r#"{"do":"chain"}"#, "SaveError", "cannot save: disk full"),
    ] {
        check_error::<P>(&peer.invoke(event.as_bytes()), error_type, message);
    }
    let reply = peer.invoke(br#"{"text":"fail","cow":"","raw":0}"#);
    assert_eq!(reply.status, P::ERROR_STATUS);
    let expected = json!({
        "errorType": "OutOfStock",
        "errorMessage": "nothing \"left\"\n\u{1b}é",
        "stackTrace": ["stock.rs:7:1"],
    });
    assert_eq!(reply.json(), expected);
}

pub(crate) fn a_panic_is_reported_and_the_next_invocation_served<P: Peer>() {
    let mut peer = P::start(Function::example("faulty"));
    let before = ok(&peer.invoke(br#"{"do":"process"}"#));
    let reply = peer.invoke(r#"{"do":"panic","message":"boom \"é\""}"#.as_bytes());
    assert_eq!(reply.status, P::ERROR_STATUS);
    let error = reply.json();
    assert_eq!(error["errorType"], "Function.Panic");
    let place = error["stackTrace"][0].as_str().unwrap();
    assert!(place.starts_with("tests/fixtures/faulty.rs:"), "{place}");
    let message = format!("panicked at {place}: boom \"é\"");
    assert_eq!(error["errorMessage"], message);
    // The process is the same to the platform, and a fresh one to the function.
    let after = ok(&peer.invoke(br#"{"do":"process"}"#));
    check_process(&after, &before, 1);
    peer.check_one_init(&after);
}

pub(crate) fn a_hundred_warm_invocations_in_one_process<P: Peer>() {
    let mut peer = P::start(Function::example("faulty"));
    let first = ok(&peer.invoke(br#"{"do":"process"}"#));
    for count in 2..=100 {
        let reply = ok(&peer.invoke(br#"{"do":"process"}"#));
        check_process(&reply, &first, count);
    }
    peer.check_one_init(&first);
}

/// Checks that the process is the same and how many invocations the program in it has served.
pub(crate) fn check_process(now: &Value, before: &Value, count: u32) {
    assert_eq!(now["pid"], before["pid"]);
    assert_eq!(now["count"], count);
}

fn ok(reply: &Response) -> Value {
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

fn check_error<P: Peer>(reply: &Response, error_type: &str, message: &str) {
    assert_eq!(reply.status, P::ERROR_STATUS, "{}", reply.text());
    let expected = json!({"errorType": error_type, "errorMessage": message, "stackTrace": []});
    assert_eq!(reply.json(), expected);
}

/// One of the messages orders nothing.
fn sqs_reply() -> Value {
    json!({"batchItemFailures": [{"itemIdentifier": "5d2a9c1e-3f0b-4d5a-9b6e-7a1c8f40d213"}]})
}

fn read(event: &str) -> Vec<u8> {
    fs::read(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("examples/events")
            .join(event),
    )
    .unwrap()
}

/// The files of `examples/events`.
const EVENTS: [&str; 4] = ["apigw.json", "apigw_v1.json", "s3.json", "sqs.json"];

/// Bytes of an event or a response that the platform lets through.
pub(crate) const EVENT_BYTES_MAX: usize = 6_291_556;

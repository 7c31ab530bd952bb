//! The router of the example, as a function in the emulator.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
use std::path::{Path, PathBuf};
use std::process::Command;

use bantam_emulator::{Config, Emulator, Entry, Invoke, Outcome, What, answers};
use serde_json::{Value, json};

/// The example. `cargo test` builds it, but not when it is told to run one test target only.
fn example() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command.args(["build", "--quiet", "--example", "axum", "--target-dir"]);
    assert!(
        command.arg(target).status().unwrap().success(),
        "{command:?}"
    );
    target.join("debug/examples/axum")
}

fn start(streamed: bool) -> Emulator {
    let mut config = Config::new(example());
    if streamed {
        config.args.push("streamed".to_owned());
    }
    Emulator::start(config).unwrap()
}

fn invoke(emulator: &Emulator, method: &str, target: &str, body: &str) -> Outcome {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let event = json!({
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": query,
        "cookies": ["c=3", "d=4"],
        "headers": {"host": "example.com"},
        "requestContext": {"http": {"method": method}},
        "body": body,
        "isBase64Encoded": false,
    });
    let invoke = Invoke {
        streaming: true,
        ..Invoke::new(event.to_string())
    };
    emulator.invoke_with(invoke).unwrap()
}

fn reply(outcome: &Outcome) -> Value {
    assert_eq!(outcome.function_error, None);
    serde_json::from_slice(&outcome.body).unwrap()
}

#[test]
fn a_router_answers_events() {
    let emulator = start(false);
    let greeting = reply(&invoke(&emulator, "GET", "/greet/a%20b", ""));
    assert_eq!(
        (&greeting["statusCode"], &greeting["body"]),
        (&json!(200), &json!("hello a b\n"))
    );
    let created = reply(&invoke(&emulator, "GET", "/cookies", ""));
    assert_eq!(created["statusCode"], 201);
    assert_eq!(created["cookies"], json!(["a=1", "b=2; HttpOnly"]));
    assert_eq!(created["body"], "c=3; d=4");
    let echo = reply(&invoke(&emulator, "POST", "/echo", "text"));
    assert_eq!(echo["body"], "text");
    assert_eq!(
        reply(&invoke(&emulator, "GET", "/none", ""))["statusCode"],
        404
    );
    assert_eq!(
        reply(&invoke(&emulator, "GET", "/echo", ""))["statusCode"],
        405
    );
    let outcome = invoke(&emulator, "GET", "/invocation", "");
    let body = reply(&outcome)["body"].clone();
    let body = body.as_str().unwrap();
    assert!(body.contains(&outcome.request_id), "{body}");
    assert!(body.contains(r#""http":{"method":"GET"}"#), "{body}");
    let events = reply(&invoke(&emulator, "GET", "/count?from=3", ""));
    assert_eq!(
        events["body"],
        "data: 3\n\ndata: 4\n\ndata: 5\n\ndata: 6\n\ndata: 7\n\n"
    );
}

#[test]
fn what_is_no_request_is_an_error_and_the_next_is_served() {
    let emulator = start(false);
    let outcome = emulator.invoke(r#"{"Records":[]}"#).unwrap();
    let error = outcome.function_error.unwrap();
    assert_eq!(error.error_type, "Runtime.UnmarshalError");
    reply(&invoke(&emulator, "GET", "/greet/you", ""));
}

#[test]
fn a_body_is_streamed() {
    let emulator = start(true);
    let outcome = invoke(&emulator, "GET", "/count?from=1", "");
    assert_eq!(outcome.function_error, None);
    assert!(outcome.streamed);
    let content_type = "application/vnd.awslambda.http-integration-response";
    assert_eq!(outcome.content_type.as_deref(), Some(content_type));
    let (prelude, body) = parts(&outcome);
    assert_eq!(prelude["statusCode"], 200);
    assert_eq!(prelude["headers"]["content-type"], "text/event-stream");
    let events = "data: 1\n\ndata: 2\n\ndata: 3\n\ndata: 4\n\ndata: 5\n\n";
    assert_eq!(body, events.as_bytes());

    let (prelude, body) = parts(&invoke(&emulator, "GET", "/cookies", ""));
    assert_eq!(prelude["statusCode"], 201);
    assert_eq!(prelude["cookies"], json!(["a=1", "b=2; HttpOnly"]));
    assert_eq!(body, b"c=3; d=4");
}

#[test]
fn a_body_that_fails_midway_is_an_error_with_its_words() {
    for streamed in [false, true] {
        let emulator = start(streamed);
        for (target, sent) in [("/fail/0", ""), ("/fail/2", "piece\npiece\n")] {
            let outcome = invoke(&emulator, "GET", target, "");
            let error = outcome.function_error.as_ref().expect("a function error");
            let document: Value = serde_json::from_slice(&error.body).unwrap();
            assert_eq!(document["errorMessage"], "the disk is full");
            assert_eq!(document["errorType"], "Error");
            assert_eq!(error.raw_type.as_deref(), Some("Function.Error"));
            assert_eq!(outcome.streamed, streamed);
            assert_eq!(answers(&emulator.transcript(), &outcome.request_id), 1);
            if streamed {
                let (prelude, body) = parts(&outcome);
                assert_eq!(prelude["statusCode"], 200);
                assert_eq!(body, sent.as_bytes());
                assert_eq!(
                    trailers(&emulator.transcript(), &outcome),
                    [
                        "Lambda-Runtime-Function-Error-Type",
                        "Lambda-Runtime-Function-Error-Body"
                    ]
                );
            }
        }
        // The process goes on.
        assert_eq!(
            invoke(&emulator, "GET", "/greet/you", "").function_error,
            None
        );
        let spawned = |entry: &&Entry| matches!(entry.what, What::Spawned { .. });
        assert_eq!(emulator.transcript().iter().filter(spawned).count(), 1);
    }
}

#[test]
fn a_body_over_the_limit_is_an_error_that_says_so() {
    // It would fail as well, but nobody reads on.
    let outcome = invoke(&start(false), "GET", "/fail/1048593", "");
    let error = outcome.function_error.expect("a function error");
    assert_eq!(error.error_type, "Function.ResponseSizeTooLarge");
    let document: Value = serde_json::from_slice(&error.body).unwrap();
    let expected = "a response of more than 6291556 bytes";
    assert_eq!(document["errorMessage"], expected);
}

/// The names of trailers that the answer has in its head. Without them no trailer is heard.
fn trailers(transcript: &[Entry], outcome: &Outcome) -> Vec<String> {
    let end = format!("/{}/response", outcome.request_id);
    let mut names = Vec::new();
    for entry in transcript {
        if let What::Request { path, headers, .. } = &entry.what {
            let fields = headers.iter().filter(|_| path.ends_with(&end));
            let fields = fields.filter(|(name, _)| name == "trailer");
            names.extend(fields.map(|(_, value)| value.clone()));
        }
    }
    names
}

/// The prelude of a streamed response, and its body.
fn parts(outcome: &Outcome) -> (Value, Vec<u8>) {
    let mut windows = outcome.body.windows(8);
    let at = windows.position(|bytes| bytes == [0; 8]).unwrap();
    let (prelude, body) = outcome.body.split_at(at);
    (serde_json::from_slice(prelude).unwrap(), body[8..].to_vec())
}

//! Responses that go out while the handler makes them: how they end, and what breaks them.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use bantam_emulator::{Entry, Fault, FaultKind, Invoke, Outcome, Step, UrlInvokeMode, What};
use serde_json::{Value, json};
use testkit::http::Client;
use testkit::pipe::named_pipe;

use super::faults::{exits, recoverable};
use super::workers::{given_up, stalled, streaming_handlers};
use crate::support::{Env, answers, count, faulty, function, start};

fn streaming() -> Env {
    let mut config = faulty();
    config.freeze = false;
    // Two hundred megabytes take a while on a busy machine.
    config.timeout = Duration::from_secs(300);
    start(config)
}

fn stream(texts: &[&str], end: &Value) -> String {
    // The order of members decides which handler it is for.
    format!(r#"{{"stream":{},"end":{end}}}"#, json!(texts))
}

/// Invokes as a caller who takes the response as a stream.
fn take(env: &Env, event: String) -> Outcome {
    let invoke = Invoke {
        streaming: true,
        ..Invoke::new(event)
    };
    env.invoke_with(invoke).unwrap()
}

fn connections(entries: &[Entry]) -> usize {
    count(entries, |what| matches!(what, What::Connected { .. }))
}

/// The error type as the platform records it, and the document.
fn failure(outcome: &Outcome) -> (&str, Value) {
    let error = outcome.function_error.as_ref().expect("a function error");
    let document = serde_json::from_slice(&error.body).unwrap();
    (&error.error_type, document)
}

#[test]
fn a_stream_arrives_as_it_was_written() {
    let env = streaming();
    for texts in [&["one", "two", "three"][..], &["one"], &[]] {
        let outcome = env.invoke(stream(texts, &json!("finish"))).unwrap();
        assert_eq!(outcome.function_error, None);
        assert!(outcome.streamed);
        assert_eq!(outcome.content_type.as_deref(), Some("text/plain"));
        assert_eq!(
            String::from_utf8(outcome.body.clone()).unwrap(),
            texts.concat()
        );
        assert_eq!(answers(&env, &outcome), 1);
    }
    assert_eq!(env.respond(r#"{"do":"echo","value":7}"#), 7);
    // A new one after each stream.
    assert_eq!(connections(&env.transcript()), 4);
    assert_eq!(env.spawned(), 1);
}

#[test]
fn a_failure_midway_is_told_in_the_trailers() {
    let env = streaming();
    let pid = env.respond(r#"{"do":"process"}"#)["pid"].clone();
    let table = [
        ("chosen", "Function.OutOfMoney", "no money"),
        ("panic", "Function.Panic", ": midway"),
        ("thread-panic", "Function.Panic", ": midway on a thread"),
        (
            "panic-while-writing",
            "Function.Panic",
            ": midway while another thread writes",
        ),
    ];
    for (end, error_type, message) in table {
        for texts in [&["one", "two"][..], &[]] {
            let outcome = take(&env, stream(texts, &json!(end)));
            if end != "panic-while-writing" {
                assert_eq!(outcome.body, texts.concat().as_bytes(), "{end}");
            }
            let (found, document) = failure(&outcome);
            assert_eq!(found, error_type, "{end}");
            let found = document["errorMessage"].as_str().unwrap();
            assert!(found.ends_with(message), "{end}: {found}");
            assert_eq!(answers(&env, &outcome), 1, "{end}");
            let begun = !texts.is_empty() || end == "panic-while-writing";
            assert_eq!(outcome.streamed, begun, "{end}");
            let process = env.respond(r#"{"do":"process"}"#);
            assert_eq!(process["pid"], pid, "{end}: started again in place");
            assert_eq!(process["count"] == 1, end != "chosen", "{end}");
        }
    }
    assert_eq!(env.spawned(), 1);
}

#[test]
fn a_panic_after_a_stream_breaks_nothing() {
    let env = streaming();
    let folder = tempfile::tempdir().unwrap();
    let pipe = named_pipe(folder.path());
    for _ in 0..3 {
        let end = json!({"late-panic": pipe});
        let outcome = env.invoke(stream(&["one"], &end)).unwrap();
        assert_eq!(outcome.function_error, None);
        std::fs::write(&pipe, "now").unwrap();
        env.wait_for_log("Function.Panic: panicked at");
        env.clear();
        assert_eq!(env.respond(r#"{"do":"process"}"#)["count"], 1);
    }
    assert_eq!(env.spawned(), 0, "since it was cleared");
}

/// How many answers were accepted as errors.
fn accepted_errors(env: &Env) -> usize {
    count(&env.transcript(), |what| {
        matches!(what, What::Accepted { error: true, .. })
    })
}

#[test]
fn a_stream_that_is_not_finished_is_a_failure() {
    let mut config = faulty();
    config.timeout = Duration::from_secs(2);
    let env = start(config);
    // The handler goes no further, so the invocation times out after its failure.
    let outcome = env.invoke(stream(&["one"], &json!("drop"))).unwrap();
    assert!(outcome.function_error.is_some());
    assert_eq!(accepted_errors(&env), 1);
    assert!(env.function_log().contains("Function.StreamDropped"));
    let outcome = env.invoke(stream(&["one"], &json!("exit"))).unwrap();
    assert_eq!(failure(&outcome).0, "Runtime.TruncatedResponse");
    assert_eq!(accepted_errors(&env), 2);
    assert_eq!(env.respond(r#"{"do":"echo","value":7}"#), 7);
}

#[test]
fn the_limit_holds_to_the_byte_and_memory_is_flat() {
    let env = streaming();
    let text = "x".repeat(256 * 1024);
    let invoke = |times: usize, rest: &str| {
        let stream = json!([text]);
        let event =
            format!(r#"{{"stream":{stream},"times":{times},"rest":"{rest}","end":"finish"}}"#);
        take(&env, event)
    };
    invoke(1, "");
    let before = env.environments()[0].peak_memory_kb().unwrap();
    let outcome = invoke(800, "");
    assert_eq!(outcome.function_error, None);
    assert_eq!(outcome.body.len(), 200 * 1024 * 1024);
    let after = env.environments()[0].peak_memory_kb().unwrap();
    assert!(after <= before + 512, "from {before} to {after} KiB");
    let outcome = invoke(800, "y");
    assert_eq!(outcome.body.len(), 200 * 1024 * 1024);
    let (error_type, document) = failure(&outcome);
    assert_eq!(error_type, "Function.ResponseSizeTooLarge");
    let message = "a streamed response of more than 209715200 bytes";
    assert_eq!(document["errorMessage"], message);
}

#[test]
fn a_buffered_invocation_takes_a_stream_up_to_its_own_limit() {
    let env = streaming();
    let text = "x".repeat(1024 * 1024);
    let event = |times: usize| {
        let stream = json!([text]);
        format!(r#"{{"stream":{stream},"times":{times},"end":"finish"}}"#)
    };
    let outcome = env.invoke(event(6)).unwrap();
    assert_eq!(outcome.function_error, None);
    assert_eq!(outcome.body.len(), 6 * 1024 * 1024);
    let outcome = env.invoke(event(7)).unwrap();
    assert_eq!(failure(&outcome).0, "Function.ResponseSizeTooLarge");
    env.wait_for_log("streaming the response: the API answered 413 ");
    assert_eq!(env.respond(r#"{"do":"echo","value":7}"#), 7);
    assert_eq!(env.spawned(), 1);
}

/// Two invocations, the first of which is streamed; whether both were served, and how many
/// processes that took.
fn with_fault(kind: FaultKind, end: &Value) -> (bool, Env) {
    let mut config = faulty();
    config.freeze = false;
    config.faults = vec![Fault::new(Step::Response(0), kind)];
    let env = start(config);
    let outcome = env.invoke(stream(&["one", "two"], end)).unwrap();
    assert!(
        answers(&env, &outcome) <= 1,
        "two answers for one request id"
    );
    let is_served = match &outcome.function_error {
        None => end == "finish" && outcome.body == b"onetwo",
        Some(error) => match end.as_str() {
            Some("chosen") => error.error_type == "Function.OutOfMoney",
            Some("panic" | "thread-panic") => error.error_type == "Function.Panic",
            _ => false,
        },
    };
    assert_eq!(env.respond(r#"{"do":"echo","value":7}"#), 7);
    (is_served, env)
}

#[test]
fn a_stream_is_served_whatever_the_fault() {
    for end in ["finish", "chosen", "panic", "thread-panic"] {
        for kind in recoverable() {
            // A stream is not sent again. If the API has not seen it, `next` gives its event again.
            let (is_served, env) = with_fault(kind.clone(), &json!(end));
            assert!(is_served, "{end}, {kind:?}");
            assert_eq!(env.spawned(), 1, "{end}, {kind:?}");
        }
    }
}

#[test]
fn a_stream_that_is_refused_is_not_followed_by_an_error() {
    let body = r#"{"errorMessage":"planted","errorType":"Planted"}"#;
    for status in [204, 302, 400, 403, 404, 410, 413, 500, 503] {
        for kind in [
            FaultKind::Status(status, body.to_owned()),
            FaultKind::EarlyStatus(status, body.to_owned()),
        ] {
            let (is_served, env) = with_fault(kind.clone(), &json!("finish"));
            // The emulator has not taken what it refused, and gives the event again.
            assert_eq!(is_served, status < 500, "{kind:?}");
            let transcript = env.transcript();
            let end: &[Option<i32>] = if status < 500 { &[] } else { &[Some(1)] };
            assert_eq!(exits(&transcript), end, "{kind:?}");
            let reported = |what: &What| matches!(what, What::Request { path, .. } if path.ends_with("/error"));
            assert_eq!(count(&transcript, reported), 0, "{kind:?}");
        }
    }
}

/// Invokes the path of an example over HTTP, with the response streamed.
fn served(example: &str) -> Env {
    let mut config = function(example);
    config.url_invoke_mode = UrlInvokeMode::ResponseStream;
    start(config)
}

#[test]
fn the_page_of_the_example_comes_with_its_type() {
    let env = served("sse");
    let response = Client::connect(env.invoke_addr()).get("/");
    assert_eq!(response.status, 200);
    assert_eq!(response.header("Content-Type"), Some("text/html"));
    assert!(response.text().starts_with("<!DOCTYPE html>"));
}

#[test]
#[ignore = "needs curl"]
fn server_sent_events_reach_curl_one_by_one() {
    let env = served("sse");
    let mut curl = Command::new("curl")
        .args(["--silent", "--show-error", "--include", "--no-buffer"])
        .args(["--noproxy", "*", "--max-time", "20"])
        .arg(format!("http://{}/events", env.invoke_addr()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(curl.stdout.take().unwrap()).lines();
    let mut next = || lines.next().map(Result::unwrap);
    assert_eq!(next().unwrap(), "HTTP/1.1 200 OK");
    let has_type = std::iter::from_fn(|| next().filter(|line| !line.is_empty()))
        .any(|field| field.eq_ignore_ascii_case("content-type: text/event-stream"));
    assert!(has_type);
    let answered = || {
        count(&env.transcript(), |what| {
            matches!(what, What::Accepted { .. })
        })
    };
    let mut data = std::iter::from_fn(next).filter(|line| line.starts_with("data: "));
    for expected in ["data: 3", "data: 2", "data: 1"] {
        assert_eq!(data.next().unwrap(), expected);
        assert_eq!(answered(), 0, "the function goes on");
    }
    assert_eq!(data.next().unwrap(), "data: lift-off");
    assert_eq!(data.next(), None);
    assert!(curl.wait().unwrap().success());
}

#[test]
#[ignore = "needs curl"]
fn curl_sees_a_failure_midway() {
    let env = streaming();
    let output = Command::new("curl")
        .args([
            "--silent",
            "--noproxy",
            "*",
            "--max-time",
            "20",
            "--data-binary",
        ])
        .arg(stream(&["one"], &json!("panic")))
        .arg(format!(
            "http://{}/2021-11-15/functions/function/response-streaming-invocations",
            env.invoke_addr()
        ))
        .output()
        .unwrap();
    assert!(output.status.success());
    let text = String::from_utf8_lossy(&output.stdout);
    let [one, complete] = ["PayloadChunk", "InvokeComplete"].map(|event| text.find(event).unwrap());
    assert!(one < complete && text.contains("Function.Panic"), "{text}");
}

/// The stream fails by itself. The platform sees that behind what the caller has yet to take, so a
/// caller who goes on too late for it sees a timeout.
#[test]
fn a_stream_does_not_wait_for_its_caller_beyond_the_deadline() {
    for (config, event) in streaming_handlers() {
        let (env, mut caller) = given_up(&config, &event, start);
        let mut rest = Vec::new();
        while let Some(chunk) = caller.chunk().unwrap() {
            rest = chunk;
        }
        let end = String::from_utf8_lossy(&rest);
        let errors = [
            "Function.Timeout",
            "Runtime.TruncatedResponse",
            "Sandbox.Timedout",
        ];
        assert!(errors.iter().any(|error| end.contains(error)), "{end}");
        let next = env.invoke(event).unwrap();
        assert!(next.streamed, "{end}");
    }
}

/// A caller who takes the head of the response and nothing more.
#[test]
fn a_panic_while_the_caller_stalls_is_a_failure_too() {
    let env = streaming();
    let mut caller = stalled(&env, &stream(&["one"], &json!("panic-while-stalled")));
    env.wait_for_log("Function.Panic: panicked at");
    let mut rest = Vec::new();
    while let Some(chunk) = caller.chunk().unwrap() {
        rest = chunk;
    }
    let end = String::from_utf8_lossy(&rest);
    assert!(
        end.contains("InvokeComplete") && end.contains("ErrorCode"),
        "{end}"
    );
    assert_eq!(env.respond(r#"{"do":"echo","value":7}"#), 7);
}

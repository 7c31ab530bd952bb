//! A web server as the handler that means harm: what it sends costs its own invocation and no more.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::http::Endless;

use super::http_server::{event, server, set};
use crate::support::{Env, ending_by_itself, start};

/// An event whose request has a body.
fn post(path: &str, body: &str) -> String {
    let mut event: Value = serde_json::from_str(&event("POST", path)).unwrap();
    event["body"] = json!(body);
    event.to_string()
}

fn status(env: &Env, event: &str) -> Value {
    env.respond(event)["statusCode"].clone()
}

fn peak_kb(env: &Env) -> u64 {
    env.environments()[0].peak_memory_kb().unwrap()
}

/// Every part of a response that can go on without end is cut, with the type of error that says
/// which limit it was, and in little memory.
#[test]
fn responses_without_end_are_cut() {
    let mut config = server("");
    config.timeout = Duration::from_secs(10);
    let env = start(config);
    assert_eq!(status(&env, &event("GET", "/nowhere")), 404);
    let before_kb = peak_kb(&env);
    for endless in Endless::all("HTTP/1.1 200 OK") {
        let body = json!([endless.start, endless.rest]).to_string();
        let began = Instant::now();
        let (error_type, document) = env.fail(&post("/endless", &body));
        let expected = match endless.name {
            "body" => "Function.ResponseSizeTooLarge",
            _ => "Function.ProtocolError",
        };
        let name = endless.name;
        assert_eq!(error_type, expected, "{name}: {document}");
        eprintln!("{name}: {:?}, {document}", began.elapsed());
        assert_eq!(status(&env, &event("GET", "/nowhere")), 404, "after {name}");
    }
    let interim = r#"["", "HTTP/1.1 100 Continue\r\n\r\n"]"#;
    let (error_type, _) = env.fail(&post("/endless", interim));
    assert_eq!(error_type, "Function.ProtocolError", "interim responses");
    // A body of 6 MB is held while it grows.
    let peak_kb = peak_kb(&env);
    assert!(
        peak_kb <= before_kb + 16_384,
        "{before_kb} KiB, then {peak_kb} KiB"
    );
    assert_eq!(env.spawned(), 1, "the runtime itself never ended");
}

/// One that sends a little now and then, for ever, has the time of its invocation.
#[test]
fn a_response_that_dribbles_ends_at_the_deadline() {
    for mode in ["buffered", "response_stream"] {
        let mut config = ending_by_itself(server(""), 2);
        set(&mut config, "AWS_LWA_INVOKE_MODE", mode);
        let env = start(config);
        for path in ["/dribble", "/trickle"] {
            let outcome = env.invoke(event("GET", path)).unwrap();
            let error = outcome.function_error.as_ref().unwrap();
            assert_eq!(error.error_type, "Function.Timeout", "{mode}: {path}");
            let is_begun = mode == "response_stream" && path == "/trickle";
            assert_eq!(outcome.streamed, is_begun, "{mode}: {path}");
        }
        assert_eq!(env.spawned(), 1, "the runtime itself never ended");
    }
}

/// As a server does that refuses a request by its head: with the connection closed behind the
/// answer, or left as it is.
#[test]
fn an_answer_that_comes_before_the_request_is_read_counts() {
    let env = start(server(""));
    let body = "x".repeat(5_000_000);
    for path in ["/early", "/early-open"] {
        for _ in 0..3 {
            let document = env.respond(&post(path, &body));
            assert_eq!(document["statusCode"], 413, "{path}");
            assert_eq!(document["body"], "too large", "{path}");
            // What is left of the request is not read as another one.
            assert_eq!(status(&env, &event("GET", "/nowhere")), 404, "after {path}");
        }
    }
}

#[test]
fn a_switch_of_protocols_that_nobody_asked_for_is_an_error() {
    let env = start(server(""));
    let (error_type, document) = env.fail(&event("GET", "/upgrade"));
    assert_eq!(error_type, "Function.ProtocolError");
    let message = document["errorMessage"].as_str().unwrap();
    assert!(
        message.contains("unexpected switch of protocols"),
        "{message}"
    );
    assert_eq!(status(&env, &event("GET", "/nowhere")), 404);
}

/// Small chunks carry little and take long: they end at the deadline, as a server does that waits,
/// and a stream of them takes no memory.
#[test]
fn small_chunks_without_end_end_at_the_deadline() {
    let endless = Endless::of_small_chunks("HTTP/1.1 200 OK");
    let body = json!([endless.start, endless.rest]).to_string();
    for (mode, kb) in [("buffered", 16_384), ("response_stream", 1_024)] {
        let mut config = ending_by_itself(server(""), 2);
        set(&mut config, "AWS_LWA_INVOKE_MODE", mode);
        let env = start(config);
        env.invoke(event("GET", "/nowhere")).unwrap();
        let before_kb = peak_kb(&env);
        let (error_type, document) = env.fail(&post("/endless", &body));
        // A fast machine comes to the size that a caller without streams takes before that.
        let expected = ["Function.Timeout", "Function.ResponseSizeTooLarge"];
        assert!(
            expected.contains(&&*error_type),
            "{mode}: {error_type} {document}"
        );
        let peak_kb = peak_kb(&env);
        assert!(
            peak_kb <= before_kb + kb,
            "{mode}: {before_kb} KiB, then {peak_kb} KiB"
        );
        assert_eq!(env.spawned(), 1, "{mode}: the runtime itself never ended");
    }
}

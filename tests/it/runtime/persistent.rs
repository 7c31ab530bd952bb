//! The stock binary with a handler process that lives as long as the environment.

use std::time::{Duration, Instant};

use bantam_emulator::{Config, Invoke, What};
use serde_json::json;
use testkit::pipe::named_pipe;
use testkit::process::state;

use crate::support::{count, ending_by_itself, start, stock};

fn persistent(first: &str) -> Config {
    let mut config = stock("persistent.sh");
    config
        .env
        .push(("BANTAM_HANDLER_MODE".to_owned(), "persistent".to_owned()));
    config.env.push(("FIRST".to_owned(), first.to_owned()));
    config
}

#[test]
fn one_process_serves_all_events() {
    let env = start(persistent(""));
    for count in 1..=5 {
        assert_eq!(env.respond(r#"{"do":"count"}"#), count);
    }
}

#[test]
fn an_event_is_one_line_with_its_context() {
    let env = start(persistent(""));
    let event = "{\n  \"do\": \"line\",\r\n  \"text\": \"a\\nb\", \"do\":\"line\"\n}";
    let invoke = Invoke {
        client_context: Some(r#"{"client":{"app_title":"a"}}"#.to_owned()),
        cognito_identity: Some(r#"{"cognitoIdentityId":"i"}"#.to_owned()),
        tenant_id: Some("t".to_owned()),
        trace_id: Some("Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700".to_owned()),
        ..Invoke::new(event)
    };
    let outcome = env.invoke_with(invoke).unwrap();
    let line: serde_json::Value = serde_json::from_slice(&outcome.body).unwrap();
    assert_eq!(line["event"], json!({"do": "line", "text": "a\nb"}));
    assert!(line["context"]["deadlineMs"].is_u64());
    let mut context = line["context"].clone();
    context["deadlineMs"] = json!(null);
    let expected = json!({
        "deadlineMs": null,
        "requestId": outcome.request_id,
        "invokedFunctionArn": "arn:aws:lambda:us-east-1:123456789012:function:function",
        "traceId": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700",
        "clientContext": r#"{"client":{"app_title":"a"}}"#,
        "cognitoIdentity": r#"{"cognitoIdentityId":"i"}"#,
        "tenantId": "t",
    });
    assert_eq!(context, expected);
}

#[test]
fn an_error_is_that_of_its_invocation_alone() {
    let env = start(persistent(""));
    assert_eq!(env.respond(r#"{"do":"count"}"#), 1);
    let (recorded, document) = env.fail(r#"{"do":"error"}"#);
    assert_eq!(recorded, "Function.OutOfStock");
    assert_eq!(document["errorType"], "OutOfStock");
    assert_eq!(document["errorMessage"], "nothing left");
    assert_eq!(document["stackTrace"], json!(["a:1"]));
    assert_eq!(env.respond(r#"{"do":"count"}"#), 3);
}

#[test]
fn what_an_event_wrote_to_the_log_is_not_in_the_error_of_another() {
    let env = start(persistent(""));
    assert_eq!(env.respond(r#"{"do":"log"}"#), 1);
    let (recorded, document) = env.fail(r#"{"do":"exit"}"#);
    assert_eq!(recorded, "Function.ExitStatus");
    let message = document["errorMessage"].as_str().unwrap();
    assert!(message.contains("giving up"), "{message}");
    assert!(!message.contains("Ada"), "{message}");
}

#[test]
fn a_process_that_fails_is_started_again() {
    let env = start(ending_by_itself(persistent(""), 4));
    let table = [
        (
            r#"{"do":"garbage"}"#,
            "Function.ProtocolError",
            "not a JSON object: \"not json\"",
        ),
        (
            r#"{"do":"two"}"#,
            "Function.ProtocolError",
            "more than one line",
        ),
        (r#"{"do":"both"}"#, "Function.ProtocolError", "none of"),
        (
            r#"{"do":"other"}"#,
            "Function.ProtocolError",
            "answered another request",
        ),
        (r#"{"do":"exit"}"#, "Function.ExitStatus", "giving up"),
        (
            r#"{"do":"hang"}"#,
            "Function.Timeout",
            "killed shortly before the deadline",
        ),
    ];
    for (event, error_type, message) in table {
        assert_eq!(
            env.respond(r#"{"do":"count"}"#),
            1,
            "a fresh process before {event}"
        );
        let (recorded, document) = env.fail(event);
        assert_eq!(recorded, error_type, "{event}");
        let found = document["errorMessage"].as_str().unwrap();
        assert!(found.contains(message), "{found}");
    }
    assert_eq!(env.spawned(), 1, "the runtime itself never ended");
}

#[test]
fn a_process_that_ends_at_any_byte_of_its_lines_fails_its_event_alone() {
    let mut config = persistent("");
    config.freeze = false;
    let env = start(config);
    let all = "{\"chunk\":\"one\"}\n{\"chunk\":\"two\"}\n{\"end\":true}\n".len();
    let stream = |bytes: usize| {
        let event = format!(r#"{{"do":"stream-bytes","bytes":{bytes}}}"#);
        let outcome = env.invoke(event).unwrap();
        let error = outcome.function_error.map(|error| error.error_type);
        (error, outcome.body)
    };
    for bytes in 0..all {
        let (error, _) = stream(bytes);
        assert_eq!(error.as_deref(), Some("Function.ExitStatus"), "{bytes}");
        let count = env.respond(r#"{"do":"count"}"#);
        assert_eq!(count, 1, "a fresh process behind {bytes} bytes");
    }
    // Behind all of them nobody waits for the end of the process.
    let (error, body) = stream(all);
    assert_eq!((error, &*body), (None, &b"onetwo"[..]));
    assert_eq!(env.spawned(), 1, "the runtime itself never ended");
}

#[test]
fn a_line_that_nobody_asked_for_answers_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = named_pipe(folder.path());
    let mut config = persistent("");
    config
        .env
        .push(("PIPE".to_owned(), pipe.to_str().unwrap().to_owned()));
    config.freeze = false;
    let env = start(config);
    assert_eq!(env.respond(r#"{"do":"late"}"#), 1);
    assert_eq!(std::fs::read(&pipe).unwrap(), b"out\n");
    assert_eq!(
        env.respond(r#"{"do":"count"}"#),
        1,
        "the answer of a fresh process"
    );
}

#[test]
fn a_process_that_ends_between_invocations_is_started_again() {
    let mut config = persistent("");
    config.freeze = false;
    let env = start(config);
    for _ in 0..3 {
        let pid = env.respond(r#"{"do":"quit"}"#).as_u64().unwrap();
        let pid = u32::try_from(pid).unwrap();
        let start = Instant::now();
        while !matches!(state(pid), None | Some('Z')) {
            assert!(start.elapsed() < Duration::from_secs(10), "it does not end");
            std::thread::yield_now();
        }
        assert_eq!(env.respond(r#"{"do":"count"}"#), 1);
    }
    env.wait_for_log_times("the handler ended with exit status: 0", 3);
}

#[test]
fn a_process_that_never_gets_ready_is_an_init_error() {
    for (first, error_type, message) in [
        ("error", "Function.NoDatabase", "no database"),
        (
            "garbage",
            "Function.ProtocolError",
            "not a JSON object: \"hello\"",
        ),
        ("exit", "Function.ExitStatus", "cannot start"),
        ("hang", "Sandbox.Timedout", ""),
    ] {
        let mut config = persistent(first);
        if first == "hang" {
            config.init_timeout = Duration::from_millis(500);
            config.timeout = Duration::from_millis(500);
        }
        let env = start(config);
        let (recorded, document) = env.fail("{}");
        assert_eq!(recorded, error_type, "{first}");
        assert!(
            document["errorMessage"].as_str().unwrap().contains(message),
            "{document}"
        );
    }
}

#[test]
fn lines_are_read_as_tolerantly_as_json_allows() {
    let env = start(persistent("marked"));
    assert_eq!(
        env.respond(r#"{"do":"count"}"#),
        1,
        "behind a byte order mark"
    );
    assert_eq!(env.respond(r#"{"do":"blank"}"#), 2, "between blank lines");
    assert_eq!(env.respond(r#"{"do":"null"}"#), json!(null));
    let (recorded, document) = env.fail(r#"{"do":"cut"}"#);
    assert_eq!(recorded, "Function.Cut");
    assert_eq!(document["errorMessage"], "cut \u{FFFD}");
    assert_eq!(
        env.respond(r#"{"do":"count"}"#),
        5,
        "still the same process"
    );
}

#[test]
fn an_answer_that_comes_before_the_event_was_read_is_refused() {
    // Once the rest is in the pipe, and once it does not fit into it.
    for length in [1_000, 300_000] {
        let env = start(persistent("eager"));
        let event = json!({"do": "count", "pad": "x".repeat(length)}).to_string();
        let (recorded, document) = env.fail(&event);
        assert_eq!(recorded, "Function.ProtocolError");
        let message = document["errorMessage"].as_str().unwrap();
        let expected = "it answered before it had read the event";
        assert!(message.ends_with(expected), "{message}");
    }
}

#[test]
fn a_process_that_closes_its_output_fails_at_once() {
    let mut config = persistent("");
    config.timeout = Duration::from_secs(60);
    let env = start(config);
    let start = Instant::now();
    let (recorded, document) = env.fail(r#"{"do":"close"}"#);
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "not at the deadline"
    );
    assert_eq!(recorded, "Function.ProtocolError");
    let message = document["errorMessage"].as_str().unwrap();
    assert!(
        message.contains("it closed its standard output"),
        "{message}"
    );
    assert_eq!(env.respond(r#"{"do":"count"}"#), 1);
}

#[test]
fn an_answer_that_is_not_flushed_is_the_reason_for_the_timeout() {
    let env = start(ending_by_itself(persistent(""), 2));
    let table = [
        (
            r#"{"do":"hang"}"#,
            "an answer, and nothing else to standard output",
        ),
        (
            r#"{"do":"unflushed"}"#,
            "an answer, only 14 bytes without a line end",
        ),
    ];
    for (event, expected) in table {
        let (recorded, document) = env.fail(event);
        assert_eq!(recorded, "Function.Timeout");
        let message = document["errorMessage"].as_str().unwrap();
        assert!(message.contains(expected), "{message}");
        assert!(message.contains("has to flush"), "{message}");
    }
}

#[test]
fn a_process_that_is_slow_to_get_ready_is_in_the_log_before_the_init_phase_ends() {
    let mut config = persistent("unflushed");
    config.timeout = Duration::from_secs(1);
    let env = start(config);
    assert_eq!(env.fail("{}").0, "Sandbox.Timedout");
    let log = env.function_log();
    let warning = "not ready after 8 s: it had not written {\"ready\":true}, only 14 bytes";
    assert!(log.contains(warning), "{log}");
}

#[test]
fn a_process_does_not_keep_the_trace_header_of_the_event_it_was_started_for() {
    let env = start(persistent(""));
    let invoke = |event: &str| {
        let trace_id = Some("Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700".to_owned());
        let invoke = Invoke {
            trace_id,
            ..Invoke::new(event)
        };
        env.invoke_with(invoke).unwrap()
    };
    assert!(invoke(r#"{"do":"exit"}"#).function_error.is_some());
    assert_eq!(invoke(r#"{"do":"trace"}"#).body, br#""unset""#);
}

#[test]
fn an_unknown_mode_is_an_init_error() {
    let mut config = stock("persistent.sh");
    config
        .env
        .push(("BANTAM_HANDLER_MODE".to_owned(), "forever".to_owned()));
    let env = start(config);
    let (recorded, document) = env.fail("{}");
    assert_eq!(recorded, "Runtime.InvalidHandlerMode");
    assert!(
        document["errorMessage"]
            .as_str()
            .unwrap()
            .contains("per-invocation, persistent or http")
    );
}

#[test]
fn a_process_that_asks_for_it_gets_time_to_end_when_the_environment_does() {
    let registered = |what: &What| matches!(what, What::Request { path, .. } if path.ends_with("/extension/register"));
    for (first, is_gentle) in [("gentle", true), ("", false)] {
        let env = start(persistent(first));
        assert_eq!(env.respond(r#"{"do":"count"}"#), 1);
        // The process that is started again is ended in the same way.
        env.fail(r#"{"do":"exit"}"#);
        assert_eq!(env.respond(r#"{"do":"count"}"#), 1);
        assert_eq!(count(&env.transcript(), registered), usize::from(is_gentle));
        env.wait_for_polls(1);
        let report = env.stop();
        let said = report
            .log
            .iter()
            .any(|line| line.text == "closing the database");
        assert_eq!(said, is_gentle, "{:?}", report.log);
    }
}

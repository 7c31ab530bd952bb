//! The stock binary with an executable that is started for every event.

use std::time::Duration;

use emulator::{Invoke, LogFormat};
use serde_json::{Value, json};

use crate::support::{start, stock};

#[test]
fn the_event_is_its_input_and_its_output_is_the_response() {
    let env = start(stock("handler.sh"));
    for length in [1, 5_000, 100_000, 1_000_000] {
        let event = json!({"do": "echo", "pad": "x".repeat(length)});
        assert_eq!(env.respond(&event.to_string()), event);
    }
    assert_eq!(env.spawned(), 1);
}

#[test]
fn the_context_is_in_its_environment() {
    let env = start(stock("handler.sh"));
    let invoke = Invoke {
        client_context: Some(r#"{"client":{"app_title":"a"}}"#.to_owned()),
        cognito_identity: Some(r#"{"cognitoIdentityId":"i"}"#.to_owned()),
        tenant_id: Some("t".to_owned()),
        trace_id: Some("Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700".to_owned()),
        ..Invoke::new(r#"{"do":"context"}"#)
    };
    let outcome = env.invoke_with(invoke).unwrap();
    let context: Value = serde_json::from_slice(&outcome.body).unwrap();
    assert_eq!(context["id"], outcome.request_id);
    assert!(
        context["deadline"]
            .as_str()
            .unwrap()
            .parse::<u64>()
            .unwrap()
            > 1_700_000_000_000
    );
    assert_eq!(
        context["arn"],
        "arn:aws:lambda:us-east-1:123456789012:function:function"
    );
    assert_eq!(context["trace"], "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700");
    assert_eq!(
        (&context["tenant"], &context["set"]),
        (&json!("t"), &json!("yes"))
    );
    assert_eq!(context["client"], json!({"client": {"app_title": "a"}}));
    assert_eq!(context["identity"], json!({"cognitoIdentityId": "i"}));
    let context = env.respond(r#"{"do":"context"}"#);
    for (name, value) in [
        ("set", json!("")),
        ("client", json!(null)),
        ("identity", json!(null)),
    ] {
        let why = "what one invocation had, the next one has not";
        assert_eq!(context[name], value, "{name}: {why}");
    }
}

#[test]
fn a_failure_has_the_end_of_its_standard_error() {
    let env = start(stock("handler.sh"));
    let table = [
        (
            r#"{"do":"fail"}"#,
            "Function.ExitStatus",
            "first line\nthe disk is full",
        ),
        (
            r#"{"do":"fail-silently"}"#,
            "Function.ExitStatus",
            "the handler exited with status 4",
        ),
        (
            r#"{"do":"kill"}"#,
            "Function.Killed",
            "the handler was killed by signal 9",
        ),
    ];
    for (event, error_type, message) in table {
        let (recorded, document) = env.fail(event);
        assert_eq!(recorded, error_type);
        assert_eq!(document["errorMessage"], message);
    }
    let (_, document) = env.fail(r#"{"do":"fail-loudly"}"#);
    let message = document["errorMessage"].as_str().unwrap();
    assert!(message.ends_with("line 2999 of many"), "{message}");
    assert!(message.len() <= 4_096);
    env.wait_for_log("line 0 of many\n");
    env.wait_for_log("line 2999 of many\n");
    assert_eq!(env.spawned(), 1);
}

#[test]
fn a_handler_that_hangs_is_killed_before_the_deadline() {
    let mut config = stock("handler.sh");
    config.timeout = Duration::from_secs(1);
    let env = start(config);
    let (recorded, document) = env.fail(r#"{"do":"hang"}"#);
    assert_eq!(recorded, "Function.Timeout");
    let message = document["errorMessage"].as_str().unwrap();
    assert!(
        message.ends_with("it had written: about to hang"),
        "{message}"
    );
    assert_eq!(env.respond(r#"{"do":"echo"}"#), json!({"do": "echo"}));
    assert_eq!(env.spawned(), 1, "the platform saw no timeout");
}

#[test]
fn what_a_handler_leaves_behind_does_not_outlive_the_invocation() {
    let env = start(stock("handler.sh"));
    let child = env.respond(r#"{"do":"leave"}"#)["child"].as_u64().unwrap();
    // A killed child may stay as a zombie until its new parent collects it.
    let state = testkit::process::state(u32::try_from(child).unwrap());
    assert!(matches!(state, None | Some('Z' | 'X')), "{state:?}");
}

#[test]
fn a_handler_need_not_read_its_event() {
    let env = start(stock("deaf.sh"));
    let event = json!({"pad": "x".repeat(3_000_000)}).to_string();
    assert_eq!(env.respond(&event), "did not listen");
}

#[test]
fn an_endless_response_is_cut_off() {
    let env = start(stock("handler.sh"));
    let (recorded, document) = env.fail(r#"{"do":"large"}"#);
    assert_eq!(recorded, "Function.ResponseSizeTooLarge");
    assert_eq!(
        document["errorMessage"],
        "a response of over 6291556 bytes, the limit"
    );
    assert_eq!(env.respond(r#"{"do":"echo"}"#), json!({"do": "echo"}));
}

#[test]
fn a_handler_is_also_found_on_the_path() {
    let env = start(stock("cat"));
    assert_eq!(env.respond(r#"{"a":1}"#), json!({"a": 1}));
}

#[test]
fn a_handler_that_cannot_be_run_is_an_init_error_that_says_why() {
    let table = [
        (
            "missing.sh",
            "Runtime.HandlerNotFound",
            "fixtures/missing.sh (not found), /usr/bin/missing.sh (not found)",
        ),
        (
            "not-executable.sh",
            "Runtime.HandlerNotFound",
            "fixtures/not-executable.sh (not executable)",
        ),
        ("../fixtures", "Runtime.HandlerNotFound", "(a folder)"),
        ("", "Runtime.HandlerNotFound", "_HANDLER is not set"),
    ];
    for (handler, error_type, message) in table {
        let env = start(stock(handler));
        let (recorded, document) = env.fail("{}");
        assert_eq!(recorded, error_type);
        let found = document["errorMessage"].as_str().unwrap();
        assert!(found.contains(message), "{found}");
    }
}

#[test]
fn a_handler_that_does_not_start_is_an_error_with_a_hint() {
    for (handler, hint) in [
        (
            "no-interpreter",
            "a script needs a first line like #!/bin/sh",
        ),
        ("bad-interpreter", "its interpreter may be missing"),
    ] {
        let env = start(stock(handler));
        let (recorded, document) = env.fail("{}");
        assert_eq!(recorded, "Runtime.HandlerNotStarted");
        let message = document["errorMessage"].as_str().unwrap();
        assert!(message.contains(hint), "{message}");
        assert_eq!(env.spawned(), 1);
    }
}

#[test]
fn lines_become_records_when_the_log_is_json() {
    let mut config = stock("handler.sh");
    config.log_format = LogFormat::Json;
    // The level is for the runtime's own lines and those of the facade.
    config.log_level = Some("ERROR".to_owned());
    let env = start(config);
    let outcome = env.invoke(r#"{"do":"json-log"}"#).unwrap();
    env.wait_for_log("oops");
    let log = env.function_log();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines[0]["message"], "plain");
    assert_eq!(lines[0]["requestId"], outcome.request_id);
    assert_eq!(lines[1], json!({"own": "object"}));
    assert_eq!(lines[2]["message"], "{oops");
}

//! Failures as the caller and the platform see them.

use std::time::Duration;

use bantam_emulator::What;
use serde_json::{Value, json};

use crate::support::{count, faulty, start};

#[test]
fn every_kind_of_error_is_reported_with_its_type_and_its_sources() {
    let env = start(faulty());
    let table = [
        (
            r#"{"do":"chosen"}"#,
            "Function.OutOfMoney",
            "OutOfMoney",
            "no money",
        ),
        (
            r#"{"do":"chain"}"#,
            "Function.SaveError",
            "SaveError",
            "cannot save: disk full",
        ),
        (
            r#"{"do":"parse"}"#,
            "Function.ParseIntError",
            "ParseIntError",
            "invalid digit found in string",
        ),
        (
            r#"{"text":"fail","cow":"","raw":0}"#,
            "Function.OutOfStock",
            "OutOfStock",
            "nothing \"left\"\n\u{1b}é",
        ),
        (
            r#"{"do":"unserializable"}"#,
            "Runtime.MarshalError",
            "Runtime.MarshalError",
            "key must be a string",
        ),
    ];
    for (event, header_type, error_type, message) in table {
        let outcome = env.invoke(event).unwrap();
        let error = outcome.function_error.unwrap();
        assert_eq!(error.error_type, header_type);
        assert_eq!(
            error.raw_type.as_deref(),
            Some(header_type),
            "the platform keeps it as sent"
        );
        let document: Value = serde_json::from_slice(&error.body).unwrap();
        assert_eq!(document["errorType"], error_type);
        assert_eq!(document["errorMessage"], message);
        let cause: Value = serde_json::from_str(&error.xray_cause.unwrap()).unwrap();
        assert_eq!(cause["exceptions"][0]["type"], error_type);
        assert!(message.starts_with(cause["exceptions"][0]["message"].as_str().unwrap()));
    }
    assert_eq!(env.spawned(), 1);
}

#[test]
fn a_chosen_stack_trace_reaches_the_caller() {
    let env = start(faulty());
    let (_, document) = env.fail(r#"{"text":"fail","cow":"","raw":0}"#);
    assert_eq!(document["stackTrace"], json!(["stock.rs:7:1"]));
}

#[test]
fn the_sources_of_an_error_are_the_exceptions_of_the_x_ray_cause() {
    let env = start(faulty());
    let error = env
        .invoke(r#"{"do":"chain"}"#)
        .unwrap()
        .function_error
        .unwrap();
    let cause: Value = serde_json::from_str(&error.xray_cause.unwrap()).unwrap();
    let messages: Vec<&Value> = cause["exceptions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| &e["message"])
        .collect();
    assert_eq!(messages, ["cannot save", "disk full"]);
}

#[test]
fn a_failed_init_is_reported_with_its_type() {
    for (how, error_type, message) in [
        ("error", "Function.Error", "no database"),
        ("panic", "Function.Panic", "init went wrong"),
    ] {
        let mut config = faulty();
        config.env.push(("FAULTY_INIT".to_owned(), how.to_owned()));
        let env = start(config);
        let (recorded, document) = env.fail("{}");
        assert_eq!(recorded, error_type);
        assert!(
            document["errorMessage"].as_str().unwrap().contains(message),
            "{document}"
        );
        let exited = |what: &What| matches!(what, What::Exited { code: Some(1), .. });
        env.wait_until("the process exits with 1", |entries| {
            count(entries, exited) >= 1
        })
        .unwrap();
        let reports = |what: &What| matches!(what, What::Request { path, .. } if path.ends_with("/init/error"));
        assert!(count(&env.transcript(), reports) >= 1);
    }
}

#[test]
fn an_init_that_ends_the_process_or_hangs_is_bounded() {
    for (how, recorded) in [("exit", "Runtime.ExitError"), ("hang", "Sandbox.Timedout")] {
        let mut config = faulty();
        config.env.push(("FAULTY_INIT".to_owned(), how.to_owned()));
        if how == "hang" {
            config.init_timeout = Duration::from_millis(300);
            config.timeout = Duration::from_millis(300);
        }
        let env = start(config);
        assert_eq!(env.fail("{}").0, recorded, "{how}");
    }
}

#[test]
fn a_failure_is_in_the_log() {
    let env = start(faulty());
    env.fail(r#"{"do":"chain"}"#);
    env.wait_for_log("ERROR\tSaveError: cannot save: disk full");
}

#[test]
fn a_timeout_resets_the_environment_and_the_next_invocation_is_served() {
    let mut config = faulty();
    config.timeout = Duration::from_secs(2);
    let env = start(config);
    let (error_type, document) = env.fail(r#"{"do":"sleep","ms":60000}"#);
    assert_eq!(error_type, "Sandbox.Timedout");
    assert!(
        document["errorMessage"]
            .as_str()
            .unwrap()
            .contains("Task timed out after 2.00")
    );
    assert_eq!(env.respond(r#"{"do":"process"}"#)["count"], 1);
    assert_eq!(env.spawned(), 2);
}

#[test]
fn an_exit_inside_a_handler_is_not_silent() {
    let env = start(faulty());
    let (error_type, document) = env.fail(r#"{"do":"exit","code":3}"#);
    assert_eq!(error_type, "Runtime.ExitError");
    assert!(
        document["errorMessage"]
            .as_str()
            .unwrap()
            .contains("exit status 3")
    );
    assert_eq!(env.respond(r#"{"do":"process"}"#)["count"], 1);
}

#[test]
fn a_panic_is_reported_while_standard_error_is_locked() {
    let env = start(faulty());
    assert_eq!(env.fail(r#"{"do":"locked-panic"}"#).0, "Function.Panic");
    let process = env.respond(r#"{"do":"process"}"#);
    assert_eq!(process["count"], 1);
    assert_eq!(
        process["initTrace"],
        Value::Null,
        "the init has no trace id"
    );
}

#[test]
fn a_thread_of_the_init_that_panics_does_not_keep_the_process_starting() {
    let mut config = faulty();
    let init = ("FAULTY_INIT".to_owned(), "thread-panic".to_owned());
    config.env.push(init);
    config.freeze = false;
    let env = start(config);
    env.prepare().unwrap();
    env.wait_for_log("on a thread of the initialisation");
    for _ in 0..3 {
        let outcome = env.invoke(r#"{"do":"echo","value":1}"#).unwrap();
        let error = outcome.function_error.map(|error| error.error_type);
        assert!(
            error.is_none() || error.as_deref() == Some("Function.Panic"),
            "{error:?}"
        );
    }
    let connections = |what: &What| matches!(what, What::Connected { .. });
    // Each invocation may start the process anew twice and report once, on a connection each.
    assert!(count(&env.transcript(), connections) <= 1 + 3 * 4);
    assert_eq!(env.spawned(), 1);
}

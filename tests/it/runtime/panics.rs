//! A panic is the error of the invocation it broke, and the process starts anew in place.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bantam_emulator::What;
use serde_json::{Value, json};
use testkit::pipe::{named_pipe, say_now};

use crate::support::{Env, answers, count, faulty, start};

/// The process id now, and how many invocations the program has served since it started.
fn process(env: &Env) -> (Value, Value) {
    let process = env.respond(r#"{"do":"process"}"#);
    (process["pid"].clone(), process["count"].clone())
}

#[test]
fn a_panic_is_reported_and_the_process_starts_anew_in_place() {
    for event in [
        r#"{"do":"panic","message":"on the \"loop\"\né"}"#,
        r#"{"do":"thread-panic"}"#,
        r#"{"do":"two-panics"}"#,
    ] {
        let env = start(faulty());
        let (pid, _) = process(&env);
        assert_eq!(process(&env), (pid.clone(), 2.into()));
        for _ in 0..3 {
            let outcome = env.invoke(event).unwrap();
            assert_eq!(
                bantam_emulator::answers(&env.transcript(), &outcome.request_id),
                1
            );
            let error = outcome.function_error.unwrap();
            assert_eq!(error.error_type, "Function.Panic");
            let document: Value = serde_json::from_slice(&error.body).unwrap();
            let message = document["errorMessage"].as_str().unwrap();
            assert!(
                message.starts_with("panicked at tests/fixtures/faulty.rs:"),
                "{message}"
            );
            let place = document["stackTrace"][0].as_str().unwrap();
            assert!(place.starts_with("tests/fixtures/faulty.rs:"), "{place}");
            let cause: Value = serde_json::from_str(&error.xray_cause.unwrap()).unwrap();
            assert_eq!(
                cause["exceptions"][0]["stack"][0]["path"],
                "tests/fixtures/faulty.rs"
            );
        }
        assert_eq!(
            process(&env),
            (pid, 1.into()),
            "the same process, a fresh program"
        );
        assert_eq!(env.spawned(), 1, "the platform started one process");
        let ended = |what: &What| matches!(what, What::Exited { .. } | What::Reset { .. });
        assert_eq!(
            count(&env.transcript(), ended),
            0,
            "the platform saw no crash"
        );
    }
}

#[test]
fn the_message_of_a_panic_is_whole() {
    let env = start(faulty());
    let (_, document) = env.fail(r#"{"do":"panic","message":"on the \"loop\"\né"}"#);
    assert!(
        document["errorMessage"]
            .as_str()
            .unwrap()
            .ends_with(": on the \"loop\"\né")
    );
    let long = "x".repeat(1_000_000);
    let (_, document) = env.fail(&format!(r#"{{"do":"panic","message":"{long}"}}"#));
    let length = document["errorMessage"].as_str().unwrap().len();
    assert_eq!(length, 16 * 1024, "and bounded");
}

/// A function with a thread that panics when something is written to the pipe.
fn with_pipe() -> (Env, tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let pipe = named_pipe(folder.path());
    let mut config = faulty();
    // A frozen process reads no pipe.
    config.freeze = false;
    (start(config), folder, pipe)
}

fn late_panic(pipe: &Path) -> String {
    json!({"do": "late-panic", "pipe": pipe}).to_string()
}

/// Waits for the log, while nothing else happens.
fn until_logged(env: &Env, text: &str) {
    let bound = Instant::now() + Duration::from_secs(10);
    while !env.function_log().contains(text) {
        assert!(Instant::now() < bound, "{text} is not logged");
        std::thread::yield_now();
    }
}

/// Lets a thread panic while the program waits for an event, which it does as soon as it has
/// responded: an invocation is over when `next` was asked for.
fn panic_in_idle(env: &Env, pipe: &Path) {
    env.clear();
    env.respond(&late_panic(pipe));
    std::fs::write(pipe, "now").unwrap();
    until_logged(env, "Function.Panic: panicked at");
    env.clear();
}

#[test]
fn a_panic_between_invocations_breaks_none() {
    let (env, _folder, pipe) = with_pipe();
    let (pid, _) = process(&env);
    panic_in_idle(&env, &pipe);
    assert_eq!(process(&env), (pid, 1.into()), "a fresh program");
    // Started anew while nothing ran, it would have lost the connection that the event goes to.
    let transcript = env.transcript();
    let sent = |what: &What| matches!(what, What::EventSent { .. });
    assert_eq!(count(&transcript, sent), 2, "to both programs");
    let begun = |what: &What| matches!(what, What::Spawned { .. } | What::InitStart);
    assert_eq!(count(&transcript, begun), 0, "the platform saw nothing");
    assert_eq!(process(&env).1, 2);
}

#[test]
fn every_panic_between_invocations_breaks_none() {
    let (env, _folder, pipe) = with_pipe();
    let (pid, _) = process(&env);
    for _ in 0..5 {
        panic_in_idle(&env, &pipe);
        assert_eq!(process(&env), (pid.clone(), 1.into()), "a fresh program");
        assert_eq!(process(&env).1, 2);
    }
}

#[test]
fn a_panic_while_an_event_arrives_breaks_at_most_that_invocation() {
    let (env, _folder, pipe) = with_pipe();
    let (pid, _) = process(&env);
    let invoke = |event: &str| {
        let outcome = env.invoke(event).unwrap();
        assert_eq!(answers(&env, &outcome), 1);
        match outcome.function_error {
            None => Some(serde_json::from_slice::<Value>(&outcome.body).unwrap()),
            Some(error) => {
                assert_eq!(error.error_type, "Function.Panic");
                None
            }
        }
    };
    let mut panics = 0;
    for _ in 0..50 {
        // The panic of the last round may break this one.
        if invoke(&late_panic(&pipe)).is_none() {
            continue;
        }
        // It may also have taken the thread that reads with the program.
        panics += usize::from(say_now(&pipe, Duration::from_millis(100)));
        if let Some(process) = invoke(r#"{"do":"process"}"#) {
            assert_eq!(process["pid"], pid);
        }
    }
    assert!(10 < panics, "{panics}");
    assert_eq!(env.spawned(), 1);
}

#[test]
fn a_panic_inside_a_panic_ends_the_process_and_the_platform_reports_it() {
    let env = start(faulty());
    assert_eq!(
        env.fail(r#"{"do":"panic-in-panic"}"#).0,
        "Runtime.ExitError"
    );
    assert_eq!(process(&env).1, 1);
    assert_eq!(env.spawned(), 2);
}

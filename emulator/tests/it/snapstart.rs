//! `SnapStart`: the runtime's hooks, and what does not outlive a restore.

use std::io::ErrorKind;
use std::thread;
use std::time::Duration;

use bantam_emulator::{Config, Emulator, Error, Fault, FaultKind, Initialization, Step, What};
use testkit::http::{Client, exchange};

use crate::support::{
    RuntimeClient as _, RuntimeResponse as _, attached_with, count, echo, error_of, json,
};

const RESTORE_NEXT: &str = "/2018-06-01/runtime/restore/next";

/// A function whose runtime does this after a restore.
fn restored(how: &str) -> Config {
    let mut config = snapstart(echo());
    config.env = vec![("ECHO_RESTORE".into(), how.into())];
    config
}

fn snapstart(mut config: Config) -> Config {
    config.initialization = Initialization::SnapStart;
    config.restore_gap = Duration::from_millis(1);
    config
}

#[test]
fn the_runtime_is_restored_with_its_hooks_or_without() {
    for config in [restored("wait"), snapstart(echo())] {
        let emulator = Emulator::start(config).unwrap();
        emulator.prepare().unwrap();
        assert!(emulator.environments()[0].frozen);
        let outcome = emulator.invoke("1").unwrap();
        assert_eq!((outcome.body.as_slice(), outcome.status), (&b"1"[..], 200));
        assert!(outcome.timing.restore.is_some());
        assert_eq!(emulator.invoke("2").unwrap().timing.restore, None);
    }
}

#[test]
fn log_variables_and_keys_are_absent() {
    let emulator = Emulator::start(restored("wait")).unwrap();
    let variables = json(&emulator.invoke(r#"{"do":"env"}"#).unwrap().body);
    for absent in [
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
    ] {
        assert!(variables.get(absent).is_none(), "{absent}");
    }
    let api = emulator.environments()[0].runtime_api;
    let uri = format!("http://{api}/2021-04-23/credentials");
    assert_eq!(variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"], *uri);
    let token = &variables["AWS_CONTAINER_AUTHORIZATION_TOKEN"];
    let header = ("Authorization", token.as_str().unwrap());
    let credentials = exchange(api, "GET", "/2021-04-23/credentials", &[header], b"");
    assert_eq!(credentials.unwrap().json()["Token"], "emulated-1");
}

#[test]
fn connections_are_reset_by_a_restore() {
    let (emulator, mut runtime) = attached_with(snapstart(Config::new("")));
    let api = emulator.environments()[0].runtime_api;
    let mut idle = Client::connect(api);
    let path = "/2021-04-23/credentials";
    idle.send("GET", path, &[("Authorization", "emulated-token")], b"");
    assert_eq!(idle.response().unwrap().json()["Token"], "emulated-0");
    runtime.send("GET", RESTORE_NEXT, &[], b"");
    thread::scope(|scope| {
        let invoked = scope.spawn(|| emulator.invoke("{}").unwrap());
        assert_eq!(runtime.response().unwrap().status, 200);
        for old in [&mut idle, &mut runtime] {
            assert_eq!(old.rest().1, Some(ErrorKind::ConnectionReset));
        }
        runtime.reconnect();
        let event = runtime.next();
        runtime.report(&event.request_id(), "response", &[], b"{}");
        runtime.send("GET", "/2018-06-01/runtime/invocation/next", &[], b"");
        assert_eq!(invoked.join().unwrap().function_error, None);
    });
}

#[test]
fn a_runtime_that_keeps_its_connection_does_not_come_out() {
    let emulator = Emulator::start(restored("keep")).unwrap();
    let outcome = emulator.invoke("{}").unwrap();
    assert_eq!(error_of(&outcome).0, "Runtime.ExitError");
    assert_eq!(outcome.status, 400);
}

#[test]
fn a_hook_that_fails_ends_the_environment() {
    for how in ["restore/error", "init/error"] {
        let emulator = Emulator::start(restored(how)).unwrap();
        for environment in 0..2 {
            let outcome = emulator.invoke("{}").unwrap();
            let error = ("Function.NoLuck".to_owned(), "no luck".to_owned());
            assert_eq!(error_of(&outcome), error, "{how}");
            assert_eq!((outcome.status, outcome.environment), (400, environment));
            assert!(emulator.environments().is_empty(), "{how}");
        }
        let path = "/2015-03-31/functions/function/invocations";
        let http = exchange(emulator.invoke_addr(), "POST", path, &[], b"{}").unwrap();
        assert_eq!(http.status, 400);
        let error_type = http.header("X-Amzn-Errortype");
        assert_eq!(error_type, Some("SnapStartException"));
        let log = emulator.log();
        let lines = log.iter().map(|line| line.text.as_str());
        let reports: Vec<_> = lines.filter(|l| l.starts_with("RESTORE_REPORT")).collect();
        assert_eq!(reports.len(), 3);
        assert!(reports[0].ends_with("Status: error\tError Type: Function.NoLuck"));
        let starts = log.iter().filter(|line| line.text.starts_with("START "));
        assert_eq!(starts.count(), 0, "the invocation never began");
    }
}

#[test]
fn a_hook_that_takes_too_long_ends_the_environment() {
    let mut config = restored("hang");
    config.restore_timeout = Duration::from_millis(100);
    let emulator = Emulator::start(config).unwrap();
    let outcome = emulator.invoke("{}").unwrap();
    assert_eq!(error_of(&outcome).0, "Runtime.RestoreHookUserTimeout");
    assert_eq!(outcome.status, 408);
    assert!(emulator.environments().is_empty());
    let path = "/2015-03-31/functions/function/invocations";
    let http = exchange(emulator.invoke_addr(), "POST", path, &[], b"{}").unwrap();
    assert_eq!(http.status, 408);
    let error_type = http.header("X-Amzn-Errortype");
    assert_eq!(error_type, Some("SnapStartTimeoutException"));
}

#[test]
fn an_init_that_fails_leaves_nothing_to_restore() {
    let mut config = restored("wait");
    config.env.push(("ECHO_INIT".into(), "error".into()));
    let emulator = Emulator::start(config).unwrap();
    let outcome = emulator.invoke("{}").unwrap();
    assert_eq!(error_of(&outcome).0, "Function.NoLuck");
    let spawned = |what: &What| matches!(what, What::Spawned { .. });
    assert_eq!(
        count(&emulator.transcript(), spawned),
        1,
        "it is not repeated"
    );
    assert!(emulator.environments().is_empty());
    let prepared = emulator.prepare();
    assert!(matches!(prepared, Err(Error::Init { error_type, .. })
        if error_type == "Function.NoLuck"));
}

#[test]
fn each_step_of_a_restore_can_fail() {
    let lost = FaultKind::ResetAfter;
    let table = [
        (Step::RestoreNext(0), FaultKind::ResetBefore, "wait"),
        (Step::RestoreNext(0), lost.clone(), "wait"),
        (
            Step::RestoreNext(0),
            FaultKind::Status(500, "{}".into()),
            "wait",
        ),
        (Step::RestoreError(0), lost, "restore/error"),
    ];
    for (at, kind, how) in table {
        let mut config = restored(how);
        config.faults = vec![Fault::new(at, kind)];
        let emulator = Emulator::start(config).unwrap();
        let outcome = emulator.invoke("{}").unwrap();
        assert!(outcome.function_error.is_some(), "{at:?}");
        let applied = |what: &What| matches!(what, What::FaultApplied { .. });
        assert_eq!(count(&emulator.transcript(), applied), 1, "{at:?}");
        // The next one is made anew.
        let next = emulator.invoke("{}").unwrap();
        assert_eq!(next.function_error.is_some(), how != "wait", "{at:?}");
    }
    let mut config = snapstart(Config::new(""));
    let refusal = FaultKind::Status(500, "{}".into());
    config.faults = vec![Fault::new(Step::Credentials(0), refusal)];
    let (_emulator, mut client) = attached_with(config);
    assert_eq!(client.get("/2021-04-23/credentials").status, 500);
    assert_eq!(client.get("/2021-04-23/credentials").status, 404);
}

//! Hooks before the shutdown and around a snapshot, and the availability zone.

use std::time::Duration;

use bantam_emulator::{
    Config, Entry, Fault, FaultKind, Initialization, LogFormat, Report, Step, What,
};
use serde_json::json;

use crate::support::{count, faulty, function, start, stock};

/// The function whose hooks misbehave like this.
fn hooks(how: &str) -> Config {
    let mut config = function("hooks");
    config.env.push(("HOOKS".to_owned(), how.to_owned()));
    config
}

fn snap_start(how: &str) -> Config {
    let mut config = hooks(how);
    config.initialization = Initialization::SnapStart;
    config
}

/// The hooks that ran.
fn ran(log: &str) -> Vec<&str> {
    log.lines()
        .filter_map(|line| line.strip_prefix("hook "))
        .collect()
}

/// Calls of the runtime whose path ends so.
fn calls(entries: &[Entry], end: &str) -> usize {
    count(
        entries,
        |what| matches!(what, What::Request { path, .. } if path.ends_with(end)),
    )
}

fn text(report: &Report) -> String {
    let lines = report.log.iter();
    lines.flat_map(|line| [&line.text, "\n"]).collect()
}

/// The internal extensions that registered.
fn internal(entries: &[Entry]) -> usize {
    count(
        entries,
        |what| matches!(what, What::ExtensionRegistered { external: false, events, .. } if events.is_empty()),
    )
}

#[test]
fn a_hook_runs_before_the_environment_ends() {
    for invoked in [false, true] {
        let env = start(hooks(""));
        env.prepare().unwrap();
        if invoked {
            env.respond(r#""go""#);
        }
        assert_eq!(internal(&env.transcript()), 1);
        let report = env.stop();
        let text = text(&report);
        assert_eq!(ran(&text), ["shutdown"]);
        assert!(text.contains("hooks end"), "{text}");
    }
}

#[test]
fn a_program_that_starts_again_is_still_registered() {
    let env = start(hooks(""));
    assert_eq!(env.fail(r#""panic""#).0, "Function.Panic");
    env.respond(r#""go""#);
    assert_eq!(internal(&env.transcript()), 1);
    assert_eq!(env.spawned(), 1);
    assert_eq!(ran(&text(&env.stop())), ["shutdown"]);
}

#[test]
fn a_hook_that_does_not_end_is_cut_off() {
    for how in ["shutdown:hang", "shutdown:panic"] {
        let env = start(hooks(how));
        env.respond(r#""go""#);
        let text = text(&env.stop());
        assert_eq!(ran(&text), ["shutdown"], "{how}");
        assert!(!text.contains("hooks end"), "{text}");
    }
}

#[test]
fn a_function_that_cannot_register_serves_all_the_same() {
    let mut config = hooks("");
    let refused = FaultKind::Status(403, r#"{"errorType":"Extension.TooMany"}"#.into());
    config.faults = vec![Fault {
        at: Step::Register(0),
        kind: refused,
    }];
    let env = start(config);
    env.respond(r#""go""#);
    let reason =
        r#"cannot register as one: the API answered 403 {"errorType":"Extension.TooMany"}"#;
    env.wait_for_log(reason);
}

#[test]
fn hooks_run_around_a_snapshot_in_their_order() {
    let env = start(snap_start(""));
    let zone = env.respond(r#""go""#);
    let log = env.function_log();
    assert_eq!(ran(&log), ["before 2", "before 1", "after 1", "after 2"]);
    assert!(log.contains("before 1 in use1-az1"), "{log}");
    assert_eq!(
        zone, "use1-az2",
        "the zone from before the restore is forgotten"
    );
    assert_eq!(calls(&env.transcript(), "/restore/next"), 1);
    assert_eq!(env.spawned(), 1);
}

#[test]
fn a_program_that_starts_again_takes_no_second_snapshot() {
    let env = start(snap_start(""));
    assert_eq!(env.fail(r#""panic""#).0, "Function.Panic");
    env.respond(r#""go""#);
    assert_eq!(calls(&env.transcript(), "/restore/next"), 1);
    assert_eq!(ran(&env.function_log()).len(), 4);
}

#[test]
fn a_hook_that_fails_before_the_snapshot_is_an_init_error() {
    for (how, error_type) in [
        ("before 1:fail", "Hook.Failed"),
        ("before 1:panic", "Panic"),
    ] {
        let env = start(snap_start(how));
        let error = env.prepare().unwrap_err().to_string();
        assert!(
            error.contains(error_type) || error.contains("Unknown"),
            "{error}"
        );
        let transcript = env.transcript();
        assert_eq!(calls(&transcript, "/restore/next"), 0, "{how}");
        assert!(1 <= calls(&transcript, "/init/error"), "{how}");
    }
}

#[test]
fn a_hook_that_fails_after_the_restore_ends_the_environment() {
    let env = start(snap_start("after 1:fail"));
    let outcome = env.invoke(r#""go""#).unwrap();
    assert!(outcome.function_error.is_some());
    let transcript = env.transcript();
    assert_eq!(calls(&transcript, "/restore/error"), 1);
    env.wait_for_log("Hook.Failed: the hook failed");
    // The platform sends SIGTERM at about the same time.
    let log = env.function_log();
    let ran = ran(&log).into_iter().filter(|hook| *hook != "shutdown");
    assert!(ran.eq(["before 2", "before 1", "after 1"]), "{log}");
}

#[test]
fn without_snap_start_no_snapshot_is_waited_for() {
    let env = start(hooks(""));
    assert_eq!(env.respond(r#""go""#), "use1-az1");
    assert_eq!(calls(&env.transcript(), "/restore/next"), 0);
    assert_eq!(ran(&env.function_log()), Vec::<&str>::new());
}

#[test]
fn the_availability_zone_is_read_once_and_its_token_not_shown() {
    let mut config = faulty();
    config.log_format = LogFormat::Json;
    config.log_level = Some("TRACE".to_owned());
    let env = start(config);
    for _ in 0..3 {
        assert_eq!(env.respond(r#"{"do":"zone"}"#), "use1-az1");
    }
    assert_eq!(
        calls(&env.transcript(), "/metadata/execution-environment"),
        1
    );
    let token = env.environments()[0].metadata.clone().unwrap().token;
    assert!(!env.function_log().contains(&token));
}

#[test]
fn an_endpoint_that_does_not_answer_leaves_the_zone_unknown() {
    let none = FaultKind::Delay(Duration::from_secs(60));
    let refused = FaultKind::Status(503, "Service Unavailable\n".into());
    let wrong = FaultKind::Status(200, r#"{"Other":1}"#.into());
    for kind in [none, refused, wrong] {
        let mut config = faulty();
        config.faults = vec![Fault {
            at: Step::Metadata(0),
            kind: kind.clone(),
        }];
        let env = start(config);
        assert_eq!(env.respond(r#"{"do":"zone"}"#), json!(null), "{kind:?}");
        assert_eq!(
            env.respond(r#"{"do":"zone"}"#),
            "use1-az1",
            "it is asked again"
        );
    }
    let mut config = faulty();
    config.availability_zones.clear();
    assert_eq!(start(config).respond(r#"{"do":"zone"}"#), json!(null));
}

/// The stock binary with commands around the snapshot.
fn commands(before: &str, after: &str) -> Config {
    let mut config = stock("handler.sh");
    config.initialization = Initialization::SnapStart;
    for (name, value) in [
        ("BANTAM_BEFORE_SNAPSHOT", before),
        ("BANTAM_AFTER_RESTORE", after),
    ] {
        config.env.push((name.to_owned(), value.to_owned()));
    }
    config
}

#[test]
fn commands_run_around_the_snapshot_of_an_executable() {
    let env = start(commands("pwd", "uname"));
    env.prepare().unwrap();
    env.wait_for_log("tests/fixtures\n");
    assert!(!env.function_log().contains("Linux"));
    let event = r#"{"do":"echo"}"#;
    assert_eq!(env.respond(event), json!({"do": "echo"}));
    env.wait_for_log("Linux\n");
    assert_eq!(calls(&env.transcript(), "/restore/next"), 1);
    assert_eq!(env.spawned(), 1);
}

#[test]
fn an_executable_without_commands_takes_part_in_snap_start() {
    let mut config = commands("", "");
    config.env.truncate(1);
    let env = start(config);
    env.respond(r#"{"do":"echo"}"#);
    assert_eq!(calls(&env.transcript(), "/restore/next"), 1);
}

#[test]
fn a_command_that_fails_ends_the_environment_at_its_time() {
    let env = start(commands("false", "uname"));
    env.prepare().unwrap_err();
    assert!(1 <= calls(&env.transcript(), "/init/error"));
    env.wait_for_log("BANTAM_BEFORE_SNAPSHOT: the handler ended with exit status: 1");

    let env = start(commands("pwd", "no-such-command"));
    let outcome = env.invoke(r#"{"do":"echo"}"#).unwrap();
    assert!(outcome.function_error.is_some());
    assert_eq!(calls(&env.transcript(), "/restore/error"), 1);
    env.wait_for_log("BANTAM_AFTER_RESTORE: handler \"no-such-command\": looked for");
}

#[test]
fn an_executable_gets_the_availability_zone_where_it_asks_for_it() {
    let zone = |asks: &str| {
        let mut config = stock("handler.sh");
        let setting = ("BANTAM_AVAILABILITY_ZONE".to_owned(), asks.to_owned());
        config.env.push(setting);
        let env = start(config);
        let zone = env.respond(r#"{"do":"zone"}"#);
        env.respond(r#"{"do":"zone"}"#);
        let transcript = env.transcript();
        (zone, calls(&transcript, "/metadata/execution-environment"))
    };
    assert_eq!(zone("true"), (json!("use1-az1"), 1));
    assert_eq!(zone("false"), (json!(""), 0));
}

/// Its process is older than the restore, and its variables with it.
#[test]
fn a_persistent_executable_learns_the_zone_of_the_restored_environment() {
    let with = |initialization, asks: &str| {
        let mut config = stock("persistent.sh");
        config.initialization = initialization;
        for (name, value) in [
            ("BANTAM_HANDLER_MODE", "persistent"),
            ("BANTAM_AVAILABILITY_ZONE", asks),
        ] {
            config.env.push((name.to_owned(), value.to_owned()));
        }
        start(config).respond(r#"{"do":"zone"}"#)
    };
    let restored = with(Initialization::SnapStart, "true");
    assert_eq!(restored, json!(["use1-az1", "use1-az2"]));
    let on_demand = with(Initialization::OnDemand, "true");
    assert_eq!(on_demand, json!(["use1-az1", "use1-az1"]));
    let unasked = with(Initialization::OnDemand, "false");
    assert_eq!(unasked[0], "");
    assert!(!unasked[1].as_str().unwrap().starts_with("use1"));
}

//! Hooks before the shutdown and around a snapshot, and the availability zone.

use std::time::Duration;

use bantam_emulator::{
    Config, Entry, Fault, FaultKind, Initialization, LogFormat, Report, Step, What,
};
use serde_json::json;

use super::faults::{exits, recoverable};
use crate::support::{Env, count, faulty, function, start, stock};

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

/// The fresh program would know nothing of the hook.
#[test]
fn a_panic_while_a_hook_runs_does_not_cut_it_off() {
    let mut config = hooks("");
    config.timeout = Duration::from_millis(500);
    let env = start(config);
    let outcome = env.invoke(r#""panic at the end""#).unwrap();
    assert!(outcome.function_error.is_some());
    env.wait_for_log("hooks end");
    let log = env.function_log();
    assert!(log.contains("the handler panicked at the end"), "{log}");
    assert_eq!(ran(&log), ["shutdown"]);
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
    // What the hooks after the restore made was lost.
    env.respond(r#""restored""#);
    assert_eq!(calls(&env.transcript(), "/restore/next"), 1);
    let log = env.function_log();
    let twice = ["after 1", "after 2"].repeat(2);
    assert_eq!(ran(&log), [&["before 2", "before 1"], &twice[..]].concat());
}

#[test]
fn one_step_takes_part_in_snap_start() {
    let env = start(snap_start("twice in snapshots"));
    let error = env.prepare().unwrap_err().to_string();
    assert!(error.contains("Runtime.SnapStart"), "{error}");
    assert_eq!(calls(&env.transcript(), "/restore/next"), 0);
}

#[test]
fn hooks_for_the_shutdown_run_one_after_the_other() {
    let env = start(hooks("twice"));
    env.respond(r#""go""#);
    assert_eq!(internal(&env.transcript()), 1);
    assert_eq!(ran(&text(&env.stop())), ["outer", "shutdown"]);
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
    for (how, logged) in [
        ("after 1:fail", "Hook.Failed: the hook failed"),
        ("after 1:panic", "the hook panicked"),
    ] {
        let env = start(snap_start(how));
        let outcome = env.invoke(r#""go""#).unwrap();
        assert!(outcome.function_error.is_some());
        let transcript = env.transcript();
        assert_eq!(calls(&transcript, "/restore/error"), 1, "{how}");
        assert_eq!(calls(&transcript, "/init/error"), 0, "{how}");
        env.wait_for_log(logged);
        // The platform sends SIGTERM at about the same time.
        let log = env.function_log();
        let ran = ran(&log).into_iter().filter(|hook| *hook != "shutdown");
        assert!(ran.eq(["before 2", "before 1", "after 1"]), "{log}");
    }
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

/// What a call may meet.
fn faults() -> Vec<FaultKind> {
    let mut kinds = recoverable();
    for status in [302, 400, 403, 404, 410, 413, 429, 500, 503] {
        let body = r#"{"errorMessage":"planted","errorType":"Planted"}"#.to_owned();
        kinds.push(FaultKind::Status(status, body));
    }
    kinds
}

/// What becomes of a call that meets a fault and is not made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is answered.
    Served,
    /// The platform has acted on it, and its answer is lost.
    Lost,
    /// The platform has not seen it.
    Refused,
}

/// What becomes of it if its answer has about so many bytes.
fn fate(kind: &FaultKind, answer_bytes: usize) -> Fate {
    match kind {
        FaultKind::Delay(_) | FaultKind::ByteByByte | FaultKind::SplitAt(_) => Fate::Served,
        FaultKind::CutAt(at) | FaultKind::CloseAt(at) if answer_bytes < *at => Fate::Served,
        FaultKind::ResetAfter
        | FaultKind::CutAt(_)
        | FaultKind::CloseAt(_)
        | FaultKind::Garbage(_) => Fate::Lost,
        _ => Fate::Refused,
    }
}

/// Starts `config` with a fault at the first call of a step.
fn with_fault(mut config: Config, at: Step, kind: &FaultKind) -> Env {
    config.faults = vec![Fault::new(at, kind.clone())];
    config.freeze = false;
    // An extension that is registered and does not ask for an event keeps the init phase from its
    // end, until the platform starts the function again.
    config.init_timeout = Duration::from_secs(2);
    start(config)
}

#[test]
fn whatever_happens_to_the_registration_the_function_serves() {
    // Of those that take the whole init phase, some.
    let is_tried = |kind: &FaultKind| match kind {
        FaultKind::CutAt(at) | FaultKind::CloseAt(at) => matches!(at, 0 | 17 | 120),
        _ => true,
    };
    for kind in faults().into_iter().filter(is_tried) {
        let env = with_fault(hooks(""), Step::Register(0), &kind);
        assert_eq!(env.respond(r#""go""#), "use1-az1", "{kind:?}");
        let starts = if fate(&kind, 200) == Fate::Lost { 2 } else { 1 };
        assert_eq!(env.spawned(), starts, "{kind:?}");
        let registered = internal(&env.transcript());
        let text = text(&env.stop());
        let warned = text.contains("the function cannot register as one: ");
        assert_eq!(warned, fate(&kind, 200) != Fate::Served, "{kind:?}: {text}");
        let is_registered = registered == starts;
        assert_eq!(is_registered, fate(&kind, 200) != Fate::Refused, "{kind:?}");
        assert_eq!(ran(&text).contains(&"shutdown"), is_registered, "{kind:?}");
    }
}

#[test]
fn whatever_happens_to_the_event_of_the_extension_the_function_serves() {
    let is_tried = |kind: &FaultKind| match kind {
        FaultKind::Status(status, _) => matches!(status, 403 | 500),
        _ => true,
    };
    for kind in faults().into_iter().filter(is_tried) {
        let env = with_fault(hooks(""), Step::ExtensionNext(0), &kind);
        assert_eq!(env.respond(r#""go""#), "use1-az1", "{kind:?}");
        // Nobody reads the answer, so nobody sees that the question has not arrived.
        let starts = if fate(&kind, 0) == Fate::Refused {
            2
        } else {
            1
        };
        assert_eq!(env.spawned(), starts, "{kind:?}");
    }
}

#[test]
fn whatever_happens_to_the_wait_for_the_restore_it_ends() {
    for kind in faults() {
        let env = with_fault(snap_start(""), Step::RestoreNext(0), &kind);
        let is_published = env.prepare().is_ok();
        let outcome = env.invoke(r#""go""#).unwrap();
        let error = outcome.function_error.map(|error| error.error_type);
        let seen = (is_published, error.as_deref(), env.spawned());
        let expected = match fate(&kind, 100) {
            Fate::Served => (true, None, 1),
            // The environment is lost with the answer.
            Fate::Lost => (true, Some("Runtime.RestoreNext"), 1),
            // An init error: there is no snapshot yet, and another process serves.
            Fate::Refused => (false, None, 2),
        };
        assert_eq!(seen, expected, "{kind:?}");
        let ends = exits(&env.transcript());
        // SIGTERM may come before the process ends with 1.
        assert!(
            ends.iter().all(|code| matches!(code, Some(0 | 1))),
            "{kind:?}"
        );
        assert_eq!(
            ends.is_empty(),
            fate(&kind, 100) == Fate::Served,
            "{kind:?}"
        );
    }
}

#[test]
fn whatever_happens_to_the_report_of_a_failed_restore_the_environment_ends() {
    for kind in faults() {
        let env = with_fault(snap_start("after 1:fail"), Step::RestoreError(0), &kind);
        let error = env.invoke(r#""go""#).unwrap().function_error.unwrap();
        let expected: &[&str] = match kind {
            FaultKind::Status(..) => &["Runtime.ExitError"],
            // Whether a report is lost with its connection or not sent at all is a matter of time;
            // only the first kind is given up after the second try.
            FaultKind::Refuse { .. } => &["Runtime.ExitError", "Function.HookFailed"],
            // It is sent once more where it was lost.
            _ => &["Function.HookFailed"],
        };
        let error = error.error_type.as_str();
        assert!(expected.contains(&error), "{kind:?}: {error}");
        env.wait_for_log("Hook.Failed: the hook failed");
        let ends = exits(&env.transcript());
        assert!(matches!(ends[..], [Some(0 | 1)]), "{kind:?}: {ends:?}");
    }
}

#[test]
fn whatever_happens_to_the_question_for_the_zone_the_function_serves() {
    for kind in faults() {
        let env = with_fault(faulty(), Step::Metadata(0), &kind);
        let answers = [0; 5].map(|_| env.respond(r#"{"do":"zone"}"#));
        let failed = answers.iter().filter(|answer| answer.is_null()).count();
        let is_right = match kind {
            // After three failures it is not asked for again.
            FaultKind::Unreachable(_) => [1, 2, answers.len()].contains(&failed),
            FaultKind::Refuse { times: 3 } => failed == answers.len(),
            FaultKind::Refuse { times } => failed == 1 + times,
            _ => failed == usize::from(fate(&kind, 150) != Fate::Served),
        };
        assert!(is_right, "{kind:?}: {failed}");
        assert!(answers[failed..].iter().all(|zone| zone == "use1-az1"));
        assert_eq!(env.spawned(), 1, "{kind:?}");
    }
}

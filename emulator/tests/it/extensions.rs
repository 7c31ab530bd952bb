//! Extensions with real processes: the example `extension` beside `echo`.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use bantam_emulator::{
    Config, Emulator, Entry, Error, ExtensionState, Fault, FaultKind, Initialization, Invoke,
    InvokeKind, State, Step, What,
};
use testkit::http::Client;
use testkit::process::state;

use crate::support::{count, echo, error_of, example, json, unused_path};

/// A function with one extension called `ext` that does what it is asked.
fn with(asked: &str) -> (Config, Folder) {
    with_all(&[("ext", asked)])
}

/// A function with extensions of these names.
fn with_all(asked: &[(&str, &str)]) -> (Config, Folder) {
    let folder = Folder::new();
    let mut config = echo();
    for (name, words) in asked {
        let link = folder.path.join(name);
        symlink(example("extension"), &link).unwrap();
        config.extensions.push(link);
        let variable = (format!("EXTENSION_{name}"), (*words).to_owned());
        config.env.push(variable);
    }
    (config, folder)
}

/// A folder of its own, gone with the test.
struct Folder {
    path: PathBuf,
}

impl Folder {
    fn new() -> Self {
        let nanos = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
        let path = unused_path(&format!("extensions-{nanos}"));
        fs::create_dir(&path).unwrap();
        Self { path }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _kept = fs::remove_dir_all(&self.path);
    }
}

fn position(entries: &[Entry], test: impl Fn(&What) -> bool) -> usize {
    let found = entries.iter().position(|entry| test(&entry.what));
    found.unwrap_or_else(|| panic!("not in the transcript: {entries:#?}"))
}

/// The text that the extension wrote after this word.
fn lines(emulator: &Emulator, word: &str) -> Vec<String> {
    let prefix = format!("{word} ");
    let log = emulator.log();
    let own = log.iter().filter(|line| line.extension.is_some());
    own.filter_map(|line| Some(line.text.strip_prefix(&prefix)?.to_owned()))
        .collect()
}

/// The ends of extensions in the order they were seen: name, after how long, killed.
fn shutdowns(entries: &[Entry]) -> Vec<(String, Option<Duration>, bool)> {
    let ends = entries.iter().filter_map(|entry| {
        let What::ExtensionShutdown {
            extension,
            took,
            killed,
        } = &entry.what
        else {
            return None;
        };
        Some((extension.clone(), *took, *killed))
    });
    ends.collect()
}

#[test]
fn the_runtime_is_started_when_every_extension_has_registered() {
    let (config, _folder) = with_all(&[("slow", "register_ms=200"), ("quick", "next_ms=2000")]);
    let emulator = Emulator::start(config).unwrap();
    let started = emulator.prepare().unwrap();
    let next = Duration::from_secs(2);
    assert!(next <= started.init, "{started:?}");
    assert!(started.exec_to_next < next, "{started:?}");
    let entries = emulator.transcript();
    let registered = |name: &'static str| {
        move |what: &What| {
            matches!(what, What::ExtensionRegistered { extension, external: true, events }
                if extension == name && *events == ["INVOKE", "SHUTDOWN"])
        }
    };
    let spawned = position(&entries, |what| matches!(what, What::Spawned { .. }));
    assert!(position(&entries, registered("slow")) < spawned);
    assert!(position(&entries, registered("quick")) < spawned);
    let ready =
        |what: &What| matches!(what, What::ExtensionReady { extension } if extension == "quick");
    let done = position(&entries, |what| matches!(what, What::InitDone { .. }));
    assert!(spawned < position(&entries, ready) && position(&entries, ready) < done);
    let frozen = position(&entries, |what| *what == What::Frozen);
    assert!(done < frozen);
    let environment = emulator.environments().remove(0);
    for extension in &environment.extensions {
        assert_eq!(extension.state, ExtensionState::Ready);
        assert_eq!(state(extension.pid.unwrap()), Some('T'));
        assert!(extension.exec_to_register < extension.exec_to_next);
        assert!(extension.peak_memory_kb().unwrap() > 0);
    }
}

#[test]
fn an_extension_has_the_documented_environment_and_no_arguments() {
    let (mut config, _folder) = with("log");
    config.env.push(("_HIDDEN".into(), "1".into()));
    let emulator = Emulator::start(config).unwrap();
    emulator.prepare().unwrap();
    let mut names: Vec<String> = lines(&emulator, "env")
        .iter()
        .map(|line| line.split('=').next().unwrap().to_owned())
        .collect();
    names.sort_unstable();
    let expected = [
        "AWS_ACCESS_KEY_ID",
        "AWS_DEFAULT_REGION",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_METADATA_API",
        "AWS_LAMBDA_METADATA_TOKEN",
        "AWS_LAMBDA_RUNTIME_API",
        "AWS_REGION",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "EXTENSION_ext",
        "LD_LIBRARY_PATH",
        "PATH",
        "TZ",
    ];
    assert_eq!(names, expected);
    assert_eq!(lines(&emulator, "args"), ["/opt/extensions/ext"]);
    let registered = json(lines(&emulator, "registered")[0].as_bytes());
    let expected = serde_json::json!({
        "functionName": "function", "functionVersion": "$LATEST",
        "handler": "bootstrap", "accountId": "123456789012",
    });
    assert_eq!(registered, expected);
    let extension_line = "EXTENSION\tName: ext\tState: Ready\tEvents: [INVOKE,SHUTDOWN]";
    assert!(
        emulator
            .log()
            .iter()
            .any(|line| line.text == extension_line)
    );
}

#[test]
fn an_invocation_ends_when_the_extensions_are_ready_again() {
    let (mut config, _folder) = with_all(&[
        ("ext", "log,invoke_ms=2000"),
        ("other", "events=SHUTDOWN,invoke_ms=20000"),
    ]);
    config.timeout = Duration::from_secs(60);
    let emulator = Emulator::start(config).unwrap();
    emulator.prepare().unwrap();
    let outcome = emulator.invoke(r#"{"a":1}"#).unwrap();
    assert_eq!(outcome.body, br#"{"a":1}"#);
    let overhead = outcome.timing.extension_overhead.unwrap();
    assert!(overhead >= Duration::from_millis(1_900), "{overhead:?}");
    assert!(
        overhead < Duration::from_secs(20),
        "SHUTDOWN only is not waited for"
    );
    assert!(outcome.timing.duration < Duration::from_millis(1_900));
    assert!(
        outcome.log_tail.contains("\tInit Duration: "),
        "{}",
        outcome.log_tail
    );
    let event = json(lines(&emulator, "event")[0].as_bytes());
    assert_eq!(event["eventType"], "INVOKE");
    assert_eq!(event["requestId"], *outcome.request_id);
    assert_eq!(
        event["invokedFunctionArn"],
        "arn:aws:lambda:us-east-1:123456789012:function:function"
    );
    assert_eq!(event["tracing"]["type"], "X-Amzn-Trace-Id");
    assert!(
        event["tracing"]["value"]
            .as_str()
            .unwrap()
            .starts_with("Root=1-")
    );
    let deadline = u128::from(event["deadlineMs"].as_u64().unwrap());
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
    assert!(deadline.abs_diff(now) < 60_000);
    let second = emulator.invoke("{}").unwrap();
    assert!(!second.log_tail.contains("Init Duration"), "reported once");
}

#[test]
fn a_caller_may_have_the_response_before_the_extensions_are_ready() {
    let (mut config, _folder) = with("invoke_ms=2500");
    config.timeout = Duration::from_secs(60);
    let emulator = Emulator::start(config).unwrap();
    emulator.prepare().unwrap();
    let before = Instant::now();
    let early = Invoke {
        return_early: true,
        ..Invoke::new(r#"{"a":1}"#)
    };
    let outcome = emulator.invoke_with(early).unwrap();
    assert_eq!(outcome.body, br#"{"a":1}"#);
    assert_eq!(outcome.timing.extension_overhead, None);
    let done = |what: &What| matches!(what, What::InvokeDone { .. });
    assert_eq!(count(&emulator.transcript(), done), 0);
    emulator
        .wait_until("the end", |entries| count(entries, done) == 1)
        .unwrap();
    assert!(before.elapsed() >= Duration::from_millis(2_500));
}

#[test]
fn the_invoke_api_answers_early_unless_the_log_is_wanted() {
    let (mut config, _folder) = with("invoke_ms=2500");
    config.timeout = Duration::from_secs(60);
    let emulator = Emulator::start(config).unwrap();
    emulator.prepare().unwrap();
    let mut client = Client::connect(emulator.invoke_addr());
    let path = "/2015-03-31/functions/function/invocations";
    assert_eq!(client.post(path, &[], b"1").body, b"1");
    let done = |what: &What| matches!(what, What::InvokeDone { .. });
    assert_eq!(count(&emulator.transcript(), done), 0);
    emulator
        .wait_until("the end", |entries| count(entries, done) == 1)
        .unwrap();
    let before = Instant::now();
    let whole = client.post(path, &[("X-Amz-Log-Type", "Tail")], b"1");
    assert_eq!(whole.body, b"1");
    assert!(before.elapsed() >= Duration::from_millis(2_500));
}

#[test]
fn the_shutdown_phase_is_sigterm_then_the_event_then_the_exit() {
    let (config, _folder) = with_all(&[("ext", "log,shutdown_ms=100"), ("deaf", "events=INVOKE")]);
    let emulator = Emulator::start(config).unwrap();
    emulator.invoke("{}").unwrap();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
    let report = emulator.stop();
    let end = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
    let entries = &report.transcript;
    let start = What::ShutdownStart {
        reason: "spindown",
        budget: Duration::from_secs(2),
    };
    let order = [
        position(entries, |what| *what == start),
        position(entries, |what| *what == What::Thawed),
        position(entries, |what| *what == What::Terminated),
        position(entries, |what| {
            matches!(
                what,
                What::Exited {
                    signal: Some(15),
                    ..
                }
            )
        }),
        position(entries, |what| {
            matches!(
                what,
                What::ExtensionEventSent {
                    event: "SHUTDOWN",
                    ..
                }
            )
        }),
        position(entries, |what| {
            matches!(what, What::ExtensionExited { code: Some(0), .. })
        }),
        position(entries, |what| *what == What::Shutdown),
    ];
    assert!(order.is_sorted(), "{order:?} {entries:#?}");
    let ends = shutdowns(entries);
    assert_eq!(
        (ends[0].0.as_str(), ends[0].1, ends[0].2),
        ("deaf", None, true)
    );
    assert_eq!((ends[1].0.as_str(), ends[1].2), ("ext", false));
    let took = ends[1].1.unwrap();
    assert!(Duration::from_millis(100) <= took, "{took:?}");
    let mut events = report.log.iter();
    let event = events.rfind(|line| line.text.starts_with("event "));
    let event = event.unwrap().text.strip_prefix("event ").unwrap();
    let event = json(event.as_bytes());
    assert_eq!(event["eventType"], "SHUTDOWN");
    assert_eq!(event["shutdownReason"], "spindown");
    let deadline = u128::from(event["deadlineMs"].as_u64().unwrap());
    assert!(
        (now + 1_900..=end + 2_000).contains(&deadline),
        "{now} {deadline} {end}"
    );
}

#[test]
fn an_extension_that_does_not_exit_is_killed_at_the_deadline() {
    for asked in ["again", "stay"] {
        let (config, _folder) = with(asked);
        let emulator = Emulator::start(config).unwrap();
        emulator.prepare().unwrap();
        let before = Instant::now();
        let report = emulator.stop();
        let took = before.elapsed();
        assert!(took >= Duration::from_millis(1_900), "{asked}: {took:?}");
        assert!(took < Duration::from_secs(20), "{asked}: {took:?}");
        let ends = shutdowns(&report.transcript);
        assert!(ends[0].2, "{asked}");
        let killed = |what: &What| {
            matches!(
                what,
                What::ExtensionExited {
                    signal: Some(9),
                    ..
                }
            )
        };
        assert_eq!(count(&report.transcript, killed), 1);
    }
}

#[test]
fn a_runtime_that_does_not_end_has_its_share_of_the_budget() {
    let (mut config, folder) = with("");
    let script = folder.path.join("stubborn");
    let text = format!(
        "#!/bin/sh\ntrap '' TERM\nexec {}\n",
        config.program.display()
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    config.program = script;
    let emulator = Emulator::start(config).unwrap();
    emulator.invoke("{}").unwrap();
    let before = Instant::now();
    let report = emulator.stop();
    let took = before.elapsed();
    assert!(Duration::from_millis(300) <= took, "{took:?}");
    let killed = |what: &What| {
        matches!(
            what,
            What::Exited {
                signal: Some(9),
                ..
            }
        )
    };
    assert_eq!(count(&report.transcript, killed), 1);
    // The extension has the rest of it.
    let (_, exit, killed) = shutdowns(&report.transcript).remove(0);
    assert!(!killed && exit.is_some());
}

#[test]
fn dropping_the_emulator_kills_at_once() {
    let (config, _folder) = with("stay");
    let emulator = Emulator::start(config).unwrap();
    emulator.prepare().unwrap();
    let environment = emulator.environments().remove(0);
    let before = Instant::now();
    drop(emulator);
    assert!(
        before.elapsed() < Duration::from_secs(2),
        "not at a deadline"
    );
    let extension = environment.extensions[0].pid.unwrap();
    assert_eq!(state(extension), None);
    assert_eq!(state(environment.pid.unwrap()), None);
}

#[test]
fn any_exit_of_an_extension_is_a_crash() {
    let table = [
        ("exit=start", "Extension.Crash", "exit code 0"),
        ("exit=start,code=3", "Extension.Crash", "exit status 3"),
        ("exit=registered", "Extension.Crash", "exit code 0"),
        ("error=init", "Extension.InitError", "exit status 1"),
        // The name is not its file's: it is taken for an internal one, which may not do that.
        ("name=other", "Extension.Crash", "exit status 1"),
    ];
    for (asked, error_type, message) in table {
        let (config, _folder) = with(asked);
        let emulator = Emulator::start(config).unwrap();
        let Err(Error::Init {
            error_type: got_type,
            message: got_message,
        }) = emulator.prepare()
        else {
            panic!("{asked}: it started");
        };
        assert_eq!(
            (got_type.as_str(), got_message.as_str()),
            (error_type, message),
            "{asked}"
        );
        let outcome = emulator.invoke("{}").unwrap();
        let message = format!("RequestId: {} Error: {message}", outcome.request_id);
        assert_eq!(
            error_of(&outcome),
            (error_type.to_owned(), message),
            "{asked}"
        );
        let inits = |what: &What| matches!(what, What::InitDone { error: Some(_), .. });
        assert_eq!(
            count(&emulator.transcript(), inits),
            3,
            "retried in the invocation"
        );
        let spawned = |what: &What| matches!(what, What::Spawned { .. });
        let runtimes = if asked == "exit=start" { 0 } else { 3 };
        assert!(
            count(&emulator.transcript(), spawned) <= runtimes,
            "{asked}"
        );
    }
}

#[test]
fn a_crash_in_an_invocation_fails_it_and_resets() {
    let table = [
        ("exit=invoke", "Extension.Crash", "exit code 0"),
        ("error=exit", "Extension.ExitError", "exit status 1"),
    ];
    for (asked, error_type, message) in table {
        let (config, _folder) = with(asked);
        let emulator = Emulator::start(config).unwrap();
        emulator.prepare().unwrap();
        let outcome = emulator.invoke(r#"{"do":"sleep","ms":1000}"#).unwrap();
        let message = format!("RequestId: {} Error: {message}", outcome.request_id);
        assert_eq!(error_of(&outcome), (error_type.to_owned(), message));
        let entries = emulator.transcript();
        let reset = What::Reset {
            reason: error_type.to_owned(),
        };
        assert_eq!(count(&entries, |what| *what == reset), 1);
        let start = |what: &What| {
            matches!(
                what,
                What::ShutdownStart {
                    reason: "failure",
                    ..
                }
            )
        };
        assert_eq!(count(&entries, start), 1);
        assert_eq!(emulator.environments()[0].state, State::Down);
        assert!(emulator.environments()[0].extensions.is_empty());
    }
}

#[test]
fn a_crash_between_invocations_fails_the_next_one() {
    let (mut config, _folder) = with("exit=idle,code=7");
    config.freeze = false;
    let emulator = Emulator::start(config).unwrap();
    emulator.invoke("{}").unwrap();
    let exited = |what: &What| matches!(what, What::ExtensionExited { code: Some(7), .. });
    emulator
        .wait_until("the exit", |entries| count(entries, exited) == 1)
        .unwrap();
    let outcome = emulator.invoke(r#"{"do":"sleep","ms":1000}"#).unwrap();
    assert_eq!(error_of(&outcome).0, "Extension.Crash");
    // The next one has new processes.
    assert_eq!(emulator.invoke("{}").unwrap().function_error, None);
}

#[test]
fn a_timeout_tells_the_extensions_and_starts_them_anew() {
    let (mut config, _folder) = with("log");
    config.timeout = Duration::from_secs(2);
    let emulator = Emulator::start(config).unwrap();
    let outcome = emulator.invoke(r#"{"do":"sleep"}"#).unwrap();
    assert_eq!(error_of(&outcome).0, "Sandbox.Timedout");
    let events = lines(&emulator, "event");
    assert_eq!(
        json(events[1].as_bytes())["shutdownReason"],
        "timeout",
        "{events:?}"
    );
    let (_, took, killed) = shutdowns(&emulator.transcript()).remove(0);
    assert!(!killed && took.is_some());
    let again = emulator.invoke("{}").unwrap();
    assert_eq!(again.function_error, None);
    let registered = |what: &What| matches!(what, What::ExtensionRegistered { .. });
    assert_eq!(count(&emulator.transcript(), registered), 2);
}

#[test]
fn a_function_crash_tells_the_extensions() {
    let (config, _folder) = with("log");
    let emulator = Emulator::start(config).unwrap();
    let outcome = emulator.invoke(r#"{"do":"exit"}"#).unwrap();
    assert_eq!(error_of(&outcome).0, "Runtime.ExitError");
    let events = lines(&emulator, "event");
    assert_eq!(
        json(events[1].as_bytes())["shutdownReason"],
        "failure",
        "{events:?}"
    );
}

#[test]
fn an_extension_that_holds_the_invocation_past_the_timeout_resets() {
    let (mut config, _folder) = with("invoke_ms=60000");
    config.timeout = Duration::from_secs(2);
    let emulator = Emulator::start(config).unwrap();
    let outcome = emulator.invoke(r#"{"a":1}"#).unwrap();
    // The caller has the response; the environment is lost all the same.
    assert_eq!(
        (outcome.body.as_slice(), outcome.function_error),
        (&br#"{"a":1}"#[..], None)
    );
    assert!(
        outcome.log_tail.ends_with("\tStatus: timeout\n"),
        "{}",
        outcome.log_tail
    );
    assert_eq!(emulator.environments()[0].state, State::Down);
}

#[test]
fn an_extension_that_never_gets_ready_makes_init_time_out() {
    for asked in ["register_ms=60000", "next_ms=60000"] {
        let (mut config, _folder) = with(asked);
        config.init_timeout = Duration::from_millis(300);
        config.timeout = Duration::from_millis(400);
        let emulator = Emulator::start(config).unwrap();
        let before = Instant::now();
        let Err(Error::Init { error_type, .. }) = emulator.prepare() else {
            panic!("{asked}: it started");
        };
        assert_eq!(error_type, "Sandbox.Timedout", "{asked}");
        assert!(before.elapsed() < Duration::from_secs(30), "{asked}");
        assert_eq!(
            error_of(&emulator.invoke("{}").unwrap()).0,
            "Sandbox.Timedout"
        );
    }
}

#[test]
fn an_extension_that_cannot_be_started_fails_the_init() {
    let (mut config, folder) = with("");
    let plain = folder.path.join("plain");
    fs::write(&plain, "no program").unwrap();
    config.extensions.push(plain.clone());
    let emulator = Emulator::start(config).unwrap();
    let outcome = emulator.invoke("{}").unwrap();
    let (error_type, message) = error_of(&outcome);
    assert_eq!(error_type, "Extension.LaunchError");
    let expected = format!("Error: fork/exec {}: permission denied", plain.display());
    assert!(message.ends_with(&expected), "{message}");
    let line =
        "EXTENSION\tName: plain\tState: LaunchError\tEvents: []\tError Type: PermissionDenied";
    assert!(emulator.log().iter().any(|l| l.text == line));
}

#[test]
fn an_eleventh_extension_fails_the_init() {
    let names: Vec<String> = (0..11).map(|n| format!("ext{n}")).collect();
    let asked: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    let (mut config, _folder) = with_all(&asked);
    let Err(Error::Init {
        error_type,
        message,
    }) = Emulator::start(config.clone()).unwrap().prepare()
    else {
        panic!("it started");
    };
    assert_eq!(
        (error_type.as_str(), message.as_str()),
        ("Extension.LaunchError", "ErrTooManyExtensions")
    );
    config.extensions.pop();
    let emulator = Emulator::start(config).unwrap();
    assert_eq!(emulator.invoke("{}").unwrap().function_error, None);
}

#[test]
fn freezing_waits_for_the_extensions() {
    let (config, _folder) = with("log,invoke_ms=100");
    let emulator = Emulator::start(config).unwrap();
    for _ in 0..5 {
        emulator.invoke("{}").unwrap();
        let environment = emulator.environments().remove(0);
        assert!(environment.frozen);
        assert_eq!(state(environment.extensions[0].pid.unwrap()), Some('T'));
    }
    let entries = emulator.transcript();
    let (mut ready, mut frozen) = (0, 0);
    for entry in &entries {
        if matches!(entry.what, What::ExtensionReady { .. }) {
            ready += 1;
        } else if entry.what == What::Frozen {
            frozen += 1;
            assert_eq!(ready, frozen + 1);
        }
    }
    assert_eq!(frozen, 5);
}

#[test]
fn the_report_is_published_after_the_extensions_are_ready() {
    // Far longer than the function takes on a busy machine: the rest is the extension's.
    let (mut config, _folder) = with("log,telemetry,invoke_ms=500");
    config.freeze = false;
    let emulator = Emulator::start(config).unwrap();
    emulator.invoke("{}").unwrap();
    let all = |emulator: &Emulator| -> Vec<serde_json::Value> {
        let batches = lines(emulator, "telemetry");
        let records = batches.iter().map(|batch| json(batch.as_bytes()));
        records
            .flat_map(|batch| batch.as_array().unwrap().clone())
            .collect()
    };
    let bound = Instant::now() + Duration::from_secs(10);
    while all(&emulator).len() < 8 && Instant::now() < bound {
        thread::sleep(Duration::from_millis(20));
    }
    let records = all(&emulator);
    let types: Vec<&str> = records
        .iter()
        .map(|r| r["type"].as_str().unwrap())
        .collect();
    let expected = [
        "platform.initStart",
        "platform.telemetrySubscription",
        "platform.initRuntimeDone",
        "platform.extension",
        "platform.initReport",
        "platform.start",
        "platform.runtimeDone",
        "platform.report",
    ];
    assert_eq!(types, expected);
    assert_eq!(records[0]["record"]["initializationType"], "on-demand");
    assert_eq!(records[0]["record"]["phase"], "init");
    assert_eq!(records[3]["record"]["state"], "Ready");
    let spans = &records[7]["record"]["spans"];
    assert_eq!(spans[0]["name"], "extensionOverhead");
    assert!(spans[0]["durationMs"].as_f64().unwrap() >= 50.0, "{spans}");
    assert!(records[7]["record"]["metrics"]["initDurationMs"].is_number());
    let batches = lines(&emulator, "telemetry");
    assert!(!batches[0].contains("platform.report"));
    assert_eq!(emulator.deliveries()[0].records, 8);
}

#[test]
fn managed_instances_have_no_invoke_event_and_are_never_frozen() {
    let (mut config, _folder) = with_all(&[("ext", "events=SHUTDOWN,log")]);
    config.initialization = Initialization::ManagedInstances;
    let emulator = Emulator::start(config.clone()).unwrap();
    emulator.invoke("{}").unwrap();
    assert!(!emulator.environments()[0].frozen);
    let variable = "AWS_LAMBDA_INITIALIZATION_TYPE=lambda-managed-instances";
    assert!(lines(&emulator, "env").iter().any(|line| line == variable));
    let runtime = json(&emulator.invoke(r#"{"do":"env"}"#).unwrap().body);
    assert_eq!(runtime["AWS_LAMBDA_MAX_CONCURRENCY"], "8");
    drop(emulator);
    config.env = vec![("EXTENSION_ext".into(), "log".into())];
    let emulator = Emulator::start(config).unwrap();
    assert!(emulator.prepare().is_err());
    let answer = json(lines(&emulator, "registered")[0].as_bytes());
    assert_eq!(answer["errorType"], "Extension.InvalidEventType");
}

#[test]
fn provisioned_environments_are_made_ahead_and_report_their_init_once() {
    let (mut config, _folder) = with("log");
    config.initialization = Initialization::ProvisionedConcurrency;
    let emulator = Emulator::start(config).unwrap();
    emulator.prepare().unwrap();
    let variable = "AWS_LAMBDA_INITIALIZATION_TYPE=provisioned-concurrency";
    assert!(lines(&emulator, "env").iter().any(|line| line == variable));
    let outcome = emulator.invoke("{}").unwrap();
    assert!(!outcome.timing.cold && outcome.timing.init.is_none());
    assert!(outcome.log_tail.contains("\tInit Duration: "));
}

#[test]
fn a_snapshot_is_taken_after_init_and_restored_by_the_first_invocation() {
    let (mut config, _folder) = with("log,telemetry");
    config.initialization = Initialization::SnapStart;
    config.restore_gap = Duration::from_millis(300);
    let emulator = Emulator::start(config).unwrap();
    emulator.prepare().unwrap();
    assert!(emulator.environments()[0].frozen);
    let outcome = emulator.invoke("{}").unwrap();
    assert!(!outcome.timing.cold && outcome.timing.restore.is_some());
    let tail = &outcome.log_tail;
    assert!(
        tail.contains("\tRestore Duration: ") && !tail.contains("Init Duration"),
        "{tail}"
    );
    let entries = emulator.transcript();
    let at = |test: fn(&What) -> bool| entries[position(&entries, test)].at;
    let gap = at(|what| *what == What::Thawed) - at(|what| *what == What::Frozen);
    assert!(gap >= Duration::from_millis(290), "{gap:?}");
    assert!(at(|what| *what == What::RestoreStart) < at(|what| *what == What::Thawed));
    // Later invocations are warm.
    assert_eq!(emulator.invoke("{}").unwrap().timing.restore, None);
    let names: Vec<String> = lines(&emulator, "env")
        .iter()
        .map(|line| line.split('=').next().unwrap().to_owned())
        .collect();
    assert!(
        names
            .iter()
            .any(|name| name == "AWS_CONTAINER_CREDENTIALS_FULL_URI")
    );
    assert!(!names.iter().any(|name| name == "AWS_ACCESS_KEY_ID"));
    // Without a wait between init and invocation it is the same.
    let report = emulator.stop();
    assert!(
        report
            .log
            .iter()
            .any(|line| line.text.starts_with("RESTORE_REPORT "))
    );
}

#[test]
fn faults_meet_the_extensions_requests() {
    let table = [
        (Step::Register(0), FaultKind::Status(500, "{}".into())),
        (Step::ExtensionNext(0), FaultKind::ResetBefore),
        (Step::ExtensionNext(1), FaultKind::CutAt(20)),
    ];
    for (at, kind) in table {
        let (mut config, _folder) = with("");
        config.faults = vec![Fault::new(at, kind)];
        let emulator = Emulator::start(config).unwrap();
        // This extension gives up at once; the environment is made anew, for the same invocation
        // or for the next one.
        drop(emulator.invoke("{}").unwrap());
        drop(emulator.invoke("{}").unwrap());
        assert_eq!(
            emulator.invoke("{}").unwrap().function_error,
            None,
            "{at:?}"
        );
        let entries = emulator.transcript();
        let applied = |what: &What| matches!(what, What::FaultApplied { .. });
        assert_eq!(count(&entries, applied), 1, "{at:?}");
        let crashed =
            |what: &What| matches!(what, What::Reset { reason } if reason == "Extension.Crash");
        assert_eq!(count(&entries, crashed), 1, "{at:?}");
    }
    // The subscription is refused and the extension goes on.
    let (mut config, _folder) = with("log,telemetry");
    let refusal = FaultKind::Status(403, "{}".into());
    config.faults = vec![Fault::new(Step::Subscribe(0), refusal)];
    let emulator = Emulator::start(config).unwrap();
    assert_eq!(emulator.invoke("{}").unwrap().function_error, None);
    assert_eq!(lines(&emulator, "subscribed"), ["403"]);
}

#[test]
fn all_environments_end_at_the_same_time() {
    let (config, _folder) = with("again");
    let emulator = Emulator::start(config).unwrap();
    for _ in 0..5 {
        emulator.prepare().unwrap();
    }
    let before = Instant::now();
    drop(emulator.stop());
    // Each takes two seconds.
    assert!(before.elapsed() < Duration::from_secs(9));
}

#[test]
fn an_internal_extension_gives_the_runtime_sigterm_and_half_a_second() {
    let mut config = echo();
    config.env = vec![("ECHO_INTERNAL".into(), "inside".into())];
    let emulator = Emulator::start(config).unwrap();
    assert_eq!(emulator.invoke("{}").unwrap().function_error, None);
    let extension = emulator.environments().remove(0).extensions.remove(0);
    assert_eq!(
        (extension.name.as_str(), extension.external),
        ("inside", false)
    );
    assert_eq!(
        (extension.state, extension.pid),
        (ExtensionState::Ready, None)
    );
    let report = emulator.stop();
    let start = What::ShutdownStart {
        reason: "spindown",
        budget: Duration::from_millis(500),
    };
    assert_eq!(count(&report.transcript, |what| *what == start), 1);
    let terminated = |what: &What| {
        matches!(
            what,
            What::Exited {
                signal: Some(15),
                ..
            }
        )
    };
    assert_eq!(count(&report.transcript, terminated), 1);
}

#[test]
fn a_runtime_may_fail_in_the_restore() {
    let (mut config, _folder) = with("log");
    config.initialization = Initialization::SnapStart;
    config.env.push(("ECHO_RESTORE".into(), "wait".into()));
    let emulator = Emulator::start(config.clone()).unwrap();
    let outcome = emulator.invoke("{}").unwrap();
    assert_eq!(outcome.function_error, None);
    assert!(outcome.timing.cold && outcome.timing.restore.is_some());
    drop(emulator);
    config.env.pop();
    config.env.push(("ECHO_RESTORE".into(), "exit".into()));
    let emulator = Emulator::start(config).unwrap();
    let outcome = emulator.invoke("{}").unwrap();
    assert_eq!(error_of(&outcome).0, "Runtime.ExitError");
    let events = lines(&emulator, "event");
    assert_eq!(json(events[0].as_bytes())["shutdownReason"], "failure");
    // The next one takes a new snapshot.
    drop(emulator.invoke("{}").unwrap());
    let restores = |what: &What| matches!(what, What::RestoreDone { error: Some(_), .. });
    assert_eq!(count(&emulator.transcript(), restores), 2);
}

#[test]
fn a_failed_invocation_is_reported_to_the_next_generation_at_most() {
    let (config, _folder) = with("log,telemetry,shutdown_ms=150");
    let emulator = Emulator::start(config).unwrap();
    emulator.prepare().unwrap();
    let failed = emulator.invoke(r#"{"do":"exit"}"#).unwrap();
    assert_eq!(error_of(&failed).0, "Runtime.ExitError");
    let batches = lines(&emulator, "telemetry").join("\n");
    // Frozen right after init, it gets the rest with the first invocation.
    assert!(batches.contains("platform.initReport"), "{batches}");
    assert!(!batches.contains("platform.report"), "{batches}");
    assert_eq!(emulator.invoke("{}").unwrap().function_error, None);
    let report = emulator.stop();
    let text = |line: &bantam_emulator::LogLine| line.text.clone();
    let all: Vec<String> = report.log.iter().map(text).collect();
    // Initialised inside the invocation.
    assert!(
        all.iter().any(|line| line.contains(r#""phase":"invoke""#)),
        "{all:#?}"
    );
}

#[test]
fn stopping_ends_an_init_in_flight() {
    for asked in ["register_ms=60000", "next_ms=60000"] {
        let (config, _folder) = with(asked);
        let emulator = Emulator::start(config).unwrap();
        let queued = Invoke {
            kind: InvokeKind::Event,
            ..Invoke::new("{}")
        };
        emulator.invoke_with(queued).unwrap();
        let reached = |what: &What| match asked {
            "next_ms=60000" => matches!(what, What::Spawned { .. }),
            _ => matches!(what, What::ExtensionSpawned { .. }),
        };
        emulator
            .wait_until("the init", |entries| count(entries, reached) == 1)
            .unwrap();
        let extension = emulator.environments()[0].extensions[0].pid.unwrap();
        let before = Instant::now();
        let report = emulator.stop();
        assert!(before.elapsed() < Duration::from_secs(30), "{asked}");
        assert_eq!(state(extension), None, "{asked}");
        let spawned = |what: &What| matches!(what, What::ExtensionSpawned { .. });
        assert_eq!(count(&report.transcript, spawned), 1, "{asked}");
    }
}

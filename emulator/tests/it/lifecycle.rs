//! The phases, with a real process.

use std::time::Duration;

use bantam_emulator::{Emulator, Error, Invoke, InvokeKind, LogFormat, State, What, answers};
use testkit::process::state;

use crate::support::{count, echo, error_of, json, unused_path};

#[test]
fn an_event_is_echoed_and_the_environment_reused() {
    let emulator = Emulator::start(echo()).unwrap();
    let first = emulator.invoke(r#"{"a":1}"#).unwrap();
    assert_eq!(
        (first.status, first.body.as_slice()),
        (200, &br#"{"a":1}"#[..])
    );
    assert_eq!(first.function_error, None);
    assert_eq!(first.content_type.as_deref(), Some("application/json"));
    assert!(first.timing.cold && first.timing.init.is_some());
    let second = emulator.invoke("{}").unwrap();
    assert!(!second.timing.cold && second.timing.overhead.is_some());
    assert_eq!(second.timing.init, None);
    let transcript = emulator.transcript();
    assert_eq!(
        count(&transcript, |what| matches!(what, What::Spawned { .. })),
        1
    );
    assert_eq!(answers(&transcript, &first.request_id), 1);
    assert_eq!(answers(&transcript, &second.request_id), 1);
}

#[test]
fn the_process_has_the_documented_environment_and_nothing_else() {
    let mut config = echo();
    config.env = vec![("OWN".into(), "value".into())];
    config.log_format = LogFormat::Json;
    config.log_level = Some("DEBUG".into());
    let task_root = config.task_root.display().to_string();
    let emulator = Emulator::start(config).unwrap();
    let variables = json(&emulator.invoke(r#"{"do":"env"}"#).unwrap().body);
    let mut names: Vec<&str> = variables
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    names.sort_unstable();
    let expected = [
        "AWS_ACCESS_KEY_ID",
        "AWS_DEFAULT_REGION",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_FORMAT",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_LEVEL",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_LAMBDA_METADATA_API",
        "AWS_LAMBDA_METADATA_TOKEN",
        "AWS_LAMBDA_RUNTIME_API",
        "AWS_REGION",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "LAMBDA_RUNTIME_DIR",
        "LAMBDA_TASK_ROOT",
        "LANG",
        "LD_LIBRARY_PATH",
        "OWN",
        "PATH",
        "TZ",
        "_HANDLER",
    ];
    assert_eq!(names, expected);
    assert_eq!(variables["LAMBDA_TASK_ROOT"], *task_root);
    assert_eq!(variables["TZ"], ":UTC");
    let environment = &emulator.environments()[0];
    assert_eq!(
        variables["AWS_LAMBDA_RUNTIME_API"],
        *environment.runtime_api.to_string()
    );
    assert_eq!(
        variables["AWS_LAMBDA_LOG_STREAM_NAME"],
        *environment.log_stream
    );
    let cwd = json(&emulator.invoke(r#"{"do":"cwd"}"#).unwrap().body);
    assert_eq!(cwd, *task_root);
}

#[test]
fn prepare_measures_a_cold_start() {
    let emulator = Emulator::start(echo()).unwrap();
    let started = emulator.prepare().unwrap();
    assert!(started.exec_to_next > Duration::ZERO && started.cpu > Duration::ZERO);
    assert!(started.peak_memory_kb >= started.memory_kb && started.memory_kb > 0);
    let environment = emulator.environments().remove(0);
    assert_eq!(
        (environment.pid, environment.state),
        (Some(started.pid), State::Ready)
    );
    assert!(environment.frozen && environment.peak_memory_kb().is_some());
    assert_eq!(emulator.prepare().unwrap().environment, 1);
    let outcome = emulator.invoke("{}").unwrap();
    assert_eq!(
        (outcome.timing.cold, outcome.environment),
        (false, 1),
        "last used first reused"
    );
}

#[test]
fn every_process_of_the_session_is_frozen_between_invocations() {
    let emulator = Emulator::start(echo()).unwrap();
    let child: u32 = json(&emulator.invoke(r#"{"do":"child"}"#).unwrap().body)
        .as_u64()
        .unwrap()
        .try_into()
        .unwrap();
    let pid = emulator.environments()[0].pid.unwrap();
    assert_eq!((state(pid), state(child)), (Some('T'), Some('T')));
    emulator.invoke("{}").unwrap();
    let transcript = emulator.transcript();
    assert_eq!(count(&transcript, |what| *what == What::Thawed), 1);
    assert_eq!(count(&transcript, |what| *what == What::Frozen), 2);
    drop(emulator);
    assert!(
        matches!(state(child), None | Some('Z')),
        "killed with its session"
    );
    assert_eq!(state(pid), None);
}

#[test]
fn without_freezing_nothing_is_stopped() {
    let mut config = echo();
    config.freeze = false;
    let emulator = Emulator::start(config).unwrap();
    emulator.invoke("{}").unwrap();
    let environment = emulator.environments().remove(0);
    assert!(!environment.frozen);
    assert_ne!(state(environment.pid.unwrap()), Some('T'));
}

#[test]
fn a_crash_is_an_error_and_the_next_invocation_has_a_new_process() {
    let emulator = Emulator::start(echo()).unwrap();
    let table = [
        (
            r#"{"do":"exit","code":1}"#,
            "Runtime exited with error: exit status 1",
        ),
        (
            r#"{"do":"exit","code":0}"#,
            "Runtime exited without providing a reason",
        ),
        (
            r#"{"do":"abort"}"#,
            "Runtime exited with error: signal: aborted",
        ),
        (
            r#"{"do":"kill"}"#,
            "Runtime exited with error: signal: killed",
        ),
    ];
    for (event, expected) in table {
        let outcome = emulator.invoke(event).unwrap();
        let message = format!("RequestId: {} Error: {expected}", outcome.request_id);
        assert_eq!(error_of(&outcome), ("Runtime.ExitError".into(), message));
        assert!(
            outcome
                .log_tail
                .contains("Status: error\tError Type: Runtime.ExitError")
        );
        assert_eq!(emulator.environments()[0].state, State::Down);
    }
    let outcome = emulator.invoke("{}").unwrap();
    assert_eq!(outcome.function_error, None);
    assert!(outcome.timing.cold);
    assert_eq!(
        emulator.environments().len(),
        1,
        "the environment is the same"
    );
    assert!(
        !outcome.log_tail.contains("Init Duration"),
        "it is part of the invocation"
    );
}

#[test]
fn a_timeout_kills_the_session_and_resets() {
    let mut config = echo();
    config.timeout = Duration::from_secs(2);
    let emulator = Emulator::start(config).unwrap();
    let outcome = emulator.invoke(r#"{"do":"sleep"}"#).unwrap();
    let (error_type, message) = error_of(&outcome);
    assert_eq!(error_type, "Sandbox.Timedout");
    let id = &outcome.request_id;
    // As recorded on AWS in 2025 by the tests of LocalStack.
    let expected = format!("RequestId: {id} Error: Task timed out after 2.00 seconds");
    assert_eq!(message, expected);
    assert!(
        outcome.log_tail.ends_with("\tStatus: timeout\n"),
        "{}",
        outcome.log_tail
    );
    let transcript = emulator.transcript();
    assert_eq!(count(&transcript, |what| *what == What::Killed), 1);
    assert_eq!(answers(&transcript, id), 0);
    assert_eq!(emulator.invoke("{}").unwrap().function_error, None);
}

#[test]
fn a_reported_error_keeps_its_type_or_becomes_unknown() {
    let emulator = Emulator::start(echo()).unwrap();
    for (raw, recorded) in [
        ("Function.Bad", "Function.Bad"),
        ("free form", "Runtime.Unknown"),
    ] {
        let event = format!(r#"{{"do":"error","type":"{raw}"}}"#);
        let error = emulator.invoke(event).unwrap().function_error.unwrap();
        assert_eq!(error.error_type, recorded);
        assert_eq!(error.raw_type.as_deref(), Some(raw));
        assert_eq!(error.xray_cause.as_deref(), Some(r#"{"paths":[]}"#));
        assert_eq!(json(&error.body)["errorType"], raw);
    }
    let transcript = emulator.transcript();
    assert_eq!(
        count(&transcript, |what| matches!(what, What::Spawned { .. })),
        1
    );
}

#[test]
fn a_failed_init_is_repeated_inside_the_invocation() {
    for how in ["error", "exit"] {
        let mark = unused_path(how);
        let mut config = echo();
        config.env = vec![
            ("ECHO_INIT".into(), format!("{how}_once")),
            ("ECHO_MARK".into(), mark.display().to_string()),
        ];
        let emulator = Emulator::start(config).unwrap();
        let outcome = emulator.invoke(r#"{"ok":true}"#).unwrap();
        assert_eq!(outcome.body, br#"{"ok":true}"#, "{how}");
        std::fs::remove_file(mark).unwrap();
        let transcript = emulator.transcript();
        assert_eq!(
            count(&transcript, |what| matches!(what, What::InitDone { .. })),
            2
        );
        let log = emulator.log();
        assert!(
            log.iter()
                .any(|line| line.text.contains("Phase: init\tStatus: error"))
        );
    }
}

#[test]
fn an_init_that_always_fails_fails_the_invocation() {
    let table = [
        ("error", "Function.NoLuck", "no luck"),
        (
            "exit",
            "Runtime.ExitError",
            "Runtime exited with error: exit status 3",
        ),
        (
            "hang",
            "Sandbox.Timedout",
            "Task timed out after 0.40 seconds",
        ),
    ];
    for (how, error_type, message) in table {
        let mut config = echo();
        config.env = vec![("ECHO_INIT".into(), how.into())];
        if how == "hang" {
            config.init_timeout = Duration::from_millis(200);
            config.timeout = Duration::from_millis(400);
        }
        let emulator = Emulator::start(config).unwrap();
        let got = error_of(&emulator.invoke("{}").unwrap());
        assert_eq!(got.0, error_type);
        assert!(got.1.ends_with(message), "{}", got.1);
        let log = emulator.log();
        let phase = |name| log.iter().filter(|line| line.text.contains(name)).count();
        assert_eq!((phase("Phase: init\t"), phase("Phase: invoke\t")), (1, 1));
        let Err(Error::Init {
            error_type: prepared,
            ..
        }) = emulator.prepare()
        else {
            panic!("{how}: prepare has nothing to wait for");
        };
        assert_eq!(prepared, error_type);
        assert_eq!(
            emulator.environments().len(),
            1,
            "a failed one does not stay"
        );
    }
}

#[test]
fn a_missing_program_is_an_invalid_entrypoint() {
    let mut config = echo();
    config.program = "/nonexistent/bootstrap".into();
    let emulator = Emulator::start(config).unwrap();
    assert!(matches!(emulator.prepare(), Err(Error::Spawn { .. })));
    assert_eq!(
        error_of(&emulator.invoke("{}").unwrap()).0,
        "Runtime.InvalidEntrypoint"
    );
}

#[test]
fn an_answer_stands_though_the_process_exits_after_it() {
    let emulator = Emulator::start(echo()).unwrap();
    let outcome = emulator.invoke(r#"{"do":"answer_and_exit"}"#).unwrap();
    assert_eq!(outcome.body, b"\"last\"");
    assert_eq!(
        (outcome.function_error, outcome.timing.overhead),
        (None, None)
    );
    assert_eq!(emulator.environments()[0].state, State::Down);
}

#[test]
fn only_the_first_answer_counts() {
    let emulator = Emulator::start(echo()).unwrap();
    let outcome = emulator.invoke(r#"{"do":"twice"}"#).unwrap();
    assert_eq!(outcome.body, b"1");
    let transcript = emulator.transcript();
    assert_eq!(answers(&transcript, &outcome.request_id), 1);
    let refused = |what: &What| matches!(what, What::Answered { status: 403, .. });
    assert_eq!(count(&transcript, refused), 1);
}

#[test]
fn a_streamed_response_is_buffered_and_its_trailers_are_an_error() {
    let emulator = Emulator::start(echo()).unwrap();
    let whole = emulator.invoke(r#"{"do":"stream"}"#).unwrap();
    assert_eq!(
        (whole.body.as_slice(), whole.streamed),
        (&b"\"one two\""[..], true)
    );
    let midway = emulator.invoke(r#"{"do":"stream_error"}"#).unwrap();
    assert_eq!(
        error_of(&midway),
        ("Function.Midway".into(), "midway".into())
    );
    let bad = emulator.invoke(r#"{"do":"bad_mode"}"#).unwrap();
    assert_eq!(error_of(&bad).0, "Runtime.InvalidResponseModeHeader");
}

#[test]
fn a_response_over_the_limit_has_failed_already() {
    let emulator = Emulator::start(echo()).unwrap();
    let most = emulator
        .invoke(r#"{"do":"large","bytes":6291556}"#)
        .unwrap();
    assert_eq!((most.body.len(), most.function_error), (6_291_556, None));
    let over = emulator
        .invoke(r#"{"do":"large","bytes":6291557}"#)
        .unwrap();
    assert_eq!(error_of(&over).0, "Function.ResponseSizeTooLarge");
    let too_large = |what: &What| matches!(what, What::Answered { status: 413, .. });
    assert_eq!(count(&emulator.transcript(), too_large), 1);
    assert_eq!(emulator.invoke("{}").unwrap().function_error, None);
}

#[test]
fn the_log_has_the_lines_in_order() {
    let emulator = Emulator::start(echo()).unwrap();
    let outcome = emulator.invoke(r#"{"do":"print"}"#).unwrap();
    let id = &outcome.request_id;
    let log = emulator.log();
    let lines: Vec<&str> = log.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(lines[0], "INIT_START Runtime Version: provided:al2023");
    assert_eq!(lines[1], format!("START RequestId: {id} Version: $LATEST"));
    let mut printed = lines[2..4].to_vec();
    printed.sort_unstable();
    assert_eq!(printed, ["to stderr", "to stdout"]);
    assert_eq!(lines[4], format!("END RequestId: {id}"));
    assert!(lines[5].starts_with(&format!("REPORT RequestId: {id}\tDuration: ")));
    assert!(lines[5].contains("\tMemory Size: 128 MB\tMax Memory Used: "));
    assert!(lines[5].contains(" MB\tInit Duration: "));
    assert_eq!(outcome.log_tail.lines().collect::<Vec<_>>(), lines[1..]);
    assert!(log[0].platform && !log[2].platform);
}

#[test]
fn busy_environments_lead_to_a_further_one_up_to_the_maximum() {
    let mut config = echo();
    config.concurrency_max = 2;
    let emulator = Emulator::start(config).unwrap();
    let event = r#"{"do":"sleep","ms":800}"#;
    std::thread::scope(|scope| {
        let running = |entries: &[bantam_emulator::Entry]| {
            count(entries, |what| matches!(what, What::EventSent { .. }))
        };
        let first = scope.spawn(|| emulator.invoke(event).unwrap());
        emulator
            .wait_until("one running", |entries| running(entries) == 1)
            .unwrap();
        let second = scope.spawn(|| emulator.invoke(event).unwrap());
        emulator
            .wait_until("two running", |entries| running(entries) == 2)
            .unwrap();
        let Err(Error::Refused {
            status, error_type, ..
        }) = emulator.invoke("{}")
        else {
            panic!("a third ran");
        };
        assert_eq!(
            (status, error_type.as_str()),
            (429, "TooManyRequestsException")
        );
        let queued = Invoke {
            kind: InvokeKind::Event,
            ..Invoke::new("{}")
        };
        assert_eq!(emulator.invoke_with(queued).unwrap().status, 202);
        assert_ne!(
            first.join().unwrap().environment,
            second.join().unwrap().environment
        );
    });
    let done = |what: &What| matches!(what, What::InvokeDone { .. });
    emulator
        .wait_until("the queued event", |entries| count(entries, done) == 3)
        .unwrap();
    assert_eq!(emulator.environments().len(), 2);
}

#[test]
fn an_event_is_tried_three_times() {
    let emulator = Emulator::start(echo()).unwrap();
    let event = Invoke {
        kind: InvokeKind::Event,
        ..Invoke::new(r#"{"do":"error"}"#)
    };
    let id = emulator.invoke_with(event).unwrap().request_id;
    emulator
        .wait_until("three answers", |entries| answers(entries, &id) == 3)
        .unwrap();
}

#[test]
fn stopping_ends_an_invocation_in_flight() {
    let emulator = Emulator::start(echo()).unwrap();
    emulator.prepare().unwrap();
    let pid = emulator.environments()[0].pid.unwrap();
    let sleep = Invoke {
        kind: InvokeKind::Event,
        ..Invoke::new(r#"{"do":"sleep"}"#)
    };
    emulator.invoke_with(sleep).unwrap();
    let sent = |what: &What| matches!(what, What::EventSent { .. });
    emulator
        .wait_until("an event", |entries| count(entries, sent) == 1)
        .unwrap();
    let report = emulator.stop();
    assert_eq!(count(&report.transcript, |what| *what == What::Shutdown), 1);
    assert_eq!(state(pid), None);
}

#[test]
fn a_function_that_writes_without_end_holds_up_nobody() {
    let mut config = bantam_emulator::Config::new("/usr/bin/yes");
    config.init_timeout = Duration::from_secs(1);
    config.timeout = Duration::from_secs(1);
    config.record_bytes_max = 1_000_000;
    let emulator = Emulator::start(config).unwrap();
    let outcome = emulator.invoke("{}").unwrap();
    assert_eq!(error_of(&outcome).0, "Sandbox.Timedout");
    let lines = emulator.log().len();
    assert!((1_000..=20_000).contains(&lines), "{lines} lines are kept");
}

#[test]
fn the_memory_of_a_child_that_is_gone_counts() {
    let emulator = Emulator::start(echo()).unwrap();
    let report = |emulator: &Emulator, event: &str| -> u64 {
        emulator.clear();
        emulator.invoke(event).unwrap();
        let log = emulator.log();
        let report = log
            .iter()
            .find(|line| line.text.starts_with("REPORT"))
            .unwrap();
        let used = report.text.split("Max Memory Used: ").nth(1).unwrap();
        used.split(' ').next().unwrap().parse().unwrap()
    };
    let before = report(&emulator, "{}");
    assert!((1..40).contains(&before), "{before} MB");
    let with_child = report(&emulator, r#"{"do":"allocate","mb":50}"#);
    assert!((50..140).contains(&with_child), "{with_child} MB");
    // It is the most that the environment ever used.
    assert_eq!(report(&emulator, "{}"), with_child);
}

#[test]
fn the_transcript_and_the_log_keep_their_end_within_their_bytes() {
    let mut config = echo();
    config.record_bytes_max = 300_000;
    let emulator = Emulator::start(config).unwrap();
    let event = format!(r#"{{"text":"{}"}}"#, "x".repeat(50_000));
    let mut last = String::new();
    for _ in 0..20 {
        last = emulator.invoke(event.as_str()).unwrap().request_id;
    }
    let transcript = emulator.transcript();
    let bodies = transcript.iter().map(|entry| {
        if let What::Request { body, .. } = &entry.what {
            body.len()
        } else {
            0
        }
    });
    assert!(bodies.sum::<usize>() <= 300_000);
    assert_eq!(answers(&transcript, &last), 1);
}

#[test]
fn in_json_the_platform_writes_records() {
    let mut config = echo();
    config.log_format = LogFormat::Json;
    let emulator = Emulator::start(config).unwrap();
    let invoke = |event: &str| {
        emulator.clear();
        let id = emulator.invoke(event).unwrap().request_id;
        let log = emulator.log();
        let platform = log.iter().filter(|line| line.platform);
        let records: Vec<_> = platform.map(|line| json(line.text.as_bytes())).collect();
        let types = records
            .iter()
            .map(|record| record["type"].as_str().unwrap());
        let types: Vec<String> = types.map(str::to_owned).collect();
        (id, types, records)
    };
    let (id, types, records) = invoke("{}");
    let expected = ["platform.initStart", "platform.start", "platform.report"];
    assert_eq!(types, expected);
    assert_eq!(records[2]["record"]["requestId"], id);
    assert_eq!(records[2]["record"]["metrics"]["memorySizeMB"], 128);
    let (_, types, records) = invoke(r#"{"do":"exit"}"#);
    let expected = ["platform.start", "platform.runtimeDone", "platform.report"];
    assert_eq!(types, expected);
    assert_eq!(records[1]["record"]["errorType"], "Runtime.ExitError");
}

#[test]
fn an_init_timeout_ends_the_process_groups_of_the_runtime_too() {
    // With job control a shell gives each job a process group of its own.
    let mut config = bantam_emulator::Config::new("/bin/sh");
    config.args = vec!["-c".into(), "set -m; sleep 600 & echo $!; wait".into()];
    config.init_timeout = Duration::from_secs(2);
    let emulator = Emulator::start(config).unwrap();
    let failed = emulator.prepare().unwrap_err();
    assert!(matches!(failed, Error::Init { .. }), "{failed}");
    let log = emulator.log();
    let pid = log.iter().find_map(|line| line.text.parse().ok()).unwrap();
    // Its parent is gone too, so somebody else has to wait for it.
    assert!(matches!(state(pid), None | Some('Z')), "the child is gone");
}

//! The stock binary with an executable that is started for every event.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use bantam_emulator::{Config, Invoke, LogFormat, What};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use testkit::pipe::named_pipe;
use testkit::process::state;

use crate::support::{count, ending_by_itself, example_path, start, stock};

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
    for name in ["traceId", "traceVariable"] {
        assert_eq!(context[name], "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700");
    }
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
fn a_misspelt_setting_is_reported() {
    let mut config = stock("handler.sh");
    config
        .env
        .push(("BANTAM_HANDLERMODE".to_owned(), "persistent".to_owned()));
    let env = start(config);
    assert_eq!(env.respond(r#"{"do":"echo"}"#), json!({"do": "echo"}));
    let log = env.stop().log;
    let expected = "BANTAM_HANDLERMODE is not a setting and changes nothing: did you mean \
                    BANTAM_HANDLER_MODE?";
    let lines = log.iter().filter(|line| line.text.contains(expected));
    assert_eq!(lines.count(), 1, "{log:?}");
}

#[test]
fn a_failure_has_the_end_of_its_standard_error() {
    let env = start(stock("handler.sh"));
    let table = [
        (
            r#"{"do":"fail"}"#,
            "Function.ExitStatus",
            "the handler ended with exit status: 3: first line\nthe disk is full",
        ),
        (
            r#"{"do":"fail-silently"}"#,
            "Function.ExitStatus",
            "the handler ended with exit status: 4",
        ),
        (
            r#"{"do":"kill"}"#,
            "Function.Killed",
            "the handler ended with signal: 9 (SIGKILL), as when there is not enough memory",
        ),
        (
            r#"{"do":"segfault"}"#,
            "Function.Killed",
            "the handler ended with signal: 11 (SIGSEGV): about to crash",
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
    assert!(message.len() <= 4_096 + "the handler ended with exit status: 5: ".len());
    env.wait_for_log("line 0 of many\n");
    env.wait_for_log("line 2999 of many\n");
    assert_eq!(env.spawned(), 1);
}

#[test]
fn the_end_of_standard_error_begins_with_a_whole_character() {
    let env = start(stock("handler.sh"));
    let (_, document) = env.fail(r#"{"do":"fail-in-japanese"}"#);
    let message = document["errorMessage"].as_str().unwrap();
    assert!(!message.contains('\u{FFFD}'), "{message}");
    assert!(
        message.ends_with("\u{672C} \u{7D42}\u{308F}\u{308A}"),
        "{message}"
    );
}

#[test]
fn a_handler_that_hangs_is_killed_before_the_deadline() {
    let env = start(ending_by_itself(stock("handler.sh"), 2));
    let (recorded, document) = env.fail(r#"{"do":"hang"}"#);
    assert_eq!(recorded, "Function.Timeout");
    let message = document["errorMessage"].as_str().unwrap();
    assert!(
        message.ends_with("before the deadline: about to hang"),
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
    let state = state(u32::try_from(child).unwrap());
    assert!(matches!(state, None | Some('Z' | 'X')), "{state:?}");
}

#[test]
fn a_handler_need_not_read_its_event() {
    let env = start(stock("deaf.sh"));
    let event = json!({"pad": "x".repeat(3_000_000)}).to_string();
    assert_eq!(env.respond(&event), "did not listen");
}

#[test]
fn a_response_that_is_not_json_is_passed_on_with_one_warning() {
    let env = start(stock("handler.sh"));
    for _ in 0..2 {
        let outcome = env.invoke(r#"{"do":"text"}"#).unwrap();
        assert_eq!(outcome.body, b"Loading model\n");
    }
    assert_eq!(env.respond(r#"{"do":"echo"}"#), json!({"do": "echo"}));
    let log = env.function_log();
    let warning = "the response is not JSON: \"Loading model\"";
    assert_eq!(log.matches(warning).count(), 1, "{log}");
}

#[test]
fn the_runtime_itself_is_no_handler() {
    let folder = tempfile::tempdir().unwrap();
    let program = stock("").program;
    let link = folder.path().join("link");
    symlink(&program, &link).unwrap();
    let copy = folder.path().join("bootstrap");
    std::fs::copy(&program, &copy).unwrap();
    let script = folder.path().join("script");
    let path = copy.display();
    std::fs::write(&script, format!("#!/bin/sh\nexec {path}\n")).unwrap();
    let interpreter = folder.path().join("interpreter");
    let path = program.display();
    std::fs::write(&interpreter, format!("#!{path}\n")).unwrap();
    for script in [&script, &interpreter] {
        std::fs::set_permissions(script, PermissionsExt::from_mode(0o755)).unwrap();
    }
    let table = [
        (
            &program,
            "Runtime.HandlerIsRuntime",
            "set the function's handler (_HANDLER) to",
        ),
        (
            &link,
            "Runtime.HandlerIsRuntime",
            "set the function's handler (_HANDLER) to",
        ),
        (
            &interpreter,
            "Function.ExitStatus",
            "started as the handler of another one",
        ),
        (
            &copy,
            "Function.ExitStatus",
            "started as the handler of another one",
        ),
        (
            &script,
            "Function.ExitStatus",
            "started as the handler of another one",
        ),
    ];
    for (handler, error_type, message) in table {
        for mode in ["per-invocation", "persistent"] {
            let mut config = stock(handler.to_str().unwrap());
            config
                .env
                .push(("BANTAM_HANDLER_MODE".to_owned(), mode.to_owned()));
            let env = start(config);
            let (recorded, document) = env.fail("{}");
            assert_eq!(recorded, error_type, "{} {mode}", handler.display());
            let found = document["errorMessage"].as_str().unwrap();
            assert!(found.contains(message), "{found}");
            let connected = |what: &What| matches!(what, What::Connected { .. });
            let connections = count(&env.transcript(), connected);
            assert_eq!(connections, env.spawned(), "a handler asks for no event");
        }
    }
}

/// A stock function that is started through these arguments: those of `env`, which changes the
/// state of the process first.
fn started_through(folder: &Path, arguments: &[&str]) -> Config {
    let mut config = stock("handler.sh");
    let bootstrap = folder.join("bootstrap");
    symlink(&config.program, &bootstrap).unwrap();
    config.program = "/usr/bin/env".into();
    config.args = arguments.iter().copied().map(str::to_owned).collect();
    config.args.push(bootstrap.to_str().unwrap().to_owned());
    config
}

#[test]
fn what_the_process_inherits_does_not_reach_a_handler_that_it_would_break() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = [
        "--ignore-signal=CHLD,PIPE",
        "--block-signal=CHLD,TERM,USR1",
        "sh",
        "-c",
        // Standard input and output are closed.
        r#"umask 027; exec "$0" <&- >&-"#,
    ];
    let env = start(started_through(folder.path(), &arguments));
    for _ in 0..2 {
        assert_eq!(env.respond(r#"{"do":"echo"}"#), json!({"do": "echo"}));
    }
    let state = env.respond(r#"{"do":"state"}"#);
    let signals = |name: &str| u64::from_str_radix(state[name].as_str().unwrap(), 16).unwrap();
    assert_eq!(signals("SigBlk"), 0, "{state}");
    let (chld, pipe) = (1 << 16, 1 << 12);
    assert_eq!(signals("SigIgn") & (chld | pipe), 0, "{state}");
    assert_eq!(state["umask"], "0027", "what breaks nothing is handed on");
    assert_eq!(env.fail(r#"{"do":"fail"}"#).0, "Function.ExitStatus");
    assert_eq!(env.spawned(), 1);
}

#[test]
fn no_line_is_lost_where_standard_error_does_not_block() {
    let mut config = stock("handler.sh");
    let bootstrap = config.program.to_str().unwrap().to_owned();
    config.program = example_path("nonblocking");
    config.env.push(("BOOTSTRAP".to_owned(), bootstrap));
    let env = start(config);
    env.fail(r#"{"do":"fail-loudly"}"#);
    env.respond(r#"{"do":"long-line"}"#);
    env.wait_for_log("\"}\n");
    let log = env.function_log();
    for line in 0..3_000 {
        assert!(log.contains(&format!("line {line} of many\n")), "{line}");
    }
    assert!(log.contains(&format!("{{\"long\":\"{}\"}}\n", "x".repeat(900_000))));
}

#[test]
fn a_handler_ends_with_a_runtime_that_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = named_pipe(folder.path());
    let mut config = stock("handler.sh");
    let variable = pipe.to_str().unwrap().to_owned();
    config.env.push(("PIPE".to_owned(), variable));
    let env = start(config);
    let handler = std::thread::scope(|scope| {
        let invocation = scope.spawn(|| env.invoke(r#"{"do":"stay"}"#).unwrap());
        let handler = std::fs::read_to_string(&pipe).unwrap();
        let handler: u32 = handler.trim().parse().unwrap();
        let spawned = env
            .transcript()
            .into_iter()
            .find_map(|entry| match entry.what {
                What::Spawned { pid } => Some(pid),
                _ => None,
            });
        let runtime = Pid::from_raw(i32::try_from(spawned.unwrap()).unwrap()).unwrap();
        kill_process(runtime, Signal::KILL).unwrap();
        assert!(invocation.join().unwrap().function_error.is_some());
        handler
    });
    let start = Instant::now();
    while !matches!(state(handler), None | Some('Z' | 'X')) {
        assert!(start.elapsed() < Duration::from_secs(10), "it goes on");
        std::thread::yield_now();
    }
}

/// Needs a privilege: it makes a namespace for processes.
#[test]
#[ignore = "needs root"]
fn as_process_1_the_runtime_collects_what_handlers_leave_behind() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = [
        "unshare",
        "--pid",
        "--fork",
        "--kill-child=KILL",
        "--mount-proc",
    ];
    let env = start(started_through(folder.path(), &arguments));
    for _ in 0..5 {
        env.respond(r#"{"do":"leave"}"#);
    }
    // The last one is collected with the next event.
    let processes = env.respond(r#"{"do":"processes"}"#);
    let processes = processes.as_str().unwrap();
    let zombies = processes.matches("Z").count();
    assert!(zombies <= 1, "{processes}");
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
            "fixtures/not-executable.sh (not executable: chmod +x)",
        ),
        ("../fixtures", "Runtime.HandlerNotFound", "(not a file)"),
        (
            "handler.sh --flag",
            "Runtime.HandlerNotFound",
            "arguments are not taken: write a script that passes them",
        ),
        (
            "bootstrap",
            "Runtime.HandlerNotFound",
            "set the function's handler (_HANDLER) to the executable that handles events",
        ),
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
fn a_handler_that_cannot_start_is_an_error_with_the_cause() {
    let folder = tempfile::tempdir().unwrap();
    let mut foreign = std::fs::read(stock("").program).unwrap();
    // The architecture in the head of an ELF file.
    let machine = if cfg!(target_arch = "aarch64") {
        62
    } else {
        183
    };
    foreign[18] = machine;
    let files: [(&str, &[u8], &str); 3] = [
        (
            "foreign",
            &foreign,
            "Exec format error: it is a program for ",
        ),
        (
            "line-ends",
            b"#!/bin/sh\r\necho 1\r\n",
            "its first line ends in a carriage return behind /bin/sh",
        ),
        (
            "command",
            b"#!/usr/bin/env no-such-command\n",
            "its first line asks for no-such-command, which is not on PATH",
        ),
    ];
    let mut handlers = vec![
        (
            "no-interpreter".to_owned(),
            "a script, which needs a first line like #!/bin/sh",
        ),
        (
            "bad-interpreter".to_owned(),
            "the interpreter in its first line, /no/such/interpreter, is not found",
        ),
    ];
    for (name, bytes, cause) in files {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        handlers.push((path.to_str().unwrap().to_owned(), cause));
    }
    for (handler, cause) in handlers {
        // Only a process that is started in the init phase can fail there.
        for (mode, in_init) in [("per-invocation", false), ("persistent", true)] {
            let mut config = stock(&handler);
            config
                .env
                .push(("BANTAM_HANDLER_MODE".to_owned(), mode.to_owned()));
            let env = start(config);
            for _ in 0..2 {
                let (recorded, document) = env.fail("{}");
                assert_eq!(recorded, "Runtime.HandlerNotStarted");
                let message = document["errorMessage"].as_str().unwrap();
                assert!(message.contains(cause), "{message}");
            }
            let is_init_error = |what: &What| matches!(what, What::Request { path, .. } if path.ends_with("/runtime/init/error"));
            assert_eq!(0 < count(&env.transcript(), is_init_error), in_init);
            assert_eq!(env.spawned() == 1, !in_init, "{handler}");
        }
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

#[test]
fn a_long_line_is_one_record() {
    let mut config = stock("handler.sh");
    config.log_format = LogFormat::Json;
    let env = start(config);
    env.respond(r#"{"do":"long-line"}"#);
    env.wait_for_log("\"}\n");
    let log = env.function_log();
    let [line] = log.lines().collect::<Vec<_>>()[..] else {
        panic!("{} lines", log.lines().count());
    };
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["long"].as_str().unwrap().len(), 900_000);
}

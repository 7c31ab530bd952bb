//! The command as a user runs it, with the example `echo` as the function.

#![cfg(feature = "command")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use testkit::pipe::named_pipe;
use testkit::process::Running;

#[test]
fn run_with_an_event_prints_the_response_and_nothing_else_on_stdout() {
    let output = emulator(&["run", "--event", "-"], r#"{"do":"echo","n":1}"#);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let response: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(response["n"], 1);
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.contains("START RequestId: "), "{log}");
    assert!(log.contains("REPORT RequestId: "), "{log}");
}

#[test]
fn run_with_an_event_that_fails_prints_the_error_and_exits_with_1() {
    let output = emulator(&["run", "--event", "-"], r#"{"do":"exit"}"#);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let response: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(response["errorType"], "Runtime.ExitError");
}

#[test]
fn run_starts_extensions_and_shuts_them_down() {
    let extension = example("extension");
    let extension = extension.to_str().unwrap();
    let args = ["run", "--extension", extension, "--env", "EXTENSION=log"];
    let output = emulator(&[&args[..], &["--event", "-"]].concat(), "{}");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(output.stdout, b"{}\n");
    let log = String::from_utf8(output.stderr).unwrap();
    let ready = "EXTENSION\tName: extension\tState: Ready\tEvents: [INVOKE,SHUTDOWN]";
    for expected in [ready, r#""shutdownReason":"spindown""#] {
        assert!(log.contains(expected), "{log}");
    }
}

#[test]
fn run_serves_managed_instances_in_a_zone() {
    let folder = tempfile::tempdir().unwrap();
    let event = folder.path().join("event.json");
    fs::write(&event, r#"{"do":"metadata"}"#).unwrap();
    let args = [
        "run",
        "--initialization",
        "managed-instances",
        "--max-concurrency",
        "2",
        "--availability-zone",
        "euw3-az2",
        "--event",
        event.to_str().unwrap(),
        "--event",
        "-",
    ];
    let output = emulator(&args, r#"{"do":"env"}"#);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let mut responses = output.stdout.split(|byte| *byte == b'\n');
    let mut response = || serde_json::from_slice::<Value>(responses.next().unwrap()).unwrap();
    assert_eq!(response()["AvailabilityZoneID"], "euw3-az2");
    let variables = response();
    assert_eq!(variables["AWS_LAMBDA_MAX_CONCURRENCY"], "2");
    assert_eq!(variables["AWS_LAMBDA_LOG_FORMAT"], "JSON");
}

#[test]
fn coldstart_shows_what_an_extension_adds_and_takes() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.json");
    let page = folder.path().join("page.html");
    let extension = example("extension");
    let args = [
        "coldstart",
        "--html",
        page.to_str().unwrap(),
        "--beside",
        extension.to_str().unwrap(),
        "--times",
        "2",
        "--warm",
        "1",
        "--out",
        out.to_str().unwrap(),
    ];
    let output = emulator(&args, "");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    for expected in ["extension beside echo", "  to echo", "echo + extension: /"] {
        assert!(text.contains(expected), "{expected} is not in\n{text}");
    }
    let page = fs::read_to_string(&page).unwrap();
    for expected in ["<!DOCTYPE html>", "echo + extension", "<svg"] {
        assert!(page.contains(expected), "{expected} is not in the page");
    }
    let json: Value = serde_json::from_slice(&fs::read(&out).unwrap()).unwrap();
    let names = ["/subjects/0/name", "/subjects/1/name"];
    assert_eq!(
        names.map(|name| json.pointer(name).unwrap().as_str().unwrap()),
        ["echo", "echo + extension"]
    );
    assert_eq!(json.pointer("/subjects/0/samples/0/extensions"), None);
    let sample = json.pointer("/subjects/1/samples/1/extensions/0").unwrap();
    assert_eq!(sample["name"], "extension");
    for figure in [
        "exec_to_register_ns",
        "exec_to_ready_ns",
        "peak_memory_bytes",
        "shutdown_ns",
    ] {
        assert!(sample[figure].as_u64().unwrap() > 0, "{figure} of {sample}");
    }
}

#[test]
fn coldstart_takes_a_suite() {
    let folder = tempfile::tempdir().unwrap();
    let (out, suite) = (
        folder.path().join("out.json"),
        folder.path().join("suite.json"),
    );
    let event = folder.path().join("event.json");
    fs::write(&event, r#"{"do":"cwd"}"#).unwrap();
    let run = |text: &str| {
        fs::write(&suite, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_bantam-emulator"));
        command.arg("coldstart").arg("--suite").arg(&suite);
        command
            .args(["--times", "1", "--warm", "0", "--out"])
            .arg(&out);
        command.output().unwrap()
    };
    let entries = json!([
        {"name": "one", "function": echo(), "event": event, "task_root": folder.path()},
        {
            "name": "two",
            "function": echo(),
            "env": {"A": "b"},
            "extensions": [example("extension")],
        },
    ]);
    let output = run(&entries.to_string());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let measured: Value = serde_json::from_slice(&fs::read(&out).unwrap()).unwrap();
    let names: Vec<_> = measured["subjects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| &s["name"])
        .collect();
    assert_eq!(names, ["one", "two"]);
    for (text, named) in [
        ("[{}]", "missing field `name`"),
        (
            r#"[{"name":"n","function":"/nowhere"}]"#,
            "the function /nowhere",
        ),
        (
            r#"[{"name":"n","function":"f","odd":1}]"#,
            "unknown field `odd`",
        ),
    ] {
        let output = run(text);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains(named), "{error}");
    }
}

#[test]
fn what_the_user_got_wrong_exits_with_2_and_is_named() {
    let cases: [(&[&str], &str); 24] = [
        (&["run", "--event", "/nowhere.json"], "/nowhere.json"),
        (
            &["run", "--sample-event", "/nowhere.json"],
            "/nowhere.json is neither a file nor one of api-gateway-v1, ",
        ),
        (
            &["run", "--extension", "/nowhere", "--event", "-"],
            "the extension /nowhere",
        ),
        (
            &["run", "--task-root", "/nowhere", "--event", "-"],
            "the task root /nowhere",
        ),
        (
            &["run", "--concurrency", "0", "--event", "-"],
            "--concurrency",
        ),
        (&["run", "--timeout", "901", "--event", "-"], "at most 900"),
        (&["run", "--memory", "127", "--event", "-"], "128..=10240"),
        (&["run", "--memory", "10241", "--event", "-"], "128..=10240"),
        (
            &["coldstart", "--extension", "/nowhere"],
            "the extension /nowhere",
        ),
        (&["coldstart", "--event", "/nowhere.json"], "/nowhere.json"),
        (&["run", "--env", "NOVALUE", "--event", "-"], "NOVALUE"),
        (&["run", "--timeout", "0", "--event", "-"], "more than zero"),
        (&["coldstart", "--times", "0"], "at least 1"),
        (&["coldstart", "--versus", "/nowhere"], "/nowhere"),
        (&["run", "--name", ""], "1 to 64 letters"),
        (&["run", "--name", "two words"], "1 to 64 letters"),
        (&["run", "--availability-zone", ""], "--availability-zone"),
        (
            &[
                "run",
                "--http",
                "api-gateway-v2",
                "--invoke-mode",
                "response_stream",
            ],
            "streams no responses",
        ),
        (
            &["run", "--stage", "dev"],
            "a function URL has no stage: take --http api-gateway-v2",
        ),
        (
            &["run", "--max-concurrency", "2"],
            "add --initialization lambda-managed-instances",
        ),
        (
            &["run", "--layer", "/dev/null"],
            "the layer /dev/null: it is neither a folder nor a zip file",
        ),
        (&["coldstart", "--out", "/nowhere/a"], "write /nowhere/a"),
        (&["coldstart", "--html", "/nowhere/a"], "write /nowhere/a"),
        (
            &["run", "--env-file", "/dev/null", "--env-file", "/nowhere"],
            "the variables in /nowhere",
        ),
    ];
    for (args, named) in cases {
        let output = emulator(args, "{}");
        assert_eq!(output.status.code(), Some(2), "{args:?} {output:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(named), "{args:?}: {text}");
    }
}

#[test]
fn what_does_not_go_together_is_refused() {
    let cases: [(&[&str], &str); 5] = [
        (
            &["run", "--attach", "--concurrency", "2"],
            "'--concurrency <N>'",
        ),
        (
            &["run", "--attach", "--layer", "/dev/null"],
            "'--layer <PATH>'",
        ),
        (&["run", "--attach", "--read-only"], "'--read-only'"),
        (
            &["run", "--attach", "--enforce-memory"],
            "'--enforce-memory'",
        ),
        (
            &["conform", "/bin/cat", "--rule", "next", "--except", "next"],
            "--except leaves no rule to try",
        ),
    ];
    for (args, named) in cases {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bantam-emulator"));
        command.args(args);
        let output = output_of(command, "");
        assert_eq!(output.status.code(), Some(2), "{args:?} {output:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(named), "{args:?}: {text}");
    }
}

#[test]
fn a_report_that_cannot_be_written_is_refused_before_a_rule_is_tried() {
    for name in ["--json", "--markdown", "--junit"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bantam-emulator"));
        let arguments = [name, "/nowhere/report", "--rule", "next.first"];
        command.arg("conform").arg(echo()).args(arguments);
        let output = output_of(command, "");
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains("cannot write /nowhere/report: "), "{text}");
        assert_eq!(output.stdout, b"", "{text}");
    }
    // A run that ends without results leaves the file of an earlier one, and none that is empty.
    let folder = tempfile::tempdir().unwrap();
    let [old, new] = ["old", "new"].map(|name| folder.path().join(name));
    fs::write(&old, "kept").unwrap();
    for path in [&old, &new] {
        let path = path.to_str().unwrap();
        let args = ["coldstart", "--out", path];
        let output = emulator(&[&args[..], &["--html", "/nowhere/page"]].concat(), "");
        assert_eq!(output.status.code(), Some(2), "{output:?}");
    }
    assert_eq!(fs::read(&old).unwrap(), b"kept");
    assert!(!new.exists());
}

#[test]
fn results_that_nobody_reads_are_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("samples.json");
    let out = out.to_str().unwrap();
    let program = echo();
    let program = program.to_str().unwrap();
    for args in [
        &["event", "sqs"][..],
        &["conform", program, "--list"],
        &["conform", program, "--rule", "next.first"],
        &[
            "coldstart",
            "--function",
            program,
            "--times",
            "1",
            "--out",
            out,
        ],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_bantam-emulator"));
        command.args(args).stdin(Stdio::null()).stdout(writer);
        let output = command.stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?} {output:?}");
    }
}

#[test]
fn a_function_that_cannot_be_started_exits_with_2_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let plain = folder.path().join("plain");
    fs::write(&plain, "#!/bin/sh\n").unwrap();
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    for (path, expected) in [
        (
            &missing,
            format!("the function {}: No such file", missing.display()),
        ),
        (
            &empty,
            format!("the folder {} has no file bootstrap", empty.display()),
        ),
        (
            &plain,
            format!("the function {} is not executable", plain.display()),
        ),
    ] {
        for name in ["run", "coldstart"] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_bantam-emulator"));
            let output = command
                .arg(name)
                .arg("--function")
                .arg(path)
                .output()
                .unwrap();
            assert_eq!(output.status.code(), Some(2), "{output:?}");
            let text = String::from_utf8(output.stderr).unwrap();
            assert!(text.contains(&expected), "{text}");
        }
    }
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for name in ["--port", "--runtime-api-port"] {
        let output = emulator(&["run", name, &address.port().to_string()], "");
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        let expected = format!("cannot listen at {address}: ");
        assert!(text.contains(&expected), "{text}");
        assert!(text.contains("name another port"), "{text}");
    }
    let mut rie = Command::new(env!("CARGO_BIN_EXE_bantam-emulator"));
    rie.args(["rie", "--runtime-interface-emulator-address"]);
    rie.arg(address.to_string()).arg(echo());
    let output = output_of(rie, "");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("name another port"), "{text}");
}

#[test]
fn an_event_that_is_no_json_is_refused_before_anything_is_invoked() {
    let table = [
        ("hello", "expected value at line 1 column 1"),
        ("\u{feff}{}", "begins with a byte order mark"),
        ("{} {}", "trailing characters"),
    ];
    for (event, reason) in table {
        for name in ["run", "coldstart"] {
            let output = emulator(&[name, "--event", "-"], event);
            assert_eq!(output.status.code(), Some(2), "{output:?}");
            let text = String::from_utf8(output.stderr).unwrap();
            assert!(
                text.contains("the event on standard input is not JSON: "),
                "{text}"
            );
            assert!(text.contains(reason), "{text}");
            assert!(!text.contains("START"), "{text}");
        }
    }
}

#[test]
fn a_line_of_the_log_is_shown_as_several_where_it_has_carriage_returns() {
    let event = r#"{"do":"print","text":"one\rtwo\r"}"#;
    let output = emulator(&["run", "--event", "-"], event);
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.contains("\none\ntwo\n"), "{log}");
    assert!(!log.contains('\r'), "{log}");
}

#[test]
fn the_printed_line_has_the_event_that_was_named() {
    let event = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/events/sqs.json");
    let (serving, text) = Serving::start(&["run", "--sample-event", event]);
    let curl = text
        .lines()
        .find(|line| line.starts_with("  curl"))
        .unwrap();
    assert!(curl.ends_with(&format!(" -d @{event}")), "{text}");
    assert!(
        text.contains(&format!("--payload fileb://{event} ")),
        "{text}"
    );
    drop(serving);
}

#[test]
fn the_printed_line_has_an_event_of_the_kind_that_was_named() {
    let (serving, text) = Serving::start(&["run", "--sample-event", "sqs"]);
    let printed = concat!(env!("CARGO_BIN_EXE_bantam-emulator"), " event sqs");
    assert!(text.contains(&format!(" -d \"$({printed})\"")), "{text}");
    // Text is base64 to version 2 of the AWS CLI, and raw to version 1; a file is what it is.
    let piped = format!("  {printed} | aws lambda invoke ");
    assert!(text.contains(&piped), "{text}");
    assert!(text.contains(" --payload fileb:///dev/stdin "), "{text}");
    drop(serving);
    let output = emulator_with(&["event", "sqs"], "");
    let event: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        event.pointer("/Records/0/eventSource"),
        Some(&json!("aws:sqs"))
    );
}

#[test]
fn an_api_of_api_gateway_is_opened_first() {
    let args = ["run", "--http", "api-gateway-v1", "--stage", "dev"];
    let (serving, text) = Serving::start(&args);
    let curl = text
        .lines()
        .find(|line| line.starts_with("  curl"))
        .unwrap();
    assert!(curl.ends_with("/dev/"), "{text}");
    let body = r#"{"statusCode":202,"body":"hi"}"#;
    let (head, body) = ("X-Echo: http\r\nContent-Type: application/json", body);
    let answer = request(address(&text), "POST", "/dev/", head, body);
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\nhi"), "{answer}");
    drop(serving);
}

#[test]
fn variables_come_from_a_file_and_from_the_command_line() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "ONE=file\nTWO='of the file'\n").unwrap();
    let path = file.path().to_str().unwrap();
    let args = [
        "run",
        "--env-file",
        path,
        "--env",
        "ONE=line",
        "--event",
        "-",
    ];
    let output = emulator(&args, r#"{"do":"env"}"#);
    let variables: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&variables["ONE"], &variables["TWO"]),
        (&json!("line"), &json!("of the file"))
    );
}

/// Credentials as a test has them: no file and no tool of this machine is asked.
fn with_credentials(variables: &[(&str, &str)], tools: Option<&Path>) -> Output {
    let mut command = command(&["run", "--credentials", "inherit", "--event", "/dev/stdin"]);
    for name in [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
    ] {
        command.env_remove(name);
    }
    let none = Path::new("/nowhere");
    command
        .env("PATH", tools.unwrap_or(none))
        .envs(variables.iter().copied());
    let event = tempfile::NamedTempFile::new().unwrap();
    fs::write(event.path(), r#"{"do":"env"}"#).unwrap();
    command.stdin(fs::File::open(event.path()).unwrap());
    command.output().unwrap()
}

#[test]
fn credentials_are_inherited_when_asked_for() {
    let own = [
        ("AWS_ACCESS_KEY_ID", "mine"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ];
    let output = with_credentials(&own, None);
    let variables: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(variables["AWS_ACCESS_KEY_ID"], "mine");
    assert_eq!(variables.get("AWS_SESSION_TOKEN"), None);
    // By the AWS CLI, in place of which this script is.
    let tools = tempfile::tempdir().unwrap();
    let aws = tools.path().join("aws");
    let script = "#!/bin/sh\necho \"$*\" > \"$0.asked\"\necho '{\"Version\":1,\
                  \"AccessKeyId\":\"exported\",\"SecretAccessKey\":\"s\",\"SessionToken\":\"t\"}'\n";
    fs::write(&aws, script).unwrap();
    fs::set_permissions(&aws, fs::Permissions::from_mode(0o755)).unwrap();
    let output = with_credentials(&[], Some(tools.path()));
    let variables: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(variables["AWS_ACCESS_KEY_ID"], "exported");
    assert_eq!(variables["AWS_SESSION_TOKEN"], "t");
    let asked = fs::read_to_string(tools.path().join("aws.asked")).unwrap();
    assert_eq!(asked, "configure export-credentials --format process\n");
    let output = with_credentials(&[], None);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("AWS_PROFILE"), "{text}");
}

#[test]
fn a_function_that_is_started_elsewhere_attaches() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bantam-emulator"));
    command.args(["run", "--attach", "--env", "MINE=two words"]);
    let (serving, text) = Serving::of(command);
    assert!(text.contains("  export MINE='two words'\n"), "{text}");
    let api = text.split("AWS_LAMBDA_RUNTIME_API=").nth(1).unwrap();
    let api = api.split(' ').next().unwrap();
    let mut function = Command::new(echo());
    function.env("AWS_LAMBDA_RUNTIME_API", api);
    let mut function = function.spawn().unwrap();
    let served = text.split("is served at http://").nth(1).unwrap();
    let served = served.split(' ').next().unwrap();
    let path = "/2015-03-31/functions/function/invocations";
    // It is slower than any timeout that a function may have by default.
    let answer = post(served, path, r#"{"do":"sleep","ms":3100}"#);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(!answer.contains("errorType"), "{answer}");
    function.kill().unwrap();
    function.wait().unwrap();
    drop(serving);
}

#[test]
fn an_extension_that_is_started_elsewhere_is_named_and_waited_for() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bantam-emulator"));
    command.args(["run", "--attach", "--extension", "/nowhere/extension"]);
    let managed = ["--initialization", "lambda-managed-instances"];
    command.args(managed).args(["--max-concurrency", "2"]);
    let (serving, text) = Serving::of(command);
    let start = "Start the function and the extension extension yourself";
    assert!(text.contains(start), "{text}");
    // The ones in the text are all that they get.
    let exports = text
        .lines()
        .filter_map(|line| line.strip_prefix("  export "));
    let variables: Vec<_> = exports
        .flat_map(|line| line.split(' '))
        .filter_map(|variable| variable.split_once('='))
        .collect();
    let names: Vec<_> = variables.iter().map(|(name, _)| *name).collect();
    for name in ["AWS_LAMBDA_MAX_CONCURRENCY", "AWS_LAMBDA_METADATA_API"] {
        assert!(names.contains(&name), "{text}");
    }
    let mut processes = [example("extension"), echo()].map(|program| {
        let mut command = Command::new(program);
        command.env_clear().envs(variables.iter().copied());
        // It takes no INVOKE there.
        command.env("EXTENSION", "events=SHUTDOWN").spawn().unwrap()
    });
    let path = "/2015-03-31/functions/function/invocations";
    let answer = post(address(&text), path, r#"{"do":"metadata"}"#);
    assert!(answer.contains("AvailabilityZoneID"), "{answer}");
    for process in &mut processes {
        process.kill().unwrap();
        process.wait().unwrap();
    }
    drop(serving);
}

#[test]
fn a_level_that_the_emulator_of_aws_does_not_have_is_refused() {
    for (flag, variable) in [(Some("loud"), "info"), (None, "loud")] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bantam-emulator"));
        command.arg("rie").env("LOG_LEVEL", variable);
        if let Some(level) = flag {
            command.args(["--log-level", level]);
        }
        command.arg(echo());
        let output = output_of(command, "");
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains("'loud'"), "{text}");
    }
}

/// The variables of a function that is served in place of AWS's emulator with these of a container,
/// and the log.
fn stood_in(own: &[(&str, &str)]) -> (Value, String) {
    let folder = tempfile::tempdir().unwrap();
    let name = folder.path().join("aws-lambda-rie");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_bantam-emulator"), &name).unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let mut command = Command::new(&name);
    command.args([
        "--log-level",
        "DEBUG",
        "--runtime-api-address",
        "127.0.0.1:0",
    ]);
    command.arg(format!("--runtime-interface-emulator-address={address}"));
    command.arg(echo()).args(["--flag", "app.handler"]);
    command
        .envs(own.iter().copied())
        .env("NO_TEXT", OsStr::from_bytes(b"\xff"))
        .env("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:1");
    let log = tempfile::NamedTempFile::new().unwrap();
    let stderr = log.reopen().unwrap();
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr)
        .spawn();
    let serving = Serving(child.unwrap());
    let end = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < end, "nobody listens");
        thread::yield_now();
    }
    let path = "/2015-03-31/functions/function/invocations";
    let answer = post(&address.to_string(), path, r#"{"do":"env"}"#);
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let variables = serde_json::from_str(body).unwrap();
    drop(serving);
    (variables, fs::read_to_string(log.path()).unwrap())
}

#[test]
fn it_stands_in_for_the_emulator_of_aws() {
    let own = [("AWS_LAMBDA_FUNCTION_TIMEOUT", "7"), ("MINE", "kept")];
    let (variables, log) = stood_in(&own);
    assert_eq!(variables["_HANDLER"], "app.handler");
    assert_eq!(variables["MINE"], "kept");
    assert_eq!(variables["NO_TEXT"], Value::Null);
    assert_eq!(variables["AWS_LAMBDA_FUNCTION_NAME"], "test_function");
    assert_eq!(variables["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"], "3008");
    assert_ne!(variables["AWS_LAMBDA_RUNTIME_API"], "127.0.0.1:1");
    for expected in ["INIT_START", "EventSent", "REPORT RequestId"] {
        assert!(log.contains(expected), "{expected} is not in {log}");
    }
}

#[test]
fn it_stands_in_for_the_emulator_of_managed_instances() {
    let (variables, _) = stood_in(&[("AWS_LAMBDA_MAX_CONCURRENCY", "2")]);
    assert_eq!(variables["AWS_LAMBDA_MAX_CONCURRENCY"], "2");
    let initialization = &variables["AWS_LAMBDA_INITIALIZATION_TYPE"];
    assert_eq!(initialization, "lambda-managed-instances");
}

/// Copies the function as a build tool does that writes in steps.
fn write_in_steps(from: &Path, to: &Path) {
    let bytes = fs::read(from).unwrap();
    let (begin, end) = bytes.split_at(bytes.len() / 2);
    let mut file = fs::File::create(to).unwrap();
    file.write_all(begin).unwrap();
    file.write_all(end).unwrap();
    drop(file);
    fs::set_permissions(to, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_function_that_changes_is_started_anew() {
    let folder = tempfile::tempdir().unwrap();
    let function = folder.path().join("orders");
    write_in_steps(&echo(), &function);
    let mut command = Command::new(env!("CARGO_BIN_EXE_bantam-emulator"));
    command
        .args(["run", "--watch", "--function"])
        .arg(&function);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let (serving, text) = Serving::read(child);
    let path = "/2015-03-31/functions/function/invocations";
    let answer = post(address(&text), path, r#"{"do":"echo","n":1}"#);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    // Another function, in the place of the old one.
    fs::remove_file(&function).unwrap();
    let script = folder.path().join("orders.new");
    fs::write(&script, "#!/bin/sh\nexit 7\n").unwrap();
    write_in_steps(&script, &function);
    let said = "orders has changed: 1 environment is retired, new ones start it";
    let found = log.find(|line| line.as_ref().unwrap() == said);
    assert!(found.is_some(), "nothing was said");
    let answer = post(address(&text), path, "{}");
    assert!(answer.contains("exit status 7"), "{answer}");
    drop(serving);
}

#[test]
fn a_start_beside_environments_that_are_busy_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = named_pipe(folder.path());
    let mut child = command(&["run", "--timeout", "60"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = BufReader::new(child.stderr.take().unwrap());
    let (serving, text) = Serving::read(child);
    let (send, lines) = mpsc::channel();
    let reader = thread::spawn(move || {
        // Nobody reads on once all was seen.
        let mut lines = log.lines();
        while lines.next().is_some_and(|line| send.send(line).is_ok()) {}
    });
    let until = |expected: &str| {
        let mut seen = Vec::new();
        loop {
            let line = lines.recv_timeout(Duration::from_secs(60));
            let line = line.unwrap_or_else(|_| panic!("{expected} is not in {seen:?}"));
            let line = line.unwrap();
            if line.starts_with(expected) {
                return;
            }
            seen.push(line);
        }
    };
    let path = "/2015-03-31/functions/function/invocations";
    let event = json!({"do": "read", "path": pipe}).to_string();
    thread::scope(|scope| {
        let busy = scope.spawn(|| post(address(&text), path, &event));
        until("START RequestId: ");
        let answer = post(address(&text), path, "{}");
        fs::write(&pipe, "go on").unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(busy.join().unwrap().ends_with("\"go on\""));
    });
    until("environment 1 is started: the others are busy");
    drop(serving);
    drop(lines);
    reader.join().unwrap();
}

/// The response to an event, and the log.
fn run_once(args: &[&str], event: &Value) -> (Value, String) {
    let output = emulator(
        &[&["run", "--event", "-"], args].concat(),
        &event.to_string(),
    );
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let log = String::from_utf8(output.stderr).unwrap();
    (serde_json::from_slice(&output.stdout).unwrap(), log)
}

#[test]
fn layers_are_in_opt_and_their_extensions_run() {
    let layer = tempfile::tempdir().unwrap();
    fs::write(layer.path().join("data"), "of the layer").unwrap();
    fs::create_dir(layer.path().join("extensions")).unwrap();
    fs::copy(
        example("extension"),
        layer.path().join("extensions/extension"),
    )
    .unwrap();
    let args = ["--layer", layer.path().to_str().unwrap()];
    let (text, log) = run_once(&args, &json!({"do": "read", "path": "/opt/data"}));
    assert!(
        log.contains("EXTENSION\tName: extension\tState: Ready"),
        "{log}"
    );
    // A machine may allow no mounts; then it says so.
    if !log.contains("warning: this machine allows no mounts (") {
        assert_eq!(text, "of the layer");
    }
    assert!(!Path::new("/opt/data").exists(), "nothing is left");
}

#[test]
#[ignore = "needs .ci/peers, for AWS's runtime client for Python"]
fn a_function_in_python_is_run_by_the_client_of_aws() {
    let peers = std::env::var_os("BANTAM_PEERS").map(PathBuf::from);
    let peers =
        peers.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/peers"));
    let folder = tempfile::tempdir().unwrap();
    let app = folder.path().join("app.py");
    let script =
        "def handler(event, context):\n    return {'got': event, 'name': context.function_name}\n";
    fs::write(&app, script).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_bantam-emulator"));
    command.args([
        "run",
        "--runtime",
        "python",
        "--handler",
        "app.handler",
        "--event",
        "-",
    ]);
    command.args(["--timeout", "30", "--function"]).arg(&app);
    command.env("PATH", peers.join("python/bin"));
    let output = output_of(command, "[1]");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let response: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(response, json!({"got": [1], "name": "function"}));
}

#[test]
fn a_client_that_is_not_installed_is_named_with_what_installs_it() {
    let folder = tempfile::tempdir().unwrap();
    for (program, runtime, expected) in [
        ("python3", "python", "/python3 -m pip install awslambdaric"),
        ("node", "nodejs", "npm install --prefix "),
        ("other", "nodejs", "node is not on PATH"),
    ] {
        let tools = tempfile::tempdir().unwrap();
        let tool = tools.path().join(program);
        fs::write(&tool, "#!/bin/sh\nexit 1\n").unwrap();
        fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_bantam-emulator"));
        command
            .args(["run", "--runtime", runtime, "--function"])
            .arg(folder.path());
        let output = output_of_path(command, tools.path());
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(expected), "{text}");
    }
}

fn output_of_path(mut command: Command, path: &Path) -> Output {
    command.env("PATH", path);
    output_of(command, "")
}

#[test]
fn a_machine_that_allows_no_mounts_is_told_in_a_line() {
    let layer = tempfile::tempdir().unwrap();
    fs::create_dir(layer.path().join("extensions")).unwrap();
    fs::copy(
        example("extension"),
        layer.path().join("extensions/extension"),
    )
    .unwrap();
    // A namespace for users in which no further one of any kind can be made.
    let script = "cd /proc/sys/user && echo 0 > max_user_namespaces && echo 0 > max_mnt_namespaces \
                  && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "sh", "-c", script, "sh"]);
    let event = tempfile::NamedTempFile::new().unwrap();
    fs::write(event.path(), "7").unwrap();
    command.args([env!("CARGO_BIN_EXE_bantam-emulator"), "run", "--read-only"]);
    command
        .arg("--layer")
        .arg(layer.path())
        .arg("--function")
        .arg(echo());
    let output = command.arg("--event").arg(event.path()).output();
    let Some(output) = output.ok().filter(|output| !output.stdout.is_empty()) else {
        // This machine has no such namespaces in the first place.
        return;
    };
    assert_eq!(output.stdout, b"7\n");
    let log = String::from_utf8(output.stderr).unwrap();
    let warnings = log.lines().filter(|line| line.starts_with("warning: "));
    let warnings: Vec<_> = warnings.collect();
    assert_eq!(warnings.len(), 1, "{log}");
    assert!(
        warnings[0].contains("allows no mounts (no namespace: "),
        "{log}"
    );
    assert!(
        log.contains("EXTENSION\tName: extension\tState: Ready"),
        "{log}"
    );
}

#[test]
fn the_file_system_is_read_only_but_for_tmp() {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("read-only-test");
    let (text, log) = run_once(
        &["--read-only"],
        &json!({"do": "write", "path": place, "text": "x"}),
    );
    if log.contains("warning: this machine allows no mounts (") {
        return;
    }
    assert_eq!(text, "Read-only file system (os error 30)");
    let free = std::env::temp_dir().join(format!("read-only-test-{}", std::process::id()));
    assert!(
        free.starts_with("/tmp"),
        "the test needs another place: {free:?}"
    );
    let event = json!({"do": "write", "path": free, "text": "x"});
    assert_eq!(run_once(&["--read-only"], &event).0, "written");
    assert_eq!(fs::read_to_string(&free).unwrap(), "x");
    fs::remove_file(&free).unwrap();
}

#[test]
fn a_killed_command_leaves_no_process() {
    let mark = format!("COMMAND_TEST_MARK=killed-{}", std::process::id());
    let extension = example("extension");
    let (mut serving, text) = Serving::start(&[
        "run",
        "--env",
        &mark,
        "--extension",
        extension.to_str().unwrap(),
    ]);
    // A child in a process group of its own, frozen with the rest after the invocation.
    let path = "/2015-03-31/functions/function/invocations";
    let answer = post(address(&text), path, r#"{"do":"child"}"#);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let left: Vec<_> = processes_with(&mark)
        .into_iter()
        .filter(|pid| *pid != serving.0.id())
        .map(Running::new)
        .collect();
    assert_eq!(left.len(), 3, "the runtime, its child and the extension");
    serving.0.kill().unwrap();
    serving.0.wait().unwrap();
    for process in left {
        process.until_ended();
    }
}

#[test]
fn an_odd_state_is_not_inherited_by_the_function() {
    // SIGCHLD ignored, standard input closed, SIGTERM blocked: as some supervisors leave them.
    let script = "trap '' CHLD; exec \"$0\" \"$@\" <&-";
    let event = tempfile::NamedTempFile::new().unwrap();
    fs::write(event.path(), r#"{"do":"exit","code":7}"#).unwrap();
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_bantam-emulator"), "run"]);
    command
        .arg("--function")
        .arg(echo())
        .arg("--event")
        .arg(event.path());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let response: Value = serde_json::from_slice(&output.stdout).unwrap();
    let message = response["errorMessage"].as_str().unwrap();
    assert!(message.ends_with("exit status 7"), "{message}");
}

/// As under `head -1`.
#[test]
fn serve_goes_on_when_nobody_reads_its_text() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let port = address.port().to_string();
    let mut child = command(&["run", "--name", "greeter", "--port", &port])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut serving = Serving(child);
    let end = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(address).is_err() {
        assert_eq!(serving.0.try_wait().unwrap(), None);
        assert!(Instant::now() < end, "nobody listens");
        thread::yield_now();
    }
    let path = "/2015-03-31/functions/greeter/invocations";
    let answer = post(&address.to_string(), path, r#"{"do":"echo","n":2}"#);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    serving.signal(Signal::INT);
    assert_eq!(serving.0.wait().unwrap().code(), Some(0));
}

#[test]
fn serve_answers_an_invocation_and_leaves_no_process_after_an_interrupt() {
    let mark = format!("COMMAND_TEST_MARK=serve-{}", std::process::id());
    let (mut serving, text) = Serving::start(&["run", "--name", "greeter", "--env", &mark]);
    let address = address(&text);

    let answer = post(
        address,
        "/2015-03-31/functions/greeter/invocations",
        r#"{"do":"echo","n":2}"#,
    );
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains(r#""n":2"#), "{answer}");
    assert_eq!(
        processes_with(&mark).len(),
        1,
        "the function waits for its next event"
    );

    serving.signal(Signal::INT);
    assert_eq!(serving.0.wait().unwrap().code(), Some(0));
    assert_eq!(processes_with(&mark).len(), 0, "everything was stopped");
}

#[test]
fn coldstart_prints_a_table_and_keeps_every_sample() {
    let out = std::env::temp_dir().join(format!("coldstart-{}.json", std::process::id()));
    let echo = echo();
    let output = emulator(
        &[
            "coldstart",
            "--versus",
            echo.to_str().unwrap(),
            "--times",
            "2",
            "--warm",
            "3",
            "--out",
            out.to_str().unwrap(),
        ],
        "",
    );
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let table = String::from_utf8(output.stdout).unwrap();
    for expected in ["first next", "median", "not on AWS", out.to_str().unwrap()] {
        assert!(table.contains(expected), "{expected} is not in\n{table}");
    }
    let json: Value = serde_json::from_slice(&fs::read(&out).unwrap()).unwrap();
    fs::remove_file(&out).unwrap();
    assert_eq!(json["subjects"][0]["name"], "echo");
    assert_eq!(
        json["subjects"][1]["name"],
        echo.to_str().unwrap(),
        "a name is used once"
    );
    for subject in json["subjects"].as_array().unwrap() {
        let samples = subject["samples"].as_array().unwrap();
        assert_eq!(samples.len(), 2);
        for sample in samples {
            for figure in [
                "exec_to_next_ns",
                "init_ns",
                "first_invocation_ns",
                "cpu_ns",
            ] {
                assert!(sample[figure].as_u64().unwrap() > 0, "{figure} of {sample}");
            }
            assert!(
                sample["peak_memory_bytes"].as_u64().unwrap() > 4_096,
                "{sample}"
            );
            assert_eq!(sample["warm_invocations_ns"].as_array().unwrap().len(), 3);
        }
    }
}

#[test]
fn coldstart_of_a_function_that_fails_shows_its_error_and_exits_with_1() {
    let output = emulator(
        &["coldstart", "--times", "1", "--event", "-"],
        r#"{"do":"exit"}"#,
    );
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("Runtime.ExitError"), "{text}");
    assert!(output.stdout.is_empty(), "there is no table");
}

/// A command that serves. When a test fails it is asked to stop what it started.
struct Serving(Child);

impl Serving {
    /// The command, and the text it prints before it serves.
    fn start(args: &[&str]) -> (Self, String) {
        Self::of(command(args))
    }

    fn of(mut command: Command) -> (Self, String) {
        let command = command.stdin(Stdio::null()).stderr(Stdio::null());
        Self::read(command.stdout(Stdio::piped()).spawn().unwrap())
    }

    fn read(mut child: Child) -> (Self, String) {
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let serving = Self(child);
        let mut text = String::new();
        // The last paragraph.
        while !(text.contains("\nOr ") && text.ends_with("\n\n")) {
            assert_ne!(stdout.read_line(&mut text).unwrap(), 0, "{text}");
        }
        (serving, text)
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.0.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if self.0.try_wait().unwrap().is_none() {
            self.signal(Signal::TERM);
            self.0.wait().unwrap();
        }
    }
}

/// The command with these arguments for the function `echo`, not started.
fn command(args: &[&str]) -> Command {
    let (name, rest) = args.split_first().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_bantam-emulator"));
    command.arg(name).arg("--function").arg(echo()).args(rest);
    command
}

/// The output of the command with this standard input.
fn emulator(args: &[&str], stdin: &str) -> Output {
    output_of(command(args), stdin)
}

/// As [`emulator`], without a function.
fn emulator_with(args: &[&str], stdin: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bantam-emulator"));
    command.args(args);
    output_of(command, stdin)
}

fn output_of(mut command: Command, stdin: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that ends without reading closes the pipe, which is no failure.
    child
        .stdin
        .take()
        .unwrap()
        .write_all(stdin.as_bytes())
        .unwrap_or_default();
    child.wait_with_output().unwrap()
}

fn echo() -> PathBuf {
    example("echo")
}

fn example(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_BIN_EXE_bantam-emulator"));
    let path = folder.with_file_name("examples").join(name);
    assert!(
        path.exists(),
        "{} is missing: cargo build -p bantam-emulator --examples",
        path.display()
    );
    path
}

/// One request on a connection of its own; the whole answer as text.
fn post(address: &str, path: &str, body: &str) -> String {
    request(address, "POST", path, "Accept: */*", body)
}

fn request(address: &str, method: &str, path: &str, header: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{header}\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The address in what the command prints.
fn address(text: &str) -> &str {
    let rest = text.split("http://").nth(1).unwrap();
    rest.split(' ').next().unwrap()
}

/// The living processes that have this variable in their environment.
fn processes_with(variable: &str) -> Vec<u32> {
    let numbered = fs::read_dir("/proc").unwrap().flatten();
    let pids = numbered.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &u32| {
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let mut variables = environ.split(|byte| *byte == 0);
        variables.any(|v| v == variable.as_bytes())
    })
    .collect()
}

//! The stock binary in the place of AWS Lambda Web Adapter: an extension of that name, beside a web
//! server that the platform starts.

use std::os::unix::fs::symlink;
use std::time::Duration;
use std::{fs, thread};

use bantam_emulator::{Config, Initialization, What};
use serde_json::Value;

use super::http_server::{event, server, set};
use crate::support::{Env, count, ended_late, example_path, fixtures, start, stock};

/// The server of the tests, which starts like this, with the extension beside it.
fn beside(how: &str) -> (Config, tempfile::TempDir) {
    let mut config = server(how);
    let folder = tempfile::tempdir().unwrap();
    let extension = folder.path().join("extensions/lambda-adapter");
    fs::create_dir(extension.parent().unwrap()).unwrap();
    symlink(stock("").program, &extension).unwrap();
    config.program = example_path("http_server");
    config.argv0 = "node".to_owned();
    config.extensions = vec![extension];
    config.handler = String::new();
    // Of a layer of Lambda Web Adapter: it is the server that is started by the wrapper.
    for (name, value) in [
        ("PORT", "8080"),
        ("AWS_LAMBDA_EXEC_WRAPPER", "/opt/bootstrap"),
    ] {
        config.env.push((name.to_owned(), value.to_owned()));
    }
    config.env.retain(|(name, _)| name != "BANTAM_HANDLER_MODE");
    (config, folder)
}

fn get(env: &Env, target: &str) -> Value {
    env.respond(&event("GET", target))
}

#[test]
fn the_same_events_have_the_same_answers_as_of_the_runtime_that_starts_the_server() {
    let (config, _folder) = beside("");
    let (beside, own) = (start(config), start(server("")));
    let mut events: Vec<String> = Vec::new();
    for file in fs::read_dir(fixtures().join("http")).unwrap() {
        events.push(fs::read_to_string(file.unwrap().path()).unwrap());
    }
    assert_eq!(events.len(), 7);
    for path in ["/chunked", "/no-content", "/until-close", "/close-after"] {
        events.push(event("GET", path));
    }
    for path in ["/binary", "/cookies", "/nowhere", "/echo/x?a=1"] {
        events.push(event("GET", path));
    }
    for event in &events {
        let [theirs, ours] = [&own, &beside].map(|env| same(env.respond(event)));
        assert_eq!(ours, theirs, "{event}");
    }
    let names: Vec<String> = beside
        .transcript()
        .iter()
        .filter_map(|entry| match &entry.what {
            What::ExtensionRegistered {
                extension,
                external: true,
                ..
            } => Some(extension.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(names, ["lambda-adapter"]);
}

/// An answer without what differs from invocation to invocation and from server to server.
fn same(answer: Value) -> Value {
    let is_event = answer.get("statusCode").is_none();
    let body = answer["body"].as_str().unwrap_or_default();
    let mut seen = match serde_json::from_str(body) {
        Ok(seen @ Value::Object(_)) if !is_event => seen,
        _ if is_event => answer.clone(),
        _ => return answer,
    };
    for name in [
        "x-amzn-lambda-context",
        "host",
        "x-amzn-trace-id",
        "content-length",
    ] {
        assert!(
            seen["headers"]
                .as_object_mut()
                .unwrap()
                .remove(name)
                .is_some()
                || name != "host"
        );
    }
    if is_event {
        return seen;
    }
    let mut answer = answer;
    answer["body"] = seen;
    for list in ["headers", "multiValueHeaders"] {
        if let Some(headers) = answer.get_mut(list).and_then(Value::as_object_mut) {
            headers.remove("Content-Length");
        }
    }
    answer
}

#[test]
fn a_response_is_streamed() {
    let (mut config, _folder) = beside("");
    set(&mut config, "AWS_LWA_INVOKE_MODE", "response_stream");
    let env = start(config);
    let outcome = env.invoke(event("GET", "/chunked")).unwrap();
    assert_eq!(outcome.function_error, None);
    let body = String::from_utf8_lossy(&outcome.body);
    assert!(body.ends_with("\0\0\0\0\0\0\0\0abcdefg"), "{body:?}");
}

#[test]
fn a_request_without_a_response_is_named_in_the_log_and_ends_with_the_environment() {
    // A whole one, a part of one, and a part of one that is an error.
    for (mode, path, errors) in [
        ("buffered", "/hang", ""),
        ("response_stream", "/hang-midway", ""),
        ("response_stream", "/hang-midway", "200"),
    ] {
        let (mut config, _folder) = beside("");
        set(&mut config, "AWS_LWA_INVOKE_MODE", mode);
        set(&mut config, "AWS_LWA_ERROR_STATUS_CODES", errors);
        let env = start(ended_late(config, 3, Duration::from_secs(3)));
        let outcome = env.invoke(event("GET", path)).unwrap();
        let error = outcome.function_error.expect("an error");
        assert_eq!(error.error_type, "Sandbox.Timedout", "{error:?}");
        let log = env.function_log();
        let tried = format!("{path} failed after ");
        let line = log.lines().find(|line| line.contains(&tried)).unwrap();
        assert!(line.ends_with(" ms: no response"), "{line}");
        let outcome = env.invoke(event("GET", "/nowhere")).unwrap();
        assert_eq!(outcome.function_error, None, "{mode} {path}");
        assert_eq!(env.spawned(), 2, "the server is a fresh one");
    }
}

#[test]
fn a_server_that_ends_is_the_platforms_to_start_again() {
    let (config, _folder) = beside("");
    let env = start(config);
    let (recorded, _) = env.fail(&event("GET", "/die"));
    assert_eq!(recorded, "Runtime.ExitError");
    assert_eq!(get(&env, "/nowhere")["statusCode"], 404);
}

#[test]
fn a_server_that_is_slow_is_waited_for_and_one_that_never_listens_is_an_init_error() {
    let (config, _folder) = beside("slow=1000");
    let env = start(config);
    assert_eq!(get(&env, "/nowhere")["statusCode"], 404);
    assert_eq!(env.spawned(), 1);
    let (mut config, _folder) = beside("never");
    let timeout = "AWS_LWA_READINESS_CHECK_TIMEOUT_SECONDS";
    set(&mut config, timeout, "1");
    let (recorded, document) = start(config).fail("{}");
    assert_eq!(recorded, "Function.ServerNotReady");
    let message = document["errorMessage"].as_str().unwrap();
    assert!(
        message.contains("no connection: Connection refused"),
        "{message}"
    );
}

#[test]
fn the_server_gets_sigterm_from_the_platform() {
    let (mut config, _folder) = beside("");
    config.args = vec![config.program.to_str().unwrap().to_owned()];
    config.program = fixtures().join("graceful.sh");
    let env = start(config);
    assert_eq!(get(&env, "/nowhere")["statusCode"], 404);
    env.wait_for_polls(1);
    let report = env.stop();
    let lines: Vec<&str> = report.log.iter().map(|line| &*line.text).collect();
    assert!(lines.contains(&"closing the database"), "{lines:?}");
}

#[test]
fn it_takes_part_in_snap_start() {
    let (mut config, _folder) = beside("");
    config.initialization = Initialization::SnapStart;
    for (name, path) in [
        ("BEFORE_CHECKPOINT", "/echo/before"),
        ("AFTER_RESTORE", "/echo/after"),
    ] {
        let name = format!("AWS_LWA_SNAPSTART_{name}_PATH");
        config.env.push((name, path.to_owned()));
    }
    let env = start(config);
    let counts = get(&env, "/counts")["body"].as_str().unwrap().to_owned();
    let counts: Vec<u32> = serde_json::from_str(&counts).unwrap();
    // The check of the start, the two hooks, the check after the restore and this request.
    assert_eq!(counts[1], 5, "{counts:?}");
    assert_eq!(get(&env, "/echo/before")["statusCode"], 403);
}

#[test]
fn on_managed_instances_its_workers_share_the_server() {
    const WORKERS: usize = 4;
    let (mut config, _folder) = beside("");
    config.initialization = Initialization::ManagedInstances;
    config.max_concurrency = WORKERS;
    // AWS's emulator keeps it from extensions, which then serve one invocation at a time.
    let concurrency = ("AWS_LAMBDA_MAX_CONCURRENCY".to_owned(), WORKERS.to_string());
    config.env.push(concurrency);
    let env = start(config);
    env.prepare().unwrap();
    env.wait_for_polls(WORKERS);
    // Each waits for the others: were they one after the other, they would wait for ever.
    let outcomes = thread::scope(|scope| {
        let ask = || env.invoke(event("GET", "/together?4")).unwrap();
        [(); WORKERS]
            .map(|()| scope.spawn(ask))
            .map(|outcome| outcome.join().unwrap())
    });
    for outcome in outcomes {
        assert_eq!(outcome.function_error, None);
    }
    let registered = |what: &What| matches!(what, What::ExtensionRegistered { .. });
    assert_eq!(count(&env.transcript(), registered), 1);
    assert_eq!(env.spawned(), 1);
}

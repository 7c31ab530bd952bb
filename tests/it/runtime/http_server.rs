//! The stock binary with a web server as its handler.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;
use std::{fs, process, thread};

use bantam_emulator::{
    Config, Entry, Initialization, Invoke, LogLine, Outcome, UrlInvokeMode, What,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use testkit::http::Client;
use testkit::pipe::named_pipe;
use testkit::process::Running;

use super::faults::exits;
use crate::support::{Env, answers, count, ending_by_itself, example_path, fixtures, start, stock};

/// The server of the tests, which starts like this, at an address of its own: every address of
/// 127.0.0.0/8 is this machine.
pub(super) fn server(how: &str) -> Config {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let mut config = stock(example_path("http_server").to_str().unwrap());
    let id = process::id().to_be_bytes();
    let host = format!(
        "127.{}.{}.{}",
        id[2],
        id[3],
        NEXT.fetch_add(1, Ordering::SeqCst)
    );
    for (name, value) in [
        ("BANTAM_HANDLER_MODE", "http"),
        ("AWS_LWA_HOST", &host),
        ("SERVER", how),
    ] {
        set(&mut config, name, value);
    }
    config
}

pub(super) fn set(config: &mut Config, name: &str, value: &str) {
    config.env.push((name.to_owned(), value.to_owned()));
}

/// An event of a function URL.
pub(super) fn event(method: &str, target: &str) -> String {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let http = json!({"method": method});
    let event = json!({
        "rawPath": path, "rawQueryString": query, "requestContext": {"http": http},
    });
    event.to_string()
}

fn get(env: &Env, target: &str) -> Value {
    env.respond(&event("GET", target))
}

/// The error of a request: its type and its message, without the log of the server behind it.
fn fail(env: &Env, target: &str) -> (String, String) {
    let (recorded, document) = env.fail(&event("GET", target));
    let message = document["errorMessage"].as_str().unwrap();
    (recorded, message.to_owned())
}

#[test]
fn events_are_requests_and_responses_are_answers() {
    let env = start(server(""));
    let rest = include_str!("../../fixtures/http/rest.json");
    let response = env.respond(rest);
    assert_eq!(response["statusCode"], 404, "{response}");
    let url = include_str!("../../fixtures/http/function-url.json");
    let response = env.respond(url);
    assert_eq!(response["statusCode"], 200, "{response}");
    assert_eq!(response["headers"]["Content-Type"], "application/json");
    let seen: Value = serde_json::from_str(response["body"].as_str().unwrap()).unwrap();
    assert_eq!(seen["method"], "GET");
    assert_eq!(seen["headers"]["host"], "id.lambda-url.eu-west-2.on.aws");
    assert_eq!(seen["headers"]["cookie"], "test=hi");
    let context = seen["headers"]["x-amzn-request-context"].as_str().unwrap();
    let context: Value = serde_json::from_str(context).unwrap();
    let sent: Value = serde_json::from_str(url).unwrap();
    assert_eq!(context, sent["requestContext"]);
}

#[test]
fn the_server_learns_the_context_of_the_invocation() {
    let env = start(server(""));
    let invoke = Invoke {
        client_context: Some(r#"{"client":{"app_title":"\u00e9"}}"#.to_owned()),
        cognito_identity: Some(
            r#"{"cognitoIdentityId":"i","cognitoIdentityPoolId":"p"}"#.to_owned(),
        ),
        tenant_id: Some("t".to_owned()),
        trace_id: Some("Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700".to_owned()),
        ..Invoke::new(r#"{"an":"event"}"#)
    };
    let outcome = env.invoke_with(invoke).unwrap();
    let seen: Value = serde_json::from_slice(&outcome.body).unwrap();
    assert_eq!(
        (&seen["method"], &seen["target"], &seen["body"]),
        (
            &json!("POST"),
            &json!("/events"),
            &json!(r#"{"an":"event"}"#)
        )
    );
    let headers = &seen["headers"];
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(headers["x-amzn-request-context"], "null");
    assert_eq!(headers["x-amz-tenant-id"], "t");
    assert_eq!(
        headers["x-amzn-trace-id"],
        "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700"
    );
    let context = headers["x-amzn-lambda-context"].as_str().unwrap();
    let mut context: Value = serde_json::from_str(context).unwrap();
    assert!(context["deadline"].as_u64().unwrap() > 1_700_000_000_000);
    context["deadline"] = json!(0);
    context["env_config"]["log_stream"] = json!("");
    let expected = json!({
        "request_id": outcome.request_id,
        "deadline": 0,
        "invoked_function_arn": "arn:aws:lambda:us-east-1:123456789012:function:function",
        "xray_trace_id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700",
        "client_context": {"client": {"app_title": "\u{e9}"}},
        "identity": {"identityId": "i", "identityPoolId": "p"},
        "tenant_id": "t",
        "env_config": {
            "function_name": "function", "memory": 128, "version": "$LATEST",
            "log_stream": "", "log_group": "/aws/lambda/function",
        },
    });
    assert_eq!(context, expected);
}

#[test]
fn one_connection_serves_many_requests_and_is_opened_again_when_it_was_closed() {
    let env = start(server(""));
    // The check was the first of both.
    for requests in 2..10 {
        let counts = get(&env, "/counts")["body"].clone();
        let counts: [u32; 3] = serde_json::from_str(counts.as_str().unwrap()).unwrap();
        assert_eq!(counts[..2], [2, requests]);
    }
    for closing in ["/close-after", "/close-quietly", "/until-close", "/cut"] {
        let _answered = env.invoke(event("GET", closing)).unwrap();
    }
    let counts = get(&env, "/counts")["body"].clone();
    let counts: [u32; 3] = serde_json::from_str(counts.as_str().unwrap()).unwrap();
    assert_eq!(counts[..2], [6, 14]);
    assert_eq!(env.spawned(), 1);
}

#[test]
fn every_kind_of_response_is_read() {
    let env = start(server(""));
    let table = [
        ("GET", "/chunked", 200, "abcdefg", false),
        ("GET", "/no-content", 204, "", false),
        ("GET", "/not-modified", 304, "", false),
        ("GET", "/until-close", 200, "all of it", false),
        ("GET", "/close-after", 200, "bye", false),
        ("GET", "/binary", 200, "iVBORwD/", true),
        ("GET", "/status?503", 503, "no\"t good", false),
        ("GET", "/sleep?300", 200, "late", false),
        ("GET", "/nowhere", 404, "not here", false),
        ("GET", "/talk", 200, "said", false),
        // Its length is that of the response to GET, and over the limit.
        ("HEAD", "/large?7000000", 200, "", false),
        ("HEAD", "/large?5", 200, "", false),
    ];
    for (method, target, status, body, is_base64) in table {
        let response = env.respond(&event(method, target));
        assert_eq!(response["statusCode"], status, "{target}");
        assert_eq!(response["body"], body, "{target}");
        assert_eq!(response["isBase64Encoded"], is_base64, "{target}");
    }
    let cookies = get(&env, "/cookies")["cookies"].clone();
    assert_eq!(cookies, json!(["a=1", "b=2; Path=/"]));
    let chunked = get(&env, "/chunked")["headers"].clone();
    assert_eq!(chunked, json!({}));
    assert_eq!(env.spawned(), 1);
}

#[test]
fn the_log_has_all_that_the_server_writes() {
    let env = start(server(""));
    assert_eq!(get(&env, "/talk")["body"], "said");
    let log = env.function_log();
    assert!(log.contains("to standard output\n"), "{log}");
    assert!(log.contains("to standard error\n"), "{log}");
    assert!(log.contains("line 00000 x") && log.contains("line 02999 x"));
}

#[test]
fn a_request_that_goes_wrong_fails_its_invocation_alone() {
    let config = ending_by_itself(server(""), 4);
    let host = config.env.iter().find(|(name, _)| name == "AWS_LWA_HOST");
    let address = format!("{}:8080", host.unwrap().1);
    let env = start(config);
    let table = [
        (
            "/cut",
            "Function.ConnectionLost",
            " ms: connection closed before a message",
        ),
        (
            "/half",
            "Function.ConnectionLost",
            "connection closed inside a message, after 44 bytes",
        ),
        (
            "/garbage",
            "Function.ProtocolError",
            " ms: malformed status line",
        ),
        (
            "/large?7000000",
            "Function.ResponseSizeTooLarge",
            "7000000 bytes of body, limit 6291556",
        ),
        // The document around it is too large.
        (
            "/large?6291556",
            "Function.ResponseSizeTooLarge",
            "limit 6291556",
        ),
        (
            "/die",
            "Function.ExitStatus",
            "the server ended with exit status: 7",
        ),
        (
            "/end-until-close?7",
            "Function.ExitStatus",
            "the server ended with exit status: 7",
        ),
        (
            "/hang",
            "Function.Timeout",
            "; the server was killed shortly before the deadline",
        ),
    ];
    for (target, error_type, expected) in table {
        let (recorded, message) = fail(&env, target);
        assert_eq!(recorded, error_type, "{target}: {message}");
        assert!(message.contains(expected), "{target}: {message}");
        if target != "/large?6291556" {
            let tried = format!("GET http://{address}{target} failed after ");
            assert!(message.starts_with(&tried), "{message}");
        }
        assert_eq!(get(&env, "/nowhere")["statusCode"], 404, "after {target}");
    }
    let (_, message) = fail(&env, "/die");
    assert!(message.ends_with("out of luck"), "{message}");
    assert_eq!(env.spawned(), 1, "the runtime itself never ended");
}

#[test]
fn a_response_counts_though_the_server_ends_after_it() {
    let mut config = server("");
    config.freeze = false;
    let env = start(config);
    let targets = [
        ("/die-after", "last words"),
        ("/end-until-close?0", "some of it"),
    ];
    for (times, (target, body)) in (1..).zip(targets) {
        let before = server_process(&env);
        let server = Running::new(u32::try_from(before).unwrap());
        assert_eq!(get(&env, target)["body"], body);
        // Until then it may take one more request.
        server.until_ended();
        assert_ne!(server_process(&env), before);
        env.wait_for_log_times("the server ended with exit status: 0", times);
    }
}

#[test]
fn statuses_may_be_errors() {
    let mut config = server("");
    set(&mut config, "AWS_LWA_ERROR_STATUS_CODES", "500,502-504");
    let env = start(config);
    let (recorded, message) = fail(&env, "/status?503");
    assert_eq!(recorded, "Function.HttpStatus");
    assert_eq!(message, r#"{"statusCode":503,"body":"no\"t good"}"#);
    assert_eq!(get(&env, "/status?501")["statusCode"], 501);
}

#[test]
fn a_server_that_is_slow_is_waited_for() {
    let env = start(server("slow=2300"));
    assert_eq!(get(&env, "/nowhere")["statusCode"], 404);
    let log = env.function_log();
    assert!(
        log.contains("the server is not ready: GET http://127."),
        "{log}"
    );
    assert!(
        log.contains(" ms: no connection: Connection refused (os error 111)"),
        "{log}"
    );
}

#[test]
fn a_server_that_is_not_ready_in_time_is_an_init_error_that_says_why() {
    let table = [
        ("never", "http", "no connection: Connection refused"),
        ("never", "tcp", "no connection: Connection refused"),
        ("closes", "http", " ms: connection "),
        ("silent", "http", "no response"),
        (
            "unhealthy",
            "http",
            "status 503, which is not a healthy one",
        ),
    ];
    for (how, protocol, expected) in table {
        let mut config = server(how);
        set(&mut config, "AWS_LWA_READINESS_CHECK_TIMEOUT_SECONDS", "1");
        set(&mut config, "AWS_LWA_READINESS_CHECK_PROTOCOL", protocol);
        let env = start(config);
        let (recorded, document) = env.fail("{}");
        assert_eq!(recorded, "Function.ServerNotReady", "{how}");
        let message = document["errorMessage"].as_str().unwrap();
        assert!(
            message.starts_with("the server is not ready: "),
            "{message}"
        );
        assert!(message.contains(expected), "{message}");
        assert!(message.contains(" failed after 1"), "{message}");
    }
}

#[test]
fn a_server_that_ends_before_it_is_ready_is_an_init_error_with_its_words() {
    let env = start(server("exit"));
    let (recorded, document) = env.fail("{}");
    assert_eq!(recorded, "Function.ExitStatus");
    let message = document["errorMessage"].as_str().unwrap();
    assert!(
        message.contains(" ms: the server ended with exit status: 3: "),
        "{message}"
    );
    assert!(message.ends_with("cannot reach the database"), "{message}");
}

#[test]
fn the_head_of_a_response_says_that_a_server_is_ready() {
    for mode in ["buffered", "response_stream"] {
        // A body that never ends, and one over the limit.
        for path in ["/trickle", "/large?7000000"] {
            let mut config = server("");
            set(&mut config, "AWS_LWA_INVOKE_MODE", mode);
            set(&mut config, "AWS_LWA_READINESS_CHECK_PATH", path);
            set(&mut config, "AWS_LWA_READINESS_CHECK_TIMEOUT_SECONDS", "5");
            let env = start(config);
            let outcome = env.invoke(event("GET", "/nowhere")).unwrap();
            assert_eq!(outcome.function_error, None, "{mode} {path}");
        }
    }
}

#[test]
fn a_server_that_listens_is_ready_by_tcp_whatever_it_answers() {
    let mut config = server("unhealthy");
    set(&mut config, "AWS_LWA_READINESS_CHECK_PROTOCOL", "tcp");
    let env = start(config);
    assert_eq!(get(&env, "/")["statusCode"], 503);
}

#[test]
fn the_first_event_waits_for_a_server_that_was_not_ready_in_the_init_phase() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = named_pipe(folder.path());
    let mut config = server("asked");
    // The runtime ends the init phase by itself: the platform does not come before it, however busy
    // the machine is, nor before the answer.
    config.init_timeout = Duration::from_secs(60);
    config.timeout = Duration::from_secs(60);
    set(&mut config, "AWS_LWA_ASYNC_INIT", "true");
    set(&mut config, "PIPE", pipe.to_str().unwrap());
    let env = start(config);
    env.prepare().unwrap();
    thread::scope(|scope| {
        let response = scope.spawn(|| get(&env, "/nowhere"));
        let is_sent = |what: &What| matches!(what, What::EventSent { .. });
        let sent = env.wait_until("the event", |entries| count(entries, is_sent) == 1);
        sent.unwrap();
        fs::write(&pipe, "now").unwrap();
        assert_eq!(response.join().unwrap()["statusCode"], 404);
    });
    assert_eq!(env.spawned(), 1);
}

#[test]
fn a_setting_that_means_nothing_is_an_init_error() {
    let mut config = server("");
    set(&mut config, "AWS_LWA_PORT", "eighty");
    let (recorded, document) = start(config).fail("{}");
    assert_eq!(recorded, "Runtime.InvalidSetting");
    let expected = "AWS_LWA_PORT is \"eighty\", expected a port from 1 to 65535";
    assert_eq!(document["errorMessage"], expected);
}

fn streaming() -> Config {
    let mut config = server("");
    set(&mut config, "AWS_LWA_INVOKE_MODE", "response_stream");
    config
}

/// A streamed response: the prelude, and the body.
fn stream(env: &Env, method: &str, target: &str) -> (Value, Vec<u8>) {
    let outcome = env.invoke(event(method, target)).unwrap();
    assert_eq!(outcome.function_error, None, "{target}");
    assert!(outcome.streamed);
    let end = outcome.body.windows(8).position(|bytes| bytes == [0; 8]);
    let (prelude, body) = outcome.body.split_at(end.unwrap());
    (serde_json::from_slice(prelude).unwrap(), body[8..].to_vec())
}

#[test]
fn responses_are_streamed_with_a_prelude() {
    let env = start(streaming());
    let (prelude, body) = stream(&env, "GET", "/cookies");
    let expected = json!({
        "statusCode": 200, "headers": {"Content-Length": "0"}, "cookies": ["a=1", "b=2; Path=/"],
    });
    assert_eq!((prelude, body), (expected, vec![]));
    let table: [(&str, &str, u16, &[u8]); 8] = [
        ("GET", "/chunked", 200, b"abcdefg"),
        ("GET", "/binary", 200, b"\x89PNG\0\xff"),
        ("GET", "/no-content", 204, b""),
        ("GET", "/not-modified", 304, b""),
        ("GET", "/until-close", 200, b"all of it"),
        ("GET", "/nowhere", 404, b"not here"),
        ("HEAD", "/large?7000000", 200, b""),
        ("GET", "/large?3000000", 200, &[b'x'; 3_000_000]),
    ];
    for (method, target, status, expected) in table {
        let (prelude, body) = stream(&env, method, target);
        assert_eq!(prelude["statusCode"], status, "{target}");
        assert!(body == expected, "{target}: {} bytes", body.len());
    }
    assert_eq!(env.spawned(), 1);
}

#[test]
fn what_is_no_http_request_is_streamed_as_it_is() {
    let env = start(streaming());
    let outcome = env.invoke(r#"{"an":"event"}"#).unwrap();
    assert!(outcome.streamed);
    let seen: Value = serde_json::from_slice(&outcome.body).unwrap();
    assert_eq!(seen["target"], "/events");
}

#[test]
fn a_stream_that_goes_wrong_midway_is_an_error() {
    let mut config = ending_by_itself(streaming(), 4);
    set(&mut config, "AWS_LWA_ERROR_STATUS_CODES", "503");
    let env = start(config);
    let table = [
        (
            "/cut",
            "Function.ConnectionLost",
            "connection closed before a message",
        ),
        (
            "/half",
            "Function.ConnectionLost",
            "connection closed inside a message",
        ),
        ("/die-midway", "Function.ExitStatus", "exit status: 7: "),
        (
            "/end-until-close?7",
            "Function.ExitStatus",
            "exit status: 7",
        ),
        (
            "/hang",
            "Function.Timeout",
            "killed shortly before the deadline",
        ),
        (
            "/status?503",
            "Function.HttpStatus",
            r#"{"statusCode":503,"body":"no\"t good"}"#,
        ),
    ];
    for (target, error_type, expected) in table {
        let (recorded, message) = fail(&env, target);
        assert_eq!(recorded, error_type, "{target}: {message}");
        assert!(message.contains(expected), "{target}: {message}");
        let (prelude, _) = stream(&env, "GET", "/nowhere");
        assert_eq!(prelude["statusCode"], 404, "after {target}");
    }
}

#[test]
fn a_server_that_hangs_inside_a_streamed_body_is_ended() {
    let env = start(ending_by_itself(streaming(), 4));
    let process = || {
        let (_, body) = stream(&env, "GET", "/counts");
        let [.., process]: [u64; 3] = serde_json::from_slice(&body).unwrap();
        process
    };
    let before = process();
    let (recorded, message) = fail(&env, "/hang-midway");
    assert_eq!(recorded, "Function.Timeout", "{message}");
    let killed = "killed shortly before the deadline";
    assert!(message.contains(killed), "{message}");
    assert_ne!(process(), before);
}

#[test]
fn a_server_error_that_counts_as_a_success_is_a_warning() {
    for mode in ["buffered", "response_stream"] {
        let mut config = server("");
        set(&mut config, "AWS_LWA_INVOKE_MODE", mode);
        set(&mut config, "AWS_LWA_PASS_THROUGH_PATH", "/status?503");
        let env = start(config);
        let outcome = env.invoke(r#"{"an":"event"}"#).unwrap();
        assert_eq!(outcome.function_error, None, "{mode}");
        env.wait_for_log(
            "the server answered 503 to an event that is not an HTTP request, which counts as a \
             success: AWS_LWA_ERROR_STATUS_CODES makes it an error",
        );
    }
}

#[test]
fn a_status_that_is_an_error_is_one_to_head_too() {
    for mode in ["buffered", "response_stream"] {
        let mut config = ending_by_itself(server(""), 4);
        set(&mut config, "AWS_LWA_INVOKE_MODE", mode);
        set(&mut config, "AWS_LWA_ERROR_STATUS_CODES", "200");
        // The length in the head is that of the response to GET.
        let (recorded, document) = start(config).fail(&event("HEAD", "/large?5"));
        assert_eq!(recorded, "Function.HttpStatus", "{mode}: {document}");
        assert_eq!(document["errorMessage"], r#"{"statusCode":200,"body":""}"#);
    }
}

#[test]
fn a_large_stream_takes_little_memory() {
    let env = start(streaming());
    let (_, body) = stream(&env, "GET", "/large?5");
    assert_eq!(body, b"xxxxx");
    let pid = env.transcript().iter().find_map(|entry| match entry.what {
        What::Spawned { pid, .. } => Some(pid),
        _ => None,
    });
    let pid = pid.unwrap();
    let before = testkit::process::status(pid).vmhwm.unwrap();
    let (_, body) = stream(&env, "GET", "/large?6000000");
    assert_eq!(body.len(), 6_000_000);
    let after = testkit::process::status(pid).vmhwm.unwrap();
    assert!(after < before + 1_024, "{before} kB, {after} kB after it");
}

#[test]
fn in_a_container_the_command_line_is_the_server() {
    let program = example_path("http_server");
    let table: [&[&str]; 3] = [
        &["sh", "-c", "exec \"$0\"", program.to_str().unwrap()],
        &[program.to_str().unwrap(), "--ignored"],
        // From the task root, where it is not below the working directory.
        &["serve.sh", program.to_str().unwrap()],
    ];
    for command in table {
        let mut config = server("");
        config.handler = "unused".to_owned();
        config.args = command.iter().map(|word| (*word).to_owned()).collect();
        let env = start(config);
        assert_eq!(get(&env, "/nowhere")["statusCode"], 404, "{command:?}");
    }
    let mut config = server("");
    config.args = vec!["no-such-server".to_owned()];
    let (recorded, document) = start(config).fail("{}");
    assert_eq!(recorded, "Runtime.HandlerNotFound");
    let message = document["errorMessage"].as_str().unwrap();
    assert!(
        message.contains("/usr/bin/no-such-server (not found)"),
        "{message}"
    );
}

#[test]
fn as_the_wrapper_of_a_managed_runtime_it_takes_its_place() {
    let mut config = server("");
    config.env.retain(|(name, _)| name != "BANTAM_HANDLER_MODE");
    set(&mut config, "AWS_LAMBDA_EXEC_WRAPPER", "/opt/bootstrap");
    config.argv0 = "/opt/bootstrap".to_owned();
    config.args = vec![
        "/var/lang/bin/node".to_owned(),
        "/var/runtime/index.mjs".to_owned(),
    ];
    let env = start(config);
    assert_eq!(get(&env, "/nowhere")["statusCode"], 404);
}

#[test]
fn a_server_of_http_1_0_in_another_language_is_one_like_any() {
    let mut config = server("");
    let host = config.env.iter().find(|(name, _)| name == "AWS_LWA_HOST");
    let host = host.unwrap().1.clone();
    let words = ["python3", "-m", "http.server", "8080", "--bind", &host];
    config.args = words.map(str::to_owned).to_vec();
    let env = start(config);
    let response = get(&env, "/handler.sh");
    assert_eq!(response["statusCode"], 200);
    let script = include_str!("../../fixtures/handler.sh");
    let content_type = response["headers"]["Content-type"].as_str().unwrap();
    let body = response["body"].as_str().unwrap();
    if response["isBase64Encoded"] == true {
        assert!(!content_type.starts_with("text/"), "{content_type}");
    } else {
        assert_eq!(body, script);
    }
    assert_eq!(get(&env, "/no-such-file")["statusCode"], 404);
    assert!(
        env.function_log()
            .contains("\"GET /handler.sh HTTP/1.1\" 200")
    );
}

#[test]
fn a_server_gets_time_to_end_when_the_environment_does() {
    for script in ["graceful.sh", "bare.sh"] {
        let mut config = server("");
        let program = config.handler.clone();
        config.args = vec![script.to_owned(), program];
        let env = start(config);
        assert_eq!(get(&env, "/nowhere")["statusCode"], 404);
        env.wait_for_polls(1);
        let report = env.stop();
        let lines: Vec<&str> = report.log.iter().map(|line| &*line.text).collect();
        assert!(
            lines.contains(&"closing the database"),
            "{script}: {lines:?}"
        );
    }
}

#[test]
fn a_server_that_ends_with_the_environment_is_no_init_error() {
    for config in [server("never"), managed("never")] {
        let env = start(config);
        thread::scope(|scope| {
            let prepared = scope.spawn(|| env.prepare());
            env.wait_for_log("to standard error");
            let pid = i32::try_from(env.environments()[0].pid.unwrap()).unwrap();
            kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
            prepared.join().unwrap().unwrap_err();
        });
        let report = env.stop();
        let reported = |what: &What| matches!(what, What::Request { path, .. } if path.ends_with("/init/error"));
        assert_eq!(count(&report.transcript, reported), 0);
        assert_eq!(exits(&report.transcript), [Some(0)]);
    }
}

/// The server of the tests behind several workers.
fn managed(how: &str) -> Config {
    let mut config = ending_by_itself(server(how), 5);
    config.initialization = Initialization::ManagedInstances;
    config.max_concurrency = WORKERS;
    config
}

/// Starts it, and waits until every worker asks for an event.
fn started(config: Config) -> Env {
    let env = start(config);
    env.prepare().unwrap();
    env.wait_for_polls(WORKERS);
    env
}

/// Asks for these at once.
fn at_once(env: &Env, targets: &[&str]) -> Vec<Outcome> {
    thread::scope(|scope| {
        let mut asked = Vec::new();
        for target in targets {
            let event = event("GET", target);
            asked.push(scope.spawn(|| env.invoke(event).unwrap()));
        }
        let outcomes = asked.into_iter().map(|outcome| outcome.join().unwrap());
        outcomes.collect()
    })
}

/// The error of an invocation, of which the platform has one.
fn only_error(env: &Env, outcome: &Outcome) -> (String, String) {
    let error = outcome.function_error.as_ref().expect("a function error");
    assert_eq!(answers(env, outcome), 1);
    let document: Value = serde_json::from_slice(&error.body).unwrap();
    let message = document["errorMessage"].as_str().unwrap();
    (error.error_type.clone(), message.to_owned())
}

/// The process id of the server.
fn server_process(env: &Env) -> u64 {
    let counts = get(env, "/counts")["body"].clone();
    let counts: [u64; 3] = serde_json::from_str(counts.as_str().unwrap()).unwrap();
    counts[2]
}

fn body(outcome: &Outcome) -> Value {
    assert_eq!(outcome.function_error, None);
    let response: Value = serde_json::from_slice(&outcome.body).unwrap();
    response["body"].clone()
}

#[test]
fn the_workers_of_managed_instances_have_one_server() {
    let mut config = managed("");
    set(&mut config, "PORT", "8090");
    let env = started(config);
    // Each waits for the others: were they one after the other, they would wait for ever.
    let outcomes = at_once(&env, &["/together?4"; WORKERS]);
    assert!(outcomes.iter().all(|outcome| body(outcome) == "all"));
    let all = |target| (0..WORKERS).map(move |_| get(&env, target)["body"].clone());
    assert!(all("/port").all(|port| port == "8090"));
    let env = started(managed(""));
    let processes: BTreeSet<u64> = (0..WORKERS).map(|_| server_process(&env)).collect();
    assert_eq!(processes.len(), 1);
    assert_eq!(env.spawned(), 1);
}

#[test]
fn a_worker_past_its_deadline_leaves_the_server_to_its_neighbours() {
    for mode in ["buffered", "response_stream"] {
        let mut config = managed("");
        set(&mut config, "AWS_LWA_INVOKE_MODE", mode);
        let env = started(config);
        let count = |env: &Env| {
            let outcome = env.invoke(event("GET", "/counts")).unwrap();
            let text = String::from_utf8(outcome.body).unwrap();
            let process = text.rsplit(',').next().unwrap().to_owned();
            process.split(']').next().unwrap().to_owned()
        };
        let before = count(&env);
        let outcomes = at_once(&env, &["/hang", "/sleep?1000", "/sleep?2500"]);
        let (error_type, message) = only_error(&env, &outcomes[0]);
        assert_eq!(error_type, "Function.Timeout", "{message}");
        assert!(message.ends_with(" ms: no response"), "{message}");
        for neighbour in &outcomes[1..] {
            assert_eq!(neighbour.function_error, None);
        }
        assert_eq!(count(&env), before, "{mode}: the server is the same");
        env.wait_for_polls(WORKERS);
    }
}

#[test]
fn a_connection_that_may_not_be_idle_ends_behind_its_response() {
    // Here the log of the server is read between events, too.
    let mut config = managed("tells");
    let idle = ("AWS_LWA_POOL_IDLE_TIMEOUT_SECONDS", "0");
    config.env.push((idle.0.to_owned(), idle.1.to_owned()));
    let env = started(config);
    // The first asked whether the server is ready.
    for connections in 2..=4 {
        get(&env, "/");
        env.wait_for_log_times("a connection ended", connections);
    }
}

#[test]
fn when_the_server_dies_each_request_fails_once_and_it_is_started_again() {
    let env = started(managed(""));
    let before = server_process(&env);
    let outcomes = at_once(&env, &["/hang", "/hang", "/die-of?2"]);
    for outcome in &outcomes {
        let (error_type, message) = only_error(&env, outcome);
        assert_eq!(error_type, "Function.ExitStatus", "{message}");
        let expected = "the server ended with exit status: 7: ";
        assert!(message.contains(expected), "{message}");
        assert!(message.ends_with("\nout of luck"), "{message}");
    }
    // Nothing of the next event has reached the one that died, so it waits for the new one.
    assert_ne!(server_process(&env), before);
    env.wait_for_log("out of luck");
    env.wait_for_log(
        "the keeper of the server ended with exit status: 1; it is started again in 0",
    );
    env.wait_for_polls(WORKERS);
    assert_eq!(env.spawned(), 1, "the environment goes on");
}

#[test]
fn a_server_that_ended_between_events_fails_no_invocation() {
    let env = started(managed(""));
    for times in 1..=5 {
        let before = server_process(&env);
        assert_eq!(get(&env, "/die-after")["body"], "last words");
        // Until then it may take one more request.
        env.wait_for_log_times("the server ended with exit status: 0", times);
        assert_ne!(server_process(&env), before);
    }
}

#[test]
fn a_keeper_that_is_killed_takes_its_server_along_and_both_are_replaced() {
    let env = started(managed(""));
    let before = server_process(&env);
    let server = u32::try_from(before).unwrap();
    let keeper = Pid::from_raw(testkit::process::status(server).ppid);
    let outcome = thread::scope(|scope| {
        let asked = scope.spawn(|| env.invoke(event("GET", "/hang")).unwrap());
        env.wait_for_log("one more hangs");
        kill_process(keeper.unwrap(), Signal::KILL).unwrap();
        asked.join().unwrap()
    });
    let (_, message) = only_error(&env, &outcome);
    assert!(
        message.contains("signal: 9 (SIGKILL)") || message.contains("no connection"),
        "{message}"
    );
    assert_ne!(server_process(&env), before);
    assert_eq!(env.spawned(), 1);
}

#[test]
fn a_server_that_is_never_ready_is_one_init_error_with_its_words() {
    let env = start(managed("exit"));
    env.prepare().unwrap_err();
    let report = env.stop();
    let errors = report
        .transcript
        .iter()
        .filter_map(|entry| match &entry.what {
            What::Request { path, body, .. } if path.ends_with("/init/error") => Some(body),
            _ => None,
        });
    let errors: Vec<_> = errors.map(|body| String::from_utf8_lossy(body)).collect();
    let [error] = &*errors else {
        panic!("{errors:?}");
    };
    let words = ["exit status: 3", "cannot reach the database"];
    assert!(words.iter().all(|word| error.contains(word)), "{error}");
}

#[test]
fn the_environment_ends_when_the_server_cannot_be_started_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("server");
    let mut config = managed("");
    fs::copy(&config.handler, &program).unwrap();
    config.handler = program.to_str().unwrap().to_owned();
    config.timeout = Duration::from_secs(10);
    let env = started(config);
    fs::remove_file(&program).unwrap();
    let outcome = env.invoke(event("GET", "/die")).unwrap();
    assert_eq!(only_error(&env, &outcome).0, "Function.ExitStatus");
    // While it is tried again, invocations fail with what is known.
    let outcome = env.invoke(event("GET", "/counts")).unwrap();
    let (error_type, message) = only_error(&env, &outcome);
    assert_eq!(error_type, "Function.ServerNotReady", "{message}");
    assert!(message.contains("it could not be started"), "{message}");
    let reason = "it could not be started: handler ";
    assert!(message.contains(reason), "{message}");
    let exited = |what: &What| {
        matches!(
            what,
            What::Exited {
                code: Some(1),
                signal: None
            }
        )
    };
    let is_over = |entries: &[Entry]| count(entries, exited) == 1;
    env.wait_until("end", is_over).unwrap();
    env.wait_for_log("the server of the workers cannot be started");
}

#[test]
fn the_server_of_the_workers_gets_sigterm_once() {
    for script in ["graceful.sh", "bare.sh"] {
        let mut config = managed("");
        let program = config.handler.clone();
        config.args = vec![script.to_owned(), program];
        let env = started(config);
        assert_eq!(get(&env, "/nowhere")["statusCode"], 404);
        let report = env.stop();
        let said = |line: &&LogLine| line.text.contains("closing the database");
        assert_eq!(report.log.iter().filter(said).count(), 1);
    }
}

const WORKERS: usize = 4;

/// `examples/web_server.py`.
fn example() -> Config {
    let mut config = server("");
    config.task_root = fixtures().join("../../examples");
    config.handler = "web_server.py".to_owned();
    config
}

#[test]
fn the_example_serves_requests_and_events() {
    let env = start(example());
    assert_eq!(get(&env, "/?name=Lambda")["body"], "hello Lambda\n");
    assert_eq!(
        get(&env, "/count")["body"],
        "data: 1\n\ndata: 2\n\ndata: 3\n\n"
    );
    let messages = env.respond(include_str!("../../fixtures/http/sqs.json"));
    assert_eq!(messages, json!({"batchItemFailures": []}));
    assert!(env.function_log().contains(" has 1 messages\n"));
    let report = env.stop();
    assert!(
        report
            .log
            .iter()
            .any(|line| line.text == "the environment ends")
    );
}

#[test]
fn a_function_url_gets_the_parts_of_a_stream_as_the_server_makes_them() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = named_pipe(folder.path());
    let mut config = streaming();
    config.url_invoke_mode = UrlInvokeMode::ResponseStream;
    set(&mut config, "PIPE", pipe.to_str().unwrap());
    let env = start(config);
    let mut caller = Client::connect(env.invoke_addr());
    caller.send("GET", "/events-stream?a=b%20c", &[], b"");
    let head = caller.head().unwrap();
    assert_eq!(head.status, 200);
    assert_eq!(head.header("Content-Type"), Some("text/event-stream"));
    assert_eq!(head.header("Set-Cookie"), Some("a=1"));
    // The server makes the second part when the caller has the first.
    assert_eq!(caller.chunk().unwrap().unwrap(), b"data: 1\n\n");
    fs::write(&pipe, "on").unwrap();
    assert_eq!(caller.chunk().unwrap().unwrap(), b"data: 2\n\n");
    assert_eq!(caller.chunk().unwrap(), None);
}

#[test]
fn a_function_url_is_the_server_itself() {
    let env = start(server(""));
    let mut caller = Client::connect(env.invoke_addr());
    let cookies = caller.get("/cookies");
    let cookies: Vec<&str> = cookies
        .headers
        .iter()
        .filter_map(|(name, value)| name.eq_ignore_ascii_case("set-cookie").then_some(&**value))
        .collect();
    assert_eq!(cookies, ["a=1", "b=2; Path=/"]);
    assert_eq!(caller.get("/binary").body, b"\x89PNG\0\xff");
    let seen = caller
        .post("/echo?a=b%20c&a=d", &[("X-Own", "1")], b"\0\xff")
        .json();
    assert_eq!(seen["target"], "/echo?a=b%20c&a=d");
    assert_eq!(seen["headers"]["x-own"], "1");
    assert_eq!(seen["headers"]["content-length"], "2");
}

#[test]
fn a_server_is_told_of_the_snapshot_and_of_the_restore() {
    let snap_start = |before: &str, after: &str| {
        let mut config = server("");
        config.initialization = Initialization::SnapStart;
        set(
            &mut config,
            "AWS_LWA_SNAPSTART_BEFORE_CHECKPOINT_PATH",
            before,
        );
        set(&mut config, "AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH", after);
        config
    };
    let env = start(snap_start("/echo/before", "/echo/after"));
    let counts = get(&env, "/counts")["body"].as_str().unwrap().to_owned();
    let counts: Vec<u32> = serde_json::from_str(&counts).unwrap();
    // The check of the start, the two hooks, the check after the restore and this request.
    assert_eq!(counts[1], 5, "{counts:?}");
    for hook in ["/echo/before", "/echo/after?x", "/echo//%61fter;v=1"] {
        assert_eq!(
            get(&env, hook)["statusCode"],
            403,
            "a hook is not for callers"
        );
    }
    assert_eq!(get(&env, "/echo")["statusCode"], 200);

    let env = start(snap_start("/status?500", ""));
    let error = env.prepare().unwrap_err().to_string();
    assert!(
        error.contains("Function.") || error.contains("init"),
        "{error}"
    );
    env.wait_for_log("POST http://127.");
}

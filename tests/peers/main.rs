//! Bantam under programs that nobody here wrote: AWS's Runtime Interface Emulator (RIE), and
//! `cargo lambda watch`.
//!
//! `.ci/peers` installs them; then `cargo test --test peers -- --ignored`.
//! The same cases run under both, and once more under RIE with the extension beside the function.
//! A case that only one of them can show is a test of its own.
//! Other programs read what the extension exports, AWS Lambda Web Adapter runs the web server that
//! the stock binary runs, and a browser reads what a function streams.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test ends where something is not as expected"
)]

mod browser;
mod cargo_lambda;
mod cases;
mod extension;
mod otlp;
mod peer;
mod programs;
mod rie;
mod rotel;
mod web_adapter;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use serde_json::json;
use tempfile::tempdir_in;
use testkit::pipe::named_pipe;

use crate::cargo_lambda::CargoLambda;
use crate::cases::{EVENT_BYTES_MAX, check_process};
use crate::peer::{Function, Peer as _};
use crate::rie::{Rie, RieWithExtension};

macro_rules! under_all {
    ($($case:ident)*) => {
        mod under_rie {
            $(#[test]
            #[ignore = "needs .ci/peers"]
            fn $case() { crate::cases::$case::<crate::rie::Rie>() })*
        }
        mod under_rie_with_the_extension {
            $(#[test]
            #[ignore = "needs .ci/peers"]
            fn $case() { crate::cases::$case::<crate::rie::RieWithExtension>() })*
        }
        mod under_cargo_lambda {
            $(#[test]
            #[ignore = "needs .ci/peers"]
            fn $case() { crate::cases::$case::<crate::cargo_lambda::CargoLambda>() })*
        }
    };
}

under_all! {
    apigw_answers_with_query_path_and_request_id
    sqs_batch_names_the_messages_that_failed
    raw_echoes_every_event
    an_executable_is_run_for_every_event
    a_persistent_executable_is_run_once
    an_event_at_the_limit_is_echoed
    a_response_over_the_limit_is_an_error
    a_malformed_event_is_a_function_error
    errors_of_a_handler_are_reported
    a_panic_is_reported_and_the_next_invocation_served
    a_hundred_warm_invocations_in_one_process
}

#[test]
#[ignore = "needs .ci/peers"]
fn rie_context_is_what_it_was_started_with() {
    let mut peer =
        Rie::start(Function::example("faulty").variable("AWS_LAMBDA_FUNCTION_NAME", "f"));
    let context = peer.invoke(br#"{"do":"context"}"#).json();
    assert_eq!(context["requestId"], peer.request_id());
    assert_eq!(
        context["arn"],
        "arn:aws:lambda:us-east-1:012345678912:function:f"
    );
    assert_eq!(context["name"], "f");
    assert_eq!(context["version"], "$LATEST");
    assert_eq!(context["memoryMb"], 3008);
    assert_eq!(context["remaining"], true);
    assert_eq!(context["traceId"], json!(null));
    assert_eq!(context["traceVariable"], json!(null));
    assert_eq!(context["clientContext"], json!(null));
}

/// It takes a streamed response whole, and does not tell the caller of the error behind it.
#[test]
#[ignore = "needs .ci/peers"]
fn rie_takes_streamed_responses_and_their_trailers() {
    let mut peer = Rie::start(Function::example("faulty"));
    let before = peer.invoke(br#"{"do":"process"}"#).json();
    for text in ["", "one"] {
        let event = format!(r#"{{"stream":["{text}","two"],"end":"finish"}}"#);
        assert_eq!(peer.invoke(event.as_bytes()).text(), format!("{text}two"));
    }
    // The trailers of the second are as long as they become, which its server must take.
    for end in ["chosen", "long"] {
        let event = format!(r#"{{"stream":["one"],"end":"{end}"}}"#);
        assert_eq!(peer.invoke(event.as_bytes()).text(), "one");
    }
    check_process(&peer.invoke(br#"{"do":"process"}"#).json(), &before, 2);
    let log = peer.log();
    assert!(log.contains("OutOfMoney: no money"), "{log}");
    assert!(!log.contains("the API answered"), "{log}");
    let event = r#"{"stream":["one"],"end":"panic"}"#;
    assert_eq!(peer.invoke(event.as_bytes()).text(), "one");
    check_process(&peer.invoke(br#"{"do":"process"}"#).json(), &before, 1);
    assert_eq!(peer.inits(), 1);
}

/// The stock binary with a script, and with a web server, whose responses are streamed. The number
/// is the end of the server's address, of which no other test makes use.
fn streaming(host: u8) -> [(Function, &'static str, &'static str); 2] {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/sse.sh");
    let script = Function::stock(script).variable("BANTAM_INVOKE_MODE", "response_stream");
    // Every address of 127.0.0.0/8 is this machine.
    let id = std::process::id().to_be_bytes();
    let host = format!("127.{}.{}.{host}", id[2], id[3]);
    let server = Function::stock(programs::path("http_server").to_str().unwrap())
        .variable("BANTAM_HANDLER_MODE", "http")
        .variable("AWS_LWA_HOST", &host)
        .variable("AWS_LWA_INVOKE_MODE", "response_stream");
    let get =
        r#"{"rawPath":"/chunked","rawQueryString":"","requestContext":{"http":{"method":"GET"}}}"#;
    [(script, "{}", "data: 3\n\n"), (server, get, "abcdefg")]
}

#[test]
#[ignore = "needs .ci/peers"]
fn rie_takes_the_streams_of_executables_and_web_servers() {
    for (function, event, end) in streaming(196) {
        let mut peer = Rie::start(function);
        for _ in 0..2 {
            let text = peer.invoke(event.as_bytes()).text();
            assert!(text.ends_with(end), "{text}");
        }
        assert_eq!(peer.inits(), 1);
        assert!(!peer.log().contains("the API answered"), "{}", peer.log());
    }
}

/// On its Managed Instances: streams, responses and errors of every form of a handler, at once.
#[test]
#[ignore = "needs .ci/peers"]
fn rie_takes_answers_at_once() {
    let [script, (server, get, body)] = streaming(198);
    let buffered =
        streaming(197).map(|(function, ..)| function.variable("AWS_LWA_INVOKE_MODE", "buffered"));
    let [_, buffered] = buffered;
    let hello = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/hello.sh");
    let persistent = programs::path("persistent").to_str().unwrap();
    let persistent = Function::stock(persistent).variable("BANTAM_HANDLER_MODE", "persistent");
    let rust = [
        (r#"{"stream":["one","two"],"end":"finish"}"#, "onetwo"),
        (r#"{"do":"echo","value":7}"#, "7"),
        (r#"{"do":"chosen"}"#, r#""errorType":"OutOfMoney""#),
        (r#"{"do":"panic","message":"boom"}"#, ": boom"),
    ];
    let rust = rust.map(|(event, text)| (Function::example("faulty"), event, text));
    let executables = [
        script,
        (server, get, body),
        (buffered, get, r#""body":"abcdefg""#),
        (Function::stock(hello), "{}", r#""bytes":2}"#),
        (persistent, "{}", r#"{"bytes":2,"count":"#),
    ];
    for (function, event, expected) in rust.into_iter().chain(executables) {
        let peer = Rie::start_managed(function, 4);
        for _ in 0..3 {
            for reply in peer.invoke_at_once(&vec![event.to_owned(); 4]) {
                let text = reply.text();
                assert!(text.contains(expected), "{text}\n{}", peer.log());
            }
        }
        assert!(!peer.log().contains("the API answered"), "{}", peer.log());
    }
}

/// It takes every streamed response for one with a prelude.
#[test]
#[ignore = "needs .ci/peers"]
fn cargo_lambda_takes_streamed_http_responses() {
    let mut peer = CargoLambda::start(Function::example("sse"));
    let event = |path: &str| format!(r#"{{"rawPath":"{path}"}}"#);
    let reply = peer.invoke(event("/events").as_bytes());
    assert_eq!(reply.status, 200);
    assert!(
        reply.text().ends_with("event: done\ndata: lift-off\n\n"),
        "{}",
        reply.text()
    );
    assert!(
        peer.invoke(event("/").as_bytes())
            .text()
            .contains("<!DOCTYPE html>")
    );
}

#[test]
#[ignore = "needs .ci/peers"]
fn rie_hands_the_init_error_to_the_caller() {
    let missing = Function::stock("missing.sh");
    let mut peer = Rie::start(missing);
    let reply = peer.invoke(b"{}");
    assert_eq!(reply.status, 502);
    let error = reply.json();
    assert_eq!(error["errorType"], "Runtime.HandlerNotFound");
    let message = error["errorMessage"].as_str().unwrap();
    assert!(
        message.contains("examples/missing.sh (not found)"),
        "{message}"
    );

    let failing = Function::example("faulty").variable("FAULTY_INIT", "error");
    let reply = Rie::start(failing).invoke(b"{}");
    assert_eq!(reply.status, 502);
    let expected = json!({"errorMessage": "no database", "errorType": "Error", "stackTrace": []});
    assert_eq!(reply.json(), expected);

    let panicking = Function::example("faulty").variable("FAULTY_INIT", "panic");
    let reply = Rie::start(panicking).invoke(b"{}");
    assert_eq!(reply.status, 502);
    assert_eq!(reply.json()["errorType"], "Function.Panic");
}

/// An RIE with the calls around a restore, and a function whose hooks misbehave like this.
fn rie_with_hooks(how: &str) -> Rie {
    let function = Function::example("hooks")
        .variable("HOOKS", how)
        .variable("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start")
        .variable("AWS_LAMBDA_FUNCTION_TIMEOUT", "1");
    Rie::start_with_restore(function)
}

/// The hooks that ran, and how often the Runtime API was called at the paths of a start.
fn hooks_and_calls(peer: &Rie) -> (String, [usize; 4]) {
    let log = peer.log();
    let hooks = log.lines().filter_map(|line| line.strip_prefix("hook "));
    let calls = [
        "init/error",
        "restore/next",
        "restore/error",
        "invocation/next",
    ];
    (
        hooks.collect::<Vec<_>>().join(", "),
        calls.map(|path| peer.calls(path)),
    )
}

/// It restores nothing: it answers `restore/next` with the first event, which is lost.
#[test]
#[ignore = "needs .ci/peers"]
fn rie_lets_hooks_run_around_the_place_of_a_restore() {
    let mut peer = rie_with_hooks("");
    let reply = peer.invoke(br#""go""#);
    assert_eq!(reply.text(), "Task timed out after 1.00 seconds");
    let hooks = "before 2, before 1, after 1, after 2, shutdown";
    assert_eq!(hooks_and_calls(&peer), (hooks.to_owned(), [0, 1, 0, 1]));
    assert!(!peer.has_refused());
}

#[test]
#[ignore = "needs .ci/peers"]
fn rie_hands_the_error_of_a_hook_before_the_snapshot_to_the_caller() {
    let mut peer = rie_with_hooks("before 1:fail");
    let reply = peer.invoke(br#""go""#);
    assert_eq!(reply.status, 502);
    let error =
        json!({"errorMessage": "the hook failed", "errorType": "Hook.Failed", "stackTrace": []});
    assert_eq!(reply.json(), error);
    let hooks = "before 2, before 1";
    assert_eq!(hooks_and_calls(&peer), (hooks.to_owned(), [1, 0, 0, 0]));
    assert!(!peer.has_refused());
}

/// It does not tell the caller of that error, but of the exit behind it.
#[test]
#[ignore = "needs .ci/peers"]
fn rie_takes_the_error_of_a_hook_after_the_restore() {
    let mut peer = rie_with_hooks("after 1:fail");
    let reply = peer.invoke(br#""go""#);
    assert_eq!(reply.status, 502);
    assert_eq!(reply.json()["errorType"], "Runtime.ExitError");
    let hooks = "before 2, before 1, after 1";
    assert_eq!(hooks_and_calls(&peer), (hooks.to_owned(), [0, 1, 1, 0]));
    assert!(peer.log().contains("Hook.Failed: the hook failed"));
    assert!(!peer.has_refused());
}

#[test]
#[ignore = "needs .ci/peers"]
fn rie_starts_a_process_that_exits_anew() {
    let mut peer = Rie::start(Function::example("faulty"));
    let first = peer.invoke(br#"{"do":"process"}"#).json();
    let reply = peer.invoke(br#"{"do":"exit","code":3}"#);
    assert_eq!(reply.status, 502);
    assert_eq!(reply.json()["errorType"], "Runtime.ExitError");
    let second = peer.invoke(br#"{"do":"process"}"#).json();
    assert_eq!(second["count"], 1);
    assert_ne!(second["pid"], first["pid"]);
    assert_eq!(peer.inits(), 2);
}

#[test]
#[ignore = "needs .ci/peers"]
fn rie_timeout_is_followed_by_a_new_process() {
    let function = Function::example("faulty").variable("AWS_LAMBDA_FUNCTION_TIMEOUT", "1");
    let mut peer = Rie::start(function);
    let reply = peer.invoke(br#"{"do":"sleep","ms":30000}"#);
    assert_eq!(reply.text(), "Task timed out after 1.00 seconds");
    let process = peer.invoke(br#"{"do":"process"}"#).json();
    assert_eq!(process["count"], 1);
}

#[test]
#[ignore = "needs .ci/peers"]
fn rie_gets_the_error_of_an_executable_before_its_timeout() {
    let folder = tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let script = folder.path().join("slow.sh");
    fs::write(&script, "#!/bin/sh\necho started >&2\nexec sleep 30\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let function =
        Function::stock(script.to_str().unwrap()).variable("AWS_LAMBDA_FUNCTION_TIMEOUT", "1");
    let mut peer = Rie::start(function);
    for _ in 0..2 {
        let error = peer.invoke(b"{}").json();
        assert_eq!(error["errorType"], "Function.Timeout");
        let message = error["errorMessage"].as_str().unwrap();
        assert!(
            message.ends_with("before the deadline: started"),
            "{message}"
        );
    }
    assert_eq!(peer.inits(), 1);
}

#[test]
#[ignore = "needs .ci/peers"]
fn rie_init_is_not_repeated_by_a_panic_on_any_thread() {
    let mut peer = Rie::start(Function::example("faulty"));
    let before = peer.invoke(br#"{"do":"process"}"#).json();
    for event in [
        br#"{"do":"panic","message":"once"}"#.as_slice(),
        br#"{"do":"thread-panic"}"#,
        br#"{"do":"two-panics"}"#,
    ] {
        let error = peer.invoke(event).json();
        assert_eq!(error["errorType"], "Function.Panic", "{error}");
        let after = peer.invoke(br#"{"do":"process"}"#).json();
        check_process(&after, &before, 1);
    }
    assert_eq!(peer.inits(), 1);
}

#[test]
#[ignore = "needs .ci/peers"]
fn rie_invocations_are_not_broken_by_a_panic_between_them() {
    let folder = tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let pipe = named_pipe(folder.path());
    let mut peer = Rie::start(Function::example("faulty"));
    let before = peer.invoke(br#"{"do":"process"}"#).json();
    let event = json!({"do": "late-panic", "pipe": pipe}).to_string();
    assert_eq!(peer.invoke(event.as_bytes()).text(), "null");
    fs::write(&pipe, "now").unwrap();
    peer.until_logged("Function.Panic: panicked at");
    for count in 1..=2 {
        let after = peer.invoke(br#"{"do":"process"}"#).json();
        check_process(&after, &before, count);
    }
    assert_eq!(peer.inits(), 1);
}

/// RIE answers a subscription with 202 and never delivers telemetry.
#[test]
#[ignore = "needs .ci/peers"]
fn rie_extension_measures_what_it_can_and_ends_with_0() {
    let mut peer = RieWithExtension::start(Function::example("faulty"));
    for count in 1..=3 {
        assert_eq!(peer.invoke(br#"{"do":"process"}"#).json()["count"], count);
    }
    assert_eq!(peer.inits(), 1);
    peer.until_logged("no telemetry is delivered here");
    peer.until_logged(r#""cold_start_kind":"on_demand""#);
    assert_eq!(peer.log().matches(r#""cold_starts":1"#).count(), 1);
    assert_eq!(peer.stop(), "0\n");
}

#[test]
#[ignore = "needs .ci/peers"]
fn rie_extension_ends_with_0_and_comes_back_after_a_timeout_and_a_crash() {
    let function = Function::example("faulty").variable("AWS_LAMBDA_FUNCTION_TIMEOUT", "1");
    let mut peer = RieWithExtension::start(function);
    let reply = peer.invoke(br#"{"do":"sleep","ms":30000}"#);
    assert_eq!(reply.text(), "Task timed out after 1.00 seconds");
    assert_eq!(peer.invoke(br#"{"do":"echo","value":1}"#).text(), "1");
    let reply = peer.invoke(br#"{"do":"exit","code":3}"#);
    assert_eq!(reply.json()["errorType"], "Runtime.ExitError");
    assert_eq!(peer.invoke(br#"{"do":"echo","value":2}"#).text(), "2");
    assert_eq!(peer.inits(), 3);
    assert_eq!(peer.stop(), "0\n0\n0\n");
}

/// RIE says `ReleaseFail` where Lambda says `failure`.
#[test]
#[ignore = "needs .ci/peers"]
fn rie_extension_knows_of_a_crash_and_of_a_failed_init_before_it() {
    let extension = programs::path("bantam");
    // By default the end of an environment is no line.
    let faulty = || Function::example("faulty").variable("BANTAM_EMF_METRICS", "all");
    let mut peer = RieWithExtension::start_with(extension, faulty());
    assert_eq!(peer.invoke(br#"{"do":"echo","value":1}"#).text(), "1");
    peer.until_logged(r#""cold_start_kind":"on_demand""#);
    let reply = peer.invoke(br#"{"do":"exit","code":3}"#);
    assert_eq!(reply.json()["errorType"], "Runtime.ExitError");
    assert_eq!(peer.invoke(br#"{"do":"echo","value":2}"#).text(), "2");
    peer.until_logged(r#""cold_start_kind":"reset_after_crash""#);
    let log = peer.log();
    assert!(log.contains(r#""shutdown_reason":"releasefail""#));
    assert_eq!(log.matches(r#""cold_starts":1"#).count(), 2);

    let failing = faulty().variable("FAULTY_INIT", "error");
    let mut peer = RieWithExtension::start_with(extension, failing);
    assert_eq!(peer.invoke(b"{}").status, 502);
    // The second extension is refused, because the name is taken.
    peer.until_logged(r#""shutdown_reason":"spindown""#);
    assert_eq!(peer.log().matches(r#""init_failures":1"#).count(), 1);
    assert_eq!(peer.log().matches(r#""cold_starts":1"#).count(), 0);
}

/// On its Managed Instances, the only place where it delivers telemetry.
#[test]
#[ignore = "needs .ci/peers"]
fn rie_extension_measures_managed_instances_by_telemetry() {
    let function = Function::example("faulty").variable("BANTAM_EMF_METRICS", "all");
    let mut peer = RieWithExtension::start_managed(function, 2);
    let echo = r#"{"do":"echo","value":1}"#.to_owned();
    for reply in peer.invoke_at_once(&vec![echo; 4]) {
        assert_eq!(reply.text(), "1");
    }
    let error = peer.invoke(br#"{"do":"chosen"}"#).json();
    assert_eq!(error["errorType"], "OutOfMoney");
    // It logs a report when it hands it on.
    peer.until_logged_times("REPORT RequestId: ", 5);
    assert_eq!(peer.stop(), "0\n");
    let log = peer.log();
    for text in [
        r#""cold_start_kind":"managed_instances","environment_starts":1,"init_duration":"#,
        r#""init_type":"lambda-managed-instances""#,
        r#""invocations":4,"#,
        r#""error_type":"Function.OutOfMoney","errors":1,"#,
        r#""shutdown_reason":"spindown","shutdowns":1,"#,
        r#""environment_invocations":5,"#,
    ] {
        assert_eq!(log.matches(text).count(), 1, "{text}: {log}");
    }
}

/// The extension executes itself again, and the function goes on beside it.
#[test]
#[ignore = "needs .ci/peers"]
fn rie_function_is_not_hurt_by_a_panic_of_the_extension() {
    let folder = tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let pipe = named_pipe(folder.path());
    let function = Function::example("faulty").variable("PIPE", pipe.to_str().unwrap());
    let mut peer = RieWithExtension::start_with(programs::path("faulty_extension"), function);
    for count in 1..=3 {
        assert_eq!(peer.invoke(br#"{"do":"process"}"#).json()["count"], count);
        // The answer of the function may come before the extension has read its event.
        peer.until_logged_times(r#""cold_starts":1"#, 1);
        fs::write(&pipe, "now").unwrap();
        peer.until_logged_times("as asked: Ok([110, 111, 119]); starting anew", count);
        // So says each program once it watches for panics.
        peer.until_logged_times("no telemetry is delivered here", count + 1);
    }
    // The first event may go to the connection of the program before; the second cannot.
    for count in 4..=5 {
        assert_eq!(peer.invoke(br#"{"do":"process"}"#).json()["count"], count);
    }
    assert_eq!(peer.inits(), 1);
    assert_eq!(peer.log().matches(r#""cold_starts":1"#).count(), 1);
    peer.stop();
    let log = peer.log();
    assert!(log.contains(r#""extension_restarts":3"#), "{log}");
}

#[test]
#[ignore = "needs .ci/peers"]
fn cargo_lambda_context_has_no_deadline_and_a_client_context_in_base64() {
    let peer = CargoLambda::start(Function::example("faulty"));
    let header = ("Lambda-Runtime-Client-Context", r#"{"custom":{"k":"v"}}"#);
    let context = peer.invoke_with(&[header], br#"{"do":"context"}"#).json();
    // The deadline lies in 1970, so it is unknown.
    assert_eq!(context["deadlineMs"], json!(null));
    assert_eq!(context["remaining"], false);
    assert_eq!(context["arn"], "function-arn");
    assert_eq!(context["clientContext"], "eyJjdXN0b20iOnsiayI6InYifX0=");
    let trace_id = context["traceId"].as_str().unwrap();
    assert!(trace_id.starts_with("Root=1-"), "{trace_id}");
    assert_eq!(context["traceVariable"], trace_id);
    assert_eq!(context["name"], json!(null));
    assert_eq!(context["memoryMb"], json!(null));
}

#[test]
#[ignore = "needs .ci/peers"]
fn cargo_lambda_turns_a_request_into_an_event_and_back() {
    let peer = CargoLambda::start(Function::example("apigw"));
    let reply = peer.get("/lambda-url/function/orders/7?name=grace");
    assert_eq!(reply.status, 200);
    let text = reply.text();
    assert!(
        text.starts_with("hello grace, this is /orders/7, request "),
        "{text}"
    );
}

#[test]
#[ignore = "needs .ci/peers"]
fn cargo_lambda_may_send_an_event_over_the_limit() {
    // RIE cuts such an event to the limit by itself.
    let mut peer = CargoLambda::start(Function::example("raw"));
    peer.send_too_large(&vec![b'7'; EVENT_BYTES_MAX + 1]);
    assert_eq!(peer.invoke(b"1").text(), "1");
    let log = peer.function().stderr();
    let expected = "Runtime.EventTooLarge: 6291557 bytes of body, limit 6291556\n";
    assert!(log.ends_with(expected), "{log}");
}

#[test]
#[ignore = "needs .ci/peers"]
fn cargo_lambda_init_error_ends_the_process_with_1() {
    let mut peer = CargoLambda::start(Function::stock("missing.sh"));
    let status = peer.function().exited_within(Duration::from_secs(20));
    assert_eq!(status.expect("exits by itself").code(), Some(1));
    let log = peer.function().stderr();
    assert!(log.contains("Runtime.HandlerNotFound"), "{log}");
}

#[test]
#[ignore = "needs .ci/peers"]
fn cargo_lambda_going_away_ends_the_process_with_1() {
    let mut peer = CargoLambda::start(Function::example("raw"));
    assert_eq!(peer.invoke(b"1").text(), "1");
    peer.stop_watch();
    let status = peer.function().exited_within(Duration::from_secs(20));
    assert_eq!(status.expect("exits by itself").code(), Some(1));
}

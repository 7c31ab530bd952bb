//! The Runtime API to the letter: the test is the runtime, on a plain socket.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use bantam_emulator::{Config, Emulator, Invoke, Outcome, State, What};
use testkit::http::{Client, Response};

use crate::support::{
    RuntimeClient as _, RuntimeResponse as _, attached, attached_with, count, error_of, idler, json,
};

/// Invokes on another thread while the test plays the runtime.
fn while_invoked<T>(emulator: &Emulator, invoke: Invoke, play: impl FnOnce() -> T) -> (Outcome, T) {
    thread::scope(|scope| {
        let invoked = scope.spawn(|| emulator.invoke_with(invoke).unwrap());
        let played = play();
        (invoked.join().unwrap(), played)
    })
}

/// Asks for the next event on a further connection and leaves the request open, which ends an
/// invocation.
fn ask_for_next(client: &mut Client) {
    client.send("GET", "/2018-06-01/runtime/invocation/next", &[], b"");
}

#[test]
fn next_has_every_header_in_its_spelling() {
    let (emulator, mut client) = attached();
    let invoke = Invoke {
        client_context: Some(r#"{"custom":{}}"#.into()),
        cognito_identity: Some(r#"{"cognitoIdentityId":"i"}"#.into()),
        tenant_id: Some("tenant".into()),
        trace_id: Some("Root=1-5759e988-bd862e3fe1be46a994272793".into()),
        qualifier: Some("live".into()),
        ..Invoke::new("{}")
    };
    let (outcome, next) = while_invoked(&emulator, invoke, || {
        let next = client.next();
        client.report(&next.request_id(), "response", &[], b"{}");
        ask_for_next(&mut client);
        next
    });
    assert_eq!(next.request_id(), outcome.request_id);
    let table = [
        (
            "Lambda-Runtime-Invoked-Function-Arn",
            "arn:aws:lambda:us-east-1:123456789012:function:function:live",
        ),
        (
            "Lambda-Runtime-Trace-Id",
            "Root=1-5759e988-bd862e3fe1be46a994272793",
        ),
        ("Lambda-Runtime-Client-Context", r#"{"custom":{}}"#),
        (
            "Lambda-Runtime-Cognito-Identity",
            r#"{"cognitoIdentityId":"i"}"#,
        ),
        ("Lambda-Runtime-Aws-Tenant-Id", "tenant"),
        ("Content-Type", "application/json"),
        ("Content-Length", "2"),
    ];
    for (name, value) in table {
        assert_eq!(next.header(name), Some(value), "{name}");
    }
    assert!(next.header("Lambda-Runtime-Invocation-Id").is_some());
    let deadline: u128 = next
        .header("Lambda-Runtime-Deadline-Ms")
        .unwrap()
        .parse()
        .unwrap();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
    assert!(deadline.abs_diff(now) < 60_000);
}

#[test]
fn headers_without_a_value_are_left_out_and_a_trace_is_made_up() {
    let (emulator, mut client) = attached();
    let (_, next) = while_invoked(&emulator, Invoke::new(""), || {
        let next = client.next();
        client.report(&next.request_id(), "response", &[], b"{}");
        ask_for_next(&mut client);
        next
    });
    for name in ["Client-Context", "Cognito-Identity", "Aws-Tenant-Id"] {
        assert_eq!(next.header(&format!("Lambda-Runtime-{name}")), None);
    }
    let trace = next.header("Lambda-Runtime-Trace-Id").unwrap();
    assert!(trace.starts_with("Root=1-") && trace.ends_with(";Sampled=0"));
    assert_eq!(next.body, b"{}", "an empty payload is an empty object");
}

#[test]
fn an_event_above_the_limit_is_one_chunk_without_a_length() {
    for (bytes, chunked) in [(2_048, false), (2_049, true), (1_000_000, true)] {
        let (emulator, mut client) = attached();
        let payload = format!("\"{}\"", "x".repeat(bytes - 2));
        while_invoked(&emulator, Invoke::new(payload), || {
            ask_for_next(&mut client);
            let mut headers = Vec::new();
            while let Ok(line) = client.line()
                && !line.is_empty()
            {
                headers.push(line);
            }
            let has = |name: &str| headers.iter().any(|line| line.starts_with(name));
            assert_eq!(
                (has("Transfer-Encoding: chunked"), has("Content-Length")),
                (chunked, !chunked)
            );
            if chunked {
                assert_eq!(client.chunk().unwrap().unwrap().len(), bytes);
                assert_eq!(client.chunk().unwrap(), None);
            }
            let prefix = "Lambda-Runtime-Aws-Request-Id: ";
            let id = headers
                .iter()
                .find_map(|line| line.strip_prefix(prefix))
                .unwrap();
            client.reconnect();
            client.report(id, "response", &[], b"{}");
            ask_for_next(&mut client);
        });
    }
}

#[test]
fn next_renders_the_invocation_in_flight_again() {
    let (emulator, mut client) = attached();
    while_invoked(&emulator, Invoke::new(r#"{"n":1}"#), || {
        let first = client.next();
        client.reconnect();
        let again = client.next();
        assert_eq!(
            (again.request_id(), &again.body),
            (first.request_id(), &first.body)
        );
        assert_eq!(
            client
                .report(&first.request_id(), "response", &[], b"{}")
                .status,
            202
        );
        ask_for_next(&mut client);
    });
}

#[test]
fn an_event_waits_for_a_runtime_that_reconnects() {
    let (emulator, mut client) = attached();
    ask_for_next(&mut client);
    emulator
        .wait_until("a next", |entries| {
            count(entries, |what| matches!(what, What::Request { .. })) == 1
        })
        .unwrap();
    client.reconnect();
    emulator
        .wait_until("the end of the connection", |entries| {
            count(entries, |what| matches!(what, What::Disconnected { .. })) == 1
        })
        .unwrap();
    let (outcome, ()) = while_invoked(&emulator, Invoke::new("{}"), || {
        let next = client.next();
        client.report(&next.request_id(), "response", &[], b"7");
        ask_for_next(&mut client);
    });
    assert_eq!(outcome.body, b"7");
}

fn refused(answer: &Response) -> (u16, String) {
    (answer.status, answer.error_type())
}

#[test]
fn answers_are_refused_as_documented() {
    let (emulator, mut client) = attached();
    let early = client.report("no-such-id", "response", &[], b"{}");
    assert_eq!(refused(&early), (400, "InvalidRequestID".into()));
    let (outcome, ()) = while_invoked(&emulator, Invoke::new("{}"), || {
        let id = client.next().request_id();
        let other = client.report("other", "response", &[], b"{}");
        assert_eq!(refused(&other), (400, "InvalidRequestID".into()));
        let stale = [("Lambda-Runtime-Invocation-Id", "of another attempt")];
        let gone = client.report(&id, "response", &stale, b"{}");
        assert_eq!(refused(&gone), (410, "InvokeTimeout".into()));
        assert_eq!(json(&gone.body)["errorMessage"], "Invoke timeout");
        let late = client.post("/2018-06-01/runtime/init/error", &[], b"{}");
        assert_eq!(refused(&late), (403, "InvalidStateTransition".into()));
        let ok = client.report(&id, "response", &[], b"{}");
        assert_eq!(
            (ok.status, json(&ok.body)["status"].as_str()),
            (202, Some("OK"))
        );
        for what in ["response", "error"] {
            let second = client.report(&id, what, &[], b"{}");
            assert_eq!(refused(&second), (403, "InvalidStateTransition".into()));
        }
        ask_for_next(&mut client);
    });
    client.reconnect();
    let old = client.report(&outcome.request_id, "response", &[], b"{}");
    assert_eq!(refused(&old), (400, "InvalidRequestID".into()));
}

#[test]
fn a_response_mode_other_than_streaming_is_refused() {
    let (emulator, mut client) = attached();
    let (outcome, ()) = while_invoked(&emulator, Invoke::new("{}"), || {
        let id = client.next().request_id();
        let mode = [("Lambda-Runtime-Function-Response-Mode", "buffered")];
        let answer = client.report(&id, "response", &mode, b"{}");
        assert_eq!(
            refused(&answer),
            (400, "InvalidFunctionResponseMode".into())
        );
        ask_for_next(&mut client);
    });
    assert_eq!(error_of(&outcome).0, "Runtime.InvalidResponseModeHeader");
}

#[test]
fn a_body_over_the_limit_is_413_and_an_error_after_it_403() {
    let (emulator, mut client) = attached();
    let (outcome, ()) = while_invoked(&emulator, Invoke::new("{}"), || {
        let id = client.next().request_id();
        let answer = client.report(&id, "response", &[], &vec![b'0'; 6_291_557]);
        assert_eq!(refused(&answer), (413, "RequestEntityTooLarge".into()));
        let message = "Exceeded maximum allowed payload size (6291556 bytes).";
        assert_eq!(json(&answer.body)["errorMessage"], message);
        assert_eq!(refused(&client.report(&id, "error", &[], b"{}")).0, 403);
        ask_for_next(&mut client);
    });
    assert_eq!(error_of(&outcome).0, "Function.ResponseSizeTooLarge");
}

#[test]
fn a_truncated_body_is_told_apart() {
    let (emulator, mut client) = attached();
    let (outcome, ()) = while_invoked(&emulator, Invoke::new("{}"), || {
        let id = client.next().request_id();
        let path = format!("/2018-06-01/runtime/invocation/{id}/response");
        client
            .write(
                format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf")
                    .as_bytes(),
            )
            .unwrap();
        client.finish_writing().unwrap();
        assert_eq!(
            refused(&client.response().unwrap()),
            (400, "TruncatedHTTPRequest".into())
        );
        client.reconnect();
        ask_for_next(&mut client);
    });
    assert_eq!(error_of(&outcome).0, "Runtime.TruncatedResponse");
}

#[test]
fn ping_answers_and_other_paths_do_not_exist() {
    let (emulator, mut client) = attached();
    for path in ["/ping", "/2018-06-01/ping"] {
        assert_eq!(
            (client.get(path).status, client.get(path).body),
            (200, b"pong".to_vec())
        );
    }
    for path in [
        "/",
        "/2018-06-01/runtime/restore/next",
        "/2020-01-01/extension/events",
    ] {
        assert_eq!(client.get(path).status, 404, "{path}");
    }
    assert_eq!(
        client
            .post("/2018-06-01/runtime/invocation/next", &[], b"")
            .status,
        405
    );
    drop(emulator);
}

#[test]
fn a_runtime_that_attaches_late_is_waited_for() {
    let emulator = Emulator::start(Config::new("")).unwrap();
    let (sender, receiver) = mpsc::channel();
    let (outcome, ()) = while_invoked(&emulator, Invoke::new("{}"), || {
        let started = |what: &What| matches!(what, What::InvokeStart { .. } | What::InitStart);
        emulator
            .wait_until("the wait", |entries| count(entries, started) > 0)
            .unwrap();
        let mut client = Client::connect(emulator.environments()[0].runtime_api);
        let next = client.next();
        client.report(&next.request_id(), "response", &[], b"9");
        ask_for_next(&mut client);
        sender.send(client).unwrap();
    });
    drop(receiver.recv().unwrap());
    assert_eq!(outcome.body, b"9");
}

#[test]
fn after_a_timeout_the_late_answer_is_refused_and_next_is_served() {
    let mut config = Config::new("");
    config.timeout = Duration::from_secs(2);
    let (emulator, mut client) = attached_with(config);
    let (outcome, id) = while_invoked(&emulator, Invoke::new("{}"), || client.next().request_id());
    assert_eq!(error_of(&outcome).0, "Sandbox.Timedout");
    client.reconnect();
    assert_eq!(refused(&client.report(&id, "response", &[], b"{}")).0, 400);
    let (outcome, ()) = while_invoked(&emulator, Invoke::new("{}"), || {
        let id = client.next().request_id();
        client.report(&id, "response", &[], b"3");
        ask_for_next(&mut client);
    });
    assert_eq!(outcome.body, b"3");
}

/// Serves one invocation, loses the connection on which the next one is waited for, and waits on
/// another.
fn lose_a_wait(emulator: &Emulator) -> Client {
    let (_, first) = while_invoked(emulator, Invoke::new("1"), || {
        until(emulator, State::Started);
        let mut first = connect(emulator);
        respond(&mut first);
        first
    });
    drop(first);
    let ended = |what: &What| matches!(what, What::Disconnected { .. });
    emulator
        .wait_until("the end of the first", |entries| count(entries, ended) == 1)
        .unwrap();
    let mut second = connect(emulator);
    ask_for_next(&mut second);
    let asked = |what: &What| matches!(what, What::Request { path, .. } if path.ends_with("/next"));
    emulator
        .wait_until("the second wait", |entries| count(entries, asked) == 3)
        .unwrap();
    second
}

fn until(emulator: &Emulator, state: State) {
    let bound = Instant::now() + Duration::from_secs(10);
    let reached = || emulator.environments().iter().any(|env| env.state == state);
    while !reached() {
        assert!(Instant::now() < bound, "never {state:?}");
        thread::yield_now();
    }
}

fn connect(emulator: &Emulator) -> Client {
    Client::connect(emulator.environments()[0].runtime_api)
}

/// Takes an event, responds and asks for the next one.
fn respond(client: &mut Client) {
    let id = client.next().request_id();
    client.report(&id, "response", &[], b"1");
    ask_for_next(client);
}

/// As aws-lambda-runtime-interface-emulator does.
#[test]
fn an_event_for_a_wait_that_was_lost_is_rendered_to_the_next_that_is_asked_for_after_it() {
    let emulator = Emulator::start(idler()).unwrap();
    let mut second = lose_a_wait(&emulator);
    let (lost, third) = while_invoked(&emulator, Invoke::new("2"), || {
        until(&emulator, State::Running);
        let mut third = connect(&emulator);
        respond(&mut third);
        third
    });
    assert_eq!(lost.function_error, None);
    assert!(!second.has_response(), "it waits for a later event");
    // Which is the next one, since it has waited longer.
    let (outcome, id) = while_invoked(&emulator, Invoke::new("3"), || {
        let id = second.response().unwrap().request_id();
        second.report(&id, "response", &[], b"3");
        ask_for_next(&mut second);
        id
    });
    assert_eq!(outcome.request_id, id);
    drop(third);
}

#[test]
fn a_runtime_that_attaches_again_gets_the_event() {
    let emulator = Emulator::start(Config::new("")).unwrap();
    let mut second = lose_a_wait(&emulator);
    let (outcome, ()) = while_invoked(&emulator, Invoke::new("2"), || {
        let id = second.response().unwrap().request_id();
        second.report(&id, "response", &[], b"2");
        ask_for_next(&mut second);
    });
    assert_eq!(outcome.body, b"2");
}

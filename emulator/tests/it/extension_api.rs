//! The Extensions API to the letter: the test is the runtime and the extension, on plain sockets.

use std::thread;
use std::time::Duration;

use bantam_emulator::{Config, Emulator, ExtensionState, Initialization, Invoke, What};
use testkit::http::{Client, Response};

use crate::support::{RuntimeClient as _, RuntimeResponse as _, attached_with, count, json};

const REGISTER: &str = "/2020-01-01/extension/register";
const NEXT: &str = "/2020-01-01/extension/event/next";
const INIT_ERROR: &str = "/2020-01-01/extension/init/error";
const EXIT_ERROR: &str = "/2020-01-01/extension/exit/error";
const ERROR_TYPE: (&str, &str) = ("Lambda-Extension-Function-Error-Type", "Extension.Bad");
const BOTH: &[u8] = br#"{"events":["INVOKE","SHUTDOWN"]}"#;

/// An environment that expects a runtime and the extension `ext`.
fn expecting() -> (Emulator, Client) {
    let mut config = Config::new("");
    config.extensions = vec!["/opt/extensions/ext".into()];
    attached_with(config)
}

fn register(client: &mut Client, name: &str, body: &[u8]) -> Response {
    client.post(REGISTER, &[("Lambda-Extension-Name", name)], body)
}

fn registered(client: &mut Client, name: &str, body: &[u8]) -> String {
    let answer = register(client, name, body);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
        .header("Lambda-Extension-Identifier")
        .unwrap()
        .to_owned()
}

fn post(client: &mut Client, path: &str, id: &str, headers: &[(&str, &str)]) -> Response {
    let mut all = vec![("Lambda-Extension-Identifier", id)];
    all.extend_from_slice(headers);
    client.post(path, &all, b"{}")
}

fn ask(client: &mut Client, id: &str) {
    client.send("GET", NEXT, &[("Lambda-Extension-Identifier", id)], b"");
}

fn refusal(answer: &Response) -> (u16, String, String) {
    let body = json(&answer.body);
    let text = |name: &str| match body[name].as_str() {
        Some(text) => text.to_owned(),
        None => panic!("no {name} in {answer:?}"),
    };
    (answer.status, text("errorType"), text("errorMessage"))
}

fn expect_refusal(answer: &Response, error_type: &str, message: &str) {
    let expected = (403, error_type.to_owned(), message.to_owned());
    assert_eq!(refusal(answer), expected);
}

fn until_ready(emulator: &Emulator, times: usize) {
    let ready = |what: &What| matches!(what, What::ExtensionReady { .. });
    emulator
        .wait_until("extension ready", |entries| count(entries, ready) == times)
        .unwrap();
}

#[test]
fn a_registration_is_answered_with_what_was_asked_for() {
    let (_emulator, mut client) = expecting();
    let headers = [
        ("Lambda-Extension-Name", "ext"),
        ("Lambda-Extension-Accept-Feature", "other, accountId"),
    ];
    let answer = client.post(REGISTER, &headers, BOTH);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("Content-Type"), Some("application/json"));
    let id = answer.header("Lambda-Extension-Identifier").unwrap();
    assert_eq!(id.len(), 36);
    assert_eq!(json(&answer.body)["accountId"], "123456789012");
    let internal = register(&mut client, "internal", br#"{"events":["INVOKE"]}"#);
    let body = json(&internal.body);
    assert_eq!(body["handler"], "bootstrap");
    assert_eq!(body.get("accountId"), None);
}

#[test]
fn requests_that_are_no_registration_are_refused() {
    let (emulator, mut client) = expecting();
    expect_refusal(
        &client.post(REGISTER, &[], BOTH),
        "Extension.InvalidExtensionName",
        "Empty extension name",
    );
    for body in [
        "",
        "[",
        r#"{"events":"INVOKE"}"#,
        r#"{"configurationKeys":["a"]}"#,
    ] {
        let (status, error_type, _) = refusal(&register(&mut client, "ext", body.as_bytes()));
        assert_eq!(
            (status, error_type.as_str()),
            (403, "InvalidRequestFormat"),
            "{body}"
        );
    }
    expect_refusal(
        &register(&mut client, "ext", br#"{"events":["Invoke"]}"#),
        "Extension.InvalidEventType",
        "Invoke: ErrorInvalidEventType",
    );
    expect_refusal(
        &register(&mut client, "ext.bin", BOTH),
        "Extension.InvalidEventType",
        "SHUTDOWN: ShutdownEventNotSupportedForInternalExtension",
    );
    let states = emulator.environments().remove(0).extensions;
    assert_eq!(
        (states.len(), states[0].state),
        (1, ExtensionState::Started)
    );
    assert_eq!(register(&mut client, "ext", b"{}").status, 200);
    assert_eq!(
        register(&mut client, "x", br#"{"events":null}"#).status,
        200
    );
}

#[test]
fn the_log_says_what_has_to_attach() {
    let mut config = Config::new("");
    config.extensions = ["one", "two"].map(|name| name.into()).into();
    let (emulator, mut two) = attached_with(config);
    let second = registered(&mut two, "two", BOTH);
    let api = emulator.environments()[0].runtime_api;
    let says = |text: &str| {
        let line = format!("waiting for {text}: AWS_LAMBDA_RUNTIME_API={api}");
        emulator.wait_for_log(text, |log| log.iter().any(|l| l.text == line))
    };
    thread::scope(|scope| {
        let prepared = scope.spawn(|| emulator.prepare());
        says("extensions (one)").unwrap();
        let mut one = Client::connect(api);
        let first = registered(&mut one, "one", BOTH);
        says("a runtime").unwrap();
        let mut runtime = Client::connect(api);
        runtime.send("GET", "/2018-06-01/runtime/invocation/next", &[], b"");
        ask(&mut one, &first);
        ask(&mut two, &second);
        prepared.join().unwrap().unwrap();
    });
}

#[test]
fn the_identifier_is_checked_first() {
    let (_emulator, mut client) = expecting();
    let id = registered(&mut client, "ext", BOTH);
    let other = "00000000-0000-4000-8000-000000000000";
    let missing = client.get(NEXT);
    expect_refusal(
        &missing,
        "Extension.MissingExtensionIdentifier",
        "Missing Lambda-Extension-Identifier header",
    );
    for path in [INIT_ERROR, EXIT_ERROR] {
        expect_refusal(
            &post(&mut client, path, "nonsense", &[ERROR_TYPE]),
            "Extension.InvalidExtensionIdentifier",
            "Invalid Lambda-Extension-Identifier",
        );
        expect_refusal(
            &post(&mut client, path, other, &[ERROR_TYPE]),
            "Extension.UnknownExtensionIdentifier",
            "Unknown Lambda-Extension-Identifier",
        );
        expect_refusal(
            &post(&mut client, path, &id, &[]),
            "Extension.MissingHeader",
            "Lambda-Extension-Function-Error-Type not found",
        );
    }
    ask(&mut client, other);
    expect_refusal(
        &client.response().unwrap(),
        "Extension.UnknownExtensionIdentifier",
        &format!("Unknown extension {other}"),
    );
    let telemetry = [("Lambda-Extension-Identifier", other)];
    client.send("PUT", "/2022-07-01/telemetry", &telemetry, b"{}");
    let (status, error_type, _) = refusal(&client.response().unwrap());
    assert_eq!(
        (status, error_type.as_str()),
        (403, "Extension.UnknownExtensionIdentifier")
    );
}

#[test]
fn other_methods_and_paths_are_no_endpoints() {
    let (_emulator, mut client) = expecting();
    assert_eq!(client.get(REGISTER).status, 405);
    assert_eq!(client.post(NEXT, &[], b"").status, 405);
    assert_eq!(client.get("/2020-01-01/extension/next").status, 404);
    let wrong = client.get("/2022-12-13/telemetry");
    assert_eq!(
        (wrong.status, wrong.body.as_slice()),
        (404, &b"404 page not found\n"[..])
    );
    client.send("PUT", "/2020-08-15/logs", &[], b"{}");
    let logs = client.response().unwrap();
    assert_eq!(
        (logs.status, logs.error_type().as_str()),
        (202, "Logs.NotSupported")
    );
    // Without SnapStart.
    assert_eq!(client.get("/2018-06-01/runtime/restore/next").status, 404);
}

#[test]
fn an_event_goes_to_the_extension_and_a_pending_next_is_alone() {
    let (emulator, mut client) = expecting();
    let addr = emulator.environments()[0].runtime_api;
    let mut runtime = Client::connect(addr);
    let id = registered(&mut client, "ext", BOTH);
    ask(&mut client, &id);
    until_ready(&emulator, 1);
    let mut second = Client::connect(addr);
    ask(&mut second, &id);
    expect_refusal(
        &second.response().unwrap(),
        "Extension.InvalidExtensionState",
        &format!(
            "State transition from Ready to Ready failed for extension {id}. \
             Error: State transition is not allowed"
        ),
    );
    thread::scope(|scope| {
        let invoke = Invoke {
            trace_id: Some("Root=1-1".into()),
            ..Invoke::new("{}")
        };
        let invoked = scope.spawn(|| emulator.invoke_with(invoke).unwrap());
        let event = runtime.next();
        let notice = client.response().unwrap();
        assert_eq!(notice.header("Content-Type"), Some("application/json"));
        assert!(notice.header("Lambda-Extension-Event-Identifier").is_some());
        let body = json(&notice.body);
        assert_eq!(body["requestId"], *event.request_id());
        assert_eq!(body["tracing"]["value"], "Root=1-1");
        let deadline = body["deadlineMs"].as_u64().unwrap().to_string();
        assert_eq!(
            event.header("Lambda-Runtime-Deadline-Ms"),
            Some(deadline.as_str())
        );
        runtime.report(&event.request_id(), "response", &[], b"1");
        runtime.send("GET", "/2018-06-01/runtime/invocation/next", &[], b"");
        // Registration is over by now.
        expect_refusal(
            &register(&mut second, "late", b"{}"),
            "Extension.RegistrationClosed",
            "Extension registration closed already",
        );
        let telemetry = [("Lambda-Extension-Identifier", id.as_str())];
        let body = br#"{"schemaVersion":"2025-01-29","types":["platform"],
            "destination":{"protocol":"HTTP","URI":"http://sandbox.localdomain:4243"}}"#;
        second.send("PUT", "/2022-07-01/telemetry", &telemetry, body);
        let (status, error_type, _) = refusal(&second.response().unwrap());
        assert_eq!(
            (status, error_type.as_str()),
            (403, "Telemetry.SubscriptionClosed")
        );
        assert!(!invoked.is_finished(), "the extension is waited for");
        ask(&mut client, &id);
        assert_eq!(invoked.join().unwrap().body, b"1");
    });
    drop(emulator.stop());
    let shutdown = client.response().unwrap();
    assert_eq!(
        shutdown.header("Content-Type"),
        Some("text/plain; charset=utf-8")
    );
    assert_eq!(shutdown.header("Lambda-Extension-Event-Identifier"), None);
    assert_eq!(json(&shutdown.body)["shutdownReason"], "spindown");
}

#[test]
fn an_event_for_a_connection_that_broke_is_lost() {
    let (emulator, mut client) = expecting();
    let mut runtime = Client::connect(emulator.environments()[0].runtime_api);
    let id = registered(&mut client, "ext", BOTH);
    ask(&mut client, &id);
    until_ready(&emulator, 1);
    client.reconnect();
    let gone = |what: &What| matches!(what, What::Disconnected { .. });
    emulator
        .wait_until("a disconnection", |entries| count(entries, gone) == 1)
        .unwrap();
    thread::scope(|scope| {
        let invoked = scope.spawn(|| emulator.invoke("{}").unwrap());
        let event = runtime.next();
        // Only now may it ask again, and that counts as done.
        ask(&mut client, &id);
        runtime.report(&event.request_id(), "response", &[], b"1");
        runtime.send("GET", "/2018-06-01/runtime/invocation/next", &[], b"");
        assert_eq!(invoked.join().unwrap().body, b"1");
    });
    let sent = |what: &What| matches!(what, What::ExtensionEventSent { .. });
    assert_eq!(count(&emulator.transcript(), sent), 0);
}

#[test]
fn errors_are_taken_where_the_state_allows() {
    let (emulator, mut client) = expecting();
    let ext = registered(&mut client, "ext", BOTH);
    let accepted = post(&mut client, INIT_ERROR, &ext, &[ERROR_TYPE]);
    assert_eq!(
        (accepted.status, accepted.body.as_slice()),
        (202, &b"{\"status\":\"OK\"}\n"[..])
    );
    let second = [("Lambda-Extension-Function-Error-Type", "Extension.Second")];
    assert_eq!(post(&mut client, INIT_ERROR, &ext, &second).status, 202);
    expect_refusal(
        &post(&mut client, EXIT_ERROR, &ext, &[ERROR_TYPE]),
        "Extension.InvalidExtensionState",
        &format!(
            "State transition from InitError to Exited failed for extension {ext}. \
             Error: State transition is not allowed"
        ),
    );
    let internal = registered(&mut client, "internal", b"{}");
    let mut waiting = Client::connect(emulator.environments()[0].runtime_api);
    ask(&mut waiting, &internal);
    until_ready(&emulator, 1);
    let late = post(&mut client, INIT_ERROR, &internal, &[ERROR_TYPE]);
    assert_eq!(refusal(&late).1, "Extension.InvalidExtensionState");
    assert_eq!(
        post(&mut client, EXIT_ERROR, &internal, &[ERROR_TYPE]).status,
        202
    );
    let extensions = emulator.environments().remove(0).extensions;
    let states: Vec<_> = extensions
        .iter()
        .map(|e| {
            (
                e.name.as_str(),
                e.external,
                e.state,
                e.error_type.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        states,
        [
            (
                "ext",
                true,
                ExtensionState::InitError,
                Some("Extension.Bad")
            ),
            (
                "internal",
                false,
                ExtensionState::ExitError,
                Some("Extension.Bad")
            ),
        ]
    );
}

#[test]
fn a_restore_releases_the_runtime_that_waits_for_it() {
    let mut config = Config::new("");
    config.initialization = Initialization::SnapStart;
    config.restore_gap = Duration::from_millis(10);
    for fails in [false, true] {
        let (emulator, mut client) = attached_with(config.clone());
        let restore_next = "/2018-06-01/runtime/restore/next";
        let restore_error = "/2018-06-01/runtime/restore/error";
        let early = client.post(restore_error, &[], b"{}");
        assert_eq!(
            (early.status, early.error_type().as_str()),
            (403, "InvalidStateTransition")
        );
        client.send("GET", restore_next, &[], b"");
        thread::scope(|scope| {
            let invoked = scope.spawn(|| emulator.invoke("{}").unwrap());
            let restored = client.response().unwrap();
            assert_eq!((restored.status, restored.body.as_slice()), (200, &b""[..]));
            client.reconnect();
            if fails {
                let kind = (
                    "Lambda-Runtime-Function-Error-Type",
                    "Runtime.AfterRestoreError",
                );
                let body = br#"{"errorMessage":"no","errorType":"E"}"#;
                assert_eq!(client.post(restore_error, &[kind], body).status, 202);
                let error = invoked.join().unwrap().function_error.unwrap();
                assert_eq!(error.error_type, "Runtime.AfterRestoreError");
                assert_eq!(error.body, body);
                return;
            }
            let id = client.next().request_id();
            client.report(&id, "response", &[], b"1");
            client.send("GET", "/2018-06-01/runtime/invocation/next", &[], b"");
            let outcome = invoked.join().unwrap();
            assert!(outcome.timing.restore.is_some());
            assert_eq!(outcome.body, b"1");
        });
        let done = |what: &What| matches!(what, What::RestoreDone { error, .. } if error.is_some() == fails);
        assert_eq!(count(&emulator.transcript(), done), 1);
    }
}

#[test]
fn credentials_are_fetched_after_a_restore() {
    let mut config = Config::new("");
    config.initialization = Initialization::SnapStart;
    let (_emulator, mut client) = attached_with(config);
    let path = "/2021-04-23/credentials";
    assert_eq!(client.get(path).status, 404);
    client.send("GET", path, &[("Authorization", "emulated-token")], b"");
    let body = json(&client.response().unwrap().body);
    for name in ["AccessKeyId", "SecretAccessKey", "Token", "Expiration"] {
        assert!(body[name].is_string(), "{name}");
    }
}

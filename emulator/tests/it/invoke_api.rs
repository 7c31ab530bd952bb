//! The Invoke API over a plain socket.

use bantam_emulator::{Emulator, What, answers};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use testkit::http::{Client, Response};

use crate::support::{count, echo, json};

const PATH: &str = "/2015-03-31/functions/function/invocations";

fn start() -> (Emulator, Client) {
    let emulator = Emulator::start(echo()).unwrap();
    let client = Client::connect(emulator.invoke_addr());
    (emulator, client)
}

fn header<'a>(answer: &'a Response, name: &str) -> Option<&'a str> {
    let mut found = answer
        .headers
        .iter()
        .filter(|(n, _)| n.eq_ignore_ascii_case(name));
    found.next().map(|(_, value)| value.as_str())
}

fn refused(answer: &Response) -> (u16, String) {
    assert!(json(&answer.body).get("message").is_some());
    (
        answer.status,
        header(answer, "x-amzn-ErrorType").unwrap().to_owned(),
    )
}

#[test]
fn a_function_is_invoked_by_every_form_of_its_name() {
    let (_emulator, mut client) = start();
    let arn = "arn:aws:lambda:us-east-1:123456789012:function:function";
    let names = [
        "function",
        "function:live",
        "123456789012%3Afunction%3Afunction",
        arn,
    ];
    for name in names {
        let path = format!("/2015-03-31/functions/{name}/invocations");
        let answer = client.post(&path, &[], br#"{"a":1}"#);
        assert_eq!(
            (answer.status, answer.body.as_slice()),
            (200, &br#"{"a":1}"#[..]),
            "{name}"
        );
        assert_eq!(header(&answer, "X-Amz-Executed-Version"), Some("$LATEST"));
        assert!(header(&answer, "x-amzn-RequestId").is_some());
        assert_eq!(header(&answer, "X-Amz-Function-Error"), None);
    }
}

#[test]
fn the_tail_of_the_log_is_sent_when_asked_for() {
    let (_emulator, mut client) = start();
    let quiet = client.post(PATH, &[], b"{}");
    assert_eq!(header(&quiet, "X-Amz-Log-Result"), None);
    let answer = client.post(PATH, &[("X-Amz-Log-Type", "Tail")], br#"{"do":"print"}"#);
    let tail = STANDARD
        .decode(header(&answer, "X-Amz-Log-Result").unwrap())
        .unwrap();
    let tail = String::from_utf8(tail).unwrap();
    let id = header(&answer, "x-amzn-RequestId").unwrap();
    assert!(
        tail.starts_with(&format!("START RequestId: {id} ")),
        "{tail}"
    );
    assert!(tail.contains("to stdout\n") && tail.contains("\nREPORT "));
}

#[test]
fn a_function_error_is_marked() {
    let (_emulator, mut client) = start();
    for event in [r#"{"do":"error"}"#, r#"{"do":"exit"}"#] {
        let answer = client.post(PATH, &[], event.as_bytes());
        assert_eq!(answer.status, 200);
        assert_eq!(header(&answer, "X-Amz-Function-Error"), Some("Unhandled"));
        assert!(json(&answer.body).get("errorMessage").is_some());
    }
}

#[test]
fn context_trace_tenant_and_qualifier_reach_the_runtime() {
    let (_emulator, mut client) = start();
    let context = STANDARD.encode(r#"{"custom":{"k":"v"}}"#);
    let headers = [
        ("X-Amz-Client-Context", context.as_str()),
        (
            "X-Amzn-Trace-Id",
            "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1",
        ),
        ("X-Amz-Tenant-Id", "blue"),
    ];
    let answer = client.post(
        &format!("{PATH}?Qualifier=live"),
        &headers,
        br#"{"do":"headers"}"#,
    );
    let received = String::from_utf8(answer.body).unwrap();
    for part in [
        r#"Lambda-Runtime-Client-Context: {\"custom\":{\"k\":\"v\"}}"#,
        "Lambda-Runtime-Trace-Id: Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1",
        "Lambda-Runtime-Aws-Tenant-Id: blue",
        ":function:function:live",
    ] {
        assert!(received.contains(part), "{part} is not in {received}");
    }
}

#[test]
fn a_client_context_is_a_short_object() {
    let (_emulator, mut client) = start();
    let of_bytes = |bytes: usize| {
        let empty = STANDARD.encode(r#"{"k":""}"#).len();
        STANDARD.encode(format!(
            r#"{{"k":"{}"}}"#,
            "x".repeat((bytes - empty) / 4 * 3)
        ))
    };
    let table = [
        (STANDARD.encode("{}"), 200),
        (STANDARD.encode("[]"), 400),
        (STANDARD.encode("{"), 400),
        ("{}".to_owned(), 400),
        (of_bytes(3_580), 200),
        (of_bytes(3_584), 400),
    ];
    for (context, expected) in table {
        let headers = [("X-Amz-Client-Context", context.as_str())];
        let answer = client.post(PATH, &headers, br#"{"do":"headers"}"#);
        assert_eq!(answer.status, expected, "{context}");
    }
}

#[test]
fn a_context_of_several_lines_reaches_the_runtime_on_one() {
    let (_emulator, mut client) = start();
    let context = STANDARD.encode("{\n  \"custom\": {\r\n\"k\": \"v\"}\n}\n");
    let headers = [("X-Amz-Client-Context", context.as_str())];
    let answer = client.post(PATH, &headers, br#"{"do":"headers"}"#);
    let received = json(&answer.body);
    let name = "Lambda-Runtime-Client-Context: ";
    let mut lines = received.as_array().unwrap().iter();
    let context = lines.find_map(|line| line.as_str()?.strip_prefix(name));
    let expected = r#"{   "custom": {  "k": "v"} }"#;
    assert_eq!(context.unwrap().trim_end(), expected, "{received}");
}

#[test]
fn an_event_has_no_client_context() {
    let (emulator, mut client) = start();
    let context = STANDARD.encode(r#"{"custom":{"k":"v"}}"#);
    let headers = [
        ("X-Amz-Invocation-Type", "Event"),
        ("X-Amz-Client-Context", context.as_str()),
    ];
    let answer = client.post(PATH, &headers, br#"{"do":"headers"}"#);
    assert_eq!(answer.status, 202);
    let id = header(&answer, "x-amzn-RequestId").unwrap();
    emulator
        .wait_until("the event", |entries| answers(entries, id) == 1)
        .unwrap();
    let transcript = emulator.transcript();
    let response = transcript.iter().find_map(|entry| {
        if let What::Request { path, body, .. } = &entry.what
            && path.ends_with("/response")
        {
            Some(String::from_utf8_lossy(body))
        } else {
            None
        }
    });
    let received = response.unwrap();
    assert!(received.contains("Lambda-Runtime-Trace-Id"), "{received}");
    assert!(!received.contains("Client-Context"), "{received}");
}

#[test]
fn events_and_dry_runs_have_no_body() {
    let (emulator, mut client) = start();
    let dry = client.post(PATH, &[("X-Amz-Invocation-Type", "DryRun")], b"{}");
    assert_eq!((dry.status, dry.body.len()), (204, 0));
    let event = client.post(PATH, &[("X-Amz-Invocation-Type", "Event")], b"{}");
    assert_eq!((event.status, event.body.len()), (202, 0));
    let id = header(&event, "x-amzn-RequestId").unwrap();
    emulator
        .wait_until("the event", |entries| answers(entries, id) == 1)
        .unwrap();
    let starts = |what: &What| matches!(what, What::InvokeStart { .. });
    assert_eq!(
        count(&emulator.transcript(), starts),
        1,
        "the dry run ran nothing"
    );
}

#[test]
fn what_cannot_run_is_refused_with_the_exception() {
    type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [u8], u16, &'a str);
    let (emulator, mut client) = start();
    let large = vec![b'1'; 6_291_557];
    let other = "/2015-03-31/functions/other/invocations";
    let event = [("X-Amz-Invocation-Type", "Event")];
    let odd = [("X-Amz-Invocation-Type", "Odd")];
    let context = [("X-Amz-Client-Context", "%")];
    let table: [Row<'_>; 6] = [
        (other, &[], b"{}", 404, "ResourceNotFoundException"),
        (PATH, &[], b"{", 400, "InvalidRequestContentException"),
        (PATH, &context, b"{}", 400, "InvalidRequestContentException"),
        (PATH, &odd, b"{}", 400, "InvalidParameterValueException"),
        (PATH, &[], &large, 413, "RequestTooLargeException"),
        (
            PATH,
            &event,
            &large[..1_048_577],
            413,
            "RequestTooLargeException",
        ),
    ];
    for (path, headers, body, status, error_type) in table {
        let answer = client.post(path, headers, body);
        assert_eq!(refused(&answer), (status, error_type.to_owned()));
    }
    assert!(emulator.environments().is_empty(), "nothing was started");
}

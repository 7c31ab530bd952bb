//! The function as a web server, over a plain socket.

use std::collections::BTreeMap;

use bantam_emulator::{Emulator, HttpEvent, What};
use testkit::http::{Client, Response};

use crate::support::{echo, json};

fn start() -> (Emulator, Client) {
    let emulator = Emulator::start(echo()).unwrap();
    let client = Client::connect(emulator.invoke_addr());
    (emulator, client)
}

fn header<'a>(answer: &'a Response, name: &str) -> Vec<&'a str> {
    let headers = answer.headers.iter();
    let found = headers.filter(|(n, _)| n.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.as_str()).collect()
}

#[test]
fn any_request_becomes_an_event_and_any_json_a_response() {
    let (_emulator, mut client) = start();
    client.send(
        "PUT",
        "/orders/7?full=yes",
        &[("Content-Type", "text/plain"), ("Cookie", "a=1; b=2")],
        b"two cups",
    );
    let answer = client.response().unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(header(&answer, "content-type"), ["application/json"]);
    let event = json(&answer.body);
    assert_eq!(event["version"], "2.0");
    assert_eq!(event["requestContext"]["http"]["method"], "PUT");
    assert_eq!(event["rawPath"], "/orders/7");
    assert_eq!(event["queryStringParameters"]["full"], "yes");
    assert_eq!(event["cookies"][1], "b=2");
    assert_eq!(event["body"], "two cups");
    assert_eq!(event["headers"]["content-type"], "text/plain");
    assert_eq!(event["requestContext"]["http"]["sourceIp"], "127.0.0.1");
}

#[test]
fn status_headers_cookies_and_body_come_from_the_function() {
    let (_emulator, mut client) = start();
    let answer = client.post(
        "/",
        &[("Content-Type", "text/plain"), ("X-Echo", "http")],
        br#"{"statusCode":303,"headers":{"Location":"/there"},
            "cookies":["a=1","b=2"],"body":"bye"}"#,
    );
    assert_eq!(answer.status, 303);
    assert_eq!(header(&answer, "location"), ["/there"]);
    assert_eq!(header(&answer, "set-cookie"), ["a=1", "b=2"]);
    assert_eq!(answer.body, b"bye");
}

#[test]
fn a_function_that_fails_is_a_bad_gateway_and_the_log_says_why() {
    let (emulator, mut client) = start();
    for (body, reason) in [
        (
            r#"{"statusCode":"odd"}"#,
            "function URL: the response is not of format 2.0",
        ),
        ("no json", "function URL: the response is no JSON"),
    ] {
        let answer = client.post("/", &[("X-Echo", "http")], body.as_bytes());
        assert_eq!(answer.status, 502, "{body}");
        assert_eq!(answer.body, b"Internal Server Error");
        let log = emulator.log();
        assert!(
            log.iter().any(|line| line.text.starts_with(reason)),
            "{log:?}"
        );
    }
}

#[test]
fn an_unknown_operation_of_an_api_is_no_event() {
    let (emulator, mut client) = start();
    let answer = client.get("/2015-03-31/functions/");
    assert_eq!(answer.status, 404);
    assert_eq!(
        header(&answer, "x-amzn-errortype"),
        ["UnknownOperationException"]
    );
    assert!(emulator.environments().is_empty(), "nothing was started");
}

fn behind(front: HttpEvent, stage: Option<&str>) -> (Emulator, Client) {
    let mut config = echo();
    config.http_event = front;
    config.http_stage = stage.map(str::to_owned);
    let emulator = Emulator::start(config).unwrap();
    let client = Client::connect(emulator.invoke_addr());
    (emulator, client)
}

#[test]
fn a_response_has_the_id_of_its_request_where_the_front_has_it() {
    static NAMES: [&str; 3] = ["x-amzn-RequestId", "x-amz-apigw-id", "Apigw-Requestid"];
    for (front, own) in [
        (HttpEvent::FunctionUrl, &NAMES[..1]),
        (HttpEvent::ApiGatewayV1, &NAMES[..2]),
        (HttpEvent::ApiGatewayV2, &NAMES[2..]),
    ] {
        let (emulator, mut client) = behind(front, Some("dev"));
        // The function's own one goes under.
        let headers: BTreeMap<_, _> = own.iter().map(|name| (*name, "own")).collect();
        let response = serde_json::json!({ "statusCode": 200, "headers": headers }).to_string();
        let text = [("Content-Type", "text/plain"), ("X-Echo", "http")];
        let answer = client.post("/dev/", &text, response.as_bytes());
        assert_eq!(answer.status, 200);
        let not_run = client.get("/elsewhere");
        let transcript = emulator.transcript();
        let run = transcript.iter().find_map(|entry| {
            if let What::InvokeStart { request_id } = &entry.what {
                Some(request_id.as_str())
            } else {
                None
            }
        });
        for name in NAMES {
            let expected = run.filter(|_| own.contains(&name));
            let got = header(&answer, name);
            assert_eq!(got, Vec::from_iter(expected), "{front:?} {name}");
            assert_eq!(header(&not_run, name).len(), got.len(), "{front:?} {name}");
        }
    }
}

#[test]
fn a_rest_api_takes_and_gives_format_1() {
    let (_emulator, mut client) = behind(HttpEvent::ApiGatewayV1, Some("dev"));
    let response = br#"{"statusCode":201,"multiValueHeaders":{"Set-Cookie":["a=1","b=2"]},
        "body":"AP8=","isBase64Encoded":true}"#;
    let headers = [("Content-Type", "application/json"), ("X-Echo", "http")];
    let answer = client.post("/dev/orders", &headers, response);
    assert_eq!(answer.status, 201);
    assert_eq!(header(&answer, "set-cookie"), ["a=1", "b=2"]);
    assert_eq!(answer.body, [0, 255]);
    // The event itself is no response that a REST API knows.
    let answer = client.get("/dev/orders");
    assert_eq!(answer.status, 502);
    assert_eq!(answer.body, br#"{"message":"Internal server error"}"#);
    let answer = client.get("/orders");
    assert_eq!(
        (answer.status, answer.body.as_slice()),
        (403, &br#"{"message":"Forbidden"}"#[..])
    );
}

#[test]
fn an_http_api_takes_and_gives_format_2() {
    let (emulator, mut client) = behind(HttpEvent::ApiGatewayV2, None);
    let answer = client.get("/orders?a=1&a=2");
    let event = json(&answer.body);
    assert_eq!(
        (answer.status, event["queryStringParameters"]["a"].as_str()),
        (200, Some("1,2"))
    );
    assert_eq!(event["requestContext"]["accountId"], "123456789012");
    let body = br#"{"statusCode":"odd"}"#;
    let answer = client.post(
        "/",
        &[("Content-Type", "text/plain"), ("X-Echo", "http")],
        body,
    );
    assert_eq!(answer.status, 500);
    assert_eq!(header(&answer, "content-type"), ["application/json"]);
    assert_eq!(answer.body, br#"{"message":"Internal Server Error"}"#);
    let reason = "HTTP API: the response is not of format 2.0";
    assert!(
        emulator
            .log()
            .iter()
            .any(|line| line.text.starts_with(reason))
    );
}

#[test]
fn an_api_answers_500_where_no_function_was_run() {
    let mut config = echo();
    config.http_event = HttpEvent::ApiGatewayV2;
    config.concurrency_max = 0;
    let emulator = Emulator::start(config).unwrap();
    let answer = Client::connect(emulator.invoke_addr()).get("/");
    assert_eq!(answer.status, 500);
    assert_eq!(answer.body, br#"{"message":"Internal Server Error"}"#);
}

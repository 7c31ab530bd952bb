//! Events to requests, and responses to what their senders read, by examples that AWS documents.

use std::ffi::OsString;
use std::time::Duration;

use serde_json::{Value, json};

use super::event::Origin;
use super::fuzz::settings;
use super::request::Request;
use super::response::Response;
use super::settings::{Settings, route};
use crate::runtime::context::Context;
use crate::shared::env::INIT_TYPE;
use crate::shared::http::{Expect, Limits, Progress, Reader};

const REST: &str = include_str!("../../../../tests/fixtures/http/rest.json");
const HTTP: &str = include_str!("../../../../tests/fixtures/http/http.json");
const FUNCTION_URL: &str = include_str!("../../../../tests/fixtures/http/function-url.json");
const LOAD_BALANCER: &str = include_str!("../../../../tests/fixtures/http/load-balancer.json");
const MULTI: &str = include_str!("../../../../tests/fixtures/http/load-balancer-multi.json");
const LATTICE: &str = include_str!("../../../../tests/fixtures/http/lattice.json");
const SQS: &str = include_str!("../../../../tests/fixtures/http/sqs.json");

/// The request for an event: its head without the two fields that every request has, and its body.
fn request(event: &str, variables: &[(&str, &str)]) -> (Vec<String>, Vec<u8>) {
    let context = Context::for_test("id");
    let request = Request::new(event.as_bytes(), &context, &settings(variables)).unwrap();
    let head = String::from_utf8(request.head.clone()).unwrap();
    assert!(head.is_ascii());
    let mut lines: Vec<String> = head.split("\r\n").map(str::to_owned).collect();
    assert_eq!(lines.split_off(lines.len() - 2), ["", ""]);
    let mut take = |start: &str| {
        let at = lines
            .iter()
            .position(|line| line.starts_with(start))
            .unwrap();
        let line = lines.remove(at);
        serde_json::from_str::<Value>(line.strip_prefix(start).unwrap()).unwrap()
    };
    let event: Value = serde_json::from_str(event).unwrap_or_default();
    assert_eq!(take("x-amzn-request-context: "), event["requestContext"]);
    let invocation = take("x-amzn-lambda-context: ");
    assert_eq!(invocation["request_id"], "id");
    assert_eq!(invocation.get("tenant_id"), Some(&Value::Null));
    (lines, request.body.to_vec())
}

#[test]
fn every_form_of_event_becomes_its_request() {
    let table: [(&str, &[&str], &str); 7] = [
        (
            REST,
            &[
                "POST /hello/w%C3%B6rld?name=a%20b&multiValueName=you%261&multiValueName=me \
                 HTTP/1.1",
                "Host: gy415nuibc.execute-api.us-east-1.amazonaws.com",
                "Accept: */*",
                "Content-Type: application/json",
                "X-Forwarded-For: 54.240.196.186, 54.182.214.83",
                "X-Forwarded-Port: 443",
                "X-Forwarded-Proto: https",
                "headerName: first",
                "headerName: last",
                "Content-Length: 13",
            ],
            "{\r\n\t\"a\": 1\r\n}",
        ),
        (
            HTTP,
            &[
                "POST /my/path?parameter1=value1&parameter1=value2&parameter2=a%20b HTTP/1.1",
                "Host: 127.0.0.1:8080",
                "header1: value1",
                "header2: value1,value2",
                "cookie: cookie1=value1; cookie2=value2",
                "Content-Length: 17",
            ],
            "Hello from Lambda",
        ),
        (
            FUNCTION_URL,
            &[
                "GET / HTTP/1.1",
                "Host: id.lambda-url.eu-west-2.on.aws",
                "x-amzn-trace-id: Root=1-5eb33c07-de25b420912dee103a5db434",
                "x-forwarded-proto: https",
                "x-forwarded-port: 443",
                "x-forwarded-for: 65.78.31.245",
                "accept: */*",
                "user-agent: curl/7.68.0",
                "cookie: test=hi",
            ],
            "",
        ),
        (
            LOAD_BALANCER,
            &[
                "GET /lambda?query=1234%20ABCD&flag= HTTP/1.1",
                "Host: lambda-alb-123578498.us-east-1.elb.amazonaws.com",
                "accept: text/html,application/xhtml+xml",
                "accept-encoding: gzip",
                "upgrade-insecure-requests: 1",
                "user-agent: Mozilla/5.0",
                "x-amzn-trace-id: Root=1-5c536348-3d683b8b04734faae651f476",
                "x-forwarded-for: 72.12.164.125",
                "x-forwarded-port: 80",
                "x-forwarded-proto: http",
                "x-imforwards: 20",
            ],
            "",
        ),
        (
            MULTI,
            &[
                "PUT /?myKey=%3Fall%3Dtrue&myKey=val2 HTTP/1.1",
                "Host: lambda-846800462-us-east-2.elb.amazonaws.com",
                "accept: text/html,application/xhtml+xml",
                "x-amzn-trace-id: Root=1-5bdb40ca-556d8b0c50dc66f0511bf520",
                "x-forwarded-for: 72.21.198.66",
                "x-forwarded-port: 443",
                "x-forwarded-proto: https",
                "cookie: name1=value1; name2=value2",
                "Content-Length: 12",
            ],
            "request_body",
        ),
        (
            LATTICE,
            &[
                "GET /health?state=prod&multi=a&multi=D%20F HTTP/1.1",
                "Host: 127.0.0.1:8080",
                "accept: */*",
                "user-agent: curl/7.68.0",
                "x-forwarded-for: 10.0.2.100",
                "multi: x",
                "multi: y",
            ],
            "",
        ),
        (
            SQS,
            &[
                "POST /events HTTP/1.1",
                "Host: 127.0.0.1:8080",
                "content-type: application/json",
                &format!("Content-Length: {}", SQS.len()),
            ],
            SQS,
        ),
    ];
    for (event, head, body) in table {
        let found = request(event, &[]);
        assert_eq!(found.0, head);
        assert_eq!(String::from_utf8(found.1).unwrap(), body);
    }
}

/// An event of a function URL with these members beside the ones it needs.
fn url(members: &str) -> String {
    format!(r#"{{"requestContext":{{"http":{{"method":"GET"}}}},{members}}}"#)
}

#[test]
fn what_is_no_http_request_is_posted_as_it_is() {
    let table = [
        "",
        "null",
        "[1]",
        "not JSON",
        r#"{"httpMethod":"GET","path":"/"}"#,
        r#"{"requestContext":{"routeKey":"$connect"}}"#,
        r#"{"requestContext":{"http":{"method":"GET /"}},"rawPath":"/"}"#,
        r#"{"requestContext":{"http":{}},"rawPath":"/"}"#,
        &url(r#""headers":{"a":1}"#),
        &url(r#""body":"\ud800""#),
        r#"{"requestContext":{"serviceNetworkArn":"arn"},"path":"/p"}"#,
    ];
    let context = Context::for_test("id");
    let settings = settings(&[("AWS_LWA_PASS_THROUGH_PATH", "here")]);
    for event in table {
        let request = Request::new(event.as_bytes(), &context, &settings).unwrap();
        assert_eq!(request.origin, None, "{event}");
        assert!(request.head.starts_with(b"POST /here HTTP/1.1\r\n"));
        assert_eq!(&*request.body, event.as_bytes());
    }
}

#[test]
fn members_may_be_null_or_absent() {
    let event = url(
        r#""rawPath":"/","rawQueryString":null,"headers":{"a":null,"b":["1",null]},"body":null,
        "multiValueHeaders":null,"cookies":null,"isBase64Encoded":null"#,
    );
    // An array of strings has no null in it.
    assert_eq!(request(&event.replace(",null]", "]"), &[]).0[2..], ["b: 1"]);
}

#[test]
fn paths_and_queries_become_targets() {
    let table = [
        ("/", "", "", "/"),
        ("", "", "", "/"),
        ("a", "", "", "/a"),
        ("/a b/%2F", "q=%20&x", "", "/a%20b/%2F?q=%20&x"),
        // No server has to take a percent sign that begins no code.
        ("/50%/%2F%zz", "", "", "/50%25/%2F%25zz"),
        ("/%4/%", "q=50%&%2f%", "", "/%254/%25?q=50%25&%2f%25"),
        (
            "/!$&'()*+,;=:@-._~%7C\"#<>?[\\]^`{|}",
            "",
            "",
            "/!$&'()*+,;=:@-._~%7C%22%23%3C%3E%3F%5B%5C%5D%5E%60%7B%7C%7D",
        ),
        // A client has written the query.
        ("/", "f[a]={|}^`\\'", "", "/?f[a]={|}^`\\'"),
        ("/", "a=<\"#>", "", "/?a=%3C%22%23%3E"),
        (
            "/\u{e9}\r\nHost: x",
            "a\r\nb",
            "",
            "/%C3%A9%0D%0AHost:%20x?a%0D%0Ab",
        ),
        ("/api/users", "", "/api", "/users"),
        ("/api/users", "", "/api/", "/users"),
        ("/api", "a=1", "api", "/?a=1"),
        ("/apiary", "", "/api", "/apiary"),
        ("/api/api/x", "", "/api", "/api/x"),
        ("/other", "", "/api", "/other"),
        ("/a", "", "/", "/a"),
    ];
    for (path, query, base, target) in table {
        let member = |text: &str| serde_json::to_string(text).unwrap();
        let (path, query) = (member(path), member(query));
        let event = url(&format!(r#""rawPath":{path},"rawQueryString":{query}"#));
        let (head, _) = request(&event, &[("AWS_LWA_REMOVE_BASE_PATH", base)]);
        assert_eq!(head[0], format!("GET {target} HTTP/1.1"));
    }
}

/// The targets are those that `bantam-http` makes a request of.
#[test]
fn a_query_of_vpc_lattice_is_the_one_of_its_path_or_that_of_its_parameters() {
    for (path, target) in [
        ("/health", "/health?state=prod&multi=a&multi=D%20F"),
        ("/a?name=me", "/a?name=me"),
        ("/a%3Fb?q=a+b&c=%26%&d?", "/a%3Fb?q=a+b&c=%26%25&d?"),
        ("/a?", "/a"),
    ] {
        let (head, _) = request(&LATTICE.replace("/health", path), &[]);
        assert_eq!(head[0], format!("GET {target} HTTP/1.1"));
    }
}

#[test]
fn a_body_has_a_length_and_where_one_is_expected_none_has_it_too() {
    let get = url(r#""rawPath":"/","body":"abc""#);
    assert_eq!(request(&get, &[]).0[2..], ["Content-Length: 3"]);
    let post = r#"{"requestContext":{"http":{"method":"POST"}},"rawPath":"/"}"#;
    assert_eq!(request(post, &[]).0[2..], ["Content-Length: 0"]);
}

#[test]
fn a_header_is_a_line_of_its_own_whatever_is_in_it() {
    let event = url(
        r#""headers":{"a":"1\r\nx: 2","b\r\n":"3","c d":"4","HOST":"h\r\nx","é":"5","":"6"},
        "rawPath":"/""#,
    );
    let expected = ["GET / HTTP/1.1", "Host: 127.0.0.1:8080", "a: 1  x: 2"];
    assert_eq!(request(&event, &[]).0, expected);
}

#[test]
fn the_context_of_the_invocation_is_added_and_cannot_be_forged() {
    let event = url(
        r#""rawPath":"/","headers":{"X-Amzn-Lambda-Context":"a","x-amzn-Request-Context":"b"}"#,
    );
    assert_eq!(request(&event, &[]).0.len(), 2);
}

#[test]
fn the_authorization_may_come_from_another_header() {
    let variables = [("AWS_LWA_AUTHORIZATION_SOURCE", "X-Token")];
    let both = url(r#""rawPath":"/","headers":{"Authorization":"a","x-token":"b"}"#);
    assert_eq!(request(&both, &variables).0[2..], ["authorization: b"]);
    let without = url(r#""rawPath":"/","headers":{"Authorization":"a"}"#);
    assert_eq!(request(&without, &variables).0[2..], ["Authorization: a"]);
    for (source, expected) in [("Authorization", "a"), ("Host", "h")] {
        let variables = [("AWS_LWA_AUTHORIZATION_SOURCE", source)];
        let event = url(r#""rawPath":"/","headers":{"authorization":"a","host":"h"}"#);
        let expected = ["Host: h", &format!("authorization: {expected}")];
        assert_eq!(request(&event, &variables).0[1..], expected);
    }
}

#[test]
fn cookies_are_one_header() {
    let table = [
        (r#""headers":{"Cookie":"a=1"}"#, "cookie: a=1"),
        (
            r#""headers":{"COOKIE":["a=1","b=2"],"Cookie":"c=3"}"#,
            "cookie: a=1; b=2; c=3",
        ),
        (
            r#""headers":{"cookie":"a=1"},"cookies":["b=2","c=3"]"#,
            "cookie: b=2; c=3",
        ),
    ];
    for (members, expected) in table {
        let event = url(&format!(r#""rawPath":"/",{members}"#));
        assert_eq!(request(&event, &[]).0[2..], [expected]);
    }
}

#[test]
fn the_paths_of_the_hooks_that_are_set_are_for_no_caller() {
    let before = ("AWS_LWA_SNAPSTART_BEFORE_CHECKPOINT_PATH", "hooks/Before/");
    let after = ("AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH", "/after?a=b");
    let table: [(&[_], [bool; 3]); 4] = [
        (&[], [false, false, false]),
        (&[before], [true, false, false]),
        (&[after], [false, true, false]),
        (&[before, after], [true, true, false]),
    ];
    for (variables, expected) in table {
        let settings = settings(variables);
        let targets = ["/hooks/%62efore", "//after?c", "/"];
        assert_eq!(targets.map(|target| settings.is_hook(target)), expected);
    }
}

#[test]
fn every_spelling_of_a_path_is_one_route() {
    let table = [
        ("/hooks/before", "/hooks/before"),
        ("/Hooks/BEFORE?a=/b", "/hooks/before"),
        ("//hooks/./x/../before/", "/hooks/before"),
        ("/../hooks/%62efore%0a", "/hooks/before"),
        ("/hooks%2Fbefore;v=1;w", "/hooks/before"),
        ("/%68ooks;a=1/%2e/before", "/hooks/before"),
        ("/hooks/%2562efore", "/hooks/%62efore"),
        ("/hooks/before%", "/hooks/before%"),
        ("/hooks/before%zz%4", "/hooks/before%zz%4"),
        ("/hooksbefore", "/hooksbefore"),
        ("/hooks", "/hooks"),
        ("/", ""),
        ("/..", ""),
    ];
    for (target, expected) in table {
        assert_eq!(
            String::from_utf8(route(target)).unwrap(),
            expected,
            "{target}"
        );
    }
}

#[test]
fn a_body_that_is_not_the_base64_it_should_be_is_refused() {
    let event = url(r#""rawPath":"/","body":"?","isBase64Encoded":true"#);
    let context = Context::for_test("id");
    assert!(Request::new(event.as_bytes(), &context, &settings(&[])).is_none());
}

/// The documents that answer the events of REST, HTTP, load balancer, Lattice and another, when the
/// server sends this.
fn documents(response: &[u8]) -> [Value; 5] {
    let mut reader = Reader::new(Expect::Response, Limits::of_body(1_000));
    let progress = reader.read_from(&mut &response[..]).unwrap();
    assert_eq!(progress, Progress::Complete);
    let status = reader.status().unwrap();
    let response = Response::new(status, reader.head(), reader.body());
    [
        Some(Origin::RestApi),
        Some(Origin::HttpApi),
        Some(Origin::LoadBalancer),
        Some(Origin::Lattice),
        None,
    ]
    .map(|origin| serde_json::from_slice(&response.document(origin)).unwrap())
}

#[test]
fn every_sender_gets_the_response_in_its_form() {
    let response = b"HTTP/1.1 201 Created\r\nContent-Type: text/plain\r\nSet-Cookie: a=1, 2\r\n\
        vary: a\r\nset-cookie: b\r\nVary: b\r\nConnection: x-hop\r\nX-Hop: 1\r\n\
        x-latin: \xe9\r\nContent-Length: 3\r\n\r\nabc";
    let lists = json!({
        "Content-Type": ["text/plain"], "Set-Cookie": ["a=1, 2", "b"], "vary": ["a", "b"],
        "x-latin": ["\u{e9}"], "Content-Length": ["3"],
    });
    let joined = json!({
        "Content-Type": "text/plain", "vary": "a, b", "x-latin": "\u{e9}", "Content-Length": "3",
    });
    let mut with_cookies = joined.clone();
    with_cookies["Set-Cookie"] = json!("a=1, 2");
    with_cookies["set-Cookie"] = json!("b");
    let expected = [
        json!({
            "statusCode": 201, "multiValueHeaders": lists,
            "body": "abc", "isBase64Encoded": false,
        }),
        json!({
            "statusCode": 201, "headers": joined, "cookies": ["a=1, 2", "b"],
            "body": "abc", "isBase64Encoded": false,
        }),
        json!({
            "statusCode": 201, "statusDescription": "201 Created",
            "headers": with_cookies, "multiValueHeaders": lists,
            "body": "abc", "isBase64Encoded": false,
        }),
        json!({
            "statusCode": 201, "headers": with_cookies, "body": "abc", "isBase64Encoded": false,
        }),
        json!(null),
    ];
    assert_eq!(documents(response), expected);
}

#[test]
fn each_cookie_has_a_spelling_of_its_own() {
    let response = b"HTTP/1.1 200 OK\r\nset-cookie: 0\r\nset-cookie: 1\r\nset-cookie: 2\r\n\
        set-cookie: 3\r\nContent-Length: 0\r\n\r\n";
    let [.., lattice, _] = documents(response);
    let expected = json!({
        "set-cookie": "0", "Set-cookie": "1", "sEt-cookie": "2", "SEt-cookie": "3",
        "Content-Length": "0",
    });
    assert_eq!(lattice["headers"], expected);
}

#[test]
fn a_status_without_a_reason_has_no_description() {
    for start in ["HTTP/1.1 200 ", "HTTP/1.1 200"] {
        let response = format!("{start}\r\nContent-Length: 0\r\n\r\n");
        let [_, _, balancer, ..] = documents(response.as_bytes());
        assert_eq!(balancer["statusCode"], 200);
        assert_eq!(balancer.get("statusDescription"), None, "{start}");
    }
}

#[test]
fn bodies_are_text_or_base64_by_their_type_and_bytes() {
    let table: [(&str, &[u8], Value); 15] = [
        ("", b"text", json!("text")),
        ("", b"\xff", json!(["/w=="])),
        (
            "Content-Type: text/html; charset=utf-8",
            "\u{e9}".as_bytes(),
            json!("\u{e9}"),
        ),
        (
            "Content-Type: text/html; charset=iso-8859-1",
            b"\xe9",
            json!(["6Q=="]),
        ),
        ("Content-Type: application/json", b"{}", json!("{}")),
        ("Content-Type: Application/JSON", b"{}", json!("{}")),
        (
            "Content-Type: application/problem+json; a=b",
            b"{}",
            json!("{}"),
        ),
        ("Content-Type: application/javascript", b"1", json!("1")),
        ("Content-Type: image/svg+xml", b"<svg/>", json!("<svg/>")),
        ("Content-Type: image/png", b"PNG", json!(["UE5H"])),
        ("Content-Type: application/octet-stream", b"", json!("")),
        (
            "Content-Type: image/x\r\nx-lambda-http-content-encoding: text",
            b"a",
            json!("a"),
        ),
        ("Content-Encoding: gzip", b"ab", json!(["YWI="])),
        (
            "Content-Type: text/plain\r\nContent-Encoding: br",
            b"a",
            json!(["YQ=="]),
        ),
        (
            "Content-Type: application/x-www-form-urlencoded",
            b"a=b",
            json!(["YT1i"]),
        ),
    ];
    for (fields, body, expected) in table {
        let end = if fields.is_empty() { "" } else { "\r\n" };
        let length = body.len();
        let head = format!("HTTP/1.1 200 OK\r\n{fields}{end}Content-Length: {length}\r\n\r\n");
        let [rest, ..] = documents(&[head.as_bytes(), body].concat());
        let is_base64 = rest["isBase64Encoded"].as_bool().unwrap();
        let found = if is_base64 {
            json!([rest["body"]])
        } else {
            rest["body"].clone()
        };
        assert_eq!(found, expected, "{fields} {body:?}");
    }
}

#[test]
fn other_events_are_answered_with_json_or_null() {
    for (body, expected) in [
        (
            r#"{"batchItemFailures":[]}"#,
            json!({"batchItemFailures": []}),
        ),
        ("7", json!(7)),
        ("OK", json!(null)),
        ("", json!(null)),
    ] {
        let length = body.len();
        let response = format!("HTTP/1.1 500 \r\nContent-Length: {length}\r\n\r\n{body}");
        let [.., other] = documents(response.as_bytes());
        assert_eq!(other, expected, "{body}");
    }
}

#[test]
fn settings_have_the_defaults_of_the_adapter() {
    let settings = settings(&[]);
    assert_eq!(settings.server.address.to_string(), "127.0.0.1:8080");
    assert_eq!(settings.port, "8080");
    assert_eq!(settings.readiness.server, settings.server);
    assert_eq!(settings.readiness.path.as_deref(), Some("/"));
    assert_eq!(settings.readiness.timeout, None);
    assert!(!settings.readiness.is_async);
    let healthy = [99, 100, 404, 499, 500].map(|status| settings.readiness.healthy.hold(status));
    assert_eq!(healthy, [false, true, true, true, false]);
    assert_eq!(settings.base_path, "");
    assert_eq!(settings.pass_through_path, "/events");
    assert!(!settings.error_statuses.hold(500));
}

#[test]
fn settings_are_read_under_their_old_names_too() {
    let read = settings(&[
        ("HOST", "localhost"),
        ("PORT", "3000"),
        ("READINESS_CHECK_PORT", "3001"),
        ("READINESS_CHECK_PATH", "health"),
        ("AWS_LWA_READINESS_CHECK_MIN_UNHEALTHY_STATUS", "400"),
        ("REMOVE_BASE_PATH", "/v1/"),
        ("ASYNC_INIT", "true"),
        ("AWS_LWA_ERROR_STATUS_CODES", "500, 502-504,"),
    ]);
    assert_eq!(read.server.address.to_string(), "127.0.0.1:3000");
    assert_eq!(read.server.authority, "localhost:3000");
    assert_eq!(read.readiness.server.address.to_string(), "127.0.0.1:3001");
    assert_eq!(read.readiness.path.as_deref(), Some("/health"));
    assert!(read.readiness.healthy.hold(399) && !read.readiness.healthy.hold(400));
    assert_eq!(read.base_path, "/v1");
    assert!(read.readiness.is_async);
    let errors = [499, 500, 501, 502, 504, 505].map(|status| read.error_statuses.hold(status));
    assert_eq!(errors, [false, true, false, true, true, false]);
    let new = settings(&[
        ("AWS_LWA_PORT", "4000"),
        ("PORT", "3000"),
        ("AWS_LWA_READINESS_CHECK_PROTOCOL", "TCP"),
        ("AWS_LWA_READINESS_CHECK_HEALTHY_STATUS", "200-299,404"),
    ]);
    assert_eq!(new.server.address.port(), 4000);
    assert_eq!(new.readiness.path, None);
    let timeout = "AWS_LWA_READINESS_CHECK_TIMEOUT_SECONDS";
    let timeouts = ["0", "0.0", "0.5"].map(|value| settings(&[(timeout, value)]).readiness.timeout);
    assert_eq!(timeouts, [None, None, Some(Duration::from_millis(500))]);
    assert!(new.readiness.healthy.hold(404) && !new.readiness.healthy.hold(403));
}

#[test]
fn a_setting_that_means_nothing_is_named() {
    let table = [
        (
            "AWS_LWA_PORT",
            "http",
            "\"http\", expected a port from 1 to 65535",
        ),
        (
            "AWS_LWA_PASS_THROUGH_PATH",
            "/\u{e9}v",
            "\"/\u{e9}v\", expected a path of visible ASCII characters",
        ),
        ("PORT", "0", "\"0\", expected a port from 1 to 65535"),
        (
            "AWS_LWA_HOST",
            "a b",
            "\"a b\", expected an IP address or the name of a host",
        ),
        (
            "AWS_LWA_READINESS_CHECK_PORT",
            "-1",
            "\"-1\", expected a port from 1 to 65535",
        ),
        (
            "AWS_LWA_READINESS_CHECK_PROTOCOL",
            "udp",
            "\"udp\", expected http or tcp",
        ),
        ("AWS_LWA_ASYNC_INIT", "1", "\"1\", expected true or false"),
        (
            "AWS_LWA_ERROR_STATUS_CODES",
            "5xx",
            "\"5xx\", expected statuses such as 500,502-504",
        ),
        (
            "AWS_LWA_READINESS_CHECK_TIMEOUT_SECONDS",
            "1,5",
            "\"1,5\", expected seconds such as 4 or 0.5",
        ),
    ];
    for (name, value, expected) in table {
        assert_eq!(refused(name, value), format!("{name} is {expected}"));
    }
}

fn refused(name: &str, value: &str) -> String {
    let lookup = |asked: &str| (asked == name).then(|| OsString::from(value));
    let error = Settings::read(&lookup, &|_| None).unwrap_err();
    error.to_string()
}

#[test]
fn a_host_and_a_port_are_nothing_else() {
    for host in [
        "http://127.0.0.1",
        "127.0.0.1/x",
        "127.0.0.1:80",
        "[::1]:80",
        "::1]",
        "a@b",
    ] {
        let expected = "expected an IP address or the name of a host";
        let message = format!("AWS_LWA_HOST is \"{host}\", {expected}");
        assert_eq!(refused("AWS_LWA_HOST", host), message);
    }
    for port in ["80/x", "1:80", "65536", "+1"] {
        let message = format!("AWS_LWA_PORT is \"{port}\", expected a port from 1 to 65535");
        assert_eq!(refused("AWS_LWA_PORT", port), message);
    }
}

#[test]
fn a_host_is_an_address_or_a_name() {
    for (host, address, authority) in [
        ("10.0.0.1", "10.0.0.1:8080", "10.0.0.1:8080"),
        ("LocalHost", "127.0.0.1:8080", "LocalHost:8080"),
        ("::1", "[::1]:8080", "[::1]:8080"),
        ("[::1]", "[::1]:8080", "[::1]:8080"),
        ("app", "10.0.0.7:8080", "app:8080"),
    ] {
        let lookup = |asked: &str| (asked == "AWS_LWA_HOST").then(|| OsString::from(host));
        let resolve = |name: &str| (name == "app").then(|| [10, 0, 0, 7].into());
        let read = Settings::read(&lookup, &resolve).unwrap();
        assert_eq!(read.server.address.to_string(), address, "{host}");
        assert_eq!(read.server.authority, authority, "{host}");
    }
}

#[test]
fn seconds_may_have_a_fraction() {
    for (value, ms) in [
        ("4", 4_000),
        ("0", 0),
        ("0.5", 500),
        ("1.25", 1_250),
        ("2.00049", 2_000),
        ("0.333333333333333333333", 333),
    ] {
        let read = settings(&[("AWS_LWA_POOL_IDLE_TIMEOUT_SECONDS", value)]);
        assert_eq!(read.idle_max, Duration::from_millis(ms), "{value}");
    }
    for value in ["1.", "1.x", "1.2.3", "1.000x", "-1", "1e3"] {
        let lookup = |asked: &str| {
            (asked == "AWS_LWA_POOL_IDLE_TIMEOUT_SECONDS").then(|| OsString::from(value))
        };
        assert!(Settings::read(&lookup, &|_| None).is_err(), "{value}");
    }
}

#[test]
fn an_init_that_nobody_waits_for_is_not_cut_short() {
    let is_async = |initialization| {
        let variables = [("AWS_LWA_ASYNC_INIT", "true"), (INIT_TYPE, initialization)];
        settings(&variables).readiness.is_async
    };
    let table = [
        ("on-demand", true),
        ("lambda-managed-instances", true),
        ("snap-start", false),
        ("provisioned-concurrency", false),
    ];
    for (initialization, expected) in table {
        assert_eq!(is_async(initialization), expected, "{initialization}");
    }
}

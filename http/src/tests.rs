//! Events with the requests that they are, and responses with their JSON.

use aws_lambda_events::event::alb::AlbTargetGroupResponse;
use aws_lambda_events::event::apigw::{
    ApiGatewayProxyRequestContext, ApiGatewayProxyResponse, ApiGatewayV2httpRequestContext,
    ApiGatewayV2httpResponse,
};
use bantam::Context;
use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use serde_json::{Map, Value, json};

use crate::event::{Event, EventError, Source};
use crate::reply::Reply;
use crate::request::{self, Invocation, RequestContext};

fn read(event: &Value) -> Result<(Request<Bytes>, Source), EventError> {
    let context = Context::for_test("id-1");
    request::read(event.to_string().as_bytes(), &context)
}

fn rest(changes: Value) -> Value {
    changed(
        json!({
            "resource": "/{proxy+}",
            "path": "/a b/ü",
            "httpMethod": "GET",
            "headers": {"Host": "example.com", "X-One": "2"},
            "multiValueHeaders": {"Host": ["example.com"], "X-One": ["1", "2"]},
            "queryStringParameters": {"name": "me & you"},
            "multiValueQueryStringParameters": {"name": ["me", "me & you"], "empty": [""]},
            "pathParameters": {"proxy": "a b"},
            "stageVariables": null,
            "requestContext": {"requestId": "r", "stage": "prod", "httpMethod": "GET"},
            "body": null,
            "isBase64Encoded": false,
        }),
        changes,
    )
}

fn http(changes: Value) -> Value {
    changed(
        json!({
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": "/a%20b",
            "rawQueryString": "name=me%20%26%20you&empty",
            "cookies": ["a=1", "b=2"],
            "headers": {"host": "example.com", "x-one": "1,2"},
            "queryStringParameters": {"name": "me & you"},
            "requestContext": {
                "http": {"method": "POST", "path": "/a b", "protocol": "HTTP/1.1"},
                "stage": "$default",
            },
            "body": "aGVsbG8=",
            "isBase64Encoded": true,
        }),
        changes,
    )
}

fn balancer(changes: Value) -> Value {
    changed(
        json!({
            "requestContext": {"elb": {"targetGroupArn": "arn:aws:elasticloadbalancing:t"}},
            "httpMethod": "PUT",
            "path": "/lambda",
            "queryStringParameters": {"name": "me%20%26%20you"},
            "headers": {"accept": "text/html"},
            "body": "text",
            "isBase64Encoded": false,
        }),
        changes,
    )
}

fn lattice(changes: Value) -> Value {
    changed(
        json!({
            "version": "2.0",
            "path": "/a?name=me&name=you",
            "method": "DELETE",
            "headers": {"x-one": ["1", "2"]},
            "queryStringParameters": {"name": ["me", "you"]},
            "body": "",
            "isBase64Encoded": false,
            "requestContext": {
                "serviceNetworkArn": "arn:aws:vpc-lattice:n",
                "serviceArn": "arn:aws:vpc-lattice:s",
            },
        }),
        changes,
    )
}

fn changed(mut event: Value, changes: Value) -> Value {
    let Value::Object(changes) = changes else {
        return event;
    };
    for (name, value) in changes {
        event[name] = value;
    }
    event
}

#[test]
fn every_source_is_told_with_method_and_target() {
    let multi = json!({"multiValueHeaders": {}});
    let table = [
        (
            rest(json!({})),
            Source::Rest,
            "GET /a%20b/%C3%BC?empty=&name=me&name=me%20%26%20you",
        ),
        (
            rest(json!({"multiValueQueryStringParameters": null})),
            Source::Rest,
            "GET /a%20b/%C3%BC?name=me%20%26%20you",
        ),
        (
            // An HTTP API with the format 1.0.
            rest(json!({"version": "1.0", "path": "/", "multiValueQueryStringParameters": {}})),
            Source::Rest,
            "GET /",
        ),
        (
            http(json!({})),
            Source::Http,
            "POST /a%20b?name=me%20%26%20you&empty",
        ),
        (
            http(json!({"rawQueryString": ""})),
            Source::Http,
            "POST /a%20b",
        ),
        (
            balancer(json!({})),
            Source::Balancer { multi_value: false },
            "PUT /lambda?name=me%20%26%20you",
        ),
        (
            balancer(multi),
            Source::Balancer { multi_value: true },
            "PUT /lambda?name=me%20%26%20you",
        ),
        (
            lattice(json!({})),
            Source::Lattice,
            "DELETE /a?name=me&name=you",
        ),
    ];
    for (event, source, line) in table {
        let (request, read) = read(&event).unwrap();
        assert_eq!(read, source, "{event}");
        assert_eq!(format!("{} {}", request.method(), request.uri()), line);
    }
}

#[test]
fn what_no_target_holds_is_encoded() {
    let raw = "q=a b&s=\"x\"&t=<y>#z";
    let encoded = "?q=a%20b&s=%22x%22&t=%3Cy%3E%23z";
    let table = [
        (
            http(json!({"rawPath": "/", "rawQueryString": raw})),
            encoded,
        ),
        (
            balancer(json!({
                "path": "/", "queryStringParameters": {"q": "a b", "s": "\"x\"", "t": "<y>#z"},
            })),
            encoded,
        ),
        (lattice(json!({"path": format!("/?{raw}")})), encoded),
        (
            http(json!({"rawPath": "/50%/%2F%zz?", "rawQueryString": "q=50%&%2f%\u{7f}\u{e9}"})),
            "50%25/%2F%25zz%3F?q=50%25&%2f%25%7F%C3%A9",
        ),
        (
            balancer(json!({"path": "/", "queryStringParameters": {"a%": "%4", "b": "%41"}})),
            "?a%25=%254&b=%41",
        ),
        (
            rest(json!({"path": "/", "multiValueQueryStringParameters": {"a": ["%41&"]}})),
            "?a=%2541%26",
        ),
    ];
    for (event, expected) in table {
        let (request, _) = read(&event).unwrap();
        assert_eq!(request.uri().to_string(), format!("/{expected}"));
    }
    for byte in 0..=0x7F_u8 {
        let text = char::from(byte).to_string();
        read(&http(json!({"rawPath": text, "rawQueryString": text}))).unwrap();
    }
}

/// The targets are those that the stock binary sends a server.
#[test]
fn a_query_of_vpc_lattice_is_the_one_of_its_path_or_that_of_its_parameters() {
    let event = include_str!("../../tests/fixtures/http/lattice.json");
    for (path, target) in [
        ("/health", "/health?state=prod&multi=a&multi=D%20F"),
        ("/a?name=me", "/a?name=me"),
        ("/a%3Fb?q=a+b&c=%26%&d?", "/a%3Fb?q=a+b&c=%26%25&d?"),
        ("/a?", "/a"),
    ] {
        // The parameters stay in their order.
        let event = event.replace("/health", path);
        let (request, source) =
            request::read(event.as_bytes(), &Context::for_test("id-1")).unwrap();
        assert_eq!(source, Source::Lattice);
        assert_eq!(request.uri(), target);
    }
}

#[test]
fn headers_have_all_their_values() {
    let all = |event: &Value, name| {
        let (request, _) = read(event).unwrap();
        let values = request.headers().get_all(name).into_iter();
        values
            .map(|value| value.to_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(all(&rest(json!({})), "x-one"), ["1", "2"]);
    assert_eq!(
        all(&rest(json!({"multiValueHeaders": null})), "x-one"),
        ["2"]
    );
    assert_eq!(all(&http(json!({})), "x-one"), ["1,2"]);
    assert_eq!(all(&http(json!({})), "cookie"), ["a=1; b=2"]);
    assert_eq!(
        all(&http(json!({"cookies": null})), "cookie"),
        Vec::<String>::new()
    );
    assert_eq!(all(&balancer(json!({})), "accept"), ["text/html"]);
    assert_eq!(all(&lattice(json!({})), "x-one"), ["1", "2"]);
}

/// The stock binary leaves them out as well.
#[test]
fn a_header_whose_name_is_no_token_is_left_out() {
    let fields = json!({"x(y)": "1", "": "2", "accept": "text/html"});
    let (request, _) = read(&balancer(json!({"headers": fields}))).unwrap();
    let names: Vec<_> = request.headers().keys().collect();
    assert_eq!(names, ["accept"]);
}

#[test]
fn more_headers_than_a_map_holds_are_an_error() {
    let fields: Map<String, Value> = (0..40_000)
        .map(|number| (format!("x-{number}"), json!("1")))
        .collect();
    let error = read(&balancer(json!({"headers": fields}))).unwrap_err();
    assert!(matches!(error, EventError::Http(_)), "{error}");
}

#[test]
fn a_body_is_decoded_where_the_event_says_so() {
    let body = |event: &Value| read(event).unwrap().0.into_body();
    assert_eq!(body(&http(json!({}))), "hello");
    assert_eq!(body(&http(json!({"isBase64Encoded": false}))), "aGVsbG8=");
    assert_eq!(body(&rest(json!({}))), "");
    assert_eq!(body(&balancer(json!({}))), "text");
    let error = read(&http(json!({"body": "%"}))).unwrap_err();
    assert!(matches!(error, EventError::Base64(_)), "{error}");
}

#[test]
fn the_extensions_hold_what_else_the_event_says() {
    let (request, _) = read(&rest(json!({}))).unwrap();
    let invocation: &Invocation = request.extensions().get().unwrap();
    assert_eq!(invocation.request_id, "id-1");
    assert!(invocation.deadline.unwrap() > std::time::SystemTime::UNIX_EPOCH);
    let context: &RequestContext = request.extensions().get().unwrap();
    assert_eq!(context.path_parameters["proxy"], "a b");
    assert!(context.stage_variables.is_empty());
    let typed: ApiGatewayProxyRequestContext = context.parse().unwrap();
    assert_eq!(typed.stage.as_deref(), Some("prod"));

    let (request, _) = read(&http(json!({}))).unwrap();
    let context: &RequestContext = request.extensions().get().unwrap();
    let typed: ApiGatewayV2httpRequestContext = context.parse().unwrap();
    assert_eq!(typed.http.method, "POST");
}

#[test]
fn an_event_without_a_context_has_an_empty_one() {
    for context in [json!({}), json!(null)] {
        let (request, _) = read(&rest(json!({"requestContext": context}))).unwrap();
        let context: &RequestContext = request.extensions().get().unwrap();
        assert_eq!(context.json(), "{}");
    }
}

#[test]
fn a_path_begins_with_a_slash() {
    for (path, expected) in [("", "/"), ("*", "/*"), ("a/b", "/a/b"), ("/a", "/a")] {
        let (request, _) = read(&rest(json!({"httpMethod": "GET", "path": path}))).unwrap();
        assert_eq!(request.uri().path(), expected);
    }
}

#[test]
fn what_is_no_request_is_an_error_that_says_why() {
    let table = [
        (
            json!({"Records": []}),
            "the event is no HTTP request of API Gateway",
        ),
        (json!([]), "the event is no HTTP request: "),
        (
            http(json!({"headers": {"name": "a\nb"}})),
            "the event has no HTTP request: ",
        ),
        (
            rest(json!({"httpMethod": "NOT OK"})),
            "the event has no HTTP request: ",
        ),
        (
            rest(json!({"isBase64Encoded": "no"})),
            "the event is no HTTP request: ",
        ),
    ];
    for (event, expected) in table {
        let error = read(&event).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{event}: {error}");
    }
    let error = Event::parse(b"{\"a\":\"\xFF\"}").unwrap_err().to_string();
    assert_eq!(
        error,
        "the event is no HTTP request: invalid utf-8 sequence of 1 bytes from index 6"
    );
}

fn reply(source: Source, body: &[u8]) -> Value {
    let response = Response::builder()
        .status(201)
        .header("content-type", "text/plain")
        .header("x-one", "1")
        .header("x-one", HeaderValue::from_bytes(b"\xFF").unwrap())
        .header("set-cookie", "a=1")
        .header("set-cookie", "b=2");
    let (head, ()) = response.body(()).unwrap().into_parts();
    serde_json::to_value(Reply::new(source, &head, body)).unwrap()
}

#[test]
fn a_response_has_the_form_of_its_source() {
    let several = json!({
        "content-type": ["text/plain"],
        "set-cookie": ["a=1", "b=2"],
        "x-one": ["1", "\u{FFFD}"],
    });
    let expected = json!({
        "statusCode": 201,
        "multiValueHeaders": several,
        "body": "é",
        "isBase64Encoded": false,
    });
    let rest = reply(Source::Rest, "é".as_bytes());
    assert_eq!(rest, expected);
    let typed: ApiGatewayProxyResponse = serde_json::from_value(rest).unwrap();
    assert_eq!(typed.status_code, 201);

    let one = json!({"content-type": "text/plain", "x-one": "1, \u{FFFD}"});
    let http = reply(Source::Http, b"");
    assert_eq!(http["headers"], one);
    assert_eq!(http["cookies"], json!(["a=1", "b=2"]));
    let typed: ApiGatewayV2httpResponse = serde_json::from_value(http).unwrap();
    assert_eq!(typed.cookies, ["a=1", "b=2"]);

    let balancer = reply(Source::Balancer { multi_value: true }, b"");
    assert_eq!(balancer["statusDescription"], "201 Created");
    assert_eq!(balancer["multiValueHeaders"], several);
    assert_eq!(balancer.get("headers"), None);
    let single = reply(Source::Balancer { multi_value: false }, b"");
    let with_cookies = json!({
        "content-type": "text/plain", "x-one": "1, \u{FFFD}",
        "set-cookie": "a=1", "Set-cookie": "b=2",
    });
    assert_eq!(single["headers"], with_cookies);
    assert_eq!(single.get("multiValueHeaders"), None);
    let typed: AlbTargetGroupResponse = serde_json::from_value(single).unwrap();
    assert_eq!(typed.status_description.as_deref(), Some("201 Created"));

    let lattice = reply(Source::Lattice, b"");
    assert_eq!(lattice["headers"], with_cookies);
}

#[test]
fn a_response_without_headers_has_an_empty_member() {
    let (head, ()) = Response::new(()).into_parts();
    for (source, member) in [
        (Source::Rest, "multiValueHeaders"),
        (Source::Http, "headers"),
        (Source::Balancer { multi_value: true }, "multiValueHeaders"),
        (Source::Balancer { multi_value: false }, "headers"),
        (Source::Lattice, "headers"),
    ] {
        let reply = serde_json::to_value(Reply::new(source, &head, b"")).unwrap();
        let members = ["headers", "multiValueHeaders"];
        let written: Vec<_> = members
            .iter()
            .filter(|name| reply.get(name).is_some())
            .collect();
        assert_eq!(written, [&member], "{source:?}");
        assert_eq!(reply[member], json!({}), "{source:?}");
    }
}

#[test]
fn each_cookie_has_a_spelling_of_its_own() {
    let mut response = Response::builder();
    for number in 0..512 {
        response = response.header("set-cookie", number);
    }
    let (head, ()) = response.body(()).unwrap().into_parts();
    let reply = serde_json::to_value(Reply::new(Source::Lattice, &head, b"")).unwrap();
    let fields = reply["headers"].as_object().unwrap();
    let cookies = [
        "set-cookie",
        "Set-cookie",
        "sEt-cookie",
        "SEt-cookie",
        "SET-COOKIE",
    ];
    assert_eq!(
        cookies.map(|name| &fields[name]),
        ["0", "1", "2", "3", "511"]
    );
    assert_eq!(fields.len(), 512);
}

#[test]
fn a_body_that_is_no_text_goes_out_in_base64() {
    let binary = reply(Source::Http, b"\xFF\x00");
    assert_eq!(
        (&binary["body"], &binary["isBase64Encoded"]),
        (&json!("/wA="), &json!(true))
    );
    // A NUL is text.
    let text = reply(Source::Http, b"\x00");
    assert_eq!(
        (&text["body"], &text["isBase64Encoded"]),
        (&json!("\u{0}"), &json!(false))
    );
}

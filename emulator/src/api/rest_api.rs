//! Events and responses of payload format 1.0, which REST APIs of API Gateway have.
//!
//! "Lambda proxy integrations in API Gateway"
//! (docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html).
//! The API has one resource, the greedy `/{proxy+}`, with any method.

use hyper::header::{
    CONNECTION, HOST, HeaderMap, HeaderName, TRANSFER_ENCODING, UPGRADE, USER_AGENT,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::api::url_reply::{NoReply, Reply, body, streamed};
use crate::api::web_request::{Request, decoded};
use crate::config::Config;
use crate::http::{header, object};
use crate::record::outcome::Outcome;
use crate::time::{common_log, epoch_ms};

/// The event that a request becomes.
pub(super) fn event(config: &Config, request: &Request<'_>) -> Value {
    let parts = request.parts;
    let method = parts.method.as_str();
    let host = header(&parts.headers, HOST.as_str()).unwrap_or_default();
    let source = request.peer.ip().to_string();
    let headers = headers(&parts.headers, &source);
    let parameters = parameters(parts.uri.query().unwrap_or_default());
    let proxy = request.path.trim_start_matches('/');
    let resource = if proxy.is_empty() { "/" } else { "/{proxy+}" };
    let (body, is_base64) = match request.body() {
        Some((body, is_base64)) => (json!(body), is_base64),
        None => (Value::Null, false),
    };
    let proxy = (!proxy.is_empty()).then(|| json!({ "proxy": decoded_path(proxy) }));
    json!({
        "resource": resource,
        "path": request.path,
        "httpMethod": method,
        "headers": last(&headers),
        "multiValueHeaders": many(headers),
        "queryStringParameters": last(&parameters),
        "multiValueQueryStringParameters": many(parameters),
        "pathParameters": proxy,
        "stageVariables": null,
        "requestContext": {
            "accountId": config.account_id,
            "apiId": config.function_name,
            "domainName": host,
            "domainPrefix": config.function_name,
            "extendedRequestId": request.id,
            "httpMethod": method,
            "identity": {
                "accessKey": null,
                "accountId": null,
                "caller": null,
                "cognitoAuthenticationProvider": null,
                "cognitoAuthenticationType": null,
                "cognitoIdentityId": null,
                "cognitoIdentityPoolId": null,
                "principalOrgId": null,
                "sourceIp": source,
                "user": null,
                "userAgent": header(&parts.headers, USER_AGENT.as_str()),
                "userArn": null,
            },
            // With the stage, in contrast to `path`.
            "path": parts.uri.path(),
            "protocol": format!("{:?}", parts.version),
            "requestId": request.id,
            "requestTime": common_log(request.now),
            "requestTimeEpoch": epoch_ms(request.now),
            "resourceId": "proxy",
            "resourcePath": resource,
            "stage": config.http_stage.as_deref().unwrap_or(STAGE),
        },
        "body": body,
        "isBase64Encoded": is_base64,
    })
}

/// Names and their values, in order.
type Values = Vec<(String, Vec<String>)>;

/// All headers but those of the connection, and what AWS adds. Clients of HTTP/1.1 write names in
/// this case, which a REST API leaves as it is.
fn headers(headers: &HeaderMap, source: &str) -> Values {
    let left_out = |name: &HeaderName| [CONNECTION, TRANSFER_ENCODING, UPGRADE].contains(name);
    let mut values = Values::new();
    for name in headers.keys().filter(|name| !left_out(name)) {
        let all = headers.get_all(name).iter();
        let all = all.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        values.push((title_case(name.as_str()), all.collect()));
    }
    for (name, value) in [("X-Forwarded-For", source), ("X-Forwarded-Proto", "http")] {
        if !values.iter().any(|(other, _)| other == name) {
            values.push((name.to_owned(), vec![value.to_owned()]));
        }
    }
    values
}

fn title_case(name: &str) -> String {
    let mut begins = true;
    let letters = name.chars().map(|letter| {
        let letter = if begins {
            letter.to_ascii_uppercase()
        } else {
            letter
        };
        begins = letter == '-';
        letter
    });
    letters.collect()
}

/// The parameters of a query, decoded.
fn parameters(query: &str) -> Values {
    let mut values = Values::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decoded(name), decoded(value));
        match values.iter_mut().find(|(other, _)| *other == name) {
            Some((_, all)) => all.push(value),
            None => values.push((name, vec![value])),
        }
    }
    values
}

/// In a path a plus sign is a plus sign.
fn decoded_path(text: &str) -> String {
    decoded(&text.replace('+', "%2B"))
}

/// The last value of each name; `null` if there is no name.
fn last(values: &Values) -> Option<Map<String, Value>> {
    let last = values
        .iter()
        .map(|(name, all)| (name.clone(), json!(all.last())));
    (!values.is_empty()).then(|| last.collect())
}

fn many(values: Values) -> Option<Map<String, Value>> {
    let is_empty = values.is_empty();
    let many = values.into_iter().map(|(name, all)| (name, json!(all)));
    (!is_empty).then(|| many.collect())
}

/// A response of payload format 1.0. One with another member is malformed.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Form {
    status_code: u16,
    #[serde(default)]
    headers: Option<Map<String, Value>>,
    #[serde(default)]
    multi_value_headers: Option<Map<String, Value>>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: Option<bool>,
}

/// The function's response, read as a REST API reads it.
pub(super) fn reply(outcome: &Outcome) -> Result<Reply, NoReply> {
    if let Some(error) = &outcome.function_error {
        return Err(NoReply::FunctionError(error.error_type.clone()));
    }
    if outcome.streamed {
        return streamed(outcome);
    }
    let form: Form = object(&outcome.body).map_err(NoReply::RestForm)?;
    // A REST API decodes for its binary media types; here they are all of them.
    let body = body(form.body, form.is_base64_encoded)?;
    let many = form.multi_value_headers.unwrap_or_default();
    let is_named = |name: &str| many.keys().any(|other| other.eq_ignore_ascii_case(name));
    // "If the same key-value pair is specified in both, only the values from `multiValueHeaders`".
    let single = form.headers.unwrap_or_default().into_iter();
    let mut headers = Vec::new();
    headers.extend(single.filter(|(name, _)| !is_named(name)));
    for (name, values) in many {
        if let Value::Array(values) = values {
            headers.extend(values.into_iter().map(|value| (name.clone(), value)));
        } else {
            headers.push((name, values));
        }
    }
    Reply::new(form.status_code, headers.into_iter(), body)
}

/// The stage in an event where none was named.
const STAGE: &str = "prod";

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::{Duration, UNIX_EPOCH};

    use hyper::http::request::Builder;

    use super::*;

    fn event_of(config: &Config, path: &str, request: Builder, body: &[u8]) -> Value {
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let request = Request {
            path,
            parts: &parts,
            body,
            peer: SocketAddr::from(([192, 0, 2, 7], 50_000)),
            id: "id",
            now: UNIX_EPOCH + Duration::from_millis(1_583_348_638_390),
        };
        event(config, &request)
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "it is a table")]
    fn a_request_has_every_member_of_the_format() {
        let mut config = Config::new("/bootstrap");
        config.http_stage = Some("dev".into());
        let request = hyper::Request::builder()
            .method("POST")
            .uri("/dev/my%20path/a+b?a=1&b=%C3%A9+z&a=2&flag")
            .header("host", "127.0.0.1:9000")
            .header("user-agent", "curl/8")
            .header("cookie", "one=1; two=2")
            .header("x-many", "x")
            .header("x-many", "y")
            .header("connection", "keep-alive");
        let got = event_of(&config, "/my%20path/a+b", request, b"\xff\xfe");
        let expected = json!({
            "resource": "/{proxy+}",
            "path": "/my%20path/a+b",
            "httpMethod": "POST",
            "headers": {
                "Host": "127.0.0.1:9000",
                "User-Agent": "curl/8",
                "Cookie": "one=1; two=2",
                "X-Many": "y",
                "X-Forwarded-For": "192.0.2.7",
                "X-Forwarded-Proto": "http",
            },
            "multiValueHeaders": {
                "Host": ["127.0.0.1:9000"],
                "User-Agent": ["curl/8"],
                "Cookie": ["one=1; two=2"],
                "X-Many": ["x", "y"],
                "X-Forwarded-For": ["192.0.2.7"],
                "X-Forwarded-Proto": ["http"],
            },
            "queryStringParameters": {"a": "2", "b": "\u{e9} z", "flag": ""},
            "multiValueQueryStringParameters": {
                "a": ["1", "2"], "b": ["\u{e9} z"], "flag": [""],
            },
            "pathParameters": {"proxy": "my path/a+b"},
            "stageVariables": null,
            "requestContext": {
                "accountId": "123456789012",
                "apiId": "function",
                "domainName": "127.0.0.1:9000",
                "domainPrefix": "function",
                "extendedRequestId": "id",
                "httpMethod": "POST",
                "identity": {
                    "accessKey": null,
                    "accountId": null,
                    "caller": null,
                    "cognitoAuthenticationProvider": null,
                    "cognitoAuthenticationType": null,
                    "cognitoIdentityId": null,
                    "cognitoIdentityPoolId": null,
                    "principalOrgId": null,
                    "sourceIp": "192.0.2.7",
                    "user": null,
                    "userAgent": "curl/8",
                    "userArn": null,
                },
                "path": "/dev/my%20path/a+b",
                "protocol": "HTTP/1.1",
                "requestId": "id",
                "requestTime": "04/Mar/2020:19:03:58 +0000",
                "requestTimeEpoch": 1_583_348_638_390_u64,
                "resourceId": "proxy",
                "resourcePath": "/{proxy+}",
                "stage": "dev",
            },
            "body": "//4=",
            "isBase64Encoded": true,
        });
        assert_eq!(got, expected);
    }

    #[test]
    fn members_without_a_value_are_null() {
        let config = Config::new("/bootstrap");
        let event = event_of(&config, "/", hyper::Request::builder().uri("/"), b"");
        for (member, expected) in [
            ("/resource", json!("/")),
            ("/queryStringParameters", Value::Null),
            ("/multiValueQueryStringParameters", Value::Null),
            ("/pathParameters", Value::Null),
            ("/body", Value::Null),
            ("/isBase64Encoded", json!(false)),
            ("/requestContext/stage", json!("prod")),
            ("/requestContext/identity/userAgent", Value::Null),
        ] {
            assert_eq!(event.pointer(member), Some(&expected), "{member}");
        }
    }

    fn replied(body: &str) -> Result<Reply, NoReply> {
        reply(&Outcome {
            body: body.as_bytes().to_vec(),
            ..Outcome::empty(200, "id")
        })
    }

    #[test]
    fn headers_of_both_kinds_are_one_list() {
        let reply = replied(
            r#"{"statusCode":201,"headers":{"Content-Type":"text/plain","x-a":"single","N":7},
                "multiValueHeaders":{"Set-Cookie":["a=1","b=2"],"X-A":["1","2"]},
                "body":"Ym9keQ==","isBase64Encoded":true}"#,
        );
        let headers = [
            ("content-type", "text/plain"),
            ("n", "7"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("x-a", "1"),
            ("x-a", "2"),
        ];
        let mut reply = reply.unwrap();
        reply.headers.sort();
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!((reply.status, reply.body), (201, b"body".to_vec()));
        assert_eq!(reply.headers, headers);
    }

    #[test]
    fn a_response_of_another_form_says_what_is_wrong() {
        for (body, expected) in [
            (r#""text""#, "invalid type: string"),
            ("[200]", "invalid type: sequence"),
            (r#"{"message":"hello"}"#, "unknown field `message`"),
            (r#"{"body":"hello"}"#, "missing field `statusCode`"),
            (
                r#"{"statusCode":200,"cookies":[]}"#,
                "unknown field `cookies`",
            ),
            (r#"{"statusCode":200,"body":{}}"#, "invalid type: map"),
            (r#"{"statusCode":99}"#, "statusCode 99 is not between"),
        ] {
            let error = replied(body).unwrap_err().to_string();
            assert!(error.contains(expected), "{body}: {error}");
        }
    }
}

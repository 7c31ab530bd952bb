//! Events of payload format 1.0, which REST APIs of API Gateway have.
//!
//! "Lambda proxy integrations in API Gateway"
//! (docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html).
//! The API has one resource, the greedy `/{proxy+}`, with any method.

use hyper::header::{CONNECTION, HOST, HeaderName, TRANSFER_ENCODING, UPGRADE, USER_AGENT};
use serde_json::{Map, Value, json};

use crate::api::web_request::{Request, decoded};
use crate::config::Config;
use crate::http::header;
use crate::time::{common_log, epoch_ms};

/// The event that a request becomes.
pub(super) fn event(config: &Config, request: &Request<'_>) -> Value {
    let parts = request.parts;
    let method = parts.method.as_str();
    let host = header(&parts.headers, HOST.as_str()).unwrap_or_default();
    let source = request.peer.ip().to_string();
    let headers = headers(request);
    let parameters = parameters(parts.uri.query().unwrap_or_default());
    let proxy = request.path.trim_start_matches('/');
    let resource = if proxy.is_empty() { "/" } else { "/{proxy+}" };
    // Without binary media types a body of any type is text.
    let (body, is_base64) = match request.body_as(true) {
        Some((body, is_base64)) => (json!(body), is_base64),
        None => (Value::Null, false),
    };
    // It stays encoded, and loses a slash at the end, which `path` keeps.
    let parameter = proxy.strip_suffix('/').unwrap_or(proxy);
    let parameters_of_path = (!proxy.is_empty()).then(|| json!({ "proxy": parameter }));
    json!({
        "resource": resource,
        "path": request.path,
        "httpMethod": method,
        "headers": last(&headers),
        "multiValueHeaders": many(headers),
        "queryStringParameters": last(&parameters),
        "multiValueQueryStringParameters": many(parameters),
        "pathParameters": parameters_of_path,
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
fn headers(request: &Request<'_>) -> Values {
    let headers = &request.parts.headers;
    let left_out = |name: &HeaderName| [CONNECTION, TRANSFER_ENCODING, UPGRADE].contains(name);
    let mut values = Values::new();
    for name in headers.keys().filter(|name| !left_out(name)) {
        let all = headers.get_all(name).iter();
        let all = all.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        values.push((title_case(name.as_str()), all.collect()));
    }
    for (name, value) in request.added() {
        if !headers.contains_key(name) {
            values.push((title_case(name), vec![value]));
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
            trace_id: "Root=1-5e6722a7-cc56;Parent=1;Sampled=0",
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
                "X-Amzn-Trace-Id": "Root=1-5e6722a7-cc56",
                "X-Forwarded-For": "192.0.2.7",
                "X-Forwarded-Port": "9000",
                "X-Forwarded-Proto": "http",
            },
            "multiValueHeaders": {
                "Host": ["127.0.0.1:9000"],
                "User-Agent": ["curl/8"],
                "Cookie": ["one=1; two=2"],
                "X-Many": ["x", "y"],
                "X-Amzn-Trace-Id": ["Root=1-5e6722a7-cc56"],
                "X-Forwarded-For": ["192.0.2.7"],
                "X-Forwarded-Port": ["9000"],
                "X-Forwarded-Proto": ["http"],
            },
            "queryStringParameters": {"a": "2", "b": "\u{e9} z", "flag": ""},
            "multiValueQueryStringParameters": {
                "a": ["1", "2"], "b": ["\u{e9} z"], "flag": [""],
            },
            "pathParameters": {"proxy": "my%20path/a+b"},
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

    #[test]
    fn a_path_parameter_has_no_slash_at_its_end() {
        let config = Config::new("/bootstrap");
        for (path, expected) in [("/a/", "a"), ("/a/b//", "a/b/"), ("/a%2Fb", "a%2Fb")] {
            let event = event_of(&config, path, hyper::Request::builder().uri(path), b"");
            assert_eq!(event["path"], path);
            assert_eq!(event["pathParameters"]["proxy"], expected);
        }
    }

    #[test]
    fn a_form_is_text() {
        let config = Config::new("/bootstrap");
        let form = "application/x-www-form-urlencoded";
        let request = hyper::Request::builder()
            .uri("/")
            .header("content-type", form);
        let event = event_of(&config, "/", request, b"a=1");
        assert_eq!(event["body"], "a=1");
        assert_eq!(event["isBase64Encoded"], false);
    }
}

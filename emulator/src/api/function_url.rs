//! The function as a web server: any HTTP request becomes an event. `url_reply` and `url_stream`
//! make the HTTP response of the function's.
//!
//! The event has payload format 2.0, which function URLs and API Gateway's HTTP APIs share
//! (docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Response;
use hyper::header::{
    CONNECTION, CONTENT_TYPE, COOKIE, HOST, HeaderMap, HeaderName, TRANSFER_ENCODING, UPGRADE,
    USER_AGENT,
};
use hyper::http::request::Parts;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::api::url_reply::{Reply, no_reply, refused, reply};
use crate::api::url_stream;
use crate::config::{Config, Invoke, UrlInvokeMode};
use crate::environment::pool::Pool;
use crate::http::{Payload, header};
use crate::time::{common_log, epoch_ms};

/// Serves one request.
pub(crate) async fn serve(
    pool: Arc<Pool>,
    parts: &Parts,
    body: &[u8],
    peer: SocketAddr,
) -> Response<Payload> {
    let request_id = Uuid::new_v4().to_string();
    let config = &pool.shared().config;
    let event = event(config, parts, body, peer, &request_id, SystemTime::now());
    let invoke = Invoke {
        trace_id: header(&parts.headers, "x-amzn-trace-id"),
        request_id: Some(request_id),
        return_early: true,
        ..Invoke::new(event.to_string())
    };
    if config.url_invoke_mode == UrlInvokeMode::ResponseStream {
        return url_stream::serve(pool, invoke).await;
    }
    match pool.invoke_detached(invoke).await {
        Ok(outcome) => reply(&outcome)
            .map(Reply::render)
            .unwrap_or_else(|error| no_reply(&pool, &outcome, &error)),
        Err(error) => refused(error),
    }
}

/// The event that a request becomes.
fn event(
    config: &Config,
    parts: &Parts,
    body: &[u8],
    peer: SocketAddr,
    request_id: &str,
    now: SystemTime,
) -> Value {
    let headers = &parts.headers;
    let path = parts.uri.path();
    let query = parts.uri.query().unwrap_or_default();
    let host = header(headers, HOST.as_str()).unwrap_or_default();
    let mut event = json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers_json(headers, peer),
        "requestContext": {
            "accountId": "anonymous",
            "apiId": config.function_name,
            "domainName": host,
            "domainPrefix": config.function_name,
            "http": {
                "method": parts.method.as_str(),
                "path": path,
                "protocol": format!("{:?}", parts.version),
                "sourceIp": peer.ip().to_string(),
                "userAgent": header(headers, USER_AGENT.as_str()).unwrap_or_default(),
            },
            "requestId": request_id,
            "routeKey": "$default",
            "stage": "$default",
            "time": common_log(now),
            "timeEpoch": epoch_ms(now),
        },
        "isBase64Encoded": false,
    });
    let cookies = cookies(headers);
    if !cookies.is_empty() {
        event["cookies"] = json!(cookies);
    }
    if !query.is_empty() {
        event["queryStringParameters"] = Value::Object(parameters(query));
    }
    if !body.is_empty() {
        let text = std::str::from_utf8(body).ok();
        let text = text.filter(|_| is_text(header(headers, CONTENT_TYPE.as_str()).as_deref()));
        event["isBase64Encoded"] = json!(text.is_none());
        event["body"] = text.map_or_else(|| json!(STANDARD.encode(body)), |text| json!(text));
    }
    event
}

/// All headers but those of the connection and the cookies, and what AWS adds. Several of one name
/// are joined by commas.
fn headers_json(headers: &HeaderMap, peer: SocketAddr) -> Map<String, Value> {
    let left_out =
        |name: &HeaderName| [COOKIE, CONNECTION, TRANSFER_ENCODING, UPGRADE].contains(name);
    let mut joined = Map::new();
    for name in headers.keys().filter(|name| !left_out(name)) {
        let values: Vec<_> = headers
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        joined.insert(name.to_string(), json!(values.join(",")));
    }
    let added = [
        ("x-forwarded-for", peer.ip().to_string()),
        ("x-forwarded-proto", "http".to_owned()),
    ];
    for (name, value) in added {
        joined.entry(name).or_insert_with(|| json!(value));
    }
    joined
}

fn cookies(headers: &HeaderMap) -> Vec<String> {
    let all = headers.get_all(COOKIE).iter();
    let texts = all.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let cookies = texts.flat_map(|text| {
        let cookies = text.split(';').map(|cookie| cookie.trim().to_owned());
        cookies.collect::<Vec<_>>()
    });
    cookies.filter(|cookie| !cookie.is_empty()).collect()
}

/// The parameters of a query, decoded. Several of one name are joined by commas.
fn parameters(query: &str) -> Map<String, Value> {
    let mut parameters = Map::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decoded(value);
        match parameters.get_mut(&decoded(name)) {
            Some(Value::String(joined)) => joined.extend([",", value.as_str()]),
            Some(_) | None => {
                parameters.insert(decoded(name), json!(value));
            }
        }
    }
    parameters
}

fn decoded(text: &str) -> String {
    let text = text.replace('+', " ");
    percent_decode_str(&text).decode_utf8_lossy().into_owned()
}

/// Whether a body of this media type is passed on as text. A form is not, as on AWS.
fn is_text(content_type: Option<&str>) -> bool {
    let Some(content_type) = content_type else {
        return true;
    };
    let media = content_type.split(';').next().unwrap_or_default().trim();
    let media = media.to_ascii_lowercase();
    media.starts_with("text/")
        || media.ends_with("+json")
        || media.ends_with("+xml")
        || matches!(
            media.as_str(),
            "application/json" | "application/xml" | "application/javascript"
        )
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use hyper::Request;

    use super::*;

    fn event_of(request: hyper::http::request::Builder, body: &[u8]) -> Value {
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let now = UNIX_EPOCH + Duration::from_millis(1_583_348_638_390);
        let peer = SocketAddr::from(([192, 0, 2, 7], 50_000));
        event(&Config::new("/bootstrap"), &parts, body, peer, "id", now)
    }

    #[test]
    fn a_request_has_every_member_of_the_format() {
        let request = Request::builder()
            .method("POST")
            .uri("/my%20path/x?a=1&b=%C3%A9+z&a=2&flag")
            .header("Host", "127.0.0.1:9000")
            .header("User-Agent", "curl/8")
            .header("Content-Type", "application/json; charset=utf-8")
            .header("Cookie", "one=1; two=2")
            .header("Cookie", "three=3")
            .header("X-Many", "x")
            .header("X-Many", "y")
            .header("Connection", "keep-alive");
        let expected = json!({
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": "/my%20path/x",
            "rawQueryString": "a=1&b=%C3%A9+z&a=2&flag",
            "cookies": ["one=1", "two=2", "three=3"],
            "headers": {
                "host": "127.0.0.1:9000",
                "user-agent": "curl/8",
                "content-type": "application/json; charset=utf-8",
                "x-many": "x,y",
                "x-forwarded-for": "192.0.2.7",
                "x-forwarded-proto": "http",
            },
            "queryStringParameters": {"a": "1,2", "b": "\u{e9} z", "flag": ""},
            "requestContext": {
                "accountId": "anonymous",
                "apiId": "function",
                "domainName": "127.0.0.1:9000",
                "domainPrefix": "function",
                "http": {
                    "method": "POST",
                    "path": "/my%20path/x",
                    "protocol": "HTTP/1.1",
                    "sourceIp": "192.0.2.7",
                    "userAgent": "curl/8",
                },
                "requestId": "id",
                "routeKey": "$default",
                "stage": "$default",
                "time": "04/Mar/2020:19:03:58 +0000",
                "timeEpoch": 1_583_348_638_390_u64,
            },
            "body": "{\"n\":1}",
            "isBase64Encoded": false,
        });
        assert_eq!(event_of(request, br#"{"n":1}"#), expected);
    }

    #[test]
    fn what_a_request_has_not_is_left_out() {
        let event = event_of(Request::builder().uri("/"), b"");
        for absent in ["cookies", "queryStringParameters", "body"] {
            assert_eq!(event.get(absent), None, "{absent}");
        }
        assert_eq!(event["rawQueryString"], "");
        assert_eq!(event["requestContext"]["http"]["method"], "GET");
    }

    #[test]
    fn a_body_is_text_or_base64_by_its_type() {
        let table: [(Option<&str>, &[u8], bool, &str); 9] = [
            (None, b"plain", false, "plain"),
            (Some("text/html"), b"<p>", false, "<p>"),
            (Some("application/JSON"), b"{}", false, "{}"),
            (Some("application/problem+json"), b"{}", false, "{}"),
            (Some("image/svg+xml; a=b"), b"<svg/>", false, "<svg/>"),
            (
                Some("application/x-www-form-urlencoded"),
                b"a=1",
                true,
                "YT0x",
            ),
            (Some("application/octet-stream"), b"a=1", true, "YT0x"),
            (Some("text/plain"), b"\xff", true, "/w=="),
            (None, b"\xff", true, "/w=="),
        ];
        for (content_type, body, base64, expected) in table {
            let mut request = Request::builder().uri("/");
            if let Some(content_type) = content_type {
                request = request.header(CONTENT_TYPE, content_type);
            }
            let event = event_of(request, body);
            assert_eq!(event["isBase64Encoded"], base64, "{content_type:?}");
            assert_eq!(event["body"], expected, "{content_type:?}");
        }
    }
}

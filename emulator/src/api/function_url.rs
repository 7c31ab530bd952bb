//! The function as a web server: any HTTP request becomes an event. `url_reply` and `url_stream`
//! make the HTTP response of the function's.
//!
//! The event here has payload format 2.0, which function URLs and API Gateway's HTTP APIs share
//! (docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html,
//! docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html).
//! `rest_api` has format 1.0.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use hyper::Response;
use hyper::header::{
    CONNECTION, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE,
    USER_AGENT,
};
use hyper::http::request::Parts;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::api::rest_api;
use crate::api::url_reply::{Reply, id_headers, no_reply, refused, reply};
use crate::api::url_stream;
use crate::api::web_request::{Request, decoded};
use crate::config::{Config, HttpEvent, Invoke, UrlInvokeMode};
use crate::environment::pool::{Pool, trace_id};
use crate::http::{PAYLOAD_BYTES_MAX, Payload, header, json_response};
use crate::time::{common_log, epoch_ms};

/// Serves one request. The response has its id, whoever has made it.
pub(crate) async fn serve(
    pool: Arc<Pool>,
    parts: &Parts,
    body: &[u8],
    peer: SocketAddr,
) -> Response<Payload> {
    let request_id = Uuid::new_v4().to_string();
    let front = pool.shared().config.http_event;
    let mut response = answer(pool, parts, body, peer, &request_id).await;
    if let Ok(id) = HeaderValue::from_str(&request_id) {
        for name in id_headers(front) {
            response.headers_mut().insert(*name, id.clone());
        }
    }
    response
}

async fn answer(
    pool: Arc<Pool>,
    parts: &Parts,
    body: &[u8],
    peer: SocketAddr,
    request_id: &str,
) -> Response<Payload> {
    let config = &pool.shared().config;
    let Some(path) = path_in_stage(config, parts.uri.path()) else {
        return no_such_stage(config);
    };
    if body.len() > PAYLOAD_BYTES_MAX {
        return json_response(413, r#"{"message":"Request Too Long"}"#);
    }
    let trace_id = header(&parts.headers, "x-amzn-trace-id").unwrap_or_else(trace_id);
    let request = Request {
        path,
        parts,
        body,
        peer,
        id: request_id,
        trace_id: &trace_id,
        now: SystemTime::now(),
    };
    let event = match config.http_event {
        HttpEvent::ApiGatewayV1 => rest_api::event(config, &request),
        HttpEvent::ApiGatewayV2 | HttpEvent::FunctionUrl => event(config, &request),
    };
    let invoke = Invoke {
        trace_id: Some(trace_id),
        request_id: Some(request_id.to_owned()),
        return_early: true,
        ..Invoke::new(event.to_string())
    };
    if config.url_invoke_mode == UrlInvokeMode::ResponseStream {
        return url_stream::serve(pool, invoke).await;
    }
    match pool.invoke_detached(invoke).await {
        Ok(outcome) => reply(config.http_event, &outcome)
            .map(Reply::render)
            .unwrap_or_else(|error| no_reply(&pool, &outcome, &error)),
        Err(error) => refused(&pool, error),
    }
}

/// The path without the stage; `None` if it is in another one.
pub(super) fn path_in_stage<'a>(config: &Config, path: &'a str) -> Option<&'a str> {
    let Some(stage) = &config.http_stage else {
        return Some(path);
    };
    let rest = path.strip_prefix('/')?.strip_prefix(stage.as_str())?;
    match rest {
        "" => Some("/"),
        rest => Some(rest).filter(|rest| rest.starts_with('/')),
    }
}

/// The answer of API Gateway where a path leads to no stage.
fn no_such_stage(config: &Config) -> Response<Payload> {
    match config.http_event {
        HttpEvent::ApiGatewayV1 => json_response(403, r#"{"message":"Forbidden"}"#),
        HttpEvent::ApiGatewayV2 | HttpEvent::FunctionUrl => {
            json_response(404, r#"{"message":"Not Found"}"#)
        }
    }
}

/// The event of payload format 2.0 that a request becomes.
pub(super) fn event(config: &Config, request: &Request<'_>) -> Value {
    let Request {
        parts, peer, now, ..
    } = *request;
    let headers = &parts.headers;
    // With the stage, which an HTTP API leaves in it. It decodes the path, unlike the query.
    let path = match config.http_event {
        HttpEvent::ApiGatewayV2 => percent_decode_str(parts.uri.path()).decode_utf8_lossy(),
        HttpEvent::ApiGatewayV1 | HttpEvent::FunctionUrl => parts.uri.path().into(),
    };
    let query = parts.uri.query().unwrap_or_default();
    let host = header(headers, HOST.as_str()).unwrap_or_default();
    let account = match config.http_event {
        HttpEvent::FunctionUrl => "anonymous",
        HttpEvent::ApiGatewayV1 | HttpEvent::ApiGatewayV2 => &config.account_id,
    };
    let mut event = json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers_json(request),
        "requestContext": {
            "accountId": account,
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
            "requestId": request.id,
            "routeKey": "$default",
            "stage": config.http_stage.as_deref().unwrap_or("$default"),
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
    if let Some((body, is_base64)) = request.body() {
        event["isBase64Encoded"] = json!(is_base64);
        event["body"] = json!(body);
    }
    event
}

/// All headers but those of the connection and the cookies, and what AWS adds. Several of one name
/// are joined by commas.
fn headers_json(request: &Request<'_>) -> Map<String, Value> {
    let headers = &request.parts.headers;
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
    for (name, value) in request.added() {
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

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use hyper::http::request::Builder;

    use super::*;

    fn event_of(request: Builder, body: &[u8]) -> Value {
        event_with(&Config::new("/bootstrap"), request, body)
    }

    fn event_with(config: &Config, request: Builder, body: &[u8]) -> Value {
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let request = Request {
            path: parts.uri.path(),
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
    fn an_http_api_has_an_account_and_a_stage() {
        let mut config = Config::new("/bootstrap");
        config.http_event = HttpEvent::ApiGatewayV2;
        config.http_stage = Some("dev".into());
        let request = hyper::Request::builder().uri("/dev/a%20b+c/%C3%A9?a%20b");
        let event = event_with(&config, request, b"");
        let context = &event["requestContext"];
        assert_eq!(context["accountId"], "123456789012");
        assert_eq!(context["stage"], "dev");
        assert_eq!(context["http"]["path"], "/dev/a b+c/\u{e9}");
        assert_eq!(event["rawPath"], "/dev/a b+c/\u{e9}");
        assert_eq!(event["rawQueryString"], "a%20b");
    }

    #[test]
    fn a_stage_is_the_first_part_of_a_path() {
        let mut config = Config::new("/bootstrap");
        assert_eq!(path_in_stage(&config, "/dev/a"), Some("/dev/a"));
        config.http_stage = Some("dev".into());
        for (path, expected) in [
            ("/dev/a/b", Some("/a/b")),
            ("/dev/", Some("/")),
            ("/dev", Some("/")),
            ("/development", None),
            ("/a/dev", None),
            ("/", None),
        ] {
            assert_eq!(path_in_stage(&config, path), expected, "{path}");
        }
    }

    #[test]
    fn a_request_has_every_member_of_the_format() {
        let request = hyper::Request::builder()
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
                "x-amzn-trace-id": "Root=1-5e6722a7-cc56",
                "x-forwarded-for": "192.0.2.7",
                "x-forwarded-port": "9000",
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
        let event = event_of(hyper::Request::builder().uri("/"), b"");
        for absent in ["cookies", "queryStringParameters", "body"] {
            assert_eq!(event.get(absent), None, "{absent}");
        }
        assert_eq!(event["rawQueryString"], "");
        assert_eq!(event["requestContext"]["http"]["method"], "GET");
    }
}

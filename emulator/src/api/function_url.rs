//! The function as a web server: any HTTP request becomes an event, its response an HTTP response.
//!
//! The event has payload format 2.0, which function URLs and API Gateway's HTTP APIs share
//! (docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html).

use std::error::Error;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Response;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, HeaderMap, HeaderName, SET_COOKIE,
    TRANSFER_ENCODING, UPGRADE, USER_AGENT,
};
use hyper::http::request::Parts;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::config::{Config, Invoke};
use crate::environment::pool::Pool;
use crate::error::EmulatorError;
use crate::http::{Payload, header, response};
use crate::record::outcome::Outcome;
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
    match pool.invoke_detached(invoke).await {
        Ok(outcome) => reply(&outcome)
            .inspect_err(|error| pool.log(&outcome, &format!("function URL: {error}")))
            .map_or_else(|_logged| failed(), Reply::render),
        Err(EmulatorError::Refused {
            status, message, ..
        }) => {
            let body = json!({ "Message": message }).to_string();
            let headers = [(CONTENT_TYPE.as_str(), "application/json")];
            response(status, headers, Payload::sized(body))
        }
        Err(_) => failed(),
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

/// The HTTP response that a function's response means.
#[derive(Debug, PartialEq, Eq)]
struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// The reason of a 502.
#[derive(Debug)]
enum NoReply {
    /// The function failed; its log says how.
    FunctionError(String),
    /// It is no JSON.
    NotJson(serde_json::Error),
    /// It has a `statusCode` and another member of a form that is not documented.
    Form(serde_json::Error),
    /// The status is none that a response may have.
    Status(u16),
    /// The body is not the base64 that it is said to be.
    Base64(base64::DecodeError),
    /// A stream with a prelude, and the zeros behind the prelude are missing.
    NoPrelude,
}

/// A response of payload format 2.0, and the prelude of a streamed one.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Form {
    status_code: u16,
    #[serde(default)]
    headers: Option<Map<String, Value>>,
    #[serde(default)]
    cookies: Option<Vec<String>>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: Option<bool>,
}

/// The function's response, read as a function URL reads it.
fn reply(outcome: &Outcome) -> Result<Reply, NoReply> {
    if let Some(error) = &outcome.function_error {
        return Err(NoReply::FunctionError(error.error_type.clone()));
    }
    if outcome.streamed {
        return streamed(outcome.content_type.as_deref(), &outcome.body);
    }
    let value: Value = serde_json::from_slice(&outcome.body).map_err(NoReply::NotJson)?;
    if value.get("statusCode").is_none() {
        // "Lambda assumes" that the response is the body.
        let text = value.as_str().map(|text| text.as_bytes().to_vec());
        let body = text.unwrap_or_else(|| outcome.body.clone());
        return Ok(Reply {
            status: 200,
            headers: vec![json_type()],
            body,
        });
    }
    let mut form: Form = serde_json::from_value(value).map_err(NoReply::Form)?;
    let body = form.body.take().unwrap_or_default();
    let body = if form.is_base64_encoded == Some(true) {
        STANDARD.decode(body).map_err(NoReply::Base64)?
    } else {
        body.into_bytes()
    };
    form.reply(body)
}

/// A streamed response begins with status and headers if its type says so
/// (docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html).
fn streamed(content_type: Option<&str>, body: &[u8]) -> Result<Reply, NoReply> {
    if content_type != Some(WITH_PRELUDE) {
        let content_type = content_type.unwrap_or("application/octet-stream");
        return Ok(Reply {
            status: 200,
            headers: vec![(CONTENT_TYPE.to_string(), content_type.to_owned())],
            body: body.to_vec(),
        });
    }
    let end = body
        .windows(PRELUDE_END.len())
        .position(|w| w == PRELUDE_END);
    let (prelude, rest) = end
        .and_then(|end| body.split_at_checked(end))
        .ok_or(NoReply::NoPrelude)?;
    let form: Form = serde_json::from_slice(prelude).map_err(NoReply::Form)?;
    form.reply(rest.get(PRELUDE_END.len()..).unwrap_or_default().to_vec())
}

impl Form {
    fn reply(self, body: Vec<u8>) -> Result<Reply, NoReply> {
        if !(200..=599).contains(&self.status_code) {
            return Err(NoReply::Status(self.status_code));
        }
        let mut headers = Vec::new();
        for (name, value) in self.headers.unwrap_or_default() {
            let name = name.to_ascii_lowercase();
            if value.is_null() {
                continue;
            }
            let text = value.as_str().map(str::to_owned);
            let value = text.unwrap_or_else(|| value.to_string());
            // The length is that of the body, whatever the function took it for.
            if name != CONTENT_LENGTH.as_str() && name != TRANSFER_ENCODING.as_str() {
                headers.push((name, value));
            }
        }
        if !headers
            .iter()
            .any(|(name, _)| name == CONTENT_TYPE.as_str())
        {
            headers.push(json_type());
        }
        let cookies = self.cookies.unwrap_or_default().into_iter();
        headers.extend(cookies.map(|cookie| (SET_COOKIE.to_string(), cookie)));
        Ok(Reply {
            status: self.status_code,
            headers,
            body,
        })
    }
}

impl Reply {
    fn render(self) -> Response<Payload> {
        let headers = self.headers.iter();
        let headers = headers.map(|(name, value)| (name.as_str(), value.as_str()));
        response(self.status, headers, Payload::sized(self.body))
    }
}

impl fmt::Display for NoReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FunctionError(error_type) => write!(f, "the function failed: {error_type}"),
            Self::NotJson(source) => write!(f, "the response is no JSON: {source}"),
            Self::Form(source) => write!(f, "the response is not of format 2.0: {source}"),
            Self::Status(status) => write!(f, "statusCode {status} is not between 200 and 599"),
            Self::Base64(source) => write!(f, "the body is no base64: {source}"),
            Self::NoPrelude => f.write_str("the stream has no eight zero bytes behind a prelude"),
        }
    }
}

impl Error for NoReply {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::NotJson(source) | Self::Form(source) => Some(source),
            Self::Base64(source) => Some(source),
            Self::FunctionError(_) | Self::Status(_) | Self::NoPrelude => None,
        }
    }
}

/// The response of a function URL when the function has none that can be used.
fn failed() -> Response<Payload> {
    let headers = [(CONTENT_TYPE.as_str(), "text/plain")];
    response(502, headers, Payload::sized("Internal Server Error"))
}

fn json_type() -> (String, String) {
    (CONTENT_TYPE.to_string(), "application/json".to_owned())
}

/// The type of a streamed response that begins with a prelude.
const WITH_PRELUDE: &str = "application/vnd.awslambda.http-integration-response";
/// The end of the prelude.
const PRELUDE_END: [u8; 8] = [0; 8];

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use hyper::Request;

    use super::*;
    use crate::record::outcome::{FunctionError, Timing};

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

    fn outcome(body: &[u8]) -> Outcome {
        Outcome {
            status: 200,
            body: body.to_vec(),
            function_error: None,
            request_id: "id".into(),
            log_tail: String::new(),
            timing: Timing::default(),
            content_type: None,
            headers: Vec::new(),
            streamed: false,
            environment: 0,
        }
    }

    fn replied(outcome: &Outcome) -> (u16, Vec<(String, String)>, String) {
        let Reply {
            status,
            headers,
            body,
        } = reply(outcome).unwrap();
        (status, headers, String::from_utf8(body).unwrap())
    }

    fn pairs(headers: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = headers
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        owned.collect()
    }

    #[test]
    fn a_response_is_read_as_it_is_documented() {
        type Row<'a> = (&'a str, u16, &'a [(&'a str, &'a str)], &'a str);
        let json = ("content-type", "application/json");
        let table: [Row<'_>; 7] = [
            // The three examples of the documentation.
            (r#""Hello, world!""#, 200, &[json], "Hello, world!"),
            (
                r#"{"message":"Hello"}"#,
                200,
                &[json],
                r#"{"message":"Hello"}"#,
            ),
            (
                r#"{"statusCode":201,"headers":{"Content-Type":"text/plain","My-Header":"v"},
                    "body":"b","cookies":["a=1; Expires=Wed","b=2"],"isBase64Encoded":false}"#,
                201,
                &[
                    ("content-type", "text/plain"),
                    ("my-header", "v"),
                    ("set-cookie", "a=1; Expires=Wed"),
                    ("set-cookie", "b=2"),
                ],
                "b",
            ),
            (
                r#"{"statusCode":200,"body":"Ym9keQ==","isBase64Encoded":true}"#,
                200,
                &[json],
                "body",
            ),
            (
                r#"{"statusCode":204,"headers":{"n":1,"t":true,"none":null,"content-length":"9"},
                    "body":null,"cookies":null,"isBase64Encoded":null}"#,
                204,
                &[("n", "1"), ("t", "true"), json],
                "",
            ),
            ("[1]", 200, &[json], "[1]"),
            ("null", 200, &[json], "null"),
        ];
        for (body, status, headers, expected) in table {
            let got = replied(&outcome(body.as_bytes()));
            assert_eq!(got, (status, pairs(headers), expected.to_owned()), "{body}");
        }
    }

    #[test]
    fn a_streamed_response_begins_with_its_prelude() {
        let mut prelude =
            outcome(b"{\"statusCode\":418,\"headers\":{\"a\":\"b\"}}\0\0\0\0\0\0\0\0x\0");
        prelude.streamed = true;
        prelude.content_type = Some(WITH_PRELUDE.into());
        let headers = pairs(&[("a", "b"), ("content-type", "application/json")]);
        assert_eq!(replied(&prelude), (418, headers, "x\0".into()));
        prelude.body.truncate(20);
        assert!(matches!(reply(&prelude), Err(NoReply::NoPrelude)));
        let mut plain = outcome(b"text");
        plain.streamed = true;
        plain.content_type = Some("text/event-stream".into());
        let headers = pairs(&[("content-type", "text/event-stream")]);
        assert_eq!(replied(&plain), (200, headers, "text".into()));
    }

    #[test]
    fn a_response_of_no_known_form_says_what_is_wrong() {
        let table = [
            ("not json", "the response is no JSON: "),
            (
                r#"{"statusCode":"ok"}"#,
                "the response is not of format 2.0: ",
            ),
            (
                r#"{"statusCode":200,"body":{}}"#,
                "the response is not of format 2.0: ",
            ),
            (
                r#"{"statusCode":99}"#,
                "statusCode 99 is not between 200 and 599",
            ),
            (
                r#"{"statusCode":200,"body":"%","isBase64Encoded":true}"#,
                "the body is no base64: ",
            ),
        ];
        for (body, expected) in table {
            let error = reply(&outcome(body.as_bytes())).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{body}: {error}");
        }
        let mut failed = outcome(b"{}");
        failed.function_error = Some(FunctionError {
            error_type: "Function.Bad".into(),
            raw_type: None,
            body: Vec::new(),
            xray_cause: None,
        });
        let error = reply(&failed).unwrap_err().to_string();
        assert_eq!(error, "the function failed: Function.Bad");
    }
}

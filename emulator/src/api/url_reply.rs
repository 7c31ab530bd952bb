//! The HTTP response that the response of a function means to a function URL and to an HTTP API,
//! and the response of each front where the function's cannot be used.
//!
//! docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html,
//! docs.aws.amazon.com/lambda/latest/dg/services-apigateway-errors.html

use std::error::Error;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Response;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, SET_COOKIE, TRANSFER_ENCODING};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::config::HttpEvent;
use crate::environment::pool::Pool;
use crate::error::EmulatorError;
use crate::http::{Payload, json_response, object, response};
use crate::record::outcome::Outcome;

/// The HTTP response that a function's response means.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// The reason of a 502.
#[derive(Debug)]
pub(super) enum NoReply {
    /// The function failed; its log says how.
    FunctionError(String),
    /// It is no JSON.
    NotJson(serde_json::Error),
    /// It has a `statusCode` and another member of a form that is not documented.
    Form(serde_json::Error),
    /// Another form than a REST API reads.
    RestForm(serde_json::Error),
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
pub(super) fn reply(outcome: &Outcome) -> Result<Reply, NoReply> {
    if let Some(error) = &outcome.function_error {
        return Err(NoReply::FunctionError(error.error_type.clone()));
    }
    if outcome.streamed {
        return streamed(outcome);
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
    let body = body(form.body.take(), form.is_base64_encoded)?;
    form.reply(body)
}

/// The bytes of a body, which is text, or binary data in base64.
pub(super) fn body(text: Option<String>, is_base64: Option<bool>) -> Result<Vec<u8>, NoReply> {
    let text = text.unwrap_or_default();
    if is_base64 == Some(true) {
        STANDARD.decode(text).map_err(NoReply::Base64)
    } else {
        Ok(text.into_bytes())
    }
}

/// A streamed response that was taken whole.
pub(super) fn streamed(outcome: &Outcome) -> Result<Reply, NoReply> {
    match outcome.content_type.as_deref() {
        Some(WITH_PRELUDE) => with_prelude(&outcome.body).unwrap_or(Err(NoReply::NoPrelude)),
        content_type => Ok(plain(content_type, outcome.body.clone())),
    }
}

/// A response without status and headers of its own.
pub(super) fn plain(content_type: Option<&str>, body: Vec<u8>) -> Reply {
    let content_type = content_type.unwrap_or("application/octet-stream");
    Reply {
        status: 200,
        headers: vec![(CONTENT_TYPE.to_string(), content_type.to_owned())],
        body,
    }
}

/// A streamed response begins with status and headers if its type says so
/// (docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html). `None` as long as their end has not
/// come.
pub(super) fn with_prelude(body: &[u8]) -> Option<Result<Reply, NoReply>> {
    let mut windows = body.windows(PRELUDE_END.len());
    let end = windows.position(|window| window == PRELUDE_END)?;
    let (prelude, rest) = body.split_at_checked(end)?;
    let body = rest.get(PRELUDE_END.len()..).unwrap_or_default().to_vec();
    let form = object::<Form>(prelude).map_err(NoReply::Form);
    Some(form.and_then(|form| form.reply(body)))
}

impl Form {
    fn reply(self, body: Vec<u8>) -> Result<Reply, NoReply> {
        let headers = self.headers.unwrap_or_default().into_iter();
        let mut reply = Reply::new(self.status_code, headers, body)?;
        let cookies = self.cookies.unwrap_or_default().into_iter();
        let cookies = cookies.map(|cookie| (SET_COOKIE.to_string(), cookie));
        reply.headers.extend(cookies);
        Ok(reply)
    }
}

impl Reply {
    /// A response with the headers of a function: any JSON value is one, as text.
    pub(super) fn new(
        status: u16,
        headers: impl Iterator<Item = (String, Value)>,
        body: Vec<u8>,
    ) -> Result<Self, NoReply> {
        if !(200..=599).contains(&status) {
            return Err(NoReply::Status(status));
        }
        let mut texts = Vec::new();
        for (name, value) in headers.filter(|(_, value)| !value.is_null()) {
            let name = name.to_ascii_lowercase();
            let text = value.as_str().map(str::to_owned);
            let value = text.unwrap_or_else(|| value.to_string());
            // The length is that of the body, whatever the function took it for.
            if name != CONTENT_LENGTH.as_str() && name != TRANSFER_ENCODING.as_str() {
                texts.push((name, value));
            }
        }
        if !texts.iter().any(|(name, _)| name == CONTENT_TYPE.as_str()) {
            texts.push(json_type());
        }
        Ok(Self {
            status,
            headers: texts,
            body,
        })
    }

    pub(super) fn render(self) -> Response<Payload> {
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
            Self::RestForm(source) => write!(f, "the response is not of format 1.0: {source}"),
            Self::Status(status) => write!(f, "statusCode {status} is not between 200 and 599"),
            Self::Base64(source) => write!(f, "the body is no base64: {source}"),
            Self::NoPrelude => f.write_str("the stream has no eight zero bytes behind a prelude"),
        }
    }
}

impl Error for NoReply {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::NotJson(source) | Self::Form(source) | Self::RestForm(source) => Some(source),
            Self::Base64(source) => Some(source),
            Self::FunctionError(_) | Self::Status(_) | Self::NoPrelude => None,
        }
    }
}

/// The response when the function's cannot be used, for a reason that goes to the log.
pub(super) fn no_reply(pool: &Pool, outcome: &Outcome, reason: &NoReply) -> Response<Payload> {
    let front = pool.shared().config.http_event;
    pool.log(outcome, &format!("{}: {reason}", front.name()));
    failed(front, 502)
}

/// The response when the function was not run.
pub(super) fn refused(pool: &Pool, error: EmulatorError) -> Response<Payload> {
    let front = pool.shared().config.http_event;
    match (front, error) {
        (
            HttpEvent::FunctionUrl,
            EmulatorError::Refused {
                status, message, ..
            },
        ) => json_response(status, json!({ "Message": message }).to_string()),
        (HttpEvent::FunctionUrl, _) => failed(front, 502),
        // "If the Lambda API rejects the invocation request, API Gateway returns a 500".
        (HttpEvent::ApiGatewayV1 | HttpEvent::ApiGatewayV2, _) => failed(front, 500),
    }
}

/// The response of a front when the function has none that can be used.
fn failed(front: HttpEvent, status: u16) -> Response<Payload> {
    match front {
        HttpEvent::FunctionUrl => {
            let headers = [(CONTENT_TYPE.as_str(), "text/plain")];
            response(status, headers, Payload::sized("Internal Server Error"))
        }
        HttpEvent::ApiGatewayV1 | HttpEvent::ApiGatewayV2 => {
            json_response(status, r#"{"message":"Internal server error"}"#)
        }
    }
}

fn json_type() -> (String, String) {
    (CONTENT_TYPE.to_string(), "application/json".to_owned())
}

/// The type of a streamed response that begins with a prelude.
pub(super) const WITH_PRELUDE: &str = "application/vnd.awslambda.http-integration-response";
/// The end of the prelude.
const PRELUDE_END: [u8; 8] = [0; 8];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::outcome::FunctionError;

    fn outcome(body: &[u8]) -> Outcome {
        Outcome {
            body: body.to_vec(),
            ..Outcome::empty(200, "id")
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
        prelude.body = b"[418]\0\0\0\0\0\0\0\0x".to_vec();
        let error = reply(&prelude).unwrap_err();
        assert!(matches!(error, NoReply::Form(_)), "{error}");
        prelude.body.truncate(5);
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

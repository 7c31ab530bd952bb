//! The HTTP response that the response of a function means to each front, and the response of the
//! front where the function's cannot be used.
//!
//! docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html,
//! docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html,
//! docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html,
//! docs.aws.amazon.com/lambda/latest/dg/services-apigateway-errors.html.
//! Where an HTTP API differs from its page, it is as AWS's own tests against one have it:
//! github.com/aws/aws-lambda-dotnet, `Tools/LambdaTestTool-v2`.

use std::error::Error;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Response;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, SET_COOKIE, TRANSFER_ENCODING};
use serde::Deserialize;
use serde::de::{self, Deserializer};
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

/// Why the function has no response that can be used.
#[derive(Debug)]
pub(super) enum NoReply {
    /// The function failed; its log says how.
    FunctionError(String),
    /// To a function URL: it is no JSON.
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

/// A response of either payload format, and the prelude of a streamed one.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Form {
    #[serde(default = "ok", deserialize_with = "status")]
    status_code: u16,
    #[serde(default)]
    headers: Option<Map<String, Value>>,
    #[serde(default)]
    multi_value_headers: Option<Map<String, Value>>,
    #[serde(default)]
    cookies: Option<Vec<String>>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: Option<bool>,
}

const fn ok() -> u16 {
    200
}

/// A status is a number, or one in quotes.
fn status<'de, D: Deserializer<'de>>(json: D) -> Result<u16, D::Error> {
    let value = Value::deserialize(json)?;
    let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
    let status = number.and_then(|number| number.try_into().ok());
    status.ok_or_else(|| de::Error::custom(format!("statusCode {value} is no status")))
}

/// The function's response, read as the front reads it.
pub(super) fn reply(front: HttpEvent, outcome: &Outcome) -> Result<Reply, NoReply> {
    if let Some(error) = &outcome.function_error {
        return Err(NoReply::FunctionError(error.error_type.clone()));
    }
    if outcome.streamed {
        return streamed(outcome);
    }
    match front {
        HttpEvent::ApiGatewayV1 => format_1(&outcome.body),
        HttpEvent::ApiGatewayV2 => match format_2(&outcome.body, PLAIN_TEXT) {
            Err(NoReply::NotJson(_)) => Ok(json_body(outcome.body.clone())),
            read => read,
        },
        HttpEvent::FunctionUrl => format_2(&outcome.body, JSON),
    }
}

/// Payload format 1.0: a response needs none of its members, and one with another is malformed.
fn format_1(response: &[u8]) -> Result<Reply, NoReply> {
    let members: Map<String, Value> =
        serde_json::from_slice(response).map_err(NoReply::RestForm)?;
    if let Some(unknown) = members
        .keys()
        .find(|name| !FORMAT_1.contains(&name.as_str()))
    {
        let error = de::Error::unknown_field(unknown, FORMAT_1);
        return Err(NoReply::RestForm(error));
    }
    let mut form = Form::deserialize(members).map_err(NoReply::RestForm)?;
    // A REST API decodes for its binary media types; here they are all of them.
    let body = form.take_body()?;
    form.reply(body, JSON)
}

/// Payload format 2.0, and what has no `statusCode`: "Lambda assumes" that it is the body.
fn format_2(response: &[u8], content_type: &str) -> Result<Reply, NoReply> {
    let value: Value = serde_json::from_slice(response).map_err(NoReply::NotJson)?;
    if value.get("statusCode").is_none() {
        let text = value.as_str().map(|text| text.as_bytes().to_vec());
        return Ok(json_body(text.unwrap_or_else(|| response.to_vec())));
    }
    let mut form: Form = serde_json::from_value(value).map_err(NoReply::Form)?;
    // Only format 1.0 has them.
    form.multi_value_headers = None;
    let body = form.take_body()?;
    form.reply(body, content_type)
}

fn json_body(body: Vec<u8>) -> Reply {
    plain(Some(JSON), body)
}

/// A streamed response that was taken whole.
fn streamed(outcome: &Outcome) -> Result<Reply, NoReply> {
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
    Some(form.and_then(|form| form.reply(body, JSON)))
}

impl Form {
    /// The bytes of the body, which is text, or binary data in base64.
    fn take_body(&mut self) -> Result<Vec<u8>, NoReply> {
        let text = self.body.take().unwrap_or_default();
        if self.is_base64_encoded == Some(true) {
            STANDARD.decode(text).map_err(NoReply::Base64)
        } else {
            Ok(text.into_bytes())
        }
    }

    /// A response with this body, and this type where the function has named none. Any JSON value
    /// is a header, as text.
    fn reply(self, body: Vec<u8>, content_type: &str) -> Result<Reply, NoReply> {
        let status = self.status_code;
        if !(200..=599).contains(&status) {
            return Err(NoReply::Status(status));
        }
        let many = self.multi_value_headers.unwrap_or_default();
        let is_named = |name: &str| many.keys().any(|other| other.eq_ignore_ascii_case(name));
        // "If the same key-value pair is specified in both, only the values from
        // `multiValueHeaders`".
        let single = self.headers.unwrap_or_default().into_iter();
        let mut all: Vec<_> = single.filter(|(name, _)| !is_named(name)).collect();
        for (name, values) in many {
            if let Value::Array(values) = values {
                all.extend(values.into_iter().map(|value| (name.clone(), value)));
            } else {
                all.push((name, values));
            }
        }
        let cookies = self.cookies.unwrap_or_default().into_iter();
        all.extend(cookies.map(|cookie| (SET_COOKIE.to_string(), Value::String(cookie))));
        let mut headers = Vec::new();
        for (name, value) in all.into_iter().filter(|(_, value)| !value.is_null()) {
            let name = name.to_ascii_lowercase();
            let text = value.as_str().map(str::to_owned);
            let value = text.unwrap_or_else(|| value.to_string());
            // The length is that of the body, whatever the function took it for.
            if name != CONTENT_LENGTH.as_str() && name != TRANSFER_ENCODING.as_str() {
                headers.push((name, value));
            }
        }
        let is_type = |(name, _): &(String, String)| name == CONTENT_TYPE.as_str();
        if !headers.iter().any(is_type) {
            headers.push((CONTENT_TYPE.to_string(), content_type.to_owned()));
        }
        Ok(Reply {
            status,
            headers,
            body,
        })
    }
}

impl Reply {
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

/// The response of a front when the function has none that can be used. An HTTP API has one status
/// for all reasons
/// (docs.aws.amazon.com/apigateway/latest/developerguide/http-api-troubleshooting-lambda.html).
fn failed(front: HttpEvent, status: u16) -> Response<Payload> {
    match front {
        HttpEvent::FunctionUrl => {
            let headers = [(CONTENT_TYPE.as_str(), "text/plain")];
            response(status, headers, Payload::sized("Internal Server Error"))
        }
        HttpEvent::ApiGatewayV1 => json_response(status, r#"{"message":"Internal server error"}"#),
        HttpEvent::ApiGatewayV2 => json_response(500, r#"{"message":"Internal Server Error"}"#),
    }
}

/// The headers with the id of a request, which its event has as `requestId`. A REST API has an
/// extended one beside it, which here is the same
/// (docs.aws.amazon.com/apigateway/latest/developerguide/set-up-access-logging.html).
pub(super) const fn id_headers(front: HttpEvent) -> &'static [&'static str] {
    match front {
        HttpEvent::FunctionUrl => &["x-amzn-requestid"],
        HttpEvent::ApiGatewayV1 => &["x-amzn-requestid", "x-amz-apigw-id"],
        HttpEvent::ApiGatewayV2 => &["apigw-requestid"],
    }
}

/// The types of a response that names none.
const JSON: &str = "application/json";
const PLAIN_TEXT: &str = "text/plain; charset=utf-8";
/// The members of a response of format 1.0.
const FORMAT_1: &[&str] = &[
    "statusCode",
    "headers",
    "multiValueHeaders",
    "body",
    "isBase64Encoded",
];

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

    fn read(outcome: &Outcome) -> Result<Reply, NoReply> {
        reply(HttpEvent::FunctionUrl, outcome)
    }

    fn replied(front: HttpEvent, outcome: &Outcome) -> (u16, Vec<(String, String)>, String) {
        let Reply {
            status,
            headers,
            body,
        } = reply(front, outcome).unwrap();
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
        let table: [Row<'_>; 8] = [
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
            // In format 1.0 alone there are several values of a header.
            (
                r#"{"statusCode":"418","multiValueHeaders":{"a":["b"]},"body":"tea"}"#,
                418,
                &[json],
                "tea",
            ),
        ];
        for (body, status, headers, expected) in table {
            let got = replied(HttpEvent::FunctionUrl, &outcome(body.as_bytes()));
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
        assert_eq!(
            replied(HttpEvent::FunctionUrl, &prelude),
            (418, headers, "x\0".into())
        );
        prelude.body = b"[418]\0\0\0\0\0\0\0\0x".to_vec();
        let error = read(&prelude).unwrap_err();
        assert!(matches!(error, NoReply::Form(_)), "{error}");
        prelude.body.truncate(5);
        assert!(matches!(read(&prelude), Err(NoReply::NoPrelude)));
        let mut plain = outcome(b"text");
        plain.streamed = true;
        plain.content_type = Some("text/event-stream".into());
        let headers = pairs(&[("content-type", "text/event-stream")]);
        assert_eq!(
            replied(HttpEvent::FunctionUrl, &plain),
            (200, headers, "text".into())
        );
    }

    #[test]
    fn every_member_of_a_prelude_has_a_default() {
        let mut outcome = outcome(b"{\"multiValueHeaders\":{\"set-cookie\":[\"a=1\",\"b=2\"]}}");
        outcome.body.extend([0; 8]);
        outcome.streamed = true;
        outcome.content_type = Some(WITH_PRELUDE.into());
        let headers = pairs(&[
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("content-type", "application/json"),
        ]);
        let got = replied(HttpEvent::ApiGatewayV1, &outcome);
        assert_eq!(got, (200, headers, String::new()));
    }

    #[test]
    fn an_http_api_takes_text_and_has_a_type_of_its_own() {
        for (body, content_type, expected) in [
            ("Hello, World!", "application/json", "Hello, World!"),
            (r#"{"a":"#, "application/json", r#"{"a":"#),
            (r#"{"a":1}"#, "application/json", r#"{"a":1}"#),
            (
                r#"{"statusCode":200,"body":"x"}"#,
                "text/plain; charset=utf-8",
                "x",
            ),
        ] {
            let got = replied(HttpEvent::ApiGatewayV2, &outcome(body.as_bytes()));
            let headers = pairs(&[("content-type", content_type)]);
            assert_eq!(got, (200, headers, expected.to_owned()), "{body}");
        }
        let status = outcome(br#"{"statusCode":200.5}"#);
        let error = reply(HttpEvent::ApiGatewayV2, &status).unwrap_err();
        assert!(
            error.to_string().ends_with("statusCode 200.5 is no status"),
            "{error}"
        );
    }

    #[test]
    fn a_rest_api_takes_headers_of_both_kinds() {
        let response = outcome(
            br#"{"statusCode":201,"headers":{"Content-Type":"text/plain","x-a":"single","N":7},
                "multiValueHeaders":{"Set-Cookie":["a=1","b=2"],"X-A":["1","2"]},
                "body":"Ym9keQ==","isBase64Encoded":true}"#,
        );
        let (status, mut headers, body) = replied(HttpEvent::ApiGatewayV1, &response);
        headers.sort();
        let expected = pairs(&[
            ("content-type", "text/plain"),
            ("n", "7"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("x-a", "1"),
            ("x-a", "2"),
        ]);
        assert_eq!((status, headers, body), (201, expected, "body".into()));
    }

    #[test]
    fn a_rest_api_needs_no_member_and_takes_no_other() {
        let json = pairs(&[("content-type", "application/json")]);
        for (body, expected) in [("{}", ""), (r#"{"body":"hello"}"#, "hello")] {
            let got = replied(HttpEvent::ApiGatewayV1, &outcome(body.as_bytes()));
            assert_eq!(got, (200, json.clone(), expected.to_owned()), "{body}");
        }
        for (body, expected) in [
            (r#""text""#, "invalid type: string"),
            ("[200]", "invalid type: sequence"),
            (r#"{"message":"hello"}"#, "unknown field `message`"),
            (
                r#"{"statusCode":200,"cookies":[]}"#,
                "unknown field `cookies`",
            ),
            (r#"{"statusCode":200,"body":{}}"#, "invalid type: map"),
            (r#"{"statusCode":99}"#, "statusCode 99 is not between"),
        ] {
            let response = outcome(body.as_bytes());
            let error = reply(HttpEvent::ApiGatewayV1, &response).unwrap_err();
            assert!(error.to_string().contains(expected), "{body}: {error}");
        }
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
            let error = read(&outcome(body.as_bytes())).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{body}: {error}");
        }
        let mut failed = outcome(b"{}");
        failed.function_error = Some(FunctionError {
            error_type: "Function.Bad".into(),
            raw_type: None,
            body: Vec::new(),
            xray_cause: None,
        });
        let error = read(&failed).unwrap_err().to_string();
        assert_eq!(error, "the function failed: Function.Bad");
    }
}

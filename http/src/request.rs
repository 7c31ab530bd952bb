//! The request of an event.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use bantam::Context;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{COOKIE, HeaderMap, HeaderName, HeaderValue};
use http::uri::{PathAndQuery, Uri};
use http::{Method, Request};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::event::{Event, EventError, Fields, Source};

/// What the platform says of the invocation: [`bantam::Context`] without its borrows, in the
/// extensions of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Invocation {
    /// The id, the same for every retry of it.
    pub request_id: String,
    /// When it times out, if the platform says it.
    pub deadline: Option<SystemTime>,
    /// The ARN that was invoked.
    pub invoked_function_arn: Option<String>,
    /// The X-Ray trace header.
    pub trace_id: Option<String>,
}

/// What the source of the event says of the request, in the extensions of a request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RequestContext {
    /// `pathParameters` of API Gateway.
    pub path_parameters: HashMap<String, String>,
    /// `stageVariables` of API Gateway.
    pub stage_variables: HashMap<String, String>,
    json: Box<RawValue>,
}

impl RequestContext {
    /// `requestContext` as JSON; `{}` if there is none.
    #[must_use]
    pub fn json(&self) -> &str {
        self.json.get()
    }

    /// `requestContext` as a type, for instance one of the crate `aws_lambda_events`.
    ///
    /// # Errors
    ///
    /// It has another form.
    pub fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.json())
    }
}

/// The request of an event, and what its response is made for.
pub(crate) fn read(
    event: &[u8],
    context: &Context<'_>,
) -> Result<(Request<Bytes>, Source), EventError> {
    let event = Event::parse(event)?;
    let (source, method) = event.source()?;
    let mut request = Request::new(body(&event)?);
    *request.method_mut() = Method::from_bytes(method.as_bytes()).map_err(http)?;
    *request.uri_mut() = uri(&event, source)?;
    *request.headers_mut() = headers(&event)?;
    let extensions = request.extensions_mut();
    extensions.insert(invocation(context));
    extensions.insert(RequestContext {
        path_parameters: event.path_parameters.unwrap_or_default(),
        stage_variables: event.stage_variables.unwrap_or_default(),
        json: match event.request_context {
            Some(context) => context.to_owned(),
            None => RawValue::from_string("{}".to_owned()).map_err(EventError::Json)?,
        },
    });
    Ok((request, source))
}

fn body(event: &Event<'_>) -> Result<Bytes, EventError> {
    let body = event.body.as_deref().unwrap_or_default();
    if event.is_base64_encoded == Some(true) {
        let decoded = BASE64_STANDARD.decode(body).map_err(EventError::Base64)?;
        return Ok(decoded.into());
    }
    Ok(Bytes::copy_from_slice(body.as_bytes()))
}

fn uri(event: &Event<'_>, source: Source) -> Result<Uri, EventError> {
    let path = match source {
        Source::Http => event.raw_path.as_deref(),
        Source::Rest | Source::Balancer { .. } | Source::Lattice => event.path.as_deref(),
    };
    let path = path.unwrap_or_default();
    let (path, raw_query) = match source {
        Source::Http => (path, event.raw_query_string.as_deref()),
        // Its path has the query too, as the client wrote it.
        Source::Lattice => path
            .split_once('?')
            .map_or((path, None), |(path, query)| (path, Some(query))),
        Source::Rest | Source::Balancer { .. } => (path, None),
    };
    let mut target = encode(path, NOT_IN_PATH);
    // `*` would be a target of its own, https://www.rfc-editor.org/rfc/rfc9112#section-3.2.4.
    if !target.starts_with('/') {
        target.insert(0, '/');
    }
    let query = match (source, raw_query) {
        (_, Some(query)) => encode(query, NOT_IN_QUERY),
        (Source::Rest, None) => query(event, |text| {
            utf8_percent_encode(text, NOT_IN_VALUE).to_string()
        }),
        // A load balancer does not decode, and what VPC Lattice has as a code stays one.
        // https://docs.aws.amazon.com/elasticloadbalancing/latest/application/lambda-functions.html
        (Source::Balancer { .. } | Source::Lattice, None) => {
            query(event, |text| encode(text, NOT_IN_QUERY))
        }
        (Source::Http, None) => String::new(),
    };
    if !query.is_empty() {
        target.push('?');
        target.push_str(&query);
    }
    let target = PathAndQuery::try_from(target).map_err(http)?;
    Ok(Uri::from(target))
}

/// Encodes the bytes of `set`, and each `%` that is not followed by two digits.
///
/// <https://www.rfc-editor.org/rfc/rfc3986#section-2.1>
fn encode(text: &str, set: &'static AsciiSet) -> String {
    let mut parts = text.split('%');
    let first = parts.next().unwrap_or_default();
    let mut out = utf8_percent_encode(first, set).to_string();
    for part in parts {
        let code = part.as_bytes().get(..2);
        let is_code = code.is_some_and(|code| code.iter().all(u8::is_ascii_hexdigit));
        out.push_str(if is_code { "%" } else { "%25" });
        out.extend(utf8_percent_encode(part, set));
    }
    out
}

/// The query of parameters: all their values where the event has them.
fn query(event: &Event<'_>, encode: impl Fn(&str) -> String) -> String {
    let several = event.multi_value_query_string_parameters.as_ref();
    let Some(parameters) = several.or(event.query_string_parameters.as_ref()) else {
        return String::new();
    };
    let pair = |(name, value): (&str, &str)| [&encode(name), "=", &encode(value)].concat();
    let pairs: Vec<String> = pairs(parameters).map(pair).collect();
    pairs.join("&")
}

fn headers(event: &Event<'_>) -> Result<HeaderMap, EventError> {
    let mut headers = HeaderMap::new();
    let several = event.multi_value_headers.as_ref();
    if let Some(fields) = several.or(event.headers.as_ref()) {
        for (name, value) in pairs(fields) {
            // A load balancer passes on names that are no tokens.
            let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
                continue;
            };
            // API Gateway makes text of bytes that are not ASCII.
            let value = HeaderValue::from_bytes(value.as_bytes()).map_err(http)?;
            headers.try_append(name, value).map_err(http)?;
        }
    }
    if let Some(cookies) = event.cookies.as_ref().filter(|cookies| !cookies.is_empty()) {
        let cookies = HeaderValue::from_bytes(cookies.join("; ").as_bytes()).map_err(http)?;
        headers.insert(COOKIE, cookies);
    }
    Ok(headers)
}

fn pairs(fields: &Fields) -> impl Iterator<Item = (&str, &str)> {
    let fields = fields.iter();
    fields.flat_map(|(name, values)| values.iter().map(move |value| (name.as_str(), value)))
}

fn invocation(context: &Context<'_>) -> Invocation {
    let epoch = SystemTime::UNIX_EPOCH;
    let deadline = context.deadline_ms().map(Duration::from_millis);
    Invocation {
        request_id: context.request_id().to_owned(),
        deadline: deadline.and_then(|since_epoch| epoch.checked_add(since_epoch)),
        invoked_function_arn: context.invoked_function_arn().map(str::to_owned),
        trace_id: context.trace_id().map(str::to_owned),
    }
}

fn http(error: impl Into<http::Error>) -> EventError {
    EventError::Http(error.into())
}

/// Bytes that neither a path nor a query may hold. API Gateway has decoded the path, and a client
/// may have written them into the query.
const NOT_IN_QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>');

const NOT_IN_PATH: &AsciiSet = &NOT_IN_QUERY.add(b'?').add(b'`').add(b'{').add(b'}');

/// Bytes of a name or a value that has been decoded.
///
/// <https://www.rfc-editor.org/rfc/rfc3986#section-2.3>
const NOT_IN_VALUE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

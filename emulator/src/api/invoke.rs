//! The Invoke API as AWS SDKs speak it.
//!
//! `docs.aws.amazon.com/lambda/latest/api/API_Invoke.html`

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{CONTENT_TYPE, HeaderMap};
use hyper::http::request::Parts;
use hyper::{Method, Response};
use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::api::body::{render_error, restore_error};
use crate::api::function_name::{Operation, target};
use crate::api::streaming;
use crate::config::{Invoke, InvokeKind};
use crate::environment::pool::Pool;
use crate::error::EmulatorError;
use crate::http::{Collected, PAYLOAD_BYTES_MAX, Payload, header, response};
use crate::record::outcome::Outcome;

/// Serves one request.
pub(crate) async fn serve(
    pool: Arc<Pool>,
    parts: &Parts,
    collected: &Collected,
) -> Response<Payload> {
    let request_id = Uuid::new_v4().to_string();
    let wants_tail = header(&parts.headers, "x-amz-log-type").as_deref() == Some("Tail");
    let version = pool.shared().config.function_version.clone();
    let operation = Operation::of(parts.uri.path());
    let result = match invocation(&pool, operation, parts, collected, &request_id) {
        Ok(invoke) if invoke.streaming => {
            return streaming::serve(&pool, invoke, version, wants_tail).await;
        }
        Ok(invoke) => pool.invoke_detached(invoke).await,
        Err(refused) => Err(refused),
    };
    match result {
        Ok(outcome) => match restore_error(&outcome) {
            Some(error) => render_error(&error, &request_id),
            None => render(&outcome, &version, wants_tail),
        },
        Err(error) => render_error(&error, &request_id),
    }
}

/// The invocation that a request asks for.
fn invocation(
    pool: &Pool,
    operation: Option<(Operation, &str)>,
    parts: &Parts,
    collected: &Collected,
    request_id: &str,
) -> Result<Invoke, EmulatorError> {
    let config = &pool.shared().config;
    let target =
        operation.and_then(|(operation, name)| Some((operation, target(name, parts.uri.query())?)));
    let Some((operation, target)) = target else {
        return Err(refused(
            404,
            "UnknownOperationException",
            "no such operation",
        ));
    };
    if parts.method != Method::POST {
        return Err(refused(
            405,
            "MethodNotAllowedException",
            "an invocation is a POST",
        ));
    }
    let is_known = target.name == config.function_name || config.other_names.contains(&target.name);
    if !is_known {
        let arn = config.arn();
        let known = arn.strip_suffix(&config.function_name).unwrap_or_default();
        let message = format!("Function not found: {known}{}", target.name);
        return Err(refused(404, "ResourceNotFoundException", &message));
    }
    let kind = kind(&parts.headers)?;
    let streaming = operation == Operation::InvokeWithResponseStream;
    if streaming && kind == InvokeKind::Event {
        let message = "a streamed invocation cannot be an event";
        return Err(refused(400, "InvalidParameterValueException", message));
    }
    if collected.length <= PAYLOAD_BYTES_MAX && !collected.data.is_empty() {
        serde_json::from_slice::<IgnoredAny>(&collected.data).map_err(|error| {
            let message = format!("Could not parse request body into json: {error}");
            refused(400, "InvalidRequestContentException", &message)
        })?;
    }
    Ok(Invoke {
        event: collected.data.to_vec(),
        kind,
        // "Lambda passes the ClientContext object to your function for synchronous invocations
        // only": <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>.
        client_context: client_context(&parts.headers)?.filter(|_| kind != InvokeKind::Event),
        cognito_identity: None,
        tenant_id: header(&parts.headers, "x-amz-tenant-id"),
        trace_id: header(&parts.headers, "x-amzn-trace-id"),
        request_id: Some(request_id.to_owned()),
        qualifier: target.qualifier,
        // The tail of the log is complete at the end of the invocation only.
        return_early: header(&parts.headers, "x-amz-log-type").as_deref() != Some("Tail"),
        streaming,
    })
}

fn kind(headers: &HeaderMap) -> Result<InvokeKind, EmulatorError> {
    match header(headers, "x-amz-invocation-type").as_deref() {
        None | Some("RequestResponse") => Ok(InvokeKind::RequestResponse),
        Some("Event") => Ok(InvokeKind::Event),
        Some("DryRun") => Ok(InvokeKind::DryRun),
        Some(other) => {
            let message = format!("unknown invocation type: {other}");
            Err(refused(400, "InvalidParameterValueException", &message))
        }
    }
}

/// "Up to 3,583 bytes of base64-encoded data".
const CLIENT_CONTEXT_BYTES_MAX: usize = 3_583;

/// A JSON object in base64.
fn client_context(headers: &HeaderMap) -> Result<Option<String>, EmulatorError> {
    let Some(encoded) = header(headers, "x-amz-client-context") else {
        return Ok(None);
    };
    let fits = Some(encoded).filter(|encoded| encoded.len() <= CLIENT_CONTEXT_BYTES_MAX);
    let decoded = fits
        .and_then(|encoded| STANDARD.decode(encoded).ok())
        .and_then(|bytes| String::from_utf8(bytes).ok());
    match decoded {
        Some(text) if serde_json::from_str::<Map<String, Value>>(&text).is_ok() => Ok(Some(text)),
        Some(_) | None => Err(refused(
            400,
            "InvalidRequestContentException",
            "Client context must be a valid Base64-encoded JSON object.",
        )),
    }
}

fn render(outcome: &Outcome, version: &str, wants_tail: bool) -> Response<Payload> {
    let mut headers = vec![
        ("x-amzn-requestid", outcome.request_id.as_str()),
        (CONTENT_TYPE.as_str(), "application/json"),
    ];
    let tail = STANDARD.encode(&outcome.log_tail);
    if outcome.status == 200 {
        headers.push(("x-amz-executed-version", version));
        if outcome.function_error.is_some() {
            headers.push(("x-amz-function-error", "Unhandled"));
        }
        if wants_tail {
            headers.push(("x-amz-log-result", &tail));
        }
    }
    response(
        outcome.status,
        headers,
        Payload::sized(outcome.body.clone()),
    )
}

fn refused(status: u16, error_type: &str, message: &str) -> EmulatorError {
    EmulatorError::Refused {
        status,
        error_type: error_type.into(),
        message: message.into(),
    }
}

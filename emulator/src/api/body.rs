//! Responses that several endpoints give.

use std::error::Error;
use std::fmt;

use hyper::Response;
use hyper::header::CONTENT_TYPE;

use serde_json::json;

use crate::error::EmulatorError;
use crate::http::{Payload, error_json, response};
use crate::record::outcome::Outcome;

/// The connection is to be reset and no answer written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reset;

impl fmt::Display for Reset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("reset by a planted fault")
    }
}

impl Error for Reset {}

/// An error as the Runtime API words it.
pub(crate) fn error_response(status: u16, error_type: &str, message: &str) -> Response<Payload> {
    let headers = [
        (CONTENT_TYPE.as_str(), "application/json"),
        (ERROR_TYPE_NOTE, error_type),
    ];
    response(
        status,
        headers,
        Payload::sized(error_json(error_type, message)),
    )
}

pub(crate) fn text_response(status: u16, text: &'static str) -> Response<Payload> {
    let headers = [(CONTENT_TYPE.as_str(), "text/plain; charset=utf-8")];
    response(status, headers, Payload::sized(text))
}

/// A Go server's text.
pub(crate) fn not_found() -> Response<Payload> {
    text_response(404, "404 page not found\n")
}

/// The exceptions of a restore that did not work (Lambda API reference, Invoke).
pub(crate) fn restore_error(outcome: &Outcome) -> Option<EmulatorError> {
    let (error_type, message) = match outcome.status {
        400 => (
            "SnapStartException",
            "The afterRestore() runtime hook encountered an error. For more information, check the \
             Amazon CloudWatch logs.",
        ),
        408 => (
            "SnapStartTimeoutException",
            "Lambda couldn't restore the snapshot within the timeout limit.",
        ),
        _ => return None,
    };
    Some(EmulatorError::Refused {
        status: outcome.status,
        error_type: error_type.to_owned(),
        message: message.to_owned(),
    })
}

/// The SDKs take the exception's name from the header, its message from the body.
pub(crate) fn render_error(error: &EmulatorError, request_id: &str) -> Response<Payload> {
    let (status, error_type, message) = if let EmulatorError::Refused {
        status,
        error_type,
        message,
    } = error
    {
        (*status, error_type.as_str(), message.clone())
    } else {
        (500, "ServiceException", error.to_string())
    };
    let mut body = json!({ "Type": "User", "message": message });
    if status == 429 {
        body["Reason"] = json!("ReservedFunctionConcurrentInvocationLimitExceeded");
    }
    let headers = [
        ("x-amzn-requestid", request_id),
        ("x-amzn-errortype", error_type),
        (CONTENT_TYPE.as_str(), "application/json"),
    ];
    response(status, headers, Payload::sized(body.to_string()))
}

/// Carries the error type from where an answer is made to the transcript; not sent.
pub(crate) const ERROR_TYPE_NOTE: &str = "emulator-error-type";

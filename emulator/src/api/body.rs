//! Responses that several endpoints give.

use std::error::Error;
use std::fmt;

use hyper::Response;
use hyper::header::CONTENT_TYPE;

use crate::http::{Payload, error_json, response};

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

/// Carries the error type from where an answer is made to the transcript; not sent.
pub(crate) const ERROR_TYPE_NOTE: &str = "emulator-error-type";

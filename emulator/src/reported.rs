//! Errors out of what a runtime sent.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderMap;
use serde_json::Value;

use crate::error_type::recorded;
use crate::http::{error_json, header};
use crate::outcome::FunctionError;

/// An error the platform makes of a response it cannot use.
pub(crate) fn platform_error(error_type: &str, message: &str) -> FunctionError {
    FunctionError {
        error_type: error_type.to_owned(),
        raw_type: None,
        body: error_json(error_type, message),
        xray_cause: None,
    }
}

/// The error of a response that failed midway: two trailers, the body's in base64 (Lambda
/// developer guide, "Response streaming for custom runtimes").
pub(crate) fn trailer_error(trailers: &HeaderMap) -> Option<FunctionError> {
    let raw_type = header(trailers, "lambda-runtime-function-error-type");
    let body = header(trailers, "lambda-runtime-function-error-body");
    if raw_type.is_none() && body.is_none() {
        return None;
    }
    let body = body.unwrap_or_default();
    Some(FunctionError {
        error_type: recorded(raw_type.as_deref().unwrap_or_default()),
        raw_type,
        body: STANDARD.decode(&body).unwrap_or_else(|_| body.into_bytes()),
        xray_cause: None,
    })
}

/// Takes `errorCause` out of an error body that carries it.
pub(crate) fn split_cause(body: &[u8]) -> (Vec<u8>, Option<String>) {
    let Ok(Value::Object(mut fields)) = serde_json::from_slice(body) else {
        return (b"\"Invalid error body\"".to_vec(), None);
    };
    let cause = fields.remove("errorCause").map(|cause| cause.to_string());
    (Value::Object(fields).to_string().into_bytes(), cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_taken_out_of_the_body() {
        let (body, cause) = split_cause(br#"{"errorType":"T","errorCause":{"paths":[]}}"#);
        assert_eq!(body, br#"{"errorType":"T"}"#);
        assert_eq!(cause.unwrap(), r#"{"paths":[]}"#);
        assert_eq!(split_cause(b"[").0, b"\"Invalid error body\"");
    }

    #[test]
    fn trailers_make_an_error() {
        let mut trailers = HeaderMap::new();
        assert_eq!(trailer_error(&trailers), None);
        trailers.insert(
            "lambda-runtime-function-error-type",
            "Function.Bad".parse().unwrap(),
        );
        trailers.insert(
            "lambda-runtime-function-error-body",
            "e30=".parse().unwrap(),
        );
        let error = trailer_error(&trailers).unwrap();
        assert_eq!(
            (error.error_type.as_str(), error.body.as_slice()),
            ("Function.Bad", &b"{}"[..])
        );
    }
}

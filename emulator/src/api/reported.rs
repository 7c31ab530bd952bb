//! The error of an invocation, from what its runtime sent.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderMap;
use serde_json::Value;

use crate::http::{error_json, header};
use crate::record::outcome::FunctionError;

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

/// The error type the platform records. A type with `Runtime.Reason` or `Function.Reason`
/// anywhere in it is kept; the search is not anchored. The rest becomes an unknown of its
/// category, as in aws-lambda-runtime-interface-emulator.
pub(crate) fn recorded(raw: &str) -> String {
    let kept = ["Runtime.", "Function."]
        .into_iter()
        .any(|category| raw.split(category).skip(1).any(starts_as_a_reason));
    if kept {
        raw.to_owned()
    } else if raw.starts_with("Function.") {
        "Function.Unknown".to_owned()
    } else {
        "Runtime.Unknown".to_owned()
    }
}

/// The X-Ray cause the platform passes on: at most 64 KiB.
pub(crate) fn cropped_cause(cause: &str) -> String {
    let mut end = cause.len().min(XRAY_CAUSE_BYTES_MAX);
    while !cause.is_char_boundary(end) {
        end -= 1;
    }
    cause.get(..end).unwrap_or_default().to_owned()
}

/// `[A-Z][a-zA-Z]+`
fn starts_as_a_reason(text: &str) -> bool {
    let mut characters = text.chars();
    characters.next().is_some_and(|c| c.is_ascii_uppercase())
        && characters.next().is_some_and(|c| c.is_ascii_alphabetic())
}

const XRAY_CAUSE_BYTES_MAX: usize = 64 * 1024;

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

    #[test]
    fn types_are_kept_or_become_unknown() {
        let table = [
            ("Function.Panic", "Function.Panic"),
            ("Runtime.UnmarshalError", "Runtime.UnmarshalError"),
            ("my Runtime.Xy, really", "my Runtime.Xy, really"),
            ("Function.Runtime.Bad", "Function.Runtime.Bad"),
            ("Function.panic", "Function.Unknown"),
            ("Function.P", "Function.Unknown"),
            ("Function.", "Function.Unknown"),
            ("Runtime.X", "Runtime.Unknown"),
            ("unhandled", "Runtime.Unknown"),
            ("Extension.Crash", "Runtime.Unknown"),
            ("", "Runtime.Unknown"),
        ];
        for (raw, expected) in table {
            assert_eq!(recorded(raw), expected, "{raw}");
        }
    }

    #[test]
    fn a_cause_is_cropped_at_a_character() {
        let cause = "\u{e9}".repeat(40 * 1024);
        let cropped = cropped_cause(&format!("x{cause}"));
        assert_eq!(cropped.len(), XRAY_CAUSE_BYTES_MAX - 1);
        assert_eq!(cropped_cause("short"), "short");
    }
}

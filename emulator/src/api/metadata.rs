//! The metadata endpoint.
//!
//! docs.aws.amazon.com/lambda/latest/dg/configuration-metadata-endpoint.html; the texts of its
//! errors are from `internal/lmds/handler.go` of aws-lambda-runtime-interface-emulator.

use hyper::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderMap};
use hyper::{Method, Response};

use crate::api::body::text_response;
use crate::environment::Env;
use crate::http::{Payload, header, response};

/// Any request to the path.
pub(crate) fn answer(env: &Env, method: &Method, headers: &HeaderMap) -> Response<Payload> {
    if *method != Method::GET {
        return text_response(405, "Method Not Allowed\n");
    }
    let given = header(headers, AUTHORIZATION.as_str());
    let token = given.as_deref().and_then(|g| g.strip_prefix("Bearer "));
    if token.is_none() || token != env.metadata.as_ref().map(|own| own.token.as_str()) {
        return text_response(401, "Unauthorized\n");
    }
    let Some((document, max_age)) = env.metadata_document() else {
        return text_response(503, "Service Unavailable\n");
    };
    let max_age = format!("private, max-age={}, immutable", max_age.as_secs());
    let headers = [
        (CONTENT_TYPE.as_str(), "application/json"),
        (CACHE_CONTROL.as_str(), max_age.as_str()),
    ];
    response(200, headers, Payload::sized(document.to_string()))
}

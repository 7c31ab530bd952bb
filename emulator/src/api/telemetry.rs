//! Subscriptions to the Telemetry API.
//!
//! docs.aws.amazon.com/lambda/latest/dg/telemetry-api.html

use hyper::Response;
use hyper::header::HeaderMap;
use serde_json::Value;

use crate::api::extensions::{identifier, refuse};
use crate::environment::Env;
use crate::http::{Collected, Payload, json_response};
use crate::record::transcript::What;

/// `PUT /telemetry`.
pub(crate) fn subscribe(env: &Env, headers: &HeaderMap, body: &Collected) -> Response<Payload> {
    let name = identifier(headers).and_then(|id| Ok(env.lock().extensions.name_of(id)?.to_owned()));
    let name = match name {
        Ok(name) => name,
        Err(refused) => return refuse(&refused),
    };
    let (status, answer) = env.subscribe(&name, &body.data);
    let uri = serde_json::from_slice::<Value>(&body.data).ok();
    let uri = uri.and_then(|body| Some(body["destination"]["URI"].as_str()?.to_owned()));
    env.record(What::Subscribed {
        extension: name,
        status,
        uri,
    });
    json_response(status, answer)
}

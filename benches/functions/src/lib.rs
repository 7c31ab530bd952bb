//! The code of the measured functions. It is the same under each runtime; only `main` differs.
//!
//! Everything is owned, because `lambda_runtime` takes no type that borrows from the event.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// The event of the hello world.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hello {
    first_name: Option<String>,
}

/// Its response.
#[derive(Debug, Serialize)]
pub struct Greeting {
    message: String,
}

/// Greets.
#[must_use]
pub fn hello(event: &Hello) -> Greeting {
    let name = event.first_name.as_deref().unwrap_or("world");
    Greeting {
        message: format!("Hello, {name}!"),
    }
}

/// Requests of an HTTP API, as API Gateway writes one. An event of any size is a number of them, so
/// that one byte costs what another does.
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>
#[derive(Debug, Deserialize)]
pub struct Batch {
    requests: Vec<Request>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Request {
    version: String,
    route_key: String,
    raw_path: String,
    raw_query_string: String,
    cookies: Vec<String>,
    headers: BTreeMap<String, String>,
    query_string_parameters: BTreeMap<String, String>,
    request_context: RequestContext,
    path_parameters: BTreeMap<String, String>,
    stage_variables: BTreeMap<String, String>,
    body: Option<String>,
    is_base64_encoded: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RequestContext {
    account_id: String,
    api_id: String,
    domain_name: String,
    http: Http,
    request_id: String,
    stage: String,
    time: String,
    time_epoch: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Http {
    method: String,
    path: String,
    protocol: String,
    source_ip: String,
    user_agent: String,
}

/// The response to a batch.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    status_code: u16,
    headers: BTreeMap<&'static str, &'static str>,
    body: String,
}

/// Looks into each request, so that nothing of it can be left out.
#[must_use]
pub fn batch(event: &Batch) -> Response {
    let fields = |request: &Request| {
        let maps = [
            &request.headers,
            &request.query_string_parameters,
            &request.path_parameters,
            &request.stage_variables,
        ];
        let context = &request.request_context;
        let texts = [
            &request.version,
            &request.route_key,
            &request.raw_path,
            &request.raw_query_string,
            &context.account_id,
            &context.api_id,
            &context.domain_name,
            &context.request_id,
            &context.stage,
            &context.time,
            &context.http.method,
            &context.http.path,
            &context.http.protocol,
            &context.http.source_ip,
            &context.http.user_agent,
        ];
        maps.iter().map(|map| map.len()).sum::<usize>()
            + texts.iter().filter(|text| !text.is_empty()).count()
            + request.cookies.len()
            + usize::from(context.time_epoch != 0)
            + usize::from(request.is_base64_encoded)
            + request.body.as_ref().map_or(0, String::len)
    };
    let (count, sum) = (
        event.requests.len(),
        event.requests.iter().map(fields).sum::<usize>(),
    );
    Response {
        status_code: 200,
        headers: BTreeMap::from([("content-type", "text/plain")]),
        body: format!("{count} requests, {sum}"),
    }
}

/// The beginning of a streamed response: the time of its writing, in ns since the epoch.
#[must_use]
#[allow(
    clippy::disallowed_methods,
    clippy::allow_attributes,
    reason = "the clock that two processes share; a peer has no such lint"
)]
pub fn mark() -> String {
    let time = SystemTime::now().duration_since(UNIX_EPOCH);
    format!("t={};", time.unwrap_or_default().as_nanos())
}

/// Pieces of so many bytes in all.
pub fn pieces(bytes: usize) -> impl Iterator<Item = &'static [u8]> {
    let whole = std::iter::repeat_n(&PIECE[..], bytes / PIECE.len());
    whole.chain(PIECE.get(..bytes % PIECE.len()))
}

static PIECE: [u8; 64 * 1024] = [b'x'; 64 * 1024];

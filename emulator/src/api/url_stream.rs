//! The function as a web server whose responses go out while the function sends them.
//!
//! "Invoking a response streaming enabled function using Lambda function URLs"
//! (docs.aws.amazon.com/lambda/latest/dg/config-rs-invoke-furls.html).

use std::sync::Arc;

use bytes::Bytes;
use hyper::Response;
use tokio::sync::mpsc;

use crate::api::url_reply::{NoReply, Reply, WITH_PRELUDE, no_reply, plain, refused, with_prelude};
use crate::config::Invoke;
use crate::environment::job::Part;
use crate::environment::pool::{Pool, Streaming};
use crate::error::EmulatorError;
use crate::http::{CutOff, Payload, response};
use crate::record::outcome::Outcome;

/// The end of an invocation: its outcome, if it was run.
type End = Result<Outcome, EmulatorError>;

/// Serves one request.
pub(crate) async fn serve(pool: Arc<Pool>, invoke: Invoke) -> Response<Payload> {
    let mut streaming = pool.invoke_streaming(invoke);
    let reply = match head(&mut streaming).await {
        Ok(Ok(reply)) => reply,
        Ok(Err(reason)) => {
            // The function goes on, with nobody to take its response.
            streaming.parts.close();
            return match end(&mut streaming).await {
                Ok(outcome) => no_reply(&pool, &outcome, &reason),
                Err(error) => refused(&pool, error),
            };
        }
        Err(Ok(outcome)) => {
            let error = outcome.function_error.as_ref();
            let reason = error.map_or(NoReply::NoPrelude, |error| {
                NoReply::FunctionError(error.error_type.clone())
            });
            return no_reply(&pool, &outcome, &reason);
        }
        Err(Err(error)) => return refused(&pool, error),
    };
    let (sender, body) = mpsc::channel(1);
    let first = Bytes::from(reply.body);
    drop(tokio::spawn(relay(pool, first, streaming, sender)));
    let headers = reply.headers.iter();
    let headers = headers.map(|(name, value)| (name.as_str(), value.as_str()));
    response(reply.status, headers, Payload::Streamed(body))
}

/// Reads as far as status and headers are known. The body is what came with them.
async fn head(streaming: &mut Streaming) -> Result<Result<Reply, NoReply>, End> {
    let mut begin = Vec::new();
    loop {
        match streaming.next().await? {
            Part::Head {
                content_type,
                streamed,
            } => {
                let content_type = content_type.as_deref();
                if !streamed || content_type != Some(WITH_PRELUDE) {
                    return Ok(Ok(plain(content_type, Vec::new())));
                }
            }
            Part::Data(data) => {
                begin.extend_from_slice(&data);
                if let Some(reply) = with_prelude(&begin) {
                    return Ok(reply);
                }
                if PRELUDE_BYTES_MAX < begin.len() {
                    return Ok(Err(NoReply::NoPrelude));
                }
            }
        }
    }
}

async fn end(streaming: &mut Streaming) -> End {
    loop {
        if let Err(end) = streaming.next().await {
            return end;
        }
    }
}

/// Sends the body as it comes. A failure midway cuts it off.
async fn relay(
    pool: Arc<Pool>,
    first: Bytes,
    mut streaming: Streaming,
    body: mpsc::Sender<Result<Bytes, CutOff>>,
) {
    let mut next: Result<Part, End> = Ok(Part::Data(first));
    loop {
        match next {
            Ok(Part::Data(data)) if data.is_empty() => {}
            Ok(Part::Data(data)) => {
                if body.send(Ok(data)).await.is_err() {
                    // The caller has hung up. The invocation goes on, on its own task.
                    return;
                }
            }
            Ok(Part::Head { .. }) => {}
            Err(Ok(outcome)) => {
                if let Some(error) = &outcome.function_error {
                    let reason = NoReply::FunctionError(error.error_type.clone());
                    let _unsent = no_reply(&pool, &outcome, &reason);
                    let _gone = body.send(Err(CutOff)).await;
                }
                return;
            }
            Err(Err(_stopped)) => {
                let _gone = body.send(Err(CutOff)).await;
                return;
            }
        }
        next = streaming.next().await;
    }
}

/// API Gateway finds the end of a prelude "within the first 16 KB", and a function URL is not
/// documented.
const PRELUDE_BYTES_MAX: usize = 16 * 1024;

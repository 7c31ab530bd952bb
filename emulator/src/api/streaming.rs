//! `InvokeWithResponseStream`: the response as events of a stream, while the runtime sends it.
//!
//! `docs.aws.amazon.com/lambda/latest/api/API_InvokeWithResponseStream.html`

use std::sync::Arc;

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use hyper::Response;
use hyper::header::CONTENT_TYPE;
use serde_json::json;
use tokio::sync::mpsc;

use crate::api::body::{render_error, restore_error};
use crate::config::{Invoke, InvokeKind};
use crate::environment::job::Part;
use crate::environment::pool::{Pool, Streaming};
use crate::http::{CutOff, Payload, response};
use crate::record::outcome::Outcome;

/// Serves one request.
pub(crate) async fn serve(
    pool: &Arc<Pool>,
    invoke: Invoke,
    version: String,
    wants_tail: bool,
) -> Response<Payload> {
    let request_id = invoke.request_id.clone().unwrap_or_default();
    let is_dry = invoke.kind == InvokeKind::DryRun;
    let mut streaming = pool.invoke_streaming(invoke);
    // What is refused has a status of its own, so it is waited for.
    let first = streaming.next().await;
    let refusal = match &first {
        Err(Ok(outcome)) => restore_error(outcome),
        Err(Err(_)) | Ok(_) => None,
    };
    let first = match (first, refusal) {
        (_, Some(error)) | (Err(Err(error)), None) => return render_error(&error, &request_id),
        (first, None) => first,
    };
    let headers = [
        ("x-amzn-requestid", request_id.as_str()),
        (CONTENT_TYPE.as_str(), "application/vnd.amazon.eventstream"),
        ("x-amz-executed-version", &version),
    ];
    if is_dry {
        return response(204, headers, Payload::sized(""));
    }
    let (sender, frames) = mpsc::channel(1);
    drop(tokio::spawn(relay(first, streaming, sender, wants_tail)));
    response(200, headers, Payload::Streamed(frames))
}

/// Sends each part as an event, and the end as the last one.
async fn relay<E>(
    first: Result<Part, Result<Outcome, E>>,
    mut streaming: Streaming,
    frames: mpsc::Sender<Result<Bytes, CutOff>>,
    wants_tail: bool,
) where
    E: Send,
{
    let mut part = first.map_err(Result::ok);
    let event = loop {
        match part {
            Ok(Part::Data(data)) => {
                let event = event("PayloadChunk", "application/octet-stream", data);
                if frames.send(event).await.is_err() {
                    // The caller has hung up. The invocation goes on, on its own task.
                    return;
                }
            }
            Ok(Part::Head { .. }) => {}
            Err(Some(outcome)) => break complete(&outcome, wants_tail),
            // The emulator stops.
            Err(None) => break Err(CutOff),
        }
        part = streaming.next().await.map_err(Result::ok);
    };
    // The caller may have hung up.
    let _gone = frames.send(event).await;
}

fn complete(outcome: &Outcome, wants_tail: bool) -> Result<Bytes, CutOff> {
    let mut complete = json!({});
    if let Some(error) = &outcome.function_error {
        complete["ErrorCode"] = json!("Unhandled");
        complete["ErrorDetails"] = json!(String::from_utf8_lossy(&error.body));
    }
    if wants_tail {
        complete["LogResult"] = json!(STANDARD.encode(&outcome.log_tail));
    }
    event(
        "InvokeComplete",
        "application/json",
        complete.to_string().into(),
    )
}

/// One event of the stream.
fn event(name: &'static str, content_type: &'static str, payload: Bytes) -> Result<Bytes, CutOff> {
    let text = |text: &'static str| HeaderValue::String(text.into());
    let message = Message::new(payload)
        .add_header(Header::new(":event-type", text(name)))
        .add_header(Header::new(":content-type", text(content_type)))
        .add_header(Header::new(":message-type", text("event")));
    let mut frame = BytesMut::new();
    // A part is a chunk as it was read, and that is shorter than a message may be.
    write_message_to(&message, &mut frame).map_err(|_too_long| CutOff)?;
    Ok(frame.freeze())
}

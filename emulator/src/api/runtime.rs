//! The Runtime API of one environment: from a request to the state machine and back. Requests of
//! the Extensions API and the Telemetry API come in here too and are handed on.
//!
//! docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode};
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::api::body::{ERROR_TYPE_NOTE, Reset, error_response, not_found, text_response};
use crate::api::pace::Pace;
use crate::api::reported::{cropped_cause, platform_error, recorded, split_cause, trailer_error};
use crate::api::route::{Route, metadata_route, route};
use crate::api::{extensions, metadata, telemetry};
use crate::environment::Env;
use crate::environment::job::{Answer, Event, Part, Sink};
use crate::environment::machine::{AnswerKind, Current, Next, Refusal};
use crate::environment::router::Router;
use crate::environment::variables::{CREDENTIALS_TOKEN, keys};
use crate::fault::stream::{ByteFault, Control};
use crate::fault::{Drawn, Fault, FaultKind};
use crate::http::port::Port;
use crate::http::{
    Collected, PAYLOAD_BYTES_MAX, Payload, Reading, SURPLUS_BYTES_MAX, collect, header,
    header_list, host_fault, json_response, response,
};
use crate::record::outcome::FunctionError;
use crate::record::transcript::What;
use crate::time::rfc3339;

/// The connection of a request.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) env: Arc<Env>,
    /// Where it was accepted.
    pub(crate) port: Arc<Port>,
    pub(crate) control: Control,
    pub(crate) number: usize,
}

/// Serves one request.
pub(crate) async fn serve(
    connection: Connection,
    request: Request<Incoming>,
) -> Result<Response<Payload>, Reset> {
    let Connection {
        env,
        port,
        control,
        number: connection,
    } = connection;
    let Some(_served) = control.serve() else {
        control.reset();
        return Err(Reset);
    };
    control.arm(ByteFault::None);
    let (parts, body) = request.into_parts();
    if let Some(fault) = host_fault(&parts) {
        return Ok(text_response(400, fault));
    }
    let route = if Arc::ptr_eq(&port, &env.port) {
        route(&parts.method, parts.uri.path())
    } else {
        metadata_route(parts.uri.path())
    };
    let drawn = env.shared.faults.request(route.endpoint());
    for fault in &drawn.faults {
        env.record(What::FaultApplied {
            fault: format!("{:?} at {:?}", fault.kind, fault.at),
        });
    }
    let exchange = Exchange {
        env,
        port,
        parts,
        connection,
        number: drawn.number,
    };
    if let Some(early) = exchange.unprocessed(&drawn, &control).await {
        let unread = |fault: &Fault| matches!(fault.kind, FaultKind::EarlyStatus(..));
        let collected = if drawn.faults.iter().any(unread) {
            Collected::default()
        } else {
            collect(body, PAYLOAD_BYTES_MAX).await
        };
        exchange.record_request(&collected);
        return early.map(|response| exchange.answered(response));
    }
    let is_restore = route == Route::RestoreNext;
    let processed = exchange.process(route, body);
    let response = match patience(&drawn) {
        None => processed.await?,
        Some(patience) => match timeout(patience, processed).await {
            Ok(processed) => processed?,
            Err(_elapsed) => {
                control.reset();
                return Err(Reset);
            }
        },
    };
    if is_restore && response.status() == StatusCode::OK {
        // It was opened before the snapshot.
        control.doom();
    }
    exchange.after(&drawn, &control).await?;
    Ok(exchange.answered(response))
}

/// How long a request may wait for its answer, if a fault limits it.
fn patience(drawn: &Drawn) -> Option<Duration> {
    drawn.faults.iter().find_map(|fault| {
        if let FaultKind::ResetWaiting(patience) = fault.kind {
            Some(patience)
        } else {
            None
        }
    })
}

struct Exchange {
    env: Arc<Env>,
    port: Arc<Port>,
    parts: Parts,
    connection: usize,
    number: usize,
}

impl Exchange {
    /// The faults that keep a request from being processed.
    async fn unprocessed(
        &self,
        drawn: &Drawn,
        control: &Control,
    ) -> Option<Result<Response<Payload>, Reset>> {
        for fault in &drawn.faults {
            match &fault.kind {
                FaultKind::ResetBefore | FaultKind::Refuse { .. } => {
                    control.reset();
                    return Some(Err(Reset));
                }
                FaultKind::Unreachable(duration) => {
                    self.port.close_for(*duration);
                    control.reset();
                    return Some(Err(Reset));
                }
                FaultKind::Status(status, body) | FaultKind::EarlyStatus(status, body) => {
                    self.delay(drawn).await;
                    return Some(Ok(json_response(*status, body.clone())));
                }
                FaultKind::ResetAfter
                | FaultKind::ResetWaiting(_)
                | FaultKind::CutAt(_)
                | FaultKind::CloseAt(_)
                | FaultKind::SplitAt(_)
                | FaultKind::ByteByByte
                | FaultKind::Delay(_)
                | FaultKind::Garbage(_)
                | FaultKind::Instead(_) => {}
            }
        }
        None
    }

    /// The faults that happen to the answer.
    async fn after(&self, drawn: &Drawn, control: &Control) -> Result<(), Reset> {
        self.delay(drawn).await;
        for fault in &drawn.faults {
            match fault.kind.clone() {
                FaultKind::ResetAfter => {
                    control.reset();
                    return Err(Reset);
                }
                FaultKind::CutAt(n) => control.arm(ByteFault::CutAt(n)),
                FaultKind::CloseAt(n) => control.arm(ByteFault::CloseAt(n)),
                FaultKind::SplitAt(n) => control.arm(ByteFault::SplitAt(n)),
                FaultKind::ByteByByte => control.arm(ByteFault::ByteByByte),
                FaultKind::Garbage(bytes) => control.arm(ByteFault::Garbage(bytes)),
                FaultKind::Instead(bytes) => control.arm(ByteFault::Instead(bytes)),
                FaultKind::Refuse { .. }
                | FaultKind::Unreachable(_)
                | FaultKind::ResetBefore
                | FaultKind::ResetWaiting(_)
                | FaultKind::Delay(_)
                | FaultKind::Status(..)
                | FaultKind::EarlyStatus(..) => {}
            }
        }
        Ok(())
    }

    async fn delay(&self, drawn: &Drawn) {
        for fault in &drawn.faults {
            if let FaultKind::Delay(duration) = fault.kind {
                sleep(duration).await;
            }
        }
    }

    async fn process(&self, route: Route, body: Incoming) -> Result<Response<Payload>, Reset> {
        match route {
            Route::Next => {
                // Taken before the body is looked at: this instant ends the init phase.
                let read_at = Instant::now();
                self.record_request(&collect(body, 0).await);
                self.next(read_at).await
            }
            Route::Response(id) => Ok(self.answer(AnswerKind::Response, &id, body).await),
            Route::InvocationError(id) => Ok(self.answer(AnswerKind::Error, &id, body).await),
            Route::InitError => {
                let collected = collect(body, PAYLOAD_BYTES_MAX).await;
                self.record_request(&collected);
                Ok(self.init_error(&collected))
            }
            Route::ExtensionNext => {
                let read_at = Instant::now();
                self.record_request(&collect(body, 0).await);
                extensions::next(&self.env, &self.parts.headers, read_at).await
            }
            Route::RestoreNext => {
                let read_at = Instant::now();
                self.record_request(&collect(body, 0).await);
                self.restore_next(read_at).await
            }
            Route::RestoreError
            | Route::Credentials
            | Route::Register
            | Route::ExtensionError(_)
            | Route::Subscribe
            | Route::Logs
            | Route::Metadata
            | Route::Ping
            | Route::WrongMethod
            | Route::Unknown => {
                let collected = collect(body, PAYLOAD_BYTES_MAX).await;
                self.record_request(&collected);
                Ok(self.at_once(&route, &collected))
            }
        }
    }

    /// Requests that are answered without waiting.
    fn at_once(&self, route: &Route, collected: &Collected) -> Response<Payload> {
        let headers = &self.parts.headers;
        match route {
            Route::RestoreError => self.restore_error(collected),
            Route::Credentials => self.credentials(),
            Route::Register => extensions::register(&self.env, headers, collected),
            Route::ExtensionError(report) => extensions::report(&self.env, *report, headers),
            Route::Subscribe => telemetry::subscribe(&self.env, headers, collected),
            Route::Logs => error_response(
                202,
                "Logs.NotSupported",
                "Logs API is not supported; use the Telemetry API",
            ),
            Route::Metadata => metadata::answer(&self.env, &self.parts.method, headers),
            Route::Ping => text_response(200, "pong"),
            Route::WrongMethod => response(405, [], Payload::sized("")),
            Route::Next
            | Route::Response(_)
            | Route::InvocationError(_)
            | Route::InitError
            | Route::RestoreNext
            | Route::ExtensionNext
            | Route::Unknown => not_found(),
        }
    }

    /// Waits until the snapshot is taken and restored. The endpoints exist under `SnapStart` only.
    async fn restore_next(&self, read_at: Instant) -> Result<Response<Payload>, Reset> {
        if !self.env.takes_snapshots() {
            return Ok(not_found());
        }
        let restored = {
            let mut inner = self.env.lock();
            if let Err(refusal) = inner.machine.restore_next() {
                return Ok(refuse(refusal));
            }
            inner.extensions.runtime_is_ready();
            let (sender, receiver) = oneshot::channel();
            inner.restore_waiter = Some(sender);
            inner.restore_at = Some(read_at);
            receiver
        };
        self.env.notify();
        restored.await.map_err(|_gone| Reset)?;
        Ok(response(200, [], Payload::sized("")))
    }

    fn restore_error(&self, collected: &Collected) -> Response<Payload> {
        if !self.env.takes_snapshots() {
            return not_found();
        }
        let error = self.reported(collected);
        if let Err(refusal) = self.env.lock().report_restore_error(error) {
            return refuse(refusal);
        }
        self.env.notify();
        Verdict::Accepted.render()
    }

    /// The endpoint of `AWS_CONTAINER_CREDENTIALS_FULL_URI`.
    fn credentials(&self) -> Response<Payload> {
        let token = header(&self.parts.headers, "authorization");
        if !self.env.takes_snapshots() || token.as_deref() != Some(CREDENTIALS_TOKEN) {
            return text_response(404, "cannot get credentials for the provided token\n");
        }
        let expiration = rfc3339(SystemTime::now() + CREDENTIALS_LIFETIME);
        let config = &self.env.shared.config;
        let keys = keys(config);
        let token = keys.session_token.unwrap_or_default();
        let token = if config.credentials.is_none() {
            // Others after a restore than before.
            format!("{token}-{}", self.env.lock().restores)
        } else {
            token
        };
        let body = json!({
            "AccessKeyId": keys.access_key_id,
            "SecretAccessKey": keys.secret_access_key,
            "Token": token,
            "Expiration": expiration,
        });
        json_response(200, body.to_string())
    }

    async fn next(&self, read_at: Instant) -> Result<Response<Payload>, Reset> {
        if self.env.is_managed() {
            return self.poll(read_at).await;
        }
        let waiting = {
            let mut inner = self.env.lock();
            match inner.machine.next() {
                Err(refusal) => return Ok(refuse(refusal)),
                Ok(Next::Again) => Err(inner.event.clone()),
                Ok(next @ (Next::First | Next::Wait)) => {
                    if next == Next::First {
                        inner.extensions.runtime_is_ready();
                    }
                    let (sender, receiver) = oneshot::channel();
                    inner.waiters.push_back(sender);
                    inner.next_at = Some(read_at);
                    Ok(receiver)
                }
            }
        };
        self.env.notify();
        let event = match waiting {
            Ok(receiver) => receiver.await.ok(),
            Err(event) => event,
        };
        let event = event.ok_or(Reset)?;
        Ok(self.send(&event))
    }

    /// A `next` on Managed Instances, where each call is a worker's.
    async fn poll(&self, read_at: Instant) -> Result<Response<Payload>, Reset> {
        let (polled, polls) = {
            let mut inner = self.env.lock();
            let Some(polled) = inner.router.as_mut().map(Router::poll) else {
                return Ok(not_found());
            };
            if polled.is_ok() && inner.machine.first_worker() {
                inner.extensions.runtime_is_ready();
                inner.next_at = Some(read_at);
            }
            (polled, inner.router.as_ref().map_or(0, Router::polls))
        };
        let Ok(event) = polled else {
            // `Runtime.TooManyIdleRuntimes` is written as any other error of the server.
            return Ok(error_response(
                500,
                "InternalServerError",
                "Internal Server Error",
            ));
        };
        self.env.record(What::Polled { polls });
        self.env.notify();
        self.env.shared.freed.notify_one();
        let event = event.await.map_err(|_gone| Reset)?;
        Ok(self.send(&event))
    }

    /// The event as the answer to a `next`.
    fn send(&self, event: &Event) -> Response<Payload> {
        self.env.record(What::EventSent {
            connection: self.connection,
            request_id: event.current.request_id.clone(),
            invocation_id: event.current.nonce.clone(),
        });
        render(event, self.env.shared.config.chunk_above_bytes)
    }

    async fn answer(&self, kind: AnswerKind, id: &str, body: Incoming) -> Response<Payload> {
        let began_at = Instant::now();
        let nonce = header(&self.parts.headers, "lambda-runtime-invocation-id");
        let begun = self.env.lock().begin_answer(kind, id, nonce.as_deref());
        let sink = match &begun {
            Ok(current) if kind == AnswerKind::Response => self.env.lock().sink(current),
            Ok(_) | Err(_) => None,
        };
        let mode = self.mode();
        let streamed = mode.as_deref() == Some("streaming");
        let limit = if streamed && sink.is_some() {
            STREAMED_BYTES_MAX
        } else {
            PAYLOAD_BYTES_MAX
        };
        let collected = match sink {
            // A response with an odd mode is refused.
            Some(sink) if streamed || mode.is_none() => {
                let content_type = header(&self.parts.headers, CONTENT_TYPE.as_str());
                let head = Part::Head {
                    content_type,
                    streamed,
                };
                let rate = self.env.shared.config.stream_rate.filter(|_| streamed);
                let pace = rate.map(|rate| Pace::new(rate, Instant::now()));
                hand_on(body, limit, head, &sink, pace).await
            }
            Some(_) | None => collect(body, limit).await,
        };
        self.record_request(&collected);
        let (verdict, error) = match kind {
            AnswerKind::Response => self.judge_response(&collected, limit),
            AnswerKind::Error => (Verdict::Accepted, Some(self.reported(&collected))),
        };
        match begun.and_then(|current| self.finish(kind, &current, began_at, collected, error)) {
            Ok(()) => verdict.render(),
            Err(refusal) => refuse(refusal),
        }
    }

    /// Hands the answer to the lifecycle.
    fn finish(
        &self,
        kind: AnswerKind,
        current: &Current,
        began_at: Instant,
        collected: Collected,
        error: Option<FunctionError>,
    ) -> Result<(), Refusal> {
        let failed = error.is_some();
        let answer = Answer {
            began_at,
            at: Instant::now(),
            headers: header_list(&self.parts.headers),
            content_type: header(&self.parts.headers, CONTENT_TYPE.as_str()),
            streamed: self.mode().is_some(),
            length: collected.length,
            body: collected.data,
            error,
        };
        self.env.lock().end_answer(kind, current, answer)?;
        let request_id = current.request_id.clone();
        self.env.record(What::Accepted {
            request_id,
            error: failed,
        });
        self.env.notify();
        Ok(())
    }

    fn judge_response(
        &self,
        collected: &Collected,
        limit: usize,
    ) -> (Verdict, Option<FunctionError>) {
        if self.mode().is_some_and(|mode| mode != "streaming") {
            let error = platform_error("Runtime.InvalidResponseModeHeader", "");
            return (Verdict::InvalidMode, Some(error));
        }
        if collected.truncated {
            let error = platform_error("Runtime.TruncatedResponse", "");
            return (Verdict::Truncated, Some(error));
        }
        if collected.length > limit {
            let message = format!(
                "Response payload size exceeded maximum allowed payload size ({limit} bytes)."
            );
            let error = platform_error("Function.ResponseSizeTooLarge", &message);
            return (Verdict::TooLarge { limit }, Some(error));
        }
        (Verdict::Accepted, trailer_error(&collected.trailers))
    }

    /// The error in a report to `/error` or `/init/error`.
    fn reported(&self, collected: &Collected) -> FunctionError {
        let raw_type = header(&self.parts.headers, "lambda-runtime-function-error-type");
        let mut body = collected.data.to_vec();
        let mut cause = header(
            &self.parts.headers,
            "lambda-runtime-function-xray-error-cause",
        );
        let content_type = header(&self.parts.headers, CONTENT_TYPE.as_str());
        if content_type.as_deref() == Some("application/vnd.aws.lambda.error.cause+json") {
            (body, cause) = split_cause(&body);
        }
        FunctionError {
            error_type: recorded(raw_type.as_deref().unwrap_or_default()),
            raw_type,
            body,
            xray_cause: cause.as_deref().map(cropped_cause),
        }
    }

    fn init_error(&self, collected: &Collected) -> Response<Payload> {
        let error = self.reported(collected);
        if let Err(refusal) = self.env.lock().report_init_error(error) {
            return refuse(refusal);
        }
        self.env.notify();
        Verdict::Accepted.render()
    }

    /// `Lambda-Runtime-Function-Response-Mode`.
    fn mode(&self) -> Option<String> {
        header(&self.parts.headers, "lambda-runtime-function-response-mode")
    }

    fn record_request(&self, collected: &Collected) {
        let kept = collected.data.len().min(RECORDED_BYTES_MAX);
        self.env.record(What::Request {
            connection: self.connection,
            request: self.number,
            method: self.parts.method.to_string(),
            path: self.parts.uri.path().to_owned(),
            headers: header_list(&self.parts.headers),
            body_bytes: collected.length,
            body: collected.data.slice(..kept).to_vec(),
            trailers: header_list(&collected.trailers),
        });
    }

    fn answered(&self, response: Response<Payload>) -> Response<Payload> {
        let status = response.status().as_u16();
        let error_type = header(response.headers(), ERROR_TYPE_NOTE);
        self.env.record(What::Answered {
            request: self.number,
            status,
            error_type,
        });
        let (mut parts, body) = response.into_parts();
        parts.headers.remove(ERROR_TYPE_NOTE);
        Response::from_parts(parts, body)
    }
}

/// The response to a POST that the state machine accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Accepted,
    InvalidMode,
    Truncated,
    TooLarge { limit: usize },
}

impl Verdict {
    fn render(self) -> Response<Payload> {
        match self {
            Self::Accepted => json_response(202, "{\"status\":\"OK\"}\n"),
            Self::InvalidMode => error_response(
                400,
                "InvalidFunctionResponseMode",
                "Invalid function response mode",
            ),
            Self::Truncated => error_response(
                400,
                "TruncatedHTTPRequest",
                "HTTP request detected as truncated",
            ),
            Self::TooLarge { limit } => error_response(
                413,
                "RequestEntityTooLarge",
                &format!("Exceeded maximum allowed payload size ({limit} bytes)."),
            ),
        }
    }
}

/// The event, with every header that is not empty. Above the limit there is no `Content-Length`,
/// as from a Go server that fills its buffer before the handler returns.
fn render(event: &Event, chunk_above: usize) -> Response<Payload> {
    let body = if event.payload.len() > chunk_above {
        Payload::one_chunk(event.payload.clone())
    } else {
        Payload::sized(event.payload.clone())
    };
    let headers = event
        .headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()));
    response(
        200,
        headers.chain([(CONTENT_TYPE.as_str(), "application/json")]),
        body,
    )
}

fn refuse(refusal: Refusal) -> Response<Payload> {
    error_response(refusal.status(), refusal.error_type(), &refusal.to_string())
}

/// Hands a response on as it comes, up to the limit and no faster than the pace, and reads it to
/// its end. A caller who hangs up does not end it: the function goes on. The data that is kept is
/// for the transcript.
async fn hand_on(
    body: Incoming,
    limit: usize,
    head: Part,
    sink: &Sink,
    mut pace: Option<Pace>,
) -> Collected {
    let mut is_taken = sink.send(head).await.is_ok();
    let mut reading = Reading::new(body, RECORDED_BYTES_MAX, limit + SURPLUS_BYTES_MAX);
    loop {
        let room = limit.saturating_sub(reading.length());
        let Some(mut piece) = reading.piece().await else {
            return reading.collected();
        };
        piece.truncate(room);
        if is_taken && !piece.is_empty() {
            if let Some(pace) = &mut pace {
                sleep(pace.wait(piece.len(), Instant::now())).await;
            }
            is_taken = sink.send(Part::Data(piece)).await.is_ok();
        }
    }
}

/// Six hours, as the credentials of a function.
const CREDENTIALS_LIFETIME: Duration = Duration::from_secs(6 * 3_600);
/// The part of a body that the transcript keeps.
const RECORDED_BYTES_MAX: usize = 64 * 1024;
/// "200 MB" (docs.aws.amazon.com/lambda/latest/dg/configuration-response-streaming.html).
const STREAMED_BYTES_MAX: usize = 200 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn an_event_is_chunked_above_the_limit_only() {
        let event = |n| Event {
            current: Current {
                request_id: "id".into(),
                nonce: "n".into(),
            },
            deadline_ms: 0,
            headers: vec![("Lambda-Runtime-Aws-Request-Id", "id".into())],
            payload: Bytes::from(vec![b'0'; n]),
            sink: None,
        };
        let exact = |n| hyper::body::Body::size_hint(render(&event(n), 2_048).body()).exact();
        assert_eq!(exact(2_048), Some(2_048));
        assert_eq!(exact(2_049), None);
    }
}

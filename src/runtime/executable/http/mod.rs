//! Any HTTP server as the handler: it is started once, and gets each event as a request.
//!
//! The variables are the ones of AWS Lambda Web Adapter, and so is what the server sees;
//! `docs/http-servers.md` says where they differ.
//!
//! - `event` reads the forms of events, `request` writes what the server gets for one, `response`
//!   what the sender of the event gets: bytes in, bytes out;
//! - `connection` moves the bytes, and keeps an eye on the `process` of the server; `readiness`
//!   asks it whether it is ready.

mod connection;
mod error;
mod event;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzz;
mod process;
mod readiness;
mod request;
mod response;
mod settings;
#[cfg(test)]
mod tests;

use std::io::Write as _;
use std::time::{Duration, Instant};

use self::connection::{Connection, IsEnough};
use self::error::{Cause, ServerError, tried};
use self::process::{Process, Shared};
use self::request::Request;
use self::response::Response;
use self::settings::{Readiness, Settings};
use super::child::{self, Waited, end_of_grace, now};
use super::program::Program;
use crate::runtime::context::Context;
use crate::runtime::error::Error;
use crate::runtime::hooks::before_end;
use crate::runtime::response::{Answer, Answered};
use crate::runtime::stream::ResponseStream;
use crate::runtime::{current, log, trace};
use crate::shared::endpoint::Endpoint;
use crate::shared::http::{CloseReason, Exchange, Expect, HeadWriter, Limits, Outgoing, Reader};
use crate::shared::json::member;
use crate::shared::limits::{ERROR_MESSAGE_BYTES_MAX, PAYLOAD_BYTES_MAX, STREAM_BUFFER_BYTES};
use crate::shared::log_record::Level;
use crate::shared::os;
use crate::shared::text::{push, push_decimal};

/// A server that is started in the init phase, and again after it has ended.
#[derive(Debug)]
pub(super) struct Server {
    /// Absent where the platform starts the server.
    program: Option<Program>,
    settings: Settings,
    process: Option<Process>,
    is_ready: bool,
    connection: Option<Connection>,
    response: Reader,
}

impl Server {
    /// Starts the server and waits until it is ready. The init phase bounds the wait:
    /// <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html>.
    ///
    /// A worker starts none: it waits until the one of its keeper is ready. In the keeper this
    /// returns only if the server was never ready. Without a program the platform starts it.
    #[inline(never)]
    pub(super) fn start(program: Option<Program>, api: &Endpoint) -> Result<Self, Error> {
        let seat = current::seat();
        let settings = Settings::read(&os::variable, &os::resolve::address);
        let settings = settings.map_err(|error| Error::new(INVALID_SETTING, error.to_string()))?;
        let limits = if settings.is_streamed {
            Limits::of_stream(STREAM_BUFFER_BYTES)
        } else {
            Limits::of_body(PAYLOAD_BYTES_MAX)
        };
        let is_own = program.is_some();
        let mut server = Self {
            program,
            settings,
            process: None,
            is_ready: false,
            connection: None,
            response: Reader::new(Expect::Response, limits),
        };
        let keeper = seat.filter(|seat| seat.is_keeper());
        if keeper.is_some() || seat.is_none() && is_own {
            if current::is_again() {
                child::end_forgotten();
            }
            before_end(api, Box::new(child::end_gently))?;
        }
        let Readiness {
            timeout, is_async, ..
        } = server.settings.readiness;
        let bound = match (seat, keeper) {
            (_, Some(_)) => timeout.filter(|_| !is_async),
            _ if is_async => Some(ASYNC_INIT),
            // The keeper says why the server is not ready.
            (Some(_), _) if is_own => None,
            _ => timeout,
        };
        let mut process = server.start_process()?;
        let outcome = server.wait_until_ready(&mut process, bound.map(|bound| now() + bound));
        if let Err(error) = outcome {
            // If it is only late, the first event may wait on.
            if !(is_async && error.is_late()) {
                return Err(error.report());
            }
        }
        if let Some(keeper) = keeper {
            process.keep(keeper.board);
        }
        server.process = Some(process);
        Ok(server)
    }

    /// Answers an event with what the server responds.
    #[inline(never)]
    pub(super) fn handle(
        &mut self,
        event: &[u8],
        context: &Context<'_>,
        answer: Answer<'_>,
    ) -> Answered {
        let end = context.end();
        let Some(request) = Request::new(event, context, &self.settings) else {
            return answer.error(Error::new("Runtime.UnmarshalError", NOT_BASE64));
        };
        if request.origin.is_some() && self.settings.is_hook(&request.target) {
            return self.forbid(&request, answer);
        }
        child::collect_orphans(self.process.as_mut().and_then(Process::child));
        // It ended between events, so nothing of this event has reached it.
        if let Some(mut ended) = self.process.take_if(|process| process.has_ended()) {
            ended.log_end();
        }
        let (mut process, connection) = match self.connect(end) {
            Ok(connected) => connected,
            Err(error) => return answer.error(error),
        };
        let (answered, is_lost) = self.respond(&mut process, connection, &request, answer, end);
        // A server logs a request when its response is out.
        process.end_event();
        self.process = Some(process).filter(|_| !is_lost);
        answered
    }

    /// Posts to the server before the snapshot of the environment is taken, if it has a path for
    /// that.
    pub(in super::super) fn before_snapshot(&mut self) -> Result<(), Error> {
        let path = self.settings.before_snapshot_path.clone();
        let outcome = self.post(&path);
        // A connection from before the snapshot is not one after it.
        self.connection = None;
        outcome
    }

    /// Posts to the server after the environment is restored, if it has a path for that, and waits
    /// until it is ready again.
    pub(in super::super) fn after_restore(&mut self) -> Result<(), Error> {
        let path = self.settings.after_restore_path.clone();
        self.post(&path)?;
        self.is_ready = false;
        let timeout = self.settings.readiness.timeout;
        let (process, connection) = self.connect(timeout.map(|timeout| now() + timeout))?;
        self.process = Some(process);
        self.connection = Some(connection);
        Ok(())
    }

    /// Posts to a path, of which the response has to be a success.
    fn post(&mut self, path: &str) -> Result<(), Error> {
        if path.is_empty() {
            return Ok(());
        }
        let authority = self.settings.server.authority.clone();
        let mut head = Vec::new();
        HeadWriter::request(&mut head, "POST", &[path], &authority).end_with_length(0);
        let (mut process, mut connection) = self.connect(None)?;
        let start = now();
        let mut exchange = Exchange::new(Outgoing::new(&head, b""), &mut self.response);
        let outcome = connection.carry(&mut process, &mut exchange, &|_| false, None);
        let status = exchange.status().unwrap_or_default();
        let outcome = match outcome {
            Ok(()) if !(200..=299).contains(&status) => Err(Cause::Unhealthy(status)),
            outcome => outcome,
        };
        let outcome = outcome.map_err(|cause| {
            let tried = tried("POST", &authority, path);
            failed(&mut process, tried, start, cause, None).report()
        });
        self.process = Some(process);
        outcome
    }

    fn forbid(&mut self, request: &Request<'_>, answer: Answer<'_>) -> Answered {
        self.response.reset();
        let response = Response::new(403, self.response.head(), b"");
        if self.settings.is_streamed {
            return answer.http_stream(&response.prelude()).finish();
        }
        answer.json_text(&response.document(request.origin))
    }

    /// The server and a connection to it. The server is started if it does not run, or does not
    /// listen any more.
    fn connect(&mut self, end: Option<Instant>) -> Result<(Process, Connection), Error> {
        let mut running = self.process.take();
        loop {
            let is_fresh = running.is_none();
            let mut process = match running.take() {
                Some(process) => process,
                None => self.start_process()?,
            };
            if !self.is_ready {
                if let Err(error) = self.wait_until_ready(&mut process, end) {
                    // It may be ready for the next event.
                    self.process = Some(process).filter(|_| error.is_late());
                    return Err(error.report());
                }
            }
            let (start, idle_max) = (now(), self.settings.idle_max);
            let kept = self.connection.take();
            if let Some(kept) = kept.filter(|connection| connection.is_usable(idle_max)) {
                return Ok((process, kept));
            }
            match Connection::open(&mut process, self.settings.server.address, end) {
                Ok(connection) => return Ok((process, connection)),
                // There is no time for another server where it ran out for this one.
                Err(cause)
                    if cause.is_last()
                        || matches!(cause, Cause::TimedOut)
                        || !process.is_replaced(is_fresh, end) =>
                {
                    let tried = ["connecting to ", &self.settings.server.authority].concat();
                    return Err(failed(&mut process, tried, start, cause, end).report());
                }
                Err(_) => {}
            }
        }
    }

    /// Sends the request and answers with the response. True if the server is of no more use.
    #[expect(
        clippy::too_many_lines,
        reason = "the steps share the exchange, and how long to wait for it"
    )]
    fn respond(
        &mut self,
        process: &mut Process,
        mut connection: Connection,
        request: &Request<'_>,
        answer: Answer<'_>,
        end: Option<Instant>,
    ) -> (Answered, bool) {
        let start = now();
        let settings = &self.settings;
        let is_head = request.is_head();
        let is_enough =
            |response: &Reader| (is_head || settings.is_streamed) && !response.head().is_empty();
        let outgoing = Outgoing::new(&request.head, &request.body);
        let mut exchange = Exchange::new(outgoing, &mut self.response);
        let is_platforms = self.program.is_none();
        let mut carry_end = end;
        let mut carry = |process: &mut Process,
                         connection: &mut Connection,
                         exchange: &mut Exchange<'_>,
                         is_enough: IsEnough<'_>| {
            let outcome = connection.carry(process, exchange, is_enough, carry_end);
            if !matches!(outcome, Err(Cause::TimedOut)) || !is_platforms {
                return outcome;
            }
            // Nobody but the platform can end a server that hangs, and it does so at the deadline.
            let tried = tried(&request.method, &settings.server.authority, &request.target);
            let ms = now().saturating_duration_since(start).as_millis();
            log::line(
                Level::Error,
                &format!("{tried} failed after {ms} ms: {}", Cause::TimedOut),
            );
            carry_end = None;
            connection.carry(process, exchange, is_enough, None)
        };
        let mut outcome = carry(process, &mut connection, &mut exchange, &is_enough);
        if matches!(outcome, Err(Cause::Io(_))) && exchange.is_unsent() {
            // The server closed it in this moment.
            outcome = match Connection::open(process, settings.server.address, end) {
                Ok(fresh) => {
                    connection = fresh;
                    carry(process, &mut connection, &mut exchange, &is_enough)
                }
                Err(cause) => Err(cause),
            };
        }
        let status = exchange.status().unwrap_or_default();
        let is_error = settings.error_statuses.hold(status);
        if outcome.is_ok() && request.origin.is_none() && 500 <= status && !is_error {
            let message = format!(
                "the server answered {status} to an event that is not an HTTP request, which \
                 counts as a success: AWS_LWA_ERROR_STATUS_CODES makes it an error"
            );
            log::line(Level::Warn, &message);
        }
        let reply = if outcome.is_err() || !settings.is_streamed {
            Err(answer)
        } else if is_error {
            let is_enough =
                |response: &Reader| is_head || ERROR_MESSAGE_BYTES_MAX <= response.body().len();
            outcome = carry(process, &mut connection, &mut exchange, &is_enough);
            Err(answer)
        } else {
            let response = Response::new(status, exchange.response().head(), b"");
            let mut stream = match request.origin {
                Some(_) => answer.http_stream(&response.prelude()),
                None => answer.stream(response.content_type()),
            };
            if !is_head {
                let mut more = |exchange: &mut Exchange<'_>| {
                    let is_enough = |response: &Reader| !response.body().is_empty();
                    carry(process, &mut connection, exchange, &is_enough)
                };
                outcome = copy(&mut more, &mut exchange, &mut stream);
            }
            Ok(stream)
        };
        let close_reason = exchange.close_reason();
        if outcome.is_ok() && close_reason == Some(CloseReason::BodyUntilClose) {
            outcome = process.outlives_body(end);
        }
        let is_kept = !settings.idle_max.is_zero() && close_reason.is_none();
        if outcome.is_ok() && is_kept {
            self.connection = Some(connection);
        }
        let error = outcome.err().map(|cause| {
            let tried = tried(&request.method, &settings.server.authority, &request.target);
            failed(process, tried, start, cause, end)
        });
        let is_lost = error.as_ref().is_some_and(ServerError::is_fatal);
        let answered = match (reply, error) {
            (Ok(stream), None) => stream.finish(),
            (Ok(stream), Some(error)) => stream.error(error.report()),
            (Err(answer), Some(error)) => answer.error(error.report()),
            (Err(answer), None) if is_error => {
                let message = status_error(status, self.response.body());
                answer.error(Error::new("Function.HttpStatus", message))
            }
            (Err(answer), None) => answer.json_text(&self.document(request, status)),
        };
        (answered, is_lost)
    }

    /// The document that answers the event.
    fn document(&self, request: &Request<'_>, status: u16) -> Vec<u8> {
        let body = self.response.body();
        let body = if request.is_head() { b"" } else { body };
        Response::new(status, self.response.head(), body).document(request.origin)
    }

    /// Starts a process, which is not ready. A worker leaves that to the keeper.
    fn start_process(&mut self) -> Result<Process, Error> {
        self.is_ready = false;
        self.connection = None;
        let Some(program) = &self.program else {
            return Ok(Process::Platform);
        };
        if let Some(worker) = current::seat().filter(|seat| !seat.is_keeper()) {
            return Ok(Process::Shared(Shared::new(worker.board)));
        }
        // The process outlives the invocation that it may be started in.
        let changes = [(trace::NAME, None), ("PORT", Some(&*self.settings.port))];
        let process = program.start(&changes);
        let process = process.map_err(|error| error.report())?;
        process.ends_gently();
        Ok(Process::Own(process))
    }

    fn wait_until_ready(
        &mut self,
        process: &mut Process,
        end: Option<Instant>,
    ) -> Result<(), ServerError> {
        match process {
            Process::Own(_) | Process::Platform => {
                readiness::wait(&self.settings.readiness, process, &mut self.response, end)?;
            }
            Process::Shared(shared) => {
                let start = now();
                let waited = shared.wait_until_ready(end);
                waited.map_err(|cause| ServerError {
                    tried: ["waiting for ", &self.settings.server.authority].concat(),
                    after: now().saturating_duration_since(start),
                    cause,
                    was_ready: false,
                    goes_on: true,
                    log: matches!(cause, Cause::NotStarted)
                        .then(|| shared.last_log())
                        .unwrap_or_default(),
                })?;
            }
        }
        self.is_ready = true;
        Ok(())
    }
}

/// Hands the body on as it comes. `more` waits for another part of it.
fn copy(
    more: &mut dyn FnMut(&mut Exchange<'_>) -> Result<(), Cause>,
    exchange: &mut Exchange<'_>,
    stream: &mut ResponseStream<'_>,
) -> Result<(), Cause> {
    let mut outcome = Ok(());
    loop {
        let body = exchange.response().body();
        if outcome.is_err() {
            // What has come before a failure is a part of the response, too. The end of the stream
            // takes it along: a flush is refused where the failure is that the time is over.
            stream.write_all(body).ok();
            return outcome;
        }
        if stream.write_all(body).is_err() || stream.flush().is_err() {
            // Nobody reads on. The stream knows why.
            return Ok(());
        }
        exchange.forget_body();
        if exchange.is_done() {
            return Ok(());
        }
        outcome = more(exchange);
    }
}

/// The error of a request to a server that was ready.
fn failed(
    process: &mut Process,
    tried: String,
    start: Instant,
    mut cause: Cause,
    end: Option<Instant>,
) -> ServerError {
    // Most often the server is about to end, and its status says more.
    if cause.is_loss() {
        if let Ok(Waited::Exited(status)) = process.wait(None, Some(end_of_grace(end))) {
            cause = Cause::Exited(status);
        }
    }
    ServerError {
        tried,
        after: now().saturating_duration_since(start),
        cause,
        was_ready: true,
        goes_on: process.child().is_none(),
        log: process.log_tail(),
    }
}

/// The message of an error by status, as AWS Lambda Web Adapter writes it.
fn status_error(status: u16, body: &[u8]) -> String {
    let mut message = Vec::new();
    push(&mut message, "{\"statusCode\":");
    push_decimal(&mut message, u64::from(status));
    member("body", &String::from_utf8_lossy(body), &mut message);
    push(&mut message, "}");
    String::from_utf8(message).unwrap_or_default()
}

const INVALID_SETTING: &str = "Runtime.InvalidSetting";

const NOT_BASE64: &str = "isBase64Encoded is true, and the body of the event is not base64";

/// How long the init phase may take if the server may become ready after it, which the platform
/// bounds with 10 s.
const ASYNC_INIT: Duration = Duration::from_millis(9_800);

//! Any HTTP server as the handler: it is started once, and gets each event as a request.
//!
//! The variables are the ones of AWS Lambda Web Adapter, and so is what the server sees;
//! `docs/http-servers.md` says where they differ.
//!
//! - `event` reads the forms of events, `request` writes what the server gets for one, `response`
//!   what the sender of the event gets: bytes in, bytes out;
//! - `connection` moves the bytes, and keeps an eye on the process of the server; `readiness` asks
//!   it whether it is ready.

mod connection;
mod error;
mod event;
mod readiness;
mod request;
mod response;
mod settings;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use self::connection::Connection;
use self::error::{Cause, ServerError, tried};
use self::request::Request;
use self::response::Response;
use self::settings::{Readiness, Settings};
use super::child::{self, Child, EXIT_GRACE, Waited, kill_at, now};
use super::program::Program;
use crate::runtime::context::Context;
use crate::runtime::error::Error;
use crate::runtime::response::{Answer, Answered};
use crate::runtime::{log, trace};
use crate::shared::http::{Exchange, Expect, Limits, Outgoing, Reader};
use crate::shared::json::{Charset, write_str};
use crate::shared::limits::PAYLOAD_BYTES_MAX;
use crate::shared::log_record::Level;
use crate::shared::os;
use crate::shared::text::{push, push_decimal};

/// A server that is started in the init phase, and again after it has ended.
#[derive(Debug)]
pub(super) struct Server {
    program: Program,
    settings: Settings,
    process: Option<Box<Child>>,
    is_ready: bool,
    connection: Option<Connection>,
    response: Reader,
}

impl Server {
    /// Starts the server and waits until it is ready. The init phase bounds the wait:
    /// <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html>.
    #[inline(never)]
    pub(super) fn start(program: Program) -> Result<Self, Error> {
        let settings = Settings::read(&os::variable, &os::resolve::address);
        let settings = settings.map_err(|error| Error::new(INVALID_SETTING, error.to_string()))?;
        let mut server = Self {
            program: program.into_server(),
            settings,
            process: None,
            is_ready: false,
            connection: None,
            response: Reader::new(Expect::Response, Limits::of_body(PAYLOAD_BYTES_MAX)),
        };
        let mut process = server.start_process()?;
        let Readiness {
            timeout, is_async, ..
        } = server.settings.readiness;
        let bound = if is_async { Some(ASYNC_INIT) } else { timeout };
        let outcome = server.wait_until_ready(&mut process, bound.map(|bound| now() + bound));
        match outcome {
            // The first event waits on.
            Err(error) if !(is_async && error.is_late()) => return Err(error.report()),
            _ => server.process = Some(process),
        }
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
        let answered = match self.call(event, context) {
            Ok(document) => answer.json_text(&document),
            Err(error) => answer.error(error),
        };
        // A server logs a request when its response is out.
        if let Some(process) = &mut self.process {
            process.log_what_came();
        }
        answered
    }

    fn call(&mut self, event: &[u8], context: &Context<'_>) -> Result<Vec<u8>, Error> {
        let end = kill_at(context.remaining(), now());
        let request = Request::new(event, context, &self.settings)
            .ok_or_else(|| Error::new("Runtime.UnmarshalError", NOT_BASE64))?;
        child::collect_orphans(self.process.as_deref_mut());
        // It ended between events, so nothing of this event has reached it.
        if self
            .process
            .as_ref()
            .is_some_and(|process| process.has_exited())
        {
            self.process = None;
        }
        let mut process = match self.process.take() {
            Some(process) => process,
            None => self.start_process()?,
        };
        let mut outcome = self.respond(&mut process, &request, end);
        if let Err(error) = &outcome
            && error.was_ready
            && matches!(error.cause, Cause::Connect(_))
        {
            // It has stopped listening. Nothing of this event has reached it, either.
            drop(process);
            process = self.start_process()?;
            outcome = self.respond(&mut process, &request, end);
        }
        match outcome {
            Err(error) if error.is_fatal() => return Err(error.report()),
            _ => self.process = Some(process),
        }
        outcome.map_err(|error| error.report())?;
        let status = self.response.status().unwrap_or_default();
        let body = self.response.body();
        if self.settings.error_statuses.hold(status) {
            return Err(Error::new(
                "Function.HttpStatus",
                status_error(status, body),
            ));
        }
        if request.origin.is_none() && 500 <= status {
            let message = format!(
                "the server answered {status} to an event that is not an HTTP request, which counts \
                 as a success: AWS_LWA_ERROR_STATUS_CODES makes it an error"
            );
            log::line(Level::Warn, &message);
        }
        let body = if request.is_head() { b"" } else { body };
        let response = Response::new(status, self.response.head(), body);
        Ok(response.document(request.origin))
    }

    /// Starts a process, which is not ready.
    fn start_process(&mut self) -> Result<Box<Child>, Error> {
        self.is_ready = false;
        self.connection = None;
        // The process outlives the invocation that it may be started in.
        let changes = [(trace::NAME, None), ("PORT", Some(&*self.settings.port))];
        let process = self.program.start(&changes);
        process.map_err(|error| error.report())
    }

    fn wait_until_ready(
        &mut self,
        process: &mut Child,
        end: Option<Instant>,
    ) -> Result<(), ServerError> {
        readiness::wait(&self.settings.readiness, process, &mut self.response, end)?;
        self.is_ready = true;
        Ok(())
    }

    /// Reads the response to a request.
    fn respond(
        &mut self,
        process: &mut Child,
        request: &Request<'_>,
        end: Option<Instant>,
    ) -> Result<(), ServerError> {
        if !self.is_ready {
            self.wait_until_ready(process, end)?;
        }
        let start = now();
        let Err(mut cause) = self.exchange(process, request, end) else {
            return Ok(());
        };
        // Most often the server is about to end, and its status says more.
        if cause.is_loss()
            && let Ok(Waited::Exited(status)) = process.wait(None, Some(now() + EXIT_GRACE))
        {
            cause = Cause::Exited(status);
        }
        let server = &self.settings.server;
        Err(ServerError {
            tried: tried(&request.method, &server.authority, &request.target),
            after: now().saturating_duration_since(start),
            cause,
            was_ready: true,
            log: process.errors_tail(),
        })
    }

    fn exchange(
        &mut self,
        process: &mut Child,
        request: &Request<'_>,
        end: Option<Instant>,
    ) -> Result<(), Cause> {
        let idle_max = self.settings.idle_max;
        let mut kept = self
            .connection
            .take()
            .filter(|connection| connection.is_usable(idle_max));
        loop {
            let was_kept = kept.is_some();
            let mut connection = match kept.take() {
                Some(connection) => connection,
                None => Connection::open(process, self.settings.server.address, end)?,
            };
            let outgoing = Outgoing::new(&request.head, &request.body);
            let mut exchange = Exchange::new(outgoing, &mut self.response);
            match connection.carry(process, &mut exchange, request.is_head(), end) {
                // The server closed it in this moment.
                Err(Cause::Io(_)) if was_kept && exchange.is_unsent() => {}
                outcome => {
                    if outcome.is_ok() && exchange.close_reason().is_none() {
                        self.connection = Some(connection);
                    }
                    return outcome;
                }
            }
        }
    }
}

/// The message of an error by status, as AWS Lambda Web Adapter writes it.
fn status_error(status: u16, body: &[u8]) -> String {
    let mut message = Vec::new();
    push(&mut message, "{\"statusCode\":");
    push_decimal(&mut message, u64::from(status));
    push(&mut message, ",\"body\":");
    write_str(&String::from_utf8_lossy(body), Charset::Utf8, &mut message);
    push(&mut message, "}");
    String::from_utf8(message).unwrap_or_default()
}

const INVALID_SETTING: &str = "Runtime.InvalidSetting";

const NOT_BASE64: &str = "isBase64Encoded is true, and the body of the event is not base64";

/// How long the init phase may take if the server may become ready after it, which the platform
/// bounds with 10 s.
const ASYNC_INIT: Duration = Duration::from_millis(9_800);

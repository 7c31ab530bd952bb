//! The calls of the Runtime API, each carried to its end: retried, given up or fatal.

use std::time::Duration;

use super::Stop;
use super::api::{self, AfterNext, AfterPost, Outcome};
use super::connection::Connection;
use super::context::{Context, IdentityError};
use super::error::Error;
use super::log;
use crate::shared::endpoint::Endpoint;
use crate::shared::http::{Expect, HeadWriter, HttpError, Limits, Outgoing, Reader};
use crate::shared::limits::{ANSWER_BYTES_MAX, PAYLOAD_BYTES_MAX};
use crate::shared::log_record::Level;
use crate::shared::os;
use crate::shared::os::blocking::ExchangeError;

/// A client of one Runtime API.
#[derive(Debug)]
pub(super) struct Client {
    api: &'static Endpoint,
    connection: Connection,
    /// The request for the next invocation, which is the same every time.
    next_request: Vec<u8>,
    /// The head of the POST that is being sent.
    head: Vec<u8>,
    /// The answer to that POST.
    answer: Reader,
    /// `next` calls that failed since the last event.
    failures: u32,
}

/// What came instead of nothing.
#[derive(Debug)]
pub(super) enum Received {
    /// An event, in the reader.
    Event,
    /// An event over the limit, or that there is no memory for: its head is in the reader, its body is
    /// not.
    Untaken(HttpError),
}

/// What a POST says: a response, or an error with its failure.
#[derive(Clone, Copy, Debug)]
pub(super) enum Post<'a> {
    /// The response of an invocation.
    Response {
        content_type: &'a str,
        body: &'a [u8],
    },
    /// The error of an invocation or of the initialisation.
    Error(&'a Error),
}

/// A reader for events, to be used for one after the other.
pub(super) fn event_reader() -> Reader {
    let limits = Limits::of_body(PAYLOAD_BYTES_MAX);
    Reader::new(Expect::Response, limits)
}

impl Client {
    /// A client that waits for ever, as asking for an event must: the environment may be frozen
    /// while the call is open.
    pub(super) fn new(api: &'static Endpoint) -> Self {
        Self::with_timeout(api, None)
    }

    /// A client whose reads and writes are bounded, for the last words of a process.
    pub(super) fn with_timeout(api: &'static Endpoint, timeout: Option<Duration>) -> Self {
        let mut next_request = Vec::new();
        let path = [&api.prefix, VERSION, "/invocation/next"];
        request(&mut next_request, "GET", &path, api).end();
        let limits = Limits::of_body(ANSWER_BYTES_MAX);
        Self {
            api,
            connection: Connection::new(api.address, timeout),
            next_request,
            head: Vec::new(),
            answer: Reader::new(Expect::Response, limits),
            failures: 0,
        }
    }

    /// Waits for the next event, for as long as it takes.
    pub(super) fn next(&mut self, events: &mut Reader) -> Result<Received, Stop> {
        loop {
            let request = Outgoing::new(&self.next_request, b"");
            let exchanged = self.connection.exchange(request, events);
            if let Err(ExchangeError::Http(error)) = exchanged
                && matches!(
                    error,
                    HttpError::BodyTooLarge { .. } | HttpError::NoMemory { .. }
                )
                && events.status() == Some(200)
            {
                return Ok(Received::Untaken(error));
            }
            let outcome = outcome(&exchanged, events);
            let failed = !matches!(outcome, Outcome::Status(200 | 204));
            self.failures += u32::from(failed);
            match api::after_next(outcome, self.failures) {
                AfterNext::Invoke => return Ok(Received::Event),
                AfterNext::AskAgain(pause) => {
                    self.failures = 0;
                    os::sleep(pause);
                }
                AfterNext::Retry(pause) => {
                    warn("asking for the next invocation", &exchanged, events);
                    os::sleep(pause);
                }
                AfterNext::Exit(code) => {
                    let reason = describe("asking for the next invocation", &exchanged, events);
                    return Err(Stop { code, reason });
                }
            }
        }
    }

    /// Takes note that an event arrived which can be answered.
    pub(super) const fn event_arrived(&mut self) {
        self.failures = 0;
    }

    /// An event came that does not say which invocation it is, so nobody can be answered.
    pub(super) fn no_identity(&mut self, error: IdentityError) -> Result<(), Stop> {
        self.connection.close();
        self.failures += 1;
        log::line(Level::Error, &error.to_string());
        match api::after_next(Outcome::Lost(Some(200)), self.failures) {
            AfterNext::Exit(code) => {
                let reason = error.to_string();
                return Err(Stop { code, reason });
            }
            AfterNext::Retry(pause) | AfterNext::AskAgain(pause) => os::sleep(pause),
            AfterNext::Invoke => {}
        }
        Ok(())
    }

    /// Answers an invocation.
    pub(super) fn answer(&mut self, context: &Context<'_>, post: Post<'_>) -> Result<(), Stop> {
        self.answer_by_id(context.request_id(), context.invocation_id, post)
    }

    /// Answers an invocation of which only the ids are left.
    pub(super) fn answer_by_id(
        &mut self,
        request_id: &str,
        invocation_id: Option<&str>,
        post: Post<'_>,
    ) -> Result<(), Stop> {
        let kind = match post {
            Post::Response { .. } => "/response",
            Post::Error(_) => "/error",
        };
        let path = [&self.api.prefix, VERSION, "/invocation/", request_id, kind];
        self.post(&path, invocation_id, post)
    }

    /// Reports that the initialisation failed.
    pub(super) fn init_error(&mut self, failure: &Error) -> Result<(), Stop> {
        let path = [&self.api.prefix, VERSION, "/init/error"];
        self.post(&path, None, Post::Error(failure))
    }

    fn post(
        &mut self,
        path: &[&str],
        invocation_id: Option<&str>,
        post: Post<'_>,
    ) -> Result<(), Stop> {
        let mut document = Vec::new();
        let body = match post {
            Post::Response { body, .. } => body,
            Post::Error(failure) => {
                failure.write_document(&mut document);
                &document
            }
        };
        self.write_head(path, invocation_id, post, body.len());
        let (mut resent, mut failures) = (false, 0);
        loop {
            let exchanged = self
                .connection
                .exchange(Outgoing::new(&self.head, body), &mut self.answer);
            let outcome = outcome(&exchanged, &self.answer);
            failures += u32::from(outcome == Outcome::Unreachable);
            match api::after_post(outcome, resent, failures) {
                AfterPost::Accepted => return Ok(()),
                AfterPost::Refused | AfterPost::Undelivered => {
                    warn("answering", &exchanged, &self.answer);
                    return Ok(());
                }
                AfterPost::Resend => resent = true,
                AfterPost::Retry(pause) => os::sleep(pause),
                AfterPost::Exit(code) => {
                    let reason = describe("answering", &exchanged, &self.answer);
                    return Err(Stop { code, reason });
                }
            }
        }
    }

    fn write_head(
        &mut self,
        path: &[&str],
        invocation_id: Option<&str>,
        post: Post<'_>,
        length: usize,
    ) {
        let head = request(&mut self.head, "POST", path, self.api)
            .optional_field("Lambda-Runtime-Invocation-Id", invocation_id);
        let head = match post {
            Post::Response { content_type, .. } => {
                head.field("Content-Type", content_type.as_bytes())
            }
            Post::Error(failure) => head
                .field("Content-Type", b"application/json")
                .field("Lambda-Runtime-Function-Error-Type", &failure.header_type())
                .field(
                    "Lambda-Runtime-Function-XRay-Error-Cause",
                    &failure.xray_cause(),
                ),
        };
        head.end_with_length(length);
    }
}

/// The head of a request as far as all are the same.
#[inline(never)]
fn request<'a>(
    out: &'a mut Vec<u8>,
    method: &str,
    path: &[&str],
    api: &Endpoint,
) -> HeadWriter<'a> {
    HeadWriter::request(out, method, path, &api.authority).constant_field("User-Agent", USER_AGENT)
}

fn outcome(exchanged: &Result<(), ExchangeError>, reader: &Reader) -> Outcome {
    match (exchanged, reader.status()) {
        (Ok(()), Some(status)) => Outcome::Status(status),
        (Ok(()), None) => Outcome::Lost(None),
        (Err(ExchangeError::Connect(_)), _) => Outcome::Unreachable,
        (Err(_), status) => Outcome::Lost(status),
    }
}

#[cold]
fn describe(call: &str, exchanged: &Result<(), ExchangeError>, reader: &Reader) -> String {
    match exchanged {
        Err(error) => format!("{call}: {error}"),
        Ok(()) => {
            let body = reader.body();
            let body = body.get(..SHOWN_BYTES_MAX).unwrap_or(body);
            let status = reader.status().unwrap_or_default();
            format!(
                "{call}: the API answered {status} {}",
                String::from_utf8_lossy(body.trim_ascii())
            )
        }
    }
}

#[cold]
fn warn(call: &str, exchanged: &Result<(), ExchangeError>, reader: &Reader) {
    log::line(Level::Warn, &describe(call, exchanged, reader));
}

const VERSION: &str = "/2018-06-01/runtime";

/// The platform takes the first token as the name of the runtime.
const USER_AGENT: &str = concat!("aws-lambda-bantam/", env!("CARGO_PKG_VERSION"));

/// Bytes of an error document that a log line quotes.
const SHOWN_BYTES_MAX: usize = 512;

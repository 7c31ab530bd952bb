//! The calls of the Runtime API, each carried to its end: retried, given up or fatal.

use std::fmt;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::set_tcp_nodelay;

use super::api::{self, AfterNext, AfterPost, Outcome, Post};
use super::context::IdentityError;
use super::log;
use crate::shared::endpoint::Endpoint;
use crate::shared::http::{Exchange, Expect, HttpError, Limits, Outgoing, Reader};
use crate::shared::limits::{ANSWER_BYTES_MAX, PAYLOAD_BYTES_MAX};
use crate::shared::log_record::Level;
use crate::shared::os;
use crate::shared::os::blocking::{self, ExchangeError};
#[cfg(test)]
use crate::shared::os::simulation;

/// A client of one Runtime API.
pub(super) struct Client {
    pub(super) api: Endpoint,
    connection: Connection,
    next_request: Vec<u8>,
    /// The head of the POST that is being sent.
    head: Vec<u8>,
    /// The response to that POST.
    pub(super) response: Reader,
    /// `next` calls that failed since the last event.
    failures: u32,
}

/// The end of the process: its code, and the reason for the log.
#[derive(Debug)]
pub(super) struct Stop {
    pub(super) code: u8,
    pub(super) reason: String,
}

/// The result of a `next` call that returned an invocation. The head of the event is in the reader.
#[derive(Debug)]
pub(super) enum Received {
    /// Its event is in the reader, too.
    Event,
    /// Its event is over the limit, or there is no memory for it, and was not read.
    TooLarge(HttpError),
}

/// A reader for events, to be used for one after the other.
pub(super) fn event_reader() -> Reader {
    Reader::new(Expect::Response, Limits::of_body(PAYLOAD_BYTES_MAX))
}

/// Sends an answer, or a report, on a connection of its own. Returns the status of the response.
pub(super) fn post_once(post: Post<'_>, api: &Endpoint, timeout: Option<Duration>) -> Option<u16> {
    let mut client = Client::new(api, timeout);
    // The process ends or is replaced, or it is a worker's, which finds out if the API is gone.
    client.post(post).ok();
    client.response.status()
}

/// Makes one call of an API on a connection of its own, which is closed behind it.
pub(super) fn call(
    api: &Endpoint,
    head: &[u8],
    body: &[u8],
    timeout: Option<Duration>,
) -> Result<Reader, ExchangeError> {
    let mut response = Reader::new(Expect::Response, Limits::of_body(ANSWER_BYTES_MAX));
    let mut exchange = Exchange::new(Outgoing::new(head, body), &mut response);
    Connection::new(api.address, timeout).carry(&mut exchange)?;
    Ok(response)
}

impl Client {
    /// `timeout` is that of [`Connection::new`].
    pub(super) fn new(api: &Endpoint, timeout: Option<Duration>) -> Self {
        let mut next_request = Vec::new();
        api::write_next(&mut next_request, api);
        Self {
            api: api.clone(),
            connection: Connection::new(api.address, timeout),
            next_request,
            head: Vec::new(),
            response: Reader::new(Expect::Response, Limits::of_body(ANSWER_BYTES_MAX)),
            failures: 0,
        }
    }

    /// Waits for the next event, for as long as it takes, and reads it into `events`.
    pub(super) fn next(&mut self, events: &mut Reader) -> Result<Received, Stop> {
        loop {
            let request = Outgoing::new(&self.next_request, b"");
            let (outcome, error) = self.connection.exchange(request, events);
            if events.status() == Some(200) {
                if let Some(ExchangeError::Http(
                    error @ (HttpError::BodyTooLarge { .. } | HttpError::NoMemory { .. }),
                )) = error
                {
                    return Ok(Received::TooLarge(error));
                }
            }
            let failed = !matches!(outcome, Outcome::Status(200 | 204));
            self.failures += u32::from(failed);
            match api::after_next(outcome, self.failures) {
                AfterNext::Invoke => return Ok(Received::Event),
                AfterNext::AskAgain(pause) => {
                    self.failures = 0;
                    os::sleep(pause);
                }
                AfterNext::Retry(pause) => {
                    log::line(Level::Warn, &describe(ASKING, error.as_ref(), events));
                    os::sleep(pause);
                }
                AfterNext::Exit(code) => {
                    let reason = describe(ASKING, error.as_ref(), events);
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
        drop(self.connection.take());
        self.failures += 1;
        let reason = error.to_string();
        log::line(Level::Error, &reason);
        match api::after_next(Outcome::Lost(Some(200)), self.failures) {
            AfterNext::Exit(code) => return Err(Stop { code, reason }),
            AfterNext::Retry(pause) | AfterNext::AskAgain(pause) => os::sleep(pause),
            AfterNext::Invoke => {}
        }
        Ok(())
    }

    /// The connection for a response that is streamed. It is not used again after that.
    pub(super) fn connection(&mut self) -> Result<OwnedFd, Errno> {
        self.response.reset();
        match self.connection.take() {
            Some(connection) => Ok(connection),
            None => Connection::new(self.api.address, None).open(),
        }
    }

    /// Sends a response or an error.
    pub(super) fn post(&mut self, post: Post<'_>) -> Result<(), Stop> {
        let mut document = Vec::new();
        let body = post.body(&mut document);
        post.write_head(&mut self.head, &self.api, body.len());
        let (mut resent, mut failures) = (false, 0);
        loop {
            let request = Outgoing::new(&self.head, body);
            let (outcome, error) = self.connection.exchange(request, &mut self.response);
            failures += u32::from(outcome == Outcome::Unsent);
            match api::after_post(outcome, resent, failures) {
                AfterPost::Accepted => return Ok(()),
                AfterPost::Refused | AfterPost::Undelivered => {
                    let what = describe(ANSWERING, error.as_ref(), &self.response);
                    log::line(Level::Warn, &what);
                    return Ok(());
                }
                AfterPost::Resend => resent = true,
                AfterPost::Retry(pause) => os::sleep(pause),
                AfterPost::Exit(code) => {
                    let reason = describe(ANSWERING, error.as_ref(), &self.response);
                    return Err(Stop { code, reason });
                }
            }
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

/// The connection to the API: opened when it is needed, kept, and opened again when it was lost.
#[derive(Debug)]
struct Connection {
    address: SocketAddr,
    stream: Option<OwnedFd>,
    timeout: Option<Duration>,
}

impl Connection {
    /// `timeout` bounds connecting, each read and each write. There is none where an event is
    /// waited for, because the environment may be frozen while that call is open.
    const fn new(address: SocketAddr, timeout: Option<Duration>) -> Self {
        Self {
            address,
            stream: None,
            timeout,
        }
    }

    fn open(&self) -> Result<OwnedFd, Errno> {
        #[cfg(test)]
        if let Some(system) = simulation::here() {
            return system.connect(self.address);
        }
        let stream = blocking::connect(self.address, self.timeout)?;
        // The end of a large message must not wait for an acknowledgement.
        set_tcp_nodelay(&stream, true)?;
        Ok(stream)
    }

    /// One exchange: how it ended, and the error if it ended with one. After it the connection is
    /// open only if it can be used again.
    fn exchange(
        &mut self,
        request: Outgoing<'_>,
        response: &mut Reader,
    ) -> (Outcome, Option<ExchangeError>) {
        let mut exchange = Exchange::new(request, response);
        let error = self.carry(&mut exchange).err();
        let outcome = match (&error, exchange.status()) {
            (None, Some(status)) => Outcome::Status(status),
            (Some(_), None) if exchange.is_unsent() => Outcome::Unsent,
            (_, status) => Outcome::Lost(status),
        };
        if let Some(reason) = exchange.close_reason() {
            log::line(Level::Debug, reason.as_str());
            drop(self.take());
        }
        (outcome, error)
    }

    /// Carries an exchange to its end, over a connection that is opened if there is none.
    fn carry(&mut self, exchange: &mut Exchange<'_>) -> Result<(), ExchangeError> {
        #[cfg(test)]
        if let Some(system) = simulation::here() {
            return system.exchange(self.timeout, exchange);
        }
        let stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.open().map_err(ExchangeError::Connect)?,
        };
        blocking::exchange(self.stream.insert(stream).as_fd(), exchange)
    }

    /// Gives the connection away, if there is one; the next exchange opens another.
    fn take(&mut self) -> Option<OwnedFd> {
        #[cfg(test)]
        if let Some(system) = simulation::here() {
            system.close();
        }
        self.stream.take()
    }
}

#[cold]
pub(super) fn describe(call: &str, error: Option<&ExchangeError>, response: &Reader) -> String {
    if let Some(error) = error {
        return format!("{call}: {error}");
    }
    let body = response.body();
    let body = body.get(..SHOWN_BYTES_MAX).unwrap_or(body);
    let status = response.status().unwrap_or_default();
    let body = String::from_utf8_lossy(body.trim_ascii());
    format!("{call}: the API answered {status} {body}")
}

/// How long each step of a report may take.
pub(super) const REPORT_TIMEOUT: Duration = Duration::from_secs(2);

const ASKING: &str = "asking for the next invocation";
const ANSWERING: &str = "answering";

/// Bytes of an error document that a log line quotes.
const SHOWN_BYTES_MAX: usize = 512;

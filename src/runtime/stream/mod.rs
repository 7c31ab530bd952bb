//! A response that goes out while the handler makes it.
//!
//! The message is under the lock of [`lock_open`] from its first byte to its end, so that a panic
//! on any thread can complete it. Whoever writes holds the lock, and nobody holds it while a reader
//! is waited for:
//!
//! ```text
//! handler:  wait for the socket ─► lock: read, write what is taken at once ─► unlock ─► wait …
//! panic:    lock: take the message out ─► unlock ─► complete it with the trailers ─► start again
//! ```
//!
//! So a panic finds a message of which it is known how much was written, also inside a chunk.

mod prelude;
#[cfg(test)]
pub(super) mod tests;

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::mem;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::api::{self, AfterPost, Outcome, Post};
use super::client::{self, Client, Stop};
use super::context::{Context, END_MARGIN};
use super::current;
use super::error::Error;
use super::log;
use super::panic;
use super::response::{Answer, Answered};
use crate::shared::http::{ChunkedWriter, Exchange, Expect, Limits, Outgoing, Reader};
use crate::shared::limits::{
    ANSWER_BYTES_MAX, PRELUDE_BYTES_MAX, STREAM_BUFFER_BYTES, STREAM_BYTES_MAX,
};
use crate::shared::log_record::Level;
use crate::shared::os;
use crate::shared::os::blocking::{self, ExchangeError, Ready};
use crate::shared::os::clock::monotonic;
use crate::shared::os::reexec::{self, After, Panic};
#[cfg(test)]
use crate::shared::os::simulation;

pub use self::prelude::Prelude;

pub(super) use self::prelude::DELIMITER;

/// A response that the caller gets while the handler writes it.
///
/// [`Answer::stream`](crate::Answer::stream) and
/// [`Answer::http_stream`](crate::Answer::http_stream) begin one, [`ResponseStream::finish`] ends
/// it, and [`ResponseStream::error`] says that the handler failed midway. One that is dropped
/// before either, and one that a panic cuts off, is a failure for the caller, too.
///
/// The first write goes out at once. Later ones are gathered, up to 64 KiB, until the handler
/// calls [`flush`](Write::flush).
/// A caller who reads slowly holds the handler back: a write waits until the platform has taken
/// it.
///
/// ```no_run
/// use std::io::{self, Write as _};
///
/// use bantam::{Answer, Context, Prelude, ResponseStream};
///
/// fn count(stream: &mut ResponseStream<'_>) -> io::Result<()> {
///     for number in 1..=3 {
///         write!(stream, "data: {number}\n\n")?;
///         stream.flush()?;
///     }
///     Ok(())
/// }
///
/// fn main() {
///     bantam::main(bantam::handler_fn(|_: &[u8], _: &Context<'_>, answer: Answer<'_>| {
///         let prelude = Prelude::new(200).header("Content-Type", "text/event-stream");
///         let mut stream = answer.http_stream(&prelude);
///         match count(&mut stream) {
///             Ok(()) => stream.finish(),
///             Err(error) => stream.error(error),
///         }
///     }))
/// }
/// ```
///
/// # Errors
///
/// Before the first byte an error is answered like that of any other response. After it the caller
/// has a part of the response, and the platform says that it failed.
/// A write fails when the platform takes no more, such as after the invocation has timed out, and
/// then every later one does. From 100 ms before the deadline on it fails, also one that waits for
/// the caller, and the response ends with the error `Function.Timeout`.
///
/// # Limits
///
/// 200 MiB. The write of a byte more fails, and so does the response, with the error
/// `Function.ResponseSizeTooLarge`. The platform takes 6 MB when the function was not invoked for a
/// streamed response.
#[must_use = "`finish` ends the response"]
pub struct ResponseStream<'a> {
    client: &'a mut Client,
    context: &'a Context<'a>,
    state: State,
    /// Whether a byte of the message was written.
    is_begun: bool,
    /// Whether the answer of the API is complete.
    is_answered: bool,
    is_ended: bool,
    /// Bytes of the response in front of what the handler writes.
    prelude_bytes: usize,
    /// Bytes of the response so far, the prelude included.
    bytes: usize,
    /// When it no longer waits for the caller.
    end: Option<Instant>,
    /// How long after that the end of the response may still take.
    margin: Duration,
    /// Why the response is a failure, however the handler ends it.
    refused: Option<Error>,
}

enum State {
    /// There is no connection for the message yet.
    Unsent(ChunkedWriter),
    /// The message is under the lock of [`lock_open`].
    Open(Arc<OwnedFd>),
    /// The API has answered, or the connection is lost.
    Over(Over),
}

#[derive(Default)]
struct Over {
    /// Why no more can be written; empty behind a response that was accepted.
    reason: String,
    /// Why the loop ends, if it does.
    stop: Option<Stop>,
}

/// A message of which something may have been written, and its connection.
struct Open {
    connection: Arc<OwnedFd>,
    message: ChunkedWriter,
}

// The message that is being written.
reexec::process_lock!(lock_open: Option<Open> = None);

/// How far to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    /// To the end of what is complete.
    Written,
    /// To the answer of the API.
    Answered,
}

impl<'a> Answer<'a> {
    /// Begins a response whose bytes the caller gets while the handler makes them.
    ///
    /// What is written is the response as it is. Where it answers an HTTP request, use
    /// [`Answer::http_stream`].
    pub fn stream(self, content_type: &str) -> ResponseStream<'a> {
        ResponseStream::new(self, content_type)
    }

    /// Begins a response to an HTTP request whose body the caller gets while the handler makes it:
    /// for a function URL with the invoke mode `RESPONSE_STREAM`, and for API Gateway with the
    /// response transfer mode `STREAM`.
    ///
    /// What is written is the body.
    ///
    /// # Limits
    ///
    /// The status, headers and cookies take 16,376 bytes as JSON. More of them are answered with
    /// the error `Function.PreludeTooLarge`.
    pub fn http_stream(self, prelude: &Prelude) -> ResponseStream<'a> {
        ResponseStream::with_prelude(self, &prelude.json())
    }
}

impl<'a> ResponseStream<'a> {
    fn new(answer: Answer<'a>, content_type: &str) -> Self {
        let Answer { client, context } = answer;
        let mut head = Vec::new();
        api::write_stream_head(&mut head, &client.api, context.ids(), content_type);
        Self {
            client,
            context,
            state: State::Unsent(ChunkedWriter::new(head, STREAM_BUFFER_BYTES)),
            is_begun: false,
            is_answered: false,
            is_ended: false,
            prelude_bytes: 0,
            bytes: 0,
            end: context.end(),
            margin: END_MARGIN,
            refused: None,
        }
    }

    /// Begins a response to an HTTP request with this prelude, a JSON object.
    pub(super) fn with_prelude(answer: Answer<'a>, prelude: &[u8]) -> Self {
        let mut stream = Self::new(answer, HTTP_CONTENT_TYPE);
        stream.prelude_bytes = prelude.len() + DELIMITER.len();
        stream.bytes = stream.prelude_bytes;
        if stream.bytes <= PRELUDE_BYTES_MAX {
            // Each is a chunk of its own, because `cargo lambda watch` tells them apart by that.
            for part in [prelude, DELIMITER] {
                stream.message(|message| {
                    message.push(part);
                    message.seal();
                });
            }
        } else {
            let message = format!(
                "status, headers and cookies of {} bytes, limit {PRELUDE_BYTES_MAX}",
                stream.bytes
            );
            stream.refused = Some(Error::new("Function.PreludeTooLarge", message));
        }
        stream
    }

    /// Ends the response.
    ///
    /// If it has exceeded a limit, it ends as a failure.
    #[must_use = "it is what the handler returns"]
    pub fn finish(mut self) -> Answered {
        match self.refused.take() {
            Some(error) => self.fail(&error),
            None => self.end(None),
        }
    }

    /// Ends the response as a failure, and writes that to the log.
    #[must_use = "it is what the handler returns"]
    pub fn error(mut self, error: impl Into<Error>) -> Answered {
        let error = self.refused.take().unwrap_or_else(|| error.into());
        self.fail(&error)
    }

    /// The part of [`ResponseStream::error`] that is the same for every type.
    #[inline(never)]
    fn fail(&mut self, error: &Error) -> Answered {
        error.log(Level::Error, None);
        self.end(Some(error))
    }

    fn end(&mut self, error: Option<&Error>) -> Answered {
        self.is_ended = true;
        // A process that a busy machine runs too late has the margin all the same.
        self.end = self.end.map(|end| end.max(monotonic()));
        let stop = match (&self.state, error) {
            (State::Unsent(_), Some(error)) => {
                current::answering();
                let to = self.context.ids();
                self.client.post(Post::Error { to, error }).err()
            }
            _ => self.send_end(error),
        };
        if stop.is_none() {
            current::answered();
        }
        Answered { stop }
    }

    fn send_end(&mut self, error: Option<&Error>) -> Option<Stop> {
        self.message(|message| match error {
            Some(error) => api::end_with_error(message, error),
            None => message.end(&[]),
        });
        self.send(Until::Answered);
        match &mut self.state {
            State::Over(over) => over.stop.take(),
            State::Unsent(_) | State::Open(_) => None,
        }
    }

    /// Hands the message to `with`, unless the API takes no more.
    fn message<T: Default>(&mut self, with: impl FnOnce(&mut ChunkedWriter) -> T) -> T {
        match &mut self.state {
            State::Unsent(message) => with(message),
            State::Open(_) => open(|open| with(&mut open.message)),
            State::Over(_) => T::default(),
        }
    }

    /// Sends what is complete, on a connection that is opened for the first byte.
    fn send(&mut self, until: Until) {
        let mut failures = 0;
        while let Some((outcome, error)) = self.try_to_send(until) {
            failures += u32::from(outcome == Outcome::Unsent);
            // A stream that has begun is never sent again.
            let decision = api::after_post(outcome, false, failures);
            if let (Outcome::Unsent, AfterPost::Retry(pause)) = (outcome, decision) {
                os::sleep(pause);
                continue;
            }
            let is_accepted = decision == AfterPost::Accepted && self.is_ended && error.is_none();
            let mut over = Over::default();
            if !is_accepted {
                over.reason = client::describe(STREAMING, error.as_ref(), &self.client.response);
                let reason = over.reason.clone();
                if let AfterPost::Exit(code) = decision {
                    over.stop = Some(Stop { code, reason });
                } else {
                    log::line(Level::Warn, &reason);
                }
            }
            self.state = State::Over(over);
        }
    }

    /// Sends what is complete; returns how the exchange ended, if it has.
    fn try_to_send(&mut self, until: Until) -> Option<(Outcome, Option<ExchangeError>)> {
        let connection = match &self.state {
            State::Unsent(_) => match self.connect() {
                Ok(connection) => connection,
                Err(error) => return Some((Outcome::Unsent, Some(ExchangeError::Connect(error)))),
            },
            State::Open(connection) => Arc::clone(connection),
            State::Over(_) => return None,
        };
        let error = match self.exchange(connection.as_fd(), until) {
            Ok(Until::Written) => return None,
            // A part of what is left is for the trailers. Without them the end of the connection
            // says that the response is not whole, before the platform's timeout.
            Err(ExchangeError::Io(Errno::TIMEDOUT)) if !self.is_ended => {
                self.margin = END_MARGIN / 2;
                self.refused = Some(Error::new("Function.Timeout", TOO_SLOW));
                return None;
            }
            Ok(Until::Answered) => None,
            Err(error) => Some(error),
        };
        let outcome = match self.client.response.status() {
            None if !self.is_begun => Outcome::Unsent,
            // A status decides alike, whether the rest of the answer came or not.
            status => Outcome::Lost(status),
        };
        self.state = State::Unsent(close());
        Some((outcome, error))
    }

    /// Opens a connection, and the message to panics.
    fn connect(&mut self) -> Result<Arc<OwnedFd>, Errno> {
        let connection = Arc::new(self.client.connection()?);
        panic::watch_also(act);
        let mut slot = lock_open();
        current::answering();
        let state = mem::replace(&mut self.state, State::Open(Arc::clone(&connection)));
        if let State::Unsent(message) = state {
            *slot = Some(Open {
                connection: Arc::clone(&connection),
                message,
            });
        }
        Ok(connection)
    }

    /// Moves bytes both ways. A refusal ends that also if it comes early; a tool may accept early
    /// and read on.
    fn exchange(
        &mut self,
        connection: BorrowedFd<'_>,
        until: Until,
    ) -> Result<Until, ExchangeError> {
        let mut write_error = None;
        // The last message waits for the margin, and is cut off then.
        let margin = if self.is_ended {
            self.margin
        } else {
            Duration::ZERO
        };
        let end = self.end.map(|end| end + margin);
        loop {
            let is_accepted = matches!(self.client.response.status(), Some(200..=299));
            if self.is_answered && !is_accepted {
                return Ok(Until::Answered);
            }
            let is_pending = open(|open| !open.message.pending().is_empty());
            if !is_pending && (until == Until::Written || self.is_answered) {
                return Ok(until);
            }
            if let (true, Some(error)) = (self.is_answered, write_error) {
                return Err(ExchangeError::Io(error));
            }
            let wants = Ready {
                read: !self.is_answered,
                write: is_pending && write_error.is_none(),
            };
            let ready = blocking::wait(connection, wants, end).map_err(ExchangeError::Io)?;
            if !ready.read && !ready.write {
                return Err(ExchangeError::Io(write_error.unwrap_or(Errno::TIMEDOUT)));
            }
            if ready.read {
                let mut exchange = Exchange::awaiting(&mut self.client.response);
                blocking::read_now(connection, &mut exchange)
                    .map_err(|error| write_error.map_or(error, ExchangeError::Io))?;
                self.is_answered = exchange.is_done();
            } else if ready.write {
                let wrote = open(|open| {
                    let count = blocking::write_now(connection, open.message.pending())?;
                    open.message.wrote(count);
                    Ok(count)
                });
                match wrote {
                    Ok(count) => self.is_begun |= count != 0,
                    Err(error) => write_error = Some(error),
                }
            }
        }
    }

    /// What is wrong, if no more can be written.
    fn check(&self) -> io::Result<()> {
        let reason = match (&self.refused, &self.state) {
            (Some(error), _) => error.to_string(),
            (None, State::Over(over)) => over.reason.clone(),
            (None, State::Unsent(_) | State::Open(_)) => return Ok(()),
        };
        Err(io::Error::new(ErrorKind::BrokenPipe, reason))
    }

    /// As much of `data` as the limit allows.
    fn within_limit<'d>(&mut self, data: &'d [u8]) -> &'d [u8] {
        let left = STREAM_BYTES_MAX.saturating_sub(self.bytes);
        if left == 0 && !data.is_empty() {
            let message = format!("a streamed response of more than {STREAM_BYTES_MAX} bytes");
            self.refused = Some(Error::new("Function.ResponseSizeTooLarge", message));
        }
        data.get(..left).unwrap_or(data)
    }
}

impl Write for ResponseStream<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let data = self.within_limit(data);
        self.check()?;
        let mut rest = data;
        while !rest.is_empty() {
            let (count, is_full) = self.message(|message| (message.push(rest), message.is_full()));
            rest = rest.get(count..).unwrap_or_default();
            let is_first = self.bytes == self.prelude_bytes;
            if is_full || is_first && rest.is_empty() {
                self.flush()?;
            }
        }
        self.bytes += data.len();
        Ok(data.len())
    }

    /// Writes a formatted text as one, so that the first `write!` is in one piece, too.
    fn write_fmt(&mut self, text: fmt::Arguments<'_>) -> io::Result<()> {
        self.write_all(text.to_string().as_bytes())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.end.is_some_and(|end| end <= monotonic()) && self.refused.is_none() {
            self.refused = Some(Error::new("Function.Timeout", TOO_LONG));
        }
        self.check()?;
        self.message(ChunkedWriter::seal);
        self.send(Until::Written);
        self.check()
    }
}

impl Drop for ResponseStream<'_> {
    fn drop(&mut self) {
        #[cfg(test)]
        if simulation::is_ending() {
            return;
        }
        if !self.is_ended {
            let error = "the handler dropped the response stream before its end";
            // The handler has no answer to return, so the loop does not go on.
            let _answered = self.fail(&Error::new("Function.StreamDropped", error));
        }
    }
}

impl fmt::Debug for ResponseStream<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseStream")
            .field("is_begun", &self.is_begun)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

/// Hands the open message to `with`. Where a panic has taken it, the thread goes no further: the
/// process is replaced.
fn open<T>(with: impl FnOnce(&mut Open) -> T) -> T {
    let mut slot = lock_open();
    if let Some(open) = &mut *slot {
        return with(open);
    }
    drop(slot);
    reexec::wait()
}

/// Takes the open message back.
fn close() -> ChunkedWriter {
    match lock_open().take() {
        Some(open) => open.message,
        None => reexec::wait(),
    }
}

/// A panic breaks the response that is open: it ends with the trailers, on its own connection.
fn act(panic: &Panic<'_>) -> After {
    let mut slot = lock_open();
    let Some(open) = slot.take_if(|open| !open.message.is_ended()) else {
        // The lock is kept: a stream that began now would be a second answer.
        return panic::act(panic);
    };
    drop(slot);
    let Open {
        connection,
        mut message,
    } = open;
    let error = panic::error(panic);
    api::end_with_error(&mut message, &error);
    let request = Outgoing::new(message.pending(), b"");
    let mut response = Reader::new(Expect::Response, Limits::of_body(ANSWER_BYTES_MAX));
    // A reader that stalls sees the connection end inside the response, which is a failure, too.
    blocking::bound(&connection, Some(client::REPORT_TIMEOUT)).ok();
    blocking::exchange(
        connection.as_fd(),
        &mut Exchange::new(request, &mut response),
    )
    .ok();
    current::answered();
    error.log(Level::Error, None);
    panic::start_again(0)
}

const TOO_LONG: &str = "the response had not ended shortly before the deadline";

const TOO_SLOW: &str = "the caller had not taken the response shortly before the deadline";

const STREAMING: &str = "streaming the response";

/// Says that a prelude comes before the body.
const HTTP_CONTENT_TYPE: &str = "application/vnd.awslambda.http-integration-response";

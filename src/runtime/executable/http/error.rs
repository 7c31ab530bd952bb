//! Why the server gave no response that can be handed on.

use std::error::Error;
use std::fmt;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::io::Errno;

use crate::runtime::error::Error as Report;
use crate::shared::http::HttpError;
use crate::shared::os;

/// Why the server gave no response: what was tried, for how long, and what came of it.
#[derive(Debug)]
pub(super) struct ServerError {
    /// The request, such as `GET http://127.0.0.1:8080/`.
    pub(super) tried: String,
    pub(super) after: Duration,
    pub(super) cause: Cause,
    /// The server had been ready, so the request was the one of an event.
    pub(super) was_ready: bool,
    /// The end of what the server wrote to its log.
    pub(super) log: String,
    /// Other workers use the server, so it is not ended.
    pub(super) goes_on: bool,
}

/// What came of a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cause {
    /// The server did not take the connection.
    Connect(Errno),
    /// The connection failed.
    Io(Errno),
    /// The server closed the connection, or sent something else than a response.
    Http(HttpError),
    /// The time ran out.
    TimedOut,
    /// The response to a check had this status, which is not one of a server that is ready.
    Unhealthy(u16),
    /// The server ended.
    Exited(ExitStatus),
    /// The keeper could not start the server.
    NotStarted,
    /// A system call about the process of the server failed.
    Process(Errno),
}

impl ServerError {
    /// The error for the platform.
    pub(super) fn report(&self) -> Report {
        Report::new(self.error_type(), self.to_string())
    }

    /// True if the time ran out before the server was ready.
    pub(super) const fn is_late(&self) -> bool {
        !self.was_ready && !self.cause.is_last()
    }

    /// True if the process is of no more use.
    pub(super) const fn is_fatal(&self) -> bool {
        match self.cause {
            Cause::Exited(_) | Cause::Process(_) => true,
            Cause::TimedOut | Cause::Connect(_) => self.was_ready,
            Cause::Io(_) | Cause::Http(_) | Cause::Unhealthy(_) | Cause::NotStarted => false,
        }
    }

    fn error_type(&self) -> &'static str {
        match self.cause {
            Cause::Process(_) => "Runtime.HandlerLost",
            Cause::Exited(status) if status.signal().is_some() => "Function.Killed",
            Cause::Exited(_) => "Function.ExitStatus",
            _ if !self.was_ready => "Function.ServerNotReady",
            Cause::TimedOut => "Function.Timeout",
            Cause::Http(HttpError::BodyTooLarge { .. }) => "Function.ResponseSizeTooLarge",
            Cause::Connect(_) => "Function.ConnectionLost",
            cause if cause.is_loss() => "Function.ConnectionLost",
            Cause::Io(_) | Cause::Http(_) | Cause::Unhealthy(_) | Cause::NotStarted => {
                "Function.ProtocolError"
            }
        }
    }
}

impl Cause {
    /// True if the connection was lost.
    pub(super) const fn is_loss(self) -> bool {
        matches!(
            self,
            Self::Io(_) | Self::Http(HttpError::Closed | HttpError::Truncated { .. })
        )
    }

    /// True if no later check can have another outcome.
    pub(super) const fn is_last(self) -> bool {
        matches!(self, Self::Exited(_) | Self::Process(_) | Self::NotStarted)
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.was_ready {
            f.write_str("the server is not ready: ")?;
        }
        let ms = self.after.as_millis();
        write!(f, "{} failed after {ms} ms: {}", self.tried, self.cause)?;
        if self.was_ready && !self.goes_on && matches!(self.cause, Cause::TimedOut) {
            f.write_str("; the server was killed shortly before the deadline")?;
        }
        if !self.log.is_empty() {
            write!(f, ": {}", self.log)?;
        }
        Ok(())
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(
                f,
                "no connection: {}; the server is to listen on PORT",
                os::error_text(*error)
            ),
            Self::Io(error) => write!(f, "connection lost: {}", os::error_text(*error)),
            Self::Http(error) => error.fmt(f),
            Self::TimedOut => f.write_str("no response"),
            Self::Unhealthy(status) => write!(f, "status {status}, which is not a healthy one"),
            Self::Exited(status) => write!(f, "the server ended with {status}"),
            Self::NotStarted => f.write_str("it could not be started"),
            Self::Process(error) => write!(f, "lost the server: {}", os::error_text(*error)),
        }
    }
}

impl Error for ServerError {}

impl Error for Cause {}

/// A request for a message.
pub(super) fn tried(method: &str, authority: &str, target: &str) -> String {
    [method, " http://", authority, target].concat()
}

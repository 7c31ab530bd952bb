//! The error of this crate's calls.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::record::transcript::Entry;

/// The error of a call of this crate. A function error is part of [`Outcome`](crate::Outcome).
#[derive(Debug)]
pub enum EmulatorError {
    /// The Invoke API or a Runtime API could not listen.
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// The emulator's own thread or event loop could not start.
    Thread(io::Error),
    /// The working directory of the function cannot be entered.
    TaskRoot {
        /// The folder asked for.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The process could not be started.
    Spawn {
        /// The executable asked for.
        program: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The init phase failed; no `next` was asked for.
    Init {
        /// The error type the platform records.
        error_type: String,
        /// The message it records.
        message: String,
    },
    /// A wait reached its bound.
    Timeout {
        /// The event that did not come.
        what: String,
        /// The bound.
        after: Duration,
        /// The transcript so far.
        transcript: Vec<Entry>,
    },
    /// An environment is not fit for what was asked.
    Environment {
        /// Its number.
        environment: u64,
        /// Why it is not.
        reason: &'static str,
    },
    /// The request was refused before any function ran.
    Refused {
        /// The HTTP status the Invoke API gives it.
        status: u16,
        /// The exception's name.
        error_type: String,
        /// Its message.
        message: String,
    },
    /// The emulator stopped while the call was waiting.
    Stopped,
}

impl fmt::Display for EmulatorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen { address, source } => write!(f, "cannot listen at {address}: {source}"),
            Self::Thread(source) => write!(f, "cannot start the emulator's thread: {source}"),
            Self::TaskRoot { path, source } => {
                write!(f, "cannot enter the task root {}: {source}", path.display())
            }
            Self::Spawn { program, source } => {
                write!(f, "cannot start {}: {source}", program.display())
            }
            Self::Init {
                error_type,
                message,
            } => write!(f, "init failed: {error_type}: {message}"),
            Self::Timeout {
                what,
                after,
                transcript,
            } => {
                write!(
                    f,
                    "no {what} within {:.3} s; transcript:",
                    after.as_secs_f64()
                )?;
                for entry in transcript {
                    write!(f, "\n{entry}")?;
                }
                Ok(())
            }
            Self::Environment {
                environment,
                reason,
            } => write!(f, "environment {environment}: {reason}"),
            Self::Refused {
                status,
                error_type,
                message,
            } => {
                write!(f, "refused with {status} {error_type}: {message}")
            }
            Self::Stopped => f.write_str("the emulator stopped"),
        }
    }
}

impl std::error::Error for EmulatorError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Thread(source)
            | Self::Listen { source, .. }
            | Self::TaskRoot { source, .. }
            | Self::Spawn { source, .. } => Some(source),
            Self::Init { .. }
            | Self::Timeout { .. }
            | Self::Environment { .. }
            | Self::Refused { .. }
            | Self::Stopped => None,
        }
    }
}

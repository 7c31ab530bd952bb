//! Failures of an init, of a restore, of an invocation.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::{Duration, SystemTime};

use crate::http::error_json;
use crate::process::exit::Exit;
use crate::record::outcome::FunctionError;
use crate::time::rfc3339;

/// The phase that an init runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// On its own, with the init limit.
    Init,
    /// Inside an invocation, with the function timeout.
    Invoke,
}

/// An init, or the wait for an answer, that did not end as it should.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The process could not be started.
    Spawn(io::Error),
    /// The runtime reported an init error.
    Reported(FunctionError),
    /// The process ended.
    Exit(Exit),
    /// The runtime was killed for want of memory, on Managed Instances. Elsewhere the platform
    /// names the exit alone.
    OutOfMemory(Exit),
    /// An external extension could not be started.
    Launch(String),
    /// The process of an external extension ended.
    Extension { error_type: String, message: String },
    /// The limit was reached.
    Timeout,
    /// The restore took too long.
    RestoreTimeout,
    /// The event was given to a `next` whose connection had ended.
    LostPoll,
    /// The environment is being ended.
    Shutdown,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message())
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Spawn(source) => Some(source),
            Self::Reported(_)
            | Self::Exit(_)
            | Self::OutOfMemory(_)
            | Self::Launch(_)
            | Self::Extension { .. }
            | Self::Timeout
            | Self::RestoreTimeout
            | Self::LostPoll
            | Self::Shutdown => None,
        }
    }
}

impl Failure {
    /// The error type the platform records.
    pub(crate) fn error_type(&self) -> String {
        match self {
            Self::Spawn(_) => "Runtime.InvalidEntrypoint".to_owned(),
            Self::Reported(error) => error.error_type.clone(),
            Self::Exit(_) => "Runtime.ExitError".to_owned(),
            Self::OutOfMemory(_) => "Runtime.OutOfMemory".to_owned(),
            Self::Launch(_) => "Extension.LaunchError".to_owned(),
            Self::Extension { error_type, .. } => error_type.clone(),
            Self::Timeout => "Sandbox.Timedout".to_owned(),
            Self::RestoreTimeout => "Runtime.RestoreHookUserTimeout".to_owned(),
            Self::LostPoll => "Runtime.Unknown".to_owned(),
            Self::Shutdown => "Client.ExecutionEnvironmentShutDown".to_owned(),
        }
    }

    /// `Status` in `REPORT` and `INIT_REPORT`.
    pub(crate) fn status(&self) -> &'static str {
        match self {
            Self::Timeout | Self::RestoreTimeout => "timeout",
            Self::Spawn(_)
            | Self::Reported(_)
            | Self::Exit(_)
            | Self::OutOfMemory(_)
            | Self::Launch(_)
            | Self::Extension { .. }
            | Self::LostPoll
            | Self::Shutdown => "error",
        }
    }

    /// `shutdownReason` for the extensions.
    pub(crate) fn shutdown_reason(&self) -> &'static str {
        match self {
            Self::Timeout | Self::RestoreTimeout => "timeout",
            Self::Shutdown => "spindown",
            Self::Spawn(_)
            | Self::Reported(_)
            | Self::Exit(_)
            | Self::OutOfMemory(_)
            | Self::Launch(_)
            | Self::Extension { .. }
            | Self::LostPoll => "failure",
        }
    }

    /// The message the platform gives, without the request id.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Spawn(source) => format!("Couldn't start the bootstrap: {source}"),
            Self::Reported(error) => String::from_utf8_lossy(&error.body).into_owned(),
            Self::Exit(exit) | Self::OutOfMemory(exit) => exit.message(),
            Self::Launch(message) | Self::Extension { message, .. } => message.clone(),
            Self::Timeout => "init timed out".to_owned(),
            Self::RestoreTimeout => "restore timed out".to_owned(),
            Self::LostPoll => {
                "the event was given to a `next` whose connection had ended".to_owned()
            }
            Self::Shutdown => "the execution environment is shutting down".to_owned(),
        }
    }

    /// The function error that the caller of the invocation gets.
    pub(crate) fn function_error(&self, request_id: &str, timeout: Duration) -> FunctionError {
        let error_type = self.error_type();
        let message = match self {
            Self::Reported(error) => return error.clone(),
            Self::Timeout => format!("RequestId: {request_id} Error: {}", task_timed_out(timeout)),
            Self::Spawn(_)
            | Self::Exit(_)
            | Self::OutOfMemory(_)
            | Self::Launch(_)
            | Self::Extension { .. }
            | Self::RestoreTimeout
            | Self::LostPoll
            | Self::Shutdown => {
                format!("RequestId: {request_id} Error: {}", self.message())
            }
        };
        let body = error_json(&error_type, &message);
        FunctionError {
            error_type,
            raw_type: None,
            body,
            xray_cause: None,
        }
    }
}

/// The line of a timeout in the log.
pub(crate) fn timed_out(request_id: &str, timeout: Duration) -> String {
    let now = rfc3339(SystemTime::now());
    format!("{now} {request_id} {}", task_timed_out(timeout))
}

fn task_timed_out(timeout: Duration) -> String {
    let seconds = timeout.as_secs_f64();
    format!("Task timed out after {seconds:.2} seconds")
}

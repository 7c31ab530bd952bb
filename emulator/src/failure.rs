//! How an init or an invocation fails.

use std::io;
use std::time::{Duration, SystemTime};

use crate::http::error_json;
use crate::invocation::Job;
use crate::outcome::FunctionError;
use crate::process::Exit;
use crate::report;

/// An init, or the wait for an answer, that did not end as it should.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The process could not be started.
    Spawn(io::Error),
    /// The runtime reported an init error.
    Reported(FunctionError),
    /// The process ended.
    Exit(Exit),
    /// An external extension could not be started.
    Launch(String),
    /// The process of an external extension ended.
    Extension { error_type: String, message: String },
    /// The limit was reached.
    Timeout,
}

impl Failure {
    /// The error type the platform records.
    pub(crate) fn error_type(&self) -> String {
        match self {
            Self::Spawn(_) => "Runtime.InvalidEntrypoint".to_owned(),
            Self::Reported(error) => error.error_type.clone(),
            Self::Exit(_) => "Runtime.ExitError".to_owned(),
            Self::Launch(_) => "Extension.LaunchError".to_owned(),
            Self::Extension { error_type, .. } => error_type.clone(),
            Self::Timeout => "Sandbox.Timedout".to_owned(),
        }
    }

    /// `Status` in `REPORT` and `INIT_REPORT`.
    pub(crate) fn status(&self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Spawn(_)
            | Self::Reported(_)
            | Self::Exit(_)
            | Self::Launch(_)
            | Self::Extension { .. } => "error",
        }
    }

    /// `shutdownReason` for the extensions.
    pub(crate) fn shutdown_reason(&self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Spawn(_)
            | Self::Reported(_)
            | Self::Exit(_)
            | Self::Launch(_)
            | Self::Extension { .. } => "failure",
        }
    }

    /// The message the platform gives, without the request id.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Spawn(source) => format!("Couldn't start the bootstrap: {source}"),
            Self::Reported(error) => String::from_utf8_lossy(&error.body).into_owned(),
            Self::Exit(exit) => exit.message(),
            Self::Launch(message) | Self::Extension { message, .. } => message.clone(),
            Self::Timeout => "init timed out".to_owned(),
        }
    }

    /// What the caller of an invocation that ended so is given.
    pub(crate) fn function_error(&self, job: &Job, timeout: Duration) -> FunctionError {
        let error_type = self.error_type();
        let message = match self {
            Self::Reported(error) => return error.clone(),
            Self::Timeout => report::timed_out(job, timeout, SystemTime::now()),
            Self::Spawn(_) | Self::Exit(_) | Self::Launch(_) | Self::Extension { .. } => {
                format!("RequestId: {} Error: {}", job.request_id, self.message())
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

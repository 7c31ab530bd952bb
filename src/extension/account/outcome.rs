//! How a phase or an invocation ended.

use super::bounds::kept;

/// The end that a record reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) status: Status,
    /// The type of the error, or the status where the record has no type.
    pub(super) error_type: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Success,
    Timeout,
    /// Of the platform, the function or an extension.
    Error,
}

impl Outcome {
    pub(super) const SUCCESS: Self = Self {
        status: Status::Success,
        error_type: String::new(),
    };

    /// The outcome by two members of a record; `None` if it has neither.
    pub(super) fn of(status: Option<&str>, error_type: Option<&str>) -> Option<Self> {
        let error_type = kept(error_type.or(status)?).to_owned();
        let status = match status {
            Some("success") => Status::Success,
            Some("timeout") => Status::Timeout,
            _ => Status::Error,
        };
        Some(Self { status, error_type })
    }

    /// Whether the processes ended with the invocation.
    pub(super) fn ends_environment(&self) -> bool {
        let is_of = |category: &&str| self.error_type.starts_with(category);
        self.status == Status::Error && ["Runtime.", "Extension.", "Sandbox."].iter().any(is_of)
    }

    /// The type of the error, unless it is a success.
    pub(super) fn failure(self) -> Option<String> {
        (self.status != Status::Success).then_some(self.error_type)
    }
}

/// The reason of a SHUTDOWN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// The environment is not needed any more.
    Spindown,
    Timeout,
    /// An init or an invocation failed, and with it the processes.
    Crash,
    /// A reason that says nothing of what came before, SIGTERM included.
    Other,
}

impl Reason {
    /// The reason by its word in lower case. AWS's Runtime Interface Emulator says `ReleaseFail`
    /// where Lambda says `failure`.
    pub(super) fn of(word: &str) -> Self {
        match word {
            "spindown" => Self::Spindown,
            "timeout" => Self::Timeout,
            "failure" | "releasefail" => Self::Crash,
            _ => Self::Other,
        }
    }
}

/// The type of an error that no record names.
pub(super) const UNKNOWN: &str = "unknown";

//! How a phase or an invocation ended.

use super::cut;
use crate::extension::telemetry::{Field, Record};

/// What a record says of an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) status: Status,
    /// The type of error, or what stands for one.
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

    /// The outcome, if the record says.
    pub(super) fn of(record: &Record<'_>) -> Option<Self> {
        let word = record.text(Field::Status);
        let error_type = record.text(Field::ErrorType);
        let status = match word.as_deref() {
            Some("success") => Status::Success,
            Some("timeout") => Status::Timeout,
            _ => Status::Error,
        };
        let error_type = cut(&error_type.or(word)?);
        Some(Self { status, error_type })
    }
}

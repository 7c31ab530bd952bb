//! What the platform says about an invocation beside its event.

use std::time::Duration;

use super::error::Error;
use crate::shared::deadline::{Deadline, EpochMs};
use crate::shared::env::Function;
use crate::shared::http::Head;
use crate::shared::os;
use crate::shared::text::same;

/// What the platform says about an invocation beside its event.
///
/// It is borrowed from the receive buffer, like the event.
/// A value that the platform left out or sent empty is `None`.
/// The headers: <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html#runtimes-api-next>.
#[derive(Clone, Debug)]
pub struct Context<'a> {
    request_id: &'a str,
    deadline: Option<Deadline>,
    /// The values of the fields that [`FIELDS`] names, in that order.
    values: [Option<&'a str>; VALUES],
    function: &'a Function,
}

/// Why an event cannot be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IdentityError {
    /// There is no request id, or an empty one.
    Missing,
    /// The request id cannot be part of a path.
    Invalid,
}

impl IdentityError {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "an event came without Lambda-Runtime-Aws-Request-Id",
            Self::Invalid => "an event came with an invalid Lambda-Runtime-Aws-Request-Id",
        }
    }
}

impl<'a> Context<'a> {
    pub(super) fn parse(head: Head<'a>, function: &'a Function) -> Result<Self, IdentityError> {
        let mut values = [None; VALUES];
        for (name, value) in head.fields() {
            let Some((prefix, name)) = name.split_at_checked(PREFIX.len()) else {
                continue;
            };
            if !same(prefix, PREFIX) {
                continue;
            }
            let known = FIELDS.iter().position(|known| same(name, known));
            let Some((index, slot)) = known.and_then(|at| Some((at, values.get_mut(at)?))) else {
                continue;
            };
            // What is no text is no id either, but it is not missing.
            let no_text = if index == REQUEST_ID { "?" } else { "" };
            let text = str::from_utf8(value).unwrap_or(no_text);
            *slot = Some(text).filter(|text| !text.is_empty());
        }
        let deadline = values[DEADLINE];
        let context = Self {
            request_id: values[REQUEST_ID].unwrap_or_default(),
            deadline: deadline.and_then(|deadline| Deadline::parse(deadline.as_bytes())),
            values,
            function,
        };
        let unreserved =
            |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
        if context.request_id.is_empty() {
            Err(IdentityError::Missing)
        } else if context.request_id.bytes().all(unreserved) {
            Ok(context)
        } else {
            Err(IdentityError::Invalid)
        }
    }

    /// A context for unit tests of handlers: this request id, a deadline in one minute, and nothing
    /// else.
    #[must_use]
    pub fn for_test(request_id: &'a str) -> Self {
        const NOTHING: &Function = &Function {
            name: None,
            version: None,
            memory_mb: None,
        };
        let EpochMs(now) = os::now();
        Self {
            request_id,
            deadline: Some(Deadline(EpochMs(now.saturating_add(60_000)))),
            values: [None; FIELDS.len()],
            function: NOTHING,
        }
    }

    /// A deadline is never made up; an event without one is answered with this.
    pub(super) fn missing_deadline(&self) -> Option<Error> {
        let message = "the event came without a valid Lambda-Runtime-Deadline-Ms";
        self.deadline
            .is_none()
            .then(|| Error::new("Runtime.InvalidDeadline", message))
    }

    /// The nonce that goes back with the answer, so that a late answer is not taken for the answer
    /// to a retry with the same request id.
    pub(super) const fn invocation_id(&self) -> Option<&'a str> {
        self.values[INVOCATION_ID]
    }

    /// The values as they were sent, in the order of [`FIELDS`].
    pub(super) const fn values(&self) -> &[Option<&'a str>; VALUES] {
        &self.values
    }

    /// The id of the invocation, the same for every retry of it.
    #[must_use]
    pub const fn request_id(&self) -> &'a str {
        self.request_id
    }

    /// When the invocation times out, in milliseconds since the epoch.
    ///
    /// Local tools may state one that has long passed.
    #[must_use]
    pub fn deadline_ms(&self) -> u64 {
        self.deadline.map_or(0, |deadline| deadline.0.0)
    }

    /// The time left until the invocation times out; zero when it has.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.deadline
            .map_or(Duration::ZERO, |deadline| deadline.remaining(os::now()))
    }

    /// The ARN that was invoked, with the version or alias if one was named.
    #[must_use]
    pub const fn invoked_function_arn(&self) -> Option<&'a str> {
        self.values[ARN]
    }

    /// The X-Ray trace header, also in `_X_AMZN_TRACE_ID` while the handler runs.
    #[must_use]
    pub const fn trace_id(&self) -> Option<&'a str> {
        self.values[TRACE_ID]
    }

    /// The client context as the platform sends it: JSON text.
    #[must_use]
    pub const fn client_context(&self) -> Option<&'a str> {
        self.values[CLIENT_CONTEXT]
    }

    /// The Cognito identity as the platform sends it: JSON text.
    #[must_use]
    pub const fn cognito_identity(&self) -> Option<&'a str> {
        self.values[COGNITO_IDENTITY]
    }

    /// The tenant, for a function in tenant isolation mode.
    #[must_use]
    pub const fn tenant_id(&self) -> Option<&'a str> {
        self.values[TENANT_ID]
    }

    /// The name of the function, where the environment says it.
    #[must_use]
    pub const fn function_name(&self) -> Option<&'a str> {
        self.function.name
    }

    /// The version of the function, where the environment says it.
    #[must_use]
    pub const fn function_version(&self) -> Option<&'a str> {
        self.function.version
    }

    /// The configured memory in MB, where the environment says it.
    #[must_use]
    pub const fn memory_mb(&self) -> Option<u32> {
        self.function.memory_mb
    }
}

/// What the names of all these fields start with.
const PREFIX: &[u8] = b"Lambda-Runtime-";

/// What follows it in the names, in the order of the places below.
const FIELDS: [&[u8]; VALUES] = [
    b"Aws-Request-Id",
    b"Deadline-Ms",
    b"Invocation-Id",
    b"Invoked-Function-Arn",
    b"Trace-Id",
    b"Client-Context",
    b"Cognito-Identity",
    b"Aws-Tenant-Id",
];

/// How many they are.
pub(super) const VALUES: usize = 8;

const REQUEST_ID: usize = 0;
const DEADLINE: usize = 1;
const INVOCATION_ID: usize = 2;
const ARN: usize = 3;
const TRACE_ID: usize = 4;
const CLIENT_CONTEXT: usize = 5;
const COGNITO_IDENTITY: usize = 6;
const TENANT_ID: usize = 7;

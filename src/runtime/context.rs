//! What the platform says about an invocation beside its event.

use std::time::Duration;

use super::error::Error;
use crate::shared::env::Function;
use crate::shared::http::Head;
use crate::shared::os;
use crate::shared::os::exec::Change;
use crate::shared::text::same;
use crate::shared::time::{Deadline, EpochMs};

/// What the platform says about an invocation beside its event.
///
/// It is borrowed from the receive buffer, like the event.
/// A value that the platform left out or sent empty is `None`.
/// The headers: <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html#runtimes-api-next>.
#[derive(Clone, Debug)]
pub struct Context<'a> {
    request_id: &'a str,
    deadline: Option<Deadline>,
    /// In the order of [`FIELDS`].
    values: [Option<&'a str>; FIELDS.len()],
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
        let mut values = [None; FIELDS.len()];
        for (name, value) in head.fields() {
            let Some((prefix, name)) = name.split_at_checked(PREFIX.len()) else {
                continue;
            };
            if !same(prefix, PREFIX) {
                continue;
            }
            let known = HEADERS
                .iter()
                .position(|known| same(name, known.as_bytes()));
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

    /// The values as they were sent, with the names that `names` has for them.
    pub(super) fn values(&self, names: &'static Names) -> impl Iterator<Item = Change<'a>> {
        let named = names.iter().copied().zip(self.values);
        named.filter(|(name, _)| !name.is_empty())
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

/// What is sent, in the order of the places below: the rest of the name of the field, and the names
/// of the value as a variable and as a member for executables. The trace header is in a variable of
/// its own, and the deadline is a member that is a number.
const FIELDS: [[&str; 3]; 8] = [
    [
        "Aws-Request-Id",
        "LAMBDA_RUNTIME_AWS_REQUEST_ID",
        "requestId",
    ],
    ["Deadline-Ms", "LAMBDA_RUNTIME_DEADLINE_MS", ""],
    ["Invocation-Id", "", ""],
    [
        "Invoked-Function-Arn",
        "LAMBDA_RUNTIME_INVOKED_FUNCTION_ARN",
        "invokedFunctionArn",
    ],
    ["Trace-Id", "", "traceId"],
    [
        "Client-Context",
        "LAMBDA_RUNTIME_CLIENT_CONTEXT",
        "clientContext",
    ],
    [
        "Cognito-Identity",
        "LAMBDA_RUNTIME_COGNITO_IDENTITY",
        "cognitoIdentity",
    ],
    ["Aws-Tenant-Id", "LAMBDA_RUNTIME_AWS_TENANT_ID", "tenantId"],
];

/// A name for each of [`FIELDS`], or none.
pub(super) type Names = [&'static str; FIELDS.len()];

// Each by itself, so that a program has only those that it uses.
static HEADERS: Names = column(0);
pub(super) static VARIABLES: Names = column(1);
pub(super) static MEMBERS: Names = column(2);

const fn column(of: usize) -> Names {
    let mut names = [""; FIELDS.len()];
    let mut at = 0;
    while at < FIELDS.len() {
        names[at] = FIELDS[at][of];
        at += 1;
    }
    names
}

const REQUEST_ID: usize = 0;
const DEADLINE: usize = 1;
const INVOCATION_ID: usize = 2;
const ARN: usize = 3;
const TRACE_ID: usize = 4;
const CLIENT_CONTEXT: usize = 5;
const COGNITO_IDENTITY: usize = 6;
const TENANT_ID: usize = 7;

//! What the platform says about an invocation beside its event.

use std::time::Duration;

use super::error::Error;
use super::os;
use crate::shared::deadline::{Deadline, EpochMs};
use crate::shared::env::Function;
use crate::shared::http::Head;

/// What the platform says about an invocation beside its event.
///
/// It is borrowed from the receive buffer, like the event.
/// A value that the platform left out or sent empty is `None`.
/// The headers: <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html#runtimes-api-next>.
#[derive(Clone, Debug)]
pub struct Context<'a> {
    request_id: &'a str,
    /// The nonce that goes back with the answer, so that a late answer is not taken for the
    /// answer to a retry with the same request id.
    invocation_id: Option<&'a str>,
    deadline: Option<Deadline>,
    invoked_function_arn: Option<&'a str>,
    trace_id: Option<&'a str>,
    client_context: Option<&'a str>,
    cognito_identity: Option<&'a str>,
    tenant_id: Option<&'a str>,
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
        let mut context = Self {
            request_id: "",
            invocation_id: None,
            deadline: None,
            invoked_function_arn: None,
            trace_id: None,
            client_context: None,
            cognito_identity: None,
            tenant_id: None,
            function,
        };
        for (name, value) in head.fields() {
            let Some((prefix, name)) = name.split_at_checked(PREFIX.len()) else {
                continue;
            };
            if !prefix.eq_ignore_ascii_case(PREFIX) {
                continue;
            }
            let text = str::from_utf8(value).ok().filter(|value| !value.is_empty());
            match KNOWN
                .iter()
                .find(|(known, _)| name.eq_ignore_ascii_case(known))
            {
                Some((_, Known::RequestId)) => {
                    context.request_id = text.unwrap_or(if value.is_empty() { "" } else { "?" });
                }
                Some((_, Known::Deadline)) => context.deadline = Deadline::parse(value),
                Some((_, Known::InvocationId)) => context.invocation_id = text,
                Some((_, Known::Arn)) => context.invoked_function_arn = text,
                Some((_, Known::TraceId)) => context.trace_id = text,
                Some((_, Known::ClientContext)) => context.client_context = text,
                Some((_, Known::CognitoIdentity)) => context.cognito_identity = text,
                Some((_, Known::TenantId)) => context.tenant_id = text,
                None => {}
            }
        }
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
            invocation_id: None,
            deadline: Some(Deadline(EpochMs(now.saturating_add(60_000)))),
            invoked_function_arn: None,
            trace_id: None,
            client_context: None,
            cognito_identity: None,
            tenant_id: None,
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

    pub(super) const fn invocation_id(&self) -> Option<&'a str> {
        self.invocation_id
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
        self.invoked_function_arn
    }

    /// The X-Ray trace header, also in `_X_AMZN_TRACE_ID` while the handler runs.
    #[must_use]
    pub const fn trace_id(&self) -> Option<&'a str> {
        self.trace_id
    }

    /// The client context as the platform sends it: JSON text.
    #[must_use]
    pub const fn client_context(&self) -> Option<&'a str> {
        self.client_context
    }

    /// The Cognito identity as the platform sends it: JSON text.
    #[must_use]
    pub const fn cognito_identity(&self) -> Option<&'a str> {
        self.cognito_identity
    }

    /// The tenant, for a function in tenant isolation mode.
    #[must_use]
    pub const fn tenant_id(&self) -> Option<&'a str> {
        self.tenant_id
    }

    /// The name of the function, where the environment says it.
    #[must_use]
    pub fn function_name(&self) -> Option<&'a str> {
        self.function.name.as_deref()
    }

    /// The version of the function, where the environment says it.
    #[must_use]
    pub fn function_version(&self) -> Option<&'a str> {
        self.function.version.as_deref()
    }

    /// The configured memory in MB, where the environment says it.
    #[must_use]
    pub const fn memory_mb(&self) -> Option<u32> {
        self.function.memory_mb
    }
}

#[derive(Clone, Copy)]
enum Known {
    RequestId,
    Deadline,
    InvocationId,
    Arn,
    TraceId,
    ClientContext,
    CognitoIdentity,
    TenantId,
}

/// What the names of all these fields start with.
const PREFIX: &[u8] = b"Lambda-Runtime-";

const KNOWN: [(&[u8], Known); 8] = [
    (b"Aws-Request-Id", Known::RequestId),
    (b"Deadline-Ms", Known::Deadline),
    (b"Invocation-Id", Known::InvocationId),
    (b"Invoked-Function-Arn", Known::Arn),
    (b"Trace-Id", Known::TraceId),
    (b"Client-Context", Known::ClientContext),
    (b"Cognito-Identity", Known::CognitoIdentity),
    (b"Aws-Tenant-Id", Known::TenantId),
];

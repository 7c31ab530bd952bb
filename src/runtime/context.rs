//! The metadata of an invocation: what the platform sends beside the event.

use std::fmt;
use std::time::{Duration, Instant};

use super::api::Ids;
use super::zone;
use crate::shared::env::Function;
use crate::shared::http::Head;
use crate::shared::os;
use crate::shared::os::clock::monotonic;
use crate::shared::text::same;
use crate::shared::time::{Deadline, EpochMs};

/// The metadata of an invocation: what the platform sends beside the event.
///
/// It is borrowed from the receive buffer, like the event.
/// A value that the platform left out or sent empty is `None`.
/// The headers: <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html#runtimes-api-next>.
///
/// ```
/// use bantam::Context;
///
/// fn greet(name: String, context: &Context<'_>) -> Result<String, bantam::Error> {
///     let function = context.function_name().unwrap_or("a function");
///     Ok(format!("{name}, this is {function}, request {}", context.request_id()))
/// }
///
/// let greeting = greet("Ada".to_owned(), &Context::for_test("4711"));
/// assert_eq!(greeting.unwrap(), "Ada, this is a function, request 4711");
/// ```
#[derive(Clone, Debug)]
pub struct Context<'a> {
    request_id: &'a str,
    /// A nonce that goes back with the answer, so that a late answer is not taken for the answer to
    /// a retry with the same request id.
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
    /// The request id is not UTF-8, or cannot be part of a path.
    Invalid,
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "an event came without Lambda-Runtime-Aws-Request-Id",
            Self::Invalid => "an event came with an invalid Lambda-Runtime-Aws-Request-Id",
        })
    }
}

impl std::error::Error for IdentityError {}

impl<'a> Context<'a> {
    /// Reads the head of an event that came at `now`.
    pub(super) fn parse(
        head: Head<'a>,
        function: &'a Function,
        now: EpochMs,
    ) -> Result<Self, IdentityError> {
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
            context.take(name, value, now);
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

    fn take(&mut self, name: &[u8], value: &'a [u8], now: EpochMs) {
        // A value that is not text counts as absent.
        let text = || {
            std::str::from_utf8(value)
                .ok()
                .filter(|text| !text.is_empty())
        };
        if same(name, b"Lambda-Runtime-Aws-Request-Id") {
            // A request id that is not text is invalid, not missing.
            self.request_id = std::str::from_utf8(value).unwrap_or("?");
        } else if same(name, b"Lambda-Runtime-Deadline-Ms") {
            let deadline = Deadline::parse(value);
            self.deadline = deadline.filter(|Deadline(end)| now < *end);
        } else if same(name, b"Lambda-Runtime-Trace-Id") {
            self.trace_id = text();
        } else if same(name, b"Lambda-Runtime-Invoked-Function-Arn") {
            self.invoked_function_arn = text();
        } else if same(name, b"Lambda-Runtime-Invocation-Id") {
            self.invocation_id = text();
        } else if same(name, b"Lambda-Runtime-Client-Context") {
            self.client_context = text();
        } else if same(name, b"Lambda-Runtime-Cognito-Identity") {
            self.cognito_identity = text();
        } else if same(name, b"Lambda-Runtime-Aws-Tenant-Id") {
            self.tenant_id = text();
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

    /// The ids that the answer goes back with.
    pub(super) const fn ids(&self) -> Ids<'a> {
        Ids {
            request_id: self.request_id,
            invocation_id: self.invocation_id,
        }
    }

    /// The id of the invocation, the same for every retry of it.
    #[must_use]
    pub const fn request_id(&self) -> &'a str {
        self.request_id
    }

    /// When the invocation times out, in milliseconds since the epoch.
    ///
    /// `None` if the platform did not say it, as some local tools do not, or if that time had
    /// passed when the event came: `cargo lambda watch` sends a constant that lies in 1970.
    #[must_use]
    pub fn deadline_ms(&self) -> Option<u64> {
        self.deadline.map(|Deadline(EpochMs(ms))| ms)
    }

    /// The time left until the invocation times out; zero when it has, and `None` if no deadline is
    /// known, see [`Context::deadline_ms`].
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// fn has_time_for_one_more(context: &bantam::Context<'_>) -> bool {
    ///     context.remaining().is_none_or(|left| Duration::from_secs(1) < left)
    /// }
    /// # assert!(has_time_for_one_more(&bantam::Context::for_test("id")));
    /// ```
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.remaining(os::now()))
    }

    /// When to give up what the invocation waits for, so that its error still gets out: a little
    /// before the deadline, if there is one.
    pub(super) fn end(&self) -> Option<Instant> {
        Some(end(self.remaining()?, monotonic()))
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

    /// The id of the availability zone that the environment is in, such as `use1-az1`.
    ///
    /// It is read from the [metadata endpoint][1] the first time that it is asked for, and again
    /// after a restore, and is the same for every invocation. `None` if the platform has no such
    /// endpoint, or none that answers within 500 ms.
    ///
    /// [1]: https://docs.aws.amazon.com/lambda/latest/dg/configuration-metadata-endpoint.html
    #[must_use]
    pub fn availability_zone(&self) -> Option<String> {
        zone::availability_zone()
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

/// A little before the end of the time that remains at `now`.
fn end(remaining: Duration, now: Instant) -> Instant {
    now + remaining.saturating_sub(END_MARGIN.min(remaining / 2))
}

/// How long before the deadline an invocation gives up, or half of what is left if that is less.
pub(super) const END_MARGIN: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::http::{Expect, Limits, Progress, Reader};

    const NOW: EpochMs = EpochMs(1_700_000_000_000);

    /// Parses the fields behind a status line; `check` sees the context.
    fn parse<T>(fields: &[u8], check: impl FnOnce(&Context<'_>) -> T) -> Result<T, IdentityError> {
        let head = [b"HTTP/1.1 200 OK\r\n", fields, b"Content-Length: 0\r\n\r\n"].concat();
        let mut reader = Reader::new(Expect::Response, Limits::of_body(0));
        let progress = reader.read_from(&mut &head[..]).unwrap();
        assert_eq!(progress, Progress::Complete);
        let function = Function {
            name: Some("order".to_owned()),
            version: Some("7".to_owned()),
            memory_mb: Some(128),
        };
        let context = Context::parse(reader.head(), &function, NOW)?;
        Ok(check(&context))
    }

    #[test]
    fn every_field_is_found_in_any_case_and_an_empty_one_is_absent() {
        let fields = "LAMBDA-RUNTIME-AWS-REQUEST-ID: id-1\r\n\
                      lambda-runtime-invocation-id: nonce\r\n\
                      Lambda-Runtime-Deadline-Ms: 1700000000500\r\n\
                      Lambda-Runtime-Invoked-Function-Arn: arn:x\r\n\
                      lambda-Runtime-trace-Id: Root=1\r\n\
                      Lambda-Runtime-Client-Context: {\"a\":\"\u{e9}\"}\r\n\
                      Lambda-Runtime-Cognito-Identity: {}\r\n\
                      Lambda-Runtime-Aws-Tenant-Id: tenant\r\n\
                      Lambda-Runtime-Other: x\r\n\
                      Lambda-Runtime-Clock-Id: x\r\n";
        parse(fields.as_bytes(), |context| {
            assert_eq!(context.request_id(), "id-1");
            assert_eq!(context.invocation_id, Some("nonce"));
            assert_eq!(context.deadline_ms(), Some(1_700_000_000_500));
            assert_eq!(context.invoked_function_arn(), Some("arn:x"));
            assert_eq!(context.trace_id(), Some("Root=1"));
            assert_eq!(context.client_context(), Some("{\"a\":\"\u{e9}\"}"));
            assert_eq!(context.cognito_identity(), Some("{}"));
            assert_eq!(context.tenant_id(), Some("tenant"));
            assert_eq!(context.function_name(), Some("order"));
            assert_eq!(context.function_version(), Some("7"));
            assert_eq!(context.memory_mb(), Some(128));
        })
        .unwrap();
        let empty = b"Lambda-Runtime-Aws-Request-Id: id-1\r\nLambda-Runtime-Client-Context: \r\n";
        parse(empty, |context| {
            assert_eq!(context.client_context(), None);
            assert_eq!(context.deadline_ms(), None);
            assert_eq!(context.remaining(), None);
        })
        .unwrap();
    }

    #[test]
    fn a_deadline_that_is_no_number_or_has_passed_is_none() {
        let table = [
            ("1700000000001", Some(1_700_000_000_001)),
            ("3228130696703", Some(3_228_130_696_703)),
            ("1700000000000", None),
            ("600000", None),
            ("1795667745953.5", None),
            ("soon", None),
            ("-1", None),
            ("", None),
        ];
        for (value, deadline) in table {
            let fields = format!(
                "Lambda-Runtime-Aws-Request-Id: id\r\nLambda-Runtime-Deadline-Ms: {value}\r\n"
            );
            let found = parse(fields.as_bytes(), |context| context.deadline_ms()).unwrap();
            assert_eq!(found, deadline, "{value}");
        }
    }

    #[test]
    fn a_request_id_that_cannot_be_answered_is_an_error() {
        let table = [
            (&b""[..], IdentityError::Missing),
            (
                b"Lambda-Runtime-Aws-Request-Id: \r\n",
                IdentityError::Missing,
            ),
            (
                b"Lambda-Runtime-Aws-Request-Id: a/b\r\n",
                IdentityError::Invalid,
            ),
            (
                b"Lambda-Runtime-Aws-Request-Id: a b\r\n",
                IdentityError::Invalid,
            ),
            (
                b"Lambda-Runtime-Aws-Request-Id: \xff\r\n",
                IdentityError::Invalid,
            ),
        ];
        for (fields, error) in table {
            assert_eq!(parse(fields, |_| ()), Err(error));
        }
    }

    #[test]
    fn an_invocation_gives_up_a_little_before_its_deadline() {
        let now = monotonic();
        for (remaining, expected) in [(1, 0), (100, 50), (200, 100), (900_000, 899_900)] {
            let end = end(Duration::from_millis(remaining), now);
            // Half of a millisecond is cut off.
            let left = end.saturating_duration_since(now).as_millis();
            assert_eq!(left, expected, "{remaining}");
        }
    }
}

//! The Runtime API: requests as bytes, answers as decisions. `client` acts on them.
//!
//! The calls and their codes:
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>.

use std::time::Duration;

use super::error::Error;
use crate::shared::backoff::RUNTIME_CALLS;
use crate::shared::base64;
use crate::shared::endpoint::Endpoint;
use crate::shared::http::{ChunkedWriter, HeadWriter, JSON};

/// The ids that an answer goes back with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ids<'a> {
    /// `Lambda-Runtime-Aws-Request-Id`, which is in the path.
    pub(super) request_id: &'a str,
    /// `Lambda-Runtime-Invocation-Id`, if the event came with one.
    pub(super) invocation_id: Option<&'a str>,
}

/// A call that sends something.
#[derive(Clone, Copy, Debug)]
pub(super) enum Post<'a> {
    /// The response of an invocation.
    Response {
        to: Ids<'a>,
        /// `Content-Type`, as a line without its end.
        content_type: &'static str,
        body: &'a [u8],
    },
    /// The error of an invocation.
    Error { to: Ids<'a>, error: &'a Error },
    /// The error of a phase without an invocation, in the call that ends it.
    PhaseError {
        call: &'static str,
        error: &'a Error,
    },
}

/// Writes the request for the next event, which is the same every time.
pub(super) fn write_next(out: &mut Vec<u8>, api: &Endpoint) {
    let path = [&api.prefix, VERSION, "/invocation/next"];
    request(out, "GET", &path, api).end();
}

/// Writes the request that waits for the restore from a snapshot.
pub(super) fn write_restore_next(out: &mut Vec<u8>, api: &Endpoint) {
    let path = [&api.prefix, VERSION, "/restore/next"];
    request(out, "GET", &path, api).end();
}

impl<'a> Post<'a> {
    /// The error of the initialisation.
    pub(super) const fn init_error(error: &'a Error) -> Self {
        let call = "/init/error";
        Self::PhaseError { call, error }
    }

    /// The error of what comes after a restore.
    pub(super) const fn restore_error(error: &'a Error) -> Self {
        let call = "/restore/error";
        Self::PhaseError { call, error }
    }

    /// The body: that of a response as it is, that of an error written into `document`.
    pub(super) fn body(&self, document: &'a mut Vec<u8>) -> &'a [u8] {
        match self {
            Self::Response { body, .. } => body,
            Self::Error { error, .. } | Self::PhaseError { error, .. } => {
                error.write_document(document);
                document
            }
        }
    }

    /// Writes the head of the request.
    pub(super) fn write_head(&self, out: &mut Vec<u8>, api: &Endpoint, body_bytes: usize) {
        let path = |ids: &Ids<'a>, end| {
            let path = [&api.prefix, INVOCATION, ids.request_id, end];
            (path, ids.invocation_id)
        };
        let (path, invocation_id) = match self {
            Self::Response { to, .. } => path(to, "/response"),
            Self::Error { to, .. } => path(to, "/error"),
            Self::PhaseError { call, .. } => ([&api.prefix, VERSION, *call, ""], None),
        };
        let head = request(out, "POST", &path, api)
            .optional_field("Lambda-Runtime-Invocation-Id", invocation_id);
        let head = match self {
            Self::Response { content_type, .. } => head.constant(content_type),
            Self::Error { error, .. } | Self::PhaseError { error, .. } => head
                .constant(JSON)
                .field(ERROR_TYPE, &error.header_type())
                .field(
                    "Lambda-Runtime-Function-XRay-Error-Cause",
                    &error.xray_cause(),
                ),
        };
        head.end_with_length(body_bytes);
    }
}

/// Writes the head of a response that is streamed.
///
/// The form is in "Response streaming" of
/// <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html>.
pub(super) fn write_stream_head(
    out: &mut Vec<u8>,
    api: &Endpoint,
    to: Ids<'_>,
    content_type: &str,
) {
    let Ids {
        request_id,
        invocation_id,
    } = to;
    let path = [&api.prefix, INVOCATION, request_id, "/response"];
    request(out, "POST", &path, api)
        .optional_field("Lambda-Runtime-Invocation-Id", invocation_id)
        .field("Content-Type", content_type.as_bytes())
        .constant("Lambda-Runtime-Function-Response-Mode: streaming")
        .constant("Transfer-Encoding: chunked")
        .field("Trailer", ERROR_TYPE.as_bytes())
        .field("Trailer", ERROR_BODY.as_bytes())
        .end();
}

/// Completes a streamed response with the trailers that say that it failed midway.
pub(super) fn end_with_error(response: &mut ChunkedWriter, error: &Error) {
    let mut document = Vec::new();
    error.write_short_document(&mut document);
    let mut body = Vec::new();
    base64::encode(&document, &mut body);
    response.end(&[(ERROR_TYPE, &error.header_type()), (ERROR_BODY, &body)]);
}

/// The head of a request as far as all are the same.
#[inline(never)]
fn request<'a>(
    out: &'a mut Vec<u8>,
    method: &str,
    path: &[&str],
    api: &Endpoint,
) -> HeadWriter<'a> {
    HeadWriter::request(out, method, path, &api.authority).constant(USER_AGENT)
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The API answered with this status.
    Status(u16),
    /// Not a byte was sent: there was no connection, or the one that was kept was closed.
    Unsent,
    /// The connection was lost, or the answer was no HTTP. The status is there if its line was
    /// read before that.
    Lost(Option<u16>),
}

/// What to do after asking for the next invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterNext {
    /// There is an event.
    Invoke,
    /// Nothing went wrong and there is no event: ask again after the pause.
    AskAgain(Duration),
    /// Something went wrong: ask again after the pause, on a new connection if this one is lost.
    Retry(Duration),
    /// The API is gone or told us to stop: exit with this code.
    Exit(u8),
}

/// What to do after posting a response or an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterPost {
    /// The answer was taken.
    Accepted,
    /// The answer was refused, and nothing can change that: log it and go on.
    Refused,
    /// Nobody knows whether the answer arrived: send it once more on a new connection.
    Resend,
    /// It was not sent at all: try again after the pause.
    Retry(Duration),
    /// It could not be sent: log it and go on to the next call, which will find out.
    Undelivered,
    /// The environment is broken: exit with this code.
    Exit(u8),
}

/// Decides after `next`. `failures` counts the failed calls since the last event, this one
/// included if it failed.
pub(super) const fn after_next(outcome: Outcome, failures: u32) -> AfterNext {
    match outcome {
        Outcome::Status(200) => AfterNext::Invoke,
        // Not a code of the platform: `cargo lambda` says that there is no event yet.
        Outcome::Status(204) => AfterNext::AskAgain(NO_EVENT_PAUSE),
        // Not a code of the platform: local tools say that there will be no more events.
        Outcome::Status(410) => AfterNext::Exit(0),
        // "Container error. Non-recoverable state. Runtime should exit promptly."
        Outcome::Status(500..=599) => AfterNext::Exit(1),
        // While an invocation runs, `next` renders the same event again, so asking twice is safe.
        // 403 has been seen for a moment after a thaw.
        Outcome::Status(_) | Outcome::Unsent | Outcome::Lost(_) => {
            match RUNTIME_CALLS.after(failures) {
                Some(pause) => AfterNext::Retry(pause),
                None => AfterNext::Exit(1),
            }
        }
    }
}

/// Decides after a POST. `resent` says that it had been sent before, and `failures` counts the
/// times that it could not be sent, this one included.
pub(super) const fn after_post(outcome: Outcome, resent: bool, failures: u32) -> AfterPost {
    match outcome {
        Outcome::Unsent => match RUNTIME_CALLS.after(failures) {
            Some(pause) => AfterPost::Retry(pause),
            None => AfterPost::Undelivered,
        },
        Outcome::Status(200..=299) | Outcome::Lost(Some(200..=299)) => AfterPost::Accepted,
        // The second try finds the invocation answered: the first one had arrived.
        Outcome::Status(400 | 403) | Outcome::Lost(Some(400 | 403)) if resent => {
            AfterPost::Accepted
        }
        Outcome::Status(500..=599) | Outcome::Lost(Some(500..=599)) => AfterPost::Exit(1),
        // 400 wrong or old id, 403 answered already, 410 the invocation is over, 413 too large:
        // the platform has closed the invocation, and a second answer would get 403.
        Outcome::Status(_) | Outcome::Lost(Some(_)) => AfterPost::Refused,
        Outcome::Lost(None) if resent => AfterPost::Undelivered,
        Outcome::Lost(None) => AfterPost::Resend,
    }
}

/// The type of an error, as a field or a trailer.
const ERROR_TYPE: &str = "Lambda-Runtime-Function-Error-Type";

/// The document of an error in base64, as a trailer.
const ERROR_BODY: &str = "Lambda-Runtime-Function-Error-Body";

const VERSION: &str = "/2018-06-01/runtime";
const INVOCATION: &str = "/2018-06-01/runtime/invocation/";

/// The platform takes the first token as the name of the runtime.
const USER_AGENT: &str = concat!("User-Agent: aws-lambda-bantam/", env!("CARGO_PKG_VERSION"));

/// The pause after "no event yet".
const NO_EVENT_PAUSE: Duration = Duration::from_millis(25);

#[cfg(test)]
mod tests {
    use super::*;

    const FAILURES_MAX: u32 = 9;

    #[test]
    fn after_next_by_status() {
        let zero = Duration::ZERO;
        let table = [
            (Outcome::Status(200), 0, AfterNext::Invoke),
            (Outcome::Status(204), 0, AfterNext::AskAgain(NO_EVENT_PAUSE)),
            (Outcome::Status(403), 1, AfterNext::Retry(zero)),
            (Outcome::Status(403), FAILURES_MAX, AfterNext::Exit(1)),
            (Outcome::Status(404), 1, AfterNext::Retry(zero)),
            (Outcome::Status(410), 1, AfterNext::Exit(0)),
            (Outcome::Status(500), 1, AfterNext::Exit(1)),
            (Outcome::Status(503), 1, AfterNext::Exit(1)),
            (Outcome::Lost(None), 1, AfterNext::Retry(zero)),
            (
                Outcome::Lost(Some(200)),
                2,
                AfterNext::Retry(Duration::from_millis(10)),
            ),
            (
                Outcome::Lost(None),
                8,
                AfterNext::Retry(Duration::from_millis(640)),
            ),
            (Outcome::Lost(None), FAILURES_MAX, AfterNext::Exit(1)),
        ];
        for (outcome, failures, expected) in table {
            assert_eq!(
                after_next(outcome, failures),
                expected,
                "{outcome:?} {failures}"
            );
        }
    }

    #[test]
    fn connections_for_a_post_are_tried_a_bounded_number_of_times() {
        let after = |failures| after_post(Outcome::Unsent, false, failures);
        assert_eq!(after(3), AfterPost::Retry(Duration::from_millis(20)));
        assert_eq!(after(FAILURES_MAX), AfterPost::Undelivered);
    }

    #[test]
    fn after_post_by_status() {
        let table = [
            (Outcome::Status(202), false, AfterPost::Accepted),
            (Outcome::Status(200), false, AfterPost::Accepted),
            (Outcome::Status(202), true, AfterPost::Accepted),
            (Outcome::Status(400), false, AfterPost::Refused),
            (Outcome::Status(400), true, AfterPost::Accepted),
            (Outcome::Status(403), false, AfterPost::Refused),
            (Outcome::Status(403), true, AfterPost::Accepted),
            (Outcome::Status(410), false, AfterPost::Refused),
            (Outcome::Status(410), true, AfterPost::Refused),
            (Outcome::Status(413), false, AfterPost::Refused),
            (Outcome::Status(302), false, AfterPost::Refused),
            (Outcome::Status(500), false, AfterPost::Exit(1)),
            (Outcome::Unsent, false, AfterPost::Retry(Duration::ZERO)),
            (Outcome::Lost(None), false, AfterPost::Resend),
            (Outcome::Lost(None), true, AfterPost::Undelivered),
            (Outcome::Lost(Some(202)), false, AfterPost::Accepted),
            (Outcome::Lost(Some(413)), false, AfterPost::Refused),
            (Outcome::Lost(Some(500)), false, AfterPost::Exit(1)),
        ];
        for (outcome, resent, expected) in table {
            assert_eq!(
                after_post(outcome, resent, 1),
                expected,
                "{outcome:?} {resent}"
            );
        }
    }
}

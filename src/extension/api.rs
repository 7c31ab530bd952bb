//! The calls of the Extensions and Telemetry APIs: requests as bytes, answers as decisions.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html>,
//! <https://docs.aws.amazon.com/lambda/latest/dg/telemetry-api.html>

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::extension::metric::Resource;
use crate::shared::endpoint::Endpoint;
use crate::shared::http::{HeadWriter, JSON, Outgoing, Reader};
use crate::shared::json::{self, Object};
use crate::shared::time::{Deadline, EpochMs};

/// A request: its head and its body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Request {
    head: Vec<u8>,
    body: Vec<u8>,
}

impl Request {
    /// The request as it is written.
    pub(super) fn outgoing(&self) -> Outgoing<'_> {
        Outgoing::new(&self.head, &self.body)
    }
}

/// The names that the platform gave in its answer to `register`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Registered {
    /// Signs every later call.
    pub(super) identifier: String,
    pub(super) function_name: Option<String>,
    pub(super) function_version: Option<String>,
    pub(super) account_id: Option<String>,
}

impl Registered {
    /// Completes the resource. The platform knows the function better than the environment does.
    pub(super) fn fill(&self, resource: &mut Resource) {
        let told = [
            (&mut resource.function_name, &self.function_name),
            (&mut resource.function_version, &self.function_version),
            (&mut resource.account_id, &self.account_id),
        ];
        for (field, value) in told {
            if let Some(value) = value {
                value.clone_into(field);
            }
        }
    }
}

/// What to do after `register`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AfterRegister {
    Registered(Registered),
    /// INVOKE was refused, as on Managed Instances: register for SHUTDOWN alone.
    ShutdownOnly,
    /// Try again after a pause.
    Retry,
}

/// What to do after `subscribe`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterSubscribe {
    /// Telemetry will come.
    Subscribed,
    /// The platform does not know this version of the schema: try the one before.
    Older,
    /// No telemetry will come: go on without.
    Without,
}

/// An event of the lifecycle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Invoke {
        request_id: String,
        /// `None` where it is unknown: local tools send 0.
        deadline: Option<Deadline>,
        function_arn: Option<String>,
    },
    Shutdown {
        /// In lower case; unknown reasons are kept.
        reason: String,
        /// When the process is killed; `None` where it is unknown.
        deadline: Option<Deadline>,
    },
}

/// The reason for which an answer to `event/next` is not an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum EventError {
    Status(u16),
    /// The body is not JSON, or lacks the type or the request id.
    Malformed,
}

impl fmt::Display for EventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "the API answers {status}"),
            Self::Malformed => f.write_str("the API answers with something else than an event"),
        }
    }
}

impl std::error::Error for EventError {}

/// The versions of the telemetry schema, newest first. The newest is the only one that Managed
/// Instances take; some environments take only older ones.
pub(super) const SCHEMAS: [&str; 3] = ["2025-01-29", "2022-12-13", "2022-07-01"];

/// `register`, for INVOKE and SHUTDOWN or for SHUTDOWN alone.
pub(super) fn register(api: &Endpoint, name: &str, with_invoke: bool) -> Request {
    let body: &[u8] = if with_invoke {
        br#"{"events":["INVOKE","SHUTDOWN"]}"#
    } else {
        br#"{"events":["SHUTDOWN"]}"#
    };
    let mut head = Vec::with_capacity(256);
    HeadWriter::request(
        &mut head,
        "POST",
        &[&api.prefix, EXTENSION, "/register"],
        &api.authority,
    )
    .field("Lambda-Extension-Name", name.as_bytes())
    .field("Lambda-Extension-Accept-Feature", b"accountId")
    .constant(JSON)
    .end_with_length(body.len());
    Request {
        head,
        body: body.to_vec(),
    }
}

/// `event/next`, which is answered when there is an event.
pub(super) fn next(api: &Endpoint, identifier: &str) -> Request {
    let mut head = Vec::with_capacity(256);
    HeadWriter::request(
        &mut head,
        "GET",
        &[&api.prefix, EXTENSION, "/event/next"],
        &api.authority,
    )
    .field("Lambda-Extension-Identifier", identifier.as_bytes())
    .end();
    Request {
        head,
        body: Vec::new(),
    }
}

/// Where telemetry is delivered to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Destination {
    pub(super) port: u16,
    /// The path of the URI, without the slash. Whoever does not know it cannot deliver.
    pub(super) token: String,
}

/// How long the platform may hold records back.
///
/// Where environments are frozen it is the shortest time there is: nothing is delivered during a
/// freeze, so what waits in a buffer waits for the next invocation. Managed Instances are not
/// frozen and have many invocations at once, so one delivery in a second does for all.
pub(super) const fn buffering(with_invoke: bool) -> Duration {
    Duration::from_millis(if with_invoke { 25 } else { 1_000 })
}

/// The subscription to platform events.
pub(super) fn subscribe(
    api: &Endpoint,
    identifier: &str,
    schema: &str,
    buffering: Duration,
    destination: &Destination,
) -> Request {
    let Destination { port, token } = destination;
    let buffering_ms = buffering.as_millis();
    let body = format!(
        r#"{{"schemaVersion":"{schema}","types":["platform"],"buffering":{{"maxItems":1000,"maxBytes":262144,"timeoutMs":{buffering_ms}}},"destination":{{"protocol":"HTTP","URI":"http://sandbox.localdomain:{port}/{token}"}}}}"#
    );
    let mut head = Vec::with_capacity(256);
    HeadWriter::request(&mut head, "PUT", &[&api.prefix, TELEMETRY], &api.authority)
        .field("Lambda-Extension-Identifier", identifier.as_bytes())
        .constant(JSON)
        .end_with_length(body.len());
    Request {
        head,
        body: body.into_bytes(),
    }
}

/// Decides after `register`. Without an identifier nothing else can be done, and an exit would
/// fail the init phase, so everything but success is tried again.
pub(super) fn after_register(answer: &Reader, with_invoke: bool) -> AfterRegister {
    // Without a body that can be read, the identifier is enough.
    let body = json::read(answer.body()).map(|Object(body)| body);
    let body: RegisterAnswer<'_> = body.unwrap_or_default();
    let identifier = answer.head().field("Lambda-Extension-Identifier");
    let identifier = identifier
        .and_then(|id| std::str::from_utf8(id).ok())
        // What cannot be sent back as it came identifies nobody.
        .filter(|id| !id.is_empty() && !id.bytes().any(|byte| byte.is_ascii_control()));
    match (answer.status(), identifier) {
        (Some(200), Some(identifier)) => AfterRegister::Registered(Registered {
            identifier: identifier.to_owned(),
            function_name: text(body.function_name),
            function_version: text(body.function_version),
            account_id: text(body.account_id),
        }),
        (Some(400..=499), _)
            if with_invoke
                && text(body.error_type).as_deref() == Some("Extension.InvalidEventType") =>
        {
            AfterRegister::ShutdownOnly
        }
        _ => AfterRegister::Retry,
    }
}

/// Decides after `subscribe`.
pub(super) const fn after_subscribe(status: Option<u16>) -> AfterSubscribe {
    match status {
        Some(200) => AfterSubscribe::Subscribed,
        Some(400 | 404) => AfterSubscribe::Older,
        // 202: "not supported", which is what local emulators say. 403: the subscription is closed.
        _ => AfterSubscribe::Without,
    }
}

/// Reads the answer to `event/next`.
pub(super) fn event(answer: &Reader) -> Result<Event, EventError> {
    match answer.status() {
        Some(200) => {}
        Some(status) => return Err(EventError::Status(status)),
        None => return Err(EventError::Malformed),
    }
    let Object(event): Object<EventAnswer<'_>> =
        json::read(answer.body()).map_err(|_json| EventError::Malformed)?;
    let deadline = milliseconds(event.deadline_ms).map(|ms| Deadline(EpochMs(ms)));
    match text(event.event_type).as_deref() {
        Some("INVOKE") => Ok(Event::Invoke {
            request_id: text(event.request_id).ok_or(EventError::Malformed)?,
            deadline,
            function_arn: text(event.invoked_function_arn),
        }),
        // The reason is documented in upper case and sent in lower case.
        Some("SHUTDOWN") => Ok(Event::Shutdown {
            reason: text(event.shutdown_reason)
                .unwrap_or_default()
                .to_ascii_lowercase(),
            deadline,
        }),
        Some(_) | None => Err(EventError::Malformed),
    }
}

/// Members are kept as JSON first: one with an unexpected value is then missing, and costs nothing
/// else.
type Member<'a> = Option<&'a RawValue>;

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RegisterAnswer<'a> {
    #[serde(borrow)]
    function_name: Member<'a>,
    function_version: Member<'a>,
    account_id: Member<'a>,
    error_type: Member<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct EventAnswer<'a> {
    #[serde(borrow)]
    event_type: Member<'a>,
    request_id: Member<'a>,
    invoked_function_arn: Member<'a>,
    shutdown_reason: Member<'a>,
    deadline_ms: Member<'a>,
}

fn text(member: Member<'_>) -> Option<String> {
    let text: Cow<'_, str> = serde_json::from_str(member?.get()).ok()?;
    Some(text.into_owned())
}

/// A time in milliseconds, as a number or in quotes; `None` if it is no time after 1970.
fn milliseconds(member: Member<'_>) -> Option<u64> {
    let digits = member?.get().trim_matches('"');
    let ms: f64 = serde_json::from_str(digits).ok()?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 1 and 2^53"
    )]
    (1.0..9_007_199_254_740_992.0)
        .contains(&ms)
        .then_some(ms as u64)
}

const EXTENSION: &str = "/2020-01-01/extension";
const TELEMETRY: &str = "/2022-07-01/telemetry";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::http::{Expect, Limits};

    fn answer(bytes: &str) -> Reader {
        let limits = Limits {
            head_bytes_max: 4_096,
            ..Limits::of_body(4_096)
        };
        let mut reader = Reader::new(Expect::Response, limits);
        reader.read_from(&mut bytes.as_bytes()).unwrap();
        reader
    }

    fn with_body(status: &str, body: &str) -> Reader {
        answer(&format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    }

    #[test]
    fn requests_are_as_documented() {
        let api = Endpoint::parse("127.0.0.1:9001", &|_| None).unwrap();
        let request = register(&api, "bantam", true);
        assert_eq!(
            String::from_utf8(request.head).unwrap(),
            "POST /2020-01-01/extension/register HTTP/1.1\r\nHost: 127.0.0.1:9001\r\n\
             Lambda-Extension-Name: bantam\r\nLambda-Extension-Accept-Feature: accountId\r\n\
             Content-Type: application/json\r\nContent-Length: 32\r\n\r\n"
        );
        assert_eq!(request.body, br#"{"events":["INVOKE","SHUTDOWN"]}"#);
        assert_eq!(
            register(&api, "bantam", false).body,
            br#"{"events":["SHUTDOWN"]}"#
        );
        let next = next(&api, "id-1");
        assert_eq!(
            String::from_utf8(next.head).unwrap(),
            "GET /2020-01-01/extension/event/next HTTP/1.1\r\nHost: 127.0.0.1:9001\r\n\
             Lambda-Extension-Identifier: id-1\r\n\r\n"
        );
        let destination = Destination {
            port: 4_243,
            token: "5eed".to_owned(),
        };
        let http = subscribe(&api, "id-1", SCHEMAS[0], buffering(true), &destination);
        let body: serde_json::Value = serde_json::from_slice(&http.body).unwrap();
        assert_eq!(body["schemaVersion"], "2025-01-29");
        assert_eq!(body["types"], serde_json::json!(["platform"]));
        assert_eq!(body["buffering"]["timeoutMs"], 25);
        assert_eq!(
            body["destination"]["URI"],
            "http://sandbox.localdomain:4243/5eed"
        );
        let managed = subscribe(&api, "id-1", SCHEMAS[0], buffering(false), &destination);
        let body: serde_json::Value = serde_json::from_slice(&managed.body).unwrap();
        assert_eq!(body["buffering"]["timeoutMs"], 1_000);
    }

    #[test]
    fn registration_by_answer() {
        let body =
            r#"{"functionName":"f","functionVersion":"$LATEST","handler":"h","accountId":"1"}"#;
        let good = answer(&format!(
            "HTTP/1.1 200 OK\r\nLambda-Extension-Identifier: id-1\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        let registered = Registered {
            identifier: "id-1".to_owned(),
            function_name: Some("f".to_owned()),
            function_version: Some("$LATEST".to_owned()),
            account_id: Some("1".to_owned()),
        };
        assert_eq!(
            after_register(&good, true),
            AfterRegister::Registered(registered)
        );
        let refused = r#"{"errorType":"Extension.InvalidEventType","errorMessage":"no"}"#;
        assert_eq!(
            after_register(&with_body("403", refused), true),
            AfterRegister::ShutdownOnly
        );
        assert_eq!(
            after_register(&with_body("403", refused), false),
            AfterRegister::Retry
        );
        assert_eq!(
            after_register(&with_body("200", body), true),
            AfterRegister::Retry
        );
        let unsendable = answer(
            "HTTP/1.1 200 OK\r\nLambda-Extension-Identifier: id\u{1}\r\nContent-Length: 0\r\n\r\n",
        );
        assert_eq!(after_register(&unsendable, true), AfterRegister::Retry);
        let list = r#"["f","1","1","Extension.InvalidEventType"]"#;
        assert_eq!(
            after_register(&with_body("403", list), true),
            AfterRegister::Retry
        );
        assert_eq!(
            after_register(&with_body("500", "x"), true),
            AfterRegister::Retry
        );
    }

    #[test]
    fn events_are_read_leniently() {
        let table = [
            (
                r#"{"eventType":"INVOKE","deadlineMs":7,"requestId":"r","invokedFunctionArn":"a","tracing":{"type":"t","value":"v"}}"#,
                Event::Invoke {
                    request_id: "r".to_owned(),
                    deadline: Some(Deadline(EpochMs(7))),
                    function_arn: Some("a".to_owned()),
                },
            ),
            (
                r#"{"eventType":"INVOKE","requestId":"r","new":[1]}"#,
                Event::Invoke {
                    request_id: "r".to_owned(),
                    deadline: None,
                    function_arn: None,
                },
            ),
            (
                r#"{"eventType":"SHUTDOWN","shutdownReason":"SPINDOWN","deadlineMs":9}"#,
                Event::Shutdown {
                    reason: "spindown".to_owned(),
                    deadline: Some(Deadline(EpochMs(9))),
                },
            ),
            (
                r#"{"eventType":"SHUTDOWN","shutdownReason":"SandboxTerminated","deadlineMs":9}"#,
                Event::Shutdown {
                    reason: "sandboxterminated".to_owned(),
                    deadline: Some(Deadline(EpochMs(9))),
                },
            ),
            (
                r#"{"eventType":"SHUTDOWN","shutdownReason":7,"deadlineMs":"9.5"}"#,
                Event::Shutdown {
                    reason: String::new(),
                    deadline: Some(Deadline(EpochMs(9))),
                },
            ),
            (
                r#"{"eventType":"SHUTDOWN","deadlineMs":1e300}"#,
                Event::Shutdown {
                    reason: String::new(),
                    deadline: None,
                },
            ),
        ];
        for (body, expected) in table {
            assert_eq!(event(&with_body("200", body)), Ok(expected), "{body}");
        }
        for body in [
            r#"{"eventType":"NAP"}"#,
            r#"{"eventType":"INVOKE"}"#,
            r#"["INVOKE","r"]"#,
            r#"["SHUTDOWN"]"#,
            "nonsense",
        ] {
            let found = event(&with_body("200", body));
            assert_eq!(found, Err(EventError::Malformed), "{body}");
        }
        assert_eq!(event(&with_body("403", "{}")), Err(EventError::Status(403)));
    }
}

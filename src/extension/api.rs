//! The calls of the Extensions and Telemetry APIs: requests as bytes, answers as decisions.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html>,
//! <https://docs.aws.amazon.com/lambda/latest/dg/telemetry-api.html>

use std::time::Duration;

use crate::extension::metric::Resource;
use crate::extension::telemetry::{self, Value};
use crate::shared::endpoint::Endpoint;
use crate::shared::http::{HeadWriter, Reader};
use crate::shared::text;
use crate::shared::time::{Deadline, EpochMs};

/// A request: its head and its body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) head: Vec<u8>,
    pub(super) body: Vec<u8>,
}

/// What the platform knows the extension by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Registered {
    /// Signs every later call.
    pub(super) identifier: String,
    pub(super) function_name: Option<String>,
    pub(super) function_version: Option<String>,
    pub(super) account_id: Option<String>,
}

impl Registered {
    /// What the platform says of the function counts more than what the environment says.
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
        deadline: Deadline,
        invoked_function_arn: Option<String>,
    },
    Shutdown {
        /// In lower case; unknown reasons are kept.
        reason: String,
        /// When the process is killed.
        deadline: Deadline,
    },
}

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
    .field("Content-Type", b"application/json")
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

/// The subscription to platform events with the smallest delay there is: nothing is delivered
/// while the environment is frozen, so what waits in a buffer waits for the next invocation.
pub(super) fn subscribe(api: &Endpoint, identifier: &str, schema: &str, port: u16) -> Request {
    let mut body = Vec::with_capacity(256);
    text::push(&mut body, r#"{"schemaVersion":""#);
    text::push(&mut body, schema);
    text::push(&mut body, r#"","types":["platform"],"buffering":"#);
    text::push(
        &mut body,
        r#"{"maxItems":1000,"maxBytes":262144,"timeoutMs":25},"#,
    );
    text::push(
        &mut body,
        r#""destination":{"protocol":"HTTP","URI":"http://sandbox.localdomain:"#,
    );
    text::push_decimal(&mut body, port.into());
    text::push(&mut body, r#""}}"#);
    let mut head = Vec::with_capacity(256);
    HeadWriter::request(&mut head, "PUT", &[&api.prefix, TELEMETRY], &api.authority)
        .field("Lambda-Extension-Identifier", identifier.as_bytes())
        .field("Content-Type", b"application/json")
        .end_with_length(body.len());
    Request { head, body }
}

/// Decides after `register`. Without an identifier nothing else can be done, and an exit would
/// fail the init phase, so everything but success is tried again.
pub(super) fn after_register(answer: &Reader, with_invoke: bool) -> AfterRegister {
    let (mut name, mut version, mut account, mut error) = (None, None, None, None);
    // Without a body that can be read, the identifier is enough.
    members(answer, &mut |key, value| match key {
        "functionName" => name = value.string(),
        "functionVersion" => version = value.string(),
        "accountId" => account = value.string(),
        "errorType" => error = value.string(),
        _ => {}
    });
    let identifier = answer.head().field("Lambda-Extension-Identifier");
    let identifier = identifier
        .and_then(|id| str::from_utf8(id).ok())
        .filter(|id| !id.is_empty());
    match (answer.status(), identifier) {
        (Some(200), Some(identifier)) => AfterRegister::Registered(Registered {
            identifier: identifier.to_owned(),
            function_name: name,
            function_version: version,
            account_id: account,
        }),
        (Some(400..=499), _)
            if with_invoke && error.as_deref() == Some("Extension.InvalidEventType") =>
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

/// Reads an event. `None` when the answer is none that is known: then it is asked for again.
pub(super) fn event(answer: &Reader) -> Option<Event> {
    if answer.status() != Some(200) {
        return None;
    }
    let (mut kind, mut request_id, mut arn, mut reason) = (None, None, None, None);
    let mut deadline_ms = None;
    members(answer, &mut |key, value| match key {
        "eventType" => kind = value.string(),
        "requestId" => request_id = value.string(),
        "invokedFunctionArn" => arn = value.string(),
        "shutdownReason" => reason = value.string(),
        "deadlineMs" => deadline_ms = value.number(),
        _ => {}
    });
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and 2^53"
    )]
    let deadline = Deadline(EpochMs(deadline_ms.unwrap_or_default() as u64));
    match kind?.as_str() {
        "INVOKE" => Some(Event::Invoke {
            request_id: request_id?,
            deadline,
            invoked_function_arn: arn,
        }),
        // Documented in upper case, sent in lower case.
        "SHUTDOWN" => {
            let mut reason = reason.unwrap_or_default();
            reason.make_ascii_lowercase();
            Some(Event::Shutdown { reason, deadline })
        }
        _ => None,
    }
}

/// Hands out the members of an answer's body, as far as it is JSON.
fn members<'a>(answer: &'a Reader, each: &mut dyn FnMut(&str, Value<'a>)) {
    if let Ok(body) = str::from_utf8(answer.body()) {
        telemetry::members(body, each).ok();
    }
}

/// The pause before the `failures`th call in a row is repeated: none at first, then 10 ms,
/// doubling, at most one second, for as long as it takes. An extension that gives up takes the
/// function down.
pub(super) const fn back_off(failures: u32) -> Duration {
    match failures {
        0 | 1 => Duration::ZERO,
        2..=8 => Duration::from_millis(10 << (failures - 2)),
        _ => Duration::from_secs(1),
    }
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
            body_bytes_max: 4_096,
        };
        let mut reader = Reader::new(Expect::Response, limits);
        let space = reader.space().unwrap();
        space[..bytes.len()].copy_from_slice(bytes.as_bytes());
        reader.filled(bytes.len()).unwrap();
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
        let http = subscribe(&api, "id-1", SCHEMAS[0], 4_243);
        let body: serde_json::Value = serde_json::from_slice(&http.body).unwrap();
        assert_eq!(body["schemaVersion"], "2025-01-29");
        assert_eq!(body["types"], serde_json::json!(["platform"]));
        assert_eq!(body["buffering"]["timeoutMs"], 25);
        assert_eq!(
            body["destination"]["URI"],
            "http://sandbox.localdomain:4243"
        );
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
                    deadline: Deadline(EpochMs(7)),
                    invoked_function_arn: Some("a".to_owned()),
                },
            ),
            (
                r#"{"eventType":"INVOKE","requestId":"r","new":[1]}"#,
                Event::Invoke {
                    request_id: "r".to_owned(),
                    deadline: Deadline(EpochMs(0)),
                    invoked_function_arn: None,
                },
            ),
            (
                r#"{"eventType":"SHUTDOWN","shutdownReason":"SPINDOWN","deadlineMs":9}"#,
                Event::Shutdown {
                    reason: "spindown".to_owned(),
                    deadline: Deadline(EpochMs(9)),
                },
            ),
            (
                r#"{"eventType":"SHUTDOWN","shutdownReason":"SandboxTerminated","deadlineMs":9}"#,
                Event::Shutdown {
                    reason: "sandboxterminated".to_owned(),
                    deadline: Deadline(EpochMs(9)),
                },
            ),
            (
                r#"{"eventType":"SHUTDOWN","shutdownReason":7,"deadlineMs":"9.5"}"#,
                Event::Shutdown {
                    reason: String::new(),
                    deadline: Deadline(EpochMs(9)),
                },
            ),
            (
                r#"{"eventType":"SHUTDOWN","deadlineMs":1e300}"#,
                Event::Shutdown {
                    reason: String::new(),
                    deadline: Deadline(EpochMs(0)),
                },
            ),
        ];
        for (body, expected) in table {
            assert_eq!(event(&with_body("200", body)), Some(expected), "{body}");
        }
        for body in [
            r#"{"eventType":"NAP"}"#,
            r#"{"eventType":"INVOKE"}"#,
            "nonsense",
        ] {
            assert_eq!(event(&with_body("200", body)), None, "{body}");
        }
        assert_eq!(event(&with_body("403", "{}")), None);
    }

    #[test]
    fn pauses_are_bounded() {
        assert_eq!(back_off(1), Duration::ZERO);
        assert_eq!(back_off(8), Duration::from_millis(640));
        assert_eq!(back_off(u32::MAX), Duration::from_secs(1));
    }
}

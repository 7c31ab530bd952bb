//! A handler process that lives as long as the environment, for programs that are costly to start.
//!
//! It reads and writes lines of JSON. The format is in `docs/executable-handlers.md`.

use std::fmt;
use std::time::{Duration, Instant};

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::child::{self, Child, Driven, Until, kill_at, now};
use super::error::{ExecutableError, Missing, ProtocolError, quoted};
use super::program::Program;
use crate::runtime::context::Context;
use crate::runtime::error::Error;
use crate::runtime::{log, trace};
use crate::shared::json::{self, Object};
use crate::shared::limits::{CHAIN_LENGTH_MAX, PAYLOAD_BYTES_MAX};
use crate::shared::log_record::Level;

/// A handler that is started in the init phase, and again after it was lost.
#[derive(Debug)]
pub(super) struct Persistent {
    program: Program,
    process: Option<Box<Child>>,
}

/// One line to the process.
#[derive(Serialize)]
struct Input<'a> {
    context: InputContext<'a>,
    event: &'a RawValue,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InputContext<'a> {
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    invoked_function_arn: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_context: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cognito_identity: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_id: Option<&'a str>,
}

/// One line from the process.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Output<'a> {
    #[serde(default)]
    ready: Option<bool>,
    /// `null` is a response too.
    #[serde(borrow, default, deserialize_with = "present")]
    response: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<Object<OutputError>>,
    #[serde(default)]
    request_id: Option<Text>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", expecting = "an object")]
struct OutputError {
    error_type: Text,
    error_message: Text,
    #[serde(default)]
    stack_trace: Option<Vec<Text>>,
}

/// A string, with U+FFFD for what is not Unicode: some programs cut text in the middle of a
/// character, and write half of a surrogate pair as the escape that JSON has for it.
struct Text(String);

/// What a line says.
#[derive(Debug)]
enum Said<'a> {
    Ready,
    Response(&'a RawValue),
    Error(Error),
}

impl Persistent {
    /// Starts the process and waits until it is ready. The init phase bounds the wait:
    /// <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html>.
    pub(super) fn start(program: Program) -> Result<Self, Error> {
        let process = program.start_persistent(None)?;
        Ok(Self {
            program,
            process: Some(process),
        })
    }

    /// Handles one event.
    pub(super) fn call(&mut self, event: &[u8], context: &Context<'_>) -> Result<Vec<u8>, Error> {
        let line = input_line(event, context)?;
        let end = kill_at(context.remaining(), now());
        child::collect_orphans(self.process.as_deref_mut());
        // It ended between events, or wrote a line then, which must not become the answer to this
        // event. Nothing of this event has reached it.
        let is_lost = |process: &mut Box<Child>| process.has_output() || process.is_over();
        if self.process.as_mut().is_some_and(is_lost) {
            self.process = None;
        }
        // A process that fails in any way is dropped here, and with that killed.
        let mut process = match self.process.take() {
            Some(process) => process,
            None => self.program.start_persistent(end)?,
        };
        let answer = answer(&mut process, &line, context.request_id(), end)?;
        self.process = Some(process);
        answer
    }
}

impl Program {
    fn start_persistent(&self, end: Option<Instant>) -> Result<Box<Child>, Error> {
        // The process outlives the invocation that it may be started in.
        let mut process = self
            .start(&[(trace::NAME, None)])
            .map_err(|error| error.report())?;
        let line = match end {
            Some(_) => process.line(&mut &b""[..], READY, end),
            None => first_line(&mut process),
        };
        let line = line.map_err(|error| self.explain(error).report())?;
        match parse(&line).map_err(broken)?.0 {
            Said::Ready => Ok(process),
            Said::Error(error) => Err(error),
            Said::Response(_) => Err(broken(ProtocolError::NotReady)),
        }
    }
}

/// Waits for the first line without a limit, and warns when that takes long: the platform ends the
/// init phase without a word about the reason.
fn first_line(process: &mut Child) -> Result<Vec<u8>, ExecutableError> {
    let warn_at = now() + START_WARNING;
    match process.line(&mut &b""[..], READY, Some(warn_at)) {
        Err(ExecutableError::TimedOut { missing, .. }) => {
            let seconds = START_WARNING.as_secs();
            let message = format!("the persistent handler is not ready after {seconds} s{missing}");
            log::line(Level::Warn, &message);
            process.line(&mut &b""[..], READY, None)
        }
        outcome => outcome,
    }
}

/// Sends a line and reads the answer to it. The outer error says that the process is of no more
/// use.
fn answer(
    process: &mut Child,
    line: &[u8],
    request_id: &str,
    end: Option<Instant>,
) -> Result<Result<Vec<u8>, Error>, Error> {
    let mut unsent = line;
    let line = process
        .line(&mut unsent, "an answer", end)
        .map_err(|error| error.report())?;
    let (said, answered) = parse(&line).map_err(broken)?;
    // The next event would be written behind the rest of this one, and every answer would be the
    // answer to the event before. A reader may leave the line end.
    if !unsent.is_empty() || process.unread_input() > 1 {
        return Err(broken(ProtocolError::EventUnread));
    }
    if let Some(id) = answered.filter(|id| id != request_id) {
        return Err(broken(ProtocolError::OtherRequest(id)));
    }
    let outcome = match said {
        Said::Response(response) => Ok(response.get().as_bytes().to_vec()),
        Said::Error(error) => Err(error),
        Said::Ready => return Err(broken(ProtocolError::ReadyAgain)),
    };
    if process.has_output() {
        return Err(broken(ProtocolError::MoreOutput));
    }
    Ok(outcome)
}

impl Child {
    /// Sends `input` and reads a line that is not blank, without its byte order mark. `expected` is
    /// what the line should be, for the error.
    fn line(
        &mut self,
        input: &mut &[u8],
        expected: &'static str,
        end: Option<Instant>,
    ) -> Result<Vec<u8>, ExecutableError> {
        let limit = PAYLOAD_BYTES_MAX + ENVELOPE_BYTES_MAX;
        loop {
            let driven = self.drive(input, Until::Line, end, limit);
            return Err(match driven.map_err(ExecutableError::Lost)? {
                Driven::Line => {
                    let mut line = self.take_line();
                    // Parsers may ignore it: <https://www.rfc-editor.org/rfc/rfc8259#section-8.1>.
                    if line.starts_with(BYTE_ORDER_MARK) {
                        line.drain(..BYTE_ORDER_MARK.len());
                    }
                    if line.trim_ascii().is_empty() {
                        continue;
                    }
                    return Ok(line);
                }
                Driven::Exited(status) => ExecutableError::Ended {
                    status,
                    stderr: self.errors_tail(),
                },
                Driven::TimedOut => ExecutableError::TimedOut {
                    missing: Missing::Line {
                        expected,
                        pending: self.pending_output(),
                    },
                    stderr: self.errors_tail(),
                },
                Driven::Closed => ExecutableError::Protocol(ProtocolError::OutputClosed),
                Driven::TooLarge => ExecutableError::TooLarge,
            });
        }
    }
}

fn input_line(event: &[u8], context: &Context<'_>) -> Result<Vec<u8>, Error> {
    let input = Input {
        context: InputContext {
            request_id: context.request_id(),
            deadline_ms: context.deadline_ms(),
            invoked_function_arn: context.invoked_function_arn(),
            trace_id: context.trace_id(),
            client_context: context.client_context(),
            cognito_identity: context.cognito_identity(),
            tenant_id: context.tenant_id(),
        },
        event: crate::runtime::macros::private::parse(event)?,
    };
    let mut line = serde_json::to_vec(&input)?;
    // Between the tokens of JSON a line end is white space, and inside a string it cannot stand.
    // <https://www.rfc-editor.org/rfc/rfc8259#section-2>
    for byte in line.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')) {
        *byte = b' ';
    }
    line.push(b'\n');
    Ok(line)
}

/// What a line says, and the request it answers if it names one.
fn parse(line: &[u8]) -> Result<(Said<'_>, Option<String>), ProtocolError> {
    let quoted = || quoted(line);
    if !line.trim_ascii_start().starts_with(b"{") {
        return Err(ProtocolError::NotAnObject { line: quoted() });
    }
    let Object(output): Object<Output<'_>> = serde_json::from_slice(line).map_err(|error| {
        let path = json::path_at(line, error.line(), error.column());
        let colon = if path.is_empty() { "" } else { ": " };
        let cause = format!("{path}{colon}{error}");
        let line = quoted();
        ProtocolError::Malformed { cause, line }
    })?;
    // Some programs write all members always, and null for those that they do not mean.
    let response = output.response.filter(|response| {
        let is_null = response.get() == "null";
        !is_null || output.error.is_none() && output.ready != Some(true)
    });
    let said = match (output.ready == Some(true), response, output.error) {
        (true, None, None) => Said::Ready,
        (false, Some(response), None) => Said::Response(response),
        (false, None, Some(Object(error))) => Said::Error(error.into()),
        _ => return Err(ProtocolError::OtherMembers { line: quoted() }),
    };
    Ok((said, output.request_id.map(|Text(id)| id)))
}

impl From<OutputError> for Error {
    fn from(error: OutputError) -> Self {
        let Text(message) = error.error_message;
        let lines = error.stack_trace.unwrap_or_default().into_iter();
        let lines = lines.map(|Text(line)| line).take(CHAIN_LENGTH_MAX);
        Self::new(error.error_type.0, message).with_stack_trace(lines)
    }
}

fn broken(error: ProtocolError) -> Error {
    ExecutableError::Protocol(error).report()
}

/// Reads a member that is there, `null` included.
fn present<'a, D: Deserializer<'a>>(value: D) -> Result<Option<&'a RawValue>, D::Error> {
    Deserialize::deserialize(value).map(Some)
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        // As bytes, serde_json takes what is not Unicode: half a surrogate pair becomes three bytes
        // that no character has. <https://docs.rs/serde_json/latest/serde_json/fn.from_slice.html>
        value.deserialize_bytes(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Text, E> {
        let mut bytes = bytes.to_vec();
        for at in 0..bytes.len() {
            if let Some(half @ [0xED, 0xA0..=0xBF, _]) = bytes.get_mut(at..at + 3) {
                half.copy_from_slice("\u{FFFD}".as_bytes());
            }
        }
        Ok(Text(String::from_utf8_lossy(&bytes).into_owned()))
    }
}

/// What a process has to write first, for an error.
const READY: &str = r#"{"ready":true}"#;

/// U+FEFF, which some programs write at the start of each stream.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Bytes of a line beside the response in it.
const ENVELOPE_BYTES_MAX: usize = 1_024;

/// When to warn that a process is not ready: before the init phase ends, at 10 s.
const START_WARNING: Duration = Duration::from_secs(8);

#[cfg(test)]
mod tests {
    use super::*;

    /// What a line says, in short.
    fn said(line: &str) -> String {
        match parse(line.as_bytes()) {
            Ok((Said::Ready, _)) => "ready".to_owned(),
            Ok((Said::Response(response), id)) => {
                format!("{} {}", response.get(), id.unwrap_or_default())
            }
            Ok((Said::Error(error), _)) => format!("{error:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_line_says_one_thing() {
        let table = [
            (r#"{"ready":true}"#, "ready"),
            (r#" {"ready":true,"version":7} "#, "ready"),
            ("{\"ready\":true}\r", "ready"),
            (
                r#"{"response":{"a":[1]},"requestId":"r"}"#,
                r#"{"a":[1]} r"#,
            ),
            (r#"{"response":null}"#, "null "),
            (r#"{"ready":null,"response":1,"error":null}"#, "1 "),
            (r#"{"response":"\ud83d"}"#, r#""\ud83d" "#),
            (
                r#"{"response":null,"error":{"errorType":"T","errorMessage":"m"}}"#,
                r#"Error { error_type: "T", message: "m", sources: [], stack_trace: [] }"#,
            ),
            (
                r#"{"error":{"errorType":"T","errorMessage":"m","stackTrace":["a"]}}"#,
                r#"Error { error_type: "T", message: "m", sources: [], stack_trace: ["a"] }"#,
            ),
        ];
        for (line, expected) in table {
            assert_eq!(said(line), expected, "{line}");
        }
    }

    #[test]
    fn text_that_is_not_unicode_is_kept_as_far_as_it_goes() {
        let table: [(&[u8], &str); 5] = [
            (br"cut \ud83d", "cut \u{FFFD}"),
            (br"\udc00\ud83d\ude00", "\u{FFFD}\u{1F600}"),
            (b"cut \xF0\x9F", "cut \u{FFFD}"),
            ("\u{D7FF}\u{E000}".as_bytes(), "\u{D7FF}\u{E000}"),
            (br#"\"\n\u0041"#, "\"\nA"),
        ];
        for (text, expected) in table {
            let start: &[u8] = br#"{"error":{"errorType":"T","errorMessage":""#;
            let line = [start, text, br#""}}"#].concat();
            let Ok((Said::Error(error), None)) = parse(&line) else {
                panic!("{}", said(&String::from_utf8_lossy(&line)));
            };
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn a_line_that_is_no_answer_is_quoted_with_its_fault() {
        let missing = "none of {\"ready\":true}, {\"response\":…}, {\"error\":…}";
        let table = [
            (
                "Loading model v3 ...",
                "not a JSON object: \"Loading model v3 ...\"",
            ),
            ("[1]", "not a JSON object: \"[1]\""),
            ("{}", missing),
            (r#"{"ready":false}"#, missing),
            (r#"{"ready":true,"response":1}"#, missing),
            (
                r#"{"response":1,"error":{"errorType":"T","errorMessage":"m"}}"#,
                missing,
            ),
            (r#"{"response":1"#, "EOF while parsing an object"),
            (r#"{"response":1}}"#, "trailing characters"),
            (
                r#"{"ready":1}"#,
                "ready: invalid type: integer `1`, expected a boolean",
            ),
            (
                r#"{"response":1,"response":2}"#,
                "duplicate field `response`",
            ),
            (
                r#"{"response":1,"requestId":1}"#,
                "requestId: invalid type: integer `1`, expected a string",
            ),
            (
                r#"{"error":7}"#,
                "error: invalid type: integer `7`, expected an object",
            ),
            (
                r#"{"error":{"errorType":"a","errorType":"b"}}"#,
                "error: duplicate field `errorType`",
            ),
            (
                r#"{"error":{"errorType":"a"}}"#,
                "error: missing field `errorMessage`",
            ),
            (
                r#"{"error":{"errorType":1.5,"errorMessage":"m"}}"#,
                "error.errorType: invalid type: floating point `1.5`, expected a string",
            ),
            (
                r#"{"error":{"errorType":"T","errorMessage":"m","stackTrace":["a",1]}}"#,
                "error.stackTrace[1]: invalid type: integer `1`, expected a string",
            ),
        ];
        for (line, expected) in table {
            let found = said(line);
            assert!(found.contains(expected), "{line}: {found}");
        }
    }
}

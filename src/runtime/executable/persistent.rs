//! A handler process that lives as long as the environment, for programs that are costly to start.
//!
//! One line of JSON in, one line of JSON out; the format is in `docs/executable-handlers.md`.

use std::borrow::Cow;
use std::ffi::{CStr, CString};
use std::fmt;

use serde_json::value::RawValue;

use super::child::{Driven, Process, Until};
use super::{kill_at, lost, not_started, timed_out, too_large};
use crate::runtime::context::{Context, MEMBERS};
use crate::runtime::error::Error;
use crate::shared::json;
use crate::shared::limits::{CHAIN_LENGTH_MAX, PAYLOAD_BYTES_MAX};
use crate::shared::os::Instant;
use crate::shared::text::{push, push_decimal};

/// A handler that is started in the init phase, and again after it was lost.
#[derive(Debug)]
pub(super) struct Persistent {
    path: CString,
    process: Option<Box<Process>>,
}

/// What a line from the process says.
enum Said<'a> {
    Ready,
    Response(&'a RawValue),
    Error(Error),
}

impl Persistent {
    /// Starts the process and waits until it says that it is ready. The init phase bounds the
    /// wait: <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html>.
    pub(super) fn start(path: CString) -> Result<Self, Error> {
        let process = start(&path, None)?;
        Ok(Self {
            path,
            process: Some(process),
        })
    }

    /// Handles one event.
    pub(super) fn call(&mut self, event: &[u8], context: &Context<'_>) -> Result<Vec<u8>, Error> {
        let line = input_line(event, context)?;
        let end = kill_at(context);
        // It exited between invocations, or wrote a line that nobody asked for, which must not
        // become the answer to this event. Nothing of this event has reached it.
        let is_lost = |process: &mut Box<Process>| process.has_output() || process.is_over();
        if self.process.as_mut().is_some_and(is_lost) {
            self.process = None;
        }
        // Taken out, so that a process which fails in any way is dropped, and with that killed.
        let mut process = match self.process.take() {
            Some(process) => process,
            None => start(&self.path, end)?,
        };
        let line = read_line(&mut process, &line, end)?;
        let (said, request_id) = parse(&line)?;
        if request_id.is_some_and(|id| id != context.request_id()) {
            return Err(out_of_step("it answered another request"));
        }
        let outcome = match said {
            Said::Response(response) => Ok(response.get().as_bytes().to_vec()),
            Said::Error(failure) => Err(failure),
            Said::Ready => return Err(out_of_step("it said ready instead of answering")),
        };
        if process.has_output() {
            return Err(out_of_step("it wrote more than one line"));
        }
        self.process = Some(process);
        outcome
    }
}

fn start(path: &CStr, end: Option<Instant>) -> Result<Box<Process>, Error> {
    let started = Process::spawn(path, Vec::new());
    let mut process = started.map_err(|error| not_started(path, error))?;
    let line = read_line(&mut process, b"", end)?;
    match parse(&line)?.0 {
        Said::Ready => Ok(process),
        Said::Error(failure) => Err(failure),
        Said::Response(_) => Err(out_of_step("it answered before it said ready")),
    }
}

fn input_line(event: &[u8], context: &Context<'_>) -> Result<Vec<u8>, Error> {
    let event = crate::runtime::handler::private::parse::<&RawValue>(event)?;
    let mut line = Vec::with_capacity(event.get().len() + 1_024);
    push(&mut line, "{\"context\":{\"deadlineMs\":");
    match context.deadline_ms() {
        Some(deadline) => push_decimal(&mut line, deadline),
        None => push(&mut line, "null"),
    }
    for (name, value) in context.values(&MEMBERS) {
        json::write_member(name, value, &mut line);
    }
    push(&mut line, "},\"event\":");
    push(&mut line, event.get());
    push(&mut line, "}");
    // Between the tokens of JSON a line end is white space, and inside a string it cannot stand.
    // <https://www.rfc-editor.org/rfc/rfc8259#section-2>
    for byte in line.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')) {
        *byte = b' ';
    }
    line.push(b'\n');
    Ok(line)
}

fn read_line(process: &mut Process, input: &[u8], end: Option<Instant>) -> Result<Vec<u8>, Error> {
    let limit = PAYLOAD_BYTES_MAX + ENVELOPE_BYTES_MAX;
    match process
        .drive(input, Until::Line, end, limit)
        .map_err(lost)?
    {
        Driven::Line => Ok(process.take_line()),
        Driven::Exited(status) => Err(process.failure(status)),
        Driven::TimedOut => Err(timed_out(process)),
        Driven::TooLarge => Err(too_large()),
    }
}

/// What the line says, and to which request if it names one.
fn parse(line: &[u8]) -> Result<(Said<'_>, Option<String>), Error> {
    let names = ["ready", "response", "error", "requestId"];
    let [ready, response, error, request_id] = members("", line, names)?;
    let said = match (ready.map(RawValue::get), response, error) {
        (Some("true"), None, None) => Said::Ready,
        (None, Some(response), None) => Said::Response(response),
        (None, None, Some(error)) => Said::Error(parse_error(error)?),
        _ => {
            let forms = r#"{"ready":true}, {"response":…}, {"error":…}"#;
            return Err(out_of_step(&["its line is none of ", forms].concat()));
        }
    };
    let request_id = request_id.map(|id| parse_text("requestId: ", id));
    Ok((said, request_id.transpose()?))
}

fn parse_error(value: &RawValue) -> Result<Error, Error> {
    let names = ["errorType", "errorMessage", "stackTrace"];
    let [error_type, message, stack_trace] = members("error: ", value.get().as_bytes(), names)?;
    let (Some(error_type), Some(message)) = (error_type, message) else {
        return Err(malformed("", &"an error without errorType or errorMessage"));
    };
    let error_type = parse_text("errorType: ", error_type)?;
    let mut error = Error::of_text(&error_type, parse_text("errorMessage: ", message)?);
    if let Some(lines) = stack_trace {
        let stack_trace = &mut error.0.stack_trace;
        let mut outcome = Ok(());
        let member = "stackTrace: ";
        let read = json::elements(
            lines.get().as_bytes(),
            &mut |line| match parse_text(member, line) {
                Ok(line) => stack_trace.push(line),
                Err(error) => outcome = Err(error),
            },
        );
        let read = read.map_err(|error| malformed(member, &error));
        read.and(outcome)?;
        stack_trace.truncate(CHAIN_LENGTH_MAX);
    }
    Ok(error)
}

/// The members of an object that have these names. One that is null is as good as none. `place` is
/// where the object stands in the line, as it goes in front of what is wrong there.
fn members<'a, const N: usize>(
    place: &str,
    object: &'a [u8],
    names: [&str; N],
) -> Result<[Option<&'a RawValue>; N], Error> {
    let mut values = [None; N];
    find_members(place, object, &names, &mut values)?;
    Ok(values)
}

fn find_members<'a>(
    place: &str,
    object: &'a [u8],
    names: &[&str],
    values: &mut [Option<&'a RawValue>],
) -> Result<(), Error> {
    let mut is_twice = false;
    let read = json::members(object, &mut |name, value| {
        for (known, place) in names.iter().zip(values.iter_mut()) {
            if *known == name && value.get() != "null" {
                is_twice |= place.replace(value).is_some();
            }
        }
    });
    match read {
        Err(error) => Err(malformed(place, &error)),
        Ok(()) if is_twice => Err(malformed(place, &"a member stands twice")),
        Ok(()) => Ok(()),
    }
}

#[inline(never)]
fn parse_text(place: &str, value: &RawValue) -> Result<String, Error> {
    let text = json::text(value.get().as_bytes());
    let text = text.map(Cow::into_owned);
    text.map_err(|error| malformed(place, &error))
}

fn malformed(place: &str, error: &dyn fmt::Display) -> Error {
    out_of_step(&format!("its line is not JSON of the form: {place}{error}"))
}

fn out_of_step(what: &str) -> Error {
    Error::of_text(
        "Function.ProtocolError",
        format!("the persistent handler broke the protocol: {what}"),
    )
}

/// Bytes of a line beside the response in it.
const ENVELOPE_BYTES_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_malformed_is_told_with_the_place() {
        let no_text = "invalid type: number, expected a string";
        let table = [
            ("[1]", "invalid type: array, expected an object".to_owned()),
            (
                r#"{"response":1,"requestId":1}"#,
                ["requestId: ", no_text].concat(),
            ),
            (
                r#"{"error":7}"#,
                "error: invalid type: number, expected an object".to_owned(),
            ),
            (
                r#"{"error":{"errorType":"a","errorType":"b"}}"#,
                "error: a member stands twice".to_owned(),
            ),
            (
                r#"{"error":{"errorType":1.5,"errorMessage":"m"}}"#,
                ["errorType: ", no_text].concat(),
            ),
            (
                r#"{"error":{"errorType":"T","errorMessage":1}}"#,
                ["errorMessage: ", no_text].concat(),
            ),
            (
                r#"{"error":{"errorType":"T","errorMessage":"m","stackTrace":1}}"#,
                "stackTrace: invalid type: number, expected an array".to_owned(),
            ),
            (
                r#"{"error":{"errorType":"T","errorMessage":"m","stackTrace":["a",1]}}"#,
                ["stackTrace: ", no_text].concat(),
            ),
        ];
        for (line, told) in table {
            let error = parse(line.as_bytes()).map(|_| ()).unwrap_err().to_string();
            assert!(
                error.ends_with(&[" of the form: ", &told].concat()),
                "{error}"
            );
        }
    }
}

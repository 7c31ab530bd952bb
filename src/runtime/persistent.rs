//! A handler process that lives as long as the environment, for programs that are costly to start.
//!
//! One line of JSON in, one line of JSON out; the format is in `docs/executable-handlers.md`.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::context::Context;
use super::error::Error;
use super::executable::{kill_at, lost, not_started, timed_out, too_large};
use super::process::{Driven, Process, Until};
use crate::shared::limits::PAYLOAD_BYTES_MAX;

/// A handler that is started in the init phase, and again after it was lost.
#[derive(Debug)]
pub(super) struct Persistent {
    path: PathBuf,
    process: Option<Process>,
}

/// A line to the process.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Input<'a> {
    context: InputContext<'a>,
    event: &'a RawValue,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InputContext<'a> {
    request_id: &'a str,
    deadline_ms: u64,
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

/// A line from the process: exactly one of the first three.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Output<'a> {
    ready: Option<bool>,
    #[serde(borrow)]
    response: Option<&'a RawValue>,
    error: Option<OutputError>,
    #[serde(borrow)]
    request_id: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OutputError {
    error_type: String,
    error_message: String,
    #[serde(default)]
    stack_trace: Vec<String>,
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
    pub(super) fn start(path: PathBuf) -> Result<Self, Error> {
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
        // Taken out, so that a process which fails in any way is dropped, and with that killed.
        let waiting = self
            .process
            .take()
            .map(|mut process| (process.has_output(), process));
        let mut process = match waiting {
            Some((false, process)) if !process.is_over() => process,
            // It exited between invocations, or wrote a line that nobody asked for, which must not
            // become the answer to this event. Nothing of this event has reached it.
            Some(_) | None => start(&self.path, end)?,
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

fn start(path: &Path, end: Option<Instant>) -> Result<Process, Error> {
    let started = Process::spawn(path, &[]);
    let mut process = started.map_err(|error| not_started(path, &error))?;
    let line = read_line(&mut process, b"", end)?;
    match parse(&line)?.0 {
        Said::Ready => Ok(process),
        Said::Error(failure) => Err(failure),
        Said::Response(_) => Err(out_of_step("it answered before it said ready")),
    }
}

fn input_line(event: &[u8], context: &Context<'_>) -> Result<Vec<u8>, Error> {
    let event = super::handler::private::parse::<&RawValue>(event)?;
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
        event,
    };
    let mut line = serde_json::to_vec(&input)
        .map_err(|error| Error::of_text("Runtime.MarshalError", error.to_string()))?;
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
        .map_err(|error| lost(&error))?
    {
        Driven::Line => Ok(process.take_line()),
        Driven::Exited(status) => Err(process.failure(status)),
        Driven::TimedOut => Err(timed_out(process)),
        Driven::TooLarge => Err(too_large()),
    }
}

/// What the line says, and to which request if it names one.
fn parse(line: &[u8]) -> Result<(Said<'_>, Option<Cow<'_, str>>), Error> {
    let output: Output<'_> = serde_json::from_slice(line)
        .map_err(|error| out_of_step(&format!("its line is not JSON of the form: {error}")))?;
    let said = match (output.ready, output.response, output.error) {
        (Some(true), None, None) => Said::Ready,
        (None, Some(response), None) => Said::Response(response),
        (None, None, Some(error)) => {
            let chosen = Error::new(&error.error_type, &error.error_message)
                .with_stack_trace(error.stack_trace);
            Said::Error(chosen)
        }
        _ => {
            let forms = r#"{"ready":true}, {"response":…}, {"error":…}"#;
            return Err(out_of_step(&format!("its line is none of {forms}")));
        }
    };
    Ok((said, output.request_id))
}

fn out_of_step(what: &str) -> Error {
    Error::of_text(
        "Function.ProtocolError",
        format!("the persistent handler broke the protocol: {what}"),
    )
}

/// Bytes of a line beside the response in it.
const ENVELOPE_BYTES_MAX: usize = 1_024;

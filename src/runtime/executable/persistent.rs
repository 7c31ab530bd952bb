//! A handler process that lives as long as the environment, for programs that are costly to start.
//!
//! It reads and writes lines of JSON. The format is in `docs/executable-handlers.md`.

use std::time::{Duration, Instant};

use super::child::{self, Child, Stopped, Until, Waited, end_of_grace, now};
use super::error::{ExecutableError, Missing, ProtocolError};
use super::output::Output;
use super::program::{Program, availability_zone};
use super::protocol::{Said, input_line, parse};
use crate::runtime::context::Context;
use crate::runtime::error::Error;
use crate::runtime::hooks::before_end;
use crate::runtime::response::{Answer, Answered};
use crate::runtime::{current, log, trace};
use crate::shared::endpoint::Endpoint;
use crate::shared::limits::PAYLOAD_BYTES_MAX;
use crate::shared::log_record::Level;

/// A handler that is started in the init phase, and again after it was lost.
#[derive(Debug)]
pub(super) struct Persistent {
    program: Program,
    process: Option<Box<Child>>,
    /// The process gets SIGTERM before the environment ends.
    ends_gently: bool,
}

impl Persistent {
    /// Starts the process and waits until it is ready. The init phase bounds the wait:
    /// <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html>.
    pub(super) fn start(program: Program, api: &Endpoint) -> Result<Self, Error> {
        if current::is_again() {
            child::end_forgotten();
        }
        let (process, ends_gently) = program.start_persistent(None)?;
        if ends_gently {
            before_end(api, Box::new(child::end_gently))?;
            process.ends_gently();
        }
        Ok(Self {
            program,
            process: Some(process),
            ends_gently,
        })
    }

    /// Handles one event.
    pub(super) fn handle(
        &mut self,
        event: &[u8],
        context: &Context<'_>,
        answer: Answer<'_>,
    ) -> Answered {
        let line = match input_line(event, context, availability_zone().as_deref()) {
            Ok(line) => line,
            Err(error) => return answer.error(error),
        };
        let end = context.end();
        child::collect_orphans(self.process.as_deref_mut());
        // It ended between events, or wrote a line then, which must not become the answer to this
        // event. Nothing of this event has reached it.
        let is_lost = |process: &mut Box<Child>| process.has_output() || process.is_over();
        if let Some(mut lost) = self.process.take_if(is_lost) {
            let error = if lost.is_over() {
                match lost.wait(None, Some(end_of_grace(end))) {
                    Ok(Waited::Exited(status)) => {
                        lost.error(Stopped::Exited(status), Missing::Exit)
                    }
                    Ok(_) | Err(_) => ExecutableError::Protocol(ProtocolError::OutputClosed),
                }
            } else {
                ExecutableError::Protocol(ProtocolError::MoreOutput)
            };
            log::line(Level::Warn, &error.to_string());
        }
        let process = match self.process.take() {
            Some(process) => Ok(process),
            None => self.start_again(end),
        };
        let mut process = match process {
            Ok(process) => process,
            Err(error) => return answer.error(error),
        };
        let mut exchange = Exchange {
            unsent: &line,
            request_id: context.request_id(),
            end,
        };
        let (answered, is_usable) = exchange.run(&mut process, Output::new(answer));
        // A process that fails in any way is dropped, and with that killed.
        if is_usable {
            process.end_event();
            self.process = Some(process);
        }
        answered
    }

    /// Starts a process in place of one that was lost.
    fn start_again(&self, end: Option<Instant>) -> Result<Box<Child>, Error> {
        let (process, _) = self.program.start_persistent(end)?;
        if self.ends_gently {
            process.ends_gently();
        }
        Ok(process)
    }
}

impl Program {
    /// Starts the process and waits until it is ready. True if it asks for SIGTERM.
    fn start_persistent(&self, end: Option<Instant>) -> Result<(Box<Child>, bool), Error> {
        // The process outlives the invocation that it may be started in.
        let mut process = self
            .start(&[(trace::NAME, None)])
            .map_err(|error| error.report())?;
        let line = match end {
            Some(_) => process.line(&mut &b""[..], READY, end),
            None => first_line(&mut process),
        };
        let mut line = line.map_err(|error| self.explain(error).report())?;
        match parse(&mut line).map_err(broken)?.0 {
            Said::Ready { sigterm } => Ok((process, sigterm)),
            Said::Error(error) => Err(error),
            Said::Response(_) | Said::Prelude(_) | Said::Chunk(_) | Said::End => {
                Err(broken(ProtocolError::NotReady))
            }
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

/// An event, and the lines that answer it.
struct Exchange<'a> {
    /// What of the event has not been written.
    unsent: &'a [u8],
    request_id: &'a str,
    end: Option<Instant>,
}

impl Exchange<'_> {
    /// Sends the event to the process, and its answer to the platform. True if the process can
    /// take another event.
    fn run(&mut self, process: &mut Child, mut output: Output<'_>) -> (Answered, bool) {
        loop {
            let mut line = match process.line(&mut self.unsent, "an answer", self.end) {
                Ok(line) => line,
                Err(error) => return (output.error(error.report()), false),
            };
            let sent = match (self.said(process, &mut line), output) {
                (Err(error), output) => return (output.error(broken(error)), false),
                (Ok(Said::Response(response)), Output::Held(answer, _)) => {
                    return (answer.json_text(response.get().as_bytes()), true);
                }
                (Ok(Said::Error(error)), output) => return (output.error(error), true),
                (Ok(Said::End), output) => return (output.finish(), true),
                (Ok(Said::Prelude(prelude)), Output::Held(answer, _)) => {
                    Output::begin_http(answer, prelude.get().as_bytes(), b"")
                }
                (Ok(Said::Chunk(chunk)), Output::Held(answer, _)) => Output::begin(answer, &chunk),
                (Ok(Said::Chunk(chunk)), output) => output.send(&chunk),
                (Ok(Said::Ready { .. }), output) => {
                    return (output.error(broken(ProtocolError::ReadyAgain)), false);
                }
                (Ok(Said::Response(_) | Said::Prelude(_)), output @ Output::Begun(_)) => {
                    return (output.error(broken(ProtocolError::InStream)), false);
                }
            };
            output = match sent {
                Ok(output) => output,
                Err(answered) => return (answered, false),
            };
        }
    }

    /// What a line says, if it may be said now.
    fn said<'l>(
        &self,
        process: &mut Child,
        line: &'l mut Vec<u8>,
    ) -> Result<Said<'l>, ProtocolError> {
        let (said, answered) = parse(line)?;
        if let Some(id) = answered.filter(|id| id != self.request_id) {
            return Err(ProtocolError::OtherRequest(id));
        }
        if matches!(said, Said::Response(_) | Said::Error(_) | Said::End) {
            // The next event would be written behind the rest of this one, and every answer would
            // be the answer to the event before. A reader may leave the line end.
            if !self.unsent.is_empty() || process.unread_input() > 1 {
                return Err(ProtocolError::EventUnread);
            }
            if process.has_output() {
                return Err(ProtocolError::MoreOutput);
            }
        }
        Ok(said)
    }
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
            // A process that always has another line is not waited for.
            let driven = if end.is_some_and(|end| end <= now()) {
                Err(Stopped::TimedOut)
            } else {
                self.drive(input, Until::Line, end, limit)
            };
            match driven {
                Ok(()) => {}
                Err(Stopped::TimedOut) if self.is_output_closed() => {
                    return Err(ExecutableError::Protocol(ProtocolError::OutputClosed));
                }
                Err(stopped) => {
                    let pending = self.pending_output();
                    return Err(self.error(stopped, Missing::Line { expected, pending }));
                }
            }
            let mut line = self.take_line();
            // Parsers may ignore it: <https://www.rfc-editor.org/rfc/rfc8259#section-8.1>.
            if line.starts_with(BYTE_ORDER_MARK) {
                line.drain(..BYTE_ORDER_MARK.len());
            }
            if !line.trim_ascii().is_empty() {
                return Ok(line);
            }
        }
    }
}

fn broken(error: ProtocolError) -> Error {
    ExecutableError::Protocol(error).report()
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
    use super::super::spawn::Command;
    use super::*;

    #[test]
    fn a_process_that_writes_lines_without_end_has_until_the_deadline() {
        // The second writes blank lines, none of which is an answer.
        for argument in ["line", ""] {
            let mut command = Command {
                path: c"/usr/bin/yes".to_owned(),
                ..Command::default()
            };
            command.arguments.push(&[argument.as_bytes()]);
            let mut child = Child::start(&command, &[]).unwrap();
            let soon = now() + Duration::from_millis(50);
            let outcome = loop {
                let outcome = child.line(&mut &b""[..], "a line", Some(soon));
                if outcome.is_err() {
                    break outcome;
                }
            };
            let timed_out = matches!(outcome, Err(ExecutableError::TimedOut { .. }));
            assert!(timed_out, "{outcome:?}");
        }
    }
}

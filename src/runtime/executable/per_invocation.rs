//! A process for each event.

use std::time::Instant;

use super::child::{self, Child, Stopped, Until};
use super::error::{ExecutableError, Missing, quoted};
use super::output::Output;
use super::program::Program;
use crate::runtime::context::Context;
use crate::runtime::response::{Answer, Answered};
use crate::runtime::{current, log, trace};
use crate::shared::json;
use crate::shared::limits::{PAYLOAD_BYTES_MAX, STREAM_BUFFER_BYTES};
use crate::shared::log_record::Level;

/// A program that is started for each event.
#[derive(Debug)]
pub(super) struct PerInvocation {
    program: Program,
    /// Whether the response is the output as it comes, and not all of it when the process has
    /// exited.
    is_streamed: bool,
    /// A response that is not JSON has been noticed.
    warned: bool,
}

impl PerInvocation {
    pub(super) const fn new(program: Program, is_streamed: bool) -> Self {
        Self {
            program,
            is_streamed,
            warned: false,
        }
    }

    /// Runs one process for one event.
    pub(super) fn handle(
        &mut self,
        event: &[u8],
        context: &Context<'_>,
        answer: Answer<'_>,
    ) -> Answered {
        let deadline = context.deadline_ms().map(|ms| ms.to_string());
        let started = self.program.start(&variables(context, deadline.as_deref()));
        let mut child = match started {
            Ok(child) => child,
            Err(error) => return answer.error(error.report()),
        };
        let end = context.end();
        let answered = if self.is_streamed {
            self.stream(&mut child, event, end, answer)
        } else {
            match self.output(&mut child, event, end) {
                Ok(output) => answer.json_text(&output),
                Err(error) => answer.error(error.report()),
            }
        };
        // Behind the answer, which has to go out before the deadline.
        child.end();
        child::collect_orphans(None);
        answered
    }

    /// The whole output of the process.
    fn output(
        &mut self,
        child: &mut Child,
        event: &[u8],
        end: Option<Instant>,
    ) -> Result<Vec<u8>, ExecutableError> {
        let stopped = child.run(event, end, PAYLOAD_BYTES_MAX);
        self.end(child, stopped)?;
        let output = child.take_output();
        self.look_at(&output);
        Ok(output)
    }

    /// Hands the output of the process on as it comes.
    fn stream(
        &self,
        child: &mut Child,
        mut event: &[u8],
        end: Option<Instant>,
        answer: Answer<'_>,
    ) -> Answered {
        let mut output = Output::new(answer);
        loop {
            let driven = child.drive(&mut event, Until::Output, end, STREAM_BUFFER_BYTES);
            if let Err(stopped) = driven {
                return match self.end(child, stopped) {
                    Ok(()) => output.finish(),
                    Err(error) => output.error(error.report()),
                };
            }
            output = match output.send(child.output()) {
                Ok(output) => output,
                Err(answered) => return answered,
            };
            child.clear_output();
        }
    }

    /// Kills the process and what it has left behind. Gives the error that its end is.
    fn end(&self, child: &mut Child, stopped: Stopped) -> Result<(), ExecutableError> {
        let outcome = if stopped.is_success() {
            Ok(())
        } else {
            Err(self.program.explain(child.error(stopped, Missing::Exit)))
        };
        child.kill();
        outcome
    }

    /// Warns once if the output is not JSON. It is the response in any case, but most often a line
    /// for the log is the reason.
    fn look_at(&mut self, output: &[u8]) {
        if self.warned || output.is_empty() || json::is_json(output) {
            return;
        }
        self.warned = true;
        let message = format!(
            "the response is not JSON: {:?} (standard output is the response; what goes to the log \
             belongs on standard error)",
            quoted(output)
        );
        log::line(Level::Warn, &message);
    }
}

/// The variables that a process gets for its event. One for which this invocation has no value is
/// removed, since the runtime itself may have been given it.
fn variables<'a>(
    context: &Context<'a>,
    deadline: Option<&'a str>,
) -> [(&'static str, Option<&'a str>); 8] {
    [
        ("LAMBDA_RUNTIME_AWS_REQUEST_ID", Some(context.request_id())),
        ("LAMBDA_RUNTIME_DEADLINE_MS", deadline),
        (
            "LAMBDA_RUNTIME_INVOKED_FUNCTION_ARN",
            context.invoked_function_arn(),
        ),
        ("LAMBDA_RUNTIME_CLIENT_CONTEXT", context.client_context()),
        (
            "LAMBDA_RUNTIME_COGNITO_IDENTITY",
            context.cognito_identity(),
        ),
        ("LAMBDA_RUNTIME_AWS_TENANT_ID", context.tenant_id()),
        ("LAMBDA_RUNTIME_TRACE_ID", context.trace_id()),
        (
            trace::NAME,
            context.trace_id().filter(|_| current::has_trace_variable()),
        ),
    ]
}

//! A process for each event.

use serde::de::IgnoredAny;

use super::child::{self, Driven, Until, kill_at, now};
use super::error::{ExecutableError, Missing, quoted};
use super::program::Program;
use crate::runtime::context::Context;
use crate::runtime::{current, log, trace};
use crate::shared::limits::PAYLOAD_BYTES_MAX;
use crate::shared::log_record::Level;

/// A program that is started for each event.
#[derive(Debug)]
pub(super) struct PerInvocation {
    program: Program,
    /// A response that is not JSON has been noticed.
    warned: bool,
}

impl PerInvocation {
    pub(super) const fn new(program: Program) -> Self {
        Self {
            program,
            warned: false,
        }
    }

    /// Runs one process for one event.
    pub(super) fn run(
        &mut self,
        event: &[u8],
        context: &Context<'_>,
    ) -> Result<Vec<u8>, ExecutableError> {
        let deadline = context.deadline_ms().map(|ms| ms.to_string());
        let mut child = self
            .program
            .start(&variables(context, deadline.as_deref()))?;
        let end = kill_at(context.remaining(), now());
        let driven = child.drive(&mut &*event, Until::Exit, end, PAYLOAD_BYTES_MAX);
        let outcome = match driven.map_err(ExecutableError::Lost)? {
            Driven::Exited(status) if status.success() => Ok(child.take_output()),
            Driven::Exited(status) => Err(self.program.explain(ExecutableError::Ended {
                status,
                stderr: child.errors_tail(),
            })),
            Driven::TimedOut => Err(ExecutableError::TimedOut {
                missing: Missing::Exit,
                stderr: child.errors_tail(),
            }),
            Driven::TooLarge | Driven::Line | Driven::Closed => Err(ExecutableError::TooLarge),
        };
        drop(child);
        child::collect_orphans(None);
        if let Ok(output) = &outcome {
            self.look_at(output);
        }
        outcome
    }

    /// Warns once if the output is not JSON. It is the response in any case, but most often a line
    /// for the log is the reason.
    fn look_at(&mut self, output: &[u8]) {
        let is_json = || serde_json::from_slice::<IgnoredAny>(output).is_ok();
        if self.warned || output.is_empty() || is_json() {
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

//! Any executable as the handler. `_HANDLER` names it.
//!
//! It is started for each event, or once for all of them, as `docs/executable-handlers.md` says; or
//! it is a server, as `docs/http-servers.md` says.

mod check;
mod child;
mod error;
#[cfg(any(test, fuzzing))]
pub(in crate::runtime) mod fuzz;
mod http;
mod output;
mod per_invocation;
mod persistent;
mod program;
mod protocol;
mod snapshot;
mod spawn;
mod stderr;

use self::error::ExecutableError;
use self::http::Server;
use self::per_invocation::PerInvocation;
use self::persistent::Persistent;
use self::program::{Program, replaces_a_runtime};
use crate::runtime::context::Context;
use crate::runtime::error::Error;
use crate::runtime::handler::{Beside, Handler, Init};
use crate::runtime::hooks::register;
use crate::runtime::response::{Answer, Answered};
use crate::runtime::{adapter, current, log};
use crate::shared::env::Env;
use crate::shared::log_record::Level;
use crate::shared::os;
use crate::shared::settings;

pub(super) use self::program::refusal;

/// The handler of the stock binary: the executable that `_HANDLER` names.
///
/// Its errors are init errors and errors of invocations, as `docs/executable-handlers.md` lists
/// them.
///
/// ```no_run
/// bantam::main(bantam::executable())
/// ```
#[must_use]
pub const fn executable() -> ExecutableInit {
    ExecutableInit(())
}

/// An init step that finds the executable and starts it if it is persistent; [`executable`] makes
/// it.
#[derive(Debug)]
pub struct ExecutableInit(());

/// An executable as a handler.
#[derive(Debug)]
pub struct Executable(Mode);

#[derive(Debug)]
enum Mode {
    PerInvocation(PerInvocation),
    Persistent(Persistent),
    Server(Box<Server>),
}

impl Init for ExecutableInit {
    type Handler = Executable;

    fn init(self, env: &Env) -> Result<Executable, Error> {
        // A program that was started again has reported them, and the supervisor of workers.
        let is_first = !current::is_again() && current::seat().is_none();
        if is_first {
            report_unknown_settings();
        }
        if adapter::is_played() {
            return beside_platforms_server(env, is_first);
        }
        // Nothing else is done with a wrapper, so its users need not say it.
        let is_wrapper = replaces_a_runtime();
        let mode = mode(env, is_wrapper);
        let program = match mode {
            "http" => Program::find_server(env, is_wrapper),
            _ => Program::find(env),
        };
        let program = program.map_err(|error| error.report())?;
        let is_streamed = is_streamed().map_err(|error| error.report())?;
        let mut mode = match mode {
            "per-invocation" => Mode::PerInvocation(PerInvocation::new(program, is_streamed)),
            "persistent" => Mode::Persistent(Persistent::start(program, &env.api)?),
            "http" => Mode::Server(Box::new(Server::start(Some(program), &env.api)?)),
            other => {
                let error = ExecutableError::Setting {
                    error_type: "Runtime.InvalidHandlerMode",
                    name: "BANTAM_HANDLER_MODE",
                    value: other.to_owned(),
                    expected: "per-invocation, persistent or http",
                };
                return Err(error.report());
            }
        };
        snapshot::take_part(env, &mut mode)?;
        Ok(Executable(mode))
    }

    fn beside_workers(&self, env: &Env) -> Beside {
        report_unknown_settings();
        if adapter::is_played() {
            return Beside {
                has_keeper: false,
                register: Some(adapter::register),
            };
        }
        let mode = mode(env, replaces_a_runtime());
        Beside {
            has_keeper: mode == "http",
            // A persistent process may ask for SIGTERM when it is ready, in a worker.
            register: matches!(mode, "http" | "persistent").then_some(register),
        }
    }
}

/// The client of the Runtime API for a server that the platform starts.
fn beside_platforms_server(env: &Env, is_first: bool) -> Result<Executable, Error> {
    // A program that was started again is registered, and so is the supervisor of workers.
    if is_first {
        adapter::register(&env.api);
    }
    let mut mode = Mode::Server(Box::new(Server::start(None, &env.api)?));
    snapshot::take_part(env, &mut mode)?;
    Ok(Executable(mode))
}

/// The mode that is set, or the default.
fn mode(env: &Env, is_wrapper: bool) -> &str {
    let default = if is_wrapper { "http" } else { "per-invocation" };
    env.handler_mode.as_deref().unwrap_or(default)
}

/// Whether the response of a process for each event is its output as it comes, and not all of it
/// when the process has exited.
fn is_streamed() -> Result<bool, ExecutableError> {
    let value = os::variable(INVOKE_MODE).unwrap_or_default();
    match value.to_str() {
        Some("" | "buffered") => Ok(false),
        Some("response_stream") => Ok(true),
        _ => Err(ExecutableError::Setting {
            error_type: "Runtime.InvalidInvokeMode",
            name: INVOKE_MODE,
            value: value.to_string_lossy().into_owned(),
            expected: "buffered or response_stream",
        }),
    }
}

/// A misspelt setting would otherwise change nothing, and say nothing.
fn report_unknown_settings() {
    for (name, _) in os::variables() {
        let name = name.to_str();
        if let Some(warning) = name.and_then(|name| settings::unknown(name, &settings::RUNTIME)) {
            log::line(Level::Warn, &warning);
        }
    }
}

impl Handler for Executable {
    fn handle(&mut self, event: &[u8], context: &Context<'_>, answer: Answer<'_>) -> Answered {
        match &mut self.0 {
            Mode::PerInvocation(program) => program.handle(event, context, answer),
            Mode::Persistent(process) => process.handle(event, context, answer),
            Mode::Server(server) => server.handle(event, context, answer),
        }
    }
}

const INVOKE_MODE: &str = "BANTAM_INVOKE_MODE";

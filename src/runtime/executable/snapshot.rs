//! SnapStart for executables: what runs before the snapshot, and after an environment is restored
//! from it.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/snapstart-runtime-hooks-custom.html>. A command
//! serves every form of a handler; an HTTP server can have a request in its place, by the variables
//! of AWS Lambda Web Adapter.

use super::Mode;
use super::error::{ExecutableError, Missing};
use super::program::Program;
use crate::runtime::error::Error;
use crate::runtime::hooks::{Part, part, restore_failed, wait_for_restore};
use crate::shared::env::Env;
use crate::shared::limits::PAYLOAD_BYTES_MAX;
use crate::shared::os;

/// Lets the snapshot be taken where SnapStart is on. It returns in an environment that was restored
/// from it.
pub(super) fn take_part(env: &Env, mode: &mut Mode) -> Result<(), Error> {
    // A process that was started again after a panic has started its own again.
    if !matches!(part()?, Part::Whole) {
        return Ok(());
    }
    run(BEFORE_SNAPSHOT, env)?;
    if let Mode::Server(server) = mode {
        server.before_snapshot()?;
    }
    wait_for_restore(&env.api)?;
    let restored = run(AFTER_RESTORE, env).and_then(|()| match mode {
        Mode::Server(server) => server.after_restore(),
        Mode::PerInvocation(_) | Mode::Persistent(_) => Ok(()),
    });
    if let Err(error) = restored {
        restore_failed(&env.api, &error);
    }
    Ok(())
}

/// Runs the command in a variable, if there is one.
fn run(variable: &str, env: &Env) -> Result<(), Error> {
    let command = os::variable(variable).filter(|command| !command.is_empty());
    let Some(command) = command else {
        return Ok(());
    };
    execute(&command.to_string_lossy(), env).map_err(|error| {
        let message = [variable, ": ", &error.to_string()].concat();
        Error::new(error.error_type(), message)
    })
}

/// Runs a command to its end. All that it writes is for the log.
fn execute(command: &str, env: &Env) -> Result<(), ExecutableError> {
    let mut process = Program::find_command(env, command)?.start(&[])?;
    let stopped = process.run(b"", None, PAYLOAD_BYTES_MAX);
    if stopped.is_success() {
        Ok(())
    } else {
        Err(process.error(stopped, Missing::Exit))
    }
}

/// The executable that runs before the snapshot is taken, and the one after the restore.
const BEFORE_SNAPSHOT: &str = "BANTAM_BEFORE_SNAPSHOT";
const AFTER_RESTORE: &str = "BANTAM_AFTER_RESTORE";

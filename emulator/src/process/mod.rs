//! Processes of this machine: start one in a session of its own, read its output and its figures,
//! stop, continue and kill it with all it started. No file here knows the Lambda lifecycle.

pub(crate) mod exit;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub(crate) mod members;
pub(crate) mod output;
pub(crate) mod proc;
pub(crate) mod session;
pub(crate) mod spawn;
pub(crate) mod watchdog;

use std::io;
use std::sync::Arc;
use std::time::Instant;

use signal_hook::consts::SIGCHLD;
use signal_hook::flag;

use self::output::Output;
use self::session::Guard;

/// Makes this process ready to start others.
pub(crate) fn expect_children() -> io::Result<()> {
    // Some supervisors leave SIGCHLD ignored. Then the system keeps no exit status of a child
    // (waitpid(2)); with a handler, whatever the handler does, it keeps it.
    if proc::ignores(SIGCHLD) {
        flag::register(SIGCHLD, Arc::default())?;
    }
    watchdog::prepare();
    Ok(())
}

/// A process that an environment started.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    /// Process and session id.
    pub(crate) pid: i32,
    /// Just before it was created.
    pub(crate) exec_at: Instant,
    pub(crate) guard: Arc<Guard>,
    pub(crate) output: Arc<Output>,
}

//! Processes of this machine: start one in a session of its own, read its output and its figures,
//! stop, continue and kill it with all it started. No file here knows the Lambda lifecycle.

pub(crate) mod exit;
pub(crate) mod output;
pub(crate) mod proc;
pub(crate) mod session;
pub(crate) mod spawn;

use std::sync::Arc;
use std::time::Instant;

use self::output::Output;
use self::session::Guard;

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

//! In tests: a system in memory in the place of the kernel, for the code that one thread runs.
//!
//! The thread stands for a process. What that asks of the system goes to its [`System`], and a
//! process ends by unwinding with an [`End`]. Nothing of this is in what ships.

use std::cell::RefCell;
use std::ffi::OsString;
use std::panic::resume_unwind;
use std::process::ExitStatus;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::blocking::ExchangeError;
use super::reexec::{After, Panic};
use crate::shared::http::Exchange;
use crate::shared::time::EpochMs;

/// What a process asks of the system.
pub(crate) trait System {
    fn now(&self) -> EpochMs;

    fn monotonic(&self) -> Instant;

    fn sleep(&self, length: Duration);

    fn variable(&self, name: &str) -> Option<OsString>;

    /// Carries out an exchange with the API, each step of which may take as long as `timeout`.
    fn exchange(
        &self,
        timeout: Option<Duration>,
        exchange: &mut Exchange<'_>,
    ) -> Result<(), ExchangeError>;

    /// The process has closed its connection to the API.
    fn close(&self);

    /// Takes a line on standard error.
    fn log(&self, line: &[u8]);

    /// Takes the panic hook of the process.
    fn on_panic(&self, act: fn(&Panic<'_>) -> After);

    /// Starts a worker with these variables.
    fn start(&self, variables: Vec<(OsString, OsString)>) -> Pid;

    /// Sends a signal to a worker, which has no handler for it.
    fn kill(&self, process: Pid, signal: Signal);

    /// Waits until the process ends.
    fn stop(&self) -> !;

    /// A worker that has ended.
    fn ended(&self) -> Option<(Pid, ExitStatus)>;

    /// Waits for the end of a worker. True if the process is asked to end.
    fn wait(&self, timeout: Duration) -> bool;
}

/// How a process ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It executes its program again with these changes of its variables.
    Again(Vec<(String, Option<String>)>),
    Exit(u8),
    /// It is killed by this signal.
    Killed(i32),
}

impl End {
    /// Ends the process of this thread.
    pub(crate) fn take(self) -> ! {
        resume_unwind(Box::new(self))
    }
}

thread_local! {
    static HERE: RefCell<Option<Rc<dyn System>>> = const { RefCell::new(None) };
}

/// The system that this thread runs on, unless it is the kernel.
pub(crate) fn here() -> Option<Rc<dyn System>> {
    HERE.with_borrow(Clone::clone)
}

/// Lets this thread run on `system`.
pub(crate) fn enter(system: Option<Rc<dyn System>>) {
    HERE.set(system);
}

//! In tests: a system in memory in the place of the kernel, for the code that one thread runs.
//!
//! The thread stands for a process. What that asks of the system goes to its [`System`], and a
//! process ends by unwinding with an [`End`]. Nothing of this is in what ships.

use std::cell::RefCell;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::panic::resume_unwind;
use std::process::ExitStatus;
use std::rc::Rc;
use std::sync::{PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::PollFd;
use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use super::blocking::{self, ExchangeError, Ready};
use super::clock::monotonic;
use super::reexec::{Change, OnPanic};
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

    /// Opens a connection, to the API for a stream or to a server. It is a descriptor of the
    /// kernel, which does not block.
    fn connect(&self, to: SocketAddr) -> Result<OwnedFd, Errno>;

    /// Waits until one of the descriptors has something to say, by the clock of this system.
    fn poll(&self, fds: &mut [PollFd<'_>], left: Option<Duration>) -> Result<usize, Errno>;

    /// Starts the process of a handler: its id, the other ends of its standard input, output and
    /// error, and what is readable once it has ended.
    fn spawn(&self, changes: &[Change<'_>]) -> (Pid, [OwnedFd; 4]);

    /// How the process of a handler has ended.
    fn status(&self, child: Pid) -> Option<ExitStatus>;

    /// Kills the handlers that this process has started.
    fn kill_children(&self);

    /// Takes a line on standard error.
    fn log(&self, line: &[u8]);

    /// Takes the panic hook of the process.
    fn on_panic(&self, act: OnPanic);

    /// Starts a worker with these variables.
    fn start(&self, variables: Vec<(OsString, OsString)>) -> Pid;

    /// Sends a signal to a worker or to the process of a handler, which do not handle it.
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

/// Whether the process of this thread is ending, in which nothing of it runs: it unwinds all the
/// same.
pub(crate) fn is_ending() -> bool {
    thread::panicking() && here().is_some()
}

/// Read while a life is lived in this test program, and written while it makes a process of the
/// kernel: until its `execve` that has a copy of every descriptor, so what a life closes would stay
/// open.
static FORKS: RwLock<()> = RwLock::new(());

/// Keeps tests that run beside this one from making processes.
pub(crate) fn without_forks() -> impl Drop {
    FORKS.read().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until nothing is in the way of a new process.
pub(crate) fn fork() -> impl Drop {
    FORKS.write().unwrap_or_else(PoisonError::into_inner)
}

/// Carries an exchange to its end, over a connection of [`System::connect`].
pub(crate) fn carry(
    stream: BorrowedFd<'_>,
    exchange: &mut Exchange<'_>,
    timeout: Duration,
) -> Result<(), ExchangeError> {
    while !exchange.is_done() {
        let wants = Ready {
            read: true,
            write: exchange.pending().is_some(),
        };
        let end = Some(monotonic() + timeout);
        let ready = blocking::wait(stream, wants, end).map_err(ExchangeError::Io)?;
        if !ready.read && !ready.write {
            return Err(ExchangeError::Io(Errno::AGAIN));
        }
        if let Some(pending) = exchange.pending().filter(|_| ready.write) {
            match blocking::write_now(stream, &pending.concat()) {
                Ok(count) => exchange.wrote(count),
                Err(_) => exchange.write_failed(),
            }
        }
        if ready.read {
            blocking::read_now(stream, exchange)?;
        }
    }
    Ok(())
}

/// Lets this thread run on `system`.
pub(crate) fn enter(system: Option<Rc<dyn System>>) {
    HERE.set(system);
}

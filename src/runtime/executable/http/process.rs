//! The process of the server: this runtime's own, or the one that all workers use.

use std::os::fd::BorrowedFd;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use super::super::child::{Child, Waited, end_of_grace, now};
use super::error::Cause;
use crate::runtime::log;
use crate::runtime::workers::board::{Board, Server};
use crate::shared::log_record::Level;
use crate::shared::os;

/// The process of a server.
#[derive(Debug)]
pub(super) enum Process {
    /// This process has started it, and ends it when it drops this.
    Own(Box<Child>),
    /// The keeper has started it, and a worker connects to it.
    Shared(Shared),
    /// The platform has started it, and ends the environment when it ends.
    Platform,
}

/// A server that another process keeps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shared {
    board: &'static Board,
    /// Which of its lives this is; `None` until it is ready.
    life: Option<u64>,
}

impl Shared {
    /// The server of this worker, which may not be ready.
    pub(super) const fn new(board: &'static Board) -> Self {
        Self { board, life: None }
    }

    /// Waits until the server is ready.
    ///
    /// # Errors
    ///
    /// [`Cause::NotStarted`] if a start of it failed meanwhile, [`Cause::TimedOut`] at the end.
    pub(super) fn wait_until_ready(&mut self, end: Option<Instant>) -> Result<(), Cause> {
        let before = self.board.server();
        loop {
            let server = self.board.server();
            if let Server::Ready(life) = server {
                self.life = Some(life);
                return Ok(());
            }
            // A start that had failed before is followed by another one, but not while no worker
            // has asked for an event: then the initialisation has failed.
            let is_final = server != before || !self.board.has_polled();
            if is_final && matches!(server, Server::Failed(_)) {
                return Err(Cause::NotStarted);
            }
            if end.is_some_and(|end| end <= now()) {
                return Err(Cause::TimedOut);
            }
            os::sleep(LOOK_PAUSE);
        }
    }

    /// The end of its log, as its keeper left it.
    pub(super) fn last_log(self) -> String {
        self.board.server_log().unwrap_or_default()
    }

    /// How the server ended, if this life of it is over.
    fn status(self) -> Option<ExitStatus> {
        let life = self.life?;
        let is_over = self.board.server() != Server::Ready(life);
        is_over.then(|| self.board.server_status())
    }
}

impl Process {
    /// Waits until another descriptor is ready or the server has ended. Of a shared server the end
    /// is noticed where there is no other descriptor: the kernel closes its connections.
    ///
    /// # Errors
    ///
    /// Those of `poll` and `waitpid`.
    pub(super) fn wait(
        &mut self,
        other: Option<(BorrowedFd<'_>, PollFlags)>,
        end: Option<Instant>,
    ) -> Result<Waited, Errno> {
        let shared = match self {
            Self::Own(child) => return child.wait(other, end),
            Self::Shared(shared) => Some(*shared),
            Self::Platform => None,
        };
        loop {
            let left = end.map(|end| end.saturating_duration_since(now()));
            if left == Some(Duration::ZERO) {
                return Ok(Waited::TimedOut);
            }
            let Some((fd, flags)) = other else {
                if let Some(status) = shared.and_then(Shared::status) {
                    return Ok(Waited::Exited(status));
                }
                os::sleep(left.map_or(LOOK_PAUSE, |left| left.min(LOOK_PAUSE)));
                continue;
            };
            match os::poll(&mut [PollFd::from_borrowed_fd(fd, flags)], left) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(Waited::Ready),
                Err(error) => return Err(error),
            }
        }
    }

    /// True if the server has ended.
    pub(super) fn has_ended(&self) -> bool {
        match self {
            Self::Own(child) => child.has_exited(),
            Self::Shared(shared) => shared.status().is_some(),
            Self::Platform => false,
        }
    }

    /// Looks whether the end of a connection is that of the process: then a body that ended with it
    /// may be a part of one. One that exited with 0 had meant to.
    ///
    /// # Errors
    ///
    /// How it ended otherwise.
    pub(super) fn outlives_body(&mut self, end: Option<Instant>) -> Result<(), Cause> {
        let Some(child) = self.child().filter(|child| child.is_exiting()) else {
            return Ok(());
        };
        match child.wait(None, Some(end_of_grace(end))) {
            Ok(Waited::Exited(status)) if !status.success() => Err(Cause::Exited(status)),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// True if another server may take the connections that this one does not. `is_fresh` says that
    /// it has only just become ready. A worker may know sooner than the keeper that it has ended.
    pub(super) fn is_replaced(&mut self, is_fresh: bool, end: Option<Instant>) -> bool {
        match self {
            Self::Own(_) => !is_fresh,
            Self::Shared(_) => {
                let waited = self.wait(None, Some(end_of_grace(end)));
                matches!(waited, Ok(Waited::Exited(_)))
            }
            Self::Platform => false,
        }
    }

    /// Writes to the log how a server has ended, which is its keeper's part if it has one.
    pub(super) fn log_end(&mut self) {
        if let Self::Own(child) = self {
            child.errors_tail();
            if let Ok(Waited::Exited(status)) = child.wait(None, None) {
                log::line(Level::Warn, &Cause::Exited(status).to_string());
            }
        }
    }

    /// Puts what the server has written into the log, which is its keeper's part if it has one, at
    /// the end of an event.
    pub(super) fn end_event(&mut self) {
        if let Self::Own(child) = self {
            child.end_event();
        }
    }

    /// The end of what the server wrote, for a message. All of it is in the log then.
    pub(super) fn log_tail(&mut self) -> String {
        match self {
            Self::Own(child) => child.errors_tail(),
            Self::Shared(shared) if shared.status().is_some() => shared.last_log(),
            Self::Shared(_) | Self::Platform => String::new(),
        }
    }

    /// Keeps a server that is ready for the workers, until it ends, and then ends this process: the
    /// supervisor starts another keeper.
    pub(super) fn keep(mut self, board: &Board) -> ! {
        board.server_is_ready();
        let ended = self.wait(None, None);
        let tail = self.log_tail();
        if let Ok(Waited::Exited(status)) = ended {
            board.server_has_ended(status, &tail);
            log::line(Level::Warn, &Cause::Exited(status).to_string());
        }
        os::exit(1)
    }

    /// The child, if it is one of this process.
    pub(super) fn child(&mut self) -> Option<&mut Child> {
        match self {
            Self::Own(child) => Some(child),
            Self::Shared(_) | Self::Platform => None,
        }
    }
}

/// How often a worker looks at the state of the server while it waits for a change.
const LOOK_PAUSE: Duration = Duration::from_millis(5);

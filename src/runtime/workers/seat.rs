//! The place of a worker on the board, and how the worker finds it.

#[cfg(test)]
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{getpid, getppid};

use super::board::{Board, Slot, WORKERS_MAX};
use super::process;
use crate::runtime::error::Error;
use crate::shared::digits::decimal;
use crate::shared::env::Lookup;
use crate::shared::os;
#[cfg(test)]
use crate::shared::os::simulation;

/// The place of a worker on the board.
#[derive(Clone, Copy, Debug)]
pub(in crate::runtime) struct Seat {
    pub(in crate::runtime) board: &'static Board,
    mark: Mark,
}

/// The value of [`WORKER`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// The number of the worker.
    index: usize,
    /// The descriptor of the board.
    board: i32,
    /// The process id of the supervisor. What a worker starts inherits the variable, and is not a
    /// child of the supervisor.
    supervisor: i32,
}

impl Seat {
    /// The seat of this process, if the supervisor started it.
    ///
    /// # Errors
    ///
    /// Those of mapping the board.
    pub(super) fn find(lookup: Lookup<'_>) -> Result<Option<Self>, Errno> {
        let mark = lookup(WORKER).and_then(|mark| Mark::parse(mark.to_str()?));
        // The parent is asked for only where there is a mark: any other start saves the call.
        #[cfg(test)]
        let getppid = || {
            // The supervisor is a thread of this process.
            simulation::here().map_or_else(getppid, |_| Some(getpid()))
        };
        let parent = || getppid().map(|parent| parent.as_raw_nonzero().get());
        let Some(mark) = mark.filter(|mark| Some(mark.supervisor) == parent()) else {
            return Ok(None);
        };
        let board = Board::map(process::inherited(mark.board, false)?)?;
        Ok(Some(Self { board, mark }))
    }

    /// The slot of this process.
    pub(in crate::runtime) fn slot(self) -> &'static Slot {
        self.board.slot(self.mark.index)
    }

    /// True if this process serves no invocations, and keeps the HTTP server that all workers use.
    pub(in crate::runtime) fn is_keeper(self) -> bool {
        self.mark.index == self.board.keeper()
    }

    /// The loop is about to ask for an event. False if the supervisor is about to kill this
    /// process.
    #[must_use]
    pub(in crate::runtime) fn polls(self) -> bool {
        self.board.polls(self.mark.index)
    }

    /// The initialisation has failed. Returns whether this worker reports it: the first whose
    /// initialisation fails does, once that of all others has failed as well. It waits for that.
    #[must_use]
    pub(in crate::runtime) fn reports_init_error(self, error: &Error) -> bool {
        if self.is_keeper() {
            self.board.server_says(&error.to_string());
        }
        // In this order: workers whose server has failed see that here, and must not be the first.
        let is_first = self.board.claims_init_error();
        self.board.fails(self.mark.index);
        if !is_first {
            return false;
        }
        loop {
            match self.board.init_has_failed() {
                Some(failed) => return failed,
                None => os::sleep(INIT_PAUSE),
            }
        }
    }

    /// Lets the program that is executed in this process next take the seat.
    pub(in crate::runtime) fn starts_again(self) {
        process::inherited(self.mark.board, true).ok();
        self.slot().starts();
    }

    /// The seats of a worker and of its keeper, and what must stay open.
    #[cfg(test)]
    pub(in crate::runtime) fn both() -> ([Self; 2], OwnedFd) {
        let (board, file) = Board::create(1).unwrap();
        let mark = |index| Mark::new(index, file.as_raw_fd());
        (
            [0, 1].map(|index| Self {
                board,
                mark: mark(index),
            }),
            file,
        )
    }
}

impl Mark {
    pub(super) fn new(index: usize, board: i32) -> Self {
        Self {
            index,
            board,
            supervisor: getpid().as_raw_nonzero().get(),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split(' ').map(|number| decimal(number.as_bytes()));
        let mut next = || numbers.next().flatten();
        Some(Self {
            index: usize::try_from(next()?)
                .ok()
                .filter(|index| *index <= WORKERS_MAX)?,
            board: i32::try_from(next()?).ok()?,
            supervisor: i32::try_from(next()?).ok()?,
        })
    }

    pub(super) fn to_text(self) -> String {
        format!("{} {} {}", self.index, self.board, self.supervisor)
    }
}

/// Marks a worker.
pub(super) const WORKER: &str = "_BANTAM_WORKER";

/// How often a worker whose initialisation failed looks at the others.
const INIT_PAUSE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::ExitStatus;

    use rustix::io::{FdFlags, fcntl_getfd};

    use super::*;
    use crate::runtime::api::Ids;
    use crate::runtime::workers::board::{Phase, Server};

    const IDS: Ids<'_> = Ids {
        request_id: "id-1",
        invocation_id: None,
    };

    #[test]
    fn a_mark_is_read_as_it_is_written() {
        let mark = Mark::new(7, 5);
        assert_eq!(Mark::parse(&mark.to_text()), Some(mark));
        for text in ["", "1 2", "1 2 x", "1001 2 3", "-1 2 3"] {
            assert_eq!(Mark::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_process_that_the_supervisor_did_not_start_has_no_seat() {
        let mark = Mark::new(0, 0).to_text();
        let seat = Seat::find(&|_| Some(OsString::from(&mark))).unwrap();
        assert!(seat.is_none());
    }

    #[test]
    fn a_worker_that_has_answered_leaves_nothing_behind() {
        let ([worker, _], _file) = Seat::both();
        worker.slot().invokes(IDS, None);
        assert!(worker.slot().answers());
        worker.slot().answered();
        assert_eq!(worker.slot().phase(), Phase::Answered);
    }

    #[test]
    fn the_program_that_is_executed_next_finds_the_board_and_starts() {
        let ([worker, _], file) = Seat::both();
        process::inherited(file.as_raw_fd(), false).unwrap();
        worker.slot().invokes(IDS, None);
        worker.starts_again();
        assert_eq!(worker.slot().phase(), Phase::Init);
        assert_eq!(fcntl_getfd(&file).unwrap(), FdFlags::empty());
    }

    #[test]
    fn the_worker_that_fails_first_reports_it_once_all_have_failed() {
        let error = Error::new("Chosen", "no");
        let ([worker, keeper], _file) = Seat::both();
        assert_eq!([worker, keeper].map(Seat::is_keeper), [false, true]);
        worker.board.fails(0);
        assert!(keeper.reports_init_error(&error), "nobody else is open");
        assert_eq!(worker.board.server_log().as_deref(), Some("no"));
        assert!(!worker.reports_init_error(&error), "once");
        assert_eq!(worker.board.server_log().as_deref(), Some("no"));

        let ([worker, keeper], _file) = Seat::both();
        assert!(!keeper.board.has_polled());
        assert!(worker.polls());
        assert!(keeper.board.has_polled());
        assert!(!keeper.reports_init_error(&error), "another one serves");
    }

    #[test]
    fn a_worker_sees_how_the_server_of_its_keeper_ended() {
        let ([worker, keeper], _file) = Seat::both();
        keeper.board.server_is_ready();
        assert!(matches!(worker.board.server(), Server::Ready(_)));
        let status = ExitStatus::from_raw(7 << 8);
        keeper.board.server_has_ended(status, "bad luck");
        assert_eq!(worker.board.server(), Server::Ended);
        assert_eq!(worker.board.server_status(), status);
        assert_eq!(worker.board.server_log().as_deref(), Some("bad luck"));
    }
}

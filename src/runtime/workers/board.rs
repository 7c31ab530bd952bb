//! The board: memory in which each worker writes what it does, and the supervisor reads it.
//!
//! A slot has one writer at a time, and the phase says which: the supervisor reads the ids after
//! the worker has ended, or has been stopped by [`Phase::Overdue`].
//!
//! ```text
//!  Init ──► Polling ──► Invoking ──► Answering ──► Answered ──► Polling
//!   │└► InitFailed          └─────────────┴─────────────┴► Overdue ─┐
//!   │                       └─────────────┴► LeftBehind ────────────┴► Init
//!   └► Listening ──► Ended                          (the keeper of the HTTP server)
//! ```
//!
//! The supervisor writes `Overdue`, and `LeftBehind` where a worker has ended. Both last until the
//! invocation has been answered: by the process that takes the slot next, or by the supervisor if
//! none does. From every other phase, too, a process that takes the slot goes to `Init`.
//!
//! The slot behind those of the workers is the keeper's, where there is one.

use std::mem::size_of;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU8, AtomicU32, AtomicU64, Ordering};

use rustix::fs::ftruncate;
use rustix::io::Errno;

use crate::runtime::api::Ids;
use crate::shared::os;
use crate::shared::time::EpochMs;

/// The board. Zeroes are its first state.
#[repr(C)]
#[derive(Debug)]
pub(in crate::runtime) struct Board {
    /// Workers. Written before the first is started.
    workers: AtomicU32,
    /// Not 0 once a worker has asked for an event: the initialisation of the environment is over.
    polled: AtomicU8,
    /// Not 0 once a worker has claimed the report of the failed initialisation.
    init_error_claimed: AtomicU8,
    /// How often the keeper could not start the HTTP server. Written before its phase.
    server_failures: AtomicU32,
    /// How the HTTP server ended, as `waitpid` says it. Written before the phase of its keeper.
    server_status: AtomicI32,
    /// Its last word. Written before the phase of its keeper.
    server_log: Text<SERVER_LOG_BYTES_MAX>,
    slots: [Slot; WORKERS_MAX + 1],
}

/// One worker.
#[repr(C)]
#[derive(Debug)]
pub(in crate::runtime) struct Slot {
    /// The [`Phase`] in the lowest byte, and above it the count of invocations so far: one value,
    /// so that the supervisor cannot take one invocation for another.
    state: AtomicU64,
    /// When the invocation ends; 0 if that is unknown.
    deadline_ms: AtomicU64,
    /// How the worker ended, as `waitpid` says it.
    status: AtomicI32,
    request_id: Text<ID_BYTES_MAX>,
    invocation_id: Text<ID_BYTES_MAX>,
}

#[repr(C)]
#[derive(Debug)]
struct Text<const BYTES_MAX: usize> {
    /// 0 if there is none, or it is longer than the board has room for.
    length: AtomicU32,
    bytes: [AtomicU8; BYTES_MAX],
}

/// What a worker does, or did when it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It starts. This is 0, with which the board begins.
    Init,
    /// Its initialisation has failed, and it ends.
    InitFailed,
    /// It waits for an event.
    Polling,
    /// The handler runs.
    Invoking,
    /// It sends an answer.
    Answering,
    /// It has sent the answer, and the handler may go on for a moment.
    Answered,
    /// The handler runs past its deadline; the supervisor kills the worker.
    Overdue,
    /// It has ended before it had answered.
    LeftBehind,
    /// It keeps the HTTP server that the workers use, which is ready.
    Listening,
    /// That server has ended.
    Ended,
}

/// The HTTP server that the workers use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::runtime) enum Server {
    /// It starts.
    Starting,
    /// It is ready, for so many times now.
    Ready(u64),
    /// It was ready, and ended. It will be started again.
    Ended,
    /// It was never ready: this start failed. The number is another one for each.
    Failed(u32),
}

/// The ids of an invocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OwnedIds {
    pub(super) request_id: String,
    pub(super) invocation_id: Option<String>,
}

impl Board {
    /// Makes a board, and the descriptor by which workers find it.
    ///
    /// # Errors
    ///
    /// Those of `memfd_create`, `ftruncate` and `mmap`.
    #[expect(
        unsafe_code,
        reason = "rustix looks the function up by name, which is 13 KB"
    )]
    pub(super) fn create(workers: usize) -> Result<(&'static Self, OwnedFd), Errno> {
        // SAFETY: it takes a string that ends with NUL. Workers inherit what it opens.
        let file = unsafe { libc::memfd_create(c"bantam-workers".as_ptr(), 0) };
        if file < 0 {
            return Err(os::last_error());
        }
        // SAFETY: the descriptor is new, so nobody else owns it.
        let file = unsafe { OwnedFd::from_raw_fd(file) };
        ftruncate(&file, size_of::<Self>() as u64)?;
        let board = Self::map(file.as_fd())?;
        let workers = u32::try_from(workers).unwrap_or(u32::MAX);
        board.workers.store(workers, Ordering::Relaxed);
        Ok((board, file))
    }

    /// Maps a board for as long as the process lives.
    ///
    /// # Errors
    ///
    /// Those of `mmap`.
    #[expect(unsafe_code, reason = "the standard library maps no memory")]
    pub(super) fn map(file: BorrowedFd<'_>) -> Result<&'static Self, Errno> {
        let (read_write, file) = (libc::PROT_READ | libc::PROT_WRITE, file.as_raw_fd());
        // SAFETY: the kernel chooses the place, so no memory in use is replaced. The file is made
        // by `create`, so it is as long as a board, and nobody makes it shorter or unmaps it. Pages
        // are aligned for any type. A board is atomics alone, for which every content is a value,
        // so other processes may write to it.
        unsafe {
            let place = libc::mmap(
                ptr::null_mut(),
                size_of::<Self>(),
                read_write,
                libc::MAP_SHARED,
                file,
                0,
            );
            if place == libc::MAP_FAILED {
                return Err(os::last_error());
            }
            Ok(&*place.cast())
        }
    }

    /// The slot of a worker; the last one for a number that is too high, which nobody has.
    pub(super) fn slot(&self, index: usize) -> &Slot {
        let [.., last] = &self.slots;
        self.slots.get(index).unwrap_or(last)
    }

    fn slots(&self) -> &[Slot] {
        let workers = self.workers.load(Ordering::Relaxed) as usize;
        self.slots.get(..workers).unwrap_or(&self.slots)
    }

    /// A worker is about to ask for an event. False if it must not, because the supervisor is about
    /// to kill it: the platform would keep its place in the queue.
    pub(super) fn polls(&self, index: usize) -> bool {
        self.polled.store(1, Ordering::Relaxed);
        let slot = self.slot(index);
        let state = slot.state.load(Ordering::Acquire);
        Phase::of(state) != Phase::Overdue && slot.moves(state, Phase::Polling)
    }

    /// The initialisation of a worker has failed.
    pub(super) fn fails(&self, index: usize) {
        if index == self.keeper() {
            self.server_failures.fetch_add(1, Ordering::Relaxed);
        }
        self.slot(index).enter(Phase::InitFailed);
    }

    /// The slot of the keeper.
    pub(super) fn keeper(&self) -> usize {
        self.workers.load(Ordering::Relaxed) as usize
    }

    /// The invocations of all workers so far.
    pub(super) fn invocations(&self) -> u64 {
        self.slots().iter().map(Slot::invocations).sum()
    }

    /// The server is ready.
    pub(in crate::runtime) fn server_is_ready(&self) {
        self.slot(self.keeper()).counts(Phase::Listening);
    }

    /// The server has ended, and wrote this to its log before.
    pub(in crate::runtime) fn server_has_ended(&self, status: ExitStatus, log: &str) {
        self.server_status
            .store(status.into_raw(), Ordering::Relaxed);
        self.server_says(log);
        let keeper = self.slot(self.keeper());
        if keeper.phase() == Phase::Listening {
            keeper.enter(Phase::Ended);
        }
    }

    /// The end of this is the last word of the server: its log, or why it could not be started.
    pub(super) fn server_says(&self, log: &str) {
        let mut start = log.len().saturating_sub(SERVER_LOG_BYTES_MAX);
        while !log.is_char_boundary(start) {
            start += 1;
        }
        self.server_log.set(log.get(start..).unwrap_or_default());
    }

    /// The last word of the server that has ended, or could not be started.
    pub(in crate::runtime) fn server_log(&self) -> Option<String> {
        self.server_log.get()
    }

    /// The state of the server.
    pub(in crate::runtime) fn server(&self) -> Server {
        let state = self.slot(self.keeper()).state.load(Ordering::Acquire);
        match Phase::of(state) {
            Phase::Listening => Server::Ready(state & !PHASE),
            Phase::Ended => Server::Ended,
            Phase::InitFailed => Server::Failed(self.server_failures.load(Ordering::Relaxed)),
            Phase::Init
            | Phase::Polling
            | Phase::Invoking
            | Phase::Answering
            | Phase::Answered
            | Phase::Overdue
            | Phase::LeftBehind => Server::Starting,
        }
    }

    /// How the server ended last.
    pub(in crate::runtime) fn server_status(&self) -> ExitStatus {
        ExitStatus::from_raw(self.server_status.load(Ordering::Relaxed))
    }

    /// Whether a worker has asked for an event.
    pub(in crate::runtime) fn has_polled(&self) -> bool {
        self.polled.load(Ordering::Relaxed) != 0
    }

    /// True for the first caller.
    pub(super) fn claims_init_error(&self) -> bool {
        self.init_error_claimed.swap(1, Ordering::Relaxed) == 0
    }

    /// Whether the initialisation of all workers has failed; `None` while that is open.
    pub(super) fn init_has_failed(&self) -> Option<bool> {
        if self.has_polled() {
            return Some(false);
        }
        let mut slots = self.slots().iter();
        let all_failed = slots.all(|slot| slot.phase() == Phase::InitFailed);
        all_failed.then_some(true)
    }
}

impl Slot {
    /// The worker starts, or starts again.
    pub(super) fn starts(&self) {
        self.enter(Phase::Init);
    }

    /// The handler is about to run.
    pub(in crate::runtime) fn invokes(&self, ids: Ids<'_>, deadline_ms: Option<u64>) {
        self.request_id.set(ids.request_id);
        self.invocation_id
            .set(ids.invocation_id.unwrap_or_default());
        self.deadline_ms
            .store(deadline_ms.unwrap_or(0), Ordering::Relaxed);
        self.counts(Phase::Invoking);
    }

    /// An answer is about to be sent. False if the deadline has passed; then the supervisor is
    /// about to kill this process, and the next one answers.
    #[must_use]
    pub(in crate::runtime) fn answers(&self) -> bool {
        let state = self.state.load(Ordering::Acquire);
        Phase::of(state) == Phase::Invoking && self.moves(state, Phase::Answering)
    }

    /// The answer has been sent, unless the invocation is overdue. If this process ends now, it
    /// leaves no invocation behind.
    pub(in crate::runtime) fn answered(&self) {
        let state = self.state.load(Ordering::Acquire);
        if Phase::of(state) == Phase::Answering {
            self.moves(state, Phase::Answered);
        }
    }

    /// The worker has ended.
    pub(super) fn ended(&self, status: ExitStatus) {
        self.status.store(status.into_raw(), Ordering::Relaxed);
        if let Phase::Invoking | Phase::Answering = self.phase() {
            self.enter(Phase::LeftBehind);
        }
    }

    /// How the worker ended last.
    pub(super) fn status(&self) -> ExitStatus {
        ExitStatus::from_raw(self.status.load(Ordering::Relaxed))
    }

    /// Whether the deadline of the invocation has passed. From then on the worker does not answer,
    /// and this is true for no other call. An answer that is being sent has a little longer.
    pub(super) fn stops_at(&self, EpochMs(now): EpochMs) -> bool {
        let state = self.state.load(Ordering::Acquire);
        let deadline_ms = self.deadline_ms.load(Ordering::Relaxed);
        let now = match Phase::of(state) {
            Phase::Invoking => now,
            Phase::Answering | Phase::Answered => now.saturating_sub(ANSWER_GRACE_MS),
            Phase::Init
            | Phase::InitFailed
            | Phase::Polling
            | Phase::Overdue
            | Phase::LeftBehind
            | Phase::Listening
            | Phase::Ended => return false,
        };
        // The deadline may be that of the next invocation already. The state has changed then.
        (1..=now).contains(&deadline_ms) && self.moves(state, Phase::Overdue)
    }

    /// What the worker does, or did when it ended.
    pub(super) fn phase(&self) -> Phase {
        Phase::of(self.state.load(Ordering::Acquire))
    }

    /// Invocations so far.
    pub(super) fn invocations(&self) -> u64 {
        self.state.load(Ordering::Relaxed) & !PHASE
    }

    /// The ids of the invocation, unless they are too long for the board. The worker has ended, or
    /// may not go on.
    pub(super) fn ids(&self) -> Option<OwnedIds> {
        Some(OwnedIds {
            request_id: self.request_id.get()?,
            invocation_id: self.invocation_id.get(),
        })
    }

    /// Enters a phase with which the slot has served once more.
    fn counts(&self, phase: Phase) {
        let count = self.state.load(Ordering::Relaxed) & !PHASE;
        let state = count.wrapping_add(PHASE + 1) | phase as u64;
        self.state.store(state, Ordering::Release);
    }

    fn enter(&self, phase: Phase) {
        let count = self.state.load(Ordering::Relaxed) & !PHASE;
        self.state.store(count | phase as u64, Ordering::Release);
    }

    /// Moves to another phase, unless the state is another than this by now.
    fn moves(&self, state: u64, to: Phase) -> bool {
        let moved = (state & !PHASE) | to as u64;
        let (on_success, on_failure) = (Ordering::AcqRel, Ordering::Relaxed);
        let exchanged = self
            .state
            .compare_exchange(state, moved, on_success, on_failure);
        exchanged.is_ok()
    }
}

impl<const BYTES_MAX: usize> Text<BYTES_MAX> {
    fn set(&self, text: &str) {
        let text = Some(text)
            .filter(|text| text.len() <= BYTES_MAX)
            .unwrap_or_default();
        for (to, byte) in self.bytes.iter().zip(text.bytes()) {
            to.store(byte, Ordering::Relaxed);
        }
        let length = u32::try_from(text.len()).unwrap_or(0);
        self.length.store(length, Ordering::Relaxed);
    }

    fn get(&self) -> Option<String> {
        let length = self.length.load(Ordering::Relaxed) as usize;
        let bytes = self.bytes.get(..length)?.iter();
        let text = bytes.map(|byte| byte.load(Ordering::Relaxed)).collect();
        String::from_utf8(text).ok().filter(|text| !text.is_empty())
    }
}

impl Phase {
    const fn of(state: u64) -> Self {
        match state & PHASE {
            0 => Self::Init,
            1 => Self::InitFailed,
            2 => Self::Polling,
            3 => Self::Invoking,
            4 => Self::Answering,
            5 => Self::Answered,
            7 => Self::LeftBehind,
            8 => Self::Listening,
            9 => Self::Ended,
            _ => Self::Overdue,
        }
    }
}

/// Workers, at most: an environment has 1,024 processes and threads.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
pub(super) const WORKERS_MAX: usize = 1_000;

/// How long after the deadline an answer may still be sent, such as a streamed one that the caller
/// reads slowly.
const ANSWER_GRACE_MS: u64 = 1_000;

/// The bits of a state that are its phase.
const PHASE: u64 = 0xFF;

/// Bytes of an id on the board. The platform's have 36.
const ID_BYTES_MAX: usize = 128;

/// Bytes of the server's log on the board: some lines, which are in the messages of all requests
/// that it was serving.
const SERVER_LOG_BYTES_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: Ids<'_> = Ids {
        request_id: "id-1",
        invocation_id: Some("nonce"),
    };

    #[test]
    fn a_worker_and_its_supervisor_see_one_board() {
        let (board, file) = Board::create(2).unwrap();
        let same = Board::map(file.as_fd()).unwrap();
        let slot = same.slot(1);
        assert_eq!(board.slot(1).phase(), Phase::Init);
        slot.invokes(IDS, Some(9));
        assert_eq!(board.slot(1).phase(), Phase::Invoking);
        assert_eq!(board.slot(0).phase(), Phase::Init);
        let ids = OwnedIds {
            request_id: "id-1".to_owned(),
            invocation_id: Some("nonce".to_owned()),
        };
        assert_eq!(board.slot(1).ids(), Some(ids));
        assert!(!board.has_polled());
        assert!(same.polls(1));
        assert!(board.has_polled());
    }

    #[test]
    fn one_of_both_answers_an_invocation() {
        let (board, _file) = Board::create(1).unwrap();
        let slot = board.slot(0);
        assert!(!slot.stops_at(EpochMs(u64::MAX)), "there is none");
        slot.invokes(IDS, Some(9));
        assert!(!slot.stops_at(EpochMs(8)));
        assert!(slot.stops_at(EpochMs(9)));
        assert!(!slot.stops_at(EpochMs(9)), "once");
        assert!(!slot.answers());

        slot.invokes(IDS, Some(9));
        assert!(slot.answers());
        assert!(!slot.stops_at(EpochMs(9)));
        assert!(!slot.stops_at(EpochMs(8 + ANSWER_GRACE_MS)));
        assert!(slot.stops_at(EpochMs(9 + ANSWER_GRACE_MS)));
        slot.answered();
        assert_eq!(slot.phase(), Phase::Overdue);
        assert!(!board.polls(0), "it is about to be killed");

        slot.invokes(IDS, None);
        assert!(!slot.stops_at(EpochMs(u64::MAX)), "no deadline is known");
    }

    #[test]
    fn an_invocation_is_counted_when_it_begins_and_never_again() {
        let (board, _file) = Board::create(1).unwrap();
        let slot = board.slot(0);
        let before = slot.invocations();
        slot.invokes(IDS, Some(9));
        let begun = slot.invocations();
        assert_ne!(begun, before);
        assert!(slot.answers());
        slot.answered();
        assert!(board.polls(0));
        assert_eq!(slot.invocations(), begun);
        slot.invokes(IDS, Some(9));
        assert_ne!(slot.invocations(), begun);
    }

    #[test]
    fn a_handler_that_goes_on_after_its_answer_is_stopped() {
        let (board, _file) = Board::create(1).unwrap();
        let slot = board.slot(0);
        slot.invokes(IDS, Some(9));
        assert!(slot.answers());
        slot.answered();
        assert_eq!(slot.phase(), Phase::Answered);
        assert!(!slot.stops_at(EpochMs(8 + ANSWER_GRACE_MS)));
        assert!(slot.stops_at(EpochMs(9 + ANSWER_GRACE_MS)));
    }

    #[test]
    fn an_invocation_is_not_taken_for_the_one_before() {
        let (board, _file) = Board::create(1).unwrap();
        let slot = board.slot(0);
        slot.invokes(IDS, Some(9));
        let seen = slot.state.load(Ordering::Relaxed);
        assert!(slot.answers());
        slot.enter(Phase::Polling);
        slot.invokes(IDS, Some(99));
        assert!(!slot.moves(seen, Phase::Overdue));
        assert_eq!(slot.phase(), Phase::Invoking);
        assert!(slot.answers());
    }

    #[test]
    fn a_worker_that_ends_leaves_behind_what_it_had_not_answered() {
        let (board, _file) = Board::create(1).unwrap();
        let slot = board.slot(0);
        let status = ExitStatus::from_raw(libc::SIGKILL);
        for phase in [Phase::Invoking, Phase::Answering] {
            slot.enter(phase);
            slot.ended(status);
            assert_eq!((slot.phase(), slot.status()), (Phase::LeftBehind, status));
            assert!(!slot.stops_at(EpochMs(u64::MAX)), "nobody runs");
        }
        for phase in [Phase::Init, Phase::Polling, Phase::Answered, Phase::Overdue] {
            slot.enter(phase);
            slot.ended(status);
            assert_eq!(slot.phase(), phase);
        }
    }

    #[test]
    fn ids_that_are_too_long_are_absent() {
        let (board, _file) = Board::create(1).unwrap();
        let slot = board.slot(0);
        let most = "x".repeat(ID_BYTES_MAX);
        let more = "x".repeat(ID_BYTES_MAX + 1);
        for (id, expected) in [(&*most, Some(most.clone())), (&more, None), ("", None)] {
            slot.request_id.set(id);
            assert_eq!(slot.request_id.get(), expected);
        }
    }

    #[test]
    fn one_worker_reports_a_failed_initialisation_once_all_have_failed() {
        let (board, _file) = Board::create(2).unwrap();
        board.fails(0);
        assert!(board.claims_init_error());
        assert!(!board.claims_init_error());
        assert_eq!(board.init_has_failed(), None);
        board.fails(1);
        assert_eq!(board.init_has_failed(), Some(true));

        board.slot(1).starts();
        assert_eq!(board.init_has_failed(), None);
        assert!(board.polls(1));
        assert_eq!(board.init_has_failed(), Some(false));
    }

    #[test]
    fn workers_see_the_state_of_the_server() {
        let (board, _file) = Board::create(2).unwrap();
        assert_eq!(board.keeper(), 2);
        assert_eq!(board.server(), Server::Starting);
        board.fails(0);
        assert_eq!(board.server(), Server::Starting, "that is a worker");
        board.server_is_ready();
        let Server::Ready(first) = board.server() else {
            panic!("{:?}", board.server());
        };
        let status = ExitStatus::from_raw(7 << 8);
        let [long, kept] =
            [600, 511].map(|count| ["\u{e9}".repeat(count), "x".to_owned()].concat());
        let table = [
            ("", None),
            ("bad luck", Some("bad luck")),
            (&long, Some(&*kept)),
        ];
        for (log, kept) in table {
            board.server_has_ended(status, log);
            assert_eq!(board.server_log().as_deref(), kept);
        }
        assert_eq!(
            (board.server(), board.server_status()),
            (Server::Ended, status)
        );
        for failures in 1..3 {
            board.slot(2).starts();
            assert_eq!(board.server(), Server::Starting);
            board.fails(2);
            assert_eq!(board.server(), Server::Failed(failures));
        }
        board.server_is_ready();
        assert_ne!(board.server(), Server::Ready(first), "another life");
        assert_eq!(board.init_has_failed(), None);
    }
}

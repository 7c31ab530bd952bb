//! The invocation that is running: its phase and its ids, under one lock.
//!
//! The loop says where it is; the log asks for the ids; a panic asks what it has broken.
//!
//! ```text
//!  Init ──► Idle ──► Invoking ──► Answering ──► Idle ──► Ended        ─ panic ─► Reporting
//!    └─► Restored ─► Idle
//! ```
//!
//! The lock decides who answers an invocation: the loop moves to `Answering` before it sends, a
//! panic moves to `Reporting` before it does, and neither moves if the other has. So an invocation
//! gets one answer, whichever thread panics when. A worker also asks the board, where its
//! supervisor notes that the deadline has passed.

use std::sync::{Arc, MutexGuard};

use super::api::Ids;
use super::error::Error;
use super::workers::seat::Seat;
use crate::shared::os::reexec;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The handler is being made.
    Init,
    /// The environment was restored from a snapshot, and the handler is being made ready.
    Restored,
    /// No invocation is open: the loop waits for an event, or the handler goes on after its answer.
    Idle,
    /// The handler runs.
    Invoking,
    /// The answer is being sent.
    Answering,
    /// A panic is being reported, after which the process is replaced or ends.
    Reporting,
    /// The loop is over.
    Ended,
}

/// The strings keep their memory from one invocation to the next.
#[derive(Debug)]
struct Current {
    phase: Phase,
    /// Empty while none runs.
    request_id: String,
    /// Empty when the platform sent none, as is `tenant_id`.
    invocation_id: String,
    tenant_id: String,
    /// The panic of another thread that broke no invocation. The process is replaced before it asks
    /// for the next event, or when that has come.
    doomed: Option<Arc<Error>>,
    /// The program was started again after a panic.
    is_again: bool,
    /// The environment ends, and the hooks for that run.
    is_ending: bool,
    /// Where the supervisor reads the phase, if this is a worker.
    seat: Option<Seat>,
}

/// The thread that panics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thread {
    /// The one of the loop.
    Loop,
    /// The one that runs the hooks for the end of the environment.
    Shutdown,
    /// One of the function's own.
    Other,
}

/// What a panic has broken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// The initialisation.
    Init,
    /// What is done after a restore.
    Restore,
    /// An invocation, to be answered with its ids.
    Invocation {
        request_id: String,
        invocation_id: Option<String>,
    },
    /// The loop, while no invocation is open.
    Loop,
    /// The hooks for the end of the environment.
    Shutdown,
    /// No invocation: the process is replaced between two of them.
    Doomed,
    /// Nothing that matters: the loop is over.
    Nothing,
    /// Another panic is being reported.
    Reported,
}

/// The program was started again after a panic.
pub(super) fn starts_again() {
    lock().is_again = true;
}

/// Whether it was: then the environment knows it already.
pub(super) fn is_again() -> bool {
    lock().is_again
}

/// This process is a worker.
pub(super) fn take(seat: Seat) {
    lock().seat = Some(seat);
}

/// The seat of this process, if it is a worker.
pub(super) fn seat() -> Option<Seat> {
    // Without a look at the lock, so that a build without workers has nothing of what is done then.
    if cfg!(feature = "managed-instances") {
        lock().seat
    } else {
        None
    }
}

/// Whether `_X_AMZN_TRACE_ID` is set. It is not on Managed Instances, where one process may serve
/// several invocations at once.
pub(super) fn has_trace_variable() -> bool {
    seat().is_none()
}

/// The loop is about to ask for an event. Returns whether the process is doomed: then it must not.
#[must_use]
pub(super) fn idle() -> bool {
    let mut current = enter(Phase::Idle);
    current.request_id.clear();
    current.tenant_id.clear();
    if current.doomed.is_some() {
        return true;
    }
    if current.seat().is_some_and(|seat| !seat.polls()) {
        drop(current);
        reexec::wait();
    }
    false
}

/// The environment was restored from a snapshot.
pub(super) fn restored() {
    drop(enter(Phase::Restored));
}

/// The environment ends.
pub(super) fn ends() {
    lock().is_ending = true;
}

/// Whether it does.
pub(super) fn is_ending() -> bool {
    lock().is_ending
}

/// The handler runs. Returns the panic that has doomed the process, if one has: then it must not.
pub(super) fn invoking(
    ids: Ids<'_>,
    tenant_id: Option<&str>,
    deadline_ms: Option<u64>,
) -> Option<Arc<Error>> {
    let mut current = enter(Phase::Invoking);
    current.set(ids, tenant_id);
    if let Some(seat) = current.seat() {
        seat.slot().invokes(ids, deadline_ms);
    }
    current.doomed.take()
}

/// The loop sends an answer.
pub(super) fn answering() {
    // A stream whose first connection was lost is begun on another one.
    if lock().phase == Phase::Answering {
        return;
    }
    let current = enter(Phase::Answering);
    if current.seat().is_some_and(|seat| !seat.slot().answers()) {
        drop(current);
        reexec::wait();
    }
}

/// The answer has been sent, by the loop or by a panic.
#[inline(never)]
pub(super) fn answered() {
    let mut current = lock();
    if current.phase == Phase::Answering {
        current.phase = Phase::Idle;
    }
    if let Some(seat) = current.seat() {
        seat.slot().answered();
    }
}

/// The loop is over.
pub(super) fn ended() {
    drop(enter(Phase::Ended));
}

/// A thread has panicked with `error`. From then on it is for that thread to report, if there is
/// something to report.
pub(super) fn panicked(thread: Thread, error: &Arc<Error>) -> Broken {
    lock().panicked(thread, error)
}

/// Runs `read` with the request id and the tenant id of the invocation that runs.
pub(super) fn with_ids(read: impl FnOnce(Option<&str>, Option<&str>)) {
    let current = lock();
    read(present(&current.request_id), present(&current.tenant_id));
}

/// Moves to `phase`. A loop whose invocation is reported as broken by another thread goes no
/// further: that thread replaces the process.
fn enter(phase: Phase) -> MutexGuard<'static, Current> {
    let mut current = lock();
    if current.phase == Phase::Reporting {
        drop(current);
        reexec::wait();
    }
    current.phase = phase;
    current
}

impl Current {
    const fn new() -> Self {
        Self {
            phase: Phase::Init,
            request_id: String::new(),
            invocation_id: String::new(),
            tenant_id: String::new(),
            doomed: None,
            is_again: false,
            is_ending: false,
            seat: None,
        }
    }

    /// In a build without workers it is known to be `None`, and what is done with one is left out.
    fn seat(&self) -> Option<Seat> {
        self.seat.filter(|_| cfg!(feature = "managed-instances"))
    }

    fn set(&mut self, ids: Ids<'_>, tenant_id: Option<&str>) {
        let Ids {
            request_id,
            invocation_id,
        } = ids;
        let ids = [Some(request_id), invocation_id, tenant_id];
        let slots = [
            &mut self.request_id,
            &mut self.invocation_id,
            &mut self.tenant_id,
        ];
        for (slot, id) in slots.into_iter().zip(ids) {
            slot.clear();
            slot.push_str(id.unwrap_or_default());
        }
    }

    fn panicked(&mut self, thread: Thread, error: &Arc<Error>) -> Broken {
        let broken = match self.phase {
            _ if thread == Thread::Shutdown => return Broken::Shutdown,
            Phase::Ended => return Broken::Nothing,
            Phase::Reporting => return Broken::Reported,
            // To replace the process now would lose an event that is on its way to the connection
            // which waits for it. Once it has come, `next` gives it again.
            Phase::Idle | Phase::Answering if thread == Thread::Other => {
                self.doomed.get_or_insert_with(|| Arc::clone(error));
                return Broken::Doomed;
            }
            Phase::Init => Broken::Init,
            Phase::Restored => Broken::Restore,
            Phase::Idle => Broken::Loop,
            Phase::Invoking if self.seat().is_some_and(|seat| !seat.slot().answers()) => {
                return Broken::Reported;
            }
            Phase::Answering | Phase::Invoking => Broken::Invocation {
                request_id: self.request_id.clone(),
                invocation_id: present(&self.invocation_id).map(ToOwned::to_owned),
            },
        };
        self.phase = Phase::Reporting;
        broken
    }
}

fn present(id: &str) -> Option<&str> {
    Some(id).filter(|id| !id.is_empty())
}

reexec::process_lock!(lock: Current = Current::new());

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: [&str; 3] = ["id-1", "nonce", "tenant"];

    fn at(phase: Phase) -> Current {
        let [request_id, invocation_id, tenant_id] = IDS.map(str::to_owned);
        Current {
            phase,
            request_id,
            invocation_id,
            tenant_id,
            doomed: None,
            is_again: false,
            is_ending: false,
            seat: None,
        }
    }

    fn error(message: &'static str) -> Arc<Error> {
        Arc::new(Error::new("Function.Panic", message))
    }

    #[test]
    fn what_a_panic_breaks_follows_from_the_phase_and_the_thread() {
        let invocation = || Broken::Invocation {
            request_id: "id-1".to_owned(),
            invocation_id: Some("nonce".to_owned()),
        };
        let table = [
            (Phase::Init, Broken::Init, Broken::Init),
            (Phase::Restored, Broken::Restore, Broken::Restore),
            (Phase::Idle, Broken::Loop, Broken::Doomed),
            (Phase::Invoking, invocation(), invocation()),
            (Phase::Answering, invocation(), Broken::Doomed),
            (Phase::Reporting, Broken::Reported, Broken::Reported),
            (Phase::Ended, Broken::Nothing, Broken::Nothing),
        ];
        let table = table.into_iter().flat_map(|(phase, in_loop, elsewhere)| {
            [
                (phase, Thread::Loop, in_loop),
                (phase, Thread::Other, elsewhere),
                (phase, Thread::Shutdown, Broken::Shutdown),
            ]
        });
        for (phase, thread, expected) in table {
            let mut current = at(phase);
            let broken = current.panicked(thread, &error("m"));
            assert_eq!(broken, expected, "{phase:?} {thread:?}");
            let reports = matches!(
                broken,
                Broken::Init | Broken::Restore | Broken::Invocation { .. } | Broken::Loop
            );
            assert_eq!(
                current.phase == Phase::Reporting,
                reports || phase == Phase::Reporting,
                "one thread reports: {phase:?} {thread:?}"
            );
            assert_eq!(current.doomed.is_some(), broken == Broken::Doomed);
        }
    }

    #[test]
    fn the_first_panic_that_breaks_nothing_is_the_one_that_is_kept() {
        let mut current = at(Phase::Idle);
        for message in ["first", "second"] {
            assert_eq!(
                current.panicked(Thread::Other, &error(message)),
                Broken::Doomed
            );
        }
        assert_eq!(current.doomed.unwrap().to_string(), "first");
    }

    #[test]
    fn a_panic_breaks_the_invocation_that_no_other_process_answers() {
        let ([seat, _], _file) = Seat::both();
        let ids = Ids {
            request_id: "id-1",
            invocation_id: None,
        };
        seat.slot().invokes(ids, None);
        let broken = || {
            let mut current = at(Phase::Invoking);
            current.seat = Some(seat);
            current.panicked(Thread::Loop, &error("m"))
        };
        assert!(matches!(broken(), Broken::Invocation { .. }));
        // From then on an answer is on its way, as it is past the deadline.
        assert_eq!(broken(), Broken::Reported);
    }

    #[test]
    fn a_panic_behind_the_loop_breaks_nothing() {
        assert!(!idle());
        ended();
        assert_eq!(panicked(Thread::Loop, &error("m")), Broken::Nothing);
    }

    #[test]
    fn a_panic_behind_the_answer_breaks_no_invocation() {
        for (thread, expected) in [
            (Thread::Loop, Broken::Loop),
            (Thread::Other, Broken::Doomed),
        ] {
            *lock() = at(Phase::Answering);
            answered();
            assert_eq!(panicked(thread, &error("m")), expected);
        }
        assert!(idle(), "a doomed process asks for no event");
    }

    #[test]
    fn an_id_that_the_next_invocation_has_not_is_forgotten() {
        let mut current = at(Phase::Idle);
        let ids = Ids {
            request_id: "id-2",
            invocation_id: None,
        };
        current.set(ids, None);
        let ids = [current.request_id, current.invocation_id, current.tenant_id];
        assert_eq!(ids, ["id-2", "", ""]);
    }
}

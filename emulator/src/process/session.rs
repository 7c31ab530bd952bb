//! Stopping, continuing and killing every process of a session.
//!
//! Lambda freezes the whole execution environment. A handler may start children in other process
//! groups, so the session is what is walked; no cgroup is needed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::task::yield_now;
use tokio::time::sleep;

use super::members::Members;
use super::proc::{self, Memory, is_member, session_members, stat};
use super::watchdog;

/// Stops every process of the sessions.
///
/// Those that are known are stopped before others are looked for, which may take longer than many
/// an invocation: mostly there are no others, and one look is enough.
pub(crate) async fn freeze(sessions: &[i32], members: &mut Members) {
    let known = members.pids().to_vec();
    for pid in belonging(&known, sessions) {
        signal(pid, Signal::STOP);
    }
    // A signal takes effect when its receiver is next scheduled.
    let are_stopped = until(|| {
        let mut members = belonging(&known, sessions);
        !members.any(is_running)
    })
    .await;
    let mut stopped = if are_stopped { known } else { Vec::new() };
    // A process may have started another one before it was stopped.
    until(|| {
        let found = members.look_at_rest(&stopped, sessions, Instant::now());
        let (running, others): (Vec<i32>, Vec<i32>) =
            found.iter().partition(|pid| is_running(**pid));
        for pid in &running {
            signal(*pid, Signal::STOP);
        }
        stopped = others;
        running.is_empty()
    })
    .await;
}

/// Continues the processes that [`freeze`] has stopped. What is stopped starts no others.
pub(crate) fn thaw(sessions: &[i32], members: &Members) {
    for pid in belonging(members.pids(), sessions) {
        signal(pid, Signal::CONT);
    }
}

/// Those of the processes that are of the sessions: the id of one that has ended may be another
/// one's.
fn belonging(pids: &[i32], sessions: &[i32]) -> impl Iterator<Item = i32> {
    let pids = pids.iter().copied();
    pids.filter(|pid| is_member(*pid, sessions))
}

/// Kills every process of the session; true when none was left but zombies.
pub(crate) async fn kill(session: i32) -> bool {
    // The leader at once: it must not run on while the others are looked for. Its id may belong
    // to another process by now if it was reaped already.
    if stat(session).is_some_and(|leader| leader.session == session) {
        signal(session, Signal::KILL);
    }
    // A process may fork between being seen and being killed.
    until(|| {
        let mut are_dead = true;
        for pid in session_members(session).filter(|pid| state(*pid).is_some()) {
            signal(pid, Signal::KILL);
            are_dead = false;
        }
        are_dead
    })
    .await
}

/// The resident memory of every process of the sessions that lives: the sums.
pub(crate) fn memory(sessions: &[i32], members: &mut Members) -> Memory {
    let members = members.look(sessions, Instant::now()).into_iter();
    let pids = members.filter_map(|pid| u32::try_from(pid).ok());
    pids.filter_map(proc::memory).sum()
}

/// Kills the processes of the session that there are, without waiting for their ends.
pub(crate) fn kill_now(session: i32) {
    for pid in session_members(session) {
        signal(pid, Signal::KILL);
    }
}

/// The session of one process, which ends with this process. If it is dropped before its end was
/// seen, which is so when the emulator's thread panics, the session is killed.
#[derive(Debug)]
pub(crate) struct Guard {
    session: i32,
    ended: AtomicBool,
}

impl Guard {
    pub(crate) fn new(session: i32) -> Self {
        watchdog::watch(session);
        Self {
            session,
            ended: AtomicBool::new(false),
        }
    }

    /// No process of the session is left.
    pub(crate) fn end(&self) {
        if !self.ended.swap(true, Ordering::Relaxed) {
            watchdog::forget(self.session);
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.ended.load(Ordering::Relaxed) {
            kill_now(self.session);
            watchdog::forget(self.session);
        }
    }
}

/// Repeats until done; false when that was never so.
async fn until(mut done: impl FnMut() -> bool) -> bool {
    for round in 0..ROUNDS_MAX {
        if done() {
            return true;
        }
        if round < ROUNDS_AT_ONCE {
            yield_now().await;
        } else {
            sleep(ROUND_PAUSE).await;
        }
    }
    false
}

fn is_running(pid: i32) -> bool {
    state(pid).is_some_and(|state| !matches!(state, 'T' | 't'))
}

/// The state of a process that has not ended.
fn state(pid: i32) -> Option<char> {
    let state = stat(pid)?.state;
    (!matches!(state, 'Z' | 'X' | 'x')).then_some(state)
}

/// A process that is gone already needs no signal.
fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _gone = kill_process(pid, signal);
    }
}

const ROUNDS_MAX: usize = 1_000;
/// A millisecond or so in all: mostly a signal has taken effect after a few.
const ROUNDS_AT_ONCE: usize = 50;
const ROUND_PAUSE: Duration = Duration::from_millis(1);

//! Stopping, continuing and killing every process of a session.
//!
//! Lambda freezes the whole execution environment. A handler may start children in other process
//! groups, so the session is what is walked; no cgroup is needed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use procfs::process::Stat;
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
    let are_stopped = until(ROUNDS_MAX, || {
        let mut members = belonging(&known, sessions);
        !members.any(is_running)
    })
    .await;
    let mut stopped = if are_stopped { known } else { Vec::new() };
    // A process may have started another one before it was stopped.
    until(ROUNDS_MAX, || {
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

/// Waits until the processes that [`thaw`] has continued wait again for what they waited for; true
/// if all do. One that computes is not waited for long.
///
/// A process that is stopped in a system call makes it once more when it is continued. A signal
/// that comes just before runs its handler and does not interrupt the call: the `read` of a shell
/// would not end, and its trap not run.
pub(crate) async fn settle(sessions: &[i32], members: &Members) -> bool {
    until(SETTLE_ROUNDS_MAX, || {
        let mut members = belonging(members.pids(), sessions);
        members.all(|pid| state(pid).is_none_or(|state| matches!(state, 'S' | 'D')))
    })
    .await
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
    until(ROUNDS_MAX, || {
        let mut are_dead = true;
        for pid in session_members(session).filter(|pid| lives(*pid)) {
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
async fn until(rounds_max: usize, mut done: impl FnMut() -> bool) -> bool {
    for round in 0..rounds_max {
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

/// The state of a process whose first thread has not ended.
fn state(pid: i32) -> Option<char> {
    let stat = stat(pid)?;
    (!is_zombie(&stat)).then_some(stat.state)
}

/// Whether any thread of the process is left, and with it its open files. Of one that ends, the
/// first thread may be a zombie before the others are gone.
fn lives(pid: i32) -> bool {
    stat(pid).is_some_and(|stat| !is_zombie(&stat) || stat.num_threads > 1)
}

fn is_zombie(stat: &Stat) -> bool {
    matches!(stat.state, 'Z' | 'X' | 'x')
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
/// Some twenty milliseconds more: what is left of the time to shut down is the processes'.
const SETTLE_ROUNDS_MAX: usize = ROUNDS_AT_ONCE + 20;

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Read as _};
    use std::process::{Child, Command, Stdio};
    use std::thread;

    use super::*;

    /// The shell that runs the script in a session of its own, once it has written a line.
    fn shell(script: &str) -> (Child, i32) {
        let mut command = Command::new("setsid");
        command.args(["sh", "-c", script]).stdout(Stdio::piped());
        spawn(&mut command)
    }

    fn spawn(command: &mut Command) -> (Child, i32) {
        let mut child = command.spawn().unwrap();
        let session = i32::try_from(child.id()).unwrap();
        let stdout = child.stdout.as_mut().unwrap();
        let said = BufReader::new(stdout).lines().map(Result::unwrap);
        said.take_while(|line| line != READY).for_each(drop);
        (child, session)
    }

    #[tokio::test]
    async fn processes_that_were_thawed_wait_again_before_they_are_told_anything() {
        // The parent of a process that is continued is told so; a shell would wake for it.
        let script = "for _ in $(seq 20); do sleep 60 & done; echo ready; exec sleep 60";
        let (mut shell, session) = shell(script);
        let all_wait = || session_members(session).all(|pid| state(pid) == Some('S'));
        assert!(until(ROUNDS_MAX, all_wait).await);
        let mut members = Members::default();
        let mut settled = 0;
        for _ in 0..20 {
            freeze(&[session], &mut members).await;
            thaw(&[session], &members);
            if settle(&[session], &members).await {
                assert!(all_wait());
                settled += 1;
            }
        }
        assert_ne!(settled, 0);
        assert!(kill(session).await);
        shell.wait().unwrap();
        // Nobody is waited for.
        assert!(settle(&[session], &members).await);
    }

    #[tokio::test]
    async fn a_process_that_computes_is_not_waited_for_long() {
        let (mut shell, session) = shell("echo ready; while :; do :; done");
        let mut members = Members::default();
        freeze(&[session], &mut members).await;
        thaw(&[session], &members);
        assert!(!settle(&[session], &members).await);
        assert_eq!(state(session), Some('R'));
        assert!(kill(session).await);
        shell.wait().unwrap();
    }

    #[tokio::test]
    async fn a_killed_process_has_closed_its_output() {
        for _ in 0..10 {
            let mut command = Command::new("setsid");
            command.arg(std::env::current_exe().unwrap());
            command.args(["--nocapture", "--exact"]);
            command.arg("process::session::tests::a_process_of_many_threads");
            command.env(MANY_THREADS, "").stdout(Stdio::piped());
            let (mut child, session) = spawn(&mut command);
            assert!(kill(session).await);
            let mut stdout = child.stdout.take().unwrap();
            rustix::io::ioctl_fionbio(&stdout, true).unwrap();
            assert_eq!(stdout.read(&mut [0]).unwrap(), 0);
            child.wait().unwrap();
        }
    }

    /// The process of the test above.
    #[test]
    fn a_process_of_many_threads() {
        if std::env::var_os(MANY_THREADS).is_none() {
            return;
        }
        for _ in 0..200 {
            thread::spawn(thread::park);
        }
        println!("\n{READY}");
        thread::sleep(Duration::from_secs(60));
    }

    const READY: &str = "ready";
    const MANY_THREADS: &str = "EMULATOR_TEST_MANY_THREADS";
}

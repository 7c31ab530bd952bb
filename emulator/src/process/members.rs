//! The processes of sessions, looked for with as few questions as possible.
//!
//! They are found among all processes of the machine, because a child may have left its parent.
//! To ask for each of them takes longer than many an invocation. The kernel numbers processes and
//! threads in ascending order and tells the last number, and only a process of a session makes
//! another one of it. So a look soon after such a walk asks for those that were found and those
//! with a later number.

use std::fs::File;
use std::ops::RangeInclusive;
use std::os::unix::fs::FileExt as _;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::proc::{every_pid, is_member};

/// The processes of sessions, as they were found last.
#[derive(Debug, Default)]
pub(crate) struct Members {
    pids: Vec<i32>,
    walk: Option<Walk>,
}

/// A walk through all processes of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Walk {
    /// The sessions whose processes it looked for.
    sessions: Vec<i32>,
    at: Instant,
    /// The last number that was given to a process before it.
    last_pid: i32,
    /// Every process was stopped before. Otherwise one may have been on its way, with a number and
    /// not yet in a session.
    at_rest: bool,
}

impl Members {
    pub(crate) fn pids(&self) -> &[i32] {
        &self.pids
    }

    /// The processes that there are, a child that is just being made left out.
    pub(crate) fn look(&mut self, sessions: &[i32], now: Instant) -> Vec<i32> {
        self.look_since(|_| true, sessions, now)
    }

    /// The processes that there are, where `stopped` are known to be stopped: none is left out that
    /// one of them has made.
    pub(crate) fn look_at_rest(
        &mut self,
        stopped: &[i32],
        sessions: &[i32],
        now: Instant,
    ) -> Vec<i32> {
        let members = self.look_since(|walk| walk.at_rest, sessions, now);
        if let Some(walk) = self.walk.as_mut().filter(|walk| walk.at == now) {
            walk.at_rest = members.iter().all(|member| stopped.contains(member));
        }
        members
    }

    fn look_since(
        &mut self,
        is_enough: impl Fn(&Walk) -> bool,
        sessions: &[i32],
        now: Instant,
    ) -> Vec<i32> {
        // What is made from here on is found by the next look.
        let last_pid = last_pid();
        let walk = self.walk.take().filter(is_enough);
        let later = walk.as_ref().zip(last_pid);
        let later = later.and_then(|(walk, last_pid)| walk.later(sessions, now, last_pid));
        if let Some(later) = later {
            self.walk = walk;
            self.pids.retain(|pid| !later.contains(pid));
            self.pids.extend(later);
        } else {
            self.walk = last_pid.map(|last_pid| Walk {
                sessions: sessions.to_vec(),
                at: now,
                last_pid,
                at_rest: false,
            });
            self.pids = every_pid().collect();
        }
        self.pids.retain(|pid| is_member(*pid, sessions));
        self.pids.clone()
    }
}

impl Walk {
    /// The numbers that were given since, if they are known and few.
    fn later(&self, sessions: &[i32], now: Instant, last_pid: i32) -> Option<RangeInclusive<i32>> {
        let is_young = now.saturating_duration_since(self.at) < AGE_MAX;
        let count = last_pid.checked_sub(self.last_pid)?;
        let is_usable = is_young && self.sessions == sessions && (0..=LATER_MAX).contains(&count);
        is_usable.then(|| self.last_pid + 1..=last_pid)
    }
}

/// The number of the process or thread that was made last, where the kernel tells it (built with
/// `CONFIG_CHECKPOINT_RESTORE`, as those of distributions are).
fn last_pid() -> Option<i32> {
    static FILE: OnceLock<Option<File>> = OnceLock::new();
    let file = FILE.get_or_init(|| File::open("/proc/sys/kernel/ns_last_pid").ok());
    let mut text = [0; 16];
    let length = file.as_ref()?.read_at(&mut text, 0).ok()?;
    std::str::from_utf8(text.get(..length)?)
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// The age of a walk after which there is another one. The numbers begin again after 32,768 or
/// more, and no machine makes that many processes in this time.
const AGE_MAX: Duration = Duration::from_millis(10);
/// A walk costs no more than to ask for so many.
const LATER_MAX: i32 = 100;

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::process::{Command, Stdio};

    use super::*;
    use crate::process::proc::session_members;
    use crate::process::session::kill_now;

    #[test]
    fn what_is_asked_for_are_the_numbers_since_the_walk() {
        let at = Instant::now();
        let walk = Walk {
            sessions: vec![7],
            at,
            last_pid: 1_000,
            at_rest: true,
        };
        let table: [(&[i32], u64, i32, bool); 9] = [
            (&[7], 0, 1_000, true),
            (&[7], 9, 1_003, true),
            (&[7], 9, 1_100, true),
            (&[7], 9, 1_101, false),
            // The numbers began again.
            (&[7], 9, 999, false),
            (&[7], 9, 300, false),
            (&[7], 10, 1_003, false),
            (&[7, 8], 0, 1_003, false),
            (&[], 0, 1_003, false),
        ];
        for (sessions, age_ms, last_pid, is_usable) in table {
            let now = at + Duration::from_millis(age_ms);
            let later = walk.later(sessions, now, last_pid);
            let expected = is_usable.then_some(1_001..=last_pid);
            assert_eq!(later, expected, "{sessions:?} {age_ms} {last_pid}");
        }
    }

    #[test]
    fn a_look_finds_what_a_walk_finds() {
        // Two children, of which the second leaves its parent, when it is asked to.
        let script = "sleep 60 & echo; while read line; do (sleep 60 &) ; echo; done";
        let mut command = Command::new("setsid");
        command.args(["sh", "-c", script]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut shell = command.spawn().unwrap();
        let session = i32::try_from(shell.id()).unwrap();
        let mut lines = BufReader::new(shell.stdout.take().unwrap()).lines();
        let mut input = shell.stdin.take().unwrap();
        lines.next();
        let mut members = Members::default();
        let sorted = |mut found: Vec<i32>| {
            found.sort_unstable();
            found
        };
        // Without age a walk stays good.
        let now = Instant::now();
        for expected in 2..6 {
            let found = sorted(members.look(&[session], now));
            assert_eq!(found.len(), expected);
            assert_eq!(found, sorted(session_members(session).collect()));
            input.write_all(b"\n").unwrap();
            lines.next();
        }
        kill_now(session);
        shell.wait().unwrap();
    }
}

//! Readings from `/proc` (proc(5)).

use std::fs;
use std::iter::Sum;
use std::time::Duration;

use nix::unistd::{Pid, getsid};
use procfs::ProcResult;
use procfs::process::{Process, Stat, Status};

/// The resident memory of a process, in KiB.
pub(crate) fn memory_kb(pid: u32) -> Option<u64> {
    status(pid)?.vmrss
}

/// The largest resident memory that a process had so far, in KiB.
pub(crate) fn peak_memory_kb(pid: u32) -> Option<u64> {
    status(pid)?.vmhwm
}

/// Resident memory of processes, in KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) now: u64,
    /// The largest so far.
    pub(crate) peak: u64,
}

impl Sum for Memory {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            now: sum.now + one.now,
            peak: sum.peak + one.peak,
        })
    }
}

/// The resident memory of a process.
pub(crate) fn memory(pid: u32) -> Option<Memory> {
    let status = status(pid)?;
    Some(Memory {
        now: status.vmrss?,
        peak: status.vmhwm?,
    })
}

fn status(pid: u32) -> Option<Status> {
    Process::new(i32::try_from(pid).ok()?).ok()?.status().ok()
}

/// Whether this process ignores a signal.
pub(crate) fn ignores(signal: i32) -> bool {
    let status = Process::myself().and_then(|process| process.status());
    let bit = signal
        .checked_sub(1)
        .and_then(|bit| u32::try_from(bit).ok());
    let shifted = bit.and_then(|bit| status.ok()?.sigign.checked_shr(bit));
    shifted.is_some_and(|shifted| shifted & 1 == 1)
}

/// Processor time of every living thread.
pub(crate) fn cpu(pid: u32) -> Duration {
    let nanoseconds = || -> ProcResult<u64> {
        let pid = i32::try_from(pid).unwrap_or_default();
        let tasks = Process::new(pid)?.tasks()?.flatten();
        // A thread that ended meanwhile is left out.
        Ok(tasks
            .filter_map(|task| task.schedstat().ok())
            .map(|schedstat| schedstat.sum_exec_runtime)
            .sum())
    };
    Duration::from_nanos(nanoseconds().unwrap_or_default())
}

/// Every process of the sessions.
pub(crate) fn session_members(sessions: &[i32]) -> Vec<Stat> {
    every_pid()
        .filter_map(|pid| member(pid, sessions))
        .collect()
}

/// Every process of the machine.
pub(crate) fn every_pid() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// A process, if it exists and is in one of the sessions.
pub(crate) fn member(pid: i32, sessions: &[i32]) -> Option<Stat> {
    // The kernel is asked first: to read a file for every process of the machine takes longer than
    // most invocations.
    let is_candidate = is_member(pid, sessions);
    let stat = is_candidate.then(|| stat(pid)).flatten()?;
    sessions.contains(&stat.session).then_some(stat)
}

/// Whether a process exists and is in one of the sessions.
pub(crate) fn is_member(pid: i32, sessions: &[i32]) -> bool {
    // Zero for a process that another pid namespace put into its session.
    getsid(Some(Pid::from_raw(pid))).is_ok_and(|session| sessions.contains(&session.as_raw()))
}

/// One process, if it exists.
pub(crate) fn stat(pid: i32) -> Option<Stat> {
    Process::new(pid).ok()?.stat().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_a_size_and_has_used_the_processor() {
        let pid = std::process::id();
        assert!(peak_memory_kb(pid).unwrap() >= memory_kb(pid).unwrap() / 2);
        assert!(cpu(pid) > Duration::ZERO);
        // The largest number that a process may have is far smaller.
        assert_eq!(memory_kb(i32::MAX.unsigned_abs()), None);
        assert_eq!(cpu(i32::MAX.unsigned_abs()), Duration::ZERO);
    }

    #[test]
    fn this_process_ignores_what_rust_does() {
        assert!(ignores(signal_hook::consts::SIGPIPE));
        assert!(!ignores(signal_hook::consts::SIGTERM));
        for none in [0, -1, i32::MIN, 65, 1_000] {
            assert!(!ignores(none), "{none}");
        }
    }
}

//! Readings from `/proc` (proc(5)).

use std::fs::{self, File};
use std::io::Read as _;
use std::iter::Sum;
use std::time::Duration;

use nix::unistd::{Pid, getsid};
use procfs::ProcResult;
use procfs::process::{Process, Stat};

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

/// The resident memory of a process that lives.
///
/// It is read with each invocation, so nothing else of the file is parsed.
pub(crate) fn memory(pid: u32) -> Option<Memory> {
    let mut status = String::with_capacity(STATUS_BYTES);
    let mut file = File::open(format!("/proc/{pid}/status")).ok()?;
    file.read_to_string(&mut status).ok()?;
    let kb = |name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name))?;
        value.trim().strip_suffix(" kB")?.parse().ok()
    };
    Some(Memory {
        now: kb("VmRSS:")?,
        peak: kb("VmHWM:")?,
    })
}

/// More than that file has, so that it takes one read.
const STATUS_BYTES: usize = 4_096;

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

/// Every process of the session.
pub(crate) fn session_members(session: i32) -> impl Iterator<Item = i32> {
    every_pid().filter(move |pid| is_member(*pid, &[session]))
}

/// Every process of the machine.
pub(crate) fn every_pid() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Whether a process exists and is in one of the sessions.
///
/// The kernel is asked: to read a file for every process of the machine takes longer than most
/// invocations.
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
        let size = memory(pid).unwrap();
        let status = Process::myself().unwrap().status().unwrap();
        assert!((size.now / 2..size.now * 2).contains(&status.vmrss.unwrap()));
        assert!((size.now..=status.vmhwm.unwrap()).contains(&size.peak));
        assert!(cpu(pid) > Duration::ZERO);
        // The largest number that a process may have is far smaller.
        assert_eq!(memory(i32::MAX.unsigned_abs()), None);
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

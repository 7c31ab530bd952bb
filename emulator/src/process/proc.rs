//! Readings from `/proc` (proc(5)).

use std::fs;
use std::time::Duration;

use nix::unistd::{Pid, getsid};

/// One process as `/proc/PID/stat` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) pid: i32,
    pub(crate) state: char,
    pub(crate) session: i32,
}

/// A size in KiB from `/proc/PID/status`, for example `VmHWM`.
pub(crate) fn status_kb(pid: u32, field: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Whether this process ignores a signal (`SigIgn` in `/proc/self/status`).
pub(crate) fn ignores(signal: i32) -> bool {
    let ignored = || {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let mask = status.lines().find_map(|l| l.strip_prefix("SigIgn:"))?;
        let mask = u64::from_str_radix(mask.trim(), 16).ok()?;
        let bit = u32::try_from(signal).ok()?.checked_sub(1)?;
        Some(mask.checked_shr(bit)? & 1 == 1)
    };
    ignored().unwrap_or_default()
}

/// Processor time of every living thread, from `/proc/PID/task/*/schedstat`.
pub(crate) fn cpu(pid: u32) -> Duration {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Duration::ZERO;
    };
    let nanoseconds = tasks.flatten().filter_map(|task| {
        let line = fs::read_to_string(task.path().join("schedstat")).ok()?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}

/// Every process of a session.
pub(crate) fn session_members(session: i32) -> Vec<Stat> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let numbered = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    // The kernel is asked first: reading a file for every process of the machine takes longer
    // than most invocations.
    let candidates = numbered.filter(|pid| session_of(*pid) == Some(session));
    candidates
        .filter_map(stat)
        .filter(|stat| stat.session == session)
        .collect()
}

fn session_of(pid: i32) -> Option<i32> {
    // Zero for a process that another pid namespace put into its session.
    Some(getsid(Some(Pid::from_raw(pid))).ok()?.as_raw())
}

/// One process, if it exists.
pub(crate) fn stat(pid: i32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// `pid (comm) state ppid pgrp session ...`, where `comm` may contain blanks and parentheses.
fn parse_stat(line: &str) -> Option<Stat> {
    let (pid, _) = line.split_once(' ')?;
    let (_, rest) = line.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?.chars().next()?;
    let session = fields.nth(2)?.parse().ok()?;
    Some(Stat {
        pid: pid.parse().ok()?,
        state,
        session,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_name_with_parentheses_does_not_move_the_fields() {
        let stat = parse_stat("17 (a) S (b) T 1 22 33 0 -1 4194304").unwrap();
        assert_eq!(
            stat,
            Stat {
                pid: 17,
                state: 'T',
                session: 33
            }
        );
        assert_eq!(parse_stat(""), None);
        assert_eq!(parse_stat("17 (a) T 1"), None);
    }

    #[test]
    fn this_process_has_a_size_and_has_used_the_processor() {
        let pid = std::process::id();
        assert!(status_kb(pid, "VmHWM").unwrap() >= status_kb(pid, "VmRSS").unwrap() / 2);
        assert_eq!(status_kb(pid, "VmNothing"), None);
        assert!(cpu(pid) > Duration::ZERO);
        // Rust's start ignores it; nothing here ignores the other.
        assert!(ignores(13));
        assert!(!ignores(15));
    }
}

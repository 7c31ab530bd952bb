//! A note from a process that a reset ends to the one that comes after it in its environment.
//!
//! The new process sees only that it was started again. The old one hears why it ends, and `/tmp`
//! outlasts it: "Lambda … performs a reset … without clearing `/tmp`",
//! <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html#runtimes-lifecycle-invoke-with-errors>.
//! Directories, because making and removing one is atomic and cannot block.

use rustix::fs::{Mode, mkdir, rmdir};
use rustix::process::{Pid, getppid};

use super::account::Predecessor;

/// Leaves a note, if there is anything to tell.
pub(super) fn leave(api_port: u16, predecessor: Option<Predecessor>) {
    if let Some(predecessor) = predecessor {
        mkdir(path(api_port, predecessor), Mode::RWXU).ok();
    }
}

/// Takes the note, if one was left.
pub(super) fn take(api_port: u16) -> Option<Predecessor> {
    let mut kinds = [
        Predecessor::FailedInit,
        Predecessor::Timeout,
        Predecessor::Crash,
    ]
    .into_iter();
    kinds.find(|kind| rmdir(path(api_port, *kind)).is_ok())
}

/// The platform's process and port tell environments apart that share a machine, as in local tools.
fn path(api_port: u16, predecessor: Predecessor) -> String {
    let kind = predecessor as u8;
    let parent = getppid().map_or(0, Pid::as_raw_pid);
    format!("/tmp/.bantam-{parent}-{api_port}-{kind}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_taken_once() {
        // No API listens on the first two ports, and no other test leaves notes there.
        leave(1, Some(Predecessor::Timeout));
        leave(1, Some(Predecessor::Timeout));
        leave(2, None);
        assert_eq!(take(2), None);
        assert_eq!(take(1), Some(Predecessor::Timeout));
        assert_eq!(take(1), None);
    }
}

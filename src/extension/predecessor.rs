//! A note from a process that a reset ends to the one that comes after it in its environment.
//!
//! The new process sees only that it was started again. The old one hears why it ends, and `/tmp`
//! outlasts it: "Lambda … performs a reset … without clearing `/tmp`",
//! <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html#runtimes-lifecycle-invoke-with-errors>.
//! The notes are directories, because making and removing one is atomic and cannot block.

use rustix::fs::{Mode, mkdir, rmdir};
use rustix::process::Pid;

use crate::extension::account::Predecessor;

/// Where notes of an environment lie. The platform's process and the port of its API tell
/// environments apart that share a machine, as under local tools.
#[derive(Clone, Copy, Debug)]
pub(super) struct Notes {
    pub(super) parent: Option<Pid>,
    pub(super) api_port: u16,
}

impl Notes {
    /// Leaves a note, if there is anything to tell.
    pub(super) fn leave(self, predecessor: Option<Predecessor>) {
        if let Some(predecessor) = predecessor {
            mkdir(self.path(predecessor), Mode::RWXU).ok();
        }
    }

    /// Takes the note, if one was left.
    pub(super) fn take(self) -> Option<Predecessor> {
        let mut kinds = [
            Predecessor::FailedInit,
            Predecessor::Timeout,
            Predecessor::Crash,
            Predecessor::OutOfMemory,
        ]
        .into_iter();
        kinds.find(|kind| rmdir(self.path(*kind)).is_ok())
    }

    fn path(self, predecessor: Predecessor) -> String {
        let parent = self.parent.map_or(0, Pid::as_raw_pid);
        let kind = predecessor as u8;
        format!("/tmp/.bantam-{parent}-{}-{kind}", self.api_port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_taken_once() {
        // No API listens on the first two ports, and no other test leaves notes there.
        let [one, other] = [1, 2].map(|api_port| Notes {
            parent: rustix::process::getppid(),
            api_port,
        });
        one.leave(Some(Predecessor::Timeout));
        one.leave(Some(Predecessor::Timeout));
        other.leave(None);
        assert_eq!(other.take(), None);
        assert_eq!(one.take(), Some(Predecessor::Timeout));
        assert_eq!(one.take(), None);
    }
}

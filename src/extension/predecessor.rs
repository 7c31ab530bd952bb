//! A note from a process that a reset ends to the one that comes after it in its environment.
//!
//! The new process sees only that it was started again. The old one hears why it ends, and `/tmp`
//! outlasts it: "Lambda … performs a reset … without clearing `/tmp`",
//! <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html#runtimes-lifecycle-invoke-with-errors>.
//! A note is a symbolic link that leads nowhere: making and reading one is a system call each, and
//! cannot block.

use rustix::fs::{CWD, readlinkat_raw, symlink, unlink};
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
    /// Leaves a note, if there is anything to tell, in place of one that this process left before.
    pub(super) fn leave(self, predecessor: Option<Predecessor>) {
        if let Some(predecessor) = predecessor {
            let path = self.path();
            unlink(&*path).ok();
            symlink(word(predecessor), &*path).ok();
        }
    }

    /// Takes the note, if one was left.
    pub(super) fn take(self) -> Option<Predecessor> {
        let path = self.path();
        let mut note = [0; WORD_BYTES_MAX];
        let count = readlinkat_raw(CWD, &*path, &mut note).ok()?;
        let found = KINDS
            .into_iter()
            .find(|kind| note.get(..count) == Some(word(*kind).as_bytes()));
        unlink(&*path).ok();
        found
    }

    fn path(self) -> String {
        let parent = self.parent.map_or(0, Pid::as_raw_pid);
        format!("/tmp/.bantam-{parent}-{}", self.api_port)
    }
}

const fn word(predecessor: Predecessor) -> &'static str {
    match predecessor {
        Predecessor::FailedInit => "failed_init",
        Predecessor::Timeout => "timeout",
        Predecessor::Crash => "crash",
        Predecessor::OutOfMemory => "out_of_memory",
    }
}

const KINDS: [Predecessor; 4] = [
    Predecessor::FailedInit,
    Predecessor::Timeout,
    Predecessor::Crash,
    Predecessor::OutOfMemory,
];

/// Bytes of a note that are read: more than the longest word.
const WORD_BYTES_MAX: usize = 16;

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
        for kind in KINDS {
            // The last note counts.
            one.leave(Some(Predecessor::Crash));
            one.leave(Some(kind));
            one.leave(None);
            other.leave(None);
            assert_eq!(other.take(), None);
            assert_eq!(one.take(), Some(kind));
            assert_eq!(one.take(), None);
        }
    }
}

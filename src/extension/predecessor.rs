//! A note from a process that a reset ends to the one that comes after it in its environment.
//!
//! The new process sees only that it was started again. The old one hears why it ends, and `/tmp`
//! outlasts it: "Lambda … performs a reset … without clearing `/tmp`",
//! <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html#runtimes-lifecycle-invoke-with-errors>.
//! A note is a symbolic link that leads nowhere: making and reading one is a system call each, and
//! cannot block.
//!
//! The platform may go on delivering to where the old process listened, so a note has its path too.

use rustix::fs::{CWD, readlinkat_raw, symlink, unlink};
use rustix::process::Pid;

use crate::extension::account::Predecessor;

/// Where notes of an environment lie. The platform's process and the port of its API tell
/// environments apart that share a machine, as under local tools.
#[derive(Debug)]
pub(super) struct Notes {
    pub(super) parent: Option<Pid>,
    pub(super) api_port: u16,
    /// The token of this process's deliveries, empty if there are none.
    pub(super) token: String,
}

/// A note that was left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) predecessor: Predecessor,
    /// The token of its deliveries, if it had any.
    pub(super) token: Option<String>,
}

impl Notes {
    /// Leaves a note, if there is anything to tell, in place of one that this process left before.
    pub(super) fn leave(&self, predecessor: Option<Predecessor>) {
        if let Some(predecessor) = predecessor {
            let path = self.path();
            unlink(&*path).ok();
            let note = [predecessor.name(), " ", &self.token].concat();
            symlink(note, &*path).ok();
        }
    }

    /// Takes the note, if one was left.
    pub(super) fn take(&self) -> Option<Note> {
        let path = self.path();
        let mut note = [0; NOTE_BYTES_MAX];
        let count = readlinkat_raw(CWD, &*path, &mut note).ok()?;
        unlink(&*path).ok();
        let note = std::str::from_utf8(note.get(..count)?).ok()?;
        let (found, token) = note.split_once(' ')?;
        let predecessor = Predecessor::ALL
            .into_iter()
            .find(|known| known.name() == found)?;
        let token = (!token.is_empty()).then(|| token.to_owned());
        Some(Note { predecessor, token })
    }

    fn path(&self) -> String {
        let parent = self.parent.map_or(0, Pid::as_raw_pid);
        format!("/tmp/.bantam-{parent}-{}", self.api_port)
    }
}

/// Bytes of a note that are read: the longest word, a space, and a token of 16.
const NOTE_BYTES_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_taken_once() {
        // No API listens on the first two ports, and no other test leaves notes there.
        let [one, other] = [(1, "5eed"), (2, "")].map(|(api_port, token)| Notes {
            parent: rustix::process::getppid(),
            api_port,
            token: token.to_owned(),
        });
        for kind in Predecessor::ALL {
            // The last note counts.
            one.leave(Some(Predecessor::Crash));
            one.leave(Some(kind));
            one.leave(None);
            other.leave(None);
            assert_eq!(other.take(), None);
            let note = |token: Option<&str>| {
                Some(Note {
                    predecessor: kind,
                    token: token.map(str::to_owned),
                })
            };
            assert_eq!(one.take(), note(Some("5eed")));
            assert_eq!(one.take(), None);
            other.leave(Some(kind));
            assert_eq!(other.take(), note(None));
        }
    }
}

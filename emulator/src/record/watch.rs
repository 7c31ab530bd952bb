//! What happens, handed to somebody who watches.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::log::LogLine;
use super::transcript::Entry;
use crate::lock::lock;

/// Something that has just happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A new entry of the transcript. Headers and bodies of requests are left out.
    Entry(Entry),
    /// A new line of the log.
    Line(LogLine),
}

/// Where everything goes that is recorded, if somebody watches.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    sender: Mutex<Option<SyncSender<Seen>>>,
}

impl Watch {
    /// What happens from now on. An earlier watcher gets no more.
    pub(crate) fn begin(&self) -> Receiver<Seen> {
        let (sender, receiver) = sync_channel(WAITING_MAX);
        *lock(&self.sender) = Some(sender);
        receiver
    }

    /// Whether somebody watches.
    pub(crate) fn is_on(&self) -> bool {
        lock(&self.sender).is_some()
    }

    /// Hands something on. It waits where the watcher is slow: nothing is left out.
    pub(crate) fn see(&self, seen: Seen) {
        let mut sender = lock(&self.sender);
        if sender
            .as_ref()
            .is_some_and(|sender| sender.send(seen).is_err())
        {
            // Nobody watches any more.
            *sender = None;
        }
    }
}

/// How much may wait for the watcher before the emulator waits for it.
const WAITING_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watcher_that_goes_away_is_forgotten() {
        let watch = Watch::default();
        assert!(!watch.is_on());
        let receiver = watch.begin();
        let seen = Seen::Line(LogLine::new(0, "stream", "text", None));
        watch.see(seen.clone());
        assert_eq!(receiver.recv(), Ok(seen.clone()));
        drop(receiver);
        watch.see(seen);
        assert!(!watch.is_on());
    }
}

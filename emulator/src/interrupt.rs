//! Ctrl-C, so that a command stops what it started.
//!
//! A function's processes run in a session of their own and may be stopped (frozen): a terminal's
//! interrupt never reaches them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use nix::sys::signal::{SigSet, Signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::process::proc;

/// SIGINT, SIGTERM and SIGHUP of this process, from [`Interrupt::install`] on.
#[derive(Debug)]
pub struct Interrupt {
    /// How many signals there were.
    count: Arc<AtomicUsize>,
    /// One message for each signal.
    signals: Receiver<()>,
}

impl Interrupt {
    /// Takes these signals over, also if they are blocked. The first one only asks; a second one
    /// ends the process at once. A SIGHUP that is ignored, as under nohup(1), stays so.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub fn install() -> io::Result<Self> {
        let mut taken = vec![SIGINT, SIGTERM];
        let mut unblocked = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
        if !proc::ignores(SIGHUP) {
            taken.push(SIGHUP);
            unblocked.add(Signal::SIGHUP);
        }
        let mut signals = Signals::new(taken)?;
        // Before any thread: the others inherit it.
        unblocked.thread_unblock()?;
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let (send, received) = channel();
        let wait = move || {
            for _signal in &mut signals {
                if counted.fetch_add(1, Ordering::SeqCst) != 0 {
                    // Asked for twice: whatever should end does not.
                    std::process::exit(EXIT_INTERRUPTED);
                }
                // Without a receiver the count alone says it.
                send.send(()).unwrap_or_default();
            }
        };
        drop(thread::Builder::new().name("signals".into()).spawn(wait)?);
        let signals = received;
        Ok(Self { count, signals })
    }

    /// Whether there was a signal.
    #[must_use]
    pub fn requested(&self) -> bool {
        self.count.load(Ordering::SeqCst) != 0
    }

    /// Waits for a signal, without a bound.
    pub fn wait(&self) {
        // The sender lives in the thread, which never ends.
        self.signals.recv().unwrap_or_default();
    }
}

/// 128 + SIGINT, as shells report a process that died of it.
const EXIT_INTERRUPTED: i32 = 130;

//! Ctrl-C, so that a command stops what it started.
//!
//! A function's processes run in a session of their own and may be stopped (frozen): a terminal's
//! interrupt never reaches them, and they would outlive an emulator that just died of it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};

/// SIGINT, SIGTERM and SIGHUP of this process, from [`Interrupt::install`] on.
#[derive(Debug)]
pub struct Interrupt {
    /// How many signals there were.
    count: Arc<AtomicUsize>,
    /// One message for each signal.
    signals: Receiver<()>,
}

impl Interrupt {
    /// Takes these signals over. The first one only asks; a second one ends the process at once, and
    /// with it the emulator, but not the processes the emulator started.
    ///
    /// # Errors
    ///
    /// It is installed already, or the system refuses.
    pub fn install() -> io::Result<Self> {
        let count = Arc::new(AtomicUsize::new(0));
        let (send, signals) = channel();
        let counted = Arc::clone(&count);
        ctrlc::set_handler(move || {
            if counted.fetch_add(1, Ordering::SeqCst) != 0 {
                // Asked for twice: whatever should end does not.
                std::process::exit(EXIT_INTERRUPTED);
            }
            // Without a receiver the count alone says it.
            send.send(()).unwrap_or_default();
        })
        .map_err(io::Error::other)?;
        Ok(Self { count, signals })
    }

    /// Whether there was a signal.
    #[must_use]
    pub fn requested(&self) -> bool {
        self.count.load(Ordering::SeqCst) != 0
    }

    /// Waits for a signal, without a bound.
    pub fn wait(&self) {
        // The sender lives in the handler, which is never removed.
        self.signals.recv().unwrap_or_default();
    }
}

/// 128 + SIGINT, as shells report a process that died of it.
const EXIT_INTERRUPTED: i32 = 130;

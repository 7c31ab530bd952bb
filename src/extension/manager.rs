//! Whoever started this process: it may be gone for good, and then nobody will ever send SHUTDOWN.
//!
//! An exit before SHUTDOWN takes the function down, so on Lambda the extension waits for an API
//! that does not answer for as long as it takes. Under a local tool that was killed it would wait
//! for ever, and be left behind. Only both of these together say that there is nobody to take down:
//! - the process that started this one has ended: this one has another parent. On Lambda the parent
//!   is the platform's own process, with which the whole environment ends. By itself it is no
//!   proof: a tool may start the extension through a shell that ends at once.
//! - nobody has listened at the API's address for [`GONE_AFTER`], neither for a connection that was
//!   kept nor for a new one. By itself it is no proof either: the platform may be busy or frozen.
//!
//! A parent-death signal would be simpler, and wrong: it comes when the *thread* that started this
//! process ends, <https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html>.

use std::fmt::Display;
use std::time::{Duration, Instant};

use rustix::process::{Pid, getppid};

use crate::extension::log;
use crate::shared::backoff::EXTENSION_CALLS;
use crate::shared::os::clock;

/// The process that started this one, and how its API fails.
#[derive(Debug)]
pub(super) struct Manager {
    parent: Option<Pid>,
    /// Since when the API has refused connections.
    refused_since: Option<Instant>,
    /// Calls that failed since the last one that succeeded.
    failures: u32,
}

impl Manager {
    /// `parent` is the parent of this process by now.
    pub(super) const fn new(parent: Option<Pid>) -> Self {
        Self {
            parent,
            refused_since: None,
            failures: 0,
        }
    }

    /// A call succeeded.
    pub(super) const fn handle_success(&mut self) {
        self.refused_since = None;
        self.failures = 0;
    }

    /// The call of this name failed; `is_refused` when nobody listens at the API's address. The
    /// pause before the next attempt, or `None` when there is nobody to wait for any more.
    #[inline(never)]
    pub(super) fn handle_failure(
        &mut self,
        call: &str,
        is_refused: bool,
        reason: &dyn Display,
    ) -> Option<Duration> {
        if !is_refused {
            self.refused_since = None;
        } else if self.handle_refusal(getppid(), clock::monotonic()) {
            return None;
        }
        self.failures = self.failures.saturating_add(1);
        if self.failures == FAILURES_LOGGED {
            log::warn(&format!(
                "{call} fails: {reason}; it is tried again for as long as it takes"
            ));
        }
        EXTENSION_CALLS.after(self.failures)
    }

    /// A connection was refused at `now`, when this process had the parent `parent`. Whether
    /// there is nobody to wait for any more.
    fn handle_refusal(&mut self, parent: Option<Pid>, now: Instant) -> bool {
        let since = *self.refused_since.get_or_insert(now);
        parent != self.parent && GONE_AFTER <= now.saturating_duration_since(since)
    }
}

/// Longer than a local tool takes to start its API again.
const GONE_AFTER: Duration = Duration::from_secs(5);

/// Failures in a row after which one line of the log says so: some 1.3 s after the first.
const FAILURES_LOGGED: u32 = 9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_gone_when_its_process_ended_and_nobody_listens() {
        let pid = |number| Pid::from_raw(number);
        let start = clock::monotonic();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut manager = Manager::new(pid(100));
        assert!(!manager.handle_refusal(pid(100), at(0)));
        assert!(!manager.handle_refusal(pid(100), at(3_600)), "it lives");
        assert!(manager.handle_refusal(pid(1), at(3_600)));

        let mut manager = Manager::new(pid(100));
        assert!(!manager.handle_refusal(pid(1), at(0)), "it may come back");
        assert!(!manager.handle_refusal(pid(1), at(4)));
        manager.handle_success();
        assert!(!manager.handle_refusal(pid(1), at(6)));
        assert!(!manager.handle_refusal(pid(1), at(10)));
        assert!(manager.handle_refusal(pid(1), at(11)));

        // Started by the first process, which nobody outlives: it cannot be told.
        let mut manager = Manager::new(pid(1));
        assert!(!manager.handle_refusal(pid(1), at(0)));
        assert!(!manager.handle_refusal(pid(1), at(1_000)));
    }
}

//! The clocks, read in one place.

use crate::shared::os::Clock;

pub(super) use crate::shared::os::{Instant, now};

/// A number that is another one in each environment, also in those restored from one snapshot.
pub(super) fn seed() -> u64 {
    Clock::Wall.ns()
}

/// The clock that stands still while the environment is frozen, or may.
pub(super) fn monotonic() -> Instant {
    Instant::now()
}

//! The clocks, read in one place.

use std::time::{Instant, SystemTime};

use crate::shared::deadline::EpochMs;

/// The time by the wall clock.
pub(super) fn now() -> EpochMs {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the wall clock"
    )]
    let now = SystemTime::now();
    EpochMs::of(now)
}

/// The clock that stands still while the environment is frozen, or may.
pub(super) fn monotonic() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the monotonic clock"
    )]
    Instant::now()
}

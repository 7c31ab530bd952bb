//! The wall clock, read in one place.

use std::time::SystemTime;

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

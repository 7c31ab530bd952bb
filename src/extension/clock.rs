//! The clocks, read in one place.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::shared::deadline::EpochMs;

/// The time by the wall clock.
pub(super) fn now() -> EpochMs {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the wall clock"
    )]
    let now = SystemTime::now();
    let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    EpochMs(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

/// A number that is another one in each environment, also in those restored from one snapshot.
#[cfg(feature = "otlp")]
pub(super) fn seed() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    (now.tv_sec.cast_unsigned() << 30) ^ now.tv_nsec.cast_unsigned()
}

/// The clock that stands still while the environment is frozen, or may.
pub(super) fn monotonic() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the monotonic clock"
    )]
    Instant::now()
}

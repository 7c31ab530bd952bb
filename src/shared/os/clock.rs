//! The clocks, read in one place, so that time is an argument everywhere else.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, DynamicClockId, clock_gettime_dynamic};

#[cfg(test)]
use super::simulation;
use crate::shared::time::EpochMs;

/// The time by the wall clock. `SystemTime` may lie before 1970, which is an error to handle at
/// each use.
pub(crate) fn now() -> EpochMs {
    #[cfg(test)]
    if let Some(system) = simulation::here() {
        return system.now();
    }
    let now = time(ClockId::Realtime);
    EpochMs(u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}

/// The time by the monotonic clock, which may stand still while the environment is frozen.
#[expect(clippy::disallowed_methods, reason = "the one place that reads it")]
pub(crate) fn monotonic() -> Instant {
    #[cfg(test)]
    if let Some(system) = simulation::here() {
        return system.monotonic();
    }
    Instant::now()
}

/// A number that differs between environments, and between those restored from one snapshot.
pub(crate) fn seed() -> u64 {
    u64::try_from(time(ClockId::Realtime).as_nanos()).unwrap_or_default()
}

/// The processor time of this process so far, all threads together.
pub(crate) fn cpu_time() -> Duration {
    time(ClockId::ProcessCPUTime)
}

/// Every Linux has these clocks, so a failure need not be told apart from zero.
fn time(clock: ClockId) -> Duration {
    let time = clock_gettime_dynamic(DynamicClockId::Known(clock));
    time.ok()
        .and_then(|time| time.try_into().ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clocks_show_plausible_times() {
        // 2020 and 2100.
        assert!((1_577_836_800_000..4_102_444_800_000).contains(&now().0));
        let before = cpu_time();
        assert!(Duration::ZERO < before);
        assert!(before <= cpu_time());
    }
}

//! How long to wait before something that failed is tried again.

use core::time::Duration;

/// A schedule of pauses, each twice as long as the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backoff {
    /// Whether the first retry waits at all.
    pub(crate) first_at_once: bool,
    /// The first pause.
    pub(crate) first: Duration,
    /// The longest pause.
    pub(crate) longest: Duration,
    /// Failures in a row after which it is given up; `None` to go on for ever.
    pub(crate) failures_max: Option<u32>,
}

impl Backoff {
    /// The pause after this many failures in a row, at least one; `None` to give up.
    #[must_use]
    pub(crate) const fn after(&self, failures: u32) -> Option<Duration> {
        match self.failures_max {
            Some(most) if most <= failures => return None,
            _ => {}
        }
        let doublings = failures.saturating_sub(if self.first_at_once { 2 } else { 1 });
        if self.first_at_once && failures <= 1 {
            return Some(Duration::ZERO);
        }
        // 2^31 times the first pause is longer than any longest one.
        let factor = 1 << if doublings < 31 { doublings } else { 31 };
        let pause = self.first.saturating_mul(factor);
        Some(if pause.as_nanos() < self.longest.as_nanos() {
            pause
        } else {
            self.longest
        })
    }
}

/// The calls of the Runtime API: about 1.3 s of pauses in all. An invocation is not to be held up
/// for long by an API that is gone.
pub(crate) const RUNTIME_CALLS: Backoff = Backoff {
    first_at_once: true,
    first: Duration::from_millis(10),
    longest: Duration::from_millis(640),
    failures_max: Some(9),
};

/// The calls of the Extensions API. An extension that gives up takes the function down.
pub(crate) const EXTENSION_CALLS: Backoff = Backoff {
    first_at_once: true,
    first: Duration::from_millis(10),
    longest: Duration::from_secs(1),
    failures_max: None,
};

/// Requests to an OTLP receiver, before [`Jitter`].
pub(crate) const OTLP_REQUESTS: Backoff = Backoff {
    first_at_once: false,
    first: Duration::from_millis(200),
    longest: Duration::from_secs(30),
    failures_max: None,
};

/// Restarts of the extension after panics.
pub(crate) const EXTENSION_RESTARTS: Backoff = Backoff {
    first_at_once: true,
    first: Duration::from_millis(50),
    longest: Duration::from_secs(1),
    failures_max: None,
};

/// Starts of a worker that ended without having served an invocation: about 4 s of pauses in all.
pub(crate) const WORKER_RESTARTS: Backoff = Backoff {
    first_at_once: true,
    first: Duration::from_millis(50),
    longest: Duration::from_secs(1),
    failures_max: Some(9),
};

/// Random numbers that keep environments which were started together from retrying together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Jitter(u64);

impl Jitter {
    /// Environments need different seeds, and one restored from a snapshot needs a new one.
    #[must_use]
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A duration from half of `pause` up to `pause`.
    pub(crate) fn shorten(&mut self, pause: Duration) -> Duration {
        let half = pause / 2;
        half + self.up_to(half)
    }

    /// A duration from zero up to `most`, in whole milliseconds.
    pub(crate) fn up_to(&mut self, most: Duration) -> Duration {
        let ms = u64::try_from(most.as_millis()).unwrap_or(u64::MAX).max(1);
        Duration::from_millis(self.random() % ms)
    }

    /// splitmix64: any seed will do, also 0.
    pub(crate) const fn random(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses_ms(backoff: Backoff, failures: u32) -> Vec<Option<u128>> {
        let pause = |failures| Some(backoff.after(failures)?.as_millis());
        (1..=failures).map(pause).collect()
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        assert_eq!(
            pauses_ms(EXTENSION_CALLS, 10),
            [0, 10, 20, 40, 80, 160, 320, 640, 1_000, 1_000].map(Some)
        );
        assert_eq!(
            pauses_ms(OTLP_REQUESTS, 10),
            [
                200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000
            ]
            .map(Some)
        );
        for failures in [31, 32, 33, 1_000, u32::MAX] {
            let longest = Some(Duration::from_secs(1));
            assert_eq!(EXTENSION_CALLS.after(failures), longest, "{failures}");
            assert_eq!(EXTENSION_RESTARTS.after(failures), longest, "{failures}");
        }
    }

    #[test]
    fn a_bounded_schedule_ends() {
        let mut expected = [0, 10, 20, 40, 80, 160, 320, 640].map(Some).to_vec();
        expected.extend([None, None]);
        assert_eq!(pauses_ms(RUNTIME_CALLS, 10), expected);
        assert_eq!(RUNTIME_CALLS.after(u32::MAX), None);
    }

    #[test]
    fn jitter_keeps_at_least_half_and_tells_seeds_apart() {
        let pauses = |seed| {
            let mut jitter = Jitter::new(seed);
            std::array::from_fn::<_, 100, _>(|_| jitter.shorten(Duration::from_secs(1)))
        };
        for seed in [0, 1, u64::MAX] {
            for pause in pauses(seed) {
                let bounds = Duration::from_millis(500)..Duration::from_secs(1);
                assert!(bounds.contains(&pause), "{pause:?} of seed {seed}");
            }
        }
        assert_eq!(pauses(1), pauses(1));
        assert_ne!(pauses(1), pauses(2));
        assert_eq!(Jitter::new(7).shorten(Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn random_numbers_are_the_ones_of_the_reference() {
        // The first three of the seed 0: <https://prng.di.unimi.it/splitmix64.c>.
        let mut jitter = Jitter::new(0);
        let numbers = [(); 3].map(|()| jitter.random());
        assert_eq!(
            numbers,
            [
                0xE220_A839_7B1D_CDAF,
                0x6E78_9E6A_A1B9_65F4,
                0x06C4_5D18_8009_454F
            ]
        );
    }
}

//! The pace of a streamed response: a burst as fast as it comes, then a rate.

use std::time::{Duration, Instant};

use crate::config::StreamRate;

/// A token bucket that is full at the start, kept as the time until which its tokens are spent.
#[derive(Debug)]
pub(super) struct Pace {
    rate: StreamRate,
    spent_until: Instant,
}

impl Pace {
    pub(super) fn new(rate: StreamRate, now: Instant) -> Self {
        Self {
            rate,
            spent_until: now,
        }
    }

    /// How long so many bytes have to wait before they go on.
    pub(super) fn wait(&mut self, bytes: usize, now: Instant) -> Duration {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.spent_until = self.spent_until.max(now) + self.time_of(bytes);
        let ahead = self.spent_until.saturating_duration_since(now);
        ahead.saturating_sub(self.time_of(self.rate.burst_bytes))
    }

    /// How long so many bytes take at the rate.
    fn time_of(&self, bytes: u64) -> Duration {
        let ns = u128::from(bytes) * 1_000_000_000 / u128::from(self.rate.bytes_per_second.max(1));
        Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: StreamRate = StreamRate {
        burst_bytes: 6_000,
        bytes_per_second: 2_000,
    };

    #[test]
    fn a_burst_is_free_and_the_rest_waits() {
        let start = Instant::now();
        let mut pace = Pace::new(RATE, start);
        assert_eq!(pace.wait(6_000, start), Duration::ZERO);
        assert_eq!(pace.wait(1_000, start), Duration::from_millis(500));
        // Whoever waited for it may go on with what comes at the rate.
        let later = start + Duration::from_millis(500);
        assert_eq!(pace.wait(1_000, later), Duration::from_millis(500));
    }

    #[test]
    fn what_is_not_used_comes_back_up_to_the_burst() {
        let start = Instant::now();
        let mut pace = Pace::new(RATE, start);
        assert_eq!(pace.wait(6_000, start), Duration::ZERO);
        let later = start + Duration::from_secs(1);
        assert_eq!(pace.wait(2_000, later), Duration::ZERO);
        assert_eq!(pace.wait(2_000, later), Duration::from_secs(1));
        let much_later = start + Duration::from_secs(1_000);
        assert_eq!(pace.wait(6_000, much_later), Duration::ZERO);
        assert_eq!(pace.wait(2_000, much_later), Duration::from_secs(1));
    }

    #[test]
    fn two_hundred_megabytes_take_what_lambda_says() {
        let start = Instant::now();
        let mut pace = Pace::new(StreamRate::LAMBDA, start);
        let (mut now, piece) = (start, 64 * 1024);
        for _ in 0..200 * 1024 * 1024 / piece {
            now += pace.wait(piece, now);
        }
        // 194 MB at 2 MB a second.
        assert_eq!((now - start).as_secs_f64().round(), 97.0);
    }
}

//! Percentiles of one figure's samples.

use serde::Serialize;

/// The middle and the upper tail of a set of samples, in the samples' own unit.
///
/// A mean is left out on purpose: start times have a long upper tail, and one slow sample moves a
/// mean by more than the differences worth measuring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// How many samples there are.
    pub samples: usize,
    /// The 50th percentile.
    pub median: u64,
    /// The 90th percentile.
    pub p90: u64,
    /// The 99th percentile. With fewer than 100 samples it is the largest one.
    pub p99: u64,
}

impl Summary {
    /// Summarises `samples`, in any order; `None` if there are none.
    #[must_use]
    pub fn of(samples: &[u64]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_unstable();
        Some(Self {
            samples: sorted.len(),
            median: percentile(&sorted, 50)?,
            p90: percentile(&sorted, 90)?,
            p99: percentile(&sorted, 99)?,
        })
    }
}

/// The nearest-rank percentile: the smallest sample that at least `percent` percent of all samples
/// do not exceed. It is always one of the samples, never an interpolation between two.
///
/// `sorted` ascends. `None` if it is empty.
#[must_use]
pub fn percentile<T: Copy>(sorted: &[T], percent: u8) -> Option<T> {
    // Rank = ceil(percent / 100 * n), counted from one; rank 0 means the smallest sample.
    let rank = (sorted.len() * usize::from(percent.min(100))).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

/// How many times `base` goes into `value`; `None` if `base` is zero.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    reason = "a ratio is shown with two decimals"
)]
pub fn ratio(value: u64, base: u64) -> Option<f64> {
    (base != 0).then(|| value as f64 / base as f64)
}

#[cfg(test)]
mod tests {
    use super::{Summary, percentile, ratio};

    #[test]
    fn nearest_rank_is_always_a_sample() {
        // The worked example of nearest rank: 15 20 35 40 50.
        let sorted = [15, 20, 35, 40, 50];
        for (percent, expected) in [
            (0, 15),
            (5, 15),
            (20, 15),
            (21, 20),
            (30, 20),
            (40, 20),
            (50, 35),
            (100, 50),
        ] {
            assert_eq!(
                percentile(&sorted, percent),
                Some(expected),
                "percent {percent}"
            );
        }
    }

    #[test]
    fn nearest_rank_of_one_hundred_samples_is_the_sample_of_that_number() {
        let sorted: Vec<u64> = (1..=100).collect();
        for percent in 1..=100 {
            assert_eq!(percentile(&sorted, percent), Some(u64::from(percent)));
        }
    }

    #[test]
    fn a_single_sample_is_every_percentile() {
        for percent in [0, 1, 50, 99, 100, 255] {
            assert_eq!(percentile(&[7], percent), Some(7), "percent {percent}");
        }
    }

    #[test]
    fn no_sample_has_no_percentile() {
        assert_eq!(percentile::<f64>(&[], 50), None);
        assert_eq!(Summary::of(&[]), None);
    }

    #[test]
    fn an_even_count_takes_the_lower_of_the_two_middle_samples() {
        assert_eq!(percentile(&[1, 2, 3, 4], 50), Some(2));
    }

    #[test]
    fn a_summary_sorts_first() {
        let summary = Summary {
            samples: 5,
            median: 35,
            p90: 50,
            p99: 50,
        };
        assert_eq!(Summary::of(&[50, 15, 40, 20, 35]), Some(summary));
    }

    #[test]
    fn a_ratio_to_nothing_is_none() {
        assert_eq!(ratio(3, 2), Some(1.5));
        assert_eq!(ratio(3, 0), None);
    }
}

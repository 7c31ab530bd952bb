//! Percentiles of one figure's samples, and how much two sets of them differ.

use fastrand::Rng;
use serde::Serialize;
use statrs::stats_tests::Alternative;
use statrs::stats_tests::mannwhitneyu::{MannWhitneyUMethod, mannwhitneyu};

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

/// Two sets of samples beside each other.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// How many times the median of the other set goes into the median of this one.
    pub ratio: f64,
    /// The 95 % confidence interval of the ratio, by a bootstrap over cold starts. `None` with
    /// fewer than ten of them.
    pub interval: Option<[f64; 2]>,
    /// How likely a difference of this size is where there is none: the two-sided p-value of the
    /// Mann-Whitney U test over cold starts. `None` with fewer than ten of them.
    pub p_value: Option<f64>,
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

impl Summary {
    /// The 90th percentile, if there are samples above it.
    #[must_use]
    pub fn known_p90(&self) -> Option<u64> {
        (ENOUGH_FOR_P90 <= self.samples).then_some(self.p90)
    }

    /// The 99th percentile, if there are samples above it.
    #[must_use]
    pub fn known_p99(&self) -> Option<u64> {
        (ENOUGH_FOR_P99 <= self.samples).then_some(self.p99)
    }
}

impl Comparison {
    /// Compares the values of cold starts with those of others. What a cold start has several
    /// values of stays together, because they are alike: invocations of one environment. `None`
    /// where a median is missing or the other one is zero.
    #[must_use]
    pub fn of(values: &[Vec<u64>], base: &[Vec<u64>]) -> Option<Self> {
        let all = |groups: &[Vec<u64>]| middle(&mut groups.concat());
        let enough = ENOUGH_FOR_P90 <= values.len().min(base.len());
        Some(Self {
            ratio: ratio(all(values)?, all(base)?)?,
            interval: enough.then(|| interval(values, base)).flatten(),
            p_value: enough.then(|| p_value(values, base)).flatten(),
        })
    }
}

/// The bootstrap: the same ratio of samples that are drawn from the samples, many times.
fn interval(values: &[Vec<u64>], base: &[Vec<u64>]) -> Option<[f64; 2]> {
    // The same samples have the same interval in every run.
    let mut random = Rng::with_seed(0x2545_f491_4f6c_dd1d);
    let (mut drawn, mut ratios) = (Vec::new(), Vec::new());
    let mut draw = |groups: &[Vec<u64>]| {
        drawn.clear();
        for _ in groups {
            drawn.extend_from_slice(groups.get(random.usize(..groups.len()))?);
        }
        middle(&mut drawn)
    };
    for _ in 0..RESAMPLES {
        ratios.push(ratio(draw(values)?, draw(base)?)?);
    }
    ratios.sort_by(f64::total_cmp);
    let at = |permille: usize| ratios.get(ratios.len() * permille / 1_000).copied();
    Some([at(25)?, at(975)?])
}

fn p_value(values: &[Vec<u64>], base: &[Vec<u64>]) -> Option<f64> {
    let middles = |groups: &[Vec<u64>]| -> Vec<u64> {
        let middles = groups.iter().map(|group| middle(&mut group.clone()));
        middles.flatten().collect()
    };
    let (values, base) = (middles(values), middles(base));
    // Enough samples for the normal distribution. The exact method of statrs 0.19 has it the wrong
    // way round: 1 where all values of one are above those of the other.
    let method = MannWhitneyUMethod::AsymptoticInclContinuityCorrection;
    let (_, p_value) = mannwhitneyu(&values, &base, method, Alternative::TwoSided).ok()?;
    // Where nothing varies, there is nothing to divide by.
    p_value.is_finite().then_some(p_value)
}

/// The median by nearest rank, as of [`percentile`], of values in any order.
fn middle(values: &mut [u64]) -> Option<u64> {
    let rank = values.len().div_ceil(2).checked_sub(1)?;
    Some(*values.select_nth_unstable(rank).1)
}

/// Samples without which a 90th percentile is the largest of them, and an interval is a guess.
const ENOUGH_FOR_P90: usize = 10;
/// Samples without which a 99th percentile is the largest of them.
const ENOUGH_FOR_P99: usize = 100;

/// How often the bootstrap draws: the ends of a 95 % interval are then the 25th from each end.
const RESAMPLES: usize = 1_000;

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
    use super::{Comparison, Summary, percentile, ratio};

    /// So many cold starts with one value each, which rise by `step`.
    fn rising(from: u64, step: u64, count: u64) -> Vec<Vec<u64>> {
        (0..count).map(|index| vec![from + step * index]).collect()
    }

    #[test]
    fn a_difference_that_is_there_is_seen() {
        let found = Comparison::of(&rising(2_000, 10, 20), &rising(1_000, 5, 20)).unwrap();
        assert_eq!(found.ratio, 2.0);
        let [low, high] = found.interval.unwrap();
        assert!(
            1.9 < low && low < 2.0 && 2.0 < high && high < 2.1,
            "{low} {high}"
        );
        assert!(found.p_value.unwrap() < 0.001);
    }

    #[test]
    fn where_there_is_no_difference_none_is_seen() {
        let found = Comparison::of(&rising(1_000, 7, 20), &rising(1_003, 7, 20)).unwrap();
        let [low, high] = found.interval.unwrap();
        assert!(low < 1.0 && 1.0 < high, "{low} {high}");
        assert!(0.5 < found.p_value.unwrap());
    }

    #[test]
    fn the_p_value_is_the_one_of_other_programs() {
        // U is 100 of a mean of 50; its deviation is the root of 100 * 21 / 12. That is as
        // scipy.stats.mannwhitneyu(method="asymptotic") computes it.
        let found = Comparison::of(&rising(1, 1, 10), &rising(11, 1, 10)).unwrap();
        let p_value = found.p_value.unwrap();
        assert!((p_value - 0.000_182_672).abs() < 1e-8, "{p_value}");
        let few = Comparison::of(&rising(1, 1, 9), &rising(10, 1, 9)).unwrap();
        assert_eq!((few.interval, few.p_value), (None, None));
    }

    #[test]
    fn values_of_one_cold_start_count_as_one() {
        // Twenty invocations each, and all of the difference is between the environments.
        let spread: Vec<Vec<u64>> = (1..=10).map(|n| vec![1_000 * n; 20]).collect();
        let found = Comparison::of(&spread, &spread).unwrap();
        let [low, high] = found.interval.unwrap();
        assert!(low < 0.7 && 1.4 < high, "{low} {high}");
    }

    #[test]
    fn what_does_not_vary_has_no_significance() {
        let found = Comparison::of(&rising(5, 0, 10), &rising(5, 0, 10)).unwrap();
        assert_eq!(found.interval, Some([1.0, 1.0]));
        assert_eq!(found.p_value.filter(|p_value| *p_value < 1.0), None);
        assert_eq!(Comparison::of(&[], &rising(5, 0, 10)), None);
        assert_eq!(Comparison::of(&rising(5, 0, 10), &rising(0, 0, 10)), None);
    }

    #[test]
    fn percentiles_are_known_from_enough_samples() {
        let summary = |count: u64| Summary::of(&(1..=count).collect::<Vec<_>>()).unwrap();
        assert_eq!(
            (summary(9).known_p90(), summary(9).known_p99()),
            (None, None)
        );
        assert_eq!(
            (summary(99).known_p90(), summary(99).known_p99()),
            (Some(90), None)
        );
        assert_eq!(summary(100).known_p99(), Some(99));
    }

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

//! Quantiles, distributions and intervals of confidence. Exact: from all values.

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Beta, Distribution as _};
use serde::Serialize;

/// The quantile `q` of sorted values, between the two nearest ones in proportion: the default of
/// numpy, and `quantile_cont` of SQL.
pub(crate) fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53 values")]
    let place = last as f64 * q.clamp(0.0, 1.0);
    let below = sorted.get(floor(place))?;
    let above = sorted.get(floor(place.ceil()))?;
    Some(below + (above - below) * place.fract())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a place in a slice is not negative, and one that is too large is none"
)]
const fn floor(place: f64) -> usize {
    place as usize
}

/// A summary of values.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names say it")]
pub struct Summary {
    pub count: u64,
    pub sum: Option<f64>,
    pub mean: Option<f64>,
    pub min: Option<f64>,
    pub p50: Option<f64>,
    pub p90: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
    pub max: Option<f64>,
}

impl Summary {
    /// Summarises `values`, and sorts them.
    pub(crate) fn of(values: &mut [f64]) -> Self {
        values.sort_unstable_by(f64::total_cmp);
        let at = |q| quantile(values, q).map(rounded);
        let sum: f64 = values.iter().sum();
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53 values")]
        let mean = sum / values.len() as f64;
        let some = |value: f64| (!values.is_empty()).then(|| rounded(value));
        Self {
            count: values.len() as u64,
            sum: some(sum),
            mean: some(mean),
            min: at(0.0),
            p50: at(0.5),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            max: at(1.0),
        }
    }
}

/// Rounded to a millionth, so that sums in another order give the same figure.
pub(crate) fn rounded(value: f64) -> f64 {
    // A sum of nothing is -0.
    (value * 1e6).round() / 1e6 + 0.0
}

/// One bar of a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names say it")]
pub struct Bin {
    pub from: f64,
    pub to: f64,
    pub count: u64,
}

/// One step of an empirical distribution function.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names say it")]
pub struct Step {
    pub at: f64,
    pub share: f64,
}

/// Bars of a histogram over sorted values above zero, of the same width on a logarithmic axis:
/// durations spread over several powers of ten.
pub(crate) fn histogram(sorted: &[f64]) -> Vec<Bin> {
    let (Some(low), Some(high)) = (sorted.iter().find(|value| 0.0 < **value), sorted.last()) else {
        return Vec::new();
    };
    // The bounds are powers of the same base in every report, so that two can be compared.
    let index = |value: f64| (value.log2() * BINS_PER_OCTAVE).floor();
    let (first, last) = (index(*low), index(*high));
    let mut bins = Vec::new();
    let mut at = first;
    let mut begin = 0;
    while at <= last {
        let to = ((at + 1.0) / BINS_PER_OCTAVE).exp2();
        let end = if at == last {
            sorted.len()
        } else {
            sorted.partition_point(|value| *value < to)
        };
        bins.push(Bin {
            from: rounded((at / BINS_PER_OCTAVE).exp2()),
            to: rounded(to),
            count: (end - begin) as u64,
        });
        begin = end;
        at += 1.0;
    }
    bins
}

/// Bars from one value to its double.
const BINS_PER_OCTAVE: f64 = 8.0;

/// The empirical distribution of sorted values in at most `steps` steps.
pub(crate) fn ecdf(sorted: &[f64], steps: usize) -> Vec<Step> {
    let count = sorted.len();
    let steps = steps.min(count);
    let mut all: Vec<Step> = Vec::with_capacity(steps);
    for step in 1..=steps {
        let below = (count * step).div_ceil(steps);
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53 values")]
        let share = below as f64 / count as f64;
        if let Some(at) = sorted.get(below - 1) {
            all.push(Step {
                at: rounded(*at),
                share: rounded(share),
            });
        }
    }
    all
}

/// A figure of two runs, and how sure the difference is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names say it")]
pub struct Difference {
    pub before: f64,
    pub after: f64,
    pub difference: f64,
    pub difference_low: f64,
    pub difference_high: f64,
    pub ratio: f64,
    pub ratio_low: f64,
    pub ratio_high: f64,
    #[serde(skip)]
    has_enough: bool,
}

impl Difference {
    /// Whether the interval of confidence is on one side of no difference, and both samples have
    /// enough values for such an interval.
    #[must_use]
    pub const fn is_significant(&self) -> bool {
        self.has_enough && (0.0 < self.difference_low || self.difference_high < 0.0)
    }
}

/// Whether `count` values are enough for an interval of the quantile `q`: that it lies outside of
/// all of them, so that no resample reaches it, is no likelier than that an interval misses it.
fn is_enough(count: usize, q: f64) -> bool {
    let outside = |part: f64| i32::try_from(count).map_or(0.0, |count| part.powi(count));
    outside(q) + outside(1.0 - q) <= 1.0 - CONFIDENCE
}

/// Compares the quantile `q` of two sorted samples by a bootstrap with [`RESAMPLES`] resamples and
/// an interval of 95 %.
///
/// The k-th smallest of n values that are drawn with replacement from n sorted ones stands at the
/// place n·U, where U is the k-th smallest of n uniform numbers, which has a beta distribution. So
/// one number is drawn for each resample in place of n.
pub(crate) fn compare(before: &[f64], after: &[f64], q: f64, seed: u64) -> Option<Difference> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (a, b) = (quantile(before, q)?, quantile(after, q)?);
    let a_drawn = resampled(before, q, &mut random)?;
    let b_drawn = resampled(after, q, &mut random)?;
    let interval = |of: fn(f64, f64) -> f64| {
        let pairs = a_drawn.iter().zip(&b_drawn);
        let mut all: Vec<f64> = pairs.map(|(a, b)| of(*a, *b)).collect();
        all.sort_unstable_by(f64::total_cmp);
        let side = (1.0 - CONFIDENCE) / 2.0;
        let at = |q| quantile(&all, q).map(rounded);
        Some((at(side)?, at(1.0 - side)?))
    };
    let (difference_low, difference_high) = interval(|a, b| b - a)?;
    let (ratio_low, ratio_high) = interval(|a, b| b / a)?;
    Some(Difference {
        before: rounded(a),
        after: rounded(b),
        difference: rounded(b - a),
        difference_low,
        difference_high,
        ratio: rounded(b / a),
        ratio_low,
        ratio_high,
        has_enough: is_enough(before.len(), q) && is_enough(after.len(), q),
    })
}

/// Quantiles of resamples of sorted values.
fn resampled(sorted: &[f64], q: f64, random: &mut ChaCha8Rng) -> Option<Vec<f64>> {
    let count = sorted.len();
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53 values")]
    let n = count as f64;
    let k = (q * n).ceil().clamp(1.0, n.max(1.0));
    let place = Beta::new(k, n + 1.0 - k).ok()?;
    let draw = |_| {
        let at = floor(place.sample(random) * n).min(count.saturating_sub(1));
        sorted.get(at).copied()
    };
    (0..RESAMPLES).map(draw).collect()
}

/// Resamples of a bootstrap.
pub(crate) const RESAMPLES: usize = 10_000;

/// The confidence of an interval.
pub(crate) const CONFIDENCE: f64 = 0.95;

#[cfg(test)]
mod tests {
    use rand::RngExt as _;

    use super::*;

    #[test]
    fn quantiles_are_the_ones_of_numpy() {
        // numpy.percentile([15, 20, 35, 40, 50], [0, 5, 30, 40, 50, 90, 95, 99, 100])
        let values = [15.0, 20.0, 35.0, 40.0, 50.0];
        for (percent, expected) in [
            (0.0, 15.0),
            (5.0, 16.0),
            (30.0, 23.0),
            (40.0, 29.0),
            (50.0, 35.0),
            (90.0, 46.0),
            (95.0, 48.0),
            (99.0, 49.6),
            (100.0, 50.0),
        ] {
            let found = quantile(&values, percent / 100.0).unwrap();
            assert!((found - expected).abs() < 1e-9, "{percent}: {found}");
        }
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[7.0], 0.99), Some(7.0));
    }

    #[test]
    fn every_value_is_in_a_bin() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..200 {
            let count = random.random_range(1..300);
            let mut values: Vec<f64> = (0..count)
                .map(|_| rounded(random.random_range(0.001_f64..15.0).exp2()))
                .collect();
            values.sort_unstable_by(f64::total_cmp);
            let bins = histogram(&values);
            let all: u64 = bins.iter().map(|bin| bin.count).sum();
            assert_eq!(all, values.len() as u64);
            for bin in &bins {
                let inside = values.iter();
                let inside = inside.filter(|value| bin.from <= **value && **value < bin.to);
                let difference = (inside.count() as u64).abs_diff(bin.count);
                // A value on a bound is counted on one of its sides.
                assert!(difference <= 1, "{bin:?}");
            }
        }
    }

    #[test]
    fn a_distribution_ends_with_all_values() {
        let values: Vec<f64> = (1..=1_000).map(f64::from).collect();
        let steps = ecdf(&values, 100);
        assert_eq!(steps.len(), 100);
        assert_eq!(
            steps[49],
            Step {
                at: 500.0,
                share: 0.5
            }
        );
        assert_eq!(
            steps[99],
            Step {
                at: 1_000.0,
                share: 1.0
            }
        );
        assert_eq!(
            ecdf(&[3.0], 100),
            [Step {
                at: 3.0,
                share: 1.0
            }]
        );
        assert_eq!(ecdf(&[], 100), []);
    }

    /// The interval is as wide as the one of a bootstrap that draws every value.
    #[test]
    fn an_interval_is_the_one_of_a_plain_bootstrap() {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let mut sample: Vec<f64> = (0..101).map(|_| random.random_range(50.0..150.0)).collect();
        sample.sort_unstable_by(f64::total_cmp);
        let mut plain: Vec<f64> = (0..10_000)
            .map(|_| {
                let mut drawn: Vec<f64> = (0..sample.len())
                    .map(|_| sample[random.random_range(0..sample.len())])
                    .collect();
                drawn.sort_unstable_by(f64::total_cmp);
                drawn[50]
            })
            .collect();
        plain.sort_unstable_by(f64::total_cmp);
        let mut ours = resampled(&sample, 0.5, &mut random).unwrap();
        ours.sort_unstable_by(f64::total_cmp);
        for q in [0.025, 0.25, 0.5, 0.75, 0.975] {
            let (plain, ours) = (quantile(&plain, q).unwrap(), quantile(&ours, q).unwrap());
            assert!((plain - ours).abs() < 2.5, "{q}: {plain} and {ours}");
        }
    }

    #[test]
    fn a_difference_of_too_few_values_is_not_sure() {
        for (q, least) in [(0.5, 6), (0.9, 29), (0.99, 299)] {
            let sample = |count: u16, from: f64| -> Vec<f64> {
                (0..count).map(|at| from + f64::from(at)).collect()
            };
            let is_sure = |a, b| {
                let found = compare(&sample(a, 1e3), &sample(b, 2e3), q, 1);
                found.unwrap().is_significant()
            };
            assert!(is_sure(least, least), "{q}");
            assert!(!is_sure(least - 1, least), "{q}");
            assert!(!is_sure(least, least - 1), "{q}");
        }
    }

    #[test]
    fn a_difference_is_found_and_its_absence_too() {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let mut draw = |from: f64, to: f64| {
            let mut all: Vec<f64> = (0..200).map(|_| random.random_range(from..to)).collect();
            all.sort_unstable_by(f64::total_cmp);
            all
        };
        let (a, b, c) = (draw(90.0, 110.0), draw(95.0, 115.0), draw(90.0, 110.0));
        let faster = compare(&a, &b, 0.5, 1).unwrap();
        assert!(faster.is_significant(), "{faster:?}");
        assert!(faster.ratio_low < faster.ratio && faster.ratio < faster.ratio_high);
        assert!(!compare(&a, &c, 0.5, 1).unwrap().is_significant());
        assert_eq!(compare(&a, &b, 0.5, 1), compare(&a, &b, 0.5, 1));
        assert_eq!(compare(&a, &[], 0.5, 1), None);
    }
}

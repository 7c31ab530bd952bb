//! Batches as bytes: EMF, OTLP, NDJSON and `DogStatsD`.
//!
//! Pure: no file here touches a socket, a file, the clock or the process environment.

pub(super) mod dogstatsd;
pub(super) mod emf;
#[cfg(any(test, fuzzing))]
mod emf_check;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzz;
mod json;
pub(super) mod losses;
pub(super) mod ndjson;
pub(super) mod otlp;
#[cfg(any(test, fuzzing))]
pub(in crate::extension) mod samples;

use crate::extension::metric::{Batch, Kind, Point};

/// The values of a point by its kind: the sum of a counter, the last of a gauge, all of a
/// distribution. Values that are not finite are left out: no format here can carry NaN or an
/// infinity in a way that its readers accept.
fn values(point: &Point) -> Vec<f64> {
    let mut values: Vec<f64> = Vec::new();
    for value in &point.values {
        if value.is_finite() {
            match (point.metric.kind, values.last_mut()) {
                (Kind::Counter, Some(sum)) => *sum += value,
                (Kind::Gauge, Some(last)) => *last = *value,
                (Kind::Distribution, _) | (_, None) => values.push(*value),
            }
        }
    }
    values
}

/// The points of a batch with their values. Points with the same metric and attributes are merged:
/// OTLP requires a single writer for each stream.
///
/// A batch has some tens of points, for which comparing each with each is no slower than a map.
fn series(batch: &Batch) -> Vec<(&Point, Vec<f64>)> {
    let mut series: Vec<(&Point, Vec<f64>)> = Vec::new();
    for point in &batch.points {
        let mut values = values(point);
        let same = |(of, _): &&mut (&Point, _)| {
            of.metric.name == point.metric.name && of.attributes == point.attributes
        };
        match series.iter_mut().find(same) {
            Some((_, all)) => all.append(&mut values),
            None if values.is_empty() => {}
            None => series.push((point, values)),
        }
    }
    series
}

/// The first of the series that has values left.
fn next<'a>(series: &[(&'a Point, Vec<f64>)]) -> Option<&'a Point> {
    let mut left = series.iter().filter(|(_, values)| !values.is_empty());
    left.next().map(|(point, _)| *point)
}

#[cfg(test)]
mod tests {
    use super::samples::{DURATION, INVOCATIONS, MEMORY, point};
    use super::*;

    #[test]
    fn values_are_finite_and_as_many_as_the_kind_wants() {
        let raw = [1.0, f64::NAN, 2.0, f64::INFINITY, f64::NEG_INFINITY];
        assert_eq!(values(&point(&DURATION, &[], &raw)), [1.0, 2.0]);
        assert_eq!(values(&point(&INVOCATIONS, &[], &raw)), [3.0]);
        assert_eq!(values(&point(&MEMORY, &[], &raw)), [2.0]);
        for metric in [&DURATION, &INVOCATIONS, &MEMORY] {
            assert_eq!(values(&point(metric, &[], &[f64::NAN])), [0.0; 0]);
        }
    }
}

//! Batches as bytes (EMF, OTLP, NDJSON, `DogStatsD`), and what follows when sending them fails.
//!
//! Pure: no file here touches a socket, a file, the clock or the process environment.
//! A driver asks [`settings`] what to send and where, an encoder for the bytes, and [`retry`] and
//! [`queue`] what to do about an answer.

pub(super) mod dogstatsd;
pub(super) mod emf;
#[cfg(test)]
mod emf_check;
pub(super) mod ndjson;
pub(super) mod otlp;
#[cfg(test)]
pub(in crate::extension) mod samples;

use crate::extension::metric::{Batch, Kind, Point};
use crate::shared::json;
use crate::shared::text::{cut, push, push_decimal};

/// The values of a point as its kind wants them, without those that are not finite.
///
/// A counter has one, the sum; a gauge has one, the last. No format here can carry NaN or an
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

/// The points of a batch that have values, with them; those of one metric and the same attributes
/// as one, which two would be two writers of.
///
/// They are found by comparing: a batch has some tens of points, for which this is smaller and not
/// slower than a map.
#[inline(never)]
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
#[inline(never)]
fn next<'a>(series: &[(&'a Point, Vec<f64>)]) -> Option<&'a Point> {
    let mut left = series.iter().filter(|(_, values)| !values.is_empty());
    left.next().map(|(point, _)| *point)
}

/// What stands between separators.
#[derive(Debug)]
struct Entries<'a> {
    /// What is left, even if it is empty; nothing behind the last.
    rest: Option<&'a str>,
    separator: u8,
}

impl<'a> Iterator for Entries<'a> {
    type Item = &'a str;

    #[inline(never)]
    fn next(&mut self) -> Option<&'a str> {
        let whole = self.rest?;
        let (entry, rest) = cut(whole, self.separator).unzip();
        self.rest = rest;
        Some(entry.unwrap_or(whole).trim_ascii())
    }
}

/// The entries of a list between commas, trimmed, without empty ones.
pub(super) fn list(text: &str) -> impl Iterator<Item = &str> {
    let entries = Entries {
        rest: Some(text),
        separator: b',',
    };
    entries.filter(|entry| !entry.is_empty())
}

/// Appends `value` as a decimal number with no exponent and as many decimals as `scale`, a power of
/// ten, has zeros, but none that are zeros at the end.
///
/// `value` must be finite; one whose digits do not fit 64 bits saturates.
fn number(value: f64, scale: u64, out: &mut Vec<u8>) {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a half is added and the rest cut off, which rounds; it saturates as documented"
    )]
    let digits = (value.abs() * scale as f64 + 0.5) as u64;
    if value < 0.0 && digits != 0 {
        push(out, "-");
    }
    push_decimal(out, digits / scale);
    let mut rest = digits % scale;
    if rest != 0 {
        push(out, ".");
    }
    while rest != 0 {
        rest *= 10;
        push_decimal(out, rest / scale);
        rest %= scale;
    }
}

/// Appends an array of numbers.
fn numbers(values: &[f64], out: &mut Vec<u8>) {
    push(out, "[");
    for value in values {
        comma(out);
        number(*value, VALUE_SCALE, out);
    }
    push(out, "]");
}

/// Appends `"name":`, after a comma unless it is the first member.
fn key(name: &str, out: &mut Vec<u8>) {
    comma(out);
    json::write_str(name, json::Charset::Utf8, out);
    push(out, ":");
}

/// Appends `"name":"text"`, after a comma unless it is the first member.
fn member(name: &str, text: &str, out: &mut Vec<u8>) {
    key(name, out);
    json::write_str(text, json::Charset::Utf8, out);
}

/// Appends a comma unless an object or array has just been opened.
fn comma(out: &mut Vec<u8>) {
    if !matches!(out.last(), None | Some(b'{' | b'[')) {
        push(out, ",");
    }
}

/// The scale of values in their own unit. A thousandth of a millisecond is what the platform
/// states and more than a clock gives; digits behind it are noise that costs log bytes.
const VALUE_SCALE: u64 = 1_000;

#[cfg(test)]
mod tests {
    use super::samples::{DURATION, INVOCATIONS, MEMORY, point};
    use super::*;

    fn written(value: f64, decimals: u32) -> String {
        let mut out = Vec::new();
        number(value, 10_u64.pow(decimals), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_rounded_and_have_no_exponent() {
        let table = [
            (0.0, 3, "0"),
            (-0.0, 3, "0"),
            (-0.0001, 3, "0"),
            (1.0, 3, "1"),
            (397.68, 3, "397.68"),
            (0.1 + 0.2, 3, "0.3"),
            (0.001, 3, "0.001"),
            (0.0005, 3, "0.001"),
            (0.0004, 3, "0"),
            (10.05, 3, "10.05"),
            (-12.5, 3, "-12.5"),
            (0.9996, 3, "1"),
            (0.397_68, 6, "0.39768"),
            (0.000_001, 6, "0.000001"),
            (10_737_418_240.0, 3, "10737418240"),
            (5e-324, 3, "0"),
            (1e300, 0, "18446744073709551615"),
            (1e300, 3, "18446744073709551.615"),
        ];
        for (value, decimals, expected) in table {
            assert_eq!(written(value, decimals), expected, "{value}");
        }
    }

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

//! Time stamps of RFC 3339 as milliseconds since the epoch.

use crate::shared::deadline::EpochMs;

/// Reads a time stamp: `2026-08-20T10:00:00.064Z`.
///
/// <https://www.rfc-editor.org/rfc/rfc3339#section-5.6>, with one addition: the pages' samples
/// have stamps such as `12:01:23:521Z`, so a colon may stand before the fraction.
#[must_use]
pub(super) fn parse(text: &[u8]) -> Option<EpochMs> {
    let mut rest = text;
    let year = digits(&mut rest, 4)?;
    one_of(&mut rest, b"-")?;
    let month = digits(&mut rest, 2)?;
    one_of(&mut rest, b"-")?;
    let day = digits(&mut rest, 2)?;
    one_of(&mut rest, b"Tt ")?;
    let hour = digits(&mut rest, 2)?;
    one_of(&mut rest, b":")?;
    let minute = digits(&mut rest, 2)?;
    one_of(&mut rest, b":")?;
    let second = digits(&mut rest, 2)?;
    let fraction_ms = match rest.first()? {
        b'.' | b':' => fraction_ms(&mut rest)?,
        _ => 0,
    };
    let offset_min = offset_min(&mut rest)?;
    let valid = 1970 <= year
        && (1..=12).contains(&month)
        && (1..=days_of(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        // A leap second: the first of the next minute for a clock that has none.
        && second <= 60
        && rest.is_empty();
    if !valid {
        return None;
    }
    let minutes = (days_since_1970(year, month, day) * 24 + hour) * 60 + minute - offset_min;
    let ms = (minutes * 60 + second) * 1_000 + fraction_ms;
    u64::try_from(ms).ok().map(EpochMs)
}

fn digits(rest: &mut &[u8], count: usize) -> Option<i64> {
    let (number, after) = rest.split_at_checked(count)?;
    let mut value = 0;
    for byte in number {
        value = value * 10 + i64::from(char::from(*byte).to_digit(10)?);
    }
    *rest = after;
    Some(value)
}

fn one_of(rest: &mut &[u8], allowed: &[u8]) -> Option<u8> {
    let (first, after) = rest.split_first()?;
    *rest = after;
    allowed.contains(first).then_some(*first)
}

/// The fraction of a second, with the mark before it; what is less than a millisecond is cut.
fn fraction_ms(rest: &mut &[u8]) -> Option<i64> {
    let (_mark, after) = rest.split_first()?;
    let length = after.iter().take_while(|byte| byte.is_ascii_digit());
    let (mut number, after) = after.split_at_checked(length.count())?;
    *rest = after;
    let mut ms = 0;
    // Before the first digit is known to be there, there may be none.
    let mut scale = if number.is_empty() { return None } else { 100 };
    while 0 < scale && !number.is_empty() {
        ms += digits(&mut number, 1)? * scale;
        scale /= 10;
    }
    Some(ms)
}

fn offset_min(rest: &mut &[u8]) -> Option<i64> {
    let sign = match one_of(rest, b"Zz+-")? {
        b'+' => 1,
        b'-' => -1,
        _ => return Some(0),
    };
    let hours = digits(rest, 2)?;
    one_of(rest, b":")?;
    let minutes = digits(rest, 2)?;
    Some(sign * (hours * 60 + minutes)).filter(|_| hours < 24 && minutes < 60)
}

const fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

const fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let before = year - 1;
    // 719,162 days lie between the first days of the years 1 and 1970.
    let years = before * 365 + before / 4 - before / 100 + before / 400 - 719_162;
    let months: i64 = (1..month).map(|month| days_of(year, month)).sum();
    years + months + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_read_and_anything_else_is_none() {
        let table = [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("1970-01-01T00:00:00.001Z", Some(1)),
            ("2000-02-29T00:00:00Z", Some(951_782_400_000)),
            ("2022-08-02T12:01:23.521Z", Some(1_659_441_683_521)),
            ("2022-08-02T12:01:23:521Z", Some(1_659_441_683_521)),
            ("2024-12-31T23:59:59.999Z", Some(1_735_689_599_999)),
            ("2026-08-20T10:00:00.064Z", Some(1_787_220_000_064)),
            ("2026-08-20t10:00:00.064z", Some(1_787_220_000_064)),
            ("2026-08-20 10:00:00.064Z", Some(1_787_220_000_064)),
            ("2026-08-20T10:00:00.5Z", Some(1_787_220_000_500)),
            ("2026-08-20T10:00:00.064999999Z", Some(1_787_220_000_064)),
            ("2026-08-20T12:00:00.064+02:00", Some(1_787_220_000_064)),
            ("2026-08-20T04:30:00.064-05:30", Some(1_787_220_000_064)),
            ("2016-12-31T23:59:60Z", Some(1_483_228_800_000)),
            ("9999-12-31T23:59:59.999Z", Some(253_402_300_799_999)),
            ("1969-12-31T23:59:59Z", None),
            ("1970-01-01T00:00:00+00:01", None),
            ("2026-02-29T10:00:00Z", None),
            ("1900-02-29T10:00:00Z", None),
            ("2026-13-01T10:00:00Z", None),
            ("2026-00-01T10:00:00Z", None),
            ("2026-04-31T10:00:00Z", None),
            ("2026-08-20T24:00:00Z", None),
            ("2026-08-20T10:60:00Z", None),
            ("2026-08-20T10:00:61Z", None),
            ("2026-08-20T10:00:00", None),
            ("2026-08-20T10:00:00.Z", None),
            ("2026-08-20T10:00:00.064", None),
            ("2026-08-20T10:00:00.064Zx", None),
            ("2026-08-20T10:00:00+2:00", None),
            ("2026-08-20T10:00:00+24:00", None),
            ("2026-8-20T10:00:00Z", None),
            ("+026-08-20T10:00:00Z", None),
            ("1787220000064", None),
            ("", None),
        ];
        for (text, ms) in table {
            assert_eq!(parse(text.as_bytes()), ms.map(EpochMs), "{text}");
            for length in 0..ms.map_or(0, |_| text.len()) {
                let cut = parse(&text.as_bytes()[..length]);
                assert!(cut.is_none(), "{text} cut to {length}");
            }
        }
    }

    #[test]
    fn every_day_is_a_day_after_the_last() {
        let mut days = 0;
        for year in 1970..2105 {
            for month in 1..=12 {
                for day in 1..=days_of(year, month) {
                    assert_eq!(
                        days_since_1970(year, month, day),
                        days,
                        "{year}-{month}-{day}"
                    );
                    days += 1;
                }
            }
        }
    }
}

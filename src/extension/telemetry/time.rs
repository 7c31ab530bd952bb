//! Time stamps of RFC 3339 as milliseconds since the epoch.

use crate::shared::time::EpochMs;

/// Reads a time stamp: `2026-08-20T10:00:00.064Z`.
///
/// <https://www.rfc-editor.org/rfc/rfc3339#section-5.6>, with one addition: the pages' samples
/// have stamps such as `12:01:23:521Z`, so a colon may stand before the fraction.
#[must_use]
pub(super) fn parse(text: &[u8]) -> Option<EpochMs> {
    let mut rest = text;
    let year = digits(&mut rest, 4)?;
    let mut numbers = [0; PARTS.len()];
    for (number, (mark, most)) in numbers.iter_mut().zip(PARTS) {
        *number = part(&mut rest, mark, most)?;
    }
    let [month, day, hour, minute, second] = numbers;
    let mut fraction_ms = 0;
    if let [b'.' | b':', fraction @ ..] = rest {
        rest = fraction;
        fraction_ms = digits(&mut rest, 1)? * 100;
        // What is less than a millisecond is cut.
        let mut scale = 10;
        while let Some(digit) = digits(&mut rest, 1) {
            fraction_ms += digit * scale;
            scale /= 10;
        }
    }
    let offset_min = match rest.first()? {
        b'Z' | b'z' if rest.len() == 1 => {
            rest = &[];
            0
        }
        sign @ (b'+' | b'-') => {
            let offset_min = part(&mut rest, *sign, 23)? * 60 + part(&mut rest, b':', 59)?;
            if *sign == b'+' {
                offset_min
            } else {
                -offset_min
            }
        }
        _ => return None,
    };
    let days = days_since_1970(year, month, day);
    let is_day = day != 0 && month != 0 && days < days_since_1970(year, month + 1, 1);
    let ms = (((days * 24 + hour) * 60 + minute - offset_min) * 60 + second) * 1_000 + fraction_ms;
    let ms = u64::try_from(ms).ok()?;
    (is_day && rest.is_empty()).then_some(EpochMs(ms))
}

/// The parts of a stamp after the year: the mark before it, and the most that it may be.
const PARTS: [(u8, i64); 5] = [
    (b'-', 12),
    (b'-', 31),
    // In lower case as well, and a space by agreement.
    (b'T', 23),
    (b':', 59),
    // A leap second: the first of the next minute for a clock that has none.
    (b':', 60),
];

/// A number of two digits behind a mark.
fn part(rest: &mut &[u8], mark: u8, most: i64) -> Option<i64> {
    let (found, after) = rest.split_first()?;
    let is_mark = found.to_ascii_uppercase() == mark || (mark == b'T' && *found == b' ');
    *rest = after;
    digits(rest, 2).filter(|number| is_mark && *number <= most)
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

/// Days from 1 January 1970 to a date. Month 13 is the first of the next year.
///
/// <https://howardhinnant.github.io/date_algorithms.html#days_from_civil>
pub(in super::super) const fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    // A year that begins in March has its leap day at the end.
    let year = if month <= 2 { year - 1 } else { year };
    let years = year * 365 + year / 4 - year / 100 + year / 400;
    let months = ((month + 9) % 12 * 153 + 2) / 5;
    // 719,468 days lie between the first of March of the year 0 and 1970.
    years + months + day - 1 - 719_468
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
            for month in 0..=13 {
                for day in 0..=32 {
                    let stamp = format!("{year}-{month:02}-{day:02}T00:00:00Z");
                    if let Some(EpochMs(ms)) = parse(stamp.as_bytes()) {
                        assert_eq!(ms, days * 86_400_000, "{stamp}");
                        days += 1;
                    }
                }
            }
        }
        assert_eq!(days, 135 * 365 + 33);
    }
}

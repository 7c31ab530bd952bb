//! Points in time as the platform states them, and the calendar.

use alloc::format;
use alloc::string::String;
use core::time::Duration;

use super::digits::decimal;

/// Milliseconds since the Unix epoch, by the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EpochMs(pub(crate) u64);

/// When an invocation ends, whether or not it has been answered.
///
/// Some local tools send a constant that lies in 1970, so a deadline in the past means nothing
/// by itself: work is never refused because of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Deadline(pub(crate) EpochMs);

impl Deadline {
    /// Reads the value of `Lambda-Runtime-Deadline-Ms`: decimal digits and nothing else.
    #[must_use]
    pub(crate) fn parse(value: &[u8]) -> Option<Self> {
        decimal(value).map(|ms| Self(EpochMs(ms)))
    }

    /// The time left at `now`; zero when the deadline has passed.
    #[must_use]
    pub(crate) const fn remaining(self, now: EpochMs) -> Duration {
        Duration::from_millis(self.0.0.saturating_sub(now.0))
    }
}

impl EpochMs {
    /// Reads the form of RFC 3339 that the platform writes, `2022-10-12T00:00:15.064Z`, with any
    /// number of digits in the fraction or without one. What is less than a millisecond is cut.
    ///
    /// <https://www.rfc-editor.org/rfc/rfc3339#section-5.6>
    #[must_use]
    pub(crate) fn parse_rfc3339(text: &[u8]) -> Option<Self> {
        let (date_and_time, rest) = text.split_at_checked("2022-10-12T00:00:15".len())?;
        let fraction = match rest.strip_suffix(b"Z")? {
            [] => b"0",
            [b'.', digits @ ..] => digits,
            _ => return None,
        };
        if fraction.is_empty() || !fraction.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let places = fraction.iter().chain(b"00").take(3);
        let ms = places.fold(0, |ms, digit| ms * 10 + u64::from(digit - b'0'));
        let [year, month, day, hour, minute, second] =
            numbers(date_and_time, "0000-00-00T00:00:00")?;
        let second = Self::from_parts([year, month, day], [hour, minute, second])?;
        Some(Self(second.0 + ms))
    }

    /// Reads the preferred form of an HTTP date, `Sun, 06 Nov 1994 08:49:37 GMT`. The two that RFC
    /// 9110 calls obsolete are not read.
    ///
    /// <https://www.rfc-editor.org/rfc/rfc9110#section-5.6.7>
    #[must_use]
    pub(crate) fn parse_http_date(text: &[u8]) -> Option<Self> {
        let (_day_name, date) = text.split_at_checked("Sun,".len())?;
        let name = date.get(4..7)?;
        let month = MONTHS.iter().position(|month| *month == name)? as u64 + 1;
        let mut date = date.to_vec();
        date.get_mut(4..7)?.copy_from_slice(b"MMM");
        let [day, year, hour, minute, second] = numbers(&date, " 00 MMM 0000 00:00:00 GMT")?;
        Self::from_parts([year, month, day], [hour, minute, second])
    }

    /// `None` for a date that is not in the calendar, and before 1970.
    fn from_parts([year, month, day]: [u64; 3], time: [u64; 3]) -> Option<Self> {
        let [hour, minute, second] = time;
        let days = days_since_1970(year, month, day)?;
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        Some(Self(
            (((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000,
        ))
    }

    /// RFC 3339 in UTC with milliseconds, `2026-01-02T03:04:05.678Z`. A time after the year 9999 is
    /// written as the last millisecond of it.
    #[must_use]
    pub(crate) fn to_rfc3339(self) -> String {
        let Self(ms) = self.min(LAST);
        let [year, month, day] = date(ms / DAY_MS);
        let (hour, minute) = (ms % DAY_MS / 3_600_000, ms / 60_000 % 60);
        let (second, ms) = (ms / 1_000 % 60, ms % 1_000);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
    }
}

/// The numbers of a text that has the form of `pattern`, where each run of zeroes is a number.
fn numbers<const COUNT: usize>(text: &[u8], pattern: &str) -> Option<[u64; COUNT]> {
    let mut numbers = [0; COUNT];
    let (mut at, mut in_number) = (0, false);
    if text.len() != pattern.len() {
        return None;
    }
    for (byte, expected) in text.iter().zip(pattern.bytes()) {
        if expected == b'0' {
            let digit = char::from(*byte).to_digit(10)?;
            let number = numbers.get_mut(at)?;
            *number = *number * 10 + u64::from(digit);
            in_number = true;
        } else if *byte == expected {
            at += usize::from(in_number);
            in_number = false;
        } else {
            return None;
        }
    }
    Some(numbers)
}

/// Days from 1 January 1970 to a date; `None` if there is no such date, or it is earlier.
///
/// <https://howardhinnant.github.io/date_algorithms.html#days_from_civil>
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    // A year that begins in March has its leap day at the end.
    let march_year = if month <= 2 {
        year.checked_sub(1)?
    } else {
        year
    };
    let years = march_year * 365 + march_year / 4 - march_year / 100 + march_year / 400;
    let months = ((month + 9) % 12 * 153 + 2) / 5;
    let days = (years + months + day).checked_sub(1 + DAYS_TO_1970)?;
    (date(days) == [year, month, day]).then_some(days)
}

/// The date this many days after 1 January 1970.
fn date(days: u64) -> [u64; 3] {
    // The Gregorian calendar repeats after 400 years, which are 146,097 days.
    let day = days + DAYS_TO_1970;
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year;
    if month < 10 {
        [year, month + 3, day]
    } else {
        [year + 1, month - 9, day]
    }
}

/// Days from 1 March of the year 0 to 1 January 1970.
const DAYS_TO_1970: u64 = 719_468;

const DAY_MS: u64 = 86_400_000;

/// The last millisecond of the year 9999.
const LAST: EpochMs = EpochMs(253_402_300_799_999);

const MONTHS: [&[u8]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remaining_is_never_negative() {
        let deadline = Deadline::parse(b"1000").unwrap();
        assert_eq!(deadline.remaining(EpochMs(400)), Duration::from_millis(600));
        assert_eq!(deadline.remaining(EpochMs(1_000)), Duration::ZERO);
        assert_eq!(deadline.remaining(EpochMs(u64::MAX)), Duration::ZERO);
    }

    #[test]
    fn only_digits_are_a_deadline() {
        assert_eq!(Deadline::parse(b"600000"), Some(Deadline(EpochMs(600_000))));
        for bad in ["", "-1", "+1", "1.5", " 1", "1e3", "99999999999999999999"] {
            assert_eq!(Deadline::parse(bad.as_bytes()), None);
        }
    }

    #[test]
    fn times_are_read_and_written_in_the_platforms_form() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1, "1970-01-01T00:00:00.001Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_799_999, "2000-02-29T23:59:59.999Z"),
            (1_659_441_683_521, "2022-08-02T12:01:23.521Z"),
            (1_709_164_800_001, "2024-02-29T00:00:00.001Z"),
            (1_735_689_599_999, "2024-12-31T23:59:59.999Z"),
            (1_787_220_000_064, "2026-08-20T10:00:00.064Z"),
            (4_102_444_800_000, "2100-01-01T00:00:00.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(EpochMs(ms).to_rfc3339(), text);
            let parse = |text: &str| EpochMs::parse_rfc3339(text.as_bytes());
            assert_eq!(parse(text), Some(EpochMs(ms)), "{text}");
            for length in 0..text.len() {
                let cut = EpochMs::parse_rfc3339(&text.as_bytes()[..length]);
                assert_eq!(cut, None, "{text} cut to {length}");
            }
        }
        let text = "9999-12-31T23:59:59.999Z";
        assert_eq!(EpochMs(u64::MAX).to_rfc3339(), text);
    }

    #[test]
    fn the_fraction_may_have_other_places_or_be_absent() {
        for (text, ms) in [
            ("2026-08-20T10:00:00Z", Some(0)),
            ("2026-08-20T10:00:00.5Z", Some(500)),
            ("2026-08-20T10:00:00.06Z", Some(60)),
            ("2026-08-20T10:00:00.064999999Z", Some(64)),
            ("2026-08-20T10:00:00.Z", None),
            ("2026-08-20T10:00:00.0 Z", None),
            ("2026-08-20T10:00:00:064Z", None),
        ] {
            let expected = ms.map(|ms| EpochMs(1_787_220_000_000 + ms));
            assert_eq!(EpochMs::parse_rfc3339(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_such_time_is_refused() {
        for text in [
            "",
            "1787220000064",
            "1969-12-31T23:59:59Z",
            "0000-01-01T00:00:00Z",
            "2026-02-29T10:00:00Z",
            "1900-02-29T10:00:00Z",
            "2026-00-01T10:00:00Z",
            "2026-13-01T10:00:00Z",
            "2026-01-00T10:00:00Z",
            "2026-01-32T10:00:00Z",
            "2026-04-31T10:00:00Z",
            "2026-08-20T24:00:00Z",
            "2026-08-20T10:60:00Z",
            "2026-08-20T10:00:60Z",
            "2026-08-20t10:00:00z",
            "2026-08-20 10:00:00Z",
            "2026-08-20T10:00:00",
            "2026-08-20T10:00:00.064",
            "2026-08-20T10:00:00.064Zx",
            "2026-08-20T12:00:00+02:00",
            "2026-8-20T10:00:00Z",
            "+026-08-20T10:00:00Z",
            "2026-08-20T10:00:0\u{e9}Z",
        ] {
            assert_eq!(EpochMs::parse_rfc3339(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn http_dates_are_read_in_one_form() {
        for (text, ms) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777_000)),
            ("Tue, 09 Jun 2026 12:53:30 GMT", Some(1_781_009_610_000)),
            ("Tue, 29 Feb 2028 00:00:00 GMT", Some(1_835_395_200_000)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", None),
            ("Sun Nov  6 08:49:37 1994", None),
            ("Tue, 32 Jun 2026 12:53:30 GMT", None),
            ("Tue, 09 Jum 2026 12:53:30 GMT", None),
            ("Tue, 09 Jun 2026 24:53:30 GMT", None),
            ("Tue, 09 Jun 2026 12:53 GMT", None),
            ("Tue, 09 Jun 2026 12:53:30 GMT ", None),
            ("Tue, 09 Jun 2026 12:53:30 CET", None),
            ("", None),
        ] {
            let expected = ms.map(EpochMs);
            assert_eq!(
                EpochMs::parse_http_date(text.as_bytes()),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn every_day_follows_the_day_before() {
        let mut days = 0;
        for year in 1970..2105 {
            for month in 0..=13 {
                for day in 0..=32 {
                    if let Some(found) = days_since_1970(year, month, day) {
                        assert_eq!(found, days, "{year}-{month}-{day}");
                        assert_eq!(date(days), [year, month, day]);
                        days += 1;
                    }
                }
            }
        }
        assert_eq!(days, 135 * 365 + 33);
    }
}

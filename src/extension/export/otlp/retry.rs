//! What follows from the answer of a receiver, and how long to wait before trying again.
//!
//! <https://opentelemetry.io/docs/specs/otlp/#otlphttp-response> and, for how long,
//! <https://opentelemetry.io/docs/specs/otlp/#otlphttp-throttling>.

use crate::shared::time::EpochMs;

/// What to do with a batch after an attempt to send it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::extension) enum Verdict {
    /// It is done. A receiver that took only a part says so with 200 too, and "the client MUST NOT
    /// retry the request" then.
    Delivered,
    /// Send it again, not before `after_ms` have passed if the receiver named a time.
    Retry { after_ms: Option<u64> },
    /// It will never be taken: drop it and count it.
    Drop,
    /// Nothing will ever be taken, because the credentials are wrong: drop it and stop sending.
    Disable,
}

/// What follows from the status of an answer; `None` when the connection was lost or refused, or
/// no answer came in time.
///
/// `retry_after` is the value of the field `Retry-After`.
pub(in crate::extension) fn verdict(
    status: Option<u16>,
    retry_after: Option<&[u8]>,
    now: EpochMs,
) -> Verdict {
    match status {
        Some(200..=299) => Verdict::Delivered,
        Some(401 | 403) => Verdict::Disable,
        None => Verdict::Retry { after_ms: None },
        Some(429 | 502 | 503 | 504) => Verdict::Retry {
            after_ms: retry_after.and_then(|value| delay_ms(value, now)),
        },
        Some(_) => Verdict::Drop,
    }
}

/// `Retry-After = HTTP-date / delay-seconds`, as milliseconds from `now`.
///
/// <https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3>
fn delay_ms(value: &[u8], now: EpochMs) -> Option<u64> {
    match crate::shared::http::decimal(value) {
        Some(seconds) => Some(seconds.saturating_mul(1_000)),
        None => http_date_ms(value, now).map(|at| at.saturating_sub(now.0)),
    }
}

/// Reads any of the three forms that a recipient must take, in milliseconds since the epoch:
///
/// ```text
/// Sun, 06 Nov 1994 08:49:37 GMT
/// Sunday, 06-Nov-94 08:49:37 GMT
/// Sun Nov  6 08:49:37 1994
/// ```
///
/// The numbers stand in the same order, but for the year of the third form: it is the last, where
/// the others have the seconds, of which there are no 100.
/// <https://www.rfc-editor.org/rfc/rfc9110#section-5.6.7>
fn http_date_ms(value: &[u8], now: EpochMs) -> Option<u64> {
    let (mut numbers, mut count, mut month) = ([0; 5], 0, None);
    for word in value.split(|byte| !byte.is_ascii_alphanumeric()) {
        if let Some(number) = crate::shared::http::decimal(word) {
            *numbers.get_mut(count)? = number;
            count += 1;
        } else if let Some(at) = MONTHS.chunks(3).position(|name| name == word) {
            month = Some(at as u64);
        }
    }
    let [day, mut year, mut hour, mut minute, mut second] = numbers;
    if second > 99 {
        (hour, minute, second, year) = (year, hour, minute, second);
    } else if year <= 99 {
        year = century(year, now);
    }
    // A second may be a leap second.
    let is_date = count == 5 && (1..=31).contains(&day) && year <= 9_999;
    if !is_date || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let [year, month, day] = [year, month? + 1, day].map(u64::cast_signed);
    let days = u64::try_from(days_since_1970(year, month, day)).ok()?;
    Some((days * 86_400 + hour * 3_600 + minute * 60 + second) * 1_000)
}

/// Days from 1 January 1970 to a date. Month 13 is the first of the next year.
///
/// <https://howardhinnant.github.io/date_algorithms.html#days_from_civil>
const fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    // A year that begins in March has its leap day at the end.
    let year = if month <= 2 { year - 1 } else { year };
    let years = year * 365 + year / 4 - year / 100 + year / 400;
    let months = ((month + 9) % 12 * 153 + 2) / 5;
    // 719,468 days lie between the first of March of the year 0 and 1970.
    years + months + day - 1 - 719_468
}

/// A year of two digits "that appears to be more than 50 years in the future" is in the past.
const fn century(year: u64, now: EpochMs) -> u64 {
    // The mean year of the Gregorian calendar is close enough to tell 50 years.
    let this_year = 1970 + now.0 / 31_556_952_000;
    let year = this_year - this_year % 100 + year;
    if this_year + 50 < year {
        year - 100
    } else {
        year
    }
}

/// How long to wait between attempts: longer each time, and never the same for two environments
/// that were started together.
#[derive(Clone, Copy, Debug)]
pub(in crate::extension) struct Backoff {
    /// Attempts that failed since one succeeded.
    failures: u32,
    /// The state of the random numbers.
    seed: u64,
}

impl Backoff {
    /// Environments need different seeds, and one restored from a snapshot a new one.
    pub(in crate::extension) const fn new(seed: u64) -> Self {
        Self { failures: 0, seed }
    }

    /// An attempt succeeded.
    pub(in crate::extension) const fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// An attempt failed: how long to wait before the next one, in milliseconds.
    ///
    /// A time that the receiver named is a lower bound, and has its jitter added: everyone who was
    /// turned away has been told the same time.
    pub(in crate::extension) fn failed(&mut self, after_ms: Option<u64>) -> u64 {
        let wait_ms = BACKOFF_MS_MAX.min(BACKOFF_MS_MIN << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        let jitter_ms = self.random() % (wait_ms / 2);
        after_ms
            .unwrap_or(wait_ms / 2)
            .max(wait_ms / 2)
            .saturating_add(jitter_ms)
    }

    /// splitmix64: any seed will do, also 0.
    const fn random(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

const MONTHS: &[u8] = b"JanFebMarAprMayJunJulAugSepOctNovDec";

/// The first wait, before jitter.
const BACKOFF_MS_MIN: u64 = 200;

/// The longest wait, before jitter, unless the receiver names a longer one.
const BACKOFF_MS_MAX: u64 = 30_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-06-09T12:53:20Z
    const NOW: EpochMs = EpochMs(1_781_009_600_000);

    #[test]
    fn every_status_has_its_verdict() {
        let retry = Verdict::Retry { after_ms: None };
        for status in 100..=999 {
            let expected = match status {
                200..=299 => Verdict::Delivered,
                401 | 403 => Verdict::Disable,
                429 | 502 | 503 | 504 => retry,
                _ => Verdict::Drop,
            };
            assert_eq!(verdict(Some(status), None, NOW), expected, "{status}");
        }
        assert_eq!(verdict(None, None, NOW), retry);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let table: [(&str, Option<u64>); 20] = [
            ("0", Some(0)),
            ("120", Some(120_000)),
            ("99999999999999999", Some(u64::MAX)),
            ("Tue, 09 Jun 2026 12:53:30 GMT", Some(10_000)),
            ("Tuesday, 09-Jun-26 12:53:30 GMT", Some(10_000)),
            ("Tue Jun  9 12:53:30 2026", Some(10_000)),
            ("Wed, 10 Jun 2026 00:00:00 GMT", Some(40_000_000)),
            ("Fri, 01 Jan 2027 00:00:00 GMT", Some(17_752_000_000)),
            ("Tue, 29 Feb 2028 00:00:00 GMT", Some(54_385_600_000)),
            ("Wed, 01 Mar 2028 00:00:00 GMT", Some(54_472_000_000)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(0)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("Tue, 32 Jun 2026 12:53:30 GMT", None),
            ("Tue, 09 Jun 2026 24:53:30 GMT", None),
            ("Tue, 09 Jun 2026 12:53 GMT", None),
            ("09 Jun 12:53:30", None),
        ];
        for (value, after_ms) in table {
            let found = verdict(Some(503), Some(value.as_bytes()), NOW);
            assert_eq!(found, Verdict::Retry { after_ms }, "{value}");
        }
        let bytes = verdict(Some(429), Some(b"\xFF"), NOW);
        assert_eq!(bytes, Verdict::Retry { after_ms: None });
    }

    #[test]
    fn waits_double_up_to_a_limit_and_start_anew_after_success() {
        let mut backoff = Backoff::new(7);
        let bounds = [
            200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000,
        ];
        for wait_ms in bounds {
            let found = backoff.failed(None);
            assert!(
                (wait_ms / 2..wait_ms).contains(&found),
                "{found} of {wait_ms}"
            );
        }
        for _ in 0..100 {
            assert!((15_000..30_000).contains(&backoff.failed(None)));
        }
        backoff.succeeded();
        assert!((100..200).contains(&backoff.failed(None)));
    }

    #[test]
    fn the_receivers_time_is_a_lower_bound() {
        let mut backoff = Backoff::new(7);
        assert!((60_000..60_100).contains(&backoff.failed(Some(60_000))));
        assert!((200..400).contains(&backoff.failed(Some(0))));
        assert_eq!(Backoff::new(7).failed(Some(u64::MAX)), u64::MAX);
    }

    #[test]
    fn seeds_tell_environments_apart() {
        let waits = |seed| {
            let mut backoff = Backoff::new(seed);
            std::array::from_fn::<u64, 8, _>(|_| backoff.failed(None))
        };
        assert_eq!(waits(1), waits(1));
        assert_ne!(waits(1), waits(2));
    }
}

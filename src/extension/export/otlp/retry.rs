//! The verdict on a batch after an attempt to send it.
//!
//! <https://opentelemetry.io/docs/specs/otlp/#otlphttp-response> and, for pauses,
//! <https://opentelemetry.io/docs/specs/otlp/#otlphttp-throttling>.

use std::time::Duration;

use crate::shared::digits::decimal;
use crate::shared::time::EpochMs;

/// What to do with a batch after an attempt to send it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::extension) enum Verdict {
    /// It is done. A receiver that took only a part answers 200 too, and "the client MUST NOT
    /// retry the request" then.
    Delivered,
    /// Send it again, not before `after` if the receiver named a time.
    Retry { after: Option<Duration> },
    /// It will never be taken: drop it and count it.
    Drop,
    /// Nothing will ever be taken, because the credentials are wrong: drop it and stop sending.
    Disable,
}

/// The verdict by the status of the response; `None` when the connection failed or no status came
/// in time. `retry_after` is the value of the field `Retry-After`.
pub(in crate::extension) fn verdict(
    status: Option<u16>,
    retry_after: Option<&[u8]>,
    now: EpochMs,
) -> Verdict {
    match status {
        Some(200..=299) => Verdict::Delivered,
        Some(401 | 403) => Verdict::Disable,
        None => Verdict::Retry { after: None },
        Some(429 | 502 | 503 | 504) => Verdict::Retry {
            after: retry_after.and_then(|value| delay(value, now)),
        },
        Some(_) => Verdict::Drop,
    }
}

/// `Retry-After = HTTP-date / delay-seconds`, as a time from `now`, at most [`RETRY_AFTER_MAX`].
/// Of the three forms of a date it takes the one that senders must use.
///
/// <https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3>
fn delay(value: &[u8], now: EpochMs) -> Option<Duration> {
    let delay = match EpochMs::parse_http_date(value) {
        Some(date) => Duration::from_millis(date.0.saturating_sub(now.0)),
        None if value.is_empty() || !value.iter().all(u8::is_ascii_digit) => return None,
        // A number that is too large for 64 bits is a long time all the same.
        None => Duration::from_secs(decimal(value).unwrap_or(u64::MAX)),
    };
    Some(delay.min(RETRY_AFTER_MAX))
}

/// The longest pause that a receiver may ask for. A wrong clock or unit would silence the exporter
/// for the life of the environment otherwise.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-06-09T12:53:20Z
    const NOW: EpochMs = EpochMs(1_781_009_600_000);

    #[test]
    fn every_status_has_its_verdict() {
        let retry = Verdict::Retry { after: None };
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
        let table: [(&[u8], Option<u64>); 18] = [
            (b"0", Some(0)),
            (b"120", Some(120)),
            (b"3600", Some(3_600)),
            (b"3601", Some(3_600)),
            (b"9223372036854775808", Some(3_600)),
            (b"99999999999999999999", Some(3_600)),
            (b"Tue, 09 Jun 2026 12:53:30 GMT", Some(10)),
            (b"Tue, 09 Jun 2026 13:53:30 GMT", Some(3_600)),
            (b"Fri, 31 Dec 9999 00:00:00 GMT", Some(3_600)),
            (b"Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
            (b"", None),
            (b"-1", None),
            (b"1.5", None),
            (b"soon", None),
            (b"\xFF", None),
            (b"Tue, 32 Jun 2026 12:53:30 GMT", None),
            (b"Tue, 09 Jun 2026 24:53:30 GMT", None),
            (b"Tue, 09 Jun 2026 12:53 GMT", None),
        ];
        for (value, seconds) in table {
            let after = seconds.map(Duration::from_secs);
            let found = verdict(Some(503), Some(value), NOW);
            assert_eq!(found, Verdict::Retry { after }, "{}", value.escape_ascii());
        }
    }
}

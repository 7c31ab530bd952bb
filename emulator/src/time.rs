//! Wall-clock time as text and as milliseconds.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

/// Milliseconds since the Unix epoch.
pub(crate) fn epoch_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// RFC 3339 with milliseconds, in UTC.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    timestamp(time)
        .strftime("%Y-%m-%dT%H:%M:%S.%3fZ")
        .to_string()
}

/// `YYYY/MM/DD`, as log streams are named.
pub(crate) fn date_path(time: SystemTime) -> String {
    timestamp(time).strftime("%Y/%m/%d").to_string()
}

/// `09/Apr/2015:12:34:56 +0000`: the time of an HTTP event (Common Log Format).
pub(crate) fn common_log(time: SystemTime) -> String {
    timestamp(time).strftime("%d/%b/%Y:%H:%M:%S %z").to_string()
}

/// A clock outside jiff's range (years -9999 to 9999) is as wrong as one at the epoch.
fn timestamp(time: SystemTime) -> Timestamp {
    Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn every_form_has_its_digits() {
        let time = at(86_400 * 31) + Duration::from_millis(7);
        assert_eq!(rfc3339(time), "1970-02-01T00:00:00.007Z");
        assert_eq!(rfc3339(at(951_782_399)), "2000-02-28T23:59:59.000Z");
        assert_eq!(date_path(time), "1970/02/01");
        assert_eq!(common_log(time), "01/Feb/1970:00:00:00 +0000");
        assert_eq!(epoch_ms(time), 86_400_000 * 31 + 7);
    }
}

//! Points in time as the platform states them: milliseconds since the Unix epoch.

use std::time::Duration;

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
        super::http::decimal(value).map(|ms| Self(EpochMs(ms)))
    }

    /// The time left at `now`; zero when the deadline has passed.
    #[must_use]
    pub(crate) const fn remaining(self, now: EpochMs) -> Duration {
        Duration::from_millis(self.0.0.saturating_sub(now.0))
    }
}

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
        for bad in [
            &b""[..],
            b"-1",
            b"+1",
            b"1.5",
            b" 1",
            b"1e3",
            b"99999999999999999999",
        ] {
            assert_eq!(Deadline::parse(bad), None);
        }
    }
}

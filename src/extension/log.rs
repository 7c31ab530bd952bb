//! The extension's own lines for the log: standard error, which goes to the function's log.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::extension::deliver::lines;
use crate::shared::log_record::{Format, Level, Record};
use crate::shared::os::clock;
use crate::shared::text::prefix;
use crate::shared::time::EpochMs;

/// Sets the form of the lines that follow.
pub(super) fn set_format(format: Format) {
    IS_JSON.store(format == Format::Json, Ordering::Relaxed);
}

/// A static, because the panic hook writes lines too.
static IS_JSON: AtomicBool = AtomicBool::new(false);

#[cfg(test)]
thread_local! {
    /// The messages of this thread, if a test keeps them instead.
    pub(super) static KEPT: std::cell::RefCell<Option<Vec<String>>> =
        const { std::cell::RefCell::new(None) };
}

/// Writes a line. It is lost if nobody reads standard error: nothing waits for a log.
pub(super) fn warn(message: &str) {
    #[cfg(test)]
    if KEPT.with_borrow_mut(|kept| {
        let kept = kept.as_mut();
        kept.map(|kept| kept.push(message.to_owned())).is_some()
    }) {
        return;
    }
    let is_json = IS_JSON.load(Ordering::Relaxed);
    let mut line = Vec::with_capacity(256);
    let message = prefix(message, MESSAGE_BYTES_MAX);
    let record = Record::new(clock::now(), Level::Warn, message);
    record.write(if is_json { Format::Json } else { Format::Text }, &mut line);
    lines::write_ready(rustix::stdio::stderr(), &line).ok();
}

/// Bytes of a message: with the rest of its line it fits a pipe at once. Names of files and words
/// of receivers are the longest parts.
const MESSAGE_BYTES_MAX: usize = 2_000;

/// Lets a kind of failure be logged at most once a minute, however often it happens.
#[derive(Debug, Default)]
pub(super) struct OnceAMinute(Cell<Option<EpochMs>>);

impl OnceAMinute {
    /// Whether a line is due at `now`. A clock that was put back does not hold it up.
    pub(super) fn is_due(&self, now: EpochMs) -> bool {
        let passed = |last: EpochMs| now.0.checked_sub(last.0);
        let is_due = self.0.get().and_then(passed).is_none_or(|ms| 60_000 <= ms);
        if is_due {
            self.0.set(Some(now));
        }
        is_due
    }
}

/// Text from outside for a line of the log: cropped, and without control characters.
pub(super) fn quote(text: &[u8]) -> String {
    let text = text.get(..4 * QUOTE_CHARS_MAX).unwrap_or(text);
    let text = String::from_utf8_lossy(text);
    let is_break = |letter: char| letter.is_control() || letter.is_whitespace();
    let words = text.split(is_break).filter(|word| !word.is_empty());
    let words = words.collect::<Vec<_>>().join(" ");
    words.chars().take(QUOTE_CHARS_MAX).collect()
}

const QUOTE_CHARS_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_due_once_a_minute() {
        let limit = OnceAMinute::default();
        let table = [
            (1_000_000, true),
            (1_000_000, false),
            (1_059_999, false),
            (1_060_000, true),
            // The clock was put back by hours.
            (5_000, true),
            (5_001, false),
        ];
        for (now, expected) in table {
            assert_eq!(limit.is_due(EpochMs(now)), expected, "{now}");
        }
    }

    #[test]
    fn a_quote_is_one_short_line() {
        assert_eq!(
            quote(b"{\r\n  \"a\": 1,\t\0\x1b[31m2\n}"),
            r#"{ "a": 1, [31m2 }"#
        );
        assert_eq!(quote(b"caf\xc3\xa9 \xff"), "caf\u{e9} \u{fffd}");
        assert_eq!(quote(&[b'x'; 5_000]).len(), 200);
        assert_eq!(quote(b""), "");
    }
}

//! The function's log, as `CloudWatch` would show it.

use std::borrow::Cow;
use std::io::{self, Write as _};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, SystemTime};

use super::bounded::{Bounded, Weight};
use crate::lock::{lock, wait_until};

/// The writer of a log line that is not the platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Function,
    Extension(String),
}

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// When it was read.
    pub time: SystemTime,
    /// The environment.
    pub environment: u64,
    /// Its log stream.
    pub stream: String,
    /// The text without its newline.
    pub text: String,
    /// Whether the platform wrote it (`START`, `END`, `REPORT` ...) and not a process.
    pub platform: bool,
    /// The external extension that wrote it.
    pub extension: Option<String>,
}

impl LogLine {
    /// A line that is written now. Without a source it is the platform that writes.
    pub(crate) fn new(environment: u64, stream: &str, text: &str, source: Option<&Source>) -> Self {
        Self {
            time: SystemTime::now(),
            environment,
            stream: stream.to_owned(),
            text: text.to_owned(),
            platform: source.is_none(),
            extension: match source {
                Some(Source::Extension(name)) => Some(name.clone()),
                Some(Source::Function) | None => None,
            },
        }
    }

    /// The text as `CloudWatch` shows it: a carriage return ends a line, and does not bring the
    /// cursor back.
    #[must_use]
    pub fn shown(&self) -> Cow<'_, str> {
        let text = self.text.trim_end_matches('\r');
        if text.contains('\r') {
            Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n"))
        } else {
            Cow::Borrowed(text)
        }
    }
}

impl Weight for LogLine {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.text.len() + self.stream.len()
    }
}

/// The growing log.
#[derive(Debug)]
pub(crate) struct Log {
    lines: Mutex<Bounded<LogLine>>,
    grew: Condvar,
    echo: bool,
}

impl Log {
    /// Keeps at most about this many bytes; with `echo` each line is printed on stderr too.
    pub(crate) fn new(bytes_max: usize, echo: bool) -> Self {
        Self {
            lines: Mutex::new(Bounded::new(bytes_max)),
            grew: Condvar::new(),
            echo,
        }
    }

    pub(crate) fn push(&self, line: LogLine) {
        if self.echo {
            // A closed standard error is no reason to fail an invocation.
            let _unread = writeln!(io::stderr(), "{}", line.shown());
        }
        lock(&self.lines).push(line);
        self.grew.notify_all();
    }

    /// Runs `test` now and after every new line until it passes or `bound` is over.
    pub(crate) fn wait_until(
        &self,
        bound: Duration,
        test: impl FnMut(&[LogLine]) -> bool,
    ) -> Result<(), Vec<LogLine>> {
        wait_until(&self.lines, &self.grew, bound, test)
    }

    pub(crate) fn snapshot(&self) -> Vec<LogLine> {
        lock(&self.lines).as_ref().to_vec()
    }

    pub(crate) fn clear(&self) {
        lock(&self.lines).clear();
    }
}

/// The last bytes of an invocation's log, for `X-Amz-Log-Result`.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    text: String,
}

impl Tail {
    pub(crate) fn push(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
        let surplus = self.text.len().saturating_sub(TAIL_BYTES_MAX);
        if surplus > 0 {
            let start = (surplus..).find(|at| self.text.is_char_boundary(*at));
            self.text.drain(..start.unwrap_or(surplus));
        }
    }

    pub(crate) fn take(&mut self) -> String {
        std::mem::take(&mut self.text)
    }
}

/// `LogType: Tail` gives "the last 4 KB of the execution log" (Lambda API reference, Invoke).
const TAIL_BYTES_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carriage_returns_are_shown_as_line_ends() {
        for (text, expected) in [
            ("one line", "one line"),
            ("a\rb\rc", "a\nb\nc"),
            ("ends with one\r", "ends with one"),
            ("\r\r", ""),
            ("a\r\nb", "a\nb"),
        ] {
            let line = LogLine::new(0, "stream", text, None);
            assert_eq!(line.shown(), expected);
        }
    }

    #[test]
    fn the_tail_keeps_the_end_and_whole_characters() {
        let mut tail = Tail::default();
        tail.push("first");
        tail.push(&"\u{e9}".repeat(3_000));
        let kept = tail.take();
        assert!(kept.len() <= TAIL_BYTES_MAX && kept.len() > TAIL_BYTES_MAX - 4);
        assert!(kept.ends_with("\u{e9}\n"));
        assert_eq!(tail.take(), "");
    }
}

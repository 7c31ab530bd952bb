//! Standard error of a handler: whole lines for the log, and its end for an error.

use crate::runtime::log;
use crate::shared::json;
use crate::shared::limits::BUFFER_KEEP_BYTES;
use crate::shared::log_record::{Format, Level};

/// Takes standard error apart as it is read.
#[derive(Debug, Default)]
pub(super) struct Stderr {
    /// A line that has no end yet.
    line: Vec<u8>,
    /// The last [`TAIL_BYTES_MAX`] bytes, from the start of a character.
    tail: Vec<u8>,
}

impl Stderr {
    /// Adds bytes, and gives each line that is now whole to `write`, with its line end. A line of
    /// more than [`LINE_BYTES_MAX`] is given in parts.
    pub(super) fn add(&mut self, bytes: &[u8], write: &mut dyn FnMut(&[u8])) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            while text(&self.line).len() > LINE_BYTES_MAX {
                let rest = self.line.split_off(boundary(&self.line, LINE_BYTES_MAX));
                self.end_line(write);
                self.line = rest;
            }
            if part.ends_with(b"\n") {
                self.end_line(write);
            }
        }
        self.tail.extend_from_slice(bytes);
        let excess = self.tail.len().saturating_sub(TAIL_BYTES_MAX);
        if 0 < excess {
            let rest = self.tail.get(excess..).unwrap_or_default();
            // The last part of a character that begins before the limit.
            let broken = rest.iter().take(CHARACTER_BYTES_MAX - 1);
            let broken = broken.take_while(|byte| is_continuation(**byte)).count();
            self.tail.drain(..excess + broken);
        }
    }

    /// Gives a line that has no end to `write`: nothing more will come.
    pub(super) fn finish(&mut self, write: &mut dyn FnMut(&[u8])) {
        if !self.line.is_empty() {
            self.end_line(write);
        }
    }

    /// Forgets what [`Stderr::tail`] would show.
    pub(super) fn forget(&mut self) {
        self.tail.clear();
    }

    /// The end of everything that was added since it was forgotten, as text.
    pub(super) fn tail(&self) -> String {
        String::from_utf8_lossy(self.tail.trim_ascii()).into_owned()
    }

    fn end_line(&mut self, write: &mut dyn FnMut(&[u8])) {
        if !self.line.ends_with(b"\n") {
            self.line.push(b'\n');
        }
        write(&self.line);
        self.line.clear();
        self.line.shrink_to(BUFFER_KEEP_BYTES);
    }
}

/// Writes a line to the log, whatever the level. In the JSON format a line that is not a JSON
/// object becomes the message of a record.
pub(super) fn log_line(line: &[u8]) {
    let is_object = || line.starts_with(b"{") && json::is_json(line);
    if log::format() == Format::Text || is_object() {
        log::write_line(line);
    } else {
        let message = String::from_utf8_lossy(line.trim_ascii_end());
        log::always(Level::Info, &message);
    }
}

/// A line without its line end.
fn text(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\n").unwrap_or(line)
}

/// The last place up to `at` where a character begins. Bytes that are not UTF-8 are cut at `at`.
pub(super) fn boundary(bytes: &[u8], at: usize) -> usize {
    if bytes.len() <= at {
        return bytes.len();
    }
    let earliest = at.saturating_sub(CHARACTER_BYTES_MAX - 1);
    let begins = |place: &usize| {
        bytes
            .get(*place)
            .is_some_and(|byte| !is_continuation(*byte))
    };
    (earliest..=at).rev().find(begins).unwrap_or(at)
}

/// True for every byte of a character in UTF-8 but the first.
const fn is_continuation(byte: u8) -> bool {
    byte & 0xC0 == 0x80
}

/// Bytes of a character in UTF-8.
const CHARACTER_BYTES_MAX: usize = 4;

/// Bytes of a line: what `CloudWatch` takes as one log event.
///
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/cloudwatch_limits_cwl.html>
const LINE_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of standard error that go into an error.
const TAIL_BYTES_MAX: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines that come of `bytes` when they are read in parts of `step` bytes, and the tail.
    fn read(bytes: &[u8], step: usize) -> (Vec<Vec<u8>>, String) {
        let mut stderr = Stderr::default();
        let mut lines = Vec::new();
        for part in bytes.chunks(step) {
            stderr.add(part, &mut |line| lines.push(line.to_vec()));
        }
        stderr.finish(&mut |line| lines.push(line.to_vec()));
        (lines, stderr.tail())
    }

    #[test]
    fn lines_are_the_same_however_they_are_read() {
        let text = "one\n\n\u{e9}\u{1f600}\r\nlast".as_bytes();
        for step in 1..=text.len() {
            let (lines, tail) = read(text, step);
            let expected: [&[u8]; 4] =
                [b"one\n", b"\n", "\u{e9}\u{1f600}\r\n".as_bytes(), b"last\n"];
            assert_eq!(lines, expected, "{step}");
            assert_eq!(tail.as_bytes(), text, "{step}");
        }
    }

    #[test]
    fn a_line_up_to_the_limit_is_one_line() {
        for length in [LINE_BYTES_MAX - 1, LINE_BYTES_MAX] {
            let mut text = vec![b'x'; length];
            text.push(b'\n');
            let (lines, _) = read(&text, 64 * 1024);
            assert_eq!(lines, [text]);
        }
    }

    #[test]
    fn a_longer_line_is_cut_between_characters() {
        for (character, bytes) in [("x", 1), ("\u{e9}", 2), ("\u{65e5}", 3), ("\u{1f600}", 4)] {
            assert_eq!(character.len(), bytes);
            // So that the limit falls on each byte of a character.
            for start in 0..bytes {
                let text = "-".repeat(start) + &character.repeat(LINE_BYTES_MAX * 5 / 2 / bytes);
                let (lines, _) = read(text.as_bytes(), 64 * 1024);
                assert_eq!(lines.len(), 3, "{character} {start}");
                let mut joined = String::new();
                for line in &lines {
                    assert!(line.len() <= LINE_BYTES_MAX + 1);
                    joined.push_str(str::from_utf8(line).unwrap().trim_end());
                }
                assert!(joined == text, "{character} {start}");
            }
        }
    }

    #[test]
    fn a_line_of_spaces_has_the_same_limit() {
        let (lines, _) = read(&vec![b' '; 2 * LINE_BYTES_MAX], 64 * 1024);
        assert_eq!(lines.len(), 2);
    }

    #[test]
    fn bytes_that_are_not_text_are_cut_at_the_limit() {
        let (lines, tail) = read(&vec![0x80; LINE_BYTES_MAX + 1], 64 * 1024);
        let lengths: Vec<usize> = lines.iter().map(Vec::len).collect();
        assert_eq!(lengths, [LINE_BYTES_MAX + 1, 2]);
        let kept = tail.chars().count();
        assert!(TAIL_BYTES_MAX - CHARACTER_BYTES_MAX < kept, "{kept}");
        assert_eq!(read(b"\x80x", 1).1, "\u{FFFD}x");
    }

    #[test]
    fn the_tail_begins_with_a_character() {
        for start in 0..4 {
            for step in [1, 7, 5_000, 50_000] {
                let text = "-".repeat(start) + &"\u{65e5}\u{1f600}".repeat(2_000) + " end\n";
                let (_, tail) = read(text.as_bytes(), step);
                assert!(text.trim_end().ends_with(&tail), "{start} {step}: {tail}");
                assert!((TAIL_BYTES_MAX - 8..=TAIL_BYTES_MAX).contains(&tail.len()));
            }
        }
    }
}

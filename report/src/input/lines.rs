//! Formats with a message a line.

use std::borrow::Cow;
use std::io::{self, BufRead, Read};

use super::Reading;
use crate::fact::Source;
use crate::limits::{LINE_BYTES_MAX, MESSAGE_BYTES_MAX};
use crate::message::{self, GROUP, parts_of_stream};

/// Reads every line.
pub(super) fn read(mut from: impl BufRead, reading: &mut Reading<'_>) {
    let mut line = Vec::new();
    let mut number = 0;
    let mut held: Option<Held> = None;
    loop {
        line.clear();
        number += 1;
        match next(&mut from, &mut line) {
            Ok(Line::End) => break,
            Ok(Line::Whole) => {}
            Ok(Line::TooLong) => {
                reading.problem(number, format!("a line of over {LINE_BYTES_MAX} bytes"));
                continue;
            }
            Err(error) => {
                reading.problem(number, error);
                break;
            }
        }
        let text = String::from_utf8_lossy(&line);
        if let Some(begun) = Held::begin(&text, number) {
            if let Some(before) = held.replace(begun) {
                before.give(None, reading);
            }
        } else if let Some(begun) = held.take() {
            held = begun.go_on(&text, reading);
        } else {
            one(number, &text, reading);
        }
    }
    if let Some(begun) = held {
        begun.give(None, reading);
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Line {
    Whole,
    TooLong,
    End,
}

/// Reads a line without its end. Of one that is too long the rest is skipped.
fn next(from: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Line> {
    let max = LINE_BYTES_MAX as u64 + 1;
    if from.by_ref().take(max).read_until(b'\n', line)? == 0 {
        return Ok(Line::End);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    } else if LINE_BYTES_MAX < line.len() {
        from.skip_until(b'\n')?;
        return Ok(Line::TooLong);
    }
    Ok(Line::Whole)
}

/// Reads a line that is a message, behind its time, log stream and log group where there are such:
/// `aws logs tail` has the time first, `sam logs` the stream, and `awslogs` the group.
fn one(number: u64, text: &str, reading: &mut Reading<'_>) {
    let mut source = Source::default();
    let mut rest = text.trim_ascii();
    while rest.starts_with(|c: char| c.is_ascii_digit() || c == '/') {
        let (word, after) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
        // A line of the function may begin with a time of its own, as a timeout does.
        let time = source.time_ms.is_none().then(|| message::time(word));
        if let Some(time) = time.flatten() {
            source.time_ms = Some(time);
        } else if source.stream.is_none() && is_stream(word) {
            source.stream = Some(Cow::Borrowed(word));
        } else if source.function.is_none() && word.starts_with(GROUP) {
            source.function = message::function_of_group(word).map(Cow::Borrowed);
        } else {
            break;
        }
        rest = after.trim_ascii_start();
    }
    reading.message(number, rest, &source);
}

/// Whether a word is the name of a log stream. A message without blanks can have one in it.
fn is_stream(word: &str) -> bool {
    !word.starts_with('{') && word.contains('/') && parts_of_stream(word).1.is_some()
}

/// An event of `aws logs … --output text`, which may go on over several lines:
/// `EVENTS`, id, time of ingestion, stream, message and time, with tabs between them.
#[derive(Debug)]
struct Held {
    number: u64,
    stream: Option<String>,
    message: String,
}

impl Held {
    fn begin(text: &str, number: u64) -> Option<Self> {
        let (first, rest) = text.strip_prefix("EVENTS\t")?.split_once('\t')?;
        // `get-log-events` has neither id nor stream: ingestion time, message, time.
        let (stream, message) = if first.len() == 13 && message::time(first).is_some() {
            (None, rest)
        } else {
            let (_ingested, rest) = rest.split_once('\t')?;
            let (stream, message) = rest.split_once('\t')?;
            (Some(stream.to_owned()), message)
        };
        Some(Self {
            number,
            stream,
            message: message.to_owned(),
        })
    }

    /// Takes a further line; the last one ends with the time.
    fn go_on(mut self, text: &str, reading: &mut Reading<'_>) -> Option<Self> {
        let (end, time) = text.rsplit_once('\t').unwrap_or((text, ""));
        let time = (time.len() == 13).then(|| message::time(time)).flatten();
        if time.is_some() {
            self.message.push_str(end);
            self.give(time, reading);
            return None;
        }
        if self.message.len() + text.len() <= LINE_BYTES_MAX {
            self.message.push('\n');
            self.message.push_str(text);
        }
        Some(self)
    }

    fn give(mut self, time_ms: Option<i64>, reading: &mut Reading<'_>) {
        let mut time_ms = time_ms;
        if time_ms.is_none()
            && let Some((message, time)) = self.message.rsplit_once('\t')
            && let Some(time) = message::time(time)
        {
            time_ms = Some(time);
            self.message = message.to_owned();
        }
        let source = Source {
            time_ms,
            stream: self.stream.map(Cow::Owned),
            ..Source::default()
        };
        reading.message(self.number, &self.message, &source);
    }
}

/// Reads the messages of a file of a collector in protobuf, each behind its length in four bytes.
pub(super) fn read_protobuf(mut from: impl Read, reading: &mut Reading<'_>) {
    let mut message = Vec::new();
    for number in 1.. {
        let mut length = [0; 4];
        match from.read_exact(&mut length) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return,
            Err(error) => return reading.problem(number, error),
        }
        let length = u64::from(u32::from_be_bytes(length));
        if MESSAGE_BYTES_MAX as u64 <= length {
            let reason = format!("a message of over {MESSAGE_BYTES_MAX} bytes");
            return reading.problem(number, reason);
        }
        message.clear();
        match (&mut from).take(length).read_to_end(&mut message) {
            Ok(read) if read as u64 == length => {}
            Ok(_) => return reading.problem(number, "the file ends inside a message"),
            Err(error) => return reading.problem(number, error),
        }
        let source = reading.guess.complete(&Source::default());
        let seen = message::otlp_protobuf(&message, &source, reading.sink);
        reading.seen(number, seen);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_with_the_name_of_a_stream_in_it_is_no_stream() {
        assert!(is_stream("2026/06/09/[$LATEST]82561ce0"));
        assert!(is_stream("2026/06/09/orders[7]82561ce0"));
        assert!(!is_stream(r#"{"instance_id":"2026/06/09/[7]82561ce0"}"#));
        assert!(!is_stream("START"));
    }
}

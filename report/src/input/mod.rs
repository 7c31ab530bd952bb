//! Files of any of the formats, as a stream: recognised by their first bytes, not by their names.

mod document;
mod lines;
mod table;

use std::borrow::Cow;
use std::cell::Cell;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::mem;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use flate2::read::MultiGzDecoder;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::fact::{Sink, Source};
use crate::ledger::shown;
use crate::limits::{
    ELEMENT_BYTES_MAX, FOLDERS_DEEP_MAX, PROBLEMS_SHOWN_MAX, ROWS_HELD_BYTES_MAX, ROWS_HELD_MAX,
};
use crate::message::{self, MessageError, Seen, function_of_group};

/// The files that were read, and the parts of them that could not be.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Tally {
    /// Files.
    pub files: u64,
    /// Bytes, after decompression.
    pub bytes: u64,
    /// Lines, events or rows.
    pub messages: u64,
    /// Messages that told something of a start or an invocation.
    pub facts: u64,
    /// Messages, or whole ends of files, that could not be read.
    pub problems: u64,
    /// The first of these.
    pub shown: Vec<Problem>,
}

/// A part of a file that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Problem {
    /// The file.
    pub file: String,
    /// The line, counted from one; for a message in a document the number of the message.
    pub line: u64,
    /// The reason.
    pub reason: String,
}

/// A file could not be opened, or a folder not listed.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}: {source}", path.display())]
pub struct InputError {
    path: PathBuf,
    source: io::Error,
}

/// The name of standard input.
const STDIN: &str = "-";

/// The files of `paths`: files as they are, and folders with all files in them, in the order of
/// their names.
///
/// # Errors
///
/// A path cannot be read, or folders are too deep in each other.
pub fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, InputError> {
    let mut all = Vec::new();
    for path in paths {
        if path.as_os_str() == STDIN {
            all.push(path.clone());
        } else {
            collect(path, 0, &mut all)?;
        }
    }
    Ok(all)
}

fn collect(path: &Path, depth: usize, all: &mut Vec<PathBuf>) -> Result<(), InputError> {
    let failed = |source| InputError {
        path: path.to_owned(),
        source,
    };
    if !fs::metadata(path).map_err(failed)?.is_dir() {
        all.push(path.to_owned());
        return Ok(());
    }
    if depth == FOLDERS_DEEP_MAX {
        let reason = format!("more than {FOLDERS_DEEP_MAX} folders in each other");
        return Err(failed(io::Error::other(reason)));
    }
    let entries = fs::read_dir(path).map_err(failed)?;
    let entries = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut entries: Vec<PathBuf> = entries.collect::<Result<_, _>>().map_err(failed)?;
    entries.sort();
    // Of an export to S3: the mark that the bucket may be written to.
    entries.retain(|entry| {
        entry
            .file_name()
            .is_none_or(|name| name != "aws-logs-write-test")
    });
    for entry in entries {
        collect(&entry, depth + 1, all)?;
    }
    Ok(())
}

/// Whether a path can be read again: a pipe cannot.
#[must_use]
pub fn is_regular(path: &Path) -> bool {
    path.as_os_str() != STDIN && fs::metadata(path).is_ok_and(|metadata| metadata.is_file())
}

/// Reads a file and gives its facts to `sink`; `progress` gets the bytes of it that were read.
///
/// # Errors
///
/// The file cannot be opened. What cannot be read in it is counted in `tally`.
pub(crate) fn read(
    path: &Path,
    sink: &mut dyn Sink,
    tally: &mut Tally,
    progress: &dyn Fn(u64),
) -> Result<(), InputError> {
    let failed = |source| InputError {
        path: path.to_owned(),
        source,
    };
    let file: Box<dyn Read> = if path.as_os_str() == STDIN {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).map_err(failed)?)
    };
    let counted = Metered {
        inner: file,
        each: progress,
    };
    read_from(counted, Guess::of(path), sink, tally).map_err(failed)
}

/// Reads what `from` gives, see [`read`].
///
/// # Errors
///
/// Its begin cannot be read.
fn read_from(
    from: impl Read,
    guess: Guess,
    sink: &mut dyn Sink,
    tally: &mut Tally,
) -> io::Result<()> {
    let (begin, compressed) = begin(from)?;
    tally.files += 1;
    let bytes = Rc::new(Cell::new(0));
    let count = Rc::clone(&bytes);
    let add = move |read| count.set(count.get() + read);
    let plain: Box<dyn Read + '_> = if begin.starts_with(&GZIP) {
        Box::new(MultiGzDecoder::new(BufReader::with_capacity(
            BUFFER_BYTES,
            compressed,
        )))
    } else {
        Box::new(compressed)
    };
    let plain = Metered {
        inner: plain,
        each: &add,
    };
    let mut reading = Reading {
        guess,
        sink,
        tally,
        held: Vec::new(),
        held_bytes: 0,
    };
    recognise(plain, &mut reading);
    reading.give_held();
    tally.bytes += bytes.get();
    Ok(())
}

/// Reads a file that is in memory.
#[cfg(any(test, fuzzing))]
pub(crate) fn read_bytes(from: impl Read, sink: &mut dyn Sink, tally: &mut Tally) {
    let guess = Guess::of(Path::new("file"));
    // Nothing in memory fails.
    read_from(from, guess, sink, tally).ok();
}

/// Reads `plain` as the format that its first bytes show.
fn recognise(plain: impl Read, reading: &mut Reading<'_>) {
    let (begin, plain) = match begin(plain) {
        Ok(begun) => begun,
        Err(error) => return reading.problem(0, error),
    };
    let plain = BufReader::with_capacity(BUFFER_BYTES, plain);
    match format(&begin) {
        Format::Lines => lines::read(plain, reading),
        Format::Document => document::read(plain, reading),
        Format::Table => table::read(plain, reading),
        Format::Protobuf => lines::read_protobuf(plain, reading),
    }
}

/// The first bytes, by which a format is recognised, and the whole behind them. A pipe gives as
/// little at once as was written to it. A fault behind some of them comes in its place in the
/// whole.
///
/// # Errors
///
/// There is a fault before the first byte.
fn begin(mut from: impl Read) -> io::Result<(Vec<u8>, impl Read)> {
    let mut begin = Vec::new();
    let mut first = from.by_ref().take(BUFFER_BYTES as u64);
    let fault = match first.read_to_end(&mut begin) {
        Err(error) if begin.is_empty() => return Err(error),
        read => Fault(read.err()),
    };
    let whole = io::Cursor::new(begin.clone()).chain(fault).chain(from);
    Ok((begin, whole))
}

/// Fails once, if at all, and then ends.
struct Fault(Option<io::Error>);

impl Read for Fault {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// A message a line.
    Lines,
    /// JSON over several lines, or one value that is longer than what is seen of it.
    Document,
    /// CSV of the console, of Logs Insights or of log events.
    Table,
    /// Messages of OTLP, each behind its length.
    Protobuf,
}

fn format(begin: &[u8]) -> Format {
    let begin = begin.strip_prefix(BYTE_ORDER_MARK).unwrap_or(begin);
    // The length of a message in four bytes, which is below 2^24, and its first field.
    if let [0, _, _, _, RESOURCE_METRICS, ..] = begin {
        return Format::Protobuf;
    }
    let text = begin.trim_ascii_start();
    let end = memchr::memchr(b'\n', text);
    let first = text.get(..end.unwrap_or(text.len())).unwrap_or_default();
    let is_json = match first.trim_ascii() {
        [b'{'] | [b'['] => true,
        [b'{', rest @ ..] => matches!(rest.trim_ascii_start(), [b'"' | b'}', ..]),
        [b'[', rest @ ..] => matches!(rest.trim_ascii_start(), [b'{' | b'[', ..]),
        _ => false,
    };
    if is_json {
        let is_whole = serde_json::from_slice::<serde::de::IgnoredAny>(first).is_ok();
        // An array or an export in one line is read element by element as well.
        let is_export = [&b"\"events\""[..], b"\"results\"", b"\"subjects\""]
            .into_iter()
            .any(|name| memchr::memmem::find(first.get(..256).unwrap_or(first), name).is_some());
        // A subscription has the names of its filters before its events.
        let is_batch = [&b"\"messageType\""[..], b"\"logEvents\""]
            .into_iter()
            .all(|name| memchr::memmem::find(first, name).is_some());
        let is_lines = is_whole && !is_export && !is_batch && first.first() == Some(&b'{');
        return if is_lines {
            Format::Lines
        } else {
            Format::Document
        };
    }
    let columns = first.split(|byte| *byte == b',').map(|name| {
        let name = name.trim_ascii();
        let quoted = name.strip_prefix(b"\"");
        quoted
            .and_then(|name| name.strip_suffix(b"\""))
            .unwrap_or(name)
    });
    let has = |expected: &[u8]| columns.clone().any(|name| name == expected);
    // Logs Insights has its own fields with `@`, the events of the console have neither.
    let is_table = columns.clone().count() > 1
        && (columns.clone().any(|name| name.starts_with(b"@"))
            || has(b"cold_start_kind")
            || has(b"timestamp") && has(b"message"));
    if is_table {
        Format::Table
    } else {
        Format::Lines
    }
}

/// The field of Logs Insights that has the time of an event.
const INSIGHTS_TIME: &str = "@timestamp";

/// The first field of `MetricsData`.
const RESOURCE_METRICS: u8 = 0x0a;

const GZIP: [u8; 2] = [0x1f, 0x8b];

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Bytes that are read at once, and in which a format is recognised.
const BUFFER_BYTES: usize = 256 << 10;

/// One file that is being read.
pub(crate) struct Reading<'a> {
    guess: Guess,
    sink: &'a mut dyn Sink,
    tally: &'a mut Tally,
    /// Rows of Logs Insights with their numbers, and the bytes of their texts.
    held: Vec<(u64, Map<String, Value>)>,
    held_bytes: usize,
}

impl Reading<'_> {
    /// Reads a message whose line is `line`.
    fn message(&mut self, line: u64, text: &str, source: &Source<'_>) {
        let source = self.guess.complete(source);
        let seen = message::read(text, &source, self.sink);
        self.seen(line, seen);
    }

    /// Counts a message that was read.
    fn seen(&mut self, line: u64, seen: Result<Seen, MessageError>) {
        self.tally.messages += 1;
        match seen {
            Ok(Seen::Fact) => self.tally.facts += 1,
            Ok(Seen::Other) => {}
            Err(error) => self.problem(line, error),
        }
    }

    /// Reads an event, a row of a table, or a record that is an element itself. `function` and
    /// `stream` are of all of them, where no field says otherwise.
    fn row(
        &mut self,
        number: u64,
        row: Map<String, Value>,
        function: Option<&str>,
        stream: Option<&str>,
    ) {
        if !row.contains_key(INSIGHTS_TIME) {
            return self.give(number, row, function, stream);
        }
        let texts = row.values().filter_map(Value::as_str);
        self.held_bytes += texts.map(str::len).sum::<usize>();
        self.held.push((number, row));
        if self.held.len() == ROWS_HELD_MAX || ROWS_HELD_BYTES_MAX <= self.held_bytes {
            self.give_held();
        }
    }

    /// Reads the rows that were held. Logs Insights sorts the latest first unless a query says
    /// otherwise, and a start is before its invocations.
    fn give_held(&mut self) {
        let mut rows = mem::take(&mut self.held);
        self.held_bytes = 0;
        let time = |row: Option<&(u64, Map<String, Value>)>| {
            row.and_then(|(_, row)| message::value_time(row.get(INSIGHTS_TIME)?))
        };
        if time(rows.last()) < time(rows.first()) {
            rows.reverse();
        }
        for (number, row) in rows {
            self.give(number, row, None, None);
        }
    }

    fn give(
        &mut self,
        number: u64,
        mut row: Map<String, Value>,
        function: Option<&str>,
        stream: Option<&str>,
    ) {
        let message = row.remove("message").or_else(|| row.remove("@message"));
        let text = |names: &[&str]| names.iter().find_map(|name| row.get(*name)?.as_str());
        let time = row.get("timestamp").or_else(|| row.get(INSIGHTS_TIME));
        let group = text(&["@log", "logGroup", "logGroupName"]);
        let source = Source {
            time_ms: time.and_then(message::value_time),
            function: group
                .and_then(function_of_group)
                .or(function)
                .map(Cow::Borrowed),
            stream: text(&["logStreamName", "@logStream", "logStream"])
                .or(stream)
                .map(Cow::Borrowed),
            file: None,
            file_function: None,
        };
        match message {
            Some(Value::String(message)) => self.message(number, &message, &source),
            // The console gives a message in JSON as JSON.
            Some(message @ (Value::Object(_) | Value::Array(_))) => {
                self.message(number, &message.to_string(), &source);
            }
            Some(Value::Null | Value::Bool(_) | Value::Number(_)) => {}
            None if row.contains_key("record") || row.contains_key("resourceMetrics") => {
                let record = serde_json::to_string(&row).unwrap_or_default();
                self.message(number, &record, &source);
            }
            None => {
                let source = self.guess.complete(&source);
                let seen = message::measured_rows(&row, &source, self.sink);
                self.seen(number, Ok(seen));
            }
        }
    }

    fn problem(&mut self, line: u64, reason: impl ToString) {
        self.tally.problems += 1;
        if self.tally.shown.len() < PROBLEMS_SHOWN_MAX {
            self.tally.shown.push(Problem {
                file: shown(&self.guess.file).into_owned(),
                line,
                reason: shown(&reason.to_string()).into_owned(),
            });
        }
    }
}

/// The function and the log stream that the path of a file tells: those of an export to S3 stand
/// there only.
#[derive(Debug, Default)]
struct Guess {
    file: String,
    function: Option<String>,
    stream: Option<String>,
    file_function: Option<String>,
}

impl Guess {
    fn of(path: &Path) -> Self {
        let parts = path.iter().map(|part| part.to_string_lossy());
        let parts: Vec<Cow<'_, str>> = parts.collect();
        let stream = parts.iter().rev().find_map(|part| stream_of_folder(part));
        let group = parts
            .windows(3)
            .find(|parts| parts[0] == "aws" && parts[1] == "lambda")
            .map(|parts| parts[2].clone().into_owned());
        Self {
            file: path.display().to_string(),
            function: group,
            // The files of an export to S3 have numbers.
            file_function: stream.is_none().then(|| function_of_file(path)).flatten(),
            stream,
        }
    }

    fn complete<'a>(&'a self, source: &Source<'a>) -> Source<'a> {
        let own = |text: &'a Option<String>| text.as_deref().map(Cow::Borrowed);
        Source {
            time_ms: source.time_ms,
            function: source.function.clone().or_else(|| own(&self.function)),
            stream: source.stream.clone().or_else(|| own(&self.stream)),
            file: Some(Cow::Borrowed(&self.file)),
            file_function: own(&self.file_function),
        }
    }
}

/// The function of a file `NAME.json`, compressed or not. A file without an ending is not named
/// like that.
fn function_of_file(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let name = name.strip_suffix(".gz").unwrap_or(name);
    let (name, _ending) = name.split_once('.')?;
    (!name.is_empty()).then(|| name.to_owned())
}

/// The log stream of a folder of an export: `2026-11-26-[$LATEST]0123…` with slashes in the date.
fn stream_of_folder(name: &str) -> Option<String> {
    let (date, rest) = name.split_at_checked(11)?;
    let is_date = date.bytes().enumerate().all(|(at, byte)| match at {
        4 | 7 | 10 => byte == b'-',
        _ => byte.is_ascii_digit(),
    });
    (is_date && rest.contains('[') && rest.contains(']'))
        .then(|| format!("{}{rest}", date.replace('-', "/")))
}

/// A reader that tells how much was read.
struct Metered<'a, R> {
    inner: R,
    each: &'a dyn Fn(u64),
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        (self.each)(read as u64);
        Ok(read)
    }
}

/// A reader that fails within an element that is too long.
struct Limited<R> {
    inner: R,
    since_element: Rc<Cell<usize>>,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let since = self.since_element.get() + read;
        self.since_element.set(since);
        if ELEMENT_BYTES_MAX < since {
            let reason = format!("an element of over {ELEMENT_BYTES_MAX} bytes");
            return Err(io::Error::other(reason));
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one byte at a time, as a pipe may.
    struct Bytes<'a>(&'a [u8]);

    impl Read for Bytes<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let most = buffer.len().min(1);
            self.0.read(&mut buffer[..most])
        }
    }

    #[test]
    fn the_first_bytes_are_the_same_however_few_come_at_once() {
        let text = b"{\"a\":1}\n{\"a\":2}\n";
        let (begin, mut whole) = begin(Bytes(text)).unwrap();
        assert_eq!(format(&begin), Format::Lines);
        let mut all = Vec::new();
        whole.read_to_end(&mut all).unwrap();
        assert_eq!(all, text);
    }

    /// A quote that is not closed would hold all that follows in memory.
    #[test]
    fn a_row_of_a_table_is_limited() {
        let head = &b"@timestamp,@message\n1,\"x"[..];
        let rest = io::repeat(b'x').take(ELEMENT_BYTES_MAX as u64);
        let mut tally = Tally::default();
        read_bytes(head.chain(rest), &mut Nothing, &mut tally);
        assert_eq!((tally.messages, tally.problems), (0, 1));
        let reason = &tally.shown[0].reason;
        assert!(
            reason.contains("an element of over 67108864 bytes"),
            "{reason}"
        );
    }

    struct Nothing;

    impl Sink for Nothing {
        fn fact(&mut self, _: &Source<'_>, _: &crate::fact::Fact<'_>) {}
    }

    #[test]
    fn formats_are_recognised_by_content() {
        for (text, expected) in [
            ("", Format::Lines),
            ("REPORT RequestId: a", Format::Lines),
            ("[INFO] hello, world\n", Format::Lines),
            ("{\"a\":1}\n{\"a\":2}\n", Format::Lines),
            ("{\"resourceMetrics\":[]}\n", Format::Lines),
            ("{\n  \"events\": [", Format::Document),
            ("{\"events\":[]}", Format::Document),
            ("{\"messageType\":\"x\",\"logEvents\":[]}", Format::Document),
            ("{\"messageType\":\"x\"}\nREPORT", Format::Lines),
            ("\u{feff}[\n {", Format::Document),
            ("[{\"@message\":\"x\"}]", Format::Document),
            ("{\"events\":[{\"message\":\"cut", Format::Document),
            ("@timestamp,@message\n1,2\n", Format::Table),
            ("timestamp,message\r\n1,2\r\n", Format::Table),
            ("timestamp, for example\n", Format::Lines),
            ("\"function_name\",\"cold_start_kind\"\n", Format::Table),
            ("one, two, three\n", Format::Lines),
            ("\0\0\0\x05\x0a\x03abc", Format::Protobuf),
        ] {
            assert_eq!(format(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn the_path_of_an_export_names_stream_and_function() {
        let guess = Guess::of(Path::new(
            "logs/aws/lambda/orders/2026-11-26-[$LATEST]0123/000000.gz",
        ));
        assert_eq!(guess.stream.as_deref(), Some("2026/11/26/[$LATEST]0123"));
        assert_eq!(guess.function.as_deref(), Some("orders"));
        assert_eq!(guess.file_function, None);
        let guess = Guess::of(Path::new("2026-11-26-notes/é.txt"));
        assert_eq!((guess.stream, guess.function), (None, None));
        assert_eq!(guess.file_function.as_deref(), Some("é"));
        for (path, function) in [
            ("orders.json.gz", Some("orders")),
            ("log", None),
            ("-", None),
        ] {
            let guess = Guess::of(Path::new(path));
            assert_eq!(guess.file_function.as_deref(), function, "{path}");
        }
    }
}

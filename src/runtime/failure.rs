//! What goes to the platform when an invocation or the initialisation fails.

use super::log::Line;
use crate::shared::json::{self, Charset};
use crate::shared::limits::{
    CHAIN_LENGTH_MAX, ERROR_MESSAGE_BYTES_MAX, ERROR_TYPE_BYTES_MAX, XRAY_CAUSE_BYTES_MAX,
};
use crate::shared::logline::Level;

/// A failure with everything that is reported of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// As chosen or derived; goes into the document as it is.
    error_type: String,
    /// The message of the error, and behind it those of its sources.
    message: String,
    /// The messages one by one, outermost first.
    chain: Vec<String>,
    stack_trace: Vec<String>,
}

impl Failure {
    /// A failure without sources.
    pub(crate) fn new(error_type: &str, message: String) -> Self {
        let mut failure = Self {
            error_type: cut(error_type, ERROR_TYPE_BYTES_MAX).to_owned(),
            message: String::new(),
            chain: vec![message],
            stack_trace: Vec::new(),
        };
        failure.join();
        failure
    }

    /// A failure with the messages of its sources, outermost first.
    pub(crate) fn with_sources(error_type: &str, message: String, sources: Vec<String>) -> Self {
        let mut failure = Self::new(error_type, message);
        failure.chain.extend(sources);
        failure.join();
        failure
    }

    #[must_use]
    pub(crate) fn with_stack_trace(mut self, mut lines: Vec<String>) -> Self {
        lines.truncate(CHAIN_LENGTH_MAX);
        self.stack_trace = lines;
        self
    }

    /// Some errors repeat their source in their own message; it is not said twice.
    fn join(&mut self) {
        self.message.clear();
        for part in &self.chain {
            if self.message.is_empty() {
                self.message.push_str(part);
            } else if !self.message.ends_with(part.as_str()) {
                self.message.push_str(": ");
                self.message.push_str(part);
            }
        }
        let length = cut(&self.message, ERROR_MESSAGE_BYTES_MAX).len();
        self.message.truncate(length);
    }

    /// The type in the form that the platform keeps: `Function.Name` or `Runtime.Name`, the name
    /// letters only. Any other form would be recorded as `Runtime.Unknown`.
    #[must_use]
    pub(crate) fn header_type(&self) -> String {
        let (category, name) = match self.error_type.split_once('.') {
            Some(("Runtime", name)) => ("Runtime.", name),
            Some(("Function", name)) => ("Function.", name),
            Some(_) | None => ("Function.", self.error_type.as_str()),
        };
        let mut header = category.to_owned();
        for word in name
            .split(|c: char| !c.is_ascii_alphabetic())
            .filter(|word| !word.is_empty())
        {
            let (first, rest) = word.split_at(1);
            header.push_str(&first.to_ascii_uppercase());
            header.push_str(rest);
        }
        // One capital letter and at least one letter behind it.
        if header.len() < category.len() + 2 {
            header.truncate(category.len());
            header.push_str("Error");
        }
        header
    }

    /// The error document:
    /// <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html#runtimes-api-invokeerror>.
    pub(crate) fn write_document(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"errorMessage\":");
        json::write_str(&self.message, Charset::Utf8, out);
        out.extend_from_slice(b",\"errorType\":");
        json::write_str(&self.error_type, Charset::Utf8, out);
        out.extend_from_slice(b",\"stackTrace\":");
        write_list(&self.stack_trace, Charset::Utf8, out);
        out.push(b'}');
    }

    /// The cause that X-Ray shows, as JSON in ASCII for a header. The form is that of AWS's own
    /// runtimes, for instance
    /// <https://github.com/aws/aws-lambda-go/blob/main/lambda/xray_cause.go>.
    #[must_use]
    pub(crate) fn xray_cause(&self) -> Vec<u8> {
        let directory = std::env::current_dir().unwrap_or_default();
        let mut out = b"{\"working_directory\":".to_vec();
        json::write_str(&directory.to_string_lossy(), Charset::Ascii, &mut out);
        out.extend_from_slice(b",\"exceptions\":[");
        for (index, message) in self.chain.iter().enumerate() {
            let start = out.len();
            if index != 0 {
                out.push(b',');
            }
            out.extend_from_slice(b"{\"type\":");
            let error_type = if index == 0 {
                self.error_type.as_str()
            } else {
                "Error"
            };
            json::write_str(error_type, Charset::Ascii, &mut out);
            out.extend_from_slice(b",\"message\":");
            json::write_str(
                cut(message, XRAY_MESSAGE_BYTES_MAX),
                Charset::Ascii,
                &mut out,
            );
            out.extend_from_slice(b",\"stack\":");
            let stack = if index == 0 {
                self.stack_trace.as_slice()
            } else {
                &[]
            };
            write_stack(stack, &mut out);
            out.push(b'}');
            if out.len() > XRAY_CAUSE_BYTES_MAX {
                out.truncate(start);
                break;
            }
        }
        out.extend_from_slice(b"],\"paths\":[]}");
        out
    }

    /// Writes the failure to the log: the platform does not.
    pub(crate) fn log(&self, level: Level) {
        Line::new(level, &self.message)
            .error_type(&self.error_type)
            .write();
    }
}

fn write_list(items: &[String], charset: Charset, out: &mut Vec<u8>) {
    out.push(b'[');
    for (index, item) in items.iter().enumerate() {
        if index != 0 {
            out.push(b',');
        }
        json::write_str(item, charset, out);
    }
    out.push(b']');
}

/// Stack frames of X-Ray have a path, a line and a label. Ours are lines of text, and the text of
/// a place in source code is `path:line:column`.
fn write_stack(lines: &[String], out: &mut Vec<u8>) {
    out.push(b'[');
    for (index, text) in lines.iter().take(XRAY_STACK_LINES_MAX).enumerate() {
        if index != 0 {
            out.push(b',');
        }
        let mut parts = text.split(':');
        let path = parts.next().unwrap_or_default();
        let line = parts
            .next()
            .and_then(|line| line.parse::<u32>().ok())
            .unwrap_or_default();
        out.extend_from_slice(b"{\"path\":");
        json::write_str(cut(path, XRAY_MESSAGE_BYTES_MAX), Charset::Ascii, out);
        out.extend_from_slice(b",\"line\":");
        out.extend_from_slice(itoa::Buffer::new().format(line).as_bytes());
        out.extend_from_slice(b",\"label\":\"\"}");
    }
    out.push(b']');
}

/// The first `limit` bytes of `text`, or less where that would split a character.
fn cut(text: &str, limit: usize) -> &str {
    text.get(..text.floor_char_boundary(limit)).unwrap_or(text)
}

/// Bytes of one message or path inside the X-Ray cause, before escapes.
const XRAY_MESSAGE_BYTES_MAX: usize = 512;

/// Lines of a stack trace inside the X-Ray cause: with escapes six times as long they still leave
/// room for the first error in it.
const XRAY_STACK_LINES_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    #[test]
    fn header_types_are_kept_by_the_platform() {
        let table = [
            ("OutOfStock", "Function.OutOfStock"),
            ("Function.OutOfStock", "Function.OutOfStock"),
            ("Runtime.UnmarshalError", "Runtime.UnmarshalError"),
            ("out_of-stock", "Function.OutOfStock"),
            ("Error2", "Function.Error"),
            ("my.app.Error", "Function.MyAppError"),
            ("Extension.Crash", "Function.ExtensionCrash"),
            ("Function.", "Function.Error"),
            ("", "Function.Error"),
            ("é\r\nX: y", "Function.XY"),
            ("x", "Function.Error"),
        ];
        for (chosen, header) in table {
            assert_eq!(Failure::new(chosen, String::new()).header_type(), header);
        }
    }

    #[test]
    fn sources_are_joined_and_not_repeated() {
        let inner = std::io::Error::other("disk full");
        let failure = Error::new("Save", "cannot save")
            .with_source(&inner)
            .into_failure();
        assert_eq!(failure.message, "cannot save: disk full");
        let repeating = Error::new("Save", "cannot save: disk full")
            .with_source(&std::io::Error::other("disk full"))
            .into_failure();
        assert_eq!(repeating.message, "cannot save: disk full");
    }

    #[test]
    fn documents_are_json_whatever_the_text() {
        let error = Error::new("T\"\u{1}é", "m\n\u{7f}\"漢").with_stack_trace(["a.rs:7:9", "b"]);
        let failure = error.into_failure();
        let mut out = Vec::new();
        failure.write_document(&mut out);
        let document: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(document["errorType"], "T\"\u{1}é");
        assert_eq!(document["errorMessage"], "m\n\u{7f}\"漢");
        assert_eq!(document["stackTrace"], serde_json::json!(["a.rs:7:9", "b"]));

        let cause = failure.xray_cause();
        assert!(cause.iter().all(|byte| (0x20..0x7F).contains(byte)));
        let cause: serde_json::Value = serde_json::from_slice(&cause).unwrap();
        assert_eq!(cause["exceptions"][0]["message"], "m\n\u{7f}\"漢");
        assert_eq!(cause["exceptions"][0]["stack"][0]["path"], "a.rs");
        assert_eq!(cause["exceptions"][0]["stack"][0]["line"], 7);
        assert_eq!(cause["exceptions"][0]["stack"][1]["line"], 0);
    }

    #[test]
    fn reports_are_bounded() {
        let long = "é".repeat(100_000);
        let error = Error::new(&long, &long).with_stack_trace(vec![long.as_str(); 100]);
        let source = std::io::Error::other(long);
        let error = (0..100).fold(error, |error, _| error.with_source(&source));
        let failure = error.into_failure();
        assert!(failure.message.len() <= ERROR_MESSAGE_BYTES_MAX);
        assert!(failure.header_type().len() <= ERROR_TYPE_BYTES_MAX + "Function.".len());
        let cause = failure.xray_cause();
        assert!(cause.len() <= XRAY_CAUSE_BYTES_MAX + 64);
        let cause: serde_json::Value = serde_json::from_slice(&cause).unwrap();
        assert!(!cause["exceptions"].as_array().unwrap().is_empty());
    }
}

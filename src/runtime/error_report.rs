//! What goes to the platform and to the log when an invocation or the initialisation fails.

use rustix::process::getcwd;

use super::error::Error;
use super::log;
use crate::shared::digits::decimal;
use crate::shared::json;
use crate::shared::limits::{
    ERROR_MESSAGE_BYTES_MAX, ERROR_TYPE_BYTES_MAX, STACK_LINE_BYTES_MAX,
    TRAILER_DOCUMENT_BYTES_MAX, XRAY_CAUSE_BYTES_MAX,
};
use crate::shared::log_record::Level;
use crate::shared::text::{self, prefix, push, push_decimal};

impl Error {
    /// The type, within its limit.
    fn kept_type(&self) -> &str {
        prefix(&self.0.error_type, ERROR_TYPE_BYTES_MAX)
    }

    /// The message, and behind it those of the sources. Some errors repeat their source in their
    /// own message; it is not said twice.
    pub(super) fn whole_message(&self) -> String {
        let mut message = self.0.message.clone().into_owned();
        for part in &self.0.sources {
            if !message.as_bytes().ends_with(part.as_bytes()) {
                if !message.is_empty() {
                    message.push_str(": ");
                }
                message.push_str(part);
            }
        }
        let length = prefix(&message, ERROR_MESSAGE_BYTES_MAX).len();
        message.truncate(length);
        message
    }

    /// The type in the form that the platform keeps: `Function.Name` or `Runtime.Name`, the name
    /// letters only. Any other form would be recorded as `Runtime.Unknown`.
    #[must_use]
    pub(crate) fn header_type(&self) -> Vec<u8> {
        let chosen = self.kept_type();
        let (category, name) = match text::cut(chosen, b'.') {
            Some(("Runtime", name)) => ("Runtime.", name),
            Some(("Function", name)) => ("Function.", name),
            _ => ("Function.", chosen),
        };
        let mut header = Vec::new();
        push(&mut header, category);
        let mut starts_word = true;
        for byte in name.as_bytes() {
            if !byte.is_ascii_alphabetic() {
                starts_word = true;
                continue;
            }
            let capital = byte.to_ascii_uppercase();
            header.push(if starts_word { capital } else { *byte });
            starts_word = false;
        }
        // One capital letter and at least one letter behind it.
        if header.len() < category.len() + 2 {
            header.truncate(category.len());
            push(&mut header, "Error");
        }
        header
    }

    /// The error document:
    /// <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html#runtimes-api-invokeerror>.
    pub(crate) fn write_document(&self, out: &mut Vec<u8>) {
        self.write_parts(&self.whole_message(), &self.0.stack_trace, out);
    }

    /// The error document in at most [`TRAILER_DOCUMENT_BYTES_MAX`] bytes: without the stack trace
    /// and with the start of the message, if need be.
    pub(crate) fn write_short_document(&self, out: &mut Vec<u8>) {
        let message = self.whole_message();
        self.write_parts(&message, &self.0.stack_trace, out);
        let mut length = message.len();
        while TRAILER_DOCUMENT_BYTES_MAX < out.len() {
            out.clear();
            self.write_parts(prefix(&message, length), &[], out);
            // Escapes make a text longer by up to six times.
            length -= length / 4;
        }
    }

    fn write_parts(&self, message: &str, stack_trace: &[String], out: &mut Vec<u8>) {
        push(out, "{");
        json::member("errorMessage", message, out);
        json::member("errorType", self.kept_type(), out);
        json::key("stackTrace", out);
        let lines = stack_trace.iter();
        json::strings(lines.map(|line| prefix(line, STACK_LINE_BYTES_MAX)), out);
        push(out, "}");
    }

    /// The cause that X-Ray shows, as JSON in ASCII for a header. The form is that of AWS's own
    /// runtimes, for instance
    /// <https://github.com/aws/aws-lambda-go/blob/main/lambda/xray_cause.go>.
    #[must_use]
    pub(crate) fn xray_cause(&self) -> Vec<u8> {
        let directory = getcwd(Vec::new()).unwrap_or_default();
        let mut json = b"{".to_vec();
        json::member("working_directory", &directory.to_string_lossy(), &mut json);
        push(&mut json, ",\"exceptions\":[");
        let message = &self.0.message;
        write_cause(self.kept_type(), message, &self.0.stack_trace, &mut json);
        let mut out = ascii(json);
        for source in &self.0.sources {
            let mut json = vec![b','];
            write_cause("Error", source, &[], &mut json);
            let cause = ascii(json);
            if XRAY_CAUSE_BYTES_MAX < out.len() + cause.len() {
                break;
            }
            out.extend_from_slice(&cause);
        }
        push(&mut out, "],\"paths\":[]}");
        out
    }

    /// Writes the failure to the log: the platform does not. `request_id` is that of an invocation
    /// that another process served.
    pub(crate) fn log(&self, level: Level, request_id: Option<&str>) {
        log::error_line(level, request_id, self.kept_type(), &self.whole_message());
    }
}

fn ascii(json: Vec<u8>) -> Vec<u8> {
    json::ascii(&String::from_utf8(json).unwrap_or_default())
}

/// One error of the chain.
///
/// Stack frames of X-Ray have a path, a line and a label. Ours are lines of text, and the text of
/// a place in source code is `path:line:column`.
fn write_cause(error_type: &str, message: &str, stack: &[String], out: &mut Vec<u8>) {
    push(out, "{");
    json::member("type", error_type, out);
    json::member("message", prefix(message, XRAY_TEXT_BYTES_MAX), out);
    push(out, ",\"stack\":[");
    for text in stack.iter().take(XRAY_STACK_LINES_MAX) {
        json::comma(out);
        let (path, rest) = text::cut(text, b':').unwrap_or((text, ""));
        let (line, _column) = text::cut(rest, b':').unwrap_or((rest, ""));
        push(out, "{");
        json::member("path", prefix(path, XRAY_TEXT_BYTES_MAX), out);
        push(out, ",\"line\":");
        push_decimal(out, decimal(line.as_bytes()).unwrap_or(0));
        push(out, ",\"label\":\"\"}");
    }
    push(out, "]}");
}

/// Bytes of one message or path inside the X-Ray cause, before escapes.
const XRAY_TEXT_BYTES_MAX: usize = 512;

/// Lines of a stack trace inside the X-Ray cause: with escapes six times as long they still leave
/// room for the first error in it.
const XRAY_STACK_LINES_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::limits::CHAIN_LENGTH_MAX;

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
            assert_eq!(Error::new(chosen, "").header_type(), header.as_bytes());
        }
    }

    #[test]
    fn sources_are_joined_and_not_repeated() {
        let inner = std::io::Error::other("disk full");
        let failure = Error::new("Save", "cannot save").with_source(&inner);
        assert_eq!(failure.whole_message(), "cannot save: disk full");
        let repeating = Error::new("Save", "cannot save: disk full")
            .with_source(&std::io::Error::other("disk full"));
        assert_eq!(repeating.whole_message(), "cannot save: disk full");
    }

    #[test]
    fn documents_are_json_whatever_the_text() {
        let error = Error::new("T\"\u{1}é", "m\n\u{7f}\"漢").with_stack_trace(["a.rs:7:9", "b"]);
        let failure = error;
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
    fn a_document_in_a_trailer_is_bounded_and_stays_json() {
        let document = |error: &Error| {
            let mut out = Vec::new();
            error.write_short_document(&mut out);
            assert!(out.len() <= TRAILER_DOCUMENT_BYTES_MAX);
            serde_json::from_slice::<serde_json::Value>(&out).unwrap()
        };
        let short = Error::new("T", "m").with_stack_trace(["a.rs:7:9"]);
        let expected = serde_json::json!({
            "errorMessage": "m", "errorType": "T", "stackTrace": ["a.rs:7:9"],
        });
        assert_eq!(document(&short), expected);
        for text in ["x", "é", "漢", "\"", "\u{1}"] {
            let long = text.repeat(5_000);
            let traced = Error::new("T", "m").with_stack_trace([long.as_str()]);
            assert_eq!(document(&traced)["errorMessage"], "m");
            let error = Error::new(long.clone(), long.clone()).with_stack_trace([long.as_str()]);
            let document = document(&error);
            let message = document["errorMessage"].as_str().unwrap();
            assert!(long.starts_with(message), "{message}");
            assert!(50 < message.len(), "{message}");
        }
    }

    /// One that just fits is whole, and one byte more costs the stack trace.
    #[test]
    fn a_document_may_be_as_long_as_its_room() {
        let around = r#"{"errorMessage":"","errorType":"T","stackTrace":["a"]}"#.len();
        for (over, has_trace) in [(0, true), (1, false)] {
            let message = "x".repeat(TRAILER_DOCUMENT_BYTES_MAX - around + over);
            let error = Error::new("T", message).with_stack_trace(["a"]);
            let mut out = Vec::new();
            error.write_short_document(&mut out);
            let document: serde_json::Value = serde_json::from_slice(&out).unwrap();
            let trace = document["stackTrace"].as_array().unwrap();
            assert_eq!(!trace.is_empty(), has_trace, "{over}");
        }
    }

    /// As many sources as there is room for, to the byte.
    #[test]
    fn the_cause_is_as_long_as_its_room() {
        let end = "],\"paths\":[]}".len();
        let cause = |error: &Error| error.xray_cause().len() - end;
        // A control character is six bytes.
        let source = |bytes: usize| {
            let text = ["\u{1}".repeat(bytes / 6), "x".repeat(bytes % 6)].concat();
            std::io::Error::other(text)
        };
        let with = |count| {
            let error = Error::new("T", "m");
            (0..count).fold(error, |error, _| error.with_source(&source(1_500)))
        };
        let empty = cause(&with(0).with_source(&source(0))) - cause(&with(0));
        let mut count = 0;
        while cause(&with(count)) + 2 * empty + 1_500 <= XRAY_CAUSE_BYTES_MAX {
            count += 1;
            assert!(count < CHAIN_LENGTH_MAX);
        }
        let room = XRAY_CAUSE_BYTES_MAX - cause(&with(count)) - empty;
        for (bytes, expected) in [(room, count + 2), (room + 1, count + 1)] {
            let cause = with(count).with_source(&source(bytes)).xray_cause();
            let cause: serde_json::Value = serde_json::from_slice(&cause).unwrap();
            assert_eq!(cause["exceptions"].as_array().unwrap().len(), expected);
            assert_eq!(cause["exceptions"][1]["message"], "\u{1}".repeat(250));
        }
    }

    #[test]
    fn reports_are_bounded() {
        let long = "é".repeat(100_000);
        let error =
            Error::new(long.clone(), long.clone()).with_stack_trace(vec![long.as_str(); 100]);
        let source = std::io::Error::other(long);
        let error = (0..100).fold(error, |error, _| error.with_source(&source));
        let failure = error;
        assert!(failure.whole_message().len() <= ERROR_MESSAGE_BYTES_MAX);
        let mut document = Vec::new();
        failure.write_document(&mut document);
        let lines: serde_json::Value = serde_json::from_slice(&document).unwrap();
        let lines = lines["stackTrace"].as_array().unwrap();
        assert_eq!(lines.len(), CHAIN_LENGTH_MAX);
        for line in lines {
            assert_eq!(line.as_str().unwrap().len(), STACK_LINE_BYTES_MAX);
        }
        assert!(failure.header_type().len() <= ERROR_TYPE_BYTES_MAX + "Function.".len());
        let cause = failure.xray_cause();
        assert!(cause.len() <= XRAY_CAUSE_BYTES_MAX + 64);
        let cause: serde_json::Value = serde_json::from_slice(&cause).unwrap();
        assert!(!cause["exceptions"].as_array().unwrap().is_empty());

        // A control character is six bytes.
        let long = "\u{1}".repeat(100_000);
        let error =
            Error::new(long.clone(), long.clone()).with_stack_trace(vec![long.as_str(); 100]);
        let mut document = Vec::new();
        error.write_document(&mut document);
        assert!(document.len() <= 1024 * 1024, "{}", document.len());
    }
}

//! One log record as one line: text with tabs, or JSON as the platform's JSON format has it.
//!
//! Fields of the JSON form:
//! <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-logformat.html>.

use super::json;
use super::text::{push, same};
use super::time::EpochMs;

/// The form of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// Time, request id, level and message, separated by tabs.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

/// Severity, most severe first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// The process cannot go on.
    Fatal,
    /// An invocation or a call failed.
    Error,
    /// Something unexpected that was handled.
    Warn,
    /// Normal events.
    #[default]
    Info,
    /// For finding faults.
    Debug,
    /// Everything.
    Trace,
}

/// What a line says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    /// When it was written.
    pub(crate) time: EpochMs,
    /// How severe it is.
    pub(crate) level: Level,
    /// The invocation it belongs to, if one is running.
    pub(crate) request_id: Option<&'a str>,
    /// The tenant of that invocation, if it has one.
    pub(crate) tenant_id: Option<&'a str>,
    /// The type of the error it reports, if it reports one.
    pub(crate) error_type: Option<&'a str>,
    /// The text.
    pub(crate) message: &'a str,
}

impl Format {
    /// Reads `AWS_LAMBDA_LOG_FORMAT`; anything but `JSON` is text.
    #[must_use]
    pub(crate) fn parse(value: Option<&str>) -> Self {
        match value {
            Some(value) if same(value.as_bytes(), b"json") => Self::Json,
            Some(_) | None => Self::Text,
        }
    }
}

impl Level {
    /// Reads `AWS_LAMBDA_LOG_LEVEL`; INFO when it is absent or unknown.
    #[must_use]
    pub(crate) fn parse(value: Option<&str>) -> Self {
        let all = [
            Self::Fatal,
            Self::Error,
            Self::Warn,
            Self::Debug,
            Self::Trace,
        ];
        let named =
            |level: &Self| value.is_some_and(|v| same(v.as_bytes(), level.name().as_bytes()));
        all.into_iter().find(named).unwrap_or(Self::Info)
    }

    /// The platform's name for the level.
    #[must_use]
    #[inline(never)]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Fatal => "FATAL",
            Self::Error => "ERROR",
            Self::Warn => "WARN",
            Self::Info => "INFO",
            Self::Debug => "DEBUG",
            Self::Trace => "TRACE",
        }
    }
}

impl Record<'_> {
    /// Appends the record to `out` as one line with its line end.
    ///
    /// Line ends inside the message become `\r` in text, which is how `CloudWatch` keeps the lines
    /// of one message together, and escapes in JSON.
    pub(crate) fn write(&self, format: Format, out: &mut Vec<u8>) {
        match format {
            Format::Text => self.write_text(out),
            Format::Json => self.write_json(out),
        }
        out.push(b'\n');
    }

    fn write_text(&self, out: &mut Vec<u8>) {
        push(out, self.time.to_rfc3339().as_str());
        for part in [
            "\t",
            self.request_id.unwrap_or("-"),
            "\t",
            self.level.name(),
            "\t",
        ] {
            push(out, part);
        }
        let start = out.len();
        if let Some(error_type) = self.error_type {
            push(out, error_type);
            push(out, ": ");
        }
        push(out, self.message.trim_ascii_end());
        for byte in out.iter_mut().skip(start).filter(|byte| **byte == b'\n') {
            *byte = b'\r';
        }
    }

    fn write_json(&self, out: &mut Vec<u8>) {
        push(out, "{\"timestamp\":\"");
        push(out, self.time.to_rfc3339().as_str());
        push(out, "\",\"level\":\"");
        push(out, self.level.name());
        out.push(b'"');
        json::write_member("requestId", self.request_id, out);
        json::write_member("tenantId", self.tenant_id, out);
        json::write_member("errorType", self.error_type, out);
        json::write_member("message", Some(self.message), out);
        out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(record: Record<'_>, format: Format) -> String {
        let mut out = Vec::new();
        record.write(format, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_record_is_one_line_in_both_forms() {
        let record = Record {
            time: EpochMs(0),
            level: Level::Error,
            request_id: Some("id-1"),
            tenant_id: None,
            error_type: Some("Function.Panic"),
            message: "a \"b\"\nc\t\u{1}é\n",
        };
        assert_eq!(
            line(record, Format::Text),
            "1970-01-01T00:00:00.000Z\tid-1\tERROR\tFunction.Panic: a \"b\"\rc\t\u{1}é\n"
        );
        assert_eq!(
            line(record, Format::Json),
            "{\"timestamp\":\"1970-01-01T00:00:00.000Z\",\"level\":\"ERROR\",\
             \"requestId\":\"id-1\",\"errorType\":\"Function.Panic\",\
             \"message\":\"a \\\"b\\\"\\nc\\t\\u0001é\\n\"}\n"
        );
    }

    #[test]
    fn levels_and_formats_are_read_leniently() {
        assert_eq!(Level::parse(None), Level::Info);
        assert_eq!(Level::parse(Some("loud")), Level::Info);
        assert_eq!(Level::parse(Some("trace")), Level::Trace);
        assert_eq!(Level::parse(Some("FATAL")), Level::Fatal);
        assert!(Level::Fatal < Level::Trace);
        assert_eq!(Format::parse(Some("JSON")), Format::Json);
        assert_eq!(Format::parse(Some("Text")), Format::Text);
    }
}

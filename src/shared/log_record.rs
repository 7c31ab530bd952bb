//! One log record as one line: text with tabs, or JSON as the platform's JSON format has it.
//!
//! Fields of the JSON form:
//! <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-logformat.html>.

use alloc::vec::Vec;

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
    /// The module it comes from, which the JSON form has.
    pub(crate) target: Option<&'a str>,
    /// What was logged with the message, as [`write_field`] writes it.
    pub(crate) fields: &'a [u8],
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
        value.and_then(Self::named).unwrap_or_default()
    }

    /// The level with this name, in any case.
    #[must_use]
    pub(crate) fn named(name: &str) -> Option<Self> {
        let all = [
            Self::Fatal,
            Self::Error,
            Self::Warn,
            Self::Info,
            Self::Debug,
            Self::Trace,
        ];
        all.into_iter()
            .find(|level| same(name.as_bytes(), level.name().as_bytes()))
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

/// Appends a field of a record to `fields`: `"name":"value"` or ` name=value`. A plain value is a
/// number or a boolean, which needs no quotes.
#[cfg(feature = "log")]
pub(crate) fn write_field(
    format: Format,
    name: &str,
    value: &str,
    is_plain: bool,
    fields: &mut Vec<u8>,
) {
    match format {
        Format::Text => {
            for part in [" ", name, "=", value] {
                push(fields, part);
            }
        }
        Format::Json => {
            json::text_key(name, fields);
            if is_plain {
                push(fields, value);
            } else {
                json::write_str(value, fields);
            }
        }
    }
}

impl<'a> Record<'a> {
    /// A record with a message and no more.
    #[must_use]
    pub(crate) const fn new(time: EpochMs, level: Level, message: &'a str) -> Self {
        Self {
            time,
            level,
            request_id: None,
            tenant_id: None,
            error_type: None,
            target: None,
            fields: &[],
            message,
        }
    }

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
        push(out, &self.time.to_rfc3339());
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
        out.extend_from_slice(self.fields);
        for byte in out.iter_mut().skip(start).filter(|byte| **byte == b'\n') {
            *byte = b'\r';
        }
    }

    fn write_json(&self, out: &mut Vec<u8>) {
        push(out, "{\"timestamp\":\"");
        push(out, &self.time.to_rfc3339());
        push(out, "\",\"level\":\"");
        push(out, self.level.name());
        out.push(b'"');
        let members = [
            ("requestId", self.request_id),
            ("tenantId", self.tenant_id),
            ("errorType", self.error_type),
            ("target", self.target),
            ("message", Some(self.message)),
        ];
        for (name, text) in members {
            if let Some(text) = text {
                json::member(name, text, out);
            }
        }
        if !self.fields.is_empty() {
            push(out, ",\"fields\":{");
            out.extend_from_slice(self.fields);
            out.push(b'}');
        }
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
            target: None,
            fields: &[],
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

    #[cfg(feature = "log")]
    #[test]
    fn fields_and_target_are_in_the_line() {
        let shown = |format| {
            let mut fields = Vec::new();
            write_field(format, "user", "7", true, &mut fields);
            write_field(format, "na\"me", "a \"b\"", false, &mut fields);
            let record = Record {
                target: Some("orders"),
                fields: &fields,
                ..Record::new(EpochMs(0), Level::Info, "m")
            };
            line(record, format)
        };
        assert_eq!(
            shown(Format::Text),
            "1970-01-01T00:00:00.000Z\t-\tINFO\tm user=7 na\"me=a \"b\"\n"
        );
        assert_eq!(
            shown(Format::Json),
            "{\"timestamp\":\"1970-01-01T00:00:00.000Z\",\"level\":\"INFO\",\
             \"target\":\"orders\",\"message\":\"m\",\
             \"fields\":{\"user\":7,\"na\\\"me\":\"a \\\"b\\\"\"}}\n"
        );
    }

    #[test]
    fn levels_and_formats_are_read_leniently() {
        assert_eq!(Level::parse(None), Level::Info);
        assert_eq!(Level::parse(Some("loud")), Level::Info);
        assert_eq!(Level::named("loud"), None);
        assert_eq!(Level::named("info"), Some(Level::Info));
        assert_eq!(Level::parse(Some("trace")), Level::Trace);
        assert_eq!(Level::parse(Some("FATAL")), Level::Fatal);
        assert!(Level::Fatal < Level::Trace);
        assert_eq!(Format::parse(Some("JSON")), Format::Json);
        assert_eq!(Format::parse(Some("Text")), Format::Text);
    }
}

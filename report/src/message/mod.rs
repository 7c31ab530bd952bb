//! One message of a log, and the facts in it. Pure: no file here reads anything.

mod bantam;
mod emulator;
mod otlp;
mod platform;
mod text;

use memchr::memmem;
use serde_json::Value;

pub(crate) use self::bantam::measured_rows;
pub(crate) use self::emulator::Subject;
pub(crate) use self::otlp::{read_json as otlp_json, read_protobuf as otlp_protobuf};
use crate::fact::{Sink, Source};
use crate::limits::{FIGURE_MAX, TIME_MS_MAX};

/// The kind of a message that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It told facts.
    Fact,
    /// It has nothing to do with starts, such as a line of the function.
    Other,
}

/// Why a message that should tell a fact could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MessageError {
    /// It looks like one of the platform's lines.
    #[error("{0} without {1}")]
    Lacks(&'static str, &'static str),
    /// It looks like JSON of the platform, Bantam or a collector.
    #[error("not the JSON it begins as: {0}")]
    Json(String),
    /// It is a message of a protobuf file.
    #[error("not a protobuf message of OTLP metrics: {0}")]
    Protobuf(String),
}

impl From<serde_json::Error> for MessageError {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(error.to_string())
    }
}

/// Reads one message, of any format that has one message a line, and gives its facts to `sink`.
///
/// # Errors
///
/// It begins as a message that tells a fact, and is not whole.
pub(crate) fn read(
    text: &str,
    source: &Source<'_>,
    sink: &mut dyn Sink,
) -> Result<Seen, MessageError> {
    let text = text.trim_ascii();
    if text.starts_with('{') || text.starts_with("[{") {
        return json(text, source, sink);
    }
    match text::read(text)? {
        Some(fact) => {
            sink.fact(source, &fact);
            Ok(Seen::Fact)
        }
        None => Ok(Seen::Other),
    }
}

fn json(text: &str, source: &Source<'_>, sink: &mut dyn Sink) -> Result<Seen, MessageError> {
    let has = |needle: &str| memmem::find(text.as_bytes(), needle.as_bytes()).is_some();
    if has("\"platform.") {
        return platform::read(text, source, sink);
    }
    if has("\"resourceMetrics\"") {
        return otlp_json(text, source, sink);
    }
    if has("\"_aws\"") || has("\"points\"") || has("\"cold_start_kind\"") || has(ENVIRONMENT_END) {
        return bantam::read(text, source, sink);
    }
    Ok(Seen::Other)
}

/// A number as a duration, a size or a count. One that no log has as such is not known.
fn figure(number: f64) -> Option<f64> {
    (0.0..=FIGURE_MAX).contains(&number).then_some(number)
}

/// Milliseconds since 1970 of a time in any of the forms of the exports: RFC 3339, the same without
/// a zone or with a blank for the `T` (UTC), or milliseconds since 1970.
pub(crate) fn time(text: &str) -> Option<i64> {
    let text = text.trim_ascii();
    if text.len() == 13 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok();
    }
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Some(time.as_millisecond());
    }
    let civil = text.parse::<jiff::civil::DateTime>().ok()?;
    let zoned = civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(zoned.timestamp().as_millisecond())
}

/// A JSON value as a time. A number that no log has as a time is none.
pub(crate) fn value_time(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().filter(|ms| (0..=TIME_MS_MAX).contains(ms)),
        Value::String(text) => time(text),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The begin of the names of log groups that the platform makes.
pub(crate) const GROUP: &str = "/aws/lambda/";

/// The function of a log group: `/aws/lambda/NAME`, with or without the account in front. A group
/// with another name is taken as the name.
pub(crate) fn function_of_group(group: &str) -> Option<&str> {
    let group = group.rsplit_once(':').map_or(group, |(_, group)| group);
    let name = group.strip_prefix(GROUP).unwrap_or(group);
    (!name.is_empty()).then_some(name)
}

/// The function and the version in the name of a log stream: `2026/11/26/[$LATEST]0123…`, or
/// `2026/11/26/NAME[$LATEST]0123…` where functions share a log group.
pub(crate) fn parts_of_stream(stream: &str) -> (Option<&str>, Option<&str>) {
    let Some((before, rest)) = stream.split_once('[') else {
        return (None, None);
    };
    let version = rest.split_once(']').map(|(version, _)| version);
    let name = before.rsplit_once('/').map_or(before, |(_, name)| name);
    (Some(name).filter(|name| !name.is_empty()), version)
}

/// A member of the line that Bantam's extension writes at the end of an environment.
const ENVIRONMENT_END: &str = "\"environment_invocations\"";

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::fact::Fact;

    /// Keeps the facts as text.
    #[derive(Debug, Default)]
    pub(crate) struct Kept(pub(crate) Vec<String>);

    impl Sink for Kept {
        fn fact(&mut self, _: &Source<'_>, fact: &Fact<'_>) {
            self.0.push(format!("{fact:?}"));
        }
    }

    #[test]
    fn times_are_read_in_every_form() {
        let expected = Some(1_795_694_400_123);
        for text in [
            "2026-11-26T12:00:00.123Z",
            "2026-11-26T12:00:00.123000+00:00",
            "2026-11-26T13:00:00.123+01:00",
            "2026-11-26 12:00:00.123",
            "2026-11-26T12:00:00.123",
            " 1795694400123 ",
        ] {
            assert_eq!(time(text), expected, "{text}");
        }
        assert_eq!(time("2026-11-26T12:00:00"), Some(1_795_694_400_000));
        for text in ["", "12", "2026-13-01T00:00:00Z", "yesterday"] {
            assert_eq!(time(text), None, "{text}");
        }
        for (number, expected) in [(0, Some(0)), (-1, None), (i64::MAX, None)] {
            assert_eq!(value_time(&number.into()), expected, "{number}");
        }
    }

    /// Sums and axes would become infinite.
    #[test]
    fn a_number_that_no_log_has_is_not_known() {
        for (text, known) in [
            (
                "REPORT RequestId: a\tDuration: 1 ms\tInit Duration: 1e303 ms",
                "init_ms: None",
            ),
            ("INIT_REPORT Init Duration: -1 ms", "duration_ms: None"),
            (
                r#"{"type":"platform.report","record":{"requestId":"a","metrics":
                    {"durationMs":1,"initDurationMs":1e303,"memorySizeMB":null}}}"#,
                "init_ms: None",
            ),
            (
                r#"{"_aws":{},"cold_start_kind":"on_demand","init_duration":[1e303]}"#,
                "numbers: []",
            ),
            (
                r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"faas.init_duration",
                    "unit":"s","histogram":{"dataPoints":[{"count":"1","sum":1e303,"attributes":
                    [{"key":"bantam.cold_start_kind","value":{"stringValue":"on_demand"}}]}]}}]}]}]}"#,
                "",
            ),
        ] {
            let mut kept = Kept::default();
            read(text, &Source::default(), &mut kept).unwrap();
            let kept = kept.0.join(" ");
            assert!(kept.contains(known) && !kept.contains("303"), "{kept}");
        }
    }

    #[test]
    fn groups_and_streams_name_function_and_version() {
        assert_eq!(function_of_group("/aws/lambda/f"), Some("f"));
        assert_eq!(function_of_group("123456789012:/aws/lambda/f"), Some("f"));
        assert_eq!(function_of_group("team/logs"), Some("team/logs"));
        assert_eq!(function_of_group("/aws/lambda/"), None);
        assert_eq!(
            parts_of_stream("2026/11/26/[$LATEST]0123"),
            (None, Some("$LATEST"))
        );
        assert_eq!(
            parts_of_stream("2026/11/26/orders[7]0123"),
            (Some("orders"), Some("7"))
        );
        assert_eq!(parts_of_stream("anything"), (None, None));
    }
}

//! The lines of Bantam's extension: EMF, NDJSON, and rows of Logs Insights with their fields.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::{MessageError, Seen, figure, time, value_time};
use crate::fact::{Counted, Fact, Measured, Report, Sink, Source};

/// Reads a line of EMF or NDJSON; a line of somebody else's EMF is no fact.
pub(super) fn read(
    text: &str,
    source: &Source<'_>,
    sink: &mut dyn Sink,
) -> Result<Seen, MessageError> {
    let line: Map<String, Value> = match serde_json::from_str(text) {
        Ok(line) => line,
        // Only what is surely ours is worth a word.
        Err(_) if !text.contains("\"cold_start_kind\"") => return Ok(Seen::Other),
        Err(error) => return Err(error.into()),
    };
    if let Some(Value::Array(points)) = line.get("points") {
        return Ok(ndjson(&line, points, source, sink));
    }
    Ok(fields(&line, source, sink))
}

/// Reads a line of EMF, or a row of Logs Insights with the fields that it found in such lines.
pub(crate) fn fields(line: &Map<String, Value>, source: &Source<'_>, sink: &mut dyn Sink) -> Seen {
    let mut measured = Measured {
        ended_ms: line
            .get("_aws")
            .and_then(|aws| aws.get("Timestamp"))
            .and_then(value_time),
        ..Measured::default()
    };
    for (name, value) in line {
        take(name, value, &mut measured);
    }
    measured.began_ms = line.get("start_ms").and_then(value_time);
    give(measured, source, sink)
}

/// Keeps a member as a number or a text. Of several values the first: a start has one.
fn take<'a>(name: &'a str, value: &'a Value, into: &mut Measured<'a>) {
    let first = value.as_array().and_then(|values| values.first());
    let value = first.unwrap_or(value);
    match value {
        Value::Number(number) => {
            let number = number.as_f64().and_then(figure);
            let number = number.map(|number| (Cow::Borrowed(name), number));
            into.numbers.extend(number);
        }
        Value::String(text) => {
            // Logs Insights gives numbers as texts.
            let number = text.parse().ok().and_then(figure);
            let number = number.map(|number| (Cow::Borrowed(name), number));
            into.numbers.extend(number);
            into.texts.push((Cow::Borrowed(name), Cow::Borrowed(text)));
        }
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {}
    }
}

/// Gives what was collected of a line as the fact that it is.
fn give(measured: Measured<'_>, source: &Source<'_>, sink: &mut dyn Sink) -> Seen {
    let fact = if measured.text("cold_start_kind").is_some() {
        Fact::Measured(measured)
    } else {
        let count = |name| measured.number(name).map(whole);
        let (succeeded, errors) = (count("invocations"), count("errors"));
        let (timeouts, in_life) = (count("timeouts"), count("environment_invocations"));
        let counts = [succeeded, errors, timeouts, in_life];
        let has_count = counts.iter().any(Option::is_some);
        // Somebody else's metrics can have these names, too.
        if measured.text("function_name").is_none() || !has_count {
            return Seen::Other;
        }
        let text = |name| measured.text(name).map(|text| Cow::Owned(text.to_owned()));
        Fact::Counted(Counted {
            function: text("function_name"),
            version: text("function_version"),
            instance: text("instance_id"),
            succeeded: succeeded.unwrap_or_default(),
            failed: errors.unwrap_or_default() + timeouts.unwrap_or_default(),
            in_life: in_life.unwrap_or_default(),
            life_ended_ms: count("end_ms"),
        })
    };
    sink.fact(source, &fact);
    Seen::Fact
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count is whole and not negative, and one that is too large becomes the largest"
)]
const fn whole(number: f64) -> u64 {
    number as u64
}

fn ndjson(
    line: &Map<String, Value>,
    points: &[Value],
    source: &Source<'_>,
    sink: &mut dyn Sink,
) -> Seen {
    let mut start = Measured {
        began_ms: line.get("start_ms").and_then(value_time),
        ended_ms: line.get("end_ms").and_then(value_time),
        ..Measured::default()
    };
    let texts = line.iter().chain(
        line.get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten(),
    );
    for (name, value) in texts {
        if !value.is_array() {
            take(name, value, &mut start);
        }
    }
    let mut counted = start.clone();
    for point in points {
        let name = point.get("name").and_then(Value::as_str);
        let (Some(name), Some(values)) = (name, point.get("values")) else {
            continue;
        };
        let kind = point.pointer("/attributes/cold_start_kind");
        if kind.is_some() && start.text("cold_start_kind").is_none() {
            for (name, value) in attributes(point) {
                take(name, value, &mut start);
            }
        }
        take(name, values, &mut start);
        if kind.is_none() {
            add(name, values, &mut counted);
        }
    }
    let mut seen = Seen::Other;
    if start.text("cold_start_kind").is_some() {
        seen = give(start, source, sink);
    }
    if give(counted, source, sink) == Seen::Fact {
        seen = Seen::Fact;
    }
    seen
}

/// Keeps a count of an interval. One that is told apart by an attribute, as the errors are by their
/// type, has several points.
fn add<'a>(name: &'a str, values: &'a Value, into: &mut Measured<'a>) {
    let mut one = Measured::default();
    take(name, values, &mut one);
    for (name, number) in one.numbers {
        match into.numbers.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => *sum += number,
            None => into.numbers.push((name, number)),
        }
    }
}

fn attributes(point: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let attributes = point.get("attributes").and_then(Value::as_object);
    attributes.into_iter().flatten()
}

/// Reads a row of Logs Insights that has no message: the fields of `REPORT` that it finds itself,
/// or the ones of a line of Bantam. Memory is in bytes there.
pub(crate) fn measured_rows(
    row: &Map<String, Value>,
    source: &Source<'_>,
    sink: &mut dyn Sink,
) -> Seen {
    let number = |name: &str| {
        let number = match row.get(name)? {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.parse().ok(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        number.and_then(figure)
    };
    if row.contains_key("cold_start_kind") || !row.contains_key("@duration") {
        return fields(row, source, sink);
    }
    let Some(request) = field_text(row, "@requestId") else {
        return Seen::Other;
    };
    // Only the row of `REPORT` has a duration.
    let Some(duration_ms) = number("@duration") else {
        return Seen::Other;
    };
    let megabytes = |name| number(name).map(|bytes| (bytes / 1e6).round());
    let report = Report {
        request: Cow::Borrowed(request),
        duration_ms: Some(duration_ms),
        billed_ms: number("@billedDuration"),
        memory_size_mb: megabytes("@memorySize"),
        memory_used_mb: megabytes("@maxMemoryUsed"),
        init_ms: number("@initDuration"),
        restore_ms: number("@restoreDuration"),
        billed_restore_ms: number("@billedRestoreDuration"),
        failure: None,
    };
    let source = Source {
        time_ms: field_text(row, "@timestamp")
            .and_then(time)
            .or(source.time_ms),
        ..source.clone()
    };
    sink.fact(&source, &Fact::Report(report));
    Seen::Fact
}

/// A field of a row that is a text and not empty.
fn field_text<'a>(row: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    let text = row.get(name).and_then(Value::as_str);
    text.filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::tests::Kept;
    use super::*;

    fn told(text: &str) -> (Seen, Vec<String>) {
        let mut kept = Kept::default();
        let seen = super::super::read(text, &Source::default(), &mut kept).unwrap();
        (seen, kept.0)
    }

    #[test]
    fn emf_and_ndjson_of_a_start_tell_the_same() {
        let emf = r#"{"_aws":{"Timestamp":1781000000462,"CloudWatchMetrics":[]},
            "function_name":"f","cold_start_kind":"on_demand","request_id":"6d68",
            "init_duration":[397.68]}"#;
        let ndjson = r#"{"start_ms":1781000000064,"end_ms":1781000000462,"function_name":"f",
            "points":[{"name":"init_duration","kind":"distribution","unit":"ms",
            "attributes":{"cold_start_kind":"on_demand"},"values":[397.68]},
            {"name":"invocations","kind":"counter","attributes":{},"values":[3]}],
            "properties":{"request_id":"6d68"}}"#;
        let (_, emf) = told(emf);
        let (_, ndjson) = told(ndjson);
        for facts in [&emf, &ndjson] {
            for part in [
                "ended_ms: Some(1781000000462)",
                "(\"init_duration\", 397.68)",
                "(\"cold_start_kind\", \"on_demand\")",
                "(\"request_id\", \"6d68\")",
            ] {
                assert!(facts[0].contains(part), "{part} in {facts:?}");
            }
        }
        assert_eq!(emf.len(), 1);
        assert!(ndjson[1].contains("succeeded: 3"), "{ndjson:?}");
    }

    #[test]
    fn invocations_are_counted_however_they_failed() {
        for (text, expected) in [
            (
                r#"{"function_name":"f","points":[
                    {"name":"errors","attributes":{"error_type":"A"},"values":[2]},
                    {"name":"errors","attributes":{"error_type":"B"},"values":[3]},
                    {"name":"invocations","attributes":{},"values":[7]}]}"#,
                "succeeded: 7, failed: 5,",
            ),
            (
                r#"{"_aws":{"Timestamp":1},"function_name":"f","timeouts":1}"#,
                "succeeded: 0, failed: 1,",
            ),
        ] {
            let (_, facts) = told(text);
            assert_eq!(facts.len(), 1, "{facts:?}");
            assert!(facts[0].contains(expected), "{facts:?}");
        }
    }

    #[test]
    fn the_metrics_of_others_are_no_facts() {
        for text in [
            r#"{"_aws":{"Timestamp":1,"CloudWatchMetrics":[]},"orders":3}"#,
            r#"{"_aws":{"Timestamp":1},"invocations":3}"#,
            r#"{"_aws":"#,
            r#"{"level":"INFO","points":"7"}"#,
        ] {
            assert_eq!(told(text), (Seen::Other, Vec::new()), "{text}");
        }
    }

    #[test]
    fn a_cut_line_of_ours_is_an_error() {
        let mut kept = Kept::default();
        let cut = r#"{"_aws":{"Timestamp":1},"cold_start_kind":"on_dem"#;
        assert!(super::super::read(cut, &Source::default(), &mut kept).is_err());
    }
}

//! The platform's records in JSON: lines of a log in the JSON format, and telemetry.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{MessageError, Seen, figure, text, time};
use crate::fact::{Fact, PhaseReport, PhaseStart, Report, Sink, Source};

#[derive(Debug, Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    time: Option<Cow<'a, str>>,
    #[serde(rename = "type", borrow)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    record: Option<&'a RawValue>,
}

/// The fields of all records that tell a fact.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Record<'a> {
    #[serde(borrow)]
    request_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    version: Option<Cow<'a, str>>,
    #[serde(borrow)]
    status: Option<Cow<'a, str>>,
    #[serde(borrow)]
    error_type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    initialization_type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    phase: Option<Cow<'a, str>>,
    #[serde(borrow)]
    function_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    function_version: Option<Cow<'a, str>>,
    #[serde(borrow)]
    instance_id: Option<Cow<'a, str>>,
    metrics: Option<Metrics>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct Metrics {
    #[serde(rename = "durationMs", deserialize_with = "known")]
    duration: Option<f64>,
    #[serde(rename = "billedDurationMs", deserialize_with = "known")]
    billed: Option<f64>,
    #[serde(rename = "memorySizeMB", deserialize_with = "known")]
    memory_size: Option<f64>,
    #[serde(rename = "maxMemoryUsedMB", deserialize_with = "known")]
    memory_used: Option<f64>,
    #[serde(rename = "initDurationMs", deserialize_with = "known")]
    init: Option<f64>,
    #[serde(rename = "restoreDurationMs", deserialize_with = "known")]
    restore: Option<f64>,
    #[serde(rename = "billedRestoreDurationMs", deserialize_with = "known")]
    billed_restore: Option<f64>,
}

/// A figure, where the number is one.
fn known<'de, D: Deserializer<'de>>(number: D) -> Result<Option<f64>, D::Error> {
    Ok(Option::deserialize(number)?.and_then(figure))
}

/// Reads a record, or an array of them as the Telemetry API delivers it.
pub(super) fn read(
    text: &str,
    source: &Source<'_>,
    sink: &mut dyn Sink,
) -> Result<Seen, MessageError> {
    if text.starts_with('[') {
        let records: Vec<&RawValue> = serde_json::from_str(text)?;
        let mut seen = Seen::Other;
        for record in records {
            if one(record.get(), source, sink)? == Seen::Fact {
                seen = Seen::Fact;
            }
        }
        return Ok(seen);
    }
    one(text, source, sink)
}

fn one(text: &str, source: &Source<'_>, sink: &mut dyn Sink) -> Result<Seen, MessageError> {
    let line: Line<'_> = serde_json::from_str(text)?;
    let (Some(kind), Some(record)) = (line.kind, line.record) else {
        return Ok(Seen::Other);
    };
    if !KINDS.contains(&kind.as_ref()) {
        return Ok(Seen::Other);
    }
    // The record's own time is nearer to the fact than the time at which the line was taken.
    let time_ms = line.time.as_deref().and_then(time);
    let source = Source {
        time_ms: time_ms.or(source.time_ms),
        ..source.clone()
    };
    if kind == "platform.fault" {
        let fault: Fault<'_> = serde_json::from_str(record.get())?;
        let (Fault::Text(text) | Fault::Object { fault: text }) = fault;
        let Some(fact) = text::fault(&text) else {
            return Ok(Seen::Other);
        };
        sink.fact(&source, &fact);
    } else {
        let fact = fact(&kind, serde_json::from_str(record.get())?)?;
        sink.fact(&source, &fact);
    }
    Ok(Seen::Fact)
}

/// The record of a fault: a string, or an object with the string.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Fault<'a> {
    Text(#[serde(borrow)] Cow<'a, str>),
    Object {
        #[serde(borrow)]
        fault: Cow<'a, str>,
    },
}

const KINDS: [&str; 8] = [
    "platform.fault",
    "platform.initStart",
    "platform.initRuntimeDone",
    "platform.initReport",
    "platform.restoreStart",
    "platform.restoreReport",
    "platform.start",
    "platform.report",
];

fn fact<'a>(kind: &str, record: Record<'a>) -> Result<Fact<'a>, MessageError> {
    let metrics = record.metrics.unwrap_or_default();
    let in_invoke = record.phase.as_deref() == Some("invoke");
    let is_restore = kind.starts_with("platform.restore");
    Ok(match kind {
        "platform.initStart" | "platform.restoreStart" => Fact::PhaseStart(PhaseStart {
            is_restore,
            init_type: record.initialization_type,
            in_invoke,
            function: record.function_name,
            version: record.function_version,
            instance: record.instance_id,
        }),
        "platform.initRuntimeDone" => Fact::RuntimeDone,
        "platform.initReport" | "platform.restoreReport" => Fact::PhaseReport(PhaseReport {
            is_restore,
            duration_ms: metrics.duration,
            in_invoke,
            failed: record.status.is_some_and(|status| status != "success"),
        }),
        "platform.start" => Fact::Start {
            request: request(record.request_id)?,
            version: record.version,
        },
        _ => Fact::Report(Report {
            request: request(record.request_id)?,
            duration_ms: metrics.duration,
            billed_ms: metrics.billed,
            memory_size_mb: metrics.memory_size,
            memory_used_mb: metrics.memory_used,
            init_ms: metrics.init,
            restore_ms: metrics.restore,
            billed_restore_ms: metrics.billed_restore,
            failure: text::status(
                record.status.as_deref(),
                record.error_type.as_deref(),
                metrics.memory_size,
                metrics.memory_used,
            ),
        }),
    })
}

fn request(id: Option<Cow<'_, str>>) -> Result<Cow<'_, str>, MessageError> {
    id.ok_or(MessageError::Lacks("a record of the platform", "requestId"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::Kept;
    use super::*;

    fn told(text: &str) -> Vec<String> {
        let mut kept = Kept::default();
        read(text, &Source::default(), &mut kept).unwrap();
        kept.0
    }

    #[test]
    fn records_become_facts() {
        let report = r#"{"time":"2026-08-20T10:00:01.180Z","type":"platform.report","record":{
            "requestId":"6d68","status":"success","metrics":{"durationMs":693.92,
            "billedDurationMs":1092,"memorySizeMB":128,"maxMemoryUsedMB":84,
            "initDurationMs":397.68},"spans":[{"name":"x","start":"bad","durationMs":1}]}}"#;
        assert_eq!(
            told(report),
            [
                "Report(Report { request: \"6d68\", duration_ms: Some(693.92), \
              billed_ms: Some(1092.0), memory_size_mb: Some(128.0), memory_used_mb: Some(84.0), \
              init_ms: Some(397.68), restore_ms: None, billed_restore_ms: None, failure: None })"
            ]
        );
        let batch = r#"[{"time":"2026-08-20T10:00:00.064Z","type":"platform.initStart","record":{
            "initializationType":"native-http","phase":"invoke","functionName":"f",
            "functionVersion":"7","instanceId":"i"}},
            {"time":"x","type":"platform.initRuntimeDone","record":{}},
            {"time":"x","type":"platform.later","record":{}},
            {"time":"x","type":"function","record":"text"}]"#;
        assert_eq!(
            told(batch),
            [
                "PhaseStart(PhaseStart { is_restore: false, init_type: Some(\"native-http\"), \
                 in_invoke: true, function: Some(\"f\"), version: Some(\"7\"), \
                 instance: Some(\"i\") })",
                "RuntimeDone"
            ]
        );
    }

    #[test]
    fn a_fault_tells_how_its_invocation_failed() {
        let table = [
            (
                r#""RequestId: 6d68 Error: Runtime exited with error: signal: killed\nRuntime.ExitError\n""#,
                vec![r#"Failed { request: Some("6d68"), failure: OutOfMemory }"#],
            ),
            (
                r#"{"fault":"RequestId: 6d68 Error: Runtime exited with error: exit status 1\n"}"#,
                vec![r#"Failed { request: Some("6d68"), failure: Crash }"#],
            ),
            (
                r#"{"fault":"RequestId: 6d68\tStatus: error\tErrorType: Runtime.OutOfMemory\n"}"#,
                vec![r#"Failed { request: Some("6d68"), failure: OutOfMemory }"#],
            ),
            (r#""RequestId: 6d68 Process exited""#, vec![]),
        ];
        for (record, expected) in table {
            let json = format!(r#"{{"time":"x","type":"platform.fault","record":{record}}}"#);
            assert_eq!(told(&json), expected, "{record}");
        }
    }

    #[test]
    fn a_cut_record_is_an_error() {
        let mut kept = Kept::default();
        let cut = r#"{"time":"x","type":"platform.report","record":{"requestId":"#;
        assert!(read(cut, &Source::default(), &mut kept).is_err());
        let without = r#"{"time":"x","type":"platform.report","record":{}}"#;
        let error = read(without, &Source::default(), &mut kept).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a record of the platform without requestId"
        );
    }
}

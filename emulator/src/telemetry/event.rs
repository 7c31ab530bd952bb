//! Every event the Telemetry API sends, and its JSON.
//!
//! docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html; where that page and the
//! published code differ, aws-lambda-runtime-interface-emulator decides.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde::de::IgnoredAny;
use serde::{Serialize, Serializer};
use serde_with::skip_serializing_none;

use crate::config::LogFormat;
use crate::time::rfc3339;

/// An event, without the time at which the platform makes a record of it.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", content = "record")]
pub(crate) enum Event {
    #[serde(rename = "platform.initStart")]
    InitStart(InitStart),
    #[serde(rename = "platform.initRuntimeDone")]
    InitRuntimeDone(InitRuntimeDone),
    #[serde(rename = "platform.initReport")]
    InitReport(InitReport),
    #[serde(rename = "platform.start")]
    Start(Start),
    /// Not sent on managed instances.
    #[serde(rename = "platform.runtimeDone")]
    RuntimeDone(RuntimeDone),
    #[serde(rename = "platform.report")]
    Report(Report),
    #[serde(rename = "platform.restoreStart")]
    RestoreStart(RestoreStart),
    #[serde(rename = "platform.restoreRuntimeDone")]
    RestoreRuntimeDone(RestoreRuntimeDone),
    #[serde(rename = "platform.restoreReport")]
    RestoreReport(RestoreReport),
    /// The state of an extension at the end of the init phase.
    #[serde(rename = "platform.extension")]
    Extension(ExtensionInit),
    #[serde(rename = "platform.telemetrySubscription")]
    TelemetrySubscription(TelemetrySubscription),
    #[serde(rename = "platform.logsDropped")]
    LogsDropped(LogsDropped),
    /// A line the function wrote to stdout or stderr.
    #[serde(rename = "function")]
    FunctionLog(String),
    /// A line an extension wrote to stdout or stderr.
    #[serde(rename = "extension")]
    ExtensionLog(String),
}

/// A type of a subscription: a source of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Category {
    Platform,
    Function,
    Extension,
}

/// When an init runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Phase {
    /// Before the first invocation.
    #[default]
    Init,
    /// Inside an invocation, because the first one failed (suppressed init).
    Invoke,
    /// When a version is published.
    SnapStart,
}

/// How a phase ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Status {
    #[default]
    Success,
    Error,
    Timeout,
}

/// `tracing` of a record.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Tracing {
    #[serde(rename = "type")]
    kind: &'static str,
    value: String,
}

/// A part of a phase.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Span {
    /// `responseLatency`, `responseDuration`, `runtimeOverhead`, `extensionOverhead`.
    pub(crate) name: &'static str,
    #[serde(serialize_with = "stamp")]
    pub(crate) start: SystemTime,
    #[serde(rename = "durationMs", serialize_with = "ms")]
    pub(crate) duration: Duration,
}

#[skip_serializing_none]
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InitStart {
    /// A value of `AWS_LAMBDA_INITIALIZATION_TYPE`.
    pub(crate) initialization_type: &'static str,
    pub(crate) phase: Phase,
    pub(crate) runtime_version: Option<String>,
    pub(crate) function_name: String,
    pub(crate) function_version: String,
    pub(crate) function_arn: Option<String>,
    /// The log stream's name in the published code, a UUID on the documentation's page.
    pub(crate) instance_id: Option<String>,
    /// Bytes.
    #[serde(rename = "instanceMaxMemory")]
    pub(crate) instance_memory_bytes_max: Option<u64>,
}

#[skip_serializing_none]
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InitRuntimeDone {
    pub(crate) initialization_type: &'static str,
    pub(crate) phase: Phase,
    pub(crate) status: Status,
    pub(crate) error_type: Option<String>,
}

#[skip_serializing_none]
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InitReport {
    pub(crate) initialization_type: &'static str,
    pub(crate) phase: Phase,
    /// Missing in the published code's default mode.
    pub(crate) status: Option<Status>,
    pub(crate) error_type: Option<String>,
    pub(crate) metrics: DurationMetrics,
}

/// `metrics` where it is a duration and nothing else.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct DurationMetrics {
    #[serde(rename = "durationMs", serialize_with = "ms")]
    pub(crate) duration: Duration,
}

#[skip_serializing_none]
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Start {
    pub(crate) request_id: String,
    pub(crate) version: Option<String>,
    /// On managed instances.
    pub(crate) function_arn: Option<String>,
    pub(crate) tenant_id: Option<String>,
    pub(crate) tracing: Option<Tracing>,
}

#[skip_serializing_none]
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RuntimeDone {
    pub(crate) request_id: String,
    pub(crate) status: Status,
    pub(crate) error_type: Option<String>,
    /// Usually missing after a timeout.
    pub(crate) metrics: Option<RuntimeDoneMetrics>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) spans: Vec<Span>,
    pub(crate) tracing: Option<Tracing>,
    pub(crate) tenant_id: Option<String>,
}

#[skip_serializing_none]
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RuntimeDoneMetrics {
    #[serde(rename = "durationMs", serialize_with = "ms")]
    pub(crate) duration: Duration,
    pub(crate) produced_bytes: Option<u64>,
}

#[skip_serializing_none]
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    pub(crate) request_id: String,
    pub(crate) status: Status,
    pub(crate) error_type: Option<String>,
    pub(crate) metrics: ReportMetrics,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) spans: Vec<Span>,
    pub(crate) tracing: Option<Tracing>,
    pub(crate) tenant_id: Option<String>,
}

/// On managed instances there is the duration and nothing else.
#[skip_serializing_none]
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReportMetrics {
    #[serde(rename = "durationMs", serialize_with = "ms")]
    pub(crate) duration: Duration,
    pub(crate) billed_duration_ms: Option<u64>,
    #[serde(rename = "memorySizeMB")]
    pub(crate) memory_size_mb: Option<u64>,
    #[serde(rename = "maxMemoryUsedMB")]
    pub(crate) max_memory_used_mb: Option<u64>,
    /// Missing when the init ran inside the invocation.
    #[serde(rename = "initDurationMs", serialize_with = "some_ms")]
    pub(crate) init_duration: Option<Duration>,
    /// After a restore.
    #[serde(rename = "restoreDurationMs", serialize_with = "some_ms")]
    pub(crate) restore_duration: Option<Duration>,
    pub(crate) billed_restore_duration_ms: Option<u64>,
}

#[skip_serializing_none]
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RestoreStart {
    pub(crate) function_name: String,
    pub(crate) function_version: String,
    pub(crate) runtime_version: Option<String>,
    pub(crate) instance_id: Option<String>,
    /// The documentation's example gives MB here.
    pub(crate) instance_max_memory: Option<u64>,
}

#[skip_serializing_none]
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RestoreRuntimeDone {
    pub(crate) status: Status,
    pub(crate) error_type: Option<String>,
}

#[skip_serializing_none]
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RestoreReport {
    pub(crate) status: Status,
    pub(crate) error_type: Option<String>,
    pub(crate) metrics: Option<DurationMetrics>,
}

#[skip_serializing_none]
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExtensionInit {
    pub(crate) name: String,
    /// A state's name: `Ready`, `InitError` ...
    pub(crate) state: &'static str,
    /// `INVOKE`, `SHUTDOWN`.
    pub(crate) events: Vec<&'static str>,
    pub(crate) error_type: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TelemetrySubscription {
    pub(crate) name: String,
    pub(crate) state: &'static str,
    pub(crate) types: Vec<Category>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LogsDropped {
    pub(crate) dropped_bytes: u64,
    pub(crate) dropped_records: u64,
    pub(crate) reason: String,
}

impl Tracing {
    /// An X-Ray trace header.
    pub(crate) fn new(value: impl Into<String>) -> Self {
        Self {
            kind: "X-Amzn-Trace-Id",
            value: value.into(),
        }
    }
}

impl Event {
    /// Which subscribers get it.
    pub(crate) fn category(&self) -> Category {
        match self {
            Self::FunctionLog(_) => Category::Function,
            Self::ExtensionLog(_) => Category::Extension,
            Self::InitStart(_)
            | Self::InitRuntimeDone(_)
            | Self::InitReport(_)
            | Self::Start(_)
            | Self::RuntimeDone(_)
            | Self::Report(_)
            | Self::RestoreStart(_)
            | Self::RestoreRuntimeDone(_)
            | Self::RestoreReport(_)
            | Self::Extension(_)
            | Self::TelemetrySubscription(_)
            | Self::LogsDropped(_) => Category::Platform,
        }
    }

    /// The record as one line of a log in JSON.
    pub(crate) fn json(&self, time: SystemTime) -> String {
        String::from_utf8_lossy(&envelope(self, time)).into_owned()
    }

    /// Whether the log, which has the level INFO, leaves it out ("System log level event mapping",
    /// docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html).
    pub(crate) fn is_debug(&self) -> bool {
        match self {
            Self::InitRuntimeDone(event) => event.status == Status::Success,
            Self::InitReport(event) => {
                event.initialization_type == "on-demand" && event.status == Some(Status::Success)
            }
            Self::RestoreRuntimeDone(event) => event.status == Status::Success,
            Self::RuntimeDone(event) => event.status == Status::Success,
            Self::InitStart(_)
            | Self::Start(_)
            | Self::Report(_)
            | Self::RestoreStart(_)
            | Self::RestoreReport(_)
            | Self::Extension(_)
            | Self::TelemetrySubscription(_)
            | Self::LogsDropped(_)
            | Self::FunctionLog(_)
            | Self::ExtensionLog(_) => false,
        }
    }

    /// `type` of its record.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::InitStart(_) => "platform.initStart",
            Self::InitRuntimeDone(_) => "platform.initRuntimeDone",
            Self::InitReport(_) => "platform.initReport",
            Self::Start(_) => "platform.start",
            Self::RuntimeDone(_) => "platform.runtimeDone",
            Self::Report(_) => "platform.report",
            Self::RestoreStart(_) => "platform.restoreStart",
            Self::RestoreRuntimeDone(_) => "platform.restoreRuntimeDone",
            Self::RestoreReport(_) => "platform.restoreReport",
            Self::Extension(_) => "platform.extension",
            Self::TelemetrySubscription(_) => "platform.telemetrySubscription",
            Self::LogsDropped(_) => "platform.logsDropped",
            Self::FunctionLog(_) => "function",
            Self::ExtensionLog(_) => "extension",
        }
    }
}

/// An event as JSON text.
#[derive(Clone, Debug)]
pub(crate) struct Rendered {
    pub(crate) category: Category,
    /// As schema version 2022-07-01 has it: a log line is a string.
    text: Bytes,
    /// As later versions have it, where that differs: a log line that is a JSON object is one.
    object: Option<Bytes>,
}

impl Rendered {
    pub(crate) fn new(event: &Event, time: SystemTime, log_format: LogFormat) -> Self {
        let object = match (log_format, event) {
            (LogFormat::Json, Event::FunctionLog(line)) => object("function", line, time),
            (LogFormat::Json, Event::ExtensionLog(line)) => object("extension", line, time),
            (LogFormat::Json | LogFormat::Text, _) => None,
        };
        Self {
            category: event.category(),
            text: envelope(event, time),
            object,
        }
    }

    /// The JSON for subscribers whose schema version has objects for log lines, or for others.
    pub(crate) fn json(&self, objects: bool) -> &Bytes {
        match &self.object {
            Some(object) if objects => object,
            Some(_) | None => &self.text,
        }
    }
}

#[derive(Serialize)]
struct Envelope<'a, T> {
    time: String,
    #[serde(flatten)]
    event: &'a T,
}

/// A log line as an object, if it is one. Other lines stay strings in every schema version.
fn object(kind: &str, line: &str, time: SystemTime) -> Option<Bytes> {
    let record = line.trim();
    // The user's own spelling of numbers and order of members is kept. A record that is not on
    // one line could not be sent as NDJSON.
    let is_object = record.starts_with('{')
        && !record.contains('\n')
        && serde_json::from_str::<IgnoredAny>(record).is_ok();
    let time = rfc3339(time);
    is_object.then(|| format!(r#"{{"time":"{time}","type":"{kind}","record":{record}}}"#).into())
}

fn envelope(event: &impl Serialize, time: SystemTime) -> Bytes {
    let time = rfc3339(time);
    // Text, numbers and lists of them always have a JSON form.
    serde_json::to_vec(&Envelope { time, event })
        .unwrap_or_default()
        .into()
}

fn stamp<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(*time))
}

/// Milliseconds with at most three decimals, and without a point where there are none, as Go
/// writes them.
fn ms<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    let us = (*duration + Duration::from_nanos(500)).as_micros();
    let us = u64::try_from(us).unwrap_or(u64::MAX);
    if us.is_multiple_of(1_000) {
        serializer.serialize_u64(us / 1_000)
    } else {
        // Exact below 2^53 microseconds, which are 285 years.
        serializer.serialize_f64(us as f64 / 1_000.0)
    }
}

#[expect(
    clippy::ref_option,
    reason = "serde gives a reference to the field as it is"
)]
fn some_ms<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    ms(&duration.unwrap_or_default(), serializer)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use serde_json::{Value, json};

    use super::*;

    const TIME: &str = "1970-01-01T00:00:01.234Z";

    fn time() -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(1_234)
    }

    fn us(us: u64) -> Duration {
        Duration::from_micros(us)
    }

    fn span(name: &'static str, duration: Duration) -> Span {
        Span {
            name,
            start: time(),
            duration,
        }
    }

    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[expect(clippy::too_many_lines, reason = "it is a table")]
    fn init_events() -> [(Event, &'static str, Value); 5] {
        [
            (
                Event::InitStart(InitStart {
                    initialization_type: "on-demand",
                    phase: Phase::Init,
                    runtime_version: text("provided:al2023.v1"),
                    function_name: "f".into(),
                    function_version: "$LATEST".into(),
                    function_arn: text("arn:aws:lambda:us-east-1:123456789012:function:f"),
                    instance_id: text("2026/08/20/[$LATEST]82"),
                    instance_memory_bytes_max: Some(268_435_456),
                }),
                "platform.initStart",
                json!({
                    "initializationType": "on-demand",
                    "phase": "init",
                    "runtimeVersion": "provided:al2023.v1",
                    "functionName": "f",
                    "functionVersion": "$LATEST",
                    "functionArn": "arn:aws:lambda:us-east-1:123456789012:function:f",
                    "instanceId": "2026/08/20/[$LATEST]82",
                    "instanceMaxMemory": 268_435_456,
                }),
            ),
            (
                Event::InitStart(InitStart {
                    initialization_type: "snap-start",
                    phase: Phase::SnapStart,
                    function_name: "f".into(),
                    function_version: "7".into(),
                    ..InitStart::default()
                }),
                "platform.initStart",
                json!({
                    "initializationType": "snap-start",
                    "phase": "snap-start",
                    "functionName": "f",
                    "functionVersion": "7",
                }),
            ),
            (
                Event::InitRuntimeDone(InitRuntimeDone {
                    initialization_type: "on-demand",
                    phase: Phase::Invoke,
                    status: Status::Error,
                    error_type: text("Runtime.ExitError"),
                }),
                "platform.initRuntimeDone",
                json!({
                    "initializationType": "on-demand",
                    "phase": "invoke",
                    "status": "error",
                    "errorType": "Runtime.ExitError",
                }),
            ),
            (
                Event::InitReport(InitReport {
                    initialization_type: "provisioned-concurrency",
                    status: Some(Status::Timeout),
                    metrics: DurationMetrics {
                        duration: us(397_680),
                    },
                    ..InitReport::default()
                }),
                "platform.initReport",
                json!({
                    "initializationType": "provisioned-concurrency",
                    "phase": "init",
                    "status": "timeout",
                    "metrics": {"durationMs": 397.68},
                }),
            ),
            (
                Event::InitReport(InitReport {
                    initialization_type: "on-demand",
                    ..InitReport::default()
                }),
                "platform.initReport",
                json!({
                    "initializationType": "on-demand",
                    "phase": "init",
                    "metrics": {"durationMs": 0},
                }),
            ),
        ]
    }

    #[expect(clippy::too_many_lines, reason = "it is a table")]
    fn invocation_events() -> [(Event, &'static str, Value); 6] {
        [
            (
                Event::Start(Start {
                    request_id: "6d68ca91".into(),
                    version: text("$LATEST"),
                    tracing: Some(Tracing::new("Root=1-2;Parent=3;Sampled=1")),
                    ..Start::default()
                }),
                "platform.start",
                json!({
                    "requestId": "6d68ca91",
                    "version": "$LATEST",
                    "tracing": {
                        "type": "X-Amzn-Trace-Id",
                        "value": "Root=1-2;Parent=3;Sampled=1",
                    },
                }),
            ),
            (
                Event::Start(Start {
                    request_id: "1".into(),
                    function_arn: text("arn"),
                    tenant_id: text("blue"),
                    ..Start::default()
                }),
                "platform.start",
                json!({"requestId": "1", "functionArn": "arn", "tenantId": "blue"}),
            ),
            (
                Event::RuntimeDone(RuntimeDone {
                    request_id: "1".into(),
                    metrics: Some(RuntimeDoneMetrics {
                        duration: us(1_056),
                        produced_bytes: Some(50),
                    }),
                    spans: vec![
                        span("responseLatency", us(677)),
                        span("runtimeOverhead", us(2_000)),
                    ],
                    tenant_id: text("blue"),
                    ..RuntimeDone::default()
                }),
                "platform.runtimeDone",
                json!({
                    "requestId": "1",
                    "status": "success",
                    "metrics": {"durationMs": 1.056, "producedBytes": 50},
                    "spans": [
                        {"name": "responseLatency", "start": TIME, "durationMs": 0.677},
                        {"name": "runtimeOverhead", "start": TIME, "durationMs": 2},
                    ],
                    "tenantId": "blue",
                }),
            ),
            (
                Event::RuntimeDone(RuntimeDone {
                    request_id: "1".into(),
                    status: Status::Timeout,
                    ..RuntimeDone::default()
                }),
                "platform.runtimeDone",
                json!({"requestId": "1", "status": "timeout"}),
            ),
            (
                Event::Report(Report {
                    request_id: "1".into(),
                    metrics: ReportMetrics {
                        duration: us(693_920),
                        billed_duration_ms: Some(1_092),
                        memory_size_mb: Some(128),
                        max_memory_used_mb: Some(84),
                        init_duration: Some(us(397_680)),
                        ..ReportMetrics::default()
                    },
                    spans: vec![span("extensionOverhead", us(12_400))],
                    ..Report::default()
                }),
                "platform.report",
                json!({
                    "requestId": "1",
                    "status": "success",
                    "metrics": {
                        "durationMs": 693.92,
                        "billedDurationMs": 1_092,
                        "memorySizeMB": 128,
                        "maxMemoryUsedMB": 84,
                        "initDurationMs": 397.68,
                    },
                    "spans": [{"name": "extensionOverhead", "start": TIME, "durationMs": 12.4}],
                }),
            ),
            (
                Event::Report(Report {
                    request_id: "1".into(),
                    status: Status::Error,
                    error_type: text("Function.Unknown"),
                    metrics: ReportMetrics {
                        duration: us(147_156),
                        restore_duration: Some(us(500_795)),
                        billed_restore_duration_ms: Some(53),
                        ..ReportMetrics::default()
                    },
                    tenant_id: text("blue"),
                    ..Report::default()
                }),
                "platform.report",
                json!({
                    "requestId": "1",
                    "status": "error",
                    "errorType": "Function.Unknown",
                    "metrics": {
                        "durationMs": 147.156,
                        "restoreDurationMs": 500.795,
                        "billedRestoreDurationMs": 53,
                    },
                    "tenantId": "blue",
                }),
            ),
        ]
    }

    #[expect(clippy::too_many_lines, reason = "it is a table")]
    fn other_events() -> [(Event, &'static str, Value); 9] {
        [
            (
                Event::RestoreStart(RestoreStart {
                    function_name: "f".into(),
                    function_version: "7".into(),
                    runtime_version: text("provided:al2023.v1"),
                    instance_id: text("82"),
                    instance_max_memory: Some(256),
                }),
                "platform.restoreStart",
                json!({
                    "functionName": "f",
                    "functionVersion": "7",
                    "runtimeVersion": "provided:al2023.v1",
                    "instanceId": "82",
                    "instanceMaxMemory": 256,
                }),
            ),
            (
                Event::RestoreRuntimeDone(RestoreRuntimeDone {
                    status: Status::Error,
                    error_type: text("Function.Unknown"),
                }),
                "platform.restoreRuntimeDone",
                json!({"status": "error", "errorType": "Function.Unknown"}),
            ),
            (
                Event::RestoreReport(RestoreReport {
                    metrics: Some(DurationMetrics {
                        duration: us(437_190),
                    }),
                    ..RestoreReport::default()
                }),
                "platform.restoreReport",
                json!({
                    "status": "success",
                    "metrics": {"durationMs": 437.19},
                }),
            ),
            (
                Event::Extension(ExtensionInit {
                    name: "my-ext".into(),
                    state: "Ready",
                    events: vec!["INVOKE", "SHUTDOWN"],
                    error_type: None,
                }),
                "platform.extension",
                json!({"name": "my-ext", "state": "Ready", "events": ["INVOKE", "SHUTDOWN"]}),
            ),
            (
                Event::Extension(ExtensionInit {
                    name: "my-ext".into(),
                    state: "Exited",
                    error_type: text("Extension.Crash"),
                    ..ExtensionInit::default()
                }),
                "platform.extension",
                json!({
                    "name": "my-ext",
                    "state": "Exited",
                    "events": [],
                    "errorType": "Extension.Crash",
                }),
            ),
            (
                Event::TelemetrySubscription(TelemetrySubscription {
                    name: "my-ext".into(),
                    state: "Subscribed",
                    types: vec![Category::Platform, Category::Function, Category::Extension],
                }),
                "platform.telemetrySubscription",
                json!({
                    "name": "my-ext",
                    "state": "Subscribed",
                    "types": ["platform", "function", "extension"],
                }),
            ),
            (
                Event::LogsDropped(LogsDropped {
                    dropped_bytes: 12_345,
                    dropped_records: 123,
                    reason: "slow".into(),
                }),
                "platform.logsDropped",
                json!({"droppedBytes": 12_345, "droppedRecords": 123, "reason": "slow"}),
            ),
            (
                Event::FunctionLog("[INFO] \"hello\"\n".into()),
                "function",
                json!("[INFO] \"hello\"\n"),
            ),
            (
                Event::ExtensionLog("line".into()),
                "extension",
                json!("line"),
            ),
        ]
    }

    #[test]
    fn every_event_has_the_fields_of_the_reference() {
        let table = init_events()
            .into_iter()
            .chain(invocation_events())
            .chain(other_events());
        for (event, kind, record) in table {
            let rendered = Rendered::new(&event, time(), LogFormat::Text);
            let got: Value = serde_json::from_slice(rendered.json(true)).unwrap();
            let expected = json!({"time": TIME, "type": kind, "record": record});
            assert_eq!(got, expected, "{event:?}");
            assert_eq!(event.kind(), kind);
            let category = kind.split('.').next().unwrap();
            assert_eq!(json!(rendered.category), json!(category), "{event:?}");
        }
    }

    /// A line, and whether it is an object where objects are allowed.
    #[test]
    fn a_line_is_an_object_only_where_format_and_version_say_so() {
        let table = [
            (r#"{"b":1.50,"a":{"level":"INFO"}}"#, true),
            ("{\"message\":\"hello\"}\r\n", true),
            ("{}", true),
            ("hello", false),
            ("", false),
            ("[1]", false),
            ("1", false),
            ("null", false),
            (r#""text""#, false),
            ("{\"a\":1", false),
            ("{\"a\":1} trailing", false),
            ("{\"a\":\n1}", false),
        ];
        for (line, is_object) in table {
            for (format, objects) in [
                (LogFormat::Json, true),
                (LogFormat::Json, false),
                (LogFormat::Text, true),
                (LogFormat::Text, false),
            ] {
                for (event, kind) in [
                    (Event::FunctionLog(line.into()), "function"),
                    (Event::ExtensionLog(line.into()), "extension"),
                ] {
                    let rendered = Rendered::new(&event, time(), format);
                    let record = if is_object && objects && format == LogFormat::Json {
                        line.trim().to_owned()
                    } else {
                        json!(line).to_string()
                    };
                    let expected =
                        format!(r#"{{"time":"{TIME}","type":"{kind}","record":{record}}}"#);
                    assert_eq!(rendered.json(objects), expected.as_bytes(), "{line}");
                }
            }
        }
    }

    #[test]
    fn durations_have_three_decimals_at_most() {
        let table = [
            (Duration::ZERO, "0"),
            (Duration::from_nanos(499), "0"),
            (Duration::from_nanos(1_500), "0.002"),
            (us(1), "0.001"),
            (us(693_920), "693.92"),
            (us(999_999), "999.999"),
            (Duration::from_secs(2), "2000"),
            (Duration::from_secs(5_400) + us(100), "5400000.1"),
        ];
        for (duration, expected) in table {
            let metrics = DurationMetrics { duration };
            let got = serde_json::to_string(&metrics).unwrap();
            assert_eq!(got, format!(r#"{{"durationMs":{expected}}}"#));
        }
    }
}

//! One telemetry record.
//!
//! The structs have the members that Bantam uses; serde skips the others.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::lenient::{self, Text, count, megabytes, milliseconds, object, text};
use crate::shared::json::only_object;
use crate::shared::time::EpochMs;

/// A record as the platform writes it: `{"time":…,"type":…,"record":…}`.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::extension) struct Record<'a> {
    /// When the platform made the record, which may be later than what it reports.
    pub(in crate::extension) time: Option<EpochMs>,
    pub(in crate::extension) content: Content<'a>,
}

/// The member `record`, by the member `type`. In a box, because a record is moved on its way.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::extension) enum Content<'a> {
    InitStart(Box<Members<'a>>),
    InitRuntimeDone(Box<Members<'a>>),
    InitReport(Box<Members<'a>>),
    RestoreStart(Box<Members<'a>>),
    RestoreRuntimeDone(Box<Members<'a>>),
    RestoreReport(Box<Members<'a>>),
    Start(Box<Members<'a>>),
    RuntimeDone(Box<Members<'a>>),
    Report(Box<Members<'a>>),
    LogsDropped(Box<Members<'a>>),
    Fault(Fault<'a>),
    /// A known type that holds nothing to count.
    Ignored,
    /// A type that is not known.
    Unknown,
}

/// The members of `record`. Each type has some of them, and a name means the same in all. A struct
/// for each type would be a reader for each, of some kilobytes.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::extension) struct Members<'a> {
    // Of the start of an init or a restore, the first two also of its end.
    #[serde(borrow, deserialize_with = "text")]
    pub(in crate::extension) initialization_type: Option<Cow<'a, str>>,
    /// `init`, or `invoke` for an init that is done again while an invocation waits.
    #[serde(borrow, deserialize_with = "text")]
    pub(in crate::extension) phase: Option<Cow<'a, str>>,
    /// On Managed Instances also of the start of an invocation.
    #[serde(borrow, deserialize_with = "text")]
    pub(in crate::extension) function_arn: Option<Cow<'a, str>>,
    /// Opaque: the name of the log stream, or a UUID.
    #[serde(borrow, deserialize_with = "text")]
    pub(in crate::extension) instance_id: Option<Cow<'a, str>>,
    #[serde(borrow, deserialize_with = "text")]
    pub(in crate::extension) runtime_version: Option<Cow<'a, str>>,
    #[serde(deserialize_with = "count")]
    pub(super) instance_max_memory: Option<f64>,

    // Of an invocation.
    #[serde(borrow, deserialize_with = "text")]
    pub(in crate::extension) request_id: Option<Cow<'a, str>>,
    #[serde(borrow, deserialize_with = "text")]
    pub(in crate::extension) tenant_id: Option<Cow<'a, str>>,
    #[serde(borrow, deserialize_with = "object")]
    pub(in crate::extension) tracing: Tracing<'a>,
    pub(in crate::extension) spans: Spans,

    // Of the end of a phase or an invocation: for the runtime, or in a report for all processes.
    #[serde(borrow, deserialize_with = "text")]
    pub(in crate::extension) status: Option<Cow<'a, str>>,
    #[serde(borrow, deserialize_with = "text")]
    pub(in crate::extension) error_type: Option<Cow<'a, str>>,
    #[serde(deserialize_with = "object")]
    pub(in crate::extension) metrics: Metrics,

    // Of records that the platform lost before it could deliver them.
    #[serde(deserialize_with = "count")]
    pub(in crate::extension) dropped_records: Option<f64>,
    #[serde(deserialize_with = "count")]
    pub(in crate::extension) dropped_bytes: Option<f64>,
}

/// The figures of a phase or an invocation. Each type of record has some of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::extension) struct Metrics {
    #[serde(deserialize_with = "milliseconds")]
    pub(in crate::extension) duration_ms: Option<f64>,
    #[serde(deserialize_with = "milliseconds")]
    pub(in crate::extension) billed_duration_ms: Option<f64>,
    #[serde(deserialize_with = "milliseconds")]
    pub(in crate::extension) init_duration_ms: Option<f64>,
    #[serde(deserialize_with = "milliseconds")]
    pub(in crate::extension) restore_duration_ms: Option<f64>,
    #[serde(deserialize_with = "milliseconds")]
    pub(in crate::extension) billed_restore_duration_ms: Option<f64>,
    /// In MB of 1,048,576 bytes, as memory is configured.
    #[serde(rename = "memorySizeMB", deserialize_with = "megabytes")]
    pub(in crate::extension) memory_size_mb: Option<f64>,
    #[serde(rename = "maxMemoryUsedMB", deserialize_with = "megabytes")]
    pub(in crate::extension) max_memory_used_mb: Option<f64>,
    #[serde(deserialize_with = "count")]
    pub(in crate::extension) produced_bytes: Option<f64>,
}

/// The durations of the spans of an invocation, each by the name of its span.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::extension) struct Spans {
    pub(in crate::extension) response_latency_ms: Option<f64>,
    pub(in crate::extension) response_duration_ms: Option<f64>,
    pub(in crate::extension) runtime_overhead_ms: Option<f64>,
    pub(in crate::extension) extension_overhead_ms: Option<f64>,
}

/// One element of `spans`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Span<'a> {
    #[serde(borrow, deserialize_with = "text")]
    name: Option<Cow<'a, str>>,
    #[serde(deserialize_with = "milliseconds")]
    duration_ms: Option<f64>,
}

/// The trace that an invocation belongs to.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(in crate::extension) struct Tracing<'a> {
    /// The trace header: `Root=…;Parent=…;Sampled=…`.
    #[serde(borrow, deserialize_with = "text")]
    pub(in crate::extension) value: Option<Cow<'a, str>>,
}

/// A line of the platform about a failure, as JSON. No page of the Telemetry API documents it: the
/// Logs API delivers a string, and AWS's Runtime Interface Emulator has an object with the string.
///
/// `RequestId: 6d68 Error: Runtime exited with error: signal: killed`, then the type of the error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::extension) struct Fault<'a>(&'a str);

impl<'a> Fault<'a> {
    /// The request whose runtime was killed. The platform kills it after its deadline, which it
    /// reports as a timeout, so here the kernel did, for want of memory.
    pub(in crate::extension) fn killed_request_id(self) -> Option<&'a str> {
        let is_killed = KILLED.iter().any(|words| self.0.contains(words));
        let (_, id) = self.0.split_once("RequestId: ").filter(|_| is_killed)?;
        id.split([' ', '\\', '"']).next()
    }
}

/// The words for it on Lambda, and on Managed Instances.
const KILLED: [&str; 2] = ["signal: killed", "Runtime.OutOfMemory"];

impl Members<'_> {
    /// The memory that is configured. The pages give megabytes as an integer and as a string; real
    /// captures hold bytes. A function has less than a million megabytes, and at least one.
    pub(in crate::extension) fn memory_mb(&self) -> Option<u32> {
        let number = self.instance_max_memory?;
        let mb = if number < MIB { number } else { number / MIB };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is not negative, and one that is too large becomes the largest"
        )]
        Some(mb as u32)
    }
}

impl<'de> Deserialize<'de> for Spans {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        let mut spans = Self::default();
        lenient::objects(json, &mut |span: Span<'de>| {
            match span.name.as_deref() {
                Some("responseLatency") => spans.response_latency_ms = span.duration_ms,
                Some("responseDuration") => spans.response_duration_ms = span.duration_ms,
                Some("runtimeOverhead") => spans.runtime_overhead_ms = span.duration_ms,
                Some("extensionOverhead") => spans.extension_overhead_ms = span.duration_ms,
                Some(_) | None => {}
            };
        })?;
        Ok(spans)
    }
}

/// How the member `record` is read, by the member `type`.
#[derive(Clone, Copy)]
enum Type<'a> {
    /// As an object; where it is none, the record is malformed.
    Members(fn(Box<Members<'a>>) -> Content<'a>),
    Fault,
    Ignored,
    Unknown,
}

impl Type<'_> {
    fn of(name: &str) -> Self {
        match name {
            "platform.start" => Self::Members(Content::Start),
            "platform.runtimeDone" => Self::Members(Content::RuntimeDone),
            "platform.report" => Self::Members(Content::Report),
            "platform.initStart" => Self::Members(Content::InitStart),
            "platform.initRuntimeDone" => Self::Members(Content::InitRuntimeDone),
            "platform.initReport" => Self::Members(Content::InitReport),
            "platform.restoreStart" => Self::Members(Content::RestoreStart),
            "platform.restoreRuntimeDone" => Self::Members(Content::RestoreRuntimeDone),
            "platform.restoreReport" => Self::Members(Content::RestoreReport),
            "platform.logsDropped" => Self::Members(Content::LogsDropped),
            "platform.fault" => Self::Fault,
            // No page documents `platform.end`. Log lines are not subscribed to.
            "platform.extension"
            | "platform.telemetrySubscription"
            | "platform.end"
            | "function"
            | "extension" => Self::Ignored,
            _ => Self::Unknown,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Type<'de> {
    type Value = Content<'de>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Content<'de>, D::Error> {
        match self {
            Self::Members(content) => only_object(json).map(|members| content(Box::new(members))),
            Self::Fault => {
                let text: &RawValue = Deserialize::deserialize(json)?;
                Ok(Content::Fault(Fault(text.get())))
            }
            Self::Ignored => IgnoredAny::deserialize(json).map(|_| Content::Ignored),
            Self::Unknown => IgnoredAny::deserialize(json).map(|_| Content::Unknown),
        }
    }
}

/// The members of a record itself.
#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "camelCase")]
enum Member {
    Time,
    Type,
    Record,
    #[serde(other)]
    Other,
}

/// Reads a record in one pass: the platform writes `type` before `record`. Where it stands behind,
/// the text of `record` is kept and read at the end.
impl<'de> Deserialize<'de> for Record<'de> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_map(RecordVisitor)
    }
}

struct RecordVisitor;

impl<'de> Visitor<'de> for RecordVisitor {
    type Value = Record<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Record<'de>, A::Error> {
        let mut record = Record {
            time: None,
            content: Content::Unknown,
        };
        let mut kind = None;
        // The text of `record` that is yet to be read.
        let mut unread = Some("null");
        while let Some(member) = map.next_key()? {
            match (member, kind) {
                (Member::Time, _) => {
                    let Text(stamp) = map.next_value()?;
                    record.time = stamp.and_then(|stamp| EpochMs::parse_rfc3339(stamp.as_bytes()));
                }
                (Member::Type, _) => {
                    let Text(name) = map.next_value()?;
                    kind = name.map(|name| Type::of(&name));
                }
                (Member::Record, None) => unread = Some(map.next_value::<&RawValue>()?.get()),
                (Member::Record, Some(kind)) => {
                    record.content = map.next_value_seed(kind)?;
                    unread = None;
                }
                (Member::Other, _) => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        let kind = kind.ok_or_else(|| A::Error::custom("no type"))?;
        if let Some(unread) = unread {
            let mut json = serde_json::Deserializer::from_str(unread);
            record.content = kind.deserialize(&mut json).map_err(A::Error::custom)?;
        }
        Ok(record)
    }
}

/// Bytes of a megabyte, as memory is configured and reported.
pub(in crate::extension) const MIB: f64 = 1_048_576.0;

//! The one walk through a record.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::StreamDeserializer;
use serde_json::value::RawValue;

use super::{EpochMs, Kind, Value, time};

/// One thing that the platform tells.
#[derive(Debug)]
pub(in super::super) struct Record<'a> {
    pub(in super::super) kind: Kind,
    /// By [`Field`]; empty for what is not there.
    pub(super) fields: [&'a str; FIELDS],
}

/// What is read of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Field {
    /// When the platform made the record, not when what it tells happened.
    Time,
    Type,
    /// All of it, when what it is made of is not asked for.
    Record,
    RequestId,
    Status,
    ErrorType,
    InitializationType,
    /// `init`, or `invoke` for an init that is done again when an invocation waits for it.
    Phase,
    FunctionArn,
    /// Opaque: the log stream's name, or a UUID.
    InstanceId,
    /// In megabytes or in bytes.
    InstanceMaxMemory,
    RuntimeVersion,
    DroppedBytes,
    DroppedRecords,
    TraceId,
    DurationMs,
    BilledDurationMs,
    /// In MB of 1,048,576 bytes, as memory is configured.
    MemorySizeMb,
    MaxMemoryUsedMb,
    InitDurationMs,
    RestoreDurationMs,
    BilledRestoreDurationMs,
    ProducedBytes,
    /// The duration of the span of this name, as are the next three.
    ResponseLatency,
    ResponseDuration,
    RuntimeOverhead,
    ExtensionOverhead,
    /// Of the span that was walked last, as is the next.
    SpanName,
    SpanDurationMs,
}

pub(super) const FIELDS: usize = Field::SpanDurationMs as usize + 1;

/// Where in a record the walk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Envelope,
    Record,
    Metrics,
    Tracing,
    Spans,
    Span,
}

/// What a member leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    Field(Field),
    Level(Level),
}

impl Level {
    /// The members that are known here.
    const fn members(self) -> &'static [(&'static str, Member)] {
        match self {
            Self::Envelope => &[
                ("time", Member::Field(Field::Time)),
                ("type", Member::Field(Field::Type)),
                ("record", Member::Level(Self::Record)),
            ],
            Self::Record => &[
                ("requestId", Member::Field(Field::RequestId)),
                ("status", Member::Field(Field::Status)),
                ("metrics", Member::Level(Self::Metrics)),
                ("spans", Member::Level(Self::Spans)),
                ("tracing", Member::Level(Self::Tracing)),
                ("errorType", Member::Field(Field::ErrorType)),
                (
                    "initializationType",
                    Member::Field(Field::InitializationType),
                ),
                ("phase", Member::Field(Field::Phase)),
                ("functionArn", Member::Field(Field::FunctionArn)),
                ("instanceId", Member::Field(Field::InstanceId)),
                ("instanceMaxMemory", Member::Field(Field::InstanceMaxMemory)),
                ("runtimeVersion", Member::Field(Field::RuntimeVersion)),
                ("droppedBytes", Member::Field(Field::DroppedBytes)),
                ("droppedRecords", Member::Field(Field::DroppedRecords)),
            ],
            Self::Metrics => &[
                ("durationMs", Member::Field(Field::DurationMs)),
                ("billedDurationMs", Member::Field(Field::BilledDurationMs)),
                ("memorySizeMB", Member::Field(Field::MemorySizeMb)),
                ("maxMemoryUsedMB", Member::Field(Field::MaxMemoryUsedMb)),
                ("initDurationMs", Member::Field(Field::InitDurationMs)),
                ("restoreDurationMs", Member::Field(Field::RestoreDurationMs)),
                (
                    "billedRestoreDurationMs",
                    Member::Field(Field::BilledRestoreDurationMs),
                ),
                ("producedBytes", Member::Field(Field::ProducedBytes)),
            ],
            Self::Tracing => &[("value", Member::Field(Field::TraceId))],
            Self::Span => &[
                ("name", Member::Field(Field::SpanName)),
                ("durationMs", Member::Field(Field::SpanDurationMs)),
            ],
            Self::Spans => &[],
        }
    }
}

/// The spans that are known, as they stand in JSON.
const SPANS: [(&str, Field); 4] = [
    ("\"responseLatency\"", Field::ResponseLatency),
    ("\"responseDuration\"", Field::ResponseDuration),
    ("\"runtimeOverhead\"", Field::RuntimeOverhead),
    ("\"extensionOverhead\"", Field::ExtensionOverhead),
];

impl<'a> Record<'a> {
    pub(super) const fn new() -> Self {
        Self {
            kind: Kind::Malformed,
            fields: [""; FIELDS],
        }
    }

    /// Reads the record at the front of `text`, in place of the one before. What is behind it has
    /// to begin with one of `next`, or to be nothing; it is given back.
    pub(super) fn read(&mut self, text: &'a [u8], next: &[u8]) -> &'a [u8] {
        self.kind = Kind::Malformed;
        self.fields.fill("");
        let mut json = serde_json::Deserializer::from_slice(text);
        let is_read = self.walk(&mut json, Level::Envelope);
        let values: StreamDeserializer<'_, _, IgnoredAny> = json.into_iter();
        let after = text.get(values.byte_offset()..).unwrap_or_default();
        let after = after.trim_ascii_start();
        if !is_read || after.first().is_some_and(|byte| !next.contains(byte)) {
            self.kind = Kind::Malformed;
        }
        let skipped = self.get(Field::Record).0;
        if self.kind.has_fields() && !skipped.is_empty() {
            // Its type came last.
            let mut json = serde_json::Deserializer::from_slice(skipped.as_bytes());
            self.walk(&mut json, Level::Record);
        }
        after
    }

    fn walk(&mut self, json: &mut Json<'a>, level: Level) -> bool {
        let walk = Walk {
            record: self,
            level,
        };
        json.deserialize_any(walk).is_ok()
    }

    pub(in super::super) fn text(&self, field: Field) -> Option<Cow<'a, str>> {
        self.get(field).text()
    }

    pub(in super::super) fn number(&self, field: Field) -> Option<f64> {
        self.get(field).number()
    }

    /// The memory that is configured. The pages give megabytes as an integer and as a string; real
    /// captures hold bytes. No function has a million megabytes, and none has less than a megabyte.
    pub(in super::super) fn memory_mb(&self) -> Option<u32> {
        let number = self.number(Field::InstanceMaxMemory)?;
        let mb = if number < MIB { number } else { number / MIB };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "not negative, and one that is too large becomes the largest"
        )]
        Some(mb as u32)
    }

    pub(in super::super) fn time(&self) -> Option<EpochMs> {
        time::parse(self.text(Field::Time)?.as_bytes())
    }

    /// Bytes of what was logged, as JSON.
    pub(in super::super) const fn bytes(&self) -> usize {
        self.get(Field::Record).0.len()
    }

    const fn get(&self, field: Field) -> Value<'a> {
        Value(self.fields[field as usize])
    }

    fn keep(&mut self, field: Field, value: &'a str) {
        self.fields[field as usize] = value;
        if field == Field::Type {
            let name = self.text(field);
            self.kind = name.map_or(Kind::Malformed, |name| Kind::of(&name));
        }
    }

    /// Keeps the duration of the span that was walked last by its name.
    fn keep_span(&mut self) {
        let [name, duration] = [Field::SpanName, Field::SpanDurationMs]
            .map(|field| std::mem::take(&mut self.fields[field as usize]));
        for (known, field) in SPANS {
            if known == name {
                self.keep(field, duration);
            }
        }
    }
}

type Json<'a> = serde_json::Deserializer<serde_json::de::SliceRead<'a>>;

/// All levels are walked by this one visitor. What it meets in another place than documented, it
/// skips.
struct Walk<'r, 'a> {
    record: &'r mut Record<'a>,
    level: Level,
}

impl<'a> DeserializeSeed<'a> for Walk<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Walk<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { record, level } = self;
        while let Some(member) = map.next_key_seed(Name(level))? {
            let field = match member {
                Some(Member::Field(field)) => field,
                Some(Member::Level(Level::Record)) if !record.kind.has_fields() => Field::Record,
                Some(Member::Level(level)) => {
                    map.next_value_seed(Walk { record, level })?;
                    continue;
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            record.keep(field, map.next_value::<&RawValue>()?.get());
        }
        if level == Level::Span {
            record.keep_span();
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut array: A) -> Result<(), A::Error> {
        let Self { record, level } = self;
        if level == Level::Spans {
            let level = Level::Span;
            while array.next_element_seed(Walk { record, level })?.is_some() {}
        }
        // However deep, which a walk is not.
        while array.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// Reads the name of a member of a level, with the escapes it may have.
struct Name(Level);

impl<'a> DeserializeSeed<'a> for Name {
    type Value = Option<Member>;

    fn deserialize<D: Deserializer<'a>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Option<Member>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        let mut members = self.0.members().iter();
        Ok(members
            .find(|(known, _)| *known == name)
            .map(|(_, member)| *member))
    }
}

/// Bytes of a megabyte, as memory is configured and reported.
pub(in super::super) const MIB: f64 = 1_048_576.0;

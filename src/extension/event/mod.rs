//! Telemetry: the records of a batch, borrowed from the buffer that it came in.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html>
//!
//! Nothing here refuses what it does not know. The platform answers a refusal by sending the same
//! batch again, so one record that a release of it writes differently would cost all others:
//! - a record that is no JSON object is reported as [`Malformed`] and the next one is read;
//! - an unknown type is a record of [`Content::Unknown`], an unknown member is skipped;
//! - a member that is missing, or has another type than documented, is `None`.
//!
//! A batch is split at its commas before any of it is parsed, so that a record with broken text
//! stays alone with it. No tree is built: each level of a record is walked once, as raw values.

mod time;

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer as _, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::shared::deadline::EpochMs;

/// One thing that the platform tells.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Record<'a> {
    /// When the platform made the record, not when what it tells happened.
    pub(super) time: Option<EpochMs>,
    pub(super) content: Content<'a>,
}

/// What a record tells, by its type.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Content<'a> {
    /// `platform.initStart`
    InitStart(PhaseStart<'a>),
    /// `platform.initRuntimeDone`
    InitRuntimeDone(PhaseEnd<'a>),
    /// `platform.initReport`
    InitReport(PhaseEnd<'a>),
    /// `platform.restoreStart`
    RestoreStart(PhaseStart<'a>),
    /// `platform.restoreRuntimeDone`
    RestoreRuntimeDone(PhaseEnd<'a>),
    /// `platform.restoreReport`
    RestoreReport(PhaseEnd<'a>),
    /// `platform.start`
    Start(InvocationStart<'a>),
    /// `platform.runtimeDone`
    RuntimeDone(InvocationEnd<'a>),
    /// `platform.report`
    Report(InvocationEnd<'a>),
    /// `platform.end`, which no page documents.
    End(InvocationStart<'a>),
    /// `platform.fault`, which no page documents: free text.
    Fault(Text<'a>),
    /// `platform.extension`
    Extension(ExtensionState<'a>),
    /// `platform.telemetrySubscription`
    TelemetrySubscription(ExtensionState<'a>),
    /// `platform.logsDropped`
    LogsDropped(LogsDropped<'a>),
    /// A line that the function logged, of which only the size is of interest.
    Function { bytes: usize },
    /// A line that an extension logged, of which only the size is of interest.
    ExtensionLog { bytes: usize },
    /// Any other type, by its name.
    Unknown(Text<'a>),
}

/// A string of a record.
pub(super) type Text<'a> = Cow<'a, str>;

/// How an environment began, as `platform.initStart` and `platform.restoreStart` tell it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PhaseStart<'a> {
    pub(super) initialization_type: Option<Text<'a>>,
    /// `init`, or `invoke` for an init that is done again when an invocation waits for it.
    pub(super) phase: Option<Text<'a>>,
    pub(super) function_name: Option<Text<'a>>,
    pub(super) function_version: Option<Text<'a>>,
    pub(super) function_arn: Option<Text<'a>>,
    /// Opaque: the log stream's name, or a UUID.
    pub(super) instance_id: Option<Text<'a>>,
    pub(super) instance_max_memory_bytes: Option<u64>,
    pub(super) runtime_version: Option<Text<'a>>,
    pub(super) runtime_version_arn: Option<Text<'a>>,
    pub(super) tracing: Tracing<'a>,
}

/// How a phase before the first invocation ended: for the runtime, or for all.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct PhaseEnd<'a> {
    pub(super) initialization_type: Option<Text<'a>>,
    pub(super) phase: Option<Text<'a>>,
    pub(super) status: Option<Status<'a>>,
    pub(super) error_type: Option<Text<'a>>,
    pub(super) metrics: Metrics,
    pub(super) spans: Vec<Span<'a>>,
    pub(super) tracing: Tracing<'a>,
}

/// An invocation that starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct InvocationStart<'a> {
    pub(super) request_id: Option<Text<'a>>,
    pub(super) version: Option<Text<'a>>,
    pub(super) function_arn: Option<Text<'a>>,
    pub(super) tenant_id: Option<Text<'a>>,
    pub(super) tracing: Tracing<'a>,
}

/// An invocation that ended: for the runtime, or for all.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct InvocationEnd<'a> {
    pub(super) request_id: Option<Text<'a>>,
    pub(super) status: Option<Status<'a>>,
    pub(super) error_type: Option<Text<'a>>,
    pub(super) metrics: Metrics,
    pub(super) spans: Vec<Span<'a>>,
    pub(super) tracing: Tracing<'a>,
    pub(super) tenant_id: Option<Text<'a>>,
}

/// The figures of a phase or an invocation. Each type of record has some of them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Metrics {
    pub(super) duration_ms: Option<f64>,
    pub(super) billed_duration_ms: Option<f64>,
    /// In MB of 1,048,576 bytes, as memory is configured.
    pub(super) memory_size_mb: Option<f64>,
    pub(super) max_memory_used_mb: Option<f64>,
    pub(super) init_duration_ms: Option<f64>,
    pub(super) restore_duration_ms: Option<f64>,
    pub(super) billed_restore_duration_ms: Option<f64>,
    pub(super) produced_bytes: Option<f64>,
}

/// A part of a phase.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Span<'a> {
    pub(super) name: Option<Text<'a>>,
    pub(super) start: Option<EpochMs>,
    pub(super) duration_ms: Option<f64>,
}

/// The trace that a record belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tracing<'a> {
    pub(super) span_id: Option<Text<'a>>,
    /// `X-Amzn-Trace-Id`
    pub(super) kind: Option<Text<'a>>,
    pub(super) value: Option<Text<'a>>,
}

/// An extension that changed its state, or subscribed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ExtensionState<'a> {
    pub(super) name: Option<Text<'a>>,
    pub(super) state: Option<Text<'a>>,
    /// Of the Extensions API.
    pub(super) events: Vec<Text<'a>>,
    /// Of telemetry.
    pub(super) types: Vec<Text<'a>>,
    pub(super) error_type: Option<Text<'a>>,
}

/// Records that the platform dropped before we could have them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct LogsDropped<'a> {
    pub(super) bytes: Option<f64>,
    pub(super) records: Option<f64>,
    pub(super) reason: Option<Text<'a>>,
}

/// How something ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Status<'a> {
    Success,
    /// The platform failed.
    Failure,
    /// The function or an extension failed.
    Error,
    Timeout,
    Other(Text<'a>),
}

/// A part of a batch that is no record: not a JSON object, or one without a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed {
    /// Where it begins in the batch.
    pub(super) at: usize,
    pub(super) bytes: usize,
}

/// What was in a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct BatchCounts {
    /// Parts handed out, those that are malformed or of an unknown type included.
    pub(super) records: usize,
    pub(super) malformed: usize,
    pub(super) unknown: usize,
}

/// A body that is no JSON array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotABatch;

impl fmt::Display for NotABatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body is no JSON array")
    }
}

/// Hands out the records of a body that HTTP delivered: a JSON array.
///
/// # Errors
///
/// When the body does not begin as an array. One that ends early yields what it has; its last part
/// is malformed if it was cut.
pub(super) fn records<'a>(
    batch: &'a [u8],
    each: &mut dyn FnMut(Result<Record<'a>, Malformed>),
) -> Result<BatchCounts, NotABatch> {
    let start = batch.iter().position(|byte| !is_space(*byte));
    let start = start.filter(|at| batch.get(*at) == Some(&b'['));
    let mut at = start.ok_or(NotABatch)? + 1;
    let mut counts = BatchCounts::default();
    while let Some(rest) = batch.get(at..) {
        let (length, closed) = element(rest);
        let part = rest.get(..length).unwrap_or_default();
        take(part, at, &mut counts, each);
        if closed {
            break;
        }
        at += length + 1;
    }
    Ok(counts)
}

/// Hands out the records of lines that TCP delivered. The last line needs no end.
pub(super) fn records_ndjson<'a>(
    lines: &'a [u8],
    each: &mut dyn FnMut(Result<Record<'a>, Malformed>),
) -> BatchCounts {
    let mut counts = BatchCounts::default();
    let mut at = 0;
    for line in lines.split(|byte| *byte == b'\n') {
        take(line, at, &mut counts, each);
        at += line.len() + 1;
    }
    counts
}

/// Hands out one part of a batch, unless it is blank, as the part after the last comma or line is.
fn take<'a>(
    part: &'a [u8],
    at: usize,
    counts: &mut BatchCounts,
    each: &mut dyn FnMut(Result<Record<'a>, Malformed>),
) {
    if part.iter().all(|byte| is_space(*byte)) {
        return;
    }
    let record = record(part);
    counts.records += 1;
    counts.malformed += usize::from(record.is_none());
    if let Some(Record {
        content: Content::Unknown(_),
        ..
    }) = &record
    {
        counts.unknown += 1;
    }
    let bytes = part.len();
    each(record.ok_or(Malformed { at, bytes }));
}

/// How long the element at the front of `rest` is, and whether it was the last of its array.
fn element(rest: &[u8]) -> (usize, bool) {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(byte) = rest.get(at) {
        match byte {
            b'"' => at += string(rest.get(at..).unwrap_or_default()),
            b',' if depth == 0 => return (at, false),
            b']' if depth == 0 => return (at, true),
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    (rest.len(), true)
}

/// How far the quote that ends a string is from the one that starts it.
fn string(from: &[u8]) -> usize {
    let mut at = 1;
    while let Some(next) = from
        .get(at..)
        .and_then(|rest| memchr::memchr2(b'"', b'\\', rest))
    {
        at += next;
        if from.get(at) == Some(&b'"') {
            return at;
        }
        at += 2;
    }
    from.len()
}

const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

fn record(part: &[u8]) -> Option<Record<'_>> {
    let part = std::str::from_utf8(part).ok()?;
    let (mut time, mut name, mut record) = (None, None, None);
    let walked = members(part, &mut |key, value| match key {
        "time" => time = value.time(),
        "type" => name = value.text(),
        "record" => record = Some(value),
        _ => {}
    });
    let content = content(name?, record);
    walked.ok().map(|()| Record { time, content })
}

fn content<'a>(name: Text<'a>, record: Option<Value<'a>>) -> Content<'a> {
    let bytes = record.map_or(0, |record| record.0.len());
    match &*name {
        "platform.initStart" => Content::InitStart(fill(record)),
        "platform.initRuntimeDone" => Content::InitRuntimeDone(fill(record)),
        "platform.initReport" => Content::InitReport(fill(record)),
        "platform.restoreStart" => Content::RestoreStart(fill(record)),
        "platform.restoreRuntimeDone" => Content::RestoreRuntimeDone(fill(record)),
        "platform.restoreReport" => Content::RestoreReport(fill(record)),
        "platform.start" => Content::Start(fill(record)),
        "platform.runtimeDone" => Content::RuntimeDone(fill(record)),
        "platform.report" => Content::Report(fill(record)),
        "platform.end" => Content::End(fill(record)),
        "platform.fault" => {
            Content::Fault(record.and_then(|record| record.text()).unwrap_or_default())
        }
        "platform.extension" => Content::Extension(fill(record)),
        "platform.telemetrySubscription" => Content::TelemetrySubscription(fill(record)),
        "platform.logsDropped" => Content::LogsDropped(fill(record)),
        "function" => Content::Function { bytes },
        "extension" => Content::ExtensionLog { bytes },
        _ => Content::Unknown(name),
    }
}

/// What is filled member by member.
trait Members<'a> {
    fn member(&mut self, key: &str, value: Value<'a>);
}

/// Everything of `record` that fits; the rest stays as it is by default.
fn fill<'a, T: Members<'a> + Default>(record: Option<Value<'a>>) -> T {
    let mut filled = T::default();
    if let Some(record) = record {
        record.fill(&mut filled);
    }
    filled
}

impl<'a> Members<'a> for PhaseStart<'a> {
    fn member(&mut self, key: &str, value: Value<'a>) {
        match key {
            "initializationType" => self.initialization_type = value.text(),
            "phase" => self.phase = value.text(),
            "functionName" => self.function_name = value.text(),
            "functionVersion" => self.function_version = value.text(),
            "functionArn" => self.function_arn = value.text(),
            "instanceId" => self.instance_id = value.text(),
            "instanceMaxMemory" => self.instance_max_memory_bytes = value.memory_bytes(),
            "runtimeVersion" => self.runtime_version = value.text(),
            // Early pages call it runtimeArn.
            "runtimeVersionArn" | "runtimeArn" => self.runtime_version_arn = value.text(),
            "tracing" => value.fill(&mut self.tracing),
            _ => {}
        }
    }
}

impl<'a> Members<'a> for PhaseEnd<'a> {
    fn member(&mut self, key: &str, value: Value<'a>) {
        match key {
            "initializationType" => self.initialization_type = value.text(),
            "phase" => self.phase = value.text(),
            "status" => self.status = value.status(),
            "errorType" => self.error_type = value.text(),
            "metrics" => value.fill(&mut self.metrics),
            "spans" => self.spans = value.spans(),
            "tracing" => value.fill(&mut self.tracing),
            _ => {}
        }
    }
}

impl<'a> Members<'a> for InvocationStart<'a> {
    fn member(&mut self, key: &str, value: Value<'a>) {
        match key {
            "requestId" => self.request_id = value.text(),
            "version" => self.version = value.text(),
            "functionArn" => self.function_arn = value.text(),
            "tenantId" => self.tenant_id = value.text(),
            "tracing" => value.fill(&mut self.tracing),
            _ => {}
        }
    }
}

impl<'a> Members<'a> for InvocationEnd<'a> {
    fn member(&mut self, key: &str, value: Value<'a>) {
        match key {
            "requestId" => self.request_id = value.text(),
            "status" => self.status = value.status(),
            "errorType" => self.error_type = value.text(),
            "metrics" => value.fill(&mut self.metrics),
            "spans" => self.spans = value.spans(),
            "tracing" => value.fill(&mut self.tracing),
            "tenantId" => self.tenant_id = value.text(),
            _ => {}
        }
    }
}

impl<'a> Members<'a> for Metrics {
    fn member(&mut self, key: &str, value: Value<'a>) {
        let field = match key {
            "durationMs" => &mut self.duration_ms,
            "billedDurationMs" => &mut self.billed_duration_ms,
            "memorySizeMB" => &mut self.memory_size_mb,
            "maxMemoryUsedMB" => &mut self.max_memory_used_mb,
            "initDurationMs" => &mut self.init_duration_ms,
            "restoreDurationMs" => &mut self.restore_duration_ms,
            "billedRestoreDurationMs" => &mut self.billed_restore_duration_ms,
            "producedBytes" => &mut self.produced_bytes,
            _ => return,
        };
        *field = value.number();
    }
}

impl<'a> Members<'a> for Span<'a> {
    fn member(&mut self, key: &str, value: Value<'a>) {
        match key {
            "name" => self.name = value.text(),
            "start" => self.start = value.time(),
            "durationMs" => self.duration_ms = value.number(),
            _ => {}
        }
    }
}

impl<'a> Members<'a> for Tracing<'a> {
    fn member(&mut self, key: &str, value: Value<'a>) {
        match key {
            "spanId" => self.span_id = value.text(),
            "type" => self.kind = value.text(),
            "value" => self.value = value.text(),
            _ => {}
        }
    }
}

impl<'a> Members<'a> for ExtensionState<'a> {
    fn member(&mut self, key: &str, value: Value<'a>) {
        match key {
            "name" => self.name = value.text(),
            "state" => self.state = value.text(),
            "events" => self.events = value.texts(),
            "types" => self.types = value.texts(),
            "errorType" => self.error_type = value.text(),
            _ => {}
        }
    }
}

impl<'a> Members<'a> for LogsDropped<'a> {
    fn member(&mut self, key: &str, value: Value<'a>) {
        match key {
            "droppedBytes" => self.bytes = value.number(),
            "droppedRecords" => self.records = value.number(),
            "reason" => self.reason = value.text(),
            _ => {}
        }
    }
}

/// The text of a JSON value, which is well formed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value<'a>(&'a str);

impl<'a> Value<'a> {
    pub(super) fn text(self) -> Option<Text<'a>> {
        let inner = self.0.strip_prefix('"')?.strip_suffix('"')?;
        if inner.contains('\\') {
            // A copy has to be made, and what is not borrowed has a limit.
            if TEXT_BYTES_MAX < inner.len() {
                return None;
            }
            return serde_json::from_slice(self.0.as_bytes())
                .ok()
                .map(Cow::Owned);
        }
        Some(Cow::Borrowed(inner))
    }

    /// Like [`Self::text`], for what outlives the buffer.
    #[inline(never)]
    pub(super) fn string(self) -> Option<String> {
        self.text().map(Cow::into_owned)
    }

    /// A number that is not negative, whole or not, in quotes or not. One that is too large to be
    /// counted with is none, so that sums and times made of it stay numbers.
    pub(super) fn number(self) -> Option<f64> {
        let digits = self.0.trim_matches('"');
        let number: f64 = serde_json::from_slice(digits.as_bytes()).ok()?;
        Some(number).filter(|number| (0.0..=NUMBER_MAX).contains(number))
    }

    /// The pages give megabytes as an integer and as a string; real captures hold bytes. No
    /// function has a million megabytes, and none has less than a megabyte.
    fn memory_bytes(self) -> Option<u64> {
        let number = self.number()?;
        let bytes = if number < MIB { number * MIB } else { number };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and 2^53"
        )]
        Some(bytes as u64)
    }

    fn time(self) -> Option<EpochMs> {
        time::parse(self.text()?.as_bytes())
    }

    fn status(self) -> Option<Status<'a>> {
        let text = self.text()?;
        Some(match &*text {
            "success" => Status::Success,
            "failure" => Status::Failure,
            "error" => Status::Error,
            "timeout" => Status::Timeout,
            _ => Status::Other(text),
        })
    }

    fn spans(self) -> Vec<Span<'a>> {
        let mut spans = Vec::new();
        self.elements(&mut |value| {
            if spans.len() < PARTS_MAX {
                spans.push(fill(Some(value)));
            }
        });
        spans
    }

    fn texts(self) -> Vec<Text<'a>> {
        let mut texts = Vec::new();
        self.elements(&mut |value| {
            if texts.len() < PARTS_MAX {
                texts.extend(value.text());
            }
        });
        texts
    }

    fn fill(self, into: &mut dyn Members<'a>) {
        self.members(&mut |key, value| into.member(key, value));
    }

    /// Hands out the members of an object. What is none has none.
    pub(super) fn members(self, each: &mut dyn FnMut(&str, Self)) {
        members(self.0, each).ok();
    }

    fn elements(self, each: &mut dyn FnMut(Self)) {
        // What is no array has no elements.
        let mut json = serde_json::Deserializer::from_slice(self.0.as_bytes());
        json.deserialize_seq(Elements(each)).ok();
    }
}

/// Hands out the members of a JSON object. Of members with the same name, the last is to count.
pub(super) fn members<'a>(
    object: &'a str,
    each: &mut dyn FnMut(&str, Value<'a>),
) -> Result<(), serde_json::Error> {
    // As bytes, like everything else that is read: text would be all of the parser once more.
    let mut json = serde_json::Deserializer::from_slice(object.as_bytes());
    json.deserialize_map(Object(each))?;
    json.end()
}

/// All objects are read by this one visitor: a derived one for each type would be as much code
/// again for each, and would fail where this skips.
struct Object<'f, 'a>(&'f mut dyn FnMut(&str, Value<'a>));

impl<'a> Visitor<'a> for Object<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some((key, value)) = map.next_entry::<&'a RawValue, &'a RawValue>()? {
            let key = Value(key.get()).text();
            let key = key.ok_or_else(|| A::Error::custom("a key that is no string"))?;
            (self.0)(&key, Value(value.get()));
        }
        Ok(())
    }
}

struct Elements<'f, 'a>(&'f mut dyn FnMut(Value<'a>));

impl<'a> Visitor<'a> for Elements<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut array: A) -> Result<(), A::Error> {
        while let Some(value) = array.next_element::<&'a RawValue>()? {
            (self.0)(Value(value.get()));
        }
        Ok(())
    }
}

/// Bytes of a megabyte, as memory is configured and reported.
const MIB: f64 = 1_048_576.0;

/// 2^53, up to which a double has every whole number.
const NUMBER_MAX: f64 = 9_007_199_254_740_992.0;

/// Bytes of a text with escapes. None that is read here has any, and those that could are short.
const TEXT_BYTES_MAX: usize = 4_096;

/// Spans, events or types of one record that are kept. The platform sends up to three.
const PARTS_MAX: usize = 16;

#[cfg(test)]
mod tests;

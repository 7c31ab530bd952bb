//! Telemetry: the records of a batch, borrowed from the buffer that it came in.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html>
//!
//! Nothing here refuses what it does not know. The platform answers a refusal by sending the same
//! batch again, so one record that a release of it writes differently would cost all others:
//! - what is no JSON object with a type is [`Kind::Malformed`], and the next record is read;
//! - an unknown type is a record of [`Kind::Unknown`], an unknown member is skipped;
//! - a member that is missing, or has another type than documented, is `None`. A number that no
//!   double can hold where an object is to be costs the record.
//!
//! A record is walked once. What is asked for later is kept as the JSON text that it is.

mod time;
mod value;
mod walk;

use crate::shared::time::EpochMs;

pub(super) use self::time::days_since_1970;
pub(super) use self::value::{Value, members};
pub(super) use self::walk::{Field, MIB, Record};

/// What a record tells, by its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    InitStart,
    InitRuntimeDone,
    InitReport,
    RestoreStart,
    RestoreRuntimeDone,
    RestoreReport,
    /// Of an invocation, like the next two.
    Start,
    RuntimeDone,
    Report,
    LogsDropped,
    /// A line that the function logged.
    Function,
    /// A line that an extension logged.
    Extension,
    /// A type that is known, and tells nothing that is counted.
    Other,
    Unknown,
    /// No JSON object, or one without a type.
    Malformed,
}

/// The types, those of every invocation first. Two of them no page documents: `platform.end` and
/// `platform.fault`.
const KINDS: [(&str, Kind); 16] = [
    ("platform.start", Kind::Start),
    ("platform.runtimeDone", Kind::RuntimeDone),
    ("platform.report", Kind::Report),
    ("function", Kind::Function),
    ("extension", Kind::Extension),
    ("platform.initStart", Kind::InitStart),
    ("platform.initRuntimeDone", Kind::InitRuntimeDone),
    ("platform.initReport", Kind::InitReport),
    ("platform.restoreStart", Kind::RestoreStart),
    ("platform.restoreRuntimeDone", Kind::RestoreRuntimeDone),
    ("platform.restoreReport", Kind::RestoreReport),
    ("platform.logsDropped", Kind::LogsDropped),
    ("platform.extension", Kind::Other),
    ("platform.telemetrySubscription", Kind::Other),
    ("platform.end", Kind::Other),
    ("platform.fault", Kind::Other),
];

impl Kind {
    fn of(name: &str) -> Self {
        let mut kinds = KINDS.iter();
        let kind = kinds.find(|(known, _)| *known == name);
        kind.map_or(Self::Unknown, |(_, kind)| *kind)
    }

    /// Whether [`Field`]s are read of records of this kind.
    const fn has_fields(self) -> bool {
        match self {
            Self::InitStart
            | Self::InitRuntimeDone
            | Self::InitReport
            | Self::RestoreStart
            | Self::RestoreRuntimeDone
            | Self::RestoreReport
            | Self::Start
            | Self::RuntimeDone
            | Self::Report
            | Self::LogsDropped => true,
            Self::Function | Self::Extension | Self::Other | Self::Unknown | Self::Malformed => {
                false
            }
        }
    }
}

/// A body that is no JSON array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotABatch;

/// Hands out the records of a body that HTTP delivered: a JSON array.
///
/// # Errors
///
/// When the body does not begin as an array. One that ends early yields what it has; its last part
/// is malformed if it was cut.
pub(super) fn records<'a>(
    batch: &'a [u8],
    each: &mut dyn FnMut(&Record<'a>),
) -> Result<(), NotABatch> {
    let mut rest = batch.trim_ascii_start();
    rest = rest.strip_prefix(b"[").ok_or(NotABatch)?;
    let mut record = Record::new();
    loop {
        rest = rest.trim_ascii_start();
        if !matches!(rest.first(), None | Some(b',' | b']')) {
            let after = record.read(rest, b",]");
            each(&record);
            rest = if record.kind == Kind::Malformed {
                after_element(rest)
            } else {
                after
            };
        }
        match rest.split_first() {
            Some((b',', after)) => rest = after,
            _ => return Ok(()),
        }
    }
}

/// Hands out the records of lines.
#[cfg(test)]
pub(super) fn records_ndjson<'a>(lines: &'a [u8], each: &mut dyn FnMut(&Record<'a>)) {
    let mut record = Record::new();
    for line in lines.split(|byte| *byte == b'\n') {
        if !line.trim_ascii().is_empty() {
            record.read(line, b"");
            each(&record);
        }
    }
}

/// What is behind the element at the front, which is no record: a comma, or the end of the array.
fn after_element(rest: &[u8]) -> &[u8] {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(byte) = rest.get(at) {
        match byte {
            b'"' => at += string(rest.get(at..).unwrap_or_default()),
            b',' | b']' if depth == 0 => break,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    rest.get(at..).unwrap_or_default()
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

#[cfg(test)]
mod tests;

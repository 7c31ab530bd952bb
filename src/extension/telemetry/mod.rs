//! Telemetry: the records of a batch, borrowed from the buffer that it came in.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html>
//!
//! [`record`] has the types of a record, [`lenient`] reads its members, and [`split`] cuts a
//! batch into records. All of it is pure: bytes in, records out.
//!
//! Nothing here refuses what it does not know. The platform answers a refusal with the same batch
//! again, so one record that a new release writes differently would cost all the others:
//! - an element that is not an object with a type is malformed, and the next one is read;
//! - an unknown type is [`Content::Unknown`], an unknown member is skipped;
//! - a member that is missing, or has another type than documented, is `None`.
//!
//! A record is malformed as a whole for faults that the platform does not make: a member that
//! stands in its `record` twice, a string with half a surrogate pair, and a number too large for a
//! double where there should be a string, an object or an array.

mod lenient;
mod record;
mod split;

pub(super) use self::record::{Content, Fault, MIB, Members, Metrics, Record, Spans};
pub(super) use self::split::{Malformed, Records, records};

#[cfg(test)]
mod tests;

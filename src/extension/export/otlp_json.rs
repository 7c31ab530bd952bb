//! The JSON encoding of OTLP, where it differs from protobuf's own:
//! <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>.
//! Names are in lower camel case, integers of 64 bits are strings, enumerations are numbers.

use super::super::event;
use super::otlp::{Field, Output};
use super::{comma, key, member, number};
use crate::shared::text::push_decimal;

/// A document that is being written.
#[derive(Debug)]
pub(super) struct Json {
    bytes: Vec<u8>,
}

impl Default for Json {
    fn default() -> Self {
        Self { bytes: vec![b'{'] }
    }
}

impl Json {
    /// The bytes of the document; all that was opened must have been closed.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bytes.push(b'}');
        self.bytes
    }

    fn quoted(&mut self, value: u64) {
        self.bytes.push(b'"');
        push_decimal(&mut self.bytes, value);
        self.bytes.push(b'"');
    }

    fn decimal(&mut self, value: f64) {
        number(value, DECIMALS, &mut self.bytes);
    }
}

impl Output for Json {
    fn open(&mut self, field: Field) {
        key(field.1, &mut self.bytes);
        self.bytes.push(b'{');
    }

    fn open_item(&mut self, _: Field) {
        comma(&mut self.bytes);
        self.bytes.push(b'{');
    }

    fn close(&mut self) {
        self.bytes.push(b'}');
    }

    fn open_list(&mut self, field: Field) {
        key(field.1, &mut self.bytes);
        self.bytes.push(b'[');
    }

    fn close_list(&mut self) {
        self.bytes.push(b']');
    }

    fn string(&mut self, field: Field, value: &str) {
        member(field.1, value, &mut self.bytes);
    }

    fn set(&mut self, field: Field) {
        key(field.1, &mut self.bytes);
        self.bytes.extend_from_slice(b"true");
    }

    fn variant(&mut self, field: Field, value: u8) {
        key(field.1, &mut self.bytes);
        push_decimal(&mut self.bytes, value.into());
    }

    fn int64(&mut self, field: Field, value: u64) {
        key(field.1, &mut self.bytes);
        self.quoted(value);
    }

    fn fixed64(&mut self, field: Field, value: u64) {
        self.int64(field, value);
    }

    fn double(&mut self, field: Field, value: f64) {
        key(field.1, &mut self.bytes);
        self.decimal(value);
    }

    fn fixed64s(&mut self, field: Field, values: &[u64]) {
        self.open_list(field);
        for value in values {
            comma(&mut self.bytes);
            self.quoted(*value);
        }
        self.close_list();
    }

    fn doubles(&mut self, field: Field, values: &[f64]) {
        self.open_list(field);
        for value in values {
            comma(&mut self.bytes);
            self.decimal(*value);
        }
        self.close_list();
    }
}

/// `partialSuccess.rejectedDataPoints` of an `ExportMetricsServiceResponse`; 0 when it is not there
/// or the document is malformed.
pub(super) fn rejected(response: &[u8]) -> u64 {
    let mut rejected = None;
    let response = str::from_utf8(response).unwrap_or_default();
    let read = event::members(response, &mut |key, value| {
        if key == "partialSuccess" {
            value.members(&mut |key, value| {
                if key == "rejectedDataPoints" {
                    // A string by the rules, but receivers write numbers too.
                    rejected = value.number();
                }
            });
        }
    });
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and 2^53"
    )]
    read.map_or(0, |()| rejected.unwrap_or_default() as u64)
}

/// Decimals of a double: a microsecond, in seconds.
const DECIMALS: u32 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejected_points_are_a_string_or_a_number() {
        let table: [(&str, u64); 9] = [
            (
                r#"{"partialSuccess":{"rejectedDataPoints":"5","errorMessage":"e"}}"#,
                5,
            ),
            (
                r#"{"partialSuccess":{"errorMessage":"e","rejectedDataPoints":5}, "x":1}"#,
                5,
            ),
            (r#"{"partialSuccess":{}}"#, 0),
            (r#"{"partialSuccess":null}"#, 0),
            (r#"{"partialSuccess":{"rejectedDataPoints":null}}"#, 0),
            (r#"{"partialSuccess":{"rejectedDataPoints":-1}}"#, 0),
            ("{}", 0),
            ("", 0),
            ("\u{0}", 0),
        ];
        for (response, expected) in table {
            assert_eq!(rejected(response.as_bytes()), expected, "{response}");
        }
    }
}

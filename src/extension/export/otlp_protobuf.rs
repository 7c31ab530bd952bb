//! The binary encoding of OTLP: protobuf as <https://protobuf.dev/programming-guides/encoding/>
//! has it, as much of it as the messages need.

use super::otlp::{Field, Output};

/// A message that is being written.
#[derive(Debug, Default)]
pub(super) struct Protobuf {
    bytes: Vec<u8>,
    /// Where the contents of the open messages start, outermost first.
    open: Vec<usize>,
}

impl Protobuf {
    /// The bytes of the message; all that was opened must have been closed.
    pub(super) fn finish(self) -> Vec<u8> {
        debug_assert!(self.open.is_empty());
        self.bytes
    }

    fn tag(&mut self, field: Field, wire_type: u8) {
        // The highest number is 12, so number and type share one byte.
        debug_assert!(field.0 < 16);
        self.bytes.push(field.0 << 3 | wire_type);
    }

    fn varint(&mut self, mut value: u64) {
        while 0x7F < value {
            self.bytes.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.bytes.push(value.to_le_bytes()[0]);
    }

    fn packed(&mut self, field: Field, values: &mut dyn ExactSizeIterator<Item = [u8; 8]>) {
        self.tag(field, LENGTH);
        self.varint(8 * values.len() as u64);
        for value in values {
            self.bytes.extend_from_slice(&value);
        }
    }
}

impl Output for Protobuf {
    fn open(&mut self, field: Field) {
        self.tag(field, LENGTH);
        self.open.push(self.bytes.len());
    }

    fn open_item(&mut self, field: Field) {
        self.open(field);
    }

    /// The length of a message stands in front of it and is known only here. Moving the few
    /// kilobytes behind it is cheaper than a pass over the messages that only measures.
    fn close(&mut self) {
        let start = self.open.pop().unwrap_or_default();
        let end = self.bytes.len();
        self.varint((end - start) as u64);
        let length_bytes = self.bytes.len() - end;
        if let Some(message) = self.bytes.get_mut(start..) {
            message.rotate_right(length_bytes);
        }
    }

    /// A list is its items: each carries the number of the field.
    fn open_list(&mut self, _: Field) {}

    fn close_list(&mut self) {}

    fn string(&mut self, field: Field, value: &str) {
        self.tag(field, LENGTH);
        self.varint(value.len() as u64);
        self.bytes.extend_from_slice(value.as_bytes());
    }

    fn set(&mut self, field: Field) {
        self.variant(field, 1);
    }

    fn variant(&mut self, field: Field, value: u8) {
        self.int64(field, value.into());
    }

    fn int64(&mut self, field: Field, value: u64) {
        self.tag(field, VARINT);
        self.varint(value);
    }

    fn fixed64(&mut self, field: Field, value: u64) {
        self.tag(field, FIXED64);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    fn double(&mut self, field: Field, value: f64) {
        self.fixed64(field, value.to_bits());
    }

    fn fixed64s(&mut self, field: Field, values: &[u64]) {
        self.packed(field, &mut values.iter().map(|value| value.to_le_bytes()));
    }

    fn doubles(&mut self, field: Field, values: &[f64]) {
        self.packed(field, &mut values.iter().map(|value| value.to_le_bytes()));
    }
}

/// `partial_success.rejected_data_points` of an `ExportMetricsServiceResponse`; 0 when it is not
/// there or the message is malformed.
pub(super) fn rejected(response: &[u8]) -> u64 {
    match find(response, 1) {
        Some(Value::Bytes(partial_success)) => match find(partial_success, 1) {
            // A negative `int64` is a number no receiver means.
            Some(Value::Number(rejected)) if i64::try_from(rejected).is_ok() => rejected,
            Some(Value::Number(_)) => 0,
            Some(Value::Bytes(_)) | None => 0,
        },
        Some(Value::Number(_)) | None => 0,
    }
}

/// The value of a field, as far as its wire type says what it is.
#[derive(Debug)]
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The first field of `message` with this number.
fn find(mut message: &[u8], number: u64) -> Option<Value<'_>> {
    loop {
        let tag = take_varint(&mut message)?;
        let value = match u8::try_from(tag & 7) {
            Ok(VARINT) => Value::Number(take_varint(&mut message)?),
            Ok(FIXED64) => Value::Bytes(take(&mut message, 8)?),
            Ok(LENGTH) => {
                let length = take_varint(&mut message)?;
                Value::Bytes(take(&mut message, usize::try_from(length).ok()?)?)
            }
            Ok(FIXED32) => Value::Bytes(take(&mut message, 4)?),
            Ok(_) | Err(_) => return None,
        };
        if tag >> 3 == number {
            return Some(value);
        }
    }
}

fn take<'a>(message: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = message.split_at_checked(count)?;
    *message = rest;
    Some(taken)
}

fn take_varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for place in 0..10 {
        let byte = take(message, 1)?.first()?;
        value |= u64::from(byte & 0x7F) << (7 * place);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const LENGTH: u8 = 2;
const FIXED32: u8 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_bytes() {
        let mut out = Protobuf::default();
        out.open_list((1, "a"));
        out.open_item((1, "a"));
        out.string((1, "b"), "hi");
        out.open((2, "c"));
        out.int64((3, "d"), 300);
        out.set((4, "e"));
        out.close();
        out.close();
        out.close_list();
        out.fixed64((6, "f"), 1);
        out.double((4, "g"), 1.0);
        out.fixed64s((6, "h"), &[2]);
        let expected = b"\x0A\x0B\
            \x0A\x02hi\
            \x12\x05\x18\xAC\x02\x20\x01\
            \x31\x01\0\0\0\0\0\0\0\
            \x21\0\0\0\0\0\0\xF0\x3F\
            \x32\x08\x02\0\0\0\0\0\0\0";
        assert_eq!(out.finish(), expected);
    }

    #[test]
    fn rejected_points_are_found_behind_other_fields() {
        let table: [(&[u8], u64); 13] = [
            (b"", 0),
            (b"\x0A\0", 0),
            (b"\x0A\x02\x08\x05", 5),
            (b"\x0A\x03\x08\xAC\x02", 300),
            (
                b"\x10\x01\x19........\x25....\x2A\x01x\x0A\x05\x12\x01e\x08\x07",
                7,
            ),
            (b"\x0A\x03\x08\xAC", 0),
            (b"\x0A\x7F\x08\x05", 0),
            (b"\x08\x05", 0),
            (b"\x0A\x03\x0A\x01x", 0),
            (b"\x0B\x08\x05", 0),
            (b"\x0A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F", 0),
            (b"\x0A\x0B\x08\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", 0),
            (&[0xFF; 64], 0),
        ];
        for (response, expected) in table {
            assert_eq!(rejected(response), expected, "{response:?}");
        }
    }

    #[test]
    fn long_messages_have_long_lengths() {
        for length in [0, 1, 125, 126, 127, 16_380, 16_384, 2_097_152] {
            let mut out = Protobuf::default();
            out.open((1, "a"));
            out.open((1, "b"));
            out.string((1, "c"), &"x".repeat(length));
            out.close();
            out.close();
            let text: [prost::bytes::Bytes; 1] = [out.finish().into()];
            let mut rest = text[0].clone();
            for _ in 0..3 {
                let (field, wire_type) = prost::encoding::decode_key(&mut rest).unwrap();
                assert_eq!((field, wire_type as u8), (1, LENGTH));
                let inner = prost::encoding::decode_varint(&mut rest).unwrap();
                assert_eq!(inner, rest.len() as u64, "{length}");
            }
            assert_eq!(rest.len(), length);
        }
    }
}

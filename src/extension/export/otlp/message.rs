//! A message of protobuf that is being written, as far as the messages of OTLP need it.
//!
//! <https://protobuf.dev/programming-guides/encoding/>

/// The bytes of a message. Fields are named by their numbers.
#[derive(Debug, Default)]
pub(super) struct Message {
    bytes: Vec<u8>,
}

impl Message {
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Writes a message that is a field of this one.
    pub(super) fn message(&mut self, field: u8, write: &mut dyn FnMut(&mut Self)) {
        self.tag(field, LENGTH);
        let start = self.bytes.len();
        write(self);
        // The length stands in front and is known only here. Moving the few kilobytes behind it is
        // cheaper than a pass that only measures.
        let end = self.bytes.len();
        self.varint((end - start) as u64);
        let length_bytes = self.bytes.len() - end;
        if let Some(contents) = self.bytes.get_mut(start..) {
            contents.rotate_right(length_bytes);
        }
    }

    pub(super) fn string(&mut self, field: u8, value: &str) {
        self.bytes(field, value.as_bytes());
    }

    pub(super) fn bytes(&mut self, field: u8, value: &[u8]) {
        self.tag(field, LENGTH);
        self.varint(value.len() as u64);
        self.bytes.extend_from_slice(value);
    }

    /// Writes a `bool`, an enumeration, or an `int64` that is not negative.
    pub(super) fn integer(&mut self, field: u8, value: u64) {
        self.tag(field, VARINT);
        self.varint(value);
    }

    /// Writes a `fixed64`, or an `sfixed64` that is not negative.
    pub(super) fn fixed(&mut self, field: u8, value: u64) {
        self.tag(field, FIXED64);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn double(&mut self, field: u8, value: f64) {
        self.fixed(field, value.to_bits());
    }

    /// Writes a list of `fixed64`, or of the bits of `double`.
    pub(super) fn packed(&mut self, field: u8, values: &mut dyn ExactSizeIterator<Item = u64>) {
        self.tag(field, LENGTH);
        self.varint(values.len() as u64 * 8);
        for value in values {
            self.bytes.extend_from_slice(&value.to_le_bytes());
        }
    }

    fn tag(&mut self, field: u8, wire_type: u8) {
        // The highest field is 15, so number and type share one byte.
        debug_assert!(field < 16);
        self.bytes.push(field << 3 | wire_type);
    }

    fn varint(&mut self, mut value: u64) {
        while 0x7F < value {
            self.bytes.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.bytes.push(value.to_le_bytes()[0]);
    }
}

// Wire types.
pub(super) const VARINT: u8 = 0;
pub(super) const FIXED64: u8 = 1;
pub(super) const LENGTH: u8 = 2;
pub(super) const FIXED32: u8 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_bytes() {
        let mut out = Message::default();
        out.message(1, &mut |out| {
            out.string(1, "hi");
            out.message(2, &mut |out| {
                out.integer(3, 300);
                out.integer(4, 1);
            });
        });
        out.fixed(6, 1);
        out.double(4, 1.0);
        out.packed(6, &mut [2, 3].into_iter());
        let expected = b"\x0A\x0B\
            \x0A\x02hi\
            \x12\x05\x18\xAC\x02\x20\x01\
            \x31\x01\0\0\0\0\0\0\0\
            \x21\0\0\0\0\0\0\xF0\x3F\
            \x32\x10\x02\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0";
        assert_eq!(out.into_bytes(), expected);
    }

    #[test]
    fn long_messages_have_long_lengths() {
        for length in [0, 1, 125, 126, 127, 16_380, 16_384, 2_097_152] {
            let mut out = Message::default();
            let text = "x".repeat(length);
            out.message(1, &mut |out| {
                out.message(1, &mut |out| out.string(1, &text));
            });
            let mut rest: prost::bytes::Bytes = out.into_bytes().into();
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

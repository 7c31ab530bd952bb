//! A message of OTLP that is being written, in one of the two encodings.
//!
//! Protobuf as <https://protobuf.dev/programming-guides/encoding/> has it, as much of it as the
//! messages need. JSON as OTLP has it: names are in lower camel case, integers of 64 bits are
//! strings, enumerations are numbers,
//! <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>.

use super::Encoding;
use crate::extension::export::{comma, key, number};
use crate::shared::json;
use crate::shared::text::{push, push_decimal};

/// A document: what was written and what is open.
///
/// Each field is named by its number in protobuf and its name in JSON; in a list it has neither.
#[derive(Debug)]
pub(super) struct Document {
    encoding: Encoding,
    bytes: Vec<u8>,
    /// What is open, outermost first, and where its contents start.
    open: Vec<(Group, usize)>,
}

/// What holds fields or values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    Message,
    /// A list of messages. In protobuf it is its items: each carries the number of the field.
    List,
    /// A list of numbers of 64 bits.
    Packed,
}

/// How protobuf writes an integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    /// An `int64`; ours are not negative.
    Varint,
    /// An `sfixed64` or `fixed64`; ours are not negative.
    Fixed,
}

impl Document {
    pub(super) fn new(encoding: Encoding) -> Self {
        let start: &[u8] = match encoding {
            Encoding::Json => b"{",
            // The outermost message has no frame.
            Encoding::Protobuf => b"",
        };
        Self {
            encoding,
            bytes: start.to_vec(),
            open: Vec::new(),
        }
    }

    /// Ends what is open. The bytes of the document.
    pub(super) fn finish(mut self) -> Vec<u8> {
        while !self.open.is_empty() {
            self.close();
        }
        if self.encoding == Encoding::Json {
            push(&mut self.bytes, "}");
        }
        self.bytes
    }

    pub(super) fn open(&mut self, number: u8, name: &str, group: Group) {
        if self.encoding == Encoding::Json {
            self.start(number, name, LENGTH);
            let bracket = if group == Group::Message { "{" } else { "[" };
            push(&mut self.bytes, bracket);
        } else if group != Group::List {
            self.start(number, name, LENGTH);
        }
        self.open.push((group, self.bytes.len()));
    }

    /// Ends what was opened last.
    pub(super) fn close(&mut self) {
        let Some((group, start)) = self.open.pop() else {
            return;
        };
        match (self.encoding, group) {
            (Encoding::Json, Group::Message) => push(&mut self.bytes, "}"),
            (Encoding::Json, Group::List | Group::Packed) => push(&mut self.bytes, "]"),
            (Encoding::Protobuf, Group::List) => {}
            (Encoding::Protobuf, Group::Message | Group::Packed) => {
                // The length stands in front and is known only here. Moving the few kilobytes
                // behind it is cheaper than a pass over the messages that only measures.
                let end = self.bytes.len();
                self.varint((end - start) as u64);
                let length_bytes = self.bytes.len() - end;
                if let Some(contents) = self.bytes.get_mut(start..) {
                    contents.rotate_right(length_bytes);
                }
            }
        }
    }

    pub(super) fn string(&mut self, number: u8, name: &str, value: &str) {
        self.start(number, name, LENGTH);
        match self.encoding {
            Encoding::Json => json::write_str(value, json::Charset::Utf8, &mut self.bytes),
            Encoding::Protobuf => {
                self.varint(value.len() as u64);
                push(&mut self.bytes, value);
            }
        }
    }

    /// Writes what is 1 in protobuf, and `text` in JSON.
    pub(super) fn literal(&mut self, number: u8, name: &str, text: &str) {
        self.start(number, name, VARINT);
        match self.encoding {
            Encoding::Json => push(&mut self.bytes, text),
            Encoding::Protobuf => self.bytes.push(1),
        }
    }

    pub(super) fn integer(&mut self, number: u8, name: &str, width: Width, value: u64) {
        let wire_type = match width {
            Width::Varint => VARINT,
            Width::Fixed => FIXED64,
        };
        self.start(number, name, wire_type);
        match (self.encoding, width) {
            (Encoding::Json, _) => {
                push(&mut self.bytes, "\"");
                push_decimal(&mut self.bytes, value);
                push(&mut self.bytes, "\"");
            }
            (Encoding::Protobuf, Width::Varint) => self.varint(value),
            (Encoding::Protobuf, Width::Fixed) => {
                self.bytes.extend_from_slice(&value.to_le_bytes());
            }
        }
    }

    pub(super) fn double(&mut self, field: u8, name: &str, value: f64) {
        match self.encoding {
            Encoding::Json => {
                self.start(field, name, FIXED64);
                number(value, SCALE, &mut self.bytes);
            }
            Encoding::Protobuf => self.integer(field, name, Width::Fixed, value.to_bits()),
        }
    }

    /// Writes what stands before a value.
    fn start(&mut self, number: u8, name: &str, wire_type: u8) {
        let within = self.open.last().map(|(group, _)| *group);
        match (self.encoding, within) {
            (Encoding::Json, Some(Group::List | Group::Packed)) => comma(&mut self.bytes),
            (Encoding::Json, Some(Group::Message) | None) => key(name, &mut self.bytes),
            (Encoding::Protobuf, Some(Group::Packed)) => {}
            (Encoding::Protobuf, Some(Group::Message | Group::List) | None) => {
                // The highest number is 12, so number and type share one byte.
                debug_assert!(number < 16);
                self.bytes.push(number << 3 | wire_type);
            }
        }
    }

    fn varint(&mut self, mut value: u64) {
        while 0x7F < value {
            self.bytes.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.bytes.push(value.to_le_bytes()[0]);
    }
}

/// The scale of a double in JSON: a microsecond, in seconds.
const SCALE: u64 = 1_000_000;

// Wire types of protobuf.
pub(super) const VARINT: u8 = 0;
pub(super) const FIXED64: u8 = 1;
pub(super) const LENGTH: u8 = 2;
pub(super) const FIXED32: u8 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_bytes() {
        let write = |encoding| {
            let mut out = Document::new(encoding);
            out.open(1, "a", Group::List);
            out.open(1, "a", Group::Message);
            out.string(1, "b", "hi");
            out.open(2, "c", Group::Message);
            out.integer(3, "d", Width::Varint, 300);
            out.literal(4, "e", "true");
            out.close();
            out.close();
            out.close();
            out.integer(6, "f", Width::Fixed, 1);
            out.double(4, "g", 1.0);
            out.open(6, "h", Group::Packed);
            out.integer(6, "h", Width::Fixed, 2);
            out.integer(6, "h", Width::Fixed, 3);
            out.finish()
        };
        let expected = b"\x0A\x0B\
            \x0A\x02hi\
            \x12\x05\x18\xAC\x02\x20\x01\
            \x31\x01\0\0\0\0\0\0\0\
            \x21\0\0\0\0\0\0\xF0\x3F\
            \x32\x10\x02\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0";
        assert_eq!(write(Encoding::Protobuf), expected);
        let expected = r#"{"a":[{"b":"hi","c":{"d":"300","e":true}}],"f":"1","g":1,"h":["2","3"]}"#;
        assert_eq!(write(Encoding::Json), expected.as_bytes());
    }

    #[test]
    fn long_messages_have_long_lengths() {
        for length in [0, 1, 125, 126, 127, 16_380, 16_384, 2_097_152] {
            let mut out = Document::new(Encoding::Protobuf);
            out.open(1, "a", Group::Message);
            out.open(1, "b", Group::Message);
            out.string(1, "c", &"x".repeat(length));
            let mut rest: prost::bytes::Bytes = out.finish().into();
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

//! What `serde_json` does not give: documents that are written piece by piece, strings in plain
//! ASCII for header values, the path to the place where a document stopped fitting its type, and
//! structs that are read from objects alone.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, Visitor};

use super::text::{push, push_decimal};

/// Appends a comma unless an object or an array has just been opened.
#[inline(never)]
pub(crate) fn comma(out: &mut Vec<u8>) {
    if !matches!(out.last(), None | Some(b'{' | b'[')) {
        out.push(b',');
    }
}

/// Appends `"name":`, after a comma unless it is the first member. The name has nothing to escape.
#[inline(never)]
pub(crate) fn key(name: &str, out: &mut Vec<u8>) {
    comma(out);
    push(out, "\"");
    push(out, name);
    push(out, "\":");
}

/// Appends the name of a member as [`key`] does, with its escapes.
pub(crate) fn text_key(name: &str, out: &mut Vec<u8>) {
    comma(out);
    write_str(name, out);
    push(out, ":");
}

/// Appends `"name":"text"`, after a comma unless it is the first member.
#[inline(never)]
pub(crate) fn member(name: &str, text: &str, out: &mut Vec<u8>) {
    key(name, out);
    write_str(text, out);
}

/// Appends an array of strings.
pub(crate) fn strings<'a>(texts: impl IntoIterator<Item = &'a str>, out: &mut Vec<u8>) {
    push(out, "[");
    for text in texts {
        comma(out);
        write_str(text, out);
    }
    push(out, "]");
}

/// Appends `text` to `out` as a JSON string, quotes included.
#[inline(never)]
pub(crate) fn write_str(text: &str, out: &mut Vec<u8>) {
    // There is a string for every text.
    push(out, &serde_json::to_string(text).unwrap_or_default());
}

/// A JSON text for a header value. Other characters than ASCII, which are all in strings, are
/// escaped, and control characters, which are all between tokens, left out.
#[must_use]
pub(crate) fn ascii(json: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len());
    for c in json.chars() {
        match c {
            ' '..='~' => out.push(c as u8),
            '\0'..' ' => {}
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    push(&mut out, &format!("\\u{unit:04x}"));
                }
            }
        }
    }
    out
}

/// The path from the root of `document` to the value at, or just before, `line` and `column`
/// (both from 1, as `serde_json` counts them): `Records[2].body`, empty for the root itself.
///
/// It walks the text once and needs no knowledge of the type, so it costs nothing until an event
/// is malformed and no code per type. Only as much of the document as was read before the error
/// needs to be well formed.
#[must_use]
pub(crate) fn path_at(document: &[u8], line: usize, column: usize) -> String {
    let mut walker = Walker {
        stack: Vec::new(),
        string: None,
    };
    // Where the walk is, as the two are counted.
    let mut place = (1, 0);
    for (at, byte) in document.iter().enumerate() {
        if (line, column) <= place {
            break;
        }
        walker.step(at, *byte);
        place = if *byte == b'\n' {
            (place.0 + 1, 0)
        } else {
            (place.0, place.1 + 1)
        };
    }
    walker.path(document)
}

/// Where the walk through a document is.
struct Walker {
    /// The containers that are open, outermost first.
    stack: Vec<Frame>,
    /// Inside a string: where its text starts, and whether the last byte was a backslash.
    string: Option<(usize, bool)>,
}

/// An array or an object that is open.
struct Frame {
    is_array: bool,
    /// Of an array, the index of the element that is being read.
    index: u64,
    /// Of an object, the text of the last key, as a range of the document.
    key: (usize, usize),
    /// Whether the next string is a value, and not the key of one.
    in_value: bool,
}

impl Walker {
    fn step(&mut self, at: usize, byte: u8) {
        let last = self.stack.last_mut();
        if let Some((start, escaped)) = self.string {
            let closes = byte == b'"' && !escaped;
            if let Some(frame) = last.filter(|frame| closes && !frame.in_value) {
                frame.key = (start, at);
            }
            self.string = (!closes).then_some((start, byte == b'\\' && !escaped));
            return;
        }
        match (byte, last) {
            (b'"', _) => self.string = Some((at + 1, false)),
            // A container that opens is written only once something in it has been read, so that
            // an error at its first byte is an error of the container itself.
            (b'[' | b'{', _) => self.stack.push(Frame {
                is_array: byte == b'[',
                index: 0,
                key: (0, 0),
                in_value: byte == b'[',
            }),
            (b']' | b'}', _) => {
                self.stack.pop();
            }
            (b':', Some(frame)) => frame.in_value = true,
            (b',', Some(frame)) => {
                frame.index += 1;
                frame.in_value = frame.is_array;
            }
            _ => {}
        }
    }

    fn path(&self, document: &[u8]) -> String {
        let mut path = Vec::new();
        for frame in self.stack.iter().filter(|frame| frame.in_value) {
            if frame.is_array {
                push(&mut path, "[");
                push_decimal(&mut path, frame.index);
                push(&mut path, "]");
            } else {
                if !path.is_empty() {
                    push(&mut path, ".");
                }
                let (start, end) = frame.key;
                let key = document.get(start..end).unwrap_or_default();
                push(&mut path, &String::from_utf8_lossy(key));
            }
        }
        String::from_utf8(path).unwrap_or_default()
    }
}

/// Reads a document. That it is UTF-8 is checked at once: string by string takes a fifth more
/// instructions.
///
/// # Errors
///
/// Those of the document, and of `T`.
pub(crate) fn read<'a, T: Deserialize<'a>>(document: &'a [u8]) -> Result<T, serde_json::Error> {
    let text = core::str::from_utf8(document).map_err(serde::de::Error::custom);
    serde_json::from_str(text?)
}

/// Whether a text is a JSON document.
pub(crate) fn is_json(text: &[u8]) -> bool {
    read::<IgnoredAny>(text).is_ok()
}

/// Reads an object as `T`, and refuses any other value.
///
/// # Errors
///
/// Those of `T` and of the deserializer.
pub(crate) fn only_object<'de, D, T>(json: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(ObjectOnly(json))
}

/// A value that is read by [`only_object`].
#[derive(Debug)]
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        only_object(json).map(Self)
    }
}

/// A deserializer that takes an object and nothing else, where a derived struct would take an array
/// too.
struct ObjectOnly<D>(D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for ObjectOnly<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use serde_json::value::RawValue;

    use super::*;

    #[derive(Deserialize, Debug)]
    #[expect(dead_code, reason = "only read by serde")]
    struct Order<'a> {
        id: u32,
        #[serde(borrow)]
        name: Option<Cow<'a, str>>,
        #[serde(default)]
        lines: Vec<Line>,
        #[serde(default)]
        by_key: BTreeMap<String, Line>,
        #[serde(borrow)]
        raw: Option<&'a RawValue>,
    }

    #[derive(Deserialize, Debug)]
    #[expect(dead_code, reason = "only read by serde")]
    struct Line {
        sku: String,
        count: u8,
    }

    #[test]
    fn a_document_is_utf_8() {
        assert_eq!(read::<String>("\"é\"".as_bytes()).unwrap(), "é");
        let error = read::<String>(b"\"\xC3\"").unwrap_err().to_string();
        assert_eq!(error, "invalid utf-8 sequence of 1 bytes from index 1");
        assert!(is_json(b"[]") && !is_json(b"[") && !is_json(b"\"\xFF\""));
    }

    #[test]
    fn the_path_leads_to_the_field_that_does_not_fit() {
        let table = [
            (r#"{"id":"x"}"#, "id"),
            (r#"{"id":1,"name":7}"#, "name"),
            (
                r#"{"id":1,"lines":[{"sku":"a","count":1},{"sku":"b","count":300}]}"#,
                "lines[1].count",
            ),
            (
                r#"{"id":1,"lines":[{"sku":"a","count":1},{"sku":"b"}]}"#,
                "lines[1]",
            ),
            (
                r#"{"id":1,"lines":[{"sku":null,"count":1}]}"#,
                "lines[0].sku",
            ),
            (
                r#"{"id":1,"lines":[{"sku":["deep",{"a":1}],"count":1}]}"#,
                "lines[0].sku",
            ),
            (
                "{\n  \"id\": 1,\n  \"lines\": [\n    {\"sku\": \"a\", \"count\": -1}\n  ]\n}",
                "lines[0].count",
            ),
            (
                r#"{"id":1,"by_key":{"a\"}]":{"sku":"s","count":"n"}}}"#,
                r#"by_key.a\"}].count"#,
            ),
            (r#"{"id":1,"raw":[{"x":[1,2]}],"lines":{}}"#, "lines"),
            (r#"{"name":"no id"}"#, ""),
            (r#"[1,2]"#, "[1]"),
            ("7", ""),
            ("", ""),
        ];
        for (document, path) in table {
            let error = serde_json::from_str::<Order<'_>>(document).unwrap_err();
            assert_eq!(
                path_at(document.as_bytes(), error.line(), error.column()),
                path,
                "{document}: {error}"
            );
        }
    }

    #[test]
    fn any_text_and_place_has_a_path() {
        let document = br#"{"a":[1,{"b":"\"\\"}],"c":}]]],"#;
        for line in 0..4 {
            for column in 0..40 {
                assert!(path_at(document, line, column).len() < document.len());
            }
        }
    }

    #[test]
    fn strings_round_trip_in_all_characters_and_in_ascii() {
        for text in ["", "plain", "q\"b\\s/", "\u{0}\u{1f}\u{7f}\n\r\t", "é漢😀"] {
            let mut out = Vec::new();
            write_str(text, &mut out);
            let ascii = ascii(str::from_utf8(&out).unwrap());
            assert!(ascii.iter().all(|byte| (b' '..=b'~').contains(byte)));
            for string in [out, ascii] {
                assert_eq!(serde_json::from_slice::<String>(&string).unwrap(), text);
            }
        }
    }

    #[test]
    fn ascii_is_one_line() {
        assert_eq!(ascii("{\n\t\"a\": \"é\"\r\n}"), br#"{"a": "\u00e9"}"#);
    }
}

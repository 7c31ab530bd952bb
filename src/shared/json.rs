//! What `serde_json` does not give: strings in plain ASCII for header values, values without a type by
//! one visitor, and the path to the place where a document stopped fitting its type.

use alloc::borrow::{Cow, ToOwned as _};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::de::{Deserializer as _, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use serde_json::value::RawValue;

use super::text::{push, push_decimal};

/// Which characters a string is written with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Charset {
    /// Non-ASCII characters as they are.
    Utf8,
    /// Non-ASCII characters as `\u` escapes, as a header value needs.
    Ascii,
}

/// Appends a member with a text, and the comma in front of it, if there is a value.
#[inline(never)]
pub(crate) fn write_member(name: &str, value: Option<&str>, out: &mut Vec<u8>) {
    if let Some(value) = value {
        push(out, ",\"");
        push(out, name);
        push(out, "\":");
        write_str(value, Charset::Utf8, out);
    }
}

/// Appends `text` to `out` as a JSON string, quotes included.
///
/// <https://www.rfc-editor.org/rfc/rfc8259#section-7>
pub(crate) fn write_str(text: &str, charset: Charset, out: &mut Vec<u8>) {
    out.push(b'"');
    for c in text.chars() {
        match c {
            '"' => push(out, "\\\""),
            '\\' => push(out, "\\\\"),
            '\n' => push(out, "\\n"),
            '\r' => push(out, "\\r"),
            '\t' => push(out, "\\t"),
            _ if c.is_ascii_control() || charset == Charset::Ascii && !c.is_ascii() => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    push(out, "\\u");
                    for shift in [12, 8, 4, 0] {
                        let digit = (*unit >> shift & 0xF) as u8;
                        out.push(digit + if digit < 10 { b'0' } else { b'a' - 10 });
                    }
                }
            }
            _ => push(out, c.encode_utf8(&mut [0; 4])),
        }
    }
    out.push(b'"');
}

/// Why a text is not what it is read as.
#[derive(Debug)]
pub(crate) enum JsonError {
    Syntax(serde_json::Error),
    /// It is something else.
    Type {
        found: &'static str,
        expected: &'static str,
    },
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(error) => error.fmt(f),
            Self::Type { found, expected } => {
                write!(f, "invalid type: {found}, expected {expected}")
            }
        }
    }
}

/// Hands out the members of a JSON object: the name and the value, in the order they stand.
///
/// # Errors
///
/// That the text is not one JSON object. Members before the fault have been handed out.
pub(crate) fn members<'a>(
    object: &'a [u8],
    each: &mut dyn FnMut(&str, &'a RawValue),
) -> Result<(), JsonError> {
    let seen = read(object, each)?;
    let is_object = matches!(seen, Seen::Object);
    is_object.then_some(()).ok_or_else(|| seen.not("an object"))
}

/// Hands out the elements of a JSON array.
///
/// # Errors
///
/// That the text is not one JSON array. Elements before the fault have been handed out.
pub(crate) fn elements<'a>(
    array: &'a [u8],
    each: &mut dyn FnMut(&'a RawValue),
) -> Result<(), JsonError> {
    let seen = read(array, &mut |_, value| each(value))?;
    let is_array = matches!(seen, Seen::Array);
    is_array.then_some(()).ok_or_else(|| seen.not("an array"))
}

/// What a JSON string says.
///
/// # Errors
///
/// That the text is not one JSON string.
pub(crate) fn text(string: &[u8]) -> Result<Cow<'_, str>, JsonError> {
    let seen = read(string, &mut |_, _| {})?;
    if let Seen::Text(text) = seen {
        return Ok(text);
    }
    Err(seen.not("a string"))
}

/// The double that is next to a JSON number.
#[cfg_attr(
    not(any(feature = "extension", test)),
    expect(dead_code, reason = "only the extension reads numbers")
)]
pub(crate) fn number(number: &[u8]) -> Option<f64> {
    match read(number, &mut |_, _| {}).ok()? {
        Seen::Number(number) => Some(number),
        Seen::Object | Seen::Array | Seen::Text(_) | Seen::Other => None,
    }
}

fn read<'a>(
    text: &'a [u8],
    each: &mut dyn FnMut(&str, &'a RawValue),
) -> Result<Seen<'a>, JsonError> {
    let trimmed = text.trim_ascii();
    if NUMBERS_ARE_TEXTS && matches!(trimmed.first(), Some(b'-' | b'0'..=b'9')) {
        let number = str::from_utf8(trimmed).unwrap_or_default().parse();
        let seen = number.map(|number: Number| number.as_f64().map_or(Seen::Other, Seen::Number));
        return seen.map_err(JsonError::Syntax);
    }
    let mut json = serde_json::Deserializer::from_slice(text);
    let seen = json.deserialize_any(Reader(each));
    let seen = seen.and_then(|seen| json.end().map(|()| seen));
    seen.map_err(JsonError::Syntax)
}

/// Whether the feature `arbitrary_precision` of `serde_json` is on, which any crate of a program turns
/// on for all of it: visitors get a number as a map then. It cannot be asked, but its `Number` holds a
/// `String` then and nothing else, and otherwise less. To read numbers by their type in any case would
/// be 2 KB.
const NUMBERS_ARE_TEXTS: bool = size_of::<Number>() == size_of::<String>();

/// What a text is; parts are handed out.
enum Seen<'a> {
    Object,
    Array,
    Text(Cow<'a, str>),
    Number(f64),
    Other,
}

impl Seen<'_> {
    const fn not(&self, expected: &'static str) -> JsonError {
        let found = match self {
            Self::Object => "object",
            Self::Array => "array",
            Self::Text(_) => "string",
            Self::Number(_) => "number",
            Self::Other => "boolean or null",
        };
        JsonError::Type { found, expected }
    }
}

/// One visitor for all that is read without a type: a derived one for each type would be as much
/// code again for each, and serde's own bring what says in words what else they met, 4 KB.
struct Reader<'f, 'a>(&'f mut dyn FnMut(&str, &'a RawValue));

impl<'a> Visitor<'a> for Reader<'_, 'a> {
    type Value = Seen<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut array: A) -> Result<Seen<'a>, A::Error> {
        while let Some(value) = array.next_element()? {
            (self.0)("", value);
        }
        Ok(Seen::Array)
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Seen<'a>, A::Error> {
        while let Some((name, value)) = map.next_entry::<&'a RawValue, &'a RawValue>()? {
            // Only a name with escapes is not what stands between its quotes. No member that is
            // looked for needs any.
            let name = name.get().as_bytes();
            let name = name
                .strip_prefix(b"\"")
                .and_then(|name| name.strip_suffix(b"\""));
            (self.0)(
                str::from_utf8(name.unwrap_or_default()).unwrap_or_default(),
                value,
            );
        }
        Ok(Seen::Object)
    }

    fn visit_borrowed_str<E>(self, text: &'a str) -> Result<Seen<'a>, E> {
        Ok(Seen::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Seen<'a>, E> {
        Ok(Seen::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Seen<'a>, E> {
        Ok(Seen::Number(number))
    }

    #[expect(clippy::cast_precision_loss, reason = "what is asked for is a double")]
    fn visit_u64<E>(self, number: u64) -> Result<Seen<'a>, E> {
        Ok(Seen::Number(number as f64))
    }

    #[expect(clippy::cast_precision_loss, reason = "what is asked for is a double")]
    fn visit_i64<E>(self, number: i64) -> Result<Seen<'a>, E> {
        Ok(Seen::Number(number as f64))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Seen<'a>, E> {
        Ok(Seen::Other)
    }

    fn visit_unit<E>(self) -> Result<Seen<'a>, E> {
        Ok(Seen::Other)
    }
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
            if closes && let Some(frame) = last.filter(|frame| !frame.in_value) {
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
    fn a_text_is_read_as_what_it_is_and_as_nothing_else() {
        let table = [
            (r#"{"a":[1]}"#, "object"),
            (r#"["a",{}]"#, "array"),
            (r#""a""#, "string"),
            (r#""\u0061""#, "string"),
            ("1", "number"),
            ("-1.5e3", "number"),
            ("true", ""),
            ("null", ""),
            ("[1", ""),
            (r#"{"a":1}}"#, ""),
            ("1e999", ""),
            ("", ""),
        ];
        for (json, kind) in table {
            let bytes = json.as_bytes();
            let mut parts = Vec::new();
            let is_object = members(bytes, &mut |name, value| {
                parts.push([name, value.get()].concat());
            });
            assert_eq!(is_object.is_ok(), kind == "object", "{json}");
            let is_array = elements(bytes, &mut |value| parts.push(value.get().to_owned()));
            assert_eq!(is_array.is_ok(), kind == "array", "{json}");
            let found = text(bytes).ok();
            assert_eq!(
                found.as_deref(),
                (kind == "string").then_some("a"),
                "{json}"
            );
            assert_eq!(number(bytes).is_some(), kind == "number", "{json}");
            // By both functions.
            match kind {
                "object" => assert_eq!(parts, ["a[1]", "[1]"]),
                "array" => assert_eq!(parts, [r#""a""#, "{}", r#""a""#, "{}"]),
                _ => {}
            }
        }
        assert_eq!(number(b"-1.5e3"), Some(-1_500.0));
        assert_eq!(
            number(b"18446744073709551615"),
            Some(18_446_744_073_709_551_615.0)
        );
        let errors = [
            (
                members(b"7", &mut |_, _| {}).unwrap_err(),
                "invalid type: number, expected an object",
            ),
            (
                elements(b"7", &mut |_| {}).unwrap_err(),
                "invalid type: number, expected an array",
            ),
            (
                text(b"7").unwrap_err(),
                "invalid type: number, expected a string",
            ),
            (text(b"x").unwrap_err(), "expected value at line 1 column 1"),
        ];
        for (error, shown) in errors {
            assert_eq!(error.to_string(), shown);
        }
    }

    #[test]
    fn strings_round_trip_in_both_charsets() {
        for text in ["", "plain", "q\"b\\s/", "\u{0}\u{1f}\u{7f}\n\r\t", "é漢😀"] {
            for charset in [Charset::Utf8, Charset::Ascii] {
                let mut out = Vec::new();
                write_str(text, charset, &mut out);
                assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
                assert!(charset == Charset::Utf8 || out.iter().all(|b| (0x20..0x7F).contains(b)));
            }
        }
    }
}

//! Cuts a batch into records, so that a malformed record costs only itself.

use std::fmt;

use super::record::Record;

/// An element of a batch that is not a record: not a JSON object, or one without a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::extension) struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the record is not JSON, or not of the form of its type")
    }
}

impl std::error::Error for Malformed {}

/// The records of a delivery, in their order; `None` if the body does not begin as an array. Of an
/// array that ends early each element is given; the last one is malformed if it was cut.
pub(in crate::extension) fn records(batch: &str) -> Option<Records<'_>> {
    let rest = batch.trim_ascii_start().strip_prefix('[')?;
    Some(Records { rest })
}

/// See [`records`].
#[derive(Clone, Copy, Debug)]
pub(in crate::extension) struct Records<'a> {
    /// The text behind the last element.
    rest: &'a str,
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let between = |c: char| c == ',' || c.is_ascii_whitespace();
        self.rest = self.rest.trim_start_matches(between);
        if self.rest.is_empty() || self.rest.starts_with(']') {
            self.rest = "";
            return None;
        }
        Some(self.element())
    }
}

impl<'a> Records<'a> {
    /// Whether nothing is left to look at.
    pub(in crate::extension) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Reads the element at the front.
    fn element(&mut self) -> Result<Record<'a>, Malformed> {
        let mut values = serde_json::Deserializer::from_str(self.rest).into_iter();
        let record = values.next();
        let after = self.rest.get(values.byte_offset()..).unwrap_or_default();
        let after = after.trim_ascii_start();
        let is_whole = after.is_empty() || after.starts_with([',', ']']);
        match record {
            Some(Ok(record)) if is_whole => {
                self.rest = after;
                Ok(record)
            }
            Some(_) | None => {
                self.rest = after_element(self.rest);
                Err(Malformed)
            }
        }
    }
}

/// The text behind the malformed element at the front: it begins with a comma or the end of the
/// array, or is empty.
fn after_element(rest: &str) -> &str {
    let bytes = rest.as_bytes();
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at += string_bytes(bytes.get(at..).unwrap_or_default()),
            b',' | b']' if depth == 0 => break,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    rest.get(at..).unwrap_or_default()
}

/// The distance from the quote that starts a string to the one that ends it.
fn string_bytes(from: &[u8]) -> usize {
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

//! JSON documents: exports of `aws logs`, results of Logs Insights, batches of a subscription, and
//! the emulator's measurements. They are read element by element, so that one of several gigabytes
//! needs no more memory than its longest element.

use std::cell::Cell;
use std::fmt;
use std::io::{self, BufRead};
use std::rc::Rc;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::{Limited, Reading};
use crate::fact::Source;
use crate::message::{Subject, function_of_group};

/// Reads one document after the other.
pub(super) fn read(mut from: impl BufRead, reading: &mut Reading<'_>) {
    let since_element = Rc::new(Cell::new(0));
    loop {
        match skip_blank(&mut from) {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => return reading.problem(0, error),
        }
        let limited = Limited {
            inner: &mut from,
            since_element: Rc::clone(&since_element),
        };
        let mut json = serde_json::Deserializer::from_reader(limited);
        let mut walk = Walk {
            reading,
            since_element: Rc::clone(&since_element),
            elements: 0,
            function: None,
            stream: None,
        };
        let done = (&mut walk).deserialize(&mut json);
        let elements = walk.elements;
        if let Err(error) = done {
            // Nothing tells where the next element would begin.
            reading.problem(elements + 1, format!("the document ends here: {error}"));
            return;
        }
    }
}

/// Whether anything but white space follows.
fn skip_blank(from: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let buffer = from.fill_buf()?;
        if buffer.is_empty() {
            return Ok(false);
        }
        let is_blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x1e;
        let blank = buffer.iter().take_while(|byte| is_blank(byte)).count();
        // A byte order mark can stand before the first document only.
        let mark = if buffer.starts_with(super::BYTE_ORDER_MARK) {
            super::BYTE_ORDER_MARK.len()
        } else {
            0
        };
        let skipped = blank.max(mark);
        let is_all = skipped == buffer.len();
        from.consume(skipped);
        if !is_all && mark == 0 {
            return Ok(true);
        }
    }
}

/// The way through a document.
struct Walk<'r, 'a> {
    reading: &'r mut Reading<'a>,
    since_element: Rc<Cell<usize>>,
    elements: u64,
    /// Of a batch of a subscription, where they stand before the events.
    function: Option<String>,
    stream: Option<String>,
}

impl Walk<'_, '_> {
    fn element(&mut self, element: Value) {
        self.elements += 1;
        self.since_element.set(0);
        match element {
            Value::Object(event) => self.object(event),
            // A result of Logs Insights: an array of objects with `field` and `value`.
            Value::Array(cells) => {
                let row = cells.into_iter().filter_map(|cell| match cell {
                    Value::Object(mut cell) => {
                        let Some(Value::String(field)) = cell.remove("field") else {
                            return None;
                        };
                        Some((field, cell.remove("value").unwrap_or_default()))
                    }
                    Value::Null
                    | Value::Bool(_)
                    | Value::Number(_)
                    | Value::String(_)
                    | Value::Array(_) => None,
                });
                self.object(row.collect());
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn object(&mut self, event: Map<String, Value>) {
        let (function, stream) = (self.function.as_deref(), self.stream.as_deref());
        self.reading.row(self.elements, event, function, stream);
    }
}

impl<'de> DeserializeSeed<'de> for &mut Walk<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Walk<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while let Some(element) = elements.next_element::<Value>()? {
            self.element(element);
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        // The members of an object that is itself a record, over several lines.
        let mut record = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            match name.as_str() {
                "events" | "results" | "logEvents" => members.next_value_seed(Elements(self))?,
                "subjects" => {
                    for subject in members.next_value::<Vec<Subject>>()? {
                        self.reading.tally.messages += 1;
                        self.reading.tally.facts += 1;
                        subject.facts(self.reading.sink);
                    }
                }
                "logGroup" => {
                    let group: String = members.next_value()?;
                    self.function = function_of_group(&group).map(str::to_owned);
                }
                "logStream" => self.stream = members.next_value()?,
                "machine" | "searchedLogStreams" | "statistics" => {
                    members.next_value::<IgnoredAny>()?;
                }
                _ => {
                    record.insert(name, members.next_value()?);
                }
            }
        }
        let is_record = [
            "_aws",
            "type",
            "points",
            "resourceMetrics",
            "environment_invocations",
        ]
        .iter()
        .any(|name| record.contains_key(*name));
        if is_record {
            let record = Value::Object(record).to_string();
            self.elements += 1;
            self.reading
                .message(self.elements, &record, &Source::default());
        }
        self.since_element.set(0);
        Ok(())
    }
}

/// The elements of an array.
struct Elements<'w, 'r, 'a>(&'w mut Walk<'r, 'a>);

impl<'de> DeserializeSeed<'de> for Elements<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self.0)
    }
}

//! CSV of the console: a row for each event, under the names of its fields.

use std::cell::Cell;
use std::io::Read;
use std::rc::Rc;

use csv::{ErrorKind, ReaderBuilder, StringRecord};
use serde_json::{Map, Value};

use super::{Limited, Reading};

/// Reads every row.
pub(super) fn read(from: impl Read, reading: &mut Reading<'_>) {
    let since_element = Rc::new(Cell::new(0));
    let limited = Limited {
        inner: from,
        since_element: Rc::clone(&since_element),
    };
    let mut rows = ReaderBuilder::new().flexible(true).from_reader(limited);
    let names = match rows.headers() {
        Ok(names) => names.clone(),
        Err(error) => return reading.problem(1, error),
    };
    for row in rows.records() {
        since_element.set(0);
        match row {
            Ok(row) => one(&names, &row, reading),
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                let is_io = matches!(error.kind(), ErrorKind::Io(_));
                reading.problem(line, error);
                if is_io {
                    return;
                }
            }
        }
    }
}

fn one(names: &StringRecord, row: &StringRecord, reading: &mut Reading<'_>) {
    let line = row.position().map_or(0, csv::Position::line);
    let cells = names.iter().zip(row);
    let cells = cells.filter(|(_, value)| !value.is_empty());
    let row: Map<String, Value> = cells
        .map(|(name, value)| (name.to_owned(), Value::String(value.to_owned())))
        .collect();
    reading.row(line, row, None, None);
}

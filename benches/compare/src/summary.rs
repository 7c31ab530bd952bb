//! The few figures that somebody looks for who wants to know what Bantam costs.

use crate::Outcome;
use crate::parts::{EXTENSION, HELLO, PEER_EXTENSION, PEER_RUNTIME, PEER_SPEED, SHIPPED};
use crate::table::{Table, aligned, digits};
use crate::{growth, start, warm};

/// Two programs, a figure of each in the table of this title, and its unit.
struct Row {
    what: &'static str,
    title: &'static str,
    column: &'static str,
    ours: &'static str,
    theirs: Option<&'static str>,
    unit: &'static str,
}

/// The rows of a full run.
const ROWS: [Row; 8] = [
    Row {
        what: "extension, from its start until it is ready",
        title: START_OF_EXTENSION,
        column: start::GOAL_US,
        ours: EXTENSION,
        theirs: Some(PEER_EXTENSION),
        unit: "µs",
    },
    Row {
        what: "extension, peak memory",
        title: START_OF_EXTENSION,
        column: start::PEAK_KB,
        ours: EXTENSION,
        theirs: Some(PEER_EXTENSION),
        unit: "kB",
    },
    Row {
        what: "extension, size of the binary",
        title: START_OF_EXTENSION,
        column: start::BYTES,
        ours: EXTENSION,
        theirs: Some(PEER_EXTENSION),
        unit: "bytes",
    },
    Row {
        what: "extension, processor time of an invocation and its three records",
        title: "Growth over 1,000,000 invocations: Bantam, extension",
        column: growth::CPU_EACH,
        ours: "to 1,000,000",
        theirs: None,
        unit: "µs",
    },
    Row {
        what: "function, from its start until it asks for an event",
        title: START_OF_RUNTIME,
        column: start::GOAL_US,
        ours: HELLO,
        theirs: Some(PEER_RUNTIME),
        unit: "µs",
    },
    Row {
        what: "function, peak memory",
        title: START_OF_RUNTIME,
        column: start::PEAK_KB,
        ours: HELLO,
        theirs: Some(PEER_RUNTIME),
        unit: "kB",
    },
    Row {
        what: "function, size of the binary",
        title: START_OF_RUNTIME,
        column: start::BYTES,
        ours: HELLO,
        theirs: Some(PEER_RUNTIME),
        unit: "bytes",
    },
    Row {
        what: "function, processor time of a typed event of 2.7 KB",
        title: "Typed, 2.7 KB",
        column: warm::CPU_US,
        ours: SHIPPED,
        theirs: Some(PEER_SPEED),
        unit: "µs",
    },
];

/// The summary as a Markdown table.
pub(crate) fn markdown(tables: &[Table]) -> Outcome<String> {
    let head = ["", "Bantam", "the crates of AWS"].map(str::to_owned);
    let mut lines = vec![head.to_vec()];
    for row in &ROWS {
        let table = tables.iter().find(|table| table.title == row.title);
        let table = table.ok_or_else(|| format!("no table {}", row.title))?;
        let cell = |program: &str| match table.get(program, row.column) {
            Some(figure) => Ok(format!("{} {}", digits(figure), row.unit)),
            None => Err(format!("no {} of {program} in {}", row.column, row.title)),
        };
        let theirs = row.theirs.map_or_else(|| Ok("-".to_owned()), cell)?;
        lines.push(vec![row.what.to_owned(), cell(row.ours)?, theirs]);
    }
    Ok(aligned(&lines))
}

const START_OF_EXTENSION: &str = "Start of an extension";
const START_OF_RUNTIME: &str = "Start of a runtime";

//! The few figures that somebody looks for who wants to know what Bantam costs.

use crate::Outcome;
use crate::parts::{
    EXTENSION, HELLO, PEER_ADAPTER, PEER_CONCURRENT, PEER_EXTENSION, PEER_PYTHON, PEER_RUNTIME,
    PEER_SPEED, SHIPPED,
};
use crate::table::{Table, aligned, digits};
use crate::{growth, servers, start, warm, workers};

/// Two programs, a figure of each in the table of this title, and its unit.
struct Row {
    what: &'static str,
    title: &'static str,
    column: &'static str,
    ours: &'static str,
    theirs: Option<&'static str>,
    unit: &'static str,
}

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
        title: GROWTH_OF_EXTENSION,
        column: growth::CPU_EACH,
        ours: "to 10,000",
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

/// A sentence for each thing that somebody looks for. One whose programs were not all measured is
/// left out.
pub(crate) fn sentences(tables: &[Table]) -> String {
    let figures = Figures(tables);
    let sentences = [
        figures.start_of_extension(),
        figures.cost_of_extension(),
        figures.function(),
        figures.server(),
        figures.workers(),
    ];
    let lines = sentences.iter().flatten();
    lines.map(|sentence| format!("- {sentence}\n")).collect()
}

struct Figures<'a>(&'a [Table]);

impl Figures<'_> {
    /// The figure in the table whose title ends so.
    fn get(&self, title: &str, row: &str, column: &str) -> Option<String> {
        let table = self.0.iter().find(|table| table.title.ends_with(title))?;
        Some(digits(table.get(row, column)?))
    }

    fn start_of_extension(&self) -> Option<String> {
        let ready_us = |row| self.get(START_OF_EXTENSION, row, start::GOAL_US);
        Some(format!(
            "The extension is ready {} µs after its start, one on AWS's crate after {} µs.",
            ready_us(EXTENSION)?,
            ready_us(PEER_EXTENSION)?
        ))
    }

    fn cost_of_extension(&self) -> Option<String> {
        let peak_kb = |row| self.get(START_OF_EXTENSION, row, start::PEAK_KB);
        Some(format!(
            "It takes {} kB of memory ({} kB), and {} µs of processor time for an invocation.",
            peak_kb(EXTENSION)?,
            peak_kb(PEER_EXTENSION)?,
            self.get(GROWTH_OF_EXTENSION, "to 10,000", growth::CPU_EACH)?
        ))
    }

    fn function(&self) -> Option<String> {
        let of = |row, column| self.get(START_OF_RUNTIME, row, column);
        Some(format!(
            "A function in Rust asks for its first event after {} µs ({} µs on `lambda_runtime`), in \
             {} kB of memory ({} kB) and {} bytes ({} bytes).",
            of(HELLO, start::GOAL_US)?,
            of(PEER_RUNTIME, start::GOAL_US)?,
            of(HELLO, start::PEAK_KB)?,
            of(PEER_RUNTIME, start::PEAK_KB)?,
            of(HELLO, start::BYTES)?,
            of(PEER_RUNTIME, start::BYTES)?
        ))
    }

    fn server(&self) -> Option<String> {
        let starts = |row, column| self.get(servers::START, row, column);
        let added_us = |row| self.get(servers::GET, row, servers::ADDED_US);
        Some(format!(
            "Before an HTTP server the stock binary adds {} µs to a request ({} µs by {PEER_ADAPTER}), \
             in {} kB of memory ({} kB) and {} bytes ({} bytes).",
            added_us(SHIPPED)?,
            added_us(PEER_ADAPTER)?,
            starts(SHIPPED, servers::PEAK_KB)?,
            starts(PEER_ADAPTER, servers::PEAK_KB)?,
            starts(SHIPPED, servers::BYTES)?,
            starts(PEER_ADAPTER, servers::BYTES)?
        ))
    }

    fn workers(&self) -> Option<String> {
        let each_kb = |row| self.get(workers::EACH, row, workers::TO_MOST);
        let peers = [
            each_kb(PEER_CONCURRENT).map(|kb| format!("{kb} kB for a task of `lambda_runtime`")),
            each_kb(PEER_PYTHON).map(|kb| format!("{kb} kB for a process of `awslambdaric`")),
        ];
        let peers: Vec<String> = peers.into_iter().flatten().collect();
        (!peers.is_empty()).then_some(())?;
        Some(format!(
            "On Managed Instances, from 8 to 64 at once, a further worker takes {} kB ({}).",
            each_kb(SHIPPED)?,
            peers.join(", ")
        ))
    }
}

/// The summary as a Markdown table.
pub(crate) fn markdown(tables: &[Table]) -> Outcome<String> {
    let head = ["", "Bantam", "the crates of AWS"].map(str::to_owned);
    let mut lines = vec![head.to_vec()];
    for row in &ROWS {
        let table = tables.iter().find(|table| table.title.ends_with(row.title));
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

const GROWTH_OF_EXTENSION: &str = " invocations: Bantam, extension";
const START_OF_EXTENSION: &str = "Start of an extension";
const START_OF_RUNTIME: &str = "Start of a runtime";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{Column, Figure};

    #[test]
    fn a_sentence_needs_its_figures() {
        assert_eq!(sentences(&[]), "");
        let columns = vec![
            Column::plain("from 1 to 8"),
            Column::plain(workers::TO_MOST),
        ];
        let mut table = Table::new(workers::EACH, "", columns);
        table.row(SHIPPED, vec![None, Some(Figure::exact(50.0))]);
        assert_eq!(sentences(&[table.clone()]), "");
        table.row(PEER_PYTHON, vec![None, Some(Figure::exact(3_160.0))]);
        assert_eq!(
            sentences(&[table]),
            "- On Managed Instances, from 8 to 64 at once, a further worker takes 50 kB (3,160 kB for a process of \
             `awslambdaric`).\n"
        );
    }
}

//! The readers of logs as a function of bytes that panics where a promise is broken. `fuzz/` makes
//! the bytes; the test replays those that it kept.

#![expect(
    clippy::unwrap_used,
    reason = "a target ends where a promise is broken"
)]

use std::io::{self, Read};

use crate::cause::Second;
use crate::input::{self, Tally};
use crate::ledger::Ledger;
use crate::limits::PROBLEMS_SHOWN_MAX;
use crate::{FORMAT, Report, Run, programs};

/// A file: it is counted, and makes tables that can be shown, however it is read.
pub fn report(data: &[u8]) {
    let (tables, facts) = read(data, usize::MAX);
    let step = 1 + data.len() % 7;
    let (stepwise, _) = read(data, step);
    assert_eq!(tables, stepwise, "read in steps of {step}");
    assert!(facts.is_finite());
}

/// The tables as JSON, and the sum of the numbers in them.
fn read(data: &[u8], step: usize) -> (serde_json::Value, f64) {
    let from = || Steps { data, step };
    let mut ledger = Ledger::default();
    let mut tally = Tally::default();
    input::read_bytes(from(), &mut ledger, &mut tally);
    ledger.finish();
    assert_eq!(tally.files, 1);
    assert!(tally.facts <= tally.messages);
    assert!(tally.shown.len() as u64 <= tally.problems);
    assert!(tally.shown.len() <= PROBLEMS_SHOWN_MAX);
    let mut second = Second::new(&ledger);
    input::read_bytes(from(), &mut second, &mut Tally::default());
    let run = Run::of(second.finish(), ledger, tally);
    // A picture takes its time.
    if data.len().is_multiple_of(16) {
        let report = Report {
            format: FORMAT,
            programs: programs(&run.ledger, 1),
            tables: run.tables.clone(),
            versus: None,
        };
        assert!(
            report
                .html("report")
                .unwrap()
                .starts_with("<!DOCTYPE html>")
        );
    }
    let tables = serde_json::to_value(&run.tables).unwrap();
    let sum = sum(&tables);
    (tables, sum)
}

fn sum(value: &serde_json::Value) -> f64 {
    match value {
        serde_json::Value::Number(number) => number.as_f64().unwrap(),
        serde_json::Value::Array(values) => values.iter().map(sum).sum(),
        serde_json::Value::Object(members) => members.values().map(sum).sum(),
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::String(_) => 0.0,
    }
}

/// Gives a few bytes at a time.
struct Steps<'a> {
    data: &'a [u8],
    step: usize,
}

impl Read for Steps<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.step.min(buffer.len());
        let (mut part, _) = self.data.split_at(count.min(self.data.len()));
        let count = part.read(buffer)?;
        self.data = &self.data[count..];
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_was_found_before_is_no_fault_now() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/report");
        testkit::corpus::each(&corpus, report);
    }
}

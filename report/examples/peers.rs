//! Draws the picture of the README from the tables of docs/performance.md, which `cargo compare --
//! --publish` writes:
//!
//! ```console
//! cargo run --package bantam-report --example peers docs/performance.md docs/pictures/peers.svg
//! ```

use std::error::Error;
use std::{env, fs};

use bantam_report::{BarRow, bars};

/// The rows of the picture: its heading, or the section of the document, the row of its table, and
/// the label.
const ROWS: [Row; 9] = [
    Row::Heading("Function in Rust"),
    Row::Ours("Start of a runtime", "Bantam, hello", "Bantam"),
    Row::Peer(
        "Start of a runtime",
        "lambda_runtime, level 3",
        "lambda_runtime",
    ),
    Row::Peer(
        "Start of a runtime",
        "C floor, static musl",
        "C that only connects and asks",
    ),
    Row::Heading("Any executable as the function"),
    Row::Ours(
        "Start of a runtime",
        "Bantam, stock binary",
        "Bantam, stock binary",
    ),
    Row::Heading("Extension"),
    Row::Ours(
        "Start of an extension",
        "Bantam, extension",
        "Bantam, stock binary",
    ),
    Row::Peer(
        "Start of an extension",
        "lambda-extension, level 3",
        "lambda-extension",
    ),
];

enum Row {
    Heading(&'static str),
    Ours(&'static str, &'static str, &'static str),
    Peer(&'static str, &'static str, &'static str),
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(document), Some(picture)) = (arguments.next(), arguments.next()) else {
        return Err("usage: peers DOCUMENT PICTURE".into());
    };
    fs::write(picture, drawn(&fs::read_to_string(document)?)?)?;
    Ok(())
}

/// The picture of a document.
fn drawn(document: &str) -> Result<String, Box<dyn Error>> {
    let mut rows = Vec::new();
    let mut words = Vec::new();
    for row in &ROWS {
        let (section, name, label, is_strong) = match row {
            Row::Heading(label) => {
                rows.push(BarRow {
                    label: (*label).to_owned(),
                    values: Vec::new(),
                    is_strong: false,
                });
                continue;
            }
            Row::Ours(section, name, label) => (*section, *name, *label, true),
            Row::Peer(section, name, label) => (*section, *name, *label, false),
        };
        let start = cell(document, section, name, "ready µs")?;
        let bytes = cell(document, section, name, "bytes")?;
        let (start, bytes) = (number(&start)?, number(&bytes)?);
        let (start_text, size_text) = (
            format!("{} µs", grouped(start)),
            format!("{} KB", grouped(bytes / 1e3)),
        );
        words.push(format!("{label}: {start_text}, {size_text}"));
        rows.push(BarRow {
            label: label.to_owned(),
            values: vec![(start, start_text), (bytes, size_text)],
            is_strong,
        });
    }
    let description = format!("{}.", words.join("; "));
    let columns = ["from the start to ready", "size of the file"];
    let title = "Start and size, beside the crates of AWS";
    Ok(bars("peers", title, &description, &columns, &rows)?)
}

/// A cell of the table under a heading; of a median with its percentiles the median.
fn cell(document: &str, section: &str, row: &str, column: &str) -> Result<String, String> {
    let heading = format!("### {section}\n");
    let (_, rest) = document
        .split_once(&heading)
        .ok_or_else(|| format!("no section {section}"))?;
    let mut lines = rest.lines().filter(|line| line.starts_with('|'));
    let cells = |line: &str| -> Vec<String> {
        line.split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let head = lines.next().map(cells).unwrap_or_default();
    let at = head.iter().position(|name| name == column);
    let at = at.ok_or_else(|| format!("no column {column} under {section}"))?;
    let found = lines
        .map(cells)
        .find(|cells| cells.get(1).is_some_and(|name| name == row));
    let found = found.ok_or_else(|| format!("no row {row} under {section}"))?;
    let text = found.get(at).cloned().unwrap_or_default();
    Ok(text.split(' ').next().unwrap_or_default().to_owned())
}

/// A number below a million, with a comma between groups of three digits.
fn grouped(number: f64) -> String {
    let text = format!("{number:.0}");
    match text.len().checked_sub(3) {
        Some(at) if 0 < at => {
            let (thousands, rest) = text.split_at(at);
            format!("{thousands},{rest}")
        }
        _ => text,
    }
}

fn number(text: &str) -> Result<f64, std::num::ParseFloatError> {
    text.replace(',', "").parse()
}

//! Figures and the tables they are shown in.

use std::fmt::Write as _;

use bantam_emulator::measure::{grouped, percentile};
use serde_json::{Value, json};

/// A median with what lies around it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figure {
    pub(crate) median: f64,
    /// The tenth and the ninetieth percentile.
    low: f64,
    high: f64,
    samples: usize,
}

/// A table of figures: a row for each subject, a column for each quantity.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) title: String,
    /// An explanation of the figures, in a sentence or two.
    note: String,
    columns: Vec<Column>,
    rows: Vec<(String, Vec<Option<Figure>>)>,
}

/// A quantity, and whether its spread is shown.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    name: &'static str,
    spread: bool,
}

/// A promise about a figure.
#[derive(Clone, Debug)]
pub(crate) struct Bar {
    pub(crate) what: String,
    value: f64,
    limit: f64,
    /// Whether the value must not be under the limit, rather than not over it.
    at_least: bool,
    /// Whether it counts in a verdict. Times do not: they vary with the machine.
    pub(crate) counted: bool,
}

impl Figure {
    pub(crate) fn of(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        let at = |percent| percentile(&samples, percent).unwrap_or(f64::NAN);
        Self {
            median: at(50),
            low: at(10),
            high: at(90),
            samples: samples.len(),
        }
    }

    fn text(self, spread: bool) -> String {
        let median = digits(self.median);
        if spread && self.samples > 1 {
            format!("{median} ({}-{})", digits(self.low), digits(self.high))
        } else {
            median
        }
    }

    /// A figure that does not vary.
    pub(crate) const fn exact(value: f64) -> Self {
        Self {
            median: value,
            low: value,
            high: value,
            samples: 1,
        }
    }
}

impl Table {
    pub(crate) fn new(title: &str, note: &str, columns: Vec<Column>) -> Self {
        Self {
            title: title.to_owned(),
            note: note.to_owned(),
            columns,
            rows: Vec::new(),
        }
    }

    pub(crate) fn row(&mut self, name: &str, cells: Vec<Option<Figure>>) {
        self.rows.push((name.to_owned(), cells));
    }

    /// The median in the row of this name and the column of this name.
    pub(crate) fn get(&self, row: &str, column: &str) -> Option<f64> {
        let column = self.columns.iter().position(|c| c.name == column)?;
        let (_, cells) = self.rows.iter().find(|(name, _)| name == row)?;
        cells
            .get(column)
            .copied()
            .flatten()
            .map(|figure| figure.median)
    }

    pub(crate) fn markdown(&self) -> String {
        // A column without a figure says nothing.
        let shown: Vec<usize> = (0..self.columns.len())
            .filter(|column| {
                let mut cells = self.rows.iter().filter_map(|(_, cells)| cells.get(*column));
                cells.any(Option::is_some)
            })
            .collect();
        let names = shown.iter().filter_map(|column| self.columns.get(*column));
        let head = [String::new()]
            .into_iter()
            .chain(names.map(|column| column.name.to_owned()));
        let mut lines = vec![head.collect::<Vec<_>>()];
        for (name, cells) in &self.rows {
            let mut line = vec![name.clone()];
            for column in &shown {
                let spread = self
                    .columns
                    .get(*column)
                    .is_some_and(|column| column.spread);
                let cell = cells.get(*column).copied().flatten();
                line.push(cell.map_or_else(|| "-".to_owned(), |figure| figure.text(spread)));
            }
            lines.push(line);
        }
        format!("### {}\n\n{}\n\n{}", self.title, self.note, aligned(&lines))
    }

    pub(crate) fn json(&self) -> Value {
        let rows = self.rows.iter().map(|(name, cells)| {
            let figures = cells
                .iter()
                .zip(&self.columns)
                .filter_map(|(cell, column)| {
                    let figure = (*cell)?;
                    let value = json!({
                        "median": figure.median,
                        "p10": figure.low,
                        "p90": figure.high,
                        "samples": figure.samples,
                    });
                    Some((column.name.to_owned(), value))
                });
            json!({"name": name, "figures": figures.collect::<serde_json::Map<_, _>>()})
        });
        json!({"title": self.title, "note": self.note, "rows": rows.collect::<Vec<_>>()})
    }
}

impl Column {
    /// A quantity of which the spread is shown beside the median.
    pub(crate) const fn spread(name: &'static str) -> Self {
        Self { name, spread: true }
    }

    /// A quantity of which the median is shown.
    pub(crate) const fn plain(name: &'static str) -> Self {
        Self {
            name,
            spread: false,
        }
    }
}

impl Bar {
    /// A limit from above, which is reported.
    pub(crate) fn at_most(limit: f64, what: impl Into<String>, value: f64) -> Self {
        Self {
            what: what.into(),
            value,
            limit,
            at_least: false,
            counted: false,
        }
    }

    /// A limit from below, which is reported.
    pub(crate) fn at_least(limit: f64, what: impl Into<String>, value: f64) -> Self {
        Self {
            at_least: true,
            ..Self::at_most(limit, what, value)
        }
    }

    /// The same as a part of the verdict.
    pub(crate) fn gate(self) -> Self {
        Self {
            counted: true,
            ..self
        }
    }

    pub(crate) fn met(&self) -> bool {
        if self.at_least {
            self.limit <= self.value
        } else {
            self.value <= self.limit
        }
    }

    /// A table of bars. A gate is a bar that a verdict is made of.
    pub(crate) fn markdown(bars: &[Self]) -> String {
        let mut lines = vec![
            ["bar", "limit", "here", "", "kind"]
                .map(str::to_owned)
                .to_vec(),
        ];
        for bar in bars {
            let sign = if bar.at_least { "≥" } else { "≤" };
            lines.push(vec![
                bar.what.clone(),
                format!("{sign} {}", digits(bar.limit)),
                digits(bar.value),
                if bar.met() { "met" } else { "**missed**" }.to_owned(),
                if bar.counted { "gate" } else { "reported" }.to_owned(),
            ]);
        }
        aligned(&lines)
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "what": self.what,
            "limit": self.limit,
            "value": self.value,
            "met": self.met(),
            "gate": self.counted,
        })
    }
}

/// A Markdown table whose columns stand under each other; the first line is its head.
pub(crate) fn aligned(lines: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
            .max(3)
    };
    let mut text = String::new();
    for (index, line) in lines.iter().enumerate() {
        for (column, cell) in line.iter().enumerate() {
            let width = width(column);
            if column == 0 {
                write!(text, "| {cell:<width$} ").ok();
            } else {
                write!(text, "| {cell:>width$} ").ok();
            }
        }
        text.push_str("|\n");
        if index == 0 {
            for column in 0..line.len() {
                let dashes = "-".repeat(width(column));
                let end = if column == 0 { " " } else { ":" };
                write!(text, "| {dashes}{end}").ok();
            }
            text.push_str("|\n");
        }
    }
    text
}

/// Three digits that count, and thousands set apart.
pub(crate) fn digits(value: f64) -> String {
    if !value.is_finite() {
        return "-".to_owned();
    }
    let size = value.abs();
    let plain = if size >= 100.0 || value.fract() == 0.0 {
        format!("{value:.0}")
    } else if size >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    };
    grouped(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_count() {
        let table = [
            (0.0, "0"),
            (0.3333, "0.33"),
            (12.345, "12.3"),
            (999.6, "1,000"),
            (1_234_567.0, "1,234,567"),
            (-8.0, "-8"),
            (-123_456.0, "-123,456"),
            (f64::NAN, "-"),
        ];
        for (value, text) in table {
            assert_eq!(digits(value), text);
        }
    }

    #[test]
    fn the_median_and_what_lies_around_it() {
        let figure = Figure::of((1..=11).rev().map(f64::from).collect());
        assert_eq!((figure.low, figure.median, figure.high), (2.0, 6.0, 10.0));
        assert!(Figure::of(Vec::new()).median.is_nan());
    }

    #[test]
    fn a_bar_without_a_value_is_missed() {
        for at_least in [false, true] {
            let bar = |value| match at_least {
                false => Bar::at_most(2.0, "", value),
                true => Bar::at_least(2.0, "", value),
            };
            assert!(bar(2.0).met());
            assert_eq!(bar(3.0).met(), at_least);
            assert!(!bar(f64::NAN).met());
        }
    }
}

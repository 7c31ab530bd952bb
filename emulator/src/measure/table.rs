//! Results as a table for a terminal of one hundred columns.

use std::fmt;

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};

use super::figure::{ExtensionFigure, Figure, Scale};
use super::results::{Measured, NOTE, NOTE_UNOPTIMISED, Results};

impl Results {
    /// The results as a table: a row for each subject, a column for each figure, and in each cell
    /// the median, the 90th and the 99th percentile and the ratio of the medians to the first
    /// subject's.
    #[must_use]
    pub fn table(&self) -> String {
        let scales = Figure::ALL.map(|figure| self.scale(figure));
        let mut table = new_table("name", &Figure::ALL.map(Figure::title));
        for of in &self.subjects {
            table.add_row(self.row(of, &scales));
        }
        table.trim_fmt()
    }

    /// The figures of the extensions, as a table; `None` if there are no extensions.
    #[must_use]
    pub fn extension_table(&self) -> Option<String> {
        let rows: Vec<(&Measured, &str)> = self
            .subjects
            .iter()
            .flat_map(|of| of.extensions().into_iter().map(move |name| (of, name)))
            .collect();
        if rows.is_empty() {
            return None;
        }
        let figures = ExtensionFigure::ALL;
        let mut table = new_table("extension", &figures.map(ExtensionFigure::title));
        let scales = figures.map(|figure| {
            let summaries = rows
                .iter()
                .filter_map(|(of, name)| of.extension(name, figure));
            let medians: Vec<u64> = summaries.map(|summary| summary.median).collect();
            Scale::of(figure.unit(), &medians)
        });
        for (of, name) in rows {
            let label = format!("{name} beside {}\n  median\n  p90\n  p99", of.name);
            let cells = figures.into_iter().zip(scales).map(|(figure, scale)| {
                let text = of.extension(name, figure).map(|summary| {
                    let values = [summary.median, summary.p90, summary.p99];
                    values
                        .map(|value| format!("\n{}", scale.show(value)))
                        .concat()
                });
                right(text.unwrap_or_else(|| "\n-".to_owned()))
            });
            table.add_row(std::iter::once(Cell::new(label)).chain(cells));
        }
        Some(table.trim_fmt())
    }

    /// One unit for a column, by the medians in it.
    fn scale(&self, figure: Figure) -> Scale {
        let medians: Vec<u64> = self
            .subjects
            .iter()
            .filter_map(|of| of.summary(figure))
            .map(|summary| summary.median)
            .collect();
        Scale::of(figure.unit(), &medians)
    }

    fn row(&self, of: &Measured, scales: &[Scale; Figure::ALL.len()]) -> Vec<Cell> {
        let name = Cell::new(format!("{}\n{LABELS}", of.name));
        let figures = Figure::ALL.into_iter().zip(scales);
        let figures = figures.map(|(figure, scale)| right(self.cell(of, figure, *scale)));
        std::iter::once(name).chain(figures).collect()
    }

    /// The lines beside the row's labels; the first is empty, beside the name.
    fn cell(&self, of: &Measured, figure: Figure, scale: Scale) -> String {
        let Some(summary) = of.summary(figure) else {
            return "\n-".to_owned();
        };
        let ratio = self
            .ratio(of, figure)
            .map_or_else(|| "-".to_owned(), |r| format!("{r:.2} x"));
        let median = scale.show(summary.median);
        match figure {
            // A file has one size.
            Figure::Binary => format!("\n{median}\n\n\n{ratio}"),
            Figure::ExecToNext
            | Figure::Init
            | Figure::FirstInvocation
            | Figure::WarmInvocation
            | Figure::Cpu
            | Figure::PeakMemory => {
                let (p90, p99) = (scale.show(summary.p90), scale.show(summary.p99));
                format!("\n{median}\n{p90}\n{p99}\n{ratio}")
            }
        }
    }
}

/// The table, the note that says what it is not, and where it was taken.
impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let times = self.options.times;
        let warm = self.options.warm;
        let machine = &self.machine;
        writeln!(f, "{}", self.table())?;
        if let Some(table) = self.extension_table() {
            writeln!(f, "{table}")?;
        }
        writeln!(f, "{NOTE}")?;
        if cfg!(debug_assertions) {
            writeln!(f, "{NOTE_UNOPTIMISED}")?;
        }
        writeln!(
            f,
            "{times} cold starts each, interleaved; {warm} warm invocations after each."
        )?;
        write!(f, "{machine}.")
    }
}

fn new_table(first: &str, titles: &[&str]) -> Table {
    let titles = titles.iter().map(|title| right((*title).to_owned()));
    let header = std::iter::once(Cell::new(first)).chain(titles);
    let mut table = Table::new();
    table
        .load_style(UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header);
    table
}

fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

/// The lines of a row, under the subject's name.
const LABELS: &str = "  median\n  p90\n  p99\n  ratio";

#[cfg(test)]
mod tests {
    use super::super::results::tests::results;

    #[test]
    fn every_figure_has_its_line() {
        let table = results().table();
        let rows: Vec<Vec<&str>> = table
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        let median = "median 2.20 ms 2.20 ms 620 µs 180 µs 800 µs 3.81 MiB 2,000 B";
        let p99 = "p99 2.40 ms 2.40 ms 620 µs 190 µs 800 µs 3.81 MiB";
        let ratio = "ratio 2.00 x 2.00 x 2.00 x 2.00 x 2.00 x 2.00 x 2.00 x";
        for expected in [median, p99, ratio] {
            let expected: Vec<&str> = expected.split(' ').collect();
            assert!(rows.contains(&expected), "{expected:?} is not in\n{table}");
        }
    }

    #[test]
    fn an_extension_has_its_figures() {
        let table = results().extension_table().unwrap();
        let rows: Vec<Vec<&str>> = table
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        let median = ["median", "1.10", "ms", "2.00", "ms", "3.00", "MiB", "-"];
        assert!(rows.contains(&median.to_vec()), "{table}");
        assert!(rows.contains(&vec!["ext", "beside", "two"]), "{table}");
        let mut alone = results();
        alone.subjects.truncate(1);
        assert_eq!(alone.extension_table(), None);
    }

    #[test]
    fn it_fits_one_hundred_columns() {
        let text = results().to_string();
        let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= 100, "{widest} columns:\n{text}");
    }
}

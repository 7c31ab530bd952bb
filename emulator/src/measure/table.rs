//! Results as tables for a terminal of one hundred columns.

use std::fmt;

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};

use super::figure::{ExtensionFigure, Figure, Scale, Unit};
use super::results::{Measured, NOTE, NOTE_UNOPTIMISED, Results};
use super::stats::{Comparison, Summary};

/// A line of figures in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Median,
    P90,
    P99,
    Ratio,
    From,
    To,
    PValue,
}

impl Line {
    /// The lines that any figure of a row has something for.
    fn of(cells: &[(Option<Summary>, Option<Comparison>)]) -> Vec<Self> {
        let all = [
            Self::Median,
            Self::P90,
            Self::P99,
            Self::Ratio,
            Self::From,
            Self::To,
            Self::PValue,
        ];
        let any_scale = Scale::of(Unit::FileBytes, &[]);
        let has = |line: &Self| {
            let mut cells = cells.iter();
            cells.any(|(summary, comparison)| line.text(*summary, *comparison, any_scale).is_some())
        };
        all.into_iter().filter(has).collect()
    }

    fn text(
        self,
        summary: Option<Summary>,
        comparison: Option<Comparison>,
        scale: Scale,
    ) -> Option<String> {
        match self {
            Self::Median => Some(scale.show(summary?.median)),
            Self::P90 => Some(scale.show(summary?.known_p90()?)),
            Self::P99 => Some(scale.show(summary?.known_p99()?)),
            Self::Ratio => Some([&times(comparison?.ratio), " x"].concat()),
            Self::From => comparison?.interval.map(|[low, _]| times(low)),
            Self::To => comparison?.interval.map(|[_, high]| times(high)),
            Self::PValue => {
                let p_value = comparison?.p_value?;
                Some(match p_value {
                    ..0.001 => "<0.001".to_owned(),
                    _ => format!("{p_value:.3}"),
                })
            }
        }
    }

    /// The line's label, under the subject's name.
    fn label(self, base: Option<&Measured>) -> String {
        match (self, base) {
            (Self::Median, _) => "  median".to_owned(),
            (Self::P90, _) => "  p90".to_owned(),
            (Self::P99, _) => "  p99".to_owned(),
            (Self::Ratio, Some(base)) => format!("  to {}", shortened(&base.name, NAME_WIDTH - 5)),
            (Self::Ratio, None) => "  ratio".to_owned(),
            (Self::From, _) => "  95 % from".to_owned(),
            (Self::To, _) => "       to".to_owned(),
            (Self::PValue, _) => "  p".to_owned(),
        }
    }
}

impl Results {
    /// The results as a table: a row for each subject and a column for each figure. Percentiles are
    /// in it where there are enough samples, and what is compared has the ratio of the medians with
    /// its confidence interval and significance.
    #[must_use]
    pub fn table(&self) -> String {
        let scales = Figure::ALL.map(|figure| self.scale(figure));
        let titles = Figure::ALL.map(Figure::title);
        let mut table = new_table("name", &titles, &scales);
        for of in &self.subjects {
            let cells = Figure::ALL.map(|figure| (of.summary(figure), self.comparison(of, figure)));
            let name = shortened(&of.name, NAME_WIDTH);
            table.add_row(row(name, self.base(of), &cells, &scales));
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
        let scales = figures.map(|figure| {
            let summaries = rows
                .iter()
                .filter_map(|(of, name)| of.extension(name, figure));
            let medians: Vec<u64> = summaries.map(|summary| summary.median).collect();
            Scale::of(figure.unit(), &medians)
        });
        let titles = figures.map(ExtensionFigure::title);
        let mut table = new_table("extension", &titles, &scales);
        for (of, name) in rows {
            let cells = figures.map(|figure| (of.extension(name, figure), None));
            // A subject is often named after the extension that is beside it.
            let beside = of.name.strip_suffix(&format!(" + {name}"));
            let beside = shortened(beside.unwrap_or(&of.name), NAME_WIDTH);
            let label = format!("{} beside {beside}", shortened(name, NAME_WIDTH));
            table.add_row(row(label, None, &cells, &scales));
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
}

/// The tables, the charts, the notes that say what they are not, and what was measured where.
impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let times = self.options.times;
        let warm = self.options.warm;
        let machine = &self.machine;
        writeln!(f, "{}", self.table())?;
        if let Some(table) = self.extension_table() {
            writeln!(f, "{table}")?;
        }
        writeln!(f, "{}\n", self.chart())?;
        for of in &self.subjects {
            writeln!(f, "{}: {}", of.name, of.program.display())?;
        }
        writeln!(f, "\n{NOTE}")?;
        if cfg!(debug_assertions) {
            writeln!(f, "{NOTE_UNOPTIMISED}")?;
        }
        if 1 < self.subjects.len() {
            writeln!(f, "{NOTE_INTERVAL}")?;
        }
        writeln!(
            f,
            "{times} cold starts each, interleaved; {warm} warm invocations after each."
        )?;
        write!(f, "{machine}.")
    }
}

/// A row with the lines of its cells; the first line is empty, beside the name.
fn row(
    mut label: String,
    base: Option<&Measured>,
    cells: &[(Option<Summary>, Option<Comparison>)],
    scales: &[Scale],
) -> Vec<Cell> {
    let lines = Line::of(cells);
    for line in &lines {
        label.push('\n');
        label.push_str(&line.label(base));
    }
    let figures = cells
        .iter()
        .zip(scales)
        .map(|((summary, comparison), scale)| {
            let is_size = summary.is_some_and(|summary| summary.samples == 1);
            let texts = lines.iter().map(|line| {
                let text = line.text(*summary, *comparison, *scale);
                // What has one value, as a file has one size, lacks nothing.
                let missing = if is_size && *line != Line::Median {
                    ""
                } else {
                    "-"
                };
                ["\n", text.as_deref().unwrap_or(missing)].concat()
            });
            right(texts.collect())
        });
    std::iter::once(Cell::new(label)).chain(figures).collect()
}

/// A ratio with three digits or more.
fn times(ratio: f64) -> String {
    match ratio {
        ..10.0 => format!("{ratio:.2}"),
        ..100.0 => format!("{ratio:.1}"),
        _ => format!("{ratio:.0}"),
    }
}

/// A table whose columns have a title of two lines and a unit.
fn new_table(first: &str, titles: &[&str], scales: &[Scale]) -> Table {
    let titles = titles.iter().zip(scales).map(|(title, scale)| {
        let above = if title.contains('\n') { "" } else { "\n" };
        right([above, title, "\n", scale.symbol()].concat())
    });
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

/// A name in at most so many characters: its middle is left out where it is longer, because paths
/// differ at their ends.
pub(super) fn shortened(name: &str, width: usize) -> String {
    let count = name.chars().count();
    if count <= width {
        return name.to_owned();
    }
    let end = width * 2 / 3;
    let begin = width.saturating_sub(end + 1);
    let begin = name.chars().take(begin);
    begin
        .chain(std::iter::once('…'))
        .chain(name.chars().skip(count - end))
        .collect()
}

/// What one hundred columns leave for names.
const NAME_WIDTH: usize = 20;

const NOTE_INTERVAL: &str = "A ratio is of medians. Where its 95 % interval has 1.00 in it, no \
    difference was seen; p is of\nthe Mann-Whitney U test over cold starts.";

#[cfg(test)]
mod tests {
    use super::super::results::tests::{results, results_of};
    use super::shortened;

    /// The words of each line.
    fn rows(table: &str) -> Vec<Vec<&str>> {
        let lines = table.lines();
        lines
            .map(|line| line.split_whitespace().collect())
            .collect()
    }

    #[test]
    fn every_figure_has_its_line() {
        let table = results_of(120).table();
        for expected in [
            "first next init invocation invocation CPU memory binary",
            "ms ms µs µs µs MiB B",
            "median 2.20 2.20 620 180 800 3.81 2,000",
            "p90 2.40 2.40 620 190 800 3.81",
            "p99 2.40 2.40 620 190 800 3.81",
            "to one 2.00 x 2.00 x 2.00 x 2.00 x 2.00 x 2.00 x 2.00 x",
        ] {
            let expected: Vec<&str> = expected.split(' ').collect();
            assert!(
                rows(&table).contains(&expected),
                "{expected:?} is not in\n{table}"
            );
        }
        let with = |label: &str| {
            rows(&table)
                .iter()
                .filter(|row| row.first() == Some(&label))
                .count()
        };
        // The first is compared with nothing.
        assert_eq!((with("to"), with("95"), with("p")), (2, 1, 1), "{table}");
    }

    #[test]
    fn percentiles_of_few_samples_are_left_out() {
        let table = results().table();
        // Six warm invocations are not enough either.
        let labels: Vec<_> = rows(&table)
            .iter()
            .filter_map(|row| row.first().copied())
            .collect();
        assert!(
            labels.contains(&"median") && !labels.contains(&"p90"),
            "{table}"
        );
        assert!(labels.contains(&"to") && !labels.contains(&"95"), "{table}");
    }

    #[test]
    fn an_extension_has_its_figures() {
        let table = results().extension_table().unwrap();
        let median = ["median", "1.10", "2.00", "3.00", "-"];
        assert!(rows(&table).contains(&median.to_vec()), "{table}");
        assert!(
            rows(&table).contains(&vec!["ext", "beside", "two"]),
            "{table}"
        );
        let mut alone = results();
        alone.subjects.truncate(1);
        assert_eq!(alone.extension_table(), None);
    }

    #[test]
    fn it_fits_one_hundred_columns() {
        let mut results = results_of(120);
        for of in &mut results.subjects {
            of.name.insert_str(0, &"folder/".repeat(20));
            of.binary_bytes = 1_098_136;
        }
        let text = results.to_string();
        let paths = text.lines().filter(|line| !line.contains(": "));
        let widest = paths.map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= 100, "{widest} columns:\n{text}");
    }

    #[test]
    fn a_long_name_keeps_its_ends() {
        assert_eq!(shortened("short", 10), "short");
        assert_eq!(shortened("target/layer/bootstrap", 10), "tar…tstrap");
        assert_eq!(shortened("äöüäöüäöüäöü", 7), "äö…üäöü");
    }
}

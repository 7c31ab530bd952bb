//! Results as small bar charts for a terminal of one hundred columns.

use std::iter;

use super::figure::{Figure, Scale};
use super::results::Results;
use super::table::shortened;

/// The figures that have a chart, two beside each other.
const CHARTS: [[Figure; 2]; 2] = [
    [Figure::Init, Figure::FirstInvocation],
    [Figure::WarmInvocation, Figure::PeakMemory],
];

/// One line of a chart.
struct Line<'a> {
    name: &'a str,
    median: u64,
    /// The end of the line behind the bar.
    upper: u64,
}

impl Results {
    /// A bar for each subject and figure, all bars of a figure on one scale that begins at zero:
    /// the bar ends at the median, and a line goes on to the 90th percentile, or to the largest of
    /// too few samples for that.
    #[must_use]
    pub fn chart(&self) -> String {
        let mut text = String::new();
        for [left, right] in CHARTS {
            let (left, right) = (self.lines(left), self.lines(right));
            for index in 0..left.len().max(right.len()) {
                let [left, right] = [&left, &right].map(|lines| lines.get(index));
                let (left, right) = (left.map_or("", |line| line), right.map_or("", |line| line));
                let line = format!("{left:<CHART_WIDTH$}  {right}");
                text.push_str(line.trim_end());
                text.push('\n');
            }
            text.push('\n');
        }
        text.push_str(LEGEND);
        text
    }

    /// The chart of a figure, line by line; empty if there is no value of it.
    fn lines(&self, figure: Figure) -> Vec<String> {
        let lines: Vec<Line<'_>> = self
            .subjects
            .iter()
            .filter_map(|of| {
                let summary = of.summary(figure)?;
                let values = || of.samples.iter().flat_map(|sample| figure.values(sample));
                let upper = summary.known_p90().or_else(|| values().max());
                Some(Line {
                    name: &of.name,
                    median: summary.median,
                    upper: upper.unwrap_or(summary.median),
                })
            })
            .collect();
        let medians: Vec<u64> = lines.iter().map(|line| line.median).collect();
        let scale = Scale::of(figure.unit(), &medians);
        let largest = lines.iter().map(|line| line.upper).max().unwrap_or(0);
        let title = figure.title().replace('\n', " ");
        let head = [title.trim(), ", ", scale.symbol()].concat();
        let drawn = lines.iter().map(|line| {
            let name = shortened(line.name, NAME_WIDTH);
            let bar = bar(line.median, line.upper, largest);
            let value = scale.show(line.median);
            format!("{name:<NAME_WIDTH$} {bar:<BAR_WIDTH$} {value:>VALUE_WIDTH$}")
        });
        match lines.is_empty() {
            true => Vec::new(),
            false => iter::once(head).chain(drawn).collect(),
        }
    }
}

/// A bar up to `median`, in eighths of a character, and a line from there to `upper`, where
/// `largest` is as long as a bar may be.
fn bar(median: u64, upper: u64, largest: u64) -> String {
    let width = u64::try_from(BAR_WIDTH).unwrap_or(0);
    let cells = |value: u64, parts: u64| {
        let whole = u128::from(value) * u128::from(width * parts);
        let cells = whole / u128::from(largest.max(1));
        usize::try_from(cells).unwrap_or(BAR_WIDTH)
    };
    let eighths = cells(median, 8);
    let mut text = "█".repeat(eighths / 8);
    text.extend(EIGHTHS.get(eighths % 8).copied());
    let drawn = text.chars().count();
    let end = cells(upper, 1);
    text.extend(iter::repeat_n('─', end.saturating_sub(drawn)));
    text
}

/// The first is none.
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

const LEGEND: &str = "█ up to the median, ─ to the 90th percentile; with fewer than ten samples to \
    the largest.";

const NAME_WIDTH: usize = 16;
const BAR_WIDTH: usize = 22;
const VALUE_WIDTH: usize = 8;
const CHART_WIDTH: usize = NAME_WIDTH + BAR_WIDTH + VALUE_WIDTH + 2;

#[cfg(test)]
mod tests {
    use super::super::results::tests::results;
    use super::bar;

    #[test]
    fn a_bar_is_as_long_as_its_value() {
        for (median, upper, expected) in [
            (0, 0, ""),
            (22, 22, "██████████████████████"),
            (11, 22, "███████████───────────"),
            (1, 1, "█"),
            (2, 3, "██─"),
        ] {
            assert_eq!(bar(median, upper, 22), expected, "{median} {upper}");
        }
        // Three eighths of a character, then the rest of the line.
        assert_eq!(bar(3, 16, 176), "▍─");
        assert_eq!(bar(0, 0, 0), "");
    }

    #[test]
    fn every_subject_has_a_bar_in_each_chart() {
        let chart = results().chart();
        let lines: Vec<&str> = chart.lines().collect();
        let heads = lines
            .iter()
            .filter(|line| line.contains("invocation, µs"))
            .count();
        assert_eq!(heads, 2, "{chart}");
        let bars = lines.iter().filter(|line| line.starts_with("two"));
        let bars: Vec<&&str> = bars.collect();
        assert_eq!(bars.len(), 2, "{chart}");
        // The second subject is the slower one, so its first bar and line are as long as can be.
        let expected = "two              ████████████████████▏─     2.20";
        assert!(bars[0].starts_with(expected), "{chart}");
        let widest = lines.iter().map(|line| line.chars().count()).max();
        assert!(widest <= Some(100), "{chart}");
    }

    #[test]
    fn a_figure_without_values_has_no_chart() {
        let mut results = results();
        let all = results.subjects.iter_mut().flat_map(|of| &mut of.samples);
        all.for_each(|sample| sample.warm_invocations_ns.clear());
        let chart = results.chart();
        assert!(!chart.contains("warm"), "{chart}");
        assert!(chart.contains("peak memory, MiB"), "{chart}");
    }
}

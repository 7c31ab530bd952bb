//! The summary in the terminal.

use std::io::{self, Write};

use bantam_report::{DifferenceRow, FunctionRow, Report, Summary, Tables};
use comfy_table::{CellAlignment, Table, presets};

use crate::counts::{counted, grouped, usd};

/// Prints the summary, with at most `rows` rows of a table.
pub(crate) fn show(out: &mut dyn Write, report: &Report, rows: usize) -> io::Result<()> {
    read(out, &report.tables)?;
    totals(out, &report.tables)?;
    starts(out, &report.tables, rows)?;
    distributions(out, &report.tables)?;
    functions(
        out,
        "functions, by the time that was waited",
        &report.tables.functions,
        rows,
    )?;
    let programs = "programs, beside the first one";
    differences(out, programs, &report.programs)?;
    if let Some(versus) = &report.versus {
        writeln!(out, "\ncompared with the run after it")?;
        read(out, &versus.tables)?;
        totals(out, &versus.tables)?;
        differences(out, "differences", &versus.differences)?;
    }
    Ok(())
}

fn read(out: &mut dyn Write, tables: &Tables) -> io::Result<()> {
    let read = &tables.read;
    writeln!(
        out,
        "{}, {}, {}; {} told of a start or an invocation",
        counted(read.files, "file"),
        counted(read.bytes, "byte"),
        counted(read.messages, "message"),
        grouped(read.facts)
    )?;
    if read.facts == 0 {
        writeln!(
            out,
            "nothing in them is a line about a function; `bantam-report --help` has what is read"
        )?;
    }
    if read.problems != 0 {
        writeln!(out, "{} could not be read:", grouped(read.problems))?;
        for problem in &read.shown {
            writeln!(
                out,
                "  {}:{}: {}",
                problem.file, problem.line, problem.reason
            )?;
        }
    }
    if tables.totals.left_out != 0 {
        writeln!(
            out,
            "{} environments or starts had no room and are left out",
            grouped(tables.totals.left_out)
        )?;
    }
    Ok(())
}

fn totals(out: &mut dyn Write, tables: &Tables) -> io::Result<()> {
    let totals = &tables.totals;
    let share = totals.cold_start_share.map(percent);
    writeln!(
        out,
        "{}, {}, {}, {}, {}{}; {} waited, {} billed ({})",
        counted(totals.functions, "function"),
        counted(totals.environments, "environment"),
        counted(totals.invocations, "invocation"),
        counted(totals.environment_starts, "start"),
        counted(totals.cold_starts, "cold start"),
        share.map_or_else(String::new, |share| format!(" ({share} of invocations)")),
        duration(totals.wait_ms),
        duration(totals.billed_init_ms),
        usd(totals.billed_init_usd),
    )?;
    Ok(())
}

fn starts(out: &mut dyn Write, tables: &Tables, rows: usize) -> io::Result<()> {
    let mut table = table(&[
        "kind", "cause", "inferred", "starts", "init p50", "p99", "waited",
    ]);
    for row in tables.starts.iter().take(rows) {
        table.add_row([
            row.cold_start_kind.clone(),
            row.cause.clone(),
            grouped(row.inferred),
            grouped(row.environment_starts),
            optional(row.init_ms.p50),
            optional(row.init_ms.p99),
            duration(row.wait_ms),
        ]);
    }
    print(
        out,
        "starts, by kind and cause",
        &table,
        tables.starts.len(),
        rows,
    )?;
    Ok(())
}

fn distributions(out: &mut dyn Write, tables: &Tables) -> io::Result<()> {
    let mut table = table(&["figure", "unit", "count", "min", "p50", "p90", "p99", "max"]);
    for row in &tables.distributions {
        let Summary {
            count,
            min,
            p50,
            p90,
            p99,
            max,
            ..
        } = row.summary.clone();
        let mut cells = vec![row.figure.to_owned(), row.unit.to_owned(), grouped(count)];
        cells.extend(
            [min, p50, p90, p99, max]
                .map(|value| value.map_or_else(String::new, |value| format!("{value:.1}"))),
        );
        table.add_row(cells);
    }
    print(out, "distributions", &table, 0, 0)?;
    Ok(())
}

fn functions(out: &mut dyn Write, title: &str, all: &[FunctionRow], rows: usize) -> io::Result<()> {
    let mut table = table(&[
        "function",
        "invocations",
        "cold",
        "share",
        "init p50",
        "p99",
        "waited",
    ]);
    for row in all.iter().take(rows) {
        table.add_row([
            row.function_name.clone(),
            grouped(row.invocations),
            grouped(row.cold_starts),
            row.cold_start_share.map_or_else(String::new, percent),
            optional(row.init_ms.p50),
            optional(row.init_ms.p99),
            duration(row.wait_ms),
        ]);
    }
    print(out, title, &table, all.len(), rows)?;
    Ok(())
}

fn differences(out: &mut dyn Write, title: &str, rows: &[DifferenceRow]) -> io::Result<()> {
    let mut table = table(&[
        "figure",
        "before",
        "after",
        "ratio",
        "95 % from",
        "to",
        "verdict",
    ]);
    for row in rows {
        let of = &row.difference;
        let numbers = [of.before, of.after].map(|value| format!("{value:.1} {}", row.unit));
        let ratios = [of.ratio, of.ratio_low, of.ratio_high].map(|value| format!("{value:.3}"));
        let verdict = match (row.is_significant, of.difference < 0.0) {
            (false, _) => "no difference is sure",
            (true, true) => "less",
            (true, false) => "more",
        };
        let mut cells = vec![row.label()];
        cells.extend(numbers.into_iter().chain(ratios));
        cells.push(verdict.to_owned());
        table.add_row(cells);
    }
    print(out, title, &table, 0, 0)?;
    Ok(())
}

fn table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_HORIZONTAL_ONLY)
        .set_header(head);
    for (at, name) in head.iter().enumerate() {
        let is_text = [
            "kind", "cause", "function", "figure", "quantile", "verdict", "unit",
        ]
        .contains(name);
        if !is_text && let Some(column) = table.column_mut(at) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn print(
    out: &mut dyn Write,
    title: &str,
    table: &Table,
    all: usize,
    shown: usize,
) -> io::Result<()> {
    if table.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{title}\n{table}")?;
    if shown < all {
        writeln!(
            out,
            "… and {} more rows: --rows, or --json",
            grouped((all - shown) as u64)
        )?;
    }
    Ok(())
}

fn optional(ms: Option<f64>) -> String {
    ms.map_or_else(String::new, duration)
}

/// A duration in the unit that fits it.
fn duration(ms: f64) -> String {
    let units = [
        (86_400_000.0, "d"),
        (3_600_000.0, "h"),
        (60_000.0, "min"),
        (1_000.0, "s"),
    ];
    let unit = units.iter().find(|(of, _)| 2.0 * of <= ms);
    let (of, symbol) = unit.copied().unwrap_or((1.0, "ms"));
    format!("{:.1} {symbol}", ms / of)
}

fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_shares_are_short() {
        assert_eq!(duration(397.68), "397.7 ms");
        assert_eq!(duration(2_500.0), "2.5 s");
        assert_eq!(duration(7_200_000.0), "2.0 h");
        assert_eq!(percent(0.0123), "1.23 %");
    }
}

//! The rows as text, JSON, Markdown and JUnit.

use std::fmt::Write as _;

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use serde_json::{Value, json};

use super::rule::{Row, Rule, Verdict};

/// How many rows passed, failed, and did not apply.
fn counts(rows: &[Row]) -> [usize; 3] {
    [Verdict::Pass, Verdict::Fail, Verdict::NotApplicable]
        .map(|verdict| rows.iter().filter(|row| row.verdict == verdict).count())
}

/// One row for a terminal.
#[must_use]
pub fn text(row: &Row) -> String {
    let Row {
        rule,
        verdict,
        seen,
        ..
    } = row;
    let mut text = format!("{:<14} {:<26} {seen}", verdict.name(), rule.id);
    if *verdict == Verdict::Fail {
        let level = rule.level.name();
        // Writing to a string cannot fail.
        let _ok = write!(
            text,
            "\n{:14} {level}: {}\n{:14} {}",
            "", rule.text, "", rule.source
        );
    }
    text
}

/// All rows as one JSON object.
#[must_use]
pub fn json(name: &str, rows: &[Row]) -> Value {
    let [passed, failed, not_applicable] = counts(rows);
    let rows: Vec<_> = rows
        .iter()
        .map(|row| {
            // A rule that is kept is as its text says.
            let transcript = (row.verdict == Verdict::Fail).then_some(&row.transcript);
            json!({
                "rule": row.rule.id,
                "level": row.rule.level.name(),
                "text": row.rule.text,
                "source": row.rule.source,
                "result": row.verdict.name(),
                "seen": row.seen,
                "transcript": transcript,
            })
        })
        .collect();
    json!({
        "name": name,
        "emulator_version": env!("CARGO_PKG_VERSION"),
        "passed": passed,
        "failed": failed,
        "not_applicable": not_applicable,
        "rows": rows,
    })
}

/// All rows as a Markdown table, with a line of counts above.
#[must_use]
pub fn markdown(name: &str, rows: &[Row]) -> String {
    let [passed, failed, not_applicable] = counts(rows);
    let mut text = format!(
        "{name}: {passed} passed, {failed} failed, {not_applicable} did not apply.\n\n\
         | rule | level | | seen |\n|---|---|---|---|\n"
    );
    for row in rows {
        let (rule, seen) = (row.rule, cell(&row.seen));
        let (id, source, level) = (rule.id, rule.source, rule.level.name());
        let result = row.verdict.name();
        let _ok = writeln!(text, "| [{id}]({source}) | {level} | {result} | {seen} |");
    }
    text
}

/// All rows as a JUnit file.
///
/// # Errors
///
/// The text cannot be written as XML.
pub fn junit(name: &str, rows: &[Row]) -> Result<String, quick_junit::SerializeError> {
    let mut suite = TestSuite::new(name);
    for row in rows {
        let mut status = match row.verdict {
            Verdict::Pass => TestCaseStatus::success(),
            Verdict::Fail => TestCaseStatus::non_success(NonSuccessKind::Failure),
            Verdict::NotApplicable => TestCaseStatus::skipped(),
        };
        status.set_message(row.seen.as_str());
        if row.verdict == Verdict::Fail {
            let transcript = row.transcript.join("\n");
            status.set_description(format!("{}\n{transcript}", row.rule.text));
        }
        suite.add_test_case(TestCase::new(row.rule.id, status));
    }
    let mut report = Report::new("conformance");
    report.add_test_suite(suite);
    report.to_string()
}

/// Several programs beside each other, out of the objects that [`json()`] gave: a table of counts,
/// and a table of the rules that one of them breaks.
#[must_use]
pub fn compare(programs: &[Value]) -> String {
    let text = |value: &Value, member: &str| {
        let member = value.get(member).cloned().unwrap_or_default();
        member
            .as_str()
            .map_or_else(|| member.to_string(), str::to_owned)
    };
    let mut out = "| program | passed | failed | did not apply |\n|---|---|---|---|\n".to_owned();
    for program in programs {
        let cells = ["name", "passed", "failed", "not_applicable"].map(|m| text(program, m));
        let _ok = writeln!(out, "| {} |", cells.join(" | "));
    }
    let rows = |program: &Value| {
        let rows = program.get("rows").and_then(Value::as_array);
        rows.cloned().unwrap_or_default()
    };
    out.push_str("\n| program | rule | level | what it says | seen |\n|---|---|---|---|---|\n");
    for program in programs {
        for row in rows(program)
            .iter()
            .filter(|row| text(row, "result") == "fail")
        {
            let name = text(program, "name");
            let [id, level, rule, source, seen] =
                ["rule", "level", "text", "source", "seen"].map(|member| text(row, member));
            let seen = cell(&seen);
            let _ok = writeln!(
                out,
                "| {name} | [{id}]({source}) | {level} | {rule} | {seen} |"
            );
        }
    }
    out
}

/// The list of rules, for `--list`.
#[must_use]
pub fn list(rules: &[&Rule]) -> String {
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic);
    for rule in rules {
        table.add_row([rule.id, rule.level.name(), rule.text]);
    }
    table.to_string()
}

/// Text that stays within a cell of a table: as many words as fit.
fn cell(text: &str) -> String {
    let mut shown = String::new();
    for word in text.split_whitespace() {
        if shown.chars().count() + word.chars().count() > CELL_CHARS_MAX {
            shown += " …";
            break;
        }
        shown.extend([if shown.is_empty() { "" } else { " " }, word]);
    }
    shown.replace('|', "\\|").replace('<', "\\<")
}

const CELL_CHARS_MAX: usize = 200;

//! `cargo compare`: Bantam beside its floors and its peers, measured in turn in one run.
//!
//! Every program is built from source first: ours by `layer/build`, as it ships. Then each part
//! prints its tables, and all are written to `target/bench` as Markdown and JSON.
//! Times are reported; verdicts are by counts that do not depend on the machine's speed.

#![expect(clippy::print_stdout, reason = "the tables are the result")]
#![expect(clippy::print_stderr, reason = "errors and progress go to stderr")]

mod api;
mod baseline;
mod events;
mod growth;
mod ingest;
mod parts;
mod process;
mod programs;
mod start;
mod table;
mod tools;
mod warm;

use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use crate::parts::{Effort, Part, Results};
use crate::programs::Workshop;
use crate::table::Bar;

/// What anything here returns: every error ends the run.
pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    match compare() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether everything is as it has to be.
fn compare() -> Outcome<bool> {
    let Some(args) = Args::parse(env::args().skip(1))? else {
        println!("{USAGE}");
        return Ok(true);
    };
    let missing = tools::missing();
    if !missing.is_empty() {
        return Err(format!("not installed: {}. {NEEDED}", missing.join(", ")).into());
    }
    let workshop = Workshop::open(env::var_os("CARGO_TARGET_DIR").map(PathBuf::from))?;
    let mut results = Results::default();
    eprintln!("Building the floors ...");
    workshop.floors()?;
    for part in &args.parts {
        let before = results.tables.len();
        part.run(&workshop, args.effort, &mut results)?;
        for table in results.tables.iter().skip(before) {
            println!("{}", table.markdown());
        }
    }
    println!("{}", Bar::markdown(&results.bars));
    write(&workshop, &results)?;
    let file = workshop.file("benches/baseline.tsv");
    if args.bless {
        results.counts.bless(&file)?;
        println!("Written: {}", file.display());
    }
    if !args.check {
        return Ok(true);
    }
    let differences = results.counts.differences(&file)?;
    for difference in &differences {
        eprintln!("{difference}");
    }
    let missed = results.bars.iter().filter(|bar| bar.counted && !bar.met());
    let missed: Vec<&Bar> = missed.collect();
    for bar in &missed {
        eprintln!("missed: {}", bar.what);
    }
    Ok(differences.is_empty() && missed.is_empty())
}

/// Writes all tables, for readers and for programs.
fn write(workshop: &Workshop, results: &Results) -> Outcome<()> {
    let mut text = String::new();
    for table in &results.tables {
        writeln!(text, "{}", table.markdown())?;
    }
    writeln!(text, "{}", Bar::markdown(&results.bars))?;
    let markdown = workshop.folder.join("performance.md");
    fs::write(&markdown, text)?;
    let json = json!({
        "tables": results.tables.iter().map(table::Table::json).collect::<Vec<_>>(),
        "bars": results.bars.iter().map(Bar::json).collect::<Vec<_>>(),
    });
    fs::write(
        workshop.folder.join("performance.json"),
        format!("{json:#}\n"),
    )?;
    println!(
        "Written: {} and performance.json beside it",
        markdown.display()
    );
    Ok(())
}

/// What the driver is told.
struct Args {
    parts: Vec<Part>,
    effort: Effort,
    check: bool,
    bless: bool,
}

impl Args {
    /// `None` if help is asked for.
    fn parse(args: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut parsed = Self {
            parts: Vec::new(),
            effort: Effort::Full,
            check: false,
            bless: false,
        };
        for arg in args {
            match arg.as_str() {
                // The alias ends in one already, and another is easily typed after it.
                "--" => {}
                "--short" => parsed.effort = Effort::Short,
                "--check" => parsed.check = true,
                "--bless" => parsed.bless = true,
                "--help" | "-h" => return Ok(None),
                name => parsed.parts.push(
                    Part::named(name)
                        .ok_or_else(|| format!("unexpected argument {name}\n\n{USAGE}"))?,
                ),
            }
        }
        if parsed.parts.is_empty() {
            parsed.parts = Part::ALL.to_vec();
        }
        if (parsed.check || parsed.bless) && parsed.parts != Part::ALL {
            return Err("the baseline is of all parts".to_owned());
        }
        Ok(Some(parsed))
    }
}

const NEEDED: &str = "On Debian: apt-get install gcc musl-tools procps strace valgrind";

const USAGE: &str = "\
Usage: cargo compare [-- [PART ...] [--short] [--check | --bless]]

  PART     start, warm, ingest or growth [default: all]
  --short  fewer samples, and only what the verdicts need
  --check  fail where a count differs from benches/baseline.tsv or misses its bar
  --bless  write the counts to benches/baseline.tsv";

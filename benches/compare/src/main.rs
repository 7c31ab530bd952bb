//! `cargo compare`: Bantam beside its floors and its peers, measured in turn in one run.
//!
//! Every program is built from source first: ours by `layer/build`, as it ships. Then each part
//! prints its tables, and all are written to `target/bench` as Markdown and JSON.
//! Times are reported; verdicts are by counts that do not depend on the machine's speed.

#![expect(clippy::print_stdout, reason = "the tables are the result")]
#![expect(clippy::print_stderr, reason = "errors and progress go to stderr")]

mod api;
mod baseline;
mod emulator;
mod events;
mod growth;
mod ingest;
mod machine;
mod parts;
mod process;
mod programs;
mod servers;
mod start;
mod streams;
mod summary;
mod table;
mod tools;
mod warm;
mod workers;

use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use serde_json::json;
use testkit::source::Source;

use crate::parts::{Effort, Part, Results};
use crate::programs::Workshop;
use crate::table::Bar;

/// The result of any function here. Every error ends the run.
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
    results.bars.push(lines(&workshop));
    println!("{}", Bar::markdown(&results.bars));
    write(&workshop, &results)?;
    let file = workshop.file("benches/baseline.tsv");
    if args.bless {
        results.counts.bless(&file)?;
        println!("Written: {}", file.display());
    }
    if args.publish {
        publish(&workshop, args.effort, &results)?;
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

/// How much code there is to read and to keep right.
fn lines(workshop: &Workshop) -> Bar {
    let sources = testkit::source::below(&workshop.file("src"));
    let lines: usize = sources.iter().map(Source::code_lines).sum();
    let lines = u32::try_from(lines).map_or(f64::INFINITY, f64::from);
    Bar::at_most(LINES_MAX, "lines of code in src, without tests", lines)
}

fn text(results: &Results) -> Outcome<String> {
    let mut text = format!("{}\n\n{}\n", machine::line(), Bar::markdown(&results.bars));
    for table in &results.tables {
        writeln!(text, "{}", table.markdown())?;
    }
    Ok(text)
}

/// Puts the tables and the summary in the places of those in the document, and draws its picture.
fn publish(workshop: &Workshop, effort: Effort, results: &Results) -> Outcome<()> {
    let file = workshop.file("docs/performance.md");
    let mut document = fs::read_to_string(&file)?;
    let summary = format!(
        "{}\n{}\n",
        summary::sentences(&results.tables),
        summary::markdown(&results.tables)?
    );
    let tables = match effort {
        Effort::Short => format!("They are of a short run (`--short`).\n{}", text(results)?),
        Effort::Full => text(results)?,
    };
    for (place, text) in [(SUMMARY, summary), (TABLES, tables)] {
        document = replaced(&document, place, &text)?;
    }
    fs::write(&file, document)?;
    println!("Written: {}", file.display());
    let picture = workshop.file("docs/pictures/peers.svg");
    let mut draw = Command::new("cargo");
    draw.args(["run", "--quiet", "--locked", "--package", "bantam-report"]);
    draw.args(["--example", "peers"]).arg(file).arg(&picture);
    let status = draw.status()?;
    if !status.success() {
        return Err(format!("{draw:?}: {status}").into());
    }
    println!("Written: {}", picture.display());
    Ok(())
}

/// A document with this text between the two marks of a place.
fn replaced(document: &str, [begin, end]: [&str; 2], text: &str) -> Outcome<String> {
    let (before, rest) = document
        .split_once(begin)
        .ok_or_else(|| format!("no {begin} in the document"))?;
    let (_, after) = rest
        .split_once(end)
        .ok_or_else(|| format!("no {end} in the document"))?;
    Ok(format!("{before}{begin}\n\n{text}{end}{after}"))
}

/// Writes all tables, for readers and for programs.
fn write(workshop: &Workshop, results: &Results) -> Outcome<()> {
    let text = text(results)?;
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

/// The arguments of the command line.
struct Args {
    parts: Vec<Part>,
    effort: Effort,
    check: bool,
    bless: bool,
    publish: bool,
}

impl Args {
    /// `None` if help is asked for.
    fn parse(args: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut parsed = Self {
            parts: Vec::new(),
            effort: Effort::Full,
            check: false,
            bless: false,
            publish: false,
        };
        for arg in args {
            match arg.as_str() {
                // The alias ends in one already, and another is easily typed after it.
                "--" => {}
                "--short" => parsed.effort = Effort::Short,
                "--check" => parsed.check = true,
                "--bless" => parsed.bless = true,
                "--publish" => parsed.publish = true,
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
        let whole = parsed.check || parsed.bless || parsed.publish;
        if whole && parsed.parts != Part::ALL {
            return Err("the baseline and the document are of all parts".to_owned());
        }
        if (parsed.check || parsed.bless) && parsed.effort != Effort::Short {
            // A full run has sizes that the baseline has not.
            return Err("the baseline is of a short run".to_owned());
        }
        Ok(Some(parsed))
    }
}

/// The lines when the bars were set.
const LINES_MAX: f64 = 9_881.0;

const NEEDED: &str = "On Debian: apt-get install gcc musl-tools procps strace valgrind";

const USAGE: &str = "\
Usage: cargo compare [-- [PART ...] [--short] [--check] [--bless] [--publish]]

  PART       start, warm, ingest, growth, workers, streams, http or emulator [default: all]
  --short    fewer samples, and only what the verdicts need
  --check    fail where a count differs from benches/baseline.tsv or misses its bar
  --bless    write the counts to benches/baseline.tsv
  --publish  write the summary and the tables to docs/performance.md; a short run says so there";

const SUMMARY: [&str; 2] = [
    "<!-- summary: cargo compare -- --publish -->",
    "<!-- end of the summary -->",
];
const TABLES: [&str; 2] = [
    "<!-- tables: cargo compare -- --publish -->",
    "<!-- end of the tables -->",
];

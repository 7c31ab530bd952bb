//! `emulator coldstart`: the measurement of [`emulator::measure`] from a terminal.

use std::error::Error;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use emulator::interrupt::Interrupt;
use emulator::measure::{Bar, MeasureError, Options, Subject, measure};

use super::function::{FunctionArgs, at_least_one, read_event};

/// Arguments of `emulator coldstart`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The function's program, or a directory with a `bootstrap`: the first row of the table
    #[arg(long, value_name = "PATH")]
    function: PathBuf,
    /// Another program to compare it with; repeat for more
    #[arg(long, value_name = "PATH")]
    versus: Vec<PathBuf>,
    #[command(flatten)]
    given: FunctionArgs,
    /// Cold starts of each program
    #[arg(long, value_name = "N", default_value = "50", value_parser = at_least_one)]
    times: usize,
    /// Warm invocations after each cold start
    #[arg(long, value_name = "N", default_value = "20")]
    warm: usize,
    /// The event of every invocation (`-`: stdin) [default: {}]
    #[arg(long, value_name = "FILE")]
    event: Option<PathBuf>,
    /// Where every sample goes, as JSON [default: target/coldstart.json, or coldstart.json without a
    /// target directory]
    #[arg(long, value_name = "FILE.json")]
    out: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
///
/// The event cannot be read, the measurement ends early for another reason than a function error, or the
/// JSON cannot be written.
pub(crate) fn coldstart(args: Args) -> Result<ExitCode, Box<dyn Error>> {
    let event = match &args.event {
        Some(path) => read_event(path)?,
        None => b"{}".to_vec(),
    };
    let subjects = subjects(&args, &event)?;
    let options = Options {
        times: args.times,
        warm: args.warm,
        ..Options::default()
    };
    let interrupt = Interrupt::install()?;
    let bar = Bar::new();
    let results = measure(&subjects, options, |progress| {
        bar.show(progress);
        if interrupt.requested() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    drop(bar);
    let results = match results {
        Ok(results) => results,
        Err(error @ MeasureError::Function { .. }) => {
            eprintln!("error: {error}");
            return Ok(ExitCode::FAILURE);
        }
        Err(error) => return Err(error.into()),
    };
    println!("{results}");
    let out = args.out.unwrap_or_else(default_out);
    fs::write(&out, format!("{:#}\n", results.json()))
        .map_err(|error| format!("cannot write {}: {error}", out.display()))?;
    println!("Every sample: {}", out.display());
    Ok(ExitCode::SUCCESS)
}

/// One subject for each program, under its file's name; under its path where that name is taken.
fn subjects(args: &Args, event: &[u8]) -> Result<Vec<Subject>, String> {
    let mut subjects: Vec<Subject> = Vec::new();
    for path in std::iter::once(&args.function).chain(&args.versus) {
        let config = args.given.config(path)?;
        let file = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let name = file
            .filter(|name| subjects.iter().all(|other| other.name != *name))
            .unwrap_or_else(|| path.display().to_string());
        subjects.push(Subject {
            name,
            config,
            event: event.to_vec(),
        });
    }
    Ok(subjects)
}

/// Beside Cargo's output where there is one.
fn default_out() -> PathBuf {
    let folder = if Path::new("target").is_dir() {
        "target"
    } else {
        ""
    };
    Path::new(folder).join("coldstart.json")
}

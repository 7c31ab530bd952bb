//! `bantam-emulator coldstart`: the measurement of [`bantam_emulator::measure`] from a terminal.

use std::error::Error;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bantam_emulator::interrupt::Interrupt;
use bantam_emulator::measure::{Bar, MeasureError, Options, Subject, measure};
use bantam_report::Report;

use super::function::{FunctionArgs, at_least_one, file_name, read_event};
use super::{check_writable, print, print_error, suite, unwritable};

/// Arguments of `bantam-emulator coldstart`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The function's program, or a directory with a `bootstrap`: the first row of the table
    #[arg(
        long,
        value_name = "PATH",
        required_unless_present = "suite",
        conflicts_with = "suite"
    )]
    function: Option<PathBuf>,
    /// Another program to compare it with; repeat for more
    #[arg(long, value_name = "PATH", conflicts_with = "suite")]
    versus: Vec<PathBuf>,
    /// Measure the function once more with this extension beside it: what does it add? Repeat to
    /// compare several
    #[arg(long, value_name = "EXTENSION", conflicts_with = "suite")]
    beside: Vec<PathBuf>,
    /// A list of programs in place of --function: a JSON array of objects with name, function,
    /// and, where needed, handler, `task_root`, event (a file), env, extensions and
    /// `compared_with` (a name)
    #[arg(long, value_name = "FILE.json", conflicts_with = "event")]
    suite: Option<PathBuf>,
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
    /// Where every sample goes, as JSON [default: target/coldstart.json, or coldstart.json without
    /// a target directory]
    #[arg(long, value_name = "FILE.json")]
    out: Option<PathBuf>,
    /// Where one HTML page with pictures of the samples goes, which needs no network
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
///
/// An argument or the suite names what cannot be used, the measurement ends early for another
/// reason than a function error, or the JSON cannot be written.
pub(crate) fn coldstart(args: Args) -> Result<ExitCode, Box<dyn Error>> {
    let subjects = match &args.suite {
        Some(path) => suite::read(path, &args.given)?,
        None => subjects(&args)?,
    };
    let options = Options {
        times: args.times,
        warm: args.warm,
        ..Options::default()
    };
    let out = args.out.clone().unwrap_or_else(default_out);
    for path in [Some(&out), args.html.as_ref()].into_iter().flatten() {
        check_writable(path)?;
    }
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
            print_error(format_args!("error: {error}"));
            return Ok(ExitCode::FAILURE);
        }
        Err(error) => return Err(error.into()),
    };
    print(&results);
    fs::write(&out, format!("{:#}\n", results.json())).map_err(|error| unwritable(&out, &error))?;
    print(format_args!("Every sample: {}", out.display()));
    if let Some(html) = &args.html {
        draw(&out, html)?;
        print(format_args!("Pictures: {}", html.display()));
    }
    Ok(ExitCode::SUCCESS)
}

/// Draws the samples in `json` as `bantam-report` does.
fn draw(json: &Path, html: &Path) -> Result<(), Box<dyn Error>> {
    let report = Report::read(&[json.to_owned()], &[], BOOTSTRAP_SEED, &|_| {})?;
    let page = report.html("Cold starts in the emulator")?;
    fs::write(html, page).map_err(|error| unwritable(html, &error).into())
}

/// The seed of `bantam-report`, so that it draws the same page.
const BOOTSTRAP_SEED: u64 = 1;

/// One subject for each program, under its file's name; under its path where that name is taken.
fn subjects(args: &Args) -> Result<Vec<Subject>, String> {
    let event = match &args.event {
        Some(path) => read_event(path)?,
        None => b"{}".to_vec(),
    };
    let mut subjects: Vec<Subject> = Vec::new();
    let mut add = |name: String, path: &Path, given: &FunctionArgs, long_name: String| {
        let is_taken = subjects.iter().any(|other| other.name == name);
        subjects.push(Subject {
            name: if is_taken { long_name } else { name },
            config: given.config(path)?,
            event: event.clone(),
            compared_with: None,
        });
        Ok::<_, String>(())
    };
    if let Some(function) = &args.function {
        let name = file_name(function);
        add(name.clone(), function, &args.given, name.clone())?;
        // Next to the row that they are compared with.
        for extension in &args.beside {
            let mut given = args.given.clone();
            given.extension.push(extension.clone());
            let [short, long] = [file_name(extension), extension.display().to_string()]
                .map(|extension| format!("{name} + {extension}"));
            add(short, function, &given, long)?;
        }
    }
    for path in &args.versus {
        add(
            file_name(path),
            path,
            &args.given,
            path.display().to_string(),
        )?;
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

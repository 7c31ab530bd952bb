//! `bantam-emulator conform`: the rules of [`bantam_emulator::conform`] from a terminal.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use bantam_emulator::Config;
use bantam_emulator::conform::{
    Row, Rule, Subject, Verdict, compare, json, junit, list, markdown, rules, run, text,
};
use serde_json::Value;

use super::function::{FunctionArgs, at_least_one, file_name, read_event};
use super::{check_writable, print, unwritable};

/// Arguments of `bantam-emulator conform`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The function's program, or a directory with a `bootstrap`. With --extension, the extension
    /// is what is tested, and this runs beside it
    #[arg(value_name = "BOOTSTRAP", required_unless_present_any = ["compare", "list"])]
    bootstrap: Option<PathBuf>,
    #[command(flatten)]
    given: FunctionArgs,
    /// An event that the function takes (`-`: stdin) [default: {}]
    #[arg(long, value_name = "FILE")]
    event: Option<PathBuf>,
    /// Only this rule; repeat for more. An id, or its beginning
    #[arg(long, value_name = "ID")]
    rule: Vec<String>,
    /// Not this rule; repeat for more
    #[arg(long, value_name = "ID")]
    except: Vec<String>,
    /// List the rules, of an extension with --extension, and try none
    #[arg(long)]
    list: bool,
    /// How many rules to try at once, each in an environment of its own; a program that listens on
    /// a fixed port needs 1 [default: 4, and 1 with --extension]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    jobs: Option<usize>,
    /// Its name in reports [default: the file's name]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Print every exchange of a rule that is broken
    #[arg(long)]
    transcript: bool,
    /// All rows as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// All rows as Markdown
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// All rows as a JUnit file
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Print JSON files of earlier runs as one table, and try nothing
    #[arg(long, value_name = "FILE.json", num_args = 1.., conflicts_with = "bootstrap")]
    compare: Vec<PathBuf>,
}

/// Runs the command.
///
/// # Errors
///
/// An argument names what cannot be used, or a report cannot be written.
pub(crate) fn conform(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    if args.list {
        let of_none = Subject {
            config: Config::new(""),
            extension: args.given.extension.first().cloned(),
            event: Vec::new(),
            patience: PATIENCE,
            at_once: 1,
        };
        print(list(&chosen(args, &of_none)?));
        return Ok(ExitCode::SUCCESS);
    }
    let Some(bootstrap) = &args.bootstrap else {
        let programs: Result<Vec<_>, _> = args.compare.iter().map(|path| read(path)).collect();
        print(compare(&programs?).trim_end());
        return Ok(ExitCode::SUCCESS);
    };
    let subject = subject(bootstrap, args)?;
    let rules = chosen(args, &subject)?;
    let reports = [&args.json, &args.markdown, &args.junit];
    for path in reports.into_iter().flatten() {
        check_writable(path)?;
    }
    let rows = run(&subject, &rules, |row| {
        print(text(row));
        if args.transcript && row.verdict == Verdict::Fail {
            print(row.transcript.join("\n"));
        }
    });
    let tested = subject.extension.as_ref().unwrap_or(bootstrap);
    let name = args.name.clone().unwrap_or_else(|| file_name(tested));
    let failed = count(&rows, Verdict::Fail);
    print(format_args!(
        "{name}: {} passed, {failed} failed, {} did not apply",
        count(&rows, Verdict::Pass),
        count(&rows, Verdict::NotApplicable),
    ));
    if let Some(path) = &args.json {
        write(path, &format!("{:#}\n", json(&name, &rows)))?;
    }
    if let Some(path) = &args.markdown {
        write(path, &markdown(&name, &rows))?;
    }
    if let Some(path) = &args.junit {
        write(path, &junit(&name, &rows)?)?;
    }
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn subject(bootstrap: &Path, args: &Args) -> Result<Subject, String> {
    let mut config = args.given.config(bootstrap)?;
    let mut extensions = config.extensions.drain(..);
    let extension = extensions.next();
    if extensions.next().is_some() {
        return Err("one extension is tested at a time".to_owned());
    }
    drop(extensions);
    let event = match &args.event {
        Some(path) => read_event(path)?,
        None => b"{}".to_vec(),
    };
    // Most extensions listen for telemetry on a port of their own choice, and few on any free one.
    let at_once = if extension.is_some() { 1 } else { 4 };
    Ok(Subject {
        config,
        extension,
        event,
        patience: PATIENCE,
        at_once: args.jobs.unwrap_or(at_once),
    })
}

const PATIENCE: Duration = Duration::from_secs(10);

/// The rules that were asked for.
fn chosen(args: &Args, subject: &Subject) -> Result<Vec<&'static Rule>, String> {
    let all = rules(subject);
    let mut named = args.rule.iter().chain(&args.except);
    if let Some(unknown) =
        named.find(|asked| !all.iter().any(|rule| rule.id.starts_with(asked.as_str())))
    {
        return Err(format!("there is no rule {unknown}; --list shows them"));
    }
    let is_in = |ids: &[String], rule: &Rule| ids.iter().any(|id| rule.id.starts_with(id.as_str()));
    let is_asked = |rule: &&Rule| {
        (args.rule.is_empty() || is_in(&args.rule, rule)) && !is_in(&args.except, rule)
    };
    let asked: Vec<_> = all.into_iter().filter(is_asked).collect();
    if asked.is_empty() {
        return Err("--except leaves no rule to try".to_owned());
    }
    Ok(asked)
}

fn count(rows: &[Row], verdict: Verdict) -> usize {
    rows.iter().filter(|row| row.verdict == verdict).count()
}

fn read(path: &Path) -> Result<Value, String> {
    let shown = path.display();
    let bytes = fs::read(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
    serde_json::from_slice(&bytes).map_err(|error| format!("{shown} is no JSON: {error}"))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| unwritable(path, &error))
}

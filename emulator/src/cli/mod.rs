//! The command line: arguments to library calls, results to text. Nothing is emulated or measured
//! here.

pub(crate) mod coldstart;
pub(crate) mod conform;
mod credentials;
pub(crate) mod event;
mod function;
mod reload;
pub(crate) mod rie;
pub(crate) mod run;
mod runtime;
pub(crate) mod sandbox;
mod suite;
mod view;

use std::env;
use std::ffi::OsString;
use std::fmt::Display;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use bantam_emulator::{Config, Emulator, Error as EmulatorError};
use clap::Parser;

impl Command {
    /// The command that the arguments of this process are.
    pub(crate) fn of_process() -> Self {
        let mut arguments: Vec<OsString> = env::args_os().collect();
        let argv0 = arguments.first().cloned().unwrap_or_default();
        if rie::is_named(Path::new(&argv0)) {
            arguments.insert(1, "rie".into());
        }
        Self::parse_from(arguments)
    }
}

/// A Lambda execution environment on this machine.
///
/// Starts a custom runtime (a `bootstrap`) as AWS Lambda does, serves the Runtime API to it and the
/// Invoke API to you.
#[derive(Debug, Parser)]
#[command(name = "bantam-emulator", version, after_help = EXIT_CODES)]
pub(crate) enum Command {
    /// Serve a function until Ctrl-C, or invoke it with given events
    #[command(
        override_usage = "bantam-emulator run <--function <PATH>|--attach> [OPTIONS]",
        after_help = run::EXAMPLES
    )]
    Run(run::Args),
    /// Stand in for AWS's Runtime Interface Emulator, by its flags, variables and ports
    ///
    /// Started under the name `aws-lambda-rie`, this program needs no `rie` in front.
    Rie(rie::Args),
    /// Start a program in a namespace of its own
    #[command(hide = true)]
    Enter(sandbox::Args),
    /// Print an event to try a function with
    Event(event::Args),
    /// Measure cold starts of one or more functions, in turn
    Coldstart(coldstart::Args),
    /// Put a runtime or an extension through the rules of its contract
    ///
    /// Each rule sets the timeout, the way of initialization and the number of workers by itself.
    Conform(conform::Args),
}

/// Starts the emulator.
///
/// # Errors
///
/// It cannot start; the text says what to do where a port is taken.
fn start(config: Config) -> Result<Emulator, String> {
    Emulator::start(config).map_err(|error| {
        let is_taken = |source: &io::Error| source.kind() == io::ErrorKind::AddrInUse;
        if matches!(&error, EmulatorError::Listen { source, .. } if is_taken(source)) {
            return format!("{error}; another program listens there: name another port, or none");
        }
        error.to_string()
    })
}

/// Prints a line of the results. A reader that has closed its end, as head(1) does, wants no more.
pub(crate) fn print(line: impl Display) {
    let _closed = writeln!(io::stdout(), "{line}");
}

/// Prints a line for the user, whose terminal may be gone.
pub(crate) fn print_error(line: impl Display) {
    let _closed = writeln!(io::stderr(), "{line}");
}

/// Checks before a long run that its results can be written.
///
/// # Errors
///
/// They cannot; the text names the file.
pub(crate) fn check_writable(path: &Path) -> Result<(), String> {
    // An earlier file is kept until there are results, and none is left without them.
    let is_new = !path.exists();
    let opened = OpenOptions::new().create(true).append(true).open(path);
    let tried = opened.and_then(|_file| {
        if is_new {
            fs::remove_file(path)
        } else {
            Ok(())
        }
    });
    tried.map_err(|error| unwritable(path, &error))
}

fn unwritable(path: &Path, error: &io::Error) -> String {
    format!("cannot write {}: {error}", path.display())
}

/// Shown under the help.
const EXIT_CODES: &str = "Exit codes: 0 success, 1 the function failed, 2 anything else.";

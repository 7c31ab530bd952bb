//! The command line: arguments to library calls, results to text. Nothing is emulated or measured
//! here.

pub(crate) mod coldstart;
mod function;
pub(crate) mod run;
mod suite;

use clap::Parser;

/// A Lambda execution environment on this machine.
///
/// Starts a custom runtime (a `bootstrap`) as AWS Lambda does, serves the Runtime API to it and the
/// Invoke API to you.
#[derive(Debug, Parser)]
#[command(name = "bantam-emulator", version, after_help = EXIT_CODES)]
pub(crate) enum Command {
    /// Serve a function until Ctrl-C, or invoke it with given events
    Run(run::Args),
    /// Measure cold starts of one or more functions, in turn
    Coldstart(coldstart::Args),
}

/// Shown under the help.
const EXIT_CODES: &str = "Exit codes: 0 success, 1 the function failed, 2 anything else.";

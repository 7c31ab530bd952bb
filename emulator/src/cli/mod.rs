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
use std::path::Path;

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
    #[command(override_usage = "bantam-emulator run --function <PATH> [OPTIONS]")]
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
    Conform(conform::Args),
}

/// Shown under the help.
const EXIT_CODES: &str = "Exit codes: 0 success, 1 the function failed, 2 anything else.";

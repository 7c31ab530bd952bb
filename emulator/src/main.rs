//! The emulator's command: see `bantam-emulator --help`.

#![expect(clippy::print_stdout, reason = "a command's results go to stdout")]
#![expect(clippy::print_stderr, reason = "a command's errors go to stderr")]

mod cli;

use std::process::ExitCode;

use self::cli::{Command, coldstart, conform, event, rie, run, sandbox};

fn main() -> ExitCode {
    let result = match Command::of_process() {
        Command::Run(args) => run::run(args),
        Command::Rie(args) => rie::rie(&args),
        Command::Enter(args) => sandbox::enter(&args),
        Command::Event(args) => event::event(&args),
        Command::Coldstart(args) => coldstart::coldstart(args),
        Command::Conform(args) => conform::conform(&args),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(EXIT_FAILED)
        }
    }
}

/// The command could not do what it was asked; clap uses the same for arguments it does not
/// understand.
const EXIT_FAILED: u8 = 2;

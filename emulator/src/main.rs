//! The emulator's command: see `bantam-emulator --help`.

mod cli;

use std::process::ExitCode;

use self::cli::{Command, coldstart, conform, event, print_error, rie, run, sandbox};

fn main() -> ExitCode {
    let result = match Command::of_process() {
        Command::Run(args) => run::run(args),
        Command::Rie(args) => rie::rie(&args),
        Command::Enter(args) => sandbox::enter(&args),
        Command::Event(args) => Ok(event::event(&args)),
        Command::Coldstart(args) => coldstart::coldstart(args),
        Command::Conform(args) => conform::conform(&args),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            print_error(format_args!("error: {error}"));
            ExitCode::from(EXIT_FAILED)
        }
    }
}

/// The command could not do what it was asked; clap uses the same for arguments it does not
/// understand.
const EXIT_FAILED: u8 = 2;

//! The stock binary: its handler is any executable.

use std::process::ExitCode;

fn main() -> ExitCode {
    bantam::main(bantam::executable())
}

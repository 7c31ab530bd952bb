//! The echo of the warm path.

use std::convert::Infallible;
use std::process::ExitCode;

use bantam::Context;

fn echo<'a>(event: &'a [u8], _: &Context<'_>) -> Result<&'a [u8], Infallible> {
    Ok(event)
}

fn main() -> ExitCode {
    bantam::main(bantam::raw!(echo))
}

//! The smallest function with a type, as the README of `lambda_runtime` has it.

use std::convert::Infallible;
use std::process::ExitCode;

use bantam::Context;

fn main() -> ExitCode {
    bantam::main(bantam::typed!(|event, _: &Context<'_>| {
        Ok::<_, Infallible>(functions::hello(&event))
    }))
}

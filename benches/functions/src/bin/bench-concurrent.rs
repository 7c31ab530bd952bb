//! The typed function of the warm path, for several invocations at once.

use std::convert::Infallible;
use std::process::ExitCode;

use bantam::Context;

fn main() -> ExitCode {
    bantam::main(bantam::typed!(|event, _: &Context<'_>| {
        Ok::<_, Infallible>(functions::batch(&event))
    }))
}

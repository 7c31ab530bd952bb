//! Bytes in and bytes out: the response is the event itself, and nothing is copied.

use bantam::Context;
use std::convert::Infallible;

fn echo<'a>(event: &'a [u8], _: &Context<'_>) -> Result<&'a [u8], Infallible> {
    Ok(event)
}

fn main() {
    bantam::main(bantam::raw!(echo))
}

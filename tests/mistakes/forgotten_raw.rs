//= is not a handler
//= a function of bytes becomes a handler by `bantam::raw!(function)`

use bantam::Context;

fn echo<'a>(event: &'a [u8], _: &Context<'_>) -> Result<&'a [u8], bantam::Error> {
    Ok(event)
}

fn main() {
    bantam::main(echo)
}

//= expected `Vec<u8>`, found `&[u8]`

use bantam::Context;

fn echo(event: Vec<u8>, _: &Context<'_>) -> Result<Vec<u8>, bantam::Error> {
    Ok(event)
}

fn main() {
    bantam::main(bantam::raw!(echo))
}

//= the function returns `impl Future
//= make it a plain `fn` that runs the future with `block_on`

async fn echo(event: &[u8], _: &bantam::Context<'_>) -> Result<Vec<u8>, bantam::Error> {
    Ok(event.to_vec())
}

fn main() {
    bantam::main(bantam::raw!(echo))
}

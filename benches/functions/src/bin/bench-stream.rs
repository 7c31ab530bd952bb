//! A streamed response: a mark with the time of its writing, and as many bytes as the event says.

use std::io::{self, Write as _};
use std::process::ExitCode;

use bantam::{Answer, Context, ResponseStream};

fn respond(stream: &mut ResponseStream<'_>, bytes: usize) -> io::Result<()> {
    stream.write_all(functions::mark().as_bytes())?;
    for piece in functions::pieces(bytes) {
        stream.write_all(piece)?;
    }
    Ok(())
}

fn main() -> ExitCode {
    bantam::main(bantam::handler_fn(
        |event: &[u8], _: &Context<'_>, answer: Answer<'_>| {
            let bytes = str::from_utf8(event)
                .ok()
                .and_then(|text| text.parse().ok());
            let mut stream = answer.stream("text/plain");
            match respond(&mut stream, bytes.unwrap_or_default()) {
                Ok(()) => stream.finish(),
                Err(error) => stream.error(error),
            }
        },
    ))
}

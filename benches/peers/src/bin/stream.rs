//! The streamed response on `lambda_runtime`, as its example has it: a task that sends the pieces.

use lambda_runtime::streaming::{Body, Response, channel};
use lambda_runtime::{Error, LambdaEvent, service_fn};

#[allow(dead_code, unreachable_pub, reason = "each function uses a part of it")]
#[path = "../../../functions/src/lib.rs"]
mod handler;

#[tokio::main]
async fn main() -> Result<(), Error> {
    lambda_runtime::run(service_fn(|event: LambdaEvent<usize>| async move {
        let (mut sender, body) = channel();
        tokio::spawn(async move {
            sender.send_data(handler::mark().into()).await?;
            for piece in handler::pieces(event.payload) {
                // Not copied: the piece is a constant.
                sender.send_data(piece.into()).await?;
            }
            Ok::<_, Error>(())
        });
        Ok::<Response<Body>, Error>(Response::from(body))
    }))
    .await
}

//! The typed function on `lambda_runtime`, for several invocations at once.

use lambda_runtime::{Error, LambdaEvent, service_fn};

#[allow(dead_code, unreachable_pub, reason = "each function uses a part of it")]
#[path = "../../../functions/src/lib.rs"]
mod handler;

#[tokio::main]
async fn main() -> Result<(), Error> {
    lambda_runtime::run_concurrent(service_fn(
        |event: LambdaEvent<handler::Batch>| async move {
            Ok::<_, Error>(handler::batch(&event.payload))
        },
    ))
    .await
}

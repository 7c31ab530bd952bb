//! The hello world of `lambda_runtime`, as its README has it, with a type.

use lambda_runtime::{Error, LambdaEvent, service_fn};

#[allow(dead_code, unreachable_pub, reason = "each function uses a part of it")]
#[path = "../../../functions/src/lib.rs"]
mod handler;

#[tokio::main]
async fn main() -> Result<(), Error> {
    lambda_runtime::run(service_fn(
        |event: LambdaEvent<handler::Hello>| async move {
            Ok::<_, Error>(handler::hello(&event.payload))
        },
    ))
    .await
}

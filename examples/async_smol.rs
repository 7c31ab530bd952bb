//! Async code in a handler, with async-executor and async-io, of which the smol family is made:
//! each invocation runs its futures on an executor of its own, to their end.
//!
//! ```console
//! cargo build --example async_smol
//! echo '{"shops":["tea","café"]}' |
//!     cargo emulator run --function target/debug/examples/async_smol --event -
//! ```

use std::time::Duration;

use async_executor::LocalExecutor;
use async_io::Timer;
use bantam::Context;
use futures_lite::future::{block_on, or};
use serde::Deserialize;

#[derive(Deserialize)]
struct Question {
    shops: Vec<String>,
}

fn ask(question: Question, context: &Context<'_>) -> Result<u32, bantam::Error> {
    let executor = LocalExecutor::new();
    // All requests are under way at once; dropping the executor ends those that are not done.
    let requests: Vec<_> = question
        .shops
        .into_iter()
        .map(|shop| executor.spawn(price(shop)))
        .collect();
    let sum = async {
        let mut sum = 0;
        for request in requests {
            sum += request.await;
        }
        Ok(sum)
    };
    // The platform kills a function that is late; this way it can say why.
    let left = context.remaining().unwrap_or(Duration::from_secs(60));
    let late = async {
        Timer::after(left.saturating_sub(Duration::from_millis(100))).await;
        Err(bantam::Error::new(
            "Late",
            "the shops did not answer in time",
        ))
    };
    block_on(executor.run(or(sum, late)))
}

/// In place of a request to a service, which would use an `async_io::Async<TcpStream>`.
async fn price(shop: String) -> u32 {
    Timer::after(Duration::from_millis(20)).await;
    u32::try_from(shop.chars().count()).unwrap_or(u32::MAX)
}

fn main() {
    bantam::main(bantam::typed!(ask))
}

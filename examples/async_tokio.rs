//! Async code in a handler, with tokio: the runtime is made in the init phase, and each invocation
//! runs one future on it to its end.
//!
//! An SDK is set up in `setup` too: `runtime.block_on(aws_config::load_from_env())`, and the
//! clients from it, which the handler then uses for every invocation.
//!
//! ```console
//! cargo build --example async_tokio
//! echo '{"shops":["tea","café"]}' |
//!     cargo emulator run --function target/debug/examples/async_tokio --event -
//! ```

use std::time::Duration;

use bantam::{Context, Handler};
use serde::Deserialize;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

#[derive(Deserialize)]
struct Question {
    shops: Vec<String>,
}

fn setup() -> Result<impl Handler, std::io::Error> {
    // One thread is enough for code that waits. One with more is made by `new_multi_thread`.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(bantam::typed!(|question: Question,
                       context: &Context<'_>|
     -> Result<u32, bantam::Error> {
        let prices = prices(question);
        // The platform kills a function that is late; this way it can say why.
        let left = context.remaining().unwrap_or(Duration::MAX);
        let left = left.saturating_sub(Duration::from_millis(100));
        // All of it ends here: between invocations the process may be frozen, and a connection
        // that something is still waiting for can be dead when it is thawed.
        Ok(runtime.block_on(async { timeout(left, prices).await })??)
    }))
}

/// Asks all shops at once.
async fn prices(question: Question) -> Result<u32, tokio::task::JoinError> {
    let mut requests = JoinSet::new();
    for shop in question.shops {
        requests.spawn(price(shop));
    }
    let mut sum = 0;
    while let Some(price) = requests.join_next().await {
        sum += price?;
    }
    Ok(sum)
}

/// In place of a request to a service.
async fn price(shop: String) -> u32 {
    sleep(Duration::from_millis(20)).await;
    u32::try_from(shop.chars().count()).unwrap_or(u32::MAX)
}

fn main() {
    bantam::main(bantam::init!(setup))
}

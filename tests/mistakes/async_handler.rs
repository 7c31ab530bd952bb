//= the function returns `impl Future
//= make it a plain `fn` that runs the future with `block_on`

use bantam::Context;
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Order {
    count: u32,
}

#[derive(Serialize)]
struct Receipt {
    total: u32,
}

async fn order(order: Order, _: &Context<'_>) -> Result<Receipt, bantam::Error> {
    Ok(Receipt { total: order.count })
}

fn main() {
    bantam::main(bantam::typed!(order))
}

//= `u32` is not an error that a handler can return
//= return `bantam::Error`

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

fn order(order: Order, _: &Context<'_>) -> Result<Receipt, u32> {
    Err(order.count)
}

fn main() {
    bantam::main(bantam::typed!(order))
}

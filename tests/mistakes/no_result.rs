//= the function returns `Receipt`, but bantam needs a `Result`
//= return `Result<_, bantam::Error>`

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

fn order(order: Order, _: &Context<'_>) -> Receipt {
    Receipt { total: order.count }
}

fn main() {
    bantam::main(bantam::typed!(order))
}

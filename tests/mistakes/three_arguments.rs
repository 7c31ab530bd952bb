//= takes 3 arguments but 2 arguments were supplied
//= argument #3 of type `u32`

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

fn order(order: Order, _: &Context<'_>, _: u32) -> Result<Receipt, bantam::Error> {
    Ok(Receipt { total: order.count })
}

fn main() {
    bantam::main(bantam::typed!(order))
}

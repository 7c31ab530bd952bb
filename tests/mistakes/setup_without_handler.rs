//= `Order` is not a handler
//= becomes a handler by `bantam::typed!(function)`

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

fn order(order: Order, _: &Context<'_>) -> Result<Receipt, bantam::Error> {
    Ok(Receipt { total: order.count })
}

fn setup() -> Result<Order, bantam::Error> {
    Ok(Order { count: 1 })
}

fn main() {
    bantam::main(bantam::init!(setup))
}

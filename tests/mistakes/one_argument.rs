//= takes 1 argument but 2 arguments were supplied
//= unexpected argument #2 of type `&bantam::Context

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

fn order(order: Order) -> Result<Receipt, bantam::Error> {
    Ok(Receipt { total: order.count })
}

fn main() {
    bantam::main(bantam::typed!(order))
}

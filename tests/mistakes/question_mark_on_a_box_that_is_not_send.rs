//= `?` couldn't convert the error
//= cannot be sent between threads safely

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

fn check(order: &Order) -> Result<u32, Box<dyn std::error::Error>> {
    Ok(order.count)
}

fn order(order: Order, _: &Context<'_>) -> Result<Receipt, bantam::Error> {
    Ok(Receipt {
        total: check(&order)?,
    })
}

fn main() {
    bantam::main(bantam::typed!(order))
}

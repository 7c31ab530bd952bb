//= `?` couldn't convert the error
//= is not implemented for `bantam::Error`

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

fn check(order: &Order) -> Result<u32, bantam::Error> {
    Ok(order.count)
}

fn order(
    order: Order,
    _: &Context<'_>,
) -> Result<Receipt, Box<dyn std::error::Error + Send + Sync>> {
    Ok(Receipt {
        total: check(&order)?,
    })
}

fn main() {
    bantam::main(bantam::typed!(order))
}

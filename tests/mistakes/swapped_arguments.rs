//= Deserialize
//= is not implemented for `&bantam::Context

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

fn order(_: &Context<'_>, order: Order) -> Result<Receipt, bantam::Error> {
    Ok(Receipt { total: order.count })
}

fn main() {
    bantam::main(bantam::typed!(order))
}

//= `?` couldn't convert the error
//= is not implemented for `Fault`
//= `Fault` needs to implement

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

#[derive(Debug)]
struct Fault;

fn check(order: &Order) -> Result<u32, Fault> {
    if order.count == 0 {
        Err(Fault)
    } else {
        Ok(order.count)
    }
}

fn order(order: Order, _: &Context<'_>) -> Result<Receipt, bantam::Error> {
    Ok(Receipt {
        total: check(&order)?,
    })
}

fn main() {
    bantam::main(bantam::typed!(order))
}

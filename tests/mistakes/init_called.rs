//= `Result<impl Handler, bantam::Error>` is not a handler
//= goes into `bantam::init!(function)`

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

fn setup() -> Result<impl bantam::Handler, bantam::Error> {
    Ok(bantam::typed!(order))
}

fn main() {
    bantam::main(setup())
}

//= type annotations needed
//= Ok::<Receipt, E>

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

fn main() {
    bantam::main(bantam::typed!(|order: Order, _: &Context<'_>| Ok(
        Receipt { total: order.count }
    )))
}

//= consider giving this closure parameter an explicit type

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
    bantam::main(bantam::typed!(|order, _: &Context<'_>| Ok::<
        _,
        bantam::Error,
    >(Receipt {
        total: order.count
    })))
}

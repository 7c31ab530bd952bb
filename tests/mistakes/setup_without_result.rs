//= the function returns `impl Handler`, but bantam needs a `Result`
//= return `Result<_, bantam::Error>`

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

fn setup() -> impl bantam::Handler {
    bantam::typed!(order)
}

fn main() {
    bantam::main(bantam::init!(setup))
}

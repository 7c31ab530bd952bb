//= `Receipt: serde::Serialize`
//= #[derive(serde::Serialize)]

use bantam::Context;
use serde::Deserialize;

#[derive(Deserialize)]
struct Order {
    count: u32,
}

struct Receipt {
    total: u32,
}

fn order(order: Order, _: &Context<'_>) -> Result<Receipt, bantam::Error> {
    Ok(Receipt { total: order.count })
}

fn main() {
    bantam::main(bantam::typed!(order))
}

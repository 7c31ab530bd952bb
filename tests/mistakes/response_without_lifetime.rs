//= missing lifetime specifier
//= consider introducing a named lifetime parameter

use bantam::Context;
use serde::Deserialize;

#[derive(Deserialize)]
struct Order<'a> {
    item: &'a str,
}

fn order(order: Order<'_>, _: &Context<'_>) -> Result<&str, bantam::Error> {
    Ok(order.item)
}

fn main() {
    bantam::main(bantam::typed!(order))
}

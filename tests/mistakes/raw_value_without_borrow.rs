//= lifetime may not live long enough
//= item: &'a RawValue
//= must outlive

use bantam::Context;
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Order<'a> {
    item: &'a RawValue,
}

fn order(order: Order<'_>, _: &Context<'_>) -> Result<usize, bantam::Error> {
    Ok(order.item.get().len())
}

fn main() {
    bantam::main(bantam::typed!(order))
}

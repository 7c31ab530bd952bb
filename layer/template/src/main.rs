use bantam::Context;
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Order {
    item: String,
    count: u32,
}

#[derive(Debug, PartialEq, Serialize)]
struct Receipt {
    item: String,
    total: u32,
}

fn order(order: Order, _: &Context<'_>) -> Result<Receipt, bantam::Error> {
    let total = order.count.checked_mul(7);
    let total = total.ok_or_else(|| bantam::Error::new("TooMany", "too many"))?;
    Ok(Receipt { item: order.item, total })
}

fn main() {
    bantam::main(bantam::typed!(order))
}

#[test]
fn seven_for_each() {
    let event = Order { item: "tea".to_owned(), count: 2 };
    let receipt = order(event, &Context::for_test("1")).unwrap();
    assert_eq!(receipt, Receipt { item: "tea".to_owned(), total: 14 });
}

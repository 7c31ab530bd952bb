//= `Fault` is not an error that a handler can return
//= implement `std::fmt::Display` and `std::error::Error` for it, or return `bantam::Error`

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

fn order(_: Order, _: &Context<'_>) -> Result<Receipt, Fault> {
    Err(Fault)
}

fn main() {
    bantam::main(bantam::typed!(order))
}

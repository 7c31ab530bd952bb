//! A function in a crate of its own, with types of its own, as a user would begin.

use bantam::Context;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

#[derive(Deserialize)]
struct Greet<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
}

#[derive(Serialize)]
struct Greeting {
    message: String,
}

fn greet(event: Greet<'_>, _context: &Context<'_>) -> Result<Greeting, bantam::Error> {
    Ok(Greeting {
        message: format!("hello {}", event.name),
    })
}

fn main() {
    bantam::main(bantam::typed!(greet))
}

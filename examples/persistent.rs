//! A persistent handler for the stock binary: one line of JSON in, one line of JSON out.
//!
//! Nothing in it is specific to Rust. It is started once, with `BANTAM_HANDLER_MODE=persistent`,
//! and what it prepares before it says that it is ready is done in the init phase.

use std::io::{self, BufRead as _, Write as _};

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Input<'a> {
    context: Context,
    #[serde(borrow)]
    event: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Context {
    request_id: String,
}

fn main() -> io::Result<()> {
    let mut output = io::stdout();
    writeln!(output, "{}", json!({"ready": true}))?;
    let mut count = 0_u64;
    for line in io::stdin().lock().lines() {
        count += 1;
        let answer = answer(&line?, count);
        writeln!(output, "{answer}")?;
    }
    Ok(())
}

fn answer(line: &str, count: u64) -> Value {
    match serde_json::from_str::<Input<'_>>(line) {
        Ok(input) => json!({"response": {
            "requestId": input.context.request_id,
            "count": count,
            "bytes": input.event.get().len(),
        }}),
        Err(error) => {
            json!({"error": {"errorType": "BadLine", "errorMessage": error.to_string()}})
        }
    }
}

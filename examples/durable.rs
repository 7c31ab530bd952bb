//! A durable function: it takes the input of its execution and gives it back as the result.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/durable-functions.html>. The Runtime API carries
//! such an event and its answer like any other; only their form is agreed on. The steps of an
//! execution are kept by calls of the Lambda API, which an SDK makes with the token of the event,
//! as `block_on` runs any other SDK.

use std::borrow::Cow;

use bantam::Context;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What the platform sends. Payloads are text, and go through as they are.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Execution<'a> {
    #[serde(borrow)]
    durable_execution_arn: Cow<'a, str>,
    #[serde(borrow)]
    initial_execution_state: State<'a>,
}

/// The operations so far; the first is the execution itself.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State<'a> {
    #[serde(borrow)]
    operations: Vec<Operation<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Operation<'a> {
    #[serde(borrow)]
    execution_details: Option<Details<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Details<'a> {
    #[serde(borrow)]
    input_payload: Option<&'a RawValue>,
}

/// The answer. `PENDING` would suspend the execution, and `FAILED` end it with an `Error`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Outcome<'a> {
    status: &'static str,
    result: Option<&'a RawValue>,
}

fn execute<'a>(execution: Execution<'a>, _: &Context<'_>) -> Result<Outcome<'a>, bantam::Error> {
    log::info!("execution {}", execution.durable_execution_arn);
    let first = execution
        .initial_execution_state
        .operations
        .into_iter()
        .next();
    let details = first.and_then(|operation| operation.execution_details);
    let missing = || bantam::Error::new("NotDurable", "the event has no execution");
    let input = details.ok_or_else(missing)?.input_payload;
    Ok(Outcome {
        status: "SUCCEEDED",
        result: input,
    })
}

fn main() {
    bantam::main(bantam::typed!(execute))
}

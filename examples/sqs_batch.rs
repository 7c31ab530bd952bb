//! An SQS batch of which single messages may fail: only those are delivered again.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html#services-sqs-batchfailurereporting>

use std::borrow::Cow;

use aws_lambda_events::event::sqs::{SqsEvent, SqsMessage};
use bantam::{BatchFailures, Context, Error};
use serde::Deserialize;

#[derive(Deserialize)]
struct Order<'a> {
    // A `&str` would refuse a text with escapes, such as "caf\u00e9".
    #[serde(borrow)]
    item: Cow<'a, str>,
    count: u32,
}

fn batch(event: SqsEvent, _: &Context<'_>) -> Result<BatchFailures, Error> {
    Ok(BatchFailures::of_each(&event.records, id, order))
}

fn id(message: &SqsMessage) -> &str {
    message.message_id.as_deref().unwrap_or_default()
}

fn order(message: &SqsMessage) -> Result<(), Error> {
    let body = message.body.as_deref().ok_or("the message is empty")?;
    let order: Order<'_> = serde_json::from_str(body)?;
    if order.count == 0 {
        return Err(Error::new("NoOrder", format!("0 x {}", order.item)));
    }
    log::info!("{} x {}", order.count, order.item);
    Ok(())
}

fn main() {
    bantam::main(bantam::typed!(batch))
}

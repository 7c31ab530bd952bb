//! An SQS batch of which single messages may fail: only those are delivered again.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html#services-sqs-batchfailurereporting>

use std::borrow::Cow;

use aws_lambda_events::event::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent};
use bantam::Context;
use serde::Deserialize;

#[derive(Deserialize)]
struct Order<'a> {
    // A `&str` would refuse a text with escapes, such as "caf\u00e9".
    #[serde(borrow)]
    item: Cow<'a, str>,
    count: u32,
}

fn batch(event: SqsEvent, _: &Context<'_>) -> Result<SqsBatchResponse, bantam::Error> {
    let mut response = SqsBatchResponse::default();
    for message in event.records {
        let order = message
            .body
            .as_deref()
            .map(serde_json::from_str::<Order<'_>>);
        match order {
            Some(Ok(order)) if order.count > 0 => log::info!("{} x {}", order.count, order.item),
            Some(Ok(order)) => fail(&mut response, message.message_id.clone(), &order.item),
            Some(Err(error)) => fail(
                &mut response,
                message.message_id.clone(),
                &error.to_string(),
            ),
            None => fail(&mut response, message.message_id, "the message is empty"),
        }
    }
    Ok(response)
}

fn fail(response: &mut SqsBatchResponse, message_id: Option<String>, why: &str) {
    log::warn!("message {message_id:?}: {why}");
    let mut failure = BatchItemFailure::default();
    failure.item_identifier = message_id.unwrap_or_default();
    response.batch_item_failures.push(failure);
}

fn main() {
    bantam::main(bantam::typed!(batch))
}

//! Batches of records of which some may fail.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html#services-sqs-batchfailurereporting>,
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html>,
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html>

use serde::Serialize;

use super::error::Error;
use super::log;
use crate::shared::log_record::Level;

/// The records of a batch that failed: the response to SQS, Kinesis and DynamoDB streams, where
/// the event source mapping has `ReportBatchItemFailures`. The other records are not delivered
/// again.
///
/// The identifier of a record is `messageId` for SQS, `kinesis.sequenceNumber` for Kinesis and
/// `dynamodb.SequenceNumber` for DynamoDB. For an empty one, and for one of no message in the
/// queue, Lambda takes the whole batch as failed and delivers all of it again.
///
/// ```
/// use bantam::{BatchFailures, Context};
/// use serde::Deserialize;
///
/// #[derive(Deserialize)]
/// struct Batch {
///     #[serde(rename = "Records")]
///     records: Vec<Message>,
/// }
///
/// #[derive(Deserialize)]
/// struct Message {
///     #[serde(rename = "messageId")]
///     id: String,
///     body: String,
/// }
///
/// fn handle(batch: Batch, _: &Context<'_>) -> Result<BatchFailures, bantam::Error> {
///     Ok(BatchFailures::of_each(&batch.records, |message| &message.id, |message| {
///         let count: u32 = message.body.parse()?;
///         println!("{count}");
///         Ok(())
///     }))
/// }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BatchFailures {
    #[serde(rename = "batchItemFailures")]
    failures: Vec<Failure>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Failure {
    #[serde(rename = "itemIdentifier")]
    id: String,
}

impl BatchFailures {
    /// Handles every record, and collects those that fail: for a standard queue of SQS.
    ///
    /// The error of a record is written to the log.
    pub fn of_each<R>(
        records: &[R],
        id: impl Fn(&R) -> &str,
        mut handle: impl FnMut(&R) -> Result<(), Error>,
    ) -> Self {
        let mut failures = Self::default();
        for record in records {
            if let Err(error) = handle(record) {
                failures.add(id(record), &error);
            }
        }
        failures
    }

    /// Handles the records in their order up to the first that fails, which is delivered again with
    /// all that follow it: for a FIFO queue of SQS, Kinesis and DynamoDB streams.
    ///
    /// The error of that record is written to the log.
    pub fn in_order<R>(
        records: &[R],
        id: impl Fn(&R) -> &str,
        mut handle: impl FnMut(&R) -> Result<(), Error>,
    ) -> Self {
        let mut failures = Self::default();
        let mut records = records.iter();
        for record in records.by_ref() {
            if let Err(error) = handle(record) {
                failures.add(id(record), &error);
                break;
            }
        }
        // A stream goes back to the first failure. A queue knows only those that are named.
        for record in records {
            failures.push(id(record));
        }
        failures
    }

    /// The identifiers of the records that failed.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.failures.iter().map(|failure| failure.id.as_str())
    }

    fn add(&mut self, id: &str, error: &Error) {
        let message = ["record ", id, ": ", &error.to_string()].concat();
        log::error_line(Level::Error, None, error.error_type(), &message);
        self.push(id);
    }

    fn push(&mut self, id: &str) {
        self.failures.push(Failure { id: id.to_owned() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDS: [(&str, &str); 4] = [("a", "1"), ("b", "two"), ("c", "3"), ("d", "four")];

    fn parse(record: &(&str, &str)) -> Result<(), Error> {
        let _number: u32 = record.1.parse()?;
        Ok(())
    }

    fn json(failures: &BatchFailures) -> String {
        serde_json::to_string(failures).unwrap()
    }

    #[test]
    fn the_records_that_fail_are_named() {
        let failures = BatchFailures::of_each(&RECORDS, |record| record.0, parse);
        let expected = r#"{"batchItemFailures":[{"itemIdentifier":"b"},{"itemIdentifier":"d"}]}"#;
        assert_eq!(json(&failures), expected);
        assert!(failures.ids().eq(["b", "d"]));
    }

    #[test]
    fn in_order_nothing_is_handled_behind_a_failure() {
        let mut handled = Vec::new();
        let failures = BatchFailures::in_order(
            &RECORDS,
            |record| record.0,
            |record| {
                handled.push(record.0);
                parse(record)
            },
        );
        assert_eq!(handled, ["a", "b"]);
        assert!(failures.ids().eq(["b", "c", "d"]));
    }

    #[test]
    fn a_batch_without_failures_is_an_empty_list() {
        let good = &RECORDS[..1];
        for failures in [
            BatchFailures::of_each(good, |record| record.0, parse),
            BatchFailures::in_order(good, |record| record.0, parse),
        ] {
            assert_eq!(json(&failures), r#"{"batchItemFailures":[]}"#);
        }
    }
}

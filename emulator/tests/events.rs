//! The example events are what the services send: another project's types read every one of them.

#![expect(
    clippy::unwrap_used,
    reason = "the lint's exception for tests does not cover helpers"
)]

use aws_lambda_events::apigw::{ApiGatewayProxyRequest, ApiGatewayV2httpRequest};
use aws_lambda_events::s3::S3Event;
use aws_lambda_events::sqs::SqsEvent;
use serde_json::Value;

const APIGW: &[u8] = include_bytes!("../../examples/events/apigw.json");
const APIGW_V1: &[u8] = include_bytes!("../../examples/events/apigw_v1.json");
const SQS: &[u8] = include_bytes!("../../examples/events/sqs.json");
const S3: &[u8] = include_bytes!("../../examples/events/s3.json");

#[test]
fn apigw_is_an_http_api_request_of_version_2_0() {
    let event: ApiGatewayV2httpRequest = serde_json::from_slice(APIGW).unwrap();
    assert_eq!(event.version.as_deref(), Some("2.0"));
    assert_eq!(event.raw_path.as_deref(), Some("/orders/ada"));
    assert_eq!(
        event.path_parameters.get("customer").map(String::as_str),
        Some("ada")
    );
    assert_eq!(event.query_string_parameters.first("name"), Some("ada"));
    assert_eq!(event.request_context.http.method, "POST");
    assert_eq!(event.request_context.time_epoch, 1_584_039_838_000);
    let content_length = event.headers["content-length"]
        .to_str()
        .unwrap()
        .parse::<usize>();
    assert_eq!(event.body.map(|body| body.len()), content_length.ok());
    assert!(!event.is_base64_encoded);
}

#[test]
fn apigw_v1_is_a_rest_api_proxy_request() {
    let event: ApiGatewayProxyRequest = serde_json::from_slice(APIGW_V1).unwrap();
    assert_eq!(event.http_method, "POST");
    assert_eq!(event.resource.as_deref(), Some("/orders/{customer}"));
    let coupons = event.multi_value_query_string_parameters.all("coupon");
    assert_eq!(coupons, Some(vec!["spring", "early"]));
    assert_eq!(event.request_context.stage.as_deref(), Some("prod"));
    assert_eq!(
        event.request_context.identity.source_ip.as_deref(),
        Some("192.0.2.1")
    );
}

#[test]
fn sqs_is_a_batch_of_messages_from_one_queue() {
    let event: SqsEvent = serde_json::from_slice(SQS).unwrap();
    assert_eq!(event.records.len(), 4);
    for message in &event.records {
        assert_eq!(message.event_source.as_deref(), Some("aws:sqs"));
        assert!(message.receipt_handle.is_some());
        assert!(message.attributes.contains_key("ApproximateReceiveCount"));
        let body: Value = serde_json::from_str(message.body.as_deref().unwrap()).unwrap();
        assert!(body["order"].is_string());
    }
    let mut ids: Vec<_> = event
        .records
        .iter()
        .filter_map(|m| m.message_id.as_deref())
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 4, "message ids differ");
}

#[test]
fn s3_is_a_notification_of_one_object_put() {
    let event: S3Event = serde_json::from_slice(S3).unwrap();
    let [record] = &event.records[..] else {
        panic!("{} records", event.records.len())
    };
    assert_eq!(record.event_name.as_deref(), Some("ObjectCreated:Put"));
    assert_eq!(
        record.s3.bucket.arn.as_deref(),
        Some("arn:aws:s3:::uploads-123456789012")
    );
    assert_eq!(
        record.s3.object.key.as_deref(),
        Some("incoming/happy+face.jpg")
    );
    assert_eq!(record.s3.object.size, Some(1_305_107));
}

#[test]
fn reading_an_event_loses_nothing_that_has_a_value() {
    kept::<ApiGatewayV2httpRequest>("apigw", APIGW);
    kept::<SqsEvent>("sqs", SQS);
    kept::<S3Event>("s3", S3);
}

/// Reads an event as `T`, writes it back, and compares every value of the original.
fn kept<T: serde::de::DeserializeOwned + serde::Serialize>(name: &str, event: &[u8]) {
    let original: Value = serde_json::from_slice(event).unwrap();
    let typed: T = serde_json::from_slice(event).unwrap();
    contains(name, &serde_json::to_value(typed).unwrap(), &original);
}

fn contains(at: &str, written: &Value, original: &Value) {
    match original {
        Value::Object(fields) => {
            for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
                // The types keep HTTP header names in lower case, RFC 9110 section 5.1.
                let name_written = if at.ends_with("eaders") {
                    name.to_lowercase()
                } else {
                    name.clone()
                };
                contains(&format!("{at}/{name}"), &written[name_written], value);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                contains(&format!("{at}/{index}"), &written[index], value);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            assert_eq!(written, original, "{at}");
        }
    }
}

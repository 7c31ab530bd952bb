//! Events in, responses out: every kind of handler and every size.

use std::collections::HashMap;

use bantam_emulator::{Entry, Invoke, What};
use serde_json::{Value, json};

use crate::support::{answers, faulty, function, start};

/// The limit on events and responses, in bytes.
const PAYLOAD_BYTES_MAX: usize = 6_291_556;

fn event(name: &str) -> String {
    let path = format!("{}/examples/events/{name}.json", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn api_gateway_example() {
    let env = start(function("apigw"));
    let response = env.respond(&event("apigw"));
    assert_eq!(response["statusCode"], 200);
    assert_eq!(response["headers"]["content-type"], "text/plain");
    let body = response["body"].as_str().unwrap();
    assert!(
        body.starts_with("hello ada, this is /orders/ada, request "),
        "{body}"
    );
}

#[test]
fn sqs_example_reports_the_messages_that_failed() {
    let env = start(function("sqs_batch"));
    let messages: Value = serde_json::from_str(&event("sqs")).unwrap();
    let id = |index: usize| messages["Records"][index]["messageId"].clone();
    let response = env.respond(&event("sqs"));
    let failed = response["batchItemFailures"].as_array().unwrap();
    assert_eq!(failed.len(), 1);
    assert!((0..5).any(|index| id(index) == failed[0]["itemIdentifier"]));

    let body = r#"{"item":"caf\u00e9","count":1}"#;
    let escaped = json!({"Records": [{"messageId": "m", "body": body}]});
    let response = env.respond(&escaped.to_string());
    assert_eq!(response["batchItemFailures"], json!([]));
}

#[test]
fn durable_example_returns_the_input_of_the_execution() {
    let env = start(function("durable"));
    let input = "{\"caf\u{e9}\": [1, 2]}";
    let execution = json!({
        "DurableExecutionArn": "arn:aws:lambda:us-east-1:123456789012:function:f:1/durable-execution/n/i",
        "CheckpointToken": "token",
        "InitialExecutionState": {
            "Operations": [{
                "Id": "i",
                "Type": "EXECUTION",
                "Status": "STARTED",
                "ExecutionDetails": {"InputPayload": input},
            }],
        },
    });
    let outcome = env.respond(&execution.to_string());
    assert_eq!(outcome, json!({"Status": "SUCCEEDED", "Result": input}));
    assert_eq!(env.fail(r#"{"Records":[]}"#).0, "Runtime.UnmarshalError");
}

#[test]
fn async_examples_wait_for_all_they_have_started() {
    for example in ["async_tokio", "async_smol"] {
        let env = start(function(example));
        for _ in 0..2 {
            assert_eq!(env.respond(r#"{"shops":["tea","caf\u00e9"]}"#), 7);
        }
        assert_eq!(env.spawned(), 1);
    }
}

#[test]
fn raw_example_returns_the_event() {
    let env = start(function("raw"));
    for _ in 0..3 {
        let outcome = env.invoke(event("s3")).unwrap();
        assert_eq!(outcome.body, event("s3").into_bytes());
        assert_eq!(
            outcome.content_type.as_deref(),
            Some("application/octet-stream")
        );
    }
    assert_eq!(env.spawned(), 1);
}

#[test]
fn events_of_every_size_are_echoed() {
    for chunk_above_bytes in [0, 2_048, usize::MAX] {
        let mut config = function("raw");
        config.chunk_above_bytes = chunk_above_bytes;
        let env = start(config);
        for length in [
            2,
            100,
            2_047,
            2_048,
            2_049,
            8_191,
            8_192,
            65_536,
            1_000_000,
            PAYLOAD_BYTES_MAX,
        ] {
            let event = format!("\"{}\"", "x".repeat(length - 2)).into_bytes();
            let outcome = env.invoke(event.clone()).unwrap();
            assert_eq!(outcome.function_error, None);
            assert!(
                outcome.body == event,
                "{length} bytes, chunked above {chunk_above_bytes}"
            );
        }
        assert_eq!(env.spawned(), 1);
    }
}

#[test]
fn a_response_over_the_limit_is_an_error_with_both_numbers() {
    let env = start(faulty());
    let largest = PAYLOAD_BYTES_MAX - 2;
    let text = env.respond(&json!({"do": "large", "bytes": largest}).to_string());
    assert_eq!(text.as_str().unwrap().len(), largest);
    let (error_type, document) =
        env.fail(&json!({"do": "large", "bytes": largest + 1}).to_string());
    assert_eq!(error_type, "Function.ResponseSizeTooLarge");
    assert_eq!(
        document["errorMessage"],
        "a response of 6291557 bytes, limit 6291556"
    );
    assert_eq!(env.respond(r#"{"do":"echo","value":1}"#), 1);
    assert_eq!(env.spawned(), 1);
}

#[test]
fn a_malformed_event_is_the_error_of_its_invocation_alone() {
    let env = start(faulty());
    assert_eq!(env.respond(r#"{"do":"process"}"#)["count"], 1);
    for (event, message) in [
        (r#"{"do":"fly"}"#, "unknown variant `fly`"),
        (
            r#"{"text":7,"cow":"b","raw":1}"#,
            "text: invalid type: integer `7`, expected a borrowed",
        ),
        (
            r#"{"text":"a\nb","cow":"b","raw":1}"#,
            "; the string has escapes, which a &str cannot borrow: use Cow<str> with",
        ),
        (
            r#"{"text":"a","cow":"b","raw":1,"text":"c"}"#,
            "duplicate field `text`",
        ),
        (
            r#"{"text":"a","cow":[],"raw":1}"#,
            "cow: invalid type: sequence, expected a string",
        ),
        (r#"{"text":"a","cow":"b"}"#, "missing field `raw`"),
        ("[]", "missing field `do`"),
    ] {
        let (error_type, document) = env.fail(event);
        assert_eq!(error_type, "Runtime.UnmarshalError");
        let found = document["errorMessage"].as_str().unwrap();
        assert!(found.contains(message), "{event}: {found}");
    }
    assert_eq!(env.respond(r#"{"do":"process"}"#)["count"], 2);
    assert_eq!(env.spawned(), 1);
}

#[test]
fn events_are_borrowed_from_the_receive_buffer() {
    let env = start(faulty());
    let response = env.respond(r#"{"text":"plain","cow":"plain","raw":{"a": [1, 2]}}"#);
    assert_eq!(
        response,
        json!({"text": "plain", "cow_is_borrowed": true, "raw": {"a": [1, 2]}})
    );
    let escaped = env.respond(r#"{"text":"plain","cow":"a\nb","raw":null}"#);
    assert_eq!(escaped["cow_is_borrowed"], false);
}

#[test]
fn the_context_is_what_the_platform_sent() {
    let env = start(faulty());
    let invoke = Invoke {
        client_context: Some(r#"{"client":{"app_title":"é"}}"#.to_owned()),
        cognito_identity: Some(
            r#"{"cognitoIdentityId":"i","cognitoIdentityPoolId":"p"}"#.to_owned(),
        ),
        tenant_id: Some("tenant-7".to_owned()),
        trace_id: Some("Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=1".to_owned()),
        qualifier: Some("live".to_owned()),
        ..Invoke::new(r#"{"do":"context"}"#)
    };
    let outcome = env.invoke_with(invoke).unwrap();
    let context: Value = serde_json::from_slice(&outcome.body).unwrap();
    assert_eq!(context["requestId"], outcome.request_id);
    assert_eq!(context["remaining"], true);
    assert!(context["deadlineMs"].as_u64().unwrap() > 1_700_000_000_000);
    assert_eq!(
        context["arn"],
        "arn:aws:lambda:us-east-1:123456789012:function:function:live"
    );
    assert_eq!(
        context["traceId"],
        "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=1"
    );
    assert_eq!(context["traceVariable"], context["traceId"]);
    assert_eq!(context["clientContext"], r#"{"client":{"app_title":"é"}}"#);
    assert_eq!(
        context["identity"],
        r#"{"cognitoIdentityId":"i","cognitoIdentityPoolId":"p"}"#
    );
    assert_eq!(context["tenantId"], "tenant-7");
    assert_eq!(context["name"], "function");
    assert_eq!(context["version"], "$LATEST");
    assert_eq!(context["memoryMb"], 128);
    assert_eq!(answers(&env, &outcome), 1);

    // What one invocation had, the next one has not.
    let trace_id = Some(String::new());
    let next = env
        .invoke_with(Invoke {
            trace_id,
            ..Invoke::new(r#"{"do":"context"}"#)
        })
        .unwrap();
    let context: Value = serde_json::from_slice(&next.body).unwrap();
    for field in [
        "traceId",
        "traceVariable",
        "clientContext",
        "identity",
        "tenantId",
    ] {
        assert_eq!(context[field], Value::Null, "{field}");
    }
}

#[test]
fn the_invocation_id_of_an_event_is_in_its_answer() {
    let env = start(faulty());
    env.respond(r#"{"do":"echo","value":1}"#);
    env.fail(r#"{"do":"chosen"}"#);
    env.fail(r#"{"do":"panic","message":"m"}"#);
    env.fail(r#"{"do":"thread-panic"}"#);
    env.respond(r#"{"do":"echo","value":1}"#);
    let mut ids = answered_invocation_ids(&env.transcript());
    assert_eq!(ids.len(), 5);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 5, "each event has its own");
}

/// Checks that every answer carried the `Lambda-Runtime-Invocation-Id` that its event came with,
/// and returns these, in the order of the answers.
pub(crate) fn answered_invocation_ids(entries: &[Entry]) -> Vec<String> {
    let mut sent = HashMap::new();
    let mut answered = Vec::new();
    for entry in entries {
        if let What::EventSent {
            request_id,
            invocation_id,
            ..
        } = &entry.what
        {
            sent.insert(request_id.as_str(), invocation_id.clone());
        }
        let What::Request { path, headers, .. } = &entry.what else {
            continue;
        };
        let mut parts = path.rsplit('/');
        let (Some("response" | "error"), Some(id)) = (parts.next(), parts.next()) else {
            continue;
        };
        // `/init/error` is about no event.
        if id != "init" {
            let of_id = |header: &&(String, String)| header.0 == "lambda-runtime-invocation-id";
            let echoed: Vec<_> = headers.iter().filter(of_id).map(|h| h.1.clone()).collect();
            assert_eq!(echoed, [sent[id].as_str()], "{path}");
            answered.extend(echoed);
        }
    }
    answered
}

#[test]
fn log_lines_follow_format_and_level() {
    let env = start(faulty());
    env.respond(r#"{"do":"log","message":"two\nlines"}"#);
    env.wait_for_log("INFO");
    let log = env.function_log();
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.len(), 3, "{log}");
    assert!(lines[0].ends_with("\tERROR\ttwo\rlines"), "{log}");

    let mut config = faulty();
    config.log_format = bantam_emulator::LogFormat::Json;
    config.log_level = Some("TRACE".to_owned());
    let env = start(config);
    let outcome = env
        .invoke(r#"{"do":"log","message":"two\nlines \"q\""}"#)
        .unwrap();
    env.wait_for_log("TRACE");
    let log = env.function_log();
    let lines: Vec<Value> = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let levels: Vec<&str> = lines
        .iter()
        .filter(|line| {
            line["message"] == "two\nlines \"q\"" && line["requestId"] == outcome.request_id
        })
        .map(|line| line["level"].as_str().unwrap())
        .collect();
    assert_eq!(levels, ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"]);
}

#[test]
fn key_values_and_the_target_of_a_log_record_are_in_its_line() {
    let event = r#"{"do":"log-fields","user":7}"#;
    let env = start(faulty());
    env.respond(event);
    env.wait_for_log("\tINFO\tsold user=7 half=3.5 plan=a \"b\" paid=true");

    let mut config = faulty();
    config.log_format = bantam_emulator::LogFormat::Json;
    let env = start(config);
    env.respond(event);
    env.wait_for_log("sold");
    let log = env.function_log();
    let line = log.lines().find(|line| line.contains("sold")).unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["message"], "sold");
    assert_eq!(line["target"], "orders");
    let fields = json!({"user": 7, "half": 3.5, "plan": "a \"b\"", "paid": true});
    assert_eq!(line["fields"], fields);
}

#[test]
fn a_value_that_the_platform_does_not_set_is_told_once() {
    let mut config = faulty();
    // The emulator sets the level as the platform does, in the JSON format alone.
    let table = [
        ("AWS_LAMBDA_LOG_LEVEL", "verbose"),
        ("AWS_LAMBDA_MAX_CONCURRENCY", "many"),
    ];
    let variables = table.map(|(name, value)| (name.to_owned(), value.to_owned()));
    config.env.extend(variables);
    // It executes the program a second time, and a panic a third one.
    let wrapper = ("AWS_LAMBDA_EXEC_WRAPPER", "/usr/bin/env");
    config
        .env
        .push((wrapper.0.to_owned(), wrapper.1.to_owned()));
    let env = start(config);
    env.fail(r#"{"do":"panic","message":"m"}"#);
    env.respond(r#"{"do":"log","message":"m"}"#);
    env.wait_for_log("\tINFO\tm");
    let log = env.function_log();
    for (name, value) in table {
        let told = format!("{name} is {value:?}: ");
        assert_eq!(log.matches(&told).count(), 1, "{log}");
    }
}

#[test]
fn a_trace_header_of_any_length_is_in_the_variable_whole() {
    let env = start(faulty());
    for length in [10, 1_100, 7_000, 20, 7_000, 1_100] {
        let trace_id = format!(
            "Root=1-5759e988-bd862e3fe1be46a994272793;{}",
            "a".repeat(length)
        );
        let invoke = Invoke {
            trace_id: Some(trace_id.clone()),
            ..Invoke::new(r#"{"do":"context"}"#)
        };
        let outcome = env.invoke_with(invoke).unwrap();
        let context: Value = serde_json::from_slice(&outcome.body).unwrap();
        assert_eq!(context["traceId"], trace_id.as_str());
        assert_eq!(context["traceVariable"], trace_id.as_str());
    }
}

//! Fuzz targets of executables: the lines that a persistent process gets and writes, and what any
//! process writes to its standard output and standard error.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::cognitive_complexity,
    reason = "a target ends where a promise is broken"
)]

use serde_json::Value;

pub(crate) use super::http::fuzz::{http_event, http_reply, runtime_settings};
use super::output::Start;
use super::protocol::{Said, input_line, parse};
use super::stderr::{Stderr, boundary};
use crate::runtime::context::Context;
use crate::shared::base64;
use crate::shared::fuzz::Random;
use crate::shared::limits::ERROR_MESSAGE_BYTES_MAX;

/// The line for an event is one line of JSON with the same event.
pub(in crate::runtime) fn line_to_process(event: &[u8], context: &Context<'_>) {
    let value = serde_json::from_slice::<Value>(event);
    let Ok(line) = input_line(event, context, Some("use1-az1")) else {
        assert!(value.is_err(), "JSON is refused");
        return;
    };
    let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
    assert_eq!(line.iter().position(is_end), Some(line.len() - 1));
    // Only the event may hold what a value cannot: a number that is too large.
    if let Ok(value) = value {
        let line: Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(line["event"], value);
        assert_eq!(line["context"]["requestId"], context.request_id());
        let members = [
            ("traceId", context.trace_id()),
            ("clientContext", context.client_context()),
            ("tenantId", context.tenant_id()),
        ];
        for (name, value) in members {
            assert_eq!(line["context"][name].as_str(), value);
        }
    }
}

/// A line from a persistent process, against a reading of the whole as a value.
pub(crate) fn persistent_line(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut line = data.to_vec();
    let found = parse(&mut line);
    let Ok(Value::Object(line)) = serde_json::from_str::<Value>(&text) else {
        // A value holds neither half a surrogate pair nor a number that is too large.
        if let Ok((Said::Response(response) | Said::Prelude(response), _)) = found {
            assert!(text.len() >= response.get().len());
        }
        return;
    };
    let expected = reference(&line);
    match (found, expected) {
        (Ok((said, id)), Some(expected)) => {
            assert_eq!(said_as_value(&said), expected);
            assert_eq!(id.as_deref(), line.get("requestId").and_then(Value::as_str));
        }
        (Ok((said, _)), None) => panic!("{said:?} is taken"),
        (Err(_), None) => {}
        // A value has no member twice.
        (Err(error), Some(_)) => assert!(error.to_string().contains("duplicate field"), "{error}"),
    }
}

fn said_as_value(said: &Said<'_>) -> Value {
    match said {
        Said::Ready { sigterm } => serde_json::json!({ "ready": sigterm }),
        Said::Response(response) => serde_json::json!({ "response": response }),
        Said::Error(error) => {
            serde_json::json!({ "error": [error.error_type(), error.whole_message()] })
        }
        Said::Prelude(prelude) => serde_json::json!({ "prelude": prelude }),
        Said::Chunk(chunk) => serde_json::json!({ "chunk": chunk }),
        Said::End => serde_json::json!("end"),
    }
}

/// What a line says; `None` for one that breaks the protocol.
fn reference(line: &serde_json::Map<String, Value>) -> Option<Value> {
    let member = |name: &str| line.get(name).filter(|value| !value.is_null());
    let flag = |name: &str| member(name).map_or(Some(false), Value::as_bool);
    let (ready, sigterm, end) = (flag("ready")?, flag("sigterm")?, flag("end")?);
    let is_base64 = flag("isBase64Encoded")?;
    let text = |name: &str| match member(name) {
        Some(value) => value.as_str().map(Some),
        None => Some(None),
    };
    text("requestId")?;
    let mut said = Vec::new();
    if ready {
        said.push(serde_json::json!({ "ready": sigterm }));
    }
    if let Some(response) = member("response") {
        said.push(serde_json::json!({ "response": response }));
    }
    if let Some(error) = member("error") {
        let (error_type, message) = (error.get("errorType")?, error.get("errorMessage")?);
        let trace = error.get("stackTrace").filter(|trace| !trace.is_null());
        if let Some(trace) = trace {
            trace
                .as_array()?
                .iter()
                .map(Value::as_str)
                .collect::<Option<Vec<_>>>()?;
        }
        let message = message.as_str()?;
        let end = boundary(message.as_bytes(), ERROR_MESSAGE_BYTES_MAX);
        said.push(serde_json::json!({ "error": [error_type.as_str()?, message[..end]] }));
    }
    if let Some(prelude) = member("prelude") {
        prelude.as_object()?;
        said.push(serde_json::json!({ "prelude": prelude }));
    }
    if let Some(chunk) = text("chunk")? {
        let chunk = if is_base64 {
            base64::decode(chunk.as_bytes())?
        } else {
            chunk.as_bytes().to_vec()
        };
        said.push(serde_json::json!({ "chunk": chunk }));
    }
    if end {
        said.push(serde_json::json!("end"));
    }
    match (said.pop(), said.pop()) {
        (Some(said), None) => Some(said),
        (None, _) if line.contains_key("response") => Some(serde_json::json!({ "response": null })),
        _ => None,
    }
}

/// What a process writes: a response that may begin with a prelude, and lines for the log.
pub(crate) fn executable_output(data: &[u8]) {
    let whole = Start::of(data);
    if let Start::Prelude(prelude, body) = whole {
        let value: Value = match serde_json::from_slice(prelude) {
            Ok(value) => value,
            Err(error) => return assert!(!error.is_eof(), "{error}"),
        };
        assert!(value.is_object());
        assert_eq!(prelude.len() + 8 + body.len(), data.len());
    }
    // However it comes, the first part that shows how it begins shows the same.
    let mut random = Random::of(data);
    let mut ends: Vec<usize> = if data.len() <= 64 {
        (0..data.len()).collect()
    } else {
        (0..16).map(|_| random.below(data.len())).collect()
    };
    ends.sort_unstable();
    for end in ends {
        match (Start::of(&data[..end]), &whole) {
            (Start::Undecided, _) | (Start::Plain, Start::Plain) => {}
            (Start::Prelude(part, _), Start::Prelude(all, _)) => assert_eq!(part, *all),
            (part, whole) => panic!("{part:?} at {end}, {whole:?} as a whole"),
        }
    }
    let step = 1 + random.below(data.len().max(1));
    for step in [1, step, data.len().max(1)] {
        let mut stderr = Stderr::default();
        let mut lines = Vec::new();
        let mut write = |line: &[u8]| {
            assert_eq!(
                line.iter().position(|byte| *byte == b'\n'),
                Some(line.len() - 1)
            );
            lines.extend_from_slice(line);
        };
        for part in data.chunks(step) {
            stderr.add(part, &mut write);
        }
        stderr.finish(&mut write);
        let end: &[u8] = if data.is_empty() || data.ends_with(b"\n") {
            b""
        } else {
            b"\n"
        };
        assert_eq!(lines, [data, end].concat());
        let text = String::from_utf8_lossy(data.trim_ascii()).into_owned();
        assert!(text.ends_with(&stderr.tail()) || std::str::from_utf8(data).is_err());
    }
}

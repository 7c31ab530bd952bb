//! Responses that are streamed.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::config::Invoke;
use crate::conform::lab::{Asked, Lab, Miss, Probed, Run, ensure};
use crate::conform::rule::Level::Contract;
use crate::conform::rule::Rule;
use crate::conform::source::CUSTOM;
use crate::record::outcome::Outcome;
use crate::record::transcript::What;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "stream.headers",
        level: Contract,
        text: "A streamed response has Lambda-Runtime-Function-Response-Mode: streaming and comes \
               in chunks.",
        source: CUSTOM,
        needs: Some("stream"),
        probe: headers,
    },
    Rule {
        id: "stream.body",
        level: Contract,
        text: "The caller reads what the function writes.",
        source: CUSTOM,
        needs: Some("stream"),
        probe: |lab| body(lab, true),
    },
    Rule {
        id: "stream.buffered-caller",
        level: Contract,
        text: "A caller that does not stream gets it whole.",
        source: CUSTOM,
        needs: Some("stream"),
        probe: |lab| body(lab, false),
    },
    Rule {
        id: "stream.trailers-declared",
        level: Contract,
        text: "The head declares the two trailers of an error.",
        source: CUSTOM,
        needs: Some("stream"),
        probe: declared,
    },
    Rule {
        id: "stream.error",
        level: Contract,
        text: "A function that fails midway is reported in the trailers.",
        source: CUSTOM,
        needs: Some("stream"),
        probe: error,
    },
    Rule {
        id: "stream.error-body",
        level: Contract,
        text: "The trailer with the error is its JSON in base64.",
        source: CUSTOM,
        needs: Some("stream"),
        probe: error_body,
    },
    Rule {
        id: "stream.close",
        level: Contract,
        text: "The runtime closes the connection after a response that failed midway.",
        source: CUSTOM,
        needs: Some("stream"),
        probe: close,
    },
    Rule {
        id: "stream.goes-on",
        level: Contract,
        text: "The process serves the next event after a response that failed midway.",
        source: CUSTOM,
        needs: Some("stream"),
        probe: goes_on,
    },
];

fn streamed(run: &Run<'_>, streaming: bool, fail: bool) -> Result<Outcome, Miss> {
    let invoke = Invoke {
        streaming,
        ..Invoke::default()
    };
    run.ask_with(
        "stream",
        json!({ "chunks": ["one ", "two"], "fail": fail }),
        invoke,
    )
}

fn response(run: &Run<'_>) -> Result<Asked, Miss> {
    let sent = run.requests("/response")?.into_iter().next();
    sent.ok_or_else(|| Miss::Broken("no response was sent".to_owned()))
}

fn headers(lab: &Lab<'_>) -> Probed {
    let run = lab.start()?;
    streamed(&run, true, false)?;
    let response = response(&run)?;
    for (name, value) in [
        ("lambda-runtime-function-response-mode", "streaming"),
        ("transfer-encoding", "chunked"),
    ] {
        let got = response.header(name);
        ensure(got == Some(value), || format!("{name} is {got:?}"))?;
    }
    Ok("both".to_owned())
}

fn body(lab: &Lab<'_>, streaming: bool) -> Probed {
    let run = lab.start()?;
    let outcome = streamed(&run, streaming, false)?;
    // What a runtime puts before it, for HTTP, is its own.
    ensure(
        outcome.function_error.is_none() && outcome.body.ends_with(b"one two"),
        || {
            let error = outcome.function_error.map(|error| error.error_type);
            let body = String::from_utf8_lossy(&outcome.body);
            format!("{body:?}, error {error:?}")
        },
    )?;
    Ok("whole".to_owned())
}

fn declared(lab: &Lab<'_>) -> Probed {
    let run = lab.start()?;
    streamed(&run, true, false)?;
    let response = response(&run)?;
    let declared: String = response
        .headers
        .iter()
        .filter(|(name, _)| name == "trailer")
        .map(|(_, value)| value.to_ascii_lowercase() + ",")
        .collect();
    for name in ["type", "body"] {
        let name = format!("lambda-runtime-function-error-{name}");
        ensure(declared.contains(&name), || {
            format!("Trailer is {declared:?}")
        })?;
    }
    Ok("both".to_owned())
}

fn failed(run: &Run<'_>) -> Result<Outcome, Miss> {
    let outcome = streamed(run, true, true)?;
    ensure(outcome.function_error.is_some(), || {
        format!(
            "the caller sees a success: {:?}",
            String::from_utf8_lossy(&outcome.body)
        )
    })?;
    Ok(outcome)
}

fn error(lab: &Lab<'_>) -> Probed {
    let run = lab.start()?;
    let error = failed(&run)?.function_error;
    let raw = error.and_then(|error| error.raw_type);
    raw.ok_or_else(|| Miss::Broken("the trailers have no error type".to_owned()))
}

fn error_body(lab: &Lab<'_>) -> Probed {
    let run = lab.start()?;
    failed(&run)?;
    let trailers = response(&run)?.trailers;
    let sent = trailers
        .iter()
        .find(|(name, _)| name == "lambda-runtime-function-error-body")
        .map_or("", |(_, value)| value);
    let decoded = BASE64_STANDARD.decode(sent).unwrap_or_default();
    let error: Value = serde_json::from_slice(&decoded).unwrap_or_default();
    let has_message = error.get("errorMessage").is_some_and(Value::is_string);
    ensure(has_message, || format!("it is {sent:?}"))?;
    Ok("an error".to_owned())
}

fn close(lab: &Lab<'_>) -> Probed {
    let run = lab.start()?;
    streamed(&run, true, true)?;
    let used = response(&run)?.connection;
    run.wait_for(
        "end of the connection",
        |what| matches!(what, What::Disconnected { connection } if *connection == used),
    )?;
    Ok("closed".to_owned())
}

fn goes_on(lab: &Lab<'_>) -> Probed {
    let run = lab.start()?;
    streamed(&run, true, true)?;
    run.goes_on()?;
    Ok("went on".to_owned())
}

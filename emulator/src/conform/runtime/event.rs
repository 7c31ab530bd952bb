//! From `next` to the handler.

use serde_json::{Value, json};

use crate::config::Invoke;
use crate::conform::lab::{Lab, Miss, Probed, ensure};
use crate::conform::raw::{REQUEST_ID, Raw};
use crate::conform::rule::Level::{Contract, Practice};
use crate::conform::rule::Rule;
use crate::conform::source::{CUSTOM, RFC_9110, RFC_9112, RIE, RUNTIME_API};
use crate::fault::{FaultKind, Step};
use crate::record::transcript::What;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "next.first",
        level: Contract,
        text: "The runtime asks for its first event with GET /2018-06-01/runtime/invocation/next.",
        source: RUNTIME_API,
        needs: None,
        probe: first_next,
    },
    Rule {
        id: "next.host",
        level: Contract,
        text: "Each request has one Host header.",
        source: RFC_9112,
        needs: None,
        probe: host,
    },
    Rule {
        id: "next.one-at-a-time",
        level: Contract,
        text: "The runtime asks for the next event when it has answered the one before.",
        source: CUSTOM,
        needs: None,
        probe: one_at_a_time,
    },
    Rule {
        id: "event.unchanged",
        level: Contract,
        text: "The handler gets the event as it was sent: escapes, surrogate pairs, four-byte characters.",
        source: RUNTIME_API,
        needs: Some("echo"),
        probe: unchanged,
    },
    Rule {
        id: "event.chunked",
        level: Contract,
        text: "The runtime reads an event that comes in chunks, as those over about 2 KB do.",
        source: RFC_9112,
        needs: Some("echo"),
        probe: chunked,
    },
    Rule {
        id: "event.6-mb",
        level: Contract,
        text: "The runtime takes an event of 6 MB, and sends a response of 6 MB.",
        source: "https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html",
        needs: Some("echo"),
        probe: six_mb,
    },
    Rule {
        id: "event.byte-by-byte",
        level: Contract,
        text: "The runtime reads an event that comes one byte at a time.",
        source: RFC_9112,
        needs: None,
        probe: byte_by_byte,
    },
    Rule {
        id: "event.split",
        level: Contract,
        text: "The runtime reads an event that comes in two parts, wherever it is split.",
        source: RFC_9112,
        needs: None,
        probe: split,
    },
    Rule {
        id: "event.chunk-extensions",
        level: Contract,
        text: "The runtime ignores chunk extensions and trailers that it does not know.",
        source: RFC_9112,
        needs: None,
        probe: |lab| {
            raw(lab, |event| {
                event.chunked(3, ";name=\"value\"", "Checksum: 1\r\n")
            })
        },
    },
    Rule {
        id: "event.lower-case",
        level: Contract,
        text: "The runtime takes header names in lower case.",
        source: RFC_9110,
        needs: None,
        probe: |lab| raw(lab, |event| event.named(str::to_ascii_lowercase)),
    },
    Rule {
        id: "event.upper-case",
        level: Contract,
        text: "The runtime takes header names in upper case.",
        source: RFC_9110,
        needs: None,
        probe: |lab| raw(lab, |event| event.named(str::to_ascii_uppercase)),
    },
    Rule {
        id: "event.white-space",
        level: Contract,
        text: "The runtime takes spaces and tabs around header values off.",
        source: RFC_9112,
        needs: None,
        probe: |lab| raw(lab, |event| event.valued(|value| format!("  {value}\t"))),
    },
    Rule {
        id: "event.unknown-headers",
        level: Contract,
        text: "The runtime ignores headers that it does not know.",
        source: RFC_9110,
        needs: None,
        probe: |lab| {
            raw(lab, |event| {
                event
                    .with("Lambda-Runtime-New-Feature", "on")
                    .with("X-Long", &"x".repeat(4_096))
            })
        },
    },
    Rule {
        id: "event.connection-close",
        level: Contract,
        text: "The runtime opens a new connection when the platform says that it closes this one.",
        source: RFC_9112,
        needs: None,
        probe: connection_close,
    },
    Rule {
        id: "event.no-content-type",
        level: Practice,
        text: "The runtime takes an event without Content-Type, as AWS's emulator sends it.",
        source: RIE,
        needs: None,
        probe: |lab| raw(lab, |event| event.without("Content-Type")),
    },
    Rule {
        id: "event.empty-context",
        level: Practice,
        text: "The runtime takes an empty client context or Cognito identity as absent, as the \
               server of Managed Instances sends them.",
        source: RIE,
        needs: None,
        probe: |lab| {
            raw(lab, |event| {
                event
                    .with("Lambda-Runtime-Client-Context", "")
                    .with("Lambda-Runtime-Cognito-Identity", "")
            })
        },
    },
    Rule {
        id: "event.past-deadline",
        level: Practice,
        text: "The runtime serves an event whose deadline has passed, as cargo lambda watch sends \
               all of them.",
        source: "https://github.com/cargo-lambda/cargo-lambda",
        needs: None,
        probe: |lab| {
            raw(lab, |event| {
                event
                    .without("Lambda-Runtime-Deadline-Ms")
                    .with("Lambda-Runtime-Deadline-Ms", "600000")
            })
        },
    },
    Rule {
        id: "event.no-deadline",
        level: Practice,
        text: "The runtime serves an event without a deadline.",
        source: RUNTIME_API,
        needs: None,
        probe: |lab| raw(lab, |event| event.without("Lambda-Runtime-Deadline-Ms")),
    },
    Rule {
        id: "context.fields",
        level: Contract,
        text: "The handler finds request id, ARN, client context and tenant of the event.",
        source: RUNTIME_API,
        needs: Some("context"),
        probe: context,
    },
    Rule {
        id: "context.deadline",
        level: Contract,
        text: "The handler finds the time that remains until the deadline.",
        source: RUNTIME_API,
        needs: Some("context"),
        probe: deadline,
    },
    Rule {
        id: "context.trace",
        level: Contract,
        text: "_X_AMZN_TRACE_ID is the event's trace header.",
        source: CUSTOM,
        needs: Some("context"),
        probe: trace,
    },
    Rule {
        id: "context.no-trace",
        level: Practice,
        text: "_X_AMZN_TRACE_ID of an event is gone when the next one has no trace header.",
        source: CUSTOM,
        needs: Some("context"),
        probe: no_trace,
    },
];

fn first_next(lab: &Lab<'_>) -> Probed {
    let run = lab.start()?;
    run.prepare()?;
    let nexts = run.requests("/2018-06-01/runtime/invocation/next")?;
    let first = nexts.first();
    ensure(first.is_some_and(|next| next.method == "GET"), || {
        "no GET of that path".to_owned()
    })?;
    Ok("asked".to_owned())
}

fn host(lab: &Lab<'_>) -> Probed {
    let run = lab.start()?;
    run.answered()?;
    for asked in run.requests("")? {
        let hosts = asked.headers.iter().filter(|(name, _)| name == "host");
        let hosts = hosts.count();
        ensure(hosts == 1, || {
            format!("{} {} has {hosts}", asked.method, asked.path)
        })?;
    }
    Ok("one in each".to_owned())
}

fn one_at_a_time(lab: &Lab<'_>) -> Probed {
    let run = lab.start()?;
    for _ in 0..5 {
        run.answered()?;
    }
    let early = run.look(|entries| {
        let mut is_running = false;
        entries.iter().any(|entry| {
            if let What::Request { path, .. } = &entry.what {
                return is_running && path.ends_with("/next");
            }
            if let What::EventSent { .. } = entry.what {
                is_running = true;
            } else if let What::Accepted { .. } = entry.what {
                is_running = false;
            }
            false
        })
    })?;
    ensure(!early, || "asked while an event was running".to_owned())?;
    Ok("5 events, each after the answer before it".to_owned())
}

fn unchanged(lab: &Lab<'_>) -> Probed {
    let event = r#"{"conform":"echo","text":"caf\u00e9 \ud83d\ude00 😀 \"\\\/\b\f\n\r\t\u0000 \u2028","n":[1,-2.5,null,true,{}]}"#;
    let run = lab.start()?;
    let outcome = run.invoke(event.as_bytes().to_vec())?;
    let sent: Option<Value> = serde_json::from_str(event).ok();
    let got: Option<Value> = serde_json::from_slice(&outcome.body).ok();
    ensure(sent == got, || {
        String::from_utf8_lossy(&outcome.body).into_owned()
    })?;
    Ok("equal".to_owned())
}

fn chunked(lab: &Lab<'_>) -> Probed {
    let run = lab.start()?;
    for length in [2_000, 3_000, 100_000] {
        let text = "x".repeat(length);
        let outcome = run.ask("echo", json!({ "text": text }))?;
        let got: Value = serde_json::from_slice(&outcome.body).unwrap_or_default();
        let is_same = got.get("text").and_then(Value::as_str) == Some(text.as_str());
        ensure(is_same, || format!("{length} letters came back otherwise"))?;
    }
    Ok("equal".to_owned())
}

fn six_mb(lab: &Lab<'_>) -> Probed {
    let run = lab.start()?;
    let frame = r#"{"conform":"echo","text":""}"#.len();
    let text = "x".repeat(6 * 1024 * 1024 - frame);
    let outcome = run.ask("echo", json!({ "text": text }))?;
    let got: Value = serde_json::from_slice(&outcome.body).unwrap_or_default();
    let got = got.get("text").and_then(Value::as_str).map(str::len);
    ensure(got == Some(text.len()), || {
        let error = outcome.function_error.map(|error| error.error_type);
        format!("{got:?} letters came back, error {error:?}")
    })?;
    Ok("equal".to_owned())
}

fn byte_by_byte(lab: &Lab<'_>) -> Probed {
    let run = lab.start_with_faults((0..5).map(|n| (Step::Next(n), FaultKind::ByteByByte)))?;
    for _ in 0..5 {
        run.answered()?;
    }
    run.goes_on()?;
    Ok("answered".to_owned())
}

fn split(lab: &Lab<'_>) -> Probed {
    lab.share(HEAD_BYTES, |lab, places| {
        let splits = places.iter().map(|at| FaultKind::SplitAt(*at));
        let faults = splits.enumerate().map(|(n, split)| (Step::Next(n), split));
        let run = lab.start_with_faults(faults)?;
        for at in places {
            run.answered()
                .map_err(|miss| miss.at(format!("split before byte {at}")))?;
        }
        Ok(())
    })?;
    Ok(format!("answered, split at {HEAD_BYTES} places"))
}

/// An event that comes as given bytes is answered once, and the next one too, by one process.
fn raw(lab: &Lab<'_>, change: impl Fn(Raw) -> Raw) -> Probed {
    let event = change(Raw::event(REQUEST_ID, br#"{"conform":"echo"}"#)).bytes();
    let run = lab.start_with_faults([(Step::Next(0), FaultKind::Instead(event))])?;
    run.answered_as(Invoke {
        request_id: Some(REQUEST_ID.to_owned()),
        ..Invoke::default()
    })?;
    run.goes_on()?;
    Ok("answered".to_owned())
}

fn connection_close(lab: &Lab<'_>) -> Probed {
    let event = Raw::event(REQUEST_ID, br#"{"conform":"echo"}"#).with("Connection", "close");
    let run = lab.start_with_faults([(Step::Next(0), FaultKind::Garbage(event.bytes()))])?;
    run.answered_as(Invoke {
        request_id: Some(REQUEST_ID.to_owned()),
        ..Invoke::default()
    })?;
    run.goes_on()?;
    Ok("answered on another connection".to_owned())
}

fn context(lab: &Lab<'_>) -> Probed {
    let run = lab.start()?;
    let context = run.context(Invoke {
        client_context: Some(r#"{"custom":{"a":"1"}}"#.to_owned()),
        tenant_id: Some("tenant-7".to_owned()),
        request_id: Some(REQUEST_ID.to_owned()),
        ..Invoke::default()
    })?;
    let expected = [
        ("requestId", json!(REQUEST_ID)),
        (
            "functionArn",
            json!("arn:aws:lambda:us-east-1:123456789012:function:function"),
        ),
        ("clientContext", json!({"custom": {"a": "1"}})),
        ("tenantId", json!("tenant-7")),
    ];
    for (name, value) in expected {
        let got = context.get(name).cloned().unwrap_or_default();
        ensure(got == value, || format!("{name} is {got} and not {value}"))?;
    }
    Ok("all four".to_owned())
}

fn deadline(lab: &Lab<'_>) -> Probed {
    let run = lab.start()?;
    let context = run.context(Invoke::default())?;
    let remaining = context.get("remainingMs").and_then(Value::as_f64);
    let remaining = remaining.ok_or_else(|| Miss::Broken("remainingMs is no number".to_owned()))?;
    ensure(remaining > 0.0 && remaining <= 10_000.0, || {
        format!("{remaining} ms of 10,000 remain at the start")
    })?;
    Ok("within the timeout".to_owned())
}

fn trace(lab: &Lab<'_>) -> Probed {
    let run = lab.start()?;
    for sampled in [0, 1] {
        let trace = format!(
            "Root=1-5f35ae12-0c0fec141ab77a00bc047aa2;Parent=2be948a625588e32;Sampled={sampled}"
        );
        let context = run.context(Invoke {
            trace_id: Some(trace.clone()),
            ..Invoke::default()
        })?;
        let got = context.get("trace").cloned().unwrap_or_default();
        ensure(got == json!(trace), || format!("it is {got} for {trace}"))?;
    }
    Ok("the header of each event".to_owned())
}

fn no_trace(lab: &Lab<'_>) -> Probed {
    let event = Raw::event(REQUEST_ID, br#"{"conform":"context"}"#).bytes();
    let run = lab.start_with_faults([(Step::Next(1), FaultKind::Instead(event))])?;
    run.context(Invoke::default())?;
    let context = run.context(Invoke {
        request_id: Some(REQUEST_ID.to_owned()),
        ..Invoke::default()
    })?;
    let got = context.get("trace").cloned().unwrap_or_default();
    ensure(got.is_null() || got == json!(""), || {
        format!("it is still {got}")
    })?;
    Ok("gone".to_owned())
}

/// More than the head of an event, and the first of its body.
const HEAD_BYTES: usize = 640;

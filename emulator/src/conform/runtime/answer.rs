//! Responses and errors, and what the platform says to them.

use serde_json::{Value, json};

use crate::config::Invoke;
use crate::conform::lab::{Asked, Lab, Miss, Probed, Run, ensure};
use crate::conform::raw::{INTERNAL_ERROR, REQUEST_ID, Raw};
use crate::conform::rule::Level::{Contract, Practice};
use crate::conform::rule::Rule;
use crate::conform::source::{CUSTOM, RIE, RUNTIME_API};
use crate::fault::{FaultKind, Step};
use crate::record::transcript::What;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "answer.once",
        level: Contract,
        text: "Each event has one answer, at its own request id.",
        source: RUNTIME_API,
        needs: None,
        probe: once,
    },
    Rule {
        id: "answer.invocation-id",
        level: Practice,
        text: "An answer carries the event's Lambda-Runtime-Invocation-Id, by which the platform \
               tells a late answer from the one to a retry.",
        source: "https://github.com/aws/aws-lambda-rust-runtime/pull/1159",
        needs: None,
        probe: invocation_id,
    },
    Rule {
        id: "answer.no-invocation-id",
        level: Practice,
        text: "An answer to an event without Lambda-Runtime-Invocation-Id has none.",
        source: "https://github.com/aws/aws-lambda-rust-runtime/pull/1159",
        needs: None,
        probe: no_invocation_id,
    },
    Rule {
        id: "answer.too-large",
        level: Contract,
        text: "After a response that is too large the runtime goes on, and it reports no error to \
               the 413: the platform has failed the invocation.",
        source: RUNTIME_API,
        needs: Some("large"),
        probe: too_large,
    },
    Rule {
        id: "answer.status-400",
        level: Practice,
        text: "The runtime goes on when an answer is refused with 400.",
        source: RUNTIME_API,
        needs: None,
        probe: |lab| refused(lab, 400, "InvalidRequestID"),
    },
    Rule {
        id: "answer.status-403",
        level: Practice,
        text: "The runtime goes on when an answer is refused with 403.",
        source: RUNTIME_API,
        needs: None,
        probe: |lab| refused(lab, 403, "InvalidStateTransition"),
    },
    Rule {
        id: "answer.status-410",
        level: Practice,
        text: "The runtime goes on when an answer is refused with 410: the invocation timed out.",
        source: RIE,
        needs: None,
        probe: |lab| refused(lab, 410, "InvokeTimeout"),
    },
    Rule {
        id: "answer.status-413",
        level: Practice,
        text: "The runtime goes on when an answer is refused with 413.",
        source: RUNTIME_API,
        needs: None,
        probe: |lab| refused(lab, 413, "RequestEntityTooLarge"),
    },
    Rule {
        id: "answer.status-500",
        level: Contract,
        text: "The runtime exits promptly when an answer meets 500: the state is not recoverable.",
        source: RUNTIME_API,
        needs: None,
        probe: |lab| exits(lab, Step::Response(0), Step::InvocationError(0)),
    },
    Rule {
        id: "next.status-500",
        level: Contract,
        text: "The runtime exits promptly when next meets 500: the state is not recoverable.",
        source: RUNTIME_API,
        needs: None,
        probe: |lab| exits(lab, Step::Next(1), Step::Next(1)),
    },
    Rule {
        id: "next.status-403",
        level: Practice,
        text: "After a 403 to next the environment serves on, and nobody asks without a pause.",
        source: "https://github.com/Nike-Inc/hal/issues/54",
        needs: None,
        probe: next_403,
    },
    Rule {
        id: "error.body",
        level: Contract,
        text: "A handler that fails is reported at /error, with errorMessage and errorType.",
        source: RUNTIME_API,
        needs: Some("fail"),
        probe: error_body,
    },
    Rule {
        id: "error.type-header",
        level: Contract,
        text: "The report has Lambda-Runtime-Function-Error-Type.",
        source: RUNTIME_API,
        needs: Some("fail"),
        probe: error_type,
    },
    Rule {
        id: "error.known-type",
        level: Practice,
        text: "The error type has the form Function.Reason or Runtime.Reason, or the platform \
               records Runtime.Unknown.",
        source: RIE,
        needs: Some("fail"),
        probe: error_known_type,
    },
    Rule {
        id: "error.goes-on",
        level: Contract,
        text: "The process serves the next event after a handler that failed.",
        source: CUSTOM,
        needs: Some("fail"),
        probe: error_goes_on,
    },
    Rule {
        id: "crash.next-event",
        level: Contract,
        text: "After a crash of the process a new one serves the next event.",
        source: "https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html",
        needs: Some("crash"),
        probe: crash,
    },
    Rule {
        id: "init.error",
        level: Contract,
        text: "A failed init is reported at /runtime/init/error, with errorMessage and errorType, \
               before the process ends.",
        source: RUNTIME_API,
        needs: Some("init"),
        probe: init_error,
    },
    Rule {
        id: "init.exit-status",
        level: Practice,
        text: "The process ends with a status other than 0 after a failed init.",
        source: CUSTOM,
        needs: Some("init"),
        probe: init_exit,
    },
];

/// The answers that the runtime sent.
fn sent(run: &Run<'_>) -> Result<Vec<Asked>, Miss> {
    let mut sent = run.requests("/response")?;
    let mut errors = run.requests("/error")?;
    errors.retain(|asked| !asked.path.ends_with("/init/error"));
    sent.append(&mut errors);
    Ok(sent)
}

fn once(lab: &Lab<'_>) -> Probed {
    let run = lab.start()?;
    for _ in 0..20 {
        run.answered()?;
    }
    let sent = sent(&run)?.len();
    ensure(sent == 20, || format!("{sent} answers to 20 events"))?;
    Ok("20 answers to 20 events".to_owned())
}

fn invocation_id(lab: &Lab<'_>) -> Probed {
    let run = lab.start()?;
    run.answered()?;
    let given = run.find(|what| {
        if let What::EventSent { invocation_id, .. } = what {
            Some(invocation_id.clone())
        } else {
            None
        }
    })?;
    let sent = sent(&run)?;
    let echoed = sent
        .first()
        .and_then(|a| a.header("lambda-runtime-invocation-id"));
    ensure(echoed == given.as_deref(), || {
        format!("the answer has {echoed:?} for {given:?}")
    })?;
    Ok("echoed".to_owned())
}

fn no_invocation_id(lab: &Lab<'_>) -> Probed {
    let event = Raw::event(REQUEST_ID, br#"{"conform":"echo"}"#).bytes();
    let run = lab.start_with_faults([(Step::Next(0), FaultKind::Instead(event))])?;
    run.answered_as(Invoke {
        request_id: Some(REQUEST_ID.to_owned()),
        ..Invoke::default()
    })?;
    let sent = sent(&run)?;
    let made = sent
        .first()
        .and_then(|a| a.header("lambda-runtime-invocation-id"));
    ensure(made.is_none(), || format!("the answer has {made:?}"))?;
    Ok("none".to_owned())
}

fn too_large(lab: &Lab<'_>) -> Probed {
    let run = lab.start()?;
    let outcome = run.ask("large", json!({ "bytes": 6 * 1024 * 1024 + 200 }))?;
    let error = outcome.function_error.map(|error| error.error_type);
    ensure(
        error.as_deref() == Some("Function.ResponseSizeTooLarge"),
        || format!("the caller sees {error:?}"),
    )?;
    let is_413 = |what: &What| matches!(what, What::Answered { status: 413, .. });
    let refused = run.count(is_413)? > 0;
    let reported = run.requests("/error")?.len();
    ensure(!refused || reported == 0, || {
        "an error was reported after the 413".to_owned()
    })?;
    run.goes_on()?;
    Ok(if refused {
        "went on after the 413".to_owned()
    } else {
        "reported as an error, and not sent".to_owned()
    })
}

/// The first answer is refused; the event is given again, so that its answer is not lost.
fn refused(lab: &Lab<'_>, status: u16, error_type: &str) -> Probed {
    let body = json!({ "errorMessage": "refused", "errorType": error_type }).to_string();
    let run = lab.start_with_faults([
        (Step::Response(0), FaultKind::Status(status, body.clone())),
        (Step::InvocationError(0), FaultKind::Status(status, body)),
    ])?;
    // What the caller sees of it is the platform's affair.
    let _seen = run.answered();
    run.goes_on()?;
    run.is_calm()?;
    Ok("went on".to_owned())
}

fn exits(lab: &Lab<'_>, at: Step, or_at: Step) -> Probed {
    let status = || FaultKind::Status(500, INTERNAL_ERROR.to_owned());
    let run = lab.start_with_faults([(at, status()), (or_at, status())])?;
    let _seen = run.answered();
    run.exits()?;
    run.is_calm()?;
    Ok("exited".to_owned())
}

fn next_403(lab: &Lab<'_>) -> Probed {
    let body = r#"{"errorMessage":"State transition is not allowed","errorType":"InvalidStateTransition"}"#;
    let run = lab.start_with_faults([(Step::Next(1), FaultKind::Status(403, body.to_owned()))])?;
    run.answered()?;
    let _seen = run.answered();
    run.serves_on()?;
    run.is_calm()?;
    Ok("served on".to_owned())
}

/// The report of a handler that failed.
fn report(run: &Run<'_>) -> Result<Asked, Miss> {
    let outcome = run.ask("fail", Value::Null)?;
    ensure(outcome.function_error.is_some(), || {
        "the caller sees a success".to_owned()
    })?;
    let path = format!(
        "/2018-06-01/runtime/invocation/{}/error",
        outcome.request_id
    );
    let reported = run.requests(&path)?.into_iter().next();
    reported.ok_or_else(|| Miss::Broken(format!("no POST of {path}")))
}

fn error_body(lab: &Lab<'_>) -> Probed {
    let run = lab.start()?;
    described(&report(&run)?)
}

/// An error as JSON.
fn described(asked: &Asked) -> Probed {
    let body: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
    for member in ["errorMessage", "errorType"] {
        ensure(body.get(member).is_some_and(Value::is_string), || {
            format!("no {member} in {}", String::from_utf8_lossy(&asked.body))
        })?;
    }
    Ok("both".to_owned())
}

fn error_type(lab: &Lab<'_>) -> Probed {
    let run = lab.start()?;
    let report = report(&run)?;
    let given = report.header("lambda-runtime-function-error-type");
    let given = given.ok_or_else(|| Miss::Broken("it has none".to_owned()))?;
    Ok(given.to_owned())
}

fn error_known_type(lab: &Lab<'_>) -> Probed {
    let run = lab.start()?;
    let outcome = run.ask("fail", Value::Null)?;
    let error = outcome.function_error;
    let recorded = error.as_ref().map_or("nothing", |error| &error.error_type);
    let is_known = error.is_some() && !recorded.ends_with(".Unknown");
    let raw = error.as_ref().and_then(|error| error.raw_type.clone());
    ensure(is_known, || {
        format!("the platform records {recorded} for {raw:?}")
    })?;
    Ok(recorded.to_owned())
}

fn error_goes_on(lab: &Lab<'_>) -> Probed {
    let run = lab.start()?;
    report(&run)?;
    run.goes_on()?;
    Ok("went on".to_owned())
}

fn crash(lab: &Lab<'_>) -> Probed {
    let run = lab.start()?;
    let outcome = run.ask("crash", Value::Null)?;
    ensure(outcome.function_error.is_some(), || {
        "the caller sees a success".to_owned()
    })?;
    run.serves_on()?;
    Ok("served on".to_owned())
}

/// The run of an init that fails.
fn failed_init<'a>(lab: &'a Lab<'_>) -> Result<Run<'a>, Miss> {
    let run = lab.start_with(|config| {
        let variable = ("CONFORM_INIT".to_owned(), "fail".to_owned());
        config.env.push(variable);
    })?;
    ensure(run.prepare().is_err(), || "it succeeded".to_owned())?;
    Ok(run)
}

fn init_error(lab: &Lab<'_>) -> Probed {
    let run = failed_init(lab)?;
    let reported = run.requests("/2018-06-01/runtime/init/error")?;
    let first = reported.first();
    described(first.ok_or_else(|| Miss::Broken("no POST of that path".to_owned()))?)
}

fn init_exit(lab: &Lab<'_>) -> Probed {
    let run = failed_init(lab)?;
    run.exits()?;
    let code = run.find(|what| {
        if let What::Exited { code, .. } = what {
            Some(*code)
        } else {
            None
        }
    })?;
    let code = code.flatten();
    ensure(code.is_none_or(|code| code != 0), || {
        "the status is 0".to_owned()
    })?;
    Ok(code.map_or_else(|| "a signal".to_owned(), |code| code.to_string()))
}

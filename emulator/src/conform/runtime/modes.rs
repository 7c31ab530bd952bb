//! Snapshots, and several invocations at once: what a runtime may leave out.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::config::{Initialization, Invoke};
use crate::conform::lab::{Lab, Miss, Probed, Run, ensure};
use crate::conform::rule::Level::Contract;
use crate::conform::rule::Rule;
use crate::conform::source::{MANAGED, SNAPSTART};
use crate::record::outcome::Outcome;
use crate::record::transcript::{Entry, What};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "restore.before-next",
        level: Contract,
        text: "Under SnapStart the runtime asks for /runtime/restore/next before its first event.",
        source: SNAPSTART,
        needs: None,
        probe: restore_first,
    },
    Rule {
        id: "restore.connections",
        level: Contract,
        text: "After a restore the runtime serves events, though every connection from before the \
               snapshot is gone.",
        source: SNAPSTART,
        needs: None,
        probe: restore_connections,
    },
    Rule {
        id: "workers.at-once",
        level: Contract,
        text: "On Managed Instances the runtime runs AWS_LAMBDA_MAX_CONCURRENCY invocations at once.",
        source: MANAGED,
        needs: Some("sleep"),
        probe: at_once,
    },
    Rule {
        id: "workers.own-answers",
        level: Contract,
        text: "Each of the invocations that run at once gets its own answer.",
        source: MANAGED,
        needs: Some("sleep"),
        probe: own_answers,
    },
    Rule {
        id: "workers.trace",
        level: Contract,
        text: "On Managed Instances there is no _X_AMZN_TRACE_ID: invocations would share it.",
        source: MANAGED,
        needs: Some("context"),
        probe: no_trace,
    },
    Rule {
        id: "workers.error",
        level: Contract,
        text: "An invocation that fails leaves the ones beside it alone.",
        source: MANAGED,
        needs: Some("fail"),
        probe: error,
    },
];

fn restored<'a>(lab: &'a Lab<'_>) -> Result<Run<'a>, Miss> {
    let run = lab.start_with(|config| config.initialization = Initialization::SnapStart)?;
    run.answered()?;
    if run.requests("/runtime/restore/next")?.is_empty() {
        return Err(Miss::NotApplicable(
            "the runtime takes no part in snapshots; its image needs Lambda's label for that"
                .to_owned(),
        ));
    }
    Ok(run)
}

fn restore_first(lab: &Lab<'_>) -> Probed {
    let run = restored(lab)?;
    let nexts = run.requests("/next")?;
    let first = nexts.first().map_or("nothing", |asked| &asked.path);
    ensure(first.ends_with("/restore/next"), || {
        format!("{first} came before it")
    })?;
    Ok("asked".to_owned())
}

fn restore_connections(lab: &Lab<'_>) -> Probed {
    let run = restored(lab)?;
    // Nobody sees what is sent on a connection that is gone, but for who sends it.
    run.goes_on()?;
    Ok("served on".to_owned())
}

/// A run with workers, if the runtime has some.
fn managed<'a>(lab: &'a Lab<'_>) -> Result<Run<'a>, Miss> {
    let run = lab.start_with(|config| {
        config.initialization = Initialization::ManagedInstances;
        config.max_concurrency = WORKERS;
    })?;
    let without =
        |_| Miss::NotApplicable("the runtime serves one invocation at a time there".to_owned());
    run.prepare()?;
    run.wait_for(
        "second poll",
        |what| matches!(what, What::Polled { polls } if *polls >= 2),
    )
    .map_err(without)?;
    run.wait_for(
        "poll of each worker",
        |what| matches!(what, What::Polled { polls } if *polls >= WORKERS),
    )?;
    Ok(run)
}

/// Sends an event for each worker, all at once.
fn together(run: &Run<'_>) -> Result<[Result<Value, Miss>; WORKERS], Miss> {
    let emulator = run.emulator()?;
    let callers =
        [0, 1, 2, 3].map(|n| json!({ "conform": "sleep", "ms": SLEEP.as_millis(), "n": n }));
    let answers = thread::scope(|scope| {
        callers
            .map(|event| scope.spawn(move || emulator.invoke(event.to_string())))
            .map(|caller| match caller.join() {
                Ok(outcome) => succeeded(outcome?),
                Err(_panicked) => Err(Miss::Broken("a caller panicked".to_owned())),
            })
    });
    Ok(answers)
}

/// The response of an invocation. One that waits for the others until its time is over fails.
fn succeeded(outcome: Outcome) -> Result<Value, Miss> {
    match outcome.function_error {
        None => Ok(serde_json::from_slice(&outcome.body).unwrap_or_default()),
        Some(error) => Err(Miss::Broken(format!(
            "one of the invocations failed: {}",
            error.error_type
        ))),
    }
}

fn at_once(lab: &Lab<'_>) -> Probed {
    let run = managed(lab)?;
    for answer in together(&run)? {
        answer?;
    }
    let took = run.look(|entries| {
        let is_sent = |entry: &&Entry| matches!(entry.what, What::EventSent { .. });
        let first = entries.iter().find(is_sent).map(|entry| entry.at);
        let is_answer = |entry: &&Entry| matches!(entry.what, What::Accepted { .. });
        let last = entries.iter().rfind(is_answer).map(|entry| entry.at);
        Some(last? - first?)
    })?;
    let took = took.unwrap_or_default();
    // One after the other they take four times as long as one.
    ensure(took < SLEEP * 3, || {
        format!("{WORKERS} invocations of {SLEEP:?} took {took:?}")
    })?;
    Ok(format!("{WORKERS} at once"))
}

fn own_answers(lab: &Lab<'_>) -> Probed {
    let run = managed(lab)?;
    for (n, answer) in together(&run)?.into_iter().enumerate() {
        let answer = answer?;
        ensure(answer.get("n") == Some(&json!(n)), || {
            format!("invocation {n} got {answer}")
        })?;
    }
    Ok("each its own".to_owned())
}

fn no_trace(lab: &Lab<'_>) -> Probed {
    let run = managed(lab)?;
    let context = run.context(Invoke::default())?;
    let got = context.get("trace").cloned().unwrap_or_default();
    ensure(got.is_null() || got == json!(""), || format!("it is {got}"))?;
    Ok("none".to_owned())
}

fn error(lab: &Lab<'_>) -> Probed {
    let run = managed(lab)?;
    let emulator = run.emulator()?;
    let (beside, failed) = thread::scope(|scope| {
        let beside = scope.spawn(|| {
            emulator
                .invoke(json!({ "conform": "sleep", "ms": SLEEP.as_millis(), "n": 7 }).to_string())
        });
        let failed = run.ask("fail", Value::Null);
        (beside.join(), failed)
    });
    ensure(failed?.function_error.is_some(), || {
        "the caller sees a success".to_owned()
    })?;
    let beside = beside.map_err(|_panicked| Miss::Broken("a caller panicked".to_owned()))??;
    ensure(beside.function_error.is_none(), || {
        format!("the one beside it: {:?}", beside.function_error)
    })?;
    run.serves_on()?;
    Ok("alone".to_owned())
}

const WORKERS: usize = 4;
/// Long beside all else that an invocation takes.
const SLEEP: Duration = Duration::from_secs(1);

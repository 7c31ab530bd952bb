//! Connections that end, and processes that are stopped between events.

use std::thread;
use std::time::Duration;

use crate::conform::lab::{Lab, Probed, Run, ensure};
use crate::conform::rule::Level::{Contract, Practice};
use crate::conform::rule::Rule;
use crate::conform::source::RIE;
use crate::fault::{FaultKind, Step};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "freeze.thaw",
        level: Contract,
        text: "The runtime serves the next event after it was frozen.",
        source: "https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html",
        needs: None,
        probe: thaw,
    },
    Rule {
        id: "connection.next-reset",
        level: Practice,
        text: "The runtime asks again when the connection is reset while it asks for an event.",
        source: RIE,
        needs: None,
        probe: |lab| once(lab, Step::Next(1), FaultKind::ResetBefore, 2),
    },
    Rule {
        id: "connection.refused",
        level: Practice,
        text: "The runtime asks again when two connections in turn are reset.",
        source: RIE,
        needs: None,
        probe: |lab| once(lab, Step::Next(1), FaultKind::Refuse { times: 2 }, 2),
    },
    Rule {
        id: "connection.event-cut",
        level: Practice,
        text: "The runtime asks again when an event is cut off, wherever it is: the platform gives \
               it once more.",
        source: RIE,
        needs: None,
        probe: event_cut,
    },
    Rule {
        id: "connection.event-closed",
        level: Practice,
        text: "The runtime asks again when the connection ends orderly within an event.",
        source: RIE,
        needs: None,
        probe: |lab| once(lab, Step::Next(0), FaultKind::CloseAt(100), 1),
    },
    Rule {
        id: "connection.garbage",
        level: Practice,
        text: "The environment serves on after an answer to next that is not HTTP, and nobody asks \
               without a pause.",
        source: RIE,
        needs: None,
        probe: garbage,
    },
    Rule {
        id: "connection.answer-reset",
        level: Practice,
        text: "The runtime sends an answer again when the connection is reset before the platform \
               has said anything to it.",
        source: RIE,
        needs: None,
        probe: |lab| once(lab, Step::Response(0), FaultKind::ResetBefore, 1),
    },
    Rule {
        id: "connection.receipt-lost",
        level: Practice,
        text: "The environment serves on when the platform takes an answer and the connection is \
               reset before it says so.",
        source: RIE,
        needs: None,
        probe: receipt_lost,
    },
];

fn thaw(lab: &Lab<'_>) -> Probed {
    let run = lab.start_with(|config| config.freeze = true)?;
    for _ in 0..3 {
        run.answered()?;
        thread::sleep(FROZEN);
    }
    run.goes_on()?;
    Ok("answered after 3 freezes".to_owned())
}

/// No event is lost to one fault, and the process outlives it.
fn once(lab: &Lab<'_>, at: Step, fault: FaultKind, events: usize) -> Probed {
    let run = lab.start_with_faults([(at, fault)])?;
    for _ in 0..events {
        run.answered()?;
    }
    run.goes_on()?;
    run.is_calm()?;
    Ok("nothing was lost".to_owned())
}

fn event_cut(lab: &Lab<'_>) -> Probed {
    // Each event is asked for twice: what is cut, and what is given once more.
    let faults = (0..CUTS).map(|at| (Step::Next(2 * at), FaultKind::CutAt(at * STRIDE)));
    let run = lab.start_with_faults(faults)?;
    let mut lost = 0;
    for _ in 0..CUTS {
        lost += usize::from(run.answered().is_err());
    }
    ensure(lost == 0, || format!("{lost} of {CUTS} events were lost"))?;
    run.goes_on()?;
    Ok(format!("nothing was lost, cut at {CUTS} places"))
}

fn garbage(lab: &Lab<'_>) -> Probed {
    let bytes = b"SSH-2.0-OpenSSH_9.9\r\n".to_vec();
    let run = lab.start_with_faults([(Step::Next(1), FaultKind::Garbage(bytes))])?;
    run.answered()?;
    serves_on(&run)
}

fn receipt_lost(lab: &Lab<'_>) -> Probed {
    let run = lab.start_with_faults([
        (Step::Response(0), FaultKind::ResetAfter),
        (Step::InvocationError(0), FaultKind::ResetAfter),
    ])?;
    run.answered()?;
    serves_on(&run)
}

/// What one event sees is the platform's affair, and the ones after it are answered.
fn serves_on(run: &Run<'_>) -> Probed {
    let _seen = run.answered();
    run.serves_on()?;
    run.is_calm()?;
    Ok("served on".to_owned())
}

const FROZEN: Duration = Duration::from_millis(100);
/// Every third byte of an event's head.
const STRIDE: usize = 3;
const CUTS: usize = 150;

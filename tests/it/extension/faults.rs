//! Faults at every step that the extension takes: the function is served, the extension lives until
//! SHUTDOWN and then exits with 0, and what was lost is counted.

use std::time::Duration;

use bantam_emulator::{Deliveries, Fault, FaultKind, Report, Step, What};

use crate::extension::lifecycle::{end, invoke, subscribed, with_extension};
use crate::support::{count, start};

/// Faults of any answer.
fn kinds() -> Vec<FaultKind> {
    let mut kinds = vec![
        FaultKind::ResetBefore,
        FaultKind::Refuse { times: 2 },
        FaultKind::Unreachable(Duration::from_millis(20)),
        FaultKind::ByteByByte,
        FaultKind::Delay(Duration::from_millis(5)),
        FaultKind::Status(500, "{}".to_owned()),
        FaultKind::Status(503, "nonsense".to_owned()),
        FaultKind::Status(404, String::new()),
        FaultKind::Status(403, r#"{"errorType":"Extension.New"}"#.to_owned()),
        FaultKind::EarlyStatus(500, "{}".to_owned()),
        FaultKind::EarlyStatus(429, String::new()),
    ];
    kinds.extend([0, 1, 9, 17, 40, 120].map(FaultKind::SplitAt));
    kinds
}

/// Faults that lose the answer to a request that the platform has taken.
fn losses() -> Vec<FaultKind> {
    let mut losses = vec![FaultKind::ResetAfter];
    losses.extend([1, 17, 100].map(FaultKind::CutAt));
    losses.extend([0, 30, 100].map(FaultKind::CloseAt));
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(40_000));
    let garbage = [
        "garbage\r\n\r\n",
        "\0\u{1}\u{2}",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n{",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nnonsense",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        &long,
    ];
    losses.extend(garbage.map(|text| FaultKind::Garbage(text.as_bytes().to_vec())));
    losses
}

/// Runs three invocations with one fault. The platform sees nothing of it but the fault.
fn sweep(at: Step, kind: &FaultKind) -> Report {
    let mut config = with_extension();
    config.faults = vec![Fault::new(at, kind.clone())];
    let env = start(config);
    invoke(&env, 3);
    let report = env.stop();
    let context = format!("{at:?} {kind:?}");
    assert_eq!(end(&report), (Some(0), false), "{context}");
    let reported = |what: &What| matches!(what, What::ExtensionReported { .. });
    assert_eq!(count(&report.transcript, reported), 0, "{context}");
    let reset = |what: &What| matches!(what, What::Reset { .. });
    assert_eq!(count(&report.transcript, reset), 0, "{context}");
    report
}

#[test]
fn of_registering() {
    for kind in kinds() {
        let report = sweep(Step::Register(0), &kind);
        assert_eq!(subscribed(&report.transcript), [200], "{kind:?}");
    }
}

/// The platform has registered it, and nobody can know under which identifier: it cannot become
/// ready. The platform resets the environment when the init has had its time, and the extension of
/// the next process serves it.
#[test]
fn of_a_registration_whose_answer_is_lost() {
    for kind in [FaultKind::ResetAfter, FaultKind::CutAt(17)] {
        let mut config = with_extension();
        config.init_timeout = Duration::from_secs(2);
        config.faults = vec![Fault::new(Step::Register(0), kind.clone())];
        let env = start(config);
        invoke(&env, 3);
        let report = env.stop();
        let exits = report
            .transcript
            .iter()
            .filter_map(|entry| match entry.what {
                What::ExtensionExited { code, .. } => Some(code),
                _ => None,
            });
        // The first did not hear of SHUTDOWN and was killed.
        assert_eq!(exits.collect::<Vec<_>>(), [None, Some(0)], "{kind:?}");
        let reset = |what: &What| matches!(what, What::Reset { .. });
        assert_eq!(count(&report.transcript, reset), 1, "{kind:?}");
    }
}

#[test]
fn of_subscribing() {
    for kind in kinds() {
        sweep(Step::Subscribe(0), &kind);
    }
}

/// To subscribe once more changes nothing on the platform, so a lost answer costs no telemetry.
#[test]
fn of_a_subscription_whose_answer_is_lost() {
    let losses = losses();
    let broken = losses.iter().filter(|kind| !is_an_answer(kind));
    for kind in broken.chain(&[FaultKind::ResetBefore]) {
        let mut config = with_extension();
        config.faults = vec![Fault::new(Step::Subscribe(0), kind.clone())];
        let env = start(config);
        // A batch may be held back for the subscription's timeout, and by freezes.
        let is_delivered = |delivery: &Deliveries| 0 < delivery.batches;
        for _ in 0..1_000 {
            if env.deliveries().iter().any(is_delivered) {
                break;
            }
            invoke(&env, 1);
        }
        let report = env.stop();
        assert_eq!(end(&report), (Some(0), false), "{kind:?}");
        assert_eq!(
            subscribed(&report.transcript).last(),
            Some(&200),
            "{kind:?}"
        );
        let [delivery] = &report.deliveries[..] else {
            panic!("{kind:?}: {:?}", report.deliveries);
        };
        assert!(is_delivered(delivery), "{kind:?}: {delivery:?}");
        assert_eq!(delivery.failures, 0, "{kind:?}");
    }
}

/// Whether the bytes are an answer of HTTP, if a strange one.
fn is_an_answer(kind: &FaultKind) -> bool {
    matches!(kind, FaultKind::Garbage(bytes) if bytes.ends_with(b"[]") || bytes.ends_with(b"nonsense"))
}

#[test]
fn of_waiting_for_an_event() {
    for at in 0..=3 {
        for kind in kinds() {
            sweep(Step::ExtensionNext(at), &kind);
        }
    }
}

/// An event that is written to a broken connection is lost on Lambda too. Asking for the next one
/// is what the platform waits for.
#[test]
fn of_an_event_that_is_lost() {
    for at in 0..=2 {
        for kind in losses() {
            sweep(Step::ExtensionNext(at), &kind);
        }
    }
}

//! The fault sweep: a scenario of three invocations, run again with every fault at every request.
//!
//! The assertion is the same each time: one answer at most for each request id, every invocation
//! ends, no hang, and a process that ends does so by itself with 0 or 1.

use std::os::unix::fs::symlink;
use std::time::Duration;

use bantam_emulator::{Config, Entry, Fault, FaultKind, Step, What};

use super::events::answered_invocation_ids;
use crate::support::{Env, answers, count, example_path, faulty, start};

/// The requests of the scenario: next, response, next, error, next, response, next.
const REQUESTS: usize = 7;

/// Runs the scenario; the answers are whether each invocation was served as it would be without
/// the fault.
fn scenario(env: &Env) -> [bool; 3] {
    let events = [
        r#"{"do":"echo","value":1}"#,
        r#"{"do":"chosen"}"#,
        r#"{"do":"echo","value":3}"#,
    ];
    let expected = [Ok("1"), Err("Function.OutOfMoney"), Ok("3")];
    let mut served = [false; 3];
    for (index, event) in events.iter().enumerate() {
        let outcome = env.invoke(*event).unwrap();
        assert!(
            answers(env, &outcome) <= 1,
            "two answers for one request id"
        );
        let result = match &outcome.function_error {
            None => Ok(std::str::from_utf8(&outcome.body).unwrap()),
            Some(error) => Err(error.error_type.as_str()),
        };
        served[index] = result == expected[index];
        assert!(
            served[index] || result.is_err(),
            "a wrong response: {result:?}"
        );
    }
    let transcript = env.transcript();
    let code = |code: &Option<i32>| matches!(code, Some(0 | 1));
    assert!(exits(&transcript).iter().all(code));
    answered_invocation_ids(&transcript);
    served
}

/// The codes with which processes ended; `None` for the end by a signal.
pub(super) fn exits(entries: &[Entry]) -> Vec<Option<i32>> {
    let mut exits = Vec::new();
    for entry in entries {
        if let What::Exited { code, .. } = entry.what {
            exits.push(code);
        }
    }
    exits
}

/// How many requests there were for paths that end in `end`.
fn requests(entries: &[Entry], end: &str) -> usize {
    count(
        entries,
        |what| matches!(what, What::Request { path, .. } if path.ends_with(end)),
    )
}

fn with_fault(mut config: Config, at: Step, kind: FaultKind) -> Env {
    config.faults = vec![Fault { at, kind }];
    // Freezing tells nothing here and takes most of the time.
    config.freeze = false;
    start(config)
}

fn run(at: Step, kind: FaultKind) -> ([bool; 3], usize) {
    let env = with_fault(faulty(), at, kind);
    let served = scenario(&env);
    let applied = count(&env.transcript(), |what| {
        matches!(what, What::FaultApplied { .. })
    });
    if !matches!(at, Step::Request(6)) {
        assert!(applied >= 1, "the fault at {at:?} never happened");
    }
    (served, env.spawned())
}

/// Lost connections and mangled answers: the runtime mends all of them by itself.
pub(super) fn recoverable() -> Vec<FaultKind> {
    let mut kinds = vec![
        FaultKind::ResetBefore,
        FaultKind::ResetAfter,
        FaultKind::Refuse { times: 1 },
        FaultKind::Refuse { times: 3 },
        FaultKind::Unreachable(Duration::from_millis(30)),
        FaultKind::ByteByByte,
        FaultKind::Delay(Duration::from_millis(5)),
        FaultKind::Garbage(b"garbage\r\n\r\n".to_vec()),
        FaultKind::Garbage(
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n".to_vec(),
        ),
        FaultKind::Garbage(Vec::new()),
    ];
    for at in [0, 1, 9, 12, 15, 16, 17, 30, 60, 120] {
        kinds.extend([
            FaultKind::CutAt(at),
            FaultKind::CloseAt(at),
            FaultKind::SplitAt(at),
        ]);
    }
    kinds
}

fn sweep(requests: impl Iterator<Item = usize>) {
    for request in requests {
        for kind in recoverable() {
            // Also when an answer is lost for good: asked for the next event, the platform gives
            // the same one again.
            let (served, spawned) = run(Step::Request(request), kind.clone());
            assert_eq!(served, [true; 3], "request {request}, {kind:?}");
            assert_eq!(spawned, 1, "request {request}, {kind:?}");
        }
    }
}

#[test]
fn faults_while_asking_for_an_event_cost_no_invocation() {
    sweep((0..REQUESTS).step_by(2));
}

#[test]
fn faults_while_answering_cost_no_invocation() {
    sweep((1..REQUESTS).step_by(2));
}

#[test]
fn statuses_on_every_request() {
    for request in 0..REQUESTS {
        for status in [204, 302, 400, 403, 404, 410, 413, 500, 503] {
            status_on_request(request, status);
        }
    }
}

fn status_on_request(request: usize, status: u16) {
    let case = format!("request {request}, {status}");
    let body = r#"{"errorMessage":"planted","errorType":"Planted"}"#.to_owned();
    let kind = FaultKind::Status(status, body);
    let env = with_fault(faulty(), Step::Request(request), kind);
    let served = scenario(&env);
    // Shows an end of the process after the last answer, too.
    assert_eq!(env.respond(r#"{"do":"echo","value":4}"#), 4, "{case}");
    let asks = request % 2 == 0;
    let end = match status {
        500 | 503 => Some(1),
        410 if asks => Some(0),
        _ => None,
    };
    // The emulator has not taken an answer it refused, and `next` gives the event again; so what
    // is not served is what the process ended with.
    let mut expected = [true; 3];
    if !asks && end.is_some() {
        expected[request / 2] = false;
    }
    assert_eq!(served, expected, "{case}");
    let transcript = env.transcript();
    let ends: Vec<Option<i32>> = end.into_iter().map(Some).collect();
    assert_eq!(exits(&transcript), ends, "{case}");
    assert_eq!(env.spawned(), 1 + ends.len(), "{case}");
    if !asks {
        let logged = format!("answering: the API answered {status} ");
        assert_eq!(
            env.function_log().contains(&logged),
            status != 204,
            "{case}"
        );
    }
    // The platform has closed an invocation whose response it refused.
    for entry in &transcript {
        if let What::Request {
            request: number,
            path,
            ..
        } = &entry.what
            && *number == request
            && let Some(invocation) = path.strip_suffix("response")
        {
            let error = format!("{invocation}error");
            assert_eq!(requests(&transcript, &error), 0, "{case}");
        }
    }
}

#[test]
fn a_large_response_that_is_refused_is_not_followed_by_an_error() {
    let body = r#"{"errorType":"RequestEntityTooLarge"}"#;
    for kind in [
        FaultKind::Status(413, body.to_owned()),
        // Comes while the response is being written.
        FaultKind::EarlyStatus(413, body.to_owned()),
    ] {
        let env = with_fault(faulty(), Step::Response(0), kind.clone());
        let text = env.respond(r#"{"do":"large","bytes":6000000}"#);
        assert_eq!(text.as_str().unwrap().len(), 6_000_000);
        // The event came twice to the same process, since the emulator has not taken the response
        // it refused.
        assert_eq!(env.respond(r#"{"do":"process"}"#)["count"], 3, "{kind:?}");
        let transcript = env.transcript();
        assert_eq!(requests(&transcript, "/response"), 3, "{kind:?}");
        assert_eq!(requests(&transcript, "/error"), 0, "{kind:?}");
        assert_eq!(env.spawned(), 1);
        let logged = format!("answering: the API answered 413 {body}");
        assert!(env.function_log().contains(&logged), "{kind:?}");
    }
}

/// Needs strace: `.ci/run` installs it.
#[test]
#[ignore = "needs strace"]
fn interrupted_system_calls_are_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let bootstrap = folder.path().join("bootstrap");
    symlink(example_path("faulty"), &bootstrap).unwrap();
    let trace = folder.path().join("trace");
    let mut config = Config::new("/usr/bin/strace");
    let mut args = vec!["-f", "-o", trace.to_str().unwrap()];
    // Every second one, so that the call after it succeeds.
    let interrupt =
        ["recvfrom", "writev"].map(|call| format!("inject={call}:error=EINTR:when=1+2"));
    args.extend(interrupt.iter().flat_map(|rule| ["-e", rule]));
    args.push(bootstrap.to_str().unwrap());
    config.args = args.into_iter().map(str::to_owned).collect();
    config.freeze = false;
    let env = start(config);
    assert_eq!(scenario(&env), [true; 3]);
    let connected = |what: &What| matches!(what, What::Connected { .. });
    assert_eq!(count(&env.transcript(), connected), 1, "nothing was lost");
    let trace = std::fs::read_to_string(&trace).unwrap();
    for call in ["recvfrom", "writev"] {
        let interrupted = |line: &&str| line.contains(call) && line.contains("EINTR");
        let count = trace.lines().filter(interrupted).count();
        assert!(count >= 6, "{count} interrupted {call}");
    }
}

#[test]
fn connections_that_fail_from_the_start() {
    for kind in [
        FaultKind::ResetBefore,
        FaultKind::Refuse { times: 1 },
        FaultKind::Refuse { times: 4 },
        FaultKind::Unreachable(Duration::from_millis(50)),
        FaultKind::Delay(Duration::from_millis(20)),
    ] {
        let (served, spawned) = run(Step::Connection(0), kind.clone());
        assert_eq!((served, spawned), ([true; 3], 1), "{kind:?}");
    }
}

/// The error types that the platform records for an init that fails twice, by itself and in the
/// invocation, when the first report meets the fault.
fn failed_inits(kind: FaultKind) -> Vec<String> {
    let mut config = faulty();
    config
        .env
        .push(("FAULTY_INIT".to_owned(), "error".to_owned()));
    let env = with_fault(config, Step::InitError(0), kind);
    let outcome = env.fail("{}").0;
    let transcript = env.transcript();
    assert_eq!(exits(&transcript), [Some(1); 2]);
    let mut errors = Vec::new();
    for entry in transcript {
        if let What::InitDone { error, .. } = entry.what {
            errors.push(error.unwrap());
        }
    }
    assert_eq!(errors.last(), Some(&outcome));
    errors
}

#[test]
fn a_report_of_a_failed_init_that_was_lost_once_arrives() {
    for kind in recoverable() {
        if !matches!(kind, FaultKind::Refuse { .. }) {
            let errors = failed_inits(kind.clone());
            assert_eq!(errors, ["Function.Error"; 2], "{kind:?}");
        }
    }
}

#[test]
fn a_failed_init_ends_even_if_its_report_is_lost_again_and_again() {
    for times in [1, 3] {
        // Whether a report is lost with its connection or not sent at all is a matter of time; only
        // the first kind is given up after the second try.
        for error in failed_inits(FaultKind::Refuse { times }) {
            let expected = ["Runtime.ExitError", "Function.Error"];
            assert!(expected.contains(&error.as_str()), "{error}");
        }
    }
}

#[test]
fn a_lost_report_of_a_panic_is_sent_again() {
    for kind in [
        FaultKind::ResetBefore,
        FaultKind::ResetAfter,
        FaultKind::CutAt(20),
    ] {
        let mut config = faulty();
        config.faults = vec![Fault {
            at: Step::InvocationError(0),
            kind: kind.clone(),
        }];
        let env = start(config);
        let outcome = env.invoke(r#"{"do":"panic","message":"m"}"#).unwrap();
        assert_eq!(
            outcome.function_error.as_ref().unwrap().error_type,
            "Function.Panic",
            "{kind:?}"
        );
        assert_eq!(answers(&env, &outcome), 1);
        assert_eq!(env.respond(r#"{"do":"process"}"#)["count"], 1);
        assert_eq!(env.spawned(), 1);
    }
}

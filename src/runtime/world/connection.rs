//! One process, three invocations, and a connection that meets each fault at each exchange: what
//! follows, exactly. The second invocation fails.

use std::ops::Range;

use super::life::{Act, Ending, Fault, Invocation, Kind, Life, StreamEnd};
use super::platform::{Outcome, event_body, id, response_body};
use super::{Lived, live};

/// Exchanges of such a life: three times `next` and an answer, and `next` at the end.
const EXCHANGES: usize = 7;

/// The exit code 0, as `waitpid` says it.
const WELL: i32 = 0;

/// The exit code 1.
const BADLY: i32 = 1 << 8;

fn life(seed: u64, at: Range<usize>, fault: Fault) -> Life {
    let invocation = |act| Invocation {
        idle_ms: (0, 0),
        timeout_ms: 3_000,
        act,
        event_bytes: 0,
    };
    Life {
        seed,
        kind: Kind::Function,
        is_streamed: false,
        start_ms: 0,
        workers: 0,
        failed_inits: vec![],
        is_restored: false,
        always_panics: false,
        invocations: [Act::Responds, Act::Fails, Act::Responds]
            .map(invocation)
            .to_vec(),
        faults: at.map(|at| (at, fault)).collect(),
        ending: Ending::Gone,
    }
}

/// Lives a life whose exchanges `at` meet a fault.
fn with(at: Range<usize>, fault: Fault) -> Lived {
    live(&life(0, at, fault), false)
}

/// The outcomes of the invocations, and the one that is expected of each.
fn outcomes(lived: &Lived) -> [[Option<Outcome>; 3]; 2] {
    let life = life(0, 0..0, Fault::Refused);
    let response = |index| Some(Outcome::Response(event_body(&life, index)));
    let error = Outcome::Error("Function.Chosen".to_owned(), id(1));
    let calls = &lived.platform.calls;
    [
        [0, 1, 2].map(|index| calls[index].outcome.clone()),
        [response(0), Some(error), response(2)],
    ]
}

/// Each invocation was answered as it should be, by one process, which ended well.
fn is_served(lived: &Lived, case: &str) {
    let [outcomes, expected] = outcomes(lived);
    assert_eq!(outcomes, expected, "{case}");
    assert_eq!(lived.exits, [WELL], "{case}");
}

#[test]
fn three_invocations_are_seven_exchanges_over_one_connection() {
    // The seed says in which pieces bytes go.
    for seed in 0..50 {
        let lived = live(&life(seed, 0..0, Fault::Refused), false);
        is_served(&lived, "no fault");
        assert_eq!(lived.platform.exchanges, EXCHANGES);
        assert_eq!(lived.connections, 1);
        assert_eq!(lived.platform.passed_ms, 0);
    }
}

#[test]
fn a_connection_that_is_lost_at_any_byte_loses_no_invocation() {
    for at in 0..EXCHANGES {
        for bytes in 0..400 {
            for fault in [Fault::RequestCut(bytes), Fault::ResponseCut(bytes)] {
                let case = format!("exchange {at}: {fault:?}");
                let lived = with(at..at + 1, fault);
                is_served(&lived, &case);
                assert!(lived.connections <= 2, "{case}");
                assert_eq!(lived.platform.passed_ms, 0, "the first retry is at once");
                let at_most = |posts| lived.platform.calls.iter().all(|call| call.posts <= posts);
                assert!(at_most(2), "{case}: an answer is sent again once");
            }
        }
    }
}

#[test]
fn an_answer_that_is_lost_twice_is_given_up_and_the_event_comes_again() {
    for at in [1, 3, 5] {
        let lived = with(at..at + 2, Fault::RequestCut(10));
        is_served(&lived, "lost twice");
        // Two that were lost, `next`, and the answer to the same event.
        assert_eq!(lived.platform.exchanges, EXCHANGES + 3);

        // It had arrived the first time, which the API says to the second.
        let lived = with(at..at + 2, Fault::ResponseCut(10));
        is_served(&lived, "arrived");
        assert_eq!(lived.platform.exchanges, EXCHANGES + 1);
    }
}

#[test]
fn a_connection_that_was_closed_while_idle_is_opened_again() {
    for at in 0..EXCHANGES {
        let lived = with(at..at + 1, Fault::Closed);
        is_served(&lived, "closed");
        assert_eq!(lived.platform.requests, EXCHANGES, "none arrived twice");
        assert_eq!(lived.platform.passed_ms, 0);
    }
}

#[test]
fn refused_connections_are_tried_nine_times_with_growing_pauses() {
    let pauses = [0, 10, 20, 40, 80, 160, 320, 640];
    for at in 0..EXCHANGES {
        for times in 1..=pauses.len() {
            let lived = with(at..at + times, Fault::Refused);
            is_served(&lived, "refused");
            let passed_ms: u64 = pauses[..times].iter().sum();
            assert_eq!(lived.platform.passed_ms, passed_ms, "{times} times");
        }
        let lived = with(at..at + 1, Fault::Gone(1_000));
        assert_eq!(lived.exits[0], BADLY);
        let reason = "\tFATAL\tasking for the next invocation: ";
        assert!(lived.log.iter().any(|line| line.text.contains(reason)));
        let [outcomes, expected] = outcomes(&lived);
        assert_eq!(outcomes[..at / 2], expected[..at / 2]);
    }
}

#[test]
fn a_stream_is_tried_as_often_as_any_answer() {
    let pauses = [0, 10, 20, 40, 80, 160, 320, 640];
    for times in 1..=9 {
        let mut life = life(0, 3..3 + times, Fault::Refused);
        life.invocations[1].act = Act::Streams {
            parts: 3,
            bytes: 10,
            pause_ms: 0,
            end: StreamEnd::Finishes,
        };
        let lived = live(&life, false);
        let calls = &lived.platform.calls;
        let [response, other] =
            [1, 2].map(|index| Some(Outcome::Response(response_body(&life, index))));
        assert_eq!(calls[1].outcome, response, "{times} times");
        assert_eq!(calls[2].outcome, other, "{times} times");
        assert_eq!(lived.exits, [WELL], "{times} times");
        let passed_ms: u64 = pauses[..times.min(8)].iter().sum();
        assert_eq!(lived.platform.passed_ms, passed_ms, "{times} times");
        let reason = "\tWARN\tstreaming the response: Connection refused";
        let is_given_up = lived.log.iter().any(|line| line.text.contains(reason));
        assert_eq!(is_given_up, times == 9, "{times} times");
    }
}

#[test]
fn statuses_are_acted_on() {
    for at in 0..EXCHANGES {
        let asks = at % 2 == 0;
        for code in [202, 204, 302, 400, 403, 404, 410, 413, 500, 503] {
            let case = format!("exchange {at}: {code}");
            let lived = with(at..at + 1, Fault::Status(code));
            if !(code >= 500 || code == 410 && asks) {
                // The API has not taken an answer that it refused, and gives the event again.
                is_served(&lived, &case);
                let pause_ms = if asks && code == 204 { 25 } else { 0 };
                assert_eq!(lived.platform.passed_ms, pause_ms, "{case}");
                continue;
            }
            assert_eq!(
                lived.exits[0],
                if code == 410 { WELL } else { BADLY },
                "{case}"
            );
            // Another process serves the rest.
            let [outcomes, mut expected] = outcomes(&lived);
            if !asks {
                expected[at / 2] = Some(Outcome::Exited);
            }
            assert_eq!(outcomes, expected, "{case}");
        }
    }
}

#[test]
fn an_event_that_cannot_be_answered_is_asked_for_again() {
    for times in 1..=8 {
        let lived = with(0..times, Fault::NoIdentity);
        is_served(&lived, "no identity");
        assert_eq!(lived.connections, times + 1, "each on a new connection");
    }
    let lived = with(0..9, Fault::NoIdentity);
    assert_eq!(lived.exits, [BADLY, WELL]);
    assert_eq!(lived.platform.exchanges, 9 + EXCHANGES);
    let reason = |text: &str| text.contains("\tFATAL\tan event came without Lambda-Runtime");
    assert!(lived.log.iter().any(|line| reason(&line.text)));
}

#[test]
fn an_event_over_the_limit_is_answered_and_not_read() {
    let lived = with(0..1, Fault::TooLarge);
    assert_eq!(lived.exits, [WELL]);
    let [[first, rest @ ..], [_, expected @ ..]] = outcomes(&lived);
    let Some(Outcome::Error(error_type, message)) = first else {
        panic!("{first:?}");
    };
    assert_eq!(error_type, "Runtime.EventTooLarge");
    assert!(message.contains("limit 6291556"), "{message}");
    assert_eq!(rest, expected);
    assert_eq!(lived.connections, 2, "the one with the event is closed");
}

#[test]
fn what_is_not_http_is_asked_for_again() {
    for at in 0..EXCHANGES {
        let lived = with(at..at + 1, Fault::Garbage);
        is_served(&lived, "garbage");
        assert_eq!(lived.connections, 2);
    }
}

//! Lives that are made up, each fault at each exchange of a short life, and the lives that failed
//! once.

use std::fmt::Write as _;

use super::check::Broken;
use super::life::{Act, Ending, Fault, Init, Invocation, Kind, Life, StreamEnd};
use super::live;
use super::platform::{Call, Outcome};
use crate::shared::os;

/// Lives a life; what is wrong with it, if something is.
fn fault_of(life: &Life) -> Option<Broken> {
    live(life, false).check(life).err()
}

/// The shortest life that differs from `life` by what it lacks, and breaks the same rule.
fn shortest(mut life: Life, broken: &Broken) -> Life {
    let rule = broken.0;
    let breaks = |life: &Life| fault_of(life).is_some_and(|broken| broken.0 == rule);
    while let Some(shorter) = life.shorter().into_iter().find(breaks) {
        life = shorter;
    }
    life
}

/// Fails with a life, after it was made as short as possible.
fn fail(life: Life, broken: &Broken) -> ! {
    let seed = life.seed;
    let life = shortest(life, broken);
    let lived = live(&life, true);
    let mut text = format!("seed {seed}: {broken}\n");
    match lived.check(&life) {
        Err(error) => writeln!(text, "the shortest life like it: {error}\n{life:#?}").unwrap(),
        Ok(()) => writeln!(text, "it is well when it is lived again:\n{life:#?}").unwrap(),
    }
    for note in &lived.trace {
        writeln!(text, "{note}").unwrap();
    }
    panic!("{text}");
}

/// Ten thousand lives. One that fails is printed in its shortest form, to be kept below;
/// `WORLD_SEED=<seed> cargo test --lib runtime::world` lives it alone.
#[test]
fn random_lives_keep_the_rules() {
    let chosen = os::variable("WORLD_SEED");
    let chosen: Option<u64> = chosen.map(|seed| seed.into_string().unwrap().parse().unwrap());
    let seeds = chosen.map_or(0..10_000, |seed| seed..seed + 1);
    for seed in seeds {
        let life = Life::of(seed);
        if let Some(broken) = fault_of(&life) {
            fail(life, &broken);
        }
    }
}

#[test]
fn a_life_is_the_same_each_time() {
    for seed in 0..200 {
        let life = Life::of(seed);
        let [one, other] = [0; 2].map(|_| live(&life, true).trace);
        assert_eq!(one, other, "seed {seed}");
    }
}

/// A short life of each form of a handler: alone, restored from a snapshot, and as two workers.
fn short_lives() -> Vec<Life> {
    let kinds = [
        Kind::Function,
        Kind::OneShot,
        Kind::Persistent,
        Kind::Server,
    ];
    let mut lives = Vec::new();
    for kind in kinds {
        for is_streamed in [false, true] {
            let second = match (kind, is_streamed) {
                (Kind::Function, true) => stream(StreamEnd::Fails),
                _ => Act::Fails,
            };
            let acts = [stream(StreamEnd::Finishes), second, Act::Responds];
            for (workers, is_restored) in [(0, false), (0, true), (2, false)] {
                let mut life = of_two_workers(lives.len() as u64, &acts, (0, Fault::Closed));
                (life.kind, life.is_streamed) = (kind, is_streamed);
                (life.workers, life.is_restored) = (workers, is_restored);
                life.faults = vec![];
                lives.push(life);
            }
        }
    }
    lives
}

/// Each kind of fault once, with connections that are lost at bytes of the head and of the body.
fn each_fault() -> Vec<Fault> {
    let mut faults = vec![
        Fault::Refused,
        Fault::Gone(12),
        Fault::Closed,
        Fault::Garbage,
        Fault::NoIdentity,
        Fault::TooLarge,
        Fault::Slow(30),
        Fault::Slow(5_000),
        Fault::PanicBefore,
        Fault::PanicAfter,
        Fault::Kill,
        Fault::KillAfter,
        Fault::Clock(-86_400_000),
        Fault::Clock(86_400_000),
    ];
    faults.extend([202, 204, 302, 400, 403, 404, 410, 413, 429, 500, 503].map(Fault::Status));
    for bytes in (0..450).step_by(37) {
        faults.extend([Fault::RequestCut(bytes), Fault::ResponseCut(bytes)]);
    }
    faults
}

/// The exchanges are those of the loop, of its streams, of the restore and of the supervisor.
#[test]
fn each_fault_at_each_exchange_of_a_short_life_keeps_the_rules() {
    for well in short_lives() {
        let exchanges = live(&well, false).platform.exchanges;
        for at in 0..exchanges {
            for fault in each_fault() {
                let life = Life {
                    faults: vec![(at, fault)],
                    ..well.clone()
                };
                if let Some(broken) = fault_of(&life) {
                    fail(life, &broken);
                }
            }
        }
    }
}

/// A thread panics while its worker waits for an event. The event that comes is answered: on
/// Managed Instances it would not come again.
fn a_worker_is_doomed() -> Life {
    of_two_workers(621, &[Act::Responds], (0, Fault::PanicAfter))
}

/// What is no chunk comes from a server together with one that is. The response fails at once, and
/// not at the deadline.
fn a_stream_breaks_behind_a_part() -> Life {
    Life {
        kind: Kind::Server,
        is_streamed: true,
        workers: 0,
        faults: vec![],
        ..of_two_workers(1521, &[stream(StreamEnd::IsPanickedOn)], (0, Fault::Kill))
    }
}

/// The connection was closed while it was idle, so a worker begins its stream on another one.
fn a_worker_begins_a_stream_again() -> Life {
    of_two_workers(0, &[stream(StreamEnd::Finishes); 2], (2, Fault::Closed))
}

const fn stream(end: StreamEnd) -> Act {
    Act::Streams {
        parts: 1,
        bytes: 0,
        pause_ms: 5,
        end,
    }
}

/// Two workers that start well and are invoked at once, and one fault.
fn of_two_workers(seed: u64, acts: &[Act], fault: (usize, Fault)) -> Life {
    let invocation = |act: &Act| Invocation {
        idle_ms: (0, 0),
        timeout_ms: 1_000,
        act: *act,
        event_bytes: 0,
    };
    Life {
        seed,
        kind: Kind::Function,
        is_streamed: false,
        start_ms: 0,
        workers: 2,
        failed_inits: vec![],
        is_restored: false,
        always_panics: false,
        invocations: acts.iter().map(invocation).collect(),
        faults: vec![fault],
        ending: Ending::Gone,
    }
}

/// A worker is killed, and the API takes its time with the report of that. The neighbour runs past
/// its deadline meanwhile.
#[test]
fn a_slow_report_delays_no_deadline() {
    for seed in 0..50 {
        // Two workers have asked for an event before.
        let fault = (2, Fault::Slow(1_900));
        let life = of_two_workers(seed, &[Act::IsKilled, Act::Sleeps(9_000)], fault);
        let lived = live(&life, true);
        let outcomes = lived.platform.calls.iter().map(|call| match &call.outcome {
            Some(Outcome::Error(error_type, _)) => (&**error_type, call.ended_ms),
            outcome => panic!("seed {seed}: {outcome:?}\n{}", lived.trace.join("\n")),
        });
        let [killed, overdue] = [("Runtime.ExitError", 1_900), ("Function.Timeout", 1_000)];
        assert_eq!(
            outcomes.collect::<Vec<_>>(),
            [killed, overdue],
            "seed {seed}"
        );
    }
}

/// A worker is killed when the API has accepted its answer, before it reads that. The process that
/// takes its place reports an error, which the API refuses, and says so once.
#[test]
fn an_answer_that_was_accepted_is_not_called_an_error() {
    let mut times = 0;
    for seed in 0..50 {
        // Most often two workers have asked for an event before, and this answers one.
        let fault = (2, Fault::KillAfter);
        let life = of_two_workers(seed, &[Act::Responds; 3], fault);
        let lived = live(&life, true);
        let trace = || lived.trace.join("\n");
        if let Err(broken) = lived.check(&life) {
            panic!("seed {seed}: {broken}\n{}", trace());
        }
        let calls = lived.platform.calls.iter();
        let answered = |call: &Call| matches!(call.outcome, Some(Outcome::Response(_)));
        assert!({ calls }.all(answered), "seed {seed}\n{}", trace());
        let strays = lived.platform.strays;
        let refusals = lived.log.iter();
        let refusals = refusals.filter(|line| line.text.contains("the API answered 400"));
        assert_eq!(strays, refusals.count(), "seed {seed}\n{}", trace());
        times += strays;
    }
    assert_ne!(times, 0);
}

#[test]
fn an_init_error_is_reported_once_and_if_no_worker_starts() {
    for init in [Init::Fails, Init::Panics, Init::Exits] {
        for (fails, reports) in [(1, 0), (2, 1)] {
            for seed in 0..4 {
                let life = Life {
                    failed_inits: vec![init; fails],
                    faults: vec![],
                    ..of_two_workers(seed, &[Act::Responds], (0, Fault::Kill))
                };
                let lived = live(&life, true);
                let trace = || lived.trace.join("\n");
                if let Err(broken) = lived.check(&life) {
                    panic!("{init:?}, seed {seed}: {broken}\n{}", trace());
                }
                let found = lived.platform.init_errors;
                assert_eq!(found, reports, "{init:?}, seed {seed}\n{}", trace());
            }
        }
    }
}

#[test]
fn lives_that_failed_once_keep_the_rules() {
    // In their shortest form.
    for life in [
        a_worker_is_doomed(),
        a_stream_breaks_behind_a_part(),
        a_worker_begins_a_stream_again(),
    ] {
        if let Some(broken) = fault_of(&life) {
            fail(life, &broken);
        }
    }
}

//! Lives of environments step by step, and the lines that are written for each.

use std::pin::pin;
use std::time::Duration;

use async_executor::LocalExecutor;
use futures_lite::future;
use serde_json::Value;

use super::platform::{Step, play};
use super::records::{phase_end, phase_start, report, runtime_done, start};
use super::{Answer, START, TAKEN, World};
use crate::extension::clock::Clock;
use crate::extension::events::{self, Shutdown};
use crate::extension::export::losses::Losses;
use crate::extension::figures::Figures;
use crate::extension::settings::{Exporters, InitType};
use crate::shared::time::{Deadline, EpochMs};

/// A line of the file: when its interval ended, and its points. Points with the same attributes
/// follow the values of these.
pub(super) fn shown(line: &Value) -> String {
    let end_ms = line["end_ms"].as_i64().unwrap() - START.0.cast_signed();
    let mut shown = vec![end_ms.to_string()];
    let mut last = "()".to_owned();
    for point in line["points"].as_array().unwrap() {
        let attributes = point["attributes"].as_object().unwrap().values();
        let attributes: Vec<&str> = attributes.map(|value| value.as_str().unwrap()).collect();
        let attributes = format!("({})", attributes.join(","));
        if attributes != last {
            shown.push(attributes.clone());
            last = attributes;
        }
        let values = point["values"].as_array().unwrap().iter();
        let values: Vec<String> = values.map(Value::to_string).collect();
        let name = point["name"].as_str().unwrap();
        shown.push(format!("{name}={}", values.join(",")));
    }
    shown.join(" ")
}

/// A life, and what is to come of it.
struct Scenario {
    claim: &'static str,
    init_type: InitType,
    steps: Vec<(u64, Step)>,
    lines: &'static [&'static str],
    /// The number of batches that the OTLP receiver took.
    batches: usize,
    /// Points for the OTLP receiver, and lines, that were lost.
    lost: [u64; 2],
    /// The time from SHUTDOWN to the exit.
    end_ms: u64,
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario {
            claim: "a report that a freeze held back is exported when it comes",
            init_type: InitType::OnDemand,
            steps: [
                first_invocation(),
                vec![
                    (10, frozen(3_600_000)),
                    (0, deliver(&[report(230, "a", "success", 30)])),
                    (10, shutdown("spindown", 2_000)),
                ],
            ]
            .concat(),
            lines: &[
                "230 (demand,on_demand) environment_starts=1 cold_starts=1 init_duration=190 \
                 init_before_runtime_duration=5 init_runtime_duration=175 \
                 init_extensions_duration=10 first_invocation_duration=14 \
                 cold_start_duration=204 extension_register_duration=5 \
                 extension_ready_duration=9",
                "3600230 invocations=1 duration=30",
                "3600240 (spindown) shutdowns=1 environment_lifetime=3600240 \
                 environment_invocations=1",
            ],
            batches: 3,
            lost: [0, 0],
            end_ms: 3,
        },
        Scenario {
            claim: "the last report may come after SHUTDOWN",
            init_type: InitType::OnDemand,
            steps: [
                first_invocation(),
                vec![
                    (10, shutdown("spindown", 2_000)),
                    (35, deliver(&[report(230, "a", "success", 30)])),
                ],
            ]
            .concat(),
            lines: &[
                "230 (demand,on_demand) environment_starts=1 cold_starts=1 init_duration=190 \
                 init_before_runtime_duration=5 init_runtime_duration=175 \
                 init_extensions_duration=10 first_invocation_duration=14 \
                 cold_start_duration=204 extension_register_duration=5 \
                 extension_ready_duration=9",
                "265 invocations=1 duration=30 (spindown) shutdowns=1 \
                 environment_lifetime=265 environment_invocations=1",
            ],
            batches: 2,
            lost: [0, 0],
            end_ms: 41,
        },
        Scenario {
            claim: "a report that never comes holds up the end for 40 ms",
            init_type: InitType::OnDemand,
            steps: [first_invocation(), vec![(10, shutdown("spindown", 2_000))]].concat(),
            lines: &[
                "215 (demand,on_demand) environment_starts=1 cold_starts=1 init_duration=190 \
                 init_before_runtime_duration=5 init_runtime_duration=175 \
                 init_extensions_duration=10 first_invocation_duration=14 \
                 cold_start_duration=204 extension_register_duration=5 \
                 extension_ready_duration=9",
                "270 invocations=1 duration=14 (spindown) shutdowns=1 \
                 environment_lifetime=270 environment_invocations=1",
            ],
            batches: 2,
            lost: [0, 0],
            end_ms: 46,
        },
        Scenario {
            claim: "an invocation that SHUTDOWN cuts short is a timeout",
            init_type: InitType::OnDemand,
            steps: vec![
                (200, invoke("a")),
                (10, deliver(&init("on-demand"))),
                (3_000, shutdown("timeout", 2_000)),
            ],
            lines: &[
                "3250 (demand,on_demand) environment_starts=1 cold_starts=1 init_duration=190 \
                 init_before_runtime_duration=5 init_runtime_duration=175 \
                 init_extensions_duration=10 extension_register_duration=5 \
                 extension_ready_duration=9",
                "3250 timeouts=1 (timeout) shutdowns=1 environment_lifetime=3250 \
                 environment_invocations=1",
            ],
            batches: 2,
            lost: [0, 0],
            end_ms: 46,
        },
        Scenario {
            claim: "SIGTERM has less time than the shortest SHUTDOWN",
            init_type: InitType::OnDemand,
            steps: [
                first_invocation(),
                vec![
                    (0, Step::Receiver(STALLED)),
                    (
                        10,
                        Step::Shutdown {
                            reason: "sigterm",
                            left_ms: None,
                        },
                    ),
                ],
            ]
            .concat(),
            lines: &[
                "215 (demand,on_demand) environment_starts=1 cold_starts=1 init_duration=190 \
                 init_before_runtime_duration=5 init_runtime_duration=175 \
                 init_extensions_duration=10 first_invocation_duration=14 \
                 cold_start_duration=204 extension_register_duration=5 \
                 extension_ready_duration=9",
                "270 invocations=1 duration=14 (sigterm) shutdowns=1 \
                 environment_lifetime=270 environment_invocations=1",
            ],
            batches: 0,
            lost: [15, 0],
            end_ms: 300,
        },
        Scenario {
            claim: "a receiver that stalls leaves the margin of SHUTDOWN alone",
            init_type: InitType::OnDemand,
            steps: vec![
                (0, Step::Receiver(STALLED)),
                (10, shutdown("spindown", 300)),
            ],
            lines: &[
                "50 (ahead_of_demand,proactive) environment_starts=1 extension_register_duration=5 \
                 extension_ready_duration=9",
                "50 (spindown) shutdowns=1 environment_lifetime=50 \
                 environment_invocations=0",
            ],
            batches: 0,
            lost: [6, 0],
            end_ms: 200,
        },
        Scenario {
            claim: "half of a short time is left alone",
            init_type: InitType::OnDemand,
            steps: vec![(0, Step::Receiver(STALLED)), (10, shutdown("spindown", 80))],
            lines: &[
                "30 (ahead_of_demand,proactive) environment_starts=1 extension_register_duration=5 \
                 extension_ready_duration=9",
                "30 (spindown) shutdowns=1 environment_lifetime=30 \
                 environment_invocations=0",
            ],
            batches: 0,
            lost: [6, 0],
            end_ms: 40,
        },
        Scenario {
            claim: "an invocation that was answered before SHUTDOWN cuts it short is a timeout, too",
            init_type: InitType::OnDemand,
            steps: [
                first_invocation(),
                vec![(2_980, shutdown("timeout", 2_000))],
            ]
            .concat(),
            lines: &[
                "215 (demand,on_demand) environment_starts=1 cold_starts=1 init_duration=190 \
                 init_before_runtime_duration=5 init_runtime_duration=175 \
                 init_extensions_duration=10 first_invocation_duration=14 \
                 cold_start_duration=204 extension_register_duration=5 \
                 extension_ready_duration=9",
                "3240 invocations=1 timeouts=1 duration=14 (timeout) shutdowns=1 \
                 environment_lifetime=3240 environment_invocations=1",
            ],
            batches: 2,
            lost: [0, 0],
            end_ms: 46,
        },
        Scenario {
            claim: "a deadline that is over leaves no time, and the file has everything",
            init_type: InitType::OnDemand,
            steps: vec![(10, shutdown("spindown", -5))],
            lines: &[
                "10 (ahead_of_demand,proactive) environment_starts=1 extension_register_duration=5 \
                 extension_ready_duration=9",
                "10 (spindown) shutdowns=1 environment_lifetime=10 \
                 environment_invocations=0",
            ],
            batches: 1,
            lost: [6, 0],
            end_ms: 0,
        },
        Scenario {
            claim: "a delivery that comes again changes nothing",
            init_type: InitType::OnDemand,
            steps: [
                first_invocation(),
                vec![
                    (0, deliver(&[report(230, "a", "success", 30)])),
                    (5, deliver(&[report(230, "a", "success", 30)])),
                    (5, deliver(&init("on-demand"))),
                    (10, shutdown("spindown", 2_000)),
                ],
            ]
            .concat(),
            lines: &[
                "220 (demand,on_demand) environment_starts=1 cold_starts=1 init_duration=190 \
                 init_before_runtime_duration=5 init_runtime_duration=175 \
                 init_extensions_duration=10 first_invocation_duration=14 \
                 cold_start_duration=204 extension_register_duration=5 \
                 extension_ready_duration=9",
                "240 invocations=1 duration=30 (spindown) shutdowns=1 \
                 environment_lifetime=240 environment_invocations=1",
            ],
            batches: 2,
            lost: [0, 0],
            end_ms: 3,
        },
        Scenario {
            claim: "without telemetry the third invocation tells of the start",
            init_type: InitType::OnDemand,
            steps: vec![
                (200, invoke("a")),
                (1_000, invoke("b")),
                (1_000, invoke("c")),
                (1_000, shutdown("spindown", 2_000)),
            ],
            lines: &[
                "2200 (demand,on_demand,true) environment_starts=1 cold_starts=1 \
                 init_duration=200 extension_register_duration=5 \
                 extension_ready_duration=9",
                "3240 invocations_unknown=3 (spindown) shutdowns=1 \
                 environment_lifetime=3240 environment_invocations=3",
            ],
            batches: 2,
            lost: [0, 0],
            end_ms: 43,
        },
        Scenario {
            claim: "a restore forgets the snapshot, whatever is known of it first",
            init_type: InitType::SnapStart,
            steps: vec![
                (300, deliver(&init("snap-start"))),
                (10, frozen(86_400_000)),
                (0, invoke("a")),
                (5, deliver(&restore(86_400_310))),
                (
                    10,
                    deliver(&[
                        start(86_400_310, "a"),
                        runtime_done(86_400_330, "a", "success", 18),
                        report(86_400_335, "a", "success", 20),
                    ]),
                ),
                (10, shutdown("spindown", 2_000)),
            ],
            lines: &[
                "300 (version_published,snap_start_init) environment_starts=1 init_duration=190 \
                 init_before_runtime_duration=5 init_runtime_duration=175 \
                 init_extensions_duration=10 extension_register_duration=5 \
                 extension_ready_duration=9",
                "86400325 (demand,snap_start_restore) environment_starts=1 cold_starts=1 \
                 restore_duration=200 first_invocation_duration=18 \
                 cold_start_duration=218",
                "86400335 invocations=1 duration=20 (spindown) shutdowns=1 \
                 environment_lifetime=25 environment_invocations=1",
            ],
            batches: 3,
            lost: [0, 0],
            end_ms: 3,
        },
        Scenario {
            claim: "lines that were lost are told by the next one, also if that was lost first",
            init_type: InitType::OnDemand,
            steps: [
                first_invocation(),
                vec![
                    (0, Step::File { works: false }),
                    (70_000, deliver(&[report(230, "a", "success", 30)])),
                    (70_000, Step::CutOff),
                    (0, invoke("b")),
                    (20, deliver(&[runtime_done(140_240, "b", "error", 7)])),
                    (20, deliver(&[report(140_250, "b", "error", 9)])),
                    (0, Step::File { works: true }),
                    (70_000, invoke("c")),
                    (10, deliver(&[report(210_300, "c", "success", 9)])),
                    (10, shutdown("spindown", 2_000)),
                ],
            ]
            .concat(),
            lines: &[
                "210260 (error) errors=1 () duration=9 idle_duration=70020 (exporter) \
                 dropped_records=3 dropped_bytes=2842",
                "210280 invocations=1 duration=9 (spindown) shutdowns=1 \
                 environment_lifetime=210280 environment_invocations=3",
            ],
            batches: 5,
            lost: [0, 3],
            end_ms: 3,
        },
        Scenario {
            claim: "a clock that is put back makes no figure negative",
            init_type: InitType::OnDemand,
            steps: [
                first_invocation(),
                vec![
                    (
                        5,
                        Step::Freeze {
                            wall_ms: -3_600_000,
                            monotonic_ms: 0,
                        },
                    ),
                    (10, deliver(&[report(230, "a", "success", 30)])),
                    (10, invoke("b")),
                    (10, deliver(&[runtime_done(250, "b", "success", 9)])),
                    (10, shutdown("spindown", 2_000)),
                ],
            ]
            .concat(),
            lines: &[
                "-3599765 (demand,on_demand) environment_starts=1 cold_starts=1 \
                 init_duration=190 init_before_runtime_duration=5 \
                 init_runtime_duration=175 init_extensions_duration=10 \
                 first_invocation_duration=14 cold_start_duration=204 \
                 extension_register_duration=5 extension_ready_duration=9",
                "-3599765 invocations=1 duration=30",
                "-3599695 idle_duration=0 invocations=1 duration=9 (spindown) shutdowns=1 \
                 environment_lifetime=0 environment_invocations=2",
            ],
            batches: 3,
            lost: [0, 0],
            end_ms: 43,
        },
        Scenario {
            claim: "a receiver that refuses the credentials is left alone, and all is counted",
            init_type: InitType::OnDemand,
            steps: [
                vec![(0, Step::Receiver(REFUSED))],
                first_invocation(),
                vec![
                    (0, deliver(&[report(230, "a", "success", 30)])),
                    (70_000, invoke("b")),
                    (10, deliver(&[report(70_250, "b", "success", 30)])),
                    (10, shutdown("spindown", 2_000)),
                ],
            ]
            .concat(),
            lines: &[
                "220 (demand,on_demand) environment_starts=1 cold_starts=1 init_duration=190 \
                 init_before_runtime_duration=5 init_runtime_duration=175 \
                 init_extensions_duration=10 first_invocation_duration=14 \
                 cold_start_duration=204 extension_register_duration=5 \
                 extension_ready_duration=9",
                "70220 invocations=1 duration=30 idle_duration=70005 (exporter) \
                 dropped_records=16 dropped_bytes=5170",
                "70240 invocations=1 duration=30 (spindown) shutdowns=1 \
                 environment_lifetime=70240 environment_invocations=2 (exporter) \
                 dropped_records=3 dropped_bytes=1415",
            ],
            batches: 0,
            lost: [18, 0],
            end_ms: 0,
        },
        Scenario {
            claim: "on Managed Instances the clock exports",
            init_type: InitType::ManagedInstances,
            steps: vec![
                (190, deliver(&init("lambda-managed-instances"))),
                (10, deliver(&[start(200, "a"), start(200, "b")])),
                (30, deliver(&[report(225, "b", "success", 24)])),
                (60_000, deliver(&[report(60_229, "a", "success", 59)])),
                (70_000, shutdown("spindown", 2_000)),
            ],
            lines: &[
                "190 (managed_instances,managed_instances) environment_starts=1 init_duration=190 \
                 init_before_runtime_duration=5 init_runtime_duration=175 \
                 init_extensions_duration=10 extension_register_duration=5 \
                 extension_ready_duration=9",
                "60000 invocations=1 duration=24",
                "120000 invocations=1 duration=59",
                "130230 (spindown) shutdowns=1 environment_lifetime=130230 \
                 environment_invocations=2",
            ],
            batches: 4,
            lost: [0, 0],
            end_ms: 3,
        },
    ]
}

pub(super) fn invoke(id: &str) -> Step {
    Step::Invoke(id.to_owned())
}

pub(super) fn deliver(records: &[String]) -> Step {
    Step::Deliver(records.to_vec())
}

pub(super) fn frozen(ms: i64) -> Step {
    Step::Freeze {
        wall_ms: ms,
        monotonic_ms: 0,
    }
}

pub(super) fn shutdown(reason: &'static str, left_ms: i64) -> Step {
    Step::Shutdown {
        reason,
        left_ms: Some(left_ms),
    }
}

/// The records of an init of 190 ms, the last 10 of them after the runtime was ready.
pub(super) fn init(init_type: &str) -> [String; 3] {
    [
        phase_start(0, "initStart", init_type),
        phase_end(180, "initRuntimeDone", "success", 170),
        phase_end(190, "initReport", "success", 190),
    ]
}

/// The records of a restore that ends at `at`.
fn restore(at: u64) -> [String; 3] {
    [
        phase_start(at - 200, "restoreStart", "snap-start"),
        phase_end(at - 10, "restoreRuntimeDone", "success", 180),
        phase_end(at, "restoreReport", "success", 200),
    ]
}

/// An init, and an invocation that has no report yet.
pub(super) fn first_invocation() -> Vec<(u64, Step)> {
    vec![
        (200, invoke("a")),
        (10, deliver(&init("on-demand"))),
        (
            10,
            deliver(&[start(200, "a"), runtime_done(215, "a", "success", 14)]),
        ),
    ]
}

const STALLED: Answer = Answer {
    takes: false,
    after_ms: 60_000,
    response: "",
};

const BUSY: Answer = Answer {
    takes: false,
    after_ms: 3,
    response: "HTTP/1.1 503 \r\nContent-Length: 0\r\n\r\n",
};

const REFUSED: Answer = Answer {
    takes: false,
    after_ms: 3,
    response: "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
};

/// An invocation and the batch of its start, which the receiver answers in this way.
fn first_batch(answer: Answer) -> Vec<(u64, Step)> {
    let reported = deliver(&[report(230, "a", "success", 30)]);
    let steps = [
        vec![(0, Step::Receiver(answer))],
        first_invocation(),
        vec![(10, reported)],
    ];
    steps.concat()
}

/// The next event ends a pause that is over, though it has nothing to export.
#[test]
fn an_event_sends_what_a_pause_held_up() {
    let steps = [
        first_batch(BUSY),
        vec![
            (10, Step::Receiver(TAKEN)),
            (30_000, invoke("b")),
            // What waits for the end is lost.
            (10, Step::Receiver(STALLED)),
            (10, shutdown("spindown", 2_000)),
        ],
    ];
    let played = play(InitType::OnDemand, steps.concat());
    assert_eq!(played.batches.len(), 1);
}

#[test]
fn a_pause_that_would_outlast_the_end_is_cut_short() {
    let steps = [
        first_batch(BUSY),
        vec![(10, Step::Receiver(TAKEN)), (0, shutdown("spindown", 200))],
    ];
    let played = play(InitType::OnDemand, steps.concat());
    assert_eq!(played.batches.len(), 2);
    assert_eq!(played.losses, Losses::default());
}

#[test]
fn the_log_says_once_a_minute_that_a_batch_fails_and_always_that_nothing_is_sent_any_more() {
    let steps = [
        first_batch(STALLED),
        vec![
            (5_000, Step::Receiver(BUSY)),
            (0, invoke("b")),
            (5_000, Step::Receiver(REFUSED)),
            (0, invoke("c")),
            (10, shutdown("spindown", 2_000)),
        ],
    ];
    let played = play(InitType::OnDemand, steps.concat());
    let receiver = "OTLP receiver http://0.0.0.0:0/v1/metrics";
    let expected = [
        format!("{receiver} does not answer within 1000 ms: it is sent again"),
        format!("{receiver} answers 401: the credentials are wrong, so nothing more is sent"),
    ];
    let of_metrics = |line: &&String| line.starts_with(receiver);
    let logged: Vec<&String> = played.log.iter().filter(of_metrics).collect();
    assert_eq!(logged, expected.iter().collect::<Vec<_>>());
}

#[test]
fn each_life_writes_its_lines() {
    for scenario in scenarios() {
        let played = play(scenario.init_type, scenario.steps);
        let lines: Vec<String> = played.lines.iter().map(shown).collect();
        assert_eq!(lines, scenario.lines, "{}", scenario.claim);
        assert_eq!(played.batches.len(), scenario.batches, "{}", scenario.claim);
        let Losses { points, lines, .. } = played.losses;
        assert_eq!([points, lines], scenario.lost, "{}", scenario.claim);
        let end_ms = played.end.as_millis();
        assert_eq!(end_ms, scenario.end_ms.into(), "{}", scenario.claim);
    }
}

/// A delivery that has come is waited for, but not beyond its part of a short end.
#[test]
fn what_is_being_counted_holds_up_a_short_end_for_a_quarter_of_it() {
    let world: &'static World = Box::leak(Box::new(World::new()));
    let clock = Clock { world: Some(world) };
    let figures = Figures::on_clock(clock, InitType::OnDemand, Exporters::default(), false);
    let records = vec![r#"{"type":"platform.new"}"#; 1_000];
    let batch = format!("[{}]", records.join(","));
    let ended = async {
        let mut delivery = pin!(figures.delivery(batch.as_bytes()));
        assert!(future::poll_once(delivery.as_mut()).await.is_none());
        let shutdown = Shutdown {
            reason: "spindown".to_owned(),
            deadline: Some(Deadline(EpochMs(clock.now().0 + 40))),
        };
        let began = clock.monotonic();
        events::end(shutdown, &figures, None, Duration::ZERO).await;
        clock.monotonic() - began
    };
    let ended = world.run(LocalExecutor::new().leak(), ended);
    // Half of the 40 ms is left unused, a quarter waited for the report of the start.
    assert_eq!(ended, Duration::from_millis(20));
}

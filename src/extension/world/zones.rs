//! When the availability zone is read, and the zone that each start is exported with.

use serde_json::Value;

use super::platform::{Played, Step, play};
use super::records::{phase_end, phase_start, report, runtime_done, start};
use super::scenarios::{deliver, first_invocation, frozen, init, invoke, shutdown};
use super::{Answer, CLOSED};
use crate::extension::settings::InitType;

/// The zone of each start, in order; empty where it is unknown.
fn zones(played: &Played) -> Vec<&str> {
    let is_start = |line: &&Value| line.to_string().contains("environment_starts");
    let starts = played.lines.iter().filter(is_start);
    starts
        .map(|line| &line["properties"]["availability_zone"])
        .map(|zone| zone.as_str().unwrap_or_default())
        .collect()
}

const fn answer(after_ms: u64, response: &'static str) -> Step {
    Step::Metadata(Answer {
        takes: false,
        after_ms,
        response,
    })
}

/// The endpoint answers after 3 ms with this zone.
macro_rules! zone {
    ($zone:literal) => {
        answer(
            3,
            concat!(
                "HTTP/1.1 200 OK\r\nContent-Length: 33\r\n\r\n{\"AvailabilityZoneID\":\"",
                $zone,
                "\"}"
            ),
        )
    };
}

/// The report of the first invocation, some time after it, and SHUTDOWN.
fn rest(wait_ms: u64) -> Vec<(u64, Step)> {
    vec![
        (wait_ms, deliver(&[report(230, "a", "success", 30)])),
        (10, shutdown("spindown", 2_000)),
    ]
}

/// A restore and an invocation of it, of which the records come at once, 5 ms after the INVOKE.
fn restored(at: u64) -> Vec<(u64, Step)> {
    vec![
        (0, invoke("a")),
        (
            5,
            deliver(&[
                phase_start(at - 200, "restoreStart", "snap-start"),
                phase_end(at, "restoreReport", "success", 200),
                start(at, "a"),
                runtime_done(at + 4, "a", "success", 4),
                report(at + 5, "a", "success", 5),
            ]),
        ),
        (10, shutdown("spindown", 2_000)),
    ]
}

#[test]
fn the_first_invocation_ends_the_pause_after_a_request_that_was_broken_off() {
    let steps = [
        vec![(10, zone!("use1-az1")), (90, frozen(3_600_000))],
        first_invocation(),
        rest(1),
    ];
    let played = play(InitType::OnDemand, steps.concat());
    assert_eq!(zones(&played), ["use1-az1"]);
    assert_eq!(played.metadata_requests, 2);
}

#[test]
fn a_zone_that_is_known_is_not_read_again() {
    let steps = [
        vec![(10, zone!("use1-az1"))],
        // The pause after the first attempt.
        vec![(1_500, frozen(0))],
        first_invocation(),
        vec![(5_000, invoke("b")), (5_000, invoke("c"))],
        rest(1),
    ];
    let played = play(InitType::OnDemand, steps.concat());
    assert_eq!(zones(&played), ["use1-az1"]);
    assert_eq!(played.metadata_requests, 2);
}

#[test]
fn a_thaw_ends_one_pause() {
    let steps = [
        // It ends the first pause; half of the second one is left when the endpoint answers.
        first_invocation(),
        vec![(500, zone!("use1-az1"))],
        rest(1_000),
    ];
    let played = play(InitType::OnDemand, steps.concat());
    assert_eq!(zones(&played), ["use1-az1"]);
    assert_eq!(played.metadata_requests, 3);
}

#[test]
fn an_endpoint_that_is_gone_is_asked_three_times_however_many_invocations_come() {
    let invocations = (0..20).map(|number| (1_500, invoke(&number.to_string())));
    let steps = [first_invocation(), invocations.collect(), rest(1)];
    let played = play(InitType::OnDemand, steps.concat());
    assert_eq!(zones(&played), [""]);
    assert_eq!(played.metadata_requests, 3);
}

/// Whatever the request of the snapshot came to, a restore has the zone that it is in.
#[test]
fn a_restore_begins_anew() {
    let before = [
        ("it was refused", vec![]),
        (
            "it waits",
            vec![(0, answer(3_600_000, "")), (1_000, frozen(0))],
        ),
        (
            "it was answered",
            vec![(0, zone!("use1-az2")), (1_100, frozen(0))],
        ),
        (
            "the endpoint had no zone yet",
            vec![(0, answer(1, "HTTP/1.1 503 \r\nContent-Length: 0\r\n\r\n"))],
        ),
        (
            "all attempts are over",
            vec![(0, Step::Metadata(CLOSED)), (9_000, frozen(0))],
        ),
    ];
    for (claim, before) in before {
        let passed: u64 = before.iter().map(|(wait_ms, _)| wait_ms).sum();
        let at = 86_400_000 + 300 + passed;
        let steps = [
            before,
            vec![
                (300, deliver(&init("snap-start"))),
                (0, zone!("use1-az1")),
                (0, frozen(86_400_000)),
            ],
            restored(at),
        ];
        let played = play(InitType::SnapStart, steps.concat());
        assert_eq!(zones(&played).last(), Some(&"use1-az1"), "{claim}");
    }
}

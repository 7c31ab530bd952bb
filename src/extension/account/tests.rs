use std::slice;

use super::bounds::TEXT_BYTES_MAX;
use super::invocations::{ERROR_TYPES_MAX, IN_FLIGHT_MAX, OVER_KEPT};
use super::series::{POINTS_MAX, VALUES_KEPT_MAX, VALUES_MAX};
use super::*;
use crate::extension::export::samples::Random;
use crate::extension::metric::Point;
use crate::extension::system_usage::{CpuTime, NetworkBytes, Processes};
use crate::extension::telemetry::{self, Malformed};

/// 2026-08-20T10:00:00.000Z, from which all times here count.
const TEN: u64 = 1_787_220_000_000;

/// How the init of which a snapshot is made ends.
const SNAPSHOT: &str = r#""status":"success","metrics":{"durationMs":900.0}"#;

fn at(ms: u64) -> EpochMs {
    EpochMs(TEN + ms)
}

/// The fault of a runtime that the kernel killed.
fn fault(ms: u64, request_id: &str) -> String {
    let time = EpochMs(TEN + ms).to_rfc3339();
    let text = format!("RequestId: {request_id} Error: Runtime exited with error: signal: killed");
    format!(r#"{{"time":"{time}","type":"platform.fault","record":{{"fault":"{text}"}}}}"#)
}

/// What the process has used.
fn usage(cpu_ms: f64, peak_memory_bytes: Option<u64>) -> OwnUsage {
    OwnUsage {
        cpu_time: Duration::from_secs_f64(cpu_ms / 1e3),
        peak_memory_bytes,
    }
}

/// A record of `kind`, made at `ms`, with the members that `members` holds.
fn record(ms: u64, kind: &str, members: &str) -> String {
    let (minutes, seconds, millis) = (ms / 60_000, ms / 1_000 % 60, ms % 1_000);
    format!(
        r#"{{"time":"2026-08-20T10:{minutes:02}:{seconds:02}.{millis:03}Z","type":"platform.{kind}","record":{{{members}}}}}"#
    )
}

fn init_start(ms: u64, init_type: &str, phase: &str) -> String {
    let members = format!(
        r#""initializationType":"{init_type}","phase":"{phase}","functionName":"f","instanceId":"i-1","runtimeVersion":"r:1","instanceMaxMemory":268435456"#
    );
    record(ms, "initStart", &members)
}

fn init_end(ms: u64, init_type: &str, phase: &str, rest: &str) -> [String; 2] {
    let members = format!(r#""initializationType":"{init_type}","phase":"{phase}",{rest}"#);
    [
        record(ms, "initRuntimeDone", &members),
        record(ms + 60, "initReport", &members),
    ]
}

fn init_runtime_done(ms: u64) -> String {
    record(
        ms,
        "initRuntimeDone",
        r#""initializationType":"on-demand","phase":"init","status":"success""#,
    )
}

fn init_report(ms: u64, duration_ms: f64) -> String {
    let members = format!(
        r#""initializationType":"on-demand","phase":"init","status":"success","metrics":{{"durationMs":{duration_ms}}}"#
    );
    record(ms, "initReport", &members)
}

fn start(ms: u64, id: &str) -> String {
    let members =
        format!(r#""requestId":"{id}","tracing":{{"type":"X-Amzn-Trace-Id","value":"Root=1"}}"#);
    record(ms, "start", &members)
}

fn runtime_done(ms: u64, id: &str, duration_ms: f64) -> String {
    let members = format!(
        r#""requestId":"{id}","status":"success","metrics":{{"durationMs":{duration_ms}}}"#
    );
    record(ms, "runtimeDone", &members)
}

fn report(ms: u64, id: &str, metrics: &str) -> String {
    let members = format!(r#""requestId":"{id}","status":"success","metrics":{{{metrics}}}"#);
    record(ms, "report", &members)
}

/// An account that things happen to.
struct Script {
    account: Accounting,
    cold_starts: Vec<Batch>,
}

impl Script {
    /// A process that started at 100 ms past ten.
    fn new(init_type: InitType) -> Self {
        Self {
            account: Accounting::new(init_type, at(100)),
            cold_starts: Vec::new(),
        }
    }

    /// A program that took the place of one that panicked.
    fn after_a_panic(init_type: InitType, life: Life) -> Self {
        let mut script = Self::new(init_type);
        script.account.handle_panics(1, life);
        script
    }

    fn ask(&mut self, ms: u64) -> &mut Self {
        self.cold_starts
            .extend(self.account.take_cold_start(at(ms)));
        self
    }

    /// A batch of telemetry that arrives at `ms`.
    fn batch(&mut self, ms: u64, records: &[String]) -> &mut Self {
        let body = format!("[{}]", records.join(","));
        let account = &mut self.account;
        for record in telemetry::records(&body).unwrap() {
            match record {
                Ok(record) => account.handle_record(&record, at(ms)),
                Err(Malformed) => account.handle_malformed_record(),
            }
        }
        self.ask(ms)
    }

    fn invoke(&mut self, ms: u64, id: &str) -> &mut Self {
        self.account
            .handle_invoke(id, Some(Deadline(at(ms + 3_000))), at(ms));
        self.ask(ms)
    }

    fn shutdown(&mut self, ms: u64, reason: &str) -> &mut Self {
        self.account.handle_shutdown(reason, at(ms));
        self.ask(ms)
    }

    /// The only start that was told.
    #[track_caller]
    fn cold_start(&self) -> Vec<String> {
        assert_eq!(self.cold_starts.len(), 1, "{:#?}", self.cold_starts);
        points(&self.cold_starts[0])
    }

    #[track_caller]
    fn nothing_yet(&mut self) -> &mut Self {
        assert_eq!(self.cold_starts, []);
        self
    }

    fn interval(&mut self, ms: u64) -> Vec<String> {
        self.account
            .take_interval(at(ms))
            .as_ref()
            .map(points)
            .unwrap_or_default()
    }

    /// The points of an interval that belong to a start.
    fn rest_of_start(&mut self, ms: u64) -> Vec<String> {
        let mut points = self.interval(ms);
        points.retain(|point| point.contains("cold_start_kind"));
        points
    }
}

/// `name{attribute=value}=1,2`
fn points(batch: &Batch) -> Vec<String> {
    assert!(batch.start_ms <= batch.end_ms);
    let point = |point: &Point| {
        assert!(point.attributes.is_sorted());
        let attributes: Vec<String> = point
            .attributes
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let values: Vec<String> = point.values.iter().map(f64::to_string).collect();
        let name = point.metric.name;
        format!("{name}{{{}}}={}", attributes.join(","), values.join(","))
    };
    batch.points.iter().map(point).collect()
}

/// Points of a start of this kind, with the usual cause of that kind.
fn of_kind(kind: &str, points: &[&str]) -> Vec<String> {
    let cause = match kind {
        "on_demand" | "snap_start_restore" | "other" => "demand",
        "proactive" | "snap_start_proactive" => "ahead_of_demand",
        "reset_after_timeout" => "timeout",
        "reset_after_crash" => "crash",
        "init_retried_in_invoke" => "earlier_failure",
        "snap_start_init" => "version_published",
        "init_failure" => "unknown",
        kind => kind,
    };
    of_cause(cause, kind, points)
}

/// Points of a start.
fn of_cause(cause: &str, kind: &str, points: &[&str]) -> Vec<String> {
    let shown = |point: &&str| {
        let (name, value) = point.split_once('=').unwrap();
        format!("{name}{{cause={cause},cold_start_kind={kind}}}={value}")
    };
    points.iter().map(shown).collect()
}

fn estimated(kind: &str, points: &[&str]) -> Vec<String> {
    let points = of_kind(kind, points);
    points
        .iter()
        .map(|point| point.replace('}', ",estimated=true}"))
        .collect()
}

fn property<'b>(batch: &'b Batch, name: &str) -> Option<&'b str> {
    let mut properties = batch.properties.iter();
    let (_, value) = properties.find(|(property, _)| *property == name)?;
    match value {
        Detail::Text(text) => Some(text),
        Detail::Number(value) => panic!("{name} is {value}"),
    }
}

/// The names of the properties, each with its value.
fn properties(batch: &Batch) -> Vec<String> {
    let properties = batch.properties.iter();
    properties
        .map(|(name, value)| match value {
            Detail::Text(text) => format!("{name}={text}"),
            Detail::Number(value) => format!("{name}={value}"),
        })
        .collect()
}

#[test]
fn an_on_demand_start_has_all_its_parts() {
    let mut script = Script::new(InitType::OnDemand);
    script.account.handle_start(4.5, 6.25);
    script.account.handle_own_usage(usage(3.0, Some(1_500_000)));
    script.batch(
        440,
        &[init_start(64, "on-demand", "init"), init_runtime_done(401)],
    );
    script.nothing_yet();
    script
        .batch(480, &[init_report(462, 397.68), start(470, "a")])
        .nothing_yet();
    script.invoke(481, "a").nothing_yet();
    script
        .batch(700, &[runtime_done(690, "a", 200.5)])
        .nothing_yet();
    // The freeze holds the report back until the next invocation.
    script.batch(
        9_000,
        &[report(
            702,
            "a",
            r#""durationMs":210.2,"billedDurationMs":608,"memorySizeMB":256,"maxMemoryUsedMB":84,"initDurationMs":397.68"#,
        )],
    );
    let expected = of_kind(
        "on_demand",
        &[
            "environment_starts=1",
            "cold_starts=1",
            "init_duration=397.68",
            "init_before_runtime_duration=40",
            "init_runtime_duration=297",
            "init_extensions_duration=60",
            "first_invocation_duration=200.5",
            "cold_start_duration=598.1800000000001",
            "billed_init_duration=397",
            "extension_register_duration=4.5",
            "extension_ready_duration=6.25",
        ],
    );
    assert_eq!(script.cold_start(), expected);
    let batch = &script.cold_starts[0];
    assert_eq!((batch.start_ms, batch.end_ms), (TEN + 64, TEN + 702));
    let expected = [
        "request_id=a",
        "instance_id=i-1",
        "start_ms=1787220000064",
        "init_type=on-demand",
        "cause_source=inferred",
        "memory_used=88080384",
        "memory_mb=256",
        "runtime_version=r:1",
        "duration_source=phase_report",
        &format!("architecture={ARCHITECTURE}"),
    ];
    assert_eq!(properties(batch), expected);
    let resource = &script.account.resource;
    assert_eq!(resource.instance_id, "i-1");
    assert_eq!(resource.memory_mb, Some(256));
    assert_eq!(resource.function_arn, "");
    assert_eq!(script.rest_of_start(9_000), [""; 0]);
    assert_eq!(script.cold_starts.len(), 1);
}

#[test]
fn what_is_not_known_is_no_property() {
    let kind = "lambda-managed-instances";
    let start = format!(
        r#""initializationType":"{kind}","phase":"init","runtimeVersion":"","instanceId":"""#
    );
    let end = init_end(401, kind, "init", r#""metrics":{"durationMs":397.5}"#);
    let mut script = Script::new(InitType::ManagedInstances);
    script
        .batch(440, &[record(64, "initStart", &start)])
        .batch(480, &end);
    let expected = [
        "start_ms=1787220000064",
        "init_type=lambda-managed-instances",
        "cause_source=platform",
        "duration_source=phase_report",
        &format!("architecture={ARCHITECTURE}"),
    ];
    assert_eq!(properties(&script.cold_starts[0]), expected);
    // Nor is it one of the end.
    script.account.handle_shutdown("spindown", at(500));
    let end = script.account.take_interval(at(500)).unwrap();
    let expected = [
        "start_ms=1787220000064",
        "end_ms=1787220000500",
        "busy_ms=0",
    ];
    assert_eq!(properties(&end), expected);
}

#[test]
fn the_invoke_event_may_come_before_everything_else() {
    let mut script = Script::new(InitType::OnDemand);
    script.invoke(465, "a").nothing_yet();
    script
        .batch(490, &[init_start(64, "on-demand", "init")])
        .nothing_yet();
    script.batch(
        500,
        &[
            init_runtime_done(401),
            init_report(462, 397.5),
            start(463, "a"),
        ],
    );
    script
        .nothing_yet()
        .batch(600, &[report(590, "a", r#""durationMs":9"#)]);
    let expected = of_kind(
        "on_demand",
        &[
            "environment_starts=1",
            "cold_starts=1",
            "init_duration=397.5",
            "init_extensions_duration=60",
            "first_invocation_duration=9",
            "cold_start_duration=406.5",
        ],
    );
    assert_eq!(script.cold_start(), expected);
    assert_eq!(property(&script.cold_starts[0], "request_id"), Some("a"));
}

#[test]
fn everything_in_one_late_batch_is_told_at_once() {
    let mut script = Script::new(InitType::OnDemand);
    script.invoke(465, "a").invoke(60_000, "b").nothing_yet();
    script.account.take_interval(at(60_000));
    let records = [
        init_start(64, "on-demand", "init"),
        init_report(462, 400.0),
        start(463, "a"),
        runtime_done(565, "a", 100.0),
        report(
            566,
            "a",
            r#""durationMs":101.0,"billedDurationMs":501,"initDurationMs":400.0"#,
        ),
    ];
    script.batch(60_025, &records);
    let expected = of_kind(
        "on_demand",
        &[
            "environment_starts=1",
            "cold_starts=1",
            "init_duration=400",
            "first_invocation_duration=100",
            "cold_start_duration=500",
            "billed_init_duration=400",
        ],
    );
    assert_eq!(script.cold_start(), expected);
    assert_eq!(property(&script.cold_starts[0], "trace_id"), Some("1"));
    assert_eq!(script.rest_of_start(60_025), [""; 0]);
}

#[test]
fn a_missing_init_report_has_substitutes() {
    let on_demand = |last: &str| {
        of_kind(
            "on_demand",
            &["environment_starts=1", "cold_starts=1", last],
        )
    };
    // The report of the first invocation.
    let mut script = Script::new(InitType::OnDemand);
    script
        .batch(440, &[init_start(64, "on-demand", "init")])
        .invoke(481, "a")
        .nothing_yet();
    script
        .batch(700, &[runtime_done(690, "a", 10.0)])
        .nothing_yet();
    script.batch(
        9_000,
        &[report(
            702,
            "a",
            r#""durationMs":11.0,"initDurationMs":398.5"#,
        )],
    );
    let told = script.cold_start();
    assert_eq!(told[..3], on_demand("init_duration=398.5"));
    assert_eq!(
        told[3],
        "first_invocation_duration{cause=demand,cold_start_kind=on_demand}=10"
    );
    assert_eq!(
        property(&script.cold_starts[0], "duration_source"),
        Some("invocation_report")
    );
    // A late one changes nothing any more.
    script.batch(9_001, &[init_report(462, 1.0)]);
    assert_eq!(script.cold_starts.len(), 1);

    // Time stamps, when that report has no init either.
    let mut script = Script::new(InitType::OnDemand);
    script.batch(
        440,
        &[init_start(64, "on-demand", "init"), init_runtime_done(401)],
    );
    script
        .invoke(481, "a")
        .batch(9_000, &[report(702, "a", r#""durationMs":11.0"#)]);
    assert_eq!(script.cold_start()[..3], on_demand("init_duration=337"));
    assert_eq!(
        property(&script.cold_starts[0], "duration_source"),
        Some("stamps")
    );

    // The clock, from initStart and from the start of the process.
    for (records, ms) in [
        (vec![init_start(64, "on-demand", "init")], 417),
        (Vec::new(), 381),
    ] {
        let mut script = Script::new(InitType::OnDemand);
        script
            .batch(440, &records)
            .invoke(481, "a")
            .invoke(5_000, "b")
            .nothing_yet();
        script.invoke(6_000, "c");
        let init = format!("init_duration={ms}");
        let expected = estimated(
            "on_demand",
            &["environment_starts=1", "cold_starts=1", &init],
        );
        assert_eq!(script.cold_start(), expected);
        assert_eq!(
            property(&script.cold_starts[0], "duration_source"),
            Some("clock")
        );
    }
}

#[test]
fn the_wait_for_a_report_is_bounded() {
    let started = [
        init_start(64, "on-demand", "init"),
        init_report(462, 400.0),
        start(470, "a"),
    ];
    // Invocations that come, and the time at which the third finds no report of the first.
    let table = [
        (vec![], false),
        (vec![60_000], false),
        (vec![500, 580], false),
        (vec![500, 581], true),
        (vec![60_000, 60_001], true),
    ];
    for (invoked, is_known) in table {
        let mut script = Script::new(InitType::OnDemand);
        script.batch(480, &started).invoke(481, "a");
        for ms in &invoked {
            script.invoke(*ms, &ms.to_string());
        }
        assert_eq!(
            script.cold_starts.len(),
            usize::from(is_known),
            "{invoked:?}"
        );
    }
}

#[test]
fn with_the_end_of_a_later_invocation_nothing_more_comes_of_the_first() {
    let started = [
        init_start(64, "on-demand", "init"),
        init_report(462, 400.0),
        start(470, "a"),
    ];
    let mut script = Script::new(InitType::OnDemand);
    script.batch(480, &started).invoke(481, "a");
    script.batch(600, &[runtime_done(500, "a", 20.0)]);
    script.invoke(60_000, "b").nothing_yet();
    script.batch(60_030, &[runtime_done(60_010, "b", 9.0)]);
    let told = script.cold_start();
    assert_eq!(
        told[3],
        "first_invocation_duration{cause=demand,cold_start_kind=on_demand}=20"
    );
    script.batch(60_031, &[report(501, "a", r#""durationMs":30"#)]);
    assert_eq!(script.rest_of_start(60_100), [""; 0]);
    // Nor does it come at the end.
    let mut script = Script::new(InitType::OnDemand);
    script.batch(480, &started).invoke(481, "a");
    script.shutdown(600, "spindown");
    assert_eq!(
        script.cold_start(),
        of_kind(
            "on_demand",
            &["environment_starts=1", "cold_starts=1", "init_duration=400"]
        )
    );
}

#[test]
fn without_telemetry_nothing_is_waited_for() {
    let mut script = Script::new(InitType::OnDemand);
    script.account.handle_no_telemetry();
    script.invoke(481, "a");
    let expected = estimated(
        "on_demand",
        &["environment_starts=1", "cold_starts=1", "init_duration=381"],
    );
    assert_eq!(script.cold_start(), expected);
    assert!(!script.account.awaits_report());
    script
        .invoke(900, "b")
        .invoke(1_000, "c")
        .shutdown(2_000, "spindown");
    let expected = [
        "invocations_unknown{}=3",
        "shutdowns{shutdown_reason=spindown}=1",
        "environment_lifetime{shutdown_reason=spindown}=1900",
        "environment_invocations{shutdown_reason=spindown}=3",
    ];
    assert_eq!(script.interval(2_000), expected);
    // Nor is there a duration of an init that nobody waited for.
    let mut script = Script::new(InitType::OnDemand);
    script.account.handle_no_telemetry();
    script.invoke(60_000, "a");
    assert_eq!(
        script.cold_start(),
        of_kind("proactive", &["environment_starts=1"])
    );
}

#[test]
fn a_long_gap_is_a_proactive_start() {
    // The init ends at 464 by its report: its start and its duration.
    for (invoked_ms, kind) in [(10_464, "on_demand"), (10_465, "proactive")] {
        let mut script = Script::new(InitType::OnDemand);
        script.batch(
            480,
            &[init_start(64, "on-demand", "init"), init_report(462, 400.0)],
        );
        script.nothing_yet().invoke(invoked_ms, "a");
        script.batch(
            20_000,
            &[report(
                10_500,
                "a",
                r#""durationMs":20.0,"billedDurationMs":420,"initDurationMs":400.0"#,
            )],
        );
        let told = script.cold_start();
        let cause = match kind {
            "on_demand" => "demand",
            _ => "ahead_of_demand",
        };
        let of = |name: &str| format!("{name}{{cause={cause},cold_start_kind={kind}}}");
        assert_eq!(told[0], format!("{}=1", of("environment_starts")));
        let first = format!("{}=20", of("first_invocation_duration"));
        assert!(told.contains(&first), "{told:?}");
        for name in ["cold_starts", "cold_start_duration"] {
            let is_told = told.iter().any(|point| point.starts_with(&of(name)));
            assert_eq!(is_told, kind == "on_demand", "{name}");
        }
        assert_eq!(script.rest_of_start(20_000), [""; 0]);
    }
    // One that is never used at all.
    let mut script = Script::new(InitType::OnDemand);
    script.batch(
        480,
        &[init_start(64, "on-demand", "init"), init_report(462, 400.0)],
    );
    script.shutdown(600_000, "spindown");
    assert_eq!(
        script.cold_start(),
        of_kind("proactive", &["environment_starts=1", "init_duration=400"])
    );
}

#[test]
fn provisioned_concurrency_is_told_before_it_is_invoked() {
    let kind = "provisioned-concurrency";
    let end = init_end(
        401,
        kind,
        "init",
        r#""status":"success","metrics":{"durationMs":397.5}"#,
    );
    let expected = of_kind(
        "provisioned_concurrency",
        &[
            "environment_starts=1",
            "init_duration=397.5",
            "init_extensions_duration=60",
        ],
    );
    let mut script = Script::new(InitType::ProvisionedConcurrency);
    script
        .batch(480, &[init_start(64, kind, "init")])
        .nothing_yet()
        .batch(481, &end);
    assert_eq!(script.cold_start(), expected);

    // The platform's word is worth more than the environment's, and comes in time or late.
    let mut script = Script::new(InitType::OnDemand);
    script.invoke(300_000, "a").nothing_yet();
    script.batch(
        300_025,
        &[vec![init_start(64, kind, "init")], end.to_vec()].concat(),
    );
    assert_eq!(script.cold_start(), expected);
    // Nobody waits for it, so its first invocation is one like any other.
    script.batch(300_400, &[runtime_done(300_300, "a", 30.0)]);
    assert_eq!(script.rest_of_start(300_400), [""; 0]);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn an_init_in_an_invocation_is_a_retry_or_follows_a_reset() {
    let status = r#""status":"success","metrics":{"durationMs":300.0}"#;
    let timed_out = r#""requestId":"old","status":"timeout""#;
    let crashed = r#""requestId":"old","status":"error","errorType":"Runtime.ExitError""#;
    let handled = r#""requestId":"old","status":"error","errorType":"Function.Oops""#;
    let failed = r#""initializationType":"on-demand","phase":"init","status":"timeout","metrics":{"durationMs":9999.0}"#;
    let killed = r#""requestId":"old","status":"error","errorType":"Runtime.ExitError","metrics":{"memorySizeMB":128,"maxMemoryUsedMB":128}"#;
    let of_old = |kind, members| record(20, kind, members);
    let table = [
        ("earlier_failure", "init_retried_in_invoke", vec![]),
        (
            "failed_init",
            "init_retried_in_invoke",
            vec![of_old("initReport", failed)],
        ),
        (
            "earlier_failure",
            "init_retried_in_invoke",
            vec![of_old("runtimeDone", handled)],
        ),
        (
            "timeout",
            "reset_after_timeout",
            vec![of_old("runtimeDone", timed_out)],
        ),
        (
            "timeout",
            "reset_after_timeout",
            vec![of_old("report", timed_out)],
        ),
        (
            "crash",
            "reset_after_crash",
            vec![of_old("runtimeDone", crashed)],
        ),
        (
            "out_of_memory",
            "reset_after_crash",
            vec![of_old("runtimeDone", crashed), of_old("report", killed)],
        ),
        (
            "out_of_memory",
            "reset_after_crash",
            vec![of_old("report", crashed), fault(20, "old")],
        ),
        (
            "out_of_memory",
            "reset_after_crash",
            vec![fault(20, "old"), of_old("report", crashed)],
        ),
    ];
    for (cause, kind, before) in table {
        let mut script = Script::new(InitType::OnDemand);
        script.batch(440, &before).nothing_yet();
        script
            .batch(441, &[init_start(64, "on-demand", "invoke")])
            .nothing_yet();
        script.batch(480, &init_end(350, "on-demand", "invoke", status));
        script.invoke(481, "a");
        // The duration of the report holds the init, so the one of the runtime is not enough.
        script
            .batch(700, &[runtime_done(690, "a", 200.0)])
            .nothing_yet();
        script.batch(
            9_000,
            &[report(
                702,
                "a",
                r#""durationMs":512.5,"billedDurationMs":513"#,
            )],
        );
        let expected = of_cause(
            cause,
            kind,
            &[
                "environment_starts=1",
                "cold_starts=1",
                "init_duration=300",
                "init_extensions_duration=14",
                "first_invocation_duration=212.5",
                "cold_start_duration=512.5",
            ],
        );
        assert_eq!(script.cold_start(), expected);
    }
}

#[test]
fn a_record_of_the_millisecond_of_the_start_is_of_the_process_before() {
    let timed_out = r#""requestId":"old","status":"timeout""#;
    let own = ["timeouts{}=1"].map(ToOwned::to_owned);
    // The process started at 100.
    for (ms, expected) in [(99, &own[..0]), (100, &own[..0]), (101, &own[..])] {
        let mut script = Script::new(InitType::OnDemand);
        script.batch(440, &[record(ms, "runtimeDone", timed_out)]);
        assert_eq!(script.interval(500), expected, "{ms}");
    }
}

#[test]
fn a_caller_may_know_the_predecessor() {
    let table = [
        (Predecessor::Timeout, "timeout", "reset_after_timeout"),
        (Predecessor::Crash, "crash", "reset_after_crash"),
        (
            Predecessor::OutOfMemory,
            "out_of_memory",
            "reset_after_crash",
        ),
        (Predecessor::FailedInit, "failed_init", "on_demand"),
    ];
    for (predecessor, cause, kind) in table {
        let mut script = Script::new(InitType::OnDemand);
        script.account.handle_predecessor(predecessor);
        script.batch(
            480,
            &[init_start(64, "on-demand", "init"), init_report(462, 400.0)],
        );
        script.invoke(481, "a").shutdown(900, "spindown");
        let expected = of_cause(
            cause,
            kind,
            &["environment_starts=1", "cold_starts=1", "init_duration=400"],
        );
        assert_eq!(script.cold_start(), expected);
    }
}

#[test]
fn a_failed_init_is_told_when_it_fails() {
    let with_type =
        r#""status":"error","errorType":"Runtime.ExitError","metrics":{"durationMs":250.0}"#;
    let failed = |error_type: &str, points: &[&str]| {
        let points = of_kind("init_failure", points).into_iter();
        let error_type = format!(",error_type={error_type}}}");
        let points = points.map(|point| point.replace('}', &error_type));
        points.collect::<Vec<_>>()
    };
    let without = r#""status":"timeout","metrics":{"durationMs":250.0}"#;
    for (rest, error_type) in [(with_type, "Runtime.ExitError"), (without, "timeout")] {
        let mut script = Script::new(InitType::OnDemand);
        script
            .batch(440, &[init_start(64, "on-demand", "init")])
            .nothing_yet();
        script.batch(480, &init_end(300, "on-demand", "init", rest));
        let expected = failed(
            error_type,
            &[
                "environment_starts=1",
                "init_duration=250",
                "init_extensions_duration=14",
                "init_failures=1",
            ],
        );
        assert_eq!(script.cold_start(), expected);
        // Nothing is missing: no invocation was awaited.
        assert_eq!(property(&script.cold_starts[0], "missing"), None);
        script.shutdown(500, "failure");
        assert_eq!(script.cold_starts.len(), 1);
    }
    // Of which only the end is heard.
    for reason in ["failure", "timeout", "releasefail"] {
        let mut script = Script::new(InitType::OnDemand);
        script
            .batch(440, &[init_start(64, "on-demand", "init")])
            .shutdown(500, reason);
        let expected = failed("unknown", &["environment_starts=1", "init_failures=1"]);
        assert_eq!(script.cold_start(), expected);
    }
}

/// AWS's Runtime Interface Emulator delivers no telemetry, starts an environment for the first
/// invocation, and ends one whose init failed with `spindown`, and the second with `ReleaseFail`.
#[test]
fn without_telemetry_an_environment_that_is_never_invoked_failed() {
    const FAILED: &str = "{cause=unknown,cold_start_kind=init_failure,error_type=unknown}";
    let table = [
        (
            false,
            "spindown",
            "{cause=ahead_of_demand,cold_start_kind=proactive}",
        ),
        (true, "spindown", FAILED),
        (true, "releasefail", FAILED),
        (
            true,
            "sandboxterminated",
            "{cause=ahead_of_demand,cold_start_kind=proactive}",
        ),
    ];
    for (without_telemetry, reason, kind) in table {
        let mut script = Script::new(InitType::OnDemand);
        if without_telemetry {
            script.account.handle_no_telemetry();
        }
        script.shutdown(500, reason);
        let told = script.cold_start();
        assert_eq!(told[0], format!("environment_starts{kind}=1"), "{reason}");
        assert_eq!(told.len(), 1 + usize::from(kind == FAILED));
    }
}

#[test]
fn the_init_of_a_snapshot_is_told_where_it_is_made() {
    let end = init_end(401, "snap-start", "init", SNAPSHOT);
    let mut script = Script::new(InitType::SnapStart);
    script
        .batch(440, &[init_start(64, "snap-start", "init")])
        .batch(480, &end);
    assert_eq!(
        script.cold_start(),
        of_kind(
            "snap_start_init",
            &[
                "environment_starts=1",
                "init_duration=900",
                "init_extensions_duration=563"
            ]
        )
    );
}

#[test]
fn a_restore_is_a_start_of_its_own() {
    let restore = [
        record(
            60_064,
            "restoreStart",
            r#""functionName":"f","functionVersion":"7","instanceId":"i-2""#,
        ),
        record(60_480, "restoreRuntimeDone", r#""status":"success""#),
        record(
            60_501,
            "restoreReport",
            r#""status":"success","metrics":{"durationMs":437.5}"#,
        ),
    ];
    let report = report(
        60_900,
        "a",
        r#""durationMs":147.0,"billedDurationMs":201,"restoreDurationMs":500.5,"billedRestoreDurationMs":53"#,
    );
    let told = of_kind(
        "snap_start_restore",
        &[
            "environment_starts=1",
            "cold_starts=1",
            "restore_duration=437.5",
            "first_invocation_duration=147",
            "cold_start_duration=584.5",
            "billed_restore_duration=53",
        ],
    );
    for noticed in [true, false] {
        let mut script = Script::new(InitType::SnapStart);
        script.account.handle_lost_delivery(300);
        if noticed {
            script.account.handle_restore(at(60_500));
        }
        // Records of the init that were held back are not of this environment's start.
        let late = init_end(401, "snap-start", "init", SNAPSHOT);
        script
            .invoke(60_505, "a")
            .batch(60_530, &late)
            .batch(60_531, &restore)
            .batch(60_532, &[init_start(64, "snap-start", "init")])
            .nothing_yet();
        script.batch(61_000, slice::from_ref(&report));
        assert_eq!(script.cold_start(), told);
        assert_eq!(property(&script.cold_starts[0], "instance_id"), Some("i-2"));
        let interval = script.interval(61_000);
        let is_old = |point: &String| point.starts_with("dropped") || point.contains("kind");
        assert!(!interval.iter().any(is_old), "{interval:?}");
    }
}

#[test]
fn restores_have_substitutes_and_gaps_too() {
    let restore_start = record(60_064, "restoreStart", r#""functionName":"f""#);
    let restored = |records: &[String], invoked_ms: u64| {
        let mut script = Script::new(InitType::SnapStart);
        script.batch(60_400, records).invoke(invoked_ms, "a");
        script
    };
    // The report of the first invocation.
    let mut script = restored(slice::from_ref(&restore_start), 60_505);
    script.nothing_yet();
    script.batch(
        61_000,
        &[report(
            60_900,
            "a",
            r#""durationMs":147.0,"restoreDurationMs":500.5"#,
        )],
    );
    assert_eq!(
        script.cold_start()[2],
        "restore_duration{cause=demand,cold_start_kind=snap_start_restore}=500.5"
    );
    // Nothing but the clock, by which the caller knows when it was thawed.
    let mut script = Script::new(InitType::SnapStart);
    script.account.handle_no_telemetry();
    script.account.handle_restore(at(60_500));
    script.invoke(60_505, "a");
    let expected = estimated(
        "snap_start_restore",
        &[
            "environment_starts=1",
            "cold_starts=1",
            "restore_duration=5",
        ],
    );
    assert_eq!(script.cold_start(), expected);
    // Restored ahead of demand.
    let report = record(
        60_400,
        "restoreReport",
        r#""status":"success","metrics":{"durationMs":336.0}"#,
    );
    let mut script = restored(&[restore_start, report], 70_401);
    script.shutdown(80_000, "spindown");
    let expected = of_kind(
        "snap_start_proactive",
        &["environment_starts=1", "restore_duration=336"],
    );
    assert_eq!(script.cold_start(), expected);
    // Failed.
    let mut script = Script::new(InitType::SnapStart);
    script.account.handle_restore(at(60_064));
    let failed =
        r#""status":"error","errorType":"Runtime.RestoreError","metrics":{"durationMs":336.0}"#;
    script.batch(60_420, &[record(60_400, "restoreReport", failed)]);
    assert_eq!(
        script.cold_start()[2],
        "init_failures{cause=unknown,cold_start_kind=init_failure,error_type=Runtime.RestoreError}=1"
    );
}

#[test]
fn each_restore_is_told() {
    let mut script = Script::new(InitType::SnapStart);
    for round in 1..=3 {
        let ms = round * 60_000;
        script.account.handle_restore(at(ms));
        script.account.handle_restore(at(ms + 1));
        let records = [
            record(ms - 10, "restoreStart", r#""functionName":"f""#),
            record(
                ms,
                "restoreReport",
                r#""status":"success","metrics":{"durationMs":10.0}"#,
            ),
        ];
        script.invoke(ms + 5, "a").batch(ms + 30, &records);
        script.batch(ms + 40, &[report(ms + 35, "a", r#""durationMs":1.0"#)]);
    }
    assert_eq!(script.cold_starts.len(), 3);
}

#[test]
fn managed_instances_have_no_events_and_one_init() {
    let kind = "lambda-managed-instances";
    let mut script = Script::new(InitType::ManagedInstances);
    script
        .batch(440, &[init_start(64, kind, "init")])
        .nothing_yet();
    script.batch(
        480,
        &init_end(
            401,
            kind,
            "init",
            r#""status":"success","metrics":{"durationMs":397.5}"#,
        ),
    );
    let expected = of_kind(
        "managed_instances",
        &[
            "environment_starts=1",
            "init_duration=397.5",
            "init_extensions_duration=60",
        ],
    );
    assert_eq!(script.cold_start(), expected);
    let spans = r#""spans":[{"name":"responseLatency","durationMs":2.5},{"name":"responseDuration","durationMs":0.5}]"#;
    let report = |id: &str, ms: f64| {
        let members = format!(
            r#""requestId":"{id}","status":"success","metrics":{{"durationMs":{ms}}},{spans}"#
        );
        record(700, "report", &members)
    };
    // In any order.
    let records = [
        start(600, "a"),
        start(601, "b"),
        report("b", 12.345),
        report("a", 5.5),
        report("c", 1.0),
    ];
    script.batch(800, &records).shutdown(90_000, "spindown");
    assert_eq!(
        script.interval(90_000),
        [
            "invocations{}=3",
            "duration{}=12.345,5.5,1",
            "response_latency{}=2.5,2.5,2.5",
            "response_duration{}=0.5,0.5,0.5",
            "shutdowns{shutdown_reason=spindown}=1",
            "environment_lifetime{shutdown_reason=spindown}=89900",
            "environment_invocations{shutdown_reason=spindown}=2",
        ]
    );
}

#[test]
fn the_end_waits_for_the_report_of_a_start_that_is_not_told() {
    let mut script = Script::new(InitType::OnDemand);
    assert!(script.account.awaits_report());
    script.batch(490, &[init_report(462, 397.68)]);
    assert!(!script.account.awaits_report());
    // Once it is exported, nothing is waited for.
    let mut script = Script::new(InitType::OnDemand);
    script.invoke(481, "a").batch(
        500,
        &[report(490, "a", r#""durationMs":1,"initDurationMs":300"#)],
    );
    assert_eq!(script.cold_starts.len(), 1);
    assert!(!script.account.awaits_report());
}

#[test]
fn a_warm_interval_has_every_figure_of_its_invocations() {
    let mut script = Script::after_a_panic(InitType::OnDemand, came_to(50, 2));
    let done = r#""requestId":"a","status":"success","metrics":{"durationMs":10.5,"producedBytes":50},
        "spans":[{"name":"responseLatency","durationMs":8.0},{"name":"responseDuration","durationMs":0.25},
                 {"name":"runtimeOverhead","durationMs":0.5},{"name":"new","durationMs":1}]"#;
    let report_of_a = r#""requestId":"a","status":"success","metrics":{"durationMs":12.5,"billedDurationMs":13,
        "memorySizeMB":128,"maxMemoryUsedMB":84},"spans":[{"name":"extensionOverhead","durationMs":1.5}]"#;
    script
        .invoke(1_000, "a")
        .batch(1_030, &[record(1_011, "runtimeDone", done)]);
    assert!(script.account.awaits_report());
    script
        .invoke(5_000, "b")
        .batch(5_025, &[record(1_013, "report", report_of_a)]);
    script
        .batch(5_050, &[runtime_done(5_010, "b", 9.0)])
        .invoke(9_000, "c");
    assert_eq!(
        script.interval(9_000),
        [
            "extension_restarts{}=1",
            "invocations{}=2",
            "produced_bytes{}=50",
            "response_latency{}=8",
            "response_duration{}=0.25",
            "runtime_overhead{}=0.5",
            "idle_duration{}=3989,3990",
            "duration{}=12.5",
            "billed_duration{}=13",
            "memory_size{}=134217728",
            "memory_used{}=88080384",
            "extension_overhead{}=1.5",
        ]
    );
    assert_eq!(script.interval(9_001), [""; 0]);
    // Without a report the runtime's duration counts, and a gap counts whose start comes late.
    script
        .invoke(20_000, "d")
        .batch(20_025, &[runtime_done(9_500, "c", 500.0)]);
    script.shutdown(30_000, "spindown");
    assert_eq!(
        script.interval(30_000),
        [
            "idle_duration{}=10500",
            "invocations{}=1",
            "duration{}=9,500",
            "invocations_unknown{}=1",
            "shutdowns{shutdown_reason=spindown}=1",
            "environment_lifetime{shutdown_reason=spindown}=29950",
            "environment_invocations{shutdown_reason=spindown}=6",
        ]
        .map(ToOwned::to_owned)
    );
    assert_eq!(script.cold_starts, []);
}

/// Not all memory is used when the kernel kills, so the report may not tell it.
#[test]
fn a_fault_tells_that_memory_ran_out() {
    const EXIT: &str = r#""requestId":"a","status":"error","errorType":"Runtime.ExitError","metrics":{"memorySizeMB":128,"maxMemoryUsedMB":97}"#;
    let done = record(1_010, "runtimeDone", EXIT);
    let report = record(1_020, "report", EXIT);
    let fault = fault(1_015, "a");
    let other = record(1_030, "report", r#""requestId":"b","status":"success""#);
    let all: [&[&String]; 7] = [
        &[&fault, &done, &report],
        &[&done, &fault, &report],
        &[&done, &report, &fault],
        // A delivery that comes again.
        &[&done, &report, &fault, &done, &report, &fault],
        &[&done, &report, &fault, &other, &fault],
        &[&report, &fault],
        &[&done, &fault],
    ];
    for records in all {
        let mut script = Script::new(InitType::OnDemand);
        script.invoke(1_000, "a");
        for &record in records {
            script.batch(1_050, slice::from_ref(record));
        }
        let told = script.account.note_for_successor("failure");
        assert_eq!(told, Some(Predecessor::OutOfMemory), "{records:?}");
        let mut points = script.interval(2_000);
        let ignored = ["memory", "invocations"];
        points.retain(|point| !ignored.iter().any(|name| point.starts_with(name)));
        points.sort_unstable();
        assert_eq!(
            points.join(" "),
            "errors{error_type=Runtime.ExitError}=1 out_of_memory{}=1",
            "{records:?}"
        );
    }
}

#[test]
fn what_all_processes_use_is_counted_from_the_start_or_a_restore() {
    let usage = |ticks: u64| SystemUsage {
        cpu: Some(CpuTime {
            user: Duration::from_millis(ticks * 10),
            system: Duration::from_millis(ticks * 20),
        }),
        network: Some(NetworkBytes {
            received: ticks * 1_000,
            sent: ticks * 100,
        }),
        tmp_used_bytes: Some(ticks * 4_096),
        processes: Some(Processes {
            descriptors: ticks,
            threads: 2,
        }),
    };
    let mut script = Script::new(InitType::SnapStart);
    let read = |script: &mut Script, usage| {
        let took = Duration::from_micros(500);
        script.account.handle_system_usage(usage, took);
        script.interval(2_000)
    };
    assert_eq!(read(&mut script, usage(1_000)), [""; 0]);
    let expected = [
        "cpu_user_time{}=70",
        "cpu_system_time{}=140",
        "rx_bytes{}=7000",
        "tx_bytes{}=700",
        "tmp_used{}=4124672",
        "fd_use{}=1007",
        "threads_use{}=2",
        "system_read_duration{}=0.5",
    ];
    assert_eq!(read(&mut script, usage(1_007)), expected);
    // The kernel of the snapshot went on elsewhere.
    script.account.handle_restore(at(90_000));
    assert_eq!(read(&mut script, usage(9)), [""; 0]);
    let nothing = SystemUsage::default();
    assert_eq!(read(&mut script, nothing), ["system_read_duration{}=0.5"]);
}

#[test]
fn outcomes_are_counted_once_and_by_kind() {
    const OK: &str = r#""status":"success""#;
    const LATE: &str = r#""status":"timeout""#;
    const SANDBOX: &str = r#""status":"timeout","errorType":"Sandbox.Timeout""#;
    const OOPS: &str = r#""status":"error","errorType":"Function.Oops""#;
    const MEMORY: &str = r#""status":"error","errorType":"Runtime.OutOfMemory""#;
    const EXIT: &str = r#""status":"error","errorType":"Runtime.ExitError""#;
    const FULL: &str = r#""status":"error","errorType":"Runtime.ExitError","metrics":{"memorySizeMB":128,"maxMemoryUsedMB":128}"#;
    const NOT_FULL: &str = r#""status":"error","errorType":"Runtime.ExitError","metrics":{"memorySizeMB":128,"maxMemoryUsedMB":127}"#;
    let table: [(&str, &str, &str); 14] = [
        (OK, OK, "invocations{}=1"),
        (OK, "", "invocations{}=1"),
        ("", r#""metrics":{}"#, "invocations{}=1"),
        // The runtime answered, and an extension took too long.
        (OK, LATE, "invocations{}=1 timeouts{}=1"),
        (LATE, SANDBOX, "timeouts{}=1"),
        (OOPS, OOPS, "errors{error_type=Function.Oops}=1"),
        (OOPS, OK, "errors{error_type=Function.Oops}=1"),
        (r#""status":"failure""#, "", "errors{error_type=failure}=1"),
        (r#""status":"odd""#, "", "errors{error_type=odd}=1"),
        (r#""errorType":"E""#, "", "errors{error_type=E}=1"),
        (
            MEMORY,
            MEMORY,
            "errors{error_type=Runtime.OutOfMemory}=1 out_of_memory{}=1",
        ),
        // The report may never come.
        (
            MEMORY,
            "",
            "errors{error_type=Runtime.OutOfMemory}=1 out_of_memory{}=1",
        ),
        (
            EXIT,
            FULL,
            "errors{error_type=Runtime.ExitError}=1 out_of_memory{}=1",
        ),
        (EXIT, NOT_FULL, "errors{error_type=Runtime.ExitError}=1"),
    ];
    for (done, report, expected) in table {
        let mut script = Script::new(InitType::OnDemand);
        script.invoke(1_000, "a");
        for (ms, kind, members) in [(1_010, "runtimeDone", done), (1_020, "report", report)] {
            let comma = if members.is_empty() { "" } else { "," };
            let members = format!(r#""requestId":"a"{comma}{members}"#);
            script.batch(1_050, &[record(ms, kind, &members)]);
        }
        let mut points = script.interval(2_000);
        points.retain(|point| !point.starts_with("memory"));
        assert_eq!(points.join(" "), expected);
    }
}

#[test]
fn a_shutdown_tells_what_telemetry_does_not() {
    // The deadline of the invocation is at 4,000.
    let table: [(u64, &str, &[&str]); 6] = [
        (
            4_001,
            "timeout",
            &["timeouts{}=1", "shutdowns{shutdown_reason=timeout}=1"],
        ),
        (
            4_000,
            "timeout",
            &["timeouts{}=1", "shutdowns{shutdown_reason=timeout}=1"],
        ),
        (
            3_999,
            "timeout",
            &[
                "invocations_unknown{}=1",
                "shutdowns{shutdown_reason=timeout}=1",
            ],
        ),
        (
            4_001,
            "failure",
            &[
                "errors{error_type=unknown}=1",
                "shutdowns{shutdown_reason=failure}=1",
            ],
        ),
        (
            4_001,
            "spindown",
            &[
                "invocations_unknown{}=1",
                "shutdowns{shutdown_reason=spindown}=1",
            ],
        ),
        (
            4_001,
            "sandboxterminated",
            &[
                "invocations_unknown{}=1",
                "shutdowns{shutdown_reason=sandboxterminated}=1",
            ],
        ),
    ];
    for (ms, reason, expected) in table {
        let mut script = Script::new(InitType::OnDemand);
        script.invoke(1_000, "a").shutdown(ms, reason);
        assert_eq!(script.interval(ms)[..2], *expected, "{reason} at {ms}");
        // Whose first invocation was cut short was a cold start all the same.
        assert_eq!(
            script.cold_start()[1],
            "cold_starts{cause=demand,cold_start_kind=on_demand,estimated=true}=1"
        );
        assert!(!script.account.awaits_report());
    }
}

/// The runtime answered, and then an extension took too long or exited. No report comes.
#[test]
fn a_shutdown_tells_what_became_of_an_invocation_that_was_answered() {
    const DONE: &str = "runtimeDone";
    // The deadline of the invocation is at 4,000.
    let table = [
        (
            (DONE, "success"),
            (4_000, "timeout"),
            "invocations{}=1 timeouts{}=1",
        ),
        ((DONE, "success"), (3_999, "timeout"), "invocations{}=1"),
        (
            (DONE, "success"),
            (2_000, "failure"),
            "invocations{}=1 errors{error_type=unknown}=1",
        ),
        ((DONE, "success"), (9_000, "spindown"), "invocations{}=1"),
        ((DONE, "timeout"), (4_000, "timeout"), "timeouts{}=1"),
        (
            (DONE, "error"),
            (2_000, "failure"),
            "errors{error_type=error}=1",
        ),
        // It was over.
        (("report", "success"), (4_000, "timeout"), "invocations{}=1"),
        (("report", "success"), (2_000, "failure"), "invocations{}=1"),
    ];
    for ((kind, status), (ms, reason), expected) in table {
        let mut script = Script::new(InitType::OnDemand);
        let end = format!(r#""requestId":"a","status":"{status}""#);
        script
            .invoke(1_000, "a")
            .batch(1_050, &[record(1_010, kind, &end)])
            .shutdown(ms, reason);
        let mut points = script.interval(ms);
        points.retain(|point| !point.contains("shutdown"));
        assert_eq!(points.join(" "), expected, "{kind} {status}, {reason} {ms}");
    }
}

#[test]
fn losses_and_costs_are_counted() {
    let mut script = Script::new(InitType::OnDemand);
    script.account.handle_lost_delivery(200);
    script.account.handle_lost_delivery(0);
    let dropped = r#""droppedBytes":12345,"droppedRecords":123,"reason":"slow""#;
    let log = |source: &str| format!(r#"{{"type":"{source}","record":"12345678"}}"#);
    script.batch(
        1_000,
        &[
            record(1, "logsDropped", dropped),
            log("function"),
            log("extension"),
            log("platform.new"),
            record(1, "telemetrySubscription", r#""name":"bantam""#),
            record(1, "extension", r#""name":"bantam","state":"Ready""#),
            record(1, "end", r#""requestId":"a""#),
            record(1, "start", ""),
            record(1, "runtimeDone", ""),
            record(1, "report", ""),
            r#"{"type":"platform.fault","record":"text"}"#.to_owned(),
            "7".to_owned(),
        ],
    );
    for (cpu_ms, peak_memory_bytes) in [(5.0, 500), (8.0, 800), (7.0, 700)] {
        let usage = usage(cpu_ms, Some(peak_memory_bytes));
        script.account.handle_own_usage(usage);
    }
    assert_eq!(
        script.interval(2_000),
        [
            "dropped_deliveries{}=2",
            "dropped_bytes{dropped_by=extension}=200",
            "dropped_records{dropped_by=platform}=123",
            "dropped_bytes{dropped_by=platform}=12345",
            "unknown_records{}=1",
            "malformed_records{}=1",
            "extension_cpu_time{}=8",
            "extension_memory{}=700",
        ]
    );
}

#[test]
fn an_interval_is_due_when_it_is_over_and_when_the_clock_was_put_back() {
    let mut account = Accounting::new(InitType::OnDemand, at(0));
    let minute = Duration::from_secs(60);
    assert!(!account.is_interval_due(minute, at(59_999)));
    assert!(account.is_interval_due(minute, at(60_000)));
    account.take_interval(at(70_000));
    assert!(!account.is_interval_due(minute, at(129_999)));
    assert!(account.is_interval_due(minute, at(130_000)));
    assert!(account.is_interval_due(minute, at(69_999)));
    account.take_interval(at(10_000));
    assert!(!account.is_interval_due(minute, at(10_000)));
}

#[test]
fn intervals_follow_each_other() {
    let mut script = Script::new(InitType::OnDemand);
    let mut interval = |ms| {
        script.account.handle_lost_delivery(0);
        let batch = script.account.take_interval(at(ms)).unwrap();
        (batch.start_ms - TEN, batch.end_ms - TEN)
    };
    assert_eq!(interval(1_000), (100, 1_000));
    assert_eq!(interval(2_000), (1_000, 2_000));
    // A wall clock that is set back.
    assert_eq!(interval(1_500), (1_500, 1_500));
}

#[test]
fn memory_is_bounded_and_losses_are_told() {
    let mut script = Script::new(InitType::ManagedInstances);
    let many = 10_000;
    for id in 0..many {
        let members = format!(
            r#""requestId":"{id}","status":"error","errorType":"Function.E{id}{}""#,
            "x".repeat(1_000)
        );
        script.batch(1_000, &[record(900, "runtimeDone", &members)]);
        let metrics = format!(r#""requestId":"ok-{id}","metrics":{{"durationMs":1.0}}"#);
        script.batch(1_000, &[record(900, "report", &metrics)]);
        assert_eq!(
            script.account.is_interval_due(Duration::MAX, at(1_000)),
            VALUES_MAX <= id + 1,
            "{id}"
        );
    }
    let batch = script.account.take_interval(at(2_000)).unwrap();
    assert!(batch.points.len() <= POINTS_MAX);
    assert!(!script.account.is_interval_due(Duration::MAX, at(2_000)));
    let of = |name: &'static str| {
        batch
            .points
            .iter()
            .filter(move |point| point.metric.name == name)
    };
    assert_eq!(
        of("duration")
            .map(|point| point.values.len())
            .sum::<usize>(),
        VALUES_KEPT_MAX
    );
    assert_eq!(
        of("dropped_values").next().unwrap().values,
        [(many - VALUES_KEPT_MAX) as f64]
    );
    assert_eq!(of("errors").count(), ERROR_TYPES_MAX + 1);
    assert_eq!(
        of("errors").map(|point| point.values[0]).sum::<f64>(),
        many as f64
    );
    assert!(of("errors").all(|point| point.attributes[0].1.len() <= TEXT_BYTES_MAX));
    let long = "y".repeat(100_000);
    script.batch(
        2_000,
        &[start(1_500, &long), runtime_done(1_600, &long, 1.0)],
    );
    script.batch(2_000, &[report(1_700, &long, ""), report(1_700, &long, "")]);
    assert!(
        script
            .interval(2_500)
            .contains(&"invocations{}=1".to_owned())
    );
}

#[test]
fn of_too_many_invocations_in_flight_the_oldest_is_given_up() {
    let mut script = Script::new(InitType::ManagedInstances);
    for id in 0..IN_FLIGHT_MAX {
        script.batch(3_000, &[start(2_500, &format!("new-{id}"))]);
    }
    assert_eq!(script.interval(3_000), [""; 0]);
    for id in IN_FLIGHT_MAX..IN_FLIGHT_MAX + 7 {
        script.batch(3_000, &[start(2_500, &format!("new-{id}"))]);
    }
    assert_eq!(script.interval(3_000), ["invocations_unknown{}=7"]);
    // It is counted once.
    script.batch(3_000, &[report(2_600, "new-0", "")]);
    assert_eq!(script.interval(3_000), [""; 0]);
    script.shutdown(4_000, "spindown");
    assert!(
        script
            .interval(4_000)
            .contains(&format!("invocations_unknown{{}}={IN_FLIGHT_MAX}"))
    );
}

#[test]
fn a_delivery_that_comes_again_is_counted_once() {
    const DONE: &str = r#""requestId":"a","status":"success","metrics":{"durationMs":5.0,"producedBytes":7},"spans":[{"name":"responseLatency","durationMs":1.5}]"#;
    let reported = report(1_020, "a", r#""durationMs":5.0,"billedDurationMs":6"#);
    let started = [init_start(64, "on-demand", "init"), init_report(462, 400.0)];
    let deliveries = [
        started.to_vec(),
        vec![start(1_000, "a"), record(1_010, "runtimeDone", DONE)],
        vec![reported],
    ];
    let count = |times: [usize; 3]| {
        let mut script = Script::new(InitType::OnDemand);
        script.invoke(1_000, "a");
        for (delivery, times) in deliveries.iter().zip(times) {
            for _ in 0..times {
                script.batch(1_100, delivery);
            }
        }
        // Late, after the report.
        for delivery in &deliveries[..times[0] - 1] {
            script.batch(1_200, delivery);
        }
        script.invoke(2_000, "b").shutdown(2_500, "spindown");
        (script.cold_start(), script.interval(3_000))
    };
    let (cold_start, once) = count([1, 1, 1]);
    assert!(once.contains(&"invocations{}=1".to_owned()), "{once:?}");
    assert!(once.contains(&"invocations_unknown{}=1".to_owned()));
    for times in [[2, 1, 1], [1, 2, 1], [1, 1, 2], [3, 3, 3]] {
        assert_eq!(
            count(times),
            (cold_start.clone(), once.clone()),
            "{times:?}"
        );
    }
}

/// The records of an attempt at an event, the id of which its retries have, too.
fn attempt(ms: u64, status: &str) -> [String; 3] {
    let status = format!(r#""requestId":"a","status":"{status}","metrics":{{"durationMs":5.0}}"#);
    [
        record(ms, "start", r#""requestId":"a""#),
        record(ms + 10, "runtimeDone", &status),
        record(ms + 20, "report", &status),
    ]
}

#[test]
fn each_attempt_of_an_event_counts() {
    // The platform retries an event of an asynchronous caller under its id. A freeze holds the
    // records of the first attempt back until then.
    let [first, second] = [attempt(1_000, "error"), attempt(61_000, "success")];
    let mut script = Script::new(InitType::OnDemand);
    script.invoke(1_000, "a").invoke(61_000, "a");
    // Our answer to the first delivery was lost.
    script.batch(61_001, &first).batch(61_002, &first);
    script.batch(61_030, &second).batch(61_031, &second);
    script.invoke(62_020, "b").batch(62_021, &second);
    script.shutdown(62_500, "spindown");
    let points = script.interval(63_000);
    for expected in [
        "errors{error_type=error}=1",
        "invocations{}=1",
        "invocations_unknown{}=1",
        "duration{}=5,5",
        // From the end of each attempt to the next event.
        "idle_duration{}=59990,1010",
    ] {
        assert!(points.contains(&expected.to_owned()), "{points:#?}");
    }
}

/// How invocations ended, by the time that a retry is over.
fn ends(script: &mut Script) -> String {
    let mut points = script.shutdown(62_000, "spindown").interval(62_000);
    let names = ["invocations", "errors", "timeouts", "out_of_memory"];
    points.retain(|point| names.iter().any(|name| point.starts_with(name)));
    points.join(" ")
}

#[test]
fn an_attempt_that_comes_again_is_not_taken_for_its_retry() {
    let [first, second] = [attempt(1_000, "error"), attempt(61_000, "success")];
    // The answer to the delivery with the report was lost, and a freeze held it back.
    let mut script = Script::new(InitType::OnDemand);
    script.invoke(1_000, "a").batch(1_040, &first);
    script.invoke(61_000, "a").batch(61_001, &first);
    script.batch(61_030, &second).batch(61_031, &second);
    let expected = "errors{error_type=error}=1 invocations{}=1";
    assert_eq!(ends(&mut script), expected);
}

#[test]
fn an_attempt_that_ended_the_process_before_is_not_taken_for_its_retry() {
    let [first, second] = [attempt(1_000, "timeout"), attempt(61_000, "success")];
    let mut script = Script::new(InitType::OnDemand);
    script.account = Accounting::new(InitType::OnDemand, at(60_500));
    script.invoke(61_000, "a");
    script
        .batch(61_001, &first)
        .batch(61_002, &[fault(1_015, "a")]);
    script.batch(61_030, &second);
    assert_eq!(ends(&mut script), "invocations{}=1");
}

#[test]
fn a_lack_of_memory_of_a_retry_is_counted_once() {
    const EXIT: &str = r#""requestId":"a","status":"error","errorType":"Runtime.ExitError","metrics":{"memorySizeMB":128,"maxMemoryUsedMB":128}"#;
    let mut script = Script::new(InitType::OnDemand);
    script.invoke(1_000, "a").invoke(61_000, "a");
    script.batch(61_001, &attempt(1_000, "error"));
    let second = [fault(61_015, "a"), record(61_020, "report", EXIT)];
    script.batch(61_030, &second);
    let expected =
        "errors{error_type=error}=1 out_of_memory{}=1 errors{error_type=Runtime.ExitError}=1";
    assert_eq!(ends(&mut script), expected);
}

#[test]
fn a_start_that_comes_again_is_counted_once() {
    // On Managed Instances the starts of invocations count as well.
    let all = [
        init_start(64, "lambda-managed-instances", "init"),
        start(1_000, "a"),
        runtime_done(1_010, "a", 5.0),
        report(1_020, "a", r#""durationMs":5.0"#),
    ];
    let mut script = Script::new(InitType::ManagedInstances);
    for _ in 0..3 {
        script.batch(1_100, &all);
    }
    script.shutdown(2_500, "spindown");
    let points = script.interval(3_000);
    assert!(
        points.contains(&"environment_invocations{shutdown_reason=spindown}=1".to_owned()),
        "{points:?}"
    );
    assert!(points.contains(&"duration{}=5".to_owned()));

    // The records of one failed init that come twice are of one init.
    let failed = init_end(
        300,
        "on-demand",
        "invoke",
        r#""status":"error","metrics":{"durationMs":250.0}"#,
    );
    let mut script = Script::new(InitType::OnDemand);
    for _ in 0..2 {
        script.batch(
            480,
            &[
                vec![init_start(164, "on-demand", "invoke")],
                failed.to_vec(),
            ]
            .concat(),
        );
    }
    assert!(script.cold_start()[0].contains("init_failure"));

    // The records of a restore that come twice do not begin another.
    let restore = [
        record(5_000, "restoreStart", ""),
        record(5_400, "restoreReport", SNAPSHOT),
    ];
    let mut script = Script::new(InitType::SnapStart);
    script.batch(5_500, &restore).invoke(5_500, "a");
    assert!(script.account.take_restored());
    script
        .batch(5_600, &restore)
        .batch(5_700, &[runtime_done(5_650, "a", 9.0)]);
    assert!(!script.account.take_restored());
    script.shutdown(6_000, "spindown");
    let points = script.interval(6_000);
    assert!(
        points.contains(&"environment_invocations{shutdown_reason=spindown}=1".to_owned()),
        "{points:?}"
    );
}

#[test]
fn what_is_remembered_of_requests_that_are_over_is_bounded() {
    let mut script = Script::new(InitType::OnDemand);
    let of = |id: usize| report(1_000, &format!("r-{id}"), r#""durationMs":1.0"#);
    for id in 0..=OVER_KEPT {
        script.batch(1_000, &[of(id)]);
    }
    script.interval(1_000);
    script.batch(1_000, &[of(OVER_KEPT), of(1)]);
    assert_eq!(script.interval(1_000), [""; 0]);
    script.batch(1_000, &[of(0)]);
    assert_eq!(script.interval(1_000), ["invocations{}=1", "duration{}=1"]);
}

#[test]
fn the_end_says_what_the_next_process_follows() {
    let table = [
        ("timeout", 0, Some(Predecessor::FailedInit)),
        ("failure", 0, Some(Predecessor::FailedInit)),
        ("timeout", 1, Some(Predecessor::Timeout)),
        ("failure", 2, Some(Predecessor::Crash)),
        ("releasefail", 0, Some(Predecessor::FailedInit)),
        ("releasefail", 1, Some(Predecessor::Crash)),
        ("spindown", 1, None),
        ("sigterm", 1, None),
        ("", 0, None),
    ];
    for (reason, invocations, expected) in table {
        let mut script = Script::new(InitType::OnDemand);
        for id in 0..invocations {
            script.invoke(1_000, &id.to_string());
        }
        assert_eq!(
            script.account.note_for_successor(reason),
            expected,
            "{reason}"
        );
    }
}

#[test]
fn the_cost_of_a_snapshot_is_not_that_of_its_restores() {
    let mut script = Script::new(InitType::SnapStart);
    script.account.handle_own_usage(usage(5.0, None));
    script.invoke(9_000, "a");
    for cpu_ms in [8.0, 10.0, 9.0, 11.5] {
        script.account.handle_own_usage(usage(cpu_ms, None));
    }
    let points = script.interval(10_000);
    assert!(
        points.contains(&"extension_cpu_time{}=3.5".to_owned()),
        "{points:?}"
    );
}

/// Anybody in the environment can send records.
#[test]
fn a_record_cannot_make_a_restore_where_there_are_no_snapshots() {
    for init_type in [
        InitType::OnDemand,
        InitType::ProvisionedConcurrency,
        InitType::ManagedInstances,
    ] {
        let mut script = Script::new(init_type);
        script.account.handle_lost_delivery(300);
        let claimed = r#""initializationType":"snap-start","instanceId":"i-9""#;
        let records = [
            record(400, "initStart", claimed),
            record(500, "restoreStart", claimed),
        ];
        script.batch(600, &records).invoke(700, "a");
        assert!(!script.account.take_restored(), "{init_type:?}");
        let interval = script.interval(800);
        let lost = "dropped_deliveries{}=1".to_owned();
        assert!(interval.contains(&lost), "{interval:?}");
    }
}

#[test]
fn sums_of_numbers_from_outside_stay_exact() {
    let mut script = Script::new(InitType::OnDemand);
    let dropped = r#""droppedBytes":9007199254740992,"droppedRecords":1"#;
    let records = vec![record(1, "logsDropped", dropped); 1_100];
    script.batch(1_000, &records);
    assert_eq!(
        script.interval(2_000),
        [
            "dropped_records{dropped_by=platform}=1100",
            "dropped_bytes{dropped_by=platform}=9007199254740992",
        ]
    );
}

/// The counts of random batches equal those that a tree of `serde_json` gives.
#[test]
fn counts_equal_a_reference() {
    const ENDS: &str = r#""status":"success" "status":"timeout" "status":"error","errorType":"E"
        "status":"failure" "errorType":"Function.X" "status":7 "status":null,"spans":[[]] "x":{}"#;
    let seed = 5;
    let mut random = Random(seed);
    for round in 0..200 {
        let mut script = Script::new(InitType::OnDemand);
        let mut elements = Vec::new();
        for id in 0..random.below(60) {
            let ends: Vec<&str> = ENDS.split_whitespace().collect();
            let end = ends[random.below(ends.len())];
            elements.push(match random.below(5) {
                0 => "{}".to_owned(),
                1 => format!(r#"{{"type":"platform.new{id}","record":[]}}"#),
                _ => record(900, "report", &format!(r#""requestId":"{id}",{end}"#)),
            });
        }
        script.batch(1_000, &elements);
        let mut expected = [0.0; 5];
        for element in &elements {
            let tree: serde_json::Value = serde_json::from_str(element).unwrap();
            let record = &tree["record"];
            let kind = match (tree["type"].as_str(), record["status"].as_str()) {
                (None, _) => 4,
                (Some("platform.report"), Some("timeout")) => 2,
                (Some("platform.report"), Some("error" | "failure")) => 1,
                (Some("platform.report"), _) if record["errorType"].is_string() => 1,
                (Some("platform.report"), _) => 0,
                (Some(_), _) => 3,
            };
            expected[kind] += 1.0;
        }
        let batch = script.account.take_interval(at(2_000));
        let points = batch.map(|batch| batch.points).unwrap_or_default();
        let names = [
            "invocations",
            "errors",
            "timeouts",
            "unknown_records",
            "malformed_records",
        ];
        let found = names.map(|name| {
            let of_name = points.iter().filter(|point| point.metric.name == name);
            of_name.map(|point| point.values[0]).sum::<f64>()
        });
        assert_eq!(found, expected, "seed {seed}, round {round}: {elements:?}");
    }
}

/// The start that a record of the init makes known, which may be of the process before.
#[test]
fn a_phase_that_ends_when_the_process_starts_is_its_own() {
    let failed = r#""initializationType":"on-demand","phase":"init","status":"error","errorType":"Runtime.ExitError","metrics":{"durationMs":9.0}"#;
    // The process started at 100.
    for (ms, starts) in [(99, 0), (100, 1)] {
        let mut script = Script::new(InitType::OnDemand);
        script.batch(440, &[record(ms, "initReport", failed)]);
        assert_eq!(script.cold_starts.len(), starts, "{ms}");
    }
}

#[test]
fn requests_that_are_known_are_counted_whenever_they_ended() {
    let timed_out = r#""requestId":"a","status":"timeout""#;
    let before = record(99, "runtimeDone", timed_out);
    // A clock that was put right between the event and the record.
    let mut script = Script::new(InitType::OnDemand);
    script.invoke(150, "a").batch(440, slice::from_ref(&before));
    assert_eq!(script.interval(500), ["timeouts{}=1"]);
    // After a panic the invocations of the program before are counted here, and those of the
    // process before are not.
    for (began_ms, expected) in [(98, &["timeouts{}=1"][..]), (99, &[])] {
        let mut script = Script::after_a_panic(InitType::OnDemand, came_to(began_ms, 0));
        script.batch(440, slice::from_ref(&before));
        let points = script.interval(500);
        assert_eq!(points[0], "extension_restarts{}=1");
        assert_eq!(points[1..], *expected, "{began_ms}");
    }
}

/// An environment that began at `began_ms` and has come so far.
fn came_to(began_ms: u64, invocations: u64) -> Life {
    Life {
        began_at: at(began_ms),
        is_restored: false,
        invocations,
    }
}

#[test]
fn after_a_panic_a_restore_is_not_told_again() {
    let restore = [
        record(5_000, "restoreStart", r#""instanceId":"i-2""#),
        record(5_400, "restoreReport", SNAPSHOT),
    ];
    let mut script = Script::new(InitType::SnapStart);
    for is_told in [false, true] {
        if is_told {
            script.batch(5_500, &restore).invoke(5_500, "a");
            script.batch(5_600, &[report(5_590, "a", "")]);
            assert_eq!(script.cold_starts.len(), 1);
        }
        let life = script.account.life();
        let mut next = Script::after_a_panic(InitType::SnapStart, life);
        // The records of the restore may come late.
        next.batch(6_000, &restore).invoke(6_010, "b");
        next.batch(6_100, &[report(6_090, "b", "")]);
        assert_eq!(next.cold_starts.len(), usize::from(!is_told));
        assert_eq!(next.account.take_restored(), !is_told);
        let points = next.shutdown(9_000, "spindown").interval(9_000);
        let invocations = 1 + usize::from(is_told);
        for expected in [
            "environment_lifetime{shutdown_reason=spindown}=4000",
            &format!("environment_invocations{{shutdown_reason=spindown}}={invocations}"),
        ] {
            assert!(points.contains(&expected.to_owned()), "{points:?}");
        }
        let restarts = "extension_restarts{}=1".to_owned();
        assert_eq!(points.contains(&restarts), is_told, "{points:?}");
    }
}

#[test]
fn after_a_panic_the_end_says_what_the_next_process_follows() {
    for (invocations, expected) in [(0, Predecessor::FailedInit), (1, Predecessor::Timeout)] {
        let life = came_to(50, invocations);
        let script = Script::after_a_panic(InitType::OnDemand, life);
        let note = script.account.note_for_successor("timeout");
        assert_eq!(note, Some(expected));
    }
}

/// The kernel counts it for the process.
#[test]
fn processor_time_before_a_panic_is_not_counted_again() {
    let mut script = Script::after_a_panic(InitType::OnDemand, came_to(50, 0));
    script.account.handle_own_usage(usage(500.0, None));
    script.account.handle_own_usage(usage(503.0, None));
    assert_eq!(script.interval(500)[1..], ["extension_cpu_time{}=3"]);
}

/// A record without a time stamp is not judged by itself.
#[test]
fn a_request_of_the_process_before_stays_its_own() {
    let timed_out = r#""requestId":"a","status":"timeout""#;
    let untimed = |kind: &str| {
        format!(r#"{{"type":"platform.{kind}","record":{{"requestId":"a","status":"success"}}}}"#)
    };
    for init_type in [InitType::OnDemand, InitType::ManagedInstances] {
        // The process started at 100.
        let records = [
            record(99, "start", r#""requestId":"a","tenantId":"blue""#),
            record(99, "runtimeDone", timed_out),
            untimed("start"),
            untimed("runtimeDone"),
            untimed("report"),
        ];
        let mut script = Script::new(init_type);
        script.batch(440, &records).batch(450, &records);
        assert!(script.interval(500).is_empty(), "{init_type:?}");
    }
    // The platform retries an event under its id.
    let mut script = Script::new(InitType::OnDemand);
    script.batch(440, &[record(99, "runtimeDone", timed_out)]);
    script.invoke(450, "a");
    script.batch(500, &[record(490, "report", r#""requestId":"a""#)]);
    assert_eq!(script.interval(500), ["invocations{}=1"]);
}

#[test]
fn requests_of_the_process_before_are_bounded() {
    let mut script = Script::new(InitType::ManagedInstances);
    for id in 0..1_000 {
        let fields = format!(r#""requestId":"{id}""#);
        script.batch(440, &[record(99, "start", &fields)]);
    }
    assert!(script.interval(500).is_empty());
    let of_the_last = r#"{"type":"platform.report","record":{"requestId":"999"}}"#;
    script.batch(440, &[of_the_last.to_owned()]);
    assert!(script.interval(500).is_empty());
}

#[test]
fn a_start_says_whose_it_is_and_whether_it_is_durable() {
    let start = r#""initializationType":"on-demand","phase":"init","runtimeVersion":"python:3.14.DurableFunction.v6""#;
    let of = |id: &str, tenant: &str| {
        record(
            463,
            "start",
            &format!(r#""requestId":"{id}","tenantId":"{tenant}""#),
        )
    };
    let mut script = Script::new(InitType::OnDemand);
    script.batch(
        440,
        &[record(64, "initStart", start), init_report(462, 397.5)],
    );
    script.invoke(463, "a");
    let records = [
        of("a", "blue"),
        of("b", "red"),
        report(590, "a", r#""durationMs":9"#),
    ];
    script.batch(600, &records);
    let start = &script.cold_starts[0];
    assert_eq!(property(start, "tenant_id"), Some("blue"));
    assert_eq!(property(start, "durable"), Some("true"));
}

#[test]
fn the_kind_of_a_start_is_what_is_surest() {
    let done = r#""status":"success","metrics":{"durationMs":300.0}"#;
    let failed =
        r#""status":"error","errorType":"Runtime.ExitError","metrics":{"durationMs":250.0}"#;
    let other = InitType::Other;
    let table = [
        (other, "native-http", "init", done, "other"),
        (
            InitType::ProvisionedConcurrency,
            "provisioned-concurrency",
            "invoke",
            done,
            "init_retried_in_invoke",
        ),
        (
            InitType::ManagedInstances,
            "lambda-managed-instances",
            "init",
            failed,
            "init_failure",
        ),
    ];
    for (init_type, name, phase, end, kind) in table {
        let mut script = Script::new(init_type);
        script.batch(440, &[init_start(64, name, phase)]);
        script.batch(480, &init_end(350, name, phase, end));
        script.invoke(481, "a");
        script.batch(9_000, &[report(702, "a", r#""durationMs":512.5"#)]);
        let points = script.cold_start();
        assert!(
            points[0].contains(&format!("cold_start_kind={kind}")),
            "{name}: {points:?}"
        );
    }
}

#[test]
fn an_init_that_is_not_billed_has_no_price() {
    for (billed, expected) in [(211, None), (212, Some("1"))] {
        let mut script = Script::new(InitType::OnDemand);
        script.batch(
            440,
            &[init_start(64, "on-demand", "init"), init_report(462, 397.5)],
        );
        script.invoke(463, "a");
        let metrics =
            format!(r#""durationMs":210.2,"billedDurationMs":{billed},"initDurationMs":397.5"#);
        script.batch(9_000, &[report(702, "a", &metrics)]);
        let points = script.cold_start();
        let value = points.iter().find_map(|point| {
            let rest = point.strip_prefix("billed_init_duration")?;
            Some(rest.split_once("}=")?.1)
        });
        assert_eq!(value, expected, "{billed}");
    }
}

/// The time in which an environment was busy, which its end tells.
#[test]
fn invocations_without_a_report_are_busy_time_too() {
    let busy = |script: &mut Script, ms: u64| {
        let end = script
            .shutdown(ms, "spindown")
            .account
            .take_interval(at(ms));
        let properties = properties(&end.unwrap());
        let busy = properties
            .iter()
            .find_map(|property| property.strip_prefix("busy_ms="));
        busy.unwrap().to_owned()
    };
    let mut script = Script::new(InitType::OnDemand);
    script.invoke(481, "a");
    script.batch(700, &[runtime_done(690, "a", 200.5)]);
    assert_eq!(busy(&mut script, 4_000), "200.5");
    // The oldest of too many is given up.
    let mut script = Script::new(InitType::ManagedInstances);
    script.batch(700, &[runtime_done(690, "a", 200.5)]);
    for id in 0..IN_FLIGHT_MAX {
        script.batch(3_000, &[start(2_500, &format!("new-{id}"))]);
    }
    assert_eq!(busy(&mut script, 4_000), "200.5");
}

/// The phase that took place is not measured by a report of the other one.
#[test]
fn a_report_of_another_phase_measures_nothing() {
    let other = r#""status":"success","metrics":{"durationMs":9.0}"#;
    let mut script = Script::new(InitType::SnapStart);
    script.account.handle_restore(at(60_500));
    script.invoke(60_505, "a");
    let first = report(
        60_900,
        "a",
        r#""durationMs":147.0,"restoreDurationMs":437.5"#,
    );
    script.batch(60_901, &[record(401, "initReport", other), first]);
    let restored = script.cold_start();
    assert!(restored[2].ends_with("}=437.5"), "{restored:?}");
    // Anybody can send one.
    let mut script = Script::new(InitType::OnDemand);
    script.batch(
        470,
        &[
            init_start(64, "on-demand", "init"),
            record(462, "restoreReport", other),
        ],
    );
    script.invoke(481, "a");
    script.batch(
        900,
        &[report(890, "a", r#""durationMs":9,"initDurationMs":300"#)],
    );
    let started = script.cold_start();
    assert!(started[2].ends_with("}=300"), "{started:?}");
}

#[test]
fn a_restore_without_a_time_is_one() {
    let start = r#"{"type":"platform.restoreStart","record":{"instanceId":"i-9"}}"#.to_owned();
    let mut script = Script::new(InitType::SnapStart);
    script.batch(600, slice::from_ref(&start));
    assert!(script.account.take_restored());
    // The event of the first invocation told it, and the record says where it is.
    let mut script = Script::new(InitType::SnapStart);
    script.invoke(600, "a").batch(601, &[start]);
    assert_eq!(script.account.resource.instance_id, "i-9");
}

#[test]
fn the_next_process_follows_a_lack_of_memory() {
    let metrics = r#""requestId":"a","status":"error","errorType":"Runtime.OutOfMemory""#;
    let mut script = Script::new(InitType::OnDemand);
    script
        .invoke(481, "a")
        .batch(900, &[record(890, "report", metrics)]);
    let note = script.account.note_for_successor("failure");
    assert_eq!(note, Some(Predecessor::OutOfMemory));
    assert_eq!(
        script.account.note_for_successor("timeout"),
        Some(Predecessor::Timeout)
    );
}

#[test]
fn points_that_have_no_room_are_counted() {
    let mut series = Series::default();
    for number in 0..POINTS_MAX + 3 {
        series.count(&m::ERRORS, &[("error_type", &number.to_string())]);
    }
    let points = series.take();
    assert_eq!(points.len(), POINTS_MAX + 1);
    let dropped = points.last().unwrap();
    assert_eq!(
        (dropped.metric.name, &*dropped.values),
        ("dropped_values", &[3.0][..])
    );
}

/// The spans of the start that was told, each with its parent and its time in milliseconds past
/// ten. Every one lies within its parent, and comes behind it.
fn spans(script: &Script) -> Vec<String> {
    let spans = script.account.trace().spans;
    let ms = |ns: u64| float(ns - TEN * 1_000_000) / 1e6;
    let mut shown = Vec::new();
    for (place, span) in spans.iter().enumerate() {
        let parent = spans[span.parent];
        assert!(parent.start_ns <= span.start_ns && span.end_ns <= parent.end_ns);
        assert!(span.start_ns <= span.end_ns);
        assert!(span.parent < place || place == 0);
        let (start, end) = (ms(span.start_ns), ms(span.end_ns));
        shown.push(format!("{} < {}: {start}-{end}", span.name, parent.name));
    }
    shown
}

fn traced_start(ms: u64, id: &str) -> String {
    let header = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
    let members = format!(r#""requestId":"{id}","tracing":{{"value":"{header}"}}"#);
    record(ms, "start", &members)
}

#[test]
fn an_on_demand_start_is_traced_with_its_parts() {
    let mut script = Script::new(InitType::OnDemand);
    script.account.handle_start(4.5, 6.25);
    let spans_of_end = r#""spans":[{"name":"responseLatency","durationMs":150.5},{"name":"responseDuration","durationMs":40},{"name":"runtimeOverhead","durationMs":20}]"#;
    let done = format!(
        r#""requestId":"a","status":"success","metrics":{{"durationMs":200.5}},{spans_of_end}"#
    );
    script.invoke(481, "a").batch(
        700,
        &[
            init_start(64, "on-demand", "init"),
            init_runtime_done(401),
            init_report(462, 397.68),
            traced_start(470, "a"),
            record(690, "runtimeDone", &done),
            report(702, "a", r#""durationMs":210.2"#),
        ],
    );
    let expected = [
        "environment start < environment start: 64-670.5",
        "init < environment start: 64-461.68",
        "init before runtime < init: 64-104",
        "init runtime < init: 104-401",
        "init extensions < init: 401-461",
        "first invocation < environment start: 470-670.5",
        "response latency < first invocation: 470-620.5",
        "response < first invocation: 620.5-660.5",
        // Cut to the invocation.
        "runtime overhead < first invocation: 660.5-670.5",
    ];
    assert_eq!(spans(&script), expected);
    let trace = script.account.trace();
    assert!(trace.is_cold_start);
    assert_eq!(trace.parent.unwrap().is_sampled, Some(true));
}

#[test]
fn a_part_that_took_no_time_has_no_span() {
    let done = r#""requestId":"a","status":"success","metrics":{"durationMs":9},"spans":[{"name":"responseLatency","durationMs":0},{"name":"responseDuration","durationMs":5}]"#;
    let mut script = Script::new(InitType::OnDemand);
    let init = [init_start(64, "on-demand", "init"), init_report(462, 397.0)];
    script.batch(470, &init).invoke(481, "a");
    let records = [
        traced_start(470, "a"),
        record(690, "runtimeDone", done),
        report(702, "a", r#""durationMs":10"#),
    ];
    script.batch(703, &records);
    let spans = spans(&script);
    let has = |name: &str| spans.iter().any(|span| span.starts_with(name));
    assert!(
        has("response < ") && !has("response latency < "),
        "{spans:?}"
    );
}

#[test]
fn an_init_in_an_invocation_is_traced_before_what_is_served() {
    let mut script = Script::new(InitType::OnDemand);
    script.invoke(60, "a");
    script
        .batch(
            90,
            &[traced_start(50, "a"), init_start(64, "on-demand", "invoke")],
        )
        .batch(
            500,
            &init_end(
                401,
                "on-demand",
                "invoke",
                r#""status":"success","metrics":{"durationMs":390.0}"#,
            ),
        )
        .batch(600, &[report(570, "a", r#""durationMs":520.0"#)]);
    let expected = [
        "environment start < environment start: 50-584",
        "init < environment start: 64-454",
        "init extensions < init: 401-454",
        "first invocation < environment start: 454-584",
    ];
    assert_eq!(spans(&script), expected);
    assert!(script.account.trace().is_cold_start);
}

#[test]
fn a_restore_is_traced_without_the_init_of_the_snapshot() {
    let mut script = Script::new(InitType::SnapStart);
    script
        .batch(90, &[init_start(64, "snap-start", "init")])
        .batch(990, &init_end(900, "snap-start", "init", SNAPSHOT));
    script.cold_starts.clear();
    let end = |kind| {
        record(
            5_300,
            kind,
            r#""status":"success","metrics":{"durationMs":290.5}"#,
        )
    };
    script.invoke(5_310, "a").batch(
        5_400,
        &[
            record(5_000, "restoreStart", r#""runtimeVersion":"r:1""#),
            record(5_200, "restoreRuntimeDone", r#""status":"success""#),
            end("restoreReport"),
            traced_start(5_301, "a"),
            runtime_done(5_350, "a", 40.0),
            report(5_351, "a", r#""durationMs":41"#),
        ],
    );
    let expected = [
        "environment start < environment start: 5000-5341",
        "restore < environment start: 5000-5290.5",
        "restore runtime < restore: 5000-5200",
        "first invocation < environment start: 5301-5341",
    ];
    assert_eq!(spans(&script), expected);
    assert!(script.account.trace().is_cold_start);
}

#[test]
fn a_start_that_nobody_waited_for_has_a_trace_of_its_own() {
    let mut script = Script::new(InitType::OnDemand);
    script
        .batch(
            500,
            &[init_start(64, "on-demand", "init"), init_report(462, 397.0)],
        )
        .invoke(60_000, "a")
        .batch(
            60_200,
            &[
                traced_start(60_000, "a"),
                report(60_100, "a", r#""durationMs":9"#),
            ],
        );
    let expected = [
        "environment start < environment start: 64-461",
        "init < environment start: 64-461",
    ];
    assert_eq!(spans(&script), expected);
    let trace = script.account.trace();
    assert!(!trace.is_cold_start);
    assert_eq!(trace.parent, None);

    let mut script = Script::new(InitType::ProvisionedConcurrency);
    let kind = "provisioned-concurrency";
    let ended = init_end(
        401,
        kind,
        "init",
        r#""status":"success","metrics":{"durationMs":397}"#,
    );
    script
        .batch(480, &[init_start(64, kind, "init")])
        .batch(490, &ended);
    assert!(!script.account.trace().is_cold_start);
    assert_eq!(spans(&script)[..2], expected.map(str::to_owned));
}

#[test]
fn a_failed_init_is_traced() {
    let mut script = Script::new(InitType::OnDemand);
    let failed = r#""status":"error","errorType":"Runtime.ExitError","metrics":{"durationMs":397}"#;
    script
        .batch(90, &[init_start(64, "on-demand", "init")])
        .batch(500, &init_end(401, "on-demand", "init", failed));
    assert_eq!(spans(&script).len(), 3);
    assert!(!script.account.trace().is_cold_start);
}

#[test]
fn stamps_at_both_ends_of_time_make_no_nonsense() {
    for time in ["1970-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z"] {
        let mut script = Script::new(InitType::OnDemand);
        let of = |kind: &str, members: &str| {
            format!(r#"{{"time":"{time}","type":"platform.{kind}","record":{{{members}}}}}"#)
        };
        let metrics = r#""durationMs":9e15"#;
        script.invoke(481, "a").batch(
            700,
            &[
                of("initStart", ""),
                of("initReport", &format!(r#""metrics":{{{metrics}}}"#)),
                of("start", r#""requestId":"a""#),
                of(
                    "runtimeDone",
                    &format!(r#""requestId":"a","metrics":{{{metrics}}}"#),
                ),
                report(702, "a", metrics),
            ],
        );
        let spans = script.account.trace().spans;
        for span in &spans {
            let parent = spans[span.parent];
            assert!(parent.start_ns <= span.start_ns && span.start_ns <= span.end_ns);
            assert!(span.end_ns <= parent.end_ns, "{spans:?}");
        }
    }
}

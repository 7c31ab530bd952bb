//! What EMF costs: the table of `docs/extension.md`, made of the lines that the encoder writes.
//!
//! `cargo test -p bantam --lib cost -- --nocapture` prints it.
#![expect(clippy::cast_precision_loss, reason = "the counts are far below 2^53")]

use std::fmt::Write as _;
use std::time::Duration;

use super::account::Accounting;
use super::export::emf::{self, Chosen, Emf};
use super::metric::catalogue::ALL;
use super::metric::{Batch, Resource, Subject};
use super::own_usage::OwnUsage;
use super::settings::{EMF_METRICS, InitType};
use super::telemetry;
use crate::shared::time::EpochMs;

/// The lines of one environment, from its start to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Life {
    lines: u64,
    bytes: u64,
}

/// 2026-08-20T10:00:00Z
const START_MS: u64 = 1_787_220_000_000;

/// The invocations of an environment, in intervals of a minute each.
const INTERVALS: u64 = 10;
const INVOCATIONS_OF_INTERVAL: u64 = 10;

const DAYS_OF_MONTH: u64 = 30;

/// USD for the use of a custom metric for a month, by the number of metrics from which on the price
/// holds.
const METRIC_PRICES: [(u64, f64); 3] = [(0, 0.30), (10_000, 0.10), (250_000, 0.05)];

/// USD for a GB of logs.
const LOG_PRICE: f64 = 0.50;

/// Lambda Insights: metrics of a function (eight, each in two dimension sets), and bytes of a line,
/// of which each invocation has one.
const INSIGHTS_METRICS: u64 = 16;
const INSIGHTS_BYTES: u64 = 1_000;

/// USD for a function and month at a vendor.
const VENDOR_PRICE: f64 = 5.0;

fn at(ms: u64) -> EpochMs {
    EpochMs(START_MS + ms)
}

fn record(ms: u64, kind: &str, members: &str) -> String {
    let time = at(ms).to_rfc3339();
    format!(r#"{{"time":"{time}","type":"platform.{kind}","record":{{{members}}}}}"#)
}

/// The id of the request with this number.
fn request(number: u64) -> String {
    format!("6d68ca91-49c9-448d-89b8-{number:012}")
}

/// The records of an invocation that begins at `ms`, the first with the init before it.
fn invocation(ms: u64, number: u64) -> String {
    let id = request(number);
    let trace = r#""tracing":{"type":"X-Amzn-Trace-Id","value":"Root=1-62e900b2-710d76f009d6e7785905449a;Parent=0efbd19962d95b05;Sampled=1"}"#;
    let init = match number {
        0 => r#","initDurationMs":397.68"#,
        _ => "",
    };
    [
        record(ms, "start", &format!(r#""requestId":"{id}","version":"12",{trace}"#)),
        record(
            ms + 93,
            "runtimeDone",
            &format!(
                r#""requestId":"{id}","status":"success","metrics":{{"durationMs":92.056,"producedBytes":5012}},"spans":[{{"name":"responseLatency","durationMs":90.677}},{{"name":"responseDuration","durationMs":0.135}},{{"name":"runtimeOverhead","durationMs":0.211}}],{trace}"#
            ),
        ),
        record(
            ms + 95,
            "report",
            &format!(
                r#""requestId":"{id}","status":"success","metrics":{{"durationMs":93.92,"billedDurationMs":492,"memorySizeMB":512,"maxMemoryUsedMB":84{init}}},"spans":[{{"name":"extensionOverhead","durationMs":0.412}}],{trace}"#
            ),
        ),
    ]
    .join(",")
}

/// The records of an init.
fn init() -> String {
    let both = r#""initializationType":"on-demand","phase":"init""#;
    [
        record(
            0,
            "initStart",
            &format!(
                r#"{both},"runtimeVersion":"nodejs:22.v45","functionName":"checkout-orders","functionVersion":"12","instanceId":"2026/08/20/[12]82561ce053dd47d190e0c8f5e063e62e","instanceMaxMemory":536870912"#
            ),
        ),
        record(337, "initRuntimeDone", &format!(r#"{both},"status":"success""#)),
        record(
            398,
            "initReport",
            &format!(r#"{both},"status":"success","metrics":{{"durationMs":397.68}}"#),
        ),
    ]
    .join(",")
}

/// An environment from its start to its end, and what is written of it.
fn life(metrics: Chosen) -> Life {
    let settings = Emf {
        namespace: "Bantam".to_owned(),
        dimensions: emf::dimension_sets("function_name;").unwrap(),
        metrics,
        with_ends: false,
    };
    let mut accounting = Accounting::new(InitType::OnDemand, at(11));
    accounting.resource = Resource {
        function_name: "checkout-orders".to_owned(),
        function_version: "12".to_owned(),
        availability_zone: "use1-az1".to_owned(),
        ..Resource::default()
    };
    accounting.handle_start(1.214, 2.402);
    let mut life = Life::default();
    let mut write = |resource: &Resource, batch: Option<Batch>, now: EpochMs| {
        if let Some(batch) = batch {
            emf::lines(resource, &batch, &settings, now, &mut |line| {
                life.lines += 1;
                life.bytes += line.len() as u64;
            });
        }
    };
    for interval in 0..INTERVALS {
        for place in 0..INVOCATIONS_OF_INTERVAL {
            let number = interval * INVOCATIONS_OF_INTERVAL + place;
            let began = 400 + interval * 60_000 + place * 5_000;
            accounting.handle_invoke(&request(number), None, at(began));
            let init = if number == 0 {
                init() + ","
            } else {
                String::new()
            };
            let batch = format!("[{init}{}]", invocation(began, number));
            for record in telemetry::records(&batch).unwrap() {
                accounting.handle_record(&record.unwrap(), at(began + 100));
            }
            let start = accounting.take_cold_start(at(began + 100));
            write(&accounting.resource, start, at(began + 100));
        }
        if interval + 1 == INTERVALS {
            accounting.handle_shutdown("spindown", at((interval + 1) * 60_000));
        }
        accounting.handle_own_usage(OwnUsage {
            cpu_time: Duration::from_micros((interval + 1) * 1_500),
            peak_memory_bytes: Some(1_400_000),
        });
        let now = at((interval + 1) * 60_000);
        let batch = accounting.take_interval(now);
        write(&accounting.resource, batch, now);
    }
    life
}

/// USD for so many metrics and bytes of a month.
fn price(metrics: u64, bytes: u64) -> f64 {
    let mut usd = bytes as f64 / 1e9 * LOG_PRICE;
    for (place, (from, price)) in METRIC_PRICES.iter().enumerate() {
        let to = METRIC_PRICES.get(place + 1).map_or(u64::MAX, |(to, _)| *to);
        usd += (metrics.min(to).saturating_sub(*from)) as f64 * price;
    }
    usd
}

fn table() -> String {
    let usual: Vec<&'static str> = EMF_METRICS.split(',').collect();
    let all = ALL
        .iter()
        .filter(|metric| metric.subject != Subject::System);
    let kinds = [
        (usual.len() as u64, life(Chosen::Named(usual))),
        (all.count() as u64, life(Chosen::All)),
    ];
    let mut table = "| functions | starts a day of each | default: lines, MB, metrics | USD | \
                     `all`: lines, MB, metrics | USD | Lambda Insights: MB, metrics | USD | vendor: USD |\n\
                     |---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for functions in [1, 100, 300] {
        for starts in [1, 100, 10_000] {
            let month = functions * starts * DAYS_OF_MONTH;
            write!(table, "| {functions} | {starts} |").unwrap();
            for (metrics, life) in kinds {
                // Each metric is one for each function and one for all of them.
                let metrics = metrics * (functions + 1);
                let bytes = life.bytes * month;
                let (lines, mb) = (life.lines * month, bytes as f64 / 1e6);
                let usd = price(metrics, bytes);
                write!(table, " {lines}, {mb:.1}, {metrics} | {usd:.2} |").unwrap();
            }
            let bytes = INTERVALS * INVOCATIONS_OF_INTERVAL * INSIGHTS_BYTES * month;
            let (mb, metrics) = (bytes as f64 / 1e6, INSIGHTS_METRICS * functions);
            let usd = price(metrics, bytes);
            let vendor = functions as f64 * VENDOR_PRICE;
            writeln!(table, " {mb:.1}, {metrics} | {usd:.2} | {vendor:.2} |").unwrap();
        }
    }
    table
}

#[test]
fn the_cost_table_is_in_the_documentation() {
    let table = table();
    println!("{table}");
    let page = include_str!("../../docs/extension.md");
    assert!(
        page.contains(&table),
        "docs/extension.md should have:\n{table}"
    );
}

#[test]
fn a_start_is_one_line_of_at_most_1200_bytes() {
    let usual = EMF_METRICS.split(',').collect();
    let life = life(Chosen::Named(usual));
    assert_eq!(life.lines, 1);
    assert!((1_000..=1_200).contains(&life.bytes), "{life:?}");
}

#[test]
fn prices_fall_with_the_number_of_metrics() {
    let table = [
        (0, 0, 0.0),
        (8, 2_000_000_000, 3.4),
        (10_000, 0, 3_000.0),
        (12_000, 0, 3_200.0),
        (250_010, 0, 27_000.5),
    ];
    for (metrics, bytes, expected) in table {
        let usd = price(metrics, bytes);
        assert!((usd - expected).abs() < 1e-6, "{metrics}: {usd}");
    }
}

//! Fuzz targets of the extension: deliveries of telemetry to their figures and exports, answers of
//! the Extensions API, and settings.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cognitive_complexity,
    reason = "a target ends where a promise is broken"
)]

use std::collections::BTreeSet;

use serde_json::Value;
use serde_json::value::RawValue;

use super::account::Accounting;
use super::api::{self, AfterRegister, Event};
use super::deliver::otlp::head;
use super::export::fuzz::check_writers;
pub(crate) use super::export::fuzz::otlp_answer;
use super::metric::{Batch, Kind, Point};
use super::settings::{DatagramReceiver, InitType, Settings, Variables};
use super::telemetry::{Content, Malformed, Record, records};
use crate::shared::endpoint::Endpoint;
use crate::shared::fuzz::{Random, feed, one_request};
use crate::shared::http::{Expect, Limits, Reader};
use crate::shared::metadata;
use crate::shared::time::EpochMs;

/// A delivery of telemetry.
pub(crate) fn telemetry(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Some(found) = records(&text) else {
        assert!(!data.trim_ascii_start().starts_with(b"["));
        return;
    };
    let found: Vec<Result<Record<'_>, Malformed>> = found.collect();
    if let Ok(elements) = serde_json::from_str::<Vec<&RawValue>>(&text) {
        assert_eq!(
            found.len(),
            elements.len(),
            "each element is a record or malformed"
        );
        for (record, element) in found.iter().zip(&elements) {
            check_record(record.as_ref(), element.get());
        }
    }
    let once = figures(data, &found, 1);
    // A restore forgets which invocations are over. No platform restores what was invoked.
    let mut contents = found.iter().flatten().map(|record| &record.content);
    if contents.any(|content| matches!(content, Content::RuntimeDone(_) | Content::Report(_)))
        && contents.any(|content| matches!(content, Content::RestoreStart(_)))
    {
        return;
    }
    // The platform delivers a batch again if the answer to it was lost.
    let again = figures(data, &found, 2);
    for metric in ["invocations", "errors", "timeouts"] {
        assert_eq!(
            sum(&once, metric),
            sum(&again, metric),
            "{metric} of a batch that came twice"
        );
    }
}

/// Holds a record against the element that it was read from.
fn check_record(record: Result<&Record<'_>, &Malformed>, element: &str) {
    let Ok(value) = serde_json::from_str::<Value>(element) else {
        // Half a surrogate pair, or a number that is too large, where nobody looks.
        return;
    };
    let kind = value.get("type").and_then(Value::as_str);
    match (record, kind) {
        (Ok(record), Some(kind)) => assert_eq!(
            type_of(&record.content),
            Some(kind).filter(|kind| is_counted(kind))
        ),
        (Ok(_), None) => panic!("a record without a type"),
        (Err(Malformed), _) => {}
    }
    if let (Ok(record), Some(EpochMs(ms))) = (record, time_of(&value)) {
        assert_eq!(record.time, Some(EpochMs(ms)));
    }
    // Without a member twice, nothing but its own form makes it malformed.
    let whole = format!("[{value}]");
    let canonical: Vec<_> = records(&whole).unwrap().collect();
    let [canonical] = &*canonical else {
        panic!("one record");
    };
    let is_record = kind.is_some_and(|kind| !is_counted(kind) || value["record"].is_object());
    assert_eq!(canonical.is_ok(), is_record, "{value}");
}

fn time_of(value: &Value) -> Option<EpochMs> {
    EpochMs::parse_rfc3339(value.get("time")?.as_str()?.as_bytes())
}

fn is_counted(kind: &str) -> bool {
    COUNTED.contains(&kind)
}

const COUNTED: [&str; 10] = [
    "platform.initStart",
    "platform.initRuntimeDone",
    "platform.initReport",
    "platform.restoreStart",
    "platform.restoreRuntimeDone",
    "platform.restoreReport",
    "platform.start",
    "platform.runtimeDone",
    "platform.report",
    "platform.logsDropped",
];

/// The type of a record that is counted.
const fn type_of(content: &Content<'_>) -> Option<&'static str> {
    Some(match content {
        Content::InitStart(_) => "platform.initStart",
        Content::InitRuntimeDone(_) => "platform.initRuntimeDone",
        Content::InitReport(_) => "platform.initReport",
        Content::RestoreStart(_) => "platform.restoreStart",
        Content::RestoreRuntimeDone(_) => "platform.restoreRuntimeDone",
        Content::RestoreReport(_) => "platform.restoreReport",
        Content::Start(_) => "platform.start",
        Content::RuntimeDone(_) => "platform.runtimeDone",
        Content::Report(_) => "platform.report",
        Content::LogsDropped(_) => "platform.logsDropped",
        Content::Fault(_) | Content::Ignored | Content::Unknown => return None,
    })
}

/// The figures of the life of an environment in which the records come so many times.
fn figures(data: &[u8], found: &[Result<Record<'_>, Malformed>], times: u64) -> Vec<Point> {
    let mut random = Random::of(data);
    let init_type = [
        InitType::OnDemand,
        InitType::ProvisionedConcurrency,
        InitType::SnapStart,
        InitType::ManagedInstances,
        InitType::Other,
    ][random.below(5)];
    let mut accounting = Accounting::new(init_type, NOW);
    accounting.resource.function_name = "f".to_owned();
    let mut ids = BTreeSet::new();
    if init_type != InitType::ManagedInstances {
        ids.insert("id");
        accounting.handle_invoke("id", None, NOW);
    }
    let mut batches = Vec::new();
    let mut take = |accounting: &mut Accounting| {
        if let Some(batch) = accounting.take_cold_start(NOW) {
            check_writers(&accounting.resource, &batch, Some(&accounting.trace()));
            batches.push(batch);
        }
    };
    for _ in 0..times {
        for record in found {
            if let Ok(Content::RuntimeDone(end) | Content::Report(end)) =
                record.as_ref().map(|record| &record.content)
            {
                ids.extend(end.request_id.as_deref());
            }
            if let Ok(Content::Start(start)) = record.as_ref().map(|record| &record.content) {
                ids.extend(start.request_id.as_deref());
            }
            if let Ok(Content::Fault(fault)) = record.as_ref().map(|record| &record.content) {
                ids.extend(fault.killed_request_id());
            }
            match record {
                Ok(record) => accounting.handle_record(record, NOW),
                Err(Malformed) => accounting.handle_malformed_record(),
            }
            take(&mut accounting);
        }
    }
    accounting.handle_shutdown("spindown", EpochMs(NOW.0 + 1));
    take(&mut accounting);
    assert!(
        accounting.take_cold_start(NOW).is_none(),
        "a start is told once"
    );
    let interval = accounting.take_interval(NOW).unwrap();
    check_writers(&accounting.resource, &interval, None);
    check_counts(&interval, found, times, ids.len());
    batches.push(interval);
    batches.iter().for_each(check_batch);
    batches.into_iter().flat_map(|batch| batch.points).collect()
}

const NOW: EpochMs = EpochMs(1_781_009_600_000);

/// What came is what was counted, as long as there was room for it.
fn check_counts(batch: &Batch, found: &[Result<Record<'_>, Malformed>], times: u64, ids: usize) {
    let points = &batch.points;
    // A restore forgets what came before.
    let is_restored = found
        .iter()
        .flatten()
        .any(|record| matches!(record.content, Content::RestoreStart(_)));
    if is_restored || sum(points, "dropped_values") != 0.0 {
        return;
    }
    let count = |is: &dyn Fn(&Result<Record<'_>, Malformed>) -> bool| {
        let found = found.iter().filter(|record| is(record)).count() as u64;
        (found * times) as f64
    };
    let malformed = count(&|record| record.is_err());
    assert_eq!(sum(points, "malformed_records"), malformed);
    let unknown = count(&|record| {
        record
            .as_ref()
            .is_ok_and(|record| record.content == Content::Unknown)
    });
    assert_eq!(sum(points, "unknown_records"), unknown);
    // A failure after a success is counted too.
    for ends in [
        &["invocations", "invocations_unknown"][..],
        &["errors", "timeouts", "invocations_unknown"],
    ] {
        let counted: f64 = ends.iter().map(|metric| sum(points, metric)).sum();
        assert!(
            counted <= ids as f64,
            "{ends:?}: {counted} of {ids} requests"
        );
    }
}

fn sum(points: &[Point], metric: &str) -> f64 {
    let named = points.iter().filter(|point| point.metric.name == metric);
    named.flat_map(|point| &point.values).sum()
}

/// A batch is bounded, and has values that every exporter can write.
fn check_batch(batch: &Batch) {
    assert!(batch.points.len() <= 129, "{} points", batch.points.len());
    assert!(batch.start_ms <= batch.end_ms);
    for point in &batch.points {
        let values = &point.values;
        assert!((1..=1_100).contains(&values.len()));
        assert!(values.len() == 1 || point.metric.kind == Kind::Distribution);
        assert!(
            values
                .iter()
                .all(|value| (0.0..=9_007_199_254_740_992.0).contains(value))
        );
        assert!(point.attributes.iter().all(|(_, value)| value.len() <= 256));
        assert!(point.attributes.is_sorted());
    }
}

/// An answer to `register` and to `event/next`, and of the metadata endpoint.
pub(crate) fn extension_api(data: &[u8]) {
    let mut answer = Reader::new(Expect::Response, Limits::of_body(4_096));
    if feed(&mut answer, data).is_none() {
        return;
    }
    let endpoint = Endpoint::parse("127.0.0.1:9001", &|_| None).unwrap();
    if let AfterRegister::Registered(registered) = api::after_register(&answer, true) {
        let identifier = &registered.identifier;
        let given = answer.head().field("Lambda-Extension-Identifier");
        assert_eq!(given, Some(identifier.as_bytes()));
        for request in [
            api::next(&endpoint, identifier),
            api::subscribe(
                &endpoint,
                identifier,
                "2022-12-13",
                api::buffering(true),
                &api::Destination::default(),
            ),
        ] {
            let bytes = request.outgoing().pending().unwrap().concat();
            let read = one_request(&bytes);
            let sent = read.head().field("Lambda-Extension-Identifier").unwrap();
            assert_eq!(sent, identifier.as_bytes());
        }
    }
    let value = serde_json::from_slice::<Value>(answer.body()).unwrap_or_default();
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    match api::event(&answer) {
        Ok(_) if value.is_null() => {}
        Ok(Event::Invoke {
            request_id,
            deadline,
            function_arn,
        }) => {
            assert_eq!(answer.status(), Some(200));
            assert_eq!(text("eventType"), Some("INVOKE"));
            assert_eq!(text("requestId"), Some(&*request_id));
            assert_eq!(text("invokedFunctionArn"), function_arn.as_deref());
            assert!(deadline.is_none_or(|deadline| deadline.0.0 != 0));
        }
        Ok(Event::Shutdown { reason, .. }) => {
            assert_eq!(text("eventType"), Some("SHUTDOWN"));
            let expected = text("shutdownReason").unwrap_or_default();
            assert_eq!(reason, expected.to_ascii_lowercase());
        }
        Err(_) => {
            let is_event = answer.status() == Some(200)
                && (text("eventType") == Some("SHUTDOWN")
                    || text("eventType") == Some("INVOKE") && text("requestId").is_some());
            // A member twice is malformed, and not to be seen here.
            let again = serde_json::to_string(&value).unwrap();
            let is_simple = again.len() == answer.body().len();
            assert!(!is_event || !is_simple, "{again}");
        }
    }
    if let Ok(zone) = metadata::zone(&answer)
        && !value.is_null()
    {
        assert_eq!(text("AvailabilityZoneID"), Some(&*zone));
    }
}

/// The variables of the extension, `NAME=VALUE` on each line.
pub(crate) fn extension_settings(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let pairs = text.split('\n').filter_map(|line| line.split_once('='));
    let pairs: Vec<(String, String)> = pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let owned: Vec<_> = pairs
        .iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    let settings = Settings::read(&Variables::of(&owned));
    assert!(settings.port != 0 && settings.port != 9_001);
    assert!(settings.interval_ms <= 86_400_000);
    let exporters = &settings.exporters;
    let otlp = exporters.otlp.as_ref();
    let metrics = otlp.and_then(|otlp| otlp.metrics.as_ref());
    let traces = otlp
        .and_then(|otlp| otlp.traces.as_ref())
        .map(|(_, receiver)| receiver);
    for receiver in metrics.into_iter().chain(traces) {
        assert_ne!(receiver.timeout_ms, 0);
        // The settings make one request, and none of its fields is another one.
        let bytes = [&*head(receiver, 4), b"body"].concat();
        let read = one_request_of(&bytes, receiver.headers.len());
        if let Some(read) = read {
            assert_eq!(read.head().target(), receiver.target.as_bytes());
            assert_eq!(
                read.head().field("Host"),
                Some(receiver.authority.as_bytes())
            );
            assert_eq!(read.head().fields().count(), receiver.headers.len() + 4);
            assert_eq!(read.body(), b"body");
        }
    }
    if let Some(dogstatsd) = &exporters.dogstatsd {
        match &dogstatsd.to {
            DatagramReceiver::Udp(address) => assert_ne!(address.port(), 0),
            DatagramReceiver::Unix(path) => assert!(path.starts_with('/')),
        }
    }
    // Whatever the settings, a batch is written as its format has it.
    super::export::fuzz::check_with(exporters, &settings.resource);
}

/// Reads the request if it has as many fields, and as long a head, as our reader takes.
fn one_request_of(bytes: &[u8], headers: usize) -> Option<Reader> {
    (headers < 60 && bytes.len() < 32 * 1_024).then(|| one_request(bytes))
}

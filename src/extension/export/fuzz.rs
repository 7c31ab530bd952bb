//! What all writers make of a batch, against the rules of their formats, and the fuzz target of the
//! answers of OTLP receivers.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cognitive_complexity,
    reason = "a target ends where a promise is broken"
)]

use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{metric, number_data_point};
use prost::Message as _;
use serde_json::Value;

use super::dogstatsd::{self, UDP_BYTES_MAX};
use super::emf::{self, Chosen, Emf};
use super::emf_check::check;
use super::ndjson;
use super::otlp::response::rejected_points;
use super::otlp::retry::{Verdict, verdict};
use super::otlp::{self, traces};
use crate::extension::metric::{Batch, Kind, Point, Resource, Subject};
use crate::extension::settings::Exporters;
use crate::extension::trace::Trace;
use crate::shared::backoff::Jitter;
use crate::shared::time::EpochMs;

const NOW: EpochMs = EpochMs(1_781_009_600_000);

/// Writes a batch in every format, and reads it again.
pub(in crate::extension) fn check_writers(
    resource: &Resource,
    batch: &Batch,
    trace: Option<&Trace>,
) {
    let emf = Emf {
        namespace: "Bantam".to_owned(),
        dimensions: emf::dimension_sets("function_name;function_name,cold_start_kind,error_type;")
            .unwrap(),
        metrics: Chosen::All,
        with_ends: true,
    };
    check_points(batch);
    check_emf(resource, batch, &emf);
    check_ndjson(resource, batch);
    check_dogstatsd(resource, &[], batch, UDP_BYTES_MAX);
    check_metrics(resource, &[], batch);
    if let Some(trace) = trace {
        check_trace(resource, batch, trace);
    }
}

/// What the writers rely on.
fn check_points(batch: &Batch) {
    for (at, point) in batch.points.iter().enumerate() {
        let (metric, values) = (point.metric, &point.values);
        assert!(!values.is_empty() && values.iter().all(|value| value.is_finite()));
        assert!(values.len() == 1 || metric.kind == Kind::Distribution);
        let same = |other: &Point| other.metric == metric && other.attributes == point.attributes;
        assert!(
            !batch.points.iter().take(at).any(same),
            "{} twice",
            metric.name
        );
    }
}

/// Writes a batch as settings say.
pub(in crate::extension) fn check_with(exporters: &Exporters, resource: &Resource) {
    let batch = super::samples::batch();
    if let Some(emf) = &exporters.emf {
        check_emf(resource, &batch, emf);
    }
    if let Some(otlp) = &exporters.otlp {
        check_metrics(resource, &otlp.attributes, &batch);
    }
    if let Some(dogstatsd) = &exporters.dogstatsd {
        check_dogstatsd(resource, &dogstatsd.tags, &batch, UDP_BYTES_MAX);
    }
}

/// The number of values of a metric.
fn values_of(batch: &Batch, name: &str) -> usize {
    let of = batch
        .points
        .iter()
        .filter(|point| point.metric.name == name);
    of.map(|point| point.values.len()).sum()
}

fn check_emf(resource: &Resource, batch: &Batch, emf: &Emf) {
    let mut written: Vec<(String, usize)> = Vec::new();
    emf::lines(resource, batch, emf, NOW, &mut |line| {
        let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
        assert_eq!(line.iter().position(is_end), Some(line.len() - 1));
        let value: Value = serde_json::from_slice(line).unwrap();
        if value.get("_aws").is_none() {
            assert_ne!(emf.metrics, Chosen::All);
            return;
        }
        for (name, (_, values)) in check(line, NOW.0).metrics {
            written.push((name, values.len()));
        }
    });
    if emf.metrics == Chosen::All {
        for point in &batch.points {
            let name = point.metric.name;
            let found = written.iter().filter(|(other, _)| other == name);
            let found: usize = found.map(|(_, count)| count).sum();
            let is_written = point.metric.subject != Subject::End || emf.with_ends;
            let expected = if is_written {
                values_of(batch, name)
            } else {
                0
            };
            assert_eq!(found, expected, "values of {name}");
        }
    }
}

fn check_ndjson(resource: &Resource, batch: &Batch) {
    let mut line = Vec::new();
    ndjson::line(resource, batch, &mut line);
    if batch.points.is_empty() {
        return assert!(line.is_empty());
    }
    let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
    assert_eq!(line.iter().position(is_end), Some(line.len() - 1));
    let value: Value = serde_json::from_slice(&line).unwrap();
    let points = value["points"].as_array().unwrap();
    assert_eq!(points.len(), batch.points.len());
    for (written, point) in points.iter().zip(&batch.points) {
        assert_eq!(written["name"], point.metric.name);
        for (name, value) in &point.attributes {
            assert_eq!(written["attributes"][name], *value);
        }
        let values = written["values"].as_array().unwrap();
        assert_eq!(values.len(), point.values.len());
        for (written, value) in values.iter().zip(&point.values) {
            let written = written.as_f64().unwrap();
            assert!(
                (written - value).abs() <= 0.000_501 + value * 1e-15,
                "{written} {value}"
            );
        }
    }
}

fn check_dogstatsd(
    resource: &Resource,
    tags: &[(String, String)],
    batch: &Batch,
    bytes_max: usize,
) {
    let mut count = 0;
    dogstatsd::datagrams(resource, tags, batch, bytes_max, &mut |datagram| {
        assert!((1..=bytes_max).contains(&datagram.len()));
        for line in std::str::from_utf8(datagram).unwrap().split('\n') {
            let mut parts = line.split('|');
            let mut values = parts.next().unwrap().split(':');
            let name = values.next().unwrap().strip_prefix("bantam.").unwrap();
            assert!(
                name.bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
            );
            for value in values {
                assert!(value.parse::<f64>().unwrap().is_finite());
                count += 1;
            }
            assert!(["c", "d", "g"].contains(&parts.next().unwrap()));
            let tags = parts.next().unwrap().strip_prefix('#').unwrap();
            for tag in tags.split(',') {
                let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"_-:./".contains(&byte);
                assert!(
                    (1..=200).contains(&tag.len()) && tag.bytes().all(is_part),
                    "{tag}"
                );
            }
            assert_eq!(parts.next(), None);
        }
    });
    let expected = batch.points.iter().map(|point| point.values.len());
    assert_eq!(count, expected.sum::<usize>());
}

fn check_metrics(resource: &Resource, attributes: &[(String, String)], batch: &Batch) {
    let Some(body) = otlp::encode(resource, attributes, batch) else {
        return assert!(batch.points.is_empty());
    };
    let request = ExportMetricsServiceRequest::decode(&*body).unwrap();
    let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
    let mut count = 0;
    for metric in metrics {
        let points = batch.points.iter();
        let of = points.filter(|point| point.metric.otlp_name == metric.name);
        let expected: Vec<_> = of.collect();
        let found = match metric.data.as_ref().unwrap() {
            metric::Data::Gauge(gauge) => gauge.data_points.len(),
            metric::Data::Sum(sum) => {
                assert!(sum.is_monotonic);
                for point in &sum.data_points {
                    match point.value.unwrap() {
                        number_data_point::Value::AsInt(value) => assert!(0 <= value),
                        number_data_point::Value::AsDouble(value) => assert!(0.0 <= value),
                    }
                }
                sum.data_points.len()
            }
            metric::Data::Histogram(histogram) => {
                for (point, of) in histogram.data_points.iter().zip(&expected) {
                    assert_eq!(point.count, of.values.len() as u64);
                    assert_eq!(point.bucket_counts.iter().sum::<u64>(), point.count);
                    assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
                    assert!(point.sum.unwrap().is_finite());
                    assert!(point.min.unwrap() <= point.max.unwrap());
                }
                histogram.data_points.len()
            }
            metric::Data::ExponentialHistogram(_) | metric::Data::Summary(_) => {
                panic!("{} has another form", metric.name)
            }
        };
        assert_eq!(found, expected.len(), "{}", metric.name);
        let kinds = expected.iter().map(|point| point.metric.kind);
        assert!(kinds.is_sorted_by(|one, other| one == other));
        count += found;
    }
    assert_eq!(count, batch.points.len());
}

fn check_trace(resource: &Resource, batch: &Batch, trace: &Trace) {
    let mut ids = Jitter::new(1);
    let id = traces::trace_id(trace, &mut ids);
    assert_ne!(id, [0; 16]);
    let body = traces::encode(resource, &[], batch, trace, id, &mut ids);
    let request = ExportTraceServiceRequest::decode(&*body).unwrap();
    let spans = &request.resource_spans[0].scope_spans[0].spans;
    assert_eq!(spans.len(), trace.spans.len());
    for (span, one) in spans.iter().zip(&trace.spans) {
        let parent = &spans[one.parent];
        assert_eq!((&*span.trace_id, span.span_id.len()), (&id[..], 8));
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
        assert!(parent.start_time_unix_nano <= span.start_time_unix_nano);
        assert!(span.end_time_unix_nano <= parent.end_time_unix_nano);
    }
}

/// The body of an answer of an OTLP receiver, and its field `Retry-After`.
pub(crate) fn otlp_answer(data: &[u8]) {
    let rejected = rejected_points(data);
    assert!(i64::try_from(rejected).is_ok());
    // Of a field that is there twice the first one counts here, and the last one there.
    if let Ok(response) = ExportMetricsServiceResponse::decode(data)
        && response.encoded_len() == data.len()
    {
        let expected = response
            .partial_success
            .map_or(0, |partial| partial.rejected_data_points);
        assert_eq!(i64::try_from(rejected), Ok(expected.max(0)));
    }
    let digits = std::str::from_utf8(data).ok();
    let digits =
        digits.filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()));
    let seconds = digits.map(|digits| digits.parse().unwrap_or(u64::MAX).min(3_600));
    let date = EpochMs::parse_http_date(data);
    let date = date.map(|date| Duration::from_millis(date.0.saturating_sub(NOW.0)));
    let expected = date.map(|after| after.min(Duration::from_secs(3_600)));
    let expected = expected.or_else(|| seconds.map(Duration::from_secs));
    for status in [429, 503] {
        let found = verdict(Some(status), Some(data), NOW);
        assert_eq!(found, Verdict::Retry { after: expected });
    }
}

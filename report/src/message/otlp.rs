//! Metrics of Bantam's extension as a collector's file exporter writes them: OTLP in JSON or in
//! protobuf.
//!
//! The extension exports each start once, so a histogram of a start has one value, which is its
//! sum. A collector that merged several starts leaves only counts: those are no starts.

use std::borrow::Cow;

use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    Metric, MetricsData, ResourceMetrics, number_data_point,
};
use prost::Message as _;

use super::{MessageError, Seen, figure};
use crate::fact::{Counted, Fact, Measured, Sink, Source};

/// The names of OTLP beside the ones of the extension.
const NAMES: [(&str, &str); 16] = [
    ("faas.coldstarts", "cold_starts"),
    ("bantam.environment.starts", "environment_starts"),
    ("faas.init_duration", "init_duration"),
    (
        "bantam.init.before_runtime_duration",
        "init_before_runtime_duration",
    ),
    ("bantam.init.runtime_duration", "init_runtime_duration"),
    (
        "bantam.init.extensions_duration",
        "init_extensions_duration",
    ),
    ("bantam.init.billed_duration", "billed_init_duration"),
    ("bantam.restore.duration", "restore_duration"),
    ("bantam.restore.billed_duration", "billed_restore_duration"),
    (
        "bantam.first_invocation.duration",
        "first_invocation_duration",
    ),
    ("bantam.cold_start.duration", "cold_start_duration"),
    (
        "bantam.extension.register_duration",
        "extension_register_duration",
    ),
    (
        "bantam.extension.ready_duration",
        "extension_ready_duration",
    ),
    ("faas.mem_usage", "memory_used"),
    ("bantam.memory_size", "memory_size"),
    ("bantam.init.failures", "init_failures"),
];

/// The attributes of the resource, beside the texts of a line.
const RESOURCE: [(&str, &str); 4] = [
    ("faas.name", "function_name"),
    ("faas.version", "function_version"),
    ("faas.instance", "instance_id"),
    ("cloud.availability_zone", "availability_zone"),
];

/// Reads a line of JSON.
pub(crate) fn read_json(
    text: &str,
    source: &Source<'_>,
    sink: &mut dyn Sink,
) -> Result<Seen, MessageError> {
    Ok(read(&serde_json::from_str(text)?, source, sink))
}

/// Reads a message of protobuf.
pub(crate) fn read_protobuf(
    bytes: &[u8],
    source: &Source<'_>,
    sink: &mut dyn Sink,
) -> Result<Seen, MessageError> {
    let data = MetricsData::decode(bytes);
    let data = data.map_err(|error| MessageError::Protobuf(error.to_string()))?;
    Ok(read(&data, source, sink))
}

fn read(data: &MetricsData, source: &Source<'_>, sink: &mut dyn Sink) -> Seen {
    let mut seen = Seen::Other;
    for of in &data.resource_metrics {
        if resource(of, source, sink) {
            seen = Seen::Fact;
        }
    }
    seen
}

fn resource(of: &ResourceMetrics, source: &Source<'_>, sink: &mut dyn Sink) -> bool {
    let given = of
        .resource
        .as_ref()
        .map_or(&[][..], |resource| &resource.attributes);
    let texts: Vec<_> = RESOURCE
        .iter()
        .filter_map(|(otlp, name)| Some((Cow::Borrowed(*name), text(given, otlp)?)))
        .collect();
    // A batch processor puts the starts of several environments into one resource only when all of
    // its attributes are the same, and each environment has its own `faas.instance`. The time tells
    // two starts of one environment apart.
    let mut starts: Vec<(u64, Measured<'_>)> = Vec::new();
    let mut counted = Counted::default();
    for metric in of.scope_metrics.iter().flat_map(|scope| &scope.metrics) {
        each_point(
            metric,
            &mut |point| match (metric.name.as_str(), point.kind.is_some()) {
                ("faas.invocations", false) => counted.succeeded += point.count(),
                ("faas.errors" | "faas.timeouts", false) => counted.failed += point.count(),
                (_, true) => start(metric, &point, &texts, &mut starts),
                (_, false) => {}
            },
        );
    }
    let mut any = !starts.is_empty();
    for (_, measured) in starts {
        sink.fact(source, &Fact::Measured(measured));
    }
    if 0 < counted.succeeded + counted.failed {
        let text = |wanted| texts.iter().find(|(name, _)| *name == wanted);
        let text = |wanted| text(wanted).map(|(_, value)| value.clone());
        counted.function = text("function_name");
        counted.version = text("function_version");
        counted.instance = text("instance_id");
        sink.fact(source, &Fact::Counted(counted));
        any = true;
    }
    any
}

/// Keeps a value with the others of the same start.
fn start<'a>(
    metric: &'a Metric,
    point: &Point<'a>,
    texts: &[(Cow<'a, str>, Cow<'a, str>)],
    starts: &mut Vec<(u64, Measured<'a>)>,
) {
    let Some((_, name)) = NAMES.iter().find(|(otlp, _)| *otlp == metric.name) else {
        return;
    };
    let Some(value) = point.value else { return };
    let at = match starts.iter().position(|(time, _)| *time == point.time) {
        Some(at) => at,
        None => {
            let ms = |ns: u64| i64::try_from(ns / 1_000_000).ok();
            let mut texts = texts.to_vec();
            for (name, value) in &point.attributes {
                texts.push((Cow::Borrowed(name), value.clone()));
            }
            starts.push((
                point.time,
                Measured {
                    began_ms: ms(point.began),
                    ended_ms: ms(point.time),
                    numbers: Vec::new(),
                    texts,
                },
            ));
            starts.len() - 1
        }
    };
    let scale = if metric.unit == "s" { 1_000.0 } else { 1.0 };
    if let Some((_, measured)) = starts.get_mut(at) {
        let number = figure(value * scale).map(|number| (Cow::Borrowed(*name), number));
        measured.numbers.extend(number);
    }
}

/// A point of any kind of metric.
struct Point<'a> {
    began: u64,
    time: u64,
    kind: Option<Cow<'a, str>>,
    /// The attributes in Bantam's own namespace, by their names without it.
    attributes: Vec<(&'a str, Cow<'a, str>)>,
    /// The one value; `None` where a histogram has several.
    value: Option<f64>,
}

impl Point<'_> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count is whole and not negative, and one that is too large becomes the largest"
    )]
    fn count(&self) -> u64 {
        self.value.unwrap_or_default() as u64
    }
}

fn each_point<'a>(metric: &'a Metric, each: &mut dyn FnMut(Point<'a>)) {
    let mut give = |began, time, attributes: &'a [KeyValue], value: Option<f64>| {
        let own = attributes.iter().filter_map(|attribute| {
            let name = attribute.key.strip_prefix("bantam.")?;
            Some((name, text(attributes, &attribute.key)?))
        });
        each(Point {
            began,
            time,
            kind: text(attributes, "bantam.cold_start_kind"),
            attributes: own.collect(),
            value: value.and_then(figure),
        });
    };
    let points = match &metric.data {
        Some(Data::Histogram(histogram)) => {
            for point in &histogram.data_points {
                let value = point.sum.filter(|_| point.count == 1);
                give(
                    point.start_time_unix_nano,
                    point.time_unix_nano,
                    &point.attributes,
                    value,
                );
            }
            return;
        }
        Some(Data::Sum(sum)) => &sum.data_points,
        Some(Data::Gauge(gauge)) => &gauge.data_points,
        Some(Data::ExponentialHistogram(_) | Data::Summary(_)) | None => return,
    };
    for point in points {
        let value = point.value.map(|value| match value {
            number_data_point::Value::AsDouble(number) => number,
            #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
            number_data_point::Value::AsInt(number) => number as f64,
        });
        give(
            point.start_time_unix_nano,
            point.time_unix_nano,
            &point.attributes,
            value,
        );
    }
}

fn text<'a>(attributes: &'a [KeyValue], name: &str) -> Option<Cow<'a, str>> {
    let attribute = attributes.iter().find(|attribute| attribute.key == name)?;
    let value = attribute.value.as_ref()?.value.as_ref()?;
    if let any_value::Value::StringValue(text) = value {
        return Some(Cow::Borrowed(text));
    }
    None
}

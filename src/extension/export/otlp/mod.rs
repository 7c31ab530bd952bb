//! OTLP: the export request of a batch, or of a trace, in protobuf.
//!
//! <https://opentelemetry.io/docs/specs/otlp/#otlphttp>, the messages:
//! <https://github.com/open-telemetry/opentelemetry-proto/tree/main/opentelemetry/proto>.
//!
//! Temporality is delta: a function has many environments, and each can end without a word, so a
//! sum since the start of one would be lost or counted twice.
//!
//! Names and units are those of the `FaaS` conventions where they have one,
//! <https://opentelemetry.io/docs/specs/semconv/faas/faas-metrics/>. The attribute `faas.trigger`,
//! which they recommend, is left out: nothing tells an extension what invoked the function.

mod message;
pub(in crate::extension) mod outbox;
pub(in crate::extension) mod response;
pub(in crate::extension) mod retry;
#[cfg(any(feature = "traces", test))]
pub(in crate::extension) mod traces;

use self::message::Message;
use crate::extension::metric::{Batch, Kind, Metric, Point, Resource, Unit};

/// The type of the content of a request.
pub(in crate::extension) const CONTENT_TYPE: &str = "application/x-protobuf";

/// The body of the request that exports `batch`; `None` when it has no values, because empty
/// requests are not to be sent.
///
/// `attributes` are those of `OTEL_RESOURCE_ATTRIBUTES`; they win over what is known otherwise.
pub(in crate::extension) fn encode(
    resource: &Resource,
    attributes: &[(String, String)],
    batch: &Batch,
) -> Option<Vec<u8>> {
    if batch.points.is_empty() {
        return None;
    }
    Some(request(resource, attributes, &mut |out| {
        for (at, first) in batch.points.iter().enumerate() {
            let mut before = batch.points.iter().take(at);
            if before.all(|point| point.metric.name != first.metric.name) {
                out.message(scope_metrics::METRICS, &mut |out| {
                    metric(first.metric, batch, out);
                });
            }
        }
    }))
}

/// A request with what `write` writes into the only scope of the only resource. Messages for
/// metrics and for traces have the same numbers up to there.
fn request(
    resource: &Resource,
    attributes: &[(String, String)],
    write: &mut dyn FnMut(&mut Message),
) -> Vec<u8> {
    let mut out = Message::default();
    out.message(request::RESOURCE_METRICS, &mut |out| {
        out.message(resource_metrics::RESOURCE, &mut |out| {
            resource_attributes(resource, attributes, out);
        });
        out.message(resource_metrics::SCOPE_METRICS, &mut |out| {
            out.message(scope_metrics::SCOPE, &mut |out| {
                out.string(scope::NAME, "bantam");
                out.string(scope::VERSION, env!("CARGO_PKG_VERSION"));
            });
            write(out);
        });
    });
    out.into_bytes()
}

/// <https://opentelemetry.io/docs/specs/semconv/resource/faas/> and
/// <https://opentelemetry.io/docs/specs/semconv/resource/cloud/>
fn resource_attributes(resource: &Resource, given: &[(String, String)], out: &mut Message) {
    let resource_id = resource_id(&resource.function_arn, &resource.function_version);
    let is_given = |name: &str| given.iter().any(|(given, _)| given == name);
    let known = [
        ("service.name", resource.service_name()),
        ("service.instance.id", &resource.instance_id),
        ("cloud.provider", "aws"),
        ("cloud.platform", "aws_lambda"),
        ("cloud.region", &resource.region),
        ("cloud.availability_zone", &resource.availability_zone),
        ("cloud.account.id", &resource.account_id),
        (
            "cloud.resource_id",
            resource_id.as_deref().unwrap_or_default(),
        ),
        ("faas.name", &resource.function_name),
        ("faas.version", &resource.function_version),
        ("faas.instance", &resource.instance_id),
    ];
    for (name, value) in known {
        if !value.is_empty() && !is_given(name) {
            text_attribute(resource::ATTRIBUTES, name, value, out);
        }
    }
    let memory_mb = resource.memory_mb;
    if let Some(mb) = memory_mb.filter(|_| !is_given("faas.max_memory")) {
        // The convention's unit is the byte, and a megabyte of Lambda has 1,048,576.
        attribute(resource::ATTRIBUTES, "faas.max_memory", out, &mut |out| {
            out.integer(any_value::INT, u64::from(mb) << 20);
        });
    }
    for (name, value) in given {
        text_attribute(resource::ATTRIBUTES, name, value, out);
    }
}

/// `cloud.resource_id`: the ARN of the function with its version in place of the alias that it
/// may have been invoked by, because one environment serves all aliases of its version.
fn resource_id(arn: &str, version: &str) -> Option<String> {
    // arn:aws:lambda:REGION:ACCOUNT:function:NAME[:QUALIFIER]
    let mut colons = arn.bytes().enumerate().filter(|(_, byte)| *byte == b':');
    colons.nth(5)?;
    let end = colons.next().map_or(arn.len(), |(at, _)| at);
    let colon = if version.is_empty() { "" } else { ":" };
    Some([arn.get(..end)?, colon, version].concat())
}

fn text_attribute(field: u8, name: &str, value: &str, out: &mut Message) {
    attribute(field, name, out, &mut |out| {
        out.string(any_value::STRING, value);
    });
}

/// Writes an attribute into the list of that field.
fn attribute(field: u8, name: &str, out: &mut Message, value: &mut dyn FnMut(&mut Message)) {
    out.message(field, &mut |out| {
        out.string(key_value::KEY, name);
        out.message(key_value::VALUE, value);
    });
}

/// Writes a metric with all its points.
fn metric(metric: &Metric, batch: &Batch, out: &mut Message) {
    out.string(metric::NAME, metric.otlp_name);
    out.string(metric::DESCRIPTION, metric.description);
    out.string(metric::UNIT, &unit(metric));
    let data = match metric.kind {
        Kind::Gauge => metric::GAUGE,
        Kind::Counter => metric::SUM,
        Kind::Distribution => metric::HISTOGRAM,
    };
    out.message(data, &mut |out| {
        for point in &batch.points {
            if point.metric.name == metric.name {
                out.message(data::POINTS, &mut |out| data_point(point, batch, out));
            }
        }
        if metric.kind != Kind::Gauge {
            out.integer(data::TEMPORALITY, AGGREGATION_TEMPORALITY_DELTA);
        }
        if metric.kind == Kind::Counter {
            out.integer(data::IS_MONOTONIC, 1);
        }
    });
}

/// Writes a `NumberDataPoint` or a `HistogramDataPoint`.
fn data_point(point: &Point, batch: &Batch, out: &mut Message) {
    let metric = point.metric;
    let mut values = point.values.clone();
    if metric.unit == Unit::Milliseconds {
        // Rounded to microseconds, so that a decimal number of milliseconds becomes the double that
        // is nearest to the decimal number of seconds.
        for value in &mut values {
            *value = (*value * 1_000.0).round() / 1e6;
        }
    }
    let ns = |ms: u64| ms.saturating_mul(1_000_000);
    out.fixed(point::START_TIME, ns(batch.start_ms));
    out.fixed(point::TIME, ns(batch.end_ms));
    let attributes = match metric.kind {
        Kind::Distribution => {
            histogram(metric, &values, out);
            point::HISTOGRAM_ATTRIBUTES
        }
        Kind::Counter | Kind::Gauge => {
            number(metric, &values, out);
            point::NUMBER_ATTRIBUTES
        }
    };
    for (name, value) in &point.attributes {
        // The convention's name where there is one, else one in our own namespace:
        // <https://opentelemetry.io/docs/specs/semconv/registry/attributes/error/>
        let name = match *name {
            "error_type" => "error.type".to_owned(),
            name => ["bantam.", name].concat(),
        };
        text_attribute(attributes, &name, value, out);
    }
}

fn histogram(metric: &Metric, values: &[f64], out: &mut Message) {
    let bounds = bounds(metric.unit);
    out.fixed(point::COUNT, values.len() as u64);
    out.double(point::SUM, values.iter().sum());
    let counts = bucket_counts(values, bounds);
    out.packed(point::BUCKET_COUNTS, &mut counts.into_iter());
    let bounds = bounds.iter().map(|bound| bound.to_bits());
    out.packed(point::EXPLICIT_BOUNDS, &mut { bounds });
    out.double(
        point::MIN,
        values.iter().copied().fold(f64::INFINITY, f64::min),
    );
    out.double(
        point::MAX,
        values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    );
}

fn number(metric: &Metric, values: &[f64], out: &mut Message) {
    let value = values.first().copied().unwrap_or_default();
    if metric.kind == Kind::Counter && metric.unit != Unit::Milliseconds {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count of things is not negative, and one that is too large becomes the largest"
        )]
        let count = (value + 0.5) as u64;
        out.fixed(point::AS_INT, count.min(i64::MAX as u64));
    } else {
        out.double(point::AS_DOUBLE, value);
    }
}

/// The unit as UCUM, with things that are counted named in braces by the singular:
/// <https://opentelemetry.io/docs/specs/semconv/general/metrics/#instrument-units>.
fn unit(metric: &Metric) -> String {
    let name = metric.otlp_name;
    match metric.unit {
        Unit::Milliseconds => "s".to_owned(),
        Unit::Bytes => "By".to_owned(),
        Unit::Count => {
            let dot = name.bytes().rposition(|byte| byte == b'.');
            let thing = dot.and_then(|dot| name.get(dot + 1..)).unwrap_or(name);
            ["{", thing.strip_suffix('s').unwrap_or(thing), "}"].concat()
        }
    }
}

/// The numbers of values in the buckets. Bucket `i` holds those in `(bounds[i - 1], bounds[i]]`;
/// the last has no upper bound.
fn bucket_counts(values: &[f64], bounds: &[f64]) -> Vec<u64> {
    let mut counts = vec![0; bounds.len() + 1];
    for value in values {
        let bucket = bounds.partition_point(|bound| bound < value);
        if let Some(count) = counts.get_mut(bucket) {
            *count += 1;
        }
    }
    counts
}

const fn bounds(unit: Unit) -> &'static [f64] {
    match unit {
        Unit::Milliseconds => SECONDS,
        Unit::Bytes => BYTES,
        Unit::Count => COUNTS,
    }
}

/// The bounds that the conventions advise for durations, in seconds.
const SECONDS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// Nothing is advised for bytes: responses from 1 KiB on, memory up to the 10 GiB of the largest
/// function.
const BYTES: &[f64] = &[
    1_024.0,
    16_384.0,
    131_072.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    33_554_432.0,
    67_108_864.0,
    134_217_728.0,
    268_435_456.0,
    536_870_912.0,
    1_073_741_824.0,
    2_147_483_648.0,
    4_294_967_296.0,
    8_589_934_592.0,
];

/// For counts, such as the invocations of an environment.
const COUNTS: &[f64] = &[
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 2_000.0, 5_000.0, 10_000.0,
];

/// A value of `AggregationTemporality`.
const AGGREGATION_TEMPORALITY_DELTA: u64 = 1;

// The numbers of the fields, by message.

/// `ExportMetricsServiceRequest`
mod request {
    pub(super) const RESOURCE_METRICS: u8 = 1;
}

/// `ResourceMetrics`
mod resource_metrics {
    pub(super) const RESOURCE: u8 = 1;
    pub(super) const SCOPE_METRICS: u8 = 2;
}

/// `Resource`
mod resource {
    pub(super) const ATTRIBUTES: u8 = 1;
}

/// `ScopeMetrics`
mod scope_metrics {
    pub(super) const SCOPE: u8 = 1;
    pub(super) const METRICS: u8 = 2;
}

/// `InstrumentationScope`
mod scope {
    pub(super) const NAME: u8 = 1;
    pub(super) const VERSION: u8 = 2;
}

/// `KeyValue`
mod key_value {
    pub(super) const KEY: u8 = 1;
    pub(super) const VALUE: u8 = 2;
}

/// `AnyValue`
mod any_value {
    pub(super) const STRING: u8 = 1;
    #[cfg(any(feature = "traces", test))]
    pub(super) const BOOL: u8 = 2;
    pub(super) const INT: u8 = 3;
    #[cfg(any(feature = "traces", test))]
    pub(super) const DOUBLE: u8 = 4;
}

/// `Metric`
mod metric {
    pub(super) const NAME: u8 = 1;
    pub(super) const DESCRIPTION: u8 = 2;
    pub(super) const UNIT: u8 = 3;
    pub(super) const GAUGE: u8 = 5;
    pub(super) const SUM: u8 = 7;
    pub(super) const HISTOGRAM: u8 = 9;
}

/// `Gauge`, `Sum` and `Histogram`
mod data {
    pub(super) const POINTS: u8 = 1;
    pub(super) const TEMPORALITY: u8 = 2;
    pub(super) const IS_MONOTONIC: u8 = 3;
}

/// `NumberDataPoint` and `HistogramDataPoint`
mod point {
    pub(super) const START_TIME: u8 = 2;
    pub(super) const TIME: u8 = 3;
    pub(super) const AS_DOUBLE: u8 = 4;
    pub(super) const COUNT: u8 = 4;
    pub(super) const SUM: u8 = 5;
    pub(super) const AS_INT: u8 = 6;
    pub(super) const BUCKET_COUNTS: u8 = 6;
    pub(super) const NUMBER_ATTRIBUTES: u8 = 7;
    pub(super) const EXPLICIT_BOUNDS: u8 = 7;
    pub(super) const HISTOGRAM_ATTRIBUTES: u8 = 9;
    pub(super) const MIN: u8 = 11;
    pub(super) const MAX: u8 = 12;
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
    use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
    use opentelemetry_proto::tonic::metrics::v1::{
        AggregationTemporality, HistogramDataPoint, Metric as Decoded, NumberDataPoint, metric,
        number_data_point,
    };
    use prost::Message as _;

    use super::super::samples::{self, CPU, DURATION, INVOCATIONS, LIFETIME, Random, point};
    use super::*;

    /// Encodes a batch, and decodes it by the official definitions.
    fn decoded(
        resource: &Resource,
        attributes: &[(&str, &str)],
        batch: &Batch,
    ) -> Option<ExportMetricsServiceRequest> {
        let bytes = encode(resource, &owned(attributes), batch)?;
        Some(ExportMetricsServiceRequest::decode(bytes.as_slice()).unwrap())
    }

    fn metrics(request: &ExportMetricsServiceRequest) -> &[Decoded] {
        let [resource] = request.resource_metrics.as_slice() else {
            panic!("one resource");
        };
        let [scope] = resource.scope_metrics.as_slice() else {
            panic!("one scope");
        };
        assert_eq!(scope.scope.as_ref().unwrap().name, "bantam");
        assert_eq!(
            scope.scope.as_ref().unwrap().version,
            env!("CARGO_PKG_VERSION")
        );
        &scope.metrics
    }

    fn pairs(attributes: &[KeyValue]) -> Vec<(String, String)> {
        let text = |attribute: &KeyValue| {
            let value = attribute.value.clone().unwrap().value.unwrap();
            if let any_value::Value::IntValue(value) = value {
                return format!("int {value}");
            }
            let any_value::Value::StringValue(value) = value else {
                panic!("{value:?}");
            };
            value
        };
        attributes
            .iter()
            .map(|one| (one.key.clone(), text(one)))
            .collect()
    }

    fn histogram(metric: &Decoded) -> &[HistogramDataPoint] {
        let Some(metric::Data::Histogram(histogram)) = &metric.data else {
            panic!("{metric:?}");
        };
        assert_eq!(
            histogram.aggregation_temporality(),
            AggregationTemporality::Delta
        );
        &histogram.data_points
    }

    fn sum(metric: &Decoded) -> &[NumberDataPoint] {
        let Some(metric::Data::Sum(sum)) = &metric.data else {
            panic!("{metric:?}");
        };
        assert_eq!(sum.aggregation_temporality(), AggregationTemporality::Delta);
        assert!(sum.is_monotonic);
        &sum.data_points
    }

    fn gauge(metric: &Decoded) -> &[NumberDataPoint] {
        let Some(metric::Data::Gauge(gauge)) = &metric.data else {
            panic!("{metric:?}");
        };
        &gauge.data_points
    }

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn a_request_holds_what_was_measured() {
        let request = decoded(&samples::resource(), &[], &samples::batch()).unwrap();
        let [init, invocations, memory_used, errors, memory] = metrics(&request) else {
            panic!("five metrics");
        };
        let names = [init, invocations, memory_used, errors, memory]
            .map(|metric| (metric.name.as_str(), metric.unit.as_str()));
        let expected = [
            ("faas.init_duration", "s"),
            ("faas.invocations", "{invocation}"),
            ("faas.mem_usage", "By"),
            ("faas.errors", "{error}"),
            ("bantam.extension.memory", "By"),
        ];
        assert_eq!(names, expected);
        assert_eq!(init.description, "How long init took.");
        histograms_hold_what_was_measured(&histogram(init)[0], &histogram(memory_used)[0]);
        numbers_hold_what_was_measured(&sum(invocations)[0], &sum(errors)[0]);
        let memory = &gauge(memory)[0];
        assert_eq!(
            memory.value,
            Some(number_data_point::Value::AsDouble(1_500_000.0))
        );
    }

    fn histograms_hold_what_was_measured(init: &HistogramDataPoint, memory: &HistogramDataPoint) {
        assert_eq!(init.start_time_unix_nano, 1_781_000_000_064_000_000);
        assert_eq!(init.time_unix_nano, 1_781_000_000_462_000_000);
        assert_eq!((init.count, init.sum), (1, Some(0.397_68)));
        assert_eq!((init.min, init.max), (Some(0.397_68), Some(0.397_68)));
        assert_eq!(
            init.bucket_counts,
            [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]
        );
        let bounds = [
            0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
        ];
        assert_eq!(init.explicit_bounds, bounds);
        let kind = owned(&[("bantam.cold_start_kind", "on_demand")]);
        assert_eq!(pairs(&init.attributes), kind);

        assert_eq!((memory.count, memory.sum), (2, Some(126_877_696.0)));
        assert_eq!(
            (memory.min, memory.max),
            (Some(62_914_560.0), Some(63_963_136.0))
        );
        assert_eq!(
            memory.bucket_counts,
            [0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0]
        );
    }

    fn numbers_hold_what_was_measured(invocations: &NumberDataPoint, errors: &NumberDataPoint) {
        assert_eq!(invocations.start_time_unix_nano, 1_781_000_000_064_000_000);
        assert_eq!(invocations.time_unix_nano, 1_781_000_000_462_000_000);
        assert_eq!(invocations.value, Some(number_data_point::Value::AsInt(3)));
        assert_eq!(invocations.attributes, []);
        assert_eq!(errors.value, Some(number_data_point::Value::AsInt(1)));
        assert_eq!(
            pairs(&errors.attributes),
            owned(&[("error.type", "Function.Panic")])
        );
    }

    #[test]
    fn the_resource_is_described() {
        let expected = owned(&[
            ("service.name", "f"),
            ("service.instance.id", "2026/06/09/f[7]abc"),
            ("cloud.provider", "aws"),
            ("cloud.platform", "aws_lambda"),
            ("cloud.region", "us-east-1"),
            ("cloud.availability_zone", "use1-az1"),
            ("cloud.account.id", "123456789012"),
            (
                "cloud.resource_id",
                "arn:aws:lambda:us-east-1:123456789012:function:f:7",
            ),
            ("faas.name", "f"),
            ("faas.version", "7"),
            ("faas.instance", "2026/06/09/f[7]abc"),
            ("faas.max_memory", "int 134217728"),
        ]);
        let given = [
            ("team", "t"),
            ("faas.name", "g"),
            ("faas.max_memory", "much"),
        ];
        let mut with_given = expected.clone();
        with_given.retain(|(name, _)| name != "faas.name" && name != "faas.max_memory");
        with_given.extend(owned(&given));
        let attributes = |resource: &Resource, given: &[(&str, &str)]| {
            let request = decoded(resource, given, &samples::batch()).unwrap();
            let resource = request.resource_metrics[0].resource.as_ref();
            pairs(&resource.unwrap().attributes)
        };
        assert_eq!(attributes(&samples::resource(), &[]), expected);
        assert_eq!(attributes(&samples::resource(), &given), with_given);
        let mut named = samples::resource();
        "shop".clone_into(&mut named.service_name);
        assert_eq!(attributes(&named, &[])[0].1, "shop");
    }

    #[test]
    fn an_alias_gives_way_to_the_version() {
        let arn = "arn:aws:lambda:us-east-1:123456789012:function:f";
        let table = [
            (
                arn,
                "7",
                Some("arn:aws:lambda:us-east-1:123456789012:function:f:7"),
            ),
            (
                "arn:aws:lambda:us-east-1:123456789012:function:f:live",
                "$LATEST",
                Some("arn:aws:lambda:us-east-1:123456789012:function:f:$LATEST"),
            ),
            (arn, "", Some(arn)),
            ("f", "7", None),
            ("arn:aws:lambda:us-east-1:123456789012", "7", None),
            ("", "", None),
        ];
        for (arn, version, expected) in table {
            assert_eq!(resource_id(arn, version).as_deref(), expected, "{arn}");
        }
    }

    #[test]
    fn a_value_on_a_bound_is_below_it() {
        let table = [
            (-1.0, 0),
            (0.0, 0),
            (0.005, 0),
            (0.005_001, 1),
            (0.5, 7),
            (10.0, 13),
            (10.000_001, 14),
            (1e300, 14),
        ];
        for (value, bucket) in table {
            let counts = bucket_counts(&[value], SECONDS);
            assert_eq!(counts.len(), SECONDS.len() + 1);
            assert_eq!(
                counts.iter().position(|count| *count == 1),
                Some(bucket),
                "{value}"
            );
        }
        for bounds in [SECONDS, BYTES, COUNTS] {
            assert!(bounds.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }

    #[test]
    fn the_points_of_a_metric_are_together() {
        let kind = [("cold_start_kind", "on_demand")];
        let batch = Batch {
            points: vec![
                point(&DURATION, &kind, &[1.0, 2.0, 3_000.0]),
                point(&CPU, &[], &[1.5]),
                point(&LIFETIME, &[], &[17.0]),
                point(&DURATION, &[], &[5.0]),
            ],
            ..samples::batch()
        };
        let request = decoded(&samples::resource(), &[], &batch).unwrap();
        let [durations, cpu, lifetime] = metrics(&request) else {
            panic!("three metrics");
        };
        let counts: Vec<_> = histogram(durations)
            .iter()
            .map(|point| (point.count, point.sum))
            .collect();
        assert_eq!(counts, [(3, Some(3.003)), (1, Some(0.005))]);
        assert_eq!(
            sum(cpu)[0].value,
            Some(number_data_point::Value::AsDouble(0.0015))
        );
        assert_eq!(
            (cpu.unit.as_str(), lifetime.unit.as_str()),
            ("s", "{invocation}")
        );
        assert_eq!(histogram(lifetime)[0].max, Some(17.0));
    }

    #[test]
    fn no_count_is_larger_than_its_field() {
        let batch = Batch {
            points: vec![point(&INVOCATIONS, &[], &[9.9e18])],
            ..samples::batch()
        };
        let request = decoded(&samples::resource(), &[], &batch).unwrap();
        let value = &sum(&metrics(&request)[0])[0].value;
        assert_eq!(*value, Some(number_data_point::Value::AsInt(i64::MAX)));
    }

    #[test]
    fn nothing_to_send_is_no_request() {
        let mut batch = samples::batch();
        batch.points.clear();
        assert_eq!(encode(&samples::resource(), &[], &batch), None);
    }

    /// Everything that a batch holds, as the request has to hold it.
    #[test]
    fn whatever_a_batch_holds_no_value_is_lost() {
        let seed = 4;
        let mut random = Random(seed);
        for round in 0..300 {
            let shown = format!("seed {seed}, round {round}");
            let (resource, batch) = (random.resource(), random.batch());
            let Some(request) = decoded(&resource, &[("a", "b")], &batch) else {
                assert_eq!(batch.points, []);
                continue;
            };
            let mut found = 0;
            for metric in metrics(&request) {
                let points = batch.points.iter();
                let of = points.filter(|point| point.metric.otlp_name == metric.name);
                for (index, point) in of.enumerate() {
                    check(metric, index, point, &shown);
                    found += 1;
                }
            }
            assert_eq!(found, batch.points.len(), "{shown}");
        }
    }

    /// Holds a data point against the values that it was made of.
    fn check(metric: &Decoded, index: usize, point: &Point, shown: &str) {
        let is_time = point.metric.unit == Unit::Milliseconds;
        let scaled = |value: &f64| match is_time {
            true => (*value * 1_000.0).round() / 1e6,
            false => *value,
        };
        let values: Vec<f64> = point.values.iter().map(scaled).collect();
        let sum_of_all: f64 = values.iter().sum();
        let attributes = match point.metric.kind {
            Kind::Distribution => {
                let found = &histogram(metric)[index];
                assert_eq!(found.sum, Some(sum_of_all), "{shown}");
                assert_eq!(found.count, values.len() as u64, "{shown}");
                assert_eq!(found.bucket_counts.iter().sum::<u64>(), found.count);
                assert_eq!(found.bucket_counts.len(), found.explicit_bounds.len() + 1);
                let (min, max) = (found.min.unwrap(), found.max.unwrap());
                assert!(values.iter().all(|value| (min..=max).contains(value)));
                assert!(values.contains(&min) && values.contains(&max), "{shown}");
                &found.attributes
            }
            Kind::Counter => {
                let found = &sum(metric)[index];
                match found.value {
                    Some(number_data_point::Value::AsDouble(value)) => {
                        assert!(is_time && value == sum_of_all, "{shown}");
                    }
                    Some(number_data_point::Value::AsInt(value)) => {
                        assert!(!is_time && 0 <= value, "{shown}");
                    }
                    None => panic!("{shown}"),
                }
                &found.attributes
            }
            Kind::Gauge => &gauge(metric)[index].attributes,
        };
        let of_point = point.attributes.iter();
        let expected: Vec<&str> = of_point.map(|(_, value)| value.as_str()).collect();
        let found = pairs(attributes);
        let found: Vec<&str> = found.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(found, expected, "{shown}");
    }
}

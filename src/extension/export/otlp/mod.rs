//! OTLP: the export request of a batch, in protobuf and in JSON.
//!
//! <https://opentelemetry.io/docs/specs/otlp/#otlphttp>, the messages:
//! <https://github.com/open-telemetry/opentelemetry-proto/tree/main/opentelemetry/proto>.
//! One walk over the messages serves both encodings: each field has its number for protobuf and
//! its name for JSON, and a [`Document`] writes whichever it needs.
//!
//! Temporality is delta: there are many environments of a function and each can end without a
//! word, so a sum since the start of one of them would be lost or counted twice.
//!
//! Names and units are those of the `FaaS` conventions where they have one,
//! <https://opentelemetry.io/docs/specs/semconv/faas/faas-metrics/>. The attribute `faas.trigger`,
//! which they recommend, is left out: nothing tells an extension what invoked the function.

mod message;
pub(in crate::extension) mod queue;
pub(in crate::extension) mod response;
pub(in crate::extension) mod retry;

use std::net::SocketAddr;

use self::message::{Document, Group, Width};
use super::{next, series};
use crate::extension::metric::{Batch, Kind, Metric, Point, Resource, Unit};

/// The two encodings of OTLP over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::extension) enum Encoding {
    /// `http/protobuf`, which every receiver takes.
    Protobuf,
    /// `http/json`, which a person can read.
    Json,
}

/// Where and how OTLP is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::extension) struct Otlp {
    /// Where to connect.
    pub(in crate::extension) address: SocketAddr,
    /// The value of the field `Host`.
    pub(in crate::extension) authority: &'static str,
    /// The parts of the target of the request: a path, and a query if there is one.
    pub(in crate::extension) target: [&'static str; 3],
    pub(in crate::extension) encoding: Encoding,
    /// Fields to add to each request. The names are tokens and none that frames a message; the
    /// values hold no control characters.
    pub(in crate::extension) headers: Vec<(&'static str, &'static str)>,
    /// How long to wait for the answer to an attempt.
    pub(in crate::extension) timeout_ms: u64,
    /// `OTEL_RESOURCE_ATTRIBUTES`, without `service.name`.
    pub(in crate::extension) attributes: Vec<(&'static str, &'static str)>,
}

impl Encoding {
    /// The value of `Content-Type` of the request.
    pub(in crate::extension) const fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }
}

/// The body of the request that exports `batch`; `None` when there is nothing in it, because
/// empty envelopes are not to be sent.
///
/// `attributes` are those of `OTEL_RESOURCE_ATTRIBUTES`; they win over what is known otherwise.
pub(in crate::extension) fn encode(
    encoding: Encoding,
    resource: &Resource,
    attributes: &[(&str, &str)],
    batch: &Batch,
) -> Option<Vec<u8>> {
    let mut series = series(batch);
    if series.is_empty() {
        return None;
    }
    let mut out = Document::new(encoding);
    out.open(1, "resourceMetrics", Group::List);
    out.open(1, "resourceMetrics", Group::Message);
    out.open(1, "resource", Group::Message);
    resource_attributes(resource, attributes, &mut out);
    out.close();
    out.open(2, "scopeMetrics", Group::List);
    out.open(2, "scopeMetrics", Group::Message);
    out.open(1, "scope", Group::Message);
    out.string(1, "name", "bantam");
    out.string(2, "version", env!("CARGO_PKG_VERSION"));
    out.close();
    out.open(2, "metrics", Group::List);
    // Each turn writes all series of one metric.
    while let Some(first) = next(&series) {
        let metric = first.metric;
        begin_metric(metric, &mut out);
        for (point, values) in &mut series {
            if point.metric.name == metric.name {
                data_point(point, batch, values, &mut out);
                values.clear();
            }
        }
        end_metric(metric, &mut out);
    }
    Some(out.finish())
}

/// <https://opentelemetry.io/docs/specs/semconv/resource/faas/> and
/// <https://opentelemetry.io/docs/specs/semconv/resource/cloud/>
fn resource_attributes(resource: &Resource, given: &[(&str, &str)], out: &mut Document) {
    out.open(1, "attributes", Group::List);
    // `service.name` always has a value; the function's name says most.
    let service_name = match resource.service_name.as_str() {
        "" => &resource.function_name,
        name => name,
    };
    let resource_id = resource_id(&resource.function_arn, &resource.function_version);
    let is_given = |name: &str| given.iter().any(|(given, _)| *given == name);
    let known = [
        ("service.name", service_name),
        ("cloud.provider", "aws"),
        ("cloud.platform", "aws_lambda"),
        ("cloud.region", &resource.region),
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
            attribute(1, name, value, out);
        }
    }
    if let Some(mb) = resource.memory_mb
        && !is_given("faas.max_memory")
    {
        begin_attribute(1, "faas.max_memory", out);
        // The convention's unit is the byte, and a megabyte of Lambda's has 1,048,576.
        out.integer(3, "intValue", Width::Varint, u64::from(mb) << 20);
        end_attribute(out);
    }
    for (name, value) in given {
        attribute(1, name, value, out);
    }
    out.close();
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

/// `number` is that of the list of attributes in its message.
fn attribute(number: u8, name: &str, value: &str, out: &mut Document) {
    begin_attribute(number, name, out);
    out.string(1, "stringValue", value);
    end_attribute(out);
}

fn begin_attribute(number: u8, name: &str, out: &mut Document) {
    out.open(number, "attributes", Group::Message);
    out.string(1, "key", name);
    out.open(2, "value", Group::Message);
}

fn end_attribute(out: &mut Document) {
    out.close();
    out.close();
}

fn begin_metric(metric: &Metric, out: &mut Document) {
    out.open(2, "metrics", Group::Message);
    out.string(1, "name", metric.otlp_name);
    out.string(2, "description", metric.description);
    out.string(3, "unit", &unit(metric));
    let (number, name) = match metric.kind {
        Kind::Gauge => (5, "gauge"),
        Kind::Counter => (7, "sum"),
        Kind::Distribution => (9, "histogram"),
    };
    out.open(number, name, Group::Message);
    out.open(1, "dataPoints", Group::List);
}

fn end_metric(metric: &Metric, out: &mut Document) {
    out.close();
    if metric.kind != Kind::Gauge {
        // `AGGREGATION_TEMPORALITY_DELTA`
        out.literal(2, "aggregationTemporality", "1");
    }
    if metric.kind == Kind::Counter {
        out.literal(3, "isMonotonic", "true");
    }
    out.close();
    out.close();
}

/// Writes `values`, at least one, as a `NumberDataPoint` or a `HistogramDataPoint`.
fn data_point(point: &Point, batch: &Batch, values: &mut [f64], out: &mut Document) {
    let metric = point.metric;
    if metric.unit == Unit::Milliseconds {
        // Rounded to microseconds, so that a decimal number of milliseconds becomes the double that
        // is nearest to the decimal number of seconds.
        for value in values.iter_mut() {
            *value = (*value * 1_000.0).round() / 1e6;
        }
    }
    out.open(1, "dataPoints", Group::Message);
    time(2, "startTimeUnixNano", batch.start_ms, out);
    time(3, "timeUnixNano", batch.end_ms, out);
    if metric.kind == Kind::Distribution {
        histogram(metric, values, out);
    } else {
        number(metric, values, out);
    }
    let attributes = match metric.kind {
        Kind::Distribution => 9,
        Kind::Counter | Kind::Gauge => 7,
    };
    out.open(attributes, "attributes", Group::List);
    for (name, value) in &point.attributes {
        // The convention's name where there is one, else one in our own namespace:
        // <https://opentelemetry.io/docs/specs/semconv/registry/attributes/error/>
        let name = match *name {
            "error_type" => ["error.", "type"],
            name => ["bantam.", name],
        };
        attribute(attributes, &name.concat(), value, out);
    }
    out.close();
    out.close();
}

fn time(field: u8, name: &str, ms: u64, out: &mut Document) {
    out.integer(field, name, Width::Fixed, ms.saturating_mul(1_000_000));
}

fn histogram(metric: &Metric, values: &[f64], out: &mut Document) {
    let bounds = bounds(metric.unit);
    let count = values.len() as u64;
    out.integer(4, "count", Width::Fixed, count);
    out.double(5, "sum", values.iter().sum());
    out.open(6, "bucketCounts", Group::Packed);
    bucket_counts(values, bounds, &mut |count| {
        out.integer(0, "", Width::Fixed, count);
    });
    out.close();
    out.open(7, "explicitBounds", Group::Packed);
    for bound in bounds {
        out.double(0, "", *bound);
    }
    out.close();
    let (mut min, mut max) = (f64::INFINITY, f64::NEG_INFINITY);
    for value in values {
        if *value < min {
            min = *value;
        }
        if max < *value {
            max = *value;
        }
    }
    out.double(11, "min", min);
    out.double(12, "max", max);
}

fn number(metric: &Metric, values: &[f64], out: &mut Document) {
    let value = match metric.kind {
        Kind::Gauge => values.last().copied().unwrap_or_default(),
        Kind::Counter | Kind::Distribution => values.iter().sum(),
    };
    if metric.kind == Kind::Counter && metric.unit != Unit::Milliseconds {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count of things fits, and is not negative"
        )]
        out.integer(6, "asInt", Width::Fixed, (value + 0.5) as u64);
    } else {
        out.double(4, "asDouble", value);
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

/// Bucket `i` holds the values in `(bounds[i - 1], bounds[i]]`; the last has no upper bound.
fn bucket_counts(values: &[f64], bounds: &[f64], each: &mut dyn FnMut(u64)) {
    let mut below = 0;
    for bound in bounds.iter().chain(&[f64::INFINITY]) {
        let up_to = values.iter().filter(|value| *value <= bound).count() as u64;
        each(up_to - below);
        below = up_to;
    }
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

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
    use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
    use opentelemetry_proto::tonic::metrics::v1::{
        AggregationTemporality, HistogramDataPoint, Metric as Decoded, NumberDataPoint, metric,
        number_data_point,
    };
    use prost::Message as _;

    use super::super::samples::{self, CPU, DURATION, LIFETIME, Random, point};
    use super::super::values;
    use super::*;

    /// Decodes protobuf by the official definitions.
    fn protobuf(
        resource: &Resource,
        attributes: &[(&str, &str)],
        batch: &Batch,
    ) -> Option<ExportMetricsServiceRequest> {
        let bytes = encode(Encoding::Protobuf, resource, attributes, batch)?;
        Some(ExportMetricsServiceRequest::decode(bytes.as_slice()).unwrap())
    }

    /// Decodes JSON by the official definitions.
    fn json(
        resource: &Resource,
        attributes: &[(&str, &str)],
        batch: &Batch,
    ) -> Option<ExportMetricsServiceRequest> {
        let bytes = encode(Encoding::Json, resource, attributes, batch)?;
        Some(serde_json::from_slice(&bytes).unwrap())
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
    fn both_encodings_decode_to_what_was_measured() {
        for decode in [protobuf, json] {
            let request = decode(&samples::resource(), &[], &samples::batch()).unwrap();
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
    fn the_type_of_the_content_is_the_encodings() {
        assert_eq!(Encoding::Protobuf.content_type(), "application/x-protobuf");
        assert_eq!(Encoding::Json.content_type(), "application/json");
    }

    #[test]
    fn written_json() {
        let mut batch = samples::batch();
        batch.points.truncate(2);
        let resource = Resource {
            function_name: "f".to_owned(),
            ..Resource::default()
        };
        let bytes = encode(Encoding::Json, &resource, &[], &batch).unwrap();
        let version = env!("CARGO_PKG_VERSION");
        let expected = [
            r#"{"resourceMetrics":[{"resource":{"attributes":["#,
            r#"{"key":"service.name","value":{"stringValue":"f"}},"#,
            r#"{"key":"cloud.provider","value":{"stringValue":"aws"}},"#,
            r#"{"key":"cloud.platform","value":{"stringValue":"aws_lambda"}},"#,
            r#"{"key":"faas.name","value":{"stringValue":"f"}}]},"#,
            r#""scopeMetrics":[{"scope":{"name":"bantam","version":""#,
            version,
            r#""},"metrics":[{"name":"faas.init_duration","description":"How long init took.","#,
            r#""unit":"s","histogram":{"dataPoints":[{"startTimeUnixNano":"1781000000064000000","#,
            r#""timeUnixNano":"1781000000462000000","count":"1","sum":0.39768,"#,
            r#""bucketCounts":["0","0","0","0","0","0","0","1","0","0","0","0","0","0","0"],"#,
            r#""explicitBounds":[0.005,0.01,0.025,0.05,0.075,0.1,0.25,0.5,0.75,1,2.5,5,7.5,10],"#,
            r#""min":0.39768,"max":0.39768,"attributes":[{"key":"bantam.cold_start_kind","#,
            r#""value":{"stringValue":"on_demand"}}]}],"aggregationTemporality":1}},"#,
            r#"{"name":"faas.invocations","description":"Successful invocations.","#,
            r#""unit":"{invocation}","sum":{"dataPoints":[{"#,
            r#""startTimeUnixNano":"1781000000064000000","timeUnixNano":"1781000000462000000","#,
            r#""asInt":"3","attributes":[]}],"aggregationTemporality":1,"isMonotonic":true}}"#,
            r#"]}]}]}"#,
        ];
        assert_eq!(String::from_utf8(bytes).unwrap(), expected.concat());
    }

    #[test]
    fn the_resource_is_described() {
        let expected = owned(&[
            ("service.name", "f"),
            ("cloud.provider", "aws"),
            ("cloud.platform", "aws_lambda"),
            ("cloud.region", "us-east-1"),
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
        for decode in [protobuf, json] {
            let attributes = |resource: &Resource, given: &[(&str, &str)]| {
                let request = decode(resource, given, &samples::batch()).unwrap();
                pairs(
                    &request.resource_metrics[0]
                        .resource
                        .as_ref()
                        .unwrap()
                        .attributes,
                )
            };
            assert_eq!(attributes(&samples::resource(), &[]), expected);
            assert_eq!(attributes(&samples::resource(), &given), with_given);
            let mut named = samples::resource();
            "shop".clone_into(&mut named.service_name);
            assert_eq!(attributes(&named, &[])[0].1, "shop");
        }
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
            let mut counts = Vec::new();
            bucket_counts(&[value], SECONDS, &mut |count| counts.push(count));
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
    fn points_of_one_series_become_one_data_point() {
        let kind = [("cold_start_kind", "on_demand")];
        let batch = Batch {
            points: vec![
                point(&DURATION, &kind, &[1.0, 2.0]),
                point(&CPU, &[], &[1.5]),
                point(&DURATION, &[], &[f64::NAN]),
                point(&DURATION, &kind, &[3_000.0]),
                point(&LIFETIME, &[], &[17.0]),
                point(&DURATION, &[], &[5.0]),
            ],
            ..samples::batch()
        };
        for decode in [protobuf, json] {
            let request = decode(&samples::resource(), &[], &batch).unwrap();
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
    }

    #[test]
    fn nothing_to_send_is_no_request() {
        let mut batch = samples::batch();
        batch.points = vec![
            point(&DURATION, &[], &[f64::INFINITY]),
            point(&CPU, &[], &[]),
        ];
        for encoding in [Encoding::Protobuf, Encoding::Json] {
            assert_eq!(encode(encoding, &samples::resource(), &[], &batch), None);
        }
    }

    /// JSON rounds to microseconds, so doubles are compared with that much tolerance.
    fn assert_near(a: Option<f64>, b: Option<f64>) {
        let (a, b) = (a.unwrap(), b.unwrap());
        assert!(
            (a - b).abs() <= 1e-6 + a.abs() * 1e-12 || 1e12 < a.abs(),
            "{a} {b}"
        );
    }

    #[test]
    fn whatever_a_batch_holds_both_encodings_say_the_same_and_lose_no_value() {
        let mut random = Random(4);
        for _ in 0..300 {
            let (resource, batch) = (random.resource(), random.batch());
            let extra = [("a", "b")];
            let by_protobuf = protobuf(&resource, &extra, &batch);
            let by_json = json(&resource, &extra, &batch);
            let expected: usize = batch
                .points
                .iter()
                .filter(|point| point.metric.kind == Kind::Distribution)
                .map(|point| values(point).len())
                .sum();
            let (Some(by_protobuf), Some(by_json)) = (by_protobuf, by_json) else {
                assert!(batch.points.iter().all(|point| values(point).is_empty()));
                continue;
            };
            assert_eq!(
                by_protobuf.resource_metrics[0].resource,
                by_json.resource_metrics[0].resource
            );
            let mut found = 0;
            let both = metrics(&by_protobuf).iter().zip(metrics(&by_json));
            assert_eq!(metrics(&by_protobuf).len(), metrics(&by_json).len());
            for (a, b) in both {
                assert_eq!(
                    (&a.name, &a.unit, &a.description),
                    (&b.name, &b.unit, &b.description)
                );
                let Some(metric::Data::Histogram(_)) = &a.data else {
                    continue;
                };
                assert_eq!(histogram(a).len(), histogram(b).len());
                for (a, b) in histogram(a).iter().zip(histogram(b)) {
                    assert_eq!(a.bucket_counts, b.bucket_counts);
                    assert_eq!(a.bucket_counts.iter().sum::<u64>(), a.count);
                    assert_eq!(a.bucket_counts.len(), a.explicit_bounds.len() + 1);
                    assert_eq!(a.explicit_bounds, b.explicit_bounds);
                    assert_eq!((&a.attributes, a.count), (&b.attributes, b.count));
                    assert_near(a.sum, b.sum);
                    assert_near(a.min, b.min);
                    assert_near(a.max, b.max);
                    found += usize::try_from(a.count).unwrap();
                }
            }
            assert_eq!(found, expected);
        }
    }
}

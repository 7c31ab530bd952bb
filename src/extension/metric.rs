//! What is measured: the names, units and kinds of all metrics, and the points that carry values.
//!
//! Accounting makes points, exporters write them; neither knows the other.

/// How values of a metric add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Values are summed: how often something happened.
    Counter,
    /// Values are a distribution: each one counts.
    Distribution,
    /// The last value counts.
    Gauge,
}

/// The unit of the values as they are kept. Exporters convert to what their format asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Milliseconds,
    Bytes,
    Count,
}

/// One metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Metric {
    /// The name in EMF, NDJSON and `DogStatsD`.
    pub(super) name: &'static str,
    /// The name in OTLP: a `FaaS` convention's where there is one, else in our own namespace.
    pub(super) otlp_name: &'static str,
    pub(super) unit: Unit,
    pub(super) kind: Kind,
    /// A sentence for OTLP.
    pub(super) description: &'static str,
}

/// Values of one metric under one set of attributes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) metric: &'static Metric,
    /// Low-cardinality dimensions of this point beside those of the resource, such as the kind
    /// of the cold start or the type of an error. Sorted by name.
    pub(super) attributes: Vec<(&'static str, String)>,
    /// At least one, all finite. A counter has one: the sum over the interval.
    pub(super) values: Vec<f64>,
}

/// All points of one interval.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Batch {
    /// The interval, in milliseconds since the epoch.
    pub(super) start_ms: u64,
    pub(super) end_ms: u64,
    pub(super) points: Vec<Point>,
    /// Searchable context of a single event (request id, trace id), never a dimension.
    pub(super) properties: Vec<(&'static str, String)>,
}

/// What the points belong to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Resource {
    pub(super) function_name: String,
    pub(super) function_version: String,
    pub(super) function_arn: Option<String>,
    pub(super) account_id: Option<String>,
    pub(super) region: Option<String>,
    pub(super) memory_mb: Option<u32>,
    /// The environment: `instanceId` of `platform.initStart` where it is known.
    pub(super) instance_id: Option<String>,
    pub(super) service_name: Option<String>,
}

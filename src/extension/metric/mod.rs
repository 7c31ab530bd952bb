//! Metrics: their names, units and kinds, and the points that carry their values.
//!
//! Accounting makes points and exporters write them; neither knows the other.

pub(super) mod catalogue;

use std::borrow::Cow;

/// The version of this program, which every export has.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

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

/// What the values of a metric tell of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// The start of an environment. A batch of a start has these only.
    Start,
    /// What an environment does and uses after its start.
    Life,
    /// What all processes of an environment use: only with `BANTAM_SYSTEM_METRICS`.
    System,
    /// The end of an environment.
    End,
    /// What was lost, or not understood, on the way to the figures or from there.
    Loss,
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
    pub(super) subject: Subject,
    /// A sentence for OTLP.
    pub(super) description: &'static str,
}

/// Whether every exporter can write a name unchanged.
pub(super) const fn is_name(name: &str) -> bool {
    let mut rest = name.as_bytes();
    while let [first, behind @ ..] = rest {
        if !matches!(first, b'a'..=b'z' | b'_') {
            return false;
        }
        rest = behind;
    }
    !name.is_empty() && name.len() <= 200
}

/// Values of one metric under one set of attributes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) metric: &'static Metric,
    /// Dimensions of this point beside those of the resource, with few values each: the kind of the
    /// cold start, the type of an error. Sorted by name.
    pub(super) attributes: Vec<(&'static str, String)>,
    /// At least one, all finite. A counter has one, the sum over the interval, and a gauge one, the
    /// last.
    pub(super) values: Vec<f64>,
}

/// All points of one interval.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Batch {
    /// The interval, in milliseconds since the epoch.
    pub(super) start_ms: u64,
    pub(super) end_ms: u64,
    /// No two have the same metric and attributes: OTLP requires a single writer for each stream.
    pub(super) points: Vec<Point>,
    /// Details of a single event to search for (request id, trace id); never dimensions. The most
    /// important first.
    pub(super) properties: Vec<(&'static str, Detail)>,
}

/// The value of a property.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Detail {
    Text(String),
    Number(f64),
}

impl From<&str> for Detail {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// The function and the environment that points belong to. A text that is not known is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Resource {
    pub(super) function_name: String,
    pub(super) function_version: String,
    pub(super) function_arn: String,
    pub(super) account_id: String,
    pub(super) region: String,
    pub(super) memory_mb: Option<u32>,
    /// The environment: `instanceId` of `platform.initStart`.
    pub(super) instance_id: String,
    pub(super) service_name: String,
    /// How the environment was initialised, in the platform's words.
    pub(super) init_type: String,
    /// The id of the availability zone.
    pub(super) availability_zone: String,
}

impl Resource {
    /// The name of the service, which is the function's unless a setting gives another.
    pub(super) fn service_name(&self) -> &str {
        match self.service_name.as_str() {
            "" => &self.function_name,
            name => name,
        }
    }

    /// The value of a field by its name, as dimensions of EMF name it; empty for any other name.
    pub(super) fn get(&self, name: &str) -> Cow<'_, str> {
        Cow::Borrowed(match name {
            "function_name" => &self.function_name,
            "function_version" => &self.function_version,
            "function_arn" => &self.function_arn,
            "account_id" => &self.account_id,
            "region" => &self.region,
            "memory_mb" => {
                return Cow::Owned(self.memory_mb.map(|mb| mb.to_string()).unwrap_or_default());
            }
            "instance_id" => &self.instance_id,
            "service_name" => self.service_name(),
            "availability_zone" => &self.availability_zone,
            _ => "",
        })
    }
}

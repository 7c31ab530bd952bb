//! What is measured: the names, units and kinds of all metrics, and the points that carry values.
//!
//! Accounting makes points, exporters write them; neither knows the other.

pub(super) mod catalogue;

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

/// Whether all exporters can write a name as it is.
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

/// What the points belong to: a value for each [`Key`], empty where it is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Resource([String; KEYS.len()]);

/// What can be known of a function and its environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    FunctionName,
    FunctionVersion,
    FunctionArn,
    AccountId,
    Region,
    MemoryMb,
    /// The environment: `instanceId` of `platform.initStart` where it is known.
    InstanceId,
    ServiceName,
}

impl Resource {
    pub(super) fn get(&self, key: Key) -> &str {
        &self.0[key as usize]
    }

    pub(super) fn set(&mut self, key: Key, value: &str) {
        value.clone_into(&mut self.0[key as usize]);
    }

    /// The value by the name of its key; empty if there is none.
    pub(super) fn named(&self, name: &str) -> &str {
        let mut values = KEYS.iter().zip(&self.0);
        values
            .find(|(key, _)| **key == name)
            .map_or("", |(_, value)| value)
    }
}

/// The names of the keys.
const KEYS: [&str; 8] = [
    "function_name",
    "function_version",
    "function_arn",
    "account_id",
    "region",
    "memory_mb",
    "instance_id",
    "service_name",
];

#[cfg(test)]
impl Resource {
    pub(super) fn of(values: &[(Key, &str)]) -> Self {
        let mut resource = Self::default();
        for (key, value) in values {
            resource.set(*key, value);
        }
        resource
    }
}

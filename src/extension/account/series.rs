//! The values of one interval, bounded.

use super::super::metric::{Kind, Metric, Point};
use super::metrics::DROPPED_VALUES;

/// Name and value of an attribute.
pub(super) type Attribute<'a> = (&'static str, &'a str);

/// A metric and its value, if that is known.
pub(super) type Figure = (&'static Metric, Option<f64>);

/// Points that grow until they are taken.
#[derive(Debug, Default)]
pub(super) struct Series {
    points: Vec<Point>,
    /// Whether a distribution has as many values as are to be exported at once.
    full: bool,
}

impl Series {
    /// Adds `value` as the metric's kind says: to a sum, to a distribution, or in place of the
    /// last. `attributes` are sorted by name. A value that is not finite is none.
    pub(super) fn add(
        &mut self,
        metric: &'static Metric,
        attributes: &[Attribute<'_>],
        value: f64,
    ) {
        if !value.is_finite() {
            return;
        }
        let same = |point: &&mut Point| {
            point.metric.name == metric.name
                && point.attributes.len() == attributes.len()
                && point
                    .attributes
                    .iter()
                    .zip(attributes)
                    .all(|(a, b)| (a.0, a.1.as_str()) == *b)
        };
        // A search through some tens of points is smaller than a map, and no slower.
        let Some(point) = self.points.iter_mut().find(same) else {
            self.insert(metric, attributes, value);
            return;
        };
        match (metric.kind, point.values.as_mut_slice()) {
            (Kind::Counter, [sum, ..]) => *sum += value,
            (Kind::Gauge, [last, ..]) => *last = value,
            (_, values) if values.len() < VALUES_KEPT_MAX => {
                point.values.push(value);
                self.full |= VALUES_MAX <= point.values.len();
            }
            (_, _) => self.add(&DROPPED_VALUES, &[], 1.0),
        }
    }

    /// Adds one to a counter.
    pub(super) fn count(&mut self, metric: &'static Metric, attributes: &[Attribute<'_>]) {
        self.add(metric, attributes, 1.0);
    }

    /// Adds a value that may not be known.
    pub(super) fn add_known(
        &mut self,
        metric: &'static Metric,
        attributes: &[Attribute<'_>],
        value: Option<f64>,
    ) {
        if let Some(value) = value {
            self.add(metric, attributes, value);
        }
    }

    pub(super) fn add_all(&mut self, figures: &[Figure], attributes: &[Attribute<'_>]) {
        for (metric, value) in figures {
            self.add_known(metric, attributes, *value);
        }
    }

    fn insert(&mut self, metric: &'static Metric, attributes: &[Attribute<'_>], value: f64) {
        if POINTS_MAX <= self.points.len() && metric.name != DROPPED_VALUES.name {
            self.add(&DROPPED_VALUES, &[], 1.0);
            return;
        }
        self.points.push(Point {
            metric,
            attributes: attributes
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned()))
                .collect(),
            values: vec![value],
        });
    }

    /// Hands out the values of one attribute that the points of a metric have.
    pub(super) fn values_of(&self, metric: &Metric, attribute: &str, each: &mut dyn FnMut(&str)) {
        for point in &self.points {
            for (name, value) in &point.attributes {
                if point.metric.name == metric.name && *name == attribute {
                    each(value);
                }
            }
        }
    }

    pub(super) const fn is_full(&self) -> bool {
        self.full
    }

    pub(super) fn take(&mut self) -> Vec<Point> {
        self.full = false;
        std::mem::take(&mut self.points)
    }
}

/// Values of a distribution after which the interval is to be exported: as many as EMF takes at
/// once.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>
pub(super) const VALUES_MAX: usize = 100;

/// Values of a distribution that are kept at all. One batch of telemetry holds up to 1,000
/// records, all of which may be reports.
pub(super) const VALUES_KEPT_MAX: usize = 1_100;

/// Points of an interval. There are some forty metrics, of which few have several.
pub(super) const POINTS_MAX: usize = 128;

//! The values of one interval, bounded in number and in size.

use crate::extension::metric::catalogue::DROPPED_VALUES;
use crate::extension::metric::{Kind, Metric, Point};

/// Name and value of an attribute.
pub(super) type Attribute<'a> = (&'static str, &'a str);

/// The points of an interval until they are taken.
#[derive(Debug, Default)]
pub(super) struct Series {
    points: Vec<Point>,
    /// Whether a distribution has as many values as are to be exported at once.
    full: bool,
    /// Values that had no room.
    dropped: f64,
}

impl Series {
    /// Adds `value` as the metric's kind says: to a sum, to a distribution, or in place of the
    /// last. `attributes` are sorted by name. A value that is not finite is ignored.
    pub(super) fn add(
        &mut self,
        metric: &'static Metric,
        attributes: &[Attribute<'_>],
        value: f64,
    ) {
        if !value.is_finite() {
            return;
        }
        let same = |point: &Point| {
            let known = point.attributes.iter();
            let known = known.map(|(name, value)| (*name, value.as_str()));
            std::ptr::eq(point.metric, metric) && known.eq(attributes.iter().copied())
        };
        // A search through some tens of points is smaller than a map, and no slower.
        let at = self.points.iter().position(same);
        let at = at.unwrap_or(self.points.len());
        if at == POINTS_MAX && !std::ptr::eq(metric, &DROPPED_VALUES) {
            self.dropped += 1.0;
            return;
        }
        if at == self.points.len() {
            let mut owned = Vec::new();
            for (name, value) in attributes {
                owned.push((*name, (*value).to_owned()));
            }
            self.points.push(Point {
                metric,
                attributes: owned,
                values: Vec::new(),
            });
        }
        let values = &mut self.points[at].values;
        match (metric.kind, values.as_mut_slice()) {
            (Kind::Counter, [sum, ..]) => *sum = (*sum + value).min(SUM_MAX),
            (Kind::Gauge, [last, ..]) => *last = value,
            (_, known) if known.len() < VALUES_KEPT_MAX => {
                values.push(value);
                self.full |= VALUES_MAX <= values.len();
            }
            (_, _) => self.dropped += 1.0,
        }
    }

    /// Adds one to a counter.
    pub(super) fn count(&mut self, metric: &'static Metric, attributes: &[Attribute<'_>]) {
        self.add(metric, attributes, 1.0);
    }

    /// Adds a value if it is known.
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

    /// Whether a metric has a point with this value of its attribute, or fewer than `most` points.
    pub(super) fn has_room(&self, metric: &'static Metric, value: &str, most: usize) -> bool {
        let mut count = 0;
        for point in &self.points {
            if std::ptr::eq(point.metric, metric) {
                if point.attributes.iter().any(|(_, known)| known == value) {
                    return true;
                }
                count += 1;
            }
        }
        count < most
    }

    pub(super) const fn is_full(&self) -> bool {
        self.full
    }

    pub(super) fn take(&mut self) -> Vec<Point> {
        if self.dropped != 0.0 {
            let dropped = std::mem::take(&mut self.dropped);
            self.add(&DROPPED_VALUES, &[], dropped);
        }
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

/// Points of an interval, without the one of dropped values. Few of the some forty metrics have
/// more than one.
pub(super) const POINTS_MAX: usize = 128;

/// The largest sum: 2^53, up to which a double has every whole number and every exporter can write
/// it. Sums are made of numbers from outside.
const SUM_MAX: f64 = 9_007_199_254_740_992.0;

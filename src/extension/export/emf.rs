//! EMF: log lines that `CloudWatch` turns into metrics. No network, no credentials.
//!
//! The format:
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>.
//! Every distinct pair of a metric's name and the values of a dimension set is billed as a metric
//! of its own, so the default sets are few; everything else on a line is a property, which can be
//! searched and costs only its bytes.

use super::super::metric::{Batch, Metric, Point, Resource, Unit};
use super::{VALUE_DECIMALS, comma, crop, is_first, key, member, number, values};
use crate::shared::deadline::EpochMs;
use crate::shared::json;
use crate::shared::text::push_decimal;

/// What can be chosen about the lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::extension) struct Emf {
    /// At most [`NAMESPACE_BYTES_MAX`] bytes of the characters that [`is_namespace`] takes.
    pub(super) namespace: String,
    /// The dimension sets: names of fields of the resource and of attributes of points.
    ///
    /// On a line without one of a set's names the set goes without it; sets that become equal are
    /// written once, and a set that loses all its names is not written if there is another.
    pub(super) dimensions: Vec<Vec<String>>,
}

impl Default for Emf {
    /// One metric a function, and for cold starts one more for each kind seen.
    fn default() -> Self {
        Self {
            namespace: "Bantam".to_owned(),
            dimensions: dimensions(DIMENSIONS).unwrap_or_default(),
        }
    }
}

/// Gives each line of `batch` to `each`, with its line end: one `write` a line.
///
/// Points with different attributes are on different lines, because a dimension has one value on
/// a line.
pub(in crate::extension) fn lines(
    resource: &Resource,
    batch: &Batch,
    settings: &Emf,
    now: EpochMs,
    each: &mut dyn FnMut(&[u8]),
) {
    let timestamp = timestamp(EpochMs(batch.end_ms), now);
    for (index, point) in batch.points.iter().enumerate() {
        let same = |other: &Point| other.attributes == point.attributes;
        if is_first(batch, index, &same) {
            let mut group = Group::new(resource, point, settings, timestamp);
            for point in batch.points.iter().filter(|other| same(other)) {
                group.add(point);
            }
            group.add_properties(&batch.properties);
            group.write(each);
        }
    }
}

/// The points of a batch with the same attributes.
#[derive(Debug)]
struct Group<'a> {
    /// The line up to the metrics of its directive.
    head: Vec<u8>,
    /// The end of the member `_aws`, and the members that all lines of the group have.
    members: Vec<u8>,
    /// The names of the members, which no other member may have.
    names: Vec<&'a str>,
    /// What is to be written.
    cells: Vec<Cell>,
}

/// At most [`ARRAY_VALUES_MAX`] values of one metric.
#[derive(Debug)]
struct Cell {
    metric: &'static Metric,
    /// A number or an array of numbers.
    value: Vec<u8>,
}

impl<'a> Group<'a> {
    fn new(
        resource: &'a Resource,
        first: &'a Point,
        settings: &'a Emf,
        timestamp: EpochMs,
    ) -> Self {
        let mut group = Self {
            head: Vec::new(),
            // What ends the object `_aws`.
            members: vec![b'}'],
            names: vec!["_aws"],
            cells: Vec::new(),
        };
        let memory_mb = resource.memory_mb.map(|mb| mb.to_string());
        for name in FIRST {
            let mut attributes = first.attributes.iter();
            let found = attributes.find(|(key, _)| key == name);
            let value = found.map_or_else(
                || field(resource, &memory_mb, name),
                |(_, value)| value.as_str(),
            );
            group.add_dimension(name, value);
        }
        for (name, value) in &first.attributes {
            group.add_dimension(name, value);
        }
        for set in &settings.dimensions {
            for name in set {
                group.add_dimension(name, field(resource, &memory_mb, name));
            }
        }
        let head = &mut group.head;
        head.extend_from_slice(b"{\"_aws\":{\"Timestamp\":");
        push_decimal(head, timestamp.0);
        head.extend_from_slice(b",\"CloudWatchMetrics\":[{");
        member("Namespace", &settings.namespace, head);
        key("Dimensions", head);
        dimension_sets(&settings.dimensions, &group.names, head);
        key("Metrics", head);
        head.push(b'[');
        group
    }

    /// Adds a member that may be the target of a dimension, unless there is no value that one
    /// could have: "key … value … ASCII, non-blank".
    fn add_dimension(&mut self, name: &'a str, value: &str) {
        let Some(value) = dimension_value(value) else {
            return;
        };
        if !self.names.contains(&name) {
            self.names.push(name);
            member(name, &value, &mut self.members);
        }
    }

    fn add(&mut self, point: &Point) {
        let metric = point.metric;
        let is_name = (1..=METRIC_NAME_BYTES_MAX).contains(&metric.name.len());
        if !is_name || self.names.contains(&metric.name) {
            return;
        }
        for values in values(point).chunks(ARRAY_VALUES_MAX) {
            let mut value = vec![b'['];
            for one in values {
                comma(&mut value);
                number(*one, VALUE_DECIMALS, &mut value);
            }
            if values.len() == 1 {
                value.remove(0);
            } else {
                value.push(b']');
            }
            self.cells.push(Cell { metric, value });
        }
    }

    /// Adds what is not a dimension. A name that is taken, or that a metric has, is left out.
    fn add_properties(&mut self, properties: &'a [(&'static str, String)]) {
        for (name, value) in properties {
            let is_metric = self.cells.iter().any(|cell| cell.metric.name == *name);
            if !is_metric && !self.names.contains(name) {
                self.names.push(name);
                member(name, crop(value, PROPERTY_BYTES_MAX), &mut self.members);
            }
        }
    }

    /// Writes as many lines as it takes: a name is at most once on a line, and a line is bounded
    /// in metrics and bytes.
    fn write(mut self, each: &mut dyn FnMut(&[u8])) {
        while !self.cells.is_empty() {
            let mut line = self.head.clone();
            let mut members = self.members.clone();
            let mut on_line: Vec<&Metric> = Vec::new();
            self.cells.retain(|cell| {
                let bytes = line.len() + members.len() + cell.bytes_max();
                let is_left = on_line.len() == DIRECTIVE_METRICS_MAX
                    || on_line.iter().any(|metric| metric.name == cell.metric.name)
                    // The first is always taken, so that this ends.
                    || LINE_BYTES_MAX < bytes && !on_line.is_empty();
                if !is_left {
                    on_line.push(cell.metric);
                    cell.write(&mut line, &mut members);
                }
                is_left
            });
            line.extend_from_slice(b"]}]");
            line.extend_from_slice(&members);
            line.extend_from_slice(b"}\n");
            each(&line);
        }
    }
}

impl Cell {
    /// Writes the entry of the directive and the member that it names.
    fn write(&self, directive: &mut Vec<u8>, members: &mut Vec<u8>) {
        comma(directive);
        directive.push(b'{');
        member("Name", self.metric.name, directive);
        member("Unit", unit(self.metric.unit), directive);
        directive.push(b'}');
        key(self.metric.name, members);
        members.extend_from_slice(&self.value);
    }

    /// The bytes that [`Cell::write`] writes are at most these, and what ends a line with them.
    fn bytes_max(&self) -> usize {
        // A name is written twice, each character of it as `\u0000` at worst.
        12 * self.metric.name.len() + self.value.len() + 64
    }
}

/// Whether `text` is a namespace: 1 to 256 of `[a-zA-Z0-9 ._#:/-]`, not blank.
pub(super) fn is_namespace(text: &str) -> bool {
    text.len() <= NAMESPACE_BYTES_MAX
        && !text.trim_ascii().is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b" ._#:/-".contains(&byte))
}

/// Whether `text` is the name of a dimension: 1 to 250 printable ASCII characters, not blank, the
/// first not a colon. <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_Dimension.html>
pub(super) fn is_dimension(text: &str) -> bool {
    text.len() <= DIMENSION_NAME_BYTES_MAX
        && !text.trim_ascii().is_empty()
        && !text.starts_with(':')
        && text != "_aws"
        && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// `text` as a value that a dimension may have, if it has one.
fn dimension_value(text: &str) -> Option<String> {
    let ascii = |c: char| if matches!(c, ' '..='~') { c } else { '?' };
    let mut value = String::new();
    for c in text.chars().take(DIMENSION_VALUE_BYTES_MAX) {
        value.push(ascii(c));
    }
    (!value.trim_ascii().is_empty()).then_some(value)
}

/// The field of the resource that a dimension names; empty if there is none.
#[expect(clippy::ref_option, reason = "it is like the fields")]
fn field<'r>(resource: &'r Resource, memory_mb: &'r Option<String>, name: &str) -> &'r str {
    let field = match name {
        "function_name" => return &resource.function_name,
        "function_version" => return &resource.function_version,
        "function_arn" => &resource.function_arn,
        "account_id" => &resource.account_id,
        "region" => &resource.region,
        "memory_mb" => memory_mb,
        "instance_id" => &resource.instance_id,
        "service_name" => &resource.service_name,
        _ => return "",
    };
    super::text(field)
}

/// Reads dimension sets: names between commas, sets between semicolons. A set with no name is a
/// metric without dimensions.
pub(super) fn dimensions(text: &str) -> Option<Vec<Vec<String>>> {
    let mut sets: Vec<Vec<String>> = Vec::new();
    for text in text.split(';') {
        let mut set: Vec<String> = Vec::new();
        for name in super::list(text) {
            if !is_dimension(name) {
                return None;
            }
            if !set.iter().any(|other| other == name) {
                set.push(name.to_owned());
            }
        }
        if DIMENSION_SET_MAX < set.len() {
            return None;
        }
        if !sets.contains(&set) {
            sets.push(set);
        }
    }
    Some(sets)
}

/// Writes the sets with those of their names that are members of the line.
fn dimension_sets(sets: &[Vec<String>], names: &[&str], out: &mut Vec<u8>) {
    let mut written: Vec<Vec<&String>> = Vec::new();
    for set in sets {
        let mut present = Vec::new();
        for name in set {
            if names.contains(&name.as_str()) {
                present.push(name);
            }
        }
        let has_lost_all = present.is_empty() && !set.is_empty();
        if !has_lost_all && !written.contains(&present) {
            written.push(present);
        }
    }
    if written.is_empty() {
        written.push(Vec::new());
    }
    out.push(b'[');
    for set in written {
        comma(out);
        out.push(b'[');
        for name in set {
            comma(out);
            json::write_str(name, json::Charset::Ascii, out);
        }
        out.push(b']');
    }
    out.push(b']');
}

/// The time of a line: `end` if `CloudWatch` accepts it, else `now`. A clock that was put right
/// between the two, as after a restore, must not cost the figures.
fn timestamp(end: EpochMs, now: EpochMs) -> EpochMs {
    let is_accepted =
        end.0 <= now.0.saturating_add(FUTURE_MS_MAX) && now.0 <= end.0.saturating_add(PAST_MS_MAX);
    if is_accepted { end } else { now }
}

/// The names of units are compared with case.
const fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Milliseconds => "Milliseconds",
        Unit::Bytes => "Bytes",
        Unit::Count => "Count",
    }
}

/// The sets without settings.
pub(super) const DIMENSIONS: &str = "function_name;function_name,cold_start_kind";

/// The dimensions that stand first on a line.
const FIRST: &[&str] = &["function_name", "function_version"];

/// Metrics of a directive.
const DIRECTIVE_METRICS_MAX: usize = 100;

/// Values of a metric on a line.
const ARRAY_VALUES_MAX: usize = 100;

/// Bytes of the name of a metric.
const METRIC_NAME_BYTES_MAX: usize = 1_024;

/// Bytes of a namespace.
const NAMESPACE_BYTES_MAX: usize = 256;

/// Bytes of the name of a dimension.
const DIMENSION_NAME_BYTES_MAX: usize = 250;

/// Bytes of the value of a dimension.
const DIMENSION_VALUE_BYTES_MAX: usize = 1_024;

/// Names in a dimension set.
const DIMENSION_SET_MAX: usize = 30;

/// Bytes of the value of a property; ours are ids of under 200.
const PROPERTY_BYTES_MAX: usize = 1_024;

/// Bytes of a line: 256 KB, the smallest limit on a log event that is documented, less the 26
/// bytes that each event is counted with, rounded down.
/// <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html>
const LINE_BYTES_MAX: usize = 256_000;

/// How far in the past a time is accepted: two weeks.
const PAST_MS_MAX: u64 = 14 * 24 * 3_600_000;

/// How far in the future a time is accepted: two hours.
const FUTURE_MS_MAX: u64 = 2 * 3_600_000;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::emf_check::{Checked, Json, check};
    use super::super::samples::{self, DURATION, ERRORS, INVOCATIONS, Random, point};
    use super::*;

    const NOW: EpochMs = EpochMs(1_781_000_000_500);

    fn all(resource: &Resource, batch: &Batch, settings: &Emf, now: EpochMs) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        lines(resource, batch, settings, now, &mut |line| {
            all.push(line.to_vec());
        });
        all
    }

    type Sets<'a> = &'a [&'a [&'a str]];

    fn settings(sets: Sets<'_>) -> Emf {
        let owned = |set: &&[&str]| set.iter().map(|name| (*name).to_owned()).collect();
        Emf {
            dimensions: sets.iter().map(owned).collect(),
            ..Emf::default()
        }
    }

    #[test]
    fn one_line_for_each_set_of_attributes() {
        let lines = all(
            &samples::resource(),
            &samples::batch(),
            &Emf::default(),
            NOW,
        );
        let lines: Vec<String> = lines
            .into_iter()
            .map(|line| String::from_utf8(line).unwrap())
            .collect();
        let start =
            r#"{"_aws":{"Timestamp":1781000000462,"CloudWatchMetrics":[{"Namespace":"Bantam","#;
        let function = r#""function_name":"f","function_version":"7""#;
        let end = "\"request_id\":\"6d68-\\\"1\\\"\"";
        let expected = [
            format!(
                "{start}{}{function},{}{end},{}}}\n",
                r#""Dimensions":[["function_name"],["function_name","cold_start_kind"]],"Metrics":[{"Name":"init_duration","Unit":"Milliseconds"}]}]},"#,
                r#""cold_start_kind":"on_demand","#,
                r#""init_duration":397.68"#,
            ),
            format!(
                "{start}{}{function},{end},{}}}\n",
                r#""Dimensions":[["function_name"]],"Metrics":[{"Name":"invocations","Unit":"Count"},{"Name":"memory_used","Unit":"Bytes"},{"Name":"extension_memory","Unit":"Bytes"}]}]},"#,
                r#""invocations":3,"memory_used":[62914560,63963136],"extension_memory":1500000"#,
            ),
            format!(
                "{start}{}{function},{}{end},{}}}\n",
                r#""Dimensions":[["function_name"]],"Metrics":[{"Name":"errors","Unit":"Count"}]}]},"#,
                r#""error_type":"Function.Panic","#,
                r#""errors":1"#,
            ),
        ];
        assert_eq!(lines, expected);
        for line in lines {
            check(line.as_bytes(), NOW.0);
        }
    }

    #[test]
    fn sets_are_written_with_the_names_that_a_line_has() {
        let table: [(Sets<'_>, Sets<'_>); 9] = [
            (&[&["function_name"]], &[&["function_name"]]),
            (&[&[]], &[&[]]),
            (&[&[], &["region"]], &[&[], &["region"]]),
            (&[&["region", "error_type"]], &[&["region", "error_type"]]),
            (
                &[&["region", "cold_start_kind"], &["region"]],
                &[&["region"]],
            ),
            (&[&["cold_start_kind"], &["region"]], &[&["region"]]),
            (&[&["cold_start_kind"], &["unknown"]], &[&[]]),
            (&[&["errors"], &["request_id"]], &[&[]]),
            (
                &[&[
                    "account_id",
                    "instance_id",
                    "memory_mb",
                    "function_arn",
                    "service_name",
                ]],
                &[&["account_id", "instance_id", "memory_mb", "function_arn"]],
            ),
        ];
        let mut batch = samples::batch();
        batch.points = vec![point(&ERRORS, &[("error_type", "x")], &[1.0])];
        for (sets, expected) in table {
            let lines = all(&samples::resource(), &batch, &settings(sets), NOW);
            let checked = check(&lines[0], NOW.0);
            let names: Vec<Vec<&str>> = checked
                .dimensions
                .iter()
                .map(|set| set.iter().map(|(name, _)| name.as_str()).collect())
                .collect();
            assert_eq!(names, expected, "{sets:?}");
        }
    }

    #[test]
    fn more_values_than_an_array_holds_go_to_further_lines() {
        let values: Vec<f64> = (0..250).map(f64::from).collect();
        let mut batch = samples::batch();
        batch.points = vec![
            point(&DURATION, &[], &values),
            point(&INVOCATIONS, &[], &[1.0]),
            point(&DURATION, &[], &[7.0]),
        ];
        let lines = all(&samples::resource(), &batch, &Emf::default(), NOW);
        let found: Vec<_> = lines
            .iter()
            .map(|line| check(line, NOW.0).metrics)
            .collect();
        let counts: Vec<_> = found
            .iter()
            .map(|line| line["init_duration"].1.len())
            .collect();
        assert_eq!(counts, [100, 100, 50, 1]);
        assert_eq!(found[0]["invocations"].1, [1.0]);
        assert!(found[1..].iter().all(|line| line.len() == 1));
    }

    /// 150 metrics, whose values alone are more than a line holds.
    #[test]
    fn lines_are_bounded_in_metrics_and_bytes() {
        let metrics: Vec<&'static Metric> = (0..150)
            .map(|n| {
                let name = format!("{}_{n}", "m".repeat(900));
                let name: &'static str = Box::leak(name.into_boxed_str());
                let metric = Metric { name, ..DURATION };
                &*Box::leak(Box::new(metric))
            })
            .collect();
        for (length, expected) in [(1, 2), (100, 3)] {
            let values = vec![123_456_789_012.345; length];
            let mut batch = samples::batch();
            batch.points = metrics
                .iter()
                .map(|metric| point(metric, &[], &values))
                .collect();
            batch.properties[0].1 = "\u{1}".repeat(1_000_000);
            let lines = all(&samples::resource(), &batch, &Emf::default(), NOW);
            let found: Vec<_> = lines
                .iter()
                .map(|line| check(line, NOW.0).metrics.len())
                .collect();
            assert_eq!(found.iter().sum::<usize>(), 150);
            assert_eq!(found.len(), expected, "{found:?}");
        }
    }

    #[test]
    fn a_time_that_would_be_refused_becomes_now() {
        let now = 1_781_000_000_000;
        let (past, future) = (now - 1_209_600_000, now + 7_200_000);
        let table = [
            (now, now),
            (past, past),
            (past - 1, now),
            (future, future),
            (future + 1, now),
            (0, now),
        ];
        for (end, expected) in table {
            assert_eq!(timestamp(EpochMs(end), EpochMs(now)), EpochMs(expected));
        }
    }

    #[test]
    fn a_batch_without_values_is_no_line() {
        let mut batch = samples::batch();
        batch.points = vec![
            point(&DURATION, &[], &[f64::NAN]),
            point(&DURATION, &[], &[]),
        ];
        assert_eq!(
            all(&samples::resource(), &batch, &Emf::default(), NOW).len(),
            0
        );
    }

    /// Names that a metric cannot have because something else on its line has it.
    const TAKEN: [&str; 5] = [
        "_aws",
        "function_name",
        "function_version",
        "error_type",
        "phase",
    ];

    /// The values that lines hold, by name and as they are rounded.
    fn expected(batch: &Batch) -> BTreeMap<String, Vec<f64>> {
        let mut expected: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for point in &batch.points {
            let name = point.metric.name;
            let mut attributes = point.attributes.iter();
            let is_taken = TAKEN.contains(&name)
                || attributes.any(|(key, value)| *key == name && value.chars().any(|c| c != ' '));
            for value in values(point).into_iter().filter(|_| !is_taken) {
                let mut text = Vec::new();
                number(value, VALUE_DECIMALS, &mut text);
                let rounded = std::str::from_utf8(&text).unwrap().parse().unwrap();
                expected.entry(name.to_owned()).or_default().push(rounded);
            }
        }
        expected
    }

    #[test]
    fn whatever_a_batch_holds_every_line_is_emf_and_no_value_is_lost() {
        let mut random = Random(3);
        let names = [
            "function_name",
            "region",
            "cold_start_kind",
            "error_type",
            "memory_mb",
            "instance_id",
            "service_name",
            "unknown",
            "errors",
            "phase",
        ];
        for round in 0..500 {
            let (resource, batch) = (random.resource(), random.batch());
            let sets: Vec<Vec<String>> = (0..random.below(4))
                .map(|_| {
                    names
                        .iter()
                        .filter(|_| random.below(4) == 0)
                        .map(|n| (*n).to_owned())
                        .collect()
                })
                .collect();
            let emf = Emf {
                dimensions: sets,
                ..Emf::default()
            };
            let checked: Vec<Checked> = all(&resource, &batch, &emf, NOW)
                .iter()
                .map(|line| check(line, NOW.0))
                .collect();
            let mut found: BTreeMap<String, Vec<f64>> = BTreeMap::new();
            for (name, (_, values)) in checked.iter().flat_map(|line| &line.metrics) {
                found.entry(name.clone()).or_default().extend(values);
            }
            let mut expected = expected(&batch);
            for values in found.values_mut().chain(expected.values_mut()) {
                values.sort_by(f64::total_cmp);
            }
            assert!(found == expected, "round {round}");
            for line in &checked {
                assert!(
                    line.root
                        .values()
                        .all(|value| !matches!(value, Json::Other))
                );
            }
        }
    }
}

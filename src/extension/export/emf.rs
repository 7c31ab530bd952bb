//! EMF: log lines that `CloudWatch` turns into metrics. No network, no credentials.
//!
//! The format:
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>.
//! Every distinct pair of a metric's name and the values of a dimension set is billed as a metric
//! of its own, so a line declares few metrics. Everything else on it is a property, which can be
//! searched and costs only its bytes.
//!
//! - The start of an environment is one line, with all figures.
//! - A loss is a line, which has no metrics unless they are chosen.
//! - The end of an environment is a line if the settings say so.
//! - Other figures are on lines if they are chosen as metrics.

use std::borrow::Cow;

use super::json::{detail, number, numbers};
use crate::extension::metric::{Batch, Metric, Point, Resource, Subject, Unit, VERSION, catalogue};
use crate::shared::json::{comma, key, member, strings};
use crate::shared::text::{push, push_decimal};
use crate::shared::time::EpochMs;

/// The settings of EMF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::extension) struct Emf {
    /// One that [`is_namespace`].
    pub(in crate::extension) namespace: String,
    /// The dimension sets, of names that are in [`DIMENSIONS`].
    ///
    /// On a line without one of a set's names the set goes without it. Sets that become equal are
    /// written once, and a set that loses all its names is not written if there is another.
    pub(in crate::extension) dimensions: Vec<Vec<&'static str>>,
    pub(in crate::extension) metrics: Chosen,
    /// Whether the end of an environment is a line.
    pub(in crate::extension) with_ends: bool,
}

impl Emf {
    fn writes(&self, metric: &Metric) -> bool {
        match metric.subject {
            Subject::Start | Subject::Loss => true,
            Subject::End if self.with_ends => true,
            Subject::End | Subject::Life | Subject::System => self.metrics.has(metric),
        }
    }
}

/// The metrics that lines declare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::extension) enum Chosen {
    All,
    /// These names of the catalogue.
    Named(Vec<&'static str>),
}

impl Chosen {
    fn has(&self, metric: &Metric) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.contains(&metric.name),
        }
    }
}

/// Gives each line of `batch` to `each`, with its line end.
///
/// Points with different attributes are on different lines, because a dimension has one value on
/// a line. A name stands once on a line, and a line is bounded in metrics and bytes.
pub(in crate::extension) fn lines(
    resource: &Resource,
    batch: &Batch,
    settings: &Emf,
    now: EpochMs,
    each: &mut dyn FnMut(&[u8]),
) {
    let chosen = &settings.metrics;
    let mut left = Vec::new();
    for point in &batch.points {
        if settings.writes(point.metric) {
            left.push((point, point.values.as_slice()));
        }
    }
    // Each turn writes a line of the first point that is left and the others with its attributes.
    while let Some((first, _)) = left.first().copied() {
        let mut members = Members {
            names: vec!["_aws"],
            bytes: Vec::new(),
        };
        members.add_dimensions(resource, first, &settings.dimensions);
        let mut directive = Vec::new();
        let mut count = 0;
        for (point, values) in &mut left {
            let is_full = count == DIRECTIVE_METRICS_MAX
                // The first is always taken, so that this ends.
                || LINE_BYTES_MAX < directive.len() + members.bytes.len() && count != 0;
            if is_full || point.attributes != first.attributes {
                continue;
            }
            let (these, rest) = values.split_at(values.len().min(ARRAY_VALUES_MAX));
            if members.add_figures(point.metric.name, these) {
                count += 1;
                if chosen.has(point.metric) {
                    declare(point.metric, &mut directive);
                }
                *values = rest;
            } else {
                *values = &[];
            }
        }
        left.retain(|(_, values)| !values.is_empty());
        if count == 0 {
            continue;
        }
        let mut line = b"{".to_vec();
        if !directive.is_empty() {
            push(&mut line, "\"_aws\":{\"Timestamp\":");
            push_decimal(&mut line, timestamp(EpochMs(batch.end_ms), now).0);
            push(&mut line, ",\"CloudWatchMetrics\":[{");
            member("Namespace", &settings.namespace, &mut line);
            key("Dimensions", &mut line);
            write_sets(&settings.dimensions, &members.names, &mut line);
            key("Metrics", &mut line);
            push(&mut line, "[");
            line.append(&mut directive);
            push(&mut line, "]}]},");
        }
        members.add("bantam_version", VERSION);
        let bytes_max = LINE_BYTES_USUAL - line.len().min(DIRECTIVE_BYTES_USUAL);
        members.add_properties(batch, bytes_max);
        line.append(&mut members.bytes);
        push(&mut line, "}\n");
        each(&line);
    }
}

/// The members of a line behind its directive.
#[derive(Debug)]
struct Members<'a> {
    /// The names that are taken.
    names: Vec<&'a str>,
    bytes: Vec<u8>,
}

impl<'a> Members<'a> {
    /// Adds a member, unless its name is taken.
    fn add(&mut self, name: &'a str, value: &str) {
        if self.take(name) {
            member(name, value, &mut self.bytes);
        }
    }

    /// Adds the values of a metric. Returns whether its name was free.
    fn add_figures(&mut self, name: &'a str, values: &[f64]) -> bool {
        let is_free = self.take(name);
        if is_free {
            key(name, &mut self.bytes);
            match values {
                [value] => number(*value, &mut self.bytes),
                values => numbers(values, &mut self.bytes),
            }
        }
        is_free
    }

    /// Takes a name. Returns whether it was free.
    fn take(&mut self, name: &'a str) -> bool {
        let is_free = !self.names.contains(&name);
        if is_free {
            self.names.push(name);
        }
        is_free
    }

    /// Adds the members that dimensions can name.
    fn add_dimensions(
        &mut self,
        resource: &Resource,
        point: &'a Point,
        sets: &[Vec<&'static str>],
    ) {
        let attributes = &point.attributes;
        let mut add = |name| {
            let attribute = attributes.iter().find(|(key, _)| *key == name);
            let value = match attribute {
                Some((_, value)) => Cow::Borrowed(value.as_str()),
                None => resource.get(name),
            };
            // The value of a dimension is ASCII and not blank.
            let ascii = |c| if matches!(c, ' '..='~') { c } else { '?' };
            let value = value.chars().take(DIMENSION_VALUE_BYTES_MAX);
            let value: String = value.map(ascii).collect();
            if !value.trim_ascii().is_empty() {
                self.add(name, &value);
            }
        };
        FIRST.iter().for_each(|name| add(name));
        attributes.iter().for_each(|(name, _)| add(name));
        sets.iter().flatten().for_each(|name| add(name));
    }

    /// Adds the properties whose names are free, until the members have `bytes_max`. The number of
    /// those that are left out is the last one.
    fn add_properties(&mut self, batch: &'a Batch, bytes_max: usize) {
        let mut left_out = 0;
        for (name, value) in &batch.properties {
            let before = self.bytes.len();
            if self.take(name) {
                detail(name, value, &mut self.bytes);
            }
            if bytes_max < self.bytes.len() && before < self.bytes.len() {
                self.bytes.truncate(before);
                left_out += 1;
            }
        }
        if left_out != 0 && self.take("left_out") {
            key("left_out", &mut self.bytes);
            push_decimal(&mut self.bytes, left_out);
        }
    }
}

/// Writes the entry of the directive.
fn declare(metric: &Metric, directive: &mut Vec<u8>) {
    comma(directive);
    push(directive, "{");
    member("Name", metric.name, directive);
    member("Unit", unit(metric.unit), directive);
    push(directive, "}");
}

/// Whether `text` is a namespace: 1 to 256 of `[a-zA-Z0-9 ._#:/-]`, not blank, and not one of
/// AWS's own.
pub(in crate::extension) fn is_namespace(text: &str) -> bool {
    text.len() <= NAMESPACE_BYTES_MAX
        && !text.trim_ascii().is_empty()
        && !text.starts_with("AWS/")
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b" ._#:/-".contains(&byte))
}

/// Reads dimension sets: names between commas, sets between semicolons. A set without a name is a
/// metric without dimensions.
///
/// # Errors
///
/// The first name that is not in [`DIMENSIONS`].
pub(in crate::extension) fn dimension_sets(text: &str) -> Result<Vec<Vec<&'static str>>, &str> {
    let mut sets = Vec::new();
    for names in text.split(';') {
        let mut set = Vec::new();
        for name in names.split(',').map(str::trim_ascii) {
            if name.is_empty() {
                continue;
            }
            let known = DIMENSIONS.iter().find(|known| **known == name);
            let known = known.ok_or(name)?;
            if !set.contains(known) {
                set.push(*known);
            }
        }
        sets.push(set);
    }
    Ok(sets)
}

/// The metric of this name.
pub(in crate::extension) fn metric(name: &str) -> Option<&'static Metric> {
    let mut known = catalogue::ALL.iter().copied();
    known.find(|known| known.name == name)
}

/// Writes the sets with those of their names that are members of the line.
fn write_sets(sets: &[Vec<&'static str>], names: &[&str], out: &mut Vec<u8>) {
    let mut written: Vec<Vec<&str>> = Vec::new();
    for set in sets {
        let mut present = set.clone();
        present.retain(|name| names.contains(name));
        let has_lost_all = present.is_empty() && !set.is_empty();
        if !has_lost_all && !written.contains(&present) {
            written.push(present);
        }
    }
    if written.is_empty() {
        written.push(Vec::new());
    }
    push(out, "[");
    for set in written {
        comma(out);
        strings(set, out);
    }
    push(out, "]");
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

/// The names that dimensions can have: the fields of the resource and the attributes of points.
pub(in crate::extension) const DIMENSIONS: [&str; 15] = [
    "function_name",
    "function_version",
    "function_arn",
    "account_id",
    "region",
    "memory_mb",
    "instance_id",
    "service_name",
    "availability_zone",
    "cause",
    "cold_start_kind",
    "dropped_by",
    "error_type",
    "estimated",
    "shutdown_reason",
];

/// The dimensions that stand first on a line.
const FIRST: &[&str] = &["function_name", "function_version"];

/// Metrics of a directive.
const DIRECTIVE_METRICS_MAX: usize = 100;

/// Values of a metric on a line.
const ARRAY_VALUES_MAX: usize = 100;

/// Bytes of a namespace.
const NAMESPACE_BYTES_MAX: usize = 256;

/// Bytes of the value of a dimension.
const DIMENSION_VALUE_BYTES_MAX: usize = 1_024;

/// Bytes of a line up to which it takes properties, less the room for the number of those that are
/// left out. What settings add to a line takes no room from properties.
const LINE_BYTES_USUAL: usize = 1_180;

/// Bytes up to the end of the directive without settings.
const DIRECTIVE_BYTES_USUAL: usize = 300;

/// Bytes of a line after which it takes no further metric: 256 KB, the smallest limit on a log
/// event that is documented, less 16 KB, which the name and the values of a metric do not reach.
/// <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html>
const LINE_BYTES_MAX: usize = 240_000;

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
    use crate::extension::metric::Detail;

    const NOW: EpochMs = EpochMs(1_781_000_000_500);

    fn all(resource: &Resource, batch: &Batch, settings: &Emf, now: EpochMs) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        lines(resource, batch, settings, now, &mut |line| {
            all.push(line.to_vec());
        });
        all
    }

    fn emf(dimensions: &str) -> Emf {
        Emf {
            namespace: "Bantam".to_owned(),
            dimensions: dimension_sets(dimensions).unwrap(),
            metrics: Chosen::All,
            with_ends: false,
        }
    }

    fn usual() -> Emf {
        emf("function_name;function_name,cold_start_kind")
    }

    #[test]
    fn one_line_for_each_set_of_attributes() {
        let lines = all(&samples::resource(), &samples::batch(), &usual(), NOW);
        let lines: Vec<String> = lines
            .into_iter()
            .map(|line| String::from_utf8(line).unwrap())
            .collect();
        let start =
            r#"{"_aws":{"Timestamp":1781000000462,"CloudWatchMetrics":[{"Namespace":"Bantam","#;
        let function = r#""function_name":"f","function_version":"7""#;
        let end =
            format!(r#""bantam_version":"{VERSION}","request_id":"6d68-\"1\"","memory_mb":128"#);
        let expected = [
            format!(
                "{start}{}{function},{}{},{end}}}\n",
                r#""Dimensions":[["function_name"],["function_name","cold_start_kind"]],"Metrics":[{"Name":"init_duration","Unit":"Milliseconds"}]}]},"#,
                r#""cold_start_kind":"on_demand","#,
                r#""init_duration":397.68"#,
            ),
            format!(
                "{start}{}{function},{},{end}}}\n",
                r#""Dimensions":[["function_name"]],"Metrics":[{"Name":"invocations","Unit":"Count"},{"Name":"memory_used","Unit":"Bytes"},{"Name":"extension_memory","Unit":"Bytes"}]}]},"#,
                r#""invocations":3,"memory_used":[62914560,63963136],"extension_memory":1500000"#,
            ),
            format!(
                "{start}{}{function},{}{},{end}}}\n",
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
    fn a_start_has_all_its_figures_and_declares_the_chosen_ones() {
        let of_start = |metric, value| point(metric, &[("cause", "demand")], &[value]);
        let mut batch = samples::batch();
        batch.points = vec![
            of_start(&catalogue::COLD_STARTS, 1.0),
            of_start(&catalogue::INIT_DURATION, 397.68),
            of_start(&catalogue::BILLED_INIT_DURATION, 398.0),
            point(&INVOCATIONS, &[], &[3.0]),
            point(
                &catalogue::DROPPED_RECORDS,
                &[("dropped_by", "platform")],
                &[2.0],
            ),
        ];
        let directive = |names: &[&str]| match names {
            [] => String::new(),
            names => format!(
                r#""_aws":{{"Timestamp":1781000000462,"CloudWatchMetrics":[{{"Namespace":"Bantam","Dimensions":[["function_name"],[]],"Metrics":[{}]}}]}},"#,
                names.join(",")
            ),
        };
        let cold_starts = r#"{"Name":"cold_starts","Unit":"Count"}"#;
        let init = r#"{"Name":"init_duration","Unit":"Milliseconds"}"#;
        let invocations = r#"{"Name":"invocations","Unit":"Count"}"#;
        // The chosen metrics, and the entries of each line.
        let table: [(&[&'static str], &[&[&str]]); 3] = [
            (&[], &[&[], &[]]),
            (
                &["cold_starts", "init_duration"],
                &[&[cold_starts, init], &[]],
            ),
            (&["invocations"], &[&[], &[invocations], &[]]),
        ];
        for (names, entries) in table {
            let settings = Emf {
                metrics: Chosen::Named(names.to_vec()),
                ..emf("function_name;")
            };
            let lines = all(&samples::resource(), &batch, &settings, NOW);
            let figures = [
                r#""cause":"demand","cold_starts":1,"init_duration":397.68,"billed_init_duration":398"#,
                r#""invocations":3"#,
                r#""dropped_by":"platform","dropped_records":2"#,
            ];
            let figures = figures.into_iter();
            let figures: Vec<&str> = figures
                .filter(|text| entries.len() == 3 || !text.contains("invocations"))
                .collect();
            let expected: Vec<String> = entries
                .iter()
                .zip(figures)
                .map(|(entries, figures)| {
                    format!(
                        "{{{}\"function_name\":\"f\",\"function_version\":\"7\",{figures},\
                     \"bantam_version\":\"{VERSION}\",\"request_id\":\"6d68-\\\"1\\\"\",\
                     \"memory_mb\":128}}\n",
                        directive(entries)
                    )
                })
                .collect();
            let lines = lines
                .into_iter()
                .map(|line| String::from_utf8(line).unwrap());
            assert_eq!(lines.collect::<Vec<_>>(), expected, "{names:?}");
        }
    }

    #[test]
    fn properties_that_make_a_line_too_long_are_left_out_and_counted() {
        let mut batch = samples::batch();
        batch.points.truncate(1);
        batch.properties = ["a", "b", "c", "d"]
            .map(|name| (name, Detail::Text("x".repeat(260))))
            .to_vec();
        let mut lengths = Vec::new();
        for metrics in [Chosen::All, Chosen::Named(Vec::new())] {
            let settings = Emf { metrics, ..usual() };
            let [line] = &all(&samples::resource(), &batch, &settings, NOW)[..] else {
                panic!("one line");
            };
            let line: serde_json::Value = serde_json::from_slice(line).unwrap();
            assert_eq!(line["left_out"], 1, "{line}");
            assert!(line["c"].is_string() && line["d"].is_null(), "{line}");
            lengths.push(line.to_string().len());
        }
        assert!(lengths.iter().all(|bytes| *bytes <= 1_200), "{lengths:?}");
    }

    #[test]
    fn sets_are_written_with_the_names_that_a_line_has() {
        let table = [
            ("function_name", "function_name"),
            ("", ""),
            (";region", ";region"),
            ("region,error_type", "region,error_type"),
            ("region,cold_start_kind;region", "region"),
            ("cold_start_kind;region", "region"),
            ("cold_start_kind;estimated", ""),
            (
                "account_id,instance_id,memory_mb,function_arn,service_name",
                "account_id,instance_id,memory_mb,function_arn,service_name",
            ),
        ];
        let mut batch = samples::batch();
        batch.points = vec![point(&ERRORS, &[("error_type", "x")], &[1.0])];
        for (sets, expected) in table {
            let lines = all(&samples::resource(), &batch, &emf(sets), NOW);
            let checked = check(&lines[0], NOW.0);
            let sets: Vec<String> = checked
                .dimensions
                .iter()
                .map(|set| {
                    let names: Vec<&str> = set.iter().map(|(name, _)| name.as_str()).collect();
                    names.join(",")
                })
                .collect();
            assert_eq!(sets.join(";"), expected);
        }
    }

    #[test]
    fn dimension_sets_are_of_known_names() {
        type Sets = &'static [&'static [&'static str]];
        let table: [(&str, Result<Sets, &str>); 8] = [
            ("region", Ok(&[&["region"]])),
            (
                " region , function_name ;region",
                Ok(&[&["region", "function_name"], &["region"]]),
            ),
            ("region,region", Ok(&[&["region"]])),
            ("", Ok(&[&[]])),
            (";", Ok(&[&[], &[]])),
            (";region", Ok(&[&[], &["region"]])),
            ("functionname", Err("functionname")),
            ("region, _aws", Err("_aws")),
        ];
        for (text, expected) in table {
            let expected = expected.map(|sets| {
                let sets = sets.iter().map(|set| set.to_vec());
                sets.collect::<Vec<_>>()
            });
            assert_eq!(dimension_sets(text), expected, "{text}");
        }
        // A resource has a value for each name that is not an attribute.
        let resource = samples::resource();
        let known = |name: &&&str| !resource.get(name).is_empty();
        assert_eq!(DIMENSIONS.iter().filter(known).count(), 9);
    }

    #[test]
    fn more_values_than_an_array_holds_go_to_further_lines() {
        let values: Vec<f64> = (0..251).map(f64::from).collect();
        let mut batch = samples::batch();
        batch.points = vec![
            point(&DURATION, &[], &values),
            point(&INVOCATIONS, &[], &[1.0]),
        ];
        let lines = all(&samples::resource(), &batch, &usual(), NOW);
        let found: Vec<_> = lines
            .iter()
            .map(|line| check(line, NOW.0).metrics)
            .collect();
        let counts: Vec<_> = found
            .iter()
            .map(|line| line["init_duration"].1.len())
            .collect();
        assert_eq!(counts, [100, 100, 51]);
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
            batch.properties[0].1 = Detail::Text("\u{1}".repeat(1_000_000));
            let lines = all(&samples::resource(), &batch, &usual(), NOW);
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
    fn a_batch_without_points_is_no_line() {
        let mut batch = samples::batch();
        batch.points.clear();
        assert_eq!(all(&samples::resource(), &batch, &usual(), NOW).len(), 0);
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
            for value in point.values.iter().filter(|_| !is_taken) {
                let mut text = Vec::new();
                number(*value, &mut text);
                let rounded = std::str::from_utf8(&text).unwrap().parse().unwrap();
                expected.entry(name.to_owned()).or_default().push(rounded);
            }
        }
        expected
    }

    #[test]
    fn whatever_a_batch_holds_every_line_is_emf_and_no_value_is_lost() {
        let mut random = Random(3);
        for round in 0..500 {
            let (resource, batch) = (random.resource(), random.batch());
            let sets: Vec<String> = (0..random.below(4))
                .map(|_| {
                    let mut set = DIMENSIONS.to_vec();
                    set.retain(|_| random.below(4) == 0);
                    set.join(",")
                })
                .collect();
            let emf = emf(&sets.join(";"));
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

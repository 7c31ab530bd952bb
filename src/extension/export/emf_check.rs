//! Whether a line is EMF, by the specification and nothing of our own:
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "the check ends where a rule is broken"
)]

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// A value of JSON in which no object has a name twice, which `serde_json::Value` would hide.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json {
    Other,
    Number(f64),
    Text(String),
    Array(Vec<Self>),
    Object(BTreeMap<String, Self>),
}

/// A line that has been checked: the dimension sets with their values, the values of each metric
/// with its unit, and all members of the root.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Checked {
    pub(super) dimensions: Vec<Vec<(String, String)>>,
    pub(super) metrics: BTreeMap<String, (String, Vec<f64>)>,
    pub(super) root: BTreeMap<String, Json>,
}

/// Checks a line with its line end, at the time `now_ms`.
///
/// # Panics
///
/// If the line breaks a rule.
pub(super) fn check(line: &[u8], now_ms: u64) -> Checked {
    assert!(line.len() <= 256 * 1_024 - 26, "{} bytes", line.len());
    let event = line.strip_suffix(b"\n").expect("a line end");
    assert!(
        !event.contains(&b'\n') && !event.contains(&b'\r'),
        "one line"
    );
    assert!(
        event.starts_with(b"{") && event.ends_with(b"}"),
        "nothing around the object"
    );
    let Json::Object(root) = serde_json::from_slice(event).expect("JSON") else {
        panic!("not an object");
    };
    let aws = object(&root["_aws"]);
    let Json::Number(timestamp) = aws["Timestamp"] else {
        panic!("Timestamp is not a number");
    };
    assert_eq!(timestamp.fract(), 0.0, "whole milliseconds");
    assert!(
        now_ms as f64 - 1_209_600_000.0 <= timestamp,
        "two weeks past"
    );
    assert!(timestamp <= now_ms as f64 + 7_200_000.0, "two hours future");
    let directives = array(&aws["CloudWatchMetrics"]);
    assert_eq!(directives.len(), 1, "we write one");
    let directive = object(&directives[0]);
    namespace(text(&directive["Namespace"]));
    Checked {
        dimensions: dimensions(array(&directive["Dimensions"]), &root),
        metrics: metrics(array(&directive["Metrics"]), &root),
        root,
    }
}

fn namespace(namespace: &str) {
    assert!((1..=256).contains(&namespace.len()));
    assert!(!namespace.trim().is_empty());
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || " ._#:/-".contains(c);
    assert!(namespace.chars().all(is_allowed), "{namespace}");
}

fn dimensions(sets: &[Json], root: &BTreeMap<String, Json>) -> Vec<Vec<(String, String)>> {
    assert!(!sets.is_empty(), "Dimensions has at least one set");
    let mut all = Vec::new();
    for set in sets {
        let mut found = Vec::new();
        let set = array(set);
        assert!(set.len() <= 30, "{} dimensions", set.len());
        for name in set.iter().map(text) {
            let value = text(&root[name]);
            assert!(
                (1..=250).contains(&name.len()) && name.is_ascii(),
                "{name:?}"
            );
            assert!(
                !name.trim().is_empty() && !name.starts_with(':'),
                "{name:?}"
            );
            assert!(
                (1..=1_024).contains(&value.len()) && value.is_ascii(),
                "{value:?}"
            );
            assert!(!value.trim().is_empty(), "{value:?}");
            assert!(!value.chars().any(|c| c.is_ascii_control()), "{value:?}");
            let dimension = (name.to_owned(), value.to_owned());
            assert!(!found.contains(&dimension), "{name:?} twice in a set");
            found.push(dimension);
        }
        assert!(!all.contains(&found), "a set twice");
        all.push(found);
    }
    all
}

fn metrics(
    definitions: &[Json],
    root: &BTreeMap<String, Json>,
) -> BTreeMap<String, (String, Vec<f64>)> {
    assert!(
        (1..=100).contains(&definitions.len()),
        "{} metrics",
        definitions.len()
    );
    let mut all = BTreeMap::new();
    for definition in definitions.iter().map(object) {
        assert!(
            definition
                .keys()
                .all(|key| ["Name", "Unit", "StorageResolution"].contains(&&**key))
        );
        let name = text(&definition["Name"]);
        let unit = text(&definition["Unit"]);
        assert!((1..=1_024).contains(&name.len()), "{name:?}");
        assert!(UNITS.contains(&unit), "{unit}");
        let values: Vec<f64> = if let Json::Array(values) = &root[name] {
            values.iter().map(float).collect()
        } else {
            vec![float(&root[name])]
        };
        assert!((1..=100).contains(&values.len()), "{} values", values.len());
        for value in &values {
            let size = value.abs();
            assert!(
                size == 0.0 || (8.515_920e-109..=1.174_271e108).contains(&size),
                "{value}"
            );
        }
        let twice = all.insert(name.to_owned(), (unit.to_owned(), values));
        assert_eq!(twice, None, "{name} twice in a directive");
    }
    all
}

fn object(json: &Json) -> &BTreeMap<String, Json> {
    let Json::Object(object) = json else {
        panic!("{json:?} is not an object");
    };
    object
}

fn array(json: &Json) -> &[Json] {
    let Json::Array(array) = json else {
        panic!("{json:?} is not an array");
    };
    array
}

fn text(json: &Json) -> &str {
    let Json::Text(text) = json else {
        panic!("{json:?} is not a string");
    };
    text
}

fn float(json: &Json) -> f64 {
    let Json::Number(number) = json else {
        panic!("{json:?} is not a number");
    };
    *number
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value as f64))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
        let mut array = Vec::new();
        while let Some(value) = seq.next_element()? {
            array.push(value);
        }
        Ok(Json::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut object = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, Json>()? {
            if object.insert(name.clone(), value).is_some() {
                return Err(A::Error::custom(format!("{name:?} twice in an object")));
            }
        }
        Ok(Json::Object(object))
    }
}

const UNITS: [&str; 27] = [
    "Seconds",
    "Microseconds",
    "Milliseconds",
    "Bytes",
    "Kilobytes",
    "Megabytes",
    "Gigabytes",
    "Terabytes",
    "Bits",
    "Kilobits",
    "Megabits",
    "Gigabits",
    "Terabits",
    "Percent",
    "Count",
    "Bytes/Second",
    "Kilobytes/Second",
    "Megabytes/Second",
    "Gigabytes/Second",
    "Terabytes/Second",
    "Bits/Second",
    "Kilobits/Second",
    "Megabits/Second",
    "Gigabits/Second",
    "Terabits/Second",
    "Count/Second",
    "None",
];

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::super::emf::{self, Chosen, Emf};
    use super::super::samples::{DURATION, point};
    use super::*;
    use crate::extension::metric::{Batch, Detail, Kind, Metric, Resource, Subject, Unit};
    use crate::shared::time::EpochMs;

    const NOW_MS: u64 = 1_781_000_000_500;

    /// The line that `aws-embedded-metrics` 3.5.0 (`PyPI`) writes for the batch of the test below.
    const REFERENCE: &str = concat!(
        r#"{"function_name": "f", "cold_start_kind": "on_demand", "request_id": "6d68", "_aws": "#,
        r#"{"Timestamp": 1781000000462, "CloudWatchMetrics": [{"Dimensions": [["function_name", "#,
        r#""cold_start_kind"], ["function_name"]], "Metrics": [{"Name": "init_duration", "Unit": "#,
        r#""Milliseconds"}, {"Name": "cold_starts", "Unit": "Count"}], "Namespace": "Bantam"}]}, "#,
        r#""init_duration": [397.68, 1.5], "cold_starts": 1}"#,
        "\n",
    );

    /// The line that `aws-lambda-powertools` 3.37.0 (`PyPI`) writes.
    const POWERTOOLS: &str = concat!(
        r#"{"_aws":{"Timestamp":1781000000462,"CloudWatchMetrics":[{"Namespace":"Bantam","#,
        r#""Dimensions":[["function_name","service"]],"Metrics":[{"Name":"init_duration","#,
        r#""Unit":"Milliseconds"},{"Name":"cold_starts","Unit":"Count"}]}]},"function_name":"f","#,
        r#""service":"f","request_id":"6d68","init_duration":[397.68,1.5],"cold_starts":[1.0]}"#,
        "\n",
    );

    static COLD_STARTS: Metric = Metric {
        name: "cold_starts",
        otlp_name: "faas.coldstarts",
        unit: Unit::Count,
        kind: Kind::Counter,
        subject: Subject::Start,
        description: "Cold starts.",
    };

    #[test]
    fn our_line_says_what_the_reference_library_says() {
        let kind = [("cold_start_kind", "on_demand")];
        let batch = Batch {
            start_ms: 0,
            end_ms: 1_781_000_000_462,
            points: vec![
                point(&DURATION, &kind, &[397.68, 1.5]),
                point(&COLD_STARTS, &kind, &[1.0]),
            ],
            properties: vec![("request_id", Detail::Text("6d68".to_owned()))],
        };
        let resource = Resource {
            function_name: "f".to_owned(),
            ..Resource::default()
        };
        let dimensions = emf::dimension_sets("function_name;function_name,cold_start_kind");
        let emf = Emf {
            namespace: "Bantam".to_owned(),
            dimensions: dimensions.unwrap(),
            metrics: Chosen::All,
            with_ends: false,
        };
        let mut lines = Vec::new();
        emf::lines(&resource, &batch, &emf, EpochMs(NOW_MS), &mut |line| {
            lines.push(check(line, NOW_MS));
        });
        let mut expected = check(REFERENCE.as_bytes(), NOW_MS);
        assert_eq!(lines.len(), 1);
        for checked in lines.iter_mut().chain([&mut expected]) {
            // The order of the sets means nothing, and all else of `_aws` has been taken apart.
            checked.dimensions.sort();
            checked.root.remove("_aws");
            checked.root.remove("bantam_version");
        }
        assert_eq!(lines, [expected]);
    }

    #[test]
    fn the_check_takes_what_other_libraries_write() {
        let checked = check(POWERTOOLS.as_bytes(), NOW_MS);
        assert_eq!(
            checked.metrics["cold_starts"],
            ("Count".to_owned(), vec![1.0])
        );
    }

    #[test]
    fn the_check_refuses_each_broken_rule() {
        let long = format!("\"{}\"", "v".repeat(1_025));
        let table = [
            ("\"f\"", "1", "a dimension that is no string"),
            ("\"f\"", "\" \"", "a blank dimension"),
            ("\"f\"", "\"\u{e9}\"", "a dimension that is not ASCII"),
            ("\"f\"", &long, "a dimension that is too long"),
            (
                "\"function_name\":",
                "\"function\":",
                "a dimension without its member",
            ),
            (
                "[[\"function_name\",\"service\"]]",
                "[]",
                "no dimension set",
            ),
            (
                "[\"function_name\",",
                "[\"service\",",
                "a dimension twice in a set",
            ),
            (
                "\"Milliseconds\"",
                "\"milliseconds\"",
                "a unit in lower case",
            ),
            ("[397.68,1.5]", "[]", "no values"),
            ("[397.68,1.5]", "\"397.68\"", "a value in quotes"),
            ("[397.68,1.5]", "[1e109]", "a value that is too large"),
            ("[397.68,1.5]", "1e-110", "a value that is too small"),
            ("[1.0]", "null", "no number"),
            ("\"Bantam\"", "\"Ban&tam\"", "a character no namespace has"),
            ("\"Bantam\"", "\" \"", "a blank namespace"),
            (
                "1781000000462",
                "1779000000462",
                "a time too far in the past",
            ),
            (
                "1781000000462",
                "1781008000462",
                "a time too far in the future",
            ),
            (
                "1781000000462",
                "1781000000462.5",
                "a part of a millisecond",
            ),
            ("\"request_id\"", "\"service\"", "a member twice"),
            (
                "\"cold_starts\",\"Unit\"",
                "\"init_duration\",\"Unit\"",
                "a metric twice",
            ),
            ("{\"_aws\"", "INFO {\"_aws\"", "text before the object"),
            ("}\n", "} \n", "text behind the object"),
            ("}\n", "}", "no line end"),
            ("\"_aws\"", "\"aws\"", "no _aws"),
        ];
        for (from, to, what) in table {
            let broken = POWERTOOLS.replacen(from, to, 1);
            assert_ne!(broken, POWERTOOLS, "{what}");
            let result = catch_unwind(|| check(broken.as_bytes(), NOW_MS));
            assert!(result.is_err(), "{what}");
        }
    }
}

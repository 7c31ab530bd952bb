//! NDJSON: a batch as one line of JSON, to look at and to test with.

use super::json::{detail, numbers};
use crate::extension::metric::{Batch, Kind, Resource, Unit, VERSION};
use crate::shared::json::{comma, key, member};
use crate::shared::text::{push, push_decimal};

/// Appends `batch` as one line with its line end; nothing when it has no points.
///
/// ```json
/// {"start_ms":1,"end_ms":2,"function_name":"f","function_version":"7",
///   "bantam_version":"0.1.0","points":[
///   {"name":"init_duration","kind":"distribution","unit":"ms",
///    "attributes":{"cold_start_kind":"on_demand"},"values":[397.68]}],
///  "properties":{"request_id":"6d68"}}
/// ```
pub(in crate::extension) fn line(resource: &Resource, batch: &Batch, out: &mut Vec<u8>) {
    if batch.points.is_empty() {
        return;
    }
    let start = out.len();
    push(out, "{");
    key("start_ms", out);
    push_decimal(out, batch.start_ms);
    key("end_ms", out);
    push_decimal(out, batch.end_ms);
    member("function_name", &resource.function_name, out);
    member("function_version", &resource.function_version, out);
    for name in ["instance_id", "availability_zone"] {
        match resource.get(name) {
            value if value.is_empty() => {}
            value => member(name, &value, out),
        }
    }
    member("bantam_version", VERSION, out);
    key("points", out);
    push(out, "[");
    for point in &batch.points {
        comma(out);
        push(out, "{");
        member("name", point.metric.name, out);
        member("kind", kind(point.metric.kind), out);
        member("unit", unit(point.metric.unit), out);
        key("attributes", out);
        push(out, "{");
        for (name, value) in &point.attributes {
            member(name, value, out);
        }
        push(out, "}");
        key("values", out);
        numbers(&point.values, out);
        push(out, "}");
    }
    push(out, "]");
    key("properties", out);
    push(out, "{");
    for (name, value) in &batch.properties {
        detail(name, value, out);
    }
    push(out, "}}\n");
    debug_assert!(
        !out.iter()
            .skip(start)
            .rev()
            .skip(1)
            .any(|byte| *byte == b'\n')
    );
}

const fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "counter",
        Kind::Distribution => "distribution",
        Kind::Gauge => "gauge",
    }
}

const fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Milliseconds => "ms",
        Unit::Bytes => "B",
        Unit::Count => "1",
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{self, Random};
    use super::*;

    #[test]
    fn a_batch_is_one_line() {
        let mut out = Vec::new();
        line(&samples::resource(), &samples::batch(), &mut out);
        let expected = concat!(
            r#"{"start_ms":1781000000064,"end_ms":1781000000462,"function_name":"f","#,
            r#""function_version":"7","instance_id":"2026/06/09/f[7]abc","#,
            r#""availability_zone":"use1-az1","#,
            r#""bantam_version":"VERSION","points":["#,
            r#"{"name":"init_duration","kind":"distribution","unit":"ms","#,
            r#""attributes":{"cold_start_kind":"on_demand"},"values":[397.68]},"#,
            r#"{"name":"invocations","kind":"counter","unit":"1","attributes":{},"values":[3]},"#,
            r#"{"name":"memory_used","kind":"distribution","unit":"B","attributes":{},"#,
            r#""values":[62914560,63963136]},"#,
            r#"{"name":"errors","kind":"counter","unit":"1","#,
            r#""attributes":{"error_type":"Function.Panic"},"values":[1]},"#,
            r#"{"name":"extension_memory","kind":"gauge","unit":"B","attributes":{},"#,
            r#""values":[1500000]}],"properties":{"request_id":"6d68-\"1\"","memory_mb":128}}"#,
            "\n",
        );
        let expected = expected.replace("VERSION", VERSION);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_batch_without_points_is_nothing() {
        let mut batch = samples::batch();
        batch.points.clear();
        let mut out = Vec::new();
        line(&samples::resource(), &batch, &mut out);
        assert!(out.is_empty());
    }

    #[test]
    fn whatever_a_batch_holds_is_a_line_of_json() {
        let mut random = Random(1);
        for _ in 0..200 {
            let (resource, batch) = (random.resource(), random.batch());
            let mut out = Vec::new();
            line(&resource, &batch, &mut out);
            if !batch.points.is_empty() {
                let text = out.strip_suffix(b"\n").unwrap();
                assert!(!text.contains(&b'\n'));
                let value: serde_json::Value = serde_json::from_slice(text).unwrap();
                assert_eq!(
                    value["points"].as_array().unwrap().len(),
                    batch.points.len()
                );
            }
        }
    }
}

//! The dashboard of `layer/` shows every metric of the extension, each as its kind allows.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// How values of a metric add up, as `src/extension/metric/mod.rs` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Distribution,
    Gauge,
}

/// The dashboard of the templates.
const DASHBOARD: &str = include_str!("../../layer/dashboard.json");

/// Where all metrics are declared. They are private, so their text is read.
const METRICS: &str = include_str!("../../src/extension/metric/catalogue.rs");

#[test]
fn every_metric_is_on_the_dashboard_and_no_other() {
    let declared: BTreeSet<_> = declared().into_keys().collect();
    let shown: BTreeSet<_> = shown().into_iter().map(|search| search.metric).collect();
    assert_eq!(shown, declared);
}

#[test]
fn a_metric_is_shown_as_its_kind_allows() {
    let declared = declared();
    for search in shown() {
        let fits = match declared[search.metric.as_str()] {
            // Lines of one metric add up to it, and nothing else can be said of it.
            Kind::Counter => search.statistic == "Sum",
            Kind::Gauge => search.statistic == "Maximum",
            Kind::Distribution => search.statistic != "SampleCount",
        };
        assert!(fits, "{search:?}");
    }
}

#[test]
fn it_searches_where_the_extension_writes() {
    // The defaults, as docs/extension.md tells them: sets of dimensions, and the namespace.
    let defaults = include_str!("../../docs/extension.md");
    assert!(defaults.contains("| `BANTAM_EMF_NAMESPACE` | `Bantam` |"));
    let sets = "| `BANTAM_EMF_DIMENSIONS` | `function_name;function_name,cold_start_kind` |";
    assert!(defaults.contains(sets));
    let schemas = [
        r#"Bantam,"function_name""#,
        r#"Bantam,"function_name","cold_start_kind""#,
    ];
    for search in shown() {
        assert!(schemas.contains(&search.schema.as_str()), "{search:?}");
    }
}

/// One expression of the dashboard: `SEARCH('{schema} MetricName="metric"', 'statistic')`.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/search-expression-syntax.html>
#[derive(Debug)]
struct Search {
    schema: String,
    metric: String,
    statistic: String,
}

fn shown() -> Vec<Search> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut shown = Vec::new();
    for widget in dashboard["widgets"].as_array().unwrap() {
        if widget["type"] == "metric" {
            for metric in widget["properties"]["metrics"].as_array().unwrap() {
                let expression = metric[0]["expression"].as_str().unwrap();
                shown.push(search(expression).unwrap_or_else(|| panic!("{expression}")));
            }
        }
    }
    shown
}

fn search(expression: &str) -> Option<Search> {
    let inner = expression.strip_prefix("SEARCH('{")?.strip_suffix("')")?;
    let (schema, inner) = inner.split_once("} MetricName=\"")?;
    let (metric, statistic) = inner.split_once("\"', '")?;
    Some(Search {
        schema: schema.to_owned(),
        metric: metric.to_owned(),
        statistic: statistic.to_owned(),
    })
}

/// Name and kind of each `static NAME: Metric = …;`.
fn declared() -> BTreeMap<String, Kind> {
    let mut declared = BTreeMap::new();
    for declaration in METRICS.split("pub(in crate::extension) static ").skip(1) {
        // The constructor gives a kind, unless one is written out.
        let kind = if declaration.contains("Kind::Counter") {
            Kind::Counter
        } else if declaration.contains("Kind::Gauge") {
            Kind::Gauge
        } else if declaration.contains("Kind::Distribution") || declaration.contains("duration(") {
            Kind::Distribution
        } else if declaration.contains("counter(") {
            Kind::Counter
        } else {
            panic!("no kind: {declaration}");
        };
        let name = declaration.split('"').nth(1).unwrap();
        declared.insert(name.to_owned(), kind);
    }
    assert!(30 < declared.len(), "{declared:?}");
    declared
}

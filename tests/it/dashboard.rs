//! The dashboard of `layer/` shows every metric of the extension, each as its kind allows.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// How values of a metric add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Distribution,
    Gauge,
}

/// The dashboard of the templates.
const DASHBOARD: &str = include_str!("../../layer/dashboard.json");

/// Its table lists all metrics, as a test of the catalogue holds.
const PAGE: &str = include_str!("../../docs/extension.md");

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
    // The default of the namespace, as docs/extension.md tells it, and sets of dimensions.
    assert!(PAGE.contains("| `BANTAM_EMF_NAMESPACE` | `Bantam` |"));
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

/// The name and the kind of each metric, out of the rows of the table.
fn declared() -> BTreeMap<String, Kind> {
    let mut declared = BTreeMap::new();
    for row in PAGE.lines() {
        let cells: Vec<&str> = row.split(" | ").collect();
        let [name, _, _, kind, _, _, _] = cells[..] else {
            continue;
        };
        let kind = match kind {
            "counter" => Kind::Counter,
            "distribution" => Kind::Distribution,
            "gauge" => Kind::Gauge,
            _ => continue,
        };
        let name = name.trim_start_matches("| ").trim_matches('`');
        declared.insert(name.to_owned(), kind);
    }
    assert!(30 < declared.len(), "{declared:?}");
    declared
}

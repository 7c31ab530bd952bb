//! The dashboards and the alarms of `layer/` are of metrics that the extension exports by default.

use std::collections::BTreeSet;

use bantam_emulator::Config;
use serde_json::Value;

use crate::support::{function, start, stock};

/// A metric by its name and the names of its dimensions.
type Metric = (String, Vec<String>);

const DASHBOARD: &str = include_str!("../../layer/dashboard.json");
const GRAFANA: &str = include_str!("../../layer/grafana.json");
const SAM: &str = include_str!("../../layer/sam/fleet.yaml");
const TERRAFORM: &str = include_str!("../../layer/terraform/main.tf");
const CDK: &str = include_str!("../../layer/cdk/app.js");

#[test]
fn dashboards_are_of_all_that_is_exported_by_default() {
    let exported = exported();
    let names = |metrics: &BTreeSet<Metric>| -> BTreeSet<String> {
        metrics.iter().map(|(name, _)| name.clone()).collect()
    };
    assert_eq!(names(&exported).len(), 4, "{exported:?}");
    for (place, text) in [("dashboard.json", DASHBOARD), ("grafana.json", GRAFANA)] {
        let named = named(text);
        assert_eq!(named.difference(&exported).next(), None, "{place}");
        assert_eq!(names(&named), names(&exported), "{place}");
    }
}

#[test]
fn alarms_are_of_failed_inits_and_of_the_share_of_cold_starts() {
    let of_all = |name: &str| (name.to_owned(), Vec::new());
    let expected = BTreeSet::from([of_all("init_failures"), of_all("cold_starts")]);
    assert!(expected.is_subset(&exported()));
    // The template of SAM has the dashboard in it.
    let sam = SAM.split_once("  Dashboard:\n").unwrap().0;
    for (place, text) in [("SAM", sam), ("Terraform", TERRAFORM), ("CDK", CDK)] {
        assert_eq!(named(text), expected, "{place}");
    }
}

#[test]
fn the_template_of_sam_has_the_same_dashboard() {
    let indented = DASHBOARD.lines().flat_map(|line| ["        ", line, "\n"]);
    let indented: String = indented.collect();
    assert!(SAM.contains(&indented));
}

/// The metrics on the lines of functions that start and that do not.
fn exported() -> BTreeSet<Metric> {
    let mut good = function("raw");
    good.extensions = vec![stock("").program];
    good.telemetry.flush_at_shutdown = true;
    let mut bad = good.clone();
    bad.program = "/bin/false".into();
    [good, bad].into_iter().flat_map(metrics).collect()
}

fn metrics(config: Config) -> Vec<Metric> {
    let env = start(config);
    // The one that does not start fails its invocation.
    drop(env.invoke("1"));
    let report = env.stop();
    let lines = report.log.iter().filter(|line| line.extension.is_some());
    let lines = lines.filter_map(|line| serde_json::from_str::<Value>(&line.text).ok());
    lines.flat_map(|line| declared(&line)).collect()
}

/// The metrics that a line of EMF declares.
fn declared(line: &Value) -> Vec<Metric> {
    let mut metrics = Vec::new();
    for directive in line["_aws"]["CloudWatchMetrics"]
        .as_array()
        .into_iter()
        .flatten()
    {
        for metric in directive["Metrics"].as_array().unwrap() {
            for set in directive["Dimensions"].as_array().unwrap() {
                let names = set.as_array().unwrap().iter();
                let names = names.map(|name| name.as_str().unwrap().to_owned());
                let name = metric["Name"].as_str().unwrap().to_owned();
                metrics.push((name, names.collect()));
            }
        }
    }
    metrics
}

/// The metrics in the namespace of the extension that a text names, be it JSON, YAML, Terraform or
/// JavaScript: after the namespace, dimensions, then the name, or the name, then dimensions.
fn named(text: &str) -> BTreeSet<Metric> {
    let mut metrics = BTreeSet::new();
    for (_, rest) in text
        .match_indices("Bantam")
        .map(|(place, found)| text.split_at(place + found.len()))
    {
        // Anything else is a word in a sentence.
        if !rest.starts_with(['"', ',', '\n']) {
            continue;
        }
        let mut words = rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let mut word = || words.find(|word| !word.is_empty()).unwrap_or_default();
        let mut dimensions = Vec::new();
        let mut next = word();
        if next == "function_name" {
            dimensions.push(next.to_owned());
            next = word();
        }
        if ["MetricName", "metricName", "metric_name"].contains(&next) {
            next = word();
        }
        let name = next.to_owned();
        if word() == "dimensions" {
            let dimension = word();
            dimensions.extend((dimension == "function_name").then(|| dimension.to_owned()));
        }
        metrics.insert((name, dimensions));
    }
    metrics
}

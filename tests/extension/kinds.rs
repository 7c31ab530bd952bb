//! Each kind of start, from the platform's events to the exported figures.

use std::path::Path;
use std::time::Duration;

use emulator::{Config, Initialization};
use serde_json::Value;

use crate::lifecycle::with_extension;
use crate::support::{Env, example_path, start};

/// The function that does what its event says, with the extension writing to a file.
fn measured(file: &Path) -> Config {
    let mut config = with_extension();
    config.program = example_path("faulty");
    config
        .env
        .push(("BANTAM_EXPORTERS".to_owned(), "ndjson".to_owned()));
    config.env.push((
        "BANTAM_NDJSON_FILE".to_owned(),
        file.to_str().unwrap().to_owned(),
    ));
    config
}

/// Every point that was exported.
fn points(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap();
    let batches = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    batches
        .flat_map(|batch| batch["points"].as_array().unwrap().clone())
        .collect()
}

/// All values of a metric under attributes that hold `with`.
fn values(points: &[Value], name: &str, with: &[(&str, &str)]) -> Vec<f64> {
    let fits = |point: &&Value| {
        point["name"] == name
            && with
                .iter()
                .all(|(key, value)| point["attributes"][key] == *value)
    };
    let values = points
        .iter()
        .filter(fits)
        .flat_map(|point| point["values"].as_array().unwrap());
    values.map(|value| value.as_f64().unwrap()).collect()
}

/// Runs the events in a fresh environment to its end and returns what was exported.
fn export(config: Config, file: &Path, events: &[&str]) -> Vec<Value> {
    let env: Env = start(config);
    for event in events {
        env.invoke(*event).unwrap();
    }
    env.stop();
    points(file)
}

const ECHO: &str = r#"{"do":"echo","value":1}"#;

#[test]
fn on_demand_agrees_with_what_the_emulator_measured() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out");
    let env = start(measured(&file));
    let first = env.invoke(ECHO).unwrap();
    for _ in 0..4 {
        env.invoke(ECHO).unwrap();
    }
    env.stop();
    let points = points(&file);
    let kind = [("cold_start_kind", "on_demand")];
    assert_eq!(values(&points, "cold_starts", &kind), [1.0]);
    let init = values(&points, "init_duration", &kind);
    let emulated = first.timing.init.unwrap().as_secs_f64() * 1e3;
    assert_eq!(init.len(), 1);
    assert!((init[0] - emulated).abs() < 0.01, "{init:?} and {emulated}");
    assert_eq!(values(&points, "invocations", &[]).iter().sum::<f64>(), 5.0);
    assert_eq!(values(&points, "duration", &[]).len(), 5);
    assert_eq!(values(&points, "environment_invocations", &[]), [5.0]);
    assert_eq!(values(&points, "shutdowns", &[]), [1.0]);
    assert!(!values(&points, "extension_ready_duration", &[]).is_empty());
}

#[test]
fn provisioned_concurrency_is_no_cold_start_of_a_user() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out");
    let mut config = measured(&file);
    config.initialization = Initialization::ProvisionedConcurrency;
    let points = export(config, &file, &[ECHO, ECHO]);
    let kind = [("cold_start_kind", "provisioned_concurrency")];
    assert_eq!(values(&points, "environment_starts", &kind), [1.0]);
    assert!(values(&points, "cold_starts", &[]).iter().sum::<f64>() < 1.0);
}

#[test]
fn a_restore_is_told_from_the_init_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out");
    let mut config = measured(&file);
    // The function's runtime does not take part in restores; the extension does.
    config.initialization = Initialization::SnapStart;
    let points = export(config, &file, &[ECHO, ECHO]);
    let kind = [("cold_start_kind", "snap_start_restore")];
    assert_eq!(
        values(&points, "restore_duration", &kind).len(),
        1,
        "{points:#?}"
    );
}

#[test]
fn managed_instances_count_starts_of_environments() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out");
    let mut config = measured(&file);
    config.initialization = Initialization::ManagedInstances;
    let points = export(config, &file, &[ECHO]);
    let kind = [("cold_start_kind", "managed_instances")];
    assert_eq!(values(&points, "environment_starts", &kind), [1.0]);
}

#[test]
fn errors_timeouts_and_crashes_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out");
    let mut config = measured(&file);
    config.timeout = Duration::from_millis(500);
    let events = [
        ECHO,
        r#"{"do":"chosen"}"#,
        r#"{"do":"panic","message":"m"}"#,
        r#"{"do":"exit","code":3}"#,
        ECHO,
    ];
    let points = export(config, &file, &events);
    let errors = |error_type| values(&points, "errors", &[("error_type", error_type)]);
    assert_eq!(errors("Function.OutOfMoney"), [1.0]);
    assert_eq!(errors("Function.Panic"), [1.0]);
    assert_eq!(
        errors("Runtime.ExitError").iter().sum::<f64>(),
        1.0,
        "{points:#?}"
    );
    assert_eq!(
        values(&points, "environment_starts", &[])
            .iter()
            .sum::<f64>(),
        2.0
    );
}

#[test]
fn emf_goes_to_standard_output_line_by_line() {
    let mut config = with_extension();
    config
        .env
        .push(("BANTAM_INTERVAL_MS".to_owned(), "0".to_owned()));
    let env = start(config);
    for _ in 0..3 {
        env.invoke("1").unwrap();
    }
    let report = env.stop();
    let lines: Vec<Value> = report
        .log
        .iter()
        .filter(|line| line.extension.as_deref() == Some("bantam") && line.text.starts_with('{'))
        .map(|line| serde_json::from_str(&line.text).unwrap())
        .collect();
    assert!(2 <= lines.len());
    for line in &lines {
        let directive = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(directive["Namespace"], "Bantam");
        for metric in directive["Metrics"].as_array().unwrap() {
            assert!(!line[metric["Name"].as_str().unwrap()].is_null(), "{line}");
        }
    }
    assert!(
        lines
            .iter()
            .any(|line| line["cold_start_kind"] == "on_demand")
    );
}

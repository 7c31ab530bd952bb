//! Each kind of start, from the platform's events to the exported figures.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use bantam_emulator::{Config, Initialization, LogLine};
use serde_json::{Value, json};

use crate::extension::lifecycle::with_extension;
use crate::support::{Env, example_path, start};

/// The function that does what its event says, with the extension writing to a file.
pub(crate) fn measured(file: &Path) -> Config {
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
pub(crate) fn points(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap();
    let batches = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    batches
        .flat_map(|batch| batch["points"].as_array().unwrap().clone())
        .collect()
}

/// All values of a metric under attributes that hold `with`.
pub(crate) fn values(points: &[Value], name: &str, with: &[(&str, &str)]) -> Vec<f64> {
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

/// A restore may be in another zone than the init that its snapshot was made of.
#[test]
fn a_start_has_the_zone_of_its_environment() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out");
    let mut config = measured(&file);
    config.initialization = Initialization::SnapStart;
    config.availability_zones = ["use1-az1", "use1-az2"].map(str::to_owned).to_vec();
    let env = start(config);
    // The zone is read while the invocation runs.
    env.invoke(r#"{"do":"sleep","ms":2500}"#).unwrap();
    env.invoke(ECHO).unwrap();
    let token = env.environments()[0].metadata.clone().unwrap().token;
    let report = env.stop();
    let lines = std::fs::read_to_string(&file).unwrap();
    let zones: Vec<(bool, String)> = lines
        .lines()
        .map(|line| {
            let zone = r#""availability_zone":"use1-az"#;
            let (_, rest) = line.split_once(zone).unwrap_or_default();
            let is_start = line.contains("environment_starts");
            (is_start, rest.chars().take(1).collect())
        })
        .collect();
    assert!(zones.contains(&(true, "2".to_owned())), "{zones:?} {lines}");
    assert!(!lines.contains(&token));
    assert!(report.log.iter().all(|line| !line.text.contains(&token)));
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

/// The kind of every start that was exported, in order.
fn kinds(points: &[Value]) -> Vec<&str> {
    let starts = points
        .iter()
        .filter(|point| point["name"] == "environment_starts");
    let kinds = starts.map(|point| {
        assert_eq!(point["values"], serde_json::json!([1]), "{point}");
        point["attributes"]["cold_start_kind"].as_str().unwrap()
    });
    kinds.collect()
}

/// The kinds of those that an invocation waited for and was then served.
fn cold_starts(points: &[Value]) -> Vec<&str> {
    let starts = points.iter().filter(|point| point["name"] == "cold_starts");
    let kinds = starts.map(|point| point["attributes"]["cold_start_kind"].as_str().unwrap());
    kinds.collect()
}

#[test]
fn a_start_that_nobody_invokes_was_made_ahead_of_demand() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out");
    let env = start(measured(&file));
    let prepared = env.prepare().unwrap();
    env.stop();
    let points = points(&file);
    assert_eq!(kinds(&points), ["proactive"]);
    assert_eq!(cold_starts(&points), [""; 0]);
    let init = values(&points, "init_duration", &[]);
    let emulated = prepared.init.as_secs_f64() * 1e3;
    assert_eq!(init.len(), 1);
    assert!((init[0] - emulated).abs() < 0.01, "{init:?} and {emulated}");
}

/// The one thing that tells it is real time: more of it than an init that somebody waits for has.
#[test]
fn a_start_long_before_its_first_invocation_was_made_ahead_of_demand() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out");
    let env = start(measured(&file));
    env.prepare().unwrap();
    std::thread::sleep(Duration::from_millis(10_100));
    env.respond(ECHO);
    env.stop();
    let points = points(&file);
    assert_eq!(kinds(&points), ["proactive"]);
    assert_eq!(cold_starts(&points), [""; 0]);
    assert_eq!(values(&points, "init_duration", &[]).len(), 1);
    let first = values(&points, "first_invocation_duration", &[]);
    assert_eq!(first.len(), 1, "{points:#?}");
    assert_eq!(values(&points, "cold_start_duration", &[]), [0.0; 0]);
}

/// A function that fails to start once in the folder, by what the shell does, and then starts.
fn failing_once(folder: &Path, file: &Path, shell: &str) -> Config {
    let mut config = measured(file);
    let script = folder.join("bootstrap");
    // Under this name it is a runtime.
    let function = folder.join("function");
    std::fs::create_dir(&function).unwrap();
    symlink(&config.program, function.join("bootstrap")).unwrap();
    let text = format!(
        "#!/bin/sh\nif mkdir '{0}/failed' 2>/dev/null; then {shell}; fi\n\
         exec '{0}/function/bootstrap'\n",
        folder.display(),
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    config.program = script;
    config
        .env
        .push(("PATH".to_owned(), "/usr/bin:/bin".to_owned()));
    config
}

#[test]
fn an_init_that_is_done_again_in_an_invocation_is_told_from_the_one_that_failed() {
    // What goes wrong, how long an init may take, and the error that the first process tells.
    let table = [
        ("exit 7", 10_000, "Runtime.ExitError"),
        ("sleep 30", 2_000, "timeout"),
    ];
    for (shell, init_timeout_ms, error) in table {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("out");
        let mut config = failing_once(folder.path(), &file, shell);
        config.init_timeout = Duration::from_millis(init_timeout_ms);
        let env = start(config);
        env.respond(ECHO);
        env.respond(ECHO);
        let log = env.stop().log;
        let points = points(&file);
        assert_eq!(kinds(&points), ["init_failure", "init_retried_in_invoke"]);
        assert_eq!(cold_starts(&points), ["init_retried_in_invoke"], "{shell}");
        let failed = [("cold_start_kind", "init_failure")];
        let failures = points
            .iter()
            .filter(|point| point["name"] == "init_failures")
            .map(|point| point["attributes"]["error_type"].as_str().unwrap());
        assert_eq!(failures.collect::<Vec<_>>(), [error], "{shell}");
        assert_eq!(values(&points, "init_duration", &failed).len(), 1);
        let retried = [("cold_start_kind", "init_retried_in_invoke")];
        let init = values(&points, "init_duration", &retried);
        let first = values(&points, "first_invocation_duration", &retried);
        let whole = values(&points, "cold_start_duration", &retried);
        let [init, first, whole] = [init, first, whole].map(|values| {
            assert_eq!(values.len(), 1, "{shell}: {points:#?}");
            values[0]
        });
        // The report of such an invocation holds the init that it waited for.
        assert!(
            (init + first - whole).abs() < 0.01,
            "{init} {first} {whole}"
        );
        let reported = log.iter().find_map(|line| {
            let (_, figure) = line.text.split_once("\tDuration: ")?;
            figure.split(' ').next()?.parse::<f64>().ok()
        });
        let reported = reported.expect("the report of the first invocation");
        assert!((whole - reported).abs() < 0.01, "{whole} and {reported}");
    }
}

#[test]
fn an_init_that_always_fails_is_counted_every_time() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out");
    let mut config = measured(&file);
    config
        .env
        .push(("FAULTY_INIT".to_owned(), "exit".to_owned()));
    let env = start(config);
    for _ in 0..2 {
        assert_eq!(env.fail(ECHO).0, "Runtime.ExitError");
    }
    env.stop();
    let points = points(&file);
    let kinds = kinds(&points);
    assert!(3 <= kinds.len(), "{kinds:?}");
    assert!(
        kinds.iter().all(|kind| *kind == "init_failure"),
        "{kinds:?}"
    );
    assert_eq!(cold_starts(&points), [""; 0]);
    let error = [("error_type", "Runtime.ExitError")];
    let failures = values(&points, "init_failures", &error);
    assert_eq!(failures.len(), kinds.len(), "{points:#?}");
}

/// The process that is interrupted cannot be told its own report: it is gone. The platform
/// delivers that to whoever listens on its port next.
#[test]
fn a_start_after_a_timeout_or_a_crash_is_told_by_what_was_left_undelivered() {
    let table = [
        (r#"{"do":"sleep","ms":60000}"#, "reset_after_timeout"),
        (r#"{"do":"exit","code":3}"#, "reset_after_crash"),
    ];
    for (event, kind) in table {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("out");
        let mut config = measured(&file);
        config.timeout = Duration::from_secs(2);
        let env = start(config);
        env.respond(ECHO);
        env.invoke(event).unwrap();
        env.respond(ECHO);
        env.respond(ECHO);
        env.stop();
        let points = points(&file);
        assert_eq!(kinds(&points), ["on_demand", kind]);
        assert_eq!(cold_starts(&points), ["on_demand", kind]);
        assert_eq!(values(&points, "invocations", &[]).iter().sum::<f64>(), 3.0);
        // The interrupted one was told by its own process, and is not told again.
        let failed = ["timeouts", "errors"];
        let failed = failed.map(|name| values(&points, name, &[]).iter().sum::<f64>());
        assert_eq!(failed.iter().sum::<f64>(), 1.0, "{points:#?}");
    }
}

/// The process that was there when memory ran out has ended before that is known: only the report
/// has how much was used, and the process that takes its place gets that.
#[test]
fn a_start_after_memory_ran_out_says_so_in_the_export_and_in_a_report() {
    let folder = tempfile::tempdir().unwrap();
    let [file, log] = ["out.ndjson", "log.json"].map(|name| folder.path().join(name));
    let mut config = measured(&file);
    config.enforce_memory = true;
    let env = start(config);
    env.respond(ECHO);
    assert_eq!(env.fail(r#"{"do":"fill","mb":200}"#).0, "Runtime.ExitError");
    env.respond(ECHO);
    let events: Vec<Value> = env.log().iter().map(log_event).collect();
    env.stop();
    let points = points(&file);
    assert_eq!(kinds(&points), ["on_demand", "reset_after_crash"]);
    let cause = [("cause", "out_of_memory")];
    assert_eq!(values(&points, "cold_starts", &cause), [1.0], "{points:#?}");
    std::fs::write(&log, json!({ "events": events }).to_string()).unwrap();
    // The platform has no line for an init in an invocation, so without the extension's nobody
    // sees the second start.
    for paths in [vec![file.clone()], vec![file, log]] {
        let report = bantam_report::Report::read(&paths, &[], 0, &|_| {}).unwrap();
        let starts = report.tables.starts.iter();
        let causes: Vec<_> = starts
            .map(|row| (&*row.cause, row.environment_starts))
            .collect();
        assert!(
            causes.contains(&("out_of_memory", 1)),
            "{paths:?} {causes:?}"
        );
        assert_eq!(causes.iter().map(|(_, count)| count).sum::<u64>(), 2);
    }
}

/// A line as `aws logs filter-log-events` gives it.
fn log_event(line: &LogLine) -> Value {
    let time = line.time.duration_since(UNIX_EPOCH).unwrap();
    json!({
        "logStreamName": line.stream,
        "timestamp": u64::try_from(time.as_millis()).unwrap(),
        "message": line.text,
    })
}

/// They are of all processes, so the function's are in them.
#[test]
fn what_all_processes_use_is_exported_where_that_is_asked_for() {
    let names = ["cpu_user_time", "tmp_used", "fd_use", "threads_use"];
    for is_asked in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("out");
        let mut config = measured(&file);
        let value = is_asked.to_string();
        for (name, value) in [
            ("BANTAM_SYSTEM_METRICS", &*value),
            ("BANTAM_INTERVAL_MS", "0"),
        ] {
            config.env.push((name.to_owned(), value.to_owned()));
        }
        let points = export(config, &file, &[ECHO, ECHO]);
        for name in names {
            let found = values(&points, name, &[]);
            assert_eq!(!found.is_empty(), is_asked, "{name} {points:#?}");
        }
        // The runtime and two threads of the extension, at least.
        let threads = values(&points, "threads_use", &[]);
        assert!(threads.iter().all(|threads| 3.0 <= *threads));
    }
}

#[test]
fn an_init_report_that_is_late_or_lost_is_made_up_for() {
    // What happens to the report, and where the duration is taken from then.
    let table = [
        (true, false, "phase_report"),
        (false, true, "invocation_report"),
    ];
    for (late, lost, source) in table {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("out");
        let mut config = measured(&file);
        let report = vec!["platform.initReport".to_owned()];
        if late {
            config.telemetry.late = report;
        } else if lost {
            config.telemetry.lost = report;
        }
        let env = start(config);
        let first = env.invoke(ECHO).unwrap();
        for _ in 0..4 {
            env.respond(ECHO);
        }
        env.stop();
        let text = std::fs::read_to_string(&file).unwrap();
        let points = points(&file);
        assert_eq!(kinds(&points), ["on_demand"], "{source}");
        assert_eq!(cold_starts(&points), ["on_demand"], "{source}");
        let init = values(&points, "init_duration", &[]);
        let emulated = first.timing.init.unwrap().as_secs_f64() * 1e3;
        assert_eq!(init.len(), 1, "{source}");
        assert!((init[0] - emulated).abs() < 0.01, "{init:?} and {emulated}");
        let told = format!(r#""duration_source":"{source}""#);
        assert!(late || text.contains(&told), "{source}: {text}");
        assert_eq!(values(&points, "cold_start_duration", &[]).len(), 1);
    }
}

/// With nothing but time stamps and the clock, the start is told all the same.
#[test]
fn without_any_report_the_stamps_and_the_clock_tell() {
    let lost = |kinds: &[&str]| -> Vec<String> {
        let kinds = kinds.iter().map(|kind| format!("platform.{kind}"));
        kinds.collect()
    };
    let table = [
        (lost(&["initReport", "report"]), "stamps"),
        (
            lost(&["initReport", "report", "initRuntimeDone", "initStart"]),
            "clock",
        ),
    ];
    for (lost, source) in table {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("out");
        let mut config = measured(&file);
        config.telemetry.lost = lost;
        let points = export(config, &file, &[ECHO, ECHO, ECHO, ECHO]);
        assert_eq!(kinds(&points), ["on_demand"], "{source}");
        assert_eq!(values(&points, "init_duration", &[]).len(), 1, "{source}");
        let text = std::fs::read_to_string(&file).unwrap();
        let told = format!(r#""duration_source":"{source}""#);
        assert!(text.contains(&told), "{source}: {text}");
    }
}

#[test]
fn errors_timeouts_and_crashes_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out");
    let mut config = measured(&file);
    config.timeout = Duration::from_secs(2);
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
    config
        .env
        .push(("BANTAM_EMF_METRICS".to_owned(), "all".to_owned()));
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

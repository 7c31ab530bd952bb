//! The extension under our emulator, and what others make of what it exports.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use bantam_emulator::{Config, Emulator, Report, What};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value;
use opentelemetry_proto::tonic::metrics::v1::{AggregationTemporality, Metric, metric::Data};
use serde_json::{Value, json};
use tempfile::tempdir_in;

use crate::otlp::Receiver;
use crate::programs;
use crate::rotel::Rotel;

/// The function with the extension beside it, which listens on a port of its own.
fn with_extension(program: &Path, variables: &[(&str, &str)]) -> Config {
    let mut config = Config::new(program);
    config.timeout = Duration::from_secs(10);
    config.extensions = vec![programs::path("bantam").to_owned()];
    config.telemetry.flush_at_shutdown = true;
    let port = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = port.local_addr().unwrap().port().to_string();
    for &(name, value) in variables.iter().chain(&[("BANTAM_TELEMETRY_PORT", &*port)]) {
        config.env.push((name.to_owned(), value.to_owned()));
    }
    config
}

/// Invokes the function with every event in turn, to the end of its environment. The extension has
/// to live until then, and to exit with 0.
fn run(config: Config, events: &[&str]) -> (Vec<Value>, Report) {
    let emulator = Emulator::start(config).unwrap();
    let responses = events.iter().map(|event| {
        let outcome = emulator.invoke(*event).unwrap();
        serde_json::from_slice(&outcome.body).unwrap()
    });
    let responses = responses.collect();
    let report = emulator.stop();
    let exits = report
        .transcript
        .iter()
        .filter_map(|entry| match entry.what {
            What::ExtensionExited { code, .. } => Some(code),
            _ => None,
        });
    assert_eq!(exits.collect::<Vec<_>>(), [Some(0)]);
    (responses, report)
}

/// All values of a metric in what the extension wrote to `file`.
fn values(file: &Path, name: &str) -> Vec<f64> {
    let text = fs::read_to_string(file).unwrap();
    let batches = text.lines().map(serde_json::from_str::<Value>);
    let points = batches.flat_map(|batch| batch.unwrap()["points"].as_array().unwrap().clone());
    points
        .filter(|point| point["name"] == name)
        .flat_map(|point| point["values"].as_array().unwrap().clone())
        .map(|value| value.as_f64().unwrap())
        .collect()
}

#[test]
#[ignore = "needs .ci/peers"]
fn a_cold_start_of_python_is_measured() {
    let folder = tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = folder.path().join("out");
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let python = programs::peer("python/bin");
    let path = format!("{}:/usr/bin:/bin", python.display());
    let mut config = with_extension(
        &examples.join("python/bootstrap"),
        &[
            ("BANTAM_EXPORTERS", "ndjson"),
            ("BANTAM_NDJSON_FILE", file.to_str().unwrap()),
            ("PATH", &path),
            // Nothing is to be left in the folder of the example.
            ("PYTHONDONTWRITEBYTECODE", "1"),
        ],
    );
    config.handler = "app.handler".to_owned();
    let event = fs::read_to_string(examples.join("events/sqs.json")).unwrap();
    let event: Value = serde_json::from_str(&event).unwrap();
    let records = event["Records"].as_array().unwrap().len();
    let event = event.to_string();
    let (responses, report) = run(config, &[&event, &event, &event]);
    for response in responses {
        assert_eq!(response, json!({"aws:sqs": records}));
    }
    assert_eq!(values(&file, "cold_starts"), [1.0]);
    assert_eq!(values(&file, "environment_invocations"), [3.0]);
    assert_eq!(values(&file, "duration").len(), 3);
    assert_eq!(values(&file, "invocations").iter().sum::<f64>(), 3.0);
    let init = values(&file, "init_duration");
    let emulated = report.log.iter().find_map(|line| {
        let (_, figure) = line.text.split_once("Init Duration: ")?;
        figure.split(' ').next()?.parse::<f64>().ok()
    });
    let emulated = emulated.expect("the report of the first invocation");
    assert_eq!(init.len(), 1);
    assert!((init[0] - emulated).abs() < 0.01, "{init:?} {emulated}");
}

/// `rotel` decodes what it receives, and encodes what it understood for the next receiver.
#[test]
#[ignore = "needs .ci/peers"]
fn a_collector_understands_the_metrics_and_the_trace() {
    let folder = tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = folder.path().join("out");
    let receiver = Receiver::start();
    let mut rotel = Rotel::start(receiver.address(), folder.path());
    let config = with_extension(
        programs::path("raw"),
        &[
            ("BANTAM_EXPORTERS", "otlp,ndjson"),
            ("BANTAM_NDJSON_FILE", file.to_str().unwrap()),
            (
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                &format!("http://{}", rotel.address),
            ),
            ("OTEL_SERVICE_NAME", "shop"),
            // The emulator's headers say Sampled=0.
            ("OTEL_TRACES_SAMPLER", "always_on"),
        ],
    );
    run(config, &["1"; 5]);
    rotel.stop();
    let taken = receiver.take();
    if cfg!(feature = "traces") {
        check_trace(&taken.traces);
    }
    let requests = taken.metrics;
    let mut metrics = Vec::new();
    for resource_metrics in requests.iter().flat_map(|r| &r.resource_metrics) {
        let resource = resource_metrics.resource.as_ref().unwrap();
        let names = resource.attributes.iter().map(|pair| pair.key.as_str());
        let names = names.collect::<Vec<_>>();
        for name in ["service.name", "faas.name", "faas.version", "cloud.region"] {
            assert!(names.contains(&name), "{name} in {names:?}");
        }
        let scopes = resource_metrics.scope_metrics.iter();
        metrics.extend(scopes.flat_map(|scope| scope.metrics.clone()));
    }
    assert_eq!(sum(&metrics, "faas.coldstarts"), 1.0);
    assert_eq!(sum(&metrics, "faas.invocations"), 5.0);
    assert_eq!(sum(&metrics, "bantam.environment.shutdowns"), 1.0);
    // Seconds there, milliseconds in the file.
    for (metric, name, count) in [
        ("faas.init_duration", "init_duration", 1),
        ("faas.invoke_duration", "duration", 5),
        ("bantam.cold_start.duration", "cold_start_duration", 1),
    ] {
        let (found, seconds) = histogram(&metrics, metric);
        let ms = values(&file, name);
        assert_eq!((found, ms.len()), (count, usize::try_from(count).unwrap()));
        let expected = ms.iter().sum::<f64>() / 1e3;
        assert!((seconds - expected).abs() < 1e-9, "{metric}: {seconds}");
    }
    for Metric { name, unit, .. } in &metrics {
        let is_noun = unit.starts_with('{') && unit.ends_with('}');
        assert!(is_noun || matches!(&**unit, "s" | "By"), "{name}: {unit}");
        assert!(!name.ends_with("duration") || unit == "s", "{name}: {unit}");
    }
}

/// The spans of the only start, as the collector understood them.
fn check_trace(requests: &[ExportTraceServiceRequest]) {
    let [request] = requests else {
        panic!("one trace: {requests:#?}");
    };
    let spans = &request.resource_spans[0].scope_spans[0].spans;
    let roots: Vec<_> = spans
        .iter()
        .filter(|span| span.name == "environment start")
        .collect();
    let [root] = roots[..] else {
        panic!("one root: {spans:#?}");
    };
    let is_cold_start = root
        .attributes
        .iter()
        .find(|one| one.key == "faas.coldstart");
    let value = is_cold_start.unwrap().value.clone().unwrap().value;
    assert_eq!(value, Some(any_value::Value::BoolValue(true)));
    for name in ["init", "init runtime", "first invocation"] {
        let span = spans.iter().find(|span| span.name == name);
        let span = span.unwrap_or_else(|| panic!("no {name}: {spans:#?}"));
        assert_eq!(span.trace_id, root.trace_id);
        assert!(spans.iter().any(|of| of.span_id == span.parent_span_id));
        assert!(root.start_time_unix_nano <= span.start_time_unix_nano);
        assert!(span.end_time_unix_nano <= root.end_time_unix_nano);
    }
}

fn named<'m>(metrics: &'m [Metric], name: &str) -> impl Iterator<Item = &'m Data> {
    let named = metrics.iter().filter(move |metric| metric.name == name);
    named.map(|metric| metric.data.as_ref().unwrap())
}

/// The sum of a counter over all exports.
fn sum(metrics: &[Metric], name: &str) -> f64 {
    use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
    let points = named(metrics, name).flat_map(|data| {
        let Data::Sum(sum) = data else {
            panic!("{name} is {data:?}");
        };
        assert_eq!(sum.aggregation_temporality(), AggregationTemporality::Delta);
        assert!(sum.is_monotonic);
        &sum.data_points
    });
    let values = points.map(|point| match point.value.unwrap() {
        Value::AsInt(value) => f64::from(i32::try_from(value).unwrap()),
        Value::AsDouble(value) => value,
    });
    values.sum()
}

/// Count and sum of a histogram over all exports.
fn histogram(metrics: &[Metric], name: &str) -> (u64, f64) {
    let points = named(metrics, name).flat_map(|data| {
        let Data::Histogram(histogram) = data else {
            panic!("{name} is {data:?}");
        };
        assert_eq!(
            histogram.aggregation_temporality(),
            AggregationTemporality::Delta
        );
        &histogram.data_points
    });
    points.fold((0, 0.0), |(count, sum), point| {
        assert_eq!(point.bucket_counts.iter().sum::<u64>(), point.count);
        (count + point.count, sum + point.sum.unwrap())
    })
}

/// Every line of EMF that the extension writes is what the libraries of AWS write for its figures.
#[test]
#[ignore = "needs .ci/peers"]
fn emf_is_what_the_libraries_of_aws_write() {
    // The cold start, then the warm figures: some once, some as arrays of values.
    let all = [
        ("BANTAM_EMF_METRICS", "all"),
        // The libraries take no empty set of dimensions.
        (
            "BANTAM_EMF_DIMENSIONS",
            "function_name;function_name,cold_start_kind",
        ),
    ];
    let config = with_extension(programs::path("faulty"), &all);
    let echo = r#"{"do":"echo","value":1}"#;
    let failing = r#"{"do":"chosen"}"#;
    let events = [echo, echo, failing, echo, echo, echo];
    let (_, report) = run(config, &events);
    let lines = report.log.iter().filter(|line| line.extension.is_some());
    let lines = lines.map(|line| line.text.as_str());
    let lines = lines.filter(|line| line.starts_with('{'));
    let lines = lines.flat_map(|line| [line, "\n"]).collect::<String>();
    let mut count = 0;
    let mut arrays = 0;
    for line in rewritten(&lines).lines() {
        let by: Value = serde_json::from_str(line).unwrap();
        let ours = normal(&by["read"]);
        for library in ["aws-embedded-metrics", "aws-lambda-powertools"] {
            assert_eq!(normal(&by[library]), ours, "{library}");
        }
        count += 1;
        arrays += by["read"]
            .as_object()
            .unwrap()
            .values()
            .filter(|value| value.is_array())
            .count();
    }
    assert_eq!(count, lines.lines().count());
    assert!(3 <= count && 0 < arrays, "{lines}");
}

/// The result of `emf.py` for the lines.
fn rewritten(lines: &str) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/emf.py");
    let mut python = Command::new(programs::peer("python/bin/python"))
        .arg(script)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    // It writes while it reads, but far less than a pipe holds.
    python
        .stdin
        .take()
        .unwrap()
        .write_all(lines.as_bytes())
        .unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// The document without what EMF leaves open: one value or an array of one, 1 or 1.0.
fn normal(document: &Value) -> Value {
    let mut document = document.clone();
    for (_, member) in document.as_object_mut().unwrap() {
        if let Value::Array(values) = member
            && let [value] = values.as_slice()
        {
            *member = value.clone();
        }
        match member {
            Value::Number(number) => *member = json!(number.as_f64()),
            Value::Array(values) => {
                for value in values {
                    *value = json!(value.as_f64());
                }
            }
            _ => {}
        }
    }
    document
}

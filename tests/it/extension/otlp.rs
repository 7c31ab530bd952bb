//! OTLP on the wire: what a receiver gets, and what follows from its answers.

use std::net::{SocketAddr, TcpListener};

use bantam_emulator::{Config, What};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
#[cfg(feature = "traces")]
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value;
use opentelemetry_proto::tonic::metrics::v1::{metric::Data, number_data_point::Value};
use prost::Message as _;
use testkit::http::{Answer, Server};

use crate::extension::lifecycle::{end, with_extension};
use crate::support::{count, start};

/// A receiver that answers with these in turn, the last one for ever.
fn receiver(answers: &'static [&'static str]) -> Server {
    Server::start(|index, _| {
        let status = answers.get(index).or_else(|| answers.last()).unwrap();
        Answer::Status((*status).to_owned())
    })
}

/// Metrics alone: what is answered in turn has to be one after the other.
fn exporting_to(address: SocketAddr) -> Config {
    let mut config = with_extension();
    config.env.extend([
        ("BANTAM_EXPORTERS".to_owned(), "otlp".to_owned()),
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(),
            format!("http://{address}"),
        ),
        (
            "OTEL_EXPORTER_OTLP_HEADERS".to_owned(),
            "api-key=a%20secret".to_owned(),
        ),
        ("OTEL_SERVICE_NAME".to_owned(), "shop".to_owned()),
        ("OTEL_TRACES_EXPORTER".to_owned(), "none".to_owned()),
    ]);
    config
}

/// Runs some invocations to the end of their environment; the names of all metrics that arrived.
fn names(receiver: &Server) -> Vec<String> {
    let mut names = Vec::new();
    for request in receiver.requests.try_iter() {
        let request = ExportMetricsServiceRequest::decode(&*request.body).unwrap();
        let scopes = request
            .resource_metrics
            .into_iter()
            .flat_map(|metrics| metrics.scope_metrics);
        names.extend(
            scopes
                .flat_map(|scope| scope.metrics)
                .map(|metric| metric.name),
        );
    }
    names
}

fn run(config: Config) {
    let env = start(config);
    for _ in 0..3 {
        assert_eq!(env.invoke("1").unwrap().body, b"1");
    }
    env.stop();
}

#[test]
fn a_receiver_gets_what_the_conventions_ask() {
    let receiver = receiver(&["200 OK"]);
    run(exporting_to(receiver.address));
    let request = receiver.requests.try_recv().unwrap();
    let line = (request.method.as_str(), request.target.as_str());
    assert_eq!(line, ("POST", "/v1/metrics"));
    assert_eq!(
        request.header("Content-Type"),
        Some("application/x-protobuf")
    );
    assert_eq!(request.header("api-key"), Some("a secret"));
    let first = ExportMetricsServiceRequest::decode(&*request.body).unwrap();
    let resource = first.resource_metrics[0].resource.clone().unwrap();
    let keys: Vec<&str> = resource
        .attributes
        .iter()
        .map(|pair| pair.key.as_str())
        .collect();
    for key in [
        "service.name",
        "faas.name",
        "faas.version",
        "cloud.provider",
        "cloud.region",
    ] {
        assert!(keys.contains(&key), "{keys:?}");
    }
    let scopes = first
        .resource_metrics
        .iter()
        .flat_map(|metrics| &metrics.scope_metrics);
    let mut names: Vec<String> = scopes
        .flat_map(|scope| &scope.metrics)
        .map(|metric| metric.name.clone())
        .collect();
    names.extend(self::names(&receiver));
    for name in [
        "faas.coldstarts",
        "faas.init_duration",
        "faas.invocations",
        "faas.invoke_duration",
    ] {
        assert!(
            names.iter().any(|found| found == name),
            "{name} in {names:?}"
        );
    }
}

#[cfg(feature = "traces")]
#[test]
fn a_cold_start_is_one_trace_beside_its_metrics() {
    let receiver = receiver(&["200 OK"]);
    let mut config = exporting_to(receiver.address);
    config
        .env
        .retain(|(name, _)| name != "OTEL_TRACES_EXPORTER");
    let sampler = ("OTEL_TRACES_SAMPLER".to_owned(), "always_on".to_owned());
    config.env.push(sampler);
    run(config);
    let requests: Vec<_> = receiver.requests.try_iter().collect();
    let mut targets: Vec<&str> = requests
        .iter()
        .map(|request| request.target.as_str())
        .collect();
    targets.sort_unstable();
    targets.dedup();
    assert_eq!(targets, ["/v1/metrics", "/v1/traces"]);
    let mut traces = requests.iter().filter(|of| of.target == "/v1/traces");
    let trace = traces.next().unwrap();
    assert!(traces.next().is_none(), "three invocations, one start");
    assert_eq!(trace.header("api-key"), Some("a secret"));
    let trace = ExportTraceServiceRequest::decode(&*trace.body).unwrap();
    let spans = &trace.resource_spans[0].scope_spans[0].spans;
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    for name in [
        "environment start",
        "init",
        "init runtime",
        "first invocation",
    ] {
        assert!(names.contains(&name), "{names:?}");
    }
    let root = &spans[0];
    for child in &spans[1..] {
        assert_eq!(child.trace_id, root.trace_id);
        let parent = spans.iter().find(|of| of.span_id == child.parent_span_id);
        let parent = parent.unwrap_or_else(|| panic!("{} has no parent", child.name));
        assert!(parent.start_time_unix_nano <= child.start_time_unix_nano);
        assert!(child.end_time_unix_nano <= parent.end_time_unix_nano);
    }
}

/// Forms in which users of other exporters write them, and of which some got lost there:
/// open-telemetry/opentelemetry-js#4041, supabase/storage#1374, github/gh-aw#39595,
/// open-telemetry/opentelemetry-specification#4847.
#[test]
fn headers_and_attributes_arrive_as_they_were_meant() {
    let receiver = receiver(&["200 OK"]);
    let mut config = exporting_to(receiver.address);
    config
        .env
        .retain(|(name, _)| name != "OTEL_EXPORTER_OTLP_HEADERS");
    for (name, value) in [
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "authorization=Basic dXNlcjpwYXNz==,x-scope=a%20b%3D",
        ),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "deployment.environment=My Stage,team=a=b,,owner=J%C3%BCrgen",
        ),
    ] {
        config.env.push((name.to_owned(), value.to_owned()));
    }
    run(config);
    let request = receiver.requests.try_recv().unwrap();
    assert_eq!(
        request.header("authorization"),
        Some("Basic dXNlcjpwYXNz==")
    );
    assert_eq!(request.header("x-scope"), Some("a b="));
    let request = ExportMetricsServiceRequest::decode(&*request.body).unwrap();
    let resource = request.resource_metrics[0].resource.clone().unwrap();
    for (key, expected) in [
        ("deployment.environment", "My Stage"),
        ("team", "a=b"),
        ("owner", "Jürgen"),
    ] {
        let pair = resource.attributes.iter().find(|pair| pair.key == key);
        let value = pair.unwrap().value.clone().unwrap().value;
        let expected = any_value::Value::StringValue(expected.to_owned());
        assert_eq!(value, Some(expected), "{key}");
    }
}

#[test]
fn what_a_receiver_could_not_take_is_sent_again() {
    let receiver = receiver(&["503 Unavailable", "429 Slow down", "200 OK"]);
    run(exporting_to(receiver.address));
    let names = names(&receiver);
    let count = names
        .iter()
        .filter(|name| *name == "faas.coldstarts")
        .count();
    assert!(
        (2..=3).contains(&count),
        "the same batch until it was taken: {names:?}"
    );
    assert!(
        names.iter().any(|name| name == "faas.invocations"),
        "{names:?}"
    );
}

/// An environment may be frozen after every invocation, for so long that no connection lives
/// through it. So every export has a connection of its own, and one that was lost is made again.
#[test]
fn a_hundred_freezes_and_thaws_lose_nothing_uncounted() {
    // What comes in the pause after the loss has room to wait.
    let receiver = Server::start(|index, _| match index {
        80 => Answer::Lose,
        _ => Answer::Status("200 OK".to_owned()),
    });
    let mut config = exporting_to(receiver.address);
    config
        .env
        .push(("BANTAM_INTERVAL_MS".to_owned(), "0".to_owned()));
    let env = start(config);
    for _ in 0..100 {
        assert_eq!(env.invoke("1").unwrap().body, b"1");
    }
    let report = env.stop();
    let thaws = |what: &What| matches!(what, What::Thawed);
    assert!(100 <= count(&report.transcript, thaws));
    assert_eq!(end(&report), (Some(0), false));
    let requests = receiver.requests.try_iter();
    let decoded = requests.map(|request| ExportMetricsServiceRequest::decode(&*request.body));
    let decoded: Vec<_> = decoded.map(Result::unwrap).collect();
    assert!(100 <= decoded.len(), "{}", decoded.len());
    assert_eq!(sum(&decoded, "faas.coldstarts"), 1.0);
    assert_eq!(sum(&decoded, "bantam.environment.shutdowns"), 1.0);
    // On a busy machine the receiver falls behind by more than there is room for: then the points
    // of the batches that are lost are counted.
    let lost = 100.0 - sum(&decoded, "faas.invocations");
    let counted = sum(&decoded, "bantam.telemetry.dropped_records");
    assert!(0.0 <= lost && lost <= counted, "{lost} of {counted} points");
}

/// The sum of a counter over all requests.
fn sum(requests: &[ExportMetricsServiceRequest], name: &str) -> f64 {
    let scopes = requests
        .iter()
        .flat_map(|request| &request.resource_metrics)
        .flat_map(|metrics| &metrics.scope_metrics);
    let metrics = scopes
        .flat_map(|scope| &scope.metrics)
        .filter(|metric| metric.name == name);
    let points = metrics.flat_map(|metric| match metric.data.as_ref().unwrap() {
        Data::Sum(sum) => &sum.data_points,
        other => panic!("{name} is {other:?}"),
    });
    let values = points.map(|point| match point.value.unwrap() {
        Value::AsInt(value) => f64::from(i32::try_from(value).unwrap()),
        Value::AsDouble(value) => value,
    });
    values.sum()
}

#[test]
fn a_refusal_of_the_credentials_ends_it() {
    let receiver = receiver(&["401 Unauthorized"]);
    let mut config = exporting_to(receiver.address);
    config
        .env
        .push(("BANTAM_INTERVAL_MS".to_owned(), "0".to_owned()));
    let env = start(config);
    for _ in 0..30 {
        assert_eq!(env.invoke("1").unwrap().body, b"1");
    }
    env.stop();
    // One may be on its way when the first answer comes.
    assert!((1..=2).contains(&receiver.requests.try_iter().count()));
}

#[test]
fn a_receiver_that_is_not_there_or_hangs_holds_up_nothing() {
    let gone = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    run(exporting_to(gone));
    // Nobody accepts: the connection opens, and no answer comes.
    let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
    run(exporting_to(hanging.local_addr().unwrap()));
}

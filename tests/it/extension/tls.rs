//! OTLP over TLS, as the layer bantam-tls sends it.

use std::fs;
use std::io::Read as _;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use prost::Message as _;
use rustls::version::{TLS12, TLS13};
use testkit::tls::{Authority, Conduct, Server};

use crate::extension::lifecycle::{end, with_extension};
use crate::extension::platform::Platform;
use crate::support::{start, stock};

/// A server that the authority has certified for `localhost`, and the number of connections to it.
fn server(authority: &Authority) -> (Server, Arc<AtomicUsize>) {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let identity = authority.certify("localhost", 2020, 2100);
    let server = Server::start(identity, &[&TLS12, &TLS13], move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        Conduct::CloseNotify
    });
    (server, connections)
}

#[test]
fn over_tls_metrics_and_the_trace_arrive_with_the_key() {
    let authority = Authority::new("own");
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root.pem");
    fs::write(&root, &authority.pem).unwrap();
    let (server, _) = server(&authority);
    let endpoint = format!("https://localhost:{}", server.address.port());
    let mut config = with_extension();
    for (name, value) in [
        ("BANTAM_EXPORTERS", "otlp"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", root.to_str().unwrap()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20key"),
        ("OTEL_TRACES_SAMPLER", "always_on"),
    ] {
        config.env.push((name.to_owned(), value.to_owned()));
    }
    let env = start(config);
    for _ in 0..3 {
        assert_eq!(env.invoke("1").unwrap().body, b"1");
    }
    let report = env.stop();
    assert_eq!(end(&report), (Some(0), false));
    let requests: Vec<_> = server
        .requests
        .try_iter()
        .map(|(request, _)| request)
        .collect();
    for request in &requests {
        assert_eq!(request.header("Authorization"), Some("Bearer key"));
        assert_eq!(request.header("Host"), endpoint.strip_prefix("https://"));
    }
    let to = |target: &'static str| requests.iter().filter(move |of| of.target == target);
    assert_eq!(to("/v1/traces").count(), 1);
    let mut names = Vec::new();
    for request in to("/v1/metrics") {
        let request = ExportMetricsServiceRequest::decode(&*request.body).unwrap();
        let resources = request.resource_metrics.into_iter();
        let scopes = resources.flat_map(|resource| resource.scope_metrics);
        names.extend(
            scopes
                .flat_map(|scope| scope.metrics)
                .map(|metric| metric.name),
        );
    }
    for name in [
        "faas.coldstarts",
        "faas.invocations",
        "bantam.environment.shutdowns",
    ] {
        assert!(names.iter().any(|found| found == name), "{names:?}");
    }
}

/// Until there is a report, there is no connection, so no handshake is part of a start.
#[test]
fn over_tls_nothing_is_connected_before_the_first_report() {
    let authority = Authority::new("own");
    let (server, connections) = server(&authority);
    let endpoint = format!("https://localhost:{}", server.address.port());
    let mut platform = Platform::start(&stock("").program, |command| {
        command
            .stderr(Stdio::piped())
            .env("BANTAM_EXPORTERS", "otlp")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint);
    });
    let mut log = platform.extension.stderr.take().unwrap();
    let mut connection = platform.ready("200 OK");
    connection.invoke(1);
    connection.next();
    assert_eq!(connections.load(Ordering::SeqCst), 0);
    connection.shut_down("spindown");
    assert_eq!(platform.end().code(), Some(0));
    // The public authorities did not certify it, and nothing was sent.
    assert!(0 < connections.load(Ordering::SeqCst));
    assert!(server.requests.try_recv().is_err());
    let mut text = String::new();
    log.read_to_string(&mut text).unwrap();
    let refused = format!("OTLP receiver {endpoint}/v1/metrics cannot be reached: invalid peer");
    assert!(text.contains(&refused), "{text}");
    assert!(text.contains("UnknownIssuer"), "{text}");
}

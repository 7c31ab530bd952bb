//! OTLP on the wire: what a receiver gets, and what follows from its answers.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use emulator::{Config, What};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{metric::Data, number_data_point::Value};
use prost::Message as _;

use crate::extension::lifecycle::{end, with_extension};
use crate::support::{count, start};

/// A receiver that answers with these in turn, the last one for ever; and the requests it got.
fn receiver(answers: &'static [&'static str]) -> (SocketAddr, Receiver<(String, Vec<u8>)>) {
    receiver_by(|index| answers.get(index).or_else(|| answers.last()).unwrap())
}

/// A receiver that takes one request a connection, and answers each as `answer` says of its number.
/// Without an answer the request counts as lost.
fn receiver_by(
    answer: impl Fn(usize) -> &'static str + Send + 'static,
) -> (SocketAddr, Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, requests) = channel();
    std::thread::spawn(move || {
        for (index, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            stream
                .set_read_timeout(Some(Duration::from_secs(10)))
                .unwrap();
            let mut request = Vec::new();
            let mut bytes = [0; 4_096];
            let (head, body) = loop {
                let count = stream.read(&mut bytes).unwrap();
                assert_ne!(count, 0, "the request did not end");
                request.extend_from_slice(&bytes[..count]);
                let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") else {
                    continue;
                };
                let head = String::from_utf8(request[..end].to_vec()).unwrap();
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("Content-Length: "));
                let length: usize = length.unwrap().parse().unwrap();
                if end + 4 + length <= request.len() {
                    break (head, request[end + 4..].to_vec());
                }
            };
            let answer = answer(index);
            if answer.is_empty() {
                continue;
            }
            write!(stream, "HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n").unwrap();
            if sender.send((head, body)).is_err() {
                return;
            }
        }
    });
    (address, requests)
}

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
    ]);
    config
}

/// Runs some invocations to the end of their environment; the names of all metrics that arrived.
fn names(requests: &Receiver<(String, Vec<u8>)>) -> Vec<String> {
    let mut names = Vec::new();
    for (_, body) in requests.try_iter() {
        let request = ExportMetricsServiceRequest::decode(body.as_slice()).unwrap();
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
    let (address, requests) = receiver(&["200 OK"]);
    run(exporting_to(address));
    let (head, body) = requests.try_recv().unwrap();
    assert!(head.starts_with("POST /v1/metrics HTTP/1.1\r\n"), "{head}");
    assert!(
        head.contains("\r\nContent-Type: application/x-protobuf\r\n"),
        "{head}"
    );
    assert!(head.contains("\r\napi-key: a secret\r\n"), "{head}");
    let first = ExportMetricsServiceRequest::decode(body.as_slice()).unwrap();
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
    names.extend(self::names(&requests));
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

#[test]
fn what_a_receiver_could_not_take_is_sent_again() {
    let (address, requests) = receiver(&["503 Unavailable", "429 Slow down", "200 OK"]);
    run(exporting_to(address));
    let names = names(&requests);
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
fn a_hundred_freezes_and_thaws_lose_nothing() {
    // What comes in the pause after the loss has room to wait.
    let (address, requests) = receiver_by(|index| if index == 80 { "" } else { "200 OK" });
    let mut config = exporting_to(address);
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
    let requests: Vec<_> = requests.try_iter().collect();
    assert!(100 <= requests.len(), "{}", requests.len());
    let decoded = requests
        .iter()
        .map(|(_, body)| ExportMetricsServiceRequest::decode(body.as_slice()).unwrap());
    let decoded: Vec<_> = decoded.collect();
    assert_eq!(sum(&decoded, "faas.invocations"), 100.0);
    assert_eq!(sum(&decoded, "faas.coldstarts"), 1.0);
    assert_eq!(sum(&decoded, "bantam.telemetry.dropped_records"), 0.0);
    assert_eq!(sum(&decoded, "bantam.environment.shutdowns"), 1.0);
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
    let (address, requests) = receiver(&["401 Unauthorized"]);
    let mut config = exporting_to(address);
    config
        .env
        .push(("BANTAM_INTERVAL_MS".to_owned(), "0".to_owned()));
    let env = start(config);
    for _ in 0..30 {
        assert_eq!(env.invoke("1").unwrap().body, b"1");
    }
    env.stop();
    // One may be on its way when the first answer comes.
    assert!((1..=2).contains(&requests.try_iter().count()));
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

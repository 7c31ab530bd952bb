//! The metadata endpoint, from a plain socket and from a function.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bantam_emulator::{Config, Emulator, Fault, FaultKind, Initialization, Metadata, Step};
use testkit::http::{Client, Response};

use crate::support::{attached, attached_with, echo, json};

const PATH: &str = "/2026-01-15/metadata/execution-environment";

fn endpoint(emulator: &Emulator) -> Metadata {
    emulator.environments()[0].metadata.clone().unwrap()
}

/// The answer to a request with this method and this authorization.
fn ask(emulator: &Emulator, method: &str, authorization: Option<&str>) -> Response {
    let mut client = Client::connect(endpoint(emulator).api);
    let header = authorization.map(|value| ("Authorization", value));
    client.send(method, PATH, header.as_slice(), b"");
    client.response().unwrap()
}

fn ask_with_token(emulator: &Emulator) -> Response {
    let token = format!("Bearer {}", endpoint(emulator).token);
    ask(emulator, "GET", Some(&token))
}

fn with_fault(kind: FaultKind) -> Emulator {
    let mut config = Config::new("");
    config.faults = vec![Fault::new(Step::Metadata(0), kind)];
    attached_with(config).0
}

#[test]
fn the_token_opens_it_for_get_alone() {
    let (emulator, mut client) = attached();
    let response = ask_with_token(&emulator);
    assert_eq!(response.status, 200);
    assert_eq!(response.text(), r#"{"AvailabilityZoneID":"use1-az1"}"#);
    assert_eq!(response.header("Content-Type"), Some("application/json"));
    let caching = response.header("Cache-Control");
    assert_eq!(caching, Some("private, max-age=43200, immutable"));
    let token = endpoint(&emulator).token;
    for refused in [
        None,
        Some(""),
        Some("Bearer "),
        Some("Bearer other"),
        Some(token.as_str()),
        Some(&format!("bearer {token}")),
    ] {
        let response = ask(&emulator, "GET", refused);
        let answer = (response.status, response.text());
        assert_eq!(answer, (401, "Unauthorized\n".to_owned()), "{refused:?}");
    }
    let response = ask(&emulator, "POST", Some(&format!("Bearer {token}")));
    assert_eq!(
        (response.status, response.text().as_str()),
        (405, "Method Not Allowed\n")
    );
    // It is not at the Runtime API, nor the Runtime API at it.
    assert_eq!(client.get(PATH).status, 404);
    let mut client = Client::connect(endpoint(&emulator).api);
    assert_eq!(client.get("/2018-06-01/ping").status, 404);
}

#[test]
fn a_function_reads_it_by_its_variables() {
    let mut config = echo();
    config.availability_zones = vec!["euc1-az2".into(), "euc1-az3".into()];
    let emulator = Emulator::start(config).unwrap();
    // Environments are in the zones by turns.
    emulator.prepare().unwrap();
    for zone in ["euc1-az2", "euc1-az3", "euc1-az2"] {
        let outcome = emulator.invoke(r#"{"do":"metadata"}"#).unwrap();
        assert_eq!(json(&outcome.body)["AvailabilityZoneID"], zone);
        emulator.prepare().unwrap();
    }
}

#[test]
fn a_restore_moves_to_another_zone() {
    let mut config = echo();
    config.initialization = Initialization::SnapStart;
    config.env = vec![("ECHO_INIT".into(), "metadata".into())];
    let emulator = Emulator::start(config).unwrap();
    let outcome = emulator.invoke(r#"{"do":"metadata"}"#).unwrap();
    assert_eq!(json(&outcome.body)["AvailabilityZoneID"], "use1-az2");
    let log = emulator.log();
    let read: Vec<_> = log
        .iter()
        .filter_map(|line| line.text.strip_prefix("metadata: "))
        .collect();
    let before = r#"private, max-age=1, immutable {"AvailabilityZoneID":"use1-az1"}"#;
    assert_eq!(read, [before]);
    let caching = ask_with_token(&emulator);
    let caching = caching.header("Cache-Control");
    assert_eq!(caching, Some("private, max-age=43200, immutable"));
}

#[test]
fn without_zones_there_is_none() {
    let mut config = echo();
    config.availability_zones.clear();
    let emulator = Emulator::start(config).unwrap();
    let variables = json(&emulator.invoke(r#"{"do":"env"}"#).unwrap().body);
    for name in ["AWS_LAMBDA_METADATA_API", "AWS_LAMBDA_METADATA_TOKEN"] {
        assert!(variables.get(name).is_none(), "{name}");
    }
    assert_eq!(emulator.environments()[0].metadata, None);
}

#[test]
fn on_managed_instances_it_names_the_capacity_provider_too() {
    let mut config = Config::new("");
    config.initialization = Initialization::ManagedInstances;
    let (emulator, _client) = attached_with(config);
    let document = ask_with_token(&emulator).json();
    let expected = "arn:aws:lambda:us-east-1:123456789012:capacity-provider:default";
    assert_eq!(document["CapacityProviderArn"], expected);
}

#[test]
fn faults_make_it_slow_unavailable_or_absent() {
    let pause = Duration::from_millis(60);
    let emulator = with_fault(FaultKind::Delay(pause));
    let start = Instant::now();
    assert_eq!(ask_with_token(&emulator).status, 200);
    assert!(start.elapsed() >= pause);

    let emulator = with_fault(FaultKind::Status(503, "Service Unavailable\n".into()));
    assert_eq!(ask_with_token(&emulator).status, 503);
    assert_eq!(ask_with_token(&emulator).status, 200);

    let emulator = with_fault(FaultKind::Unreachable(Duration::from_secs(60)));
    let mut client = Client::connect(endpoint(&emulator).api);
    client.send("GET", PATH, &[], b"");
    assert_eq!(client.rest().1, Some(ErrorKind::ConnectionReset));
    let refused = TcpStream::connect(endpoint(&emulator).api).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    // The Runtime API is where it was.
    let mut client = Client::connect(emulator.environments()[0].runtime_api);
    assert_eq!(client.get("/2018-06-01/ping").status, 200);
}

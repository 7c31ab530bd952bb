//! A receiver of OTLP.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use testkit::http::{Request, Server};

/// Takes everything. An answer without a body is an empty message, which says that all was taken.
#[derive(Debug)]
pub(crate) struct Receiver(Server);

impl Receiver {
    pub(crate) fn start() -> Self {
        Self(Server::with_status("200 OK"))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// What came since this was last asked, decoded by the official definitions.
    pub(crate) fn take(&self) -> Taken {
        let mut taken = Taken::default();
        for request in self.0.requests.try_iter() {
            match &*request.target {
                "/v1/metrics" => {
                    let request = ExportMetricsServiceRequest::decode(&*body(request));
                    taken.metrics.push(request.unwrap());
                }
                "/v1/traces" => {
                    let request = ExportTraceServiceRequest::decode(&*body(request));
                    taken.traces.push(request.unwrap());
                }
                target => panic!("a request to {target}"),
            }
        }
        taken
    }
}

/// Requests for metrics and for traces.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) metrics: Vec<ExportMetricsServiceRequest>,
    pub(crate) traces: Vec<ExportTraceServiceRequest>,
}

/// The body of a request. Rotel compresses, whatever it is told.
fn body(request: Request) -> Vec<u8> {
    if request.header("content-encoding") != Some("gzip") {
        return request.body;
    }
    let mut gzip = Command::new("gzip")
        .args(["--decompress", "--stdout"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // The output begins before the input ends, but a pipe holds more than these bodies become.
    gzip.stdin.take().unwrap().write_all(&request.body).unwrap();
    let output = gzip.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    output.stdout
}

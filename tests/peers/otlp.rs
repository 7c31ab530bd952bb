//! A receiver of OTLP metrics.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
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

    /// The requests so far, decoded by the official definitions.
    pub(crate) fn requests(&self) -> Vec<ExportMetricsServiceRequest> {
        let requests = self.0.requests.try_iter();
        let decode = |body: Vec<u8>| ExportMetricsServiceRequest::decode(&*body).unwrap();
        requests.map(body).map(decode).collect()
    }
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

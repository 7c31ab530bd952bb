//! Rotel, a collector of OTLP (<https://rotel.dev>).

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use testkit::child::Child;
use testkit::loopback;

use crate::programs;

/// A collector that hands on what it gets.
#[derive(Debug)]
pub(crate) struct Rotel {
    child: Child,
    /// Where it takes OTLP over HTTP.
    pub(crate) address: SocketAddr,
}

impl Rotel {
    /// Starts it; it is to hand on to `receiver`, and to write its files to `folder`.
    pub(crate) fn start(receiver: SocketAddr, folder: &Path) -> Self {
        let [address, grpc] = loopback::free();
        let mut command = Command::new(programs::peer("rotel-agent"));
        command
            .env_clear()
            .arg("start")
            .arg("--pid-file")
            .arg(folder.join("rotel.pid"))
            .args(["--otlp-http-endpoint", &address.to_string()])
            .args(["--otlp-grpc-endpoint", &grpc.to_string()])
            .args(["--exporter", "otlp", "--otlp-exporter-protocol", "http"])
            .args(["--otlp-exporter-endpoint", &format!("http://{receiver}")]);
        let mut child = Child::start(&mut command, folder, "rotel");
        let listening = child.until_listening(address);
        assert_eq!(listening, Ok(()), "rotel did not start");
        Self { child, address }
    }

    /// Ends it; it hands on what it holds before.
    pub(crate) fn stop(&mut self) {
        self.child.stop();
    }
}

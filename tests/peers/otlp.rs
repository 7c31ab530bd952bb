//! A receiver of OTLP metrics.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Sender};
use std::thread;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use prost::Message as _;

/// Takes everything. Its threads end with the process.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    bodies: mpsc::Receiver<Vec<u8>>,
}

impl Receiver {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, bodies) = mpsc::channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let sender = sender.clone();
                thread::spawn(move || serve(stream.unwrap(), &sender));
            }
        });
        Self { address, bodies }
    }

    /// What has come so far, decoded by the official definitions.
    pub(crate) fn requests(&self) -> Vec<ExportMetricsServiceRequest> {
        let decode = |body: Vec<u8>| ExportMetricsServiceRequest::decode(&*body).unwrap();
        self.bodies.try_iter().map(decode).collect()
    }
}

/// Answers requests until the connection ends. What came is handed on before it is answered.
fn serve(stream: TcpStream, bodies: &Sender<Vec<u8>>) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut length = 0;
        let mut is_gzip = false;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().unwrap();
            }
            is_gzip |= line == "content-encoding: gzip";
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let body = if is_gzip { unzip(&body)? } else { body };
        if bodies.send(body).is_err() {
            return Ok(());
        }
        // An answer without a body is an empty message, which says that all was taken.
        let answer =
            b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n";
        reader.get_mut().write_all(answer)?;
    }
}

/// Rotel compresses, whatever it is told.
fn unzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut gzip = Command::new("gzip")
        .args(["--decompress", "--stdout"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    // The output begins before the input ends, but a pipe holds more than these bodies become.
    gzip.stdin.take().unwrap().write_all(bytes)?;
    let output = gzip.wait_with_output()?;
    assert!(output.status.success(), "{}", output.status);
    Ok(output.stdout)
}

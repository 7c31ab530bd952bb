//! A Runtime API that means harm: nothing that it sends takes more memory than an event may have,
//! or keeps the runtime from its end.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use testkit::child::Child;
use testkit::http::{Answer, Endless, Server};

use super::api_gone::read_request_within;
use crate::support::{example_path, leave_memory};

/// The runtime alone.
fn bootstrap(api: &str, folder: &tempfile::TempDir) -> Child {
    let mut command = Command::new(example_path("raw"));
    command
        .arg0("bootstrap")
        .env_clear()
        .env("AWS_LAMBDA_RUNTIME_API", api)
        .stdin(Stdio::null());
    Child::start(&mut command, folder.path(), "bootstrap")
}

/// An answer to `next` that goes on without end is no event, and after some tries the runtime ends,
/// as it does when the answer is nonsense.
#[test]
fn answers_without_end_are_given_up() {
    for endless in Endless::all("HTTP/1.1 200 OK") {
        let name = endless.name;
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(move |_, _| Answer::Endless(endless.clone()));
        let mut child = bootstrap(&server.address.to_string(), &folder);
        server.requests.recv_timeout(SOON).unwrap();
        leave_memory(child.id(), MEMORY_KB);
        let status = child
            .exited_within(SOON)
            .unwrap_or_else(|| panic!("{name}: it goes on"));
        assert_eq!(status.code(), Some(1), "{name}: {}", child.stderr());
        let tries = 1 + server.requests.try_iter().count();
        assert!((2..=10).contains(&tries), "{name}: {tries} tries");
        assert!(!child.stderr().is_empty(), "{name}");
    }
}

/// With a request id the invocation has an answer, for which another connection is made.
#[test]
fn an_event_without_end_is_answered_with_an_error() {
    let start_line = "HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: id-1\r\n\
                      Lambda-Runtime-Deadline-Ms: 1";
    let all = Endless::all(start_line);
    let mut all = all.into_iter();
    let endless = all.find(|endless| endless.name == "body").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut child = bootstrap(&listener.local_addr().unwrap().to_string(), &folder);
    let (mut stream, _) = listener.accept().unwrap();
    read_request_within(&mut stream, SOON);
    leave_memory(child.id(), MEMORY_KB);
    let writer = thread::spawn(move || endless.write(&mut stream));
    let (mut stream, _) = listener.accept().unwrap();
    let report = read_request_within(&mut stream, SOON);
    let path = "POST /2018-06-01/runtime/invocation/id-1/error ";
    assert!(report.starts_with(path), "{report}");
    let error_type = "Lambda-Runtime-Function-Error-Type: Runtime.EventTooLarge\r\n";
    assert!(report.contains(error_type), "{report}");
    assert!(report.contains("limit 6291556"), "{report}");
    answer(&mut stream, "202 Accepted");
    read_request_within(&mut stream, SOON);
    answer(&mut stream, "410 Gone");
    let status = child.exited_within(SOON).unwrap();
    assert_eq!(status.code(), Some(0), "{}", child.stderr());
    writer.join().unwrap();
}

/// The platform may take its time for every byte: an event waits for as long as it takes.
#[test]
fn slow_answers_are_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut child = bootstrap(&listener.local_addr().unwrap().to_string(), &folder);
    let (mut stream, _) = listener.accept().unwrap();
    read_request_within(&mut stream, SOON);
    let event = "HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: id-1\r\n\
                 Lambda-Runtime-Deadline-Ms: 1\r\nContent-Length: 2\r\n\r\n{}";
    let (sender, ticks) = mpsc::channel::<()>();
    for byte in event.as_bytes() {
        stream.write_all(&[*byte]).unwrap();
        // Nobody sends: it is a wait for the time to pass.
        ticks.recv_timeout(Duration::from_millis(5)).unwrap_err();
    }
    let response = read_request_within(&mut stream, SOON);
    assert!(response.starts_with("POST /2018-06-01/runtime/invocation/id-1/response "));
    for byte in b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n" {
        stream.write_all(&[*byte]).unwrap();
        ticks.recv_timeout(Duration::from_millis(5)).unwrap_err();
    }
    let next = read_request_within(&mut stream, SOON);
    assert!(next.starts_with("GET /2018-06-01/runtime/invocation/next "));
    answer(&mut stream, "410 Gone");
    assert_eq!(child.exited_within(SOON).unwrap().code(), Some(0));
    drop(sender);
}

/// One that closed its end for writing, and one that closed both, has nothing more to say.
#[test]
fn a_connection_that_is_half_open_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut child = bootstrap(&listener.local_addr().unwrap().to_string(), &folder);
    // They are read from and kept, but nothing can come on them.
    let mut kept = Vec::new();
    for _ in 0..4 {
        let (mut stream, _) = listener.accept().unwrap();
        read_request_within(&mut stream, SOON);
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        kept.push(stream);
    }
    let (mut stream, _) = listener.accept().unwrap();
    read_request_within(&mut stream, SOON);
    answer(&mut stream, "410 Gone");
    assert_eq!(child.exited_within(SOON).unwrap().code(), Some(0));
}

fn answer(stream: &mut TcpStream, status: &str) {
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").unwrap();
}

/// Longer than all tries take.
const SOON: Duration = Duration::from_secs(30);

/// The largest event, and as much again while it grows.
const MEMORY_KB: u64 = 14 * 1_024;

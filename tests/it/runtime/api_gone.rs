//! Without a Runtime API: bounded tries, then the end; never a spin.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::{example_path, leave_memory};

fn bootstrap(api: &str) -> Child {
    let mut command = Command::new(example_path("raw"));
    command
        .arg0("bootstrap")
        .env_clear()
        .env("AWS_LAMBDA_RUNTIME_API", api);
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The output of a process that must end by itself within a bound.
fn ends(mut child: Child) -> Output {
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > Duration::from_secs(30) {
            child.kill().unwrap();
            panic!("it did not end: {:?}", child.wait_with_output());
        }
        std::thread::yield_now();
    }
    child.wait_with_output().unwrap()
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Serves every connection with `answer` after reading something, and counts them.
fn serve(answer: &'static [u8]) -> (SocketAddr, &'static AtomicUsize) {
    let (listener, address) = listener();
    let count: &'static AtomicUsize = Box::leak(Box::default());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            if stream.read(&mut [0; 4_096]).is_ok() {
                stream.write_all(answer).ok();
            }
        }
    });
    (address, count)
}

#[test]
fn an_api_at_which_nobody_listens_is_given_up() {
    let (listener, address) = listener();
    drop(listener);
    let output = ends(bootstrap(&address.to_string()));
    assert_eq!(output.status.code(), Some(1));
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(log.lines().count(), 9, "eight warnings and the end: {log}");
    assert!(log.contains("Connection refused"), "{log}");
}

#[test]
fn a_server_that_closes_or_answers_nonsense_is_given_up() {
    let answers: [&[u8]; 5] = [
        b"",
        b"nonsense\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 403 \r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        // An event that does not say which invocation it is.
        b"HTTP/1.1 200 OK\r\nLambda-Runtime-Deadline-Ms: 1\r\nContent-Length: 2\r\n\r\n{}",
    ];
    for answer in answers {
        let (address, count) = serve(answer);
        let output = ends(bootstrap(&address.to_string()));
        assert_eq!(output.status.code(), Some(1));
        let connections = count.load(Ordering::SeqCst);
        assert!((1..=10).contains(&connections), "{connections} connections");
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn a_server_error_or_a_farewell_ends_it_at_once() {
    for (answer, code) in [
        (&b"HTTP/1.1 500 \r\nContent-Length: 0\r\n\r\n"[..], 1),
        (&b"HTTP/1.1 410 \r\nContent-Length: 0\r\n\r\n"[..], 0),
    ] {
        let (address, count) = serve(answer);
        let output = ends(bootstrap(&address.to_string()));
        assert_eq!(output.status.code(), Some(code));
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn a_bad_environment_is_named() {
    // No name server is asked for a part of more than 63 characters.
    let name = format!("{}:80", "x".repeat(64));
    let table = [
        (None, "AWS_LAMBDA_RUNTIME_API is not set"),
        (Some("1.2.3:80"), "neither an IP address nor a name"),
        (Some(&name), "no address was found"),
    ];
    for (api, message) in table {
        let mut command = Command::new(example_path("raw"));
        command.arg0("bootstrap").env_clear();
        if let Some(api) = api {
            command.env("AWS_LAMBDA_RUNTIME_API", api);
        }
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let log = String::from_utf8(output.stderr).unwrap();
        assert!(log.contains(message), "{log}");
    }
}

#[test]
fn other_names_are_other_roles() {
    for (name, code, message) in [
        ("hello", 2, "bootstrap                    the runtime"),
        ("/opt/extensions/x", 1, "AWS_LAMBDA_RUNTIME_API is not set"),
        ("bootstrap", 1, "AWS_LAMBDA_RUNTIME_API is not set"),
        ("bantam", 2, "bantam-emulator run"),
    ] {
        let output = Command::new(example_path("raw"))
            .arg0(name)
            .env_clear()
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(code), "{name}");
        assert!(
            String::from_utf8(output.stderr).unwrap().contains(message),
            "{name}"
        );
    }
}

#[test]
fn an_event_that_cannot_be_taken_is_answered_with_an_error() {
    let head = b"Lambda-Runtime-Aws-Request-Id: id-1\r\n";
    let table: [(&[u8], &str, &str); 2] = [
        (
            b"Lambda-Runtime-Deadline-Ms: 1\r\nContent-Length: 6291557\r\n\r\n",
            "Runtime.EventTooLarge",
            "6291557 bytes of body, limit 6291556",
        ),
        (
            b"Lambda-Runtime-Deadline-Ms: 1\r\nContent-Length: 6291556\r\n\r\n",
            "Runtime.EventTooLarge",
            "no memory for 6291",
        ),
    ];
    for (fields, error_type, message) in table {
        let (listener, address) = listener();
        let child = bootstrap(&address.to_string());
        let (mut stream, _) = listener.accept().unwrap();
        read_request(&mut stream);
        if message.starts_with("no memory") {
            leave_memory(child.id(), 512);
        }
        stream
            .write_all(&[b"HTTP/1.1 200 OK\r\n", &head[..], fields].concat())
            .unwrap();
        // An event over the limit is not read, so the error comes on another connection.
        if error_type == "Runtime.EventTooLarge" {
            stream = listener.accept().unwrap().0;
        }
        let request = read_request(&mut stream);
        assert!(
            request.starts_with("POST /2018-06-01/runtime/invocation/id-1/error "),
            "{request}"
        );
        assert!(request.contains(&format!(
            "Lambda-Runtime-Function-Error-Type: {error_type}\r\n"
        )));
        assert!(request.contains(message), "{request}");
        stream
            .write_all(b"HTTP/1.1 202 \r\nContent-Length: 0\r\n\r\n")
            .unwrap();
        read_request(&mut stream);
        stream
            .write_all(b"HTTP/1.1 410 \r\nContent-Length: 0\r\n\r\n")
            .unwrap();
        assert_eq!(ends(child).status.code(), Some(0));
    }
}

#[test]
fn an_answer_that_cannot_be_sent_is_not_taken_for_accepted() {
    let (listener, address) = listener();
    let child = bootstrap(&address.to_string());
    let (mut stream, _) = listener.accept().unwrap();
    drop(listener);
    let event = "Lambda-Runtime-Aws-Request-Id: id-1\r\nLambda-Runtime-Deadline-Ms: 1\r\n\
                 Content-Length: 2\r\n";
    read_request(&mut stream);
    write!(stream, "HTTP/1.1 200 OK\r\n{event}\r\n{{}}").unwrap();
    read_request(&mut stream);
    write!(stream, "HTTP/1.1 202 \r\nContent-Length: 0\r\n\r\n").unwrap();
    read_request(&mut stream);
    write!(
        stream,
        "HTTP/1.1 200 OK\r\n{event}Connection: close\r\n\r\n{{}}"
    )
    .unwrap();
    let output = ends(child);
    assert_eq!(output.status.code(), Some(1));
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(
        log.contains("id-1\tWARN\tanswering: Connection refused"),
        "{log}"
    );
}

fn read_request(stream: &mut TcpStream) -> String {
    read_request_within(stream, Duration::from_secs(10))
}

/// Reads one request; its body is taken to come with its head or right behind it.
pub(super) fn read_request_within(stream: &mut TcpStream, wait: Duration) -> String {
    stream.set_read_timeout(Some(wait)).unwrap();
    let mut request = Vec::new();
    loop {
        let mut bytes = [0; 4_096];
        let count = stream.read(&mut bytes).unwrap();
        assert_ne!(count, 0, "closed: {}", String::from_utf8_lossy(&request));
        request.extend_from_slice(&bytes[..count]);
        let text = String::from_utf8_lossy(&request);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("Content-Length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return text.into_owned();
            }
        }
    }
}

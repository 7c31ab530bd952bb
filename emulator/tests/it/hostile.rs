//! What callers and processes may take of the emulator, which listens for this machine alone.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use bantam_emulator::{Config, Emulator, What};
use testkit::http::{Client, Endless};

use crate::support::{attached, echo};

const INVOKE: &str = "/2015-03-31/functions/function/invocations";

/// An invocation is served, whatever else goes on.
fn serves(emulator: &Emulator) {
    let mut client = Client::connect(emulator.invoke_addr());
    let answer = client.post(INVOKE, &[], br#"{"do":"echo"}"#);
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// The status of an answer, or that the connection was closed without one that arrived.
fn refusal(client: &mut Client) -> Option<u16> {
    client.response().ok().map(|response| response.status)
}

#[test]
fn it_listens_for_this_machine_alone() {
    let emulator = Emulator::start(Config::new("")).unwrap();
    assert!(emulator.invoke_addr().ip().is_loopback());
    for environment in emulator.environments() {
        assert!(environment.runtime_api.ip().is_loopback());
        if let Some(metadata) = environment.metadata {
            assert!(metadata.api.ip().is_loopback());
        }
    }
}

/// Heads, fields and bodies have limits, at both ports.
#[test]
fn requests_without_end_are_refused() {
    let emulator = Emulator::start(echo()).unwrap();
    serves(&emulator);
    let runtime_api = emulator.environments()[0].runtime_api;
    for (address, path) in [
        (emulator.invoke_addr(), INVOKE),
        (emulator.invoke_addr(), "/"),
        (runtime_api, "/2018-06-01/runtime/init/error"),
        (runtime_api, "/nowhere"),
    ] {
        for endless in Endless::all(&format!("POST {path} HTTP/1.1")) {
            // Any number of zeros is a size to hyper. They take no memory, and the time of a body,
            // or of the function, ends them.
            if endless.name == "chunk size" {
                continue;
            }
            // It panics if it is not cut off.
            endless.write(&mut TcpStream::connect(address).unwrap());
        }
    }
    serves(&emulator);
}

#[test]
fn a_refusal_says_which_limit_it_was() {
    let emulator = Emulator::start(echo()).unwrap();
    let many: String = (0..200)
        .map(|number| format!("X-{number}: y\r\n"))
        .collect();
    let long = "x".repeat(300_000);
    let table = [
        (format!("GET / HTTP/1.1\r\n{many}\r\n"), 431),
        (format!("GET / HTTP/1.1\r\nX: {long}\r\n\r\n"), 431),
        (format!("GET /{long} HTTP/1.1\r\n\r\n"), 431),
        (
            "GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n".to_owned(),
            400,
        ),
        ("\0\u{1}\u{2}\r\n\r\n".to_owned(), 400),
    ];
    for (request, expected) in table {
        let mut client = Client::connect(emulator.invoke_addr());
        client.write(request.as_bytes()).ok();
        let status = refusal(&mut client);
        // A reset overtakes an answer where bytes are left unread.
        let shown: String = request.chars().take(60).collect();
        assert!(
            status.is_none_or(|status| status == expected),
            "{status:?} {shown}"
        );
    }
    // 6 MB and 100 bytes may come, and no more.
    let mut client = Client::connect(emulator.invoke_addr());
    let event = "x".repeat(6 * 1024 * 1024 + 101);
    let answer = client.post(INVOKE, &[], event.as_bytes());
    assert_eq!(answer.status, 413, "{}", answer.text());
    serves(&emulator);
}

/// What is cut off, or can be read in two ways, reaches no function (RFC 9112 sections 5 to 8).
#[test]
fn a_request_that_is_not_whole_and_clear_is_no_event() {
    let emulator = Emulator::start(echo()).unwrap();
    let event = r#"{"do":"echo"}"#;
    let chunked = |framed: &str| format!("Transfer-Encoding: chunked\r\n\r\n{framed}");
    let table = [
        format!("Content-Length: 14\r\n\r\n{event}"),
        format!("Content-Length: 13\r\nContent-Length: 14\r\n\r\n{event} "),
        format!("Content-Length: 13, 13\r\n\r\n{event}"),
        format!("Content-Length: +13\r\n\r\n{event}"),
        format!("Content-Length : 13\r\n\r\n{event}"),
        format!("X: y\r\n z\r\nContent-Length: 13\r\n\r\n{event}"),
        format!("X: y\rContent-Length: 13\r\n\r\n{event}"),
        format!("Transfer-Encoding: gzip\r\n\r\n{event}"),
        format!("Transfer-Encoding: chunked, identity\r\n\r\nd\r\n{event}\r\n0\r\n\r\n"),
        chunked(&format!("d\r\n{event}\r\n")),
        chunked(&format!("d\n{event}\n0\n\n")),
        chunked(&format!("0xd\r\n{event}\r\n0\r\n\r\n")),
        chunked(&format!("d\r\n{event}XX0\r\n\r\n")),
        chunked(&format!("d\r\n{event}\r\n1000000000000000d\r\n")),
        chunked(&format!("d\r\n{event}\r\n0\r\nX: y\r\n z\r\n\r\n")),
    ];
    for rest in table {
        for path in [INVOKE, "/"] {
            let mut client = Client::connect(emulator.invoke_addr());
            let request = format!("POST {path} HTTP/1.1\r\nHost: a\r\n{rest}");
            client.write(request.as_bytes()).unwrap();
            client.finish_writing().ok();
            let (answer, _) = client.rest();
            let answer = String::from_utf8_lossy(&answer);
            assert!(answer.starts_with("HTTP/1.1 400 "), "{request}: {answer}");
        }
    }
    let transcript = emulator.transcript();
    let mut invoked = transcript.iter().map(|entry| &entry.what);
    assert!(!invoked.any(|what| matches!(what, What::InvokeStart { .. })));
    serves(&emulator);
}

/// RFC 9112 section 3.2. A proxy in front may have read the other host, or another one.
#[test]
fn a_request_names_one_host() {
    let emulator = Emulator::start(echo()).unwrap();
    serves(&emulator);
    let runtime_api = emulator.environments()[0].runtime_api;
    let event = r#"{"do":"echo"}"#;
    let ping = "GET /2018-06-01/ping";
    let invoke = format!("POST {INVOKE}");
    let framed = format!("Connection: close\r\nContent-Length: 13\r\n\r\n{event}");
    let table = [
        ("HTTP/1.1\r\n", 400),
        ("HTTP/1.1\r\nHost: a\r\nHost: a\r\n", 400),
        ("HTTP/1.1\r\nHost: a\r\nhost: b\r\n", 400),
        ("HTTP/1.0\r\nHost: a\r\nHost: a\r\n", 400),
        ("HTTP/1.1\r\nHost: a\r\n", 200),
        // "A Host header field ... even if ... empty".
        ("HTTP/1.1\r\nHost:\r\n", 200),
        ("HTTP/1.0\r\n", 200),
    ];
    for (host, expected) in table {
        for (address, target) in [
            (emulator.invoke_addr(), &*invoke),
            (emulator.invoke_addr(), "POST /"),
            (runtime_api, ping),
        ] {
            let mut client = Client::connect(address);
            client
                .write(format!("{target} {host}{framed}").as_bytes())
                .unwrap();
            let status = refusal(&mut client);
            assert_eq!(status, Some(expected), "{target} {host:?}");
        }
    }
}

#[test]
fn it_is_no_proxy() {
    let emulator = Emulator::start(echo()).unwrap();
    let mut client = Client::connect(emulator.invoke_addr());
    let request = b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n";
    client.write(request).unwrap();
    assert_eq!(refusal(&mut client), Some(405));
    serves(&emulator);
}

/// Connections that say nothing take the places there are, and no descriptor beyond them.
#[test]
fn connections_have_a_limit_at_each_port() {
    let emulator = Emulator::start(echo()).unwrap();
    let silent: Vec<TcpStream> = (0..512)
        .map(|_| TcpStream::connect(emulator.invoke_addr()).unwrap())
        .collect();
    let mut client = Client::connect(emulator.invoke_addr());
    let (answer, _) = client.rest();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(
        answer.ends_with("\r\n\r\ntoo many connections\n"),
        "{answer}"
    );
    drop(silent);
    // A place is free when the end of a connection has been seen.
    for _ in 0..1_000 {
        let mut client = Client::connect(emulator.invoke_addr());
        client.send("POST", INVOKE, &[], br#"{"do":"echo"}"#);
        if client.response().is_ok_and(|answer| answer.status == 200) {
            return;
        }
    }
    panic!("no place is free");
}

#[test]
fn connections_to_an_environment_have_a_limit() {
    let (emulator, mut runtime) = attached();
    assert_eq!(runtime.get("/2018-06-01/ping").status, 200);
    let address = emulator.environments()[0].runtime_api;
    let mut open = Vec::new();
    for _ in 0..200 {
        let stream = TcpStream::connect(address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_millis(1)))
            .unwrap();
        open.push(stream);
    }
    // One that is closed is at its end; the others have nothing to read.
    let mut last = open.pop().unwrap();
    last.set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    last.write_all(b"GET /2018-06-01/ping HTTP/1.1\r\n\r\n")
        .ok();
    let read = last.read(&mut [0; 1]);
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    // The runtime has its own.
    assert_eq!(runtime.get("/2018-06-01/ping").status, 200);
}

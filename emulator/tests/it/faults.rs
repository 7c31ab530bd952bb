//! Every fault does what it says, seen from a plain socket.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use bantam_emulator::{Config, Emulator, Fault, FaultKind, Step, What};
use testkit::http::Client;

use crate::support::{RuntimeClient as _, RuntimeResponse as _, attached_with, count};

const PING: &str = "/2018-06-01/ping";

fn with(at: Step, kind: FaultKind) -> (Emulator, Client) {
    let mut config = Config::new("");
    config.faults = vec![Fault::new(at, kind)];
    attached_with(config)
}

/// A request that meets the fault, and what came back.
fn ping(kind: FaultKind) -> (Vec<u8>, Option<ErrorKind>, Emulator) {
    let (emulator, mut client) = with(Step::Request(0), kind);
    client.send("GET", PING, &[("Connection", "close")], b"");
    let (bytes, error) = client.rest();
    (bytes, error, emulator)
}

fn is_answered(emulator: &Emulator, status: u16) -> bool {
    emulator
        .transcript()
        .iter()
        .any(|entry| matches!(entry.what, What::Answered { status: s, .. } if s == status))
}

#[test]
fn a_reset_leaves_no_byte_of_an_answer() {
    for kind in [
        FaultKind::ResetBefore,
        FaultKind::ResetAfter,
        FaultKind::Refuse { times: 0 },
    ] {
        let (bytes, error, emulator) = ping(kind.clone());
        assert_eq!(
            (bytes.as_slice(), error),
            (&b""[..], Some(ErrorKind::ConnectionReset)),
            "{kind:?}"
        );
        let applied = |what: &What| matches!(what, What::FaultApplied { .. });
        assert_eq!(count(&emulator.transcript(), applied), 1);
    }
}

#[test]
fn a_cut_answer_ends_at_its_byte() {
    let (cut, error, emulator) = ping(FaultKind::CutAt(20));
    assert_eq!((cut.len(), error), (20, Some(ErrorKind::ConnectionReset)));
    assert!(cut.starts_with(b"HTTP/1.1 200 OK\r\n"));
    assert!(is_answered(&emulator, 200));
    let (closed, error, _emulator) = ping(FaultKind::CloseAt(20));
    assert_eq!((closed.len(), error), (20, None));
    let (nothing, error, _emulator) = ping(FaultKind::CloseAt(0));
    assert_eq!((nothing.len(), error), (0, None));
}

#[test]
fn a_split_or_dripping_answer_is_complete() {
    for kind in [
        FaultKind::SplitAt(3),
        FaultKind::SplitAt(40),
        FaultKind::ByteByByte,
    ] {
        let (bytes, error, _emulator) = ping(kind);
        assert_eq!(error, None);
        assert!(bytes.starts_with(b"HTTP/1.1 200 OK\r\n") && bytes.ends_with(b"\r\n\r\npong"));
    }
}

#[test]
fn garbage_takes_the_place_of_the_answer() {
    let (bytes, error, _emulator) = ping(FaultKind::Garbage(b"\0not http".to_vec()));
    assert_eq!((bytes.as_slice(), error), (&b"\0not http"[..], None));
}

#[test]
fn a_delay_is_at_least_as_long_as_it_says() {
    let before = Instant::now();
    let (bytes, _, _emulator) = ping(FaultKind::Delay(Duration::from_millis(50)));
    assert!(before.elapsed() >= Duration::from_millis(50) && !bytes.is_empty());
}

#[test]
fn a_status_is_answered_without_processing() {
    let kind = FaultKind::Status(500, r#"{"errorType":"X"}"#.into());
    let (emulator, mut client) = with(Step::Next(0), kind);
    let first = client.next();
    assert_eq!(
        (first.status, first.body.as_slice()),
        (500, &br#"{"errorType":"X"}"#[..])
    );
    thread::scope(|scope| {
        let invoked = scope.spawn(|| emulator.invoke("{}").unwrap());
        let id = client.next().request_id();
        client.report(&id, "response", &[], b"1");
        client.send("GET", "/2018-06-01/runtime/invocation/next", &[], b"");
        assert_eq!(invoked.join().unwrap().body, b"1");
    });
}

#[test]
fn an_early_status_is_answered_while_the_body_is_sent() {
    let kind = FaultKind::EarlyStatus(413, "{}".into());
    let (emulator, mut client) = with(Step::Request(0), kind);
    client
        .write(b"POST /2018-06-01/ping HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n1234")
        .unwrap();
    let answer = client.response().unwrap();
    assert_eq!(
        (answer.status, answer.body.as_slice()),
        (413, b"{}".as_slice())
    );
    assert_eq!(client.rest().0, b"");
    client.reconnect();
    assert_eq!(client.get(PING).status, 200);
    drop(emulator);
}

#[test]
fn a_response_that_was_processed_before_the_reset_is_not_taken_twice() {
    let (emulator, mut client) = with(Step::Response(0), FaultKind::ResetAfter);
    thread::scope(|scope| {
        let invoked = scope.spawn(|| emulator.invoke("{}").unwrap());
        let id = client.next().request_id();
        client.send(
            "POST",
            &format!("/2018-06-01/runtime/invocation/{id}/response"),
            &[],
            b"1",
        );
        assert!(client.response().is_err());
        client.reconnect();
        let second = client.report(&id, "response", &[], b"2");
        assert_eq!(
            (second.status, second.error_type().as_str()),
            (403, "InvalidStateTransition")
        );
        client.send("GET", "/2018-06-01/runtime/invocation/next", &[], b"");
        assert_eq!(invoked.join().unwrap().body, b"1");
    });
}

#[test]
fn an_event_whose_answer_was_cut_is_rendered_again() {
    let (emulator, mut client) = with(Step::Next(0), FaultKind::CutAt(30));
    thread::scope(|scope| {
        let invoked = scope.spawn(|| emulator.invoke("{}").unwrap());
        client.send("GET", "/2018-06-01/runtime/invocation/next", &[], b"");
        assert_eq!(client.rest().0.len(), 30);
        client.reconnect();
        let id = client.next().request_id();
        client.report(&id, "response", &[], b"1");
        client.send("GET", "/2018-06-01/runtime/invocation/next", &[], b"");
        assert_eq!(invoked.join().unwrap().request_id, id);
    });
}

#[test]
fn connections_are_reset_as_often_as_asked() {
    let (emulator, mut client) = with(Step::Connection(0), FaultKind::Refuse { times: 2 });
    for _ in 0..2 {
        let (bytes, error) = client.rest();
        assert_eq!((bytes.len(), error), (0, Some(ErrorKind::ConnectionReset)));
        client.reconnect();
    }
    assert_eq!(client.get(PING).status, 200);
    drop(emulator);
}

#[test]
fn an_unreachable_port_refuses_and_comes_back() {
    let kind = FaultKind::Unreachable(Duration::from_millis(200));
    let (emulator, mut client) = with(Step::Request(0), kind);
    let addr = emulator.environments()[0].runtime_api;
    client.send("GET", PING, &[], b"");
    assert_eq!(client.rest().1, Some(ErrorKind::ConnectionReset));
    let refused = TcpStream::connect(addr).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    let until = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(addr).is_err() {
        assert!(Instant::now() < until, "the port stays closed");
        thread::yield_now();
    }
    client.reconnect();
    assert_eq!(client.get(PING).status, 200);
}

#[test]
fn a_fault_can_be_planted_later_and_happens_once() {
    let (emulator, mut client) = attached_with(Config::new(""));
    assert_eq!(client.get(PING).status, 200);
    let status = FaultKind::Status(418, String::new());
    emulator.add_faults(vec![Fault::new(Step::Request(1), status)]);
    assert_eq!(
        (client.get(PING).status, client.get(PING).status),
        (418, 200)
    );
}

//! Deliveries that are slow, cut, broken or hostile: none of them stops the ones that are good, or
//! the function, and each that is lost is counted.

use std::net::TcpStream;
use std::path::Path;

use bantam_emulator::Config;
use serde_json::Value;

use crate::extension::kinds::{measured, points, values};
use crate::extension::lifecycle::end;
use crate::extension::telemetry::{Platform, destination, head};
use crate::support::{Env, start};

const ECHO: &str = r#"{"do":"echo","value":1}"#;

pub(crate) fn listening(file: &Path) -> Config {
    let mut config = measured(file);
    // Deliveries come at any time, also when the emulator would have frozen the extension.
    config.freeze = false;
    config
}

/// Ends the environment; what the extension exported.
fn stop(env: Env, file: &Path) -> Vec<Value> {
    let report = env.stop();
    assert_eq!(end(&report), (Some(0), false));
    let [delivery] = &report.deliveries[..] else {
        panic!("one subscription: {:?}", report.deliveries);
    };
    assert_eq!(delivery.dropped_records, 0);
    points(file)
}

/// The records of [`BATCH`] that were taken.
fn records(points: &[Value]) -> f64 {
    values(points, "unknown_records", &[]).iter().sum()
}

/// Deliveries that were lost.
pub(crate) fn lost(points: &[Value]) -> f64 {
    values(points, "dropped_deliveries", &[]).iter().sum()
}

/// A batch of one record, which is counted because its type is not known.
const BATCH: &str = r#"[{"type":"platform.new","record":"text"}]"#;

/// A request that delivers it.
fn request(path: &str) -> Vec<u8> {
    let mut request = head(path, BATCH.len()).into_bytes();
    request.extend_from_slice(BATCH.as_bytes());
    request
}

fn chunked(path: &str, chunks: &[&[u8]]) -> Vec<u8> {
    let head = format!("POST {path} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    let mut request = head.into_bytes();
    for chunk in chunks {
        request.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        request.extend_from_slice(chunk);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    request
}

#[test]
fn in_any_pieces_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out");
    let config = listening(&file);
    let env = start(config);
    assert_eq!(env.respond(ECHO), 1);
    let (_, path) = destination(&env);
    let request = request(&path);
    let mut sent = 0.0;
    // Each connection is kept for both of its deliveries.
    for at in 1..request.len() {
        let mut platform = Platform::connect(&env);
        let (first, second) = request.split_at(at);
        for _ in 0..2 {
            platform.send(first).unwrap();
            platform.send(second).unwrap();
            assert_eq!(platform.status(), Some(200), "split at {at}");
            sent += 1.0;
        }
        platform.close();
    }
    let mut platform = Platform::connect(&env);
    for byte in &request {
        platform.send(&[*byte]).unwrap();
    }
    assert_eq!(platform.status(), Some(200), "byte by byte");
    let bytes: Vec<&[u8]> = BATCH.as_bytes().chunks(1).collect();
    platform.send(&chunked(&path, &bytes)).unwrap();
    assert_eq!(platform.status(), Some(200), "chunk by chunk");
    // Ahead of the answers.
    platform.send(&request.repeat(3)).unwrap();
    for _ in 0..3 {
        assert_eq!(platform.status(), Some(200), "one behind the other");
    }
    sent += 5.0;
    let points = stop(env, &file);
    assert_eq!((records(&points), lost(&points)), (sent, 0.0));
}

/// Bytes of a connection, whether it is closed behind them, the status of the answer, and the
/// number of deliveries that are counted as lost.
type Broken = (Vec<u8>, bool, Option<u16>, f64);

fn broken(path: &str) -> Vec<Broken> {
    let text = |text: &str| text.replace("/PATH", path).into_bytes();
    let batch = request(path);
    let head = |bytes| head(path, bytes);
    let long = "x".repeat(70_000);
    let large = vec![b'x'; 300_000];
    let mut broken = vec![
        // Closed before, inside and behind a message.
        (text(""), true, None, 0.0),
        (text("POST / HT"), true, Some(400), 1.0),
        (batch[..batch.len() - 1].to_vec(), true, Some(400), 1.0),
        (text(&head(10)), true, Some(400), 1.0),
        (batch.clone(), true, Some(200), 0.0),
        // Too large, announced or not.
        (
            text("POST /PATH HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n"),
            false,
            Some(413),
            1.0,
        ),
        (text(&head(1_048_577)), false, Some(413), 1.0),
        (
            chunked(path, &[&large, &large, &large, &large]),
            false,
            Some(413),
            1.0,
        ),
        (
            text(&format!("POST /PATH HTTP/1.1\r\nX: {long}\r\n\r\n")),
            false,
            Some(400),
            1.0,
        ),
        (
            text(&format!("POST /{long} HTTP/1.1\r\n\r\n")),
            false,
            Some(400),
            1.0,
        ),
        // Not a batch.
        (
            [text(&head(8)), text("nonsense")].concat(),
            false,
            Some(200),
            1.0,
        ),
        (text(&head(0)), false, Some(200), 1.0),
        (
            text("GET /PATH HTTP/1.1\r\nHost: h\r\n\r\n"),
            false,
            Some(405),
            0.0,
        ),
    ];
    broken.extend(strangers(path));
    // Not HTTP.
    for bytes in NOT_HTTP {
        broken.push((text(bytes), false, Some(400), 1.0));
    }
    broken
}

/// Requests to another path than the one of the subscription: nobody's deliveries.
fn strangers(path: &str) -> Vec<Broken> {
    let mut strangers = Vec::new();
    for bytes in [
        "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n[]",
        "POST /PATHx HTTP/1.1\r\nContent-Length: 2\r\n\r\n[]",
        "GET /any/path HTTP/1.1\r\n\r\n",
    ] {
        let bytes = bytes.replace("/PATH", path).into_bytes();
        strangers.push((bytes, false, Some(404), 0.0));
    }
    strangers
}

const NOT_HTTP: [&str; 9] = [
    "\0\u{1}\u{2}\u{3}\r\n\r\n",
    "{\"type\":\"function\"}\n",
    "POST /PATH HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    "POST /PATH HTTP/1.1\r\nContent-Length: 0x5\r\n\r\n",
    "POST /PATH HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "POST /PATH HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "POST /PATH HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
    "POST /PATH HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
    "POST /PATH HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
];

#[test]
fn that_are_broken_cost_themselves() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out");
    let config = listening(&file);
    let env = start(config);
    assert_eq!(env.respond(ECHO), 1);
    let mut expected = 0.0;
    let (_, path) = destination(&env);
    let mut good = Platform::connect(&env);
    let mut taken = 0.0;
    for (bytes, is_closed, status, lost) in broken(&path) {
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
        let mut platform = Platform::connect(&env);
        // The extension may answer and close before it has all of it.
        platform.send(&bytes).ok();
        if is_closed {
            platform.end().ok();
        }
        let answer = platform.status();
        // A reset overtakes an answer where bytes are left unread.
        assert!(
            answer == status || (answer.is_none() && !is_closed),
            "{answer:?} {text}"
        );
        platform.close();
        expected += lost;
        taken += f64::from(u8::from(status == Some(200) && lost == 0.0));
        assert_eq!(env.respond(ECHO), 1, "{text}");
        assert_eq!(good.post(BATCH.as_bytes()), 200, "{text}");
        taken += 1.0;
    }
    // Of a batch that breaks off inside, what is whole is taken.
    let whole = BATCH.as_bytes().strip_suffix(b"]").unwrap();
    let cut = [whole, b",\"\xff\""].concat();
    assert_eq!(good.post(&cut), 200);
    let points = stop(env, &file);
    assert_eq!(lost(&points), expected);
    assert_eq!(records(&points), taken + 1.0);
    assert_eq!(values(&points, "malformed_records", &[]), [1.0]);
}

/// A delivery that is never completed is given up after some seconds, and nothing waits for it.
#[test]
fn that_stay_open_hold_up_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out");
    let config = listening(&file);
    let env = start(config);
    assert_eq!(env.respond(ECHO), 1);
    let silent = Platform::connect(&env);
    let mut slow = Platform::connect(&env);
    slow.send(slow.head(100).as_bytes()).unwrap();
    for _ in 0..20 {
        assert_eq!(env.respond(ECHO), 1);
    }
    slow.wait_for_end();
    assert_eq!(env.respond(ECHO), 1);
    let mut unfinished = Platform::connect(&env);
    unfinished.send(b"POST / HTTP/1.1\r\n").unwrap();
    let points = stop(env, &file);
    drop((silent, unfinished));
    assert_eq!(lost(&points), 1.0);
    assert_eq!(
        values(&points, "invocations", &[]).iter().sum::<f64>(),
        22.0
    );
}

/// However many connect, the platform's own deliveries come through.
#[test]
fn on_too_many_connections_do_not_shut_out_the_platform() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out");
    let config = listening(&file);
    let env = start(config);
    assert_eq!(env.respond(ECHO), 1);
    let connect = || TcpStream::connect(destination(&env).0).unwrap();
    let open: Vec<TcpStream> = (0..100).map(|_| connect()).collect();
    for _ in 0..50 {
        assert_eq!(env.respond(ECHO), 1);
    }
    drop(open);
    let points = stop(env, &file);
    assert_eq!(
        values(&points, "invocations", &[]).iter().sum::<f64>(),
        51.0
    );
}

//! Floods of telemetry: memory stays bounded, and every record is accounted for or counted as lost.
//!
//! The emulator leads the environment through its life, and delivers its own telemetry; the flood
//! comes beside it, to the same listener and in the same form.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

use bantam_emulator::What;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::extension::deliveries::listening;
use crate::extension::kinds::{points, values};
use crate::extension::lifecycle::end;
use crate::extension::telemetry::{Platform, destination, head};
use crate::support::{Env, count, shipped, start};

/// The records that were sent, and so have to be exported.
#[derive(Debug, Default)]
struct Sent {
    bytes: usize,
    reports: u32,
    errors: u32,
    malformed: u32,
    unknown: u32,
    /// Deliveries that are no batch, or too large for one.
    lost: u32,
}

impl Sent {
    /// Adds a record to a batch.
    fn push(&mut self, batch: &mut String, kind: u32) {
        let number = self.reports;
        match kind % 20 {
            // As many reports as the rest together, of invocations nobody else tells of. What is
            // older than the process would be of the one before it.
            0..10 => {
                self.reports += 1;
                write!(
                    batch,
                    r#"{{"time":"2099-08-20T10:00:01.180Z","type":"platform.report","record":{{"requestId":"{number:08x}-49c9-448d-89b8-7ca3e6dc66aa","status":"success","metrics":{{"durationMs":{}}}}}}}"#,
                    number % 50,
                )
                .unwrap();
            }
            10 => {
                self.reports += 1;
                self.errors += 1;
                // Functions choose the types of their errors.
                write!(
                    batch,
                    r#"{{"time":"2099-08-20T10:00:01.180Z","type":"platform.report","record":{{"requestId":"{number:08x}","status":"error","errorType":"Function.E{number}","metrics":{{"durationMs":0}}}}}}"#,
                )
                .unwrap();
            }
            11..16 => {
                let line = format!(r#""line {number} \"of\" a function\n""#);
                self.unknown += 1;
                write!(batch, r#"{{"time":"x","type":"new","record":{line}}}"#).unwrap();
            }
            16..18 => {
                self.unknown += 1;
                write!(
                    batch,
                    r#"{{"type":"platform.new{number}","record":[{{"a":1}}]}}"#
                )
                .unwrap();
            }
            18 => {
                self.malformed += 1;
                batch.push_str(r#"{"type":"platform.start","record":{"requestId":"\x"}"#);
                batch.push('}');
            }
            _ => {
                self.malformed += 1;
                batch.push_str("17");
            }
        }
    }

    /// A batch of this many records, separated by commas.
    fn records(&mut self, count: u32) -> String {
        let mut batch = String::new();
        for kind in 0..count {
            if 0 < kind {
                batch.push(',');
            }
            self.push(&mut batch, kind);
        }
        batch
    }

    /// A batch of exactly this many bytes: one record with a long text.
    fn text(&mut self, bytes: usize) -> String {
        const REST: &str = r#"[{"type":"new","record":""}]"#;
        let text = "x".repeat(bytes - REST.len());
        self.unknown += 1;
        format!(r#"[{{"type":"new","record":"{text}"}}]"#)
    }

    /// Holds what was sent against what the extension told, which saw `own` invocations besides.
    fn check(&self, points: &[Value], own: u32) {
        let sum = |name, with: &[_]| values(points, name, with).iter().sum::<f64>();
        let expected = [
            (
                "invocations",
                sum("invocations", &[]),
                self.reports - self.errors + own,
            ),
            ("errors", sum("errors", &[]), self.errors),
            (
                "malformed_records",
                sum("malformed_records", &[]),
                self.malformed,
            ),
            ("unknown_records", sum("unknown_records", &[]), self.unknown),
            (
                "dropped_deliveries",
                sum("dropped_deliveries", &[]),
                self.lost,
            ),
        ];
        for (name, told, sent) in expected {
            assert_eq!(told, f64::from(sent), "{name}: {self:?}");
        }
        // A value that had no room is counted in place of its value.
        let durations = values(points, "duration", &[]);
        let told = u32::try_from(durations.len()).unwrap();
        let dropped = sum("dropped_values", &[]);
        assert_eq!(
            f64::from(told) + dropped,
            f64::from(self.reports + own),
            "{self:?}"
        );
    }
}

/// Bytes that a flood has: 1 GB for what ships, less where nothing is optimised.
fn flood_bytes() -> usize {
    if shipped().is_some() {
        1_000_000_000
    } else {
        30_000_000
    }
}

fn peak_memory_kb(env: &Env) -> u64 {
    env.environments()[0].extensions[0]
        .peak_memory_kb()
        .unwrap()
}

const ECHO: &str = r#"{"do":"echo","value":1}"#;

/// Batches as they may come, the largest that are taken, ones that are too large, and bodies that
/// are none; the function is invoked between them.
#[test]
fn a_flood_of_batches_is_taken_or_counted() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out");
    let config = listening(&file);
    let env = start(config);
    let mut own = 1;
    assert_eq!(env.respond(ECHO), 1);
    let idle_kb = peak_memory_kb(&env);
    let mut sent = Sent::default();
    let mut platform = Platform::connect(&env);
    for round in 0_u32.. {
        if flood_bytes() <= sent.bytes {
            break;
        }
        // 1,000 records and 262,144 bytes are asked for; a batch may have twice the bytes.
        let mut bodies = vec![sent.text(524_288), sent.text(BATCH_BYTES_MAX)];
        for records in [1_000, 1_000, 1_000, 1_000, 1_000, 4_000] {
            bodies.push(format!("[{}]", sent.records(records)));
        }
        for body in bodies {
            assert_eq!(platform.post(body.as_bytes()), 200);
            sent.bytes += body.len();
        }
        if round % 16 == 1 {
            assert_eq!(platform.post(br#"{"type":"function","record":"x"}"#), 200);
            sent.lost += 1;
            let mut other = Platform::connect(&env);
            other
                .send(other.head(BATCH_BYTES_MAX + 1).as_bytes())
                .unwrap();
            assert_eq!(other.status(), Some(413));
            other.close();
            sent.lost += 1;
            assert_eq!(env.respond(ECHO), 1);
            own += 1;
        }
    }
    let peak_kb = peak_memory_kb(&env);
    let report = env.stop();
    assert_eq!(end(&report), (Some(0), false));
    eprintln!("flood of {sent:?}: {idle_kb} KiB idle, {peak_kb} KiB at the peak");
    sent.check(&points(&file), own);
    assert!(
        peak_kb <= idle_kb + MEMORY_KB_MAX,
        "{idle_kb} KiB idle, {peak_kb} KiB in a flood"
    );
}

/// Batches that cannot be exported wait in a bounded queue; those that leave it unsent are counted.
#[test]
fn a_flood_of_exports_that_nobody_takes_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out");
    let mut config = listening(&file);
    // Nobody accepts: the connection opens, and no answer comes.
    let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", hanging.local_addr().unwrap());
    config.env.retain(|(name, _)| name != "BANTAM_EXPORTERS");
    config.env.extend([
        ("BANTAM_EXPORTERS".to_owned(), "ndjson,otlp".to_owned()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), endpoint),
    ]);
    let env = start(config);
    assert_eq!(env.respond(ECHO), 1);
    let idle_kb = peak_memory_kb(&env);
    let mut sent = Sent::default();
    let mut platform = Platform::connect(&env);
    // Each of these batches fills an interval, and so makes an export.
    for _ in 0..400 {
        let body = format!("[{}]", sent.records(300));
        assert_eq!(platform.post(body.as_bytes()), 200);
    }
    assert_eq!(env.respond(ECHO), 1);
    let peak_kb = peak_memory_kb(&env);
    let report = env.stop();
    assert_eq!(end(&report), (Some(0), false));
    let exports = fs::read_to_string(&file).unwrap().lines().count();
    assert!(400 <= exports, "{exports}");
    let points = points(&file);
    let dropped = values(&points, "dropped_records", &[("dropped_by", "exporter")]);
    let exported = points.len();
    let dropped = dropped.iter().sum::<f64>();
    // 64 batches wait, of some ten points each.
    assert!(
        0.5 * exported as f64 <= dropped && dropped <= exported as f64,
        "{dropped} of {exported}"
    );
    assert!(
        peak_kb <= idle_kb + MEMORY_KB_MAX,
        "{idle_kb} KiB idle, {peak_kb} KiB in a flood"
    );
}

/// Sends the same bytes over and over, and reads whatever is answered, until it is dropped or the
/// extension closes.
fn flood(address: SocketAddr, request: &[u8]) -> JoinHandle<()> {
    let mut stream = TcpStream::connect(address).unwrap();
    let mut answers = stream.try_clone().unwrap();
    let bytes = request.repeat(100_000 / request.len() + 1);
    thread::spawn(move || {
        let reading = thread::spawn(move || io::copy(&mut answers, &mut io::sink()).ok());
        while stream.write_all(&bytes).is_ok() {}
        reading.join().unwrap();
    })
}

/// Requests that never end on three connections: small ones sent ahead of their answers, ones with
/// another method, and batches of many records. Events, SHUTDOWN and SIGTERM are answered beside
/// them. A unit test of the listener counts the requests for which an event waits, and
/// `cargo compare -- ingest` measures how long that is.
#[test]
fn a_flood_of_requests_that_never_end_holds_up_no_event_and_no_end() {
    let large = format!("[{}]", vec![r#"{"type":"platform.new"}"#; 2_000].join(","));
    for ends_by_signal in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("out");
        let env = start(listening(&file));
        assert_eq!(env.respond(ECHO), 1);
        let (address, path) = destination(&env);
        let floods = [
            format!("{}[]", head(&path, 2)),
            format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"),
            format!("{}{large}", head(&path, large.len())),
        ];
        let floods = floods.map(|request| flood(address, request.as_bytes()));
        // An invocation begins when every extension has asked for the next event.
        for _ in 0..9 {
            assert_eq!(env.respond(ECHO), 1);
        }
        if ends_by_signal {
            let pid = env.environments()[0].extensions[0].pid.unwrap();
            let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
            kill_process(pid, Signal::TERM).unwrap();
            let exited = |what: &What| matches!(what, What::ExtensionExited { code: Some(0), .. });
            env.wait_until("it exits with 0", |entries| count(entries, exited) == 1)
                .unwrap();
        } else {
            // The platform kills what has not ended 2 s after SHUTDOWN.
            assert_eq!(end(&env.stop()), (Some(0), false));
        }
        for flood in floods {
            flood.join().unwrap();
        }
    }
}

/// Bytes of the largest batch that is taken.
const BATCH_BYTES_MAX: usize = 1_048_576;

/// Memory that a flood may cost: twice the largest batch, and 1 MiB for the figures.
const MEMORY_KB_MAX: u64 = 3 * 1_024;

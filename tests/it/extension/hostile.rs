//! Peers that mean harm, at the telemetry port and as a receiver of OTLP: whatever they do, events
//! are answered, SHUTDOWN ends the extension with 0, and memory and descriptors are bounded.

use std::io::{ErrorKind, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::http::{Answer, Endless, Server};

use crate::extension::deliveries::listening;
use crate::extension::kinds::{measured, points, values};
use crate::extension::lifecycle::{end, invoke, with_extension};
use crate::extension::telemetry::{Platform, destination, head};
use crate::support::{Env, start};

const ECHO: &str = r#"{"do":"echo","value":1}"#;

/// The process id of the extension.
fn pid(env: &Env) -> u32 {
    env.environments()[0].extensions[0].pid.unwrap()
}

fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .count()
}

fn peak_kb(env: &Env) -> u64 {
    let environments = env.environments();
    environments[0].extensions[0].peak_memory_kb().unwrap()
}

/// Events are answered: an invocation begins when the extension has asked for the next event.
fn serves(env: &Env, times: u32) {
    for _ in 0..times {
        assert_eq!(env.respond(ECHO), 1);
    }
}

/// Holds an environment that was under attack against one that was not.
struct Bounds {
    pid: u32,
    idle_kb: u64,
}

impl Bounds {
    /// Before the attack.
    fn of(env: &Env) -> Self {
        serves(env, 3);
        Self {
            pid: pid(env),
            idle_kb: peak_kb(env),
        }
    }

    fn check(&self, env: &Env, name: &str) {
        assert_eq!(pid(env), self.pid, "{name}: it was started again");
        let (idle_kb, peak_kb) = (self.idle_kb, peak_kb(env));
        assert!(
            peak_kb <= idle_kb + MEMORY_KB_MAX,
            "{name}: {idle_kb} KiB idle, {peak_kb} KiB at the peak"
        );
        // While connections come and go, one may be listed with the one that took its place.
        let limit = Instant::now() + Duration::from_secs(60);
        while DESCRIPTORS_MAX < descriptors(self.pid) {
            assert!(Instant::now() < limit, "{name}: descriptors stay open");
            thread::yield_now();
        }
    }
}

/// Ends the environment; its figures.
fn stop(env: Env, file: &std::path::Path, name: &str) -> Vec<Value> {
    assert_eq!(end(&env.stop()), (Some(0), false), "{name}");
    points(file)
}

fn sum(points: &[Value], name: &str) -> f64 {
    values(points, name, &[]).iter().sum()
}

/// Every part of a delivery that can go on without end is cut, also of those who know the path.
#[test]
fn deliveries_without_end_are_cut() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out");
    let env = start(listening(&file));
    let bounds = Bounds::of(&env);
    let (address, path) = destination(&env);
    let start_line = format!("POST {path} HTTP/1.1");
    let mut all = Endless::all(&start_line);
    all.push(Endless::of_small_chunks(&start_line));
    let count = all.len();
    for endless in all {
        let name = endless.name;
        let mut stream = TcpStream::connect(address).unwrap();
        let writing = thread::spawn(move || endless.write(&mut stream));
        serves(&env, 5);
        // It ends when the extension closes the connection, after 5 s at the latest.
        writing.join().unwrap();
        bounds.check(&env, name);
    }
    let points = stop(env, &file, "deliveries without end");
    assert_eq!(sum(&points, "dropped_deliveries"), count as f64);
    assert_eq!(
        sum(&points, "invocations"),
        f64::from(3 + 5 * u8::try_from(count).unwrap())
    );
}

/// One byte now and then keeps no connection for longer than a message may take.
#[test]
fn a_delivery_that_dribbles_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out");
    let env = start(listening(&file));
    let bounds = Bounds::of(&env);
    let (address, path) = destination(&env);
    let heads = [
        // In the head, in the body, and in the chunks of one.
        (format!("POST {path} HTTP/1.1\r\nX: "), "x"),
        (head(&path, 1_000_000), "x"),
        (
            format!("POST {path} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"),
            "1\r\n[\r\n",
        ),
    ];
    let count = heads.len();
    thread::scope(|scope| {
        let mut dribbling = Vec::new();
        for (start, rest) in heads {
            dribbling.push(scope.spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.write_all(start.as_bytes()).unwrap();
                // Some 5 s, and far less than a minute.
                for _ in 0..3_000 {
                    if stream.write_all(rest.as_bytes()).is_err() {
                        return true;
                    }
                    thread::sleep(Duration::from_millis(20));
                }
                false
            }));
        }
        serves(&env, 20);
        for thread in dribbling {
            assert!(thread.join().unwrap(), "the connection stays open");
        }
    });
    bounds.check(&env, "dribbling");
    let points = stop(env, &file, "dribbling");
    assert_eq!(sum(&points, "dropped_deliveries"), count as f64);
}

/// Whoever sends requests and takes no answers is cut when the answers have no room.
#[test]
fn answers_that_nobody_takes_are_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out");
    let env = start(listening(&file));
    let bounds = Bounds::of(&env);
    let (address, path) = destination(&env);
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_write_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let requests = format!("GET {path} HTTP/1.1\r\n\r\n").repeat(2_000);
    let writing = thread::spawn(move || {
        loop {
            if let Err(error) = stream.write_all(requests.as_bytes()) {
                return error.kind();
            }
        }
    });
    serves(&env, 20);
    assert_ne!(writing.join().unwrap(), ErrorKind::WouldBlock);
    bounds.check(&env, "answers that nobody takes");
    stop(env, &file, "answers that nobody takes");
}

/// Connections that come and go as fast as they can, with and without a part of a message, closed
/// in each way there is, from several threads. The platform's own deliveries come through.
#[test]
fn a_flood_of_connections_shuts_nobody_out() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out");
    let env = start(listening(&file));
    let bounds = Bounds::of(&env);
    let (address, path) = destination(&env);
    let is_over = AtomicBool::new(false);
    let opened = AtomicU32::new(0);
    let parts = [
        String::new(),
        "P".to_owned(),
        format!("POST {path} HTTP/1.1\r\nContent-Le"),
        "GET /metrics HTTP/1.1\r\n\r\n".to_owned(),
        "\0\u{1}\u{2}rubbish\r\n\r\n".to_owned(),
    ];
    let mut platform = Platform::connect(&env);
    // Known before it is one of many.
    assert_eq!(platform.post(b"[]"), 200);
    thread::scope(|scope| {
        for number in 0..3 {
            let (parts, is_over, opened) = (&parts, &is_over, &opened);
            scope.spawn(move || flood(address, parts, number, is_over, opened));
        }
        let _over = Over(&is_over);
        for _ in 0..20 {
            serves(&env, 1);
            assert_eq!(platform.post(br#"[{"type":"platform.new"}]"#), 200);
        }
    });
    bounds.check(&env, "a flood of connections");
    let points = stop(env, &file, "a flood of connections");
    let opened = opened.load(Ordering::Relaxed);
    assert!(20 <= opened, "{opened} connections are no flood");
    assert_eq!(sum(&points, "unknown_records"), 20.0);
    assert_eq!(sum(&points, "invocations"), 23.0);
}

/// Ends the floods, also where the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn flood(
    address: SocketAddr,
    parts: &[String],
    number: usize,
    is_over: &AtomicBool,
    opened: &AtomicU32,
) {
    let mut held = Vec::new();
    for round in number.. {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        // With many closed ones behind it a port may run out for a moment.
        let Ok(mut stream) = TcpStream::connect(address) else {
            continue;
        };
        opened.fetch_add(1, Ordering::Relaxed);
        let part = &parts[round % parts.len()];
        stream.write_all(part.as_bytes()).ok();
        match round % 3 {
            // Both ends.
            0 => drop(stream),
            // Half of it: the other half stays for a while.
            1 => {
                stream.shutdown(Shutdown::Write).ok();
                held.push(stream);
            }
            _ => held.push(stream),
        }
        if 20 < held.len() {
            held.clear();
        }
    }
}

/// A request that is answered, with rubbish right behind it.
#[test]
fn rubbish_behind_a_delivery_costs_itself() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out");
    let env = start(listening(&file));
    serves(&env, 1);
    for rubbish in [&b"\0\xff\r\n\r\n"[..], b"[]", b"POST", b"\r\n\r\n\r\n\r\n"] {
        let mut platform = Platform::connect(&env);
        let body = br#"[{"type":"platform.new"}]"#;
        let request = [platform.head(body.len()).as_bytes(), body, rubbish].concat();
        platform.send(&request).unwrap();
        assert_eq!(platform.status(), Some(200));
        platform.end().ok();
        // Refused or cut off, and nothing else.
        assert!(matches!(platform.status(), None | Some(400)));
        platform.close();
    }
    serves(&env, 1);
    let points = stop(env, &file, "rubbish");
    assert_eq!(sum(&points, "unknown_records"), 4.0);
    assert_eq!(sum(&points, "dropped_deliveries"), 4.0);
}

/// Nobody learns the path of one environment from another, and each has 64 bits of its own.
#[test]
fn each_extension_has_a_path_of_its_own() {
    let path = || {
        let env = start(with_extension());
        invoke(&env, 1);
        destination(&env).1
    };
    let [one, other] = [path(), path()];
    assert_ne!(one, other);
    for path in [one, other] {
        let token = path.strip_prefix('/').unwrap();
        assert_eq!(token.len(), 16, "{path}");
        assert!(token.bytes().all(|byte| byte.is_ascii_hexdigit()), "{path}");
    }
}

/// One record would forget every figure. Only a function with snapshots is ever restored.
#[test]
fn a_restore_that_somebody_makes_up_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out");
    let env = start(listening(&file));
    serves(&env, 3);
    let mut anybody = Platform::connect(&env);
    for record in ["restoreStart", "restoreRuntimeDone", "restoreReport"] {
        let record = format!(
            r#"[{{"time":"2099-08-20T10:00:01.180Z","type":"platform.{record}","record":{{"initializationType":"snap-start","instanceId":"made-up","status":"success","metrics":{{"durationMs":1}}}}}}]"#
        );
        assert_eq!(anybody.post(record.as_bytes()), 200);
    }
    serves(&env, 2);
    let points = stop(env, &file, "a restore");
    assert_eq!(sum(&points, "invocations"), 5.0);
    assert_eq!(sum(&points, "cold_starts"), 1.0);
    let restores = values(&points, "restore_duration", &[]);
    assert!(restores.is_empty(), "{restores:?}");
}

/// A receiver of OTLP that answers without end, byte by byte or not at all, or sends elsewhere.
#[test]
fn otlp_receivers_without_end_hold_up_nothing() {
    let mut all: Vec<Answer> = Endless::all("HTTP/1.1 200 OK")
        .into_iter()
        .map(Answer::Endless)
        .collect();
    all.push(Answer::Endless(Endless {
        name: "interim responses",
        start: String::new(),
        rest: "HTTP/1.1 100 Continue\r\n\r\n".to_owned(),
    }));
    // Nobody is asked there: the batch is lost, and so is said.
    let elsewhere = Server::with_status("200 OK");
    let redirect = format!(
        "307 Temporary Redirect\r\nLocation: http://{}/v1/metrics",
        elsewhere.address
    );
    all.push(Answer::Status(redirect));
    for answer in all {
        let name = format!("{answer:?}").chars().take(60).collect::<String>();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("out");
        let answers = answer.clone();
        let receiver = Server::start(move |_, _| answers.clone());
        let mut config = measured(&file);
        config
            .env
            .retain(|(variable, _)| variable != "BANTAM_EXPORTERS");
        for (variable, value) in [
            ("BANTAM_EXPORTERS", "ndjson,otlp"),
            ("BANTAM_INTERVAL_MS", "0"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "200"),
            (
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                &format!("http://{}", receiver.address),
            ),
        ] {
            config.env.push((variable.to_owned(), value.to_owned()));
        }
        let env = start(config);
        let bounds = Bounds::of(&env);
        serves(&env, 20);
        bounds.check(&env, &name);
        let points = stop(env, &file, &name);
        assert_eq!(sum(&points, "invocations"), 23.0, "{name}");
        receiver.requests.try_recv().unwrap();
    }
    assert!(
        elsewhere.requests.try_recv().is_err(),
        "a redirect is not followed"
    );
}

/// What a process of another user gets of the extension: its port, where it knows no path, and
/// nothing of its memory, variables or descriptors. On Lambda all processes have one user.
///
/// Needs root: only root becomes somebody else.
#[test]
#[ignore = "needs root"]
fn a_neighbour_of_another_user_gets_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out");
    let mut config = listening(&file);
    // As an operator's credentials are.
    config.env.push((
        "OTEL_EXPORTER_OTLP_HEADERS".to_owned(),
        "api-key=secret".to_owned(),
    ));
    let env = start(config);
    serves(&env, 2);
    let pid = pid(&env);
    let as_nobody = |script: &str| {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(script).uid(65_534).gid(65_534);
        command.output().unwrap()
    };
    assert!(as_nobody("true").status.success());
    for script in [
        format!("head -c 1 /proc/{pid}/environ"),
        format!("head -c 1 /proc/{pid}/auxv"),
        format!("head -c 1 /proc/{pid}/mem"),
        format!("head -n 1 /proc/{pid}/maps"),
        format!("ls /proc/{pid}/fd"),
        format!("readlink /proc/{pid}/exe"),
        format!("kill -TERM {pid}"),
    ] {
        let output = as_nobody(&script);
        assert!(!output.status.success(), "{script}");
        let error = String::from_utf8_lossy(&output.stderr);
        let is_denied = error.contains("ermission denied") || error.contains("not permitted");
        assert!(output.stdout.is_empty(), "{script}");
        assert!(
            is_denied || script.starts_with("readlink"),
            "{script}: {error}"
        );
    }
    // What everybody may read of a process says nothing of the path.
    let (address, path) = destination(&env);
    let open = as_nobody(&format!(
        "cat /proc/{pid}/cmdline /proc/{pid}/status /proc/net/tcp"
    ));
    assert!(!String::from_utf8_lossy(&open.stdout).contains(path.trim_start_matches('/')));
    // Blind posts are refused, and another process of this one's user is no worse.
    let mut stranger = testkit::http::Client::connect(address);
    let record = br#"[{"type":"platform.new"}]"#;
    assert_eq!(stranger.post("/anything", &[], record).status, 404);
    serves(&env, 2);
    let points = stop(env, &file, "a neighbour");
    assert_eq!(sum(&points, "unknown_records"), 0.0);
    assert_eq!(sum(&points, "invocations"), 4.0);
}

/// The largest batch while its buffer grows, the old one and the new, and 3 MiB for the figures and
/// for code that is run for the first time, which is large in a debug build.
const MEMORY_KB_MAX: u64 = 6 * 1_024;

/// Some 11 while a delivery is served, and three more connections of others.
const DESCRIPTORS_MAX: usize = 16;

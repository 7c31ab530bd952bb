//! Exporters whose other end is gone, full, silent or wrong: the function is served, the extension
//! ends with 0, the other exporters are told everything, and what was lost is counted there.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::thread;
use std::time::Duration;

use bantam_emulator::{Config, Report};
use serde_json::Value;
use testkit::http::{Answer, Server};
use testkit::pipe::named_pipe;

use crate::extension::kinds::{points, values};
use crate::extension::lifecycle::{end, invoke, with_extension};
use crate::support::start;

/// Exports after everything that happens, by these exporters.
fn exporting(variables: &[(&str, &str)]) -> Config {
    let mut config = with_extension();
    let all = [("BANTAM_INTERVAL_MS", "0"), ("BANTAM_EMF_METRICS", "all")];
    let variables = variables.iter().chain(&all);
    for &(name, value) in variables {
        config.env.push((name.to_owned(), value.to_owned()));
    }
    config
}

/// Runs `INVOCATIONS` invocations to the end of their environment.
fn run(config: Config, context: &str) -> Report {
    let env = start(config);
    invoke(&env, INVOCATIONS);
    let report = env.stop();
    assert_eq!(end(&report), (Some(0), false), "{context}");
    report
}

/// Whether an exporter was told everything, and what the others lost, as it was told that.
fn check(points: &[Value], context: &str) -> f64 {
    let sum = |name, with: &[_]| values(points, name, with).iter().sum::<f64>();
    assert_eq!(sum("invocations", &[]), 10.0, "{context}");
    assert_eq!(sum("cold_starts", &[]), 1.0, "{context}");
    assert_eq!(sum("shutdowns", &[]), 1.0, "{context}");
    assert_eq!(sum("dropped_deliveries", &[]), 0.0, "{context}");
    sum("dropped_records", &[("dropped_by", "exporter")])
}

/// The lines of EMF in the log.
fn emf(report: &Report) -> Vec<Value> {
    let lines = report.log.iter().filter(|line| line.extension.is_some());
    let lines = lines.filter_map(|line| serde_json::from_str::<Value>(&line.text).ok());
    lines.collect()
}

/// The same of what was written as EMF to the log.
fn check_emf(report: &Report, context: &str) -> f64 {
    let lines = emf(report);
    let sum = |name| {
        let members = lines.iter().map(|line| &line[name]);
        members.filter_map(Value::as_f64).sum::<f64>()
    };
    assert_eq!(sum("invocations"), 10.0, "{context}");
    assert_eq!(sum("cold_starts"), 1.0, "{context}");
    assert_eq!(sum("shutdowns"), 1.0, "{context}");
    sum("dropped_records")
}

const INVOCATIONS: usize = 10;

fn with_otlp(file: &Path, address: SocketAddr) -> Config {
    let endpoint = format!("http://{address}");
    exporting(&[
        ("BANTAM_EXPORTERS", "ndjson,otlp"),
        ("BANTAM_NDJSON_FILE", file.to_str().unwrap()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "200"),
    ])
}

#[test]
fn otlp_that_is_answered_wrong_holds_up_nothing() {
    let status = |status: &str| format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(40_000));
    // The answer, and whether it means that a batch is lost for good.
    let table = [
        (status("200 OK"), false),
        (status("400 Bad Request"), true),
        (status("404 Not Found"), true),
        (status("413 Content Too Large"), true),
        (status("500 Internal Server Error"), true),
        (status("501 Not Implemented"), true),
        (status("301 Moved Permanently"), true),
        (status("429 Too Many Requests"), false),
        (status("503 Service Unavailable"), false),
        (
            "HTTP/1.1 503 X\r\nRetry-After: 3600\r\nContent-Length: 0\r\n\r\n".to_owned(),
            false,
        ),
        (
            "HTTP/1.1 429 X\r\nRetry-After: soon\r\nContent-Length: 0\r\n\r\n".to_owned(),
            false,
        ),
        // What is no answer is a connection that was lost.
        (String::new(), false),
        ("garbage\r\n\r\n".to_owned(), false),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx".to_owned(),
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n".to_owned(),
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n".to_owned(),
            false,
        ),
        ("HTTP/1.1 200".to_owned(), false),
        (long, false),
        // A body that says nothing of what was rejected.
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n\u{7f}\u{7f}\u{7f}".to_owned(),
            false,
        ),
    ];
    for (answer, is_lost) in table {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("out");
        let bytes = answer.clone().into_bytes();
        let receiver = Server::start(move |_, _| Answer::Bytes(bytes.clone()));
        run(with_otlp(&file, receiver.address), &answer);
        let lost = check(&points(&file), &answer);
        assert_eq!(0.0 < lost, is_lost, "{answer}: {lost} are lost");
    }
}

#[test]
fn otlp_that_is_refused_or_hangs_holds_up_nothing() {
    let refused = TcpListener::bind("127.0.0.1:0").unwrap();
    let refused = refused.local_addr().unwrap();
    // Nobody accepts: the connection opens, and no answer comes.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    // Nobody accepts, and no more are let to wait: the connection does not open.
    let full = TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::listen(&full, 0).unwrap();
    let address = full.local_addr().unwrap();
    let wait = Duration::from_millis(200);
    let waiting: Vec<TcpStream> = (0..100)
        .map_while(|_| TcpStream::connect_timeout(&address, wait).ok())
        .collect();
    assert!((1..100).contains(&waiting.len()));
    for (what, address) in [
        ("refused", refused),
        ("silent", silent.local_addr().unwrap()),
        ("full", address),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("out");
        run(with_otlp(&file, address), what);
        check(&points(&file), what);
    }
    drop(waiting);
}

/// Without settings it is the only line, and short. However often it exports, and whatever comes
/// late.
#[test]
fn a_cold_start_is_one_line_of_emf() {
    let names = ["", "initReport", "report"];
    for (is_default, late) in names.iter().flat_map(|name| [(true, name), (false, name)]) {
        let mut config = exporting(&[]);
        if is_default {
            config.env.retain(|(name, _)| name != "BANTAM_EMF_METRICS");
        }
        config.telemetry.late = vec![format!("platform.{late}")];
        let report = run(config, late);
        let lines = emf(&report);
        assert_eq!(lines.len() == 1, is_default, "{lines:#?}");
        let mut starts = lines
            .iter()
            .filter(|line| line.get("cold_start_kind").is_some());
        let (Some(start), None) = (starts.next(), starts.next()) else {
            panic!("{late}: {lines:#?}");
        };
        for name in [
            "cold_starts",
            "init_duration",
            "first_invocation_duration",
            "cold_start_duration",
            "request_id",
        ] {
            assert!(
                start.get(name).is_some(),
                "{name} with {late} late: {start}"
            );
        }
        let text = report.log.iter().map(|line| &line.text);
        let mut text = text.filter(|text| text.contains("cold_start_kind"));
        let bytes = text.next().unwrap().len();
        assert_eq!(bytes <= 1_200, is_default, "{bytes} bytes: {start}");
    }
}

#[test]
fn a_setting_with_a_typo_is_told() {
    let config = exporting(&[
        ("BANTAM_EXPORTER", "otlp"),
        ("BANTAM_EMF_DIMENSIONS", "functionname"),
        ("BANTAM_EMF_METRICS", "all,cold_start"),
        ("BANTAM_EMF_NAMESPACE", "AWS/Mine"),
    ]);
    let report = run(config, "typos");
    let lines = report.log.iter().filter(|line| line.extension.is_some());
    let lines: Vec<&str> = lines.map(|line| line.text.as_str()).collect();
    for expected in [
        "BANTAM_EXPORTER is not a setting and changes nothing: did you mean BANTAM_EXPORTERS?",
        "BANTAM_EMF_DIMENSIONS: \"functionname\" is not a dimension: did you mean function_name?",
        "BANTAM_EMF_METRICS: \"cold_start\" is not a metric and changes nothing: did you mean",
        "BANTAM_EMF_NAMESPACE is \"AWS/Mine\", expected 1 to 256",
    ] {
        let told = lines.iter().filter(|line| line.contains(expected));
        assert_eq!(told.count(), 1, "{expected} in {lines:#?}");
    }
    check_emf(&report, "typos");
}

/// The extension, started by a shell that sends its output elsewhere.
fn redirected(folder: &Path, redirection: &str) -> Config {
    let file = folder.join("out");
    let mut config = exporting(&[
        ("BANTAM_EXPORTERS", "emf,ndjson"),
        ("BANTAM_NDJSON_FILE", file.to_str().unwrap()),
    ]);
    let real = folder.join("extensions");
    fs::create_dir(&real).unwrap();
    symlink(&config.extensions[0], real.join("bantam")).unwrap();
    let script = folder.join("bantam");
    let text = format!(
        "#!/bin/sh\nexec '{}/bantam' {redirection}\n",
        real.display()
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    config.extensions = vec![script];
    config
}

#[test]
fn emf_that_cannot_be_written_is_counted() {
    let table = [
        (">/dev/full", true),
        (">/dev/full 2>/dev/full", true),
        ("</dev/null >/dev/null 2>&-", false),
        // A program of Rust that starts without it is given /dev/null.
        (">&- 2>&- <&-", false),
    ];
    for (redirection, is_lost) in table {
        let folder = tempfile::tempdir().unwrap();
        run(redirected(folder.path(), redirection), redirection);
        let lost = check(&points(&folder.path().join("out")), redirection);
        assert_eq!(0.0 < lost, is_lost, "{redirection}: {lost} are lost");
    }
}

/// A pipe that is open at both ends here.
fn pipe(path: &Path) -> File {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    options.custom_flags(libc::O_NONBLOCK).open(path).unwrap()
}

#[test]
fn emf_into_a_pipe_that_is_full_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = named_pipe(folder.path());
    let mut never_read = pipe(&path);
    while never_read.write(&[0; 4_096]).is_ok() {}
    let redirection = format!(">'{}'", path.display());
    run(redirected(folder.path(), &redirection), "a full pipe");
    let lost = check(&points(&folder.path().join("out")), "a full pipe");
    assert!(0.0 < lost, "{lost}");
}

#[test]
fn emf_into_a_pipe_whose_reader_has_gone_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = named_pipe(folder.path());
    let reader = pipe(&path);
    let redirection = format!(">'{}'", path.display());
    let env = start(redirected(folder.path(), &redirection));
    invoke(&env, 1);
    drop(reader);
    invoke(&env, INVOCATIONS - 1);
    assert_eq!(end(&env.stop()), (Some(0), false));
    let lost = check(&points(&folder.path().join("out")), "a broken pipe");
    assert!(0.0 < lost, "{lost}");
}

#[test]
fn ndjson_that_cannot_be_written_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing/out");
    let pipe = named_pipe(folder.path());
    for file in [
        Path::new("/dev/full"),
        &missing,
        folder.path(),
        Path::new("/proc/self/status"),
        // Nobody reads from it.
        &pipe,
    ] {
        let file = file.to_str().unwrap();
        let config = exporting(&[
            ("BANTAM_EXPORTERS", "emf,ndjson"),
            ("BANTAM_NDJSON_FILE", file),
        ]);
        let lost = check_emf(&run(config, file), file);
        assert!(0.0 < lost, "{file}: {lost}");
    }
}

/// The protocol of <https://docs.datadoghq.com/developers/dogstatsd/datagram_shell/>, version 1.1:
/// `NAME:VALUE[:VALUE...]|TYPE|#TAG,...`, with as many lines as the datagram has room for. The
/// values of a name, the type, and the tags.
fn statsd(datagram: &str) -> Vec<(&str, Vec<f64>, &str, Vec<&str>)> {
    let line = |line| {
        let mut fields = str::split(line, '|');
        let (name, numbers) = fields.next().unwrap().split_once(':').unwrap();
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_.".contains(&byte);
        assert!(name.bytes().all(is_name) && name.len() <= 200, "{line}");
        let numbers = numbers.split(':').map(|number| number.parse().unwrap());
        let kind = fields.next().unwrap();
        let tags = fields.next().unwrap().strip_prefix('#').unwrap();
        assert_eq!(fields.next(), None, "{line}");
        let tags = tags.split(',').collect::<Vec<_>>();
        let is_tag = |tag: &str| tag.contains(':') && tag.len() <= 200 && tag.is_ascii();
        assert!(tags.iter().all(|tag| is_tag(tag)), "{line}");
        (name, numbers.collect(), kind, tags)
    };
    datagram.split('\n').map(line).collect()
}

#[test]
fn dogstatsd_sends_every_figure_once() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let config = exporting(&[
        ("BANTAM_EXPORTERS", "dogstatsd"),
        ("BANTAM_DOGSTATSD", &address),
    ]);
    run(config, "dogstatsd");
    let mut buffer = [0; 65_536];
    let mut datagrams = Vec::new();
    // All of them were sent before the extension ended.
    while let Ok(length) = socket.recv(&mut buffer) {
        assert!(length <= 1_432, "{length} bytes");
        datagrams.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
    }
    check_statsd(&datagrams, "function_name:function");
}

#[test]
fn dogstatsd_over_a_unix_socket_sends_every_figure_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dsd.socket");
    let socket = UnixDatagram::bind(&path).unwrap();
    // The queue of a socket holds few datagrams, so they are read as they come.
    let reader = thread::spawn(move || {
        let mut datagrams = Vec::new();
        loop {
            let mut buffer = [0; 65_536];
            let length = socket.recv(&mut buffer).unwrap();
            if length == 0 {
                return datagrams;
            }
            assert!(length <= 8_192, "{length} bytes");
            datagrams.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
        }
    });
    let url = format!("unix://{}", path.display());
    let config = exporting(&[
        ("BANTAM_EXPORTERS", "dogstatsd"),
        ("DD_DOGSTATSD_URL", &url),
        ("DD_ENV", "test"),
    ]);
    run(config, "dogstatsd over a Unix socket");
    // An empty datagram ends the reader.
    let end = UnixDatagram::unbound().unwrap();
    end.send_to(&[], &path).unwrap();
    check_statsd(&reader.join().unwrap(), "env:test");
}

/// Holds what was sent in a run against what happened in it. Each line has the tag.
fn check_statsd(datagrams: &[String], tag: &str) {
    let lines: Vec<_> = datagrams.iter().flat_map(|text| statsd(text)).collect();
    let of = |name: &str| -> Vec<f64> {
        let lines = lines.iter().filter(|line| line.0 == name);
        let values = lines.flat_map(|line| {
            assert_eq!(line.2, "d", "{line:?}");
            assert!(line.3.contains(&tag), "{line:?}");
            line.1.clone()
        });
        values.collect()
    };
    assert_eq!(of("bantam.invocations").iter().sum::<f64>(), 10.0);
    assert_eq!(of("bantam.duration").len(), 10);
    assert_eq!(of("bantam.cold_starts"), [1.0]);
    assert_eq!(of("bantam.init_duration").len(), 1);
    assert_eq!(of("bantam.memory_size").last(), Some(&134_217_728.0));
    let start = lines.iter().find(|line| line.0 == "bantam.cold_starts");
    assert!(start.unwrap().3.contains(&"cold_start_kind:on_demand"));
}

#[test]
fn dogstatsd_that_nobody_takes_holds_up_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out");
    let gone = UdpSocket::bind("127.0.0.1:0").unwrap();
    let gone = gone.local_addr().unwrap().to_string();
    // Nobody listens there; no address there is a route to; a name is no address; no such socket.
    let no_socket = format!("unix://{}/none", folder.path().display());
    for address in [&*gone, "255.255.255.255:8125", "nowhere:8125", &no_socket] {
        let config = exporting(&[
            ("BANTAM_EXPORTERS", "ndjson,dogstatsd"),
            ("BANTAM_NDJSON_FILE", file.to_str().unwrap()),
            ("BANTAM_DOGSTATSD", address),
        ]);
        run(config, address);
        check(&points(&file), address);
        fs::remove_file(&file).unwrap();
    }
}

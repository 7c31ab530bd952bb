//! Faults that users of other extensions reported, remade here.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use tempfile::{TempDir, tempdir_in};

use crate::extension::kinds::{points, values};
use crate::extension::platform::{Connection, Platform};
use crate::support::stock;

/// A record of the platform, so many milliseconds from now.
fn record(ms_from_now: i64, kind: &str, record: &str) -> String {
    let time = Timestamp::now() + SignedDuration::from_millis(ms_from_now);
    format!(r#"{{"time":"{time:.3}","type":"{kind}","record":{record}}}"#)
}

fn deliver(connection: &Connection, body: &str) {
    let head = format!("Content-Length: {}", body.len());
    assert_eq!(connection.deliver(&head, body), 200, "{body}");
}

fn batch(connection: &Connection, records: &[String]) {
    deliver(connection, &format!("[{}]", records.join(",")));
}

/// Records of the first invocation, in forms that no page documents.
fn odd_records_of_an_invocation() -> Vec<String> {
    let text = "2026-11-26T04:00:00.123456789+02:00";
    vec![
        record(
            0,
            "platform.start",
            r#"{"requestId":"1","version":"$LATEST"}"#,
        ),
        record(
            5,
            "platform.runtimeDone",
            r#"{"requestId":"1","status":"success"}"#,
        ),
        // No metrics, and no object at all.
        record(
            6,
            "platform.report",
            r#"{"requestId":"1","status":"success"}"#,
        ),
        record(6, "platform.report", r#""RequestId: 1 Duration: 5 ms""#),
        record(7, "platform.fault", r#""RequestId: 1 Error: x""#),
        record(7, "platform.brandNew", r#"{"a":1}"#),
        format!(r#"{{"time":"{text}","type":"function","record":{{"level":"INFO"}}}}"#),
        // A negative number, and a number as text.
        record(
            8,
            "platform.logsDropped",
            r#"{"droppedBytes":-5,"droppedRecords":"7","reason":"x"}"#,
        ),
    ]
}

/// DataDog/datadog-lambda-extension#1185 and #1301 (order), elastic/apm-aws-lambda#334,
/// atlassian/gostatsd#652.
#[test]
fn odd_telemetry_is_taken_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out");
    let platform = Platform::with_file(&file);
    let mut connection = platform.ready("200 OK");
    connection.invoke(1);
    connection.next();
    // Behind the event that it comes before.
    let start = r#"{"initializationType":"on-demand","phase":"init","runtimeVersion":"x:1.F.v1"}"#;
    batch(&connection, &[record(-400, "platform.initStart", start)]);
    batch(&connection, &odd_records_of_an_invocation());
    connection.invoke(2);
    connection.next();
    let done = r#"{"requestId":"2","status":"timeout","metrics":{"durationMs":-3.5},"spans":null}"#;
    let report = r#"{"requestId":"2","status":"timeout","metrics":{"durationMs":"3000.00 ms",
        "billedDurationMs":3000.0,"memorySizeMB":"128","maxMemoryUsedMB":"129"}}"#;
    batch(
        &connection,
        &[
            record(0, "platform.start", r#"{"requestId":"2"}"#),
            record(5, "platform.runtimeDone", done),
            record(6, "platform.report", report),
        ],
    );
    // Behind the second event.
    let report = r#"{"initializationType":"on-demand","phase":"init","status":"success",
        "metrics":{"durationMs":412.25}}"#;
    batch(&connection, &[record(0, "platform.initReport", report)]);
    // Half of a character, a number that no double can hold, a byte order mark, and nothing.
    let lone = r#"{"time":"x","type":"function","record":"\ud83d lone"}"#;
    let large =
        r#"{"type":"platform.report","record":{"requestId":"3","metrics":{"durationMs":1e400}}}"#;
    deliver(&connection, &format!("[{lone},{large}]"));
    deliver(
        &connection,
        "\u{feff}[{\"type\":\"function\",\"record\":\"bom\"}]",
    );
    deliver(&connection, "");
    connection.shut_down("spindown");
    assert_eq!(platform.end().code(), Some(0));
    let points = points(&file);
    let sum = |name| values(&points, name, &[]).iter().sum::<f64>();
    assert_eq!(sum("cold_starts"), 1.0);
    assert_eq!(sum("invocations"), 2.0);
    assert_eq!(sum("timeouts"), 1.0);
    assert_eq!(sum("unknown_records"), 1.0);
    let by_platform = values(&points, "dropped_records", &[("dropped_by", "platform")]);
    assert_eq!(by_platform, [7.0]);
    for point in &points {
        let numbers = point["values"].as_array().unwrap();
        let are_good = numbers.iter().all(|number| 0.0 <= number.as_f64().unwrap());
        assert!(are_good, "{point}");
    }
}

/// A script that starts the extension by this line of a shell.
fn started_by(line: &str) -> (TempDir, PathBuf) {
    // Not in /tmp, which a test hides.
    let folder = tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let extensions = folder.path().join("extensions");
    fs::create_dir(&extensions).unwrap();
    let real = extensions.join("bantam");
    std::os::unix::fs::symlink(stock("").program, &real).unwrap();
    let script = folder.path().join("start");
    fs::write(&script, format!("#!/bin/sh\n{line} '{}'\n", real.display())).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    (folder, script)
}

/// Starts the extension by a script, invokes it once and ends it.
fn lives(script: &Path, folder: &Path, reason: &str) {
    let file = folder.join("out");
    let platform = Platform::start(script, |command| {
        command
            .env("PATH", "/usr/bin:/bin")
            .env("BANTAM_EXPORTERS", "ndjson")
            .env("BANTAM_NDJSON_FILE", &file);
    });
    let mut connection = platform.ready("200 OK");
    connection.invoke(1);
    connection.next();
    let report = r#"{"requestId":"1","status":"success","metrics":{"durationMs":1}}"#;
    batch(&connection, &[record(0, "platform.report", report)]);
    connection.shut_down(reason);
    assert_eq!(platform.end().code(), Some(0));
    let points = points(&file);
    let sum = |name| values(&points, name, &[]).iter().sum::<f64>();
    assert_eq!(sum("invocations"), 1.0);
}

/// DataDog/datadog-lambda-extension#533. The extension has 11 open while it serves a delivery and
/// one more while it exports; three of them are async-io's. Whoever runs the tests may hand on
/// others.
#[test]
fn few_descriptors_are_enough() {
    let (folder, script) = started_by("ulimit -n 16; exec");
    lives(&script, folder.path(), "spindown");
}

/// aws/aws-lambda-base-images#63. After a timeout there is a note to be left in /tmp.
#[test]
#[ignore = "mounts a file system, which not every machine allows"]
fn a_tmp_that_cannot_be_written_is_no_fault() {
    let mut enter = "exec unshare --mount".to_owned();
    if !rustix::process::geteuid().is_root() {
        enter += " --map-root-user";
    }
    let line = format!(r#"{enter} sh -c 'mount -t tmpfs -o ro none /tmp; exec "$0"'"#);
    let (folder, script) = started_by(&line);
    lives(&script, folder.path(), "timeout");
}

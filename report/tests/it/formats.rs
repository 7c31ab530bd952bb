//! The same log in every format gives the same report.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::{fleet, report};

const STREAM: &str = "2026/11/26/[$LATEST]0123456789abcdef0123456789abcdef";
const REPORT: &str = "REPORT RequestId: 6d68\tDuration: 100.50 ms\tBilled Duration: 498 ms\tMemory \
                      Size: 128 MB\tMax Memory Used: 84 MB\tInit Duration: 397.25 ms\t";

/// The lines of one start, with their times.
fn lines() -> Vec<(i64, String)> {
    let at = 1_795_694_400_000;
    vec![
        (at, "INIT_START Runtime Version: python:3.14.v3".to_owned()),
        (
            at + 400,
            "START RequestId: 6d68 Version: $LATEST".to_owned(),
        ),
        (at + 450, "a line\nover two".to_owned()),
        (at + 501, REPORT.to_owned()),
    ]
}

/// Each format, as the bytes of a file.
fn formats() -> Vec<(&'static str, Vec<u8>)> {
    let lines = lines();
    let time = |ms: &i64| jiff::Timestamp::from_millisecond(*ms).unwrap().to_string();
    let text = |each: &dyn Fn(&i64, &str) -> String| {
        let all = lines.iter().map(|(ms, line)| each(ms, line));
        all.collect::<String>().into_bytes()
    };
    let events: Vec<Value> = lines
        .iter()
        .map(|(ms, line)| json!({"logStreamName": STREAM, "timestamp": ms, "message": line}))
        .collect();
    let cells = |ms: &i64, line: &String| {
        let time = time(ms).replace('T', " ").replace('Z', "");
        json!([{"field": "@timestamp", "value": time}, {"field": "@message", "value": line},
            {"field": "@logStream", "value": STREAM}, {"field": "@ptr", "value": "x"}])
    };
    let results: Vec<Value> = lines.iter().map(|(ms, line)| cells(ms, line)).collect();
    let rows: Vec<Value> = lines
        .iter()
        .map(|(ms, line)| json!({"@timestamp": ms, "@logStream": STREAM, "@message": line}))
        .collect();
    let batch = json!({"messageType": "DATA_MESSAGE", "logGroup": "/aws/lambda/f",
        "logStream": STREAM, "logEvents": events});
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let tail = text(&|ms, line| format!("{} {STREAM} {line}\n", time(ms)));
    gzip.write_all(&tail).unwrap();
    vec![
        ("tail", tail),
        ("gzip", gzip.finish().unwrap()),
        (
            "sam logs",
            text(&|ms, line| {
                let time = time(ms).replace('Z', "");
                format!("{STREAM} {time} {line}\n")
            }),
        ),
        (
            "awslogs",
            text(&|ms, line| format!("/aws/lambda/f {STREAM} {} {line}\n", time(ms))),
        ),
        (
            "text",
            text(&|ms, line| format!("EVENTS\t37\t{ms}\t{STREAM}\t{line}\n\t{ms}\n")),
        ),
        (
            "filter-log-events",
            format!("{:#}", json!({"events": events})).into_bytes(),
        ),
        (
            "events in one line",
            json!({"events": events}).to_string().into_bytes(),
        ),
        (
            "get-query-results",
            format!("{:#}", json!({"results": results})).into_bytes(),
        ),
        ("console", json!(rows).to_string().into_bytes()),
        ("subscription", batch.to_string().repeat(2).into_bytes()),
        ("one batch", batch.to_string().into_bytes()),
        ("a batch a line", format!("{batch}\n{batch}\n").into_bytes()),
    ]
}

/// The tables of the console, each as the bytes of a file.
fn tables() -> Vec<(&'static str, Vec<u8>)> {
    let insights = ["@timestamp", "@message", "@logStream"];
    let row = |(ms, line): &(i64, String)| {
        let time = jiff::Timestamp::from_millisecond(*ms).unwrap();
        [time.strftime("%F %T%.3f").to_string(), line.clone()]
    };
    let rows: Vec<_> = lines().iter().map(row).collect();
    let latest: Vec<_> = rows.iter().rev().cloned().collect();
    let viewed = ["timestamp", "message", "logStreamName"];
    let events = lines().into_iter();
    let events: Vec<_> = events
        .map(|(ms, line)| [ms.to_string(), line + "\n"])
        .collect();
    let all = [
        ("table", insights, rows),
        ("the latest first", insights, latest),
        // `log-events-viewer-result.csv`.
        ("log events", viewed, events),
    ];
    let tables = all.into_iter().map(|(name, head, rows)| {
        let mut table = csv::Writer::from_writer(Vec::new());
        table.write_record(head).unwrap();
        for [time, line] in &rows {
            table.write_record([time, line, STREAM]).unwrap();
        }
        (name, table.into_inner().unwrap())
    });
    tables.collect()
}

#[test]
fn one_start_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    for (format, bytes) in formats().into_iter().chain(tables()) {
        let path = folder.path().join("anything");
        fs::write(&path, bytes).unwrap();
        let report = report(&[&path]);
        let at = |pointer: &str| report.pointer(pointer).unwrap_or(&Value::Null);
        assert_eq!(*at("/tables/read/problems"), 0, "{format}: {report:#}");
        assert_eq!(*at("/tables/totals/environment_starts"), 1, "{format}");
        assert_eq!(*at("/tables/totals/environments"), 1, "{format}");
        assert_eq!(
            *at("/tables/totals/from_ms"),
            1_795_694_400_000_i64,
            "{format}"
        );
        assert_eq!(
            *at("/tables/starts/0/cold_start_kind"),
            "on_demand",
            "{format}"
        );
        assert_eq!(*at("/tables/starts/0/cause"), "first_in_log", "{format}");
        assert_eq!(*at("/tables/functions/0/init_ms/p50"), 397.25, "{format}");
        assert_eq!(
            *at("/tables/functions/0/memory_used_mb/max"),
            84.0,
            "{format}"
        );
        assert_eq!(
            *at("/tables/versions/0/function_version"),
            "$LATEST",
            "{format}"
        );
    }
}

#[test]
fn a_folder_of_an_export_names_stream_and_function() {
    let folder = tempfile::tempdir().unwrap();
    let stream = folder
        .path()
        .join("export/aws/lambda/orders/2026-11-26-[$LATEST]0123");
    fs::create_dir_all(&stream).unwrap();
    fs::write(
        folder.path().join("export/aws-logs-write-test"),
        "Permission Check",
    )
    .unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writeln!(gzip, "2026-11-26T12:00:00.501Z {REPORT}").unwrap();
    fs::write(stream.join("000000.gz"), gzip.finish().unwrap()).unwrap();
    let report = report(&[folder.path()]);
    let at = |pointer: &str| report.pointer(pointer).unwrap_or(&Value::Null);
    assert_eq!(*at("/tables/functions/0/function_name"), "orders");
    assert_eq!(*at("/tables/read/files"), 1);
    assert_eq!(*at("/tables/totals/cold_start_share"), 1.0);
}

/// Events without a group have nothing else that tells two functions apart.
#[test]
fn files_name_functions_that_nothing_else_names() {
    let folder = tempfile::tempdir().unwrap();
    for (file, id) in [("orders.json", "a"), ("search.json", "b")] {
        let message = REPORT.replace("6d68", id);
        let event = json!({"timestamp": 1_795_694_400_501_i64, "message": message,
            "logStreamName": STREAM.replace("0123", id)});
        fs::write(
            folder.path().join(file),
            json!({"events": [event]}).to_string(),
        )
        .unwrap();
    }
    let report = report(&[folder.path()]);
    let rows = report.pointer("/tables/functions").unwrap().as_array();
    let mut names: Vec<_> = rows
        .unwrap()
        .iter()
        .map(|row| &row["function_name"])
        .collect();
    names.sort_by_key(|name| name.to_string());
    assert_eq!(names, ["orders", "search"], "{report:#}");
}

/// A start that the platform and the extension report is one, whichever comes first.
#[test]
fn a_start_is_counted_once() {
    let emf = json!({"_aws": {"Timestamp": 1_795_694_400_501_i64}, "function_name": "f",
        "function_version": "7", "cold_start_kind": "proactive", "cause": "ahead_of_demand",
        "cause_source": "inferred", "init_duration": 397.25, "first_invocation_duration": 100.5,
        "init_before_runtime_duration": 20, "extension_register_duration": 2.5,
        "init_runtime_duration": 370, "init_extensions_duration": 7.25,
        "availability_zone": "use1-az1", "request_id": "6d68", "start_ms": 1_795_694_400_000_i64});
    let emf = format!("{emf}\n");
    let folder = tempfile::tempdir().unwrap();
    let (extension, platform) = (folder.path().join("emf"), folder.path().join("log"));
    fs::write(&extension, &emf).unwrap();
    let tail = &formats()[0].1;
    fs::write(&platform, tail).unwrap();
    let whole = folder.path().join("whole");
    fs::write(&whole, [tail, emf.as_bytes()].concat()).unwrap();
    for files in [
        &[&*extension, &*platform][..],
        &[&platform, &extension],
        &[&whole],
    ] {
        let report = report(files);
        let at = |pointer: &str| report.pointer(pointer).unwrap_or(&Value::Null);
        assert_eq!(*at("/tables/totals/environment_starts"), 1, "{report:#}");
        assert_eq!(*at("/tables/totals/environments"), 1, "{files:?}");
        assert_eq!(*at("/tables/totals/invocations"), 1);
        // The extension knows better than the log.
        assert_eq!(*at("/tables/starts/0/cold_start_kind"), "proactive");
        assert_eq!(*at("/tables/starts/0/cause"), "ahead_of_demand");
        assert_eq!(*at("/tables/functions/0/function_name"), "f");
        assert_eq!(*at("/tables/zones/0/availability_zone"), "use1-az1");
        let parts = at("/tables/init_parts").as_array().unwrap();
        let medians: Vec<f64> = parts
            .iter()
            .map(|part| part.pointer("/duration_ms/p50").unwrap().as_f64().unwrap())
            .collect();
        assert_eq!(medians, [17.5, 2.5, 370.0, 7.25, 100.5]);
    }
}

/// An event that is invoked asynchronously and tried again has one request id.
#[test]
fn an_event_that_is_tried_again_can_meet_a_second_start() {
    let at = |stream: char, time: &str| {
        format!("2026-11-26T12:{time}.501Z 2026/11/26/[$LATEST]{stream}123 {REPORT}\n")
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    fs::write(&path, [at('a', "00:00"), at('b', "01:00")].concat()).unwrap();
    let report = report(&[&path]);
    let totals = report.pointer("/tables/totals").unwrap();
    assert_eq!(totals["environment_starts"], 2, "{report:#}");
    assert_eq!(totals["cold_starts"], 2);
}

/// Neither the platform's lines about an init that failed nor the extension's have a request id,
/// and neither has what a collector writes of any start.
#[test]
fn a_start_without_a_request_id_is_counted_once() {
    let at = 1_795_694_400_000_i64;
    let time = |ms: i64| jiff::Timestamp::from_millisecond(at + ms).unwrap();
    let failed = [
        (0, "INIT_START Runtime Version: python:3.14.v3".to_owned()),
        (
            400,
            "INIT_REPORT Init Duration: 397.25 ms\tPhase: init\tStatus: error".to_owned(),
        ),
    ];
    let measured = |kind: &str, begin: i64| {
        let line = json!({"function_name": "f", "cold_start_kind": kind, "instance_id": STREAM,
            "init_duration": 397.25, "start_ms": at + begin, "init_failures": 1});
        format!("{line}\n")
    };
    let folder = tempfile::tempdir().unwrap();
    let (log, line) = (folder.path().join("log"), folder.path().join("line"));
    // A further start of the environment is another one.
    for (lines, kind, begin, starts) in [
        (failed.to_vec(), "init_failure", 3, 1),
        (lines(), "on_demand", 0, 1),
        (failed.to_vec(), "init_failure", 10_000, 2),
        (failed.to_vec(), "on_demand", 3, 2),
    ] {
        let lines = lines.iter().map(|(ms, line)| {
            let ms = if *ms < at { *ms } else { *ms - at };
            format!("{} {STREAM} {line}\n", time(ms))
        });
        fs::write(&log, lines.collect::<String>()).unwrap();
        fs::write(&line, measured(kind, begin)).unwrap();
        for files in [[&*log, &*line], [&*line, &*log]] {
            let report = report(&files);
            let found = report.pointer("/tables/totals/environment_starts").unwrap();
            assert_eq!(*found, starts, "{kind} {begin} {report:#}");
        }
    }
}

#[test]
fn what_cannot_be_read_is_told_by_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut bytes = format!("{REPORT}\nREPORT RequestId: cut\tDur\n").into_bytes();
    bytes.extend(vec![b'x'; (16 << 20) + 1]);
    bytes.extend(b"\n{\"type\":\"platform.report\",\"record\":{\"requestId\":\n\xff\xfe\n");
    fs::write(&path, bytes).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writeln!(gzip, "{REPORT}").unwrap();
    let mut cut = gzip.finish().unwrap();
    cut.truncate(cut.len() - 12);
    let cut_path = folder.path().join("cut.gz");
    fs::write(&cut_path, cut).unwrap();
    let document = folder.path().join("document.json");
    let event =
        json!({"timestamp": 1_795_694_400_501_i64, "logStreamName": "s", "message": REPORT});
    fs::write(
        &document,
        format!("{{\n\"events\": [{event:#},\n{event:#}, {{\"mess"),
    )
    .unwrap();
    let report = report(&[&path, &cut_path, &document]);
    let shown = report.pointer("/tables/read/shown").unwrap();
    let told = shown.as_array().unwrap().iter().map(|problem| {
        let text = |name: &str| problem[name].as_str().unwrap().to_owned();
        let reason = text("reason");
        let short = reason.split(':').next().unwrap().to_owned();
        (problem["line"].as_u64().unwrap(), short)
    });
    let told: Vec<(u64, String)> = told.collect();
    let expected = [
        (2, "REPORT without Duration"),
        (3, "a line of over 16777216 bytes"),
        (4, "not the JSON it begins as"),
        (1, "corrupt deflate stream"),
        (3, "the document ends here"),
    ];
    assert_eq!(told.len(), expected.len(), "{told:?}");
    for ((line, reason), (expected_line, expected)) in told.iter().zip(expected) {
        assert_eq!(*line, expected_line, "{told:?}");
        assert!(
            reason == expected || expected.starts_with("corrupt"),
            "{reason}"
        );
    }
    assert_eq!(report.pointer("/tables/totals/invocations").unwrap(), 3);
}

/// The causes that the rules find are the ones that the functions of `fleet` had.
#[test]
fn causes_are_the_true_ones() {
    let folder = tempfile::tempdir().unwrap();
    fleet(folder.path(), &["24", "6e6", "5"]);
    let truth = fs::read(folder.path().join("causes.json")).unwrap();
    let truth: std::collections::BTreeMap<String, u64> = serde_json::from_slice(&truth).unwrap();
    let report = report(&[&folder.path().join("logs")]);
    assert_eq!(report.pointer("/tables/read/problems").unwrap(), 0);
    let mut found = std::collections::BTreeMap::new();
    for row in report
        .pointer("/tables/starts")
        .unwrap()
        .as_array()
        .unwrap()
    {
        let cause = row["cause"].as_str().unwrap().to_owned();
        *found.entry(cause).or_insert(0) += row["environment_starts"].as_u64().unwrap();
    }
    let all: u64 = truth.values().sum();
    assert_eq!(found.values().sum::<u64>(), all, "{found:?}");
    // The rules do not see everything: an idle environment that a deployment replaced, or one that
    // ended a moment before its lifetime.
    let differences: u64 = truth
        .keys()
        .chain(found.keys())
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .map(|cause| {
            let of = |counts: &std::collections::BTreeMap<String, u64>| {
                counts.get(cause).copied().unwrap_or_default()
            };
            of(&truth).abs_diff(of(&found))
        })
        .sum();
    assert!(differences * 50 <= all, "{truth:?}\n{found:?}");
    for cause in [
        "timeout",
        "crash",
        "out_of_memory",
        "first_of_version",
        "first_in_log",
    ] {
        assert_eq!(found.get(cause), truth.get(cause), "{cause}");
    }
}

#[test]
fn a_file_without_a_line_about_a_function_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    fs::write(&path, "hello\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_bantam-report"));
    let output = command.arg(&path).output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.starts_with("1 file, 6 bytes, 1 message; 0 told"),
        "{text}"
    );
    assert!(
        text.contains("nothing in them is a line about a function"),
        "{text}"
    );
    assert!(text.contains("0.0 ms billed (0.00 USD)"), "{text}");
}

/// The emulator's measurement, and two of them side by side.
#[test]
fn a_measurement_of_the_emulator_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("coldstart.json");
    let samples: Vec<Value> = (1..=9)
        .map(|at| {
            json!({"exec_to_next_ns": at * 1_000_000, "init_ns": at * 2_000_000,
                "first_invocation_ns": 500_000, "warm_invocations_ns": [1, 2, 3], "cpu_ns": 1,
                "peak_memory_bytes": 2 << 20})
        })
        .collect();
    let slower: Vec<Value> = (21..=29)
        .map(|at| json!({"exec_to_next_ns": at * 1_000_000, "init_ns": at * 2_000_000}))
        .collect();
    let measurement = json!({"note": "x", "machine": {"cores": 2}, "times": 9,
        "subjects": [{"name": "hello", "program": "p", "figures": {}, "samples": samples},
            {"name": "slower", "samples": slower}]});
    fs::write(&path, format!("{measurement:#}\n")).unwrap();
    let report = report(&[&path]);
    let at = |pointer: &str| report.pointer(pointer).unwrap_or(&Value::Null);
    assert_eq!(*at("/tables/functions/0/function_name"), "slower");
    assert_eq!(*at("/tables/functions/1/function_name"), "hello");
    assert_eq!(*at("/tables/functions/1/init_ms/p50"), 10.0);
    assert_eq!(*at("/tables/functions/1/cold_start_share"), 0.25);
    assert_eq!(*at("/tables/totals/invocations"), 36 + 9);
    assert_eq!(*at("/tables/starts_over_time"), json!([]));
    assert_eq!(*at("/programs/0/program"), "slower");
    assert_eq!(*at("/programs/0/figure"), "init_duration");
    assert_eq!(*at("/programs/0/before"), 10.0);
    assert_eq!(*at("/programs/0/after"), 50.0);
    assert_eq!(*at("/programs/0/ratio"), 5.0);
    assert_eq!(*at("/programs/0/is_significant"), true);
}

/// What a collector's file exporter writes of one start: JSON, and protobuf behind its length.
#[test]
fn a_file_of_a_collector_is_read() {
    let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let attributes = json!([
        text("bantam.cold_start_kind", "on_demand"),
        text("bantam.cause", "crash")
    ]);
    let histogram = |name: &str, seconds: f64| {
        json!({"name": name, "unit": "s", "histogram": {"aggregationTemporality": 1,
            "dataPoints": [{"attributes": attributes, "startTimeUnixNano": "1795694400000000000",
                "timeUnixNano": "1795694400500000000", "count": "1", "sum": seconds,
                "bucketCounts": [], "explicitBounds": []}]}})
    };
    let invocations = json!({"name": "faas.invocations", "unit": "{invocation}", "sum": {
        "aggregationTemporality": 1, "isMonotonic": true, "dataPoints": [{
            "startTimeUnixNano": "1", "timeUnixNano": "2", "attributes": [], "asInt": "7"}]}});
    let data = json!({"resourceMetrics": [{
        "resource": {"attributes": [text("faas.name", "f"), text("faas.version", "7"),
            text("faas.instance", "i"), text("cloud.availability_zone", "use1-az1")]},
        "scopeMetrics": [{"scope": {"name": "bantam"}, "metrics": [
            histogram("faas.init_duration", 0.39725),
            histogram("bantam.first_invocation.duration", 0.1005), invocations]}]}]});
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics");
    let line = format!("{data}\n");
    let message: opentelemetry_proto::tonic::metrics::v1::MetricsData =
        serde_json::from_value(data).unwrap();
    let message = prost::Message::encode_to_vec(&message);
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    for bytes in [line.into_bytes(), [&length[..], &message].concat()] {
        fs::write(&path, bytes).unwrap();
        let report = report(&[&path]);
        let at = |pointer: &str| report.pointer(pointer).unwrap_or(&Value::Null);
        assert_eq!(*at("/tables/read/problems"), 0, "{report:#}");
        assert_eq!(*at("/tables/totals/environment_starts"), 1);
        assert_eq!(*at("/tables/totals/environments"), 1);
        assert_eq!(*at("/tables/totals/invocations"), 7);
        assert_eq!(*at("/tables/totals/from_ms"), 1_795_694_400_000_i64);
        assert_eq!(*at("/tables/starts/0/cause"), "crash");
        assert_eq!(*at("/tables/functions/0/init_ms/p50"), 397.25);
        assert_eq!(*at("/tables/functions/0/first_invocation_ms/p50"), 100.5);
        assert_eq!(*at("/tables/zones/0/availability_zone"), "use1-az1");
        assert_eq!(*at("/tables/versions/0/function_version"), "7");
    }
}

/// Rows of Logs Insights without the message have the fields that it found itself.
#[test]
fn rows_without_a_message_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows");
    let table = "@timestamp,@logStream,@requestId,@duration,@billedDuration,@memorySize,\
                 @maxMemoryUsed,@initDuration\n2026-11-26 12:00:00.501,\
                 2026/11/26/[7]0123,6d68,100.5,498,1.28E8,8.4E7,397.25\n2026-11-26 \
                 12:00:01.000,2026/11/26/[7]0123,6d69,,,,,\n";
    let measured = "function_name,cold_start_kind,init_duration,memory_mb,cause\n\
                    f,on_demand,397.25,128,demand\n";
    for (rows, cause) in [(table, "first_in_log"), (measured, "demand")] {
        fs::write(&path, rows).unwrap();
        let report = report(&[&path]);
        let at = |pointer: &str| report.pointer(pointer).unwrap_or(&Value::Null);
        assert_eq!(*at("/tables/totals/environment_starts"), 1, "{report:#}");
        assert_eq!(*at("/tables/starts/0/cause"), cause);
        assert_eq!(*at("/tables/functions/0/init_ms/p50"), 397.25);
        assert_eq!(*at("/tables/functions/0/memory_size_mb"), 128.0);
    }
}

/// Functions of before 2023 have no status in `REPORT`: a line of its own tells a failure, which
/// stands before the report or behind it. The failure is of that invocation alone, and the cause of
/// the start that follows.
#[test]
fn a_timeout_is_the_cause_of_the_next_start() {
    let report_of = |id: &str, more: &str| {
        format!(
            "REPORT RequestId: {id}\tDuration: 2019.16 ms\tBilled Duration: 2187 ms\tMemory Size: \
             512 MB\tMax Memory Used: 150 MB\t{more}\n"
        )
    };
    let start = "START RequestId: ID Version: 9\n";
    let failed = "2026-11-26T12:00:02.000Z ID Task timed out after 2.02 seconds\n\n";
    let first = report_of(
        "ID",
        "Restore Duration: 244.38 ms\tBilled Restore Duration: 168 ms",
    );
    let restored = "RESTORE_START Runtime Version: java:17.v9\nRESTORE_REPORT Restore Duration: \
                    244.38 ms\n";
    let again = format!(
        "INIT_START Runtime Version: java:17.v9\nINIT_REPORT Init Duration: 2137.34 ms\n{}{}{}{}",
        start.replace("ID", "b"),
        report_of("b", ""),
        start.replace("ID", "c"),
        report_of("c", "")
    );
    for (line, behind) in [(failed, ""), ("", failed)] {
        let text = format!("{restored}{start}{line}{first}{behind}{again}").replace("ID", "a");
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("2026-11-26-[9]0123");
        fs::create_dir(&folder).unwrap();
        let path = folder.join("000000");
        let lines = text.lines().zip(1_795_694_400_000_i64..);
        let lines = lines.map(|(line, ms)| {
            let time = jiff::Timestamp::from_millisecond(ms).unwrap();
            format!("{time} {line}\n")
        });
        fs::write(&path, lines.collect::<String>()).unwrap();
        let report = report(&[&folder]);
        let at = |pointer: &str| report.pointer(pointer).unwrap_or(&Value::Null);
        let started = |kind: &str, cause: &str| {
            let starts = at("/tables/starts").as_array().unwrap().iter();
            let of = |start: &&Value| start["cold_start_kind"] == kind && start["cause"] == cause;
            starts.filter(of).count()
        };
        assert_eq!(*at("/tables/totals/invocations"), 3, "{report:#}");
        assert_eq!(*at("/tables/totals/failed_invocations"), 1, "{report:#}");
        assert_eq!(*at("/tables/totals/environment_starts"), 2);
        assert_eq!(
            started("snap_start_restore", "first_in_log"),
            1,
            "{report:#}"
        );
        assert_eq!(started("reset_after_timeout", "timeout"), 1, "{report:#}");
    }
}

/// A function can write of a timeout that is not the one of an invocation of its own.
#[test]
fn a_timeout_of_something_else_fails_no_invocation() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    for (line, failed) in [
        ("ERROR: Task timed out after 3.00 seconds", 0),
        (
            "2026-11-26T12:00:00.123Z 6d68 Task timed out after 3.00 seconds",
            1,
        ),
    ] {
        fs::write(&path, format!("{line}\n{REPORT}\n")).unwrap();
        let report = report(&[&path]);
        let found = report.pointer("/tables/totals/failed_invocations").unwrap();
        assert_eq!(*found, failed, "{line}");
    }
}

/// Records of one start of `init_type` in `phase`, behind those of an init that failed if one did.
fn records(init_type: &str, phase: &str, is_failed_before: bool) -> String {
    let at = |ms: i64| jiff::Timestamp::from_millisecond(1_795_694_400_000 + ms).unwrap();
    let init = |from, phase: &str, status: &str| {
        let (begin, end) = (at(from), at(from + 400));
        let start = json!({"time": begin.to_string(), "type": "platform.initStart",
            "record": {"initializationType": init_type, "phase": phase, "functionName": "f",
                "functionVersion": "7", "instanceId": "i"}});
        let report = json!({"time": end.to_string(), "type": "platform.initReport",
            "record": {"initializationType": init_type, "phase": phase, "status": status,
                "metrics": {"durationMs": 397.25}}});
        format!("{start}\n{report}\n")
    };
    let start = json!({"time": at(1_401).to_string(), "type": "platform.start",
        "record": {"requestId": "6d68", "version": "7"}});
    let report = json!({"time": at(1_501).to_string(), "type": "platform.report",
        "record": {"requestId": "6d68", "status": "success", "metrics": {"durationMs": 100.5,
            "billedDurationMs": 101, "memorySizeMB": 128, "maxMemoryUsedMB": 84}}});
    let mut text = String::new();
    if is_failed_before {
        text += &init(0, "init", "error");
    }
    text += &init(1_000, phase, "success");
    format!("{text}{start}\n{report}\n")
}

/// The line of the extension about the start of [`records`].
fn measured(kind: &str, cause: &str) -> String {
    let line = json!({"function_name": "f", "function_version": "7", "instance_id": "i",
        "cold_start_kind": kind, "cause": cause, "cause_source": "platform", "cold_starts": 1,
        "init_duration": 397.25, "first_invocation_duration": 100.5, "request_id": "6d68",
        "start_ms": 1_795_694_401_000_i64});
    format!("{line}\n")
}

/// A log and the line of the extension give one start the same kind, and the time that an
/// invocation waited for it.
#[test]
fn a_start_has_one_kind_in_all_sources() {
    let folder = tempfile::tempdir().unwrap();
    let (log, line) = (folder.path().join("log"), folder.path().join("line"));
    for (init_type, phase, kind, cold_starts, wait) in [
        ("on-demand", "init", "on_demand", 1, 397.25),
        ("native-http", "init", "other", 1, 397.25),
        ("native-http", "invoke", "init_retried_in_invoke", 1, 397.25),
        (
            "provisioned-concurrency",
            "init",
            "provisioned_concurrency",
            0,
            0.0,
        ),
        (
            "provisioned-concurrency",
            "invoke",
            "init_retried_in_invoke",
            1,
            397.25,
        ),
    ] {
        fs::write(&log, records(init_type, phase, false)).unwrap();
        fs::write(&line, measured(kind, "demand")).unwrap();
        for files in [&[&*log][..], &[&line], &[&log, &line], &[&line, &log]] {
            let report = report(files);
            let at = |pointer: &str| report.pointer(pointer).unwrap_or(&Value::Null);
            assert_eq!(*at("/tables/starts/0/cold_start_kind"), kind, "{report:#}");
            assert_eq!(*at("/tables/totals/environment_starts"), 1, "{report:#}");
            assert_eq!(*at("/tables/totals/cold_starts"), cold_starts, "{files:?}");
            assert_eq!(*at("/tables/totals/wait_ms"), wait, "{files:?}");
        }
    }
}

/// `REPORT` has an init inside an invocation in its duration.
#[test]
fn an_init_inside_an_invocation_is_counted_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let log = records("on-demand", "invoke", false);
    let log = log.replace("397.25", "400").replace("100.5", "520");
    fs::write(&path, log).unwrap();
    let report = report(&[&path]);
    let distributions = report.pointer("/tables/distributions").unwrap();
    let of = |figure: &str| {
        let mut rows = distributions.as_array().unwrap().iter();
        rows.find(|row| row["figure"] == figure).unwrap()["summary"]["max"].as_f64()
    };
    assert_eq!(of("init_duration"), Some(400.0), "{report:#}");
    assert_eq!(of("first_invocation_duration"), Some(120.0));
    assert_eq!(of("cold_start_duration"), Some(520.0));
}

/// A process that is started right after a timeout is there before the next invocation, which then
/// waits for nothing.
#[test]
fn a_reset_ahead_of_demand_is_no_cold_start() {
    let ms = |at: &str| format!("2026-11-26T12:00:{at}00Z");
    let report = |id: &str, status: &str| {
        json!({"requestId": id, "status": status, "metrics": {"durationMs": 100.5,
            "billedDurationMs": 101, "memorySizeMB": 128, "maxMemoryUsedMB": 84}})
    };
    let (start, done) = ("platform.initStart", "platform.initReport");
    let init = json!({"initializationType": "on-demand", "phase": "init", "instanceId": "i"});
    let ended = json!({"initializationType": "on-demand", "phase": "init", "status": "success",
        "metrics": {"durationMs": 400}});
    let first = [
        (start, "01.0", init.clone()),
        (done, "01.4", ended.clone()),
        ("platform.start", "01.4", json!({"requestId": "a"})),
        ("platform.report", "01.5", report("a", "timeout")),
        (start, "01.6", init),
        (done, "02.0", ended),
    ];
    let later = [
        ("platform.start", "30.0", json!({"requestId": "b"})),
        ("platform.report", "30.1", report("b", "success")),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    for records in [first.to_vec(), [&first[..], &later].concat()] {
        let records = records.iter().map(|(kind, at, record)| {
            json!({"time": ms(at), "type": kind, "record": record}).to_string() + "\n"
        });
        fs::write(&path, records.collect::<String>()).unwrap();
        let report = crate::report(&[&path]);
        let rows = report.pointer("/tables/starts").unwrap().as_array();
        let of = |row: &&Value| row["cold_start_kind"] == "proactive" && row["cause"] == "timeout";
        assert_eq!(rows.unwrap().iter().filter(of).count(), 1, "{report:#}");
        let cold_starts = report.pointer("/tables/totals/cold_starts").unwrap();
        assert_eq!(*cold_starts, 1, "{report:#}");
    }
}

/// An environment that is reset has a line of each end, and an end can be told by two exporters.
#[test]
fn invocations_of_all_lives_of_an_environment_are_counted() {
    let emf = |end: i64, count: u64| {
        json!({"function_name": "f", "environment_invocations": count, "instance_id": "i",
            "start_ms": 1_795_694_400_000_i64, "end_ms": end})
    };
    let ndjson = |end: i64, count: u64| {
        json!({"start_ms": end - 5, "end_ms": end, "function_name": "f", "instance_id": "i",
            "points": [{"name": "environment_invocations", "attributes": {}, "values": [count]}],
            "properties": {"instance_id": "i", "start_ms": 1_795_694_400_000_i64, "end_ms": end}})
    };
    let (first, second) = (1_795_694_460_000, 1_795_694_520_000);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    for lines in [
        vec![emf(first, 5), emf(second, 7)],
        vec![
            emf(first, 5),
            ndjson(first, 5),
            emf(second, 7),
            ndjson(second, 7),
        ],
    ] {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        fs::write(&path, text).unwrap();
        let report = report(&[&path]);
        let totals = report.pointer("/tables/totals").unwrap();
        assert_eq!(totals["invocations"], 12, "{report:#}");
        assert_eq!(totals["environments"], 1);
    }
}

/// That something failed before is known from the phase of the init, and what it was is not:
/// nothing is inferred from it.
#[test]
fn an_earlier_failure_is_named_where_the_log_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let (log, line) = (folder.path().join("log"), folder.path().join("line"));
    let kind = "init_retried_in_invoke";
    fs::write(&line, measured(kind, "earlier_failure")).unwrap();
    for (is_failed_before, cause) in [(false, "earlier_failure"), (true, "failed_init")] {
        fs::write(&log, records("on-demand", "invoke", is_failed_before)).unwrap();
        let all: [&[&Path]; 4] = [&[&log], &[&line], &[&log, &line], &[&line, &log]];
        for files in all {
            let report = report(files);
            let rows = report.pointer("/tables/starts").unwrap().as_array();
            let row = rows
                .unwrap()
                .iter()
                .find(|row| row["cold_start_kind"] == kind);
            let has_log = files.contains(&&*log);
            let expected = if has_log { cause } else { "earlier_failure" };
            assert_eq!(row.unwrap()["cause"], expected, "{files:?} {report:#}");
            assert_eq!(row.unwrap()["inferred"], 0, "{files:?}");
        }
    }
}

/// Two starts beside an invocation of five seconds, and one ten minutes after it.
#[test]
fn busy_and_idle_times_are_counted() {
    let begin = 1_795_694_400_000_i64;
    let of = |stream: char, from: i64, ms: i64| {
        let time = |at: i64| jiff::Timestamp::from_millisecond(begin + from + at).unwrap();
        let stream = format!("2026/11/26/[7]{}", stream.to_string().repeat(32));
        format!(
            "{} {stream} INIT_START Runtime Version: python:3.14.v3\n\
             {} {stream} START RequestId: {from} Version: 7\n\
             {} {stream} REPORT RequestId: {from}\tDuration: {ms}.00 ms\tBilled Duration: {ms} \
             ms\tMemory Size: 128 MB\tMax Memory Used: 84 MB\tInit Duration: 400.00 ms\t\n",
            time(0),
            time(400),
            time(400 + ms)
        )
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let text = [
        of('b', 2_000, 100),
        of('c', 2_300, 100),
        of('a', 0, 5_000),
        of('d', 605_400, 100),
    ];
    fs::write(&path, text.concat()).unwrap();
    let report = report(&[&path]);
    let rows = report.pointer("/tables/starts").unwrap().as_array();
    let rows: Vec<_> = rows.unwrap().iter().collect();
    let figures = |cause: &str| {
        let row = rows.iter().find(|row| row["cause"] == cause).unwrap();
        let of = |figure: &str| ["count", "min", "mean", "max"].map(|name| &row[figure][name]);
        (json!(of("busy")), json!(of("idle_ms")))
    };
    let none = json!([0, null, null, null]);
    assert_eq!(
        figures("scale_out"),
        (json!([2, 1.0, 1.5, 2.0]), none.clone()),
        "{report:#}"
    );
    let idle = json!([1, 600_000.0, 600_000.0, 600_000.0]);
    assert_eq!(figures("idleness"), (none.clone(), idle));
    assert_eq!(figures("first_in_log"), (none.clone(), none));
}

/// An invocation that is tried again has the id of the first time: what comes between is not busy.
#[test]
fn an_environment_is_not_busy_until_an_invocation_is_tried_again() {
    let time = |ms: i64| jiff::Timestamp::from_millisecond(1_795_694_400_000 + ms).unwrap();
    let start = |stream: char, id: &str, at: i64| {
        format!(
            "{} 2026/11/26/[7]{stream}123 INIT_START Runtime Version: python:3.14.v3\n\
             {} 2026/11/26/[7]{stream}123 REPORT RequestId: {id}\tDuration: 100.00 ms\tInit \
             Duration: 400.00 ms\n",
            time(at),
            time(at + 500)
        )
    };
    let again = |stream: char, id: &str, at: i64| {
        format!(
            "{} 2026/11/26/[7]{stream}123 REPORT RequestId: {id}\tDuration: 100.00 ms\n",
            time(at + 100)
        )
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let text = [
        start('a', "x", 0),
        start('b', "y", 400_000),
        again('a', "x", 500_000),
    ];
    fs::write(&path, text.concat()).unwrap();
    let report = report(&[&path]);
    let rows = report
        .pointer("/tables/starts")
        .unwrap()
        .as_array()
        .unwrap();
    let causes: Vec<_> = rows
        .iter()
        .map(|row| row["cause"].as_str().unwrap())
        .collect();
    assert!(!causes.contains(&"scale_out"), "{report:#}");
    assert!(causes.contains(&"idleness"), "{report:#}");
}

/// A log of AWS's Runtime Interface Emulator, which has the init first in `REPORT`.
#[test]
fn a_log_of_the_runtime_interface_emulator_is_read() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let report = report(&[&root.join("data/emulator/rie.log")]);
    let at = |pointer: &str| report.pointer(pointer).unwrap_or(&Value::Null);
    assert_eq!(*at("/tables/read/problems"), 0, "{report:#}");
    assert_eq!(*at("/tables/totals/invocations"), 3);
    assert_eq!(*at("/tables/totals/cold_starts"), 1);
    assert_eq!(*at("/tables/functions/0/init_ms/p50"), 0.02);
    assert_eq!(*at("/tables/functions/0/first_invocation_ms/p50"), 15.78);
    assert_eq!(*at("/tables/functions/0/memory_size_mb"), 3008.0);
}

/// Lines and records that AWS wrote, with the values that stand in them; report/data/README.md has
/// their sources.
#[test]
fn captures_of_functions_on_aws_have_their_own_figures() {
    /// A file, how many invocations and starts are in it, and of the start its kind, its init or
    /// restore, its first invocation, its billed part, and the most memory of all.
    type Capture = (&'static str, u64, &'static str, f64, f64, f64, f64);
    let captures: [Capture; 4] = [
        (
            "java-snapstart.log",
            5,
            "snap_start_restore",
            511.25,
            306.34,
            303.0,
            160.0,
        ),
        ("node.log", 2, "on_demand", 136.98, 48.28, 0.0, 65.0),
        ("telemetry.json", 1, "on_demand", 235.086, 17.493, 0.0, 75.0),
        (
            "collector.ndjson",
            1,
            "on_demand",
            1819.881,
            12455.155,
            0.0,
            128.0,
        ),
    ];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/aws");
    for (name, invocations, kind, waited, first, billed, memory) in captures {
        let path = folder.join(name);
        // The reader has another way to count them.
        let text = fs::read_to_string(&path).unwrap();
        let reports = ["REPORT RequestId:", "\"platform.report\""];
        let reports = reports.map(|report| text.matches(report).count() as u64);
        assert_eq!(reports.iter().sum::<u64>(), invocations, "{name}");
        let report = report(&[&path]);
        let at = |pointer: &str| report.pointer(pointer).unwrap_or(&Value::Null);
        assert_eq!(*at("/tables/read/problems"), 0, "{name}");
        assert_eq!(*at("/tables/totals/invocations"), invocations, "{name}");
        assert_eq!(*at("/tables/totals/failed_invocations"), 0, "{name}");
        assert_eq!(*at("/tables/totals/environment_starts"), 1, "{name}");
        assert_eq!(*at("/tables/totals/environments"), 1, "{name}");
        assert_eq!(*at("/tables/totals/wait_ms"), waited, "{name}");
        assert_eq!(*at("/tables/totals/billed_init_ms"), billed, "{name}");
        assert_eq!(*at("/tables/starts/0/cold_start_kind"), kind, "{name}");
        let function = |figure: &str| at(&format!("/tables/functions/0/{figure}"));
        assert_eq!(*function("init_ms/max"), waited, "{name}");
        assert_eq!(*function("first_invocation_ms/max"), first, "{name}");
        assert_eq!(*function("memory_used_mb/max"), memory, "{name}");
    }
}

/// The billed time has the init in it since August 2025. Of the REPORT lines the second is the one
/// of a function whose init was not billed, and the last is of 2020, when time was rounded up.
#[test]
fn the_billed_part_of_an_init_is_told_from_rounding() {
    for (times, billed) in [
        ("Duration: 558.78 ms\tBilled Duration: 669 ms", 110.0),
        ("Duration: 558.78 ms\tBilled Duration: 559 ms", 0.0),
        ("Duration: 558.78 ms\tBilled Duration: 600 ms", 0.0),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let rest = "Memory Size: 128 MB\tMax Memory Used: 38 MB\tInit Duration: 109.44 ms";
        fs::write(&path, format!("REPORT RequestId: a\t{times}\t{rest}\t\n")).unwrap();
        let report = report(&[&path]);
        let found = report.pointer("/tables/totals/billed_init_ms").unwrap();
        assert_eq!(*found, billed, "{times}");
    }
}

/// A line can tell a duration or a time that no log has; the rest of the log is read all the same.
#[test]
fn times_out_of_all_calendars_stop_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let line = |time: &str, duration: &str| {
        format!("{time} REPORT RequestId: a\tDuration: {duration} ms\tInit Duration: 10 ms\n")
    };
    for (time, duration) in [
        ("1013-11-26T12:00:00.330Z", "111055555555555555555"),
        ("9999-12-30T00:00:00.000Z", "-111055555555555555555"),
        ("0001-01-02T00:00:00Z", "1"),
    ] {
        let text = line(time, duration) + &line("2026-11-26T12:00:00.330Z", "5");
        fs::write(&path, text).unwrap();
        let report = report(&[&path]);
        let invocations = report.pointer("/tables/totals/invocations").unwrap();
        assert_eq!(*invocations, 2, "{time}");
    }
    let event = json!({"timestamp": i64::MAX, "logStreamName": "s", "message": REPORT});
    fs::write(&path, json!({"events": [event]}).to_string()).unwrap();
    let report = report(&[&path]);
    assert_eq!(report.pointer("/tables/totals/invocations").unwrap(), 1);
    assert_eq!(
        *report.pointer("/tables/totals/to_ms").unwrap(),
        Value::Null
    );
}

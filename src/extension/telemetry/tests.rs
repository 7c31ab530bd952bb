use std::borrow::Cow;

use serde_json::Value as Json;

use super::lenient::COUNT_MAX;
use super::*;
use crate::extension::export::samples::Random;
use crate::shared::time::EpochMs;

const TRACE: &str = "Root=1-62e900b2-710d76f009d6e7785905449a;Parent=0efbd19962d95b05;Sampled=1";

/// The elements of a batch.
fn all(batch: &str) -> Option<Vec<Option<Record<'_>>>> {
    Some(records(batch)?.map(Result::ok).collect())
}

/// The only record of a batch.
#[track_caller]
fn only(record: &str, each: &mut dyn FnMut(Record<'_>)) {
    let batch = format!("[{record}]");
    let mut found = all(&batch).unwrap();
    assert_eq!(found.len(), 1, "{record}");
    each(
        found
            .remove(0)
            .unwrap_or_else(|| panic!("malformed: {record}")),
    );
}

/// Checks the content of a record of `platform.<name>`.
#[track_caller]
fn check(name: &str, record: &str, expected: &Content<'_>) {
    let time = r#""time":"2026-08-20T10:00:00.064Z""#;
    let orders = [
        format!(r#"{{{time},"type":"platform.{name}","record":{record}}}"#),
        format!(r#"{{"record":{record},"new":[{{}}],"t\u0079pe":"platform.{name}",{time}}}"#),
    ];
    for json in orders {
        only(&json, &mut |found| {
            assert_eq!(found.content, *expected, "{json}");
            assert_eq!(found.time, Some(EpochMs(1_787_220_000_064)), "{json}");
        });
    }
}

fn text(text: &str) -> Option<Cow<'_, str>> {
    Some(Cow::Borrowed(text))
}

#[test]
fn the_start_of_an_init_has_all_its_members() {
    let record = r#"{
        "initializationType":"on-demand","phase":"init",
        "runtimeVersion":"nodejs:22.v45",
        "runtimeVersionArn":"arn:aws:lambda:us-east-1::runtime:da57c20c4b965d5b",
        "functionName":"f","functionVersion":"$LATEST",
        "functionArn":"arn:aws:lambda:us-east-1:123456789012:function:f",
        "instanceId":"2026/08/20/[$LATEST]82561ce053dd47d190e0c8f5e063e62e",
        "instanceMaxMemory":268435456,
        "tracing":{"spanId":"54565fb41ac79632","type":"X-Amzn-Trace-Id","value":"Root=1"}}"#;
    let json = format!(r#"{{"type":"platform.initStart","record":{record}}}"#);
    only(&json, &mut |found| {
        let Content::InitStart(start) = found.content else {
            panic!("{found:?}");
        };
        assert_eq!(start.memory_mb(), Some(256));
        let found = [
            &start.initialization_type,
            &start.phase,
            &start.function_arn,
            &start.instance_id,
            &start.runtime_version,
        ];
        let expected = [
            "on-demand",
            "init",
            "arn:aws:lambda:us-east-1:123456789012:function:f",
            "2026/08/20/[$LATEST]82561ce053dd47d190e0c8f5e063e62e",
            "nodejs:22.v45",
        ];
        assert_eq!(found, expected.map(text).each_ref());
        assert!(
            found
                .iter()
                .all(|text| matches!(text, Some(Cow::Borrowed(_))))
        );
    });
    let restored = r#"{"functionName":"f","functionVersion":"7","runtimeVersion":"java:21.v40"}"#;
    let expected = Members {
        runtime_version: text("java:21.v40"),
        ..Members::default()
    };
    check(
        "restoreStart",
        restored,
        &Content::RestoreStart(Box::new(expected)),
    );
}

#[test]
fn the_end_of_a_phase_has_all_its_members() {
    let succeeded = Members {
        initialization_type: text("on-demand"),
        phase: text("init"),
        status: text("success"),
        ..Members::default()
    };
    check(
        "initRuntimeDone",
        r#"{"initializationType":"on-demand","phase":"init","status":"success",
            "spans":[{"name":"x","start":"2026-08-20T10:00:00.331Z","durationMs":70.5}]}"#,
        &Content::InitRuntimeDone(Box::new(succeeded.clone())),
    );
    check(
        "initRuntimeDone",
        r#"{"initializationType":"on-demand","phase":"init","status":"error",
            "errorType":"Runtime.ExitError"}"#,
        &Content::InitRuntimeDone(Box::new(Members {
            status: text("error"),
            error_type: text("Runtime.ExitError"),
            ..succeeded.clone()
        })),
    );
    let metrics = Metrics {
        duration_ms: Some(397.68),
        ..Metrics::default()
    };
    check(
        "initReport",
        r#"{"initializationType":"on-demand","phase":"init","status":"success",
            "metrics":{"durationMs":397.68}}"#,
        &Content::InitReport(Box::new(Members {
            metrics,
            ..succeeded
        })),
    );
    let restored = Members {
        status: text("success"),
        ..Members::default()
    };
    check(
        "restoreRuntimeDone",
        r#"{"status":"success"}"#,
        &Content::RestoreRuntimeDone(Box::new(restored.clone())),
    );
    check(
        "restoreReport",
        r#"{"status":"success","metrics":{"durationMs":397.68}}"#,
        &Content::RestoreReport(Box::new(Members {
            metrics,
            ..restored
        })),
    );
}

#[test]
fn records_of_invocations_have_all_their_members() {
    let tracing = format!(
        r#""tracing":{{"spanId":"54565fb41ac79632","type":"X-Amzn-Trace-Id","value":"{TRACE}"}}"#
    );
    let record = format!(
        r#"{{"requestId":"6d68ca91","version":"$LATEST","functionArn":"arn:f","tenantId":"t",{tracing}}}"#
    );
    let json = format!(r#"{{"type":"platform.start","record":{record}}}"#);
    only(&json, &mut |found| {
        let Content::Start(start) = found.content else {
            panic!("{found:?}");
        };
        assert_eq!(start.request_id.as_deref(), Some("6d68ca91"));
        assert_eq!(start.function_arn.as_deref(), Some("arn:f"));
        assert_eq!(start.tracing.value.as_deref(), Some(TRACE));
    });
    let record = format!(
        r#"{{"requestId":"6d68ca91","status":"success",
        "metrics":{{"durationMs":1.056,"producedBytes":50}},
        "spans":[{{"name":"responseLatency","start":"2026-08-20T10:00:01.162Z","durationMs":0.677}},
                 {{"name":"responseDuration","start":"2026-08-20T10:00:01.162Z","durationMs":0.035}},
                 {{"name":"runtimeOverhead","start":"2026-08-20T10:00:01.163Z","durationMs":0.211}}],
        {tracing}}}"#
    );
    let json = format!(r#"{{"type":"platform.runtimeDone","record":{record}}}"#);
    only(&json, &mut |found| {
        let Content::RuntimeDone(end) = found.content else {
            panic!("{found:?}");
        };
        assert_eq!(end.request_id.as_deref(), Some("6d68ca91"));
        assert_eq!(end.status.as_deref(), Some("success"));
        assert_eq!(end.metrics.duration_ms, Some(1.056));
        assert_eq!(end.metrics.produced_bytes, Some(50.0));
        let spans = Spans {
            response_latency_ms: Some(0.677),
            response_duration_ms: Some(0.035),
            runtime_overhead_ms: Some(0.211),
            extension_overhead_ms: None,
        };
        assert_eq!(end.spans, spans);
        assert_eq!(end.tracing.value.as_deref(), Some(TRACE));
    });
}

#[test]
fn reports_have_all_their_members() {
    let metrics = Metrics {
        duration_ms: Some(693.92),
        billed_duration_ms: Some(1_092.0),
        memory_size_mb: Some(128.0),
        max_memory_used_mb: Some(84.0),
        init_duration_ms: Some(397.68),
        ..Metrics::default()
    };
    let spans = Spans {
        extension_overhead_ms: Some(12.4),
        ..Spans::default()
    };
    let report = Members {
        request_id: text("6d68ca91"),
        status: text("success"),
        metrics,
        spans,
        tenant_id: text("t"),
        ..Members::default()
    };
    check(
        "report",
        r#"{"requestId":"6d68ca91","status":"success","tenantId":"t",
            "metrics":{"durationMs":693.92,"billedDurationMs":1092,"memorySizeMB":128,
                       "maxMemoryUsedMB":84,"initDurationMs":397.68},
            "spans":[{"name":"extensionOverhead","durationMs":12.4}]}"#,
        &Content::Report(Box::new(report)),
    );
    let restored = Metrics {
        duration_ms: Some(147.156),
        billed_duration_ms: Some(201.0),
        memory_size_mb: Some(512.0),
        max_memory_used_mb: Some(91.0),
        restore_duration_ms: Some(500.795),
        billed_restore_duration_ms: Some(53.0),
        ..Metrics::default()
    };
    check(
        "report",
        r#"{"metrics":{"durationMs":147.156,"billedDurationMs":201,"memorySizeMB":512,
            "maxMemoryUsedMB":91,"restoreDurationMs":500.795,"billedRestoreDurationMs":53}}"#,
        &Content::Report(Box::new(Members {
            metrics: restored,
            ..Members::default()
        })),
    );
}

#[test]
fn other_types_are_known_or_unknown() {
    let dropped = r#"{"droppedBytes":12345,"droppedRecords":123,"reason":"too \"slow\""}"#;
    let json = format!(r#"{{"type":"platform.logsDropped","record":{dropped}}}"#);
    only(&json, &mut |found| {
        let Content::LogsDropped(dropped) = found.content else {
            panic!("{found:?}");
        };
        assert_eq!(dropped.dropped_bytes, Some(12_345.0));
        assert_eq!(dropped.dropped_records, Some(123.0));
    });
    let table = [
        ("platform.end", r#"{"requestId":"r"}"#, Content::Ignored),
        (
            "platform.extension",
            r#"{"name":"my-ext","state":"Ready","events":["INVOKE","SHUTDOWN"]}"#,
            Content::Ignored,
        ),
        (
            "platform.telemetrySubscription",
            r#"{"name":"my-ext","state":"Subscribed","types":["platform"]}"#,
            Content::Ignored,
        ),
        ("function", r#""[INFO] hello\n""#, Content::Ignored),
        (
            "extension",
            r#"{"level":"INFO","message":"]}"}"#,
            Content::Ignored,
        ),
        ("platform.new", r#"{"a":1}"#, Content::Unknown),
        ("", "1", Content::Unknown),
    ];
    for (name, record, expected) in table {
        let json = format!(r#"{{"type":"{name}","record":{record}}}"#);
        only(&json, &mut |found| assert_eq!(found.content, expected));
    }
}

#[test]
fn a_fault_names_the_request_whose_runtime_was_killed() {
    let table = [
        (
            r#""RequestId: 6d68 Error: Runtime exited with error: signal: killed\nRuntime.ExitError\n""#,
            Some("6d68"),
        ),
        (
            r#"{"fault":"RequestId: 6d68 Error: Runtime exited with error: signal: killed\nRuntime.ExitError\n"}"#,
            Some("6d68"),
        ),
        (
            r#""RequestId: 6d68\tStatus: error\tErrorType: Runtime.OutOfMemory\n""#,
            Some("6d68"),
        ),
        (
            r#""RequestId: 6d68 Error: Runtime exited with error: exit status 1\nRuntime.ExitError\n""#,
            None,
        ),
        (
            r#""RequestId: 6d68 Process exited before completing request""#,
            None,
        ),
        (r#""signal: killed""#, None),
        ("[7]", None),
        ("null", None),
    ];
    for (record, expected) in table {
        let json = format!(r#"{{"type":"platform.fault","record":{record}}}"#);
        only(&json, &mut |found| {
            let Content::Fault(fault) = found.content else {
                panic!("{found:?}");
            };
            assert_eq!(fault.killed_request_id(), expected, "{record}");
        });
    }
    only(r#"{"type":"platform.fault"}"#, &mut |found| {
        assert!(
            matches!(found.content, Content::Fault(fault) if fault.killed_request_id().is_none())
        );
    });
}

#[test]
fn a_member_of_another_type_costs_itself() {
    let nested = "[".repeat(100) + &"]".repeat(100);
    let escaped = format!("\"{}\"", "\\u0061".repeat(1_000));
    let odd = [
        "[]",
        "[[[]]]",
        r#"[{"durationMs":1}]"#,
        "[5]",
        r#"{"x":[1]}"#,
        "7",
        "-1",
        "1.5",
        "true",
        "null",
        &nested,
        &escaped,
    ];
    for odd in odd {
        let record = format!(
            r#"{{"requestId":"r","errorType":{},"metrics":{odd},"spans":{odd},"tracing":{odd}}}"#,
            if odd.starts_with("\"") { "7" } else { odd },
        );
        let expected = Members {
            request_id: text("r"),
            ..Members::default()
        };
        check("report", &record, &Content::Report(Box::new(expected)));
    }
    check(
        "initStart",
        r#"{"new":{"deep":[1],"phase":"x"},"phase":"snap-start"}"#,
        &Content::InitStart(Box::new(Members {
            phase: text("snap-start"),
            ..Members::default()
        })),
    );
    check(
        "report",
        r#"{"spans":[{"start":"never","name":"responseLatency"},4,{"durationMs":2},{},[],
            {"durationMs":3,"name":"runtimeOverhead"}]}"#,
        &Content::Report(Box::new(Members {
            spans: Spans {
                runtime_overhead_ms: Some(3.0),
                ..Spans::default()
            },
            ..Members::default()
        })),
    );
}

#[test]
fn texts_are_read_without_their_escapes() {
    let without_escapes = "x".repeat(10_000);
    let quoted = format!("\"{without_escapes}\"");
    let table = [
        (r#""in\u0069t""#, Some("init")),
        (r#""too \"slow\"\n""#, Some("too \"slow\"\n")),
        (r#""é""#, Some("é")),
        (r#""""#, Some("")),
        (&quoted, Some(&without_escapes)),
        ("7", None),
        ("null", None),
        (r#"["a"]"#, None),
        (r#"{"a":"b"}"#, None),
        ("1.5", None),
    ];
    for (json, expected) in table {
        let record = format!(r#"{{"requestId":{json}}}"#);
        let expected = Members {
            request_id: expected.map(Cow::Borrowed),
            ..Members::default()
        };
        check("start", &record, &Content::Start(Box::new(expected)));
    }
}

#[test]
fn numbers_are_those_that_can_be_counted_with() {
    // The value in JSON, and what it is as milliseconds, as megabytes and as bytes.
    let large = 9_007_199_254_740_992.0;
    let table = [
        ("694.5", [Some(694.5); 3]),
        (r#""12.345""#, [Some(12.345); 3]),
        ("1e2", [Some(100.0); 3]),
        ("0", [Some(0.0); 3]),
        ("16777217", [Some(16_777_217.0), None, Some(16_777_217.0)]),
        ("10000000001", [None, None, Some(10_000_000_001.0)]),
        ("9007199254740992", [None, None, Some(large)]),
        ("9007199254740994", [None; 3]),
        ("-1", [None; 3]),
        ("null", [None; 3]),
        ("1e999", [None; 3]),
        (r#""""#, [None; 3]),
        (r#""NaN""#, [None; 3]),
        (r#"" 1""#, [Some(1.0); 3]),
        ("true", [None; 3]),
    ];
    for (json, [duration_ms, memory_size_mb, produced_bytes]) in table {
        let record = format!(
            r#"{{"metrics":{{"durationMs":{json},"memorySizeMB":{json},"producedBytes":{json}}}}}"#
        );
        let metrics = Metrics {
            duration_ms,
            memory_size_mb,
            produced_bytes,
            ..Metrics::default()
        };
        let expected = Members {
            metrics,
            ..Members::default()
        };
        check("report", &record, &Content::Report(Box::new(expected)));
    }
    assert!(large <= COUNT_MAX);
}

#[test]
fn memory_is_in_megabytes_or_in_bytes() {
    let table = [
        (r#""256""#, Some(256)),
        ("256", Some(256)),
        ("1048575", Some(1_048_575)),
        ("1048576", Some(1)),
        ("4294967296.0", Some(4_096)),
        (r#""much""#, None),
    ];
    for (json, expected) in table {
        let json =
            format!(r#"{{"type":"platform.initStart","record":{{"instanceMaxMemory":{json}}}}}"#);
        only(&json, &mut |found| {
            let Content::InitStart(start) = &found.content else {
                panic!("{found:?}");
            };
            assert_eq!(start.memory_mb(), expected, "{json}");
        });
    }
}

#[test]
fn a_time_is_the_one_of_the_record() {
    let table = [
        (r#""2026-08-20T10:00:00.064Z""#, Some(1_787_220_000_064)),
        (r#""soon""#, None),
        ("1787220000064", None),
    ];
    for (json, expected) in table {
        let json = format!(r#"{{"time":{json},"type":"function","record":""}}"#);
        only(&json, &mut |found| {
            assert_eq!(found.time, expected.map(EpochMs), "{json}");
        });
    }
}

const GOOD: &str = r#"{"type":"platform.start","record":{"requestId":"a"}}"#;

#[test]
fn one_bad_record_costs_only_itself() {
    let bad = [
        "{}",
        "7",
        "null",
        r#""text, with ]""#,
        r#"["platform.start"]"#,
        r#"{"type":7,"record":{}}"#,
        r#"{"type":"platform.start" "record":{}}"#,
        r#"{"type":"platform.start","record":{"requestId":}}"#,
        r#"{"type":"platform.start","record":{1:2}}"#,
        r#"{"type":"platform.start","record":{"requestId":"a","requestId":"b"}}"#,
        r#"{"type":"platform.start","record":1e999}"#,
        r#"{"type":"platform.start","record":[{}]}"#,
        r#"{"type":"platform.start","record":"text"}"#,
        r#"{"type":"platform.start","record":{"requestId":"\ud800"}}"#,
        r#"{"type":"platform.start","record":{"requestId":"\x"}}"#,
        r#"{"type":"function","record":"text"} x"#,
        "{\"type\":\"function\",\"record\":\"\x01\"}",
        r#"{"type":"function"}{"type":"function"}"#,
    ];
    for bad in bad {
        let batch = [" \n[ ", GOOD, " ,", bad, ", ", GOOD, "]\n"].concat();
        let found = all(&batch).unwrap();
        let found: Vec<bool> = found.iter().map(Option::is_some).collect();
        assert_eq!(found, [true, false, true], "{bad}");
    }
}

#[test]
fn any_text_is_read_to_its_end() {
    let good = GOOD;
    let table: [(&str, Option<&[bool]>); 14] = [
        ("[]", Some(&[])),
        ("[,]", Some(&[])),
        ("[", Some(&[])),
        ("[[", Some(&[false])),
        ("[}}}]", Some(&[false])),
        ("[\"", Some(&[false])),
        ("[\"\\", Some(&[false])),
        (&format!(r#"["\\",{good}]"#), Some(&[false, true])),
        (&format!(r#"[{good},{{"type":"func"#), Some(&[true, false])),
        (&format!("[{good}] and more"), Some(&[true])),
        (&format!("[{good},]"), Some(&[true])),
        ("", None),
        (" ", None),
        (good, None),
    ];
    for (batch, expected) in table {
        let found = all(batch);
        let found = found.map(|all| all.iter().map(Option::is_some).collect::<Vec<_>>());
        assert_eq!(found, expected.map(<[bool]>::to_vec), "{batch}");
    }
    // Deep nesting is skipped without recursion.
    let nested = "[".repeat(200_000) + &"]".repeat(200_000);
    let inside = format!(r#"{{"type":"platform.start","record":{{"x":{nested}}}}}"#);
    let deep = format!("[{nested},{inside},{good}]");
    let found = all(&deep).unwrap();
    let found: Vec<bool> = found.iter().map(Option::is_some).collect();
    assert_eq!(found, [false, true, true]);
}

/// A batch that is cut anywhere gives the records that are whole.
#[test]
fn a_batch_may_end_anywhere() {
    let batch = format!("[{GOOD},{GOOD}]");
    for length in 1..batch.len() {
        let found = all(batch.split_at(length).0).unwrap();
        let whole = usize::from(GOOD.len() < length) + usize::from(2 * GOOD.len() + 1 < length);
        let records = found.iter().filter(|record| record.is_some()).count();
        assert_eq!(records, whole, "{length}");
        assert!(found.len() <= 2 && records + 1 >= found.len(), "{length}");
    }
}

/// The members of generated records equal those that a tree of `serde_json` has.
#[test]
fn records_equal_a_reference() {
    let seed = 8;
    let mut random = Random(seed);
    for round in 0..3_000 {
        let json = generated(&mut random);
        let tree: Json = serde_json::from_str(&json).unwrap();
        only(&json, &mut |found| {
            assert!(equals(&found, &tree), "seed {seed}, round {round}: {json}");
        });
    }
}

/// Values of members, in and out of their usual form.
const VALUES: &str = r#"null true -1 0 7.25 1e3 4294967296 "" "success" "12.5" "a\u00e9\n"
"\ud83d\ude00" [] [1,{}] {} {"x":"y"}"#;

const NAMES: &str = "initializationType phase status errorType requestId functionArn instanceId
instanceMaxMemory runtimeVersion droppedRecords droppedBytes metrics spans tracing new";

const TYPES: &str = "initStart initRuntimeDone initReport restoreStart restoreRuntimeDone
restoreReport start runtimeDone report logsDropped extension new";

fn any<'a>(random: &mut Random, of: &'a str) -> &'a str {
    let count = of.split_whitespace().count();
    of.split_whitespace().nth(random.below(count)).unwrap()
}

/// A record with members of any type, some in their usual form, in any order.
fn generated(random: &mut Random) -> String {
    let mut members = Vec::new();
    for name in NAMES.split_whitespace() {
        let [a, b, c, d] = [(); 4].map(|()| any(random, VALUES));
        let value = match (name, random.below(3)) {
            (_, 0) => continue,
            ("metrics", 1) => {
                format!(r#"{{"durationMs":{a},"memorySizeMB":{b},"producedBytes":{c},"new":{d}}}"#)
            }
            ("spans", 1) => format!(r#"[{a},{{"name":"responseLatency","durationMs":{b}}}]"#),
            ("tracing", 1) => format!(r#"{{"value":{a}}}"#),
            (_, _) => a.to_owned(),
        };
        let at = random.below(members.len() + 1);
        members.insert(at, format!("\"{name}\":{value}"));
    }
    let kind = format!(r#""type":"platform.{}""#, any(random, TYPES));
    let record = format!(r#""record":{{{}}}"#, members.join(" , "));
    match random.below(4) {
        0 => format!("{{{record},{kind}}}"),
        1 => format!(r#"{{"new":{},{kind},{record}}}"#, any(random, VALUES)),
        _ => format!("{{{kind},{record}}}"),
    }
}

fn number(value: &Json) -> Option<f64> {
    let number = match value.as_str() {
        Some(text) => text.parse().ok(),
        None => value.as_f64(),
    };
    number.filter(|number| 0.0 <= *number)
}

fn metric(record: &Json, name: &str) -> Option<f64> {
    let metrics = record["metrics"].as_object();
    metrics.and_then(|metrics| number(metrics.get(name)?))
}

/// Whether the members of these names are those texts.
fn texts(record: &Json, expected: &[(&str, &Option<Cow<'_, str>>)]) -> bool {
    let mut expected = expected.iter();
    expected.all(|(name, text)| record[name].as_str() == text.as_deref())
}

/// Whether a record is what a tree of its JSON says.
fn equals(found: &Record<'_>, tree: &Json) -> bool {
    let record = &tree["record"];
    let kind = tree["type"].as_str().unwrap();
    match &found.content {
        Content::InitStart(start) | Content::RestoreStart(start) => {
            let memory = number(&record["instanceMaxMemory"]);
            ["platform.initStart", "platform.restoreStart"].contains(&kind)
                && start.memory_mb().is_some() == memory.is_some()
                && texts(
                    record,
                    &[
                        ("initializationType", &start.initialization_type),
                        ("phase", &start.phase),
                        ("functionArn", &start.function_arn),
                        ("instanceId", &start.instance_id),
                        ("runtimeVersion", &start.runtime_version),
                    ],
                )
        }
        Content::InitRuntimeDone(end)
        | Content::InitReport(end)
        | Content::RestoreRuntimeDone(end)
        | Content::RestoreReport(end) => {
            (kind.contains("init") || kind.contains("restore"))
                && end.metrics.duration_ms == metric(record, "durationMs")
                && texts(
                    record,
                    &[
                        ("initializationType", &end.initialization_type),
                        ("phase", &end.phase),
                        ("status", &end.status),
                        ("errorType", &end.error_type),
                    ],
                )
        }
        Content::Start(start) => {
            kind == "platform.start"
                && texts(record, &[("requestId", &start.request_id)])
                && texts(record, &[("functionArn", &start.function_arn)])
                && texts(&record["tracing"], &[("value", &start.tracing.value)])
        }
        Content::RuntimeDone(end) => kind == "platform.runtimeDone" && end_equals(end, record),
        Content::Report(end) => kind == "platform.report" && end_equals(end, record),
        Content::LogsDropped(dropped) => {
            kind == "platform.logsDropped"
                && dropped.dropped_records == number(&record["droppedRecords"])
                && dropped.dropped_bytes == number(&record["droppedBytes"])
        }
        Content::Fault(_) => kind == "platform.fault",
        Content::Ignored => kind == "platform.extension",
        Content::Unknown => kind == "platform.new",
    }
}

fn end_equals(end: &Members<'_>, record: &Json) -> bool {
    let mut latency_ms = None;
    for span in record["spans"].as_array().into_iter().flatten() {
        if span["name"] == "responseLatency" {
            latency_ms = number(&span["durationMs"]);
        }
    }
    let memory_mb = metric(record, "memorySizeMB").filter(|mb| *mb <= 16_777_216.0);
    end.metrics.duration_ms == metric(record, "durationMs")
        && end.metrics.memory_size_mb == memory_mb
        && end.metrics.produced_bytes == metric(record, "producedBytes")
        && end.spans.response_latency_ms == latency_ms
        && texts(&record["tracing"], &[("value", &end.tracing.value)])
        && texts(record, &[("requestId", &end.request_id)])
        && texts(record, &[("status", &end.status)])
        && texts(record, &[("errorType", &end.error_type)])
}

use super::walk::FIELDS;
use super::*;

const TRACE: &str =
    r#""Root=1-62e900b2-710d76f009d6e7785905449a;Parent=0efbd19962d95b05;Sampled=1""#;

/// What the one record of a batch that holds only `json` is told as: as an array, and as a line.
#[track_caller]
fn only(json: &str, each: &mut dyn FnMut(&Record<'_>)) {
    let array = format!("[{json}]");
    let mut count = 0;
    let mut counted = |record: &Record<'_>| {
        count += 1;
        each(record);
    };
    records(array.as_bytes(), &mut counted).unwrap();
    // The samples are written over several lines.
    records_ndjson(json.replace('\n', " ").as_bytes(), &mut counted);
    assert_eq!(count, 2, "{json}");
}

/// A record of this kind that has these fields, as they stand in JSON, and no other.
#[track_caller]
fn check(json: &str, kind: Kind, fields: &[(Field, &str)]) {
    let mut expected = [""; FIELDS];
    for (field, text) in fields {
        expected[*field as usize] = text;
    }
    only(json, &mut |record| {
        let mut found = record.fields;
        // Every record of the samples has them.
        found[Field::Type as usize] = "";
        found[Field::Time as usize] = "";
        assert_eq!(record.kind, kind, "{json}");
        assert_eq!(found, expected, "{json}");
    });
}

/// A record of `platform.<name>`.
fn of(name: &str, record: &str) -> String {
    format!(r#"{{"type":"platform.{name}","record":{record}}}"#)
}

/// The kinds of all records of a batch.
fn kinds(batch: &[u8]) -> Result<Vec<Kind>, NotABatch> {
    let mut kinds = Vec::new();
    records(batch, &mut |record| kinds.push(record.kind)).map(|()| kinds)
}

#[test]
fn init_records_have_all_their_fields() {
    check(
        r#"{"time":"2026-08-20T10:00:00.064Z","type":"platform.initStart","record":{
 "initializationType":"on-demand","phase":"init",
 "runtimeVersion":"nodejs:22.v45","runtimeVersionArn":"arn:aws:lambda:us-east-1::runtime:da57c20c4b965d5b",
 "functionName":"f","functionVersion":"$LATEST","functionArn":"arn:aws:lambda:us-east-1:123456789012:function:f",
 "instanceId":"2026/08/20/[$LATEST]82561ce053dd47d190e0c8f5e063e62e","instanceMaxMemory":268435456,
 "tracing":{"spanId":"54565fb41ac79632","type":"X-Amzn-Trace-Id","value":"Root=1-62e900b2-710d76f009d6e7785905449a;Parent=0efbd19962d95b05;Sampled=1"}}}"#,
        Kind::InitStart,
        &[
            (Field::InitializationType, r#""on-demand""#),
            (Field::Phase, r#""init""#),
            (
                Field::FunctionArn,
                r#""arn:aws:lambda:us-east-1:123456789012:function:f""#,
            ),
            (
                Field::InstanceId,
                r#""2026/08/20/[$LATEST]82561ce053dd47d190e0c8f5e063e62e""#,
            ),
            (Field::InstanceMaxMemory, "268435456"),
            (Field::RuntimeVersion, r#""nodejs:22.v45""#),
            (Field::TraceId, TRACE),
        ],
    );
    check(
        r#"{"time":"2026-08-20T10:00:00.401Z","type":"platform.initRuntimeDone","record":{
 "initializationType":"on-demand","phase":"init","status":"success",
 "spans":[{"name":"someTimeSpan","start":"2026-08-20T10:00:00.331Z","durationMs":70.5}]}}"#,
        Kind::InitRuntimeDone,
        &[
            (Field::InitializationType, r#""on-demand""#),
            (Field::Phase, r#""init""#),
            (Field::Status, r#""success""#),
        ],
    );
    check(
        r#"{"time":"2026-08-20T10:00:00.401Z","type":"platform.initRuntimeDone","record":{
 "initializationType":"on-demand","phase":"init","status":"error","errorType":"Runtime.ExitError"}}"#,
        Kind::InitRuntimeDone,
        &[
            (Field::InitializationType, r#""on-demand""#),
            (Field::Phase, r#""init""#),
            (Field::Status, r#""error""#),
            (Field::ErrorType, r#""Runtime.ExitError""#),
        ],
    );
    check(
        r#"{"time":"2026-08-20T10:00:00.462Z","type":"platform.initReport","record":{
 "initializationType":"on-demand","phase":"init","status":"success","metrics":{"durationMs":397.68},
 "spans":[{"name":"someTimeSpan","start":"2026-08-20T10:00:00.331Z","durationMs":90.1}]}}"#,
        Kind::InitReport,
        &[
            (Field::InitializationType, r#""on-demand""#),
            (Field::Phase, r#""init""#),
            (Field::Status, r#""success""#),
            (Field::DurationMs, "397.68"),
        ],
    );
}

#[test]
fn restore_records_have_all_their_fields() {
    check(
        r#"{"time":"2026-08-20T10:00:00.064Z","type":"platform.restoreStart","record":{
 "functionName":"f","functionVersion":"7","runtimeVersion":"java:21.v40","runtimeVersionArn":"arn:aws:lambda:us-east-1::runtime:1",
 "instanceId":"82561ce0-53dd-47d1-90e0-c8f5e063e62e","instanceMaxMemory":256}}"#,
        Kind::RestoreStart,
        &[
            (
                Field::InstanceId,
                r#""82561ce0-53dd-47d1-90e0-c8f5e063e62e""#,
            ),
            (Field::InstanceMaxMemory, "256"),
            (Field::RuntimeVersion, r#""java:21.v40""#),
        ],
    );
    check(
        r#"{"time":"2026-08-20T10:00:00.480Z","type":"platform.restoreRuntimeDone","record":{"status":"success",
 "spans":[{"name":"someTimeSpan","start":"2026-08-20T10:00:00.400Z","durationMs":80.0}]}}"#,
        Kind::RestoreRuntimeDone,
        &[(Field::Status, r#""success""#)],
    );
    check(
        r#"{"time":"2026-08-20T10:00:00.501Z","type":"platform.restoreReport","record":{"status":"success","metrics":{"durationMs":437.19},
 "spans":[{"name":"someTimeSpan","start":"2026-08-20T10:00:00.400Z","durationMs":30.0}]}}"#,
        Kind::RestoreReport,
        &[
            (Field::Status, r#""success""#),
            (Field::DurationMs, "437.19"),
        ],
    );
}

#[test]
fn invocation_records_have_all_their_fields() {
    check(
        r#"{"time":"2026-08-20T10:00:00.470Z","type":"platform.start","record":{
 "requestId":"6d68ca91","version":"$LATEST","functionArn":"arn:f","tenantId":"t",
 "tracing":{"spanId":"54565fb41ac79632","type":"X-Amzn-Trace-Id","value":"Root=1-62e900b2-710d76f009d6e7785905449a;Parent=0efbd19962d95b05;Sampled=1"}}}"#,
        Kind::Start,
        &[
            (Field::RequestId, r#""6d68ca91""#),
            (Field::FunctionArn, r#""arn:f""#),
            (Field::TraceId, TRACE),
        ],
    );
    check(
        r#"{"time":"2026-08-20T10:00:01.163Z","type":"platform.runtimeDone","record":{
 "requestId":"6d68ca91","status":"success",
 "metrics":{"durationMs":1.056,"producedBytes":50},
 "spans":[{"name":"responseLatency","start":"2026-08-20T10:00:01.162Z","durationMs":0.677},
          {"name":"responseDuration","start":"2026-08-20T10:00:01.162Z","durationMs":0.035},
          {"name":"runtimeOverhead","start":"2026-08-20T10:00:01.163Z","durationMs":0.211}],
 "tracing":{"spanId":"54565fb41ac79632","type":"X-Amzn-Trace-Id","value":"Root=1-62e900b2-710d76f009d6e7785905449a;Parent=0efbd19962d95b05;Sampled=1"}}}"#,
        Kind::RuntimeDone,
        &[
            (Field::RequestId, r#""6d68ca91""#),
            (Field::Status, r#""success""#),
            (Field::DurationMs, "1.056"),
            (Field::ProducedBytes, "50"),
            (Field::ResponseLatency, "0.677"),
            (Field::ResponseDuration, "0.035"),
            (Field::RuntimeOverhead, "0.211"),
            (Field::TraceId, TRACE),
        ],
    );
}

#[test]
fn reports_have_all_their_fields() {
    check(
        r#"{"time":"2026-08-20T10:00:01.180Z","type":"platform.report","record":{
 "requestId":"6d68ca91","status":"success","tenantId":"t",
 "metrics":{"durationMs":693.92,"billedDurationMs":1092,"memorySizeMB":128,"maxMemoryUsedMB":84,"initDurationMs":397.68},
 "spans":[{"name":"extensionOverhead","start":"2026-08-20T10:00:01.164Z","durationMs":12.4}],
 "tracing":{"type":"X-Amzn-Trace-Id","value":"Root=1-62e900b2-710d76f009d6e7785905449a;Parent=0efbd19962d95b05;Sampled=1"}}}"#,
        Kind::Report,
        &[
            (Field::RequestId, r#""6d68ca91""#),
            (Field::Status, r#""success""#),
            (Field::DurationMs, "693.92"),
            (Field::BilledDurationMs, "1092"),
            (Field::MemorySizeMb, "128"),
            (Field::MaxMemoryUsedMb, "84"),
            (Field::InitDurationMs, "397.68"),
            (Field::ExtensionOverhead, "12.4"),
            (Field::TraceId, TRACE),
        ],
    );
    check(
        r#"{"type":"platform.report","record":{"requestId":"r","metrics":{"durationMs":147.156,"billedDurationMs":201,
 "memorySizeMB":512,"maxMemoryUsedMB":91,"restoreDurationMs":500.795,"billedRestoreDurationMs":53}}}"#,
        Kind::Report,
        &[
            (Field::RequestId, r#""r""#),
            (Field::DurationMs, "147.156"),
            (Field::BilledDurationMs, "201"),
            (Field::MemorySizeMb, "512"),
            (Field::MaxMemoryUsedMb, "91"),
            (Field::RestoreDurationMs, "500.795"),
            (Field::BilledRestoreDurationMs, "53"),
        ],
    );
}

#[test]
fn other_records_are_known() {
    check(
        r#"{"time":"2026-08-20T10:00:02.000Z","type":"platform.logsDropped","record":{"droppedBytes":12345,"droppedRecords":123,"reason":"too \"slow\""}}"#,
        Kind::LogsDropped,
        &[
            (Field::DroppedBytes, "12345"),
            (Field::DroppedRecords, "123"),
        ],
    );
    let table = [
        ("platform.end", r#"{"requestId":"r"}"#, Kind::Other),
        (
            "platform.extension",
            r#"{"name":"my-ext","state":"Ready","events":["INVOKE","SHUTDOWN"],"errorType":"Extension.Crash"}"#,
            Kind::Other,
        ),
        (
            "platform.telemetrySubscription",
            r#"{"name":"my-ext","state":"Subscribed","types":["platform"]}"#,
            Kind::Other,
        ),
        (
            "platform.fault",
            r#""RequestId: r Error: exit""#,
            Kind::Other,
        ),
        ("platform.fault", "{}", Kind::Other),
        ("function", r#""[INFO] hello\n""#, Kind::Function),
        (
            "function",
            r#"{"level":"INFO","message":"]}"}"#,
            Kind::Function,
        ),
        ("extension", r#""[INFO] extension line""#, Kind::Extension),
        ("platform.new", r#"{"a":1}"#, Kind::Unknown),
        ("", "1", Kind::Unknown),
    ];
    for (name, record, kind) in table {
        let json =
            format!(r#"{{"time":"2026-08-20T10:00:00.700Z","type":"{name}","record":{record}}}"#);
        check(&json, kind, &[(Field::Record, record)]);
        only(&json, &mut |found| assert_eq!(found.bytes(), record.len()));
    }
    check(r#"{"type":"function"}"#, Kind::Function, &[]);
}

#[test]
fn a_record_keeps_what_fits() {
    let table: [(&str, &[(Field, &str)]); 11] = [
        ("null", &[]),
        (r#"["a"]"#, &[]),
        (r#"[{"phase":"init"}]"#, &[]),
        (r#""text""#, &[]),
        ("{}", &[]),
        (
            r#"{"new":{"deep":[1],"phase":"x"},"phase":"snap-start"}"#,
            &[(Field::Phase, r#""snap-start""#)],
        ),
        (
            r#"{"tracing":"none","spans":{"name":"x"},"metrics":[{"durationMs":1}],"status":true}"#,
            &[(Field::Status, "true")],
        ),
        (r#"{"metrics":3,"spans":false,"tracing":-1}"#, &[]),
        (r#"{"metrics":1.5,"spans":null,"tracing":[[1]]}"#, &[]),
        (
            r#"{"spans":[{"start":"never","name":"responseLatency"},4,{"durationMs":2},{},{"durationMs":3,"name":"runtimeOverhead"}]}"#,
            &[(Field::RuntimeOverhead, "3")],
        ),
        // An escaped name is still that name, and the last of two counts.
        (
            r#"{"ph\u0061se":"x","phase":"in\u0069t"}"#,
            &[(Field::Phase, r#""in\u0069t""#)],
        ),
    ];
    for (record, fields) in table {
        check(&of("initStart", record), Kind::InitStart, fields);
        // The members of a record may stand in any order.
        let json = format!(r#"{{"record":{record},"\u0074ype":"platform.report"}}"#);
        only(&json, &mut |found| {
            let skipped = [(Field::Record, record)];
            for (field, text) in fields.iter().chain(&skipped) {
                assert_eq!(found.fields[*field as usize], *text, "{json}");
            }
        });
    }
    check(r#"{"type":"platform.initStart"}"#, Kind::InitStart, &[]);
}

#[test]
fn texts_are_read_without_their_escapes() {
    let table = [
        (r#""in\u0069t""#, Some("init")),
        (r#""too \"slow\"\n""#, Some("too \"slow\"\n")),
        (r#""é""#, Some("é")),
        (r#""""#, Some("")),
        ("7", None),
        ("null", None),
        (r#"["a"]"#, None),
        (r#""\ud800""#, None),
    ];
    for (text, expected) in table {
        let json = of("start", &format!(r#"{{"requestId":{text}}}"#));
        only(&json, &mut |record| {
            assert_eq!(record.text(Field::RequestId).as_deref(), expected, "{text}");
        });
    }
}

#[test]
fn numbers_are_what_can_be_counted_with() {
    let table = [
        ("694.5", Some(694.5)),
        (r#""12.345""#, Some(12.345)),
        ("1e2", Some(100.0)),
        ("0", Some(0.0)),
        ("-1", None),
        ("null", None),
        ("1e999", None),
        ("9007199254740994", None),
        (r#""""#, None),
        ("true", None),
    ];
    for (text, expected) in table {
        let json = of(
            "report",
            &format!(r#"{{"metrics":{{"durationMs":{text}}}}}"#),
        );
        only(&json, &mut |record| {
            assert_eq!(record.kind, Kind::Report, "{text}");
            assert_eq!(record.number(Field::DurationMs), expected, "{text}");
        });
    }
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
    for (text, expected) in table {
        let json = of("initStart", &format!(r#"{{"instanceMaxMemory":{text}}}"#));
        only(&json, &mut |record| {
            assert_eq!(record.memory_mb(), expected, "{text}");
        });
    }
}

#[test]
fn a_time_is_that_of_the_record() {
    let table = [
        (r#""2026-08-20T10:00:00.064Z""#, Some(1_787_220_000_064)),
        (r#""soon""#, None),
        ("1787220000064", None),
    ];
    for (text, expected) in table {
        let json = format!(r#"{{"time":{text},"type":"function","record":""}}"#);
        only(&json, &mut |record| {
            assert_eq!(record.time(), expected.map(EpochMs), "{text}");
        });
    }
}

#[test]
fn one_bad_record_costs_nothing_but_itself() {
    let good = r#"{"type":"function","record":"a"}"#;
    let bad: [&[u8]; 12] = [
        b"{}",
        b"7",
        b"null",
        br#""text, with ]""#,
        br#"["platform.start"]"#,
        br#"{"type":7,"record":{}}"#,
        br#"{"type":"platform.start" "record":{}}"#,
        br#"{"type":"platform.start","record":{"requestId":}}"#,
        br#"{"type":"platform.start","record":{1:2}}"#,
        b"{\"type\":\"function\",\"record\":\"\xFF\"}",
        b"{\"type\":\"function\",\"record\":\"\x01\"} x",
        br#"{"type":"function"}{"type":"function"}"#,
    ];
    let expected = [Kind::Function, Kind::Malformed, Kind::Function];
    for bad in bad {
        let shown = String::from_utf8_lossy(bad);
        let good = good.as_bytes();
        let batch = [b" \n[ ", good, b" ,", bad, b", ", good, b"]\n"].concat();
        assert_eq!(kinds(&batch).unwrap(), expected, "{shown}");
        let mut found = Vec::new();
        let lines = [good, bad, good].join(&b'\n');
        records_ndjson(&lines, &mut |record| found.push(record.kind));
        assert_eq!(found, expected, "{shown}");
    }
}

#[test]
fn any_text_is_walked_to_its_end() {
    use Kind::{Function, Malformed};

    let table: [(&str, Result<&[Kind], NotABatch>); 14] = [
        ("[]", Ok(&[])),
        ("[,]", Ok(&[])),
        ("[", Ok(&[])),
        ("[[", Ok(&[Malformed])),
        ("[}}}]", Ok(&[Malformed])),
        ("[\"", Ok(&[Malformed])),
        ("[\"\\", Ok(&[Malformed])),
        (r#"["\\",{"type":"function"}]"#, Ok(&[Malformed, Function])),
        (
            r#"[{"type":"function"},{"type":"func"#,
            Ok(&[Function, Malformed]),
        ),
        (r#"[{"type":"function"}] and more"#, Ok(&[Function])),
        (r#"[{"type":"function"},]"#, Ok(&[Function])),
        ("", Err(NotABatch)),
        (" ", Err(NotABatch)),
        (r#"{"type":"function"}"#, Err(NotABatch)),
    ];
    for (batch, expected) in table {
        let expected = expected.map(<[Kind]>::to_vec);
        assert_eq!(kinds(batch.as_bytes()), expected, "{batch}");
    }
    // Deep nesting is walked, not descended into.
    let nested = "[".repeat(200_000) + &"]".repeat(200_000);
    let deep = format!(r#"[{nested},{{"type":"function"}}]"#);
    assert_eq!(kinds(deep.as_bytes()), Ok(vec![Malformed, Function]));
}

#[test]
fn a_member_of_another_type_costs_itself() {
    let nested = "[".repeat(1_000) + &"]".repeat(1_000);
    let escaped = format!("\"{}\"", "\\u0061".repeat(1_000));
    for odd in [
        "[]",
        "[[[]]]",
        "{\"x\":[1]}",
        "7",
        "null",
        &nested,
        &escaped,
    ] {
        let batch = format!(
            r#"[{{"type":"platform.report","record":{{"requestId":"r","status":{odd},"metrics":{odd},
            "spans":{odd},"tracing":{odd},"errorType":{odd}}}}}]"#
        );
        let mut found = Vec::new();
        let read = records(batch.as_bytes(), &mut |record| {
            let text = |field| record.text(field).map(|text| text.len());
            let texts = [Field::RequestId, Field::ErrorType].map(text);
            found.push((record.kind, texts, record.number(Field::DurationMs)));
        });
        assert_eq!(read, Ok(()), "{odd}");
        // A text with escapes that is too long to be copied is none.
        assert_eq!(found, [(Kind::Report, [Some(1), None], None)], "{odd}");
    }
}

#[test]
fn lines_are_records_and_blank_ones_are_none() {
    let lines = "{\"type\":\"function\",\"record\":\"\"}\r\n\n{\"type\":\"new\"}\nnot json\n{\"type\":\"extension\"}";
    let mut found = Vec::new();
    records_ndjson(lines.as_bytes(), &mut |record| {
        found.push((record.kind, record.bytes()));
    });
    let expected = [
        (Kind::Function, 2),
        (Kind::Unknown, 0),
        (Kind::Malformed, 0),
        (Kind::Extension, 0),
    ];
    assert_eq!(found, expected);
}

use super::*;

const TRACE: &str = "Root=1-62e900b2-710d76f009d6e7785905449a;Parent=0efbd19962d95b05;Sampled=1";

/// 2026-08-20T10:00:00.000Z
const TEN: u64 = 1_787_220_000_000;

fn at(ms: u64) -> Option<EpochMs> {
    Some(EpochMs(TEN + ms))
}

fn text(text: &str) -> Option<Text<'_>> {
    Some(Cow::Borrowed(text))
}

fn traced(span_id: Option<&'static str>) -> Tracing<'static> {
    Tracing {
        span_id: span_id.and_then(text),
        kind: text("X-Amzn-Trace-Id"),
        value: text(TRACE),
    }
}

fn span(name: &'static str, start_ms: u64, duration_ms: f64) -> Span<'static> {
    Span {
        name: text(name),
        start: at(start_ms),
        duration_ms: Some(duration_ms),
    }
}

/// The one record of a batch that holds only `json`.
fn only(json: &str) -> Result<Record<'_>, Malformed> {
    let mut found = Vec::new();
    let counts = records_ndjson(json.as_bytes(), &mut |record| found.push(record));
    assert_eq!((counts.records, found.len()), (1, 1), "{json}");
    found.remove(0)
}

fn content_of(json: &str) -> Content<'_> {
    only(json).unwrap().content
}

#[track_caller]
fn check(json: &str, time: Option<EpochMs>, content: Content<'_>) {
    // The samples are written over several lines.
    let array = format!("[{json}]");
    let mut found = Vec::new();
    let counts = records(array.as_bytes(), &mut |record| found.push(record.unwrap())).unwrap();
    assert_eq!(counts.records, 1);
    assert_eq!(found, [Record { time, content }]);
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
        at(64),
        Content::InitStart(PhaseStart {
            initialization_type: text("on-demand"),
            phase: text("init"),
            function_name: text("f"),
            function_version: text("$LATEST"),
            function_arn: text("arn:aws:lambda:us-east-1:123456789012:function:f"),
            instance_id: text("2026/08/20/[$LATEST]82561ce053dd47d190e0c8f5e063e62e"),
            instance_max_memory_bytes: Some(268_435_456),
            runtime_version: text("nodejs:22.v45"),
            runtime_version_arn: text("arn:aws:lambda:us-east-1::runtime:da57c20c4b965d5b"),
            tracing: traced(Some("54565fb41ac79632")),
        }),
    );
    check(
        r#"{"time":"2026-08-20T10:00:00.401Z","type":"platform.initRuntimeDone","record":{
 "initializationType":"on-demand","phase":"init","status":"success",
 "spans":[{"name":"someTimeSpan","start":"2026-08-20T10:00:00.331Z","durationMs":70.5}]}}"#,
        at(401),
        Content::InitRuntimeDone(PhaseEnd {
            initialization_type: text("on-demand"),
            phase: text("init"),
            status: Some(Status::Success),
            spans: vec![span("someTimeSpan", 331, 70.5)],
            ..PhaseEnd::default()
        }),
    );
    check(
        r#"{"time":"2026-08-20T10:00:00.401Z","type":"platform.initRuntimeDone","record":{
 "initializationType":"on-demand","phase":"init","status":"error","errorType":"Runtime.ExitError"}}"#,
        at(401),
        Content::InitRuntimeDone(PhaseEnd {
            initialization_type: text("on-demand"),
            phase: text("init"),
            status: Some(Status::Error),
            error_type: text("Runtime.ExitError"),
            ..PhaseEnd::default()
        }),
    );
    check(
        r#"{"time":"2026-08-20T10:00:00.462Z","type":"platform.initReport","record":{
 "initializationType":"on-demand","phase":"init","status":"success","metrics":{"durationMs":397.68},
 "spans":[{"name":"someTimeSpan","start":"2026-08-20T10:00:00.331Z","durationMs":90.1}]}}"#,
        at(462),
        Content::InitReport(PhaseEnd {
            initialization_type: text("on-demand"),
            phase: text("init"),
            status: Some(Status::Success),
            metrics: Metrics {
                duration_ms: Some(397.68),
                ..Metrics::default()
            },
            spans: vec![span("someTimeSpan", 331, 90.1)],
            ..PhaseEnd::default()
        }),
    );
}

#[test]
fn restore_records_have_all_their_fields() {
    check(
        r#"{"time":"2026-08-20T10:00:00.064Z","type":"platform.restoreStart","record":{
 "functionName":"f","functionVersion":"7","runtimeVersion":"java:21.v40","runtimeVersionArn":"arn:aws:lambda:us-east-1::runtime:1",
 "instanceId":"82561ce0-53dd-47d1-90e0-c8f5e063e62e","instanceMaxMemory":256}}"#,
        at(64),
        Content::RestoreStart(PhaseStart {
            function_name: text("f"),
            function_version: text("7"),
            instance_id: text("82561ce0-53dd-47d1-90e0-c8f5e063e62e"),
            instance_max_memory_bytes: Some(268_435_456),
            runtime_version: text("java:21.v40"),
            runtime_version_arn: text("arn:aws:lambda:us-east-1::runtime:1"),
            ..PhaseStart::default()
        }),
    );
    check(
        r#"{"time":"2026-08-20T10:00:00.480Z","type":"platform.restoreRuntimeDone","record":{"status":"success",
 "spans":[{"name":"someTimeSpan","start":"2026-08-20T10:00:00.400Z","durationMs":80.0}]}}"#,
        at(480),
        Content::RestoreRuntimeDone(PhaseEnd {
            status: Some(Status::Success),
            spans: vec![span("someTimeSpan", 400, 80.0)],
            ..PhaseEnd::default()
        }),
    );
    check(
        r#"{"time":"2026-08-20T10:00:00.501Z","type":"platform.restoreReport","record":{"status":"success","metrics":{"durationMs":437.19},
 "spans":[{"name":"someTimeSpan","start":"2026-08-20T10:00:00.400Z","durationMs":30.0}]}}"#,
        at(501),
        Content::RestoreReport(PhaseEnd {
            status: Some(Status::Success),
            metrics: Metrics {
                duration_ms: Some(437.19),
                ..Metrics::default()
            },
            spans: vec![span("someTimeSpan", 400, 30.0)],
            ..PhaseEnd::default()
        }),
    );
}

#[test]
fn invocation_records_have_all_their_fields() {
    check(
        r#"{"time":"2026-08-20T10:00:00.470Z","type":"platform.start","record":{
 "requestId":"6d68ca91","version":"$LATEST","functionArn":"arn:f","tenantId":"t",
 "tracing":{"spanId":"54565fb41ac79632","type":"X-Amzn-Trace-Id","value":"Root=1-62e900b2-710d76f009d6e7785905449a;Parent=0efbd19962d95b05;Sampled=1"}}}"#,
        at(470),
        Content::Start(InvocationStart {
            request_id: text("6d68ca91"),
            version: text("$LATEST"),
            function_arn: text("arn:f"),
            tenant_id: text("t"),
            tracing: traced(Some("54565fb41ac79632")),
        }),
    );
    check(
        r#"{"time":"2026-08-20T10:00:01.163Z","type":"platform.runtimeDone","record":{
 "requestId":"6d68ca91","status":"success",
 "metrics":{"durationMs":1.056,"producedBytes":50},
 "spans":[{"name":"responseLatency","start":"2026-08-20T10:00:01.162Z","durationMs":0.677},
          {"name":"responseDuration","start":"2026-08-20T10:00:01.162Z","durationMs":0.035},
          {"name":"runtimeOverhead","start":"2026-08-20T10:00:01.163Z","durationMs":0.211}],
 "tracing":{"spanId":"54565fb41ac79632","type":"X-Amzn-Trace-Id","value":"Root=1-62e900b2-710d76f009d6e7785905449a;Parent=0efbd19962d95b05;Sampled=1"}}}"#,
        at(1_163),
        Content::RuntimeDone(InvocationEnd {
            request_id: text("6d68ca91"),
            status: Some(Status::Success),
            metrics: Metrics {
                duration_ms: Some(1.056),
                produced_bytes: Some(50.0),
                ..Metrics::default()
            },
            spans: vec![
                span("responseLatency", 1_162, 0.677),
                span("responseDuration", 1_162, 0.035),
                span("runtimeOverhead", 1_163, 0.211),
            ],
            tracing: traced(Some("54565fb41ac79632")),
            ..InvocationEnd::default()
        }),
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
        at(1_180),
        Content::Report(InvocationEnd {
            request_id: text("6d68ca91"),
            status: Some(Status::Success),
            metrics: Metrics {
                duration_ms: Some(693.92),
                billed_duration_ms: Some(1_092.0),
                memory_size_mb: Some(128.0),
                max_memory_used_mb: Some(84.0),
                init_duration_ms: Some(397.68),
                ..Metrics::default()
            },
            spans: vec![span("extensionOverhead", 1_164, 12.4)],
            tracing: traced(None),
            tenant_id: text("t"),
            ..InvocationEnd::default()
        }),
    );
    check(
        r#"{"type":"platform.report","record":{"requestId":"r","metrics":{"durationMs":147.156,"billedDurationMs":201,
 "memorySizeMB":512,"maxMemoryUsedMB":91,"restoreDurationMs":500.795,"billedRestoreDurationMs":53}}}"#,
        None,
        Content::Report(InvocationEnd {
            request_id: text("r"),
            metrics: Metrics {
                duration_ms: Some(147.156),
                billed_duration_ms: Some(201.0),
                memory_size_mb: Some(512.0),
                max_memory_used_mb: Some(91.0),
                restore_duration_ms: Some(500.795),
                billed_restore_duration_ms: Some(53.0),
                ..Metrics::default()
            },
            ..InvocationEnd::default()
        }),
    );
    check(
        r#"{"time":"2026-08-20T10:00:01.180Z","type":"platform.end","record":{"requestId":"r"}}"#,
        at(1_180),
        Content::End(InvocationStart {
            request_id: text("r"),
            ..InvocationStart::default()
        }),
    );
}

#[test]
fn other_records_have_all_their_fields() {
    check(
        r#"{"time":"2026-08-20T10:00:00.461Z","type":"platform.extension","record":{"name":"my-ext","state":"Ready","events":["INVOKE","SHUTDOWN"],"errorType":"Extension.Crash"}}"#,
        at(461),
        Content::Extension(ExtensionState {
            name: text("my-ext"),
            state: text("Ready"),
            events: vec!["INVOKE".into(), "SHUTDOWN".into()],
            types: Vec::new(),
            error_type: text("Extension.Crash"),
        }),
    );
    check(
        r#"{"time":"2026-08-20T10:00:00.090Z","type":"platform.telemetrySubscription","record":{"name":"my-ext","state":"Subscribed","types":["platform"]}}"#,
        at(90),
        Content::TelemetrySubscription(ExtensionState {
            name: text("my-ext"),
            state: text("Subscribed"),
            types: vec!["platform".into()],
            ..ExtensionState::default()
        }),
    );
    check(
        r#"{"time":"2026-08-20T10:00:02.000Z","type":"platform.logsDropped","record":{"droppedBytes":12345,"droppedRecords":123,"reason":"too \"slow\""}}"#,
        at(2_000),
        Content::LogsDropped(LogsDropped {
            bytes: Some(12_345.0),
            records: Some(123.0),
            reason: text("too \"slow\""),
        }),
    );
    check(
        r#"{"time":"2026-08-20T10:00:02.000Z","type":"platform.fault","record":"RequestId: r Error: exit"}"#,
        at(2_000),
        Content::Fault("RequestId: r Error: exit".into()),
    );
    check(
        r#"{"time":"2026-08-20T10:00:00.700Z","type":"function","record":"[INFO] hello\n"}"#,
        at(700),
        Content::Function { bytes: 16 },
    );
    check(
        r#"{"time":"2026-08-20T10:00:00.700Z","type":"function","record":{"level":"INFO","message":"]}"}}"#,
        at(700),
        Content::Function { bytes: 31 },
    );
    check(
        r#"{"time":"2026-08-20T10:00:00.700Z","type":"extension","record":"[INFO] extension line"}"#,
        at(700),
        Content::ExtensionLog { bytes: 23 },
    );
}

#[test]
fn a_start_keeps_what_fits() {
    let none = PhaseStart::default;
    let memory = |bytes| PhaseStart {
        instance_max_memory_bytes: Some(bytes),
        ..none()
    };
    let phase = |phase| PhaseStart {
        phase: text(phase),
        ..none()
    };
    let unknown_type = PhaseStart {
        initialization_type: text("brand-new"),
        ..none()
    };
    let runtime_arn = PhaseStart {
        runtime_version_arn: text("arn:r"),
        ..none()
    };
    let table = [
        ("null", none()),
        (r#"["a"]"#, none()),
        ("{}", none()),
        (
            r#"{"new":{"deep":[1]},"phase":"snap-start","functionName":7}"#,
            phase("snap-start"),
        ),
        (
            r#"{"initializationType":"brand-new","tracing":"none"}"#,
            unknown_type,
        ),
        (r#"{"instanceMaxMemory":"256"}"#, memory(268_435_456)),
        (
            r#"{"instanceMaxMemory":1048575}"#,
            memory(1_099_510_579_200),
        ),
        (r#"{"instanceMaxMemory":1048576}"#, memory(1_048_576)),
        (
            r#"{"instanceMaxMemory":4294967296.0}"#,
            memory(4_294_967_296),
        ),
        (
            r#"{"instanceMaxMemory":"much","runtimeArn":"arn:r"}"#,
            runtime_arn,
        ),
        // An escaped key is still that key, and the last of two counts.
        (r#"{"ph\u0061se":"x","phase":"in\u0069t"}"#, phase("init")),
    ];
    for (record, start) in table {
        let json = format!(r#"{{"\u0074ype":"platform.initStart","record":{record}}}"#);
        assert_eq!(content_of(&json), Content::InitStart(start), "{json}");
    }
    let json = r#"{"type":"platform.initStart"}"#;
    assert_eq!(content_of(json), Content::InitStart(none()));
}

#[test]
fn a_report_keeps_what_fits() {
    let none = InvocationEnd::default;
    let some = InvocationEnd {
        metrics: Metrics {
            billed_duration_ms: Some(694.5),
            duration_ms: Some(12.345),
            produced_bytes: Some(100.0),
            ..Metrics::default()
        },
        ..none()
    };
    let odd = InvocationEnd {
        status: Some(Status::Other("odd".into())),
        spans: vec![Span::default(); 3],
        ..none()
    };
    let table = [
        (r#"{"metrics":3}"#, none()),
        (
            r#"{"metrics":{"billedDurationMs":694.5,"durationMs":"12.345","memorySizeMB":-1,
            "maxMemoryUsedMB":null,"initDurationMs":1e999,"producedBytes":1e2,"restoreDurationMs":"" }}"#,
            some,
        ),
        (r#"{"status":"odd","spans":[{"start":"never"},4,{}]}"#, odd),
        (r#"{"status":true,"spans":{},"requestId":null}"#, none()),
    ];
    for (record, end) in table {
        let json = format!(r#"[{{"type":"platform.report","record":{record}}}]"#);
        let mut found = Vec::new();
        let counts = records(json.as_bytes(), &mut |record| {
            found.push(record.unwrap().content);
        });
        assert_eq!(counts.unwrap().malformed, 0);
        assert_eq!(found, [Content::Report(end)], "{json}");
    }
    let statuses = [
        ("success", Status::Success),
        ("failure", Status::Failure),
        ("error", Status::Error),
        ("timeout", Status::Timeout),
        ("Success", Status::Other("Success".into())),
    ];
    for (word, status) in statuses {
        let json = format!(r#"{{"type":"platform.runtimeDone","record":{{"status":"{word}"}}}}"#);
        let Content::RuntimeDone(end) = content_of(&json) else {
            panic!("{json}");
        };
        assert_eq!(end.status, Some(status));
    }
}

#[test]
fn other_records_keep_what_fits() {
    let table = [
        (
            r#"{"type":"platform.fault","record":{}}"#,
            Content::Fault("".into()),
        ),
        (r#"{"type":"function"}"#, Content::Function { bytes: 0 }),
        (
            r#"{"type":"platform.new","record":{"a":1}}"#,
            Content::Unknown("platform.new".into()),
        ),
        (
            r#"{"type":"platform.logsDropped","record":[]}"#,
            Content::LogsDropped(LogsDropped::default()),
        ),
    ];
    for (json, content) in table {
        assert_eq!(content_of(json), content, "{json}");
    }
    let stamp = r#"{"time":"soon","type":"function","record":""}"#;
    assert_eq!(only(stamp).unwrap().time, None);
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
    for bad in bad {
        let shown = String::from_utf8_lossy(bad);
        let parts = [
            b" \n[ ",
            good.as_bytes(),
            b" ,",
            bad,
            b", ",
            good.as_bytes(),
            b"]\n",
        ];
        let batch = parts.concat();
        let mut found = Vec::new();
        let counts = records(&batch, &mut |record| found.push(record)).unwrap();
        let expected = BatchCounts {
            records: 3,
            malformed: 1,
            unknown: 0,
        };
        assert_eq!(counts, expected, "{shown}");
        let function = Record {
            time: None,
            content: Content::Function { bytes: 3 },
        };
        let malformed = Malformed {
            at: 38,
            bytes: bad.len(),
        };
        assert_eq!(
            found,
            [Ok(function.clone()), Err(malformed), Ok(function)],
            "{shown}"
        );
    }
}

#[test]
fn any_text_is_walked_to_its_end() {
    let counts = |malformed, records| BatchCounts {
        records,
        malformed,
        unknown: 0,
    };
    let table = [
        ("[]", Ok(counts(0, 0))),
        ("[,]", Ok(counts(0, 0))),
        ("[", Ok(counts(0, 0))),
        ("[[", Ok(counts(1, 1))),
        ("[}}}]", Ok(counts(1, 1))),
        ("[\"", Ok(counts(1, 1))),
        ("[\"\\", Ok(counts(1, 1))),
        (r#"["\\",{"type":"function"}]"#, Ok(counts(1, 2))),
        (r#"[{"type":"function"},{"type":"func"#, Ok(counts(1, 2))),
        (r#"[{"type":"function"}] and more"#, Ok(counts(0, 1))),
        (r#"[{"type":"function"},]"#, Ok(counts(0, 1))),
        ("", Err(NotABatch)),
        (" ", Err(NotABatch)),
        (r#"{"type":"function"}"#, Err(NotABatch)),
    ];
    for (batch, expected) in table {
        assert_eq!(records(batch.as_bytes(), &mut |_| {}), expected, "{batch}");
    }
    // Deep nesting is walked, not descended into.
    let deep = format!(
        "[{},{{\"type\":\"function\"}}]",
        "[".repeat(200_000) + &"]".repeat(200_000)
    );
    assert_eq!(records(deep.as_bytes(), &mut |_| {}), Ok(counts(1, 2)));
}

#[test]
fn lines_are_records_and_blank_ones_are_none() {
    let lines = "{\"type\":\"function\",\"record\":\"\"}\r\n\n{\"type\":\"new\"}\nnot json\n{\"type\":\"extension\"}";
    let mut found = Vec::new();
    let counts = records_ndjson(lines.as_bytes(), &mut |record| {
        found.push(record.map(|record| record.content));
    });
    assert_eq!(
        counts,
        BatchCounts {
            records: 4,
            malformed: 1,
            unknown: 1
        }
    );
    let expected = [
        Ok(Content::Function { bytes: 2 }),
        Ok(Content::Unknown("new".into())),
        Err(Malformed { at: 49, bytes: 8 }),
        Ok(Content::ExtensionLog { bytes: 0 }),
    ];
    assert_eq!(found, expected);
}

#[test]
fn parts_of_one_record_are_bounded() {
    let spans = vec![r#"{"name":"s"}"#; 1_000].join(",");
    let json = format!(r#"{{"type":"platform.runtimeDone","record":{{"spans":[{spans}]}}}}"#);
    let Content::RuntimeDone(end) = content_of(&json) else {
        panic!("{json}");
    };
    assert_eq!(end.spans.len(), PARTS_MAX);
}

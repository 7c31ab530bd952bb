//! The Telemetry API against listeners on this machine.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, UNIX_EPOCH};

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use socket2::SockRef;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::*;
use crate::config::telemetry::SchemaVersion;
use crate::http::{Payload, collect, header, response};

#[derive(Clone, Debug)]
struct Received {
    connection: usize,
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Received {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }

    fn records(&self) -> Vec<Value> {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// A listener as an extension has it.
struct Listener {
    port: u16,
    received: Arc<Mutex<Vec<Received>>>,
    changed: watch::Receiver<()>,
    tasks: JoinSet<()>,
}

/// The behaviour of a listener, request by request; 200 when the list is empty.
#[derive(Clone, Copy)]
enum Answer {
    Status(u16),
    /// With `Connection: close`.
    Close,
    Never,
}

impl Listener {
    async fn new() -> Self {
        Self::with(0, []).await
    }

    async fn with(port: u16, answers: impl IntoIterator<Item = Answer>) -> Self {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .unwrap();
        let port = socket.local_addr().unwrap().port();
        let received = Arc::new(Mutex::default());
        let answers = Arc::new(Mutex::new(answers.into_iter().collect::<VecDeque<_>>()));
        let (changes, changed) = watch::channel(());
        let mut tasks = JoinSet::new();
        let list = Arc::clone(&received);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            for connection in 0.. {
                let (stream, _) = socket.accept().await.unwrap();
                let (list, answers, changes) = (list.clone(), answers.clone(), changes.clone());
                let service = service_fn(move |request| {
                    let answer = lock(&answers).pop_front().unwrap_or(Answer::Status(200));
                    take(connection, request, list.clone(), changes.clone(), answer)
                });
                connections.spawn(async move {
                    let io = TokioIo::new(stream);
                    drop(http1::Builder::new().serve_connection(io, service).await);
                });
            }
        });
        Self {
            port,
            received,
            changed,
            tasks,
        }
    }

    /// Waits for this many requests.
    async fn requests(&mut self, count: usize) -> Vec<Received> {
        let reached = async {
            while lock(&self.received).len() < count {
                self.changed.changed().await.unwrap();
            }
        };
        if timeout(BOUND, reached).await.is_err() {
            panic!("{:?}", lock(&self.received));
        }
        lock(&self.received).clone()
    }

    /// Waits for this many records, in however many batches.
    async fn records(&mut self, count: usize) -> Vec<Value> {
        let all = |received: &[Received]| -> Vec<Value> {
            received.iter().flat_map(Received::records).collect()
        };
        let reached = async {
            while all(&lock(&self.received)).len() < count {
                self.changed.changed().await.unwrap();
            }
        };
        if timeout(BOUND, reached).await.is_err() {
            panic!("{:?}", lock(&self.received));
        }
        all(&lock(&self.received))
    }

    /// Closes the port and the connections.
    async fn close(mut self) {
        self.tasks.shutdown().await;
    }

    fn seen(&self) -> usize {
        lock(&self.received).len()
    }
}

async fn take(
    connection: usize,
    request: Request<Incoming>,
    list: Arc<Mutex<Vec<Received>>>,
    changes: watch::Sender<()>,
    answer: Answer,
) -> Result<Response<Payload>, hyper::Error> {
    let headers = crate::http::header_list(request.headers());
    let method = request.method().to_string();
    let path = request.uri().to_string();
    assert!(header(request.headers(), "host").is_some());
    let body = collect(request.into_body(), usize::MAX).await;
    assert!(!body.truncated);
    lock(&list).push(Received {
        connection,
        method,
        path,
        headers,
        body: body.data.to_vec(),
    });
    changes.send_replace(());
    match answer {
        Answer::Status(status) => Ok(response(status, [], Payload::sized("{}"))),
        Answer::Close => Ok(response(200, [("connection", "close")], Payload::sized(""))),
        Answer::Never => std::future::pending().await,
    }
}

/// Waits for a condition that nothing tells of.
async fn until(mut condition: impl FnMut() -> bool) {
    let met = async {
        while !condition() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(BOUND, met).await.unwrap();
}

fn options() -> TelemetryOptions {
    TelemetryOptions {
        retry_pause_min: Duration::from_millis(1),
        retry_pause_max: Duration::from_millis(4),
        ..TelemetryOptions::default()
    }
}

fn telemetry() -> Telemetry {
    Telemetry::new(options(), LogFormat::Text)
}

/// A subscription with the shortest timeout.
fn body(port: u16, types: &[&str]) -> Value {
    json!({
        "schemaVersion": "2025-01-29",
        "types": types,
        "buffering": {"timeoutMs": 25},
        "destination": {
            "protocol": "HTTP",
            "URI": format!("http://sandbox.localdomain:{port}"),
        },
    })
}

/// The same with a timeout that no test lives to see.
fn patient(port: u16, types: &[&str]) -> Value {
    let mut body = body(port, types);
    body["buffering"] = json!({"maxItems": 1_000, "timeoutMs": 30_000});
    body
}

fn subscribe(telemetry: &Telemetry, extension: &str, body: &Value) {
    let reply = telemetry.subscribe(extension, body.to_string().as_bytes());
    assert_eq!(String::from_utf8(reply.body).unwrap(), r#""OK""#);
    assert_eq!(reply.status, 200);
}

/// `errorType` and `errorMessage` of an answer.
fn refused(reply: &Reply) -> (u16, String, String) {
    let body: Value = serde_json::from_slice(&reply.body).unwrap();
    let text = |name: &str| body[name].as_str().unwrap().to_owned();
    (reply.status, text("errorType"), text("errorMessage"))
}

fn log(telemetry: &Telemetry, line: &str) {
    telemetry.publish(Event::FunctionLog(line.to_owned()));
}

fn start(request_id: &str) -> Event {
    Event::Start(Start {
        request_id: request_id.to_owned(),
        ..Start::default()
    })
}

fn types(records: &[Value]) -> Vec<&str> {
    records
        .iter()
        .map(|record| record["type"].as_str().unwrap())
        .collect()
}

fn lines(records: &[Value]) -> Vec<&str> {
    records
        .iter()
        .filter_map(|record| record["record"].as_str())
        .collect()
}

/// A port nobody listens on. It is below those that are given for port 0, so that no other test
/// is given it between two listeners of one test.
async fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + (process::id().wrapping_mul(16) + next) % 20_000;
        let port = u16::try_from(port).unwrap();
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.is_ok() {
            return port;
        }
    }
}

#[tokio::test]
async fn subscriptions_are_refused_as_the_platform_refuses_them() {
    let telemetry = telemetry();
    let good = body(4_243, &["platform"]).to_string();
    let bad = json!({
        "schemaVersion": "2022-07-01",
        "types": [],
        "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain"},
    })
    .to_string();
    let invalid = (
        400,
        "ValidationError".to_owned(),
        "URI port is not provided; types should not be empty".to_owned(),
    );
    assert_eq!(refused(&telemetry.subscribe("e", bad.as_bytes())), invalid);
    telemetry.close_subscription();
    assert_eq!(
        refused(&telemetry.subscribe("e", good.as_bytes())),
        (
            403,
            "Telemetry.SubscriptionClosed".to_owned(),
            "Telemetry API subscription is closed".to_owned()
        )
    );
    assert_eq!(refused(&telemetry.subscribe("e", bad.as_bytes())), invalid);
    telemetry.reset();
    assert_eq!(telemetry.subscribe("e", good.as_bytes()).status, 200);
}

#[tokio::test]
async fn nothing_is_kept_for_subscribers_that_cannot_come() {
    let telemetry = telemetry();
    subscribe(&telemetry, "e", &patient(4_243, &["platform"]));
    telemetry.publish(start("1"));
    let kept = || telemetry.shared.lock().backlog.events.len();
    assert_eq!(kept(), 2);
    telemetry.close_subscription();
    assert_eq!(kept(), 0);
    telemetry.publish(start("2"));
    assert_eq!(kept(), 0);
}

#[tokio::test]
async fn records_are_lost_or_late_as_asked() {
    let options = TelemetryOptions {
        lost: vec!["platform.initStart".to_owned()],
        late: vec!["platform.start".to_owned(), "function".to_owned()],
        ..options()
    };
    let telemetry = Telemetry::new(options, LogFormat::Text);
    let mut listener = Listener::new().await;
    let types_asked = body(listener.port, &["platform", "function"]);
    subscribe(&telemetry, "e", &types_asked);
    telemetry.publish(start("1"));
    log(&telemetry, "a line");
    telemetry.publish(Event::InitStart(InitStart::default()));
    telemetry.publish(Event::RuntimeDone(RuntimeDone::default()));
    telemetry.publish(Event::Report(Report::default()));
    let records = listener.records(5).await;
    let expected = [
        "platform.telemetrySubscription",
        "platform.runtimeDone",
        "platform.report",
        "platform.start",
        "function",
    ];
    assert_eq!(types(&records), expected);
}

#[tokio::test]
async fn a_stub_accepts_everything_and_sends_nothing() {
    let listener = Listener::new().await;
    let options = TelemetryOptions {
        stubbed: true,
        ..options()
    };
    let telemetry = Telemetry::new(options, LogFormat::Text);
    for body in ["", "{}", &body(listener.port, &["platform"]).to_string()] {
        assert_eq!(
            refused(&telemetry.subscribe("e", body.as_bytes())),
            (
                202,
                "Telemetry.NotSupported".to_owned(),
                "Telemetry API is not supported".to_owned()
            )
        );
    }
    telemetry.publish(start("1"));
    assert!(telemetry.flush(BOUND).await);
    assert_eq!(telemetry.deliveries(), []);
    assert_eq!(listener.seen(), 0);
}

#[tokio::test]
async fn versions_that_are_not_accepted_are_a_validation_error() {
    let options = TelemetryOptions {
        schema_versions: vec![SchemaVersion::V2022_07_01],
        ..options()
    };
    let telemetry = Telemetry::new(options, LogFormat::Text);
    let mut body = body(4_243, &["platform"]);
    let reply = telemetry.subscribe("e", body.to_string().as_bytes());
    let message = "schemaVersion 2025-01-29 is not supported";
    assert_eq!(
        refused(&reply),
        (400, "ValidationError".to_owned(), message.to_owned())
    );
    body["schemaVersion"] = json!("2022-07-01");
    subscribe(&telemetry, "e", &body);
}

/// The order of an on-demand cold start: what came before the subscription is replayed, the
/// report comes when every extension is ready again.
#[tokio::test]
async fn a_subscriber_sees_a_cold_start_in_order() {
    let mut listener = Listener::new().await;
    let telemetry = telemetry();
    telemetry.publish(Event::InitStart(InitStart::default()));
    subscribe(
        &telemetry,
        "e",
        &patient(listener.port, &["platform", "function", "extension"]),
    );
    log(&telemetry, "f");
    telemetry.publish(Event::ExtensionLog("e".into()));
    telemetry.close_subscription();
    telemetry.publish(Event::InitRuntimeDone(InitRuntimeDone::default()));
    telemetry.publish(Event::Extension(ExtensionInit::default()));
    telemetry.publish(Event::InitReport(InitReport::default()));
    telemetry.publish(start("1"));
    telemetry.publish(Event::RuntimeDone(RuntimeDone::default()));
    telemetry.freeze();
    telemetry.publish(Event::Report(Report::default()));
    telemetry.thaw();
    assert!(telemetry.flush(BOUND).await);
    let expected = [
        "platform.initStart",
        "platform.telemetrySubscription",
        "function",
        "extension",
        "platform.initRuntimeDone",
        "platform.extension",
        "platform.initReport",
        "platform.start",
        "platform.runtimeDone",
        "platform.report",
    ];
    let records = listener.records(expected.len()).await;
    assert_eq!(types(&records), expected);
    let subscription = json!({
        "name": "e",
        "state": "Subscribed",
        "types": ["platform", "function", "extension"],
    });
    assert_eq!(records[1]["record"], subscription);
}

#[tokio::test]
async fn everyone_gets_what_they_subscribed_to_and_each_record_once() {
    let telemetry = telemetry();
    let all = ["platform", "function", "extension"];
    let table: [(&[&str], &[&str]); 4] = [
        (&all, &all),
        (&["platform"], &["platform"]),
        (&["function"], &["function"]),
        (&["extension", "extension"], &["extension"]),
    ];
    let mut listeners = Vec::new();
    for (index, (types, _)) in table.iter().enumerate() {
        let listener = Listener::new().await;
        let body = patient(listener.port, types);
        subscribe(&telemetry, &index.to_string(), &body);
        // Again, as a client does that got no answer.
        subscribe(&telemetry, &index.to_string(), &body);
        listeners.push(listener);
    }
    telemetry.close_subscription();
    telemetry.publish(start("1"));
    log(&telemetry, "f");
    telemetry.publish(Event::ExtensionLog("e".into()));
    assert!(telemetry.flush(BOUND).await);
    for (mut listener, (_, expected)) in listeners.into_iter().zip(table) {
        let mut records = listener.records(expected.len()).await;
        records.retain(|record| record["type"] != "platform.telemetrySubscription");
        let expected: Vec<&str> = expected
            .iter()
            .map(|name| match *name {
                "platform" => "platform.start",
                name => name,
            })
            .collect();
        assert_eq!(types(&records), expected);
    }
    let names: Vec<String> = telemetry
        .deliveries()
        .into_iter()
        .map(|deliveries| deliveries.extension)
        .collect();
    assert_eq!(names, ["0", "1", "2", "3"]);
}

#[tokio::test]
async fn lines_are_objects_where_format_and_version_say_so() {
    let line = r#"{"level":"INFO","message":"hello"}"#;
    let object = json!({"level": "INFO", "message": "hello"});
    let table = [
        (LogFormat::Text, "2022-07-01", json!(line)),
        (LogFormat::Text, "2022-12-13", json!(line)),
        (LogFormat::Text, "2025-01-29", json!(line)),
        (LogFormat::Json, "2022-07-01", json!(line)),
        (LogFormat::Json, "2022-12-13", object.clone()),
        (LogFormat::Json, "2025-01-29", object),
    ];
    for (format, version, expected) in table {
        let mut listener = Listener::new().await;
        let telemetry = Telemetry::new(options(), format);
        let mut body = body(listener.port, &["function"]);
        body["schemaVersion"] = json!(version);
        log(&telemetry, line);
        subscribe(&telemetry, "e", &body);
        log(&telemetry, line);
        log(&telemetry, "text");
        let records = listener.records(3).await;
        let got: Vec<Value> = records.iter().map(|r| r["record"].clone()).collect();
        assert_eq!(
            got,
            [expected.clone(), expected, json!("text")],
            "{version}"
        );
    }
}

#[tokio::test]
async fn a_batch_is_one_post_as_the_platform_makes_it() {
    const BODY: &str = r#"[{"time":"1970-01-01T00:00:01.234Z","type":"function","record":"x"}]"#;
    let mut listener = Listener::new().await;
    let telemetry = telemetry();
    let mut body = body(listener.port, &["function"]);
    let uri = format!("http://sandbox:{}/a/b?c=d", listener.port);
    body["destination"]["URI"] = json!(uri);
    subscribe(&telemetry, "e", &body);
    let time = UNIX_EPOCH + Duration::from_millis(1_234);
    telemetry.publish_at(Event::FunctionLog("x".into()), time);
    let received = listener.requests(1).await.remove(0);
    assert_eq!(String::from_utf8(received.body.clone()).unwrap(), BODY);
    assert_eq!(received.method, "POST");
    assert_eq!(received.path, "/a/b?c=d");
    let host = format!("sandbox:{}", listener.port);
    let expected = [
        ("host", Some(host.as_str())),
        ("content-type", Some("application/json")),
        ("content-length", Some("68")),
        ("transfer-encoding", None),
        // By openssl.
        ("sequence-id", Some(SEQUENCE_ID)),
    ];
    for (name, value) in expected {
        assert_eq!(received.header(name), value, "{name}");
    }
    until(|| telemetry.deliveries()[0].batches == 1).await;
    let expected = Deliveries {
        extension: "e".into(),
        batches: 1,
        records: 1,
        bytes: 68,
        ..Deliveries::default()
    };
    assert_eq!(telemetry.deliveries(), [expected]);
}

#[tokio::test]
async fn chunks_carry_the_same_body() {
    for chunk_bytes in [0, 1, 7, 1_000_000] {
        let mut listener = Listener::new().await;
        let options = TelemetryOptions {
            chunk_bytes: Some(chunk_bytes),
            ..options()
        };
        let telemetry = Telemetry::new(options, LogFormat::Text);
        subscribe(&telemetry, "e", &body(listener.port, &["function"]));
        log(&telemetry, "one");
        log(&telemetry, "two");
        let received = listener.requests(1).await.remove(0);
        assert_eq!(lines(&received.records()), ["one", "two"]);
        assert_eq!(received.header("transfer-encoding"), Some("chunked"));
        assert_eq!(received.header("content-length"), None);
    }
}

#[tokio::test]
async fn a_batch_goes_when_it_is_full_or_old_enough() {
    // Items: three batches, of which the last is not full.
    let mut listener = Listener::new().await;
    let telemetry = telemetry();
    subscribe(&telemetry, "e", &patient(listener.port, &["function"]));
    for index in 0..2_500 {
        log(&telemetry, &index.to_string());
    }
    let received = listener.requests(2).await;
    let counts: Vec<usize> = received.iter().map(|r| r.records().len()).collect();
    assert_eq!(counts, [1_000, 1_000]);
    until(|| telemetry.deliveries()[0].records == 2_000).await;
    assert_eq!(telemetry.deliveries()[0].queued_records, 500);
    assert!(telemetry.flush(BOUND).await);
    let records = listener.records(2_500).await;
    let expected: Vec<String> = (0..2_500).map(|index| index.to_string()).collect();
    assert_eq!(lines(&records), expected);

    // Bytes: the record that reaches the limit is in.
    let mut listener = Listener::new().await;
    let telemetry = self::telemetry();
    subscribe(&telemetry, "e", &patient(listener.port, &["function"]));
    let line = "x".repeat(100_000);
    for _ in 0..4 {
        log(&telemetry, &line);
    }
    assert_eq!(listener.requests(1).await[0].records().len(), 3);

    // Time.
    let mut listener = Listener::new().await;
    let telemetry = self::telemetry();
    subscribe(&telemetry, "e", &body(listener.port, &["function"]));
    let before = Instant::now();
    log(&telemetry, "x");
    log(&telemetry, "y");
    assert_eq!(listener.requests(1).await[0].records().len(), 2);
    assert!(before.elapsed() >= Duration::from_millis(25));
}

#[tokio::test]
async fn a_batch_is_sent_again_until_a_listener_takes_it() {
    let port = free_port().await;
    let telemetry = telemetry();
    subscribe(&telemetry, "e", &body(port, &["function"]));
    log(&telemetry, "one");
    until(|| telemetry.deliveries()[0].failures >= 3).await;
    let last = telemetry.deliveries()[0].last_failure.clone().unwrap();
    assert!(last.starts_with("failed to connect: "), "{last}");
    log(&telemetry, "two");
    let answers = [
        Answer::Status(500),
        Answer::Status(400),
        Answer::Status(404),
        Answer::Status(302),
    ];
    let mut listener = Listener::with(port, answers).await;
    assert!(telemetry.flush(BOUND).await);
    let received = listener.requests(4).await;
    assert_eq!(received.len(), 4);
    for received in received {
        assert_eq!(lines(&received.records()), ["one", "two"]);
    }
    let got = telemetry.deliveries().remove(0);
    assert_eq!((got.batches, got.records), (1, 2));
    assert_eq!(got.last_failure.as_deref(), Some("listener answered 404"));
    assert_eq!((got.dropped_records, got.queued_records), (0, 0));
}

#[tokio::test]
async fn a_connection_is_kept_and_a_closed_one_is_no_failure() {
    let answers = [Answer::Status(200), Answer::Close, Answer::Status(200)];
    let mut listener = Listener::with(0, answers).await;
    let telemetry = telemetry();
    subscribe(&telemetry, "e", &patient(listener.port, &["function"]));
    for _ in 0..4 {
        log(&telemetry, "x");
        assert!(telemetry.flush(BOUND).await);
    }
    let connections: Vec<usize> = listener
        .requests(4)
        .await
        .iter()
        .map(|received| received.connection)
        .collect();
    assert_eq!(connections, [0, 0, 1, 1]);
    assert_eq!(telemetry.deliveries()[0].failures, 0);
}

#[tokio::test]
async fn a_listener_that_went_away_and_came_back_gets_what_came_meanwhile() {
    let port = free_port().await;
    let mut listener = Listener::with(port, []).await;
    let telemetry = telemetry();
    subscribe(&telemetry, "e", &body(port, &["function"]));
    log(&telemetry, "one");
    listener.requests(1).await;
    until(|| telemetry.deliveries()[0].records == 1).await;
    listener.close().await;
    log(&telemetry, "two");
    until(|| telemetry.deliveries()[0].failures >= 2).await;
    log(&telemetry, "three");
    let mut listener = Listener::with(port, []).await;
    assert_eq!(lines(&listener.records(2).await), ["two", "three"]);
}

/// Every record published is delivered or counted as dropped, and the count is told.
#[tokio::test]
async fn what_does_not_fit_is_dropped_and_told() {
    let port = free_port().await;
    let options = TelemetryOptions {
        queue_bytes_max: 10_000,
        ..options()
    };
    let telemetry = Telemetry::new(options, LogFormat::Text);
    subscribe(&telemetry, "e", &body(port, &["platform", "function"]));
    telemetry.close_subscription();
    for index in 0..1_000 {
        log(&telemetry, &format!("{index:040}"));
    }
    let before = telemetry.deliveries().remove(0);
    // Each line is 105 bytes of JSON, and the record of the subscription is there too.
    assert_eq!(before.dropped_bytes, before.dropped_records * 105);
    let kept = 1_000 - before.dropped_records;
    assert_eq!(before.queued_records, kept + 1);
    assert_eq!(kept, (10_000 - SUBSCRIPTION_BYTES) / 105);

    let mut listener = Listener::with(port, []).await;
    assert!(telemetry.flush(BOUND).await);
    let count = usize::try_from(kept).unwrap() + 2;
    let records = listener.records(count).await;
    assert_eq!(records.len(), count);
    let told = records.last().unwrap();
    assert_eq!(told["type"], "platform.logsDropped");
    assert_eq!(
        told["record"],
        json!({
            "droppedBytes": before.dropped_bytes,
            "droppedRecords": before.dropped_records,
            "reason": "Some logs were dropped because the downstream consumer is slower than \
                       the logs production rate",
        })
    );
    let last = format!("{:040}", kept - 1);
    assert_eq!(
        records[count - 2]["record"],
        json!(last),
        "the newest are dropped"
    );
    let after = telemetry.deliveries().remove(0);
    assert_eq!(after.dropped_records, before.dropped_records);
    assert_eq!(after.records, kept + 2);
}

/// However often there was no room: what arrived and what was told to be dropped add up.
#[tokio::test]
async fn a_flood_is_accounted_for_to_the_last_record() {
    let mut listener = Listener::new().await;
    let options = TelemetryOptions {
        queue_bytes_max: 30_000,
        ..options()
    };
    let telemetry = Telemetry::new(options, LogFormat::Text);
    let body = body(listener.port, &["platform", "function"]);
    subscribe(&telemetry, "e", &body);
    for index in 0..20_000 {
        log(&telemetry, &format!("{index:040}"));
        if index % 700 == 0 {
            let batches = telemetry.deliveries()[0].batches;
            until(|| telemetry.deliveries()[0].batches > batches).await;
        }
    }
    assert!(telemetry.flush(BOUND).await);
    let got = telemetry.deliveries().remove(0);
    let records = listener
        .records(usize::try_from(got.records).unwrap())
        .await;
    let count = |kind| {
        types(&records)
            .iter()
            .filter(|found| **found == kind)
            .count()
    };
    let told = |name: &str| -> u64 {
        let dropped = records.iter().map(|record| &record["record"][name]);
        dropped.filter_map(Value::as_u64).sum()
    };
    assert!(count("platform.logsDropped") > 10);
    assert_eq!(told("droppedRecords"), got.dropped_records);
    assert_eq!(told("droppedBytes"), got.dropped_bytes);
    assert_eq!(got.dropped_bytes, got.dropped_records * 105);
    let arrived = u64::try_from(count("function")).unwrap();
    assert_eq!(arrived + got.dropped_records, 20_000);
}

#[tokio::test]
async fn a_listener_that_never_answers_costs_no_more_than_its_queue() {
    let mut listener = Listener::with(0, [Answer::Never]).await;
    let options = TelemetryOptions {
        queue_bytes_max: 300_000,
        ..options()
    };
    let telemetry = Telemetry::new(options, LogFormat::Text);
    subscribe(&telemetry, "e", &body(listener.port, &["function"]));
    log(&telemetry, "first");
    listener.requests(1).await;
    for _ in 0..100 {
        log(&telemetry, &"x".repeat(10_000));
    }
    assert!(!telemetry.flush(Duration::from_millis(50)).await);
    let got = telemetry.deliveries().remove(0);
    assert_eq!((got.batches, got.failures), (0, 0));
    assert_eq!(got.queued_records + got.dropped_records, 101);
    assert_eq!(got.queued_records, 1 + 300_000 / 10_065);
    assert_eq!(listener.seen(), 1);
}

#[tokio::test]
async fn what_the_init_phase_had_no_room_for_is_told_to_who_wanted_it() {
    let options = TelemetryOptions {
        queue_bytes_max: 10_000,
        ..options()
    };
    let telemetry = Telemetry::new(options, LogFormat::Text);
    for index in 0..200 {
        log(&telemetry, &format!("{index:040}"));
    }
    let mut logs = Listener::new().await;
    let mut platform = Listener::new().await;
    subscribe(
        &telemetry,
        "logs",
        &body(logs.port, &["function", "platform"]),
    );
    subscribe(&telemetry, "platform", &body(platform.port, &["platform"]));
    assert!(telemetry.flush(BOUND).await);
    let [logs_got, platform_got] = telemetry.deliveries().try_into().unwrap();
    // 95 lines of 105 bytes fit into the backlog. After them there is no room for the records of
    // the subscriptions; the second subscriber was not there for the first one's.
    assert_eq!(logs_got.dropped_records, 105 + 2);
    assert_eq!(platform_got.dropped_records, 1);
    let dropped = |records: &[Value]| {
        types(records)
            .into_iter()
            .filter(|kind| *kind == "platform.logsDropped")
            .count()
    };
    assert!(dropped(&logs.records(1).await) >= 1);
    assert!(!platform.records(1).await.is_empty());
}

#[tokio::test]
async fn nothing_is_sent_while_frozen() {
    let mut listener = Listener::new().await;
    let telemetry = telemetry();
    subscribe(&telemetry, "e", &body(listener.port, &["platform"]));
    assert!(telemetry.flush(BOUND).await);
    for round in 0..20 {
        telemetry.freeze();
        telemetry.publish(start(&round.to_string()));
        assert!(!telemetry.flush(Duration::from_millis(2)).await);
        assert_eq!(listener.seen(), 1 + round);
        telemetry.thaw();
        listener.requests(2 + round).await;
        assert!(telemetry.flush(BOUND).await);
    }
    let got = telemetry.deliveries().remove(0);
    assert_eq!((got.batches, got.records, got.failures), (21, 21, 0));
}

#[tokio::test]
async fn a_batch_that_became_due_while_frozen_goes_at_once() {
    let telemetry = telemetry();
    subscribe(&telemetry, "e", &patient(4_243, &["platform"]));
    let subscriber = Arc::clone(&telemetry.shared.lock().subscribers[0]);
    let turn = |seconds| {
        let now = Instant::now() + Duration::from_secs(seconds);
        match telemetry.shared.turn(&subscriber, now) {
            Turn::Wait => "wait",
            Turn::WaitUntil(_) => "wait until",
            Turn::Send(_) => "send",
            Turn::End => "end",
        }
    };
    assert_eq!([turn(29), turn(31)], ["wait until", "send"]);
    telemetry.freeze();
    assert_eq!([turn(29), turn(31)], ["wait", "wait"]);
    telemetry.thaw();
    assert_eq!([turn(29), turn(31)], ["wait until", "send"]);
}

#[tokio::test]
async fn tcp_gets_a_line_for_each_record() {
    use std::io::{BufRead as _, BufReader};

    let port = free_port().await;
    let telemetry = telemetry();
    let mut body = body(port, &["function"]);
    body["destination"] = json!({"protocol": "TCP", "port": port});
    body["buffering"]["maxBytes"] = json!(1_048_576);
    subscribe(&telemetry, "e", &body);
    log(&telemetry, "one\n");
    until(|| telemetry.deliveries()[0].failures >= 2).await;
    let socket = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    // So small that what is sent before anything is read does not fit.
    SockRef::from(&socket).set_recv_buffer_size(4_096).unwrap();
    let big = "x".repeat(260_000);
    let mut expected = vec!["one\n", "two"];
    expected.extend([big.as_str(); 14]);
    for line in &expected[1..] {
        log(&telemetry, line);
    }
    assert!(!telemetry.flush(Duration::from_millis(50)).await);
    let reader = tokio::task::spawn_blocking(move || {
        let (stream, _) = socket.accept().unwrap();
        BufReader::new(stream)
            .lines()
            .take(16)
            .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
            .collect::<Vec<Value>>()
    });
    let records = timeout(BOUND, reader).await.unwrap().unwrap();
    assert!(lines(&records) == expected);
    until(|| telemetry.deliveries()[0].records == 16).await;
}

#[tokio::test]
async fn what_a_reset_left_over_goes_to_a_successor_on_the_same_port_at_the_old_path() {
    let port = free_port().await;
    let mut listener = Listener::with(port, []).await;
    let telemetry = telemetry();
    subscribe(&telemetry, "e", &patient(port, &["platform"]));
    telemetry.close_subscription();
    assert!(telemetry.flush(BOUND).await);
    listener.requests(1).await;
    listener.close().await;
    telemetry.publish(Event::Report(Report::default()));
    telemetry.reset();
    telemetry.publish(Event::InitStart(InitStart::default()));
    assert_eq!(telemetry.deliveries()[0].queued_records, 1, "retired");

    let mut listener = Listener::with(port, []).await;
    let mut body = patient(port, &["platform"]);
    body["destination"]["URI"] = format!("http://sandbox.localdomain:{port}/new").into();
    subscribe(&telemetry, "e", &body);
    assert!(telemetry.flush(BOUND).await);
    let requests = listener.requests(2).await;
    let paths: Vec<&str> = requests.iter().map(|request| &*request.path).collect();
    assert_eq!(paths, ["/", "/new"]);
    assert_eq!(types(&requests[0].records()), ["platform.report"]);
    assert_eq!(
        types(&requests[1].records()),
        ["platform.initStart", "platform.telemetrySubscription"]
    );
    let records: Vec<u64> = telemetry.deliveries().iter().map(|d| d.records).collect();
    assert_eq!(records, [1, 3]);
}

#[tokio::test]
async fn what_a_reset_left_over_is_sent_once() {
    let port = free_port().await;
    let telemetry = telemetry();
    subscribe(&telemetry, "e", &patient(port, &["platform"]));
    telemetry.publish(Event::Report(Report::default()));
    telemetry.reset();
    let mut listener = Listener::with(port, [Answer::Status(404)]).await;
    subscribe(&telemetry, "e", &patient(port, &["platform"]));
    assert!(telemetry.flush(BOUND).await);
    let requests = listener.requests(2).await;
    assert_eq!(
        types(&requests[1].records()),
        ["platform.telemetrySubscription"]
    );
    let [_, new] = telemetry.deliveries().try_into().unwrap();
    assert_eq!((new.dropped_records, new.failures), (2, 1));
}

#[tokio::test]
async fn what_a_reset_left_over_is_lost_on_another_port() {
    let telemetry = telemetry();
    subscribe(&telemetry, "e", &patient(free_port().await, &["platform"]));
    telemetry.publish(Event::Report(Report::default()));
    telemetry.reset();
    let mut listener = Listener::new().await;
    subscribe(&telemetry, "e", &patient(listener.port, &["platform"]));
    assert!(telemetry.flush(BOUND).await);
    assert_eq!(
        types(&listener.records(1).await),
        ["platform.telemetrySubscription"]
    );
    let [old, new] = telemetry.deliveries().try_into().unwrap();
    assert_eq!((old.dropped_records, old.queued_records), (2, 0));
    assert_eq!((new.dropped_records, new.records), (0, 1));
    let old = Arc::clone(&telemetry.shared.lock().subscribers[0]);
    let turn = telemetry.shared.turn(&old, Instant::now());
    assert!(matches!(turn, Turn::End));
}

#[tokio::test]
async fn a_line_too_long_for_a_record_is_cut_between_characters() {
    let mut listener = Listener::new().await;
    let telemetry = telemetry();
    subscribe(&telemetry, "e", &body(listener.port, &["extension"]));
    let line = format!("x{}", "\u{e9}".repeat(300_000));
    telemetry.publish(Event::ExtensionLog(line.clone()));
    telemetry.publish(Event::ExtensionLog(String::new()));
    let records = listener.records(4).await;
    let lengths: Vec<usize> = lines(&records).iter().map(|piece| piece.len()).collect();
    assert_eq!(lengths, [262_143, 262_144, 75_714, 0]);
    assert_eq!(lines(&records).concat(), line);
}

#[tokio::test]
async fn dropping_it_ends_its_deliveries() {
    let mut listener = Listener::with(0, [Answer::Status(200), Answer::Never]).await;
    let telemetry = telemetry();
    subscribe(&telemetry, "e", &body(listener.port, &["function"]));
    log(&telemetry, "one");
    listener.requests(1).await;
    log(&telemetry, "two");
    listener.requests(2).await;
    let shared = Arc::downgrade(&telemetry.shared);
    drop(telemetry);
    until(|| shared.strong_count() == 0).await;
    assert_eq!(listener.seen(), 2);
}

const BOUND: Duration = Duration::from_secs(20);

const SEQUENCE_ID: &str = "WEN+Wy/ooGNNn08T4TJM+E7ors6VB8bFBGaqzz9XG2I=";

/// `platform.telemetrySubscription` of an extension `e` with two types.
const SUBSCRIPTION_BYTES: u64 = 150;

//! What the emulator does not do: a platform of which the test plays every part by itself, for
//! answers that stop midway or never come, and for a process that is short of something.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use testkit::http::{Answer, Request, Server};
use testkit::pipe::named_pipe;
use testkit::process::has_read_all;

use crate::support::{example_path, leave_memory, stock};

/// How long anything may take.
const WAIT: Duration = Duration::from_secs(30);

/// The API that an extension was started with, and the extension.
pub(super) struct Platform {
    api: TcpListener,
    command: Command,
    pub(super) extension: Child,
    _folder: tempfile::TempDir,
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.extension.kill().ok();
        self.extension.wait().ok();
    }
}

/// A connection of the extension to its API.
pub(super) struct Connection {
    stream: BufReader<TcpStream>,
    /// Where the extension wants its telemetry.
    uri: String,
}

impl Connection {
    /// The next request, which has to be this one; its body.
    fn expect(&mut self, start: &str) -> Vec<u8> {
        let request = Request::read(&mut self.stream).unwrap().expect("a request");
        let line = format!("{} {} ", request.method, request.target);
        assert_eq!(line, start);
        request.body
    }

    fn answer(&mut self, head: &str, body: &str) {
        let length = body.len();
        let answer = format!("HTTP/1.1 {head}\r\nContent-Length: {length}\r\n\r\n{body}");
        self.stream.get_mut().write_all(answer.as_bytes()).unwrap();
    }

    fn register(&mut self) {
        self.expect("POST /2020-01-01/extension/register ");
        self.answer("200 OK\r\nLambda-Extension-Identifier: id-1", "{}");
    }

    fn subscribe(&mut self, status: &str) {
        let body = self.expect("PUT /2022-07-01/telemetry ");
        let body: Value = serde_json::from_slice(&body).unwrap();
        let uri = body["destination"]["URI"].as_str().unwrap();
        uri.clone_into(&mut self.uri);
        self.answer(status, "");
    }

    pub(super) fn next(&mut self) {
        self.expect("GET /2020-01-01/extension/event/next ");
    }

    /// A part of the answer to `next`, until it is read: by then a panic starts the program anew.
    fn answer_in_part(&mut self) {
        let part = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"eventType\":";
        self.stream.get_mut().write_all(part).unwrap();
        let deadline = Instant::now() + WAIT;
        while !has_read_all(self.stream.get_ref()) {
            pause(deadline);
        }
    }

    pub(super) fn invoke(&mut self, id: usize) {
        let event = format!(r#"{{"eventType":"INVOKE","requestId":"{id}","deadlineMs":0}}"#);
        self.answer("200 OK", &event);
    }

    /// A delivery of telemetry: the status of the answer.
    pub(super) fn deliver(&self, head: &str, body: &str) -> u16 {
        let (_, rest) = self.uri.split_once("//sandbox.localdomain:").unwrap();
        let (port, path) = rest.split_once('/').unwrap();
        let stream = TcpStream::connect(("127.0.0.1", port.parse().unwrap())).unwrap();
        stream.set_read_timeout(Some(WAIT)).unwrap();
        let mut stream = BufReader::new(stream);
        let request = format!("POST /{path} HTTP/1.1\r\n{head}\r\n\r\n{body}");
        stream.get_mut().write_all(request.as_bytes()).unwrap();
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        line.split(' ').nth(1).unwrap().parse().unwrap()
    }

    fn shut_down_at(&mut self, deadline_ms: u128) {
        let event = format!(
            r#"{{"eventType":"SHUTDOWN","shutdownReason":"spindown","deadlineMs":{deadline_ms}}}"#
        );
        self.answer("200 OK", &event);
    }

    pub(super) fn shut_down(&mut self, reason: &str) {
        let event =
            format!(r#"{{"eventType":"SHUTDOWN","shutdownReason":"{reason}","deadlineMs":0}}"#);
        self.answer("200 OK", &event);
    }
}

impl Platform {
    /// Starts `program` as an extension.
    pub(super) fn start(program: &Path, set: impl FnOnce(&mut Command)) -> Self {
        let api = TcpListener::bind("127.0.0.1:0").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let extensions = folder.path().join("extensions");
        std::fs::create_dir(&extensions).unwrap();
        let name = extensions.join("bantam");
        symlink(program, &name).unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let mut command = Command::new(name);
        command
            .env_clear()
            .env(
                "AWS_LAMBDA_RUNTIME_API",
                api.local_addr().unwrap().to_string(),
            )
            .env("BANTAM_TELEMETRY_PORT", port.to_string());
        set(&mut command);
        Self {
            api,
            extension: command.spawn().unwrap(),
            command,
            _folder: folder,
        }
    }

    /// Starts another one in the same environment, once the first has ended.
    /// The stock binary, which exports to this file.
    pub(super) fn with_file(file: &Path) -> Self {
        Self::start(&stock("").program, |command| {
            command
                .env("BANTAM_EXPORTERS", "ndjson")
                .env("BANTAM_NDJSON_FILE", file);
        })
    }

    fn start_again(&mut self) {
        assert_eq!(self.ended().code(), Some(0));
        self.extension = self.command.spawn().unwrap();
    }

    fn accept(&self) -> Connection {
        accept(&self.api)
    }

    /// Up to the first event.
    pub(super) fn ready(&self, subscribed: &str) -> Connection {
        let mut connection = self.accept();
        connection.register();
        connection.subscribe(subscribed);
        connection.next();
        connection
    }

    pub(super) fn end(mut self) -> ExitStatus {
        self.ended()
    }

    fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + WAIT;
        loop {
            if let Some(status) = self.extension.try_wait().unwrap() {
                return status;
            }
            pause(deadline);
        }
    }
}

fn accept(listener: &TcpListener) -> Connection {
    let deadline = Instant::now() + WAIT;
    listener.set_nonblocking(true).unwrap();
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).unwrap();
                stream.set_read_timeout(Some(WAIT)).unwrap();
                return Connection {
                    stream: BufReader::new(stream),
                    uri: String::new(),
                };
            }
            Err(_) => pause(deadline),
        }
    }
}

fn pause(deadline: Instant) {
    assert!(Instant::now() < deadline, "it takes too long");
    std::thread::sleep(Duration::from_millis(1));
}

#[test]
fn a_panic_within_an_answer_asks_for_the_next_event_anew() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = named_pipe(folder.path());
    let platform = Platform::start(&example_path("faulty_extension"), |command| {
        command.env("PIPE", &pipe);
    });
    let mut connection = platform.ready("202 Accepted");
    connection.answer_in_part();
    std::fs::write(&pipe, "now").unwrap();
    // The rest never comes, and the old connection is not waited on.
    let mut anew = platform.accept();
    anew.next();
    assert_eq!(connection.stream.read(&mut [0]).unwrap_or(0), 0);
    anew.shut_down("SpinDown");
    assert_eq!(platform.end().code(), Some(0));
}

/// An extension that panics once something is written to `pipe`, and exports to `receiver`.
fn faulty(pipe: &Path, receiver: &TcpListener, set: impl FnOnce(&mut Command)) -> Platform {
    Platform::start(&example_path("faulty_extension"), |command| {
        let endpoint = format!("http://{}", receiver.local_addr().unwrap());
        command
            .env("PIPE", pipe)
            .env("BANTAM_EXPORTERS", "otlp")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
        set(command);
    })
}

/// The initialization type does not say so here: only the answer to `register` did.
#[test]
fn an_extension_without_invoke_exports_by_the_clock_after_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = named_pipe(folder.path());
    let receiver = TcpListener::bind("127.0.0.1:0").unwrap();
    let platform = faulty(&pipe, &receiver, |command| {
        command
            .env("BANTAM_INTERVAL_MS", "0")
            .env("AWS_LAMBDA_INITIALIZATION_TYPE", "a-new-one");
    });
    let mut connection = platform.accept();
    connection.expect("POST /2020-01-01/extension/register ");
    let refused = r#"{"errorType":"Extension.InvalidEventType"}"#;
    connection.answer("403 Forbidden", refused);
    connection.register();
    connection.subscribe("202 Accepted");
    connection.next();
    connection.answer_in_part();
    std::fs::write(&pipe, "now").unwrap();
    let mut anew = platform.accept();
    anew.next();
    let _exported = accept(&receiver);
    anew.shut_down("SpinDown");
    drop(receiver);
    assert_eq!(platform.end().code(), Some(0));
}

/// Waits until a file has this text.
fn wait_for(file: &Path, text: &str) {
    let deadline = Instant::now() + WAIT;
    while !std::fs::read_to_string(file).is_ok_and(|lines| lines.contains(text)) {
        pause(deadline);
    }
}

/// Each invocation writes a line, behind which a panic starts a program that knows of it.
#[test]
fn a_program_after_a_panic_knows_how_far_its_environment_has_come() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = named_pipe(folder.path());
    let file = folder.path().join("out");
    let platform = Platform::start(&example_path("faulty_extension"), |command| {
        command
            .env("PIPE", &pipe)
            .env("BANTAM_INTERVAL_MS", "0")
            .env("BANTAM_EXPORTERS", "ndjson")
            .env("BANTAM_NDJSON_FILE", &file)
            .env("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start");
    });
    let mut connection = platform.ready("202 Accepted");
    connection.invoke(1);
    connection.next();
    wait_for(&file, "extension_memory");
    std::fs::write(&pipe, "now").unwrap();
    let mut anew = platform.accept();
    anew.next();
    anew.invoke(2);
    anew.next();
    anew.shut_down("spindown");
    assert_eq!(platform.end().code(), Some(0));
    let exported = std::fs::read_to_string(&file).unwrap();
    let starts = exported.matches(r#""name":"environment_starts""#).count();
    assert_eq!(starts, 1, "{exported}");
    let invocations = r#""name":"environment_invocations","kind":"distribution","unit":"1","attributes":{"shutdown_reason":"spindown"},"values":[2]"#;
    assert!(exported.contains(invocations), "{exported}");
    let restarts = r#""name":"extension_restarts""#;
    assert!(exported.contains(restarts), "{exported}");
}

#[test]
fn a_panic_after_shutdown_is_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = named_pipe(folder.path());
    // Whoever takes the connection and does not answer holds up the end until the deadline.
    let receiver = TcpListener::bind("127.0.0.1:0").unwrap();
    let platform = faulty(&pipe, &receiver, |_| {});
    let mut connection = platform.ready("202 Accepted");
    let mut pipe = std::fs::File::options().write(true).open(&pipe).unwrap();
    connection.answer("200 OK", r#"{"eventType":"SHUTDOWN","deadlineMs":9e15}"#);
    let _silent = accept(&receiver);
    pipe.write_all(b"now").unwrap();
    drop(pipe);
    assert_eq!(platform.end().code(), Some(0));
    assert_eq!(
        connection.stream.read(&mut [0]).unwrap_or(0),
        0,
        "nothing is asked"
    );
}

#[test]
fn a_subscription_that_is_never_answered_is_given_up() {
    let platform = Platform::start(&stock("").program, |_| {});
    let mut silent = platform.accept();
    silent.register();
    silent.expect("PUT /2022-07-01/telemetry ");
    let mut connection = platform.accept();
    connection.next();
    connection.shut_down("SpinDown");
    assert_eq!(platform.end().code(), Some(0));
}

#[test]
fn standard_output_and_error_that_nobody_reads_hold_up_nothing() {
    let platform = Platform::start(&stock("").program, |command| {
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A line in the log that is longer than a pipe.
            .env("BANTAM_EMF_NAMESPACE", "x".repeat(256))
            .env("BANTAM_EXPORTERS", format!("emf,{}", "x".repeat(100_000)))
            .env("BANTAM_INTERVAL_MS", "0");
    });
    let mut connection = platform.ready("200 OK");
    // Each one exports a line of some 800 bytes, and a pipe takes 65,536.
    for id in 0..200 {
        connection.invoke(id);
        connection.next();
        let batch = format!(
            r#"[{{"type":"platform.report","record":{{"requestId":"{id}","metrics":{{"durationMs":1}}}}}}]"#
        );
        let head = format!("Content-Length: {}", batch.len());
        assert_eq!(connection.deliver(&head, &batch), 200);
    }
    connection.shut_down("SpinDown");
    assert_eq!(platform.end().code(), Some(0));
}

#[test]
fn no_memory_for_a_delivery_costs_the_delivery() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out");
    let platform = Platform::with_file(&file);
    let mut connection = platform.ready("200 OK");
    assert_eq!(connection.deliver("Content-Length: 2", "[]"), 200);
    // Room for what it does anyway, and not for a delivery of the largest size.
    leave_memory(platform.extension.id(), 512);
    assert_eq!(connection.deliver("Content-Length: 1048576", "["), 503);
    assert_eq!(connection.deliver("Content-Length: 2", "[]"), 200);
    connection.shut_down("SpinDown");
    assert_eq!(platform.end().code(), Some(0));
    let exported = std::fs::read_to_string(&file).unwrap();
    let lost =
        r#""name":"dropped_deliveries","kind":"counter","unit":"1","attributes":{},"values":[1]"#;
    assert!(exported.contains(lost), "{exported}");
}

#[test]
fn a_process_after_a_reset_knows_what_it_follows() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out");
    let mut platform = Platform::with_file(&file);
    // How each ends, whether it was invoked, and what the one after it says of its own start.
    let table = [
        ("TIMEOUT", true, "timeout", "reset_after_timeout"),
        ("failure", true, "crash", "reset_after_crash"),
        ("failure", false, "failed_init", "init_retried_in_invoke"),
        (
            "spindown",
            true,
            "earlier_failure",
            "init_retried_in_invoke",
        ),
    ];
    for (reason, is_invoked, cause, kind) in table {
        let mut connection = platform.ready("200 OK");
        if is_invoked {
            connection.invoke(1);
            connection.next();
        }
        connection.shut_down(reason);
        platform.start_again();
        std::fs::remove_file(&file).unwrap();
        let mut connection = platform.ready("200 OK");
        let batch = r#"[{"type":"platform.initStart","record":{"initializationType":"on-demand","phase":"invoke"}},{"type":"platform.initReport","record":{"metrics":{"durationMs":7}}}]"#;
        let head = format!("Content-Length: {}", batch.len());
        assert_eq!(connection.deliver(&head, batch), 200);
        connection.invoke(2);
        connection.next();
        connection.shut_down("spindown");
        platform.start_again();
        let exported = std::fs::read_to_string(&file).unwrap();
        let kind = format!(
            r#""name":"cold_starts","kind":"counter","unit":"1","attributes":{{"cause":"{cause}","cold_start_kind":"{kind}"}}"#
        );
        assert!(exported.contains(&kind), "{kind} in {exported}");
    }
}

/// A receiver that accepts and never answers takes all the time there is, and no more. A machine
/// that is busy adds some, so the margin of each deadline is held on virtual time.
#[test]
fn the_end_takes_the_time_that_is_left() {
    let receiver = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", receiver.local_addr().unwrap());
    // How long until the deadline, and the least and the most that the end may take. A deadline of
    // 0 says nothing, and then 300 ms are taken.
    let table = [
        (None, 250, 2_000),
        (Some(1_500), 1_000, 1_500),
        (Some(80), 0, 80 + 150),
    ];
    for (left_ms, least_ms, most_ms) in table {
        let platform = Platform::start(&stock("").program, |command| {
            command
                .env("BANTAM_EXPORTERS", "otlp")
                .env("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint);
        });
        let mut connection = platform.ready("202 Accepted");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let started = Instant::now();
        connection.shut_down_at(left_ms.map_or(0, |left| now.as_millis() + left));
        assert_eq!(platform.end().code(), Some(0));
        let took = started.elapsed().as_millis();
        assert!(
            (least_ms..=most_ms).contains(&took),
            "{took} ms of {left_ms:?}"
        );
    }
}

/// Starts the extension by a shell that stays or ends, as a local tool would, and kills the tool.
fn abandoned(api: &str, folder: &Path, tool_ends: bool) -> (Child, u32) {
    let name = folder.join("bantam");
    symlink(stock("").program, &name).unwrap();
    let wait = if tool_ends { "" } else { "; wait" };
    let tool = Command::new("sh")
        .args(["-c", &format!("\"$0\" & echo $!{wait}")])
        .arg(&name)
        .env_clear()
        .env("AWS_LAMBDA_RUNTIME_API", api)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut tool = tool.unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(tool.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    (tool, line.trim().parse().unwrap())
}

fn is_alive(pid: u32) -> bool {
    !matches!(testkit::process::state(pid), None | Some('Z' | 'X'))
}

/// Under a local tool that was killed nobody will ever send SHUTDOWN.
#[test]
fn it_ends_when_the_tool_that_started_it_is_gone() {
    for is_registered in [true, false] {
        let api = TcpListener::bind("127.0.0.1:0").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let extensions = folder.path().join("extensions");
        std::fs::create_dir(&extensions).unwrap();
        let address = api.local_addr().unwrap().to_string();
        let (mut tool, extension) = abandoned(&address, &extensions, false);
        let mut connection = accept(&api);
        if is_registered {
            connection.register();
            connection.subscribe("202 Accepted");
            connection.next();
        }
        // The API goes first: the extension sees that while its parent lives.
        drop((connection, api));
        let deadline = Instant::now() + Duration::from_secs(1);
        while Instant::now() < deadline {
            assert!(is_alive(extension), "its parent lives");
            std::thread::sleep(Duration::from_millis(10));
        }
        tool.kill().unwrap();
        tool.wait().unwrap();
        let deadline = Instant::now() + WAIT;
        while is_alive(extension) {
            pause(deadline);
        }
    }
}

#[test]
fn it_stays_when_a_shell_that_started_it_has_ended() {
    let api = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let extensions = folder.path().join("extensions");
    std::fs::create_dir(&extensions).unwrap();
    let address = api.local_addr().unwrap().to_string();
    let (mut shell, extension) = abandoned(&address, &extensions, true);
    shell.wait().unwrap();
    let mut connection = accept(&api);
    connection.register();
    connection.subscribe("202 Accepted");
    connection.next();
    for id in 0..3 {
        connection.invoke(id);
        connection.next();
    }
    assert!(is_alive(extension));
    connection.shut_down("spindown");
    let deadline = Instant::now() + WAIT;
    while is_alive(extension) {
        pause(deadline);
    }
}

/// The warnings of an extension that is shut down at once, out of its JSON lines.
fn warnings(variables: &[(&str, &str)]) -> Vec<String> {
    let mut platform = Platform::start(&stock("").program, |command| {
        command
            .stderr(Stdio::piped())
            .env("AWS_LAMBDA_LOG_FORMAT", "JSON")
            .envs(variables.iter().copied());
    });
    let mut log = platform.extension.stderr.take().unwrap();
    platform.ready("202 Accepted").shut_down("spindown");
    assert_eq!(platform.end().code(), Some(0));
    let mut text = String::new();
    log.read_to_string(&mut text).unwrap();
    text.lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            assert_eq!(line["level"], "WARN");
            line["message"].as_str().unwrap().to_owned()
        })
        .collect()
}

#[test]
fn its_lines_are_json_where_the_log_is() {
    let messages = warnings(&[("BANTAM_INTERVAL_MS", "\"quoted\"")]);
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert!(messages[0].contains("BANTAM_INTERVAL_MS"), "{messages:?}");
    assert!(messages[1].contains("no telemetry"), "{messages:?}");
}

#[test]
fn settings_of_traces_that_it_does_not_send_are_named() {
    let endpoint = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
    let messages = warnings(&[
        ("BANTAM_EXPORTERS", "otlp"),
        ("BANTAM_TRACES", "starts"),
        (endpoint, "http://127.0.0.1:9/v1/traces"),
    ]);
    for name in ["BANTAM_TRACES", endpoint] {
        let start = format!("{name} changes nothing: ");
        let told = messages
            .iter()
            .filter(|message| message.starts_with(&start));
        assert_eq!(told.count(), 1, "{messages:?}");
    }
}

/// One line says so, however often it fails, and the first answer that is good is taken.
#[test]
fn calls_that_go_on_failing_are_logged_once() {
    let mut platform = Platform::start(&stock("").program, |command| {
        command.stderr(Stdio::piped());
    });
    let mut log = platform.extension.stderr.take().unwrap();
    let mut connection = platform.accept();
    for _ in 0..12 {
        connection.expect("POST /2020-01-01/extension/register ");
        connection.answer("500 Internal Server Error", "{}");
    }
    connection.register();
    connection.subscribe("202 Accepted");
    for _ in 0..12 {
        connection.next();
        connection.answer("403 Forbidden", "{}");
    }
    connection.next();
    connection.shut_down("spindown");
    assert_eq!(platform.end().code(), Some(0));
    let mut text = String::new();
    log.read_to_string(&mut text).unwrap();
    for (call, status) in [("register fails", "500"), ("event/next fails", "403")] {
        let mut lines = text.lines().filter(|line| line.contains(call));
        assert!(
            lines.next().is_some_and(|line| line.contains(status)),
            "{text}"
        );
        assert_eq!(lines.next(), None, "{text}");
    }
}

/// A receiver that refuses every batch: the log has its address, status and words, and the last
/// line has the number of everything that was lost.
#[test]
fn what_a_receiver_refuses_is_logged_and_counted() {
    for (status, words) in [("404", "no such path"), ("401", "bad token")] {
        let length = words.len();
        let refusal =
            format!("HTTP/1.1 {status} Refused\r\nContent-Length: {length}\r\n\r\n{words}");
        let receiver = Server::start(move |_, _| Answer::Bytes(refusal.clone().into_bytes()));
        let mut platform = Platform::start(&stock("").program, |command| {
            let endpoint = format!("http://{}", receiver.address);
            command
                .stderr(Stdio::piped())
                .env("BANTAM_EXPORTERS", "otlp")
                .env("BANTAM_INTERVAL_MS", "0")
                .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
        });
        let mut log = platform.extension.stderr.take().unwrap();
        let mut connection = platform.ready("202 Accepted");
        for id in 0..20 {
            connection.invoke(id);
            connection.next();
        }
        connection.shut_down("spindown");
        assert_eq!(platform.end().code(), Some(0));
        let mut text = String::new();
        log.read_to_string(&mut text).unwrap();
        let mut lines = text
            .lines()
            .filter(|line| line.contains("OTLP receiver http://") && line.contains("/v1/metrics"));
        let line = lines.next().unwrap_or_else(|| panic!("{text}"));
        assert!(
            line.contains(&format!("/v1/metrics answers {status} {words}")),
            "{line}"
        );
        assert_eq!(lines.next(), None, "once a minute: {text}");
        // Each invocation has at least its own point.
        let last = text.lines().last().unwrap();
        let (before, behind) = last.split_once(" points ").unwrap();
        assert_eq!(behind.starts_with("and 0 spans"), cfg!(feature = "traces"));
        let lost: u32 = before.rsplit(['\t', ' ']).next().unwrap().parse().unwrap();
        assert!(20 <= lost, "{last}");
    }
}

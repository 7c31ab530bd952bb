//! What the emulator does not do: a platform of which the test plays every part by itself, for
//! answers that stop midway or never come, and for a process that is short of something.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use testkit::http::Request;
use testkit::pipe::named_pipe;
use testkit::process::has_read_all;

use crate::support::{example_path, leave_memory, stock};

/// How long anything may take.
const WAIT: Duration = Duration::from_secs(30);

/// The API that an extension was started with, and the extension.
struct Platform {
    api: TcpListener,
    command: Command,
    extension: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.extension.kill().ok();
        self.extension.wait().ok();
    }
}

/// A connection of the extension to its API.
struct Connection(BufReader<TcpStream>);

impl Connection {
    /// The next request, which has to be this one.
    fn expect(&mut self, start: &str) {
        let request = Request::read(&mut self.0).unwrap().expect("a request");
        let line = format!("{} {} ", request.method, request.target);
        assert_eq!(line, start);
    }

    fn answer(&mut self, head: &str, body: &str) {
        let length = body.len();
        let answer = format!("HTTP/1.1 {head}\r\nContent-Length: {length}\r\n\r\n{body}");
        self.0.get_mut().write_all(answer.as_bytes()).unwrap();
    }

    fn register(&mut self) {
        self.expect("POST /2020-01-01/extension/register ");
        self.answer("200 OK\r\nLambda-Extension-Identifier: id-1", "{}");
    }

    fn subscribe(&mut self, status: &str) {
        self.expect("PUT /2022-07-01/telemetry ");
        self.answer(status, "");
    }

    fn next(&mut self) {
        self.expect("GET /2020-01-01/extension/event/next ");
    }

    fn invoke(&mut self, id: usize) {
        let event = format!(r#"{{"eventType":"INVOKE","requestId":"{id}","deadlineMs":0}}"#);
        self.answer("200 OK", &event);
    }

    fn shut_down(&mut self, reason: &str) {
        let event =
            format!(r#"{{"eventType":"SHUTDOWN","shutdownReason":"{reason}","deadlineMs":0}}"#);
        self.answer("200 OK", &event);
    }
}

impl Platform {
    /// Starts `program` as an extension.
    fn start(program: &Path, set: impl FnOnce(&mut Command)) -> Self {
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
            port,
            _folder: folder,
        }
    }

    /// Starts another one in the same environment, once the first has ended.
    fn start_again(&mut self) {
        assert_eq!(self.ended().code(), Some(0));
        self.extension = self.command.spawn().unwrap();
    }

    fn accept(&self) -> Connection {
        accept(&self.api)
    }

    /// Up to the first event.
    fn ready(&self, subscribed: &str) -> Connection {
        let mut connection = self.accept();
        connection.register();
        connection.subscribe(subscribed);
        connection.next();
        connection
    }

    /// A delivery of telemetry: the status of the answer.
    fn deliver(&self, head: &str, body: &str) -> u16 {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(WAIT)).unwrap();
        let mut stream = BufReader::new(stream);
        let request = format!("POST / HTTP/1.1\r\n{head}\r\n\r\n{body}");
        stream.get_mut().write_all(request.as_bytes()).unwrap();
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        line.split(' ').nth(1).unwrap().parse().unwrap()
    }

    fn end(mut self) -> ExitStatus {
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
                return Connection(BufReader::new(stream));
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
    let part = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"eventType\":";
    connection.0.get_mut().write_all(part).unwrap();
    let deadline = Instant::now() + WAIT;
    while !has_read_all(connection.0.get_ref()) {
        pause(deadline);
    }
    std::fs::write(&pipe, "now").unwrap();
    // The rest never comes, and the old connection is not waited on.
    let mut anew = platform.accept();
    anew.next();
    assert_eq!(connection.0.read(&mut [0]).unwrap_or(0), 0);
    anew.shut_down("SpinDown");
    assert_eq!(platform.end().code(), Some(0));
}

#[test]
fn a_panic_after_shutdown_is_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = named_pipe(folder.path());
    // Whoever takes the connection and does not answer holds up the end until the deadline.
    let receiver = TcpListener::bind("127.0.0.1:0").unwrap();
    let platform = Platform::start(&example_path("faulty_extension"), |command| {
        let endpoint = format!("http://{}", receiver.local_addr().unwrap());
        command
            .env("PIPE", &pipe)
            .env("BANTAM_EXPORTERS", "otlp")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
    });
    let mut connection = platform.ready("202 Accepted");
    let mut pipe = std::fs::File::options().write(true).open(&pipe).unwrap();
    connection.answer("200 OK", r#"{"eventType":"SHUTDOWN","deadlineMs":9e15}"#);
    let _silent = accept(&receiver);
    pipe.write_all(b"now").unwrap();
    drop(pipe);
    assert_eq!(platform.end().code(), Some(0));
    assert_eq!(
        connection.0.read(&mut [0]).unwrap_or(0),
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
        assert_eq!(platform.deliver(&head, &batch), 200);
    }
    connection.shut_down("SpinDown");
    assert_eq!(platform.end().code(), Some(0));
}

#[test]
fn no_memory_for_a_delivery_costs_the_delivery() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out");
    let platform = Platform::start(&stock("").program, |command| {
        command
            .env("BANTAM_EXPORTERS", "ndjson")
            .env("BANTAM_NDJSON_FILE", &file);
    });
    let mut connection = platform.ready("200 OK");
    assert_eq!(platform.deliver("Content-Length: 2", "[]"), 200);
    // Room for what it does anyway, and not for a delivery of the largest size.
    leave_memory(platform.extension.id(), 512);
    assert_eq!(platform.deliver("Content-Length: 1048576", "["), 503);
    assert_eq!(platform.deliver("Content-Length: 2", "[]"), 200);
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
    let mut platform = Platform::start(&stock("").program, |command| {
        command
            .env("BANTAM_EXPORTERS", "ndjson")
            .env("BANTAM_NDJSON_FILE", &file);
    });
    // How each ends, whether it was invoked, and what the one after it says of its own start.
    let table = [
        ("TIMEOUT", true, "reset_after_timeout"),
        ("failure", true, "reset_after_crash"),
        ("failure", false, "init_retried_in_invoke"),
        ("spindown", true, "init_retried_in_invoke"),
    ];
    for (reason, is_invoked, kind) in table {
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
        assert_eq!(platform.deliver(&head, batch), 200);
        connection.invoke(2);
        connection.next();
        connection.shut_down("spindown");
        platform.start_again();
        let exported = std::fs::read_to_string(&file).unwrap();
        let kind = format!(
            r#""name":"cold_starts","kind":"counter","unit":"1","attributes":{{"cold_start_kind":"{kind}"}}"#
        );
        assert!(exported.contains(&kind), "{kind} in {exported}");
    }
}

//! The stock binary with executables whose responses are streamed.

use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bantam_emulator::{Config, Invoke, Outcome};
use serde_json::{Value, json};
use testkit::child::Child;
use testkit::http::read_until;
use testkit::pipe::named_pipe;

use crate::support::{answers, ending_by_itself, start, stock};

/// What a response with a prelude has as its type.
const HTTP: &str = "application/vnd.awslambda.http-integration-response";

const PLAIN: &str = "application/octet-stream";

fn with(mut config: Config, name: &str, value: &str) -> Config {
    config.env.push((name.to_owned(), value.to_owned()));
    config
}

fn streaming(handler: &str) -> Config {
    with(stock(handler), "BANTAM_INVOKE_MODE", "response_stream")
}

fn persistent() -> Config {
    with(stock("persistent.sh"), "BANTAM_HANDLER_MODE", "persistent")
}

/// The error type as the platform records it, and the message.
fn failure(outcome: &Outcome) -> (String, String) {
    let error = outcome.function_error.as_ref().expect("a function error");
    let document: Value = serde_json::from_slice(&error.body).unwrap();
    let message = document["errorMessage"].as_str().unwrap().to_owned();
    (error.error_type.clone(), message)
}

#[test]
fn the_output_is_the_response_whatever_it_is() {
    let env = start(streaming("streaming.sh"));
    let http =
        b"{\"statusCode\":201,\"headers\":{\"Content-Type\":\"text/html\"}}\0\0\0\0\0\0\0\0<p>";
    let large = format!(r#"{{"do":"echo","pad":"{}"}}"#, "x".repeat(1_000_000));
    let table: [(&str, &[u8], &str); 4] = [
        (r#"{"do":"echo"}"#, br#"{"do":"echo"}"#, PLAIN),
        (&large, large.as_bytes(), PLAIN),
        (r#"{"do":"nothing"}"#, b"", PLAIN),
        (r#"{"do":"http"}"#, http, HTTP),
    ];
    for (event, expected, content_type) in table {
        let outcome = env.invoke(event).unwrap();
        assert_eq!(outcome.function_error, None);
        assert!(outcome.streamed);
        assert!(outcome.body == expected, "{event}");
        assert_eq!(outcome.content_type.as_deref(), Some(content_type));
        assert_eq!(answers(&env, &outcome), 1);
    }
    assert_eq!(env.spawned(), 1);
}

#[test]
fn a_failure_is_told_in_the_trailers_once_something_was_sent() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = named_pipe(folder.path());
    let config = with(streaming("streaming.sh"), "PIPE", pipe.to_str().unwrap());
    let env = start(ending_by_itself(config, 4));
    let table = [
        (
            "fail",
            "Function.ExitStatus",
            "exit status: 3: the disk is full",
            true,
        ),
        (
            "fail-at-once",
            "Function.ExitStatus",
            "exit status: 3: the disk is full",
            false,
        ),
        ("hang", "Function.Timeout", "before the deadline", true),
    ];
    for (event, error_type, message, streamed) in table {
        let outcome = std::thread::scope(|scope| {
            let outcome = scope.spawn(|| env.invoke(json!({"do": event}).to_string()).unwrap());
            if event == "fail" {
                std::fs::write(&pipe, "two").unwrap();
            }
            outcome.join().unwrap()
        });
        let found = failure(&outcome);
        assert_eq!(found.0, error_type, "{event}");
        assert!(found.1.ends_with(message), "{}", found.1);
        assert_eq!(outcome.streamed, streamed, "{event}");
        assert_eq!(answers(&env, &outcome), 1, "{event}");
    }
    let outcome = env.invoke(r#"{"do":"echo"}"#).unwrap();
    assert_eq!(outcome.body, br#"{"do":"echo"}"#);
    assert_eq!(env.spawned(), 1, "the platform saw no timeout");
}

/// The wait for more ends at the deadline, or the write of what came: whichever is first.
#[test]
fn a_response_that_goes_on_ends_at_the_deadline() {
    let table = [
        (streaming("streaming.sh"), "trickle"),
        (persistent(), "stream-trickle"),
    ];
    for (config, event) in table {
        let outcome = start(ending_by_itself(config, 2))
            .invoke(json!({"do": event}).to_string())
            .unwrap();
        assert_eq!(failure(&outcome).0, "Function.Timeout", "{event}");
        assert!(outcome.streamed, "{event}");
    }
}

#[test]
fn the_limit_holds_to_the_byte() {
    for (bytes, over) in [(200 * 1024 * 1024, false), (200 * 1024 * 1024 + 1, true)] {
        let mut config = with(streaming("streaming.sh"), "BYTES", &bytes.to_string());
        config.timeout = Duration::from_secs(300);
        let env = start(config);
        let invoke = Invoke {
            streaming: true,
            ..Invoke::new(r#"{"do":"large"}"#)
        };
        let outcome = env.invoke_with(invoke).unwrap();
        if over {
            assert_eq!(failure(&outcome).0, "Function.ResponseSizeTooLarge");
        } else {
            assert_eq!(outcome.function_error, None);
            assert_eq!(outcome.body.len(), bytes);
        }
        // One piece of 64 KiB is in memory.
        let peak = env.environments()[0].peak_memory_kb().unwrap();
        assert!(peak < 16 * 1024, "{peak} KiB");
    }
}

#[test]
fn an_unknown_invoke_mode_is_an_init_error() {
    for mode in ["per-invocation", "persistent"] {
        let config = with(stock("handler.sh"), "BANTAM_INVOKE_MODE", "stream");
        let env = start(with(config, "BANTAM_HANDLER_MODE", mode));
        let (recorded, document) = env.fail("{}");
        assert_eq!(recorded, "Runtime.InvalidInvokeMode");
        assert_eq!(
            document["errorMessage"],
            "BANTAM_INVOKE_MODE is \"stream\", expected buffered or response_stream"
        );
    }
    let env = start(with(stock("handler.sh"), "BANTAM_INVOKE_MODE", "buffered"));
    let outcome = env.invoke(r#"{"do":"echo"}"#).unwrap();
    assert!(!outcome.streamed);
}

#[test]
fn the_example_sends_events_behind_its_prelude() {
    let mut config = streaming("sse.sh");
    config.task_root = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let outcome = start(config).invoke("{}").unwrap();
    assert_eq!(outcome.function_error, None);
    assert_eq!(outcome.content_type.as_deref(), Some(HTTP));
    let expected = concat!(
        r#"{"statusCode":200,"headers":{"Content-Type":"text/event-stream"}}"#,
        "\0\0\0\0\0\0\0\0data: 1\n\ndata: 2\n\ndata: 3\n\n"
    );
    assert_eq!(String::from_utf8(outcome.body).unwrap(), expected);
}

#[test]
fn a_part_is_sent_while_the_handler_runs() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = named_pipe(folder.path());
    for handler_mode in ["per-invocation", "persistent"] {
        let handler = match handler_mode {
            "persistent" => persistent(),
            _ => streaming("streaming.sh"),
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut bootstrap = Command::new(&handler.program);
        bootstrap
            .arg0("bootstrap")
            .env_clear()
            .envs(handler.env)
            .env("PIPE", &pipe)
            .env("LAMBDA_TASK_ROOT", &handler.task_root)
            .env("_HANDLER", &handler.handler)
            .env(
                "AWS_LAMBDA_RUNTIME_API",
                listener.local_addr().unwrap().to_string(),
            );
        // Dropped, and with that ended, before the folder is.
        let _bootstrap = Child::start(&mut bootstrap, folder.path(), handler_mode);
        let (mut connection, _) = listener.accept().unwrap();
        connection
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        read_until(&mut connection, "\r\n\r\n");
        let event = r#"{"do":"wait"}"#;
        let length = event.len();
        write!(
            connection,
            "HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: 1\r\nContent-Length: {length}\r\n\r\n\
             {event}"
        )
        .unwrap();
        let head = read_until(&mut connection, "\r\n\r\n");
        assert!(head.contains("/invocation/1/response"), "{head}");
        assert!(
            head.contains("Lambda-Runtime-Function-Response-Mode: streaming"),
            "{head}"
        );
        assert!(read_until(&mut connection, "one\r\n").ends_with("3\r\none\r\n"));
        std::fs::write(&pipe, "two\n").unwrap();
        let rest = read_until(&mut connection, "0\r\n\r\n");
        assert!(rest.contains("two"), "{rest}");
    }
}

#[test]
fn a_persistent_handler_streams_by_the_lines_that_it_writes() {
    let env = start(persistent());
    let http = b"{\"statusCode\":201}\0\0\0\0\0\0\0\0one\xFFtwo";
    let table: [(&str, &[u8], &str); 3] = [
        ("stream", b"one\ntwo\xC3\xA9", PLAIN),
        ("stream-http", http, HTTP),
        ("stream-nothing", b"", PLAIN),
    ];
    for (event, expected, content_type) in table {
        let outcome = env.invoke(json!({"do": event}).to_string()).unwrap();
        assert_eq!(outcome.function_error, None, "{event}");
        assert!(outcome.streamed);
        assert_eq!(outcome.body, expected, "{event}");
        assert_eq!(outcome.content_type.as_deref(), Some(content_type));
        assert_eq!(answers(&env, &outcome), 1);
    }
    let outcome = env.invoke(r#"{"do":"stream-error"}"#).unwrap();
    assert_eq!(
        failure(&outcome),
        ("Function.OutOfStock".to_owned(), "nothing left".to_owned())
    );
    assert!(outcome.streamed);
    // One process has served them all.
    assert_eq!(env.respond(r#"{"do":"count"}"#), 5);
}

#[test]
fn a_persistent_handler_that_breaks_a_stream_is_replaced() {
    let env = start(ending_by_itself(persistent(), 4));
    let table = [
        (
            "stream-exit",
            "Function.ExitStatus",
            "exit status: 6: giving up",
        ),
        ("stream-hang", "Function.Timeout", "after each line)"),
        (
            "stream-response",
            "Function.ProtocolError",
            "it wrote a response or a prelude behind a chunk",
        ),
        (
            "stream-prelude",
            "Function.ProtocolError",
            "it wrote a response or a prelude behind a chunk",
        ),
        (
            "stream-garbage",
            "Function.ProtocolError",
            "for answers alone)",
        ),
        (
            "stream-two",
            "Function.ProtocolError",
            "it wrote more than one line",
        ),
    ];
    for (event, error_type, message) in table {
        let outcome = env.invoke(json!({"do": event}).to_string()).unwrap();
        let found = failure(&outcome);
        assert_eq!(found.0, error_type, "{event}");
        assert!(found.1.ends_with(message), "{event}: {}", found.1);
        assert!(outcome.streamed);
        assert_eq!(answers(&env, &outcome), 1);
        assert_eq!(
            env.respond(r#"{"do":"count"}"#),
            1,
            "{event}: a fresh process"
        );
    }
    assert_eq!(env.spawned(), 1);
}

//! Responses that are streamed, by the runtime, to the caller, or both: the test is either.

use std::io::{ErrorKind, Write as _};
use std::thread;
use std::time::{Duration, Instant};

use aws_smithy_eventstream::frame::{DecodedFrame, MessageFrameDecoder};
use bantam_emulator::{
    Config, Emulator, Initialization, Invoke, StreamRate, UrlInvokeMode, answers,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use serde_json::{Value, json};
use testkit::http::Client;

use crate::support::{RuntimeClient as _, RuntimeResponse as _, attached, attached_with};

const PATH: &str = "/2021-11-15/functions/function/response-streaming-invocations";
const BUFFERED: &str = "/2015-03-31/functions/function/invocations";

/// A runtime and a caller of one function.
struct Ends {
    emulator: Emulator,
    runtime: Client,
    caller: Client,
}

fn ends(config: Config) -> Ends {
    let (emulator, runtime) = attached_with(config);
    let caller = Client::connect(emulator.invoke_addr());
    Ends {
        emulator,
        runtime,
        caller,
    }
}

fn url() -> Ends {
    let mut config = Config::new("");
    config.url_invoke_mode = UrlInvokeMode::ResponseStream;
    ends(config)
}

fn begin(runtime: &mut Client, id: &str, content_type: &str) {
    let head = format!(
        "POST /2018-06-01/runtime/invocation/{id}/response HTTP/1.1\r\nHost: x\r\n\
         Content-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\
         Lambda-Runtime-Function-Response-Mode: streaming\r\n\r\n"
    );
    runtime.write(head.as_bytes()).unwrap();
}

fn write(runtime: &mut Client, data: &str) {
    let chunk = format!("{:x}\r\n{data}\r\n", data.len());
    runtime.write(chunk.as_bytes()).unwrap();
}

impl Ends {
    /// Invokes, and lets the runtime take the event; the request id.
    fn invoke(&mut self, path: &str, headers: &[(&str, &str)]) -> String {
        self.caller.send("POST", path, headers, b"{}");
        self.runtime.next().request_id()
    }

    /// Begins a response with this content type.
    fn begin(&mut self, id: &str, content_type: &str) {
        begin(&mut self.runtime, id, content_type);
    }

    fn write(&mut self, data: &str) {
        write(&mut self.runtime, data);
    }

    fn finish(&mut self) {
        self.runtime.write(b"0\r\n\r\n").unwrap();
        self.is_over();
    }

    fn fail(&mut self, document: &str) {
        let body = STANDARD.encode(document);
        let trailers = format!(
            "0\r\nLambda-Runtime-Function-Error-Type: Function.Asked\r\n\
             Lambda-Runtime-Function-Error-Body: {body}\r\n\r\n"
        );
        self.runtime.write(trailers.as_bytes()).unwrap();
        self.is_over();
    }

    /// The response was accepted, and the runtime waits for the next event.
    fn is_over(&mut self) {
        assert_eq!(self.runtime.response().unwrap().status, 202);
        self.runtime
            .send("GET", "/2018-06-01/runtime/invocation/next", &[], b"");
    }

    /// The next event of the stream: its type and its payload.
    fn event(&mut self) -> (String, Vec<u8>) {
        let mut bytes = BytesMut::new();
        let mut decoder = MessageFrameDecoder::new();
        loop {
            let chunk = self.caller.chunk().unwrap().unwrap();
            bytes.extend_from_slice(&chunk);
            if let DecodedFrame::Complete(message) = decoder.decode_frame(&mut bytes).unwrap() {
                assert!(bytes.is_empty(), "an event is a chunk");
                let header = |name: &str| {
                    let mut headers = message.headers().iter();
                    let found = headers.find(|header| header.name().as_str() == name);
                    let value = found.unwrap().value().as_string().unwrap();
                    value.as_str().to_owned()
                };
                assert_eq!(header(":message-type"), "event");
                return (header(":event-type"), message.payload().to_vec());
            }
        }
    }

    fn payload(&mut self) -> String {
        let (kind, payload) = self.event();
        assert_eq!(kind, "PayloadChunk");
        String::from_utf8(payload).unwrap()
    }

    /// The last event, behind which the response ends.
    fn complete(&mut self) -> Value {
        let (kind, payload) = self.event();
        assert_eq!(kind, "InvokeComplete");
        assert_eq!(self.caller.chunk().unwrap(), None);
        serde_json::from_slice(&payload).unwrap()
    }
}

#[test]
fn each_part_reaches_the_caller_before_the_next_is_sent() {
    let mut ends = ends(Config::new(""));
    let id = ends.invoke(PATH, &[("X-Amz-Log-Type", "Tail")]);
    ends.begin(&id, "text/plain");
    ends.write("one");
    let head = ends.caller.head().unwrap();
    assert_eq!(head.status, 200);
    let field = |name: &str| {
        let mut fields = head.headers.iter();
        let found = fields.find(|(field, _)| field.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    };
    assert_eq!(
        field("content-type"),
        Some("application/vnd.amazon.eventstream")
    );
    assert_eq!(field("x-amzn-requestid"), Some(id.as_str()));
    assert_eq!(field("x-amz-executed-version"), Some("$LATEST"));
    assert_eq!(ends.payload(), "one");
    ends.write("two");
    assert_eq!(ends.payload(), "two");
    ends.finish();
    let complete = ends.complete();
    assert_eq!(complete.get("ErrorCode"), None);
    let log = STANDARD
        .decode(complete["LogResult"].as_str().unwrap())
        .unwrap();
    assert!(
        String::from_utf8(log)
            .unwrap()
            .starts_with("START RequestId")
    );
    assert_eq!(answers(&ends.emulator.transcript(), &id), 1);
}

#[test]
fn a_failure_is_in_the_last_event() {
    let document = r#"{"errorMessage":"asked","errorType":"Asked"}"#;
    let failed = json!({"ErrorCode": "Unhandled", "ErrorDetails": document});
    let mut ends = ends(Config::new(""));
    let id = ends.invoke(PATH, &[]);
    ends.begin(&id, "text/plain");
    ends.write("one");
    ends.fail(document);
    ends.caller.head().unwrap();
    assert_eq!(ends.payload(), "one");
    assert_eq!(ends.complete(), failed);
}

#[test]
fn a_response_that_never_begins_is_a_failure_too() {
    let document = r#"{"errorMessage":"asked","errorType":"Asked"}"#;
    let mut ends = ends(Config::new(""));
    let id = ends.invoke(PATH, &[]);
    let headers = [("Lambda-Runtime-Function-Error-Type", "Function.Asked")];
    let answer = ends
        .runtime
        .report(&id, "error", &headers, document.as_bytes());
    assert_eq!(answer.status, 202);
    ends.runtime
        .send("GET", "/2018-06-01/runtime/invocation/next", &[], b"");
    assert_eq!(ends.caller.head().unwrap().status, 200);
    let failed = json!({"ErrorCode": "Unhandled", "ErrorDetails": document});
    assert_eq!(ends.complete(), failed);
}

#[test]
fn a_response_that_is_cut_off_is_a_failure() {
    let mut ends = ends(Config::new(""));
    let id = ends.invoke(PATH, &[]);
    ends.begin(&id, "text/plain");
    ends.write("one");
    ends.caller.head().unwrap();
    assert_eq!(ends.payload(), "one");
    ends.runtime.finish_writing().unwrap();
    assert_eq!(ends.runtime.response().unwrap().status, 400);
    ends.runtime.reconnect();
    ends.runtime
        .send("GET", "/2018-06-01/runtime/invocation/next", &[], b"");
    let complete = ends.complete();
    assert_eq!(complete["ErrorCode"], "Unhandled");
    let details = complete["ErrorDetails"].as_str().unwrap();
    assert!(details.contains("Runtime.TruncatedResponse"), "{details}");
}

#[test]
fn a_timeout_ends_a_stream() {
    let mut config = Config::new("");
    config.timeout = Duration::from_secs(2);
    let mut ends = ends(config);
    let id = ends.invoke(PATH, &[]);
    ends.begin(&id, "text/plain");
    ends.write("one");
    ends.caller.head().unwrap();
    assert_eq!(ends.payload(), "one");
    let complete = ends.complete();
    let details = complete["ErrorDetails"].as_str().unwrap();
    assert!(
        details.contains("timed out after 2.00 seconds"),
        "{details}"
    );
}

#[test]
fn a_response_that_the_runtime_does_not_stream_is_one_part() {
    let mut ends = ends(Config::new(""));
    let id = ends.invoke(PATH, &[]);
    assert_eq!(
        ends.runtime.report(&id, "response", &[], b"whole").status,
        202
    );
    ends.runtime
        .send("GET", "/2018-06-01/runtime/invocation/next", &[], b"");
    ends.caller.head().unwrap();
    assert_eq!(ends.payload(), "whole");
    assert_eq!(ends.complete(), json!({}));
}

#[test]
fn a_streamed_response_to_a_buffered_invocation_is_whole_and_has_its_limit() {
    let mut ends = ends(Config::new(""));
    let id = ends.invoke(BUFFERED, &[]);
    ends.begin(&id, "text/plain");
    ends.write("one");
    ends.write("two");
    ends.finish();
    let answer = ends.caller.response().unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "onetwo"));

    ends.caller.send("POST", BUFFERED, &[], b"{}");
    let id = ends.runtime.response().unwrap().request_id();
    ends.begin(&id, "text/plain");
    let megabyte = "x".repeat(1024 * 1024);
    for _ in 0..6 {
        ends.write(&megabyte);
    }
    ends.write(&"x".repeat(101));
    ends.runtime.write(b"0\r\n\r\n").unwrap();
    assert_eq!(ends.runtime.response().unwrap().status, 413);
    ends.runtime
        .send("GET", "/2018-06-01/runtime/invocation/next", &[], b"");
    let answer = ends.caller.response().unwrap();
    assert_eq!(answer.json()["errorType"], "Function.ResponseSizeTooLarge");
}

#[test]
fn what_cannot_run_is_refused_with_a_status() {
    let (emulator, _runtime) = attached();
    let mut caller = Client::connect(emulator.invoke_addr());
    let other = PATH.replace("/function/", "/other/");
    let event = [("X-Amz-Invocation-Type", "Event")];
    let dry = [("X-Amz-Invocation-Type", "DryRun")];
    let large = vec![b'1'; 6_291_557];
    type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [u8], u16, &'a str);
    let table: [Row<'_>; 5] = [
        (&other, &[], b"{}", 404, "ResourceNotFoundException"),
        (PATH, &[], b"{", 400, "InvalidRequestContentException"),
        (PATH, &event, b"{}", 400, "InvalidParameterValueException"),
        (PATH, &[], &large, 413, "RequestTooLargeException"),
        (PATH, &dry, b"{}", 204, ""),
    ];
    for (path, headers, body, status, error_type) in table {
        let answer = caller.post(path, headers, body);
        assert_eq!(answer.status, status, "{path} {headers:?}");
        let found = answer.headers.iter();
        let mut found = found.filter(|(name, _)| name.eq_ignore_ascii_case("x-amzn-errortype"));
        assert_eq!(found.next().map_or("", |(_, value)| value), error_type);
    }
}

#[test]
fn a_caller_who_reads_slowly_holds_the_runtime_back() {
    let mut ends = ends(Config::new(""));
    let id = ends.invoke(PATH, &[]);
    ends.begin(&id, "text/plain");
    let data = "x".repeat(64 * 1024);
    let chunk = format!("{:x}\r\n{data}\r\n", data.len());
    let mut stream = ends.runtime.stream();
    stream
        .set_write_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    // Far more than the buffers of four sockets.
    let mut written = 0;
    let mut rest: &[u8] = b"";
    while written < 200 * 1024 * 1024 {
        if rest.is_empty() {
            rest = chunk.as_bytes();
        }
        match stream.write(rest) {
            Ok(count) => {
                written += count;
                rest = &rest[count..];
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                break;
            }
        }
    }
    assert!(
        written < 100 * 1024 * 1024,
        "{written} bytes are on the way"
    );
    stream.set_write_timeout(None).unwrap();
    let mut runtime = stream.try_clone().unwrap();
    let end = [rest, b"0\r\n\r\n"].concat();
    let writer = thread::spawn(move || runtime.write_all(&end).unwrap());
    ends.caller.head().unwrap();
    let mut length = 0;
    loop {
        let (kind, payload) = ends.event();
        if kind == "InvokeComplete" {
            break;
        }
        length += payload.len();
    }
    writer.join().unwrap();
    assert_eq!(length % data.len(), 0);
    assert!(written - chunk.len() <= length * chunk.len() / data.len());
    ends.is_over();
}

#[test]
fn a_stream_is_as_slow_as_its_rate_behind_the_burst() {
    let mut config = Config::new("");
    config.stream_rate = Some(StreamRate {
        burst_bytes: 100_000,
        bytes_per_second: 200_000,
    });
    let mut ends = ends(config);
    let id = ends.invoke(PATH, &[]);
    let start = Instant::now();
    ends.begin(&id, "text/plain");
    ends.caller.head().unwrap();
    for _ in 0..10 {
        ends.write(&"x".repeat(20_000));
    }
    ends.runtime.write(b"0\r\n\r\n").unwrap();
    let mut length = 0;
    loop {
        let (kind, payload) = ends.event();
        if kind == "InvokeComplete" {
            break;
        }
        length += payload.len();
    }
    ends.is_over();
    assert_eq!(length, 200_000);
    // It may take longer, but not less: what is behind the burst comes at the rate.
    assert!(Duration::from_millis(500) <= start.elapsed());
}

#[test]
fn a_caller_who_hangs_up_does_not_end_the_invocation() {
    let mut ends = ends(Config::new(""));
    let id = ends.invoke(PATH, &[]);
    ends.begin(&id, "text/plain");
    ends.write("one");
    ends.caller.head().unwrap();
    assert_eq!(ends.payload(), "one");
    ends.caller.reconnect();
    for _ in 0..1_000 {
        ends.write(&"x".repeat(10_000));
    }
    ends.finish();
    assert_eq!(answers(&ends.emulator.transcript(), &id), 1);
}

#[test]
fn two_hundred_megabytes_are_streamed_and_not_a_byte_more() {
    let megabyte = "x".repeat(1 << 20);
    for over in ["", "y"] {
        let mut config = Config::new("");
        // On a busy machine a build without optimisations takes longer than the 3 s of a function.
        config.timeout = Duration::from_secs(60);
        let mut ends = ends(config);
        let invoke = Invoke {
            streaming: true,
            ..Invoke::new("{}")
        };
        let emulator = &ends.emulator;
        let (outcome, answer) = thread::scope(|scope| {
            let invoked = scope.spawn(|| emulator.invoke_with(invoke).unwrap());
            let runtime = &mut ends.runtime;
            let id = runtime.next().request_id();
            begin(runtime, &id, "text/plain");
            for _ in 0..200 {
                write(runtime, &megabyte);
            }
            if !over.is_empty() {
                write(runtime, over);
            }
            runtime.write(b"0\r\n\r\n").unwrap();
            let answer = runtime.response().unwrap();
            runtime.send("GET", "/2018-06-01/runtime/invocation/next", &[], b"");
            (invoked.join().unwrap(), answer.status)
        });
        assert_eq!(outcome.body.len(), 200 << 20);
        let error = outcome.function_error.map(|error| error.error_type);
        let expected = (!over.is_empty()).then_some("Function.ResponseSizeTooLarge");
        assert_eq!(error.as_deref(), expected);
        assert_eq!(answer, if over.is_empty() { 202 } else { 413 });
    }
}

#[test]
fn invocations_at_once_are_streamed_each_to_its_caller() {
    let mut config = Config::new("");
    config.initialization = Initialization::ManagedInstances;
    let mut first = ends(config);
    let address = first.emulator.environments()[0].runtime_api;
    let mut runtime = Client::connect(address);
    let mut caller = Client::connect(first.emulator.invoke_addr());
    // The first worker ends the init phase.
    first
        .runtime
        .send("GET", "/2018-06-01/runtime/invocation/next", &[], b"");
    first.caller.send("POST", PATH, &[], b"1");
    let one = first.runtime.response().unwrap().request_id();
    runtime.send("GET", "/2018-06-01/runtime/invocation/next", &[], b"");
    caller.send("POST", PATH, &[], b"2");
    let two = runtime.response().unwrap().request_id();
    begin(&mut runtime, &two, "text/plain");
    write(&mut runtime, "of two");
    first.begin(&one, "text/plain");
    first.write("of one");
    first.caller.head().unwrap();
    assert_eq!(first.payload(), "of one");
    caller.head().unwrap();
    std::mem::swap(&mut caller, &mut first.caller);
    assert_eq!(first.payload(), "of two");
    runtime.write(b"0\r\n\r\n").unwrap();
    assert_eq!(runtime.response().unwrap().status, 202);
    assert_eq!(first.complete(), json!({}));
    std::mem::swap(&mut caller, &mut first.caller);
    first.fail("{}");
    assert_eq!(first.complete()["ErrorCode"], "Unhandled");
}

const WITH_PRELUDE: &str = "application/vnd.awslambda.http-integration-response";

fn fields<'a>(head: &'a testkit::http::Response, name: &str) -> Vec<&'a str> {
    let fields = head.headers.iter();
    let found = fields.filter(|(field, _)| field.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.as_str()).collect()
}

#[test]
fn a_function_url_streams_status_headers_cookies_and_body() {
    let mut ends = url();
    let id = ends.invoke("/there", &[]);
    ends.begin(&id, WITH_PRELUDE);
    // The end of the prelude comes in two parts.
    ends.write(r#"{"statusCode":201,"headers":{"Content-Type":"text/x"},"cookies":["a=1","b=2"]}"#);
    ends.write("\0\0\0");
    ends.write("\0\0\0\0\0one");
    let head = ends.caller.head().unwrap();
    assert_eq!(head.status, 201);
    assert_eq!(fields(&head, "content-type"), ["text/x"]);
    assert_eq!(fields(&head, "set-cookie"), ["a=1", "b=2"]);
    assert_eq!(ends.caller.chunk().unwrap().unwrap(), b"one");
    ends.write("two");
    assert_eq!(ends.caller.chunk().unwrap().unwrap(), b"two");
    ends.finish();
    assert_eq!(ends.caller.chunk().unwrap(), None);
}

#[test]
fn a_function_url_streams_plain_bytes_with_their_type() {
    let mut ends = url();
    let id = ends.invoke("/", &[]);
    ends.begin(&id, "text/x");
    let head = ends.caller.head().unwrap();
    assert_eq!(head.status, 200);
    assert_eq!(fields(&head, "content-type"), ["text/x"]);
    ends.write("one");
    assert_eq!(ends.caller.chunk().unwrap().unwrap(), b"one");
    ends.finish();
    assert_eq!(ends.caller.chunk().unwrap(), None);
}

#[test]
fn a_response_that_is_not_streamed_is_the_body_of_a_function_url_that_streams() {
    let mut ends = url();
    let id = ends.invoke("/", &[]);
    let body = br#"{"statusCode":303,"body":"x"}"#;
    let headers = [("Content-Type", "application/json")];
    assert_eq!(
        ends.runtime.report(&id, "response", &headers, body).status,
        202
    );
    ends.runtime
        .send("GET", "/2018-06-01/runtime/invocation/next", &[], b"");
    let answer = ends.caller.response().unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body, body);
}

#[test]
fn a_failure_cuts_the_response_of_a_function_url_off() {
    let mut ends = url();
    let id = ends.invoke("/", &[]);
    ends.begin(&id, "text/x");
    ends.write("one");
    ends.caller.head().unwrap();
    assert_eq!(ends.caller.chunk().unwrap().unwrap(), b"one");
    ends.fail("{}");
    let (rest, _) = ends.caller.rest();
    assert_eq!(rest, b"", "there is no last chunk");
}

#[test]
fn a_function_url_without_a_response_is_a_bad_gateway() {
    let long = "x".repeat(17_000);
    let preludes = [
        ("{}", "the stream has no eight zero bytes behind a prelude"),
        (
            long.as_str(),
            "the stream has no eight zero bytes behind a prelude",
        ),
        ("[]\0\0\0\0\0\0\0\0", "the response is not of format 2.0"),
        (
            "{\"statusCode\":99}\0\0\0\0\0\0\0\0",
            "statusCode 99 is not between",
        ),
    ];
    for (prelude, reason) in preludes {
        let mut ends = url();
        let id = ends.invoke("/", &[]);
        ends.begin(&id, WITH_PRELUDE);
        ends.write(prelude);
        ends.finish();
        assert_eq!(ends.caller.response().unwrap().status, 502, "{prelude}");
        let log = ends.emulator.log();
        let logged = format!("function URL: {reason}");
        assert!(
            log.iter().any(|line| line.text.starts_with(&logged)),
            "{log:?}"
        );
    }
    let mut ends = url();
    let id = ends.invoke("/", &[]);
    assert_eq!(ends.runtime.report(&id, "error", &[], b"{}").status, 202);
    ends.runtime
        .send("GET", "/2018-06-01/runtime/invocation/next", &[], b"");
    assert_eq!(ends.caller.response().unwrap().status, 502);
}

//! Streams against a Runtime API on a socket, which does what each test says with every byte.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use testkit::http::read_until;

use super::*;
use crate::shared::endpoint::Endpoint;
use crate::shared::env::LogConfig;

pub(in crate::runtime) const OK: &str = "HTTP/1.1 202 \r\nContent-Length: 2\r\n\r\nok";

const LAST_CHUNK: &str = "0\r\n\r\n";

/// A Runtime API.
pub(in crate::runtime) struct Api {
    listener: TcpListener,
}

impl Api {
    /// Waits for a connection.
    pub(in crate::runtime) fn accept(&self) -> TcpStream {
        let (connection, _) = self.listener.accept().unwrap();
        let bound = Some(Duration::from_secs(30));
        connection.set_read_timeout(bound).unwrap();
        connection
    }

    /// Whether another connection waits to be accepted.
    fn has_more(&self) -> bool {
        self.listener.set_nonblocking(true).unwrap();
        self.listener.accept().is_ok()
    }
}

/// Lets a handler answer an invocation of `api`; returns how the loop goes on, and what `api` does.
pub(in crate::runtime) fn serve<T: Send>(
    api: impl FnOnce(&Api) -> T + Send,
    handler: impl FnOnce(Answer<'_>) -> Option<Answered>,
) -> (Option<Stop>, T) {
    log::configure(LogConfig {
        level: Level::Fatal,
        ..LogConfig::default()
    });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let endpoint = Endpoint::parse(&address.to_string(), &|_| None).unwrap();
    let mut client = Client::new(&endpoint, None);
    let server = Api { listener };
    thread::scope(|scope| {
        let api = scope.spawn(|| api(&server));
        let context = Context::for_test("id");
        let answered = handler(Answer::new(&mut client, &context));
        drop(client);
        let stop = answered.and_then(|answered| answered.stop);
        let said = api.join().unwrap();
        assert!(!server.has_more(), "a stream is not sent again");
        (stop, said)
    })
}

/// Reads a whole request, answers it, and waits for the end of the connection.
fn accepting(api: &Api) -> String {
    let mut connection = api.accept();
    let request = read_until(&mut connection, LAST_CHUNK);
    connection.write_all(OK.as_bytes()).unwrap();
    assert_eq!(connection.read(&mut [0]).unwrap(), 0, "it is closed");
    request
}

fn head(content_type: &str, port: &str) -> String {
    format!(
        "POST /2018-06-01/runtime/invocation/id/response HTTP/1.1\r\n\
         Host: 127.0.0.1:{port}\r\n\
         User-Agent: aws-lambda-bantam/{}\r\n\
         Content-Type: {content_type}\r\n\
         Lambda-Runtime-Function-Response-Mode: streaming\r\n\
         Transfer-Encoding: chunked\r\n\
         Trailer: Lambda-Runtime-Function-Error-Type\r\n\
         Trailer: Lambda-Runtime-Function-Error-Body\r\n\r\n",
        env!("CARGO_PKG_VERSION")
    )
}

/// What follows the head, after that has been checked.
fn body<'r>(request: &'r str, content_type: &str) -> &'r str {
    let (_, rest) = request.split_once("Host: 127.0.0.1:").unwrap();
    let (port, _) = rest.split_once('\r').unwrap();
    request.strip_prefix(&head(content_type, port)).unwrap()
}

#[test]
fn the_first_write_goes_out_at_once_and_later_ones_when_they_are_flushed() {
    let (go, wait) = mpsc::channel();
    let (stop, (first, rest)) = serve(
        |api| {
            let mut connection = api.accept();
            let first = read_until(&mut connection, "\r\none\r\n");
            // Nothing more is written before this.
            go.send(()).unwrap();
            let rest = read_until(&mut connection, LAST_CHUNK);
            connection.write_all(OK.as_bytes()).unwrap();
            assert_eq!(connection.read(&mut [0]).unwrap(), 0);
            (first, rest)
        },
        |answer| {
            let mut stream = answer.stream("text/plain");
            // A formatted text is one write.
            let (on, e) = ("on", 'e');
            write!(stream, "{on}{e}").unwrap();
            wait.recv().unwrap();
            stream.write_all(b"two").unwrap();
            stream.write_all(b"three").unwrap();
            stream.flush().unwrap();
            stream.flush().unwrap();
            stream.write_all(b"").unwrap();
            stream.write_all(b"four").unwrap();
            Some(stream.finish())
        },
    );
    assert!(stop.is_none());
    assert_eq!(body(&first, "text/plain"), "000003\r\none\r\n");
    assert_eq!(rest, "000008\r\ntwothree\r\n000004\r\nfour\r\n0\r\n\r\n");
}

#[test]
fn an_http_response_has_its_prelude_in_front() {
    let prelude = Prelude::new(201).header("A", "b").cookie("c=d");
    let json = r#"{"statusCode":201,"headers":{"A":"b"},"cookies":["c=d"]}"#;
    let nuls = "\0".repeat(8);
    let prelude_chunks = format!("000038\r\n{json}\r\n000008\r\n{nuls}\r\n");
    let table: [(&[&[u8]], &str); 3] = [
        (&[b"body"], "000004\r\nbody\r\n0\r\n\r\n"),
        (&[], "0\r\n\r\n"),
        (&[b"a", b"b"], "000001\r\na\r\n000001\r\nb\r\n0\r\n\r\n"),
    ];
    for (writes, expected) in table {
        let (stop, request) = serve(accepting, |answer| {
            let mut stream = answer.http_stream(&prelude);
            for data in writes {
                stream.write_all(data).unwrap();
            }
            Some(stream.finish())
        });
        assert!(stop.is_none());
        let expected = format!("{prelude_chunks}{expected}");
        assert_eq!(body(&request, HTTP_CONTENT_TYPE), expected);
    }
}

#[test]
fn a_flush_sends_the_head_alone() {
    let (go, wait) = mpsc::channel();
    serve(
        |api| {
            let mut connection = api.accept();
            let request = read_until(&mut connection, "\r\n\r\n");
            go.send(()).unwrap();
            assert_eq!(body(&request, "a/b"), "");
            // The first data goes out at once all the same.
            assert_eq!(read_until(&mut connection, "x\r\n"), "000001\r\nx\r\n");
            go.send(()).unwrap();
            assert_eq!(read_until(&mut connection, LAST_CHUNK), LAST_CHUNK);
            connection.write_all(OK.as_bytes()).unwrap();
        },
        |answer| {
            let mut stream = answer.stream("a/b");
            stream.flush().unwrap();
            wait.recv().unwrap();
            stream.write_all(b"x").unwrap();
            wait.recv().unwrap();
            Some(stream.finish())
        },
    );
}

#[test]
fn a_large_write_goes_out_in_chunks_of_the_buffer() {
    let data = vec![b'x'; 2 * STREAM_BUFFER_BYTES + 5];
    let full = "x".repeat(STREAM_BUFFER_BYTES);
    let (_, request) = serve(accepting, |answer| {
        let mut stream = answer.stream("a/b");
        stream.write_all(&data).unwrap();
        // Of these, the full ones go out, and the rest with the end.
        stream.write_all(&data).unwrap();
        Some(stream.finish())
    });
    let expected = format!("010000\r\n{full}\r\n010000\r\n{full}\r\n000005\r\nxxxxx\r\n").repeat(2);
    assert!(body(&request, "a/b") == expected + LAST_CHUNK);
}

/// `{"errorMessage":"no","errorType":"Chosen","stackTrace":[]}`
pub(in crate::runtime) const TRAILERS: &str = "0\r\nLambda-Runtime-Function-Error-Type: Function.Chosen\r\n\
     Lambda-Runtime-Function-Error-Body: \
     eyJlcnJvck1lc3NhZ2UiOiJubyIsImVycm9yVHlwZSI6IkNob3NlbiIsInN0YWNrVHJhY2UiOltdfQ==\r\n\r\n";

#[test]
fn an_error_midway_is_in_the_trailers() {
    let (stop, request) = serve(
        |api| {
            let mut connection = api.accept();
            let mut request = read_until(&mut connection, "\r\n\r\n");
            request += &read_until(&mut connection, "==\r\n\r\n");
            connection.write_all(OK.as_bytes()).unwrap();
            assert_eq!(connection.read(&mut [0]).unwrap(), 0, "it is closed");
            request
        },
        |answer| {
            let mut stream = answer.stream("a/b");
            stream.write_all(b"one").unwrap();
            stream.write_all(b"two").unwrap();
            Some(stream.error(Error::new("Chosen", "no")))
        },
    );
    assert!(stop.is_none());
    let chunks = "000003\r\none\r\n000003\r\ntwo\r\n";
    assert_eq!(body(&request, "a/b"), format!("{chunks}{TRAILERS}"));
}

/// Reads the rest of a request that ends with trailers, answers it, and waits for the end of the
/// connection.
fn trailers(connection: &mut TcpStream) -> String {
    let mut rest = read_until(connection, "\r\n0\r\n");
    rest += &read_until(connection, "\r\n\r\n");
    connection.write_all(OK.as_bytes()).unwrap();
    assert_eq!(connection.read(&mut [0]).unwrap(), 0, "it is closed");
    rest
}

/// Writes until the reader would have to be waited for, for which there is no time.
fn until_it_waits(stream: &mut ResponseStream<'_>) {
    // A `flush` would not begin to write then.
    stream.end = Some(monotonic());
    let data = vec![b'x'; STREAM_BUFFER_BYTES];
    let error = loop {
        stream.message(|message| {
            message.push(&data);
            message.seal();
        });
        stream.send(Until::Written);
        if let Err(error) = stream.check() {
            break error;
        }
    };
    assert!(error.to_string().ends_with(TOO_SLOW), "{error}");
}

/// The margin before the deadline is for the trailers: a reader who goes on within it gets them.
#[test]
fn a_stream_that_has_waited_too_long_for_its_reader_ends_with_the_trailers() {
    let (has_failed, failed) = mpsc::channel();
    let (stop, request) = serve(
        move |api| {
            let mut connection = api.accept();
            let request = read_until(&mut connection, "\r\n\r\n");
            failed.recv_timeout(Duration::from_secs(30)).unwrap();
            request + &trailers(&mut connection)
        },
        |answer| {
            let mut stream = answer.stream("a/b");
            until_it_waits(&mut stream);
            assert!(stream.margin < END_MARGIN, "then the platform ends it");
            stream.margin = Duration::from_secs(30);
            has_failed.send(()).unwrap();
            Some(stream.finish())
        },
    );
    assert!(stop.is_none());
    let (head, trailers) = request.rsplit_once("\r\n0\r\n").unwrap();
    let declared = "Trailer: Lambda-Runtime-Function-Error-Type\r\n";
    assert!(head.contains(declared), "{head:.300}");
    let expected = "Lambda-Runtime-Function-Error-Type: Function.Timeout\r\n\
                    Lambda-Runtime-Function-Error-Body: ";
    assert!(trailers.starts_with(expected), "{trailers}");
}

#[test]
fn a_stream_that_is_not_taken_to_its_end_ends_with_its_connection() {
    let (has_ended, ended) = mpsc::channel();
    let (stop, ()) = serve(
        move |api| {
            let mut connection = api.accept();
            ended.recv_timeout(Duration::from_secs(30)).unwrap();
            connection.read_to_end(&mut Vec::new()).unwrap();
        },
        |answer| {
            let mut stream = answer.stream("a/b");
            until_it_waits(&mut stream);
            stream.margin = Duration::ZERO;
            let answered = stream.finish();
            has_ended.send(()).unwrap();
            Some(answered)
        },
    );
    assert!(stop.is_none());
}

/// A reader who takes everything does not keep a response going beyond the deadline. However late
/// the process comes to that, it sends the trailers.
#[test]
fn a_response_that_goes_on_ends_shortly_before_the_deadline() {
    let (_, request) = serve(
        |api| {
            let mut connection = api.accept();
            read_until(&mut connection, "\r\n\r\n") + &trailers(&mut connection)
        },
        |answer| {
            let mut stream = answer.stream("a/b");
            stream.write_all(b"one").unwrap();
            stream.write_all(b"two").unwrap();
            stream.end = monotonic().checked_sub(Duration::from_secs(1));
            let error = stream.flush().unwrap_err();
            assert!(error.to_string().ends_with(TOO_LONG), "{error}");
            Some(stream.error(error))
        },
    );
    let expected = "000003\r\none\r\n000003\r\ntwo\r\n0\r\n\
                    Lambda-Runtime-Function-Error-Type: Function.Timeout\r\n";
    assert!(body(&request, "a/b").starts_with(expected), "{request}");

    let (_, request) = serve(reported, |answer| {
        let mut stream = answer.stream("a/b");
        stream.end = Some(monotonic());
        stream.write_all(b"one").unwrap_err();
        Some(stream.finish())
    });
    assert!(request.contains("/invocation/id/error "), "{request}");
    assert!(request.contains(TOO_LONG), "{request}");
}

#[test]
fn a_stream_that_is_dropped_is_a_failure() {
    let (_, request) = serve(
        |api| {
            let mut connection = api.accept();
            let request = read_until(&mut connection, "\r\n\r\n");
            request + &trailers(&mut connection)
        },
        |answer| {
            let mut stream = answer.stream("a/b");
            stream.write_all(b"one").unwrap();
            drop(stream);
            None
        },
    );
    let expected = "000003\r\none\r\n0\r\n\
                    Lambda-Runtime-Function-Error-Type: Function.StreamDropped\r\n";
    assert!(body(&request, "a/b").starts_with(expected), "{request}");
}

/// Reads an error report, of which the document is all of one line.
fn reported(api: &Api) -> String {
    let mut connection = api.accept();
    let mut request = read_until(&mut connection, "\r\n\r\n");
    request += &read_until(&mut connection, "}");
    connection.write_all(OK.as_bytes()).unwrap();
    request
}

#[test]
fn an_error_before_the_first_byte_is_an_ordinary_one() {
    let chosen = || Error::new("Chosen", "no");
    let handlers: [fn(ResponseStream<'_>, Error) -> Option<Answered>; 2] = [
        |stream, error| Some(stream.error(error)),
        |mut stream, error| {
            stream.write_all(b"").unwrap();
            Some(stream.error(error))
        },
    ];
    for handler in handlers {
        let (_, request) = serve(reported, |answer| handler(answer.stream("a/b"), chosen()));
        assert!(
            request.starts_with("POST /2018-06-01/runtime/invocation/id/error "),
            "{request}"
        );
        let document = r#"{"errorMessage":"no","errorType":"Chosen","stackTrace":[]}"#;
        assert!(request.ends_with(document), "{request}");
    }
    let (_, request) = serve(reported, |answer| {
        drop(answer.stream("a/b"));
        None
    });
    assert!(
        request.starts_with("POST /2018-06-01/runtime/invocation/id/error "),
        "{request}"
    );
    assert!(request.contains("Function.StreamDropped"), "{request}");
}

#[test]
fn a_prelude_over_the_limit_is_an_error_and_one_at_the_limit_is_none() {
    let fixed = Prelude::new(200).header("A", "").json().len() + 8;
    for (bytes, fits) in [(PRELUDE_BYTES_MAX, true), (PRELUDE_BYTES_MAX + 1, false)] {
        let prelude = Prelude::new(200).header("A", &"x".repeat(bytes - fixed));
        assert_eq!(prelude.json().len() + 8, bytes);
        let respond = |answer: Answer<'_>| {
            let mut stream = answer.http_stream(&prelude);
            let written = stream.write_all(b"x");
            assert_eq!(written.is_ok(), fits);
            Some(stream.finish())
        };
        if fits {
            let (_, request) = serve(accepting, respond);
            let body = body(&request, HTTP_CONTENT_TYPE);
            let (json, rest) = body.split_once("\r\n000008\r\n").unwrap();
            assert_eq!(json.len(), "003ff8\r\n".len() + PRELUDE_BYTES_MAX - 8);
            assert_eq!(rest, "\0\0\0\0\0\0\0\0\r\n000001\r\nx\r\n0\r\n\r\n");
        } else {
            let (_, request) = serve(reported, respond);
            let error = "status, headers and cookies of 16385 bytes, limit 16384";
            assert!(request.contains(error), "{request}");
            assert!(
                request.contains("Type: Function.PreludeTooLarge"),
                "{request}"
            );
        }
    }
}

#[test]
fn the_byte_over_the_limit_is_an_error_and_makes_the_response_one() {
    for over in [false, true] {
        let (_, request) = serve(
            |api| {
                let mut connection = api.accept();
                let mut request = read_until(&mut connection, "\r\n0\r\n");
                request += &read_until(&mut connection, "\r\n");
                connection.write_all(OK.as_bytes()).unwrap();
                request
            },
            |answer| {
                let mut stream = answer.stream("a/b");
                stream.prelude_bytes = STREAM_BYTES_MAX - 3;
                stream.bytes = stream.prelude_bytes;
                stream.write_all(b"123").unwrap();
                stream.write_all(b"").unwrap();
                if over {
                    stream.bytes -= 1;
                    let error = stream.write_all(b"45").unwrap_err();
                    let text = "a streamed response of more than 209715200 bytes";
                    assert_eq!(error.to_string(), text);
                    assert_eq!(stream.flush().unwrap_err().to_string(), text);
                }
                Some(stream.finish())
            },
        );
        let expected = if over {
            "000003\r\n123\r\n000001\r\n4\r\n0\r\n\
             Lambda-Runtime-Function-Error-Type: Function.ResponseSizeTooLarge\r\n"
        } else {
            "000003\r\n123\r\n0\r\n\r\n"
        };
        assert_eq!(body(&request, "a/b"), expected);
    }
}

/// Writes until it fails; the error.
fn until_it_fails(stream: &mut ResponseStream<'_>) -> io::Error {
    let data = [b'x'; 1_000];
    loop {
        if let Err(error) = stream.write_all(&data).and_then(|()| stream.flush()) {
            return error;
        }
    }
}

#[test]
fn an_early_refusal_is_the_error_of_the_next_write() {
    let document = r#"{"errorType":"Planted"}"#;
    for (status, code) in [(400, None), (403, None), (413, None), (500, Some(1))] {
        let length = document.len();
        let answer = format!("HTTP/1.1 {status} \r\nContent-Length: {length}\r\n\r\n{document}");
        for at in 0..answer.len() {
            let (early, late) = answer.split_at(at);
            let (stop, ()) = serve(
                |api| {
                    let mut connection = api.accept();
                    read_until(&mut connection, "\r\n\r\n");
                    connection.write_all(early.as_bytes()).unwrap();
                    // Reads on, as a server does that waits for the rest, until it is closed.
                    connection.read_exact(&mut [0; 8]).unwrap();
                    connection.write_all(late.as_bytes()).unwrap();
                    while connection
                        .read(&mut [0; 4_096])
                        .is_ok_and(|count| count != 0)
                    {}
                },
                |answer| {
                    let mut stream = answer.stream("a/b");
                    let error = until_it_fails(&mut stream);
                    let text =
                        format!("streaming the response: the API answered {status} {document}");
                    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
                    assert_eq!(error.to_string(), text);
                    assert_eq!(stream.write(b"x").unwrap_err().to_string(), text);
                    // There is nobody left to tell the handler's own error.
                    Some(stream.error(error))
                },
            );
            assert_eq!(stop.map(|stop| stop.code), code, "{status} split at {at}");
        }
    }
}

#[test]
fn the_status_of_a_whole_response_decides_as_that_of_any_answer() {
    for (status, code) in [(202, None), (413, None), (500, Some(1))] {
        let (stop, ()) = serve(
            |api| {
                let mut connection = api.accept();
                read_until(&mut connection, LAST_CHUNK);
                let answer = format!("HTTP/1.1 {status} \r\nContent-Length: 0\r\n\r\n");
                connection.write_all(answer.as_bytes()).unwrap();
            },
            |answer| {
                let mut stream = answer.stream("a/b");
                stream.write_all(b"one").unwrap();
                Some(stream.finish())
            },
        );
        assert_eq!(stop.map(|stop| stop.code), code, "{status}");
    }
}

#[test]
fn an_early_acceptance_ends_nothing() {
    for at in 0..OK.len() {
        let (early, late) = OK.split_at(at);
        let (stop, request) = serve(
            |api| {
                let mut connection = api.accept();
                let mut request = read_until(&mut connection, "\r\n\r\n");
                connection.write_all(early.as_bytes()).unwrap();
                request += &read_until(&mut connection, "five\r\n");
                connection.write_all(late.as_bytes()).unwrap();
                request += &read_until(&mut connection, LAST_CHUNK);
                assert_eq!(connection.read(&mut [0]).unwrap(), 0, "it is closed");
                request
            },
            |answer| {
                let mut stream = answer.stream("a/b");
                for _ in 0..10 {
                    stream.write_all(b"five").unwrap();
                    stream.flush().unwrap();
                }
                Some(stream.finish())
            },
        );
        assert!(stop.is_none());
        let chunks = "000004\r\nfive\r\n".repeat(10);
        assert_eq!(
            body(&request, "a/b"),
            format!("{chunks}{LAST_CHUNK}"),
            "{at}"
        );
    }
}

#[test]
fn a_connection_that_is_lost_after_an_early_acceptance_is_an_error() {
    let (stop, ()) = serve(
        |api| {
            let mut connection = api.accept();
            read_until(&mut connection, "\r\n\r\n");
            connection.write_all(OK.as_bytes()).unwrap();
        },
        |answer| {
            let mut stream = answer.stream("a/b");
            let error = until_it_fails(&mut stream).to_string();
            assert!(error.starts_with("streaming the response: "), "{error}");
            Some(stream.finish())
        },
    );
    assert!(stop.is_none());
}

#[test]
fn an_answer_of_a_server_that_takes_no_more_is_found() {
    let (tell, done) = mpsc::channel();
    let (stop, ()) = serve(
        move |api| {
            let mut connection = api.accept();
            read_until(&mut connection, "\r\n\r\n");
            // The socket becomes full, since nobody reads.
            connection
                .write_all(b"HTTP/1.1 413 \r\nContent-Length: 0\r\n\r\n")
                .unwrap();
            done.recv().unwrap();
        },
        |answer| {
            let mut stream = answer.stream("a/b");
            let error = until_it_fails(&mut stream);
            assert!(
                error.to_string().contains("the API answered 413"),
                "{error}"
            );
            tell.send(()).unwrap();
            Some(stream.finish())
        },
    );
    assert!(stop.is_none());
}

#[test]
fn interim_answers_end_nothing() {
    let (stop, request) = serve(
        |api| {
            let mut connection = api.accept();
            let mut request = read_until(&mut connection, "\r\n\r\n");
            connection.write_all(b"HTTP/1.1 100 \r\n\r\n").unwrap();
            request += &read_until(&mut connection, LAST_CHUNK);
            connection.write_all(OK.as_bytes()).unwrap();
            request
        },
        |answer| {
            let mut stream = answer.stream("a/b");
            for _ in 0..100 {
                stream.write_all(b"x").unwrap();
                stream.flush().unwrap();
            }
            Some(stream.finish())
        },
    );
    assert!(stop.is_none());
    assert_eq!(
        body(&request, "a/b").len(),
        100 * "000001\r\nx\r\n".len() + LAST_CHUNK.len()
    );
}

#[test]
fn a_connection_that_is_lost_at_any_byte_is_not_opened_again() {
    let request = head("a/b", "12345").len() + "000003\r\none\r\n000003\r\ntwo\r\n0\r\n\r\n".len();
    for at in 1..=request {
        let (stop, received) = serve(
            |api| {
                let mut connection = api.accept();
                let mut received = vec![0; at];
                connection.read_exact(&mut received).unwrap();
                // Orderly, and with a reset where bytes are left unread.
                drop(connection);
                received.len()
            },
            |answer| {
                let mut stream = answer.stream("a/b");
                let outcome = (|| {
                    stream.write_all(b"one")?;
                    stream.write_all(b"two")?;
                    stream.flush()
                })();
                match outcome {
                    Ok(()) => Some(stream.finish()),
                    Err(error) => {
                        let text = error.to_string();
                        assert!(text.starts_with("streaming the response: "), "{text}");
                        Some(stream.error(error))
                    }
                }
            },
        );
        // Whether it arrived is not known, as for every answer that was lost with its connection.
        assert!(stop.is_none(), "{at}");
        assert_eq!(received, at);
    }
}

#[test]
fn an_answer_that_is_lost_at_any_byte_is_not_asked_for_again() {
    for at in 0..OK.len() {
        let (stop, ()) = serve(
            |api| {
                let mut connection = api.accept();
                read_until(&mut connection, LAST_CHUNK);
                connection.write_all(&OK.as_bytes()[..at]).unwrap();
                drop(connection);
            },
            |answer| {
                let mut stream = answer.stream("a/b");
                stream.write_all(b"one").unwrap();
                Some(stream.finish())
            },
        );
        assert!(stop.is_none());
    }
}

#[test]
fn a_kept_connection_that_was_closed_is_opened_again() {
    let (go, wait) = mpsc::channel();
    let mut again = None;
    let (stop, request) = serve(
        |api| {
            let mut connection = api.accept();
            read_until(&mut connection, "}");
            connection.write_all(OK.as_bytes()).unwrap();
            drop(connection);
            go.send(()).unwrap();
            accepting(api)
        },
        |answer| {
            let Answer { client, context } = answer;
            let first = Answer {
                client: &mut *client,
                context,
            };
            assert!(first.error(Error::new("Chosen", "no")).stop.is_none());
            wait.recv().unwrap();
            let mut stream = Answer { client, context }.stream("a/b");
            again = Some(stream.write_all(b"one").is_ok());
            Some(stream.finish())
        },
    );
    assert!(stop.is_none());
    assert_eq!(again, Some(true));
    assert_eq!(body(&request, "a/b"), "000003\r\none\r\n0\r\n\r\n");
}

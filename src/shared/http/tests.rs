//! Every case is bytes and a written expectation, and is fed whole, byte by byte, split at each
//! place, and, where the message ends by itself, with bytes behind it.

#![expect(clippy::too_many_lines, reason = "tables are long")]

use super::writer::HeadWriter;
use super::{CloseReason, Expect, HttpError, Limits, Outgoing, Progress, Reader};
use crate::shared::limits::{
    BUFFER_KEEP_BYTES, BUFFER_START_BYTES, CHUNK_LINE_BYTES_MAX, FIELDS_MAX, INTERIM_RESPONSES_MAX,
};

const LIMITS: Limits = Limits {
    head_bytes_max: 512,
    ..Limits::of_body(64)
};

#[derive(Debug, PartialEq, Eq)]
struct Message {
    /// Status, or method and target.
    start: String,
    fields: Vec<(String, String)>,
    body: String,
    close: Option<CloseReason>,
}

type Outcome = Result<Message, HttpError>;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn message(reader: &Reader) -> Message {
    let head = reader.head();
    let start = match head.status() {
        Some(status) => status.to_string(),
        None => format!("{} {}", text(head.method()), text(head.target())),
    };
    let fields = head
        .fields()
        .map(|(name, value)| (text(name), text(value)))
        .collect();
    Message {
        start,
        fields,
        body: text(reader.body()),
        close: reader.close_reason(),
    }
}

/// Feeds the parts one after another, then the end of the connection.
fn feed(reader: &mut Reader, parts: &[&[u8]]) -> Outcome {
    let mut progress = Progress::Partial;
    for part in parts {
        let mut part = *part;
        while !part.is_empty() {
            progress = reader.read_from(&mut part)?;
        }
    }
    if progress == Progress::Partial {
        reader.eof()?;
    }
    Ok(message(reader))
}

fn every_way(expect: Expect, bytes: &[u8], expected: &Outcome, context: &str) {
    let fresh = || Reader::new(expect, LIMITS);
    assert_eq!(&feed(&mut fresh(), &[bytes]), expected, "whole: {context}");
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(
        &feed(&mut fresh(), &single),
        expected,
        "byte by byte: {context}"
    );
    for at in 0..=bytes.len() {
        let (a, b) = bytes.split_at(at);
        assert_eq!(
            &feed(&mut fresh(), &[a, b]),
            expected,
            "split at {at}: {context}"
        );
    }
    // A reader that has been used before, and grown, behaves like a fresh one.
    let mut used = fresh();

    feed(
        &mut used,
        &[&b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"[..]],
    )
    .ok();
    used.reset();
    assert_eq!(
        &feed(&mut used, &single),
        expected,
        "after another: {context}"
    );

    if let Ok(complete) = expected
        && complete.close != Some(CloseReason::BodyUntilClose)
    {
        let mut reader = fresh();
        let extra = [bytes, b"HTTP/1.1 299 NEXT\r\n"].concat();
        let mut with_extra = feed(&mut reader, &[&extra]).unwrap();
        if expect != Expect::Request {
            assert_eq!(
                with_extra.close,
                Some(CloseReason::UnexpectedBytes),
                "{context}"
            );
        }
        with_extra.close = complete.close;
        assert_eq!(&with_extra, complete, "with bytes behind it: {context}");
    }
}

fn ok(start: &str, body: &str) -> Outcome {
    Ok(Message {
        start: start.to_owned(),
        fields: Vec::new(),
        body: body.to_owned(),
        close: None,
    })
}

fn closing(start: &str, body: &str, close: CloseReason) -> Outcome {
    ok(start, body).map(|message| Message {
        close: Some(close),
        ..message
    })
}

/// Runs a table whose expectations leave out the fields.
fn run(expect: Expect, table: &[(&str, Outcome)]) {
    for (bytes, expected) in table {
        let fields = match expected {
            Ok(_) => feed(&mut Reader::new(expect, LIMITS), &[bytes.as_bytes()])
                .map(|message| message.fields)
                .unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        let expected = match expected {
            Ok(m) => Ok(Message {
                start: m.start.clone(),
                fields,
                body: m.body.clone(),
                close: m.close,
            }),
            Err(error) => Err(*error),
        };
        every_way(expect, bytes.as_bytes(), &expected, bytes);
    }
}

#[test]
fn a_message_that_is_cut_off_says_how_much_of_it_came() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for chunks in ["5\r\nhello\r\n0", "1\r\na\r\n1\r\nb\r\n1;x\r\nc\r\n2\r\nd"] {
        let bytes = [head, chunks].concat();
        let received = bytes.len();
        run(
            Expect::Response,
            &[(&bytes, Err(HttpError::Truncated { received }))],
        );
    }
}

#[test]
fn bodies_of_responses() {
    run(
        Expect::Response,
        &[
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
                ok("200", "hello"),
            ),
            (
                "HTTP/1.1 200 OK\r\ncontent-length:5\r\n\r\nhello",
                ok("200", "hello"),
            ),
            ("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", ok("200", "")),
            ("HTTP/1.1 204 No Content\r\n\r\n", ok("204", "")),
            ("HTTP/1.1 204 \r\nContent-Length: 5\r\n\r\n", ok("204", "")),
            (
                "HTTP/1.1 304 \r\nTransfer-Encoding: chunked\r\n\r\n",
                ok("304", ""),
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
                ok("200", "hello"),
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n\
                 3 ; name=\"v\"\r\nhel\r\n02;x\r\nlo\r\n0001\r\n!\r\n00;last\r\nA: b\r\nC: d\r\n\r\n",
                ok("200", "hello!"),
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                ok("200", ""),
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1a\r\nabcdefghijklmnopqrstuvwxyz\r\n\
                 B\r\n\r\n0\r\n\r\nAB\r\n\r\n0\r\n\r\n",
                ok("200", "abcdefghijklmnopqrstuvwxyz\r\n0\r\n\r\nAB\r\n"),
            ),
            (
                "HTTP/1.1 200 OK\r\n\r\nuntil the end",
                closing("200", "until the end", CloseReason::BodyUntilClose),
            ),
            (
                "HTTP/1.1 200 OK\r\n\r\n",
                closing("200", "", CloseReason::BodyUntilClose),
            ),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: a\r\nContent-Length: 9\r\n\r\n\
                 HTTP/1.1 202 \r\nContent-Length: 2\r\n\r\nok",
                ok("202", "ok"),
            ),
        ],
    );
}

#[test]
fn the_reason_is_what_follows_the_status() {
    for (status_line, reason) in [
        ("HTTP/1.1 404 Not  Found", "Not  Found"),
        ("HTTP/1.1 200 ", ""),
        ("HTTP/1.1 200", ""),
    ] {
        let mut reader = Reader::new(Expect::Response, LIMITS);
        let bytes = format!("{status_line}\r\nContent-Length: 0\r\n\r\n");
        feed(&mut reader, &[bytes.as_bytes()]).unwrap();
        assert_eq!(text(reader.head().reason()), reason, "{status_line}");
    }
}

#[test]
fn keep_alive() {
    run(
        Expect::Response,
        &[
            (
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx",
                closing("200", "x", CloseReason::PeerSaidClose),
            ),
            (
                "HTTP/1.1 200 OK\r\nConnection: Foo, CLOSE\r\nContent-Length: 1\r\n\r\nx",
                closing("200", "x", CloseReason::PeerSaidClose),
            ),
            (
                "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx",
                closing("200", "x", CloseReason::Http10),
            ),
            (
                "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx",
                ok("200", "x"),
            ),
        ],
    );
}

#[test]
fn requests() {
    run(
        Expect::Request,
        &[
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", ok("GET /", "")),
            (
                "POST /a/b?c=d HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
                ok("POST /a/b?c=d", "abc"),
            ),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
                ok("POST /", "abc"),
            ),
            (
                "GET / HTTP/1.0\r\n\r\n",
                closing("GET /", "", CloseReason::Http10),
            ),
            ("GET  / HTTP/1.1\r\n\r\n", Err(HttpError::RequestLine)),
            ("GET / HTTP/2.0\r\n\r\n", Err(HttpError::RequestLine)),
            ("GET /\r\n\r\n", Err(HttpError::RequestLine)),
            ("GET /\u{1} HTTP/1.1\r\n\r\n", Err(HttpError::RequestLine)),
            (" GET / HTTP/1.1\r\n\r\n", Err(HttpError::RequestLine)),
            ("\r\nGET / HTTP/1.1\r\n\r\n", Err(HttpError::RequestLine)),
        ],
    );
}

#[test]
fn fields_keep_their_order_and_lose_their_white_space() {
    let bytes = b"HTTP/1.1 200 OK\r\nB: 2\r\na:1\r\nEmpty:\r\nB: \t x  y \t\r\nUtf: \xC3\xA9\r\nContent-Length: 0\r\n\r\n";
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    let expected = Ok(Message {
        start: "200".to_owned(),
        fields: vec![
            pair("B", "2"),
            pair("a", "1"),
            pair("Empty", ""),
            pair("B", "x  y"),
            pair("Utf", "é"),
            pair("Content-Length", "0"),
        ],
        body: String::new(),
        close: None,
    });
    every_way(Expect::Response, bytes, &expected, "fields");
    let mut reader = Reader::new(Expect::Response, LIMITS);
    feed(&mut reader, &[bytes]).unwrap();
    assert_eq!(reader.head().field("b"), Some(&b"2"[..]));
    assert_eq!(reader.head().field("empty"), Some(&b""[..]));
    assert_eq!(reader.head().field("missing"), None);
}

#[test]
fn malformed_messages_are_errors_with_a_name() {
    let head = "HTTP/1.1 200 OK\r\n";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let table: Vec<(String, HttpError)> = vec![
        ("HTTP/1.1 200 OK\rX".to_owned(), HttpError::LoneCr),
        (format!("{head}A: b\rc\r\n\r\n"), HttpError::LoneCr),
        (format!("{head}A: b\r\r\n\r\n"), HttpError::LoneCr),
        ("HTTP/1.1 200 OK\n".to_owned(), HttpError::BareLf),
        (format!("{head}A: b\n\r\n"), HttpError::BareLf),
        (format!("{head}\n"), HttpError::BareLf),
        ("\r\n".to_owned(), HttpError::StatusLine),
        ("HTTP/1.1\r\n".to_owned(), HttpError::StatusLine),
        ("HTTP/2 200 OK\r\n".to_owned(), HttpError::StatusLine),
        ("HTTP/1.2 200 OK\r\n".to_owned(), HttpError::StatusLine),
        ("http/1.1 200 OK\r\n".to_owned(), HttpError::StatusLine),
        ("HTTP/1.1  200 OK\r\n".to_owned(), HttpError::StatusLine),
        ("HTTP/1.1 20 OK\r\n".to_owned(), HttpError::StatusLine),
        ("HTTP/1.1 2000 OK\r\n".to_owned(), HttpError::StatusLine),
        ("HTTP/1.1 099 OK\r\n".to_owned(), HttpError::StatusLine),
        ("HTTP/1.1 2x0 OK\r\n".to_owned(), HttpError::StatusLine),
        ("HTTP/1.1 200 O\u{0}K\r\n".to_owned(), HttpError::Nul),
        ("garbage\r\n".to_owned(), HttpError::StatusLine),
        (format!("{head}no colon\r\n"), HttpError::Field),
        (format!("{head}: no name\r\n"), HttpError::Field),
        (format!("{head}A : b\r\n"), HttpError::Field),
        (format!("{head}A: \u{0}\r\n"), HttpError::Nul),
        (format!("{head}A: b\r\n folded\r\n"), HttpError::FoldedField),
        (format!("{head}\tfolded\r\n"), HttpError::FoldedField),
        (
            "HTTP/1.1 101 Switching\r\n\r\n".to_owned(),
            HttpError::Upgrade,
        ),
        (
            format!("{head}Content-Length: \r\n"),
            HttpError::ContentLength,
        ),
        (
            format!("{head}Content-Length: +5\r\n"),
            HttpError::ContentLength,
        ),
        (
            format!("{head}Content-Length: 5, 5\r\n"),
            HttpError::ContentLength,
        ),
        (
            format!("{head}Content-Length: 0x5\r\n"),
            HttpError::ContentLength,
        ),
        (
            format!("{head}Content-Length: 5\r\nContent-Length: 5\r\n"),
            HttpError::TwoContentLengths,
        ),
        (
            format!("{head}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
            HttpError::LengthAndChunked,
        ),
        (
            format!("{head}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"),
            HttpError::LengthAndChunked,
        ),
        (
            format!("{head}Transfer-Encoding: gzip\r\n"),
            HttpError::TransferCoding,
        ),
        (
            format!("{head}Transfer-Encoding: gzip, chunked\r\n"),
            HttpError::TransferCoding,
        ),
        (
            format!("{head}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
            HttpError::TransferCoding,
        ),
        (
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
            HttpError::TransferCoding,
        ),
        (format!("{chunked}\r\n"), HttpError::ChunkSize),
        (format!("{chunked}x\r\n"), HttpError::ChunkSize),
        (format!("{chunked}-1\r\n"), HttpError::ChunkSize),
        (format!("{chunked};ext\r\n"), HttpError::ChunkSize),
        (format!("{chunked}1 1\r\n"), HttpError::ChunkSize),
        (format!("{chunked}5\n"), HttpError::BareLf),
        (format!("{chunked}5\rh"), HttpError::LoneCr),
        (
            format!("{chunked}10000000000000000\r\n"),
            HttpError::ChunkSizeOverflow,
        ),
        (format!("{chunked}1\r\nab"), HttpError::ChunkEnd),
        (format!("{chunked}1\r\na\n"), HttpError::ChunkEnd),
        (format!("{chunked}1\r\na\rb"), HttpError::ChunkEnd),
        (format!("{chunked}0\r\nno colon\r\n\r\n"), HttpError::Field),
        (format!("{chunked}0\r\nA: b\n"), HttpError::BareLf),
    ];
    for (bytes, error) in &table {
        every_way(Expect::Response, bytes.as_bytes(), &Err(*error), bytes);
        assert!(!error.to_string().is_empty());
    }
}

#[test]
fn limits_are_errors_with_both_numbers() {
    let head = "HTTP/1.1 200 OK\r\n";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let over = |limit| HttpError::OverLimit {
        what: "bytes of head",
        limit,
        actual: limit + 1,
    };
    let table: Vec<(String, HttpError)> = vec![
        (format!("{head}A: {}", "b".repeat(500)), over(512)),
        (format!("{chunked}0\r\nA: {}", "b".repeat(512)), over(512)),
        // The CR of the line end is the last byte within the limit.
        (format!("{head}A: {}\r\n", "b".repeat(491)), over(512)),
        (
            format!("{head}{}", "A:\r\n".repeat(FIELDS_MAX + 1)),
            HttpError::OverLimit {
                what: "fields",
                limit: FIELDS_MAX,
                actual: FIELDS_MAX + 1,
            },
        ),
        (
            format!("{chunked}0\r\n{}", "A:\r\n".repeat(FIELDS_MAX + 1)),
            HttpError::OverLimit {
                what: "fields",
                limit: FIELDS_MAX,
                actual: FIELDS_MAX + 1,
            },
        ),
        (
            "HTTP/1.1 100 \r\n\r\n".repeat(INTERIM_RESPONSES_MAX + 1),
            HttpError::OverLimit {
                what: "interim responses",
                limit: INTERIM_RESPONSES_MAX,
                actual: INTERIM_RESPONSES_MAX + 1,
            },
        ),
        (
            format!("{chunked}1;{}", "x".repeat(CHUNK_LINE_BYTES_MAX)),
            HttpError::OverLimit {
                what: "bytes of chunk-size line",
                limit: CHUNK_LINE_BYTES_MAX,
                actual: CHUNK_LINE_BYTES_MAX + 1,
            },
        ),
        (
            format!("{head}Content-Length: 65\r\n\r\n"),
            HttpError::BodyTooLarge {
                limit: 64,
                actual: 65,
            },
        ),
        (
            format!("{head}Content-Length: 99999999999999999999999\r\n\r\n"),
            HttpError::BodyTooLarge {
                limit: 64,
                actual: u64::MAX,
            },
        ),
        (
            format!("{chunked}41\r\n"),
            HttpError::BodyTooLarge {
                limit: 64,
                actual: 65,
            },
        ),
        (
            format!("{chunked}2\r\nab\r\nffffffffffffffff\r\n"),
            HttpError::BodyTooLarge {
                limit: 64,
                actual: u64::MAX,
            },
        ),
        (
            format!("{head}\r\n{}", "x".repeat(65)),
            HttpError::BodyTooLarge {
                limit: 64,
                actual: 65,
            },
        ),
    ];
    for (bytes, error) in &table {
        every_way(Expect::Response, bytes.as_bytes(), &Err(*error), bytes);
        assert!(error.to_string().contains("limit"), "{error}");
    }
    let exact = format!("{head}Content-Length: 64\r\n\r\n{}", "x".repeat(64));
    run(Expect::Response, &[(&exact, ok("200", &"x".repeat(64)))]);
}

#[test]
fn every_proper_prefix_is_truncated() {
    let messages = [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n",
    ];
    for message in messages {
        for end in 0..message.len() {
            let mut reader = Reader::new(Expect::Response, LIMITS);
            let outcome = feed(&mut reader, &[&message.as_bytes()[..end]]);
            match (end, outcome) {
                (0, Err(error)) => assert_eq!(error, HttpError::Closed),
                (_, Err(HttpError::Truncated { received })) => {
                    assert_eq!(received, end);
                }
                (_, other) => panic!("{end}: {other:?}"),
            }
            assert_eq!(reader.close_reason(), Some(CloseReason::Incomplete));
            assert_eq!(
                reader.status(),
                (end >= "HTTP/1.1 200 OK\r\n".len()).then_some(200)
            );
        }
    }
}

#[test]
fn messages_follow_each_other() {
    let stream = b"POST /1 HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc\
        POST /2 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n1\r\nf\r\n0\r\n\r\n\
        GET /3 HTTP/1.1\r\n\r\n";
    for at in 0..stream.len() {
        let mut reader = Reader::new(Expect::Request, LIMITS);
        let mut seen = Vec::new();
        for part in [&stream[..at], &stream[at..]] {
            reader.space().unwrap().extend_from_slice(part);
            let mut progress = reader.advance().unwrap();
            while progress == Progress::Complete {
                seen.push((text(reader.head().target()), text(reader.body())));
                progress = reader.next_message().unwrap();
            }
        }
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(
            seen,
            [pair("/1", "abc"), pair("/2", "def"), pair("/3", "")],
            "split at {at}"
        );
        assert_eq!(reader.eof(), Err(HttpError::Closed));
    }
}

/// Reads all of these bytes, as many at a time as there is room for: the messages that end in them.
fn count_messages(reader: &mut Reader, mut rest: &[u8]) -> usize {
    let mut messages = 0;
    while !rest.is_empty() {
        let mut progress = reader.read_from(&mut rest).unwrap();
        while progress == Progress::Complete {
            messages += 1;
            progress = reader.next_message().unwrap();
        }
    }
    messages
}

/// Each byte is moved once at most: a peer that sends many small requests behind a large one must
/// not cost the square of their number.
#[test]
fn requests_sent_ahead_are_not_moved_for_each_other() {
    let mut stream = b"POST / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n".to_vec();
    stream.resize(stream.len() + 1_000_000, b'x');
    for _ in 0..30_000 {
        stream.extend_from_slice(b"GET / HTTP/1.1\r\n\r\n");
    }
    let mut reader = Reader::new(Expect::Request, Limits::of_body(1 << 20));
    assert_eq!(count_messages(&mut reader, &stream), 30_001);
    assert_eq!(reader.eof(), Err(HttpError::Closed));
    assert!(reader.moved() < stream.len(), "{} bytes", reader.moved());
    assert_eq!(reader.capacity(), BUFFER_KEEP_BYTES);
}

#[test]
fn fields_behind_an_interim_response_are_those_of_the_final_one() {
    let mut reader = Reader::new(Expect::Response, LIMITS);
    assert!(reader.head().is_empty());
    assert!(!reader.has_bytes());
    let interim = "HTTP/1.1 103 Early Hints\r\nA: early\r\n\r\n";
    let last = "HTTP/1.1 200 OK\r\nA: last\r\nContent-Length: 0\r\n\r\n";
    let bytes = [interim, last].concat();
    let message = feed(&mut reader, &[bytes.as_bytes()]).unwrap();
    assert!(!reader.head().is_empty());
    assert!(reader.has_bytes());
    let expected = [("A", "last"), ("Content-Length", "0")];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(message.fields, expected);
}

#[test]
fn requests_that_end_anywhere_in_a_read_take_no_more_room_than_one() {
    let stream = b"GET / HTTP/1.1\r\n\r\n".repeat(5_000);
    let mut reader = Reader::new(Expect::Request, LIMITS);
    let reads = stream.chunks(100);
    let messages: usize = reads.map(|part| count_messages(&mut reader, part)).sum();
    assert_eq!(messages, 5_000);
    assert_eq!(reader.capacity(), BUFFER_START_BYTES);
    // A part of a request is moved when the buffer is full, and not for each read.
    let fills = stream.len() / BUFFER_START_BYTES + 1;
    assert!(reader.moved() < 18 * fills, "{} bytes", reader.moved());
}

#[test]
fn room_that_is_just_enough_is_used_as_it_is() {
    let mut reader = Reader::new(Expect::Request, Limits::of_body(BUFFER_START_BYTES));
    let get = "GET / HTTP/1.1\r\n\r\n";
    let post = |length| format!("POST / HTTP/1.1\r\nContent-Length: {length:05}\r\n\r\n");
    let length = BUFFER_START_BYTES - get.len() - post(0).len();
    feed_space(&mut reader, (get.to_owned() + &post(length)).as_bytes());
    assert_eq!(reader.next_message(), Ok(Progress::Partial));
    reader.space().unwrap();
    assert_eq!(reader.capacity(), BUFFER_START_BYTES);
    assert_eq!(reader.moved(), 0);
}

#[test]
fn an_error_stays() {
    let mut reader = Reader::new(Expect::Response, LIMITS);
    assert_eq!(feed(&mut reader, &[&b"\n"[..]]), Err(HttpError::BareLf));
    assert_eq!(
        feed(&mut reader, &[&b"HTTP/1.1 200 OK\r\n"[..]]),
        Err(HttpError::BareLf)
    );
    assert_eq!(reader.eof(), Err(HttpError::BareLf));
    reader.reset();
    assert!(feed(&mut reader, &[&b"HTTP/1.1 204 \r\n\r\n"[..]]).is_ok());
}

#[test]
fn a_large_body_takes_one_growth_and_is_given_back() {
    let limits = Limits {
        head_bytes_max: 512,
        ..Limits::of_body(10_000_000)
    };
    let mut reader = Reader::new(Expect::Response, limits);
    let body = vec![b'x'; 6_000_000];
    for head in [
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()),
        format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n",
            body.len()
        ),
    ] {
        let mut message = head.clone().into_bytes();
        message.extend_from_slice(&body);
        if head.contains("chunked") {
            message.extend_from_slice(b"\r\n0\r\n\r\n");
        }
        feed(&mut reader, &[&message]).unwrap();
        assert_eq!(reader.body(), body);
        assert!(
            reader.capacity() < body.len() + 2 * BUFFER_START_BYTES,
            "{}",
            reader.capacity()
        );
        reader.next_message().unwrap();
        feed(&mut reader, &[&b"HTTP/1.1 204 \r\n\r\n"[..]]).unwrap();
        reader.next_message().unwrap();
        assert_eq!(reader.capacity(), BUFFER_KEEP_BYTES);
    }
}

#[test]
fn a_body_that_is_forgotten_as_it_comes_takes_the_room_of_a_part() {
    let data: Vec<u8> = (0..300_000_u32).map(|at| (at % 251) as u8).collect();
    let mut chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in data.chunks(7_777) {
        chunked.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        chunked.extend_from_slice(chunk);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\nx: y\r\n\r\n");
    let length = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", data.len());
    let length = [length.as_bytes(), &data].concat();
    let until_close = [b"HTTP/1.0 200 OK\r\n\r\n", &*data].concat();
    for message in [chunked, length, until_close] {
        for step in [1, 2, 500, 64_000] {
            let mut reader = Reader::new(Expect::Response, Limits::of_stream(10_000));
            let (mut body, mut rest) = (Vec::new(), &*message);
            let mut progress = Progress::Partial;
            while progress == Progress::Partial {
                let (mut part, _) = rest.split_at(step.min(rest.len()));
                let length = part.len();
                progress = match length {
                    0 => reader.eof().unwrap(),
                    _ => reader.read_from(&mut part).unwrap(),
                };
                rest = &rest[length - part.len()..];
                body.extend_from_slice(reader.body());
                reader.forget_body();
            }
            assert!(body == data, "{step} at a time: {} bytes", body.len());
            assert!(rest.is_empty());
            assert!(reader.capacity() < 40_000, "{}", reader.capacity());
            assert_eq!(reader.head().field("x"), None);
            assert_eq!(reader.status(), Some(200));
        }
    }
}

#[test]
fn what_was_forgotten_of_a_message_that_is_cut_off_came_all_the_same() {
    let mut reader = Reader::new(Expect::Response, LIMITS);
    let parts = [
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
        "defg",
        "h",
    ];
    for part in parts {
        feed_space(&mut reader, part.as_bytes());
        reader.forget_body();
    }
    let received = parts.concat().len();
    assert_eq!(reader.eof(), Err(HttpError::Truncated { received }));
}

#[test]
fn a_buffer_is_kept_while_a_quarter_of_it_is_needed() {
    let mut reader = Reader::new(Expect::Response, Limits::of_body(400_000));
    let mut capacity_after = |length| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        let message = [head.as_bytes(), &vec![b'x'; length]].concat();
        feed(&mut reader, &[&message]).unwrap();
        reader.reset();
        reader.capacity()
    };
    let large = capacity_after(400_000);
    assert!(400_000 <= large);
    assert_eq!(capacity_after(100_000), large);
    assert!(capacity_after(99_000) < 100_000);
    assert_eq!(capacity_after(1), BUFFER_KEEP_BYTES);
}

#[test]
fn many_small_chunks_take_no_more_room_than_their_data() {
    let limits = Limits {
        head_bytes_max: 512,
        ..Limits::of_body(100_000)
    };
    let mut reader = Reader::new(Expect::Response, limits);
    let mut message = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    let extension = "e".repeat(CHUNK_LINE_BYTES_MAX - 4);
    for _ in 0..20_000 {
        message.extend_from_slice(format!("1;{extension}\r\nx\r\n").as_bytes());
    }
    message.extend_from_slice(b"0\r\n\r\n");
    let parts: Vec<&[u8]> = message.chunks(4_000).collect();
    let outcome = feed(&mut reader, &parts).unwrap();
    assert_eq!(outcome.body, "x".repeat(20_000));
    assert!(reader.capacity() < 50_000, "{}", reader.capacity());
}

#[test]
fn a_stream_of_small_chunks_takes_no_room() {
    let chunk = format!("1;{}\r\nx\r\n", "e".repeat(CHUNK_LINE_BYTES_MAX - 4));
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    // A read ends at each place of a chunk.
    for read_bytes in 1..=chunk.len() {
        let mut reader = Reader::new(Expect::Response, Limits::of_stream(BUFFER_START_BYTES));
        feed_space(&mut reader, head.as_bytes());
        let mut chunks = chunk.bytes().cycle();
        for _ in 0..200 {
            let part: Vec<u8> = chunks.by_ref().take(read_bytes).collect();
            feed_space(&mut reader, &part);
            assert!(reader.body().iter().all(|byte| *byte == b'x'));
            reader.forget_body();
        }
        let held = reader.space().unwrap().len();
        assert_eq!(reader.capacity(), BUFFER_START_BYTES);
        assert!(held < head.len() + chunk.len(), "{read_bytes}: {held} held");
    }
}

/// Feeds a part that fits.
fn feed_space(reader: &mut Reader, part: &[u8]) {
    reader.space().unwrap().extend_from_slice(part);
    reader.advance().unwrap();
}

#[test]
fn heads_are_written() {
    let mut out = b"left over".to_vec();
    HeadWriter::request(&mut out, "POST", &["/p", "/id\r\n 1", "/response"], "h:1")
        .field("A", b"line\r\nend\x00\x7f\tok\xC3\xA9")
        .optional_field("B", None)
        .optional_field("C", Some("c"))
        .end_with_length(1_234);
    assert_eq!(
        text(&out),
        "POST /p/id1/response HTTP/1.1\r\nHost: h:1\r\nA: line  end  \toké\r\nC: c\r\n\
         Content-Length: 1234\r\n\r\n"
    );
    HeadWriter::response(&mut out, 200).end_with_length(0);
    assert_eq!(text(&out), "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n");
    let mut reader = Reader::new(Expect::Response, LIMITS);
    assert_eq!(feed(&mut reader, &[&out]).unwrap().start, "200");
    HeadWriter::request(&mut out, "GET", &["/next"], "h:1").end();
    assert_eq!(text(&out), "GET /next HTTP/1.1\r\nHost: h:1\r\n\r\n");
}

#[test]
fn any_number_of_bytes_may_be_written_at_once() {
    for step in 1..12 {
        let mut outgoing = Outgoing::new(b"head:", b"body!");
        let mut written = Vec::new();
        while let Some([head, body]) = outgoing.pending() {
            let all = [head, body].concat();
            let count = step.min(all.len());
            written.extend_from_slice(&all[..count]);
            outgoing.wrote(count);
        }
        assert_eq!(text(&written), "head:body!");
    }
}

/// Any bytes at all: no panic, no endless want of room, and the same outcome however they come.
#[test]
fn arbitrary_bytes_give_the_same_outcome_whole_and_split() {
    let alphabet: [&[u8]; 16] = [
        b"HTTP/1.1 200 OK\r\n",
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"\r\n",
        b"\r",
        b"\n",
        b"3\r\n",
        b"abc",
        b"0\r\n",
        b"A: b\r\n",
        b";",
        b" ",
        b"\x00",
        b"HTTP/1.1 100 \r\n",
        b"Connection: close\r\n",
        b"ffffffffffffffff",
    ];
    let seed: u64 = 0x5EED_0001;
    println!("seed {seed:#x}");
    let mut state = seed;
    let mut random = move || {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..20_000 {
        let mut bytes = Vec::new();
        for _ in 0..random() % 12 {
            bytes.extend_from_slice(alphabet[(random() % 16) as usize]);
        }
        let whole = feed(&mut Reader::new(Expect::Response, LIMITS), &[&bytes]);
        let parts: Vec<&[u8]> = bytes.chunks(1 + (random() % 5) as usize).collect();
        let split = feed(&mut Reader::new(Expect::Response, LIMITS), &parts);
        assert_eq!(whole, split, "{:?}", text(&bytes));
    }
}

#[test]
fn a_length_that_no_memory_is_there_for_is_an_error() {
    let limits = Limits::of_body(usize::MAX);
    for (head, announced) in [
        ("Content-Length: 4611686018427387904", 1_usize << 62),
        (
            "Transfer-Encoding: chunked\r\n\r\n4000000000000000",
            1 << 62,
        ),
    ] {
        let mut reader = Reader::new(Expect::Request, limits);
        let bytes = format!("POST / HTTP/1.1\r\n{head}\r\n\r\n");
        let read = reader.read_from(&mut bytes.as_bytes());
        assert_eq!(read, Ok(Progress::Partial));
        let Err(error @ HttpError::NoMemory { bytes }) = reader.space() else {
            unreachable!("there is no such memory");
        };
        assert!(announced < bytes);
        assert_eq!(reader.advance(), Err(error));
        assert_eq!(reader.close_reason(), Some(CloseReason::Incomplete));
        reader.reset();
        let next = feed(&mut reader, &[&b"GET /3 HTTP/1.1\r\n\r\n"[..]]).unwrap();
        assert_eq!(next.body, "");
    }
}

#[test]
fn many_chunks_move_the_buffer_few_times() {
    let mut reader = Reader::new(Expect::Request, Limits::of_body(1 << 20));
    let mut message = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..1_000 {
        message.extend_from_slice(b"200\r\n");
        message.extend_from_slice(&[b'x'; 512]);
        message.extend_from_slice(b"\r\n");
    }
    let mut moves = 0;
    let mut at = std::ptr::null();
    for part in message.chunks(100) {
        feed_space(&mut reader, part);
        let now = reader.body().as_ptr();
        moves += usize::from(now != at);
        at = now;
    }
    assert_eq!(reader.body().len(), 512_000);
    assert!(moves < 12, "{moves}");
}

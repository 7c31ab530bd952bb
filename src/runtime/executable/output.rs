//! The output of a process as a response that is streamed.

use std::io::{self, Write as _};

use serde::de::IgnoredAny;

use crate::runtime::error::Error;
use crate::runtime::response::{Answer, Answered};
use crate::runtime::stream::{DELIMITER, ResponseStream};
use crate::shared::json;
use crate::shared::limits::PRELUDE_BYTES_MAX;

/// A response that goes out as it comes.
///
/// The head of the response says whether a prelude with status and headers comes first, so nothing
/// is sent until the output shows that.
#[derive(Debug)]
pub(super) enum Output<'a> {
    /// What has come may be the beginning of a prelude.
    Held(Answer<'a>, Vec<u8>),
    Begun(ResponseStream<'a>),
}

impl<'a> Output<'a> {
    pub(super) const fn new(answer: Answer<'a>) -> Self {
        Self::Held(answer, Vec::new())
    }

    /// Sends what the process has written, or holds it back.
    ///
    /// # Errors
    ///
    /// The answer, when the response has passed its limit or the platform takes no more.
    pub(super) fn send(self, bytes: &[u8]) -> Result<Self, Answered> {
        match self {
            Self::Held(answer, mut held) => {
                held.extend_from_slice(bytes);
                match Start::of(&held) {
                    Start::Undecided => Ok(Self::Held(answer, held)),
                    Start::Plain => Self::begin(answer, &held),
                    Start::Prelude(prelude, body) => Self::begin_http(answer, prelude, body),
                }
            }
            Self::Begun(stream) => write(stream, bytes),
        }
    }

    /// Begins a response that has no prelude.
    ///
    /// # Errors
    ///
    /// Those of [`Output::send`].
    pub(super) fn begin(answer: Answer<'a>, bytes: &[u8]) -> Result<Self, Answered> {
        write(answer.stream(PLAIN), bytes)
    }

    /// Begins a response with this prelude, a JSON object.
    ///
    /// # Errors
    ///
    /// Those of [`Output::send`].
    pub(super) fn begin_http(
        answer: Answer<'a>,
        prelude: &[u8],
        body: &[u8],
    ) -> Result<Self, Answered> {
        write(ResponseStream::with_prelude(answer, prelude), body)
    }

    /// Ends the response.
    pub(super) fn finish(self) -> Answered {
        match self {
            Self::Held(answer, held) => {
                let mut stream = answer.stream(PLAIN);
                // The stream remembers what failed.
                stream.write_all(&held).ok();
                stream.finish()
            }
            Self::Begun(stream) => stream.finish(),
        }
    }

    /// Ends the response as a failure.
    pub(super) fn error(self, error: Error) -> Answered {
        match self {
            Self::Held(answer, _) => answer.error(error),
            Self::Begun(stream) => stream.error(error),
        }
    }
}

fn write<'a>(mut stream: ResponseStream<'a>, bytes: &[u8]) -> Result<Output<'a>, Answered> {
    let sent: io::Result<()> = stream.write_all(bytes).and_then(|()| stream.flush());
    match sent {
        Ok(()) => Ok(Output::Begun(stream)),
        // The stream remembers what failed.
        Err(_) => Err(stream.finish()),
    }
}

/// How an output begins.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Start<'a> {
    /// More bytes have to show it.
    Undecided,
    /// It has no prelude.
    Plain,
    /// A prelude, and what has come of the body.
    Prelude(&'a [u8], &'a [u8]),
}

impl<'a> Start<'a> {
    /// A prelude is a JSON object with the delimiter behind it.
    pub(super) fn of(output: &'a [u8]) -> Self {
        // JSON has no NUL.
        let end = memchr::memchr(0, output).unwrap_or(output.len());
        let (text, rest) = output.split_at(end);
        let may_go_on = output.len() < PRELUDE_BYTES_MAX;
        if output.is_empty() {
            return Self::Undecided;
        }
        if !text.starts_with(b"{") {
            return Self::Plain;
        }
        match json::read(whole_characters(text)) {
            Ok(IgnoredAny) if text.ends_with(b"}") => {}
            Err(error) if rest.is_empty() && may_go_on && is_cut(text, &error) => {
                return Self::Undecided;
            }
            Ok(IgnoredAny) | Err(_) => return Self::Plain,
        }
        match rest.strip_prefix(DELIMITER) {
            // However much came at once.
            Some(_) if PRELUDE_BYTES_MAX < end + DELIMITER.len() => Self::Plain,
            Some(body) => Self::Prelude(text, body),
            None if DELIMITER.starts_with(rest) && may_go_on => Self::Undecided,
            None => Self::Plain,
        }
    }
}

/// A text without the character at its end that is cut, if one is.
fn whole_characters(text: &[u8]) -> &[u8] {
    match std::str::from_utf8(text) {
        Err(error) if error.error_len().is_none() => {
            text.get(..error.valid_up_to()).unwrap_or_default()
        }
        Ok(_) | Err(_) => text,
    }
}

/// Whether a text is JSON that goes on, as its error says. A number that ends in a sign, a point or
/// an `e` is none for the parser, whether there is more or not: a digit behind it tells.
fn is_cut(text: &[u8], error: &serde_json::Error) -> bool {
    if error.is_eof() || !matches!(text.last(), Some(b'-' | b'+' | b'.' | b'e' | b'E')) {
        return error.is_eof();
    }
    json::read::<IgnoredAny>(&[text, b"0"].concat()).is_err_and(|error| error.is_eof())
}

/// The platform hands it on where it answers an HTTP request.
const PLAIN: &str = "application/octet-stream";

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use testkit::http::read_until;

    use super::*;
    use crate::runtime::stream::tests::{Api, OK, TRAILERS, serve};

    /// What the Runtime API gets of an answer.
    #[derive(Debug, PartialEq, Eq)]
    struct Posted {
        is_error: bool,
        is_http: bool,
        body: Vec<u8>,
        /// The last chunk and the trailers.
        end: String,
    }

    /// Takes an answer.
    fn post(api: &Api) -> Posted {
        let mut connection = api.accept();
        let head = read_until(&mut connection, "\r\n\r\n");
        let mut posted = Posted {
            is_error: head.contains("/id/error HTTP/1.1\r\n"),
            is_http: head.contains(".http-integration-response\r\n"),
            body: Vec::new(),
            end: String::new(),
        };
        if posted.is_error {
            read_until(&mut connection, "}");
        } else {
            loop {
                posted.end = read_until(&mut connection, "\r\n");
                let size = usize::from_str_radix(posted.end.trim_end(), 16).unwrap();
                let mut chunk = vec![0; size];
                connection.read_exact(&mut chunk).unwrap();
                posted.body.extend(chunk);
                if size == 0 {
                    break;
                }
                read_until(&mut connection, "\r\n");
            }
            while !posted.end.ends_with("\r\n\r\n") {
                posted.end += &read_until(&mut connection, "\r\n");
            }
        }
        connection.write_all(OK.as_bytes()).unwrap();
        posted
    }

    /// What the API gets of an output that comes in these parts.
    fn posted(parts: &[&[u8]], error: Option<Error>) -> Posted {
        let (stop, posted) = serve(post, |answer| {
            let mut output = Output::new(answer);
            for part in parts {
                output = output.send(part).unwrap();
            }
            Some(match error {
                Some(error) => output.error(error),
                None => output.finish(),
            })
        });
        assert!(stop.is_none());
        posted
    }

    #[test]
    fn an_output_is_the_same_response_however_it_comes() {
        let nuls = "\0".repeat(8);
        let http = |body: &str| format!("{{\"statusCode\":201,\"headers\":{{}}}}{nuls}{body}");
        // Each with the bytes that show how it begins.
        let table = [
            (http(""), true, 39),
            (http("<p>"), true, 39),
            (http(&http("\0")), true, 39),
            ("{\"a\":1}\n{\"a\":2}".to_owned(), false, 8),
            (format!("{{}}\0\0x{nuls}"), false, 5),
            ("0\r\n\r\n".to_owned(), false, 1),
        ];
        for (output, is_http, shown) in &table {
            let output = output.as_bytes();
            let expected = |bytes: usize, end: &str| Posted {
                is_error: false,
                is_http: *is_http,
                body: output[..bytes].to_vec(),
                end: end.to_owned(),
            };
            let whole = expected(output.len(), "0\r\n\r\n");
            assert_eq!(posted(&[output], None), whole);
            let bytes: Vec<&[u8]> = output.chunks(1).collect();
            assert_eq!(posted(&bytes, None), whole);
            for at in 1..output.len() {
                let (first, rest) = output.split_at(at);
                assert_eq!(posted(&[first, rest], None), whole, "at {at}");
                let failed = posted(&[first], Some(Error::new("Chosen", "no")));
                if at < *shown {
                    assert!(failed.is_error, "{failed:?} at {at}");
                } else {
                    assert_eq!(failed, expected(at, TRAILERS), "at {at}");
                }
            }
        }
    }

    #[test]
    fn a_prelude_is_an_object_with_eight_nuls_behind_it() {
        let long = format!("{{\"a\":\"{}", "x".repeat(PRELUDE_BYTES_MAX));
        let nuls = "\0".repeat(8);
        let object = |bytes: usize| format!("{{\"a\":\"{}\"}}{nuls}", "x".repeat(bytes - 8));
        let largest = object(PRELUDE_BYTES_MAX - 8);
        assert!(matches!(
            Start::of(largest.as_bytes()),
            Start::Prelude(_, b"")
        ));
        let prelude = |text: &'static str, body: &'static str| {
            let expected = Start::Prelude(text.as_bytes(), body.as_bytes());
            (format!("{text}{nuls}{body}"), expected)
        };
        let other = |text: &str, expected| (text.to_owned(), expected);
        let table = [
            other("", Start::Undecided),
            other("{", Start::Undecided),
            other("{\"statusCode\":200", Start::Undecided),
            other("{\"a\":-", Start::Undecided),
            other("{\"a\":1.", Start::Undecided),
            other("{\"a\":1e", Start::Undecided),
            other("{\"a\":1E+", Start::Undecided),
            other("{\"a\":--", Start::Plain),
            other("{\"a\":.", Start::Plain),
            other("{e", Start::Plain),
            other("{\"statusCode\":200}", Start::Undecided),
            other("{}\0", Start::Undecided),
            other("{}\0\0\0\0\0\0\0", Start::Undecided),
            prelude("{}", ""),
            prelude("{}", "body"),
            prelude("{\"a\":{}}", "\0"),
            prelude("{\"a\":\"é🦀\"}", "é"),
            other("{}\0\0x", Start::Plain),
            other("{}\n", Start::Plain),
            other(&format!("{{}}\n{nuls}"), Start::Plain),
            other("{} text", Start::Plain),
            other("{\"a\":1}\n{\"a\":2}", Start::Plain),
            other(&format!("{{\"a\"{nuls}"), Start::Plain),
            other("{text", Start::Plain),
            other(&format!("[]{nuls}"), Start::Plain),
            other("text", Start::Plain),
            other(" {}", Start::Plain),
            other("\0", Start::Plain),
            other(&long, Start::Plain),
            other(&object(PRELUDE_BYTES_MAX - 7), Start::Plain),
        ];
        // JSON is UTF-8.
        assert_eq!(Start::of(b"{\"a\":\"\xFF"), Start::Plain);
        for (output, expected) in &table {
            let output = output.as_bytes();
            assert_eq!(Start::of(output), *expected);
            // However it is split, the first that is decided is the same.
            let of_parts = (0..=output.len()).map(|end| Start::of(&output[..end]));
            let first = of_parts
                .into_iter()
                .find(|start| *start != Start::Undecided);
            match first.unwrap_or(Start::Undecided) {
                Start::Prelude(text, _) => {
                    assert!(matches!(expected, Start::Prelude(all, _) if *all == text));
                }
                start @ (Start::Undecided | Start::Plain) => assert_eq!(start, *expected),
            }
        }
    }
}

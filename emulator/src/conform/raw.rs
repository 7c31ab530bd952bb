//! Answers as bytes: what the platform or the standard allows, and the emulator itself never sends.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The answer to a `next` or an `event/next`.
#[derive(Clone, Debug)]
pub(super) struct Raw {
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    framing: Framing,
}

#[derive(Clone, Debug)]
enum Framing {
    Length,
    /// The body in chunks of this many bytes, each with this extension, and these trailers.
    Chunked(usize, &'static str, &'static str),
}

impl Raw {
    /// An event for a runtime, with the headers that are always there.
    pub(super) fn event(request_id: &str, body: &[u8]) -> Self {
        Self::new(body)
            .with("Lambda-Runtime-Aws-Request-Id", request_id)
            .with("Lambda-Runtime-Deadline-Ms", &in_ms(10_000).to_string())
            .with(
                "Lambda-Runtime-Invoked-Function-Arn",
                "arn:aws:lambda:us-east-1:123456789012:function:function",
            )
            .with("Content-Type", "application/json")
    }

    /// An answer without headers of its own.
    pub(super) fn new(body: &[u8]) -> Self {
        Self {
            headers: Vec::new(),
            body: body.to_vec(),
            framing: Framing::Length,
        }
    }

    #[must_use]
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    #[must_use]
    pub(super) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| other != name);
        self
    }

    /// The names of the headers, written otherwise.
    #[must_use]
    pub(super) fn named(mut self, change: fn(&str) -> String) -> Self {
        for (name, _) in &mut self.headers {
            *name = change(name);
        }
        self
    }

    /// The values of the headers, written otherwise.
    #[must_use]
    pub(super) fn valued(mut self, change: fn(&str) -> String) -> Self {
        for (_, value) in &mut self.headers {
            *value = change(value);
        }
        self
    }

    #[must_use]
    pub(super) fn chunked(
        mut self,
        size: usize,
        extension: &'static str,
        trailers: &'static str,
    ) -> Self {
        self.framing = Framing::Chunked(size, extension, trailers);
        self
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"HTTP/1.1 200 OK\r\n".to_vec();
        for (name, value) in &self.headers {
            bytes.extend(format!("{name}: {value}\r\n").into_bytes());
        }
        match self.framing {
            Framing::Length => {
                let length = format!("Content-Length: {}\r\n\r\n", self.body.len());
                bytes.extend(length.into_bytes());
                bytes.extend(&self.body);
            }
            Framing::Chunked(size, extension, trailers) => {
                bytes.extend(b"Transfer-Encoding: chunked\r\n\r\n");
                for chunk in self.body.chunks(size) {
                    bytes.extend(format!("{:x}{extension}\r\n", chunk.len()).into_bytes());
                    bytes.extend(chunk);
                    bytes.extend(b"\r\n");
                }
                bytes.extend(format!("0{extension}\r\n{trailers}\r\n").into_bytes());
            }
        }
        bytes
    }
}

/// The time so many milliseconds from now, as the API writes it.
pub(super) fn in_ms(ms: u64) -> u128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    (since.unwrap_or_default() + Duration::from_millis(ms)).as_millis()
}

/// The request id of an invocation whose event is written beforehand.
pub(super) const REQUEST_ID: &str = "8476a536-e9f4-11e8-9739-2dfe598c3fcd";
/// The body of an answer with the status 500.
pub(super) const INTERNAL_ERROR: &str =
    r#"{"errorMessage":"Internal Server Error","errorType":"InternalServerError"}"#;

//! How long a body is, and whether the connection can be used after it.

use super::error::HttpError;
use super::head::{self, StartLine};
use crate::shared::digits::decimal;
use crate::shared::text::same;

/// Where the body of a message ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is no body.
    Empty,
    /// After this many bytes, at least one.
    Length(u64),
    /// After the last chunk and the trailer section.
    Chunked,
    /// Where the peer closes.
    UntilClose,
}

/// Why a connection must not be used for another message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseReason {
    /// The peer said `Connection: close`.
    PeerSaidClose,
    /// The peer speaks HTTP/1.0 and did not say `keep-alive`.
    Http10,
    /// The body ended where the peer closed.
    BodyUntilClose,
    /// Bytes came after the response that belong to no request.
    UnexpectedBytes,
    /// The message is not complete, or was malformed.
    Incomplete,
    /// The request was not sent whole.
    RequestCutOff,
}

impl CloseReason {
    /// The reason as a fragment for a log line.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::PeerSaidClose => "the peer asked to close",
            Self::Http10 => "the peer speaks HTTP/1.0",
            Self::BodyUntilClose => "the body ended with the connection",
            Self::UnexpectedBytes => "bytes came after the response",
            Self::Incomplete => "the message did not end",
            Self::RequestCutOff => "the request was not sent whole",
        }
    }
}

/// What the fields of a head say about framing, collected line by line.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FramingFields {
    content_length: Option<u64>,
    chunked: bool,
    says_close: bool,
    says_keep_alive: bool,
}

impl FramingFields {
    /// Looks at one field.
    pub(super) fn see(&mut self, name: &[u8], value: &[u8]) -> Result<(), HttpError> {
        if same(name, b"Content-Length") {
            // Several equal lengths could be taken for one, which is for the recipient to decide.
            // <https://www.rfc-editor.org/rfc/rfc9110#section-8.6>
            if self.content_length.is_some() {
                return Err(HttpError::TwoContentLengths);
            }
            self.content_length = Some(length(value)?);
        } else if same(name, b"Transfer-Encoding") {
            if self.chunked || !same(value, b"chunked") {
                return Err(HttpError::TransferCoding);
            }
            self.chunked = true;
        } else if same(name, b"Connection") {
            for option in value.split(|byte| *byte == b',').map(head::trim) {
                self.says_close |= same(option, b"close");
                self.says_keep_alive |= same(option, b"keep-alive");
            }
        }
        Ok(())
    }

    /// <https://www.rfc-editor.org/rfc/rfc9112#section-6.3>
    pub(super) fn decide(self, start: StartLine) -> Result<Framing, HttpError> {
        if self.chunked && self.content_length.is_some() {
            return Err(HttpError::LengthAndChunked);
        }
        if self.chunked && start.minor_version == 0 {
            return Err(HttpError::TransferCoding);
        }
        let is_response = start.status != 0;
        if is_response && matches!(start.status, 100..=199 | 204 | 304) {
            return Ok(Framing::Empty);
        }
        Ok(match (self.chunked, self.content_length) {
            (true, _) => Framing::Chunked,
            (false, Some(0)) => Framing::Empty,
            (false, Some(length)) => Framing::Length(length),
            (false, None) if is_response => Framing::UntilClose,
            (false, None) => Framing::Empty,
        })
    }

    /// <https://www.rfc-editor.org/rfc/rfc9112#section-9.3>
    pub(super) const fn close_reason(self, start: StartLine) -> Option<CloseReason> {
        if self.says_close {
            Some(CloseReason::PeerSaidClose)
        } else if start.minor_version == 0 && !self.says_keep_alive {
            Some(CloseReason::Http10)
        } else {
            None
        }
    }
}

/// A length too large for 64 bits is still a length: it is over every limit.
fn length(value: &[u8]) -> Result<u64, HttpError> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(HttpError::ContentLength);
    }
    Ok(decimal(value).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_a_fragment_of_a_line_of_the_log() {
        let reason = CloseReason::Http10.as_str();
        assert_eq!(reason, "the peer speaks HTTP/1.0");
    }
}

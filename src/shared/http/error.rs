//! What a peer can get wrong. Every variant but [`HttpError::NoMemory`] is the peer's fault.

use core::fmt;

/// Why bytes from the peer are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HttpError {
    /// A CR that no LF follows.
    LoneCr,
    /// An LF that no CR precedes.
    BareLf,
    /// A line holds a NUL.
    Nul,
    /// The status line is not `HTTP/1.x CODE REASON`.
    StatusLine,
    /// The request line is not `METHOD TARGET HTTP/1.x`.
    RequestLine,
    /// A field line is not `NAME: VALUE`.
    Field,
    /// A field line starts with white space: line folding, which RFC 9112 withdrew.
    FoldedField,
    /// There is more of something than its limit.
    OverLimit {
        /// Such as "fields".
        what: &'static str,
        /// The limit.
        limit: usize,
        /// What has arrived so far.
        actual: usize,
    },
    /// The peer switches protocols (101), which nobody asked for.
    Upgrade,
    /// A Content-Length that is not a number.
    ContentLength,
    /// Two Content-Length fields.
    TwoContentLengths,
    /// Content-Length together with Transfer-Encoding.
    LengthAndChunked,
    /// A transfer coding other than `chunked`, or any in HTTP/1.0.
    TransferCoding,
    /// A chunk size that is not a hexadecimal number.
    ChunkSize,
    /// A chunk size that does not fit 64 bits.
    ChunkSizeOverflow,
    /// The data of a chunk does not end with CRLF.
    ChunkEnd,
    /// The body is longer than its limit, in bytes.
    BodyTooLarge {
        /// The limit.
        limit: usize,
        /// The length that was announced, or that has arrived so far.
        actual: u64,
    },
    /// There is no memory for as much of the message as is to come next. It is the peer that says
    /// how much that is, so this is an error and no end of the process.
    NoMemory {
        /// Bytes of the buffer that it would have taken.
        bytes: usize,
    },
    /// The peer closed inside a message, after this many of its bytes.
    Truncated {
        /// Bytes of the message that arrived.
        received: usize,
    },
    /// The peer closed before the first byte of a message.
    Closed,
}

impl fmt::Display for HttpError {
    #[cold]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let over = |limit, actual| Some((limit, actual));
        let (what, over) = match *self {
            Self::OverLimit {
                what,
                limit,
                actual,
            } => (what, over(limit, actual as u64)),
            Self::BodyTooLarge { limit, actual } => ("bytes of body", over(limit, actual)),
            Self::NoMemory { bytes } => return write!(f, "no memory for {bytes} bytes"),
            Self::Truncated { received } => {
                let what = "connection closed inside a message, after";
                return write!(f, "{what} {received} bytes");
            }
            Self::LoneCr => ("CR without LF", None),
            Self::BareLf => ("LF without CR", None),
            Self::Nul => ("NUL in a line", None),
            Self::StatusLine => ("malformed status line", None),
            Self::RequestLine => ("malformed request line", None),
            Self::Field => ("malformed field line", None),
            Self::FoldedField => ("folded field line", None),
            Self::Upgrade => ("unexpected switch of protocols", None),
            Self::ContentLength => ("Content-Length is not a number", None),
            Self::TwoContentLengths => ("two Content-Length fields", None),
            Self::LengthAndChunked => ("Content-Length together with Transfer-Encoding", None),
            Self::TransferCoding => ("unsupported Transfer-Encoding", None),
            Self::ChunkSize => ("chunk size is not a hexadecimal number", None),
            Self::ChunkSizeOverflow => ("chunk size does not fit 64 bits", None),
            Self::ChunkEnd => ("chunk data does not end with CRLF", None),
            Self::Closed => ("connection closed before a message", None),
        };
        match over {
            None => f.write_str(what),
            Some((limit, actual)) => write!(f, "{actual} {what}, limit {limit}"),
        }
    }
}

impl core::error::Error for HttpError {}

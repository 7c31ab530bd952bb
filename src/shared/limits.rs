//! The limits on input from outside that both roles share.
//!
//! Exceeding one is an error that carries the limit and the actual number.

/// Bytes of an event or a response: 6 MiB + 100 B, the value the platform enforces both ways.
///
/// The documented quota is 6 MB, see
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 6_291_556;

/// Bytes of a streamed response, the prelude of an HTTP response included: 200 MiB.
///
/// The documented quota is 200 MB, see
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-response-streaming.html>. Should the
/// platform take less, it says so with 413.
pub(crate) const STREAM_BYTES_MAX: usize = 200 * 1024 * 1024;

/// Bytes of a streamed response that are held back until the handler flushes: large enough that a
/// system call moves more than it costs, and small beside the memory of a function.
pub(crate) const STREAM_BUFFER_BYTES: usize = 64 * 1024;

/// Bytes of the prelude of a streamed HTTP response, its eight NULs included. API Gateway looks for
/// them in the first 16 KB.
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/response-transfer-mode-lambda.html>
pub(crate) const PRELUDE_BYTES_MAX: usize = 16 * 1024;

/// Bytes of the error document in a trailer.
///
/// The platform's server, of Go's `net/http`, reads a trailer section of at most 4,096 bytes, and
/// resets the connection at a longer one. The document in base64, two names of 34 bytes, and a type
/// of [`ERROR_TYPE_BYTES_MAX`] fit in.
pub(crate) const TRAILER_DOCUMENT_BYTES_MAX: usize = 2_560;

/// Bytes of an HTTP head: start line, fields, and the empty line.
///
/// The largest field the platform sends is the client context, at most 3,583 bytes before it is
/// decoded; a whole head stays under 6 KiB.
pub(crate) const HEAD_BYTES_MAX: usize = 32 * 1024;

/// Fields in one HTTP head or trailer section. The platform sends about ten.
pub(crate) const FIELDS_MAX: usize = 64;

/// Bytes of one chunk-size line with its extensions, line end included.
pub(crate) const CHUNK_LINE_BYTES_MAX: usize = 256;

/// Interim (1xx) responses before a final one. The platform sends none.
pub(crate) const INTERIM_RESPONSES_MAX: usize = 8;

/// Bytes of the answer to a POST: a status document of some 20 bytes, or an error document.
pub(crate) const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Bytes of the X-Ray error cause header.
///
/// The platform crops it at 64 KiB; cropped JSON is no JSON, so ours stays below.
pub(crate) const XRAY_CAUSE_BYTES_MAX: usize = 32 * 1024;

/// Bytes of the message in an error report.
pub(crate) const ERROR_MESSAGE_BYTES_MAX: usize = 16 * 1024;

/// Bytes of an error type, in the header and in the document.
pub(crate) const ERROR_TYPE_BYTES_MAX: usize = 256;

/// Bytes of a line of a stack trace. With an escape of six bytes for each of them, and with the
/// longest message, a report stays within the 1 MiB that the platform takes.
pub(crate) const STACK_LINE_BYTES_MAX: usize = 4 * 1024;

/// Errors of a chain, and lines of a stack trace, that are reported.
pub(crate) const CHAIN_LENGTH_MAX: usize = 32;

/// Bytes of a receive buffer that is kept between invocations whatever the event sizes.
pub(crate) const BUFFER_KEEP_BYTES: usize = 64 * 1024;

/// Bytes of a receive buffer before its first use.
pub(crate) const BUFFER_START_BYTES: usize = 8 * 1024;

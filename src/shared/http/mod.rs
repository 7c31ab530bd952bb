//! HTTP/1.1 as a state machine: bytes in, messages out, and the other way round.
//!
//! It speaks what the Runtime, Extensions and Telemetry APIs need and refuses the rest by name;
//! `docs/http.md` lists both.
//! A driver moves the bytes, and its whole grammar is:
//!
//! - [`Reader::space`] gives the driver room to read into, [`Reader::advance`] examines what was
//!   read and answers whether the message is complete, [`Reader::eof`] says that the peer closed;
//! - [`Reader::head`] and [`Reader::body`] show the complete message,
//!   [`Reader::close_reason`] says why the connection must not be used again, and
//!   [`Reader::next_message`] (as a server) and [`Reader::reset`] (as a client) make room for the
//!   next one;
//! - [`Outgoing::pending`] gives the slices still to write, [`Outgoing::wrote`] says how much of
//!   them was written; [`ChunkedWriter`] is a message that is written while its body is made.
//!
//! ```text
//!            head read         size line        all data and the empty line
//!  Head ─────────────► Chunk ◄──────────► Data ─────────────────► Trailer ──► Done
//!   │ ▲ 1xx                                                                    ▲
//!   │ └──┘                                                                     │
//!   ├───────► Length ──── all bytes read ──────────────────────────────────────┤
//!   ├───────► UntilClose ─ peer closed ────────────────────────────────────────┤
//!   └───────── no body ────────────────────────────────────────────────────────┘
//! ```

#![cfg_attr(
    not(any(test, feature = "extension")),
    expect(
        dead_code,
        unused_imports,
        reason = "requests in and responses out are the half that a listener needs"
    )
)]

mod body;
mod chunked;
mod error;
mod exchange;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod head;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use body::CloseReason;
pub(crate) use chunked::ChunkedWriter;
pub(crate) use error::HttpError;
pub(crate) use exchange::Exchange;
pub(crate) use head::Head;
pub(crate) use reader::{Expect, Limits, Progress, Reader};
pub(crate) use writer::{HeadWriter, JSON, Outgoing};

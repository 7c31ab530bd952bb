//! The record of a run: the transcript, the log, the outcomes of invocations. Values, and lists
//! behind a lock; nothing here starts a process or opens a socket.

mod bounded;
pub(crate) mod log;
pub(crate) mod outcome;
pub(crate) mod transcript;
pub(crate) mod watch;

//! The values of one invocation: the job, its event, its answer.

use std::time::Instant;

use bytes::Bytes;

use crate::config::Invoke;
use crate::environment::machine::Current;
use crate::record::outcome::FunctionError;

/// One invocation to run.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) request_id: String,
    pub(crate) trace_id: String,
    pub(crate) arn: String,
    pub(crate) payload: Bytes,
    pub(crate) invoke: Invoke,
}

/// An event as `next` renders it.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) current: Current,
    pub(crate) deadline_ms: u64,
    /// The `Lambda-Runtime-*` headers.
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) payload: Bytes,
}

/// The runtime's answer to an invocation.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// When its head was read.
    pub(crate) began_at: Instant,
    /// When it was read to its end.
    pub(crate) at: Instant,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) content_type: Option<String>,
    pub(crate) streamed: bool,
    pub(crate) body: Bytes,
    pub(crate) error: Option<FunctionError>,
}

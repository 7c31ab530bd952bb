//! The values of one invocation: the job, its event, its answer.

use std::time::Instant;

use bytes::Bytes;
use tokio::sync::mpsc;

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
    /// Where the response goes while the runtime sends it, if the caller takes it as a stream.
    pub(crate) sink: Option<Sink>,
}

/// Takes the parts of a response. It holds one, so a caller who reads slowly holds the runtime
/// back.
pub(crate) type Sink = mpsc::Sender<Part>;

/// A part of a response that its caller takes as a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The response has begun.
    Head {
        content_type: Option<String>,
        /// Whether the runtime streams it.
        streamed: bool,
    },
    Data(Bytes),
}

/// An event as `next` renders it.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) current: Current,
    pub(crate) deadline_ms: u64,
    /// The `Lambda-Runtime-*` headers.
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) payload: Bytes,
    /// The job's.
    pub(crate) sink: Option<Sink>,
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
    /// Empty if it has gone to the caller as a stream.
    pub(crate) body: Bytes,
    /// The length of what the runtime sent.
    pub(crate) length: usize,
    pub(crate) error: Option<FunctionError>,
}

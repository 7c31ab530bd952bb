//! The transcript: every exchange and every step of the lifecycle, in order.

use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::bounded::{Bounded, Weight};
use crate::lock::{lock, wait_until};

/// One entry of the transcript.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The time since the emulator started.
    pub at: Duration,
    /// The environment it happened in.
    pub environment: u64,
    /// The event.
    pub what: What,
}

/// An event of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The process was created.
    Spawned {
        /// Its id, which is its session's id too.
        pid: u32,
    },
    /// The runtime connected. Connections are counted over the emulator's life, from 0.
    Connected {
        /// Which connection.
        connection: usize,
    },
    /// A connection ended.
    Disconnected {
        /// Which connection.
        connection: usize,
    },
    /// A complete request was read, or its head if a fault leaves the body unread.
    Request {
        /// Which connection it came on.
        connection: usize,
        /// Which request, counted over the emulator's life, from 0.
        request: usize,
        /// The method.
        method: String,
        /// The path.
        path: String,
        /// The headers, names in lower case, in order.
        headers: Vec<(String, String)>,
        /// The body's length.
        body_bytes: usize,
        /// The first 64 KiB of the body.
        body: Vec<u8>,
        /// The trailers, names in lower case.
        trailers: Vec<(String, String)>,
    },
    /// A request was answered.
    Answered {
        /// Which request.
        request: usize,
        /// With which status.
        status: u16,
        /// `errorType` of an answer that is an error.
        error_type: Option<String>,
    },
    /// A `next` waits for an event in an environment of Managed Instances.
    Polled {
        /// How many do now.
        polls: usize,
    },
    /// An event was handed to a pending or new `next`.
    EventSent {
        /// The connection of that call.
        connection: usize,
        /// The invocation.
        request_id: String,
        /// `Lambda-Runtime-Invocation-Id`, which an answer echoes.
        invocation_id: String,
    },
    /// A response or an invocation error was taken as the answer to an invocation.
    Accepted {
        /// The invocation.
        request_id: String,
        /// Whether it was an error.
        error: bool,
    },
    /// A planted fault was applied.
    FaultApplied {
        /// It, in words.
        fault: String,
    },
    /// Every process of the session was stopped.
    Frozen,
    /// Every process of the session was continued.
    Thawed,
    /// The init phase began.
    InitStart,
    /// The init phase ended.
    InitDone {
        /// How long it took.
        duration: Duration,
        /// The error type, if it failed.
        error: Option<String>,
    },
    /// An invocation was given to this environment.
    InvokeStart {
        /// The invocation.
        request_id: String,
    },
    /// An invocation ended.
    InvokeDone {
        /// The invocation.
        request_id: String,
        /// The error type, if it failed.
        error: Option<String>,
    },
    /// The process ended.
    Exited {
        /// The code it gave, if it ended by itself.
        code: Option<i32>,
        /// The signal that ended it, if one did.
        signal: Option<i32>,
    },
    /// The processes have more memory than the function may have; the runtime is killed.
    MemoryExceeded {
        /// How much they have, in KiB.
        kb: u64,
    },
    /// Every process of the session was killed.
    Killed,
    /// The process of an external extension was created.
    ExtensionSpawned {
        /// Its name.
        extension: String,
        /// Its id, which is its session's id too.
        pid: u32,
    },
    /// An extension registered.
    ExtensionRegistered {
        /// Its name.
        extension: String,
        /// Started by the environment, and not by the runtime's process.
        external: bool,
        /// `INVOKE`, `SHUTDOWN`.
        events: Vec<&'static str>,
    },
    /// An extension asked for an event.
    ExtensionReady {
        /// Its name.
        extension: String,
    },
    /// An event was handed to an extension.
    ExtensionEventSent {
        /// Its name.
        extension: String,
        /// `INVOKE` or `SHUTDOWN`.
        event: &'static str,
        /// The invocation.
        request_id: Option<String>,
    },
    /// An extension reported that it cannot go on.
    ExtensionReported {
        /// Its name.
        extension: String,
        /// With `init/error`, and not with `exit/error`.
        init: bool,
        /// The error type it gave.
        error_type: String,
    },
    /// The process of an extension ended.
    ExtensionExited {
        /// Its name.
        extension: String,
        /// The code it gave, if it ended by itself.
        code: Option<i32>,
        /// The signal that ended it, if one did.
        signal: Option<i32>,
    },
    /// An extension asked for telemetry.
    Subscribed {
        /// Its name.
        extension: String,
        /// The answer's status.
        status: u16,
        /// The URI it asked to be delivered to over HTTP, if it gave one.
        uri: Option<String>,
    },
    /// The processes are asked to end.
    ShutdownStart {
        /// `spindown`, `timeout` or `failure`.
        reason: &'static str,
        /// How long they may take.
        budget: Duration,
    },
    /// The runtime was sent SIGTERM.
    Terminated,
    /// An external extension is gone.
    ExtensionShutdown {
        /// Its name.
        extension: String,
        /// From `SHUTDOWN` to the end of its process, if it takes the event.
        took: Option<Duration>,
        /// It did not end by itself.
        killed: bool,
    },
    /// A snapshot is being restored.
    RestoreStart,
    /// The restore ended.
    RestoreDone {
        /// How long it took.
        duration: Duration,
        /// The error type, if it failed.
        error: Option<String>,
    },
    /// The environment lost its process and starts a new one at its next invocation.
    Reset {
        /// Why: an error type.
        reason: String,
    },
    /// No further invocation is given to the environment; it ends when it runs none.
    Retired,
    /// The environment is gone.
    Shutdown,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:10.3} ms env {}: ",
            self.at.as_secs_f64() * 1e3,
            self.environment
        )?;
        if let What::Request {
            connection,
            request,
            method,
            path,
            body_bytes,
            ..
        } = &self.what
        {
            return write!(
                f,
                "request {request} on connection {connection}: {method} {path} ({body_bytes} bytes)"
            );
        }
        write!(f, "{:?}", self.what)
    }
}

impl What {
    /// The same, without the headers and the bodies of requests, which may be large.
    pub(crate) fn without_bodies(&self) -> Self {
        let mut what = self.clone();
        if let Self::Request { headers, body, .. } = &mut what {
            headers.clear();
            body.clear();
        }
        what
    }
}

/// How many answers (responses and invocation errors) the platform accepted for this request id.
#[must_use]
pub fn answers(entries: &[Entry], request_id: &str) -> usize {
    entries
        .iter()
        .filter(|entry| {
            matches!(&entry.what, What::Accepted { request_id: id, .. } if id == request_id)
        })
        .count()
}

impl Weight for Entry {
    fn bytes(&self) -> usize {
        let own = size_of::<Self>();
        if let What::Request { headers, body, .. } = &self.what {
            let headers = headers.iter().map(|(name, value)| name.len() + value.len());
            own + body.len() + headers.sum::<usize>()
        } else {
            own
        }
    }
}

/// The growing transcript. Callers on other threads wait on it without polling.
#[derive(Debug)]
pub(crate) struct Transcript {
    start: Instant,
    entries: Mutex<Bounded<Entry>>,
    grew: Condvar,
}

impl Transcript {
    /// Keeps at most about this many bytes.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            start: Instant::now(),
            entries: Mutex::new(Bounded::new(bytes_max)),
            grew: Condvar::new(),
        }
    }

    /// Adds an entry and returns its time.
    pub(crate) fn push(&self, environment: u64, what: What) -> Duration {
        let mut entries = self.lock();
        let at = self.start.elapsed();
        entries.push(Entry {
            at,
            environment,
            what,
        });
        self.grew.notify_all();
        at
    }

    pub(crate) fn snapshot(&self) -> Vec<Entry> {
        self.lock().as_ref().to_vec()
    }

    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    /// Runs `test` now and after every new entry until it passes or `bound` is over.
    pub(crate) fn wait_until(
        &self,
        bound: Duration,
        test: impl FnMut(&[Entry]) -> bool,
    ) -> Result<(), Vec<Entry>> {
        wait_until(&self.entries, &self.grew, bound, test)
    }

    fn lock(&self) -> MutexGuard<'_, Bounded<Entry>> {
        lock(&self.entries)
    }
}

//! One execution environment: what its Runtime API, its process and its lifecycle share.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout_at;

use crate::config::{Config, Initialization};
use crate::extension::registry::Registry;
use crate::failure::Failure;
use crate::faults;
use crate::log::{Log, Tail};
use crate::outcome::{Environment, ExtensionInfo, FunctionError, State};
use crate::output::{Output, Source};
use crate::port::Port;
use crate::process::Exit;
use crate::session::Guard;
use crate::state::{Current, Machine};
use crate::telemetry::{SchemaVersion, Telemetry};
use crate::transcript::{Transcript, What, lock};

/// What all environments share with the caller's handle.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) transcript: Transcript,
    pub(crate) log: Log,
    pub(crate) faults: faults::Registry,
}

/// One execution environment.
#[derive(Debug)]
pub(crate) struct Env {
    pub(crate) shared: Arc<Shared>,
    pub(crate) id: u64,
    /// Where its Runtime API listens.
    pub(crate) port: Arc<Port>,
    /// Its log stream.
    pub(crate) stream: String,
    pub(crate) telemetry: Telemetry,
    /// Held while the processes are ended: a shutdown and a reset may meet.
    pub(crate) end: tokio::sync::Mutex<()>,
    inner: Mutex<Inner>,
    /// Counts changes of `inner`, for those who wait for one.
    changed: watch::Sender<u64>,
}

/// What changes in an environment.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) machine: Machine,
    pub(crate) process: Option<Process>,
    pub(crate) frozen: bool,
    /// Whether the emulator stops, and no process is to be started any more.
    pub(crate) closed: bool,
    pub(crate) initialised: Initialised,
    /// An init phase that no `REPORT` has shown yet.
    pub(crate) unreported_init: Option<Duration>,
    pub(crate) extensions: Registry,
    /// The processes are a snapshot since then, and have to be restored.
    pub(crate) snapshot_at: Option<Instant>,
    /// The `restore/next` that waits for the restore.
    pub(crate) restore_waiter: Option<oneshot::Sender<()>>,
    /// When `restore/next` was read.
    pub(crate) restore_at: Option<Instant>,
    /// What the runtime reported about a failed restore.
    pub(crate) restore_error: Option<FunctionError>,
    /// The `next` calls that wait for an event. Each event goes to the one that came first.
    pub(crate) waiters: VecDeque<oneshot::Sender<Arc<Event>>>,
    /// The invocation in flight.
    pub(crate) event: Option<Arc<Event>>,
    /// What the runtime answered to it.
    pub(crate) answer: Option<Answer>,
    /// When the last `next` was read.
    pub(crate) next_at: Option<Instant>,
    /// What the runtime reported about a failed init.
    pub(crate) init_error: Option<FunctionError>,
    /// How the process ended.
    pub(crate) exit: Option<Exit>,
    /// The open connections of the runtime, to be closed when the process is killed.
    pub(crate) connections: Vec<AbortHandle>,
    /// As last read.
    pub(crate) peak_memory_kb: u64,
    /// The log of the current invocation.
    pub(crate) tail: Tail,
}

/// Whether an init ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Initialised {
    Never,
    /// It failed, or its processes are gone.
    Before,
    /// Runtime and extensions are ready.
    Done,
}

/// The process of an environment.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    /// Process and session id.
    pub(crate) pid: i32,
    /// Just before it was created.
    pub(crate) exec_at: Instant,
    pub(crate) guard: Arc<Guard>,
    pub(crate) output: Arc<Output>,
}

/// An event as `next` renders it.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) current: Current,
    pub(crate) deadline_ms: u64,
    /// The `Lambda-Runtime-*` headers; none is empty.
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) payload: Bytes,
}

/// What a runtime answered to an invocation.
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

impl Env {
    pub(crate) fn new(shared: Arc<Shared>, id: u64, port: Arc<Port>, stream: String) -> Self {
        let config = &shared.config;
        let managed = config.initialization == Initialization::ManagedInstances;
        let mut options = config.telemetry.clone();
        if managed {
            options
                .schema_versions
                .retain(|version| *version == SchemaVersion::V2025_01_29);
        }
        let telemetry = Telemetry::new(options, config.log_format);
        let inner = Inner {
            machine: Machine::new(),
            process: None,
            frozen: false,
            closed: false,
            initialised: Initialised::Never,
            unreported_init: None,
            extensions: Registry::new(managed),
            snapshot_at: None,
            restore_waiter: None,
            restore_at: None,
            restore_error: None,
            waiters: VecDeque::new(),
            event: None,
            answer: None,
            next_at: None,
            init_error: None,
            exit: None,
            connections: Vec::new(),
            peak_memory_kb: 0,
            tail: Tail::default(),
        };
        Self {
            shared,
            id,
            port,
            stream,
            telemetry,
            end: tokio::sync::Mutex::default(),
            inner: Mutex::new(inner),
            changed: watch::Sender::new(0),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }

    /// Wakes those who wait to look at what changed.
    pub(crate) fn notify(&self) {
        self.changed
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Waits until the check gives something, or the instant has come.
    pub(crate) async fn wait_for<T>(
        &self,
        until: Instant,
        mut check: impl FnMut(&mut Inner) -> Option<T>,
    ) -> Option<T> {
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            if let Some(found) = check(&mut self.lock()) {
                return Some(found);
            }
            if timeout_at(until.into(), changed.changed()).await.is_err() {
                return check(&mut self.lock());
            }
        }
    }

    pub(crate) fn record(&self, what: What) {
        self.shared.transcript.push(self.id, what);
    }

    /// A line the platform writes.
    pub(crate) fn log_platform(&self, text: &str) {
        self.lock().tail.push(text);
        self.shared.log.push(&self.stream, text, None);
    }

    /// A line a process wrote.
    pub(crate) fn log_line(&self, source: &Source, text: &str) {
        self.lock().tail.push(text);
        self.shared.log.push(&self.stream, text, Some(source));
        self.publish_line(source, text);
    }

    pub(crate) fn describe(&self) -> Environment {
        let inner = self.lock();
        Environment {
            id: self.id,
            pid: inner
                .process
                .as_ref()
                .and_then(|process| u32::try_from(process.pid).ok()),
            runtime_api: self.port.addr(),
            state: inner.machine.state(),
            frozen: inner.frozen,
            log_stream: self.stream.clone(),
            extensions: inner.extensions.describe(),
        }
    }

    pub(crate) fn describe_extensions(&self) -> Vec<ExtensionInfo> {
        self.lock().extensions.describe()
    }
}

impl Inner {
    /// Whether an invocation may be given. A runtime that attached may wait for an event before
    /// anybody has looked at who else is there.
    pub(crate) fn is_ready(&self) -> bool {
        self.machine.state() == State::Ready && self.initialised == Initialised::Done
    }

    /// The failure that the end of an external extension is.
    pub(crate) fn extension_crash(&self) -> Option<Failure> {
        let (error_type, message) = self.extensions.crash()?;
        Some(Failure::Extension {
            error_type,
            message,
        })
    }

    /// The failure that the end of any process is.
    pub(crate) fn ended(&self) -> Option<Failure> {
        let crash = self.extension_crash();
        crash.or_else(|| self.exit.map(Failure::Exit))
    }

    /// Forgets everything about the processes that were.
    pub(crate) fn forget_processes(&mut self) {
        self.process = None;
        self.frozen = false;
        self.unreported_init = None;
        if self.initialised == Initialised::Done {
            self.initialised = Initialised::Before;
        }
        self.extensions = self.extensions.emptied();
        self.snapshot_at = None;
        self.restore_waiter = None;
        self.restore_at = None;
        self.restore_error = None;
        self.waiters.clear();
        self.event = None;
        self.answer = None;
        self.next_at = None;
        self.init_error = None;
        self.exit = None;
        self.machine.stop();
        for connection in self.connections.drain(..) {
            connection.abort();
        }
    }
}

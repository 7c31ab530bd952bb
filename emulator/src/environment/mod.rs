//! One execution environment: its state, and the lifecycle that changes it.
//!
//! `machine` (the runtime's states) and `extensions` (the registry) are pure: they know no process
//! and no socket. `init`, `invoke`, `freeze`, `restore` and `shutdown` are the phases of the
//! lifecycle, `launch` starts the extensions; `failure`, `log_lines` and `publish` say how a phase
//! ended: to the caller, in the log, to the Telemetry API. `pool` has all environments of a
//! function, `control` what callers do to one of them. `router`, `managed` and `dispatch` are for
//! Managed Instances what `machine`, `invoke` and `pool` are elsewhere. Nothing here speaks HTTP;
//! `api` does.

mod control;
mod dispatch;
pub(crate) mod extensions;
pub(crate) mod failure;
mod freeze;
mod init;
mod invoke;
pub(crate) mod job;
mod launch;
pub(crate) mod log_lines;
pub(crate) mod machine;
mod managed;
pub(crate) mod metadata;
pub(crate) mod pool;
mod publish;
mod restore;
pub(crate) mod router;
mod shutdown;
pub(crate) mod variables;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::task::yield_now;
use tokio::time::timeout_at;

use crate::config::telemetry::SchemaVersion;
use crate::config::{Config, Initialization, LogFormat};
use crate::environment::extensions::Registry;
use crate::environment::failure::Failure;
use crate::environment::job::{Answer, Event, Sink};
use crate::environment::machine::{AnswerKind, Current, Machine, Refusal};
use crate::environment::router::Router;
use crate::environment::variables::Endpoints;
use crate::fault::{self, stream::Control};
use crate::http::port::Port;
use crate::lock::lock;
use crate::process::exit::Exit;
use crate::process::members::Members;
use crate::process::{Process, session};
use crate::record::log::{Log, LogLine, Source, Tail};
use crate::record::outcome::{Environment, ExtensionInfo, FunctionError, State};
use crate::record::transcript::{Entry, Transcript, What};
use crate::record::watch::{Seen, Watch};
use crate::telemetry::Telemetry;

/// The parts that all environments and the caller's handle share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) transcript: Transcript,
    pub(crate) log: Log,
    pub(crate) watch: Watch,
    pub(crate) faults: fault::Registry,
    /// An environment may have room for an invocation.
    pub(crate) freed: Notify,
}

impl Shared {
    /// Adds to the transcript.
    fn record(&self, environment: u64, what: What) {
        let seen = self.watch.is_on().then(|| what.without_bodies());
        let at = self.transcript.push(environment, what);
        if let Some(what) = seen {
            self.watch.see(Seen::Entry(Entry {
                at,
                environment,
                what,
            }));
        }
    }

    /// Adds to the log. Without a source it is the platform that writes.
    fn write(&self, environment: u64, stream: &str, text: &str, source: Option<&Source>) {
        let line = LogLine::new(environment, stream, text, source);
        if self.watch.is_on() {
            self.watch.see(Seen::Line(line.clone()));
        }
        self.log.push(line);
    }
}

/// One execution environment.
#[derive(Debug)]
pub(crate) struct Env {
    pub(crate) shared: Arc<Shared>,
    pub(crate) id: u64,
    /// Where its Runtime API listens.
    pub(crate) port: Arc<Port>,
    pub(crate) metadata: Option<metadata::Endpoint>,
    /// Its log stream.
    pub(crate) stream: String,
    pub(crate) telemetry: Telemetry,
    /// Whether no invocation is to be given any more. Changed under the lock of the pool.
    pub(crate) retired: AtomicBool,
    /// Held while the processes are ended: a shutdown and a reset may meet.
    pub(crate) end: tokio::sync::Mutex<()>,
    inner: Mutex<Inner>,
    /// Counts changes of `inner`; waiters watch it.
    changed: watch::Sender<u64>,
}

/// The ports that are opened for an environment.
#[derive(Debug)]
pub(crate) struct Ports {
    pub(crate) runtime_api: Arc<Port>,
    pub(crate) metadata: Option<Arc<Port>>,
}

/// An open connection of a process.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) task: AbortHandle,
    pub(crate) control: Control,
    pub(crate) number: usize,
}

/// The state of an environment.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) machine: Machine,
    /// The polls and invocations of Managed Instances; elsewhere `waiters`, `event` and `answer`.
    pub(crate) router: Option<Router>,
    pub(crate) process: Option<Process>,
    pub(crate) frozen: bool,
    /// Its processes, as they were found last. A freeze finds all.
    pub(crate) members: Members,
    /// Whether no process is to be started any more.
    pub(crate) closed: bool,
    /// Whether that is so for another reason than that the emulator stops.
    pub(crate) failed: bool,
    pub(crate) initialised: Initialised,
    /// An init phase that no `REPORT` has shown yet.
    pub(crate) unreported_init: Option<Duration>,
    pub(crate) extensions: Registry,
    /// The processes of the external extensions, by name.
    pub(crate) extension_processes: HashMap<String, Process>,
    /// How often a snapshot was restored.
    pub(crate) restores: usize,
    /// The processes are a snapshot since then, and have to be restored.
    pub(crate) snapshot_at: Option<Instant>,
    /// The `restore/next` that waits for the restore.
    pub(crate) restore_waiter: Option<oneshot::Sender<()>>,
    /// When `restore/next` was read.
    pub(crate) restore_at: Option<Instant>,
    /// The runtime's report of a failed restore.
    pub(crate) restore_error: Option<FunctionError>,
    /// The `next` calls that wait for an event. Each event goes to the one that came first.
    pub(crate) waiters: VecDeque<oneshot::Sender<Arc<Event>>>,
    /// The invocation in flight.
    pub(crate) event: Option<Arc<Event>>,
    /// The runtime's answer to it.
    pub(crate) answer: Option<Answer>,
    /// When the last `next` was read.
    pub(crate) next_at: Option<Instant>,
    /// The runtime's report of a failed init.
    pub(crate) init_error: Option<FunctionError>,
    /// How the process ended.
    pub(crate) exit: Option<Exit>,
    /// The open connections of the processes, to be closed when they are killed.
    pub(crate) connections: Vec<Open>,
    pub(crate) memory: MemoryUse,
    /// The log of the current invocation.
    pub(crate) tail: Tail,
}

/// The memory of all processes of the environment, as far as it was looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MemoryUse {
    /// The largest sum of their peaks.
    pub(crate) peak_kb: u64,
    /// The runtime of Managed Instances was killed for want of it. Elsewhere the platform names the
    /// exit alone.
    pub(crate) is_exhausted: bool,
}

/// The init of the environment: not yet, failed, done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Initialised {
    Never,
    /// It failed, or its processes are gone.
    Before,
    /// Runtime and extensions are ready.
    Done,
}

impl Env {
    pub(crate) fn new(shared: Arc<Shared>, id: u64, ports: Ports, stream: String) -> Self {
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
            router: managed.then(|| Router::new(config.polls_max)),
            process: None,
            frozen: false,
            members: Members::default(),
            closed: false,
            failed: false,
            initialised: Initialised::Never,
            unreported_init: None,
            extensions: Registry::new(managed),
            extension_processes: HashMap::new(),
            restores: 0,
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
            memory: MemoryUse::default(),
            tail: Tail::default(),
        };
        Self {
            shared,
            id,
            port: ports.runtime_api,
            metadata: ports.metadata.map(metadata::Endpoint::new),
            stream,
            telemetry,
            retired: AtomicBool::new(false),
            end: tokio::sync::Mutex::default(),
            inner: Mutex::new(inner),
            changed: watch::Sender::new(0),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }

    /// Wakes the waiters: `inner` has changed.
    pub(crate) fn notify(&self) {
        self.changed
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Waits until the check gives a value, or the instant has come.
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

    /// As [`Env::wait_for`], and looks at the memory meanwhile: a child of the runtime may be gone
    /// when the invocation ends.
    pub(crate) async fn wait_and_watch_memory<T>(
        &self,
        until: Instant,
        mut check: impl FnMut(&mut Inner) -> Option<T>,
    ) -> Option<T> {
        loop {
            let look_at = until.min(Instant::now() + MEMORY_PAUSE);
            let found = self.wait_for(look_at, &mut check).await;
            if found.is_some() || look_at == until {
                return found;
            }
            self.peak_memory_kb();
        }
    }

    pub(crate) fn record(&self, what: What) {
        self.shared.record(self.id, what);
    }

    /// A line the platform writes.
    pub(crate) fn log_platform(&self, text: &str) {
        self.lock().tail.push(text);
        self.shared.write(self.id, &self.stream, text, None);
    }

    /// A line the platform writes where the log is plain text. In JSON its events stand for it.
    pub(crate) fn log_text(&self, text: &str) {
        if self.shared.config.log_format == LogFormat::Text {
            self.log_platform(text);
        }
    }

    /// A line a process wrote.
    pub(crate) fn log_line(&self, source: &Source, text: &str) {
        self.lock().tail.push(text);
        self.shared.write(self.id, &self.stream, text, Some(source));
        self.publish_line(source, text);
    }

    /// Whether no process is to be started and one may attach.
    pub(crate) fn is_attached(&self) -> bool {
        self.shared.config.program.as_os_str().is_empty()
    }

    /// Whether several invocations run at once.
    pub(crate) fn is_managed(&self) -> bool {
        self.shared.config.initialization == Initialization::ManagedInstances
    }

    /// Whether the init phase ends in a snapshot.
    pub(crate) fn takes_snapshots(&self) -> bool {
        self.shared.config.initialization == Initialization::SnapStart
    }

    /// Lets every task that has bytes to read have its turn. The event loop looks at the sockets
    /// between turns.
    pub(crate) async fn let_connections_run(&self) {
        for _ in 0..CONNECTION_TURNS {
            yield_now().await;
        }
    }

    pub(crate) fn drain_output(&self) {
        for process in self.processes() {
            process.output.drain();
        }
    }

    pub(crate) fn processes(&self) -> Vec<Process> {
        self.lock().processes()
    }

    /// The sessions of its processes, the runtime's first.
    pub(crate) fn sessions(&self) -> Vec<i32> {
        self.processes().iter().map(|process| process.pid).collect()
    }

    /// The endpoints, as the variables of its processes name them.
    pub(crate) fn endpoints(&self) -> Endpoints {
        Endpoints {
            runtime_api: self.port.addr(),
            metadata: self.metadata.as_ref().map(metadata::Endpoint::describe),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        let inner = self.lock();
        let pid = inner.process.as_ref().map(|process| process.pid);
        pid.and_then(|pid| u32::try_from(pid).ok())
            .unwrap_or_default()
    }

    /// Looks at the memory of all processes, the runtime's and the extensions' children among them.
    /// Returns the largest sum of their peaks since the environment's processes were started.
    pub(crate) fn peak_memory_kb(&self) -> u64 {
        let sessions = self.sessions();
        let memory = session::memory(&sessions, &mut self.lock().members);
        let config = &self.shared.config;
        let limit_kb = u64::from(config.memory_mb) * 1_024;
        let mut peak_kb = memory.peak;
        if config.enforce_memory {
            // No more is ever given to it.
            peak_kb = peak_kb.min(limit_kb);
            if limit_kb < memory.now {
                self.record(What::MemoryExceeded { kb: memory.now });
                self.lock().memory.is_exhausted = self.is_managed();
                if let Some(runtime) = sessions.first() {
                    session::kill_now(*runtime);
                }
            }
        }
        let mut inner = self.lock();
        inner.memory.peak_kb = inner.memory.peak_kb.max(peak_kb);
        inner.memory.peak_kb
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
            metadata: self.metadata.as_ref().map(metadata::Endpoint::describe),
            state: inner.machine.state(),
            frozen: inner.frozen,
            polls: match &inner.router {
                Some(router) => router.polls(),
                None => inner.waiters.len(),
            },
            invocations: match &inner.router {
                Some(router) => router.running(),
                None => inner.machine.has_invocation().into(),
            },
            log_stream: self.stream.clone(),
            extensions: inner.describe_extensions(),
        }
    }

    pub(crate) fn describe_extensions(&self) -> Vec<ExtensionInfo> {
        self.lock().describe_extensions()
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
        crash.or_else(|| {
            self.exit.map(if self.memory.is_exhausted {
                Failure::OutOfMemory
            } else {
                Failure::Exit
            })
        })
    }

    /// The head of an answer was read.
    pub(crate) fn begin_answer(
        &mut self,
        kind: AnswerKind,
        request_id: &str,
        nonce: Option<&str>,
    ) -> Result<Current, Refusal> {
        match &mut self.router {
            Some(router) => router.begin_answer(kind, request_id, nonce),
            None => self.machine.begin_answer(kind, request_id, nonce),
        }
    }

    /// Where the response of an invocation goes while it is read, if its caller takes it so.
    pub(crate) fn sink(&self, answered: &Current) -> Option<Sink> {
        match &self.router {
            Some(router) => router.sink(answered),
            None => {
                let event = self.event.as_ref();
                event
                    .filter(|event| event.current == *answered)?
                    .sink
                    .clone()
            }
        }
    }

    /// An answer was read to its end.
    pub(crate) fn end_answer(
        &mut self,
        kind: AnswerKind,
        answered: &Current,
        answer: Answer,
    ) -> Result<(), Refusal> {
        match &mut self.router {
            Some(router) => router.end_answer(kind, answered, answer),
            None => {
                self.machine.end_answer(answered)?;
                self.answer = Some(answer);
                Ok(())
            }
        }
    }

    /// `POST /runtime/init/error`. During a restore it is a restore error, as in
    /// aws-lambda-runtime-interface-emulator. On Managed Instances one worker may report it while
    /// others are ready; the first report counts.
    pub(crate) fn report_init_error(&mut self, error: FunctionError) -> Result<(), Refusal> {
        if self.machine.state() == State::Restoring {
            return self.report_restore_error(error);
        }
        if self.router.is_some() && self.machine.state() == State::Ready {
            if self.init_error.is_some() {
                return Err(Refusal::InvalidStateTransition {
                    from: State::InitError,
                    to: "InitError",
                });
            }
        } else {
            self.machine.init_error()?;
        }
        self.init_error = Some(error);
        Ok(())
    }

    /// `POST /runtime/restore/error`.
    pub(crate) fn report_restore_error(&mut self, error: FunctionError) -> Result<(), Refusal> {
        self.machine.restore_error()?;
        self.restore_error = Some(error);
        Ok(())
    }

    /// Fails the invocations in flight on Managed Instances: a process has ended, or the
    /// environment is being ended. An init error that was reported before is the reason.
    pub(crate) fn abort_invocations(&mut self) {
        let Some(mut router) = self.router.take() else {
            return;
        };
        router.abort(|| {
            let reported = self.init_error.clone().map(Failure::Reported);
            reported
                .or_else(|| self.ended())
                .unwrap_or(Failure::Shutdown)
        });
        self.router = Some(router);
    }

    fn describe_extensions(&self) -> Vec<ExtensionInfo> {
        let all = self.extensions.all().iter();
        all.map(|extension| {
            let process = self.extension_processes.get(&extension.name);
            extension.describe(process.map(|process| (process.pid, process.exec_at)))
        })
        .collect()
    }

    /// The runtime's process first.
    pub(crate) fn processes(&self) -> Vec<Process> {
        let extensions = self.extensions.all().iter();
        let extensions = extensions.filter_map(|e| self.extension_processes.get(&e.name));
        self.process.iter().chain(extensions).cloned().collect()
    }

    /// Forgets everything about the processes that were.
    pub(crate) fn forget_processes(&mut self) {
        self.process = None;
        self.frozen = false;
        self.members = Members::default();
        self.unreported_init = None;
        if self.initialised == Initialised::Done {
            self.initialised = Initialised::Before;
        }
        self.extensions = self.extensions.emptied();
        self.extension_processes.clear();
        self.memory = MemoryUse::default();
        self.snapshot_at = None;
        self.restore_waiter = None;
        self.restore_at = None;
        self.restore_error = None;
        if let Some(router) = &mut self.router {
            router.clear();
        }
        self.waiters.clear();
        self.event = None;
        self.answer = None;
        self.next_at = None;
        self.init_error = None;
        self.exit = None;
        self.machine.stop();
        for open in self.connections.drain(..) {
            open.task.abort();
        }
    }
}

/// Enough turns for a task to accept, to read and to hand on what it read.
const CONNECTION_TURNS: usize = 32;
/// Between two looks at the memory. A process that lives no longer may be missed.
const MEMORY_PAUSE: Duration = Duration::from_millis(10);

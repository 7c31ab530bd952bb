//! The values a caller gets: the outcome of an invocation, the figures of an environment.

use std::net::SocketAddr;
use std::time::Duration;

use crate::process::proc;
use crate::record::log::LogLine;
use crate::record::transcript::Entry;
use crate::telemetry::Deliveries;

/// The result of one invocation.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The HTTP status of the Invoke API: 200, 202 for an event, 204 for a dry run; 400 and 408 for
    /// a restore that failed or took too long.
    pub status: u16,
    /// The caller's response: the function's, or the error's JSON.
    pub body: Vec<u8>,
    /// Set when the function failed.
    pub function_error: Option<FunctionError>,
    /// The request id of the invocation.
    pub request_id: String,
    /// The last 4,096 bytes of the invocation's log; empty on Managed Instances, where the lines
    /// of several invocations are mixed.
    pub log_tail: String,
    /// Measured durations.
    pub timing: Timing,
    /// The `Content-Type` the runtime sent with its answer.
    pub content_type: Option<String>,
    /// All headers the runtime sent with its answer, in order.
    pub headers: Vec<(String, String)>,
    /// Whether the runtime streamed the response.
    pub streamed: bool,
    /// The environment that ran it.
    pub environment: u64,
}

impl Outcome {
    /// The result of an invocation of which nothing else is known.
    pub(crate) fn empty(status: u16, request_id: &str) -> Self {
        Self {
            status,
            body: Vec::new(),
            function_error: None,
            request_id: request_id.to_owned(),
            log_tail: String::new(),
            timing: Timing::default(),
            content_type: None,
            headers: Vec::new(),
            streamed: false,
            environment: 0,
        }
    }
}

/// The error of a function that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionError {
    /// The type the platform records: the one the runtime gave if it has the form
    /// `Runtime.Reason` or `Function.Reason`, else `Runtime.Unknown` or `Function.Unknown`.
    pub error_type: String,
    /// `Lambda-Runtime-Function-Error-Type` as the runtime sent it.
    pub raw_type: Option<String>,
    /// The error's JSON, the runtime's own or the platform's.
    pub body: Vec<u8>,
    /// `Lambda-Runtime-Function-XRay-Error-Cause`, at most 64 KiB of it.
    pub xray_cause: Option<String>,
}

/// Durations of one invocation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// Whether the environment was started for this invocation.
    pub cold: bool,
    /// The init phase that preceded it, if it was cold.
    pub init: Option<Duration>,
    /// From the event going out to the complete response.
    pub duration: Duration,
    /// From the complete response to the runtime asking for the next event.
    pub overhead: Option<Duration>,
    /// From the runtime asking for the next event to the last extension doing so. None without
    /// extensions that take `INVOKE`.
    pub extension_overhead: Option<Duration>,
    /// The restore that preceded it.
    pub restore: Option<Duration>,
}

/// The figures of one cold start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started {
    /// The environment.
    pub environment: u64,
    /// The process; 0 in attach mode.
    pub pid: u32,
    /// From just before the process is created to the first complete `next` request.
    pub exec_to_next: Duration,
    /// The init phase as `REPORT` would print it.
    pub init: Duration,
    /// Processor time of all threads until then (`/proc/PID/task/*/schedstat`).
    pub cpu: Duration,
    /// Peak resident memory until then (`VmHWM`), in KiB.
    pub peak_memory_kb: u64,
    /// Resident memory then (`VmRSS`), in KiB.
    pub memory_kb: u64,
}

/// The state of an environment's runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// No process.
    Down,
    /// The process runs and has not asked for an event yet.
    Started,
    /// It waits for an event.
    Ready,
    /// It has an event and has not answered.
    Running,
    /// It is sending a response.
    InvocationResponse,
    /// It is sending an invocation error.
    InvocationErrorResponse,
    /// It has answered and has not asked for the next event.
    ResponseSent,
    /// It has reported an init error.
    InitError,
    /// It waits for the snapshot to be taken and restored.
    RestoreReady,
    /// It was restored and has not asked for an event yet.
    Restoring,
    /// It has reported that it cannot go on after the restore.
    RestoreError,
}

/// The state of an extension, named as in `platform.extension`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExtensionState {
    /// Its process runs and has not registered yet.
    Started,
    /// It has registered and has not asked for an event yet.
    Registered,
    /// It waits for an event.
    Ready,
    /// It was given an event.
    Running,
    /// It has reported that it cannot start.
    InitError,
    /// It has reported that it has to exit.
    ExitError,
    /// It was given `SHUTDOWN` and did not exit with the code 0.
    ShutdownFailed,
    /// It was given `SHUTDOWN` and exited.
    Exited,
    /// Its process could not be started.
    LaunchError,
}

/// One extension of an environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtensionInfo {
    /// Its name: the file's for an external one.
    pub name: String,
    /// Started by the environment, and not by the runtime's process.
    pub external: bool,
    /// Its state.
    pub state: ExtensionState,
    /// `INVOKE`, `SHUTDOWN`.
    pub events: Vec<&'static str>,
    /// Why it is in one of the error states.
    pub error_type: Option<String>,
    /// Its process, if it has one that lives.
    pub pid: Option<u32>,
    /// From just before the process is created to its registration.
    pub exec_to_register: Option<Duration>,
    /// From just before the process is created to its first `event/next`.
    pub exec_to_next: Option<Duration>,
}

impl ExtensionState {
    /// Its name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Started => "Started",
            Self::Registered => "Registered",
            Self::Ready => "Ready",
            Self::Running => "Running",
            Self::InitError => "InitError",
            Self::ExitError => "ExitError",
            Self::ShutdownFailed => "ShutdownFailed",
            Self::Exited => "Exited",
            Self::LaunchError => "LaunchError",
        }
    }
}

impl ExtensionInfo {
    /// Processor time of all its threads until now.
    #[must_use]
    pub fn cpu(&self) -> Option<Duration> {
        self.pid.map(proc::cpu)
    }

    /// Resident memory of its process now, in KiB.
    #[must_use]
    pub fn memory_kb(&self) -> Option<u64> {
        Some(proc::memory(self.pid?)?.now)
    }

    /// Peak resident memory of its process, in KiB.
    #[must_use]
    pub fn peak_memory_kb(&self) -> Option<u64> {
        Some(proc::memory(self.pid?)?.peak)
    }
}

/// The metadata endpoint of an environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// `AWS_LAMBDA_METADATA_API`.
    pub api: SocketAddr,
    /// `AWS_LAMBDA_METADATA_TOKEN`.
    pub token: String,
}

/// One execution environment.
#[derive(Clone, Debug)]
pub struct Environment {
    /// Its number, counted from 0.
    pub id: u64,
    /// Its process, if one lives.
    pub pid: Option<u32>,
    /// Its Runtime API.
    pub runtime_api: SocketAddr,
    /// Its metadata endpoint, if it has one.
    pub metadata: Option<Metadata>,
    /// Its state.
    pub state: State,
    /// Whether its processes are stopped.
    pub frozen: bool,
    /// The `next` calls that wait for an event. On Managed Instances a call whose connection has
    /// ended is one of them.
    pub polls: usize,
    /// The invocations in flight.
    pub invocations: usize,
    /// Its log stream.
    pub log_stream: String,
    /// Its extensions.
    pub extensions: Vec<ExtensionInfo>,
}

impl Environment {
    /// Resident memory of its process now, in KiB.
    #[must_use]
    pub fn memory_kb(&self) -> Option<u64> {
        Some(proc::memory(self.pid?)?.now)
    }

    /// Peak resident memory of its process, in KiB.
    #[must_use]
    pub fn peak_memory_kb(&self) -> Option<u64> {
        Some(proc::memory(self.pid?)?.peak)
    }
}

/// The record of a whole run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Every Runtime API exchange and lifecycle step.
    pub transcript: Vec<Entry>,
    /// The log.
    pub log: Vec<LogLine>,
    /// The telemetry that the subscribers were sent, up to their ends.
    pub deliveries: Vec<Deliveries>,
}

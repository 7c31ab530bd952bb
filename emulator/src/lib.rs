//! A Lambda execution environment on one machine.
//!
//! [`Emulator`] starts a custom runtime (`bootstrap`) the way Lambda does: one process in one
//! execution environment, one Runtime API endpoint per environment, an init phase, invocations
//! with a deadline, freeze and thaw between them, a reset after a crash or a timeout.
//! The same functions are reachable over the Invoke API, so that an AWS SDK can call them.
//!
//! # Extensions
//!
//! [`Config::extensions`] are started before the runtime and live as long as the environment: they
//! register, get `INVOKE` and `SHUTDOWN`, may subscribe to telemetry, and take the environment with
//! them when they end. An invocation is over when they have asked for the next event too.
//! [`Emulator::stop`] goes through the shutdown phase: SIGTERM to the runtime, the `SHUTDOWN` event
//! to the extensions, SIGKILL to all that are not gone in time. Without an extension, external or
//! registered by the runtime itself, there is no SIGTERM. [`Config::runtime_shutdown`] is the
//! runtime's share of the time.
//!
//! # Managed Instances
//!
//! With [`Initialization::ManagedInstances`] one environment runs up to [`Config::max_concurrency`]
//! invocations at once. Each `next` waits in one queue, and an invocation takes the oldest; one
//! whose connection has ended stays in the queue and fails the invocation that takes it. An
//! invocation that finds no room is throttled (429). The function timeout ends the caller's wait
//! alone, and a late answer is refused with 410. The end of the runtime's process or of an
//! extension ends the environment for good. [`What::Polled`] and [`Environment::polls`] show the
//! queue.
//!
//! # `SnapStart`
//!
//! With [`Initialization::SnapStart`] the init ends in a snapshot, for which the processes are
//! stopped, and the first invocation restores it. A runtime that waits in `restore/next` runs its
//! hooks within [`Config::restore_timeout`]. One that asked for an event without `restore/next` is
//! restored without hooks; on Lambda its image would need the label that allows that.
//! The restore resets idle connections, moves the environment to another availability zone and
//! changes the credentials. If it fails, the environment is gone and the Invoke API answers with
//! `SnapStartException` or `SnapStartTimeoutException`.
//!
//! # Metadata endpoint
//!
//! It serves one of [`Config::availability_zones`] at the address and with the token that the
//! processes find in `AWS_LAMBDA_METADATA_API` and `AWS_LAMBDA_METADATA_TOKEN`.
//!
//! # Records
//!
//! Every exchange and every step of the lifecycle is kept in a transcript, and faults (lost
//! connections, cut, split, late and wrong answers) can be planted at exact places: each [`Step`]
//! is an endpoint.
//!
//! # Attach mode
//!
//! With an empty [`Config::program`] no process is started: the one environment waits for a
//! runtime that somebody starts by hand, in a debugger for example, with the
//! `AWS_LAMBDA_RUNTIME_API` that stands in the log and in [`Environment::runtime_api`].
//! It may be stopped and started again while it waits for an event. Only in this mode does a wait
//! end with its connection: the platform watches processes, not connections, so an event that
//! goes to a broken one is lost there until the process asks again.
//!
//! # Limits
//!
//! The function's memory size is passed to the process and printed in `REPORT`; it is enforced
//! where [`Config::enforce_memory`] says so. On Managed Instances an environment is made for the
//! first invocation, and environments are not added when those that exist are busy. A restore
//! resets the idle connections to the endpoints of the environment; connections to elsewhere live
//! on, which they would not in a real snapshot.
//! `Max Memory Used` is read every 10 ms: a child that lives no longer may be missed. A process
//! that leaves its session (setsid(2)) is neither frozen nor ended with the environment.
//!
//! # Examples
//!
//! ```no_run
//! use bantam_emulator::{Config, Emulator};
//!
//! # fn main() -> Result<(), bantam_emulator::Error> {
//! let emulator = Emulator::start(Config::new("target/release/bootstrap"))?;
//! let outcome = emulator.invoke(r#"{"name":"world"}"#)?;
//! assert!(outcome.function_error.is_none());
//! let report = emulator.stop();
//! assert!(!report.transcript.is_empty());
//! # Ok(())
//! # }
//! ```

// A module imports only modules of the lines above its own; `tests/imports.rs` proves it.
//
//   lock, time            locks, wall-clock time
//   fault, http           faults and the socket they happen to; bodies, headers, ports
//   config                the settings of an emulator
//   process, telemetry    processes of this machine; the Telemetry API, which knows none
//   record                transcript, log, outcomes
//   error                 why a call failed
//   environment           one execution environment, its lifecycle, the pool of them
//   api                   the HTTP endpoints, for processes and for callers
//   handle                what a caller holds
//   measure               cold starts, measured
//   conform               the rules of the contracts, tried on a program
//   cli (in main.rs)      arguments to calls, results to text
pub mod conform;
pub mod interrupt;
pub mod measure;

mod api;
mod config;
mod environment;
mod error;
mod fault;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod handle;
mod http;
mod lock;
mod process;
mod record;
mod telemetry;
mod time;

pub use config::telemetry::{SchemaVersion, TelemetryOptions};
pub use config::{
    Config, Credentials, HttpEvent, Initialization, Invoke, InvokeKind, LogFormat, StreamRate,
    UrlInvokeMode,
};
pub use error::EmulatorError as Error;
pub use fault::{Fault, FaultKind, Step};
pub use handle::Emulator;
pub use record::log::LogLine;
pub use record::outcome::{
    Environment, ExtensionInfo, ExtensionState, FunctionError, Metadata, Outcome, Report, Started,
    State, Timing,
};
pub use record::transcript::{Entry, What, answers};
pub use record::watch::Seen;
pub use telemetry::Deliveries;

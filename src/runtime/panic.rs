//! A panic becomes the error of the invocation it broke, and the process starts anew in place.
//!
//! The hook runs before anything unwinds or aborts, on the thread that panicked. It reports over a
//! connection of its own, since the thread of the loop may be anywhere, and then executes the
//! program again. The process id stays, so the platform sees neither a crash nor a cold start.
//!
//! ```text
//!  Init ─► Idle ─► Invoking ─► Answering ─► Idle ─► Ended        ─ panic ─► Reporting ─► exec
//! ```
//!
//! Who answers an invocation is decided under one lock: the loop moves to `Answering` before it
//! sends, the hook moves to `Reporting` before it does, and neither moves if the other has. So an
//! invocation gets one answer, whichever thread panics when.
//!
//! A panic on another thread while the loop waits for an event, or sends an answer, breaks no
//! invocation. The process is doomed then, and starts anew when the next event has come: earlier,
//! the event would go to the connection that is waiting, and be lost with it; from then on `next`
//! gives it again.

use std::ffi::{OsStr, OsString};
use std::panic::PanicHookInfo;
use std::process;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use super::client::{Client, Post};
use super::context::Context;
use super::failure::Failure;
use super::log::Line;
use super::trace;
use crate::shared::endpoint::Endpoint;
use crate::shared::exec;
use crate::shared::logline::Level;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Init,
    Idle,
    Invoking,
    Answering,
    Reporting,
    Ended,
}

/// What the hook needs to know, kept up to date by the loop. The strings keep their memory.
struct Watch {
    phase: Phase,
    request_id: String,
    /// Empty when the platform sent none, as is `tenant_id`.
    invocation_id: String,
    tenant_id: String,
    /// The panic of another thread that broke no invocation.
    doomed: Option<Failure>,
    /// An invocation has been answered since the program started.
    answered: bool,
}

/// What never changes after the start.
struct Process {
    api: Endpoint,
    /// The thread of the loop.
    thread: ThreadId,
    arguments: Vec<OsString>,
    /// How often the process has started anew since it last answered an invocation.
    restarts: u32,
}

/// Installs the hook, in the init phase. `restarts` is the value of [`RESTARTS`], if it is set.
pub(super) fn watch(api: &Endpoint, restarts: Option<&OsStr>) {
    let process = Process {
        api: api.clone(),
        thread: thread::current().id(),
        arguments: std::env::args_os().collect(),
        restarts: restarts
            .and_then(OsStr::to_str)
            .and_then(|n| n.parse().ok())
            .unwrap_or(0),
    };
    if PROCESS.set(process).is_ok() {
        std::panic::set_hook(Box::new(hook));
    }
}

/// The loop waits for an event.
pub(super) fn idle() {
    let mut watch = enter(Phase::Idle);
    watch.request_id.clear();
    watch.tenant_id.clear();
}

/// The handler runs, unless this returns why it must not: the process is doomed, and starting anew
/// has not helped before. Then the invocation is answered with that.
pub(super) fn invoking(context: &Context<'_>) -> Option<Failure> {
    let set = |slot: &mut String, value: Option<&str>| {
        slot.clear();
        slot.push_str(value.unwrap_or_default());
    };
    let mut watch = enter(Phase::Invoking);
    set(&mut watch.request_id, Some(context.request_id()));
    set(&mut watch.invocation_id, context.invocation_id());
    set(&mut watch.tenant_id, context.tenant_id());
    let doomed = watch.doomed.take()?;
    let answered = watch.answered;
    drop(watch);
    let process = PROCESS.get()?;
    let restarts = if answered { 0 } else { process.restarts };
    if restarts < RESTARTS_MAX {
        start_anew(process, restarts + 1);
    }
    Some(doomed)
}

/// The loop is over; what panics from now on is of no consequence.
pub(super) fn ended() {
    let _watch = enter(Phase::Ended);
}

/// The invocation has been answered by a process that is doomed.
pub(super) fn start_over() -> ! {
    match PROCESS.get() {
        Some(process) => start_anew(process, 0),
        None => wait_for_the_end(),
    }
}

/// The loop is about to answer. Does not return if the hook is answering.
pub(super) fn answering() {
    enter(Phase::Answering).answered = true;
}

/// Runs `use_ids` with the request id and the tenant id of the invocation that is running.
pub(super) fn with_ids(use_ids: impl FnOnce(Option<&str>, Option<&str>)) {
    let watch = lock();
    let request_id = Some(watch.request_id.as_str()).filter(|id| !id.is_empty());
    let tenant_id = Some(watch.tenant_id.as_str()).filter(|id| !id.is_empty());
    use_ids(request_id, tenant_id);
}

/// Moves to `phase`, or waits for the end if another thread reports a panic.
fn enter(phase: Phase) -> MutexGuard<'static, Watch> {
    let mut watch = lock();
    if watch.phase == Phase::Reporting {
        drop(watch);
        wait_for_the_end();
    }
    watch.phase = phase;
    watch
}

/// Runs on the thread that panicked. A panic inside it is not for us: the standard library aborts
/// the process then, and the platform reports the invocation.
///
/// The report goes out before the log line: whoever reads the log may be slow, or not there.
fn hook(info: &PanicHookInfo<'_>) {
    let Some(process) = PROCESS.get() else { return };
    let message = info.payload_as_str().unwrap_or("a value that is not text");
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let failure = Failure::new("Function.Panic", format!("panicked at {place}: {message}"))
        .with_stack_trace(vec![place]);
    match take_over(process, &failure) {
        Takeover::Nothing => {}
        Takeover::Doomed => {
            failure.log(Level::Error);
            wait_for_the_end();
        }
        Takeover::Init => {
            let mut client = Client::with_timeout(&process.api, Some(REPORT_TIMEOUT));
            let _answer = client.init_error(&failure);
            failure.log(Level::Error);
            #[expect(
                clippy::exit,
                clippy::disallowed_methods,
                reason = "a failed initialisation ends the process"
            )]
            process::exit(1);
        }
        Takeover::Invocation {
            request_id,
            invocation_id,
        } => {
            let mut client = Client::with_timeout(&process.api, Some(REPORT_TIMEOUT));
            let invocation_id = Some(invocation_id.as_str()).filter(|id| !id.is_empty());
            let _answer = client.answer_by_id(&request_id, invocation_id, Post::Error(&failure));
            failure.log(Level::Error);
            start_anew(process, 0);
        }
    }
}

/// What a panic broke.
enum Takeover {
    /// The loop is over.
    Nothing,
    /// No invocation, but the process.
    Doomed,
    /// The initialisation.
    Init,
    /// The invocation with these ids.
    Invocation {
        request_id: String,
        invocation_id: String,
    },
}

/// Makes this thread the one that reports, if there is something to report.
fn take_over(process: &Process, failure: &Failure) -> Takeover {
    let in_loop = thread::current().id() == process.thread;
    let mut watch = lock();
    match watch.phase {
        Phase::Reporting => {
            drop(watch);
            wait_for_the_end();
        }
        Phase::Ended => Takeover::Nothing,
        Phase::Idle | Phase::Answering if !in_loop => {
            watch.doomed.get_or_insert_with(|| failure.clone());
            Takeover::Doomed
        }
        Phase::Init => {
            watch.phase = Phase::Reporting;
            Takeover::Init
        }
        Phase::Idle | Phase::Answering | Phase::Invoking => {
            watch.phase = Phase::Reporting;
            Takeover::Invocation {
                request_id: watch.request_id.clone(),
                invocation_id: watch.invocation_id.clone(),
            }
        }
    }
}

/// Replaces the process by a fresh one of the same program. Sockets close by themselves.
fn start_anew(process: &Process, restarts: u32) -> ! {
    // The initialisation of the fresh program belongs to no invocation.
    let arguments = process.arguments.clone();
    let restarts = restarts.to_string();
    let error = exec::again(
        arguments,
        &[(RESTARTS, Some(&restarts)), (trace::NAME, None)],
    );
    let message = format!("cannot start anew after a panic: {error}");
    Line::new(Level::Fatal, &message).write();
    #[expect(
        clippy::exit,
        clippy::disallowed_methods,
        reason = "a process that panicked must not go on"
    )]
    process::exit(1)
}

/// Another thread is about to replace the process.
fn wait_for_the_end() -> ! {
    loop {
        thread::park();
    }
}

fn lock() -> MutexGuard<'static, Watch> {
    WATCH.lock().unwrap_or_else(PoisonError::into_inner)
}

static WATCH: Mutex<Watch> = Mutex::new(Watch {
    phase: Phase::Init,
    request_id: String::new(),
    invocation_id: String::new(),
    tenant_id: String::new(),
    doomed: None,
    answered: false,
});

static PROCESS: OnceLock<Process> = OnceLock::new();

/// Counts, across executions, how often the process started anew since it answered an invocation.
pub(super) const RESTARTS: &str = "_BANTAM_RESTARTS";

/// How often it starts anew for one invocation. A thread of the initialisation that always panics
/// would otherwise keep the process starting until the invocation times out.
const RESTARTS_MAX: u32 = 2;

/// How long each step of the report may take.
const REPORT_TIMEOUT: Duration = Duration::from_secs(2);

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

use std::cell::Cell;
use std::ffi::OsStr;
use std::mem;
use std::panic::PanicHookInfo;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::client::{Client, Post};
use super::context::Context;
use super::error::Error;
use super::log;
use super::trace;
use crate::shared::endpoint::Endpoint;
use crate::shared::http;
use crate::shared::log_record::Level;
use crate::shared::os;
use crate::shared::os::exec;

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
    doomed: Option<&'static Error>,
    /// Where to report to; there once the hook is installed.
    api: Option<&'static Endpoint>,
    /// How often the process has started anew since it last answered an invocation.
    restarts: u64,
}

/// Installs the hook, in the init phase and on the thread of the loop. `restarts` is the value of
/// [`RESTARTS`], if it is set.
pub(super) fn watch(api: &'static Endpoint, restarts: Option<&OsStr>) {
    let restarts = restarts.and_then(|count| http::decimal(count.as_encoded_bytes()));
    let mut watch = lock();
    watch.api = Some(api);
    watch.restarts = restarts.unwrap_or(0);
    IN_LOOP.set(true);
    std::panic::set_hook(Box::new(hook));
}

/// The loop waits for an event.
pub(super) fn idle() {
    let mut watch = enter(Phase::Idle);
    watch.request_id.clear();
    watch.tenant_id.clear();
}

/// The handler runs, unless this returns why it must not: the process is doomed, and starting anew
/// has not helped before. Then the invocation is answered with that.
pub(super) fn invoking(context: &Context<'_>) -> Option<&'static Error> {
    let set = |slot: &mut String, value: Option<&str>| {
        slot.clear();
        slot.push_str(value.unwrap_or_default());
    };
    let mut watch = enter(Phase::Invoking);
    set(&mut watch.request_id, Some(context.request_id()));
    set(&mut watch.invocation_id, context.invocation_id);
    set(&mut watch.tenant_id, context.tenant_id());
    let doomed = watch.doomed.take()?;
    let restarts = watch.restarts;
    drop(watch);
    if restarts < RESTARTS_MAX {
        start_anew(restarts + 1);
    }
    Some(doomed)
}

/// The loop is over; what panics from now on is of no consequence.
pub(super) fn ended() {
    let _watch = enter(Phase::Ended);
}

/// The invocation has been answered by a process that is doomed.
pub(super) fn start_over() -> ! {
    start_anew(0)
}

/// The loop is about to answer. Does not return if the hook is answering.
pub(super) fn answering() {
    enter(Phase::Answering).restarts = 0;
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
    let message = info.payload_as_str().unwrap_or("a value that is not text");
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let mut error = Error::of_text("Function.Panic", format!("panicked at {place}: {message}"));
    error.0.stack_trace.push(place);
    // A thread that panicked does not come back from here, and what it reports may outlive it.
    let error: &'static Error = Box::leak(Box::new(error));
    let Some((api, ids)) = take_over(error) else {
        return;
    };
    let mut client = Client::with_timeout(api, Some(REPORT_TIMEOUT));
    let _answer = match &ids {
        None => client.init_error(error),
        Some((request_id, invocation_id)) => {
            let invocation_id = Some(invocation_id.as_str()).filter(|id| !id.is_empty());
            client.answer_by_id(request_id, invocation_id, Post::Error(error))
        }
    };
    error.log(Level::Error);
    match ids {
        None => os::exit(1),
        Some(_) => start_anew(0),
    }
}

/// Makes this thread the one that reports: to where, and the ids of the invocation, or none if it
/// was the initialisation that broke. `None` if the loop is over. Does not return if it is not for
/// this thread to report.
fn take_over(error: &'static Error) -> Option<(&'static Endpoint, Option<(String, String)>)> {
    let mut watch = lock();
    let api = watch.api?;
    let ids = match watch.phase {
        Phase::Ended => return None,
        Phase::Reporting => {
            drop(watch);
            wait_for_the_end();
        }
        Phase::Idle | Phase::Answering if !IN_LOOP.get() => {
            watch.doomed.get_or_insert(error);
            drop(watch);
            error.log(Level::Error);
            wait_for_the_end();
        }
        Phase::Init => None,
        Phase::Idle | Phase::Answering | Phase::Invoking => {
            // The request id stays for the log line.
            let invocation_id = mem::take(&mut watch.invocation_id);
            Some((watch.request_id.clone(), invocation_id))
        }
    };
    watch.phase = Phase::Reporting;
    Some((api, ids))
}

/// Replaces the process by a fresh one of the same program. Sockets close by themselves.
fn start_anew(restarts: u64) -> ! {
    let restarts = restarts.to_string();
    // The initialisation of the fresh program belongs to no invocation.
    let changes = [(RESTARTS, Some(restarts.as_str())), (trace::NAME, None)];
    let error = os::error_text(exec::again(&changes));
    let message = format!("cannot start anew after a panic: {error}");
    log::line(Level::Fatal, &message);
    os::exit(1)
}

/// Another thread is about to replace the process.
fn wait_for_the_end() -> ! {
    loop {
        rustix::event::pause();
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
    api: None,
    restarts: 0,
});

thread_local! {
    /// Whether this is the thread of the loop.
    static IN_LOOP: Cell<bool> = const { Cell::new(false) };
}

/// Counts, across executions, how often the process started anew since it answered an invocation.
pub(super) const RESTARTS: &str = "_BANTAM_RESTARTS";

/// How often it starts anew for one invocation. A thread of the initialisation that always panics
/// would otherwise keep the process starting until the invocation times out.
const RESTARTS_MAX: u64 = 2;

/// How long each step of the report may take.
const REPORT_TIMEOUT: Duration = Duration::from_secs(2);

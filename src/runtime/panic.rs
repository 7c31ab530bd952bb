//! A panic becomes the error of the invocation it broke, and the program starts again in place.
//!
//! The hook runs before anything unwinds or aborts, on the thread that panicked. It reports over a
//! connection of its own, since the thread of the loop may be anywhere, and then executes the
//! program again. The process id stays, so the platform sees neither a crash nor a cold start.
//! `current` says what a panic has broken.

use std::cell::Cell;
use std::sync::Arc;

use super::api::{Ids, Post};
use super::client::{REPORT_TIMEOUT, post_once};
use super::current::{self, Broken, Thread};
use super::error::Error;
use super::log;
use super::trace;
use crate::shared::endpoint::Endpoint;
use crate::shared::log_record::Level;
use crate::shared::os;
use crate::shared::os::reexec::{self, After, OnPanic, Panic};

/// Installs the hook, in the init phase and on the thread of the loop.
pub(super) fn watch(api: &Endpoint) {
    *lock_api() = Some(api.clone());
    THREAD.set(Thread::Loop);
    reexec::on_panic(act);
}

/// Executes the program again. `restarts` counts how often it has been since it last answered an
/// invocation.
pub(super) fn start_again(restarts: u32) -> ! {
    // The hooks for the end of the environment would be cut off. They end the process.
    if current::is_ending() {
        reexec::wait();
    }
    let restarts = restarts.to_string();
    // The initialisation of the fresh program belongs to no invocation.
    let changes = [(RESTARTS, Some(restarts.as_str())), (trace::NAME, None)];
    if let Some(seat) = current::seat() {
        seat.starts_again();
    }
    let error = os::error_text(reexec::again(&changes));
    let message = format!("cannot start again after a panic: {error}");
    log::line(Level::Fatal, &message);
    os::exit(1)
}

/// Installs another hook, once there is one at all. It calls [`act`] for what it does not know.
pub(super) fn watch_also(act: OnPanic) {
    if lock_api().is_some() {
        reexec::on_panic(act);
    }
}

/// A panic as the error of what it broke.
pub(super) fn error(panic: &Panic<'_>) -> Error {
    let (place, message) = (&panic.place, panic.message);
    let error = Error::new("Function.Panic", format!("panicked at {place}: {message}"));
    error.with_stack_trace([place.as_str()])
}

/// Reports a panic and starts the program again.
pub(super) fn act(panic: &Panic<'_>) -> After {
    let error = Arc::new(error(panic));
    let broken = current::panicked(THREAD.get(), &error);
    // The report goes out before the log line: whoever reads the log may be slow, or not there.
    match &broken {
        Broken::Init if reports_init_error(&error) => report(Post::init_error(&error)),
        Broken::Restore => report(Post::restore_error(&error)),
        Broken::Invocation {
            request_id,
            invocation_id,
        } => {
            let to = Ids {
                request_id,
                invocation_id: invocation_id.as_deref(),
            };
            report(Post::Error { to, error: &error });
        }
        Broken::Init | Broken::Loop | Broken::Shutdown | Broken::Doomed => {}
        Broken::Nothing => return After::Return,
        Broken::Reported => return After::Wait,
    }
    error.log(Level::Error, None);
    match broken {
        Broken::Init | Broken::Restore | Broken::Shutdown => After::Exit(1),
        Broken::Invocation { .. } | Broken::Loop => start_again(0),
        Broken::Doomed | Broken::Nothing | Broken::Reported => After::Wait,
    }
}

/// Whether a failed initialisation is for this process to report.
pub(super) fn reports_init_error(error: &Error) -> bool {
    current::seat().is_none_or(|seat| seat.reports_init_error(error))
}

fn report(post: Post<'_>) {
    if let Some(api) = &*lock_api() {
        post_once(post, api, Some(REPORT_TIMEOUT));
        current::answered();
    }
}

reexec::process_lock!(lock_api: Option<Endpoint> = None);

thread_local! {
    /// Which one this is.
    pub(super) static THREAD: Cell<Thread> = const { Cell::new(Thread::Other) };
}

/// Counts, across executions, how often the program was started again since it answered an
/// invocation.
pub(super) const RESTARTS: &str = "_BANTAM_RESTARTS";

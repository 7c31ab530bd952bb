//! A panic must not end the extension: any exit before SHUTDOWN, even with 0, fails the function.
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html>
//!
//! The hook executes the program again in place and hands it the identifier and the socket with
//! the open `event/next`, so that no event is lost. What was measured so far is lost, and counted.

use std::net::SocketAddr;
use std::os::fd::{AsFd as _, AsRawFd, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::getpeername;

use crate::shared::http::decimal;
use crate::shared::os;
use crate::shared::os::reexec;

/// What the fresh program needs. Kept up to date by the loop.
#[derive(Debug)]
struct Handover {
    identifier: String,
    /// A second descriptor of the socket to the API, which would close when it is executed.
    stream: Option<OwnedFd>,
    /// Whether `event/next` is on the wire there, and unanswered.
    asked: bool,
    /// Whether an answer has begun to arrive there.
    is_answered: bool,
    /// Whether SHUTDOWN came.
    is_ending: bool,
    /// Where telemetry comes in, or 0.
    port: u16,
    /// How often this has happened.
    panics: u32,
}

/// What an earlier program of this process left.
#[derive(Debug)]
pub(super) struct Resumed {
    pub(super) identifier: String,
    /// The socket with the open `event/next`, if it is still good.
    pub(super) stream: Option<OwnedFd>,
    /// Whether `event/next` is on the wire there, and unanswered.
    pub(super) asked: bool,
    /// Where telemetry is delivered to, or 0.
    pub(super) port: u16,
    pub(super) panics: u32,
}

/// Installs the hook, once there is an identifier to hand over.
pub(super) fn watch(identifier: &str, port: u16, panics: u32) {
    *lock() = Some(Handover {
        identifier: identifier.to_owned(),
        stream: None,
        asked: false,
        is_answered: false,
        is_ending: false,
        port,
        panics,
    });
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let message = info.payload_as_str().unwrap_or_default();
        super::log(&format!("panicked at {place}: {message}; starting anew"));
        start_anew();
    }));
}

/// Takes note of the socket that `event/next` waits on.
pub(super) fn waits_on(stream: Option<BorrowedFd<'_>>) {
    if let Some(handover) = lock().as_mut() {
        handover.stream = stream.and_then(|stream| stream.try_clone_to_owned().ok());
    }
}

/// Takes note of whether `event/next` is on the wire and unanswered.
pub(super) fn asked(asked: bool) {
    if let Some(handover) = lock().as_mut() {
        (handover.asked, handover.is_answered) = (asked, false);
    }
}

/// Takes note that the answer to `event/next` has begun to arrive.
///
/// The rest of it means nothing to another program, and if there is no rest it would wait for ever.
/// So the connection is not handed over then, and the next event is asked for on a new one: the
/// platform takes that as the end of the event whose answer was lost. An INVOKE goes uncounted; a
/// SHUTDOWN goes unanswered, and costs the time until the process is killed.
pub(super) fn answered() {
    if let Some(handover) = lock().as_mut() {
        handover.is_answered = true;
    }
}

/// Takes note that SHUTDOWN came: no other event will, so there is nothing to start anew for.
pub(super) fn ends() {
    if let Some(handover) = lock().as_mut() {
        handover.is_ending = true;
    }
}

/// What an earlier program of this process handed over, if one panicked.
#[expect(
    unsafe_code,
    reason = "a descriptor that was kept across exec has to be taken by number"
)]
pub(super) fn resumed(lookup: &dyn Fn(&str) -> Option<String>, api: SocketAddr) -> Option<Resumed> {
    let value = lookup(VARIABLE)?;
    let mut parts = value.splitn(5, ' ');
    let mut number = || u32::try_from(decimal(parts.next()?.as_bytes())?).ok();
    let descriptor = RawFd::try_from(number()?).ok()?;
    let panics = number()?;
    let asked = number()? != 0;
    let port = u16::try_from(number()?).ok()?;
    let identifier = parts.next()?.to_owned();
    let stream = (2 < descriptor).then(|| {
        // SAFETY: the number was written by `start_anew` in the program that this one replaced,
        // into the environment of this process alone. That program kept the descriptor open across
        // the exec, and this runs once, before anything else is opened or takes a descriptor by
        // number; so it is open and has no other owner.
        unsafe { OwnedFd::from_raw_fd(descriptor) }
    });
    let stream = stream.filter(|stream| getpeername(stream) == Ok(Some(api.into())));
    if let Some(stream) = &stream {
        fcntl_setfd(stream.as_fd(), FdFlags::CLOEXEC).ok();
    }
    Some(Resumed {
        identifier,
        stream,
        asked,
        port,
        panics,
    })
}

fn start_anew() -> ! {
    let panics = lock().as_ref().map_or(0, |handover| handover.panics);
    // One panic after another must not become a spin.
    os::sleep(PAUSE.saturating_mul(panics).min(PAUSE_MAX));
    // Held until the end: what is handed over stays true, because the loop, which may be another
    // thread, tells of each step here before it takes it. Another thread that panics waits here.
    let held = lock();
    if let Some(handover) = held.as_ref() {
        if handover.is_ending {
            // The exit that SHUTDOWN asks for, without what was left to export.
            os::exit(0);
        }
        let stream = handover.stream.as_ref().filter(|_| !handover.is_answered);
        let kept = stream.filter(|stream| fcntl_setfd(stream.as_fd(), FdFlags::empty()).is_ok());
        let value = format!(
            "{} {} {} {} {}",
            kept.map_or(0, AsRawFd::as_raw_fd),
            panics.saturating_add(1),
            u8::from(handover.asked),
            handover.port,
            handover.identifier,
        );
        let error = reexec::again(&[(VARIABLE, Some(&value))]);
        super::log(&format!(
            "cannot start anew after a panic: {}",
            os::error_text(error)
        ));
    }
    drop(held);
    // To exit is to fail the function; to stay is to hold up its next invocation. Staying is the
    // lesser harm: the platform ends the environment by itself when it times out.
    loop {
        rustix::event::pause();
    }
}

fn lock() -> MutexGuard<'static, Option<Handover>> {
    HANDOVER.lock().unwrap_or_else(PoisonError::into_inner)
}

static HANDOVER: Mutex<Option<Handover>> = Mutex::new(None);

/// Descriptor or 0, count, whether asked, port and identifier, separated by spaces. Customers cannot set
/// such a name:
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>
const VARIABLE: &str = "_BANTAM_RESUME";

const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

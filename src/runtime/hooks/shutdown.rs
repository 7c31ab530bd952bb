//! SIGTERM before the environment ends.
//!
//! The platform sends it only where an extension is registered, so the function registers as one,
//! an internal one: <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html>.
//! Such an extension has to ask for an event before the init phase can end, and gets none, because
//! it asks for none. So that request is sent and its answer is never read.

use std::fmt;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsFd as _, IntoRawFd as _, OwnedFd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use rustix::io::{Errno, read};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::runtime::client::{call, describe};
use crate::runtime::current::Thread;
use crate::runtime::error::Error;
use crate::runtime::handler::{Beside, Init};
use crate::runtime::{current, log, panic};
use crate::shared::endpoint::Endpoint;
use crate::shared::env::Env;
use crate::shared::http::{Exchange, Expect, HeadWriter, JSON, Limits, Outgoing, Reader};
use crate::shared::log_record::Level;
use crate::shared::os;
#[cfg(test)]
use crate::shared::os::simulation;
use crate::shared::os::{blocking, reexec};

/// Runs `hook` when the platform is about to end the execution environment, and ends the process.
///
/// The platform then sends SIGTERM and kills the process 300 to 500 ms later, whether or not the
/// hook has ended. The hook runs on a thread of its own; several run one after the other, the
/// outermost first. Mostly no invocation runs at that time, but after a timeout the handler may.
///
/// This takes one call of the Extensions API in the init phase, by which the function counts as one
/// of the ten extensions that there may be.
///
/// ```no_run
/// # fn order(_: &[u8], _: &bantam::Context<'_>) -> Result<Vec<u8>, bantam::Error> { Ok(vec![]) }
/// fn main() {
///     let flush = || eprintln!("the environment ends");
///     bantam::main(bantam::on_shutdown(bantam::raw!(order), flush))
/// }
/// ```
///
/// On Managed Instances it runs in every worker.
#[must_use = "hand it to `bantam::main`"]
pub fn on_shutdown<I, F>(init: I, hook: F) -> OnShutdown<I, F>
where
    I: Init,
    F: FnOnce() + Send + 'static,
{
    OnShutdown { init, hook }
}

/// An init step with a hook; [`on_shutdown`] makes it.
#[must_use = "hand it to `bantam::main`"]
pub struct OnShutdown<I, F> {
    init: I,
    hook: F,
}

impl<I: Init, F: FnOnce() + Send + 'static> Init for OnShutdown<I, F> {
    type Handler = I::Handler;

    fn init(self, env: &Env) -> Result<I::Handler, Error> {
        // Before the user's own initialisation: it may be cut off, and it may take a snapshot.
        before_end(&env.api, Box::new(self.hook))?;
        self.init.init(env)
    }

    fn beside_workers(&self, env: &Env) -> Beside {
        Beside {
            register: Some(register),
            ..self.init.beside_workers(env)
        }
    }
}

/// Runs `hook` when the platform sends SIGTERM, after those that were given before, and then ends
/// the process.
///
/// # Errors
///
/// That there is no pipe or no thread.
pub(in crate::runtime) fn before_end(api: &Endpoint, hook: Work) -> Result<(), Error> {
    #[cfg(test)]
    if simulation::here().is_some() {
        return Ok(());
    }
    let mut hooks = reexec::lock(&HOOKS);
    hooks.push(hook);
    if hooks.len() != 1 {
        return Ok(());
    }
    drop(hooks);
    let signal = listen().and_then(|signal| {
        start_thread(Box::new(move || {
            // One byte comes, when the signal does.
            while read(&signal, &mut [0; 1]) == Err(Errno::INTR) {}
            current::ends();
            panic::THREAD.set(Thread::Shutdown);
            let hooks = mem::take(&mut *reexec::lock(&HOOKS));
            hooks.into_iter().for_each(|hook| hook());
        }))
    });
    signal.map_err(|error| Error::new("Runtime.ShutdownHook", os::error_text(error)))?;
    // A program that was started again is registered. For the workers of Managed Instances their
    // supervisor is: should one end that is, so would the environment.
    if !current::is_again() && current::seat().is_none() {
        register(api);
    }
    Ok(())
}

impl<I, F> fmt::Debug for OnShutdown<I, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnShutdown").finish_non_exhaustive()
    }
}

/// Makes SIGTERM a byte in a pipe, and returns the end to read it from. A handler of a signal may
/// do hardly more, and unlike a blocked signal it does not concern the processes that this one
/// starts.
#[expect(
    unsafe_code,
    reason = "the standard library does not change the meaning of a signal"
)]
fn listen() -> Result<OwnedFd, Errno> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    // It stays open as long as the process lives.
    SIGNALLED.store(writer.into_raw_fd(), Ordering::Release);
    let tell = tell as extern "C" fn(libc::c_int) as libc::sighandler_t;
    // SAFETY: `tell` is a function that takes the signal. It makes one system call and leaves
    // `errno` as it was, which a signal handler may do.
    unsafe { libc::signal(libc::SIGTERM, tell) };
    Ok(reader)
}

#[expect(unsafe_code, reason = "the standard library's write is no call of C")]
extern "C" fn tell(_: libc::c_int) {
    let pipe = SIGNALLED.load(Ordering::Acquire);
    // SAFETY: `write` reads one byte of a constant. `errno` is a variable of this thread.
    unsafe {
        let errno = *libc::__errno_location();
        libc::write(pipe, b"!".as_ptr().cast(), 1);
        *libc::__errno_location() = errno;
    }
}

/// Runs `work` on a thread of its own, and then ends the process.
#[expect(
    unsafe_code,
    reason = "the standard library's thread is 20 KB, most of it for what joins and names one"
)]
fn start_thread(work: Work) -> Result<(), Errno> {
    let argument = Box::into_raw(Box::new(work)).cast();
    let mut thread = MaybeUninit::uninit();
    let mut attributes = MaybeUninit::uninit();
    // SAFETY: the attributes are initialised before they are used, and hold nothing that would have
    // to be freed. `run` takes a pointer that `Box::into_raw` made of this type, and is called once
    // with it. The work may go to another thread. Nobody joins the thread, whose id is not read.
    let error = unsafe {
        libc::pthread_attr_init(attributes.as_mut_ptr());
        libc::pthread_attr_setstacksize(attributes.as_mut_ptr(), STACK_BYTES);
        libc::pthread_create(thread.as_mut_ptr(), attributes.as_ptr(), run, argument)
    };
    if error == 0 {
        return Ok(());
    }
    // Without a thread the work is lost with the process, which cannot start.
    Err(Errno::from_raw_os_error(error))
}

#[expect(
    unsafe_code,
    reason = "the C library gives a thread its argument as a pointer"
)]
extern "C" fn run(work: *mut libc::c_void) -> *mut libc::c_void {
    // SAFETY: see `start_thread`.
    let work: Box<Work> = unsafe { Box::from_raw(work.cast()) };
    work();
    os::exit(0)
}

/// As much as a thread of the standard library has; musl gives one 128 KiB. Pages that are not
/// touched take no memory.
const STACK_BYTES: usize = 2 << 20;

pub(in crate::runtime) type Work = Box<dyn FnOnce() + Send>;

/// What runs at the end of the environment.
static HOOKS: Mutex<Vec<Work>> = Mutex::new(Vec::new());

static SIGNALLED: AtomicI32 = AtomicI32::new(-1);

/// Registers as an internal extension. Where that fails the hook still runs if another extension is
/// registered, so it is a warning.
pub(in crate::runtime) fn register(api: &Endpoint) {
    #[cfg(test)]
    if simulation::here().is_some() {
        return;
    }
    if let Err(reason) = register_as(NAME, NOT_REGISTERED, api) {
        log::line(Level::Warn, &reason);
    }
}

/// Registers under this name, and asks for the event that never comes.
///
/// # Errors
///
/// Why it could not, behind `failed`.
pub(in crate::runtime) fn register_as(
    name: &str,
    failed: &str,
    api: &Endpoint,
) -> Result<(), String> {
    let mut head = Vec::new();
    let path = [&*api.prefix, VERSION, "/register"];
    HeadWriter::request(&mut head, "POST", &path, &api.authority)
        .field("Lambda-Extension-Name", name.as_bytes())
        .constant(JSON)
        .end_with_length(NO_EVENTS.len());
    let response = call(api, &head, NO_EVENTS, Some(TIMEOUT));
    let response = response.map_err(|error| format!("{failed}: {error}"))?;
    let id = response.head().field("Lambda-Extension-Identifier");
    let Some(id) = id.filter(|_| response.status() == Some(200)) else {
        return Err(describe(failed, None, &response));
    };
    let path = [&*api.prefix, VERSION, "/event/next"];
    HeadWriter::request(&mut head, "GET", &path, &api.authority)
        .field("Lambda-Extension-Identifier", id)
        .end();
    ask(api, &head).map_err(|error| format!("{failed}: {}", os::error_text(error)))
}

/// Sends the request whose answer is never read.
fn ask(api: &Endpoint, head: &[u8]) -> Result<(), Errno> {
    let stream = blocking::connect(api.address, Some(TIMEOUT))?;
    let mut response = Reader::new(Expect::Response, Limits::of_body(0));
    let mut exchange = Exchange::new(Outgoing::new(head, b""), &mut response);
    blocking::send(stream.as_fd(), &mut exchange)?;
    // To the platform an extension that closes the connection may have crashed.
    reexec::keep(stream);
    Ok(())
}

const VERSION: &str = "/2020-01-01/extension";

/// It differs from the names of extensions in `/opt/extensions`.
const NAME: &str = "bantam-on-shutdown";

const NO_EVENTS: &[u8] = br#"{"events":[]}"#;

/// How long each step of a call may take.
const TIMEOUT: Duration = Duration::from_secs(2);

const NOT_REGISTERED: &str = "the hook for the shutdown runs only if an extension is there, \
    because the function cannot register as one";

//! The custom runtime: a blocking loop over one keep-alive connection to the Runtime API.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>.
//! It may use `shared`, sockets, the clock and the process; it never imports `extension`.

pub(crate) mod adapter;
mod api;
mod batch;
mod client;
mod context;
mod current;
mod error;
mod error_report;
mod executable;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod handler;
mod hooks;
mod log;
mod macros;
mod panic;
mod process_one;
mod response;
mod stream;
mod trace;
mod workers;
#[cfg(test)]
#[cfg(feature = "managed-instances")]
mod world;
mod wrapper;
mod zone;

use self::api::Post;
use self::client::{Client, Received, Stop};
use self::handler::Beside;
use self::trace::TraceVariable;
use self::workers::Part;
use crate::shared::env::{Env, Function};
use crate::shared::log_record::Level;
use crate::shared::os;

pub use self::batch::BatchFailures;
pub use self::context::Context;
pub use self::error::{Error, ErrorType, ResultExt};
pub use self::executable::{Executable, ExecutableInit, executable};
pub use self::handler::{Handler, HandlerFn, Init, InitFn, handler_fn};
pub use self::hooks::{OnShutdown, SnapStart, on_shutdown, snap_start};
pub use self::macros::private;
pub use self::response::{Answer, Answered};
pub use self::stream::{Prelude, ResponseStream};

pub(crate) use self::log::write_line;
pub(crate) use self::wrapper::is_wrapped;

/// Runs the invocation loop until the Runtime API is gone, and ends the process.
///
/// Use this in place of [`main`](crate::main()) where the name of the binary is not to decide: it
/// is never the extension, and never prints how to start it.
/// The process ends with 1 if the initialisation or the API failed.
///
/// ```no_run
/// # fn order(_: &[u8], _: &bantam::Context<'_>) -> Result<Vec<u8>, bantam::Error> { Ok(vec![]) }
/// fn main() {
///     bantam::run(bantam::raw!(order))
/// }
/// ```
pub fn run(init: impl Init) -> ! {
    // What is the same for every handler is compiled once, and not as part of users' crates.
    os::exit(invoke(Box::new(init)))
}

/// Ends a process that was started as the handler of another runtime: see [`executable::refusal`].
pub(crate) fn refuse_to_be_a_handler() {
    if let Some(refusal) = executable::refusal(os::variable) {
        log::line(Level::Fatal, &refusal);
        os::exit(1)
    }
}

/// An [`Init`] of any type.
trait Start<'h> {
    fn start(self: Box<Self>, env: &Env) -> Result<Box<dyn Handler + 'h>, Error>;

    fn beside(&self, env: &Env) -> Beside;
}

impl<'h, I: Init> Start<'h> for I
where
    I::Handler: 'h,
{
    fn start(self: Box<Self>, env: &Env) -> Result<Box<dyn Handler + 'h>, Error> {
        Ok(Box::new(self.init(env)?))
    }

    fn beside(&self, env: &Env) -> Beside {
        self.beside_workers(env)
    }
}

/// The runtime, to its exit code.
#[inline(never)]
fn invoke<'h>(init: Box<dyn Start<'h> + 'h>) -> u8 {
    process_one::end_by_signals();
    refuse_to_be_a_handler();
    let env = Env::read(&os::variable, &os::resolve::address);
    let env = match &env {
        Ok(env) => env,
        Err(error) => {
            log::line(Level::Fatal, &error.to_string());
            return 1;
        }
    };
    log::configure(env.log);
    let restarts = os::variable(panic::RESTARTS);
    let wrapped = wrapper::run(&os::variable);
    if wrapped.is_ok() {
        // The process that the platform starts reports settings: no worker, and not again after a
        // panic.
        if restarts.is_some() {
            current::starts_again();
        }
        let beside = || {
            report_unknown_level();
            init.beside(env)
        };
        match workers::take_part(env, restarts.is_some(), beside) {
            Part::Alone if restarts.is_none() => report_unknown_level(),
            Part::Alone => {}
            Part::Worker(seat) => current::take(seat),
            Part::Supervisor(code) => return code,
        }
    }
    panic::watch(&env.api);
    let mut client = Client::new(&env.api, None);
    let stop = match wrapped.and_then(|()| init.start(env)) {
        Ok(mut handler) => {
            let restarts = restarts.and_then(|count| count.to_str()?.parse().ok());
            let stop = invocations(
                &env.function,
                &mut client,
                &mut *handler,
                restarts.unwrap_or(0),
            );
            current::ended();
            stop
        }
        Err(error) => {
            report_init_error(&mut client, &error);
            return 1;
        }
    };
    let level = if stop.code == 0 {
        Level::Info
    } else {
        Level::Fatal
    };
    log::line(level, &stop.reason);
    stop.code
}

fn report_unknown_level() {
    let level = os::variable(LOG_LEVEL).unwrap_or_default();
    if !level.is_empty() && level.to_str().and_then(Level::named).is_none() {
        let level = level.to_string_lossy();
        log::line(
            Level::Warn,
            &format!("{LOG_LEVEL} is {level:?}: {LOG_LEVELS}"),
        );
    }
}

/// Logs and reports the failure of an init, after which a runtime exits.
fn report_init_error(client: &mut Client, error: &Error) {
    error.log(Level::Fatal, None);
    if panic::reports_init_error(error) {
        // The answer changes nothing.
        // <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html#runtimes-custom-build>
        let _answer = client.post(Post::init_error(error));
    }
}

/// The loop. `restarts` counts how often the program was started again since it last answered an
/// invocation.
fn invocations(
    function: &Function,
    client: &mut Client,
    handler: &mut dyn Handler,
    mut restarts: u32,
) -> Stop {
    // A reader of its own: context and handler borrow the event from it, while the client reads the
    // response to their answer into another.
    let mut events = client::event_reader();
    let mut trace = TraceVariable::new();
    let has_trace_variable = current::has_trace_variable();
    loop {
        if current::idle() {
            panic::start_again(0);
        }
        let received = match client.next(&mut events) {
            Ok(received) => received,
            Err(stop) => return stop,
        };
        let context = match Context::parse(events.head(), function, os::now()) {
            Ok(context) => context,
            Err(error) => match client.no_identity(error) {
                Ok(()) => continue,
                Err(stop) => return stop,
            },
        };
        // Before the handler counts as running: from then on a panic of another thread may read the
        // environment.
        trace.set(context.trace_id().filter(|_| has_trace_variable));
        let doomed = current::invoking(context.ids(), context.tenant_id(), context.deadline_ms());
        let answer = Answer::new(client, &context);
        if let Some(panic) = doomed {
            doomed_by(&panic, restarts, answer);
        }
        let answered = match received {
            Received::Event => handler.handle(events.body(), &context, answer),
            Received::TooLarge(error) => {
                answer.error(Error::new("Runtime.EventTooLarge", error.to_string()))
            }
        };
        restarts = 0;
        if let Some(stop) = answered.stop {
            return stop;
        }
    }
}

/// Starts the program again, since a thread has panicked while no invocation ran. `next` gives the
/// same event to the fresh program; if starting again has not helped before, the event is answered
/// first. So it is on Managed Instances, where `next` gives each event once.
fn doomed_by(panic: &Error, restarts: u32, answer: Answer<'_>) -> ! {
    let restarts = restarts + 1;
    if current::seat().is_none() && restarts <= RESTARTS_MAX {
        panic::start_again(restarts);
    }
    let _answered = answer.error_report(panic);
    panic::start_again(0)
}

/// Restarts after panics of other threads, for one invocation. A thread of the initialisation that
/// always panics would otherwise keep the process starting until the invocation times out.
const RESTARTS_MAX: u32 = 2;

const LOG_LEVEL: &str = "AWS_LAMBDA_LOG_LEVEL";
const LOG_LEVELS: &str = "it is TRACE, DEBUG, INFO, WARN, ERROR or FATAL; taken as INFO";

//! The custom runtime: a blocking loop over one keep-alive connection to the Runtime API.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>.
//! It may use `shared`, sockets, the clock and the process; it never imports `extension`.

mod api;
mod client;
mod connection;
mod context;
mod error;
mod error_report;
mod executable;
mod handler;
mod log;
mod macros;
mod panic;
mod response;
mod trace;

use self::client::{Client, Received};
use self::trace::TraceVariable;
use crate::shared::env::Env;
use crate::shared::log_record::Level;
use crate::shared::os;
use crate::shared::os::exec;

pub use self::context::Context;
pub use self::error::{Error, ErrorType, ResultExt};
pub use self::executable::{Executable, ExecutableInit, executable};
pub use self::handler::{Handler, HandlerFn, Init, InitFn, handler_fn};
pub use self::macros::private;
pub use self::response::{Answer, Answered};

pub(crate) use self::log::write_line;

/// Why the process ends, in words for the log.
#[derive(Debug)]
struct Stop {
    code: u8,
    reason: String,
}

/// Runs the invocation loop until the Runtime API is gone, and ends the process.
///
/// Use this in place of [`main`](crate::main()) where the name of the binary says nothing, as under
/// `cargo lambda watch`.
/// The process ends with 1 if the initialisation or the API failed.
pub fn run(init: impl Init) -> ! {
    // What is the same for every handler is compiled once, and not as part of users' crates.
    let init = move |env: &Env| init.init(env).map(|handler| Box::new(handler) as _);
    os::exit(invoke(Box::new(init)))
}

/// The initialisation, to the handler it makes.
type Start<'h> = Box<dyn FnOnce(&Env) -> Result<Box<dyn Handler + 'h>, Error> + 'h>;

/// The runtime, to its exit code.
#[inline(never)]
fn invoke(init: Start<'_>) -> u8 {
    if executable::is_handler(exec::variable) {
        log::line(Level::Fatal, executable::IS_HANDLER);
        return 1;
    }
    let env = Env::read(&exec::variable);
    let env = match &env {
        Ok(env) => env,
        Err(error) => {
            log::line(Level::Fatal, error);
            return 1;
        }
    };
    log::configure(env.log);
    panic::watch(env.api, exec::variable(panic::RESTARTS).as_deref());
    let mut client = Client::new(env.api);
    let stop = match init(env) {
        Ok(mut handler) => {
            let stop = invocations(env, &mut client, &mut *handler);
            panic::ended();
            stop
        }
        Err(failure) => init_failed(&mut client, &failure),
    };
    let level = if stop.code == 0 {
        Level::Info
    } else {
        Level::Fatal
    };
    log::line(level, &stop.reason);
    stop.code
}

fn init_failed(client: &mut Client, failure: &Error) -> Stop {
    failure.log(Level::Error);
    // The answer changes nothing: a runtime that could not initialise exits.
    // <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html#runtimes-custom-build>
    let _answer = client.init_error(failure);
    Stop {
        code: 1,
        reason: "initialisation failed".to_owned(),
    }
}

fn invocations(env: &Env, client: &mut Client, handler: &mut dyn Handler) -> Stop {
    let mut events = client::event_reader();
    let mut trace = TraceVariable::new();
    loop {
        panic::idle();
        let received = match client.next(&mut events) {
            Ok(received) => received,
            Err(stop) => return stop,
        };
        let context = match Context::parse(events.head(), &env.function, os::now()) {
            Ok(context) => context,
            Err(error) => match client.no_identity(error) {
                Ok(()) => continue,
                Err(stop) => return stop,
            },
        };
        // Before the handler counts as running: from then on a panic of another thread may read the
        // environment.
        trace.set(context.trace_id());
        let doomed = panic::invoking(&context);
        let answer = Answer::new(client, &context);
        if let Some(failure) = doomed {
            let _answered = answer.failed(failure);
            panic::start_over();
        }
        let answered = match received {
            Received::Event => handler.handle(events.body(), &context, answer),
            Received::Untaken(error) => {
                answer.failure(Error::of_text("Runtime.EventTooLarge", error.to_string()))
            }
        };
        if let Some(stop) = answered.stop {
            return stop;
        }
    }
}

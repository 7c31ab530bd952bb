//! The custom runtime: a blocking loop over one keep-alive connection to the Runtime API.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>.
//! It may use `shared`, sockets, the clock and the process; it never imports `extension`.

mod answer;
mod client;
mod connection;
mod context;
mod error;
mod executable;
mod handler;
mod log;
mod os;
mod panic;
mod persistent;
mod process;
mod protocol;
mod report;
mod trace;

use self::answer::Next;
use self::client::{Client, Received};
use self::log::Line;
use self::trace::TraceVariable;
use crate::shared::env::Env;
use crate::shared::logline::Level;

pub use self::answer::{Answer, Answered};
pub use self::context::Context;
pub use self::error::{Error, ErrorType};
pub use self::executable::{Executable, ExecutableInit, executable};
pub use self::handler::{Handler, Init, InitFn, private};

pub(crate) use self::log::write_line;
pub(crate) use self::os::exit;

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
    exit(invoke(init))
}

/// The runtime, to its exit code.
fn invoke(init: impl Init) -> u8 {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the environment"
    )]
    let env = Env::read(|name| std::env::var_os(name));
    let env: &'static Env = match env {
        Ok(env) => Box::leak(Box::new(env)),
        Err(error) => {
            Line::new(Level::Fatal, &error.to_string()).write();
            return 1;
        }
    };
    log::configure(env.log);
    #[expect(clippy::disallowed_methods, reason = "the environment is read here")]
    panic::watch(&env.api, std::env::var_os(panic::RESTARTS).as_deref());
    let mut client = Client::new(&env.api);
    let stop = match init.init(env) {
        Ok(mut handler) => {
            let stop = invocations(env, &mut client, &mut handler);
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
    Line::new(level, &stop.reason).write();
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
        let context = match Context::parse(events.head(), &env.function) {
            Ok(context) => context,
            Err(error) => match client.no_identity(error) {
                Ok(()) => continue,
                Err(stop) => return stop,
            },
        };
        let doomed = panic::invoking(&context);
        trace.set(context.trace_id());
        let answer = Answer::new(client, &context);
        if let Some(failure) = doomed {
            let _answered = answer.failure(&failure);
            panic::start_over();
        }
        let answered = match received {
            Received::Event => match context.missing_deadline() {
                None => handler.handle(events.body(), &context, answer),
                Some(failure) => answer.failure(&failure),
            },
            Received::TooLarge(error) => {
                answer.failure(&Error::of_text("Runtime.EventTooLarge", error.to_string()))
            }
        };
        match answered.next {
            Next::Continue => {}
            Next::Stop(stop) => return stop,
        }
    }
}

//! A custom runtime for AWS Lambda functions on `provided.al2023`, without an async runtime.
//!
//! A function is a `main` that hands a handler to [`main`](crate::main()):
//!
//! ```no_run
//! use bantam::Context;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Deserialize)]
//! struct Order {
//!     item: String,
//!     count: u32,
//! }
//!
//! #[derive(Serialize)]
//! struct Receipt {
//!     item: String,
//!     total: u32,
//! }
//!
//! fn order(order: Order, _: &Context<'_>) -> Result<Receipt, bantam::Error> {
//!     let total = order.count.checked_mul(7);
//!     let total = total.ok_or_else(|| bantam::Error::new("TooMany", "too many"))?;
//!     Ok(Receipt { item: order.item, total })
//! }
//!
//! fn main() {
//!     bantam::main(bantam::typed!(order))
//! }
//! ```
//!
//! - [`typed!`] takes a function over types that serde reads and writes, [`raw!`] one over bytes,
//!   and [`init!`] builds the handler once, in the init phase.
//! - [`Answer::stream`] and [`Answer::http_stream`] begin a response that the caller gets while the
//!   handler writes it.
//! - [`executable`] is the handler of the stock binary: it runs any program.
//! - An error of a handler is reported on its invocation, with its sources. [`Error`] takes any
//!   other by `?`, and [`ResultExt`] and [`ErrorType`] choose the name that callers see.
//! - [`BatchFailures`] names the records of a batch that failed.
//! - [`on_shutdown`] runs a hook before the environment ends, and [`snap_start`] around a snapshot.
//! - A handler is not async: it runs a future to its end on the user's executor, with `block_on`.
//!   The examples `async_tokio` and `async_smol` show how.
//! - A panic, on any thread, is reported on the invocation it broke, and the process executes
//!   itself again in place. It never unwinds, so `catch_unwind` does not see it, and a panic hook
//!   that was set before is not called.
//! - The feature `extension` (on) adds the second role of the binary. A function that is deployed
//!   as `bootstrap` alone is much smaller without it.
//! - Log lines go to standard error as `AWS_LAMBDA_LOG_FORMAT` and `AWS_LAMBDA_LOG_LEVEL` ask;
//!   with the feature `log`, those of the facade of that name as well. Lines that are logged before
//!   [`main`](crate::main()) is called are lost, so log in the init step. `RUST_LOG` is not read.
//! - While a handler runs, `_X_AMZN_TRACE_ID` holds the trace header. It changes between
//!   invocations, so a thread that outlives one must not use the environment.

extern crate alloc;

// Linked for the functions it exports by name.
#[cfg(feature = "link")]
use bantam_link as _;

#[cfg(feature = "extension")]
mod extension;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod runtime;
mod shared;

use std::ffi::OsStr;

use crate::shared::os;

pub use runtime::{
    Answer, Answered, BatchFailures, Context, Error, ErrorType, Executable, ExecutableInit,
    Handler, HandlerFn, Init, InitFn, OnShutdown, Prelude, ResponseStream, ResultExt, SnapStart,
    executable, handler_fn, on_shutdown, private, run, snap_start,
};

/// The part that a process plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Runtime,
    /// The runtime beside a server that the platform starts.
    Adapter,
    Extension,
    /// Started by a person: prints this and exits with the code.
    Help(&'static str, u8),
}

/// Runs in the role that the name of the process says.
///
/// - A name in a folder `extensions`, and `bantam`, is the extension. `extensions/lambda-adapter`
///   is the runtime, in the place of AWS Lambda Web Adapter.
/// - Any other name is the runtime; Lambda starts it as `bootstrap`.
/// - Where `AWS_LAMBDA_RUNTIME_API` is not set, other names than `bootstrap` and those in
///   `extensions` print how to start the program, and `--version` prints its version.
///
/// It ends the process. Text that `print!` holds back, because its line has no end, is lost then.
/// [`run`] is the runtime under any name.
pub fn main(init: impl Init) -> ! {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    in_role(&name, arguments.next().as_deref());
    run(init)
}

/// Runs the roles that need no handler, and so need not be compiled as part of users' crates.
/// Returns in the role of the runtime.
fn in_role(name: &OsStr, argument: Option<&OsStr>) {
    let has_api = os::variable(shared::env::API).is_some();
    // A wrapper may have started this program under another name.
    if runtime::is_wrapped(&os::variable) {
        return;
    }
    match role(name, argument, has_api) {
        Role::Runtime => {}
        Role::Adapter => runtime::adapter::play(),
        #[cfg(feature = "extension")]
        Role::Extension => {
            // The interpreter of a script gets its own name, whatever that of the handler is.
            runtime::refuse_to_be_a_handler();
            os::exit(extension::run(name, os::variable))
        }
        #[cfg(not(feature = "extension"))]
        Role::Extension => {
            runtime::write_line(WITHOUT_EXTENSION);
            os::exit(1)
        }
        Role::Help(text, code) => {
            let text = text.as_bytes();
            if code == 0 {
                // There is nobody to tell that it failed.
                rustix::io::write(rustix::stdio::stdout(), text).ok();
            } else {
                runtime::write_line(text);
            }
            os::exit(code)
        }
    }
}

/// The role by the name of the process and its first argument. `has_api` says whether the platform,
/// or a tool in its place, started it.
fn role(name: &OsStr, argument: Option<&OsStr>, has_api: bool) -> Role {
    let name = name.as_encoded_bytes();
    let file = name.rsplit(|byte| *byte == b'/').next().unwrap_or(name);
    let folder = name.strip_suffix(file).unwrap_or_default();
    let is_extension = folder == b"extensions/" || folder.ends_with(b"/extensions/");
    let argument = argument.filter(|_| !has_api);
    match (argument.and_then(OsStr::to_str), file) {
        (Some("--help" | "-h"), _) => Role::Help(USAGE, 0),
        (Some("--version" | "-V"), _) => Role::Help(VERSION, 0),
        _ if is_extension && file == runtime::adapter::NAME.as_bytes() => Role::Adapter,
        _ if is_extension => Role::Extension,
        (_, b"bootstrap") => Role::Runtime,
        _ if !has_api => Role::Help(USAGE, 2),
        (_, b"bantam") => Role::Extension,
        _ => Role::Runtime,
    }
}

const VERSION: &str = concat!("bantam ", env!("CARGO_PKG_VERSION"), "\n");

#[cfg(not(feature = "extension"))]
const WITHOUT_EXTENSION: &[u8] =
    b"bantam: built without the feature `extension`; it runs as `bootstrap` only\n";

/// The names by role, which `--help` prints, with the extension where that is built.
macro_rules! usage {
    ($extension:literal) => {
        concat!(
            "\
This is an AWS Lambda custom runtime, built with Bantam. Its name says what it does:

  bootstrap                    the runtime: /var/task/bootstrap",
            $extension,
            "
  extensions/lambda-adapter    the runtime of an HTTP server, in place of Lambda Web Adapter

To run it on this machine:

  bantam-emulator run --function <this file>
"
        )
    };
}

#[cfg(feature = "extension")]
const USAGE: &str =
    usage!("\n  extensions/<name>            the extension: /opt/extensions/<name>");

#[cfg(not(feature = "extension"))]
const USAGE: &str = usage!("");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_says_the_role() {
        let usage = Role::Help(USAGE, 2);
        // The roles with an API and without.
        let table = [
            ("bootstrap", Role::Runtime, Role::Runtime),
            ("/var/task/bootstrap", Role::Runtime, Role::Runtime),
            ("./bootstrap", Role::Runtime, Role::Runtime),
            ("/opt/extensions/bantam", Role::Extension, Role::Extension),
            (
                "/opt/extensions/bootstrap",
                Role::Extension,
                Role::Extension,
            ),
            ("extensions/other", Role::Extension, Role::Extension),
            (
                "/opt/extensions/lambda-adapter",
                Role::Adapter,
                Role::Adapter,
            ),
            ("/opt/lambda-adapter", Role::Runtime, usage),
            ("target/release/bantam", Role::Extension, usage),
            ("bantam", Role::Extension, usage),
            ("hello", Role::Runtime, usage),
            ("/opt/extensions", Role::Runtime, usage),
            ("", Role::Runtime, usage),
        ];
        for (name, with_api, without) in table {
            let name = OsStr::new(name);
            assert_eq!(role(name, None, true), with_api, "{name:?}");
            assert_eq!(role(name, None, false), without, "{name:?}");
        }
    }

    #[test]
    fn a_person_is_answered_under_any_name() {
        let has_extension = USAGE.contains("/opt/extensions/<name>");
        assert_eq!(has_extension, cfg!(feature = "extension"));
        for name in ["bantam", "bootstrap", "extensions/bantam", "hello"] {
            let role = |argument, has_api| role(OsStr::new(name), Some(argument), has_api);
            for argument in ["--help", "-h"] {
                assert_eq!(role(OsStr::new(argument), false), Role::Help(USAGE, 0));
            }
            let version = OsStr::new("--version");
            assert_eq!(role(version, false), Role::Help(VERSION, 0));
            assert!(!matches!(role(version, true), Role::Help(..)));
        }
    }
}

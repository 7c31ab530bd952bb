//! A custom runtime for AWS Lambda functions on `provided.al2023`, without an async runtime.
//!
//! A function is a `main` that hands a handler to [`main`](crate::main()):
//!
//! ```no_run
//! use std::borrow::Cow;
//!
//! use bantam::Context;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Deserialize)]
//! struct Order<'a> {
//!     #[serde(borrow)]
//!     item: Cow<'a, str>,
//!     count: u32,
//! }
//!
//! #[derive(Serialize)]
//! struct Receipt<'a> {
//!     item: Cow<'a, str>,
//!     total: u32,
//! }
//!
//! fn order<'a>(order: Order<'a>, _: &Context<'_>) -> Result<Receipt<'a>, bantam::Error> {
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
//! - [`executable`] is the handler of the stock binary: it runs any program.
//! - An error of a handler is reported on its invocation, with its sources. [`Error`] takes any
//!   other by `?`, and [`ResultExt`] and [`ErrorType`] choose the name that callers see.
//! - A handler is not async: it runs a future to its end on the user's executor, with `block_on`.
//!   The examples `async_tokio` and `async_smol` show how.
//! - A panic, on any thread, is reported on the invocation it broke, and the process executes
//!   itself again in place. It never unwinds, so `catch_unwind` does not see it, and a panic hook
//!   that was set before is not called.
//! - The feature `extension` (on) adds the second role of the binary; a function that is deployed as
//!   `bootstrap` alone saves some 130 KB of a plain build without it.
//! - Log lines go to standard error as `AWS_LAMBDA_LOG_FORMAT` and `AWS_LAMBDA_LOG_LEVEL` ask;
//!   with the feature `log`, those of the facade of that name as well.
//! - While a handler runs, `_X_AMZN_TRACE_ID` holds the trace header. It changes between
//!   invocations, so a thread that outlives one must not use the environment.

// Linked for the functions it exports by name.
#[cfg(feature = "link")]
use link as _;

#[cfg(feature = "extension")]
mod extension;
mod runtime;
mod shared;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

pub use runtime::{
    Answer, Answered, Context, Error, ErrorType, Executable, ExecutableInit, Handler, HandlerFn,
    Init, InitFn, ResultExt, executable, handler_fn, private, run,
};

/// What a process is, by the name it was started under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Runtime,
    Extension,
    Unknown,
}

/// Runs in the role that the name of the process says.
///
/// - `bootstrap` is the runtime: the name that Lambda looks for.
/// - `bantam`, or any name in a folder `extensions`, is the extension.
/// - Any other name prints how to start it, and exits with 2.
///
/// It ends the process. Text that `print!` holds back, because its line has no end, is lost then.
pub fn main(init: impl Init) -> ! {
    other_roles();
    run(init)
}

/// Runs the roles that need no handler, and so need not be compiled as part of users' crates.
/// Returns in the role of the runtime.
#[inline(never)]
fn other_roles() {
    let name = shared::os::exec::arguments().into_iter().next();
    let name = name.unwrap_or_default();
    let name = OsStr::from_bytes(name.to_bytes());
    let wrapped = runtime::is_wrapped(&shared::os::exec::variable);
    match role(name) {
        _ if wrapped => {}
        Role::Runtime => {}
        #[cfg(feature = "extension")]
        Role::Extension => shared::os::exit(extension::run(name, shared::os::exec::variable)),
        #[cfg(not(feature = "extension"))]
        Role::Extension => {
            runtime::write_line(WITHOUT_EXTENSION);
            shared::os::exit(1)
        }
        Role::Unknown => {
            runtime::write_line(USAGE);
            shared::os::exit(2)
        }
    }
}

fn role(name: &OsStr) -> Role {
    let name = name.as_encoded_bytes();
    let file = name.rsplit(|byte| *byte == b'/').next().unwrap_or(name);
    let folder = name.strip_suffix(file).unwrap_or_default();
    if folder == b"extensions/" || folder.ends_with(b"/extensions/") || file == b"bantam" {
        Role::Extension
    } else if file == b"bootstrap" {
        Role::Runtime
    } else {
        Role::Unknown
    }
}

#[cfg(not(feature = "extension"))]
const WITHOUT_EXTENSION: &[u8] =
    b"bantam: built without the feature `extension`; it runs as `bootstrap` only\n";

const USAGE: &[u8] = b"\
This is an AWS Lambda custom runtime. It does what the name it is started under says:

  bootstrap            the runtime; Lambda starts it as /var/task/bootstrap
  extensions/<name>    the extension; Lambda starts it as /opt/extensions/<name>

To run it here: emulator run --function <this file>
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_says_the_role() {
        let table = [
            ("bootstrap", Role::Runtime),
            ("/var/task/bootstrap", Role::Runtime),
            ("./bootstrap", Role::Runtime),
            ("/opt/extensions/bantam", Role::Extension),
            ("/opt/extensions/bootstrap", Role::Extension),
            ("extensions/other", Role::Extension),
            ("target/release/bantam", Role::Extension),
            ("bantam", Role::Extension),
            ("hello", Role::Unknown),
            ("/opt/extensions", Role::Unknown),
            ("", Role::Unknown),
        ];
        for (name, expected) in table {
            assert_eq!(role(OsStr::new(name)), expected, "{name}");
        }
    }
}

//! `AWS_LAMBDA_EXEC_WRAPPER`: a program that starts the runtime, such as a script in a layer.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-modify.html#runtime-wrapper>.
//! On an OS-only runtime the platform leaves it to the runtime, as this one is.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use rustix::fs::{CWD, readlinkat_raw};
use rustix::io::Errno;

use super::adapter;
use super::error::Error;
use crate::shared::os;
use crate::shared::os::reexec::{self, Image, Strings};

/// Executes the wrapper with this program and its arguments as arguments, unless it has been. It is
/// the wrapper that starts this program again, so this returns only if there is nothing to execute.
///
/// # Errors
///
/// That it cannot be executed, with its name.
pub(super) fn run(lookup: &dyn Fn(&str) -> Option<OsString>) -> Result<(), Error> {
    let wrapper = lookup(WRAPPER).filter(|wrapper| !wrapper.is_empty());
    let Some(wrapper) = wrapper.filter(|_| !is_wrapped(lookup)) else {
        return Ok(());
    };
    let name = wrapper.to_string_lossy().into_owned();
    let error = match reexec::arguments() {
        Ok(given) if is_wrapper(&given, wrapper.as_bytes()) => return Ok(()),
        Ok(given) => execute(wrapper, &given),
        Err(error) => error,
    };
    let error = os::error_text(error);
    let message = [
        WRAPPER,
        " is ",
        &name,
        ", which cannot be started: ",
        &error,
    ]
    .concat();
    Err(Error::new("Runtime.ExecWrapper", message))
}

/// Whether a wrapper has started this program. It may have done so under another name. An adapter
/// has none: the wrapper starts the server.
pub(crate) fn is_wrapped(lookup: &dyn Fn(&str) -> Option<OsString>) -> bool {
    adapter::is_played() || lookup(IS_WRAPPED).is_some()
}

/// True if this program, which was given these arguments, is the wrapper itself: a managed runtime
/// starts it in its place, with its own command line as arguments.
pub(super) fn is_wrapper(given: &Strings, wrapper: &[u8]) -> bool {
    given.iter().next() == Some(wrapper)
}

/// Kept apart: a start without a wrapper need not touch the page of the stack that the path takes.
#[inline(never)]
fn execute(wrapper: OsString, given: &Strings) -> Errno {
    let mut arguments = Strings::default();
    arguments.push(&[wrapper.as_bytes()]);
    let mut given = given.iter();
    let program = given.next().unwrap_or_default();
    // A name that was found on `PATH` need not be found by the wrapper.
    if program.contains(&b'/') {
        arguments.push(&[program]);
    } else {
        let mut path = [0; PATH_BYTES_MAX];
        let length = readlinkat_raw(CWD, c"/proc/self/exe", &mut path).unwrap_or(0);
        arguments.push(&[path.get(..length).unwrap_or_default()]);
    }
    for argument in given {
        arguments.push(&[argument]);
    }
    // Variables hold no NUL.
    let wrapper = CString::new(wrapper.into_vec()).unwrap_or_default();
    Image::new(&wrapper, arguments, &[(IS_WRAPPED, Some("1"))]).execute()
}

pub(super) const WRAPPER: &str = "AWS_LAMBDA_EXEC_WRAPPER";

/// Says, across executions, that the wrapper was executed.
const IS_WRAPPED: &str = "_BANTAM_WRAPPED";

/// Bytes of a path on Linux, at most.
const PATH_BYTES_MAX: usize = 4_096;

//! The program executed again in its own process, which keeps its id and its open sockets.
//!
//! `std::process::Command` could do it, but the maps it keeps a changed environment in are 13 KB of
//! a static binary.

use std::ffi::{CString, OsStr, OsString, c_char};
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::ptr;

/// Executes the program again with `arguments`, of which the first is its name. Its environment is
/// that of this one, but for the variable `set`, which gets a value, and `removed`, which goes.
/// Returns only if that fails.
#[expect(
    unsafe_code,
    reason = "the standard library has no other way to replace the program"
)]
pub(crate) fn again(
    arguments: impl IntoIterator<Item = OsString>,
    set: (&str, &str),
    removed: &str,
) -> io::Error {
    let arguments = c_strings(arguments.into_iter().map(OsString::into_vec));
    let kept = |name: &OsStr| name != set.0 && name != removed;
    let inherited = std::env::vars_os()
        .filter(|(name, _)| kept(name))
        .map(|(name, value)| [name.into_vec(), value.into_vec()].join(&b'='));
    let added = [set.0.as_bytes(), set.1.as_bytes()].join(&b'=');
    let environment = c_strings(inherited.chain([added]));
    let arguments = pointers(&arguments);
    let environment = pointers(&environment);
    // SAFETY:
    // - `sigset_t` is plain data, for which zeroes are a value; `sigemptyset` writes it and
    //   `pthread_sigmask` reads it. Both want nothing but a valid pointer, or null for the old mask.
    // - `execve` wants a string that ends with NUL and two arrays of such, which end with null.
    //   `pointers` makes the arrays of strings that live until the end of this function, and an exec
    //   that succeeds never comes back to free them.
    unsafe {
        // A thread may have blocked signals, and a mask outlives an exec.
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
        libc::execve(PROGRAM.as_ptr(), arguments.as_ptr(), environment.as_ptr());
    }
    io::Error::last_os_error()
}

/// The strings without those that hold a NUL, which come neither from `execve` nor from us.
fn c_strings(strings: impl Iterator<Item = Vec<u8>>) -> Vec<CString> {
    strings.filter_map(|text| CString::new(text).ok()).collect()
}

/// Pointers to the strings, and null behind the last.
fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    let last = [ptr::null()];
    strings.iter().map(|s| s.as_ptr()).chain(last).collect()
}

const PROGRAM: &std::ffi::CStr = c"/proc/self/exe";

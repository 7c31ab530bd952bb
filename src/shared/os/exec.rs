//! This program again in its own process, and the environment, which it gets.
//!
//! `std::process::Command` could do both. It keeps a changed environment in two maps and copies each
//! variable, which is 20 KB of a static binary, and a copy of the environment at each start.

use std::ffi::{CStr, CString, OsString, c_char};
use std::mem;
use std::os::unix::ffi::OsStringExt as _;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use rustix::io::Errno;

use crate::shared::os;
use crate::shared::text::push;

/// A variable and the value it gets, or `None` if it goes.
pub(crate) type Change<'a> = (&'a str, Option<&'a str>);

/// The arguments of this process.
#[expect(
    unsafe_code,
    reason = "the standard library has none where it did not make `main`"
)]
pub(crate) fn arguments() -> Vec<CString> {
    let mut arguments = Vec::new();
    let mut argument: *const *const c_char = ARGUMENTS.load(Ordering::Acquire);
    if argument.is_null() {
        for argument in std::env::args_os() {
            arguments.extend(CString::new(argument.into_vec()));
        }
        return arguments;
    }
    // SAFETY: whoever set it promised an array of strings that end with NUL, which ends with null
    // and lives as long as the process. The walk stops there.
    unsafe {
        while !(*argument).is_null() {
            arguments.push(CStr::from_ptr(*argument).to_owned());
            argument = argument.add(1);
        }
    }
    arguments
}

/// What the `main` of the standard library does for its programs, for one that has another: takes
/// note of the arguments, opens the three standard descriptors where they are closed, so that no
/// socket becomes one of them, and ignores SIGPIPE, so that a write which nobody reads is an error.
///
/// # Safety
///
/// `arguments` is what the C library handed to `main`.
#[expect(unsafe_code, reason = "what the caller promises cannot be checked")]
pub(crate) unsafe fn started_with(arguments: *const *const c_char) {
    ARGUMENTS.store(arguments.cast_mut(), Ordering::Release);
    let mut standard = [0, 1, 2].map(|fd| libc::pollfd {
        fd,
        events: 0,
        revents: 0,
    });
    // SAFETY: `poll` reads and writes the three structures it is given; `open` reads a string that
    // ends with NUL. It takes the lowest number that is free, which is the closed one in this order.
    // Of signals no handler is installed, only what is done by default is changed.
    unsafe {
        libc::poll(standard.as_mut_ptr(), 3, 0);
        for descriptor in standard {
            if descriptor.revents & libc::POLLNVAL != 0 {
                libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
            }
        }
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
    }
}

static ARGUMENTS: AtomicPtr<*const c_char> = AtomicPtr::new(ptr::null_mut());

/// Executes the program again with its arguments. The process keeps its id and its open sockets. Returns
/// only if that fails.
#[expect(
    unsafe_code,
    reason = "the standard library replaces a program only through `Command`"
)]
pub(crate) fn again(changes: &[Change<'_>]) -> Errno {
    let arguments = arguments();
    let mut arguments: Vec<_> = arguments.iter().map(|text| text.as_ptr()).collect();
    arguments.push(ptr::null());
    let added = added(changes);
    let environment = environment(changes, &added);
    // SAFETY:
    // - `empty_mask` is a signal set, and null asks for no copy of the old one.
    // - `execve` wants a string that ends with NUL and two arrays of such, which end with null. They
    //   live until the end of this function, and an exec that succeeds never comes back to free them.
    unsafe {
        // A thread may have blocked signals, and a mask outlives an exec.
        libc::pthread_sigmask(libc::SIG_SETMASK, &empty_mask(), ptr::null_mut());
        libc::execve(
            c"/proc/self/exe".as_ptr(),
            arguments.as_ptr(),
            environment.as_ptr(),
        );
    }
    os::last_error()
}

/// The environment of this process with the changes, ending with null. `added` is what [`added`]
/// made of them.
fn environment(changes: &[Change<'_>], added: &[Vec<u8>]) -> Vec<*const c_char> {
    let mut environment = pointers(added);
    for variable in variables() {
        let is_changed = |(name, _): &Change<'_>| variable.value(name).is_some();
        if !changes.iter().any(is_changed) {
            environment.push(variable.0);
        }
    }
    environment.push(ptr::null());
    environment
}

/// The value of a variable of this process.
pub(crate) fn variable(name: &str) -> Option<OsString> {
    for variable in variables() {
        if let Some(value) = variable.value(name) {
            return Some(OsString::from_vec(value.to_bytes().to_vec()));
        }
    }
    None
}

/// A variable of this process: `NAME=value` with a NUL behind it. It is used before anything
/// changes the environment.
struct Variable(*const c_char);

impl Variable {
    /// The value, if the variable has this name.
    #[expect(unsafe_code, reason = "a look at the name and not at the whole text")]
    fn value(&self, name: &str) -> Option<&CStr> {
        let mut text = self.0;
        for byte in name.as_bytes() {
            // SAFETY: the text ends with NUL. No byte of it is looked at behind one that is not as
            // the name, or `=`, says, and a NUL is neither; so none behind the NUL is.
            unsafe {
                if *byte == 0 || text.cast::<u8>().read() != *byte {
                    return None;
                }
                text = text.add(1);
            }
        }
        // SAFETY: as above, and what is behind `=` ends with NUL.
        unsafe { (text.cast::<u8>().read() == b'=').then(|| CStr::from_ptr(text.add(1))) }
    }
}

/// The variables of this process.
#[expect(
    unsafe_code,
    reason = "the environment without a copy of each variable"
)]
fn variables() -> impl Iterator<Item = Variable> {
    // SAFETY: `environ` is null or an array of strings that end with NUL, which ends with null; the
    // walk stops there. Only the role of the runtime changes it, on the thread of the loop and
    // between invocations. This is called on that thread, or by another that panicked while an
    // invocation ran: before the loop can change it again it waits for the end. The documentation
    // of the crate asks of users' threads that they leave the environment alone.
    unsafe {
        let mut next = environ;
        std::iter::from_fn(move || {
            if next.is_null() || (*next).is_null() {
                return None;
            }
            let variable = Variable(*next);
            next = next.add(1);
            Some(variable)
        })
    }
}

#[expect(unsafe_code, reason = "the standard library shows only copies of it")]
unsafe extern "C" {
    static environ: *const *const c_char;
}

/// `NAME=value` of each change that has a value.
fn added(changes: &[Change<'_>]) -> Vec<Vec<u8>> {
    let mut added = Vec::new();
    for (name, value) in changes {
        if let Some(value) = value {
            let mut text = Vec::new();
            push(&mut text, name);
            push(&mut text, "=");
            push(&mut text, value);
            added.push(terminated(text));
        }
    }
    added
}

/// The text with a NUL behind it. One inside it ends it early, as it would for the program.
fn terminated(mut text: Vec<u8>) -> Vec<u8> {
    text.push(0);
    text
}

/// Pointers to the strings.
fn pointers(strings: &[Vec<u8>]) -> Vec<*const c_char> {
    strings.iter().map(|text| text.as_ptr().cast()).collect()
}

/// The signal set without a signal.
#[expect(unsafe_code, reason = "a signal set is made by a C function")]
fn empty_mask() -> libc::sigset_t {
    // SAFETY: it is plain data, for which zeroes are a value, and `sigemptyset` writes it whole.
    unsafe {
        let mut mask = mem::zeroed();
        libc::sigemptyset(&raw mut mask);
        mask
    }
}

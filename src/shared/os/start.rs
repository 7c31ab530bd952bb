//! The first steps of a program with the `main` of C, which the standard library's `main` takes
//! too.

use std::ffi::{CStr, OsStr, c_char};
use std::os::fd::IntoRawFd;
use std::os::unix::ffi::OsStrExt as _;

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags};
use rustix::stdio::{stderr, stdin, stdout};

use crate::shared::os;

/// Opens the standard descriptors that are closed, so that no socket becomes one of them, and
/// ignores SIGPIPE, so that a write to a pipe that nobody reads is an error.
#[expect(
    unsafe_code,
    reason = "the standard library does not change the meaning of a signal"
)]
pub(crate) fn prepare() {
    let (input, output, errors) = (stdin(), stdout(), stderr());
    let mut standard = [&input, &output, &errors].map(|fd| PollFd::new(fd, PollFlags::empty()));
    os::poll(&mut standard, Some(std::time::Duration::ZERO)).ok();
    for descriptor in standard {
        // The lowest number that is free is the one of the descriptor, in this order.
        if descriptor.revents().contains(PollFlags::NVAL) {
            let null = rustix::fs::open(c"/dev/null", OFlags::RDWR, Mode::empty());
            // It stays open as long as the process lives.
            let _standard = null.map(IntoRawFd::into_raw_fd);
        }
    }
    // SAFETY: no handler is installed, so no code can run at a bad moment.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

/// The name of the process and its first argument, from what the C library hands to `main`.
///
/// # Safety
///
/// `arguments` is an array of strings that end with NUL, which ends with null. All live as long as
/// the process.
#[expect(unsafe_code, reason = "the caller's promise cannot be checked")]
pub(crate) unsafe fn first_arguments(
    arguments: *const *const c_char,
) -> [Option<&'static OsStr>; 2] {
    let mut found = [None; 2];
    for (at, argument) in found.iter_mut().enumerate() {
        // SAFETY: the caller promises what the array holds, and nothing is read behind its null.
        unsafe {
            let text = *arguments.add(at);
            if text.is_null() {
                break;
            }
            *argument = Some(OsStr::from_bytes(CStr::from_ptr(text).to_bytes()));
        }
    }
    found
}

//! SIGTERM as something to read. Lambda sends it to no external extension; local tools do.

use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::ptr;

/// A descriptor from which SIGTERM can be read, in place of what the signal does by default. This
/// process has one thread; one that a program started before would have to block the signal too.
///
/// A handler may do next to nothing and interrupts whatever runs; a crate that makes a pipe of it is
/// 4 KB.
#[expect(unsafe_code, reason = "nothing safe makes a signalfd")]
pub(super) fn terminations() -> Option<OwnedFd> {
    let mut signals = MaybeUninit::uninit();
    // SAFETY: `sigemptyset` initialises the set that the next calls read, and none of them keeps it.
    // Where the last one gives a descriptor, it is new and has no other owner.
    // https://man7.org/linux/man-pages/man2/signalfd.2.html
    unsafe {
        libc::sigemptyset(signals.as_mut_ptr());
        libc::sigaddset(signals.as_mut_ptr(), libc::SIGTERM);
        libc::sigprocmask(libc::SIG_BLOCK, signals.as_ptr(), ptr::null_mut());
        let descriptor = libc::signalfd(-1, signals.as_ptr(), libc::SFD_CLOEXEC);
        (descriptor != -1).then(|| OwnedFd::from_raw_fd(descriptor))
    }
}

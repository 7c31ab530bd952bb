//! The runtime as process 1 of a container whose entry point it is.
//!
//! The kernel ignores a signal to process 1 that has no handler, so `docker stop` would wait for
//! ten seconds and kill it. Lambda starts other processes first, and kills a runtime by SIGKILL.

use crate::shared::os;

/// Lets SIGTERM and SIGINT end process 1, unless the program handles them. It does nothing in any
/// other process.
#[expect(
    unsafe_code,
    reason = "the standard library has neither signals nor an id without a system call"
)]
pub(super) fn end_by_signals() {
    // SAFETY: it takes nothing. This is the first thread, whose id is that of the process; musl has
    // it in memory, where `getpid` would be a system call in every start.
    if unsafe { libc::gettid() } != 1 {
        return;
    }
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let end = end as extern "C" fn(libc::c_int) as libc::sighandler_t;
        // SAFETY: `end` is a function that takes the signal, and it only ends the process, which a
        // signal handler may do. The second call puts back what was there.
        unsafe {
            let before = libc::signal(signal, end);
            if before != libc::SIG_DFL {
                libc::signal(signal, before);
            }
        }
    }
}

/// Ends the process with the code that a shell reports for a signal.
extern "C" fn end(signal: libc::c_int) {
    os::exit(u8::try_from(128 + signal).unwrap_or(u8::MAX))
}

//! The processes of the workers and the signals of the supervisor.

use std::mem::zeroed;
use std::os::fd::BorrowedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::ptr;
use std::time::Duration;

use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, wait};

use crate::shared::os;
use crate::shared::os::child::{ends_with, heed_children};
use crate::shared::os::reexec::Image;
#[cfg(test)]
use crate::shared::os::simulation;

/// The signals that the supervisor acts on.
#[derive(Debug)]
pub(super) struct Signals(libc::sigset_t);

impl Signals {
    /// Blocks them, so that none is missed between two calls of [`Signals::wait`].
    #[expect(unsafe_code, reason = "the standard library has no sets of signals")]
    pub(super) fn block() -> Self {
        heed_children();
        // SAFETY: a set of signals is plain data, for which zeroes are a value. `sigemptyset` and
        // `sigaddset` write within it, and `pthread_sigmask` reads it.
        unsafe {
            let mut set = zeroed();
            libc::sigemptyset(&raw mut set);
            for signal in [libc::SIGCHLD, libc::SIGTERM, libc::SIGINT] {
                libc::sigaddset(&raw mut set, signal);
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut());
            Self(set)
        }
    }

    /// Waits for one of them, for as long as `timeout`. True if it asks the process to end.
    #[expect(unsafe_code, reason = "the standard library waits for no signals")]
    pub(super) fn wait(&self, timeout: Duration) -> bool {
        #[cfg(test)]
        if let Some(system) = simulation::here() {
            return system.wait(timeout);
        }
        // SAFETY: plain data, as above.
        let mut timespec: libc::timespec = unsafe { zeroed() };
        timespec.tv_sec = timeout.as_secs().try_into().unwrap_or(i64::MAX);
        timespec.tv_nsec = timeout.subsec_nanos().into();
        // SAFETY: it reads the set and the time, and writes nothing where the second is null.
        let signal =
            unsafe { libc::sigtimedwait(&raw const self.0, ptr::null_mut(), &raw const timespec) };
        matches!(signal, libc::SIGTERM | libc::SIGINT)
    }
}

/// Starts a worker. The kernel kills it when this thread ends.
///
/// # Errors
///
/// Those of `fork`. A worker whose `execve` fails ends with 127.
#[expect(
    unsafe_code,
    reason = "the standard library makes a process only through `Command`, which is 26 KB"
)]
pub(super) fn start(image: &Image<'_>) -> Result<Pid, Errno> {
    #[cfg(test)]
    if let Some(system) = simulation::here() {
        return Ok(system.start(image.variables()));
    }
    let parent = getpid();
    // SAFETY: the new process has one thread and a copy of this memory, in which another thread may
    // hold a lock for ever. What it calls until `execve` makes system calls and nothing else.
    match unsafe { libc::fork() } {
        0 => {
            if ends_with(parent) {
                image.execute();
            }
            os::exit(127)
        }
        id => Pid::from_raw(id.max(0)).ok_or_else(os::last_error),
    }
}

/// Sends a signal to a worker. One that has ended needs none.
pub(super) fn signal(process: Pid, signal: Signal) {
    #[cfg(test)]
    if let Some(system) = simulation::here() {
        return system.kill(process, signal);
    }
    kill_process(process, signal).ok();
}

/// A child that has ended, if there is one that was not reported before.
pub(super) fn ended() -> Option<(Pid, ExitStatus)> {
    #[cfg(test)]
    if let Some(system) = simulation::here() {
        return system.ended();
    }
    let (pid, status) = wait(WaitOptions::NOHANG).ok()??;
    Some((pid, ExitStatus::from_raw(status.as_raw())))
}

/// A descriptor that this process has inherited, and whether the programs that it executes inherit
/// it, too. It must stay open.
///
/// # Errors
///
/// Those of `fcntl`; above all that it is not open.
#[expect(unsafe_code, reason = "a number becomes a descriptor")]
pub(super) fn inherited(fd: i32, inherit: bool) -> Result<BorrowedFd<'static>, Errno> {
    // SAFETY: any number but -1 may be borrowed as long as nobody closes it, and nobody owns this
    // one. `fcntl` says whether it is open.
    let fd = unsafe { BorrowedFd::borrow_raw(fd.max(0)) };
    let flags = if inherit {
        FdFlags::empty()
    } else {
        FdFlags::CLOEXEC
    };
    fcntl_setfd(fd, flags)?;
    Ok(fd)
}

//! Starts the process of a handler. This is the only file here that needs `unsafe`.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};

/// Starts a program without arguments, in a process group of its own, with pipes for its standard
/// input, output and error. It gets the environment of this process with these variables changed;
/// one without a value is removed.
///
/// In the new process no signal is blocked, and SIGPIPE has its default meaning, which the standard
/// library sees to. The kernel ends it when this thread ends, so that a handler does not outlive a
/// runtime that is killed.
///
/// # Errors
///
/// Those of `pipe`, `fork`, `setpgid` and `execve`.
#[expect(
    unsafe_code,
    reason = "only the new process can change its own state before `execve`"
)]
pub(super) fn spawn(path: &Path, variables: &[(&str, Option<&str>)]) -> io::Result<Child> {
    let mut command = Command::new(path);
    command.stdin(Stdio::piped());
    command.stdout(Stdio::piped());
    command.stderr(Stdio::piped());
    command.process_group(0);
    for (name, value) in variables {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let parent = getpid();
    // SAFETY: after `fork` in a program that may have more threads, the closure may call only
    // functions that are safe in a signal handler. These two make system calls. They allocate
    // nothing, take no lock and cannot panic.
    unsafe {
        command.pre_exec(move || {
            unblock_signals();
            end_with(parent)
        })
    };
    command.spawn()
}

/// Unblocks all signals. Whoever started this process may have blocked some, which outlasts `execve`.
#[expect(
    unsafe_code,
    reason = "the standard library does not change the mask of signals"
)]
fn unblock_signals() {
    // SAFETY: a set of signals is plain data, for which zeroes are a value. `sigemptyset` writes the
    // whole set, and `pthread_sigmask` reads it; null asks for no copy of the old mask.
    unsafe {
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Asks the kernel to end this process when `parent` ends.
fn end_with(parent: Pid) -> io::Result<()> {
    // A sandbox may refuse this. The handler works without it.
    set_parent_process_death_signal(Some(Signal::KILL)).ok();
    // The parent may have ended before the request; then no signal will come.
    if getppid() == Some(parent) {
        Ok(())
    } else {
        Err(Errno::SRCH.into())
    }
}

/// Gives SIGCHLD its default meaning.
///
/// Whoever started this process may have ignored it, which outlasts `execve`. While it is ignored the
/// kernel throws away how a child ended.
#[expect(
    unsafe_code,
    reason = "the standard library does not change the meaning of a signal"
)]
pub(super) fn heed_children() {
    // SAFETY: no handler is installed, so no code can run at a bad moment. The runtime does this once,
    // before it starts its first child.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

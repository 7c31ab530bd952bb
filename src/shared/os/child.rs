//! What a process and the one that it forks owe each other.

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

/// Gives SIGCHLD its default meaning.
///
/// Whoever started this process may have ignored it, which outlasts `execve`. While it is ignored
/// the kernel throws away how a child ended.
#[expect(
    unsafe_code,
    reason = "the standard library does not change the meaning of a signal"
)]
pub(crate) fn heed_children() {
    // SAFETY: no handler is installed, so no code can run at a bad moment.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// Lets the kernel kill this process, which is new, when the thread that forked it ends. False if
/// `parent` has ended before, so that no signal will come. It makes system calls and nothing else.
pub(crate) fn ends_with(parent: Pid) -> bool {
    // A sandbox may refuse this. The process works without it.
    set_parent_process_death_signal(Some(Signal::KILL)).ok();
    getppid() == Some(parent)
}

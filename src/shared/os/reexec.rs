//! This program again, in the same process, after a panic.
//!
//! The process keeps its id, so the platform sees neither a crash nor a cold start. Memory, threads
//! and signal handlers are those of a fresh program; arguments, ignored signals and descriptors
//! without `CLOEXEC` stay. State is handed over in environment variables.
//!
//! Both roles go the same way. [`on_panic`] installs a hook that runs on the thread that panicked,
//! before anything unwinds or aborts, and on one thread at a time. The hook reports the panic,
//! pauses if panics follow each other, and calls [`again`]; that returns only if it fails, and then
//! the hook says what to do with the process.

use std::ffi::{CStr, CString, OsStr, OsString, c_char};
use std::os::unix::ffi::OsStringExt as _;
use std::panic::PanicHookInfo;
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use crate::shared::os::{self, exec};

/// A panic, as the hook hands it to a role.
#[derive(Debug)]
pub(crate) struct Panic<'a> {
    /// The text that was given to `panic!`.
    pub(crate) message: &'a str,
    /// The file, line and column; empty when they are unknown.
    pub(crate) place: String,
}

/// What happens to the process after a panic that did not start the program again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// The thread stops here. The others go on, and one of them may end the process.
    Wait,
    /// The process ends with this code.
    Exit(u8),
    /// The panic goes its usual way: the process aborts, or the thread unwinds.
    Return,
}

/// A variable and its value for the next program; `None` removes it.
pub(crate) type Change<'a> = (&'a str, Option<&'a str>);

/// Installs `act` as what happens on a panic. While it runs, other threads that panic wait.
pub(crate) fn on_panic(act: fn(&Panic<'_>) -> After) {
    std::panic::set_hook(Box::new(move |info| hook(info, act)));
}

fn hook(info: &PanicHookInfo<'_>, act: fn(&Panic<'_>) -> After) {
    // A panic of `act` itself does not come here again: the standard library aborts then.
    let one_at_a_time = lock(&HOOK);
    let after = act(&Panic {
        message: info.payload_as_str().unwrap_or("a value that is not text"),
        place: info.location().map(ToString::to_string).unwrap_or_default(),
    });
    drop(one_at_a_time);
    match after {
        After::Wait => wait(),
        After::Exit(code) => os::exit(code),
        After::Return => {}
    }
}

static HOOK: Mutex<()> = Mutex::new(());

/// Stops this thread for as long as the process lives.
pub(crate) fn wait() -> ! {
    loop {
        rustix::event::pause();
    }
}

/// Locks what the hook shares with other threads. A thread that panicked while it held the lock
/// has replaced or ended the process, or left a value that is still good: every change is one
/// assignment.
pub(crate) fn lock<T>(mutex: &'static Mutex<T>) -> MutexGuard<'static, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Executes the program again with its arguments and the changed environment. Returns only if that
/// fails.
pub(crate) fn again(changes: &[Change<'_>]) -> Errno {
    execute(c"/proc/self/exe", &exec::arguments(), changes)
}

/// Executes a program in this process with these arguments, the first of which is its name, and the
/// changed environment. Returns only if that fails.
#[expect(
    unsafe_code,
    reason = "the standard library executes a program only through `Command`, which is 20 KB"
)]
pub(crate) fn execute(program: &CStr, arguments: &[CString], changes: &[Change<'_>]) -> Errno {
    let environment = environment(std::env::vars_os(), changes);
    let (arguments, environment) = (pointers(arguments), pointers(&environment));
    // SAFETY: `execve` takes a string that ends with NUL and two arrays of such strings that end
    // with null; all live until it returns. `sigemptyset` writes the whole set, for which zeroes
    // are a value, and `pthread_sigmask` reads it.
    unsafe {
        // This thread may have blocked signals, and the mask outlives an exec.
        let mut no_signals = std::mem::zeroed();
        libc::sigemptyset(&raw mut no_signals);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const no_signals, ptr::null_mut());
        libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr());
    }
    os::last_error()
}

/// `NAME=value` of each variable after the changes.
pub(crate) fn environment(
    variables: impl Iterator<Item = (OsString, OsString)>,
    changes: &[Change<'_>],
) -> Vec<CString> {
    let mut environment = Vec::new();
    for (name, value) in variables {
        if !changes.iter().any(|(changed, _)| name == *changed) {
            push(&mut environment, name, &value);
        }
    }
    for (name, value) in changes {
        if let Some(value) = value {
            push(&mut environment, OsString::from(name), OsStr::new(value));
        }
    }
    environment
}

fn push(environment: &mut Vec<CString>, mut name: OsString, value: &OsStr) {
    name.push("=");
    name.push(value);
    environment.extend(CString::new(name.into_vec()));
}

/// Pointers to the strings, and null behind them.
pub(crate) fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    let mut pointers: Vec<_> = strings.iter().map(|string| string.as_ptr()).collect();
    pointers.push(ptr::null());
    pointers
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn variables_are_kept_changed_added_and_removed() {
        let variables = [("KEPT", "1"), ("CHANGED", "old"), ("REMOVED", "2")];
        let variables = variables.map(|(name, value)| (name.into(), value.into()));
        let changes = [
            ("CHANGED", Some("new")),
            ("REMOVED", None),
            ("ABSENT", None),
            ("ADDED", Some("")),
        ];
        let environment = environment(variables.into_iter(), &changes);
        let expected: [&CStr; 3] = [c"KEPT=1", c"CHANGED=new", c"ADDED="];
        assert!(environment.iter().map(CString::as_c_str).eq(expected));
    }

    /// The test program is started with one test, and executes itself again in it.
    #[test]
    fn the_program_runs_again_with_its_arguments_and_the_changes() {
        const NAME: &str =
            "shared::os::reexec::tests::the_program_runs_again_with_its_arguments_and_the_changes";
        #[expect(clippy::disallowed_methods, reason = "this program is its own child")]
        let round = std::env::var(ROUND).unwrap_or_default();
        match round.as_str() {
            "" => {
                let output = Command::new(std::env::current_exe().unwrap())
                    .args(["--exact", NAME, "--nocapture"])
                    .env(ROUND, "first")
                    .env("_BANTAM_TEST_KEPT", "kept")
                    .output()
                    .unwrap();
                let text = String::from_utf8_lossy(&output.stdout);
                assert!(output.status.success(), "{text}");
                assert!(text.contains("the second round"), "{text}");
            }
            "first" => {
                let error = again(&[(ROUND, Some("second")), ("_BANTAM_TEST_GONE", None)]);
                panic!("{error}");
            }
            _ => {
                let arguments: Vec<_> = std::env::args().skip(1).collect();
                assert_eq!(arguments, ["--exact", NAME, "--nocapture"]);
                let kept = std::env::vars().any(|(name, _)| name == "_BANTAM_TEST_KEPT");
                assert!(kept);
                println!("the second round");
            }
        }
    }

    const ROUND: &str = "_BANTAM_TEST_ROUND";
}

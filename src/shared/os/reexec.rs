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

#[cfg(test)]
use std::ffi::OsString;
use std::ffi::{CStr, c_char};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
#[cfg(test)]
use std::os::unix::ffi::OsStringExt as _;
use std::panic::PanicHookInfo;
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, FdFlags, fcntl_setfd};

use crate::shared::os;
#[cfg(test)]
use crate::shared::os::simulation;

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

/// What a role does about a panic.
pub(crate) type OnPanic = fn(&Panic<'_>) -> After;

/// A variable and its value for the next program; `None` removes it.
pub(crate) type Change<'a> = (&'a str, Option<&'a str>);

/// Installs `act` as what happens on a panic. While it runs, other threads that panic wait.
pub(crate) fn on_panic(act: OnPanic) {
    #[cfg(test)]
    if let Some(system) = simulation::here() {
        return system.on_panic(act);
    }
    // One hook for good: whoever has set one around it, as a reporter of crashes does, keeps it. To
    // set another is to wait until no thread is in this one, where one may have stopped.
    if lock(&ACT).replace(act).is_none() {
        std::panic::set_hook(Box::new(hook));
    }
}

fn hook(info: &PanicHookInfo<'_>) {
    // A panic of `act` itself does not come here again: the standard library aborts then.
    let one_at_a_time = lock(&ACT);
    let Some(act) = *one_at_a_time else { return };
    let payload = info.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let after = act(&Panic {
        message: text.unwrap_or("a value that is not text"),
        place: info.location().map(ToString::to_string).unwrap_or_default(),
    });
    drop(one_at_a_time);
    match after {
        After::Wait => wait(),
        After::Exit(code) => os::exit(code),
        After::Return => {}
    }
}

/// What happens on a panic, on one thread at a time.
static ACT: Mutex<Option<OnPanic>> = Mutex::new(None);

/// Stops this thread for as long as the process lives.
pub(crate) fn wait() -> ! {
    #[cfg(test)]
    if let Some(system) = simulation::here() {
        system.stop();
    }
    loop {
        rustix::event::pause();
    }
}

/// Locks what the hook shares with other threads. A thread that panicked while it held the lock
/// has replaced or ended the process, or left a value that is still good: a change is one
/// assignment, or adds to a line of a log.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A lock of the process. In tests each thread has its own, since a thread may stand for a process
/// there: `os::simulation`, which only tests have.
macro_rules! process_lock {
    ($name:ident: $content:ty = $first:expr) => {
        #[cfg(not(test))]
        fn $name() -> ::std::sync::MutexGuard<'static, $content> {
            static LOCK: ::std::sync::Mutex<$content> = ::std::sync::Mutex::new($first);
            $crate::shared::os::reexec::lock(&LOCK)
        }
        #[cfg(test)]
        fn $name() -> ::std::sync::MutexGuard<'static, $content> {
            thread_local! {
                static LOCK: &'static ::std::sync::Mutex<$content> =
                    Box::leak(Box::new(::std::sync::Mutex::new($first)));
            }
            $crate::shared::os::reexec::lock(LOCK.with(|lock| *lock))
        }
    };
}

pub(crate) use process_lock;

/// Executes the program again with its arguments and the changed environment. Returns only if that
/// fails.
pub(crate) fn again(changes: &[Change<'_>]) -> Errno {
    #[cfg(test)]
    if simulation::here().is_some() {
        let owned = |(name, value): &Change<'_>| ((*name).to_owned(), value.map(str::to_owned));
        simulation::End::Again(changes.iter().map(owned).collect()).take();
    }
    for descriptor in lock(&KEPT).iter() {
        fcntl_setfd(descriptor, FdFlags::empty()).ok();
    }
    match Image::again(changes) {
        Ok(image) => image.execute(),
        Err(error) => error,
    }
}

/// Keeps a descriptor open for as long as the process lives, also when the program starts again.
/// Other programs that it starts do not get it.
pub(crate) fn keep(descriptor: OwnedFd) {
    lock(&KEPT).push(descriptor);
}

static KEPT: Mutex<Vec<OwnedFd>> = Mutex::new(Vec::new());

/// A program with its arguments and its environment, ready to be executed.
#[derive(Debug)]
pub(crate) struct Image<'a> {
    program: &'a CStr,
    /// To the arguments and to the environment, which live in `_strings`.
    pointers: [Vec<*const c_char>; 2],
    _strings: [Strings; 2],
}

impl<'a> Image<'a> {
    /// This program with its arguments and the changed environment.
    ///
    /// # Errors
    ///
    /// Those of [`arguments`].
    pub(crate) fn again(changes: &[Change<'_>]) -> Result<Self, Errno> {
        let arguments = arguments()?;
        Ok(Self::new(c"/proc/self/exe", arguments, changes))
    }

    /// A program with these arguments, the first of which is its name, and the changed environment.
    pub(crate) fn new(program: &'a CStr, arguments: Strings, changes: &[Change<'_>]) -> Self {
        let environment = environment(changes);
        let pointers = [arguments.pointers(), environment.pointers()];
        Self {
            program,
            pointers,
            _strings: [arguments, environment],
        }
    }

    /// The variables that it starts with.
    #[cfg(test)]
    pub(crate) fn variables(&self) -> Vec<(OsString, OsString)> {
        let [_, environment] = &self._strings;
        let pair = |string: &[u8]| {
            let at = string.iter().position(|byte| *byte == b'=')?;
            let value = string.get(at + 1..)?;
            let text = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
            Some((text(string.get(..at)?), text(value)))
        };
        environment.iter().filter_map(pair).collect()
    }

    /// Executes it in this process, with no signal blocked. Returns only if that fails. It makes
    /// system calls and nothing else, so it may be called between `fork` and `execve`.
    #[expect(
        unsafe_code,
        reason = "the standard library executes a program only through `Command`, which is 20 KB"
    )]
    pub(crate) fn execute(&self) -> Errno {
        let [arguments, environment] = &self.pointers;
        // SAFETY: `execve` takes a string that ends with NUL and two arrays of such strings that
        // end with null; all live as long as `self`, whose strings nobody changes. `sigemptyset`
        // writes the whole set, for which zeroes are a value, and `pthread_sigmask` reads it.
        unsafe {
            // This thread may have blocked signals, and the mask outlives an exec.
            let mut no_signals = std::mem::zeroed();
            libc::sigemptyset(&raw mut no_signals);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const no_signals, ptr::null_mut());
            libc::execve(
                self.program.as_ptr(),
                arguments.as_ptr(),
                environment.as_ptr(),
            );
        }
        os::last_error()
    }
}

/// Strings for `execve`, one behind the other, each with a NUL at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Strings(Vec<u8>);

impl Strings {
    /// Adds a string that is these parts in a row. A NUL in one of them ends the string.
    pub(crate) fn push(&mut self, parts: &[&[u8]]) {
        for part in parts {
            self.0.extend_from_slice(part);
        }
        self.0.push(0);
    }

    /// Adds all strings of another list.
    pub(crate) fn append(&mut self, others: &Self) {
        self.0.extend_from_slice(&others.0);
    }

    /// The strings, without their NULs.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let strings = self.0.split_inclusive(|byte| *byte == 0);
        strings.map(|string| string.strip_suffix(b"\0").unwrap_or(string))
    }

    /// Pointers to the strings, and null behind them.
    pub(crate) fn pointers(&self) -> Vec<*const c_char> {
        let mut pointers = Vec::new();
        for string in self.iter() {
            pointers.push(string.as_ptr().cast());
        }
        pointers.push(ptr::null());
        pointers
    }
}

/// The arguments of this process. `std::env::args_os` has none in a program with another `main`
/// than the standard library's.
///
/// # Errors
///
/// Those of reading `/proc/self/cmdline`.
pub(crate) fn arguments() -> Result<Strings, Errno> {
    #[cfg(test)]
    if simulation::here().is_some() {
        return Ok(Strings(b"bootstrap\0".to_vec()));
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::open(c"/proc/self/cmdline", flags, Mode::empty())?;
    let mut arguments = Vec::new();
    let mut block = [0; 1_024];
    loop {
        let count = rustix::io::read(&file, &mut block)?;
        if count == 0 {
            return Ok(Strings(arguments));
        }
        arguments.extend_from_slice(block.get(..count).unwrap_or_default());
    }
}

/// `NAME=value` of each variable of this process after the changes.
fn environment(changes: &[Change<'_>]) -> Strings {
    let mut environment = Strings::default();
    for (name, value) in std::env::vars_os() {
        if changes.iter().all(|(changed, _)| name != *changed) {
            environment.push(&[name.as_bytes(), b"=", value.as_bytes()]);
        }
    }
    for (name, value) in changes {
        if let Some(value) = value {
            environment.push(&[name.as_bytes(), b"=", value.as_bytes()]);
        }
    }
    environment
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn variables_are_kept_changed_added_and_removed() {
        let changes = [
            ("PATH", None),
            ("_BANTAM_ABSENT", None),
            ("_BANTAM_ADDED", Some("ab")),
        ];
        let environment = environment(&changes);
        let has = |start: &[u8]| environment.iter().any(|string| string.starts_with(start));
        assert!(has(b"_BANTAM_ADDED=ab"));
        assert!(!has(b"PATH="));
        assert!(!has(b"_BANTAM_ABSENT"));
        let kept = std::env::vars_os()
            .filter(|(name, _)| name != "PATH")
            .count();
        assert_eq!(environment.iter().count(), kept + 1);
        let pointers = environment.pointers();
        assert_eq!(pointers.len(), kept + 2);
        assert!(pointers.last().unwrap().is_null());
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
                let until_executed = simulation::fork();
                let child = Command::new(std::env::current_exe().unwrap())
                    .args(["--exact", NAME, "--nocapture"])
                    .env(ROUND, "first")
                    .env("_BANTAM_TEST_KEPT", "kept")
                    .stdout(Stdio::piped())
                    .spawn()
                    .unwrap();
                drop(until_executed);
                let output = child.wait_with_output().unwrap();
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

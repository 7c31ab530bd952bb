//! Starts the process of a handler. This is the only file here that needs `unsafe`.
//!
//! `std::process::Command` does not say which call failed, and is 26 KB of a static binary: it
//! keeps variables in two trees, and can change users and groups.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use rustix::io::{Errno, read, write};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, WaitOptions, getpid, pidfd_open, setpgid, waitpid};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use crate::shared::os;
use crate::shared::os::child::{ends_with, heed_children};
use crate::shared::os::reexec::{Change, Image, Strings};
#[cfg(test)]
use crate::shared::os::simulation;

/// A process, and the other ends of its standard input, output and error.
#[derive(Debug)]
pub(super) struct Spawned {
    pub(super) id: Pid,
    pub(super) pipes: [OwnedFd; 3],
    /// Readable once the process has exited. Absent where a sandbox refuses `pidfd_open`.
    pub(super) exit: Option<OwnedFd>,
}

/// What to start, and how.
#[derive(Debug, Default)]
pub(super) struct Command {
    pub(super) path: CString,
    /// The arguments behind the name of the program.
    pub(super) arguments: Strings,
    /// Standard output goes where standard error goes.
    pub(super) merges_output: bool,
}

/// Why a program was not started: the system call that failed, and its error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SpawnError {
    pub(super) call: &'static str,
    pub(super) error: Errno,
}

/// Starts a program in a process group of its own, with pipes for its standard input, output and
/// error. It gets the environment of this process with these changes.
///
/// In the new process no signal is blocked, and SIGPIPE has its default meaning. The kernel ends it
/// when this thread ends, so that a handler does not outlive a runtime that is killed.
///
/// # Errors
///
/// The first call that fails, up to `execve`.
#[expect(
    unsafe_code,
    reason = "the standard library makes a process only through `Command`"
)]
pub(super) fn spawn(command: &Command, changes: &[Change<'_>]) -> Result<Spawned, SpawnError> {
    #[cfg(test)]
    if let Some(system) = simulation::here() {
        let (id, [input, output, errors, exit]) = system.spawn(changes);
        return Ok(Spawned {
            id,
            pipes: [input, output, errors],
            exit: Some(exit),
        });
    }
    #[cfg(test)]
    let _until_executed = simulation::fork();
    let pipe = || {
        let pipe = pipe_with(PipeFlags::CLOEXEC);
        pipe.map_err(|error| SpawnError {
            call: "pipe2",
            error,
        })
    };
    let (child_input, input) = pipe()?;
    let (output, child_output) = pipe()?;
    let (errors, child_errors) = pipe()?;
    // An `execve` that succeeds closes it without a byte.
    let (failure, child_failure) = pipe()?;
    let mut arguments = Strings::default();
    arguments.push(&[command.path.to_bytes()]);
    arguments.append(&command.arguments);
    let image = Image::new(&command.path, arguments, changes);
    let parent = getpid();
    heed_children();
    // SAFETY: the new process has one thread and a copy of this memory, in which another thread may
    // hold a lock for ever. So it may call only functions that are safe in a signal handler until
    // `execve`. `execute` and what follows it make system calls and nothing else: they allocate
    // nothing, take no lock, do not panic and do not return.
    let id = match unsafe { libc::fork() } {
        0 => {
            let output = if command.merges_output {
                &child_errors
            } else {
                &child_output
            };
            let pipes = [&child_input, output, &child_errors];
            let (call, error) = execute(&image, pipes, parent);
            let [low, high, ..] = error.raw_os_error().to_le_bytes();
            write(&child_failure, &[call, low, high]).ok();
            os::exit(127)
        }
        id => Pid::from_raw(id.max(0)),
    };
    let Some(id) = id else {
        let error = os::last_error();
        return Err(SpawnError {
            call: "fork",
            error,
        });
    };
    drop(child_failure);
    let Some(error) = failed(&failure) else {
        let pipes = [input, output, errors];
        let exit = pidfd_open(id, PidfdFlags::empty()).ok();
        return Ok(Spawned { id, pipes, exit });
    };
    wait_for(id).ok();
    Err(error)
}

/// Makes this process the program, with the signals as a fresh process has them. Returns only if
/// that fails: the place in [`CALLS`] of the call that failed, and its error.
#[expect(
    unsafe_code,
    reason = "the standard library does not change the meaning of a signal"
)]
fn execute(image: &Image<'_>, [input, output, errors]: [&OwnedFd; 3], parent: Pid) -> (u8, Errno) {
    let duplicated = dup2_stdin(input)
        .and_then(|()| dup2_stdout(output))
        .and_then(|()| dup2_stderr(errors));
    if let Err(error) = duplicated {
        return (0, error);
    }
    if let Err(error) = setpgid(None, None) {
        return (1, error);
    }
    if !ends_with(parent) {
        return (2, Errno::SRCH);
    }
    // Rust ignores it, and what is ignored stays so.
    // SAFETY: no handler is installed, so no code can run at a bad moment.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    (3, image.execute())
}

/// Waits until the new process is the program, or reports why not.
fn failed(failure: &OwnedFd) -> Option<SpawnError> {
    let mut report = [0; 3];
    let length = loop {
        match read(failure, &mut report) {
            Err(Errno::INTR) => {}
            length => break length,
        }
    };
    let [call, low, high] = report;
    let error = Errno::from_raw_os_error(i32::from_le_bytes([low, high, 0, 0]));
    let call = CALLS.get(usize::from(call)).copied().unwrap_or_default();
    (length == Ok(3)).then_some(SpawnError { call, error })
}

/// Waits for the end of a child.
///
/// # Errors
///
/// Those of `waitpid`.
pub(super) fn wait_for(id: Pid) -> Result<ExitStatus, Errno> {
    #[cfg(test)]
    if let Some(system) = simulation::here() {
        return system.status(id).ok_or(Errno::CHILD);
    }
    loop {
        match waitpid(Some(id), WaitOptions::empty()) {
            Ok(Some((_, status))) => return Ok(ExitStatus::from_raw(status.as_raw())),
            // Without WNOHANG there is a status, or an error.
            Ok(None) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// The calls of [`execute`].
const CALLS: [&str; 4] = ["dup2", "setpgid", "getppid", "execve"];

#[cfg(test)]
mod tests {
    use std::ffi::CStr;

    use super::*;

    fn command(path: &CStr) -> Command {
        Command {
            path: path.to_owned(),
            ..Command::default()
        }
    }

    fn read_all(pipe: OwnedFd) -> String {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut std::fs::File::from(pipe), &mut text).unwrap();
        text
    }

    #[test]
    fn a_program_gets_its_arguments_and_one_pipe_for_all_that_it_writes() {
        let mut command = command(c"/bin/sh");
        command.merges_output = true;
        for argument in ["-c", "echo $0; echo \"$1\" >&2", "a", "b c"] {
            command.arguments.push(&[argument.as_bytes()]);
        }
        let Spawned { id, pipes, .. } = spawn(&command, &[]).unwrap();
        let [_input, output, errors] = pipes;
        assert_eq!(read_all(errors), "a\nb c\n");
        assert_eq!(read_all(output), "");
        assert!(wait_for(id).unwrap().success());
    }

    #[test]
    fn a_program_that_cannot_be_executed_is_an_error_with_the_call() {
        let table = [
            (c"/no/such/program", Errno::NOENT),
            (c"/", Errno::ACCESS),
            (c"/etc/passwd", Errno::ACCESS),
        ];
        for (path, error) in table {
            let call = "execve";
            let failed = spawn(&command(path), &[]).unwrap_err();
            assert_eq!(failed, SpawnError { call, error });
        }
    }

    #[test]
    fn a_program_gets_the_changed_environment_and_its_pipes() {
        let changes = [("_BANTAM_TEST", Some("here")), ("PATH", None)];
        let Spawned { id, pipes, .. } = spawn(&command(c"/usr/bin/env"), &changes).unwrap();
        let [input, output, _errors] = pipes;
        drop(input);
        let text = read_all(output);
        assert!(
            text.lines().any(|line| line == "_BANTAM_TEST=here"),
            "{text}"
        );
        assert!(
            !text.lines().any(|line| line.starts_with("PATH=")),
            "{text}"
        );
        assert!(wait_for(id).unwrap().success());
    }
}

//! Any executable as the handler: `_HANDLER` names it, and it is started for every invocation.
//!
//! The event is its standard input, its standard output is the response, and what it writes to
//! standard error goes to the log. The format is in `docs/executable-handlers.md`.

mod child;
mod persistent;

use std::ffi::{CStr, CString, OsStr};
use std::iter;
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use rustix::fs::{FileType, stat};
use rustix::io::Errno;

use self::child::{Driven, Process, Until};
use self::persistent::Persistent;
use crate::runtime::context::{Context, VARIABLES};
use crate::runtime::error::Error;
use crate::runtime::handler::{Handler, Init};
use crate::runtime::response::{Answer, Answered};
use crate::shared::env::Env;
use crate::shared::limits::PAYLOAD_BYTES_MAX;
use crate::shared::os::{self, Instant};
use crate::shared::text::push;

/// The handler of the stock binary: the executable that `_HANDLER` names.
#[must_use]
pub const fn executable() -> ExecutableInit {
    ExecutableInit(())
}

/// What [`executable`] returns.
#[derive(Debug)]
pub struct ExecutableInit(());

/// An executable as a handler.
#[derive(Debug)]
pub struct Executable(Mode);

#[derive(Debug)]
enum Mode {
    PerInvocation(CString),
    Persistent(Persistent),
}

impl Init for ExecutableInit {
    type Handler = Executable;

    fn init(self, env: &Env) -> Result<Executable, Error> {
        let path = find(env)?;
        match env.handler_mode {
            None | Some("per-invocation") => Ok(Executable(Mode::PerInvocation(path))),
            Some("persistent") => Persistent::start(path)
                .map(Mode::Persistent)
                .map(Executable),
            Some(other) => Err(Error::of_text(
                "Runtime.InvalidHandlerMode",
                format!("BANTAM_HANDLER_MODE is {other:?}, expected per-invocation or persistent"),
            )),
        }
    }
}

impl Handler for Executable {
    fn handle(&mut self, event: &[u8], context: &Context<'_>, answer: Answer<'_>) -> Answered {
        let outcome = match &mut self.0 {
            Mode::PerInvocation(path) => run(path, event, context),
            Mode::Persistent(process) => process.call(event, context),
        };
        match outcome {
            Ok(body) => answer.json_text(&body),
            Err(failure) => answer.failure(failure),
        }
    }
}

/// Runs one process for one event.
fn run(path: &CStr, event: &[u8], context: &Context<'_>) -> Result<Vec<u8>, Error> {
    // A variable for which this invocation has no value goes: it would be that of the process.
    let deadline = context.deadline_ms().map(|ms| ms.to_string());
    let mut changes: Vec<_> = context.values(&VARIABLES).collect();
    changes.push(("LAMBDA_RUNTIME_DEADLINE_MS", deadline.as_deref()));
    let started = Process::spawn(path, changes);
    let mut process = started.map_err(|error| not_started(path, error))?;
    let end = kill_at(context);
    match process
        .drive(event, Until::Exit, end, PAYLOAD_BYTES_MAX)
        .map_err(lost)?
    {
        Driven::Exited(status) if status.exit_status() == Some(0) => Ok(process.take_output()),
        Driven::Exited(status) => Err(process.failure(status)),
        Driven::TimedOut => Err(timed_out(&mut process)),
        Driven::TooLarge | Driven::Line => Err(too_large()),
    }
}

/// When a child is killed so that its error still gets out: a little before the deadline.
/// `None` if no deadline is known.
fn kill_at(context: &Context<'_>) -> Option<Instant> {
    let remaining = context.remaining()?;
    let margin = KILL_MARGIN.min(remaining / 2);
    Some(Instant::now() + remaining.saturating_sub(margin))
}

fn timed_out(process: &mut Process) -> Error {
    let tail = process.errors_tail();
    let mut message = "the handler was killed shortly before the deadline".to_owned();
    if !tail.is_empty() {
        message.push_str("; it had written: ");
        message.push_str(&tail);
    }
    Error::of_text("Function.Timeout", message)
}

fn too_large() -> Error {
    let message = format!("a response of over {PAYLOAD_BYTES_MAX} bytes, the limit");
    Error::of_text("Function.ResponseSizeTooLarge", message)
}

fn not_started(path: &CStr, error: Errno) -> Error {
    let hint = match error {
        // Neither a program for this machine nor a script that names one.
        Errno::NOEXEC => " (a script needs a first line like #!/bin/sh)",
        Errno::NOENT => " (its interpreter may be missing)",
        _ => "",
    };
    let (path, error) = (path.to_string_lossy(), os::error_text(error));
    let message = ["cannot start ", &path, ": ", &error, hint].concat();
    Error::of_text("Runtime.HandlerNotStarted", message)
}

fn lost(error: Errno) -> Error {
    let message = ["lost the handler: ", &os::error_text(error)].concat();
    Error::of_text("Runtime.HandlerLost", message)
}

/// Finds the executable that `_HANDLER` names: under the task root, or on `PATH` if it is a name
/// without a slash.
fn find(env: &Env) -> Result<CString, Error> {
    let not_found = |message| Error::of_text("Runtime.HandlerNotFound", message);
    let Some(handler) = env.handler else {
        let message = "_HANDLER is not set: it names the executable that handles events";
        return Err(not_found(message.to_owned()));
    };
    let mut message = format!("handler {handler:?}: looked for");
    let root = env.task_root.map_or(TASK_ROOT, OsStr::as_bytes);
    let path = env.path.unwrap_or_default().as_bytes();
    let path = (!handler.contains('/')).then(|| path.split(|byte| *byte == b':'));
    let mut comma = " ";
    for folder in iter::once(root).chain(path.into_iter().flatten()) {
        let candidate = in_folder(folder, handler);
        let verdict = match stat(&*candidate) {
            Ok(found) if FileType::from_raw_mode(found.st_mode).is_dir() => "a folder",
            Ok(found) if found.st_mode & 0o111 == 0 => "not executable",
            Ok(_) => return Ok(candidate),
            Err(Errno::NOENT) => "not found",
            Err(_) => "not accessible",
        };
        for part in [comma, &candidate.to_string_lossy(), " (", verdict, ")"] {
            message.push_str(part);
        }
        comma = ", ";
    }
    Err(not_found(message))
}

/// The path of `name` in a folder. No folder is the one that the process is in, and an absolute name
/// is a path by itself.
fn in_folder(folder: &[u8], name: &str) -> CString {
    let mut path = Vec::new();
    if !name.starts_with('/') && !folder.is_empty() {
        path.extend_from_slice(folder);
        if !folder.ends_with(b"/") {
            path.push(b'/');
        }
    }
    push(&mut path, name);
    // Variables hold no NUL.
    CString::new(path).unwrap_or_default()
}

/// Where Lambda unpacks the function's code.
const TASK_ROOT: &[u8] = b"/var/task";

/// How long before the deadline a child is killed, or half of what is left if that is less.
const KILL_MARGIN: Duration = Duration::from_millis(100);

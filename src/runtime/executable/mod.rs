//! Any executable as the handler. `_HANDLER` names it.
//!
//! It is started for each event, or once for all of them. Both forms are described in
//! `docs/executable-handlers.md`.

mod check;
mod child;
mod error;
mod persistent;
mod spawn;
mod stderr;

use std::ffi::{CStr, CString, OsStr, OsString};
use std::iter;
use std::os::unix::ffi::OsStrExt as _;
use std::time::{Duration, Instant};

use serde::de::IgnoredAny;

use self::check::{Fault, check};
use self::child::{Child, Driven, Until, now};
use self::error::{ExecutableError, Missing};
use self::persistent::Persistent;
use crate::runtime::context::Context;
use crate::runtime::error::Error;
use crate::runtime::handler::{Handler, Init};
use crate::runtime::log;
use crate::runtime::response::{Answer, Answered};
use crate::runtime::{panic, trace};
use crate::shared::env::{self, Env};
use crate::shared::limits::PAYLOAD_BYTES_MAX;
use crate::shared::log_record::Level;
use crate::shared::os;
use crate::shared::os::reexec::Change;

/// The handler of the stock binary: the executable that `_HANDLER` names.
#[must_use]
pub const fn executable() -> ExecutableInit {
    ExecutableInit(())
}

/// Finds and starts the executable; [`executable`] makes it.
#[derive(Debug)]
pub struct ExecutableInit(());

/// An executable as a handler.
#[derive(Debug)]
pub struct Executable(Mode);

#[derive(Debug)]
enum Mode {
    PerInvocation(PerInvocation),
    Persistent(Persistent),
}

/// A program that is started for each event.
#[derive(Debug)]
struct PerInvocation {
    program: Program,
    /// A response that is not JSON has been noticed.
    warned: bool,
}

/// The file of a handler, and where the runtime is.
#[derive(Debug)]
struct Program {
    path: CString,
    /// The value of `AWS_LAMBDA_RUNTIME_API`, for [`CHILD_OF`].
    api: String,
}

impl Init for ExecutableInit {
    type Handler = Executable;

    fn init(self, env: &Env) -> Result<Executable, Error> {
        spawn::heed_children();
        let program = Program::find(env).map_err(|error| error.report())?;
        let mode = match env.handler_mode.as_deref() {
            None | Some("per-invocation") => Mode::PerInvocation(PerInvocation {
                program,
                warned: false,
            }),
            Some("persistent") => Mode::Persistent(Persistent::start(program)?),
            Some(other) => return Err(ExecutableError::Mode(other.to_owned()).report()),
        };
        Ok(Executable(mode))
    }
}

impl Handler for Executable {
    fn handle(&mut self, event: &[u8], context: &Context<'_>, answer: Answer<'_>) -> Answered {
        let outcome = match &mut self.0 {
            Mode::PerInvocation(program) => {
                program.run(event, context).map_err(|error| error.report())
            }
            Mode::Persistent(process) => process.call(event, context),
        };
        match outcome {
            Ok(body) => answer.json_text(&body),
            Err(error) => answer.error(error),
        }
    }
}

impl PerInvocation {
    /// Runs one process for one event.
    fn run(&mut self, event: &[u8], context: &Context<'_>) -> Result<Vec<u8>, ExecutableError> {
        let deadline = context.deadline_ms().map(|ms| ms.to_string());
        let mut child = self
            .program
            .start(&variables(context, deadline.as_deref()))?;
        let end = kill_at(context.remaining(), now());
        let driven = child.drive(&mut &*event, Until::Exit, end, PAYLOAD_BYTES_MAX);
        let outcome = match driven.map_err(ExecutableError::Lost)? {
            Driven::Exited(status) if status.success() => Ok(child.take_output()),
            Driven::Exited(status) => Err(ExecutableError::Ended {
                status,
                stderr: child.errors_tail(),
            }),
            Driven::TimedOut => Err(ExecutableError::TimedOut {
                missing: Missing::Exit,
                stderr: child.errors_tail(),
            }),
            Driven::TooLarge | Driven::Line | Driven::Closed => Err(ExecutableError::TooLarge),
        };
        drop(child);
        child::collect_orphans(None);
        if let Ok(output) = &outcome {
            self.look_at(output);
        }
        outcome
    }

    /// Warns once if the output is not JSON. It is the response in any case, but most often a line
    /// for the log is the reason.
    fn look_at(&mut self, output: &[u8]) {
        let is_json = || serde_json::from_slice::<IgnoredAny>(output).is_ok();
        if self.warned || output.is_empty() || is_json() {
            return;
        }
        self.warned = true;
        let message = format!(
            "the response is not JSON: {:?} (standard output is the response; what goes to the log \
             belongs on standard error)",
            quoted(output)
        );
        log::line(Level::Warn, &message);
    }
}

impl Program {
    /// Finds the executable that `_HANDLER` names: under the task root, or on `PATH` if it is a
    /// name without a slash.
    fn find(env: &Env) -> Result<Self, ExecutableError> {
        let handler = env.handler.as_deref().ok_or(ExecutableError::NoHandler)?;
        let path = env.path.as_deref().map(OsStr::as_bytes);
        let folders = path
            .into_iter()
            .flat_map(|path| path.split(|byte| *byte == b':'));
        let folders: Vec<&[u8]> = folders.collect();
        let root = env.task_root.as_deref().map_or(TASK_ROOT, OsStr::as_bytes);
        let others = if handler.contains('/') {
            &[]
        } else {
            &*folders
        };
        let mut looked_for = Vec::new();
        for folder in iter::once(root).chain(others.iter().copied()) {
            let path = in_folder(folder, handler);
            let Err(fault) = check(&path, &folders) else {
                let api = os::variable(env::API).unwrap_or_default();
                let api = api.to_string_lossy().into_owned();
                return Ok(Self { path, api });
            };
            let path = text(&path);
            if fault == Fault::Runtime {
                return Err(ExecutableError::Runtime(path));
            }
            if !fault.is_absence() {
                return Err(ExecutableError::NotStartable(path, fault));
            }
            looked_for.push((path, fault));
        }
        Err(ExecutableError::NotFound {
            handler: handler.to_owned(),
            looked_for,
        })
    }

    /// Starts a process with these changes of the environment.
    fn start(&self, changes: &[Change<'_>]) -> Result<Box<Child>, ExecutableError> {
        let own = [(CHILD_OF, Some(self.api.as_str())), (panic::RESTARTS, None)];
        let started = Child::start(&self.path, &[changes, &own].concat());
        started.map_err(|error| ExecutableError::NotStarted(text(&self.path), error))
    }
}

/// A path for a message.
fn text(path: &CStr) -> String {
    path.to_string_lossy().into_owned()
}

/// The path of `name` in a folder. An absolute name is a path by itself, and an empty folder is the
/// one that the process is in.
fn in_folder(folder: &[u8], name: &str) -> CString {
    let folder = if name.starts_with('/') { b"" } else { folder };
    let slash: &[u8] = if folder.is_empty() || folder.ends_with(b"/") {
        b""
    } else {
        b"/"
    };
    // Variables hold no NUL.
    CString::new([folder, slash, name.as_bytes()].concat()).unwrap_or_default()
}

/// The variables that a process gets for its event. One for which this invocation has no value is
/// removed, since the runtime itself may have been given it.
fn variables<'a>(
    context: &Context<'a>,
    deadline: Option<&'a str>,
) -> [(&'static str, Option<&'a str>); 7] {
    [
        ("LAMBDA_RUNTIME_AWS_REQUEST_ID", Some(context.request_id())),
        ("LAMBDA_RUNTIME_DEADLINE_MS", deadline),
        (
            "LAMBDA_RUNTIME_INVOKED_FUNCTION_ARN",
            context.invoked_function_arn(),
        ),
        ("LAMBDA_RUNTIME_CLIENT_CONTEXT", context.client_context()),
        (
            "LAMBDA_RUNTIME_COGNITO_IDENTITY",
            context.cognito_identity(),
        ),
        ("LAMBDA_RUNTIME_AWS_TENANT_ID", context.tenant_id()),
        (trace::NAME, context.trace_id()),
    ]
}

/// When to kill a process so that its error still gets out: a little before the deadline, if there
/// is one.
fn kill_at(remaining: Option<Duration>, now: Instant) -> Option<Instant> {
    let remaining = remaining?;
    let margin = KILL_MARGIN.min(remaining / 2);
    Some(now + remaining.saturating_sub(margin))
}

/// The beginning of something that a handler wrote, for a message.
fn quoted(bytes: &[u8]) -> String {
    let bytes = bytes.trim_ascii();
    let start = bytes.get(..stderr::boundary(bytes, QUOTED_BYTES_MAX));
    let text = String::from_utf8_lossy(start.unwrap_or(bytes));
    let end = if start.is_some_and(|start| start.len() < bytes.len()) {
        "\u{2026}"
    } else {
        ""
    };
    [&text, end].concat()
}

/// Says why this process must not run, if it was started as the handler of another runtime with the
/// same Runtime API.
///
/// It would ask for an event, get the one that it was started for, and start a process for that in
/// turn. A runtime below a handler that has an API of its own, such as one under an emulator, is
/// not meant.
pub(super) fn refusal(lookup: impl Fn(&str) -> Option<OsString>) -> Option<String> {
    let api = lookup(CHILD_OF)?;
    let is_handler = Some(api) == lookup(env::API);
    is_handler.then(|| [IS_HANDLER, SET_HANDLER].concat())
}

const IS_HANDLER: &str =
    "this is a Lambda runtime, and it was started as the handler of another one: ";

/// How to set a handler in place of what templates for `provided` runtimes suggest.
const SET_HANDLER: &str = "set the function's handler (_HANDLER) to the executable that handles \
    events; a function in Rust needs none, because its own binary is the bootstrap";

/// The variable that marks handlers: the address of the API that their runtime uses.
const CHILD_OF: &str = "_BANTAM_CHILD_OF";

/// Where Lambda unpacks the function's code.
const TASK_ROOT: &[u8] = b"/var/task";

/// How long before the deadline a process is killed, or half of what is left if that is less.
const KILL_MARGIN: Duration = Duration::from_millis(100);

/// Bytes of what a handler wrote that a message shows.
const QUOTED_BYTES_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    #[test]
    fn a_process_is_killed_a_little_before_the_deadline() {
        let now = now();
        assert_eq!(kill_at(None, now), None);
        let table = [
            (1, Some(0)),
            (100, Some(50)),
            (200, Some(100)),
            (900_000, Some(899_900)),
        ];
        for (remaining, expected) in table {
            let end = kill_at(Some(Duration::from_millis(remaining)), now);
            let found = end.map(|end| end.saturating_duration_since(now));
            // Half of a millisecond is cut off.
            let found = found.map(|left| left.as_millis());
            assert_eq!(found, expected, "{remaining}");
        }
    }

    #[test]
    fn a_runtime_is_a_handler_if_it_has_the_same_api() {
        let table = [
            (None, Some("127.0.0.1:9001"), false),
            (Some("127.0.0.1:9001"), Some("127.0.0.1:9001"), true),
            (Some("127.0.0.1:9001"), Some("127.0.0.1:9002"), false),
            (Some("127.0.0.1:9001"), None, false),
        ];
        for (parent, own, expected) in table {
            let lookup = |name: &str| match name {
                CHILD_OF => parent.map(OsString::from),
                _ => own.map(OsString::from),
            };
            assert_eq!(refusal(lookup).is_some(), expected, "{parent:?} {own:?}");
        }
    }

    #[test]
    fn a_quotation_is_short_and_whole() {
        assert_eq!(quoted(b" hello\r"), "hello");
        assert_eq!(quoted("x".repeat(100).as_bytes()), "x".repeat(100));
        assert_eq!(quoted("x".repeat(101).as_bytes()), "x".repeat(100) + "…");
        let start = "-".to_owned() + &"é".repeat(49);
        assert_eq!(quoted((start.clone() + "éé").as_bytes()), start + "…");
        assert_eq!(quoted(&[0xFF; 2]), "\u{FFFD}\u{FFFD}");
    }

    #[test]
    fn names_are_found_in_folders() {
        let table = [
            ("/var/task", "a.sh", "/var/task/a.sh"),
            ("/var/task/", "bin/a", "/var/task/bin/a"),
            ("/var/task", "/opt/a", "/opt/a"),
            ("", "a", "a"),
            ("", "/opt/a", "/opt/a"),
        ];
        for (folder, name, path) in table {
            assert_eq!(
                in_folder(folder.as_bytes(), name).to_bytes(),
                path.as_bytes()
            );
        }
    }
}

//! The file of a handler: where it is, and how its process is started.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::iter;
use std::os::unix::ffi::OsStrExt as _;

use super::check::{diagnose, executable_file, is_this_program};
use super::child::Child;
use super::error::{ExecutableError, SET_HANDLER};
use super::spawn::Command;
use crate::runtime::panic;
use crate::shared::env::{self, Env};
use crate::shared::os;
use crate::shared::os::reexec::Change;

/// The file of a handler.
#[derive(Debug)]
pub(super) struct Program(Command);

impl Program {
    /// Finds the executable that `_HANDLER` names: under the task root, or on `PATH` if it is a
    /// name without a slash.
    pub(super) fn find(env: &Env) -> Result<Self, ExecutableError> {
        let handler = env.handler.as_deref().ok_or(ExecutableError::NoHandler)?;
        let root = env.task_root.as_deref().map_or(TASK_ROOT, OsStr::as_bytes);
        let others = env.path.as_deref().filter(|_| !handler.contains('/'));
        let mut looked_for = Vec::new();
        for folder in iter::once(root).chain(others.into_iter().flat_map(folders)) {
            let path = in_folder(folder, handler);
            match executable_file(&path) {
                Ok(file) if is_this_program(&file) => {
                    return Err(ExecutableError::Runtime(text(&path)));
                }
                Ok(_) => {
                    return Ok(Self(Command {
                        path,
                        ..Command::default()
                    }));
                }
                Err(fault) => looked_for.push((text(&path), fault)),
            }
        }
        Err(ExecutableError::NotFound {
            handler: handler.to_owned(),
            looked_for,
        })
    }

    /// The same as a server: all that it writes is for the log.
    pub(super) fn into_server(mut self) -> Self {
        self.0.merges_output = true;
        self
    }

    /// Starts a process with these changes of the environment.
    pub(super) fn start(&self, changes: &[Change<'_>]) -> Result<Box<Child>, ExecutableError> {
        let api = os::variable(env::API).unwrap_or_default();
        let api = api.to_string_lossy();
        let own = [(CHILD_OF, Some(&*api)), (panic::RESTARTS, None)];
        Child::start(&self.0, &[changes, &own].concat()).map_err(|error| {
            let known = self.not_startable();
            known.unwrap_or_else(|| ExecutableError::NotStarted(text(&self.0.path), error))
        })
    }

    /// The error with its cause, if it is that `env` did not find the command of the first line.
    pub(super) fn explain(&self, error: ExecutableError) -> ExecutableError {
        let not_found = matches!(
            &error,
            ExecutableError::Ended { status, .. } if status.code() == Some(COMMAND_NOT_FOUND)
        );
        let known = not_found.then(|| self.not_startable()).flatten();
        known.unwrap_or(error)
    }

    /// Says what is wrong with the file, if anything is.
    fn not_startable(&self) -> Option<ExecutableError> {
        let path = os::variable("PATH").unwrap_or_default();
        let fault = diagnose(&self.0.path, &folders(&path).collect::<Vec<_>>())?;
        Some(ExecutableError::NotStartable(text(&self.0.path), fault))
    }
}

/// The folders in the value of `PATH`.
fn folders(path: &OsStr) -> impl Iterator<Item = &[u8]> {
    path.as_bytes().split(|byte| *byte == b':')
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

/// Says why this process must not run, if it was started as the handler of another runtime with the
/// same Runtime API.
///
/// It would ask for an event, get the one that it was started for, and start a process for that in
/// turn. A runtime below a handler that has an API of its own, such as one under an emulator, is
/// not meant.
pub(in crate::runtime) fn refusal(lookup: impl Fn(&str) -> Option<OsString>) -> Option<String> {
    let api = lookup(CHILD_OF)?;
    let is_handler = Some(api) == lookup(env::API);
    is_handler.then(|| [IS_HANDLER, SET_HANDLER].concat())
}

const IS_HANDLER: &str =
    "this is a Lambda runtime, and it was started as the handler of another one: ";

/// The variable that marks handlers: the address of the API that their runtime uses.
const CHILD_OF: &str = "_BANTAM_CHILD_OF";

/// Where Lambda unpacks the function's code.
const TASK_ROOT: &[u8] = b"/var/task";

/// The exit status of `env`, and of a shell, for a command that is not there.
const COMMAND_NOT_FOUND: i32 = 127;

#[cfg(test)]
mod tests {
    use super::*;

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

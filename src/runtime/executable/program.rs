//! The file of a handler: where it is, and how its process is started.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::iter;
use std::os::unix::ffi::OsStrExt as _;

use super::check::{diagnose, executable_file, is_this_program};
use super::child::Child;
use super::error::{ExecutableError, SET_HANDLER};
use super::spawn::Command;
use crate::runtime::{panic, wrapper, zone};
use crate::shared::env::{self, Env};
use crate::shared::os;
use crate::shared::os::reexec::{self, Change, Strings};

/// The file of a handler.
#[derive(Debug)]
pub(super) struct Program(Command);

impl Program {
    /// Finds the executable that `_HANDLER` names: under the task root, or on `PATH` if it is a
    /// name without a slash.
    pub(super) fn find(env: &Env) -> Result<Self, ExecutableError> {
        Self::named(
            env,
            env.handler.as_deref().ok_or(ExecutableError::NoHandler)?,
        )
    }

    /// Finds the executable of this name in the same places. All that it writes is for the log.
    pub(super) fn find_command(env: &Env, name: &str) -> Result<Self, ExecutableError> {
        let mut command = Self::named(env, name)?;
        command.0.merges_output = true;
        Ok(command)
    }

    fn named(env: &Env, handler: &str) -> Result<Self, ExecutableError> {
        let others = env.path.as_deref().filter(|_| !handler.contains('/'));
        let others = others.into_iter().flat_map(folders);
        let path = search(handler, iter::once(task_root(env)).chain(others))?;
        Ok(Self(Command {
            path,
            ..Command::default()
        }))
    }

    /// Finds the server to start, and how. It is a command line, if this program was given one as
    /// arguments, as in a container: its first word is a path from the working directory, or a
    /// name on `PATH`. Otherwise `_HANDLER` names it.
    ///
    /// The arguments of a wrapper are the command line of the runtime whose place it takes.
    pub(super) fn find_server(env: &Env, is_wrapper: bool) -> Result<Self, ExecutableError> {
        let given = reexec::arguments().unwrap_or_default();
        let mut words = given.iter().skip(1);
        let name = words.next().filter(|_| !is_wrapper);
        let mut server = match name {
            None => Self::find(env)?,
            Some(name) => {
                let name = String::from_utf8_lossy(name);
                let from_here = OsStr::new("");
                let path = env.path.as_deref().filter(|_| !name.contains('/'));
                let first = folders(path.unwrap_or(from_here));
                let path = search(&name, first.chain([task_root(env)]))?;
                let mut arguments = Strings::default();
                for word in words {
                    arguments.push(&[word]);
                }
                Self(Command {
                    path,
                    arguments,
                    ..Command::default()
                })
            }
        };
        // All that it writes is for the log.
        server.0.merges_output = true;
        Ok(server)
    }

    /// Starts a process with these changes of the environment.
    pub(super) fn start(&self, changes: &[Change<'_>]) -> Result<Box<Child>, ExecutableError> {
        let api = os::variable(env::API).unwrap_or_default();
        let api = api.to_string_lossy();
        let zone = availability_zone();
        let own = [
            (CHILD_OF, Some(&*api)),
            (panic::RESTARTS, None),
            (ZONE, zone.as_deref()),
        ];
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

/// The availability zone, where executables want to know it.
pub(super) fn availability_zone() -> Option<String> {
    let is_wanted = os::variable(WANTS_ZONE).is_some_and(|value| value == "true");
    is_wanted.then(zone::availability_zone).flatten()
}

/// The first of the folders' files with this name that can be executed.
fn search<'a>(
    name: &str,
    folders: impl Iterator<Item = &'a [u8]>,
) -> Result<CString, ExecutableError> {
    let mut looked_for = Vec::new();
    for folder in folders {
        let path = in_folder(folder, name);
        match executable_file(&path) {
            Ok(file) if is_this_program(&file) => {
                return Err(ExecutableError::Runtime(text(&path)));
            }
            Ok(_) => return Ok(path),
            Err(fault) => looked_for.push((text(&path), fault)),
        }
    }
    Err(ExecutableError::NotFound {
        handler: name.to_owned(),
        looked_for,
    })
}

fn task_root(env: &Env) -> &[u8] {
    env.task_root.as_deref().map_or(TASK_ROOT, OsStr::as_bytes)
}

/// True if a managed runtime has started this program in its place.
pub(super) fn replaces_a_runtime() -> bool {
    os::variable(wrapper::WRAPPER).is_some_and(|wrapper| {
        let given = reexec::arguments().unwrap_or_default();
        wrapper::is_wrapper(&given, wrapper.as_bytes())
    })
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

/// Asks for the availability zone, which takes a call of the metadata endpoint.
const WANTS_ZONE: &str = "BANTAM_AVAILABILITY_ZONE";

/// The availability zone at the start of the process.
const ZONE: &str = "LAMBDA_RUNTIME_AVAILABILITY_ZONE";

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

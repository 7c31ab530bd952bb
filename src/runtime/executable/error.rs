//! Why an executable gave no response.

use std::error::Error;
use std::fmt;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use rustix::io::Errno;
use rustix::process::Signal;

use super::check::Fault;
use super::spawn::SpawnError;
use super::stderr;
use crate::runtime::error::Error as Report;
use crate::shared::limits::PAYLOAD_BYTES_MAX;
use crate::shared::os;

/// Why an executable gave no response.
#[derive(Debug)]
pub(super) enum ExecutableError {
    /// `_HANDLER` is not set.
    NoHandler,
    /// `_HANDLER` names the runtime itself.
    Runtime(String),
    /// `_HANDLER` names no executable.
    NotFound {
        handler: String,
        looked_for: Vec<(String, Fault)>,
    },
    /// A setting has another value than it may have.
    Setting {
        error_type: &'static str,
        name: &'static str,
        value: String,
        expected: &'static str,
    },
    /// The file cannot be executed.
    NotStartable(String, Fault),
    /// The file was not executed.
    NotStarted(String, SpawnError),
    /// A system call about the process failed.
    Lost(Errno),
    /// The process ended without a response.
    Ended { status: ExitStatus, stderr: String },
    /// The process was killed shortly before the deadline.
    TimedOut { missing: Missing, stderr: String },
    /// The output passed its limit.
    TooLarge,
    /// A persistent handler wrote something else than the protocol allows.
    Protocol(ProtocolError),
}

/// What a process still had to do when the time ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// Exit.
    Exit,
    /// Write a line. `pending` counts the bytes that it has written without a line end.
    Line {
        expected: &'static str,
        pending: usize,
    },
}

/// How a persistent handler broke the protocol.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ProtocolError {
    /// A line is not a JSON object.
    NotAnObject { line: String },
    /// A member of the object has another form.
    Malformed { cause: String, line: String },
    /// The object has none of the members, or more than one.
    OtherMembers { line: String },
    /// An answer came before the handler had said that it is ready.
    NotReady,
    /// The handler said again that it is ready.
    ReadyAgain,
    /// A whole response, or a prelude, came behind a part of a response.
    InStream,
    /// The answer names another invocation.
    OtherRequest(String),
    /// The answer came while the event, or a part of it, was unread.
    EventUnread,
    /// There was more output behind the answer.
    MoreOutput,
    /// The handler closed its standard output.
    OutputClosed,
}

impl ExecutableError {
    /// The error for the platform.
    pub(super) fn report(&self) -> Report {
        Report::new(self.error_type(), self.to_string())
    }

    pub(super) fn error_type(&self) -> &'static str {
        match self {
            Self::NoHandler | Self::NotFound { .. } => "Runtime.HandlerNotFound",
            Self::Runtime(_) => "Runtime.HandlerIsRuntime",
            Self::Setting { error_type, .. } => error_type,
            Self::NotStartable(..) | Self::NotStarted(..) => "Runtime.HandlerNotStarted",
            Self::Lost(_) => "Runtime.HandlerLost",
            Self::Ended { status, .. } if status.signal().is_some() => "Function.Killed",
            Self::Ended { .. } => "Function.ExitStatus",
            Self::TimedOut { .. } => "Function.Timeout",
            Self::TooLarge => "Function.ResponseSizeTooLarge",
            Self::Protocol(_) => "Function.ProtocolError",
        }
    }
}

impl fmt::Display for ExecutableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHandler => {
                f.write_str("_HANDLER is not set: it names the executable that handles events")
            }
            Self::Runtime(path) => write!(
                f,
                "_HANDLER names {path}, which is this runtime: {SET_HANDLER}"
            ),
            Self::NotFound {
                handler,
                looked_for,
            } => not_found(f, handler, looked_for),
            Self::Setting {
                name,
                value,
                expected,
                ..
            } => write!(f, "{name} is {value:?}, expected {expected}"),
            Self::NotStartable(path, fault) => {
                write!(f, "cannot start {path}: {fault}")
            }
            Self::NotStarted(path, error) => {
                write!(f, "cannot start {path}: {error}")
            }
            Self::Lost(error) => write!(f, "lost the handler: {}", os::error_text(*error)),
            Self::Ended { status, stderr } => {
                write!(f, "the handler ended with {status}")?;
                if status.signal() == Some(Signal::KILL.as_raw()) {
                    f.write_str(", as when there is not enough memory")?;
                }
                with_stderr(f, stderr)
            }
            Self::TimedOut { missing, stderr } => {
                write!(
                    f,
                    "the handler was killed shortly before the deadline{missing}"
                )?;
                with_stderr(f, stderr)
            }
            Self::TooLarge => {
                write!(f, "a response of over {PAYLOAD_BYTES_MAX} bytes, the limit")
            }
            Self::Protocol(error) => {
                write!(f, "the persistent handler broke the protocol: {error}")
            }
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Line { expected, pending } = self else {
            return Ok(());
        };
        write!(f, ": it had not written {expected}, ")?;
        match pending {
            0 => f.write_str("and nothing else to standard output"),
            1 => f.write_str("only 1 byte without a line end"),
            _ => write!(f, "only {pending} bytes without a line end"),
        }?;
        f.write_str(" (a handler has to flush its output after each line)")
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnObject { line } => write!(
                f,
                "its line is not a JSON object: {line:?} (standard output is for answers alone)"
            ),
            Self::Malformed { cause, line } => {
                write!(f, "its line is not an answer: {cause} in {line:?}")
            }
            Self::OtherMembers { line } => write!(
                f,
                "its line is none of {{\"ready\":true}}, {{\"response\":…}}, {{\"error\":…}}, \
                 {{\"prelude\":…}}, {{\"chunk\":…}}, {{\"end\":true}}: {line:?}"
            ),
            Self::NotReady => f.write_str("it answered before it said ready"),
            Self::ReadyAgain => f.write_str("it said ready instead of answering"),
            Self::InStream => f.write_str("it wrote a response or a prelude behind a chunk"),
            Self::OtherRequest(id) => write!(f, "it answered another request, {id:?}"),
            Self::EventUnread => f.write_str("it answered before it had read the event"),
            Self::MoreOutput => f.write_str("it wrote more than one line"),
            Self::OutputClosed => f.write_str("it closed its standard output without an answer"),
        }
    }
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.call, os::error_text(self.error))
    }
}

impl Error for ExecutableError {}

impl Error for SpawnError {}

impl Error for ProtocolError {}

fn not_found(
    f: &mut fmt::Formatter<'_>,
    handler: &str,
    looked_for: &[(String, Fault)],
) -> fmt::Result {
    write!(f, "handler {handler:?}: looked for")?;
    for (index, (path, fault)) in looked_for.iter().enumerate() {
        let comma = if index == 0 { " " } else { ", " };
        write!(f, "{comma}{path} ({fault})")?;
    }
    if handler == "bootstrap" {
        write!(f, "; {SET_HANDLER}")?;
    } else if handler.contains(' ') {
        f.write_str("; arguments are not taken: write a script that passes them")?;
    }
    Ok(())
}

/// Adds what a process wrote to its standard error, if anything.
fn with_stderr(f: &mut fmt::Formatter<'_>, stderr: &str) -> fmt::Result {
    if stderr.is_empty() {
        return Ok(());
    }
    write!(f, ": {stderr}")
}

/// The beginning of something that a handler wrote, for a message.
pub(super) fn quoted(bytes: &[u8]) -> String {
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

/// How to set a handler in place of what templates for `provided` runtimes suggest.
pub(super) const SET_HANDLER: &str = "set the function's handler (_HANDLER) to the executable that handles \
    events; a function in Rust needs none, because its own binary is the bootstrap";

/// Bytes of what a handler wrote that a message shows.
const QUOTED_BYTES_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(raw: i32, stderr: &str) -> String {
        let status = ExitStatus::from_raw(raw);
        let stderr = stderr.to_owned();
        ExecutableError::Ended { status, stderr }.to_string()
    }

    #[test]
    fn the_end_of_a_process_has_its_status_and_its_words() {
        assert_eq!(ended(3 << 8, ""), "the handler ended with exit status: 3");
        assert_eq!(
            ended(3 << 8, "database is down"),
            "the handler ended with exit status: 3: database is down"
        );
        assert_eq!(ended(11, ""), "the handler ended with signal: 11 (SIGSEGV)");
        assert_eq!(
            ended(9, ""),
            "the handler ended with signal: 9 (SIGKILL), as when there is not enough memory"
        );
    }

    #[test]
    fn a_timeout_says_what_is_missing() {
        let timed_out = |missing| {
            let stderr = "x".to_owned();
            ExecutableError::TimedOut { missing, stderr }.to_string()
        };
        let line = |pending| Missing::Line {
            expected: "an answer",
            pending,
        };
        let start = "the handler was killed shortly before the deadline";
        let flush = "(a handler has to flush its output after each line): x";
        assert_eq!(timed_out(Missing::Exit), format!("{start}: x"));
        assert_eq!(
            timed_out(line(0)),
            format!(
                "{start}: it had not written an answer, and nothing else to standard output {flush}"
            )
        );
        assert_eq!(
            timed_out(line(1)),
            format!(
                "{start}: it had not written an answer, only 1 byte without a line end {flush}"
            )
        );
        assert_eq!(
            timed_out(line(17)),
            format!(
                "{start}: it had not written an answer, only 17 bytes without a line end {flush}"
            )
        );
    }

    #[test]
    fn a_handler_that_is_not_found_has_the_places_and_a_hint() {
        let not_found = |handler: &str| {
            let handler = handler.to_owned();
            let looked_for = vec![
                ("/var/task/h".to_owned(), Fault::NotFound(Errno::NOENT)),
                ("/bin/h".to_owned(), Fault::NotExecutable),
            ];
            let error = ExecutableError::NotFound {
                handler,
                looked_for,
            };
            error.to_string()
        };
        let places = "looked for /var/task/h (not found), /bin/h (not executable: chmod +x)";
        assert_eq!(not_found("h"), format!("handler \"h\": {places}"));
        assert!(not_found("h --flag").ends_with("write a script that passes them"));
        assert!(not_found("bootstrap").contains("set the function's handler"));
    }

    #[test]
    fn a_failed_start_names_the_call() {
        let error = SpawnError {
            call: "setpgid",
            error: Errno::PERM,
        };
        let error = ExecutableError::NotStarted("/var/task/h".to_owned(), error);
        let expected = "cannot start /var/task/h: setpgid: Operation not permitted (os error 1)";
        assert_eq!(error.to_string(), expected);
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
}

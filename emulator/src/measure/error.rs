//! The error of a measurement.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::error::EmulatorError;

/// The error of [`measure`](super::measure).
#[derive(Debug)]
#[non_exhaustive]
pub enum MeasureError {
    /// No subject was given, or no cold start asked for.
    Nothing,
    /// A subject's program cannot be read.
    Program {
        /// The subject's name.
        subject: String,
        /// Its program.
        program: PathBuf,
        /// The file system's error.
        source: io::Error,
    },
    /// The emulator could not start a subject or invoke it.
    Emulator {
        /// The subject's name.
        subject: String,
        /// The emulator's error.
        source: EmulatorError,
        /// The log lines of its environment so far.
        log: Vec<String>,
    },
    /// A measured invocation ended in a function error: its duration says nothing.
    Function {
        /// The subject's name.
        subject: String,
        /// Which invocation of the environment, from zero.
        invocation: usize,
        /// The error as the platform keeps it, with the body the runtime sent.
        error: String,
        /// The log lines of its environment so far.
        log: Vec<String>,
    },
    /// The caller ended it.
    Interrupted,
}

impl fmt::Display for MeasureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => write!(f, "nothing to measure: one subject and one time at least"),
            Self::Program {
                subject,
                program,
                source,
            } => {
                write!(
                    f,
                    "cannot read the program of {subject}, {}: {source}",
                    program.display()
                )
            }
            Self::Emulator {
                subject,
                source,
                log,
            } => {
                write!(f, "cannot measure {subject}: {source}")?;
                lines(f, log)
            }
            Self::Function {
                subject,
                invocation,
                error,
                log,
            } => {
                write!(
                    f,
                    "invocation {invocation} of {subject} ended in a function error: {error}"
                )?;
                lines(f, log)
            }
            Self::Interrupted => write!(f, "interrupted"),
        }
    }
}

/// The log under an error, indented.
fn lines(f: &mut fmt::Formatter<'_>, log: &[String]) -> fmt::Result {
    log.iter().try_for_each(|line| write!(f, "\n  {line}"))
}

impl Error for MeasureError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Program { source, .. } => Some(source),
            Self::Emulator { source, .. } => Some(source),
            Self::Nothing | Self::Function { .. } | Self::Interrupted => None,
        }
    }
}

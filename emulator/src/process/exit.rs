//! How a process ended, in the platform's words.

use std::fmt;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Code(i32),
    Signal(i32),
}

impl Exit {
    /// The code and the signal, of which there is one.
    pub(crate) fn parts(self) -> (Option<i32>, Option<i32>) {
        match self {
            Self::Code(code) => (Some(code), None),
            Self::Signal(signal) => (None, Some(signal)),
        }
    }

    /// The message the platform gives a process that ended without reporting an error.
    pub(crate) fn message(self) -> String {
        match self {
            Self::Code(0) => "Runtime exited without providing a reason".to_owned(),
            Self::Code(_) | Self::Signal(_) => format!("Runtime exited with error: {self}"),
        }
    }
}

/// As Go prints a process state, because the platform is written in Go.
impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit status {code}"),
            Self::Signal(signal) => match SIGNAL_NAMES.iter().find(|(n, _)| n == signal) {
                Some((_, name)) => write!(f, "signal: {name}"),
                None => write!(f, "signal: signal {signal}"),
            },
        }
    }
}

/// Go's names (`syscall` package).
const SIGNAL_NAMES: [(i32, &str); 13] = [
    (1, "hangup"),
    (2, "interrupt"),
    (3, "quit"),
    (4, "illegal instruction"),
    (5, "trace/breakpoint trap"),
    (6, "aborted"),
    (7, "bus error"),
    (8, "floating point exception"),
    (9, "killed"),
    (11, "segmentation fault"),
    (13, "broken pipe"),
    (14, "alarm clock"),
    (15, "terminated"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_reads_as_the_platform_writes_it() {
        let table = [
            (Exit::Code(0), "Runtime exited without providing a reason"),
            (Exit::Code(1), "Runtime exited with error: exit status 1"),
            (Exit::Signal(9), "Runtime exited with error: signal: killed"),
            (
                Exit::Signal(11),
                "Runtime exited with error: signal: segmentation fault",
            ),
            (
                Exit::Signal(64),
                "Runtime exited with error: signal: signal 64",
            ),
        ];
        for (exit, expected) in table {
            assert_eq!(exit.message(), expected);
        }
    }
}

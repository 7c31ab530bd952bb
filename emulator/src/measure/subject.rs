//! The programs to be measured, and the number of measurements.

use crate::config::Config;

/// A program to be measured, and the event it is invoked with.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Its name in the table.
    pub name: String,
    /// How its environments are set up.
    pub config: Config,
    /// The payload of every invocation.
    pub event: Vec<u8>,
    /// The name of the subject that its ratios are to; the first one where it is `None`.
    pub compared_with: Option<String>,
}

/// The number of measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Measured cold starts of each subject. At least one.
    pub times: usize,
    /// Warm invocations after the first one of each cold start.
    pub warm: usize,
    /// Cold starts of each subject before those, not measured: they bring the program's file into
    /// the page cache, which would otherwise be the whole difference between the first sample and
    /// the rest.
    pub unmeasured: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            times: 50,
            warm: 20,
            unmeasured: 1,
        }
    }
}

/// The progress of a measurement.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// The subject that was just cold-started.
    pub subject: &'a str,
    /// Cold starts done so far, of all subjects, measured or not.
    pub done: usize,
    /// Cold starts there will be.
    pub total: usize,
}

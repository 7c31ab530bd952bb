//! Cold starts of several programs, taken in turn on one machine, and what they cost.
//!
//! Each sample is a fresh execution environment: one cold start, the first invocation, then a few warm
//! ones. Programs are interleaved (A B C A B C …), so that whatever else the machine does at the time
//! falls on all of them alike. The figures are this machine's and not AWS's: there is no microVM, no
//! download of the code and no CPU share in them. What carries over is the ratio between two programs.
//!
//! [`measure`] takes the samples, [`Results::table`] draws them, and [`Results::json`] keeps every one.

mod error;
mod figure;
mod machine;
mod progress;
mod report;
mod sample;
mod stats;
mod table;

pub use self::error::MeasureError;
pub use self::figure::{Figure, Scale, Unit};
pub use self::machine::Machine;
pub use self::progress::Bar;
pub use self::report::Measured;
pub use self::sample::Sample;
pub use self::stats::{Summary, percentile, ratio};

use std::fs;
use std::ops::ControlFlow;

use crate::Config;

/// A program to be measured, and the event it is invoked with.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Its name in the table.
    pub name: String,
    /// How its environments are set up.
    pub config: Config,
    /// The payload of every invocation.
    pub event: Vec<u8>,
}

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Measured cold starts of each subject. At least one.
    pub times: usize,
    /// Warm invocations after the first one of each cold start.
    pub warm: usize,
    /// Cold starts of each subject before those, not measured: they bring the program's file into the
    /// page cache, which would otherwise be the whole difference between the first sample and the rest.
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

/// How far a measurement is.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// The subject that was just cold-started.
    pub subject: &'a str,
    /// Cold starts done so far, of all subjects, measured or not.
    pub done: usize,
    /// Cold starts there will be.
    pub total: usize,
}

/// Everything that was measured.
#[derive(Clone, Debug)]
pub struct Results {
    /// How much was measured.
    pub options: Options,
    /// Where.
    pub machine: Machine,
    /// One per subject, in the order given. The first is what the others are compared with.
    pub subjects: Vec<Measured>,
}

/// Cold-starts each subject [`Options::times`] times, in turn.
///
/// `progress` hears of every cold start and ends the measurement by returning [`ControlFlow::Break`];
/// the environment of the moment has been stopped by then.
///
/// # Errors
///
/// There is nothing to measure, a program cannot be read or started, an invocation ends in a function
/// error, or `progress` ended the measurement. The first error ends it; no sample is left out silently.
pub fn measure(
    subjects: &[Subject],
    options: Options,
    mut progress: impl FnMut(Progress<'_>) -> ControlFlow<()>,
) -> Result<Results, MeasureError> {
    if subjects.is_empty() || options.times == 0 {
        return Err(MeasureError::Nothing);
    }
    let mut measured = subjects
        .iter()
        .map(unmeasured)
        .collect::<Result<Vec<_>, _>>()?;
    let rounds = options.unmeasured + options.times;
    let total = rounds * subjects.len();
    let mut done = 0;
    for round in 0..rounds {
        for (subject, result) in subjects.iter().zip(&mut measured) {
            let sample = Sample::take(subject, options.warm)?;
            if round >= options.unmeasured {
                result.samples.push(sample);
            }
            done += 1;
            if progress(Progress {
                subject: &subject.name,
                done,
                total,
            })
            .is_break()
            {
                return Err(MeasureError::Interrupted);
            }
        }
    }
    Ok(Results {
        options,
        machine: Machine::this(),
        subjects: measured,
    })
}

/// What is known of a subject before its first sample.
fn unmeasured(subject: &Subject) -> Result<Measured, MeasureError> {
    let program = subject.config.program.clone();
    let file = fs::metadata(&program).map_err(|source| MeasureError::Program {
        subject: subject.name.clone(),
        program: program.clone(),
        source,
    })?;
    Ok(Measured {
        name: subject.name.clone(),
        program,
        binary_bytes: file.len(),
        event_bytes: subject.event.len(),
        samples: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::{MeasureError, Options, Subject, measure};
    use crate::Config;

    fn subject(program: &str) -> Subject {
        Subject {
            name: "one".to_owned(),
            config: Config::new(program),
            event: b"{}".to_vec(),
        }
    }

    #[test]
    fn nothing_to_measure_is_an_error() {
        let go_on = |_: super::Progress<'_>| ControlFlow::Continue(());
        let none = measure(&[], Options::default(), go_on);
        assert!(matches!(none, Err(MeasureError::Nothing)), "{none:?}");
        let times = Options {
            times: 0,
            ..Options::default()
        };
        let never = measure(&[subject("/proc/self/exe")], times, go_on);
        assert!(matches!(never, Err(MeasureError::Nothing)), "{never:?}");
    }

    #[test]
    fn a_missing_program_is_named_before_anything_is_started() {
        let result = measure(&[subject("/nowhere/bootstrap")], Options::default(), |_| {
            ControlFlow::Continue(())
        });
        let error = result.unwrap_err().to_string();
        let expected = "cannot read the program of one, /nowhere/bootstrap: ";
        assert!(error.starts_with(expected), "{error}");
    }
}

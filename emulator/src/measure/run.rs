//! The measurement itself.

use std::fs;
use std::ops::ControlFlow;

use super::error::MeasureError;
use super::machine::Machine;
use super::results::{Measured, Results};
use super::sample::Sample;
use super::subject::{Options, Progress, Subject};

/// Cold-starts each subject [`Options::times`] times, in turn.
///
/// `progress` hears of every cold start and ends the measurement by returning
/// [`ControlFlow::Break`]; the environment of the moment has been stopped by then.
///
/// # Errors
///
/// There is nothing to measure, a program cannot be read or started, an invocation ends in a
/// function error, or `progress` ended the measurement. The first error ends it; no sample is left
/// out silently.
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

/// A subject before its first sample.
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
        compared_with: subject.compared_with.clone(),
        samples: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::{MeasureError, Options, Subject, measure};
    use crate::config::Config;

    fn subject(program: &str) -> Subject {
        Subject {
            name: "one".to_owned(),
            config: Config::new(program),
            event: b"{}".to_vec(),
            compared_with: None,
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

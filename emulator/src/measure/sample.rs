//! One cold start.

use std::time::Duration;

use serde::Serialize;

use super::error::MeasureError;
use super::subject::Subject;
use crate::handle::Emulator;
use crate::record::outcome::{Environment, ExtensionInfo};
use crate::record::transcript::{Entry, What};

/// One cold start, its first invocation and the warm ones after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// From just before the process is spawned until its first complete request for the next
    /// invocation has been read.
    pub exec_to_next_ns: u64,
    /// The init phase as the platform bills it.
    pub init_ns: u64,
    /// The first invocation.
    pub first_invocation_ns: u64,
    /// The invocations after it, in order.
    pub warm_invocations_ns: Vec<u64>,
    /// Processor time the process has used when it asks for its first invocation.
    pub cpu_ns: u64,
    /// `VmHWM` of the process after the last invocation: the runtime's own, without processes it
    /// started.
    pub peak_memory_bytes: u64,
    /// The extensions beside it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<ExtensionSample>,
}

/// One extension in one cold start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExtensionSample {
    /// Its name.
    pub name: String,
    /// From just before its process is created to its registration.
    pub exec_to_register_ns: Option<u64>,
    /// From just before its process is created to its first request for an event.
    pub exec_to_ready_ns: Option<u64>,
    /// `VmHWM` of its process after the last invocation.
    pub peak_memory_bytes: Option<u64>,
    /// From `SHUTDOWN` to its exit.
    pub shutdown_ns: Option<u64>,
}

impl Sample {
    /// Takes one in an environment of its own, which is gone when this returns.
    ///
    /// # Errors
    ///
    /// The program does not start, or an invocation fails in any way.
    pub fn take(subject: &Subject, warm: usize) -> Result<Self, MeasureError> {
        let failed = |source, log| MeasureError::Emulator {
            subject: subject.name.clone(),
            source,
            log,
        };
        let emulator =
            Emulator::start(subject.config.clone()).map_err(|source| failed(source, Vec::new()))?;
        let started = emulator
            .prepare()
            .map_err(|source| failed(source, log(&emulator)))?;
        let first = invoke(&emulator, subject, 0)?;
        let rest = (1..=warm)
            .map(|invocation| invoke(&emulator, subject, invocation))
            .collect::<Result<Vec<_>, _>>()?;
        let environments = emulator.environments();
        let peak_memory_kb = environments
            .iter()
            .find_map(Environment::peak_memory_kb)
            .unwrap_or(started.peak_memory_kb);
        let mut extensions: Vec<_> = environments
            .iter()
            .flat_map(|environment| &environment.extensions)
            .map(ExtensionSample::of)
            .collect();
        // Without an extension there is no shutdown to measure: dropping the emulator is faster.
        if !extensions.is_empty() {
            let transcript = emulator.stop().transcript;
            for extension in &mut extensions {
                extension.shutdown_ns = shutdown(&transcript, &extension.name);
            }
        }
        Ok(Self {
            exec_to_next_ns: nanoseconds(started.exec_to_next),
            init_ns: nanoseconds(started.init),
            first_invocation_ns: nanoseconds(first),
            warm_invocations_ns: rest.into_iter().map(nanoseconds).collect(),
            cpu_ns: nanoseconds(started.cpu),
            peak_memory_bytes: peak_memory_kb * 1_024,
            extensions,
        })
    }
}

impl ExtensionSample {
    fn of(extension: &ExtensionInfo) -> Self {
        Self {
            name: extension.name.clone(),
            exec_to_register_ns: extension.exec_to_register.map(nanoseconds),
            exec_to_ready_ns: extension.exec_to_next.map(nanoseconds),
            peak_memory_bytes: extension.peak_memory_kb().map(|kb| kb * 1_024),
            shutdown_ns: None,
        }
    }
}

/// How long an extension took to exit when it was told to.
fn shutdown(transcript: &[Entry], name: &str) -> Option<u64> {
    transcript.iter().find_map(|entry| {
        if let What::ExtensionShutdown {
            extension,
            took: Some(took),
            ..
        } = &entry.what
        {
            (extension == name).then(|| nanoseconds(*took))
        } else {
            None
        }
    })
}

/// How long one invocation takes.
fn invoke(
    emulator: &Emulator,
    subject: &Subject,
    invocation: usize,
) -> Result<Duration, MeasureError> {
    let outcome =
        emulator
            .invoke(subject.event.clone())
            .map_err(|source| MeasureError::Emulator {
                subject: subject.name.clone(),
                source,
                log: log(emulator),
            })?;
    match outcome.function_error {
        None => Ok(outcome.timing.duration),
        Some(error) => Err(MeasureError::Function {
            subject: subject.name.clone(),
            invocation,
            error: format!(
                "{} {}",
                error.error_type,
                String::from_utf8_lossy(&outcome.body)
            ),
            log: log(emulator),
        }),
    }
}

/// The last lines of the log, oldest first.
fn log(emulator: &Emulator) -> Vec<String> {
    let lines = emulator.log();
    let from = lines.len().saturating_sub(LOG_LINES_MAX);
    lines.into_iter().skip(from).map(|line| line.text).collect()
}

/// Saturates after 584 years.
fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Log lines shown with an error.
const LOG_LINES_MAX: usize = 20;

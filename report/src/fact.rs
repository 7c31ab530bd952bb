//! The facts that a log tells about environments, whatever format it has.

use std::borrow::Cow;

/// Where and when a fact was logged, as far as the input says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Source<'a> {
    /// Milliseconds since 1970.
    pub(crate) time_ms: Option<i64>,
    /// The function, by the name of its log group.
    pub(crate) function: Option<Cow<'a, str>>,
    /// The log stream, which is the environment.
    pub(crate) stream: Option<Cow<'a, str>>,
    /// The file, by which lines without a stream belong together.
    pub(crate) file: Option<Cow<'a, str>>,
    /// The function by the name of the file, where nothing else names it.
    pub(crate) file_function: Option<Cow<'a, str>>,
}

/// One fact.
#[derive(Clone, Debug)]
pub(crate) enum Fact<'a> {
    /// `INIT_START`, `platform.initStart`, `RESTORE_START` or `platform.restoreStart`.
    PhaseStart(PhaseStart<'a>),
    /// `platform.initRuntimeDone`.
    RuntimeDone,
    /// `INIT_REPORT`, `platform.initReport`, `RESTORE_REPORT` or `platform.restoreReport`.
    PhaseReport(PhaseReport),
    /// `START` or `platform.start`.
    Start {
        request: Cow<'a, str>,
        version: Option<Cow<'a, str>>,
    },
    /// `REPORT` or `platform.report`.
    Report(Report<'a>),
    /// A line that tells how an invocation failed, beside its report.
    Failed {
        request: Option<Cow<'a, str>>,
        failure: Failure,
    },
    /// A line of Bantam's extension about one start.
    Measured(Measured<'a>),
    /// Invocations that Bantam's extension counted.
    Counted(Counted<'a>),
    /// A measurement of the emulator.
    Sample(Sample<'a>),
}

/// The begin of an init or a restore.
#[derive(Clone, Debug, Default)]
pub(crate) struct PhaseStart<'a> {
    pub(crate) is_restore: bool,
    /// `on-demand` and so on, as the platform writes it.
    pub(crate) init_type: Option<Cow<'a, str>>,
    /// Whether an invocation waits because an earlier init or invocation failed.
    pub(crate) in_invoke: bool,
    pub(crate) function: Option<Cow<'a, str>>,
    pub(crate) version: Option<Cow<'a, str>>,
    /// The environment, where the line is not in a log stream.
    pub(crate) instance: Option<Cow<'a, str>>,
}

/// The end of an init or a restore.
#[derive(Clone, Debug, Default)]
pub(crate) struct PhaseReport {
    pub(crate) is_restore: bool,
    pub(crate) duration_ms: Option<f64>,
    pub(crate) in_invoke: bool,
    pub(crate) failed: bool,
}

/// The report of an invocation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report<'a> {
    pub(crate) request: Cow<'a, str>,
    pub(crate) duration_ms: Option<f64>,
    pub(crate) billed_ms: Option<f64>,
    pub(crate) memory_size_mb: Option<f64>,
    pub(crate) memory_used_mb: Option<f64>,
    pub(crate) init_ms: Option<f64>,
    pub(crate) restore_ms: Option<f64>,
    /// The part of the billed time that is the restore.
    pub(crate) billed_restore_ms: Option<f64>,
    pub(crate) failure: Option<Failure>,
}

/// How an init or an invocation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The function reported an error; the environment lives on.
    Error,
    Timeout,
    Crash,
    OutOfMemory,
    Init,
}

/// A line of Bantam's extension about one start, in milliseconds and bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured<'a> {
    pub(crate) began_ms: Option<i64>,
    pub(crate) ended_ms: Option<i64>,
    pub(crate) numbers: Vec<(Cow<'a, str>, f64)>,
    pub(crate) texts: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl Measured<'_> {
    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        let found = self.numbers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| *value)
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        let found = self.texts.iter().find(|(key, _)| key == name);
        found
            .map(|(_, value)| value.as_ref())
            .filter(|value| !value.is_empty())
    }
}

/// Invocations as Bantam's extension counted them: in an interval, or in the life of a process of
/// it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counted<'a> {
    pub(crate) function: Option<Cow<'a, str>>,
    pub(crate) version: Option<Cow<'a, str>>,
    pub(crate) instance: Option<Cow<'a, str>>,
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    /// Of the life of a process, at its end.
    pub(crate) in_life: u64,
    /// When that was: each exporter has a line of the same end.
    pub(crate) life_ended_ms: Option<u64>,
}

/// One cold start that the emulator measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample<'a> {
    pub(crate) subject: Cow<'a, str>,
    pub(crate) init_ms: Option<f64>,
    pub(crate) first_ms: Option<f64>,
    pub(crate) exec_to_next_ms: Option<f64>,
    pub(crate) memory_used_mb: Option<f64>,
    pub(crate) warm_invocations: u64,
}

/// The receiver of facts.
pub(crate) trait Sink {
    fn fact(&mut self, source: &Source<'_>, fact: &Fact<'_>);
}

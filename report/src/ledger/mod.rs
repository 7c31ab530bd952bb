//! Everything that is kept of a log: environments, and their starts. No invocation is kept, so that
//! memory grows with the starts and not with the log.

mod names;
mod start;

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::iter;

pub(crate) use self::names::{Name, Names, shown};
pub(crate) use self::start::{Figures, Start};
use crate::cause::COMPLETED;
use crate::fact::{
    Counted, Fact, Failure, Measured, PhaseReport, PhaseStart, Report, Sample, Sink, Source,
};
use crate::limits::{ENVIRONMENTS_MAX, STARTS_MAX, TIME_MS_MAX};
use crate::message::parts_of_stream;

/// One execution environment, as far as the log shows it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment {
    pub(crate) function: Option<Name>,
    /// The function by the name of the file, for where no line names it.
    file_function: Option<Name>,
    pub(crate) version: Option<Name>,
    pub(crate) zone: Option<Name>,
    /// The first and the last time at which the log shows it.
    pub(crate) seen_ms: Option<(i64, i64)>,
    /// When the last of its invocations began.
    pub(crate) last_begin_ms: Option<i64>,
    /// Invocations by their reports, and as Bantam's extension counted them: in intervals, and at
    /// the end of each of its processes, of which one that is reset has several.
    reported: u64,
    counted: u64,
    in_life: u64,
    /// Which of the ends was the last one.
    life_ended_ms: Option<u64>,
    pub(crate) failed: u64,
    pub(crate) memory_size_mb: Option<f64>,
    pub(crate) memory_used_mb: Option<f64>,
    /// Whether nothing tells that its lines are of one environment: they only stand in one file.
    pub(crate) is_anonymous: bool,
    /// How the last init or invocation ended, until the next start.
    last_failure: Option<Failure>,
    /// How the invocation failed that has no report yet, with its id where the line has one. A
    /// function can write the same words of something else.
    told_failure: Option<(Option<u64>, Failure)>,
    last_request: Option<u64>,
    /// The start that was told last.
    last_start: Option<u32>,
    pending: Option<Pending>,
}

impl Environment {
    /// Its invocations. All sources count the same ones.
    pub(crate) fn invocations(&self) -> u64 {
        self.reported.max(self.counted).max(self.in_life)
    }

    /// Takes a line that tells a failure: it stands before the report of its invocation, or behind.
    fn fail(&mut self, request: Option<&str>, failure: Failure) {
        let request = request.map(number_of);
        if request.is_none() || request != self.last_request {
            self.told_failure = Some((request, failure));
            return;
        }
        // A line beside the report can tell more than its status.
        match self.last_failure {
            None => {
                self.failed += 1;
                self.last_failure = Some(failure);
            }
            Some(Failure::Error) => self.last_failure = Some(failure),
            Some(_) => {}
        }
    }

    fn see(&mut self, from_ms: i64, to_ms: i64) {
        self.seen_ms = Some(match self.seen_ms {
            None => (from_ms, to_ms),
            Some((first, last)) => (first.min(from_ms), last.max(to_ms)),
        });
    }
}

/// A start that is not yet whole: it waits for the report of its first invocation.
#[derive(Clone, Debug, Default)]
struct Pending {
    at_ms: Option<i64>,
    is_restore: bool,
    init_type: Option<Name>,
    in_invoke: bool,
    runtime_done_ms: Option<i64>,
    duration_ms: Option<f64>,
    reported_ms: Option<i64>,
    first_request: Option<u64>,
    invoked_ms: Option<i64>,
}

/// Environments and starts, and what had no room.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) names: Names,
    pub(crate) environments: Vec<Environment>,
    pub(crate) starts: Vec<Start>,
    by_stream: HashMap<u64, u32>,
    by_request: HashMap<u64, u32>,
    /// Environments and starts beyond the limits.
    pub(crate) environments_left_out: u64,
    pub(crate) starts_left_out: u64,
    /// Programs that the emulator measured, in their order.
    pub(crate) programs: Vec<Name>,
}

/// A number for an id; two different ones have the same by a chance of 1 to 2^64.
fn number_of(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

/// The part of the billed time that is the init. Where an init is billed, as all are since August
/// 2025, the invocation and the init are rounded up to a millisecond together. Another rest is from
/// the time before December 2020, when an invocation alone was rounded up to 100 ms.
fn billed_init_ms(report: &Report<'_>) -> Option<f64> {
    let rest = report.billed_ms? - report.duration_ms?.ceil();
    let is_init = (rest - report.init_ms?).abs() <= 1.0;
    Some(if is_init { rest } else { 0.0 })
}

/// The key of the environment that a message is of.
fn key_of(source: &Source<'_>) -> (u64, bool) {
    match &source.stream {
        Some(stream) => (number_of(stream), false),
        None => {
            let mut hasher = DefaultHasher::new();
            (&source.file, &source.function, 0).hash(&mut hasher);
            (hasher.finish(), true)
        }
    }
}

impl Sink for Ledger {
    fn fact(&mut self, source: &Source<'_>, fact: &Fact<'_>) {
        let known = match fact {
            // Where the platform's report was read first, its environment is known better.
            Fact::Measured(measured) => {
                let start = measured.text("request_id").and_then(|id| self.start_of(id));
                start.map(|start| start.environment)
            }
            Fact::PhaseStart(_)
            | Fact::RuntimeDone
            | Fact::PhaseReport(_)
            | Fact::Start { .. }
            | Fact::Report(_)
            | Fact::Failed { .. }
            | Fact::Counted(_)
            | Fact::Sample(_) => None,
        };
        let Some(at) = known.or_else(|| self.environment(source, fact)) else {
            return;
        };
        match fact {
            Fact::PhaseStart(start) => self.phase_start(at, source, start),
            Fact::RuntimeDone => {
                if let Some(pending) = self.pending(at) {
                    pending.runtime_done_ms = source.time_ms;
                }
            }
            Fact::PhaseReport(report) => self.phase_report(at, source, report),
            Fact::Start { request, version } => {
                let version = version.as_deref().map(|text| self.names.name(text));
                let environment = &mut self.environments[at as usize];
                environment.version = version.or(environment.version);
                if let Some(time) = source.time_ms {
                    environment.see(time, time);
                }
                if let Some(pending) = &mut environment.pending
                    && pending.first_request.is_none()
                {
                    pending.first_request = Some(number_of(request));
                    pending.invoked_ms = source.time_ms;
                }
            }
            Fact::Report(report) => self.report(at, source, report),
            Fact::Failed { request, failure } => {
                self.environments[at as usize].fail(request.as_deref(), *failure);
            }
            Fact::Measured(measured) => self.measured(at, measured),
            Fact::Counted(counted) => self.counted(at, counted),
            Fact::Sample(sample) => self.sample(at, sample),
        }
    }
}

impl Ledger {
    /// The environment of a stream that was seen.
    pub(crate) fn find(&self, source: &Source<'_>) -> Option<u32> {
        let (key, _) = key_of(source);
        self.by_stream.get(&key).copied()
    }

    /// Ends what waits for a further line: a start that was never invoked, and a function that has
    /// no name.
    pub(crate) fn finish(&mut self) {
        for at in 0..self.environments.len() {
            let Ok(at) = u32::try_from(at) else { return };
            self.end_pending(at);
            let environment = &mut self.environments[at as usize];
            environment.function = environment.function.or(environment.file_function);
        }
    }

    /// The start that the invocation waited for.
    pub(crate) fn start_of(&self, request: &str) -> Option<&Start> {
        let start = self.by_request.get(&number_of(request))?;
        self.starts.get(*start as usize)
    }

    fn pending(&mut self, at: u32) -> Option<&mut Pending> {
        self.environments[at as usize].pending.as_mut()
    }

    /// The environment of a message. Without a stream, each start is of an environment of its own.
    fn environment(&mut self, source: &Source<'_>, fact: &Fact<'_>) -> Option<u32> {
        let named = |instance: Option<&str>, function: Option<&str>| Source {
            stream: source
                .stream
                .clone()
                .or_else(|| instance.map(|id| Cow::Owned(id.to_owned()))),
            function: source
                .function
                .clone()
                .or_else(|| function.map(|name| Cow::Owned(name.to_owned()))),
            ..source.clone()
        };
        let (named, begins) = match fact {
            Fact::Measured(measured) => (
                named(measured.text("instance_id"), measured.text("function_name")),
                true,
            ),
            Fact::Counted(counted) => (
                named(counted.instance.as_deref(), counted.function.as_deref()),
                false,
            ),
            Fact::PhaseStart(start) => (
                named(start.instance.as_deref(), start.function.as_deref()),
                true,
            ),
            Fact::Sample(sample) => (named(None, Some(&sample.subject)), true),
            Fact::Report(report) => {
                let begins = report.init_ms.is_some() || report.restore_ms.is_some();
                (source.clone(), begins)
            }
            Fact::RuntimeDone | Fact::PhaseReport(_) | Fact::Start { .. } | Fact::Failed { .. } => {
                (source.clone(), false)
            }
        };
        self.environment_of(source, &named, begins)
    }

    fn environment_of(
        &mut self,
        source: &Source<'_>,
        named: &Source<'_>,
        begins: bool,
    ) -> Option<u32> {
        let (key, is_anonymous) = key_of(named);
        if let Some(at) = self.by_stream.get(&key).copied() {
            let environment = &self.environments[at as usize];
            let is_taken = environment.seen_ms.is_some() || environment.invocations() != 0;
            if !(is_anonymous && begins && is_taken && environment.pending.is_none()) {
                self.follow(source, begins, at);
                return Some(at);
            }
        }
        if ENVIRONMENTS_MAX <= self.environments.len() {
            self.environments_left_out += 1;
            return None;
        }
        let at = u32::try_from(self.environments.len()).ok()?;
        let stream = named.stream.as_deref().unwrap_or_default();
        let (function, version) = parts_of_stream(stream);
        let function = named.function.as_deref().or(function);
        let by_file = named.file_function.as_deref();
        let by_file = by_file.filter(|_| function.is_none());
        self.environments.push(Environment {
            file_function: by_file.map(|text| self.names.name(text)),
            function: function.map(|text| self.names.name(text)),
            version: version.map(|text| self.names.name(text)),
            is_anonymous,
            ..Environment::default()
        });
        self.by_stream.insert(key, at);
        self.follow(source, begins, at);
        Some(at)
    }

    /// The lines that follow in a file without streams are of the environment that begins.
    fn follow(&mut self, source: &Source<'_>, begins: bool, at: u32) {
        if source.stream.is_none() && begins {
            let (key, _) = key_of(source);
            self.by_stream.insert(key, at);
        }
    }

    fn phase_start(&mut self, at: u32, source: &Source<'_>, start: &PhaseStart<'_>) {
        self.end_pending(at);
        let init_type = start.init_type.as_deref().map(|text| self.names.name(text));
        let function = start.function.as_deref().map(|text| self.names.name(text));
        let version = start.version.as_deref().map(|text| self.names.name(text));
        let environment = &mut self.environments[at as usize];
        // Not every export has the reports.
        let told = environment.told_failure.take();
        let told = told.map(|(_, failure)| failure);
        environment.last_failure = told.or(environment.last_failure);
        environment.function = environment.function.or(function);
        environment.version = environment.version.or(version);
        if let Some(time) = source.time_ms {
            environment.see(time, time);
        }
        environment.pending = Some(Pending {
            at_ms: source.time_ms,
            is_restore: start.is_restore,
            init_type,
            in_invoke: start.in_invoke,
            ..Pending::default()
        });
    }

    fn phase_report(&mut self, at: u32, source: &Source<'_>, report: &PhaseReport) {
        let environment = &mut self.environments[at as usize];
        if report.failed {
            let pending = environment.pending.take().unwrap_or_default();
            let (version, failure) = (environment.version, environment.last_failure);
            environment.last_failure = Some(Failure::Init);
            let begin = source.time_ms.zip(report.duration_ms);
            let begin = begin.map(|(end, duration)| before(end, duration));
            let kind = self.names.name(INIT_FAILURE);
            let cause = cause_of(failure).map(|text| self.names.name(text));
            self.add(Start {
                environment: at,
                version,
                at_ms: pending.at_ms.or(begin),
                kind,
                cause,
                figures: Figures {
                    init_ms: report.duration_ms.filter(|_| !report.is_restore),
                    restore_ms: report.duration_ms.filter(|_| report.is_restore),
                    ..Figures::default()
                },
                is_logged: true,
                ..Start::default()
            });
            return;
        }
        if let Some(pending) = &mut environment.pending {
            pending.duration_ms = report.duration_ms;
            pending.reported_ms = source.time_ms;
            pending.in_invoke |= report.in_invoke;
        }
    }

    fn report(&mut self, at: u32, source: &Source<'_>, report: &Report<'_>) {
        let request = number_of(&report.request);
        let environment = &mut self.environments[at as usize];
        environment.reported += 1;
        environment.memory_size_mb = report.memory_size_mb.or(environment.memory_size_mb);
        let used = environment
            .memory_used_mb
            .into_iter()
            .chain(report.memory_used_mb);
        environment.memory_used_mb = used.reduce(f64::max);
        let duration = report.duration_ms.unwrap_or_default();
        if let Some(end) = source.time_ms {
            let begin = before(end, duration);
            environment.see(begin, end);
            environment.last_begin_ms = environment.last_begin_ms.max(Some(begin));
        }
        let pending = environment
            .pending
            .take_if(|pending| pending.first_request.is_none_or(|first| first == request));
        if pending.is_some() || report.init_ms.is_some() || report.restore_ms.is_some() {
            self.first_report(at, source, report, &pending.unwrap_or_default());
        }
        let environment = &mut self.environments[at as usize];
        let told = environment.told_failure.take();
        let told = told.filter(|(id, _)| id.is_none_or(|id| id == request));
        let told = told.map(|(_, failure)| failure);
        let failure = match report.failure {
            None | Some(Failure::Error) => told.or(report.failure),
            status => status,
        };
        environment.failed += u64::from(failure.is_some());
        environment.last_failure = match failure {
            // An init that failed before is why there is one.
            Some(Failure::Error) => environment.last_failure.or(failure),
            ended => ended,
        };
        environment.last_request = Some(request);
    }

    /// Makes the start of which this is the report of the first invocation.
    fn first_report(
        &mut self,
        at: u32,
        source: &Source<'_>,
        report: &Report<'_>,
        pending: &Pending,
    ) {
        let is_restore = pending.is_restore || report.restore_ms.is_some();
        let init_ms = report
            .init_ms
            .or_else(|| pending.duration_ms.filter(|_| !is_restore));
        let restore_ms = report
            .restore_ms
            .or_else(|| pending.duration_ms.filter(|_| is_restore));
        let waited = restore_ms.or(init_ms).unwrap_or_default();
        // An init inside the invocation is a part of its duration.
        let first_ms = report.duration_ms.map(|duration| {
            let inside = if pending.in_invoke && report.init_ms.is_none() {
                waited
            } else {
                0.0
            };
            if inside <= duration {
                duration - inside
            } else {
                duration
            }
        });
        let took = first_ms.unwrap_or_default() + waited;
        let begin = source.time_ms.map(|end| before(end, took));
        let environment = &self.environments[at as usize];
        let kind = self.kind(pending, is_restore, waited, environment.last_failure);
        let cause = cause_of(environment.last_failure);
        let start = Start {
            environment: at,
            version: environment.version,
            at_ms: pending.at_ms.or(begin),
            kind: self.names.name(kind),
            cause: cause.map(|text| self.names.name(text)),
            figures: Figures {
                init_ms,
                restore_ms,
                first_ms,
                memory_used_mb: report.memory_used_mb,
                runtime_ms: span(pending.at_ms, pending.runtime_done_ms),
                extensions_ms: span(pending.runtime_done_ms, pending.reported_ms),
                billed_init_ms: report.billed_restore_ms.or_else(|| billed_init_ms(report)),
                ..Figures::default()
            },
            is_logged: true,
            ..Start::default()
        };
        // The log of the platform does not name the architecture.
        let start = start.priced(self.environments[at as usize].memory_size_mb, None);
        self.environments[at as usize].last_failure = None;
        self.add_of_request(number_of(&report.request), start);
    }

    /// The kind of a start, in the words of Bantam's extension.
    fn kind(
        &self,
        pending: &Pending,
        is_restore: bool,
        duration: f64,
        failure: Option<Failure>,
    ) -> &'static str {
        let idle = pending.at_ms.zip(pending.invoked_ms).map(|(at, invoked)| {
            #[expect(clippy::cast_precision_loss, reason = "a time span")]
            let span = invoked.saturating_sub(at) as f64;
            span - duration
        });
        let is_proactive = idle.is_some_and(|idle| PROACTIVE_MS_MIN < idle)
            || pending.first_request.is_none() && pending.duration_ms.is_some();
        let init_type = pending.init_type.map(|name| self.names.text(name));
        let (unforced, awaited) = match init_type {
            _ if is_restore && is_proactive => return "snap_start_proactive",
            _ if is_restore => return "snap_start_restore",
            Some("lambda-managed-instances") => return "managed_instances",
            Some("provisioned-concurrency") => (Some("provisioned_concurrency"), "on_demand"),
            Some("snap-start") => (Some("snap_start_init"), "on_demand"),
            Some("on-demand" | "") | None => (is_proactive.then_some("proactive"), "on_demand"),
            // One that is newer than this program.
            Some(_) => (is_proactive.then_some("proactive"), "other"),
        };
        match (unforced, failure) {
            (Some(kind), _) if !pending.in_invoke => kind,
            (_, Some(Failure::Timeout)) => "reset_after_timeout",
            (_, Some(Failure::Crash | Failure::OutOfMemory)) => "reset_after_crash",
            // The lines of a log need not have the phase.
            (_, Some(Failure::Init)) => "init_retried_in_invoke",
            (_, Some(Failure::Error) | None) if pending.in_invoke => "init_retried_in_invoke",
            (_, Some(Failure::Error) | None) => awaited,
        }
    }

    /// Ends the start that waits, as one that was never invoked.
    fn end_pending(&mut self, at: u32) {
        let environment = &mut self.environments[at as usize];
        let Some(pending) = environment.pending.take() else {
            return;
        };
        // Of one whose report is missing nothing is known but its time: the log may end there.
        if pending.duration_ms.is_none() {
            return;
        }
        let version = environment.version;
        let failure = environment.last_failure.take();
        let kind = self.kind(&pending, pending.is_restore, 0.0, failure);
        let start = Start {
            environment: at,
            version,
            at_ms: pending.at_ms,
            kind: self.names.name(kind),
            cause: cause_of(failure).map(|text| self.names.name(text)),
            figures: Figures {
                init_ms: pending.duration_ms.filter(|_| !pending.is_restore),
                restore_ms: pending.duration_ms.filter(|_| pending.is_restore),
                runtime_ms: span(pending.at_ms, pending.runtime_done_ms),
                extensions_ms: span(pending.runtime_done_ms, pending.reported_ms),
                ..Figures::default()
            },
            is_logged: true,
            ..Start::default()
        };
        match pending.first_request {
            Some(request) => self.add_of_request(request, start),
            None => {
                self.add(start);
            }
        }
    }

    fn measured(&mut self, at: u32, measured: &Measured<'_>) {
        let mut name = |text: &str| measured.text(text).map(|text| self.names.name(text));
        let function = name("function_name");
        let version = name("function_version");
        let zone = name("availability_zone");
        let kind = name("cold_start_kind").unwrap_or(Name::UNKNOWN);
        let cause = name("cause");
        let environment = &mut self.environments[at as usize];
        environment.function = function.or(environment.function);
        environment.version = version.or(environment.version);
        environment.zone = zone.or(environment.zone);
        let megabytes = |name| measured.number(name).map(|bytes| bytes / MEGABYTE);
        let size = megabytes("memory_size").or_else(|| measured.number("memory_mb"));
        environment.memory_size_mb = size.or(environment.memory_size_mb);
        let figures = Figures {
            init_ms: measured.number("init_duration"),
            restore_ms: measured.number("restore_duration"),
            first_ms: measured.number("first_invocation_duration"),
            before_runtime_ms: measured.number("init_before_runtime_duration"),
            runtime_ms: measured.number("init_runtime_duration"),
            extensions_ms: measured.number("init_extensions_duration"),
            register_ms: measured.number("extension_register_duration"),
            billed_init_ms: measured
                .number("billed_init_duration")
                .or_else(|| measured.number("billed_restore_duration")),
            billed_init_usd: None,
            exec_to_next_ms: None,
            memory_used_mb: megabytes("memory_used"),
        };
        let took = figures.restore_ms.or(figures.init_ms).unwrap_or_default()
            + figures.first_ms.unwrap_or_default();
        let begin = measured.ended_ms.map(|end| before(end, took));
        let at_ms = measured.began_ms.or(begin);
        // The line can come when the environment has already started again.
        let request = measured.text("request_id").map(number_of);
        let pending = environment
            .pending
            .take_if(|pending| request.is_some() && pending.first_request == request);
        let at_ms = pending.as_ref().and_then(|pending| pending.at_ms).or(at_ms);
        if let Some(begin) = at_ms {
            environment.see(begin, measured.ended_ms.unwrap_or(begin).max(begin));
            environment.last_begin_ms = environment.last_begin_ms.max(Some(begin));
        }
        let used = environment
            .memory_used_mb
            .into_iter()
            .chain(figures.memory_used_mb);
        environment.memory_used_mb = used.reduce(f64::max);
        let start = Start {
            environment: at,
            version: environment.version,
            at_ms,
            kind,
            cause,
            cause_is_inferred: measured.text("cause_source") == Some("inferred"),
            is_measured: true,
            figures,
            ..Start::default()
        };
        let memory_mb = environment.memory_size_mb;
        let start = start.priced(memory_mb, measured.text("architecture"));
        match request {
            Some(request) => self.add_of_request(request, start),
            None => {
                self.add(start);
            }
        }
    }

    fn counted(&mut self, at: u32, counted: &Counted<'_>) {
        let environment = &mut self.environments[at as usize];
        environment.counted += counted.succeeded + counted.failed;
        if counted.life_ended_ms.is_none() || counted.life_ended_ms != environment.life_ended_ms {
            environment.in_life += counted.in_life;
            environment.life_ended_ms = counted.life_ended_ms.or(environment.life_ended_ms);
        }
        // Reports tell the same failures.
        if environment.reported == 0 {
            environment.failed += counted.failed;
        }
        let mut name =
            |text: &Option<Cow<'_, str>>| text.as_deref().map(|text| self.names.name(text));
        let (function, version) = (name(&counted.function), name(&counted.version));
        environment.function = environment.function.or(function);
        environment.version = environment.version.or(version);
    }

    fn sample(&mut self, at: u32, sample: &Sample<'_>) {
        let environment = &mut self.environments[at as usize];
        environment.counted += 1 + sample.warm_invocations;
        environment.memory_used_mb = sample.memory_used_mb;
        if let Some(name) = environment.function
            && !self.programs.contains(&name)
        {
            self.programs.push(name);
        }
        // Each sample is an environment of its own.
        environment.seen_ms = None;
        let start = Start {
            environment: at,
            kind: self.names.name("on_demand"),
            figures: Figures {
                init_ms: sample.init_ms,
                first_ms: sample.first_ms,
                exec_to_next_ms: sample.exec_to_next_ms,
                memory_used_mb: sample.memory_used_mb,
                ..Figures::default()
            },
            ..Start::default()
        };
        self.add(start);
    }

    /// Adds a start, or completes the one with the same first invocation: it can be told by the
    /// platform and by Bantam, and be in two exports.
    fn add_of_request(&mut self, request: u64, start: Start) {
        let known = self.by_request.get(&request).copied();
        let known = known.filter(|at| self.starts[*at as usize].can_be(&start));
        if let Some(at) = known {
            self.complete(at, &start);
        } else if let Some(at) = self.add(start) {
            self.by_request.insert(request, at);
        }
    }

    /// Completes the start at `at` by another line about it.
    fn complete(&mut self, at: u32, start: &Start) {
        let known = &mut self.starts[at as usize];
        // The log of the platform can tell what the process before it left no note of.
        let cause = known.cause.map(|name| self.names.text(name));
        if cause.is_some_and(|cause| COMPLETED.contains(&cause)) && start.cause.is_some() {
            known.cause = None;
        }
        known.complete(start);
        let old = self.environments[known.environment as usize].clone();
        let new = &mut self.environments[start.environment as usize];
        if old.is_anonymous && !new.is_anonymous {
            known.environment = start.environment;
            new.function = new.function.or(old.function);
            new.version = new.version.or(old.version);
            new.zone = new.zone.or(old.zone);
        }
    }

    /// Adds a start, or completes the one of the same environment at the same time: lines about a
    /// failed init, and what a collector writes, have no request id.
    fn add(&mut self, mut start: Start) -> Option<u32> {
        let last = self.environments[start.environment as usize].last_start;
        let earlier = iter::successors(last, |at| self.starts[*at as usize].before);
        let is_failure = |start: &Start| self.names.text(start.kind) == INIT_FAILURE;
        let same = earlier.take(STARTS_LOOKED_AT_MAX).find(|at| {
            let known = &self.starts[*at as usize];
            is_failure(known) == is_failure(&start) && known.overlaps(&start)
        });
        if let Some(at) = same {
            self.complete(at, &start);
            return Some(at);
        }
        if STARTS_MAX <= self.starts.len() {
            self.starts_left_out += 1;
            return None;
        }
        let at = u32::try_from(self.starts.len()).ok()?;
        start.before = last;
        self.environments[start.environment as usize].last_start = Some(at);
        self.starts.push(start);
        Some(at)
    }
}

/// The cause of a start in an environment whose last init or invocation ended like this.
const fn cause_of(failure: Option<Failure>) -> Option<&'static str> {
    match failure {
        Some(Failure::Timeout) => Some("timeout"),
        Some(Failure::Crash) => Some("crash"),
        Some(Failure::OutOfMemory) => Some("out_of_memory"),
        Some(Failure::Init) => Some("failed_init"),
        Some(Failure::Error) | None => None,
    }
}

/// The time `duration` milliseconds before `end`; the nearest that a log can have, where a line
/// tells a duration that leads out of all times.
#[expect(
    clippy::cast_possible_truncation,
    reason = "rounded to milliseconds, and one that is too large becomes the largest"
)]
pub(crate) fn before(end: i64, duration: f64) -> i64 {
    end.saturating_sub(duration as i64).clamp(0, TIME_MS_MAX)
}

fn span(from: Option<i64>, to: Option<i64>) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "a time span")]
    let span = to?.checked_sub(from?)? as f64;
    (0.0 <= span).then_some(span)
}

/// The kind of a start that failed.
const INIT_FAILURE: &str = "init_failure";

/// Starts of an environment among which the one is looked for that a line without a request id is
/// about.
const STARTS_LOOKED_AT_MAX: usize = 100;

/// How long after its init an environment is invoked at the earliest if it was made ahead of
/// demand, as in Bantam's extension.
const PROACTIVE_MS_MIN: f64 = 10_000.0;

/// Bytes of a megabyte, as Lambda counts.
const MEGABYTE: f64 = 1_048_576.0;

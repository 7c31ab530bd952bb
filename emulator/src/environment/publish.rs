//! The lifecycle's events for the subscribers of the Telemetry API, and for a log in JSON.
//!
//! docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html

use std::time::{Duration, Instant, SystemTime};

use crate::config::{Initialization, LogFormat};
use crate::environment::Env;
use crate::environment::failure::{Failure, Phase};
use crate::environment::job::{Answer, Job};
use crate::environment::log_lines::Figures;
use crate::record::log::Source;
use crate::telemetry::{
    self, DurationMetrics, Event, ExtensionInit, InitReport, InitRuntimeDone, InitStart, Report,
    ReportMetrics, RestoreReport, RestoreRuntimeDone, RestoreStart, RuntimeDone,
    RuntimeDoneMetrics, Span, Start, Status, Tracing,
};

/// The instants of one invocation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// When the event went out.
    pub(crate) sent_at: Instant,
    /// When the first byte of an answer was read.
    pub(crate) answer_began_at: Option<Instant>,
    /// When it was read to its end.
    pub(crate) answered_at: Option<Instant>,
    /// When the runtime asked for the next event.
    pub(crate) next_at: Option<Instant>,
    /// When the last extension did.
    pub(crate) extensions_at: Option<Instant>,
}

impl Env {
    /// A subscription request of a registered extension.
    pub(crate) fn subscribe(&self, extension: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let reply = self.telemetry.subscribe(extension, body);
        (reply.status, reply.body)
    }

    pub(crate) fn publish_line(&self, source: &Source, text: &str) {
        // The schema reference shows function lines with their newline and extension lines
        // without it.
        self.telemetry.publish(match source {
            Source::Function => Event::FunctionLog(format!("{text}\n")),
            Source::Extension(_) => Event::ExtensionLog(text.to_owned()),
        });
    }

    /// An event for the subscribers, and in the log format JSON for the log too.
    fn publish(&self, event: Event) {
        let now = SystemTime::now();
        if self.shared.config.log_format == LogFormat::Json && !event.is_debug() {
            self.log_platform(&event.json(now));
        }
        self.telemetry.publish_at(event, now);
    }

    pub(crate) fn publish_init_start(&self, phase: Phase) {
        let config = &self.shared.config;
        self.publish(Event::InitStart(InitStart {
            initialization_type: config.initialization.name(),
            phase: self.phase(phase),
            runtime_version: Some("provided:al2023".to_owned()),
            function_name: config.function_name.clone(),
            function_version: config.function_version.clone(),
            function_arn: Some(config.arn()),
            instance_id: Some(self.stream.clone()),
            instance_memory_bytes_max: Some(u64::from(config.memory_mb) * 1_024 * 1_024),
        }));
    }

    /// The events after an init: the runtime's part, each extension's state, the whole.
    pub(crate) fn publish_init(
        &self,
        phase: Phase,
        runtime_started: bool,
        failure: Option<&Failure>,
        duration: Duration,
    ) {
        let initialization_type = self.shared.config.initialization.name();
        let phase = self.phase(phase);
        if runtime_started {
            self.publish(Event::InitRuntimeDone(InitRuntimeDone {
                initialization_type,
                phase,
                status: status(failure),
                error_type: error_type(failure),
            }));
        }
        for extension in self.describe_extensions() {
            self.publish(Event::Extension(ExtensionInit {
                name: extension.name,
                state: extension.state.name(),
                events: extension.events,
                error_type: extension.error_type,
            }));
        }
        self.publish(Event::InitReport(InitReport {
            initialization_type,
            phase,
            status: Some(status(failure)),
            error_type: error_type(failure),
            metrics: DurationMetrics { duration },
        }));
    }

    pub(crate) fn publish_start(&self, job: &Job) {
        let managed = self.is_managed();
        self.publish(Event::Start(Start {
            request_id: job.request_id.clone(),
            version: Some(self.shared.config.function_version.clone()),
            function_arn: managed.then(|| job.arn.clone()),
            tenant_id: job.invoke.tenant_id.clone(),
            tracing: Some(Tracing::new(&job.trace_id)),
        }));
    }

    /// The runtime's part of an invocation. There is none on Managed Instances.
    pub(crate) fn publish_runtime_done(
        &self,
        job: &Job,
        times: Times,
        answer: Option<&Answer>,
        failed: (Status, Option<String>),
    ) {
        if self.is_managed() {
            return;
        }
        let (status, error_type) = failed;
        let end_at = times.next_at.unwrap_or_else(Instant::now);
        // "Usually no metrics" after a timeout.
        let metrics = (status != Status::Timeout).then(|| RuntimeDoneMetrics {
            duration: end_at.saturating_duration_since(times.sent_at),
            produced_bytes: answer.and_then(|answer| u64::try_from(answer.length).ok()),
        });
        self.publish(Event::RuntimeDone(RuntimeDone {
            request_id: job.request_id.clone(),
            status,
            error_type,
            metrics,
            spans: times.runtime_spans(),
            tracing: Some(Tracing::new(&job.trace_id)),
            tenant_id: job.invoke.tenant_id.clone(),
        }));
    }

    /// The whole invocation; to be published when every extension is ready again.
    pub(crate) fn publish_report(
        &self,
        job: &Job,
        times: Times,
        figures: &Figures<'_>,
        failed: (Status, Option<String>),
    ) {
        let (status, error_type) = failed;
        let managed = self.is_managed();
        let other = |value: Option<u64>| value.filter(|_| !managed);
        let metrics = ReportMetrics {
            duration: figures.duration,
            billed_duration_ms: other(u64::try_from(figures.billed()).ok()),
            memory_size_mb: other(Some(figures.memory_mb.into())),
            max_memory_used_mb: other(Some(figures.peak_kb.div_ceil(1_024))),
            init_duration: figures.init.filter(|_| !managed),
            restore_duration: figures.restore,
            billed_restore_duration_ms: figures
                .restore
                .and_then(|restore| u64::try_from(restore.as_micros().div_ceil(1_000)).ok()),
        };
        let spans = if managed {
            times.runtime_spans().into_iter().take(2).collect()
        } else {
            times.extension_span().into_iter().collect()
        };
        self.publish(Event::Report(Report {
            request_id: job.request_id.clone(),
            status,
            error_type,
            metrics,
            spans,
            tracing: Some(Tracing::new(&job.trace_id)),
            tenant_id: job.invoke.tenant_id.clone(),
        }));
    }

    pub(crate) fn publish_restore_start(&self) {
        let config = &self.shared.config;
        self.publish(Event::RestoreStart(RestoreStart {
            function_name: config.function_name.clone(),
            function_version: config.function_version.clone(),
            runtime_version: Some("provided:al2023".to_owned()),
            instance_id: Some(self.stream.clone()),
            instance_max_memory: Some(config.memory_mb.into()),
        }));
    }

    pub(crate) fn publish_restore(&self, failure: Option<&Failure>, duration: Duration) {
        let (status, error_type) = (status(failure), error_type(failure));
        self.publish(Event::RestoreRuntimeDone(RestoreRuntimeDone {
            status,
            error_type: error_type.clone(),
        }));
        self.publish(Event::RestoreReport(RestoreReport {
            status,
            error_type,
            metrics: Some(DurationMetrics { duration }),
        }));
    }

    fn phase(&self, phase: Phase) -> telemetry::Phase {
        match phase {
            Phase::Invoke => telemetry::Phase::Invoke,
            Phase::Init if self.shared.config.initialization == Initialization::SnapStart => {
                telemetry::Phase::SnapStart
            }
            Phase::Init => telemetry::Phase::Init,
        }
    }
}

impl Times {
    /// `responseLatency`, `responseDuration` and `runtimeOverhead`, as far as there was an answer.
    fn runtime_spans(self) -> Vec<Span> {
        let parts = [
            ("responseLatency", Some(self.sent_at), self.answer_began_at),
            ("responseDuration", self.answer_began_at, self.answered_at),
            ("runtimeOverhead", self.answered_at, self.next_at),
        ];
        let spans = parts
            .into_iter()
            .map_while(|(name, from, to)| Some(span(name, from?, to?)));
        spans.collect()
    }

    fn extension_span(self) -> Option<Span> {
        Some(span(
            "extensionOverhead",
            self.next_at?,
            self.extensions_at?,
        ))
    }
}

fn span(name: &'static str, from: Instant, to: Instant) -> Span {
    Span {
        name,
        start: SystemTime::now() - from.elapsed(),
        duration: to.saturating_duration_since(from),
    }
}

pub(crate) fn status(failure: Option<&Failure>) -> Status {
    match failure {
        None => Status::Success,
        Some(Failure::Timeout | Failure::RestoreTimeout) => Status::Timeout,
        Some(_) => Status::Error,
    }
}

/// The error type; `None` for a timeout, which the status names.
pub(crate) fn error_type(failure: Option<&Failure>) -> Option<String> {
    let failure = failure.filter(|failure| status(Some(failure)) != Status::Timeout);
    failure.map(Failure::error_type)
}

//! Accounting: from telemetry records, events and the clock to the figures that are exported.
//!
//! A state machine without input or output. What happened goes in ([`Accounting::record`],
//! [`invoke`](Accounting::invoke), [`shutdown`](Accounting::shutdown), ...); batches come out:
//! - [`take_cold_start`](Accounting::take_cold_start) once for each start of an environment, as
//!   soon as it is known; ask after everything that went in;
//! - [`take_interval`](Accounting::take_interval) everything else since the last time; ask when
//!   the interval is over, when [`interval_is_full`](Accounting::interval_is_full), and at the end.
//!
//! # Limits
//!
//! Memory does not depend on what comes in: values, points, requests in flight and lengths of
//! texts are bounded, and what has no room is counted.

mod cold_start;
mod invocations;
mod outcome;
mod series;

use self::cold_start::{ColdStart, Origin};
use self::invocations::{Invocations, Request};
use self::outcome::{Outcome, Status};
use self::series::Series;
use crate::extension::metric::catalogue as m;
use crate::extension::metric::{Batch, Key, Metric, Resource};
use crate::extension::settings::InitType;
use crate::extension::telemetry::{Field, Kind, MIB, Record};
use crate::shared::text::{self, decimal_text};
use crate::shared::time::{Deadline, EpochMs};

pub(super) use self::cold_start::Predecessor;

/// All that is known about the environment this process is in.
#[derive(Debug)]
pub(super) struct Accounting {
    cold_start: ColdStart,
    invocations: Invocations,
    series: Series,
    interval_start: EpochMs,
    /// What the figures belong to, as far as it is known.
    pub(super) resource: Resource,
    /// From the start of this process until it was registered, and until it was ready, unless that
    /// is exported.
    start_cost_ms: Option<[f64; 2]>,
    /// Processor time that has been added to the series; `None` when what there is by now was that
    /// of a snapshot.
    cpu_counted_ms: Option<f64>,
    /// Whether a restore was noticed and not yet asked for.
    is_restored: bool,
}

impl Accounting {
    /// The account of a process that started at `started_at`, by the wall clock.
    pub(super) fn new(init_type: InitType, started_at: EpochMs) -> Self {
        Self {
            cold_start: ColdStart::new(init_type, started_at),
            invocations: Invocations::default(),
            series: Series::default(),
            interval_start: started_at,
            resource: Resource::default(),
            start_cost_ms: None,
            cpu_counted_ms: Some(0.0),
            is_restored: false,
        }
    }

    /// Says that this process took the place of one that panicked: the environment did not start
    /// now, so no cold start is to be told.
    pub(super) fn resumed(&mut self, panics: u32) {
        self.cold_start.keep_silent();
        self.invocations.keep_earlier();
        self.series
            .add(&m::EXTENSION_RESTARTS, &[], f64::from(panics));
    }

    /// Says that no telemetry will come, so that nothing waits for it.
    pub(super) const fn without_telemetry(&mut self) {
        self.cold_start.without_telemetry = true;
    }

    /// Says what was in this environment before, for a caller that knows from elsewhere.
    pub(super) const fn follows(&mut self, predecessor: Predecessor) {
        self.cold_start.predecessor = Some(predecessor);
    }

    /// Says that this process was restored from a snapshot, or noticed so, at `now`.
    ///
    /// What was counted before is forgotten: all environments of the snapshot share it. May be
    /// said again as long as there was no invocation.
    pub(super) fn restored(&mut self, now: EpochMs) {
        let again = self.cold_start.origin == Origin::Restore && self.cold_start.invocations == 0;
        if again {
            return;
        }
        self.cold_start = self.cold_start.restored(now);
        self.invocations = Invocations::default();
        self.series = Series::default();
        self.interval_start = now;
        self.resource.set(Key::InstanceId, "");
        self.cpu_counted_ms = None;
        self.is_restored = true;
        self.start_cost_ms = None;
    }

    /// Whether this process was restored since this was last asked.
    pub(super) const fn take_restored(&mut self) -> bool {
        std::mem::replace(&mut self.is_restored, false)
    }

    /// What to tell the process that comes after a reset. The platform gives the same reasons for
    /// an init and for an invocation that went wrong.
    pub(super) fn ends_as(&self, reason: &str) -> Option<Predecessor> {
        let predecessor = match reason {
            "timeout" => Predecessor::Timeout,
            "failure" => Predecessor::Crash,
            _ => return None,
        };
        let is_invoked = self.cold_start.invocations != 0;
        Some(if is_invoked {
            predecessor
        } else {
            Predecessor::FailedInit
        })
    }

    /// Takes note of a record. `now` stands in for a time stamp it lacks.
    pub(super) fn record(&mut self, record: &Record<'_>, now: EpochMs) {
        match record.kind {
            Kind::InitStart => {
                self.environment(record);
                if self.cold_start.origin == Origin::Init {
                    self.cold_start.start(record);
                }
            }
            // Of the init that the snapshot is made of, held back until after the restore.
            Kind::InitRuntimeDone | Kind::InitReport
                if self.cold_start.origin == Origin::Restore => {}
            Kind::InitRuntimeDone
            | Kind::InitReport
            | Kind::RestoreRuntimeDone
            | Kind::RestoreReport => self.cold_start.ended(record),
            Kind::RestoreStart => {
                let time = record.time();
                let is_restored = self.cold_start.origin == Origin::Restore;
                let is_told = self.cold_start.started_at.is_some();
                if is_restored && is_told && self.cold_start.started_at == time {
                    // A delivery of which our answer was lost comes again.
                    return;
                }
                if !is_restored || is_told {
                    self.restored(time.unwrap_or(now));
                }
                self.environment(record);
                self.cold_start.start(record);
            }
            Kind::Start => self.start(record),
            Kind::RuntimeDone | Kind::Report => self.ended(record),
            Kind::LogsDropped => {
                let [records, bytes] = [Field::DroppedRecords, Field::DroppedBytes]
                    .map(|field| record.number(field).unwrap_or(0.0));
                self.drops("platform", records, bytes);
            }
            Kind::Function => self.log("function", record),
            Kind::Extension => self.log("extension", record),
            Kind::Malformed => self.series.count(&m::MALFORMED_RECORDS, &[]),
            Kind::Unknown => self.series.count(&m::UNKNOWN_RECORDS, &[]),
            Kind::Other => {}
        }
        self.settle_first();
    }

    /// Takes note of an INVOKE event.
    pub(super) fn invoke(&mut self, request_id: &str, deadline: Option<Deadline>, now: EpochMs) {
        // A function with snapshots is only ever invoked in an environment that was restored.
        if self.cold_start.origin == Origin::Init && self.cold_start.is_snap_start() {
            self.restored(now);
        }
        self.cold_start.invoke(request_id, Some(now));
        if self.cold_start.without_telemetry {
            self.invocations.give_up(&mut self.series);
        }
        self.invocations
            .invoke(Request::of(request_id), deadline, now, &mut self.series);
    }

    /// Takes note of the SHUTDOWN event, after the last telemetry that was waited for. `reason` is
    /// in lower case.
    pub(super) fn shutdown(&mut self, reason: &str, now: EpochMs) {
        let reason = cut(reason);
        self.cold_start.shutdown(&reason);
        self.invocations.shutdown(&reason, now, &mut self.series);
        self.series
            .count(&m::SHUTDOWNS, &[("shutdown_reason", &reason)]);
        let lifetime = now.0.saturating_sub(self.cold_start.began_at.0);
        self.series
            .add(&m::ENVIRONMENT_LIFETIME, &[], float(lifetime));
        let count = self.cold_start.invocations;
        self.series
            .add(&m::ENVIRONMENT_INVOCATIONS, &[], float(count));
    }

    /// Whether there is an invocation, or the start itself, of which the report is yet to come. An
    /// environment that was never invoked may have been frozen before that of its init went out.
    pub(super) fn awaits_report(&self) -> bool {
        let awaits = self.invocations.awaits_report() || self.cold_start.awaits_report();
        !self.cold_start.without_telemetry && awaits
    }

    /// Takes note of a delivery that we lost. How many records were in it is not known.
    pub(super) fn lost_delivery(&mut self, bytes: u64) {
        self.series.count(&m::DROPPED_DELIVERIES, &[]);
        self.drops("extension", 0.0, float(bytes));
    }

    /// Takes note of what an exporter lost.
    pub(super) fn not_exported(&mut self, records: u64, bytes: u64) {
        self.drops("exporter", float(records), float(bytes));
    }

    /// Takes note of how long this process took until it was registered, and until it was ready.
    pub(super) fn started(&mut self, to_register_ms: f64, to_ready_ms: f64) {
        self.start_cost_ms = Some([to_register_ms, to_ready_ms]);
        let began = self.cold_start.began_at.0;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a duration is not negative"
        )]
        let registered = began.saturating_add(to_register_ms as u64);
        self.cold_start.registered_at = Some(EpochMs(registered));
    }

    /// Takes note of what this extension has cost so far.
    pub(super) fn own_cost(&mut self, cpu_ms: f64, peak_memory_bytes: Option<f64>) {
        let counted_ms = self.cpu_counted_ms.unwrap_or(cpu_ms);
        if counted_ms < cpu_ms {
            self.series
                .add(&m::EXTENSION_CPU_TIME, &[], cpu_ms - counted_ms);
        }
        self.cpu_counted_ms = Some(counted_ms.max(cpu_ms));
        self.series
            .add_known(&m::EXTENSION_MEMORY, &[], peak_memory_bytes);
    }

    /// The start of this environment, once, as soon as its kind and duration are known.
    pub(super) fn take_cold_start(&mut self, now: EpochMs) -> Option<Batch> {
        let told = self.cold_start.tell(now)?;
        let kind = ("cold_start_kind", told.kind.name());
        let mut series = Series::default();
        let attributes = [kind, ("estimated", "true")];
        let is_estimated = told.source == Some(cold_start::CLOCK);
        let (of_kind, _) = attributes.split_at(1 + usize::from(is_estimated));
        self.cold_start.add(told, of_kind, &mut series);
        self.cold_start.add_first(of_kind, &mut series);
        if told.kind == cold_start::Kind::InitFailure {
            let error_type = ("error_type", self.cold_start.failure());
            series.count(&m::INIT_FAILURES, &[kind, error_type]);
        }
        if let Some([to_register_ms, to_ready_ms]) = self.start_cost_ms.take() {
            series.add(&m::EXTENSION_REGISTER_DURATION, &[], to_register_ms);
            series.add(&m::EXTENSION_READY_DURATION, &[], to_ready_ms);
        }
        let start = &self.cold_start;
        let mut properties = Vec::new();
        let mut add = |name, value: Option<&str>| {
            if let Some(value) = value {
                properties.push((name, value.to_owned()));
            }
        };
        add("request_id", start.first.request_id.as_deref());
        add("trace_id", start.first.trace_id.as_deref());
        let instance_id = Some(self.resource.get(Key::InstanceId));
        add("instance_id", instance_id.filter(|id| !id.is_empty()));
        add("runtime_version", start.runtime_version.as_deref());
        add("duration_source", told.source);
        let began = start.started_at.unwrap_or(start.began_at);
        Some(Batch {
            start_ms: began.0.min(now.0),
            end_ms: now.0,
            points: series.take(),
            properties,
        })
    }

    /// Everything since the last call, unless that is nothing.
    pub(super) fn take_interval(&mut self, now: EpochMs) -> Option<Batch> {
        self.settle_first();
        let points = self.series.take();
        let start = std::mem::replace(&mut self.interval_start, now);
        (!points.is_empty()).then(|| Batch {
            start_ms: start.0.min(now.0),
            end_ms: now.0,
            points,
            properties: Vec::new(),
        })
    }

    /// Whether a distribution has as many values as are to be exported at once. More are kept, so
    /// that a batch of telemetry can be taken whole.
    pub(super) const fn interval_is_full(&self) -> bool {
        self.series.is_full()
    }
}

impl Accounting {
    fn environment(&mut self, record: &Record<'_>) {
        let told = [
            (Key::InstanceId, Field::InstanceId),
            (Key::FunctionArn, Field::FunctionArn),
        ];
        for (key, field) in told {
            if let Some(value) = record.text(field) {
                self.resource.set(key, crop(&value));
            }
        }
        if self.resource.get(Key::MemoryMb).is_empty()
            && let Some(mb) = record.memory_mb()
        {
            self.resource.set(Key::MemoryMb, &decimal_text(mb.into()));
        }
    }

    fn start(&mut self, record: &Record<'_>) {
        let Some(request_id) = record.text(Field::RequestId) else {
            return;
        };
        let request = Request::of(&request_id);
        // There are no INVOKE events.
        if self.cold_start.is_managed() && self.invocations.is_new(request) {
            self.cold_start.invoke(&request_id, None);
            self.invocations.entry(request, &mut self.series);
        }
        self.cold_start.trace(request, record);
        if self.resource.get(Key::FunctionArn).is_empty()
            && let Some(arn) = record.text(Field::FunctionArn)
        {
            self.resource.set(Key::FunctionArn, crop(&arn));
        }
    }

    /// For the runtime or, in a report, for all.
    fn ended(&mut self, record: &Record<'_>) {
        let outcome = Outcome::of(record);
        let Some(request) = self.own_request(record, outcome.as_ref()) else {
            return;
        };
        let is_report = record.kind == Kind::Report;
        let duration_ms = record.number(Field::DurationMs);
        let (invocations, series) = (&mut self.invocations, &mut self.series);
        if !is_report && !invocations.ended(request, record.time(), duration_ms, series) {
            return;
        }
        self.cold_start.trace(request, record);
        self.cold_start.invocation_ended(request, record);
        let entry = invocations.entry(request, series);
        if let Some(outcome) = &outcome {
            entry.settle(outcome, series);
        }
        if is_report {
            // One that does not say tells nothing of a failure.
            entry.settle(&Outcome::SUCCESS, series);
            if out_of_memory(record, outcome.as_ref()) {
                entry.out_of_memory(series);
            }
            invocations.reported(request, duration_ms, series);
        }
        for (metric, field, unit) in &FIGURES {
            let number = record.number(*field);
            series.add_known(metric, &[], number.map(|number| number * unit));
        }
    }

    /// The request, unless it is over, or the record is of a process that was here before.
    ///
    /// A delivery of which our answer was lost comes again.
    ///
    /// After a reset the platform may deliver its last records to the port where the next process
    /// listens. That one has been shut down, and counted what it knew. Both may lie in one
    /// millisecond, in which nothing of this process can have ended.
    fn own_request(&mut self, record: &Record<'_>, outcome: Option<&Outcome>) -> Option<Request> {
        let request = Request::of(&record.text(Field::RequestId)?);
        if self.invocations.is_over(request) {
            return None;
        }
        let began_at = self.cold_start.began_at;
        let earlier = record.time().is_some_and(|time| time <= began_at)
            && self.cold_start.origin == Origin::Init;
        if !earlier || !self.invocations.is_foreign(request) {
            return Some(request);
        }
        if let Some(Outcome { status, error_type }) = outcome {
            if *status == Status::Timeout {
                self.cold_start.predecessor = Some(Predecessor::Timeout);
            } else if *status == Status::Error && ends_environment(error_type) {
                self.cold_start.predecessor = Some(Predecessor::Crash);
            }
        }
        None
    }

    /// Adds what the first invocation tells about a start that was exported before.
    fn settle_first(&mut self) {
        if let Some(told) = self.cold_start.told {
            let attributes = [("cold_start_kind", told.kind.name())];
            self.cold_start.add_first(&attributes, &mut self.series);
        }
    }

    fn drops(&mut self, by: &str, records: f64, bytes: f64) {
        for (metric, value) in [(&m::DROPPED_RECORDS, records), (&m::DROPPED_BYTES, bytes)] {
            if 0.0 < value {
                self.series.add(metric, &[("dropped_by", by)], value);
            }
        }
    }

    fn log(&mut self, source: &str, record: &Record<'_>) {
        let attributes = [("log_source", source)];
        self.series.count(&m::LOG_RECORDS, &attributes);
        self.series
            .add(&m::LOG_BYTES, &attributes, float(record.bytes() as u64));
    }
}

/// Some runtimes say that memory ran out; others only exit, with all of it used.
fn out_of_memory(record: &Record<'_>, outcome: Option<&Outcome>) -> bool {
    let Some(Outcome {
        status: Status::Error,
        error_type,
    }) = outcome
    else {
        return false;
    };
    let used = record.number(Field::MaxMemoryUsedMb);
    let size = record.number(Field::MemorySizeMb);
    let is_full = used.zip(size).is_some_and(|(used, size)| size <= used);
    error_type.ends_with("OutOfMemory") || (error_type == "Runtime.ExitError" && is_full)
}

/// Whether an error of this type is the end of the processes, and not only of the invocation.
fn ends_environment(error_type: &str) -> bool {
    const CATEGORIES: &[&str] = &["Runtime.", "Extension.", "Sandbox."];
    CATEGORIES
        .iter()
        .any(|category| error_type.starts_with(category))
}

/// The figures of an invocation that are counted as they are, and the unit that they are in.
static FIGURES: [(&Metric, Field, f64); 8] = [
    (&m::BILLED_DURATION, Field::BilledDurationMs, 1.0),
    (&m::MEMORY_SIZE, Field::MemorySizeMb, MIB),
    (&m::MEMORY_USED, Field::MaxMemoryUsedMb, MIB),
    (&m::PRODUCED_BYTES, Field::ProducedBytes, 1.0),
    (&m::RESPONSE_LATENCY, Field::ResponseLatency, 1.0),
    (&m::RESPONSE_DURATION, Field::ResponseDuration, 1.0),
    (&m::RUNTIME_OVERHEAD, Field::RuntimeOverhead, 1.0),
    (&m::EXTENSION_OVERHEAD, Field::ExtensionOverhead, 1.0),
];

/// As much of a text from outside as is kept.
fn crop(text: &str) -> &str {
    text::crop(text, TEXT_BYTES_MAX)
}

/// As much of a text as is kept.
fn string(record: &Record<'_>, field: Field) -> Option<String> {
    record.text(field).as_deref().map(cut)
}

fn cut(text: &str) -> String {
    crop(text).to_owned()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts and durations here are far below 2^53"
)]
pub(super) const fn float(number: u64) -> f64 {
    number as f64
}

/// Bytes of a text from outside that are kept. The longest are ARNs and trace headers.
const TEXT_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests;

//! Accounting: from telemetry records, events and the clock to the figures that are exported.
//!
//! A state machine without input or output; times are arguments. Its methods are of three sorts:
//! - `handle_*` takes a fact: an event, a record, a loss, a cost.
//! - `take_*` gives what is due, once. [`take_cold_start`](Accounting::take_cold_start) gives each
//!   start of an environment as soon as it is known; ask after every fact.
//!   [`take_interval`](Accounting::take_interval) gives everything else since the last time; ask
//!   when that [is due](Accounting::is_interval_due), and at the end.
//! - The others look and change nothing.
//!
//! # Limits
//!
//! Memory does not depend on what comes in: values, points, requests in flight and lengths of texts
//! are bounded, and what has no room is counted. No sum exceeds 2^53.

mod bounds;
mod cause;
mod cold_start;
mod invocations;
mod outcome;
mod series;
#[cfg(any(feature = "traces", test))]
mod trace;

use std::time::Duration;

use self::bounds::kept;
use self::cause::Cause;
use self::cold_start::{ColdStart, Origin, Verdict};
use self::invocations::{Invocations, Request};
use self::outcome::{Outcome, Reason, Status};
use self::series::Series;
use crate::extension::metric::catalogue as m;
use crate::extension::metric::{Batch, Detail, Metric, Resource};
use crate::extension::own_usage::OwnUsage;
use crate::extension::settings::InitType;
use crate::extension::system_usage::SystemUsage;
use crate::extension::telemetry::{Content, Fault, MIB, Members, Metrics, Record, Spans};
#[cfg(any(feature = "traces", test))]
use crate::extension::trace::Trace;
use crate::shared::time::{Deadline, EpochMs};

pub(super) use self::bounds::float;
pub(super) use self::cold_start::{Life, Predecessor};

/// The account of the environment that this process is in.
#[derive(Debug)]
pub(super) struct Accounting {
    /// As the environment variable says.
    init_type: InitType,
    cold_start: ColdStart,
    invocations: Invocations,
    series: Series,
    interval_start: EpochMs,
    /// The function and the environment, as far as they are known.
    pub(super) resource: Resource,
    /// How long this process took to be registered and to be ready, until that is exported.
    start_cost: Option<StartCost>,
    /// Processor time that has been added to the series; `None` after a restore or a panic, when
    /// the time so far belongs to the snapshot or to the program before.
    cpu_counted_ms: Option<f64>,
    /// What the environment had used when it was last asked, since this process started or was
    /// restored.
    system_usage: Option<SystemUsage>,
    /// Whether memory ran out in the invocation that a record reported last.
    is_out_of_memory: bool,
    /// The invocation of the last fault that came after its report.
    faulty: Option<Request>,
    /// Whether SHUTDOWN came.
    is_over: bool,
    /// Whether a restore was noticed since the last [`take_restored`](Self::take_restored).
    is_restored: bool,
}

/// The time that the start of this process took.
#[derive(Clone, Copy, Debug)]
struct StartCost {
    to_register_ms: f64,
    to_ready_ms: f64,
}

/// Facts.
impl Accounting {
    /// The account of a process that started at `started_at`, by the wall clock.
    pub(super) fn new(init_type: InitType, started_at: EpochMs) -> Self {
        Self {
            init_type,
            cold_start: ColdStart::new(init_type, started_at),
            invocations: Invocations::default(),
            series: Series::default(),
            interval_start: started_at,
            resource: Resource::default(),
            start_cost: None,
            cpu_counted_ms: Some(0.0),
            system_usage: None,
            is_out_of_memory: false,
            faulty: None,
            is_over: false,
            is_restored: false,
        }
    }

    /// This program took the place of one that panicked, the `panics`th time. The environment did
    /// not start now, so there is no cold start.
    pub(super) fn handle_panics(&mut self, panics: u32, life: Life) {
        self.cold_start.resume(life);
        self.cpu_counted_ms = None;
        self.series
            .add(&m::EXTENSION_RESTARTS, &[], f64::from(panics));
    }

    /// No telemetry will come, so nothing waits for it.
    pub(super) const fn handle_no_telemetry(&mut self) {
        self.cold_start.without_telemetry = true;
    }

    /// The process before this one left a note.
    pub(super) const fn handle_predecessor(&mut self, predecessor: Predecessor) {
        self.cold_start.predecessor = Some(predecessor);
    }

    /// This process took so long until it was registered, and until it was ready.
    pub(super) fn handle_start(&mut self, to_register_ms: f64, to_ready_ms: f64) {
        self.start_cost = Some(StartCost {
            to_register_ms,
            to_ready_ms,
        });
        let began = self.cold_start.began_at.0;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a duration is not negative"
        )]
        let registered = began.saturating_add(to_register_ms as u64);
        self.cold_start.registered_at = Some(EpochMs(registered));
    }

    /// This process was restored from a snapshot, or that was noticed, at `now`.
    ///
    /// Everything counted before is forgotten: all environments of the snapshot share it. A second
    /// notice of the same restore, before any invocation, changes nothing.
    pub(super) fn handle_restore(&mut self, now: EpochMs) {
        let again = self.cold_start.origin == Origin::Restore && self.cold_start.invocations == 0;
        if again {
            return;
        }
        self.cold_start = self.cold_start.restored(now);
        self.invocations = Invocations::default();
        self.series = Series::default();
        self.interval_start = now;
        self.resource.instance_id.clear();
        self.resource.availability_zone.clear();
        self.cpu_counted_ms = None;
        self.system_usage = None;
        self.is_restored = true;
        self.start_cost = None;
    }

    /// A telemetry record. `now` stands in for a time stamp that it lacks.
    pub(super) fn handle_record(&mut self, record: &Record<'_>, now: EpochMs) {
        let time = record.time;
        match &record.content {
            // Of the init that the snapshot is made of, held back until after the restore.
            Content::InitStart(_) | Content::InitRuntimeDone(_) | Content::InitReport(_)
                if self.cold_start.origin == Origin::Restore => {}
            Content::InitStart(start) => {
                self.note_environment(start);
                self.cold_start.handle_phase_start(time, start);
            }
            // Anybody can send them, as a start of a restore.
            Content::RestoreRuntimeDone(_) | Content::RestoreReport(_)
                if self.init_type != InitType::SnapStart => {}
            Content::InitRuntimeDone(end) | Content::RestoreRuntimeDone(end) => {
                self.cold_start.handle_runtime_done(time, end);
            }
            Content::InitReport(end) | Content::RestoreReport(end) => {
                self.cold_start.handle_phase_report(time, end);
            }
            Content::RestoreStart(start) => self.handle_restore_start(time, start, now),
            Content::Start(start) => self.handle_invocation_start(time, start),
            Content::RuntimeDone(end) => self.handle_runtime_done(time, end),
            Content::Report(end) => self.handle_report(time, end),
            Content::LogsDropped(dropped) => {
                let records = dropped.dropped_records.unwrap_or(0.0);
                let bytes = dropped.dropped_bytes.unwrap_or(0.0);
                self.count_loss("platform", records, bytes);
            }
            Content::Fault(fault) => self.handle_fault(time, *fault),
            Content::Unknown => self.series.count(&m::UNKNOWN_RECORDS, &[]),
            Content::Ignored => {}
        }
    }

    /// An element of a batch of telemetry that is not a record.
    pub(super) fn handle_malformed_record(&mut self) {
        self.series.count(&m::MALFORMED_RECORDS, &[]);
    }

    /// An INVOKE event.
    pub(super) fn handle_invoke(
        &mut self,
        request_id: &str,
        deadline: Option<Deadline>,
        now: EpochMs,
    ) {
        // A function with snapshots is only ever invoked in an environment that was restored.
        if self.cold_start.origin == Origin::Init && self.init_type == InitType::SnapStart {
            self.handle_restore(now);
        }
        self.cold_start.handle_invoke(request_id, Some(now));
        let began_at = self.cold_start.began_at;
        let (invocations, series) = (&mut self.invocations, &mut self.series);
        if self.cold_start.without_telemetry {
            invocations.give_up(series);
        }
        let request = Request::of(request_id);
        invocations.handle_invoke(request, deadline, now, began_at, series);
    }

    /// The ARN that an invocation names. The one of the start says more.
    pub(super) fn handle_function_arn(&mut self, arn: Option<&str>) {
        if self.resource.function_arn.is_empty() {
            kept(arn.unwrap_or_default()).clone_into(&mut self.resource.function_arn);
        }
    }

    /// The SHUTDOWN event, after the last telemetry that was waited for. `reason` is in lower case.
    pub(super) fn handle_shutdown(&mut self, reason: &str, now: EpochMs) {
        self.cold_start.handle_shutdown(Reason::of(reason));
        let series = &mut self.series;
        self.invocations
            .handle_shutdown(Reason::of(reason), now, series);
        // All have the same attributes, so that a line can hold them all.
        let attributes = [("shutdown_reason", kept(reason))];
        series.count(&m::SHUTDOWNS, &attributes);
        let lifetime_ms = now.0.saturating_sub(self.cold_start.began_at.0);
        series.add(&m::ENVIRONMENT_LIFETIME, &attributes, float(lifetime_ms));
        let invocations = float(self.cold_start.invocations);
        series.add(&m::ENVIRONMENT_INVOCATIONS, &attributes, invocations);
        self.is_over = true;
    }

    /// A delivery of telemetry was lost: with how many records is not known.
    pub(super) fn handle_lost_delivery(&mut self, bytes: u64) {
        self.series.count(&m::DROPPED_DELIVERIES, &[]);
        self.count_loss("extension", 0.0, float(bytes));
    }

    /// The cost of this process so far.
    pub(super) fn handle_own_usage(&mut self, usage: OwnUsage) {
        let cpu_ms = ms(usage.cpu_time);
        let counted_ms = self.cpu_counted_ms.unwrap_or(cpu_ms);
        if counted_ms < cpu_ms {
            let cpu_ms = cpu_ms - counted_ms;
            self.series.add(&m::EXTENSION_CPU_TIME, &[], cpu_ms);
        }
        self.cpu_counted_ms = Some(counted_ms.max(cpu_ms));
        let memory = usage.peak_memory_bytes.map(float);
        self.series.add_known(&m::EXTENSION_MEMORY, &[], memory);
    }

    /// What all processes of the environment use, and the time that it took to ask. Sums are
    /// counted from the first call on, or the first after a restore.
    pub(super) fn handle_system_usage(&mut self, usage: SystemUsage, took: Duration) {
        let Some(last) = self.system_usage.replace(usage) else {
            return;
        };
        let cpu = usage.cpu.zip(last.cpu);
        let network = usage.network.zip(last.network);
        let since = |now: u64, last: u64| float(now.saturating_sub(last));
        let figures: [(&'static Metric, Option<f64>); 8] = [
            (
                &m::CPU_USER_TIME,
                cpu.map(|(now, last)| ms(now.user.saturating_sub(last.user))),
            ),
            (
                &m::CPU_SYSTEM_TIME,
                cpu.map(|(now, last)| ms(now.system.saturating_sub(last.system))),
            ),
            (
                &m::RX_BYTES,
                network.map(|(now, last)| since(now.received, last.received)),
            ),
            (
                &m::TX_BYTES,
                network.map(|(now, last)| since(now.sent, last.sent)),
            ),
            (&m::TMP_USED, usage.tmp_used_bytes.map(float)),
            (
                &m::FD_USE,
                usage.processes.map(|all| float(all.descriptors)),
            ),
            (
                &m::THREADS_USE,
                usage.processes.map(|all| float(all.threads)),
            ),
            (&m::SYSTEM_READ_DURATION, Some(ms(took))),
        ];
        for (metric, value) in figures {
            self.series.add_known(metric, &[], value);
        }
    }
}

/// Results.
impl Accounting {
    /// The start of this environment, once, as soon as it is known.
    pub(super) fn take_cold_start(&mut self, now: EpochMs) -> Option<Batch> {
        let verdict = self.cold_start.take(now)?;
        let cause = Cause::of(&self.cold_start, verdict.kind);
        // All points have the same attributes, sorted by name, so that a line can hold them all.
        let mut attributes = vec![
            ("cause", cause.name),
            ("cold_start_kind", verdict.kind.name()),
        ];
        let has_failed = verdict.kind == cold_start::Kind::InitFailure;
        if has_failed {
            attributes.push(("error_type", self.cold_start.failure()));
        }
        if verdict.source == Some(cold_start::CLOCK) {
            attributes.push(("estimated", "true"));
        }
        let mut series = Series::default();
        self.cold_start.add(verdict, &attributes, &mut series);
        if has_failed {
            series.count(&m::INIT_FAILURES, &attributes);
        }
        if let Some(cost) = self.start_cost.take() {
            let to_register_ms = cost.to_register_ms;
            series.add(&m::EXTENSION_REGISTER_DURATION, &attributes, to_register_ms);
            series.add(&m::EXTENSION_READY_DURATION, &attributes, cost.to_ready_ms);
        }
        let properties = self.start_properties(verdict, cause);
        let start = &self.cold_start;
        let began = start.start().min(now);
        // A freeze may have held the last record back for long.
        let ended = start.first.ended_at.unwrap_or(now).min(now);
        Some(Batch {
            start_ms: began.0,
            end_ms: ended.max(began).0,
            points: series.take(),
            properties,
        })
    }

    /// The trace of the start that [`take_cold_start`](Self::take_cold_start) gave.
    #[cfg(any(feature = "traces", test))]
    pub(super) fn trace(&self) -> Trace {
        self.cold_start.trace()
    }

    /// The properties of the start that are known, the most important first.
    fn start_properties(&self, verdict: Verdict, cause: Cause) -> Vec<(&'static str, Detail)> {
        let (start, resource) = (&self.cold_start, &self.resource);
        let text = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(Detail::from);
        let properties = [
            ("request_id", text(start.first.request_id.as_deref())),
            ("instance_id", text(Some(&resource.instance_id))),
            ("start_ms", Some(Detail::Number(float(start.start().0)))),
            ("init_type", text(Some(&resource.init_type))),
            ("availability_zone", text(Some(&resource.availability_zone))),
            ("cause_source", text(cause.source)),
            ("missing", text(Some(&start.missing()))),
            (
                "trace_id",
                text(start.first.trace_id.as_deref().map(trace_root)),
            ),
            ("memory_used", start.memory_used().map(Detail::Number)),
            (
                "memory_mb",
                resource.memory_mb.map(|mb| Detail::Number(mb.into())),
            ),
            ("tenant_id", text(start.first.tenant_id.as_deref())),
            ("durable", text(start.is_durable().then_some("true"))),
            ("runtime_version", text(start.runtime_version.as_deref())),
            ("duration_source", text(verdict.source)),
            ("architecture", text(Some(ARCHITECTURE))),
        ];
        let known = properties.into_iter();
        known
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
    }

    /// Everything since the last call, unless that is nothing.
    pub(super) fn take_interval(&mut self, now: EpochMs) -> Option<Batch> {
        let points = self.series.take();
        let start = std::mem::replace(&mut self.interval_start, now);
        (!points.is_empty()).then(|| Batch {
            start_ms: start.0.min(now.0),
            end_ms: now.0,
            points,
            properties: if self.is_over {
                self.end_properties(now)
            } else {
                Vec::new()
            },
        })
    }

    /// What a report over several environments needs of one that is over.
    fn end_properties(&self, now: EpochMs) -> Vec<(&'static str, Detail)> {
        let number = |ms: u64| Detail::Number(float(ms));
        let mut properties = Vec::new();
        let id = self.resource.instance_id.as_str();
        if !id.is_empty() {
            properties.push(("instance_id", Detail::from(id)));
        }
        properties.extend([
            ("start_ms", number(self.cold_start.start().0)),
            ("end_ms", number(now.0)),
            ("busy_ms", Detail::Number(self.invocations.busy_ms())),
        ]);
        if let Some(last) = self.invocations.last_end() {
            properties.push(("last_invocation_ms", number(last.0)));
        }
        properties
    }

    /// What is known for the program that follows a panic.
    pub(super) fn life(&self) -> Life {
        self.cold_start.life()
    }

    /// Whether this process was restored since the last call.
    pub(super) const fn take_restored(&mut self) -> bool {
        std::mem::replace(&mut self.is_restored, false)
    }

    /// Whether [`take_interval`](Self::take_interval) is to be called: the last time is as long
    /// ago as `interval`, or a distribution has as many values as are to be exported at once. More
    /// are kept, so that a batch of telemetry can be taken whole. A clock that was put back must
    /// not hold it up.
    pub(super) fn is_interval_due(&self, interval: Duration, now: EpochMs) -> bool {
        let since = now.0.checked_sub(self.interval_start.0);
        let is_over = since.is_none_or(|ms| interval <= Duration::from_millis(ms));
        is_over || self.series.is_full()
    }

    /// Whether an invocation has no report yet, or the start itself: an environment that was never
    /// invoked may have been frozen before the report of its init went out.
    pub(super) fn awaits_report(&self) -> bool {
        let awaits = self.invocations.awaits_report() || self.cold_start.awaits_report();
        !self.cold_start.without_telemetry && awaits
    }

    /// The note to leave for the process that may follow, by the reason of SHUTDOWN in lower case.
    /// The platform gives the same reasons for an init and for an invocation that went wrong.
    pub(super) fn note_for_successor(&self, reason: &str) -> Option<Predecessor> {
        let is_invoked = self.cold_start.invocations != 0;
        match Reason::of(reason) {
            Reason::Timeout if is_invoked => Some(Predecessor::Timeout),
            Reason::Crash if self.is_out_of_memory => Some(Predecessor::OutOfMemory),
            Reason::Crash if is_invoked => Some(Predecessor::Crash),
            Reason::Timeout | Reason::Crash => Some(Predecessor::FailedInit),
            Reason::Spindown | Reason::Other => None,
        }
    }
}

impl Accounting {
    fn note_environment(&mut self, start: &Members<'_>) {
        let resource = &mut self.resource;
        if let Some(id) = &start.instance_id {
            kept(id).clone_into(&mut resource.instance_id);
        }
        if let Some(arn) = &start.function_arn {
            kept(arn).clone_into(&mut resource.function_arn);
        }
        if let Some(init_type) = &start.initialization_type {
            kept(init_type).clone_into(&mut resource.init_type);
        }
        resource.memory_mb = resource.memory_mb.or_else(|| start.memory_mb());
    }

    fn handle_restore_start(&mut self, time: Option<EpochMs>, start: &Members<'_>, now: EpochMs) {
        // Anybody in the environment can send records, and this one forgets everything. Only the
        // platform can set the variable.
        if self.init_type != InitType::SnapStart {
            return;
        }
        let is_restored = self.cold_start.origin == Origin::Restore;
        let is_known = self.cold_start.started_at.is_some();
        if is_restored && is_known && self.cold_start.started_at == time {
            // The platform delivers a batch again when our answer was lost.
            return;
        }
        if !is_restored || is_known {
            self.handle_restore(time.unwrap_or(now));
        }
        self.note_environment(start);
        self.cold_start.handle_phase_start(time, start);
    }

    fn handle_invocation_start(&mut self, time: Option<EpochMs>, start: &Members<'_>) {
        let Some(request_id) = start.request_id.as_deref() else {
            return;
        };
        let request = Request::of(request_id);
        if self.is_of_predecessor(time, request) {
            return;
        }
        // There are no INVOKE events.
        if self.cold_start.is_managed() && self.invocations.is_new(request) {
            self.cold_start.handle_invoke(request_id, None);
            self.invocations.entry(request, &mut self.series);
        }
        #[cfg(any(feature = "traces", test))]
        self.cold_start.handle_invocation_start(request, time);
        let trace = start.tracing.value.as_deref();
        self.cold_start.handle_trace(request, trace);
        self.cold_start.handle_tenant(start.tenant_id.as_deref());
        self.handle_function_arn(start.function_arn.as_deref());
    }

    fn handle_runtime_done(&mut self, time: Option<EpochMs>, end: &Members<'_>) {
        let outcome = Outcome::of(end.status.as_deref(), end.error_type.as_deref());
        let Some(request) = self.own_request(time, end, outcome.as_ref()) else {
            return;
        };
        let (invocations, series) = (&mut self.invocations, &mut self.series);
        if !invocations.handle_runtime_done(request, time, end.metrics.duration_ms, series) {
            return;
        }
        let trace = end.tracing.value.as_deref();
        self.cold_start.handle_trace(request, trace);
        self.cold_start.handle_invocation_done(request, time, end);
        let entry = invocations.entry(request, series);
        if let Some(outcome) = &outcome {
            entry.settle(outcome, series);
        }
        if is_out_of_memory(&end.metrics, outcome.as_ref()) {
            self.is_out_of_memory = true;
            entry.settle_out_of_memory(series);
        }
        add_figures(end, series);
    }

    /// A fault. It comes before the report of its invocation or after it.
    fn handle_fault(&mut self, time: Option<EpochMs>, fault: Fault<'_>) {
        let Some(request_id) = fault.killed_request_id() else {
            return;
        };
        let request = Request::of(request_id);
        let is_over = self.invocations.is_over(request, time);
        if is_over && !self.invocations.is_in_flight(request) {
            // An environment ends with such an invocation, so the report was its last.
            let is_again = self.faulty.replace(request) == Some(request);
            if !std::mem::replace(&mut self.is_out_of_memory, true) && !is_again {
                self.series.count(&m::OUT_OF_MEMORY, &[]);
            }
        } else if is_over || self.is_of_predecessor(time, request) {
            // The attempt before a retry that is in flight ended the process before.
            self.cold_start.predecessor = Some(Predecessor::OutOfMemory);
        } else {
            self.is_out_of_memory = true;
            let entry = self.invocations.entry(request, &mut self.series);
            entry.settle_out_of_memory(&mut self.series);
        }
    }

    fn handle_report(&mut self, time: Option<EpochMs>, end: &Members<'_>) {
        let outcome = Outcome::of(end.status.as_deref(), end.error_type.as_deref());
        let Some(request) = self.own_request(time, end, outcome.as_ref()) else {
            return;
        };
        let trace = end.tracing.value.as_deref();
        self.cold_start.handle_trace(request, trace);
        self.cold_start.handle_invocation_report(request, time, end);
        let (invocations, series) = (&mut self.invocations, &mut self.series);
        let entry = invocations.entry(request, series);
        // A report without a status is of a success.
        entry.settle(outcome.as_ref().unwrap_or(&Outcome::SUCCESS), series);
        if is_out_of_memory(&end.metrics, outcome.as_ref()) {
            entry.settle_out_of_memory(series);
        }
        self.is_out_of_memory = entry.is_out_of_memory;
        invocations.handle_report(request, time, end.metrics.duration_ms, series);
        add_figures(end, series);
    }

    /// The request of a record, unless it is over, or belongs to the process that was here before.
    ///
    /// It is over when a batch comes again because our answer was lost.
    ///
    /// After a reset the platform may deliver the last records to the port where the next process
    /// listens. The earlier process got SHUTDOWN and counted what it knew. Both may lie in one
    /// millisecond, in which nothing of this process can have ended.
    fn own_request(
        &mut self,
        time: Option<EpochMs>,
        end: &Members<'_>,
        outcome: Option<&Outcome>,
    ) -> Option<Request> {
        let request = Request::of(end.request_id.as_deref()?);
        if self.invocations.is_over(request, time) {
            return None;
        }
        if !self.is_of_predecessor(time, request) {
            return Some(request);
        }
        let predecessor = match outcome? {
            outcome if outcome.status == Status::Timeout => Predecessor::Timeout,
            outcome if is_out_of_memory(&end.metrics, Some(outcome)) => Predecessor::OutOfMemory,
            // A fault may have told the reason already.
            outcome
                if outcome.ends_environment()
                    && self.cold_start.predecessor != Some(Predecessor::OutOfMemory) =>
            {
                Predecessor::Crash
            }
            _ => return None,
        };
        self.cold_start.predecessor = Some(predecessor);
        None
    }

    fn is_of_predecessor(&mut self, time: Option<EpochMs>, request: Request) -> bool {
        let is_earlier = time.is_some_and(|time| time <= self.cold_start.began_at);
        let can_be = self.cold_start.origin == Origin::Init;
        self.invocations.is_foreign(request, is_earlier && can_be)
    }

    fn count_loss(&mut self, by: &str, records: f64, bytes: f64) {
        for (metric, value) in [(&m::DROPPED_RECORDS, records), (&m::DROPPED_BYTES, bytes)] {
            if 0.0 < value {
                self.series.add(metric, &[("dropped_by", by)], value);
            }
        }
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The id of a trace, out of a header such as `Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1`.
fn trace_root(header: &str) -> &str {
    let mut parts = header.split(';').map(str::trim_ascii);
    parts
        .find_map(|part| part.strip_prefix("Root="))
        .unwrap_or(header)
}

/// Some runtimes report that memory ran out; others only exit, with all of it used.
fn is_out_of_memory(metrics: &Metrics, outcome: Option<&Outcome>) -> bool {
    let Some(Outcome {
        status: Status::Error,
        error_type,
    }) = outcome
    else {
        return false;
    };
    let used_and_size = metrics.max_memory_used_mb.zip(metrics.memory_size_mb);
    let is_full = used_and_size.is_some_and(|(used, size)| size <= used);
    error_type.ends_with("OutOfMemory") || (error_type == "Runtime.ExitError" && is_full)
}

/// Adds the figures of an invocation that are counted as they are.
fn add_figures(end: &Members<'_>, series: &mut Series) {
    let Metrics {
        billed_duration_ms,
        memory_size_mb,
        max_memory_used_mb,
        produced_bytes,
        ..
    } = end.metrics;
    let Spans {
        response_latency_ms,
        response_duration_ms,
        runtime_overhead_ms,
        extension_overhead_ms,
    } = end.spans;
    let figures: [(&'static Metric, Option<f64>); 8] = [
        (&m::BILLED_DURATION, billed_duration_ms),
        (&m::MEMORY_SIZE, memory_size_mb.map(|mb| mb * MIB)),
        (&m::MEMORY_USED, max_memory_used_mb.map(|mb| mb * MIB)),
        (&m::PRODUCED_BYTES, produced_bytes),
        (&m::RESPONSE_LATENCY, response_latency_ms),
        (&m::RESPONSE_DURATION, response_duration_ms),
        (&m::RUNTIME_OVERHEAD, runtime_overhead_ms),
        (&m::EXTENSION_OVERHEAD, extension_overhead_ms),
    ];
    for (metric, value) in figures {
        series.add_known(metric, &[], value);
    }
}

/// The architecture by Lambda's word for it.
const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") {
    "arm64"
} else {
    std::env::consts::ARCH
};

#[cfg(test)]
mod tests;

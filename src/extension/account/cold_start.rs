//! One start of an environment: the facts about it, and the kind that they make it.
//!
//! Telemetry, INVOKE events and SHUTDOWN come on three connections, in any order, and each may be
//! late or missing. So all facts are kept, and the kind is decided once: when the report of the
//! first invocation is there, or a substitute. The start is exported once, with its first
//! invocation.
//!
//! A process does not outlive a reset. The one that was interrupted gets SHUTDOWN, and the next one
//! gets an init of its own whose phase is `invoke`. The phase alone says that an earlier init or
//! invocation went wrong, and not which. That is known from a [`Predecessor`]: from records of the
//! earlier process that the platform delivers late to the same port, or from the note that the
//! earlier process left at SHUTDOWN. With neither, as after a process that was killed without
//! SHUTDOWN, the kind is `init_retried_in_invoke`.

use super::bounds::{float, kept};
use super::invocations::Request;
use super::outcome::{Outcome, Reason, UNKNOWN};
use super::series::{Attribute, Series};
use crate::extension::metric::catalogue as m;
use crate::extension::settings::InitType;
#[cfg(any(feature = "traces", test))]
use crate::extension::telemetry::Spans;
use crate::extension::telemetry::{MIB, Members, Metrics};
use crate::shared::time::EpochMs;

/// The kinds of starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An invocation waited for it.
    OnDemand,
    /// Made ahead of demand, or never invoked at all.
    Proactive,
    ProvisionedConcurrency,
    /// An invocation waited for an init after an earlier one had failed.
    InitRetriedInInvoke,
    /// The init failed. An invocation that waited for it waits for the next init, and is counted
    /// there.
    InitFailure,
    ResetAfterTimeout,
    ResetAfterCrash,
    /// The init that a snapshot is made of, when a version is published.
    SnapStartInit,
    SnapStartRestore,
    /// A restore ahead of demand.
    SnapStartProactive,
    ManagedInstances,
    /// An invocation waited for it, and its init type is newer than this program.
    Other,
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::OnDemand => "on_demand",
            Self::Proactive => "proactive",
            Self::ProvisionedConcurrency => "provisioned_concurrency",
            Self::InitRetriedInInvoke => "init_retried_in_invoke",
            Self::InitFailure => "init_failure",
            Self::ResetAfterTimeout => "reset_after_timeout",
            Self::ResetAfterCrash => "reset_after_crash",
            Self::SnapStartInit => "snap_start_init",
            Self::SnapStartRestore => "snap_start_restore",
            Self::SnapStartProactive => "snap_start_proactive",
            Self::ManagedInstances => "managed_instances",
            Self::Other => "other",
        }
    }

    /// Whether an invocation waited for it and was then served.
    pub(super) const fn is_user_facing(self) -> bool {
        match self {
            Self::OnDemand
            | Self::InitRetriedInInvoke
            | Self::ResetAfterTimeout
            | Self::ResetAfterCrash
            | Self::SnapStartRestore
            | Self::Other => true,
            Self::Proactive
            | Self::ProvisionedConcurrency
            | Self::InitFailure
            | Self::SnapStartInit
            | Self::SnapStartProactive
            | Self::ManagedInstances => false,
        }
    }
}

/// The end of an earlier process in this environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Predecessor {
    /// An init that failed.
    FailedInit,
    /// An invocation that timed out.
    Timeout,
    /// An invocation in which the runtime or an extension exited.
    Crash,
    /// An invocation in which memory ran out.
    OutOfMemory,
}

impl Predecessor {
    pub(in super::super) const ALL: [Self; 4] = [
        Self::FailedInit,
        Self::Timeout,
        Self::Crash,
        Self::OutOfMemory,
    ];

    /// The cause that it is of the next start, and the word in a note.
    pub(in super::super) const fn name(self) -> &'static str {
        match self {
            Self::FailedInit => "failed_init",
            Self::Timeout => "timeout",
            Self::Crash => "crash",
            Self::OutOfMemory => "out_of_memory",
        }
    }
}

/// What the program that follows a panic has to know of the environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Life {
    /// When it was started or restored.
    pub(in super::super) began_at: EpochMs,
    pub(in super::super) is_restored: bool,
    /// Its invocations so far.
    pub(in super::super) invocations: u64,
}

/// The way in which this process came to run: started, or restored from a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Init,
    Restore,
}

/// The source of a duration that only our own clock gives.
pub(super) const CLOCK: &str = "clock";

/// One start of an environment.
#[derive(Debug)]
pub(super) struct ColdStart {
    pub(super) origin: Origin,
    pub(super) init_type: InitType,
    /// When this process started or was restored, by our clock.
    pub(super) began_at: EpochMs,
    /// The time of `initStart` or `restoreStart`.
    pub(super) started_at: Option<EpochMs>,
    /// When `register` was answered, after which the runtime may start.
    pub(super) registered_at: Option<EpochMs>,
    pub(super) runtime_version: Option<String>,
    /// Whether an invocation waits for this init after an earlier one failed.
    pub(super) in_invoke: bool,
    pub(super) predecessor: Option<Predecessor>,
    pub(super) runtime_done_at: Option<EpochMs>,
    report: Option<Report>,
    /// The type of error with which init or restore failed.
    failure: Option<String>,
    /// The reason of SHUTDOWN.
    end: Option<Reason>,
    pub(super) without_telemetry: bool,
    /// INVOKE events, or on Managed Instances starts of invocations.
    pub(super) invocations: u64,
    pub(super) first: First,
    /// Whether the start is exported, or is not to be.
    is_taken: bool,
}

/// `initReport` or `restoreReport`.
#[derive(Clone, Copy, Debug)]
struct Report {
    time: Option<EpochMs>,
    duration_ms: Option<f64>,
}

/// The first invocation.
#[derive(Debug, Default)]
pub(super) struct First {
    request: Option<Request>,
    pub(super) request_id: Option<String>,
    pub(super) trace_id: Option<String>,
    pub(super) tenant_id: Option<String>,
    /// The time of the INVOKE event.
    pub(super) invoked_at: Option<EpochMs>,
    /// The time of `start`.
    #[cfg(any(feature = "traces", test))]
    pub(super) started_at: Option<EpochMs>,
    /// The time of its last record, `runtimeDone` or `report`.
    pub(super) ended_at: Option<EpochMs>,
    /// Of `runtimeDone`.
    duration_ms: Option<f64>,
    /// Of `runtimeDone`.
    #[cfg(any(feature = "traces", test))]
    pub(super) spans: Spans,
    /// Of `report`.
    metrics: Option<Metrics>,
    /// Whether a later invocation ended. Telemetry is in order, so no more comes of the first.
    is_passed: bool,
}

/// The kind of a start, and the duration of its init or restore with the source of that.
#[derive(Clone, Copy, Debug)]
pub(super) struct Verdict {
    pub(super) kind: Kind,
    pub(super) duration_ms: Option<f64>,
    pub(super) source: Option<&'static str>,
}

impl ColdStart {
    pub(super) fn new(init_type: InitType, began_at: EpochMs) -> Self {
        Self {
            origin: Origin::Init,
            init_type,
            began_at,
            started_at: None,
            registered_at: None,
            runtime_version: None,
            in_invoke: false,
            predecessor: None,
            runtime_done_at: None,
            report: None,
            failure: None,
            end: None,
            without_telemetry: false,
            invocations: 0,
            first: First::default(),
            is_taken: false,
        }
    }

    /// The start that a restore at `now` is.
    pub(super) fn restored(&self, now: EpochMs) -> Self {
        Self {
            origin: Origin::Restore,
            without_telemetry: self.without_telemetry,
            ..Self::new(InitType::SnapStart, now)
        }
    }

    /// When the start began: as its record says, or by our clock.
    pub(super) fn start(&self) -> EpochMs {
        self.started_at.unwrap_or(self.began_at)
    }

    /// What is known for the program that follows a panic.
    pub(super) fn life(&self) -> Life {
        Life {
            began_at: self.start(),
            is_restored: self.origin == Origin::Restore,
            invocations: self.invocations,
        }
    }

    /// Goes on with the environment of a program that panicked, which the start belongs to.
    pub(super) const fn resume(&mut self, life: Life) {
        if life.is_restored {
            self.origin = Origin::Restore;
        }
        self.began_at = life.began_at;
        self.invocations = life.invocations;
        self.is_taken = true;
    }

    /// `initStart` or `restoreStart`.
    pub(super) fn handle_phase_start(&mut self, time: Option<EpochMs>, start: &Members<'_>) {
        // The platform delivers a batch again when our answer was lost.
        if time.is_some() && time == self.started_at {
            return;
        }
        if self.failure.is_some() {
            self.predecessor = Some(Predecessor::FailedInit);
        }
        self.report = None;
        self.failure = None;
        self.runtime_done_at = None;
        self.started_at = time;
        let version = start.runtime_version.as_deref();
        self.runtime_version = version.map(|version| kept(version).to_owned());
        self.note_phase(start.initialization_type.as_deref(), start.phase.as_deref());
    }

    /// `initRuntimeDone` or `restoreRuntimeDone`.
    pub(super) fn handle_runtime_done(&mut self, time: Option<EpochMs>, end: &Members<'_>) {
        if let Some(outcome) = self.phase_outcome(time, end) {
            self.runtime_done_at = time;
            self.failure = outcome.and_then(Outcome::failure);
        }
    }

    /// `initReport` or `restoreReport`.
    pub(super) fn handle_phase_report(&mut self, time: Option<EpochMs>, end: &Members<'_>) {
        if let Some(outcome) = self.phase_outcome(time, end) {
            let duration_ms = end.metrics.duration_ms;
            self.report = Some(Report { time, duration_ms });
            // A report may lack the status; then the one of `initRuntimeDone` stands.
            if let Some(outcome) = outcome {
                self.failure = outcome.failure();
            }
        }
    }

    /// The outcome of a phase, as far as the record has one; `None` for a phase of the process that
    /// was here before.
    fn phase_outcome(
        &mut self,
        time: Option<EpochMs>,
        end: &Members<'_>,
    ) -> Option<Option<Outcome>> {
        let outcome = Outcome::of(end.status.as_deref(), end.error_type.as_deref());
        // No phase ends before this process begins.
        let is_earlier = time.is_some_and(|time| time < self.began_at);
        if is_earlier && self.origin == Origin::Init {
            if outcome.and_then(Outcome::failure).is_some() {
                self.predecessor = Some(Predecessor::FailedInit);
            }
            return None;
        }
        self.note_phase(end.initialization_type.as_deref(), end.phase.as_deref());
        Some(outcome)
    }

    fn note_phase(&mut self, init_type: Option<&str>, phase: Option<&str>) {
        if self.origin == Origin::Restore {
            return;
        }
        if init_type.is_some() {
            self.init_type = InitType::parse(init_type);
        }
        if let Some(phase) = phase {
            self.in_invoke = phase == "invoke";
        }
    }

    /// `runtimeDone` of an invocation.
    pub(super) fn handle_invocation_done(
        &mut self,
        request: Request,
        time: Option<EpochMs>,
        end: &Members<'_>,
    ) {
        if self.is_end_of_first(request, time) {
            self.first.duration_ms = end.metrics.duration_ms;
            #[cfg(any(feature = "traces", test))]
            {
                self.first.spans = end.spans;
            }
        }
    }

    /// `report` of an invocation.
    pub(super) fn handle_invocation_report(
        &mut self,
        request: Request,
        time: Option<EpochMs>,
        end: &Members<'_>,
    ) {
        if self.is_end_of_first(request, time) {
            self.first.metrics = Some(end.metrics);
        }
    }

    fn is_end_of_first(&mut self, request: Request, time: Option<EpochMs>) -> bool {
        let is_first = self.is_first(request);
        if is_first {
            self.first.ended_at = time;
        } else {
            self.first.is_passed = true;
        }
        is_first
    }

    /// `start` of an invocation.
    #[cfg(any(feature = "traces", test))]
    pub(super) fn handle_invocation_start(&mut self, request: Request, time: Option<EpochMs>) {
        if self.is_first(request) {
            self.first.started_at = time;
        }
    }

    /// The tenant of an invocation. An environment has one, if any.
    pub(super) fn handle_tenant(&mut self, tenant_id: Option<&str>) {
        if self.first.tenant_id.is_none() {
            self.first.tenant_id = tenant_id.map(|id| kept(id).to_owned());
        }
    }

    /// Whether the function is durable, as the version of its runtime says.
    pub(super) fn is_durable(&self) -> bool {
        let version = self.runtime_version.as_deref();
        version.is_some_and(|version| version.contains("DurableFunction"))
    }

    /// The trace header of an invocation.
    pub(super) fn handle_trace(&mut self, request: Request, trace: Option<&str>) {
        if self.is_first(request) && self.first.trace_id.is_none() {
            self.first.trace_id = trace.map(|trace| kept(trace).to_owned());
        }
    }

    /// An INVOKE event, at its time; or on Managed Instances the start of an invocation.
    pub(super) fn handle_invoke(&mut self, request_id: &str, now: Option<EpochMs>) {
        self.invocations += 1;
        if self.invocations == 1 {
            self.first.request = Some(Request::of(request_id));
            self.first.request_id = Some(kept(request_id).to_owned());
            self.first.invoked_at = now;
        }
    }

    pub(super) const fn handle_shutdown(&mut self, reason: Reason) {
        self.end = Some(reason);
    }

    pub(super) const fn is_managed(&self) -> bool {
        matches!(self.init_type, InitType::ManagedInstances)
    }

    fn is_first(&self, request: Request) -> bool {
        self.first.request == Some(request)
    }

    /// Whether the start is yet to be exported, and its report yet to come.
    pub(super) const fn awaits_report(&self) -> bool {
        !self.is_taken && self.report.is_none()
    }

    /// Whether the kind and the durations are as good as they will get.
    fn is_known(&self, now: EpochMs) -> bool {
        let has_failed = self.failure.is_some() && self.invocations == 0;
        let is_over = self.report.is_some() && (has_failed || self.is_unawaited());
        if self.end.is_some() || is_over {
            return true;
        }
        let has_substitute =
            self.without_telemetry || self.first.metrics.is_some() || self.first.is_passed;
        match self.invocations {
            0 => false,
            _ if has_substitute => true,
            // A freeze can hold the report back until the second invocation thaws us.
            1 | 2 => false,
            // By the third it would have come, unless the invocations are so short that the
            // platform had no time to send in any of them.
            _ => self.first.invoked_at.is_none_or(|since| {
                let waited_ms = now.0.saturating_sub(since.0);
                THAW_WAIT_MS <= waited_ms
            }),
        }
    }

    /// Decides the kind of this start, once, as soon as it is known.
    pub(super) fn take(&mut self, now: EpochMs) -> Option<Verdict> {
        if self.is_taken || !self.is_known(now) {
            return None;
        }
        self.is_taken = true;
        Some(self.verdict())
    }

    /// The kind of this start and its duration, by what is known of it.
    pub(super) fn verdict(&self) -> Verdict {
        let kind = self.kind();
        let (source, duration_ms) = self.duration(kind).unzip();
        Verdict {
            kind,
            duration_ms,
            source,
        }
    }

    /// The type of error of a start that failed.
    pub(super) fn failure(&self) -> &str {
        self.failure.as_deref().unwrap_or(UNKNOWN)
    }

    /// The records that the figures lack, by their names; empty if there are all.
    pub(super) fn missing(&self) -> String {
        if self.without_telemetry {
            return "telemetry".to_owned();
        }
        let [start, report] = match self.origin {
            Origin::Init => ["initStart", "initReport"],
            Origin::Restore => ["restoreStart", "restoreReport"],
        };
        let awaits_first = self.invocations != 0 && !self.is_unawaited();
        let records = [
            (self.started_at.is_none(), start),
            (self.report.is_none(), report),
            (awaits_first && self.first.metrics.is_none(), "report"),
        ];
        let missing = records.into_iter().filter(|(is_missing, _)| *is_missing);
        let missing: Vec<&str> = missing.map(|(_, name)| name).collect();
        missing.join(",")
    }

    /// The most memory that was used by the end of the first invocation.
    pub(super) fn memory_used(&self) -> Option<f64> {
        self.first.metrics?.max_memory_used_mb.map(|mb| mb * MIB)
    }

    /// Whether nobody waits for this start, so that it is exported without a first invocation.
    fn is_unawaited(&self) -> bool {
        let is_awaited = matches!(self.init_type, InitType::OnDemand | InitType::Other);
        self.origin == Origin::Init && !self.in_invoke && !is_awaited
    }

    /// Adds the figures of this start.
    pub(super) fn add(&self, verdict: Verdict, attributes: &[Attribute<'_>], series: &mut Series) {
        series.count(&m::ENVIRONMENT_STARTS, attributes);
        if verdict.kind.is_user_facing() {
            series.count(&m::COLD_STARTS, attributes);
        }
        if self.origin == Origin::Restore {
            series.add_known(&m::RESTORE_DURATION, attributes, verdict.duration_ms);
        } else {
            series.add_known(&m::INIT_DURATION, attributes, verdict.duration_ms);
            self.add_parts(attributes, series);
        }
        if let Some((first_ms, whole_ms)) = self.first_durations(verdict) {
            series.add(&m::FIRST_INVOCATION_DURATION, attributes, first_ms);
            let whole_ms = whole_ms.filter(|_| verdict.kind.is_user_facing());
            series.add_known(&m::COLD_START_DURATION, attributes, whole_ms);
        }
        if let Some(metrics) = self.first.metrics {
            series.add_known(
                &m::BILLED_INIT_DURATION,
                attributes,
                billed_init_ms(metrics),
            );
            let restore_ms = metrics.billed_restore_duration_ms;
            series.add_known(&m::BILLED_RESTORE_DURATION, attributes, restore_ms);
        }
    }

    /// The stamps between which the parts of the init are: its start, our registration, the end of
    /// the runtime's init, and the end of it all.
    ///
    /// The platform starts the runtime when all extensions are registered, and no record says when.
    /// Our own registration is the last moment before it that is known.
    pub(super) fn init_stamps(&self) -> [Option<EpochMs>; 4] {
        let ready = self.report.and_then(|_| self.ended_at());
        [
            self.started_at,
            self.registered_at,
            self.runtime_done_at,
            ready,
        ]
    }

    /// Adds the parts of the init.
    fn add_parts(&self, attributes: &[Attribute<'_>], series: &mut Series) {
        let mut part = |metric, from: Option<EpochMs>, to: Option<EpochMs>| {
            if let (Some(from), Some(to)) = (from, to) {
                // Stamps are rounded, and one part ends where the next begins.
                series.add(metric, attributes, float(to.0.saturating_sub(from.0)));
            }
        };
        let [started, registered, runtime_done, ready] = self.init_stamps();
        part(&m::INIT_BEFORE_RUNTIME_DURATION, started, registered);
        part(&m::INIT_RUNTIME_DURATION, registered, runtime_done);
        part(&m::INIT_EXTENSIONS_DURATION, runtime_done, ready);
    }

    /// The duration of the first invocation, and the one of that and what it waited for.
    pub(super) fn first_durations(&self, verdict: Verdict) -> Option<(f64, Option<f64>)> {
        if self.is_managed() {
            return None;
        }
        let report_ms = self.first.metrics.and_then(|metrics| metrics.duration_ms);
        if self.in_invoke && self.origin == Origin::Init {
            // The report of an invocation that waited for an init has that in its duration.
            let whole_ms = report_ms?;
            let first_ms = (whole_ms - verdict.duration_ms.unwrap_or(0.0)).max(0.0);
            return Some((first_ms, Some(whole_ms)));
        }
        // The duration of the report ends with the extensions, after the response.
        let first_ms = self.first.duration_ms.or(report_ms)?;
        Some((first_ms, verdict.duration_ms.map(|ms| ms + first_ms)))
    }

    fn kind(&self) -> Kind {
        let never_invoked = self.invocations == 0;
        let was_cut_short = self.report.is_none()
            && match self.end {
                Some(Reason::Timeout | Reason::Crash) => true,
                // Emulators that deliver no telemetry start an environment only for an invocation.
                Some(Reason::Spindown) => self.without_telemetry,
                Some(Reason::Other) | None => false,
            };
        if never_invoked && (self.failure.is_some() || was_cut_short) && !self.is_managed() {
            return Kind::InitFailure;
        }
        let ahead = never_invoked || self.is_ahead_of_demand();
        if self.origin == Origin::Restore {
            return if ahead {
                Kind::SnapStartProactive
            } else {
                Kind::SnapStartRestore
            };
        }
        let unforced = match self.init_type {
            InitType::ManagedInstances if self.failure.is_some() => return Kind::InitFailure,
            InitType::ManagedInstances => return Kind::ManagedInstances,
            InitType::ProvisionedConcurrency => Some(Kind::ProvisionedConcurrency),
            InitType::SnapStart => Some(Kind::SnapStartInit),
            InitType::OnDemand | InitType::Other => ahead.then_some(Kind::Proactive),
        };
        match (unforced, self.predecessor) {
            (Some(kind), _) if !self.in_invoke => kind,
            (_, Some(Predecessor::Timeout)) => Kind::ResetAfterTimeout,
            (_, Some(Predecessor::Crash | Predecessor::OutOfMemory)) => Kind::ResetAfterCrash,
            (_, Some(Predecessor::FailedInit) | None) if self.in_invoke => {
                Kind::InitRetriedInInvoke
            }
            _ if self.init_type == InitType::Other => Kind::Other,
            (_, Some(Predecessor::FailedInit) | None) => Kind::OnDemand,
        }
    }

    /// Whether nobody can have waited: the first invocation came long after the end.
    fn is_ahead_of_demand(&self) -> bool {
        // Without any telemetry, the whole time from the start counts: an init that an invocation
        // waits for has a limit, and it is the same.
        let ended = self.ended_at().unwrap_or(self.began_at);
        let invoked = self.first.invoked_at.unwrap_or(ended);
        PROACTIVE_GAP_MS < invoked.0.saturating_sub(ended.0)
    }

    /// When init or restore was over, as far as telemetry says.
    fn ended_at(&self) -> Option<EpochMs> {
        let report = self.report;
        let computed = self
            .started_at
            .zip(report.and_then(|report| report.duration_ms));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a duration is not negative and has a limit"
        )]
        let computed = computed.map(|(start, ms)| EpochMs(start.0.saturating_add(ms as u64)));
        computed
            .or_else(|| report.and_then(|report| report.time))
            .or(self.runtime_done_at)
    }

    /// The duration of init or restore from the best source there is, and the name of the source.
    fn duration(&self, kind: Kind) -> Option<(&'static str, f64)> {
        let invocation = self.first.metrics.and_then(|metrics| match self.origin {
            Origin::Init => metrics.init_duration_ms,
            Origin::Restore => metrics.restore_duration_ms,
        });
        // The first event says when it was over only if somebody waited for it.
        let invoked_at = self.first.invoked_at.filter(|_| kind.is_user_facing());
        let sources = [
            (
                "phase_report",
                self.report.and_then(|report| report.duration_ms),
            ),
            ("invocation_report", invocation),
            ("stamps", between(self.started_at, self.runtime_done_at)),
            (CLOCK, between(Some(self.start()), invoked_at)),
        ];
        sources
            .into_iter()
            .find_map(|(source, ms)| Some((source, ms?)))
    }
}

/// The billed duration contains the init since that is billed: the part above the invocation's own.
/// <https://aws.amazon.com/blogs/compute/aws-lambda-standardizes-billing-for-init-phase/>
fn billed_init_ms(metrics: Metrics) -> Option<f64> {
    metrics.init_duration_ms?;
    let rest = metrics.billed_duration_ms? - metrics.duration_ms?.ceil();
    Some(rest).filter(|rest| 0.0 < *rest)
}

/// Milliseconds from one time to another that is not before it.
fn between(from: Option<EpochMs>, to: Option<EpochMs>) -> Option<f64> {
    to?.0.checked_sub(from?.0).map(float)
}

/// A gap between the end of init and the first invocation above which nobody waited: the limit of
/// an init that somebody waits for.
/// <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html#runtimes-lifecycle-ib>
const PROACTIVE_GAP_MS: u64 = 10_000;

/// If no report of the first invocation has come this long after it, stop waiting at the third.
/// Four buffering intervals of the subscription.
const THAW_WAIT_MS: u64 = 100;

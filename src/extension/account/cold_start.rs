//! One start of an environment: what is known about it, and what kind it was.
//!
//! # What can be known
//!
//! Telemetry, INVOKE events and SHUTDOWN come on three connections and in any order, and each may
//! be late or missing. So everything heard is kept, and the kind is decided once, when it is
//! asked for and either `initReport` or a substitute is there.
//!
//! A process does not outlive a reset: the one that was interrupted hears SHUTDOWN, and the one
//! after it sees an init of its own whose phase is `invoke`. That alone says that an earlier init
//! or invocation went wrong, not which. It is told apart only by a [`Predecessor`]: records of the
//! earlier process that the platform delivers late to the same port, or a caller that knows, as
//! from the note that the earlier process left when it heard why it ends. With neither, as after
//! one that was killed before it heard anything, the kind is `init_retried_in_invoke`.

use super::invocations::Request;
use super::outcome::{Outcome, Status};
use super::series::{Attribute, Series};
use super::{cut, float, string};
use crate::extension::metric::catalogue as m;
use crate::extension::settings::InitType;
use crate::extension::telemetry::{self, Field, Record};
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
    /// It failed; the invocation that waited, if one did, waits for the next, and is counted there.
    InitFailure,
    ResetAfterTimeout,
    ResetAfterCrash,
    /// The init of which a snapshot is made, when a version is published.
    SnapStartInit,
    SnapStartRestore,
    /// A restore ahead of demand.
    SnapStartProactive,
    ManagedInstances,
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
        }
    }

    /// Whether an invocation waited for it that was then served.
    pub(super) const fn is_user_facing(self) -> bool {
        match self {
            Self::OnDemand
            | Self::InitRetriedInInvoke
            | Self::ResetAfterTimeout
            | Self::ResetAfterCrash
            | Self::SnapStartRestore => true,
            Self::Proactive
            | Self::ProvisionedConcurrency
            | Self::InitFailure
            | Self::SnapStartInit
            | Self::SnapStartProactive
            | Self::ManagedInstances => false,
        }
    }
}

/// What was in this environment before this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Predecessor {
    /// An init that failed.
    FailedInit,
    /// An invocation that timed out.
    Timeout,
    /// An invocation in which the runtime or an extension exited.
    Crash,
}

/// Whether this process was started, or thawed out of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Init,
    Restore,
}

/// The source of a duration when nothing but our own clock tells.
pub(super) const CLOCK: &str = "clock";

/// One start of an environment.
#[derive(Debug)]
pub(super) struct ColdStart {
    pub(super) origin: Origin,
    init_type: InitType,
    /// When this process started or was restored, by our clock.
    pub(super) began_at: EpochMs,
    /// When the platform said it began.
    pub(super) started_at: Option<EpochMs>,
    /// When `register` was answered, after which the runtime may start.
    pub(super) registered_at: Option<EpochMs>,
    pub(super) runtime_version: Option<String>,
    /// Whether an invocation waits for this init in the place of an earlier one.
    in_invoke: bool,
    pub(super) predecessor: Option<Predecessor>,
    runtime_done_at: Option<EpochMs>,
    report: Option<Report>,
    /// The type of error with which init or restore failed.
    failure: Option<String>,
    /// Once the environment ends, whether that is because of something that went wrong.
    cut_short: Option<bool>,
    pub(super) without_telemetry: bool,
    /// INVOKE events, or on Managed Instances starts of invocations.
    pub(super) invocations: u64,
    pub(super) first: First,
    /// What has been told, once it has.
    pub(super) told: Option<Told>,
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
    pub(super) invoked_at: Option<EpochMs>,
    /// Of `runtimeDone`.
    pub(super) duration_ms: Option<f64>,
    pub(super) report: Option<Reported>,
    /// Whether there is nothing to add of it, or of its bill, to what is told of the start.
    is_told: bool,
    bill_is_told: bool,
}

/// What is kept of the report of the first invocation.
const REPORTED: [Field; 5] = [
    Field::DurationMs,
    Field::BilledDurationMs,
    Field::InitDurationMs,
    Field::RestoreDurationMs,
    Field::BilledRestoreDurationMs,
];

type Reported = [Option<f64>; REPORTED.len()];

/// What is told of a start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub(super) kind: Kind,
    /// Of init or restore, and where that is from.
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
            cut_short: None,
            without_telemetry: false,
            invocations: 0,
            first: First::default(),
            told: None,
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

    /// Tells nothing: an earlier program of this process did, or was to.
    pub(super) fn keep_silent(&mut self) {
        self.told = Some(Told {
            kind: Kind::OnDemand,
            duration_ms: None,
            source: None,
        });
        self.first.is_told = true;
        self.first.bill_is_told = true;
    }

    /// `initStart`, or `restoreStart`.
    pub(super) fn start(&mut self, record: &Record<'_>) {
        let time = record.time();
        // A delivery of which our answer was lost comes again.
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
        self.runtime_version = string(record, Field::RuntimeVersion);
        self.phase(record);
    }

    /// `initRuntimeDone` or `initReport`, or those of a restore.
    pub(super) fn ended(&mut self, record: &Record<'_>) {
        let time = record.time();
        let outcome = Outcome::of(record);
        let is_told = outcome.is_some();
        let failure = outcome.filter(|outcome| outcome.status != Status::Success);
        let failure = failure.map(|outcome| outcome.error_type);
        // No phase ends before this process begins, so one that did was of the process before.
        let earlier = time.is_some_and(|time| time < self.began_at) && self.origin == Origin::Init;
        if earlier {
            if failure.is_some() {
                self.predecessor = Some(Predecessor::FailedInit);
            }
            return;
        }
        self.phase(record);
        let is_report = matches!(
            record.kind,
            telemetry::Kind::InitReport | telemetry::Kind::RestoreReport
        );
        if is_report {
            let duration_ms = record.number(Field::DurationMs);
            self.report = Some(Report { time, duration_ms });
        } else {
            self.runtime_done_at = time;
        }
        // RAPID's own report has no status; what the runtime's end said then stands.
        if is_told || !is_report {
            self.failure = failure;
        }
    }

    fn phase(&mut self, record: &Record<'_>) {
        if self.origin == Origin::Restore {
            return;
        }
        let init_type = record.text(Field::InitializationType);
        if init_type.is_some() {
            self.init_type = InitType::parse(init_type.as_deref());
        }
        if let Some(phase) = record.text(Field::Phase) {
            self.in_invoke = phase == "invoke";
        }
    }

    /// The end of an invocation, for the runtime or for all.
    pub(super) fn invocation_ended(&mut self, request: Request, record: &Record<'_>) {
        if !self.is_first(request) {
            return;
        }
        if record.kind == telemetry::Kind::Report {
            self.first.report = Some(REPORTED.map(|field| record.number(field)));
        } else {
            self.first.duration_ms = record.number(Field::DurationMs);
        }
    }

    /// What an invocation is part of.
    pub(super) fn trace(&mut self, request: Request, record: &Record<'_>) {
        if self.is_first(request) && self.first.trace_id.is_none() {
            self.first.trace_id = string(record, Field::TraceId);
        }
    }

    pub(super) fn invoke(&mut self, request_id: &str, now: Option<EpochMs>) {
        self.invocations += 1;
        if self.invocations == 1 {
            self.first.request = Some(Request::of(request_id));
            self.first.request_id = Some(cut(request_id));
            self.first.invoked_at = now;
        }
    }

    pub(super) fn shutdown(&mut self, reason: &str) {
        self.cut_short = Some(matches!(reason, "failure" | "timeout"));
    }

    pub(super) const fn is_managed(&self) -> bool {
        matches!(self.init_type, InitType::ManagedInstances)
    }

    pub(super) const fn is_snap_start(&self) -> bool {
        matches!(self.init_type, InitType::SnapStart)
    }

    fn is_first(&self, request: Request) -> bool {
        self.first.request == Some(request)
    }

    /// Whether this start is yet to be told, and the platform yet to say how long it took.
    pub(super) const fn awaits_report(&self) -> bool {
        self.told.is_none() && self.report.is_none()
    }

    /// Whether the kind and the duration are as good as they will get.
    fn is_known(&self, now: EpochMs) -> bool {
        if self.told.is_some() {
            return false;
        }
        let failed = self.failure.is_some() && self.invocations == 0;
        // Nobody waits for these, so the time of the first invocation says nothing about them.
        let unawaited =
            self.origin == Origin::Init && !self.in_invoke && self.init_type != InitType::OnDemand;
        let waited = |since: EpochMs| REPORT_WAIT_MS <= now.0.saturating_sub(since.0);
        if self.cut_short.is_some() || (self.report.is_some() && (failed || unawaited)) {
            return true;
        }
        match self.invocations {
            0 => false,
            _ if self.report.is_some() => true,
            _ if self.without_telemetry || self.first.report.is_some() => true,
            // The report may have been held back by a freeze, out of which the second invocation
            // thaws it: by the third it has had its time.
            1 => self.first.invoked_at.is_some_and(waited),
            2 => false,
            // Invocations may be so short that the platform had no time in any of them.
            _ => self
                .first
                .invoked_at
                .is_none_or(|since| THAW_WAIT_MS <= now.0.saturating_sub(since.0)),
        }
    }

    /// Decides what this start was, once, as soon as it is known.
    pub(super) fn tell(&mut self, now: EpochMs) -> Option<Told> {
        if self.is_known(now) {
            let kind = self.kind();
            let (source, duration_ms) = self.duration(kind).unzip();
            self.told = Some(Told {
                kind,
                duration_ms,
                source,
            });
            return self.told;
        }
        None
    }

    /// The type of error of a start that failed.
    pub(super) fn failure(&self) -> &str {
        self.failure.as_deref().unwrap_or(UNKNOWN)
    }

    /// Adds what is known of the start, but for its first invocation.
    ///
    /// The runtime is started when all extensions are registered, which nothing tells. Our own
    /// registration is the last moment before it that we know of.
    pub(super) fn add(&self, told: Told, attributes: &[Attribute<'_>], series: &mut Series) {
        series.count(&m::ENVIRONMENT_STARTS, attributes);
        if told.kind.is_user_facing() {
            series.count(&m::COLD_STARTS, attributes);
        }
        if self.origin == Origin::Restore {
            series.add_known(&m::RESTORE_DURATION, attributes, told.duration_ms);
            return;
        }
        series.add_known(&m::INIT_DURATION, attributes, told.duration_ms);
        let mut part = |metric, from: Option<EpochMs>, to: Option<EpochMs>| {
            if let (Some(from), Some(to)) = (from, to) {
                // Stamps are rounded, and one part ends where the next begins.
                series.add(metric, attributes, float(to.0.saturating_sub(from.0)));
            }
        };
        let ready = self.report.and_then(|_| self.ended_at());
        let (registered, runtime_done) = (self.registered_at, self.runtime_done_at);
        part(
            &m::INIT_BEFORE_RUNTIME_DURATION,
            self.started_at,
            registered,
        );
        part(&m::INIT_RUNTIME_DURATION, registered, runtime_done);
        part(&m::INIT_EXTENSIONS_DURATION, runtime_done, ready);
    }

    /// Adds what the first invocation and its bill tell about a start that has been told, once.
    pub(super) fn add_first(&mut self, attributes: &[Attribute<'_>], series: &mut Series) {
        let Some(told) = self.told else {
            return;
        };
        if !self.first.is_told
            && let Some((first_ms, whole_ms)) = self.first_durations(told)
        {
            self.first.is_told = true;
            series.add(&m::FIRST_INVOCATION_DURATION, attributes, first_ms);
            let whole_ms = whole_ms.filter(|_| told.kind.is_user_facing());
            series.add_known(&m::COLD_START_DURATION, attributes, whole_ms);
        }
        if !self.first.bill_is_told
            && let Some(report) = self.first.report
        {
            self.first.bill_is_told = true;
            let [.., restore_ms] = report;
            series.add_known(&m::BILLED_INIT_DURATION, attributes, billed_init_ms(report));
            series.add_known(&m::BILLED_RESTORE_DURATION, attributes, restore_ms);
        }
    }

    /// How long the first invocation took, and how long together with what it waited for.
    fn first_durations(&self, told: Told) -> Option<(f64, Option<f64>)> {
        if self.is_managed() {
            return None;
        }
        let report_ms = self.first.report.and_then(|[duration_ms, ..]| duration_ms);
        if self.in_invoke && self.origin == Origin::Init {
            // The report of an invocation that waited for an init has that in its duration.
            let whole_ms = report_ms?;
            let first_ms = (whole_ms - told.duration_ms.unwrap_or(0.0)).max(0.0);
            return Some((first_ms, Some(whole_ms)));
        }
        // The response is on its way before the report's time is up, which is that of extensions.
        let first_ms = self.first.duration_ms.or(report_ms)?;
        Some((first_ms, told.duration_ms.map(|ms| ms + first_ms)))
    }

    fn kind(&self) -> Kind {
        let never_invoked = self.invocations == 0;
        // With no word of an init that succeeded.
        let cut_short = self.report.is_none() && self.cut_short == Some(true);
        if never_invoked && (self.failure.is_some() || cut_short) && !self.is_managed() {
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
            InitType::OnDemand => ahead.then_some(Kind::Proactive),
        };
        match (unforced, self.predecessor) {
            (Some(kind), _) if !self.in_invoke => kind,
            (_, Some(Predecessor::Timeout)) => Kind::ResetAfterTimeout,
            (_, Some(Predecessor::Crash)) => Kind::ResetAfterCrash,
            (_, Some(Predecessor::FailedInit) | None) if self.in_invoke => {
                Kind::InitRetriedInInvoke
            }
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

    /// When init or restore was over, as far as telemetry told.
    fn ended_at(&self) -> Option<EpochMs> {
        let report = self.report;
        let computed = self
            .started_at
            .zip(report.and_then(|report| report.duration_ms));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "durations are not negative, and a number too large becomes the largest"
        )]
        let computed = computed.map(|(start, ms)| EpochMs(start.0.saturating_add(ms as u64)));
        computed
            .or_else(|| report.and_then(|report| report.time))
            .or(self.runtime_done_at)
    }

    /// The duration of init or restore, from the best source there is, and which that is.
    fn duration(&self, kind: Kind) -> Option<(&'static str, f64)> {
        let invocation = self.first.report.and_then(|report| {
            let [_, _, init_ms, restore_ms, _] = report;
            match self.origin {
                Origin::Init => init_ms,
                Origin::Restore => restore_ms,
            }
        });
        // The first event says when it was over only if somebody waited for it.
        let invoked_at = self.first.invoked_at.filter(|_| kind.is_user_facing());
        let began_at = self.started_at.or(Some(self.began_at));
        let sources = [
            (
                "phase_report",
                self.report.and_then(|report| report.duration_ms),
            ),
            ("invocation_report", invocation),
            ("stamps", between(self.started_at, self.runtime_done_at)),
            (CLOCK, between(began_at, invoked_at)),
        ];
        sources
            .into_iter()
            .find_map(|(source, ms)| Some((source, ms?)))
    }
}

/// The billed duration holds init since that is billed; what is above the invocation's own is it.
/// <https://aws.amazon.com/blogs/compute/aws-lambda-standardizes-billing-for-init-phase/>
fn billed_init_ms([duration_ms, billed_ms, init_ms, ..]: Reported) -> Option<f64> {
    init_ms?;
    let rest = billed_ms? - duration_ms?.ceil();
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

/// How long the first invocation may run before a report of its init is not waited for any more.
/// It is sent before the invocation starts, and held back for some tens of milliseconds.
const REPORT_WAIT_MS: u64 = 10_000;

/// How long after the first invocation the third may be told without it: four times the delay of
/// the subscription.
const THAW_WAIT_MS: u64 = 100;

/// The type of an error that nothing tells.
pub(super) const UNKNOWN: &str = "unknown";

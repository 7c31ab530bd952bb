//! When figures are taken from the accounting. Pure: time is an argument.
//!
//! A cold start is taken as soon as it is known, warm figures once in an interval, when there are
//! many, and at the end.

use std::time::Duration;

use crate::extension::account::{Accounting, Predecessor};
use crate::extension::metric::{Batch, Resource};
use crate::extension::own_usage::OwnUsage;
use crate::extension::system_usage::SystemUsage;
use crate::extension::telemetry::{Malformed, Record};
#[cfg(any(feature = "traces", test))]
use crate::extension::trace::Trace;
use crate::shared::time::{Deadline, EpochMs};

/// The accounting of an environment, and the clock of its exports.
#[derive(Debug)]
pub(super) struct Reporter {
    accounting: Accounting,
    interval: Duration,
    /// The time of the last export of warm figures.
    exported_at: EpochMs,
}

impl Reporter {
    /// Takes warm figures once in each `interval`, the first of which begins at `now`.
    pub(super) const fn new(accounting: Accounting, interval: Duration, now: EpochMs) -> Self {
        Self {
            accounting,
            interval,
            exported_at: now,
        }
    }

    /// The function and environment that the figures belong to.
    pub(super) const fn resource(&self) -> &Resource {
        &self.accounting.resource
    }

    /// An INVOKE event came.
    pub(super) fn handle_invoke(
        &mut self,
        request_id: &str,
        deadline: Option<Deadline>,
        function_arn: Option<String>,
        now: EpochMs,
    ) {
        self.accounting.handle_invoke(request_id, deadline, now);
        let resource = &mut self.accounting.resource;
        if resource.function_arn.is_empty() {
            resource.function_arn = function_arn.unwrap_or_default();
        }
    }

    /// A telemetry record came, or something in its place.
    pub(super) fn handle_record(&mut self, record: Result<Record<'_>, Malformed>, now: EpochMs) {
        match record {
            Ok(record) => self.accounting.handle_record(&record, now),
            Err(Malformed) => self.accounting.handle_malformed_record(),
        }
    }

    /// A delivery was lost: refused, malformed, or cut off. Its bytes are 0 where they are unknown.
    pub(super) fn handle_lost_delivery(&mut self, bytes: u64) {
        self.accounting.handle_lost_delivery(bytes);
    }

    /// The availability zone is this one.
    pub(super) fn handle_zone(&mut self, zone: String) {
        self.accounting.resource.availability_zone = zone;
    }

    /// SHUTDOWN came, and the last telemetry that was waited for.
    pub(super) fn handle_shutdown(&mut self, reason: &str, now: EpochMs) {
        self.accounting.handle_shutdown(reason, now);
    }

    /// Whether the process was restored from a snapshot since this was last asked. What was counted
    /// and exported before belongs to the snapshot; `usage` is what the process has used for it.
    pub(super) fn take_restore(&mut self, now: EpochMs, usage: impl FnOnce() -> OwnUsage) -> bool {
        let is_restored = self.accounting.take_restored();
        if is_restored {
            self.exported_at = now;
            self.handle_own_usage(usage());
        }
        is_restored
    }

    /// What all processes of the environment use, and the time that it took to ask.
    pub(super) fn handle_system_usage(&mut self, usage: SystemUsage, took: Duration) {
        self.accounting.handle_system_usage(usage, took);
    }

    /// A cold start, once it is known.
    pub(super) fn take_cold_start(&mut self, now: EpochMs) -> Option<Batch> {
        self.accounting.take_cold_start(now)
    }

    /// The trace of the cold start that was taken.
    #[cfg(any(feature = "traces", test))]
    pub(super) fn trace(&self) -> Trace {
        self.accounting.trace()
    }

    /// Whether warm figures are due. A clock that was put back must not hold them up.
    pub(super) fn is_interval_due(&self, now: EpochMs) -> bool {
        let since = now.0.checked_sub(self.exported_at.0);
        let is_over = since.is_none_or(|ms| self.interval <= Duration::from_millis(ms));
        is_over || self.accounting.interval_is_full()
    }

    /// The warm figures since the last call, with what the process has used.
    pub(super) fn take_interval(&mut self, now: EpochMs, usage: OwnUsage) -> Option<Batch> {
        self.exported_at = now;
        self.handle_own_usage(usage);
        self.accounting.take_interval(now)
    }

    fn handle_own_usage(&mut self, usage: OwnUsage) {
        let cpu_ms = usage.cpu_time.as_secs_f64() * 1e3;
        let peak = usage.peak_memory_bytes.map(super::account::float);
        self.accounting.handle_own_usage(cpu_ms, peak);
    }

    /// Whether a report of an invocation or of the start is still to come.
    pub(super) fn awaits_report(&self) -> bool {
        self.accounting.awaits_report()
    }

    /// What the process after this one should know, if there is one.
    pub(super) fn note_for_successor(&self, reason: &str) -> Option<Predecessor> {
        self.accounting.note_for_successor(reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extension::settings::InitType;

    const NOW: EpochMs = EpochMs(1_781_009_600_000);

    fn reporter() -> Reporter {
        let accounting = Accounting::new(InitType::OnDemand, NOW);
        Reporter::new(accounting, Duration::from_secs(60), NOW)
    }

    fn names(batch: Option<Batch>) -> Vec<&'static str> {
        let points = batch.map(|batch| batch.points).unwrap_or_default();
        points.iter().map(|point| point.metric.name).collect()
    }

    #[test]
    fn warm_figures_are_due_once_in_an_interval() {
        let mut reporter = reporter();
        let at = |ms| EpochMs(NOW.0 + ms);
        assert!(!reporter.is_interval_due(at(59_999)));
        assert!(reporter.is_interval_due(at(60_000)));
        reporter.handle_lost_delivery(5);
        let taken = names(reporter.take_interval(at(70_000), OwnUsage::default()));
        assert_eq!(taken, ["dropped_deliveries", "dropped_bytes"]);
        assert!(!reporter.is_interval_due(at(129_999)));
        assert!(reporter.is_interval_due(at(130_000)));
    }

    #[test]
    fn a_clock_that_is_put_back_holds_up_nothing() {
        let mut reporter = reporter();
        let earlier = EpochMs(NOW.0 - 3_600_000);
        assert!(reporter.is_interval_due(earlier));
        reporter.take_interval(earlier, OwnUsage::default());
        assert!(!reporter.is_interval_due(earlier));
    }

    #[test]
    fn what_the_process_used_is_told_as_a_difference() {
        let mut reporter = reporter();
        let usage = |ms| OwnUsage {
            cpu_time: Duration::from_millis(ms),
            peak_memory_bytes: Some(400_000),
        };
        for (so_far, expected) in [(5, 5.0), (5, 0.0), (12, 7.0)] {
            let batch = reporter.take_interval(NOW, usage(so_far)).unwrap();
            let cpu = batch.points.iter();
            let mut cpu = cpu.filter(|point| point.metric.name == "extension_cpu_time");
            let found = cpu.next().map_or(0.0, |point| point.values[0]);
            assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        }
    }
}

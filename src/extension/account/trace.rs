//! The spans of a start, from the same facts as its figures.

use super::cold_start::{ColdStart, Origin};
use crate::extension::trace::{Parent, Span, Trace};
use crate::shared::time::EpochMs;

impl ColdStart {
    /// The trace of this start, once its kind is decided.
    ///
    /// An invocation that nobody kept waiting is no part of it: it may have come hours later.
    pub(super) fn trace(&self) -> Trace {
        let verdict = self.verdict();
        let is_cold_start = verdict.kind.is_user_facing();
        let began = ns(self.start());
        let ended = began + ms(verdict.duration_ms.unwrap_or(0.0));
        let mut tree = Tree(vec![Span {
            name: "environment start",
            parent: ROOT,
            start_ns: began,
            end_ns: ended,
        }]);
        if self.origin == Origin::Restore {
            if let Some(restore) = tree.add(ROOT, "restore", began, ended) {
                tree.add_between(
                    restore,
                    "restore runtime",
                    self.started_at,
                    self.runtime_done_at,
                );
            }
        } else if let Some(init) = tree.add(ROOT, "init", began, ended) {
            let [start, registered, runtime_done, ready] = self.init_stamps();
            tree.add_between(init, "init before runtime", start, registered);
            tree.add_between(init, "init runtime", registered, runtime_done);
            tree.add_between(init, "init extensions", runtime_done, ready);
        }
        let first = self.first_durations(verdict).filter(|_| is_cold_start);
        if let Some((first_ms, _)) = first {
            self.add_first(&mut tree, ended, first_ms);
        }
        let header = self.first.trace_id.as_deref().filter(|_| is_cold_start);
        Trace {
            is_cold_start,
            parent: header.and_then(Parent::parse),
            spans: tree.0,
        }
    }

    /// Adds the first invocation, and widens the root to it. It may have begun before the init that
    /// it waited for, and is not served before the end of that.
    fn add_first(&self, tree: &mut Tree, ready_ns: u64, first_ms: f64) {
        let invoked = self.first.started_at.or(self.first.invoked_at).map(ns);
        let start = invoked.unwrap_or(ready_ns).max(ready_ns);
        let end = start + ms(first_ms);
        if let Some(root) = tree.0.first_mut() {
            root.start_ns = root.start_ns.min(invoked.unwrap_or(start));
            root.end_ns = root.end_ns.max(end);
        }
        let Some(invocation) = tree.add(ROOT, "first invocation", start, end) else {
            return;
        };
        let mut from = start;
        // One begins where the one before it ends.
        for (name, duration_ms) in [
            ("response latency", self.first.spans.response_latency_ms),
            ("response", self.first.spans.response_duration_ms),
            ("runtime overhead", self.first.spans.runtime_overhead_ms),
        ] {
            let Some(duration_ms) = duration_ms else {
                break;
            };
            let to = from + ms(duration_ms);
            tree.add(invocation, name, from, to);
            from = to;
        }
    }
}

/// The spans so far.
struct Tree(Vec<Span>);

impl Tree {
    /// Adds a span, and gives its place. Stamps are rounded and come from two clocks, so it is cut
    /// to the time of its parent; if nothing is left of it, it is left out.
    fn add(
        &mut self,
        parent: usize,
        name: &'static str,
        start_ns: u64,
        end_ns: u64,
    ) -> Option<usize> {
        let within = self.0.get(parent)?;
        let start_ns = start_ns.max(within.start_ns);
        let end_ns = end_ns.min(within.end_ns);
        (start_ns < end_ns).then(|| {
            self.0.push(Span {
                name,
                parent,
                start_ns,
                end_ns,
            });
            self.0.len() - 1
        })
    }

    fn add_between(
        &mut self,
        parent: usize,
        name: &'static str,
        from: Option<EpochMs>,
        to: Option<EpochMs>,
    ) {
        if let (Some(from), Some(to)) = (from, to) {
            self.add(parent, name, ns(from), ns(to));
        }
    }
}

/// A stamp in nanoseconds, at most 292 years after the epoch, so that no sum of two overflows.
const fn ns(EpochMs(ms): EpochMs) -> u64 {
    let ns = ms.saturating_mul(1_000_000);
    if ns < NS_MAX { ns } else { NS_MAX }
}

/// A duration in nanoseconds, rounded to microseconds as the metrics are.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a duration is not negative and has a limit; it saturates"
)]
const fn ms(duration_ms: f64) -> u64 {
    let us = (duration_ms * 1_000.0 + 0.5) as u64;
    let ns = us.saturating_mul(1_000);
    if ns < NS_MAX { ns } else { NS_MAX }
}

/// The place of the root.
const ROOT: usize = 0;

/// The largest stamp and duration. A response is at most three durations and a stamp.
const NS_MAX: u64 = u64::MAX / 8;

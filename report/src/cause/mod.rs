//! The cause of each start, completed by what the other environments of the function did.
//!
//! docs/report.md has the same rules for the reader of a report.

mod activity;

use std::collections::BTreeMap;

pub(crate) use self::activity::{Activity, Second};
use crate::ledger::{Ledger, Name, Start};

/// The cause of a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cause {
    pub(crate) name: Name,
    /// Whether it was concluded from other environments, not told by its own.
    pub(crate) is_inferred: bool,
    /// Since when nobody used the version, for a start after idleness.
    pub(crate) idle_since_ms: Option<i64>,
}

/// For how long nobody used a version before a start is one after idleness. Lambda keeps an idle
/// environment for some minutes at least.
const IDLE_MS_MIN: i64 = 5 * 60_000;

/// How old an environment is at least that was replaced after its lifetime. Lambda ends an
/// environment after some hours, also one that is in use.
const LIFETIME_MS_MIN: i64 = 90 * 60_000;

/// How many environments in use a deployment replaces at least that is told from a scale-out.
const REPLACED_MIN: usize = 3;

/// How long after a deployment its first environment is in use at least.
const DEPLOYED_MS_MIN: i64 = 60_000;

/// The causes of all starts, in their order.
pub(crate) fn causes(ledger: &mut Ledger, activity: &Activity) -> Vec<Cause> {
    let groups = Groups::of(ledger);
    // The causes of the rules have names of their own.
    let mut names = ledger.names.clone();
    let mut causes = Vec::with_capacity(ledger.starts.len());
    for (at, start) in ledger.starts.iter().enumerate() {
        let (rule, is_inferred, idle_since_ms) = groups.rule(ledger, activity, at, start);
        let told = start.cause.map(|name| ledger.names.text(name));
        let is_final = match told {
            // The environment knows its own end best, and that something had failed in it.
            Some(told) if told == EARLIER_FAILURE || !COMPLETED.contains(&told) => true,
            // It knows at least that an invocation waited.
            told => told.is_some() && rule == UNKNOWN,
        };
        causes.push(match start.cause {
            Some(name) if is_final => Cause {
                name,
                is_inferred: start.cause_is_inferred,
                idle_since_ms: None,
            },
            Some(_) | None => Cause {
                name: names.name(rule),
                is_inferred,
                idle_since_ms,
            },
        });
    }
    ledger.names = names;
    causes
}

const UNKNOWN: &str = "unknown";

const EARLIER_FAILURE: &str = "earlier_failure";

/// The causes that an environment tells where it knows no more: its log and the others complete
/// them.
pub(crate) const COMPLETED: [&str; 3] = ["demand", EARLIER_FAILURE, UNKNOWN];

/// The environments of one version of a function, in the order in which they began.
#[derive(Debug, Default)]
struct Group {
    /// When each began, and when the last invocation began of all up to it.
    begun: Vec<(i64, i64)>,
    /// When the last invocation began of all from it on.
    rest: Vec<i64>,
    /// When the last invocation began of each, in order.
    last: Vec<i64>,
}

/// All versions.
#[derive(Debug, Default)]
struct Groups {
    versions: BTreeMap<(Name, Name), Group>,
    /// When each function was first seen, by version.
    first: BTreeMap<Name, Vec<(i64, Name)>>,
}

impl Groups {
    fn of(ledger: &Ledger) -> Self {
        let mut all = Self::default();
        for environment in &ledger.environments {
            let (Some((first, _)), Some(last)) = (environment.seen_ms, environment.last_begin_ms)
            else {
                continue;
            };
            let function = environment.function.unwrap_or(Name::UNKNOWN);
            let version = environment.version.unwrap_or(Name::UNKNOWN);
            let group = all.versions.entry((function, version)).or_default();
            group.begun.push((first, last));
        }
        for ((function, version), group) in &mut all.versions {
            group.begun.sort_unstable();
            group.last = group.begun.iter().map(|(_, last)| *last).collect();
            group.last.sort_unstable();
            group.rest = group.begun.iter().map(|(_, last)| *last).collect();
            let mut last = i64::MIN;
            for at in (0..group.rest.len()).rev() {
                last = last.max(group.rest[at]);
                group.rest[at] = last;
            }
            let mut last = i64::MIN;
            for (_, of) in &mut group.begun {
                last = last.max(*of);
                *of = last;
            }
            if let Some((first, _)) = group.begun.first() {
                all.first
                    .entry(*function)
                    .or_default()
                    .push((*first, *version));
            }
        }
        all
    }

    /// The cause that the rules give, whether it is inferred, and since when nobody was there.
    fn rule(
        &self,
        ledger: &Ledger,
        activity: &Activity,
        at: usize,
        start: &Start,
    ) -> (&'static str, bool, Option<i64>) {
        match ledger.names.text(start.kind) {
            "provisioned_concurrency" => return ("provisioned_concurrency", false, None),
            "managed_instances" => return ("managed_instances", false, None),
            "proactive" | "snap_start_proactive" => {
                return ("ahead_of_demand", !start.is_measured, None);
            }
            "snap_start_init" => return ("version_published", false, None),
            "reset_after_timeout" => return ("timeout", false, None),
            "reset_after_crash" => return ("crash", false, None),
            // What failed is not in the log.
            "init_retried_in_invoke" => return (EARLIER_FAILURE, false, None),
            _ => {}
        }
        let environment = &ledger.environments[start.environment as usize];
        let Some(time) = start.at_ms.filter(|_| !environment.is_anonymous) else {
            return (UNKNOWN, false, None);
        };
        let function = environment.function.unwrap_or(Name::UNKNOWN);
        let version = start.version.or(environment.version);
        let version = version.unwrap_or(Name::UNKNOWN);
        let near = activity.near(at);
        let text = ledger.names.text(version);
        let is_unpublished = text.is_empty() || text == "$LATEST";
        let group = self.versions.get(&(function, version));
        let replaced = group.is_some_and(|group| group.replaced_at(time));
        if near.busy != 0 {
            let is_deployed =
                is_unpublished && replaced && group.is_some_and(|group| group.is_taken_over(time));
            let cause = if is_deployed {
                "first_of_deployment"
            } else {
                "scale_out"
            };
            return (cause, true, None);
        }
        let Some((last_end, last_environment)) = near.last_end else {
            let others = self.first.get(&function);
            let is_new = others.is_some_and(|versions| {
                let mut others = versions.iter().filter(|(_, other)| *other != version);
                others.any(|(first, _)| *first < time)
            });
            let cause = if is_new {
                "first_of_version"
            } else {
                "first_in_log"
            };
            return (cause, true, None);
        };
        if IDLE_MS_MIN <= time.saturating_sub(last_end) {
            return ("idleness", true, Some(last_end));
        }
        let lived = ledger.environments[last_environment as usize]
            .seen_ms
            .map_or(0, |(first, _)| time.saturating_sub(first));
        if !replaced {
            (UNKNOWN, false, None)
        } else if LIFETIME_MS_MIN <= lived {
            ("lifetime", true, None)
        } else if is_unpublished {
            ("first_of_deployment", true, None)
        } else {
            (UNKNOWN, false, None)
        }
    }
}

impl Group {
    /// Whether none of the environments that began before `time` was used again after it.
    fn replaced_at(&self, time: i64) -> bool {
        let before = self.begun.partition_point(|(first, _)| *first < time);
        let last = before.checked_sub(1).and_then(|at| self.begun.get(at));
        last.is_some_and(|(_, last)| *last <= time)
    }

    /// Whether several environments that were in use until `time` left the work to later ones,
    /// which stayed in use. One alone can also have been passed over: Lambda takes the one that was
    /// used last.
    fn is_taken_over(&self, time: i64) -> bool {
        let recent = self.last.partition_point(|last| *last < time - IDLE_MS_MIN);
        let until = self.last.partition_point(|last| *last <= time);
        let from = self.begun.partition_point(|(first, _)| *first < time);
        let goes_on = self
            .rest
            .get(from)
            .is_some_and(|last| time + DEPLOYED_MS_MIN < *last);
        goes_on && REPLACED_MIN <= until - recent
    }
}

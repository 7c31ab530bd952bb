//! The invocations around each start. They are counted in a second reading of the logs, when the
//! times of all starts are known, so that no invocation has to be kept.

use std::cmp::Ordering;
use std::collections::HashMap;

use crate::fact::{Fact, Sink, Source};
use crate::ledger::{Ledger, Name, before};

/// The invocations of the same version around one start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Near {
    /// How many ran in other environments when it began.
    pub(crate) busy: u32,
    /// The end of the last one before it, and its environment.
    pub(crate) last_end: Option<(i64, u32)>,
}

/// How much later than a start an invocation may begin that is taken to have come with it: of two
/// that come together one gets the warm environment, and the platform logs it a little later.
const TOGETHER_MS: i64 = 100;

/// How far the begin of a start may be from the one that the report of its first invocation tells.
const AWAITED_MS_MAX: i64 = 1_000;

/// The starts of one version: their times, and their places in the ledger.
type Times = Vec<(i64, usize)>;

/// What was found around all starts.
#[derive(Debug)]
pub(crate) struct Activity {
    near: Vec<Near>,
}

impl Activity {
    pub(crate) fn near(&self, start: usize) -> Near {
        self.near.get(start).copied().unwrap_or_default()
    }
}

/// The second reading.
#[derive(Debug)]
pub(crate) struct Second<'a> {
    ledger: &'a Ledger,
    times: HashMap<(Name, Name), Times>,
    near: Vec<Near>,
}

impl<'a> Second<'a> {
    pub(crate) fn new(ledger: &'a Ledger) -> Self {
        let mut times: HashMap<_, Times> = HashMap::new();
        for (at, start) in ledger.starts.iter().enumerate() {
            if let Some(time) = start.at_ms {
                let version = version_of(ledger, start.environment);
                times.entry(version).or_default().push((time, at));
            }
        }
        times.values_mut().for_each(|times| times.sort_unstable());
        Self {
            ledger,
            times,
            near: vec![Near::default(); ledger.starts.len()],
        }
    }

    /// An invocation in an environment from `begin` to `end`, which can have begun `together_ms`
    /// later than a start that it came with.
    fn invocation(&mut self, environment: u32, begin: i64, end: i64, together_ms: i64) {
        let Some(times) = self.times.get(&version_of(self.ledger, environment)) else {
            return;
        };
        let seen = self.ledger.environments[environment as usize].seen_ms;
        let there_since = seen.map_or(i64::MAX, |(first, _)| first);
        let from = times.partition_point(|(time, _)| *time < begin - together_ms);
        for (time, at) in times.iter().skip(from) {
            let near = &mut self.near[*at];
            if end <= *time {
                near.last_end = near.last_end.max(Some((end, environment)));
                break;
            }
            let other = self.ledger.starts[*at].environment;
            // Of two that begin together one has to be the first.
            let came_before = match begin.cmp(time) {
                Ordering::Less => true,
                Ordering::Equal => environment < other,
                // It is warm: its environment was there before.
                Ordering::Greater => there_since < *time,
            };
            if other != environment && came_before {
                near.busy += 1;
            }
        }
    }

    /// Ends the reading.
    pub(crate) fn finish(mut self) -> Activity {
        for times in self.times.values() {
            let mut last = None;
            for (_, at) in times {
                let near = &mut self.near[*at];
                last = last.max(near.last_end);
                near.last_end = last;
            }
        }
        Activity { near: self.near }
    }
}

fn version_of(ledger: &Ledger, environment: u32) -> (Name, Name) {
    let environment = &ledger.environments[environment as usize];
    (
        environment.function.unwrap_or(Name::UNKNOWN),
        environment.version.unwrap_or(Name::UNKNOWN),
    )
}

impl Sink for Second<'_> {
    fn fact(&mut self, source: &Source<'_>, fact: &Fact<'_>) {
        let Fact::Report(report) = fact else { return };
        let (Some(end), Some(environment)) = (source.time_ms, self.ledger.find(source)) else {
            return;
        };
        let begin = before(end, report.duration_ms.unwrap_or_default());
        // An invocation that waits for a start is on its way from the begin of that. One that is
        // tried again has the same id, and one that comes to a start ahead of demand did not wait.
        let start = self.ledger.start_of(&report.request);
        let awaited = start.and_then(|start| {
            let waited = start.figures.restore_ms.or(start.figures.init_ms);
            let earliest = before(begin, waited.unwrap_or_default());
            let of_it = earliest.saturating_sub(AWAITED_MS_MAX)..=begin + AWAITED_MS_MAX;
            start.at_ms.filter(|at| of_it.contains(at))
        });
        match awaited {
            Some(at) => self.invocation(environment, at.min(begin), end, 0),
            None => self.invocation(environment, begin, end, TOGETHER_MS),
        }
    }
}

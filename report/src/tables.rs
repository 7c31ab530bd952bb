//! The tables of a report. Their names and columns are the JSON of the command, and the queries for
//! Athena in layer/athena give the same.

use std::collections::BTreeMap;
use std::ops::Add as _;

use serde::Serialize;

use crate::cause::Cause;
use crate::input::Tally;
use crate::ledger::{Environment, Figures, Ledger, Name, Start};
use crate::statistics::{self, Bin, Step, Summary};

/// Everything that a report shows of one run.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Tables {
    /// What was read.
    pub read: Tally,
    /// The figures of all functions together.
    pub totals: Totals,
    /// Starts by kind and cause.
    pub starts: Vec<StartsRow>,
    /// Starts over time, by kind and cause.
    pub starts_over_time: Vec<TimeRow>,
    /// How wide the times of [`Tables::starts_over_time`] are, in milliseconds.
    pub time_step_ms: i64,
    /// The distributions of the figures of all starts.
    pub distributions: Vec<Distribution>,
    /// The parts of an init, in their order.
    pub init_parts: Vec<PartRow>,
    /// Functions, by the time that invocations waited, most first.
    pub functions: Vec<FunctionRow>,
    /// Versions of functions.
    pub versions: Vec<FunctionRow>,
    /// Availability zones.
    pub zones: Vec<FunctionRow>,
}

/// The figures of all functions together.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Totals {
    /// The first and the last time in the logs, in milliseconds since 1970.
    pub from_ms: Option<i64>,
    /// See [`Totals::from_ms`].
    pub to_ms: Option<i64>,
    /// Functions.
    pub functions: u64,
    /// Environments that were seen.
    pub environments: u64,
    /// Invocations, from reports or counted by Bantam's extension.
    pub invocations: u64,
    /// The ones that failed.
    pub failed_invocations: u64,
    /// Starts of an environment.
    pub environment_starts: u64,
    /// Starts that an invocation waited for and was then served.
    pub cold_starts: u64,
    /// Cold starts of all invocations; absent where no invocation was counted.
    pub cold_start_share: Option<f64>,
    /// The time that invocations waited for inits and restores.
    pub wait_ms: f64,
    /// Billed init and restore.
    pub billed_init_ms: f64,
    /// What that costs in USD, as far as the memory is known.
    pub billed_init_usd: f64,
    /// Starts whose cause was inferred.
    pub inferred_causes: u64,
    /// Environments and starts that had no room, and are in no table.
    pub left_out: u64,
}

/// Starts of one kind and cause.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names say it")]
pub struct StartsRow {
    pub cold_start_kind: String,
    pub cause: String,
    /// Starts whose cause was inferred.
    pub inferred: u64,
    pub environment_starts: u64,
    pub wait_ms: f64,
    pub init_ms: Summary,
    /// For scale-out: invocations that ran in other environments.
    pub busy: Summary,
    /// For idleness: since when nobody had used the version, in milliseconds.
    pub idle_ms: Summary,
}

/// Starts of one kind and cause in one step of time.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names say it")]
pub struct TimeRow {
    pub from_ms: i64,
    pub cold_start_kind: String,
    pub cause: String,
    pub environment_starts: u64,
}

/// The distribution of one figure over all starts that have it.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names say it")]
pub struct Distribution {
    pub figure: &'static str,
    pub unit: &'static str,
    pub summary: Summary,
    pub histogram: Vec<Bin>,
    pub ecdf: Vec<Step>,
}

/// One part of an init.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names say it")]
pub struct PartRow {
    pub part: &'static str,
    pub duration_ms: Summary,
}

/// The figures of a function, a version or a zone.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names say it")]
pub struct FunctionRow {
    pub function_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub availability_zone: Option<String>,
    pub environments: u64,
    pub invocations: u64,
    pub failed_invocations: u64,
    pub environment_starts: u64,
    pub cold_starts: u64,
    pub cold_start_share: Option<f64>,
    pub wait_ms: f64,
    pub billed_init_usd: f64,
    pub init_ms: Summary,
    pub first_invocation_ms: Summary,
    pub memory_size_mb: Option<f64>,
    pub memory_used_mb: Summary,
}

/// Takes a figure from all of a start.
pub(crate) type FigureOf = fn(&Figures) -> Option<f64>;

/// A figure of a start, for distributions and comparisons.
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) of: FigureOf,
}

/// The figures that a report shows distributions of.
pub(crate) const FIGURES: [Figure; 6] = [
    Figure {
        name: "init_duration",
        unit: "ms",
        of: |figures| figures.init_ms,
    },
    Figure {
        name: "restore_duration",
        unit: "ms",
        of: |figures| figures.restore_ms,
    },
    Figure {
        name: "first_invocation_duration",
        unit: "ms",
        of: |figures| figures.first_ms,
    },
    Figure {
        name: "cold_start_duration",
        unit: "ms",
        of: |figures| Some(figures.restore_ms.or(figures.init_ms)? + figures.first_ms?),
    },
    Figure {
        name: "exec_to_next_duration",
        unit: "ms",
        of: |figures| figures.exec_to_next_ms,
    },
    Figure {
        name: "memory_used",
        unit: "MB",
        of: |figures| figures.memory_used_mb,
    },
];

/// The parts of an init, in their order.
const PARTS: [(&str, FigureOf); 5] = [
    ("platform", |figures| {
        let before = figures.before_runtime_ms?;
        Some((before - figures.register_ms.unwrap_or_default()).max(0.0))
    }),
    ("extension", |figures| {
        figures.before_runtime_ms?;
        figures.register_ms
    }),
    ("runtime and function", |figures| figures.runtime_ms),
    ("later extensions", |figures| figures.extensions_ms),
    ("first invocation", |figures| figures.first_ms),
];

/// The kinds of starts that an invocation waited for and was then served.
const WAITED: [&str; 6] = [
    "on_demand",
    "other",
    "init_retried_in_invoke",
    "reset_after_timeout",
    "reset_after_crash",
    "snap_start_restore",
];

/// Values of figures and counts, while they are collected for a row.
#[derive(Debug, Default)]
struct Group {
    environments: u64,
    invocations: u64,
    failed: u64,
    starts: u64,
    waited: u64,
    wait_ms: f64,
    billed_init_usd: f64,
    init: Vec<f64>,
    first: Vec<f64>,
    memory_size_mb: Option<f64>,
    memory_used: Vec<f64>,
}

impl Group {
    fn environment(&mut self, environment: &Environment) {
        self.environments += 1;
        self.invocations += environment.invocations();
        self.failed += environment.failed;
        let size = self.memory_size_mb.into_iter();
        self.memory_size_mb = size.chain(environment.memory_size_mb).reduce(f64::max);
        self.memory_used.extend(environment.memory_used_mb);
    }

    fn start(&mut self, figures: &Figures, waited: bool) {
        self.starts += 1;
        if waited {
            self.waited += 1;
            self.wait_ms += wait(figures);
        }
        self.billed_init_usd += figures.billed_init_usd.unwrap_or_default();
        self.init.extend(figures.init_ms.or(figures.restore_ms));
        self.first.extend(figures.first_ms);
    }

    fn row(mut self) -> FunctionRow {
        FunctionRow {
            environments: self.environments,
            invocations: self.invocations,
            failed_invocations: self.failed,
            environment_starts: self.starts,
            cold_starts: self.waited,
            cold_start_share: share(self.waited, self.invocations),
            wait_ms: statistics::rounded(self.wait_ms),
            billed_init_usd: self.billed_init_usd,
            init_ms: Summary::of(&mut self.init),
            first_invocation_ms: Summary::of(&mut self.first),
            memory_size_mb: self.memory_size_mb,
            memory_used_mb: Summary::of(&mut self.memory_used),
            ..FunctionRow::default()
        }
    }
}

/// Values of one kind and cause.
#[derive(Debug, Default)]
struct ByCause {
    group: Group,
    inferred: u64,
    busy: Vec<f64>,
    idle: Vec<f64>,
}

/// How long an invocation waited for a start, beside its own duration.
fn wait(figures: &Figures) -> f64 {
    figures.restore_ms.or(figures.init_ms).unwrap_or_default()
}

fn share(part: u64, whole: u64) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    let share = part as f64 / whole as f64;
    // A log that begins in the middle can have more starts than invocations.
    (whole != 0).then(|| statistics::rounded(share.min(1.0)))
}

/// The tables, and the sorted values that comparisons are made of.
pub(crate) fn tables(ledger: &Ledger, causes: &[Cause], busy: &[u32], read: Tally) -> Tables {
    let made = Making {
        ledger,
        causes,
        busy,
    };
    let step = made.time_step();
    Tables {
        read,
        totals: made.totals(),
        starts: made.starts(),
        starts_over_time: made.over_time(step),
        time_step_ms: step,
        distributions: made.distributions(),
        init_parts: made.init_parts(),
        functions: made.rows(|environment, _| (environment.function, None, None)),
        versions: made.versions(),
        zones: made.zones(),
    }
}

/// Sorted values of a figure.
pub(crate) fn sorted(ledger: &Ledger, figure: &Figure) -> Vec<f64> {
    sorted_of(ledger, figure, None)
}

/// Sorted values of a figure of one function, or of all.
pub(crate) fn sorted_of(ledger: &Ledger, figure: &Figure, function: Option<Name>) -> Vec<f64> {
    let starts = ledger.starts.iter().filter(|start| {
        let of = ledger.environments[start.environment as usize].function;
        function.is_none() || function == of
    });
    let mut values: Vec<f64> = starts
        .filter_map(|start| (figure.of)(&start.figures))
        .collect();
    values.sort_unstable_by(f64::total_cmp);
    values
}

struct Making<'a> {
    ledger: &'a Ledger,
    causes: &'a [Cause],
    busy: &'a [u32],
}

/// A function, a version and a zone, as far as rows are told apart by them.
type Key = (Option<Name>, Option<Name>, Option<Name>);

impl Making<'_> {
    fn each(&self) -> impl Iterator<Item = (&Start, &Cause, u32)> {
        let starts = self.ledger.starts.iter().zip(self.causes);
        starts
            .zip(self.busy)
            .map(|((start, cause), busy)| (start, cause, *busy))
    }

    fn text(&self, name: Name) -> String {
        match self.ledger.names.text(name) {
            "" => "unknown".to_owned(),
            text => text.to_owned(),
        }
    }

    fn waited(&self, start: &Start) -> bool {
        WAITED.contains(&self.ledger.names.text(start.kind))
    }

    fn totals(&self) -> Totals {
        let seen = self.ledger.environments.iter();
        let seen = seen.filter_map(|environment| environment.seen_ms);
        let rows = self.rows(|environment, _| (environment.function, None, None));
        let sum = |of: fn(&FunctionRow) -> u64| rows.iter().map(of).sum();
        let (cold_starts, invocations) = (sum(|row| row.cold_starts), sum(|row| row.invocations));
        // Not `sum`, which is -0.0 of nothing.
        let total = |of: fn(&FunctionRow) -> f64| rows.iter().map(of).fold(0.0, f64::add);
        let billed = self.ledger.starts.iter();
        let billed = billed
            .filter_map(|start| start.figures.billed_init_ms)
            .fold(0.0, f64::add);
        let inferred = self.causes.iter().filter(|cause| cause.is_inferred).count();
        Totals {
            from_ms: seen.clone().map(|(first, _)| first).min(),
            to_ms: seen.map(|(_, last)| last).max(),
            functions: rows.len() as u64,
            environments: sum(|row| row.environments),
            invocations,
            failed_invocations: sum(|row| row.failed_invocations),
            environment_starts: sum(|row| row.environment_starts),
            cold_starts,
            cold_start_share: share(cold_starts, invocations),
            wait_ms: statistics::rounded(total(|row| row.wait_ms)),
            billed_init_ms: statistics::rounded(billed),
            billed_init_usd: total(|row| row.billed_init_usd),
            inferred_causes: inferred as u64,
            left_out: self.ledger.environments_left_out + self.ledger.starts_left_out,
        }
    }

    fn starts(&self) -> Vec<StartsRow> {
        let mut groups: BTreeMap<(String, String), ByCause> = BTreeMap::new();
        for (start, cause, busy) in self.each() {
            let key = (self.text(start.kind), self.text(cause.name));
            let of = groups.entry(key).or_default();
            of.group.start(&start.figures, self.waited(start));
            of.inferred += u64::from(cause.is_inferred);
            if busy != 0 {
                of.busy.push(f64::from(busy));
            }
            let since = start.at_ms.zip(cause.idle_since_ms);
            #[expect(clippy::cast_precision_loss, reason = "a time span")]
            of.idle
                .extend(since.map(|(at, since)| at.saturating_sub(since) as f64));
        }
        let rows = groups.into_iter().map(|((kind, cause), mut of)| StartsRow {
            cold_start_kind: kind,
            cause,
            inferred: of.inferred,
            environment_starts: of.group.starts,
            wait_ms: statistics::rounded(of.group.wait_ms),
            init_ms: Summary::of(&mut of.group.init),
            busy: Summary::of(&mut of.busy),
            idle_ms: Summary::of(&mut of.idle),
        });
        let mut rows: Vec<StartsRow> = rows.collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.environment_starts));
        rows
    }

    /// The smallest step of time with which a picture has at most [`TIME_STEPS_MAX`] steps.
    fn time_step(&self) -> i64 {
        let times = self.ledger.starts.iter().filter_map(|start| start.at_ms);
        let span = times.clone().max().unwrap_or_default() - times.min().unwrap_or_default();
        let fits = |step: &&i64| span / **step < TIME_STEPS_MAX;
        let fit = TIME_STEPS_MS.iter().find(fits).copied();
        // Beyond the steps of the list: whole weeks.
        fit.unwrap_or_else(|| (span / TIME_STEPS_MAX / WEEK_MS + 1) * WEEK_MS)
    }

    fn over_time(&self, step: i64) -> Vec<TimeRow> {
        let mut counts: BTreeMap<(i64, String, String), u64> = BTreeMap::new();
        for (start, cause, _) in self.each() {
            if let Some(time) = start.at_ms {
                let from = time.div_euclid(step) * step;
                let key = (from, self.text(start.kind), self.text(cause.name));
                *counts.entry(key).or_default() += 1;
            }
        }
        let rows = counts
            .into_iter()
            .map(|((from_ms, kind, cause), count)| TimeRow {
                from_ms,
                cold_start_kind: kind,
                cause,
                environment_starts: count,
            });
        rows.collect()
    }

    fn distributions(&self) -> Vec<Distribution> {
        let figures = FIGURES.iter().filter_map(|figure| {
            let mut values = sorted(self.ledger, figure);
            let summary = Summary::of(&mut values);
            (summary.count != 0).then(|| Distribution {
                figure: figure.name,
                unit: figure.unit,
                histogram: statistics::histogram(&values),
                ecdf: statistics::ecdf(&values, ECDF_STEPS),
                summary,
            })
        });
        figures.collect()
    }

    fn init_parts(&self) -> Vec<PartRow> {
        let parts = PARTS.iter().filter_map(|(part, of)| {
            // Only starts of which the parts are known: a part is compared with the others.
            let starts = self.ledger.starts.iter().map(|start| &start.figures);
            let known = starts.filter(|figures| figures.runtime_ms.is_some());
            let mut values: Vec<f64> = known.filter_map(of).collect();
            let duration_ms = Summary::of(&mut values);
            (duration_ms.count != 0).then_some(PartRow { part, duration_ms })
        });
        parts.collect()
    }

    /// Rows by a key of each environment and start, most time waited first.
    fn rows(&self, key: impl Fn(&Environment, Option<&Start>) -> Key) -> Vec<FunctionRow> {
        let mut groups: BTreeMap<Key, Group> = BTreeMap::new();
        let mut has_start = vec![false; self.ledger.environments.len()];
        for start in &self.ledger.starts {
            has_start[start.environment as usize] = true;
            let environment = &self.ledger.environments[start.environment as usize];
            let group = groups.entry(key(environment, Some(start))).or_default();
            group.start(&start.figures, self.waited(start));
        }
        for (environment, has_start) in self.ledger.environments.iter().zip(has_start) {
            if has_start || environment.invocations() != 0 {
                let group = groups.entry(key(environment, None)).or_default();
                group.environment(environment);
            }
        }
        let name = |name: Option<Name>| name.map(|name| self.text(name));
        let rows = groups
            .into_iter()
            .map(|((function, version, zone), group)| FunctionRow {
                function_name: self.text(function.unwrap_or(Name::UNKNOWN)),
                function_version: name(version),
                availability_zone: name(zone),
                ..group.row()
            });
        let mut rows: Vec<FunctionRow> = rows.collect();
        rows.sort_by(|a, b| {
            let by_wait = b.wait_ms.total_cmp(&a.wait_ms);
            by_wait.then_with(|| a.function_name.cmp(&b.function_name))
        });
        rows
    }

    /// Versions, by function and then by version.
    fn versions(&self) -> Vec<FunctionRow> {
        let unknown = Some(Name::UNKNOWN);
        let mut rows = self.rows(|environment, start| {
            let version = start.and_then(|start| start.version);
            (
                environment.function,
                version.or(environment.version).or(unknown),
                None,
            )
        });
        rows.sort_by(|a, b| {
            let names = a.function_name.cmp(&b.function_name);
            names.then_with(|| a.function_version.cmp(&b.function_version))
        });
        rows
    }

    /// Zones over all functions; empty where no zone is known.
    fn zones(&self) -> Vec<FunctionRow> {
        let unknown = Some(Name::UNKNOWN);
        let environments = &self.ledger.environments;
        if environments
            .iter()
            .all(|environment| environment.zone.is_none())
        {
            return Vec::new();
        }
        let mut rows = self.rows(|environment, _| (None, None, environment.zone.or(unknown)));
        rows.iter_mut().for_each(|row| row.function_name.clear());
        rows.sort_by(|a, b| a.availability_zone.cmp(&b.availability_zone));
        rows
    }
}

/// Steps of time in a picture.
const TIME_STEPS_MAX: i64 = 120;

/// Steps of a distribution function.
const ECDF_STEPS: usize = 200;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;
const WEEK_MS: i64 = 7 * DAY_MS;

/// The steps of time that a picture can have.
const TIME_STEPS_MS: [i64; 14] = [
    1_000,
    5_000,
    15_000,
    MINUTE_MS,
    5 * MINUTE_MS,
    15 * MINUTE_MS,
    30 * MINUTE_MS,
    HOUR_MS,
    2 * HOUR_MS,
    6 * HOUR_MS,
    12 * HOUR_MS,
    DAY_MS,
    2 * DAY_MS,
    WEEK_MS,
];

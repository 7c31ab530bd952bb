//! Random lives of environments, and what holds in each of them.
#![expect(clippy::cast_precision_loss, reason = "the counts are small")]

use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{metric, number_data_point};
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::Value;

use super::platform::{Played, Step, play_with};
use super::records::{phase_end, phase_start, report, runtime_done, start};
use super::scenarios::shown;
use super::{Answer, TAKEN};
use crate::extension::export::emf::{Chosen, Emf, dimension_sets};
use crate::extension::export::losses::Losses;
use crate::extension::export::samples::Random;
use crate::extension::metric::catalogue;
use crate::extension::settings::InitType;
use crate::shared::os;

/// A life as the platform sees it.
#[derive(Debug)]
struct Life {
    init_type: InitType,
    /// Steps, each with the time before it.
    steps: Vec<(u64, Step)>,
    emf: Option<Emf>,
    /// Invocations since the process started or was restored, by how they end.
    outcomes: Outcomes,
    is_restored: bool,
    /// Whether every record comes, and before SHUTDOWN.
    has_all_telemetry: bool,
    file: Health,
    receiver: Health,
    /// The reason of SHUTDOWN.
    reason: &'static str,
    /// The time from SHUTDOWN until the process is killed, if that is known.
    left_ms: Option<i64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Outcomes {
    successes: usize,
    errors: usize,
    timeouts: usize,
}

/// How well one of those that the figures go to works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Good,
    /// It fails at times, and works at the end.
    Recovers,
    /// It fails at times, also at the end.
    Bad,
}

/// Makes a life up.
struct Author {
    random: Random,
    /// Steps, each at its time by the clock of the steps, which stands still in a freeze.
    steps: Vec<(u64, Step)>,
    /// Records that are in no batch yet.
    records: Vec<String>,
    /// The time by the clock of the steps, and the time of all freezes.
    now: u64,
    frozen: u64,
    has_all_telemetry: bool,
    last_delivery: u64,
}

impl Author {
    const fn new(seed: u64) -> Self {
        Self {
            random: Random(seed),
            steps: Vec::new(),
            records: Vec::new(),
            now: 0,
            frozen: 0,
            has_all_telemetry: true,
            last_delivery: 0,
        }
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.random.below(100) < percent
    }

    fn up_to(&mut self, most: usize) -> u64 {
        self.random.below(most + 1) as u64
    }

    /// The time of the platform.
    const fn time(&self) -> u64 {
        self.now + self.frozen
    }

    fn step(&mut self, step: Step) {
        self.steps.push((self.now, step));
    }

    /// A record that the platform writes. Sooner or later it sends the ones that wait.
    fn record(&mut self, record: String) {
        self.records.push(record);
        if self.chance(40) {
            self.send();
        }
    }

    /// Sends the records that wait: soon or late, and perhaps twice or never.
    fn send(&mut self) {
        let records = std::mem::take(&mut self.records);
        if records.is_empty() {
            return;
        }
        if self.chance(4) {
            self.has_all_telemetry = false;
            return;
        }
        let late = if self.chance(15) { 5_000 } else { 40 };
        let mut at = self.now + self.up_to(late);
        self.steps.push((at, Step::Deliver(records.clone())));
        if self.chance(10) {
            at += self.up_to(100);
            self.steps.push((at, Step::Deliver(records)));
        }
        self.last_delivery = self.last_delivery.max(at);
    }

    /// Time between two invocations, in which everything stands still except on Managed Instances.
    fn idle(&mut self, init_type: InitType) {
        let most = self.random.pick(&[3, 1_000, 120_000, 7_200_000]);
        let idle = self.up_to(most);
        if init_type == InitType::ManagedInstances || self.chance(30) {
            self.now += idle;
            return;
        }
        if self.chance(5) {
            // The wall clock was ahead, and is put right.
            let back = self.frozen.min(idle);
            self.step(Step::Freeze {
                wall_ms: -back.cast_signed(),
                monotonic_ms: 0,
            });
            self.frozen -= back;
            return;
        }
        let monotonic_ms = if self.chance(50) { idle } else { 0 };
        self.step(Step::Freeze {
            wall_ms: idle.cast_signed(),
            monotonic_ms,
        });
        self.frozen += idle;
    }

    /// The init, which takes some time.
    fn init(&mut self, init_type: InitType, status: &str) {
        let name = match init_type {
            InitType::OnDemand => "on-demand",
            InitType::Other => "native-http",
            InitType::ProvisionedConcurrency => "provisioned-concurrency",
            InitType::SnapStart => "snap-start",
            InitType::ManagedInstances => "lambda-managed-instances",
        };
        let began = self.time();
        self.record(phase_start(began, "initStart", name));
        self.now += 20 + self.up_to(2_000);
        let done = self.time();
        self.record(phase_end(done, "initRuntimeDone", status, done - began));
        self.now += self.up_to(20);
        let end = self.time();
        self.record(phase_end(end, "initReport", status, end - began));
    }

    fn restore(&mut self) {
        let began = self.time();
        self.record(phase_start(began, "restoreStart", "snap-start"));
        self.now += 20 + self.up_to(500);
        let end = self.time();
        let end_of = |kind| phase_end(end, kind, "success", end - began);
        self.record(end_of("restoreRuntimeDone"));
        self.record(end_of("restoreReport"));
    }

    fn invocation(&mut self, init_type: InitType, id: &str, status: &str) {
        if init_type != InitType::ManagedInstances {
            self.step(Step::Invoke(id.to_owned()));
        }
        let began = self.time();
        self.record(start(began, id));
        // The platform sends nothing of an end before the event of the start.
        self.now += 1 + self.up_to(3_000);
        let done = self.time();
        if init_type != InitType::ManagedInstances {
            self.record(runtime_done(done, id, status, done - began));
        }
        self.now += self.up_to(30);
        let end = self.time();
        self.record(report(end, id, status, end - began));
    }

    /// Lets one of those that the figures go to fail and work, from `from` on.
    fn health(&mut self, from: u64, fails: impl Fn(&mut Random) -> Step, works: Step) -> Health {
        if self.chance(40) {
            return Health::Good;
        }
        let until = usize::try_from(self.now - from).unwrap();
        for _ in 0..1 + self.random.below(4) {
            let at = from + self.up_to(until);
            let step = if self.chance(70) {
                fails(&mut self.random)
            } else {
                works.clone()
            };
            self.steps.push((at, step));
        }
        if self.chance(50) {
            self.steps.push((self.now, works));
            Health::Recovers
        } else {
            Health::Bad
        }
    }

    fn life(mut self) -> Life {
        let init_type = self.random.pick(&[
            InitType::OnDemand,
            InitType::OnDemand,
            InitType::ProvisionedConcurrency,
            InitType::SnapStart,
            InitType::ManagedInstances,
            InitType::Other,
        ]);
        let fails = init_type != InitType::SnapStart && self.chance(8);
        self.init(init_type, if fails { "error" } else { "success" });
        let is_restored = init_type == InitType::SnapStart;
        if is_restored {
            self.send();
            self.now = self.now.max(self.last_delivery) + 1;
            self.frozen += 1_000_000_000;
            self.step(Step::Freeze {
                wall_ms: 1_000_000_000,
                monotonic_ms: 0,
            });
            self.has_all_telemetry = true;
        }
        // What is lost before a restore is forgotten with the rest of the snapshot.
        let from = self.now;
        if is_restored {
            self.restore();
        }
        let mut outcomes = Outcomes::default();
        let count = if fails { 0 } else { self.random.below(20) };
        for number in 0..count {
            self.idle(init_type);
            let (status, counter) = match self.random.below(10) {
                0 => ("error", &mut outcomes.errors),
                1 => ("timeout", &mut outcomes.timeouts),
                _ => ("success", &mut outcomes.successes),
            };
            *counter += 1;
            self.invocation(init_type, &format!("request-{number}"), status);
        }
        if self.chance(50) {
            self.send();
            // The rest comes before SHUTDOWN.
            self.now = self.now.max(self.last_delivery) + 1;
        }
        self.idle(init_type);
        let file = self.health(
            from,
            |_| Step::File { works: false },
            Step::File { works: true },
        );
        let fails = |random: &mut Random| Step::Receiver(random.pick(&FAILURES));
        let receiver = self.health(from, fails, Step::Receiver(TAKEN));
        let left_ms = self.random.pick(&LEFT_MS);
        let reason = self
            .random
            .pick(&["spindown", "timeout", "failure", "sigterm"]);
        self.has_all_telemetry &= self.last_delivery < self.now && self.records.is_empty();
        self.step(Step::Shutdown { reason, left_ms });
        // The last batch comes at any time until the process is killed, and after it.
        self.now += self.up_to(2_100);
        self.send();
        Life {
            init_type,
            emf: self.chance(50).then(all_metrics),
            steps: self.relative(),
            outcomes,
            is_restored,
            has_all_telemetry: self.has_all_telemetry,
            file,
            receiver,
            reason,
            left_ms,
        }
    }

    /// The steps in their order, each with the time since the one before.
    fn relative(&mut self) -> Vec<(u64, Step)> {
        let mut steps = std::mem::take(&mut self.steps);
        // It is stable: a step that was made up first comes first.
        steps.sort_by_key(|(at, _)| *at);
        let mut last = 0;
        for (at, _) in &mut steps {
            (last, *at) = (*at, *at - last);
        }
        steps
    }
}

/// A point as a receiver got it: name, values of its attributes, and sum of its values.
type Point = (String, String, f64);

/// The points of the file.
fn written(played: &Played) -> Vec<Point> {
    let mut points = Vec::new();
    let lines = played.lines.iter();
    for point in lines.flat_map(|line| line["points"].as_array().unwrap()) {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let attributes = point["attributes"].as_object().unwrap().values();
        let attributes: Vec<String> = attributes.map(text).collect();
        let values = point["values"].as_array().unwrap().iter();
        let sum = values.map(|value| value.as_f64().unwrap()).sum();
        points.push((text(&point["name"]), attributes.join(","), sum));
    }
    points
}

/// The points of the lines of EMF.
fn printed(played: &Played) -> Vec<Point> {
    let mut points = Vec::new();
    for line in &played.emf {
        let line: serde_json::Map<String, Value> = serde_json::from_str(line).unwrap();
        let attribute = |name| line.get(name).and_then(Value::as_str);
        let attributes = ["cause", "cold_start_kind"].map(attribute);
        let attributes: Vec<&str> = attributes.into_iter().flatten().collect();
        for metric in catalogue::ALL {
            let values = match line.get(metric.name) {
                None => continue,
                Some(Value::Array(values)) => values.iter().map(|v| v.as_f64().unwrap()).sum(),
                Some(value) => value.as_f64().unwrap(),
            };
            points.push((metric.name.to_owned(), attributes.join(","), values));
        }
    }
    points
}

/// The points that the OTLP receiver took. A batch that it took twice counts once.
fn received(played: &Played) -> Vec<Point> {
    let mut points = Vec::new();
    let mut batches = played.batches.clone();
    batches.dedup();
    let resources = batches.iter().flat_map(|batch| &batch.resource_metrics);
    let scopes = resources.flat_map(|resource| &resource.scope_metrics);
    for metric in scopes.flat_map(|scope| &scope.metrics) {
        let mut known = catalogue::ALL.iter();
        let known = known.find(|known| known.otlp_name == metric.name).unwrap();
        let mut add = |attributes: &[KeyValue], value: f64| {
            let text = |pair: &KeyValue| match pair.value.as_ref().unwrap().value.clone() {
                Some(any_value::Value::StringValue(text)) => text,
                other => panic!("{other:?}"),
            };
            let attributes: Vec<String> = attributes.iter().map(text).collect();
            points.push((known.name.to_owned(), attributes.join(","), value));
        };
        let numbers = match metric.data.as_ref().unwrap() {
            metric::Data::Sum(sum) => &sum.data_points,
            metric::Data::Gauge(gauge) => &gauge.data_points,
            metric::Data::Histogram(histogram) => {
                for point in &histogram.data_points {
                    add(&point.attributes, point.sum.unwrap());
                }
                continue;
            }
            other @ (metric::Data::ExponentialHistogram(_) | metric::Data::Summary(_)) => {
                panic!("{other:?}");
            }
        };
        for point in numbers {
            let value = match point.value.unwrap() {
                number_data_point::Value::AsDouble(value) => value,
                number_data_point::Value::AsInt(value) => value as f64,
            };
            add(&point.attributes, value);
        }
    }
    points
}

fn sum(points: &[Point], name: &str) -> f64 {
    let points = points.iter().filter(|(of, ..)| of == name);
    points.map(|(.., value)| value).sum()
}

/// The causes and kinds of the starts. The init of a snapshot is another one than each restore of
/// it.
fn starts(points: &[Point]) -> Vec<&str> {
    let starts = points
        .iter()
        .filter(|(name, ..)| name == "environment_starts");
    let kinds = starts.map(|(_, attributes, _)| attributes.as_str());
    kinds
        .filter(|kind| !kind.ends_with("snap_start_init"))
        .collect()
}

fn is_told(point: &Point) -> bool {
    point.1 == "exporter"
}

/// The number of points but the ones that tell losses.
fn own(points: &[Point]) -> u64 {
    points.iter().filter(|point| !is_told(point)).count() as u64
}

/// The losses that points tell.
fn told(points: &[Point]) -> f64 {
    let points: Vec<Point> = points
        .iter()
        .filter(|point| is_told(point))
        .cloned()
        .collect();
    sum(&points, "dropped_records")
}

/// A life, and what came of it.
struct Outcome<'a> {
    life: &'a Life,
    played: &'a Played,
    printed: Vec<Point>,
    written: Vec<Point>,
    received: Vec<Point>,
}

impl Outcome<'_> {
    fn check(&self) {
        for (name, attributes, value) in self.written.iter().chain(&self.received) {
            assert!(0.0 <= *value, "{name} ({attributes}) is {value}");
        }
        self.ends_in_time();
        let Losses { points, lines, .. } = self.played.losses;
        self.start_is_exported_once(&self.written, lines);
        self.start_is_exported_once(&self.received, points);
        if self.life.file == Health::Good {
            assert_eq!(lines, 0);
            self.invocations_add_up();
            // What was lost before a restore is forgotten.
            if !self.life.is_restored {
                self.points_add_up();
            }
        }
        self.losses_are_told();
        self.losses_are_logged();
        self.start_is_traced_once();
        self.lines_of_the_log_add_up();
    }

    /// The lines of EMF have what the file has, and standard output loses nothing.
    fn lines_of_the_log_add_up(&self) {
        if self.life.emf.is_none() {
            assert!(self.printed.is_empty());
            return;
        }
        self.start_is_exported_once(&self.printed, 0);
        if self.life.file != Health::Good {
            return;
        }
        for metric in catalogue::ALL {
            // Each tells what it has not told, and what is lost before a restore is forgotten.
            if metric.name != "dropped_records" {
                let [printed, written] =
                    [&self.printed, &self.written].map(|points| sum(points, metric.name));
                let is_equal = (printed - written).abs() <= 1e-9 * written.abs();
                assert!(is_equal, "{}: {printed} and {written}", metric.name);
            }
        }
    }

    /// The last line of the log has all losses.
    fn losses_are_logged(&self) {
        let losses = self.played.losses;
        let last = self.played.log.last();
        let is_all = |line: &&String| line.contains("in the life of this environment");
        let numbers: Vec<u64> = last.filter(is_all).map_or_else(Vec::new, |line| {
            let words = line.split_ascii_whitespace();
            words.filter_map(|word| word.parse().ok()).collect()
        });
        let Losses { points, lines, .. } = losses;
        let expected = match cfg!(feature = "traces") {
            _ if losses.is_empty() => vec![],
            true => vec![points, losses.spans, lines],
            false => vec![points, lines],
        };
        assert_eq!(numbers, expected, "{:?}", self.played.log);
    }

    /// The start has one trace, or is lost and counted, and its spans are a tree.
    fn start_is_traced_once(&self) {
        let mut traces = self.played.traces.clone();
        // A receiver that was mute may get it twice.
        traces.dedup();
        let spans = traces.iter().flat_map(|trace| &trace.resource_spans);
        let spans = spans.flat_map(|resource| &resource.scope_spans);
        let spans: Vec<&Span> = spans.flat_map(|scope| &scope.spans).collect();
        let roots = spans.iter().filter(|span| span.parent_span_id.is_empty());
        // The init of a snapshot, and what it was restored to.
        let most = 1 + usize::from(self.life.is_restored);
        assert!(roots.clone().count() <= most, "{traces:#?}");
        let works = self.life.receiver == Health::Good && self.is_sure();
        if works && !self.life.is_restored {
            assert_eq!((roots.count(), self.played.losses.spans), (1, 0));
        }
        for span in &spans {
            assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
            let parent = spans.iter().find(|of| of.span_id == span.parent_span_id);
            let Some(parent) = parent else {
                assert_eq!(span.parent_span_id, [0; 0], "{traces:#?}");
                continue;
            };
            assert_eq!(span.trace_id, parent.trace_id);
            assert!(parent.start_time_unix_nano <= span.start_time_unix_nano);
            assert!(span.end_time_unix_nano <= parent.end_time_unix_nano);
        }
    }

    /// The time until the process is killed, if it is known.
    fn left_ms(&self) -> Option<u64> {
        let left = self.life.left_ms;
        left.map(|left| u64::try_from(left).unwrap_or(0))
    }

    /// Nothing goes on after the deadline, nor in the margin before it.
    fn ends_in_time(&self) {
        let left = self.left_ms();
        let most = left.map_or(300, |left| left - (left / 2).min(100));
        let end = self.played.end;
        assert!(end <= Duration::from_millis(most), "it ends after {end:?}");
    }

    /// Each start is exported once, or lost and counted.
    fn start_is_exported_once(&self, points: &[Point], lost: u64) {
        let starts = starts(points);
        let is_unknown = self.life.is_restored && self.life.outcomes == Outcomes::default();
        assert!(starts.len() <= 1, "{starts:?}");
        assert!(starts.len() == 1 || lost != 0 || is_unknown, "no start");
    }

    /// Whether the receiver answers each batch that it takes. One that was taken without an answer
    /// may be counted as lost, and its losses may be told again.
    fn is_sure(&self) -> bool {
        let is_mute = |(_, step): &(u64, Step)| matches!(step, Step::Receiver(MUTE));
        let has_time = self.left_ms().is_none_or(|left| 300 <= left);
        has_time && !self.life.steps.iter().any(is_mute)
    }

    /// Every point is taken by the receiver or counted as lost.
    fn points_add_up(&self) {
        let (written, taken) = (own(&self.written), own(&self.received));
        let lost = self.played.losses.points;
        let is_less = taken + lost < written || (self.is_sure() && written != taken + lost);
        assert!(!is_less, "{written} points, {taken} taken and {lost} lost");
        let works = self.life.receiver == Health::Good && self.is_sure();
        assert!(!works || lost == 0, "{lost} lost by a receiver that works");
    }

    /// Losses are told when that is possible, and never more than there are.
    fn losses_are_told(&self) {
        let Losses {
            points,
            spans,
            lines,
            ..
        } = self.played.losses;
        let all = (lines + points + spans) as f64;
        let (file, receiver) = (told(&self.written), told(&self.received));
        assert!(file <= all, "the file is told {file} of {all}");
        if self.life.file == Health::Recovers {
            // The last line can tell nothing of points that are lost after it.
            let is_of_file = points == 0 && spans == 0;
            let least = if is_of_file { all } else { lines as f64 };
            assert!(least <= file, "the file is told {file} of {least}");
        }
        if self.is_sure() {
            assert!(receiver <= all, "the receiver is told {receiver} of {all}");
            let has_last = 0.0 < sum(&self.received, "shutdowns");
            if self.life.receiver == Health::Recovers && has_last {
                assert!(all <= receiver, "the receiver is told {receiver} of {all}");
            }
        }
    }

    /// Every invocation has one outcome, the right one if all telemetry came.
    fn invocations_add_up(&self) {
        let Outcomes {
            successes,
            errors,
            timeouts,
        } = self.life.outcomes;
        let names = ["invocations", "errors", "timeouts", "invocations_unknown"];
        let found = names.map(|name| sum(&self.written, name));
        let expected = [successes, errors, timeouts, 0].map(|count| count as f64);
        let [all, counted] = [expected, found].map(|counts| counts.iter().sum::<f64>());
        // On Managed Instances telemetry is all there is.
        let may_lack = self.life.init_type == InitType::ManagedInstances;
        assert!(all <= counted || may_lack, "{found:?}");
        // Of the last one, SHUTDOWN may tell that it was answered and failed afterwards.
        let reason = self.life.reason;
        let may_fail = matches!(reason, "timeout" | "failure") && !self.life.has_all_telemetry;
        let most = all + f64::from(u8::from(may_fail));
        assert!(counted <= most, "{found:?} and {reason}");
        assert!(
            found == expected || !self.life.has_all_telemetry,
            "{found:?}"
        );
    }
}

/// Says how to live a life again, should it fail.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let again = "cargo test --package bantam --lib extension::world::lives";
            println!("seed {0}: WORLD_SEED={0} {again} shows its steps", self.0);
            println!("keep them as a test in src/extension/world/scenarios.rs");
        }
    }
}

fn live(seed: u64, is_shown: bool) {
    let _seed = Seed(seed);
    let life = Author::new(seed).life();
    let play = || play_with(life.emf.clone(), life.init_type, life.steps.clone());
    let played = play();
    if is_shown {
        let lines: Vec<String> = played.lines.iter().map(shown).collect();
        println!("{life:#?}\n{lines:#?}\n{:?}", played.losses);
    }
    let outcome = Outcome {
        printed: printed(&played),
        written: written(&played),
        received: received(&played),
        life: &life,
        played: &played,
    };
    outcome.check();
    if seed.is_multiple_of(1_000) {
        assert_eq!(played.lines, play().lines, "the same steps");
    }
}

/// Ten thousand lives, the same in each run. `WORLD_SEED=<seed>` shows another one.
#[test]
fn random_lives_keep_the_rules() {
    let chosen = os::variable("WORLD_SEED");
    if let Some(seed) = chosen {
        live(seed.into_string().unwrap().parse().unwrap(), true);
        return;
    }
    for seed in 0..10_000 {
        live(seed, false);
    }
}

fn all_metrics() -> Emf {
    Emf {
        namespace: "Bantam".to_owned(),
        dimensions: dimension_sets("function_name;").unwrap(),
        metrics: Chosen::All,
        with_ends: true,
    }
}

const LEFT_MS: [Option<i64>; 9] = [
    Some(2_000),
    Some(2_000),
    Some(500),
    Some(300),
    Some(100),
    Some(10),
    Some(0),
    Some(-5),
    None,
];

const FAILURES: [Answer; 6] = [
    answer(false, 3, "HTTP/1.1 503 \r\nContent-Length: 0\r\n\r\n"),
    answer(
        false,
        3,
        "HTTP/1.1 429 \r\nRetry-After: 30\r\nContent-Length: 0\r\n\r\n",
    ),
    answer(false, 3, "HTTP/1.1 400 \r\nContent-Length: 0\r\n\r\n"),
    answer(false, 2, ""),
    answer(false, 60_000, ""),
    MUTE,
];

/// It takes the batch and never says so.
const MUTE: Answer = answer(true, 60_000, "");

const fn answer(takes: bool, after_ms: u64, response: &'static str) -> Answer {
    Answer {
        takes,
        after_ms,
        response,
    }
}

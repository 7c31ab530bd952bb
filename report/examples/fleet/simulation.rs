//! Made-up functions: when they are invoked, in which environments, and their logs.

use std::cmp::Reverse;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

/// One line of a log.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) time_ms: i64,
    pub(super) stream: String,
    pub(super) text: String,
}

/// One function that has run.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) name: String,
    /// In the order of their times.
    pub(super) lines: Vec<Line>,
    /// The cause of each start, as it was.
    pub(super) causes: Vec<&'static str>,
}

/// Functions with about `invocations` invocations together; few have most of them.
pub(super) fn fleet(
    functions: u32,
    invocations: f64,
    seed: u64,
) -> impl Iterator<Item = Simulation> {
    let weights = (1..=functions).map(|rank| 1.0 / f64::from(rank).powf(0.9));
    let sum: f64 = weights.clone().sum();
    weights.enumerate().map(move |(at, weight)| {
        let name = format!("{}-{at:03}", NAMES[at % NAMES.len()]);
        Simulation::new(name, at, (invocations * weight / sum).max(3.0), seed)
    })
}

const NAMES: [&str; 8] = [
    "orders",
    "checkout",
    "search",
    "thumbnails",
    "invoices",
    "mailer",
    "ingest",
    "login",
];

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

/// 2026-11-23T00:00:00Z.
const BEGIN: i64 = 1_795_392_000_000;

const SPAN: i64 = 72 * HOUR;

/// A function that is yet to run.
#[derive(Debug)]
pub(super) struct Simulation {
    name: String,
    random: ChaCha8Rng,
    /// Invocations an hour.
    rate: f64,
    init_ms: f64,
    duration_ms: f64,
    memory_mb: f64,
    /// Whether its versions are published, and have numbers.
    is_published: bool,
    /// Whether the platform logs in JSON.
    logs_json: bool,
    /// Whether Bantam's extension is in it.
    has_extension: bool,
    zone: String,
    version: u32,
    environments: Vec<Environment>,
    next_id: u64,
    /// When it was deployed last, until the first start after that.
    deployed: bool,
    lines: Vec<Line>,
    causes: Vec<&'static str>,
    /// When the last environment was in use.
    last_end: Option<i64>,
}

#[derive(Debug)]
struct Environment {
    stream: String,
    free_at: i64,
    ends_at: i64,
    idle_max: i64,
    invocations: u64,
    /// Why it has to start again.
    broken: Option<&'static str>,
    /// The line of Bantam's extension, which waits for the next invocation.
    line: Option<String>,
}

impl Simulation {
    fn new(name: String, at: usize, invocations: f64, seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed ^ (at as u64) << 32);
        Self {
            rate: invocations / (SPAN / HOUR) as f64,
            init_ms: random.random_range(80.0..900.0),
            duration_ms: random.random_range(3.0_f64..300.0),
            memory_mb: [128.0, 256.0, 512.0, 1_024.0][at % 4],
            is_published: !at.is_multiple_of(3),
            logs_json: at % 4 == 1,
            has_extension: at % 3 != 1,
            zone: String::new(),
            version: 7,
            environments: Vec::new(),
            next_id: 0,
            deployed: false,
            lines: Vec::new(),
            causes: Vec::new(),
            last_end: None,
            name,
            random,
        }
    }

    pub(super) fn run(mut self) -> Function {
        let mut now = BEGIN;
        let mut deploys: Vec<i64> = (0..self.random.random_range(0..3))
            .map(|_| BEGIN + self.random.random_range(HOUR..SPAN))
            .collect();
        deploys.sort_unstable_by_key(|at| Reverse(*at));
        loop {
            now += self.gap(now);
            if BEGIN + SPAN <= now {
                break;
            }
            if deploys.last().is_some_and(|at| *at <= now) {
                deploys.pop();
                self.deploy();
            }
            self.invoke(now);
            // Some events come in a burst.
            if self.random.random_bool(0.004) {
                for _ in 0..self.random.random_range(1..8) {
                    now += self.random.random_range(0..3);
                    self.invoke(now);
                }
            }
        }
        self.lines.sort_by_key(|line| line.time_ms);
        Function {
            name: self.name,
            lines: self.lines,
            causes: self.causes,
        }
    }

    /// Milliseconds until the next invocation. By night there are fewer.
    fn gap(&mut self, now: i64) -> i64 {
        let hour = (now / HOUR % 24) as f64;
        let day = 1.0 + 0.8 * ((hour - 8.0) / 24.0 * std::f64::consts::TAU).sin();
        let uniform: f64 = self.random.random_range(1e-9..1.0);
        (-uniform.ln() * HOUR as f64 / (self.rate * day)) as i64 + 1
    }

    fn deploy(&mut self) {
        self.version += 1;
        self.environments.clear();
        self.deployed = true;
    }

    fn invoke(&mut self, now: i64) {
        let is_lifetime = self
            .environments
            .iter()
            .any(|of| of.ends_at <= now && now - of.free_at < 5 * MINUTE);
        self.environments
            .retain(|of| now < of.free_at || now < of.ends_at && now - of.free_at < of.idle_max);
        let free = (0..self.environments.len())
            .filter(|at| self.environments[*at].free_at <= now)
            .max_by_key(|at| self.environments[*at].free_at);
        let at = match free {
            Some(at) => at,
            None => {
                let cause = if self.last_end.is_none() {
                    "first_in_log"
                } else if self.deployed && self.is_published {
                    "first_of_version"
                } else if !self.environments.is_empty() {
                    "scale_out"
                } else if self.deployed && self.last_end.is_some_and(|end| now - end < 5 * MINUTE) {
                    "first_of_deployment"
                } else if is_lifetime {
                    "lifetime"
                } else {
                    "idleness"
                };
                self.deployed = false;
                self.causes.push(cause);
                let stream = self.stream(now);
                self.environments.push(Environment {
                    stream,
                    free_at: now,
                    ends_at: now + self.random.random_range(2 * HOUR..8 * HOUR),
                    idle_max: self.random.random_range(8 * MINUTE..30 * MINUTE),
                    invocations: 0,
                    broken: Some(""),
                    line: None,
                });
                self.environments.len() - 1
            }
        };
        self.run_in(at, now);
    }

    fn stream(&mut self, now: i64) -> String {
        self.next_id += 1;
        let date = jiff::Timestamp::from_millisecond(now).unwrap_or_default();
        let version = self.version_text();
        let id: u128 = self.random.random();
        format!(
            "{}[{version}]{id:032x}",
            date.strftime(&format!("%Y/%m/%d/{}", self.name))
        )
    }

    fn version_text(&self) -> String {
        if self.is_published {
            self.version.to_string()
        } else {
            "$LATEST".to_owned()
        }
    }

    fn run_in(&mut self, at: usize, now: i64) {
        let id: u128 = self.random.random();
        let request = uuid(id);
        let spread = |random: &mut ChaCha8Rng| {
            let sum: f64 = (0..6).map(|_| random.random_range(-0.5..0.5)).sum();
            (0.35 * sum).exp()
        };
        let broken = self.environments[at].broken.take();
        let is_reset = broken.is_some_and(|cause| !cause.is_empty());
        let init_ms = broken.map(|_| round(self.init_ms * spread(&mut self.random), 100.0));
        let mut duration = round(self.duration_ms * spread(&mut self.random), 100.0);
        if init_ms.is_some() {
            duration = round(duration * 3.0, 100.0);
        }
        // After a reset the init is a part of the invocation.
        let waits = if is_reset {
            0.0
        } else {
            init_ms.unwrap_or_default()
        };
        if is_reset {
            duration = round(duration + init_ms.unwrap_or_default(), 100.0);
            self.causes.extend(broken);
        }
        let outcome = match self.random.random_range(0..10_000) {
            0..4 => Some("timeout"),
            4..7 => Some("crash"),
            7..9 => Some("out_of_memory"),
            _ => None,
        };
        let begin = now + waits as i64;
        let end = begin + duration as i64;
        let stream = self.environments[at].stream.clone();
        let version = self.version_text();
        if init_ms.is_some() {
            self.init_start(now, &stream, is_reset, init_ms.filter(|_| !is_reset));
        }
        self.line(begin, &stream, self.start_line(&request, &version));
        let text =
            format!("{{\"level\":\"INFO\",\"requestId\":\"{request}\",\"message\":\"done\"}}");
        self.line(end, &stream, text);
        if let Some(line) = self.environments[at].line.take() {
            self.line(begin, &stream, line);
        }
        if !self.logs_json {
            self.line(end, &stream, format!("END RequestId: {request}"));
        }
        let used = round(self.memory_mb * self.random.random_range(0.3..0.9), 1.0);
        let used = if outcome == Some("out_of_memory") {
            self.memory_mb
        } else {
            used
        };
        let init = init_ms.filter(|_| !is_reset);
        let report = self.report_line(end, &request, duration, init, used, outcome);
        self.line(end, &stream, report);
        if self.has_extension
            && !is_reset
            && let Some(init_ms) = init_ms
        {
            let line = self.extension_line(now, &stream, &request, init_ms, duration);
            self.environments[at].line = Some(line);
        }
        let environment = &mut self.environments[at];
        environment.free_at = end + 1;
        environment.invocations += 1;
        environment.broken = outcome;
        self.last_end = self.last_end.max(Some(end));
    }

    fn line(&mut self, time_ms: i64, stream: &str, text: String) {
        self.lines.push(Line {
            time_ms,
            stream: stream.to_owned(),
            text,
        });
    }

    fn record(time_ms: i64, kind: &str, record: &serde_json::Value) -> String {
        let time = jiff::Timestamp::from_millisecond(time_ms).unwrap_or_default();
        json!({"time": format!("{time:.3}"), "type": kind, "record": record}).to_string()
    }

    fn init_start(&mut self, now: i64, stream: &str, is_reset: bool, init_ms: Option<f64>) {
        if !self.logs_json {
            let text = "INIT_START Runtime Version: python:3.14.v3\tRuntime Version ARN: \
                        arn:aws:lambda:eu-central-1::runtime:0123456789";
            self.line(now, stream, text.to_owned());
            return;
        }
        let phase = if is_reset { "invoke" } else { "init" };
        let start = json!({"initializationType": "on-demand", "phase": phase,
            "functionName": self.name, "functionVersion": self.version_text(),
            "runtimeVersion": "python:3.14.v3"});
        let text = Self::record(now, "platform.initStart", &start);
        self.line(now, stream, text);
        if let Some(init_ms) = init_ms {
            let ready = now + (0.92 * init_ms) as i64;
            let done = json!({"initializationType": "on-demand", "phase": phase,
                "status": "success"});
            self.line(
                ready,
                stream,
                Self::record(ready, "platform.initRuntimeDone", &done),
            );
            let report = json!({"initializationType": "on-demand", "phase": phase,
                "status": "success", "metrics": {"durationMs": init_ms}});
            let end = now + init_ms as i64;
            self.line(
                end,
                stream,
                Self::record(end, "platform.initReport", &report),
            );
        }
    }

    fn start_line(&self, request: &str, version: &str) -> String {
        if self.logs_json {
            let record = json!({"requestId": request, "version": version});
            return json!({"type": "platform.start", "record": record}).to_string();
        }
        format!("START RequestId: {request} Version: {version}")
    }

    fn report_line(
        &self,
        end: i64,
        request: &str,
        duration: f64,
        init_ms: Option<f64>,
        used: f64,
        outcome: Option<&str>,
    ) -> String {
        let (status, error_type) = match outcome {
            None => (None, None),
            Some("timeout") => (Some("timeout"), None),
            Some("crash") => (Some("error"), Some("Runtime.ExitError")),
            Some(_) => (Some("error"), Some("Runtime.OutOfMemory")),
        };
        let billed = (duration + init_ms.unwrap_or_default()).ceil();
        let memory = self.memory_mb;
        if self.logs_json {
            let mut metrics = json!({"durationMs": duration, "billedDurationMs": billed,
                "memorySizeMB": memory, "maxMemoryUsedMB": used});
            if let Some(init_ms) = init_ms {
                metrics["initDurationMs"] = json!(init_ms);
            }
            let mut record = json!({"requestId": request, "metrics": metrics,
                "status": status.unwrap_or("success")});
            if let Some(error_type) = error_type {
                record["errorType"] = json!(error_type);
            }
            return Self::record(end, "platform.report", &record);
        }
        let mut text = format!(
            "REPORT RequestId: {request}\tDuration: {duration:.2} ms\tBilled Duration: {billed} \
             ms\tMemory Size: {memory} MB\tMax Memory Used: {used} MB\t"
        );
        if let Some(init_ms) = init_ms {
            text += &format!("Init Duration: {init_ms:.2} ms\t");
        }
        if let Some(status) = status {
            text += &format!("Status: {status}");
        }
        if let Some(error_type) = error_type {
            text += &format!("\tError Type: {error_type}");
        }
        text
    }

    /// The line of Bantam's extension about a start, in EMF.
    fn extension_line(
        &mut self,
        now: i64,
        stream: &str,
        request: &str,
        init_ms: f64,
        first_ms: f64,
    ) -> String {
        if self.zone.is_empty() || self.random.random_bool(0.3) {
            self.zone = format!("euc1-az{}", self.random.random_range(1..4));
        }
        let register = round(self.random.random_range(0.8..2.5), 1_000.0);
        let before = round(register + self.random.random_range(8.0..25.0), 1_000.0);
        let after = round(self.random.random_range(0.1..1.5), 1_000.0);
        json!({
            "_aws": {"Timestamp": now + (init_ms + first_ms) as i64, "CloudWatchMetrics": [{
                "Namespace": "Bantam",
                "Dimensions": [["function_name"], []],
                "Metrics": [
                    {"Name": "cold_starts", "Unit": "Count"},
                    {"Name": "init_duration", "Unit": "Milliseconds"},
                ],
            }]},
            "function_name": self.name,
            "function_version": self.version_text(),
            "availability_zone": self.zone,
            "cause": "demand",
            "cause_source": "inferred",
            "cold_start_kind": "on_demand",
            "cold_starts": 1,
            "environment_starts": 1,
            "init_duration": init_ms,
            "init_before_runtime_duration": before,
            "init_runtime_duration": round(init_ms - before - after, 1_000.0),
            "init_extensions_duration": after,
            "extension_register_duration": register,
            "billed_init_duration": (init_ms + first_ms).ceil() - first_ms.ceil(),
            "first_invocation_duration": first_ms,
            "cold_start_duration": round(init_ms + first_ms, 1_000.0),
            "request_id": request,
            "instance_id": stream,
            "start_ms": now,
            "memory_mb": self.memory_mb,
        })
        .to_string()
    }
}

fn round(value: f64, scale: f64) -> f64 {
    (value * scale).round() / scale
}

fn uuid(id: u128) -> String {
    let digits = format!("{id:032x}");
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32];
    parts
        .map(|part| digits.get(part).unwrap_or_default().to_owned())
        .join("-")
}

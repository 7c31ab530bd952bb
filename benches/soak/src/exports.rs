//! What the extension exported: to a file, which takes all, and to an OTLP receiver that fails.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use fastrand::Rng;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use prost::Message as _;
use serde_json::Value;
use testkit::http::{Answer, Request, Server};

use crate::Outcome;

/// Sums of what the files have.
#[derive(Debug, Default)]
pub(crate) struct Exported {
    /// The sum of the values of each metric.
    pub(crate) sums: BTreeMap<String, f64>,
    /// The number of its values.
    pub(crate) values: BTreeMap<String, u64>,
    /// Points, without those that tell what exporters lost.
    pub(crate) points: u64,
}

impl Exported {
    /// Reads the lines of the files `exported` and `exported.N` in a folder, one of each process.
    pub(crate) fn read(folder: &Path) -> Outcome<Self> {
        let mut exported = Self::default();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.file_stem().is_none_or(|stem| stem != "exported") {
                continue;
            }
            for line in BufReader::new(File::open(path)?).lines() {
                let batch: Value = serde_json::from_str(&line?)?;
                for point in batch["points"].as_array().ok_or("no points")? {
                    exported.add(point);
                }
            }
        }
        Ok(exported)
    }

    fn add(&mut self, point: &Value) {
        let name = point["name"].as_str().unwrap_or_default();
        let values = point["values"].as_array().map(Vec::as_slice);
        let values = values.unwrap_or_default();
        let sum: f64 = values.iter().filter_map(Value::as_f64).sum();
        *self.sums.entry(name.to_owned()).or_default() += sum;
        *self.values.entry(name.to_owned()).or_default() += values.len() as u64;
        if point["attributes"]["dropped_by"] != "exporter" {
            self.points += 1;
        }
    }

    /// The invocations, also those whose end no telemetry reported.
    pub(crate) fn invocations(&self) -> f64 {
        let names = ["invocations", "errors", "timeouts", "invocations_unknown"];
        names.iter().map(|name| self.sum(name)).sum()
    }

    pub(crate) fn sum(&self, name: &str) -> f64 {
        self.sums.get(name).copied().unwrap_or_default()
    }
}

/// A receiver of OTLP with outages.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    /// Points of the requests that it has answered with 200, each request once: one whose answer
    /// came too late is sent again.
    taken: Arc<AtomicU64>,
    faults: Arc<Mutex<Vec<String>>>,
}

/// What the receiver does for a while.
#[derive(Clone, Copy, Debug)]
enum Mood {
    Takes,
    Unavailable,
    Refuses,
    Loses,
    Hangs,
    Babbles,
}

const OUTAGES: [Mood; 5] = [
    Mood::Unavailable,
    Mood::Refuses,
    Mood::Loses,
    Mood::Hangs,
    Mood::Babbles,
];

impl Receiver {
    pub(crate) fn start(seed: u64) -> Self {
        let taken = Arc::new(AtomicU64::new(0));
        let faults: Arc<Mutex<Vec<String>>> = Arc::default();
        let (taking, failing) = (Arc::clone(&taken), Arc::clone(&faults));
        let mut rng = Rng::with_seed(seed);
        let (mut mood, mut left) = (Mood::Takes, 20);
        let mut seen = HashSet::new();
        let server = Server::start(move |_, request| {
            if left == 0 {
                let is_out = matches!(mood, Mood::Takes);
                mood = if is_out {
                    rng.choice(OUTAGES).unwrap_or(Mood::Takes)
                } else {
                    Mood::Takes
                };
                left = if is_out {
                    rng.u32(1..8)
                } else {
                    rng.u32(5..60)
                };
            }
            left -= 1;
            let mut hasher = DefaultHasher::new();
            request.body.hash(&mut hasher);
            if matches!(mood, Mood::Takes) && !seen.insert(hasher.finish()) {
                return Answer::Status("200 OK".to_owned());
            }
            answer(mood, request, &taking, &failing)
        });
        let requests = server.requests;
        // They are counted when they are answered.
        thread::spawn(move || for _ in requests {});
        Self {
            address: server.address,
            taken,
            faults,
        }
    }

    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut faults)
    }
}

fn answer(mood: Mood, request: &Request, taken: &AtomicU64, faults: &Mutex<Vec<String>>) -> Answer {
    match mood {
        Mood::Takes => match ExportMetricsServiceRequest::decode(&*request.body) {
            Ok(decoded) => {
                taken.fetch_add(points(&decoded), Ordering::Relaxed);
                Answer::Status("200 OK".to_owned())
            }
            Err(error) => {
                let mut faults = faults.lock().unwrap_or_else(PoisonError::into_inner);
                faults.push(format!("what came over OTLP cannot be decoded: {error}"));
                Answer::Status("400 Bad Request".to_owned())
            }
        },
        Mood::Unavailable => Answer::Status("503 Service Unavailable".to_owned()),
        Mood::Refuses => Answer::Status("400 Bad Request".to_owned()),
        Mood::Loses => Answer::Lose,
        Mood::Hangs => {
            thread::sleep(HANG);
            Answer::Lose
        }
        Mood::Babbles => Answer::Bytes(b"220 mail.example.com ESMTP\r\n".to_vec()),
    }
}

/// The points of a request, without those that tell what was lost.
fn points(request: &ExportMetricsServiceRequest) -> u64 {
    let scopes = request.resource_metrics.iter();
    let scopes = scopes.flat_map(|resource| &resource.scope_metrics);
    let metrics = scopes.flat_map(|scope| &scope.metrics);
    let counts = metrics.map(|metric| match &metric.data {
        Some(Data::Sum(sum)) => own(sum.data_points.iter().map(|point| &point.attributes)),
        Some(Data::Gauge(gauge)) => own(gauge.data_points.iter().map(|point| &point.attributes)),
        Some(Data::Histogram(histogram)) => {
            own(histogram.data_points.iter().map(|point| &point.attributes))
        }
        _ => 0,
    });
    counts.sum()
}

fn own<'a>(points: impl Iterator<Item = &'a Vec<KeyValue>>) -> u64 {
    let tells_losses = |attribute: &KeyValue| {
        let value = attribute.value.as_ref().and_then(|any| any.value.as_ref());
        matches!(value, Some(any_value::Value::StringValue(text)) if text == "exporter")
    };
    points
        .filter(|attributes| !attributes.iter().any(tells_losses))
        .count() as u64
}

/// Longer than the exporter waits.
const HANG: Duration = Duration::from_millis(300);

//! The JSON of `bantam-emulator coldstart`.

use std::borrow::Cow;

use serde::Deserialize;

use super::figure;
use crate::fact::{Fact, Sample, Sink, Source};

/// One program that was measured.
#[derive(Debug, Deserialize)]
pub(crate) struct Subject {
    name: String,
    #[serde(default)]
    samples: Vec<Measurement>,
}

/// One cold start, in nanoseconds and bytes.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Measurement {
    exec_to_next_ns: Option<f64>,
    init_ns: Option<f64>,
    first_invocation_ns: Option<f64>,
    warm_invocations_ns: Vec<f64>,
    peak_memory_bytes: Option<f64>,
}

impl Subject {
    pub(crate) fn facts(&self, sink: &mut dyn Sink) {
        let ms = |ns: Option<f64>| ns.and_then(figure).map(|ns| ns / 1e6);
        let megabytes = |bytes: Option<f64>| bytes.and_then(figure).map(|bytes| bytes / MEGABYTE);
        for sample in &self.samples {
            let fact = Fact::Sample(Sample {
                subject: Cow::Borrowed(&self.name),
                init_ms: ms(sample.init_ns),
                first_ms: ms(sample.first_invocation_ns),
                exec_to_next_ms: ms(sample.exec_to_next_ns),
                memory_used_mb: megabytes(sample.peak_memory_bytes),
                warm_invocations: sample.warm_invocations_ns.len() as u64,
            });
            sink.fact(&Source::default(), &fact);
        }
    }
}

/// Bytes of a megabyte, as Lambda counts.
pub(crate) const MEGABYTE: f64 = 1_048_576.0;

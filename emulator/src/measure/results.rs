//! The results of a measurement.

use std::path::PathBuf;

use serde::Serialize;

use super::figure::{ExtensionFigure, Figure};
use super::machine::Machine;
use super::sample::Sample;
use super::stats::{Comparison, Summary};
use super::subject::Options;

/// Everything that was measured.
#[derive(Clone, Debug)]
pub struct Results {
    /// The number of measurements.
    pub options: Options,
    /// The machine that measured.
    pub machine: Machine,
    /// One per subject, in the order given. The first is what the others are compared with.
    pub subjects: Vec<Measured>,
}

/// The measurements of one subject.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// Its name.
    pub name: String,
    /// The program that was started.
    pub program: PathBuf,
    /// The size of that file.
    pub binary_bytes: u64,
    /// The size of the event it was invoked with.
    pub event_bytes: usize,
    /// The subject that its ratios are to, by name.
    pub compared_with: Option<String>,
    /// Its cold starts, in the order they were taken.
    pub samples: Vec<Sample>,
}

impl Measured {
    /// The summary of one figure; `None` if there is no value of it.
    #[must_use]
    pub fn summary(&self, figure: Figure) -> Option<Summary> {
        match figure {
            Figure::Binary => Summary::of(&[self.binary_bytes]),
            Figure::ExecToNext
            | Figure::Init
            | Figure::FirstInvocation
            | Figure::WarmInvocation
            | Figure::Cpu
            | Figure::PeakMemory => Summary::of(&self.values(figure).concat()),
        }
    }

    /// The values of one figure, by cold start.
    fn values(&self, figure: Figure) -> Vec<Vec<u64>> {
        match figure {
            Figure::Binary => vec![vec![self.binary_bytes]],
            Figure::ExecToNext
            | Figure::Init
            | Figure::FirstInvocation
            | Figure::WarmInvocation
            | Figure::Cpu
            | Figure::PeakMemory => self.samples.iter().map(|s| figure.values(s)).collect(),
        }
    }
}

impl Measured {
    /// The extensions that were beside it, by name.
    #[must_use]
    pub fn extensions(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for extension in self.samples.iter().flat_map(|sample| &sample.extensions) {
            if !names.contains(&extension.name.as_str()) {
                names.push(&extension.name);
            }
        }
        names
    }

    /// The summary of one figure of an extension; `None` if there is no value of it.
    #[must_use]
    pub fn extension(&self, name: &str, figure: ExtensionFigure) -> Option<Summary> {
        let all = self.samples.iter().flat_map(|sample| &sample.extensions);
        let named = all.filter(|extension| extension.name == name);
        Summary::of(&named.filter_map(|e| figure.value(e)).collect::<Vec<_>>())
    }
}

impl Results {
    /// The subject that the ratios of another one are to; `None` for the first, which has none.
    #[must_use]
    pub fn base(&self, of: &Measured) -> Option<&Measured> {
        let first = self.subjects.first()?;
        let named = of.compared_with.as_deref().unwrap_or(&first.name);
        let base = self.subjects.iter().find(|other| other.name == named)?;
        (base.name != of.name).then_some(base)
    }

    /// A figure of a subject beside the one it is compared with.
    #[must_use]
    pub fn comparison(&self, of: &Measured, figure: Figure) -> Option<Comparison> {
        Comparison::of(&of.values(figure), &self.base(of)?.values(figure))
    }
}

/// A warning for figures of a debug build.
pub(super) const NOTE_UNOPTIMISED: &str = "The emulator is a debug build: most of an invocation's \
    time is its own. Build it with --release.";

/// A warning for readers of the figures.
pub(super) const NOTE: &str = "Taken in an emulator on this machine, not on AWS: \
    compare the ratios, not the figures.";

#[cfg(test)]
pub(super) mod tests {
    use super::super::sample::ExtensionSample;
    use super::{Machine, Measured, Options, Results, Sample};

    /// The second subject has an extension beside it, which never exits by itself.
    fn beside(factor: u64, round: u64) -> Vec<ExtensionSample> {
        let extension = ExtensionSample {
            name: "ext".into(),
            exec_to_register_ns: Some(1_000_000 + 100_000 * round),
            exec_to_ready_ns: Some(2_000_000),
            peak_memory_bytes: Some(3 << 20),
            shutdown_ns: None,
        };
        Vec::from_iter((factor == 2).then_some(extension))
    }

    /// Two subjects with three cold starts; every figure of the second is twice the first's.
    pub(in super::super) fn results() -> Results {
        results_of(3)
    }

    /// The same with so many cold starts.
    pub(in super::super) fn results_of(times: usize) -> Results {
        let measured = |name: &str, factor: u64| Measured {
            name: name.to_owned(),
            program: name.into(),
            binary_bytes: 1_000 * factor,
            event_bytes: 2,
            compared_with: None,
            samples: (0..3)
                .cycle()
                .take(times)
                .map(|round| Sample {
                    exec_to_next_ns: (1_000_000 + 100_000 * round) * factor,
                    init_ns: (1_000_100 + 100_000 * round) * factor,
                    first_invocation_ns: (310_000 + round) * factor,
                    warm_invocations_ns: vec![90_000 * factor, 95_000 * factor],
                    cpu_ns: 400_000 * factor,
                    peak_memory_bytes: 2_000_000 * factor,
                    extensions: beside(factor, round),
                })
                .collect(),
        };
        Results {
            options: Options {
                times,
                warm: 2,
                unmeasured: 0,
            },
            machine: Machine {
                kernel: "Linux 6.1".into(),
                cpu: "Example".into(),
                cores: 2,
            },
            subjects: vec![measured("one", 1), measured("two", 2)],
        }
    }
}

//! Results as JSON: every sample, beside what the table shows of them.

use serde_json::{Map, Value, json};

use super::figure::{Figure, Unit};
use super::results::{Measured, NOTE, Results};

impl Results {
    /// The results as one JSON object: machine, options, and per subject its summaries, ratios to
    /// the first subject, and samples. Times are in nanoseconds, sizes in bytes; names end in the
    /// unit.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "note": NOTE,
            "machine": self.machine,
            "emulator_optimised": !cfg!(debug_assertions),
            "times": self.options.times,
            "warm_invocations": self.options.warm,
            "unmeasured_cold_starts": self.options.unmeasured,
            "subjects": self.subjects.iter().map(|of| self.subject_json(of)).collect::<Vec<_>>(),
        })
    }

    fn subject_json(&self, of: &Measured) -> Value {
        let figures = Figure::ALL.into_iter().filter_map(|figure| {
            let summary = of.summary(figure)?;
            let value = json!({
                "samples": summary.samples,
                "median": summary.median,
                "p90": summary.p90,
                "p99": summary.p99,
                "ratio": self.ratio(of, figure),
            });
            Some((key(figure), value))
        });
        let mut object = Map::new();
        object.insert("name".to_owned(), json!(of.name));
        object.insert("program".to_owned(), json!(of.program.to_string_lossy()));
        object.insert("event_bytes".to_owned(), json!(of.event_bytes));
        object.insert("figures".to_owned(), Value::Object(figures.collect()));
        object.insert("samples".to_owned(), json!(of.samples));
        Value::Object(object)
    }
}

/// The figure's name in the JSON, with its unit.
fn key(figure: Figure) -> String {
    let name = match figure {
        Figure::ExecToNext => "exec_to_next",
        Figure::Init => "init",
        Figure::FirstInvocation => "first_invocation",
        Figure::WarmInvocation => "warm_invocation",
        Figure::Cpu => "cpu",
        Figure::PeakMemory => "peak_memory",
        Figure::Binary => "binary",
    };
    let unit = match figure.unit() {
        Unit::Nanoseconds => "ns",
        Unit::MemoryBytes | Unit::FileBytes => "bytes",
    };
    format!("{name}_{unit}")
}

#[cfg(test)]
mod tests {
    use super::super::results::tests::results;

    #[test]
    fn json_keeps_samples_and_summaries() {
        let json = results().json();
        let at = |pointer: &str| json.pointer(pointer).cloned().unwrap_or_default();
        assert_eq!(at("/subjects/0/name"), "one");
        assert_eq!(at("/subjects/0/samples/2/exec_to_next_ns"), 1_200_000);
        assert_eq!(at("/subjects/0/figures/exec_to_next_ns/median"), 1_100_000);
        assert_eq!(at("/subjects/1/figures/exec_to_next_ns/ratio"), 2.0);
        assert_eq!(at("/subjects/1/figures/warm_invocation_ns/samples"), 6);
        assert_eq!(at("/subjects/1/figures/binary_bytes/p99"), 2_000);
        assert_eq!(at("/machine/cores"), 2);
        assert_eq!(at("/times"), 3);
    }

    #[test]
    fn a_figure_without_samples_is_left_out() {
        let mut results = results();
        results.subjects[0]
            .samples
            .iter_mut()
            .for_each(|s| s.warm_invocations_ns.clear());
        assert_eq!(
            results
                .json()
                .pointer("/subjects/0/figures/warm_invocation_ns"),
            None
        );
    }
}

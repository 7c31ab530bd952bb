//! Results as JSON: every sample, beside what the table shows of them.

use serde_json::{Map, Value, json};

use super::figure::{ExtensionFigure, Figure, Unit};
use super::results::{Measured, NOTE, Results};

impl Results {
    /// The results as one JSON object, as `docs/coldstart.md` describes it: machine, options, and
    /// each subject with its summaries, ratios and samples. Times are in nanoseconds, sizes in
    /// bytes; names end in the unit.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "note": NOTE,
            "emulator_version": env!("CARGO_PKG_VERSION"),
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
            let mut value = json!(of.summary(figure)?);
            let comparison = self.comparison(of, figure);
            let is_base = self.base(of).is_none();
            value["ratio"] = match comparison {
                Some(comparison) => json!(comparison.ratio),
                None if is_base => json!(1.0),
                None => Value::Null,
            };
            value["ratio_interval"] = json!(comparison.and_then(|found| found.interval));
            value["p_value"] = json!(comparison.and_then(|found| found.p_value));
            Some((key(figure), value))
        });
        let extensions = of.extensions().into_iter().map(|name| {
            let figures = ExtensionFigure::ALL.into_iter().filter_map(|figure| {
                let summary = of.extension(name, figure)?;
                Some((extension_key(figure).to_owned(), json!(summary)))
            });
            json!({"name": name, "figures": figures.collect::<Map<_, _>>()})
        });
        let mut object = Map::new();
        object.insert("name".to_owned(), json!(of.name));
        object.insert("program".to_owned(), json!(of.program.to_string_lossy()));
        object.insert("event_bytes".to_owned(), json!(of.event_bytes));
        let base = self.base(of).map(|base| &base.name);
        object.insert("compared_with".to_owned(), json!(base));
        object.insert("figures".to_owned(), Value::Object(figures.collect()));
        let extensions: Vec<Value> = extensions.collect();
        if !extensions.is_empty() {
            object.insert("extensions".to_owned(), json!(extensions));
        }
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

/// The figure's name in the JSON, which is the one in a sample.
fn extension_key(figure: ExtensionFigure) -> &'static str {
    match figure {
        ExtensionFigure::ExecToRegister => "exec_to_register_ns",
        ExtensionFigure::ExecToReady => "exec_to_ready_ns",
        ExtensionFigure::PeakMemory => "peak_memory_bytes",
        ExtensionFigure::Shutdown => "shutdown_ns",
    }
}

#[cfg(test)]
mod tests {
    use super::super::results::tests::{results, results_of};

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
        assert_eq!(at("/subjects/0/figures/init_ns/ratio"), 1.0);
        assert_eq!(at("/subjects/0/compared_with"), serde_json::Value::Null);
        assert_eq!(at("/subjects/1/compared_with"), "one");
        let ready = "/subjects/1/extensions/0/figures/exec_to_ready_ns";
        assert_eq!(at(&[ready, "/median"].concat()), 2_000_000);
        assert_eq!(json.pointer("/subjects/0/extensions"), None);
        assert_eq!(at("/machine/cores"), 2);
        assert_eq!(at("/times"), 3);
    }

    #[test]
    fn json_has_the_spread_and_the_significance_of_a_ratio() {
        let json = results_of(30).json();
        let init = json.pointer("/subjects/1/figures/init_ns").unwrap();
        let end = |index: usize| init["ratio_interval"][index].as_f64().unwrap();
        assert!(end(0) <= 2.0 && 2.0 <= end(1) && end(1) < 2.3, "{init}");
        assert!(init["p_value"].as_f64().unwrap() < 0.001, "{init}");
        let few = results().json();
        let init = few.pointer("/subjects/1/figures/init_ns").unwrap();
        assert_eq!(init["ratio_interval"], serde_json::Value::Null);
    }

    #[test]
    fn a_subject_is_compared_with_the_one_that_it_names() {
        let mut results = results();
        let mut third = results.subjects[0].clone();
        third.name = "three".to_owned();
        third.compared_with = Some("two".to_owned());
        results.subjects.push(third);
        let json = results.json();
        let third = json.pointer("/subjects/2").unwrap();
        assert_eq!(third["compared_with"], "two");
        assert_eq!(third["figures"]["init_ns"]["ratio"], 0.5);
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

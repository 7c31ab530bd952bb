//! Which exporters are on, and their settings.
//!
//! The variables of OTLP are the standard ones:
//! <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>. They do not switch OTLP on by
//! themselves, because functions set them for their own telemetry.

use super::dogstatsd::DogStatsd;
use super::otlp::Otlp;
use super::reader::{Reader, SYSTEM_METRICS, list, shown};
use crate::extension::export::emf::{self, Chosen, DIMENSIONS, Emf};
use crate::extension::metric::Subject;
use crate::extension::metric::catalogue::ALL;
use crate::shared::settings::nearest;

/// The exporters that are on, each with its settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::extension) struct Exporters {
    /// EMF on standard output.
    pub(in crate::extension) emf: Option<Emf>,
    /// OTLP over HTTP.
    pub(in crate::extension) otlp: Option<Otlp>,
    /// `BANTAM_NDJSON_FILE`: the file that lines are appended to.
    pub(in crate::extension) ndjson: Option<String>,
    /// Datagrams for an agent of Datadog.
    pub(in crate::extension) dogstatsd: Option<DogStatsd>,
}

impl Exporters {
    /// Reads the settings of the exporters. `service.name` of `OTEL_RESOURCE_ATTRIBUTES` becomes
    /// the `service_name` if that is empty and OTLP is on.
    pub(super) fn read(reader: &mut Reader<'_>, service_name: &mut String) -> Self {
        let names = names(reader);
        let is_on = |name: &str| names.contains(&name);
        Self {
            emf: is_on(EMF).then(|| read_emf(reader)),
            otlp: match is_on(OTLP) {
                true => Otlp::read(reader, service_name),
                false => None,
            },
            ndjson: is_on(NDJSON).then(|| read_ndjson(reader)),
            dogstatsd: is_on(DOGSTATSD).then(|| DogStatsd::read(reader)),
        }
    }
}

/// The names of the exporters that are on.
fn names(reader: &mut Reader<'_>) -> Vec<&'static str> {
    let mut names = Vec::new();
    let mut is_none = false;
    for name in list(reader.text("BANTAM_EXPORTERS").unwrap_or(EMF)) {
        let is_named = |known: &&&str| known.eq_ignore_ascii_case(name);
        match [EMF, OTLP, NDJSON, DOGSTATSD].iter().find(is_named) {
            Some(known) => names.push(*known),
            None if name.eq_ignore_ascii_case(NONE) => is_none = true,
            None => reader.warn(format!(
                "BANTAM_EXPORTERS: \"{}\" is none of emf, otlp, ndjson, dogstatsd, none",
                shown(name)
            )),
        }
    }
    match (names.is_empty(), is_none) {
        (true, false) => {
            reader.warn(format!("BANTAM_EXPORTERS names no exporter: using {EMF}"));
            names.push(EMF);
        }
        (false, true) => reader
            .warn("BANTAM_EXPORTERS names none beside exporters: using the exporters".to_owned()),
        (true, true) | (false, false) => {}
    }
    names
}

fn read_emf(reader: &mut Reader<'_>) -> Emf {
    let namespace = reader.parsed(
        "BANTAM_EMF_NAMESPACE",
        &|value| emf::is_namespace(value).then(|| value.to_owned()),
        "1 to 256 of letters, digits, spaces and ._#:/-, and not AWS/, which is reserved",
        EMF_NAMESPACE,
    );
    let mut dimensions = Vec::new();
    for sets in [
        reader
            .text("BANTAM_EMF_DIMENSIONS")
            .unwrap_or(EMF_DIMENSIONS),
        EMF_DIMENSIONS,
    ] {
        match emf::dimension_sets(sets) {
            Ok(sets) => {
                dimensions = sets;
                break;
            }
            Err(name) => reader.warn(format!(
                "BANTAM_EMF_DIMENSIONS: \"{}\" is not a dimension{} Using \"{EMF_DIMENSIONS}\"",
                shown(name),
                suggestion(name, &mut DIMENSIONS.into_iter()),
            )),
        }
    }
    Emf {
        namespace: namespace.unwrap_or_else(|| EMF_NAMESPACE.to_owned()),
        dimensions,
        metrics: read_metrics(reader),
        with_ends: reader.flag("BANTAM_EMF_ENDS"),
    }
}

/// The metrics that are named, without the names that are not known.
fn read_metrics(reader: &mut Reader<'_>) -> Chosen {
    let mut chosen = Vec::new();
    let mut has_all = false;
    let mut is_none = false;
    for name in list(reader.text("BANTAM_EMF_METRICS").unwrap_or(EMF_METRICS)) {
        match (name, emf::metric(name)) {
            ("all", _) => has_all = true,
            (NONE, _) => is_none = true,
            (_, Some(known)) => {
                if known.subject == Subject::System && reader.text(SYSTEM_METRICS).is_none() {
                    reader.warn(format!(
                        "BANTAM_EMF_METRICS: \"{name}\" is read only with {SYSTEM_METRICS}=true"
                    ));
                }
                chosen.push(known.name);
            }
            (_, None) => reader.warn(format!(
                "BANTAM_EMF_METRICS: \"{}\" is not a metric and changes nothing{}",
                shown(name),
                suggestion(name, &mut ALL.iter().map(|metric| metric.name)),
            )),
        }
    }
    if has_all {
        return Chosen::All;
    }
    if chosen.is_empty() && !is_none {
        reader.warn(format!(
            "BANTAM_EMF_METRICS names no metric: using {EMF_METRICS}"
        ));
        chosen.extend(list(EMF_METRICS));
    }
    Chosen::Named(chosen)
}

/// The end of a warning about a name: the nearest that is known.
fn suggestion(name: &str, known: &mut dyn Iterator<Item = &'static str>) -> String {
    match nearest(shown(name), known) {
        Some(nearest) => format!(": did you mean {nearest}?"),
        None => String::new(),
    }
}

fn read_ndjson(reader: &mut Reader<'_>) -> String {
    let path = reader.parsed(
        "BANTAM_NDJSON_FILE",
        &|path| path.starts_with('/').then(|| path.to_owned()),
        "an absolute path",
        NDJSON_FILE,
    );
    path.unwrap_or_else(|| NDJSON_FILE.to_owned())
}

// The names in `BANTAM_EXPORTERS`.
const EMF: &str = "emf";
const OTLP: &str = "otlp";
const NDJSON: &str = "ndjson";
const DOGSTATSD: &str = "dogstatsd";
const NONE: &str = "none";

const EMF_NAMESPACE: &str = "Bantam";

/// One metric for each function, and one for all of them in an account and region.
const EMF_DIMENSIONS: &str = "function_name;";

/// The figures of starts that are worth an alarm: how many invocations waited, how long they did,
/// how long the init took, which a deployment changes, and inits that failed. The last exists only
/// where there are any.
pub(in crate::extension) const EMF_METRICS: &str =
    "cold_starts,cold_start_duration,init_duration,init_failures";

/// In the only folder that can be written.
const NDJSON_FILE: &str = "/tmp/bantam.ndjson";

#[cfg(test)]
mod tests {
    use super::super::{Settings, variables};
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> (Exporters, Vec<String>) {
        let settings = Settings::read(&variables(pairs));
        (settings.exporters, settings.warnings)
    }

    #[test]
    fn without_settings_there_is_emf() {
        let found = read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")]);
        let emf = Emf {
            namespace: "Bantam".to_owned(),
            dimensions: vec![vec!["function_name"], vec![]],
            metrics: Chosen::Named(vec![
                "cold_starts",
                "cold_start_duration",
                "init_duration",
                "init_failures",
            ]),
            with_ends: false,
        };
        let expected = Exporters {
            emf: Some(emf),
            ..Exporters::default()
        };
        assert_eq!(found, (expected, Vec::new()));
    }

    #[test]
    fn exporters_are_a_list() {
        let unknown = "BANTAM_EXPORTERS: \"x\" is none of emf, otlp, ndjson, dogstatsd, none";
        let nothing = "BANTAM_EXPORTERS names no exporter: using emf";
        let both = "BANTAM_EXPORTERS names none beside exporters: using the exporters";
        let table: [(&str, [bool; 4], &[&str]); 9] = [
            ("", [true, false, false, false], &[]),
            ("none", [false; 4], &[]),
            ("emf", [true, false, false, false], &[]),
            (" OTLP , emf,,emf", [true, true, false, false], &[]),
            ("emf,otlp,ndjson,dogstatsd", [true; 4], &[]),
            ("x", [true, false, false, false], &[unknown, nothing]),
            ("x,ndjson", [false, false, true, false], &[unknown]),
            ("none,dogstatsd", [false, false, false, true], &[both]),
            (",", [true, false, false, false], &[nothing]),
        ];
        for (value, on, warnings) in table {
            let (exporters, found_warnings) = read(&[("BANTAM_EXPORTERS", value)]);
            let found = [
                exporters.emf.is_some(),
                exporters.otlp.is_some(),
                exporters.ndjson.is_some(),
                exporters.dogstatsd.is_some(),
            ];
            assert_eq!(found, on, "{value}");
            assert_eq!(found_warnings, warnings, "{value}");
        }
    }

    #[test]
    fn namespaces_are_checked() {
        let long = "n".repeat(256);
        let too_long = "n".repeat(257);
        let table = [
            ("My.App/cold_starts #1:a-b", true),
            ("Team/AWS/x", true),
            (&long, true),
            (&too_long, false),
            ("AWS/x", false),
            ("a&b", false),
            ("na\u{ef}ve", false),
        ];
        for (value, is_taken) in table {
            let (exporters, warnings) = read(&[("BANTAM_EMF_NAMESPACE", value)]);
            let expected = if is_taken { value } else { "Bantam" };
            assert_eq!(exporters.emf.unwrap().namespace, expected);
            assert_eq!(warnings.is_empty(), is_taken, "{value}");
        }
    }

    #[test]
    fn unknown_dimensions_are_told_with_the_nearest_that_is_known() {
        let read = |value| {
            let (exporters, warnings) = read(&[("BANTAM_EMF_DIMENSIONS", value)]);
            (exporters.emf.unwrap().dimensions, warnings)
        };
        let (dimensions, warnings) = read("functionname");
        let (usual, _) = read("");
        assert_eq!(dimensions, usual);
        assert_eq!(
            warnings,
            [
                "BANTAM_EMF_DIMENSIONS: \"functionname\" is not a dimension: did you mean \
              function_name? Using \"function_name;\""
            ]
        );
        let region = (vec![vec!["region"]], Vec::new());
        assert_eq!(read("region"), region);
    }

    #[test]
    fn metrics_are_chosen_by_name() {
        let unknown = "BANTAM_EMF_METRICS: \"init_durations\" is not a metric and changes nothing: \
                       did you mean init_duration?";
        let nothing = "BANTAM_EMF_METRICS names no metric: using \
                       cold_starts,cold_start_duration,init_duration,init_failures";
        let usual = || Chosen::Named(list(EMF_METRICS).collect());
        let table: [(&str, Chosen, &[&str]); 8] = [
            ("all", Chosen::All, &[]),
            ("none", Chosen::Named(vec![]), &[]),
            ("errors,all", Chosen::All, &[]),
            (
                " errors , duration,,",
                Chosen::Named(vec!["errors", "duration"]),
                &[],
            ),
            (
                "init_durations,errors",
                Chosen::Named(vec!["errors"]),
                &[unknown],
            ),
            ("init_durations", usual(), &[unknown, nothing]),
            ("init_durations,none", Chosen::Named(vec![]), &[unknown]),
            (",", usual(), &[nothing]),
        ];
        for (value, chosen, expected) in table {
            let (exporters, warnings) = read(&[("BANTAM_EMF_METRICS", value)]);
            assert_eq!(exporters.emf.unwrap().metrics, chosen, "{value}");
            assert_eq!(warnings, expected, "{value}");
        }
    }

    #[test]
    fn ends_are_lines_if_that_is_set() {
        let table = [("true", true, 0), ("false", false, 0), ("yes", false, 1)];
        for (value, with_ends, count) in table {
            let (exporters, warnings) = read(&[("BANTAM_EMF_ENDS", value)]);
            assert_eq!(exporters.emf.unwrap().with_ends, with_ends, "{value}");
            assert_eq!(warnings.len(), count, "{value}");
        }
    }

    #[test]
    fn ndjson_goes_to_an_absolute_path() {
        let table = [
            ("/tmp/x", "/tmp/x", 0),
            ("x", "/tmp/bantam.ndjson", 1),
            ("", "/tmp/bantam.ndjson", 0),
        ];
        for (value, path, count) in table {
            let (exporters, warnings) = read(&[
                ("BANTAM_EXPORTERS", "ndjson"),
                ("BANTAM_NDJSON_FILE", value),
            ]);
            assert_eq!(exporters.ndjson.as_deref(), Some(path));
            assert_eq!(warnings.len(), count, "{value}");
        }
    }
}

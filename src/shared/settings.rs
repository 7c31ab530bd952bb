//! The names of our settings, which are environment variables of the function.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// The warning about a variable that has our prefix and is not a setting.
pub(crate) fn unknown(name: &str) -> Option<String> {
    if !name.starts_with("BANTAM_") || SETTINGS.contains(&name) {
        return None;
    }
    let nearest = nearest(name, SETTINGS.into_iter())?;
    Some(format!(
        "{name} is not a setting and changes nothing: did you mean {nearest}?"
    ))
}

/// The name out of `known` that differs least from this one.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known.min_by_key(|known| distance(name, known))
}

/// The number of bytes to insert, remove or replace that makes one name the other:
/// <https://en.wikipedia.org/wiki/Levenshtein_distance>.
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, byte) in from.bytes().enumerate() {
        let mut diagonal = index;
        let mut left = index + 1;
        for (cell, other) in row.iter_mut().skip(1).zip(to.bytes()) {
            let replaced = diagonal + usize::from(byte != other);
            diagonal = *cell;
            left = replaced.min(left + 1).min(*cell + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = index + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

/// The variables with our prefix. The last five are settings of the runtime.
pub(crate) const SETTINGS: [&str; 16] = [
    "BANTAM_EXPORTERS",
    "BANTAM_INTERVAL_MS",
    "BANTAM_SYSTEM_METRICS",
    "BANTAM_TELEMETRY_PORT",
    "BANTAM_EMF_NAMESPACE",
    "BANTAM_EMF_DIMENSIONS",
    "BANTAM_EMF_METRICS",
    "BANTAM_EMF_ENDS",
    "BANTAM_NDJSON_FILE",
    "BANTAM_DOGSTATSD",
    "BANTAM_TRACES",
    "BANTAM_HANDLER_MODE",
    "BANTAM_INVOKE_MODE",
    "BANTAM_BEFORE_SNAPSHOT",
    "BANTAM_AFTER_RESTORE",
    "BANTAM_AVAILABILITY_ZONE",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_variable_is_reported_with_the_nearest_setting() {
        let table = [
            ("BANTAM_EXPORTER", Some("BANTAM_EXPORTERS")),
            ("BANTAM_HANDLERMODE", Some("BANTAM_HANDLER_MODE")),
            ("BANTAM_EMF_DIMENSION", Some("BANTAM_EMF_DIMENSIONS")),
            ("BANTAM_NDJSON", Some("BANTAM_NDJSON_FILE")),
            ("BANTAM_PORT", Some("BANTAM_EXPORTERS")),
            ("BANTAM_", Some("BANTAM_TRACES")),
            ("_BANTAM_RESUME", None),
            ("bantam_exporter", None),
        ];
        let known = SETTINGS.map(|name| (name, None));
        for (name, nearest) in table.into_iter().chain(known) {
            let expected = nearest.map(|nearest| {
                format!("{name} is not a setting and changes nothing: did you mean {nearest}?")
            });
            assert_eq!(unknown(name), expected, "{name}");
        }
    }

    #[test]
    fn distances_are_counts_of_changes() {
        let table = [
            ("", "", 0),
            ("a", "", 1),
            ("", "ab", 2),
            ("kitten", "sitting", 3),
            ("flaw", "lawn", 2),
            ("same", "same", 0),
        ];
        for (from, to, expected) in table {
            assert_eq!(distance(from, to), expected, "{from} {to}");
            assert_eq!(distance(to, from), expected, "{to} {from}");
        }
    }
}

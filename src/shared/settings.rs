//! The names of our settings, which are environment variables of the function.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// The warning about a variable that has our prefix, is not a setting, and is nearest to one of the
/// settings of this role. The other role, which sees the same variables, warns of the rest.
pub(crate) fn unknown(name: &str, role: &[&str]) -> Option<String> {
    if !name.starts_with("BANTAM_") {
        return None;
    }
    let nearest = nearest(name, EXTENSION.into_iter().chain(RUNTIME))?;
    if name == nearest || !role.contains(&nearest) {
        return None;
    }
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

/// The variables with our prefix that the extension reads.
pub(crate) const EXTENSION: [&str; 11] = [
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
];

/// Those that the runtime reads, for executables and HTTP servers.
pub(crate) const RUNTIME: [&str; 5] = [
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
    fn a_misspelt_setting_is_reported_by_the_role_that_reads_it() {
        let by_extension = [
            ("BANTAM_EXPORTER", "BANTAM_EXPORTERS"),
            ("BANTAM_EMF_DIMENSION", "BANTAM_EMF_DIMENSIONS"),
            ("BANTAM_NDJSON", "BANTAM_NDJSON_FILE"),
            ("BANTAM_PORT", "BANTAM_EXPORTERS"),
            ("BANTAM_", "BANTAM_TRACES"),
        ];
        let by_runtime = [
            ("BANTAM_HANDLERMODE", "BANTAM_HANDLER_MODE"),
            ("BANTAM_AVAILABILITYZONE", "BANTAM_AVAILABILITY_ZONE"),
        ];
        let tables = [
            (&by_extension[..], &EXTENSION[..], &RUNTIME[..]),
            (&by_runtime, &RUNTIME, &EXTENSION),
        ];
        for (table, role, other) in tables {
            for (name, nearest) in table {
                let expected =
                    format!("{name} is not a setting and changes nothing: did you mean {nearest}?");
                assert_eq!(unknown(name, role), Some(expected));
                assert_eq!(unknown(name, other), None, "{name}");
            }
        }
        for name in ["_BANTAM_RESUME", "bantam_exporter"]
            .into_iter()
            .chain(EXTENSION)
            .chain(RUNTIME)
        {
            assert_eq!(
                (unknown(name, &EXTENSION), unknown(name, &RUNTIME)),
                (None, None),
                "{name}"
            );
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

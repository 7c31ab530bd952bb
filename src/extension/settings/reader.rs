//! Reads environment variables one by one, and collects warnings about their values.

use std::ffi::OsString;

/// The environment variables, read once.
#[derive(Clone, Debug, Default)]
pub(in crate::extension) struct Variables(Vec<(String, String)>);

impl Variables {
    /// Takes the variables whose names and values are text.
    pub(in crate::extension) fn of(pairs: impl Iterator<Item = (OsString, OsString)>) -> Self {
        let mut variables = Vec::new();
        for (name, value) in pairs {
            if let (Ok(name), Ok(value)) = (name.into_string(), value.into_string()) {
                variables.push((name, value));
            }
        }
        Self(variables)
    }

    /// The value of a variable, trimmed; an empty one counts as absent.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(known, _)| known == name)?;
        Some(value.trim_ascii()).filter(|value| !value.is_empty())
    }
}

/// Reads settings out of variables.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    variables: &'a Variables,
    /// Lines for the log. Values that can hold secrets are not in them.
    pub(super) warnings: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(variables: &'a Variables) -> Self {
        Self {
            variables,
            warnings: Vec::new(),
        }
    }

    /// The value of a variable.
    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        self.variables.get(name)
    }

    /// The value of a variable that holds no secret, as `parse` reads it. A value that it refuses
    /// is a warning, which says what is expected and what is used instead.
    pub(super) fn parsed<T>(
        &mut self,
        name: &str,
        parse: &dyn Fn(&str) -> Option<T>,
        expected: &str,
        instead: &str,
    ) -> Option<T> {
        let value = self.text(name)?;
        let parsed = parse(value);
        if parsed.is_none() {
            let shown = shown(value);
            self.warn(format!(
                "{name} is \"{shown}\", expected {expected}: using {instead}"
            ));
        }
        parsed
    }

    pub(super) fn warn(&mut self, warning: String) {
        self.warnings.push(warning);
    }

    /// Warns of each variable that has our prefix and is not a setting.
    pub(super) fn warn_of_unknown(&mut self) {
        for (name, _) in &self.variables.0 {
            if name.starts_with("BANTAM_") && !SETTINGS.contains(&name.as_str()) {
                let mut settings = SETTINGS.iter();
                let first = settings.next().map_or("", |setting| setting);
                let nearest = settings.fold(first, |nearest, setting| {
                    let is_nearer = distance(name, setting) < distance(name, nearest);
                    if is_nearer { setting } else { nearest }
                });
                self.warnings.push(format!(
                    "{name} is not a setting and changes nothing: did you mean {nearest}?"
                ));
            }
        }
    }
}

/// As much of a value as a warning shows.
pub(super) fn shown(value: &str) -> &str {
    let end = value.floor_char_boundary(SHOWN_BYTES_MAX);
    value.get(..end).unwrap_or_default()
}

/// The entries of a list between commas, trimmed, without empty ones.
pub(super) fn list(text: &str) -> impl Iterator<Item = &str> {
    let entries = text.split(',').map(str::trim_ascii);
    entries.filter(|entry| !entry.is_empty())
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

/// The variables with our prefix. The last is one of the runtime.
pub(super) const SETTINGS: [&str; 8] = [
    "BANTAM_EXPORTERS",
    "BANTAM_INTERVAL_MS",
    "BANTAM_TELEMETRY_PORT",
    "BANTAM_EMF_NAMESPACE",
    "BANTAM_EMF_DIMENSIONS",
    "BANTAM_NDJSON_FILE",
    "BANTAM_DOGSTATSD",
    "BANTAM_HANDLER_MODE",
];

/// Bytes of a value in a warning.
const SHOWN_BYTES_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_trimmed_and_empty_ones_are_absent() {
        let pairs = [("A", " x "), ("B", " "), ("C", "")];
        let pairs = pairs.map(|(name, value)| (name.into(), value.into()));
        let variables = Variables::of(pairs.into_iter());
        let found = ["A", "B", "C", "D"].map(|name| variables.get(name));
        assert_eq!(found, [Some("x"), None, None, None]);
    }

    #[test]
    fn an_unknown_variable_is_told_with_the_nearest_setting() {
        let table = [
            ("BANTAM_EXPORTER", Some("BANTAM_EXPORTERS")),
            ("BANTAM_HANDLERMODE", Some("BANTAM_HANDLER_MODE")),
            ("BANTAM_EMF_DIMENSION", Some("BANTAM_EMF_DIMENSIONS")),
            ("BANTAM_NDJSON", Some("BANTAM_NDJSON_FILE")),
            ("BANTAM_PORT", Some("BANTAM_EXPORTERS")),
            ("BANTAM_", Some("BANTAM_EXPORTERS")),
            ("_BANTAM_RESUME", None),
            ("bantam_exporter", None),
        ];
        let known = SETTINGS.map(|name| (name, None));
        for (name, nearest) in table.into_iter().chain(known) {
            let variables = Variables::of([(name.into(), "x".into())].into_iter());
            let mut reader = Reader::new(&variables);
            reader.warn_of_unknown();
            let expected = nearest.map(|nearest| {
                format!("{name} is not a setting and changes nothing: did you mean {nearest}?")
            });
            assert_eq!(reader.warnings, Vec::from_iter(expected), "{name}");
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

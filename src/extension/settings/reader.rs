//! Reads environment variables one by one, and collects warnings about their values.

use std::ffi::OsString;

use crate::shared::settings::unknown;

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

    /// Warns once: a variable that holds for all signals is read for each.
    pub(super) fn warn(&mut self, warning: String) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// Warns of each variable that has our prefix and is not a setting.
    pub(super) fn warn_of_unknown(&mut self) {
        let names = self.variables.0.iter().map(|(name, _)| name);
        self.warnings.extend(names.filter_map(|name| unknown(name)));
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
}

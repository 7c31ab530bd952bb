//! Reads environment variables one by one, and collects warnings about their values.

use std::ffi::OsString;

use crate::shared::settings::{EXTENSION, unknown};
use crate::shared::text::prefix;

/// The environment variables whose names and values are text.
#[derive(Clone, Debug, Default)]
pub(in crate::extension) struct Variables<'a>(pub(super) Vec<(&'a str, &'a str)>);

impl<'a> Variables<'a> {
    pub(in crate::extension) fn of(pairs: &'a [(OsString, OsString)]) -> Self {
        let texts = pairs
            .iter()
            .map(|(name, value)| (name.to_str(), value.to_str()));
        Self(texts.filter_map(|(name, value)| name.zip(value)).collect())
    }

    /// The value of a variable, trimmed; an empty one counts as absent.
    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        let (_, value) = self.0.iter().find(|(known, _)| *known == name)?;
        Some(value.trim_ascii()).filter(|value| !value.is_empty())
    }
}

/// Reads settings out of variables.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    variables: &'a Variables<'a>,
    /// Lines for the log. Values that can hold secrets are not in them.
    pub(super) warnings: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(variables: &'a Variables<'a>) -> Self {
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

    /// The value of a variable that is `true` or `false`, the default.
    pub(super) fn flag(&mut self, name: &str) -> bool {
        let parse = |value: &str| value.parse().ok();
        let value = self.parsed(name, &parse, "true or false", "false");
        value.unwrap_or_default()
    }

    /// Warns once: a variable that holds for all signals is read for each.
    pub(super) fn warn(&mut self, warning: String) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// Warns of each variable that is a misspelt setting.
    pub(super) fn warn_of_unknown(&mut self) {
        let names = self.variables.0.iter().map(|(name, _)| name);
        self.warnings
            .extend(names.filter_map(|name| unknown(name, &EXTENSION)));
    }
}

/// As much of a value as a warning shows.
pub(super) fn shown(value: &str) -> &str {
    prefix(value, SHOWN_BYTES_MAX)
}

/// The entries of a list between commas, trimmed, without empty ones.
pub(super) fn list(text: &str) -> impl Iterator<Item = &str> {
    let entries = text.split(',').map(str::trim_ascii);
    entries.filter(|entry| !entry.is_empty())
}

/// Whether what all processes of the environment use is read and exported.
pub(super) const SYSTEM_METRICS: &str = "BANTAM_SYSTEM_METRICS";

/// Bytes of a value in a warning.
const SHOWN_BYTES_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_trimmed_and_empty_ones_are_absent() {
        let variables = Variables(vec![("A", " x "), ("B", " "), ("C", "")]);
        let found = ["A", "B", "C", "D"].map(|name| variables.get(name));
        assert_eq!(found, [Some("x"), None, None, None]);
    }
}

//! The committed counts, and whether those of today are the same.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::Outcome;
use crate::table::digits;

/// Counts by name, in the order of the names.
#[derive(Debug, Default)]
pub(crate) struct Counts(BTreeMap<String, f64>);

impl Counts {
    pub(crate) fn add(&mut self, name: &str, count: Option<f64>) {
        if let Some(count) = count {
            self.0.insert(name.to_owned(), count);
        }
    }

    /// Writes them as the counts to be compared with.
    pub(crate) fn bless(&self, path: &Path) -> Outcome<()> {
        let mut text = HEAD.to_owned();
        for (name, count) in &self.0 {
            writeln!(text, "{name}\t{count:.0}")?;
        }
        fs::write(path, text)?;
        Ok(())
    }

    /// Differences from the file, in words. Both directions count: a gain that nobody wrote down
    /// is a loss that nobody sees later.
    pub(crate) fn differences(&self, path: &Path) -> Outcome<Vec<String>> {
        let text = fs::read_to_string(path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let mut differences = Vec::new();
        let mut known = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, count) = line.split_once('\t').ok_or("a line without a tab")?;
            known.insert(name.to_owned(), count.parse::<f64>()?);
        }
        for (name, count) in &self.0 {
            let Some(expected) = known.remove(name) else {
                differences.push(format!("{name}: {}, not in the baseline", digits(*count)));
                continue;
            };
            let share = (count - expected) / expected;
            if TOLERANCE < share.abs() {
                differences.push(format!(
                    "{name}: {}, the baseline has {} ({:+.1} %)",
                    digits(*count),
                    digits(expected),
                    share * 100.0
                ));
            }
        }
        for name in known.into_keys() {
            differences.push(format!("{name}: in the baseline, not counted"));
        }
        Ok(differences)
    }
}

/// Share of a count by which it may differ: other releases of the toolchain, and where the kernel
/// cuts large reads.
pub(crate) const TOLERANCE: f64 = 0.02;

const HEAD: &str = "\
# Counts that do not depend on the machine's speed, for x86_64. `cargo compare -- --short --check`
# fails where one differs by more than 2 percent; `cargo compare -- --short --bless` writes this
# file.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named() {
        let folder = std::env::temp_dir().join(format!("compare-baseline-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("baseline.tsv");
        let counts = |pairs: &[(&str, f64)]| {
            let mut counts = Counts::default();
            for (name, count) in pairs {
                counts.add(name, Some(*count));
            }
            counts
        };
        let blessed = counts(&[
            ("a", 1_000.0),
            ("b", 1_000.0),
            ("c", 1_000.0),
            ("gone", 1.0),
        ]);
        blessed.bless(&path).unwrap();
        assert_eq!(blessed.differences(&path).unwrap(), [""; 0]);
        let today = counts(&[("a", 1_019.0), ("b", 979.0), ("c", 1_021.0), ("new", 7.0)]);
        let differences = today.differences(&path).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        let named: Vec<&str> = differences
            .iter()
            .filter_map(|difference| difference.split(':').next())
            .collect();
        assert_eq!(named, ["b", "c", "new", "gone"]);
    }
}

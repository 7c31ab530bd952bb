//! A file that lists the programs of `bantam-emulator coldstart`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bantam_emulator::measure::Subject;
use serde::Deserialize;

use super::function::{FunctionArgs, read_event};

/// One program. What it leaves out is as the command's arguments say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// Its name in the table.
    name: String,
    /// The program, or a directory with a `bootstrap`.
    function: PathBuf,
    /// `_HANDLER`.
    handler: Option<String>,
    /// Working directory and `LAMBDA_TASK_ROOT`.
    task_root: Option<PathBuf>,
    /// The file with the event of every invocation; `{}` without one.
    event: Option<PathBuf>,
    /// Environment variables beside the command's.
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// External extensions beside the command's.
    #[serde(default)]
    extensions: Vec<PathBuf>,
    /// The name of the program that its ratios are to; the first one without it.
    compared_with: Option<String>,
}

/// Reads a suite: a JSON array of the programs. Their paths are relative to the working directory.
///
/// # Errors
///
/// The file, or one that it names, cannot be used; the text says which.
pub(crate) fn read(path: &Path, given: &FunctionArgs) -> Result<Vec<Subject>, String> {
    let shown = path.display();
    let text = fs::read(path).map_err(|error| format!("cannot read the suite {shown}: {error}"))?;
    let entries: Vec<Entry> = serde_json::from_slice(&text)
        .map_err(|error| format!("the suite {shown} is not as it should be: {error}"))?;
    let names: Vec<String> = entries.iter().map(|entry| entry.name.clone()).collect();
    for entry in &entries {
        let base = entry.compared_with.as_ref();
        if let Some(base) = base.filter(|base| !names.contains(base)) {
            let name = &entry.name;
            return Err(format!(
                "the suite {shown} compares {name} with {base}, which is not in it"
            ));
        }
    }
    let subjects = entries.into_iter().map(|entry| entry.subject(given));
    subjects.collect()
}

impl Entry {
    fn subject(self, given: &FunctionArgs) -> Result<Subject, String> {
        let mut given = given.clone();
        given.env.extend(self.env);
        given.extension.extend(self.extensions);
        given.handler = self.handler.or(given.handler);
        given.task_root = self.task_root.or(given.task_root);
        let event = match &self.event {
            Some(path) => read_event(path)?,
            None => b"{}".to_vec(),
        };
        Ok(Subject {
            name: self.name,
            config: given.config(&self.function)?,
            event,
            compared_with: self.compared_with,
        })
    }
}

//! Mistakes of users: the first lines of what the compiler says about each name the remedy.
//!
//! `tests/mistakes` holds a program a mistake. Its lines that begin with `//= ` are texts that
//! these first lines must hold. The rest of a message changes with the compiler, and is nobody's
//! promise.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::target_folder;

/// Lines of a message that a user reads before he scrolls.
const FIRST_LINES: usize = 18;

#[test]
fn the_message_about_a_mistake_names_the_remedy() {
    let sources = sources();
    assert!(sources.len() >= 24, "{sources:?}");
    let messages = first_errors(&sources);
    let mut faults = String::new();
    for (name, path) in &sources {
        let source = fs::read_to_string(path).unwrap();
        let expected: Vec<&str> = source
            .lines()
            .filter_map(|line| line.strip_prefix("//= "))
            .collect();
        let message = match (messages.get(name), expected.as_slice()) {
            (None, []) => continue,
            (None, _) => {
                writeln!(faults, "{name}: it compiles").unwrap();
                continue;
            }
            (Some(message), []) => {
                writeln!(faults, "{name}: {message}").unwrap();
                continue;
            }
            (Some(message), _) => message,
        };
        let first: Vec<&str> = message.lines().take(FIRST_LINES).collect();
        let first = first.join("\n");
        for text in expected.iter().filter(|text| !first.contains(**text)) {
            writeln!(faults, "{name}: no {text:?} in\n{first}").unwrap();
        }
    }
    assert!(faults.is_empty(), "{faults}");
}

/// The programs, by name.
fn sources() -> BTreeMap<String, PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mistakes");
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let named = |path: PathBuf| (path.file_stem().unwrap().to_str().unwrap().to_owned(), path);
    entries.map(named).collect()
}

/// The first error about each program, by one run of cargo over a package that has them all.
fn first_errors(sources: &BTreeMap<String, PathBuf>) -> BTreeMap<String, String> {
    let bantam = Path::new(env!("CARGO_MANIFEST_DIR"));
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mistakes");
    fs::create_dir_all(&package).unwrap();
    let mut manifest = format!(
        "[package]\nname = \"mistakes\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n\
         [dependencies]\nbantam = {{ path = {bantam:?}, features = [\"anyhow\"] }}\nanyhow = \"1\"\n\
         serde = {{ version = \"1\", features = [\"derive\"] }}\n\
         serde_json = {{ version = \"1\", features = [\"raw_value\"] }}\n",
    );
    for (name, path) in sources {
        writeln!(manifest, "\n[[bin]]\nname = \"{name}\"\npath = {path:?}").unwrap();
    }
    fs::write(package.join("Cargo.toml"), manifest).unwrap();
    fs::copy(bantam.join("Cargo.lock"), package.join("Cargo.lock")).unwrap();
    let mut command = Command::new(env!("CARGO"));
    command
        .current_dir(&package)
        .args(["check", "--bins", "--keep-going", "--offline", "--quiet"])
        .args(["--message-format=json", "--target-dir"])
        .arg(target_folder());
    let output = command.output().unwrap();
    let mut errors = BTreeMap::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        if line["message"]["level"] == "error" {
            let name = line["target"]["name"].as_str().unwrap().to_owned();
            let rendered = line["message"]["rendered"].as_str().unwrap().to_owned();
            errors.entry(name).or_insert(rendered);
        }
    }
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(!errors.is_empty(), "{command:?}: {log}");
    errors
}

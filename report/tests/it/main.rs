//! The command on files of each format.
#![cfg(test)]

mod formats;
mod memory;
mod page;
mod pictures;

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// The JSON of a report over `files`.
fn report(files: &[&Path]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("report.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_bantam-report"));
    let output = command.args(files).arg("--json").arg(&json).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap()
}

/// The example `fleet`, which cargo builds with the tests.
fn fleet(folder: &Path, args: &[&str]) {
    let program = Path::new(env!("CARGO_BIN_EXE_bantam-report"));
    let program = program.parent().unwrap().join("examples/fleet");
    let status = Command::new(program)
        .arg(folder)
        .args(args)
        .status()
        .unwrap();
    assert!(status.success());
}

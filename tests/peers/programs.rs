//! The programs under test and the programs they are tested with.

use std::collections::HashMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use serde_json::Value;

/// The stock binary or an example: from the folder that `BANTAM_TEST_PROGRAMS` names, or built
/// here, since cargo does not build the examples for a single test.
pub(crate) fn path(name: &str) -> &'static Path {
    PROGRAMS
        .get(name)
        .unwrap_or_else(|| panic!("{name} was not built"))
}

/// A program that `.ci/peers` installs, in `target/peers` or in `$BANTAM_PEERS`.
pub(crate) fn peer(name: &str) -> PathBuf {
    let folder = variable("BANTAM_PEERS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers"),
        PathBuf::from,
    );
    let path = folder.join(name);
    assert!(
        path.exists(),
        "{} is missing: run .ci/peers",
        path.display()
    );
    path
}

#[expect(
    clippy::disallowed_methods,
    reason = "these tests are configured by the environment"
)]
pub(crate) fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}

fn build() -> HashMap<String, PathBuf> {
    if let Some(folder) = variable("BANTAM_TEST_PROGRAMS") {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let example = |name: &&str| ((*name).to_owned(), folder.join("examples").join(name));
        let stock = ("bantam".to_owned(), folder.join("bantam"));
        return EXAMPLES.iter().map(example).chain([stock]).collect();
    }
    let mut command = Command::new(variable("CARGO").as_deref().unwrap_or("cargo"));
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args([
            "build",
            "--locked",
            "--message-format",
            "json-render-diagnostics",
        ])
        .args(["--package", "bantam", "--bin", "bantam"])
        .args(EXAMPLES.iter().flat_map(|name| ["--example", name]));
    let built = command.stderr(Stdio::inherit()).output().unwrap();
    assert!(built.status.success(), "{command:?}: {}", built.status);
    let mut programs = HashMap::new();
    for line in String::from_utf8(built.stdout).unwrap().lines() {
        let message: Value = serde_json::from_str(line).unwrap();
        let name = message["target"]["name"].as_str();
        if let (Some(name), Some(path)) = (name, message["executable"].as_str()) {
            programs.insert(name.to_owned(), PathBuf::from(path));
        }
    }
    programs
}

static PROGRAMS: LazyLock<HashMap<String, PathBuf>> = LazyLock::new(build);

const EXAMPLES: [&str; 9] = [
    "apigw",
    "sqs_batch",
    "raw",
    "persistent",
    "faulty",
    "faulty_extension",
    "hooks",
    "http_server",
    "sse",
];

//! `cargo coldstart`: cold starts of the stock binary and of the Rust examples, in turn, in the
//! emulator.
//!
//! It builds them and the emulator with the release profile and hands a list of them to `emulator
//! coldstart`, with its own arguments: the emulator's time is part of an invocation's duration, and
//! with the dev profile it is most of it, which flattens the ratios.

#![expect(
    clippy::disallowed_methods,
    reason = "a command of its own: Cargo names itself in CARGO"
)]
#![expect(clippy::print_stderr, reason = "what is built is said on stderr")]

use std::collections::HashMap;
use std::error::Error;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let built = build()?;
    let program = |name: &str| {
        let path = built
            .get(name)
            .ok_or_else(|| format!("cargo built no {name}"));
        path.map(|path| path.display().to_string())
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let example = |name: &str, event: &str| -> Result<Value, String> {
        let event = root.join("events").join(event);
        Ok(json!({ "name": name, "function": program(name)?, "event": event }))
    };
    let stock = program("bantam")?;
    let mut beside = example("apigw", "apigw.json")?;
    beside["name"] = json!("apigw + bantam");
    beside["extensions"] = json!([&stock]);
    // The first is what the others are compared with.
    let suite = json!([
        {"name": "hello.sh", "function": &stock, "handler": "hello.sh", "task_root": &root},
        {
            "name": "persistent",
            "function": &stock,
            "handler": program("persistent")?,
            "env": {"BANTAM_HANDLER_MODE": "persistent"},
        },
        example("apigw", "apigw.json")?,
        beside,
        example("sqs_batch", "sqs.json")?,
        example("raw", "s3.json")?,
    ]);
    // Wherever CARGO_TARGET_DIR and Cargo's configuration put it: the stock binary is in the
    // profile's folder there.
    let target = Path::new(&stock)
        .ancestors()
        .nth(2)
        .ok_or("no target directory")?;
    let file = target.join("coldstart-suite.json");
    fs::write(&file, suite.to_string())?;
    let mut command = Command::new(program("bantam-emulator")?);
    command.arg("coldstart").arg("--suite").arg(file);
    command.arg("--out").arg(target.join("coldstart.json"));
    // The alias ends in `--` already, and another is easily typed after it.
    command.args(env::args_os().skip(1).filter(|arg| arg != "--"));
    Err(command.exec().into())
}

/// Builds everything, and gives the executables by the names of their targets. What Cargo and the
/// compiler print is shown as it comes.
fn build() -> Result<HashMap<String, PathBuf>, Box<dyn Error>> {
    eprintln!("Building the stock binary, the examples and the emulator ...");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args([
        "build",
        "--release",
        "--quiet",
        "--message-format=json-render-diagnostics",
    ]);
    cargo.args(["--package", "bantam", "--package", "bantam-emulator"]);
    cargo.args(["--bin", "bantam", "--bin", "bantam-emulator"]);
    // `--examples` would link this driver a second time.
    cargo.args(EXAMPLES.iter().flat_map(|name| ["--example", name]));
    cargo
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    let output = cargo.output()?;
    if !output.status.success() {
        return Err(format!("cargo build ended with {}", output.status).into());
    }
    let messages = output.stdout.split(|byte| *byte == b'\n');
    let messages = messages.filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    // https://doc.rust-lang.org/cargo/reference/external-tools.html#artifact-messages
    let built = messages.filter_map(|message| {
        let name = message.pointer("/target/name")?.as_str()?;
        Some((name.to_owned(), message.get("executable")?.as_str()?.into()))
    });
    Ok(built.collect())
}

/// The examples that are measured.
const EXAMPLES: [&str; 4] = ["persistent", "apigw", "sqs_batch", "raw"];

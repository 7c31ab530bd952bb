//! `cargo coldstart`: cold starts of the stock binary and of the Rust examples, in turn, in the
//! emulator.
//!
//! What is measured is what ships, as `layer/build` makes it, where the toolchain for that is
//! installed, and a plain release build otherwise. The emulator gets the release profile,
//! unless one is given: its time is part of an invocation's duration, and with the dev profile
//! it is most of it, which flattens the ratios.

#![expect(
    clippy::disallowed_methods,
    reason = "a command of its own: Cargo names itself in CARGO"
)]
#![expect(clippy::print_stderr, reason = "what is built is said on stderr")]
#![expect(clippy::print_stdout, reason = "help was asked for")]

use std::collections::HashMap;
use std::error::Error;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};
use std::{env, fs};

use serde_json::{Value, json};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    // The alias ends in `--` already, and another is easily typed after it.
    let args: Vec<String> = env::args().skip(1).filter(|arg| arg != "--").collect();
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let Err(error) = coldstart(args);
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

/// Builds everything and becomes the emulator. Returns only if that fails.
fn coldstart(mut args: Vec<String>) -> Outcome<std::convert::Infallible> {
    let is_plain = args.iter().any(|arg| arg == "--plain");
    args.retain(|arg| arg != "--plain");
    let emulator = match taken(&mut args, "--emulator") {
        Some(path) => std::path::absolute(path)?,
        None => {
            eprintln!("Building the emulator ...");
            let built = build(&["--package", "bantam-emulator"], &["bantam-emulator"])?;
            program(&built, "bantam-emulator")?
        }
    };
    // Wherever CARGO_TARGET_DIR and Cargo's configuration put it: the emulator is in the profile's
    // folder there.
    let target = emulator.ancestors().nth(2).ok_or("no target directory")?;
    let toolchain = if is_plain { None } else { toolchain()? };
    let built = match &toolchain {
        Some(toolchain) => {
            eprintln!("Building what ships, with {toolchain} ...");
            shipped(target)?
        }
        None => {
            eprintln!("Building the stock binary and the examples ...");
            plain()?
        }
    };
    let file = target.join("coldstart-suite.json");
    fs::write(&file, suite(&built)?.to_string())?;
    match toolchain {
        Some(_) => eprintln!("Measuring what ships: it was built by layer/build."),
        None if is_plain => eprintln!("Measuring plain release builds, as asked."),
        None => eprintln!("{PLAIN}"),
    }
    let mut command = Command::new(&emulator);
    command.arg("coldstart").arg("--suite").arg(file);
    command.arg("--out").arg(target.join("coldstart.json"));
    let error = command.args(args).exec();
    Err(format!("cannot start {}: {error}", emulator.display()).into())
}

/// Takes the value of an option out of the arguments.
fn taken(args: &mut Vec<String>, option: &str) -> Option<String> {
    let place = args.iter().position(|arg| arg == option)?;
    args.drain(place..(place + 2).min(args.len())).nth(1)
}

/// The list of what is measured. The first is what the others are compared with.
fn suite(built: &HashMap<String, PathBuf>) -> Outcome<Value> {
    let root = root().join("examples");
    let example = |name: &str, event: &str| -> Outcome<Value> {
        let event = root.join("events").join(event);
        Ok(json!({ "name": name, "function": program(built, name)?, "event": event }))
    };
    let stock = program(built, "bantam")?;
    let mut beside = example("apigw", "apigw.json")?;
    beside["name"] = json!("apigw + bantam");
    beside["extensions"] = json!([&stock]);
    beside["compared_with"] = json!("apigw");
    Ok(json!([
        {"name": "hello.sh", "function": &stock, "handler": "hello.sh", "task_root": &root},
        {
            "name": "persistent",
            "function": &stock,
            "handler": program(built, "persistent")?,
            "env": {"BANTAM_HANDLER_MODE": "persistent"},
        },
        example("apigw", "apigw.json")?,
        beside,
        example("sqs_batch", "sqs.json")?,
        example("raw", "s3.json")?,
    ]))
}

/// The compiler that `layer/build` would build what ships with, if there is one.
fn toolchain() -> Outcome<Option<String>> {
    let output = layer_build(&["--toolchain"])?;
    let name = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Ok(output.status.success().then_some(name))
}

/// What ships, built by `layer/build`.
fn shipped(target: &Path) -> Outcome<HashMap<String, PathBuf>> {
    let folder = target.join("layer").join(env::consts::ARCH);
    let mut built = HashMap::from([("bantam".to_owned(), folder.join("bantam"))]);
    let mut arguments = vec![Vec::new()];
    for example in EXAMPLES {
        built.insert(example.to_owned(), folder.join("examples").join(example));
        arguments.push(vec!["--example", example]);
    }
    for arguments in arguments {
        let output = layer_build(&arguments)?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            return Err(format!("layer/build {arguments:?}: {}\n{text}", output.status).into());
        }
    }
    Ok(built)
}

fn layer_build(arguments: &[&str]) -> Outcome<Output> {
    let mut command = Command::new(root().join("layer/build"));
    // It chooses its toolchain, and this program was started by another one.
    command.env_remove("CARGO").env_remove("RUSTUP_TOOLCHAIN");
    let output = command.args(arguments).stdin(Stdio::null()).output();
    Ok(output.map_err(|error| format!("cannot run layer/build: {error}"))?)
}

/// Plain release builds of the same programs.
fn plain() -> Outcome<HashMap<String, PathBuf>> {
    let mut targets = vec!["--package", "bantam", "--bin", "bantam"];
    for example in EXAMPLES {
        targets.extend(["--example", example]);
    }
    build(&targets, &[])
}

/// Builds these, and gives the executables by the names of their targets. What Cargo and the
/// compiler print is shown as it comes.
fn build(targets: &[&str], binaries: &[&str]) -> Outcome<HashMap<String, PathBuf>> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "--release", "--quiet"])
        .arg("--message-format=json-render-diagnostics")
        .args(targets)
        .args(binaries.iter().flat_map(|name| ["--bin", name]))
        .current_dir(root())
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

fn program(built: &HashMap<String, PathBuf>, name: &str) -> Outcome<PathBuf> {
    let path = built
        .get(name)
        .ok_or_else(|| format!("no {name} was built"))?;
    Ok(path.clone())
}

fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().nth(2).unwrap_or(package)
}

/// The examples that are measured.
const EXAMPLES: [&str; 4] = ["persistent", "apigw", "sqs_batch", "raw"];

const PLAIN: &str = "\
Measuring plain release builds: what ships is several times smaller and starts faster, and the
toolchain for it is not installed (layer/build --help says which).";

const USAGE: &str = "\
Builds the stock binary and the Rust examples as they ship, cold-starts them in turn in the
emulator on events of API Gateway, SQS and S3, and compares them.

Usage: cargo coldstart [-- [--plain] [OPTIONS]]

  --plain     measure plain release builds, also where the toolchain of layer/build is installed
  --times N   cold starts of each program [default: 50]; intervals need 10, a 99th percentile 100
  --warm N    warm invocations after each [default: 20]
  --out FILE  where every sample goes, as JSON [default: target/coldstart.json]
  --emulator PATH
              measure with this one [default: a release build, made now]

Other options are those of `bantam-emulator coldstart`; docs/coldstart.md has them and explains the
tables.";

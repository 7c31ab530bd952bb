//! `cargo coldstart`: cold starts of the stock binary and of the Rust examples, in turn, in the
//! emulator.
//!
//! Everything is built with the release profile, this driver too: the emulator's own time is part
//! of an invocation's duration, and with the dev profile it is most of it, which flattens the
//! ratios.

#![expect(
    clippy::disallowed_methods,
    reason = "a command of its own: Cargo names itself in CARGO"
)]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "one entry of a transcript is of interest"
)]
#![expect(clippy::print_stdout, reason = "the table is the result")]
#![expect(
    clippy::print_stderr,
    reason = "errors and the build's line go to stderr"
)]

use std::env;
use std::error::Error;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use emulator::interrupt::Interrupt;
use emulator::measure::{Bar, Options, Subject, measure};
use emulator::{Config, Emulator, What};
use serde_json::Value;

fn main() -> ExitCode {
    match coldstart() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn coldstart() -> Result<(), Box<dyn Error>> {
    let Some(args) = Args::parse(env::args().skip(1))? else {
        println!("{USAGE}");
        return Ok(());
    };
    let built = Built::build()?;
    let subjects = subjects(&built)?;
    let options = Options {
        times: args.times,
        ..Options::default()
    };
    let interrupt = Interrupt::install()?;
    let bar = Bar::new();
    let results = measure(&subjects, options, |progress| {
        bar.show(progress);
        if interrupt.requested() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    drop(bar);
    let results = results?;
    println!("{results}");
    let out = built.target_directory()?.join("coldstart.json");
    fs::write(&out, format!("{:#}\n", results.json()))
        .map_err(|error| format!("cannot write {}: {error}", out.display()))?;
    println!("Every sample: {}", out.display());
    println!();
    beside_the_extension(&built, args.times.min(EXTENSION_TIMES_MAX))
}

/// Starts the example `apigw` with the extension beside it, and prints what both the emulator and
/// the extension say of the same starts.
fn beside_the_extension(built: &Built, times: usize) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("figures");
    let event = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/events/apigw.json");
    let event = fs::read(event)?;
    let (mut init, mut register, mut ready, mut shutdown) = (vec![], vec![], vec![], vec![]);
    for _ in 0..times {
        let mut config = Config::new(built.program("apigw")?);
        config.extensions = vec![built.program("bantam")?];
        config.env = vec![
            ("BANTAM_EXPORTERS".to_owned(), "ndjson".to_owned()),
            ("BANTAM_NDJSON_FILE".to_owned(), file.display().to_string()),
        ];
        let emulator = Emulator::start(config)?;
        let first = emulator.invoke(event.clone())?;
        init.extend(first.timing.init.map(ms));
        let environments = emulator.environments();
        let extensions = environments
            .iter()
            .flat_map(|environment| &environment.extensions);
        for extension in extensions {
            register.extend(extension.exec_to_register.map(ms));
            ready.extend(extension.exec_to_next.map(ms));
        }
        emulator.invoke(event.clone())?;
        shutdown.extend(
            emulator
                .stop()
                .transcript
                .iter()
                .filter_map(|entry| match entry.what {
                    What::ExtensionShutdown { took, .. } => took.map(ms),
                    _ => None,
                }),
        );
    }
    let text = fs::read_to_string(&file)?;
    let own = |name: &str| median(&exported(&text, name));
    println!("{times} starts of apigw with the extension beside it, medians in ms:");
    println!("{:<32}{:>10}{:>14}", "", "emulator", "extension");
    for (what, emulated, exported) in [
        ("init", median(&init), own("init_duration")),
        (
            "exec to registered",
            median(&register),
            own("extension_register_duration"),
        ),
        (
            "exec to ready",
            median(&ready),
            own("extension_ready_duration"),
        ),
        (
            "init and first invocation",
            None,
            own("cold_start_duration"),
        ),
        ("SHUTDOWN to exit", median(&shutdown), None),
    ] {
        let show = |ms: Option<f64>| ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.3}"));
        println!("{what:<32}{:>10}{:>14}", show(emulated), show(exported));
    }
    println!(
        "The extension counts from its main, the emulator from before the process is created."
    );
    Ok(())
}

/// All values of a metric in the lines that the extension wrote.
fn exported(text: &str, name: &str) -> Vec<f64> {
    let batches = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let points = batches.flat_map(|batch| batch["points"].as_array().cloned().unwrap_or_default());
    let values = points.filter(|point| point["name"] == name);
    let values = values.flat_map(|point| point["values"].as_array().cloned().unwrap_or_default());
    values.filter_map(|value| value.as_f64()).collect()
}

fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Starts with the extension: its figures differ little, and each takes a shutdown.
const EXTENSION_TIMES_MAX: usize = 20;

/// The programs in the order of the table. The first is what the others are compared with.
fn subjects(built: &Built) -> Result<Vec<Subject>, Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let event = |name: &str| {
        let path = root.join("examples/events").join(name);
        fs::read(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))
    };
    let stock = built.program("bantam")?;
    let persistent = built.program("persistent")?;
    let example = |name: &str, event_file: &str| -> Result<Subject, Box<dyn Error>> {
        let config = Config::new(built.program(name)?);
        Ok(Subject {
            name: name.to_owned(),
            config,
            event: event(event_file)?,
        })
    };
    Ok(vec![
        Subject {
            name: "hello.sh".to_owned(),
            config: Config {
                handler: "hello.sh".to_owned(),
                task_root: root.join("examples"),
                ..Config::new(&stock)
            },
            event: b"{}".to_vec(),
        },
        Subject {
            name: "persistent".to_owned(),
            config: Config {
                handler: persistent.display().to_string(),
                env: vec![("BANTAM_HANDLER_MODE".to_owned(), "persistent".to_owned())],
                ..Config::new(&stock)
            },
            event: b"{}".to_vec(),
        },
        example("apigw", "apigw.json")?,
        example("sqs_batch", "sqs.json")?,
        example("raw", "s3.json")?,
    ])
}

/// The programs that Cargo built: target names and their executables.
struct Built {
    executables: Vec<(String, PathBuf)>,
}

impl Built {
    /// Builds the stock binary and the examples. Cargo's own output is shown only if it fails.
    fn build() -> Result<Self, Box<dyn Error>> {
        eprintln!("Building the release binary and the examples ...");
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args([
                "build",
                "--release",
                "--package",
                "bantam",
                "--bin",
                "bantam",
            ])
            .args(EXAMPLES.iter().flat_map(|name| ["--example", name]))
            .arg("--message-format=json-render-diagnostics")
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("cannot run cargo: {error}"))?;
        if !output.status.success() {
            io::copy(&mut output.stderr.as_slice(), &mut io::stderr())?;
            return Err(format!("cargo build ended with {}", output.status).into());
        }
        let executables = output
            .stdout
            .split(|byte| *byte == b'\n')
            .filter_map(|line| executable(&serde_json::from_slice(line).ok()?))
            .collect();
        Ok(Self { executables })
    }

    /// The executable of a binary or example target.
    fn program(&self, name: &str) -> Result<PathBuf, String> {
        let found = self.executables.iter().find(|(target, _)| target == name);
        found
            .map(|(_, path)| path.clone())
            .ok_or_else(|| format!("cargo built no executable {name}"))
    }

    /// Where Cargo puts its output, whatever `CARGO_TARGET_DIR` and its configuration say: the
    /// stock binary is in the profile's folder there.
    fn target_directory(&self) -> Result<PathBuf, String> {
        let stock = self.program("bantam")?;
        let directory = stock.parent().and_then(Path::parent);
        directory
            .map(Path::to_owned)
            .ok_or_else(|| format!("{} is in no target directory", stock.display()))
    }
}

/// Target name and executable in one of Cargo's messages, if it is about an executable.
/// <https://doc.rust-lang.org/cargo/reference/external-tools.html#artifact-messages>
fn executable(message: &Value) -> Option<(String, PathBuf)> {
    let name = message.pointer("/target/name")?.as_str()?;
    let path = message.get("executable")?.as_str()?;
    Some((name.to_owned(), PathBuf::from(path)))
}

/// The arguments of the command line.
struct Args {
    /// Cold starts of each program.
    times: usize,
}

impl Args {
    /// `None` if help is asked for.
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut parsed = Self {
            times: Options::default().times,
        };
        while let Some(arg) = args.next() {
            match arg.as_str() {
                // The alias ends in one already, and another is easily typed after it.
                "--" => {}
                "--times" => {
                    let value = args.next().and_then(|value| value.parse().ok());
                    parsed.times = value
                        .filter(|times| *times != 0)
                        .ok_or_else(|| "--times: expected a number, at least 1".to_owned())?;
                }
                "--help" | "-h" => return Ok(None),
                _ => return Err(format!("unexpected argument {arg}\n\n{USAGE}")),
            }
        }
        Ok(Some(parsed))
    }
}

/// The examples that are measured. `--examples` would link this driver a second time.
const EXAMPLES: [&str; 4] = ["persistent", "apigw", "sqs_batch", "raw"];

/// Shown on request and after an argument that is not understood.
const USAGE: &str = "Usage: cargo coldstart [-- --times N]\n\n  --times N  cold starts of each program [default: 50]";

//! `cargo soak`: invocations and telemetry in large numbers, through the whole emulator and under
//! faults, with checks that need no judgement:
//!
//! - each invocation has one outcome, and the caller gets the one that its event asks for;
//! - each record is exported, or counted as dropped;
//! - memory and descriptors after 10 % of a phase are those at its end;
//! - no process is left.
//!
//! The seed is printed, and everything random follows from it. What runs at once is not ordered by
//! it, so a failure may need several runs to come again.

#![expect(
    clippy::print_stdout,
    reason = "the lines of the phases are the result"
)]
#![expect(clippy::print_stderr, reason = "errors and progress go to stderr")]
#![expect(
    clippy::disallowed_methods,
    reason = "a command of its own, which measures time and waits for others"
)]

mod actions;
mod exports;
mod health;
mod load;
mod outcomes;
mod phases;
mod programs;
mod telemetry;

use std::env;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::programs::Programs;

/// The result of any function here. Every error ends the run.
pub(crate) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    match soak() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every phase passed its checks.
fn soak() -> Outcome<bool> {
    let Some(args) = Args::parse(env::args().skip(1))? else {
        println!("{USAGE}");
        return Ok(true);
    };
    let programs = Programs::find(args.programs.clone())?;
    println!(
        "seed {}, {} invocations, {} MB of telemetry, at most {} s",
        args.seed,
        args.invocations,
        args.telemetry_mb,
        args.time.as_secs()
    );
    let began = Instant::now();
    let mut is_sound = true;
    let mut invocations = 0;
    for phase in phases::all(&args) {
        let verdict = phase.run(&programs, &args)?;
        println!("{verdict}");
        invocations += verdict.invocations;
        is_sound &= verdict.faults.is_empty();
    }
    println!(
        "{}: {invocations} invocations in {} s, seed {}",
        if is_sound { "passed" } else { "FAILED" },
        began.elapsed().as_secs(),
        args.seed
    );
    Ok(is_sound)
}

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Args {
    pub(crate) invocations: u64,
    pub(crate) telemetry_mb: u64,
    pub(crate) seed: u64,
    /// The bound on all phases together.
    pub(crate) time: Duration,
    /// The phases that run, all if it is empty.
    pub(crate) phases: Vec<String>,
    programs: Option<PathBuf>,
}

impl Args {
    fn parse(args: impl Iterator<Item = String>) -> Outcome<Option<Self>> {
        let mut parsed = Self {
            invocations: 20_000,
            telemetry_mb: 200,
            seed: fastrand::u64(..),
            time: Duration::from_secs(60),
            phases: Vec::new(),
            programs: None,
        };
        // The alias ends in `--` already, and another is easily typed after it.
        let mut args = args.filter(|arg| arg != "--");
        while let Some(arg) = args.next() {
            if arg == "--help" || arg == "-h" {
                return Ok(None);
            }
            let value = args.next().ok_or_else(|| format!("{arg} needs a value"))?;
            let number = || -> Outcome<u64> {
                let digits = value.replace(['_', ','], "");
                digits
                    .parse()
                    .map_err(|error| format!("{arg} {value}: {error}").into())
            };
            match &*arg {
                "--invocations" => parsed.invocations = number()?,
                "--telemetry-mb" => parsed.telemetry_mb = number()?,
                "--seed" => parsed.seed = number()?,
                "--minutes" => parsed.time = Duration::from_secs(60 * number()?),
                "--phases" => parsed.phases = value.split(',').map(str::to_owned).collect(),
                "--programs" => parsed.programs = Some(PathBuf::from(value)),
                _ => return Err(format!("{arg} is not an option; --help lists them").into()),
            }
        }
        if let Some(unknown) = parsed.phases.iter().find(|name| !phases::is_name(name)) {
            let names = phases::NAMES.join(", ");
            return Err(format!("{unknown} is not a phase; there are {names}").into());
        }
        Ok(Some(parsed))
    }
}

const USAGE: &str = "\
Runs Bantam for long in the emulator, with panics, crashes, timeouts, lost connections, restores and
receivers that fail, and checks that each invocation has one outcome, that each record is exported or
counted as dropped, that memory and descriptors do not grow, and that no process is left.

Usage: cargo soak [-- OPTIONS]

  --invocations N    invocations of all phases together [default: 20000]
  --telemetry-mb N   telemetry of the last phase [default: 200]
  --minutes M        a bound on the whole run; a phase that has had its part of it ends [default: 1]
  --seed S           where everything random comes from [default: another each time]
  --phases A,B       only these phases
  --programs FOLDER  where `bantam`, `examples/faulty` and `examples/http_server` are, as layer/build
                     makes them [default: plain release builds, made now]";

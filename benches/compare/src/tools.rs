//! Counts that do not depend on the machine's speed: strace's system calls, callgrind's
//! instructions and memcheck's allocations.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Outcome;
use crate::api::{Framed, invoke};
use crate::process::Subject;
use crate::programs::run;
use crate::start::{Goal, Started, start};

/// The threads whose system calls are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Threads {
    /// All of them, and those of child processes.
    All,
    /// The first of the program.
    First,
}

/// A folder for the output of a tool, gone with this value.
#[derive(Debug)]
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Outcome<Self> {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = env::temp_dir().join(format!("bantam-compare-{}-{number}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// System calls from exec to the goal, the write that reaches it included and exec itself not.
pub(crate) fn calls_of_start(subject: &Subject, goal: Goal) -> Outcome<f64> {
    let scratch = Scratch::new()?;
    let started = traced(subject, goal, Threads::All, &scratch)?;
    let text = end_of_trace(started, &scratch)?;
    let until = match goal {
        Goal::Next => "/runtime/invocation/next",
        Goal::Ready => "/extension/event/next",
        Goal::Register | Goal::Exit => "/extension/register",
    };
    let calls: Vec<&str> = text.lines().filter(|line| is_call(line)).collect();
    let at = calls.iter().position(|line| line.contains(until));
    let at = at.ok_or_else(|| format!("{}: {until} is not in the trace", subject.name))?;
    count(at)
}

/// System calls of one invocation in the steady state, without those of child processes if the
/// program has one thread.
pub(crate) fn calls_of_invocation(
    subject: &Subject,
    of: Threads,
    event: &[u8],
    times: usize,
) -> Outcome<f64> {
    let scratch = Scratch::new()?;
    let mut started = traced(subject, Goal::Next, of, &scratch)?;
    repeat(&mut started, event, WARM_UP + times)?;
    let text = end_of_trace(started, &scratch)?;
    let calls: Vec<&str> = text.lines().filter(|line| is_call(line)).collect();
    let asked = calls
        .iter()
        .enumerate()
        .filter(|(_, line)| line.contains("/runtime/invocation/next"))
        .map(|(index, _)| index)
        .collect::<Vec<_>>();
    let (Some(from), Some(to)) = (asked.get(WARM_UP), asked.get(WARM_UP + times)) else {
        return Err(format!("{}: invocations are missing in the trace", subject.name).into());
    };
    Ok(count(to - from)? / count(times)?)
}

/// Instructions from exec to the goal.
pub(crate) fn instructions_of_start(subject: &Subject, goal: Goal) -> Outcome<f64> {
    let scratch = Scratch::new()?;
    let started = counted(subject, goal, &scratch)?;
    dump(&started, &scratch, 1)
}

/// Instructions of one invocation in the steady state.
pub(crate) fn instructions_of_invocation(
    subject: &Subject,
    event: &[u8],
    times: usize,
) -> Outcome<f64> {
    let scratch = Scratch::new()?;
    let mut started = counted(subject, Goal::Next, &scratch)?;
    repeat(&mut started, event, WARM_UP)?;
    dump(&started, &scratch, 1)?;
    repeat(&mut started, event, times)?;
    Ok(dump(&started, &scratch, 2)? / count(times)?)
}

/// Instructions of what is done to a process that is ready, after a first time that does not count.
pub(crate) fn instructions_of(
    subject: &Subject,
    goal: Goal,
    mut what: impl FnMut(&mut Started) -> Outcome<()>,
) -> Outcome<f64> {
    let scratch = Scratch::new()?;
    let mut started = counted(subject, goal, &scratch)?;
    what(&mut started)?;
    dump(&started, &scratch, 1)?;
    what(&mut started)?;
    dump(&started, &scratch, 2)
}

/// Allocations of one invocation in the steady state. Needs a program whose allocator is that of a
/// shared libc: memcheck finds no other by its name.
pub(crate) fn allocations_of_invocation(
    subject: &Subject,
    event: &[u8],
    times: usize,
) -> Outcome<f64> {
    let total = |invocations: usize| -> Outcome<f64> {
        let scratch = Scratch::new()?;
        let log = scratch.0.join("log");
        let args = [
            "--tool=memcheck".to_owned(),
            "--leak-check=no".to_owned(),
            "--undef-value-errors=no".to_owned(),
            format!("--log-file={}", log.display()),
        ];
        let mut started = start(subject, Goal::Next, Some(("valgrind", &args)))?;
        repeat(&mut started, event, invocations)?;
        terminate(started.process.id())?;
        started.process.ended()?;
        let text = fs::read_to_string(&log)?;
        let line = text
            .lines()
            .find_map(|line| line.split_once("total heap usage: "));
        let allocations = line.and_then(|(_, rest)| rest.split(' ').next());
        let allocations = allocations.ok_or_else(|| format!("no heap usage: {text}"))?;
        Ok(allocations.replace(',', "").parse()?)
    };
    Ok((total(WARM_UP + times)? - total(WARM_UP)?) / count(times)?)
}

fn repeat(started: &mut Started, event: &[u8], times: usize) -> Outcome<()> {
    let framed = Framed::new(event);
    let mut next = started.request.ok_or("not a runtime")?;
    for _ in 0..times {
        (next, _) = invoke(&mut started.api, &next, &framed, event)?;
    }
    started.request = Some(next);
    Ok(())
}

fn traced(subject: &Subject, goal: Goal, of: Threads, scratch: &Scratch) -> Outcome<Started> {
    let mut args = ["-s", "200", "-o"].map(str::to_owned).to_vec();
    args.push(scratch.0.join("trace").display().to_string());
    match of {
        Threads::All => args.push("-f".to_owned()),
        Threads::First => {}
    }
    start(subject, goal, Some(("strace", &args)))
}

/// Ends a process that is traced, and gives the trace.
fn end_of_trace(mut started: Started, scratch: &Scratch) -> Outcome<String> {
    kill(started.process.inner()?)?;
    started.process.ended()?;
    Ok(fs::read_to_string(scratch.0.join("trace"))?)
}

/// Whether a line of a trace is the begin of a call.
fn is_call(line: &str) -> bool {
    let call = line
        .trim_start_matches(|c: char| c.is_ascii_digit())
        .trim_start();
    !call.starts_with('<') && !call.starts_with('+') && !call.starts_with('-')
}

fn counted(subject: &Subject, goal: Goal, scratch: &Scratch) -> Outcome<Started> {
    let args = [
        "--tool=callgrind".to_owned(),
        format!("--callgrind-out-file={}", scratch.0.join("out").display()),
    ];
    start(subject, goal, Some(("valgrind", &args)))
}

/// Has callgrind write down what it has counted since it did so last, for the `number`th time.
fn dump(started: &Started, scratch: &Scratch, number: u32) -> Outcome<f64> {
    // What the process still does is counted, too, or the counts would depend on who is faster.
    started.process.settled()?;
    let id = started.process.id().to_string();
    run(Command::new("callgrind_control").args(["--dump", &id]))?;
    let file = scratch.0.join(format!("out.{number}"));
    let text = fs::read_to_string(&file)
        .map_err(|error| format!("callgrind wrote no {}: {error}", file.display()))?;
    let summary = text.lines().find_map(|line| line.strip_prefix("summary: "));
    let summary = summary.ok_or("callgrind wrote no summary")?;
    Ok(summary.trim().parse()?)
}

fn kill(id: u32) -> Outcome<()> {
    run(Command::new("kill").args(["-KILL", &id.to_string()]))?;
    Ok(())
}

fn terminate(id: u32) -> Outcome<()> {
    run(Command::new("kill").args(["-TERM", &id.to_string()]))?;
    Ok(())
}

fn count(number: usize) -> Outcome<f64> {
    Ok(f64::from(u32::try_from(number)?))
}

/// Whether all tools are there.
pub(crate) fn missing() -> Vec<&'static str> {
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path =
        |tool: &str| env::split_paths(&path).any(|folder| Path::new(&folder).join(tool).exists());
    let tools = [
        "callgrind_control",
        "gcc",
        "kill",
        "musl-gcc",
        "strace",
        "valgrind",
    ];
    tools.into_iter().filter(|tool| !on_path(tool)).collect()
}

/// Invocations before the first that counts.
const WARM_UP: usize = 3;

//! The start: from before exec until a request is on the wire.

use std::time::Instant;

use crate::Outcome;
use crate::api::{Api, Call, REGISTERED, Request, SUBSCRIBED};
use crate::process::{Process, Subject, evict};
use crate::table::{Column, Figure, Table};
use crate::tools;

/// The request, or the end, up to which a start is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// A runtime asks for its first invocation.
    Next,
    /// An extension asks for its first event, after it has registered and subscribed.
    Ready,
    /// An extension registers, and that is all: a floor.
    Register,
    /// The process ends: what the C library takes.
    Exit,
}

/// A process that has started.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) process: Process,
    pub(crate) api: Api,
    /// The request that it started for, unanswered. `None` for [`Goal::Exit`].
    pub(crate) request: Option<Request>,
    pub(crate) registered_at: Option<Instant>,
    /// Where it wants telemetry.
    pub(crate) telemetry_port: Option<u16>,
}

/// The figures of the starts of one subject.
#[derive(Debug, Default)]
struct Samples {
    register_us: Vec<f64>,
    goal_us: Vec<f64>,
    cpu_us: Vec<f64>,
    minor: Vec<f64>,
    major: Vec<f64>,
    peak_kb: Vec<f64>,
    threads: Vec<f64>,
}

/// Starts a subject, under a tool if there is one, and answers it until its goal is reached.
///
/// A peer that does not get there is started once more, and said so: one of AWS's crates asks for
/// nothing in about one of some thousand starts, which is no figure of ours.
pub(crate) fn start(
    subject: &Subject,
    goal: Goal,
    under: Option<(&str, &[String])>,
) -> Outcome<Started> {
    match start_once(subject, goal, under) {
        Err(error) if !subject.name.starts_with(OURS) => {
            eprintln!("{error}; it is started once more");
            start_once(subject, goal, under)
        }
        other => other,
    }
}

fn start_once(subject: &Subject, goal: Goal, under: Option<(&str, &[String])>) -> Outcome<Started> {
    let mut api = Api::bind()?;
    let address = api.address()?;
    let process = match under {
        None => subject.start(&address)?,
        Some((tool, args)) => subject.start_under(&address, Some(tool), args)?,
    };
    let (mut registered_at, mut telemetry_port) = (None, None);
    if goal == Goal::Exit {
        return Ok(Started {
            process,
            api,
            request: None,
            registered_at,
            telemetry_port,
        });
    }
    let request = loop {
        let request = api
            .request()
            .map_err(|error| format!("{}: {error}", subject.name))?;
        match (goal, request.call) {
            (Goal::Next, Call::Next) | (Goal::Ready, Call::Event) => break request,
            (Goal::Register, Call::Register) => {
                registered_at = Some(request.at);
                break request;
            }
            // A runtime that wants to be told of a shutdown. No event comes.
            (Goal::Next, Call::Register) => api.answer(&request, &[REGISTERED])?,
            (Goal::Next, Call::Event) => {}
            (Goal::Ready, Call::Register) => {
                registered_at = Some(request.at);
                api.answer(&request, &[REGISTERED])?;
            }
            (Goal::Ready, Call::Subscribe) => {
                telemetry_port = port(api.body(&request));
                api.answer(&request, &[SUBSCRIBED])?;
            }
            (_, call) => return Err(format!("{}: {call:?} at the start", subject.name).into()),
        }
    };
    Ok(Started {
        process,
        api,
        request: Some(request),
        registered_at,
        telemetry_port,
    })
}

/// The port in a subscription: `"URI":"http://sandbox.localdomain:4243/path"`.
fn port(body: &[u8]) -> Option<u16> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    let uri = body.pointer("/destination/URI")?.as_str()?;
    let authority = uri.strip_prefix("http://")?.split('/').next()?;
    authority.rsplit_once(':')?.1.parse().ok()
}

/// Starts all subjects in turn, `times` each, and tables what that takes.
pub(crate) fn table(
    title: &str,
    note: &str,
    subjects: &[(Subject, Goal)],
    times: usize,
    cold: bool,
) -> Outcome<Table> {
    let mut samples: Vec<Samples> = subjects.iter().map(|_| Samples::default()).collect();
    let mut order = Order(0x9e37_79b9_7f4a_7c15);
    for round in 0..times + WARM_UP_ROUNDS {
        for index in order.shuffled(subjects.len()) {
            let (Some((subject, goal)), Some(samples)) =
                (subjects.get(index), samples.get_mut(index))
            else {
                continue;
            };
            if cold {
                evict(&subject.path)?;
            }
            let mut started = start(subject, *goal, None)?;
            let since =
                |at: Instant| at.duration_since(started.process.started).as_secs_f64() * 1e6;
            if *goal == Goal::Exit {
                let from = started.process.started;
                started.process.ended()?;
                if WARM_UP_ROUNDS <= round {
                    samples.goal_us.push(from.elapsed().as_secs_f64() * 1e6);
                }
                continue;
            }
            let registered = started.registered_at.map(since);
            let reached = started.request.map(|request| since(request.at));
            let usage = started.process.settled()?;
            if round < WARM_UP_ROUNDS {
                continue;
            }
            samples.register_us.extend(registered);
            if *goal != Goal::Register {
                samples.goal_us.extend(reached);
            }
            samples.cpu_us.push(usage.cpu_us);
            samples.minor.push(usage.minor_faults);
            samples.major.push(usage.major_faults);
            samples.peak_kb.push(usage.peak_kb);
            samples.threads.push(usage.threads);
        }
    }
    let mut table = Table::new(title, note, columns());
    for ((subject, goal), samples) in subjects.iter().zip(samples) {
        let counted = !cold && *goal != Goal::Exit;
        table.row(&subject.name, samples.row(subject, *goal, counted)?);
    }
    Ok(table)
}

impl Samples {
    /// The cells of a subject's row, with the counts if they are wanted.
    fn row(self, subject: &Subject, goal: Goal, counted: bool) -> Outcome<Vec<Option<Figure>>> {
        let (mut calls, mut instructions) = (None, None);
        if counted {
            calls = Some(Figure::exact(tools::calls_of_start(subject, goal)?));
            instructions = Some(Figure::exact(tools::instructions_of_start(subject, goal)?));
        }
        let some = |samples: Vec<f64>| (!samples.is_empty()).then(|| Figure::of(samples));
        let bytes = f64::from(u32::try_from(subject.bytes()?)?);
        Ok(vec![
            some(self.register_us),
            some(self.goal_us),
            some(self.cpu_us),
            some(self.minor),
            some(self.major),
            some(self.peak_kb),
            some(self.threads),
            calls,
            instructions,
            Some(Figure::exact(bytes)),
        ])
    }
}

/// Orders to start in. Whatever ran before leaves the caches in some state, so that nothing may
/// always come after the same.
struct Order(u64);

impl Order {
    /// The numbers below `count`, in an order that is the same in every run of this program.
    fn shuffled(&mut self, count: usize) -> Vec<usize> {
        let mut numbers: Vec<usize> = (0..count).collect();
        for last in (1..count).rev() {
            // xorshift64: <https://www.jstatsoft.org/article/view/v008i14>
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            let other = self.0 % (last as u64 + 1);
            numbers.swap(last, usize::try_from(other).unwrap_or(0));
        }
        numbers
    }
}

fn columns() -> Vec<Column> {
    vec![
        Column::spread(REGISTER_US),
        Column::spread(GOAL_US),
        Column::plain("CPU µs"),
        Column::plain("minor faults"),
        Column::plain("major faults"),
        Column::plain(PEAK_KB),
        Column::plain("threads"),
        Column::plain(CALLS),
        Column::plain(INSTRUCTIONS),
        Column::plain(BYTES),
    ]
}

/// How the names of our own programs begin.
const OURS: &str = "Bantam";

pub(crate) const REGISTER_US: &str = "register µs";
pub(crate) const GOAL_US: &str = "ready µs";
pub(crate) const PEAK_KB: &str = "peak kB";
pub(crate) const CALLS: &str = "system calls";
pub(crate) const INSTRUCTIONS: &str = "instructions";
pub(crate) const BYTES: &str = "bytes";

/// Starts before the first that counts.
const WARM_UP_ROUNDS: usize = 3;

//! The warm path: what an invocation takes in a process that has served some.

use std::time::Instant;

use crate::Outcome;
use crate::api::{Framed, invoke};
use crate::events;
use crate::process::Subject;
use crate::start::{Goal, Started, start};
use crate::table::{Column, Figure, Table};
use crate::tools::{self, Threads};

/// The work of a function on an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Send its bytes back.
    Raw,
    /// Parse it whole and answer with a short document.
    Typed,
}

/// A size of events, and how many are sent for one sample.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) name: &'static str,
    pub(crate) bytes: usize,
    pub(crate) times: usize,
}

/// The sizes of the tables, each with a share of the same time.
pub(crate) const SIZES: [Size; 7] = [
    Size::new("100 B", 100, 2_000),
    Size::new("242 B", 242, 2_000),
    Size::new("2.7 KB", 2_700, 1_500),
    Size::new("10 KB", 10_000, 1_000),
    Size::new("89 KB", 89_000, 150),
    Size::new("1 MB", 1_000_000, 20),
    Size::new("6 MB", 6_000_000, 5),
];

impl Size {
    const fn new(name: &'static str, bytes: usize, times: usize) -> Self {
        Self { name, bytes, times }
    }

    /// The event of this size.
    pub(crate) fn event(self, kind: Kind) -> Vec<u8> {
        match kind {
            Kind::Raw => events::raw(self.bytes),
            Kind::Typed => events::typed(self.bytes),
        }
    }

    /// Invocations for a count that does not vary: few, as they are slow to take.
    pub(crate) const fn counted_times(self) -> usize {
        if self.bytes < 50_000 { 20 } else { 3 }
    }
}

/// A process that serves invocations.
#[derive(Debug)]
pub(crate) struct Server {
    started: Started,
}

/// Cost of one invocation, averaged over a sample.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) wall_us: f64,
    pub(crate) cpu_us: f64,
}

impl Server {
    pub(crate) fn start(subject: &Subject) -> Outcome<Self> {
        Ok(Self {
            started: start(subject, Goal::Next, None)?,
        })
    }

    /// Sends an event so many times.
    pub(crate) fn sample(&mut self, framed: &Framed, event: &[u8], times: usize) -> Outcome<Cost> {
        let before = self.started.process.settled()?;
        let from = Instant::now();
        let mut next = self.started.request.ok_or("not a runtime")?;
        for _ in 0..times {
            (next, _) = invoke(&mut self.started.api, &next, framed, event)?;
        }
        let wall = from.elapsed();
        self.started.request = Some(next);
        let after = self.started.process.settled()?;
        let times = f64::from(u32::try_from(times)?);
        Ok(Cost {
            wall_us: wall.as_secs_f64() * 1e6 / times,
            cpu_us: (after.cpu_us - before.cpu_us) / times,
        })
    }

    /// Resident memory now and at most, in kB.
    pub(crate) fn memory_kb(&self) -> Outcome<(f64, f64)> {
        let usage = self.started.process.settled()?;
        Ok((usage.now_kb, usage.peak_kb))
    }
}

/// Serves one size of events with all subjects in turn. `plain` are the same functions on a shared
/// libc, in the same order, where there are any: their allocations are counted.
pub(crate) fn table(
    kind: Kind,
    size: Size,
    subjects: &[Subject],
    plain: &[Option<Subject>],
    rounds: usize,
) -> Outcome<Table> {
    let event = size.event(kind);
    let framed = Framed::new(&event);
    let mut servers = Vec::new();
    for subject in subjects {
        let mut server = Server::start(subject)?;
        // Buffers grow, lazily made things are made.
        server.sample(&framed, &event, (size.times / 4).max(3))?;
        servers.push((server, vec![], vec![]));
    }
    for _ in 0..rounds {
        for (server, wall, cpu) in &mut servers {
            let cost = server.sample(&framed, &event, size.times)?;
            wall.push(cost.wall_us);
            cpu.push(cost.cpu_us);
        }
    }
    let title = match kind {
        Kind::Raw => format!("Raw, {}", size.name),
        Kind::Typed => format!("Typed, {}", size.name),
    };
    let note = format!(
        "{rounds} samples of {} invocations each, per invocation.",
        size.times
    );
    let columns = vec![
        Column::spread("round trip µs"),
        Column::spread(CPU_US),
        Column::plain(INSTRUCTIONS),
        Column::plain(CALLS),
        Column::plain("allocations"),
        Column::plain("peak kB"),
        Column::plain("bytes"),
    ];
    let mut table = Table::new(&title, &note, columns);
    for (index, (server, wall, cpu)) in servers.into_iter().enumerate() {
        let Some(subject) = subjects.get(index) else {
            continue;
        };
        let (_, peak_kb) = server.memory_kb()?;
        drop(server);
        let times = size.counted_times();
        let instructions = tools::instructions_of_invocation(subject, &event, times)?;
        let calls = tools::calls_of_invocation(subject, Threads::All, &event, times)?;
        let allocations = match plain.get(index) {
            Some(Some(plain)) => Some(tools::allocations_of_invocation(plain, &event, times)?),
            _ => None,
        };
        table.row(
            &subject.name,
            vec![
                Some(Figure::of(wall)),
                Some(Figure::of(cpu)),
                Some(Figure::exact(instructions)),
                Some(Figure::exact(calls)),
                allocations.map(Figure::exact),
                Some(Figure::exact(peak_kb)),
                Some(Figure::exact(f64::from(u32::try_from(subject.bytes()?)?))),
            ],
        );
    }
    Ok(table)
}

pub(crate) const CPU_US: &str = "CPU µs";
pub(crate) const INSTRUCTIONS: &str = "instructions";
pub(crate) const CALLS: &str = "system calls";

//! The parts of the comparison: which programs stand beside each other, and what is promised.

use bantam_emulator::measure::grouped;

use crate::Outcome;
use crate::api::Framed;
use crate::baseline::Counts;
use crate::emulator;
use crate::events;
use crate::growth;
use crate::ingest;
use crate::process::{OneProcessor, Subject};
use crate::programs::{Profile, Workshop, run};
use crate::servers::{self, Adapter};
use crate::start::{self, Goal};
use crate::streams;
use crate::table::{Bar, Table};
use crate::warm::{self, Kind, SIZES, Size};
use crate::workers;

/// A part that can be run by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Start,
    Warm,
    Ingest,
    Growth,
    Workers,
    Streams,
    Http,
    Emulator,
}

/// How many samples are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    Short,
    Full,
}

/// The results so far.
#[derive(Debug, Default)]
pub(crate) struct Results {
    pub(crate) tables: Vec<Table>,
    pub(crate) bars: Vec<Bar>,
    pub(crate) counts: Counts,
}

impl Effort {
    const fn starts(self) -> usize {
        match self {
            Self::Short => 20,
            Self::Full => 300,
        }
    }
}

impl Results {
    /// Keeps the counts of a start.
    fn start_counts(&mut self, key: &str, table: &Table, name: &str) {
        for column in [start::INSTRUCTIONS, start::CALLS, start::BYTES] {
            self.counts
                .add(&format!("start {key}: {column}"), table.get(name, column));
        }
    }
}

impl Part {
    pub(crate) const ALL: [Self; 8] = [
        Self::Start,
        Self::Warm,
        Self::Ingest,
        Self::Growth,
        Self::Workers,
        Self::Streams,
        Self::Http,
        Self::Emulator,
    ];

    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "start" => Some(Self::Start),
            "warm" => Some(Self::Warm),
            "ingest" => Some(Self::Ingest),
            "growth" => Some(Self::Growth),
            "workers" => Some(Self::Workers),
            "streams" => Some(Self::Streams),
            "http" => Some(Self::Http),
            "emulator" => Some(Self::Emulator),
            _ => None,
        }
    }

    pub(crate) fn run(
        self,
        workshop: &Workshop,
        effort: Effort,
        results: &mut Results,
    ) -> Outcome<()> {
        match self {
            Self::Start => {
                of_runtimes(workshop, effort, results)?;
                of_extensions(workshop, effort, results)
            }
            Self::Warm => {
                let _pinned = OneProcessor::take()?;
                warm(workshop, effort, Kind::Raw, results)?;
                warm(workshop, effort, Kind::Typed, results)
            }
            Self::Ingest => {
                let pinned = OneProcessor::take()?;
                ingest(workshop, effort, results)?;
                drop(pinned);
                flood(workshop, results)
            }
            Self::Growth => {
                let _pinned = OneProcessor::take()?;
                growth(workshop, effort, results)
            }
            Self::Workers => of_workers(workshop, effort, results),
            Self::Streams => of_streams(workshop, effort, results),
            Self::Http => of_servers(workshop, effort, results),
            Self::Emulator => of_emulator(workshop, effort, results),
        }
    }
}

/// Two processors share the work, as on Managed Instances: neither a program nor its server is kept
/// on one.
fn of_workers(workshop: &Workshop, effort: Effort, results: &mut Results) -> Outcome<()> {
    eprintln!("Managed Instances ...");
    let mut subjects = vec![Subject::new(
        "Bantam",
        workshop.function_with("bench-concurrent", &["--features", "concurrent"])?,
    )];
    if effort == Effort::Full {
        let path =
            workshop.peer_with("concurrent", Profile::Speed, &["--features", "concurrent"])?;
        subjects.push(Subject::new(PEER_CONCURRENT, path));
    }
    if let Some(python) = workshop.installed("python/bin/python") {
        let path = workshop.file("benches/peers/python/bootstrap");
        let mut subject = Subject::new(PEER_PYTHON, path);
        subject.env.push(("PYTHON", python.display().to_string()));
        subjects.push(subject);
    }
    let rounds = effort.starts() / 20;
    let mut tables = Vec::new();
    for concurrency in workers::CONCURRENCY {
        tables.push(workers::table(concurrency, &subjects, rounds)?);
    }
    let each = workers::memory_of_each(&subjects, &tables);
    results.tables.extend(tables);
    results.tables.push(each);
    Ok(())
}

/// A handler and the reader of its response work at the same time, each on a processor.
fn of_streams(workshop: &Workshop, effort: Effort, results: &mut Results) -> Outcome<()> {
    eprintln!("Streamed responses ...");
    let mut subjects = vec![Subject::new("Bantam", workshop.function("bench-stream")?)];
    if effort == Effort::Full {
        let peer = workshop.peer("stream", Profile::Speed)?;
        subjects.push(Subject::new(PEER_SPEED, peer));
    }
    let rounds = effort.starts() / 20;
    results.tables.push(streams::table(&subjects, rounds)?);
    Ok(())
}

/// The stock binary and AWS Lambda Web Adapter before the same server.
fn of_servers(workshop: &Workshop, effort: Effort, results: &mut Results) -> Outcome<()> {
    eprintln!("HTTP servers ...");
    let server = Subject::new(
        "the server itself",
        workshop.plain_function("bench-server")?,
    );
    let mut ours = Subject::new(SHIPPED, workshop.stock()?);
    ours.env.extend([
        ("BANTAM_HANDLER_MODE", "http".to_owned()),
        ("_HANDLER", server.path.display().to_string()),
    ]);
    let [instructions, calls] = servers::counts(&ours)?;
    results
        .counts
        .add("http GET: instructions", Some(instructions));
    // Ten where the server answers before it is looked for, and two more to wait for it.
    let what = "system calls of the stock binary for a request to its HTTP server";
    results.bars.push(Bar::at_most(12.0, what, calls).gate());
    let mut adapters = vec![Adapter {
        subject: ours,
        server: None,
    }];
    if let Some(path) = workshop.installed("lambda-adapter") {
        adapters.push(Adapter {
            subject: Subject::new(PEER_ADAPTER, path),
            server: Some(server.clone()),
        });
    }
    let starts = servers::starts(&adapters, effort.starts())?;
    let pinned = OneProcessor::take()?;
    let tables = servers::tables(&server, &adapters, effort.starts() / 4)?;
    drop(pinned);
    let share = |table: &Table, column: &str| {
        let get = |name: &str| table.get(name, column).unwrap_or(f64::NAN);
        get(SHIPPED) / get(PEER_ADAPTER)
    };
    if 1 < adapters.len() {
        let bar = |limit: f64, what: &str, value: f64| {
            Bar::at_most(limit, format!("{what}, share of {PEER_ADAPTER}"), value)
        };
        results.bars.extend([
            bar(
                0.1,
                "bytes of the stock binary",
                share(&starts, servers::BYTES),
            ),
            bar(
                1.0,
                "start with an HTTP server",
                share(&starts, servers::READY_US),
            ),
        ]);
        for table in &tables {
            let request = table.title.rsplit(": ").next().unwrap_or_default();
            let what = format!("time added to a request ({request})");
            results
                .bars
                .push(bar(0.5, &what, share(table, servers::ADDED_US)));
        }
    }
    results.tables.push(starts);
    results.tables.extend(tables);
    Ok(())
}

fn of_emulator(workshop: &Workshop, effort: Effort, results: &mut Results) -> Outcome<()> {
    eprintln!("Emulator ...");
    let function = Subject::new("Bantam, raw", workshop.function("bench-raw")?);
    let mut server = warm::Server::start(&function)?;
    let event = events::raw(242);
    let framed = Framed::new(&event);
    server.sample(&framed, &event, 1_000)?;
    let direct = server.sample(&framed, &event, 4_000)?;
    let rounds = effort.starts() / 20;
    let table = emulator::table(&function.path, direct.wall_us, rounds)?;
    let row = emulator::row(false, 4);
    let rate = table.get(&row, emulator::RATE).unwrap_or(f64::NAN);
    let what = format!("invocations a second through the emulator, {row}");
    results.bars.push(Bar::at_least(10_000.0, what, rate));
    results.tables.push(table);
    Ok(())
}

/// Peers of a full run, which show where a difference comes from.
fn others(workshop: &Workshop, effort: Effort, peer: &str, name: &str) -> Outcome<Vec<Subject>> {
    if effort == Effort::Short {
        return Ok(Vec::new());
    }
    let mut subjects = vec![Subject::new(
        &format!("{name}, level z"),
        workshop.peer(peer, Profile::Size)?,
    )];
    if let Some(path) = workshop.peer_on_musl(peer)? {
        subjects.push(Subject::new(&format!("{name}, level 3, static musl"), path));
    }
    Ok(subjects)
}

fn of_runtimes(workshop: &Workshop, effort: Effort, results: &mut Results) -> Outcome<()> {
    eprintln!("Start of a runtime ...");
    let stock = workshop.with_handler(Subject::new(STOCK, workshop.stock()?));
    let plain = workshop.plain_function("bench-hello")?;
    let mut subjects = vec![
        workshop.floor_subject(FLOOR, "next"),
        stock,
        Subject::new(HELLO, workshop.function("bench-hello")?),
        Subject::new("Bantam, hello, plain cargo build", plain),
        Subject::new(PEER_RUNTIME, workshop.peer("hello", Profile::Release)?),
        Subject::new(PEER_SPEED, workshop.peer("hello", Profile::Speed)?),
    ];
    subjects.extend(others(workshop, effort, "hello", "lambda_runtime")?);
    let subjects: Vec<_> = subjects
        .into_iter()
        .map(|subject| (subject, Goal::Next))
        .collect();
    let times = effort.starts();
    let table = start::table(
        "Start of a runtime",
        &format!(
            "{times} starts of each, in turn, page cache warm. ready µs: from before the process is \
             made to the first byte of GET next. CPU, faults, peak memory and threads once \
             everything waits for the answer."
        ),
        &subjects,
        times,
        false,
    )?;
    runtime_bars(&table, results);
    results.start_counts("stock", &table, STOCK);
    results.start_counts("hello", &table, HELLO);
    results.tables.push(table);
    if effort == Effort::Full {
        results.tables.push(start::table(
            "Start of a runtime, file not in the page cache",
            &format!(
                "{COLD_STARTS} starts of each, in turn; before each the pages of the program are \
                 dropped with POSIX_FADV_DONTNEED. Those of shared libraries stay, since other \
                 processes map them: that favours what is linked dynamically."
            ),
            &subjects,
            COLD_STARTS,
            true,
        )?);
        results.tables.push(of_libcs(workshop)?);
    }
    Ok(())
}

fn runtime_bars(table: &Table, results: &mut Results) {
    let get = |name: &str, column: &str| table.get(name, column).unwrap_or(f64::NAN);
    let us = |name: &str| get(name, start::GOAL_US);
    let peak = |name: &str| get(name, start::PEAK_KB);
    results.bars.extend([
        Bar::at_most(
            1.2,
            "start of the stock binary, times the C floor",
            us(STOCK) / us(FLOOR),
        ),
        Bar::at_most(
            11.0,
            "system calls until the stock binary asks for an event",
            get(STOCK, start::CALLS),
        )
        .gate(),
        // Each block of 64 kB that `layer/sections.ld` lets a start touch is in it.
        Bar::at_most(250.0, "peak kB of the stock binary", peak(STOCK)).gate(),
        // These are missed, and so reported. The baseline holds the counts where they are.
        Bar::at_most(
            270_000.0,
            "bytes of the stock binary",
            get(STOCK, start::BYTES),
        ),
        Bar::at_most(
            98_000.0,
            "bytes of a typed function",
            get(HELLO, start::BYTES),
        ),
        Bar::at_least(
            7.0,
            format!(
                "start of lambda_runtime's hello, times the stock binary ({:.2} times the C floor)",
                us(PEER_RUNTIME) / us(FLOOR)
            ),
            us(PEER_RUNTIME) / us(STOCK),
        ),
        Bar::at_most(
            0.1,
            "peak memory of the stock binary, share of lambda_runtime's hello",
            peak(STOCK) / peak(PEER_RUNTIME),
        ),
    ]);
}

/// The time of a C library before `main`. In a virtual machine most of it is CPUID.
fn of_libcs(workshop: &Workshop) -> Outcome<Table> {
    let subjects = [
        ("empty C program, static musl", "empty-musl-static"),
        ("empty C program, static glibc", "empty-glibc-static"),
        ("empty C program, shared glibc", "empty-glibc-dynamic"),
    ];
    let subjects: Vec<_> = subjects
        .into_iter()
        .map(|(name, file)| (workshop.floor_subject(name, file), Goal::Exit))
        .collect();
    let cpuid_ns = run(&mut std::process::Command::new(workshop.floor("cpuid")))?;
    let cpuid_ns = String::from_utf8(cpuid_ns)?.trim().to_owned();
    let note = format!(
        "ready µs: from before the process is made until it has been waited for. \
         One CPUID takes {cpuid_ns} ns on this machine."
    );
    start::table("What the C library takes", &note, &subjects, 200, false)
}

fn of_extensions(workshop: &Workshop, effort: Effort, results: &mut Results) -> Outcome<()> {
    eprintln!("Start of an extension ...");
    let mut subjects = vec![
        workshop.floor_subject("C floor, all three calls", "ready"),
        Subject::new(EXTENSION, extension(workshop)?),
        Subject::new(
            PEER_EXTENSION,
            workshop.peer("extension", Profile::Release)?,
        ),
        Subject::new(
            PEER_EXTENSION_SPEED,
            workshop.peer("extension", Profile::Speed)?,
        ),
    ];
    subjects.extend(others(workshop, effort, "extension", "lambda-extension")?);
    let register = workshop.floor_subject(FLOOR_REGISTER, "register");
    let subjects: Vec<_> = [(register, Goal::Register)]
        .into_iter()
        .chain(subjects.into_iter().map(|subject| (subject, Goal::Ready)))
        .collect();
    let times = effort.starts();
    let table = start::table(
        "Start of an extension",
        &format!(
            "{times} starts of each, in turn, page cache warm. register µs: to the first byte of \
             register; ready µs: to the first byte of event/next, after register and the \
             subscription to telemetry. System calls up to there; the rest once everything waits."
        ),
        &subjects,
        times,
        false,
    )?;
    extension_bars(&table, results);
    results.start_counts("extension", &table, EXTENSION);
    results.tables.push(table);
    if effort == Effort::Full {
        results.tables.push(start::table(
            "Start of an extension, file not in the page cache",
            &format!("{COLD_STARTS} starts of each, as above for runtimes."),
            &subjects,
            COLD_STARTS,
            true,
        )?);
    }
    Ok(())
}

fn extension_bars(table: &Table, results: &mut Results) {
    let get = |name: &str, column: &str| table.get(name, column).unwrap_or(f64::NAN);
    let share = |column: &str| get(EXTENSION, column) / get(PEER_EXTENSION, column);
    let register = get(EXTENSION, start::REGISTER_US) / get(FLOOR_REGISTER, start::REGISTER_US);
    results.bars.extend([
        Bar::at_most(1.4, "register, times the C floor", register),
        Bar::at_most(
            0.22,
            "extension ready, share of lambda-extension's time",
            share(start::GOAL_US),
        ),
        Bar::at_most(
            400.0,
            "peak kB of the extension",
            get(EXTENSION, start::PEAK_KB),
        ),
        Bar::at_most(
            20.0,
            "system calls until the extension is ready",
            get(EXTENSION, start::CALLS),
        )
        .gate(),
    ]);
}

fn warm(workshop: &Workshop, effort: Effort, kind: Kind, results: &mut Results) -> Outcome<()> {
    let (subjects, plain) = warm_subjects(workshop, effort, kind)?;
    let what = match kind {
        Kind::Raw => "raw",
        Kind::Typed => "typed",
    };
    let (mut least, mut most) = (f64::NAN, f64::NAN);
    for size in SIZES {
        if effort == Effort::Short && size.bytes > 2_000_000 {
            continue;
        }
        eprintln!("Warm path, {what}, {} ...", size.name);
        let rounds = match effort {
            Effort::Short => 3,
            Effort::Full => 15,
        };
        let table = warm::table(kind, size, &subjects, &plain, rounds)?;
        let name = format!("warm {what} {}", size.name);
        let counts = &mut results.counts;
        counts.add(
            &format!("{name}: instructions"),
            table.get(SHIPPED, warm::INSTRUCTIONS),
        );
        // A large event comes in as many reads as the kernel cuts it into.
        if size.bytes < 50_000 {
            counts.add(
                &format!("{name}: system calls"),
                table.get(SHIPPED, warm::CALLS),
            );
        }
        let instructions = table.get(SHIPPED, warm::INSTRUCTIONS).unwrap_or(f64::NAN);
        (least, most) = (least.min(instructions), most.max(instructions));
        match kind {
            Kind::Raw => raw_bars(size, &table, results),
            Kind::Typed => typed_bars(size, &table, results),
        }
        results.tables.push(table);
    }
    if kind == Kind::Raw {
        // Who copies a byte has an instruction for it: the kernel copies once on each way, and
        // nothing else does.
        let what = "instructions of an echo of the largest event, times the smallest";
        results
            .bars
            .push(Bar::at_most(1.25, what, most / least).gate());
    }
    Ok(())
}

/// The subjects, and for each the same function on a shared libc, where there is one.
fn warm_subjects(
    workshop: &Workshop,
    effort: Effort,
    kind: Kind,
) -> Outcome<(Vec<Subject>, Vec<Option<Subject>>)> {
    let (binary, peer) = match kind {
        Kind::Raw => ("bench-raw", "raw"),
        Kind::Typed => ("bench-typed", "typed"),
    };
    let mut subjects = Vec::new();
    let mut plain = Vec::new();
    if kind == Kind::Raw {
        subjects.push(workshop.floor_subject(FLOOR_ECHO, "echo"));
        plain.push(None);
    }
    let plain_ours = Subject::new(PLAIN, workshop.plain_function(binary)?);
    subjects.push(Subject::new(SHIPPED, workshop.function(binary)?));
    plain.push(Some(plain_ours.clone()));
    if kind == Kind::Typed {
        subjects.push(Subject::new(FAST, workshop.fast_function(binary)?));
        plain.push(None);
    }
    let peer_speed = Subject::new(PEER_SPEED, workshop.peer(peer, Profile::Speed)?);
    if effort == Effort::Full {
        subjects.push(plain_ours);
        plain.push(None);
        subjects.push(Subject::new(
            PEER_RUNTIME,
            workshop.peer(peer, Profile::Release)?,
        ));
        plain.push(None);
    }
    subjects.push(peer_speed.clone());
    plain.push(Some(peer_speed));
    if effort == Effort::Full {
        let others = others(workshop, effort, peer, "lambda_runtime")?;
        plain.extend(others.iter().map(|_| None));
        subjects.extend(others);
    }
    Ok((subjects, plain))
}

fn raw_bars(size: Size, table: &Table, results: &mut Results) {
    let cpu = |name: &str| table.get(name, warm::CPU_US).unwrap_or(f64::NAN);
    let what = format!("CPU of an echo of {}, times the C loop", size.name);
    let bar = Bar::at_most(1.15, what, cpu(SHIPPED) / cpu(FLOOR_ECHO));
    results.bars.push(bar);
    if size.bytes == 242 {
        let instructions = table.get(SHIPPED, warm::INSTRUCTIONS).unwrap_or(f64::NAN);
        let what = format!("instructions of an echo of {}", size.name);
        // It is missed, and so reported. The baseline holds it where it is.
        results
            .bars
            .push(Bar::at_most(12_000.0, what, instructions));
    }
}

fn typed_bars(size: Size, table: &Table, results: &mut Results) {
    // The second is of instructions in user space: the kernel's share, which is much the same for
    // all, is not among them, so the same gain is a smaller share there.
    let (cpu, instructions) = match size.bytes {
        242 => (0.4, 0.6),
        2_700 => (0.3, 0.6),
        89_000 => (0.62, 0.8),
        1_000_000 => (0.9, 0.8),
        _ => return,
    };
    let bar = |ours: &str, column: &str, limit: f64| {
        let get = |name: &str| table.get(name, column).unwrap_or(f64::NAN);
        let what = format!(
            "{column}, typed {}, {ours}, share of lambda_runtime at level 3",
            size.name
        );
        Bar::at_most(limit, what, get(ours) / get(PEER_SPEED))
    };
    results.bars.extend([
        bar(SHIPPED, warm::CPU_US, cpu),
        bar(SHIPPED, warm::INSTRUCTIONS, instructions).gate(),
    ]);
    let fast = match size.bytes {
        89_000 => 0.5,
        1_000_000 => 0.7,
        _ => return,
    };
    results.bars.push(bar(FAST, warm::CPU_US, fast));
}

fn extension(workshop: &Workshop) -> Outcome<std::path::PathBuf> {
    workshop.stock()?;
    workshop.stock_extension()
}

fn ingest(workshop: &Workshop, effort: Effort, results: &mut Results) -> Outcome<()> {
    eprintln!("Ingest ...");
    let mut subjects = vec![
        Subject::new(EXTENSION, extension(workshop)?),
        Subject::new(
            "lambda-extension, level 3",
            workshop.peer("extension", Profile::Speed)?,
        ),
    ];
    subjects.extend(others(workshop, effort, "extension", "lambda-extension")?);
    let rounds = match effort {
        Effort::Short => 3,
        Effort::Full => 15,
    };
    let table = ingest::table(&subjects, rounds)?;
    let per_record = table.get(EXTENSION, ingest::PER_RECORD);
    results
        .counts
        .add("ingest: instructions/record", per_record);
    let what = "instructions of the extension for a record";
    let bar = Bar::at_most(20_000.0, what, per_record.unwrap_or(f64::NAN));
    results.bars.push(bar.gate());
    results.tables.push(table);
    Ok(())
}

/// The senders have the other processors.
fn flood(workshop: &Workshop, results: &mut Results) -> Outcome<()> {
    eprintln!("Flood ...");
    let ms = ingest::flooded(&Subject::new(EXTENSION, extension(workshop)?), 100)?;
    let what = "ms from an INVOKE event to the next request, beside three floods";
    results.bars.push(Bar::at_most(10.0, what, ms.median));
    Ok(())
}

fn growth(workshop: &Workshop, effort: Effort, results: &mut Results) -> Outcome<()> {
    eprintln!("Growth ...");
    let total = match effort {
        Effort::Short => 20_000,
        Effort::Full => 1_000_000,
    };
    let shipped = Subject::new(EXTENSION, extension(workshop)?);
    results.tables.push(growth::batches(&shipped)?);
    let raw = Subject::new("Bantam, raw", workshop.function("bench-raw")?);
    let typed = Subject::new("Bantam, typed", workshop.function("bench-typed")?);
    let tables = [
        (
            raw.name.clone(),
            growth::invocations(&raw, Kind::Raw, total)?,
        ),
        (
            typed.name.clone(),
            growth::invocations(&typed, Kind::Typed, total)?,
        ),
        (shipped.name.clone(), growth::extension(&shipped, total)?),
    ];
    for (name, table) in tables {
        let at = |row: usize, column: &str| {
            let row = format!("to {}", grouped(row));
            table.get(&row, column).unwrap_or(f64::NAN)
        };
        let more_kb = at(total, growth::MEMORY) - at(10_000, growth::MEMORY);
        let times = at(total, growth::CPU_EACH) / at(10_000, growth::CPU_EACH);
        let kb = format!(
            "{name}: kB more after {} invocations than after 10,000",
            grouped(total)
        );
        results.bars.push(Bar::at_most(64.0, kb, more_kb).gate());
        let cpu = format!("{name}: CPU of the last invocations, times those up to 10,000");
        results.bars.push(Bar::at_most(1.1, cpu, times));
        results.tables.push(table);
    }
    Ok(())
}

const FLOOR: &str = "C floor, static musl";
const FLOOR_REGISTER: &str = "C floor, register only";
const FLOOR_ECHO: &str = "C echo loop, static musl";
const STOCK: &str = "Bantam, stock binary";
pub(crate) const HELLO: &str = "Bantam, hello";
pub(crate) const SHIPPED: &str = "Bantam";
const FAST: &str = "Bantam, layer/build --speed";
const PLAIN: &str = "Bantam, plain cargo build";
pub(crate) const EXTENSION: &str = "Bantam, extension";
pub(crate) const PEER_RUNTIME: &str = "lambda_runtime, release";
pub(crate) const PEER_SPEED: &str = "lambda_runtime, level 3";
pub(crate) const PEER_CONCURRENT: &str = "lambda_runtime, concurrency-tokio, level 3";
pub(crate) const PEER_PYTHON: &str = "awslambdaric, Python";
pub(crate) const PEER_ADAPTER: &str = "AWS Lambda Web Adapter";
pub(crate) const PEER_EXTENSION: &str = "lambda-extension, release";
const PEER_EXTENSION_SPEED: &str = "lambda-extension, level 3";

/// Starts of each program that is not in the page cache.
const COLD_STARTS: usize = 60;

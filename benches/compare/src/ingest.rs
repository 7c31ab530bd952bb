//! Ingest: telemetry through a real socket into an extension.

use std::hint::black_box;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde::de::IgnoredAny;

use crate::Outcome;
use crate::api::Request;
use crate::events;
use crate::process::{Subject, Usage};
use crate::start::{Goal, Started, start};
use crate::table::{Column, Figure, Table};
use crate::tools;

/// An extension that is ready, and the connection that telemetry goes through.
#[derive(Debug)]
pub(crate) struct Receiver {
    started: Started,
    stream: TcpStream,
}

/// Cost of delivering some batches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) wall_s: f64,
    pub(crate) cpu_us: f64,
}

impl Receiver {
    pub(crate) fn start(subject: &Subject) -> Outcome<Self> {
        let started = start(subject, Goal::Ready, None)?;
        let stream = connect(&started)?;
        Ok(Self { started, stream })
    }

    /// Delivers these requests, one after the other, and waits until the last is worked off.
    pub(crate) fn deliver(&mut self, requests: &[Vec<u8>]) -> Outcome<Cost> {
        let before = self.usage()?;
        let from = Instant::now();
        for request in requests {
            deliver(&mut self.stream, request)?;
        }
        let after = self.usage()?;
        Ok(Cost {
            wall_s: from.elapsed().as_secs_f64(),
            cpu_us: after.cpu_us - before.cpu_us,
        })
    }

    /// Delivers one request, without waiting until it is worked off.
    pub(crate) fn deliver_one(&mut self, request: &[u8]) -> Outcome<()> {
        deliver(&mut self.stream, request)
    }

    /// Tells of an invocation and waits for the request for the next event.
    pub(crate) fn invoke(&mut self, number: usize) -> Outcome<()> {
        let event: Request = self.started.request.ok_or("not an extension")?;
        let body = format!(
            r#"{{"eventType":"INVOKE","deadlineMs":4102444800000,"requestId":"{number:08x}-e9f4-11e8-9739-2dfe598c3fcd","invokedFunctionArn":"arn:aws:lambda:us-east-1:123456789012:function:measured","tracing":{{"type":"X-Amzn-Trace-Id","value":"Root=1-62e900b2-710d76f009d6e7785905449a;Parent=0efbd19962d95b05;Sampled=1"}}}}"#
        );
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.started
            .api
            .answer(&event, &[head.as_bytes(), body.as_bytes()])?;
        self.started.request = Some(self.started.api.expect(crate::api::Call::Event)?);
        Ok(())
    }

    pub(crate) fn usage(&self) -> Outcome<Usage> {
        self.started.process.settled()
    }
}

fn connect(started: &Started) -> Outcome<TcpStream> {
    let port = started
        .telemetry_port
        .ok_or("it has not subscribed over HTTP")?;
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn deliver(stream: &mut TcpStream, request: &[u8]) -> Outcome<()> {
    stream.write_all(request)?;
    let mut answer = [0; 1024];
    let mut filled = 0;
    while !answer
        .get(..filled)
        .unwrap_or_default()
        .ends_with(b"\r\n\r\n")
    {
        let space = answer.get_mut(filled..).filter(|space| !space.is_empty());
        match stream.read(space.ok_or("a long answer to telemetry")?)? {
            0 => return Err("telemetry was not answered".into()),
            count => filled += count,
        }
    }
    if !answer.starts_with(b"HTTP/1.1 200") {
        return Err(String::from_utf8_lossy(answer.get(..filled).unwrap_or_default()).into());
    }
    Ok(())
}

/// Instructions for one record of a batch of so many.
pub(crate) fn instructions_per_record(subject: &Subject, records: usize) -> Outcome<f64> {
    let mut stream = None;
    let mut sent = 0;
    let instructions = tools::instructions_of(subject, Goal::Ready, |started| {
        if stream.is_none() {
            stream = Some(connect(started)?);
        }
        // A report that comes again is not counted again.
        let batch = events::telemetry(records, sent, 0);
        sent += records;
        deliver(
            stream.as_mut().ok_or("no connection")?,
            &events::delivery(&batch),
        )
    })?;
    Ok(instructions / f64::from(u32::try_from(records)?))
}

/// Milliseconds from an INVOKE event to the request for the next one, while three connections
/// always have a request ready: empty batches, another method, and batches of many records.
pub(crate) fn flooded(subject: &Subject, times: usize) -> Outcome<Figure> {
    let mut receiver = Receiver::start(subject)?;
    let requests = [
        events::delivery(b"[]"),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        events::delivery(&events::telemetry(RECORDS, 0, 0)),
    ];
    let floods = requests
        .iter()
        .map(|request| Flood::start(&receiver.started, request))
        .collect::<Outcome<Vec<_>>>()?;
    let mut samples = Vec::new();
    for number in 0..times {
        // Each has to be served before an event is beside it.
        for flood in &floods {
            flood.answered.recv_timeout(PATIENCE)?;
        }
        let from = Instant::now();
        receiver.invoke(number)?;
        samples.push(from.elapsed().as_secs_f64() * 1e3);
    }
    drop(floods);
    Ok(Figure::of(samples))
}

/// Threads that send a request over and over and read the answers, until it is dropped.
#[derive(Debug)]
struct Flood {
    stream: TcpStream,
    /// Holds an item if there were answers since the last one was taken.
    answered: mpsc::Receiver<()>,
    threads: [Option<JoinHandle<()>>; 2],
}

impl Flood {
    fn start(started: &Started, request: &[u8]) -> Outcome<Self> {
        let stream = connect(started)?;
        let (mut to, mut from) = (stream.try_clone()?, stream.try_clone()?);
        let bytes = request.repeat(100_000 / request.len() + 1);
        let (answers, answered) = mpsc::sync_channel(1);
        let writing = thread::spawn(move || while to.write_all(&bytes).is_ok() {});
        let reading = thread::spawn(move || {
            let mut buffer = [0; 4_096];
            while from.read(&mut buffer).is_ok_and(|count| count != 0) {
                answers.try_send(()).ok();
            }
        });
        Ok(Self {
            stream,
            answered,
            threads: [Some(writing), Some(reading)],
        })
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stream.shutdown(Shutdown::Both).ok();
        for thread in self.threads.iter_mut().filter_map(Option::take) {
            thread.join().ok();
        }
    }
}

/// All subjects in turn, and `serde_json` on the same bytes.
pub(crate) fn table(subjects: &[Subject], rounds: usize) -> Outcome<Table> {
    let batches: Vec<Vec<u8>> = (0..BATCHES)
        .map(|batch| events::telemetry(RECORDS, batch * RECORDS / 3, 0))
        .collect();
    let requests: Vec<Vec<u8>> = batches
        .iter()
        .map(|batch| events::delivery(batch))
        .collect();
    let mut samples: Vec<Samples> = subjects.iter().map(|_| Samples::default()).collect();
    let (mut walked, mut tree) = (vec![], vec![]);
    for _ in 0..rounds {
        for (subject, samples) in subjects.iter().zip(&mut samples) {
            // A new process each time: two of the same peer want the same port.
            let mut receiver = Receiver::start(subject)?;
            receiver.deliver(&requests)?;
            let cost = receiver.deliver(&requests)?;
            samples.wall_s.push(cost.wall_s);
            samples.cpu_s.push(cost.cpu_us / 1e6);
            samples.peak_kb.push(receiver.usage()?.peak_kb);
        }
        walked.push(timed(&batches, |batch| {
            black_box(serde_json::from_slice::<IgnoredAny>(batch)?);
            Ok(())
        })?);
        tree.push(timed(&batches, |batch| {
            black_box(serde_json::from_slice::<serde_json::Value>(batch)?);
            Ok(())
        })?);
    }
    let mut table = empty_table(rounds);
    let bytes = batches.iter().map(Vec::len).sum();
    for (name, s) in [
        ("serde_json, nothing kept", walked),
        ("serde_json, a tree", tree),
    ] {
        let mut cells = rates(bytes, &s, &s)?;
        cells.extend([None, None]);
        table.row(name, cells);
    }
    for (subject, samples) in subjects.iter().zip(samples) {
        let instructions = match instructions_per_record(subject, RECORDS) {
            Ok(instructions) => Some(Figure::exact(instructions)),
            Err(error) => {
                // The verdict misses the count where there should be one.
                eprintln!("{} under callgrind: {error}", subject.name);
                None
            }
        };
        let mut cells = rates(bytes, &samples.wall_s, &samples.cpu_s)?;
        cells.extend([instructions, Some(Figure::of(samples.peak_kb))]);
        table.row(&subject.name, cells);
    }
    Ok(table)
}

/// The samples of one subject.
#[derive(Debug, Default)]
struct Samples {
    wall_s: Vec<f64>,
    cpu_s: Vec<f64>,
    peak_kb: Vec<f64>,
}

fn empty_table(rounds: usize) -> Table {
    Table::new(
        "Ingest",
        &format!(
            "{rounds} samples of {BATCHES} batches of {RECORDS} records each (one start, one \
             runtimeDone, one report for each invocation) over one connection. \
             serde_json at level 3, in the process that measures, reads the same bytes without a \
             socket: once over them without keeping anything, and into its tree."
        ),
        vec![
            Column::spread("MB/s"),
            Column::plain("records/s"),
            Column::plain("CPU MB/s"),
            Column::plain("CPU µs/record"),
            Column::plain(PER_RECORD),
            Column::plain("peak kB"),
        ],
    )
}

/// The first columns: from seconds that passed and seconds of CPU for all batches.
fn rates(bytes: usize, wall_s: &[f64], cpu_s: &[f64]) -> Outcome<Vec<Option<Figure>>> {
    let megabytes = f64::from(u32::try_from(bytes)?) / 1e6;
    let records = f64::from(u32::try_from(BATCHES * RECORDS)?);
    let rate = |of: f64, seconds: &[f64]| Figure::of(seconds.iter().map(|s| of / s).collect());
    Ok(vec![
        Some(rate(megabytes, wall_s)),
        Some(rate(records, wall_s)),
        Some(rate(megabytes, cpu_s)),
        Some(Figure::of(
            cpu_s.iter().map(|s| s * 1e6 / records).collect(),
        )),
    ])
}

fn timed(batches: &[Vec<u8>], mut each: impl FnMut(&[u8]) -> Outcome<()>) -> Outcome<f64> {
    let from = Instant::now();
    for batch in batches {
        each(batch)?;
    }
    Ok(from.elapsed().as_secs_f64())
}

pub(crate) const PER_RECORD: &str = "instructions/record";

/// Records of a batch: some 230 KB, which is what a buffer of the platform holds.
pub(crate) const RECORDS: usize = 600;

const BATCHES: usize = 20;

const PATIENCE: Duration = Duration::from_secs(60);

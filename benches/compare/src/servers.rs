//! A web server as the function: what the program between the Runtime API and the server takes.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use testkit::http::Client;
use testkit::loopback;

use crate::Outcome;
use crate::api::{Api, Call, Framed, REGISTERED, Request, invoke};
use crate::events;
use crate::process::{Process, Subject};
use crate::table::{Column, Figure, Table};
use crate::tools::{self, Threads};

/// A program that turns events into requests to a server.
#[derive(Clone, Debug)]
pub(crate) struct Adapter {
    pub(crate) subject: Subject,
    /// The server, where the program does not start it by itself.
    pub(crate) server: Option<Subject>,
}

/// An adapter with its server, at its first `next`.
struct Running {
    process: Process,
    api: Api,
    next: Request,
    /// From before the first process is made to the first byte of `next`.
    ready_us: f64,
    _server: Option<Process>,
}

/// The request that an event stands for.
#[derive(Clone, Copy, Debug)]
struct Exchange {
    title: &'static str,
    /// The bytes that are sent and come back; without any it is a `GET` of a page.
    body_bytes: usize,
}

const EXCHANGES: [Exchange; 2] = [
    Exchange {
        title: GET,
        body_bytes: 0,
    },
    Exchange {
        title: "HTTP server as the function: POST, 64 KB each way",
        body_bytes: 64_000,
    },
];

impl Adapter {
    /// Starts both, and serves what an extension asks for, until the first `next`.
    fn start(&self) -> Outcome<Running> {
        let [address] = loopback::free();
        let at = |subject: &Subject| {
            let mut subject = subject.clone();
            subject.env.extend(place(address));
            subject
        };
        let mut api = Api::bind()?;
        let process = at(&self.subject).start(&api.address()?)?;
        let server = self.server.as_ref().map(|server| at(server).start(""));
        let server = server.transpose()?;
        // One beside its server is an extension, too, which asks for its events on a connection of
        // its own, before or after this.
        let (mut next, mut is_registered) = (None, self.server.is_none());
        let next = loop {
            let request = api.request()?;
            match request.call {
                Call::Next => next = Some(request),
                Call::Register => api.answer(&request, &[REGISTERED])?,
                // No event comes.
                Call::Event => is_registered = true,
                call @ (Call::Response | Call::Error | Call::Subscribe | Call::Other) => {
                    return Err(format!("{}: {call:?} at the start", self.subject.name).into());
                }
            }
            if let (Some(next), true) = (next, is_registered) {
                break next;
            }
        };
        let ready = next.at.duration_since(process.started);
        Ok(Running {
            process,
            api,
            next,
            ready_us: ready.as_secs_f64() * 1e6,
            _server: server,
        })
    }
}

impl Running {
    /// Serves an event so many times; the time of one.
    fn sample(&mut self, event: &[u8], times: u32) -> Outcome<Sample> {
        let framed = Framed::new(event);
        let before = self.process.settled()?;
        let from = Instant::now();
        for _ in 0..times {
            let (next, _) = invoke(&mut self.api, &self.next, &framed, event)?;
            self.next = next;
        }
        let wall = from.elapsed();
        let after = self.process.settled()?;
        Ok(Sample {
            wall_us: wall.as_secs_f64() * 1e6 / f64::from(times),
            cpu_us: (after.cpu_us - before.cpu_us) / f64::from(times),
        })
    }

    /// One invocation; the bytes of its response.
    fn response(&mut self, event: &[u8]) -> Outcome<Vec<u8>> {
        Framed::new(event).send(&mut self.api, &self.next, event)?;
        let response = self.api.expect(Call::Response)?;
        let body = self.api.body(&response).to_vec();
        self.api.accept(&response)?;
        self.next = self.api.expect(Call::Next)?;
        Ok(body)
    }
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    wall_us: f64,
    cpu_us: f64,
}

/// Starts all in turn, `times` each.
pub(crate) fn starts(adapters: &[Adapter], times: usize) -> Outcome<Table> {
    let note = format!(
        "{times} starts of each, in turn, with the server. ready µs: from before the first process \
         is made to the first byte of GET next, which is asked for when the server is ready. Peak \
         memory of the program alone, after one event."
    );
    let columns = vec![
        Column::spread(READY_US),
        Column::plain(PEAK_KB),
        Column::plain(BYTES),
    ];
    let mut table = Table::new(START, &note, columns);
    let event = events::url(None);
    let mut samples = vec![(vec![], vec![]); adapters.len()];
    for round in 0..=times {
        for (adapter, (ready, peak)) in adapters.iter().zip(&mut samples) {
            let mut running = adapter.start()?;
            running.response(&event)?;
            // The first brings the files into the page cache.
            if round != 0 {
                ready.push(running.ready_us);
                peak.push(running.process.settled()?.peak_kb);
            }
        }
    }
    for (adapter, (ready, peak)) in adapters.iter().zip(samples) {
        let bytes = f64::from(u32::try_from(adapter.subject.bytes()?)?);
        let figures = vec![
            Some(Figure::of(ready)),
            Some(Figure::of(peak)),
            Some(Figure::exact(bytes)),
        ];
        table.row(&adapter.subject.name, figures);
    }
    Ok(table)
}

/// Instructions and system calls of a program that starts its server itself, for one event.
pub(crate) fn counts(adapter: &Subject) -> Outcome<[f64; 2]> {
    let [address] = loopback::free();
    let mut subject = adapter.clone();
    subject.env.extend(place(address));
    // A tool may take longer than a connection is kept.
    let idle = ("AWS_LWA_POOL_IDLE_TIMEOUT_SECONDS", "600".to_owned());
    subject.env.push(idle);
    let event = events::url(None);
    Ok([
        tools::instructions_of_invocation(&subject, &event, COUNTED)?,
        tools::calls_of_invocation(&subject, Threads::First, &event, COUNTED)?,
    ])
}

/// Sends the same requests to the server itself, and as events by way of each adapter.
pub(crate) fn tables(server: &Subject, adapters: &[Adapter], rounds: usize) -> Outcome<Vec<Table>> {
    EXCHANGES
        .iter()
        .map(|exchange| table(*exchange, server, adapters, rounds))
        .collect()
}

fn table(
    exchange: Exchange,
    server: &Subject,
    adapters: &[Adapter],
    rounds: usize,
) -> Outcome<Table> {
    let note = format!(
        "{rounds} samples of {TIMES} requests each, one after the other over connections that are \
         kept, in turn. added µs: the median round trip less that of the server itself. CPU and \
         peak memory of the program alone."
    );
    let columns = vec![
        Column::spread("round trip µs"),
        Column::plain(ADDED_US),
        Column::plain(RATE),
        Column::plain(CPU_US),
        Column::plain(PEAK_KB),
    ];
    let mut table = Table::new(exchange.title, &note, columns);
    let body = vec![b'x'; exchange.body_bytes];
    let event = events::url((!body.is_empty()).then_some(exchange.body_bytes));
    let mut direct = Direct::start(server)?;
    direct.sample(&body, TIMES / 4)?;
    let mut running = Vec::new();
    for adapter in adapters {
        let mut started = adapter.start()?;
        check(&started.response(&event)?, &adapter.subject.name, exchange)?;
        started.sample(&event, TIMES / 4)?;
        running.push((started, vec![], vec![]));
    }
    let mut alone = Vec::new();
    for _ in 0..rounds {
        alone.push(direct.sample(&body, TIMES)?);
        for (started, wall, cpu) in &mut running {
            let sample = started.sample(&event, TIMES)?;
            wall.push(sample.wall_us);
            cpu.push(sample.cpu_us);
        }
    }
    let alone = Figure::of(alone);
    let rate = |round_trip: Figure| Some(Figure::exact(1e6 / round_trip.median));
    table.row(
        &server.name,
        vec![Some(alone), None, rate(alone), None, None],
    );
    for (adapter, (started, wall, cpu)) in adapters.iter().zip(running) {
        let wall = Figure::of(wall);
        let figures = vec![
            Some(wall),
            Some(Figure::exact(wall.median - alone.median)),
            rate(wall),
            Some(Figure::of(cpu)),
            Some(Figure::exact(started.process.settled()?.peak_kb)),
        ];
        table.row(&adapter.subject.name, figures);
    }
    Ok(table)
}

/// Refuses a figure of what did not work.
fn check(response: &[u8], name: &str, exchange: Exchange) -> Outcome<()> {
    let response: serde_json::Value = serde_json::from_slice(response)?;
    let bytes = response["body"].as_str().map_or(0, str::len);
    let expected = match exchange.body_bytes {
        0 => PAGE_BYTES,
        bytes => bytes,
    };
    if response["statusCode"] != 200 || bytes != expected {
        return Err(format!("{name}: {}: {response}", exchange.title).into());
    }
    Ok(())
}

/// The server, asked without anything between.
struct Direct {
    client: Client,
    _server: Process,
}

impl Direct {
    fn start(server: &Subject) -> Outcome<Self> {
        let [address] = loopback::free();
        let mut server = server.clone();
        server.env.extend(place(address));
        let process = server.start("")?;
        // It has no other sign that it listens.
        let until = Instant::now() + PATIENCE;
        while let Err(error) = std::net::TcpStream::connect(address) {
            if until < Instant::now() {
                return Err(format!("{} does not listen: {error}", server.name).into());
            }
            std::thread::yield_now();
        }
        Ok(Self {
            client: Client::connect(address),
            _server: process,
        })
    }

    /// The time of a request, in µs.
    fn sample(&mut self, body: &[u8], times: u32) -> Outcome<f64> {
        let from = Instant::now();
        for _ in 0..times {
            let response = match body {
                [] => self.client.get("/"),
                body => self.client.post("/", &[], body),
            };
            if response.status != 200 {
                return Err(format!("the server answered {}", response.status).into());
            }
        }
        Ok(from.elapsed().as_secs_f64() * 1e6 / f64::from(times))
    }
}

/// Where a server listens.
fn place(address: SocketAddr) -> [(&'static str, String); 2] {
    [
        ("AWS_LWA_HOST", address.ip().to_string()),
        ("PORT", address.port().to_string()),
    ]
}

/// What the server answers to a `GET`.
const PAGE_BYTES: usize = 1_000;

/// Requests of a sample.
const TIMES: u32 = 500;

/// Requests for a count: few, as they are slow to take.
const COUNTED: usize = 20;

/// How long the server may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) const GET: &str = "HTTP server as the function: GET, a page of 1 KB";
pub(crate) const START: &str = "HTTP server as the function: start";
pub(crate) const READY_US: &str = "ready µs";
pub(crate) const ADDED_US: &str = "added µs";
pub(crate) const RATE: &str = "requests a second";
pub(crate) const CPU_US: &str = "CPU µs";
pub(crate) const PEAK_KB: &str = "peak kB";
pub(crate) const BYTES: &str = "bytes";

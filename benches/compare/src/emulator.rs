//! The emulator by itself: what an invocation takes that comes in by its Invoke API.

use std::path::Path;
use std::thread;
use std::time::Instant;

use bantam_emulator::{Config, Emulator};
use testkit::http::Client;

use crate::Outcome;
use crate::events;
use crate::table::{Column, Figure, Table};

/// Callers at once, each with an environment of its own.
const CALLERS: [usize; 2] = [1, 4];

/// Invokes `function` by way of the emulator, with the freeze between invocations and without.
pub(crate) fn table(function: &Path, direct_us: f64, rounds: usize) -> Outcome<Table> {
    let note = format!(
        "{rounds} samples of {INVOCATIONS} warm invocations, an event of 242 B that comes back, \
         from callers in the emulator's process over connections that are kept. added µs: what one \
         caller waits for beyond the function's own round trip, which is {direct_us:.1} µs."
    );
    let columns = vec![Column::spread(RATE), Column::plain(ADDED_US)];
    let mut table = Table::new(TITLE, &note, columns);
    for freeze in [true, false] {
        for callers in CALLERS {
            let rates = rates(function, freeze, callers, rounds)?;
            let rate = Figure::of(rates);
            let added = (callers == 1).then(|| Figure::exact(1e6 / rate.median - direct_us));
            table.row(&row(freeze, callers), vec![Some(rate), added]);
        }
    }
    Ok(table)
}

pub(crate) fn row(freeze: bool, callers: usize) -> String {
    let how = if freeze { "" } else { ", no freeze" };
    let noun = if callers == 1 { "caller" } else { "callers" };
    format!("{callers} {noun}{how}")
}

fn rates(function: &Path, freeze: bool, callers: usize, rounds: usize) -> Outcome<Vec<f64>> {
    let emulator = Emulator::start(Config {
        freeze,
        concurrency_max: callers,
        // The record of the last invocations is enough.
        record_bytes_max: 1 << 20,
        ..Config::new(function)
    })?;
    let target = format!("/2015-03-31/functions/{NAME}/invocations");
    let event = events::raw(242);
    let mut clients: Vec<Client> = (0..callers)
        .map(|_| Client::connect(emulator.invoke_addr()))
        .collect();
    let mut rates = Vec::new();
    // The first sample starts the environments.
    for round in 0..=rounds {
        let from = Instant::now();
        thread::scope(|scope| {
            for client in &mut clients {
                scope.spawn(|| {
                    for _ in 0..INVOCATIONS / callers {
                        let response = client.post(&target, &[], &event);
                        assert_eq!((response.status, &response.body), (200, &event));
                    }
                });
            }
        });
        let rate = INVOCATIONS as f64 / from.elapsed().as_secs_f64();
        if round != 0 {
            rates.push(rate);
        }
    }
    let _report = emulator.stop();
    Ok(rates)
}

/// Invocations of a sample, by all callers together.
const INVOCATIONS: usize = 4_000;

/// The emulator's name for a function that is given none.
const NAME: &str = "function";

const TITLE: &str = "Emulator, warm invocations";
pub(crate) const RATE: &str = "invocations a second";
const ADDED_US: &str = "added µs";

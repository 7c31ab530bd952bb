//! Streamed responses: how soon the first byte is there, and how fast the rest of a long one comes.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::Outcome;
use crate::api::{Call, Framed};
use crate::process::Subject;
use crate::start::{Goal, Started, start};
use crate::table::{Column, Figure, Table};

/// Streams from all subjects in turn.
pub(crate) fn table(subjects: &[Subject], rounds: usize) -> Outcome<Table> {
    let note = format!(
        "first byte µs: from the first write of the handler until its bytes are read, the mean of \
         {FIRSTS} responses, {rounds} times. MB/s: one response of 200 MB, written in pieces of \
         64 KiB, {rounds} times. Peak memory behind all of them. lambda_runtime sets no \
         TCP_NODELAY, so each small piece waits until the one before it is acknowledged."
    );
    let columns = vec![
        Column::spread(FIRST_US),
        Column::spread(RATE),
        Column::plain("peak kB"),
    ];
    let mut table = Table::new("Streamed responses", &note, columns);
    let mut servers = Vec::new();
    for subject in subjects {
        let mut server = start(subject, Goal::Next, None)?;
        first_us(&mut server)?;
        servers.push((subject, server, vec![], vec![]));
    }
    for _ in 0..rounds {
        for (_, server, firsts, rates) in &mut servers {
            firsts.push(first_us(server)?);
            rates.push(rate(server)?);
        }
    }
    for (subject, server, firsts, rates) in servers {
        let peak_kb = server.process.settled()?.peak_kb;
        table.row(
            &subject.name,
            vec![
                Some(Figure::of(firsts)),
                Some(Figure::of(rates)),
                Some(Figure::exact(peak_kb)),
            ],
        );
    }
    Ok(table)
}

fn first_us(server: &mut Started) -> Outcome<f64> {
    let mut sum = Duration::ZERO;
    for _ in 0..FIRSTS {
        let mut begin = Vec::new();
        let mut latency = None;
        stream(server, 0, |piece| {
            if latency.is_none() {
                let now = now();
                begin.extend_from_slice(piece);
                latency = written_at(&begin).map(|written| now.saturating_sub(written));
            }
        })?;
        sum += latency.ok_or("a response without its mark")?;
    }
    Ok(sum.as_secs_f64() * 1e6 / f64::from(FIRSTS))
}

/// MB a second.
fn rate(server: &mut Started) -> Outcome<f64> {
    let mut received = 0;
    let from = Instant::now();
    stream(server, BYTES, |piece| received += piece.len())?;
    let took = from.elapsed();
    if received < BYTES {
        return Err(format!("a response of {received} bytes").into());
    }
    Ok(f64::from(u32::try_from(BYTES)?) / 1e6 / took.as_secs_f64())
}

/// One invocation, whose response has so many bytes behind its mark.
fn stream(server: &mut Started, bytes: usize, take: impl FnMut(&[u8])) -> Outcome<()> {
    let event = bytes.to_string().into_bytes();
    let next = server.request.ok_or("not a runtime")?;
    Framed::new(&event).send(&mut server.api, &next, &event)?;
    server.api.stream(take)?;
    server.request = Some(server.api.expect(Call::Next)?);
    Ok(())
}

/// The time in the mark, if it is there.
fn written_at(begin: &[u8]) -> Option<Duration> {
    let text = String::from_utf8_lossy(begin);
    let (_, rest) = text.split_once("t=")?;
    let (ns, _) = rest.split_once(';')?;
    Some(Duration::from_nanos(ns.parse().ok()?))
}

/// By the clock that two processes share.
fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

const FIRSTS: u32 = 200;
const BYTES: usize = 200_000_000;

const FIRST_US: &str = "first byte µs";
const RATE: &str = "MB/s";

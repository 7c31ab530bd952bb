//! Growth: whether what comes later, or in larger pieces, costs more.

use bantam_emulator::measure::grouped;

use crate::Outcome;
use crate::api::Framed;
use crate::events;
use crate::ingest::Receiver;
use crate::process::Subject;
use crate::table::{Column, Figure, Table};
use crate::warm::{Kind, SIZES, Server};

/// CPU of a record as batches grow by ten, and of a byte as records do.
pub(crate) fn batches(subject: &Subject) -> Outcome<Table> {
    let mut table = Table::new(
        "Growth of batches and records",
        "CPU of the extension, 3 MB or more for each row.",
        vec![
            Column::plain("records"),
            Column::plain("bytes/record"),
            Column::plain("CPU µs/record"),
            Column::plain(NS_PER_BYTE),
        ],
    );
    for (records, padding) in [
        (3, 0),
        (30, 0),
        (300, 0),
        (2_000, 0),
        (30, 3_000),
        (30, 30_000),
    ] {
        let mut receiver = Receiver::start(subject)?;
        let bytes = events::telemetry(records, 0, padding).len();
        let times = 3_000_000 / bytes + 1;
        let requests: Vec<Vec<u8>> = (0..times)
            .map(|index| events::telemetry(records, index * records / 3, padding))
            .map(|batch| events::delivery(&batch))
            .collect();
        receiver.deliver(&requests)?;
        let cpu = Figure::of(
            (0..5)
                .map(|_| Ok(receiver.deliver(&requests)?.cpu_us))
                .collect::<Outcome<Vec<f64>>>()?,
        );
        let [times, records, bytes] = [times, records, bytes]
            .map(|number| u32::try_from(number).map(f64::from))
            .map(Result::unwrap_or_default);
        table.row(
            &format!("{records} records of {:.0} B", bytes / records),
            vec![
                Some(Figure::exact(records)),
                Some(Figure::exact(bytes / records)),
                Some(Figure::exact(cpu.median / times / records)),
                Some(Figure::exact(cpu.median * 1e3 / times / bytes)),
            ],
        );
    }
    Ok(table)
}

/// CPU and memory of a function at each power of ten of invocations.
pub(crate) fn invocations(subject: &Subject, kind: Kind, total: usize) -> Outcome<Table> {
    let mut table = Table::new(
        &format!(
            "Growth over {} invocations: {}",
            grouped(total),
            subject.name
        ),
        "Each row is what came since the row before it.",
        vec![
            Column::plain(CPU_EACH),
            Column::plain("round trip µs"),
            Column::plain(MEMORY),
        ],
    );
    let event = SIZES[1].event(kind);
    let framed = Framed::new(&event);
    let mut server = Server::start(subject)?;
    let (mut done, mut until) = (0, 1_000);
    while done < total {
        let cost = server.sample(&framed, &event, until - done)?;
        done = until;
        let (now_kb, _) = server.memory_kb()?;
        table.row(
            &format!("to {}", grouped(done)),
            vec![
                Some(Figure::exact(cost.cpu_us)),
                Some(Figure::exact(cost.wall_us)),
                Some(Figure::exact(now_kb)),
            ],
        );
        until = (done * 10).min(total);
    }
    Ok(table)
}

/// The same for the extension: an INVOKE event and the three records of each invocation.
pub(crate) fn extension(subject: &Subject, total: usize) -> Outcome<Table> {
    let mut table = Table::new(
        &format!(
            "Growth over {} invocations: {}",
            grouped(total),
            subject.name
        ),
        "An INVOKE event for each invocation, and its three records in a batch of their own. Each \
         row is what came since the row before it.",
        vec![Column::plain(CPU_EACH), Column::plain(MEMORY)],
    );
    let mut receiver = Receiver::start(subject)?;
    let (mut done, mut until) = (0, 1_000);
    while done < total {
        let before = receiver.usage()?;
        for number in done..until {
            receiver.invoke(number)?;
            receiver.deliver_one(&events::delivery(&events::telemetry(3, number, 0)))?;
        }
        let after = receiver.usage()?;
        let times = f64::from(u32::try_from(until - done)?);
        done = until;
        table.row(
            &format!("to {}", grouped(done)),
            vec![
                Some(Figure::exact((after.cpu_us - before.cpu_us) / times)),
                Some(Figure::exact(after.now_kb)),
            ],
        );
        until = (done * 10).min(total);
    }
    Ok(table)
}

pub(crate) const CPU_EACH: &str = "CPU µs/invocation";
pub(crate) const MEMORY: &str = "resident kB";
const NS_PER_BYTE: &str = "CPU ns/byte";

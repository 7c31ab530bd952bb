//! Managed Instances: many invocations at once.

use std::collections::VecDeque;
use std::time::Instant;

use crate::Outcome;
use crate::api::{Api, Call, Framed, Request};
use crate::events;
use crate::process::Subject;
use crate::table::{Column, Figure, Table};

/// How many invocations an environment runs at once.
pub(crate) const CONCURRENCY: [u32; 3] = [1, 8, 64];

/// Starts each program with this concurrency, and keeps all of its workers busy.
pub(crate) fn table(concurrency: u32, subjects: &[Subject], rounds: usize) -> Outcome<Table> {
    let title = format!("Managed Instances, {concurrency} at once");
    let note = format!(
        "{rounds} samples of {INVOCATIONS} invocations each, an event of 242 B, with a `next` of \
         every worker open at the start. Memory is proportional (PSS), all processes together, \
         after them."
    );
    let columns = vec![Column::spread(RATE), Column::plain(MEMORY)];
    let mut table = Table::new(&title, &note, columns);
    let event = events::typed(242);
    let framed = Framed::new(&event);
    let mut running = Vec::new();
    for subject in subjects {
        let mut subject = subject.clone();
        let variable = ("AWS_LAMBDA_MAX_CONCURRENCY", concurrency.to_string());
        subject.env.push(variable);
        let mut api = Api::bind()?;
        let process = subject.start(&api.address()?)?;
        let mut polls = VecDeque::new();
        while polls.len() < usize::try_from(concurrency)? {
            polls.push_back(api.expect(Call::Next)?);
        }
        running.push((subject, api, process, polls, Vec::new()));
    }
    for _ in 0..rounds {
        for (_, api, _, polls, rates) in &mut running {
            rates.push(sample(api, polls, &framed, &event)?);
        }
    }
    for (subject, _, process, _, rates) in running {
        let memory = process.memory_of_all()?;
        let figures = vec![Some(Figure::of(rates)), Some(Figure::exact(memory))];
        table.row(&subject.name, figures);
    }
    Ok(table)
}

/// The memory of each further worker: the difference between two concurrencies, by the workers
/// between.
pub(crate) fn memory_of_each(subjects: &[Subject], tables: &[Table]) -> Table {
    let note = "kB between the memory at one concurrency and at the next one, for each worker that \
                came, or for each task of lambda_runtime. awslambdaric takes workers as processes.";
    let columns = vec![Column::plain("from 1 to 8"), Column::plain("from 8 to 64")];
    let mut table = Table::new(
        "Managed Instances, memory of each further worker",
        note,
        columns,
    );
    for subject in subjects {
        let steps = CONCURRENCY.windows(2).zip(tables.windows(2));
        let cells = steps.map(|(concurrency, tables)| {
            let ([few, many], [before, after]) = (concurrency, tables) else {
                return None;
            };
            let memory = |table: &Table| table.get(&subject.name, MEMORY);
            let more_kb = memory(after)? - memory(before)?;
            Some(Figure::exact(more_kb / f64::from(many - few)))
        });
        table.row(&subject.name, cells.collect());
    }
    table
}

/// Sends the invocations, each to the oldest `next`; how many a second were served.
fn sample(
    api: &mut Api,
    polls: &mut VecDeque<Request>,
    framed: &Framed,
    event: &[u8],
) -> Outcome<f64> {
    let workers = polls.len();
    let (mut sent, mut answered) = (0, 0);
    let start = Instant::now();
    while answered < INVOCATIONS || polls.len() < workers {
        if sent < INVOCATIONS
            && let Some(next) = polls.pop_front()
        {
            framed.send(api, &next, event)?;
            sent += 1;
            continue;
        }
        let request = api.request()?;
        match request.call {
            Call::Next => polls.push_back(request),
            Call::Response => {
                api.accept(&request)?;
                answered += 1;
            }
            call @ (Call::Error | Call::Register | Call::Subscribe | Call::Event | Call::Other) => {
                return Err(format!("{call:?} while events are served").into());
            }
        }
    }
    Ok(f64::from(INVOCATIONS) / start.elapsed().as_secs_f64())
}

const INVOCATIONS: u32 = 5_000;

const MEMORY: &str = "memory kB";
pub(crate) const EACH: &str = "Managed Instances, memory of each further worker";
pub(crate) const TO_MOST: &str = "from 8 to 64";
pub(crate) const RATE: &str = "invocations a second";

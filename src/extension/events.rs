//! The loop: events from the platform, for ever, until SHUTDOWN.

use std::future as std_future;
use std::io;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use async_executor::Task;
use async_io::{Async, Timer};
use futures_lite::future;
use signal_hook::consts::SIGTERM;

use crate::extension::api::{self, Event, Request};
use crate::extension::figures::Figures;
use crate::extension::io::{self as driver, Connection};
use crate::extension::manager::Manager;
use crate::extension::predecessor::Notes;
use crate::extension::{log, panic};
use crate::shared::http::{Exchange, Expect, Limits, Reader};
use crate::shared::limits::ANSWER_BYTES_MAX;
use crate::shared::time::{Deadline, EpochMs};

/// The connection on which events are awaited.
#[derive(Debug)]
pub(super) struct Events {
    /// The address of the API.
    api: std::net::SocketAddr,
    /// The request for the next event.
    next: Request,
    /// A connection that was kept.
    idle: Option<Connection>,
    /// The connection on which the request is, unanswered.
    asked: Option<Connection>,
    answer: Reader,
    manager: Manager,
}

/// The end, as the platform or a signal announced it.
#[derive(Debug)]
pub(super) struct Shutdown {
    pub(super) reason: String,
    /// When the process is killed, if that is known.
    pub(super) deadline: Option<Deadline>,
}

impl Shutdown {
    fn without_deadline(reason: &str) -> Self {
        Self {
            reason: reason.to_owned(),
            deadline: None,
        }
    }
}

/// Takes events until SHUTDOWN, or until SIGTERM, which is answered like it. Then exports what is
/// left. `listening` is the task that takes telemetry, and `buffering` how long the platform may
/// hold it back.
pub(super) async fn run(
    mut events: Events,
    figures: &Figures,
    listening: Option<Task<()>>,
    notes: Notes,
    buffering: Duration,
) {
    let over = future::or(until_shutdown(&mut events, figures), terminated());
    let shutdown = over.await;
    panic::ends();
    let reason = shutdown.reason.clone();
    notes.leave(figures.note_for_successor(&reason));
    end(shutdown, figures, listening, buffering).await;
    // The last report may have told more.
    notes.leave(figures.note_for_successor(&reason));
}

/// Takes the last telemetry and exports what is left, before the process is killed.
pub(super) async fn end(
    Shutdown { reason, deadline }: Shutdown,
    figures: &Figures,
    listening: Option<Task<()>>,
    buffering: Duration,
) {
    let clock = figures.clock();
    let left = time_left(deadline, clock.now());
    let end = clock.monotonic() + left;
    let wait = (buffering + DELIVERY).min(left / 2);
    clock.within(wait, figures.last_report()).await;
    let counting = COUNTING.min(left / 2);
    clock.within(counting, figures.deliveries_counted()).await;
    // Whoever still delivers must not hold up the end.
    drop(listening);
    figures.shutdown(&reason);
    let left = end.saturating_duration_since(clock.monotonic());
    figures.finish(left).await;
}

async fn until_shutdown(events: &mut Events, figures: &Figures) -> Shutdown {
    loop {
        match events.next().await {
            Some(Event::Invoke {
                request_id,
                deadline,
                function_arn,
            }) => {
                // First the answer that the platform waits for, then the figures. If it fails, it
                // is tried again with the next turn.
                events.asked = events.ask().await.ok();
                figures.invoke(&request_id, deadline, function_arn.as_deref());
            }
            Some(Event::Shutdown { reason, deadline }) => return Shutdown { reason, deadline },
            None => return Shutdown::without_deadline("abandoned"),
        }
    }
}

/// Waits for SIGTERM. Lambda sends it to no external extension; local tools do.
async fn terminated() -> Shutdown {
    match terminations() {
        Ok(signals) => drop(signals.readable().await),
        Err(error) => {
            log::warn(&format!("SIGTERM ends the process at once: {error}"));
            std_future::pending::<()>().await;
        }
    }
    Shutdown::without_deadline("sigterm")
}

/// A socket that can be read from once SIGTERM came, in place of what the signal does by default.
/// The handler may run on either thread.
fn terminations() -> io::Result<Async<UnixStream>> {
    let (signals, handler) = UnixStream::pair()?;
    signal_hook::low_level::pipe::register(SIGTERM, handler)?;
    Async::new(signals)
}

/// The time for the end, most of what is left until the process is killed.
///
/// A deadline in the far past is a constant of a local tool, and says nothing.
fn time_left(deadline: Option<Deadline>, now: EpochMs) -> Duration {
    let is_known = |Deadline(EpochMs(at)): &Deadline| now.0 <= at.saturating_add(60_000);
    let Some(deadline) = deadline.filter(is_known) else {
        return SHUTDOWN_BUDGET;
    };
    let left = deadline.remaining(now);
    left.saturating_sub(SHUTDOWN_MARGIN.min(left / 2))
        .min(SHUTDOWN_MAX)
}

impl Events {
    /// Goes on with a connection on which `event/next` was asked for, if there is one.
    pub(super) fn new(
        api: std::net::SocketAddr,
        next: Request,
        stream: Option<TcpStream>,
        manager: Manager,
    ) -> Self {
        Self {
            api,
            next,
            idle: None,
            asked: stream.and_then(|stream| Async::new(stream).ok().map(driver::plain)),
            answer: Reader::new(Expect::Response, Limits::of_body(ANSWER_BYTES_MAX)),
            manager,
        }
    }

    /// Waits for the next event, however long it takes and whatever goes wrong; `None` if whoever
    /// started this process is gone.
    async fn next(&mut self) -> Option<Event> {
        loop {
            let error = match self.attempt().await {
                Ok(event) => {
                    self.manager.handle_success();
                    return Some(event);
                }
                Err(error) => error,
            };
            let is_refused = error.kind() == io::ErrorKind::ConnectionRefused;
            let pause = self
                .manager
                .handle_failure("event/next", is_refused, &error)?;
            Timer::after(pause).await;
        }
    }

    async fn attempt(&mut self) -> io::Result<Event> {
        let mut stream = match self.asked.take() {
            Some(stream) => stream,
            None => self.ask().await?,
        };
        let mut exchange = Exchange::awaiting(&mut self.answer);
        let received = driver::receive(&mut stream, &mut exchange).await;
        if exchange.close_reason().is_none() {
            self.idle = Some(stream);
        }
        received?;
        api::event(&self.answer).map_err(io::Error::other)
    }

    /// Puts `event/next` on the wire, and gives the connection that it is on.
    async fn ask(&mut self) -> io::Result<Connection> {
        let mut stream = match self.idle.take() {
            Some(stream) => stream,
            None => {
                let stream = Async::<TcpStream>::connect(self.api).await;
                driver::plain(stream.map_err(|error| {
                    io::Error::new(error.kind(), format!("cannot connect: {error}"))
                })?)
            }
        };
        let mut exchange = Exchange::new(self.next.outgoing(), &mut self.answer);
        driver::send(&mut stream, &mut exchange).await?;
        Ok(stream)
    }
}

/// The time that SHUTDOWN waits for the last report, beyond the time that the platform may hold it
/// back. The platform sends it only after every extension has asked for the next event, and it
/// usually takes 5 ms.
const DELIVERY: Duration = Duration::from_millis(15);

/// The time that SHUTDOWN waits until the deliveries that were answered are counted. It is enough
/// for some batches of the largest size.
const COUNTING: Duration = Duration::from_millis(100);

/// A deadline further away than this does not come from the platform, which gives two seconds.
/// <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html#runtimes-lifecycle-shutdown>
const SHUTDOWN_MAX: Duration = Duration::from_secs(10);

/// The part of the time until the process is killed that is left unused; half of it when it is
/// short.
const SHUTDOWN_MARGIN: Duration = Duration::from_millis(100);

/// The time for SHUTDOWN when no deadline is known: less than the shortest one, which is 500 ms.
const SHUTDOWN_BUDGET: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_keeps_a_margin_of_every_deadline() {
        let now = EpochMs(1_781_009_600_000);
        let until = |ms: i64| Some(Deadline(EpochMs(now.0.saturating_add_signed(ms))));
        let table = [
            (None, 300),
            // Constants of local tools.
            (Some(Deadline(EpochMs(1))), 300),
            (Some(Deadline(EpochMs(600_000))), 300),
            (until(-60_001), 300),
            // Nearly over, or just over.
            (until(-60_000), 0),
            (until(-1), 0),
            (until(0), 0),
            (until(1), 1),
            (until(50), 25),
            (until(100), 50),
            (until(200), 100),
            (until(300), 200),
            (until(2_000), 1_900),
            (until(60_000), 10_000),
            (until(i64::MAX), 10_000),
        ];
        for (deadline, expected) in table {
            let found = time_left(deadline, now);
            let found_ms = found.as_micros().div_ceil(1_000);
            assert_eq!(found_ms, expected, "{deadline:?}");
        }
    }
}

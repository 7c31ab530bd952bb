//! The loop: events from the platform, for ever, until SHUTDOWN.

use std::future;
use std::io;
use std::net::TcpStream;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use async_io::{Async, Timer};
use futures_lite::{AsyncWriteExt as _, future as either};
use signal_hook::consts::SIGTERM;

use super::api::{self, Event};
use super::{clock, listener, panic, predecessor};
use crate::extension::io::{self as driver, Executor};
use crate::extension::reporter::State;
use crate::extension::startup::Ready;
use crate::shared::endpoint::Endpoint;
use crate::shared::time::{Deadline, EpochMs};

/// The connection on which events are awaited.
struct Events<'a> {
    ready: &'a mut Ready<'a>,
    stream: Option<Async<TcpStream>>,
    /// Calls that failed since the last event.
    failures: u32,
}

/// Runs until the platform, or a signal, says that it is over.
pub(super) fn run<'a>(ready: &'a mut Ready<'a>, state: &'static State, executor: Executor) {
    if let Some((socket, _)) = ready.listener.take() {
        driver::spawn(executor, listener::listen(state, executor, socket.into())).detach();
    }
    if !ready.with_invoke {
        driver::spawn(executor, flush_by_timer(state, ready.settings.interval_ms)).detach();
    }
    driver::spawn(executor, state.send()).detach();
    let stream = ready.stream.take();
    let stream = stream.and_then(|stream| Async::new(TcpStream::from(stream)).ok());
    ready.asked &= stream.is_some();
    let events = Events {
        ready,
        stream,
        failures: 0,
    };
    driver::run(executor, main(events, state));
}

async fn main(mut events: Events<'_>, state: &'static State) {
    let endpoint = events.ready.endpoint;
    let (reason, deadline) = either::or(until_shutdown(&mut events, state), terminated()).await;
    shut_down(state, endpoint, &reason, deadline).await;
}

/// Takes events until SHUTDOWN; its reason and deadline.
async fn until_shutdown(events: &mut Events<'_>, state: &State) -> (String, Deadline) {
    loop {
        match events.next().await {
            Event::Invoke {
                request_id,
                deadline,
                invoked_function_arn,
            } => {
                // First the answer that the platform waits for, then the figures.
                events.ask().await.ok();
                state.invoke(&request_id, deadline, invoked_function_arn);
                state.export(false);
            }
            Event::Shutdown { reason, deadline } => return (reason, deadline),
        }
    }
}

/// Waits for the last report, exports what is left, and ends.
async fn shut_down(state: &State, endpoint: &Endpoint, reason: &str, deadline: Deadline) {
    panic::ends();
    predecessor::leave(endpoint.address.port(), state.ends_as(reason));
    let left = deadline
        .remaining(clock::now())
        .saturating_sub(SHUTDOWN_MARGIN)
        .min(SHUTDOWN_MAX);
    // A deadline that has passed says nothing: local tools send 0.
    let left = if left.is_zero() {
        SHUTDOWN_BUDGET
    } else {
        left
    };
    let end = clock::monotonic() + left;
    driver::within(REPORT_WAIT.min(left), state.last_report()).await;
    state.shutdown(reason);
    state.export_all(end).await;
}

/// Waits for SIGTERM, which is answered like SHUTDOWN. It comes with no reason and no deadline.
/// Lambda sends it to no external extension; local tools do.
async fn terminated() -> (String, Deadline) {
    if let Ok(signals) = terminations() {
        signals.readable().await.ok();
    } else {
        future::pending::<()>().await;
    }
    ("sigterm".to_owned(), Deadline(EpochMs(0)))
}

/// A socket that can be read from once SIGTERM came, in place of what the signal does by default.
fn terminations() -> io::Result<Async<UnixStream>> {
    let (signals, handler) = UnixStream::pair()?;
    signal_hook::low_level::pipe::register(SIGTERM, handler)?;
    Async::new(signals)
}

/// On Managed Instances there are no INVOKE events to export on.
#[expect(clippy::infinite_loop, reason = "it ends with the process")]
async fn flush_by_timer(state: &'static State, interval_ms: u64) {
    let interval = Duration::from_millis(interval_ms).max(TIMER_MIN);
    loop {
        Timer::after(interval).await;
        state.export(true);
    }
}

impl Events<'_> {
    /// Waits for the next event, however long it takes and whatever goes wrong.
    async fn next(&mut self) -> Event {
        loop {
            let asked = self.ask().await.is_ok();
            let answered = match &self.stream {
                Some(stream) if asked => {
                    stream.readable().await.ok();
                    // From here on bytes of the answer may be nowhere but in this program.
                    panic::answered();
                    driver::read(stream, &mut self.ready.answer).await.is_ok()
                }
                Some(_) | None => false,
            };
            self.set_asked(false);
            let event = answered.then(|| api::event(&self.ready.answer)).flatten();
            if self.ready.answer.close_reason().is_some() {
                self.set_stream(None);
            }
            if let Some(event) = event {
                self.failures = 0;
                return event;
            }
            self.failures = self.failures.saturating_add(1);
            Timer::after(api::back_off(self.failures)).await;
        }
    }

    /// Puts `event/next` on the wire unless it is there already.
    async fn ask(&mut self) -> io::Result<()> {
        if self.ready.asked {
            return Ok(());
        }
        self.ready.answer.reset();
        if self.stream.is_none() {
            let stream = Async::<TcpStream>::connect(self.ready.endpoint.address).await?;
            self.set_stream(Some(stream));
        }
        let Some(mut stream) = self.stream.as_ref() else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let written = stream.write_all(&self.ready.next.head).await;
        match written {
            Ok(()) => self.set_asked(true),
            Err(_) => self.set_stream(None),
        }
        written
    }

    fn set_asked(&mut self, asked: bool) {
        self.ready.asked = asked;
        panic::asked(asked);
    }

    fn set_stream(&mut self, stream: Option<Async<TcpStream>>) {
        panic::waits_on(stream.as_ref().map(|stream| stream.as_fd()));
        self.stream = stream;
    }
}

/// How long SHUTDOWN waits for the report of the last invocation, which the platform sends only
/// after every extension has asked for the next event. It usually takes 5 ms.
const REPORT_WAIT: Duration = Duration::from_millis(40);

/// A deadline further away is none that the platform gives, which is two seconds.
/// <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html#runtimes-lifecycle-shutdown>
const SHUTDOWN_MAX: Duration = Duration::from_secs(10);

/// What is left unused of the time until the process is killed.
const SHUTDOWN_MARGIN: Duration = Duration::from_millis(100);

/// The time for SHUTDOWN when no deadline is known: less than the 500 ms that the shortest one is.
const SHUTDOWN_BUDGET: Duration = Duration::from_millis(300);

const TIMER_MIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::super::account::Accounting;
    use super::*;
    use crate::extension::metric::Resource;
    use crate::extension::settings::Exporters;

    #[test]
    fn no_deadline_is_too_far_away_or_too_near() {
        let endpoint = Endpoint::parse("127.0.0.1:1", &|_| None).unwrap();
        let now = clock::now().0;
        for deadline in [0, 1, now - 1, now, now + 1, now + 2_000, u64::MAX] {
            let accounting =
                Accounting::new(crate::extension::settings::InitType::OnDemand, clock::now());
            let state = State::new(accounting, Resource::default(), Exporters::default(), 0);
            let deadline = Deadline(EpochMs(deadline));
            driver::run_test(async |_| shut_down(state, &endpoint, "spindown", deadline).await);
            let ended = state.figures().iter().any(|(name, _)| *name == "shutdowns");
            // It was exported, so it is not there any more.
            assert!(!ended);
        }
    }
}

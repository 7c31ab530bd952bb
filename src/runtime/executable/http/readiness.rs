//! Waits until the server is ready: it listens, or answers a check.

use std::time::{Duration, Instant};

use super::super::child::{Waited, now};
use super::connection::Connection;
use super::error::{Cause, ServerError, tried};
use super::process::Process;
use super::settings::Readiness;
use crate::runtime::log;
use crate::shared::http::{Exchange, HeadWriter, Outgoing, Reader};
use crate::shared::log_record::Level;

/// The checks of one server.
struct Checks<'a> {
    readiness: &'a Readiness,
    start: Instant,
    end: Option<Instant>,
    /// When to warn that it takes long.
    warn_at: Instant,
}

/// Checks the server until it is ready, or until `end`. It warns meanwhile: the platform ends the
/// init phase without a word about the reason.
pub(super) fn wait(
    readiness: &Readiness,
    server: &mut Process,
    response: &mut Reader,
    end: Option<Instant>,
) -> Result<(), ServerError> {
    let start = now();
    let mut checks = Checks {
        readiness,
        start,
        end,
        warn_at: start + WARNING_PERIOD,
    };
    let mut head = Vec::new();
    let path = readiness.path.as_deref().unwrap_or_default();
    HeadWriter::request(&mut head, "GET", &[path], &readiness.server.authority).end();
    let mut earlier = None;
    let cause = loop {
        let began = now();
        let cause = match (checks.check(server, &head, response), earlier) {
            (Ok(()), _) => return Ok(()),
            // The end cut this check off. What the one before it found says more.
            (Err(Cause::TimedOut), Some(earlier)) if now() < began + CHECK_MIN => earlier,
            (Err(cause), _) => cause,
        };
        earlier = Some(cause);
        if cause.is_last() {
            break cause;
        }
        checks.warn(cause);
        // In proportion to the start so far, which it then makes longer by an eighth at most.
        let pause = (now().saturating_duration_since(start) / 8).clamp(PAUSE_MIN, PAUSE_MAX);
        match server.wait(None, Some(now() + pause)) {
            Ok(Waited::Exited(status)) => break Cause::Exited(status),
            Err(error) => break Cause::Process(error),
            Ok(_) if checks.is_over() => break cause,
            Ok(_) => {}
        }
    };
    Err(ServerError {
        tried: checks.tried(),
        after: now().saturating_duration_since(start),
        cause,
        was_ready: false,
        log: server.log_tail(),
        goes_on: false,
    })
}

impl Checks<'_> {
    fn check(
        &mut self,
        server: &mut Process,
        head: &[u8],
        response: &mut Reader,
    ) -> Result<(), Cause> {
        let mut connection = Connection::open(server, self.readiness.server.address, self.end)?;
        if self.readiness.path.is_none() {
            return Ok(());
        }
        let mut exchange = Exchange::new(Outgoing::new(head, b""), response);
        // The body may be large, or never end. The connection is closed in the middle of it then.
        let is_enough = |response: &Reader| !response.head().is_empty();
        loop {
            let soon = self.end.map_or(self.warn_at, |end| end.min(self.warn_at));
            match connection.carry(server, &mut exchange, &is_enough, Some(soon)) {
                // The first response of a large application may take seconds.
                Err(cause @ Cause::TimedOut) if !self.is_over() => self.warn(cause),
                outcome => break outcome?,
            }
        }
        let status = exchange.status().unwrap_or_default();
        let is_healthy = self.readiness.healthy.hold(status);
        is_healthy.then_some(()).ok_or(Cause::Unhealthy(status))
    }

    fn is_over(&self) -> bool {
        self.end.is_some_and(|end| end <= now())
    }

    fn tried(&self) -> String {
        let server = &self.readiness.server;
        match &self.readiness.path {
            Some(path) => tried("GET", &server.authority, path),
            None => ["connecting to ", &server.authority].concat(),
        }
    }

    fn warn(&mut self, cause: Cause) {
        if self.warn_at <= now() {
            self.warn_at += WARNING_PERIOD;
            let tried = self.tried();
            let ms = now().saturating_duration_since(self.start).as_millis();
            let message = format!("the server is not ready: {tried} failed after {ms} ms: {cause}");
            log::line(Level::Warn, &message);
        }
    }
}

/// A check that ran out of time sooner says nothing about the server.
const CHECK_MIN: Duration = Duration::from_millis(100);

/// Between two checks. The start of a server is part of a cold start, and a small one is ready
/// within a millisecond.
const PAUSE_MIN: Duration = Duration::from_micros(250);
const PAUSE_MAX: Duration = Duration::from_millis(10);

/// How often to warn. It is below the shortest timeout that functions have by default, 3 s.
const WARNING_PERIOD: Duration = Duration::from_secs(2);

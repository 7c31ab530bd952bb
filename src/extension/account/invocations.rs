//! Invocations that have no report yet, and how they end.

use super::bounds::float;
use super::outcome::{Outcome, Reason, Status, UNKNOWN};
use super::series::Series;
use crate::extension::metric::catalogue as m;
use crate::shared::time::{Deadline, EpochMs};

/// The id of a request as a hash, so that many can be remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request(u64);

impl Request {
    /// FNV-1a, <http://www.isthe.com/chongo/tech/comp/fnv/>.
    pub(super) fn of(id: &str) -> Self {
        let step = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Self(id.bytes().fold(0xcbf2_9ce4_8422_2325, step))
    }
}

/// The invocations of an environment that have no report yet, and the last ones that had theirs.
#[derive(Debug, Default)]
pub(super) struct Invocations {
    /// The oldest first.
    in_flight: Vec<InFlight>,
    /// The invocation of the last INVOKE event, for the gap until the next.
    last: Option<Last>,
    /// A gap of which only the end is known: the request before it, and the time.
    open_gap: Option<(Request, EpochMs)>,
    /// The durations of all invocations that are over, together.
    busy_ms: f64,
    /// The latest end of an invocation.
    last_end: Option<EpochMs>,
    /// A ring of the requests that had their report last, each with the time of that.
    over: Vec<(Request, Option<EpochMs>)>,
    /// The place in the ring that is written next.
    next_over: usize,
    /// Requests of the process that was here before, of which a record came, the oldest first.
    foreign: Vec<Request>,
}

#[derive(Debug)]
pub(super) struct InFlight {
    request: Request,
    /// Records until then are of an attempt before it, which has the same id.
    after: Option<EpochMs>,
    deadline: Option<Deadline>,
    /// The outcome that was counted.
    settled: Option<Status>,
    pub(super) is_out_of_memory: bool,
    /// Whether there was a `runtimeDone`.
    ended: bool,
    /// Of `runtimeDone`, in case there is never a report.
    duration_ms: Option<f64>,
}

/// An invocation and its end, once that is known.
#[derive(Debug)]
struct Last {
    request: Request,
    ended_at: Option<EpochMs>,
}

impl Invocations {
    /// Whether the request belongs to the process that was here before. A record decides that, by
    /// whether it is from the time before this process; the later ones of its request follow it.
    pub(super) fn is_foreign(&mut self, request: Request, is_earlier: bool) -> bool {
        let is_foreign = is_earlier && self.is_new(request);
        if is_foreign {
            if self.foreign.len() == IN_FLIGHT_MAX {
                self.foreign.remove(0);
            }
            self.foreign.push(request);
        }
        is_foreign || self.foreign.contains(&request)
    }

    /// Whether the request had its report, the last record of an invocation. With a retry in
    /// flight, which has the id of the attempt before it, the time of a record says which of the
    /// two it is of.
    pub(super) fn is_over(&self, request: Request, time: Option<EpochMs>) -> bool {
        // The few in flight are looked through first.
        let Some(at) = self.place(request) else {
            return self.over.iter().any(|(over, _)| *over == request);
        };
        let after = self.in_flight[at].after;
        time.zip(after).is_some_and(|(time, after)| time <= after)
    }

    /// Whether no event and no record named the request.
    pub(super) fn is_new(&self, request: Request) -> bool {
        let over = self.over.iter().map(|(over, _)| over);
        let mut named = over.chain(&self.foreign);
        !self.is_in_flight(request) && !named.any(|named| *named == request)
    }

    pub(super) fn is_in_flight(&self, request: Request) -> bool {
        self.place(request).is_some()
    }

    /// Where the request is among those in flight: of its attempts, the oldest.
    fn place(&self, request: Request) -> Option<usize> {
        let mut in_flight = self.in_flight.iter();
        in_flight.position(|entry| entry.request == request)
    }

    pub(super) const fn busy_ms(&self) -> f64 {
        self.busy_ms
    }

    pub(super) const fn last_end(&self) -> Option<EpochMs> {
        self.last_end
    }

    pub(super) fn awaits_report(&self) -> bool {
        !self.in_flight.is_empty()
    }

    /// An INVOKE event of a process that began at `began_at`.
    pub(super) fn handle_invoke(
        &mut self,
        request: Request,
        deadline: Option<Deadline>,
        now: EpochMs,
        began_at: EpochMs,
        series: &mut Series,
    ) {
        if let Some(last) = self.last.take() {
            match last.ended_at {
                Some(ended_at) => add_idle(ended_at, now, series),
                // The freeze held its `runtimeDone` back.
                None => self.open_gap = Some((last.request, now)),
            }
        }
        // A retry has the id of the invocation that ended the process before.
        self.foreign.retain(|foreign| *foreign != request);
        // A freeze holds the records of an attempt back until the next event. Another deadline is
        // that of a retry, of which there are records of its own.
        let announced = self.in_flight.iter().position(|entry| {
            entry.request == request && (entry.deadline.is_none() || entry.deadline == deadline)
        });
        let at = announced.unwrap_or_else(|| self.add(request, series));
        let over = self.over.iter().filter(|(over, _)| *over == request);
        // Where nothing is known of an attempt before, it may have ended the process before this
        // one. Its records are older than that by far: a clock may have been put right.
        let earlier = EpochMs(now.0.saturating_sub(RETRY_MS_MIN / 2)).min(began_at);
        let entry = &mut self.in_flight[at];
        entry.after = over.map(|(_, at)| *at).max().unwrap_or(Some(earlier));
        entry.deadline = deadline;
        self.last = Some(Last {
            request,
            ended_at: None,
        });
    }

    /// `runtimeDone`. Returns whether it is the first of the request.
    pub(super) fn handle_runtime_done(
        &mut self,
        request: Request,
        time: Option<EpochMs>,
        duration_ms: Option<f64>,
        series: &mut Series,
    ) -> bool {
        let entry = self.entry(request, series);
        if std::mem::replace(&mut entry.ended, true) {
            return false;
        }
        entry.duration_ms = duration_ms;
        self.last_end = self.last_end.max(time);
        let Some(time) = time else {
            return true;
        };
        let last = self.last.as_mut();
        // If the last one is a retry of this one, this is not yet its end.
        if let Some((_, until)) = self.open_gap.take_if(|(of, _)| *of == request) {
            add_idle(time, until, series);
        } else if let Some(last) = last.filter(|last| last.request == request) {
            last.ended_at = Some(time);
        }
        true
    }

    /// `report`: the last record of an invocation.
    pub(super) fn handle_report(
        &mut self,
        request: Request,
        time: Option<EpochMs>,
        duration_ms: Option<f64>,
        series: &mut Series,
    ) {
        let duration_ms = duration_ms.or_else(|| self.entry(request, series).duration_ms);
        self.busy_ms += duration_ms.unwrap_or(0.0);
        // On Managed Instances there is no `runtimeDone`, which has the better time.
        if !self.entry(request, series).ended {
            self.last_end = self.last_end.max(time);
        }
        series.add_known(&m::DURATION, &[], duration_ms);
        if let Some(at) = self.place(request) {
            self.in_flight.remove(at);
        }
        if let Some(retry) = self.place(request) {
            self.in_flight[retry].after = time;
        }
        self.keep_over(request, time);
    }

    /// Keeps a request in mind that is over: what still comes of it counts nothing.
    fn keep_over(&mut self, request: Request, time: Option<EpochMs>) {
        let over = (request, time);
        match self.over.get_mut(self.next_over) {
            Some(oldest) => *oldest = over,
            None => self.over.push(over),
        }
        self.next_over = (self.next_over + 1) % OVER_KEPT;
    }

    /// Stops waiting for the reports of the invocations in flight.
    pub(super) fn give_up(&mut self, series: &mut Series) {
        for entry in self.in_flight.drain(..) {
            self.busy_ms += abandon(&entry, series);
        }
    }

    /// SHUTDOWN. Its reason stands in for the telemetry of the invocation that it cuts short, which
    /// rarely arrives. One that the runtime has answered goes on until each extension has asked for
    /// the next event: it can time out or crash as well.
    /// <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html#runtimes-lifecycle-invoke>
    pub(super) fn handle_shutdown(&mut self, reason: Reason, now: EpochMs, series: &mut Series) {
        if let Some(entry) = self.in_flight.last_mut() {
            let is_over = entry.deadline.is_none_or(|deadline| deadline.0 <= now);
            let status = match reason {
                Reason::Timeout if is_over => Some(Status::Timeout),
                Reason::Crash => Some(Status::Error),
                Reason::Timeout | Reason::Spindown | Reason::Other => None,
            };
            if let Some(status) = status {
                let error_type = UNKNOWN.to_owned();
                entry.settle(&Outcome { status, error_type }, series);
            }
        }
        self.give_up(series);
    }

    /// The entry of a request, a new one if it has none.
    pub(super) fn entry(&mut self, request: Request, series: &mut Series) -> &mut InFlight {
        let place = self.place(request);
        let at = place.unwrap_or_else(|| self.add(request, series));
        &mut self.in_flight[at]
    }

    /// Adds an entry, and returns its place. If there are too many, the oldest is given up.
    fn add(&mut self, request: Request, series: &mut Series) -> usize {
        if IN_FLIGHT_MAX <= self.in_flight.len() {
            let oldest = self.in_flight.remove(0);
            self.busy_ms += abandon(&oldest, series);
            self.keep_over(oldest.request, None);
        }
        self.in_flight.push(InFlight {
            request,
            after: None,
            deadline: None,
            settled: None,
            is_out_of_memory: false,
            ended: false,
            duration_ms: None,
        });
        self.in_flight.len() - 1
    }
}

impl InFlight {
    /// Counts the outcome, once. A failure after a success is counted too: the runtime answered,
    /// and then an extension took too long or exited.
    pub(super) fn settle(&mut self, outcome: &Outcome, series: &mut Series) {
        let is_success = outcome.status == Status::Success;
        if self
            .settled
            .is_some_and(|settled| settled != Status::Success || is_success)
        {
            return;
        }
        self.settled = Some(outcome.status);
        match outcome.status {
            Status::Success => series.count(&m::INVOCATIONS, &[]),
            Status::Timeout => series.count(&m::TIMEOUTS, &[]),
            Status::Error => count_error(&outcome.error_type, series),
        }
    }

    pub(super) fn settle_out_of_memory(&mut self, series: &mut Series) {
        if !std::mem::replace(&mut self.is_out_of_memory, true) {
            series.count(&m::OUT_OF_MEMORY, &[]);
        }
    }
}

/// Counts an invocation that gets no report, as far as it is known. Returns its duration, or 0.
fn abandon(entry: &InFlight, series: &mut Series) -> f64 {
    if entry.settled.is_none() {
        series.count(&m::UNKNOWN_OUTCOMES, &[]);
    }
    series.add_known(&m::DURATION, &[], entry.duration_ms);
    entry.duration_ms.unwrap_or(0.0)
}

/// Counts an error by its type. Functions choose types freely, so their number is bounded.
fn count_error(error_type: &str, series: &mut Series) {
    let fits = series.has_room(&m::ERRORS, error_type, ERROR_TYPES_MAX);
    let shown = if fits { error_type } else { "other" };
    series.count(&m::ERRORS, &[("error_type", shown)]);
}

fn add_idle(from: EpochMs, to: EpochMs, series: &mut Series) {
    let idle_ms = to.0.saturating_sub(from.0);
    series.add(&m::IDLE_DURATION, &[], float(idle_ms));
}

/// Invocations in flight. An environment has one, on Managed Instances at most
/// [1,600](https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-properties-lambda-function-lambdamanagedinstancescapacityproviderconfig.html);
/// the rest waits for reports that may never come.
pub(super) const IN_FLIGHT_MAX: usize = 2_048;

/// Requests of which a second report is recognised. A delivery that comes again holds the reports
/// that came last, at most some hundreds.
pub(super) const OVER_KEPT: usize = 512;

/// The time from an error to the retry of its event, at the least.
/// <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html>
const RETRY_MS_MIN: u64 = 60_000;

/// Types of errors that are counted each by its name in an interval; the rest is `other`.
pub(super) const ERROR_TYPES_MAX: usize = 16;

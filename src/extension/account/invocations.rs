//! Invocations that have no report yet, and how they end.

use super::cold_start::UNKNOWN;
use super::outcome::{Outcome, Status};
use super::series::Series;
use crate::extension::metric::catalogue as m;
use crate::shared::time::{Deadline, EpochMs};

/// A request, told apart from others by a hash of its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request(u64);

impl Request {
    /// FNV-1a, <http://www.isthe.com/chongo/tech/comp/fnv/>.
    pub(super) fn of(id: &str) -> Self {
        let step = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Self(id.bytes().fold(0xcbf2_9ce4_8422_2325, step))
    }
}

/// The invocations of an environment that are not over for us.
#[derive(Debug, Default)]
pub(super) struct Invocations {
    /// The oldest first.
    in_flight: Vec<InFlight>,
    /// The last INVOKE event and what is known of its end, for the gap until the next.
    last: Option<Last>,
    /// A gap of which only the end is known: after which request, and when.
    open_gap: Option<(Request, EpochMs)>,
    /// Whether requests from before this process may be its own.
    keeps_earlier: bool,
    /// The requests that had their report last, as a ring, and where it goes on.
    over: Vec<Request>,
    next_over: usize,
}

#[derive(Debug)]
pub(super) struct InFlight {
    request: Request,
    deadline: Option<Deadline>,
    /// What was counted as its outcome.
    settled: Option<Status>,
    out_of_memory: bool,
    /// Whether there was a `runtimeDone`.
    ended: bool,
    /// Of `runtimeDone`, in case there is never a report.
    duration_ms: Option<f64>,
}

#[derive(Debug)]
struct Last {
    request: Request,
    ended_at: Option<EpochMs>,
}

impl Invocations {
    pub(super) const fn keep_earlier(&mut self) {
        self.keeps_earlier = true;
    }

    /// Whether nothing was heard of the request before.
    pub(super) fn is_foreign(&self, request: Request) -> bool {
        !self.keeps_earlier && self.is_new(request)
    }

    /// Whether the request had its report, which is the last that is told of it.
    pub(super) fn is_over(&self, request: Request) -> bool {
        self.over.contains(&request)
    }

    /// Whether nothing was heard of the request in this process.
    pub(super) fn is_new(&self, request: Request) -> bool {
        let same = |entry: &InFlight| entry.request == request;
        !self.in_flight.iter().any(same) && !self.is_over(request)
    }

    pub(super) fn awaits_report(&self) -> bool {
        !self.in_flight.is_empty()
    }

    /// An INVOKE event.
    pub(super) fn invoke(
        &mut self,
        request: Request,
        deadline: Option<Deadline>,
        now: EpochMs,
        series: &mut Series,
    ) {
        if let Some(last) = self.last.take() {
            match last.ended_at {
                Some(ended_at) => idle(ended_at, now, series),
                // Its end is told in telemetry that the freeze held back.
                None => self.open_gap = Some((last.request, now)),
            }
        }
        self.entry(request, series).deadline = deadline;
        self.last = Some(Last {
            request,
            ended_at: None,
        });
    }

    /// `runtimeDone`. Whether it is the first of the request.
    pub(super) fn ended(
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
        let Some(time) = time else {
            return true;
        };
        if let Some(last) = &mut self.last
            && last.request == request
        {
            last.ended_at = Some(time);
        }
        if let Some((_, until)) = self.open_gap.take_if(|(of, _)| *of == request) {
            idle(time, until, series);
        }
        true
    }

    /// `report`: the last that is told of an invocation.
    pub(super) fn reported(
        &mut self,
        request: Request,
        duration_ms: Option<f64>,
        series: &mut Series,
    ) {
        let duration_ms = duration_ms.or_else(|| self.entry(request, series).duration_ms);
        series.add_known(&m::DURATION, &[], duration_ms);
        self.in_flight.retain(|entry| entry.request != request);
        match self.over.get_mut(self.next_over) {
            Some(oldest) => *oldest = request,
            None => self.over.push(request),
        }
        self.next_over = (self.next_over + 1) % OVER_KEPT;
    }

    /// Waits no longer for what is in flight.
    pub(super) fn give_up(&mut self, series: &mut Series) {
        for entry in self.in_flight.drain(..) {
            abandon(&entry, series);
        }
    }

    /// Draws the conclusions from the reason of a shutdown, since telemetry of an invocation that
    /// is cut short rarely arrives.
    pub(super) fn shutdown(&mut self, reason: &str, now: EpochMs, series: &mut Series) {
        if let Some(entry) = self.in_flight.last_mut()
            && entry.settled.is_none()
        {
            let is_over = entry.deadline.is_none_or(|deadline| deadline.0 <= now);
            let status = match reason {
                "timeout" if is_over => Some(Status::Timeout),
                "failure" => Some(Status::Error),
                _ => None,
            };
            if let Some(status) = status {
                let error_type = UNKNOWN.to_owned();
                entry.settle(&Outcome { status, error_type }, series);
            }
        }
        self.give_up(series);
    }

    /// What is known of the request. If there are too many, the oldest is given up.
    pub(super) fn entry(&mut self, request: Request, series: &mut Series) -> &mut InFlight {
        let found = self
            .in_flight
            .iter()
            .position(|entry| entry.request == request);
        let at = found.unwrap_or_else(|| {
            if IN_FLIGHT_MAX <= self.in_flight.len() {
                abandon(&self.in_flight.remove(0), series);
            }
            self.in_flight.push(InFlight::new(request));
            self.in_flight.len() - 1
        });
        &mut self.in_flight[at]
    }
}

impl InFlight {
    fn new(request: Request) -> Self {
        Self {
            request,
            deadline: None,
            settled: None,
            out_of_memory: false,
            ended: false,
            duration_ms: None,
        }
    }

    /// Counts the outcome, once. A failure after a success is one more fact: the runtime answered,
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

    pub(super) fn out_of_memory(&mut self, series: &mut Series) {
        if !std::mem::replace(&mut self.out_of_memory, true) {
            series.count(&m::OUT_OF_MEMORY, &[]);
        }
    }
}

/// Counts what is known of an invocation that gets no report.
fn abandon(entry: &InFlight, series: &mut Series) {
    if entry.settled.is_none() {
        series.count(&m::UNKNOWN_OUTCOMES, &[]);
    }
    series.add_known(&m::DURATION, &[], entry.duration_ms);
}

/// Counts an error by its type. Functions choose types freely, so only so many are told apart.
fn count_error(error_type: &str, series: &mut Series) {
    let fits = series.has_room(&m::ERRORS, error_type, ERROR_TYPES_MAX);
    let shown = if fits { error_type } else { "other" };
    series.count(&m::ERRORS, &[("error_type", shown)]);
}

fn idle(from: EpochMs, to: EpochMs, series: &mut Series) {
    series.add(
        &m::IDLE_DURATION,
        &[],
        super::float(to.0.saturating_sub(from.0)),
    );
}

/// Invocations in flight. An environment has one, on Managed Instances some tens; the rest waits
/// for reports that may never come.
pub(super) const IN_FLIGHT_MAX: usize = 256;

/// Requests of which a second report is told from a first. Those of a delivery that comes again
/// were the last ones, and one holds at most some hundreds.
pub(super) const OVER_KEPT: usize = 512;

/// Types of errors told apart in an interval.
pub(super) const ERROR_TYPES_MAX: usize = 16;

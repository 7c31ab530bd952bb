//! Invocations that have no report yet, and how they end.

use super::cold_start::UNKNOWN;
use super::cut;
use super::metrics as m;
use super::outcome::{Outcome, Status};
use super::series::Series;
use crate::shared::deadline::{Deadline, EpochMs};

/// The invocations of an environment that are not over for us.
#[derive(Debug, Default)]
pub(super) struct Invocations {
    /// The oldest first.
    in_flight: Vec<InFlight>,
    /// The last INVOKE event and what is known of its end, for the gap until the next.
    last: Option<Last>,
    /// A gap of which only the end is known: after which request, and when.
    open_gap: Option<(String, EpochMs)>,
    /// Whether requests from before this process may be its own.
    keeps_earlier: bool,
    /// Hashes of the requests that had their report last, as a ring, and where it goes on.
    over: Vec<u64>,
    next_over: usize,
}

#[derive(Debug)]
struct InFlight {
    request_id: String,
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
    request_id: String,
    ended_at: Option<EpochMs>,
}

impl Invocations {
    pub(super) const fn keep_earlier(&mut self) {
        self.keeps_earlier = true;
    }

    /// Whether nothing was heard of the request before.
    pub(super) fn is_foreign(&self, request_id: &str) -> bool {
        !self.keeps_earlier && self.is_new(request_id)
    }

    /// Whether the request had its report, which is the last that is told of it.
    pub(super) fn is_over(&self, request_id: &str) -> bool {
        self.over.contains(&hash(request_id))
    }

    /// Whether nothing was heard of the request in this process.
    pub(super) fn is_new(&self, request_id: &str) -> bool {
        let same = |entry: &InFlight| entry.request_id == request_id;
        !self.in_flight.iter().any(same) && !self.is_over(request_id)
    }

    pub(super) fn awaits_report(&self) -> bool {
        !self.in_flight.is_empty()
    }

    /// An INVOKE event.
    pub(super) fn invoke(
        &mut self,
        request_id: &str,
        deadline: Option<Deadline>,
        now: EpochMs,
        series: &mut Series,
    ) {
        let request_id = cut(request_id);
        if let Some(Last {
            request_id,
            ended_at,
        }) = self.last.take()
        {
            match ended_at {
                Some(ended_at) => idle(ended_at, now, series),
                // Its end is told in telemetry that the freeze held back.
                None => self.open_gap = Some((request_id, now)),
            }
        }
        self.entry(&request_id, series).deadline = deadline;
        self.last = Some(Last {
            request_id,
            ended_at: None,
        });
    }

    /// An invocation of which no INVOKE event will tell.
    pub(super) fn expect(&mut self, request_id: &str, series: &mut Series) {
        self.entry(&cut(request_id), series);
    }

    /// Counts the outcome, once. A failure after a success is one more fact: the runtime answered,
    /// and then an extension took too long or exited.
    pub(super) fn settle(&mut self, request_id: &str, outcome: &Outcome, series: &mut Series) {
        let entry = self.entry(request_id, series);
        let is_success = outcome.status == Status::Success;
        if entry
            .settled
            .is_some_and(|settled| settled != Status::Success || is_success)
        {
            return;
        }
        entry.settled = Some(outcome.status);
        match outcome.status {
            Status::Success => series.count(&m::INVOCATIONS, &[]),
            Status::Timeout => series.count(&m::TIMEOUTS, &[]),
            Status::Error => count_error(&outcome.error_type, series),
        }
    }

    pub(super) fn out_of_memory(&mut self, request_id: &str, series: &mut Series) {
        let entry = self.entry(request_id, series);
        if !std::mem::replace(&mut entry.out_of_memory, true) {
            series.count(&m::OUT_OF_MEMORY, &[]);
        }
    }

    /// `runtimeDone`. Whether it is the first of the request.
    pub(super) fn ended(
        &mut self,
        request_id: &str,
        time: Option<EpochMs>,
        duration_ms: Option<f64>,
        series: &mut Series,
    ) -> bool {
        let entry = self.entry(request_id, series);
        if std::mem::replace(&mut entry.ended, true) {
            return false;
        }
        entry.duration_ms = duration_ms;
        let Some(time) = time else {
            return true;
        };
        if let Some(last) = &mut self.last
            && last.request_id == request_id
        {
            last.ended_at = Some(time);
        }
        if let Some((_, until)) = self.open_gap.take_if(|(id, _)| id == request_id) {
            idle(time, until, series);
        }
        true
    }

    /// `report`: the last that is told of an invocation.
    pub(super) fn reported(
        &mut self,
        request_id: &str,
        duration_ms: Option<f64>,
        series: &mut Series,
    ) {
        let duration_ms = duration_ms.or_else(|| self.entry(request_id, series).duration_ms);
        series.add_known(&m::DURATION, duration_ms);
        self.in_flight
            .retain(|entry| entry.request_id != request_id);
        let hash = hash(request_id);
        match self.over.get_mut(self.next_over) {
            Some(oldest) => *oldest = hash,
            None => self.over.push(hash),
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
                let request_id = entry.request_id.clone();
                let error_type = UNKNOWN.to_owned();
                self.settle(&request_id, &Outcome { status, error_type }, series);
            }
        }
        self.give_up(series);
    }

    /// Bytes of what is known of requests.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.in_flight
            .iter()
            .map(|entry| entry.request_id.len())
            .sum()
    }

    /// What is known of the request. If there are too many, the oldest is given up.
    fn entry(&mut self, request_id: &str, series: &mut Series) -> &mut InFlight {
        let found = self
            .in_flight
            .iter()
            .position(|entry| entry.request_id == request_id);
        let at = found.unwrap_or_else(|| {
            if IN_FLIGHT_MAX <= self.in_flight.len() {
                abandon(&self.in_flight.remove(0), series);
            }
            self.in_flight.push(InFlight::new(request_id));
            self.in_flight.len() - 1
        });
        &mut self.in_flight[at]
    }
}

impl InFlight {
    fn new(request_id: &str) -> Self {
        Self {
            request_id: request_id.to_owned(),
            deadline: None,
            settled: None,
            out_of_memory: false,
            ended: false,
            duration_ms: None,
        }
    }
}

/// Counts what is known of an invocation that gets no report.
fn abandon(entry: &InFlight, series: &mut Series) {
    if entry.settled.is_none() {
        series.count(&m::UNKNOWN_OUTCOMES, &[]);
    }
    series.add_known(&m::DURATION, entry.duration_ms);
}

/// Counts an error by its type. Functions choose types freely, so only so many are told apart.
fn count_error(error_type: &str, series: &mut Series) {
    let error_type = cut(error_type);
    let (mut types, mut is_known) = (0, false);
    series.values_of(&m::ERRORS, "error_type", &mut |known| {
        types += 1;
        is_known |= known == error_type;
    });
    let fits = is_known || types < ERROR_TYPES_MAX;
    let shown = if fits { &*error_type } else { "other" };
    series.count(&m::ERRORS, &[("error_type", shown)]);
}

/// FNV-1a, <http://www.isthe.com/chongo/tech/comp/fnv/>.
fn hash(text: &str) -> u64 {
    let step = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, step)
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

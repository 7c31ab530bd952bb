//! Encoded batches that wait to be sent to the OTLP receiver, and when to send them: bounded, and
//! what is lost is counted. Pure: time is an argument.

use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use super::retry::Verdict;
use crate::extension::export::losses::{Ledger, Losses, Told};
use crate::shared::backoff::{Jitter, OTLP_REQUESTS};
use crate::shared::time::EpochMs;

/// A batch as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::extension) struct Encoded {
    /// The body of the request.
    pub(in crate::extension) body: Vec<u8>,
    pub(in crate::extension) holds: Holds,
    /// The losses that it tells.
    pub(in crate::extension) tells: Losses,
}

/// What a batch is lost with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::extension) enum Holds {
    /// The number of its points, without those that tell losses.
    Points(u64),
    #[cfg_attr(
        not(any(feature = "traces", test)),
        expect(dead_code, reason = "only traces have them")
    )]
    Spans(u64),
}

impl Holds {
    /// The loss of all, or of fewer.
    fn lost(self, at_most: u64) -> Losses {
        let (points, spans) = match self {
            Self::Points(points) => (points.min(at_most), 0),
            Self::Spans(spans) => (0, spans.min(at_most)),
        };
        Losses {
            points,
            spans,
            ..Losses::default()
        }
    }
}

impl fmt::Display for Holds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Points(points) => write!(f, "{points} points"),
            Self::Spans(spans) => write!(f, "{spans} spans"),
        }
    }
}

/// Batches in the order in which they came. When there is no room the oldest is dropped: the
/// newest figures are worth most.
#[derive(Debug)]
pub(in crate::extension) struct Outbox {
    pub(in crate::extension) told: Told,
    waiting: VecDeque<Rc<Encoded>>,
    /// The bytes of the bodies that wait, at most [`OUTBOX_BYTES_MAX`].
    bytes: usize,
    /// The batch that is being sent.
    in_flight: Option<Rc<Encoded>>,
    /// Attempts that failed since the last success.
    failures: u32,
    jitter: Jitter,
    pause: Option<Pause>,
    /// Whether the receiver refused the credentials, so that nothing is sent any more.
    is_refused: bool,
}

/// Nothing is sent during a pause. It goes on through a freeze, so it is by the wall clock.
#[derive(Clone, Copy, Debug)]
struct Pause {
    since: EpochMs,
    length: Duration,
    /// Whether the receiver asked for it.
    is_asked: bool,
}

impl Outbox {
    /// Environments need different seeds, and one restored from a snapshot needs a new one.
    pub(in crate::extension) fn new(ledger: Rc<Ledger>, seed: u64) -> Self {
        Self {
            told: Told::new(ledger),
            waiting: VecDeque::new(),
            bytes: 0,
            in_flight: None,
            failures: 0,
            jitter: Jitter::new(seed),
            pause: None,
            is_refused: false,
        }
    }

    /// Adds a batch behind all others.
    pub(in crate::extension) fn push(&mut self, batch: Encoded) {
        let batch = Rc::new(batch);
        if self.is_refused {
            return self.lose(&batch);
        }
        self.bytes += batch.body.len();
        self.waiting.push_back(batch);
        while OUTBOX_BATCHES_MAX < self.waiting.len() || OUTBOX_BYTES_MAX < self.bytes {
            let Some(oldest) = self.pop() else { break };
            self.lose(&oldest);
        }
    }

    /// Takes the oldest batch, to send it now.
    pub(in crate::extension) fn begin(&mut self) -> Option<Rc<Encoded>> {
        self.put_back();
        self.in_flight = self.pop();
        self.in_flight.clone()
    }

    /// Whether a batch waits that may be sent at `now`.
    pub(in crate::extension) fn is_due(&self, now: EpochMs) -> bool {
        !self.waiting.is_empty() && self.pause(now).is_zero()
    }

    /// Whether no batch waits.
    #[cfg(test)]
    pub(in crate::extension) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The pause that is left at `now`. A clock that was put back ends it, because the rest of
    /// the pause is unknown then.
    pub(in crate::extension) fn pause(&self, now: EpochMs) -> Duration {
        let Some(pause) = self.pause else {
            return Duration::ZERO;
        };
        match now.0.checked_sub(pause.since.0) {
            Some(passed) => pause.length.saturating_sub(Duration::from_millis(passed)),
            None => Duration::ZERO,
        }
    }

    /// Does what follows from the answer about the batch that is being sent.
    pub(in crate::extension) fn handle_answer(
        &mut self,
        verdict: Verdict,
        rejected: u64,
        now: EpochMs,
    ) {
        let Some(batch) = self.in_flight.take() else {
            return;
        };
        match verdict {
            Verdict::Delivered => {
                (self.failures, self.pause) = (0, None);
                let lost = batch.holds.lost(rejected);
                self.told.lose(lost, Losses::default());
            }
            Verdict::Retry { after } => {
                self.in_flight = Some(batch);
                self.put_back();
                self.failures = self.failures.saturating_add(1);
                self.pause = Some(Pause {
                    since: now,
                    length: self.next_pause(after),
                    is_asked: after.is_some(),
                });
            }
            Verdict::Drop => self.lose(&batch),
            Verdict::Disable => {
                self.is_refused = true;
                self.lose(&batch);
                self.lose_all();
            }
        }
    }

    /// A pause that the receiver asked for is the shortest that is made: whoever it turned away
    /// has been told the same, so there is jitter behind it.
    fn next_pause(&mut self, after: Option<Duration>) -> Duration {
        let scheduled = OTLP_REQUESTS.after(self.failures).unwrap_or_default();
        let own = self.jitter.shorten(scheduled);
        match after {
            Some(after) if own < after => after + self.jitter.up_to(scheduled / 2),
            Some(_) | None => own,
        }
    }

    /// Puts a batch that was begun and has no answer in front of the others again.
    pub(in crate::extension) fn put_back(&mut self) {
        let Some(batch) = self.in_flight.take() else {
            return;
        };
        let bytes = self.bytes + batch.body.len();
        if self.waiting.len() < OUTBOX_BATCHES_MAX && bytes <= OUTBOX_BYTES_MAX {
            self.bytes = bytes;
            self.waiting.push_front(batch);
        } else {
            self.lose(&batch);
        }
    }

    /// Ends a pause that would take all the time that is `left`, unless the receiver asked for it.
    pub(in crate::extension) fn hurry(&mut self, left: Duration, now: EpochMs) {
        if left <= self.pause(now) && !self.pause.is_some_and(|pause| pause.is_asked) {
            self.pause = None;
        }
    }

    /// Drops and counts everything: nothing will be sent any more.
    pub(in crate::extension) fn lose_all(&mut self) {
        self.put_back();
        while let Some(batch) = self.pop() {
            self.lose(&batch);
        }
    }

    fn pop(&mut self) -> Option<Rc<Encoded>> {
        let batch = self.waiting.pop_front()?;
        self.bytes -= batch.body.len();
        Some(batch)
    }

    fn lose(&self, batch: &Encoded) {
        let lost = Losses {
            bytes: batch.body.len() as u64,
            ..batch.holds.lost(u64::MAX)
        };
        self.told.lose(lost, batch.tells);
    }
}

/// Batches that wait. One comes in each interval and one for each cold start, so this is longer
/// than a receiver should ever be away.
const OUTBOX_BATCHES_MAX: usize = 64;

/// Bytes of the batches that wait. A batch has a few kilobytes.
const OUTBOX_BYTES_MAX: usize = 256 * 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: EpochMs = EpochMs(1_781_009_600_000);
    const RETRY: Verdict = Verdict::Retry { after: None };

    fn outbox() -> (Outbox, Rc<Ledger>) {
        let ledger = Rc::new(Ledger::default());
        (Outbox::new(Rc::clone(&ledger), 7), ledger)
    }

    fn batch(points: u64, bytes: usize) -> Encoded {
        Encoded {
            body: vec![b'x'; bytes],
            holds: Holds::Points(points),
            tells: Losses::default(),
        }
    }

    fn later(ms: u64) -> EpochMs {
        EpochMs(NOW.0 + ms)
    }

    fn lost(points: u64, bytes: u64) -> Losses {
        Losses {
            points,
            spans: 0,
            lines: 0,
            bytes,
        }
    }

    #[test]
    fn batches_leave_in_the_order_they_came() {
        let (mut outbox, ledger) = outbox();
        assert!(!outbox.is_due(NOW) && outbox.begin().is_none());
        for points in 0..3 {
            outbox.push(batch(points, 10));
        }
        assert!(outbox.is_due(NOW));
        assert_eq!(outbox.begin().unwrap().holds, Holds::Points(0));
        outbox.put_back();
        for points in 0..3 {
            assert_eq!(outbox.begin().unwrap().holds, Holds::Points(points));
            outbox.handle_answer(Verdict::Delivered, 0, NOW);
        }
        assert!(outbox.is_empty() && outbox.bytes == 0);
        assert!(ledger.total().is_empty());
    }

    #[test]
    fn the_oldest_is_lost_when_there_are_too_many() {
        let (mut outbox, ledger) = outbox();
        for points in 0..70 {
            outbox.push(batch(points, 10));
        }
        assert_eq!(ledger.total(), lost(15, 60));
        assert_eq!(outbox.begin().unwrap().holds, Holds::Points(6));
        outbox.push(batch(70, 10));
        // The one that is on its way has no room any more.
        outbox.put_back();
        assert_eq!(ledger.total(), lost(21, 70));
        outbox.lose_all();
        assert_eq!(ledger.total().points, (0..=70).sum::<u64>());
    }

    #[test]
    fn the_oldest_is_lost_when_there_are_too_many_bytes() {
        let (mut outbox, ledger) = outbox();
        outbox.push(batch(1, 200 * 1_024));
        outbox.push(batch(2, 56 * 1_024));
        assert!(ledger.total().is_empty());
        outbox.push(batch(3, 1));
        assert_eq!(ledger.total().points, 1);
        // One that is too large for any outbox pushes itself out at the end.
        outbox.push(batch(4, OUTBOX_BYTES_MAX + 1));
        assert_eq!(ledger.total().points, 10);
        assert!(outbox.is_empty() && outbox.bytes == 0);
    }

    #[test]
    fn pauses_double_up_to_a_limit_and_start_anew_after_a_success() {
        let (mut outbox, _) = outbox();
        outbox.push(batch(1, 10));
        let bounds = [200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000];
        for wait_ms in bounds.into_iter().chain([30_000; 100]) {
            outbox.begin().unwrap();
            outbox.handle_answer(RETRY, 0, NOW);
            let pause = outbox.pause(NOW).as_millis();
            assert!(
                (wait_ms / 2..wait_ms).contains(&pause),
                "{pause} of {wait_ms}"
            );
            assert!(!outbox.is_due(NOW));
            assert!(outbox.is_due(later(30_000)));
        }
        outbox.begin().unwrap();
        outbox.handle_answer(Verdict::Delivered, 0, NOW);
        outbox.push(batch(1, 10));
        outbox.begin().unwrap();
        outbox.handle_answer(RETRY, 0, NOW);
        assert!((100..200).contains(&outbox.pause(NOW).as_millis()));
    }

    #[test]
    fn the_receivers_time_is_a_lower_bound() {
        let pause_ms = |after_ms| {
            let (mut outbox, _) = outbox();
            outbox.push(batch(1, 10));
            outbox.begin().unwrap();
            let after = Some(Duration::from_millis(after_ms));
            outbox.handle_answer(Verdict::Retry { after }, 0, NOW);
            // It is waited for, however little time is left.
            outbox.hurry(Duration::ZERO, NOW);
            outbox.pause(NOW).as_millis()
        };
        assert!((60_000..60_100).contains(&pause_ms(60_000)));
        assert!((100..200).contains(&pause_ms(0)));
    }

    #[test]
    fn a_clock_that_was_put_back_ends_a_pause() {
        let (mut outbox, _) = outbox();
        outbox.push(batch(1, 10));
        outbox.begin().unwrap();
        outbox.handle_answer(RETRY, 0, NOW);
        assert!(!outbox.is_due(NOW));
        assert!(outbox.is_due(EpochMs(NOW.0 - 1)));
    }

    #[test]
    fn a_pause_that_takes_all_the_time_is_cut_short() {
        let (mut outbox, _) = outbox();
        outbox.push(batch(1, 10));
        outbox.begin().unwrap();
        outbox.handle_answer(RETRY, 0, NOW);
        outbox.hurry(Duration::from_secs(1), NOW);
        assert!(!outbox.is_due(NOW), "there is time for the pause");
        outbox.hurry(Duration::from_millis(50), NOW);
        assert!(outbox.is_due(NOW));
    }

    /// A receiver that refuses every batch gets each loss told in the batch that it takes at last.
    #[test]
    fn counts_of_losses_outlive_any_number_of_losses() {
        let (mut outbox, ledger) = outbox();
        for _ in 0..20 {
            let tells = outbox.told.take();
            outbox.push(Encoded {
                tells,
                ..batch(5, 100)
            });
            outbox.begin().unwrap();
            outbox.handle_answer(Verdict::Drop, 0, NOW);
        }
        assert_eq!(ledger.total(), lost(100, 2_000));
        let tells = outbox.told.take();
        assert_eq!(tells, lost(100, 2_000));
        outbox.push(Encoded {
            tells,
            ..batch(5, 100)
        });
        outbox.begin().unwrap();
        outbox.handle_answer(Verdict::Delivered, 2, NOW);
        assert_eq!(outbox.told.take(), lost(2, 0), "the receiver rejected two");
    }

    #[test]
    fn everything_after_refused_credentials_is_counted() {
        let (mut outbox, ledger) = outbox();
        outbox.push(batch(1, 10));
        outbox.push(batch(2, 10));
        outbox.begin().unwrap();
        outbox.handle_answer(Verdict::Disable, 0, NOW);
        assert_eq!(ledger.total().points, 3);
        outbox.push(batch(4, 10));
        assert_eq!(ledger.total(), lost(7, 30));
        assert!(!outbox.is_due(later(1_000_000)));
    }

    #[test]
    fn seeds_tell_environments_apart() {
        let pauses = |seed| {
            let mut outbox = Outbox::new(Rc::new(Ledger::default()), seed);
            outbox.push(batch(1, 10));
            std::array::from_fn::<_, 8, _>(|_| {
                outbox.begin().unwrap();
                outbox.handle_answer(RETRY, 0, NOW);
                outbox.pause(NOW)
            })
        };
        assert_eq!(pauses(1), pauses(1));
        assert_ne!(pauses(1), pauses(2));
    }
}

//! The records that wait for one subscriber: when a batch is due, its records, the dropped ones.
//!
//! No I/O and no clock. A record leaves the queue when its batch was taken by the listener, so a
//! batch that failed is sent again together with what came meanwhile; listeners see "the same
//! events again in a new batch" on Lambda too.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::subscription::Buffering;

/// The records of one subscriber.
#[derive(Debug)]
pub(crate) struct Queue {
    buffering: Buffering,
    limits: Limits,
    records: VecDeque<Queued>,
    /// The sum of the records' lengths.
    bytes: usize,
    /// All records ever dropped.
    dropped_ever: Dropped,
    /// The dropped records that no `platform.logsDropped` has reported yet.
    dropped: Dropped,
    /// How many records at the head are to be sent without waiting for a full batch.
    hurried: usize,
    /// Failed attempts since the last one that succeeded.
    failures: u32,
    /// No attempt before this.
    retry_at: Option<Instant>,
}

/// The bounds that the subscriber does not choose.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// A record that would bring the queue above this is dropped.
    pub(crate) queue_bytes_max: usize,
    pub(crate) retry_pause_min: Duration,
    pub(crate) retry_pause_max: Duration,
}

/// A number of dropped records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dropped {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

/// The head of a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) records: Vec<Bytes>,
    /// The sum of the records' lengths.
    pub(crate) bytes: usize,
}

#[derive(Debug)]
struct Queued {
    json: Bytes,
    at: Instant,
}

impl Queue {
    pub(crate) fn new(buffering: Buffering, limits: Limits) -> Self {
        Self {
            buffering,
            limits,
            records: VecDeque::new(),
            bytes: 0,
            dropped_ever: Dropped::default(),
            dropped: Dropped::default(),
            hurried: 0,
            failures: 0,
            retry_at: None,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Adds a record, or drops it if there is no room.
    pub(crate) fn push(&mut self, json: Bytes, now: Instant) {
        if self.bytes + json.len() > self.limits.queue_bytes_max {
            self.add_dropped(Dropped::one(json.len()));
            return;
        }
        self.push_always(json, now);
    }

    /// Adds a record whether there is room or not. For the record that reports dropped ones.
    pub(crate) fn push_always(&mut self, json: Bytes, now: Instant) {
        self.bytes += json.len();
        self.records.push_back(Queued { json, at: now });
    }

    /// Counts records that were dropped.
    pub(crate) fn add_dropped(&mut self, dropped: Dropped) {
        self.dropped.add(dropped);
        self.dropped_ever.add(dropped);
    }

    pub(crate) fn dropped_ever(&self) -> Dropped {
        self.dropped_ever
    }

    /// The records dropped since the last call.
    pub(crate) fn take_dropped(&mut self) -> Option<Dropped> {
        let dropped = std::mem::take(&mut self.dropped);
        (dropped != Dropped::default()).then_some(dropped)
    }

    /// The next batch, out of the queue.
    pub(crate) fn take_batch(&mut self) -> Option<Batch> {
        let batch = self.batch();
        self.delivered(&batch);
        (!batch.records.is_empty()).then_some(batch)
    }

    /// When the next batch is to be sent, possibly in the past. `None` if there is nothing.
    pub(crate) fn due(&self) -> Option<Instant> {
        let first = self.records.front()?;
        let full = self.records.len() >= self.buffering.items_max
            || self.bytes >= self.buffering.bytes_max
            || self.hurried > 0;
        let due = if full {
            first.at
        } else {
            first.at + self.buffering.timeout
        };
        Some(self.retry_at.map_or(due, |retry| retry.max(due)))
    }

    /// The records of the next batch. They stay in the queue.
    ///
    /// The record that reaches the limit of bytes is still in, as in
    /// aws-lambda-runtime-interface-emulator; that is why listeners are told to expect
    /// "2 * maxBytes + metadata".
    pub(crate) fn batch(&self) -> Batch {
        let mut batch = Batch::default();
        for queued in self.records.iter().take(self.buffering.items_max) {
            if batch.bytes >= self.buffering.bytes_max {
                break;
            }
            batch.bytes += queued.json.len();
            batch.records.push(queued.json.clone());
        }
        batch
    }

    /// Whether records are still to be sent at once.
    pub(crate) fn is_hurried(&self) -> bool {
        self.hurried > 0
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// Makes the records of now due at once, without a pause after a failure.
    pub(crate) fn hurry(&mut self) {
        self.hurried = self.records.len();
        self.retry_at = None;
    }

    /// The batch was taken.
    pub(crate) fn delivered(&mut self, batch: &Batch) {
        self.records
            .drain(..batch.records.len().min(self.records.len()));
        self.bytes = self.bytes.saturating_sub(batch.bytes);
        self.hurried = self.hurried.saturating_sub(batch.records.len());
        self.failures = 0;
        self.retry_at = None;
    }

    /// The batch was not taken. The pause doubles with every attempt.
    pub(crate) fn failed(&mut self, now: Instant) {
        let factor = 2_u32.saturating_pow(self.failures);
        let pause = self.limits.retry_pause_min.saturating_mul(factor);
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(now + pause.min(self.limits.retry_pause_max));
    }
}

impl Dropped {
    pub(crate) fn one(bytes: usize) -> Self {
        Self {
            records: 1,
            bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.records += other.records;
        self.bytes += other.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn queue(items_max: usize, bytes_max: usize, queue_bytes_max: usize) -> Queue {
        Queue::new(
            Buffering {
                items_max,
                bytes_max,
                timeout: 25 * MS,
            },
            Limits {
                queue_bytes_max,
                retry_pause_min: 10 * MS,
                retry_pause_max: 35 * MS,
            },
        )
    }

    fn record(bytes: usize) -> Bytes {
        vec![b'x'; bytes].into()
    }

    /// Lengths of records pushed 1 ms apart from 0 on, what is due when, and the batch's lengths.
    #[test]
    fn a_batch_is_due_by_items_bytes_or_time() {
        type Row<'a> = (&'a [usize], Option<u32>, &'a [usize]);
        let table: [Row<'_>; 8] = [
            (&[], None, &[]),
            (&[10], Some(25), &[10]),
            (&[10, 10], Some(25), &[10, 10]),
            (&[10, 10, 10], Some(0), &[10, 10, 10]),
            (&[10, 10, 10, 10], Some(0), &[10, 10, 10]),
            (&[99, 1], Some(0), &[99, 1]),
            (&[100, 50], Some(0), &[100]),
            (&[99, 100, 7], Some(0), &[99, 100]),
        ];
        let start = Instant::now();
        for (lengths, due, batch) in table {
            let mut queue = queue(3, 100, 1_000);
            let mut now = start;
            for length in lengths {
                queue.push(record(*length), now);
                now += MS;
            }
            assert_eq!(queue.due(), due.map(|ms| start + ms * MS), "{lengths:?}");
            let got: Vec<usize> = queue.batch().records.iter().map(Bytes::len).collect();
            assert_eq!(got, batch, "{lengths:?}");
            assert_eq!(
                queue.batch().bytes,
                batch.iter().sum::<usize>(),
                "{lengths:?}"
            );
        }
    }

    #[test]
    fn what_is_left_waits_from_when_it_came() {
        let mut queue = queue(2, 100, 1_000);
        let start = Instant::now();
        for ms in 0..3 {
            queue.push(record(10), start + ms * MS);
        }
        let batch = queue.batch();
        assert_eq!(batch.records.len(), 2);
        queue.delivered(&batch);
        assert_eq!(queue.due(), Some(start + 27 * MS));
        assert_eq!(queue.batch().bytes, 10);
        let batch = queue.batch();
        queue.delivered(&batch);
        assert!(queue.is_empty());
        assert_eq!(queue.due(), None);
        queue.push(record(99), start);
        assert_eq!(queue.due(), Some(start + 25 * MS), "its bytes are gone too");
    }

    #[test]
    fn what_does_not_fit_is_dropped_and_counted_once() {
        let mut queue = queue(1_000, 1_000, 25);
        let now = Instant::now();
        queue.push(record(20), now);
        queue.push(record(6), now);
        queue.push(record(5), now);
        queue.push(record(1), now);
        queue.push_always(record(3), now);
        let dropped = Dropped {
            records: 2,
            bytes: 7,
        };
        assert_eq!(queue.take_dropped(), Some(dropped));
        assert_eq!(queue.take_dropped(), None);
        assert_eq!(queue.dropped_ever(), dropped);
        let batch = queue.take_batch().unwrap();
        assert_eq!((batch.records.len(), batch.bytes), (3, 28));
        assert_eq!(queue.take_batch(), None);
        queue.push(record(25), now);
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn pauses_double_up_to_their_limit_and_start_again() {
        let mut queue = queue(1, 100, 1_000);
        let now = Instant::now();
        queue.push(record(1), now);
        for pause_ms in [10, 20, 35, 35] {
            queue.failed(now);
            assert_eq!(queue.due(), Some(now + pause_ms * MS));
        }
        let batch = queue.batch();
        queue.delivered(&batch);
        queue.push(record(1), now);
        assert_eq!(queue.due(), Some(now));
        queue.failed(now);
        assert_eq!(queue.due(), Some(now + 10 * MS));
    }

    #[test]
    fn a_failed_batch_comes_again_with_what_came_meanwhile() {
        let mut queue = queue(3, 100, 1_000);
        let now = Instant::now();
        queue.push(record(1), now);
        let first = queue.batch();
        queue.failed(now);
        queue.push(record(2), now);
        let second = queue.batch();
        assert_eq!(first.records, [record(1)]);
        assert_eq!(second.records, [record(1), record(2)]);
    }

    #[test]
    fn a_hurry_covers_what_was_there() {
        let mut queue = queue(1_000, 100, 1_000);
        let start = Instant::now();
        queue.push(record(1), start);
        queue.failed(start);
        queue.hurry();
        assert_eq!(queue.due(), Some(start));
        let batch = queue.batch();
        queue.push(record(1), start + MS);
        queue.delivered(&batch);
        assert_eq!(queue.due(), Some(start + 26 * MS));
    }
}

//! Encoded batches that wait to be sent: bounded, and what is lost is counted.

use std::rc::Rc;

/// A batch as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::extension) struct Encoded {
    /// The body of the request.
    pub(in crate::extension) body: Vec<u8>,
    /// How many points are in it.
    pub(in crate::extension) points: u64,
}

/// What was lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::extension) struct Dropped {
    pub(in crate::extension) points: u64,
    pub(in crate::extension) bytes: u64,
}

/// Batches in the order in which they came. When there is no room the oldest is dropped: what is
/// happening now is worth more than what happened then.
#[derive(Debug, Default)]
pub(in crate::extension) struct Queue {
    batches: Vec<Rc<Encoded>>,
    /// The bodies' bytes, at most [`QUEUE_BYTES_MAX`].
    bytes: usize,
    dropped: Dropped,
}

impl Queue {
    /// Adds a batch behind all others.
    pub(in crate::extension) fn push(&mut self, batch: Encoded) {
        self.bytes += batch.body.len();
        self.batches.push(Rc::new(batch));
        while QUEUE_BATCHES_MAX < self.batches.len() || QUEUE_BYTES_MAX < self.bytes {
            match self.pop() {
                Some(oldest) => self.drop(&oldest),
                None => break,
            }
        }
    }

    /// Takes the oldest batch, to send it.
    pub(in crate::extension) fn pop(&mut self) -> Option<Rc<Encoded>> {
        if self.batches.is_empty() {
            return None;
        }
        let batch = self.batches.remove(0);
        self.bytes -= batch.body.len();
        Some(batch)
    }

    /// Gives back a batch that could not be sent and is to be tried again. It is the oldest, so it
    /// is dropped if there is no room any more.
    pub(in crate::extension) fn put_back(&mut self, batch: Rc<Encoded>) {
        let bytes = self.bytes + batch.body.len();
        if self.batches.len() < QUEUE_BATCHES_MAX && bytes <= QUEUE_BYTES_MAX {
            self.bytes = bytes;
            self.batches.insert(0, batch);
        } else {
            self.drop(&batch);
        }
    }

    /// Counts a batch that was taken and is lost.
    pub(in crate::extension) fn drop(&mut self, batch: &Encoded) {
        self.dropped.points += batch.points;
        self.dropped.bytes += batch.body.len() as u64;
    }

    /// Drops and counts everything: nothing will be sent any more.
    pub(in crate::extension) fn clear(&mut self) {
        while let Some(batch) = self.pop() {
            self.drop(&batch);
        }
    }

    /// Counts points of a batch that was sent, which the receiver refused.
    pub(in crate::extension) fn rejected(&mut self, points: u64) {
        self.dropped.points += points;
    }

    /// Whether nothing waits.
    pub(in crate::extension) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// What was lost since this was last asked.
    pub(in crate::extension) fn take_dropped(&mut self) -> Dropped {
        std::mem::take(&mut self.dropped)
    }
}

/// Batches that wait. One comes in each interval and one for each cold start, so this is longer
/// than a receiver should ever be away.
const QUEUE_BATCHES_MAX: usize = 64;

/// Bytes of the batches that wait. A batch has a few kilobytes.
const QUEUE_BYTES_MAX: usize = 256 * 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(points: u64, bytes: usize) -> Encoded {
        Encoded {
            body: vec![b'x'; bytes],
            points,
        }
    }

    #[test]
    fn batches_leave_in_the_order_they_came() {
        let mut queue = Queue::default();
        assert!(queue.is_empty());
        for points in 0..3 {
            queue.push(batch(points, 10));
        }
        let first = queue.pop().unwrap();
        assert_eq!(first.points, 0);
        queue.put_back(first);
        let order: Vec<u64> = std::iter::from_fn(|| queue.pop())
            .map(|b| b.points)
            .collect();
        assert_eq!(order, [0, 1, 2]);
        assert_eq!(queue.bytes, 0);
        assert_eq!(queue.take_dropped(), Dropped::default());
    }

    #[test]
    fn the_oldest_is_dropped_and_counted_when_there_are_too_many() {
        let mut queue = Queue::default();
        for points in 0..70 {
            queue.push(batch(points, 10));
        }
        let dropped = Dropped {
            points: 15,
            bytes: 60,
        };
        assert_eq!(queue.take_dropped(), dropped);
        assert_eq!(queue.take_dropped(), Dropped::default());
        assert_eq!(queue.pop().unwrap().points, 6);
    }

    #[test]
    fn the_oldest_is_dropped_when_there_are_too_many_bytes() {
        let mut queue = Queue::default();
        queue.push(batch(1, 200 * 1_024));
        queue.push(batch(2, 56 * 1_024));
        assert_eq!(queue.take_dropped(), Dropped::default());
        queue.push(batch(3, 1));
        assert_eq!(queue.take_dropped().points, 1);
        // One that fits no queue drops itself last of all.
        queue.push(batch(4, 256 * 1_024 + 1));
        assert_eq!(queue.take_dropped().points, 9);
        assert!(queue.is_empty());
        assert_eq!(queue.bytes, 0);
    }

    #[test]
    fn a_batch_that_comes_back_to_a_full_queue_is_dropped() {
        let mut queue = Queue::default();
        queue.push(batch(1, 10));
        let first = queue.pop().unwrap();
        for _ in 0..64 {
            queue.push(batch(2, 10));
        }
        queue.put_back(first);
        assert_eq!(queue.take_dropped().points, 1);
        queue.clear();
        assert!(queue.is_empty());
        assert_eq!(queue.take_dropped().points, 128);
    }
}

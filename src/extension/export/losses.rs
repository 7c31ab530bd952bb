//! Exports that were lost, and what each receiver has been told of them.
//!
//! The count of losses travels in the batches themselves, so it can be lost with one. Therefore
//! the total is kept, and for each receiver the part that is in batches which it got or may still
//! get. A batch that is lost gives its part back, and the next batch carries it again.

use std::cell::Cell;
use std::rc::Rc;

use crate::extension::metric::{Point, catalogue as m};

/// Numbers of lost things.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::extension) struct Losses {
    /// Points that an OTLP receiver did not get.
    pub(in crate::extension) points: u64,
    /// Spans that one did not get.
    pub(in crate::extension) spans: u64,
    /// Lines and datagrams that were not written.
    pub(in crate::extension) lines: u64,
    /// The bytes of all, as far as they were encoded.
    pub(in crate::extension) bytes: u64,
}

impl Losses {
    /// A line or a datagram.
    pub(in crate::extension) const fn line(bytes: usize) -> Self {
        Self {
            points: 0,
            spans: 0,
            lines: 1,
            bytes: bytes as u64,
        }
    }

    pub(in crate::extension) const fn is_empty(self) -> bool {
        self.points == 0 && self.spans == 0 && self.lines == 0 && self.bytes == 0
    }

    /// The parts that are a point each, for a receiver that may get one point and not the other.
    pub(in crate::extension) fn parts(self) -> [Self; 2] {
        let bytes = Self {
            bytes: self.bytes,
            ..Self::default()
        };
        [self.minus(bytes), bytes]
    }

    const fn plus(self, other: Self) -> Self {
        Self {
            points: self.points.saturating_add(other.points),
            spans: self.spans.saturating_add(other.spans),
            lines: self.lines.saturating_add(other.lines),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }

    const fn minus(self, other: Self) -> Self {
        Self {
            points: self.points.saturating_sub(other.points),
            spans: self.spans.saturating_sub(other.spans),
            lines: self.lines.saturating_sub(other.lines),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }

    /// The points that tell a receiver of these losses.
    pub(in crate::extension) fn to_points(self) -> Vec<Point> {
        let records = self.points.saturating_add(self.lines);
        let records = records.saturating_add(self.spans);
        let counts = [
            (&m::DROPPED_RECORDS, records),
            (&m::DROPPED_BYTES, self.bytes),
        ];
        let counts = counts.into_iter().filter(|(_, count)| *count != 0);
        counts
            .map(|(metric, count)| Point {
                metric,
                attributes: vec![("dropped_by", "exporter".to_owned())],
                #[expect(
                    clippy::cast_precision_loss,
                    reason = "a process does not live long enough for 2^53"
                )]
                values: vec![count as f64],
            })
            .collect()
    }
}

/// All losses since the process started, or was restored from a snapshot.
#[derive(Debug, Default)]
pub(in crate::extension) struct Ledger(Cell<Losses>);

impl Ledger {
    pub(in crate::extension) fn lose(&self, losses: Losses) {
        self.0.set(self.0.get().plus(losses));
    }

    pub(in crate::extension) fn total(&self) -> Losses {
        self.0.get()
    }

    pub(in crate::extension) fn forget(&self) {
        self.0.take();
    }
}

/// The part of the [`Ledger`] that one receiver has been told, or will be by what is on its way.
#[derive(Debug)]
pub(in crate::extension) struct Told {
    ledger: Rc<Ledger>,
    told: Cell<Losses>,
}

impl Told {
    pub(in crate::extension) fn new(ledger: Rc<Ledger>) -> Self {
        Self {
            ledger,
            told: Cell::default(),
        }
    }

    /// The losses that the next batch has to tell.
    pub(in crate::extension) fn take(&self) -> Losses {
        let total = self.ledger.total();
        total.minus(self.told.replace(total))
    }

    /// Counts a batch that is lost, and takes back what it was to tell.
    pub(in crate::extension) fn lose(&self, losses: Losses, tells: Losses) {
        self.told.set(self.told.get().minus(tells));
        self.ledger.lose(losses);
    }

    pub(in crate::extension) fn forget(&self) {
        self.told.take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_receiver_is_told_everything_once() {
        let ledger = Rc::new(Ledger::default());
        let [one, other] = [(); 2].map(|()| Told::new(Rc::clone(&ledger)));
        ledger.lose(Losses::line(100));
        assert_eq!(one.take(), Losses::line(100));
        assert!(one.take().is_empty());
        ledger.lose(Losses::line(20));
        assert_eq!(one.take(), Losses::line(20));
        let both = Losses::line(100).plus(Losses::line(20));
        assert_eq!(other.take(), both);
        assert_eq!(ledger.total(), both);
    }

    #[test]
    fn a_count_that_was_lost_is_told_again() {
        let told = Told::new(Rc::default());
        let [first, second, third] = [100, 20, 3].map(Losses::line);
        told.lose(first, Losses::default());
        assert_eq!(told.take(), first);
        told.lose(second, first);
        let both = first.plus(second);
        assert_eq!(told.take(), both);
        told.lose(third, Losses::default());
        assert_eq!(told.take(), third);
        // The later one is lost first.
        told.lose(Losses::default(), third);
        told.lose(Losses::default(), both);
        assert_eq!(told.take(), both.plus(third));
    }

    #[test]
    fn a_restore_forgets_what_was_told() {
        let ledger = Rc::new(Ledger::default());
        let told = Told::new(Rc::clone(&ledger));
        ledger.lose(Losses::line(100));
        told.take();
        ledger.forget();
        told.forget();
        ledger.lose(Losses::line(20));
        assert_eq!(told.take(), Losses::line(20));
    }

    #[test]
    fn the_points_say_records_and_bytes() {
        let losses = Losses {
            points: 1,
            spans: 2,
            lines: 4,
            bytes: 0,
        };
        let [point] = &losses.to_points()[..] else {
            panic!("one metric has a value");
        };
        assert_eq!(point.metric.name, "dropped_records");
        assert_eq!(point.values, [7.0]);
        assert_eq!(Losses::line(5).to_points()[1].metric.name, "dropped_bytes");
        assert!(Losses::default().to_points().is_empty());
    }
}

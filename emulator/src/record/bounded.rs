//! A list that keeps its end.

/// Items in the order they came, as many of the last ones as fit into a number of bytes.
#[derive(Debug)]
pub(crate) struct Bounded<T> {
    items: Vec<T>,
    bytes: usize,
    bytes_max: usize,
}

/// An item that knows about how many bytes of memory it takes.
pub(crate) trait Weight {
    fn bytes(&self) -> usize;
}

impl<T: Weight> Bounded<T> {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            items: Vec::new(),
            bytes: 0,
            bytes_max,
        }
    }

    /// Adds an item. If there is no room any more the oldest ones go, until half of it is free:
    /// not each time a few, because all that stay move.
    pub(crate) fn push(&mut self, item: T) {
        self.bytes += item.bytes();
        self.items.push(item);
        if self.bytes <= self.bytes_max {
            return;
        }
        let mut gone = 0;
        let all_but_last = self.items.len() - 1;
        for item in self.items.iter().take(all_but_last) {
            if self.bytes <= self.bytes_max / 2 {
                break;
            }
            self.bytes -= item.bytes();
            gone += 1;
        }
        self.items.drain(..gone);
    }

    pub(crate) fn clear(&mut self) {
        self.items = Vec::new();
        self.bytes = 0;
    }
}

impl<T> AsRef<[T]> for Bounded<T> {
    fn as_ref(&self) -> &[T] {
        &self.items
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Weight for usize {
        fn bytes(&self) -> usize {
            *self
        }
    }

    #[test]
    fn the_oldest_go_until_half_is_free() {
        let table: [(&[usize], &[usize]); 6] = [
            (&[], &[]),
            (&[40, 30, 30], &[40, 30, 30]),
            (&[40, 30, 30, 1], &[30, 1]),
            (&[10, 10, 10, 10, 61], &[61]),
            (&[500], &[500]),
            (&[500, 1], &[1]),
        ];
        for (pushed, kept) in table {
            let mut list = Bounded::new(100);
            for item in pushed {
                list.push(*item);
            }
            assert_eq!(list.as_ref(), kept, "{pushed:?}");
            assert_eq!(list.bytes, kept.iter().sum::<usize>(), "{pushed:?}");
        }
    }

    #[test]
    fn a_cleared_list_has_all_its_room() {
        let mut list = Bounded::new(100);
        list.push(90);
        list.clear();
        list.push(90);
        assert_eq!(list.as_ref(), [90]);
    }
}

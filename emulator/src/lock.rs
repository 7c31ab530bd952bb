//! The locks of this crate.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Locks, whatever became of a thread that held the lock: every value behind one of this crate's
/// locks is valid between any two statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `test` on a list now and whenever `grew` says that it grew, until it passes or `bound` is
/// over. The list as it is then is the error.
pub(crate) fn wait_until<T: Clone, L: AsRef<[T]>>(
    list: &Mutex<L>,
    grew: &Condvar,
    bound: Duration,
    mut test: impl FnMut(&[T]) -> bool,
) -> Result<(), Vec<T>> {
    let until = Instant::now() + bound;
    let mut items = lock(list);
    loop {
        if test((*items).as_ref()) {
            return Ok(());
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err((*items).as_ref().to_vec());
        }
        items = match grew.wait_timeout(items, left) {
            Ok((items, _)) => items,
            Err(poisoned) => poisoned.into_inner().0,
        };
    }
}

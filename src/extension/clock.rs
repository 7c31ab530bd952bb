//! The clocks and timers of the extension's tasks, as an argument: a test gives them virtual time.

use std::os::fd::BorrowedFd;
use std::pin::Pin;
use std::time::{Duration, Instant};

use async_io::Timer;
use futures_lite::future;

use crate::extension::own_usage::{self, OwnUsage};
use crate::extension::system_usage::{self, SystemUsage};
#[cfg(test)]
use crate::extension::world::World;
use crate::shared::os::clock;
use crate::shared::time::EpochMs;

/// The clocks of the kernel and the timers of async-io, or in a test the clocks of a `World`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    #[cfg(test)]
    pub(super) world: Option<&'static World>,
}

impl Clock {
    /// The time by the wall clock.
    pub(super) fn now(self) -> EpochMs {
        #[cfg(test)]
        if let Some(world) = self.world {
            return world.now();
        }
        clock::now()
    }

    /// The time by the monotonic clock, which may stand still while the environment is frozen.
    pub(super) fn monotonic(self) -> Instant {
        #[cfg(test)]
        if let Some(world) = self.world {
            return world.monotonic();
        }
        clock::monotonic()
    }

    /// A number that differs between environments, and between those restored from one snapshot.
    pub(super) fn seed(self) -> u64 {
        #[cfg(test)]
        if let Some(world) = self.world {
            return world.now().0;
        }
        clock::seed()
    }

    /// The processor time and memory that this process has used so far.
    pub(super) fn usage(self) -> OwnUsage {
        #[cfg(test)]
        if self.world.is_some() {
            return OwnUsage::default();
        }
        own_usage::so_far()
    }

    /// What all processes of the environment use.
    pub(super) fn system_usage(self) -> SystemUsage {
        #[cfg(test)]
        if self.world.is_some() {
            return SystemUsage::default();
        }
        system_usage::now()
    }

    /// The standard output, or in a test the file that a world has in its place.
    pub(super) fn stdout(self) -> BorrowedFd<'static> {
        #[cfg(test)]
        if let Some(world) = self.world {
            return world.stdout();
        }
        rustix::stdio::stdout()
    }

    /// Waits this long.
    pub(super) async fn sleep(self, length: Duration) {
        #[cfg(test)]
        if let Some(world) = self.world {
            return world.sleep(length).await;
        }
        Timer::after(length).await;
    }

    /// Waits for `work`, and no longer than `limit`; `None` when the time was over first.
    ///
    /// The work is boxed: one kind of it is less code than one for each future.
    pub(super) fn within<'w, T: 'w>(
        self,
        limit: Duration,
        work: impl Future<Output = T> + 'w,
    ) -> Boxed<'w, Option<T>> {
        let work: Boxed<'w, T> = Box::pin(work);
        let timer = async move {
            self.sleep(limit).await;
            None
        };
        Box::pin(future::or(async { Some(work.await) }, timer))
    }
}

/// A future on the heap.
type Boxed<'w, T> = Pin<Box<dyn Future<Output = T> + 'w>>;

#[cfg(test)]
mod tests {
    use std::future as std_future;

    use super::*;
    use crate::extension::io::run_test;

    #[test]
    fn a_wait_ends_with_its_time() {
        let clock = Clock::default();
        let outcome = run_test(async |_| {
            let never = clock.within(Duration::from_secs(1_000), std_future::pending::<()>());
            clock.within(Duration::from_millis(2), never).await
        });
        assert_eq!(outcome, None);
        let soon = async |_| clock.within(Duration::from_secs(1_000), async { 7 }).await;
        assert_eq!(run_test(soon), Some(7));
    }
}

//! The async driver: tasks on one local executor, and the bytes between a socket and the HTTP core.
//!
//! async-io's reactor runs on a thread of its own and wakes tasks; all tasks run on this one.

use std::cell::RefCell;
use std::future::{self as std_future, Future};
use std::io;
use std::net::TcpStream;
use std::pin::Pin;
use std::task::{Poll, Waker};
use std::time::Duration;

use async_executor::{StaticLocalExecutor, Task};
use async_io::{Async, Timer};
use futures_lite::{AsyncReadExt as _, future};

use crate::shared::http::{HttpError, Progress, Reader};

/// The executor of all tasks. It lives as long as the process.
pub(super) type Executor = &'static StaticLocalExecutor;

/// Starts a task. Dropping the handle cancels it.
///
/// Tasks are boxed: one kind of task is half the code of one kind for each future.
pub(super) fn spawn(executor: Executor, work: impl Future<Output = ()> + 'static) -> Task<()> {
    let work: Pin<Box<dyn Future<Output = ()>>> = Box::pin(work);
    executor.spawn(work)
}

/// Runs `main` until it is done, and the tasks beside it.
///
/// After each poll of a task `main` has its turn, so that tasks which always have something to do
/// cannot hold it up.
pub(super) fn run<T>(executor: Executor, main: impl Future<Output = T>) -> T {
    let tasks = async {
        loop {
            executor.tick().await;
            future::yield_now().await;
        }
    };
    future::block_on(future::or(main, tasks))
}

/// Waits for `work`, and no longer than `limit`; `None` when the time was over first.
pub(super) async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    let timer = async {
        Timer::after(limit).await;
        None
    };
    future::or(async { Some(work.await) }, timer).await
}

/// Wakes tasks that wait for something to change.
#[derive(Debug, Default)]
pub(super) struct Notify {
    waiting: RefCell<Vec<Waker>>,
}

impl Notify {
    /// Lets everybody who waits look again.
    pub(super) fn notify(&self) {
        for waker in self.waiting.take() {
            waker.wake();
        }
    }

    /// Waits until `is_so` is true. It looks now and after each [`notify`](Self::notify).
    pub(super) async fn until(&self, is_so: impl Fn() -> bool) {
        std_future::poll_fn(|context| {
            if is_so() {
                return Poll::Ready(());
            }
            let mut waiting = self.waiting.borrow_mut();
            if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
                waiting.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}

/// Why a message was not read to its end.
#[derive(Debug)]
pub(super) enum ReadError {
    /// What came is no such message.
    Http(HttpError),
    /// The connection failed, or the time is over.
    Lost,
}

impl From<io::Error> for ReadError {
    fn from(_: io::Error) -> Self {
        Self::Lost
    }
}

/// Reads a message to its end. A peer that always has something to read lets other tasks have
/// their turn after each read.
pub(super) async fn read(
    mut stream: &Async<TcpStream>,
    message: &mut Reader,
) -> Result<(), ReadError> {
    loop {
        let space = message.space().map_err(ReadError::Http)?;
        let progress = match stream.read(space).await? {
            0 => message.eof(),
            count => message.filled(count),
        };
        if progress.map_err(ReadError::Http)? == Progress::Complete {
            return Ok(());
        }
        future::yield_now().await;
    }
}

/// Runs a test with an executor of its own, for no longer than a test may take.
#[cfg(test)]
pub(super) fn run_test<T>(test: impl AsyncFnOnce(Executor) -> T) -> T {
    let executor: Executor = async_executor::LocalExecutor::new().leak();
    let outcome = run(executor, within(Duration::from_secs(60), test(executor)));
    outcome.expect("the test ends in time")
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;
    use crate::extension::clock;

    #[test]
    fn a_wait_ends_with_its_time() {
        let started = clock::monotonic();
        let outcome = run_test(async |_| {
            let never = within(Duration::from_secs(1_000), std_future::pending::<()>());
            within(Duration::from_millis(2), never).await
        });
        assert_eq!(outcome, None);
        let took = clock::monotonic().saturating_duration_since(started);
        assert!(Duration::from_millis(2) <= took);
        let outcome = run_test(async |_| within(Duration::from_secs(1_000), async { 7 }).await);
        assert_eq!(outcome, Some(7));
    }

    #[test]
    fn whoever_waits_is_woken_by_each_change_until_it_is_so() {
        run_test(async |executor| {
            let (notify, count) = (Rc::new(Notify::default()), Rc::new(Cell::new(0)));
            let (other, counted) = (Rc::clone(&notify), Rc::clone(&count));
            let counting = spawn(executor, async move {
                for number in 1..=3 {
                    // Whoever waits is asleep by now: without a waker it would stay so.
                    Timer::after(Duration::from_millis(1)).await;
                    counted.set(number);
                    other.notify();
                }
            });
            notify.until(|| count.get() == 3).await;
            counting.await;
            // Nothing is woken for what is no longer waited for.
            assert!(notify.waiting.borrow().is_empty());
        });
    }

    #[test]
    fn several_wait_for_one_change() {
        run_test(async |executor| {
            let (notify, is_set) = (Rc::new(Notify::default()), Rc::new(Cell::new(false)));
            let waiting = [0; 3].map(|_| {
                let (notify, is_set) = (Rc::clone(&notify), Rc::clone(&is_set));
                spawn(executor, async move {
                    notify.until(|| is_set.get()).await;
                })
            });
            Timer::after(Duration::from_millis(1)).await;
            is_set.set(true);
            notify.notify();
            for task in waiting {
                task.await;
            }
        });
    }

    /// A task that never waits shares the thread with `main` and with other tasks.
    #[test]
    fn a_task_that_is_always_ready_takes_turns() {
        run_test(async |executor| {
            let turns = Rc::new(Cell::new(0_u64));
            let counted = Rc::clone(&turns);
            let busy = spawn(executor, async move {
                loop {
                    counted.set(counted.get() + 1);
                    future::yield_now().await;
                }
            });
            let other = spawn(executor, async {
                Timer::after(Duration::from_millis(5)).await;
            });
            other.await;
            let by_then = turns.get();
            assert!(0 < by_then);
            Timer::after(Duration::from_millis(5)).await;
            assert!(by_then < turns.get());
            drop(busy);
        });
    }
}

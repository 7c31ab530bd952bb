//! The async driver: tasks on one local executor, and the bytes between a socket and the HTTP core.
//!
//! async-io's reactor runs on a thread of its own and wakes tasks; all tasks run on this one.

use std::cell::RefCell;
use std::future::{self as std_future, Future};
use std::io::{self, IoSlice};
use std::net::TcpStream;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
#[cfg(test)]
use std::time::Duration;

use async_executor::{StaticLocalExecutor, Task};
use async_io::Async;
#[cfg(not(feature = "tls"))]
use futures_lite::AsyncWriteExt as _;
use futures_lite::future;

#[cfg(test)]
use crate::extension::clock::Clock;
#[cfg(not(feature = "tls"))]
use crate::extension::tcp;
use crate::shared::http::{Exchange, HttpError};

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
/// `main` has its turn after each poll of a task, so that tasks which always have something to do
/// cannot hold it up.
pub(super) fn run<T>(executor: Executor, main: impl Future<Output = T>) -> T {
    let tasks = async {
        loop {
            executor.tick().await;
            future::yield_now().await;
        }
    };
    block_on(future::or(main, tasks))
}

/// Runs a future on this thread.
///
/// The `block_on` of futures-lite keeps its waker in a thread local, for the next call. There is
/// one call here, and with that thread local musl has to map memory for the first thread of either
/// role.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let (parker, unparker) = parking::pair();
    let waker = Waker::from(unparker);
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => parker.park(),
        }
    }
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

impl From<HttpError> for io::Error {
    fn from(error: HttpError) -> Self {
        Self::other(error)
    }
}

/// A connection to a peer.
#[cfg(not(feature = "tls"))]
pub(super) type Connection = Async<TcpStream>;
#[cfg(feature = "tls")]
pub(super) use crate::extension::tls::Connection;

/// A connection that is not encrypted.
#[cfg(not(feature = "tls"))]
pub(super) const fn plain(tcp: Async<TcpStream>) -> Connection {
    tcp
}

/// A connection that is not encrypted.
#[cfg(feature = "tls")]
pub(super) fn plain(tcp: Async<TcpStream>) -> Connection {
    tcp.into()
}

/// Writes the request of an exchange. The response may come even if that fails.
pub(super) async fn send(stream: &mut Connection, exchange: &mut Exchange<'_>) -> io::Result<()> {
    while let Some([head, body]) = exchange.pending() {
        let parts = [IoSlice::new(head), IoSlice::new(body)];
        match stream.write_vectored(&parts).await {
            Ok(count) => exchange.wrote(count),
            Err(error) => {
                exchange.write_failed();
                return Err(error);
            }
        }
    }
    Ok(())
}

/// Reads the response of an exchange.
pub(super) async fn receive(
    stream: &mut Connection,
    exchange: &mut Exchange<'_>,
) -> io::Result<()> {
    while !exchange.is_done() {
        receive_some(stream, exchange).await?;
    }
    Ok(())
}

/// Reads as much of a response as there is, or waits for some.
#[cfg_attr(
    not(feature = "tls"),
    expect(clippy::needless_pass_by_ref_mut, reason = "TLS has a state")
)]
pub(super) async fn receive_some(
    stream: &mut Connection,
    exchange: &mut Exchange<'_>,
) -> io::Result<()> {
    let space = exchange.space()?;
    #[cfg(not(feature = "tls"))]
    let count = tcp::read(stream, space).await?;
    #[cfg(feature = "tls")]
    let count = stream.read(space).await?;
    Ok(exchange.read(count)?)
}

/// Runs a test with an executor of its own, for no longer than a test may take.
#[cfg(test)]
pub(super) fn run_test<T>(test: impl AsyncFnOnce(Executor) -> T) -> T {
    let executor: Executor = async_executor::LocalExecutor::new().leak();
    let limit = Duration::from_secs(60);
    let outcome = run(executor, Clock::default().within(limit, test(executor)));
    outcome.expect("the test ends in time")
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use async_io::Timer;

    use super::*;

    /// Whoever waits is asleep when the change comes: without a waker it would stay so.
    #[test]
    fn whoever_waits_looks_again_after_each_change() {
        run_test(async |executor| {
            let (notify, count) = (Rc::new(Notify::default()), Rc::new(Cell::new(0)));
            let (other, counted) = (Rc::clone(&notify), Rc::clone(&count));
            let counting = spawn(executor, async move {
                for number in 1..=3 {
                    while other.waiting.borrow().is_empty() {
                        future::yield_now().await;
                    }
                    counted.set(number);
                    other.notify();
                }
            });
            notify.until(|| count.get() == 3).await;
            counting.await;
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
            while notify.waiting.borrow().len() < waiting.len() {
                future::yield_now().await;
            }
            is_set.set(true);
            notify.notify();
            for task in waiting {
                task.await;
            }
        });
    }

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
                Timer::after(Duration::from_millis(1)).await;
            });
            // Both a task and `main` go on beside the busy one.
            other.await;
            let by_then = turns.get();
            assert!(0 < by_then);
            Timer::after(Duration::from_millis(1)).await;
            assert!(by_then < turns.get());
            drop(busy);
        });
    }
}

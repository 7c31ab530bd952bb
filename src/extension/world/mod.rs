//! A world test: the tasks of the extension among a platform and receivers that misbehave, on
//! virtual time.
//!
//! Everything runs as in the binary but the clocks, the timers and the far ends of the sockets. A
//! test plays [`steps`](platform::Step) and reads what the receivers got. Time passes only when
//! every task waits, so hours take microseconds, and each run of the same steps is the same.

mod emf;
mod lives;
mod platform;
mod records;
mod scenarios;
mod zones;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, memfd_create};

use crate::extension::io::Executor;
use crate::extension::log;
use crate::shared::http::Exchange;
use crate::shared::os::clock;
use crate::shared::time::EpochMs;

/// The clocks of a world, and the servers in it: an OTLP receiver and the metadata endpoint.
pub(super) struct World {
    began: Instant,
    /// The time since the start of the world, by the monotonic clock and by the wall clock.
    monotonic: Cell<Duration>,
    wall: Cell<Duration>,
    /// The timers that run: when each is due, its number and its task.
    timers: RefCell<Vec<(Duration, u64, Waker)>>,
    timers_made: Cell<u64>,
    stdout: &'static File,
    /// What the OTLP receiver does with the next request.
    answer: Cell<Answer>,
    /// The targets and the bodies of the requests that it got.
    received: RefCell<Vec<(String, Vec<u8>)>>,
    /// What the metadata endpoint does with the next request, and how many it got.
    metadata: Cell<Answer>,
    metadata_requests: Cell<usize>,
}

/// What a server does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Answer {
    /// Whether an OTLP receiver takes the body, whatever it answers.
    takes: bool,
    after_ms: u64,
    /// The whole response; empty to close the connection instead.
    response: &'static str,
}

impl World {
    /// The world of this thread: the one before it has ended.
    fn new() -> Self {
        let stdout = STDOUT.with(|file| *file);
        stdout.set_len(0).unwrap();
        (&*stdout).rewind().unwrap();
        log::KEPT.set(Some(Vec::new()));
        Self {
            began: clock::monotonic(),
            monotonic: Cell::default(),
            wall: Cell::new(Duration::from_millis(START.0)),
            timers: RefCell::default(),
            timers_made: Cell::default(),
            stdout,
            answer: Cell::new(TAKEN),
            received: RefCell::default(),
            metadata: Cell::new(CLOSED),
            metadata_requests: Cell::default(),
        }
    }

    pub(super) fn now(&self) -> EpochMs {
        EpochMs(u64::try_from(self.wall.get().as_millis()).unwrap())
    }

    pub(super) fn monotonic(&self) -> Instant {
        self.began + self.monotonic.get()
    }

    pub(super) fn stdout(&'static self) -> BorrowedFd<'static> {
        self.stdout.as_fd()
    }

    /// The lines on standard output.
    fn printed(&self) -> Vec<String> {
        let mut file = self.stdout;
        file.rewind().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    pub(super) fn sleep(&'static self, length: Duration) -> Sleep {
        let number = self.timers_made.get();
        self.timers_made.set(number + 1);
        Sleep {
            due: self.monotonic.get() + length,
            number,
            world: self,
        }
    }

    /// Sends a request to the receiver and reads its answer.
    pub(super) async fn send(
        &'static self,
        target: &str,
        body: &[u8],
        exchange: &mut Exchange<'_>,
    ) {
        let answer = self.answer.get();
        if answer.takes {
            let request = (target.to_owned(), body.to_vec());
            self.received.borrow_mut().push(request);
        }
        self.respond(answer, exchange).await;
    }

    /// Sends a request to the metadata endpoint and reads its answer.
    pub(super) async fn send_for_metadata(&'static self, exchange: &mut Exchange<'_>) {
        let requests = self.metadata_requests.get();
        self.metadata_requests.set(requests + 1);
        self.respond(self.metadata.get(), exchange).await;
    }

    async fn respond(&'static self, answer: Answer, exchange: &mut Exchange<'_>) {
        let Answer {
            after_ms, response, ..
        } = answer;
        self.sleep(Duration::from_millis(after_ms)).await;
        let space = exchange.space().unwrap();
        space.extend_from_slice(response.as_bytes());
        exchange.read(response.len()).ok();
    }

    /// Runs `main` until it is done, and the tasks beside it.
    fn run<T>(&self, executor: Executor, main: impl Future<Output = T>) -> T {
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&woken));
        let mut context = Context::from_waker(&waker);
        let mut main = pin!(main);
        loop {
            if woken.0.swap(false, Ordering::Relaxed)
                && let Poll::Ready(outcome) = main.as_mut().poll(&mut context)
            {
                return outcome;
            }
            if !executor.try_tick() && !woken.0.load(Ordering::Relaxed) {
                let due = self.timers.borrow().iter().map(|(due, ..)| *due).min();
                let due = due.expect("a task that waits is woken, or has a timer");
                let length = due.saturating_sub(self.monotonic.get());
                self.pass(length, length);
            }
        }
    }

    /// Lets time pass, which the two clocks may show differently.
    fn pass(&self, wall: Duration, monotonic: Duration) {
        self.wall.set(self.wall.get() + wall);
        self.monotonic.set(self.monotonic.get() + monotonic);
        let now = self.monotonic.get();
        for (_, _, waker) in self.timers.borrow().iter().filter(|(due, ..)| *due <= now) {
            waker.wake_by_ref();
        }
    }
}

thread_local! {
    /// What stands for standard output in the worlds of this thread: memory, and one descriptor
    /// however many worlds there are.
    static STDOUT: &'static File = {
        let memory = memfd_create("stdout", MemfdFlags::CLOEXEC).unwrap();
        Box::leak(Box::new(memory.into()))
    };
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a world at {:?}", self.now())
    }
}

/// A timer of a world. It runs once it is polled, and until it is dropped.
pub(super) struct Sleep {
    due: Duration,
    number: u64,
    world: &'static World,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.due <= self.world.monotonic.get() {
            return Poll::Ready(());
        }
        let mut timers = self.world.timers.borrow_mut();
        timers.retain(|(_, number, _)| *number != self.number);
        timers.push((self.due, self.number, context.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let mut timers = self.world.timers.borrow_mut();
        timers.retain(|(_, number, _)| *number != self.number);
    }
}

/// Whether the main future was woken.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// 2026-08-20T10:00:00Z
const START: EpochMs = EpochMs(1_787_220_000_000);

const TAKEN: Answer = Answer {
    takes: true,
    after_ms: 3,
    response: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
};

/// The connection is closed at once, as where nobody answers.
const CLOSED: Answer = Answer {
    takes: false,
    after_ms: 0,
    response: "",
};

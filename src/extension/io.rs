//! The async driver: one loop over `poll(2)`, and what moves bytes between a socket and the HTTP core.
//!
//! There are some ten descriptors at most, so nothing is kept from one wait to the next. A future that
//! is not ready says in its `poll` what it waits for; the loop waits for all of that at once, and then
//! polls everything again. There are no wakers, and nothing is registered with the kernel.
//!
//! All waits are of one type here, and all work beside other work is boxed: each other type would
//! bring the code of a future along.

use std::cell::RefCell;
use std::future::{self, Future};
use std::mem::ManuallyDrop;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{SendFlags, SocketFlags, SocketType, sockopt};

use crate::extension::clock::{self, Instant};
use crate::shared::http::{HttpError, Progress, Reader};
use crate::shared::os;
use crate::shared::os::blocking::family;

/// Something that goes on beside something else.
pub(super) type Work<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Goes on with `work` until it is done.
pub(super) fn run(mut work: Pin<&mut dyn Future<Output = ()>>) {
    let context = &mut Context::from_waker(Waker::noop());
    while work.as_mut().poll(context).is_pending() {
        WAITS.with(|waits| waits.borrow_mut().wait());
    }
}

/// Goes on with both until one of them is done. `one` comes first: of what it does, `other` knows
/// before the next wait.
pub(super) async fn either(
    mut one: Pin<&mut dyn Future<Output = ()>>,
    mut other: Pin<&mut dyn Future<Output = ()>>,
) {
    future::poll_fn(|context| {
        if one.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        other.as_mut().poll(context)
    })
    .await;
}

/// Waits for `work`, and no longer than this.
pub(super) async fn within(limit: Duration, mut work: Pin<&mut dyn Future<Output = ()>>) {
    let end = clock::monotonic() + limit;
    future::poll_fn(|context| {
        if work.as_mut().poll(context).is_ready() || end <= clock::monotonic() {
            return Poll::Ready(());
        }
        WAITS.with(|waits| {
            let waits = &mut *waits.borrow_mut();
            waits.end = Some(waits.end.map_or(end, |other| other.min(end)));
        });
        Poll::Pending
    })
    .await;
}

pub(super) async fn pause(pause: Duration) {
    within(pause, pin!(future::pending())).await;
}

/// A descriptor that a future waits for, and for what. It may be closed by then.
type Wait = (Weak<OwnedFd>, PollFlags);

#[derive(Debug)]
struct Waits {
    /// What the loop is to wait for.
    wanted: Vec<Wait>,
    /// What came of that, until it is taken.
    came: Vec<Wait>,
    /// When the loop is to end its wait in any case.
    end: Option<Instant>,
}

thread_local! {
    /// Never dropped: it lasts as long as its thread, and what runs at the end of one is 3 KB.
    static WAITS: ManuallyDrop<RefCell<Waits>> = const {
        ManuallyDrop::new(RefCell::new(Waits {
            wanted: Vec::new(),
            came: Vec::new(),
            end: None,
        }))
    };
}

impl Waits {
    /// Waits until something of what is wanted comes.
    fn wait(&mut self) {
        self.came.clear();
        let mut open = Vec::new();
        for (descriptor, flags) in self.wanted.drain(..) {
            open.extend(descriptor.upgrade().map(|descriptor| (descriptor, flags)));
        }
        let mut descriptors = Vec::new();
        for (descriptor, flags) in &open {
            descriptors.push(PollFd::new(descriptor, *flags));
        }
        let end = self.end.take();
        let left = end.map(|end| end.saturating_duration_since(clock::monotonic()));
        // When a signal ends it, nothing has come. It fails in no other way: there is memory for a
        // few descriptors, and all are open.
        os::poll(&mut descriptors, left).ok();
        for ((descriptor, flags), polled) in open.iter().zip(&descriptors) {
            if !polled.revents().is_empty() {
                self.came.push((Rc::downgrade(descriptor), *flags));
            }
        }
    }
}

/// A socket. One future at a time may wait for it.
#[derive(Debug)]
pub(super) struct Socket(Rc<OwnedFd>);

impl Socket {
    /// Takes a descriptor, which becomes non-blocking.
    pub(super) fn new(descriptor: OwnedFd) -> Result<Self, Errno> {
        rustix::io::ioctl_fionbio(&descriptor, true)?;
        Ok(Self(Rc::new(descriptor)))
    }

    /// Connects.
    pub(super) async fn connect(address: SocketAddr) -> Result<Self, Errno> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let descriptor =
            rustix::net::socket_with(family(address), SocketType::STREAM, flags, None)?;
        let socket = Self(Rc::new(descriptor));
        match rustix::net::connect(socket.descriptor(), &address) {
            Ok(()) => return Ok(socket),
            Err(Errno::INPROGRESS) => socket.wait(PollFlags::OUT).await,
            Err(error) => return Err(error),
        }
        sockopt::socket_error(socket.descriptor())??;
        Ok(socket)
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Waits until there is something to read, or to accept.
    pub(super) async fn readable(&self) {
        self.wait(PollFlags::IN).await;
    }

    /// Waits for a connection and accepts it.
    pub(super) async fn accept(&self) -> Result<Self, Errno> {
        loop {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            match rustix::net::accept_with(self.descriptor(), flags) {
                Ok(descriptor) => return Ok(Self(Rc::new(descriptor))),
                Err(Errno::AGAIN) => self.readable().await,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads what there is, at least a byte; 0 when there will be nothing more.
    pub(super) async fn read(&self, space: &mut [u8]) -> Result<usize, Errno> {
        loop {
            match rustix::io::read(self.descriptor(), &mut *space) {
                Err(Errno::AGAIN) => self.readable().await,
                // A freeze can interrupt a system call.
                Err(Errno::INTR) => {}
                done => return done,
            }
        }
    }

    /// Writes all of it.
    pub(super) async fn write_all(&self, mut bytes: &[u8]) -> Result<(), Errno> {
        while !bytes.is_empty() {
            match rustix::net::send(self.descriptor(), bytes, SendFlags::NOSIGNAL) {
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(Errno::AGAIN) => self.wait(PollFlags::OUT).await,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits until this can be done, or fails.
    async fn wait(&self, flags: PollFlags) {
        future::poll_fn(|_| self.poll(flags)).await;
    }

    fn poll(&self, flags: PollFlags) -> Poll<()> {
        WAITS.with(|waits| {
            let waits = &mut *waits.borrow_mut();
            let this = Rc::as_ptr(&self.0);
            let is_this = |(descriptor, of): &Wait| descriptor.as_ptr() == this && *of == flags;
            if let Some(at) = waits.came.iter().position(is_this) {
                waits.came.swap_remove(at);
                return Poll::Ready(());
            }
            waits.wanted.push((Rc::downgrade(&self.0), flags));
            Poll::Pending
        })
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

impl From<Errno> for ReadError {
    fn from(_: Errno) -> Self {
        Self::Lost
    }
}

/// Reads a message to its end.
pub(super) async fn read(socket: &Socket, message: &mut Reader) -> Result<(), ReadError> {
    loop {
        let space = message.space().map_err(ReadError::Http)?;
        let progress = match socket.read(space).await? {
            0 => message.eof(),
            count => message.filled(count),
        };
        if progress.map_err(ReadError::Http)? == Progress::Complete {
            return Ok(());
        }
    }
}

/// Runs `work` with `beside` beside it, for no longer than a test may take.
#[cfg(test)]
pub(super) fn run_test<T>(
    beside: Pin<&mut dyn Future<Output = ()>>,
    work: impl Future<Output = T>,
) -> T {
    let mut outcome = None;
    {
        let work = pin!(async { outcome = Some(work.await) });
        let both = pin!(either(work, beside));
        run(pin!(within(Duration::from_secs(60), both)));
    }
    outcome.expect("it ends in time")
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn pair() -> (Socket, Socket) {
        let (one, other) = UnixStream::pair().unwrap();
        let socket = |stream: UnixStream| Socket::new(stream.into()).unwrap();
        (socket(one), socket(other))
    }

    #[test]
    fn a_wait_ends_with_its_time_and_the_nearest_ends_first() {
        let started = clock::monotonic();
        let over = Cell::new(0);
        let long = async {
            pause(Duration::from_secs(1_000)).await;
            over.set(1_000);
        };
        let short = async {
            pause(Duration::from_millis(2)).await;
            over.set(2);
        };
        run(pin!(either(pin!(long), pin!(short))));
        assert_eq!(over.get(), 2);
        let took = clock::monotonic().saturating_duration_since(started);
        assert!(Duration::from_millis(2) <= took && took < Duration::from_secs(900));
    }

    #[test]
    fn what_is_ready_is_found_whichever_side_waits_for_it() {
        let (near, far) = pair();
        run(pin!(async { far.write_all(b"x").await.unwrap() }));
        for near_is_first in [true, false] {
            let found = Cell::new(false);
            let readable = async {
                near.readable().await;
                found.set(true);
            };
            let pending = future::pending();
            if near_is_first {
                run(pin!(either(pin!(readable), pin!(pending))));
            } else {
                run(pin!(either(pin!(pending), pin!(readable))));
            }
            assert!(found.get());
        }
    }

    #[test]
    fn what_is_no_longer_waited_for_is_closed_at_once() {
        let (near, far) = pair();
        let mut near = Some(near);
        let work = async {
            let wait = Box::pin(async { near.as_ref().unwrap().readable().await });
            run_once(wait).await;
            // It was asked for in this very round, and is dropped before the loop waits.
            near = None;
            assert_eq!(far.read(&mut [0]).await, Ok(0));
        };
        run_test(pin!(future::pending()), work);
    }

    async fn run_once(mut work: Work<'_>) {
        future::poll_fn(|context| {
            assert!(work.as_mut().poll(context).is_pending());
            Poll::Ready(())
        })
        .await;
    }
}

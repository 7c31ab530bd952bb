//! The async driver: moves bytes between a socket and the HTTP core, and starts tasks.
//!
//! All sockets are of one type here, and all waits with a limit are one future: each other would
//! bring the code of a future along.

use std::future::{self, Future};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use async_executor::{LocalExecutor, Task};
use async_io::{Async, Timer};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, sockopt};

use crate::shared::blocking::ExchangeError;
use crate::shared::http::{Progress, Reader};

/// Starts a task. All are of one type, or each would bring the code of a task along.
pub(super) fn spawn(
    executor: &LocalExecutor<'static>,
    work: impl Future<Output = ()> + 'static,
) -> Task<()> {
    let work: Pin<Box<dyn Future<Output = ()>>> = Box::pin(work);
    executor.spawn(work)
}

/// Waits for `work`, and no longer than this.
pub(super) async fn within(limit: Duration, mut work: Pin<&mut dyn Future<Output = ()>>) {
    let mut over = Timer::after(limit);
    future::poll_fn(|context| {
        if work.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        Pin::new(&mut over).poll(context).map(|_| ())
    })
    .await;
}

pub(super) async fn pause(pause: Duration) {
    within(pause, pin!(future::pending())).await;
}

/// A socket. One task at a time may wait for it.
#[derive(Debug)]
pub(super) struct Socket(Async<OwnedFd>);

impl Socket {
    /// Takes a descriptor, which becomes non-blocking.
    pub(super) fn new(descriptor: OwnedFd) -> io::Result<Self> {
        Async::new(descriptor).map(Self)
    }

    /// Connects.
    pub(super) async fn connect(address: SocketAddr) -> io::Result<Self> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let descriptor =
            rustix::net::socket_with(family(address), SocketType::STREAM, flags, None)?;
        let connecting = rustix::net::connect(&descriptor, &address);
        if let Err(error) = connecting
            && error != Errno::INPROGRESS
        {
            return Err(error.into());
        }
        let socket = Self(Async::new_nonblocking(descriptor)?);
        socket.wait(Async::poll_writable).await?;
        sockopt::socket_error(socket.descriptor())??;
        Ok(socket)
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Waits until there is something to read, or to accept.
    pub(super) async fn readable(&self) -> io::Result<()> {
        self.wait(Async::poll_readable).await
    }

    /// Waits for a connection and accepts it.
    pub(super) async fn accept(&self) -> io::Result<Self> {
        loop {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            match rustix::net::accept_with(self.descriptor(), flags) {
                Ok(descriptor) => return Async::new_nonblocking(descriptor).map(Self),
                Err(Errno::AGAIN) => self.readable().await?,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Reads what there is, at least a byte; 0 when there will be nothing more.
    pub(super) async fn read(&self, space: &mut [u8]) -> io::Result<usize> {
        loop {
            match rustix::io::read(self.descriptor(), &mut *space) {
                Ok(count) => return Ok(count),
                Err(Errno::AGAIN) => self.readable().await?,
                // A freeze can interrupt a system call.
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Writes all of it.
    pub(super) async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match rustix::net::send(self.descriptor(), bytes, SendFlags::NOSIGNAL) {
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(Errno::AGAIN) => self.wait(Async::poll_writable).await?,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn wait(&self, poll: PollFd) -> io::Result<()> {
        future::poll_fn(|context| poll(&self.0, context)).await
    }
}

type PollFd = fn(&Async<OwnedFd>, &mut Context<'_>) -> Poll<io::Result<()>>;

pub(super) const fn family(address: SocketAddr) -> AddressFamily {
    match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    }
}

/// Reads a message to its end.
pub(super) async fn read(socket: &Socket, message: &mut Reader) -> Result<(), ExchangeError> {
    loop {
        let space = message.space().map_err(ExchangeError::Http)?;
        let progress = match socket.read(space).await {
            Ok(0) => message.eof(),
            Ok(count) => message.filled(count),
            Err(error) => {
                return Err(ExchangeError::Io(
                    Errno::from_io_error(&error).unwrap_or(Errno::IO),
                ));
            }
        };
        if progress.map_err(ExchangeError::Http)? == Progress::Complete {
            return Ok(());
        }
    }
}

//! The blocking driver: opens connections, and moves bytes between them and the HTTP core.
//!
//! It asks the kernel directly: the errors of the standard library have to be sorted into kinds.

use std::fmt;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags};
use rustix::io::{Errno, writev};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, socket_with,
};

use crate::shared::http::{Exchange, HttpError};
use crate::shared::os;
use crate::shared::os::clock::monotonic;
#[cfg(test)]
use crate::shared::os::simulation;

/// Why an exchange did not complete.
#[derive(Debug)]
pub(crate) enum ExchangeError {
    /// There is no connection, so nothing was sent.
    Connect(Errno),
    /// The network failed.
    Io(Errno),
    /// The peer broke the protocol or closed.
    Http(HttpError),
}

/// Opens a socket for connections with such an address.
///
/// # Errors
///
/// Those of `socket`.
pub(crate) fn socket(address: SocketAddr) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC;
    socket_with(family(address), SocketType::STREAM, flags, None)
}

/// The family of an address, which a socket is opened for.
pub(crate) const fn family(address: SocketAddr) -> AddressFamily {
    match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    }
}

/// Opens a connection. With a timeout that is how long connecting may take, and each read and
/// write: <https://man7.org/linux/man-pages/man7/socket.7.html>, `SO_SNDTIMEO`.
///
/// # Errors
///
/// Those of `connect`.
pub(crate) fn connect(address: SocketAddr, timeout: Option<Duration>) -> Result<OwnedFd, Errno> {
    let stream = socket(address)?;
    if timeout.is_some() {
        bound(&stream, timeout)?;
    }
    rustix::net::connect(&stream, &address)?;
    Ok(stream)
}

/// Bounds each read and each write that waits.
///
/// # Errors
///
/// Those of `setsockopt`.
pub(crate) fn bound(stream: &OwnedFd, timeout: Option<Duration>) -> Result<(), Errno> {
    set_socket_timeout(stream, Timeout::Send, timeout)?;
    set_socket_timeout(stream, Timeout::Recv, timeout)
}

/// Carries an exchange to its end.
///
/// # Errors
///
/// [`ExchangeError`]. When neither the request could be written nor a response be read, the error
/// is that of writing.
pub(crate) fn exchange(
    stream: BorrowedFd<'_>,
    exchange: &mut Exchange<'_>,
) -> Result<(), ExchangeError> {
    #[cfg(test)]
    if simulation::here().is_some() {
        return simulation::carry(stream, exchange, Duration::from_secs(2));
    }
    let sent = send(stream, exchange);
    receive(stream, exchange).map_err(|error| sent.err().map_or(error, ExchangeError::Io))
}

/// Writes the request, head and body with one vectored write where the stream takes it.
///
/// # Errors
///
/// [`Errno`] of the write that failed. The response may be there all the same.
pub(crate) fn send(stream: BorrowedFd<'_>, exchange: &mut Exchange<'_>) -> Result<(), Errno> {
    while let Some([head, body]) = exchange.pending() {
        match writev(stream, &[IoSlice::new(head), IoSlice::new(body)]) {
            Ok(count) => exchange.wrote(count),
            // A freeze can interrupt a system call.
            Err(Errno::INTR) => {}
            Err(error) => {
                exchange.write_failed();
                return Err(error);
            }
        }
    }
    Ok(())
}

/// Reads the response.
///
/// # Errors
///
/// [`ExchangeError::Io`] and [`ExchangeError::Http`].
pub(crate) fn receive(
    stream: BorrowedFd<'_>,
    exchange: &mut Exchange<'_>,
) -> Result<(), ExchangeError> {
    while !exchange.is_done() {
        let space = exchange.space().map_err(ExchangeError::Http)?;
        match recv(stream, spare_capacity(space), RecvFlags::empty()) {
            Ok((count, _)) => exchange.read(count).map_err(ExchangeError::Http)?,
            Err(Errno::INTR) => {}
            Err(error) => return Err(ExchangeError::Io(error)),
        }
    }
    Ok(())
}

/// A choice of reading and writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ready {
    pub(crate) read: bool,
    pub(crate) write: bool,
}

/// Waits until one of what it `wants` can be done. The end of the stream, and its error, can be
/// read and written. When the time `end` has come, nothing may be ready.
///
/// # Errors
///
/// Those of `poll`.
pub(crate) fn wait(
    stream: BorrowedFd<'_>,
    wants: Ready,
    end: Option<Instant>,
) -> Result<Ready, Errno> {
    let mut flags = PollFlags::empty();
    flags.set(PollFlags::IN, wants.read);
    flags.set(PollFlags::OUT, wants.write);
    let mut fds = [PollFd::from_borrowed_fd(stream, flags)];
    loop {
        let left = end.map(|end| end.saturating_duration_since(monotonic()));
        match os::poll(&mut fds, left) {
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
            Ok(_) => break,
        }
    }
    let [ready] = fds.map(|fd| fd.revents());
    let is = |flag| ready.intersects(flag | PollFlags::HUP | PollFlags::ERR);
    Ok(Ready {
        read: wants.read && is(PollFlags::IN),
        write: wants.write && is(PollFlags::OUT),
    })
}

/// Writes what the stream takes without waiting, and returns how much that is.
///
/// # Errors
///
/// Those of `send`.
pub(crate) fn write_now(stream: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, Errno> {
    match rustix::net::send(stream, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
        Err(Errno::AGAIN | Errno::INTR) => Ok(0),
        written => written,
    }
}

/// Reads what is there of the response, once, without waiting.
///
/// # Errors
///
/// [`ExchangeError::Io`] and [`ExchangeError::Http`].
pub(crate) fn read_now(
    stream: BorrowedFd<'_>,
    exchange: &mut Exchange<'_>,
) -> Result<(), ExchangeError> {
    let space = exchange.space().map_err(ExchangeError::Http)?;
    match recv(stream, spare_capacity(space), RecvFlags::DONTWAIT) {
        Ok((count, _)) => exchange.read(count).map_err(ExchangeError::Http),
        Err(Errno::AGAIN | Errno::INTR) => Ok(()),
        Err(error) => Err(ExchangeError::Io(error)),
    }
}

impl fmt::Display for ExchangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) | Self::Io(error) => f.write_str(&os::error_text(*error)),
            Self::Http(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ExchangeError {}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::shared::http::{Expect, Limits, Outgoing, Reader};

    #[test]
    fn a_request_is_written_and_its_response_read() {
        let (near, mut far) = UnixStream::pair().unwrap();
        // It fits the buffer of the socket, so no thread is needed.
        far.write_all(b"HTTP/1.1 202 \r\nContent-Length: 2\r\n\r\nok")
            .unwrap();
        let mut response = Reader::new(Expect::Response, Limits::of_body(64));
        let mut exchanging = Exchange::new(Outgoing::new(b"head", b"body"), &mut response);
        exchange(near.as_fd(), &mut exchanging).unwrap();
        assert_eq!(exchanging.close_reason(), None);
        assert_eq!(response.body(), b"ok");
        let mut request = [0; 8];
        far.read_exact(&mut request).unwrap();
        assert_eq!(&request, b"headbody");
    }

    #[test]
    fn an_answer_is_read_from_a_peer_that_takes_no_more() {
        let (near, mut far) = UnixStream::pair().unwrap();
        far.write_all(b"HTTP/1.1 413 \r\nContent-Length: 0\r\n\r\n")
            .unwrap();
        drop(far);
        let mut response = Reader::new(Expect::Response, Limits::of_body(64));
        let mut exchanging = Exchange::new(Outgoing::new(b"head", b"body"), &mut response);
        exchange(near.as_fd(), &mut exchanging).unwrap();
        assert!(exchanging.is_unsent());
        assert!(exchanging.close_reason().is_some());
        assert_eq!(response.status(), Some(413));
    }

    #[test]
    fn the_error_is_that_of_writing_when_there_is_no_answer() {
        let (near, far) = UnixStream::pair().unwrap();
        drop(far);
        let mut response = Reader::new(Expect::Response, Limits::of_body(64));
        let mut exchanging = Exchange::new(Outgoing::new(b"head", b"body"), &mut response);
        let error = exchange(near.as_fd(), &mut exchanging).unwrap_err();
        assert!(matches!(error, ExchangeError::Io(Errno::PIPE)), "{error}");
    }
}

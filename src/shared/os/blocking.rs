//! The blocking driver: opens connections, and moves bytes between them and the HTTP core.
//!
//! It asks the kernel directly: the errors of the standard library have to be sorted into kinds.

use std::fmt;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::{Errno, writev};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socket_with};

use crate::shared::http::{HttpError, Outgoing, Progress, Reader};
use crate::shared::os;

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

/// Opens a connection. With a timeout that is how long connecting may take, and each read and write:
/// <https://man7.org/linux/man-pages/man7/socket.7.html>, `SO_SNDTIMEO`.
///
/// # Errors
///
/// Those of `connect`.
pub(crate) fn connect(address: SocketAddr, timeout: Option<Duration>) -> Result<OwnedFd, Errno> {
    let stream = socket(address)?;
    if timeout.is_some() {
        set_socket_timeout(&stream, Timeout::Send, timeout)?;
        set_socket_timeout(&stream, Timeout::Recv, timeout)?;
    }
    rustix::net::connect(&stream, &address)?;
    Ok(stream)
}

/// Writes a message, head and body with one vectored write where the stream takes it.
///
/// # Errors
///
/// Those of the stream.
pub(crate) fn write(stream: BorrowedFd<'_>, mut message: Outgoing<'_>) -> Result<(), Errno> {
    while let Some([head, body]) = message.pending() {
        match writev(stream, &[IoSlice::new(head), IoSlice::new(body)]) {
            Ok(0) => return Err(Errno::PIPE),
            Ok(count) => message.wrote(count),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads a message to its end.
///
/// # Errors
///
/// [`ExchangeError`].
pub(crate) fn read(stream: BorrowedFd<'_>, message: &mut Reader) -> Result<(), ExchangeError> {
    loop {
        let space = message.space().map_err(ExchangeError::Http)?;
        let progress = match recv(stream, space, RecvFlags::empty()).map(|(count, _)| count) {
            Ok(0) => message.eof(),
            Ok(count) => message.filled(count),
            // A freeze can interrupt a system call.
            Err(Errno::INTR) => continue,
            Err(error) => return Err(ExchangeError::Io(error)),
        };
        if progress.map_err(ExchangeError::Http)? == Progress::Complete {
            return Ok(());
        }
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

//! The blocking driver: moves bytes between a socket and the HTTP core, and nothing else.
//!
//! It asks the kernel directly: the errors of the standard library have to be sorted into kinds.

use std::fmt;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;

use rustix::io::{Errno, writev};
use rustix::net::{RecvFlags, recv};

use super::http::{HttpError, Outgoing, Progress, Reader};

/// Why an exchange did not complete.
#[derive(Debug)]
pub(crate) enum ExchangeError {
    /// There is no connection, so nothing was sent.
    Connect(io::Error),
    /// The network failed.
    Io(io::Error),
    /// The peer broke the protocol or closed.
    Http(HttpError),
}

/// Writes a message, head and body with one vectored write where the stream takes it.
///
/// # Errors
///
/// Those of the stream.
pub(crate) fn write(stream: BorrowedFd<'_>, mut message: Outgoing<'_>) -> io::Result<()> {
    while let Some([head, body]) = message.pending() {
        match writev(stream, &[IoSlice::new(head), IoSlice::new(body)]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => message.wrote(count),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
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
            Err(error) => return Err(ExchangeError::Io(error.into())),
        };
        if progress.map_err(ExchangeError::Http)? == Progress::Complete {
            return Ok(());
        }
    }
}

impl fmt::Display for ExchangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) | Self::Io(error) => error.fmt(f),
            Self::Http(error) => error.fmt(f),
        }
    }
}

//! The blocking driver: moves bytes between a stream and the HTTP core, and nothing else.

use std::fmt;
use std::io::{self, IoSlice, Read, Write};

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
pub(crate) fn write(stream: &mut dyn Write, mut message: Outgoing<'_>) -> io::Result<()> {
    while let Some([head, body]) = message.pending() {
        match stream.write_vectored(&[IoSlice::new(head), IoSlice::new(body)]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => message.wrote(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
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
pub(crate) fn read(stream: &mut dyn Read, message: &mut Reader) -> Result<(), ExchangeError> {
    loop {
        let progress = match stream.read(message.space().map_err(ExchangeError::Http)?) {
            Ok(0) => message.eof(),
            Ok(count) => message.filled(count),
            // A freeze can interrupt a system call.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
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
            Self::Connect(error) | Self::Io(error) => error.fmt(f),
            Self::Http(error) => error.fmt(f),
        }
    }
}

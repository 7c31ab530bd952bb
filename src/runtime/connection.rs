//! The one connection to the Runtime API: opened when needed, kept, opened again when lost.

use std::net::SocketAddr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::set_tcp_nodelay;

use super::log;
use crate::shared::http::{Outgoing, Reader};
use crate::shared::log_record::Level;
use crate::shared::os::blocking::{self, ExchangeError};

/// A connection to the API, opened when it is first needed.
#[derive(Debug)]
pub(super) struct Connection {
    address: SocketAddr,
    stream: Option<OwnedFd>,
    /// How long to connect, or one read or write, may take; `None` for ever, as waiting for an event
    /// needs.
    timeout: Option<Duration>,
}

impl Connection {
    pub(super) const fn new(address: SocketAddr, timeout: Option<Duration>) -> Self {
        Self {
            address,
            stream: None,
            timeout,
        }
    }

    /// Closes the connection; the next exchange opens another.
    pub(super) fn close(&mut self) {
        self.stream = None;
    }

    /// Writes a request and reads its response. After an error the connection is closed.
    ///
    /// When writing fails the response is read all the same: a server that refuses a request may
    /// answer and close before it has read all of it.
    /// <https://www.rfc-editor.org/rfc/rfc9112#section-9.5>
    pub(super) fn exchange(
        &mut self,
        request: Outgoing<'_>,
        response: &mut Reader,
    ) -> Result<(), ExchangeError> {
        let outcome = self.attempt(request, response);
        if let Some(reason) = response.close_reason() {
            log::line(Level::Debug, reason.as_str());
            self.close();
        }
        outcome
    }

    fn attempt(
        &mut self,
        request: Outgoing<'_>,
        response: &mut Reader,
    ) -> Result<(), ExchangeError> {
        // First, so that a connection which cannot be opened leaves no earlier answer to be seen.
        response.reset();
        let stream = self.open().map_err(ExchangeError::Connect)?;
        let written = blocking::write(stream, request);
        match (blocking::read(stream, response), written) {
            (Ok(()), Ok(())) => Ok(()),
            (Ok(()), Err(_half_sent)) => {
                self.close();
                Ok(())
            }
            (Err(_), Err(error)) => Err(ExchangeError::Io(error)),
            (Err(error), Ok(())) => Err(error),
        }
    }

    fn open(&mut self) -> Result<BorrowedFd<'_>, Errno> {
        let stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = blocking::connect(self.address, self.timeout)?;
                // The end of a large message must not wait for an acknowledgement.
                set_tcp_nodelay(&stream, true)?;
                stream
            }
        };
        let stream: &OwnedFd = self.stream.insert(stream);
        Ok(stream.as_fd())
    }
}

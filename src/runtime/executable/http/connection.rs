//! A connection to the server. While it waits, the log of the server is written and its end is
//! noticed.

use std::io::IoSlice;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags};
use rustix::io::{Errno, ioctl_fionbio, writev};
use rustix::net::sockopt::{set_tcp_nodelay, socket_error};
use rustix::net::{RecvFlags, recv};

use super::super::child::{Waited, now};
use super::error::Cause;
use super::process::Process;
use crate::shared::http::{Exchange, HttpError, Reader};
use crate::shared::os;
use crate::shared::os::blocking;
#[cfg(test)]
use crate::shared::os::simulation;

/// A connection that is kept for the next request.
#[derive(Debug)]
pub(super) struct Connection {
    stream: OwnedFd,
    idle_since: Instant,
}

impl Connection {
    /// Connects before `end`.
    pub(super) fn open(
        server: &mut Process,
        address: SocketAddr,
        end: Option<Instant>,
    ) -> Result<Self, Cause> {
        #[cfg(test)]
        if let Some(system) = simulation::here() {
            let stream = system.connect(address).map_err(Cause::Connect)?;
            let idle_since = now();
            return Ok(Self { stream, idle_since });
        }
        let stream = blocking::socket(address).map_err(Cause::Connect)?;
        ioctl_fionbio(&stream, true).map_err(Cause::Connect)?;
        match rustix::net::connect(&stream, &address) {
            // With a full queue of connections even this machine takes its time.
            Err(Errno::INPROGRESS | Errno::INTR) => {
                wait(server, &stream, PollFlags::OUT, end)?;
                socket_error(&stream)
                    .and_then(|outcome| outcome)
                    .map_err(Cause::Connect)?;
            }
            outcome => outcome.map_err(Cause::Connect)?,
        }
        // The end of a large request must not wait for an acknowledgement.
        set_tcp_nodelay(&stream, true).map_err(Cause::Connect)?;
        let idle_since = now();
        Ok(Self { stream, idle_since })
    }

    /// True if the server is not known to have closed the connection, and has sent nothing that was
    /// not asked for. A server closes what is idle for longer than it likes, so a request could
    /// meet that.
    pub(super) fn is_usable(&self, idle_max: Duration) -> bool {
        let mut stream = [PollFd::new(&self.stream, PollFlags::IN)];
        let is_silent = os::poll(&mut stream, Some(Duration::ZERO)) == Ok(0);
        is_silent && now().saturating_duration_since(self.idle_since) < idle_max
    }

    /// Writes the request and reads the response, until that is complete or enough, and before
    /// `end`. After that, and after [`Cause::TimedOut`], it can go on.
    pub(super) fn carry(
        &mut self,
        server: &mut Process,
        exchange: &mut Exchange<'_>,
        is_enough: IsEnough<'_>,
        end: Option<Instant>,
    ) -> Result<(), Cause> {
        let mut exited = None;
        loop {
            // A server that always has something to read is not waited for.
            if end.is_some_and(|end| end <= now()) {
                return Err(Cause::TimedOut);
            }
            self.write(exchange)?;
            let is_drained = self.read(exchange, is_enough)?;
            if exchange.is_done() || is_enough(exchange.response()) {
                self.idle_since = now();
                return Ok(());
            }
            if !is_drained {
                continue;
            }
            // All that it wrote before it ended has been read by now.
            if let Some(status) = exited {
                return Err(Cause::Exited(status));
            }
            let direction = match exchange.pending() {
                Some(_) => PollFlags::IN | PollFlags::OUT,
                None => PollFlags::IN,
            };
            match wait(server, &self.stream, direction, end) {
                Err(Cause::Exited(status)) => exited = Some(status),
                outcome => outcome?,
            }
        }
    }

    /// Writes what the stream takes.
    fn write(&self, exchange: &mut Exchange<'_>) -> Result<(), Cause> {
        while let Some([head, body]) = exchange.pending() {
            match writev(&self.stream, &[IoSlice::new(head), IoSlice::new(body)]) {
                Ok(count) => exchange.wrote(count),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(error) if exchange.is_unsent() => return Err(Cause::Io(error)),
                // A server that refuses a request answers before it has read all of it.
                Err(_) => exchange.write_failed(),
            }
        }
        Ok(())
    }

    /// Reads what there is, but not for ever; true if that was all.
    fn read(&self, exchange: &mut Exchange<'_>, is_enough: IsEnough<'_>) -> Result<bool, Cause> {
        for _ in 0..READS_AT_ONCE {
            if exchange.is_done() || is_enough(exchange.response()) {
                break;
            }
            let space = exchange.space().map_err(Cause::Http)?;
            let outcome = match recv(&self.stream, spare_capacity(space), RecvFlags::empty()) {
                Ok((count, _)) => exchange.read(count),
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return Ok(true),
                Err(error) => return Err(Cause::Io(error)),
            };
            // The length in the head of a response to HEAD may be over the limit.
            match outcome {
                Err(HttpError::BodyTooLarge { .. }) if is_enough(exchange.response()) => {}
                outcome => outcome.map_err(Cause::Http)?,
            }
        }
        Ok(false)
    }
}

/// Reads between two looks at the time: some milliseconds, also of chunks of one byte.
const READS_AT_ONCE: u32 = 16;

/// Says of a response, as far as it has arrived, that no more is needed for now.
pub(super) type IsEnough<'a> = &'a dyn Fn(&Reader) -> bool;

/// Waits for the stream.
fn wait(
    server: &mut Process,
    stream: &OwnedFd,
    direction: PollFlags,
    end: Option<Instant>,
) -> Result<(), Cause> {
    match server.wait(Some((stream.as_fd(), direction)), end) {
        Ok(Waited::Ready) => Ok(()),
        Ok(Waited::Exited(status)) => Err(Cause::Exited(status)),
        Ok(Waited::TimedOut) => Err(Cause::TimedOut),
        Err(error) => Err(Cause::Process(error)),
    }
}

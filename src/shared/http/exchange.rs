//! One request and its response.
//!
//! The driver moves the bytes and nothing else. This is its whole loop, blocking or async:
//!
//! ```text
//! while let Some(slices) = exchange.pending() {
//!     match write(slices) {
//!         count => exchange.wrote(count),
//!         error => exchange.write_failed(),
//!     }
//! }
//! while !exchange.is_done() {
//!     let count = read(exchange.space()?);
//!     exchange.read(count)?;
//! }
//! ```
//!
//! After a failed write the response is read all the same: a server that refuses a request may
//! answer and close before it has read all of it.
//! <https://www.rfc-editor.org/rfc/rfc9112#section-9.5>.
//! A driver that waits for both directions at once may also read while it writes: once the
//! response is complete there is nothing left to write.
//!
//! The async driver may be dropped in the middle of the second loop, as when its time is over. The
//! bytes that came are in the [`Reader`]; [`Exchange::awaiting`] goes on from there.

use alloc::vec::Vec;

use super::body::CloseReason;
use super::error::HttpError;
use super::reader::{Progress, Reader};
use super::writer::Outgoing;

/// A request on its way out, and the response to it on its way in.
#[derive(Debug)]
pub(crate) struct Exchange<'a> {
    request: Outgoing<'a>,
    response: &'a mut Reader,
    /// Whether a byte of the request was written.
    is_begun: bool,
    write_failed: bool,
    is_done: bool,
}

impl<'a> Exchange<'a> {
    /// Begins an exchange of which nothing has been written. It forgets what `response` holds, so
    /// that an earlier response is not taken for the answer to this request.
    #[must_use]
    pub(crate) fn new(request: Outgoing<'a>, response: &'a mut Reader) -> Self {
        response.reset();
        Self {
            request,
            response,
            is_begun: false,
            write_failed: false,
            is_done: false,
        }
    }

    /// Goes on with an exchange whose request is on the wire already, and keeps what `response`
    /// holds of the answer.
    #[must_use]
    pub(crate) fn awaiting(response: &'a mut Reader) -> Self {
        Self {
            request: Outgoing::new(b"", b""),
            response,
            is_begun: true,
            write_failed: false,
            is_done: false,
        }
    }

    /// What to write next, for one vectored write; `None` when nothing is left to write.
    #[must_use]
    pub(crate) const fn pending(&self) -> Option<[&'a [u8]; 2]> {
        if self.write_failed || self.is_done {
            return None;
        }
        self.request.pending()
    }

    /// Takes note that `count` bytes of [`Exchange::pending`] were written.
    pub(crate) fn wrote(&mut self, count: usize) {
        self.is_begun |= count != 0;
        self.request.wrote(count);
    }

    /// Takes note that the rest of the request cannot be written.
    pub(crate) const fn write_failed(&mut self) {
        self.write_failed = true;
    }

    /// The buffer to read the response into, behind its end. There is room while the response is
    /// incomplete.
    ///
    /// # Errors
    ///
    /// [`HttpError::NoMemory`].
    pub(crate) fn space(&mut self) -> Result<&mut Vec<u8>, HttpError> {
        self.response.space()
    }

    /// Takes note that `count` bytes were read into [`Exchange::space`]; 0 says that the peer
    /// closed.
    ///
    /// # Errors
    ///
    /// What is wrong with the response.
    pub(crate) fn read(&mut self, count: usize) -> Result<(), HttpError> {
        let progress = match count {
            0 => self.response.eof()?,
            _ => self.response.advance()?,
        };
        self.is_done = progress == Progress::Complete;
        Ok(())
    }

    /// Whether the response is complete.
    #[must_use]
    pub(crate) const fn is_done(&self) -> bool {
        self.is_done
    }

    /// The response, as far as it has arrived.
    #[must_use]
    pub(crate) const fn response(&self) -> &Reader {
        self.response
    }

    /// Forgets the part of the body that has arrived.
    pub(crate) fn forget_body(&mut self) {
        self.response.forget_body();
    }

    /// Whether the peer cannot know of the request, so that it may be sent again. Otherwise, and
    /// without a status, nobody knows whether the peer has acted on it.
    #[must_use]
    pub(crate) const fn is_unsent(&self) -> bool {
        !self.is_begun
    }

    /// The status of the response, known before the response is complete.
    #[must_use]
    pub(crate) fn status(&self) -> Option<u16> {
        self.response.status()
    }

    /// Why the connection must not be used for another exchange; `None` when it may.
    #[must_use]
    pub(crate) fn close_reason(&self) -> Option<CloseReason> {
        if self.request.pending().is_some() {
            return Some(CloseReason::RequestCutOff);
        }
        self.response.close_reason()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Expect, Limits};
    use super::*;

    const HEAD: &[u8] = b"POST /response HTTP/1.1\r\nContent-Length: 4\r\n\r\n";
    const BODY: &[u8] = b"body";
    const ACCEPTED: &[u8] = b"HTTP/1.1 202 \r\nContent-Length: 2\r\n\r\nok";

    fn reader() -> Reader {
        Reader::new(Expect::Response, Limits::of_body(64))
    }

    fn request() -> Outgoing<'static> {
        Outgoing::new(HEAD, BODY)
    }

    /// Writes what is pending, at most `most` bytes at a time, and returns it.
    fn write_all(exchange: &mut Exchange<'_>, most: usize) -> Vec<u8> {
        let mut wire = Vec::new();
        while let Some(slices) = exchange.pending() {
            let bytes = slices.concat();
            let count = bytes.len().min(most);
            wire.extend_from_slice(&bytes[..count]);
            exchange.wrote(count);
        }
        wire
    }

    /// Reads the parts, as many as it takes until the exchange is done.
    fn read_all(exchange: &mut Exchange<'_>, parts: &[&[u8]]) -> Result<(), HttpError> {
        for part in parts {
            let mut rest = *part;
            while !rest.is_empty() && !exchange.is_done() {
                let space = exchange.space()?;
                let count = rest.len().min(space.capacity() - space.len());
                space.extend_from_slice(&rest[..count]);
                rest = &rest[count..];
                exchange.read(count)?;
            }
        }
        Ok(())
    }

    #[test]
    fn a_request_goes_out_whole_however_little_is_written_at_once() {
        let whole = [HEAD, BODY].concat();
        for most in 1..=whole.len() {
            let mut response = reader();
            let mut exchange = Exchange::new(request(), &mut response);
            assert!(exchange.is_unsent());
            assert_eq!(write_all(&mut exchange, most), whole, "{most} at a time");
            assert!(!exchange.is_unsent());
            assert!(!exchange.is_done());
        }
    }

    #[test]
    fn a_response_comes_in_whole_however_it_is_split() {
        let check = |parts: &[&[u8]]| {
            let mut response = reader();
            let mut exchange = Exchange::new(request(), &mut response);
            write_all(&mut exchange, usize::MAX);
            read_all(&mut exchange, parts).unwrap();
            assert!(exchange.is_done());
            assert_eq!(exchange.status(), Some(202));
            assert_eq!(exchange.close_reason(), None);
            assert_eq!(response.body(), b"ok");
        };
        check(&[ACCEPTED]);
        check(&ACCEPTED.chunks(1).collect::<Vec<_>>());
        for at in 0..ACCEPTED.len() {
            let (one, other) = ACCEPTED.split_at(at);
            check(&[one, other]);
        }
    }

    #[test]
    fn the_answer_to_a_failed_write_is_read() {
        let mut response = reader();
        let mut exchange = Exchange::new(request(), &mut response);
        exchange.wrote(HEAD.len());
        exchange.write_failed();
        assert_eq!(exchange.pending(), None);
        read_all(
            &mut exchange,
            &[b"HTTP/1.1 413 \r\nContent-Length: 0\r\n\r\n"],
        )
        .unwrap();
        assert!(exchange.is_done());
        assert!(!exchange.is_unsent());
        assert_eq!(exchange.status(), Some(413));
        assert_eq!(exchange.close_reason(), Some(CloseReason::RequestCutOff));
    }

    #[test]
    fn nothing_is_written_after_an_early_answer() {
        let mut response = reader();
        let mut exchange = Exchange::new(request(), &mut response);
        exchange.wrote(1);
        read_all(&mut exchange, &[ACCEPTED]).unwrap();
        assert_eq!(exchange.pending(), None);
        assert_eq!(exchange.close_reason(), Some(CloseReason::RequestCutOff));
    }

    #[test]
    fn a_request_of_which_nothing_was_written_may_be_sent_again() {
        let mut response = reader();
        let mut exchange = Exchange::new(request(), &mut response);
        exchange.write_failed();
        assert_eq!(exchange.read(0), Err(HttpError::Closed));
        assert!(exchange.is_unsent());
        assert_eq!(exchange.status(), None);
    }

    #[test]
    fn a_peer_that_closes_ends_the_response_or_breaks_it() {
        let until_close = b"HTTP/1.1 200 \r\n\r\nall";
        let mut response = reader();
        let mut exchange = Exchange::new(request(), &mut response);
        write_all(&mut exchange, usize::MAX);
        read_all(&mut exchange, &[until_close]).unwrap();
        assert!(!exchange.is_done());
        exchange.read(0).unwrap();
        assert!(exchange.is_done());
        assert_eq!(exchange.close_reason(), Some(CloseReason::BodyUntilClose));

        for length in 0..ACCEPTED.len() {
            let mut response = reader();
            let mut exchange = Exchange::new(request(), &mut response);
            write_all(&mut exchange, usize::MAX);
            read_all(&mut exchange, &[&ACCEPTED[..length]]).unwrap();
            let error = match length {
                0 => HttpError::Closed,
                received => HttpError::Truncated { received },
            };
            assert_eq!(exchange.read(0), Err(error));
            assert!(!exchange.is_done());
            assert_eq!(exchange.close_reason(), Some(CloseReason::Incomplete));
        }
    }

    #[test]
    fn interim_responses_are_skipped() {
        let mut response = reader();
        let mut exchange = Exchange::new(request(), &mut response);
        write_all(&mut exchange, usize::MAX);
        read_all(&mut exchange, &[b"HTTP/1.1 100 \r\n\r\n"]).unwrap();
        assert_eq!(exchange.status(), None);
        read_all(&mut exchange, &[ACCEPTED]).unwrap();
        assert_eq!(exchange.status(), Some(202));
        assert!(exchange.is_done());
    }

    #[test]
    fn the_status_is_known_before_the_response_is_complete() {
        let status_line = b"HTTP/1.1 202 \r\n";
        for length in 0..ACCEPTED.len() {
            let mut response = reader();
            let mut exchange = Exchange::new(request(), &mut response);
            write_all(&mut exchange, usize::MAX);
            read_all(&mut exchange, &[&ACCEPTED[..length]]).unwrap();
            let expected = (status_line.len() <= length).then_some(202);
            assert_eq!(exchange.status(), expected, "{length} bytes");
        }
    }

    #[test]
    fn an_exchange_goes_on_with_a_request_that_is_on_the_wire() {
        for at in 0..ACCEPTED.len() {
            let (before, after) = ACCEPTED.split_at(at);
            let mut response = reader();
            let mut exchange = Exchange::new(request(), &mut response);
            write_all(&mut exchange, usize::MAX);
            read_all(&mut exchange, &[before]).unwrap();

            let mut exchange = Exchange::awaiting(&mut response);
            assert_eq!(exchange.pending(), None);
            assert!(!exchange.is_unsent());
            read_all(&mut exchange, &[after]).unwrap();
            assert!(exchange.is_done());
            assert_eq!(exchange.close_reason(), None);
        }
    }

    #[test]
    fn a_part_of_the_body_is_forgotten() {
        let mut response = reader();
        let mut exchange = Exchange::new(request(), &mut response);
        write_all(&mut exchange, usize::MAX);
        let (part, rest) = ACCEPTED.split_at(ACCEPTED.len() - 1);
        read_all(&mut exchange, &[part]).unwrap();
        exchange.forget_body();
        read_all(&mut exchange, &[rest]).unwrap();
        assert!(exchange.is_done());
        assert_eq!(response.body(), b"k");
    }

    #[test]
    fn an_earlier_response_is_not_the_answer_to_this_request() {
        let mut response = reader();
        let mut first = Exchange::new(request(), &mut response);
        write_all(&mut first, usize::MAX);
        read_all(&mut first, &[ACCEPTED]).unwrap();
        let second = Exchange::new(request(), &mut response);
        assert_eq!(second.status(), None);
        assert!(!second.is_done());
    }
}

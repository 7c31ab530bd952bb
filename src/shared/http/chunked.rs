//! A message out whose length nobody knows when it begins: a head, chunks, and trailers at the end.
//!
//! <https://www.rfc-editor.org/rfc/rfc9112#section-7.1>

use alloc::vec::Vec;

use super::writer::HeadWriter;
use crate::shared::text::push;

/// A message that is written while its body is still being made.
///
/// Data is gathered in the open chunk. [`ChunkedWriter::seal`] completes that chunk, and only what
/// is complete is [pending](ChunkedWriter::pending), so the peer never waits inside a chunk for
/// data that does not exist yet.
#[derive(Debug)]
pub(crate) struct ChunkedWriter {
    /// The head and the chunks from `written` to `complete`, and behind them the open chunk with
    /// its size line.
    out: Vec<u8>,
    written: usize,
    complete: usize,
    /// Bytes of data that a chunk holds.
    chunk_bytes_max: usize,
    is_ended: bool,
}

impl ChunkedWriter {
    /// A message of which nothing is written yet. `head` is whole, and says
    /// `Transfer-Encoding: chunked`. A chunk holds at most `chunk_bytes_max` bytes of data, which
    /// is less than 16 MiB.
    #[must_use]
    pub(crate) fn new(head: Vec<u8>, chunk_bytes_max: usize) -> Self {
        let complete = head.len();
        Self {
            out: head,
            written: 0,
            complete,
            chunk_bytes_max,
            is_ended: false,
        }
    }

    /// Takes as much of `data` as the open chunk has room for, and returns how much that is.
    pub(crate) fn push(&mut self, data: &[u8]) -> usize {
        if self.out.len() == self.complete {
            push(&mut self.out, SIZE_LINE);
        }
        let room = self.chunk_bytes_max.saturating_sub(self.open_bytes());
        let data = data.get(..room).unwrap_or(data);
        self.out.extend_from_slice(data);
        data.len()
    }

    /// Bytes of data in the open chunk.
    fn open_bytes(&self) -> usize {
        (self.out.len() - self.complete).saturating_sub(SIZE_LINE.len())
    }

    /// Whether the open chunk has no room left.
    #[must_use]
    pub(crate) fn is_full(&self) -> bool {
        self.chunk_bytes_max <= self.open_bytes()
    }

    /// Completes the open chunk. Without data there is no chunk: an empty one would end the body.
    pub(crate) fn seal(&mut self) {
        let mut size = self.open_bytes();
        if size == 0 {
            self.out.truncate(self.complete);
            return;
        }
        // The size has a fixed width, so that it is written in front of data that is there already.
        for digit in self
            .out
            .iter_mut()
            .skip(self.complete)
            .take(SIZE_DIGITS)
            .rev()
        {
            *digit = HEXADECIMAL.get(size % 16).copied().unwrap_or_default();
            size /= 16;
        }
        push(&mut self.out, "\r\n");
        self.complete = self.out.len();
    }

    /// Completes the message, with these trailers.
    pub(crate) fn end(&mut self, trailers: &[(&'static str, &[u8])]) {
        self.seal();
        let mut section = HeadWriter::trailers(&mut self.out);
        for (name, value) in trailers {
            section = section.field(name, value);
        }
        section.end();
        self.complete = self.out.len();
        self.is_ended = true;
    }

    /// Whether the message is complete.
    #[must_use]
    pub(crate) const fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// What is complete and not written yet.
    #[must_use]
    pub(crate) fn pending(&self) -> &[u8] {
        self.out
            .get(self.written..self.complete)
            .unwrap_or_default()
    }

    /// Takes note that `count` bytes of [`ChunkedWriter::pending`] were written.
    pub(crate) fn wrote(&mut self, count: usize) {
        self.written += count;
        if self.written == self.complete {
            // The memory is used again for the next chunk.
            self.out.drain(..self.complete);
            self.written = 0;
            self.complete = 0;
        }
    }
}

const SIZE_DIGITS: usize = 6;

/// The size line of an open chunk, whose digits are not known yet.
const SIZE_LINE: &str = "000000\r\n";

const HEXADECIMAL: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::super::{Expect, Limits, Progress, Reader};
    use super::*;

    const HEAD: &[u8] = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";

    fn message(chunk_bytes_max: usize) -> ChunkedWriter {
        ChunkedWriter::new(HEAD.to_vec(), chunk_bytes_max)
    }

    /// Takes what is pending, at most `most` bytes at a time.
    fn take(message: &mut ChunkedWriter, most: usize) -> Vec<u8> {
        let mut wire = Vec::new();
        while !message.pending().is_empty() {
            let count = message.pending().len().min(most);
            wire.extend_from_slice(&message.pending()[..count]);
            message.wrote(count);
        }
        wire
    }

    /// Pushes the data, however many chunks it takes, and takes each chunk that is complete.
    fn push_all(message: &mut ChunkedWriter, mut data: &[u8], most: usize) -> Vec<u8> {
        let mut wire = Vec::new();
        while !data.is_empty() {
            data = &data[message.push(data)..];
            if message.is_full() {
                message.seal();
                wire.extend(take(message, most));
            }
        }
        wire
    }

    #[test]
    fn the_bytes_are_those_of_the_standard() {
        let mut message = message(10);
        assert_eq!(message.pending(), HEAD);
        assert_eq!(message.push(b"abc"), 3);
        assert_eq!(message.pending(), HEAD, "an open chunk is not written");
        message.seal();
        let first = [HEAD, b"000003\r\nabc\r\n"].concat();
        assert_eq!(take(&mut message, usize::MAX), first);
        assert_eq!(message.push(b"0123456789ABCDEF"), 10);
        assert!(message.is_full());
        assert_eq!(message.push(b"A"), 0);
        assert_eq!(message.pending(), b"");
        message.end(&[("A", b"1"), ("B", b"x\r\ny")]);
        assert!(message.is_ended());
        assert_eq!(
            take(&mut message, usize::MAX),
            b"00000a\r\n0123456789\r\n0\r\nA: 1\r\nB: x  y\r\n\r\n"
        );
    }

    #[test]
    fn a_message_without_data_has_no_chunk_but_the_last() {
        let mut message = message(10);
        message.push(b"");
        message.seal();
        message.seal();
        assert_eq!(take(&mut message, usize::MAX), HEAD);
        message.push(b"");
        message.end(&[]);
        assert_eq!(take(&mut message, usize::MAX), b"0\r\n\r\n");
    }

    #[test]
    fn the_same_bytes_go_out_however_they_are_written_and_taken() {
        let data = b"the data of some chunks";
        let mut whole = message(8);
        let mut expected = push_all(&mut whole, data, usize::MAX);
        whole.end(&[]);
        expected.extend(take(&mut whole, usize::MAX));
        let wire = "000008\r\nthe data\r\n000008\r\n of some\r\n000007\r\n chunks\r\n0\r\n\r\n";
        assert_eq!(expected, [HEAD, wire.as_bytes()].concat());
        for at in 0..=data.len() {
            for most in [1, 2, 7, usize::MAX] {
                let mut message = message(8);
                let mut wire = push_all(&mut message, &data[..at], most);
                wire.extend(push_all(&mut message, &data[at..], most));
                message.end(&[]);
                wire.extend(take(&mut message, most));
                assert_eq!(wire, expected, "split at {at}, {most} at a time");
            }
        }
        let mut bytes = message(8);
        let mut wire = Vec::new();
        for byte in data {
            wire.extend(push_all(&mut bytes, &[*byte], 1));
        }
        bytes.end(&[]);
        wire.extend(take(&mut bytes, 1));
        assert_eq!(wire, expected, "byte by byte");
    }

    #[test]
    fn a_message_can_be_ended_wherever_its_writing_stopped() {
        let wire = [HEAD, b"000003\r\nabc\r\n"].concat();
        for at in 0..=wire.len() {
            let mut message = message(10);
            message.push(b"abc");
            message.seal();
            message.wrote(at);
            message.push(b"de");
            message.end(&[("A", b"1")]);
            let rest = [&wire[at..], b"000002\r\nde\r\n0\r\nA: 1\r\n\r\n"].concat();
            assert_eq!(take(&mut message, usize::MAX), rest, "{at} bytes written");
        }
    }

    #[test]
    fn a_reader_reads_what_was_written() {
        let data: Vec<u8> = (0..=255).cycle().take(100_000).collect();
        let mut message = message(64 * 1024);
        let mut wire = push_all(&mut message, &data, usize::MAX);
        message.end(&[("A", b"1")]);
        wire.extend(take(&mut message, usize::MAX));
        let mut reader = Reader::new(Expect::Request, Limits::of_body(data.len()));
        let mut progress = Progress::Partial;
        let mut rest = &wire[..];
        while progress == Progress::Partial {
            progress = reader.read_from(&mut rest).unwrap();
        }
        assert_eq!(reader.body(), data);
        assert_eq!(rest, b"");
    }

    #[test]
    fn memory_does_not_grow_with_the_message() {
        let mut message = message(100);
        push_all(&mut message, &[b'x'; 1_000], 7);
        let capacity = message.out.capacity();
        push_all(&mut message, &[b'x'; 100_000], 7);
        assert_eq!(message.out.capacity(), capacity);
    }

    #[test]
    fn a_message_has_ended_once_its_last_chunk_is_written() {
        let mut message = ChunkedWriter::new(Vec::new(), 64);
        assert!(!message.is_ended());
        message.push(b"data");
        assert!(!message.is_ended());
        message.end(&[]);
        assert!(message.is_ended());
    }
}

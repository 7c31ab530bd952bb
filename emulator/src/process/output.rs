//! The standard output and error of a process, handed on line by line.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};

use rustix::io::Errno;
use tokio::net::unix::pipe::Receiver;
use tokio::task::yield_now;

use crate::lock::lock;

/// Takes each line, without its newline.
type Sink = Box<dyn Fn(&str) + Send + Sync>;

/// Both streams of one process.
pub(crate) struct Output {
    streams: [Stream; 2],
    sink: Sink,
}

#[derive(Debug)]
struct Stream {
    pipe: Receiver,
    lines: Mutex<LineBuffer>,
}

impl Output {
    /// Two pipes whose lines go to `sink`, and the ends for the process.
    pub(crate) fn pipes(
        sink: impl Fn(&str) + Send + Sync + 'static,
    ) -> io::Result<(Self, [OwnedFd; 2])> {
        let (stdout, stdout_end) = io::pipe()?;
        let (stderr, stderr_end) = io::pipe()?;
        let output = Self {
            streams: [Stream::new(stdout.into())?, Stream::new(stderr.into())?],
            sink: Box::new(sink),
        };
        Ok((output, [stdout_end.into(), stderr_end.into()]))
    }

    /// Reads both streams until every process that has them open is gone.
    pub(crate) async fn pump(self: Arc<Self>) {
        let [stdout, stderr] = &self.streams;
        tokio::join!(stdout.pump(&self.sink), stderr.pump(&self.sink));
    }

    /// Reads the output so far, so that it comes before the platform's next line.
    pub(crate) fn drain(&self) {
        for stream in &self.streams {
            stream.drain(&self.sink);
        }
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("streams", &self.streams)
            .finish_non_exhaustive()
    }
}

impl Stream {
    fn new(descriptor: OwnedFd) -> io::Result<Self> {
        // The pipe's other end has its own flags: the process keeps a blocking stdout.
        Ok(Self {
            pipe: Receiver::from_owned_fd(descriptor)?,
            lines: Mutex::default(),
        })
    }

    async fn pump(&self, sink: &Sink) {
        while self.pipe.readable().await.is_ok() {
            // This read tells the event loop when the pipe is empty; the one in `drain` cannot.
            let mut buffer = [0; 1_024];
            match self.pipe.try_read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => {
                    let read = buffer.get(..n).unwrap_or_default();
                    lock(&self.lines).push(read, sink);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(_) => break,
            }
            self.drain(sink);
            // A function that writes without end must not keep everybody else from running.
            yield_now().await;
        }
        lock(&self.lines).finish(sink);
    }

    /// Reads until nothing is left, or as much as a pipe holds. Not through the event loop, which
    /// may not have seen the latest bytes yet, or the end: it ends the last line, too.
    fn drain(&self, sink: &Sink) {
        let mut buffer = [0; 8_192];
        let mut lines = lock(&self.lines);
        for _ in 0..=PIPE_BYTES / buffer.len() {
            match rustix::io::read(&self.pipe, &mut buffer) {
                Ok(0) => {
                    lines.finish(sink);
                    break;
                }
                Ok(n) => lines.push(buffer.get(..n).unwrap_or_default(), sink),
                Err(Errno::INTR) => {}
                Err(_) => break,
            }
        }
    }
}

/// Bytes of a process's output, split into lines.
#[derive(Debug, Default)]
pub(super) struct LineBuffer {
    /// A line that has not ended yet.
    bytes: Vec<u8>,
}

impl LineBuffer {
    /// Adds bytes and hands out every line they complete, without its newline.
    pub(super) fn push(&mut self, mut bytes: &[u8], line: impl Fn(&str)) {
        while let Some(length) = bytes.iter().position(|byte| *byte == b'\n') {
            let (end, rest) = bytes.split_at(length);
            self.bytes.extend_from_slice(end);
            line(&String::from_utf8_lossy(&self.bytes));
            self.bytes.clear();
            bytes = rest.get(1..).unwrap_or_default();
        }
        self.bytes.extend_from_slice(bytes);
        while self.bytes.len() > LINE_BYTES_MAX {
            let end = character_boundary(&self.bytes, LINE_BYTES_MAX);
            line(&String::from_utf8_lossy(
                self.bytes.get(..end).unwrap_or_default(),
            ));
            self.bytes.drain(..end);
        }
    }

    /// Hands out what is left, if anything is.
    pub(super) fn finish(&mut self, line: impl Fn(&str)) {
        if !self.bytes.is_empty() {
            line(&String::from_utf8_lossy(&self.bytes));
            self.bytes.clear();
        }
    }
}

/// The last place at or before `at` that is not inside a UTF-8 character. Bytes that are no UTF-8
/// are split at `at`.
fn character_boundary(bytes: &[u8], at: usize) -> usize {
    let is_boundary = |at: &usize| {
        let byte = bytes.get(*at).copied().unwrap_or_default();
        byte & 0b1100_0000 != 0b1000_0000
    };
    (at.saturating_sub(3)..=at)
        .rev()
        .find(is_boundary)
        .unwrap_or(at)
}

/// The default capacity of a pipe (pipe(7)).
const PIPE_BYTES: usize = 64 * 1_024;
/// The longest line of the log: `CloudWatch` takes events up to 1 MB. Without a limit a process
/// that writes no newline would take all memory.
const LINE_BYTES_MAX: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn lines_are_the_same_however_the_bytes_are_split() {
        let text = b"one\n\ntwo\r\nthr";
        for at in 0..=text.len() {
            let mut buffer = LineBuffer::default();
            let lines = RefCell::new(Vec::new());
            let push = |line: &str| lines.borrow_mut().push(line.to_owned());
            buffer.push(&text[..at], push);
            buffer.push(&text[at..], push);
            assert_eq!(*lines.borrow(), ["one", "", "two\r"], "split at {at}");
            buffer.finish(push);
            assert_eq!(lines.borrow().last().unwrap(), "thr");
        }
    }

    #[test]
    fn a_line_without_end_is_split_between_characters() {
        let text = "x".to_owned() + &"\u{e9}".repeat(LINE_BYTES_MAX);
        let mut buffer = LineBuffer::default();
        let lines = RefCell::new(Vec::new());
        let push = |line: &str| lines.borrow_mut().push(line.to_owned());
        for chunk in text.as_bytes().chunks(8_191) {
            buffer.push(chunk, push);
            assert!(buffer.bytes.len() <= LINE_BYTES_MAX);
        }
        buffer.finish(push);
        let lines = lines.into_inner();
        assert_eq!(lines[0].len(), LINE_BYTES_MAX - 1);
        assert_eq!(lines.concat(), text);
    }

    /// The last words of a process that was killed belong before what the platform says of it.
    #[tokio::test]
    async fn a_line_that_no_process_ends_any_more_is_read_with_the_end() {
        let said = Arc::new(Mutex::new(Vec::new()));
        let sink = {
            let said = Arc::clone(&said);
            move |line: &str| lock(&said).push(line.to_owned())
        };
        let (output, [stdout, stderr]) = Output::pipes(sink).unwrap();
        let full = [b'x'; PIPE_BYTES];
        assert_eq!(rustix::io::write(&stdout, b"closing"), Ok(7));
        assert_eq!(rustix::io::write(&stderr, &full), Ok(PIPE_BYTES));
        output.drain();
        assert_eq!(*lock(&said), [""; 0], "both may go on");
        assert_eq!(rustix::io::write(&stderr, &full), Ok(PIPE_BYTES));
        drop((stdout, stderr));
        output.drain();
        assert_eq!(
            *lock(&said),
            ["closing".to_owned(), "x".repeat(2 * PIPE_BYTES)]
        );
        output.drain();
        assert_eq!(lock(&said).len(), 2);
    }
}

//! Lines to a descriptor whose reader may hang: a full pipe must hold up neither events nor the end.
//!
//! The descriptor is left as it is. `O_NONBLOCK` belongs to the open file, which others may have
//! too: on Lambda nobody else writes to an extension's standard output, but a tool may start us on
//! its own. So each write waits for room first, and is no longer than the room that is then there:
//! a pipe that is ready takes `PIPE_BUF` bytes, <https://man7.org/linux/man-pages/man7/pipe.7.html>.
//! A line of up to that many is written at once and whole.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use crate::extension::clock::{self, Instant};
use crate::shared::os;

/// What is known of a reader.
#[derive(Debug, Default)]
pub(in crate::extension) struct Sink {
    /// A line was written in part: the next one begins with a line end.
    is_torn: bool,
    /// It took nothing for as long as was waited. Until it does it is not waited for.
    is_stuck: bool,
}

impl Sink {
    /// Waits for the reader again, even if it hung before.
    pub(in crate::extension) const fn forgive(&mut self) {
        self.is_stuck = false;
    }

    /// Writes a line, which ends as one, until `end`. Whether all of it was written.
    pub(in crate::extension) fn write(
        &mut self,
        to: BorrowedFd<'_>,
        line: &[u8],
        end: Instant,
    ) -> bool {
        if self.is_torn && self.part(to, b"\n", end) == 0 {
            return false;
        }
        let written = self.part(to, line, end);
        self.is_torn = (1..line.len()).contains(&written);
        written == line.len()
    }

    /// How much of `bytes` was written.
    fn part(&mut self, to: BorrowedFd<'_>, bytes: &[u8], end: Instant) -> usize {
        let mut written = 0;
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            let mut left = end.saturating_duration_since(clock::monotonic());
            if self.is_stuck {
                left = Duration::ZERO;
            }
            // An error shows as readiness, and is then that of the write.
            let mut room = [PollFd::from_borrowed_fd(to, PollFlags::OUT)];
            match os::poll(&mut room, Some(left)) {
                Ok(0) => {
                    self.is_stuck = true;
                    break;
                }
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(_) => break,
            }
            match rustix::io::write(to, rest.get(..PIPE_BUF).unwrap_or(rest)) {
                Ok(0) => break,
                Ok(count) => {
                    self.is_stuck = false;
                    written += count;
                }
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(_) => break,
            }
        }
        written
    }
}

const PIPE_BUF: usize = 4_096;

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read as _;
    use std::os::fd::AsFd as _;

    use super::*;

    fn soon() -> Instant {
        clock::monotonic() + Duration::from_millis(20)
    }

    fn line(bytes: usize) -> Vec<u8> {
        let mut line = vec![b'x'; bytes - 1];
        line.push(b'\n');
        line
    }

    /// Lines until one does not fit; how many did.
    fn fill(sink: &mut Sink, to: BorrowedFd<'_>, line: &[u8]) -> usize {
        (0..100_000)
            .take_while(|_| sink.write(to, line, soon()))
            .count()
    }

    #[test]
    fn a_reader_that_hangs_costs_lines_and_no_time() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut sink = Sink::default();
        let written = fill(&mut sink, writer.as_fd(), &line(1_000));
        assert!(0 < written);
        assert!(sink.is_stuck && !sink.is_torn);
        // Not waited for again, however much time there is.
        let for_ever = clock::monotonic() + Duration::from_secs(100_000);
        assert!(!sink.write(writer.as_fd(), &line(1_000), for_ever));
        let mut read = vec![0; 60_000];
        reader.read_exact(&mut read).unwrap();
        assert!(sink.write(writer.as_fd(), b"{}\n", soon()));
        assert!(!sink.is_stuck);
        drop(writer);
        reader.read_to_end(&mut read).unwrap();
        assert_eq!(read.len(), written * 1_000 + 3);
        assert!(read.ends_with(b"x\n{}\n"));
    }

    #[test]
    fn a_line_after_one_that_was_cut_is_whole() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut sink = Sink::default();
        let long = line(1 << 20);
        assert!(!sink.write(writer.as_fd(), &long, soon()));
        assert!(sink.is_torn);
        assert!(!sink.write(writer.as_fd(), b"lost\n", soon()));
        let mut read = vec![0; 60_000];
        reader.read_exact(&mut read).unwrap();
        sink.forgive();
        assert!(sink.write(writer.as_fd(), b"{\"a\":1}\n", soon()));
        drop(writer);
        let mut rest = String::new();
        reader.read_to_string(&mut rest).unwrap();
        assert_eq!(rest.trim_start_matches('x'), "\n{\"a\":1}\n");
    }

    #[test]
    fn long_lines_reach_a_reader_that_reads() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let long = line(1 << 20);
        let reading = std::thread::spawn(move || {
            let mut read = Vec::new();
            reader.read_to_end(&mut read).unwrap();
            read
        });
        let end = clock::monotonic() + Duration::from_secs(100);
        assert!(Sink::default().write(writer.as_fd(), &long, end));
        drop(writer);
        assert_eq!(reading.join().unwrap(), long);
    }

    #[test]
    fn a_reader_that_is_gone_and_a_full_disk_lose_the_line() {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert!(!Sink::default().write(writer.as_fd(), b"{}\n", soon()));
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut sink = Sink::default();
        assert!(!sink.write(full.as_fd(), b"{}\n", soon()));
        assert!(!sink.is_torn && !sink.is_stuck);
    }
}

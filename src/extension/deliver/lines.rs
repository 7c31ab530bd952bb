//! Whole lines to a descriptor whose reader may hang: a full pipe must hold up neither an answer
//! nor the end.
//!
//! The descriptor is left as it is. `O_NONBLOCK` belongs to the open file, which others may have
//! too: on Lambda nobody else writes to an extension's standard output, but a tool may start us on
//! its own. So each write waits for room first, and is no longer than the room that is then there:
//! a pipe that is ready takes `PIPE_BUF` bytes, <https://man7.org/linux/man-pages/man7/pipe.7.html>.
//! A line of up to that many is written at once and whole.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use async_io::{Async, Timer};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::extension::export::losses::{Ledger, Losses, Told};
use crate::extension::io::Notify;
use crate::shared::os;

/// Writes as much of `bytes` as there is room for now; the number of bytes that were written.
///
/// # Errors
///
/// The reader is gone, or the disk is full, after this many bytes.
pub(in crate::extension) fn write_ready(
    to: BorrowedFd<'_>,
    bytes: &[u8],
) -> Result<usize, (usize, Errno)> {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        // An error shows as readiness, and the write then returns it.
        let mut room = [PollFd::from_borrowed_fd(to, PollFlags::OUT)];
        match os::poll(&mut room, Some(Duration::ZERO)) {
            Ok(0) | Err(Errno::AGAIN) => break,
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(error) => return Err((written, error)),
        }
        match rustix::io::write(to, rest.get(..PIPE_BUF).unwrap_or(rest)) {
            Ok(0) | Err(Errno::AGAIN) => break,
            Ok(count) => written += count,
            Err(Errno::INTR) => {}
            Err(error) => return Err((written, error)),
        }
    }
    Ok(written)
}

/// A line that waits for its reader.
#[derive(Debug)]
struct Line {
    bytes: Vec<u8>,
    written: usize,
    /// The losses that it tells.
    tells: Losses,
}

/// Lines for standard output. What the reader does not take at once is written by a task when it
/// does, so that nothing else waits for it.
#[derive(Debug)]
pub(in crate::extension) struct Lines {
    to: BorrowedFd<'static>,
    pub(super) told: Told,
    waiting: RefCell<VecDeque<Line>>,
    /// Whether a line was written in part and lost: the next one begins with a line end.
    is_torn: Cell<bool>,
    changed: Notify,
}

impl Lines {
    pub(in crate::extension) fn new(to: BorrowedFd<'static>, ledger: Rc<Ledger>) -> Self {
        Self {
            to,
            told: Told::new(ledger),
            waiting: RefCell::default(),
            is_torn: Cell::default(),
            changed: Notify::default(),
        }
    }

    /// Writes a line, which ends as one, behind those that wait.
    pub(in crate::extension) fn push(&self, line: &[u8], tells: Losses) {
        let line = Line {
            bytes: line.to_vec(),
            written: 0,
            tells,
        };
        let mut waiting = self.waiting.borrow_mut();
        let bytes: usize = waiting.iter().map(|line| line.bytes.len()).sum();
        if !waiting.is_empty() && WAITING_BYTES_MAX < bytes + line.bytes.len() {
            self.lose(&line);
            return;
        }
        waiting.push_back(line);
        drop(waiting);
        self.write();
        self.changed.notify();
    }

    /// Writes what there is room for. A line that fails is lost, and the next one is tried.
    fn write(&self) {
        let mut waiting = self.waiting.borrow_mut();
        while let Some(line) = waiting.front_mut() {
            if self.is_torn.get() {
                match write_ready(self.to, b"\n") {
                    Ok(0) => return,
                    outcome => self.is_torn.set(outcome.is_err()),
                }
            }
            let rest = line.bytes.get(line.written..).unwrap_or_default();
            match write_ready(self.to, rest) {
                Ok(count) if count == rest.len() => {}
                Ok(count) => {
                    line.written += count;
                    return;
                }
                Err((count, _)) => {
                    line.written += count;
                    self.lose(line);
                }
            }
            waiting.pop_front();
        }
    }

    fn lose(&self, line: &Line) {
        if line.written != 0 {
            self.is_torn.set(true);
        }
        self.told.lose(Losses::line(line.bytes.len()), line.tells);
    }

    /// Writes the lines that wait whenever the reader takes some, for ever.
    #[expect(clippy::infinite_loop, reason = "it ends with the process")]
    pub(in crate::extension) async fn write_out(&self) {
        loop {
            self.changed
                .until(|| !self.waiting.borrow().is_empty())
                .await;
            // It is registered only while somebody waits for it. That fails for files, which are
            // always ready, so then there is nothing to wait for.
            match Async::new_nonblocking(self.to) {
                Ok(to) => drop(to.writable().await),
                Err(_) => drop(Timer::after(RETRY).await),
            }
            self.write();
            self.changed.notify();
        }
    }

    /// Waits until all lines are written or lost.
    pub(in crate::extension) async fn written(&self) {
        self.changed
            .until(|| self.waiting.borrow().is_empty())
            .await;
    }

    /// Drops and counts the lines that wait.
    pub(in crate::extension) fn lose_all(&self) {
        for line in self.waiting.take() {
            self.lose(&line);
        }
    }

    /// Forgets what was told before a restore, and the lines that wait since then: every
    /// environment of the snapshot has them. One that was begun is ended.
    pub(in crate::extension) fn forget(&self) {
        self.told.forget();
        let mut waiting = self.waiting.borrow_mut();
        waiting.retain(|line| line.written != 0);
        for line in &mut *waiting {
            line.tells = Losses::default();
        }
        self.changed.notify();
    }
}

/// Lines for a file, which is opened for each: it may be moved away or removed meanwhile.
#[derive(Debug)]
pub(in crate::extension) struct FileLines {
    pub(super) path: String,
    pub(super) told: Told,
    /// Whether a line was written in part: the next one begins with a line end.
    is_torn: bool,
}

impl FileLines {
    pub(in crate::extension) fn new(path: String, ledger: Rc<Ledger>) -> Self {
        Self {
            path,
            told: Told::new(ledger),
            is_torn: false,
        }
    }

    /// Writes a line, which ends as one. A named pipe that has no room for it loses it.
    ///
    /// # Errors
    ///
    /// The reason for which the line was lost; it is counted.
    pub(in crate::extension) fn push(&mut self, line: &[u8], tells: Losses) -> Result<(), Errno> {
        let written = self.write(line);
        if written.is_err() {
            self.told.lose(Losses::line(line.len()), tells);
        }
        written
    }

    fn write(&mut self, line: &[u8]) -> Result<(), Errno> {
        let file = self.open()?;
        if self.is_torn {
            match write_ready(file.as_fd(), b"\n") {
                Ok(0) => return Err(Errno::AGAIN),
                Ok(_) => self.is_torn = false,
                Err((_, error)) => return Err(error),
            }
        }
        let (written, outcome) = match write_ready(file.as_fd(), line) {
            Ok(written) if written == line.len() => return Ok(()),
            Ok(written) => (written, Errno::AGAIN),
            Err(failed) => failed,
        };
        self.is_torn = written != 0;
        Err(outcome)
    }

    fn open(&self) -> Result<OwnedFd, Errno> {
        // Should it be a named pipe, nobody has to read from it.
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::NONBLOCK;
        let mode = Mode::from_raw_mode(0o666);
        rustix::fs::open(&*self.path, flags | OFlags::CLOEXEC, mode)
    }
}

const PIPE_BUF: usize = 4_096;

/// Bytes of lines that wait for a reader: several intervals, of some kilobytes each.
const WAITING_BYTES_MAX: usize = 256 * 1_024;

const RETRY: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{PipeReader, Read as _};
    use std::os::fd::AsFd as _;

    use super::*;
    use crate::extension::io;

    fn line(bytes: usize) -> Vec<u8> {
        let mut line = vec![b'x'; bytes - 1];
        line.push(b'\n');
        line
    }

    fn lines(to: impl Into<OwnedFd>) -> (Rc<Lines>, Rc<Ledger>) {
        let to: &'static OwnedFd = Box::leak(Box::new(to.into()));
        let ledger = Rc::new(Ledger::default());
        let lines = Lines::new(to.as_fd(), Rc::clone(&ledger));
        (Rc::new(lines), ledger)
    }

    fn pipe() -> (PipeReader, Rc<Lines>, Rc<Ledger>) {
        let (reader, writer) = std::io::pipe().unwrap();
        let (lines, ledger) = lines(writer);
        (reader, lines, ledger)
    }

    #[test]
    fn a_reader_that_hangs_costs_lines_once_too_many_wait() {
        let (mut reader, lines, ledger) = pipe();
        let bytes = 1_024;
        let mut pushed = 0;
        while ledger.total().is_empty() {
            lines.push(&line(bytes), Losses::default());
            pushed += 1;
        }
        assert_eq!(ledger.total(), Losses::line(bytes));
        let waiting = lines.waiting.borrow().len();
        assert_eq!(waiting * bytes, WAITING_BYTES_MAX);
        let kept = (pushed - 1) * bytes;
        assert!(WAITING_BYTES_MAX < kept && kept < WAITING_BYTES_MAX + (1 << 20));
        // Once it reads, it gets every line that waits, and whole.
        io::run_test(async |executor| {
            let writing = Rc::clone(&lines);
            io::spawn(executor, async move { writing.write_out().await }).detach();
            let reading = std::thread::spawn(move || {
                let mut read = vec![0; kept];
                reader.read_exact(&mut read).unwrap();
                read
            });
            lines.written().await;
            assert_eq!(reading.join().unwrap(), line(bytes).repeat(pushed - 1));
        });
    }

    /// What had been written of it is no part of the next one, which is counted as delivered.
    #[test]
    fn a_line_that_is_lost_in_part_ends_before_the_next_one() {
        let (mut reader, lines, ledger) = pipe();
        let long = line(1 << 20);
        lines.push(&long, Losses::default());
        lines.lose_all();
        assert_eq!(ledger.total(), Losses::line(long.len()));
        let written = rustix::io::ioctl_fionread(&reader).unwrap();
        let mut begun = vec![0; usize::try_from(written).unwrap()];
        reader.read_exact(&mut begun).unwrap();
        lines.push(b"{}\n", Losses::default());
        let mut read = [0; 4];
        reader.read_exact(&mut read).unwrap();
        assert_eq!(read, *b"\n{}\n");
    }

    #[test]
    fn a_line_that_is_longer_than_a_pipe_reaches_a_reader_that_reads() {
        let (mut reader, lines, ledger) = pipe();
        let long = line(1 << 20);
        lines.push(&long, Losses::default());
        let expected = long.len();
        let reading = std::thread::spawn(move || {
            let mut read = vec![0; expected];
            reader.read_exact(&mut read).unwrap();
            read
        });
        io::run_test(async |executor| {
            let writing = Rc::clone(&lines);
            io::spawn(executor, async move { writing.write_out().await }).detach();
            lines.written().await;
        });
        assert_eq!(reading.join().unwrap(), long);
        assert!(ledger.total().is_empty());
    }

    #[test]
    fn what_waits_at_the_end_is_counted_and_its_count_comes_back() {
        let (_reader, lines, ledger) = pipe();
        ledger.lose(Losses::line(7));
        let tells = lines.told.take();
        lines.push(&line(1 << 20), tells);
        assert!(lines.told.take().is_empty());
        lines.lose_all();
        assert_eq!(lines.told.take(), ledger.total());
        assert_eq!(ledger.total().lines, 2);
    }

    #[test]
    fn after_a_restore_no_line_waits_but_one_that_was_begun() {
        let (mut reader, lines, ledger) = pipe();
        ledger.lose(Losses::line(7));
        let begun = line(100_000);
        lines.push(&begun, lines.told.take());
        lines.push(b"before\n", Losses::default());
        ledger.forget();
        lines.forget();
        lines.push(b"after\n", Losses::default());
        let reading = std::thread::spawn(move || {
            let mut read = vec![0; begun.len() + 6];
            reader.read_exact(&mut read).unwrap();
            read.split_off(begun.len())
        });
        io::run_test(async |executor| {
            let writing = Rc::clone(&lines);
            io::spawn(executor, async move { writing.write_out().await }).detach();
            lines.written().await;
        });
        assert_eq!(reading.join().unwrap(), b"after\n");
        assert!(ledger.total().is_empty());
    }

    #[test]
    fn a_reader_that_is_gone_and_a_full_disk_lose_the_line() {
        let (reader, lines, ledger) = pipe();
        drop(reader);
        lines.push(b"{}\n", Losses::default());
        assert_eq!(ledger.total(), Losses::line(3));
        let ledger = Rc::new(Ledger::default());
        let mut full = FileLines::new("/dev/full".to_owned(), Rc::clone(&ledger));
        let told = full.told.take();
        assert_eq!(full.push(b"{}\n", told), Err(Errno::NOSPC));
        assert_eq!(full.told.take(), Losses::line(3));
        let mut absent = FileLines::new("/nowhere/at/all".to_owned(), ledger);
        assert_eq!(absent.push(b"{}\n", told), Err(Errno::NOENT));
    }

    #[test]
    fn a_line_after_one_that_was_cut_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, Mode::RWXU).unwrap();
        let mut file = FileLines::new(
            path.to_str().unwrap().to_owned(),
            Rc::new(Ledger::default()),
        );
        let none = Losses::default();
        assert_eq!(file.push(b"no reader\n", none), Err(Errno::NXIO));
        // A descriptor for both ends waits for nobody.
        let mut reader = File::options().read(true).write(true).open(&path).unwrap();
        for is_lost_between in [false, true] {
            assert_eq!(file.push(&line(1 << 20), none), Err(Errno::AGAIN));
            if is_lost_between {
                assert_eq!(file.push(b"lost\n", none), Err(Errno::AGAIN));
            }
            let mut read = vec![0; 60_000];
            reader.read_exact(&mut read).unwrap();
            assert_eq!(file.push(b"{\"a\":1}\n", none), Ok(()));
            let mut text = String::new();
            while !text.ends_with("}\n") {
                let count = reader.read(&mut read).unwrap();
                text.push_str(str::from_utf8(&read[..count]).unwrap());
            }
            assert_eq!(text.trim_start_matches('x'), "\n{\"a\":1}\n");
        }
    }

    /// What was told before a restore says nothing of what was lost since.
    #[test]
    fn after_a_restore_each_loss_is_told() {
        let ledger = Rc::new(Ledger::default());
        let file = FileLines::new("/dev/null".to_owned(), Rc::clone(&ledger));
        ledger.lose(Losses::line(7));
        assert_eq!(file.told.take(), Losses::line(7));
        ledger.forget();
        file.told.forget();
        ledger.lose(Losses::line(3));
        assert_eq!(file.told.take(), Losses::line(3));
    }
}

//! A child process with its three pipes, driven from one thread and never beyond a deadline.

use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, kill_process_group, pidfd_open, waitpid,
};
use serde::de::IgnoredAny;

use super::error::Error;
use super::log;
use super::panic;
use crate::shared::exec::{self, Change};
use crate::shared::logline::{Format, Level};

/// A child in a process group of its own, so that it goes with all it has started.
#[derive(Debug)]
pub(super) struct Process {
    id: Pid,
    /// Readable once the child has exited.
    exited: OwnedFd,
    /// The child has been waited for, so its process id may be another's by now.
    reaped: bool,
    input: Option<PipeWriter>,
    output: Option<PipeReader>,
    errors: Option<PipeReader>,
    /// What the child has written and nobody has taken.
    read: Vec<u8>,
    /// How much of that is known to hold no line end.
    searched: usize,
    log: ErrorLog,
}

/// What a child is driven to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// Its exit.
    Exit,
    /// A whole line of output.
    Line,
}

/// Why driving a child came to its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Driven {
    /// There is a line.
    Line,
    /// The child exited.
    Exited(ExitStatus),
    /// Time ran out.
    TimedOut,
    /// The output passed its limit.
    TooLarge,
}

impl Process {
    /// Starts a program with pipes for its input, output and errors.
    pub(super) fn spawn(path: &Path, changes: &[Change<'_>]) -> io::Result<Self> {
        let (child_input, input) = io::pipe()?;
        let (output, child_output) = io::pipe()?;
        let (errors, child_errors) = io::pipe()?;
        for pipe in [input.as_fd(), output.as_fd(), errors.as_fd()] {
            rustix::io::ioctl_fionbio(pipe, true)?;
        }
        let changes: Vec<_> = changes
            .iter()
            .copied()
            .chain([(panic::RESTARTS, None)])
            .collect();
        let ends = [child_input.into(), child_output.into(), child_errors.into()];
        let id = exec::spawn(path, &changes, &ends)?;
        let exited = match pidfd_open(id, PidfdFlags::empty()) {
            Ok(exited) => exited,
            Err(error) => {
                end(id).ok();
                return Err(error.into());
            }
        };
        Ok(Self {
            id,
            exited,
            reaped: false,
            input: Some(input),
            output: Some(output),
            errors: Some(errors),
            read: Vec::new(),
            searched: 0,
            log: ErrorLog::default(),
        })
    }

    /// Writes `input` to the child and takes its output until the goal is reached, or until `end`,
    /// or until there is more output than `output_bytes_max`. With the goal [`Until::Exit`] the
    /// input ends behind its last byte.
    pub(super) fn drive(
        &mut self,
        mut input: &[u8],
        until: Until,
        end: Option<Instant>,
        output_bytes_max: usize,
    ) -> io::Result<Driven> {
        loop {
            if until == Until::Line && self.has_line() {
                return Ok(Driven::Line);
            }
            if self.read.len() > output_bytes_max {
                return Ok(Driven::TooLarge);
            }
            if self.output.is_none() && self.errors.is_none() {
                // Nothing more can come; what is left is the exit.
                return self.wait(end);
            }
            if until == Until::Exit && input.is_empty() {
                self.input = None;
            }
            let Some(ready) = self.poll(!input.is_empty(), end)? else {
                return Ok(Driven::TimedOut);
            };
            if ready.input {
                self.write(&mut input);
            }
            if ready.output {
                let limit = output_bytes_max + 1 - self.read.len();
                read_some(&mut self.output, &mut self.read, limit);
            }
            if ready.errors {
                self.read_errors();
            }
            if ready.exited {
                return self.last_bytes(until, output_bytes_max);
            }
        }
    }

    /// Whether there is output that nobody has taken.
    pub(super) fn has_output(&mut self) -> bool {
        read_some(&mut self.output, &mut self.read, READ_AHEAD_BYTES_MAX);
        !self.read.is_empty()
    }

    /// Whether the child has exited, or closed its output.
    pub(super) fn is_over(&self) -> bool {
        let mut exited = [PollFd::new(&self.exited, PollFlags::IN)];
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        self.output.is_none() || poll(&mut exited, Some(&now)) != Ok(0)
    }

    fn has_line(&mut self) -> bool {
        let unsearched = self.read.get(self.searched..).unwrap_or_default();
        let found = memchr::memchr(b'\n', unsearched).is_some();
        if !found {
            self.searched = self.read.len();
        }
        found
    }

    /// Takes the first line of the output, without its line end.
    pub(super) fn take_line(&mut self) -> Vec<u8> {
        let end = self
            .read
            .iter()
            .position(|byte| *byte == b'\n')
            .unwrap_or(self.read.len());
        let rest = self.read.split_off(self.read.len().min(end + 1));
        self.searched = 0;
        let mut line = std::mem::replace(&mut self.read, rest);
        line.truncate(end);
        line
    }

    /// Takes all of the output.
    pub(super) fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.read)
    }

    /// The failure of a child that exited with `status`: the end of what it wrote to its standard
    /// error says why.
    pub(super) fn failure(&mut self, status: ExitStatus) -> Error {
        let (error_type, what) = match status.signal() {
            Some(signal) => (
                "Function.Killed",
                format!("the handler was killed by signal {signal}"),
            ),
            None => {
                let code = status.code().unwrap_or_default();
                (
                    "Function.ExitStatus",
                    format!("the handler exited with status {code}"),
                )
            }
        };
        let tail = self.errors_tail();
        Error::of_text(error_type, if tail.is_empty() { what } else { tail })
    }

    /// The end of what the child wrote to its standard error.
    pub(super) fn errors_tail(&mut self) -> String {
        self.read_errors();
        self.log.flush();
        String::from_utf8_lossy(&self.log.tail).trim().to_owned()
    }

    fn write(&mut self, input: &mut &[u8]) {
        let Some(pipe) = &mut self.input else { return };
        match pipe.write(input) {
            Ok(count) => *input = input.get(count..).unwrap_or_default(),
            Err(error) if is_transient(&error) => {}
            // A child need not read its input.
            Err(_closed) => {
                self.input = None;
                *input = &[];
            }
        }
    }

    fn read_errors(&mut self) {
        let mut bytes = Vec::new();
        read_some(&mut self.errors, &mut bytes, ERRORS_READ_BYTES_MAX);
        self.log.add(&bytes);
    }

    /// The child has exited. What it wrote is in the pipes; what its own children may still write
    /// is not waited for.
    fn last_bytes(&mut self, until: Until, output_bytes_max: usize) -> io::Result<Driven> {
        let limit = (output_bytes_max + 1).saturating_sub(self.read.len());
        read_some(&mut self.output, &mut self.read, limit);
        self.read_errors();
        if until == Until::Line && self.has_line() {
            return Ok(Driven::Line);
        }
        if self.read.len() > output_bytes_max {
            return Ok(Driven::TooLarge);
        }
        self.reap().map(Driven::Exited)
    }

    /// Waits for the exit of a child that has closed its output.
    fn wait(&mut self, end: Option<Instant>) -> io::Result<Driven> {
        self.input = None;
        match self.poll(false, end)? {
            Some(_) => self.reap().map(Driven::Exited),
            None => Ok(Driven::TimedOut),
        }
    }

    /// Ends what is left of the process group and collects the child.
    ///
    /// Nothing that an invocation started outlives it, or it would run, frozen and thawed, in the
    /// time of others.
    fn reap(&mut self) -> io::Result<ExitStatus> {
        self.reaped = true;
        end(self.id)
    }

    fn poll(&self, unwritten: bool, end: Option<Instant>) -> io::Result<Option<Ready>> {
        let sources: [Option<(BorrowedFd<'_>, PollFlags)>; 4] = [
            self.input
                .as_ref()
                .filter(|_| unwritten)
                .map(|pipe| (pipe.as_fd(), PollFlags::OUT)),
            self.output
                .as_ref()
                .map(|pipe| (pipe.as_fd(), PollFlags::IN)),
            self.errors
                .as_ref()
                .map(|pipe| (pipe.as_fd(), PollFlags::IN)),
            Some((self.exited.as_fd(), PollFlags::IN)),
        ];
        // A source that is not there is polled as the child's exit, and its answer not used.
        let mut fds = sources.each_ref().map(|source| match source {
            Some((fd, flags)) => PollFd::from_borrowed_fd(*fd, *flags),
            None => PollFd::new(&self.exited, PollFlags::empty()),
        });
        loop {
            let left = end.map(time_left);
            if left == Some(Duration::ZERO) {
                return Ok(None);
            }
            let timeout = left.and_then(|left| Timespec::try_from(left).ok());
            match poll(&mut fds, timeout.as_ref()) {
                Ok(0) if end.is_some() => return Ok(None),
                Ok(_) => break,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let mut index = 0;
        let [input, output, errors, exited] = sources.map(|source| {
            let ready = fds.get(index).is_some_and(|fd| !fd.revents().is_empty());
            index += 1;
            source.is_some() && ready
        });
        Ok(Some(Ready {
            input,
            output,
            errors,
            exited,
        }))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.reaped {
            self.reap().ok();
        }
        self.errors_tail();
    }
}

/// Which of the four sources have something to say.
#[expect(
    clippy::struct_excessive_bools,
    reason = "one for each source, and all may be set"
)]
struct Ready {
    input: bool,
    output: bool,
    errors: bool,
    exited: bool,
}

/// Standard error of a child on its way to the log, line by line, with its end kept.
#[derive(Debug, Default)]
struct ErrorLog {
    /// A line that has no end yet.
    line: Vec<u8>,
    /// The end of everything that was written.
    tail: Vec<u8>,
}

impl ErrorLog {
    fn add(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") || self.line.len() > LINE_BYTES_MAX {
                self.flush();
            }
        }
        self.tail.extend_from_slice(bytes);
        let excess = self.tail.len().saturating_sub(TAIL_BYTES_MAX);
        self.tail.drain(..excess);
    }

    /// Writes the line, whatever the level. In JSON format one that is no JSON becomes the message
    /// of a record.
    fn flush(&mut self) {
        if self.line.is_empty() {
            return;
        }
        if !self.line.ends_with(b"\n") {
            self.line.push(b'\n');
        }
        let is_json = || {
            self.line.starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(&self.line).is_ok()
        };
        if log::format() == Format::Text || is_json() {
            log::write_line(&self.line);
        } else {
            log::always(
                Level::Info,
                None,
                &String::from_utf8_lossy(self.line.trim_ascii_end()),
            );
        }
        self.line.clear();
    }
}

/// Kills a process group and waits for the process that leads it.
fn end(id: Pid) -> io::Result<ExitStatus> {
    kill_process_group(id, Signal::KILL).ok();
    loop {
        match waitpid(Some(id), WaitOptions::empty()) {
            Ok(Some((_, status))) => return Ok(ExitStatus::from_raw(status.as_raw())),
            // Without WNOHANG there is a status, or an error.
            Ok(None) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Reads what is there, at most `limit` bytes; closes the pipe at its end.
fn read_some(pipe: &mut Option<PipeReader>, into: &mut Vec<u8>, limit: usize) {
    let Some(reader) = pipe else { return };
    match reader.take(limit as u64).read_to_end(into) {
        // The limit was reached, or the pipe has ended.
        Ok(count) if count < limit => *pipe = None,
        Ok(_) => {}
        Err(error) if is_transient(&error) => {}
        Err(_lost) => *pipe = None,
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

fn time_left(end: Instant) -> Duration {
    #[expect(
        clippy::disallowed_methods,
        reason = "the clock of children is read here"
    )]
    end.saturating_duration_since(Instant::now())
}

/// Bytes of standard error that are reported when a child fails.
const TAIL_BYTES_MAX: usize = 4 * 1024;

/// Bytes of a line of standard error; a longer one is written in parts.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// Bytes of output that are looked at before there is an input.
const READ_AHEAD_BYTES_MAX: usize = 4 * 1024;

/// Bytes of standard error taken at once.
const ERRORS_READ_BYTES_MAX: usize = 64 * 1024;

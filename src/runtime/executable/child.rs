//! A child process with its three pipes, driven from one thread and never beyond a deadline.

use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, kill_process_group, pidfd_open, waitpid,
};
use serde::de::IgnoredAny;

use crate::runtime::error::Error;
use crate::runtime::log;
use crate::runtime::panic;
use crate::shared::log_record::{Format, Level};
use crate::shared::os::exec::{self, Change};
use crate::shared::os::{self, Instant};

/// A child in a process group of its own, so that it goes with all it has started.
#[derive(Debug)]
pub(super) struct Process {
    id: Pid,
    /// Readable once the child has exited.
    exited: OwnedFd,
    /// The child has been waited for, so its process id may be another's by now.
    reaped: bool,
    input: Option<OwnedFd>,
    output: Option<OwnedFd>,
    errors: Option<OwnedFd>,
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
#[derive(Debug)]
pub(super) enum Driven {
    /// There is a line.
    Line,
    /// The child exited.
    Exited(WaitStatus),
    /// Time ran out.
    TimedOut,
    /// The output passed its limit.
    TooLarge,
}

impl Process {
    /// Starts a program with pipes for its input, output and errors. It gets the environment of
    /// this process with the changes, and without what is of no concern to it.
    pub(super) fn spawn(path: &CStr, mut changes: Vec<Change<'_>>) -> Result<Box<Self>, Errno> {
        changes.push((panic::RESTARTS, None));
        let (child_input, input) = pipe_with(PipeFlags::CLOEXEC)?;
        let (output, child_output) = pipe_with(PipeFlags::CLOEXEC)?;
        let (errors, child_errors) = pipe_with(PipeFlags::CLOEXEC)?;
        for pipe in [&input, &output, &errors] {
            rustix::io::ioctl_fionbio(pipe, true)?;
        }
        let id = exec::spawn(path, &changes, &[child_input, child_output, child_errors])?;
        let exited = match pidfd_open(id, PidfdFlags::empty()) {
            Ok(exited) => exited,
            Err(error) => {
                end(id).ok();
                return Err(error);
            }
        };
        Ok(Box::new(Self {
            id,
            exited,
            reaped: false,
            input: Some(input),
            output: Some(output),
            errors: Some(errors),
            read: Vec::new(),
            searched: 0,
            log: ErrorLog::default(),
        }))
    }

    /// Writes `input` to the child and takes its output until the goal is reached, or until `end`,
    /// or until there is more output than `output_bytes_max`. With the goal [`Until::Exit`] the
    /// input ends behind its last byte.
    ///
    /// When the child exits, what it wrote is in the pipes; what its own children may still write is
    /// not waited for.
    pub(super) fn drive(
        &mut self,
        mut input: &[u8],
        until: Until,
        end: Option<Instant>,
        output_bytes_max: usize,
    ) -> Result<Driven, Errno> {
        let mut has_exited = false;
        loop {
            if until == Until::Line && self.has_line() {
                return Ok(Driven::Line);
            }
            if self.read.len() > output_bytes_max {
                return Ok(Driven::TooLarge);
            }
            if has_exited {
                return self.reap().map(Driven::Exited);
            }
            // Without its output nothing is left to come but its exit.
            let is_closed = self.output.is_none() && self.errors.is_none();
            if is_closed || until == Until::Exit && input.is_empty() {
                self.input = None;
            }
            let ready = self.poll(!input.is_empty(), end)?;
            let Some([can_write, has_output, has_errors, exited]) = ready else {
                return Ok(Driven::TimedOut);
            };
            has_exited = exited;
            if can_write {
                self.write(&mut input);
            }
            if has_output || has_exited {
                read_some(&mut self.output, &mut self.read, output_bytes_max + 1);
            }
            if has_errors || has_exited {
                self.read_errors();
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
        self.output.is_none() || os::poll(&mut exited, Some(Duration::ZERO)) != Ok(0)
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
    pub(super) fn failure(&mut self, status: WaitStatus) -> Error {
        let killed = status.terminating_signal();
        let (error_type, what, number) = match killed {
            Some(signal) => ("Function.Killed", "was killed by signal", signal),
            None => {
                let code = status.exit_status().unwrap_or_default();
                ("Function.ExitStatus", "exited with status", code)
            }
        };
        let tail = self.errors_tail();
        let message = if tail.is_empty() {
            format!("the handler {what} {number}")
        } else {
            tail
        };
        Error::of_text(error_type, message)
    }

    /// The end of what the child wrote to its standard error.
    pub(super) fn errors_tail(&mut self) -> String {
        self.read_errors();
        self.log.flush();
        String::from_utf8_lossy(self.log.tail.trim_ascii()).into_owned()
    }

    fn write(&mut self, input: &mut &[u8]) {
        let Some(pipe) = &self.input else { return };
        match rustix::io::write(pipe, input) {
            Ok(count) => *input = input.get(count..).unwrap_or_default(),
            Err(Errno::AGAIN | Errno::INTR) => {}
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

    /// Ends what is left of the process group and collects the child.
    ///
    /// Nothing that an invocation started outlives it, or it would run, frozen and thawed, in the
    /// time of others.
    fn reap(&mut self) -> Result<WaitStatus, Errno> {
        self.reaped = true;
        end(self.id)
    }

    /// Waits for the child to take input, to have output or errors, or to have exited: which of the
    /// four it does, or `None` when time runs out.
    fn poll(&self, unwritten: bool, end: Option<Instant>) -> Result<Option<[bool; 4]>, Errno> {
        let input = self.input.as_ref().filter(|_| unwritten);
        let output = self.output.as_ref();
        let sources = [input, output, self.errors.as_ref(), Some(&self.exited)];
        // A source that is not there is polled as the child's exit, and its answer not used.
        let mut fds =
            sources.map(|source| PollFd::new(source.unwrap_or(&self.exited), PollFlags::IN));
        if let Some(input) = input {
            fds[0] = PollFd::new(input, PollFlags::OUT);
        }
        loop {
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Ok(None);
            }
            match os::poll(&mut fds, left) {
                Ok(0) if end.is_some() => return Ok(None),
                Ok(_) => break,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        let mut ready = [false; 4];
        for ((ready, source), fd) in ready.iter_mut().zip(sources).zip(fds) {
            *ready = source.is_some() && !fd.revents().is_empty();
        }
        Ok(Some(ready))
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
fn end(id: Pid) -> Result<WaitStatus, Errno> {
    kill_process_group(id, Signal::KILL).ok();
    loop {
        match waitpid(Some(id), WaitOptions::empty()) {
            Ok(Some((_, status))) => return Ok(status),
            // Without WNOHANG there is a status, or an error.
            Ok(None) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Reads what is there, until `into` has at least `limit` bytes; closes the pipe at its end.
fn read_some(pipe: &mut Option<OwnedFd>, into: &mut Vec<u8>, limit: usize) {
    while let Some(reader) = pipe
        && into.len() < limit
    {
        into.reserve(READ_BYTES_MIN);
        match rustix::io::read(reader, spare_capacity(into)) {
            Ok(1..) | Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return,
            // It has ended, or is lost.
            Ok(_) | Err(_) => *pipe = None,
        }
    }
}

/// Bytes of standard error that are reported when a child fails.
const TAIL_BYTES_MAX: usize = 4 * 1024;

/// Bytes of a line of standard error; a longer one is written in parts.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// Bytes of output that are looked at before there is an input.
const READ_AHEAD_BYTES_MAX: usize = 4 * 1024;

/// Bytes that there is room for in a read, at least.
const READ_BYTES_MIN: usize = 4 * 1024;

/// Bytes of standard error taken at once.
const ERRORS_READ_BYTES_MAX: usize = 64 * 1024;

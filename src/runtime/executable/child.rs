//! The process of a handler with its three pipes, driven from one thread and never beyond a
//! deadline.

use std::ffi::CStr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, getpid, kill_process, kill_process_group,
    set_child_subreaper, wait, waitid, waitpgid,
};

use super::error::{ExecutableError, Missing};
use super::spawn::{Command, SpawnError, spawn, wait_for};
use super::stderr::{Stderr, log_line};
use crate::shared::digits::decimal;
use crate::shared::os;
use crate::shared::os::reexec::{self, Change, lock};
#[cfg(test)]
use crate::shared::os::simulation;

pub(super) use crate::shared::os::clock::monotonic as now;

/// A child process that leads a process group of its own, so that it can be ended with all that it
/// started in the group.
#[derive(Debug)]
pub(super) struct Child {
    id: Pid,
    /// Readable once the process has exited. Absent where a sandbox refuses `pidfd_open`.
    exit: Option<OwnedFd>,
    /// How the process ended, once that has been collected. From then on its id may be another's.
    status: Option<ExitStatus>,
    input: Option<OwnedFd>,
    output: Option<OwnedFd>,
    errors: Option<OwnedFd>,
    /// Output that has been read and not yet taken.
    read: Vec<u8>,
    /// Bytes at the start of `read` in which there is no line end.
    searched: usize,
    stderr: Shared,
    /// Bytes of output that are still read once the process has exited.
    left: usize,
}

/// What was read of the standard error. [`end_gently`] reads on another thread: a line has one end,
/// whoever reads it.
type Shared = Arc<Mutex<Stderr>>;

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// More output, or the exit of the process.
    Output,
    /// A whole line of output.
    Line,
}

/// Why waiting for another descriptor ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum Waited {
    /// The descriptor is ready.
    Ready,
    /// The process exited.
    Exited(ExitStatus),
    /// The time ran out.
    TimedOut,
}

/// Why waiting ended before there was what was waited for.
#[derive(Debug)]
pub(super) enum Stopped {
    /// The process exited.
    Exited(ExitStatus),
    /// The time ran out.
    TimedOut,
    /// The output passed its limit.
    TooLarge,
    /// `poll` or `waitpid` failed.
    Lost(Errno),
}

impl Stopped {
    /// True if the process exited with 0.
    pub(super) fn is_success(&self) -> bool {
        matches!(self, Self::Exited(status) if status.success())
    }
}

impl Child {
    /// Starts a program, as [`spawn`] does.
    ///
    /// # Errors
    ///
    /// Those of [`spawn`].
    pub(super) fn start(
        command: &Command,
        changes: &[Change<'_>],
    ) -> Result<Box<Self>, SpawnError> {
        let spawned = spawn(command, changes)?;
        for pipe in &spawned.pipes {
            rustix::io::ioctl_fionbio(pipe, true).ok();
        }
        let [input, output, errors] = spawned.pipes.map(Some);
        // Nobody writes to a pipe that the output does not go to. It would be at its end, which
        // ends every wait at once.
        let output = output.filter(|_| !command.merges_output);
        Ok(Box::new(Self {
            id: spawned.id,
            exit: spawned.exit,
            status: None,
            input,
            output,
            errors,
            read: Vec::new(),
            searched: 0,
            stderr: Shared::default(),
            left: PIPE_BYTES_MAX,
        }))
    }

    /// Writes `input` to the process and reads its output, until the goal is reached, until `end`,
    /// or until there is more output than `output_bytes_max`. What was not written stays in
    /// `input`. Unless the goal is [`Until::Line`] the pipe is closed behind the input.
    ///
    /// When the process exits, all that it wrote is in the pipes. What its own children may still
    /// write is not waited for. One that closes its output, so that no line can come, has until
    /// [`EXIT_GRACE`] to exit.
    ///
    /// # Errors
    ///
    /// Why the goal was not reached.
    pub(super) fn drive(
        &mut self,
        input: &mut &[u8],
        until: Until,
        mut end: Option<Instant>,
        output_bytes_max: usize,
    ) -> Result<(), Stopped> {
        let taken = self.read.len();
        loop {
            let is_reached = match until {
                Until::Output => taken < self.read.len(),
                Until::Line => self.has_line(),
            };
            if is_reached {
                return Ok(());
            }
            if self.read.len() > output_bytes_max {
                return Err(Stopped::TooLarge);
            }
            if self.left == 0 {
                return Err(self.collect().map_or_else(Stopped::Lost, Stopped::Exited));
            }
            if until == Until::Line && self.output.is_none() {
                // Most often it is about to exit, and the status says more.
                end = Some(end_of_grace(end));
            }
            let is_silent = self.output.is_none() && self.errors.is_none();
            if is_silent || until != Until::Line && input.is_empty() {
                self.input = None;
            }
            let writer = self.input.as_ref().filter(|_| !input.is_empty());
            let writer = writer.map(|pipe| (pipe.as_fd(), PollFlags::OUT));
            let polled = self.poll(writer, end).map_err(Stopped::Lost)?;
            let [writable, readable, errors_readable, exited] = polled.ok_or(Stopped::TimedOut)?;
            if writable {
                self.write(input);
            }
            if readable || exited {
                // A process that writes lines without end would be read for as long, and so would
                // one that it has left behind.
                let more = match until {
                    _ if exited => self.left,
                    Until::Line => LINES_READ_BYTES_MAX,
                    Until::Output => output_bytes_max + 1,
                };
                let before = self.read.len();
                let limit = before.saturating_add(more).min(output_bytes_max + 1);
                read_some(&mut self.output, &mut self.read, limit);
                if exited {
                    let is_empty = self.read.len() < limit;
                    let count = self.read.len() - before;
                    self.left = if is_empty {
                        0
                    } else {
                        self.left.saturating_sub(count)
                    };
                }
            }
            if errors_readable || exited {
                self.read_errors(ERRORS_READ_BYTES_MAX);
            }
        }
    }

    /// Writes `input` to the process and reads its output, until it exits, until `end`, or until
    /// there is more output than `output_bytes_max`.
    pub(super) fn run(
        &mut self,
        mut input: &[u8],
        end: Option<Instant>,
        output_bytes_max: usize,
    ) -> Stopped {
        loop {
            let driven = self.drive(&mut input, Until::Output, end, output_bytes_max);
            if let Err(stopped) = driven {
                return stopped;
            }
        }
    }

    /// The error that an end without an answer is. `missing` is what was waited for.
    pub(super) fn error(&mut self, stopped: Stopped, missing: Missing) -> ExecutableError {
        let stderr = self.errors_tail();
        match stopped {
            Stopped::Exited(status) => ExecutableError::Ended { status, stderr },
            Stopped::TimedOut => ExecutableError::TimedOut { missing, stderr },
            Stopped::TooLarge => ExecutableError::TooLarge,
            Stopped::Lost(error) => ExecutableError::Lost(error),
        }
    }

    /// Makes this the process that [`end_gently`] ends.
    pub(super) fn ends_gently(&self) {
        let errors = self
            .errors
            .as_ref()
            .and_then(|pipe| fcntl_dupfd_cloexec(pipe, 0).ok());
        *lock_gentle() = Some(Gentle {
            id: self.id,
            errors,
            stderr: Arc::clone(&self.stderr),
            is_asked: false,
        });
    }

    /// Waits until another descriptor is ready, and puts what the process writes to its standard
    /// error into the log meanwhile.
    ///
    /// # Errors
    ///
    /// Those of `poll` and `waitpid`.
    pub(super) fn wait(
        &mut self,
        other: Option<(BorrowedFd<'_>, PollFlags)>,
        end: Option<Instant>,
    ) -> Result<Waited, Errno> {
        loop {
            let Some([ready, _, errors_readable, exited]) = self.poll(other, end)? else {
                return Ok(Waited::TimedOut);
            };
            if errors_readable || exited {
                self.read_errors(ERRORS_READ_BYTES_MAX);
            }
            // What it wrote before it exited may be all that was waited for.
            if ready {
                return Ok(Waited::Ready);
            }
            if exited {
                return self.collect().map(Waited::Exited);
            }
        }
    }

    /// Puts what the process has written to its standard error into the log, at the end of an
    /// event: it is no part of the error of another.
    pub(super) fn end_event(&mut self) {
        self.read_errors(PIPE_BYTES_MAX);
        lock(&self.stderr).forget();
    }

    /// True if there is output beside white space that nobody has taken.
    pub(super) fn has_output(&mut self) -> bool {
        read_some(&mut self.output, &mut self.read, READ_AHEAD_BYTES_MAX);
        if self.read.trim_ascii().is_empty() {
            self.read.clear();
            self.searched = 0;
        }
        !self.read.is_empty()
    }

    /// True if the process cannot take another event: it has exited, or closed a pipe.
    pub(super) fn is_over(&self) -> bool {
        self.input.is_none() || self.output.is_none() || self.has_exited()
    }

    /// True if no more output can come.
    pub(super) const fn is_output_closed(&self) -> bool {
        self.output.is_none()
    }

    /// Bytes that have been written to the process and that it has not read.
    pub(super) fn unread_input(&self) -> u64 {
        let input = self.input.as_ref();
        input.map_or(0, |pipe| rustix::io::ioctl_fionread(pipe).unwrap_or(0))
    }

    /// Bytes of output that have been read and not taken.
    pub(super) fn pending_output(&self) -> usize {
        self.read.len()
    }

    /// Takes the first line of the output, without its line end.
    pub(super) fn take_line(&mut self) -> Vec<u8> {
        let end = memchr::memchr(b'\n', &self.read).unwrap_or(self.read.len());
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

    /// Output that has been read and not taken.
    pub(super) fn output(&self) -> &[u8] {
        &self.read
    }

    /// Forgets the output that has been read, and keeps its memory for more.
    pub(super) fn clear_output(&mut self) {
        self.read.clear();
    }

    /// The end of what the process wrote to its standard error. All of it is in the log then.
    pub(super) fn errors_tail(&mut self) -> String {
        self.read_errors(PIPE_BYTES_MAX);
        let mut stderr = lock(&self.stderr);
        stderr.finish(&mut log_line);
        stderr.tail()
    }

    fn has_line(&mut self) -> bool {
        let unsearched = self.read.get(self.searched..).unwrap_or_default();
        let found = memchr::memchr(b'\n', unsearched).is_some();
        if !found {
            self.searched = self.read.len();
        }
        found
    }

    fn write(&mut self, input: &mut &[u8]) {
        let Some(pipe) = &self.input else { return };
        match rustix::io::write(pipe, input) {
            Ok(count) => *input = input.get(count..).unwrap_or_default(),
            Err(Errno::AGAIN | Errno::INTR) => {}
            // A process need not read its input.
            Err(_closed) => self.input = None,
        }
    }

    fn read_errors(&mut self, limit: usize) {
        log_errors(&mut self.errors, &self.stderr, limit);
    }

    /// Ends what is left of the process group, and collects how the process ended.
    ///
    /// What an invocation leaves behind would run in the time of later ones, as often as the
    /// environment is thawed. A process that has left the group is out of reach.
    fn collect(&mut self) -> Result<ExitStatus, Errno> {
        let gentle = lock_gentle().take_if(|gentle| gentle.id == self.id);
        if gentle.is_some_and(|gentle| gentle.is_asked) {
            // The environment ends, so this is no failure, and the platform takes no report of it.
            self.errors_tail();
            reexec::wait();
        }
        if let Some(status) = self.status {
            kill_group(self.id, Signal::KILL);
            return Ok(status);
        }
        let status = end(self.id);
        // An error says that somebody else has collected it.
        self.status = Some(status.unwrap_or_default());
        status
    }

    /// Kills the process and what is left of its group, and does not wait: the kernel may take long
    /// to free the memory of a process.
    pub(super) fn kill(&self) {
        if self.status.is_none() {
            kill_group(self.id, Signal::KILL);
        }
    }

    /// Ends the process, and what is left of its group.
    pub(super) fn end(&mut self) {
        if self.status.is_none() {
            self.collect().ok();
        }
        self.errors_tail();
    }

    /// True if the process has ended.
    pub(super) fn has_exited(&self) -> bool {
        self.status.is_some() || has_exited(self.id)
    }

    /// True if the process is exiting or has exited. It gives up its memory, where its command line
    /// is, before its descriptors: who has seen the end of a connection need not wait to know this.
    pub(super) fn is_exiting(&self) -> bool {
        #[cfg(test)]
        if simulation::here().is_some() {
            return self.has_exited();
        }
        let path = format!("/proc/{}/cmdline\0", self.id.as_raw_pid());
        let path = CStr::from_bytes_with_nul(path.as_bytes()).unwrap_or_default();
        os::read_file(path, &mut [0; 1]).is_ok_and(<[u8]>::is_empty)
    }

    /// Waits until another descriptor is ready, or the process has output, has errors or has
    /// exited, and says which of the four. `None` when the time runs out.
    fn poll(
        &self,
        other: Option<(BorrowedFd<'_>, PollFlags)>,
        end: Option<Instant>,
    ) -> Result<Option<[bool; 4]>, Errno> {
        let [output, errors, exit] = [&self.output, &self.errors, &self.exit]
            .map(|pipe| Some((pipe.as_ref()?.as_fd(), PollFlags::IN)));
        let sources = [other, output, errors, exit];
        let present = sources.iter().flatten();
        let mut fds: Vec<_> = present.map(|(fd, flags)| PollFd::new(fd, *flags)).collect();
        loop {
            let left = end.map(|end| end.saturating_duration_since(now()));
            if left == Some(Duration::ZERO) {
                return Ok(None);
            }
            let step = match &self.exit {
                Some(_) => left,
                None => Some(left.map_or(EXIT_CHECK, |left| left.min(EXIT_CHECK))),
            };
            match os::poll(&mut fds, step) {
                Ok(0) if self.exit.is_some() => {}
                Ok(_) => break,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        let mut events = fds.iter().map(|fd| !fd.revents().is_empty());
        let mut ready = sources.map(|source| source.is_some() && events.next() == Some(true));
        if self.exit.is_none() {
            ready[3] = self.has_exited();
        }
        Ok(Some(ready))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        #[cfg(test)]
        if simulation::is_ending() {
            return;
        }
        self.end();
    }
}

/// True if the child has ended, or is none. How it ended stays to be collected.
fn has_exited(id: Pid) -> bool {
    #[cfg(test)]
    if let Some(system) = simulation::here() {
        return system.status(id).is_some();
    }
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    !matches!(waitid(WaitId::Pid(id), options), Ok(None))
}

/// Sends a signal to the group of a child. One that has ended needs none.
fn kill_group(id: Pid, signal: Signal) {
    #[cfg(test)]
    if let Some(system) = simulation::here() {
        return system.kill(id, signal);
    }
    kill_process_group(id, signal).ok();
}

/// Ends a child and what is left of its group, and returns how it ended. The child itself may have
/// gone to another group.
fn end(id: Pid) -> Result<ExitStatus, Errno> {
    kill_group(id, Signal::KILL);
    #[cfg(test)]
    if simulation::here().is_some() {
        return wait_for(id);
    }
    kill_process(id, Signal::KILL).ok();
    wait_for(id)
}

/// The process that is to end by itself when the environment does.
struct Gentle {
    id: Pid,
    errors: Option<OwnedFd>,
    stderr: Shared,
    /// It has got SIGTERM. Then its end is the environment's, and a thread that waits for it goes
    /// no further.
    is_asked: bool,
}

reexec::process_lock!(lock_gentle: Option<Gentle> = None);

/// Sends SIGTERM to the group of the process that asked for it, and puts what that still says into
/// the log. Returns when all of the group have ended, or after [`GENTLE_MAX`].
///
/// The process may be a shell that ends before the server that it has started. This process is the
/// parent of those that one has left, so that the kernel says when the last of them has ended.
pub(super) fn end_gently() {
    let (id, mut errors, stderr) = {
        let mut gentle = lock_gentle();
        let Some(gentle) = gentle.as_mut() else {
            return;
        };
        gentle.is_asked = true;
        set_child_subreaper(Some(getpid())).ok();
        kill_group(gentle.id, Signal::TERM);
        (gentle.id, gentle.errors.take(), Arc::clone(&gentle.stderr))
    };
    let end = now() + GENTLE_MAX;
    let mut is_over = false;
    while !is_over {
        os::sleep(EXIT_CHECK);
        is_over = waitpgid(id, WaitOptions::NOHANG).is_err() || end <= now();
        log_errors(&mut errors, &stderr, PIPE_BYTES_MAX);
    }
    lock(&stderr).finish(&mut log_line);
}

/// Collects the processes that this one inherited as process 1 of a container, which would stay as
/// zombies. `child` is the child that is running, if there is one.
pub(super) fn collect_orphans(mut child: Option<&mut Child>) {
    if getpid() != Pid::INIT {
        return;
    }
    while let Ok(Some((id, status))) = wait(WaitOptions::NOHANG) {
        if let Some(child) = child.as_deref_mut().filter(|child| child.id == id) {
            kill_group(id, Signal::KILL);
            child.status = Some(ExitStatus::from_raw(status.as_raw()));
        }
    }
}

/// Ends the processes that this one started before it executed itself again. It forgot them then,
/// and a server among them holds its port.
pub(super) fn end_forgotten() {
    #[cfg(test)]
    if let Some(system) = simulation::here() {
        return system.kill_children();
    }
    let mut children = [0; 128];
    let mut may_be_more = true;
    while may_be_more {
        may_be_more = false;
        let children = os::read_file(CHILDREN, &mut children).unwrap_or_default();
        for id in ids(children) {
            may_be_more |= end(id).is_ok();
        }
    }
}

/// The ids of a list. A space follows each of them, but not one that is cut off.
fn ids(list: &[u8]) -> impl Iterator<Item = Pid> {
    list.split_inclusive(|byte| *byte == b' ').filter_map(|id| {
        let id = decimal(id.strip_suffix(b" ")?)?;
        Pid::from_raw(i32::try_from(id).ok()?)
    })
}

/// Where Linux lists them, <https://man7.org/linux/man-pages/man5/proc_tid_children.5.html>.
const CHILDREN: &CStr = c"/proc/thread-self/children";

/// Puts what is there of standard error into the log, up to some `limit` of bytes. No other thread
/// reads between the parts of a line that are read here.
fn log_errors(errors: &mut Option<OwnedFd>, stderr: &Shared, limit: usize) {
    let mut stderr = lock(stderr);
    let mut bytes = Vec::new();
    read_some(errors, &mut bytes, limit);
    stderr.add(&bytes, &mut log_line);
}

/// Reads what is there, until `into` has at least `limit` bytes. Closes the pipe at its end.
fn read_some(pipe: &mut Option<OwnedFd>, into: &mut Vec<u8>, limit: usize) {
    while into.len() < limit {
        let Some(reader) = pipe else {
            return;
        };
        into.reserve(READ_BYTES_MIN);
        match rustix::io::read(reader, spare_capacity(into)) {
            Ok(1..) | Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return,
            // It has ended, or is lost.
            Ok(_) | Err(_) => *pipe = None,
        }
    }
}

/// Until when to wait for the exit of a process that is about to exit.
pub(super) fn end_of_grace(end: Option<Instant>) -> Instant {
    let soon = now() + EXIT_GRACE;
    end.map_or(soon, |end| end.min(soon))
}

/// How long a process that has closed its output may take to exit.
const EXIT_GRACE: Duration = Duration::from_millis(200);

/// How long the processes that got SIGTERM may take. The platform kills this one sooner.
const GENTLE_MAX: Duration = Duration::from_millis(600);

/// How often to look for the exit of a process where `poll` cannot wait for it.
const EXIT_CHECK: Duration = Duration::from_millis(5);

/// Bytes of lines that are read at once. Each line that is taken moves the ones behind it.
const LINES_READ_BYTES_MAX: usize = 64 * 1024;

/// Bytes of output that are looked at between events.
const READ_AHEAD_BYTES_MAX: usize = 4 * 1024;

/// Bytes that there is room for in a read, at least.
const READ_BYTES_MIN: usize = 4 * 1024;

/// Bytes of standard error that are read at once, while there is other work.
const ERRORS_READ_BYTES_MAX: usize = 64 * 1024;

/// Bytes that a pipe can hold, at most, without a privilege.
///
/// <https://man7.org/linux/man-pages/man7/pipe.7.html>
const PIPE_BYTES_MAX: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn start(path: &CStr) -> Result<Box<Child>, SpawnError> {
        let command = Command {
            path: path.to_owned(),
            ..Command::default()
        };
        Child::start(&command, &[])
    }

    fn cat() -> Box<Child> {
        start(c"/bin/cat").unwrap()
    }

    fn shell(script: &str) -> Box<Child> {
        let mut command = Command {
            path: c"/bin/sh".to_owned(),
            ..Command::default()
        };
        for argument in ["-c", script] {
            command.arguments.push(&[argument.as_bytes()]);
        }
        Child::start(&command, &[]).unwrap()
    }

    /// Far enough away for any machine.
    fn late() -> Option<Instant> {
        Some(now() + Duration::from_secs(60))
    }

    #[test]
    fn an_exit_is_noticed_with_and_without_a_descriptor_for_it() {
        let input = "x".repeat(300_000);
        for has_descriptor in [true, false] {
            let mut child = cat();
            if !has_descriptor {
                child.exit = None;
            }
            let stopped = child.run(input.as_bytes(), late(), input.len());
            let Stopped::Exited(status) = stopped else {
                panic!("{stopped:?}");
            };
            assert!(status.success());
            assert!(child.take_output() == input.as_bytes());
            assert!(child.has_exited());
        }
    }

    #[test]
    fn a_line_is_found_and_the_rest_stays() {
        let mut child = cat();
        let mut input = &b"one\ntwo\nthree"[..];
        for line in [b"one", b"two"] {
            let driven = child.drive(&mut input, Until::Line, late(), 100);
            assert!(driven.is_ok(), "{driven:?}");
            assert_eq!(child.take_line(), line);
        }
        assert!(input.is_empty());
        // The rest has no line end, and no more comes.
        let driven = child.drive(&mut input, Until::Line, Some(now()), 100);
        assert!(matches!(driven, Err(Stopped::TimedOut)), "{driven:?}");
        assert!(!child.is_over());
    }

    #[test]
    fn output_is_handed_on_as_it_comes_and_no_byte_is_lost() {
        let input = "x".repeat(300_000);
        let mut child = cat();
        let mut rest = input.as_bytes();
        let mut output = Vec::new();
        let stopped = loop {
            let driven = child.drive(&mut rest, Until::Output, late(), 1_000);
            if let Err(stopped) = driven {
                break stopped;
            }
            assert!(!child.output().is_empty());
            output.extend_from_slice(child.output());
            child.clear_output();
        };
        assert!(matches!(stopped, Stopped::Exited(status) if status.success()));
        assert!(output == input.as_bytes());
    }

    #[test]
    fn nothing_ends_a_wait_for_a_silent_process_whose_output_goes_to_the_errors() {
        let command = Command {
            path: c"/bin/cat".to_owned(),
            merges_output: true,
            ..Command::default()
        };
        let child = Child::start(&command, &[]).unwrap();
        let soon = now() + Duration::from_millis(20);
        assert_eq!(child.poll(None, Some(soon)), Ok(None));
    }

    #[test]
    fn a_process_that_left_its_group_ends_with_it() {
        let mut command = Command {
            path: c"/usr/bin/perl".to_owned(),
            ..Command::default()
        };
        let script = "$| = 1; setpgrp(0, getpgrp(getppid())) or die; print qq(moved\\n); sleep 600";
        for argument in ["-e", script] {
            command.arguments.push(&[argument.as_bytes()]);
        }
        let mut child = Child::start(&command, &[]).unwrap();
        let driven = child.drive(&mut &b""[..], Until::Line, late(), 100);
        assert!(driven.is_ok(), "{driven:?}");
        assert_eq!(child.take_line(), b"moved");
        let status = child.collect().unwrap();
        assert_eq!(status.signal(), Some(Signal::KILL.as_raw()));
    }

    #[test]
    fn output_over_its_limit_ends_it() {
        let mut child = cat();
        let stopped = child.run(&[b'x'; 1_000], late(), 999);
        assert!(matches!(stopped, Stopped::TooLarge), "{stopped:?}");
    }

    #[test]
    fn a_byte_over_the_limit_that_comes_alone_ends_it() {
        for until in [Until::Output, Until::Line] {
            let mut child = shell("printf xx; read -r line; printf x; exec cat");
            let input = child.input.take();
            let driven = child.drive(&mut &b""[..], Until::Output, late(), 2);
            assert!(driven.is_ok(), "{driven:?}");
            assert_eq!(child.pending_output(), 2);
            child.input = input;
            let mut line = &b"\n"[..];
            let stopped = loop {
                if let Err(stopped) = child.drive(&mut line, until, late(), 2) {
                    break stopped;
                }
            };
            assert!(matches!(stopped, Stopped::TooLarge), "{stopped:?}");
        }
    }

    #[test]
    fn a_process_that_closes_its_errors_gets_further_input() {
        let mut child = shell("exec 2>&-; exec cat");
        for _ in 0..2 {
            let driven = child.drive(&mut &b"line\n"[..], Until::Line, late(), 100);
            assert!(driven.is_ok(), "{driven:?}");
            assert_eq!(child.take_line(), b"line");
        }
    }

    #[test]
    fn no_line_is_waited_for_once_the_output_is_closed() {
        let mut child = shell("exec >&-; read -r line");
        let driven = child.drive(&mut &b""[..], Until::Line, late(), 100);
        assert!(matches!(driven, Err(Stopped::TimedOut)), "{driven:?}");
    }

    #[test]
    fn errors_are_read_while_the_process_runs() {
        let reads: [fn(&mut Child); 3] = [
            |child| {
                let driven = child.drive(&mut &b"line\n"[..], Until::Line, late(), 100);
                assert!(driven.is_ok(), "{driven:?}");
            },
            |child| {
                let (reader, writer) = std::io::pipe().unwrap();
                drop(writer);
                let other = Some((reader.as_fd(), PollFlags::IN));
                let waited = child.wait(other, late());
                assert!(matches!(waited, Ok(Waited::Ready)), "{waited:?}");
            },
            |child| child.read_errors(PIPE_BYTES_MAX),
        ];
        for read in reads {
            let mut child = shell("echo a line of a test >&2; exec cat");
            assert!(matches!(
                child.poll(None, late()),
                Ok(Some([_, _, true, _]))
            ));
            read(&mut child);
            assert_eq!(lock(&child.stderr).tail(), "a line of a test");
            child.end_event();
            assert_eq!(child.errors_tail(), "");
        }
    }

    /// What the shell leaves behind writes without end, and is no reason to wait.
    #[test]
    fn an_exit_is_noticed_beside_output_that_does_not_end() {
        let mut child = shell("echo first; yes & exit 3");
        let stopped = child.run(b"", late(), 100_000_000);
        assert!(matches!(stopped, Stopped::Exited(status) if status.code() == Some(3)));
        assert!(child.output().starts_with(b"first\n"));

        let mut child = shell("yes & exit 3");
        let mut rest = &b""[..];
        let stopped = loop {
            if let Err(stopped) = child.drive(&mut rest, Until::Output, late(), 10_000_000) {
                break stopped;
            }
            child.clear_output();
        };
        assert!(matches!(stopped, Stopped::Exited(status) if status.code() == Some(3)));
    }

    #[test]
    fn a_line_that_goes_on_after_sigterm_is_one_line() {
        let script = "trap 'echo and the second >&2; exit' TERM
            printf 'the first part ' >&2
            while echo; do read -r line; done";
        let mut child = shell(script);
        child.ends_gently();
        let driven = child.drive(&mut &b""[..], Until::Line, late(), 100);
        assert!(driven.is_ok(), "{driven:?}");
        end_gently();
        // The environment goes on, unlike behind SIGTERM.
        *lock_gentle() = None;
        set_child_subreaper(None).unwrap();
        child.status = Some(ExitStatus::default());
        assert_eq!(lock(&child.stderr).tail(), "the first part and the second");
    }

    #[test]
    fn what_is_ready_counts_though_the_process_has_exited() {
        let mut child = shell("exit 3");
        let (reader, mut writer) = std::io::pipe().unwrap();
        std::io::Write::write_all(&mut writer, b"x").unwrap();
        let exit = child.exit.as_ref().unwrap();
        let mut exit = [PollFd::new(exit, PollFlags::IN)];
        assert_eq!(os::poll(&mut exit, Some(Duration::from_secs(60))), Ok(1));
        let mut wait = || child.wait(Some((reader.as_fd(), PollFlags::IN)), late());
        assert!(matches!(wait(), Ok(Waited::Ready)));
        std::io::Read::read_exact(&mut &reader, &mut [0; 1]).unwrap();
        let waited = wait();
        let Ok(Waited::Exited(status)) = waited else {
            panic!("{waited:?}");
        };
        assert_eq!(status.code(), Some(3));
    }

    #[test]
    fn a_dropped_child_is_ended_and_collected() {
        let child = cat();
        let id = child.id;
        drop(child);
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let collected = waitid(WaitId::Pid(id), options);
        assert!(matches!(collected, Err(Errno::CHILD)), "{collected:?}");
    }

    #[test]
    fn an_id_that_is_cut_off_is_not_taken() {
        let list = b"7 412 41237 ";
        for (cut, count) in [0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3]
            .into_iter()
            .enumerate()
        {
            let ids: Vec<_> = ids(&list[..cut]).map(Pid::as_raw_pid).collect();
            assert_eq!(ids, [7, 412, 41_237][..count], "{cut} bytes");
        }
    }

    #[test]
    fn what_an_earlier_execution_has_started_is_ended() {
        // The list is that of the thread, which no other test shares, and longer than one read.
        let children: Vec<_> = (0..40).map(|_| cat()).collect();
        end_forgotten();
        for child in &children {
            let collected = waitid(WaitId::Pid(child.id), WaitIdOptions::EXITED);
            assert!(matches!(collected, Err(Errno::CHILD)), "{collected:?}");
        }
    }

    #[test]
    fn input_that_was_not_read_is_counted() {
        // It writes lines for ever and reads nothing.
        let mut child = start(c"/usr/bin/yes").unwrap();
        let mut input = &b"event\n"[..];
        let driven = child.drive(&mut input, Until::Line, late(), 1 << 20);
        assert!(driven.is_ok(), "{driven:?}");
        assert!(input.is_empty());
        assert_eq!(child.unread_input(), 6);
        // A read may find as much again where there is room for it.
        assert!(child.pending_output() < 4 * LINES_READ_BYTES_MAX);
    }
}

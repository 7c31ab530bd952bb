//! Processes and sockets of this machine, as `/proc` shows them.

use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use procfs::process::{Process, Status};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// A process, and whether it has ended.
#[derive(Debug)]
pub struct Running(OwnedFd);

impl Running {
    /// The process with this id, which runs or has not been waited for.
    #[must_use]
    pub fn new(pid: u32) -> Self {
        let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        Self(pidfd_open(pid, PidfdFlags::empty()).unwrap())
    }

    /// Waits for its end, but not longer than `limit`; true if it has ended.
    #[must_use]
    pub fn ended_within(&self, limit: Duration) -> bool {
        let limit = Timespec::try_from(limit).unwrap();
        loop {
            match poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&limit)) {
                Ok(count) => return count == 1,
                Err(error) => assert_eq!(error, Errno::INTR),
            }
        }
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    ///
    /// If it still runs after a minute.
    pub fn until_ended(&self) {
        let limit = Duration::from_secs(60);
        assert!(self.ended_within(limit), "the process lives on");
    }
}

/// The state letter of a process, for example `S` or `Z`; `None` if there is no such process.
#[must_use]
pub fn state(pid: u32) -> Option<char> {
    Some(process(pid).ok()?.stat().ok()?.state)
}

/// `/proc/PID/status` of a process that runs.
#[must_use]
pub fn status(pid: u32) -> Status {
    process(pid)
        .and_then(|process| process.status())
        .unwrap_or_else(|error| panic!("no status of process {pid}: {error}"))
}

/// Whether the program at the other end of a loopback connection has read all that was sent to it.
#[must_use]
pub fn has_read_all(stream: &TcpStream) -> bool {
    let (ours, theirs) = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
    let is_theirs = |local: SocketAddr, remote: SocketAddr| local == theirs && remote == ours;
    let mut sockets = procfs::net::tcp().unwrap().into_iter();
    let socket = sockets.find(|socket| is_theirs(socket.local_address, socket.remote_address));
    socket.expect("the other end is open").rx_queue == 0
}

fn process(pid: u32) -> procfs::ProcResult<Process> {
    Process::new(i32::try_from(pid).unwrap())
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn this_process_runs_and_has_memory() {
        assert!(matches!(state(std::process::id()), Some('R' | 'S')));
        assert!(status(std::process::id()).vmsize.unwrap() > 0);
        // The largest number that a process may have is far smaller.
        assert_eq!(state(i32::MAX.unsigned_abs()), None);
    }

    #[test]
    fn bytes_are_unread_until_they_are_read() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut writer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut reader, _) = listener.accept().unwrap();
        writer.write_all(b"x").unwrap();
        reader.peek(&mut [0]).unwrap();
        assert!(!has_read_all(&writer));
        reader.read_exact(&mut [0]).unwrap();
        assert!(has_read_all(&writer));
    }
}

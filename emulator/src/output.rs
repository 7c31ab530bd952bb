//! What a process writes to stdout and stderr, line by line into the log.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};

use rustix::io::Errno;
use tokio::net::unix::pipe::Receiver;

use crate::environment::Env;
use crate::log::LineBuffer;
use crate::transcript::lock;

/// Both streams of one process.
#[derive(Debug)]
pub(crate) struct Output {
    streams: [Stream; 2],
    source: Source,
}

/// Who writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Function,
    Extension(String),
}

#[derive(Debug)]
struct Stream {
    pipe: Receiver,
    lines: Mutex<LineBuffer>,
}

impl Output {
    /// Two pipes, and the ends for the process.
    pub(crate) fn pipes(source: Source) -> io::Result<(Self, [OwnedFd; 2])> {
        let (stdout, stdout_end) = io::pipe()?;
        let (stderr, stderr_end) = io::pipe()?;
        let output = Self {
            streams: [Stream::new(stdout.into())?, Stream::new(stderr.into())?],
            source,
        };
        Ok((output, [stdout_end.into(), stderr_end.into()]))
    }

    /// Reads both streams until every process that has them open is gone.
    pub(crate) async fn pump(self: Arc<Self>, env: Arc<Env>) {
        let [stdout, stderr] = &self.streams;
        tokio::join!(
            stdout.pump(&env, &self.source),
            stderr.pump(&env, &self.source)
        );
    }

    /// Reads what was written so far, so that it comes before a line the platform writes next.
    pub(crate) fn drain(&self, env: &Env) {
        for stream in &self.streams {
            stream.drain(env, &self.source);
        }
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

    async fn pump(&self, env: &Env, source: &Source) {
        while self.pipe.readable().await.is_ok() {
            // This read tells the event loop when the pipe is empty; the one in `drain` cannot.
            let mut buffer = [0; 1_024];
            match self.pipe.try_read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => {
                    let read = buffer.get(..n).unwrap_or_default();
                    lock(&self.lines).push(read, |line| env.log_line(source, line));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(_) => break,
            }
            self.drain(env, source);
            // A function that writes without end must not keep everybody else from running.
            tokio::task::yield_now().await;
        }
        lock(&self.lines).finish(|line| env.log_line(source, line));
    }

    /// Reads until nothing is left, or as much as a pipe holds. Not through the event loop, which
    /// may not have seen the latest bytes yet.
    fn drain(&self, env: &Env, source: &Source) {
        let mut buffer = [0; 8_192];
        let mut lines = lock(&self.lines);
        for _ in 0..PIPE_BYTES / buffer.len() {
            match rustix::io::read(&self.pipe, &mut buffer) {
                Ok(0) => break,
                Ok(n) => {
                    let read = buffer.get(..n).unwrap_or_default();
                    lines.push(read, |line| env.log_line(source, line));
                }
                Err(Errno::INTR) => {}
                Err(_) => break,
            }
        }
    }
}

/// What a pipe holds, unless it was told otherwise.
const PIPE_BYTES: usize = 64 * 1_024;

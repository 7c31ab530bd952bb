//! A process that a test started, ends, and shows when the test fails.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::process::Running;

/// A child whose standard output and error go to files.
#[derive(Debug)]
pub struct Child {
    child: std::process::Child,
    running: Running,
    command: String,
    output: PathBuf,
    errors: PathBuf,
}

impl Child {
    /// Starts `command`; `name` tells its files in `folder` from those of others.
    pub fn start(command: &mut Command, folder: &Path, name: &str) -> Self {
        let output = folder.join(name).with_extension("stdout");
        let errors = folder.join(name).with_extension("stderr");
        let child = command
            .stdout(File::create(&output).unwrap())
            .stderr(File::create(&errors).unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let running = Running::new(child.id());
        let command = format!("{command:?}");
        Self {
            child,
            running,
            command,
            output,
            errors,
        }
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The standard output so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.output).unwrap()).into_owned()
    }

    /// The standard error so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.errors).unwrap()).into_owned()
    }

    /// Waits for the exit of the child, but not longer than `limit`.
    pub fn exited_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        let has_ended = self.running.ended_within(limit);
        has_ended.then(|| self.child.wait().unwrap())
    }

    /// Waits until somebody listens at `address`. The peers do not say when they do, so this asks
    /// again and again; the pause between is a wait for the exit of the child.
    ///
    /// # Errors
    ///
    /// The child exited first.
    pub fn until_listening(&mut self, address: SocketAddr) -> Result<(), ExitStatus> {
        for _ in 0..CONNECTS_MAX {
            if TcpStream::connect(address).is_ok() {
                return Ok(());
            }
            if let Some(status) = self.exited_within(CONNECT_PAUSE) {
                return Err(status);
            }
        }
        panic!("nobody listens at {address}");
    }

    /// Asks the child to end, so that it ends what it has started; then makes it.
    pub fn stop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // Neither can fail before the child has been waited for.
            kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
            if self.exited_within(STOP_LIMIT).is_none() {
                self.child.kill().unwrap();
                self.child.wait().unwrap();
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.stop();
        if thread::panicking() {
            eprintln!("--- {}", self.command);
            eprintln!("--- its standard output:\n{}", self.stdout());
            eprintln!("--- its standard error:\n{}---", self.stderr());
        }
    }
}

/// With the pause, 20 s: a peer is slow to start where much else runs.
const CONNECTS_MAX: usize = 1_000;
const CONNECT_PAUSE: Duration = Duration::from_millis(20);

/// How long a child may take to end when asked to.
const STOP_LIMIT: Duration = Duration::from_secs(5);

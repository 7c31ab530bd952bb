//! Starting a process and waiting for its end.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::{SigSet, Signal};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use tokio::task::spawn_blocking;

use super::exit::Exit;

/// A process that was just created, leader of its own session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spawned {
    pub(crate) pid: i32,
    /// Just before it was created.
    pub(crate) exec_at: Instant,
}

/// A program with its arguments and environment.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) program: PathBuf,
    /// `argv`, from the name on.
    pub(crate) args: Vec<Vec<u8>>,
    pub(crate) env: Vec<(String, String)>,
}

impl Plan {
    /// The same started by another command, which is to become the program: its words come first,
    /// in which `{argv0}` stands for `argv[0]`. Without words nothing is changed.
    #[must_use]
    pub(crate) fn through(self, launcher: &[String]) -> Self {
        let Some(program) = launcher.first() else {
            return self;
        };
        let mut rest = self.args.into_iter();
        let argv0 = rest.next().unwrap_or_default();
        let words = launcher.iter().map(|word| match word.as_str() {
            ARGV0 => argv0.clone(),
            word => word.as_bytes().to_owned(),
        });
        let mut args: Vec<_> = words.collect();
        args.push(self.program.into_os_string().into_encoded_bytes());
        args.extend(rest);
        Self {
            program: program.into(),
            args,
            env: self.env,
        }
    }
}

/// Starts the program in a session of its own, so that whatever it starts can be stopped and
/// killed with it.
///
/// `posix_spawn` and not `fork`: it shares the emulator's memory until `exec`, so the time to the
/// first `next` does not depend on the emulator's size. The working directory is the calling
/// thread's.
pub(crate) fn spawn(plan: &Plan, [stdout, stderr]: &[OwnedFd; 2]) -> io::Result<Spawned> {
    let path = c_string(plan.program.as_os_str().as_bytes())?;
    let mut args = Vec::new();
    for arg in &plan.args {
        args.push(c_string(arg)?);
    }
    let mut env = Vec::new();
    for (name, value) in &plan.env {
        env.push(c_string(format!("{name}={value}").as_bytes())?);
    }
    check_executable(&plan.program)?;

    let stdin = File::open("/dev/null")?;
    let mut actions = PosixSpawnFileActions::init()?;
    actions.add_dup2(stdin.as_raw_fd(), 0)?;
    actions.add_dup2(stdout.as_raw_fd(), 1)?;
    actions.add_dup2(stderr.as_raw_fd(), 2)?;

    // A process starts with no signal ignored, whatever this one ignores or was started with.
    // These two cannot be.
    let mut defaults = SigSet::all();
    defaults.remove(Signal::SIGKILL);
    defaults.remove(Signal::SIGSTOP);
    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_sigdefault(&defaults)?;
    attributes.set_sigmask(&SigSet::empty())?;
    attributes.set_flags(
        PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK
            | PosixSpawnFlags::from_bits_retain(POSIX_SPAWN_SETSID),
    )?;
    let exec_at = Instant::now();
    let pid = posix_spawn(path.as_c_str(), &actions, &attributes, &args, &env)?;
    Ok(Spawned {
        pid: pid.as_raw(),
        exec_at,
    })
}

/// Waits for the end of a child and reaps it.
pub(crate) async fn wait(pid: i32) -> io::Result<Exit> {
    let child = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidInput)?;
    // On a thread that may block it is only waited for. It is reaped here, on the thread that
    // sends the signals, so that no signal goes to another process that was given its id.
    let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    let wait = move || retry_on_intr(|| waitid(WaitId::Pid(child), ended)).map(drop);
    spawn_blocking(wait).await.map_err(io::Error::other)??;
    let status = waitid(WaitId::Pid(child), WaitIdOptions::EXITED)?
        .ok_or_else(|| io::Error::other("no status of an ended process"))?;
    Ok(match status.terminating_signal() {
        Some(signal) => Exit::Signal(signal),
        None => Exit::Code(status.exit_status().unwrap_or_default()),
    })
}

/// `posix_spawn` reports a missing program too, but a folder only as "permission denied".
fn check_executable(program: &Path) -> io::Result<()> {
    let kind = program.metadata()?.file_type();
    if kind.is_dir() || kind.is_socket() || kind.is_fifo() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file"));
    }
    Ok(())
}

fn c_string(bytes: &[u8]) -> io::Result<CString> {
    CString::new(bytes).map_err(|source| io::Error::new(io::ErrorKind::InvalidInput, source))
}

/// `argv[0]` of what a launcher starts.
const ARGV0: &str = "{argv0}";
/// The same value in glibc and musl; nix does not name it.
const POSIX_SPAWN_SETSID: i32 = 0x80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_launcher_comes_first_and_is_given_the_name() {
        let plan = Plan {
            program: "/task/fn".into(),
            args: vec![b"bootstrap".to_vec(), b"-x".to_vec()],
            env: Vec::new(),
        };
        let launcher = ["/bin/l", "--as", "{argv0}", "--"].map(String::from);
        let through = plan.clone().through(&launcher);
        assert_eq!(through.program, Path::new("/bin/l"));
        let args = ["/bin/l", "--as", "bootstrap", "--", "/task/fn", "-x"];
        assert_eq!(through.args, args.map(|arg| arg.as_bytes().to_vec()));
        let direct = plan.through(&[]);
        assert_eq!(direct.program, Path::new("/task/fn"));
        assert_eq!(direct.args.len(), 2);
    }
}

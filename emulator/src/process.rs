//! Starting the runtime's process and learning of its end.

use std::ffi::CString;
use std::fmt;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
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

use crate::config::{Config, Initialization, LogFormat};

/// A process that was just created, leader of its own session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spawned {
    pub(crate) pid: i32,
    /// Just before it was created.
    pub(crate) exec_at: Instant,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Code(i32),
    Signal(i32),
}

/// What is started.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) program: PathBuf,
    /// `argv`, from the name on.
    pub(crate) args: Vec<Vec<u8>>,
    pub(crate) env: Vec<(String, String)>,
}

impl Plan {
    /// The runtime.
    pub(crate) fn runtime(config: &Config, runtime_api: SocketAddr, stream: &str) -> Self {
        let mut args = vec![config.argv0.clone().into_bytes()];
        args.extend(config.args.iter().map(|arg| arg.clone().into_bytes()));
        Self {
            program: config.program.clone(),
            args,
            env: variables(config, runtime_api, stream),
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

    // The emulator ignores SIGPIPE as every Rust program does; the runtime must not inherit that.
    let mut defaults = SigSet::empty();
    defaults.add(Signal::SIGPIPE);
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

/// The environment an OS-only runtime gets; see "Defined runtime environment variables" in
/// docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html. Nothing is inherited. The
/// function's own variables come last and win, so that a test can change any of them.
fn variables(config: &Config, runtime_api: SocketAddr, stream: &str) -> Vec<(String, String)> {
    let task_root = config.task_root.display();
    let mut variables = vec![
        ("_HANDLER", config.handler.clone()),
        ("AWS_REGION", config.region.clone()),
        ("AWS_DEFAULT_REGION", config.region.clone()),
        ("AWS_LAMBDA_FUNCTION_NAME", config.function_name.clone()),
        (
            "AWS_LAMBDA_FUNCTION_VERSION",
            config.function_version.clone(),
        ),
        (
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
            config.memory_mb.to_string(),
        ),
        (
            "AWS_LAMBDA_INITIALIZATION_TYPE",
            config.initialization.name().to_owned(),
        ),
        (
            "AWS_LAMBDA_LOG_GROUP_NAME",
            format!("/aws/lambda/{}", config.function_name),
        ),
        ("AWS_LAMBDA_LOG_STREAM_NAME", stream.to_owned()),
        ("AWS_LAMBDA_RUNTIME_API", runtime_api.to_string()),
        ("LAMBDA_TASK_ROOT", task_root.to_string()),
        ("LAMBDA_RUNTIME_DIR", "/var/runtime".to_owned()),
        ("TZ", ":UTC".to_owned()),
        ("LANG", "en_US.UTF-8".to_owned()),
        ("PATH", SEARCH_PATH.to_owned()),
        ("LD_LIBRARY_PATH", library_path(config)),
    ];
    variables.extend(credentials(config, runtime_api));
    if config.initialization == Initialization::ManagedInstances {
        // An environment of the emulator is given one invocation at a time.
        variables.push(("AWS_LAMBDA_MAX_CONCURRENCY", "1".to_owned()));
    }
    let format = match config.log_format {
        LogFormat::Text => "Text",
        LogFormat::Json => "JSON",
    };
    variables.push(("AWS_LAMBDA_LOG_FORMAT", format.to_owned()));
    if let (LogFormat::Json, Some(level)) = (config.log_format, &config.log_level) {
        variables.push(("AWS_LAMBDA_LOG_LEVEL", level.clone()));
    }
    with_own(variables, &config.env)
}

/// The environment of an external extension: the function's own variables, and of the platform's
/// these and no others. Names that start with an underscore are not passed on.
pub(crate) fn extension_variables(
    config: &Config,
    runtime_api: SocketAddr,
) -> Vec<(String, String)> {
    let mut variables = vec![
        ("AWS_REGION", config.region.clone()),
        ("AWS_DEFAULT_REGION", config.region.clone()),
        ("AWS_LAMBDA_FUNCTION_NAME", config.function_name.clone()),
        (
            "AWS_LAMBDA_FUNCTION_VERSION",
            config.function_version.clone(),
        ),
        (
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
            config.memory_mb.to_string(),
        ),
        ("AWS_LAMBDA_RUNTIME_API", runtime_api.to_string()),
        (
            "AWS_LAMBDA_INITIALIZATION_TYPE",
            config.initialization.name().to_owned(),
        ),
        ("TZ", ":UTC".to_owned()),
        ("PATH", SEARCH_PATH.to_owned()),
        ("LD_LIBRARY_PATH", library_path(config)),
    ];
    variables.extend(credentials(config, runtime_api));
    let mut own = config.env.clone();
    own.retain(|(name, _)| !name.starts_with('_'));
    with_own(variables, &own)
}

fn with_own(
    mut variables: Vec<(&'static str, String)>,
    own: &[(String, String)],
) -> Vec<(String, String)> {
    variables.retain(|(name, _)| !own.iter().any(|(other, _)| other == name));
    let platform = variables
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value));
    platform.chain(own.iter().cloned()).collect()
}

/// Credentials, which under `SnapStart` are fetched: they would grow old in a snapshot.
fn credentials(config: &Config, runtime_api: SocketAddr) -> Vec<(&'static str, String)> {
    if config.initialization == Initialization::SnapStart {
        return vec![
            (
                "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                format!("http://{runtime_api}/2021-04-23/credentials"),
            ),
            (
                "AWS_CONTAINER_AUTHORIZATION_TOKEN",
                CREDENTIALS_TOKEN.to_owned(),
            ),
        ];
    }
    vec![
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY.to_owned()),
        ("AWS_SESSION_TOKEN", SESSION_TOKEN.to_owned()),
    ]
}

fn library_path(config: &Config) -> String {
    let root = config.task_root.display();
    format!("/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:{root}:{root}/lib:/opt/lib")
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

impl Exit {
    /// The code and the signal, of which there is one.
    pub(crate) fn parts(self) -> (Option<i32>, Option<i32>) {
        match self {
            Self::Code(code) => (Some(code), None),
            Self::Signal(signal) => (None, Some(signal)),
        }
    }

    /// The message the platform gives a process that ended without reporting an error.
    pub(crate) fn message(self) -> String {
        match self {
            Self::Code(0) => "Runtime exited without providing a reason".to_owned(),
            Self::Code(_) | Self::Signal(_) => format!("Runtime exited with error: {self}"),
        }
    }
}

/// As Go prints a process state, because the platform is written in Go.
impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit status {code}"),
            Self::Signal(signal) => match SIGNAL_NAMES.iter().find(|(n, _)| n == signal) {
                Some((_, name)) => write!(f, "signal: {name}"),
                None => write!(f, "signal: signal {signal}"),
            },
        }
    }
}

const SEARCH_PATH: &str = "/usr/local/bin:/usr/bin/:/bin:/opt/bin";
pub(crate) const ACCESS_KEY_ID: &str = "AKIAIOSFODNN7EXAMPLE";
pub(crate) const SECRET_ACCESS_KEY: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
pub(crate) const SESSION_TOKEN: &str = "emulated";
/// What has to be shown for credentials.
pub(crate) const CREDENTIALS_TOKEN: &str = "emulated-token";
/// The same value in glibc and musl; nix does not name it.
const POSIX_SPAWN_SETSID: i32 = 0x80;

/// Go's names (`syscall` package).
const SIGNAL_NAMES: [(i32, &str); 13] = [
    (1, "hangup"),
    (2, "interrupt"),
    (3, "quit"),
    (4, "illegal instruction"),
    (5, "trace/breakpoint trap"),
    (6, "aborted"),
    (7, "bus error"),
    (8, "floating point exception"),
    (9, "killed"),
    (11, "segmentation fault"),
    (13, "broken pipe"),
    (14, "alarm clock"),
    (15, "terminated"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_reads_as_the_platform_writes_it() {
        let table = [
            (Exit::Code(0), "Runtime exited without providing a reason"),
            (Exit::Code(1), "Runtime exited with error: exit status 1"),
            (Exit::Signal(9), "Runtime exited with error: signal: killed"),
            (
                Exit::Signal(11),
                "Runtime exited with error: signal: segmentation fault",
            ),
            (
                Exit::Signal(64),
                "Runtime exited with error: signal: signal 64",
            ),
        ];
        for (exit, expected) in table {
            assert_eq!(exit.message(), expected);
        }
    }

    #[test]
    fn the_level_is_set_for_json_only_and_own_variables_win() {
        let mut config = Config::new("/task/bootstrap");
        config.log_level = Some("DEBUG".into());
        config.env = vec![("TZ".into(), "Europe/Paris".into())];
        let addr = SocketAddr::from(([127, 0, 0, 1], 9_001));
        let get = |config: &Config, name: &str| {
            let all = variables(config, addr, "stream");
            let mut found = all
                .into_iter()
                .filter(|(n, _)| n == name)
                .map(|(_, value)| value);
            (found.next(), found.count())
        };
        assert_eq!(get(&config, "AWS_LAMBDA_LOG_LEVEL"), (None, 0));
        assert_eq!(get(&config, "TZ"), (Some("Europe/Paris".into()), 0));
        assert_eq!(
            get(&config, "AWS_LAMBDA_RUNTIME_API"),
            (Some("127.0.0.1:9001".into()), 0)
        );
        assert_eq!(get(&config, "LAMBDA_TASK_ROOT"), (Some("/task".into()), 0));
        config.log_format = LogFormat::Json;
        assert_eq!(
            get(&config, "AWS_LAMBDA_LOG_LEVEL"),
            (Some("DEBUG".into()), 0)
        );
        assert_eq!(
            get(&config, "AWS_LAMBDA_LOG_FORMAT"),
            (Some("JSON".into()), 0)
        );
        assert_eq!(get(&config, "AWS_EXECUTION_ENV"), (None, 0));
    }
}

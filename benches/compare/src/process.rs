//! A process that is measured, and what the kernel counts of it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::Outcome;

/// A program that is measured.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    /// How the tables call it.
    pub(crate) name: String,
    /// The file, under the name that it is started by.
    pub(crate) path: PathBuf,
    pub(crate) env: Vec<(&'static str, String)>,
}

/// A running process; it ends with this value.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// When it was about to be started.
    pub(crate) started: Instant,
}

/// The resources that a process has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) cpu_us: f64,
    pub(crate) minor_faults: f64,
    pub(crate) major_faults: f64,
    pub(crate) peak_kb: f64,
    pub(crate) now_kb: f64,
    pub(crate) threads: f64,
}

impl Subject {
    pub(crate) fn new(name: &str, path: PathBuf) -> Self {
        Self {
            name: name.to_owned(),
            path,
            env: Vec::new(),
        }
    }

    pub(crate) fn bytes(&self) -> Outcome<u64> {
        Ok(fs::metadata(&self.path)?.len())
    }

    /// Starts it against the API at this address.
    pub(crate) fn start(&self, api: &str) -> Outcome<Process> {
        self.start_under::<&str>(api, None, &[])
    }

    /// Starts it under a tool that takes the program behind its own arguments.
    pub(crate) fn start_under<S: AsRef<OsStr>>(
        &self,
        api: &str,
        tool: Option<&str>,
        args: &[S],
    ) -> Outcome<Process> {
        let mut command = match tool {
            Some(tool) => {
                let mut command = Command::new(tool);
                command.args(args).arg(&self.path);
                command
            }
            None => Command::new(&self.path),
        };
        command
            .env_clear()
            .envs(ENVIRONMENT)
            .env("AWS_LAMBDA_RUNTIME_API", api)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let started = Instant::now();
        let child = command
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", self.path.display()))?;
        Ok(Process { child, started })
    }
}

impl Process {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The process that a tool runs in this one.
    pub(crate) fn inner(&self) -> Outcome<u32> {
        let children = self.proc()?.task_main_thread()?.children()?;
        Ok(*children.first().ok_or("the tool runs no process")?)
    }

    /// Waits until no thread runs, then reads what was used: until then the kernel has not added
    /// up what a running thread takes.
    pub(crate) fn settled(&self) -> Outcome<Usage> {
        let until = Instant::now() + PATIENCE;
        let mut quiet = 0;
        while quiet < QUIET_LOOKS {
            quiet = if self.sleeps()? { quiet + 1 } else { 0 };
            if until < Instant::now() {
                let command = self.proc()?.cmdline()?;
                return Err(format!("it does not come to rest: {command:?}").into());
            }
            std::thread::yield_now();
        }
        self.usage()
    }

    /// The proportional memory of the process and its children, in kB.
    pub(crate) fn memory_of_all(&self) -> Outcome<f64> {
        let process = self.proc()?;
        let mut sum = 0;
        for child in process.task_main_thread()?.children()? {
            sum += memory(&procfs::process::Process::new(i32::try_from(child)?)?)?;
        }
        exact((sum + memory(&process)?) / 1_024)
    }

    /// Waits until it has ended by itself.
    pub(crate) fn ended(&mut self) -> Outcome<()> {
        self.child.wait()?;
        Ok(())
    }

    fn sleeps(&self) -> Outcome<bool> {
        for task in self.proc()?.tasks()? {
            // A thread may end between the two calls.
            match task.and_then(|task| task.stat()).map(|stat| stat.state) {
                Ok('S') | Err(_) => {}
                Ok('Z' | 'X') => return Err(format!("process {} has ended", self.id()).into()),
                Ok(_) => return Ok(false),
            }
        }
        Ok(true)
    }

    fn usage(&self) -> Outcome<Usage> {
        let process = self.proc()?;
        let ran_ns = process
            .tasks()?
            .filter_map(|task| Some(task.ok()?.schedstat().ok()?.sum_exec_runtime))
            .sum();
        let (stat, status) = (process.stat()?, process.status()?);
        Ok(Usage {
            cpu_us: exact(ran_ns)? / 1e3,
            minor_faults: exact(stat.minflt)?,
            major_faults: exact(stat.majflt)?,
            peak_kb: exact(status.vmhwm.ok_or(NO_MEMORY)?)?,
            now_kb: exact(status.vmrss.ok_or(NO_MEMORY)?)?,
            threads: exact(status.threads)?,
        })
    }

    fn proc(&self) -> Outcome<procfs::process::Process> {
        Ok(procfs::process::Process::new(i32::try_from(self.id())?)?)
    }
}

/// The proportional memory of one process, in bytes.
fn memory(process: &procfs::process::Process) -> Outcome<u64> {
    let maps = process.smaps_rollup()?.memory_map_rollup;
    let pss = |map: &procfs::process::MemoryMap| map.extension.map.get("Pss").copied();
    Ok(maps.iter().filter_map(pss).sum())
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Drops the pages of a file from the page cache, as far as nothing maps them.
pub(crate) fn evict(path: &Path) -> Outcome<()> {
    let file = fs::File::open(path)?;
    // Only pages that are on the disk can be dropped.
    file.sync_all()?;
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    Ok(())
}

/// Keeps this thread, and what it starts, on one processor until this value is gone.
///
/// Two processes that take turns cost the same every time there. On two processors each wakes the
/// other with an interrupt, out of an idle state: three times the CPU, and it is up to the
/// scheduler which of the two happens.
#[derive(Debug)]
pub(crate) struct OneProcessor {
    before: CpuSet,
}

impl OneProcessor {
    pub(crate) fn take() -> Outcome<Self> {
        let before = sched_getaffinity(None)?;
        let last = (0..CpuSet::MAX_CPU).rev().find(|cpu| before.is_set(*cpu));
        let mut one = CpuSet::new();
        one.set(last.ok_or("no processor")?);
        sched_setaffinity(None, &one)?;
        Ok(Self { before })
    }
}

impl Drop for OneProcessor {
    fn drop(&mut self) {
        // It was allowed before.
        sched_setaffinity(None, &self.before).ok();
    }
}

/// A count as a figure. None here comes near 2^53, above which a figure would not be exact.
#[expect(clippy::cast_precision_loss, reason = "see above")]
fn exact(count: u64) -> Outcome<f64> {
    if count < 1 << 53 {
        Ok(count as f64)
    } else {
        Err("a count out of range".into())
    }
}

/// Variables of Lambda that any of the programs reads.
const ENVIRONMENT: [(&str, &str); 12] = [
    ("AWS_DEFAULT_REGION", "us-east-1"),
    ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
    ("AWS_LAMBDA_FUNCTION_NAME", "measured"),
    ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
    ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
    ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/measured"),
    ("AWS_LAMBDA_LOG_STREAM_NAME", "2026/11/21/[$LATEST]0"),
    ("AWS_REGION", "us-east-1"),
    ("LANG", "en_US.UTF-8"),
    ("PATH", "/usr/local/bin:/usr/bin/:/bin:/opt/bin"),
    ("TZ", ":UTC"),
    ("_HANDLER", "handler"),
];

/// How long a process may take to come to rest.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often in a row a process has to be found asleep.
const QUIET_LOOKS: usize = 3;

/// A process that has ended, and was not waited for, has no memory.
const NO_MEMORY: &str = "the process has ended";

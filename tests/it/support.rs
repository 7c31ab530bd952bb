//! Starting functions, and showing everything that is known when a test fails.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;
use std::time::Duration;

use bantam_emulator::{Config, Emulator, Entry, LogLine, Outcome, Report, What};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::Value;

/// An emulator that prints what it saw if the test fails.
pub(crate) struct Env {
    emulator: Option<Emulator>,
    config: Config,
}

/// Starts `config`.
pub(crate) fn start(config: Config) -> Env {
    let emulator = Emulator::start(config.clone()).unwrap();
    Env {
        emulator: Some(emulator),
        config,
    }
}

/// The function that does what the event says.
pub(crate) fn faulty() -> Config {
    function("faulty")
}

/// A function that has to give up shortly before its deadline, after so many seconds. The platform
/// does not come before it, however busy the machine is.
pub(crate) fn ending_by_itself(config: Config, timeout_secs: u64) -> Config {
    ended_late(config, timeout_secs, Duration::from_secs(60))
}

/// A function that has so much time to say what it gives up, and is ended by the platform so long
/// after that.
pub(crate) fn ended_late(mut config: Config, timeout_secs: u64, grace: Duration) -> Config {
    config.timeout = Duration::from_secs(timeout_secs);
    config.deadline_grace = grace;
    config
}

/// A Rust example as a function.
pub(crate) fn function(example: &str) -> Config {
    let mut config = Config::new(example_path(example));
    config.timeout = Duration::from_secs(10);
    config
}

/// The stock binary with an executable handler from the fixtures.
pub(crate) fn stock(handler: &str) -> Config {
    let mut config = function("raw");
    config.program = folder().join("bantam");
    config.task_root = fixtures();
    config.handler = handler.to_owned();
    config
        .env
        .push(("PATH".to_owned(), "/usr/bin:/bin".to_owned()));
    config
}

pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

pub(crate) fn example_path(name: &str) -> PathBuf {
    build();
    folder().join("examples").join(name)
}

/// `BANTAM_TEST_PROGRAMS`: where the programs are that were built before, as they ship.
pub(crate) fn shipped() -> Option<PathBuf> {
    let folder = std::env::var_os("BANTAM_TEST_PROGRAMS")?;
    Some(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder))
}

fn folder() -> PathBuf {
    let built = Path::new(env!("CARGO_BIN_EXE_bantam")).parent().unwrap();
    shipped().unwrap_or_else(|| built.to_path_buf())
}

/// The folder that cargo builds into.
pub(crate) fn target_folder() -> PathBuf {
    let built = Path::new(env!("CARGO_BIN_EXE_bantam"));
    built.ancestors().nth(2).unwrap().to_path_buf()
}

/// `cargo test` builds the examples, but not when it is told to run one test target only.
fn build() {
    static BUILT: Once = Once::new();
    BUILT.call_once(|| {
        if shipped().is_some() {
            return;
        }
        let mut command = Command::new(env!("CARGO"));
        command
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(["build", "--quiet", "--bins"]);
        if cfg!(feature = "tls") {
            command.args(["--features", "tls"]);
        }
        command.args(["--examples", "--target-dir"]);
        command.arg(target_folder());
        assert!(command.status().unwrap().success(), "{command:?}");
    });
}

impl Env {
    /// Ends it, as the platform would.
    pub(crate) fn stop(mut self) -> Report {
        self.emulator.take().unwrap().stop()
    }

    /// Invokes and expects a response.
    pub(crate) fn respond(&self, event: &str) -> Value {
        let outcome = self.invoke(event).unwrap();
        assert_eq!(outcome.function_error, None, "{event}");
        assert_eq!(answers(self, &outcome), 1);
        serde_json::from_slice(&outcome.body).unwrap()
    }

    /// Invokes and expects an error: the type as the platform records it, and the document.
    pub(crate) fn fail(&self, event: &str) -> (String, Value) {
        let outcome = self.invoke(event).unwrap();
        let error = outcome.function_error.clone().expect("a function error");
        assert!(answers(self, &outcome) <= 1);
        (
            error.error_type,
            serde_json::from_slice(&error.body).unwrap(),
        )
    }

    /// How many processes were started.
    pub(crate) fn spawned(&self) -> usize {
        count(&self.transcript(), |what| {
            matches!(what, What::Spawned { .. })
        })
    }

    /// Waits until so many calls of the first environment's runtime wait for an event. What a
    /// runtime does before, the end of the environment may interrupt.
    pub(crate) fn wait_for_polls(&self, number: usize) {
        let all = |_: &[Entry]| self.environments()[0].polls == number;
        self.wait_until("a poll of each", all).unwrap();
    }

    /// The log of the function, without the lines of the platform, as one text.
    pub(crate) fn function_log(&self) -> String {
        function_lines(&self.log())
    }

    /// Waits until the function's log holds `text`.
    pub(crate) fn wait_for_log(&self, text: &str) {
        self.wait_for_log_times(text, 1);
    }

    /// Waits until the function's log holds `text` so many times.
    pub(crate) fn wait_for_log_times(&self, text: &str, times: usize) {
        let holds = |lines: &[LogLine]| times <= function_lines(lines).matches(text).count();
        self.wait_for_log_line(text, holds);
    }

    /// Waits until the log, with the lines of the platform, passes a test.
    pub(crate) fn wait_for_log_line(&self, what: &str, test: impl FnMut(&[LogLine]) -> bool) {
        Emulator::wait_for_log(self, what, test).unwrap();
    }
}

fn function_lines(lines: &[LogLine]) -> String {
    let lines = lines.iter().filter(|line| !line.platform);
    lines.flat_map(|line| [line.text.as_str(), "\n"]).collect()
}

/// How many answers the platform accepted for the invocation.
pub(crate) fn answers(env: &Env, outcome: &Outcome) -> usize {
    bantam_emulator::answers(&env.transcript(), &outcome.request_id)
}

pub(crate) fn count(entries: &[Entry], test: impl Fn(&What) -> bool) -> usize {
    entries.iter().filter(|entry| test(&entry.what)).count()
}

impl Deref for Env {
    type Target = Emulator;

    fn deref(&self) -> &Emulator {
        self.emulator.as_ref().unwrap()
    }
}

impl Drop for Env {
    fn drop(&mut self) {
        let Some(emulator) = self.emulator.take() else {
            return;
        };
        let report = emulator.stop();
        if std::thread::panicking() {
            eprintln!("--- function: {:?}", self.config);
            for entry in &report.transcript {
                eprintln!("{entry}");
            }
            eprintln!("--- log");
            for line in &report.log {
                eprintln!("{}", line.text);
            }
        }
    }
}

/// Leaves a process so much memory to take beside what it has.
pub(crate) fn leave_memory(pid: u32, kib: u64) {
    let size = testkit::process::status(pid).vmsize.unwrap();
    let limit = Rlimit {
        current: Some((size + kib) * 1_024),
        maximum: None,
    };
    let pid = Pid::from_raw(i32::try_from(pid).unwrap());
    prlimit(pid, Resource::As, limit).unwrap();
}

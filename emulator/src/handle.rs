//! The handle that a caller holds, and the emulator's thread behind it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{env, io};

use nix::sched::{CloneFlags, unshare};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{Notify, oneshot};

use crate::api::{self, callers};
use crate::config::{Config, Initialization, Invoke, LogFormat};
use crate::environment::Shared;
use crate::environment::pool::{Ending, Pool};
use crate::error::EmulatorError as Error;
use crate::fault::{Fault, Registry};
use crate::http::port::Port;
use crate::process;
use crate::record::log::{Log, LogLine};
use crate::record::outcome::{Environment, Outcome, Report, Started};
use crate::record::transcript::{Entry, Transcript};
use crate::record::watch::{Seen, Watch};
use crate::telemetry::Deliveries;

/// A running emulator. Dropping it kills everything it started; [`Emulator::stop`] ends it as
/// Lambda ends environments.
///
/// Its methods block and may be called from several threads at once.
#[derive(Debug)]
pub struct Emulator {
    pool: Arc<Pool>,
    handle: Handle,
    invoke_addr: SocketAddr,
    stop: Option<oneshot::Sender<Ending>>,
    thread: Option<JoinHandle<()>>,
}

/// The parts of the handle that the emulator's thread makes.
struct Running {
    pool: Arc<Pool>,
    handle: Handle,
    invoke_addr: SocketAddr,
}

impl Emulator {
    /// Binds the Invoke API. No process is started before it is needed.
    ///
    /// # Errors
    ///
    /// [`Error::Listen`], [`Error::Thread`] and [`Error::TaskRoot`].
    pub fn start(mut config: Config) -> Result<Self, Error> {
        if !config.program.as_os_str().is_empty() {
            // The thread that starts processes has another working directory.
            let extensions = config.extensions.iter_mut();
            for path in std::iter::once(&mut config.program).chain(extensions) {
                *path = std::path::absolute(&*path).map_err(|source| Error::Spawn {
                    program: path.clone(),
                    source,
                })?;
            }
        }
        if config.initialization == Initialization::ManagedInstances {
            // "Log format: JSON only".
            config.log_format = LogFormat::Json;
        }
        let (stop, stopped) = oneshot::channel();
        let (sender, receiver) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("emulator".into())
            .spawn(move || run(config, &sender, stopped))
            .map_err(Error::Thread)?;
        let running = receiver.recv().unwrap_or(Err(Error::Stopped))?;
        Ok(Self {
            pool: running.pool,
            handle: running.handle,
            invoke_addr: running.invoke_addr,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where the Invoke API listens.
    #[must_use]
    pub fn invoke_addr(&self) -> SocketAddr {
        self.invoke_addr
    }

    /// Cold-starts one more environment now and waits for its first `next`. In attach mode, waits
    /// for a runtime to attach.
    ///
    /// # Errors
    ///
    /// [`Error::Spawn`], [`Error::Init`], [`Error::Refused`] when `concurrency_max` is reached.
    pub fn prepare(&self) -> Result<Started, Error> {
        let pool = Arc::clone(&self.pool);
        self.wait("first next", async move { pool.prepare().await })?
    }

    /// Invokes the function and waits for the result and for the runtime to be ready again.
    /// The event is not checked to be JSON.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] when no function was run. A function error is in the [`Outcome`].
    pub fn invoke(&self, event: impl Into<Vec<u8>>) -> Result<Outcome, Error> {
        self.invoke_with(Invoke::new(event))
    }

    /// Invokes the function with everything an Invoke request can carry.
    ///
    /// # Errors
    ///
    /// As [`Emulator::invoke`].
    pub fn invoke_with(&self, invoke: Invoke) -> Result<Outcome, Error> {
        self.wait(
            "end of an invocation",
            Arc::clone(&self.pool).invoke(invoke),
        )?
    }

    /// Every Runtime API exchange and lifecycle step so far, in order.
    #[must_use]
    pub fn transcript(&self) -> Vec<Entry> {
        self.shared().transcript.snapshot()
    }

    /// Waits until the transcript passes a test. The test runs now and after every new entry,
    /// with the transcript locked: it must not call the emulator.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] with the transcript after `wait_max`.
    pub fn wait_until(&self, what: &str, test: impl FnMut(&[Entry]) -> bool) -> Result<(), Error> {
        let after = self.shared().config.wait_max;
        self.shared()
            .transcript
            .wait_until(after, test)
            .map_err(|transcript| Error::Timeout {
                what: what.to_owned(),
                after,
                transcript,
            })
    }

    /// The log so far.
    #[must_use]
    pub fn log(&self) -> Vec<LogLine> {
        self.shared().log.snapshot()
    }

    /// Waits until the log passes a test. The test runs now and after every new line, with the log
    /// locked: it must not call the emulator.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] with the transcript after `wait_max`.
    pub fn wait_for_log(
        &self,
        what: &str,
        test: impl FnMut(&[LogLine]) -> bool,
    ) -> Result<(), Error> {
        let after = self.shared().config.wait_max;
        self.shared()
            .log
            .wait_until(after, test)
            .map_err(|_log| Error::Timeout {
                what: what.to_owned(),
                after,
                transcript: self.transcript(),
            })
    }

    /// Forgets the transcript and the log so far.
    pub fn clear(&self) {
        self.shared().transcript.clear();
        self.shared().log.clear();
    }

    /// The environments that exist.
    #[must_use]
    pub fn environments(&self) -> Vec<Environment> {
        self.pool.describe()
    }

    /// Everything that is recorded from now on, as it happens. The receiver has to keep up: where
    /// 10,000 wait, the emulator waits too.
    #[must_use]
    pub fn watch(&self) -> mpsc::Receiver<Seen> {
        self.shared().watch.begin()
    }

    /// Gives an environment no further invocation and shuts it down when it runs none.
    ///
    /// # Errors
    ///
    /// [`Error::Environment`] if there is none, or its process was started by hand.
    pub fn retire(&self, environment: u64) -> Result<(), Error> {
        let pool = Arc::clone(&self.pool);
        self.wait("retirement", async move { pool.retire(environment) })?
    }

    /// Retires every environment and returns their number. The next invocations start new ones,
    /// with the program as it is then.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`] and [`Error::Timeout`].
    pub fn renew(&self) -> Result<usize, Error> {
        let pool = Arc::clone(&self.pool);
        self.wait("renewal", async move { pool.renew() })
    }

    /// Kills the processes of a runtime, which is a crash to the platform.
    ///
    /// # Errors
    ///
    /// [`Error::Environment`] if there is none, or it has no process.
    pub fn crash(&self, environment: u64) -> Result<(), Error> {
        let pool = Arc::clone(&self.pool);
        self.wait("end", async move { pool.crash(environment).await })?
    }

    /// Stops the processes of an environment, or continues them, whatever they do. An invocation
    /// that is frozen reaches its timeout all the same.
    ///
    /// # Errors
    ///
    /// As [`Emulator::crash`].
    pub fn set_frozen(&self, environment: u64, frozen: bool) -> Result<(), Error> {
        let pool = Arc::clone(&self.pool);
        let set = async move { pool.set_frozen(environment, frozen).await };
        self.wait("stop", set)?
    }

    /// Restores an environment that runs no invocation from a snapshot of it, which is taken now if
    /// it is not one: as `SnapStart` does, its idle connections are cut and time has passed.
    ///
    /// # Errors
    ///
    /// [`Error::Environment`] if it is not fit for that, [`Error::Init`] if the runtime does not
    /// come back.
    pub fn restore(&self, environment: u64) -> Result<Duration, Error> {
        let pool = Arc::clone(&self.pool);
        self.wait("restore", async move { pool.restore(environment).await })?
    }

    /// Plants further faults. Their places are counted from the emulator's start.
    pub fn add_faults(&self, faults: Vec<Fault>) {
        self.shared().faults.plant(faults);
    }

    /// The telemetry that the subscribers were sent, in every environment.
    #[must_use]
    pub fn deliveries(&self) -> Vec<Deliveries> {
        self.pool.deliveries()
    }

    /// Ends every environment and joins the emulator's thread. Environments with extensions go
    /// through the shutdown phase, which takes up to 2 s; the others are killed at once.
    #[must_use]
    pub fn stop(mut self) -> Report {
        self.end(Ending::Shutdown);
        Report {
            transcript: self.transcript(),
            log: self.log(),
            deliveries: self.deliveries(),
        }
    }

    /// Runs a future on the emulator's thread and waits for it.
    fn wait<T: Send + 'static>(
        &self,
        what: &str,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Error> {
        let (sender, receiver) = mpsc::channel();
        drop(self.handle.spawn(async move {
            // Nobody waits any more after the bound.
            let _late = sender.send(future.await);
        }));
        let after = self.bound();
        receiver.recv_timeout(after).map_err(|error| match error {
            mpsc::RecvTimeoutError::Timeout => Error::Timeout {
                what: what.to_owned(),
                after,
                transcript: self.transcript(),
            },
            mpsc::RecvTimeoutError::Disconnected => Error::Stopped,
        })
    }

    /// An init that fails, one that is repeated inside an invocation, and what the emulator adds.
    fn bound(&self) -> Duration {
        let config = &self.shared().config;
        config.init_limit() + config.timeout + config.deadline_grace + config.wait_max
    }

    fn end(&mut self, ending: Ending) {
        if let Some(stop) = self.stop.take() {
            let _stopped_already = stop.send(ending);
        }
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was printed by it; its processes are children of this one.
            let _panicked = thread.join();
        }
    }

    fn shared(&self) -> &Shared {
        self.pool.shared()
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.end(Ending::Kill);
    }
}

/// The emulator's thread.
fn run(
    config: Config,
    ready: &mpsc::Sender<Result<Running, Error>>,
    stopped: oneshot::Receiver<Ending>,
) {
    let result = enter(&config).and_then(|()| {
        Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(Error::Thread)
    });
    let runtime = match result {
        Ok(runtime) => runtime,
        Err(error) => {
            let _gone = ready.send(Err(error));
            return;
        }
    };
    runtime.block_on(async {
        let running = serve(config).await;
        let pool = running
            .as_ref()
            .ok()
            .map(|running| Arc::clone(&running.pool));
        let _gone = ready.send(running);
        if let Some(pool) = pool {
            // An error means that the handle is gone, which is a reason to stop too.
            pool.end(stopped.await.unwrap_or(Ending::Kill)).await;
        }
    });
    // Threads that wait for a process end with it; one that cannot be killed is not waited for.
    runtime.shutdown_timeout(LINGER);
}

async fn serve(config: Config) -> Result<Running, Error> {
    let address = config.listen;
    let port = Port::bind(address)
        .await
        .map_err(|source| Error::Listen { address, source })?;
    let invoke_addr = port.addr();
    if let Some(address) = config.runtime_api {
        // Whether it is free is found out now, and not at the first invocation.
        let bound = Port::bind(address).await;
        drop(bound.map_err(|source| Error::Listen { address, source })?);
    }
    let attach = config.program.as_os_str().is_empty();
    let shared = Arc::new(Shared {
        transcript: Transcript::new(config.record_bytes_max),
        log: Log::new(config.record_bytes_max, config.echo_log),
        watch: Watch::default(),
        faults: Registry::new(config.faults.clone()),
        freed: Notify::new(),
        config,
    });
    let pool = Arc::new(Pool::new(shared, api::serve));
    if attach {
        pool.open_for_attaching().await?;
    }
    drop(tokio::spawn(callers::accept_all(Arc::clone(&pool), port)));
    Ok(Running {
        pool,
        handle: Handle::current(),
        invoke_addr,
    })
}

/// Gives this thread a working directory of its own and enters the task root. Processes are
/// started from this thread and inherit it (unshare(2), `CLONE_FS`).
fn enter(config: &Config) -> Result<(), Error> {
    if config.program.as_os_str().is_empty() {
        return Ok(());
    }
    process::expect_children().map_err(Error::Thread)?;
    unshare(CloneFlags::CLONE_FS).map_err(|errno| Error::Thread(io::Error::from(errno)))?;
    let path: &Path = &config.task_root;
    env::set_current_dir(path).map_err(|source| Error::TaskRoot {
        path: path.to_path_buf(),
        source,
    })
}

const LINGER: Duration = Duration::from_secs(1);

//! What is done to the processes of an environment between and after invocations: freeze, thaw,
//! snapshot, restore, reset, shutdown.
//!
//! docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::task::yield_now;
use tokio::time::sleep_until;

use crate::clock::epoch_ms;
use crate::config::Initialization;
use crate::environment::{Env, Inner, Process};
use crate::extension::registry::{Notice, Subscribed};
use crate::failure::Failure;
use crate::outcome::State;
use crate::proc;
use crate::session;
use crate::transcript::What;

impl Env {
    /// Whether no process is to be started and one may attach.
    pub(crate) fn is_attached(&self) -> bool {
        self.shared.config.program.as_os_str().is_empty()
    }

    /// Whether the init phase ends in a snapshot.
    pub(crate) fn takes_snapshots(&self) -> bool {
        self.shared.config.initialization == Initialization::SnapStart
    }

    /// Ends whatever processes there are. The next invocation starts new ones in the same
    /// environment.
    pub(crate) async fn reset(&self, failure: &Failure) {
        self.record(What::Reset {
            reason: failure.error_type(),
        });
        self.end(failure.shutdown_reason()).await;
    }

    /// The environment is given up: nobody needs it any more.
    pub(crate) async fn shutdown(&self) {
        self.lock().closed = true;
        self.end("spindown").await;
        self.gone();
    }

    /// Ends the environment without a word to anyone in it.
    pub(crate) async fn kill(&self) {
        self.lock().closed = true;
        for process in self.processes() {
            if session::kill(process.pid).await {
                process.guard.end();
            }
        }
        let _alone = self.end.lock().await;
        self.kill_runtime().await;
        self.await_extensions_end(Instant::now() + KILL_BOUND).await;
        self.forget();
        self.gone();
    }

    fn gone(&self) {
        self.port.shut();
        self.record(What::Shutdown);
    }

    /// Ends the processes and forgets them.
    ///
    /// "Shutdown phase": without an extension the runtime is killed at once.
    async fn end(&self, reason: &'static str) {
        let _alone = self.end.lock().await;
        if self.lock().extensions.is_empty() {
            self.kill_runtime().await;
        } else {
            self.wind_down(reason).await;
        }
        self.forget();
    }

    fn forget(&self) {
        self.lock().forget_processes();
        if self.is_attached() {
            self.open_for_attaching();
        }
        self.notify();
    }

    /// The shutdown sequence: SIGTERM to the runtime, `SHUTDOWN` to the extensions, SIGKILL to
    /// those who are not gone in time.
    async fn wind_down(&self, reason: &'static str) {
        let start = Instant::now();
        let start_time = SystemTime::now();
        let budget = {
            let mut inner = self.lock();
            inner.extensions.shut_down();
            inner.machine.stop();
            if inner.extensions.all().iter().any(|e| e.external) {
                BUDGET
            } else {
                BUDGET_INTERNAL
            }
        };
        self.record(What::ShutdownStart { reason, budget });
        self.thaw();
        self.terminate_runtime(start + RUNTIME_BUDGET.min(budget))
            .await;
        let config = &self.shared.config;
        // On Managed Instances telemetry is handed over before the extensions are told.
        if config.initialization == Initialization::ManagedInstances
            || config.telemetry.flush_at_shutdown
        {
            self.telemetry.flush(TELEMETRY_BUDGET).await;
        }
        let deadline_ms = epoch_ms(start_time + budget);
        self.end_extensions(reason, start + budget, deadline_ms)
            .await;
    }

    async fn terminate_runtime(&self, deadline: Instant) {
        let process = self.lock().process.clone();
        let Some(process) = process else {
            return;
        };
        if self.lock().exit.is_none() {
            if let Some(group) = Pid::from_raw(process.pid) {
                // One that ended meanwhile needs no signal.
                let _gone = kill_process_group(group, Signal::TERM);
                self.record(What::Terminated);
            }
            self.wait_for(deadline, |inner| inner.exit).await;
        }
        self.kill_runtime().await;
    }

    /// Kills the runtime and whatever it started.
    async fn kill_runtime(&self) {
        let process = self.lock().process.clone();
        let Some(process) = process else {
            return;
        };
        self.lock().machine.stop();
        if session::kill(process.pid).await {
            process.guard.end();
        }
        self.wait_for(Instant::now() + KILL_BOUND, |inner| inner.exit)
            .await;
        process.output.drain(self);
        self.record(What::Killed);
    }

    async fn end_extensions(&self, reason: &'static str, deadline: Instant, deadline_ms: u64) {
        let notice = Arc::new(Notice::Shutdown {
            reason,
            deadline_ms,
        });
        let told_at = Instant::now();
        let told = {
            let mut inner = self.lock();
            inner.extensions.release(&notice, Subscribed::Shutdown)
        };
        // Those who do not take the event are killed now.
        self.kill_extensions(told_at, |name| !told.iter().any(|told| told == name))
            .await;
        if self.is_attached() {
            // Nobody knows when one ends that nobody started; it gets to read the event.
            self.let_connections_run().await;
        }
        self.await_extensions_end(deadline).await;
        self.kill_extensions(told_at, |name| told.iter().any(|told| told == name))
            .await;
    }

    async fn await_extensions_end(&self, deadline: Instant) {
        let ended = self.wait_for(deadline, |inner| {
            let mut all = inner.extensions.all().iter();
            let ended = all.all(|e| e.process.is_none() || e.exit.is_some());
            ended.then_some(())
        });
        ended.await;
    }

    /// Kills those external extensions that still run, and what all of them started.
    async fn kill_extensions(&self, told_at: Instant, is_meant: impl Fn(&str) -> bool) {
        let mut meant = Vec::new();
        for extension in self.lock().extensions.all() {
            if let Some(process) = extension
                .process
                .clone()
                .filter(|_| is_meant(&extension.name))
            {
                meant.push((extension.name.clone(), process, extension.exit.is_none()));
            }
        }
        for (name, process, lives) in meant {
            if session::kill(process.pid).await {
                process.guard.end();
            }
            let bound = Instant::now() + KILL_BOUND;
            let exited_at = self.wait_for(bound, |inner| exited_at(inner, &name)).await;
            process.output.drain(self);
            let took = exited_at.map(|at| at.saturating_duration_since(told_at));
            let takes = {
                let inner = self.lock();
                let mut all = inner.extensions.all().iter();
                all.any(|e| e.name == name && e.takes(Subscribed::Shutdown))
            };
            self.record(What::ExtensionShutdown {
                extension: name,
                took: took.filter(|_| takes),
                killed: lives,
            });
        }
    }

    /// Stops every process until the next invocation.
    pub(crate) async fn freeze(&self) {
        let config = &self.shared.config;
        if config.freeze && config.initialization != Initialization::ManagedInstances {
            self.stop().await;
        }
    }

    async fn stop(&self) {
        if self.lock().process.is_none() {
            return;
        }
        self.telemetry.freeze();
        for process in self.processes() {
            session::freeze(process.pid).await;
        }
        self.lock().frozen = true;
        self.record(What::Frozen);
    }

    pub(crate) fn thaw(&self) {
        if !self.lock().frozen {
            return;
        }
        for process in self.processes() {
            session::thaw(process.pid);
        }
        self.lock().frozen = false;
        self.telemetry.thaw();
        self.record(What::Thawed);
    }

    /// Ends an init phase in a snapshot.
    pub(crate) async fn snapshot(&self) {
        self.stop().await;
        self.lock().snapshot_at = Some(Instant::now());
    }

    /// Restores the snapshot: the processes go on where they were stopped, a while later.
    ///
    /// docs.aws.amazon.com/lambda/latest/dg/snapstart-runtime-hooks-custom.html
    pub(crate) async fn restore(&self) -> Result<Duration, Failure> {
        let taken_at = self.lock().snapshot_at.take();
        let taken_at = taken_at.unwrap_or_else(Instant::now);
        sleep_until((taken_at + self.shared.config.restore_gap).into()).await;
        self.record(What::RestoreStart);
        self.log_platform("RESTORE_START Runtime Version: provided:al2023");
        self.publish_restore_start();
        let start = Instant::now();
        self.thaw();
        let waits = {
            let mut inner = self.lock();
            let waits = inner.machine.restore();
            if let Some(waiter) = inner.restore_waiter.take() {
                // A runtime whose connection broke will not come out of the restore.
                let _broken = waiter.send(());
            }
            waits
        };
        let result = if waits {
            self.await_restored(start + RESTORE_LIMIT).await
        } else {
            Ok(())
        };
        let duration = start.elapsed();
        let failure = result.as_ref().err();
        let error = failure.map(Failure::error_type);
        self.log_platform(&crate::report::restore_report(duration, error.as_deref()));
        self.publish_restore(failure, duration);
        self.record(What::RestoreDone { duration, error });
        result.map(|()| duration)
    }

    /// A runtime that waited for the restore runs its hooks and asks for an event.
    async fn await_restored(&self, limit: Instant) -> Result<(), Failure> {
        let restored = self.wait_for(limit, |inner| {
            let ready = (inner.machine.state() == State::Ready).then_some(Ok(()));
            let error = inner.restore_error.clone();
            let error = error.map(|error| Err(Failure::Reported(error)));
            ready.or(error).or_else(|| inner.ended().map(Err))
        });
        restored.await.unwrap_or(Err(Failure::Timeout))
    }

    /// Lets every task that has bytes to read have its turn. The event loop looks at the sockets
    /// between turns.
    pub(crate) async fn let_connections_run(&self) {
        for _ in 0..CONNECTION_TURNS {
            yield_now().await;
        }
    }

    pub(crate) fn drain_output(&self) {
        for process in self.processes() {
            process.output.drain(self);
        }
    }

    /// The runtime first.
    fn processes(&self) -> Vec<Process> {
        let inner = self.lock();
        let extensions = inner.extensions.all().iter();
        let extensions = extensions.filter_map(|extension| extension.process.clone());
        inner
            .process
            .clone()
            .into_iter()
            .chain(extensions)
            .collect()
    }

    pub(crate) fn pid(&self) -> u32 {
        let inner = self.lock();
        let pid = inner.process.as_ref().map(|process| process.pid);
        pid.and_then(|pid| u32::try_from(pid).ok())
            .unwrap_or_default()
    }

    /// Peak memory of the function: of the runtime's process and the extensions'. Of a runtime
    /// that is gone, what it was when last looked at.
    pub(crate) fn peak_memory_kb(&self) -> u64 {
        let extensions = self.describe_extensions();
        let extensions = extensions.iter().filter_map(|e| e.peak_memory_kb());
        let now = proc::status_kb(self.pid(), "VmHWM");
        let mut inner = self.lock();
        inner.peak_memory_kb = now.unwrap_or(inner.peak_memory_kb);
        inner.peak_memory_kb + extensions.sum::<u64>()
    }
}

/// When the extension ended; now, if it is forgotten already.
fn exited_at(inner: &Inner, name: &str) -> Option<Instant> {
    match inner.extensions.all().iter().find(|e| e.name == name) {
        Some(extension) => extension.exited_at,
        None => Some(Instant::now()),
    }
}

/// "2,000 ms: a function with one or more external extensions"
/// (docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html).
const BUDGET: Duration = Duration::from_secs(2);
/// "500 ms: a function with a registered internal extension". All of it is the runtime's, because
/// such an extension lives in the runtime's process.
const BUDGET_INTERNAL: Duration = Duration::from_millis(500);
/// The runtime's share, 30 % of the budget (`runtimeDeadlineShare` in
/// aws-lambda-runtime-interface-emulator; the documentation's 300 ms are never less).
const RUNTIME_BUDGET: Duration = Duration::from_millis(600);
/// How long the last telemetry may take, as on Managed Instances.
const TELEMETRY_BUDGET: Duration = Duration::from_secs(1);
/// "10 seconds" for the after-restore hooks
/// (docs.aws.amazon.com/lambda/latest/dg/snapstart-runtime-hooks-custom.html).
const RESTORE_LIMIT: Duration = Duration::from_secs(10);
/// How long the end of a killed process is waited for.
const KILL_BOUND: Duration = Duration::from_secs(5);
/// Enough turns for a task to accept, to read and to hand on what it read.
const CONNECTION_TURNS: usize = 32;

//! The ends of an environment's processes: reset, shutdown, kill.
//!
//! docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::environment::extensions::{Notice, Subscribed};
use crate::environment::failure::Failure;
use crate::environment::{Env, Inner};
use crate::process::session;
use crate::record::transcript::What;
use crate::time::epoch_ms;

impl Env {
    /// Ends whatever processes there are. The next invocation starts new ones in the same
    /// environment.
    pub(crate) async fn reset(&self, failure: &Failure) {
        self.record(What::Reset {
            reason: failure.error_type(),
        });
        self.end(failure.shutdown_reason()).await;
    }

    /// Shuts the environment down for good.
    pub(crate) async fn shutdown(&self) {
        self.close();
        self.end("spindown").await;
        self.gone();
    }

    /// Kills every process at once, without SIGTERM and `SHUTDOWN`.
    pub(crate) async fn kill(&self) {
        self.close();
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

    fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        inner.abort_invocations();
    }

    pub(super) fn gone(&self) {
        self.port.shut();
        if let Some(metadata) = &self.metadata {
            metadata.port.shut();
        }
        self.record(What::Shutdown);
    }

    /// Ends the processes and forgets them.
    ///
    /// "Shutdown phase": without an extension the runtime is killed at once.
    pub(super) async fn end(&self, reason: &'static str) {
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
        let has_external = {
            let mut inner = self.lock();
            inner.extensions.shut_down();
            inner.machine.stop();
            inner.extensions.all().iter().any(|e| e.external)
        };
        let (budget, runtime_budget) = if self.is_managed() {
            (BUDGET, RUNTIME_BUDGET_MANAGED)
        } else if has_external {
            (BUDGET, self.shared.config.runtime_shutdown)
        } else {
            (BUDGET_INTERNAL, BUDGET_INTERNAL)
        };
        self.record(What::ShutdownStart { reason, budget });
        self.thaw_for_signals().await;
        self.terminate_runtime(start + runtime_budget).await;
        let config = &self.shared.config;
        // On Managed Instances telemetry is delivered before the extensions get `SHUTDOWN`.
        if self.is_managed() || config.telemetry.flush_at_shutdown {
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
        process.output.drain();
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
            // The end of a process that was started by hand is not seen; it gets to read the
            // event.
            self.let_connections_run().await;
        }
        self.await_extensions_end(deadline).await;
        self.kill_extensions(told_at, |name| told.iter().any(|told| told == name))
            .await;
    }

    async fn await_extensions_end(&self, deadline: Instant) {
        let ended = self.wait_for(deadline, |inner| {
            let mut all = inner.extensions.all().iter();
            let ended =
                all.all(|e| e.ended.is_some() || !inner.extension_processes.contains_key(&e.name));
            ended.then_some(())
        });
        ended.await;
    }

    /// Kills those external extensions that still run, and what all of them started.
    async fn kill_extensions(&self, told_at: Instant, is_meant: impl Fn(&str) -> bool) {
        let mut meant = Vec::new();
        {
            let inner = self.lock();
            for extension in inner.extensions.all().iter().filter(|e| is_meant(&e.name)) {
                if let Some(process) = inner.extension_processes.get(&extension.name) {
                    let lives = extension.ended.is_none();
                    meant.push((extension.name.clone(), process.clone(), lives));
                }
            }
        }
        for (name, process, lives) in meant {
            if session::kill(process.pid).await {
                process.guard.end();
            }
            let bound = Instant::now() + KILL_BOUND;
            let exited_at = self.wait_for(bound, |inner| exited_at(inner, &name)).await;
            process.output.drain();
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
}

/// When the extension ended; now, if it is forgotten already.
fn exited_at(inner: &Inner, name: &str) -> Option<Instant> {
    match inner.extensions.all().iter().find(|e| e.name == name) {
        Some(extension) => extension.ended.as_ref().map(|ended| ended.at),
        None => Some(Instant::now()),
    }
}

/// "2,000 ms: a function with one or more external extensions"
/// (docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html).
const BUDGET: Duration = Duration::from_secs(2);
/// "500 ms: a function with a registered internal extension". All of it is the runtime's, because
/// such an extension lives in the runtime's process.
const BUDGET_INTERNAL: Duration = Duration::from_millis(500);
/// `defaultRuntimeShutdownTimeout` of aws-lambda-runtime-interface-emulator.
const RUNTIME_BUDGET_MANAGED: Duration = Duration::from_millis(600);
/// How long the last telemetry may take, as on Managed Instances.
const TELEMETRY_BUDGET: Duration = Duration::from_secs(1);
/// How long the end of a killed process is waited for.
const KILL_BOUND: Duration = Duration::from_secs(5);

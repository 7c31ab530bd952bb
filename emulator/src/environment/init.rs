//! The init phase: a process is started and has to ask for its first event.
//!
//! docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::environment::failure::{Failure, Phase};
use crate::environment::launch::name_of;
use crate::environment::log_lines;
use crate::environment::variables::runtime_variables;
use crate::environment::{Env, Initialised, Inner};
use crate::process::exit::Exit;
use crate::process::proc;
use crate::process::spawn::{self, Plan};
use crate::record::log::Source;
use crate::record::outcome::Started;
use crate::record::transcript::What;

/// An init that worked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Init {
    pub(crate) duration: Duration,
    /// From just before the process was created.
    since_exec: Duration,
}

/// When everyone was ready.
#[derive(Clone, Copy, Debug)]
struct Ready {
    runtime_at: Instant,
    all_at: Instant,
}

impl Env {
    /// Lets a runtime attach that its user starts by hand, and the extensions that are named.
    pub(crate) fn open_for_attaching(&self) {
        let mut inner = self.lock();
        inner.machine.start();
        for path in &self.shared.config.extensions {
            // One too many cannot register, which is what a caller with such a list has to see.
            let _refused = inner.extensions.expect(&name_of(path));
        }
    }

    /// A cold start outside any invocation.
    pub(crate) async fn prepare(self: &Arc<Self>) -> Result<Started, Failure> {
        let spawn_at = Instant::now();
        let result = self
            .init(Phase::Init, spawn_at + self.shared.config.init_limit())
            .await;
        let init = match result {
            Ok(init) => init,
            Err(failure) => {
                self.reset(&failure).await;
                self.telemetry.reset();
                return Err(failure);
            }
        };
        let pid = self.pid();
        let memory = proc::memory(pid).unwrap_or_default();
        let figures = Started {
            environment: self.id,
            pid,
            exec_to_next: init.since_exec,
            init: init.duration,
            cpu: proc::cpu(pid),
            peak_memory_kb: memory.peak,
            memory_kb: memory.now,
        };
        if self.takes_snapshots() {
            self.snapshot().await;
        } else {
            self.freeze().await;
        }
        Ok(figures)
    }

    /// One init: the process is started and has to ask for an event.
    pub(crate) async fn init(
        self: &Arc<Self>,
        phase: Phase,
        limit: Instant,
    ) -> Result<Init, Failure> {
        self.record(What::InitStart);
        if phase == Phase::Init {
            self.log_text("INIT_START Runtime Version: provided:al2023");
        }
        self.publish_init_start(phase);
        let start_at = Instant::now();
        let started = self.start_extensions(limit).await;
        let runtime_started = started.is_ok();
        let result = match started {
            Ok(()) => self.start_runtime(limit).await,
            Err(failure) => Err(failure),
        };
        let duration = match &result {
            Ok(ready) => ready.all_at.saturating_duration_since(start_at),
            Err(_) => start_at.elapsed(),
        };
        let failure = result.as_ref().err();
        self.end_init(phase, runtime_started, failure, duration);
        result.map(|ready| Init {
            duration,
            since_exec: ready
                .runtime_at
                .saturating_duration_since(self.exec_at().unwrap_or(start_at)),
        })
    }

    /// Reports the end of an init: in the log, to subscribers, in the transcript.
    fn end_init(
        &self,
        phase: Phase,
        runtime_started: bool,
        failure: Option<&Failure>,
        duration: Duration,
    ) {
        {
            let mut inner = self.lock();
            inner.initialised = if failure.is_none() {
                Initialised::Done
            } else {
                Initialised::Before
            };
            if failure.is_none() && phase == Phase::Init {
                inner.unreported_init = Some(duration);
            }
        }
        self.drain_output();
        self.peak_memory_kb();
        for extension in self.describe_extensions() {
            self.log_text(&log_lines::extension_line(&extension));
        }
        if let Some(failure) = failure {
            self.log_text(&log_lines::init_report(duration, phase, failure));
        } else {
            self.telemetry.close_subscription();
        }
        self.publish_init(phase, runtime_started, failure, duration);
        self.record(What::InitDone {
            duration,
            error: failure.map(Failure::error_type),
        });
    }

    /// The runtime is started when every extension has registered, and has to ask for an event;
    /// then every extension has to.
    async fn start_runtime(self: &Arc<Self>, limit: Instant) -> Result<Ready, Failure> {
        let runtime_at = self.start_and_wait(limit).await?;
        let ready = self.wait_for(limit, |inner| {
            let ready = inner.extensions.ready(|_| true).ok().map(Ok);
            ready.or_else(|| inner.ended().map(Err))
        });
        let extensions_at = ready.await.unwrap_or(Err(Failure::Timeout))?;
        Ok(Ready {
            runtime_at,
            all_at: extensions_at.map_or(runtime_at, |at| at.max(runtime_at)),
        })
    }

    async fn start_and_wait(self: &Arc<Self>, limit: Instant) -> Result<Instant, Failure> {
        if self.is_attached() {
            let api = self.port.addr();
            self.log_platform(&format!(
                "waiting for a runtime: AWS_LAMBDA_RUNTIME_API={api}"
            ));
        } else {
            self.spawn_runtime().map_err(Failure::Spawn)?;
        }
        let managed = self.is_managed();
        let seen = |inner: &mut Inner| {
            let next = inner.next_at.or(inner.restore_at).map(Ok);
            let ended = inner.ended().map(Err);
            // Of several workers another one may still get ready.
            let reported = if managed { None } else { reported(inner) };
            next.or(reported).or(ended)
        };
        // A start that is measured is not disturbed.
        let seen = if self.shared.config.enforce_memory {
            self.wait_and_watch_memory(limit, seen).await
        } else {
            self.wait_for(limit, seen).await
        };
        let seen = match seen {
            Some(seen) => seen,
            None => reported(&self.lock()).unwrap_or(Err(Failure::Timeout)),
        };
        match seen {
            Err(Failure::Reported(error)) => {
                // Reported, it is expected to exit; it may still be reading the answer.
                let grace = limit.min(Instant::now() + INIT_ERROR_GRACE);
                self.wait_for(grace, |inner| inner.exit).await;
                Err(Failure::Reported(error))
            }
            Err(Failure::Exit(exit)) => {
                // The report may be in a socket that was not read yet.
                self.let_connections_run().await;
                reported(&self.lock()).unwrap_or(Err(Failure::Exit(exit)))
            }
            other => other,
        }
    }

    fn spawn_runtime(self: &Arc<Self>) -> io::Result<()> {
        let mut inner = self.lock();
        if inner.closed {
            return Err(io::Error::other("the emulator stops"));
        }
        inner.machine.start();
        drop(inner);
        let config = &self.shared.config;
        let mut args = vec![config.argv0.clone().into_bytes()];
        args.extend(config.args.iter().map(|arg| arg.clone().into_bytes()));
        let plan = Plan {
            program: config.program.clone(),
            args,
            env: runtime_variables(config, &self.endpoints(), &self.stream),
        };
        let plan = plan.through(&config.launcher);
        let process = self.spawn(&plan, Source::Function)?;
        let pid = process.pid;
        self.lock().process = Some(process);
        self.record(What::Spawned {
            pid: u32::try_from(pid).unwrap_or_default(),
        });
        drop(tokio::spawn(Arc::clone(self).watch(pid)));
        Ok(())
    }

    /// Waits for the end of the process and reports it to the lifecycle.
    async fn watch(self: Arc<Self>, pid: i32) {
        // Only a child of this process is waited for, and only here: it cannot fail but by
        // running out of descriptors, and then the process is taken for lost.
        let exit = spawn::wait(pid).await.unwrap_or(Exit::Code(-1));
        let (code, signal) = exit.parts();
        let mut inner = self.lock();
        // Whoever sees the entry finds the process gone.
        self.record(What::Exited { code, signal });
        if inner
            .process
            .as_ref()
            .is_some_and(|process| process.pid == pid)
        {
            inner.exit = Some(exit);
            drop(inner);
            self.notify();
        }
    }

    fn exec_at(&self) -> Option<Instant> {
        self.lock().process.as_ref().map(|process| process.exec_at)
    }
}

fn reported(inner: &Inner) -> Option<Result<Instant, Failure>> {
    inner
        .init_error
        .clone()
        .map(|error| Err(Failure::Reported(error)))
}

/// How long a runtime that reported an init error may take to exit.
const INIT_ERROR_GRACE: Duration = Duration::from_millis(500);

//! Managed Instances: several invocations at once in one environment, which is never frozen, never
//! reset and ends with its first process.
//!
//! docs.aws.amazon.com/lambda/latest/dg/lambda-managed-instances-execution-environment.html
//!
//! The function timeout ends the caller's wait and nothing else: the worker goes on, and its late
//! answer is refused.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::timeout_at;

use crate::environment::failure::{Failure, Phase};
use crate::environment::invoke::{Before, End, Unusable};
use crate::environment::job::Job;
use crate::environment::log_lines::Figures;
use crate::environment::router::{Ended, NotTaken};
use crate::environment::{Env, Initialised, Inner};
use crate::record::outcome::Outcome;
use crate::record::transcript::What;

/// An invocation whose event was given to a poll.
#[derive(Debug)]
pub(crate) struct Given {
    ended: oneshot::Receiver<Ended>,
    sent_at: Instant,
    /// When its caller no longer waits.
    limit: Instant,
}

impl Env {
    /// The init of the environment, which is not repeated.
    pub(crate) async fn init_managed(self: &Arc<Self>) -> Result<Duration, Failure> {
        let limit = Instant::now() + self.shared.config.init_limit();
        match self.init(Phase::Init, limit).await {
            Ok(init) => Ok(init.duration),
            Err(failure) => {
                self.end_for_good(&failure).await;
                Err(failure)
            }
        }
    }

    /// Gives the event to the poll that has waited longest.
    pub(crate) fn give_managed(&self, job: &Job) -> Result<Given, NotTaken> {
        let sent_at = Instant::now();
        let deadline = sent_at + self.shared.config.timeout;
        let event = Arc::new(self.event(job, deadline));
        let mut inner = self.lock();
        let router = inner.router.as_mut().ok_or(NotTaken::NoPoll)?;
        if self.is_attached() {
            // A process that was started by hand has no other sign of its end.
            router.forget_lost_polls();
        }
        let ended = router.give(&event, self.shared.config.max_concurrency)?;
        drop(inner);
        // Before the event, which goes out when the task of the poll's connection has its turn.
        self.record(What::InvokeStart {
            request_id: job.request_id.clone(),
        });
        self.publish_start(job);
        Ok(Given {
            ended,
            sent_at,
            limit: deadline + self.shared.config.deadline_grace,
        })
    }

    /// Waits for the answer; `init` is the init that the invocation had to wait for.
    pub(crate) async fn run_managed(
        &self,
        job: &Job,
        given: Given,
        init: Option<Duration>,
    ) -> Outcome {
        let ended = match timeout_at(given.limit.into(), given.ended).await {
            Ok(Ok(ended)) => ended,
            // The router ends every invocation before it is dropped.
            Ok(Err(_dropped)) => Err(Failure::Shutdown),
            Err(_elapsed) => {
                if let Some(router) = &mut self.lock().router {
                    router.time_out(&job.request_id);
                }
                Err(Failure::Timeout)
            }
        };
        self.shared.freed.notify_one();
        let (answer, failure) = match ended {
            Ok(answer) => (Some(answer), None),
            Err(failure) => (None, Some(failure)),
        };
        let end = End {
            answer,
            failure,
            sent_at: given.sent_at,
            next_at: None,
            extensions_at: None,
        };
        self.drain_output();
        self.report_managed(job, end, init)
    }

    /// The outcome of an invocation whose environment did not come up.
    pub(crate) fn without_init(&self, job: &Job, failure: Failure) -> Outcome {
        self.not_run(job, Unusable::new(Before::cold(None), failure, 200))
    }

    fn report_managed(&self, job: &Job, end: End, init: Option<Duration>) -> Outcome {
        let config = &self.shared.config;
        let error = end.function_error(job, config.timeout);
        let error_type = end.error_type();
        let figures = Figures {
            request_id: &job.request_id,
            duration: end.duration(),
            init: None,
            restore: None,
            memory_mb: config.memory_mb,
            peak_kb: 0,
            status: None,
            error_type: None,
        };
        let failed = (end.status(), error_type.clone());
        self.publish_report(job, end.times(), &figures, failed);
        let failed = end.failure.as_ref().map(Failure::error_type);
        self.record(What::InvokeDone {
            request_id: job.request_id.clone(),
            error: failed.or(error_type),
        });
        let before = init.map_or_else(Before::default, |init| Before::cold(Some(init)));
        let timing = end.timing(before);
        // Lines of several invocations are mixed in the log: no part of it belongs to one.
        end.outcome(job, error, timing, String::new(), self.id)
    }

    /// Waits for the end of a process and ends the environment with it. False if the emulator ends
    /// it.
    pub(crate) async fn live(&self) -> bool {
        let failure = loop {
            let look_at = Instant::now() + LOOK_PAUSE;
            let seen = |inner: &mut Inner| {
                let closed = inner.closed.then_some(None);
                closed.or_else(|| inner.ended().map(Some))
            };
            let seen = if self.shared.config.enforce_memory {
                self.wait_and_watch_memory(look_at, seen).await
            } else {
                self.wait_for(look_at, seen).await
            };
            match seen {
                Some(Some(failure)) => break failure,
                Some(None) => return false,
                None => {}
            }
        };
        // Answers may be in sockets that were not read yet.
        self.let_connections_run().await;
        self.lock().abort_invocations();
        self.end_for_good(&failure).await;
        self.has_failed()
    }

    /// Whether invocations may be given.
    pub(crate) fn is_up(&self) -> bool {
        let inner = self.lock();
        inner.initialised == Initialised::Done && !inner.closed
    }

    /// Whether the environment has ended, and not because the emulator stops.
    pub(crate) fn has_failed(&self) -> bool {
        self.lock().failed
    }

    /// Ends the environment, which takes no invocation and starts no process any more. In attach
    /// mode another runtime may attach.
    pub(super) async fn end_for_good(&self, failure: &Failure) {
        if self.is_attached() {
            self.reset(failure).await;
            self.telemetry.reset();
            return;
        }
        {
            let mut inner = self.lock();
            inner.failed = !inner.closed;
            inner.closed = true;
        }
        self.end(failure.shutdown_reason()).await;
    }
}

/// Nothing else has to happen in the meantime: the wait is repeated.
const LOOK_PAUSE: Duration = Duration::from_secs(3_600);

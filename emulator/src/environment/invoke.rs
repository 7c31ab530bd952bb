//! One invocation: the event goes out, the answer and the next `next` come back.
//!
//! docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::oneshot;
use uuid::Uuid;

use crate::environment::extensions::{Extension, Notice, Subscribed};
use crate::environment::failure::{Failure, Phase};
use crate::environment::init::Init;
use crate::environment::job::{Answer, Event, Job};
use crate::environment::log_lines::{self, Figures};
use crate::environment::machine::Current;
use crate::environment::publish::{self, Times};
use crate::environment::{Env, Initialised};
use crate::record::outcome::{FunctionError, Outcome, State, Timing};
use crate::record::transcript::What;
use crate::telemetry::Status;
use crate::time::epoch_ms;

/// The end of an invocation: its answer or its failure, and the instants.
pub(super) struct End {
    pub(super) answer: Option<Answer>,
    pub(super) failure: Option<Failure>,
    /// When the event went out.
    pub(super) sent_at: Instant,
    /// When the runtime asked for the next event.
    pub(super) next_at: Option<Instant>,
    /// When the last extension did, if there are any that were given the event.
    pub(super) extensions_at: Option<Instant>,
}

/// The init and the restore before an invocation, which are reported with it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Before {
    /// Whether the environment was started or restored for it.
    cold: bool,
    /// The init for this invocation, before or in it.
    init: Option<Duration>,
    /// The init phase that `REPORT` shows.
    reported_init: Option<Duration>,
    restore: Option<Duration>,
}

impl Env {
    /// One invocation, with the init or restore it may need first. Every way it can end is an
    /// [`Outcome`]. With `early` the outcome is also sent as soon as there is an answer, if
    /// extensions are to be waited for.
    pub(crate) async fn invoke(
        self: &Arc<Self>,
        job: &Job,
        early: Option<oneshot::Sender<Outcome>>,
    ) -> Outcome {
        self.lock().tail.take();
        let mut before = match self.before().await {
            Ok(before) => before,
            Err(unusable) => {
                self.end_for_good(&unusable.failure).await;
                return self.not_run(job, unusable);
            }
        };
        self.lock().tail.take();
        self.record(What::InvokeStart {
            request_id: job.request_id.clone(),
        });
        self.log_text(&format!(
            "START RequestId: {} Version: {}",
            job.request_id, self.shared.config.function_version
        ));
        let started_at = Instant::now();
        let deadline = started_at + self.shared.config.timeout;
        let limit = deadline + self.shared.config.deadline_grace;
        let ready = self.ready(limit).await;
        self.publish_start(job);
        let end = match ready {
            Ok(done) => {
                let in_invocation = done.map(|init| init.duration);
                before.init = before.init.or(in_invocation);
                self.run(job, deadline, limit, before, early).await
            }
            Err(failure) => End {
                answer: None,
                failure: Some(failure),
                sent_at: started_at,
                next_at: None,
                extensions_at: None,
            },
        };
        self.finish(job, end, before, started_at).await
    }

    /// The init phase of a new environment, the restore of a snapshot.
    async fn before(self: &Arc<Self>) -> Result<Before, Unusable> {
        let mut before = Before::default();
        let (waits, fresh) = {
            let inner = self.lock();
            let fresh = inner.initialised == Initialised::Never || self.takes_snapshots();
            (inner.is_ready() || inner.snapshot_at.is_some(), fresh)
        };
        before.cold = !waits;
        if !waits && fresh {
            let limit = Instant::now() + self.shared.config.init_limit();
            match self.init(Phase::Init, limit).await {
                Ok(init) => before.init = Some(init.duration),
                // A version whose snapshot cannot be taken is not published.
                Err(failure) if self.takes_snapshots() => {
                    return Err(Unusable::new(before, failure, 200));
                }
                Err(failure) => {
                    // The invocation repeats it.
                    self.reset(&failure).await;
                    self.telemetry.reset();
                }
            }
            if self.takes_snapshots() {
                self.snapshot().await;
            }
        }
        // Taken even where it is not shown: it is reported once.
        let unreported = self.lock().unreported_init.take();
        before.reported_init = unreported.filter(|_| !self.takes_snapshots());
        if self.lock().snapshot_at.is_some() {
            match self.restore().await {
                Ok(restore) => before.restore = Some(restore),
                Err(failure) => {
                    let is_late = matches!(failure, Failure::RestoreTimeout);
                    let status = if is_late { 408 } else { 400 };
                    return Err(Unusable::new(before, failure, status));
                }
            }
        }
        Ok(before)
    }

    /// The outcome of an invocation whose environment could not be made or restored.
    pub(super) fn not_run(&self, job: &Job, unusable: Unusable) -> Outcome {
        let end = End {
            answer: None,
            failure: Some(unusable.failure),
            sent_at: Instant::now(),
            next_at: None,
            extensions_at: None,
        };
        let error = end.function_error(job, self.shared.config.timeout);
        let timing = end.timing(unusable.before);
        let tail = self.lock().tail.take();
        let outcome = end.outcome(job, error, timing, tail, self.id);
        Outcome {
            status: unusable.status,
            ..outcome
        }
    }

    /// A runtime that waits for an event: thawed, or started under the function timeout.
    async fn ready(self: &Arc<Self>, limit: Instant) -> Result<Option<Init>, Failure> {
        if !self.lock().is_ready() {
            return self.init(Phase::Invoke, limit).await.map(Some);
        }
        self.thaw();
        Ok(None)
    }

    /// Gives the event and waits for the answer, for the `next` after it, and for the
    /// extensions.
    async fn run(
        &self,
        job: &Job,
        deadline: Instant,
        limit: Instant,
        before: Before,
        early: Option<oneshot::Sender<Outcome>>,
    ) -> End {
        let event = Arc::new(self.event(job, deadline));
        let mut end = End {
            answer: None,
            failure: None,
            sent_at: Instant::now(),
            next_at: None,
            extensions_at: None,
        };
        let extensions = self.give(job, event);
        let answered = self.wait_and_watch_memory(limit, |inner| {
            let answer = inner.answer.is_some().then_some(Ok(()));
            answer.or_else(|| inner.ended().map(Err))
        });
        end.failure = answered.await.unwrap_or(Err(Failure::Timeout)).err();
        if matches!(end.failure, Some(Failure::Exit(_))) {
            // The answer may be in a socket that was not read yet.
            self.let_connections_run().await;
        }
        end.answer = self.lock().answer.clone();
        if end.failure.is_some() {
            return end;
        }
        if let Some(early) = early.filter(|_| extensions) {
            // The caller may have hung up; the invocation goes on.
            let _gone = early.send(self.early_outcome(job, &end, before));
        }
        match self.await_ready(limit).await {
            Ok(at) => end.next_at = Some(at),
            Err(failure) => {
                end.failure = Some(failure);
                return end;
            }
        }
        self.drain_output();
        let failed = (end.status(), end.error_type());
        self.publish_runtime_done(job, end.times(), end.answer.as_ref(), failed);
        match self.await_extensions(limit).await {
            Ok(at) => end.extensions_at = at,
            Err(failure) => end.failure = Some(failure),
        }
        end
    }

    /// The runtime asks for the next event.
    async fn await_ready(&self, limit: Instant) -> Result<Instant, Failure> {
        let ready = self.wait_for(limit, |inner| {
            let ready = inner.machine.state() == State::Ready;
            let next = inner.next_at.filter(|_| ready).map(Ok);
            next.or_else(|| inner.ended().map(Err))
        });
        ready.await.unwrap_or(Err(Failure::Timeout))
    }

    /// So does every extension that was given the event.
    async fn await_extensions(&self, limit: Instant) -> Result<Option<Instant>, Failure> {
        let ready = self.wait_for(limit, |inner| {
            let waited = |extension: &Extension| extension.takes(Subscribed::Invoke);
            let ready = inner.extensions.ready(waited).ok().map(Ok);
            ready.or_else(|| inner.ended().map(Err))
        });
        ready.await.unwrap_or(Err(Failure::Timeout))
    }

    /// The outcome as it is known when the answer is read.
    fn early_outcome(&self, job: &Job, end: &End, before: Before) -> Outcome {
        let end = End {
            answer: end.answer.clone(),
            failure: None,
            ..*end
        };
        let error = end.function_error(job, self.shared.config.timeout);
        let timing = end.timing(before);
        end.outcome(job, error, timing, String::new(), self.id)
    }

    pub(super) fn event(&self, job: &Job, deadline: Instant) -> Event {
        let remaining = deadline.saturating_duration_since(Instant::now());
        let deadline_ms = epoch_ms(SystemTime::now() + remaining);
        let nonce = Uuid::new_v4().to_string();
        let some = |value: &Option<String>| value.clone().unwrap_or_default();
        let mut headers = vec![
            ("Lambda-Runtime-Aws-Request-Id", job.request_id.clone()),
            ("Lambda-Runtime-Deadline-Ms", deadline_ms.to_string()),
            ("Lambda-Runtime-Invoked-Function-Arn", job.arn.clone()),
            ("Lambda-Runtime-Trace-Id", job.trace_id.clone()),
            (
                "Lambda-Runtime-Client-Context",
                some(&job.invoke.client_context),
            ),
            (
                "Lambda-Runtime-Cognito-Identity",
                some(&job.invoke.cognito_identity),
            ),
            ("Lambda-Runtime-Aws-Tenant-Id", some(&job.invoke.tenant_id)),
            ("Lambda-Runtime-Invocation-Id", nonce.clone()),
        ];
        // The server of Managed Instances writes these two always.
        let is_kept = |name: &str| self.is_managed() && ALWAYS_ON_MANAGED.contains(&name);
        headers.retain(|(name, value)| !value.is_empty() || is_kept(name));
        let current = Current {
            request_id: job.request_id.clone(),
            nonce,
        };
        Event {
            current,
            deadline_ms,
            headers,
            payload: job.payload.clone(),
            sink: job.sink.clone(),
        }
    }

    /// Gives the event to the extensions that take it and to the runtime; true if there are such
    /// extensions.
    fn give(&self, job: &Job, event: Arc<Event>) -> bool {
        let mut inner = self.lock();
        let notice = Arc::new(Notice::Invoke {
            deadline_ms: event.deadline_ms,
            request_id: job.request_id.clone(),
            arn: job.arn.clone(),
            trace_id: job.trace_id.clone(),
        });
        let told = inner.extensions.release(&notice, Subscribed::Invoke);
        inner.answer = None;
        inner.next_at = None;
        inner.event = Some(Arc::clone(&event));
        inner.machine.give(event.current.clone());
        if self.is_attached() {
            // A process that was started by hand has no other sign of its end.
            inner.waiters.retain(|waiter| !waiter.is_closed());
        }
        if let Some(waiter) = inner.waiters.pop_front() {
            // As on the platform, the event is lost there if the connection broke while nothing
            // ran, and others that wait get later events. A `next` from now on renders it again.
            let _broken = waiter.send(event);
        }
        !told.is_empty()
    }

    async fn finish(&self, job: &Job, end: End, before: Before, started_at: Instant) -> Outcome {
        self.drain_output();
        let peak_kb = self.peak_memory_kb();
        let config = &self.shared.config;
        let error = end.function_error(job, config.timeout);
        if end.answer.is_none()
            && let (Some(failure), Some(error)) = (&end.failure, &error)
        {
            for line in log_lines::failure_lines(failure, error, &job.request_id, config.timeout) {
                self.log_text(&line);
            }
        }
        let failed = end.failure.as_ref();
        let status = failed
            .map(Failure::status)
            .or_else(|| error.as_ref().map(|_| "error"));
        let error_type = failed.map(Failure::error_type).or_else(|| end.error_type());
        self.log_text(&format!("END RequestId: {}", job.request_id));
        let figures = Figures {
            request_id: &job.request_id,
            duration: end.billed(config.timeout, started_at),
            init: before.reported_init,
            restore: before.restore,
            memory_mb: config.memory_mb,
            peak_kb,
            status,
            error_type: error_type.as_deref(),
        };
        self.log_text(&log_lines::line(&figures));
        self.settle(job, &end, &figures).await;
        let tail = self.lock().tail.take();
        let timing = end.timing(before);
        end.outcome(job, error, timing, tail, self.id)
    }

    /// Publishes the report and leaves the environment as the next invocation is to find it.
    async fn settle(&self, job: &Job, end: &End, figures: &Figures<'_>) {
        let failed = || (end.status(), end.error_type());
        let done = What::InvokeDone {
            request_id: job.request_id.clone(),
            error: figures.error_type.map(str::to_owned),
        };
        let Some(failure) = &end.failure else {
            self.publish_report(job, end.times(), figures, failed());
            self.record(done);
            return self.freeze().await;
        };
        if end.next_at.is_none() {
            self.publish_runtime_done(job, end.times(), end.answer.as_ref(), failed());
        }
        self.record(done);
        self.reset(failure).await;
        // No extension polls again after a reset: the report is for the listeners of the next
        // generation.
        self.publish_report(job, end.times(), figures, failed());
        self.telemetry.reset();
    }
}

/// An environment that could not be made or restored for an invocation.
#[derive(Debug)]
pub(super) struct Unusable {
    before: Before,
    failure: Failure,
    /// The status of the Invoke API.
    status: u16,
}

impl Unusable {
    pub(super) fn new(before: Before, failure: Failure, status: u16) -> Self {
        Self {
            before,
            failure,
            status,
        }
    }
}

impl Before {
    /// The environment was started for the invocation, with this init if it worked.
    pub(super) fn cold(init: Option<Duration>) -> Self {
        Self {
            cold: true,
            init,
            ..Self::default()
        }
    }
}

impl End {
    pub(super) fn duration(&self) -> Duration {
        let end = self
            .answer
            .as_ref()
            .map_or_else(Instant::now, |answer| answer.at);
        end.saturating_duration_since(self.sent_at)
    }

    pub(super) fn timing(&self, before: Before) -> Timing {
        let since =
            |to: Option<Instant>, from: Option<Instant>| Some(to?.saturating_duration_since(from?));
        Timing {
            cold: before.cold,
            init: before.init,
            duration: self.duration(),
            overhead: since(self.next_at, self.answer.as_ref().map(|answer| answer.at)),
            extension_overhead: since(self.extensions_at, self.next_at),
            restore: before.restore,
        }
    }

    /// From the start to everyone being ready; no more than the timeout.
    fn billed(&self, timeout: Duration, started_at: Instant) -> Duration {
        if matches!(self.failure, Some(Failure::Timeout)) {
            return timeout;
        }
        let end_at = self.next_at.max(self.extensions_at);
        end_at
            .unwrap_or_else(Instant::now)
            .saturating_duration_since(started_at)
    }

    pub(super) fn times(&self) -> Times {
        Times {
            sent_at: self.sent_at,
            answer_began_at: self.answer.as_ref().map(|answer| answer.began_at),
            answered_at: self.answer.as_ref().map(|answer| answer.at),
            next_at: self.next_at,
            extensions_at: self.extensions_at,
        }
    }

    /// The status in telemetry: of the failure, or of an error the runtime reported.
    pub(super) fn status(&self) -> Status {
        match (&self.failure, self.reported()) {
            (None, Some(_)) => Status::Error,
            (failure, _) => publish::status(failure.as_ref()),
        }
    }

    pub(super) fn error_type(&self) -> Option<String> {
        match &self.failure {
            None => Some(self.reported()?.error_type.clone()),
            failure => publish::error_type(failure.as_ref()),
        }
    }

    fn reported(&self) -> Option<&FunctionError> {
        self.answer.as_ref()?.error.as_ref()
    }

    /// An answer that was accepted stands, whatever becomes of the process after it.
    pub(super) fn function_error(&self, job: &Job, timeout: Duration) -> Option<FunctionError> {
        match &self.answer {
            Some(answer) => answer.error.clone(),
            None => self
                .failure
                .as_ref()
                .map(|failure| failure.function_error(&job.request_id, timeout)),
        }
    }

    pub(super) fn outcome(
        self,
        job: &Job,
        function_error: Option<FunctionError>,
        timing: Timing,
        log_tail: String,
        environment: u64,
    ) -> Outcome {
        let (headers, content_type, streamed, response) = match self.answer {
            Some(answer) => (
                answer.headers,
                answer.content_type,
                answer.streamed,
                answer.body.to_vec(),
            ),
            None => (Vec::new(), None, false, Vec::new()),
        };
        let body = function_error
            .as_ref()
            .map_or(response, |error| error.body.clone());
        Outcome {
            status: 200,
            body,
            function_error,
            request_id: job.request_id.clone(),
            log_tail,
            timing,
            content_type,
            headers,
            streamed,
            environment,
        }
    }
}

/// `sendInvokeToRuntime` in aws-lambda-runtime-interface-emulator.
const ALWAYS_ON_MANAGED: [&str; 2] = [
    "Lambda-Runtime-Client-Context",
    "Lambda-Runtime-Cognito-Identity",
];

//! The environments of the function: which one runs an invocation.
//!
//! "Understanding Lambda function scaling"
//! (docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html).

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;
use uuid::Uuid;

use crate::config::{Initialization, Invoke, InvokeKind};
use crate::environment::failure::Failure;
use crate::environment::job::{Job, Part, Sink};
use crate::environment::{Env, Ports, Shared};
use crate::error::EmulatorError;
use crate::http::PAYLOAD_BYTES_MAX;
use crate::http::port::Port;
use crate::lock::lock;
use crate::record::outcome::{Environment, Outcome, Started};
use crate::telemetry::Deliveries;
use crate::time::{date_path, epoch_ms};

/// All environments of one emulator.
#[derive(Debug)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
    /// Starts to serve the Runtime API of a new environment.
    serve: fn(Arc<Env>),
    pub(super) inner: Mutex<Inner>,
    /// Held while an environment of Managed Instances is made.
    pub(super) starting: tokio::sync::Mutex<()>,
}

/// An invocation whose response is taken as a stream.
#[derive(Debug)]
pub(crate) struct Streaming {
    /// What the runtime sends. It is complete when the outcome is there.
    pub(crate) parts: mpsc::Receiver<Part>,
    pub(crate) outcome: JoinHandle<Result<Outcome, EmulatorError>>,
}

/// How the environments end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// As on Lambda.
    Shutdown,
    /// At once.
    Kill,
}

#[derive(Debug, Default)]
pub(super) struct Inner {
    pub(super) all: Vec<Arc<Env>>,
    /// The one used last is on top: it is reused first, so that the others may age out. On Managed
    /// Instances every environment that takes invocations is here.
    pub(super) idle: Vec<Arc<Env>>,
    /// Environments that exist or are being made, without the retired ones.
    pub(super) count: usize,
    next_id: u64,
    /// The deliveries in environments that are gone.
    deliveries: Vec<Deliveries>,
}

impl Pool {
    pub(crate) fn new(shared: Arc<Shared>, serve: fn(Arc<Env>)) -> Self {
        Self {
            shared,
            serve,
            inner: Mutex::default(),
            starting: tokio::sync::Mutex::default(),
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn describe(&self) -> Vec<Environment> {
        lock(&self.inner)
            .all
            .iter()
            .map(|env| env.describe())
            .collect()
    }

    pub(crate) fn deliveries(&self) -> Vec<Deliveries> {
        let inner = lock(&self.inner);
        let living = inner.all.iter().flat_map(|env| env.telemetry.deliveries());
        inner.deliveries.iter().cloned().chain(living).collect()
    }

    /// Makes the one environment of attach mode.
    pub(crate) async fn open_for_attaching(&self) -> Result<(), EmulatorError> {
        lock(&self.inner).count += 1;
        let env = self.create().await?;
        env.open_for_attaching();
        env.log_platform(&format!(
            "attach with AWS_LAMBDA_RUNTIME_API={}",
            env.port.addr()
        ));
        lock(&self.inner).idle.push(env);
        Ok(())
    }

    /// Cold-starts one more environment; in attach mode, waits for the runtime to attach.
    pub(crate) async fn prepare(self: &Arc<Self>) -> Result<Started, EmulatorError> {
        let attached = self.is_attached();
        let env = if attached {
            self.acquire().await?
        } else {
            self.add().await?
        };
        match env.prepare().await {
            Ok(started) => {
                if self.is_managed() && !attached {
                    self.join(&env);
                } else {
                    self.release(env);
                }
                Ok(started)
            }
            Err(failure) => {
                if attached {
                    self.release(env);
                } else {
                    self.remove(&env).await;
                }
                Err(prepare_error(failure, &self.shared))
            }
        }
    }

    /// Runs an invocation of any kind.
    pub(crate) async fn invoke(self: Arc<Self>, invoke: Invoke) -> Result<Outcome, EmulatorError> {
        if !invoke.streaming {
            return self.run_to(invoke, None).await;
        }
        let mut streaming = self.invoke_streaming(invoke);
        let mut body = Vec::new();
        let outcome = loop {
            match streaming.next().await {
                Ok(Part::Data(data)) => body.extend_from_slice(&data),
                Ok(Part::Head { .. }) => {}
                Err(outcome) => break outcome?,
            }
        };
        Ok(Outcome { body, ..outcome })
    }

    /// Runs an invocation on a task of its own and hands its response on as it comes.
    pub(crate) fn invoke_streaming(self: &Arc<Self>, invoke: Invoke) -> Streaming {
        let (sink, parts) = mpsc::channel(1);
        let outcome = tokio::spawn(Arc::clone(self).run_to(invoke, Some(sink)));
        Streaming { parts, outcome }
    }

    /// Runs an invocation of any kind, whose response goes to the sink if there is one.
    async fn run_to(
        self: Arc<Self>,
        invoke: Invoke,
        sink: Option<Sink>,
    ) -> Result<Outcome, EmulatorError> {
        let limit = match invoke.kind {
            InvokeKind::Event => EVENT_BYTES_MAX,
            InvokeKind::RequestResponse | InvokeKind::DryRun => PAYLOAD_BYTES_MAX,
        };
        if invoke.event.len() > limit {
            return Err(too_large(limit));
        }
        let kind = invoke.kind;
        let job = self.job(invoke, sink);
        match kind {
            InvokeKind::DryRun => Ok(Outcome::empty(204, &job.request_id)),
            InvokeKind::RequestResponse if self.is_managed() => self.invoke_managed(&job).await,
            InvokeKind::RequestResponse => {
                let env = self.acquire().await?;
                if !job.invoke.return_early {
                    return Ok(self.run(env, &job, None).await);
                }
                let (sender, answered) = oneshot::channel();
                let pool = Arc::clone(&self);
                let run = async move { pool.run(env, &job, Some(sender)).await };
                let whole = tokio::spawn(run);
                // Without an early answer the sender is dropped at the end of the invocation.
                match answered.await {
                    Ok(outcome) => Ok(outcome),
                    Err(_) => whole.await.map_err(|_panicked| EmulatorError::Stopped),
                }
            }
            InvokeKind::Event => {
                let outcome = Outcome::empty(202, &job.request_id);
                drop(tokio::spawn(self.run_event(job)));
                Ok(outcome)
            }
        }
    }

    /// As [`Pool::invoke`], on a task of its own: a caller that hangs up does not end the
    /// invocation.
    pub(crate) async fn invoke_detached(
        self: &Arc<Self>,
        invoke: Invoke,
    ) -> Result<Outcome, EmulatorError> {
        match tokio::spawn(Arc::clone(self).invoke(invoke)).await {
            Ok(result) => result,
            Err(_panicked) => Err(EmulatorError::Stopped),
        }
    }

    /// Logs a line of the platform about an invocation.
    pub(crate) fn log(&self, outcome: &Outcome, text: &str) {
        let mut all = self.describe().into_iter();
        let ran = all.find(|env| env.id == outcome.environment);
        let stream = ran.map(|env| env.log_stream).unwrap_or_default();
        self.shared.write(outcome.environment, &stream, text, None);
    }

    /// Ends all environments, each in its time or at once.
    pub(crate) async fn end(&self, ending: Ending) {
        let mut ends = JoinSet::new();
        for env in lock(&self.inner).all.clone() {
            ends.spawn(async move {
                match ending {
                    Ending::Shutdown => env.shutdown().await,
                    Ending::Kill => env.kill().await,
                }
            });
        }
        while ends.join_next().await.is_some() {}
    }

    /// "Lambda retries ... two more times" after a function error
    /// (docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html). It waits one
    /// and two minutes between the attempts; that is made short here.
    async fn run_event(self: Arc<Self>, job: Job) {
        for pause in EVENT_PAUSES {
            sleep(pause).await;
            match self.attempt(&job).await {
                Ok(outcome) if outcome.function_error.is_some() => {}
                Ok(_) | Err(_) => return,
            }
        }
    }

    async fn attempt(self: &Arc<Self>, job: &Job) -> Result<Outcome, EmulatorError> {
        if self.is_managed() {
            return self.invoke_managed_event(job).await;
        }
        let env = self.acquire_when_free().await?;
        Ok(self.run(env, job, None).await)
    }

    async fn run(
        self: &Arc<Self>,
        env: Arc<Env>,
        job: &Job,
        early: Option<oneshot::Sender<Outcome>>,
    ) -> Outcome {
        let outcome = env.invoke(job, early).await;
        if env.has_failed() {
            self.bury(&env);
        } else {
            self.release(env);
        }
        outcome
    }

    async fn acquire_when_free(&self) -> Result<Arc<Env>, EmulatorError> {
        loop {
            match self.acquire().await {
                Err(EmulatorError::Refused { .. }) => self.shared.freed.notified().await,
                other => return other,
            }
        }
    }

    async fn acquire(&self) -> Result<Arc<Env>, EmulatorError> {
        let idle = lock(&self.inner).idle.pop();
        match idle {
            Some(env) => Ok(env),
            None => self.add().await,
        }
    }

    pub(super) async fn add(&self) -> Result<Arc<Env>, EmulatorError> {
        let maximum = if self.is_attached() {
            1
        } else {
            self.shared.config.concurrency_max
        };
        {
            let mut inner = lock(&self.inner);
            if inner.count >= maximum {
                return Err(too_many());
            }
            inner.count += 1;
        }
        self.create()
            .await
            .inspect_err(|_| lock(&self.inner).count -= 1)
    }

    async fn create(&self) -> Result<Arc<Env>, EmulatorError> {
        let config = &self.shared.config;
        let any = SocketAddr::new(config.listen.ip(), 0);
        let asked = config.runtime_api.unwrap_or(any);
        let bind = async |address| {
            let port = Port::bind(address).await;
            port.map_err(|source| EmulatorError::Listen { address, source })
        };
        let is_first = lock(&self.inner).all.is_empty();
        let ports = Ports {
            runtime_api: match bind(asked).await {
                // The first environment has it.
                Err(_) if !is_first => bind(SocketAddr::new(asked.ip(), 0)).await?,
                bound => bound?,
            },
            metadata: if config.availability_zones.is_empty() {
                None
            } else {
                Some(bind(SocketAddr::new(asked.ip(), 0)).await?)
            },
        };
        let mut inner = lock(&self.inner);
        let id = inner.next_id;
        inner.next_id += 1;
        let stream = format!(
            "{}/[{}]{}",
            date_path(SystemTime::now()),
            config.function_version,
            Uuid::new_v4().simple()
        );
        let env = Arc::new(Env::new(Arc::clone(&self.shared), id, ports, stream));
        inner.all.push(Arc::clone(&env));
        drop(inner);
        (self.serve)(Arc::clone(&env));
        Ok(env)
    }

    pub(super) fn release(self: &Arc<Self>, env: Arc<Env>) {
        {
            let mut inner = lock(&self.inner);
            // Asked under the lock, under which it is retired.
            if !env.retired.load(Ordering::Relaxed) {
                inner.idle.push(env);
                drop(inner);
                return self.shared.freed.notify_one();
            }
        }
        drop(tokio::spawn(Arc::clone(self).end_retired(env)));
    }

    pub(super) async fn remove(&self, env: &Arc<Env>) {
        env.shutdown().await;
        self.forget(env);
    }

    /// The environment is gone.
    pub(super) fn forget(&self, env: &Arc<Env>) {
        let mut inner = lock(&self.inner);
        let before = inner.all.len();
        inner.all.retain(|other| !Arc::ptr_eq(other, env));
        inner.idle.retain(|other| !Arc::ptr_eq(other, env));
        if !env.retired.load(Ordering::Relaxed) {
            inner.count -= before - inner.all.len();
        }
        inner.deliveries.extend(env.telemetry.deliveries());
        drop(inner);
        self.shared.freed.notify_one();
    }

    /// The environment has ended.
    pub(super) fn bury(&self, env: &Arc<Env>) {
        self.forget(env);
        env.gone();
    }

    fn job(&self, mut invoke: Invoke, sink: Option<Sink>) -> Job {
        let config = &self.shared.config;
        let arn = match &invoke.qualifier {
            Some(qualifier) => format!("{}:{qualifier}", config.arn()),
            None => config.arn(),
        };
        let event = std::mem::take(&mut invoke.event);
        let payload = if event.is_empty() {
            Bytes::from_static(b"{}")
        } else {
            event.into()
        };
        Job {
            request_id: invoke
                .request_id
                .clone()
                .unwrap_or_else(|| Uuid::new_v4().to_string()),
            trace_id: invoke.trace_id.clone().unwrap_or_else(trace_id),
            arn,
            payload,
            invoke,
            sink,
        }
    }

    fn is_managed(&self) -> bool {
        self.shared.config.initialization == Initialization::ManagedInstances
    }

    pub(super) fn is_attached(&self) -> bool {
        self.shared.config.program.as_os_str().is_empty()
    }
}

impl Streaming {
    /// The next part, or the outcome behind the last one.
    pub(crate) async fn next(&mut self) -> Result<Part, Result<Outcome, EmulatorError>> {
        tokio::select! {
            biased;
            Some(part) = self.parts.recv() => Ok(part),
            outcome = &mut self.outcome => {
                let outcome = outcome.unwrap_or(Err(EmulatorError::Stopped));
                Err(outcome)
            }
        }
    }
}

/// A trace header as X-Ray forms it: the root starts with the time in seconds
/// (docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html).
pub(crate) fn trace_id() -> String {
    let seconds = epoch_ms(SystemTime::now()) / 1_000;
    let (root, parent) = (Uuid::new_v4().as_u128(), Uuid::new_v4().as_u64_pair().0);
    format!(
        "Root=1-{seconds:08x}-{:024x};Parent={parent:016x};Sampled=0",
        root >> 32
    )
}

fn prepare_error(failure: Failure, shared: &Shared) -> EmulatorError {
    match failure {
        Failure::Spawn(source) => EmulatorError::Spawn {
            program: shared.config.program.clone(),
            source,
        },
        Failure::Reported(_)
        | Failure::Exit(_)
        | Failure::OutOfMemory(_)
        | Failure::Launch(_)
        | Failure::Extension { .. }
        | Failure::Timeout
        | Failure::RestoreTimeout
        | Failure::LostPoll
        | Failure::Shutdown => EmulatorError::Init {
            error_type: failure.error_type(),
            message: failure.message(),
        },
    }
}

fn too_many() -> EmulatorError {
    EmulatorError::Refused {
        status: 429,
        error_type: "TooManyRequestsException".into(),
        message: "Rate Exceeded.".into(),
    }
}

fn too_large(limit: usize) -> EmulatorError {
    EmulatorError::Refused {
        status: 413,
        error_type: "RequestTooLargeException".into(),
        message: format!(
            "Request must be smaller than {limit} bytes for the InvokeFunction operation"
        ),
    }
}

/// 1 MB for asynchronous invocations
/// (docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html).
pub(crate) const EVENT_BYTES_MAX: usize = 1024 * 1024;

/// Before the first attempt and between the attempts.
const EVENT_PAUSES: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_millis(100),
    Duration::from_millis(200),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_id_has_its_parts_at_full_width() {
        let id = trace_id();
        let parts: Vec<&str> = id.split(';').collect();
        let root: Vec<usize> = parts[0].split('-').map(str::len).collect();
        assert_eq!(root, ["Root=1".len(), 8, 24]);
        assert_eq!(parts[1].len(), "Parent=".len() + 16);
        assert_eq!(parts[2], "Sampled=0");
    }
}

//! Managed Instances: the environment that gets an invocation.
//!
//! "Scaling Lambda Managed Instances"
//! (docs.aws.amazon.com/lambda/latest/dg/lambda-managed-instances-scaling.html): an invocation
//! makes no environment, and is throttled if none has room. Here the first invocation makes the
//! first environment, and the next invocation replaces one that ended;
//! [`Emulator::prepare`](crate::Emulator::prepare) makes further ones.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout_at};

use crate::environment::Env;
use crate::environment::failure::Failure;
use crate::environment::job::Job;
use crate::environment::pool::Pool;
use crate::environment::router::NotTaken;
use crate::error::EmulatorError;
use crate::lock::lock;
use crate::record::outcome::Outcome;

/// The environments of Managed Instances before an invocation.
enum Start {
    /// One was ready.
    Ready,
    /// The invocation waited for this init.
    Made(Duration),
    /// The init failed.
    Failed(Arc<Env>, Failure),
}

impl Pool {
    /// Runs an invocation in an environment that has room for it.
    pub(super) async fn invoke_managed(
        self: &Arc<Self>,
        job: &Job,
    ) -> Result<Outcome, EmulatorError> {
        let until = Instant::now() + self.shared().config.poll_wait;
        let mut init = None;
        loop {
            match self.start_managed().await? {
                Start::Ready => {}
                Start::Made(duration) => init = Some(duration),
                Start::Failed(env, failure) => return Ok(env.without_init(job, failure)),
            }
            let mut has_room = false;
            for env in self.idle() {
                match env.give_managed(job) {
                    Ok(given) => return Ok(env.run_managed(job, given, init).await),
                    Err(NotTaken::Duplicate) => return Err(duplicate(job)),
                    Err(NotTaken::NoPoll) => has_room = true,
                    Err(NotTaken::Busy) => {}
                }
            }
            let freed = timeout_at(until.into(), self.shared().freed.notified());
            if !has_room || freed.await.is_err() {
                return Err(unavailable());
            }
        }
    }

    /// As [`Pool::invoke_managed`], as often as it takes to find room: an event waits in a queue.
    pub(super) async fn invoke_managed_event(
        self: &Arc<Self>,
        job: &Job,
    ) -> Result<Outcome, EmulatorError> {
        loop {
            match self.invoke_managed(job).await {
                Err(EmulatorError::Refused { status: 429, .. }) => sleep(THROTTLE_PAUSE).await,
                other => return other,
            }
        }
    }

    /// Makes an environment if there is none. Invocations that come meanwhile wait for it.
    async fn start_managed(self: &Arc<Self>) -> Result<Start, EmulatorError> {
        let _alone = self.starting.lock().await;
        if self.idle().iter().any(|env| env.is_up()) {
            return Ok(Start::Ready);
        }
        // In attach mode there is one already.
        let env = match self.idle().pop() {
            Some(env) => env,
            None => self.add().await?,
        };
        match env.init_managed().await {
            Ok(duration) => {
                self.join(&env);
                Ok(Start::Made(duration))
            }
            Err(failure) => {
                if env.has_failed() {
                    self.bury(&env);
                }
                Ok(Start::Failed(env, failure))
            }
        }
    }

    /// The environment takes invocations until its first process ends.
    pub(super) fn join(self: &Arc<Self>, env: &Arc<Env>) {
        if self.is_attached() {
            return;
        }
        self.release(Arc::clone(env));
        let (pool, env) = (Arc::clone(self), Arc::clone(env));
        drop(tokio::spawn(async move {
            if env.live().await {
                pool.bury(&env);
            }
        }));
    }

    fn idle(&self) -> Vec<Arc<Env>> {
        let inner = lock(&self.inner);
        let living = inner.idle.iter().filter(|env| !env.lock().closed);
        living.cloned().collect()
    }
}

fn duplicate(job: &Job) -> EmulatorError {
    EmulatorError::Refused {
        status: 400,
        error_type: "Client.DuplicatedInvokeId".into(),
        message: format!("an invocation {} is in flight", job.request_id),
    }
}

/// A throttle to the caller ("HTTP 429" in "Troubleshooting Lambda Managed Instances"), with the
/// error type of aws-lambda-runtime-interface-emulator in the message.
fn unavailable() -> EmulatorError {
    EmulatorError::Refused {
        status: 429,
        error_type: "TooManyRequestsException".into(),
        message: "Rate Exceeded. (Runtime.Unavailable: no runtime is ready for an event)".into(),
    }
}

/// Before an event that found no room is tried again. Lambda waits a second and longer.
const THROTTLE_PAUSE: Duration = Duration::from_millis(100);

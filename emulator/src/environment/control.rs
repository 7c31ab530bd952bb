//! Steps of the lifecycle that a caller asks for, and not an invocation: an environment is
//! replaced, frozen, killed, restored.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::environment::Env;
use crate::environment::pool::Pool;
use crate::error::EmulatorError;
use crate::lock::lock;
use crate::process::session;
use crate::record::transcript::What;

impl Pool {
    /// Gives an environment no further invocation and shuts it down when it runs none. It does not
    /// count as one of those that may exist any more.
    pub(crate) fn retire(self: &Arc<Self>, id: u64) -> Result<(), EmulatorError> {
        let env = self.find(id)?;
        if self.is_attached() {
            return Err(unfit(id, "its process was started by hand"));
        }
        let is_idle = {
            let mut inner = lock(&self.inner);
            if env.retired.swap(true, Ordering::Relaxed) {
                return Ok(());
            }
            inner.count -= 1;
            let before = inner.idle.len();
            inner.idle.retain(|other| !Arc::ptr_eq(other, &env));
            inner.idle.len() < before
        };
        env.record(What::Retired);
        self.shared().freed.notify_one();
        if is_idle {
            drop(tokio::spawn(Arc::clone(self).end_retired(env)));
        }
        Ok(())
    }

    /// Retires every environment: the next invocations start new ones.
    pub(crate) fn renew(self: &Arc<Self>) -> usize {
        let all = self.describe().into_iter();
        all.filter(|env| self.retire(env.id).is_ok()).count()
    }

    /// Kills the runtime's processes, as a crash does.
    pub(crate) async fn crash(&self, id: u64) -> Result<(), EmulatorError> {
        let (_, pid) = self.find_living(id)?;
        session::kill(pid).await;
        Ok(())
    }

    /// Stops or continues the processes of an environment, whatever they do.
    pub(crate) async fn set_frozen(&self, id: u64, frozen: bool) -> Result<(), EmulatorError> {
        let (env, _) = self.find_living(id)?;
        if frozen {
            env.stop().await;
        } else {
            env.thaw();
        }
        Ok(())
    }

    /// Takes a snapshot of an environment that runs no invocation, if it is not one, and restores
    /// it.
    pub(crate) async fn restore(self: &Arc<Self>, id: u64) -> Result<Duration, EmulatorError> {
        let env = self.find(id)?;
        if env.is_managed() || self.is_attached() {
            return Err(unfit(id, "it has no snapshots"));
        }
        self.find_living(id)?;
        {
            let idle = &mut lock(&self.inner).idle;
            let before = idle.len();
            idle.retain(|other| !Arc::ptr_eq(other, &env));
            if idle.len() == before {
                return Err(unfit(id, "it runs an invocation"));
            }
        }
        if env.lock().snapshot_at.is_none() {
            env.snapshot().await;
        }
        match env.restore().await {
            Ok(duration) => {
                env.freeze().await;
                self.release(env);
                Ok(duration)
            }
            Err(failure) => {
                env.end_for_good(&failure).await;
                self.bury(&env);
                Err(EmulatorError::Init {
                    error_type: failure.error_type(),
                    message: failure.message(),
                })
            }
        }
    }

    /// An environment with the process of its runtime, which has not ended.
    fn find_living(&self, id: u64) -> Result<(Arc<Env>, i32), EmulatorError> {
        let env = self.find(id)?;
        let pid = {
            let inner = env.lock();
            let process = inner.process.as_ref().filter(|_| inner.exit.is_none());
            process.map(|process| process.pid)
        };
        Ok((env, pid.ok_or_else(|| unfit(id, "it has no process"))?))
    }

    /// Ends a retired environment when its invocations have ended.
    pub(super) async fn end_retired(self: Arc<Self>, env: Arc<Env>) {
        loop {
            let look_at = Instant::now() + LOOK_PAUSE;
            let is_free = env.wait_for(look_at, |inner| {
                let router = inner.router.as_ref();
                router
                    .is_none_or(|router| router.running() == 0)
                    .then_some(())
            });
            if is_free.await.is_some() {
                break;
            }
        }
        self.remove(&env).await;
    }

    fn find(&self, id: u64) -> Result<Arc<Env>, EmulatorError> {
        let inner = lock(&self.inner);
        let found = inner.all.iter().find(|env| env.id == id);
        found.cloned().ok_or_else(|| unfit(id, "there is none"))
    }
}

fn unfit(environment: u64, reason: &'static str) -> EmulatorError {
    EmulatorError::Environment {
        environment,
        reason,
    }
}

/// An invocation that times out is not announced.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

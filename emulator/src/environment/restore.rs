//! Snapshot and restore.
//!
//! docs.aws.amazon.com/lambda/latest/dg/snapstart-runtime-hooks-custom.html

use std::collections::HashSet;
use std::time::{Duration, Instant};

use tokio::time::sleep_until;

use crate::environment::Env;
use crate::environment::failure::Failure;
use crate::environment::log_lines;
use crate::record::outcome::State;
use crate::record::transcript::What;

impl Env {
    /// Ends an init phase in a snapshot.
    pub(crate) async fn snapshot(&self) {
        self.stop().await;
        self.lock().snapshot_at = Some(Instant::now());
    }

    /// Restores the snapshot: the processes go on where they were stopped, a while later.
    pub(crate) async fn restore(&self) -> Result<Duration, Failure> {
        let taken_at = self.lock().snapshot_at.take();
        let taken_at = taken_at.unwrap_or_else(Instant::now);
        sleep_until((taken_at + self.shared.config.restore_gap).into()).await;
        self.record(What::RestoreStart);
        self.log_text("RESTORE_START Runtime Version: provided:al2023");
        self.publish_restore_start();
        let start = Instant::now();
        let old = {
            let mut inner = self.lock();
            inner.restores += 1;
            inner.connections.iter().map(|open| open.number).collect()
        };
        self.cut_idle(&old);
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
            // The answer goes out first. The runtime may have a new connection by then.
            self.let_connections_run().await;
            self.cut_idle(&old);
            let limit = start + self.shared.config.restore_timeout;
            self.await_restored(limit).await
        } else {
            Ok(())
        };
        let duration = start.elapsed();
        let failure = result.as_ref().err();
        let error = failure.map(Failure::error_type);
        self.log_text(&log_lines::restore_report(duration, failure));
        self.publish_restore(failure, duration);
        self.record(What::RestoreDone { duration, error });
        result.map(|()| duration)
    }

    /// Resets those of the old connections that no request waits on: the state of connections
    /// "isn't guaranteed when Lambda resumes your function from a snapshot"
    /// (docs.aws.amazon.com/lambda/latest/dg/snapstart.html). A request that waits goes on, because
    /// its answer is the restore's or comes after it.
    fn cut_idle(&self, old: &HashSet<usize>) {
        let mut cut = Vec::new();
        self.lock().connections.retain(|open| {
            let is_kept = open.control.is_busy() || !old.contains(&open.number);
            if !is_kept {
                open.control.reset();
                open.task.abort();
                cut.push(open.number);
            }
            is_kept
        });
        for connection in cut {
            self.record(What::Disconnected { connection });
        }
    }

    /// A runtime that waited for the restore runs its hooks and asks for an event.
    async fn await_restored(&self, limit: Instant) -> Result<(), Failure> {
        let restored = self.wait_for(limit, |inner| {
            let ready = (inner.machine.state() == State::Ready).then_some(Ok(()));
            let error = inner.restore_error.clone();
            let error = error.map(|error| Err(Failure::Reported(error)));
            ready.or(error).or_else(|| inner.ended().map(Err))
        });
        restored.await.unwrap_or(Err(Failure::RestoreTimeout))
    }
}

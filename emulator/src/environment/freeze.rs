//! Freeze and thaw: the processes run only while an invocation or a shutdown needs them.
//!
//! docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html

use crate::environment::Env;
use crate::process::session;
use crate::record::transcript::What;

impl Env {
    /// Stops every process until the next invocation.
    pub(crate) async fn freeze(&self) {
        if self.shared.config.freeze && !self.is_managed() {
            self.stop().await;
        }
    }

    pub(super) async fn stop(&self) {
        if self.lock().process.is_none() {
            return;
        }
        self.telemetry.freeze();
        let mut members = std::mem::take(&mut self.lock().members);
        session::freeze(&self.sessions(), &mut members).await;
        let mut inner = self.lock();
        (inner.frozen, inner.members) = (true, members);
        drop(inner);
        self.record(What::Frozen);
    }

    pub(crate) fn thaw(&self) {
        if !self.lock().frozen {
            return;
        }
        let sessions = self.sessions();
        let mut inner = self.lock();
        session::thaw(&sessions, &inner.members);
        inner.frozen = false;
        drop(inner);
        self.telemetry.thaw();
        self.record(What::Thawed);
    }

    /// Thaws the processes for a signal, which is to find them as they were before the freeze.
    pub(super) async fn thaw_for_signals(&self) {
        if !self.lock().frozen {
            return;
        }
        self.thaw();
        let sessions = self.sessions();
        let members = std::mem::take(&mut self.lock().members);
        let _all_wait = session::settle(&sessions, &members).await;
        self.lock().members = members;
    }
}

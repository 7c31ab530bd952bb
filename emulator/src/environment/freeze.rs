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
}

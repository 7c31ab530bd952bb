//! Starting the external extensions and waiting for them.
//!
//! docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html, "Init phase".

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use crate::environment::{Env, Process};
use crate::failure::Failure;
use crate::output::{Output, Source};
use crate::process::{self, Exit, Plan, Spawned, extension_variables};
use crate::session::Guard;
use crate::transcript::What;

impl Env {
    /// Starts every external extension, one after another, and waits until all have registered.
    pub(crate) async fn start_extensions(self: &Arc<Self>, limit: Instant) -> Result<(), Failure> {
        if !self.is_attached() {
            for path in &self.shared.config.extensions {
                let name = name_of(path);
                let expected = self.lock().extensions.expect(&name);
                expected.map_err(|error| Failure::Launch(error.to_owned()))?;
                self.start_extension(path, &name)
                    .map_err(|error| self.launch_failure(path, &name, &error))?;
            }
        }
        let registered = self.wait_for(limit, |inner| {
            let registered = inner.extensions.all_registered().then_some(Ok(()));
            registered.or_else(|| inner.extension_crash().map(Err))
        });
        registered.await.unwrap_or(Err(Failure::Timeout))
    }

    fn start_extension(self: &Arc<Self>, path: &Path, name: &str) -> io::Result<()> {
        if self.lock().closed {
            return Err(io::Error::other("the emulator stops"));
        }
        let (output, ends) = Output::pipes(Source::Extension(name.to_owned()))?;
        let output = Arc::new(output);
        let plan = Plan {
            program: path.to_owned(),
            // "exec'd with no arguments": the name alone, which is the path.
            args: vec![path.as_os_str().as_bytes().to_owned()],
            env: extension_variables(&self.shared.config, self.port.addr()),
        };
        let Spawned { pid, exec_at } = process::spawn(&plan, &ends)?;
        drop(ends);
        let started = Process {
            pid,
            exec_at,
            guard: Arc::new(Guard::new(pid)),
            output: Arc::clone(&output),
        };
        if let Some(extension) = self.extension(name) {
            let mut inner = self.lock();
            if let Some(extension) = inner.extensions.all_mut().get_mut(extension) {
                extension.process = Some(started);
            }
        }
        self.record(What::ExtensionSpawned {
            extension: name.to_owned(),
            pid: u32::try_from(pid).unwrap_or_default(),
        });
        drop(tokio::spawn(output.pump(Arc::clone(self))));
        drop(tokio::spawn(
            Arc::clone(self).watch_extension(pid, name.to_owned()),
        ));
        Ok(())
    }

    fn extension(&self, name: &str) -> Option<usize> {
        let inner = self.lock();
        let mut all = inner.extensions.all().iter();
        all.position(|extension| extension.name == name)
    }

    /// Waits for the process to end and tells the lifecycle.
    async fn watch_extension(self: Arc<Self>, pid: i32, name: String) {
        // See `watch`: it is lost only without descriptors.
        let exit = process::wait(pid).await.unwrap_or(Exit::Code(-1));
        let ended_at = Instant::now();
        let (code, signal) = exit.parts();
        self.record(What::ExtensionExited {
            extension: name,
            code,
            signal,
        });
        let mut inner = self.lock();
        inner.extensions.ended(pid, exit, ended_at);
        drop(inner);
        self.notify();
    }

    fn launch_failure(&self, path: &Path, name: &str, error: &io::Error) -> Failure {
        let error_type = if error.kind() == io::ErrorKind::PermissionDenied {
            "PermissionDenied"
        } else {
            "UnknownError"
        };
        self.lock().extensions.launch_failed(name, error_type);
        // As Go prints a failed start.
        let text = error.to_string().to_lowercase();
        let text = text.split(" (os error").next().unwrap_or_default();
        Failure::Launch(format!("fork/exec {}: {text}", path.display()))
    }
}

/// The name an external extension has to register with.
pub(crate) fn name_of(path: &Path) -> String {
    path.file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}

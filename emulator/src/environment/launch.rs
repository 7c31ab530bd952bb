//! Starting the runtime's process and the extensions' processes.
//!
//! docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html, "Init phase".

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use crate::environment::Env;
use crate::environment::extensions::Ended;
use crate::environment::failure::Failure;
use crate::environment::variables::extension_variables;
use crate::process::exit::Exit;
use crate::process::output::Output;
use crate::process::session::Guard;
use crate::process::spawn::{Plan, Spawned};
use crate::process::{self, Process};
use crate::record::log::Source;
use crate::record::outcome::ExtensionState;
use crate::record::transcript::What;

impl Env {
    /// Starts every external extension, one after another, and waits until all have registered.
    pub(crate) async fn start_extensions(self: &Arc<Self>, limit: Instant) -> Result<(), Failure> {
        if self.is_attached() {
            self.log_awaited();
        } else {
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

    /// Says which extensions have to attach, if one has not yet.
    fn log_awaited(&self) {
        let all = self.describe_extensions().into_iter();
        let awaited = all.filter(|extension| extension.state == ExtensionState::Started);
        let names: Vec<_> = awaited.map(|extension| extension.name).collect();
        if !names.is_empty() {
            let (names, api) = (names.join(", "), self.port.addr());
            self.log_platform(&format!(
                "waiting for extensions ({names}): AWS_LAMBDA_RUNTIME_API={api}"
            ));
        }
    }

    /// Starts a process of this environment; its output goes into the log.
    pub(super) fn spawn(self: &Arc<Self>, plan: &Plan, source: Source) -> io::Result<Process> {
        // A process holds its output, and the environment its processes.
        let env = Arc::downgrade(self);
        let (output, ends) = Output::pipes(move |line| {
            if let Some(env) = env.upgrade() {
                env.log_line(&source, line);
            }
        })?;
        let Spawned { pid, exec_at } = process::spawn::spawn(plan, &ends)?;
        // The emulator's copies: with them open, the streams would not end with the process.
        drop(ends);
        let output = Arc::new(output);
        drop(tokio::spawn(Arc::clone(&output).pump()));
        Ok(Process {
            pid,
            exec_at,
            guard: Arc::new(Guard::new(pid)),
            output,
        })
    }

    fn start_extension(self: &Arc<Self>, path: &Path, name: &str) -> io::Result<()> {
        if self.lock().closed {
            return Err(io::Error::other("the emulator stops"));
        }
        let plan = Plan {
            program: path.to_owned(),
            // "exec'd with no arguments": the name alone, which is the path on Lambda, wherever the
            // file is here. A program may choose its role by it.
            args: vec![format!("/opt/extensions/{name}").into_bytes()],
            env: extension_variables(&self.shared.config, &self.endpoints()),
        };
        let plan = plan.through(&self.shared.config.launcher);
        let process = self.spawn(&plan, Source::Extension(name.to_owned()))?;
        let pid = process.pid;
        self.lock()
            .extension_processes
            .insert(name.to_owned(), process);
        self.record(What::ExtensionSpawned {
            extension: name.to_owned(),
            pid: u32::try_from(pid).unwrap_or_default(),
        });
        drop(tokio::spawn(
            Arc::clone(self).watch_extension(pid, name.to_owned()),
        ));
        Ok(())
    }

    /// Waits for the end of the process and reports it to the registry.
    async fn watch_extension(self: Arc<Self>, pid: i32, name: String) {
        // See `watch`: it is lost only without descriptors.
        let exit = process::spawn::wait(pid).await.unwrap_or(Exit::Code(-1));
        let at = Instant::now();
        let (code, signal) = exit.parts();
        self.record(What::ExtensionExited {
            extension: name.clone(),
            code,
            signal,
        });
        let mut inner = self.lock();
        // A process of an earlier generation may have had the same name.
        let process = inner.extension_processes.get(&name);
        if process.is_some_and(|process| process.pid == pid) {
            let ended = Ended {
                at,
                success: exit == Exit::Code(0),
                state: exit.to_string(),
            };
            inner.extensions.ended(&name, ended);
            drop(inner);
            self.notify();
        }
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

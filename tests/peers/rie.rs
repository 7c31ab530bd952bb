//! AWS's Runtime Interface Emulator.

use std::fs;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::{TempDir, tempdir_in};
use testkit::child::Child;
use testkit::http::{Response, exchange};
use testkit::loopback;
use testkit::namespace::with_folders;

use crate::peer::{Function, Peer};
use crate::programs;

/// An RIE with its function, which it starts for the first invocation.
#[derive(Debug)]
pub(crate) struct Rie {
    // Dropped first: it shows files in the folder.
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

/// An RIE that finds the extension in `/opt/extensions`.
#[derive(Debug)]
pub(crate) struct RieWithExtension(Rie);

impl Peer for Rie {
    /// It does not tell errors from responses.
    const ERROR_STATUS: u16 = 200;

    fn start(function: Function) -> Self {
        let folder = tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let command = Command::new(programs::peer("aws-lambda-rie"));
        Self::start_by(command, function, folder)
    }

    fn invoke(&mut self, event: &[u8]) -> Response {
        invoke(self.address, event)
    }

    fn check_request_id(&self, id: &str) {
        assert_eq!(id, self.request_id());
    }

    fn check_one_init(&self, _process: &Value) {
        assert_eq!(self.inits(), 1);
    }
}

impl Peer for RieWithExtension {
    const ERROR_STATUS: u16 = Rie::ERROR_STATUS;

    fn start(function: Function) -> Self {
        Self::start_by(function, install_with_exits)
    }

    fn invoke(&mut self, event: &[u8]) -> Response {
        self.0.invoke(event)
    }

    fn check_request_id(&self, id: &str) {
        self.0.check_request_id(id);
    }

    fn check_one_init(&self, process: &Value) {
        self.0.check_one_init(process);
    }
}

impl RieWithExtension {
    /// Starts RIE with this program as the extension, and nothing that keeps its exit codes. RIE
    /// is its parent then, as the platform is, by which a process finds the note of the one before
    /// it.
    pub(crate) fn start_with(extension: &Path, function: Function) -> Self {
        Self::start_by(function, |_, opt| {
            let extensions = opt.join("extensions");
            fs::create_dir_all(&extensions).unwrap();
            symlink(extension, extensions.join("bantam")).unwrap();
        })
    }

    fn start_by(function: Function, install: impl FnOnce(&Path, &Path)) -> Self {
        let folder = tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let opt = folder.path().join("opt");
        install(folder.path(), &opt);
        // RIE looks for extensions in /opt/extensions.
        let mut command = with_folders(&[(&opt, "/opt")]);
        command.arg(programs::peer("aws-lambda-rie"));
        Self(Rie::start_by(command, function, folder))
    }

    /// Starts it on Managed Instances.
    pub(crate) fn start_managed(function: Function, concurrency: usize) -> Self {
        let folder = tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let opt = folder.path().join("opt");
        install_with_exits(folder.path(), &opt);
        let folders = [(&*opt, "/opt")];
        Self(Rie::start_managed_with(
            &folders,
            function,
            concurrency,
            folder,
        ))
    }

    /// Ends RIE, and with it the extension: the codes that the extension exited with in its life,
    /// one a start. One that was killed, as RIE does 2 s after SHUTDOWN, leaves none.
    pub(crate) fn stop(&mut self) -> String {
        self.0.child.stop();
        fs::read_to_string(self.0.folder.path().join(EXITS)).unwrap_or_default()
    }
}

impl Deref for RieWithExtension {
    type Target = Rie;

    fn deref(&self) -> &Rie {
        &self.0
    }
}

impl DerefMut for RieWithExtension {
    fn deref_mut(&mut self) -> &mut Rie {
        &mut self.0
    }
}

/// Puts the extension into `opt`, as a layer does. RIE does not say with which code an extension
/// exited, so the file there is a script that takes it down.
fn install_with_exits(folder: &Path, opt: &Path) {
    let [real, shown] = [folder, opt].map(|parent| parent.join("extensions"));
    fs::create_dir_all(&real).unwrap();
    fs::create_dir_all(&shown).unwrap();
    symlink(programs::path("bantam"), real.join("bantam")).unwrap();
    let script = format!(
        "#!/bin/sh\n'{}'\necho $? >>'{}'\n",
        real.join("bantam").display(),
        folder.join(EXITS).display()
    );
    // On Managed Instances RIE runs it as another user.
    for (file, text, mode) in [
        (shown.join("bantam"), &*script, 0o755),
        (folder.join(EXITS), "", 0o666),
    ] {
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    }
}

impl Rie {
    /// Starts RIE by `command`, which takes its arguments.
    fn start_by(mut command: Command, function: Function, folder: TempDir) -> Self {
        let bootstrap = folder.path().join("bootstrap");
        let concurrency = "AWS_LAMBDA_MAX_CONCURRENCY";
        let is_managed = function
            .variables
            .iter()
            .any(|(name, _)| name == concurrency);
        symlink(&function.program, &bootstrap).unwrap();
        let [invoke, api] = loopback::free();
        // The function gets the environment of RIE.
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .envs(function.variables)
            .current_dir(folder.path())
            .args(["--runtime-interface-emulator-address", &invoke.to_string()])
            .args(["--runtime-api-address", &api.to_string()])
            .arg(&bootstrap)
            .arg(&function.handler);
        let mut child = Child::start(&mut command, folder.path(), "rie");
        // On Managed Instances the API is there from the first invocation on.
        let addresses = if is_managed {
            vec![invoke]
        } else {
            vec![api, invoke]
        };
        for address in addresses {
            let listening = child.until_listening(address);
            assert_eq!(listening, Ok(()), "RIE did not start");
        }
        Self {
            child,
            address: invoke,
            folder,
        }
    }

    /// Starts it with the calls around a restore, and with every call in its log.
    pub(crate) fn start_with_restore(function: Function) -> Self {
        let folder = tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let mut command = Command::new(programs::peer("aws-lambda-rie"));
        command.args(["--enable-init-caching", "--log-level", "debug"]);
        Self::start_by(command, function, folder)
    }

    /// Starts it on Managed Instances. There it takes the program from `/var/task`, whatever its
    /// arguments say.
    pub(crate) fn start_managed(function: Function, concurrency: usize) -> Self {
        let folder = tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        Self::start_managed_with(&[], function, concurrency, folder)
    }

    /// Starts it where it finds these folders, too.
    fn start_managed_with(
        folders: &[(&Path, &str)],
        function: Function,
        concurrency: usize,
        folder: TempDir,
    ) -> Self {
        let var = folder.path().join("var");
        fs::create_dir_all(var.join("task")).unwrap();
        symlink(&function.program, var.join("task/bootstrap")).unwrap();
        let mut command = with_folders(&[folders, &[(&var, "/var")]].concat());
        command.arg(programs::peer("aws-lambda-rie"));
        let handler = function.handler.clone();
        let function = function
            .variable(CONCURRENCY, &concurrency.to_string())
            .variable("_HANDLER", &handler);
        Self::start_by(command, function, folder)
    }

    /// Invokes with all events at once, which it takes on Managed Instances only.
    pub(crate) fn invoke_at_once(&self, events: &[String]) -> Vec<Response> {
        thread::scope(|scope| {
            let mut invoked = Vec::new();
            for event in events {
                invoked.push(scope.spawn(|| self.until_taken(event)));
            }
            let replies = invoked.into_iter().map(|reply| reply.join().unwrap());
            replies.collect()
        })
    }

    /// Invokes until a worker is free. The init is over when one of them is.
    fn until_taken(&self, event: &str) -> Response {
        for _ in 0..TRIES_MAX {
            let reply = invoke(self.address, event.as_bytes());
            if !reply.text().contains("Runtime.Unavailable") {
                return reply;
            }
            thread::yield_now();
        }
        panic!("no worker is free");
    }

    /// The log of the function and the extension so far.
    pub(crate) fn log(&self) -> String {
        self.child.stdout()
    }

    /// The request id of the last invocation, as RIE logged it.
    pub(crate) fn request_id(&self) -> String {
        let log = self.child.stdout();
        let (_, last) = log.rsplit_once("START RequestId: ").unwrap();
        last.split(' ').next().unwrap().to_owned()
    }

    /// Waits until the function or the extension has logged `text`.
    pub(crate) fn until_logged(&mut self, text: &str) {
        self.until_logged_times(text, 1);
    }

    /// Waits until `text` has been logged so many times. RIE passes the log on, and says nothing
    /// else then, so this looks again and again; the pause between is a wait for the exit of RIE.
    pub(crate) fn until_logged_times(&mut self, text: &str, times: usize) {
        for _ in 0..LOOKS_MAX {
            if times <= self.child.stdout().matches(text).count() {
                return;
            }
            assert_eq!(self.child.exited_within(LOOK_PAUSE), None);
        }
        panic!("{text} is not logged");
    }

    /// How many times RIE initialised the function, as it logged that.
    pub(crate) fn inits(&self) -> usize {
        self.child.stderr().matches("INIT START(").count()
    }

    /// How many calls at this path of the Runtime API it logged.
    pub(crate) fn calls(&self, path: &str) -> usize {
        let call = format!(" /2018-06-01/runtime/{path}, Headers:");
        self.child.stderr().matches(&call).count()
    }

    /// Whether it refused a call of the Runtime API that came at the wrong time.
    pub(crate) fn has_refused(&self) -> bool {
        let refusal = "State transition is not allowed";
        self.child.stderr().contains(refusal)
    }
}

fn invoke(address: SocketAddr, event: &[u8]) -> Response {
    let target = "/2015-03-31/functions/function/invocations";
    exchange(address, "POST", target, &[], event).unwrap()
}

/// Calls until a worker is free. One takes a part of a millisecond.
const TRIES_MAX: usize = 20_000;

const CONCURRENCY: &str = "AWS_LAMBDA_MAX_CONCURRENCY";

/// The file with the codes that the extension exited with.
const EXITS: &str = "exits";

/// With the pause, 10 s.
const LOOKS_MAX: usize = 500;
const LOOK_PAUSE: Duration = Duration::from_millis(20);

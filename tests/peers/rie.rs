//! AWS's Runtime Interface Emulator.

use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::{TempDir, tempdir_in};

use crate::child::Child;
use crate::http::exchange;
use crate::loopback;
use crate::peer::{Function, Peer, Reply};
use crate::programs;

/// An RIE with its function, which it starts for the first invocation.
#[derive(Debug)]
pub(crate) struct Rie {
    // Dropped first: it shows files in the folder.
    child: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Peer for Rie {
    /// It does not tell errors from responses.
    const ERROR_STATUS: u16 = 200;

    fn start(function: Function) -> Self {
        let folder = tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let bootstrap = folder.path().join("bootstrap");
        symlink(&function.program, &bootstrap).unwrap();
        let [invoke, api] = loopback::free();
        let mut command = Command::new(programs::peer("aws-lambda-rie"));
        // The function gets the environment of RIE.
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .envs(function.variables)
            .current_dir(folder.path())
            .args(["--log-level", "info"])
            .args(["--runtime-interface-emulator-address", &invoke.to_string()])
            .args(["--runtime-api-address", &api.to_string()])
            .arg(&bootstrap)
            .arg(&function.handler);
        let mut child = Child::start(&mut command, folder.path(), "rie");
        for address in [api, invoke] {
            let listening = child.until_listening(address);
            assert_eq!(listening, Ok(()), "RIE did not start");
        }
        Self {
            child,
            address: invoke,
            _folder: folder,
        }
    }

    fn invoke(&mut self, event: &[u8]) -> Reply {
        let target = "/2015-03-31/functions/function/invocations";
        exchange(self.address, "POST", target, &[], event).unwrap()
    }

    fn check_request_id(&self, id: &str) {
        assert_eq!(id, self.request_id());
    }

    fn check_one_init(&self, _process: &Value) {
        assert_eq!(self.inits(), 1);
    }
}

impl Rie {
    /// The request id of the last invocation, as RIE logged it.
    pub(crate) fn request_id(&self) -> String {
        let log = self.child.stdout();
        let (_, last) = log.rsplit_once("START RequestId: ").unwrap();
        last.split(' ').next().unwrap().to_owned()
    }

    /// Waits until the function has logged `text`. RIE passes its log on, and says nothing else
    /// then, so this looks again and again; the pause between is a wait for the exit of RIE.
    pub(crate) fn until_logged(&mut self, text: &str) {
        for _ in 0..LOOKS_MAX {
            if self.child.stdout().contains(text) {
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
}

/// With the pause, 10 s.
const LOOKS_MAX: usize = 500;
const LOOK_PAUSE: Duration = Duration::from_millis(20);

//! `cargo lambda watch`, with the function started beside it.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::{TempDir, tempdir_in};
use testkit::child::Child;
use testkit::http::{Response, exchange};
use testkit::loopback;

use crate::peer::{Function, Peer};
use crate::programs;

/// The server, and the function that asks it for events.
#[derive(Debug)]
pub(crate) struct CargoLambda {
    // Dropped in this order: the function first, so that it does not miss the server.
    function: Child,
    watch: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Peer for CargoLambda {
    const ERROR_STATUS: u16 = 500;

    fn start(function: Function) -> Self {
        let folder = tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let [address] = loopback::free();
        let mut watch = watch(folder.path(), address);
        let listening = watch.until_listening(address);
        assert_eq!(listening, Ok(()), "cargo lambda watch did not start");
        let bootstrap = folder.path().join("bootstrap");
        symlink(&function.program, &bootstrap).unwrap();
        let mut command = Command::new(&bootstrap);
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env(
                "AWS_LAMBDA_RUNTIME_API",
                format!("http://{address}/.rt/function"),
            )
            .env("_HANDLER", &function.handler)
            .envs(function.variables);
        let function = Child::start(&mut command, folder.path(), "function");
        Self {
            function,
            watch,
            address,
            _folder: folder,
        }
    }

    fn invoke(&mut self, event: &[u8]) -> Response {
        self.invoke_with(&[], event)
    }

    /// It does not tell the caller the id.
    fn check_request_id(&self, id: &str) {
        let lengths = id.split('-').map(str::len).collect::<Vec<_>>();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{id}");
        assert!(
            id.bytes()
                .all(|byte| byte == b'-' || byte.is_ascii_hexdigit()),
            "{id}"
        );
    }

    /// It knows nothing of processes; that which was started is still the one that answers.
    fn check_one_init(&self, process: &Value) {
        assert_eq!(process["pid"], self.function.id());
    }
}

impl CargoLambda {
    pub(crate) fn invoke_with(&self, headers: &[(&str, &str)], event: &[u8]) -> Response {
        exchange(self.address, "POST", INVOCATIONS, headers, event).unwrap()
    }

    /// Sends an event that the function refuses before it has read all of it. The server then
    /// closes the connection of the caller, who may or may not see the answer.
    pub(crate) fn send_too_large(&self, event: &[u8]) {
        let _reply = exchange(self.address, "POST", INVOCATIONS, &[], event);
    }

    /// A request to the function as if it had a URL.
    pub(crate) fn get(&self, target: &str) -> Response {
        exchange(self.address, "GET", target, &[], b"").unwrap()
    }

    pub(crate) const fn function(&mut self) -> &mut Child {
        &mut self.function
    }

    pub(crate) fn stop_watch(&mut self) {
        self.watch.stop();
    }
}

/// Starts the server. It wants to stand in a package, and knows functions by the names of its
/// binaries.
fn watch(folder: &Path, address: SocketAddr) -> Child {
    let package = folder.join("package");
    fs::create_dir_all(package.join("src")).unwrap();
    fs::write(package.join("src/main.rs"), "fn main() {}\n").unwrap();
    fs::write(package.join("Cargo.toml"), MANIFEST).unwrap();
    let mut command = Command::new(programs::peer("cargo-lambda"));
    command
        // Nothing is compiled here, so no toolchain may be installed for it.
        .env("RUSTUP", programs::peer("rustup"))
        .current_dir(&package)
        .args(["lambda", "watch", "--only-lambda-apis", "--ignore-changes"])
        .args(["--invoke-address", &address.ip().to_string()])
        .args(["--invoke-port", &address.port().to_string()]);
    Child::start(&mut command, folder, "watch")
}

const INVOCATIONS: &str = "/2015-03-31/functions/function/invocations";

const MANIFEST: &str = "\
[package]
name = \"function\"
version = \"0.1.0\"
edition = \"2024\"

[workspace]
";

//! How the runtime is started: through a wrapper, and as process 1 of a container.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::http_server::{event, server};
use crate::support::{example_path, faulty, start, stock};

/// A script in `folder` that can be executed.
fn script(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

fn wrapper(path: &str) -> (String, String) {
    ("AWS_LAMBDA_EXEC_WRAPPER".to_owned(), path.to_owned())
}

#[test]
fn a_wrapper_starts_the_runtime_once() {
    let folder = tempfile::tempdir().unwrap();
    let count = folder.path().join("count");
    let text = format!(
        "#!/bin/sh\necho x $# >>{}\nexport WRAPPED=yes\nexec \"$@\"\n",
        count.display()
    );
    let path = script(folder.path(), "wrap", &text);
    let mut config = faulty();
    config.env.push(wrapper(&path));
    let env = start(config);
    assert_eq!(env.respond(r#"{"do":"process"}"#)["count"], 1);
    // A fresh program after a panic is the one that was wrapped.
    env.fail(r#"{"do":"panic","message":"m"}"#);
    assert_eq!(env.respond(r#"{"do":"process"}"#)["count"], 1);
    assert_eq!(fs::read_to_string(&count).unwrap(), "x 1\n");

    let folder = tempfile::tempdir().unwrap();
    let handler = "#!/bin/sh\nprintf '{\"wrapped\":\"%s\"}' \"$WRAPPED\"\n";
    let handler = script(folder.path(), "handler", handler);
    let mut config = stock(&handler);
    config.env.push(wrapper(&path));
    assert_eq!(start(config).respond("{}"), json!({"wrapped": "yes"}));

    // Arguments would be the command of a server.
    let mut config = server("");
    config.env.push(wrapper(&path));
    let outcome = start(config).invoke(event("GET", "/nowhere")).unwrap();
    let response: Value = serde_json::from_slice(&outcome.body).unwrap();
    assert_eq!(response["statusCode"], 404, "{response}");
}

#[test]
fn a_wrapper_that_cannot_be_started_is_an_init_error_that_names_it() {
    let mut config = faulty();
    config.env.push(wrapper("/opt/missing"));
    let env = start(config);
    let (recorded, document) = env.fail("{}");
    assert_eq!(recorded, "Runtime.ExecWrapper");
    assert_eq!(
        document["errorMessage"],
        "AWS_LAMBDA_EXEC_WRAPPER is /opt/missing, which cannot be started: No such file or \
         directory (os error 2)"
    );
}

#[test]
fn no_wrapper_is_looked_for_in_an_empty_variable() {
    let mut config = faulty();
    config.env.push(wrapper(""));
    let process: Value = start(config).respond(r#"{"do":"process"}"#);
    assert_eq!(process["count"], 1);
}

/// Needs a privilege: it makes a namespace for processes.
#[test]
#[ignore = "needs root"]
fn as_process_1_the_runtime_ends_by_sigterm() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let bootstrap = folder.path().join("bootstrap");
    std::os::unix::fs::symlink(example_path("raw"), &bootstrap).unwrap();
    for signal in [Signal::TERM, Signal::INT] {
        let mut command = Command::new("unshare");
        command
            .args(["--pid", "--fork", "--kill-child=KILL", "--mount-proc"])
            .arg(&bootstrap)
            .env(
                "AWS_LAMBDA_RUNTIME_API",
                listener.local_addr().unwrap().to_string(),
            )
            .stderr(Stdio::null());
        let mut unshare = command.spawn().unwrap();
        // It is connected, so it has started.
        let connection = listener.accept().unwrap();
        let children = format!("/proc/{0}/task/{0}/children", unshare.id());
        let runtime = fs::read_to_string(children).unwrap();
        let runtime = Pid::from_raw(runtime.trim().parse().unwrap()).unwrap();
        kill_process(runtime, signal).unwrap();
        let sent = Instant::now();
        let status = loop {
            if let Some(status) = unshare.try_wait().unwrap() {
                break status;
            }
            if sent.elapsed() > Duration::from_secs(10) {
                unshare.kill().unwrap();
                panic!("{signal:?} does not end it");
            }
            std::thread::yield_now();
        };
        assert_eq!(status.code(), Some(128 + signal.as_raw()));
        drop(connection);
    }
}

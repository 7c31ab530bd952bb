//! Registration, events and the end.

use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bantam_emulator::{Config, Entry, Initialization, Report, What};
use testkit::pipe::named_pipe;

use crate::support::{Env, count, example_path, function, start, stock};

/// The function `raw` with the stock binary as its extension.
pub(crate) fn with_extension() -> Config {
    let mut config = function("raw");
    config.extensions = vec![stock("").program];
    // How many milliseconds the last records take is not what these tests are about.
    config.telemetry.flush_at_shutdown = true;
    let port = free_port();
    config
        .env
        .push(("BANTAM_TELEMETRY_PORT".to_owned(), port.to_string()));
    config
}

/// A port nobody listens on: every test has one of its own, as they run side by side on one
/// machine. It is below those that are given for port 0, and above those of well-known servers.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        // Behind it are those that the extension would try if somebody took it meanwhile.
        let port = 10_000 + (process::id().wrapping_mul(64) + next) % 1_000 * 20;
        let port = u16::try_from(port).unwrap();
        if TcpListener::bind(("0.0.0.0", port)).is_ok() {
            return port;
        }
    }
}

pub(crate) fn invoke(env: &Env, times: usize) {
    for _ in 0..times {
        let outcome = env.invoke(r#"{"a":1}"#).unwrap();
        assert_eq!(outcome.function_error, None);
        assert_eq!(outcome.body, br#"{"a":1}"#);
    }
}

/// How the extension ended: its code, and whether it was killed.
pub(crate) fn end(report: &Report) -> (Option<i32>, bool) {
    let code = report
        .transcript
        .iter()
        .find_map(|entry| match &entry.what {
            What::ExtensionExited { code, .. } => Some(*code),
            _ => None,
        });
    let killed = report
        .transcript
        .iter()
        .any(|entry| matches!(entry.what, What::ExtensionShutdown { killed: true, .. }));
    (code.expect("the extension ended"), killed)
}

pub(crate) fn subscribed(entries: &[Entry]) -> Vec<u16> {
    let statuses = entries.iter().filter_map(|entry| match entry.what {
        What::Subscribed { status, .. } => Some(status),
        _ => None,
    });
    statuses.collect()
}

#[test]
fn it_registers_subscribes_and_ends_with_0() {
    let mut config = with_extension();
    // The extension would ask for its zone, on a connection of its own.
    config.availability_zones.clear();
    let env = start(config);
    invoke(&env, 3);
    let transcript = env.transcript();
    let registered = transcript.iter().find_map(|entry| match &entry.what {
        What::ExtensionRegistered {
            extension,
            external,
            events,
        } => Some((extension.clone(), *external, events.clone())),
        _ => None,
    });
    let expected = ("bantam".to_owned(), true, vec!["INVOKE", "SHUTDOWN"]);
    assert_eq!(registered, Some(expected));
    assert_eq!(subscribed(&transcript), [200]);
    let connected = |what: &What| matches!(what, What::Connected { .. });
    assert_eq!(count(&transcript, connected), 2, "one connection each");
    let report = env.stop();
    assert_eq!(end(&report), (Some(0), false));
}

#[test]
fn on_managed_instances_it_takes_shutdown_alone() {
    let mut config = with_extension();
    config.initialization = Initialization::ManagedInstances;
    let env = start(config);
    invoke(&env, 2);
    let events = env
        .transcript()
        .into_iter()
        .find_map(|entry| match entry.what {
            What::ExtensionRegistered { events, .. } => Some(events),
            _ => None,
        });
    assert_eq!(events, Some(vec!["SHUTDOWN"]));
    assert_eq!(end(&env.stop()), (Some(0), false));
}

#[test]
fn every_way_an_environment_starts_is_served() {
    for initialization in [
        Initialization::ProvisionedConcurrency,
        Initialization::SnapStart,
    ] {
        let mut config = with_extension();
        config.initialization = initialization;
        let env = start(config);
        invoke(&env, 3);
        assert_eq!(end(&env.stop()), (Some(0), false), "{initialization:?}");
    }
}

#[test]
fn without_telemetry_the_function_is_served_all_the_same() {
    let mut config = with_extension();
    config.telemetry.stubbed = true;
    let env = start(config);
    invoke(&env, 3);
    assert_eq!(subscribed(&env.transcript()), [202]);
    env.wait_for_log("no telemetry is delivered here");
    assert_eq!(end(&env.stop()), (Some(0), false));
}

#[test]
fn a_port_that_is_taken_is_passed_over() {
    let mut config = with_extension();
    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    config.env.push(("BANTAM_TELEMETRY_PORT".to_owned(), port));
    let env = start(config);
    invoke(&env, 3);
    assert_eq!(subscribed(&env.transcript()), [200]);
    assert_eq!(
        env.deliveries().first().map(|delivery| delivery.failures),
        Some(0)
    );
}

#[test]
fn a_timeout_ends_it_with_the_environment_and_it_comes_back() {
    let mut config = with_extension();
    config.program = example_path("faulty");
    config.timeout = Duration::from_secs(2);
    let env = start(config);
    assert_eq!(
        env.fail(r#"{"do":"sleep","ms":60000}"#).0,
        "Sandbox.Timedout"
    );
    assert_eq!(env.respond(r#"{"do":"echo","value":1}"#), 1);
    let report = env.stop();
    let registered = |what: &What| matches!(what, What::ExtensionRegistered { .. });
    assert_eq!(count(&report.transcript, registered), 2);
    let killed = |what: &What| matches!(what, What::ExtensionShutdown { killed: true, .. });
    assert_eq!(count(&report.transcript, killed), 0);
}

#[test]
fn a_hundred_freezes_and_thaws() {
    let env = start(with_extension());
    invoke(&env, 100);
    let thawed = |what: &What| matches!(what, What::Thawed);
    assert!(90 <= count(&env.transcript(), thawed));
    assert_eq!(end(&env.stop()), (Some(0), false));
}

#[test]
fn sigterm_ends_it_like_shutdown() {
    let env = start(with_extension());
    invoke(&env, 1);
    let pid = env.environments()[0].extensions[0].pid.unwrap();
    // A frozen process takes the signal when it is thawed.
    for signal in ["-TERM", "-CONT"] {
        let status = Command::new("kill")
            .args([signal, &pid.to_string()])
            .status()
            .unwrap();
        assert!(status.success());
    }
    let exited = |what: &What| matches!(what, What::ExtensionExited { code: Some(0), .. });
    env.wait_until("it exits with 0", |entries| count(entries, exited) == 1)
        .unwrap();
}

/// The fixture starts a thread that panics, under the name of an extension: the hook that it meets
/// is the one that every panic of the extension meets.
#[test]
fn a_panic_does_not_end_it() {
    let folder = tempfile::tempdir().unwrap();
    let extensions = folder.path().join("extensions");
    std::fs::create_dir(&extensions).unwrap();
    let program: PathBuf = extensions.join("panics");
    symlink(example_path("faulty_extension"), &program).unwrap();
    let pipe = named_pipe(folder.path());
    let mut config = with_extension();
    config.extensions = vec![program];
    config
        .env
        .push(("PIPE".to_owned(), pipe.to_str().unwrap().to_owned()));
    config.freeze = false;
    let env = start(config);
    invoke(&env, 2);
    let connected = |what: &What| matches!(what, What::Connected { .. });
    for _ in 0..2 {
        let before = count(&env.transcript(), connected);
        std::fs::write(&pipe, "now").unwrap();
        // An event that is sent while the process executes itself again is lost, SHUTDOWN too.
        let is_anew = |entries: &[Entry]| before < count(entries, connected);
        env.wait_until("it connects anew", is_anew).unwrap();
        invoke(&env, 5);
    }
    env.wait_for_log("starting anew");
    let report = env.stop();
    assert_eq!(end(&report), (Some(0), false));
    let registered = |what: &What| matches!(what, What::ExtensionRegistered { .. });
    assert_eq!(count(&report.transcript, registered), 1);
}

//! The runtime's part of a shutdown: SIGTERM if there is an extension, and SIGKILL when its share
//! of the time is over.

use std::os::unix::fs::symlink;
use std::thread;
use std::time::Duration;

use bantam_emulator::{
    Config, Emulator, Entry, ExtensionState, Fault, FaultKind, Initialization, Step, What,
};
use testkit::http::Client;

use crate::support::{count, echo, example, idler, json};

/// The end of a runtime.
#[derive(Debug, PartialEq, Eq)]
struct End {
    /// From the start of the shutdown to the end, if there was SIGTERM.
    after: Option<Duration>,
    code: Option<i32>,
    signal: Option<i32>,
    /// The lines that the runtime wrote on the way.
    lines: Vec<String>,
}

impl End {
    /// Whether the runtime had so much time, which begins a moment before it is recorded.
    fn had(&self, ms: u64) -> bool {
        let unseen = Duration::from_millis(50);
        self.after.unwrap() + unseen >= Duration::from_millis(ms)
    }
}

/// A function whose runtime takes so long to end.
fn slow_to_end(ms: u64) -> Config {
    let mut config = echo();
    config.env = vec![("ECHO_TERM".into(), ms.to_string())];
    config
}

fn with_internal(mut config: Config) -> Config {
    config.env.push(("ECHO_INTERNAL".into(), "inside".into()));
    config
}

/// The example extension, which takes `SHUTDOWN`.
fn with_external(mut config: Config, folder: &tempfile::TempDir) -> Config {
    let link = folder.path().join("ext");
    symlink(example("extension"), &link).unwrap();
    config.extensions.push(link);
    config
        .env
        .push(("EXTENSION".into(), "log,events=SHUTDOWN".into()));
    config
}

/// Invokes the function once, stops the emulator, and shows the runtime's end.
fn end(config: Config) -> (End, Vec<Entry>) {
    let emulator = Emulator::start(config).unwrap();
    assert_eq!(emulator.invoke("{}").unwrap().function_error, None);
    let report = emulator.stop();
    let mut start_at = None;
    let mut counted_from = None;
    let mut end = None;
    for entry in &report.transcript {
        if matches!(entry.what, What::ShutdownStart { .. }) {
            start_at = Some(entry.at);
        }
        if entry.what == What::Terminated {
            counted_from = start_at;
        }
        if let What::Exited { code, signal } = entry.what {
            end = Some((entry.at, code, signal));
        }
    }
    let (at, code, signal) = end.unwrap();
    let own = report.log.iter();
    let own = own.filter(|line| !line.platform && line.extension.is_none());
    let end = End {
        after: counted_from.map(|from| at - from),
        code,
        signal,
        lines: own.map(|line| line.text.clone()).collect(),
    };
    (end, report.transcript)
}

fn budget(entries: &[Entry]) -> Option<Duration> {
    entries.iter().find_map(|entry| {
        if let What::ShutdownStart { budget, .. } = entry.what {
            Some(budget)
        } else {
            None
        }
    })
}

const KILLED: Option<i32> = Some(9);

#[test]
fn without_an_extension_the_runtime_is_killed_at_once() {
    let (end, entries) = end(slow_to_end(0));
    assert_eq!((end.after, end.signal), (None, KILLED));
    assert_eq!(end.lines, [""; 0]);
    assert_eq!(budget(&entries), None);
}

#[test]
fn an_internal_extension_gives_the_runtime_all_the_time_there_is() {
    let (quick, entries) = end(with_internal(slow_to_end(0)));
    assert_eq!((quick.code, quick.signal), (Some(0), None));
    assert_eq!(quick.lines, ["terminated", "ends"]);
    assert_eq!(budget(&entries), Some(Duration::from_millis(500)));
    let (slow, entries) = end(with_internal(slow_to_end(60_000)));
    assert_eq!((slow.signal, slow.lines.len()), (KILLED, 1));
    assert!(slow.had(500), "{slow:?}");
    // It has no event of its own.
    let told = |what: &What| matches!(what, What::ExtensionEventSent { .. });
    assert_eq!(count(&entries, told), 0);
}

#[test]
fn an_external_extension_leaves_the_runtime_a_share() {
    let folder = tempfile::tempdir().unwrap();
    let (quick, entries) = end(with_external(slow_to_end(0), &folder));
    assert_eq!((quick.code, quick.lines.len()), (Some(0), 2));
    assert_eq!(budget(&entries), Some(Duration::from_secs(2)));
    for config in [slow_to_end(60_000), with_internal(slow_to_end(60_000))] {
        let folder = tempfile::tempdir().unwrap();
        let (slow, entries) = end(with_external(config, &folder));
        assert_eq!(slow.signal, KILLED);
        assert!(slow.had(300), "{slow:?}");
        // The extension is told when the runtime is gone, and has the rest.
        let at = |test: fn(&What) -> bool| entries.iter().position(|entry| test(&entry.what));
        let exited = at(|what| matches!(what, What::Exited { .. }));
        let told = |what: &What| matches!(what, What::ExtensionEventSent { .. });
        assert!(exited < at(told));
        let ended = |what: &What| matches!(what, What::ExtensionShutdown { killed: false, .. });
        assert_eq!(count(&entries, ended), 1);
    }
}

#[test]
fn the_share_can_be_set_and_is_longer_on_managed_instances() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = with_external(slow_to_end(60_000), &folder);
    config.runtime_shutdown = Duration::from_millis(1);
    config.initialization = Initialization::ManagedInstances;
    let (managed, _) = end(config.clone());
    assert!(managed.had(600), "{managed:?}");
    config.initialization = Initialization::OnDemand;
    config.runtime_shutdown = Duration::from_millis(700);
    let (own, _) = end(config);
    assert!(own.had(700), "{own:?}");
}

#[test]
fn the_runtime_gets_sigterm_after_a_timeout_too() {
    let mut config = with_internal(slow_to_end(0));
    config.timeout = Duration::from_millis(300);
    let emulator = Emulator::start(config).unwrap();
    let outcome = emulator.invoke(r#"{"do":"sleep"}"#).unwrap();
    assert!(outcome.function_error.is_some());
    let entries = emulator.transcript();
    let exited = |what: &What| matches!(what, What::Exited { code: Some(0), .. });
    assert_eq!(count(&entries, exited), 1);
}

#[test]
fn the_init_waits_for_the_first_event_next_of_an_internal_extension() {
    let mut config = idler();
    config.faults = vec![Fault::new(Step::Register(0), FaultKind::ByteByByte)];
    let emulator = Emulator::start(config).unwrap();
    thread::scope(|scope| {
        let prepared = scope.spawn(|| emulator.prepare().unwrap());
        let spawned = |what: &What| matches!(what, What::Spawned { .. });
        let is_spawned = |entries: &[_]| count(entries, spawned) == 1;
        emulator.wait_until("process", is_spawned).unwrap();
        let api = emulator.environments()[0].runtime_api;
        let mut runtime = Client::connect(api);
        let name = ("Lambda-Extension-Name", "inside");
        let register = "/2020-01-01/extension/register";
        let registered = runtime.post(register, &[name], br#"{"events":[]}"#);
        assert_eq!(registered.status, 200);
        let id = registered.header("Lambda-Extension-Identifier").unwrap();
        runtime.send("GET", "/2018-06-01/runtime/invocation/next", &[], b"");
        let polled = |what: &What| matches!(what, What::Request { path, .. } if path.ends_with("invocation/next"));
        let is_polled = |entries: &[_]| count(entries, polled) == 1;
        emulator.wait_until("next", is_polled).unwrap();
        let done = |what: &What| matches!(what, What::InitDone { .. });
        assert_eq!(count(&emulator.transcript(), done), 0);
        let mut inside = Client::connect(api);
        let header = ("Lambda-Extension-Identifier", id);
        inside.send("GET", "/2020-01-01/extension/event/next", &[header], b"");
        prepared.join().unwrap();
        let extension = emulator.environments().remove(0).extensions.remove(0);
        assert_eq!(extension.state, ExtensionState::Ready);
        // Too late for another one.
        let late = Client::connect(api).post(register, &[("Lambda-Extension-Name", "late")], b"{}");
        assert_eq!(late.status, 403);
        let error = json(&late.body);
        assert_eq!(error["errorType"], "Extension.RegistrationClosed");
        assert!(!inside.has_response());
    });
}

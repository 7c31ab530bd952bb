//! What a caller does to environments, and the settings of how they are started.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bantam_emulator::{Config, Credentials, Emulator, Entry, Error, Initialization, Seen, What};

use crate::support::{count, echo, error_of, json};

/// The environments whose entries pass a test, in order.
fn environments_with(entries: &[Entry], test: impl Fn(&What) -> bool) -> Vec<u64> {
    let found = entries.iter().filter(|entry| test(&entry.what));
    found.map(|entry| entry.environment).collect()
}

fn is_gone(entries: &[Entry], environment: u64) -> bool {
    environments_with(entries, |what| matches!(what, What::Shutdown)).contains(&environment)
}

#[test]
fn a_retired_environment_that_is_idle_ends_and_another_one_is_started() {
    let mut config = echo();
    // The retired one does not count.
    config.concurrency_max = 1;
    let emulator = Emulator::start(config).unwrap();
    let first = emulator.invoke("1").unwrap();
    assert_eq!(emulator.renew().unwrap(), 1);
    let second = emulator.invoke("2").unwrap();
    assert_eq!((first.environment, second.environment), (0, 1));
    assert!(second.timing.cold);
    emulator
        .wait_until("end", |entries| is_gone(entries, 0))
        .unwrap();
    let left: Vec<_> = emulator.environments().iter().map(|env| env.id).collect();
    assert_eq!(left, [1]);
    assert_eq!(emulator.invoke("3").unwrap().environment, 1);
}

#[test]
fn a_retired_environment_that_is_busy_ends_after_its_invocation() {
    for initialization in [Initialization::OnDemand, Initialization::ManagedInstances] {
        let mut config = echo();
        config.initialization = initialization;
        let emulator = Arc::new(Emulator::start(config).unwrap());
        emulator.prepare().unwrap();
        let invoking = Arc::clone(&emulator);
        let slow = thread::spawn(move || invoking.invoke(r#"{"do":"sleep","ms":700}"#).unwrap());
        let is_running = |what: &What| matches!(what, What::EventSent { .. });
        let sent = |entries: &[Entry]| count(entries, is_running) == 1;
        emulator.wait_until("event", sent).unwrap();
        emulator.retire(0).unwrap();
        emulator.retire(0).unwrap();
        emulator.prepare().unwrap();
        assert_eq!(emulator.invoke("2").unwrap().environment, 1);
        let slow = slow.join().unwrap();
        assert_eq!((slow.environment, slow.function_error), (0, None));
        emulator
            .wait_until("end", |entries| is_gone(entries, 0))
            .unwrap();
        let entries = emulator.transcript();
        let of_first = entries.iter().filter(|entry| entry.environment == 0);
        let of_first: Vec<_> = of_first.map(|entry| &entry.what).collect();
        let place = |test: fn(&What) -> bool| of_first.iter().position(|what| test(what));
        let places = [
            place(|what| *what == What::Retired),
            place(|what| matches!(what, What::InvokeDone { .. })),
            place(|what| *what == What::Shutdown),
        ];
        assert!(places[0].is_some() && places.is_sorted(), "{places:?}");
    }
}

#[test]
fn a_killed_runtime_is_a_crash_to_the_next_invocation() {
    let emulator = Emulator::start(echo()).unwrap();
    emulator.invoke("1").unwrap();
    emulator.crash(0).unwrap();
    let outcome = emulator.invoke("2").unwrap();
    let (error_type, message) = error_of(&outcome);
    assert_eq!(error_type, "Runtime.ExitError");
    assert!(message.ends_with("signal: killed"), "{message}");
    assert_eq!(emulator.invoke("3").unwrap().body, b"3");
}

#[test]
fn a_killed_runtime_is_neither_frozen_nor_restored() {
    let emulator = Emulator::start(echo()).unwrap();
    emulator.invoke("1").unwrap();
    emulator.crash(0).unwrap();
    let has_exited =
        |entries: &[Entry]| count(entries, |what: &What| matches!(what, What::Exited { .. })) == 1;
    emulator.wait_until("exit", has_exited).unwrap();
    for result in [
        emulator.crash(0),
        emulator.set_frozen(0, true),
        emulator.restore(0).map(drop),
    ] {
        let error = result.unwrap_err().to_string();
        assert_eq!(error, "environment 0: it has no process");
    }
    let is_restored = |what: &What| matches!(what, What::RestoreStart);
    assert_eq!(count(&emulator.transcript(), is_restored), 0);
}

#[test]
fn an_environment_is_frozen_and_thawed_on_demand() {
    let mut config = echo();
    config.freeze = false;
    let emulator = Emulator::start(config).unwrap();
    emulator.invoke("1").unwrap();
    let frozen = || emulator.environments()[0].frozen;
    assert!(!frozen());
    emulator.set_frozen(0, true).unwrap();
    assert!(frozen());
    emulator.set_frozen(0, false).unwrap();
    assert!(!frozen());
    emulator.set_frozen(0, true).unwrap();
    assert_eq!(emulator.invoke("2").unwrap().body, b"2", "it thaws");
}

#[test]
fn an_environment_is_restored_on_demand() {
    let emulator = Emulator::start(echo()).unwrap();
    emulator.invoke("1").unwrap();
    emulator.restore(0).unwrap();
    let outcome = emulator.invoke("2").unwrap();
    assert_eq!(
        (outcome.body.as_slice(), outcome.environment),
        (&b"2"[..], 0)
    );
    let restores = |what: &What| matches!(what, What::RestoreDone { error: None, .. });
    assert_eq!(count(&emulator.transcript(), restores), 1);
}

#[test]
fn what_an_environment_is_not_fit_for_is_refused() {
    let emulator = Emulator::start(echo()).unwrap();
    for result in [
        emulator.retire(7),
        emulator.crash(7),
        emulator.set_frozen(7, true),
        emulator.restore(7).map(drop),
    ] {
        let Err(Error::Environment { environment, .. }) = result else {
            panic!("{result:?}");
        };
        assert_eq!(environment, 7);
    }
    let attached = Emulator::start(Config::new("")).unwrap();
    let refused = attached.retire(0).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "environment 0: its process was started by hand"
    );
}

#[test]
fn whoever_watches_sees_every_entry_and_every_line() {
    let emulator = Emulator::start(echo()).unwrap();
    let seen = emulator.watch();
    emulator.invoke(r#"{"do":"print","text":"hello"}"#).unwrap();
    let (transcript, log) = (emulator.transcript(), emulator.log());
    let (mut entries, mut lines) = (Vec::new(), Vec::new());
    while let Ok(seen) = seen.recv_timeout(Duration::from_millis(100)) {
        match seen {
            Seen::Entry(entry) => entries.push(entry.at),
            Seen::Line(line) => lines.push(line),
        }
    }
    assert!(transcript.iter().all(|entry| entries.contains(&entry.at)));
    assert_eq!(lines, log);
    assert!(
        lines
            .iter()
            .any(|line| line.text == "hello" && line.environment == 0)
    );
}

#[test]
fn memory_is_enforced_with_the_children_of_the_runtime() {
    let mut config = echo();
    config.enforce_memory = true;
    let emulator = Emulator::start(config).unwrap();
    assert_eq!(emulator.invoke("1").unwrap().body, b"1");
    let outcome = emulator.invoke(r#"{"do":"allocate","mb":200}"#).unwrap();
    let (error_type, message) = error_of(&outcome);
    assert_eq!(error_type, "Runtime.ExitError");
    assert!(message.ends_with("signal: killed"), "{message}");
    assert!(
        outcome.log_tail.contains("Max Memory Used: 128 MB"),
        "{}",
        outcome.log_tail
    );
    let exceeded = |what: &What| matches!(what, What::MemoryExceeded { kb } if *kb > 128 * 1_024);
    assert!(count(&emulator.transcript(), exceeded) > 0);
}

#[test]
fn a_launcher_starts_the_runtime() {
    let mut config = echo();
    config.launcher = ["/usr/bin/env", "LAUNCHED={argv0}"]
        .map(String::from)
        .into();
    let emulator = Emulator::start(config).unwrap();
    let variables = json(&emulator.invoke(r#"{"do":"env"}"#).unwrap().body);
    assert_eq!(
        variables["LAUNCHED"], "{argv0}",
        "only a whole word is replaced"
    );
}

#[test]
fn credentials_are_the_callers_own() {
    for token in [None, Some("t".to_owned())] {
        let mut config = echo();
        config.credentials = Some(Credentials {
            access_key_id: "AKIA".into(),
            secret_access_key: "s".into(),
            session_token: token.clone(),
        });
        let emulator = Emulator::start(config).unwrap();
        let variables = json(&emulator.invoke(r#"{"do":"env"}"#).unwrap().body);
        assert_eq!(variables["AWS_ACCESS_KEY_ID"], "AKIA");
        assert_eq!(variables["AWS_SECRET_ACCESS_KEY"], "s");
        let got = variables.get("AWS_SESSION_TOKEN").and_then(|t| t.as_str());
        assert_eq!(got, token.as_deref());
    }
}

#[test]
fn the_first_runtime_api_has_the_port_that_was_asked_for() {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let mut config = echo();
    config.runtime_api = Some(address);
    config.other_names = vec!["other".into()];
    let emulator = Emulator::start(config).unwrap();
    emulator.prepare().unwrap();
    emulator.prepare().unwrap();
    let apis: Vec<SocketAddr> = emulator
        .environments()
        .iter()
        .map(|e| e.runtime_api)
        .collect();
    assert_eq!(apis[0], address);
    assert_ne!(apis[1], address);
    for (name, status) in [("other", 200), ("function", 200), ("third", 404)] {
        let path = format!("/2015-03-31/functions/{name}/invocations");
        let invoked = emulator.invoke_addr();
        let answer = testkit::http::exchange(invoked, "POST", &path, &[], b"1").unwrap();
        assert_eq!(answer.status, status, "{name}");
    }
    // Both are ended before the port is used again.
    let begin = Instant::now();
    drop(emulator.stop());
    assert!(begin.elapsed() < Duration::from_secs(60));
}

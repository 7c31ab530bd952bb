//! Memory, descriptors and processes stay the same over many invocations.

use std::os::unix::fs::symlink;
use std::path::Path;

use bantam_emulator::{Config, Fault, FaultKind, Step, What};

use crate::support::{count, example_path, function, start};

#[test]
fn ten_thousand_invocations_take_no_more_memory_than_a_hundred() {
    let mut config = function("raw");
    config.freeze = false;
    let env = start(config);
    let invoke = |times: u32| {
        for _ in 0..times {
            assert_eq!(env.invoke(r#"{"a":1}"#).unwrap().body, br#"{"a":1}"#);
        }
        env.clear();
        env.environments()[0].memory_kb().unwrap()
    };
    let early = invoke(100);
    let late = invoke(10_000);
    assert!(
        late <= early + 64,
        "{early} KiB after 100, {late} KiB after 10,100"
    );
    assert_eq!(env.environments().len(), 1);
}

#[test]
fn a_large_event_leaves_no_memory_behind() {
    let env = start(function("raw"));
    let invoke = |event: String| {
        assert_eq!(env.invoke(event.clone()).unwrap().body, event.into_bytes());
        env.environments()[0].memory_kb().unwrap()
    };
    invoke("1".to_owned());
    let before = invoke("1".to_owned());
    assert!(invoke(format!("\"{}\"", "x".repeat(6_000_000))) > before + 5_000);
    // The first small event shows that the large buffer is not needed, the second has given it up.
    invoke("1".to_owned());
    let after = invoke("1".to_owned());
    assert!(
        after < before + 512,
        "{before} KiB before, {after} KiB after"
    );
}

#[test]
fn a_raw_handler_allocates_nothing_in_the_steady_state() {
    let env = start(function("allocations"));
    let allocations = || -> u64 {
        let body = env.invoke(r#"{"a":1}"#).unwrap().body;
        std::str::from_utf8(&body).unwrap().parse().unwrap()
    };
    for _ in 0..3 {
        allocations();
    }
    let before = allocations();
    for _ in 0..100 {
        assert_eq!(allocations(), before);
    }
}

/// Needs strace: `.ci/run` installs it.
#[test]
#[ignore = "needs strace"]
fn an_invocation_is_four_system_calls() {
    let calls = |invocations: usize| -> usize {
        let folder = tempfile::tempdir().unwrap();
        let bootstrap = folder.path().join("bootstrap");
        symlink(example_path("raw"), &bootstrap).unwrap();
        let trace = folder.path().join("trace");
        let mut config = Config::new("/usr/bin/strace");
        config.args = ["-f", "-o", path(&trace), path(&bootstrap)]
            .map(str::to_owned)
            .to_vec();
        config.freeze = false;
        config.faults = vec![Fault {
            at: Step::Next(invocations),
            kind: FaultKind::Status(410, String::new()),
        }];
        let env = start(config);
        for _ in 0..invocations {
            assert_eq!(env.invoke("1").unwrap().body, b"1");
        }
        let exited = |what: &What| matches!(what, What::Exited { .. });
        env.wait_until("it exits", |entries| count(entries, exited) == 1)
            .unwrap();
        std::fs::read_to_string(&trace).unwrap().lines().count()
    };
    assert_eq!(calls(1_100) - calls(100), 4 * 1_000);
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

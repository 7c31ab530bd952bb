//! Each rule of the conformance run can be kept, and can be broken.

#![expect(
    clippy::expect_used,
    reason = "a thread that panicked has failed the test"
)]

use std::path::PathBuf;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use bantam_emulator::Config;
use bantam_emulator::conform::{Row, Rule, Subject, Verdict, rules, run};

fn example(name: &str) -> PathBuf {
    let target = PathBuf::from(env!("CARGO_BIN_EXE_bantam-emulator"));
    let path = target.with_file_name("examples").join(name);
    assert!(
        path.is_file(),
        "{} is missing: cargo build -p bantam-emulator --examples",
        path.display()
    );
    path
}

fn runtime(misbehave: &str) -> Subject {
    let mut config = Config::new(example("misbehaving"));
    config.env = vec![("MISBEHAVE".to_owned(), misbehave.to_owned())];
    Subject {
        config,
        extension: None,
        event: b"{}".to_vec(),
        // Who breaks a rule is often waited for in vain.
        patience: Duration::from_secs(if misbehave.is_empty() { 10 } else { 3 }),
        at_once: 4,
    }
}

fn extension(misbehave: &str) -> Subject {
    Subject {
        extension: Some(example("misbehaving_extension")),
        ..runtime(misbehave)
    }
}

fn shown(rows: &[Row], wrong: fn(&Row) -> bool) -> Vec<String> {
    let wrong = rows.iter().filter(|row| wrong(row));
    wrong
        .map(|row| {
            let transcript = row.transcript.join("\n");
            format!("{}: {}\n{transcript}", row.rule.id, row.seen)
        })
        .collect()
}

fn every_rule_is_kept(subject: &Subject) {
    let rows = run(subject, &rules(subject), |_| {});
    let broken = shown(&rows, |row| row.verdict != Verdict::Pass);
    assert!(broken.is_empty(), "{}", broken.join("\n\n"));
}

/// Breaks one rule after the other, and tries only that rule.
fn every_rule_can_be_broken(subject: fn(&str) -> Subject) {
    let rules = rules(&subject(""));
    let broken = |rule: &&'static Rule| {
        let rows = run(&subject(rule.id), &[*rule], |_| {});
        shown(&rows, |row| row.verdict != Verdict::Fail)
    };
    let held = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for share in rules.chunks(rules.len().div_ceil(AT_ONCE)) {
            scope.spawn(|| {
                let of_share: Vec<_> = share.iter().flat_map(broken).collect();
                held.lock().expect("no other panicked").extend(of_share);
            });
        }
    });
    let held = held.into_inner().expect("none panicked");
    assert!(held.is_empty(), "{}", held.join("\n\n"));
}

/// They wait more than they compute.
const AT_ONCE: usize = 8;

#[test]
fn a_runtime_that_keeps_every_rule_passes() {
    every_rule_is_kept(&runtime(""));
}

#[test]
fn a_runtime_that_breaks_a_rule_fails_it() {
    every_rule_can_be_broken(runtime);
}

#[test]
fn an_extension_that_keeps_every_rule_passes() {
    every_rule_is_kept(&extension(""));
}

#[test]
fn an_extension_that_breaks_a_rule_fails_it() {
    every_rule_can_be_broken(extension);
}

#[test]
fn a_rule_about_an_event_that_an_extension_does_not_take_does_not_apply() {
    for (events, others) in [
        ("\"INVOKE\"", "takes no SHUTDOWN"),
        ("\"SHUTDOWN\"", "takes no INVOKE"),
    ] {
        let mut subject = extension("");
        subject
            .config
            .env
            .push(("EVENTS".to_owned(), events.to_owned()));
        let about: Vec<_> = rules(&subject)
            .into_iter()
            .filter(|rule| {
                rule.id.starts_with("event.")
                    || rule.id.starts_with("shutdown.")
                    || ["connection.event-cut", "next.after-invoke"].contains(&rule.id)
            })
            .collect();
        let rows = run(&subject, &about, |_| {});
        let failed = shown(&rows, |row| row.verdict == Verdict::Fail);
        assert!(failed.is_empty(), "{}", failed.join("\n\n"));
        let apart = |row: &&Row| row.seen.contains(others);
        assert_eq!(
            rows.iter().filter(apart).count(),
            if events.contains("INV") { 4 } else { 7 }
        );
    }
}

#[test]
fn names_are_used_once() {
    for subject in [runtime(""), extension("")] {
        let mut names: Vec<_> = rules(&subject).iter().map(|rule| rule.id).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}

/// The page has the results of each rule, for each program.
#[test]
fn the_page_is_of_these_rules() {
    let page = include_str!("../../docs/conformance.md");
    let mut programs = 0;
    for line in page.lines() {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [name, results @ ..] = &cells[..] else {
            continue;
        };
        let results = results.iter().map(|cell| cell.parse::<usize>());
        let Ok(results) = results.collect::<Result<Vec<_>, _>>() else {
            continue;
        };
        if results.len() == 3 {
            let of_extensions = name.contains("extension");
            let subject = if of_extensions {
                extension("")
            } else {
                runtime("")
            };
            let rules = rules(&subject).len();
            let counted: usize = results.iter().sum();
            assert_eq!(
                counted, rules,
                "{name}: .ci/conform writes docs/conformance.md"
            );
            programs += 1;
        }
    }
    assert!(programs > 0, "docs/conformance.md has a table of programs");
}

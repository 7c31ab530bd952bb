//! The conformance run: a runtime or an extension, put through the rules of its contract.
//!
//! A [`Rule`] is a row of a table: its text, the source it comes from, and a probe that plays the
//! platform's side and looks at what the program does. [`run`] gives a [`Row`] for each.
//!
//! Some rules need a function that does what its event says: it answers `{"conform":"actions"}`
//! with the list of the actions it knows, a JSON array of names. Rules whose action is missing
//! there do not apply, and all others hold for any function.
//!
//! | action | what the function does |
//! |---|---|
//! | `echo` | responds with the event |
//! | `context` | responds with what its runtime gives it, see below |
//! | `fail` | fails, so that the runtime reports an error |
//! | `large` | responds with a string of `bytes` letters |
//! | `sleep` | responds with the event after `ms` milliseconds |
//! | `crash` | ends its process with status 1 |
//! | `stream` | streams each string of `chunks`; with `"fail":true` it fails after them |
//! | `init` | is no event: with `CONFORM_INIT=fail` in the environment the init fails |
//!
//! The context has `requestId`, `functionArn`, `remainingMs`, `clientContext`, `tenantId`, and
//! `trace`, the value of `_X_AMZN_TRACE_ID`.

mod extension;
mod lab;
mod raw;
mod report;
mod rule;
mod runtime;
mod source;
mod subject;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use self::lab::{Lab, Miss};
pub use self::report::{compare, json, junit, list, markdown, text};
pub use self::rule::{Level, Row, Rule, Verdict};
pub use self::subject::Subject;
use crate::lock::lock;

/// The rules for a subject: the ones of an extension, or the ones of a runtime.
#[must_use]
pub fn rules(subject: &Subject) -> Vec<&'static Rule> {
    if subject.extension.is_some() {
        extension::RULES.iter().collect()
    } else {
        runtime::rules()
    }
}

/// Tries each rule, as many at once as the subject allows, and tells `progress` about each row as
/// it comes. The rows are in the order of the rules.
pub fn run(subject: &Subject, rules: &[&'static Rule], progress: impl Fn(&Row) + Sync) -> Vec<Row> {
    let actions = lab::actions(subject);
    let next = AtomicUsize::new(0);
    let rows = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..subject.at_once.max(1) {
            scope.spawn(|| {
                while let Some((place, rule)) = take(rules, &next) {
                    let row = probe(subject, &actions, rule);
                    progress(&row);
                    lock(&rows).push((place, row));
                }
            });
        }
    });
    let mut rows = rows.into_inner().unwrap_or_default();
    rows.sort_by_key(|(place, _)| *place);
    rows.into_iter().map(|(_, row)| row).collect()
}

/// The next rule that nobody tries yet.
fn take(rules: &[&'static Rule], next: &AtomicUsize) -> Option<(usize, &'static Rule)> {
    let place = next.fetch_add(1, Ordering::Relaxed);
    rules.get(place).map(|rule| (place, *rule))
}

fn probe(subject: &Subject, actions: &[String], rule: &'static Rule) -> Row {
    let missing = rule
        .needs
        .filter(|needed| !actions.iter().any(|known| known == needed));
    if let Some(action) = missing {
        return Row {
            rule,
            verdict: Verdict::NotApplicable,
            seen: format!("the function does not know the action {action}"),
            transcript: Vec::new(),
        };
    }
    let lab = Lab::new(subject, actions);
    let (verdict, seen) = match (rule.probe)(&lab) {
        Ok(seen) => (Verdict::Pass, seen),
        Err(Miss::Broken(seen)) => (Verdict::Fail, seen),
        Err(Miss::NotApplicable(why)) => (Verdict::NotApplicable, why),
    };
    Row {
        rule,
        verdict,
        seen,
        transcript: lab.transcript(),
    }
}

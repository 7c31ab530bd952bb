//! The platform's side of a probe: environments to start, invocations to send, and what to look at.

use std::path::Path;
use std::sync::Mutex;
use std::thread;

use serde_json::{Map, Value, json};

use super::subject::Subject;
use crate::config::{Config, Initialization, Invoke};
use crate::error::EmulatorError;
use crate::fault::{Fault, FaultKind, Step};
use crate::handle::Emulator;
use crate::lock::lock;
use crate::record::outcome::{Outcome, Report};
use crate::record::transcript::{Entry, What, answers};

/// The result of a probe: what was seen, or why the rule is not kept.
pub(super) type Probed = Result<String, Miss>;

/// Why a rule does not pass.
#[derive(Debug)]
pub(super) enum Miss {
    /// The program breaks it.
    Broken(String),
    /// It cannot be tried.
    NotApplicable(String),
}

impl From<EmulatorError> for Miss {
    fn from(error: EmulatorError) -> Self {
        // The row has the transcript.
        Self::Broken(if let EmulatorError::Timeout { what, after, .. } = error {
            format!("no {what} within {} s", after.as_secs())
        } else {
            error.to_string()
        })
    }
}

impl Miss {
    /// The same, with the place it was seen at.
    pub(super) fn at(self, place: impl std::fmt::Display) -> Self {
        match self {
            Self::Broken(seen) => Self::Broken(format!("{place}: {seen}")),
            Self::NotApplicable(why) => Self::NotApplicable(why),
        }
    }
}

/// An entry with all that a request says, as far as it is short.
fn described(entry: &Entry) -> String {
    let mut text = entry.to_string();
    if let Some(asked) = Asked::of(&entry.what) {
        let body = asked.body.get(..BODY_BYTES_SHOWN).unwrap_or(&asked.body);
        for (name, value) in asked.headers.iter().chain(&asked.trailers) {
            text.extend(["\n    ", name, ": ", value]);
        }
        text.extend(["\n    ", &String::from_utf8_lossy(body)]);
    }
    text
}

/// Fails unless `kept`.
pub(super) fn ensure(kept: bool, seen: impl FnOnce() -> String) -> Result<(), Miss> {
    if kept {
        Ok(())
    } else {
        Err(Miss::Broken(seen()))
    }
}

/// The actions that the function under test knows.
pub(super) fn actions(subject: &Subject) -> Vec<String> {
    let lab = Lab::new(subject, &[]);
    let asked = lab
        .start()
        .and_then(|run| run.invoke(br#"{"conform":"actions"}"#.to_vec()));
    // A function that fails, or does not start, knows none.
    asked.map_or_else(
        |_miss| Vec::new(),
        |outcome| serde_json::from_slice(&outcome.body).unwrap_or_default(),
    )
}

/// One probe's place of work.
#[derive(Debug)]
pub(crate) struct Lab<'a> {
    subject: &'a Subject,
    actions: &'a [String],
    /// The run that was looked at last.
    entries: Mutex<Vec<Entry>>,
}

impl<'a> Lab<'a> {
    pub(super) fn new(subject: &'a Subject, actions: &'a [String]) -> Self {
        Self {
            subject,
            actions,
            entries: Mutex::default(),
        }
    }

    pub(super) fn transcript(&self) -> Vec<String> {
        lock(&self.entries).iter().map(described).collect()
    }

    /// The extension under test.
    pub(super) fn extension(&self) -> Result<&'a Path, Miss> {
        let extension = self.subject.extension.as_deref();
        extension.ok_or_else(|| Miss::NotApplicable("no extension is tested".to_owned()))
    }

    /// Its name, which is its file's.
    pub(super) fn extension_name(&self) -> Result<String, Miss> {
        let name = self.extension()?.file_name().unwrap_or_default();
        Ok(name.to_string_lossy().into_owned())
    }

    pub(super) fn start(&self) -> Result<Run<'_>, Miss> {
        self.start_with(|_| {})
    }

    pub(super) fn start_with_faults(
        &self,
        faults: impl IntoIterator<Item = (Step, FaultKind)>,
    ) -> Result<Run<'_>, Miss> {
        let faults = faults.into_iter().map(|(at, kind)| Fault::new(at, kind));
        self.start_with(|config| config.faults = faults.collect())
    }

    pub(super) fn start_with(&self, change: impl FnOnce(&mut Config)) -> Result<Run<'_>, Miss> {
        let mut config = self.subject.config.clone();
        config.extensions = self.subject.extension.iter().cloned().collect();
        config.timeout = self.subject.patience;
        config.init_timeout = self.subject.patience;
        config.wait_max = self.subject.patience;
        config.initialization = Initialization::OnDemand;
        change(&mut config);
        Ok(Run {
            lab: self,
            emulator: Some(Emulator::start(config)?),
        })
    }

    /// Tries this many places in as many environments at once as rules may be: a probe that waits
    /// at each of them waits at several together. A probe gets a lab of its own and its places, in
    /// order.
    pub(super) fn share(
        &self,
        count: usize,
        probe: impl Fn(&Lab<'_>, &[usize]) -> Result<(), Miss> + Sync,
    ) -> Result<(), Miss> {
        let shares = self.subject.at_once.max(1);
        let probe = &probe;
        thread::scope(|scope| {
            let mut begun = Vec::new();
            for first in 0..shares {
                begun.push(scope.spawn(move || {
                    let lab = Lab::new(self.subject, self.actions);
                    let places: Vec<_> = (first..count).step_by(shares).collect();
                    (probe(&lab, &places), lab.entries)
                }));
            }
            for share in begun {
                let panicked = |_panic| Miss::Broken("a probe panicked".to_owned());
                let (result, entries) = share.join().map_err(panicked)?;
                // In the end the ones of the first share that failed, or of the last.
                lock(&self.entries).clone_from(&lock(&entries));
                result?;
            }
            Ok(())
        })
    }

    fn knows(&self, action: &str) -> bool {
        self.actions.iter().any(|known| known == action)
    }
}

/// A function that runs. At its end the lab keeps its transcript.
#[derive(Debug)]
pub(super) struct Run<'a> {
    lab: &'a Lab<'a>,
    /// None only while it is stopped.
    emulator: Option<Emulator>,
}

impl Run<'_> {
    pub(super) fn emulator(&self) -> Result<&Emulator, Miss> {
        let stopped = || Miss::Broken("the run is over".to_owned());
        self.emulator.as_ref().ok_or_else(stopped)
    }

    /// Waits for the first `next`.
    pub(super) fn prepare(&self) -> Result<(), Miss> {
        self.emulator()?.prepare()?;
        Ok(())
    }

    pub(super) fn invoke(&self, event: Vec<u8>) -> Result<Outcome, Miss> {
        self.invoke_with(Invoke::new(event))
    }

    pub(super) fn invoke_with(&self, invoke: Invoke) -> Result<Outcome, Miss> {
        Ok(self.emulator()?.invoke_with(invoke)?)
    }

    /// Asks the function for an action.
    pub(super) fn ask(&self, action: &str, with: Value) -> Result<Outcome, Miss> {
        self.ask_with(action, with, Invoke::default())
    }

    /// Asks the function for an action, with all that an Invoke request can carry.
    pub(super) fn ask_with(
        &self,
        action: &str,
        with: Value,
        invoke: Invoke,
    ) -> Result<Outcome, Miss> {
        let mut event = Map::from_iter([("conform".to_owned(), json!(action))]);
        if let Value::Object(with) = with {
            event.extend(with);
        }
        self.invoke_with(Invoke {
            event: Value::Object(event).to_string().into_bytes(),
            ..invoke
        })
    }

    /// What `context` gives.
    pub(super) fn context(&self, invoke: Invoke) -> Result<Value, Miss> {
        let outcome = self.ask_with("context", Value::Null, invoke)?;
        serde_json::from_slice(&outcome.body)
            .map_err(|error| Miss::Broken(format!("the context is no JSON: {error}")))
    }

    /// Sends the function an event it takes, and sees to it that the runtime gives one answer to
    /// it, whether that is a response or an error.
    pub(super) fn answered(&self) -> Result<Outcome, Miss> {
        self.answered_as(Invoke::default())
    }

    /// As [`Run::answered`]; the event is the lab's.
    pub(super) fn answered_as(&self, invoke: Invoke) -> Result<Outcome, Miss> {
        let event = if self.lab.knows("echo") {
            br#"{"conform":"echo"}"#.to_vec()
        } else {
            self.lab.subject.event.clone()
        };
        let outcome = self.invoke_with(Invoke { event, ..invoke })?;
        let accepted = self.look(|entries| answers(entries, &outcome.request_id))?;
        ensure(accepted == 1, || {
            let error = outcome.function_error.as_ref();
            let error = error.map_or("no error", |error| &error.error_type);
            format!("{accepted} answers were accepted ({error})")
        })?;
        Ok(outcome)
    }

    /// Looks at the transcript so far.
    pub(super) fn look<T>(&self, at: impl FnOnce(&[Entry]) -> T) -> Result<T, Miss> {
        let (mut at, mut seen) = (Some(at), None);
        self.emulator()?.wait_until("look", |entries| {
            seen = at.take().map(|at| at(entries));
            true
        })?;
        seen.ok_or_else(|| Miss::Broken("nothing was recorded".to_owned()))
    }

    pub(super) fn wait_for(
        &self,
        what: &str,
        mut test: impl FnMut(&What) -> bool,
    ) -> Result<(), Miss> {
        let emulator = self.emulator()?;
        Ok(emulator.wait_until(what, |entries| entries.iter().any(|e| test(&e.what)))?)
    }

    /// What the first entry gives that gives something.
    pub(super) fn find<T>(&self, get: impl Fn(&What) -> Option<T>) -> Result<Option<T>, Miss> {
        self.look(|entries| entries.iter().find_map(|entry| get(&entry.what)))
    }

    /// How many entries are so.
    pub(super) fn count(&self, test: impl Fn(&What) -> bool) -> Result<usize, Miss> {
        self.look(|entries| entries.iter().filter(|entry| test(&entry.what)).count())
    }

    /// The requests whose path ends so.
    pub(super) fn requests(&self, path_end: &str) -> Result<Vec<Asked>, Miss> {
        self.look(|entries| {
            entries
                .iter()
                .filter_map(|entry| Asked::of(&entry.what))
                .filter(|asked| asked.path.ends_with(path_end))
                .collect()
        })
    }

    /// The process goes on: it answers a further event, and it is the one that was started first.
    pub(super) fn goes_on(&self) -> Result<(), Miss> {
        self.answered().map_err(|miss| miss.at("the next event"))?;
        let spawned = self.count(|what| matches!(what, What::Spawned { .. }))?;
        ensure(spawned == 1, || {
            "the process ended, and another one answers the next event".to_owned()
        })
    }

    /// The environment goes on, with this process or with another one.
    pub(super) fn serves_on(&self) -> Result<(), Miss> {
        self.answered().map_err(|miss| miss.at("the next event"))?;
        Ok(())
    }

    /// The process ends by itself.
    pub(super) fn exits(&self) -> Result<(), Miss> {
        self.wait_for(
            "end of the process by itself",
            |what| matches!(what, What::Exited { signal, .. } if *signal != Some(SIGKILL)),
        )
    }

    /// Few requests were made: nobody spins.
    pub(super) fn is_calm(&self) -> Result<(), Miss> {
        let requests = self.count(|what| matches!(what, What::Request { .. }))?;
        ensure(requests <= CALM_REQUESTS_MAX, || {
            format!("{requests} requests, as fast as they are answered")
        })
    }

    /// Ends the environment as Lambda does and gives the record of the run.
    pub(super) fn stop(mut self) -> Report {
        let emulator = self.emulator.take();
        let report = emulator.map(Emulator::stop).unwrap_or_default();
        lock(&self.lab.entries).clone_from(&report.transcript);
        report
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        if let Some(emulator) = &self.emulator {
            *lock(&self.lab.entries) = emulator.transcript();
        }
    }
}

/// A request that the program made.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) connection: usize,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Vec<(String, String)>,
}

impl Asked {
    fn of(what: &What) -> Option<Self> {
        if let What::Request {
            connection,
            method,
            path,
            headers,
            body,
            trailers,
            ..
        } = what
        {
            Some(Self {
                connection: *connection,
                method: method.clone(),
                path: path.clone(),
                headers: headers.clone(),
                body: body.clone(),
                trailers: trailers.clone(),
            })
        } else {
            None
        }
    }

    /// A header's value; the name is in lower case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(other, _)| other == name)
            .map(|(_, value)| value.as_str())
    }
}

/// The part of a body that a transcript shows.
const BODY_BYTES_SHOWN: usize = 500;
/// By which the platform ends a process, signal(7).
pub(super) const SIGKILL: i32 = 9;
/// More requests than this in one probe, which sends a few events, are a loop without a pause.
const CALM_REQUESTS_MAX: usize = 100;

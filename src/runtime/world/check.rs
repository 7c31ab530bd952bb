//! What holds in every life.

use std::fmt;

use super::life::{Act, Fault, Goes, Init, Invocation, Kind, Life, StreamEnd};
use super::peers::LAST_WORDS;
use super::platform::{Outcome, PATIENCE_MS, id, response_body};
use super::{Line, Lived, TOO_MUCH};

/// A rule, and how it was broken.
#[derive(Clone, Debug)]
pub(super) struct Broken(pub(super) Rule, String);

impl std::error::Error for Broken {}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(rule, how) = self;
        write!(f, "{rule:?}: {how}")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Nothing waits for ever, panics or starts again and again.
    Ends,
    /// Each invocation has the outcome that the handler and the faults explain.
    Outcome,
    /// Events, calls of the handler and answers add up.
    Counts,
    /// Answers go to the invocation that runs, and nothing is started without need.
    Quiet,
    /// Lines are complete, in order, and of the right invocation.
    Log,
    /// Each error that is reported is in the log.
    ErrorsLogged,
}

impl Rule {
    fn broken(self, how: impl Into<String>) -> Result<(), Broken> {
        Err(Broken(self, how.into()))
    }
}

impl Lived {
    /// Checks every rule.
    ///
    /// # Errors
    ///
    /// The rule that is broken.
    pub(super) fn check(&self, life: &Life) -> Result<(), Broken> {
        if let Some(violation) = &self.violation {
            return Rule::Ends.broken(violation.clone());
        }
        for index in 0..life.invocations.len() {
            self.has_its_outcome(life, index)?;
            self.adds_up(life, index)?;
        }
        self.nothing_is_done_twice(life)?;
        self.log_is_in_order(life)?;
        self.errors_are_logged(life)
    }

    /// Each invocation has one outcome, and the right one. That it has no second one is asserted
    /// where it gets one.
    fn has_its_outcome(&self, life: &Life, index: usize) -> Result<(), Broken> {
        let call = &self.platform.calls[index];
        let Some(outcome) = &call.outcome else {
            return Rule::Outcome.broken(format!("{} has none", id(index)));
        };
        let is_right = match outcome {
            Outcome::Response(body) => {
                let act = life.invocations[index].act;
                let is_well = match act.goes() {
                    Goes::Well => act != Act::RespondsTooMuch || is_unlimited(life),
                    Goes::Exits(0) => life.kind == Kind::OneShot,
                    _ => false,
                };
                // Next to its deadline either may be first.
                let is_timely = act.takes_ms() <= self.latest_ms(life, index);
                let expected = match act {
                    Act::RespondsTooMuch => String::from_utf8(TOO_MUCH.clone()).unwrap(),
                    _ => response_body(life, index),
                };
                is_well && is_timely && *body == expected
            }
            Outcome::Error(error_type, message) => self.may_fail(life, index, error_type, message),
            Outcome::TimedOut => self.may_time_out(life, index),
            Outcome::Exited => may_exit(life, index),
            Outcome::Lost => has(life, |fault| !matches!(fault, Fault::Slow(_))),
            Outcome::Cut => self.may_be_cut(life, index),
        };
        if is_right {
            return Ok(());
        }
        let act = life.invocations[index].act;
        Rule::Outcome.broken(format!(
            "{} has {outcome:?}, its handler {act:?}",
            id(index)
        ))
    }

    /// How long a handler may run.
    fn latest_ms(&self, life: &Life, index: usize) -> u64 {
        let limit = self.platform.timeout_ms(index);
        match life.workers {
            0 => limit,
            // The supervisor looks ten times a second, at a clock that may be wrong.
            _ if has(life, |fault| matches!(fault, Fault::Clock(_))) => limit + PATIENCE_MS,
            _ => limit + 100,
        }
    }

    fn may_fail(&self, life: &Life, index: usize, error_type: &str, message: &str) -> bool {
        let act = life.invocations[index].act;
        let has_workers = life.workers != 0;
        let is_slow = self.is_slow(life, index);
        match error_type {
            "Function.Chosen" => {
                let chooses = matches!(life.kind, Kind::Function | Kind::Persistent);
                chooses && act.goes() == Goes::Fails && message == id(index)
            }
            "Function.ResponseSizeTooLarge" => act == Act::RespondsTooMuch && !is_unlimited(life),
            "Function.StreamDropped" => life.kind == Kind::Function && drops(act),
            // The write of a function that fails, whose error the API gets as it can.
            "Function.Timeout" if has_stream(life, act) && (is_slow || is_held_up(life)) => true,
            "Function.Panic" => {
                let panics = matches!(act.goes(), Goes::Exits(101) | Goes::Breaks);
                message == "panicked at src/lib.rs:1:1: a panic"
                    && (panics
                        || life.always_panics
                        || has(life, |fault| {
                            matches!(fault, Fault::PanicBefore | Fault::PanicAfter)
                        }))
            }
            "Runtime.EventTooLarge" => has(life, |fault| matches!(fault, Fault::TooLarge)),
            "Function.Timeout" => {
                (has_workers || life.kind != Kind::Function) && (is_slow || is_held_up(life))
            }
            "Runtime.ExitError" => has_workers && may_exit(life, index),
            of_executable => {
                life.kind != Kind::Function && self.explains(life, index, of_executable)
            }
        }
    }

    /// Whether an executable, or one that did not start, explains an error.
    fn explains(&self, life: &Life, index: usize, error_type: &str) -> bool {
        let act = life.invocations[index].act;
        let is_stream = matches!(act, Act::Streams { .. });
        let expected = match (act.goes(), life.kind) {
            (Goes::IsKilled, _) => "Function.Killed",
            (Goes::Exits(_), _) | (Goes::Fails | Goes::Breaks, Kind::OneShot) => {
                "Function.ExitStatus"
            }
            (Goes::Fails, Kind::Server) if is_stream => "Function.ConnectionLost",
            (Goes::Fails, Kind::Server) => "Function.HttpStatus",
            (Goes::Breaks, _) => "Function.ProtocolError",
            (Goes::Fails | Goes::Well, _) => "",
        };
        let is_ended = matches!(error_type, "Function.Killed" | "Function.ExitStatus");
        // Workers share a server, which another of them may have ended.
        let ends = |of: &Invocation| matches!(of.act.goes(), Goes::Exits(_) | Goes::IsKilled);
        let is_shared = life.kind == Kind::Server && life.workers != 0;
        if is_shared && life.invocations.iter().any(ends) {
            let is_lost = matches!(
                error_type,
                "Function.ConnectionLost" | "Function.ServerNotReady"
            );
            return error_type == expected || is_ended || is_lost;
        }
        let is_late = error_type == "Function.ServerNotReady" && self.is_slow(life, index);
        error_type == expected || is_ended && !life.failed_inits.is_empty() || is_late
    }

    /// Whether the handler takes about as long as it may, or longer.
    fn is_slow(&self, life: &Life, index: usize) -> bool {
        let takes_ms = life.invocations[index].act.takes_ms();
        let handled = self.platform.calls[index].handled.max(1) as u64;
        // An executable may have to be started; its end has a margin before the deadline, and what
        // has closed its output has some time to end.
        let others_ms = match life.kind {
            Kind::Function if !has_stream(life, life.invocations[index].act) => 0,
            _ => life.start_ms + 350,
        };
        self.platform.timeout_ms(index) <= handled * takes_ms + others_ms + pauses_ms(life)
            && takes_ms + others_ms != 0
    }

    /// Whether a streamed response may end in a closed connection, not in trailers.
    fn may_be_cut(&self, life: &Life, index: usize) -> bool {
        let act = life.invocations[index].act;
        let breaks = |fault| {
            matches!(
                fault,
                Fault::RequestCut(_)
                    | Fault::Kill
                    | Fault::Slow(_)
                    | Fault::Clock(_)
                    | Fault::PanicBefore
                    | Fault::PanicAfter
            )
        };
        has_stream(life, act)
            && (has(life, breaks) || life.workers != 0 && self.is_slow(life, index))
    }

    fn may_time_out(&self, life: &Life, index: usize) -> bool {
        let has_workers = life.workers != 0;
        let limit = self.platform.timeout_ms(index);
        // It may be called again, when its answer was refused.
        let handled = self.platform.calls[index].handled as u64;
        let takes_ms = life.invocations[index].act.takes_ms();
        let is_slow = takes_ms != 0 && limit <= handled * takes_ms + pauses_ms(life);
        // On Managed Instances an event is not sent again after its answer was lost.
        let is_lost = has(life, |fault| {
            !matches!(fault, Fault::PanicBefore | Fault::PanicAfter)
        });
        // An executable is ended before its deadline, and answers then unless the API fails it.
        let is_ended = life.kind != Kind::Function && life.faults.is_empty();
        let may_be_slow = !is_ended && !has_workers;
        (is_slow && may_be_slow) || is_held_up(life) || has_workers && is_lost
    }

    /// The handler is called once for each time that the event arrives, and answers at most twice.
    fn adds_up(&self, life: &Life, index: usize) -> Result<(), Broken> {
        let call = &self.platform.calls[index];
        let panics = |fault| matches!(fault, Fault::PanicBefore | Fault::PanicAfter);
        let is_quiet = life.kind == Kind::Function
            && !life.always_panics
            && !has(life, |fault| panics(fault) || is_hard(fault));
        if call.arrived < call.handled || is_quiet && call.arrived != call.handled {
            let (arrived, handled) = (call.arrived, call.handled);
            let of = id(index);
            return Rule::Counts.broken(format!("{of} came {arrived} times, handled {handled}"));
        }
        // An answer that may have been lost is sent once more, and the supervisor may answer, too.
        // The process in the place of one that was killed after its answer repeats it.
        let repeats = { life.faults.iter() }.filter(|(_, fault)| *fault == Fault::KillAfter);
        let most = 2 * call.arrived + 2 * usize::from(life.workers != 0) + repeats.count();
        if most < call.posts.max(call.attempts) {
            let (posts, attempts) = (call.posts, call.attempts);
            let how = format!("{}: {posts} answers of {attempts}, not {most}", id(index));
            return Rule::Counts.broken(how);
        }
        if !life.always_panics && life.faults.is_empty() && life.failed_inits.is_empty() {
            let answered = !matches!(call.outcome, Some(Outcome::TimedOut | Outcome::Exited));
            let counts = (call.sent, call.handled, call.posts);
            let posts = 1..=1 + usize::from(life.is_cut_off());
            let is_handled = counts.1 == 1 || counts.1 == 0 && life.kind != Kind::Function;
            if counts.0 != 1 || !is_handled || (answered && !posts.contains(&counts.2)) {
                return Rule::Counts.broken(format!("{}: {counts:?}", id(index)));
            }
        }
        Ok(())
    }

    /// Without faults no answer goes astray, and no process is started that need not be.
    fn nothing_is_done_twice(&self, life: &Life) -> Result<(), Broken> {
        if !life.faults.is_empty() || life.always_panics {
            return Ok(());
        }
        if life.is_restored && self.platform.restores == 0 && life.failed_inits.is_empty() {
            return Rule::Quiet.broken("the restore is not waited for");
        }
        if self.platform.strays != 0 && !life.is_cut_off() {
            return Rule::Quiet
                .broken(format!("{} answers to no invocation", self.platform.strays));
        }
        let fails = life.failed_inits.len();
        let met = &life.failed_inits[..fails - self.platform.life.failed_inits.len()];
        let reported = met.iter().filter(|init| **init != Init::Exits).count();
        let is_alone = life.kind == Kind::Function && life.workers == 0;
        if is_alone && self.platform.init_errors != reported {
            return Rule::Quiet.broken("an init error is not reported".to_owned());
        }
        let exits = |outcome: &Outcome| match outcome {
            // Its handler ends the process.
            Outcome::Error(error_type, _) => error_type == "Function.StreamDropped",
            outcome => matches!(outcome, Outcome::Exited | Outcome::TimedOut),
        };
        let calls = self.platform.calls.iter();
        let exits = calls.filter(|call| call.outcome.as_ref().is_some_and(exits));
        let most = 1 + exits.count() + fails;
        if most < self.starts {
            return Rule::Quiet.broken(format!("{} environments, expected {most}", self.starts));
        }
        Ok(())
    }

    /// A line has the id of the invocation that its process serves, or none, and lines are written
    /// in the order of their times.
    fn log_is_in_order(&self, life: &Life) -> Result<(), Broken> {
        let mut last = None;
        let has_clock = has(life, |fault| matches!(fault, Fault::Clock(_)));
        let is_put_back = life.invocations.iter().any(|of| of.idle_ms.0 < 0);
        for line in self.log.iter().filter(|line| line.text != LAST_WORDS) {
            let parts: Vec<&str> = line.text.split('\t').collect();
            let [time, request_id, level, _message] = parts[..] else {
                return Rule::Log.broken(format!("a line of another form: {:?}", line.text));
            };
            if !line.text.ends_with('\n') || line.text.matches('\n').count() != 1 {
                return Rule::Log.broken(format!("more than a line: {:?}", line.text));
            }
            let levels = ["FATAL", "ERROR", "WARN", "INFO", "DEBUG"];
            if !levels.contains(&level) {
                return Rule::Log.broken(format!("an unknown level: {level}"));
            }
            let holds = line.invocation.map(|(index, _)| id(index));
            let is_own = line.is_of_no_loop || Some(request_id) == holds.as_deref();
            if request_id != "-" && !is_own {
                return Rule::Log.broken(format!("the id of another invocation: {:?}", line.text));
            }
            if !has_clock && !is_put_back && last.is_some_and(|last| time < last) {
                return Rule::Log
                    .broken(format!("a line before the one before it: {:?}", line.text));
            }
            last = Some(time);
        }
        Ok(())
    }

    /// The error of an invocation is in the log, once for each time that the handler failed: before
    /// it is sent, and in a panic after that. An invocation that succeeds has none of a process
    /// that ended.
    fn errors_are_logged(&self, life: &Life) -> Result<(), Broken> {
        for (index, call) in self.platform.calls.iter().enumerate() {
            let of = id(index);
            let is_denied = |line: &&Line| line.text.contains("Runtime.ExitError");
            let denied = self.log.iter().filter(is_denied);
            // Another fault may keep the refusal from the process that reports.
            let is_told = life
                .faults
                .iter()
                .all(|(_, fault)| *fault == Fault::KillAfter);
            if is_told && !life.is_cut_off() && matches!(call.outcome, Some(Outcome::Response(_))) {
                if let Some(line) = { denied }.find(|line| line.text.contains(&of)) {
                    return Rule::ErrorsLogged.broken(format!("{of} succeeded: {:?}", line.text));
                }
            }
            let Some(Outcome::Error(error_type, _)) = &call.outcome else {
                continue;
            };
            let is_supervisors = matches!(&**error_type, "Function.Timeout" | "Runtime.ExitError");
            let text = error_type.strip_prefix("Function.Chosen");
            let text = text.map_or(&**error_type, |_| "Chosen");
            let tells = |line: &&Line| {
                line.text.contains("\tERROR\t")
                    && line.text.contains(text)
                    && line.text.contains(&of)
            };
            let lines: Vec<&Line> = self.log.iter().filter(tells).collect();
            // A process that is killed on its way is silent.
            let is_hard = has(life, is_hard) || life.is_cut_off();
            if lines.is_empty() && !is_hard {
                return Rule::ErrorsLogged
                    .broken(format!("{of}: its error {error_type} is not in the log"));
            }
            if lines.is_empty() {
                continue;
            }
            // A report that is broken off by the end of the environment is made once more.
            let is_once = life.faults.is_empty() && !life.always_panics && !life.is_cut_off();
            if is_once && lines.len() != 1 {
                return Rule::ErrorsLogged
                    .broken(format!("{of}: {} lines tell its error", lines.len()));
            }
            if !life.faults.is_empty() || life.always_panics || is_supervisors {
                continue;
            }
            let is_panic = error_type == "Function.Panic";
            let posts = lines[0].invocation.map_or(0, |(_, posts)| posts);
            if posts != usize::from(is_panic) {
                return Rule::ErrorsLogged
                    .broken(format!("{of}: {posts} answers before {:?}", lines[0].text));
            }
        }
        Ok(())
    }
}

/// Whether a response of more than 6 MB is one like any.
fn is_unlimited(life: &Life) -> bool {
    life.is_streamed && matches!(life.kind, Kind::OneShot | Kind::Server)
}

/// Whether the response may be streamed.
fn has_stream(life: &Life, act: Act) -> bool {
    life.is_streamed && life.kind != Kind::Function || matches!(act, Act::Streams { .. })
}

fn drops(act: Act) -> bool {
    matches!(
        act,
        Act::Streams {
            end: StreamEnd::Drops,
            ..
        }
    )
}

fn has(life: &Life, is: impl Fn(Fault) -> bool) -> bool {
    life.faults.iter().any(|(_, fault)| is(*fault))
}

/// A fault that may end a process, so that it says no more.
const fn is_hard(fault: Fault) -> bool {
    matches!(
        fault,
        Fault::Kill
            | Fault::KillAfter
            | Fault::TooLarge
            | Fault::Status(500..)
            | Fault::Clock(_)
            | Fault::Slow(_)
    )
}

/// How long the pauses after the faults are at most: each is twice as long as the one before.
fn pauses_ms(life: &Life) -> u64 {
    match life.faults.len() {
        0 => 0,
        faults => 25 << faults.min(6),
    }
}

/// Whether faults take so much time that an invocation may reach its deadline.
fn is_held_up(life: &Life) -> bool {
    has(life, |fault| {
        matches!(
            fault,
            Fault::Slow(900..) | Fault::Clock(_) | Fault::Gone(_) | Fault::Refused
        )
    })
}

/// Whether the process may end while it serves an invocation.
fn may_exit(life: &Life, index: usize) -> bool {
    let act = life.invocations[index].act;
    let ends = matches!(act, Act::Exits(_) | Act::IsKilled) || drops(act);
    ends && life.kind == Kind::Function
        || has(life, |fault| {
            matches!(
                fault,
                Fault::Kill
                    | Fault::KillAfter
                    | Fault::Status(500.. | 410) | Fault::Gone(_) | Fault::Refused
            )
        })
}

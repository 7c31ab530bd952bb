//! What the live view shows: the state of the environments, of which each event tells a part. No
//! terminal and no clock.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bantam_emulator::{Entry, LogLine, Seen, What};

/// Everything that the view shows.
#[derive(Debug)]
pub(crate) struct Model {
    /// The function's name and where it is served.
    pub(crate) title: String,
    /// The time since the emulator started.
    pub(crate) now: Duration,
    /// The environments that exist, by their numbers.
    pub(crate) environments: BTreeMap<u64, Env>,
    /// The one that keys are about.
    pub(crate) selected: Option<u64>,
    /// How many starts there were of each kind, for each cause.
    pub(crate) starts: BTreeMap<(Kind, String), Starts>,
    pub(crate) invocations: u64,
    pub(crate) failures: u64,
    /// The last lines of the log.
    pub(crate) log: VecDeque<Line>,
    /// A start that was asked for by a key has that as its cause.
    asked: usize,
    /// New files were not started yet.
    reloaded: bool,
    /// Whether an environment was ever started.
    any: bool,
}

/// One environment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Env {
    pub(crate) pid: Option<u32>,
    step: Step,
    frozen: bool,
    /// The runtime has ended, which the platform finds out at the next invocation.
    exited: bool,
    retired: bool,
    /// The invocations that run, by request id, with their starts.
    running: BTreeMap<String, Duration>,
    /// When the phase began.
    pub(crate) since: Duration,
    pub(crate) invocations: u64,
    pub(crate) failures: u64,
    /// How long the last invocation took.
    pub(crate) last: Option<Duration>,
    /// The last start.
    pub(crate) start: Option<Start>,
    /// Why the processes were ended last.
    reset: Option<String>,
}

/// A start of an environment.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    pub(crate) kind: Kind,
    pub(crate) cause: String,
    /// How long it took, if it has ended.
    pub(crate) took: Option<Duration>,
}

/// The part of the lifecycle that is no invocation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Step {
    /// There is no process.
    #[default]
    Down,
    Init,
    Ready,
    Restoring,
}

/// What an environment does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// No process.
    Down,
    Init,
    /// It waits for an invocation.
    Idle,
    Busy,
    Frozen,
    Restoring,
    /// Its runtime has ended; the next invocation finds out.
    Exited,
    /// It gets no further invocation.
    Draining,
}

/// The kind of a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Init,
    Restore,
}

/// Starts of one kind and cause.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Starts {
    pub(crate) count: u64,
    /// How long the last one took.
    pub(crate) last: Option<Duration>,
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// The environment; `None` for a line of this command.
    pub(crate) environment: Option<u64>,
    pub(crate) writer: Writer,
    /// Without characters that move the cursor; several lines where the message has them.
    pub(crate) text: String,
}

/// Who wrote a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writer {
    Platform,
    Function,
    Extension,
    Command,
}

impl Model {
    pub(crate) fn new(title: String) -> Self {
        Self {
            title,
            now: Duration::ZERO,
            environments: BTreeMap::new(),
            selected: None,
            starts: BTreeMap::new(),
            invocations: 0,
            failures: 0,
            log: VecDeque::new(),
            asked: 0,
            reloaded: false,
            any: false,
        }
    }

    /// Takes in what has happened.
    pub(crate) fn see(&mut self, seen: &Seen) {
        match seen {
            Seen::Entry(entry) => self.enter(entry),
            Seen::Line(line) => self.line(line),
        }
        if self
            .selected
            .is_none_or(|id| !self.environments.contains_key(&id))
        {
            self.selected = self.environments.keys().next().copied();
        }
    }

    /// A line of this command.
    pub(crate) fn note(&mut self, text: &str) {
        self.push(None, Writer::Command, text);
    }

    /// The next environment is started because a key asks for it.
    pub(crate) fn ask_for_start(&mut self) {
        self.asked += 1;
    }

    /// The next environments start new files.
    pub(crate) fn reload(&mut self) {
        self.reloaded = true;
    }

    /// Moves the selection to the next environment, or to the one before.
    pub(crate) fn select(&mut self, forward: bool) {
        let Some(selected) = self.selected else {
            return;
        };
        let mut ids = self.environments.keys().copied();
        let moved = if forward {
            ids.find(|id| selected < *id)
        } else {
            ids.rfind(|id| *id < selected)
        };
        self.selected = moved.or(self.selected);
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "most changes concern one environment"
    )]
    fn enter(&mut self, entry: &Entry) {
        let (id, at) = (entry.environment, entry.at);
        self.now = self.now.max(at);
        match &entry.what {
            What::InitStart => self.init(id, at),
            What::RestoreStart => self.start(id, at, Kind::Restore, "of a snapshot".to_owned()),
            What::InitDone { duration, error } => {
                self.started(id, at, *duration, error.as_deref());
            }
            What::RestoreDone { duration, error } => {
                self.started(id, at, *duration, error.as_deref());
            }
            What::InvokeDone { request_id, error } => {
                self.invocations += 1;
                let failed = u64::from(error.is_some());
                self.failures += failed;
                if let Some(env) = self.environments.get_mut(&id) {
                    let began = env.running.remove(request_id);
                    env.last = began.map(|began| at.saturating_sub(began));
                    env.invocations += 1;
                    env.failures += failed;
                    env.since = at;
                }
            }
            What::Shutdown => {
                self.environments.remove(&id);
            }
            other => {
                if let Some(env) = self.environments.get_mut(&id) {
                    env.change(at, other);
                }
            }
        }
    }

    /// The first init of an environment, or the repeated one after its processes have ended.
    fn init(&mut self, id: u64, at: Duration) {
        let known = self.environments.get_mut(&id);
        let cause = match known.and_then(|env| env.reset.take()) {
            Some(reason) => format!("after {reason}"),
            None => self.cause(),
        };
        self.any = true;
        self.start(id, at, Kind::Init, cause);
    }

    /// Why a new environment is started.
    fn cause(&mut self) -> String {
        let others = self.environments.values().filter(|env| !env.retired);
        let is_free = |env: &&Env| matches!(env.phase(), Phase::Idle | Phase::Frozen);
        let free = others.clone().filter(is_free).count();
        let others = others.count();
        if 0 < self.asked {
            self.asked -= 1;
            return "asked for".to_owned();
        }
        if std::mem::take(&mut self.reloaded) {
            return "new files".to_owned();
        }
        let cause = match (self.any, others) {
            (false, _) => "first",
            (true, 0) => "no environment left",
            (true, _) if free == 0 => OTHERS_BUSY,
            (true, _) => "ahead of demand",
        };
        cause.to_owned()
    }

    fn start(&mut self, id: u64, at: Duration, kind: Kind, cause: String) {
        let env = self.environments.entry(id).or_default();
        env.step = match kind {
            Kind::Init => Step::Init,
            Kind::Restore => Step::Restoring,
        };
        env.since = at;
        env.start = Some(Start {
            kind,
            cause: cause.clone(),
            took: None,
        });
        self.starts.entry((kind, cause)).or_default().count += 1;
    }

    fn started(&mut self, id: u64, at: Duration, took: Duration, error: Option<&str>) {
        let Some(env) = self.environments.get_mut(&id) else {
            return;
        };
        env.step = Step::Ready;
        env.since = at;
        if let Some(error) = error {
            env.reset = Some(error.to_owned());
        }
        if let Some(start) = &mut env.start {
            start.took = Some(took);
            let starts = self.starts.entry((start.kind, start.cause.clone()));
            starts.or_default().last = Some(took);
        }
    }

    fn line(&mut self, line: &LogLine) {
        let writer = match (&line.extension, line.platform) {
            (Some(_), _) => Writer::Extension,
            (None, true) => Writer::Platform,
            (None, false) => Writer::Function,
        };
        self.push(Some(line.environment), writer, &line.shown());
    }

    fn push(&mut self, environment: Option<u64>, writer: Writer, text: &str) {
        if self.log.len() == LINES_MAX {
            self.log.pop_front();
        }
        self.log.push_back(Line {
            environment,
            writer,
            text: plain(cropped(text)),
        });
    }
}

impl Env {
    pub(crate) fn phase(&self) -> Phase {
        match self.step {
            Step::Restoring => Phase::Restoring,
            Step::Init => Phase::Init,
            Step::Ready if self.exited => Phase::Exited,
            Step::Down if self.running.is_empty() => Phase::Down,
            Step::Down | Step::Ready if self.retired => Phase::Draining,
            // Stopped in the middle of an invocation, too.
            Step::Down | Step::Ready if self.frozen => Phase::Frozen,
            Step::Down | Step::Ready if self.running.is_empty() => Phase::Idle,
            Step::Down | Step::Ready => Phase::Busy,
        }
    }

    pub(crate) fn is_frozen(&self) -> bool {
        self.frozen
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "most entries change nothing here"
    )]
    fn change(&mut self, at: Duration, what: &What) {
        let before = self.phase();
        match what {
            What::Spawned { pid } => {
                self.pid = Some(*pid);
                self.exited = false;
            }
            What::Exited { .. } => {
                self.pid = None;
                self.exited = true;
            }
            What::Frozen => self.frozen = true,
            What::Thawed => self.frozen = false,
            What::Retired => self.retired = true,
            What::InvokeStart { request_id } => {
                self.running.insert(request_id.clone(), at);
            }
            What::Reset { reason } => {
                self.step = Step::Down;
                self.frozen = false;
                self.exited = false;
                self.pid = None;
                self.reset = Some(reason.clone());
            }
            _ => return,
        }
        if self.phase() != before {
            self.since = at;
        }
    }
}

impl Phase {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Init => "init",
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Frozen => "frozen",
            Self::Restoring => "restoring",
            Self::Exited => "exited",
            Self::Draining => "draining",
        }
    }
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Restore => "restore",
        }
    }
}

/// As much of a text as is kept.
fn cropped(text: &str) -> &str {
    text.get(..text.floor_char_boundary(LINE_BYTES_MAX))
        .unwrap_or(text)
}

/// The text without what would move the cursor or change colours (ECMA-48): tabs become blanks, and
/// of an escape sequence nothing is left.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\u{1b}' => {
                // CSI ends with a letter; any other sequence is one character long.
                if letters.next() == Some('[') {
                    letters.by_ref().find(char::is_ascii_alphabetic);
                }
            }
            '\t' => plain.push_str("  "),
            '\n' => plain.push('\n'),
            letter if letter.is_control() => {}
            letter => plain.push(letter),
        }
    }
    plain
}

/// The cause of a start for an invocation that found no environment free.
pub(crate) const OTHERS_BUSY: &str = "others busy";
/// More than a terminal shows, and little memory.
const LINES_MAX: usize = 1_000;
/// More than the widest terminal shows of one line; a process may write lines of 1 MB.
const LINE_BYTES_MAX: usize = 16 * 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    fn model(steps: &[(u64, u64, What)]) -> Model {
        let mut model = Model::new("function".into());
        for (ms, environment, what) in steps {
            model.see(&Seen::Entry(Entry {
                at: Duration::from_millis(*ms),
                environment: *environment,
                what: what.clone(),
            }));
        }
        model
    }

    fn done(ms: u64) -> What {
        What::InitDone {
            duration: Duration::from_millis(ms),
            error: None,
        }
    }

    fn invoke(id: &str) -> What {
        What::InvokeStart {
            request_id: id.into(),
        }
    }

    fn invoked(id: &str, error: Option<&str>) -> What {
        What::InvokeDone {
            request_id: id.into(),
            error: error.map(str::to_owned),
        }
    }

    #[test]
    fn an_environment_goes_through_its_phases() {
        let steps = [
            (What::InitStart, Phase::Init),
            (done(3), Phase::Idle),
            (invoke("a"), Phase::Busy),
            (What::Frozen, Phase::Frozen),
            (What::Thawed, Phase::Busy),
            (invoked("a", None), Phase::Idle),
            (What::Frozen, Phase::Frozen),
            (What::RestoreStart, Phase::Restoring),
            (What::Thawed, Phase::Restoring),
            (
                What::RestoreDone {
                    duration: Duration::ZERO,
                    error: None,
                },
                Phase::Idle,
            ),
            (What::Retired, Phase::Draining),
            (What::Reset { reason: "r".into() }, Phase::Down),
        ];
        let mut so_far = Vec::new();
        for (at, (what, expected)) in (0..).zip(steps) {
            so_far.push((at, 7, what.clone()));
            let model = model(&so_far);
            assert_eq!(model.environments[&7].phase(), expected, "{what:?}");
            assert_eq!(model.selected, Some(7));
        }
        so_far.push((99, 7, What::Shutdown));
        let model = model(&so_far);
        assert!(model.environments.is_empty());
        assert_eq!(model.selected, None);
        assert_eq!((model.invocations, model.failures), (1, 0));
    }

    #[test]
    fn starts_are_counted_by_kind_and_cause() {
        let crash = What::Reset {
            reason: "Runtime.ExitError".into(),
        };
        let mut model = model(&[
            (0, 0, What::InitStart),
            (2, 0, done(2)),
            (3, 0, invoke("a")),
            (4, 1, What::InitStart),
            (9, 1, done(5)),
            (10, 0, invoked("a", Some("Runtime.ExitError"))),
            (11, 0, crash),
            (12, 0, What::InitStart),
            (14, 0, done(2)),
            (15, 1, What::RestoreStart),
        ]);
        model.reload();
        model.ask_for_start();
        for id in [2, 3] {
            model.see(&Seen::Entry(Entry {
                at: Duration::from_millis(20),
                environment: id,
                what: What::InitStart,
            }));
        }
        let starts: Vec<_> = model.starts.iter().collect();
        let starts = starts
            .iter()
            .map(|((kind, cause), starts)| (*kind, cause.as_str(), starts.count));
        let expected = [
            (Kind::Init, "after Runtime.ExitError", 1),
            (Kind::Init, "asked for", 1),
            (Kind::Init, "first", 1),
            (Kind::Init, "new files", 1),
            (Kind::Init, "others busy", 1),
            (Kind::Restore, "of a snapshot", 1),
        ];
        assert_eq!(starts.collect::<Vec<_>>(), expected);
        assert_eq!((model.invocations, model.failures), (1, 1));
    }

    #[test]
    fn the_selection_moves_among_the_environments_that_exist() {
        let mut model = model(&[
            (0, 1, What::InitStart),
            (0, 3, What::InitStart),
            (0, 4, What::InitStart),
        ]);
        let mut moves = Vec::new();
        for forward in [true, true, true, false] {
            model.select(forward);
            moves.push(model.selected);
        }
        assert_eq!(moves, [Some(3), Some(4), Some(4), Some(3)]);
    }

    #[test]
    fn a_line_of_the_log_cannot_move_the_cursor() {
        for (text, expected) in [
            ("\u{1b}[31;1mred\u{1b}[0m", "red"),
            ("a\tb\u{8}\u{7}", "a  b"),
            ("one\ntwo", "one\ntwo"),
            ("\u{1b}", ""),
            ("\u{1b}[", ""),
            ("\u{1b}c\u{e9}", "\u{e9}"),
        ] {
            assert_eq!(plain(text), expected, "{text:?}");
        }
    }

    #[test]
    fn the_log_is_bounded() {
        let mut model = Model::new(String::new());
        for line in 0..LINES_MAX + 5 {
            model.note(&line.to_string());
        }
        assert_eq!(model.log.len(), LINES_MAX);
        assert_eq!(model.log[0].text, "5");
        model.note(&"\u{e9}".repeat(LINE_BYTES_MAX));
        let last = &model.log[LINES_MAX - 1].text;
        assert_eq!(last.len(), LINE_BYTES_MAX);
    }
}

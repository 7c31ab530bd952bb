//! A world test: the runtime, its workers and their supervisor, and executables and servers as
//! handlers, among a platform that misbehaves, on virtual time.
//!
//! Everything runs as in the binary, from the variables on, but the kernel: the clocks, the
//! connection to the API, the processes and what they write to the log are a [`System`] in memory.
//! Streams to the API, the pipes of executables and connections to servers are descriptors of the
//! kernel, at whose other ends `peers` acts.
//! A process is a thread; one runs at a time, and the seed of the life says which, so a life is the
//! same each time it is lived. Time passes only when every process waits.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "most faults and acts concern one place each"
)]

mod check;
mod connection;
mod life;
mod lives;
mod peers;
mod platform;
mod process;

use std::any::Any;
use std::ffi::OsString;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use self::life::{Ending, Kind, Life};
use self::peers::{Child, Upload};
use self::platform::Platform;
use self::process::{Process, Program};
use super::invoke;
use crate::shared::backoff::Jitter;
use crate::shared::env::INIT_TYPE;
use crate::shared::limits::PAYLOAD_BYTES_MAX;
use crate::shared::os::clock;
use crate::shared::os::reexec::OnPanic;
use crate::shared::os::simulation::{self, End, System};

/// A world, which its processes share.
struct World {
    state: Mutex<State>,
    /// Notified when it is another process's turn.
    turn: Condvar,
    began: Instant,
}

struct State {
    platform: Platform,
    random: Jitter,
    processes: Vec<Running>,
    /// The process that runs.
    turn: usize,
    threads: Vec<JoinHandle<()>>,
    /// What happened, for a life that fails.
    trace: Option<Vec<String>>,
    log: Vec<Line>,
    /// Processes that the platform started.
    starts: usize,
    /// How the processes that the platform started have ended, as `waitpid` says it.
    exits: Vec<i32>,
    /// Connections to the API, of all processes.
    connections: usize,
    turns: usize,
    /// How often the other end of a descriptor did something.
    moves: usize,
    /// Handlers that were started.
    children: i32,
    violation: Option<String>,
}

/// A line of the log.
#[derive(Clone, Debug)]
struct Line {
    text: String,
    /// The supervisor wrote it, or a worker that has not asked for an event: they answer what other
    /// workers left behind.
    is_of_no_loop: bool,
    /// The invocation whose event the process got last, and the answers that the platform had got
    /// to it then.
    invocation: Option<(usize, usize)>,
}

/// A process, as the kernel knows it.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own about a process"
)]
struct Running {
    variables: Vec<(OsString, OsString)>,
    /// What it waits for.
    until: Until,
    /// It has a connection to the API.
    is_connected: bool,
    /// The signal that kills it.
    killed_by: Option<i32>,
    /// It was asked to end.
    is_asked: bool,
    /// The status of `waitpid`, once it has ended, and whether its parent has got it.
    status: Option<i32>,
    is_reaped: bool,
    on_panic: Option<OnPanic>,
    is_in_hook: bool,
    /// A thread has panicked while the handler did not run, so it must not run again.
    is_doomed: bool,
    /// Its program has asked for an event.
    has_polled: bool,
    /// The invocation whose event it got last, while it has not asked for another.
    holds: Option<usize>,
    /// The answers that it streams, at the API.
    uploads: Vec<Upload>,
    /// The processes of its handler.
    children: Vec<Child>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    Now,
    /// A time by the monotonic clock.
    At(u64),
    /// There is an event, or there will be none.
    Event,
    /// The other end of a descriptor has done more than so much, or it is this time.
    Moved(usize, Option<u64>),
    /// A child has ended or SIGTERM has come, or it is this time.
    Child(u64),
    Never,
}

impl Running {
    fn new(variables: Vec<(OsString, OsString)>) -> Self {
        Self {
            variables,
            until: Until::Now,
            is_connected: false,
            killed_by: None,
            is_asked: false,
            status: None,
            is_reaped: false,
            on_panic: None,
            is_in_hook: false,
            is_doomed: false,
            has_polled: false,
            holds: None,
            uploads: Vec::new(),
            children: Vec::new(),
        }
    }
}

/// What came of a life.
struct Lived {
    platform: Platform,
    log: Vec<Line>,
    trace: Vec<String>,
    starts: usize,
    exits: Vec<i32>,
    connections: usize,
    violation: Option<String>,
}

/// Lives a life, and takes notes of what happens if it is to be `traced`.
fn live(life: &Life, traced: bool) -> Lived {
    let _descriptors_are_ours = simulation::without_forks();
    let world = Arc::new(World {
        state: Mutex::new(State {
            platform: Platform::new(life.clone()),
            random: Jitter::new(life.seed),
            processes: vec![Running::new(variables(life))],
            turn: 0,
            threads: Vec::new(),
            trace: traced.then(Vec::new),
            log: Vec::new(),
            starts: 0,
            exits: Vec::new(),
            connections: 0,
            turns: 0,
            moves: 0,
            children: 0,
            violation: None,
        }),
        turn: Condvar::new(),
        began: clock::monotonic(),
    });
    world.environments();
    let threads = mem::take(&mut world.lock().threads);
    for thread in threads {
        thread.join().unwrap();
    }
    let state = Arc::into_inner(world).unwrap().state;
    let state = state.into_inner().unwrap_or_else(PoisonError::into_inner);
    Lived {
        platform: state.platform,
        log: state.log,
        trace: state.trace.unwrap_or_default(),
        starts: state.starts,
        exits: state.exits,
        connections: state.connections,
        violation: state.violation,
    }
}

fn variables(life: &Life) -> Vec<(OsString, OsString)> {
    let mut variables = vec![
        ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001".to_owned()),
        // Other tests, whose lines nobody reads, share the level.
        ("AWS_LAMBDA_LOG_LEVEL", "FATAL".to_owned()),
    ];
    if life.workers != 0 {
        variables.push(("AWS_LAMBDA_MAX_CONCURRENCY", life.workers.to_string()));
    }
    if life.is_restored {
        variables.push((INIT_TYPE, "snap-start".to_owned()));
    }
    if life.kind != Kind::Function {
        // A file that is there, and is not executed.
        variables.push(("_HANDLER", "/bin/sh".to_owned()));
        let mode = match life.kind {
            Kind::OneShot | Kind::Function => "per-invocation",
            Kind::Persistent => "persistent",
            Kind::Server => "http",
        };
        variables.push(("BANTAM_HANDLER_MODE", mode.to_owned()));
        variables.push(("AWS_LWA_ERROR_STATUS_CODES", "500".to_owned()));
        if life.is_streamed {
            for name in ["BANTAM_INVOKE_MODE", "AWS_LWA_INVOKE_MODE"] {
                variables.push((name, "response_stream".to_owned()));
            }
        }
    }
    let owned = |(name, value): (&str, String)| (name.into(), value.into());
    variables.into_iter().map(owned).collect()
}

impl World {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One environment after the other, until every invocation has its outcome.
    fn environments(self: &Arc<Self>) {
        loop {
            let most = {
                let mut state = self.lock();
                state.starts += 1;
                let first = Running::new(variables(&state.platform.life));
                state.processes[0] = first;
                let life = &state.platform.life;
                2 + life.faults.len() + life.invocations.len() + life.failed_inits.len()
            };
            self.run(0);
            let mut state = self.lock();
            state.note(|| "the environment ends".to_owned());
            state.platform.ended(None);
            if state.platform.is_done() || state.violation.is_some() {
                return;
            }
            if most < state.starts {
                state.violates("environments are started again and again");
                return;
            }
        }
    }

    /// Runs a process to its end: its program, and each that it executes after it.
    fn run(self: &Arc<Self>, number: usize) {
        let end = loop {
            let program = Process::new(Arc::clone(self), number);
            match execute(program) {
                Ok(End::Again(changes)) => self.lock().change(number, changes),
                Ok(end) => break end,
                Err(panic) => {
                    let mut state = self.lock();
                    state.violates(&format!("a panic: {panic}"));
                    break End::Killed(6);
                }
            }
        };
        let mut state = self.lock();
        state.note(|| format!("{number}: ends with {end:?}"));
        let status = match end {
            End::Exit(code) => i32::from(code) << 8,
            End::Killed(signal) => signal,
            End::Again(_) => unreachable!("it runs again"),
        };
        // Its connections are closed, and the kernel kills its children.
        state.pump();
        let process = &mut state.processes[number];
        process.uploads.clear();
        process.children.iter_mut().for_each(|child| child.end(9));
        process.status = Some(status);
        process.until = Until::Never;
        state.platform.ended(Some(number));
        if number == 0 {
            state.exits.push(status);
            // The environment ends with it, and its workers do.
            for worker in state.processes.iter_mut().skip(1) {
                worker.killed_by = Some(9);
            }
        }
        if state.pick() {
            self.turn.notify_all();
        }
        drop(state);
        if number == 0 {
            self.end_workers();
        }
    }

    /// Waits until all workers have ended.
    fn end_workers(&self) {
        let threads = mem::take(&mut self.lock().threads);
        for thread in threads {
            thread.join().unwrap();
        }
        self.lock().processes.truncate(1);
    }

    /// Lets others run until `until` holds and it is the turn of this process again.
    fn wait<'w>(
        &'w self,
        mut state: MutexGuard<'w, State>,
        number: usize,
        until: Until,
    ) -> MutexGuard<'w, State> {
        state.processes[number].until = until;
        state.turns += 1;
        if TURNS_MAX < state.turns {
            state.violates("a wait without end");
        }
        if state.pick() && state.turn != number {
            self.turn.notify_all();
        }
        let is_other = |state: &mut State| state.turn != number;
        let bound = Duration::from_secs(60);
        let (mut state, timeout) = self
            .turn
            .wait_timeout_while(state, bound, is_other)
            .unwrap_or_else(PoisonError::into_inner);
        assert!(!timeout.timed_out(), "nobody has the turn");
        let process = &mut state.processes[number];
        process.until = Until::Now;
        if let Some(signal) = process.killed_by {
            // A signal takes its time: a process that can go on may do so for a moment.
            if until == Until::Now && state.violation.is_none() && state.random.random() % 2 == 0 {
                return state;
            }
            drop(state);
            End::Killed(signal).take();
        }
        state
    }
}

/// A response over the limit.
static TOO_MUCH: LazyLock<Vec<u8>> = LazyLock::new(|| vec![b'x'; PAYLOAD_BYTES_MAX + 1]);

/// Turns of all processes of a life, at most.
const TURNS_MAX: usize = 50_000;

/// Exchanges of a life, at most.
const EXCHANGES_MAX: usize = 2_000;

/// Executes the program of a process, on a thread of its own: it begins with fresh memory.
fn execute(process: Process) -> Result<End, String> {
    let program = thread::spawn(move || {
        let process = Rc::new(process);
        let program = Program::new(&process);
        let system: Rc<dyn System> = process;
        simulation::enter(Some(system));
        let end = catch_unwind(AssertUnwindSafe(|| match program {
            Program::Plain(init) => invoke(Box::new(init)),
            Program::Restored(init) => invoke(Box::new(init)),
            Program::Executable(init) => invoke(Box::new(init)),
        }));
        simulation::enter(None);
        match end {
            Ok(code) => Ok(End::Exit(code)),
            Err(payload) => match payload.downcast::<End>() {
                Ok(end) => Ok(*end),
                Err(payload) => Err(text(&*payload)),
            },
        }
    });
    program.join().unwrap()
}

fn text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().cloned();
    let text = text.or_else(|| Some((*payload.downcast_ref::<&str>()?).to_owned()));
    text.unwrap_or_default()
}

impl State {
    fn note(&mut self, note: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let (time, turn) = (self.platform.passed_ms, self.turn);
            trace.push(format!("{time:>8} ms  process {turn}  {}", note()));
        }
    }

    /// A rule is broken: the life ends.
    fn violates(&mut self, rule: &str) {
        self.violation.get_or_insert_with(|| rule.to_owned());
        for process in &mut self.processes {
            process.killed_by = Some(9);
        }
    }

    /// The variables of the next program of a process.
    fn change(&mut self, number: usize, changes: Vec<(String, Option<String>)>) {
        self.note(|| format!("executes its program again: {changes:?}"));
        // Its connections are closed; its children live on.
        self.pump();
        let process = &mut self.processes[number];
        process.uploads.clear();
        let before = mem::take(&mut process.variables);
        let is_kept = |(name, _): &(OsString, OsString)| {
            changes.iter().all(|(changed, _)| name != &**changed)
        };
        process.variables = before.into_iter().filter(is_kept).collect();
        let set = changes
            .into_iter()
            .filter_map(|(name, value)| Some((name.into(), value?.into())));
        process.variables.extend(set);
        (process.on_panic, process.holds) = (None, None);
        (process.is_in_hook, process.is_doomed) = (false, false);
        (process.has_polled, process.is_connected) = (false, false);
    }

    /// Whether a process can go on.
    fn is_ready(&self, number: usize) -> bool {
        let process = &self.processes[number];
        if process.status.is_some() {
            return false;
        }
        let passed_ms = self.platform.passed_ms;
        if process.killed_by.is_some() {
            return true;
        }
        match process.until {
            Until::Now => true,
            Until::At(at) => at <= passed_ms,
            Until::Never => false,
            Until::Event => !self.platform.would_wait(),
            Until::Moved(moves, at) => moves != self.moves || at.is_some_and(|at| at <= passed_ms),
            Until::Child(at) => {
                let is_news = |child: &Running| child.status.is_some() && !child.is_reaped;
                let children = self.processes.iter().skip(1);
                at <= passed_ms || process.is_asked || { children }.any(is_news)
            }
        }
    }

    /// Gives the turn to a process that can go on, and lets time pass until there is one. False if
    /// all have ended.
    fn pick(&mut self) -> bool {
        loop {
            self.ask_to_end();
            self.pump();
            let all = 0..self.processes.len();
            let ready: Vec<usize> = all.filter(|number| self.is_ready(*number)).collect();
            if !ready.is_empty() {
                let chosen = self.random.random() % ready.len() as u64;
                self.turn = ready[usize::try_from(chosen).unwrap()];
                return true;
            }
            let alive = self.processes.iter().filter(|one| one.status.is_none());
            let times = { alive }.filter_map(|process| match process.until {
                Until::At(at) | Until::Child(at) => Some(at),
                Until::Moved(_, at) => at,
                Until::Now | Until::Event | Until::Never => None,
            });
            let times = times
                .chain(self.platform.due_ms())
                .chain(self.peers_due_ms());
            match times.min() {
                Some(at) => self.pass_to(at),
                None if self.processes.iter().all(|one| one.status.is_some()) => return false,
                None => self.violates("every process waits for ever"),
            }
        }
    }

    /// Lets time pass.
    fn pass_to(&mut self, at_ms: u64) {
        self.platform.passed_ms = self.platform.passed_ms.max(at_ms);
        if self.platform.time_out() {
            self.processes[0].killed_by = Some(9);
        }
    }

    /// Sends SIGTERM to a supervisor when there is nothing left to do.
    fn ask_to_end(&mut self) {
        let mut workers = self.processes.iter().skip(1);
        let is_idle = |worker: &Running| {
            // The keeper of a server waits for that.
            let waits = matches!(
                worker.until,
                Until::Event | Until::Never | Until::Moved(_, None)
            );
            worker.status.is_some() || waits
        };
        let platform = &mut self.platform;
        let is_busy = !platform.life.is_cut_off() && !workers.all(is_idle);
        if platform.life.workers == 0 || platform.has_asked || !platform.is_done() || is_busy {
            return;
        }
        match platform.life.ending {
            Ending::Gone => {}
            Ending::Killed => {
                platform.has_asked = true;
                self.processes[0].killed_by = Some(9);
            }
            Ending::Term => {
                platform.has_asked = true;
                self.processes[0].is_asked = true;
            }
        }
    }
}

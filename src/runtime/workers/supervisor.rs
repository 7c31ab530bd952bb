//! The supervisor: starts workers, kills those past their deadline, and replaces those that end.

use std::fmt;
use std::os::fd::AsRawFd as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use super::board::{Board, Phase, Server};
use super::left_behind;
use super::process::{self, Signals};
use super::seat::{Mark, WORKER};
use crate::runtime::Stop;
use crate::runtime::api::Post;
use crate::runtime::client::{REPORT_TIMEOUT, post_once};
use crate::runtime::error::Error;
use crate::runtime::handler::Beside;
use crate::runtime::log;
use crate::shared::backoff::WORKER_RESTARTS;
use crate::shared::endpoint::Endpoint;
use crate::shared::log_record::Level;
use crate::shared::os;
use crate::shared::os::reexec::Image;
use crate::shared::time::EpochMs;

/// Runs this many workers until nothing can be served, and returns the exit code.
pub(super) fn run(workers: usize, beside: Beside, api: &Endpoint) -> u8 {
    let (board, file) = match Board::create(workers) {
        Ok(made) => made,
        Err(error) => {
            let error = os::error_text(error);
            log::line(Level::Fatal, &["the workers' memory: ", &error].concat());
            return 1;
        }
    };
    if let Some(register) = beside.register {
        register(api);
    }
    let signals = Signals::block();
    let mut crew = Crew::new(workers, beside.has_keeper);
    let mut fault = None;
    let stop = loop {
        while let Some(index) = crew.due(board.has_polled(), os::now()) {
            let mark = Mark::new(index, file.as_raw_fd()).to_text();
            let image = Image::again(&[(WORKER, Some(&mark))]);
            match image.and_then(|image| process::start(&image)) {
                Ok(process) => crew.started(index, process),
                Err(error) => fault = Some(not_started(&mut crew, index, board, error, api)),
            }
        }
        crew.is_server_ready = matches!(board.server(), Server::Ready(_));
        if let Some(stop) = crew.verdict(board.has_polled()) {
            break stop;
        }
        if signals.wait(TICK) {
            crew.stops();
            for (_, process) in crew.running() {
                process::signal(process, Signal::TERM);
            }
        }
        for (index, process) in crew.running() {
            if board.slot(index).stops_at(os::now()) {
                process::signal(process, Signal::KILL);
            }
        }
        while let Some((process, status)) = process::ended() {
            if let Some(index) = crew.index_of(process) {
                ended(&mut crew, index, board, status, api);
            }
        }
    };
    let level = if stop.code == 0 {
        Level::Info
    } else {
        Level::Fatal
    };
    log::line(level, &stop.reason);
    if stop.code != 0 && !board.has_polled() && board.claims_init_error() {
        // No worker came so far that it could report this.
        let error = Error::new("Runtime.WorkerFailed", fault.unwrap_or(stop.reason));
        post_once(Post::init_error(&error), api, Some(REPORT_TIMEOUT));
    }
    stop.code
}

/// A worker could not be started. Returns why.
fn not_started(
    crew: &mut Crew,
    index: usize,
    board: &Board,
    error: Errno,
    api: &Endpoint,
) -> String {
    // The invocation must not wait until there is a worker again.
    left_behind::answer(board.slot(index), api);
    let next = take_note(crew, index, board, None);
    let (name, error) = (crew.name(index), os::error_text(error));
    let fault = format!("{name} cannot be started: {error}");
    log::line(Level::Error, &format!("{fault}; {next}"));
    fault
}

/// A worker has ended. The next one answers the invocation that it left behind, if there is one.
/// Nobody can answer an event that came to the socket of a worker which was killed while it waited:
/// its id is unknown, and the platform lets it time out. So the log says that the worker waited.
fn ended(crew: &mut Crew, index: usize, board: &Board, status: ExitStatus, api: &Endpoint) {
    let slot = board.slot(index);
    slot.ended(status);
    let next = take_note(crew, index, board, status.code());
    if next == Next::Nothing {
        left_behind::answer(slot, api);
    }
    let name = crew.name(index);
    let waited = if slot.phase() == Phase::Polling && status.signal().is_some() {
        " while it waited for an event"
    } else {
        ""
    };
    let line = format!("{name} ended with {status}{waited}; {next}");
    log::line(Level::Warn, &line);
}

/// Takes note that a worker does not run, on the board and in the crew.
fn take_note(crew: &mut Crew, index: usize, board: &Board, code: Option<i32>) -> Next {
    let slot = board.slot(index);
    let phase = slot.phase();
    let ended = Ended {
        phase,
        invocations: if index == board.keeper() {
            let was_ready = matches!(phase, Phase::Listening | Phase::Ended);
            was_ready.then(|| board.invocations())
        } else {
            Some(slot.invocations())
        },
        code,
    };
    // A worker that was killed while it started, or never did, has not said so itself.
    match ended.phase {
        Phase::Init => board.fails(index),
        // Nobody starts it again before a worker has polled, so none need wait for it.
        Phase::Listening | Phase::Ended if !board.has_polled() => board.fails(index),
        Phase::Listening => board.server_has_ended(ExitStatus::from_raw(libc::SIGKILL), ""),
        Phase::InitFailed
        | Phase::Polling
        | Phase::Invoking
        | Phase::Answering
        | Phase::Answered
        | Phase::Overdue
        | Phase::LeftBehind
        | Phase::Ended => {}
    }
    crew.ended(index, ended, board.has_polled(), os::now())
}

/// The workers, as the supervisor knows them. It makes no system call.
#[derive(Debug)]
struct Crew {
    /// The workers, and behind them the keeper of the server if there is one.
    workers: Vec<Worker>,
    has_keeper: bool,
    is_server_ready: bool,
    /// The process was asked to end: nobody is started any more.
    is_stopping: bool,
}

#[derive(Clone, Copy, Debug)]
struct Worker {
    state: State,
    /// Ends in a row without an invocation in between.
    failures: u32,
    /// The count of its invocations when it last ended.
    invocations: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// To be started at this time.
    Waiting(EpochMs),
    Running(Pid),
    /// Not to be started again. The code says why: 0 if there will be no more events.
    Gone(u8),
}

/// How a worker ended.
#[derive(Clone, Copy, Debug)]
struct Ended {
    phase: Phase,
    /// The count of its invocations, and for the keeper of those of all workers: `None` if its
    /// server was never ready for one.
    invocations: Option<u64>,
    /// The exit code, if it was not killed.
    code: Option<i32>,
}

/// What becomes of a worker that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Start(Duration),
    /// Its initialisation failed, as that of all others may.
    StartWithOthers,
    Nothing,
}

impl fmt::Display for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(pause) => write!(f, "it is started again in {} ms", pause.as_millis()),
            Self::StartWithOthers => f.write_str("it is started again once another one serves"),
            Self::Nothing => f.write_str("it is not started again"),
        }
    }
}

impl Crew {
    fn new(workers: usize, has_keeper: bool) -> Self {
        let worker = Worker {
            state: State::Waiting(EpochMs(0)),
            failures: 0,
            invocations: 0,
        };
        Self {
            workers: vec![worker; workers + usize::from(has_keeper)],
            has_keeper,
            is_server_ready: false,
            is_stopping: false,
        }
    }

    /// A worker to be started at `now`. While no worker has polled, those whose initialisation
    /// failed wait: if that of all fails, so has that of the environment.
    fn due(&self, has_polled: bool, EpochMs(now): EpochMs) -> Option<usize> {
        let is_due = |worker: &Worker| match worker.state {
            // A wall clock that was set back must not keep a worker waiting.
            State::Waiting(EpochMs(at)) => {
                (at <= now || now + LONGEST_PAUSE_MS < at) && (has_polled || worker.failures == 0)
            }
            State::Running(_) | State::Gone(_) => false,
        };
        self.workers
            .iter()
            .position(is_due)
            .filter(|_| !self.is_stopping)
    }

    fn started(&mut self, index: usize, process: Pid) {
        self.set(index, State::Running(process));
    }

    /// A worker has ended, or could not be started.
    fn ended(&mut self, index: usize, ended: Ended, has_polled: bool, now: EpochMs) -> Next {
        let EpochMs(now) = now;
        let Some(worker) = self.workers.get_mut(index) else {
            return Next::Nothing;
        };
        let invocations = ended.invocations.unwrap_or(worker.invocations);
        let has_served = worker.invocations != invocations;
        worker.invocations = invocations;
        worker.failures = if has_served { 1 } else { worker.failures + 1 };
        let pause = WORKER_RESTARTS.after(worker.failures);
        // A worker that ends well was told by the API that there will be no more events.
        let is_over = ended.code == Some(0) && ended.phase == Phase::Polling;
        let (state, next) = match pause {
            _ if is_over => (State::Gone(0), Next::Nothing),
            Some(pause) if !self.is_stopping => {
                let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(LONGEST_PAUSE_MS);
                (State::Waiting(EpochMs(now + pause_ms)), Next::Start(pause))
            }
            Some(_) => (State::Gone(0), Next::Nothing),
            None => (State::Gone(1), Next::Nothing),
        };
        self.set(index, state);
        if !has_polled && matches!(next, Next::Start(_)) {
            return Next::StartWithOthers;
        }
        next
    }

    /// The process was asked to end.
    fn stops(&mut self) {
        self.is_stopping = true;
    }

    /// Why there is nothing left to do, if that is so.
    fn verdict(&self, has_polled: bool) -> Option<Stop> {
        let runs = |worker: &Worker| matches!(worker.state, State::Running(_));
        let count = self.workers.len() - usize::from(self.has_keeper);
        let (workers, keeper) = self.workers.split_at(count);
        let any_runs = workers.iter().any(runs);
        let keeper_runs = keeper.iter().any(runs);
        let all = |is: fn(&Worker) -> bool| workers.iter().all(is);
        let (code, reason) = if self.is_stopping {
            if any_runs || keeper_runs {
                return None;
            }
            (0, "stopped by a signal")
        } else if keeper.iter().any(|keeper| keeper.state == State::Gone(1)) {
            (1, "the server of the workers cannot be started")
        } else if any_runs {
            return None;
        } else if !has_polled {
            // A keeper whose server is not ready is about to report why.
            if keeper_runs && !self.is_server_ready {
                return None;
            }
            (1, "initialisation failed")
        } else if all(|worker| worker.state == State::Gone(0)) {
            (0, "there are no more events")
        } else if all(|worker| matches!(worker.state, State::Gone(_))) {
            (1, "no worker can serve invocations")
        } else {
            return None;
        };
        Some(Stop {
            code,
            reason: reason.to_owned(),
        })
    }

    fn running(&self) -> Vec<(usize, Pid)> {
        let workers = self.workers.iter().enumerate();
        let running = workers.filter_map(|(index, worker)| match worker.state {
            State::Running(process) => Some((index, process)),
            State::Waiting(_) | State::Gone(_) => None,
        });
        running.collect()
    }

    /// The name of a worker for the log.
    fn name(&self, index: usize) -> String {
        if self.has_keeper && index + 1 == self.workers.len() {
            return "the keeper of the server".to_owned();
        }
        format!("worker {index}")
    }

    fn index_of(&self, process: Pid) -> Option<usize> {
        let mut workers = self.workers.iter();
        workers.position(|worker| worker.state == State::Running(process))
    }

    fn set(&mut self, index: usize, state: State) {
        if let Some(worker) = self.workers.get_mut(index) {
            worker.state = state;
        }
    }
}

/// How late a worker past its deadline is noticed, at most.
const TICK: Duration = Duration::from_millis(100);

/// The longest pause of [`WORKER_RESTARTS`].
const LONGEST_PAUSE_MS: u64 = WORKER_RESTARTS.longest.as_secs() * 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: EpochMs = EpochMs(1_700_000_000_000);

    fn after(ms: u64) -> EpochMs {
        EpochMs(NOW.0 + ms)
    }

    fn pid(number: i32) -> Pid {
        Pid::from_raw(number).unwrap()
    }

    /// A crew whose workers run as processes 10, 11, …
    fn running(workers: usize) -> Crew {
        let mut crew = Crew::new(workers, false);
        for index in 0..workers {
            assert_eq!(crew.due(false, NOW), Some(index));
            crew.started(index, pid(10 + i32::try_from(index).unwrap()));
        }
        assert_eq!(crew.due(false, NOW), None);
        assert!(crew.verdict(false).is_none());
        crew
    }

    const fn killed(phase: Phase, invocations: u64) -> Ended {
        Ended {
            phase,
            invocations: Some(invocations),
            code: None,
        }
    }

    fn verdict(crew: &Crew, has_polled: bool) -> Option<u8> {
        crew.verdict(has_polled).map(|stop| stop.code)
    }

    #[test]
    fn a_worker_that_ends_is_started_again_and_its_neighbour_runs_on() {
        let mut crew = running(2);
        assert_eq!(crew.name(1), "worker 1");
        assert_eq!(crew.index_of(pid(11)), Some(1));
        let next = crew.ended(1, killed(Phase::Invoking, 5), true, NOW);
        assert_eq!(next, Next::Start(Duration::ZERO));
        assert_eq!(crew.running(), [(0, pid(10))]);
        assert_eq!(crew.due(true, NOW), Some(1));
        assert_eq!(verdict(&crew, true), None);
    }

    #[test]
    fn a_worker_that_serves_nothing_is_started_with_pauses_and_given_up() {
        let mut crew = running(1);
        let mut pauses = Vec::new();
        while let Next::Start(pause) = crew.ended(0, killed(Phase::Polling, 0), true, NOW) {
            let pause = u64::try_from(pause.as_millis()).unwrap();
            if pause != 0 {
                assert_eq!(crew.due(true, NOW), None);
                assert_eq!(crew.due(true, after(pause - 1)), None);
            }
            assert_eq!(crew.due(true, after(pause)), Some(0));
            crew.started(0, pid(10));
            pauses.push(pause);
        }
        assert_eq!(pauses, [0, 50, 100, 200, 400, 800, 1_000, 1_000]);
        assert_eq!(verdict(&crew, true), Some(1));
    }

    #[test]
    fn an_invocation_in_between_starts_the_count_of_failures_anew() {
        let mut crew = running(1);
        for invocations in 0..100 {
            let next = crew.ended(0, killed(Phase::Answering, invocations + 1), true, NOW);
            assert_eq!(next, Next::Start(Duration::ZERO));
        }
    }

    #[test]
    fn the_environment_ends_when_the_initialisation_of_all_has_failed() {
        let mut crew = running(2);
        let failed = Ended {
            phase: Phase::InitFailed,
            invocations: Some(0),
            code: Some(1),
        };
        assert_eq!(crew.ended(0, failed, false, NOW), Next::StartWithOthers);
        assert_eq!(crew.due(false, after(9_999)), None);
        assert_eq!(verdict(&crew, false), None, "the other one still starts");
        assert_eq!(crew.ended(1, failed, false, NOW), Next::StartWithOthers);
        assert_eq!(verdict(&crew, false), Some(1));
    }

    #[test]
    fn a_worker_whose_initialisation_failed_is_started_again_once_another_serves() {
        let mut crew = running(2);
        crew.ended(0, killed(Phase::Init, 0), false, NOW);
        assert_eq!(crew.due(false, NOW), None);
        assert_eq!(crew.due(true, NOW), Some(0));
    }

    #[test]
    fn the_keeper_of_the_server_is_started_again_like_a_worker() {
        let mut crew = Crew::new(1, true);
        for (index, process) in [(0, pid(10)), (1, pid(11))] {
            assert_eq!(crew.due(false, NOW), Some(index));
            crew.started(index, process);
        }
        assert_eq!(
            [0, 1].map(|index| crew.name(index)),
            ["worker 0", "the keeper of the server"]
        );
        let next = crew.ended(1, killed(Phase::Ended, 1), true, NOW);
        assert_eq!(next, Next::Start(Duration::ZERO));
        assert_eq!(verdict(&crew, true), None);
        // Its server is ready each time, and ends before an invocation begins.
        crew.started(1, pid(12));
        let next = crew.ended(1, killed(Phase::Ended, 1), true, NOW);
        assert_eq!(next, Next::Start(Duration::from_millis(50)));
        let next = crew.ended(1, killed(Phase::Ended, 2), true, NOW);
        assert_eq!(next, Next::Start(Duration::ZERO));
        // Its server cannot be started any more, so the workers can serve nothing, however many
        // events come.
        crew.started(1, pid(12));
        let not_started = Ended {
            invocations: None,
            ..killed(Phase::InitFailed, 0)
        };
        while let Next::Start(_) = crew.ended(1, not_started, true, NOW) {
            crew.started(1, pid(12));
        }
        assert_eq!(crew.running(), [(0, pid(10))]);
        assert_eq!(verdict(&crew, true), Some(1));
    }

    /// Workers look at the board from time to time, so none may have seen that it was ready.
    #[test]
    fn a_server_that_ends_before_any_worker_has_polled_has_failed() {
        for has_ended in [true, false] {
            let (board, _file) = Board::create(1).unwrap();
            let mut crew = Crew::new(1, true);
            board.server_is_ready();
            if has_ended {
                board.server_has_ended(ExitStatus::from_raw(0), "the end");
            }
            let next = take_note(&mut crew, board.keeper(), board, Some(1));
            assert_eq!(next, Next::StartWithOthers);
            assert!(matches!(board.server(), Server::Failed(_)), "{has_ended}");
        }
    }

    #[test]
    fn a_keeper_is_no_reason_to_go_on_without_workers() {
        let mut crew = Crew::new(1, true);
        crew.started(0, pid(10));
        crew.started(1, pid(11));
        crew.ended(0, killed(Phase::InitFailed, 0), false, NOW);
        assert_eq!(
            verdict(&crew, false),
            None,
            "it reports why its server is not ready"
        );
        crew.is_server_ready = true;
        assert_eq!(verdict(&crew, false), Some(1));
        crew.stops();
        assert_eq!(verdict(&crew, true), None, "its server gets time to end");
        crew.ended(1, killed(Phase::Ended, 1), true, NOW);
        assert_eq!(verdict(&crew, true), Some(0));
    }

    #[test]
    fn an_api_without_more_events_ends_the_supervisor_well() {
        let mut crew = running(2);
        let over = Ended {
            phase: Phase::Polling,
            invocations: Some(3),
            code: Some(0),
        };
        crew.ended(0, over, true, NOW);
        assert_eq!(verdict(&crew, true), None);
        crew.ended(1, over, true, NOW);
        assert_eq!(verdict(&crew, true), Some(0));
    }

    #[test]
    fn nobody_is_started_after_a_signal() {
        let mut crew = running(2);
        crew.stops();
        for index in 0..2 {
            assert_eq!(verdict(&crew, true), None);
            let next = crew.ended(index, killed(Phase::Polling, 1), true, NOW);
            assert_eq!(next, Next::Nothing);
            assert_eq!(crew.due(true, after(9_999)), None);
        }
        assert_eq!(verdict(&crew, true), Some(0));
    }

    #[test]
    fn a_clock_that_was_set_back_keeps_nobody_waiting() {
        let mut crew = running(1);
        for _ in 0..3 {
            crew.ended(0, killed(Phase::Polling, 0), true, NOW);
        }
        assert_eq!(crew.due(true, NOW), None);
        assert_eq!(crew.due(true, EpochMs(NOW.0 - 60_000)), Some(0));
    }
}

//! A process of a world: the system that it runs on, and its program.

use std::ffi::OsString;
use std::io::Write as _;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, Timespec};
use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use super::life::{Act, Ending, Fault, Init as InitAct, Kind, StreamEnd};
use super::peers::{Child, Upload, sockets};
use super::platform::{Reply, event_body, index_of, is_http, parts, status};
use super::{EXCHANGES_MAX, Line, Running, State, TOO_MUCH, Until, World};
use crate::runtime::current::Thread;
use crate::runtime::handler::{Handler, Init};
use crate::runtime::hooks::{SnapStart, snap_start};
use crate::runtime::{
    Answer, Answered, Context, Error, ExecutableInit, Prelude, executable, panic,
};
use crate::shared::env::Env;
use crate::shared::http::{Exchange, HttpError};
use crate::shared::os;
use crate::shared::os::blocking::ExchangeError;
use crate::shared::os::reexec::{After, Change, OnPanic, Panic};
use crate::shared::os::simulation::{End, System};
use crate::shared::time::EpochMs;

/// A process of a world.
pub(super) struct Process {
    world: Arc<World>,
    number: usize,
}

/// The program that it runs.
pub(super) enum Program {
    Plain(Function),
    Restored(SnapStart<Function>),
    Executable(ExecutableInit),
}

/// An init step that does what the life says.
pub(super) struct Function(Rc<Process>);

/// A handler that does what the life says.
pub(super) struct Acts(Rc<Process>);

impl Program {
    pub(super) fn new(process: &Rc<Process>) -> Self {
        let function = Function(Rc::clone(process));
        let (kind, is_restored) = {
            let life = &process.world.lock().platform.life;
            (life.kind, life.is_restored)
        };
        if kind != Kind::Function {
            Self::Executable(executable())
        } else if is_restored {
            let hook = || Ok::<(), Error>(());
            Self::Restored(snap_start(function).before(hook).after(hook))
        } else {
            Self::Plain(function)
        }
    }
}

impl Init for Function {
    type Handler = Acts;

    fn init(self, _: &Env) -> Result<Acts, Error> {
        let failed = {
            let mut state = self.0.world.lock();
            let inits = &mut state.platform.life.failed_inits;
            (!inits.is_empty()).then(|| inits.remove(0))
        };
        match failed {
            None => {}
            Some(InitAct::Fails) => return Err(Error::new("Chosen", "the init fails")),
            Some(InitAct::Panics) => self.0.panics(true),
            Some(InitAct::Exits) => os::exit(9),
        }
        Ok(Acts(self.0))
    }
}

impl Handler for Acts {
    fn handle(&mut self, event: &[u8], context: &Context<'_>, answer: Answer<'_>) -> Answered {
        let process = &self.0;
        let index = index_of(context.request_id());
        let act = {
            let mut state = process.world.lock();
            state.note(|| format!("handles {}", context.request_id()));
            let expected = event_body(&state.platform.life, index);
            assert_eq!(
                event,
                expected.as_bytes(),
                "the event of another invocation"
            );
            let own = &state.processes[process.number];
            assert_eq!(own.holds, Some(index));
            assert!(!own.is_doomed, "the handler runs after a panic");
            state.platform.calls[index].handled += 1;
            state.platform.life.invocations[index].act
        };
        match act {
            Act::Responds => answer.bytes(event),
            Act::Fails => answer.error(Error::new("Chosen", context.request_id().to_owned())),
            Act::RespondsTooMuch => answer.bytes(&TOO_MUCH),
            Act::Panics => {
                process.panics(true);
                unreachable!("the process is replaced")
            }
            Act::IsPanickedOn => {
                process.panics(false);
                unreachable!("the process is replaced")
            }
            Act::Sleeps(ms) => {
                os::sleep(Duration::from_millis(ms));
                answer.bytes(event)
            }
            Act::Exits(code) => os::exit(code),
            Act::IsKilled => End::Killed(9).take(),
            Act::Streams { pause_ms, end, .. } => self.streams(index, pause_ms, end, answer),
        }
    }
}

impl Acts {
    fn streams(&self, index: usize, pause_ms: u64, end: StreamEnd, answer: Answer<'_>) -> Answered {
        let parts = parts(&self.0.world.lock().platform.life, index);
        let mut stream = if is_http(index) {
            answer.http_stream(&Prelude::new(200))
        } else {
            answer.stream("text/plain")
        };
        for part in &parts {
            os::sleep(Duration::from_millis(pause_ms));
            if let Err(error) = stream
                .write_all(part.as_bytes())
                .and_then(|()| stream.flush())
            {
                return stream.error(error);
            }
        }
        match end {
            StreamEnd::Finishes => stream.finish(),
            StreamEnd::Fails => stream.error(Error::new("Chosen", super::platform::id(index))),
            StreamEnd::Drops => {
                drop(stream);
                os::exit(7)
            }
            StreamEnd::Panics => {
                self.0.panics(true);
                unreachable!("the process is replaced")
            }
            StreamEnd::IsPanickedOn => {
                self.0.panics(false);
                // The API had answered, or was lost: nothing is broken by it.
                stream.finish()
            }
        }
    }
}

impl Process {
    pub(super) const fn new(world: Arc<World>, number: usize) -> Self {
        Self { world, number }
    }

    /// A thread panics: the thread of the loop, or another one. It returns if the loop goes on.
    fn panics(&self, in_loop: bool) {
        let act = {
            let mut state = self.world.lock();
            state.note(|| format!("panics, in the loop: {in_loop}"));
            let process = &mut state.processes[self.number];
            // Other threads wait while one panics, and a supervisor has none.
            let Some(act) = process.on_panic.filter(|_| !process.is_in_hook) else {
                return;
            };
            process.is_in_hook = true;
            act
        };
        let thread = if in_loop { Thread::Loop } else { Thread::Other };
        panic::THREAD.set(thread);
        let after = act(&Panic {
            message: "a panic",
            place: "src/lib.rs:1:1".to_owned(),
        });
        panic::THREAD.set(Thread::Loop);
        self.world.lock().processes[self.number].is_in_hook = false;
        match after {
            After::Wait if in_loop => self.stop(),
            After::Wait => self.world.lock().processes[self.number].is_doomed = true,
            After::Exit(code) => os::exit(code),
            After::Return => End::Killed(6).take(),
        }
    }

    fn random(&self, end: usize) -> usize {
        let random = self.world.lock().random.random();
        usize::try_from(random % end as u64).unwrap()
    }

    /// Lets another process run, or not.
    fn perhaps_wait(&self) {
        if self.number != 0 || 1 < self.world.lock().processes.len() {
            drop(self.world.wait(self.world.lock(), self.number, Until::Now));
        }
    }

    /// The faults that an exchange meets, which answers this invocation if it answers one.
    fn meet(&self, line: &str, answers: Option<usize>) -> Vec<Fault> {
        let mut state = self.world.lock();
        let (number, faults) = state.platform.meet();
        if EXCHANGES_MAX < number {
            state.violates("exchanges without end");
            drop(state);
            End::Killed(9).take();
        }
        let is_sent = !faults.iter().any(|fault| {
            let before = matches!(fault, Fault::Refused | Fault::Closed | Fault::Kill);
            before || *fault == Fault::RequestCut(0)
        });
        if let Some(index) = answers.filter(|_| is_sent) {
            state.platform.calls[index].attempts += 1;
        }
        state.note(|| format!("exchange {number}: {line} {faults:?}"));
        faults
    }

    /// Opens a connection, unless there is one.
    fn connect(&self) {
        let mut state = self.world.lock();
        if !mem::replace(&mut state.processes[self.number].is_connected, true) {
            state.connections += 1;
        }
    }

    /// Writes the request, in pieces. `None` if it did not arrive.
    fn write(&self, exchange: &mut Exchange<'_>, faults: &[Fault]) -> Option<String> {
        let mut request = Vec::new();
        let mut left = usize::MAX;
        for fault in faults {
            match fault {
                Fault::Closed => left = 0,
                Fault::RequestCut(at) => left = *at,
                _ => {}
            }
        }
        let step = [usize::MAX, usize::MAX, 1_000, 100][self.random(4)];
        while let Some(slices) = exchange.pending() {
            let bytes = slices.concat();
            let count = bytes.len().min(step).min(left - request.len().min(left));
            if count == 0 {
                exchange.write_failed();
                return None;
            }
            request.extend_from_slice(&bytes[..count]);
            exchange.wrote(count);
        }
        Some(String::from_utf8(request).unwrap())
    }

    /// Lets the platform act on the request, and returns its response; empty if it closes the
    /// connection.
    fn response(&self, request: Option<String>, faults: &[Fault]) -> String {
        let is_next = |request: &str| request.starts_with("GET") && request.contains("invocation");
        for fault in faults {
            match fault {
                Fault::Status(code) => return status(*code),
                Fault::Garbage => return "nonsense\r\n\r\n".to_owned(),
                Fault::NoIdentity if request.as_deref().is_some_and(is_next) => return status(200),
                _ => {}
            }
        }
        let Some(request) = request else {
            return String::new();
        };
        loop {
            let mut state = self.world.lock();
            match state.platform.serve(&request, self.number) {
                Reply::Response(response) => {
                    let is_event = is_next(&request) && response.starts_with("HTTP/1.1 200");
                    let is_too_large = faults.contains(&Fault::TooLarge);
                    return if is_event && is_too_large {
                        response.replace("Content-Length: ", "Content-Length: 1000000")
                    } else {
                        response
                    };
                }
                Reply::Wait => drop(self.world.wait(state, self.number, Until::Event)),
                Reply::Over(Ending::Killed | Ending::Gone) => {
                    drop(state);
                    End::Killed(9).take()
                }
                Reply::Over(Ending::Term) if state.platform.life.workers == 0 => {
                    drop(state);
                    End::Killed(15).take()
                }
                // The supervisor was asked to end, and ends this worker.
                Reply::Over(Ending::Term) => {
                    drop(self.world.wait(state, self.number, Until::Never));
                }
            }
        }
    }

    /// Reads the response, in pieces.
    fn read(&self, exchange: &mut Exchange<'_>, response: &str) -> Result<(), ExchangeError> {
        let step = [usize::MAX, usize::MAX, 1_000, 7][self.random(4)];
        let mut rest = response.as_bytes();
        while !exchange.is_done() {
            let space = exchange.space().map_err(ExchangeError::Http)?;
            let count = rest.len().min(space.capacity() - space.len()).min(step);
            space.extend_from_slice(&rest[..count]);
            rest = &rest[count..];
            exchange.read(count).map_err(ExchangeError::Http)?;
        }
        Ok(())
    }

    /// The faults that are not of the connection.
    fn suffer(&self, faults: &[Fault]) -> Result<(), Errno> {
        for fault in faults {
            match fault {
                Fault::Kill => End::Killed(9).take(),
                Fault::PanicBefore => self.panics(false),
                Fault::Clock(ms) => self.world.lock().platform.ahead_ms += ms,
                Fault::Refused => return Err(Errno::CONNREFUSED),
                _ => {}
            }
        }
        Ok(())
    }

    /// Waits for a response that comes late.
    fn wait_for_response(
        &self,
        timeout: Option<Duration>,
        faults: &[Fault],
    ) -> Result<(), ExchangeError> {
        let slow = faults.iter().find_map(|fault| match fault {
            Fault::Slow(ms) => Some(Duration::from_millis(*ms)),
            _ => None,
        });
        let Some(length) = slow else {
            return Ok(());
        };
        let bound = timeout.unwrap_or(Duration::MAX);
        self.sleep(length.min(bound));
        if bound < length {
            return Err(ExchangeError::Io(Errno::AGAIN));
        }
        Ok(())
    }

    /// Takes note of the event that a response is.
    fn received(&self, response: &str, is_whole: bool) {
        let head = "Lambda-Runtime-Aws-Request-Id: ";
        let Some((_, rest)) = response.split_once(head) else {
            return;
        };
        let (id, _) = rest.split_once('\r').unwrap();
        let index = index_of(id);
        let mut state = self.world.lock();
        if is_whole {
            state.platform.calls[index].arrived += 1;
            state.processes[self.number].holds = Some(index);
        } else {
            state.platform.lost(index);
        }
    }
}

impl System for Process {
    fn now(&self) -> EpochMs {
        self.perhaps_wait();
        self.world.lock().platform.now()
    }

    fn monotonic(&self) -> Instant {
        let passed_ms = self.world.lock().platform.passed_ms;
        self.world.began + Duration::from_millis(passed_ms)
    }

    fn sleep(&self, length: Duration) {
        let state = self.world.lock();
        let length_ms = u64::try_from(length.as_millis()).unwrap_or(u64::MAX / 2);
        let until = Until::At(state.platform.passed_ms + length_ms);
        drop(self.world.wait(state, self.number, until));
    }

    fn variable(&self, name: &str) -> Option<OsString> {
        let state = self.world.lock();
        let mut variables = state.processes[self.number].variables.iter();
        let (_, value) = variables.find(|(known, _)| known == name)?;
        Some(value.clone())
    }

    fn exchange(
        &self,
        timeout: Option<Duration>,
        exchange: &mut Exchange<'_>,
    ) -> Result<(), ExchangeError> {
        self.perhaps_wait();
        let head = exchange.pending().unwrap().concat();
        let is_next = head.starts_with(b"GET");
        if is_next {
            let process = &mut self.world.lock().processes[self.number];
            (process.holds, process.has_polled) = (None, true);
        }
        let line = head.split(|byte| *byte == b'\r').next().unwrap();
        let faults = self.meet(&String::from_utf8_lossy(line), answered(&head));
        self.suffer(&faults).map_err(ExchangeError::Connect)?;
        self.connect();
        let request = self.write(exchange, &faults);
        self.perhaps_wait();
        self.wait_for_response(timeout, &faults)?;
        let response = self.response(request, &faults);
        if !is_next && faults.contains(&Fault::KillAfter) {
            End::Killed(9).take();
        }
        let cut = faults.iter().find_map(|fault| match fault {
            Fault::ResponseCut(at) => Some(*at),
            _ => None,
        });
        let arrives = response.get(..cut.unwrap_or(usize::MAX));
        let (arrives, is_whole) = arrives.map_or((&*response, true), |part| (part, false));
        let is_whole = is_whole || arrives.len() == response.len();
        let read = self.read(exchange, arrives);
        let is_received = match &read {
            Ok(()) => is_whole,
            Err(ExchangeError::Http(HttpError::BodyTooLarge { .. })) => true,
            Err(_) => false,
        };
        self.received(&response, is_received);
        let has_event = {
            let state = self.world.lock();
            is_next && state.processes[self.number].holds.is_some()
        };
        let always = has_event && self.world.lock().platform.life.always_panics;
        if always || faults.contains(&Fault::PanicAfter) {
            self.panics(false);
        }
        self.perhaps_wait();
        read
    }

    fn close(&self) {
        self.world.lock().processes[self.number].is_connected = false;
    }

    fn connect(&self, to: SocketAddr) -> Result<OwnedFd, Errno> {
        self.perhaps_wait();
        let holds = {
            let mut state = self.world.lock();
            let now_ms = state.platform.passed_ms;
            if to.port() != API_PORT {
                let processes = state.processes.iter_mut();
                let mut children = processes.flat_map(|process| &mut process.children);
                let accepted = children.find_map(|child| child.accept(now_ms));
                return accepted.ok_or(Errno::CONNREFUSED);
            }
            state.processes[self.number].holds
        };
        let faults = self.meet("a stream", None);
        self.suffer(&faults)?;
        let (near, far) = sockets();
        let mut state = self.world.lock();
        state.connections += 1;
        let upload = Upload::new(far, faults, state.platform.passed_ms);
        if !upload.faults.contains(&Fault::Closed) {
            if let Some(index) = holds {
                state.platform.calls[index].attempts += 1;
            }
            state.processes[self.number].uploads.push(upload);
        }
        Ok(near)
    }

    fn poll(&self, fds: &mut [PollFd<'_>], left: Option<Duration>) -> Result<usize, Errno> {
        self.perhaps_wait();
        let left_ms = left.and_then(|left| u64::try_from(left.as_nanos().div_ceil(1_000_000)).ok());
        let until = left_ms.map(|left_ms| self.world.lock().platform.passed_ms + left_ms);
        loop {
            let (moves, passed_ms, late) = {
                let mut state = self.world.lock();
                state.pump();
                let mut uploads = state.processes[self.number].uploads.iter_mut();
                let late = uploads.find_map(Upload::take_late_fault);
                (state.moves, state.platform.passed_ms, late)
            };
            match late {
                Some(Fault::PanicAfter) => self.panics(false),
                Some(_) => End::Killed(9).take(),
                None => {}
            }
            let count = rustix::event::poll(fds, Some(&Timespec::default()))?;
            if 0 < count || until.is_some_and(|until| until <= passed_ms) {
                return Ok(count);
            }
            let until = Until::Moved(moves, until);
            drop(self.world.wait(self.world.lock(), self.number, until));
        }
    }

    fn spawn(&self, changes: &[Change<'_>]) -> (Pid, [OwnedFd; 4]) {
        self.perhaps_wait();
        let step = [usize::MAX, usize::MAX, 1_000, 7][self.random(4)];
        let mut changes = changes.iter();
        let of = changes.find_map(|(name, id)| id.filter(|_| *name == REQUEST_ID));
        let mut state = self.world.lock();
        state.children += 1;
        let id = CHILD + state.children;
        let State {
            platform,
            processes,
            ..
        } = &mut *state;
        let children = &mut processes[self.number].children;
        let is_second = platform.life.kind != Kind::OneShot
            && children.iter().any(|child| child.status.is_none());
        let (child, ends) = Child::start(id, of, platform, step);
        children.push(child);
        state.note(|| format!("starts a handler, {id}"));
        if is_second {
            state.violates("two handlers at once");
        }
        (Pid::from_raw(id).unwrap(), ends)
    }

    fn status(&self, child: Pid) -> Option<ExitStatus> {
        let mut state = self.world.lock();
        let exchanges = state.platform.exchanges;
        let is_streamed = state.platform.life.is_streamed;
        let child = state.child(child.as_raw_nonzero().get())?;
        let status = child.status?;
        // The kernel may take long to free what a process has.
        let is_early = child.killed_at == Some(exchanges);
        if is_early && child.kind == Kind::OneShot && !is_streamed {
            state.violates("the end of a killed handler is waited for before the answer");
        }
        Some(ExitStatus::from_raw(status))
    }

    fn kill_children(&self) {
        let mut state = self.world.lock();
        let children = &mut state.processes[self.number].children;
        children.iter_mut().for_each(|child| child.end(9));
    }

    fn log(&self, line: &[u8]) {
        let mut state = self.world.lock();
        let text = String::from_utf8(line.to_vec()).unwrap();
        state.note(|| format!("log: {}", text.trim_end()));
        let holds = state.processes[self.number].holds;
        let posts = |index: usize| (index, state.platform.calls[index].posts);
        let invocation = holds.map(posts);
        let has_polled = state.processes[self.number].has_polled;
        let is_of_no_loop = !has_polled && state.platform.life.workers != 0;
        state.log.push(Line {
            text,
            is_of_no_loop,
            invocation,
        });
    }

    fn on_panic(&self, act: OnPanic) {
        self.world.lock().processes[self.number].on_panic = Some(act);
    }

    fn start(&self, variables: Vec<(OsString, OsString)>) -> Pid {
        let mut state = self.world.lock();
        let inherited = state.processes[self.number].variables.clone();
        let mark = variables
            .into_iter()
            .filter(|(name, _)| name == "_BANTAM_WORKER");
        let number = state.processes.len();
        let variables = inherited.into_iter().chain(mark).collect();
        state.processes.push(Running::new(variables));
        state.note(|| format!("starts process {number}"));
        let world = Arc::clone(&self.world);
        let thread = std::thread::spawn(move || {
            World::begin(&world, number);
        });
        state.threads.push(thread);
        pid(number)
    }

    fn kill(&self, process: Pid, signal: Signal) {
        let mut state = self.world.lock();
        let exchanges = state.platform.exchanges;
        if let Some(child) = state.child(process.as_raw_nonzero().get()) {
            if child.status.is_none() {
                child.killed_at = Some(exchanges);
            }
            return child.end(signal.as_raw());
        }
        let number = number(process);
        state.note(|| format!("sends {signal:?} to process {number}"));
        state.processes[number]
            .killed_by
            .get_or_insert(signal.as_raw());
    }

    fn stop(&self) -> ! {
        loop {
            drop(
                self.world
                    .wait(self.world.lock(), self.number, Until::Never),
            );
        }
    }

    fn ended(&self) -> Option<(Pid, ExitStatus)> {
        let mut state = self.world.lock();
        let children = state.processes.iter_mut().enumerate().skip(1);
        let mut ended = { children }.filter(|(_, child)| !child.is_reaped);
        let (number, child) = ended.find(|(_, child)| child.status.is_some())?;
        child.is_reaped = true;
        Some((pid(number), ExitStatus::from_raw(child.status?)))
    }

    fn wait(&self, timeout: Duration) -> bool {
        let state = self.world.lock();
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap();
        let until = Until::Child(state.platform.passed_ms + timeout_ms);
        let mut state = self.world.wait(state, self.number, until);
        mem::take(&mut state.processes[self.number].is_asked)
    }
}

impl World {
    /// A worker begins when it is its turn.
    fn begin(self: &Arc<Self>, number: usize) {
        let is_other = |state: &mut State| state.turn != number;
        let state = self.turn.wait_while(self.lock(), is_other);
        drop(state);
        self.run(number);
    }
}

/// Ids of handlers are above it.
const CHILD: i32 = 1_000_000;

/// The port of the API, which no handler listens on.
const API_PORT: u16 = 9_001;

const REQUEST_ID: &str = "LAMBDA_RUNTIME_AWS_REQUEST_ID";

/// The invocation that a request answers.
fn answered(head: &[u8]) -> Option<usize> {
    let head = String::from_utf8_lossy(head);
    let (_, rest) = head.split_once("/invocation/id-")?;
    let (number, _) = rest.split_once('/')?;
    number.parse().ok()
}

fn pid(number: usize) -> Pid {
    Pid::from_raw(i32::try_from(1_000 + number).unwrap()).unwrap()
}

fn number(process: Pid) -> usize {
    usize::try_from(process.as_raw_nonzero().get() - 1_000).unwrap()
}

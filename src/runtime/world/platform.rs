//! The platform of a world: the Runtime API, and what it knows of each invocation.

use std::collections::BTreeMap;

use super::life::{Act, Ending, Fault, Kind, Life};
use crate::shared::base64;
use crate::shared::time::EpochMs;

/// When a life begins by the wall clock.
pub(super) const START: EpochMs = EpochMs(1_700_000_000_000);

/// How long after a deadline the platform waits for the answer of a supervisor.
pub(super) const PATIENCE_MS: u64 = 3_000;

/// What became of an invocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Response(String),
    /// The type and the message of the error.
    Error(String, String),
    /// The platform's own: the deadline has passed.
    TimedOut,
    /// The platform's own: the process that served it has ended.
    Exited,
    /// The connection that the event was sent on was lost.
    Lost,
    /// The connection that the response was streamed on was closed before its end.
    Cut,
}

/// An invocation, as the platform knows it.
#[derive(Clone, Debug, Default)]
pub(super) struct Call {
    /// How often its event was sent, and how often it arrived.
    pub(super) sent: usize,
    pub(super) arrived: usize,
    /// How often the handler was called with it.
    pub(super) handled: usize,
    /// Answers to it of which a byte may have been sent.
    pub(super) attempts: usize,
    /// Answers to it that reached the platform.
    pub(super) posts: usize,
    pub(super) outcome: Option<Outcome>,
    /// When it got that.
    pub(super) ended_ms: u64,
    /// When it has to end.
    deadline_ms: u64,
    /// The process that its event was sent to.
    process: usize,
}

pub(super) struct Platform {
    pub(super) life: Life,
    pub(super) calls: Vec<Call>,
    /// The time by the monotonic clock, and what the wall clock is ahead of it.
    pub(super) passed_ms: u64,
    pub(super) ahead_ms: i64,
    /// Exchanges so far, and the requests among them that arrived.
    pub(super) exchanges: usize,
    pub(super) requests: usize,
    /// Until which exchange no connection is taken.
    gone_until: usize,
    /// Invocations that were given out.
    given: usize,
    /// The invocations that run.
    running: Vec<usize>,
    /// Answers to an invocation that did not run.
    pub(super) strays: usize,
    pub(super) init_errors: usize,
    pub(super) restores: usize,
    /// SIGTERM was sent.
    pub(super) has_asked: bool,
    arrivals_ms: Vec<u64>,
}

/// What `next` leads to.
pub(super) enum Next {
    Event(usize),
    Wait,
    /// There are no more events.
    Over(Ending),
}

/// The reply to a request.
pub(super) enum Reply {
    Response(String),
    /// There is an event later.
    Wait,
    Over(Ending),
}

impl Platform {
    pub(super) fn new(life: Life) -> Self {
        let mut arrival = 0;
        let idle = life.invocations.iter().map(|invocation| {
            arrival += invocation.idle_ms.1 % 500;
            arrival
        });
        Self {
            calls: vec![Call::default(); life.invocations.len()],
            arrivals_ms: idle.collect(),
            life,
            passed_ms: 0,
            ahead_ms: 0,
            exchanges: 0,
            requests: 0,
            gone_until: 0,
            given: 0,
            running: Vec::new(),
            strays: 0,
            init_errors: 0,
            restores: 0,
            has_asked: false,
        }
    }

    const fn has_workers(&self) -> bool {
        self.life.workers != 0
    }

    pub(super) fn now(&self) -> EpochMs {
        EpochMs((START.0 + self.passed_ms).saturating_add_signed(self.ahead_ms))
    }

    /// The faults that the next exchange meets.
    pub(super) fn meet(&mut self) -> (usize, Vec<Fault>) {
        let number = self.exchanges;
        self.exchanges += 1;
        let here = self.life.faults.iter().filter(|(at, _)| *at == number);
        let mut faults: Vec<Fault> = here.map(|(_, fault)| *fault).collect();
        for fault in &faults {
            if let Fault::Gone(count) = fault {
                self.gone_until = number + count;
            }
        }
        if number < self.gone_until {
            faults.push(Fault::Refused);
        }
        (number, faults)
    }

    pub(super) fn timeout_ms(&self, index: usize) -> u64 {
        let timeout_ms = self.life.invocations[index].timeout_ms;
        // A supervisor looks ten times a second.
        if self.has_workers() {
            timeout_ms.min(3_000)
        } else {
            timeout_ms
        }
    }

    /// Whether every invocation has its outcome.
    pub(super) fn is_done(&self) -> bool {
        self.calls.iter().all(|call| call.outcome.is_some())
    }

    pub(super) fn next(&mut self, process: usize) -> Next {
        let has_workers = self.has_workers();
        if let (false, Some(index)) = (has_workers, self.running.first()) {
            return Next::Event(*index);
        }
        if has_workers && self.would_wait() {
            return Next::Wait;
        }
        let Some(invocation) = self.life.invocations.get(self.given) else {
            return Next::Over(self.life.ending);
        };
        if !has_workers {
            let (wall_ms, monotonic_ms) = invocation.idle_ms;
            self.passed_ms += monotonic_ms;
            self.ahead_ms += wall_ms - monotonic_ms.cast_signed();
        }
        let index = self.given;
        self.given += 1;
        self.running.push(index);
        let deadline_ms = self.passed_ms + self.timeout_ms(index);
        let call = &mut self.calls[index];
        (call.deadline_ms, call.process) = (deadline_ms, process);
        Next::Event(index)
    }

    /// Whether a worker that asks for an event has to wait.
    pub(super) fn would_wait(&self) -> bool {
        match self.arrivals_ms.get(self.given) {
            Some(arrival_ms) => self.passed_ms < *arrival_ms,
            None => !self.is_done(),
        }
    }

    /// Acts on a request.
    pub(super) fn serve(&mut self, request: &str, process: usize) -> Reply {
        self.requests += 1;
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        let mut words = head.split(' ');
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let path = path.strip_prefix("/2018-06-01/runtime/").unwrap();
        let reply = match (method, path) {
            ("GET", "invocation/next") => match self.next(process) {
                Next::Event(index) => self.event(index),
                Next::Wait => return Reply::Wait,
                Next::Over(Ending::Gone) => status(410),
                Next::Over(ending) => return Reply::Over(ending),
            },
            ("GET", "restore/next") => {
                self.restores += 1;
                self.ahead_ms += 1_000_000_000;
                status(200)
            }
            ("POST", "init/error") => {
                self.init_errors += 1;
                status(202)
            }
            ("POST", path) => {
                let path = path.strip_prefix("invocation/").unwrap();
                let (id, call) = path.split_once('/').unwrap();
                self.answer(head, id, call, body)
            }
            other => panic!("{other:?}"),
        };
        Reply::Response(reply)
    }

    fn event(&mut self, index: usize) -> String {
        let call = &mut self.calls[index];
        call.sent += 1;
        let left_ms = call.deadline_ms - self.passed_ms.min(call.deadline_ms);
        let deadline_ms = self.now().0 + left_ms;
        let body = event_body(&self.life, index);
        let (id, length) = (id(index), body.len());
        format!(
            "HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: {id}\r\n\
             Lambda-Runtime-Invocation-Id: {id}-nonce\r\n\
             Lambda-Runtime-Deadline-Ms: {deadline_ms}\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        )
    }

    fn answer(&mut self, head: &str, of: &str, call: &str, body: &str) -> String {
        let outcome = || match call {
            "response" => Outcome::Response(body.to_owned()),
            "error" => error(head, body),
            other => panic!("{other}"),
        };
        self.take(head, of, outcome)
    }

    /// Takes a response that was streamed, with its trailers.
    pub(super) fn streamed(
        &mut self,
        head: &str,
        of: &str,
        body: Vec<u8>,
        trailers: &str,
    ) -> String {
        let has_failed = trailers.contains(ERROR_TYPE);
        let outcome = || {
            if !has_failed {
                return Outcome::Response(String::from_utf8(body).unwrap());
            }
            let (_, document) = trailers
                .split_once("Lambda-Runtime-Function-Error-Body: ")
                .unwrap();
            let (document, _) = document.split_once('\r').unwrap();
            let document = base64::decode(document.as_bytes()).unwrap();
            error(trailers, std::str::from_utf8(&document).unwrap())
        };
        self.take(head, of, outcome)
    }

    /// Takes the outcome of an invocation that runs.
    fn take(&mut self, head: &str, of: &str, outcome: impl FnOnce() -> Outcome) -> String {
        let index = index_of(of);
        self.calls[index].posts += 1;
        if !self.is_running(index) {
            self.strays += 1;
            return status(400);
        }
        let nonce = format!("Lambda-Runtime-Invocation-Id: {of}-nonce");
        assert!(head.contains(&nonce), "{head}");
        self.settle(index, outcome());
        status(202)
    }

    pub(super) fn is_running(&self, index: usize) -> bool {
        self.running.contains(&index)
    }

    /// The connection that a response was streamed on was closed before its end.
    pub(super) fn cut(&mut self, index: usize) {
        if self.is_running(index) {
            self.settle(index, Outcome::Cut);
        }
    }

    /// An event that was sent to a worker did not arrive.
    pub(super) fn lost(&mut self, index: usize) {
        if self.has_workers() && self.running.contains(&index) {
            self.settle(index, Outcome::Lost);
        }
    }

    /// A process has ended, or all have.
    pub(super) fn ended(&mut self, process: Option<usize>) {
        // The supervisor of workers answers for them.
        if self.has_workers() && process.is_some() {
            return;
        }
        for index in self.running.clone() {
            self.settle(index, Outcome::Exited);
        }
    }

    fn settle(&mut self, index: usize, outcome: Outcome) {
        self.running.retain(|running| *running != index);
        let call = &mut self.calls[index];
        assert_eq!(call.outcome, None, "a second outcome");
        (call.outcome, call.ended_ms) = (Some(outcome), self.passed_ms);
    }

    /// When something happens by itself next.
    pub(super) fn due_ms(&self) -> Option<u64> {
        let patience_ms = if self.has_workers() { PATIENCE_MS } else { 0 };
        let running = self.running.iter();
        let ends = running.map(|index| self.calls[*index].deadline_ms + patience_ms);
        let arrival = self.arrivals_ms.get(self.given).copied();
        let arrival = arrival.filter(|at| self.has_workers() && self.passed_ms < *at);
        ends.chain(arrival).min()
    }

    /// Ends invocations whose time is over. True if there was one, and the platform kills its
    /// process.
    pub(super) fn time_out(&mut self) -> bool {
        let has_workers = self.has_workers();
        let patience_ms = if has_workers { PATIENCE_MS } else { 0 };
        let mut has_ended = false;
        for index in self.running.clone() {
            if self.calls[index].deadline_ms + patience_ms <= self.passed_ms {
                self.settle(index, Outcome::TimedOut);
                has_ended = true;
            }
        }
        has_ended && !has_workers
    }
}

pub(super) fn id(index: usize) -> String {
    format!("id-{index}")
}

pub(super) fn index_of(id: &str) -> usize {
    id.strip_prefix("id-").unwrap().parse().unwrap()
}

/// The error in a document, whose type is in a header or a trailer.
fn error(fields: &str, document: &str) -> Outcome {
    let document: BTreeMap<String, serde_json::Value> = serde_json::from_str(document).unwrap();
    let message = document["errorMessage"].as_str().unwrap();
    let (_, rest) = fields.split_once(ERROR_TYPE).unwrap();
    let (error_type, _) = rest.split_once('\r').unwrap();
    Outcome::Error(error_type.to_owned(), message.to_owned())
}

const ERROR_TYPE: &str = "Lambda-Runtime-Function-Error-Type: ";

/// The response that is expected of an invocation.
pub(super) fn response_body(life: &Life, index: usize) -> String {
    let parts = parts(life, index).concat();
    let is_http = life.kind == Kind::Function && is_http(index);
    match life.invocations[index].act {
        Act::Streams { .. } if is_http => format!("{PRELUDE}{}{parts}", "\0".repeat(8)),
        // It is not JSON.
        Act::Streams { .. } if life.kind == Kind::Server && !life.is_streamed => "null".to_owned(),
        Act::Streams { .. } => parts,
        _ => event_body(life, index),
    }
}

/// Whether a function streams the response to an HTTP request.
pub(super) const fn is_http(index: usize) -> bool {
    index % 2 == 1
}

const PRELUDE: &str = r#"{"statusCode":200,"headers":{},"cookies":[]}"#;

/// The parts that are streamed.
pub(super) fn parts(life: &Life, index: usize) -> Vec<String> {
    let Act::Streams { parts, bytes, .. } = life.invocations[index].act else {
        return Vec::new();
    };
    let filling = "y".repeat(bytes);
    let part = |number| format!("part {number} of {} {filling};", id(index));
    (0..parts).map(part).collect()
}

pub(super) fn event_body(life: &Life, index: usize) -> String {
    let filling = "x".repeat(life.invocations[index].event_bytes);
    format!("\"event of {} {filling}\"", id(index))
}

pub(super) fn status(status: u16) -> String {
    format!("HTTP/1.1 {status} \r\nContent-Length: 2\r\n\r\n{{}}")
}

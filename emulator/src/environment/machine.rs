//! The states of a runtime and the transitions the Runtime API allows.
//!
//! No I/O and no clock: requests come in as method calls, verdicts go out. State names and the
//! table of transitions are those of aws-lambda-runtime-interface-emulator.
//!
//! ```text
//! Started ──next──► Ready ──event──► Running ──response──► InvocationResponse ─────┐
//!    │                ▲                 │  └────error────► InvocationErrorResponse ┤
//!    └─init/error─► InitError           └─next─► (same event again)                │
//!                     └──────────────next────────────── ResponseSent ◄─────────────┘
//!
//! Started ──restore/next──► RestoreReady ──restore──► Restoring ──next──► Ready
//!                                                         └─restore/error─► RestoreError
//! ```

use std::error::Error;
use std::fmt;

use crate::record::outcome::State;

/// One runtime's state and the invocation it has.
#[derive(Debug)]
pub(crate) struct Machine {
    state: State,
    /// The invocation it was given last; cleared when it asks for the next event.
    current: Option<Current>,
}

/// The ids of an invocation on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Current {
    /// `Lambda-Runtime-Aws-Request-Id`. A retry of an event has the same one.
    pub(crate) request_id: String,
    /// `Lambda-Runtime-Invocation-Id`, different for every attempt.
    pub(crate) nonce: String,
}

/// The effect of a permitted `next`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// The first one: the init phase is over. Wait for an event.
    First,
    /// Wait for an event.
    Wait,
    /// The invocation in flight is rendered once more.
    Again,
}

/// The two ways to answer an invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AnswerKind {
    Response,
    Error,
}

/// The reason of a refused request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// 403.
    InvalidStateTransition { from: State, to: &'static str },
    /// 400.
    InvalidRequestId,
    /// 410.
    InvokeTimeout,
}

impl Machine {
    pub(crate) fn new() -> Self {
        Self {
            state: State::Down,
            current: None,
        }
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// A process was started, or a runtime may attach.
    pub(crate) fn start(&mut self) {
        *self = Self {
            state: State::Started,
            current: None,
        };
    }

    /// The process is gone.
    pub(crate) fn stop(&mut self) {
        *self = Self::new();
    }

    /// Whether it has an invocation that is not answered to its end.
    pub(crate) fn has_invocation(&self) -> bool {
        matches!(
            self.state,
            State::Running | State::InvocationResponse | State::InvocationErrorResponse
        )
    }

    /// `GET /runtime/invocation/next` of a worker on Managed Instances. True if it is the first:
    /// the init phase is over, also if another worker has reported an init error.
    pub(crate) fn first_worker(&mut self) -> bool {
        let is_first = matches!(self.state, State::Started | State::InitError);
        if is_first {
            self.state = State::Ready;
        }
        is_first
    }

    /// `GET /runtime/invocation/next`.
    pub(crate) fn next(&mut self) -> Result<Next, Refusal> {
        let next = match self.state {
            State::Started | State::Restoring => Next::First,
            State::Ready | State::ResponseSent => Next::Wait,
            State::Running => return Ok(Next::Again),
            State::Down
            | State::InvocationResponse
            | State::InvocationErrorResponse
            | State::InitError
            | State::RestoreReady
            | State::RestoreError => return Err(self.refuse("Ready")),
        };
        self.state = State::Ready;
        self.current = None;
        Ok(next)
    }

    /// An event for a runtime that is ready. False if it is not.
    pub(crate) fn give(&mut self, current: Current) -> bool {
        if self.state != State::Ready {
            return false;
        }
        self.state = State::Running;
        self.current = Some(current);
        true
    }

    /// `POST /runtime/invocation/{id}/response` or `/error`, when its head was read.
    ///
    /// The request id is checked before the state: it is a routing matter for the platform too.
    pub(crate) fn begin_answer(
        &mut self,
        kind: AnswerKind,
        request_id: &str,
        nonce: Option<&str>,
    ) -> Result<Current, Refusal> {
        let Some(current) = self.current.as_ref().filter(|c| c.request_id == request_id) else {
            return Err(Refusal::InvalidRequestId);
        };
        // Runtimes older than the header do not echo it, so only a wrong one is refused.
        if nonce.is_some_and(|nonce| nonce != current.nonce) {
            return Err(Refusal::InvokeTimeout);
        }
        let (state, name) = match kind {
            AnswerKind::Response => (State::InvocationResponse, "InvocationResponse"),
            AnswerKind::Error => (State::InvocationErrorResponse, "InvocationErrorResponse"),
        };
        if self.state != State::Running {
            return Err(self.refuse(name));
        }
        let current = current.clone();
        self.state = state;
        Ok(current)
    }

    /// The answer was read to its end. Refused if the invocation ended meanwhile.
    pub(crate) fn end_answer(&mut self, answered: &Current) -> Result<(), Refusal> {
        let open = matches!(
            self.state,
            State::InvocationResponse | State::InvocationErrorResponse
        );
        if !open || self.current.as_ref() != Some(answered) {
            return Err(Refusal::InvokeTimeout);
        }
        self.state = State::ResponseSent;
        Ok(())
    }

    /// `POST /runtime/init/error`.
    pub(crate) fn init_error(&mut self) -> Result<(), Refusal> {
        if self.state != State::Started {
            return Err(self.refuse("InitError"));
        }
        self.state = State::InitError;
        Ok(())
    }

    /// `GET /runtime/restore/next`.
    pub(crate) fn restore_next(&mut self) -> Result<(), Refusal> {
        if self.state != State::Started {
            // The platform names this state in the message.
            return Err(self.refuse("Ready"));
        }
        self.state = State::RestoreReady;
        Ok(())
    }

    /// The snapshot is restored. False if the runtime does not wait for it.
    pub(crate) fn restore(&mut self) -> bool {
        let waits = self.state == State::RestoreReady;
        if waits {
            self.state = State::Restoring;
        }
        waits
    }

    /// `POST /runtime/restore/error`.
    pub(crate) fn restore_error(&mut self) -> Result<(), Refusal> {
        if self.state != State::Restoring {
            return Err(self.refuse("RestoreError"));
        }
        self.state = State::RestoreError;
        Ok(())
    }

    fn refuse(&self, to: &'static str) -> Refusal {
        Refusal::InvalidStateTransition {
            from: self.state,
            to,
        }
    }
}

impl Refusal {
    /// The HTTP status.
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::InvalidStateTransition { .. } => 403,
            Self::InvalidRequestId => 400,
            Self::InvokeTimeout => 410,
        }
    }

    /// `errorType` of the answer.
    pub(crate) fn error_type(self) -> &'static str {
        match self {
            Self::InvalidStateTransition { .. } => "InvalidStateTransition",
            Self::InvalidRequestId => "InvalidRequestID",
            Self::InvokeTimeout => "InvokeTimeout",
        }
    }
}

/// `errorMessage` of the answer.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidStateTransition { from, to } => write!(
                f,
                "State transition from {} to {to} failed for runtime. \
                 Error: State transition is not allowed",
                name(*from)
            ),
            Self::InvalidRequestId => f.write_str("Invalid request ID"),
            Self::InvokeTimeout => f.write_str("Invoke timeout"),
        }
    }
}

impl Error for Refusal {}

/// The state's name in an error message.
fn name(state: State) -> &'static str {
    match state {
        State::Down => "Down",
        State::Started => "Started",
        State::Ready => "Ready",
        State::Running => "Running",
        State::InvocationResponse => "InvocationResponse",
        State::InvocationErrorResponse => "InvocationErrorResponse",
        State::ResponseSent => "RuntimeResponseSentState",
        State::InitError => "InitError",
        State::RestoreReady => "RestoreReady",
        State::Restoring => "Restoring",
        State::RestoreError => "RestoreError",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Do {
        Next,
        Give,
        Respond,
        Fail,
        Finish,
        InitError,
        RestoreNext,
        Restore,
        RestoreError,
    }

    fn current() -> Current {
        Current {
            request_id: "id".into(),
            nonce: "nonce".into(),
        }
    }

    fn apply(machine: &mut Machine, step: Do) -> Result<(), Refusal> {
        match step {
            Do::Next => machine.next().map(drop),
            Do::Give => {
                assert!(machine.give(current()));
                Ok(())
            }
            Do::Respond => machine
                .begin_answer(AnswerKind::Response, "id", Some("nonce"))
                .map(drop),
            Do::Fail => machine
                .begin_answer(AnswerKind::Error, "id", Some("nonce"))
                .map(drop),
            Do::Finish => machine.end_answer(&current()),
            Do::InitError => machine.init_error(),
            Do::RestoreNext => machine.restore_next(),
            Do::Restore => {
                assert!(machine.restore());
                Ok(())
            }
            Do::RestoreError => machine.restore_error(),
        }
    }

    fn at(path: &[Do]) -> Machine {
        let mut machine = Machine::new();
        machine.start();
        for step in path {
            apply(&mut machine, *step).unwrap();
        }
        machine
    }

    /// Every state by every request: the state after it, or the refusal's status.
    #[test]
    fn every_transition_is_as_the_table_says() {
        use Do::{Fail, Finish, Give, InitError, Next, Respond};
        use Do::{Restore, RestoreError, RestoreNext};
        type Row<'a> = (&'a [Do], [Result<State, u16>; 6]);
        const REQUESTS: [Do; 6] = [Next, Respond, Fail, InitError, RestoreNext, RestoreError];
        const NO: Result<State, u16> = Err(403);
        const NO_ID: Result<State, u16> = Err(400);
        let running = [
            Ok(State::Running),
            Ok(State::InvocationResponse),
            Ok(State::InvocationErrorResponse),
            NO,
            NO,
            NO,
        ];
        let (ready, failed) = (Ok(State::Ready), Ok(State::InitError));
        let restore_ready = Ok(State::RestoreReady);
        let restore_error = Ok(State::RestoreError);
        let table: [Row<'_>; 10] = [
            (&[], [ready, NO_ID, NO_ID, failed, restore_ready, NO]),
            (&[Next], [ready, NO_ID, NO_ID, NO, NO, NO]),
            (&[Next, Give], running),
            (&[Next, Give, Respond], [NO; 6]),
            (&[Next, Give, Fail], [NO; 6]),
            (&[Next, Give, Respond, Finish], [ready, NO, NO, NO, NO, NO]),
            (&[InitError], [NO, NO_ID, NO_ID, NO, NO, NO]),
            (&[RestoreNext], [NO, NO_ID, NO_ID, NO, NO, NO]),
            (
                &[RestoreNext, Restore],
                [ready, NO_ID, NO_ID, NO, NO, restore_error],
            ),
            (
                &[RestoreNext, Restore, RestoreError],
                [NO, NO_ID, NO_ID, NO, NO, NO],
            ),
        ];
        for (path, expected) in table {
            for (request, expected) in REQUESTS.into_iter().zip(expected) {
                let mut machine = at(path);
                let got = apply(&mut machine, request);
                let got = got.map(|()| machine.state()).map_err(Refusal::status);
                assert_eq!(got, expected, "{path:?} then {request:?}");
            }
        }
    }

    #[test]
    fn next_tells_first_wait_and_again_apart() {
        let mut machine = at(&[]);
        assert_eq!(machine.next(), Ok(Next::First));
        assert_eq!(machine.next(), Ok(Next::Wait));
        assert!(machine.give(current()));
        assert_eq!(machine.next(), Ok(Next::Again));
    }

    #[test]
    fn an_event_needs_a_ready_runtime() {
        assert!(!at(&[]).give(current()));
        assert!(!at(&[Do::Next, Do::Give]).give(current()));
    }

    #[test]
    fn an_answer_needs_the_request_id_and_no_wrong_nonce() {
        let running = || at(&[Do::Next, Do::Give]);
        let begin = |id, nonce| running().begin_answer(AnswerKind::Response, id, nonce);
        assert_eq!(begin("id", Some("nonce")), Ok(current()));
        assert_eq!(begin("id", None), Ok(current()));
        assert_eq!(
            begin("other", Some("nonce")),
            Err(Refusal::InvalidRequestId)
        );
        assert_eq!(begin("id", Some("other")), Err(Refusal::InvokeTimeout));
    }

    #[test]
    fn an_answered_id_is_invalid_once_next_was_asked_for() {
        let mut machine = at(&[Do::Next, Do::Give, Do::Respond, Do::Finish, Do::Next]);
        let again = machine.begin_answer(AnswerKind::Response, "id", None);
        assert_eq!(again, Err(Refusal::InvalidRequestId));
    }

    #[test]
    fn an_answer_that_ends_after_its_invocation_is_too_late() {
        let mut machine = at(&[Do::Next, Do::Give, Do::Respond]);
        machine.start();
        assert_eq!(machine.end_answer(&current()), Err(Refusal::InvokeTimeout));
    }

    #[test]
    fn refusals_read_as_the_platform_writes_them() {
        let refusal = at(&[Do::Next]).init_error().unwrap_err();
        assert_eq!(
            (refusal.status(), refusal.error_type(), refusal.to_string()),
            (
                403,
                "InvalidStateTransition",
                "State transition from Ready to InitError failed for runtime. \
                 Error: State transition is not allowed"
                    .to_owned()
            )
        );
        assert_eq!(Refusal::InvalidRequestId.to_string(), "Invalid request ID");
        assert_eq!(Refusal::InvokeTimeout.to_string(), "Invoke timeout");
    }
}

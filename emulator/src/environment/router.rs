//! The polls and the invocations of an environment of Managed Instances, which runs several at
//! once.
//!
//! No process, no socket and no clock. The rules are those of `InvokeRouter` in
//! aws-lambda-runtime-interface-emulator: every `next` waits in one queue, and an invocation takes
//! the oldest. A poll whose connection has ended stays in the queue, because the platform does not
//! look at connections: it costs the invocation that takes it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::environment::failure::Failure;
use crate::environment::job::{Answer, Event, Sink};
use crate::environment::machine::{AnswerKind, Current, Refusal};

/// How an invocation ended before its timeout.
pub(crate) type Ended = Result<Answer, Failure>;

/// The polls and the invocations of one environment.
#[derive(Debug)]
pub(crate) struct Router {
    polls_max: usize,
    /// The `next` calls that wait for an event, oldest first.
    polls: VecDeque<oneshot::Sender<Arc<Event>>>,
    /// The invocations in flight, by request id.
    running: HashMap<String, Running>,
    /// The request ids of the invocations that timed out last, oldest first. A late answer takes
    /// its id out.
    late: VecDeque<String>,
}

/// An invocation in flight.
#[derive(Debug)]
struct Running {
    current: Current,
    /// The answer whose body is being read.
    answering: Option<AnswerKind>,
    sink: Option<Sink>,
    ended: oneshot::Sender<Ended>,
}

/// There are as many polls as the queue holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooManyPolls;

/// The reason that an invocation was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// An invocation with this request id is in flight.
    Duplicate,
    /// As many are in flight as the environment may run.
    Busy,
    /// No `next` waits.
    NoPoll,
}

impl Router {
    pub(crate) fn new(polls_max: usize) -> Self {
        Self {
            polls_max,
            polls: VecDeque::new(),
            running: HashMap::new(),
            late: VecDeque::new(),
        }
    }

    /// `GET /runtime/invocation/next`: where the event will come.
    pub(crate) fn poll(&mut self) -> Result<oneshot::Receiver<Arc<Event>>, TooManyPolls> {
        if self.polls.len() >= self.polls_max {
            return Err(TooManyPolls);
        }
        let (sender, receiver) = oneshot::channel();
        self.polls.push_back(sender);
        Ok(receiver)
    }

    /// Gives the event to the oldest poll; the end of the invocation will come from the receiver.
    /// With a poll whose connection has ended that is at once.
    pub(crate) fn give(
        &mut self,
        event: &Arc<Event>,
        running_max: usize,
    ) -> Result<oneshot::Receiver<Ended>, NotTaken> {
        let id = &event.current.request_id;
        if self.running.contains_key(id) {
            return Err(NotTaken::Duplicate);
        }
        if self.running.len() >= running_max {
            return Err(NotTaken::Busy);
        }
        let poll = self.polls.pop_front().ok_or(NotTaken::NoPoll)?;
        let (ended, receiver) = oneshot::channel();
        if poll.send(Arc::clone(event)).is_err() {
            // The receiver is in this function: it cannot be gone.
            let _sent = ended.send(Err(Failure::LostPoll));
        } else {
            let running = Running {
                current: event.current.clone(),
                answering: None,
                sink: event.sink.clone(),
                ended,
            };
            self.running.insert(id.clone(), running);
        }
        Ok(receiver)
    }

    /// `POST /runtime/invocation/{id}/response` or `/error`, when its head was read. An error may
    /// come while a response is read, and takes its place.
    pub(crate) fn begin_answer(
        &mut self,
        kind: AnswerKind,
        request_id: &str,
        nonce: Option<&str>,
    ) -> Result<Current, Refusal> {
        let Some(running) = self.running.get_mut(request_id) else {
            return Err(self.not_running(request_id));
        };
        if nonce.is_some_and(|nonce| nonce != running.current.nonce) {
            return Err(Refusal::InvokeTimeout);
        }
        match (running.answering, kind) {
            (None, _) | (Some(AnswerKind::Response), AnswerKind::Error) => {
                running.answering = Some(kind);
                Ok(running.current.clone())
            }
            (Some(_), _) => Err(Refusal::InvalidRequestId),
        }
    }

    /// Where the response of an invocation goes while it is read, if its caller takes it so.
    pub(crate) fn sink(&self, answered: &Current) -> Option<Sink> {
        self.running.get(&answered.request_id)?.sink.clone()
    }

    /// The answer was read to its end.
    pub(crate) fn end_answer(
        &mut self,
        kind: AnswerKind,
        answered: &Current,
        answer: Answer,
    ) -> Result<(), Refusal> {
        let id = &answered.request_id;
        let is_meant =
            |running: &Running| running.current == *answered && running.answering == Some(kind);
        if !self.running.get(id).is_some_and(is_meant) {
            return Err(self.not_running(id));
        }
        if let Some(running) = self.running.remove(id) {
            // An invocation that ended meanwhile is not in the map.
            let _gone = running.ended.send(Ok(answer));
        }
        Ok(())
    }

    /// The caller of an invocation does not wait any more.
    pub(crate) fn time_out(&mut self, request_id: &str) {
        if self.running.remove(request_id).is_some() {
            self.late.push_back(request_id.to_owned());
            if self.late.len() > LATE_MAX {
                self.late.pop_front();
            }
        }
    }

    /// Fails every invocation in flight.
    pub(crate) fn abort(&mut self, failure: impl Fn() -> Failure) {
        for (_, running) in self.running.drain() {
            // An invocation that ended meanwhile is not in the map.
            let _gone = running.ended.send(Err(failure()));
        }
    }

    /// Fails every invocation in flight and every poll.
    pub(crate) fn clear(&mut self) {
        self.abort(|| Failure::Shutdown);
        *self = Self::new(self.polls_max);
    }

    /// The polls in the queue, whatever became of their connections.
    pub(crate) fn polls(&self) -> usize {
        self.polls.len()
    }

    pub(crate) fn running(&self) -> usize {
        self.running.len()
    }

    /// Takes out the polls whose connections have ended.
    pub(crate) fn forget_lost_polls(&mut self) {
        self.polls.retain(|poll| !poll.is_closed());
    }

    fn not_running(&mut self, request_id: &str) -> Refusal {
        match self.late.iter().position(|late| late == request_id) {
            Some(at) => {
                self.late.remove(at);
                Refusal::InvokeTimeout
            }
            None => Refusal::InvalidRequestId,
        }
    }
}

/// `timeoutCacheSize` of aws-lambda-runtime-interface-emulator.
const LATE_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use bytes::Bytes;

    use super::*;

    fn event(request_id: &str) -> Arc<Event> {
        Arc::new(Event {
            current: Current {
                request_id: request_id.into(),
                nonce: format!("nonce of {request_id}"),
            },
            deadline_ms: 0,
            headers: Vec::new(),
            payload: Bytes::new(),
            sink: None,
        })
    }

    fn answer(body: &'static str) -> Answer {
        Answer {
            began_at: Instant::now(),
            at: Instant::now(),
            headers: Vec::new(),
            content_type: None,
            streamed: false,
            body: Bytes::from_static(body.as_bytes()),
            length: body.len(),
            error: None,
        }
    }

    /// A router whose invocations of these ids are in flight.
    fn running(ids: &[&str]) -> (Router, Vec<oneshot::Receiver<Ended>>) {
        let mut router = Router::new(3);
        let mut ends = Vec::new();
        for id in ids {
            let mut poll = router.poll().unwrap();
            ends.push(router.give(&event(id), usize::MAX).unwrap());
            assert_eq!(poll.try_recv().unwrap().current.request_id, *id);
        }
        (router, ends)
    }

    fn body(end: &mut oneshot::Receiver<Ended>) -> Bytes {
        end.try_recv().unwrap().unwrap().body
    }

    #[test]
    fn events_go_to_the_polls_in_their_order() {
        let mut router = Router::new(3);
        let mut first = router.poll().unwrap();
        let mut second = router.poll().unwrap();
        let _ends = [
            router.give(&event("a"), 2).unwrap(),
            router.give(&event("b"), 2).unwrap(),
        ];
        assert_eq!(first.try_recv().unwrap().current.request_id, "a");
        assert_eq!(second.try_recv().unwrap().current.request_id, "b");
        assert_eq!((router.polls(), router.running()), (0, 2));
    }

    #[test]
    fn an_invocation_needs_a_poll_room_and_an_id_of_its_own() {
        let (mut router, _ends) = running(&["a"]);
        assert_eq!(router.give(&event("b"), 2).unwrap_err(), NotTaken::NoPoll);
        let _poll = router.poll().unwrap();
        assert_eq!(router.give(&event("b"), 1).unwrap_err(), NotTaken::Busy);
        assert_eq!(
            router.give(&event("a"), 2).unwrap_err(),
            NotTaken::Duplicate
        );
        assert_eq!(router.polls(), 1, "a refused invocation takes no poll");
    }

    #[test]
    fn a_lost_poll_keeps_its_place_and_costs_one_invocation() {
        let mut router = Router::new(3);
        drop(router.poll().unwrap());
        let mut living = router.poll().unwrap();
        assert_eq!(router.polls(), 2);
        let mut end = router.give(&event("a"), 1).unwrap();
        let failure = end.try_recv().unwrap().unwrap_err();
        assert_eq!(failure.error_type(), "Runtime.Unknown");
        assert_eq!(router.running(), 0);
        let _end = router.give(&event("b"), 1).unwrap();
        assert_eq!(living.try_recv().unwrap().current.request_id, "b");
        drop(router.poll().unwrap());
        router.forget_lost_polls();
        assert_eq!(router.polls(), 0);
    }

    #[test]
    fn the_queue_has_a_limit() {
        let mut router = Router::new(3);
        let polls: Vec<_> = (0..3).map(|_| router.poll().unwrap()).collect();
        assert_eq!(router.poll().unwrap_err(), TooManyPolls);
        drop(polls);
        assert_eq!(router.poll().unwrap_err(), TooManyPolls, "none was taken");
        let _end = router.give(&event("a"), 1).unwrap();
        let _poll = router.poll().unwrap();
    }

    #[test]
    fn answers_come_in_any_order() {
        let (mut router, mut ends) = running(&["a", "b"]);
        for (id, text) in [("b", "of b"), ("a", "of a")] {
            let nonce = format!("nonce of {id}");
            let kind = AnswerKind::Response;
            let current = router.begin_answer(kind, id, Some(&nonce)).unwrap();
            router.end_answer(kind, &current, answer(text)).unwrap();
        }
        assert_eq!(body(&mut ends[0]), "of a");
        assert_eq!(body(&mut ends[1]), "of b");
        let again = router.begin_answer(AnswerKind::Response, "a", None);
        assert_eq!(again, Err(Refusal::InvalidRequestId));
    }

    #[test]
    fn a_second_answer_is_refused_but_for_an_error_during_a_response() {
        use AnswerKind::{Error, Response};
        let ok = Ok(());
        let no = Err(Refusal::InvalidRequestId);
        for (first, second, expected) in [
            (Response, Response, no),
            (Response, Error, ok),
            (Error, Error, no),
            (Error, Response, no),
        ] {
            let (mut router, mut ends) = running(&["a"]);
            let current = router.begin_answer(first, "a", None).unwrap();
            let begun = router.begin_answer(second, "a", None);
            assert_eq!(begun.map(drop), expected, "{first:?} {second:?}");
            let ended = router.end_answer(first, &current, answer("first"));
            if expected == ok {
                assert_eq!(ended, no, "its place is taken");
                router
                    .end_answer(second, &current, answer("second"))
                    .unwrap();
                assert_eq!(body(&mut ends[0]), "second");
            } else {
                assert_eq!(ended, ok);
                assert_eq!(body(&mut ends[0]), "first");
            }
        }
    }

    #[test]
    fn a_late_answer_is_gone_once_and_then_unknown() {
        let (mut router, _ends) = running(&["begun", "late"]);
        let kind = AnswerKind::Response;
        let current = router.begin_answer(kind, "begun", None).unwrap();
        router.time_out("begun");
        router.time_out("late");
        let ended = router.end_answer(kind, &current, answer(""));
        assert_eq!(ended, Err(Refusal::InvokeTimeout));
        let mut begin = |kind| router.begin_answer(kind, "late", None);
        assert_eq!(begin(AnswerKind::Error), Err(Refusal::InvokeTimeout));
        assert_eq!(begin(AnswerKind::Error), Err(Refusal::InvalidRequestId));
    }

    #[test]
    fn an_answer_to_an_earlier_attempt_is_late() {
        let (mut router, _ends) = running(&["a"]);
        let begun = router.begin_answer(AnswerKind::Response, "a", Some("of before"));
        assert_eq!(begun, Err(Refusal::InvokeTimeout));
    }

    #[test]
    fn the_late_ones_that_are_known_are_the_last() {
        let mut router = Router::new(3);
        for n in 0..=LATE_MAX {
            let _poll = router.poll().unwrap();
            let id = n.to_string();
            let _end = router.give(&event(&id), 1).unwrap();
            router.time_out(&id);
        }
        let mut begin = |id: &str| router.begin_answer(AnswerKind::Response, id, None);
        assert_eq!(begin("0"), Err(Refusal::InvalidRequestId));
        assert_eq!(begin("1"), Err(Refusal::InvokeTimeout));
    }

    #[test]
    fn the_end_of_the_environment_fails_what_is_in_flight() {
        let (mut router, mut ends) = running(&["a", "b"]);
        let mut poll = router.poll().unwrap();
        router.clear();
        for end in &mut ends {
            let failure = end.try_recv().unwrap().unwrap_err();
            assert_eq!(failure.error_type(), "Client.ExecutionEnvironmentShutDown");
        }
        assert!(poll.try_recv().is_err());
        assert_eq!((router.polls(), router.running()), (0, 0));
    }
}

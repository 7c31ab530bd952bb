//! The loop against a Runtime API in memory, under a clock that only its pauses move.
//!
//! The API keeps the rules of the platform: `next` gives the running invocation again, and an
//! invocation is answered once. A fault is planted at one exchange; the loop must lose no
//! invocation and answer none twice, whichever it is.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use rustix::io::Errno;

use super::client::Stop;
use super::client::{Client, Driver};
use super::handler::{Handler, handler_fn};
use super::{invocations, log};
use crate::shared::endpoint::Endpoint;
use crate::shared::env::{Function, LogConfig};
use crate::shared::http::Exchange;
use crate::shared::log_record::Level;
use crate::shared::os::blocking::ExchangeError;
use crate::shared::time::EpochMs;

/// When the world begins.
const START: EpochMs = EpochMs(1_700_000_000_000);

#[derive(Clone, Copy, Debug)]
enum Fault {
    /// The connection is refused.
    Refused,
    /// The connection was closed while it was idle: nothing can be written.
    Closed,
    /// The connection is lost after this many bytes of the request, which the API drops.
    RequestCut(usize),
    /// The API acts on the request, and the connection is lost after this many bytes of the
    /// response.
    ResponseCut(usize),
    /// The API answers with this status and does nothing.
    Status(u16),
    /// The API answers with something that is not HTTP.
    Garbage,
    /// The API answers with an event that says not which invocation it is.
    NoIdentity,
    /// The API announces an event over the limit, and sends none of it.
    TooLarge,
}

/// The Runtime API, its connection and the clock.
#[derive(Debug, Default)]
struct World {
    passed: Duration,
    /// The invocations to come, and the one that runs.
    events: VecDeque<&'static str>,
    /// What was accepted: the end of the path and the body.
    answers: Vec<(String, String)>,
    /// Requests that reached the API, as method and path.
    requests: Vec<String>,
    is_open: bool,
    connections: usize,
    exchanges: usize,
    /// The exchanges that meet it, and the fault.
    fault: Option<(Range<usize>, Fault)>,
    /// Bytes that are read or written at once.
    step: usize,
}

#[derive(Clone, Debug)]
struct Shared(Rc<RefCell<World>>);

impl World {
    fn serve(&mut self, request: &str) -> String {
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        let mut words = head.split(' ');
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        self.requests.push(format!("{method} {path}"));
        let path = path
            .strip_prefix("/2018-06-01/runtime/invocation/")
            .unwrap();
        if path == "next" {
            return match self.events.front() {
                Some(id) => event(id),
                None => status(410),
            };
        }
        let running = self.events.front().is_some_and(|id| path.starts_with(id));
        if !running {
            return status(400);
        }
        assert!(
            head.contains(&format!(
                "Lambda-Runtime-Invocation-Id: {}-nonce",
                self.events[0]
            )),
            "{head}"
        );
        self.events.pop_front();
        self.answers.push((path.to_owned(), body.to_owned()));
        status(202)
    }

    /// What this exchange meets.
    fn meet(&mut self) -> Option<Fault> {
        let number = self.exchanges;
        self.exchanges += 1;
        let (numbers, fault) = self.fault.as_ref()?;
        numbers.contains(&number).then_some(*fault)
    }
}

fn event(id: &str) -> String {
    let body = format!("\"event of {id}\"");
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: {id}\r\n\
         Lambda-Runtime-Invocation-Id: {id}-nonce\r\nLambda-Runtime-Deadline-Ms: {}\r\n\
         Content-Length: {length}\r\n\r\n{body}",
        START.0 + 3_000
    )
}

fn status(status: u16) -> String {
    format!("HTTP/1.1 {status} \r\nContent-Length: 2\r\n\r\n{{}}")
}

impl Driver for Shared {
    fn exchange(&mut self, exchange: &mut Exchange<'_>) -> Result<(), ExchangeError> {
        let mut world = self.0.borrow_mut();
        let fault = world.meet();
        if matches!(fault, Some(Fault::Refused)) {
            return Err(ExchangeError::Connect(Errno::CONNREFUSED));
        }
        if !world.is_open {
            world.is_open = true;
            world.connections += 1;
        }
        let mut request = Vec::new();
        while let Some(slices) = exchange.pending() {
            let bytes = slices.concat();
            let left = match fault {
                Some(Fault::Closed) => 0,
                Some(Fault::RequestCut(at)) => at.saturating_sub(request.len()),
                _ => usize::MAX,
            };
            let count = bytes.len().min(world.step).min(left);
            if count == 0 {
                exchange.write_failed();
                break;
            }
            request.extend_from_slice(&bytes[..count]);
            exchange.wrote(count);
        }
        let is_whole = exchange.pending().is_none()
            && !matches!(fault, Some(Fault::Closed | Fault::RequestCut(_)));
        let mut response = match fault {
            Some(Fault::Status(code)) => status(code),
            Some(Fault::Garbage) => "nonsense\r\n\r\n".to_owned(),
            Some(Fault::NoIdentity) => status(200),
            Some(Fault::TooLarge) => event("id-1").replace("Length: ", "Length: 1000000"),
            _ if is_whole => world.serve(&String::from_utf8(request).unwrap()),
            _ => String::new(),
        };
        if let Some(Fault::ResponseCut(at)) = fault {
            response.truncate(at);
        }
        let mut rest = response.as_bytes();
        while !exchange.is_done() {
            let space = exchange.space().map_err(ExchangeError::Http)?;
            let count = rest.len().min(space.len()).min(world.step);
            space[..count].copy_from_slice(&rest[..count]);
            rest = &rest[count..];
            exchange.read(count).map_err(ExchangeError::Http)?;
        }
        Ok(())
    }

    fn take(&mut self) -> Option<OwnedFd> {
        self.0.borrow_mut().is_open = false;
        None
    }

    fn pause(&mut self, time: Duration) {
        self.0.borrow_mut().passed += time;
    }

    fn now(&self) -> EpochMs {
        let passed = self.0.borrow().passed.as_millis();
        EpochMs(START.0 + u64::try_from(passed).unwrap())
    }
}

/// Runs the loop over three invocations, the second of which fails, until the API says that there
/// are no more. Returns how the loop ended, and the world then.
fn run(world: World) -> (Stop, World) {
    // Some thousand faults are told otherwise.
    log::configure(LogConfig {
        level: Level::Fatal,
        ..LogConfig::default()
    });
    let world = Rc::new(RefCell::new(World {
        events: VecDeque::from(["id-1", "id-2", "id-3"]),
        ..world
    }));
    let api = Endpoint::parse("127.0.0.1:9001", &|_| None).unwrap();
    let mut client = Client::new(&api, Box::new(Shared(Rc::clone(&world))));
    let mut handler = handler_fn(
        |event: &[u8], context: &super::Context<'_>, answer: super::Answer<'_>| {
            assert!(event.starts_with(b"\"event of "));
            match context.request_id() {
                "id-2" => answer.error(super::Error::new("Chosen", "no")),
                _ => answer.bytes(event),
            }
        },
    );
    let handler: &mut dyn Handler = &mut handler;
    let stop = invocations(&Function::default(), &mut client, handler, 0);
    drop(client);
    (stop, Rc::into_inner(world).unwrap().into_inner())
}

fn with_fault(at: usize, fault: Fault) -> (Stop, World) {
    with_faults(at..at + 1, fault)
}

fn with_faults(at: Range<usize>, fault: Fault) -> (Stop, World) {
    run(World {
        fault: Some((at, fault)),
        step: usize::MAX,
        ..World::default()
    })
}

/// Checks that each invocation was answered as it should be, and once.
fn served(world: &World, case: &str) {
    let answers = [
        ("id-1/response", "\"event of id-1\""),
        (
            "id-2/error",
            r#"{"errorMessage":"no","errorType":"Chosen","stackTrace":[]}"#,
        ),
        ("id-3/response", "\"event of id-3\""),
    ];
    let answers = answers.map(|(path, body)| (path.to_owned(), body.to_owned()));
    assert_eq!(world.answers, answers, "{case}");
}

/// Exchanges of the scenario: three times `next` and an answer, and `next` at the end.
const EXCHANGES: usize = 7;

#[test]
fn three_invocations_are_seven_exchanges_over_one_connection() {
    for step in [usize::MAX, 1, 7] {
        let (stop, world) = run(World {
            step,
            ..World::default()
        });
        served(&world, "no fault");
        assert_eq!(stop.code, 0, "410 is a farewell");
        assert_eq!(world.exchanges, EXCHANGES);
        assert_eq!(world.connections, 1);
        assert_eq!(world.passed, Duration::ZERO);
    }
}

#[test]
fn a_connection_that_is_lost_at_any_byte_loses_no_invocation() {
    for at in 0..EXCHANGES {
        for bytes in 0..400 {
            for fault in [Fault::RequestCut(bytes), Fault::ResponseCut(bytes)] {
                let case = format!("exchange {at}: {fault:?}");
                let (stop, world) = with_fault(at, fault);
                served(&world, &case);
                assert_eq!(stop.code, 0, "{case}");
                assert!(world.connections <= 2, "{case}");
                // The first retry is at once.
                assert_eq!(world.passed, Duration::ZERO, "{case}");
                let posts = |id: &str| {
                    let posted = format!("POST /2018-06-01/runtime/invocation/{id}/");
                    let of_id = |request: &&String| request.starts_with(&posted);
                    world.requests.iter().filter(of_id).count()
                };
                assert!(
                    ["id-1", "id-2", "id-3"].iter().all(|id| posts(id) <= 2),
                    "{case}: an answer is sent again once"
                );
            }
        }
    }
}

#[test]
fn an_answer_that_is_lost_twice_is_given_up_and_the_event_comes_again() {
    for at in [1, 3, 5] {
        let (stop, world) = with_faults(at..at + 2, Fault::RequestCut(10));
        served(&world, "lost twice");
        assert_eq!(stop.code, 0);
        // Two that were lost, `next`, and the answer to the same event.
        assert_eq!(world.exchanges, EXCHANGES + 3);

        // It had arrived the first time, which the API says to the second.
        let (stop, world) = with_faults(at..at + 2, Fault::ResponseCut(10));
        served(&world, "arrived");
        assert_eq!(stop.code, 0);
        assert_eq!(world.exchanges, EXCHANGES + 1);
    }
}

#[test]
fn a_connection_that_was_closed_while_idle_is_opened_again() {
    for at in 0..EXCHANGES {
        let (stop, world) = with_fault(at, Fault::Closed);
        served(&world, "closed");
        assert_eq!(stop.code, 0);
        assert_eq!(world.requests.len(), EXCHANGES, "nothing reached it twice");
        assert_eq!(world.passed, Duration::ZERO);
    }
}

#[test]
fn refused_connections_are_tried_nine_times_with_growing_pauses() {
    let pauses = [0, 10, 20, 40, 80, 160, 320, 640];
    for at in 0..EXCHANGES {
        for times in 1..=8 {
            let (stop, world) = with_faults(at..at + times, Fault::Refused);
            served(&world, "refused");
            assert_eq!(stop.code, 0);
            let passed: u64 = pauses[..times].iter().sum();
            assert_eq!(world.passed, Duration::from_millis(passed), "{times} times");
        }
        let (stop, world) = with_faults(at..usize::MAX, Fault::Refused);
        assert_eq!(stop.code, 1, "{}", stop.reason);
        assert!(stop.reason.contains("asking"), "{}", stop.reason);
        assert_eq!(world.answers.len(), at / 2);
    }
}

#[test]
fn statuses_are_acted_on() {
    for at in 0..EXCHANGES {
        let asks = at % 2 == 0;
        for code in [202, 204, 302, 400, 403, 404, 410, 413, 500, 503] {
            let case = format!("exchange {at}: {code}");
            let (stop, world) = with_fault(at, Fault::Status(code));
            let ends = code >= 500 || code == 410 && asks;
            if ends {
                assert_eq!(stop.code, u8::from(code >= 500), "{case}");
                assert_eq!(world.answers.len(), at / 2, "{case}");
                continue;
            }
            // The API has not taken an answer that it refused, and gives the event again.
            served(&world, &case);
            assert_eq!(stop.code, 0, "{case}");
            let pause = if asks && code == 204 { 25 } else { 0 };
            assert_eq!(world.passed, Duration::from_millis(pause), "{case}");
        }
    }
}

#[test]
fn an_answer_that_comes_too_late_does_not_stop_the_loop() {
    // The invocation is over, and the next event is there: 400 for an id that does not run.
    for (at, id) in [(1, "id-1"), (3, "id-2"), (5, "id-3")] {
        for code in [400, 403, 410] {
            let (stop, world) = with_fault(at, Fault::Status(code));
            assert_eq!(stop.code, 0, "{code}");
            let accepted = |(path, _): &&(String, String)| path.starts_with(id);
            assert_eq!(world.answers.iter().filter(accepted).count(), 1, "{code}");
        }
    }
}

#[test]
fn an_event_that_cannot_be_answered_is_asked_for_again() {
    for times in 1..=8 {
        let (stop, world) = with_faults(0..times, Fault::NoIdentity);
        served(&world, "no identity");
        assert_eq!(stop.code, 0);
        assert_eq!(world.connections, times + 1, "each on a new connection");
    }
    let (stop, world) = with_faults(0..usize::MAX, Fault::NoIdentity);
    assert_eq!((stop.code, world.exchanges), (1, 9));
    assert!(
        stop.reason
            .contains("without Lambda-Runtime-Aws-Request-Id")
    );
}

#[test]
fn an_event_over_the_limit_is_answered_and_not_read() {
    let (stop, world) = with_fault(0, Fault::TooLarge);
    assert_eq!(stop.code, 0);
    let (path, body) = &world.answers[0];
    assert_eq!(path, "id-1/error");
    assert!(
        body.contains("\"errorType\":\"Runtime.EventTooLarge\""),
        "{body}"
    );
    assert!(body.contains("limit 6291556"), "{body}");
    assert_eq!(world.answers.len(), 3);
    assert_eq!(world.connections, 2, "the one with the event is closed");
}

#[test]
fn what_is_not_http_is_asked_for_again() {
    for at in 0..EXCHANGES {
        let (stop, world) = with_fault(at, Fault::Garbage);
        served(&world, "garbage");
        assert_eq!(stop.code, 0);
        assert_eq!(world.connections, 2);
    }
}

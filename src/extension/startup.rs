//! From exec to ready: everything the platform waits for, on one blocking socket.
//!
//! The runtime is not started before `register` has been answered, so nothing is done before that
//! but reading two variables, one connect and one POST. The rest runs beside the runtime's own
//! initialisation.
//! <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html#runtimes-lifecycle-ib>

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_reuseaddr, set_socket_timeout};

use super::api::{self, AfterRegister, AfterSubscribe, Registered, Request};
use crate::extension::panic::Resumed;
use crate::extension::settings::{InitType, Settings};
use crate::shared::endpoint::Endpoint;
use crate::shared::http::{Expect, Limits, Outgoing, Reader};
use crate::shared::limits::ANSWER_BYTES_MAX;
use crate::shared::os::blocking::{self, ExchangeError};
use crate::shared::os::{self, Instant};

/// An extension that is ready: its first `event/next` is on the wire.
///
/// Nagle's algorithm may stay on: it holds back a segment while one is unacknowledged, and each
/// request here is one write that follows the answer to the one before.
#[derive(Debug)]
pub(super) struct Ready<'a> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) settings: Settings,
    pub(super) registered: Registered,
    /// Whether INVOKE events will come.
    pub(super) with_invoke: bool,
    /// The connection with the open `event/next`; `None` when it was lost on the way.
    pub(super) stream: Option<OwnedFd>,
    /// Whether `event/next` is on the wire there, and unanswered.
    pub(super) asked: bool,
    /// Reads the answers on that connection.
    pub(super) answer: Reader,
    /// Where telemetry comes in, and its port; `None` when none will come.
    pub(super) listener: Option<(OwnedFd, u16)>,
    /// The request that asks for the next event.
    pub(super) next: Request,
    pub(super) registered_at: Instant,
    pub(super) ready_at: Instant,
    /// How often the program has panicked in this process.
    pub(super) panics: u32,
}

impl<'a> Ready<'a> {
    /// What is known at `now`: nothing.
    pub(super) fn new(endpoint: &'a Endpoint, init_type: InitType, now: Instant) -> Self {
        Self {
            endpoint,
            settings: Settings::default(),
            registered: Registered::default(),
            with_invoke: init_type != InitType::ManagedInstances,
            stream: None,
            asked: false,
            answer: Reader::new(Expect::Response, Limits::of_body(ANSWER_BYTES_MAX)),
            listener: None,
            next: Request::default(),
            registered_at: now,
            ready_at: now,
            panics: 0,
        }
    }

    /// Registers, subscribes and asks for the first event. It does not return before it is
    /// registered.
    pub(super) fn start(
        &mut self,
        name: &str,
        read_settings: &dyn Fn() -> Settings,
        now: fn() -> Instant,
    ) {
        let mut failures = 0;
        self.registered = loop {
            let request = api::register(self.endpoint, name, self.with_invoke);
            let answered = self.exchange(&request);
            match answered.map(|()| api::after_register(&self.answer, self.with_invoke)) {
                Ok(AfterRegister::Registered(registered)) => break registered,
                Ok(AfterRegister::ShutdownOnly) => self.with_invoke = false,
                Ok(AfterRegister::Retry) | Err(_) => {
                    failures += 1;
                    os::sleep(api::back_off(failures));
                }
            }
        };
        self.registered_at = now();
        self.settings = read_settings();
        if let Some((listener, port)) = bind(self.settings.port)
            && self.subscribe(port)
        {
            self.listener = Some((listener, port));
        }
        self.next = api::next(self.endpoint, &self.registered.identifier);
        self.answer.reset();
        let next = std::mem::take(&mut self.next);
        self.asked = self.write(&next).is_ok();
        self.next = next;
        if !self.asked {
            self.stream = None;
        }
        self.ready_at = now();
    }

    /// Takes up where an earlier program of this process panicked: it is registered, and asked.
    pub(super) fn resume(&mut self, resumed: Resumed, read_settings: &dyn Fn() -> Settings) {
        self.settings = read_settings();
        self.next = api::next(self.endpoint, &resumed.identifier);
        self.registered.identifier = resumed.identifier;
        // The subscription stands, and delivers to the port of then.
        if resumed.port != 0 {
            self.listener = listen(resumed.port).ok();
        }
        self.stream = resumed.stream;
        self.asked = resumed.asked;
        self.panics = resumed.panics;
    }

    /// Subscribes with the newest schema that the platform takes. Whether telemetry will come.
    fn subscribe(&mut self, port: u16) -> bool {
        for schema in api::SCHEMAS {
            let request = api::subscribe(self.endpoint, &self.registered.identifier, schema, port);
            let mut answered = self.exchange_soon(&request);
            // A connection that was lost says nothing, and to subscribe again changes nothing.
            if answered.as_ref().is_err_and(|error| !is_timeout(error)) {
                answered = self.exchange_soon(&request);
            }
            let status = answered.ok().and_then(|()| self.answer.status());
            match api::after_subscribe(status) {
                AfterSubscribe::Subscribed => return true,
                AfterSubscribe::Older => {}
                AfterSubscribe::Without => return false,
            }
        }
        false
    }

    /// An answer that never comes must not keep the function from its first invocation.
    ///
    /// This is the only wait for the platform that is bounded: without the answer to `register`
    /// there is no identifier, and an event takes as long as it takes.
    fn exchange_soon(&mut self, request: &Request) -> Result<(), ExchangeError> {
        if let Ok(stream) = self.open() {
            set_socket_timeout(stream, Timeout::Recv, Some(SUBSCRIBE_TIMEOUT)).ok();
        }
        self.exchange(request)
    }

    fn exchange(&mut self, request: &Request) -> Result<(), ExchangeError> {
        self.answer.reset();
        let written = self.write(request).map_err(ExchangeError::Io);
        let outcome = match (written, &self.stream) {
            (Ok(()), Some(stream)) => blocking::read(stream.as_fd(), &mut self.answer),
            (written, _) => written,
        };
        if self.answer.close_reason().is_some() {
            self.stream = None;
        }
        outcome
    }

    fn write(&mut self, request: &Request) -> Result<(), Errno> {
        let stream = self.open()?;
        blocking::write(stream, Outgoing::new(&request.head, &request.body))
    }

    fn open(&mut self) -> Result<BorrowedFd<'_>, Errno> {
        let stream = match self.stream.take() {
            Some(stream) => stream,
            None => blocking::connect(self.endpoint.address, None)?,
        };
        let stream: &OwnedFd = self.stream.insert(stream);
        Ok(stream.as_fd())
    }
}

const fn is_timeout(error: &ExchangeError) -> bool {
    // The error that a blocking socket gives.
    matches!(error, ExchangeError::Io(Errno::AGAIN))
}

/// Listens on the port, on one of the next if it is taken, or on any.
///
/// On all addresses: the platform delivers to a link-local one on Lambda and to the loopback one
/// in local emulators. A port that stays the same is preferred, because after a reset the platform
/// may go on delivering to where the extension listened before.
fn bind(port: u16) -> Option<(OwnedFd, u16)> {
    let mut tries = (port..=port.saturating_add(PORTS_TRIED)).chain([0]);
    tries.find_map(|port| listen(port).ok())
}

/// Listens on this port, or on any if it is 0.
fn listen(port: u16) -> Result<(OwnedFd, u16), Errno> {
    let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    let listener = blocking::socket(address)?;
    // Connections of the process before may still be closing.
    set_socket_reuseaddr(&listener, true)?;
    rustix::net::bind(&listener, &address)?;
    rustix::net::listen(&listener, BACKLOG)?;
    let port = match port {
        0 => SocketAddr::try_from(rustix::net::getsockname(&listener)?)?.port(),
        port => port,
    };
    Ok((listener, port))
}

/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// How long an answer to the subscription may take. The platform needs under a millisecond.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(1);

/// Ports tried behind the configured one.
const PORTS_TRIED: u16 = 16;

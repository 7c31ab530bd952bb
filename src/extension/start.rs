//! From exec to ready: everything the platform waits for, on one blocking socket.
//!
//! The runtime is not started before `register` has been answered, so nothing is done before that
//! but reading two variables, one connect and one POST. The rest runs beside the runtime's own
//! initialisation, and neither a reactor nor a thread exists before the first `event/next` is out.
//! <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html#runtimes-lifecycle-ib>

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::thread;
use std::time::{Duration, Instant};

use super::api::{self, AfterRegister, AfterSubscribe, Registered, Request};
use super::config::{Config, InitType};
use super::resume::Resumed;
use crate::shared::blocking::{self, ExchangeError};
use crate::shared::endpoint::Endpoint;
use crate::shared::http::{Expect, Limits, Outgoing, Reader};
use crate::shared::limits::ANSWER_BYTES_MAX;

/// An extension that is ready: its first `event/next` is on the wire.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) config: Config,
    pub(super) registered: Registered,
    /// Whether INVOKE events will come.
    pub(super) with_invoke: bool,
    /// The connection with the open `event/next`; `None` when it was lost on the way.
    pub(super) stream: Option<TcpStream>,
    /// Whether `event/next` is on the wire there.
    pub(super) asked: bool,
    /// Reads the answers on that connection.
    pub(super) answer: Reader,
    /// Where telemetry comes in, and its port; `None` when none will come.
    pub(super) listener: Option<(TcpListener, u16)>,
    /// The request that asks for the next event.
    pub(super) next: Request,
    pub(super) registered_at: Instant,
    pub(super) ready_at: Instant,
    /// How often the program has panicked in this process.
    pub(super) panics: u32,
}

/// Registers, subscribes and asks for the first event. It does not return before it is registered.
pub(super) fn start(
    endpoint: &Endpoint,
    name: &str,
    init_type: InitType,
    read_config: impl FnOnce() -> Config,
    now: fn() -> Instant,
) -> Ready {
    let limits = Limits::of_body(ANSWER_BYTES_MAX);
    let mut answer = Reader::new(Expect::Response, limits);
    let mut connection = Blocking {
        endpoint,
        stream: None,
    };
    let mut with_invoke = init_type != InitType::ManagedInstances;
    let mut failures = 0;
    let registered = loop {
        let request = api::register(endpoint, name, with_invoke);
        let answered = connection.exchange(&request, &mut answer);
        match answered.map(|()| api::after_register(&answer, with_invoke)) {
            Ok(AfterRegister::Registered(registered)) => break registered,
            Ok(AfterRegister::ShutdownOnly) => with_invoke = false,
            Ok(AfterRegister::Retry) | Err(_) => {
                failures += 1;
                #[expect(
                    clippy::disallowed_methods,
                    reason = "the pause is part of the protocol"
                )]
                thread::sleep(api::back_off(failures));
            }
        }
    };
    let registered_at = now();
    let config = read_config();
    let listener = bind(config.port).ok();
    let listener = listener.filter(|(_, port)| {
        subscribe(
            &mut connection,
            &mut answer,
            &registered.identifier,
            &config,
            *port,
        )
    });
    let next = api::next(endpoint, &registered.identifier);
    answer.reset();
    let asked = connection.write(&next).is_ok();
    let stream = connection.stream.take().filter(|_| asked);
    Ready {
        config,
        registered,
        with_invoke,
        stream,
        asked,
        answer,
        listener,
        next,
        registered_at,
        ready_at: now(),
        panics: 0,
    }
}

/// Takes up where an earlier program of this process panicked: it is registered, and asked.
pub(super) fn resume(
    endpoint: &Endpoint,
    resumed: Resumed,
    init_type: InitType,
    read_config: impl FnOnce() -> Config,
    now: fn() -> Instant,
) -> Ready {
    let limits = Limits::of_body(ANSWER_BYTES_MAX);
    let config = read_config();
    let next = api::next(endpoint, &resumed.identifier);
    Ready {
        // The subscription stands, and delivers to the port of then.
        listener: (resumed.port != 0)
            .then(|| listen(resumed.port).ok())
            .flatten(),
        config,
        with_invoke: init_type != InitType::ManagedInstances,
        registered: Registered {
            identifier: resumed.identifier,
            function_name: None,
            function_version: None,
            account_id: None,
        },
        stream: resumed.stream,
        asked: resumed.asked,
        answer: Reader::new(Expect::Response, limits),
        next,
        registered_at: now(),
        ready_at: now(),
        panics: resumed.panics,
    }
}

/// Subscribes with the newest schema that the platform takes. Whether telemetry will come.
fn subscribe(
    connection: &mut Blocking<'_>,
    answer: &mut Reader,
    identifier: &str,
    config: &Config,
    port: u16,
) -> bool {
    for schema in api::SCHEMAS {
        let endpoint = connection.endpoint;
        let request = api::subscribe(endpoint, identifier, schema, config.protocol, port);
        let mut exchange = || {
            // An answer that never comes must not keep the function from its first invocation.
            // This is the only wait for the platform that is bounded: without the answer to
            // `register` there is no identifier, and an event takes as long as it takes.
            if let Ok(stream) = connection.open() {
                stream.set_read_timeout(Some(SUBSCRIBE_TIMEOUT)).ok();
            }
            connection.exchange(&request, answer)
        };
        let mut answered = exchange();
        // A connection that was lost says nothing, and to subscribe again changes nothing.
        if answered.as_ref().is_err_and(|error| !is_timeout(error)) {
            answered = exchange();
        }
        let status = answered.ok().and_then(|()| answer.status());
        match api::after_subscribe(status) {
            AfterSubscribe::Subscribed => return true,
            AfterSubscribe::Older => {}
            AfterSubscribe::Without => return false,
        }
    }
    false
}

fn is_timeout(error: &ExchangeError) -> bool {
    // The kind that a blocking socket gives.
    matches!(error, ExchangeError::Io(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// Listens on the port, on one of the next if it is taken, or on any.
///
/// On all addresses: the platform delivers to a link-local one on Lambda and to the loopback one
/// in local emulators. A port that stays the same is preferred, because after a reset the platform
/// may go on delivering to where the extension listened before.
fn bind(port: u16) -> io::Result<(TcpListener, u16)> {
    let tries = (port..=port.saturating_add(PORTS_TRIED)).chain([0]);
    let mut last = io::ErrorKind::AddrInUse.into();
    for port in tries {
        match listen(port) {
            Ok(listening) => return Ok(listening),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Listens on this port, or on any if it is 0.
fn listen(port: u16) -> io::Result<(TcpListener, u16)> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?;
    let port = match port {
        0 => listener.local_addr()?.port(),
        port => port,
    };
    Ok((listener, port))
}

/// A connection that is opened when it is needed.
///
/// Nagle's algorithm may stay on: it holds back a segment while one is unacknowledged, and each
/// request here is one write that follows the answer to the one before.
struct Blocking<'a> {
    endpoint: &'a Endpoint,
    stream: Option<TcpStream>,
}

impl Blocking<'_> {
    fn open(&mut self) -> io::Result<&mut TcpStream> {
        if self.stream.is_none() {
            let stream = TcpStream::connect(self.endpoint.address)?;
            self.stream = Some(stream);
        }
        self.stream
            .as_mut()
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn write(&mut self, request: &Request) -> io::Result<()> {
        blocking::write(
            self.open()?.as_fd(),
            Outgoing::new(&request.head, &request.body),
        )
    }

    fn exchange(&mut self, request: &Request, answer: &mut Reader) -> Result<(), ExchangeError> {
        answer.reset();
        let outcome = match self.write(request).map_err(ExchangeError::Io) {
            Ok(()) => self
                .open()
                .map_err(ExchangeError::Io)
                .and_then(|stream| blocking::read(stream.as_fd(), answer)),
            Err(error) => Err(error),
        };
        if answer.close_reason().is_some() {
            self.stream = None;
        }
        outcome
    }
}

/// How long an answer to the subscription may take. The platform needs under a millisecond.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(1);

/// Ports tried behind the configured one.
const PORTS_TRIED: u16 = 16;

//! From exec to ready: everything the platform waits for, on one blocking socket.
//!
//! The runtime is not started before `register` has been answered, so nothing is done before that
//! but reading two variables, one connect and one POST. The rest runs beside the runtime's own
//! initialisation.
//! <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html#runtimes-lifecycle-ib>

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_reuseaddr, set_socket_timeout};
use rustix::process::getppid;

use crate::extension::account::Life;
use crate::extension::api::{
    self, AfterRegister, AfterSubscribe, Destination, Registered, Request,
};
use crate::extension::manager::Manager;
use crate::extension::panic::Handover;
use crate::extension::settings::Settings;
use crate::shared::endpoint::Endpoint;
use crate::shared::http::{Exchange, Expect, Limits, Reader};
use crate::shared::limits::ANSWER_BYTES_MAX;
use crate::shared::os;
use crate::shared::os::blocking::{self, ExchangeError};
use crate::shared::os::clock;
use crate::shared::time::EpochMs;

/// An extension that is ready: its first `event/next` is on the wire.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) settings: Settings,
    pub(super) registered: Registered,
    /// Whether INVOKE events will come.
    pub(super) with_invoke: bool,
    /// Where telemetry comes in, if it will come.
    pub(super) listener: Option<(TcpListener, Destination)>,
    /// The request that asks for the next event.
    pub(super) next: Request,
    /// The connection on which it was asked for; `None` when it was lost on the way, and after a
    /// panic.
    pub(super) stream: Option<TcpStream>,
    /// How often the program has panicked in this process.
    pub(super) panics: u32,
    pub(super) life: Life,
    pub(super) registered_at: Instant,
    /// When it was ready.
    pub(super) at: Instant,
}

impl Ready {
    /// What the next program needs if this one panics.
    pub(super) fn handover(&self) -> Handover {
        let destination = self.listener.as_ref().map(|(_, destination)| destination);
        Handover {
            identifier: self.registered.identifier.clone(),
            with_invoke: self.with_invoke,
            destination: destination.cloned(),
            panics: self.panics,
            life: self.life,
        }
    }

    /// The token of the subscription, empty without one.
    pub(super) fn token(&self) -> String {
        let destination = self.listener.as_ref().map(|(_, destination)| destination);
        destination.map_or_else(String::new, |destination| destination.token.clone())
    }
}

/// Registers, subscribes and asks for the first event, in a process that began at `began_at`.
/// `None` when there is no function any more: whoever started this process is gone.
pub(super) fn start(
    api: &Endpoint,
    name: &str,
    with_invoke: bool,
    began_at: EpochMs,
    read_settings: impl FnOnce() -> Settings,
) -> Option<Ready> {
    let mut connection = Connection::new(api);
    let (registered, with_invoke) = connection.register(name, with_invoke)?;
    let registered_at = clock::monotonic();
    let settings = read_settings();
    let buffering = api::buffering(with_invoke);
    let listener = connection.subscribe(&registered.identifier, settings.port, buffering);
    let next = api::next(api, &registered.identifier);
    let stream = connection.ask(&next);
    Some(Ready {
        settings,
        registered,
        with_invoke,
        listener,
        next,
        stream,
        panics: 0,
        life: Life {
            began_at,
            is_restored: false,
            invocations: 0,
        },
        registered_at,
        at: clock::monotonic(),
    })
}

/// Takes up where an earlier program of this process panicked: it is registered and subscribed.
pub(super) fn resume(api: &Endpoint, handover: Handover, settings: Settings) -> Ready {
    // The subscription stands, and delivers to the same port and path.
    let listen_again = |destination: Destination| {
        let (listener, _) = listen(destination.port).ok()?;
        Some((listener, destination))
    };
    Ready {
        settings,
        next: api::next(api, &handover.identifier),
        registered: Registered {
            identifier: handover.identifier,
            ..Registered::default()
        },
        with_invoke: handover.with_invoke,
        listener: handover.destination.and_then(listen_again),
        stream: None,
        panics: handover.panics,
        life: handover.life,
        registered_at: clock::monotonic(),
        at: clock::monotonic(),
    }
}

/// The connection to the API of the platform.
///
/// Nagle's algorithm may stay on: it holds back a segment while one is unacknowledged, and each
/// request here is one write that follows the answer to the one before.
#[derive(Debug)]
struct Connection<'a> {
    api: &'a Endpoint,
    stream: Option<OwnedFd>,
    answer: Reader,
}

impl<'a> Connection<'a> {
    fn new(api: &'a Endpoint) -> Self {
        Self {
            api,
            stream: None,
            answer: Reader::new(Expect::Response, Limits::of_body(ANSWER_BYTES_MAX)),
        }
    }

    /// Registers, for SHUTDOWN alone if INVOKE is refused; whether INVOKE events will come.
    ///
    /// It is tried for as long as it takes, because an exit would fail the function. `None` when
    /// there is no function any more.
    fn register(&mut self, name: &str, mut with_invoke: bool) -> Option<(Registered, bool)> {
        let mut manager = None;
        loop {
            let request = api::register(self.api, name, with_invoke);
            let exchanged = self.exchange(&request, None);
            let is_refused = matches!(exchanged, Err(ExchangeError::Connect(Errno::CONNREFUSED)));
            match exchanged
                .as_ref()
                .map(|()| api::after_register(&self.answer, with_invoke))
            {
                Ok(AfterRegister::Registered(registered)) => {
                    return Some((registered, with_invoke));
                }
                Ok(AfterRegister::ShutdownOnly) => {
                    with_invoke = false;
                    continue;
                }
                Ok(AfterRegister::Retry) | Err(_) => {}
            }
            let status = self.answer.status().unwrap_or_default();
            let reason = match exchanged {
                Ok(()) => format!("the API answers {status}"),
                Err(error) => error.to_string(),
            };
            let manager = manager.get_or_insert_with(|| Manager::new(getppid()));
            os::sleep(manager.handle_failure("register", is_refused, &reason)?);
        }
    }

    /// Listens for telemetry and subscribes to it, with the newest schema that the platform takes.
    fn subscribe(
        &mut self,
        identifier: &str,
        port: u16,
        buffering: Duration,
    ) -> Option<(TcpListener, Destination)> {
        let (listener, port) = bind(port)?;
        let token = token();
        let destination = Destination { port, token };
        for schema in api::SCHEMAS {
            let request = api::subscribe(self.api, identifier, schema, buffering, &destination);
            let mut exchanged = self.exchange(&request, SUBSCRIBE_TIMEOUT);
            // A connection that was lost says nothing, and to subscribe again changes nothing.
            if exchanged.as_ref().is_err_and(|error| !is_timeout(error)) {
                exchanged = self.exchange(&request, SUBSCRIBE_TIMEOUT);
            }
            let status = exchanged.ok().and_then(|()| self.answer.status());
            match api::after_subscribe(status) {
                AfterSubscribe::Subscribed => return Some((listener, destination)),
                AfterSubscribe::Older => {}
                AfterSubscribe::Without => return None,
            }
        }
        None
    }

    /// Asks for the first event, and hands over the connection that it will come on; `None` if it
    /// could not be asked for.
    fn ask(mut self, next: &Request) -> Option<TcpStream> {
        let stream = self.open().ok()?;
        let mut answer = Reader::new(Expect::Response, Limits::of_body(ANSWER_BYTES_MAX));
        let mut exchange = Exchange::new(next.outgoing(), &mut answer);
        blocking::send(stream.as_fd(), &mut exchange).ok()?;
        Some(stream.into())
    }

    /// Makes a call. `timeout` is how long each part of the answer may take.
    fn exchange(
        &mut self,
        request: &Request,
        timeout: Option<Duration>,
    ) -> Result<(), ExchangeError> {
        let stream = self.open().map_err(ExchangeError::Connect)?;
        if timeout.is_some() {
            set_socket_timeout(&stream, Timeout::Recv, timeout).ok();
        }
        let mut exchange = Exchange::new(request.outgoing(), &mut self.answer);
        let outcome = blocking::exchange(stream.as_fd(), &mut exchange);
        if exchange.close_reason().is_none() {
            self.stream = Some(stream);
        }
        outcome
    }

    /// Takes the connection, or opens one.
    fn open(&mut self) -> Result<OwnedFd, Errno> {
        match self.stream.take() {
            Some(stream) => Ok(stream),
            None => blocking::connect(self.api.address, None),
        }
    }
}

const fn is_timeout(error: &ExchangeError) -> bool {
    // The error that a blocking socket gives.
    matches!(error, ExchangeError::Io(Errno::AGAIN))
}

/// A path that nobody guesses: 64 random bits. Without them anybody in the environment could
/// deliver telemetry of his own. At 100,000 tries a second half of all would take three million
/// years.
fn token() -> String {
    format!("{:016x}", u64::from_ne_bytes(os::random()))
}

/// Listens on the port, on one of the next if it is taken, or on any.
///
/// On all addresses: the platform delivers to a link-local one on Lambda and to the loopback one
/// in local emulators. A port that stays the same is preferred, because after a reset the platform
/// may go on delivering to where the extension listened before.
fn bind(port: u16) -> Option<(TcpListener, u16)> {
    let mut tries = (port..=port.saturating_add(PORTS_TRIED)).chain([0]);
    tries.find_map(|port| listen(port).ok())
}

/// Listens on this port, or on any if it is 0.
fn listen(port: u16) -> Result<(TcpListener, u16), Errno> {
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
    Ok((listener.into(), port))
}

/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// How long an answer to the subscription may take: one that never comes must not keep the function
/// from its first invocation. The platform needs under a millisecond.
///
/// This is the only wait for the platform that is bounded: without the answer to `register` there
/// is no identifier, and an event takes as long as it takes.
const SUBSCRIBE_TIMEOUT: Option<Duration> = Some(Duration::from_secs(1));

/// Ports tried behind the configured one.
const PORTS_TRIED: u16 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// What differs between two processes is tested with the binary.
    #[test]
    fn a_token_is_a_path_segment_of_random_bits() {
        let token = token();
        assert_eq!(token.len(), 16);
        assert!(token.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_ne!(token, "0".repeat(16));
        assert_eq!(token, self::token(), "a program has one");
    }
}

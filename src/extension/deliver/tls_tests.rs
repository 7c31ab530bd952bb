//! The extension as a client of HTTPS, against a server of another hand with real certificates.

use std::fs;
use std::rc::Rc;
use std::sync::Mutex;
use std::time::Duration;

use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};
use tempfile::TempDir;
use testkit::http::Request;
use testkit::tls::{Authority, Conduct, Server};

use super::*;
use crate::extension::clock::Clock;
use crate::extension::deliver::otlp::Sender;
use crate::extension::export::losses::{Ledger, Losses};
use crate::extension::export::otlp::outbox::{Encoded, Holds};
use crate::extension::io::{self as driver, run_test};

const BOTH: &[&SupportedProtocolVersion] = &[&TLS12, &TLS13];

/// A world of servers that one authority has certified, which is in a file.
struct Https {
    authority: Authority,
    folder: TempDir,
}

impl Https {
    fn new() -> Self {
        let authority = Authority::new("one");
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("root.pem"), &authority.pem).unwrap();
        Self { authority, folder }
    }

    /// A server for the name, with a certificate that is valid now.
    fn server(&self, name: &str, conduct: impl Fn(usize) -> Conduct + Send + 'static) -> Server {
        Server::start(self.authority.certify(name, 2020, 2100), BOTH, conduct)
    }

    /// The receiver at that address, by the name.
    fn receiver(&self, name: &str, address: SocketAddr) -> OtlpReceiver {
        OtlpReceiver {
            authority: name.to_owned(),
            timeout_ms: 20_000,
            tls: Some(Tls {
                host: name.to_owned(),
                certificate: Some(self.path("root.pem")),
            }),
            ..OtlpReceiver::at(address, "/v1/metrics")
        }
    }

    fn path(&self, file: &str) -> String {
        self.folder.path().join(file).to_str().unwrap().to_owned()
    }
}

fn batch(number: u8) -> Encoded {
    Encoded {
        body: vec![number; 10],
        holds: Holds::Points(1),
        tells: Losses::default(),
    }
}

/// Sends batches, one after the other, each when the one before it is done with; the losses. `None`
/// of time is all the time there is.
fn send(receiver: OtlpReceiver, count: u8, limit: Option<Duration>) -> Losses {
    send_by(Connector::new(), receiver, count, limit)
}

fn send_by(
    connector: Connector,
    receiver: OtlpReceiver,
    count: u8,
    limit: Option<Duration>,
) -> Losses {
    run_test(async |executor| {
        let ledger = Rc::new(Ledger::default());
        let mut sender = Sender::new(receiver, Rc::clone(&ledger), Clock::default());
        sender.connector = connector;
        let sender = Rc::new(sender);
        let task = Rc::clone(&sender);
        driver::spawn(executor, async move { task.send().await }).detach();
        for number in 0..count {
            sender.push(batch(number));
            sender.idle().await;
        }
        sender
            .finish(limit.unwrap_or(Duration::from_millis(1)))
            .await;
        ledger.total()
    })
}

/// Why no connection comes about.
fn refusal(receiver: &OtlpReceiver) -> String {
    run_test(async |_| {
        let connected = Connector::new().connect(receiver).await;
        connected.err().map(|error| error.to_string()).unwrap()
    })
}

fn bodies(server: &Server) -> Vec<u8> {
    let requests = server.requests.try_iter();
    requests.map(|(request, _)| request.body[0]).collect()
}

fn is_whole(request: &Request) -> bool {
    request.target == "/v1/metrics" && request.header("Host") == Some("receiver.example")
}

#[test]
fn both_versions_are_spoken_and_either_alone() {
    let https = Https::new();
    for versions in [BOTH, &[&TLS12], &[&TLS13]] {
        let identity = https.authority.certify("receiver.example", 2020, 2100);
        let server = Server::start(identity, versions, |_| Conduct::Serve);
        let receiver = https.receiver("receiver.example", server.address);
        assert!(send(receiver, 3, None).is_empty(), "{versions:?}");
        let requests: Vec<_> = server.requests.try_iter().collect();
        assert_eq!(requests.len(), 3);
        assert!(requests.iter().all(|(request, _)| is_whole(request)));
        // Each has a connection of its own, and all but the first begin with its ticket.
        let resumed: Vec<bool> = requests.iter().map(|(_, resumed)| *resumed).collect();
        assert_eq!(resumed, [false, true, true], "{versions:?}");
    }
}

#[test]
fn an_address_is_certified_like_a_name() {
    let https = Https::new();
    let server = https.server("127.0.0.1", |_| Conduct::Serve);
    let receiver = https.receiver("127.0.0.1", server.address);
    assert!(send(receiver, 1, None).is_empty());
    assert_eq!(bodies(&server), [0]);
}

#[test]
fn each_fault_of_a_certificate_is_told_apart() {
    let https = Https::new();
    let other = Authority::new("another");
    let name = "receiver.example";
    let public = OtlpReceiver {
        tls: Some(Tls {
            host: name.to_owned(),
            certificate: None,
        }),
        ..https.receiver(name, ([127, 0, 0, 1], 0).into())
    };
    let own = https.receiver(name, ([127, 0, 0, 1], 0).into());
    let authority = &https.authority;
    let table = [
        (authority.certify(name, 2001, 2002), &own, "expired"),
        (authority.certify(name, 2090, 2100), &own, "not valid yet"),
        (
            authority.certify("other.example", 2020, 2100),
            &own,
            "not valid for name",
        ),
        (other.certify(name, 2020, 2100), &own, "UnknownIssuer"),
        // A private authority is none of the public ones.
        (
            authority.certify(name, 2020, 2100),
            &public,
            "UnknownIssuer. The file that OTEL_EXPORTER_OTLP_CERTIFICATE names",
        ),
    ];
    for (identity, receiver, expected) in table {
        let server = Server::start(identity, BOTH, |_| Conduct::Serve);
        let receiver = OtlpReceiver {
            address: Address::Known(server.address),
            ..receiver.clone()
        };
        let found = refusal(&receiver);
        assert!(found.contains(expected), "{found}");
        assert!(found.starts_with("invalid peer certificate: "), "{found}");
        // It is tried again, and lost at the end.
        assert_eq!(send(receiver, 1, None).points, 1, "{found}");
        assert_eq!(
            bodies(&server),
            [0_u8; 0],
            "nothing is sent before the check"
        );
    }
}

#[test]
fn a_peer_that_speaks_no_tls_is_told() {
    let https = Https::new();
    let name = "receiver.example";
    for (conduct, expected) in [
        (Conduct::Plain, "corrupt message"),
        (Conduct::Refuse, "closed during the TLS handshake"),
    ] {
        let server = https.server(name, move |_| conduct);
        let found = refusal(&https.receiver(name, server.address));
        assert!(
            found.contains(expected) || found.contains("reset"),
            "{found}"
        );
    }
}

#[test]
fn a_file_without_an_authority_is_told_with_its_path() {
    let https = Https::new();
    fs::write(https.path("empty.pem"), "nothing").unwrap();
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    fs::write(https.path("broken.pem"), broken).unwrap();
    let server = https.server("receiver.example", |_| Conduct::Serve);
    for file in ["none.pem", "empty.pem", "broken.pem"] {
        let mut receiver = https.receiver("receiver.example", server.address);
        receiver.tls.as_mut().unwrap().certificate = Some(https.path(file));
        let found = refusal(&receiver);
        assert!(found.starts_with("the certificate file "), "{found}");
        assert!(found.contains(file), "{found}");
    }
}

#[test]
fn a_slow_handshake_has_the_time_of_a_request_and_no_more() {
    let https = Https::new();
    let name = "receiver.example";
    let server = https.server(name, |_| Conduct::Mute);
    let receiver = OtlpReceiver {
        timeout_ms: 50,
        ..https.receiver(name, server.address)
    };
    assert_eq!(send(receiver, 1, None).points, 1);
    // At the end there is less.
    let clock = Clock::default();
    let began = clock.monotonic();
    let receiver = https.receiver(name, server.address);
    let losses = run_test(async |_| {
        let ledger = Rc::new(Ledger::default());
        let sender = Sender::new(receiver, Rc::clone(&ledger), clock);
        sender.push(batch(1));
        sender.finish(Duration::from_millis(50)).await;
        ledger.total()
    });
    assert_eq!(losses.points, 1);
    let took = clock.monotonic().saturating_duration_since(began);
    assert!(took < Duration::from_secs(20), "{took:?}");
}

/// What has a length is whole when that is there; what has none ends with `close_notify` alone,
/// since anybody can cut a connection. The status alone is an answer.
#[test]
fn a_connection_may_end_in_every_way_once_there_is_an_answer() {
    let https = Https::new();
    let name = "receiver.example";
    for conduct in [
        Conduct::CloseNotify,
        Conduct::Abrupt,
        Conduct::CloseNotifyWithoutLength,
        Conduct::AbruptWithoutLength,
    ] {
        let server = https.server(name, move |_| conduct);
        let receiver = https.receiver(name, server.address);
        assert!(send(receiver, 2, None).is_empty(), "{conduct:?}");
        assert_eq!(bodies(&server), [0, 1], "{conduct:?}");
    }
}

/// A connection that is cut in the handshake is made again.
#[test]
fn what_was_not_taken_is_sent_again() {
    let https = Https::new();
    let name = "receiver.example";
    let server = https.server(name, |number| match number {
        0 => Conduct::Refuse,
        _ => Conduct::Serve,
    });
    let receiver = https.receiver(name, server.address);
    assert!(send(receiver, 1, Some(Duration::from_secs(20))).is_empty());
    assert_eq!(bodies(&server), [0]);
}

/// A freeze between the request and its answer: the peer was restarted, or dropped the connection.
#[test]
fn a_connection_that_a_freeze_breaks_off_is_made_again() {
    let https = Https::new();
    let name = "receiver.example";
    for conduct in [Conduct::Forget, Conduct::Refuse] {
        let server = https.server(name, move |number| match number {
            1 => conduct,
            _ => Conduct::Serve,
        });
        let receiver = https.receiver(name, server.address);
        // One attempt of the second batch fails. Its next one is due with the third.
        assert!(send(receiver, 3, Some(Duration::from_secs(20))).is_empty());
        let mut taken = bodies(&server);
        taken.dedup();
        assert_eq!(taken, [0, 1, 2], "{conduct:?}");
    }
}

/// A freeze in which the connection went without a word, and then the end: what was on its way is
/// sent over a new connection, and what waited behind it.
#[test]
fn a_connection_that_a_freeze_left_dead_is_given_up_at_the_end() {
    let https = Https::new();
    let name = "receiver.example";
    let server = https.server(name, |number| match number {
        1 => Conduct::Stall,
        _ => Conduct::Serve,
    });
    let receiver = https.receiver(name, server.address);
    let (losses, taken) = run_test(async |executor| {
        let ledger = Rc::new(Ledger::default());
        let sender = Rc::new(Sender::new(receiver, Rc::clone(&ledger), Clock::default()));
        let task = Rc::clone(&sender);
        driver::spawn(executor, async move { task.send().await }).detach();
        sender.push(batch(0));
        sender.idle().await;
        sender.push(batch(1));
        let mut taken = Vec::new();
        // Until the second request is at the peer.
        while taken.len() < 2 {
            taken.extend(bodies(&server));
            Clock::default().sleep(Duration::from_millis(1)).await;
        }
        sender.push(batch(2));
        sender.settle(Duration::from_millis(5)).await;
        sender.finish(Duration::from_secs(20)).await;
        taken.extend(bodies(&server));
        (ledger.total(), taken)
    });
    assert!(losses.is_empty(), "{losses:?}");
    assert_eq!(taken, [0, 1, 1, 2]);
}

/// Where the name of the test leads; it may change between two connections.
static LEADS_TO: Mutex<Vec<SocketAddr>> = Mutex::new(Vec::new());

#[test]
fn a_name_is_looked_up_for_each_connection() {
    let https = Https::new();
    let name = "receiver.example";
    let servers = [0; 2].map(|_| https.server(name, |_| Conduct::Serve));
    let [first, second] = [0, 1].map(|at| servers[at].address);
    *LEADS_TO.lock().unwrap() = vec![second, first];
    let connector = Connector {
        lookup: |host, _| {
            assert_eq!(host, "receiver.example");
            Ok(vec![LEADS_TO.lock().unwrap().pop().unwrap()])
        },
        config: OnceCell::new(),
    };
    let receiver = OtlpReceiver {
        address: Address::Named(name.to_owned(), 443),
        ..https.receiver(name, first)
    };
    assert!(send_by(connector, receiver, 2, None).is_empty());
    // The ticket of the first is worth nothing to the second, as after a freeze of days.
    let taken = servers
        .each_ref()
        .map(|server| server.requests.recv().unwrap());
    let taken = taken.map(|(request, is_resumed)| (request.body[0], is_resumed));
    assert_eq!(taken, [(0, false), (1, false)]);
}

#[test]
fn an_address_that_leads_nowhere_is_no_end() {
    let https = Https::new();
    let name = "localhost";
    let server = https.server(name, |_| Conduct::Serve);
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = gone.local_addr().unwrap();
    run_test(async |_| {
        assert!(connect_any(vec![gone, server.address], name).await.is_ok());
        let none = connect_any(Vec::new(), name).await.unwrap_err();
        assert_eq!(
            none.to_string(),
            "no address was found for the name localhost"
        );
    });
}

#[test]
fn the_libc_finds_this_host_and_nothing_that_is_reserved() {
    run_test(async |_| {
        let found = look_up(resolve, "localhost".to_owned(), 7).await.unwrap();
        assert!(
            found
                .iter()
                .all(|address| address.ip().is_loopback() && address.port() == 7)
        );
        // <https://www.rfc-editor.org/rfc/rfc6761#section-6.4>
        assert!(
            look_up(resolve, "nowhere.invalid".to_owned(), 7)
                .await
                .is_err()
        );
    });
}

/// The first has a thread, which does not hold up the others.
#[test]
fn a_resolver_that_hangs_holds_up_its_own_connection() {
    let stuck: Lookup = |_, _| {
        thread::park();
        Ok(Vec::new())
    };
    run_test(async |_| {
        let clock = Clock::default();
        let lookup = look_up(stuck, "x".to_owned(), 1);
        let outcome = clock.within(Duration::from_millis(20), lookup).await;
        assert!(outcome.is_none());
    });
}

#[test]
fn names_and_addresses_are_reached_without_tls_too() {
    let server = testkit::http::Server::with_status("200 OK");
    let receiver = OtlpReceiver {
        address: Address::Named("localhost".to_owned(), server.address.port()),
        ..OtlpReceiver::at(server.address, "/v1/metrics")
    };
    assert!(send(receiver, 2, None).is_empty());
    assert_eq!(server.requests.try_iter().count(), 2);
}

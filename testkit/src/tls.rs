//! HTTPS for tests: certificates of an authority of our own, and a server that shows them.

use std::io::{BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion};

use crate::http::Request;

/// An authority, which signs certificates.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate, as a file holds it.
    pub pem: String,
}

/// A certificate and its key.
#[derive(Debug)]
pub struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

/// What a [`Server`] does with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conduct {
    /// Answers requests with 200 until the client closes.
    Serve,
    /// Answers one, says that it closes, and closes.
    CloseNotify,
    /// Answers one, and closes without a word.
    Abrupt,
    /// Answers one without a length, and closes without a word.
    AbruptWithoutLength,
    /// Answers one without a length, says that it closes, and closes.
    CloseNotifyWithoutLength,
    /// Takes a request, and closes in place of an answer.
    Forget,
    /// Takes a request, and says nothing until the client gives up.
    Stall,
    /// Closes before the handshake.
    Refuse,
    /// Answers nothing, not even the handshake.
    Mute,
    /// Speaks HTTP without TLS.
    Plain,
}

/// A server for HTTPS.
#[derive(Debug)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// Every request, and whether the handshake before it resumed a session.
    pub requests: mpsc::Receiver<(Request, bool)>,
}

impl Authority {
    /// An authority of this name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        Self { issuer, pem }
    }

    /// A certificate for this name or address, in the years from the first to before the second.
    #[must_use]
    pub fn certify(&self, name: &str, from: i32, until: i32) -> Identity {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity {
            certificate: certificate.der().clone(),
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        }
    }
}

impl Server {
    /// Listens with this certificate and these versions of TLS. `conduct` says what it does with
    /// each connection, by its number.
    ///
    /// Each connection has a thread, and all end with the process.
    pub fn start(
        identity: Identity,
        versions: &[&'static SupportedProtocolVersion],
        conduct: impl Fn(usize) -> Conduct + Send + 'static,
    ) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider);
        let config = builder
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![identity.certificate], identity.key)
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, requests) = mpsc::channel();
        thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let (config, sender) = (Arc::clone(&config), sender.clone());
                let conduct = conduct(number);
                thread::spawn(move || serve(stream.unwrap(), config, conduct, &sender));
            }
        });
        Self { address, requests }
    }
}

fn serve(
    mut tcp: TcpStream,
    config: Arc<ServerConfig>,
    conduct: Conduct,
    requests: &mpsc::Sender<(Request, bool)>,
) {
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    match conduct {
        Conduct::Refuse => return,
        Conduct::Mute => return stay_silent(&mut tcp),
        Conduct::Plain => {
            tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").ok();
            return;
        }
        Conduct::Serve
        | Conduct::Forget
        | Conduct::Stall
        | Conduct::CloseNotify
        | Conduct::Abrupt
        | Conduct::AbruptWithoutLength
        | Conduct::CloseNotifyWithoutLength => {}
    }
    let session = ServerConnection::new(config).unwrap();
    let mut stream = BufReader::new(StreamOwned::new(session, tcp));
    while let Ok(Some(request)) = Request::read(&mut stream) {
        let tls = stream.get_mut();
        let is_resumed = tls.conn.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
        requests.send((request, is_resumed)).ok();
        if conduct == Conduct::Forget {
            return;
        }
        if conduct == Conduct::Stall {
            return stay_silent(&mut tls.sock);
        }
        let has_no_length = matches!(
            conduct,
            Conduct::AbruptWithoutLength | Conduct::CloseNotifyWithoutLength
        );
        let answer: &[u8] = match has_no_length {
            true => b"HTTP/1.1 200 OK\r\n\r\n",
            false => b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        };
        if tls.write_all(answer).is_err() {
            return;
        }
        if conduct == Conduct::Serve {
            continue;
        }
        if matches!(
            conduct,
            Conduct::CloseNotify | Conduct::CloseNotifyWithoutLength
        ) {
            tls.conn.send_close_notify();
            tls.flush().ok();
        }
        return;
    }
}

/// Until the client gives up.
fn stay_silent(tcp: &mut TcpStream) {
    let mut nothing = Vec::new();
    std::io::Read::read_to_end(tcp, &mut nothing).ok();
}

/// How long a connection may be silent.
const PATIENCE: Duration = Duration::from_secs(60);

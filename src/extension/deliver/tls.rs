//! Connections to receivers by their names, and over TLS.
//!
//! Nothing here happens before there is something to send: a handshake is a millisecond of
//! processor time and some round trips.
//!
//! A name is looked up and a handshake made for each connection, since either may have changed in a
//! freeze; a ticket of the handshake before makes the next one short.

use std::cell::OnceCell;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;

use async_io::Async;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::extension::settings::{Address, OtlpReceiver, Tls};
use crate::extension::tls::Connection;

/// Connects to one receiver.
#[derive(Debug)]
pub(super) struct Connector {
    lookup: Lookup,
    /// Made for the first connection.
    config: OnceCell<Arc<ClientConfig>>,
}

/// Looks up the addresses of a host, with the port in each.
type Lookup = fn(&str, u16) -> io::Result<Vec<SocketAddr>>;

impl Connector {
    pub(super) fn new() -> Self {
        Self {
            lookup: resolve,
            config: OnceCell::new(),
        }
    }

    pub(super) async fn connect(&self, receiver: &OtlpReceiver) -> io::Result<Connection> {
        let tcp = match &receiver.address {
            Address::Known(address) => Async::<TcpStream>::connect(*address).await?,
            Address::Named(host, port) => {
                let addresses = look_up(self.lookup, host.clone(), *port).await?;
                connect_any(addresses, host).await?
            }
        };
        let Some(tls) = &receiver.tls else {
            return Ok(Connection::from(tcp));
        };
        let config = match self.config.get() {
            Some(config) => config,
            None => {
                let config = Arc::new(client(tls)?);
                self.config.get_or_init(|| config)
            }
        };
        let name = ServerName::try_from(tls.host.clone()).map_err(io::Error::other)?;
        let session = ClientConnection::new(Arc::clone(config), name);
        Connection::shake_hands(tcp, session.map_err(io::Error::other)?).await
    }
}

/// Tries one address after the other: a name may have one that leads nowhere from here.
async fn connect_any(addresses: Vec<SocketAddr>, host: &str) -> io::Result<Async<TcpStream>> {
    let mut failure = io::Error::other(format!("no address was found for the name {host}"));
    for address in addresses {
        match Async::<TcpStream>::connect(address).await {
            Ok(tcp) => return Ok(tcp),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Asks the resolver of the libc, which may take seconds, on a thread of its own.
///
/// The thread of an attempt that was given up ends with the time that the resolver takes, which the
/// libc bounds, and attempts have pauses between them: there are a few at most.
async fn look_up(lookup: Lookup, host: String, port: u16) -> io::Result<Vec<SocketAddr>> {
    let (done, end_of_thread) = UnixStream::pair()?;
    let done = Async::new(done)?;
    let thread = thread::Builder::new().spawn(move || {
        let found = lookup(&host, port);
        drop(end_of_thread);
        found
    })?;
    done.readable().await?;
    thread
        .join()
        .unwrap_or_else(|_panic| Err(io::Error::other("the thread of the resolver panicked")))
}

fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok((host, port).to_socket_addrs()?.collect())
}

/// The authorities to trust: those of the file, or the ones that are built in.
fn client(tls: &Tls) -> io::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    match &tls.certificate {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(path) => {
            let fault = |error: &dyn std::fmt::Display| {
                io::Error::other(format!("the certificate file {path}: {error}"))
            };
            let certificates =
                CertificateDer::pem_file_iter(path).map_err(|error| fault(&error))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|error| fault(&error))?;
                roots.add(certificate).map_err(|error| fault(&error))?;
            }
            if roots.is_empty() {
                return Err(fault(&"it holds no certificate"));
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions();
    let builder = builder.map_err(io::Error::other)?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;

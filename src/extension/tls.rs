//! A connection that may be encrypted.

use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::TcpStream;

use async_io::Async;
use futures_lite::AsyncWriteExt as _;
use rustls::{CertificateError, ClientConnection, Error};

use crate::extension::tcp;

/// A connection, which is encrypted unless the endpoint is `http`.
#[derive(Debug)]
pub(super) struct Connection {
    tcp: Async<TcpStream>,
    tls: Option<Box<ClientConnection>>,
}

impl Connection {
    /// Makes a connection encrypted.
    pub(super) async fn shake_hands(
        tcp: Async<TcpStream>,
        session: ClientConnection,
    ) -> io::Result<Self> {
        let mut tls = Box::new(session);
        while tls.is_handshaking() {
            flush(&tcp, &mut tls).await?;
            if tls.is_handshaking() && receive(&tcp, &mut tls).await? == 0 {
                let text = "the connection was closed during the TLS handshake";
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
            }
        }
        flush(&tcp, &mut tls).await?;
        Ok(Self {
            tcp,
            tls: Some(tls),
        })
    }

    /// Says that this is the end, as <https://www.rfc-editor.org/rfc/rfc8446#section-6.1> asks.
    pub(super) async fn close(&mut self) -> io::Result<()> {
        let Some(tls) = &mut self.tls else {
            return Ok(());
        };
        tls.send_close_notify();
        flush(&self.tcp, tls).await
    }

    /// Writes some of what the parts hold.
    pub(super) async fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return self.tcp.write_vectored(parts).await;
        };
        let count = tls.writer().write_vectored(parts)?;
        flush(&self.tcp, tls).await?;
        Ok(count)
    }

    /// Reads some bytes behind the end of a buffer that has room; 0 is the end.
    pub(super) async fn read(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return tcp::read(&self.tcp, buffer).await;
        };
        loop {
            let mut block = [0; 1_024];
            let room = block.len().min(buffer.capacity() - buffer.len());
            let block = block.get_mut(..room).unwrap_or_default();
            match tls.reader().read(block) {
                Ok(count) => {
                    buffer.extend_from_slice(block.get(..count).unwrap_or_default());
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Without the alert `close_notify`, the end of the connection is an error.
                Err(error) => return Err(error),
            }
            flush(&self.tcp, tls).await?;
            receive(&self.tcp, tls).await?;
        }
    }
}

impl From<Async<TcpStream>> for Connection {
    /// A connection without TLS.
    fn from(tcp: Async<TcpStream>) -> Self {
        Self { tcp, tls: None }
    }
}

/// Writes what is encrypted.
async fn flush(tcp: &Async<TcpStream>, tls: &mut ClientConnection) -> io::Result<()> {
    while tls.wants_write() {
        tcp.write_with(|mut tcp| tls.write_tls(&mut tcp)).await?;
    }
    Ok(())
}

/// Reads some bytes and decrypts them; 0 at the end.
async fn receive(tcp: &Async<TcpStream>, tls: &mut ClientConnection) -> io::Result<usize> {
    let count = tcp.read_with(|mut tcp| tls.read_tls(&mut tcp)).await?;
    if let Err(error) = tls.process_new_packets() {
        // The alert that says why.
        flush(tcp, tls).await.ok();
        return Err(io::Error::other(fault(&error)));
    }
    Ok(count)
}

/// The fault of a peer in words for the log.
fn fault(error: &Error) -> String {
    let mut text = error.to_string();
    if *error == Error::InvalidCertificate(CertificateError::UnknownIssuer) {
        text.push_str(
            ". The file that OTEL_EXPORTER_OTLP_CERTIFICATE names holds the authorities that are \
             trusted in place of the public ones",
        );
    }
    text
}

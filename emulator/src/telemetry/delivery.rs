//! The delivery of one batch to a listener, over HTTP or TCP.

use std::convert::Infallible;
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::{fmt, io};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, SizeHint};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;

use super::queue::Batch;
use super::subscription::Destination;
use crate::http::collect;

/// Sends batches to one destination, over one connection for as long as it lasts.
#[derive(Debug)]
pub(crate) enum Client {
    Http(HttpClient),
    Tcp(TcpClient),
}

#[derive(Debug)]
pub(crate) struct HttpClient {
    port: u16,
    authority: String,
    path: String,
    chunk_bytes: Option<usize>,
    sender: Option<SendRequest<Chunks>>,
}

#[derive(Debug)]
pub(crate) struct TcpClient {
    port: u16,
    stream: Option<TcpStream>,
}

/// The error of a delivery.
#[derive(Debug)]
pub(crate) enum DeliveryError {
    /// Nobody listens.
    Connect(io::Error),
    /// The connection broke.
    Write(io::Error),
    /// The request or its response broke.
    Http(hyper::Error),
    /// The request could not be made from the destination's URI.
    Request(hyper::http::Error),
    /// The response ended before its end.
    Truncated,
    /// The listener answered with an error.
    Status(u16),
}

impl Client {
    pub(crate) fn new(destination: Destination, chunk_bytes: Option<usize>) -> Self {
        match destination {
            Destination::Http {
                port,
                authority,
                path,
            } => Self::Http(HttpClient {
                port,
                authority,
                path,
                chunk_bytes,
                sender: None,
            }),
            Destination::Tcp { port } => Self::Tcp(TcpClient { port, stream: None }),
        }
    }

    /// Sends a batch. Gives the body's length.
    pub(crate) async fn send(&mut self, batch: &Batch) -> Result<usize, DeliveryError> {
        match self {
            Self::Http(client) => client.send(array(batch)).await,
            Self::Tcp(client) => client.send(&lines(batch)).await,
        }
    }
}

impl HttpClient {
    /// There is no limit on the time an answer takes: a listener that never answers holds up what
    /// comes after, until the queue is full.
    async fn send(&mut self, body: Bytes) -> Result<usize, DeliveryError> {
        let length = body.len();
        let request = self.request(body).map_err(DeliveryError::Request)?;
        let mut sender = self.connected().await?;
        let response = sender
            .send_request(request)
            .await
            .map_err(DeliveryError::Http)?;
        let status = response.status().as_u16();
        let collected = collect(response.into_body(), 0).await;
        if collected.truncated {
            return Err(DeliveryError::Truncated);
        }
        self.sender = Some(sender);
        if status >= 400 {
            return Err(DeliveryError::Status(status));
        }
        Ok(length)
    }

    fn request(&self, body: Bytes) -> Result<Request<Chunks>, hyper::http::Error> {
        // As aws-lambda-runtime-interface-emulator makes it. A batch that is sent again unchanged
        // has the same one.
        let sequence_id = STANDARD.encode(Sha256::digest(&body));
        Request::builder()
            .method(Method::POST)
            .uri(&self.path)
            .header(HOST, &self.authority)
            .header(CONTENT_TYPE, "application/json")
            .header("sequence-id", sequence_id)
            .body(Chunks {
                rest: body,
                chunk_bytes: self.chunk_bytes,
            })
    }

    /// The connection there is, or a new one if it was closed meanwhile.
    async fn connected(&mut self) -> Result<SendRequest<Chunks>, DeliveryError> {
        if let Some(mut sender) = self.sender.take()
            && sender.ready().await.is_ok()
        {
            return Ok(sender);
        }
        let stream = connect(self.port).await?;
        let (sender, connection) = http1::Builder::new()
            .title_case_headers(true)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(DeliveryError::Http)?;
        // It ends when the sender is dropped. The sender gets its error.
        drop(tokio::spawn(async move { drop(connection.await) }));
        Ok(sender)
    }
}

impl TcpClient {
    /// Nothing acknowledges what is sent over TCP: it is taken when it is written.
    async fn send(&mut self, mut lines: &[u8]) -> Result<usize, DeliveryError> {
        let length = lines.len();
        let stream = match self.stream.take() {
            Some(stream) => stream,
            None => connect(self.port).await?,
        };
        while !lines.is_empty() {
            stream.writable().await.map_err(DeliveryError::Write)?;
            match stream.try_write(lines) {
                Ok(written) => lines = lines.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(DeliveryError::Write(error)),
            }
        }
        self.stream = Some(stream);
        Ok(length)
    }
}

impl fmt::Display for DeliveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(source) => write!(f, "failed to connect: {source}"),
            Self::Write(source) => write!(f, "failed to write: {source}"),
            Self::Http(source) => write!(f, "request failed: {source}"),
            Self::Request(source) => write!(f, "request could not be made: {source}"),
            Self::Truncated => f.write_str("response was cut"),
            Self::Status(status) => write!(f, "listener answered {status}"),
        }
    }
}

impl Error for DeliveryError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Connect(source) | Self::Write(source) => Some(source),
            Self::Http(source) => Some(source),
            Self::Request(source) => Some(source),
            Self::Truncated | Self::Status(_) => None,
        }
    }
}

/// A body with `Content-Length`, or chunked in chunks of one size (RFC 9112 section 7.1).
#[derive(Debug)]
pub(crate) struct Chunks {
    rest: Bytes,
    chunk_bytes: Option<usize>,
}

impl Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.rest.len();
        let piece = self.chunk_bytes.unwrap_or(length).clamp(1, length);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        match self.chunk_bytes {
            None => SizeHint::with_exact(u64::try_from(self.rest.len()).unwrap_or(u64::MAX)),
            Some(_) => SizeHint::new(),
        }
    }
}

async fn connect(port: u16) -> Result<TcpStream, DeliveryError> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let stream = TcpStream::connect(address)
        .await
        .map_err(DeliveryError::Connect)?;
    let _unset = stream.set_nodelay(true);
    Ok(stream)
}

/// A JSON array of the records.
fn array(batch: &Batch) -> Bytes {
    let mut body = BytesMut::with_capacity(batch.bytes + batch.records.len() + 2);
    body.extend_from_slice(b"[");
    for (index, record) in batch.records.iter().enumerate() {
        if index > 0 {
            body.extend_from_slice(b",");
        }
        body.extend_from_slice(record);
    }
    body.extend_from_slice(b"]");
    body.freeze()
}

/// The records, one a line.
fn lines(batch: &Batch) -> Bytes {
    let mut body = BytesMut::with_capacity(batch.bytes + batch.records.len());
    for record in &batch.records {
        body.extend_from_slice(record);
        body.extend_from_slice(b"\n");
    }
    body.freeze()
}

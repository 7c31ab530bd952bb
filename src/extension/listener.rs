//! Where the platform delivers telemetry: a small server that answers before it looks.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/telemetry-api.html#telemetry-api-destinations>
//!
//! A batch is answered with 200 as soon as it has been read. Any other answer would only bring the
//! same batch again, and while one is unanswered the platform drops what comes behind it.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use async_executor::LocalExecutor;
use async_io::{Async, Timer};
use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _, future};

use super::config::Protocol;
use super::driver;
use super::state::State;
use crate::shared::blocking::ExchangeError;
use crate::shared::http::{Expect, HeadWriter, HttpError, Limits, Progress, Reader};

/// Serves the listener for ever.
#[expect(clippy::infinite_loop, reason = "it ends with the process")]
pub(super) async fn listen(
    executor: Rc<LocalExecutor<'static>>,
    state: Rc<State>,
    listener: TcpListener,
    protocol: Protocol,
) {
    let Ok(listener) = Async::new(listener) else {
        return;
    };
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, most likely: others have to end first.
            Timer::after(ACCEPT_PAUSE).await;
            continue;
        };
        if state.connections.get() < CONNECTIONS_MAX {
            state.connections.set(state.connections.get() + 1);
            let state = Rc::clone(&state);
            let exporting = Rc::clone(&executor);
            let task = executor.spawn(async move {
                match protocol {
                    Protocol::Http => serve_http(&state, &exporting, stream).await,
                    Protocol::Tcp => serve_tcp(&state, &exporting, stream).await,
                }
                state.connections.set(state.connections.get() - 1);
            });
            task.detach();
        } else {
            state.lost_delivery(0);
        }
    }
}

/// Serves one connection until it ends, breaks the protocol or takes too long over a message.
async fn serve_http(
    state: &Rc<State>,
    executor: &Rc<LocalExecutor<'static>>,
    mut stream: Async<TcpStream>,
) {
    let limits = Limits::of_body(BATCH_BYTES_MAX);
    let mut request = Reader::new(Expect::Request, limits);
    let mut head = Vec::new();
    let mut progress = Ok(Progress::Partial);
    loop {
        if progress == Ok(Progress::Partial) {
            match read_request(&mut stream, &mut request).await {
                Ok(()) => {}
                Err(Failed::Http(HttpError::Closed)) => return,
                Err(Failed::Http(error)) => progress = Err(error),
                Err(Failed::Io | Failed::TooSlow) => {
                    state.lost_delivery(0);
                    return;
                }
            }
        }
        if let Err(error) = progress {
            state.lost_delivery(0);
            let status = if matches!(error, HttpError::BodyTooLarge { .. }) {
                413
            } else {
                400
            };
            answer(&mut stream, &mut head, status).await.ok();
            return;
        }
        let is_batch = request.head().method() == b"POST";
        let answered = answer(&mut stream, &mut head, if is_batch { 200 } else { 405 }).await;
        if is_batch {
            state.batch(request.body());
            state.export_what_is_due(executor);
        }
        if answered.is_err() || request.close_reason().is_some() {
            return;
        }
        progress = request.next_message();
    }
}

async fn answer(stream: &mut Async<TcpStream>, head: &mut Vec<u8>, status: u16) -> io::Result<()> {
    HeadWriter::response(head, status).end_with_length(0);
    let write = stream.write_all(head);
    future::or(write, async {
        Timer::after(MESSAGE_TIMEOUT).await;
        Err(io::ErrorKind::TimedOut.into())
    })
    .await
}

enum Failed {
    Io,
    Http(HttpError),
    TooSlow,
}

/// Reads one request. It may take any time to begin, since the environment may be frozen and the
/// connection is kept, and only so long to end.
async fn read_request(stream: &mut Async<TcpStream>, request: &mut Reader) -> Result<(), Failed> {
    if !request.has_bytes() {
        stream.readable().await.map_err(|_lost| Failed::Io)?;
    }
    let read = async {
        driver::read(stream, request)
            .await
            .map_err(|error| match error {
                ExchangeError::Connect(_) | ExchangeError::Io(_) => Failed::Io,
                ExchangeError::Http(error) => Failed::Http(error),
            })
    };
    let slow = async {
        Timer::after(MESSAGE_TIMEOUT).await;
        Err(Failed::TooSlow)
    };
    future::or(read, slow).await
}

/// Takes lines of JSON until the connection ends.
async fn serve_tcp(
    state: &Rc<State>,
    executor: &Rc<LocalExecutor<'static>>,
    mut stream: Async<TcpStream>,
) {
    let mut buffer = vec![0; LINES_BYTES_MAX];
    let mut filled = 0;
    loop {
        let Some(space) = buffer.get_mut(filled..).filter(|space| !space.is_empty()) else {
            // A line that fills the whole buffer cannot be taken.
            state.lost_delivery(filled);
            filled = 0;
            continue;
        };
        let count = match stream.read(space).await {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_lost) => break,
        };
        filled += count;
        let whole = buffer.get(..filled).unwrap_or_default();
        if let Some(end) = memchr::memrchr(b'\n', whole).map(|at| at + 1) {
            state.lines(whole.get(..end).unwrap_or_default());
            state.export_what_is_due(executor);
            buffer.copy_within(end..filled, 0);
            filled -= end;
        }
    }
    state.lines(buffer.get(..filled).unwrap_or_default());
}

/// Connections at once. The platform has one or two.
const CONNECTIONS_MAX: usize = 8;

/// Bytes of one batch: twice the largest `maxBytes` asked for, and as much again for metadata.
/// <https://docs.aws.amazon.com/lambda/latest/dg/telemetry-api.html#telemetry-api-buffering>
const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of lines held while one of them is incomplete.
const LINES_BYTES_MAX: usize = 256 * 1024;

/// How long a message may take from its first byte to its last.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(5);

const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

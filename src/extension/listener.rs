//! Where the platform delivers telemetry: a small server that answers before it looks.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/telemetry-api.html#telemetry-api-destinations>
//!
//! A batch is answered with 200 as soon as it has been read. Any other answer would only bring the
//! same batch again, and while one is unanswered the platform drops what comes behind it.

use std::cell::Cell;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::rc::{Rc, Weak};
use std::time::Duration;

use async_executor::Task;
use async_io::{Async, Timer};
use futures_lite::{AsyncWriteExt as _, future};

use crate::extension::io::{self as driver, Executor, ReadError};
use crate::extension::reporter::State;
use crate::shared::http::{Expect, HeadWriter, HttpError, Limits, Progress, Reader};

/// Serves the listener for ever. Each connection is a task, and dropping the task closes it.
#[expect(clippy::infinite_loop, reason = "it ends with the process")]
pub(super) async fn listen(state: &'static State, executor: Executor, listener: TcpListener) {
    let Ok(listener) = Async::new(listener) else {
        return;
    };
    let mut open: Vec<Open> = Vec::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, most likely: others have to end first.
            Timer::after(ACCEPT_PAUSE).await;
            continue;
        };
        open.retain(|connection| !connection.task.is_finished());
        if CONNECTIONS_MAX <= open.len() {
            make_room(state, &mut open);
        }
        let connection = Rc::new(Connection {
            state,
            is_busy: Cell::new(false),
            stream,
        });
        open.push(Open {
            connection: Rc::downgrade(&connection),
            task: driver::spawn(executor, async move { connection.serve().await }),
        });
        // One that connects again and again takes turns with the connections there are.
        future::yield_now().await;
    }
}

/// A connection that is being served. The task owns it, so it is closed when the task ends.
struct Open {
    connection: Weak<Connection>,
    task: Task<()>,
}

impl Open {
    /// Whether a part of a delivery has been read, or lies in the socket.
    fn is_busy(&self) -> bool {
        self.connection.upgrade().is_some_and(|connection| {
            let unread = rustix::io::ioctl_fionread(&connection.stream);
            connection.is_busy.get() || unread.is_ok_and(|bytes| bytes != 0)
        })
    }
}

/// Closes a connection. It may be kept for ever, also by a peer that is gone, as after a restore. The
/// oldest that is between messages makes room, and the platform opens another if it was its own.
fn make_room(state: &State, open: &mut Vec<Open>) {
    let oldest = open.iter().position(|connection| !connection.is_busy());
    let closed = open.remove(oldest.unwrap_or(0));
    if closed.is_busy() {
        state.lost_delivery(0);
    }
}

struct Connection {
    state: &'static State,
    /// Whether a part of a delivery has been read.
    is_busy: Cell<bool>,
    stream: Async<TcpStream>,
}

impl Connection {
    /// Serves one connection until it ends, breaks the protocol or takes too long over a message.
    async fn serve(&self) {
        let limits = Limits::of_body(BATCH_BYTES_MAX);
        let mut request = Reader::new(Expect::Request, limits);
        let mut head = Vec::new();
        let mut progress = Ok(Progress::Partial);
        loop {
            if progress == Ok(Progress::Partial) {
                match self.read_request(&mut request).await {
                    Ok(()) => {}
                    Err(ReadError::Http(HttpError::Closed)) => return,
                    Err(ReadError::Http(error)) => progress = Err(error),
                    Err(ReadError::Lost) => {
                        if request.has_bytes() {
                            self.state.lost_delivery(0);
                        }
                        return;
                    }
                }
            }
            if let Err(error) = progress {
                let (status, bytes) = refusal(error);
                self.state.lost_delivery(bytes);
                self.answer(&mut head, status).await.ok();
                return;
            }
            let is_batch = request.head().method() == b"POST";
            let answered = self
                .answer(&mut head, if is_batch { 200 } else { 405 })
                .await;
            if is_batch {
                self.state.batch(request.body());
                self.state.export(false);
            }
            if answered.is_err() || request.close_reason().is_some() {
                return;
            }
            progress = request.next_message();
            self.is_busy.set(request.has_bytes());
            // The next request may be here already: others have their turn first.
            future::yield_now().await;
        }
    }

    async fn answer(&self, head: &mut Vec<u8>, status: u16) -> io::Result<()> {
        HeadWriter::response(head, status).end_with_length(0);
        let mut stream = &self.stream;
        let written = driver::within(MESSAGE_TIMEOUT, stream.write_all(head)).await;
        written.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Reads one request. It may take any time to begin, since the environment may be frozen and
    /// the connection is kept, and only so long to end.
    async fn read_request(&self, request: &mut Reader) -> Result<(), ReadError> {
        if !request.has_bytes() {
            self.stream.readable().await?;
            self.is_busy.set(true);
        }
        let read = driver::within(MESSAGE_TIMEOUT, driver::read(&self.stream, request)).await;
        read.unwrap_or(Err(ReadError::Lost))
    }
}

/// The answer to a delivery that cannot be taken, and the bytes that it had, if that is known.
const fn refusal(error: HttpError) -> (u16, u64) {
    if let HttpError::BodyTooLarge { actual, .. } = error {
        (413, actual)
    } else if let HttpError::NoMemory { bytes } = error {
        (503, bytes as u64)
    } else {
        (400, 0)
    }
}

/// Connections at once. The platform has one or two.
const CONNECTIONS_MAX: usize = 4;

/// Bytes of one batch: twice the largest `maxBytes` asked for, and as much again for metadata.
/// <https://docs.aws.amazon.com/lambda/latest/dg/telemetry-api.html#telemetry-api-buffering>
const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// How long a message may take from its first byte to its last.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(5);

const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::SocketAddr;

    use futures_lite::AsyncReadExt as _;

    use super::super::account::Accounting;
    use super::super::clock;
    use super::*;
    use crate::extension::metric::Resource;
    use crate::extension::settings::Exporters;
    use crate::extension::settings::InitType;

    const BATCH: &str = "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n[]";

    fn serve<T>(test: impl AsyncFnOnce(SocketAddr, &State) -> T) -> T {
        let accounting = Accounting::new(InitType::OnDemand, clock::now());
        let state = State::new(
            accounting,
            Resource::default(),
            Exporters::default(),
            60_000,
        );
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        driver::run_test(async move |executor| {
            let listening = driver::spawn(executor, listen(state, executor, socket));
            let outcome = test(address, state).await;
            assert!(!listening.is_finished());
            outcome
        })
    }

    async fn open(address: SocketAddr, bytes: &[u8]) -> Async<TcpStream> {
        let mut stream = Async::<TcpStream>::connect(address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream
    }

    /// The status of the next answer.
    async fn status(stream: &Async<TcpStream>) -> Option<u16> {
        let mut answer = Reader::new(Expect::Response, Limits::of_body(1_024));
        driver::read(stream, &mut answer).await.ok()?;
        answer.status()
    }

    /// Whether the listener closed the connection.
    async fn is_closed(mut stream: &Async<TcpStream>) -> bool {
        stream.read(&mut [0]).await.unwrap_or(0) == 0
    }

    #[test]
    fn idle_connections_do_not_shut_out_new_ones() {
        serve(async |address, state| {
            let mut idle = Vec::new();
            for _ in 0..3 * CONNECTIONS_MAX {
                let stream = open(address, BATCH.as_bytes()).await;
                assert_eq!(status(&stream).await, Some(200));
                idle.push(stream);
            }
            // The first has been closed, the last has not, and nothing was lost.
            assert!(is_closed(&idle[0]).await);
            let mut last = idle.last().unwrap();
            last.write_all(BATCH.as_bytes()).await.unwrap();
            assert_eq!(status(last).await, Some(200));
            assert_eq!(state.figures(), []);
        });
    }

    /// Those that have come and are not looked at yet are not idle.
    #[test]
    fn connections_that_come_at_once_are_all_served() {
        serve(async |address, state| {
            let mut streams = Vec::new();
            for _ in 0..2 * CONNECTIONS_MAX {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.write_all(BATCH.as_bytes()).unwrap();
                streams.push(Async::new(stream).unwrap());
            }
            for stream in &streams {
                assert_eq!(status(stream).await, Some(200));
            }
            assert_eq!(state.figures(), []);
        });
    }

    #[test]
    fn deliveries_that_never_end_make_room_and_are_counted() {
        serve(async |address, state| {
            let mut begun = Vec::new();
            for _ in 0..CONNECTIONS_MAX {
                // Once the first is answered, the second is known to have begun.
                let two = [BATCH, "POST / HTTP/1.1\r\n"].concat();
                let stream = open(address, two.as_bytes()).await;
                assert_eq!(status(&stream).await, Some(200));
                begun.push(stream);
            }
            let stream = open(address, BATCH.as_bytes()).await;
            assert_eq!(status(&stream).await, Some(200));
            assert!(is_closed(&begun[0]).await);
            assert_eq!(state.figures(), [("dropped_deliveries", 1.0)]);
        });
    }

    #[test]
    fn what_cannot_be_taken_is_refused_and_counted() {
        let table = [
            (
                "POST / HTTP/1.1\r\nContent-Length: 1048577\r\n\r\n",
                413,
                1.0,
            ),
            ("POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400, 1.0),
            ("GET / HTTP/1.1\r\n\r\n", 405, 0.0),
            ("POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", 200, 1.0),
        ];
        for (request, expected, lost) in table {
            serve(async |address, state| {
                let stream = open(address, request.as_bytes()).await;
                assert_eq!(status(&stream).await, Some(expected), "{request}");
                // The answer comes before the look at what was delivered.
                let next = open(address, BATCH.as_bytes()).await;
                assert_eq!(status(&next).await, Some(200));
                let found = state.lost_deliveries();
                assert!((found - lost).abs() < 0.5, "{found} for {request}");
            });
        }
        assert_eq!(refusal(HttpError::NoMemory { bytes: 7 }), (503, 7));
    }
}

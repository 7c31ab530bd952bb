//! Where the platform delivers telemetry: a small server that answers before it looks.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/telemetry-api.html#telemetry-api-destinations>
//!
//! A batch is answered with 200 as soon as it has been read. Any other answer would only bring the
//! same batch again, and while one is unanswered the platform drops what comes behind it.
//!
//! The platform does not authenticate itself, and anybody in the environment can connect. So a
//! delivery has to know the path of the subscription, and each connection takes turns with the
//! rest of the extension: after each read, each request and each part of a batch. Some local tools
//! leave the path out: deliveries to `/` are taken until one has come to the path. After a reset
//! the platform may deliver what is left to the path of the process before, which its note has.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::rc::{Rc, Weak};
use std::time::Duration;

use async_executor::Task;
use async_io::{Async, Timer};
use futures_lite::{AsyncWriteExt as _, future};

use crate::extension::figures::Figures;
use crate::extension::io::{self as driver, Executor};
use crate::extension::tcp;
use crate::shared::http::{Expect, HeadWriter, HttpError, Limits, Progress, Reader};

/// Serves the listener for ever. Each connection is a task, and dropping the task closes it.
#[expect(clippy::infinite_loop, reason = "it ends with the process")]
pub(super) async fn listen(
    figures: Rc<Figures>,
    executor: Executor,
    listener: TcpListener,
    path: DeliveryPath,
) {
    let path = Rc::new(path);
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
            make_room(&figures, &mut open);
        }
        let connection = Rc::new(Connection {
            figures: Rc::clone(&figures),
            path: Rc::clone(&path),
            stream,
            is_busy: Cell::new(false),
            is_known: Cell::new(false),
        });
        open.push(Open {
            connection: Rc::downgrade(&connection),
            task: driver::spawn(executor, connection.serve()),
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
    /// Whether it has delivered before, and whether a part of a delivery has been read or lies in
    /// the socket.
    fn state(&self) -> (bool, bool) {
        let Some(connection) = self.connection.upgrade() else {
            return (false, false);
        };
        let unread = rustix::io::ioctl_fionread(&connection.stream);
        let has_unread = unread.is_ok_and(|bytes| bytes != 0);
        let is_busy = connection.is_busy.get() || has_unread;
        (connection.is_known.get(), is_busy)
    }
}

/// Closes a connection, since it may be kept for ever, also by a peer that is gone, as after a
/// restore. One that never delivered goes before one that did, one that is between messages before
/// one that is busy, and an old one before a new one. The platform opens another if it was its own.
fn make_room(figures: &Figures, open: &mut Vec<Open>) {
    let states = open.iter().map(Open::state).enumerate();
    if let Some((oldest, (_, is_busy))) = states.min_by_key(|(_, state)| *state) {
        // Dropping the task closes the connection.
        open.remove(oldest);
        if is_busy {
            figures.lost_delivery(0);
        }
    }
}

/// The path that deliveries go to: `/` and the token of the subscription.
pub(super) struct DeliveryPath {
    token: String,
    /// The token of the process that a reset ended.
    old_token: Option<String>,
    /// Whether a delivery has come to it. From then on it is the only one.
    is_used: Cell<bool>,
}

impl DeliveryPath {
    pub(super) const fn new(token: String, old_token: Option<String>) -> Self {
        Self {
            token,
            old_token,
            is_used: Cell::new(false),
        }
    }

    /// Whether a delivery to `target` is taken.
    fn takes(&self, target: &[u8]) -> bool {
        let Some(token) = target.strip_prefix(b"/") else {
            return false;
        };
        let is_old = |old: &String| old.as_bytes() == token;
        let is_token =
            token == self.token.as_bytes() || self.old_token.as_ref().is_some_and(is_old);
        self.is_used.set(self.is_used.get() || is_token);
        is_token || token.is_empty() && !self.is_used.get()
    }
}

struct Connection {
    figures: Rc<Figures>,
    path: Rc<DeliveryPath>,
    stream: Async<TcpStream>,
    /// Whether a part of a delivery has been read.
    is_busy: Cell<bool>,
    /// Whether it knew the path of the subscription.
    is_known: Cell<bool>,
}

/// The reason for which there is no request.
#[derive(Debug)]
enum NoRequest {
    /// The peer closed between two messages.
    Closed,
    /// The connection failed, or the message took too long. A part of it may be here.
    Lost,
    /// The peer sent something that cannot be taken.
    Malformed(HttpError),
    /// The path is not the one of the subscription.
    Stranger,
}

impl fmt::Display for NoRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the connection is closed"),
            Self::Lost => f.write_str("the connection is lost"),
            Self::Malformed(error) => error.fmt(f),
            Self::Stranger => f.write_str("the path is not the one of the subscription"),
        }
    }
}

impl std::error::Error for NoRequest {}

impl From<io::Error> for NoRequest {
    fn from(_: io::Error) -> Self {
        Self::Lost
    }
}

impl From<HttpError> for NoRequest {
    fn from(error: HttpError) -> Self {
        if error == HttpError::Closed {
            Self::Closed
        } else {
            Self::Malformed(error)
        }
    }
}

impl Connection {
    /// Serves one connection until it ends, breaks the protocol or takes too long over a message.
    async fn serve(self: Rc<Self>) {
        let limits = Limits::of_body(BATCH_BYTES_MAX);
        let mut request = Reader::new(Expect::Request, limits);
        let mut progress = Ok(Progress::Partial);
        loop {
            let status = match self.read_request(&mut request, progress).await {
                Ok(()) if request.head().method() == b"POST" => 200,
                Ok(()) => 405,
                Err(NoRequest::Closed) => return,
                Err(NoRequest::Lost) => {
                    if request.has_bytes() {
                        self.figures.lost_delivery(0);
                    }
                    return;
                }
                Err(NoRequest::Malformed(error)) => {
                    let (status, bytes) = refusal(error);
                    self.figures.lost_delivery(bytes);
                    status
                }
                Err(NoRequest::Stranger) => 404,
            };
            let answered = self.answer(status).await;
            if status == 200 {
                self.figures.delivery(request.body()).await;
            }
            let is_refused = !matches!(status, 200 | 405);
            if is_refused || answered.is_err() || request.close_reason().is_some() {
                return;
            }
            progress = request.next_message();
            self.is_busy.set(request.has_bytes());
            // The next request may be here already: others have their turn first.
            future::yield_now().await;
        }
    }

    async fn answer(&self, status: u16) -> io::Result<()> {
        let mut head = Vec::with_capacity(128);
        let mut writer = HeadWriter::response(&mut head, status);
        if status == 405 {
            writer = writer.field("Allow", b"POST");
        }
        writer.end_with_length(0);
        self.write(&head).await
    }

    async fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut stream = &self.stream;
        let written = self
            .figures
            .clock()
            .within(MESSAGE_TIMEOUT, stream.write_all(bytes))
            .await;
        written.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Reads one request, of which `progress` says how much is here. It may take any time to
    /// begin, since the environment may be frozen and the connection is kept, and only so long to
    /// end.
    async fn read_request(
        &self,
        request: &mut Reader,
        mut progress: Result<Progress, HttpError>,
    ) -> Result<(), NoRequest> {
        if !request.has_bytes() {
            progress = Ok(self.read_some(request).await?);
            self.is_busy.set(true);
        }
        let read = self
            .figures
            .clock()
            .within(MESSAGE_TIMEOUT, self.read(request, progress))
            .await;
        read.unwrap_or(Err(NoRequest::Lost))
    }

    async fn read(
        &self,
        request: &mut Reader,
        mut progress: Result<Progress, HttpError>,
    ) -> Result<(), NoRequest> {
        let mut is_checked = false;
        loop {
            let is_complete = progress? == Progress::Complete;
            if !is_checked && !request.head().is_empty() {
                is_checked = true;
                self.check(request)?;
                let expects = request.head().field("Expect").is_some();
                if expects && !is_complete {
                    // <https://www.rfc-editor.org/rfc/rfc9110#section-10.1.1>
                    self.write(b"HTTP/1.1 100 \r\n\r\n").await?;
                }
            }
            if is_complete {
                return Ok(());
            }
            progress = Ok(self.read_some(request).await?);
            // The peer may send faster than this reads.
            future::yield_now().await;
        }
    }

    async fn read_some(&self, request: &mut Reader) -> Result<Progress, NoRequest> {
        Ok(match tcp::read(&self.stream, request.space()?).await? {
            0 => request.eof()?,
            _ => request.advance()?,
        })
    }

    /// Checks the path, before the body is waited for.
    fn check(&self, request: &Reader) -> Result<(), NoRequest> {
        if !self.path.takes(request.head().target()) {
            return Err(NoRequest::Stranger);
        }
        self.is_known.set(true);
        Ok(())
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
    use std::io::{Read as _, Write as _};
    use std::net::SocketAddr;

    use futures_lite::AsyncReadExt as _;

    use super::*;
    use crate::extension::settings::{Exporters, InitType};
    use crate::shared::http::Exchange;

    const BATCH: &str = "POST /5eed HTTP/1.1\r\nContent-Length: 2\r\n\r\n[]";

    fn serve<T>(test: impl AsyncFnOnce(SocketAddr, &Figures) -> T) -> T {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        driver::run_test(async move |executor| {
            let figures = Rc::new(Figures::for_tests(InitType::OnDemand, Exporters::default()));
            let serving = Rc::clone(&figures);
            let path = DeliveryPath::new("5eed".to_owned(), Some("01d".to_owned()));
            let listening = driver::spawn(executor, listen(serving, executor, socket, path));
            let outcome = test(address, &figures).await;
            assert!(!listening.is_finished());
            outcome
        })
    }

    async fn open(address: SocketAddr, bytes: &[u8]) -> Async<TcpStream> {
        let mut stream = Async::<TcpStream>::connect(address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream
    }

    async fn receive(stream: &Async<TcpStream>, exchange: &mut Exchange<'_>) -> io::Result<()> {
        while !exchange.is_done() {
            let count = tcp::read(stream, exchange.space()?).await?;
            exchange.read(count)?;
        }
        Ok(())
    }

    /// The status of the next answer.
    async fn status(stream: &Async<TcpStream>) -> Option<u16> {
        let mut answer = Reader::new(Expect::Response, Limits::of_body(1_024));
        let mut exchange = Exchange::awaiting(&mut answer);
        receive(stream, &mut exchange).await.ok()?;
        answer.status()
    }

    /// Whether the listener closed the connection.
    async fn is_closed(mut stream: &Async<TcpStream>) -> bool {
        stream.read(&mut [0]).await.unwrap_or(0) == 0
    }

    #[test]
    fn idle_connections_do_not_shut_out_new_ones() {
        serve(async |address, figures| {
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
            assert_eq!(figures.take(), []);
        });
    }

    /// Those that have come and are not looked at yet are not idle.
    #[test]
    fn connections_that_come_at_once_are_all_served() {
        serve(async |address, figures| {
            let mut streams = Vec::new();
            for _ in 0..2 * CONNECTIONS_MAX {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.write_all(BATCH.as_bytes()).unwrap();
                streams.push(Async::new(stream).unwrap());
            }
            for stream in &streams {
                assert_eq!(status(stream).await, Some(200));
            }
            assert_eq!(figures.take(), []);
        });
    }

    #[test]
    fn deliveries_that_never_end_make_room_and_are_counted() {
        serve(async |address, figures| {
            let mut begun = Vec::new();
            for _ in 0..CONNECTIONS_MAX {
                // Once the first is answered, the second is known to have begun.
                let two = [BATCH, "POST /5eed HTTP/1.1\r\n"].concat();
                let stream = open(address, two.as_bytes()).await;
                assert_eq!(status(&stream).await, Some(200));
                begun.push(stream);
            }
            let stream = open(address, BATCH.as_bytes()).await;
            assert_eq!(status(&stream).await, Some(200));
            assert!(is_closed(&begun[0]).await);
            assert_eq!(figures.take(), [("dropped_deliveries", 1.0)]);
        });
    }

    #[test]
    fn a_platform_that_leaves_the_path_out_is_served_until_the_path_is_used() {
        let without_path = BATCH.replace("/5eed", "/");
        serve(async |address, figures| {
            for (request, expected) in [
                (&*without_path, 200),
                (&*without_path, 200),
                (BATCH, 200),
                (&*without_path, 404),
                (BATCH, 200),
            ] {
                let stream = open(address, request.as_bytes()).await;
                assert_eq!(status(&stream).await, Some(expected), "{request}");
            }
            assert!(figures.take_lost_deliveries() < 0.5);
        });
    }

    #[test]
    fn what_is_left_of_the_process_before_is_taken_on_its_path() {
        let [old, no_old] = ["/01d", "/01d5"].map(|path| BATCH.replace("/5eed", path));
        serve(async |address, figures| {
            for (request, expected) in [(&*old, 200), (BATCH, 200), (&old, 200), (&no_old, 404)] {
                let stream = open(address, request.as_bytes()).await;
                assert_eq!(status(&stream).await, Some(expected), "{request}");
            }
            assert!(figures.take_lost_deliveries() < 0.5);
        });
    }

    #[test]
    fn what_cannot_be_taken_is_refused_and_counted() {
        let table = [
            (
                "POST /5eed HTTP/1.1\r\nContent-Length: 1048577\r\n\r\n",
                413,
                1.0,
            ),
            ("POST /5eed HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400, 1.0),
            ("GET /5eed HTTP/1.1\r\n\r\n", 405, 0.0),
            ("GET / HTTP/1.1\r\n\r\n", 405, 0.0),
            ("GET /5eed/ HTTP/1.1\r\n\r\n", 404, 0.0),
            ("POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", 200, 1.0),
            (
                "POST /5eed/ HTTP/1.1\r\nContent-Length: 99\r\n\r\n",
                404,
                0.0,
            ),
            (
                "POST /5eed HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
                200,
                1.0,
            ),
        ];
        for (request, expected, lost) in table {
            serve(async |address, figures| {
                let stream = open(address, request.as_bytes()).await;
                assert_eq!(status(&stream).await, Some(expected), "{request}");
                // The answer comes before the look at what was delivered.
                let next = open(address, BATCH.as_bytes()).await;
                assert_eq!(status(&next).await, Some(200));
                let found = figures.take_lost_deliveries();
                assert!((found - lost).abs() < 0.5, "{found} for {request}");
            });
        }
        assert_eq!(refusal(HttpError::NoMemory { bytes: 7 }), (503, 7));
    }

    #[test]
    fn a_peer_that_asks_first_is_told_to_go_on() {
        serve(async |address, figures| {
            let head = "POST /5eed HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
            let mut stream = open(address, head.as_bytes()).await;
            let mut read = [0; 64];
            let count = stream.read(&mut read).await.unwrap();
            assert_eq!(&read[..count], b"HTTP/1.1 100 \r\n\r\n");
            stream.write_all(b"[]").await.unwrap();
            assert_eq!(status(&stream).await, Some(200));
            // With the body behind it there is nothing to ask.
            let whole = [head, "[]"].concat();
            stream.write_all(whole.as_bytes()).await.unwrap();
            assert_eq!(status(&stream).await, Some(200));
            assert_eq!(figures.take(), []);
        });
    }

    #[test]
    fn another_method_is_told_which_is_allowed() {
        serve(async |address, _| {
            let stream = open(address, b"GET /5eed HTTP/1.1\r\n\r\n").await;
            let mut answer = Reader::new(Expect::Response, Limits::of_body(1_024));
            let mut exchange = Exchange::awaiting(&mut answer);
            receive(&stream, &mut exchange).await.unwrap();
            assert_eq!(answer.head().field("allow"), Some(&b"POST"[..]));
        });
    }

    /// A peer that always has a request ready, and reads every answer.
    struct Flood {
        stream: TcpStream,
        requests: Vec<u8>,
        sent: usize,
        answers: usize,
    }

    impl Flood {
        fn open(address: SocketAddr, request: &str) -> Self {
            let stream = TcpStream::connect(address).unwrap();
            stream.set_nonblocking(true).unwrap();
            Self {
                stream,
                requests: request.repeat(100_000 / request.len() + 1).into_bytes(),
                sent: 0,
                answers: 0,
            }
        }

        fn go_on(&mut self) {
            while let Ok(count) = self.stream.write(&self.requests[self.sent..]) {
                self.sent = (self.sent + count) % self.requests.len();
            }
            let mut answers = [0; 4_096];
            let count = self.stream.read(&mut answers).unwrap_or(0);
            self.answers += memchr::memmem::find_iter(&answers[..count], "HTTP/1.1 ").count();
        }
    }

    /// An event is looked at after one turn of one task. So a flood holds it up for as long as one
    /// request takes, or one part of a batch.
    #[test]
    fn a_flood_has_one_request_or_one_part_of_a_batch_a_turn() {
        let post = |body: &str| {
            let length = body.len();
            format!("POST /5eed HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{body}")
        };
        let records = vec![r#"{"type":"platform.new"}"#; 1_000].join(",");
        let requests = [
            "GET /5eed HTTP/1.1\r\n\r\n",
            &post("[0]"),
            &post(&format!("[{records}]")),
        ];
        serve(async |address, figures| {
            let mut floods = requests.map(|request| Flood::open(address, request));
            let mut turns = 0;
            while floods.iter().any(|flood| flood.answers < 100) {
                floods.iter_mut().for_each(Flood::go_on);
                future::yield_now().await;
                turns += 1;
                match &figures.take()[..] {
                    [] => {}
                    [("malformed_records", batches)] => assert!(*batches <= 1.0, "{batches}"),
                    [("unknown_records", records)] => assert!(*records <= 50.0, "{records}"),
                    other => panic!("{other:?} in one turn"),
                }
                // The socket may hold answers back, so there may be several in one turn.
                assert!(floods[0].answers <= turns, "in {turns} turns");
            }
            // SHUTDOWN waits until the deliveries that came by then are counted: twenty parts, and
            // between two of them a turn of each other task.
            let mut counted = std::pin::pin!(figures.deliveries_counted());
            let mut turns = 0;
            while future::poll_once(counted.as_mut()).await.is_none() {
                floods.iter_mut().for_each(Flood::go_on);
                future::yield_now().await;
                turns += 1;
            }
            assert!(turns <= 100, "{turns} turns until deliveries are counted");
        });
    }

    /// Whoever does not know the path cannot push out a connection that does.
    #[test]
    fn strangers_make_room_first() {
        serve(async |address, figures| {
            let platform = open(address, BATCH.as_bytes()).await;
            assert_eq!(status(&platform).await, Some(200));
            let mut strangers = Vec::new();
            for _ in 0..3 * CONNECTIONS_MAX {
                strangers.push(open(address, b"POST /5eed HTTP/1.1\r\n").await);
            }
            // All but the last few have been closed, and each is counted.
            for stranger in &strangers[..2 * CONNECTIONS_MAX + 1] {
                assert!(is_closed(stranger).await);
            }
            (&platform).write_all(BATCH.as_bytes()).await.unwrap();
            assert_eq!(status(&platform).await, Some(200));
            let lost = figures.take_lost_deliveries();
            assert_eq!(lost, (2 * CONNECTIONS_MAX + 1) as f64);
        });
    }
}

//! The socket as hyper sees it, with the faults that happen to single bytes.
//!
//! A fault is armed when a request's answer is about to be written. Runtimes do not pipeline, so
//! everything written from then until the next request belongs to that answer.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use crate::lock::lock;

/// A fault of the bytes of one response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum ByteFault {
    /// They go out as hyper writes them.
    #[default]
    None,
    /// This many go out, then the connection is reset.
    CutAt(usize),
    /// This many go out, then the connection is closed.
    CloseAt(usize),
    /// This many go out, and the rest after a pause.
    SplitAt(usize),
    /// One a write.
    ByteByByte,
    /// These go out instead, then the connection is closed.
    Garbage(Vec<u8>),
    /// These go out instead.
    Instead(Vec<u8>),
}

/// The connection as the request handler sees it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Control {
    inner: Arc<Mutex<Armed>>,
    usage: Arc<Mutex<Usage>>,
}

/// What a restore has to know of a connection.
#[derive(Clone, Copy, Debug, Default)]
struct Usage {
    /// A request is being served.
    busy: bool,
    /// It takes no further request.
    doomed: bool,
}

/// A request that is being served on a connection.
#[derive(Debug)]
pub(crate) struct Served(Control);

impl Drop for Served {
    fn drop(&mut self) {
        lock(&self.0.usage).busy = false;
    }
}

#[derive(Debug, Default)]
struct Armed {
    fault: ByteFault,
    /// Bytes of the answer that went out.
    written: usize,
    /// Close with RST and not FIN.
    reset: bool,
}

impl Control {
    /// Arms a fault for the next answer, or disarms with [`ByteFault::None`].
    pub(crate) fn arm(&self, fault: ByteFault) {
        *lock(&self.inner) = Armed {
            fault,
            written: 0,
            reset: false,
        };
    }

    /// The connection is to end with RST when it is dropped.
    pub(crate) fn reset(&self) {
        lock(&self.inner).reset = true;
    }

    /// A request has come; `None` if the connection takes no more.
    pub(crate) fn serve(&self) -> Option<Served> {
        let mut usage = lock(&self.usage);
        usage.busy = true;
        (!usage.doomed).then(|| Served(self.clone()))
    }

    /// Whether a request is being served, or a fault may hold its answer back.
    pub(crate) fn is_busy(&self) -> bool {
        lock(&self.usage).busy || !matches!(lock(&self.inner).fault, ByteFault::None)
    }

    /// The connection is to be reset at its next request.
    pub(crate) fn doom(&self) {
        lock(&self.usage).doomed = true;
    }
}

/// A connection of a runtime.
#[derive(Debug)]
pub(crate) struct FaultStream {
    stream: TcpStream,
    control: Control,
    pause: Option<Pin<Box<Sleep>>>,
}

/// The next step of a write.
enum Step {
    /// Write at most this many bytes.
    Write(usize),
    /// Wait first.
    Pause,
    /// Write these in place of the answer's.
    Replace(Vec<u8>),
    /// Write nothing: what stands in place of the answer is out.
    Swallow,
    Reset,
    Close,
}

impl FaultStream {
    pub(crate) fn new(stream: TcpStream, control: Control) -> Self {
        Self {
            stream,
            control,
            pause: None,
        }
    }

    fn plan(&self, length: usize) -> Step {
        let armed = lock(&self.control.inner);
        let until = |n: usize| n.saturating_sub(armed.written);
        match &armed.fault {
            ByteFault::None => Step::Write(length),
            ByteFault::CutAt(n) if until(*n) == 0 => Step::Reset,
            ByteFault::CloseAt(n) if until(*n) == 0 => Step::Close,
            ByteFault::SplitAt(n) if until(*n) == 0 => Step::Pause,
            ByteFault::CutAt(n) | ByteFault::CloseAt(n) | ByteFault::SplitAt(n) => {
                Step::Write(length.min(until(*n)))
            }
            ByteFault::ByteByByte => Step::Write(length.min(1)),
            ByteFault::Garbage(bytes) => match bytes.get(armed.written..) {
                Some(rest) if !rest.is_empty() => Step::Replace(rest.to_vec()),
                Some(_) | None => Step::Close,
            },
            ByteFault::Instead(bytes) => match bytes.get(armed.written..) {
                Some(rest) if !rest.is_empty() => Step::Replace(rest.to_vec()),
                Some(_) | None => Step::Swallow,
            },
        }
    }

    fn count(&self, written: usize) {
        lock(&self.control.inner).written += written;
    }

    fn set_reset(&self) {
        // RFC 9293 section 3.10.4 (ABORT): a connection closed with a zero linger sends RST.
        let _closed_anyway = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }
}

impl Drop for FaultStream {
    fn drop(&mut self) {
        if lock(&self.control.inner).reset {
            self.set_reset();
        }
    }
}

impl AsyncRead for FaultStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for FaultStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
                self.control.arm(ByteFault::None);
            }
            match self.plan(bytes.len()) {
                Step::Write(n) => {
                    let part = bytes.get(..n).unwrap_or(bytes);
                    let written = ready!(Pin::new(&mut self.stream).poll_write(cx, part))?;
                    self.count(written);
                    return Poll::Ready(Ok(written));
                }
                Step::Pause => self.pause = Some(Box::pin(sleep(SPLIT_PAUSE))),
                Step::Replace(rest) => {
                    let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &rest))?;
                    self.count(written);
                }
                Step::Swallow => return Poll::Ready(Ok(bytes.len())),
                Step::Reset => {
                    self.control.reset();
                    return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                }
                Step::Close => {
                    ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
                    return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
                }
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A FIN sent first would let the peer read an orderly end before the reset.
        if lock(&self.control.inner).reset {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

const SPLIT_PAUSE: Duration = Duration::from_millis(20);

//! A listening port that can be closed for a while.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::lock::lock;

/// A listening port.
#[derive(Debug)]
pub(crate) struct Port {
    addr: SocketAddr,
    state: Mutex<State>,
    /// Wakes the task that accepts after a change of `state`.
    changed: Notify,
}

#[derive(Debug)]
enum State {
    Open(TcpListener),
    /// To be opened again.
    Closed,
    /// Closed for good.
    Shut,
}

impl Port {
    pub(crate) async fn bind(addr: SocketAddr) -> io::Result<Arc<Self>> {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        let state = Mutex::new(State::Open(listener));
        Ok(Arc::new(Self {
            addr,
            state,
            changed: Notify::new(),
        }))
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The next connection; `None` once the port is shut.
    pub(crate) async fn accept(&self) -> Option<TcpStream> {
        loop {
            let accepted = tokio::select! {
                accepted = poll_fn(|cx| self.poll_accept(cx)) => accepted?,
                () = self.changed.notified() => continue,
            };
            match accepted {
                Ok((stream, _)) => return Some(stream),
                // Out of descriptors, or the peer is gone already: neither is cured by spinning.
                Err(_) => sleep(PAUSE).await,
            }
        }
    }

    fn poll_accept(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<(TcpStream, SocketAddr)>>> {
        match &*lock(&self.state) {
            State::Open(listener) => listener.poll_accept(cx).map(Some),
            State::Closed => Poll::Pending,
            State::Shut => Poll::Ready(None),
        }
    }

    /// Closes the port now and opens it again after `duration`.
    pub(crate) fn close_for(self: &Arc<Self>, duration: Duration) {
        {
            let mut state = lock(&self.state);
            if !matches!(*state, State::Open(_)) {
                return;
            }
            *state = State::Closed;
        }
        let port = Arc::clone(self);
        drop(tokio::spawn(async move {
            sleep(duration).await;
            port.reopen().await;
        }));
    }

    /// Closes the port for good.
    pub(crate) fn shut(&self) {
        *lock(&self.state) = State::Shut;
        self.changed.notify_one();
    }

    async fn reopen(&self) {
        // Another socket may have been given the port meanwhile; its end is waited for.
        while matches!(*lock(&self.state), State::Closed) {
            match TcpListener::bind(self.addr).await {
                Ok(listener) => {
                    *lock(&self.state) = State::Open(listener);
                    self.changed.notify_one();
                }
                Err(_) => sleep(PAUSE).await,
            }
        }
    }
}

const PAUSE: Duration = Duration::from_millis(10);

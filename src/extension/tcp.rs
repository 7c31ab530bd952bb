//! Reads from a connection into a buffer that has no bytes there yet.

use std::future::poll_fn;
use std::io;
use std::net::TcpStream;
use std::task::{Poll, ready};

use async_io::Async;
use rustix::buffer::spare_capacity;
use rustix::io::Errno;

/// Reads some bytes behind the end of a buffer that has room; 0 is the end of the stream.
pub(super) async fn read(tcp: &Async<TcpStream>, buffer: &mut Vec<u8>) -> io::Result<usize> {
    poll_fn(|context| {
        loop {
            match rustix::io::read(tcp, spare_capacity(&mut *buffer)) {
                Err(Errno::AGAIN) => ready!(tcp.poll_readable(context))?,
                outcome => return Poll::Ready(Ok(outcome?)),
            }
        }
    })
    .await
}

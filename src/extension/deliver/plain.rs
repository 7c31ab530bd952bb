//! Connections to receivers whose address is known, without TLS.

use std::io;
use std::net::TcpStream;

use async_io::Async;

use crate::extension::settings::{Address, OtlpReceiver};

/// Connects to one receiver.
#[derive(Debug)]
pub(super) struct Connector;

impl Connector {
    pub(super) const fn new() -> Self {
        Self
    }

    pub(super) async fn connect(&self, receiver: &OtlpReceiver) -> io::Result<Async<TcpStream>> {
        let Address::Known(address) = receiver.address;
        Async::<TcpStream>::connect(address).await
    }
}

//! Addresses for servers that cannot choose their port by themselves.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

/// `N` free addresses on the loopback interface.
///
/// All of 127.0.0.0/8 is loopback, so each call takes a host of its own in it: a port that is free
/// there does not become the port of another connection before the server binds it.
#[must_use]
pub fn free<const N: usize>() -> [SocketAddr; N] {
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    let octets = [process::id(), process::id() / 250, call];
    let [a, b, c] = octets.map(|number| u8::try_from(number % 250).unwrap() + 1);
    let host = IpAddr::V4(Ipv4Addr::new(127, a, b, c));
    // All are bound before the first is released, so that they differ.
    let listeners = [(); N].map(|()| TcpListener::bind((host, 0)).unwrap());
    listeners.map(|listener| listener.local_addr().unwrap())
}

static CALLS: AtomicU32 = AtomicU32::new(0);

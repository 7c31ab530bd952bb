//! The emulator from outside: the examples `echo` and `extension` run in it, and raw sockets attach
//! to it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod attach;
mod boto3;
mod control;
mod extension_api;
mod extensions;
mod faults;
mod function_url;
mod hostile;
mod invoke_api;
mod lifecycle;
mod managed;
mod metadata;
mod rie;
mod sigterm;
mod snapstart;
mod streaming;
mod support;

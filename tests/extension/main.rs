//! The extension, started by the emulator beside a function as Lambda would start it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::wildcard_enum_match_arm,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod deliveries;
mod exporters;
mod faults;
mod flood;
mod kinds;
mod lifecycle;
mod otlp;
mod platform;
#[path = "../runtime/support.rs"]
#[expect(dead_code, reason = "the tests of the runtime use more of it")]
mod support;
mod telemetry;

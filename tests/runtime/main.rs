//! The real binaries, spawned by the emulator as Lambda would spawn them.
//!
//! `BANTAM_TEST_PROGRAMS=target/layer/x86_64` runs the same tests on programs that were built before,
//! such as those of `layer/build`, which abort instead of unwinding.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::cognitive_complexity,
    reason = "tests"
)]

mod api_gone;
mod errors;
mod events;
mod executable;
mod faults;
mod panics;
mod persistent;
mod steady;
#[expect(dead_code, reason = "the tests of the extension use more of it")]
mod support;

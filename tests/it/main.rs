//! The shipped binary and the example functions, started by the emulator as Lambda would start
//! them.
//!
//! `BANTAM_TEST_PROGRAMS=target/layer/x86_64` runs the same tests on programs that were built
//! before, such as those of `layer/build`, which abort instead of unwinding.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::wildcard_enum_match_arm,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::cognitive_complexity,
    reason = "tests"
)]

mod dashboard;
mod extension;
mod runtime;
mod scripts;
mod support;
mod tidy;

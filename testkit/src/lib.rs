//! Tools that the tests and benchmarks of several crates share. No product depends on it.
//!
//! Its functions end the test where something is not as expected, with a message that says what.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a test ends where something is not as expected"
)]

pub mod child;
pub mod corpus;
pub mod http;
pub mod imports;
pub mod loopback;
pub mod namespace;
pub mod pipe;
pub mod process;
pub mod source;
#[cfg(feature = "tls")]
pub mod tls;

//! Proves that `src/shared` is pure: without the standard library there is no clock, file, socket
//! or environment to ask. Left out are `os`, which asks them, and `env`, whose values are the
//! standard library's strings of the system.
//!
//! With its unit tests, which need the standard library, it compiles in a moment, so mutants of
//! these files are tried on it: `.cargo/mutants.toml`.

#![cfg_attr(not(test), no_std)]
#![allow(
    dead_code,
    unused_imports,
    reason = "the callers are in the crate `bantam`"
)]

extern crate alloc;

#[path = "../../../src/shared"]
mod shared {
    pub(crate) mod backoff;
    pub(crate) mod base64;
    pub(crate) mod digits;
    pub(crate) mod endpoint;
    #[cfg(any(test, fuzzing))]
    pub(crate) mod fuzz;
    pub(crate) mod http;
    pub(crate) mod json;
    pub(crate) mod limits;
    pub(crate) mod log_record;
    pub(crate) mod metadata;
    pub(crate) mod settings;
    pub(crate) mod text;
    pub(crate) mod time;
}

/// One of the functions, to be called by a test.
#[must_use]
pub fn decimal(text: &[u8]) -> Option<u64> {
    shared::digits::decimal(text)
}

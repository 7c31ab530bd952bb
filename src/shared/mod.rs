//! The core that both roles use: HTTP/1.1 as a state machine, the environment variables, times,
//! back-off, limits, names of settings, and the text of log lines.
//!
//! `os` asks the system; nothing else here touches a clock, a file, a socket or the process
//! environment: bytes, time and variables come in as arguments. `tests/no_std` proves it: it
//! compiles all but `os` and `env` without the standard library. `runtime` and `extension` import
//! from here and never from each other.

#![cfg_attr(
    not(any(test, feature = "extension")),
    expect(dead_code, reason = "some of it is for the extension alone")
)]

pub(crate) mod backoff;
pub(crate) mod base64;
pub(crate) mod digits;
pub(crate) mod endpoint;
pub(crate) mod env;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub(crate) mod http;
pub(crate) mod json;
pub(crate) mod limits;
pub(crate) mod log_record;
pub(crate) mod metadata;
pub(crate) mod os;
pub(crate) mod settings;
pub(crate) mod text;
pub(crate) mod time;

//! Batches as bytes: EMF, OTLP, NDJSON and `DogStatsD`.
//!
//! Pure: no file here touches a socket, a file, the clock or the process environment.

pub(super) mod dogstatsd;
pub(super) mod emf;
#[cfg(any(test, fuzzing))]
mod emf_check;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzz;
mod json;
pub(super) mod losses;
pub(super) mod ndjson;
pub(super) mod otlp;
#[cfg(any(test, fuzzing))]
pub(in crate::extension) mod samples;

//! The target of the crate `bantam-http`.
#![no_main]

mod hash_keys;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bantam_http::fuzzing::bantam_http(data));

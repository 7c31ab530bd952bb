//! The target of the crate `bantam-report`.
#![no_main]

mod hash_keys;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bantam_report::fuzzing::report(data));

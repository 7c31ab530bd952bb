//! The target of the crate `bantam-report`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bantam_report::fuzzing::report(data));

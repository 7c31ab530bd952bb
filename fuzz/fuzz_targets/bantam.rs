//! The target of the crate `bantam` that has the name of this program.
#![no_main]

mod hash_keys;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bantam::fuzzing::run(env!("CARGO_BIN_NAME"), data));

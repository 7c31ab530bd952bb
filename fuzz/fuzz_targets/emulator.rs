//! The target of the crate `bantam-emulator`.
#![no_main]

mod hash_keys;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bantam_emulator::fuzzing::emulator(data));

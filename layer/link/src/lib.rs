//! Replacements for parts of musl and libunwind in a static musl binary.
//!
//! Each function has the name and the contract of the C function that it stands for. They are
//! found before those of the C library, because its archive is searched last. On other targets
//! nothing is exported, and the functions are only tested.
//!
//! - `memory`: `memcpy` and its kin, for speed. Those of musl copy byte by byte or with a string
//!   instruction that is slow to start, and JSON is all short copies.
//! - `heap`: `malloc` and its kin, for size and speed: 1.5 KB instead of 8.
//! - `stubs`: `pthread_setname_np`, without musl's `printf`, and an unwinder that has nothing to
//!   unwind, because the binary is built to abort on a panic.

#![no_std]
#![no_builtins]
#![allow(
    unsafe_code,
    reason = "these are the functions that the compiler and the standard library call"
)]

#[cfg(test)]
extern crate std;

#[cfg(any(target_env = "musl", test))]
mod heap;
#[cfg(any(target_env = "musl", test))]
mod memory;
#[cfg(all(target_env = "musl", not(test)))]
mod stubs;

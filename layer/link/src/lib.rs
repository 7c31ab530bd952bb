//! Replacements for parts of musl and libunwind in a static musl binary.
//!
//! Each function has the name and the contract of the C function that it stands for. They are
//! found before those of the C library, because its archive is searched last.
//!
//! They are exported where all of this holds, and elsewhere the crate is empty, so that it changes
//! nothing for who depends on it by mistake:
//!
//! - The target is musl on `x86_64` or `aarch64`.
//! - The C library is linked statically (`crt-static`): a dynamic one allocates for itself.
//! - The profile has `panic = "abort"`: with the functions of `stubs` nothing can unwind. Tests and
//!   benches always unwind.
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

#[cfg(any(
    test,
    all(
        target_env = "musl",
        target_feature = "crt-static",
        panic = "abort",
        any(target_arch = "aarch64", target_arch = "x86_64"),
    )
))]
mod heap;
#[cfg(any(
    test,
    all(
        target_env = "musl",
        target_feature = "crt-static",
        panic = "abort",
        any(target_arch = "aarch64", target_arch = "x86_64"),
    )
))]
mod memory;
#[cfg(all(
    not(test),
    target_env = "musl",
    target_feature = "crt-static",
    panic = "abort",
    any(target_arch = "aarch64", target_arch = "x86_64"),
))]
mod stubs;

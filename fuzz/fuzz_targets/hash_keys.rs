//! Fixed keys for `HashMap`. The order of a map is part of what a run covers, so random keys would
//! make each run choose other inputs.

use std::ffi::{c_uint, c_void};

/// Stands for the function of libc that `RandomState` takes its keys from.
///
/// # Safety
///
/// As for libc: `buffer` points to `length` bytes that may be written.
// SAFETY: the signature and the result are the ones of libc, and no other object of the program
// defines the name; its libc is a shared library.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut c_void, length: usize, _flags: c_uint) -> isize {
    // SAFETY: the caller promises the bytes.
    unsafe { buffer.write_bytes(0, length) };
    length.cast_signed()
}

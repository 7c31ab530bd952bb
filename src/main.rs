//! The stock binary: its handler is any executable.
//!
//! `main` is that of C. The one of the standard library makes ten system calls first, most of them
//! to report an overflow of the stack, of which the platform says the signal by itself.

#![cfg_attr(not(test), no_main)]

/// Starts in the role that the name of the process says.
#[cfg(not(test))]
#[expect(unsafe_code, reason = "the C library calls it by its name")]
#[unsafe(no_mangle)]
extern "C" fn main(_count: std::ffi::c_int, arguments: *const *const std::ffi::c_char) -> ! {
    // SAFETY: only the C library calls this, with the arguments of the process.
    unsafe { bantam::private::started_with(arguments) };
    bantam::main(bantam::executable())
}

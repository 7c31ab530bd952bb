//! The stock binary: its handler is any executable.
//!
//! `main` is the one of C. The standard library's makes ten system calls before it runs ours, most
//! of them to report an overflow of the stack, of which the platform names the signal by itself.
//! The start may take eleven in all.

#![cfg_attr(not(test), no_main)]

/// Starts in the role that the name of the process says.
#[cfg(not(test))]
#[expect(unsafe_code, reason = "the C library calls it by its name")]
#[unsafe(no_mangle)]
extern "C" fn main(_count: std::ffi::c_int, arguments: *const *const std::ffi::c_char) -> ! {
    // SAFETY: only the C library calls this, with the arguments of the process.
    unsafe { bantam::private::main_of_c(arguments, bantam::executable()) }
}

//! `_X_AMZN_TRACE_ID`: where X-Ray SDKs and child processes look for the trace header.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html#runtimes-custom-build>
//!
//! `std::env::set_var` would do, but glibc keeps every value it was ever given, so that pointers
//! to old ones stay good: 140 bytes for each invocation, for ever. Here the program owns the two
//! buffers that the variable alternates between.

use std::ffi::{CStr, c_char};

use crate::shared::limits::TRACE_ID_BYTES_MAX;

/// The variable, which one thread changes.
#[derive(Debug)]
pub(super) struct TraceVariable {
    /// Two buffers of [`BUFFER_BYTES`], one behind the other, that are never freed.
    buffers: *mut u8,
    /// Where in them the next value goes to; the environment may point to the other one.
    next: usize,
}

impl TraceVariable {
    pub(super) fn new() -> Self {
        Self {
            buffers: vec![0; 2 * BUFFER_BYTES].leak().as_mut_ptr(),
            next: 0,
        }
    }

    /// Sets the variable to `trace_id`, or removes it if there is none, or none that fits.
    #[expect(
        unsafe_code,
        reason = "changing the environment is unsafe and is asked for"
    )]
    pub(super) fn set(&mut self, trace_id: Option<&str>) {
        let fits = |id: &&str| id.len() <= TRACE_ID_BYTES_MAX && !id.as_bytes().contains(&0);
        let Some(trace_id) = trace_id.filter(fits) else {
            // SAFETY: the name is a string that ends with NUL. The lock of `std::env` is not taken,
            // so no other thread may use the environment meanwhile. The runtime runs on this
            // thread, between invocations, and the documentation of the crate asks threads that
            // outlive one to leave it alone.
            unsafe { libc::unsetenv(NAME_C.as_ptr()) };
            return;
        };
        // SAFETY:
        // - `next` is 0 or `BUFFER_BYTES`, so `buffer` is one of the two buffers, and the writes stay
        //   inside it: name, `=`, at most `TRACE_ID_BYTES_MAX` bytes
        //   and the NUL are at most `BUFFER_BYTES`. No reference to a buffer exists, only the
        //   pointers, and one thread has them, because `Self` is neither `Send` nor `Sync`.
        // - `putenv` wants a string that ends with NUL, holds `=` and lives as long as the
        //   environment points to it; the buffer is never freed.
        // - Nobody reads the buffer while it is written: the environment pointed to it until the
        //   last call, which made it point to the other one, and a whole invocation has passed.
        // - `putenv` replaces one pointer, or grows the array of pointers if the variable is new. It
        //   does not take the lock of `std::env`, so here no other thread may use the environment
        //   at all; the documentation of the crate asks that of threads that outlive an invocation.
        unsafe {
            let buffer = self.buffers.add(self.next);
            self.next = BUFFER_BYTES - self.next;
            let value = buffer.add(NAME.len() + 1);
            NAME.as_ptr().copy_to_nonoverlapping(buffer, NAME.len());
            buffer.add(NAME.len()).write(b'=');
            trace_id
                .as_ptr()
                .copy_to_nonoverlapping(value, trace_id.len());
            value.add(trace_id.len()).write(0);
            // It fails only for want of memory, and then the variable keeps its last value.
            libc::putenv(buffer.cast::<c_char>());
        }
    }
}

pub(super) const NAME: &str = "_X_AMZN_TRACE_ID";
const NAME_C: &CStr = c"_X_AMZN_TRACE_ID";

/// Name, `=`, value and NUL.
const BUFFER_BYTES: usize = NAME.len() + 1 + TRACE_ID_BYTES_MAX + 1;

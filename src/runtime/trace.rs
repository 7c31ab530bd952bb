//! `_X_AMZN_TRACE_ID`: where X-Ray SDKs and child processes look for the trace header.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html#runtimes-custom-build>
//!
//! `std::env::set_var` would do for the static binary, whose musl frees a value that is replaced.
//! glibc keeps every value it was ever given, so that pointers to old ones stay good: 140 bytes for
//! each invocation, for ever. So the program owns the two buffers that the variable alternates
//! between.

use std::ffi::{CStr, c_char};
use std::mem::ManuallyDrop;

use memchr::memchr;

/// The variable, which one thread changes.
#[derive(Debug)]
pub(super) struct TraceVariable {
    /// `NAME=value` and NUL, of this invocation and of the last. The environment points to one of
    /// them for as long as the process lives, so they are never freed.
    buffers: ManuallyDrop<[Vec<u8>; 2]>,
}

impl TraceVariable {
    pub(super) const fn new() -> Self {
        Self {
            buffers: ManuallyDrop::new([Vec::new(), Vec::new()]),
        }
    }

    /// Sets the variable to `trace_id`, or removes it if there is none or it holds a NUL. The limit
    /// on the head of the event bounds it.
    #[expect(
        unsafe_code,
        reason = "changing the environment is unsafe and is asked for"
    )]
    pub(super) fn set(&mut self, trace_id: Option<&str>) {
        let Some(trace_id) = trace_id.filter(|id| memchr(0, id.as_bytes()).is_none()) else {
            // SAFETY: the name is a string that ends with NUL. No other thread may use the
            // environment meanwhile, because the lock of `std::env` is not taken: the runtime runs
            // on this thread, between invocations, and the documentation of the crate asks threads
            // that outlive one to leave the environment alone.
            unsafe { libc::unsetenv(NAME_C.as_ptr()) };
            return;
        };
        // The environment points to the other buffer, which was written last, so this one may be
        // written and moved.
        self.buffers.swap(0, 1);
        let [buffer, _last] = &mut *self.buffers;
        buffer.clear();
        for part in &[NAME, "=", trace_id, "\0"] {
            buffer.extend_from_slice(part.as_bytes());
        }
        let text = buffer.as_mut_ptr().cast::<c_char>();
        // SAFETY:
        // - `putenv` takes a string that ends with NUL and holds `=`, and the environment points to
        //   it from then on. The buffer stays as it is until the call after the next has made the
        //   environment point to the other one, and is never freed while it is pointed to.
        // - `putenv` replaces one pointer, or grows the array of pointers if the variable is new.
        //   No other thread may use the environment meanwhile, as above.
        let failed = unsafe { libc::putenv(text) } != 0;
        if failed {
            // There was no memory for the array, and the environment points to the last value.
            self.buffers.swap(0, 1);
        }
    }
}

pub(super) const NAME: &str = "_X_AMZN_TRACE_ID";
const NAME_C: &CStr = c"_X_AMZN_TRACE_ID";

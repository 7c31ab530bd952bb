//! Functions that the standard library names and that have little to do here.

use core::ffi::{c_char, c_int, c_ulong, c_void};

unsafe extern "C" {
    fn pthread_self() -> *mut c_void;
    fn prctl(option: c_int, ...) -> c_int;
    fn abort() -> !;
}

/// Names the calling thread. That of musl can name others too, with `printf` and a file.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_setname_np(thread: *mut c_void, name: *const c_char) -> c_int {
    // SAFETY: `pthread_self` asks for nothing; PR_SET_NAME reads a string that ends with NUL, which
    // the caller promises.
    unsafe {
        if thread == pthread_self() {
            prctl(PR_SET_NAME, name as c_ulong, 0, 0, 0)
        } else {
            ENOSYS
        }
    }
}

const PR_SET_NAME: c_int = 15;
const ENOSYS: c_int = 38;

/// Says that the stack has ended: there are no tables to walk it with.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Backtrace(_trace: *mut c_void, _argument: *mut c_void) -> c_int {
    END_OF_STACK
}

const END_OF_STACK: c_int = 5;

/// The standard library asks where a frame is; there is none to ask about.
macro_rules! no_frame {
    ($($name:ident)*) => {
        $(
            #[unsafe(no_mangle)]
            extern "C" fn $name() -> usize {
                0
            }
        )*
    };
}

no_frame! {
    _Unwind_GetIP
    _Unwind_GetIPInfo
    _Unwind_GetCFA
    _Unwind_GetDataRelBase
    _Unwind_GetLanguageSpecificData
    _Unwind_GetRegionStart
    _Unwind_GetTextRelBase
    _Unwind_FindEnclosingFunction
    _Unwind_SetGR
    _Unwind_SetIP
    _Unwind_DeleteException
    _Unwind_RaiseException
}

/// Goes on unwinding, which nothing has begun.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume(_exception: *mut c_void) -> ! {
    // SAFETY: it asks for nothing.
    unsafe { abort() }
}

//! What is asked of the C library directly, because the way through the standard library costs
//! kilobytes.

use crate::shared::deadline::EpochMs;

/// Ends the process.
///
/// `std::process::exit` would first write out what `print!` holds back while its line has no end,
/// and with that come 6 KB: the code that tears down the standard library.
#[expect(unsafe_code, reason = "the standard library's exit is 6 KB")]
pub(crate) fn exit(code: u8) -> ! {
    // SAFETY: it asks for nothing, and does not come back.
    unsafe { libc::_exit(i32::from(code)) }
}

/// The time by the wall clock.
///
/// `SystemTime::now` panics with the error should there be no clock, and with that come 4 KB: the
/// names of all errors.
#[expect(unsafe_code, reason = "the standard library's clock is 4 KB")]
pub(super) fn now() -> EpochMs {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: it writes the one structure that it is given. It cannot fail: every Linux has this
    // clock.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut time) };
    let ms = time.tv_sec.saturating_mul(1_000) + time.tv_nsec / 1_000_000;
    EpochMs(u64::try_from(ms).unwrap_or(0))
}

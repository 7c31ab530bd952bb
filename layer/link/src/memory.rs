//! `memcpy`, `memmove`, `memset`, `memcmp` and `bcmp`.
//!
//! Up to 64 bytes are loaded whole before any is stored, in pieces that overlap, so that there is
//! neither a loop nor a branch on the length of the last piece. Longer ones go 32 bytes at a time.
//!
//! The functions are written in plain loads and stores: a call of `copy_nonoverlapping` here would
//! be a call of `memcpy`, and `no_builtins` keeps the compiler from making one of a loop.

#[cfg(target_arch = "aarch64")]
use core::arch::aarch64::uint8x16_t as Vector;
#[cfg(target_arch = "x86_64")]
use core::arch::x86_64::__m128i as Vector;

/// Copies `n` bytes; the two places must not overlap.
///
/// # Safety
///
/// As for the C function: `from` is good for reads and `to` for writes of `n` bytes.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
    // SAFETY: `memmove` asks for less.
    unsafe { memmove(to, from, n) }
}

/// Copies `n` bytes; the two places may overlap.
///
/// # Safety
///
/// As for the C function: `from` is good for reads and `to` for writes of `n` bytes.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
    // SAFETY: each branch reads and writes at offsets from 0 to `n`, as its condition says, and
    // loads what it stores before a store can overlap it:
    // - the pieces of `copy_ends` and the four of the third branch are loaded before the first
    //   store;
    // - `forward` and `backward` have proofs of their own.
    unsafe {
        match n {
            0 => {}
            1 => to.write(from.read()),
            2..4 => copy_ends::<u16>(to, from, n),
            4..8 => copy_ends::<u32>(to, from, n),
            8..16 => copy_ends::<u64>(to, from, n),
            16..=32 => copy_ends::<Vector>(to, from, n),
            33..=64 => {
                let first = load::<Vector>(from);
                let second = load::<Vector>(from.add(16));
                let third = load::<Vector>(from.add(n - 32));
                let last = load::<Vector>(from.add(n - 16));
                store(to, first);
                store(to.add(16), second);
                store(to.add(n - 32), third);
                store(to.add(n - 16), last);
            }
            _ if n <= to.addr().wrapping_sub(from.addr()) => forward(to, from, n),
            _ => backward(to, from, n),
        }
    }
    to
}

/// Copies from the start to the end. `to` is not inside the `n` bytes at `from`, and `n` is over
/// 64.
///
/// # Safety
///
/// As [`memmove`].
unsafe fn forward(to: *mut u8, from: *const u8, n: usize) {
    // SAFETY: Offsets stay below `n`: the loop ends before `n - 32`, and the end is `n - 32` to
    // `n`. A store goes to an address that is below every byte which is still to be loaded, or
    // outside `from`'s bytes: `to` is before `from` or behind its end. The end is loaded before the
    // first store, because stores behind the start of `from` may reach it.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        if STRING_COPY_BYTES_MIN <= n {
            core::arch::asm!(
                "rep movsb",
                inout("rcx") n => _,
                inout("rdi") to => _,
                inout("rsi") from => _,
                options(nostack, preserves_flags)
            );
            return;
        }
        let third = load::<Vector>(from.add(n - 32));
        let last = load::<Vector>(from.add(n - 16));
        let mut at = 0;
        while at < n - 32 {
            let first = load::<Vector>(from.add(at));
            let second = load::<Vector>(from.add(at + 16));
            store(to.add(at), first);
            store(to.add(at + 16), second);
            at += 32;
        }
        store(to.add(n - 32), third);
        store(to.add(n - 16), last);
    }
}

/// Copies from the end to the start. `to` is inside the `n` bytes at `from`, and `n` is over 64.
///
/// # Safety
///
/// As [`memmove`].
unsafe fn backward(to: *mut u8, from: *const u8, n: usize) {
    // SAFETY: Offsets stay below `n`: the loop ends when 32 bytes or fewer are left, and those are
    // 0 to 32. A store goes to an address above every byte which is still to be loaded, because
    // `to` is above `from`. The start is loaded before the first store, which may reach it.
    unsafe {
        let first = load::<Vector>(from);
        let second = load::<Vector>(from.add(16));
        let mut end = n;
        while 32 < end {
            let third = load::<Vector>(from.add(end - 32));
            let last = load::<Vector>(from.add(end - 16));
            store(to.add(end - 32), third);
            store(to.add(end - 16), last);
            end -= 32;
        }
        store(to, first);
        store(to.add(16), second);
    }
}

/// Copies `n` bytes as their first and their last `T`, which overlap or meet.
///
/// # Safety
///
/// As [`memmove`]; `n` is between the size of `T` and twice that.
unsafe fn copy_ends<T>(to: *mut u8, from: *const u8, n: usize) {
    let last_at = n - size_of::<T>();
    // SAFETY: both pieces are inside the `n` bytes, and both are loaded before a store.
    unsafe {
        let first = load::<T>(from);
        let last = load::<T>(from.add(last_at));
        store(to, first);
        store(to.add(last_at), last);
    }
}

/// Sets `n` bytes to the low byte of `value`.
///
/// # Safety
///
/// As for the C function: `to` is good for writes of `n` bytes.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn memset(to: *mut u8, value: i32, n: usize) -> *mut u8 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the C function takes the low byte"
    )]
    let byte = value as u8;
    let word = u64::from_ne_bytes([byte; 8]);
    // SAFETY: each branch writes at offsets from 0 to `n`, as its condition says.
    unsafe {
        if n < 8 {
            let mut at = 0;
            while at < n {
                to.add(at).write(byte);
                at += 1;
            }
            return to;
        }
        #[cfg(target_arch = "x86_64")]
        if STRING_COPY_BYTES_MIN <= n {
            core::arch::asm!(
                "rep stosb",
                inout("rcx") n => _,
                inout("rdi") to => _,
                in("al") byte,
                options(nostack, preserves_flags)
            );
            return to;
        }
        let mut at = 0;
        while at < n - 8 {
            store(to.add(at), word);
            at += 8;
        }
        store(to.add(n - 8), word);
    }
    to
}

/// Compares `n` bytes: negative, 0 or positive.
///
/// # Safety
///
/// As for the C function: `left` and `right` are good for reads of `n` bytes.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, n: usize) -> i32 {
    let mut at = 0;
    // SAFETY: every read is at an offset below `n`.
    unsafe {
        if n < 8 {
            while at < n {
                let (l, r) = (left.add(at).read(), right.add(at).read());
                if l != r {
                    return order(u64::from(l), u64::from(r));
                }
                at += 1;
            }
            return 0;
        }
        loop {
            let (l, r) = (load::<u64>(left.add(at)), load::<u64>(right.add(at)));
            if l != r {
                // The first byte in memory counts most.
                return order(u64::from_be(l), u64::from_be(r));
            }
            if at == n - 8 {
                return 0;
            }
            // The last piece overlaps the one before it, in which all bytes are equal.
            at = (at + 8).min(n - 8);
        }
    }
}

/// Compares `n` bytes: 0 if they are equal.
///
/// # Safety
///
/// As [`memcmp`].
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, n: usize) -> i32 {
    // SAFETY: the same contract.
    unsafe { memcmp(left, right, n) }
}

const fn order(left: u64, right: u64) -> i32 {
    if left < right { -1 } else { 1 }
}

/// # Safety
///
/// `from` is good for a read of a `T`, at any alignment.
unsafe fn load<T>(from: *const u8) -> T {
    // SAFETY: that of the caller. `T` is an integer or a vector of them, for which all bits are
    // good.
    unsafe { from.cast::<T>().read_unaligned() }
}

/// # Safety
///
/// `to` is good for a write of a `T`, at any alignment.
unsafe fn store<T>(to: *mut u8, value: T) {
    // SAFETY: that of the caller.
    unsafe { to.cast::<T>().write_unaligned(value) }
}

/// From here on the string instructions of x86-64 are as fast as a loop, and faster soon after.
#[cfg(target_arch = "x86_64")]
const STRING_COPY_BYTES_MIN: usize = 1_024;

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    /// Lengths around every branch.
    fn lengths() -> impl Iterator<Item = usize> {
        (0..140).chain([1_000, 1_023, 1_024, 1_025, 5_000])
    }

    fn numbered(len: usize) -> Vec<u8> {
        (0..=250).cycle().take(len).collect()
    }

    #[test]
    fn moves_are_those_of_the_standard_library() {
        for n in lengths() {
            for (from, to) in [
                (0, 0),
                (0, 1),
                (1, 0),
                (3, 20),
                (20, 3),
                (0, 33),
                (33, 0),
                (7, n + 9),
            ] {
                let mut got = numbered(from.max(to) + n + 8);
                let mut expected = got.clone();
                expected.copy_within(from..from + n, to);
                // SAFETY: the buffer reaches 8 bytes beyond both places.
                unsafe { memmove(got.as_mut_ptr().add(to), got.as_ptr().add(from), n) };
                assert_eq!(got, expected, "{n} bytes from {from} to {to}");
            }
        }
    }

    #[test]
    fn sets_all_and_no_more() {
        for n in lengths() {
            let mut got = numbered(n + 40);
            let mut expected = got.clone();
            expected[16..16 + n].fill(0xa5);
            // SAFETY: the buffer reaches beyond the place.
            unsafe { memset(got.as_mut_ptr().add(16), 0x7a5, n) };
            assert_eq!(got, expected, "{n} bytes");
        }
    }

    #[test]
    fn compares_by_the_first_difference() {
        for n in lengths() {
            let left = numbered(n);
            let mut right = left.clone();
            // SAFETY: both have `n` bytes.
            let compare = |right: &[u8]| unsafe { memcmp(left.as_ptr(), right.as_ptr(), n) };
            assert_eq!(compare(&right), 0, "{n} bytes");
            for at in 0..n {
                right[at] = right[at].wrapping_add(128);
                if let Some(next) = right.get_mut(at + 1) {
                    *next = next.wrapping_sub(1);
                }
                let expected = left.cmp(&right) as i32;
                assert_eq!(compare(&right).signum(), expected, "{n} bytes, at {at}");
                // SAFETY: both have `n` bytes.
                let differs = unsafe { bcmp(left.as_ptr(), right.as_ptr(), n) };
                assert_ne!(differs, 0, "{n} bytes, at {at}");
                right.copy_from_slice(&left);
            }
        }
    }
}

//! `malloc`, `calloc`, `realloc`, `free`, and the three that align.
//!
//! With musl's own allocator a typed event of 2.1 KB takes 29 % more instructions, an echo 14 %,
//! the start of a function 24,000, and a function is 10 KB larger.
//!
//! Blocks come in size classes, four to each doubling. A freed block goes onto the list of its
//! class and serves the next request of that class; blocks are neither split nor joined, so a
//! process holds at most the sum of what each class needed at its peak. New blocks are cut from a
//! chunk, the first of which is a part of the program. A block over [`MAPPED_BYTES_MIN`] is a
//! mapping of its own, which grows in place where the kernel can move it, and goes back to the
//! kernel when it is freed.
//!
//! Eight bytes before each block say what it is:
//!
//! ```text
//! class << 2             a block of a size class
//! length << 2 | 1        a mapping, its header's page included
//! distance << 2 | 2      an aligned block, so many bytes behind the block it lies in
//! ```

use core::cell::UnsafeCell;
use core::ffi::{c_int, c_void};
use core::ptr;
use core::sync::atomic::{AtomicBool, Ordering};

unsafe extern "C" {
    fn mmap(
        at: *mut c_void,
        len: usize,
        access: c_int,
        flags: c_int,
        fd: c_int,
        offset: i64,
    ) -> *mut c_void;
    fn mremap(old: *mut c_void, old_len: usize, new_len: usize, flags: c_int, ...) -> *mut c_void;
    fn munmap(at: *mut c_void, len: usize) -> c_int;
    fn sched_yield() -> c_int;
}

/// The free blocks and the chunk that new ones are cut from.
struct Heap {
    /// The first free block of each class; its first bytes point to the next.
    free: [*mut u8; CLASSES],
    /// The rest of the chunk. `at` is 8 below a multiple of 16, so that blocks are aligned.
    at: *mut u8,
    left: usize,
}

struct Shared {
    locked: AtomicBool,
    heap: UnsafeCell<Heap>,
}

// SAFETY: the heap is only reached through `with_heap`, which holds the lock.
unsafe impl Sync for Shared {}

static SHARED: Shared = Shared {
    locked: AtomicBool::new(false),
    heap: UnsafeCell::new(Heap {
        free: [ptr::null_mut(); CLASSES],
        at: ptr::null_mut(),
        left: 0,
    }),
};

/// The first chunk. As a part of the program's own memory it costs no system call, and a start
/// needs no other.
#[repr(align(16))]
struct First(UnsafeCell<[u8; CHUNK_BYTES]>);

// SAFETY: only its address is taken here; each block of it has one owner, as all blocks have.
unsafe impl Sync for First {}

static FIRST: First = First(UnsafeCell::new([0; CHUNK_BYTES]));

/// Runs `work` with the heap to itself.
fn with_heap<T>(work: impl FnOnce(&mut Heap) -> T) -> T {
    while SHARED.locked.swap(true, Ordering::Acquire) {
        // SAFETY: it asks for nothing.
        unsafe { sched_yield() };
    }
    // SAFETY: the lock is held, and `work` neither allocates nor panics, so there is no other
    // reference until it is let go.
    let result = work(unsafe { &mut *SHARED.heap.get() });
    SHARED.locked.store(false, Ordering::Release);
    result
}

/// Size class of a block of `bytes`, header included: multiples of 16 up to 128, then four to each
/// doubling.
const fn class_of(bytes: usize) -> usize {
    if bytes <= 128 {
        return bytes.div_ceil(16);
    }
    let last = bytes - 1;
    let doubling = last.ilog2() as usize;
    (doubling - 7) * 4 + ((last >> (doubling - 2)) & 3) + 9
}

/// Bytes of the blocks of a class, header included.
const fn class_bytes(class: usize) -> usize {
    if class <= 8 {
        class * 16
    } else {
        let step = class - 9;
        (5 + step % 4) << (5 + step / 4)
    }
}

impl Heap {
    /// A block of `class`, from the list of free ones or new.
    fn take(&mut self, class: usize) -> *mut u8 {
        let Some(first) = self.free.get_mut(class) else {
            return ptr::null_mut();
        };
        if !first.is_null() {
            let block = *first;
            // SAFETY: `give` wrote the pointer to the next there, and nobody else has the block.
            *first = unsafe { block.cast::<*mut u8>().read() };
            return block;
        }
        let bytes = class_bytes(class);
        if self.left < bytes {
            let chunk = if self.at.is_null() {
                FIRST.0.get().cast()
            } else {
                map(CHUNK_BYTES)
            };
            if chunk.is_null() {
                return chunk;
            }
            // What is left of the last chunk is less than one block, and is left alone.
            // SAFETY: 8 is inside the chunk.
            self.at = unsafe { chunk.add(8) };
            self.left = CHUNK_BYTES - 16;
        }
        // SAFETY: `bytes`, at least 16, are left at `at`, which is good for a header and on a
        // multiple of 8; the block behind the header is on a multiple of 16.
        unsafe {
            let block = self.at.add(HEADER_BYTES);
            set_header(block, class << 2);
            self.at = self.at.add(bytes);
            self.left -= bytes;
            block
        }
    }

    /// Takes back a block of `class`.
    fn give(&mut self, block: *mut u8, class: usize) {
        if let Some(first) = self.free.get_mut(class) {
            // SAFETY: the caller of `free` gave the block up, and every block has 8 bytes.
            unsafe { block.cast::<*mut u8>().write(*first) };
            *first = block;
        }
    }
}

/// Fresh pages, or null.
fn map(len: usize) -> *mut u8 {
    // SAFETY: an anonymous mapping at a place of the kernel's choice touches nothing that exists.
    let at = unsafe { mmap(ptr::null_mut(), len, READ_WRITE, PRIVATE_ANONYMOUS, -1, 0) };
    if at.addr() == usize::MAX {
        ptr::null_mut()
    } else {
        at.cast()
    }
}

/// # Safety
///
/// `block` is one that this file returned.
unsafe fn header(block: *mut u8) -> usize {
    // SAFETY: there is a header before every such block.
    unsafe { block.sub(HEADER_BYTES).cast::<usize>().read() }
}

/// # Safety
///
/// The eight bytes before `block` are this file's, and it is on a multiple of 8.
unsafe fn set_header(block: *mut u8, header: usize) {
    // SAFETY: that of the caller.
    unsafe { block.sub(HEADER_BYTES).cast::<usize>().write(header) };
}

/// Length of the mapping for a block of `bytes`: a header keeps 16 to stay aligned.
fn mapping_len(bytes: usize) -> Option<usize> {
    bytes.checked_add(16)?.checked_next_multiple_of(PAGE_BYTES)
}

/// Whether `bytes` get a mapping of their own.
const fn is_mapped(bytes: usize) -> bool {
    MAPPED_BYTES_MIN - HEADER_BYTES < bytes
}

/// Allocates; null when there is no memory.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) extern "C" fn malloc(bytes: usize) -> *mut u8 {
    if !is_mapped(bytes) {
        let class = class_of(bytes.max(HEADER_BYTES) + HEADER_BYTES);
        return with_heap(|heap| heap.take(class));
    }
    let Some(len) = mapping_len(bytes) else {
        return ptr::null_mut();
    };
    let mapping = map(len);
    if mapping.is_null() {
        return mapping;
    }
    // SAFETY: the mapping has more than 16 bytes and starts on a page.
    unsafe {
        let block = mapping.add(16);
        set_header(block, len << 2 | MAPPED);
        block
    }
}

/// Allocates zeroes; null when there is no memory.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) extern "C" fn calloc(count: usize, bytes: usize) -> *mut u8 {
    let Some(bytes) = count.checked_mul(bytes) else {
        return ptr::null_mut();
    };
    let block = malloc(bytes);
    // A mapping is fresh, and zero already.
    if !block.is_null() && !is_mapped(bytes) {
        // SAFETY: the block has `bytes` bytes.
        unsafe { crate::memory::memset(block, 0, bytes) };
    }
    block
}

/// Frees a block.
///
/// # Safety
///
/// As for the C function: `block` is null or one of ours, and nobody uses it any more.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn free(block: *mut u8) {
    if block.is_null() {
        return;
    }
    // SAFETY: the header says what the block is: where its mapping starts and how long it is, or
    // what it lies in.
    unsafe {
        let header = header(block);
        match header & KIND {
            MAPPED => {
                munmap(block.sub(16).cast(), header >> 2);
            }
            ALIGNED => free(block.sub(header >> 2)),
            _ => with_heap(|heap| heap.give(block, header >> 2)),
        }
    }
}

/// Bytes that a block has room for.
///
/// # Safety
///
/// As for the C function: `block` is null or one of ours.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn malloc_usable_size(block: *mut u8) -> usize {
    if block.is_null() {
        return 0;
    }
    // SAFETY: the header says what the block is.
    unsafe {
        let header = header(block);
        match header & KIND {
            MAPPED => (header >> 2) - 16,
            ALIGNED => malloc_usable_size(block.sub(header >> 2)) - (header >> 2),
            _ => class_bytes(header >> 2) - HEADER_BYTES,
        }
    }
}

/// Changes the size of a block, which may move; null when there is no memory, and then it stays.
///
/// # Safety
///
/// As for the C function: `block` is null or one of ours.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn realloc(block: *mut u8, bytes: usize) -> *mut u8 {
    if block.is_null() {
        return malloc(bytes);
    }
    // SAFETY: the header says what the block is; a copy is of no more bytes than either block has,
    // and the old block is the caller's to give up.
    unsafe {
        let header = header(block);
        if header & KIND == MAPPED && is_mapped(bytes) {
            let Some(len) = mapping_len(bytes) else {
                return ptr::null_mut();
            };
            let mapping = mremap(block.sub(16).cast(), header >> 2, len, MAY_MOVE);
            if mapping.addr() == usize::MAX {
                return ptr::null_mut();
            }
            let block = mapping.cast::<u8>().add(16);
            set_header(block, len << 2 | MAPPED);
            return block;
        }
        let room = malloc_usable_size(block);
        // A block that shrinks stays, unless that would keep more than half of it unused.
        if bytes <= room && room / 2 <= bytes.max(SMALL_BYTES_MAX) {
            return block;
        }
        let moved = malloc(bytes);
        if !moved.is_null() {
            crate::memory::memcpy(moved, block, room.min(bytes));
            free(block);
        }
        moved
    }
}

/// Allocates at a multiple of `align`, a power of two; null when there is no memory.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) extern "C" fn aligned_alloc(align: usize, bytes: usize) -> *mut u8 {
    if align <= 16 {
        return malloc(bytes);
    }
    let Some(room) = bytes.checked_add(align) else {
        return ptr::null_mut();
    };
    let block = malloc(room);
    if block.is_null() {
        return block;
    }
    let distance = block.addr().next_multiple_of(align) - block.addr();
    if distance == 0 {
        return block;
    }
    // SAFETY: the distance is less than `align`, so `bytes` are left behind it; it is a multiple of
    // 16, so that there is room for a header before it.
    unsafe {
        let aligned = block.add(distance);
        set_header(aligned, distance << 2 | ALIGNED);
        aligned
    }
}

/// The same, by the name that POSIX gives it.
///
/// # Safety
///
/// As for the C function: `block` is good for a write.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn posix_memalign(
    block: *mut *mut u8,
    align: usize,
    bytes: usize,
) -> c_int {
    let aligned = aligned_alloc(align, bytes);
    if aligned.is_null() {
        return ENOMEM;
    }
    // SAFETY: that of the caller.
    unsafe { block.write(aligned) };
    0
}

/// The same, by its oldest name.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) extern "C" fn memalign(align: usize, bytes: usize) -> *mut u8 {
    aligned_alloc(align, bytes)
}

/// Names by which musl allocates for itself.
#[cfg(not(test))]
mod internal {
    #[unsafe(no_mangle)]
    extern "C" fn __libc_malloc(bytes: usize) -> *mut u8 {
        super::malloc(bytes)
    }

    #[unsafe(no_mangle)]
    extern "C" fn __libc_calloc(count: usize, bytes: usize) -> *mut u8 {
        super::calloc(count, bytes)
    }

    /// # Safety
    ///
    /// As [`super::realloc`].
    #[unsafe(no_mangle)]
    unsafe extern "C" fn __libc_realloc(block: *mut u8, bytes: usize) -> *mut u8 {
        // SAFETY: that of the caller.
        unsafe { super::realloc(block, bytes) }
    }

    /// # Safety
    ///
    /// As [`super::free`].
    #[unsafe(no_mangle)]
    unsafe extern "C" fn __libc_free(block: *mut u8) {
        // SAFETY: that of the caller.
        unsafe { super::free(block) }
    }
}

const HEADER_BYTES: usize = 8;
const KIND: usize = 3;
const MAPPED: usize = 1;
const ALIGNED: usize = 2;

/// Blocks up to here stay where they are when they shrink.
const SMALL_BYTES_MAX: usize = 128;

/// A multiple of every page size of Linux up to 64 KiB is not needed: the kernel rounds by itself.
const PAGE_BYTES: usize = 4_096;

/// Bytes that are cut into blocks at once. Untouched pages take no memory.
const CHUNK_BYTES: usize = 1024 * 1024;

/// Blocks over this, header included, are mappings of their own: it is the largest class.
const MAPPED_BYTES_MIN: usize = 128 * 1024;

const CLASSES: usize = class_of(MAPPED_BYTES_MIN) + 1;

const READ_WRITE: c_int = 3;
const PRIVATE_ANONYMOUS: c_int = 0x22;
const MAY_MOVE: c_int = 1;
const ENOMEM: c_int = 12;

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    #[test]
    fn a_class_holds_what_it_is_for() {
        for bytes in 16..=MAPPED_BYTES_MIN {
            let class = class_of(bytes);
            assert!(bytes <= class_bytes(class), "{bytes} in class {class}");
            assert!(class_bytes(class - 1) < bytes, "{bytes} in class {class}");
            assert_eq!(class_bytes(class) % 16, 0, "{class}");
        }
        assert_eq!(class_bytes(CLASSES - 1), MAPPED_BYTES_MIN);
    }

    /// xorshift64: enough to mix calls, and the same everywhere.
    struct Mix(u64);

    impl Mix {
        fn below(&mut self, end: u32) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from(self.0 % u64::from(end)).expect("it is less than a u32")
        }
    }

    struct Held {
        block: *mut u8,
        bytes: usize,
        mark: u8,
    }

    fn pick(mix: &mut Mix, all: &[Held]) -> usize {
        mix.below(u32::try_from(all.len()).expect("there are few"))
    }

    fn fill(held: &Held) {
        // SAFETY: the block was allocated with this many bytes.
        unsafe { held.block.write_bytes(held.mark, held.bytes) };
    }

    fn check(held: &Held, bytes: usize) {
        // SAFETY: the block was allocated with this many bytes and filled.
        let got = unsafe { std::slice::from_raw_parts(held.block, bytes) };
        assert!(
            got.iter().all(|byte| *byte == held.mark),
            "{bytes} bytes are intact"
        );
    }

    #[test]
    fn blocks_keep_what_is_in_them() {
        let seed = 0x5eed_0001;
        std::println!("seed {seed:#x}");
        let mut mix = Mix(seed);
        let mut all: Vec<Held> = Vec::new();
        for step in 0..40_000_u32 {
            let bytes = match mix.below(20) {
                0 => mix.below(600_000),
                1..5 => mix.below(20_000),
                _ => mix.below(300),
            };
            let mark = step.to_le_bytes()[0];
            match mix.below(7) {
                0..2 => {
                    let block = malloc(bytes);
                    assert_eq!(block.addr() % 16, 0);
                    all.push(Held { block, bytes, mark });
                }
                2 => {
                    let align = 1 << mix.below(13);
                    let mut block = ptr::null_mut();
                    match mix.below(3) {
                        0 => block = aligned_alloc(align, bytes),
                        1 => block = memalign(align, bytes),
                        // SAFETY: `block` is good for a write.
                        _ => assert_eq!(unsafe { posix_memalign(&raw mut block, align, bytes) }, 0),
                    }
                    assert_eq!(block.addr() % align, 0);
                    all.push(Held { block, bytes, mark });
                }
                3 => {
                    let block = calloc(bytes, 1);
                    let zeroes = Held {
                        block,
                        bytes,
                        mark: 0,
                    };
                    check(&zeroes, bytes);
                    all.push(Held { mark, ..zeroes });
                }
                4 if !all.is_empty() => {
                    let mut held = all.swap_remove(pick(&mut mix, &all));
                    // SAFETY: the block is ours, and its old address is not used again.
                    held.block = unsafe { realloc(held.block, bytes) };
                    check(&held, held.bytes.min(bytes));
                    all.push(Held {
                        bytes,
                        mark,
                        ..held
                    });
                }
                _ if !all.is_empty() => {
                    let held = all.swap_remove(pick(&mut mix, &all));
                    check(&held, held.bytes);
                    // SAFETY: the block is ours and no longer used.
                    unsafe { free(held.block) };
                    continue;
                }
                _ => continue,
            }
            let newest = all.last().expect("one was added");
            assert!(!newest.block.is_null());
            // SAFETY: the block is ours.
            assert!(newest.bytes <= unsafe { malloc_usable_size(newest.block) });
            fill(newest);
        }
        for held in all {
            check(&held, held.bytes);
            // SAFETY: the block is ours and no longer used.
            unsafe { free(held.block) };
        }
    }

    #[test]
    fn what_cannot_be_had_is_null() {
        assert!(malloc(usize::MAX).is_null());
        assert!(malloc(isize::MAX as usize).is_null());
        assert!(calloc(usize::MAX, 2).is_null());
        assert!(aligned_alloc(64, usize::MAX - 8).is_null());
        let mut block = ptr::null_mut();
        // SAFETY: `block` is good for a write.
        let refused = unsafe { posix_memalign(&raw mut block, 64, usize::MAX - 8) };
        assert_eq!(refused, ENOMEM);
        let block = malloc(100);
        // SAFETY: the block is ours; a `realloc` that fails leaves it.
        unsafe {
            assert!(realloc(block, isize::MAX as usize).is_null());
            free(block);
        }
    }

    #[test]
    fn threads_do_not_share_blocks() {
        let work = |mark: u8| {
            for round in 0..2_000 {
                let bytes = 1 + (round * 37) % 900;
                let held = Held {
                    block: malloc(bytes),
                    bytes,
                    mark,
                };
                fill(&held);
                std::thread::yield_now();
                check(&held, bytes);
                // SAFETY: the block is ours and no longer used.
                unsafe { free(held.block) };
            }
        };
        let threads: Vec<_> = (1..5)
            .map(|mark| std::thread::spawn(move || work(mark)))
            .collect();
        for thread in threads {
            thread.join().expect("no thread failed");
        }
    }
}

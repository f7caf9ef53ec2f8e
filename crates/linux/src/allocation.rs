//! The C library's allocator: how it is set, and what the process allocates, counted while a
//! benchmark asks for it.
//!
//! [`Counting`] passes every call on to it, and where nobody counts that costs a load and a branch
//! that is never taken.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

static IS_COUNTING: AtomicBool = AtomicBool::new(false);
static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// The C library's allocator, counted on demand; for `#[global_allocator]`.
#[derive(Clone, Copy, Debug)]
pub struct Counting;

/// Has what is freed joined at once to what is free beside it; for the start of the program.
///
/// By default, small pieces wait in "fast bins" (`mallopt(3)`, `M_MXFAST`) until something large is
/// wanted, and are joined then, all of them, long after they left the processor's caches. A
/// datastore's snapshot is mostly small pieces that come and go: without fast bins the policy
/// graph takes it in a tenth to a quarter less time.
pub fn join_freed_at_once() {
    // SAFETY: two numbers; the library takes its own locks. Where it declined, as it doesn't for
    // this value, programs would only be slower.
    unsafe { libc::mallopt(libc::M_MXFAST, 0) };
}

/// Begins to count, from zero. What was allocated before must stay allocated as long as anybody
/// counts, or its end is counted too: so this comes first in a process that measures itself.
pub fn start_counting() {
    LIVE.store(0, Relaxed);
    PEAK.store(0, Relaxed);
    IS_COUNTING.store(true, Relaxed);
}

/// Bytes that are allocated now, as they were asked for.
pub fn live_bytes() -> usize {
    LIVE.load(Relaxed)
}

/// The most that [`live_bytes`] was, since counting or [`forget_peak`].
pub fn peak_bytes() -> usize {
    PEAK.load(Relaxed)
}

/// Makes what is allocated now the peak.
pub fn forget_peak() {
    PEAK.store(LIVE.load(Relaxed), Relaxed);
}

fn count_more(bytes: usize) {
    if IS_COUNTING.load(Relaxed) {
        let live = LIVE.fetch_add(bytes, Relaxed).wrapping_add(bytes);
        // Looked at first, as a write is dear and mostly not needed.
        if live > PEAK.load(Relaxed) {
            PEAK.fetch_max(live, Relaxed);
        }
    }
}

fn count_less(bytes: usize) {
    if IS_COUNTING.load(Relaxed) {
        LIVE.fetch_sub(bytes, Relaxed);
    }
}

// SAFETY: every call is passed on to `System` unchanged, which keeps `GlobalAlloc`'s contract;
// counting neither allocates nor panics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count_more(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`, which is `System`'s too.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count_more(layout.size());
        // SAFETY: the caller keeps the contract of `alloc_zeroed`, which is `System`'s too.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count_less(layout.size());
        // SAFETY: the pointer is from `System`, as all of this allocator are.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count_less(layout.size());
        count_more(size);
        // SAFETY: the pointer is from `System`, as all of this allocator are.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_live_and_what_was_is_in_the_peak() {
        let layout = Layout::array::<u8>(1 << 20).unwrap();
        start_counting();
        // SAFETY: the layout is not empty.
        let pointer = unsafe { Counting.alloc(layout) };
        assert_eq!(live_bytes(), 1 << 20);
        // SAFETY: the pointer is of this allocator and layout, and not used again.
        let pointer = unsafe { Counting.realloc(pointer, layout, 1 << 10) };
        assert_eq!((live_bytes(), peak_bytes()), (1 << 10, 1 << 20));
        forget_peak();
        assert_eq!(peak_bytes(), 1 << 10);
        // SAFETY: the pointer is of this allocator, now of 1 KiB, and not used again.
        unsafe { Counting.dealloc(pointer, Layout::array::<u8>(1 << 10).unwrap()) };
        assert_eq!(live_bytes(), 0);
    }
}

//! Bytes allocated by this process, and the most since a moment.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The system's allocator, counted.
pub struct Counted;

static LIVE: AtomicU64 = AtomicU64::new(0);
static MOST: AtomicU64 = AtomicU64::new(0);

fn add(bytes: usize) {
    MOST.fetch_max(LIVE.fetch_add(bytes as u64, Relaxed) + bytes as u64, Relaxed);
}

// SAFETY: every call is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as u64, Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // The old block and the new one may stand side by side.
        add(size);
        LIVE.fetch_sub(layout.size() as u64, Relaxed);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Bytes in use.
pub fn live() -> u64 {
    LIVE.load(Relaxed)
}

/// Forgets the most so far.
pub fn start() {
    MOST.store(live(), Relaxed);
}

/// Panics where more than `allowed` bytes were in use since [`start`], beside the `before` that were before it all.
pub fn check(what: &str, before: u64, allowed: u64) {
    let used = MOST.load(Relaxed).saturating_sub(before);
    assert!(used <= allowed, "{what} took {used} bytes of memory, not {allowed}");
}

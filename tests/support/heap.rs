//! An allocator that counts what the current thread holds, so that tests beside one another do not see each other.

// Each test binary uses its own part of it. An allocator cannot be written without unsafe code.
#![allow(dead_code, unreachable_pub, unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

pub struct CountingAllocator;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// How often this thread has allocated, or let an allocation grow.
pub fn allocations() -> usize {
    ALLOCATIONS.get()
}

/// Bytes that this thread has allocated and not freed.
pub fn held() -> isize {
    HELD.get()
}

/// What `run` returns, and the most that this thread held meanwhile beyond what it held before.
pub fn peak<T>(run: impl FnOnce() -> T) -> (T, isize) {
    let before = HELD.get();
    PEAK.set(before);
    let outcome = run();
    (outcome, PEAK.get() - before)
}

fn count(bytes: isize) {
    ALLOCATIONS.set(ALLOCATIONS.get() + usize::from(bytes > 0));
    HELD.set(HELD.get() + bytes);
    PEAK.set(PEAK.get().max(HELD.get()));
}

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { System.dealloc(pointer, layout) }
    }

    /// Growing is counted as growth: where the system must move the bytes both are held for a moment, large ones are
    /// remapped.
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

//! An allocator that counts what the current thread holds, so that tests beside one another do not see each other. What grows in
//! its place counts once. A binary that counts names it:
//!
//! ```
//! #[global_allocator]
//! static ALLOCATOR: testkit::heap::CountingAllocator = testkit::heap::CountingAllocator;
//!
//! let before = testkit::heap::held();
//! let bytes = vec![0_u8; 1000];
//! assert_eq!(testkit::heap::held() - before, 1000);
//! drop(bytes);
//! assert_eq!(testkit::heap::held(), before);
//! ```

#![allow(unsafe_code, reason = "an allocator cannot be written without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, with a count.
#[derive(Debug)]
pub struct CountingAllocator;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
    static EVER: Cell<isize> = const { Cell::new(0) };
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
pub fn peak<T>(run: impl FnOnce() -> T) -> (T, usize) {
    let since = Since::now();
    let outcome = run();
    (outcome, since.peak())
}

/// What this thread has allocated since a moment, in bytes. There is one at a time: a new one forgets the peak.
#[derive(Debug)]
pub struct Since {
    held: isize,
    ever: isize,
}

impl Since {
    /// From here on.
    pub fn now() -> Self {
        let held = HELD.get();
        PEAK.set(held);
        Self { held, ever: EVER.get() }
    }

    /// What is held now beyond what was held then.
    pub fn held(&self) -> usize {
        usize::try_from(HELD.get() - self.held).unwrap_or(0)
    }

    /// The most that was held.
    pub fn peak(&self) -> usize {
        usize::try_from(PEAK.get() - self.held).unwrap_or(0)
    }

    /// The sum of all allocations, freed or not.
    pub fn ever(&self) -> usize {
        usize::try_from(EVER.get() - self.ever).unwrap_or(0)
    }
}

fn count(bytes: isize) {
    ALLOCATIONS.set(ALLOCATIONS.get() + usize::from(bytes > 0));
    EVER.set(EVER.get() + bytes.max(0));
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

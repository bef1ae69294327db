//! What all connections together have done, and the first thing that went wrong.

use std::{
    fmt,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crate::heap;

#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) connections: AtomicU64,
    /// Echoes that came, all of them right.
    pub(crate) echoes: AtomicU64,
    /// Payload bytes of these.
    pub(crate) bytes: AtomicU64,
    /// Connections that ended with a Close frame of ours and all echoes.
    pub(crate) closed_by_us: AtomicU64,
    /// By one of the server.
    pub(crate) closed_by_server: AtomicU64,
    /// That the server cut, without a Close frame.
    pub(crate) cut: AtomicU64,
    /// That were dropped here.
    pub(crate) dropped: AtomicU64,
    wrong: Mutex<Option<String>>,
}

impl Tally {
    pub(crate) fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Relaxed);
    }

    /// The first is kept: others may follow from it.
    pub(crate) fn wrong(&self, what: String) {
        self.wrong.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(what);
    }

    pub(crate) fn first_wrong(&self) -> Option<String> {
        self.wrong.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let get = |counter: &AtomicU64| counter.load(Relaxed);
        write!(
            f,
            "{} connections ({} closed here, {} by the server, {} cut, {} dropped), {} messages and {} MiB each way, {}",
            get(&self.connections),
            get(&self.closed_by_us),
            get(&self.closed_by_server),
            get(&self.cut),
            get(&self.dropped),
            get(&self.echoes),
            get(&self.bytes) >> 20,
            Held::now()
        )
    }
}

/// What this process holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    /// In bytes.
    pub(crate) heap: isize,
    /// Open file descriptors; 0 where the system does not list them.
    pub(crate) descriptors: usize,
}

impl Held {
    pub(crate) fn now() -> Self {
        // The listing itself is one of them.
        let descriptors = std::fs::read_dir("/dev/fd").map_or(0, |listing| listing.count().saturating_sub(1));
        Self { heap: heap::held(), descriptors }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "heap {} KiB, {} descriptors", self.heap / 1024, self.descriptors)
    }
}

//! What is measured of a run, while it runs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::sample::Sample;

/// Counters of one run, shared by everything that takes part in it.
#[derive(Debug, Clone, Default)]
pub struct Meter(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    messages: AtomicU64,
    bytes: AtomicU64,
    framed: AtomicU64,
    waiting: AtomicU64,
    gone: AtomicU64,
    read_ahead: AtomicU64,
    peak: AtomicU64,
}

impl Meter {
    /// A message came: from the server, or from the producer. It waits from now on.
    pub fn came(&self, len: usize) {
        let len = len as u64;
        self.0.messages.fetch_add(1, Relaxed);
        self.0.bytes.fetch_add(len, Relaxed);
        self.0.framed.fetch_add(len + header(len), Relaxed);
        let waiting = self.0.waiting.fetch_add(len, Relaxed) + len;
        self.0.peak.fetch_max(waiting, Relaxed);
    }

    /// A message that came is done with: consumed, or taken by the socket.
    pub fn went(&self, len: usize) {
        self.0.waiting.fetch_sub(len as u64, Relaxed);
        self.0.gone.fetch_add(len as u64, Relaxed);
    }

    /// So much waits, said by who knows it.
    pub fn waits(&self, bytes: u64) {
        self.0.waiting.store(bytes, Relaxed);
    }

    /// So much was read from the socket. What of it was not a message that came yet waits as well.
    pub fn has_read(&self, wire_bytes: u64) {
        let ahead = wire_bytes.saturating_sub(self.0.framed.load(Relaxed));
        self.0.read_ahead.store(ahead, Relaxed);
        self.0.peak.fetch_max(self.0.waiting.load(Relaxed) + ahead, Relaxed);
    }

    /// How many bytes are done with. Unlike those of a sample they are one counter, so their differences are exact.
    pub fn gone(&self) -> u64 {
        self.0.gone.load(Relaxed)
    }

    /// The most that ever waited.
    pub fn peak(&self) -> u64 {
        self.0.peak.load(Relaxed)
    }

    /// What the run has come to after so much time.
    pub fn sample(&self, time: Duration) -> Sample {
        let waiting = self.0.waiting.load(Relaxed);
        let messages = self.0.messages.load(Relaxed);
        let came = self.0.bytes.load(Relaxed);
        let bytes = came.saturating_sub(waiting);
        Sample {
            time,
            messages: (messages as f64 * bytes as f64 / came.max(1) as f64).round() as u64,
            bytes,
            waiting: waiting + self.0.read_ahead.load(Relaxed),
        }
    }
}

/// Length of the header of a frame from a server (RFC 6455, section 5.2).
fn header(len: u64) -> u64 {
    match len {
        0..126 => 2,
        126..0x1_0000 => 4,
        _ => 10,
    }
}

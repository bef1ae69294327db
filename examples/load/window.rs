//! The time that is measured, and the stamps of messages in it.

use std::time::Duration;

use tokio::time::Instant;

/// How many bytes a stamp has: nanoseconds, as an integer.
pub const STAMP: usize = 8;

/// The program begins at `zero`; what is due from `from` on, and before `until`, is measured.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    pub zero: Instant,
    pub from: Instant,
    pub until: Instant,
}

impl Window {
    /// From now on, after the time in which connections are opened.
    pub fn after(ramp: Duration, duration: Duration) -> Self {
        let zero = Instant::now();
        Self { zero, from: zero + ramp, until: zero + ramp + duration }
    }

    /// What a message begins with that is due at this time.
    pub fn stamp(&self, due: Instant) -> [u8; STAMP] {
        (due.duration_since(self.zero).as_nanos() as u64).to_be_bytes()
    }

    /// When a message was due. `None`: it is none of ours.
    pub fn due(&self, message: &[u8]) -> Option<Instant> {
        let stamp = u64::from_be_bytes(*message.first_chunk()?);
        let due = self.zero.checked_add(Duration::from_nanos(stamp))?;
        (due < self.until).then_some(due)
    }
}

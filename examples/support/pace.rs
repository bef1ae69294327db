//! The pace of a slow reader: the same for each consumer, and for the server that is sent to.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// Pretended work: so many bytes a second and no more.
#[derive(Debug, Clone)]
pub struct Pace {
    bytes_per_second: Arc<AtomicU64>,
    free_at: Instant,
}

impl Pace {
    /// Works at this speed, which may change meanwhile.
    pub fn new(bytes_per_second: Arc<AtomicU64>) -> Self {
        Self { bytes_per_second, free_at: Instant::now() }
    }

    /// Waits as long as the work on so many bytes takes.
    pub async fn work(&mut self, bytes: usize) {
        let now = Instant::now();
        let speed = self.bytes_per_second.load(Relaxed).max(1);
        let idle_since = self.free_at.max(now - LATE);
        self.free_at = idle_since + Duration::from_secs_f64(bytes as f64 / speed as f64);
        if self.free_at > now + TIMER {
            sleep_until(self.free_at).await;
        }
    }
}

/// The work on small messages is shorter than the timer can measure: it is slept off in pieces of this size.
const TIMER: Duration = Duration::from_millis(2);

/// How far the work may lag behind, by a timer that fires late, and still be caught up with.
const LATE: Duration = Duration::from_millis(10);

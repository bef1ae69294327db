//! A stopwatch: how long something has lasted, all times together. The clock is read only where it starts and stops.

use std::time::Duration;

use tokio::time::Instant;

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Stopwatch {
    /// All times that are over.
    total: Duration,
    /// When the one that is not over has begun.
    since: Option<Instant>,
}

impl Stopwatch {
    /// One that stands still, after so much time.
    pub(crate) fn stopped_at(total: Duration) -> Self {
        Self { total, since: None }
    }

    /// Starts it, unless it runs.
    #[inline]
    pub(crate) fn start(&mut self, now: impl FnOnce() -> Instant) {
        if self.since.is_none() {
            self.since = Some(now());
        }
    }

    /// Stops it, if it runs.
    #[inline]
    pub(crate) fn stop(&mut self, now: impl FnOnce() -> Instant) {
        if let Some(since) = self.since.take() {
            self.total += now().saturating_duration_since(since);
        }
    }

    #[inline]
    pub(crate) fn is_running(&self) -> bool {
        self.since.is_some()
    }

    /// What it shows.
    pub(crate) fn elapsed(&self) -> Duration {
        self.total + self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

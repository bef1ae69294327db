//! When the next message of a connection is due.

use std::time::Duration;

use tokio::time::Instant;

/// What decides it.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// A message so often, whether or not the server answers.
    Every(Duration),
    /// As soon as fewer than so many messages wait for their answers.
    InFlight(u64),
}

impl Pace {
    /// When the next message is due on a connection that is open since `begun`. `None`: after the next answer.
    pub fn due(self, begun: Instant, now: Instant, sent: u64, answered: u64) -> Option<Instant> {
        match self {
            Self::Every(interval) => {
                let nanos = (interval.as_nanos() as u64).saturating_mul(sent);
                begun.checked_add(Duration::from_nanos(nanos))
            }
            Self::InFlight(limit) => (sent - answered < limit).then_some(now),
        }
    }

    /// How many messages are due before a time, of which so many were sent.
    pub fn due_before(self, begun: Instant, until: Instant, sent: u64) -> u64 {
        match self {
            Self::Every(interval) => until.duration_since(begun).as_nanos().div_ceil(interval.as_nanos()) as u64,
            Self::InFlight(_) => sent,
        }
    }
}

//! When a connection counts as idle: then the buffers that traffic has made large are freed.

use std::time::Duration;

use tokio::time::Instant;

/// Once nothing has moved for so long, and no longer than twice that, large buffers are freed.
const IDLE: Duration = Duration::from_secs(1);

/// Looks twice, `IDLE` apart, at how many bytes have moved, so that traffic need not note the time.
#[derive(Debug, Default)]
pub(super) enum IdleTimer {
    #[default]
    Off,
    On {
        until: Instant,
        /// Bytes that had moved when it was set.
        moved: u64,
    },
}

impl IdleTimer {
    /// Sets it, unless it is set, and returns when to look. `moved`: bytes that have moved so far.
    pub(super) fn set(&mut self, moved: u64) -> Instant {
        match *self {
            Self::On { until, .. } => until,
            Self::Off => {
                let until = Instant::now() + IDLE;
                *self = Self::On { until, moved };
                until
            }
        }
    }

    /// Whether nothing has moved since it was set, if it is time to look. If it is, the timer is off.
    pub(super) fn is_idle(&mut self, now: Instant, moved: u64) -> bool {
        match *self {
            Self::On { until, moved: before } if until <= now => {
                *self = Self::Off;
                before == moved
            }
            _ => false,
        }
    }
}

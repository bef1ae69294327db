//! The watch over a connection that may be idle: it tells when the buffers that traffic has made large are to be given back.

use std::time::Duration;

use tokio::{runtime::Handle, time::Instant};

/// Once nothing has moved for so long, and no longer than twice that, large buffers are given back.
const IDLE: Duration = Duration::from_secs(1);

/// Looks twice, `IDLE` apart, at how many bytes have moved, so that traffic need not note the time.
#[derive(Debug, Default)]
pub(crate) enum IdleTimer {
    #[default]
    Off,
    On {
        until: Instant,
        /// Bytes that had moved when it was set.
        moved: u64,
    },
}

impl IdleTimer {
    /// Begins to watch a connection, unless it does, and returns when to look. `moved`: bytes that have moved so far.
    ///
    /// `None` where there is no runtime that could wake anybody.
    pub(crate) fn set(&mut self, moved: u64) -> Option<Instant> {
        if let Self::On { until, .. } = self {
            return Some(*until);
        }
        Handle::try_current().ok()?;
        let until = Instant::now() + IDLE;
        *self = Self::On { until, moved };
        Some(until)
    }

    /// Whether nothing has moved since it was set, if it is time to look. If it is, the watch is over.
    pub(crate) fn is_idle(&mut self, now: Instant, moved: u64) -> bool {
        match *self {
            Self::On { until, moved: before } if until <= now => {
                *self = Self::Off;
                before == moved
            }
            _ => false,
        }
    }
}

//! How the transport takes what is written: it flows, it has stalled, or it is broken.

use std::time::Instant;

use crate::error::Error;

#[derive(Debug)]
pub(super) enum WriteSide {
    /// It takes something, or nothing waits for it.
    Flowing,
    /// It has taken nothing of what waits for it.
    Stalled {
        since: Instant,
        /// How many encoded bytes it may hold all the same, and has to be offered again as they are.
        held: usize,
    },
    /// It takes nothing any more.
    Broken {
        error: Error,
        /// How long what can still be read is waited for: a Close frame may be among it.
        until: Instant,
    },
}

impl WriteSide {
    pub(super) fn stalled_since(&self) -> Option<Instant> {
        match self {
            Self::Stalled { since, .. } => Some(*since),
            Self::Flowing | Self::Broken { .. } => None,
        }
    }

    /// How many of the first encoded bytes must stay as they are.
    pub(super) fn held(&self) -> usize {
        match self {
            Self::Stalled { held, .. } => *held,
            Self::Flowing | Self::Broken { .. } => 0,
        }
    }

    pub(super) fn error(&self) -> Option<&Error> {
        match self {
            Self::Broken { error, .. } => Some(error),
            Self::Flowing | Self::Stalled { .. } => None,
        }
    }

    #[inline]
    pub(super) fn is_broken(&self) -> bool {
        matches!(self, Self::Broken { .. })
    }
}

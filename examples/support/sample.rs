//! A run at one moment.

use std::time::Duration;

#[derive(Debug, Clone, Copy, Default)]
pub struct Sample {
    pub time: Duration,
    /// Messages and bytes that went all the way through the client.
    pub messages: u64,
    pub bytes: u64,
    /// Bytes that came into the client and have not left it.
    pub waiting: u64,
}

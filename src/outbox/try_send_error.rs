//! `TrySendError`: why a message was not queued at once.

use crate::message::Message;

/// Why a message was not queued at once. It is given back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrySendError {
    /// There is no room, or others wait for it: see [`Config::write_high_water_mark`](crate::Config::write_high_water_mark).
    #[error("there is no room for the message")]
    Full(Message),
    /// The connection is closing or has ended. [`Sender::closed`](crate::Sender::closed) says how.
    #[error("the connection is closing or has ended: nothing more can be sent")]
    Closed(Message),
}

impl TrySendError {
    /// The message that was not queued.
    pub fn into_message(self) -> Message {
        match self {
            Self::Full(message) | Self::Closed(message) => message,
        }
    }
}

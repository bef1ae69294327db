//! What is queued for a connection.

use crate::{
    limits::MESSAGE_COST,
    message::Message,
    protocol::{Compression, Part},
};

#[derive(Debug)]
pub(crate) enum Entry {
    Message(Message, Compression),
    /// A part of a message: no other message comes before its last part.
    Part(Part, Compression),
}

impl Entry {
    /// Its length, in bytes of payload.
    #[inline]
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Message(message, _) => message.len(),
            Self::Part(part, _) => part.payload.len(),
        }
    }

    /// What it costs until the transport has taken all of it, in bytes.
    #[inline]
    pub(super) fn cost(&self) -> usize {
        cost(self.len())
    }
}

/// What an entry with a payload of `len` bytes costs.
pub(super) fn cost(len: usize) -> usize {
    len.saturating_add(MESSAGE_COST)
}

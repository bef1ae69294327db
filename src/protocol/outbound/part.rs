//! A part of a message that is sent in parts: one frame, in the order in which the frames come.

use bytes::BytesMut;

use crate::message::Kind;

/// One frame of a message of which nobody has the whole.
///
/// It is as large as frames may be, and not empty unless the message ends with it.
#[derive(Debug)]
pub(crate) struct Part {
    /// The kind of the message.
    pub(crate) kind: Kind,
    pub(crate) place: Place,
    pub(crate) payload: BytesMut,
}

/// Which part of its message it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    First,
    Middle,
    Last,
    /// It is the whole message.
    Only,
}

impl Place {
    /// Whether a message begins with it.
    pub(crate) fn is_first(self) -> bool {
        matches!(self, Self::First | Self::Only)
    }

    /// Whether a message ends with it.
    pub(crate) fn is_last(self) -> bool {
        matches!(self, Self::Last | Self::Only)
    }
}

//! `Event`: a message or a control frame that came.

use std::sync::Arc;

use bytes::Bytes;

use crate::{close::CloseFrame, message::Message};

/// What [`WebSocketStream::next_event`](crate::WebSocketStream::next_event) and
/// [`Receiver::next_event`](crate::Receiver::next_event) show: messages, and the control frames among them (RFC 6455,
/// section 5.5).
///
/// The connection deals with control frames by itself, also where they are shown: it answers pings and Close frames.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A message.
    Message(Message),
    /// A ping of the peer, with its payload of at most 125 bytes. It is answered.
    Ping(Bytes),
    /// A pong of the peer, with its payload of at most 125 bytes: the answer to a ping of the application or of keepalive, or
    /// one that nobody asked for.
    Pong(Bytes),
    /// The peer's Close frame, also one that answers ours. What comes next is the end.
    Close(CloseFrame),
}

/// A control frame that came, and was dealt with.
#[derive(Debug, Clone)]
pub(crate) enum ControlFrame {
    Ping(Bytes),
    Pong(Bytes),
    Close(Arc<CloseFrame>),
}

impl ControlFrame {
    /// Length of the payload in bytes.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Ping(payload) | Self::Pong(payload) => payload.len(),
            Self::Close(frame) => frame.code().map_or(0, |_| size_of::<u16>() + frame.reason().len()),
        }
    }
}

impl From<ControlFrame> for Event {
    fn from(frame: ControlFrame) -> Self {
        match frame {
            ControlFrame::Ping(payload) => Self::Ping(payload),
            ControlFrame::Pong(payload) => Self::Pong(payload),
            ControlFrame::Close(frame) => Self::Close(Arc::unwrap_or_clone(frame)),
        }
    }
}

/// What becomes of the control frames that come, besides that they are dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ControlFrames {
    Hidden,
    /// They are handed out at their places among the messages.
    Shown,
}

impl ControlFrames {
    pub(crate) fn show(self, frame: impl FnOnce() -> ControlFrame) -> Option<ControlFrame> {
        match self {
            Self::Hidden => None,
            Self::Shown => Some(frame()),
        }
    }
}

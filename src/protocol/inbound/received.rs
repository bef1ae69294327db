//! A message that has come as a whole: to be taken, or to be lent from where it stands.

use bytes::{Buf, Bytes, BytesMut};

use crate::{
    message::{Message, MessageRef},
    wire::{frame::take_payload, utf8::CheckedText},
};

#[derive(Debug)]
pub(crate) enum Received {
    /// One frame, at the front of the read buffer.
    Front(Payload),
    /// Put together in a buffer of its own.
    Assembled { data: Vec<u8>, payload: Payload },
}

/// The place of the payload in its buffer. Text has been checked.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Payload {
    Text(CheckedText),
    Binary { start: usize, end: usize },
}

impl Payload {
    /// Where it begins: behind the frame's header.
    #[inline(always)]
    fn start(self) -> usize {
        match self {
            Self::Text(text) => text.start(),
            Self::Binary { start, .. } => start,
        }
    }

    /// Where it ends, and with it the frame.
    #[inline(always)]
    pub(crate) fn end(self) -> usize {
        match self {
            Self::Text(text) => text.end(),
            Self::Binary { end, .. } => end,
        }
    }

    #[inline(always)]
    pub(crate) fn len(self) -> usize {
        self.end() - self.start()
    }

    /// The message whose payload is `bytes`: this part of the buffer, or a copy of it.
    #[inline(always)]
    fn own(self, bytes: Bytes) -> Message {
        match self {
            Self::Text(text) => Message::Text(text.own(bytes)),
            Self::Binary { .. } => Message::Binary(bytes),
        }
    }

    /// Takes the message from the front of the read buffer, as a slice of it.
    #[inline(always)]
    pub(crate) fn take(self, buf: &mut BytesMut) -> Message {
        match self {
            // In two arms, so that the message is made in registers.
            Self::Text(text) => Message::Text(text.own(take_payload(text.start(), self.len(), buf))),
            Self::Binary { start, .. } => Message::Binary(take_payload(start, self.len(), buf)),
        }
    }

    /// The same, with an allocation of its own.
    pub(crate) fn take_copy(self, buf: &mut BytesMut) -> Message {
        let copy = Bytes::copy_from_slice(&buf[self.start()..self.end()]);
        buf.advance(self.end());
        self.own(copy)
    }

    /// The same payload, where `n` bytes stand before its buffer.
    #[inline(always)]
    pub(crate) fn behind(self, n: usize) -> Self {
        match self {
            Self::Text(text) => Self::Text(text.behind(n)),
            Self::Binary { start, end } => Self::Binary { start: start + n, end: end + n },
        }
    }

    /// Lends the message from its buffer.
    #[inline(always)]
    pub(crate) fn lend(self, buf: &[u8]) -> MessageRef<'_> {
        match self {
            Self::Text(text) => MessageRef::Text(text.lend(buf)),
            Self::Binary { start, end } => MessageRef::Binary(&buf[start..end]),
        }
    }
}

impl Received {
    /// A message that was put together in `data`, where its text stands if it is one.
    pub(super) fn assembled(data: Vec<u8>, text: Option<CheckedText>) -> Self {
        let payload = text.map_or(Payload::Binary { start: 0, end: data.len() }, Payload::Text);
        Self::Assembled { data, payload }
    }

    /// How long the payload is, in bytes.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Front(payload) | Self::Assembled { payload, .. } => payload.len(),
        }
    }

    /// Makes it a message of its own. `buf` is the read buffer; payloads of up to `copy_up_to` bytes are copied from it.
    pub(crate) fn take(self, buf: &mut BytesMut, copy_up_to: usize) -> Message {
        match self {
            Self::Front(payload) if payload.len() <= copy_up_to => payload.take_copy(buf),
            Self::Front(payload) => payload.take(buf),
            Self::Assembled { data, payload } => payload.own(data.into()),
        }
    }
}

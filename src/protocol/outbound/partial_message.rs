//! A large message on its way out, or one that comes in parts: what of it is still to be encoded.

use bytes::{Buf, Bytes, BytesMut};

use crate::{
    limits::MAX_DEFLATED_INPUT,
    message::{Kind, Message},
    wire::{
        deflate::{Deflater, Flush},
        frame::{Header, OpCode, RSV1},
        mask::Mask,
    },
};

/// A message of which a part is still to be encoded.
#[derive(Debug)]
pub(super) struct PartialMessage {
    kind: Kind,
    pub(super) is_compressed: bool,
    /// What is left of its payload, or of the part of it that came last.
    pub(super) rest: Payload,
    /// How many bytes that was in the beginning.
    pub(super) len: usize,
    /// What follows `rest`.
    pub(super) then: Then,
    /// Whether its first frame has been begun.
    pub(super) is_begun: bool,
    /// The frame that has been begun.
    pub(super) frame: Option<Frame>,
}

/// What follows what is here of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// Nothing: the message ends with it.
    End,
    /// The message's next part, which has not come.
    NextPart,
    /// Nothing: the message was cut, and does not end.
    Cut,
}

/// A frame of which a part is still to be encoded.
#[derive(Debug)]
pub(super) enum Frame {
    /// `left`: payload bytes that are still to be encoded.
    Plain { mask: Mask, left: usize },
    /// Nothing of it is encoded before all of its payload is compressed. `body`: what `len` payload bytes became.
    /// `left`: payload bytes that are still to be compressed.
    Compressed { body: Vec<u8>, len: usize, left: usize },
}

/// A payload that is copied when it is masked, since others may hold it, or one that is masked in place.
#[derive(Debug)]
pub(super) enum Payload {
    Shared(Bytes),
    Owned(BytesMut),
}

impl PartialMessage {
    pub(super) fn new(message: Message, is_compressed: bool) -> Self {
        let (kind, len) = (message.kind(), message.len());
        let rest = match message.into_bytes().try_into_mut() {
            Ok(owned) => Payload::Owned(owned),
            Err(shared) => Payload::Shared(shared),
        };
        Self { kind, is_compressed, rest, len, then: Then::End, is_begun: false, frame: None }
    }

    /// A message that comes in parts, none of which is here.
    pub(super) fn in_parts(kind: Kind, is_compressed: bool) -> Self {
        let rest = Payload::Owned(BytesMut::new());
        Self { kind, is_compressed, rest, len: 0, then: Then::NextPart, is_begun: false, frame: None }
    }

    /// The next part has come. It is not empty, unless the message ends with it.
    pub(super) fn take_part(&mut self, payload: BytesMut, then: Then) {
        self.len = payload.len();
        self.rest = Payload::Owned(payload);
        self.then = then;
    }

    /// All that was here is encoded, and nothing of it is kept until the next part comes.
    pub(super) fn wait(&mut self) {
        self.rest = Payload::Owned(BytesMut::new());
    }

    /// Whether all that is here was encoded, and the next part has not come.
    pub(super) fn is_waiting(&self) -> bool {
        self.then == Then::NextPart && !self.is_rest_left()
    }

    /// Whether more of what is here is to be encoded.
    pub(super) fn is_rest_left(&self) -> bool {
        self.frame.is_some() || self.rest.len() > 0
    }

    /// Whether a frame ends the message, of which `left` bytes are still to be encoded.
    pub(super) fn is_last_frame(&self, left: usize) -> bool {
        left == self.rest.len() && self.then == Then::End
    }

    /// What is left of it when it may only finish the frame that it is in.
    pub(super) fn only_this_frame(mut self) -> Option<Self> {
        let Some(Frame::Plain { left, .. }) = self.frame else { return None };
        if left < self.rest.len() || self.then == Then::NextPart {
            self.rest.truncate(left);
            self.then = Then::Cut;
        }
        Some(self)
    }

    /// Whether a part of a frame is encoded, so that nothing else may follow.
    pub(super) fn is_mid_frame(&self) -> bool {
        matches!(self.frame, Some(Frame::Plain { .. }))
    }

    /// Whether a frame is being compressed.
    pub(super) fn is_compressing(&self) -> bool {
        matches!(self.frame, Some(Frame::Compressed { .. }))
    }

    /// Compresses more of a frame, of which `left` payload bytes are still to be compressed. Once that is all of it: its
    /// body, the payload bytes that it stands for, and whether it is the message's last frame.
    pub(super) fn compress(&mut self, deflater: &mut Deflater, left: usize) -> Option<(Vec<u8>, usize, bool)> {
        let (mut body, len) = match self.frame.take() {
            Some(Frame::Compressed { body, len, .. }) => (body, len),
            _ => (Vec::new(), 0),
        };
        let n = left.min(MAX_DEFLATED_INPUT);
        let is_last = self.is_last_frame(left);
        let flush = match n == left {
            true if is_last => Flush::Message,
            true => Flush::Frame,
            false => Flush::None,
        };
        deflater.compress(&self.rest.as_bytes()[..n], flush, &mut body);
        self.rest.advance(n);
        if n < left {
            self.frame = Some(Frame::Compressed { body, len: len + n, left: left - n });
            return None;
        }
        Some((body, len + n, is_last))
    }

    /// The header of its next frame, with a body of `len` bytes.
    pub(super) fn next_header(&self, len: usize, fin: bool) -> Header {
        let (opcode, rsv) = match (self.is_begun, self.is_compressed) {
            // The bit says of the message that it is compressed, on its first frame alone (RFC 7692, section 6).
            (true, _) => (OpCode::Continuation, 0),
            (false, true) => (OpCode::of(self.kind), RSV1),
            (false, false) => (OpCode::of(self.kind), 0),
        };
        Header { fin, rsv, opcode, len: len as u64 }
    }
}

impl Payload {
    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Shared(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.as_bytes().len()
    }

    pub(super) fn advance(&mut self, n: usize) {
        match self {
            Self::Shared(bytes) => bytes.advance(n),
            Self::Owned(bytes) => bytes.advance(n),
        }
    }

    fn truncate(&mut self, len: usize) {
        match self {
            Self::Shared(bytes) => bytes.truncate(len),
            Self::Owned(bytes) => bytes.truncate(len),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::mask::Masks;

    #[test]
    fn of_a_frame_that_was_begun_the_rest_is_left_and_a_message_that_lacks_more_is_cut() {
        for (left, then, expected) in [
            (10, Then::End, Then::End),
            (4, Then::End, Then::Cut),
            (10, Then::NextPart, Then::Cut),
            (4, Then::NextPart, Then::Cut),
        ] {
            for is_shared in [false, true] {
                let payload = Bytes::from(vec![5; 10]);
                let shared = is_shared.then(|| payload.clone());
                let mut message = PartialMessage::new(Message::Binary(payload), false);
                drop(shared);
                (message.then, message.frame) = (then, Some(Frame::Plain { mask: Masks::new().next(), left }));
                let rest = message.only_this_frame().expect("a frame was begun");
                assert_eq!((rest.rest.len(), rest.then), (left, expected), "{left} bytes, then {then:?}");
            }
        }
    }

    #[test]
    fn of_a_frame_that_was_not_begun_nothing_is_left() {
        let message = |frame| PartialMessage { frame, ..PartialMessage::new(Message::from("text"), true) };
        assert!(message(None).only_this_frame().is_none());
        let compressed = Frame::Compressed { body: Vec::new(), len: 2, left: 2 };
        assert!(message(Some(compressed)).only_this_frame().is_none());
    }
}

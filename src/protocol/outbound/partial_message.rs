//! A large message on its way out: what of it is still to be encoded.

use bytes::{Buf, Bytes, BytesMut};

use crate::{
    message::{Kind, Message},
    wire::{
        frame::{Header, OpCode, RSV1},
        mask::Mask,
    },
};

/// A message of which a part is still to be encoded.
#[derive(Debug)]
pub(super) struct PartialMessage {
    kind: Kind,
    pub(super) is_compressed: bool,
    pub(super) rest: Payload,
    /// The length of the whole payload; `None` once it was cut, so that its last piece will not come.
    pub(super) len: Option<usize>,
    /// Whether its first frame has been begun.
    pub(super) is_begun: bool,
    /// The frame that has been begun: its mask, and how much of it is still to be encoded.
    pub(super) frame: Option<(Mask, usize)>,
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
        Self { kind, is_compressed, rest, len: Some(len), is_begun: false, frame: None }
    }

    /// What is left of it when it may only finish the frame that it is in.
    pub(super) fn only_this_frame(mut self) -> Option<Self> {
        let (_, left) = self.frame?;
        if left < self.rest.len() {
            self.rest.truncate(left);
            self.len = None;
        }
        Some(self)
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

//! A message that is put together from what comes in, piece by piece.

use bytes::Bytes;

use crate::{
    error::{Error, LimitExceeded, Violation},
    message::{Kind, Message},
    wire::utf8::Utf8Checker,
};

#[derive(Debug)]
pub(super) struct Assembly {
    kind: Kind,
    pub(super) is_compressed: bool,
    /// The frames that it has come in so far.
    pub(super) frames: usize,
    data: Vec<u8>,
    utf8: Utf8Checker,
}

impl Assembly {
    pub(super) fn new(kind: Kind, is_compressed: bool) -> Self {
        Self { kind, is_compressed, frames: 0, data: Vec::new(), utf8: Utf8Checker::default() }
    }

    /// How much has come of the payload, in bytes.
    pub(super) fn len(&self) -> usize {
        self.data.len()
    }

    /// Adds the next piece of the payload. Text is checked as it comes; `limit` bounds the payload, in bytes.
    pub(super) fn push(&mut self, piece: &[u8], limit: usize) -> Result<(), Error> {
        if piece.len() > limit - self.data.len() {
            return Err(LimitExceeded::MessageSize { limit }.into());
        }
        if self.kind == Kind::Text {
            self.utf8.check(piece)?;
        }
        let needed = self.data.len() + piece.len();
        if needed > self.data.capacity() {
            // Twice as much each time, so that the whole is copied twice at most; but nothing beyond the limit.
            let capacity = needed.max(2 * self.data.capacity()).min(limit);
            self.data.reserve_exact(capacity - self.data.len());
        }
        self.data.extend_from_slice(piece);
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Message, Violation> {
        let payload = Bytes::from(self.data);
        Ok(match self.kind {
            Kind::Text => Message::Text(self.utf8.finish(payload)?),
            Kind::Binary => Message::Binary(payload),
        })
    }
}

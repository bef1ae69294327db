//! A message that is put together from what comes in, piece by piece.

use crate::{
    error::{Error, LimitExceeded, Violation},
    message::Kind,
    wire::utf8::{CheckedText, Utf8Checker},
};

#[derive(Debug)]
pub(super) struct Assembly {
    pub(super) kind: Kind,
    pub(super) is_compressed: bool,
    /// The frames that it has come in so far.
    pub(super) frames: usize,
    data: Vec<u8>,
    utf8: Utf8Checker,
}

/// Appends the next piece to what has come of a message of at most `limit` bytes.
pub(crate) fn append(data: &mut Vec<u8>, piece: &[u8], limit: usize) {
    let needed = data.len() + piece.len();
    if needed > data.capacity() {
        // Twice as much each time, so that the whole is copied twice at most; but nothing beyond the limit.
        let capacity = needed.max((2 * data.capacity()).min(limit));
        data.reserve_exact(capacity - data.len());
    }
    data.extend_from_slice(piece);
}

impl Assembly {
    /// `data`: a buffer whose content is not needed any more.
    pub(super) fn new(kind: Kind, is_compressed: bool, mut data: Vec<u8>) -> Self {
        data.clear();
        Self { kind, is_compressed, frames: 0, data, utf8: Utf8Checker::default() }
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
        append(&mut self.data, piece, limit);
        Ok(())
    }

    /// What has come so far, and what has checked it, for another form of the message. Nothing is left here.
    pub(super) fn take(&mut self) -> (Vec<u8>, Utf8Checker) {
        (std::mem::take(&mut self.data), std::mem::take(&mut self.utf8))
    }

    /// The payload, once all of it has come, and for text where in it the text stands.
    pub(super) fn finish(self) -> Result<(Vec<u8>, Option<CheckedText>), Violation> {
        let text = match self.kind {
            Kind::Text => Some(self.utf8.finish(&self.data, 0)?),
            Kind::Binary => None,
        };
        Ok((self.data, text))
    }
}

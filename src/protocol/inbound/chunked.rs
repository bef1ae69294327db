//! A message that is handed out in chunks, as it comes.

use bytes::{Buf, Bytes, BytesMut};

use crate::{error::Violation, message::Kind, wire::utf8::Utf8Checker};

/// In what form messages are handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// Each as a whole, within the limits.
    Whole,
    /// Those of at least `from` bytes in chunks of at most `max`.
    Chunks { from: usize, max: usize },
}

/// A part of a message. The first one is empty: it says that the message has begun. The last one may be empty, too.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) kind: Kind,
    /// Of text, it may end within a character.
    pub(crate) data: Bytes,
    /// Whether the message ends with it.
    pub(crate) fin: bool,
}

#[derive(Debug)]
pub(super) struct Chunked {
    kind: Kind,
    pub(super) is_compressed: bool,
    utf8: Utf8Checker,
    /// What has come and was checked, and was not handed out.
    ready: Bytes,
    reader: Reader,
}

/// Whom the chunks are for.
#[derive(Debug, PartialEq, Eq)]
enum Reader {
    Present,
    /// Nobody: they are checked and dropped.
    Gone,
}

impl Chunked {
    /// `data`: what has come of it so far, which `utf8` has checked if it is text.
    pub(super) fn new(kind: Kind, is_compressed: bool, utf8: Utf8Checker, data: Vec<u8>) -> Self {
        let mut chunked = Self { kind, is_compressed, utf8, ready: Bytes::new(), reader: Reader::Present };
        chunked.set_ready(data);
        chunked
    }

    /// Nobody wants the rest.
    pub(super) fn skip(&mut self) {
        self.reader = Reader::Gone;
        self.ready = Bytes::new();
    }

    /// The first chunk.
    pub(super) fn begin(&self) -> Chunk {
        Chunk { kind: self.kind, data: Bytes::new(), fin: false }
    }

    /// Moves the first `n` bytes of `buf`, the next ones of the payload, to what is ready, which must be nothing.
    pub(super) fn take(&mut self, buf: &mut BytesMut, n: usize) -> Result<(), Violation> {
        self.check(&buf[..n])?;
        match self.reader {
            // A slice of nothing would hold the buffer all the same.
            Reader::Present if n > 0 => self.ready = buf.split_to(n).freeze(),
            Reader::Present | Reader::Gone => buf.advance(n),
        }
        Ok(())
    }

    /// Adds the next piece of the payload to `data`, which is to be [`ready`](Self::set_ready).
    pub(super) fn push(&mut self, piece: &[u8], data: &mut Vec<u8>) -> Result<(), Violation> {
        self.check(piece)?;
        if self.reader == Reader::Present {
            data.extend_from_slice(piece);
        }
        Ok(())
    }

    pub(super) fn set_ready(&mut self, data: Vec<u8>) {
        // Of a buffer that was used before, nothing but its size may be left.
        self.ready = if data.is_empty() { Bytes::new() } else { data.into() };
    }

    /// The next chunk, of at most `max` bytes, if anything is ready.
    pub(super) fn next(&mut self, max: usize) -> Option<Chunk> {
        if self.ready.is_empty() {
            return None;
        }
        let data = self.ready.split_to(self.ready.len().min(max.max(1)));
        Some(Chunk { kind: self.kind, data, fin: false })
    }

    /// The last chunk, once all of the payload has come, if there is somebody to take it.
    pub(super) fn finish(self) -> Result<Option<Chunk>, Violation> {
        if self.kind == Kind::Text {
            self.utf8.end()?;
        }
        let chunk = Chunk { kind: self.kind, data: self.ready, fin: true };
        Ok((self.reader == Reader::Present).then_some(chunk))
    }

    fn check(&mut self, piece: &[u8]) -> Result<(), Violation> {
        if self.kind == Kind::Text { self.utf8.check(piece) } else { Ok(()) }
    }
}

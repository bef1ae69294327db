//! A message that is handed out in chunks, as it comes.

use bytes::{Buf, Bytes, BytesMut};

use crate::{
    error::{LimitExceeded, Violation},
    message::Kind,
    wire::utf8::Utf8Checker,
};

/// In what form messages are handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// Each as a whole, within the limits.
    Whole,
    /// Those of at least `from` bytes in chunks of at most `max`.
    Chunks { from: usize, max: usize },
}

/// A part of a message. The first one is empty: it says that the message has begun. The last one may be empty, too, and one
/// that says that the message is beyond a limit.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) kind: Kind,
    /// Of text, it may end within a character.
    pub(crate) data: Bytes,
    /// Whether the message ends with it.
    pub(crate) fin: bool,
    /// The limit that the message turned out to be beyond since the last chunk. It does not bound who reads chunks; whoever
    /// puts them together fails.
    pub(crate) excess: Option<Box<LimitExceeded>>,
}

#[derive(Debug)]
pub(super) struct Chunked {
    kind: Kind,
    pub(super) is_compressed: bool,
    utf8: Utf8Checker,
    frames: usize,
    /// How much has come of the payload, in bytes.
    len: u64,
    excess: Excess,
    /// What has come and was checked, and was not handed out.
    ready: Bytes,
    reader: Reader,
}

/// Whether it is beyond a limit.
#[derive(Debug)]
enum Excess {
    None,
    /// The next chunk says so.
    Found(LimitExceeded),
    /// A chunk has said so.
    Told,
}

/// Whom the chunks are for.
#[derive(Debug, PartialEq, Eq)]
enum Reader {
    Present,
    /// Nobody: they are checked and dropped.
    Gone,
}

impl Chunked {
    /// `frames` and `data`: what has come of it so far, which `utf8` has checked if it is text.
    pub(super) fn new(kind: Kind, is_compressed: bool, frames: usize, utf8: Utf8Checker, data: Vec<u8>) -> Self {
        let (len, excess, reader) = (data.len() as u64, Excess::None, Reader::Present);
        let mut chunked = Self { kind, is_compressed, utf8, frames, len, excess, ready: Bytes::new(), reader };
        chunked.set_ready(data);
        chunked
    }

    /// A further frame of it begins.
    pub(super) fn begin_frame(&mut self) {
        self.frames += 1;
    }

    /// The frames that it has come in so far.
    pub(super) fn frames(&self) -> usize {
        self.frames
    }

    /// How much payload it has at least, in bytes, if its frame lacks `left`.
    pub(super) fn known_len(&self, left: u64) -> u64 {
        // How much is to come of a compressed frame is not known.
        if self.is_compressed { self.len } else { self.len.saturating_add(left) }
    }

    /// It is beyond a limit: the next chunk is to say so, if none has.
    pub(super) fn exceed(&mut self, limit: LimitExceeded) {
        if matches!(self.excess, Excess::None) {
            self.excess = Excess::Found(limit);
        }
    }

    /// What the next chunk is to say of it.
    fn tell_excess(&mut self) -> Option<Box<LimitExceeded>> {
        let Excess::Found(excess) = self.excess else { return None };
        self.excess = Excess::Told;
        Some(Box::new(excess))
    }

    /// Nobody wants the rest.
    pub(super) fn skip(&mut self) {
        self.reader = Reader::Gone;
        self.ready = Bytes::new();
    }

    /// Whether somebody reads it.
    pub(super) fn is_wanted(&self) -> bool {
        self.reader == Reader::Present
    }

    /// The first chunk.
    pub(super) fn begin(&mut self) -> Chunk {
        Chunk { kind: self.kind, data: Bytes::new(), fin: false, excess: self.tell_excess() }
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

    /// The next chunk, of at most `max` bytes, if anything is ready or to be said.
    pub(super) fn next(&mut self, max: usize) -> Option<Chunk> {
        let excess = match self.reader {
            Reader::Present => self.tell_excess(),
            Reader::Gone => None,
        };
        if self.ready.is_empty() && excess.is_none() {
            return None;
        }
        let data = self.ready.split_to(self.ready.len().min(max.max(1)));
        Some(Chunk { kind: self.kind, data, fin: false, excess })
    }

    /// The last chunk, once all of the payload has come, if there is somebody to take it.
    pub(super) fn finish(mut self) -> Result<Option<Chunk>, Violation> {
        let excess = self.tell_excess();
        if self.kind == Kind::Text {
            self.utf8.end()?;
        }
        let chunk = Chunk { kind: self.kind, data: self.ready, fin: true, excess };
        Ok((self.reader == Reader::Present).then_some(chunk))
    }

    fn check(&mut self, piece: &[u8]) -> Result<(), Violation> {
        self.len = self.len.saturating_add(piece.len() as u64);
        if self.kind == Kind::Text { self.utf8.check(piece) } else { Ok(()) }
    }
}

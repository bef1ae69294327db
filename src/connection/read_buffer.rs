//! The read buffer: it starts small, grows by use, shrinks without use, and never grows beyond its bound.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::AsyncRead;
use tokio_util::io::poll_read_buf;

use super::reading::Loan;
use crate::{
    limits::{AFTER_LARGE_FRAME, LARGE_FRAME_START, MIN_READ_BUFFER},
    protocol::Payload,
};

/// After so many reads in a row that used less than a quarter, the buffer halves.
const SMALL_READS_TO_SHRINK: u32 = 8;

#[derive(Debug)]
pub(crate) struct ReadBuffer {
    /// What has been read and not been parsed, behind what was lent.
    bytes: BytesMut,
    /// How much at the front was lent: it is given up by the next call that takes something.
    lent: usize,
    max: usize,
    /// The size that use has shown to be right, at most `max`.
    target: usize,
    /// The size of the allocation that `bytes` is a part of, at least; 0 where it is somebody else's.
    allocated: usize,
    small_reads: u32,
    /// How much of the buffers before this one was left over when the next one was begun. Messages that are slices of one hold
    /// all of it.
    left_unused: u64,
}

impl ReadBuffer {
    pub(crate) fn new(max: usize, bytes: BytesMut) -> Self {
        Self { bytes, lent: 0, max, target: MIN_READ_BUFFER.min(max), allocated: 0, small_reads: 0, left_unused: 0 }
    }

    /// What has been read and not been parsed. A message that is lent is given up.
    #[inline]
    pub(crate) fn unread(&mut self) -> &mut BytesMut {
        if self.lent > 0 {
            self.bytes.advance(std::mem::take(&mut self.lent));
        }
        &mut self.bytes
    }

    /// The most that it holds, but for a frame that is larger and one slice.
    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// How much of earlier buffers was left unused, in bytes.
    pub(crate) fn left_unused(&self) -> u64 {
        self.left_unused
    }

    /// The same, without giving up what is lent.
    #[inline]
    pub(crate) fn peek(&self) -> &[u8] {
        &self.bytes[self.lent..]
    }

    /// Lends a message at the front of what has been read and not been parsed.
    #[inline]
    pub(crate) fn lend(&mut self, payload: Payload) -> Loan {
        let payload = payload.behind(self.lent);
        self.lent = payload.end();
        Loan::Front(payload)
    }

    /// What was lent, and what is behind it.
    #[inline]
    pub(crate) fn all(&self) -> &[u8] {
        &self.bytes
    }

    /// Reads what `io` has, but no more than fits. `bytes_needed`: so many more bytes must fit, for a message that is to be
    /// one slice.
    ///
    /// Ready with the number of bytes read: 0 is the end.
    pub(crate) fn poll_read<S: AsyncRead + Unpin>(
        &mut self,
        io: &mut S,
        cx: &mut Context<'_>,
        bytes_needed: usize,
    ) -> Poll<io::Result<usize>> {
        self.unread();
        self.make_room(bytes_needed);
        // The limit keeps a full BytesMut from growing by itself, and a large frame's buffer, which may have more room
        // than the frame needs, from being filled with what comes after it.
        let len = self.bytes.len();
        let room = (self.bytes.capacity() - len).min(bytes_needed.max(self.max.saturating_sub(len)));
        let n = ready!(poll_read_buf(Pin::new(io), cx, &mut (&mut self.bytes).limit(room)))?;
        self.learn(n, room);
        Poll::Ready(Ok(n))
    }

    /// Whether [`shrink`](Self::shrink) frees something: not what waits in it for `bytes_needed` more bytes.
    pub(crate) fn can_shrink(&self, bytes_needed: usize) -> bool {
        let needed = self.peek().len() + bytes_needed;
        self.allocated > MIN_READ_BUFFER
            && !self.is_for_large_frame(needed)
            && self.allocated > self.size_for(needed, 0)
    }

    /// Makes the next read begin with a small buffer, as nothing has been read for a while. What has been read is kept.
    pub(crate) fn shrink(&mut self) {
        self.target = MIN_READ_BUFFER.min(self.max);
        self.small_reads = 0;
    }

    fn make_room(&mut self, bytes_needed: usize) {
        let needed = self.bytes.len() + bytes_needed;
        if self.is_for_large_frame(needed) {
            self.make_room_for_large_frame(needed);
            return;
        }
        if self.allocated > self.max {
            self.target = self.target.min(AFTER_LARGE_FRAME);
        }
        self.target = self.size_for(needed, self.target);
        let is_room_left = self.bytes.capacity() >= needed.max(self.bytes.len() + self.target / 2).max(1);
        if self.allocated != self.target
            // Messages that are still alive hold the old buffer: it cannot be used again.
            || !is_room_left && !self.bytes.try_reclaim(self.target - self.bytes.len())
        {
            self.allocate(self.target);
        }
    }

    /// Whether so many bytes get a buffer of their own: a declared length alone allocates no more than this, however large
    /// the read buffer may be.
    fn is_for_large_frame(&self, needed: usize) -> bool {
        needed > self.max.min(LARGE_FRAME_START)
    }

    /// The size of a buffer for `needed` bytes, at least `target`.
    fn size_for(&self, needed: usize, target: usize) -> usize {
        let target = target.max(MIN_READ_BUFFER.min(self.max));
        if needed > target { needed.next_power_of_two().min(self.max) } else { target }
    }

    /// A frame larger than the buffer gets one of its own: never more than twice what has come, since a declared length
    /// alone must not allocate anything. It grows only when it is full, as each growth may copy it. It goes with the
    /// frame, as its size is not `target`.
    fn make_room_for_large_frame(&mut self, needed: usize) {
        let start = LARGE_FRAME_START.min(needed);
        let capacity = needed.min(start.max(2 * self.bytes.len()));
        if self.allocated < start {
            self.allocate(capacity);
        } else if self.bytes.len() == self.bytes.capacity() {
            self.bytes.reserve(capacity - self.bytes.len());
            self.allocated = self.bytes.capacity();
        }
    }

    fn allocate(&mut self, capacity: usize) {
        let mut bytes = BytesMut::with_capacity(capacity);
        bytes.extend_from_slice(&self.bytes);
        // Where nobody holds the old buffer it is freed, and could as well be used again.
        let is_held = self.allocated > 0 && !self.bytes.try_reclaim(self.allocated - self.bytes.len());
        if is_held {
            self.left_unused += self.bytes.capacity() as u64;
        }
        self.bytes = bytes;
        self.allocated = capacity;
    }

    /// Adapts the target to a read of `n` bytes for which there was `room`.
    fn learn(&mut self, n: usize, room: usize) {
        if n == room {
            self.target = (2 * self.target).min(self.max);
            self.small_reads = 0;
        } else if n >= self.target / 4 {
            self.small_reads = 0;
        } else {
            self.small_reads += 1;
            if self.small_reads >= SMALL_READS_TO_SHRINK && self.target > MIN_READ_BUFFER {
                self.target = (self.target / 2).max(MIN_READ_BUFFER);
                self.small_reads = 0;
            }
        }
    }
}

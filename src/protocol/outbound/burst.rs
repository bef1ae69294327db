//! How much goes out in one write: more while the transport takes it all, less once it does not.

use crate::limits::{BURST_SLACK, CHUNK, GROWN_WRITE, MAX_BURST, MAX_LEFTOVER, MIN_WRITE};

#[derive(Debug)]
pub(super) struct Burst {
    /// How much is encoded at once of large messages, in bytes.
    size: usize,
    /// Encoded bytes from which on they are worth a write of their own.
    pub(super) min_write: usize,
}

impl Burst {
    pub(super) fn new() -> Self {
        Self { size: CHUNK, min_write: MIN_WRITE }
    }

    /// How much of large messages may be put behind `encoded` bytes.
    pub(super) fn room(&self, encoded: usize) -> usize {
        (self.size + BURST_SLACK).saturating_sub(encoded)
    }

    /// Whether `piece` bytes may be put behind `encoded` bytes. A frame that has to be encoded as a whole may be larger
    /// than any burst.
    pub(super) fn has_room(&self, encoded: usize, piece: usize) -> bool {
        encoded <= BURST_SLACK || piece <= self.room(encoded)
    }

    /// The transport took `n` bytes in one write and left `rest`.
    #[inline]
    pub(super) fn written(&mut self, n: usize, rest: usize) {
        if rest >= MAX_LEFTOVER {
            *self = Self::new();
        } else if n + rest >= self.min_write {
            self.size = (2 * (n + rest)).clamp(self.size, MAX_BURST);
            self.min_write = GROWN_WRITE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_while_all_is_taken_and_falls_back_when_not() {
        let mut burst = Burst::new();
        let mut sizes = Vec::new();
        for (n, rest) in [
            (MIN_WRITE - 1, 0),
            (MIN_WRITE + 1 - MAX_LEFTOVER, MAX_LEFTOVER - 1),
            (GROWN_WRITE, 0),
            (CHUNK, 0),
            (2 * CHUNK, 0),
            (9 * CHUNK, 0),
            (9 * CHUNK, MAX_LEFTOVER),
            (CHUNK, 0),
        ] {
            burst.written(n, rest);
            sizes.push((burst.min_write / 1024, burst.room(BURST_SLACK) / 1024));
        }
        let grown = [(64, 256), (112, 256), (112, 256), (112, 512), (112, 1024), (112, 1024), (64, 256), (112, 512)];
        assert_eq!(sizes, grown);
    }

    #[test]
    fn what_is_small_may_go_before_anything() {
        let burst = Burst::new();
        assert!(burst.has_room(BURST_SLACK, 9 * CHUNK));
        assert!(!burst.has_room(BURST_SLACK + 1, CHUNK));
        assert!(burst.has_room(CHUNK, BURST_SLACK));
    }
}
